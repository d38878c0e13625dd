"""Removing attention blocks for good: a smaller network that answers as the whole one does with its gates held."""
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..data.places import ASSETS
from ..gates import AttentionBlock, Edit, EditError, edited
from ..gates.edits import UnknownValue, Values
from ..gates.targets import numbers_of
from ..models import Model
from ..models.checkpoints import read_checkpoint, save_checkpoint
from ..models.copies import copied
from ..models.folding import fold
from ..models.matching import find
from ..models.pruned import without

SAME = 1e-4  # the most by which what is returned may differ, relative to the largest


def prune(model: Model, blocks: str, by: Values = 1.0) -> tuple[Model, list[dict]]:
    """A copy of a network without some of its attention blocks. Nothing is trained anew.

    Args:
        model: which is left as it is.
        blocks: which, as in ``Edit``: "SE_5_*", "stage 5".
        by: what their gates are held at, as in ``Edit``. 1: the block goes. Another number, or a mapping from block
            names to arrays, such as the gates' mean over a data set: the numbers go into the weights of the layer
            before or behind the block (``senet_viz.models.folding.fold``), and where neither can take them a number for
            each channel stays. For units that weigh branches "3x3" or "branch 0": that branch alone stays.

    Returns:
        The network, and the changes as ``senet_viz.models.pruned.without`` takes them; "into" names the layer that a
        gate was folded into.

    Raises:
        EditError: for a block that is not there, that cannot be removed, or for gates that would not be held; and where
            what the network returns of its example would not be what the edited network returns.
    """
    try:
        edit = Edit(blocks, by, text="mean" if not isinstance(by, (int, float, str)) else "")
    except UnknownValue as error:  # which names values that hold no gate as well
        raise EditError(f"{error.value!r} is no value that a gate is held at; there are a number, its mean over a data "
                        f"set, and for kernels 'branch 0' or '3x3'") from None
    chosen = [block for block in model.blocks if edit.matches(block)]
    if not chosen:
        raise EditError(f"{edit} matches no block; the network's are: "
                        f"{', '.join(block.label for block in model.blocks) or 'none'}")
    gates = {block.name: _held(edit, block) for block in chosen}
    removed = [_change(block, gates[block.name]) for block in chosen]
    module = without(copied(model.module), removed)
    for change in removed:
        if change["by"] == "scale":
            module.get_submodule(change["name"]).weight.data = gates[change["name"]][0].to(model.device)
    removed = _folded(module, removed, model)
    smaller = Model(module, model.transform, model.classes, name=model.name, info=model.info, output=model.output,
                    reader=model.reader, example=model.example)
    batch = model.example_batch
    with edited(model, [edit]) as whole, torch.no_grad():
        wanted = numbers_of(whole(batch), 1, model.output)
    with torch.no_grad():
        got = numbers_of(smaller.module(batch), 1, model.output)
    if not wanted:
        raise EditError(f"{edit}: {model.name} returns no numbers by which it could be compared with a network without "
                        f"these blocks, so they are not removed")
    if [each.shape for each in got] != [each.shape for each in wanted] or not all(map(_same, got, wanted)):
        raise EditError(f"{edit}: without these blocks {model.name} would not answer as with their gates held, so they "
                        f"are not removed")
    return smaller, removed


def _same(got: torch.Tensor, wanted: torch.Tensor) -> bool:
    return torch.allclose(got, wanted, rtol=0, atol=SAME * float(wanted.abs().max().clamp_min(1)))


def _held(edit: Edit, block: AttentionBlock) -> torch.Tensor:
    """The gate (M, C) that an edit sets, whatever it was."""
    edit.check(block)
    shape = block.rows, block.branches, block.channels
    low, high = (edit.apply(block, torch.full(shape, value), 0) for value in (0.25, 0.75))
    if not torch.equal(low, high):
        raise EditError(f"{edit} does not hold the gate of {block.label}: its value would still depend on the picture")
    return low[0].clone()


def _change(block: AttentionBlock, gate: torch.Tensor) -> dict:
    if block.branches > 1:
        alone = [m for m in range(block.branches) if torch.equal(gate, torch.eye(block.branches)[m][:, None].expand_as(
            gate))]
        if not alone or not block.paths or block.output != block.name or block.split_input:
            raise EditError(f"{block.label} cannot be removed: a unit that weighs branches gives way to one of them "
                            f"(3x3, branch 0), where each is a module and sees the whole input")
        return {"name": block.name, "by": "part", "path": block.paths[alone[0]]}
    if not block.input == block.output == block.name:
        raise EditError(f"{block.label} cannot be removed: {block.name} is no module that takes the map and gives the "
                        f"scaled one")
    if (gate == 1).all():
        return {"name": block.name, "by": "identity"}
    return {"name": block.name, "by": "scale", "channels": block.channels}


def _folded(module: nn.Module, removed: list[dict], model: Model) -> list[dict]:
    """The changes, after what scales channels has gone into the layers beside it where these can take it."""
    scales = [change["name"] for change in removed if change["by"] == "scale"]
    if not scales:
        return removed
    example = model.example[None].cpu()
    batch = torch.cat([example, torch.randn(2, *example.shape[1:], generator=torch.Generator().manual_seed(0))])
    # on the CPU, where nothing is rounded to fewer bits than float32's
    into = fold(module.cpu(), scales, batch, model.output)
    module.to(model.device)
    return [{"name": change["name"], "by": "identity", "into": into[change["name"]]} if change["name"] in into
            else change for change in removed]


def save_pruned(path: str | Path, model: Model, removed: list[dict], source: str) -> None:
    """Write a pruned network, so that ``sv.load("file:…")`` reads it, with ``arch`` where ``source`` needed it.

    Args:
        path: of the safetensors file.
        model: that ``prune`` gave.
        removed: likewise.
        source: the name by which the whole network was loaded. What its file says of itself is kept, and its numbers'
            precision, but for layers that a gate was folded into.
    """
    state = model.module.state_dict()
    known: dict[str, torch.Tensor] = {}
    metadata: dict[str, Any] = {"classes": model.classes}
    kind, _, rest = source.partition("/")
    if source.startswith("file:") or kind == "demo":
        checkpoint = read_checkpoint(Path(source[5:]).expanduser() if source.startswith("file:") else
                                     ASSETS / "models" / f"{rest}.safetensors")
        known, metadata = find(checkpoint, model.module).tensors(checkpoint), metadata | checkpoint.metadata
    metadata["removed"] = [*metadata.get("removed", []), *removed]
    changed = tuple(f"{change['into']}." for change in removed if "into" in change)
    save_checkpoint(path, {key: value.cpu().to(known[key].dtype) if key in known and not key.startswith(changed)
                           else value.cpu()
                           for key, value in state.items()}, metadata)


def latency(modules: Sequence[nn.Module], batch: torch.Tensor, repeats: int = 30) -> list[float]:
    """Median seconds of a forward of each network, which take turns, so that a machine that slows down slows all."""
    seconds: list[list[float]] = [[] for _ in modules]
    with torch.inference_mode():
        for turn in range(repeats + 3):
            for module, measured in zip(modules, seconds):
                start = _now(batch.device)
                module(batch)
                if turn >= 3:  # after what is done once
                    measured.append(_now(batch.device) - start)
                else:
                    _now(batch.device)
    return [statistics.median(measured) for measured in seconds]


def _now(device: torch.device) -> float:
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).synchronize()
    return time.perf_counter()
