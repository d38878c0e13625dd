"""The attention blocks of a network, and where in its forward their parts are met."""
import inspect
import math
import re
import warnings
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from .hooks import hooked, part_and_call
from .kinds import kind_of
from .search import Search, Use
from .spatial import SpatialSearch, SpatialUse
from .state import first_parameter, parts_of
from .tracing import Call, Trace

QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")
NEARER = 4  # times the side of an example that is too small
UNIT = re.compile(r"(?:^|\.)layer(\d+)\.(\d+)(?:[.#@]|$)")


@dataclass(frozen=True)
class Product:
    """A multiplication of a feature map by a gate: which in a module's forward, and which operand is the gate.

    ``path`` is a place of ``Hooks``, and multiplications are counted as by ``Hooks.multiplied``. ``branch_dim`` is the
    dimension along which the branches of a map with one dimension more lie: (N, M, C, H, W) or, with 0,
    (M, N, C, H, W).
    """

    path: str
    number: int
    operand: int
    branch_dim: int = 1


@dataclass(frozen=True)
class AttentionBlock:
    """One channel gate of a network.

    Its parts are met at the boundaries of modules where there are such, and else at ``products``. Of a module that runs
    several times in one forward each call is a place, "neck.se@1"; each place where such a module applies its gate is a
    block of its own.

    Attributes:
        name: place of the block, "layer2.3.se"; for a gate written inline that of the nearest module with parameters,
            and which gate in it: "layer2.3#0", "neck@1#0".
        label: as in the papers, "SE_3_4" = stage 3, block 4; the stem is stage 1. Unique in a network.
        kind: "SE", "SK", "ECA", "eSE", "SplitAttn", "GC", "CBAM" or "GE"; of a class that is not known by name "SE",
            "linear" without an activation, or where it weighs branches "SK", "SplitAttn" if they are cut from one map,
            or "Highway" if one of them is the module's input.
        channels: C, the channels of the map that the gate scales.
        branches: M, the branches that the gate weighs; 1 where it scales one map.
        kernels: effective kernel size of each branch, (3, 5), or None.
        stage, index: the label's two numbers.
        gate: place whose output is the gate; None for a gate that no module gives.
        paths: places of the branches; () where the gate scales one map, or no modules give them.
        input: place whose input is the map that the gate scales; None for branches, and for a map that is met only at
            the multiplication.
        output: place whose output is the scaled map, or the sum of the scaled branches; or None.
        products: the multiplications, one for the whole or one for each branch.
        shortcut: place of the shortcut that the block's output is added to (its output), or of the residual unit where
            the shortcut is the unit's input; None where no addition follows the block directly.
        shortcut_is_input: which of the two.
        split_input: whether each branch sees other input channels (timm's skresnets), which confounds the choice of
            kernel with the choice of channels.
        squeeze: place whose input is the squeezed vector z, the mean over space of the block's input (of the sum of its
            branches); None where no module is given it.
        gain: the number above 1 that the block's output is multiplied with next (2 in NFNets, whose gates scale by 0 to
            2); 1 elsewhere, also where a residual unit scales its whole branch down.
        space: dimensions of the map's space: 1 of a signal, 2 of a picture, 3 of a volume.
        rows: gates for each picture: of networks that fold the frames of a clip, or several views of a picture, into
            the batch. 1 elsewhere.
        together: whether the rows of one picture lie side by side; else all pictures' first rows come first.
        spatial: whether the gate varies over space ("Coord", "LSK"). Then its mean over space stands for it.
    """

    name: str
    label: str
    kind: str
    channels: int
    branches: int
    kernels: tuple[int, ...] | None
    stage: int
    index: int
    gate: str | None
    paths: tuple[str, ...] = ()
    input: str | None = None
    output: str | None = None
    products: tuple[Product, ...] = ()
    shortcut: str | None = None
    shortcut_is_input: bool = False
    split_input: bool = False
    squeeze: str | None = None
    gain: float = 1.0
    space: int = 2
    rows: int = 1
    together: bool = True
    spatial: bool = False

    def _repr_pretty_(self, printer, cycle: bool) -> None:
        """What a notebook shows, also of a list of blocks; ``repr`` tells all, and is part of a run's identity."""
        kernels = f" {', '.join(f'{kernel}×{kernel}' for kernel in self.kernels)}" if self.kernels else ""
        branches = f", {self.branches} branches{kernels}" if self.branches > 1 else ""
        printer.text(f"AttentionBlock({self.label}: {self.name!r}, {self.kind}, {self.channels} channels{branches})")

    @property
    def place(self) -> str:
        """The place of the module that holds the gate: the name, without the number of a gate written inline."""
        return self.name.partition("#")[0]

    @property
    def path(self) -> str:
        """The path of that module."""
        return part_and_call(self.place)[0]

    @property
    def has_output(self) -> bool:
        """Whether the block's output can be had: always, but for a sum of branches that no module gives."""
        return self.output is not None or self.branches == 1


