"""Which kernel a selective-kernel network prefers as its object grows: in one picture, and over a data set."""
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .classes import NEUTRAL, SVG_POINTS, faint
from .drawing import Drawing
from .kernels import kernel_preference
from .style import ANGLES, COLOURS, finish, hover_name, mark_stages, shorten

# name, colour, line and marker of a zoom and of its controls, in every figure; the zoom is drawn last, on top
LOOKS = {
    "blur": ("control: blur", "#808080", "dot", "square-open"),
    "elsewhere": ("control: elsewhere", COLOURS[5], "dash", "diamond-open"),
    "zoom": ("zoom", COLOURS[0], "solid", "circle"),
}
FIRST = 1  # in the legend
TICKS = {0.5: ".5", 0.75: ".75", 1: "1", 1.5: "1.5", 2: "2", 3: "3"}
FEW_TICKS = (0.5, 1, 2)  # of many panels a row
FEW = 50  # classes whose points are joined by lines


def size_curves(
        preference: pd.DataFrame,
        labels: Sequence[str] | None = None,
        at: float | None = None,
        *,
        quantity: str = "difference",
        columns: int | None = None,
) -> go.Figure:
    """A small panel a unit: its preference over the object's size, beside the controls.

    Of networks with random weights a band shows how far the same zooms move the unit from where it is at 1× (at the
    smallest size, where 1× is not there), from the least to the largest draw, laid onto where the curve is there.

    Args:
        preference: what ``senet_viz.experiments.sweep.size_preference`` gives.
        labels: of the units to draw, in this order; all when None.
        at: a size to mark.
        quantity: "difference" of the largest and the smallest kernel's weight, or "side", the kernel's expected one.
        columns: panels a row; when None two for up to four units, so that they read in a narrow window, and four else.
    """
    labels = list(dict.fromkeys(preference["label"] if labels is None else labels))
    columns = columns or (2 if len(labels) <= 4 else 4)
    table = preference[preference["label"].isin(labels)]
    title = _difference(table) if quantity == "difference" else "expected side of the kernel, in cells"
    figure, places = _panels(labels, columns, "size of object")
    seen, drawn = set(), [table.loc[table["look"].isin(LOOKS), quantity]]
    draws = table.loc[table["look"].str.startswith("random"), "look"].nunique()
    for label, place in zip(labels, places):
        unit = table[table["label"] == label]
        if draws:
            band = _random_band(unit, quantity)
        if draws and band["low"].notna().any():
            drawn += [band["low"], band["high"]]
            _band(figure, band, _random_name(draws), label, "random" not in seen, place)
            seen.add("random")
        for look, (name, colour, dash, symbol) in LOOKS.items():
            rows = unit[unit["look"] == look]
            if rows[quantity].notna().any():
                figure.add_scatter(
                    x=rows["size"], y=rows[quantity], name=name, legendgroup=look, showlegend=look not in seen,
                    legendrank=FIRST if look == "zoom" else None,
                    mode="lines+markers", line={"color": colour, "dash": dash, "width": 2 if look == "zoom" else 1.5},
                    marker={"size": 4, "symbol": symbol.removesuffix("-open")},
                    hovertemplate=f"<b>{hover_name(label)}</b> {name}<br>size %{{x:.3~f}}: %{{y:.4f}}<extra></extra>",
                    **place)
                seen.add(look)
    sizes = [*table["size"], *([] if at is None else [at])] or [1]
    ticks = {at: text for at, text in TICKS.items() if columns <= 2 or at in FEW_TICKS}
    figure.update_xaxes(type="log", tickvals=list(ticks), ticktext=list(ticks.values()), tickangle=0,
                        range=[math.log10(min(sizes)) - 0.03, math.log10(max(sizes)) + 0.03])
    if at is not None:
        for place in places:
            figure.add_vline(x=at, line={"color": COLOURS[3], "width": 2}, **place)
    zoom = table[table["look"] == "zoom"].dropna(subset=quantity).sort_values("size", kind="stable")
    ends = zoom.groupby("label")[quantity].agg(["first", "last"])
    controls = [LOOKS[look][0] for look in LOOKS if look in seen and look != "zoom"]
    controls += [_random_name(draws)] * bool(draws)
    alt = (f"{_capital(title)}, over sizes of the object from {min(sizes):g} to {max(sizes):g}"
           + f" ({', '.join(controls)})" * bool(controls) + ": "
           + ("; ".join(f"{label} from {ends['first'][label]:.3f} to {ends['last'][label]:.3f}" for label in labels
                        if label in ends.index) or "none known") + ".")
    return _finish_panels(figure, labels, columns, pd.concat(drawn), title, alt if len(table) else "No unit to draw.")


