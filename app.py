"""The app: ``streamlit run app.py``.

With a network of one's own: ``streamlit run app.py -- --model package.module:factory``; with statistics of one's own:
``streamlit run app.py -- --statistics FOLDER``, and ``--data PATH SPLIT`` for the pictures that they are of; with those
models alone that match: ``streamlit run app.py -- --models PATTERN …``; and ``--memory GB`` for what pages keep.

Streamlit imports this file when the server starts, and then runs it as ``__main__`` for every visitor.
"""
import argparse
import math
import os
import sys
from pathlib import Path

import streamlit as st

from pages.parts.starting import warm
from senet_viz.data.places import APP

ICONS = {  # of pages, in the order of the navigation
    "explore": ":material/equalizer:", "classes": ":material/category:", "anatomy": ":material/biotech:",
    "kernels": ":material/zoom_in:", "what_if": ":material/experiment:", "compare": ":material/compare:",
    "training": ":material/monitoring:",
}


def operator() -> argparse.Namespace:
    """What whoever starts the server named; visitors cannot."""
    parser = argparse.ArgumentParser(prog="streamlit run app.py --")
    parser.add_argument("--model", metavar="PACKAGE.MODULE:FACTORY", help="function that returns a senet_viz.Model")
    parser.add_argument("--models", metavar="PATTERN", nargs="+",
                        default=os.environ.get("SENET_VIZ_MODELS", "").split(),
                        help="the models that visitors may load, as 'timm/seresnet50*'; 'file:*' for checkpoints of "
                             "their own (default: those of the environment variable SENET_VIZ_MODELS, or else all)")
    parser.add_argument("--statistics", metavar="FOLDER",
                        help="a folder that python -m senet_viz collect wrote, or one of such folders, to offer")
    parser.add_argument("--data", metavar=("PATH", "SPLIT"), nargs="+", action="append", default=[],
                        help="pictures that statistics are of, with their split where there is one: a few of them are "
                             "shown beside what they make of a number; may be given again")
    parser.add_argument("--memory", metavar="GB", type=gigabytes, default=os.environ.get("SENET_VIZ_MEMORY") or "2",
                        help="how much pages may keep of what they loaded and computed, networks, feature maps and "
                             "tables, for all visitors together; what is more than that is computed again (default: "
                             "that of the environment variable SENET_VIZ_MEMORY, or else 2)")
    return parser.parse_known_args(sys.argv[1:])[0]


def gigabytes(text: str) -> float:
    """A positive number."""
    try:
        if 0 < float(text) < math.inf:
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"memory is a positive number of gigabytes, not {text!r}")


def endless(text: str) -> bool:
    """Whether it is an infinite number, of which Streamlit cannot make the integer that a widget wants."""
    try:
        return math.isinf(float(text))
    except ValueError:
        return False


def main() -> None:
    """One run for one visitor."""
    st.set_page_config(
        page_title="senet_viz: channel attention", page_icon=str(APP / "assets" / "icon.png"), layout="wide",
        initial_sidebar_state=380)
    # every file is a page, called as the file is; those without an icon here come last
    files = sorted((Path(__file__).parent / "pages").glob("*.py"),
                   key=lambda file: ([*ICONS, file.stem].index(file.stem), file.stem))
    pages = {file.stem: st.Page(f"pages/{file.name}", title=file.stem.replace("_", " ").capitalize(),
                                icon=ICONS.get(file.stem), default=file.stem == "explore") for file in files}
    page = st.navigation(list(pages.values()))
    wanted = st.query_params.to_dict().get("page")  # see loaded_model
    kept = {key: st.query_params.get_all(key) for key, value in st.query_params.items()
            if not endless(value) and not (key == "page" and value in pages)}
    if len(kept) < len(st.query_params):
        st.switch_page(pages.get(wanted, page), query_params=kept)
    from pages.parts.choices import arrive  # here, for these take seconds: neither start nor title waits for them
    from pages.parts.contents import contents
    from pages.parts.first_chart import first_chart_first
    from pages.parts.keeping import GB, store
    from pages.parts.model import sidebar
    from pages.parts.touch import charts_under_a_finger

    choices = operator()
    store().budget = int(choices.memory * GB)
    st.session_state.update(factory=choices.model, patterns=choices.models, allowed=choices.statistics,
                            data=choices.data)
    loaded = sidebar(choices.model)
    if loaded is None:
        st.info("Choose a model in the sidebar to begin.", icon=":material/info:")
        st.stop()
    st.session_state["loaded"] = loaded
    contents()
    charts_under_a_finger()
    arrive(page.title)
    with first_chart_first(page.title):
        page.run()


if __name__ == "__main__":
    main()
else:
    operator()  # what cannot be read ends the server here
    app = st.App(__file__, lifespan=warm)
