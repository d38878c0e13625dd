"""The slim network with a gate of any kind, at any place, in some of its stages, as ablations train it."""
from collections.abc import Sequence
from typing import Any

from torch import nn

from .insert import with_attention
from .resnet import slim_resnet50

MOST_BRANCHES = 32  # each is a module of its own, and a file's description may ask for any number


def slim_resnet50_variant(
        attention: str = "se",
        place: str = "standard",
        stages: Sequence[int] = (2, 3, 4, 5),
        options: dict[str, Any] | None = None,
        *,
        num_classes: int = 1000,
        widths: Sequence[int] = (16, 32, 64, 128),
        strides: Sequence[int] = (1, 2, 2, 2),
) -> nn.Module:
    """``slim_resnet50`` without attention, and ``with_attention`` in each of the stages.

    What lies outside of attention is drawn first: one seed gives it the same weights in all variants.

    Args:
        attention: a kind of ``with_attention``, or "none".
        place: of the gate in the unit.
        stages: those that get it, 2 to 5.
        options: of the layer.
        num_classes, widths, strides: as of ``slim_resnet50``.

    Raises:
        ValueError: for options or a place that make no sense.
    """
    options = options or {}
    if options.get("branches", 2) > MOST_BRANCHES:
        raise ValueError(f"branches cannot be more than {MOST_BRANCHES}")
    module = slim_resnet50("none", num_classes=num_classes, widths=widths, strides=strides)
    if attention != "none":
        for stage in stages:
            with_attention(module.get_submodule(f"layer{stage - 1}"), attention, place, **options)
    return module