def size_bars(preference: pd.DataFrame, size: float) -> go.Figure:
    """Each unit's preference at one size of the object, on the scale of all sizes.

    Args:
        preference: what ``senet_viz.experiments.sweep.size_preference`` gives.
        size: one of its sizes.
    """
    zoom = preference[preference["look"] == "zoom"]
    return kernel_preference(zoom[zoom["size"] == size].assign(picture=f"{size:g}×"),
                             reach=1.05 * max(zoom["difference"].abs().max(), 0.01), legend=False)


def size_slopes(slopes: pd.DataFrame) -> go.Figure:
    """How fast each unit's preference changes with size: dots, beside them the controls; bars for what those leave.

    Args:
        slopes: what ``senet_viz.experiments.sweep.size_slopes`` gives.
    """
    figure, random = Drawing(), slopes["random"].notna().any()
    name = "beyond all controls" if random else "beyond both controls"
    figure.add_bar(
        x=slopes["label"], y=slopes["left"], name=name,
        marker={"color": faint(COLOURS[0], 0.35), "line": {"width": 0}},
        hovertemplate=f"<b>%{{x}}</b> {name}<br>%{{y:+.4f}}<extra></extra>")
    _draws(figure, slopes)
    for look in LOOKS:
        _symbols(figure, slopes, look)
    return _finish_units(
        figure, slopes, "zoom", "change of the weight difference<br>per doubling of size",
        f"; something is left {name} in {int((slopes['left'].fillna(0) != 0).sum())}")


def class_changes(
        table: pd.DataFrame,
        labels: Sequence[str],
        *,
        before: str = "1×",
        after: str = "enlarged",
        quantity: str = "mean weight difference",
        columns: int = 3,
) -> go.Figure:
    """A small panel a unit: the preference of each class before and after a zoom (SKNet, Fig. 4).

    Args:
        table: columns label, class, count, before, after, change; of each unit a row a class, in the order of classes.
        labels: of the units to draw, in this order.
        before, after: names of the two lines.
        quantity: what they show, for the axis.
        columns: panels a row.
    """
    labels = list(dict.fromkeys(labels))
    table = table.assign(place=table.groupby("label", sort=False).cumcount())
    table = table[table["label"].isin(labels)]
    figure, places = _panels(labels, columns, "class, by index")
    kind = "scattergl" if 2 * len(table) > SVG_POINTS else "scatter"
    classes = table["place"].max() + 1
    few = not classes > FEW
    parts = []
    for label, place in zip(labels, places):
        unit = table[table["label"] == label]
        for column, name, i in (("before", before, 0), ("after", after, 1)):
            figure.add(
                kind, x=unit["place"], y=unit[column], name=shorten(name), legendgroup=column,
                showlegend=label == labels[0], mode="lines+markers" if few else "markers",
                line={"color": COLOURS[i], "width": 1.5, "dash": ("solid", "dash")[i]},
                marker={"color": COLOURS[i], "symbol": ("circle", "diamond")[i], "size": 6 if few else 4,
                        "opacity": 1 if few else 0.9},
                customdata=unit[["count", "change"]], hovertext=[hover_name(str(class_)) for class_ in unit["class"]],
                hovertemplate=f"%{{hovertext}}<br><b>{hover_name(label)}</b> {hover_name(name)}: %{{y:+.4f}}, change "
                              "%{customdata[1]:+.4f}<br>n = %{customdata[0]}<extra></extra>", **place)
        known = unit.dropna(subset=["before", "after"])
        if len(known):
            parts.append(f"{label} from {known['before'].mean():+.3f} to {known['after'].mean():+.3f}, up in "
                         f"{int((known['after'] > known['before']).sum())} of {len(known)} classes")
    figure.update_xaxes(zeroline=False, dtick=1 if classes < 10 else None)
    alt = f"{_capital(quantity)} by class, {before} and {after}: " + ("; ".join(parts) or "none known") + "."
    return _finish_panels(figure, labels, columns, table[["before", "after"]], quantity, alt,
                          itemsizing="trace" if few else "constant")  # small dots, but not in the legend


