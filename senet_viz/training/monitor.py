"""Watching channel attention while a network trains, from its own forwards.

Neither loss nor accuracy shows that a block's attention has collapsed, and a gate whose channels all move as one still
has lively values. The monitor measures every n-th training forward: it runs none of its own, and between measurements
costs the call of a function.
"""
import threading
import warnings
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from ..data.files import replacing
from ..gates.blocks import AttentionBlock, batch_of, blocks_of, network_of
from ..gates.hidden import RARE, hidden_layers
from ..gates.hooks import Hooks, part_and_call
from ..gates.points import on_gate
from ..gates.state import part_at, uncompiled
from ..statistics.dimension import ONE, Halves
from ..tables import HIGH, LOW

COLUMNS = ["step", "block", "label", "pictures", "mean", "std", "below", "above", "dimension", "first", "alive"]
IN_A_ROW = 3  # so many times one after the other a gate that moves along one direction is warned of


class CollapseWarning(UserWarning):
    """All channels of a gate move along one direction."""


@dataclass
class _Watched:
    """A block, the modules that it was found in, and what a forward gave of it."""

    block: AttentionBlock
    hidden: str | None
    parts: dict[str, nn.Module]
    low: int = 0
    gates: list[torch.Tensor] = field(default_factory=list)
    units: list[torch.Tensor] = field(default_factory=list)


class _Entering:
    """The hook that stays on a network; its copies and pickles have one that does nothing, and needs no module of ours.

    Nobody watches a copy, such as a moving average of the weights, and a writer cannot be copied.
    """

    def __init__(self, enter: Callable[[nn.Module, tuple], None]):
        self._enter = enter

    def __call__(self, module: nn.Module, given: tuple) -> None:
        if not torch.compiler.is_compiling():  # the compiled code is that of a network without this hook
            self._enter(module, given)

    def __reduce__(self) -> tuple:
        return getattr, (nullcontext(), "__exit__")


