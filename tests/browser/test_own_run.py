"""A run over one's own photos, on a server of an operator's own, in a real browser."""
import io
import re
import shutil

import pytest
from PIL import Image

import senet_viz as sv
from senet_viz.collecting import Settings, collect
from senet_viz.data.datasets import Pictures
from tests.browser.conftest import opening
from tests.browser.test_classes import NAMES, OF_DATA, OF_PHOTOS, SAMPLES, SE, lines, pick, pytestmark

__all__ = ["pytestmark"]  # where there is neither a browser nor the embedded statistics


@pytest.fixture(scope="module")
def own_server(start_server, tmp_path_factory):
    """A server with a run to offer and a damaged one, and with a folder of its own for temporary files."""
    folder, temporary = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("tmp")
    content = [path.read_bytes() for path in SAMPLES[:4]]
    collect(sv.load(SE, device="cpu"), Pictures(content.__getitem__, [0, 0, 1, 1], ["left", "right"]), folder / "tiny",
            Settings(batch_size=4, shard_size=4), workers=0, progress=False)
    (folder / "damaged").mkdir()
    (folder / "damaged" / "metadata.json").write_text("{}")
    with start_server(temporary / "log", "--statistics", str(folder), TMPDIR=str(temporary)) as address:
        yield address, temporary
    assert not list(temporary.glob("senet_viz_*"))


@pytest.fixture(scope="module")
def arrived(tabs, own_server):
    """Whoever comes to it by a link, and leaves before it ends."""
    with opening(tabs, own_server[0]) as new:
        yield new().open("classes", sample=NAMES[0], classes=["goldfish"], band="standard error")


def test_a_link_reaches_a_new_server(arrived):
    page = arrived
    assert page.page.locator("h1").first.inner_text() == "Classes"
    assert {t["name"] for t in lines(page.traces("lines"))} == {"all", "goldfish"}
    assert len(page.errors_shown()) == 1 and "damaged" in page.errors_shown()[0]
    pick(page, "statistics", "own pictures")
    page.until("""() => document.querySelector('.st-key-lines_figure .js-plotly-plot')._fullData.some(
        trace => trace.name === 'left (n=2)')""")
    assert {t["name"] for t in lines(page.traces("lines"))} == {"all", "left (n=2)", "right (n=2)"}


@pytest.fixture(scope="module")
def other(tabs, own_server):
    """Another visitor."""
    with opening(tabs, own_server[0]) as new:
        yield new().open("classes", sample=NAMES[0])


def test_a_run_over_folders(arrived, own_server, tmp_path, request):
    _, temporary = own_server
    for i, sample in enumerate(SAMPLES[:6]):
        (tmp_path / "mine" / ("left", "right")[i % 2]).mkdir(parents=True, exist_ok=True)
        shutil.copy(sample, tmp_path / "mine" / ("left", "right")[i % 2])
    (tmp_path / "mine" / "left" / "broken.jpg").write_text("Dear Sir or Madam")
    page = arrived
    page.widget("folders").locator("input").set_input_files(tmp_path / "mine")
    page.page.get_by_text("7 photos, 2 classes: left (4), right (3).").wait_for()
    page.settle()
    page.widget("collect").get_by_role("button").click()
    page.page.get_by_text("Done: 7 photos.").wait_for()
    page.settle()
    assert len(list(temporary.glob("senet_viz_*"))) == 1
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
