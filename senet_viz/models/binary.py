"""A network of one logit as one of two classes, so that all that is told of classes can be told of it."""
import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..gates.answers import two_sides
from ..gates.targets import BinaryClassifierOutputTarget
from .model import Model

FOR, AGAINST = BinaryClassifierOutputTarget(1), BinaryClassifierOutputTarget(0)


def for_and_against(model: Model) -> Model:
    """The same network with two logits, −z/2 against and z/2 for, in the place of its one logit z.

    The softmax of the two is the sigmoid of z, so that probabilities are the network's own, and the gradients, as of
    ``BinaryClassifierOutputTarget``, are opposite: half those of z.

    Args:
        model: of one logit, with two class names, that of the logit second; one, or none.

    >>> for_and_against(Model(net, transform, ["smiling"])).classes
    ['against smiling', 'for smiling']
    """
    both = copy.copy(model)
    both.output, both.classes = TwoSided(model.output), two_sides(model.classes)
    for found in ("answer", "class_labels"):  # of the one logit
        both.__dict__.pop(found, None)
    return both


@dataclass(frozen=True)
class TwoSided:
    """What a network of one logit z returns → (N, 2), −z/2 and z/2.

    Args:
        output: what it returns → z, (N, 1) or squeezed; None where that is all, or the first such tensor of several.
    """

    output: Callable[[object], torch.Tensor] | None = None

    def __call__(self, returned) -> torch.Tensor:
        found = returned if self.output is None else self.output(returned)
        if isinstance(found, list | tuple):
            found = next((each for each in found if isinstance(each, torch.Tensor) and each.shape[1:] == (1,)), found)
        return torch.stack([AGAINST(found), FOR(found)], 1) / 2
