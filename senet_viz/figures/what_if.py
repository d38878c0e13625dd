"""Experiments with gates: what a class gains or loses under each edit, and how far an edit travels."""
import math
import re

import pandas as pd
import plotly.graph_objects as go

from .classes import NEUTRAL, faint
from .drawing import Drawing
from .style import (
    ANGLES,
    COLOURS,
    colour,
    dash,
    finish,
    hover_name,
    in_blocks,
    mark_stages,
    shorten,
    signed_percent,
    span,
    symbol,
)

AGAINST = "against the mean of all classes"
QUANTITIES = {"lead_change": "logit", "probability_change": "probability"}


def edit_effects(table: pd.DataFrame, *, quantity: str = "lead_change", by: str = "label", group: str = "edit",
                 title: str = "attention block, in network order") -> go.Figure:
    """Bars of the change of a class's logit or probability, with ≠ at those where another class is the most probable.

    Args:
        table: columns ``by``, ``group``, of, logit, change, lead_change, probability, probability_change, class,
            class_before, and stage where stages are to be marked.
        quantity: "lead_change" (of the logit less the mean logit over all classes) or "probability_change".
        by: the column of the x axis.
        group: the column that tells the bars of one place apart.
        title: of the x axis.
    """
    name, ticks = QUANTITIES[quantity], signed_percent(table[quantity]) if quantity == "probability_change" else None
    against = [AGAINST] * (quantity == "lead_change")
    figure = Drawing()
    groups = list(table[group].unique())
    for i, each in enumerate(groups):
        rows = table[table[group] == each]
        said = f"gate at {each}" if re.fullmatch(r"[\d.]+", str(each)) else str(each)  # an edit of a number
        figure.add_bar(
            x=rows[by].astype(str), y=rows[quantity], name=shorten(said), offsetgroup=str(i),
            marker={"color": colour(i), "line": {"width": 0}}, textposition="outside", textangle=0, cliponaxis=False,
            text=["≠" if other else "" for other in rows["class"] != rows["class_before"]], textfont={"size": 14},
            customdata=list(zip(map(hover_name, rows["class"]), rows["logit"], rows["change"], rows["probability"],
                                rows["probability_change"], map(hover_name, rows["of"]), rows["lead_change"])),
            hovertemplate=f"<b>%{{x}}</b> {hover_name(said)}<br>%{{customdata[5]}}: logit %{{customdata[1]:.2f}} "
                          f"(%{{customdata[2]:+.3~g}}; {AGAINST} %{{customdata[6]:+.3~g}})<br>"
                          "probability %{customdata[3]:.1%} (%{customdata[4]:+.3~p})"
                          "<br>most probable: %{customdata[0]}<extra></extra>")
    places = table.drop_duplicates(by)
    if "stage" in table:
        mark_stages(figure, places["stage"])
    figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1})
    figure.update_layout(barmode="group")
    figure.update_xaxes(title=title, type="category", autotickangles=ANGLES, categoryorder="array",
                        categoryarray=places[by].astype(str))
    classes = list(table["of"].unique())
    of = [f"of {shorten(classes[0])}"] if len(classes) == 1 else []
    figure.update_yaxes(title="<br>".join([f"change of the {name}", *of, *against]),
                        tickformat=ticks, zeroline=False)
    parts = []
    for each in groups:
        rows = table[table[group] == each].set_index(by)[quantity]
        parts.append(f"{each} {span(rows, (ticks or '+.2f').replace('+', '+z'))}")
    followed = " ".join([f"{name} of {', '.join(classes)}", *against])
    alt = (f"Change of the {followed} in {len(places)} place{'s' * (len(places) != 1)}: {'; '.join(parts)}; "
           f"another class is the most probable in {int((table['class'] != table['class_before']).sum())} of "
           f"{len(table)} cases.")
    return finish(figure, alt=alt, legend=len(groups) > 1)


def edit_travel(table: pd.DataFrame, *, quantity: str = "difference") -> go.Figure:
    """Bars of how much the gates of each block have changed that was not edited itself; bands for those that were.

    Args:
        table: what ``senet_viz.experiments.what_if.travel`` gives.
        quantity: "difference" or "distance".
    """
    title = {"difference": "mean |change of the gate|", "distance": "1 − cosine"}[quantity]
    rest = table[~table["edited"]].set_index("label")[quantity].dropna()
    top = 1.05 * rest.max() if rest.any() else table[quantity].max()
    figure = Drawing()
    for edited, name, tint in (
            (True, "edited (not to scale)", faint(COLOURS[1], 0.3)), (False, "not edited", COLOURS[0])):
        rows = table[table["edited"] == edited]
        if len(rows):
            figure.add_bar(
                x=rows["label"], y=rows[quantity] if not edited else [top] * len(rows), name=name, offsetgroup="0",
                width=1 if edited else 0.65, marker={"color": tint, "line": {"width": 0}},
                customdata=rows[["difference", "distance"]],
                hovertemplate=f"<b>%{{x}}</b> {name.partition(' (')[0]}<br>mean |change| %{{customdata[0]:.4f}}, "
                              "1 − cosine %{customdata[1]:.4f}<extra></extra>")
    if len(table):
        mark_stages(figure, table["stage"])
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(title="attention block, in network order", type="category", autotickangles=ANGLES,
                        categoryorder="array", categoryarray=table["label"])
    figure.update_yaxes(title=title, range=[0, 1.02 * top or 1])
    edited = table.loc[table["edited"], "label"]
    alt = (f"{title[0].upper()}{title[1:]} {in_blocks(len(table))}, edited: {', '.join(edited) or 'none'}; "
           + (f"of the others most in {rest.idxmax()} ({rest.max():.4f})" if rest.any() else
              "the others do not change" if len(rest) else "there are no others")
           + ".")
    return finish(figure, alt=alt, height=380)


