"""Finding the attention blocks of a network: by class, then checked in one dry run."""
import math
import re
import warnings
import weakref
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from .classes import GateClass, gate_class
from .hooks import Hooks, hooked

UNIT = re.compile(r"(?:^|\.)layer(\d+)\.(\d+)(?:\.|$)")
MOST_CHANNELS = 8192  # of a squeezed vector: larger inputs are maps, not worth keeping
ACTIVATIONS = (lambda x: x, torch.relu, nn.functional.silu)  # what residual units apply after the addition


@dataclass(frozen=True)
class AttentionBlock:
    """One channel gate of a network.

    Attributes:
        name: module path of the block, "layer2.3.se".
        label: as in the papers, "SE_3_4" = stage 3, block 4; the stem is stage 1. Unique in a network.
        kind: "SE", "SK", "ECA" or "eSE".
        channels: C, the channels of the map that the gate scales.
        branches: M, the branches that the gate weighs; 1 unless kind is "SK".
        kernels: effective kernel size of each branch, (3, 5), or None.
        stage, index: the label's two numbers.
        gate: module path whose output is the gate.
        paths: module paths of the branches; () where the gate scales the block's input.
        shortcut: module path of the shortcut that the block's output is added to (its output), or of the residual unit
            where the shortcut is the unit's input; None where no addition follows the block directly.
        shortcut_is_input: which of the two.
        split_input: whether each branch sees other input channels (timm's skresnets), which confounds the choice of
            kernel with the choice of channels.
        squeeze: module path whose input is the squeezed vector z, the mean over space of the block's input (of the sum
            of its branches); None where no module is given it.
    """

    name: str
    label: str
    kind: str
    channels: int
    branches: int
    kernels: tuple[int, ...] | None
    stage: int
    index: int
    gate: str
    paths: tuple[str, ...] = ()
    shortcut: str | None = None
    shortcut_is_input: bool = False
    split_input: bool = False
    squeeze: str | None = None


_found: "weakref.WeakKeyDictionary[nn.Module, tuple]" = weakref.WeakKeyDictionary()


def find_blocks(module: nn.Module, example: torch.Tensor) -> list[AttentionBlock]:
    """The attention blocks that run in a network's forward, in the order in which they run.

    Blocks are known by their class (``senet_viz.gates.classes``) and checked in one forward of the example: a gate that
    never fires is left out (timm's gcresnets carry such decoys), and so is one, with a warning, for which
    input · gate is not the output.

    Args:
        module: the network; it is run in evaluation mode and left as it was.
        example: (N, 3, H, W), a picture that it could be given; on any device.

    Raises:
        ValueError: when the network fails on the example, or runs a block more than once in a forward.
    """
    module = eager(module)
    if example.dim() != 4 or not len(example):
        raise ValueError(f"an example has the shape (N, 3, H, W), N at least 1, not {tuple(example.shape)}")
    candidates = {path: entry for path, part in module.named_modules() if (entry := gate_class(part)) is not None}
    runs: dict[str, _Run] = {path: _Run(path, entry) for path, entry in candidates.items()}
    order: list[_Run] = []
    with hooked(module) as hooks, torch.no_grad():
        for run in runs.values():
            run.watch(hooks, module, order)
        try:
            module(to_module(example, module))
        except Exception as error:
            raise ValueError(f"{type(module).__name__} fails on an example of shape {tuple(example.shape)}: "
                             f"{str(error).splitlines()[0] if str(error) else type(error).__name__}") from error
    blocks = []
    for run in order:
        if run.fired == 0:
            continue
        if run.fired > 1:
            raise ValueError(f"{run.path} runs its gate {run.fired} times in one forward; the places that share a "
                             f"block cannot be told apart.")
        if not run.verified:
            warnings.warn(f"{run.path} ({type(module.get_submodule(run.path)).__name__}) is left out: its gate times "
                          f"its input is not its output", stacklevel=2)
            continue
        blocks.append(run.block(module))
    return _label(blocks, runs, math.sqrt(example.shape[-2] * example.shape[-1]))


def blocks_of(module: nn.Module, example: torch.Tensor) -> list[AttentionBlock]:
    """``find_blocks``, kept until a block of the network is replaced."""
    module = eager(module)
    signature = tuple((path, id(part)) for path, part in module.named_modules() if gate_class(part) is not None)
    known = _found.get(module)
    if known is None or known[0] != signature:
        known = _found[module] = (signature, find_blocks(module, example))
    return list(known[1])


def eager(module: nn.Module) -> nn.Module:
    """The network inside a ``torch.compile`` wrapper: hooks added after compiling would never fire, silently."""
    return getattr(module, "_orig_mod", module)


def to_module(batch: torch.Tensor, module: nn.Module) -> torch.Tensor:
    """The batch on the device and in the float type of the network's first parameter."""
    parameter = next(module.parameters(), None)
    return batch if parameter is None else batch.to(parameter.device, parameter.dtype)


