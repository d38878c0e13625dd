"""Whoever comes to a page sees its first chart before the others are drawn.

A browser draws all charts of a run in one go and shows none before, which takes seconds where a page has many. So the
first run of a page ends behind its first chart. As soon as that stands, the browser asks for the whole page.
"""
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import streamlit as st
from streamlit.runtime.scriptrunner import StopException, get_script_run_ctx

_component = st.components.v2.component(
    "senet_viz.first_chart", js=(Path(__file__).parent / "first_chart.js").read_text("utf-8"), isolate_styles=False,
    css='[class*="st-key-first_chart"] {\n    position: absolute;\n}')  # it takes no room
MARK = "up_to_first_chart"  # below a page that is not whole


class Enough(StopException):
    """Ends a run behind a chart."""


def is_browser() -> bool:
    """Whether a browser reads the page: nobody else could tell that a chart stands."""
    return "Mozilla" in st.context.headers.get("User-Agent", "")


def goes_back() -> bool:
    """Whether the browser went back or forward: Streamlit then takes all widgets from the link, in this run alone."""
    return bool(getattr(get_script_run_ctx(), "is_history_navigation", False))


@contextmanager
def first_chart_first(page: str) -> Iterator[None]:
    """Around the run of a page: the first one for a visitor with a browser ends behind the first chart.

    The browser keeps whether that stands, and says so with each question as long as the page is open: also to a server
    that was started anew.
    """
    if not is_browser():
        yield
        return
    stands = _component(key=f"first_chart_{page}", data=MARK, on_stands_change=lambda: None).stands
    st.session_state["enough"] = not (stands or st.session_state.get("whole") == page or goes_back())
    try:
        yield
        st.session_state["whole"] = page
    except Enough:
        with st.container(key=MARK):
            st.html("<i></i>")
        raise
    finally:
        st.session_state["enough"] = False  # a part that is run again by itself is drawn whole


def drawn() -> None:
    """What a page says behind each of its charts.

    Raises:
        Enough: where no more is wanted yet.
    """
    if st.session_state.get("enough"):
        raise Enough
