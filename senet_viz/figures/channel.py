"""One channel: which classes open it and which close it, and how its gate is distributed over pictures."""
import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .classes import NEUTRAL, counted
from .drawing import Drawing
from .style import COLOURS, finish, hover_name

CLOSED, OPEN = 0.05, 0.95  # beyond these a gate counts as saturated


def channel_classes(table: pd.DataFrame, top: int = 10, *, quantity: str = "mean gate") -> go.Figure:
    """Dots at the means of the ``top`` highest and lowest classes, with bars of ± one standard deviation.

    Args:
        table: columns class, mean, std, count, few. Classes with few pictures have open dots, and their number.
        top: how many at either end.
        quantity: what the mean is of, for the axis.
    """
    ranked = table.dropna(subset="mean").sort_values("mean", ascending=False, kind="stable")
    split = len(ranked) > 2 * top
    rows = pd.concat([ranked.head(top), ranked.tail(top)]) if split else ranked
    place = np.arange(len(rows)) + (np.arange(len(rows)) >= top if split else 0)  # an empty line between the two ends
    few = rows["few"].eq(True)
    figure = Drawing()
    figure.add_scatter(
        x=rows["mean"], y=place, mode="markers", customdata=rows[["std", "count"]],
        error_x={"type": "data", "array": rows["std"], "color": COLOURS[0], "thickness": 1.2, "width": 3},
        marker={"size": 8, "color": COLOURS[0], "symbol": np.where(few, "circle-open", "circle").tolist()},
        hovertext=[hover_name(name) for name in rows["class"]],
        hovertemplate="%{hovertext}<br>mean %{x:.4f}, standard deviation %{customdata[0]:.4f}, "
                      "n = %{customdata[1]}<extra></extra>")
    if len(ranked):
        mean = ranked["mean"].mean()
        figure.add_vline(x=mean, line={"color": NEUTRAL, "width": 1, "dash": "dash"})
        figure.add_annotation(x=mean, y=1, yref="y domain", yanchor="bottom", xanchor="center", showarrow=False,
                              text="mean over classes", font={"size": 12})
    names = [counted(*row) for row in zip(rows["class"], rows["count"], few)]
    figure.update_xaxes(title=f"{quantity}<br>± standard deviation")
    figure.update_yaxes(
        range=[place[-1] + 0.7 if len(place) else 1, -0.7], automargin=True, zeroline=False,
        tickvals=[*place.tolist(), *([top] if split else [])],
        ticktext=[*names, *([f"… {len(ranked) - 2 * top} more …"] if split else [])])
    same = len(ranked) > 1 and ranked["mean"].nunique() == 1
    alt = "No class has pictures." if not len(ranked) else (
        f"All {len(ranked)} classes have the same {quantity}, {ranked['mean'].iloc[0]:.2f}." if same else
        f"Classes by {quantity}: highest {ranked['class'].iloc[0]} {ranked['mean'].iloc[0]:.2f}, lowest "
        f"{ranked['class'].iloc[-1]} {ranked['mean'].iloc[-1]:.2f}, of {len(ranked)}.")
    return finish(figure, alt=alt, height=130 + 22 * max(len(names) + split, 5), legend=False)


def channel_histogram(table: pd.DataFrame, *, quantity: str = "gate") -> go.Figure:
    """Bars over the gate's value, from 0 to 1, with the limits beyond which it counts as saturated.

    Args:
        table: columns left, right, count; a row a bin.
        quantity: what is counted, for the axis.
    """
    total = table["count"].sum()
    shares = table["count"] / max(total, 1)
    figure = Drawing()
    figure.add_bar(
        x=(table["left"] + table["right"]) / 2, y=table["count"], width=table["right"] - table["left"],
        marker={"color": COLOURS[0], "line": {"width": 0}},
        customdata=np.stack([table["left"], table["right"], shares], axis=1),
        hovertemplate="%{customdata[0]:.2f} to %{customdata[1]:.2f}: %{y} (%{customdata[2]:.1%})<extra></extra>")
    # half a bin of slack: an edge such as 0.05 is not a number that floats hold
    below = shares[(table["left"] + table["right"]) / 2 < CLOSED].sum()
    above = shares[(table["left"] + table["right"]) / 2 > OPEN].sum()
    # one above the other: side by side they would not fit into a narrow column
    for limit, text, anchor, shift in ((CLOSED, f"{below:.1%} below .05", "left", 14),
                                       (OPEN, f"{above:.1%} above .95", "right", 0)):
        figure.add_vline(x=limit, line={"color": COLOURS[1], "width": 1.3, "dash": "dash"})
        figure.add_annotation(x=limit, y=1, yref="y domain", yanchor="bottom", xanchor=anchor, showarrow=False,
                              yshift=shift, text=text, font={"size": 12})
    figure.update_xaxes(title=quantity, range=[-0.01, 1.01])
    figure.update_yaxes(title="pictures", rangemode="tozero", range=None if total else [0, 1])
    centre = ((table["left"] + table["right"]) / 2 * shares).sum()
    alt = (f"Histogram of the {quantity} over {total:,.0f} pictures: {below:.1%} below .05, {above:.1%} above .95"
           + (f", mean near {centre:.2f}" if total else "") + ".")
    return finish(figure, alt=alt, height=320, legend=False)
