"""One picture with its object at many sizes, beside two controls: which kernel does the network choose as it grows?"""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from PIL import Image

from ..data.images import blur, elsewhere, zoom
from ..gates import View, inspect, record
from ..gates.inspection import Point
from ..models import Model
from ..tables import beyond, kernel_name

SIZES = tuple(0.5 + step / 8 for step in range(21))  # to 3
Box = tuple[float, float, float, float]  # left, top, right, bottom edge in pixels


@dataclass
class Sweep:
    """What a network saw at each size. The rows of a look's view are those of its sizes.

    Attributes:
        model: the network.
        sizes: look → factors. "zoom": the object enlarged or shrunk (``senet_viz.data.images.zoom``). "blur": the same
            loss of detail without the zoom. "elsewhere": as large a crop away from the object, for factors above 1.
        pictures: look → the pictures, RGB.
        views: look → logits and gates; that of "zoom" has Grad-CAM and features where asked for.
    """

    model: Model
    sizes: dict[str, tuple[float, ...]]
    pictures: dict[str, list[Image.Image]]
    views: dict[str, View]

    def row(self, look: str, row: int) -> View:
        """Logits and gates of one size: a view of one picture."""
        return _rows(self.views[look], torch.tensor([row]))


def sweep(
        model: Model,
        image: Image.Image,
        sizes: Sequence[float] = SIZES,
        box: Box | None = None,
        targets: Sequence[int] | None = None,
        layers: Sequence[Point] = (),
) -> Sweep:
    """Look at a picture with its object at many sizes: one batch for the zooms, one for the controls.

    Pictures are zoomed before the network's own resize, so that a large photo keeps its detail. What the network could
    not see even so is dropped early: the photo is shrunk to the detail of the largest size, a zoom of it to twice the
    network's input.

    Args:
        model: with units that weigh branches.
        image: RGB.
        sizes: factors above 0; 1 is the picture as it is.
        box: around the object; the picture's centre is taken for the object's when None.
        targets: classes for Grad-CAM at ``layers``; those with the highest logits when None.
        layers: points for Grad-CAM.

    Raises:
        ValueError: for a model without such units, no sizes, a size that is none, or a box that is not inside the
            picture.
    """
    if not any(block.branches > 1 for block in model.blocks):
        raise ValueError(f"{model.name} has no units that choose between kernels: it takes a selective-kernel network, "
                         f"such as demo/sknet50_slim or timm/skresnext50_32x4d.ra_in1k.")
    if not sizes:
        raise ValueError("a sweep takes one size or more")
    centre = None if box is None else centre_of(box, image.size)
    scale = max(model.input_size) * max(1, *sizes) / min(image.size)
    if scale < 1:
        image = image.resize([round(side * scale) for side in image.size], Image.Resampling.BICUBIC)
        centre = centre and (centre[0] * scale, centre[1] * scale)
    scale = min(1, 2 * max(model.input_size) / min(image.size))
    result = tuple(round(side * scale) for side in image.size)
    factors = {"zoom": tuple(sizes), "blur": tuple(size for size in sizes if size != 1),
               "elsewhere": tuple(size for size in sizes if size > 1)}
    pictures = {"zoom": [zoom(image, size, centre, result) for size in factors["zoom"]],
                "blur": [blur(image, size, result) for size in factors["blur"]],
                "elsewhere": [elsewhere(image, size, centre, result) for size in factors["elsewhere"]]}
    views = {"zoom": inspect(model, _batch(model, pictures["zoom"]), targets, layers)}
    controls = pictures["blur"] + pictures["elsewhere"]
    if controls:
        seen = record(model, _batch(model, controls))
        parts = torch.arange(len(controls)).split([len(factors["blur"]), len(factors["elsewhere"])])
        views |= {look: _rows(seen, rows) for look, rows in zip(("blur", "elsewhere"), parts)}
    return Sweep(model, {look: factors[look] for look in views}, {look: pictures[look] for look in views}, views)


