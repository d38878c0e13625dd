"""The Classes page as a person uses it, in a real browser."""
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import senet_viz as sv
from senet_viz.statistics import summaries

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = sorted((ROOT / "assets" / "samples").glob("*.jpg"))
NAMES = [path.stem.replace("_", " ") for path in SAMPLES]
STATISTICS = ROOT / "assets" / "statistics"
SE, SK = "demo/se_resnet50_slim", "demo/sknet50_slim"
OF_DATA = ["lines", "depth", "dimension", "driving", "heat_map", "channel_classes", "channel_histogram", "pair",
           "saturation"]
OF_PHOTOS = ["photo_lines", "nearest", "mean_cams"]
TABS = {  # section → the tabs that it is behind, and which of them
    "heat_map": ("channels_of_block", "Every class"), "channel_classes": ("channels_of_block", "One channel"),
    "channel_histogram": ("channels_of_block", "One channel"), "photo_lines": ("photo_view", "Class means"),
    "nearest": ("photo_view", "Nearest classes"), "mean_cams": ("photo_view", "Grad-CAM")}

pytestmark = [pytest.mark.browser, pytest.mark.skipif(
    not all((STATISTICS / name.partition("/")[2] / "metadata.json").is_file() for name in (SE, SK)),
    reason="the embedded statistics are missing")]


@pytest.fixture(scope="module")
def se() -> sv.Statistics:
    return sv.open_statistics(STATISTICS / "se_resnet50_slim")


def lines(traces: list[dict]) -> list[dict]:
    """Those of classes; bands have no name of their own."""
    return [trace for trace in traces if not trace["name"].startswith("trace ")]


def box_in_view(page, key: str):
    """A select box, where its list can be opened: scrolling would close it."""
    box = page.widget(key).get_by_role("combobox")
    box.scroll_into_view_if_needed()
    page.page.wait_for_timeout(300)
    return box


def pick(page, key: str, text: str) -> None:
    """Choose the option of a select box that has this text."""
    box_in_view(page, key).click()
    page.page.get_by_role("option").filter(has_text=text).click()
    page.settle()


def reveal(page, key: str) -> None:
    """Open the tab that a section is behind."""
    if key in TABS:
        group, name = TABS[key]
        page.widget(group).get_by_role("tab", name=name).click()
        page.chart(key).wait_for()
        page.settle()


def every_chart_is_drawn(page) -> list[str]:
    """Marks on the screen, not only data; how the charts are described."""
    page.chart("lines").wait_for()  # a busy server rests before it draws
    page.settle()
    for key in OF_DATA + OF_PHOTOS:
        chart = page.chart(key)
        assert chart.count() == 1, key
        reveal(page, key)
        assert chart.locator(".point, .box, .hm image, .im image, path.js-line, .bars path").count(), key
        assert chart.bounding_box()["width"] > 300 and chart.bounding_box()["height"] > 200
        assert [t for t in page.traces(key) if t.get("x") or t.get("z")], key
    described = page.page.get_by_test_id("stPlotlyChart").evaluate_all("all => all.map(e => e.ariaLabel)")
    assert len(set(described)) == len(OF_DATA + OF_PHOTOS) and all(len(text) > 40 for text in described)
    assert page.errors_shown() == [] and page.page.get_by_test_id("stException").count() == 0
    return described


@pytest.fixture(scope="module")
def light(shared_tab):
    """The page by a link with a class, a block and two photos, for tests that choose one thing each."""
    return shared_tab().open("classes", sample=NAMES[:2], classes=["goldfish"], class_block="SE_2_1")


def test_the_page_and_its_report(light, tmp_path, browser):
    page = light
    assert page.page.url.startswith(f"{page.server}/classes")
    page.contents_lead_to_sections()
    described = every_chart_is_drawn(page)
    # the report holds them all, without a network
    path = page.download(page.widget("report").locator("button:visible"), tmp_path)
    assert path.name == "se_resnet50_slim_classes.html"
    context = browser.new_context(offline=True)
    offline, said = context.new_page(), []
    offline.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    offline.on("pageerror", lambda error: said.append(str(error)))
    offline.goto(path.as_uri())
    offline.wait_for_function(f"document.querySelectorAll('.js-plotly-plot').length === {len(described)}")
    assert offline.locator("[role=img]").evaluate_all("all => all.map(e => e.ariaLabel)") == described
    assert offline.locator("[role=img] .js-plotly-plot .main-svg").count() >= len(described) and said == []
    context.close()


