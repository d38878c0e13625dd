"""The Kernels page as a person uses it, in a real browser."""
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import senet_viz as sv
from senet_viz.experiments.sweep import SIZES, size_preference, sweep

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "assets" / "samples" / "ladybug.jpg"  # 512×384, shown 420 pixels wide
STATISTICS = ROOT / "assets" / "statistics" / "sknet50_slim"
SK = "demo/sknet50_slim"
OF_PHOTO = ["size_cam", "size_preference", "size_curves", "size_slopes", "fig3_lines", "fig3_bars", "branch_maps",
            "branch_shares"]
OF_DATA = ["data_findings", "data_doses", "data_bars", "data_classes", "data_share"]
TABS = dict(zip(OF_DATA, ("Change", "All sizes", "Bars", "Classes", "Without zoom")))

pytestmark = [pytest.mark.browser, pytest.mark.skipif(
    not (STATISTICS / "metadata.json").is_file(), reason="the embedded statistics are missing")]


@pytest.fixture
def kernels(tab):
    """``kernels("dark", size="2×")``: the page in a new tab."""
    def open_page(theme: str = "light", **parameters):
        page = tab(theme).open(page="kernels", model=SK, sample="ladybug", **parameters)
        page.page.get_by_test_id("stMain").get_by_role("heading", name="Kernels", exact=True).wait_for()
        page.page.get_by_role("heading", name="The whole page").wait_for()  # a new server is slow
        return page.settle()
    return open_page


def typed(page) -> str:
    return page.page.get_by_role("textbox", name="Box in pixels").input_value()


def size(page) -> str:
    return page.widget("size").get_by_role("slider").get_attribute("aria-valuetext")


def draw(page, left: float, top: float, right: float, bottom: float) -> None:
    """A box, in pixels of the screen from the picture's corner."""
    chart = page.page.locator("[class*=st-key-box_] .js-plotly-plot")
    chart.scroll_into_view_if_needed()
    corner, mouse = chart.bounding_box(), page.page.mouse
    mouse.move(corner["x"] + left, corner["y"] + top)
    mouse.down()
    mouse.move(corner["x"] + (left + right) / 2, corner["y"] + (top + bottom) / 2, steps=4)
    mouse.move(corner["x"] + right, corner["y"] + bottom, steps=4)
    mouse.up()
    page.settle()


def complete(page) -> None:
    """Every chart is drawn and described."""
    for key in OF_PHOTO + OF_DATA:
        if key in TABS:
            page.page.get_by_role("tab", name=TABS[key]).click()
            page.settle()
        chart = page.chart(key)
        assert chart.count() == 1, key
        assert chart.locator(".point, .hm image, .im image, path.js-line, .bars path").count(), key
        assert chart.bounding_box()["width"] > 300 and chart.bounding_box()["height"] > 200, key
    described = page.page.get_by_test_id("stPlotlyChart").evaluate_all("all => all.map(e => e.ariaLabel)")
    assert len(set(described)) == len(OF_PHOTO + OF_DATA) + 1 and all(len(text) > 15 for text in described)
    assert page.chart("size_cam").locator(".hm image").bounding_box()["width"] > 300
    assert page.errors_shown() == [] and page.page.get_by_test_id("stException").count() == 0


def test_choices_the_slider_and_play_in_the_dark(kernels):
    page = kernels("dark", size="2.375×")
    page.contents_lead_to_sections()
    before = page.traces("size_cam")[-1]["z"]
    page.choose("kernel_class", "espresso")
    assert "kernel_class=espresso" in page.page.url and page.traces("size_cam")[-1]["z"] != before
    assert page.page.get_by_text("not of the most probable class").count() == 1
    page.widget("kernel_points").get_by_text("all").click()
    page.until("document.querySelector('.st-key-fig3_lines_figure .js-plotly-plot')._fullData[0].x.length === 32")
    assert [trace["name"] for trace in page.traces("fig3_lines")] == ["1×", "1.5×", "2×"]
    slider, figures = page.widget("size").get_by_role("slider"), {
        key: page.traces(key) for key in ("size_preference", "size_curves")}
    assert size(page) == "2.375×"
    slider.focus()
    for _ in range(3):
        page.page.keyboard.press("ArrowRight")
    page.settle()
    assert size(page) == "2.75×" and "size=2.75" in page.page.url
    assert page.traces("size_preference") != figures["size_preference"]
    assert page.traces("size_curves") == figures["size_curves"]  # but the mark has moved
    assert page.chart("size_curves").evaluate(
        "graph => [...new Set(graph.layout.shapes.filter(s => s.x0 === s.x1).map(s => s.x0))]") == [2.75]
    range_ = "document.querySelector('.st-key-size_preference_figure .js-plotly-plot')._fullLayout.yaxis.range"
    before = page.page.evaluate(range_)
    at = "document.querySelector('.st-key-size input[type=range]').ariaValueText"
    page.widget("play").locator("label").first.click()
    page.page.wait_for_function(f"{at} === '3×'", timeout=60000)
    page.page.wait_for_function(f"{at} === '2.875×'", timeout=60000)  # and back from the end
    page.widget("play").locator("label").first.click()
    page.settle()
    stopped = size(page)
    page.page.wait_for_timeout(1500)
    assert size(page) == stopped and page.page.evaluate(range_) == before
    # nor does it play on where nobody looks
    page.widget("play").locator("label").first.click()
    page.page.get_by_test_id("stSidebarNavLink").filter(has_text="Explore").click()
    page.page.get_by_role("heading", name="Predictions").wait_for()
    page.settle()
    assert page.errors_shown() == []


def test_every_chart_and_a_box_drawn_with_the_mouse(kernels, tmp_path):
    page = kernels()
    assert page.page.url.startswith(f"{page.server}/kernels")
    complete(page)
    with Image.open(page.download(page.widget("film").locator("button:visible"), tmp_path)) as gif:
        assert Path(gif.filename).name == "ladybug_sizes.gif" and gif.n_frames == 2 * len(SIZES) - 2
    without = page.traces("size_curves")
    draw(page, 210, 100, 400, 280)
    scale = 512 / 420
    box = tuple(float(side) for side in typed(page).split(","))
    np.testing.assert_allclose(box, np.multiply([210, 100, 400, 280], scale), atol=3)
    drawn = page.page.locator("[class*=st-key-box_] .js-plotly-plot").evaluate(
        "graph => graph.layout.shapes.map(shape => [shape.x0, shape.y0, shape.x1, shape.y1])")
    assert drawn == [list(box)]
    model = sv.load(SK, device="cpu")
    expected = size_preference(sweep(model, sv.open_image(SAMPLE), box=box))
    table = pd.read_csv(page.download(page.widget("size_curves_csv").locator("button:visible"), tmp_path))
    pd.testing.assert_frame_equal(table, expected, rtol=1e-3, atol=1e-5)
    assert [t["y"] for t in page.traces("size_curves")] != [t["y"] for t in without]
    page.widget("no_box").locator("button").click()
    page.settle()
    assert typed(page) == "" and [t["y"] for t in page.traces("size_curves")] == [t["y"] for t in without]
    draw(page, 200, 150, -30, -20)  # from its last corner to its first, which lies beyond the picture
    again = tuple(float(side) for side in typed(page).split(","))
    np.testing.assert_allclose(again, np.multiply([0, 0, 200, 150], scale), atol=3)
    assert page.errors_shown() == []
