"""A picture on which a box can be drawn with the pointer."""
import numpy as np
import plotly.graph_objects as go

from .drawing import Drawing
from .maps import data_uri
from .style import COLOURS, finish

GRID = 33  # invisible points a side: a selection needs something to select


def box_picker(picture: np.ndarray, name: str, box: tuple[float, float, float, float] | None = None, *,
               size: tuple[int, int] | None = None) -> go.Figure:
    """A picture with its pixels as coordinates, on which the pointer draws a box.

    Args:
        picture: (H, W, 3) uint8, as large as it is to be shown.
        name: told to those who do not see it.
        box: drawn on it: left, top, right, bottom edge in pixels.
        size: width and height in pixels, where the picture shown is a smaller copy; those of the picture when None.
    """
    shown = picture.shape[1::-1]
    width, height = size or shown
    x, y = np.meshgrid(np.linspace(0, width, GRID), np.linspace(0, height, GRID))
    unseen = {"marker": {"opacity": 0}}
    figure = Drawing()
    figure.add_scatter(x=x.ravel(), y=y.ravel(), mode="markers", hoverinfo="skip", selected=unseen,
                                  unselected=unseen, **unseen)
    figure.add_layout_image(source=data_uri(picture), x=0, y=0, sizex=width, sizey=height, xref="x", yref="y",
                            layer="below", sizing="stretch")
    line = {"color": COLOURS[1], "width": 3}
    alt = f"{name}, {width}×{height} pixels"
    if box:
        left, top, right, bottom = box
        figure.add_shape(type="rect", x0=left, y0=top, x1=right, y1=bottom, line=line)
        alt += f", with a box from ({left:g}, {top:g}) to ({right:g}, {bottom:g})"
    # in a window that is narrower the picture shrinks, and keeps its shape
    figure.update_xaxes(range=[0, width], visible=False, constrain="domain", constraintoward="left")
    figure.update_yaxes(range=[height, 0], visible=False, constrain="domain", constraintoward="top", scaleanchor="x")
    return finish(figure, alt=f"{alt}.", height=shown[1], legend=False, width=shown[0], dragmode="select",
                  margin={"l": 0, "r": 0, "t": 0, "b": 0}, newselection={"line": line})
