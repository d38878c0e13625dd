"""The mean gate of every class in every channel of one block."""
from collections import Counter

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .drawing import Drawing
from .style import DIVERGING, SEQUENTIAL, finish, hover_name, shorten

NAMED_CLASSES, NAMED_CHANNELS = 60, 40  # more have no room for their names


def class_heat_map(table: pd.DataFrame, *, quantity: str | None = None) -> go.Figure:
    """A row a class, a column a channel, in the table's order.

    Args:
        table: index class, columns channel. With negative values (centred ones) the colours run around 0, else from 0
            to 1, or as far as the values reach.
        quantity: what a value is, for the colour bar; when None, the mean gate, or its difference from the mean over
            classes.
    """
    values = table.to_numpy(dtype=np.float32)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    top = max(-low, high) if low < 0 else max(1.0, high)
    quantity = quantity or ("mean gate − mean over classes" if low < 0 else "mean gate")
    names = _unique([hover_name(str(name)) for name in table.index])
    channels = [str(channel) for channel in table.columns]
    figure = Drawing()
    figure.add_heatmap(
        z=values, x=channels, y=names, zmin=-top if low < 0 else 0.0, zmax=top, zsmooth=False,
        colorscale=DIVERGING if low < 0 else SEQUENTIAL, hoverongaps=False,
        colorbar={"title": {"text": quantity, "side": "right"}, "thickness": 14},
        hovertemplate="%{y}<br>channel %{x}: %{z:.4f}<extra></extra>")
    named = len(names) <= NAMED_CLASSES
    sequential = table.columns.is_monotonic_increasing
    figure.update_xaxes(
        title="channel index" if sequential else "channel, similar ones side by side", type="category", ticks="",
        showgrid=False, tickangle=-90, showticklabels=len(channels) <= NAMED_CHANNELS)
    figure.update_yaxes(
        title=None if named else "class", type="category",
        autorange="reversed", showgrid=False, ticks="", showticklabels=named, automargin=True,
        tickvals=list(range(len(names))), ticktext=[shorten(str(name)) for name in table.index])
    alt = f"{quantity.capitalize()} of {len(names)} class{'es' * (len(names) != 1)} in {len(channels)} channels"
    if finite.size and low == high:
        alt += f", {low + 0.0:.2f} in each"
    elif finite.size:
        row, column = np.unravel_index(np.nanargmax(np.abs(values)), values.shape)
        alt += (f", from {low:.2f} to {high:.2f}; the {'largest difference' if low < 0 else 'largest'} is "
                f"{values[row, column]:.2f}, of {table.index[int(row)]} in channel {channels[column]}")
    return finish(figure, alt=alt + ".", height=int(np.clip(16 * len(names) + 120, 300, 900 if named else 560)),
                  legend=False)


def _unique(names: list[str]) -> list[str]:
    """Rows of one name would be drawn as one: ImageNet has two cranes."""
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique
