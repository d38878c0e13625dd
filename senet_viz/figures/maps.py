"""Maps over pictures: Grad-CAM by stage, what the gate changed, one channel before and after it."""
import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from .drawing import Drawing
from .style import DIVERGING, SEQUENTIAL, finish, reach, shorten

CELL, SMALL_CELL = 190, 140  # pixels of a panel's side, for up to three pictures and for more
WIDTH = 880  # pixels of a row that a page shows whole in a window of 1440
GAP, LINE = 8, 17
CHANGED, DIFFERENCE = ("Σ α·U, gate left out", "Σ α·s·U, gated"), "difference"
Box = tuple[float, float, float, float]


class Panel:
    """A map, the value of its colour scale's end (its own maximum when None), and whether the scale runs around 0.

    A hidden one leaves the picture bare.
    """

    def __init__(self, values: np.ndarray, top: float | None, diverging: bool = False, hidden: bool = False):
        self.values, self.diverging, self.hidden = np.asarray(values, dtype=float), diverging, hidden
        if top is None:
            top = float(self.values.max(initial=0.0, where=np.isfinite(self.values)))
        self.top = top or 1.0


BARE = Panel(np.zeros((1, 1)), None, hidden=True)


class Row:
    """What stands above a row of panels, and the whole names that it stands for, which are under the pointer."""

    def __init__(self, text: str, *names: str):
        self.text, self.whole = text, "<br>".join(shorten(name, 200) for name in names)


def cam_grid(
        pictures: Mapping[str, np.ndarray],
        cams: Mapping[str, Mapping[str, np.ndarray]],
        *,
        classes: Mapping[str, str],
        whole: Mapping[str, str] | None = None,
        boxes: Mapping[str, Box] | None = None,
        opacity: float = 0.5,
        smooth: bool = True,
) -> go.Figure:
    """A row a picture, a column a layer: Grad-CAM over the picture, each panel from 0 to its own maximum.

    Args:
        pictures: name → (H, W, 3) uint8: as the network saw them, or with ``boxes`` as they were taken.
        cams: picture's name → layer's name → (h, w), from 0 up.
        classes: picture's name → the class that its maps explain.
        whole: the same with all of the class's name, for the label under the pointer; ``classes`` when None.
        boxes: name → left, top, right and bottom edge of the part of the picture that the map is of, in its pixels,
            which is framed; all of it when None.
        opacity: of the maps, 0..1.
        smooth: interpolate between cells, or show them as they are.
    """
    columns = list(next(iter(cams.values())))
    panels = [list(cam_panels(cams[picture]).values()) for picture in pictures]
    sizes = {column: {_size(cams[picture][column]) for picture in pictures} for column in columns}
    titles = [", ".join([column, *(sizes[column] if len(sizes[column]) == 1 else ())]) for column in columns]
    rows = [Row(f"{shorten(name, 22)}<br><i>{shorten(classes[name], 22)}</i>", name,
                (whole or classes)[name]) for name in pictures]
    empty = sum(not np.any(cams[p][c] > 0) for p in pictures for c in columns)
    alt = (f"Grad-CAM of {len(pictures)} picture{'s' * (len(pictures) != 1)} at {', '.join(columns)}, for "
           f"{', '.join(dict.fromkeys(classes.values()))}; {empty} of {len(pictures) * len(columns)} maps are empty.")
    return _grid(list(pictures.values()), panels, titles, rows, opacity=opacity, smooth=smooth, alt=alt,
                 boxes=boxes and [boxes[name] for name in pictures])


def cam_panels(cams: Mapping[str, np.ndarray]) -> dict[str, Panel]:
    """What ``cam_grid`` draws of a picture: layer's name → panel.

    Args:
        cams: layer's name → (h, w), from 0 up.
    """
    return {layer: Panel(cam, None) for layer, cam in cams.items()}


def gate_change(
        pictures: Mapping[str, np.ndarray],
        before: Mapping[str, np.ndarray],
        after: Mapping[str, np.ndarray],
        label: str,
        *,
        names: Sequence[str] = CHANGED,
        boxes: Mapping[str, Box] | None = None,
        opacity: float = 0.5,
        smooth: bool = True,
) -> go.Figure:
    """What a gate itself changed: the class's evidence with the same channel weights α, without and with the gate.

    Args:
        pictures: name → (H, W, 3) uint8.
        before, after: name → (h, w), Σ α·U and Σ α·s·U before any ReLU, in units of the logit's gradient.
        label: the block's.
        names: of the two maps.
        boxes: as of ``cam_grid``.

    The two share one colour scale within a picture; the third column is their difference, on a scale around 0.
    """
    panels = [list(change_panels(before[name], after[name], names).values()) for name in pictures]
    norms = [float(np.linalg.norm(after[n] - before[n]) / norm) for n in pictures
             if (norm := np.linalg.norm(before[n]))]
    changed = (f"the gate changed the map by {reach(norms, '.0%').removeprefix('from ')} of its norm" if norms
               else "without the gate the map is empty")
    alt = (f"Class evidence at {label} without and with the gate, same channel weights, for {len(pictures)} "
           f"picture{'s' * (len(pictures) != 1)}: {changed}.")
    return _grid(list(pictures.values()), panels, [*names, DIFFERENCE],
                 [Row(shorten(name, 22), name) for name in pictures], opacity=opacity, smooth=smooth, alt=alt,
                 boxes=boxes and [boxes[name] for name in pictures])


def change_panels(before: np.ndarray, after: np.ndarray, names: Sequence[str] = CHANGED) -> dict[str, Panel]:
    """What ``gate_change`` draws of a picture: the two maps and their difference, each by its name.

    Args:
        before, after: (h, w).
        names: of the two.
    """
    top = max(float(before.max()), float(after.max()), 1e-12)
    change = after - before
    return {names[0]: Panel(before.clip(min=0), top), names[1]: Panel(after.clip(min=0), top),
            DIFFERENCE: Panel(change, float(np.abs(change).max()), diverging=True)}


