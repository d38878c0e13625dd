"""What a monitor saw while a network trained: every block over the steps, and one block's curves."""
from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .dimension import TICKS
from .drawing import Drawing
from .style import COLOURS, DASHES, SEQUENTIAL, finish, hover_name, in_blocks, shorten


def training_map(table: pd.DataFrame, *, measure: str, quantity: str, top: float | None = None) -> go.Figure:
    """A row a block, a column a measured step; directions on a logarithmic scale from 1 up.

    Args:
        table: index label, in network order; columns step; nan where it is not known.
        measure: which, "dimension" or a share of 0..1.
        quantity: what it is called.
        top: the value of the last colour, so that two maps can be compared; the largest here when None.
    """
    values = table.to_numpy(dtype=float)
    finite = values[np.isfinite(values)]
    high = top or (float(finite.max()) if finite.size else 1.0)
    logarithmic = measure == "dimension"
    bar: dict = {"title": {"text": quantity, "side": "right"}, "thickness": 14}
    drawn, low = values, 0.0
    if logarithmic:
        high = max(high, 2.0)
        drawn = np.log(np.maximum(values, 1.0))
        ticks = [tick for tick in TICKS if tick <= high]
        bar |= {"tickvals": np.log(ticks).tolist(), "ticktext": [f"{tick:g}" for tick in ticks]}
        high = float(np.log(high))
    figure = Drawing()
    figure.add_heatmap(
        z=drawn, x=list(table.columns), y=list(table.index), zmin=low, zmax=high, colorscale=SEQUENTIAL, colorbar=bar,
        customdata=values, hoverongaps=False,
        hovertemplate=f"<b>%{{y}}</b>, step %{{x:,}}<br>{quantity} %{{customdata:.3f}}<extra></extra>")
    figure.update_xaxes(title="step (training forwards)", showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category", ticks="", automargin=True,
                        dtick=1 if len(table) <= 40 else None)
    alt = f"{quantity.capitalize()} {in_blocks(len(table))} over {len(table.columns)} measured steps"
    if finite.size:
        row, column = np.unravel_index(int(np.nanargmin(values)), values.shape)
        where = f"{list(table.index)[int(row)]} at step {list(table.columns)[int(column)]}"
        alt += f", from {finite.min():.2f} in {where} to {finite.max():.2f}"
    return finish(figure, alt=alt + ".", height=int(np.clip(18 * len(table) + 140, 260, 900)), legend=False)


def training_curves(runs: Mapping[str, pd.DataFrame], *, measure: str, quantity: str, label: str) -> go.Figure:
    """One block over the steps of one or two runs; a line through what was measured.

    Args:
        runs: name of a run → columns step and the measure, of this block.
        measure: the column.
        quantity: what it is called.
        label: the block's.
    """
    figure = Drawing()
    for number, (name, table) in enumerate(runs.items()):
        figure.add_scatter(
            x=table["step"], y=table[measure], name=shorten(name),
            mode="lines" if table[measure].count() > 1 else "markers",  # one point makes no line
            line={"color": COLOURS[number % len(COLOURS)], "width": 1.8, "dash": DASHES[number % len(DASHES)]},
            hovertemplate=f"{hover_name(name)}<br>step %{{x:,}}: %{{y:.3f}}<extra></extra>")
    figure.update_xaxes(title="step (training forwards)")
    figure.update_yaxes(title=quantity)
    if measure == "dimension":
        figure.update_yaxes(type="log", tickvals=TICKS)
    ends = ", ".join(f"{name} ends at {values.iloc[-1]:.2f}" for name, table in runs.items()
                     if len(values := table[measure].dropna()))
    return finish(figure, alt=f"{quantity.capitalize()} of {label} over the training: {ends or 'not known'}.",
                  height=360, legend=len(runs) > 1)
