"""Strips of colours, one a vector, with the channels aligned."""
import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .drawing import Drawing
from .style import COLOURS, DIVERGING, SEQUENTIAL, finish

STRIP, GAP = 34, 34  # pixels of height, and between two


def strips(table: pd.DataFrame, label: str, *, channel: int | None = None) -> go.Figure:
    """A strip a vector, from top to bottom; those over channels share their x axis, so that zooming one zooms all.

    Args:
        table: columns strip, unit, index, value, scale, as ``senet_viz.experiments.anatomy.strips`` and
            ``senet_viz.experiments.variants.strips`` give it. Strips of one scale have one range of colours, "gate" at
            least 0..1. Colours run around 0 where a scale has negative values.
        label: the block's.
        channel: to mark; then every channel can be picked by a click, and has its index in ``customdata``.
    """
    names = list(dict.fromkeys(table["strip"]))
    height = len(names) * (STRIP + GAP)
    figure = Drawing(len(names), 1, vertical_spacing=GAP / height)
    limits = {scale: _limits(rows["value"], str(scale)) for scale, rows in table.groupby("scale", sort=False)}
    shared = last = None
    parts = []
    for row, name in enumerate(names, 1):
        rows = table[table["strip"] == name]
        (low, high), values = limits[rows["scale"].iloc[0]], rows["value"].to_numpy(float)
        unit = rows["unit"].iloc[0]
        axis = figure.axis("y", row, 1)["domain"]
        figure.add_heatmap(
            z=values[None], row=row, col=1, zmin=low, zmax=high, zsmooth=False,
            hovertemplate=f"{unit} %{{x}}: %{{z:.4g}}<extra></extra>",
            colorscale=DIVERGING if low < 0 else SEQUENTIAL,
            colorbar={"len": axis[1] - axis[0], "y": sum(axis) / 2, "yanchor": "middle", "ypad": 0, "thickness": 10,
                      "x": 1.005, "tickvals": [low, high], "ticktext": [f"{low:.3g}", f"{high:.3g}"],
                      "tickfont": {"size": 11}})
        figure.update_yaxes(visible=False, fixedrange=True, range=[-0.5, 0.5], row=row, col=1)
        figure.update_xaxes(range=[-0.5, len(values) - 0.5], showgrid=False, zeroline=False, showticklabels=False,
                            ticks="", row=row, col=1)
        figure.add_annotation(
            x=0, xref="paper", xanchor="left", y=axis[1], yref="paper", yanchor="bottom", showarrow=False,
            text=f"{name} ({len(values)}): {values.min():.3g} … {values.max():.3g}", font={"size": 12})
        if unit == "channel":
            figure.update_xaxes(matches=shared, row=row, col=1)
            shared, last = shared or f"x{row if row > 1 else ''}", row
            if channel is not None:
                # a heat map's cells cannot be selected by a click: points that nobody sees can
                figure.add_scatter(
                    x=rows["index"], y=np.zeros(len(rows)), row=row, col=1, mode="markers", showlegend=False,
                    customdata=rows["index"], text=[f"{value:.4g}" for value in values],
                    marker={"size": 6, "color": COLOURS[0], "opacity": 0},
                    selected={"marker": {"opacity": 0}}, unselected={"marker": {"opacity": 0}},
                    hovertemplate="channel %{x}: %{text}<extra></extra>")
                figure.add_vrect(x0=channel - 0.5, x1=channel + 0.5, row=row, col=1, layer="above", fillcolor=None,
                                 line={"color": COLOURS[2], "width": 2})
        parts.append(f"{name} {values.min():.3g} to {values.max():.3g}")
    if last is not None:
        figure.update_xaxes(title="channel", showticklabels=True, row=last, col=1)
    return finish(figure, alt=f"{label} as strips of colours: {'; '.join(parts)}.", height=height + 90, legend=False,
                  margin={"l": 20, "r": 70, "t": 40, "b": 50})


def _limits(values: pd.Series, scale: str) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if scale == "gate" and low >= 0:
        return 0.0, max(1.0, high)
    if low < 0:
        high = max(-low, high)
        return -high, high
    return 0.0, high or 1.0
