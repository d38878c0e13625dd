"""The report that the command writes: opened without a network, on a phone, and printed."""
import re
from pathlib import Path

import pytest

from senet_viz.cli import main
from senet_viz.models import embedded_models
from senet_viz.reports.pdf import print_pdf
from tests.browser.conftest import START, chromium, missing, swipe

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = sorted((ROOT / "assets" / "samples").glob("*.jpg"))[:2]
SK = "demo/sknet50_slim"
STATISTICS = ROOT / "assets" / "statistics" / "se_resnet50_slim"
A4 = 595, 842  # points
INSIDE = 700, 1000  # CSS pixels of a page inside its margins
MARKS = ".point, .box, .hm image, .im image, path.js-line, .bars path"  # what a trace draws


@pytest.fixture(scope="module", params=["photos", "data"])
def page(request, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("report") / f"{request.param}.html"
    if request.param == "photos":
        if SK not in embedded_models() or len(SAMPLES) < 2:
            pytest.skip("the embedded models or the sample pictures are missing")
        arguments = [SK, *map(str, SAMPLES), "--device", "cpu"]
    else:
        arguments = ["--statistics", str(STATISTICS)]
    assert main(["report", *arguments, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def opened(browser, page):
    """The report in a tab without a network, one a width for all tests, which at the end has asked for nothing and had
    nothing to complain of.
    """
    said, asked, tabs = [], [], {}

    def open_page(width: int = 1440, **options):
        if width in tabs:
            return tabs[width]
        context = browser.new_context(offline=True, viewport={"width": width, "height": 1000}, **options)
        context.set_default_timeout(START * 1000)
        tab = tabs[width] = context.new_page()
        tab.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(page.as_uri())
        return tab

    yield open_page
    for tab in tabs.values():
        tab.context.close()
    assert said == [] and [url for url in asked if not url.startswith((page.as_uri(), "data:", "blob:"))] == []


def test_it_is_small_and_every_chart_is_drawn_without_a_network(opened, page):
    assert page.stat().st_size < 10e6
    tab = opened()
    charts = tab.locator("[role=img]")
    count = charts.count()
    assert count >= 6 and tab.locator("[role=img] .js-plotly-plot").count() == count
    for chart in charts.all():
        chart.locator(MARKS).first.wait_for(state="attached")
        assert chart.bounding_box()["width"] > 300 and chart.bounding_box()["height"] > 200
        assert len(chart.get_attribute("aria-label")) > 40
    assert tab.locator("img").evaluate_all("all => all.every(e => e.complete && e.naturalWidth > 0)")
    pictures = tab.locator(".layer-above image, .imagelayer image, .layer-below image")
    assert pictures.evaluate_all("all => all.every(e => e.href.baseVal.startsWith('data:image/'))")
    assert tab.locator("table:visible").count() and tab.get_by_text("Made on").count() == 1


def test_it_reads_on_a_phone(opened):
    tab = opened(420, color_scheme="dark")
    assert tab.evaluate("document.documentElement.scrollWidth") == 420  # what is wider scrolls by itself
    fluid = tab.locator("[role=img] .js-plotly-plot").evaluate_all(
        "all => all.filter(e => !e.layout.width).map(e => e.getBoundingClientRect().width)")
    assert fluid and all(300 < width < 420 for width in fluid)
    ground, ink = tab.evaluate("(({backgroundColor, color}) => [backgroundColor, color])(getComputedStyle("
                               "document.body))")
    assert sum(map(int, re.findall(r"\d+", ground)[:3])) > 700 and sum(map(int, re.findall(r"\d+", ink)[:3])) < 200


def test_a_finger_over_a_chart_scrolls(opened):
    tab = opened(390, has_touch=True, is_mobile=True)
    chart = tab.locator("[role=img] .js-plotly-plot").first
    chart.evaluate("chart => chart.scrollIntoView({block: 'center'})")
    box, before = chart.bounding_box(), tab.evaluate("scrollY")
    assert not chart.locator(".modebar").is_visible()
    swipe(tab, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, 0, -150)
    tab.wait_for_function("before => scrollY > before + 100", arg=before)


def test_charts_fit_a_page_of_paper_and_come_back(opened):
    tab = opened()
    widths = "all => all.map(e => e.getBoundingClientRect().width)"
    charts = tab.locator("[role=img] .js-plotly-plot")
    before = charts.evaluate_all(widths)
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    tab.emulate_media(media="print")
    boxes = charts.evaluate_all("all => all.map(e => [e.getBoundingClientRect().width, "
                                "e.querySelector('.main-svg').getBoundingClientRect().width, "
                                "e.querySelector('.main-svg').getBoundingClientRect().height])")
    assert all(0 < drawn <= INSIDE[0] + 1 and height <= INSIDE[1] + 1 for _, drawn, height in boxes)
    tab.emulate_media(media="screen")
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    tab.wait_for_function("before => [...document.querySelectorAll('[role=img] .js-plotly-plot')].every("
                          "(e, i) => Math.abs(e.getBoundingClientRect().width - before[i]) < 2)", arg=before)


def test_it_is_printed_on_a4_with_all_its_charts(browser, page, tmp_path):
    program = chromium("")
    if program is None:
        missing("no Chromium outside Playwright's own folder")
    print_pdf(page, tmp_path / "report.pdf", program)
    printed = (tmp_path / "report.pdf").read_bytes()
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", printed)
    assert len(boxes) >= 3 and printed.rstrip().endswith(b"%%EOF")
    assert all(abs(float(value) - side) < 2 for box in boxes for value, side in zip(box, A4))
    assert [path.name for path in tmp_path.iterdir()] == ["report.pdf"]
