"""Maps over the photos as they were taken, at their full size, with the part that the network saw framed."""
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from .. import figures
from ..data.windows import Window
from ..figures.overlay import DIM
from ..gates import View
from ..gates.inspection import Point
from ..models import Model
from ..reports.text import listed, plain

NAMED = 4  # photos of which each one's share is said


@dataclass
class Photo:
    """A photo, reduced to be shown, and the part of it that a network saw.

    Attributes:
        image: RGB.
        box: left, top, right and bottom edge of the part in its pixels; beyond it where the transform pads.
    """

    image: Image.Image
    box: Window

    @classmethod
    def of(cls, model: Model, image: Image.Image, side: int) -> "Photo":
        """A photo as ``sv.open_image`` gives it, with at most ``side`` pixels; raises as ``Model.window``."""
        box = model.window(image.size)
        return cls(image, box).reduced(side)

    def reduced(self, side: int) -> "Photo":
        """The same with at most ``side`` pixels on its longer side."""
        small = self.image.copy()
        small.thumbnail((side, side))
        across, down = (new / old for new, old in zip(small.size, self.image.size))
        left, top, right, bottom = self.box
        return Photo(small, (left * across, top * down, right * across, bottom * down))

    @property
    def seen(self) -> float:
        """The share of the photo that the part has, 0..1."""
        left, top, right, bottom = self.box
        width, height = self.image.size
        return (min(right, width) - max(left, 0)) * (min(bottom, height) - max(top, 0)) / (width * height)

    @property
    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8, pale beside the part."""
        return np.asarray(figures.set_off(self.image, self.box, frame=False))


def describe_photos(photos: Mapping[str, Photo]) -> str:
    """How much of photos a network saw, in a sentence of Markdown."""
    shares = {name: photo.seen for name, photo in photos.items()}
    if len(shares) <= NAMED:
        parts = [f"{share:.0%} of {plain(name)}" for name, share in shares.items()]
        said = listed(parts)
    else:
        said = f"{min(shares.values()):.0%} to {max(shares.values()):.0%} of each photo"
    return f"Framed is what the network saw: {said}."


def on_photo(
        view: View,
        image: Image.Image,
        point: Point | Any,
        *,
        target: int | None = None,
        picture: int | None = None,
        box: Window | None = None,
        opacity: float = 0.5,
        smooth: bool = True,
        colormap: str | list[str] | None = None,
        top: float | None = None,
        dim: float = DIM,
) -> Image.Image:
    """A map over the whole photo that it is of: Grad-CAM, or any map of the network's input.

    A transform crops and resizes, so that a map drawn over all of a photo would lie beside what it is of. Here it
    covers the part that the network saw, which is framed; the rest is pale.

    Args:
        view: of ``sv.inspect(model, batch, …)`` with an ``sv.Model``, whose batch has this photo, transformed.
        image: the photo, as ``sv.open_image`` gives it (upright).
        point: a layer of ``view.cams``: a module path, or a pair of a block, by name or label, and a point; or a map of
            your own, (h, w), such as ``view.features["SE_3_4", "input"][0, 7]``, or what ``tables.gate_change`` gives.
            Negative values are drawn on a scale around 0.
        target: the place among the targets that the view explains, from 0; needed where there are several.
        picture: the place in the batch, from 0; found by the photo itself when None.
        box: left, top, right and bottom edge of the part that the network saw, in pixels of the photo; found by
            ``model.window`` when None. Needed where the transform cannot be followed, and for an ``nn.Module``.
        opacity: of the map, 0..1.
        smooth: interpolate between the map's cells, or show them as they are.
        colormap: one of Plotly's scales, by name or as a list of colours; Inferno, or red and blue, when None.
        top: the value of the scale's end, the map's own largest when None: give one to compare several.
        dim: how much paler the rest of the photo is made, 0..1.

    Returns:
        RGB, of the photo's size.

    Raises:
        ValueError: one sentence: for a point without Grad-CAM, several targets and none chosen, a photo that is not in
            the batch, a transform that cannot be followed.

    >>> view = sv.inspect(model, model.batch([photo]), layers=["layer4"])
    >>> sv.on_photo(view, photo, "layer4").save("teapot.png")
    """
    model = view._model
    if picture is None:
        picture = _place(view, model, image, looked_for=box is None)
    if not 0 <= picture < len(view.logits):
        raise ValueError(f"The view has pictures 0 … {len(view.logits) - 1}, and none at {picture}.")
    values = _map(view, point, picture, target)
    if box is None:
        if model is None:
            raise ValueError("This view is of an nn.Module, whose transform is not known: give the part of the photo "
                             "that it saw as box=(left, top, right, bottom), or inspect an sv.Model.")
        try:
            box = model.window(image.size)  # type: ignore[attr-defined]
        except ValueError as error:
            raise ValueError(f"{error}: give the part as box=(left, top, right, bottom).") from error
    return figures.overlay(image, values, box, opacity=opacity, smooth=smooth, colormap=colormap, top=top, dim=dim)


def _place(view: View, model: Any, image: Image.Image, *, looked_for: bool) -> int:
    """Which picture of the batch a photo is; without the transform only where there is one."""
    count = len(view.logits)
    if model is None or not looked_for:
        if count > 1:
            raise ValueError(f"The view has {count} pictures: say with picture=0 … {count - 1} which one this is.")
        return 0
    found = view.index_of(model.transform(image))
    if found is None:
        raise ValueError(f"This photo of {image.width}×{image.height} pixels is not the one that the view is of"
                         f"{'' if count == 1 else f', nor any other of its {count}'}: if what went in was a part of "
                         f"it, give the part as box=(left, top, right, bottom).")
    return found


def _map(view: View, point: Any, picture: int, target: int | None) -> np.ndarray:
    if isinstance(point, torch.Tensor | np.ndarray | list):
        return np.asarray(point.detach().cpu().float() if isinstance(point, torch.Tensor) else point, dtype=float)
    key = _key(view, point)
    if key not in view.cams:
        known = ", ".join(map(_written, view.cams)) or "none"
        hint = (f"view.features[{key!r}][{picture}, channel] is a map that can be given instead" if key in view.features
                else f"ask for it with sv.inspect(…, layers=[{key!r}])")
        raise ValueError(f"The view has no Grad-CAM at {_written(key)} (it has: {known}); {hint}.")
    cams = view.cams[key][picture]
    if target is None and len(cams) > 1:
        raise ValueError(f"The view explains {len(cams)} targets: say with target=0 … {len(cams) - 1} which one.")
    if not 0 <= (target or 0) < len(cams):
        raise ValueError(f"The view explains {len(cams)} target{'s' * (len(cams) != 1)}, and none is at {target}.")
    found = cams[target or 0].cpu().float().numpy()
    if found.ndim != 2:
        raise ValueError(f"Grad-CAM at {_written(key)} has {found.ndim} dimensions of space; a photo has two.")
    return found


def _key(view: View, point: Any) -> Point:
    if isinstance(point, tuple) and len(point) == 2:
        name = getattr(point[0], "name", point[0])
        return next((block.name for block in view.blocks if name in (block.name, block.label)), str(name)), point[1]
    if not isinstance(point, str):
        raise ValueError(f"What to draw is a module path, a pair of a block and a point, or a map (h, w), not "
                         f"{type(point).__name__}.")
    return point


def _written(point: Point) -> str:
    return " ".join(map(str, point)) if isinstance(point, tuple) else str(point)
