"""What came of trained variants: differences from the reference, with their intervals."""
import textwrap

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .classes import NEUTRAL
from .drawing import Drawing
from .style import COLOURS, finish, hover_name, signed_percent

WIDEST = 20  # letters of a label's line
FAR = 6.0  # medians of the differences; what differs by more has hardly learnt


def trained_variants(table: pd.DataFrame, seeds: pd.DataFrame, published: pd.Series, *, reference: str) -> go.Figure:
    """A dot and two intervals a variant: its top-1 less the reference's, on the same pictures.

    A thick bar is the interval for other pictures of these classes, a thin one with caps that for other pictures and
    other seeds. A dot is filled where the latter leaves 0 out. Beside it is what each seed alone gives, and what was
    published. Of variants that lie far beyond the others only the number is at the edge, or the others would lie in a
    heap; zooming out shows their dots.

    Args:
        table: columns label, difference, low, high, low_both, high_both (nan where seeds tell nothing), top1, trained
            and dimension; those without a difference are left out.
        seeds: columns label, seed, difference: a row a variant and seed.
        published: difference by label, 0..1, of those that have one.
        reference: its label, for those who do not see the figure.
    """
    rows = table[table["difference"].notna()]
    ends = rows[["low_both", "high_both"]].to_numpy()
    clear = (ends[:, 0] > 0) | (ends[:, 1] < 0)
    names = [_lines(label) for label in rows["label"]]
    figure = Drawing()
    if np.isfinite(ends).any():  # below the dots
        figure.add_scatter(x=rows["difference"], y=names, mode="markers", marker={"color": COLOURS[0], "size": 1},
                           hoverinfo="skip", error_x=_bar(rows, "_both", 1.2, 4), showlegend=False)
    each = seeds[seeds["label"].isin(rows["label"])]
    figure.add_scatter(
        x=each["difference"], y=[_lines(label) for label in each["label"]], mode="markers", name="one seed",
        marker={"color": COLOURS[4], "size": 9, "symbol": "line-ns-open", "line": {"width": 2}},
        customdata=each["seed"], hovertemplate="<b>%{y}</b><br>seed %{customdata}: %{x:+.2%}<extra></extra>")
    figure.add_scatter(
        x=rows["difference"], y=names, mode="markers", name="all seeds", error_x=_bar(rows, "", 3.5, 0),
        marker={"color": COLOURS[0], "size": 9, "line": {"color": COLOURS[0], "width": 1.5},
                "symbol": ["circle" if one else "circle-open" for one in clear]},
        customdata=list(zip(*(rows[name] for name in ("top1", "low", "high", "trained")), [
            "" if np.isnan(low) else f"<br>other pictures and seeds {low:+.2%} to {high:+.2%}" for low, high in ends])),
        hovertemplate="<b>%{y}</b><br>top-1 %{customdata[0]:.1%} (%{x:+.2%}, seeds: %{customdata[3]})<br>other "
                      "pictures %{customdata[1]:+.2%} to %{customdata[2]:+.2%}%{customdata[4]}<extra></extra>")
    known = [label for label in rows["label"] if label in published.index]
    if known:
        figure.add_scatter(
            x=published[known], y=[_lines(label) for label in known], mode="markers", name="published",
            marker={"color": COLOURS[1], "size": 9, "symbol": "diamond-open", "line": {"width": 1.5}},
            hovertemplate="<b>%{y}</b><br>published: %{x:+.2%}<extra></extra>")
    figure.add_vline(x=0, line={"color": NEUTRAL, "width": 1})
    figure.update_xaxes(title="change of top-1<br>(95\u00a0% intervals)", zeroline=False,
                        tickformat=signed_percent(rows[["difference", "low", "high"]], ends, each["difference"]))
    figure.update_yaxes(range=[len(names) - 0.4, -0.6], type="category", automargin=True, dtick=1,
                        categoryorder="array", categoryarray=names)
    far = rows["difference"].abs() > FAR * rows["difference"].abs().median()
    near = rows.loc[~far, ["difference", "low", "high", "low_both", "high_both"]]
    ends = np.concatenate([near.to_numpy().ravel(), published[known], [0.0]])
    low, high = np.nanmin(ends), np.nanmax(ends)
    if far.any() and high > low:
        room = 0.06 * (high - low)
        figure.update_xaxes(range=[low - 3 * room, high + 3 * room])
        for label, change in rows.loc[far, ["label", "difference"]].itertuples(index=False):
            left = change < 0
            figure.add_annotation(
                x=low - 3 * room if left else high + 3 * room, y=_lines(label), xanchor="left" if left else "right",
                text=f"← {change:+.1%}" if left else f"{change:+.1%} →", showarrow=False, font={"color": COLOURS[0]})
    alt = (f"Change of top-1 from {reference} of {len(rows)} trained variants, with 95 % intervals: "
           + "; ".join(f"{label} {change:+.2%}" for label, change in zip(rows["label"], rows["difference"]))
           + f". The interval over pictures and seeds leaves 0 out for {int(clear.sum())}.")
    plot = 34 * len(rows) + 30
    return finish(figure, alt=alt, height=plot + 145, margin={"t": 95},
                  legend_layout={"y": 1 + 6 / plot})


def _lines(label: str) -> str:
    """In lines that leave a narrow window room for the plot."""
    return "<br>".join(textwrap.wrap(hover_name(label), WIDEST))


def _bar(rows: pd.DataFrame, of: str, thickness: float, cap: int) -> dict:
    return {"type": "data", "symmetric": False, "array": rows[f"high{of}"] - rows["difference"],
            "arrayminus": rows["difference"] - rows[f"low{of}"], "color": COLOURS[0], "thickness": thickness,
            "width": cap}
