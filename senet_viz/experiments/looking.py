"""One picture in one network, looked at for all that is shown of it: one forward, and Grad-CAM of any class from it."""
from dataclasses import dataclass

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


def explain(view: View, target: int) -> tuple[dict, dict]:
    """Grad-CAM and channel weights for one class, from the graph that the view of a ``Look`` kept: no forward.

    Args:
        view: of one picture.
        target: the class, in a segmentation over its own pixels.

    Returns:
        Point → (h, w) float32, and point → (1, 1, C). A network without classes has none.
    """
    cams, weights = view.grad_cam([target_of(view, target)]) if view.cams else ({}, {})
    return ({point: cam[0, 0].cpu().numpy() for point, cam in cams.items()},
            {point: weight.cpu() for point, weight in weights.items()})