_found: "weakref.WeakKeyDictionary[nn.Module, tuple]" = weakref.WeakKeyDictionary()
_watchable: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()  # networks that ``network_of`` has looked at


def find_blocks(module: nn.Module, example: torch.Tensor, *, spatial: bool = False) -> list[AttentionBlock]:
    """The attention blocks that run in a network's forward, in the order in which they run.

    They are found by what they do in one forward of the example (``senet_viz.gates.search``), whatever their class: a
    feature map is multiplied, channel by channel, by what a sigmoid, softmax, tanh or its kin, or a learned layer, made
    of the pooled picture. Hence a gate that never fires is none (timm's gcresnets carry such decoys).

    What is found is kept, and is what ``inspect`` and others look at until blocks are found anew or a part is replaced:
    a forward that takes another way for other pictures, or since an attribute was changed, may have other blocks.

    Args:
        module: the network; it is run in evaluation mode and left as it was.
        example: (N, channels, *space), with one to three dimensions of space: a picture, signal, clip or volume that it
            could be given; on any device. Where a gated map has one pixel, the example is enlarged, for a network that
            takes it so.
        spatial: look also for gates that vary over space, of kinds "Coord" and "LSK" (``senet_viz.gates.spatial``).

    Raises:
        ValueError: when the network fails on the example, with the part in which it does, or has no parts that can be
            watched: a script, an exported or statically quantised network, one without values.

    Warns:
        UserWarning: of gates that scale groups of channels which lie in the batch, and are no blocks here; and of parts
            that are TorchScript, whose gates are not seen.

    >>> [block.label for block in find_blocks(senet_viz.models.se_resnet50(), torch.rand(1, 3, 64, 64))][:4]
    ['SE_2_1', 'SE_2_2', 'SE_2_3', 'SE_3_1']
    """
    module = network_of(module)
    example = batch_of(example, "an example")[:1]  # one picture, so that a batch cannot be taken for branches
    search = _search(module, example, spatial)
    if search.too_small:  # a gate on a map of one pixel looks like any product: look again from nearer
        with suppress(ValueError):  # networks of one input size fail
            nearer = nn.functional.interpolate(example, scale_factor=NEARER)
            search = _search(module, nearer, spatial)
    if search.groups:
        warnings.warn(f"{type(module).__name__} folds groups of channels into the batch and gates them there (in "
                      f"{_listed(search.groups, module)}); these gates of groups are left out.", stacklevel=2)
    if search.scripts:
        warnings.warn(f"{type(module).__name__} has parts that are TorchScript ({_listed(search.scripts, module)}): "
                      f"gates in them are not seen.", stacklevel=2)
    groups: dict[frozenset[Use], None] = {}
    for use in search.uses:
        if use.branch_dim or use.summed:
            groups.setdefault(use.added)
    blocks: list[AttentionBlock] = []
    extents: dict[str, torch.Size] = {}
    order: dict[str, float] = {}
    for group in groups:
        uses = sorted(group, key=search.uses.index)
        block = _block(module, uses, search, [b.place for b in blocks])
        blocks.append(block)
        extents[block.name], order[block.name] = uses[0].extent, search.uses.index(uses[0])
    if isinstance(search, SpatialSearch):
        for found in search.spatial:
            block = _spatial_block(found, search, [b.place for b in blocks])
            blocks.append(block)
            extents[block.name], order[block.name] = found[0].extent, found[0].position - 0.5
    blocks = _label(sorted(blocks, key=lambda block: order[block.name]), extents, search.whole)
    _found[module] = _signature(module, spatial), blocks
    return list(blocks)


