"""Whoever comes to a page sees its first chart before the others are drawn.

A browser draws all charts of a run in one go and shows none before, which takes seconds where a page has many. So the
first run of a page ends behind its first chart. As soon as that stands, the browser asks for the whole page.
"""
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import streamlit as st
from streamlit.runtime.scriptrunner import StopException

_component = st.components.v2.component(
    "senet_viz.first_chart", js=(Path(__file__).parent / "first_chart.js").read_text("utf-8"))


class Enough(StopException):
    """Ends a run behind the chart with a key."""


def is_browser() -> bool:
    """Whether a browser reads the page: nobody else could tell that a chart stands."""
    return "Mozilla" in st.context.headers.get("User-Agent", "")


@contextmanager
def first_chart_first(page: str) -> Iterator[None]:
    """Around the run of a page: the first one for a visitor with a browser ends behind the first chart."""
    key = f"first_chart_{page}"
    if st.session_state.get(key, {}).get("stands") or not is_browser():
        st.session_state["whole"] = page
    st.session_state["enough"] = st.session_state.get("whole") != page
    try:
        yield
    except Enough as reached:
        _component(key=key, data=str(reached), on_stands_change=lambda: None)
        raise
    finally:
        st.session_state["enough"] = False  # a part that is run again by itself is drawn whole


def drawn(key: str) -> None:
    """Behind each chart of a page, with its key.

    Raises:
        Enough: where no more is wanted yet.
    """
    if st.session_state.get("enough"):
        raise Enough(key)