class Monitor:
    """Measures the gates of every attention block in a network's own training forwards.

    Args:
        module: the network as the training calls it: of ``torch.compile`` the wrapper, of DataParallel and
            DistributedDataParallel what these wrap. Forwards that are measured run without compiled code.
        example: a batch that the network takes, (N, 3, H, W), or of signals or volumes; one picture of it is run, to
            find the blocks.
        every: measure each so many-th training forward, from the first on.
        writer: a ``torch.utils.tensorboard.SummaryWriter``, which gets each number as "label/measure".

    A forward counts while the network is in training mode. Of DataParallel's replicas the one on the network's own
    device is measured, of distributed processes the one of rank 0. Between measurements one hook hangs on the network;
    compiled code does without it, so that what runs inside such code is not seen, and so do copies of the network.

    Raises:
        ValueError: for a network without attention blocks, what is no network that can be watched or no batch, one that
            fails on the example, or ``every`` below 1.

    >>> with Monitor(module, batch, every=50) as monitor:
    ...     for images, labels in loader:
    ...         train_step(module, images, labels)
    >>> monitor.table().query("dimension < 1.5")
    """

    def __init__(self, module: nn.Module, example: torch.Tensor, every: int = 50, *, writer: Any = None):
        if every < 1:
            raise ValueError(f"every is a number of forwards, 1 or more, not {every}")
        self.module, self.every, self.writer = network_of(module), every, writer
        example = batch_of(example, "an example")
        blocks = blocks_of(self.module, example)
        if not blocks:
            raise ValueError(f"{type(self.module).__name__} has no channel attention, so there is nothing to watch.")
        hidden = hidden_layers(self.module, blocks, example)
        self._watched = [_Watched(block, hidden[block.name], self._parts(block, hidden[block.name]))
                         for block in blocks]
        self._rows: list[dict] = []
        self._step, self._silent = 0, False
        self._measuring: tuple[int, int, Callable[[], None]] | None = None  # step, thread, and what ends it
        given: Any = module
        self._called = given if isinstance(given, nn.Module) else given.module  # a compiled wrapper calls its own hooks
        self._handle = self._called.register_forward_pre_hook(_Entering(self._enter))

    @property
    def blocks(self) -> list[AttentionBlock]:
        """The blocks that are watched: all, but for those that were replaced meanwhile."""
        return [watched.block for watched in self._watched]

    def table(self) -> pd.DataFrame:
        """A row a measured step and block.

        Columns: step (training forwards before it), block, label, pictures (in the batch); over its pictures and the
        channels of the gate, of several branches the last: mean, std (over pictures, averaged over channels), below and
        above (share under .05 and over .95); dimension and first (``senet_viz.statistics.dimension``; nan where the
        batch is too small to tell); alive (share of the block's hidden units that are above zero for 1 to 99 % of the
        pictures; nan without such a layer).
        """
        return pd.DataFrame(self._rows, columns=COLUMNS)

    def save(self, path: str | Path, note: str = "") -> None:
        """Write the table as Parquet; a file that is there is replaced whole.

        Args:
            path: the file.
            note: what was trained and how; the Training page shows it.
        """
        table = self.table()
        if note:
            table.attrs = {"note": note}
        with replacing(path) as part:
            table.to_parquet(part, index=False)

    def close(self) -> None:
        """Take the hooks off; the table stays. A second time does nothing."""
        self._handle.remove()
        self._stop()

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def state(self) -> dict:
        """Steps and rows, of plain numbers and text, to go on with in another process (``restore``)."""
        return {"step": self._step, "rows": list(self._rows)}

    def restore(self, state: dict) -> None:
        """Go on where ``state`` was."""
        self._step, self._rows = state["step"], list(state["rows"])

    # one measurement
    def _enter(self, module: nn.Module, given: tuple) -> None:
        self._stop()  # what was interrupted: then no hook is called behind the forward
        if not module.training or not _first_rank() or _other_replica(module, self.module, given):
            return
        number, self._step = self._step, self._step + 1
        if number % self.every:
            return
        hooks = Hooks(self.module)  # of this thread alone
        before, behind = self._called._forward_pre_hooks, self._called._forward_hooks
        others = {*before, *behind}
        try:
            self._watched = [watched for watched in self._watched if self._there(watched)]
            for watched in self._watched:
                watched.gates.clear()
                watched.units.clear()
                # what is kept has left the graph: it holds no memory that the training frees, and changes no gradient
                on_gate(hooks, watched.block, lambda gate, _, kept=watched.gates: kept.append(gate.detach().clone()))
                if watched.hidden:
                    hooks.before(watched.hidden, lambda units, kept=watched.units: kept.append(units.detach().clone()))
            for hook in [hook for key, hook in before.items() if key not in others]:
                hook(module, given)  # which hooks of the network itself this forward calls is settled already
            left = [hook for key, hook in behind.items() if key not in others]
            leaving = self._called.register_forward_hook(self._leave, always_call=True)  # behind these
        except BaseException:
            hooks.remove()
            raise
        eager = uncompiled(self._called)
        eager.__enter__()

        def end() -> None:
            eager.__exit__(None, None, None)
            for hook in left:  # a second time does nothing
                hook(self.module, (), None)
            hooks.remove()
            leaving.remove()
        self._measuring = number, threading.get_ident(), end

    def _stop(self) -> int | None:
        """Take off what this thread's measurement hung on the network; its step, None where there is none."""
        if self._measuring is None or self._measuring[1] != threading.get_ident():
            return None
        number, _, end = self._measuring
        self._measuring = None
        end()
        return number

    def _leave(self, module: nn.Module, given: tuple, output: object) -> None:
        number = self._stop()
        if number is not None and output is not None:  # else the forward failed
            with torch.no_grad():
                self._measure(number)

    def _measure(self, number: int) -> None:
        seen = [watched for watched in self._watched if watched.gates]
        if self._watched and not seen and not self._silent:
            self._silent = True
            warnings.warn("No gate was seen in a training forward: compiled code runs past hooks. Give the monitor "
                          "what the training calls.", stacklevel=2)
        for watched in seen:
            row = _row(watched)
            self._rows.append({"step": number, "block": watched.block.name, "label": watched.block.label, **row})
            if self.writer is not None:
                for measure in COLUMNS[4:]:
                    if row[measure] == row[measure]:
                        self.writer.add_scalar(f"{watched.block.label}/{measure}", row[measure], number)
            watched.low = watched.low + 1 if row["dimension"] < ONE else 0
            if watched.low == IN_A_ROW:  # once, until it lives again
                warnings.warn(
                    f"{watched.block.label} moves along one direction (dimension {row['dimension']:.2f} over "
                    f"{row['pictures']} pictures, step {number}): its {watched.block.channels:,} channels are one "
                    f"number.", CollapseWarning, stacklevel=2)

    def _parts(self, block: AttentionBlock, hidden: str | None) -> dict[str, nn.Module]:
        places = {block.gate, hidden, *(product.path for product in block.products if block.gate is None)} - {None}
        paths = {part_and_call(place)[0] for place in places if place is not None}
        return {path: self.module.get_submodule(path) for path in paths}

    def _there(self, watched: _Watched) -> bool:
        """Whether the block is still the one that was found; hooks on another module might break the training."""
        with suppress(AttributeError):  # there is nothing at the path any more
            if all(part_at(self.module, path) is part for path, part in watched.parts.items()):
                return True
        warnings.warn(f"{watched.block.label} was replaced while it was watched, and is left out from now on; make a "
                      f"new monitor to see what took its place.", stacklevel=2)
        return False


def _row(watched: _Watched) -> dict:
    gate = torch.cat([gate.float().cpu() for gate in watched.gates], 1)[:, -1].double()  # of several branches the last
    found = Halves(gate).measure()
    alive = float("nan")
    if watched.units:
        share = (watched.units[-1].flatten(1) > 0).double().mean(0)
        alive = float(((share >= RARE) & (share <= 1 - RARE)).double().mean())
    return {"pictures": len(gate), "mean": float(gate.mean()), "std": float(gate.std(0, correction=0).mean()),
            "below": float((gate < LOW).double().mean()), "above": float((gate > HIGH).double().mean()),
            "dimension": found.dimension, "first": found.first, "alive": alive}


def _other_replica(running: nn.Module, original: nn.Module, given: tuple) -> bool:
    """Whether this is one of DataParallel's replicas beside that on the network's own device."""
    parameter = next(original.parameters(), None)
    return (getattr(running, "_is_replica", False) and parameter is not None and bool(given)
            and isinstance(given[0], torch.Tensor) and given[0].device != parameter.device)


def _first_rank() -> bool:
    distributed = torch.distributed
    return not (distributed.is_available() and distributed.is_initialized()) or distributed.get_rank() == 0