def size_effects(table: pd.DataFrame, *, quantity: str = "change of the weight difference") -> go.Figure:
    """What a zoom does to each unit over a data set, with an interval, beside its controls.

    Args:
        table: columns block, label, stage, change, low, high, blur, elsewhere, draws, random, random_low, random_high
            (of networks with random weights), left, beyond (is the change more than
            the controls': filled dots), detectable (how much more would be found), d (effect size), images_up,
            classes_up (shares whose preference grew), images, classes (how many); a row a unit.
        quantity: what the change is, for the axis.
    """
    figure = Drawing()
    for look in ("blur", "elsewhere"):
        _symbols(figure, table, look)
    _draws(figure, table)
    beyond = table["beyond"].eq(True)
    rest = "zoom, not surely beyond the controls" if figure.data else "zoom"
    left = ("beyond the controls %{customdata[2]:+.4f} (would be found: %{customdata[8]:.4f}), " if figure.data else "")
    for part, name, symbol in ((beyond, "zoom, beyond the controls", "circle"), (~beyond, rest, "circle-open")):
        if part.any():
            _intervals(
                figure, table[part], "change", name, symbol, f"{left}d = %{{customdata[3]:.2f}}<br>up in "
                "%{customdata[4]:.0%} of %{customdata[5]:,} images and %{customdata[6]:.0%} of %{customdata[7]:,} "
                "classes", ["left", "d", "images_up", "images", "classes_up", "classes", "detectable"])
    return _finish_units(figure, table, "change", quantity,
                         f"; it is surely beyond the controls in {int(beyond.sum())}")


def share_slopes(
        table: pd.DataFrame, *, quantity: str = "change of the weight difference<br>per doubling of the object's side",
) -> go.Figure:
    """How each unit's preference goes with the object's size in pictures as they are, with an interval.

    Args:
        table: columns block, label, stage, slope, low, high, rho (rank correlation), images, classes; a row a unit.
        quantity: what the slope is, for the axis.
    """
    figure = Drawing()
    _intervals(figure, table, "slope", "slope", "circle", "rank correlation ρ = %{customdata[2]:+.2f}, "
               "%{customdata[3]:,} images of %{customdata[4]:,} classes", ["rho", "images", "classes"])
    sure = int(((table["low"] > 0) | (table["high"] < 0)).sum())
    return _finish_units(figure, table, "slope", quantity, f"; the interval leaves out 0 in {sure}", legend=False)


def _difference(table: pd.DataFrame) -> str:
    names = table[["largest", "smallest"]].drop_duplicates().to_numpy()
    return "mean weight difference, " + (f"{names[0][0]} − {names[0][1]}" if len(names) == 1 else "largest − smallest")


def _capital(text: str) -> str:
    """An axis's title as the beginning of a sentence."""
    return (text[:1].upper() + text[1:]).replace("<br>", " ")


def _panels(labels: list[str], columns: int, title: str) -> tuple[Drawing, list[dict[str, int]]]:
    """An empty grid, and the place of each label; the lowest panel of each column names its x axis."""
    rows, columns, plot = _grid(labels, columns)
    figure = Drawing(
        rows, columns, subplot_titles=[shorten(label) for label in labels], shared_yaxes="all",
        horizontal_spacing=0.1 / columns, vertical_spacing=60 / plot)
    figure.update_annotations(font={"size": 13})
    places = _places(labels, columns)
    for place in places[-columns:]:
        figure.update_xaxes(title={"text": title, "standoff": 12, "font": {"size": 12}}, **place)
    return figure, places


def _places(labels: list[str], columns: int) -> list[dict[str, int]]:
    return [{"row": i // columns + 1, "col": i % columns + 1} for i in range(len(labels))]


def _grid(labels: list[str], columns: int) -> tuple[int, int, int]:
    """Rows, columns, and the height of all panels in pixels."""
    rows = max(1, math.ceil(len(labels) / columns))
    return rows, max(1, min(columns, len(labels))), 140 * rows + 60 * (rows - 1) if rows > 1 else 280


def _finish_panels(
        figure: Drawing, labels: list[str], columns: int, table: pd.DataFrame | pd.Series, title: str, alt: str,
        itemsizing: str | None = None,
) -> go.Figure:
    """One range for all y axes, that of the table's values; a line at 0 where it is in range."""
    values = table.to_numpy(float)
    values = values[np.isfinite(values)]
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    slack = max(0.05 * (high - low), 0.005)
    figure.update_yaxes(range=[low - slack, high + slack], zeroline=False)
    if low - slack < 0 < high + slack:
        for place in _places(labels, columns):
            figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1}, **place)
    figure.add_annotation(
        text=title, textangle=-90, showarrow=False, x=0, xref="paper", xanchor="right", xshift=-42, y=0.5,
        yref="paper", yanchor="middle", font={"size": 13})
    plot = _grid(labels, columns)[2]
    return finish(figure, alt=alt, height=plot + 140, legend_layout={"y": 1 + 30 / plot, "itemsizing": itemsizing},
                  margin={"l": 70, "b": 60})