def _listed(paths: list[str], module: nn.Module) -> str:
    """The paths of parts, each once; the network itself by its class."""
    return ", ".join(path or type(module).__name__ for path in dict.fromkeys(paths))


def _search(module: nn.Module, example: torch.Tensor, spatial: bool = False) -> Search:
    batch = to_module(example, module).detach().view(example.shape)  # a tensor of our own
    with hooked(module, first=True) as hooks, torch.no_grad():
        search = (SpatialSearch if spatial else Search)(module, hooks, batch)
        try:
            with search:
                module(batch)
        except Exception as error:
            raise ValueError(_failure(module, example, search.stack, error)) from error
    if hooks.elsewhere:
        raise ValueError(f"{type(module).__name__} runs its parts in other threads, where they are not seen: give the "
                         f"network that it wraps (.module of DataParallel)")
    return search


def blocks_of(module: nn.Module, example: torch.Tensor, spatial: bool = False, parts: list[nn.Module] | None = None,
              ) -> list[AttentionBlock]:
    """What ``find_blocks`` found last, or finds now; ``parts`` where they are known already."""
    module = eager(module)
    known = _found.get(module)
    if known is not None and known[0] == _signature(module, spatial, parts):
        return list(known[1])
    return find_blocks(module, example, spatial=spatial)


def _signature(module: nn.Module, spatial: bool, parts: list[nn.Module] | None = None) -> tuple:
    return spatial, *map(id, parts_of(module) if parts is None else parts)


def block_of(blocks: Sequence[AttentionBlock], block: AttentionBlock | str) -> AttentionBlock:
    """The block itself, or of a name or a label.

    Raises:
        ValueError: where there is none; the message names those that there are.
    """
    name = getattr(block, "name", block)
    for known in blocks:
        if name in (known.name, known.label):
            return known
    raise ValueError(f"there is no attention block {name!r}; the network's are: "
                     f"{', '.join(known.label for known in blocks) or 'none'}")


def eager(module: nn.Module) -> nn.Module:
    """The network inside a ``torch.compile`` wrapper: hooks added after compiling would never fire, silently."""
    return getattr(module, "_orig_mod", module)


def network_of(model) -> nn.Module:
    """The network that can be watched: a ``senet_viz.Model``'s, or an ``nn.Module`` without its compiled wrapper.

    Raises:
        ValueError: one sentence, for what is none, and for one whose parts cannot be watched.
    """
    module: Any = eager(model if isinstance(model, nn.Module) else getattr(model, "module", model))
    if isinstance(module, nn.Module) and module in _watchable and (
            (parameter := first_parameter(module)) is None or not parameter.is_meta):
        return module  # looking at every part again would take as long as a small forward
    name = type(model).__name__
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError("A TorchScript network runs without Python, and its parts cannot be watched: give the network "
                         "that it was made from.")
    if isinstance(model, torch.export.ExportedProgram) or _exported(module):
        raise ValueError("An exported program is one list of operations, without the parts that could be watched: give "
                         "the network that it was made from.")
    if isinstance(model, Mapping):
        raise ValueError(f"A state_dict ({name}) holds weights and no network: load it into one (load_state_dict).")
    if not isinstance(module, nn.Module):
        raise ValueError(f"A network is an nn.Module or a senet_viz.Model, not {name}.")
    parts = parts_of(module)
    tensors = [tensor for part in parts for kept in (part._parameters, part._buffers) for tensor in kept.values()
               if tensor is not None]
    if any(map(is_lazy, {type(tensor): tensor for tensor in tensors}.values())):
        raise ValueError(f"{name} has lazy layers without values: run it once on a batch first.")
    if any(tensor.is_meta for tensor in tensors if isinstance(tensor, nn.Parameter)):
        raise ValueError(f"{name} has no values, for its parameters are on the meta device: give it some (to_empty, "
                         f"load_state_dict)")
    if any(map(_statically_quantised, set(map(type, parts)))):
        raise ValueError(f"{name} is statically quantised: its gates are products of integers, which are not looked "
                         f"for. Give the network in floating point.")
    _watchable.add(module)
    return module


