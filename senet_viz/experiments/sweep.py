"""One picture with its object at many sizes, beside controls: which kernel does the network choose as it grows?"""
import copy
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from PIL import Image

from ..data.images import blur, elsewhere, zoom
from ..gates import AttentionBlock, View, contribution_points, inspect, record
from ..gates.inspection import Point
from ..models import Model, for_and_against
from ..models.copies import random_weights
from ..reports.text import plain
from ..statistics.kernels import NEGLIGIBLE
from ..tables import beyond, channel_maps, kernel_name

SIZES = tuple(0.5 + step / 8 for step in range(21))  # to 3
PAPER = (1.0, 1.5, 2.0)  # the sizes of the SK paper's Fig. 3
DRAWS = 3  # of random weights, where they are a control
CROPS = 64  # of the picture, that their batch normalisation is set with
Box = tuple[float, float, float, float]  # left, top, right, bottom edge in pixels


@dataclass
class Sweep:
    """What a network saw at each size. The rows of a look's view are those of its sizes.

    Attributes:
        model: the network.
        sizes: look → factors. "zoom": the object enlarged or shrunk (``senet_viz.data.images.zoom``). "blur": the same
            loss of detail without the zoom. "elsewhere": as large a crop away from the object, for factors above 1.
            "random 0" and so on: the zooms in networks like this one with random weights, where they were drawn.
        pictures: look → the pictures, RGB.
        views: look → logits and gates; that of "zoom" has Grad-CAM and features where asked for.
    """

    model: Model
    sizes: dict[str, tuple[float, ...]]
    pictures: dict[str, list[Image.Image]]
    views: dict[str, View]

    def at(self, size: float, look: str = "zoom") -> View:
        """Logits, gates and Grad-CAM of one size: a view of one picture.

        Raises:
            ValueError: for a size that was not looked at.
        """
        return _rows(self.views[look], torch.tensor([self._row(size, look)]))

    def named(self, sizes: Sequence[float] = PAPER) -> dict[str, View]:
        """Zooms as ``senet_viz.tables`` takes them: name of the size → view of one picture."""
        return {name_of(size): self.at(size) for size in sizes}

    def picture(self, size: float) -> Image.Image:
        """The zoom of a size, RGB."""
        return self.pictures["zoom"][self._row(size, "zoom")]

    def cams(self, size: float) -> dict[str, dict[str, np.ndarray]]:
        """Grad-CAM of the first target at one size, as ``senet_viz.tables.cells`` takes it: size → layer → (h, w)."""
        names: dict[Point, str] = {layer: stage for stage, layer in self.model.stages.items()}
        return {name_of(size): {str(names.get(layer, layer)): cam[0, 0].cpu().numpy()
                                for layer, cam in self.at(size).cams.items()}}

    def beside(self, drawn: Sequence[View]) -> "Sweep":
        """This sweep beside what its zooms do in other networks, as ``untrained`` gives it."""
        names = [f"random {draw}" for draw in range(len(drawn))]
        return replace(self, sizes=self.sizes | dict.fromkeys(names, self.sizes["zoom"]),
                       pictures=self.pictures | dict.fromkeys(names, self.pictures["zoom"]),
                       views=self.views | dict(zip(names, drawn)))

    def inspect(self, size: float) -> View:
        """Look at one size again, in a forward, for the feature maps of its branches and what follows them."""
        return inspect(self.model, self.model.batch([self.picture(size)]),
                       features=contribution_points(self.model.blocks))

    def _row(self, size: float, look: str) -> int:
        if size not in self.sizes[look]:
            raise ValueError(f"this sweep did not look at size {size:g}: its sizes are "
                             f"{', '.join(f'{each:g}' for each in self.sizes[look])}")
        return self.sizes[look].index(size)


