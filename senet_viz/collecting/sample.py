"""A sample of the pictures, whose gates are kept whole, and what is measured from them when shards are merged.

Means and variances by channel can be added up picture by picture; how channels move together, and what moves them, is
told from whole vectors. So many pictures, evenly spread over the data, are enough for that, and bounded however large
the data are.
"""
import math

import numpy as np
import torch
from scipy.stats import rankdata
from torch import nn

from ..gates.hidden import RARE, outgoing
from ..statistics.archive import COMPONENTS, FARTHEST, MEASURES
from ..statistics.decoding import asked, decoded
from ..statistics.dimension import NAN, TAIL, Halves, distances, effective, principal, tail
from ..statistics.summaries import SCALE, omega_squared
from .moments import Moments


def evenly(count: int, wanted: int) -> np.ndarray:
    """Which of ``count`` pictures are in a sample of ``wanted``: positions, int64."""
    size = min(count, wanted)
    return np.arange(size) * count // max(size, 1)


def measures(values: torch.Tensor, labels: torch.Tensor, moments: Moments) -> torch.Tensor:
    """What is told of one gate, in the order of ``MEASURES``, float32; nan where it cannot be told.

    Args:
        values: (n, C), of the sampled pictures in the order of the data.
        labels: (n,) int64, under 0 for none.
        moments: of all pictures by class, (K, C).
    """
    between = (moments.count[:, None] * (moments.mean - moments.total().mean).square()).sum(1)
    finite = values.isfinite().all(1)
    values, labels = values[finite], labels[finite]
    halves = Halves(values)
    found = halves.measure()
    without = NAN
    if len(values) * TAIL >= 1:
        near = distances(values).argsort(stable=True)[:len(values) - round(len(values) * TAIL)]
        without = Halves(values[near.sort().values]).measure().dimension
    pictures, classes = asked(labels)
    numbers = {"dimension": found.dimension, "error": NAN if math.isnan(found.dimension) else halves.error(),
               "first": found.first, "redundancy": halves.redundancy(), "tail": tail(values),
               "classes": effective(between), "trimmed": without, "decoded": decoded(values, labels),
               "nearest": own_class_nearest(values, labels, moments), "asked": pictures, "among": classes}
    return torch.tensor([numbers[name] for name in MEASURES], dtype=torch.float32)


def own_class_nearest(values: torch.Tensor, labels: torch.Tensor, moments: Moments) -> float:
    """The share of pictures to which their own class's mean is nearer than any other's, 0..1.

    By the distance of ``summaries.nearest_classes``; a picture does not count to the mean of its own class. nan where
    there is no other picture of the class, or nothing to scale by.
    """
    images, classes = int(moments.count.sum()), int((moments.count > 0).sum())
    if images <= classes or classes < 2:
        return NAN
    kept = (labels >= 0) & (moments.count[labels] > 1)
    std = (moments.M2.sum(0) / (images - classes)).sqrt()
    moving = std >= SCALE
    if not moving.any() or not kept.any():
        return NAN
    values, labels, std = values[kept].double()[:, moving] / std[moving], labels[kept], std[moving]
    means, there = moments.mean[:, moving] / std, moments.count > 0
    distance = torch.cdist(values, means)
    distance[:, ~there] = torch.inf
    count = moments.count[labels][:, None]
    own = (means[labels] * count - values) / (count - 1)
    distance[torch.arange(len(labels)), labels] = (values - own).norm(dim=1)
    return float((distance.argmin(1) == labels).double().mean())


def rank_specificity(values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """ω² of each channel's ranks over the labelled pictures, (n, C) → (C,) float32, nan where it cannot be told.

    Ranks (of equals the mean) leave a few outliers no more weight than any other picture.
    """
    kept = (labels >= 0) & values.isfinite().all(1)
    labels = labels[kept].unique(return_inverse=True)[1]
    classes = int(labels.max()) + 1 if len(labels) else 0
    if classes < 2:
        return torch.full((values.shape[1],), NAN)
    ranks = torch.from_numpy(rankdata(values[kept].numpy(), axis=0))
    ranks -= ranks.mean(0)
    member = torch.nn.functional.one_hot(labels, classes).to(ranks)
    between = ((member.T @ ranks).square() / member.sum(0)[:, None]).sum(0)
    within = ranks.square().sum(0) - between
    return torch.from_numpy(omega_squared(between.numpy(), within.numpy(), len(labels), classes)).float()


def farthest(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """The pictures farthest from the mean of (n, C), the farthest first: (``FARTHEST``,) int64, −1 for no more.

    Args:
        values: of the sampled pictures.
        index: (n,) int64, their numbers.
    """
    finite = values.isfinite().all(1)
    order = distances(values[finite]).argsort(descending=True, stable=True)[:FARTHEST]
    found = torch.full((FARTHEST,), -1)
    found[:len(order)] = index[finite][order]
    return found


def components(values: torch.Tensor) -> torch.Tensor:
    """The first principal directions of a gate (n, C): (``COMPONENTS``, C) float32, zero where there are no more."""
    found = torch.zeros(COMPONENTS, values.shape[1])
    directions = principal(values, COMPONENTS)
    found[:len(directions)] = directions.float()
    return found


def hidden_measures(units: torch.Tensor, module: nn.Module, layer: str) -> torch.Tensor:
    """Of hidden units (n, H): H, how many live, and their effective number by what they add to the gate's input.

    A unit lives if it is above zero in 1 to 99 % of the pictures: of the others one is silent, and one a linear
    function of the squeezed input. What unit j adds is ‖W₂,ⱼ‖² · var hⱼ, with W₂ the layer that takes the units.
    """
    share = (units > 0).double().mean(0)
    alive = ((share >= RARE) & (share <= 1 - RARE)).sum()
    weights = outgoing(module.get_submodule(layer))
    added = NAN if weights is None else effective(weights.cpu() * units.double().var(0, correction=0))
    return torch.tensor([units.shape[1], float(alive), added], dtype=torch.float32)


def width(module: nn.Module, layer: str) -> int:
    """How many units a layer is given."""
    part = module.get_submodule(layer)
    return int(part.in_features if isinstance(part, nn.Linear) else part.in_channels)  # type: ignore[arg-type]
