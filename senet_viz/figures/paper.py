"""Figures for print: tables in, Matplotlib figures out, as wide as they are printed, with nothing but lines and text.

What the other files of this room draw with Plotly for pages is drawn here for a column or a page of a paper. Lines
differ in style as well as in colour, and bars in hatching, so that they stay apart in every eye and on a grey print.
Only whoever asks for such a figure imports this file, and with it Matplotlib.
"""
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import style as styles
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from .classes import _limits, _sample
from .sizes import FEW
from .style import COLOURS, colour, elide

WIDTHS = {"column": 84.0, "page": 174.0}  # mm, as in journals of two columns
LEAST, MOST, TALLEST = 60.0, 400.0, 230.0  # mm: of the width, and of the height
WIDE = 120.0  # mm: from here on panels stand three in a row
PANEL, ALONE = 29.0, 38.0  # mm: height of a row of panels, with its title and ticks, and of an only row
STYLES: dict[str, tuple[str, float, float]] = {  # font, and its size in points for titles and axes, and for ticks
    "paper": ("DejaVu Sans", 8, 7),
    "paper-serif": ("STIXGeneral", 9, 8),
}
"""Both fonts come with Matplotlib, so that a figure is the same on every machine."""
DASHES: tuple[Any, ...] = (
    "solid", (0, (4, 1.2)), (0, (1, 1)), (0, (4, 1, 1, 1)), (0, (8, 1.5)), (0, (2, 1)), (0, (4, 1, 1, 1, 1, 1)),
    (0, (8, 1, 2, 1)))
MARKERS = "osD^v<>p"
HATCHES = ("", "////", "xxxx", "\\\\\\\\", "----", "||||", "++++", "...")  # dots come last: each takes a path
GREY = "0.62"  # of "all", below the other lines
FAINT = "0.8"  # of lines that only lead the eye


def print_style(name: str = "paper") -> AbstractContextManager:
    """Inside, figures are drawn and written in a style, one of ``STYLES``, whatever the user's own settings are."""
    font, size, small = STYLES[name]
    return styles.context(["default", {
        "font.family": [font, "DejaVu Sans"], "font.size": size, "axes.labelsize": size, "axes.titlesize": size,
        "figure.labelsize": size, "xtick.labelsize": small, "ytick.labelsize": small, "legend.fontsize": small,
        "text.parse_math": False,  # names of classes are not ours, and may hold dollars
        "axes.linewidth": 0.5, "lines.linewidth": 0.9, "hatch.linewidth": 0.4, "patch.linewidth": 0.6,
        "xtick.major.width": 0.5, "ytick.major.width": 0.5, "xtick.major.size": 2, "ytick.major.size": 2,
        "xtick.major.pad": 2, "ytick.major.pad": 2, "axes.labelpad": 2, "axes.titlepad": 3,
        "axes.spines.top": False, "axes.spines.right": False, "axes.unicode_minus": True,
        "legend.frameon": False, "legend.handlelength": 2.6, "legend.columnspacing": 1.2, "legend.handletextpad": 0.5,
        "legend.borderaxespad": 0.2, "legend.borderpad": 0.2, "legend.labelspacing": 0.3,
        "figure.constrained_layout.w_pad": 0.02, "figure.constrained_layout.h_pad": 0.02,
        "figure.constrained_layout.wspace": 0.06,  # the last tick of a panel and the first of the next stay apart
        "pdf.fonttype": 42,      # TrueType, which publishers ask for
        "svg.fonttype": "path",  # letters as outlines: a viewer would put another font where it lacks ours
        "svg.hashsalt": "senet_viz",
    }])


def save(figure: Figure, path: str | Path, form: str, title: str, description: str) -> None:
    """Write a figure; the same figure gives the same bytes, for no date is in the file.

    Args:
        figure: drawn inside ``print_style``, and written there.
        path: of the file.
        form: "pdf" or "svg".
        title, description: kept in the file, for readers who do not see the figure.
    """
    about = ({"Title": title, "Subject": description, "CreationDate": None} if form == "pdf" else
             {"Title": title, "Description": description, "Date": None})
    figure.savefig(path, format=form, metadata=about)


