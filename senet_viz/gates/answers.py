"""What a network says of a picture, told from what it returned: classes' logits, a class for each pixel, or neither."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from .inspection import View
from .targets import Score, SemanticSegmentationTarget, first_tensor

CLASSIFICATION, SEGMENTATION, OTHER = "classification", "segmentation", "other"
NO_CLASS = -1  # in a class map: a pixel that is of no class


@dataclass(frozen=True)
class Answer:
    """What a network is for, as far as what it returns tells.

    Attributes:
        task: CLASSIFICATION, with a logit for each of the model's classes, or one logit for and against; SEGMENTATION,
            with a map of scores for each; or OTHER.
        without: what it gives instead of logits of classes, as the beginning of a sentence; "" of CLASSIFICATION.
        binary: of CLASSIFICATION, whether there is one logit.
    """

    task: str
    without: str = ""
    binary: bool = False

    def lacks(self, what: str) -> str:
        """A sentence: what the network gives, and therefore what there is not."""
        return f"{self.without}: {what}."


def answer_of(view: View, classes: Sequence[str]) -> Answer:
    """What a network says of a picture.

    Args:
        view: of any picture.
        classes: the names that the model has.
    """
    logits, names = view.logits.shape[1], len(classes)
    if (binary := is_binary(view, classes)) or (logits and logits == names):
        return Answer(CLASSIFICATION, binary=binary)
    if logits:
        given = (f"The network gives {logits} logits, but there are {names} class names" if names else
                 f"The network gives {logits} numbers for a picture, and the model names no classes")
    elif (maps := _maps(view)) is not None and maps.shape[1] == names:
        return Answer(SEGMENTATION, "The network gives scores for each pixel and no logits for a picture as a whole")
    else:
        given = f"The network gives no logits of classes but {_described(view.output)}"
        if maps is not None:
            given += f" (it would be a class map if the model had {maps.shape[1]} class names and not {names})"
    return Answer(OTHER, given)


def is_binary(view: View, classes: Sequence[str]) -> bool:
    """Whether a network has one logit, for and against: of one class, or of the second of two."""
    return view.logits.shape[1] == 1 and len(classes) <= 2


def two_sides(classes: Sequence[str]) -> list[str]:
    """What the two sides of one logit are called, the one against it first.

    Args:
        classes: two names, that of the logit second; one, the logit's; or none.
    """
    if len(classes) == 2:
        return list(classes)
    return [f"{side} {name}".strip() for name in [*classes, ""][:1] for side in ("against", "for")]


def by_class(logits: torch.Tensor, classes: Sequence[str]) -> tuple[torch.Tensor, list[str]]:
    """Logits (…, K) and the names of K classes: of one logit z −z/2 and z/2, and what its two sides are called.

    Their softmax is the sigmoid of z; that of z alone is 1, whatever it is. All other logits and names are as they are.
    """
    if logits.shape[-1] == 1 and len(classes) <= 2:
        return torch.cat([-logits, logits], -1) / 2, two_sides(classes)
    return logits, list(classes)


def class_map(view: View) -> torch.Tensor:
    """The class with the highest score at each pixel of a segmentation, (N, h, w).

    Of a network with one map a pixel is of class 0 where its logit is above 0, and elsewhere ``NO_CLASS``.

    Raises:
        ValueError: where the network returned no maps.
    """
    maps = first_tensor(view.output, dims=4)
    if maps.shape[1] == 1:
        return torch.where(maps[:, 0] > 0, 0, NO_CLASS)
    return maps.argmax(1)


def target_of(view: View, index: int) -> int | Score:
    """A class as ``inspect`` takes it as a target: its index, or of a segmentation its score over its own pixels.

    Args:
        view: of the pictures, from which the pixels are taken: they stay the same where others are looked at.
        index: of the class.
    """
    if view.logits.shape[1]:
        return index
    return SemanticSegmentationTarget(index, class_map(view) == index)


def is_finite(view: View) -> bool:
    """Whether logits, gates and a segmentation's maps are numbers throughout."""
    found = [view.logits, *view.gates.values()] + ([maps] if (maps := _maps(view)) is not None else [])
    return all(bool(values.isfinite().all()) for values in found)


def _maps(view: View) -> torch.Tensor | None:
    try:
        return first_tensor(view.output, dims=4)
    except ValueError:
        return None


def _described(output) -> str:
    if isinstance(output, torch.Tensor):
        return f"a tensor {tuple(output.shape)}"
    if isinstance(output, Mapping):
        return f"a dictionary with {', '.join(map(str, output)) or 'nothing in it'}"
    if isinstance(output, list | tuple) and output:
        return f"a list of {len(output)} with {_described(output[0])}"
    return f"an object of type {type(output).__name__}"
