"""The first chart stands before the others are drawn."""
import re

import pytest

pytestmark = pytest.mark.browser
# how many charts stood, each time that their number changed, and whether a run ended behind the first one
WATCH = """window.counts = []
new MutationObserver(() => {
    if (document.querySelector('.st-key-up_to_first_chart')) window.ended = true
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


def test_rest_comes_though_the_connection_is_lost_before_it_is_asked_for(tab):
    page, lost, sockets, held = tab(), False, [], []

    def connect(socket) -> None:
        if lost:
            socket.close()
        else:
            socket.connect_to_server()
            sockets.append(socket)

    page.page.route_web_socket(re.compile("_stcore/stream"), connect)
    page.page.route("**/PlotlyChart.*.js", lambda request: held.append(request))
    page.page.goto(f"{page.server}/?sample=teapot")
    page.page.locator(".st-key-up_to_first_chart").wait_for(state="attached")
    lost = True
    sockets[-1].close()
    page.page.wait_for_timeout(300)
    for request in held:
        request.continue_()
    page.page.locator(".main-svg").first.wait_for()
    page.page.wait_for_timeout(1500)
    assert page.page.locator(".st-key-up_to_first_chart").count() == 1
    lost = False
    page.page.locator(".st-key-report").wait_for()
    assert page.settle().page.locator(".js-plotly-plot").count() > 3
    page.errors.clear()  # Streamlit tells the console that the connection was lost
    page.page.unroute_all()
