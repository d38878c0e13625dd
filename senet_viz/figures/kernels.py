"""Which kernel a selective-kernel network prefers, unit by unit."""
import pandas as pd
import plotly.graph_objects as go

from .style import colour, finish, hover_name, mark_stages, shorten


def kernel_preference(preference: pd.DataFrame) -> go.Figure:
    """Bars of mean(largest − smallest kernel's weight) over channels, a group a unit (SKNet, Fig. 3).

    Args:
        preference: what ``senet_viz.tables.kernel_preference`` gives.
    """
    figure = go.Figure()
    pictures = list(preference["picture"].unique())
    for i, picture in enumerate(pictures):
        rows = preference[preference["picture"] == picture]
        figure.add_bar(
            x=rows["label"], y=rows["difference"], name=shorten(picture), marker={"color": colour(i), "pattern": {
                "shape": "/" if i >= 8 else ""}},
            hovertemplate=f"<b>%{{x}}</b> {hover_name(picture)}<br>%{{y:+.4f}}<extra></extra>")
    units = preference.drop_duplicates("block")
    mark_stages(figure, units["stage"])
    names = f"{units['largest'].iloc[0]} − {units['smallest'].iloc[0]}"
    figure.add_hline(y=0, line={"color": "rgba(128,128,128,0.8)", "width": 1})
    figure.update_layout(barmode="group")
    figure.update_xaxes(title="selective-kernel unit, in network order", type="category", tickangle=-45)
    figure.update_yaxes(title=f"mean weight difference, {names}")
    means = preference.groupby("label", sort=False)["difference"].mean()
    larger = int((means > 0).sum())
    alt = (f"Mean difference of the kernel weights, {names}, in {len(units)} units for {len(pictures)} "
           f"picture{'s' * (len(pictures) != 1)}: the larger kernel has more weight in {larger} of {len(units)} units "
           f"on average; from {means.min():+.3f} in {means.idxmin()} to {means.max():+.3f} in {means.idxmax()}.")
    return finish(figure, alt=alt)
