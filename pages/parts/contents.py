"""The table of contents: a bar at the top of every page, a column beside it in a wide window."""
from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent
_component = st.components.v2.component(
    "senet_viz.contents", html='<nav aria-label="On this page"></nav>', css=(HERE / "contents.css").read_text("utf-8"),
    js=(HERE / "contents.js").read_text("utf-8"), isolate_styles=False)


def contents() -> None:
    """Links to the headings of whatever page runs after it: it reads them in the browser, so that no page has a list.

    It marks the section that one is in. A link scrolls there and puts the anchor into the address.
    """
    _component(key="contents")
