"""Tables of the papers beside networks that are counted here."""
from collections.abc import Callable

import pandas as pd
import streamlit as st

from pages.parts.sections import clear, show
from senet_viz.reports import scripts
from senet_viz.reports.html import Section

NUMBER = st.column_config.NumberColumn
HEADINGS = {
    "name": "network", "reduction": None, "question": "what", "variant": "swapped in here", "note": "",
    **{name: NUMBER(f"{title}, %", format="%.2f") for name, title in (
        ("top1", "top-1, published"), ("top5", "top-5, published"), ("top1_320", "top-1 at 320×320, published"),
        ("se_top1", "top-1 with SE, published"), ("se_top5", "top-5 with SE, published"))},
    "gain": NUMBER("top-1 saved, points", format="%.2f"), "section": "paper's section",
    "published": NUMBER("parameters, published, M", format="%.1f"),
    "published_macs": NUMBER("GMACs, published", format="%.2f"),
    **{name: NUMBER(f"{title}, counted", format="localized") for name, title in (
        ("parameters", "parameters"), ("attention", "attention"), ("macs", "MACs"),
        ("attention_macs", "MACs of attention"))}}


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
