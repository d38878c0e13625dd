"""Which kernel a selective-kernel network prefers, unit by unit."""
import pandas as pd
import plotly.graph_objects as go

from .classes import NEUTRAL, faint
from .drawing import Drawing
from .style import ANGLES, colour, dash, finish, hover_name, mark_stages, shorten, symbol


def kernel_preference(preference: pd.DataFrame, *, reach: float | None = None, legend: bool = True) -> go.Figure:
    """Bars of mean(largest − smallest kernel's weight) over channels, a group a unit (SKNet, Fig. 3).

    Args:
        preference: what ``senet_viz.tables.kernel_preference`` gives.
        reach: of the y axis, up and down; as far as the bars go when None.
        legend: which bars are of which picture.
    """
    figure = Drawing()
    pictures = list(preference["picture"].unique())
    for i, picture in enumerate(pictures):
        rows = preference[preference["picture"] == picture]
        figure.add_bar(
            x=rows["label"], y=rows["difference"], name=shorten(picture), marker={"color": colour(i), "pattern": {
                "shape": "/" if i >= 8 else ""}},
            hovertemplate=f"<b>%{{x}}</b> {hover_name(picture)}<br>%{{y:+.4f}}<extra></extra>")
    units = preference.drop_duplicates("block")
    mark_stages(figure, units["stage"])
    last, first = units[["largest", "smallest"]].iloc[0]
    names = f"{last} − {first}"
    figure.add_hline(y=0, line={"color": "rgba(128,128,128,0.8)", "width": 1})
    figure.update_layout(barmode="group")
    figure.update_xaxes(title="selective-kernel unit, in network order", type="category", autotickangles=ANGLES)
    figure.update_yaxes(title=f"mean weight difference, {names}", range=None if reach is None else [-reach, reach])
    means = preference.groupby("label", sort=False)["difference"].mean()
    larger = int((means > 0).sum())
    alt = (f"Mean difference of the kernel weights, {names}, in {len(units)} units for {len(pictures)} "
           f"picture{'s' * (len(pictures) != 1)}: {last} has more weight than {first} in {larger} of {len(units)} "
           f"units on average; from {means.min():+.3f} in {means.idxmin()} to {means.max():+.3f} in {means.idxmax()}.")
    return finish(figure, alt=alt, legend=legend)


def fig3_lines(groups: pd.DataFrame, label: str) -> go.Figure:
    """The largest kernel's weight over channels of one unit, a line a size (SKNet, Fig. 3, left).

    A dotted line is where all branches weigh the same.

    Args:
        groups: what ``senet_viz.tables.kernel_groups`` gives; the pictures' names tell their sizes.
        label: the unit's.
    """
    table = groups[groups["branch"] == groups["branch"].max()]
    kernel = table["kernel"].iloc[0] if len(table) else "the last branch"
    widths = [str(width) for width in sorted({*(table["last"] - table["first"] + 1)})]
    single = widths == ["1"]
    figure = Drawing()
    for i, (picture, rows) in enumerate(table.groupby("picture", sort=False)):
        channels = rows[["first", "last"]].agg(lambda ends: "–".join(map(str, dict.fromkeys(ends))), axis=1)
        figure.add_scatter(
            x=rows["point"], y=rows["value"], name=shorten(picture), customdata=channels, mode="lines+markers",
            line={"color": colour(i), "width": 1.3 if single else 2, "dash": dash(i)},
            marker={"size": 4 if single else 7, "symbol": symbol(i)},
            hovertemplate=f"{hover_name(picture)}<br>channel{'' if single else 's'} %{{customdata}}: %{{y:.4f}}"
                          "<extra></extra>")
    even = 1 / (groups["branch"].max() + 1) if len(groups) else 0.5
    figure.add_hline(y=even, line={"color": NEUTRAL, "width": 1, "dash": "dot"})
    title = "channel index" if single else f"point, the mean of {' or '.join(widths)} consecutive channels"
    figure.update_xaxes(title=title, zeroline=False)
    figure.update_yaxes(title=f"weight of {kernel} in {shorten(label)}", range=[-0.03, 1.03], zeroline=False)
    means = table.groupby("picture", sort=False)["value"].mean()
    alt = (f"Weight of {kernel} in {label} at {table['point'].nunique()} points; mean: "
           + (", ".join(f"{picture} {mean:.3f}" for picture, mean in means.items()) or "none known") + ".")
    return finish(figure, alt=alt)


def fig3_bars(bars: pd.DataFrame, smallest: str, largest: str) -> go.Figure:
    """Bars of the mean weight difference, a group a unit, a bar a zoom (SKNet, Fig. 3, right).

    Args:
        bars: columns label, zoom (a factor), mean, count, and, over pictures, std: nan or left out for a single one.
        smallest, largest: names of the two kernels.
    """
    bars = bars.assign(std=bars.get("std", float("nan")), count=bars.get("count", 1))
    figure = Drawing()
    for i, (zoom, rows) in enumerate(bars.groupby("zoom", sort=False)):
        spread = ", standard deviation %{customdata[0]:.4f}" if rows["std"].notna().any() else ""
        figure.add_bar(
            x=rows["label"], y=rows["mean"], name=f"{zoom:g}×", customdata=rows[["std", "count"]],
            error_y={"type": "data", "array": rows["std"], "color": colour(i), "thickness": 1.5, "width": 4,
                     "visible": bool(spread)},
            marker={"color": faint(colour(i), 0.45), "line": {"color": colour(i), "width": 1.3},
                    "pattern": {"shape": "/" if i >= 8 else ""}},
            hovertemplate=f"<b>%{{x}}</b> {zoom:g}×<br>%{{y:+.4f}}{spread}, n = %{{customdata[1]:,}}<extra></extra>")
    labels = list(bars["label"].unique())
    if labels:
        figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1})
    figure.update_layout(barmode="group")
    figure.update_xaxes(title="selective-kernel unit", type="category", categoryorder="array", categoryarray=labels)
    figure.update_yaxes(title=f"mean weight difference, {largest} − {smallest}", zeroline=False)
    text = "; ".join(f"{label}: " + ", ".join(f"{row.zoom:g}× {row.mean:+.3f}" for row in rows.itertuples())
                     for label, rows in bars.dropna(subset="mean").groupby("label", sort=False))
    return finish(figure, alt=f"Mean weight difference, {largest} − {smallest}: {text or 'none known'}.")