def _statically_quantised(cls: type) -> bool:
    """What gives integers: not the dynamic layers, nor the weights that these keep in a module of their own."""
    return (cls.__module__.startswith(QUANTISED) and ".dynamic" not in cls.__module__
            and not cls.__name__.endswith("PackedParams"))


def _exported(module) -> bool:
    return isinstance(module, torch.fx.GraphModule) and any(
        isinstance(node.target, torch._ops.OpOverload) for node in module.graph.nodes)


def batch_of(batch, what: str = "a batch") -> torch.Tensor:
    """A batch as a tensor, (N, channels, *space); NumPy arrays are taken as well.

    Raises:
        ValueError: one sentence, for what is none.
    """
    if isinstance(batch, np.ndarray):
        batch = torch.from_numpy(np.ascontiguousarray(batch))
    if not isinstance(batch, torch.Tensor):
        raise ValueError(f"{what} is a tensor (N, channels, height, width), not {type(batch).__name__}")
    if not 3 <= batch.dim() <= 5 or not len(batch):
        raise ValueError(f"{what} has the shape (N, channels, height, width), or one or three dimensions of space, N "
                         f"at least 1, not {tuple(batch.shape)}")
    return batch


def to_module(batch: torch.Tensor, module: nn.Module) -> torch.Tensor:
    """The batch on the device and in the float type of the network's first parameter."""
    parameter = first_parameter(module)
    return batch if parameter is None else batch.to(parameter.device, parameter.dtype)


