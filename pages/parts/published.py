"""Tables of the papers beside networks that are counted here."""
from collections.abc import Callable

import pandas as pd
import streamlit as st

from pages.parts.sections import clear, show
from senet_viz.reports import scripts
from senet_viz.reports.html import Section

NUMBER = st.column_config.NumberColumn
HEADINGS = {
    "name": "network", "reduction": None, "question": "what", "variant": "swapped in here",
    "note": st.column_config.TextColumn("", width=110),
    **{name: NUMBER(f"{title}, %", format="%.2f", help=f"{text} error, as published.") for name, title, text in (
        ("top1", "top-1", "Top-1"), ("top5", "top-5", "Top-5"), ("top1_320", "top-1 at 320", "Top-1, at 320×320,"),
        ("se_top1", "top-1, SE", "Top-1, with SE,"), ("se_top5", "top-5, SE", "Top-5, with SE,"))},
    "gain": NUMBER("saved", format="%.2f", help="Points of top-1 error that SE saves."),
    "section": st.column_config.TextColumn("Sec.", help="Of the paper."),
    "published": NUMBER("params, M", format="%.1f", help="Parameters in millions, as published."),
    "published_macs": NUMBER("GMACs", format="%.2f", help="As published."),
    **{name: NUMBER(title, format="%,d", help=f"{text}, counted here.") for name, title, text in (
        ("parameters", "params counted", "Parameters"), ("attention", "of attention", "Parameters of attention"),
        ("macs", "MACs counted", "Multiply-accumulates"),
        ("attention_macs", "of attention", "Multiply-accumulates of attention"))}}


def published(title: str, key: str, table: Callable[[], pd.DataFrame], describe: Callable[[pd.DataFrame], str],
              source: str) -> None:
    """A table of a paper beside counted networks, which are counted when it is opened.

    Args:
        title: of the section.
        key: of the section; the link has it, with "_open" behind, where it is open.
        table: a function of ``senet_viz.experiments.cost``.
        describe: what the table says, in sentences.
        source: of the numbers.
    """
    clear(key)
    with st.expander(title, key=f"{key}_open", on_change="rerun", bind="query-params") as place:
        if place.open:
            with st.spinner("Counting the networks"):
                found = table()
            show(Section(title, f"{describe(found)} *{source}.*", None, found,
                         scripts.of_cost(f"cost.{table.__name__}()")), key, headings=HEADINGS)
