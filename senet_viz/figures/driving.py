"""What drives each block's gate, over depth: the share of its variance before its activation that others predict."""
import pandas as pd
import plotly.graph_objects as go

from .drawing import Drawing
from .style import ANGLES, COLOURS, finish, in_blocks, mark_stages, span

LINES = {  # name, colour, dash, marker
    "all": ("all of z", COLOURS[0], "solid", "circle"),
    "neighbours": ("z of channels around it", COLOURS[4], "solid", "diamond"),
    "own": ("z of the same channel", COLOURS[2], "solid", "square"),
    "class": ("the picture's class", COLOURS[1], "solid", "triangle-up"),
    "picture": ("properties of the picture", COLOURS[3], "solid", "cross"),
    "dealt": ("control: z of other pictures", COLOURS[7], "dash", "circle-open"),
}
PROPERTIES = {
    "picture": ("all together", COLOURS[3], "solid", "cross"),
    "brightness": ("brightness", COLOURS[5], "solid", "circle"),
    "contrast": ("contrast", COLOURS[0], "solid", "square"),
    "colour": ("colourfulness", COLOURS[1], "solid", "diamond"),
    "detail": ("detail (sharpness)", COLOURS[2], "solid", "triangle-up"),
    "size": ("size of the object", COLOURS[6], "solid", "star"),
}


def driving(table: pd.DataFrame, *, properties: bool = False, quantity: str = "gate") -> go.Figure:
    """A line for each thing that predicts the gate.

    Args:
        table: columns block, label, stage, driver, share, channels, neighbours; a row a block and driver, in network
            order.
        properties: draw the properties of the picture one by one; otherwise what the gate is made of.
        quantity: what is predicted, for the axis.
    """
    blocks = table.drop_duplicates("block")
    lines = PROPERTIES if properties else LINES
    figure = Drawing()
    for driver, (name, colour, dash, symbol) in lines.items():
        rows = table[(table["driver"] == driver) & table["share"].notna()]
        if rows.empty:
            continue
        more = "<br>%{customdata[1]} channels around it" if driver == "neighbours" else ""
        figure.add_scatter(
            x=rows["label"], y=rows["share"], mode="lines+markers", name=name,
            line={"color": colour, "dash": dash, "width": 1.6}, marker={"symbol": symbol, "size": 7},
            customdata=rows[["channels", "neighbours"]],
            hovertemplate=f"<b>%{{x}}</b> {name}<br>predicts %{{y:.1%}} of the variance of %{{customdata[0]}} "
                          f"channels before their activation{more}<extra></extra>")
    if len(blocks):
        mark_stages(figure, blocks["stage"])
    drawn = table.loc[table["driver"].isin(lines), "share"].dropna()
    low = min(-0.03, float(drawn.min()) if len(drawn) else 0.0)
    high = max(0.1, float(drawn.max()) if len(drawn) else 0.0)
    figure.update_xaxes(title="attention block, in network order", type="category", autotickangles=ANGLES,
                        categoryorder="array", categoryarray=list(blocks["label"]))
    figure.update_yaxes(title=f"share of the variance of the {quantity}<br>before its activation", tickformat=".0%",
                        range=[max(low, -0.5) - 0.01, min(1.03, 1.08 * high)])
    return finish(figure, alt=_alt(table, lines, quantity), height=440)


def _alt(table: pd.DataFrame, lines: dict, quantity: str) -> str:
    parts = []
    for driver, (name, *_) in lines.items():
        told = table[table["driver"] == driver].set_index("label")["share"].dropna()
        if len(told):
            parts.append(f"{name} {span(told, 'z.0%')}")
    return (f"Share of the variance of the {quantity} before its activation that is predicted, "
            f"{in_blocks(table['block'].nunique())}: "
            + ("; ".join(parts) or "none known") + ".")
