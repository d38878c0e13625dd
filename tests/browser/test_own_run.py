"""A run over one's own photos beside those that the operator offers, in a real browser."""
import io
import re
import shutil

import pytest
from PIL import Image

from tests.browser.test_classes import NAMES, OF_DATA, OF_PHOTOS, SAMPLES, lines, pick, pytestmark

__all__ = ["pytestmark"]  # where there is neither a browser nor the embedded statistics


@pytest.fixture(scope="module")
def visitor(shared_tab):
    """Who comes by a link, and leaves before a run ends."""
    return shared_tab().open("classes", sample=NAMES[0], classes=["goldfish"], band="standard error")


def test_a_run_of_the_operators(visitor):
    page = visitor
    assert page.page.locator("h1").first.inner_text() == "Classes"
    assert {t["name"] for t in lines(page.traces("lines"))} == {"all", "goldfish"} and page.errors_shown() == []
    pick(page, "statistics", "own pictures")
    page.until("""() => document.querySelector('.st-key-lines_figure .js-plotly-plot')._fullData.some(
        trace => trace.name === 'left (n=2)')""")
    assert {t["name"] for t in lines(page.traces("lines"))} == {"all", "left (n=2)", "right (n=2)"}


@pytest.fixture(scope="module")
def other(shared_tab):
    """Another visitor."""
    return shared_tab().open("classes", sample=NAMES[0])


def test_a_run_over_folders(visitor, operated, tmp_path, request):
    for i, sample in enumerate(SAMPLES[:6]):
        (tmp_path / "mine" / ("left", "right")[i % 2]).mkdir(parents=True, exist_ok=True)
        shutil.copy(sample, tmp_path / "mine" / ("left", "right")[i % 2])
    (tmp_path / "mine" / "left" / "broken.jpg").write_text("Dear Sir or Madam")
    page = visitor
    page.widget("folders").locator("input").set_input_files(tmp_path / "mine")
    page.page.get_by_text("7 photos, 2 classes: left (4), right (3).").wait_for()
    page.settle()
    page.widget("collect").get_by_role("button").click()
    page.page.get_by_text("Done: 6 photos, 1 could not be used.").wait_for()
    page.settle()
    assert len(list(operated.temporary.glob("senet_viz_*"))) == 1
    pick(page, "statistics", "own pictures, 6 pictures")
    page.until("document.body.innerText.includes('1 could not be used')")
    for key in OF_DATA + OF_PHOTOS:
        assert page.chart(key).count() == 1, key
    # another visitor, who comes now, does not see it
    other = request.getfixturevalue("other")
    other.widget("statistics").get_by_role("combobox").click()
    other.page.get_by_role("option").first.wait_for()
    options = other.page.get_by_role("option").all_inner_texts()
    assert len(options) == 3 and not any("6 pictures" in option for option in options)
    other.page.keyboard.press("Escape")


def test_a_run_is_cancelled(other, tmp_path):
    buffer = io.BytesIO()  # of which many take a while
    Image.linear_gradient("L").resize((6000, 6000)).convert("RGB").save(buffer, "JPEG")
    for i in range(48):
        path = tmp_path / "mine" / f"class {i % 2}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue())
    page = other
    page.widget("folders").locator("input").set_input_files(tmp_path / "mine")
    page.page.get_by_text("48 photos, 2 classes").wait_for()
    page.settle()
    page.widget("control").locator("label").first.click()
    page.settle()
    page.widget("collect").get_by_role("button").click()
    cancel = page.widget("cancel").get_by_role("button")
    cancel.wait_for()
    page.page.get_by_text(re.compile(r"\d+ of 48 photos")).wait_for()
    cancel.click()
    page.page.get_by_text(re.compile(r"Cancelled after \d+ of 48 photos\.")).wait_for()
    page.settle()
    assert page.widget("collect").count() == 1 and page.page.get_by_test_id("stException").count() == 0