def class_lines(lines: pd.DataFrame, *, band: bool = False, quantity: str = "gate", width: float = 84) -> Figure:
    """A panel a block, a line a class over every s-th channel; "all" is grey, below the others (SENet, Figs. 6 and 7).

    Args:
        lines: columns label, class, channel, value, std, count, few; blocks and classes in order of appearance.
        band: fill the mean ± a standard deviation.
        quantity: what the value is, for the axis.
        width: of the figure, in mm.

    Raises:
        ValueError: for more panels than fit on a page.
    """
    drawn = _sample(lines)
    labels, names = list(drawn["label"].unique()), list(drawn["class"].unique())
    figure, panels = _panels(len(labels), width)
    entries: dict[str, Any] = {}
    for axes, label in zip(panels, labels):
        axes.set_title(label)
        for i, name in enumerate(names):
            rows = drawn[(drawn["label"] == label) & (drawn["class"] == name)]
            look = {"color": GREY, "linewidth": 1.8, "zorder": 1.5} if name == "all" else {
                "color": colour(i), "linestyle": DASHES[i % len(DASHES)]}
            line, = axes.plot(rows["channel"], rows["value"], **look)
            few = f" (n={rows['count'].iloc[0]})" if rows["few"].iloc[0] else ""
            entries.setdefault(elide(name, 24) + few, line)
            if band:
                axes.fill_between(rows["channel"], rows["value"] - rows["std"], rows["value"] + rows["std"],
                                  color=look["color"], alpha=0.2, linewidth=0)
        axes.set_xlim(0, max(1, lines.loc[lines["label"] == label, "channel"].max()))
    low, high = _limits(drawn["value"])
    panels[0].set_ylim(low - 0.03, high + 0.03)
    figure.supxlabel("channel index")
    figure.supylabel(quantity)
    _legend(figure, entries)
    return figure


def kernel_sizes(groups: pd.DataFrame, bars: pd.DataFrame, *, largest: str, smallest: str, width: float = 84
                 ) -> Figure:
    """The largest kernel's weight over channels of one unit, and the difference in units, by size (SKNet, Fig. 3).

    Args:
        groups: columns label, zoom, point, value; a row a zoom and point, of one unit.
        bars: columns label, zoom, mean, std; a row a unit and zoom.
        largest, smallest: the names of the two kernels.
        width: of the figure, in mm.
    """
    beside = width >= WIDE
    figure = _figure(width, 52 if beside else 96)
    left, right = figure.subplots(1 if beside else 2, 2 if beside else 1, squeeze=False).ravel()
    zooms, units = list(bars["zoom"].unique()), list(bars["label"].unique())
    entries: dict[str, Any] = {}
    reach = 0.8 / len(zooms)
    for i, zoom in enumerate(zooms):
        tint, name = COLOURS[i % len(COLOURS)], f"{zoom:g}×"
        rows = groups[groups["zoom"] == zoom]
        left.plot(rows["point"], rows["value"], color=tint, linestyle=DASHES[i % len(DASHES)],
                  marker=MARKERS[i % len(MARKERS)], markersize=2.5)
        rows = bars[bars["zoom"] == zoom].set_index("label").reindex(units)
        entries[name] = right.bar(
            np.arange(len(units)) + (i - (len(zooms) - 1) / 2) * reach, rows["mean"], reach, yerr=rows["std"],
            facecolor=_pale(tint), edgecolor=tint, hatch=HATCHES[i % len(HATCHES)],
            error_kw={"elinewidth": 0.6, "capsize": 1.2, "capthick": 0.6, "ecolor": "0.25"})
    left.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    left.set_xlabel(f"point, over the channels of {groups['label'].iloc[0]}")
    left.set_ylabel(f"weight of {largest}")
    right.axhline(0, color="0.4", linewidth=0.5)
    right.set_xticks(range(len(units)), units)
    right.set_ylabel(f"difference, {largest} − {smallest}")
    for axes, letter in ((left, "a"), (right, "b")):
        axes.set_title(f"({letter})", loc="left")
    _legend(figure, entries)
    return figure