def forced_sizes(table: pd.DataFrame) -> go.Figure:
    """Lines of a class's logit against the mean of all classes, over the object's size; a line a choice of kernels.

    Args:
        table: what ``senet_viz.experiments.what_if.forced_sizes`` gives.
    """
    figure = Drawing()
    for i, (edit, rows) in enumerate(table.groupby("edit", sort=False)):
        figure.add_scatter(
            x=rows["size"], y=rows["lead"], name=edit, mode="lines+markers",
            line={"color": colour(i), "width": 2.5 if i == 0 else 1.5, "dash": "dot" if edit == "uniform" else dash(i)},
            marker={"size": 8, "symbol": symbol(i)},
            customdata=list(zip(rows["probability"], map(hover_name, rows["class"]), rows["logit"])),
            hovertemplate=f"{edit}<br>%{{x:g}}×: logit %{{customdata[2]:.2f}}, {AGAINST} %{{y:.2f}}<br>"
                          "probability %{customdata[0]:.1%}"
                          "<br>most probable: %{customdata[1]}<extra></extra>")
    sizes = sorted(table["size"].unique())
    figure.update_xaxes(title="size of the object", type="log", tickvals=sizes, zeroline=False,
                        ticktext=[f"{size:g}×" for size in sizes],
                        range=[math.log10(sizes[0]) - 0.03, math.log10(sizes[-1]) + 0.03])
    name = table["of"].iloc[0]
    figure.update_yaxes(title=f"logit of {shorten(name)}<br>{AGAINST}", zeroline=False)
    ends = table.groupby("edit", sort=False)["lead"].agg(["first", "last"])
    alt = (f"Logit of {name} {AGAINST}, over {len(sizes)} sizes of the object from {sizes[0]:g}× to {sizes[-1]:g}×: "
           + "; ".join(f"{row.Index} from {row.first:.2f} to {row.last:.2f}" for row in ends.itertuples()) + ".")
    return finish(figure, alt=alt)


def evaluated(table: pd.DataFrame) -> go.Figure:
    """A dot and two intervals an edit: the change of top-1 over a data set.

    A thick bar is the interval for other pictures of these classes, a thin one with caps for other classes of the same
    kind. A dot is filled where the latter (the former, where that is not known) leaves 0 out.

    Args:
        table: what ``senet_viz.collecting.open_evaluation`` gives; the unedited row is left out.
    """
    rows = table.iloc[1:]
    wide = rows["low_classes"].notna().all()
    ends = rows[["low_classes", "high_classes"] if wide else ["low", "high"]].to_numpy()
    clear = (ends[:, 0] > 0) | (ends[:, 1] < 0)
    names = [shorten(edit, 40) for edit in rows["edit"]]
    figure = Drawing()
    if wide:  # below the dots
        figure.add_scatter(x=rows["difference"], y=names, mode="markers", marker={"color": COLOURS[0], "size": 1},
                           hoverinfo="skip", error_x=_bar(rows, "_classes", 1.2, 4))
    figure.add_scatter(
        x=rows["difference"], y=names, mode="markers",
        marker={"color": COLOURS[0], "size": 9, "line": {"color": COLOURS[0], "width": 1.5},
                "symbol": ["circle" if each else "circle-open" for each in clear]},
        error_x=_bar(rows, "", 3.5, 0),
        customdata=list(zip(*(rows[name] for name in ("top1", "low", "high", "lost", "gained", "top5")), [
            f"<br>other classes {low:+.1%} to {high:+.1%}" if wide else "" for low, high in ends])),
        hovertemplate="<b>%{y}</b><br>top-1 %{customdata[0]:.1%} (%{x:+.1%}), top-5 %{customdata[5]:.1%}<br>other "
                      "pictures %{customdata[1]:+.1%} to %{customdata[2]:+.1%}%{customdata[6]}<br>%{customdata[3]} "
                      "pictures lost, %{customdata[4]} gained<extra></extra>")
    figure.add_vline(x=0, line={"color": NEUTRAL, "width": 1})
    figure.update_xaxes(title="change of top-1 (95\u00a0% intervals)", tickformat=signed_percent(
        rows[["difference", "low", "high"]], ends), zeroline=False)
    figure.update_yaxes(range=[len(set(names)) - 0.4, -0.6], type="category", automargin=True, dtick=1)
    low, high = rows.iloc[rows["difference"].argmin()], rows.iloc[rows["difference"].argmax()]
    alt = (f"Change of top-1 under {len(rows)} edits, with 95 % intervals: from {low['difference']:+.1%} "
           f"({low['edit']}) to {high['difference']:+.1%} ({high['edit']}); the interval for other "
           f"{'classes' if wide else 'pictures'} leaves 0 out for {int(clear.sum())}.")
    return finish(figure, alt=alt, height=110 + 20 * len(rows), legend=False)


def _bar(rows: pd.DataFrame, of: str, thickness: float, cap: int) -> dict:
    return {"type": "data", "symmetric": False, "array": rows[f"high{of}"] - rows["difference"],
            "arrayminus": rows["difference"] - rows[f"low{of}"], "color": COLOURS[0], "thickness": thickness,
            "width": cap}
