"""A picture on which a box can be drawn with the pointer."""
import numpy as np
import plotly.graph_objects as go

from .maps import data_uri
from .style import COLOURS, finish

GRID = 33  # invisible points a side: a selection needs something to select


def box_picker(picture: np.ndarray, name: str, box: tuple[float, float, float, float] | None = None, *,
               width: int = 420) -> go.Figure:
    """A picture with its pixels as coordinates, the pointer draws a box on it.

    Args:
        picture: (H, W, 3) uint8.
        name: told to those who do not see it.
        box: drawn on it: left, top, right, bottom edge in pixels.
        width: of the figure in pixels.
    """
    height, wide = picture.shape[:2]
    x, y = np.meshgrid(np.linspace(0, wide, GRID), np.linspace(0, height, GRID))
    unseen = {"marker": {"opacity": 0}}
    figure = go.Figure(go.Scatter(x=x.ravel(), y=y.ravel(), mode="markers", hoverinfo="skip", selected=unseen,
                                  unselected=unseen, **unseen))
    figure.add_layout_image(source=data_uri(picture), x=0, y=0, sizex=wide, sizey=height, xref="x", yref="y",
                            layer="below", sizing="stretch")
    if box:
        left, top, right, bottom = box
        figure.add_shape(type="rect", x0=left, y0=top, x1=right, y1=bottom, line={"color": COLOURS[1], "width": 3})
    alt = f"{name}, {wide}×{height} pixels" + (", with a box from ({:.0f}, {:.0f}) to ({:.0f}, {:.0f})".format(*box)
                                               if box else "") + "."
    finish(figure, alt=alt, height=round(width * height / wide), legend=False)
    figure.update_xaxes(range=[0, wide], visible=False, constrain="domain")
    figure.update_yaxes(range=[height, 0], visible=False, scaleanchor="x", constrain="domain")
    figure.update_layout(width=width, dragmode="select", margin={"l": 0, "r": 0, "t": 0, "b": 0},
                         newselection={"line": {"color": COLOURS[1], "width": 3}})
    return figure