def channel_maps(
        pictures: Mapping[str, np.ndarray],
        maps: Mapping[str, Sequence[np.ndarray]],
        titles: Sequence[str],
        *,
        label: str,
        channel: int,
        captions: Mapping[str, str],
        opacity: float = 0.75,
        smooth: bool = False,
) -> go.Figure:
    """One channel's feature maps over each picture, with one colour scale a picture.

    Args:
        maps: picture's name → one (h, w) map for each title.
        captions: picture's name → a line below the name, the channel's gate and rank for instance.
    """
    panels = []
    for name in pictures:
        top = max(max(float(np.abs(m).max()) for m in maps[name]), 1e-12)
        signed = any(float(m.min()) < 0 for m in maps[name])
        panels.append([BARE, *(Panel(m, top, diverging=signed) for m in maps[name])])
    alt = f"Channel {channel} of {label}: {', '.join(titles)}; " + "; ".join(
        f"{name}: {captions[name]}" for name in pictures) + "."
    return _grid(list(pictures.values()), panels, ["picture", *titles],
                 [Row(f"{shorten(name, 22)}<br>{captions[name]}", name) for name in pictures],
                 opacity=opacity, smooth=smooth, alt=alt)


def signed_map(picture: np.ndarray, values: np.ndarray, name: str, title: str, *, opacity: float = 0.5) -> go.Figure:
    """A picture, and over it a signed map around 0: red for, blue against.

    Args:
        picture: (H, W, 3) uint8.
        values: (h, w).
    """
    top = float(np.abs(values).max()) or 1.0
    row, column = np.unravel_index(np.abs(values).argmax(), values.shape)
    alt = (f"{title} for {name}: values from {values.min():.3g} to {values.max():.3g}; the strongest is "
           f"{values[row, column]:.3g} at row {row}, column {column} of {_size(values)}.")
    return _grid([picture], [[BARE, Panel(values, top, diverging=True)]], ["picture", title],
                 [Row(shorten(name, 22), name)], opacity=opacity, smooth=False, alt=alt)


def _grid(pictures, panels, titles, rows, *, opacity, smooth, alt, boxes=None) -> go.Figure:
    count = len(panels)
    cell = max(SMALL_CELL, min(CELL if count <= 3 else SMALL_CELL, WIDTH // len(titles) - GAP))
    side, lines = cell + GAP, 1 + max(row.text.count("<br>") for row in rows)
    head = LINE * lines + GAP  # a row's name stands above its panels
    inside = (cell + head) * count - head
    titles = [shorten(title, cell * 2 // 11) for title in titles]
    figure = Drawing(
        count, len(titles), column_titles=titles, horizontal_spacing=GAP / (side * len(titles)),
        vertical_spacing=head / inside if count > 1 else 0)
    for row, (picture, line) in enumerate(zip(pictures, panels), 1):
        source = data_uri(picture)
        height, width = picture.shape[:2]
        left, upper, right, lower = boxes[row - 1] if boxes else (0, 0, width, height)
        for column, panel in enumerate(line, 1):
            h, w = panel.values.shape
            figure.add_image(source=source, row=row, col=column, hoverinfo="skip")
            figure.add_heatmap(
                z=panel.values, row=row, col=column, opacity=opacity, visible=not panel.hidden, showscale=False,
                x0=left + ((right - left) / w - 1) / 2, dx=(right - left) / w,
                y0=upper + ((lower - upper) / h - 1) / 2, dy=(lower - upper) / h,
                zsmooth="best" if smooth else False, zmax=panel.top, zmin=-panel.top if panel.diverging else 0,
                colorscale=DIVERGING if panel.diverging else SEQUENTIAL,
                hovertemplate="%{z:.4g}<extra></extra>")
            figure.update_xaxes(visible=False, range=[-0.5, width - 0.5], constrain="domain", row=row, col=column)
            figure.update_yaxes(visible=False, range=[height - 0.5, -0.5], constrain="domain", row=row, col=column,
                                scaleanchor=f"x{(row - 1) * len(titles) + column if row * column > 1 else ''}")
            for colour, line in (("black", 3), ("white", 1)) if boxes else ():  # on the photo, also where it is padded
                figure.add_shape(
                    type="rect", x0=max(left, 0) - 0.5, x1=min(right, width) - 0.5, y0=max(upper, 0) - 0.5,
                    y1=min(lower, height) - 0.5, line={"color": colour, "width": line}, row=row, col=column)
        figure.add_annotation(
            x=0, xref="paper", xanchor="left", y=figure.axis("y", row, 1)["domain"][1], yref="paper", yanchor="bottom",
            text=rows[row - 1].text, hovertext=rows[row - 1].whole, showarrow=False, align="left", font={"size": 12})
    for title in figure.layout["annotations"][:len(titles)]:  # above the first row's name
        title.update(yshift=LINE * lines, font={"size": 13})
    top = LINE * (lines + 1) + 2 * GAP
    # a width of its own: panels of equal scale would drift apart in a wide window, and lie over one another in a narrow
    return finish(figure, alt=alt, height=inside + top + GAP, legend=False, width=side * len(titles) + 2 * GAP,
                  margin={"l": GAP, "r": GAP, "t": top, "b": GAP})


def _size(values: np.ndarray) -> str:
    return f"{values.shape[0]}×{values.shape[1]}"


def data_uri(picture: np.ndarray) -> str:
    """A picture (H, W, 3) uint8 as the source of an image in a figure."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=90)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
