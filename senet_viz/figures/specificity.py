"""How much a gate tells of the class, depth by depth, beside what chance and the input alone would give."""
import pandas as pd
import plotly.graph_objects as go

from .classes import faint, ribbon
from .drawing import Drawing
from .style import ANGLES, COLOURS, finish, in_blocks, mark_stages, span

# the colour, the line and the marker of each control
CONTROLS = {
    "shuffled": ("control: shuffled labels", "#808080", "dot", "circle"),
    "squeeze": ("control: squeezed input z", COLOURS[5], "solid", "diamond"),
    "random": ("control: random weights", COLOURS[7], "dash", "square"),
}
QUANTILES = ["q05", "q25", "median", "q75", "q95", "mean"]


def specificity(table: pd.DataFrame, *, quantity: str = "gate") -> go.Figure:
    """ω² of the gate over channels as boxes, and of the controls as lines through medians with bands of quartiles.

    Args:
        table: columns block, label, stage, source ("gate", "shuffled", "squeeze", "random"), channels, dead, open,
            constant, q05, q25, median, q75, q95, mean; a row a block and source, in network order.
        quantity: what varies, for the legend.
    """
    blocks = table.drop_duplicates("block")
    figure = Drawing()
    for source, (name, colour, dash, symbol) in CONTROLS.items():
        rows = table[table["source"] == source]
        if rows.empty:
            continue
        x, y = ribbon(rows["label"], rows["q25"], rows["q75"])
        if x:
            figure.add_scatter(
                x=x, y=y, mode="lines", line={"width": 0}, fill="toself", fillcolor=faint(colour, 0.22),
                legendgroup=source, showlegend=False, hoverinfo="skip")
        figure.add_scatter(
            x=rows["label"], y=rows["median"], mode="lines+markers", name=name, legendgroup=source,
            line={"color": colour, "dash": dash, "width": 1.6}, marker={"symbol": symbol, "size": 5},
            **_hover(rows, name))
    rows = table[(table["source"] == "gate") & table["median"].notna()]  # a box of nan would be drawn at 0
    if not rows.empty:
        common = {"x": rows["label"], "name": quantity, "legendgroup": "gate"}
        figure.add_box(
            **common, q1=rows["q25"], median=rows["median"], q3=rows["q75"], lowerfence=rows["q05"],
            upperfence=rows["q95"], fillcolor=faint(COLOURS[0], 0.25), line={"color": COLOURS[0], "width": 1.5},
            hoverinfo="skip", legendrank=1)
        figure.add_scatter(
            **common, y=rows["mean"], mode="markers", marker={"color": COLOURS[0], "size": 6}, showlegend=False,
            **_hover(rows, quantity))
    if len(blocks):
        mark_stages(figure, blocks["stage"])
    drawn = pd.concat([table.loc[table["source"] == "gate", ["q05", "q95", "mean"]].stack(),
                       table.loc[table["source"] != "gate", ["q25", "q75", "median"]].stack()]).dropna().to_numpy()
    low, high = drawn.min(initial=0.0), drawn.max(initial=0.0)
    figure.update_layout(boxgap=0.4)
    # in network order even where the first control leaves out blocks
    figure.update_xaxes(title="attention block, in network order", type="category", autotickangles=ANGLES,
                        categoryorder="array", categoryarray=list(blocks["label"]))
    figure.update_yaxes(title="share of variance between classes (ω²)",
                        range=[float(low) - 0.02, max(0.1, float(high)) + 0.02])
    return finish(figure, alt=_alt(table, quantity), height=480)


def _hover(rows: pd.DataFrame, name: str) -> dict:
    return {
        "customdata": rows[[*QUANTILES, "channels", "dead", "open", "constant"]],
        "hovertemplate": f"<b>%{{x}}</b> {name}<br>median %{{customdata[2]:.3f}}, mean %{{customdata[5]:.3f}}<br>"
                         "quartiles %{customdata[1]:.3f} to %{customdata[3]:.3f}, 5th to 95th percentile "
                         "%{customdata[0]:.3f} to %{customdata[4]:.3f}<br>"
                         "%{customdata[6]} channels: %{customdata[7]} dead, %{customdata[8]} open, "
                         "%{customdata[9]} constant<extra></extra>"}


def _alt(table: pd.DataFrame, quantity: str) -> str:
    parts = []
    for source in ("gate", *CONTROLS):
        medians = table[table["source"] == source].set_index("label")["median"]
        none = list(medians.index[medians.isna()])
        medians = medians.dropna()
        if len(medians):
            parts.append(f"{CONTROLS[source][0] if source in CONTROLS else quantity} {span(medians, '.2f')}"
                         + (f", without a channel to tell of in {', '.join(none)}" if none else ""))
    return (f"Share of the variance over pictures that lies between classes (ω²), "
            f"{in_blocks(table['block'].nunique())}; median over channels: " + ("; ".join(parts) or "none known") + ".")
