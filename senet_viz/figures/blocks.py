"""All blocks at a glance: how the gate is distributed over channels, block by block."""
import pandas as pd
import plotly.graph_objects as go

from .drawing import Drawing
from .style import ANGLES, colour, finish, hover_name, in_blocks, last_branch, mark_stages, reach, shorten, symbol

BOXES = 6  # pictures whose boxes can be told apart


def all_blocks(summary: pd.DataFrame) -> go.Figure:
    """A box a block and picture: quartiles over channels, whiskers at the 5th and 95th percentile, a dot at the mean.

    Of more than six pictures the dots alone.

    Args:
        summary: what ``senet_viz.tables.summary`` gives; of units that weigh branches the last branch is drawn.
    """
    table = last_branch(summary)
    labels = table.drop_duplicates("block")
    kernels = [kernel for kernel in labels["kernel"].unique() if kernel]
    pictures = list(table["picture"].unique())
    figure = Drawing()
    for i, picture in enumerate(pictures):
        rows = table[table["picture"] == picture]
        common = {"x": rows["label"], "offsetgroup": str(i), "legendgroup": str(i), "name": shorten(picture)}
        if len(pictures) <= BOXES:
            figure.add_box(
                **common, q1=rows["q25"], median=rows["median"], q3=rows["q75"], lowerfence=rows["q05"],
                upperfence=rows["q95"], fillcolor="rgba(0,0,0,0)", line={"color": colour(i), "width": 1.5},
                showlegend=False, hoverinfo="skip")
        figure.add_scatter(
            **common, y=rows["mean"], mode="markers", marker={"color": colour(i), "symbol": symbol(i), "size": 6},
            customdata=rows[["std", "below", "above", "channels", "min", "max"]],
            hovertemplate=f"<b>%{{x}}</b> {hover_name(picture)}<br>mean %{{y:.3f}}, standard deviation "
                          f"%{{customdata[0]:.3f}}<br>"
                          "below .05: %{customdata[1]:.1%}, above .95: %{customdata[2]:.1%} of %{customdata[3]} "
                          "channels"
                          "<br>from %{customdata[4]:.3f} to %{customdata[5]:.3f}<extra></extra>")
    mark_stages(figure, labels["stage"])
    titles = ["gate"] * (not labels["kernel"].all()) + [f"weight of {kernel}" for kernel in kernels[-1:]]
    title = " or ".join(titles)
    low, high = min(0.0, float(table["min"].min())), max(1.0, float(table["max"].max()))
    figure.update_layout(boxmode="group", scattermode="group", boxgap=0.15, boxgroupgap=0.1)
    figure.update_xaxes(title="attention block, in network order", type="category", autotickangles=ANGLES)
    figure.update_yaxes(title=title if len(pictures) <= BOXES else f"mean {title}", range=[low - 0.03, high + 0.03])
    spread = table.iloc[table["std"].argmax()]
    what = "Distribution" if len(pictures) <= BOXES else "Mean"
    alt = (f"{what} of the {title} over channels {in_blocks(len(labels))} for {len(pictures)} "
           f"picture{'s' * (len(pictures) != 1)}. ")
    if len(table) == 1:
        alt += f"In {spread['label']} the mean is {spread['mean']:.2f}, the standard deviation {spread['std']:.2f}."
    else:
        alt += (f"Block means: {reach(table['mean'], '.2f').removeprefix('from ')}; the widest spread is in "
                f"{spread['label']} (standard deviation {spread['std']:.2f}).")
    return finish(figure, alt=alt, height=460)
