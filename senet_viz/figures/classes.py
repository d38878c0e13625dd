"""Mean excitation of classes, channel by channel and block by block: the SE paper's Fig. 6."""
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.colors import hex_to_rgb

from .drawing import Drawing
from .style import colour, dash, finish, hover_name, shorten

SVG_POINTS = 20_000  # beyond, WebGL; a browser has few contexts for that, and a page several such figures
DRAWN = 50           # channels a panel where they are sampled, as in the paper
ALL = False, "all"   # the name of a line: is it a photo, and of what
NEUTRAL = "rgba(128,128,128,0.9)"
FEW_DASHES = {"solid": "dash", "dot": "dashdot"}
PHOTO_SYMBOLS = ("diamond", "circle", "square", "triangle-up", "cross", "x", "star", "triangle-down")
BANDS = {None: "", "std": "standard deviation", "error": "standard error"}


def class_panels(
        lines: pd.DataFrame,
        *,
        band: str | None = None,
        quantity: str = "gate",
        columns: int = 3,
        sampled: bool = True,
) -> go.Figure:
    """A small panel a block, a line a class over channels; "all" is thick and grey, below the others.

    Args:
        lines: columns label, class, channel, value, std, error, count, few; blocks and classes in order of appearance.
            A class that is ``few`` has few pictures: its line is dashed, and the legend tells how many they are. An
            optional column photo marks lines that are single pictures: they are dotted, with markers, and have the
            colour of the class that another one, own, names, where that is drawn.
        band: "std" fills mean ± standard deviation over a class's pictures, "error" mean ± its standard error.
        quantity: what the value is, for the axis.
        columns: panels a row.
        sampled: draw every s-th channel, s = ⌈C/50⌉, or all.
    """
    photo = lines["photo"].eq(True) if "photo" in lines else pd.Series(False, index=lines.index)
    lines = lines.assign(photo=photo, own=lines.get("own"))
    if sampled:
        lines = _sample(lines)
    labels = list(lines["label"].unique())
    names = list(dict.fromkeys(zip(lines["photo"], lines["class"])))
    names.sort(key=lambda name: name != ALL)  # the line drawn first lies below
    styles = _styles(lines, names)
    rows, columns = max(1, math.ceil(len(labels) / columns)), max(1, min(columns, len(labels)))
    plot = 140 * rows + 60 * (rows - 1) if rows > 1 else 280
    figure = Drawing(
        rows, columns, subplot_titles=[shorten(label) for label in labels], shared_yaxes="all",
        horizontal_spacing=0.15 / columns, vertical_spacing=60 / plot)
    kind = "scattergl" if len(lines) * (3 if band else 1) > SVG_POINTS else "scatter"
    seen = set()
    for place, (_, panel) in enumerate(lines.groupby("label", sort=False)):
        at = {"row": place // columns + 1, "col": place % columns + 1}
        groups = dict(list(panel.groupby(["photo", "class"], sort=False)))
        present = [name for name in names if name in groups]
        for name in present if band else ():
            style, values = styles[name], groups[name]
            x, y = ribbon(values["channel"], values["value"] - values[band], values["value"] + values[band])
            if x:
                figure.add(
                    kind, x=x, y=y, mode="lines", line={"width": 0}, fill="toself", fillcolor=style["fill"],
                    legendgroup=style["group"], showlegend=False, hoverinfo="skip", **at)
        for name in present:
            style, values = styles[name], groups[name]
            spread = "" if name[0] else ", standard deviation %{customdata[0]:.3f}"
            spread += "" if name[0] or name == ALL else ", n = %{customdata[1]}"
            figure.add(
                kind, x=values["channel"], y=values["value"], name=style["name"], legendgroup=style["group"],
                showlegend=name not in seen, mode="lines+markers" if name[0] else "lines", line=style["line"],
                legendrank=style["rank"], marker={"size": 4, "symbol": style["symbol"]},
                customdata=values[["std", "count"]],
                hovertemplate=f"{hover_name(name[1])}<br>channel %{{x}}: %{{y:.4f}}{spread}<extra></extra>", **at)
            seen.add(name)
        if place + columns >= len(labels):
            figure.update_xaxes(title={"text": "channel index", "standoff": 5}, **at)
    low, high = _limits(lines["value"])
    figure.update_yaxes(range=[low - 0.03, high + 0.03])
    figure.update_annotations(font={"size": 13})
    figure.add_annotation(
        text=quantity + (f" (band: mean ± {BANDS[band]})" if band else ""), textangle=-90, showarrow=False,
        x=0, xref="paper", xanchor="right", xshift=-32, y=0.5, yref="paper", yanchor="middle", font={"size": 13})
    return finish(figure, alt=_alt(lines, labels, band, quantity), height=plot + 130,
                  legend_layout={"y": 1 + 30 / plot})


def ribbon(x: Iterable, low: ArrayLike, high: ArrayLike) -> tuple[list, list]:
    """Corners of the area between two lines for ``fill="toself"``; where either is nan there is a gap."""
    places, bottom, top = list(x), np.asarray(low, float), np.asarray(high, float)
    finite = np.isfinite(bottom) & np.isfinite(top)
    edges = np.flatnonzero(np.diff(np.r_[False, finite, False]))
    across: list = []
    up: list = []
    for start, end in edges.reshape(-1, 2):
        across += [*places[start:end], *places[start:end][::-1], None]
        up += [*bottom[start:end], *top[start:end][::-1], None]
    return across[:-1], up[:-1]


def faint(colour_: str, opacity: float = 0.18) -> str:
    """A colour to fill areas with."""
    red, green, blue = hex_to_rgb(colour_)
    return f"rgba({red},{green},{blue},{opacity})"


def counted(name: str, count: float, few: bool) -> str:
    """A class's name for a legend or an axis, with its number of pictures where they are few."""
    return shorten(name) + (f" (n={count:.0f})" if few else "")


def _styles(lines: pd.DataFrame, names: list[tuple[bool, str]]) -> dict[tuple[bool, str], dict]:
    """Colour, dash and marker of each line; in the legend photos come after their class."""
    first = lines.drop_duplicates(["photo", "class"]).set_index(["photo", "class"]).to_dict("index")
    owns = {name: (False, first[name]["own"]) if name[0] else name for name in names}
    alike = {name: own if own in owns and own != ALL else name for name, own in owns.items()}  # has the colour of
    coloured = [name for name in dict.fromkeys(alike.values()) if name != ALL]
    styles: dict[tuple[bool, str], dict] = {}
    photos: Counter[str] = Counter()
    for name, like in alike.items():
        photo, class_ = name
        style: dict[str, Any] = {
            "group": f"{'photo' if photo else 'class'} {class_}", "name": shorten(class_), "rank": 1000,
            "symbol": None, "line": {"color": NEUTRAL, "width": 3.5}, "fill": "rgba(128,128,128,0.2)"}
        if name != ALL:
            i = coloured.index(like)
            style |= {"line": {"color": colour(i), "width": 1.3, "dash": "dot" if photo else dash(i)},
                      "fill": faint(colour(i)), "rank": 1001 + i}
        if photo:
            style["symbol"] = PHOTO_SYMBOLS[photos[colour(i)] % len(PHOTO_SYMBOLS)]
            photos[colour(i)] += 1
        elif name != ALL and first[name]["few"]:
            style["name"] = counted(class_, first[name]["count"], True)
            style["line"]["dash"] = FEW_DASHES[style["line"]["dash"]]
        styles[name] = style
    return styles


def _sample(lines: pd.DataFrame) -> pd.DataFrame:
    kept = []
    for _, panel in lines.groupby("label", sort=False):
        channels = np.sort(panel["channel"].unique())
        kept.append(panel[panel["channel"].isin(channels[::max(1, math.ceil(len(channels) / DRAWN))])])
    return pd.concat(kept) if kept else lines


def _limits(values: pd.Series) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    return min(0.0, float(values.min())) if len(values) else 0.0, max(1.0, float(values.max())) if len(values) else 1.0


def _alt(lines: pd.DataFrame, labels: list, band: str | None, quantity: str) -> str:
    if lines.empty:
        return "No class to draw."
    means = lines.groupby(["label", "photo", "class"], sort=False)["value"].mean()
    text = "; ".join(f"{label}: " + ", ".join(f"{name[1]} {mean:.2f}" for name, mean in means[label].items())
                     for label in labels)
    return (f"Mean {quantity} of classes over channels in {len(labels)} block{'s' * (len(labels) != 1)}"
            + (f", with bands of ± {BANDS[band]}" if band else "") + f". Mean over the channels drawn: {text}.")
