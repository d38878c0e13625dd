"""The gate beside what it leaves of the maps: a gate is not a contribution, since later scales can undo it."""
import pandas as pd
import plotly.graph_objects as go

from .drawing import Drawing
from .style import ANGLES, colour, dash, finish, hover_name, in_blocks, last_branch, mark_stages, reach, shorten, symbol


def contribution(table: pd.DataFrame) -> go.Figure:
    """Above the mean gate of each block, below the share of the gated map in what it enters.

    Args:
        table: what ``senet_viz.tables.contributions`` gives. For blocks on a residual branch the share is
            ‖s·U‖ / (‖s·U‖ + ‖shortcut‖), and a block that no addition follows is a gap; where none is followed by one,
            ‖s·U‖ / ‖U‖; of units that weigh branches the last branch is drawn, with ‖a_m·U_m‖ over the sum of all.
    """
    table = last_branch(table)
    weighs, quantity = table["branch"].max() > 0, "share"
    if weighs:
        kernel = table["kernel"].iloc[-1]
        titles = (f"mean weight of {kernel}", f"share of {kernel}:<br>‖a·U‖ over all branches")
        axes = ("mean weight", "share of norm")
    elif table["shortcut"].isna().all():
        quantity = "kept"
        titles, axes = ("mean gate", "what the gate leaves: ‖s·U‖ / ‖U‖"), ("mean gate", "‖s·U‖ / ‖U‖")
    else:
        titles = ("mean gate", "share of the gated branch in the sum:<br>‖s·U‖ / (‖s·U‖ + ‖shortcut‖)")
        axes = ("mean gate", "share of norm")
    has_shortcut = table["shortcut"].notna().any()
    figure = Drawing(2, 1, shared_xaxes=True, vertical_spacing=0.2, subplot_titles=titles)
    pictures = list(table["picture"].unique())
    for i, picture in enumerate(pictures):
        rows = table[table["picture"] == picture]
        for row, column in ((1, "gate"), (2, quantity)):
            figure.add_scatter(
                x=rows["label"], y=rows[column], name=shorten(picture), legendgroup=str(i), showlegend=row == 1,
                mode="lines+markers", line={"color": colour(i), "dash": dash(i), "width": 1.3},
                marker={"symbol": symbol(i), "size": 6}, row=row, col=1,
                customdata=rows[["before", "after", "shortcut"]],
                hovertemplate=f"<b>%{{x}}</b> {hover_name(picture)}<br>{axes[row - 1]} %{{y:.3f}}<br>norm before "
                              "%{customdata[0]:.3g}, after %{customdata[1]:.3g}"
                              + (", shortcut %{customdata[2]:.3g}" if has_shortcut else "") + "<extra></extra>")
    for row in (1, 2):
        figure.update_yaxes(title=axes[row - 1], rangemode="tozero", row=row, col=1)
        mark_stages(figure, table.drop_duplicates("block")["stage"], names=row == 1, row=row, col=1)
    for title in figure.layout["annotations"][:2]:
        title.update(font={"size": 13})  # they fit a narrow window
    figure.layout["annotations"][0].update(yshift=18)  # above the stages' names
    figure.update_xaxes(type="category", autotickangles=ANGLES)
    figure.update_xaxes(title="attention block, in network order", row=2, col=1)
    alt = (f"Mean gate and share of norm {in_blocks(table['block'].nunique())} for {len(pictures)} "
           f"picture{'s' * (len(pictures) != 1)}: mean gate {reach(table['gate'], '.2f')}, share "
           f"{reach(table[quantity], '.2f')}.")
    return finish(figure, alt=alt, height=620, legend_layout={"y": 1.12}, margin={"t": 110})

