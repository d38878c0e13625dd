"""Which picture of a batch gets whose gates."""
from collections.abc import Sequence

import numpy as np
import torch

WORDS = ("images", "class", "classes")  # any other picture, another of its class, one of another class


def others(count: int, seed: int) -> torch.Tensor:
    """A random order in which none is in its own place (but a single one)."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    if (order == torch.arange(count)).any():  # then one cycle through all
        order = torch.empty_like(order).index_copy_(0, order, order.roll(1))
    return order


def donors(word: str, labels: Sequence[int] | np.ndarray, seed: int) -> torch.Tensor:
    """Whose gates each picture of a batch gets (N,), int64; its own where the batch holds no other that may give them.

    Everybody's gates go to one picture, but for "classes" where one class has more than half of the batch: then those
    of the others are given more than once.

    Args:
        word: "class" (of another picture of the same class) or "classes" (of one of another class).
        labels: (N,), the class of each picture.
        seed: of the draw.
    """
    known = np.asarray(labels)
    given = np.arange(len(known))
    if word == "class":
        for label in np.unique(known):
            members = np.flatnonzero(known == label)
            given[members] = members[others(len(members), seed).numpy()]
        return torch.from_numpy(given)
    # class by class, each picture gets the gates of that which comes behind it by as many as the largest class has
    rng = np.random.default_rng(seed)
    _, classes, sizes = np.unique(known, return_inverse=True, return_counts=True)
    rank = rng.permutation(len(sizes))[classes]
    order = np.lexsort((rng.permutation(len(known)), rank))
    given[order] = np.roll(order, -sizes.max())
    for i, place in enumerate(np.flatnonzero(known[given] == known)):  # one class has more than half
        foreign = order[known[order] != known[place]]
        given[place] = foreign[i % len(foreign)] if len(foreign) else place
    return torch.from_numpy(given)
