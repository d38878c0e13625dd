"""One block, channel by channel: the excitation vector as in the SE paper's Fig. 6."""
import pandas as pd
import plotly.graph_objects as go

from .drawing import Drawing
from .style import colour, dash, finish, hover_name, shorten, symbol

SVG_POINTS = 6000  # beyond this many points the browser draws with WebGL


def excitation(gates: pd.DataFrame, label: str, *, order=None, quantity: str = "gate", bounds=(0.0, 1.0)) -> go.Figure:
    """A line a picture over channels.

    Args:
        gates: columns picture, channel, value; one value a picture and channel.
        label: the block's.
        order: channels in the order to draw them; by index when None. Channels that are not in it are left out.
        quantity: what the value is, for the axis.
        bounds: range of the y axis where the values keep within it.
    """
    order = sorted(gates["channel"].unique()) if order is None else list(order)
    sequential = order == sorted(order)
    pictures = list(gates["picture"].unique())
    kind = "scattergl" if len(order) * len(pictures) > SVG_POINTS else "scatter"
    figure = Drawing()
    for i, picture in enumerate(pictures):
        values = gates[gates["picture"] == picture].set_index("channel")["value"].reindex(order)
        figure.add(
            kind, x=order if sequential else list(range(len(order))), y=values, name=shorten(picture), customdata=order,
            mode="lines+markers", line={"color": colour(i), "width": 1.3, "dash": dash(i)},
            marker={"size": 4, "symbol": symbol(i)},
            hovertemplate=f"{hover_name(picture)}<br>channel %{{customdata}}: %{{y:.4f}}<extra></extra>")
    low, high = min(bounds[0], float(gates["value"].min())), max(bounds[1], float(gates["value"].max()))
    figure.update_xaxes(title="channel index" if sequential else "channels in the chosen order")
    figure.update_yaxes(title=f"{quantity} in {label}", range=[low - 0.03, high + 0.03])
    means = gates.groupby("picture", sort=False)["value"].mean()
    alt = (f"{quantity.capitalize()} of {len(order)} channels of {label}; mean over all "
           f"{gates['channel'].nunique()} by picture: "
           + ", ".join(f"{picture} {mean:.2f}" for picture, mean in means.items()) + ".")
    return finish(figure, alt=alt, height=420)
