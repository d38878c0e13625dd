"""Which of a checkpoint's tensors are a network's: told by their names, whatever stands before these."""
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .checkpoints import Checkpoint, CheckpointError

AVERAGED = {"ema", "swa"}  # parts of names
USUAL = ["", "state_dict", "model_state_dict", "model", "net"]  # where training scripts keep the weights
COUNTERS = ("num_batches_tracked",  # of batch normalisation, not part of what it computes; some exporters drop it
            "n_averaged")  # of torch.optim.swa_utils.AveragedModel


@dataclass(frozen=True)
class Place:
    """Where a network's weights are in a checkpoint.

    Attributes:
        entry: one of ``Checkpoint.states``.
        prefix: what stands there before each of the network's own names, "module.backbone." or "net_" for one, or "".
    """

    entry: str
    prefix: str

    def __str__(self) -> str:
        return _shown(f"{self.entry}.{self.prefix}".strip("."))

    @property
    def rank(self) -> tuple:
        """Of places that fit alike the lowest is taken: averaged weights, then usual names, then no prefix."""
        averaged = AVERAGED & set(re.split(r"[._]", f"{self.entry}.{self.prefix}".lower()))
        first = self.entry.partition(".")[0]
        return not averaged, USUAL.index(first) if first in USUAL else len(USUAL), self.prefix != ""

    def tensors(self, checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
        """What lies there, by the names behind the prefix."""
        return {key.removeprefix(self.prefix): value for key, value in checkpoint.states[self.entry].items()
                if key.startswith(self.prefix)}


def find(checkpoint: Checkpoint, module: nn.Module, name: str = "The checkpoint") -> Place:
    """Where a checkpoint has most of a network's tensors, by name and shape.

    What wrappers and larger networks put before all names ("module.", "model.", "backbone.", …) is a prefix. Where
    averaged weights (EMA, SWA) fit as well as others they are taken, as timm does.

    Raises:
        CheckpointError: where the whole network is there twice, and no name says which one is meant.
    """
    own = {key: value.shape for key, value in module.state_dict().items() if not key.endswith(COUNTERS)}
    lengths, longest = {key.count(".") + 1 for key in own}, max(own, key=len, default="")
    fitting = Counter({Place(entry, ""): 0 for entry in checkpoint.states})
    for entry, state in checkpoint.states.items():
        for key, value in state.items():
            parts = key.split(".")
            for ending in {".".join(parts[-length:]) for length in lengths} & own.keys():
                fitting[Place(entry, key.removesuffix(ending))] += 1 + (value.shape == own[ending])
        # one name is enough to tell a prefix that ends in no dot
        for prefix in {key.removesuffix(longest) for key in state if longest and key.endswith(longest)}:
            fitting[Place(entry, prefix)] = sum(1 + (state[prefix + key].shape == shape) for key, shape in own.items()
                                                if prefix + key in state)
    most = max(fitting.values())
    best, *others = sorted((place for place, count in fitting.items() if count == most), key=lambda place: place.rank)
    if others and others[0].rank == best.rank and most == 2 * len(own):
        raise CheckpointError(f"{name} holds weights of {type(module).__name__} under {best} and under {others[0]}, "
                              f"and nothing says which are meant: save those alone.")
    return best


def load_state(module: nn.Module, state: dict[str, torch.Tensor], name: str = "The checkpoint", prefix: str = "",
               ignore_unexpected: bool = False) -> list[str]:
    """Copy tensors into a network, all that it has or none; arguments, result and errors as of ``check_state``."""
    left_out = check_state(module, state, name, prefix, ignore_unexpected)
    new: Any = module.state_dict()  # with its parts' versions, which a file may lack and torchvision's MNASNet asks for
    new |= {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    module.load_state_dict(new, strict=False)
    return left_out


def check_state(module: nn.Module, state: dict[str, torch.Tensor], name: str = "The checkpoint", prefix: str = "",
                ignore_unexpected: bool = False) -> list[str]:
    """Compare a checkpoint's names, shapes and types with a network's, which may be on the meta device.

    Args:
        module: the network.
        state: tensors by name.
        name: of the file, for errors.
        prefix: what stands before the network's own names.
        ignore_unexpected: leave out tensors that the network has no place for.

    Returns:
        The names of those that are left out.

    Raises:
        CheckpointError: naming missing and unexpected keys, or the first tensor of another shape or kind of numbers.
    """
    misfit = f"{name} does not fit {type(module).__name__}"
    own = {prefix + key: value for key, value in module.state_dict().items()}
    missing = sorted(key for key in own.keys() - state.keys() if not key.endswith(COUNTERS))
    unexpected = sorted(key for key in state.keys() - own.keys() if key not in COUNTERS)
    if missing or (unexpected and not ignore_unexpected):
        both = " and ".join(listed(what, keys) for what, keys in (
            ("missing key", missing), ("unexpected key", unexpected)) if keys)
        hint = "" if missing else ", which ignore_unexpected=True (--ignore-unexpected) leaves out"
        raise CheckpointError(f"{misfit}: {both}{hint}.")
    for key in sorted(own.keys() & state.keys()):
        ours, theirs = own[key], state[key]
        if theirs.shape != ours.shape:
            raise CheckpointError(f"{misfit}: {_shown(key)} has shape {tuple(theirs.shape)}, the network's is "
                                  f"{tuple(ours.shape)}.")
        if (ours.is_floating_point() and not theirs.is_floating_point()) or (
                theirs.is_complex() and not ours.is_complex()):
            raise CheckpointError(f"{misfit}: {_shown(key)} is of type {theirs.dtype}, the network's is {ours.dtype}.")
    return unexpected


def not_finite(module: nn.Module) -> list[str]:
    """Names of the parameters and buffers in which a number is NaN or infinite."""
    return [key for key, value in module.state_dict().items()
            if value.is_floating_point() and not value.isfinite().all()]


def listed(what: str, keys: list[str]) -> str:
    """How many keys there are of what, and the first three: "2 tensors (a, b)"."""
    first = ", ".join(map(_shown, keys[:3]))
    return f"{len(keys)} {what}{'s' * (len(keys) > 1)} ({first}{', …' if len(keys) > 3 else ''})"


def _shown(text: str) -> str:
    """A name from a file on one line, and no longer than one."""
    return repr(text)[1:-1][:100]
