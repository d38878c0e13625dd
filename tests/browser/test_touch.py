"""Charts under a finger."""
import pytest

from tests.browser.conftest import FORGET, Tab, opening, swipe

pytestmark = pytest.mark.browser
TOP = "document.querySelector('[data-testid=stMain]').scrollTop"


@pytest.fixture(scope="module")
def phone(browser, server):
    """A window of a phone's size, with fingers and without a mouse."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    context.add_init_script(FORGET)
    with opening((context, []), server) as new:
        yield new(width=390, height=844)
    context.close()


def scrolled(page: Tab, *path: float) -> float:
    """How far the page scrolls when a finger moves."""
    before = page.page.evaluate(TOP)
    swipe(page.page, *path)
    page.settle()
    return page.page.evaluate(TOP) - before


def centre(page: Tab, chart) -> tuple[float, float]:
    """Bring a chart to the middle of the window: where its middle is."""
    chart.evaluate("chart => chart.scrollIntoView({block: 'center'})")
    page.page.wait_for_timeout(300)
    box = chart.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_finger_over_a_chart_scrolls_and_a_tap_chooses(phone):
    phone.open(sample="teapot")
    chart = phone.chart("excitation")
    x, y = centre(phone, chart)
    buttons = chart.locator(".modebar")
    assert not buttons.is_visible()  # they would cover the legend
    zoom = "chart => String(chart._fullLayout.yaxis.range)"
    shown = chart.evaluate(zoom)
    assert scrolled(phone, x, y, 0, -150) > 100 and chart.evaluate(zoom) == shown
    centre(phone, chart)
    phone.page.touchscreen.tap(*phone.point("excitation", 0, 5))
    phone.settle()
    channel = int(chart.evaluate("chart => chart._fullData[0].x[5]"))
    assert phone.widget("channel").locator("input").input_value() == str(channel) and buttons.is_visible()


def test_a_finger_draws_a_box(phone):
    phone.open("kernels", model="demo/sknet50_slim", sample="teapot")
    x, y = centre(phone, phone.page.locator("[class*=st-key-box_] .js-plotly-plot"))
    assert scrolled(phone, x - 50, y - 50, 80, 60) == 0
    typed = phone.page.get_by_role("textbox", name="Box in pixels").input_value()
    left, top, right, bottom = map(float, typed.split(", "))
    assert (right - left) / (bottom - top) == pytest.approx(80 / 60, rel=0.1)
