"""The classes of a picture, by probability or by pixels: names that wrap, the whole name under the pointer."""
from collections.abc import Mapping
from html import escape

import pandas as pd
import streamlit as st

import senet_viz as sv
from senet_viz.figures.class_map import OTHERS
from senet_viz.figures.style import COLOURS
from senet_viz.gates.answers import NO_CLASS

# of Streamlit's own grey: it reads on a light and on a dark ground
LINE, GROUND = "rgba(128,128,128,0.3)", "rgba(128,128,128,0.25)"
STYLE = f"""<style>
.ranking {{ width: 100%; border-collapse: collapse; font-size: 0.875rem; line-height: 1.3; }}
.ranking th {{ text-align: left; font-weight: 400; opacity: 0.7; }}
.ranking :is(th, td) {{ padding: 0.375rem 0.25rem; border: 0; border-bottom: 1px solid {LINE}; }}
.ranking td:first-child {{ overflow-wrap: anywhere; }}
.ranking abbr {{ text-decoration-color: {GROUND}; cursor: help; }}
.ranking td:nth-child(2) {{ width: 4.5rem; }}
.ranking i {{ display: inline-block; width: 0.75rem; height: 0.75rem; margin-right: 0.4rem; border-radius: 0.15rem; }}
.ranking td:last-child {{ width: 3.5rem; text-align: right; font-variant-numeric: tabular-nums; }}
.ranking div {{ height: 0.4rem; border-radius: 0.2rem; background: linear-gradient({COLOURS[0]}, {COLOURS[0]}) no-repeat
    {GROUND}; }}
</style>"""


def ranking(table: pd.DataFrame, model: sv.Model, about: str) -> None:
    """A row a class, with a bar as long as the class is probable.

    Args:
        table: rows of ``tables.predictions`` of one picture.
        model: whose classes.
        about: what the table is of, for those who do not see it.
    """
    rows = "".join(
        f"<tr><td>{_name(model, index)}</td>"
        f'<td><div style="background-size: {probability:.1%} 100%"></div></td><td>{probability:.1%}</td></tr>'
        for index, probability in zip(table["index"], table["probability"]))
    st.html(f'{STYLE}<table class="ranking" aria-label="{escape(about)}">'
            f'<thead><tr><th>class</th><th colspan="2">probability</th></tr></thead><tbody>{rows}</tbody></table>')


def shares(table: pd.DataFrame, model: sv.Model, colours: Mapping[int, str], about: str) -> None:
    """The largest classes of a class map, which have colours, with the shares of its pixels: its legend.

    Args:
        table: rows of ``tables.class_shares`` of one picture.
        model: whose classes.
        colours: of classes, by index.
        about: what the table is of, for those who do not see it.
    """
    listed = table[table["index"].map(colours).isin(COLOURS)]
    rows = "".join(f'<tr><td><i style="background: {colours[index]}"></i>{_name(model, index)}</td>'
                   f"<td>{share:.1%}</td></tr>" for index, share in zip(listed["index"], listed["share"]))
    if len(rest := table.drop(listed.index)):
        name = "no class" if set(rest["index"]) == {NO_CLASS} else f"{len(rest)} other{'s' * (len(rest) > 1)}"
        rows += (f'<tr><td><i style="background: {OTHERS}"></i>{name}</td><td>{rest["share"].sum():.1%}</td>'
                 f"</tr>")
    st.html(f'{STYLE}<table class="ranking" aria-label="{escape(about)}"><thead><tr><th>class</th>'
            f'<th style="text-align: right; white-space: nowrap">of pixels</th></tr></thead><tbody>{rows}</tbody>'
            "</table>")


def _name(model: sv.Model, index: int) -> str:
    shown, whole = escape(model.class_labels[index]), escape(model.classes[index])
    return shown if shown == whole else f'<abbr title="{whole}">{shown}</abbr>'
