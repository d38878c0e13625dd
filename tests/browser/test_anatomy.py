"""The Anatomy page as a person uses it, in a real browser."""
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import senet_viz as sv
from senet_viz.experiments import anatomy, cost

ROOT = Path(__file__).resolve().parents[2]
SE, SK = "demo/se_resnet50_slim", "demo/sknet50_slim"
CHARTS = ["variants", "se_cost", "sk_cost", "sk_networks", "ratio"]

pytestmark = pytest.mark.browser

BEYOND = """all => all.filter(formula => {
    const column = formula.closest('[data-testid="stVerticalBlock"]').getBoundingClientRect()
    return [...formula.querySelectorAll('*')].some(e => e.getBoundingClientRect().right > column.right + 3)
}).map(formula => formula.innerText)"""


@pytest.fixture
def page(tab):
    """``page("dark", model=SK)``: the page in a new tab."""
    def open_page(theme: str = "light", model: str = SE, **parameters):
        one = tab(theme).open(page="anatomy", model=model, sample="ladybug", **parameters)
        one.page.get_by_test_id("stMain").get_by_role("heading", name="Anatomy").wait_for()  # a new server is slow
        one.page.get_by_role("heading", name="The whole page").wait_for()
        return one.settle()
    return open_page


def complete(one, *keys: str) -> None:
    """Every chart is drawn, no formula is cut by its column, and no label lies on another."""
    for key in [*keys, *CHARTS]:
        chart = one.chart(key)
        assert chart.count() == 1, key
        assert chart.locator(".point, .hm image, .im image, .bars path").count(), key
        assert chart.bounding_box()["width"] > 300 and chart.bounding_box()["height"] > 180, key
    assert one.page.locator(".katex-html").evaluate_all(BEYOND) == []
    texts = one.chart("ratio").locator(".textpoint text").evaluate_all("all => all.map(e => e.getBoundingClientRect())")
    boxes = [(box["left"], box["top"], box["right"], box["bottom"]) for box in texts]
    assert len(boxes) == 6 and not any(
        a is not b and a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for a in boxes for b in boxes)
    assert one.errors_shown() == [] and one.page.get_by_test_id("stException").count() == 0


def test_a_click_on_a_channel_shows_its_maps(page, tmp_path):
    one = page(se_block="SE_2_1")
    complete(one, "se_strips", "se_channel")
    model = sv.load(SE, device="cpu")
    found = anatomy.dissect(model, model.batch([sv.open_image(ROOT / "assets/samples/ladybug.jpg")]), "SE_2_1")
    gate = next(i for i, trace in enumerate(one.traces("se_strips"))
                if trace["type"] == "heatmap" and len(trace["z"][0]) == 64
                and np.allclose(trace["z"][0], found.gate[0], atol=1e-4))
    one.page.mouse.click(*one.point("se_strips", gate + 1, 23))
    one.settle()
    assert one.widget("se_of").get_by_role("spinbutton").input_value() == "23" and "se_of=23" in one.page.url
    captions = one.chart("se_channel").locator(".annotation").all_text_contents()
    assert any(anatomy.describe_channel(found, 23)[1] in caption for caption in captions)
    maps = [np.array(trace["z"]) for trace in one.traces("se_channel") if "z" in trace]
    for drawn, expected in zip(maps, anatomy.channel_maps(found, 23).values(), strict=True):
        np.testing.assert_allclose(drawn, expected, atol=1e-4)
    table = pd.read_csv(one.download(one.widget("se_channel_csv").locator("button:visible"), tmp_path))
    np.testing.assert_allclose(table["value"], anatomy.cells(found, 23)["value"], atol=1e-4)


def test_sliders_count_at_once_in_the_dark(page):
    one = page("dark", SK)
    complete(one, "sk_strips", "sk_channel")
    one.contents_lead_to_sections()
    assert one.page.get_by_text("takes a squeeze-and-excitation network").count() == 1
    one.widget("se_r").get_by_role("slider").focus()
    one.page.keyboard.press("ArrowRight")
    one.settle()
    found = cost.se_cost(32)
    assert "se_r=32" in one.page.url
    assert one.page.get_by_test_id("stMetricValue").all_inner_texts()[:4] == [
        f"{found.attention:,}", f"{found.share:.2%}", f"{found.parameters:,}", f"{found.macs / 1e9:.3f}"]
    assert one.traces("se_cost")[1]["y"] == pytest.approx((found.table["attention"] / 1e6).tolist())
    one.widget("sk_m").get_by_role("slider").focus()
    one.page.keyboard.press("ArrowRight")
    one.settle()
    assert one.page.get_by_test_id("stMetricValue").all_inner_texts()[6] == f"{cost.sk_cost(3).parameters:,}"
    one.choose("variant_block", "SK_2_3")
    assert "variant_block=SK_2_3" in one.page.url and one.errors_shown() == []
