"""In how many directions each block's gate moves, beside its input and the same network with random weights."""
import math

import pandas as pd
import plotly.graph_objects as go

from .drawing import Drawing
from .style import ANGLES, COLOURS, finish, in_blocks, mark_stages, span

TICKS = [1, 1.5, 2, 3, 5, 10, 20, 50, 100, 200, 500]  # numbers of directions, on logarithmic axes
LINES = {  # name, colour, dash, marker
    "squeeze": ("squeezed input z", COLOURS[5], "solid", "diamond"),
    "random": ("control: random weights", COLOURS[7], "dash", "square"),
    "gate": ("{}", COLOURS[0], "solid", "circle"),
}


def dimension(table: pd.DataFrame, *, quantity: str = "gate") -> go.Figure:
    """The participation ratio over depth on a logarithmic axis, ± a standard error.

    Args:
        table: columns block, label, stage, source ("gate", "squeeze", "random"), channels, images, dimension, error,
            first; a row a block and source, in network order.
        quantity: what moves, for the legend.
    """
    blocks = table.drop_duplicates("block")
    figure = Drawing()
    for source, (words, colour, dash, symbol) in LINES.items():
        rows = table[(table["source"] == source) & table["dimension"].notna()]
        if rows.empty:
            continue
        name = words.format(quantity)
        figure.add_scatter(
            x=rows["label"], y=rows["dimension"], mode="lines+markers", name=name,
            line={"color": colour, "dash": dash, "width": 2.4 if source == "gate" else 1.4},
            marker={"symbol": symbol, "size": 8 if source == "gate" else 5}, legendrank=1 if source == "gate" else 1000,
            error_y={"type": "data", "array": rows["error"], "thickness": 1, "width": 3},
            customdata=rows[["error", "first", "channels", "images"]],
            hovertemplate=f"<b>%{{x}}</b> {name}<br>dimension %{{y:.2f}} ± %{{customdata[0]:.2f}} of "
                          "%{customdata[2]} channels<br>first direction %{customdata[1]:.1%} of the variance<br>"
                          "%{customdata[3]:,} pictures<extra></extra>")
    if len(blocks):
        mark_stages(figure, blocks["stage"])
    told = table["dimension"].dropna()
    low, high = min(0.85, told.min()) if len(told) else 0.85, max(3.0, told.max()) if len(told) else 3.0
    figure.add_hline(y=1, line={"color": "#808080", "width": 1, "dash": "dot"}, layer="below")
    figure.update_xaxes(title="attention block, in network order", type="category", autotickangles=ANGLES,
                        categoryorder="array", categoryarray=list(blocks["label"]))
    figure.update_yaxes(title="directions (participation ratio)", type="log", tickvals=TICKS,
                        range=[math.log10(low), math.log10(1.25 * high)])
    return finish(figure, alt=_alt(table, quantity), height=440)


def _alt(table: pd.DataFrame, quantity: str) -> str:
    parts = []
    for source in ("gate", "squeeze", "random"):
        told = table[table["source"] == source].set_index("label")["dimension"].dropna()
        if len(told):
            parts.append(f"{LINES[source][0].format(quantity)} {span(told, '.1f')}")
    return (f"Number of directions (participation ratio) {in_blocks(table['block'].nunique())}: "
            + ("; ".join(parts) or "none known") + ".")