def sweep(
        model: Model,
        image: Image.Image,
        sizes: Sequence[float] = SIZES,
        box: Box | None = None,
        targets: Sequence[int] | None = None,
        layers: Sequence[Point] = (),
        draws: int = 0,
) -> Sweep:
    """Look at a picture with its object at many sizes: one batch for the zooms, one for the controls.

    Pictures are zoomed before the network's own resize, so that a large photo keeps its detail. What the network could
    not see even so is dropped early: the photo is shrunk to the detail of the largest size, a zoom of it to twice the
    network's input.

    Args:
        model: with units that weigh branches; of one logit both sides are looked at (``models.for_and_against``).
        image: RGB.
        sizes: factors above 0; 1 is the picture as it is.
        box: around the object; the picture's centre is taken for the object's when None.
        targets: classes for Grad-CAM at ``layers``; those with the highest logits when None.
        layers: points for Grad-CAM.
        draws: look at the zooms also in so many networks like this one with random weights, as ``untrained`` does.

    Raises:
        ValueError: for a model without such units, no sizes, a size that is none, or a box that is not inside the
            picture.
    """
    if not any(block.branches > 1 for block in model.blocks):
        raise ValueError(f"{model.name} has no units that choose between kernels: it takes a selective-kernel network, "
                         f"such as demo/sknet50_slim or timm/skresnext50_32x4d.ra_in1k.")
    if not sizes:
        raise ValueError("a sweep takes one size or more")
    model = for_and_against(model) if model.answer.binary else model
    centre = None if box is None else centre_of(box, image.size)
    photo = image
    image, scale, result = _reduced(model, photo, max(sizes))
    image.load()  # once, not in each thread
    centre = centre and (centre[0] * scale, centre[1] * scale)
    factors: dict[str, tuple[float, ...]] = {"zoom": tuple(sizes), "blur": tuple(size for size in sizes if size != 1),
               "elsewhere": tuple(size for size in sizes if size > 1)}
    looks = {"zoom": lambda size: zoom(image, size, centre, result), "blur": lambda size: blur(image, size, result),
             "elsewhere": lambda size: elsewhere(image, size, centre, result)}
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # Pillow resizes several at once
        resized = {look: pool.map(looks[look], factors[look]) for look in looks}
        pictures = {look: list(found) for look, found in resized.items()}
    views = {"zoom": inspect(model, _batch(model, pictures["zoom"]), targets, layers)}
    controls = pictures["blur"] + pictures["elsewhere"]
    if controls:
        seen = record(model, _batch(model, controls))
        parts = torch.arange(len(controls)).split([len(factors["blur"]), len(factors["elsewhere"])])
        views |= {look: _rows(seen, rows) for look, rows in zip(("blur", "elsewhere"), parts)}
    swept = Sweep(model, {look: factors[look] for look in views}, {look: pictures[look] for look in views}, views)
    return swept.beside(untrained(swept, photo, draws))


def untrained(swept: Sweep, image: Image.Image, draws: int = DRAWS) -> list[View]:
    """What the zooms of a sweep do in the same network with random weights, never trained: a view a draw.

    The sizes and pictures are the sweep's. Batch normalisation is set with ``CROPS`` crops of the picture, of many
    sizes and places, always the same. The sweep's model is copied and left as it is.

    Args:
        swept: the sweep.
        image: its picture, RGB.
        draws: how many networks; the first draws of more are the same.

    Raises:
        ValueError: for fewer than none.
    """
    if draws < 0:
        raise ValueError(f"random weights are drawn 0 times or more, not {draws}")
    if not draws:
        return []
    model, chance = swept.model, np.random.default_rng(0)
    image, _, result = _reduced(model, image, SIZES[-1])
    crops = [zoom(image, factor, (x * image.width, y * image.height), result)
             for factor, x, y in zip(chance.uniform(1, SIZES[-1], CROPS), chance.random(CROPS), chance.random(CROPS))]
    example, batch = model.batch(crops), _batch(model, swept.pictures["zoom"])
    views = []
    for seed in range(draws):
        drawn = copy.copy(model)  # with its blocks, which were found where gates do something
        drawn.module = random_weights(model.module, example, seed)
        views.append(record(drawn, batch))
    return views


def _reduced(model: Model, image: Image.Image, largest: float) -> tuple[Image.Image, float, tuple[int, int]]:
    """A picture without the detail that the network cannot see at the largest size, its scale, and that of a zoom."""
    scale = min(1.0, max(model.input_size) * max(1, largest) / min(image.size))
    if scale < 1:
        image = image.resize([round(side * scale) for side in image.size], Image.Resampling.BICUBIC)
    least = min(1, 2 * max(model.input_size) / min(image.size))
    return image, scale, (round(image.width * least), round(image.height * least))


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