def class_changes(table: pd.DataFrame, labels: Sequence[str], *, before: str, after: str, quantity: str,
                  width: float = 84) -> Figure:
    """A panel a unit: the preference of each class before and after a zoom (SKNet, Fig. 4).

    Args:
        table: columns label, before, after; of each unit a row a class, in the order of classes.
        labels: of the units to draw.
        before, after: names of the two.
        quantity: what they show, for the axis.
        width: of the figure, in mm.

    Raises:
        ValueError: for more panels than fit on a page.
    """
    figure, panels = _panels(len(labels), width, 3 if width >= WIDE else 1)
    entries: dict[str, Any] = {}
    for axes, label in zip(panels, labels):
        axes.set_title(label)
        rows = table[table["label"] == label]
        few = len(rows) <= FEW
        size = 2.6 if few else 1.9 if len(rows) <= 300 else 1.1
        for column, name, i in (("before", before, 0), ("after", after, 1)):
            line, = axes.plot(
                range(len(rows)), rows[column], color=COLOURS[i], marker="oD"[i], markersize=size, linewidth=0.6,
                markeredgewidth=0.4, markerfacecolor=COLOURS[i] if i == 0 else "white",
                linestyle=DASHES[i] if few else "none")
            entries.setdefault(name, line)
        axes.axhline(0, color=FAINT, linewidth=0.5, zorder=0.5)
        axes.set_xlim(-0.5, len(rows) - 0.5)  # ticks are classes
    values = table.loc[table["label"].isin(labels), ["before", "after"]].to_numpy(float)
    slack = max(0.05 * np.ptp(values), 0.005)
    panels[0].set_ylim(values.min() - slack, values.max() + slack)
    figure.supxlabel("class, by index")
    figure.supylabel(quantity)
    _legend(figure, entries)
    return figure


def dimension(table: pd.DataFrame, *, quantity: str = "gate", width: float = 84) -> Figure:
    """The participation ratio over depth on a logarithmic axis, ± a standard error.

    Args:
        table: what ``senet_viz.statistics.summaries.dimension`` gives.
        quantity: what moves, for the legend.
        width: of the figure, in mm.
    """
    figure, axes = _over_depth(table, width)
    entries: dict[str, Any] = {}
    for source, i, marker, name in (("gate", 0, "o", quantity), ("squeeze", 5, "D", "squeezed input z"),
                                    ("random", 6, "s", "random weights")):
        rows = table[(table["source"] == source)]
        if rows["dimension"].notna().any():
            entries[name] = axes.errorbar(
                range(len(rows)), rows["dimension"], rows["error"], color=COLOURS[i], marker=marker, markersize=2.5,
                linestyle=DASHES[("gate", "squeeze", "random").index(source)], elinewidth=0.6, capsize=1.2)
    known = table["dimension"].dropna()
    axes.set_yscale("log")
    axes.set_ylim(min(0.85, known.min()), 1.25 * max(3.0, known.max()))
    axes.axhline(1, color=FAINT, linewidth=0.5, zorder=0.5)
    axes.yaxis.set_major_locator(_locator(known))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.set_ylabel("directions (participation ratio)")
    _legend(figure, entries)
    return figure


