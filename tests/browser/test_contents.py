"""The table of contents, on every page and in windows of every width."""
import pytest

pytestmark = pytest.mark.browser
PAGES = ["", "classes", "anatomy", "kernels", "what_if", "compare", "training"]
NAV = ".st-key-contents nav"
CURRENT = f"() => document.querySelector('{NAV} [aria-current]')?.hash"
# a section that has just come is in the list a moment later
SAME = f"""() => {{
    const pairs = (all, of) => JSON.stringify([...document.querySelectorAll(all)].map(of))
    return pairs('h2[id]', e => ['#' + e.id, e.innerText.trim()])
        === pairs("{NAV} a[data-level='2']", e => [e.hash, e.innerText])
}}"""


def top_of(page, anchor: str) -> float:
    return page.page.locator(f"[id='{anchor}']").bounding_box()["y"]


@pytest.fixture(scope="module")
def explore(shared_tab):
    return shared_tab().open(model="demo/sknet50_slim", sample="teapot")


@pytest.mark.parametrize("path", PAGES)
def test_it_names_every_section_and_leads_there(tab, explore, path):
    page = tab().open(path, model="demo/sknet50_slim", sample="teapot") if path else explore
    page.page.wait_for_function(SAME, timeout=30_000)
    sections = page.page.locator("h2[id]").evaluate_all("all => all.map(e => ['#' + e.id, e.innerText.trim()])")
    assert len(sections) >= 3
    for anchor, _ in sections[:3]:
        page.page.locator(f"{NAV} a[href='{anchor}']").click()
        page.until("anchor => document.querySelector('.st-key-contents [aria-current]')?.hash === anchor", anchor)
        assert page.page.url.endswith(anchor) and "sample=teapot" in page.page.url
        ended = page.page.get_by_test_id("stMain").evaluate(
            "main => main.scrollTop + main.clientHeight >= main.scrollHeight - 2")
        assert 55 <= top_of(page, anchor[1:]) <= (1200 if ended else 120)  # below the bar, not under it


@pytest.fixture(scope="module")
def windows(shared_tab, explore):
    """Width → Explore in a window that was opened so wide, or wider: the sidebar stays, but on a phone."""
    dark = shared_tab("dark", width=1920, height=900).open(sample="teapot")
    return {1440: explore, 1920: dark, 800: dark, 420: shared_tab(width=420, height=900).open(sample="teapot")}


@pytest.mark.parametrize("width", [1440, 1920, 800, 420])
def test_it_stays_in_view_and_marks_where_one_is(windows, width):
    page = windows[width]
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
        nav = page.page.locator(NAV).bounding_box()
        assert nav["y"] >= 0 and nav["y"] + nav["height"] <= 900
    seen = [anchor for anchor in dict.fromkeys(marked) if anchor]
    order = page.page.locator("h2[id], h3[id]").evaluate_all("all => all.map(e => '#' + e.id)")
    assert seen == [anchor for anchor in order if anchor in seen] and len(seen) >= 5 and seen[-1] == "#report"
    # nothing is pushed out of the window by it
    page.fits()
    assert page.page.locator(NAV).evaluate("""nav => {
        const box = nav.getBoundingClientRect(), page = document.querySelector('#report').getBoundingClientRect()
        return box.bottom <= page.top || box.left >= page.right
    }""")


def test_a_copied_link_leads_to_its_section(tab):
    page = tab()
    page.page.goto(f"{page.server}/?sample=teapot&sample=rocket#gate-change")
    page.settle()
    assert page.page.evaluate(CURRENT) in ("#gate-change", "#grad-cam")
    assert 55 <= top_of(page, "gate-change") <= 120


def test_it_is_walked_with_the_keyboard(explore):
    page = explore
    link = page.page.locator(f"{NAV} a[href='#contribution']")
    link.focus()
    link.press("Enter")
    page.until("document.activeElement.id === 'contribution'")
    assert 55 <= top_of(page, "contribution") <= 120
    assert page.page.locator(NAV).get_attribute("aria-label")
