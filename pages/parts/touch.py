"""Charts under a finger: the page scrolls over them, and a legend is not covered by buttons."""
from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent
_component = st.components.v2.component("senet_viz.touch", css=(HERE / "touch.css").read_text("utf-8"),
                                        js=(HERE / "touch.js").read_text("utf-8"), isolate_styles=False)


def charts_under_a_finger() -> None:
    """For all charts of whatever page."""
    _component(key="touch")