def specificity(table: pd.DataFrame, *, quantity: str = "gate", width: float = 84) -> Figure:
    """ω² of the gate over channels as boxes, and of the controls as lines through medians with bands of quartiles.

    Args:
        table: what ``senet_viz.statistics.summaries.specificity`` gives.
        quantity: what varies, for the legend.
        width: of the figure, in mm.
    """
    figure, axes = _over_depth(table, width)
    entries: dict[str, Any] = {}
    rows = table[table["source"] == "gate"].reset_index(drop=True)
    rows = rows[rows["median"].notna()]
    names = {"median": "med", "q25": "q1", "q75": "q3", "q05": "whislo", "q95": "whishi"}
    quantiles: Any = rows[list(names)].rename(columns=names).to_dict("records")
    thin = {"color": COLOURS[0], "linewidth": 0.6}
    boxes = axes.bxp(
        quantiles, positions=list(rows.index), widths=0.5, showfliers=False, manage_ticks=False, patch_artist=True,
        boxprops={"facecolor": _pale(COLOURS[0]), "edgecolor": COLOURS[0], "linewidth": 0.6},
        medianprops={"color": COLOURS[0], "linewidth": 1.2}, whiskerprops=thin, capprops=thin)
    if boxes["boxes"]:
        entries[quantity] = boxes["boxes"][0]
    for source, tint, i, marker, name in (
            ("shuffled", "0.45", 2, "o", "shuffled labels"), ("squeeze", COLOURS[5], 1, "D", "squeezed input z"),
            ("random", COLOURS[6], 3, "s", "random weights")):
        rows = table[table["source"] == source]
        if rows["median"].notna().any():
            axes.fill_between(range(len(rows)), rows["q25"], rows["q75"], color=tint, alpha=0.2, linewidth=0)
            entries[name], = axes.plot(range(len(rows)), rows["median"], color=tint, linestyle=DASHES[i],
                                       marker=marker, markersize=2)
    axes.set_ylabel("variance between classes (ω²)")
    _legend(figure, entries)
    return figure


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")


def _panels(count: int, width: float, columns: int | None = None) -> tuple[Figure, list[Axes]]:
    """Panels of one y axis, in rows of ``columns``, two or three by the width."""
    columns = min(count, columns or (3 if width >= WIDE else 2))
    rows = math.ceil(count / columns)
    height = (PANEL * rows if rows > 1 else ALONE) + 14
    if height > TALLEST:
        fit = int((TALLEST - 14) // PANEL) * columns
        raise ValueError(f"{count} panels do not fit on a page {width:g} mm wide; choose up to {fit} blocks")
    figure = _figure(width, height)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axes in grid[count:]:
        axes.remove()
    for axes in grid[:count]:
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    return figure, list(grid[:count])


def _over_depth(table: pd.DataFrame, width: float) -> tuple[Figure, Axes]:
    """One panel whose x axis has a place a block, in network order, with lines between stages."""
    figure = _figure(width, 66)
    axes = figure.subplots()
    blocks = table.drop_duplicates("block")
    each = math.ceil(len(blocks) * 3.2 / (width - 14))  # of which one takes 3.2 mm
    axes.set_xticks(range(0, len(blocks), each), blocks["label"][::each], rotation=90)
    axes.set_xlim(-0.7, len(blocks) - 0.3)
    for place in np.flatnonzero(np.diff(blocks["stage"])):
        axes.axvline(place + 0.5, color=FAINT, linewidth=0.5, zorder=0.5)
    return figure, axes


def _legend(figure: Figure, entries: Mapping[str, Any]) -> None:
    """Above the panels, in as few rows as fit; rows beyond the first make the figure taller."""
    for rows in range(1, len(entries) + 1):
        columns = math.ceil(len(entries) / rows)
        legend = figure.legend(list(entries.values()), list(entries), loc="outside upper center", ncols=columns)
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()
    line = 1.4 * legend.get_texts()[0].get_window_extent().height / figure.dpi
    figure.set_figheight(figure.get_figheight() + (rows - 1) * line)


def _pale(colour: str) -> tuple[float, ...]:
    """A colour to fill areas with: mixed with white."""
    return tuple(0.7 + 0.3 * int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5))


def _locator(values: pd.Series) -> LogLocator:
    """Ticks at 1, 2, 5, 10, … where they are few, else at powers of ten."""
    return LogLocator(subs=(1, 2, 5) if values.max() < 200 * values.min() else (1,))