def parse_box(text: str, size: tuple[int, int]) -> Box | None:
    """A box as it is typed, "left, top, right, bottom"; None for nothing.

    Args:
        text: four numbers between commas, semicolons or spaces.
        size: of the picture.

    Raises:
        ValueError: one sentence, for anything else and for a box that is not inside the picture.
    """
    if not text.strip():
        return None
    try:
        left, top, right, bottom = map(float, re.split(r"\s*[,;]\s*|\s+", text.strip()))
    except ValueError:
        raise ValueError("a box is four numbers: left, top, right, bottom") from None
    centre_of((left, top, right, bottom), size)
    return left, top, right, bottom


def drawn_box(x: Sequence[float], y: Sequence[float], size: tuple[int, int]) -> Box | None:
    """A box as the pointer drew it, cut to the picture and in whole pixels; None where nothing of it is left.

    Args:
        x, y: of two corners, in any order.
        size: of the picture.
    """
    (left, right), (top, bottom) = (
        np.clip(np.sort(ends), 0, side).round().tolist() for ends, side in zip((x, y), size))
    return (left, top, right, bottom) if left < right and top < bottom else None


def name_of(size: float) -> str:
    """What a size is called: "1.5×"."""
    return f"{size:g}×"


def _rows(view: View, rows: torch.Tensor) -> View:
    def of(values: dict) -> dict:
        return {key: value[rows] for key, value in values.items()}

    return View(view.logits[rows], of(view.gates), of(view.features), of(view.cams), of(view.weights), view.blocks)


def size_preference(sweep: Sweep) -> pd.DataFrame:
    """Which kernel each unit prefers as the object grows, and in the controls: a row a look, size and unit.

    Columns: look (of ``Sweep.sizes``), size, block, label, stage, smallest, largest (kernel names), difference (mean
    over channels of the largest kernel's weight minus the smallest's, in −1..1), side (mean over channels of Σ a_m·k_m,
    the expected side of the kernel in cells; nan where the kernels are not known). At size 1 the look "blur" is the
    picture as it is.
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
    sizes), draws (of random weights), random, random_low, random_high (mean, least and largest of their slopes; nan
    without any), left: the part of the zoom's slope that is more than any control's and any draw's, whichever way these
    go; 0 where one of them is as steep.
    """
    drawn = sorted({look for look in preference["look"] if look.startswith("random")})
    start = preference[(preference["look"] == "zoom") & (preference["size"] == 1)]
    table = pd.concat([preference, start.assign(look="elsewhere")])
    rows = []
    for (block, label, stage), unit in table[table["size"] >= 1].groupby(["block", "label", "stage"], sort=False):
        slopes = {}
        for look in ("zoom", "blur", "elsewhere", *drawn):
            part = unit[unit["look"] == look]
            enough = part["size"].nunique() > 1
            slopes[look] = float(np.polyfit(np.log2(part["size"]), part["difference"], 1)[0]) if enough else np.nan
        chance = np.array([slopes.pop(look) for look in drawn] or [np.nan])
        rows.append({"block": block, "label": label, "stage": stage, **slopes, "draws": len(drawn),
                     "random": chance.mean(), "random_low": chance.min(), "random_high": chance.max(),
                     "left": beyond(*slopes.values(), *chance)})
    return pd.DataFrame(rows, columns=["block", "label", "stage", "zoom", "blur", "elsewhere", "draws", "random",
                                       "random_low", "random_high", "left"])


def at_size(preference: pd.DataFrame, size: float) -> pd.DataFrame:
    """The rows of ``size_preference`` for one size of the object, without the controls."""
    return preference[(preference["look"] == "zoom") & (preference["size"] == size)]


def paper_bars(preference: pd.DataFrame, sizes: Sequence[float] = PAPER) -> pd.DataFrame:
    """What the SK paper's Fig. 3 shows on its right, for one picture: the last unit of each stage at some sizes.

    Args:
        preference: ``size_preference`` of a sweep.
        sizes: those to take.

    Returns:
        Columns label, zoom (the size), mean (over channels, the largest kernel's weight minus the smallest's).
    """
    last = preference.drop_duplicates("block").groupby("stage", sort=False)["block"].last()
    rows = preference[(preference["look"] == "zoom") & preference["size"].isin(sizes)
                      & preference["block"].isin(last)]
    return rows.rename(columns={"size": "zoom", "difference": "mean"})[["label", "zoom", "mean"]]