def _batch(model: Model, pictures: list[Image.Image]) -> torch.Tensor:
    return model.batch(pictures).to(memory_format=torch.channels_last)  # as many pictures go faster so


def centre_of(box: Box, size: tuple[int, int]) -> tuple[float, float]:
    """The middle of a box in a picture of a size.

    Raises:
        ValueError: one sentence, when the box is empty or reaches beyond the picture.
    """
    left, top, right, bottom = box
    if not (0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]):  # nan is in no order
        raise ValueError(f"the box {left:g}, {top:g}, {right:g}, {bottom:g} (left, top, right, bottom) is empty or not "
                         f"inside the picture, which has {size[0]}×{size[1]} pixels")
    return (left + right) / 2, (top + bottom) / 2


def _rows(view: View, rows: torch.Tensor) -> View:
    return View(logits=view.logits[rows], gates={name: gate[rows] for name, gate in view.gates.items()}, features={},
                cams={}, weights={}, blocks=view.blocks)


def size_preference(sweep: Sweep) -> pd.DataFrame:
    """Which kernel each unit prefers as the object grows, and in the controls: a row a look, size and unit.

    Columns: look, size, block, label, stage, smallest, largest (kernel names), difference (mean over channels of the
    largest kernel's weight minus the smallest's, in −1..1), side (mean over channels of Σ a_m·k_m, the expected side of
    the kernel in cells; nan where the kernels are not known). At size 1 the look "blur" is the picture as it is.
    """
    rows = []
    for look, sizes in sweep.sizes.items():
        for row, size in enumerate(sizes):
            for block in (block for block in sweep.model.blocks if block.branches > 1):
                weights = sweep.views[look].gates[block.name][row].cpu().double().numpy()
                rows.append({
                    "look": look, "size": size, "block": block.name, "label": block.label, "stage": block.stage,
                    "smallest": kernel_name(block, 0), "largest": kernel_name(block, block.branches - 1),
                    "difference": (weights[-1] - weights[0]).mean(),
                    "side": (np.asarray(block.kernels) @ weights).mean() if block.kernels else float("nan")})
    table = pd.DataFrame(rows)
    as_it_is = table[(table["look"] == "zoom") & (table["size"] == 1)]
    if "blur" in sweep.sizes:
        table = pd.concat([table, as_it_is.assign(look="blur")], ignore_index=True)
    order = [list(sweep.sizes).index(look) for look in table["look"]]
    return table.assign(order=order).sort_values(["order", "size"], kind="stable", ignore_index=True).drop(
        columns="order")


def size_slopes(preference: pd.DataFrame) -> pd.DataFrame:
    """How fast each unit's preference changes with size, and what of that the controls leave: a row a unit.

    Columns: block, label, stage, zoom, blur, elsewhere (the slope of ``difference`` per doubling of size over sizes
    from 1 up, by least squares on log2 of the size; "elsewhere" starts at the picture as it is; nan for fewer than two
    sizes), left. Each control explains what it does as well: ``left`` is the part of the zoom's slope that is more than
    either control's, 0 where one of them reaches it.
    """
    start = preference[(preference["look"] == "zoom") & (preference["size"] == 1)]
    table = pd.concat([preference, start.assign(look="elsewhere")])
    rows = []
    for (block, label, stage), unit in table[table["size"] >= 1].groupby(["block", "label", "stage"], sort=False):
        slopes = {}
        for look in ("zoom", "blur", "elsewhere"):
            part = unit[unit["look"] == look]
            enough = part["size"].nunique() > 1
            slopes[look] = float(np.polyfit(np.log2(part["size"]), part["difference"], 1)[0]) if enough else np.nan
        rows.append({"block": block, "label": label, "stage": stage, **slopes,
                     "left": beyond(slopes["zoom"], slopes["blur"], slopes["elsewhere"])})
    return pd.DataFrame(rows, columns=["block", "label", "stage", "zoom", "blur", "elsewhere", "left"])
