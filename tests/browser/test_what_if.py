"""The What-if page as a person uses it, in a real browser."""
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
STATISTICS = ROOT / "assets" / "statistics" / "se_resnet50_slim"
SK = "demo/sknet50_slim"
CHARTS = ["what_overview", "what_block", "what_cams", "what_travel", "what_blocks", "what_stages", "what_channels",
          "what_swap"]
TABS = {"what_cams": "Where it looks", "what_travel": "How far it travels", "what_blocks": "One block at a time",
        "what_stages": "Whole stages"}

pytestmark = [pytest.mark.browser, pytest.mark.skipif(
    not (STATISTICS / "metadata.json").is_file(), reason="the embedded statistics are missing")]


def edits(page) -> str:
    return page.widget("edits").get_by_role("textbox").input_value()


def press(page, key: str) -> None:
    page.widget(key).get_by_role("button").click()
    page.settle()


def look(page, key: str) -> None:
    """Open the tab that a section is on."""
    if key in TABS:
        page.page.get_by_role("tab", name=TABS[key]).click()
        page.settle()


def complete(page, charts: list[str]) -> None:
    """Every chart is drawn and described, on its tab where it has one."""
    for key in charts:
        look(page, key)
        chart = page.chart(key)
        assert chart.count() == 1, key
        assert chart.locator(".point, .hm image, path.js-line, .bars path").count(), key
        assert chart.bounding_box()["width"] > 300 and chart.bounding_box()["height"] > 200, key
    assert page.errors_shown() == [] and page.page.get_by_test_id("stException").count() == 0


def test_clicks_make_edits_which_travel_in_the_link(tab, tmp_path):
    page = tab().open(page="what_if", sample=["ladybug", "teapot"])
    assert edits(page) == "" and "There are no edits" in page.notes_shown()[0]
    labels = page.traces("what_overview")
    dots = next(i for i, trace in enumerate(labels) if trace.get("customdata"))
    page.page.mouse.click(*page.point("what_overview", dots, 6))
    page.until("document.querySelector('.st-key-what_where input').value === 'SE_3_4'")
    press(page, "what_add")
    assert edits(page) == "SE_3_4=1"
    page.page.mouse.click(*page.point("what_block", 0, 40))
    page.until("document.querySelector('.st-key-edits textarea').value.includes('[')")
    assert edits(page) == "SE_3_4=1\nSE_3_4[40]=0"
    press(page, "what_undo")
    assert edits(page) == "SE_3_4=1"
    page.widget("edits").get_by_role("textbox").fill("SE_4_2=photo\nSE_5_1=mean\nSE_5_3[7,9-12]=0")
    page.page.keyboard.press("Control+Enter")
    page.settle()
    swapped = page.traces("what_swap")
    page.choose("what_picture", "teapot")
    assert page.traces("what_swap") != swapped
    look(page, "what_travel")
    table = pd.read_csv(page.download(page.widget("what_travel_csv").locator("button:visible"), tmp_path))
    assert list(table["label"][table["edited"]]) == ["SE_4_2", "SE_5_1", "SE_5_3"]
    # in another browser: the tabs that were open are open, the others are not
    look(page, "what_stages")
    other = tab("dark")
    other.page.goto(page.page.url)
    other.settle()
    assert other.chart("what_travel").is_visible() and other.chart("what_stages").is_visible()
    assert not other.chart("what_cams").is_visible() and not other.chart("what_blocks").is_visible()
    complete(other, CHARTS)
    assert edits(other) == edits(page) and other.traces("what_travel") == page.traces("what_travel")
    press(other, "what_reset")
    assert edits(other) == "" and other.chart("what_travel").count() == 0 and "edits" not in other.page.url
    press(other, "what_undo")
    assert edits(other) == edits(page) and other.chart("what_travel").count() == 1


def test_forced_kernels_in_the_dark(tab):
    page = tab("dark").open(page="what_if", model=SK, sample=["ladybug", "teapot"], edits="SE_5_3=1")
    assert "matches no block" in page.errors_shown()[0]
    press(page, "what_reset")
    page.page.get_by_text("Whole stages", exact=True).first.click()
    slider = page.widget("what_stage_4").get_by_role("slider")
    slider.focus()
    page.page.keyboard.press("ArrowRight")
    page.until("document.querySelector('.st-key-edits textarea').value.length > 0")
    assert edits(page) == "stage 4=mix 1 0"
    complete(page, [*CHARTS, "what_sizes"])
    page.contents_lead_to_sections()
    assert [trace["name"] for trace in page.traces("what_sizes")] == ["own choice", "3x3", "5x5", "uniform"]
