"""Maps of networks that see no pictures: lines over a signal, and the middle slices of a volume."""
from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from .drawing import Drawing
from .maps import cam_grid
from .style import GREY, colour, dash, finish, shorten

ROW = 170  # pixels of a signal's height
AXES = ("depth", "height", "width")


def map_lines(
        signals: Mapping[str, np.ndarray],
        cams: Mapping[str, Mapping[str, np.ndarray]],
        *,
        classes: Mapping[str, str],
) -> go.Figure:
    """A row a signal, a line a layer: Grad-CAM over time, each from 0 to its own maximum, before the signal in grey.

    Args:
        signals: name → (T,) or (channels, T), of which the mean is drawn; scaled to 0..1.
        cams: signal's name → layer's name → (t,), from 0 up; a cell lies in the middle of what it stands for.
        classes: signal's name → the class that its maps explain.
    """
    layers = list(next(iter(cams.values())))
    figure = Drawing(len(signals), 1, shared_xaxes=True, vertical_spacing=0.3 / max(1, len(signals)),
                           subplot_titles=[f"{shorten(name, 40)}, <i>{shorten(classes[name], 30)}</i>"
                                           for name in signals])
    for row, (name, signal) in enumerate(signals.items(), 1):
        drawn = _scaled(np.atleast_2d(np.asarray(signal, dtype=float)).mean(0))
        figure.add_scatter(x=np.arange(len(drawn)), y=drawn, mode="lines", name="signal", legendgroup="signal",
                           showlegend=row == 1, line={"color": GREY, "width": 1}, hoverinfo="skip", row=row, col=1)
        for i, layer in enumerate(layers):
            values = np.asarray(cams[name][layer], dtype=float)
            top = values.max(initial=0.0)
            cell = len(drawn) / len(values)
            figure.add_scatter(
                x=(np.arange(len(values)) + 0.5) * cell - 0.5, y=values / top if top else values, mode="lines",
                name=layer, legendgroup=layer, showlegend=row == 1, customdata=values, row=row, col=1,
                line={"color": colour(i), "dash": dash(i)},
                hovertemplate=f"{layer}<br>at %{{x:.0f}}: %{{customdata:.4g}}<extra></extra>")
        figure.update_yaxes(range=[-0.05, 1.05], showticklabels=False, row=row, col=1)
    figure.update_xaxes(title="sample of the signal", row=len(signals), col=1)
    empty = sum(not np.any(np.asarray(cams[name][layer]) > 0) for name in signals for layer in layers)
    alt = (f"Grad-CAM over {len(signals)} signal{'s' * (len(signals) != 1)} at {', '.join(layers)}; {empty} of "
           f"{len(signals) * len(layers)} maps are empty.")
    return finish(figure, alt=alt, height=ROW * len(signals) + 100)


def volume_slices(
        volumes: Mapping[str, np.ndarray],
        cams: Mapping[str, Mapping[str, np.ndarray]],
        *,
        classes: Mapping[str, str],
        smooth: bool = True,
) -> go.Figure:
    """Three rows a volume, its middle slices across depth, height and width, and a column a layer: Grad-CAM over them.

    Each map runs from 0 to its own maximum within the slice.

    Args:
        volumes: name → (D, H, W), or (channels, D, H, W), of which the mean is drawn; scaled to grey.
        cams: volume's name → layer's name → (d, h, w), from 0 up.
        classes: volume's name → the class that its maps explain.
        smooth: interpolate between cells, or show them as they are.
    """
    pictures: dict[str, np.ndarray] = {}
    maps: dict[str, dict[str, np.ndarray]] = {}
    explained: dict[str, str] = {}
    for name, volume in volumes.items():
        values = np.asarray(volume, dtype=float)
        grey = np.round(255 * _scaled(values.mean(0) if values.ndim == 4 else values)).astype(np.uint8)
        for axis, words in enumerate(AXES):
            row = f"{name}, mid-{words}"
            pictures[row] = np.repeat(_middle(grey, axis)[..., None], 3, 2)
            maps[row] = {layer: _middle(np.asarray(cam), axis) for layer, cam in cams[name].items()}
            explained[row] = classes[name]
    return cam_grid(pictures, maps, classes=explained, smooth=smooth)


def _middle(values: np.ndarray, axis: int) -> np.ndarray:
    return values.take(values.shape[axis] // 2, axis)


def _scaled(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)
