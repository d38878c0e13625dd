"""Accuracy with gates that are not the picture's own, stage by stage or block by block."""
import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .drawing import Drawing
from .style import COLOURS, GREY, finish, signed_percent, span

WITHOUT = "no attention"
LOOKS = {  # gate → colour, symbol
    WITHOUT: ("#808080", "x"), "mean gate": (COLOURS[0], "circle"), "gate of the same class": (COLOURS[2], "diamond"),
    "another picture's gate": (COLOURS[5], "square"), "gate of another class": (COLOURS[1], "triangle-down")}
RANKS = ("triangle-up", "star", "hexagon", "pentagon", "cross")  # of the mean with so many directions
WIDTH = 0.72  # of a place's width that its gates are spread over at most


def static_or_dynamic(table: pd.DataFrame) -> go.Figure:
    """Dots with two intervals: the change of top-1 with each gate; below, where it is known, without attention.

    A thick bar is the interval for other pictures of these classes, a thin one with caps for other classes.

    Args:
        table: what ``senet_viz.experiments.over_data.static_or_dynamic`` gives, of one level; one row or more.
    """
    places, gates = list(table["place"].unique()), [gate for gate in table["gate"].unique() if gate != WITHOUT]
    below = WITHOUT in set(table["gate"])
    figure = Drawing(rows=1 + below, cols=1, shared_xaxes=True, vertical_spacing=0.06,
                           row_heights=[0.72, 0.28] if below else [1.0])
    step = min(WIDTH / max(1, len(gates) - 1), 0.2)
    ranks = [gate for gate in gates if gate not in LOOKS]
    for i, gate in enumerate(gates):
        look = LOOKS.get(gate) or (COLOURS[4], RANKS[ranks.index(gate) % len(RANKS)])
        shift = step * (i - (len(gates) - 1) / 2)
        _dots(figure, table[table["gate"] == gate], places, gate, look, shift, 1)
    if below:
        _dots(figure, table[table["gate"] == WITHOUT], places, WITHOUT, LOOKS[WITHOUT], 0.0, 2)
    for row in range(1, 2 + below):
        figure.add_hline(y=0, line={"color": "#808080", "width": 1}, row=row, col=1)
        for edge in range(1, len(places)):
            figure.add_vline(x=edge - 0.5, line={"color": GREY, "width": 1, "dash": "dash"}, row=row, col=1)
    figure.update_xaxes(range=[-0.5, len(places) - 0.5], tickvals=list(range(len(places))), ticktext=places,
                        tickangle=None if len(places) <= 8 else -90, showgrid=False, zeroline=False)
    columns, off = ["difference", "low", "high", "low_classes", "high_classes"], table["gate"] == WITHOUT
    figure.update_yaxes(tickformat=signed_percent(table.loc[~off, columns]), zeroline=False)
    figure.update_yaxes(title="change of top-1", row=1, col=1)
    if below:
        ends = table.loc[off, columns].to_numpy(dtype=float)
        low, high = min(np.nanmin(ends), 0.0), max(np.nanmax(ends), 0.0)
        room = 0.1 * (high - low) or 0.01  # a dot at 0 is drawn whole
        figure.update_yaxes(title=WITHOUT, tickformat=signed_percent(ends), range=[low - room, high + room], row=2,
                            col=1)
    return finish(figure, alt=_alt(table, places, gates), height=520 if below else 420)


def _dots(figure: Drawing, rows: pd.DataFrame, places: list[str], gate: str, look: tuple[str, str], shift: float,
          row: int) -> None:
    colour, symbol = look
    x = [places.index(place) + shift for place in rows["place"]]
    kept = ["" if share != share else f"<br>{share:.0%} of what attention is worth is kept" for share in rows["kept"]]
    wide = rows["low_classes"].notna().all()
    if wide:  # below the dots
        figure.add_scatter(
            x=x, y=rows["difference"], mode="markers", marker={"color": colour, "size": 1}, showlegend=False,
            legendgroup=gate, hoverinfo="skip", error_y=_bar(rows, "_classes", colour, 1.2, 4), row=row, col=1)
    text = [f"<br>other classes {low:+.1%} to {high:+.1%}" if wide else ""
            for low, high in zip(rows["low_classes"], rows["high_classes"])]
    figure.add_scatter(
        x=x, y=rows["difference"], mode="markers", name=gate, legendgroup=gate,
        marker={"color": colour, "symbol": symbol, "size": 9}, error_y=_bar(rows, "", colour, 3.5, 0),
        customdata=list(zip(rows["place"], rows["top1"], rows["low"], rows["high"], text, kept)),
        hovertemplate=f"<b>%{{customdata[0]}}</b> {gate}<br>top-1 %{{customdata[1]:.1%}} (%{{y:+.1%}})<br>"
                      "other pictures %{customdata[2]:+.1%} to %{customdata[3]:+.1%}%{customdata[4]}%{customdata[5]}"
                      "<extra></extra>", row=row, col=1)


def _bar(rows: pd.DataFrame, of: str, colour: str, thickness: float, cap: int) -> dict:
    return {"type": "data", "symmetric": False, "array": rows[f"high{of}"] - rows["difference"],
            "arrayminus": rows["difference"] - rows[f"low{of}"], "color": colour, "thickness": thickness, "width": cap}


def _alt(table: pd.DataFrame, places: list[str], gates: list[str]) -> str:
    parts = []
    for gate in [*gates, *([WITHOUT] if WITHOUT in set(table["gate"]) else [])]:
        rows = table[table["gate"] == gate].set_index("place")["difference"]
        parts.append(f"{gate} {span(rows, '+z.1%')}")
    return f"Change of top-1 in {len(places)} place{'s' * (len(places) > 1)}, with 95 % intervals: {'; '.join(parts)}."
