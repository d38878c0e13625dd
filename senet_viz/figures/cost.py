"""What attention costs: parameters by stage, and published errors against counted parameters."""
import pandas as pd
import plotly.graph_objects as go

from .drawing import Drawing
from .style import COLOURS, GREY, finish, hover_name, shorten


def cost_by_stage(table: pd.DataFrame) -> go.Figure:
    """Bars of parameters, stage by stage: the network without attention, and on top what attention adds.

    Args:
        table: columns part, without, attention (which may be negative: then it saves).
    """
    figure = Drawing()
    for column, name, tint in (("without", "without attention", COLOURS[4]), ("attention", "attention", COLOURS[1])):
        figure.add_bar(x=table["part"], y=table[column] / 1e6, name=name, marker={"color": tint, "line": {"width": 0}},
                       customdata=table[column],
                       hovertemplate=f"<b>%{{x}}</b> {name}: %{{customdata:,}}<extra></extra>")
    figure.update_layout(barmode="relative")
    figure.update_xaxes(type="category")
    figure.update_yaxes(title="parameters, millions")
    added = "; ".join(f"{part} {count:,}" for part, count in zip(table["part"], table["attention"]) if count)
    return finish(figure, alt=f"Parameters by stage; attention adds {added or 'none'}.", height=320)


def error_against_parameters(table: pd.DataFrame, *, source: str, mark: str | None = None,
                             at: int | None = None) -> go.Figure:
    """Dots: published top-1 error over parameters counted here.

    Args:
        table: columns name, top1 (%), parameters.
        source: of the errors, for the axis.
        mark: the name of the one to stand out.
        at: parameters of a network without a published error, for a line.
    """
    rows = table.sort_values("parameters")
    marked = (rows["name"] == mark).tolist()
    reach = (rows["parameters"].max() - rows["parameters"].min()) / 1e6 or 1.0
    high = rows["top1"].max() - rows["top1"].min() or 1.0

    def place(row) -> str:
        """Where a label lies over no other dot and in the plot, also in a narrow window."""
        right = (rows["parameters"] - row.parameters) / 1e6 / reach
        level = (rows["top1"] - row.top1).abs() < 0.08 * high
        beside, near = right[level], rows["top1"][level & right.between(0, 0.2, inclusive="neither")]
        if row.parameters > rows["parameters"].median():
            return "top center" if beside.between(-0.2, 0, inclusive="neither").any() else "middle left"
        if len(near):  # away from the label of the near one
            return (("top" if near.mean() < row.top1 else "bottom")
                    + (" center" if at is None else " right"))  # a line may go through the dot
        return "middle right"

    figure = Drawing()
    figure.add_scatter(
        x=rows["parameters"] / 1e6, y=rows["top1"], mode="markers+text", text=[shorten(name) for name in rows["name"]],
        textposition=[place(row) for row in rows.itertuples()],
        marker={"opacity": 1, "size": [13 if one else 9 for one in marked],
                "color": [COLOURS[int(one)] for one in marked]},
        hovertext=[f"{hover_name(name)}: {error:.2f} % with {count:,} parameters" for name, error, count in zip(
            rows["name"], rows["top1"], rows["parameters"])], hovertemplate="%{hovertext}<extra></extra>")
    ends = rows["parameters"] if at is None else pd.Series([*rows["parameters"], at])
    if at is not None:
        figure.add_vline(x=at / 1e6, line={"color": GREY, "width": 1.5, "dash": "dash"}, layer="below")
    figure.update_xaxes(title="parameters, millions (counted here)", zeroline=False, range=[
        ends.min() / 1e6 - 0.08 * reach, ends.max() / 1e6 + 0.08 * reach])
    figure.update_yaxes(title=f"top-1 error, % ({source})", zeroline=False)
    alt = "Published top-1 error over counted parameters: " + "; ".join(
        f"{name} {error:.2f} % at {count / 1e6:.1f} M" for name, error, count in zip(
            rows["name"], rows["top1"], rows["parameters"])) + (f"; line at {at / 1e6:.1f} M." if at else ".")
    return finish(figure, alt=alt, height=380, legend=False)
