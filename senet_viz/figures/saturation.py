"""How much of each block's gate does not work as a gate: channels always shut, always open, never changing."""
import pandas as pd
import plotly.graph_objects as go

from .drawing import Drawing
from .style import ANGLES, COLOURS, finish, in_blocks, mark_stages

# counts of channels as bars, shares of single gates as lines; what belongs together has one colour
BARS = {"dead": ("dead channels", COLOURS[0], ""), "open": ("open channels", COLOURS[1], "/"),
        "constant": ("constant channels", COLOURS[3], ".")}
LINES = {"below": ("{} below .05", COLOURS[0], "circle", "solid"),
         "above": ("{} above .95", COLOURS[1], "diamond-open", "dash")}
LEAST = 0.05  # of the axis: where nothing is saturated, that is seen


def saturation(table: pd.DataFrame, *, quantity: str = "gate") -> go.Figure:
    """Stacked bars of the share of channels that are dead, open or constant; lines for the share of saturated gates.

    Args:
        table: columns block, label, stage, channels; dead, open, constant (channels); below, above (shares of gates,
            over channels and pictures); mean. A row a block, in network order.
        quantity: what is saturated, for the legend.
    """
    shares = table[list(BARS)].div(table["channels"], axis=0)
    figure = Drawing()
    for column, (name, colour, pattern) in BARS.items():
        figure.add_bar(
            x=table["label"], y=shares[column], name=name, opacity=0.6,
            marker={"color": colour, "pattern": {"shape": pattern}, "line": {"width": 0}},
            customdata=table[[column, "channels"]],
            hovertemplate=f"<b>%{{x}}</b> {name}<br>%{{customdata[0]}} of %{{customdata[1]}} (%{{y:.1%}})"
                          "<extra></extra>")
    for column, (limit, colour, symbol, dash) in LINES.items():
        name = limit.format(quantity)
        figure.add_scatter(
            x=table["label"], y=table[column], name=name, mode="lines+markers",
            line={"color": colour, "width": 1.5, "dash": dash}, marker={"symbol": symbol, "size": 7},
            customdata=table["mean"],
            hovertemplate=f"<b>%{{x}}</b> {name}<br>%{{y:.2%}} (mean {quantity} %{{customdata:.3f}})<extra></extra>")
    if len(table):
        mark_stages(figure, table["stage"])
    top = pd.concat([shares.sum(axis=1), table["below"], table["above"]]).max()
    if len(table) and not table[[*BARS, *LINES]].fillna(0).any(axis=None):
        figure.add_annotation(
            x=0.5, xref="paper", y=0.5, yref="paper", showarrow=False, font={"size": 14},
            text=f"0 in every block: no channel is dead, open or constant,<br>no {quantity} below .05 or above .95")
    figure.update_layout(barmode="stack", bargap=0.35)
    figure.update_xaxes(title="attention block, in network order", type="category", autotickangles=ANGLES)
    figure.update_yaxes(title="share of channels; share of single values", tickformat=".0%",
                        range=[-0.02 * max(LEAST, top), 1.05 * max(LEAST, top)])
    counts = {column: int(table[column].sum()) for column in BARS}
    alt = (f"Saturation {in_blocks(len(table))}: {counts['dead']} dead, {counts['open']} open and {counts['constant']} "
           f"constant channels of {int(table['channels'].sum())}"
           + "".join(f"; {limit.format(quantity)}: at most {table[column].max():.1%}, in "
                     f"{table['label'].iloc[table[column].argmax()]}"
                     for column, (limit, *_) in LINES.items() if table[column].notna().any()) + ".")
    # stacked bars would turn the legend around
    return finish(figure, alt=alt, height=440, legend_layout={"traceorder": "normal"})
