"""Colours and pieces that all figures share. They read on a light and on a dark ground."""
import html
import math
import textwrap
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.colors import sequential

from .drawing import Drawing

# Okabe and Ito's colours, safe for colour-blind readers, without black and yellow, which vanish on one of the grounds;
# the last two were chosen to stay apart from them in every eye
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#904868", "#7B61FF")
# of pictures, classes and layers: green and pink come last, like each other and like grey to an eye that tells no green
ORDER = (0, 1, 7, 5, 4, 6, 2, 3)
DASHES = ("solid", "dot")  # beyond eight pictures colours repeat with another dash and symbol
SYMBOLS = ("circle", "diamond-open")
GREY = "rgba(128,128,128,0.45)"
# Inferno, whose first colour #000004 is one that Streamlit's theme takes for a placeholder and paints in another
SEQUENTIAL = ["#010005", *sequential.Inferno[1:]]
DIVERGING = "RdBu_r"
# of the labels of blocks: the first at which they do not run into each other. At -45 Plotly lets those touch that stand
# nearer than √2 times their height
ANGLES = (0, -90)
LETTER, LINE = 7.5, 18  # pixels of a title's letter and line
NARROW = 400  # pixels of the narrowest window that a title fits


def colour(index: int) -> str:
    """Colour of the index-th picture, class or layer."""
    return COLOURS[ORDER[index % len(ORDER)]]


def dash(index: int) -> str:
    """Line style of the index-th picture."""
    return DASHES[index // len(COLOURS) % len(DASHES)]


def symbol(index: int) -> str:
    """Marker of the index-th picture."""
    return SYMBOLS[index // len(COLOURS) % len(SYMBOLS)]


def finish(drawing: Drawing, *, alt: str, height: int = 420, legend: bool = True, **layout: Any) -> go.Figure:
    """The figure that was drawn, with the common layout.

    Args:
        drawing: all of it.
        alt: a description for those who do not see the figure, kept in ``layout.meta``.
        height: in pixels, with a legend of one row.
        legend: whether there is one.
        layout: what else it is, or is instead; of the legend ``legend_layout``.
    """
    entries = sum(trace.get("showlegend") is not False for trace in drawing.data) if legend else 0
    height += 20 * (max(0, entries - 1) // 4)  # rows of the legend beyond the first, which would press on the plot
    above = 1.12 if drawing.layout.get("annotations") else 1.06  # of the plot's height, small in a narrow window
    drawing.update_layout(
        height=height, meta={"alt": alt}, showlegend=legend, hovermode="closest",
        margin={"l": 60, "r": 20, "t": 50, "b": 50},
        legend={"orientation": "h", "yanchor": "bottom", "y": above, "xanchor": "left", "x": 0})
    drawing.update_layout(legend=layout.pop("legend_layout", {}), **layout)
    return drawing.figure()


def headed(figure: go.Figure, title: str) -> go.Figure:
    """A figure that stands by itself, with what it is of in a line above it; in several where it is narrow."""
    layout = figure.layout
    lines = textwrap.wrap(title, max(20, int((layout.width or NARROW) / LETTER)))
    head = LINE * len(lines) + 12
    top = head + layout.margin.t
    if layout.showlegend:  # the legend stands above the plot, by a share of its height, and grows upward
        entries = sum(trace.showlegend is not False for trace in figure.data)
        plot = layout.height - layout.margin.t - layout.margin.b
        top = max(top, head + (layout.legend.y - 1) * plot + LINE * min(5, 1 + (entries + 1) // 2))
    figure.update_layout(
        title={"text": "<br>".join(shorten(line, 120) for line in lines), "font": {"size": 13},
               "x": 0, "xanchor": "left", "xref": "container", "y": 1, "yanchor": "top", "yref": "container",
               "pad": {"t": 10, "l": 10}},
        height=layout.height - layout.margin.t + top, margin={"t": top})
    return figure


def mark_stages(figure: Drawing, stages: ArrayLike, *, names: bool = True, **position: int) -> None:
    """Grey lines between stages and their names on top; ``stages`` has one number for each category on the x axis."""
    stages = np.asarray(stages)
    edges = [0, *(np.flatnonzero(np.diff(stages)) + 1).tolist(), len(stages)]
    for start, end in pairwise(edges):
        if start:
            figure.add_vline(x=start - 0.5, line={"color": GREY, "width": 1, "dash": "dash"}, **position)
        if names:
            figure.add_annotation(
                x=(start + end - 1) / 2, y=1, yref="y domain", yanchor="bottom", showarrow=False,
                text=f"Stage {stages[start]}", font={"size": 12}, **position)


def in_blocks(count: int) -> str:
    """How many blocks, in words: "in 1 block", "in 16 blocks"."""
    return f"in {count} block{'s' * (count != 1)}"


def signed_percent(*values: ArrayLike) -> str:
    """The format of an axis of changes, with as many decimals as tell its ticks apart.

    Args:
        values: all that is drawn, 0..1; nan is not.
    """
    drawn = np.concatenate([np.ravel(np.asarray(each, dtype=float)) for each in values] + [np.zeros(1)])
    reach = float(np.nanmax(drawn) - np.nanmin(drawn))
    return f"+.{max(math.ceil(-math.log10(20 * reach)), 0) if reach > 0 else 0}%"  # of about five ticks


def span(values: pd.Series, form: str) -> str:
    """The smallest and the largest number, with the labels they have; one that all have alone.

    Args:
        values: a row or more; their index is the labels.
        form: how a number is written, such as ".2f".
    """
    low, high = values.idxmin(), values.idxmax()
    if len(values) == 1:
        return f"{values.min():{form}} in {low}"
    ends = [f"{end:{form}}" for end in (values.min(), values.max())]
    return f"{ends[0]} in all" if ends[0] == ends[1] else f"from {ends[0]} in {low} to {ends[1]} in {high}"


def reach(values: Sequence[float] | pd.Series, form: str) -> str:
    """The same without labels; nan is no number."""
    found = pd.Series(values)
    ends = [f"{end:{form}}" for end in (found.min(), found.max())]
    return ends[0] if ends[0] == ends[1] else f"from {ends[0]} to {ends[1]}"


def last_branch(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of each block's last branch: the largest kernel, or the only branch there is."""
    return table[table.groupby("block")["branch"].transform("max") == table["branch"]]


def elide(name: str, length: int) -> str:
    """A name of at most ``length`` characters: the middle of a longer one is left out."""
    return name if len(name) <= length else f"{name[:length // 2]}…{name[-(length // 2 - 1):]}"


def shorten(name: str, length: int = 24) -> str:
    """A name for a legend: its middle is left out where it is long, and Plotly shows the rest as it stands.

    Names of files and classes are not ours; Plotly would take their <b> for bold and their %{y} for a value.
    """
    return html.escape(elide(name, length), quote=False).replace("%", "&#37;")


def hover_name(name: str) -> str:
    """A name for the label under the pointer."""
    return shorten(name, 60)
