"""What takes a block's say away: the values of an edit that leave its map as it is, or its branches unweighed.

A gate of 1 leaves a map as it is (½ where a factor of 2 follows, as in NFNets). In a unit that weighs branches a 1 for
each would add them up, M times their mean: it is forced to each branch instead, or to all alike.
"""
from collections.abc import Sequence

from .blocks import AttentionBlock


def no_attention(blocks: Sequence[AttentionBlock]) -> str:
    """The value of gates that leaves the map as it is: 1, and ½ where NFNets' factor of 2 follows.

    Raises:
        ValueError: where blocks are followed by different factors.
    """
    gains = {block.gain for block in blocks} or {1.0}
    if len(gains) > 1:
        factors = ", ".join(f"{gain:g}" for gain in sorted(gains))
        raise ValueError(f"the blocks are followed by different factors ({factors}), so no value alone "
                         f"leaves their maps as they are")
    return f"{1 / gains.pop():g}"


def branch_values(block: AttentionBlock) -> list[str]:
    """Values of an edit that force each branch: "3x3" where its kernel tells it, "branch 0" where not."""
    kernels = block.kernels or ()
    if len(set(kernels)) < block.branches:
        return [f"branch {m}" for m in range(block.branches)]
    return [f"{kernel}x{kernel}" for kernel in kernels]


def removals(block: AttentionBlock) -> list[str]:
    """Values of an edit that take a block's say away: a gate that leaves the map as it is; each branch, and all alike.

    >>> removals(se), removals(sk)
    (["1"], ["3x3", "5x5", "uniform"])
    """
    return [no_attention([block])] if block.branches == 1 else [*branch_values(block), "uniform"]