def test_classes_by_name_and_a_band(light, se, tmp_path):
    page = light
    chart = page.chart("lines")
    assert [t["name"] for t in lines(page.traces("lines"))] == ["all", "goldfish"] * 6
    assert chart.locator(".annotation-text").all_text_contents()[:6] == [
        "SE_2_3", "SE_3_4", "SE_4_6", "SE_5_1", "SE_5_2", "SE_5_3"]
    box = box_in_view(page, "classes")
    box.fill("tarant")
    page.page.get_by_role("option").first.wait_for()
    box.press("Enter")
    page.settle()
    page.until("""() => document.querySelector('.st-key-lines_figure .js-plotly-plot')._fullData.some(
        trace => trace.name === 'tarantula')""")
    names = summaries.class_names(se)
    drawn = lines(page.traces("lines"))
    assert len(drawn) == 18 and "classes=goldfish&classes=tarantula" in page.page.url
    means = se.mean("SE_5_3")[names.index("tarantula"), -1]
    np.testing.assert_allclose(drawn[-1]["y"], means[drawn[-1]["x"]], atol=1e-6)
    assert chart.locator(".fills path, .js-fill").count() == 0
    box.press("Escape")  # an open list hides from roles what is beside it
    page.page.get_by_role("button", name="How it is drawn").click()
    page.widget("band").get_by_text("standard deviation").click()
    page.until("document.querySelector('.st-key-lines_figure .js-plotly-plot')._fullData.length === 36")
    assert chart.locator(".js-fill").count() >= 18
    page.page.keyboard.press("Escape")
    table = pd.read_csv(page.download(page.widget("lines_csv").locator("button:visible"), tmp_path))
    assert set(table["class"]) == {"goldfish", "tarantula", "all"} and table["label"].nunique() == 6
    page.widget("paper").locator("label").first.click()
    page.until("document.querySelector('.st-key-paper_csv') !== null")
    assert page.errors_shown() == []


def test_a_heat_map_of_another_block_and_a_channel(light, se):
    page = light
    reveal(page, "heat_map")
    [shown] = page.traces("heat_map")
    z = np.array(shown["z"], float)
    means = se.mean("SE_2_1")[:, -1]
    assert z.shape == means.shape
    np.testing.assert_allclose(np.sort(z.ravel()), np.sort((means - means.mean(0)).ravel()), atol=1e-5)
    image = page.chart("heat_map").locator(".hm image")
    assert image.count() == 1 and image.bounding_box()["width"] > 300
    page.widget("centred").locator("label").first.click()
    page.until("document.querySelector('.st-key-heat_map_figure .js-plotly-plot')._fullData[0].zmin === 0")
    pick(page, "class_block", "SE_5_1")
    best = summaries.selective_channels(se, "SE_5_1")["channel"][0]
    reveal(page, "channel_histogram")
    assert "channels_of_block=One+channel" in page.page.url  # a link to it opens this tab
    assert page.widget("class_channel").locator("input").input_value() == str(best)
    page.page.reload()
    page.settle()
    assert page.chart("channel_histogram").is_visible() and not page.chart("heat_map").is_visible()
    described = page.page.locator(".st-key-channel_histogram_figure [data-testid=stPlotlyChart]")
    assert "5,000 pictures" in described.get_attribute("aria-label")


def test_another_model_brings_its_statistics_and_zooms(tab):
    page = tab("dark").open("classes", sample=NAMES[0], classes="goldfish")
    page.choose("model", SK)
    page.widget("zoom").wait_for()
    page.settle()
    assert page.chart("lines").count() == 1  # blocks of this network
    sk = sv.open_statistics(STATISTICS / "sknet50_slim")
    index = summaries.class_names(sk).index("goldfish")
    for zoom in (1.0, 2.0):
        if zoom > 1:
            page.widget("zoom").get_by_text("2×", exact=True).click()
            page.until("document.querySelector('.st-key-zoom [aria-checked=true]')?.innerText.trim() === '2×'")
        drawn = [t for t in lines(page.traces("lines")) if t["name"] == "goldfish"]
        assert len(drawn) == 6
        np.testing.assert_allclose(drawn[-1]["y"], sk.mean("SK_5_3", zoom)[index, -1][drawn[-1]["x"]], atol=1e-6)
    every_chart_is_drawn(page)
    ground = page.page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
    text = page.chart("lines").locator(".legendtext").first.evaluate("e => getComputedStyle(e).fill")
    assert sum(map(int, re.findall(r"\d+", ground)[:3])) < 150 and sum(map(int, re.findall(r"\d+", text)[:3])) > 500
    assert "weight of 5×5" in page.chart("photo_lines").locator(".annotation-text").all_text_contents()
    before = page.traces("lines")
    page.page.reload()
    page.settle()
    assert page.traces("lines") == before
    # the other network's statistics again: what is told by photo needs the right one
    pick(page, "statistics", "se_resnet50_slim on tiny")
    page.until("document.querySelector('.st-key-zoom') === null")
    page.chart("lines").wait_for()
    assert len(lines(page.traces("lines"))) == 12 and page.chart("nearest").count() == 0
    assert len([note for note in page.notes_shown() if "another network" in note]) == 2
