"""Networks side by side: measures over depth, how alike their gates are, and what changed channel by channel."""
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .dimension import TICKS
from .drawing import Drawing
from .style import (
    ANGLES,
    COLOURS,
    GREY,
    SEQUENTIAL,
    colour,
    dash,
    finish,
    hover_name,
    shorten,
    signed_percent,
    span,
    symbol,
)

WIDTH = 0.8  # of a stage's width that its blocks are spread over
ROW = 265  # pixels of a row of panels
CHANGED = 4  # channels that are named in a block


def depth(table: pd.DataFrame) -> pd.Series:
    """Where blocks stand on an axis of stages: the middle of stage s is at s, its first and last block beside it.

    Args:
        table: columns stage, position (0..1).
    """
    return table["stage"] + WIDTH * (table["position"] - 0.5)


def compared_curves(table: pd.DataFrame, measures: Mapping[str, tuple[str, str]], *, columns: int = 2) -> go.Figure:
    """A panel a measure, a line a network; networks of other depths are aligned by stage and place in the stage.

    Args:
        table: columns run, label, stage, position and the measures; a row a run and block.
        measures: column → title, and the format of a value (".2f", ".1%"); those without any value are left out. Of
            "dimension" the axis is logarithmic, with bars of the column error on both sides.
        columns: panels in a row.
    """
    shown = {name: about for name, about in measures.items() if table[name].notna().any()}
    rows = max(1, -(-len(shown) // columns))
    figure = Drawing(rows, columns, shared_xaxes=False, horizontal_spacing=0.13, vertical_spacing=0.34 / rows,
                           subplot_titles=[title for title, _ in shown.values()])
    runs = list(dict.fromkeys(table["run"]))
    for i, (name, (_, form)) in enumerate(shown.items()):
        place = {"row": i // columns + 1, "col": i % columns + 1}
        for r, run in enumerate(runs):
            part = table[table["run"] == run]
            bars = {"error_y": {"type": "data", "array": part["error"], "thickness": 1, "width": 2}} if (
                name == "dimension" and "error" in part) else {}
            figure.add_scatter(
                x=depth(part), y=part[name], mode="lines+markers", name=shorten(run, 40), legendgroup=run,
                showlegend=i == 0, line={"color": colour(r), "dash": dash(r), "width": 1.8},
                marker={"size": 6, "symbol": symbol(r)}, customdata=part["label"], **bars, **place,
                hovertemplate=f"<b>%{{customdata}}</b> {hover_name(run)}<br>%{{y:{form}}}<extra></extra>")
        stage_axis(figure, table["stage"], **place)
        told = table[name].dropna()
        if form.endswith("%"):
            figure.update_yaxes(tickformat=".3~%", range=[0, 1.08 * max(told.max(), 0.01)], **place)
        if name == "dimension":
            figure.update_yaxes(type="log", tickvals=TICKS, **place, range=[
                math.log10(min(0.85, told.min())), math.log10(1.25 * max(3.0, told.max()))])
    parts = [f"{title}: " + "; ".join(
        f"{run} {span(told, form)}" for run in runs
        if len(told := table[table["run"] == run].set_index("label")[name].dropna()))
        for name, (title, form) in shown.items()]
    return finish(figure, alt=f"{len(runs)} networks over depth. {'. '.join(parts)}.", height=ROW * rows + 80,
                  legend_layout=_near(rows))


def _near(rows: int) -> dict[str, float]:
    """The legend right above the titles of panels, however many rows of these there are."""
    return {"y": 1 + 34 / (ROW * rows)}


def compared_differences(table: pd.DataFrame, measures: Mapping[str, tuple[str, str, float]], *, columns: int = 2
                         ) -> go.Figure:
    """A panel a measure, a dot with its interval a stage: the second network less the first.

    Args:
        table: columns place, measure, difference, low, high; a row a stage and measure. Measures without an interval
            have no panel.
        measures: name → title, the format of a value, and up to where a difference counts as none, a grey band.
        columns: panels in a row.
    """
    known = table[table["low"].notna()]
    shown = {name: about for name, about in measures.items() if (known["measure"] == name).any()}
    rows = max(1, -(-len(shown) // columns))
    figure = Drawing(rows, columns, horizontal_spacing=0.13, vertical_spacing=0.34 / rows,
                           subplot_titles=[title for title, *_ in shown.values()])
    said = []
    for i, (name, (title, form, small)) in enumerate(shown.items()):
        place, part = {"row": i // columns + 1, "col": i % columns + 1}, known[known["measure"] == name]
        figure.add_scatter(
            x=part["place"], y=part["difference"], mode="markers", showlegend=False, customdata=part[["low", "high"]],
            marker={"color": COLOURS[0], "size": 8}, **place,
            error_y={"type": "data", "symmetric": False, "array": part["high"] - part["difference"],
                     "arrayminus": part["difference"] - part["low"], "thickness": 1.6, "width": 4},
            hovertemplate=f"<b>%{{x}}</b><br>%{{y:+{form}}} (%{{customdata[0]:+{form}}} to %{{customdata[1]:+{form}}})"
                          "<extra></extra>")
        figure.add_hrect(y0=-small, y1=small, fillcolor="rgba(128,128,128,0.2)", line={"width": 0}, layer="below",
                         **place)
        figure.add_hline(y=0, line={"color": "#808080", "width": 1}, **place)
        figure.update_yaxes(tickformat=signed_percent(part[["difference", "low", "high"]]) if form.endswith("%") else
                            None, zeroline=False, **place)
        figure.update_xaxes(showgrid=False, title={"text": "stage", "standoff": 4}, tickvals=list(part["place"]),
                            ticktext=[name.removeprefix("stage ") for name in part["place"]], **place)
        said.append(f"{title} {span(part.set_index('place')['difference'], f'+z{form}')}")
    return finish(figure, alt=f"Differences of stages with 95 % intervals: {'; '.join(said) or 'none known'}.",
                  height=int(0.9 * ROW) * rows + 80, legend=False)


def stage_axis(figure: Drawing, stages: pd.Series, **place: int) -> None:
    """The x axis of ``depth``: stages by number, with lines between them."""
    found = sorted(set(stages))
    figure.update_xaxes(tickvals=found, ticktext=[str(stage) for stage in found], showgrid=False, zeroline=False,
                        range=[found[0] - 0.5, found[-1] + 0.5], title={"text": "stage", "standoff": 4}, **place)
    for stage in found[1:]:
        figure.add_vline(x=stage - 0.5, line={"color": GREY, "width": 1, "dash": "dash"}, **place)


def similarity_matrix(table: pd.DataFrame, pairs: Sequence[tuple[str, str]], names: tuple[str, str]) -> go.Figure:
    """CKA of every block of one network with every block of another; aligned ones are framed.

    Args:
        table: index: the blocks of the first (rows), columns: of the second; in network order.
        pairs: labels of aligned blocks.
        names: of the networks.
    """
    values = table.to_numpy(dtype=float)
    figure = Drawing()
    figure.add_heatmap(
        z=values, x=list(table.columns), y=list(table.index), zmin=0, zmax=1, colorscale=SEQUENTIAL, zsmooth=False,
        hoverongaps=False, colorbar={"title": {"text": "CKA", "side": "right"}, "thickness": 14},
        hovertemplate=f"%{{y}} of {hover_name(names[0])}<br>%{{x}} of {hover_name(names[1])}<br>CKA %{{z:.3f}}"
                      "<extra></extra>")
    for one, two in pairs:
        x, y = list(table.columns).index(two), list(table.index).index(one)
        figure.add_shape(type="rect", x0=x - 0.5, x1=x + 0.5, y0=y - 0.5, y1=y + 0.5,
                         line={"color": COLOURS[4], "width": 1.5})
    figure.update_xaxes(title=shorten(names[1], 60), type="category", tickangle=-90, showgrid=False, ticks="")
    figure.update_yaxes(title=shorten(names[0], 40), type="category", autorange="reversed", showgrid=False, ticks="")
    told = values[np.isfinite(values)]
    alt = f"CKA of {values.shape[0]} blocks of {names[0]} with {values.shape[1]} of {names[1]}"
    if told.size:
        row, column = np.unravel_index(np.nanargmax(values), values.shape)
        alt += (f", from {told.min():.2f} to {told.max():.2f}; the highest is of {table.index[int(row)]} with "
                f"{table.columns[int(column)]}")
    return finish(figure, alt=f"{alt}.", height=int(np.clip(22 * len(table) + 170, 300, 900)), legend=False,
                  margin={"l": 90, "b": 90})


def similarity_along(parts: Mapping[str, pd.DataFrame]) -> go.Figure:
    """CKA of aligned blocks over depth with its interval, and what chance gives as a grey band.

    Args:
        parts: what is compared, for the legend → a table with the columns first, second, stage, position, cka, low,
            high, shuffled_low, shuffled_high; a row a pair.
    """
    figure = Drawing()
    for i, table in enumerate(parts.values()):
        x = depth(table)
        order = x.argsort(kind="stable")
        band = table.iloc[order]
        figure.add_scatter(
            x=[*x.iloc[order], *x.iloc[order][::-1]], y=[*band["shuffled_high"], *band["shuffled_low"][::-1]],
            mode="lines", fill="toself", fillcolor="rgba(128,128,128,0.25)", line={"width": 0}, hoverinfo="skip",
            name="shuffled pairs", legendgroup="shuffled", showlegend=i == 0)
    for i, (name, table) in enumerate(parts.items()):
        figure.add_scatter(
            x=depth(table), y=table["cka"], mode="lines+markers", name=shorten(name, 40),
            line={"color": colour(i), "width": 1.8}, marker={"size": 7, "symbol": symbol(i)},
            error_y={"type": "data", "symmetric": False, "array": table["high"] - table["cka"],
                     "arrayminus": table["cka"] - table["low"], "thickness": 1, "width": 3},
            customdata=table[["first", "second", "low", "high", "shuffled_high"]],
            hovertemplate=f"<b>%{{customdata[0]}} and %{{customdata[1]}}</b> {hover_name(name)}<br>CKA %{{y:.3f}} "
                          "(%{customdata[2]:.3f} to %{customdata[3]:.3f})<br>shuffled up to %{customdata[4]:.3f}"
                          "<extra></extra>")
    stages = pd.concat([table["stage"] for table in parts.values()])
    stage_axis(figure, stages)
    figure.update_yaxes(title="CKA of aligned blocks", range=[-0.25, 1.06])
    said = [f"{name} {span(told, '.2f')}, {table['shuffled_high'].max():.2f} at most for shuffled pairs"
            for name, table in parts.items() if len(told := table.set_index("first")["cka"].dropna())]
    return finish(figure, alt=f"CKA of aligned blocks over depth: {'; '.join(said) or 'none known'}.", height=440)


def channel_changes(table: pd.DataFrame, agreement: pd.DataFrame, names: tuple[str, str]) -> go.Figure:
    """How much each channel's mean gate changed, block by block, and how far class profiles agree.

    Args:
        table: columns label, channel, difference; a row a block and channel, in any order.
        agreement: columns label, correlation, shuffled_low, shuffled_high; a row a block, in network order. Without a
            number there the lower panel is left out.
        names: of the networks.
    """
    told, labels = bool(agreement["correlation"].notna().any()), list(agreement["label"])
    figure = Drawing(1 + told, 1, shared_xaxes=True, vertical_spacing=0.06,
                           row_heights=[0.6, 0.4] if told else [1.0])
    figure.add_box(x=table["label"], y=table["difference"], name="a channel's mean gate", showlegend=False,
                   boxpoints="outliers", marker={"color": COLOURS[0], "size": 3}, line={"width": 1.3},
                   customdata=table["channel"], row=1, col=1,
                   hovertemplate="<b>%{x}</b> channel %{customdata}: %{y:+.3f}<extra></extra>")
    figure.add_hline(y=0, line={"color": "#808080", "width": 1}, row=1, col=1)
    if told:
        figure.add_scatter(
            x=[*labels, *labels[::-1]], y=[*agreement["shuffled_high"], *agreement["shuffled_low"][::-1]], mode="lines",
            fill="toself", fillcolor="rgba(128,128,128,0.25)", line={"width": 0}, hoverinfo="skip",
            name="with other channels of the block", row=2, col=1)
        figure.add_scatter(
            x=agreement["label"], y=agreement["correlation"], mode="lines+markers", name="with the same channel",
            line={"color": COLOURS[1]}, marker={"size": 6}, row=2, col=1,
            hovertemplate="<b>%{x}</b> median correlation %{y:.3f}<extra></extra>")
        figure.update_yaxes(title="class profiles", range=[-1.05, 1.05], row=2, col=1)
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=labels, autotickangles=ANGLES)
    figure.update_yaxes(title="change of mean gate", row=1, col=1)
    widest = table.iloc[int(table["difference"].abs().argmax())]
    alt = (f"Change of the mean gate of {len(table):,} channels from {names[0]} to {names[1]}; the largest is "
           f"{widest['difference']:+.3f}, of channel {widest['channel']} of {widest['label']}")
    if told:
        alt += f"; median correlation of class profiles {span(agreement.set_index('label')['correlation'], '.2f')}"
    return finish(figure, alt=f"{alt}.", height=560 if told else 400)


def compared_photos(table: pd.DataFrame, apart: pd.DataFrame) -> go.Figure:
    """The same photos in several networks: a panel a measure, a colour a photo, a line style a network.

    Args:
        table: columns run (the network), picture, label, stage, position, mean, std, below, above.
        apart: columns run, first, second (photos), label, stage, position, distance; with rows a last panel has, in
            each network, the mean over pairs of photos, and bars from the smallest to the largest.
    """
    panels = {"mean": "mean gate", "std": "spread over channels", "below": "share under .05", "above": "share over .95"}
    rows = 2 + bool(len(apart))
    figure = Drawing(rows, 2, horizontal_spacing=0.13, vertical_spacing=0.34 / rows, specs=[
        [{}, {}], [{}, {}], *([[{"colspan": 2}, None]] if len(apart) else [])],
        subplot_titles=[*panels.values(), *(["distance of two photos' gates"] if len(apart) else [])])
    runs, pictures = (list(dict.fromkeys(table[name])) for name in ("run", "picture"))
    styles = ("solid", "dot", "dash", "dashdot")
    for i, (name, _) in enumerate(panels.items()):
        place = {"row": i // 2 + 1, "col": i % 2 + 1}
        for r, run in enumerate(runs):
            for p, picture in enumerate(pictures):
                part = table[(table["run"] == run) & (table["picture"] == picture)]
                figure.add_scatter(
                    x=depth(part), y=part[name], mode="lines+markers", legendgroup=f"{run} {picture}",
                    name=f"{shorten(picture, 24)}, {shorten(run, 30)}", showlegend=i == 0, customdata=part["label"],
                    line={"color": colour(p), "dash": styles[r % len(styles)], "width": 1.6},
                    marker={"size": 5, "symbol": "circle" if r == 0 else "diamond-open"}, **place,
                    hovertemplate=f"<b>%{{customdata}}</b> {hover_name(run)}<br>{hover_name(picture)}<br>%{{y:.3f}}"
                                  "<extra></extra>")
        stage_axis(figure, table["stage"], **place)
        figure.update_yaxes(tickformat=".3~%" if name in ("below", "above") else None, rangemode="tozero", **place)
    if len(apart):
        for r, run in enumerate(runs):
            of = apart[apart["run"] == run].groupby("label", sort=False).agg(
                stage=("stage", "first"), position=("position", "first"), middle=("distance", "mean"),
                low=("distance", "min"), high=("distance", "max"))
            figure.add_scatter(
                x=depth(of), y=of["middle"], mode="lines+markers", name=f"distance, {shorten(run, 30)}",
                customdata=of.index, line={"color": COLOURS[-1 - r % 2], "dash": styles[r % len(styles)], "width": 1.6},
                marker={"size": 5, "symbol": "circle" if r == 0 else "diamond-open"}, row=rows, col=1,
                error_y={"type": "data", "symmetric": False, "array": of["high"] - of["middle"],
                         "arrayminus": of["middle"] - of["low"], "thickness": 1, "width": 3},
                hovertemplate=f"<b>%{{customdata}}</b> {hover_name(run)}<br>distance %{{y:.3f}}<extra></extra>")
        stage_axis(figure, table["stage"], row=rows, col=1)
        figure.update_yaxes(rangemode="tozero", row=rows, col=1)
    parts = [f"{run}: mean gate {span(table[table['run'] == run].groupby('label', sort=False)['mean'].mean(), '.2f')}"
             for run in runs]
    return finish(figure, alt=f"{len(pictures)} photo{'s' * (len(pictures) != 1)} in {len(runs)} networks. "
                              f"{'; '.join(parts)}.", height=ROW * rows + 100, legend_layout=_near(rows))


def static_compared(table: pd.DataFrame) -> go.Figure:
    """The change of top-1 with gates at their mean: a place a group, a dot with its interval a network.

    Args:
        table: columns run, place, difference, low, high, verdict; a row or more.
    """
    places, runs = (list(dict.fromkeys(table[name])) for name in ("place", "run"))
    step = min(0.6 / max(1, len(runs) - 1), 0.2)
    figure = Drawing()
    for r, run in enumerate(runs):
        rows = table[table["run"] == run]
        figure.add_scatter(
            x=[places.index(place) + step * (r - (len(runs) - 1) / 2) for place in rows["place"]],
            y=rows["difference"], mode="markers", name=shorten(run, 40),
            marker={"color": colour(r), "size": 9, "symbol": symbol(r)}, customdata=rows[["place", "low", "high",
                                                                                        "verdict"]],
            error_y={"type": "data", "symmetric": False, "array": rows["high"] - rows["difference"],
                     "arrayminus": rows["difference"] - rows["low"], "thickness": 2, "width": 4},
            hovertemplate=f"<b>%{{customdata[0]}}</b> {hover_name(run)}<br>top-1 %{{y:+.1%}} "
                          "(%{customdata[1]:+.1%} to %{customdata[2]:+.1%})<br>%{customdata[3]}<extra></extra>")
    figure.add_hline(y=0, line={"color": "#808080", "width": 1})
    for edge in range(1, len(places)):
        figure.add_vline(x=edge - 0.5, line={"color": GREY, "width": 1, "dash": "dash"})
    figure.update_xaxes(range=[-0.5, len(places) - 0.5], tickvals=list(range(len(places))), ticktext=places,
                        showgrid=False, zeroline=False, autotickangles=ANGLES)
    figure.update_yaxes(title="change of top-1", zeroline=False,
                        tickformat=signed_percent(table[["difference", "low", "high"]]))
    said = [f"{run} {span(table[table['run'] == run].set_index('place')['difference'], '+.1%')}" for run in runs]
    return finish(figure, alt=f"Change of top-1 with gates at their mean: {'; '.join(said)}.", height=400)