def _failure(module: nn.Module, example: torch.Tensor, stack: list[Call], error: Exception) -> str:
    name = type(module).__name__
    wanted = [p.name for p in inspect.signature(module.forward).parameters.values()
              if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if len(wanted) != 1 and isinstance(error, TypeError) and len(stack) == 1:
        return (f"{name} takes {', '.join(wanted) or 'nothing'} and not one batch of pictures: wrap it in a module "
                f"whose forward does.")
    place = stack[-1].path if stack else ""
    where = f" in {place} ({type(module.get_submodule(place)).__name__})" if place else ""
    return (f"{name} fails on an example of shape {tuple(example.shape)}{where}: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}")


def _place(call: Call, search: Search) -> str:
    return f"{call.path}@{call.number}" if search.calls[call.path] > 1 else call.path


def _spatial_block(uses: list[SpatialUse], search: SpatialSearch, taken: list[str]) -> AttentionBlock:
    """The block of a gate that varies over space: it is met at its multiplications."""
    first, place = uses[0], _place(uses[0].inner, search)
    return AttentionBlock(
        name=f"{place}#{taken.count(place)}" if place in taken else place, label="", kind=first.kind,
        channels=first.channels, branches=len(uses) if first.kind == "LSK" else 1, kernels=None, stage=0, index=0,
        gate=None, products=tuple(Product(_place(use.inner, search), use.number, use.operand) for use in uses),
        space=first.space, rows=first.fold.rows if first.fold else 1,
        together=first.fold.together if first.fold else True, spatial=True)


def _block(module: nn.Module, uses: list[Use], search: Search, taken: list[str]) -> AttentionBlock:
    """The block of the uses whose products enter one sum."""
    place = partial(_place, search=search)
    first, whole = uses[0], frozenset(uses)
    parts: tuple[Trace | None, ...] = ()
    if len(uses) > 1:
        values = torch.stack([use.gate.flatten(1) for use in uses], 1)
        mean, parts = torch.stack([use.mean.flatten(1) for use in uses]).sum(0), tuple(use.map for use in uses)
    elif first.summed:
        values, mean, parts = first.gate, first.mean.sum(1), first.map.parts
    else:
        values, mean = first.gate.flatten(1)[:, None], first.mean.flatten(1)
    branches, channels = values.shape[1:]

    returned = [call for call, of in first.returned if of == whole]
    given = [call for call, output, changes in first.begun.outputs
             if first.branch_dim and all(use.changes == changes for use in uses)
             and output.numel() == values.numel() and torch.equal(output.reshape(values.shape), values)]
    scales_input = branches == 1 and first.inner.entered is first.map
    named = [call for call in given if next(module.get_submodule(call.path).parameters(), None) is not None
             and not (first.begun.learned and call is first.begun.calls[-1])]  # a lone layer is no block
    if first.inner in returned and first.inner in first.begun.calls and (scales_input or branches > 1):
        name, entry = place(first.inner), first.inner if scales_input and first.inner in first.given else None
    elif named:
        name, entry = place(named[-1]), named[-1] if branches == 1 and named[-1] in first.given else None
    else:
        name, entry = f"{place(first.call)}#", None
    if name.endswith("#") or name in taken:
        name, entry = f"{place(first.call)}#{taken.count(place(first.call))}", None
    calls = [part.outputs[-1] for part in parts if part is not None and part.outputs]
    calls = calls if len(calls) == branches == len(set(calls)) else []
    kernels = tuple(side for call in calls if (side := _kernel(module.get_submodule(call.path))))
    shortcut, is_input = first.shortcut or (None, False)
    part = module.get_submodule(part_and_call(name.partition("#")[0])[0])
    precision = max(1e-3, 4 * torch.finfo(mean.dtype).eps)
    return AttentionBlock(
        name=name, label="", kind=kind_of(part, _form(uses, branches, parts)), channels=channels, branches=branches,
        kernels=kernels if calls and len(kernels) == branches else None, stage=0, index=0,
        gate=place(given[0]) if given else None, paths=tuple(map(place, calls)), input=place(entry) if entry else None,
        output=place(returned[0]) if returned else None,
        products=tuple(Product(place(use.call), use.number, use.operand, use.branch_dim) for use in uses),
        shortcut=place(shortcut) if shortcut else None, shortcut_is_input=is_input,
        split_input=bool(calls and getattr(part, "split_input", False)),
        squeeze=next((place(call) for call, vector in uses[-1].vectors if vector.shape == mean.shape
                      and torch.allclose(vector, mean, rtol=precision, atol=precision)), None),
        gain=first.gain, space=first.space, rows=first.fold.rows if first.fold else 1,
        together=first.fold.together if first.fold else True)


def _form(uses: list[Use], branches: int, parts: tuple[Trace | None, ...]) -> str:
    """The kind of a block by its form alone."""
    if branches == 1:
        return "linear" if uses[0].begun.learned else "SE"
    if any(trace is use.inner.entered for use in uses for trace in (parts or (use.map,)) if len(uses) > 1 or parts):
        return "Highway"
    wholes = {trace.whole for trace in parts if trace is not None}  # of several maps, that which they are cut from
    whole = next(iter(wholes)) if len(wholes) == 1 else None
    return "SplitAttn" if not parts or (whole is not None and not whole.parts) else "SK"


def _kernel(branch: nn.Module) -> int | None:
    """Effective side of a branch's convolution: dilation · (kernel − 1) + 1."""
    for part in branch.modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            return part.dilation[0] * (part.kernel_size[0] - 1) + 1
    return None


def _halvings(extent: torch.Size, whole: torch.Size) -> int:
    """How often each side of a map was halved on its way from the picture.

    Only the dimensions that both have count: a clip's frames may lie in the batch, and a signal in a map of one row.
    """
    shared = min(len(extent), len(whole))
    before, behind = (shape[-shared:].numel() ** (1 / shared) for shape in (whole, extent))
    return round(math.log2(before / behind))


def _label(blocks: list[AttentionBlock], extents: dict[str, torch.Size], whole: torch.Size) -> list[AttentionBlock]:
    labelled: list[AttentionBlock] = []
    counts: dict[int, int] = {}
    taken: dict[str, int] = {}
    for block in blocks:
        unit = UNIT.search(block.name)
        if unit and "@" not in block.name:  # a path tells nothing of the places where its module is used
            stage, index = int(unit[1]) + 1, int(unit[2]) + 1
        else:
            stage = _halvings(extents[block.name], whole)
            index = counts[stage] = counts.get(stage, 0) + 1
        label = f"{block.kind}_{stage}_{index}"
        taken[label] = taken.get(label, 0) + 1
        if taken[label] > 1:  # a second gate in one residual unit
            label += f"#{taken[label]}"
        labelled.append(replace(block, label=label, stage=stage, index=index))
    return labelled
