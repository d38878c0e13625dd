"""Photos of one's own over several pages, and files that are none, in a real browser."""
from pathlib import Path

import pytest
from PIL import Image

SAMPLES = sorted((Path(__file__).resolve().parents[2] / "assets" / "samples").glob("*.jpg"))
pytestmark = pytest.mark.browser


def go(page, name: str) -> None:
    page.page.get_by_test_id("stSidebarNav").get_by_role("link", name=name, exact=True).click()
    page.page.get_by_role("heading", name=name, exact=True).wait_for()
    page.settle()


def test_a_photo_and_its_class_go_along_until_it_is_removed(tab):
    page = tab().open(model="demo/sknet50_slim", sample="teapot")
    page.widget("uploads").locator("input").set_input_files(SAMPLES[0])
    page.until("document.querySelectorAll('[data-testid=stImage]').length === 2")
    page.choose("class", "lemon")
    for name, key in (("Kernels", "kernel_class"), ("Explore", "class")):
        go(page, name)
        assert page.widget(key).get_by_role("combobox").input_value() == "lemon"
        assert SAMPLES[0].name in page.widget("photos_before").inner_text()
        assert page.errors_shown() == []
    page.widget("photos_before").get_by_role("combobox").click()
    page.page.keyboard.press("Backspace")
    page.until("document.querySelectorAll('[data-testid=stImage]').length === 1")
    assert page.widget("photos_before").count() == 0 and "photo=" not in page.page.url


@pytest.fixture(scope="module")
def four(shared_tab, tmp_path_factory):
    """Explore with two samples, a very thin picture, one with a very long name, and a file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    Image.new("RGB", (3, 300), "red").save(folder / "thin.png")
    Image.open(SAMPLES[0]).save(folder / f"{'a very long name ' * 10}.png")
    (folder / "text.jpg").write_text("Dear Sir")
    page = shared_tab().open(sample=["teapot", "rocket"])
    page.widget("uploads").locator("input").set_input_files(sorted(folder.iterdir()))
    return page.until("document.querySelectorAll('[data-testid=stImage]').length === 4")


@pytest.mark.parametrize("width", [1440, 800, 420])
def test_pictures_stand_beside_or_below_each_other(four, width):
    page = four
    page.page.set_viewport_size({"width": width, "height": 900})
    page.settle()
    assert len(page.errors_shown()) == 1 and "text.jpg: The file is not a picture" in page.errors_shown()[0]
    boxes = page.page.get_by_test_id("stImage").locator("img").evaluate_all(
        "all => all.map(e => (b => [b.left, b.top, b.right, b.bottom])(e.getBoundingClientRect()))")
    for i, (left, top, right, bottom) in enumerate(boxes):
        assert right <= width
        for other in boxes[i + 1:]:
            assert other[0] >= right or other[2] <= left or other[1] >= bottom or other[3] <= top
    page.fits()
    grid = page.widget("grad_cam_figure")  # as large as elsewhere; what has no room is a scroll away
    assert page.chart("grad_cam").bounding_box()["width"] > 500
    assert grid.evaluate("e => e.scrollWidth <= e.clientWidth || getComputedStyle(e).overflowX === 'auto'")
