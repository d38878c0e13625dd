"""A page in two runs: up to its first chart, and whole once a browser says that it stands."""
import pytest
from streamlit.testing.v1 import AppTest

from pages.parts import first_chart


def shown(app) -> list[str]:
    """Texts and figures, in order."""
    assert not app.exception
    return [element.proto.spec if element.type == "plotly_chart" else str(getattr(element, "value", element.type))
            for element in app.main if element.type in ("plotly_chart", "markdown", "header", "subheader")]


@pytest.fixture
def browser(monkeypatch):
    monkeypatch.setattr(first_chart, "is_browser", lambda: True)


def test_it_is_no_browser_that_reads_the_page_in_a_test():
    assert not first_chart.is_browser()


@pytest.mark.parametrize("page", ["explore", "classes"])
def test_first_run_in_a_browser_ends_behind_the_first_chart(start, monkeypatch, page):
    def visited(is_browser: bool):
        monkeypatch.setattr(first_chart, "is_browser", lambda: is_browser)
        app = start(run=False, sample="teapot")
        return app.run() if page == "explore" else app.switch_page(f"pages/{page}.py").run()

    whole, first = visited(False), visited(True)
    assert len(whole.get("plotly_chart")) > 3
    assert len(first.get("plotly_chart")) == 1
    assert shown(first) == shown(whole)[:len(shown(first))]
    first.session_state[f"first_chart_{page.capitalize()}"] = {"stands": True}  # as the browser says
    first.run()
    assert shown(first) == shown(whole)
    assert shown(first.run()) == shown(whole)  # and so it stays


def test_page_that_one_comes_back_to_begins_anew(start, browser):
    app = start(sample="teapot")
    app.session_state["first_chart_Explore"] = {"stands": True}
    assert len(app.run().get("plotly_chart")) > 3
    assert len(app.switch_page("pages/anatomy.py").run().get("plotly_chart")) == 1
    app.session_state["first_chart_Anatomy"] = {"stands": True}
    app.run()
    assert len(app.switch_page("pages/explore.py").run().get("plotly_chart")) == 1


def test_page_without_a_chart_is_whole_as_it_is(browser):
    """What is drawn on it later does not take the rest away."""
    def script():
        import streamlit as st

        from pages.parts.first_chart import drawn, first_chart_first
        with first_chart_first("Page"):
            if st.session_state.setdefault("runs", 0):
                drawn()
            st.session_state["runs"] += 1
            st.text("below")

    app = AppTest.from_function(script).run().run()
    assert app.session_state["runs"] == 2 and len(app.text) == 1


def test_page_that_one_goes_back_to_is_drawn_whole(start, browser, monkeypatch):
    monkeypatch.setattr(first_chart, "goes_back", lambda: True)  # its link is read in this run alone
    assert len(start(sample="teapot").get("plotly_chart")) > 3


def test_class_chosen_elsewhere_comes_to_the_part_below_the_first_chart(start, browser):
    def whole(app, page: str):
        app.session_state[f"first_chart_{page}"] = {"stands": True}
        return app.run()

    app = whole(start(sample="teapot"), "Explore")
    app.selectbox(key="class").select("lemon").run()
    app = whole(app.switch_page("pages/what_if.py").run(), "What if")
    assert app.selectbox(key="what_class").value == "lemon"
    app.selectbox(key="what_class").select("pizza").run()
    app = whole(app.switch_page("pages/explore.py").run(), "Explore")
    assert app.selectbox(key="class").value == "pizza"


def test_part_of_a_page_that_runs_by_itself_is_drawn_whole(browser):
    def script():
        import streamlit as st

        from pages.parts.first_chart import drawn, first_chart_first
        with first_chart_first("Page"):
            st.text("no chart yet")
        drawn()
        st.text("and what is below it")

    assert [text.value for text in AppTest.from_function(script).run().text] == ["no chart yet", "and what is below it"]
