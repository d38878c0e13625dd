"""How a view shows itself: in a line, as a table in a notebook, and as the figures of ``View.plot``."""
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from PIL import Image

from .. import figures, tables
from ..data.images import as_picture
from ..figures.style import headed
from ..notebook import summary
from .blocks import block_of
from .inspection import Point, View

MOST = 16  # pictures in a figure: so many lines can be told apart
SIDE = 448  # pixels of a picture's longer side in a figure, which holds it many times
Drawn = tuple[str, go.Figure]  # what stands before the network's name in the title, and the figure


def line(view: View) -> str:
    """What ``repr`` gives."""
    return f"View({'; '.join([view._name, *facts(view)])})"


def facts(view: View) -> list[str]:
    """How many pictures, blocks and classes, and which maps there are."""
    pictures, classes = view.logits.shape
    found = [_number(pictures, "picture"), _number(len(view.blocks), "attention block")]
    if classes:
        known = len(getattr(view._model, "classes", ())) == classes
        found.append(_number(classes, *(("class", "classes") if known else ("logit",))))
    for what, points in (("Grad-CAM", view.cams), ("features", view.features)):
        if points:
            names = [_point(view, point) for point in points]
            found.append(f"{what} of {', '.join(names[:4])}" + f" and {len(names) - 4} more" * (len(names) > 4))
    return found


def html(view: View) -> str:
    """What a notebook shows."""
    note = "The gate of blocks that weigh branches is the weight of the last one" + (
        f", {kernel}." if (kernel := _kernel(view)) else ".") if any(b.branches > 1 for b in view.blocks) else ""
    return summary(f"View of {view._name}", facts(view), block_table(view), note)


def block_table(view: View) -> pd.DataFrame:
    """The gate of each block, of several branches the last: a row a block, in network order.

    Columns: block (label), name, kind, channels, mean gate (over pictures and channels), std over channels (of each
    picture, mean over pictures) and, where there are several pictures, std over pictures (of each channel, mean over
    channels); both divide by the number of values.
    """
    rows = []
    for block in view.blocks:
        gate = view.gates[block.name][:, -1].double().cpu().numpy()
        row = {"block": block.label, "name": block.name, "kind": block.kind, "channels": block.channels,
               "mean gate": gate.mean(), "std over channels": gate.std(1).mean()}
        if len(view.logits) > 1:
            row["std over pictures"] = gate.std(0).mean()
        rows.append(row)
    return pd.DataFrame(rows)


def plot(view: View, which: str, block, names: Sequence[str] | None, options: dict) -> go.Figure:
    """See ``View.plot``."""
    if which not in FIGURES:
        raise ValueError(f"a view has the figures {', '.join(FIGURES)}, not {which!r}")
    if not view.blocks and which != "cams":
        raise ValueError(f"{view._name} has no attention blocks, so there is no gate to draw")
    pictures = len(view.logits)
    names = list(names) if names is not None else (
        [f"picture {n + 1}" for n in range(pictures)] if pictures > 1 else ["picture"])
    if len(names) != pictures or len(set(names)) < pictures:
        raise ValueError(f"names are {pictures} different ones, one for each picture")
    views = {name: _one(view, n) for n, name in enumerate(names[:MOST])}
    number = _number(pictures, "picture")
    what, figure = FIGURES[which](view, views, block, options)
    return headed(figure, f"{what}{view._name}, " + (f"the first {MOST} of {number}" if pictures > MOST else number))


def _gates(view: View, views: dict[str, View], block, options: dict) -> Drawn:
    return "", figures.all_blocks(tables.summary(views), **options)


def _block(view: View, views: dict[str, View], block, options: dict) -> Drawn:
    block = _find(view, block)
    quantity = tables.quantities(block)[-2 if block.branches > 1 else 0]  # the last is a difference of two
    return f"{block.label} of ", figures.excitation(
        tables.quantity(views, block, quantity), block.label, **{"quantity": quantity} | options)


def _kernels(view: View, views: dict[str, View], block, options: dict) -> Drawn:
    table = tables.kernel_preference(views)
    if table.empty:
        raise ValueError(f"no block of {view._name} weighs kernels")
    return "", figures.kernel_preference(table, **options)


def _contribution(view: View, views: dict[str, View], block, options: dict) -> Drawn:
    _has_contribution_points(view)
    return "", figures.contribution(tables.contributions(views), **options)


def _gate_change(view: View, views: dict[str, View], block, options: dict) -> Drawn:
    _has_contribution_points(view)
    asked = [b for b in view.blocks if (b.name, "output") in view.weights]
    block = _find(view, block) if block is not None or not asked else asked[-1]
    if block not in asked:
        raise ValueError(f"this takes Grad-CAM at the output of {block.label}: inspect with "
                         f"layers=[({block.label!r}, 'output')]")
    maps = {name: tables.gate_change(one, block) for name, one in views.items()}
    return f"{block.label} of ", figures.gate_change(
        {name: _seen(view, n) for n, name in enumerate(views)}, {name: pair[0] for name, pair in maps.items()},
        {name: pair[1] for name, pair in maps.items()}, block.label, **options)


