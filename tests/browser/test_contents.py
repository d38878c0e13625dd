"""The table of contents; the tests of each page go where it leads, too."""
import pytest

from tests.browser.conftest import CONTENTS

pytestmark = pytest.mark.browser
CURRENT = f"() => document.querySelector('{CONTENTS} [aria-current]')?.hash"


@pytest.fixture(scope="module")
def linked(shared_tab):
    """Explore, by a link to one of its sections."""
    page = shared_tab()
    page.page.goto(f"{page.server}/?sample=teapot&sample=rocket#gate-change")
    return page.settle()


def test_a_copied_link_leads_to_its_section(linked):
    assert linked.page.evaluate(CURRENT) in ("#gate-change", "#grad-cam")
    assert 55 <= linked.top_of("gate-change") <= 120


def test_it_is_walked_with_the_keyboard(linked):
    link = linked.page.locator(f"{CONTENTS} a[href='#contribution']")
    link.focus()
    link.press("Enter")
    linked.until("document.activeElement.id === 'contribution'")
    assert 55 <= linked.top_of("contribution") <= 120
    assert linked.page.locator(CONTENTS).get_attribute("aria-label")


@pytest.mark.parametrize("path", ["compare", "training"])
def test_it_leads_to_every_section(tab, path):
    tab().open(path, model="demo/sknet50_slim", sample="teapot").contents_lead_to_sections()


@pytest.fixture(scope="module")
def narrow(shared_tab):
    return shared_tab(width=420, height=900).open(sample="teapot")


@pytest.mark.parametrize("width", [1920, 1440, 800, 420])
def test_it_stays_in_view_and_marks_where_one_is(linked, narrow, width):
    page = narrow if width == 420 else linked  # the sidebar stays in a window that was wider
    page.page.set_viewport_size({"width": width, "height": 900})
    page.settle()
    page.page.mouse.move(width * 0.7, 500)
    page.page.mouse.wheel(0, -30_000)  # from where another test has been
    page.page.wait_for_function("document.querySelector('[data-testid=stMain]').scrollTop === 0")
    marked = []
    for _ in range(40):
        page.page.mouse.wheel(0, 500)
        page.page.wait_for_timeout(60)
        marked.append(page.page.evaluate(CURRENT))
        nav = page.page.locator(CONTENTS).bounding_box()
        assert nav["y"] >= 0 and nav["y"] + nav["height"] <= 900
    seen = [anchor for anchor in dict.fromkeys(marked) if anchor]
    order = page.page.locator("h2[id], h3[id]").evaluate_all("all => all.map(e => '#' + e.id)")
    assert seen == [anchor for anchor in order if anchor in seen] and len(seen) >= 5 and seen[-1] == "#report"
    # nothing is pushed out of the window by it
    page.fits()
    assert page.page.locator(CONTENTS).evaluate("""nav => {
        const box = nav.getBoundingClientRect(), page = document.querySelector('#report').getBoundingClientRect()
        return box.bottom <= page.top || box.left >= page.right
    }""")