def _symbols(figure: Drawing, table: pd.DataFrame, look: str) -> None:
    name, colour, _, symbol = LOOKS[look]
    if table[look].notna().any():
        figure.add_scatter(
            x=table["label"], y=table[look], name=name, mode="markers", legendrank=FIRST if look == "zoom" else None,
            marker={"color": colour, "symbol": symbol, "size": 9, "line": {"width": 2 if "open" in symbol else 0}},
            hovertemplate=f"<b>%{{x}}</b> {name}<br>%{{y:+.4f}}<extra></extra>")


def _random_name(draws: int) -> str:
    return "control: random weights" + f" ({draws} draws)" * (draws > 1)


def _random_band(unit: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """What random weights make of a unit's curve, by size: columns low and high; change_low, change_high, from 1×."""
    values = unit.pivot_table(quantity, "size", "look", dropna=False)
    start = 1.0 if 1.0 in values.index else values.index.min()
    values = values.loc[values["zoom"].notna()]
    change = values.filter(like="random") - values.filter(like="random").loc[start]
    band = pd.DataFrame({"change_low": change.min(axis=1), "change_high": change.max(axis=1)})
    return band.assign(low=values["zoom"][start] + band["change_low"], high=values["zoom"][start] + band["change_high"])


def _band(figure: Drawing, band: pd.DataFrame, name: str, label: str, first: bool, place: dict[str, int]) -> None:
    common = {"x": band.index, "mode": "lines", "line": {"width": 0}, "legendgroup": "random"}
    figure.add_scatter(**common, y=band["low"], showlegend=False, hoverinfo="skip", **place)
    figure.add_scatter(
        **common, y=band["high"], name=name, showlegend=first, fill="tonexty", fillcolor=faint(COLOURS[7], 0.25),
        customdata=band[["change_low", "change_high"]],
        hovertemplate=f"<b>{hover_name(label)}</b> {name}<br>size %{{x:.3~f}}: from %{{customdata[0]:+.4f}} to "
                      "%{customdata[1]:+.4f} beside 1×<extra></extra>", **place)


def _draws(figure: Drawing, table: pd.DataFrame) -> None:
    """The same zoom in networks with random weights: their mean, and a bar from the least to the largest draw."""
    rows = table[table["random"].notna()]
    if rows.empty:
        return
    name = _random_name(int(rows["draws"].max()))
    figure.add_scatter(
        x=rows["label"], y=rows["random"], name=name, mode="markers", customdata=rows[["random_low", "random_high"]],
        marker={"color": COLOURS[7], "symbol": "x-thin-open", "size": 8, "line": {"width": 2}},
        error_y={"type": "data", "symmetric": False, "array": rows["random_high"] - rows["random"],
                 "arrayminus": rows["random"] - rows["random_low"], "color": COLOURS[7], "thickness": 1, "width": 3},
        hovertemplate=f"<b>%{{x}}</b> {name}<br>mean %{{y:+.4f}}, from %{{customdata[0]:+.4f}} to "
                      "%{customdata[1]:+.4f}<extra></extra>")


def _intervals(
        figure: Drawing, rows: pd.DataFrame, column: str, name: str, symbol: str, hover: str, data: list[str],
) -> None:
    figure.add_scatter(
        x=rows["label"], y=rows[column], name=name, mode="markers", legendrank=FIRST,
        customdata=rows[["low", "high", *data]],
        error_y={"type": "data", "array": rows["high"] - rows[column], "arrayminus": rows[column] - rows["low"],
                 "color": COLOURS[0], "thickness": 1.5, "width": 4},
        marker={"color": COLOURS[0], "symbol": symbol, "size": 9, "line": {"width": 2 if "open" in symbol else 0}},
        hovertemplate=f"<b>%{{x}}</b> {name}<br>%{{y:+.4f}}, 95% interval %{{customdata[0]:+.4f}} to "
                      f"%{{customdata[1]:+.4f}} (of all units together)<br>{hover}<extra></extra>")


def _finish_units(
        figure: Drawing, table: pd.DataFrame, column: str, title: str, more: str, legend: bool = True) -> go.Figure:
    """Units in network order, even where the first trace leaves out some, with their stages, and a line at 0."""
    if len(table):
        mark_stages(figure, table["stage"])
        figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1})
    figure.update_xaxes(title="selective-kernel unit, in network order", type="category", autotickangles=ANGLES,
                        automargin=True, categoryorder="array", categoryarray=list(table["label"]))
    figure.update_yaxes(title=title, zeroline=False, automargin=True)
    known = table.dropna(subset=column).set_index("label")[column]
    alt = "No unit to draw." if not len(known) else (
        f"{_capital(title)}, in {len(known)} unit{'s' * (len(known) != 1)}: from {known.min():+.4f} in "
        f"{known.idxmin()} to {known.max():+.4f} in {known.idxmax()}{more}.")
    return finish(figure, alt=alt, height=440, legend=legend)
