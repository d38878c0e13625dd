"""Networks in which attention blocks gave way to something smaller, and how a checkpoint says so."""
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

MOST = 2**31  # channels, of any map


class Scale(nn.Module):
    """A gate that is the same for every picture: each of C channels times its own number, (N, C, *space) → the same."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight.view(-1, *[1] * (x.dim() - 2))


def without(module: nn.Module, removed: Iterable[Any]) -> nn.Module:
    """The same network, changed in place: each named part is replaced.

    Args:
        module: as it was built, with all its blocks.
        removed: as a file has it, for each the part's path ("name") and what stands there instead ("by"): "identity"
            (its gate may have gone "into" the weights of a layer beside it, which changes nothing here); "scale", a
            number for each of "channels"; "part", that of its own parts that is at "path".

    Raises:
        ValueError: for a part that is not there, or another replacement.
    """
    for change in removed:
        if not isinstance(change, Mapping) or not isinstance(change.get("name"), str):
            raise ValueError(f"{change!r} does not name a part that is replaced")
        path, _, leaf = change["name"].rpartition(".")
        try:
            parent = module.get_submodule(path)
            part = parent.get_submodule(leaf) if leaf else None
            if part is None:
                raise AttributeError("no name")
            if change["by"] == "scale" and not (type(change["channels"]) is int and 0 < change["channels"] < MOST):
                raise AttributeError(f"by a scale of {change['channels']!r} channels")
            if change["by"] == "part" and not str(change["path"]).startswith(f"{change['name']}."):
                raise AttributeError(f"{change['path']!r} is none of its parts")
            new = {"identity": lambda _: nn.Identity(), "scale": lambda change: Scale(change["channels"]),
                   "part": lambda change: module.get_submodule(change["path"])}[change["by"]](change)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"{change['name']} cannot be replaced in a {type(module).__name__} ({error})") from error
        setattr(parent, leaf, new)
    return module