class _Run:
    """What the dry run sees of one candidate."""

    def __init__(self, path: str, entry: GateClass):
        self.path, self.entry = path, entry
        self.gate_path = f"{path}.{entry.gate}".lstrip(".")
        self.fired, self.verified = 0, False
        self.side = 0.0
        self.shortcut: tuple[str, bool] | None = None
        self.squeeze: str | None = None

    def watch(self, hooks: Hooks, module: nn.Module, order: list) -> None:
        part = module.get_submodule(self.path)
        self.paths: tuple[str, ...] = ()
        if self.entry.branches:
            children = getattr(part, self.entry.branches)
            self.paths = tuple(f"{self.path}.{self.entry.branches}.{m}".lstrip(".") for m in range(len(children)))
        maps: dict[int, torch.Tensor] = {}
        vectors: dict[str, torch.Tensor] = {}

        def entering(x):
            maps.clear()
            vectors.clear()
            if not self.paths:
                maps[0] = x.clone()

        def given(path, x):
            if isinstance(x, torch.Tensor) and x.dim() > 1 and x[0].numel() <= MOST_CHANNELS:
                vectors[path] = x.flatten(1).clone()

        def gated(_, gate):
            self.fired += 1
            maps[-1] = gate.clone()

        def leaving(_, output):
            order.append(self)
            if self.fired and len(maps) == max(1, len(self.paths)) + 1 and output.dim() == 4:
                n, self.channels = output.shape[:2]
                self.side = math.sqrt(output.shape[-2] * output.shape[-1])
                self.branches = maps[-1].numel() // (n * self.channels)
                if maps[-1].numel() == n * self.branches * self.channels and self.branches == max(1, len(self.paths)):
                    gate = maps.pop(-1).reshape(n, self.branches, self.channels, 1, 1)
                    product = sum(gate[:, m] * maps[m] for m in range(self.branches))
                    precision = max(1e-3, 4 * torch.finfo(output.dtype).eps)  # half types round a sum over branches
                    self.verified = torch.allclose(
                        product, output, rtol=precision, atol=0.1 * precision * float(output.abs().max()))
                    self.output = output.clone()
                    z = sum(u.mean((2, 3)) for u in maps.values())
                    self.squeeze = next((path for path, vector in vectors.items() if vector.shape == z.shape
                                         and torch.allclose(vector, z, rtol=precision, atol=precision)), None)
            maps.clear()
            vectors.clear()

        hooks.before(self.path, entering)
        for m, path in enumerate(self.paths):
            hooks.after(path, lambda _, u, m=m: maps.__setitem__(m, u.clone()))
        hooks.after(self.gate_path, gated)
        inner = [f"{self.path}.{path}".lstrip(".") for path, _ in part.named_modules() if path]
        for path in inner:
            if not path.startswith(self.paths):
                hooks.before(path, partial(given, path))
        hooks.after(self.path, leaving)
        if not self.paths and "." in self.path:
            self._watch_unit(hooks, module, self.path.rpartition(".")[0])

    def _watch_unit(self, hooks: Hooks, module: nn.Module, unit: str) -> None:
        """Find what the block's output is added to: the unit's input, or the output of one of its children.

        Verified by arithmetic, not by name: unit output = activation(block output + shortcut).
        """
        addends: dict[tuple[str, bool], torch.Tensor] = {}
        for child, _ in module.get_submodule(unit).named_children():
            path = f"{unit}.{child}"
            if path != self.path:
                hooks.after(path, lambda _, y, path=path: addends.__setitem__(
                    (path, False), y.clone()) if isinstance(y, torch.Tensor) else None)
        hooks.before(unit, lambda x: addends.__setitem__(
            (unit, True), x.clone()) if isinstance(x, torch.Tensor) else None)

        def leaving(_, output):
            y = self.__dict__.pop("output", None)
            if y is not None and isinstance(output, torch.Tensor):
                # relative to y: beside a large shortcut a small y would pass whatever was done to it
                rounding = 4 * torch.finfo(y.dtype).eps * float(output.abs().max())
                tolerance = 1e-3 * float(y.abs().max()) + rounding
                for key, addend in addends.items():
                    if addend.shape == y.shape == output.shape and any(
                            torch.allclose(act(y + addend), output, rtol=0, atol=tolerance) for act in ACTIVATIONS):
                        self.shortcut = key
                        break
            addends.clear()

        hooks.after(unit, leaving)

    def block(self, module: nn.Module) -> AttentionBlock:
        shortcut, is_input = self.shortcut or (None, False)
        kernels = tuple(_kernel(module.get_submodule(path)) for path in self.paths)
        return AttentionBlock(
            name=self.path, label="", kind=self.entry.kind, channels=self.channels, branches=self.branches,
            kernels=kernels if kernels and all(kernels) else None, stage=0, index=0, gate=self.gate_path,
            paths=self.paths, shortcut=shortcut, shortcut_is_input=is_input, squeeze=self.squeeze,
            split_input=bool(self.paths and getattr(module.get_submodule(self.path), "split_input", False)))


def _kernel(branch: nn.Module) -> int | None:
    """Effective side of a branch's convolution: dilation · (kernel − 1) + 1."""
    for part in branch.modules():
        if isinstance(part, nn.Conv2d):
            return part.dilation[0] * (part.kernel_size[0] - 1) + 1
    return None


def _label(blocks: list[AttentionBlock], runs: dict[str, _Run], input_side: float) -> list[AttentionBlock]:
    labelled, counts, taken = [], {}, {}
    for block in blocks:
        unit = UNIT.search(block.name)
        if unit:
            stage, index = int(unit[1]) + 1, int(unit[2]) + 1
        else:
            stage = round(math.log2(input_side / runs[block.name].side))
            index = counts[stage] = counts.get(stage, 0) + 1
        label = f"{block.kind}_{stage}_{index}"
        taken[label] = taken.get(label, 0) + 1
        if taken[label] > 1:  # a second gate in one residual unit
            label += f"#{taken[label]}"
        labelled.append(replace(block, label=label, stage=stage, index=index))
    return labelled
