"""Does selectivity matter? Channels by how class-specific they are; accuracy without some of the channels."""
import pandas as pd
import plotly.graph_objects as go

from .drawing import Drawing
from .style import COLOURS, GREY, colour, finish, hover_name, in_blocks, signed_percent, symbol


def channel_effects(table: pd.DataFrame) -> go.Figure:
    """A point a channel: ω² of its ranks, and the change of the right class's probability in its own class.

    Args:
        table: columns label, channel, omega_squared, class, deviation, own, own_low, own_high, others, own_images; in
            network order.
    """
    figure = Drawing()
    for i, (label, rows) in enumerate(table.groupby("label", sort=False)):
        spread = (rows["own_high"] - rows["own_low"]) / 2
        figure.add_scatter(
            x=rows["omega_squared"], y=rows["own"], mode="markers", name=str(label),
            marker={"color": colour(i), "symbol": symbol(i), "size": 7},
            error_y={"type": "data", "array": spread, "thickness": 0.8, "width": 0},
            customdata=pd.DataFrame({
                "channel": rows["channel"], "class": rows["class"].map(hover_name), "deviation": rows["deviation"],
                "others": rows["others"], "spread": spread, "images": rows["own_images"]}),
            hovertemplate=f"<b>{label}</b> channel %{{customdata[0]}}, ω² %{{x:.2f}}<br>own class: %{{customdata[1]}} "
                          "(mean gate %{customdata[2]:+.3f})<br>there %{y:+.2%} ± %{customdata[4]:.2%} of "
                          "%{customdata[5]} pictures<br>other classes %{customdata[3]:+.2%}<extra></extra>")
    figure.add_hline(y=0, line={"color": "#808080", "width": 1, "dash": "dot"}, layer="below")
    figure.update_xaxes(title="how class-specific the channel is (ω² of ranks)")
    figure.update_yaxes(title="change of the right class's probability<br>in the channel's own class",
                        tickformat=signed_percent(table[["own", "own_low", "own_high"]]))
    low = table.iloc[table["own"].argmin()] if table["own"].notna().any() else None
    alt = f"{len(table)} channels {in_blocks(table['label'].nunique())}, each fixed at its mean by itself." + (
        "" if low is None else f" The most is lost in the own class of channel {low['channel']} of {low['label']}: "
                               f"{low['own']:+z.2%} of the right class's probability.")
    return finish(figure, alt=alt, height=460)


LINES = {  # name, colour, dash
    "gate": ("lowest mean gate", COLOURS[0], "solid"),
    "output": ("least passed on, (s·U)²", COLOURS[2], "solid"),
    "gamma": ("smallest |γ| before", COLOURS[1], "solid"),
    "random": ("at random", COLOURS[7], "dash"),
}


def removal(curve: pd.DataFrame, unedited: float) -> go.Figure:
    """Top-1 over the share of channels that were removed: a line a score, ± the 95 % interval of its change.

    Args:
        curve: columns score, share, draws, images, top1, difference, low, high.
        unedited: top-1 of the whole network, 0..1.
    """
    figure = Drawing()
    for score, (name, colour_of, dash) in LINES.items():
        rows = curve[curve["score"] == score].sort_values("share")
        if rows.empty:
            continue
        draws = int(rows["draws"].max())
        figure.add_scatter(
            x=[0, *rows["share"]], y=[unedited, *rows["top1"]], mode="lines+markers",
            name=f"{name} ({draws} draws)" if draws > 1 else name, line={"color": colour_of, "dash": dash},
            error_y={"type": "data", "symmetric": False, "array": [0, *(rows["high"] - rows["difference"])],
                     "arrayminus": [0, *(rows["difference"] - rows["low"])], "thickness": 1, "width": 3},
            hovertemplate=f"{name}<br>without %{{x:.0%}} of the channels: top-1 %{{y:.1%}}<extra></extra>")
    figure.add_hline(y=unedited, line={"color": GREY, "width": 1, "dash": "dot"}, layer="below")
    figure.update_xaxes(title="share of each block's channels that is removed", tickformat=".0%", rangemode="tozero")
    figure.update_yaxes(title="top-1", tickformat=".0%", rangemode="tozero")
    last = curve[curve["share"] == curve["share"].max()]
    alt = f"Top-1 of {unedited:.1%} with channels removed; without {last['share'].max():.0%} of them: " + ", ".join(
        f"{LINES[row['score']][0]} {row['top1']:.1%}" for row in last.to_dict("records")) + "."
    return finish(figure, alt=alt, height=400)
