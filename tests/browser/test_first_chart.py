"""The first chart stands before the others are drawn."""
import pytest

pytestmark = pytest.mark.browser
# how many charts stood, each time that their number changed, and whether a run ended behind the first one
WATCH = """window.counts = []
new MutationObserver(() => {
    if (document.querySelector('[class*="st-key-first_chart"]')) window.ended = true
    const count = document.querySelectorAll('.js-plotly-plot:has(.main-svg)').length
    if (count !== (counts.at(-1) ?? 0)) counts.push(count)
}).observe(document, {childList: true, subtree: true})"""


@pytest.mark.parametrize("path", ["", "kernels", "training"])
def test_first_chart_stands_before_the_others(tab, path):
    page = tab()
    page.page.add_init_script(WATCH)
    page.open(path, model="demo/sknet50_slim", sample="teapot", block="SK_4_2", rows=30)
    counts = page.page.evaluate("counts")
    begun = 2 if path == "kernels" else 1  # there the photo, on which a box is drawn, is one too
    assert begun in counts[:begun] and counts[-1] > begun
    assert counts == sorted(counts)
    if not path:  # what a link says of the rest holds
        assert page.widget("block").get_by_role("combobox").input_value() == "SK_4_2"
        assert "block=SK_4_2" in page.page.url and "rows=30" in page.page.url
    assert page.page.evaluate("ended")
    page.page.evaluate("ended = false")
    page.page.locator(".st-key-image_format").get_by_text("svg").click()
    assert not page.settle().page.evaluate("ended")  # later runs draw the page whole


def test_page_that_one_goes_to_begins_with_its_first_chart(tab):
    page = tab()
    page.page.add_init_script(WATCH)
    page.open(sample="teapot")
    page.page.evaluate("counts.length = 0")
    page.page.get_by_test_id("stSidebarNav").get_by_role("link", name="Anatomy").click()
    page.settle()
    counts = page.page.evaluate("counts")
    assert 1 in counts and counts[-1] > 3