def _cams(view: View, views: dict[str, View], block, options: dict) -> Drawn:
    if not view.cams or view._batch is None:
        raise ValueError("this view has no Grad-CAM: inspect with layers=[…], the layers to look at")
    maps, space = next(iter(view.cams.values())), view._batch.dim() - 2
    if maps.dim() - 2 != space or len(maps) != len(view.logits):
        raise ValueError("the maps are of single frames: draw those with senet_viz.figures.cam_grid")
    number, options = options.get("target", 0), {name: one for name, one in options.items() if name != "target"}
    if not 0 <= number < maps.shape[1]:
        raise ValueError(f"the view explains {_number(maps.shape[1], 'target')}, counted from 0; there is no {number}")
    pictures = {name: _seen(view, n) if space == 2 else view._batch[n].float().cpu().numpy()
                for n, name in enumerate(views)}
    cams = {name: {_point(view, point): found[0, number].cpu().numpy() for point, found in one.cams.items()}
            for name, one in views.items()}
    kinds: dict[int, Callable] = {1: figures.map_lines, 2: figures.cam_grid, 3: figures.volume_slices}
    return "", kinds[space](pictures, cams, classes=dict(zip(views, _explained(view, number))), **options)


FIGURES: dict[str, Callable[[View, dict[str, View], object, dict], Drawn]] = {
    "gates": _gates, "block": _block, "kernels": _kernels, "cams": _cams, "contribution": _contribution,
    "gate_change": _gate_change,
}


def _one(view: View, n: int) -> View:
    """The view of the n-th picture of a batch."""
    pictures = len(view.logits)
    beside = next((block.together for block in view.blocks if block.rows > 1), True)

    def own(values: dict) -> dict:  # several rows a picture, of networks that fold frames into the batch
        return {key: value[n * len(value) // pictures:(n + 1) * len(value) // pictures] if beside
                else value[n::pictures] for key, value in values.items()}

    return replace(view, logits=view.logits[n:n + 1], gates=own(view.gates), features=own(view.features),
                   cams=own(view.cams), weights=own(view.weights), output=None, _graph=None)


def _explained(view: View, number: int) -> list[str]:
    """What the maps of one of the T targets explain in each picture, in words."""
    targets = view._targets
    if targets is None:
        targets = view.logits.argmax(1, keepdim=True)
    if isinstance(targets, torch.Tensor | np.ndarray):
        targets = targets.tolist()
    if isinstance(targets, str | int) or callable(targets):
        targets = [targets]
    each = isinstance(targets[0], Sequence) and not isinstance(targets[0], str)  # (N, T), or T for all pictures
    return [_target(view, targets[n][number] if each else targets[number]) for n in range(len(view.logits))]


def _target(view: View, target) -> str:
    labels = getattr(view._model, "class_labels", [])
    if callable(target):
        return getattr(target, "__name__", type(target).__name__)
    if isinstance(target, str):
        return target
    return labels[target] if target < len(labels) == view.logits.shape[1] else f"class {target}"


def _seen(view: View, n: int) -> np.ndarray:
    """The n-th picture as the network saw it, (H, W, 3) uint8, its longer side ``SIDE`` at most."""
    if view._batch is None:
        raise ValueError("the view has kept no pictures: inspect with layers=[…]")
    own = getattr(view._model, "seen", None)
    picture = Image.fromarray(own(view._batch[n]) if own is not None else as_picture(view._batch[n].cpu().numpy()))
    picture.thumbnail((SIDE, SIDE))
    return np.asarray(picture)


def _find(view: View, block):
    """A block by itself, its name or its label; the last one when None."""
    return view.blocks[-1] if block is None and view.blocks else block_of(view.blocks, block)


def _has_contribution_points(view: View) -> None:
    from .inspection import contribution_points

    if missing := [point for point in contribution_points(view.blocks) if point not in view.features]:
        raise ValueError(f"this takes the maps around each gate ({_point(view, missing[0])} is missing): inspect with "
                         f"features=senet_viz.gates.contribution_points(blocks)")


def _point(view: View, point: Point) -> str:
    if isinstance(point, str):
        return point
    label = next((block.label for block in view.blocks if block.name == point[0]), point[0])
    return f"{label} branch {point[1]}" if isinstance(point[1], int) else f"{label} {point[1]}"


def _kernel(view: View) -> str:
    kernels = {tables.kernel_name(block, -1) for block in view.blocks if block.branches > 1 and block.kernels}
    return kernels.pop() if len(kernels) == 1 else ""


def _number(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
