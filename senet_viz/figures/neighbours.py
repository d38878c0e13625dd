"""Which class one's own pictures are nearest to, depth by depth."""
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sequential

from .drawing import Drawing
from .style import ANGLES, GREY, finish, hover_name, mark_stages, shorten

NAMED = 8   # columns; more are too narrow for names
RANKED = 3  # classes under the pointer
FAR = 3.0   # distances beyond have one colour: the root mean square of those from the own class is about 1
NEAR_TO_FAR = sequential.Blues[5::-1]  # pale enough for dark names


def nearest_classes(table: pd.DataFrame) -> go.Figure:
    """A cell a picture and block: the nearest class, the darker the nearer; others under the pointer.

    Blocks go from left to right. Where they are too many for names in the cells, but the pictures are not, blocks go
    downwards instead; where both are, names are under the pointer only.

    Args:
        table: columns picture, block, label, stage, rank (1 is the nearest), class, distance; blocks in network order.
    """
    blocks, pictures = table.drop_duplicates("block"), list(table["picture"].unique())
    places = {block: i for i, block in enumerate(blocks["block"])}
    ranked = table.sort_values("rank", kind="stable")
    z = np.full((len(pictures), len(blocks)), np.nan)
    text, hover = np.full(z.shape, "", object), np.full(z.shape, "", object)
    for (picture, block), rows in ranked.groupby(["picture", "block"], sort=False):
        at = pictures.index(picture), places[block]
        z[at], text[at] = rows["distance"].iloc[0], shorten(rows["class"].iloc[0], 16)
        hover[at] = f"<b>{rows['label'].iloc[0]}</b> {hover_name(str(picture))}" + "".join(
            f"<br>{rank}. {hover_name(name)}, distance {distance:.3f}"
            for rank, name, distance in rows[["rank", "class", "distance"]].head(RANKED).itertuples(index=False))
    down = len(blocks) > NAMED >= len(pictures)
    if down:
        z, text, hover = z.T, text.T, hover.T
    farthest = np.nanmax(z, initial=1)
    figure = Drawing()
    figure.add_heatmap(
        z=z, x=list(range(z.shape[1])), y=list(range(z.shape[0])), xgap=2, ygap=2,
        zmin=0, zmax=min(FAR, farthest), colorscale=NEAR_TO_FAR,
        text=text if z.shape[1] <= NAMED else None, texttemplate="%{text}", textfont={"size": 11, "color": "#111"},
        colorbar={"title": {"text": "distance" + f" (≥ {FAR:g} alike)" * bool(farthest > FAR), "side": "right"},
                  "thickness": 14, "nticks": 5},
        hovertext=hover, hoverongaps=False, hovertemplate="%{hovertext}<extra></extra>")
    of_blocks = {"title": "attention block, in network order", "tickvals": list(range(len(blocks))),
                 "ticktext": list(blocks["label"]), "showgrid": False, "zeroline": False, "automargin": True}
    of_pictures = {"tickvals": list(range(len(pictures))), "showgrid": False, "zeroline": False, "automargin": True,
                   "ticktext": [shorten(picture, 14 if down else 24) for picture in pictures]}
    if down:
        figure.update_layout(xaxis=of_pictures | {"side": "top"}, yaxis=of_blocks)
        for edge in np.flatnonzero(np.diff(blocks["stage"])):
            figure.add_hline(y=edge + 0.5, line={"color": GREY, "width": 1, "dash": "dash"})
    else:
        figure.update_layout(xaxis=of_blocks | {"autotickangles": ANGLES}, yaxis=of_pictures)
        if len(blocks):
            mark_stages(figure, blocks["stage"])
    figure.update_yaxes(autorange="reversed")
    alt = (f"Nearest class of {len(pictures)} picture{'s' * (len(pictures) != 1)} in {len(blocks)} "
           f"block{'s' * (len(blocks) != 1)}")
    if len(blocks):
        last = ranked[ranked["block"] == blocks["block"].iloc[-1]].drop_duplicates("picture")
        alt += f"; in {blocks['label'].iloc[-1]}: " + ", ".join(
            f"{picture} is nearest to {name}" for picture, name in zip(last["picture"], last["class"]))
    return finish(figure, alt=f"{alt}.", height=140 + (24 if down else 34) * max(len(z), 3), legend=False)