def branch_maps(view: View, block: AttentionBlock, channel: int) -> dict[str, np.ndarray]:
    """One channel in every branch of a unit, and their weighted sum: name → (h, w).

    Args:
        view: of one picture, with its branches' features, as ``Sweep.inspect`` gives it.
        block: one of the view's that weighs branches.
        channel: 0 … C − 1.
    """
    names = [f"{kernel_name(block, m)} branch" for m in range(block.branches)]
    return dict(zip([*names, "selected sum"], channel_maps(view, block, channel), strict=True))


def branch_weights(view: View, block: AttentionBlock, channel: int) -> str:
    """The weights of one channel's branches, in a line."""
    return ", ".join(f"{kernel_name(block, m)} {float(weight):.2f}"
                     for m, weight in enumerate(view.gates[block.name][0, :, channel]))


def describe_slopes(slopes: pd.DataFrame, largest: float = SIZES[-1],
                    branches: tuple[str, str] = ("larger kernel", "smaller kernel")) -> str:
    """Where weight moves beyond the controls as the object grows, in sentences (Markdown).

    Args:
        slopes: ``size_slopes`` of a sweep.
        largest: size that it went to.
        branches: what the last and the first one are called, as ``senet_viz.tables.last_and_first`` has it.
    """
    left = slopes.set_index("label")["left"].dropna()
    if left.empty:
        return "Whether weight moves as the object grows cannot be told: that takes two sizes or more from 1× up."
    up, down = (left > NEGLIGIBLE).sum(), (left < -NEGLIGIBLE).sum()
    draws = int(slopes["draws"].max())
    controls = "all controls" if draws else "both controls"
    last, first = branches
    text = (f"As what is in the box, or else the picture's centre, grows from 1× to {name_of(largest)}, beyond "
            f"{controls} in either direction, weight moves to the {last} in **{up}** and to the {first} in "
            f"**{down}** of {len(left)} unit{'s' * (len(left) > 1)}, by more than {NEGLIGIBLE:g} per doubling of its "
            "size")
    if up or down:
        most = str(left.abs().idxmax())
        text += f", most in **{most}** ({left[most]:+.3f})"
    return f"{text}. {_beside_random(slopes, draws)}One photo shows what happens to it, not what happens to objects."


def _beside_random(slopes: pd.DataFrame, draws: int) -> str:
    """What the trained units do that networks with random weights do not; "" where none were drawn."""
    rows = slopes.set_index("label").dropna(subset=["zoom", "random"])
    if rows.empty:
        return ""
    low, high = rows["random_low"], rows["random_high"]
    farther = pd.Series([beyond(*each) for each in zip(rows["zoom"], low, high)], rows.index)
    more = int((farther.abs() > NEGLIGIBLE).sum())
    networks = f"{draws} networks with random weights" if draws > 1 else "a network with random weights"
    text = (f"The same zooms move weight in {networks} too, by {low.min():+.3f} (**{low.idxmin()}**) to "
            f"{high.max():+.3f} (**{high.idxmax()}**) per doubling; the trained network goes farther "
            f"than {'any draw' if draws > 1 else 'it'} does, up or down, in **{more}** of "
            f"{len(rows)} unit{'s' * (len(rows) > 1)}")
    if more:
        most = str(farther.abs().idxmax())
        text += (f", most in **{most}** ({rows['zoom'][most]:+.3f} beside "
                 + (f"{low[most]:+.3f} to {high[most]:+.3f})" if draws > 1 else f"{low[most]:+.3f})"))
    return f"{text}. "


def describe_cam(sweep: Sweep, size: float, classes: Sequence[str], target: int | None = None) -> str:
    """Which class Grad-CAM explains at a size, and whether it is the most probable one there: a sentence (Markdown).

    Args:
        sweep: with Grad-CAM.
        size: one of its sizes.
        classes: names of the classes.
        target: the class that was asked for, None for the most probable one at each size.
    """
    probable = sweep.at(size).logits[0].softmax(0)
    top = int(probable.argmax())
    names = classes if len(classes) == len(probable) else sweep.model.class_labels  # of one logit: both sides

    def named(index: int) -> str:
        return f"**{plain(names[index])}**"

    def share(index: int) -> str:
        value = float(probable[index])
        return f"probability {'under 1%' if value < 0.01 else 'over 99%' if value > 0.99 else f'{value:.0%}'}"

    if target in (None, top):
        return f"Grad-CAM at {name_of(size)} of {named(top)}, the most probable class there ({share(top)})."
    return (f"Grad-CAM at {name_of(size)} of {named(target)} ({share(target)}), not of the most probable class there, "
            f"{named(top)} ({share(top)}).")
