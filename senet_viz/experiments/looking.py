"""One picture in one network, looked at for all that is shown of it: one forward, and Grad-CAM of any class from it."""
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..gates import SemanticSegmentationTarget, View, contribution_points, inspect
from ..gates.answers import OTHER, SEGMENTATION, is_finite, target_of
from ..gates.inspection import Point
from ..models import Model

LARGEST = 1024  # pixels of a side: of what a network saw that takes photos as large as they are


@dataclass
class Look:
    """One picture in one network.

    Attributes:
        view: one picture's, with the features of ``contribution_points`` and a graph for Grad-CAM of any class.
        tensor: (3, H, W), what went in.
        seen: (h, w, 3) uint8, the picture as the network saw it, its sides ``LARGEST`` at most.
    """

    view: View
    tensor: torch.Tensor
    seen: np.ndarray


def look(model: Model, image: Image.Image) -> Look:
    """Look at a picture in one forward.

    Raises:
        ValueError: one sentence, where what the network says is not finite.
    """
    tensor = model.transform(image)
    blocks, task = model.blocks, model.answer.task
    layers: list[Point] = []  # of a network without classes there is nothing to explain
    if task != OTHER:
        layers = [*model.stages.values(), *((block.name, "output") for block in blocks if block.has_output)]
    # a graph for any class
    view = inspect(model, tensor[None], [SemanticSegmentationTarget(0)] if task == SEGMENTATION else None,
                   layers, contribution_points(blocks), retain_graph=True)
    if not is_finite(view):
        raise ValueError("The network's output for this picture is not finite, so its gates say nothing.")
    seen = Image.fromarray(model.seen(tensor))
    seen.thumbnail((LARGEST, LARGEST))  # figures hold it many times
    return Look(view, tensor, np.asarray(seen))


def lighter(view: View) -> View:
    """The view without what is large, for whoever keeps many.

    Gates, logits and Grad-CAM are there; of the feature maps the points alone, and no graph, copy of the picture or
    network. ``with_maps`` gives maps and graph back.
    """
    points: dict[Point, Any] = dict.fromkeys(view.features)
    return replace(view, features=points, _graph=None, _batch=None, _model=None, _lock=Lock())


def with_maps(view: View, again: Callable[[], View], one: Callable[[Point], torch.Tensor] | None = None) -> View:
    """A lighter view that asks for what it lacks when it is needed, each time: it holds none of it.

    Args:
        view: of ``lighter``.
        again: gives the whole view, kept elsewhere or looked at anew.
        one: gives the feature map of one point; from the whole view when None.
    """
    large: Any = _Elsewhere(tuple(view.features), again, one or (lambda point: again().features[point]))
    return replace(view, features=large, _graph=large, _lock=Lock())  # it waits for that of the whole view


class _Elsewhere(Mapping[Point, torch.Tensor]):
    """The feature maps and the graph of a view that are kept elsewhere."""

    def __init__(self, points: tuple[Point, ...], again: Callable[[], View], one: Callable[[Point], torch.Tensor]):
        self.points, self.again, self.one = points, again, one

    def __contains__(self, point: object) -> bool:  # without asking for the map
        return point in self.points

    def __getitem__(self, point: Point) -> torch.Tensor:
        if point not in self.points:
            raise KeyError(point)
        return self.one(point)

    def __iter__(self) -> Iterator[Point]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)

    def grad_cam(self, targets, *, retain_graph: bool) -> tuple[dict, dict]:
        return self.again().grad_cam(targets)


def explain(view: View, target: int) -> tuple[dict, dict]:
    """Grad-CAM and channel weights for one class, from the graph that the view of a ``Look`` kept: no forward.

    Those of the most probable class are in the view already.

    Args:
        view: of one picture.
        target: the class, in a segmentation over its own pixels.

    Returns:
        Point → (h, w) float32, and point → (1, 1, C). A network without classes has none.
    """
    if view._targets is None and view.logits.shape[1] and target == int(view.logits[0].argmax()):
        cams, weights = view.cams, view.weights
    else:
        cams, weights = view.grad_cam([target_of(view, target)]) if view.cams else ({}, {})
    return ({point: cam[0, 0].cpu().numpy() for point, cam in cams.items()},
            {point: weight.cpu() for point, weight in weights.items()})
