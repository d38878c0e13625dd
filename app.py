"""The app: ``streamlit run app.py``.

With a network of one's own: ``streamlit run app.py -- --model package.module:factory``.
"""
import argparse
import sys

import streamlit as st

from pages import shared


def operator_model() -> str | None:
    """The factory that whoever starts the server named; visitors cannot."""
    parser = argparse.ArgumentParser(prog="streamlit run app.py --")
    parser.add_argument("--model", metavar="PACKAGE.MODULE:FACTORY", help="function that returns a senet_viz.Model")
    return parser.parse_known_args(sys.argv[1:])[0].model


st.set_page_config(
    page_title="senet_viz: channel attention", page_icon=str(shared.ROOT / "assets" / "icon.png"), layout="wide")
page = st.navigation([st.Page("pages/explore.py", title="Explore", icon=":material/equalizer:", default=True)])
st.session_state["loaded"] = shared.sidebar(operator_model())
page.run()
