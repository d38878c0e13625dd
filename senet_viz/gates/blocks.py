"""The attention blocks of a network, and where in its forward their parts are met."""
import inspect
import math
import re
import weakref
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import nn

from .hooks import hooked
from .kinds import kind_of
from .search import Call, Search, Trace, Use

NEARER = 4  # times the side of an example that is too small
UNIT = re.compile(r"(?:^|\.)layer(\d+)\.(\d+)(?:[.#]|$)")


@dataclass(frozen=True)
class Product:
    """A multiplication of a feature map by a gate: which in a module's forward, and which operand is the gate.

    Multiplications are counted as by ``Hooks.multiplied``. ``branch_dim`` is the dimension along which the branches of
    a five-dimensional map lie: (N, M, C, H, W) or, with 0, (M, N, C, H, W).
    """

    path: str
    number: int
    operand: int
    branch_dim: int = 1


@dataclass(frozen=True)
class AttentionBlock:
    """One channel gate of a network.

    Its parts are met at the boundaries of modules where there are such, and else at ``products``.

    Attributes:
        name: module path of the block, "layer2.3.se"; for a gate written inline that of the nearest module with
            parameters, and which gate in it: "layer2.3#0".
        label: as in the papers, "SE_3_4" = stage 3, block 4; the stem is stage 1. Unique in a network.
        kind: "SE", "SK", "ECA", "eSE", "SplitAttn", "GC", "CBAM" or "GE"; of a class that is not known by name "SE", or
            where it weighs branches "SK", or "Highway" if one of them is the module's input.
        channels: C, the channels of the map that the gate scales.
        branches: M, the branches that the gate weighs; 1 where it scales one map.
        kernels: effective kernel size of each branch, (3, 5), or None.
        stage, index: the label's two numbers.
        gate: module path whose output is the gate; None for a gate that no module gives.
        paths: module paths of the branches; () where the gate scales one map, or no modules give them.
        input: module path whose input is the map that the gate scales; None for branches, and for a map that is met
            only at the multiplication.
        output: module path whose output is the scaled map, or the sum of the scaled branches; or None.
        products: the multiplications, one for the whole or one for each branch.
        shortcut: module path of the shortcut that the block's output is added to (its output), or of the residual unit
            where the shortcut is the unit's input; None where no addition follows the block directly.
        shortcut_is_input: which of the two.
        split_input: whether each branch sees other input channels (timm's skresnets), which confounds the choice of
            kernel with the choice of channels.
        squeeze: module path whose input is the squeezed vector z, the mean over space of the block's input (of the sum
            of its branches); None where no module is given it.
        gain: the number that the block's output is multiplied with next (2 in NFNets, whose gates scale by 0 to 2).
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

    @property
    def has_output(self) -> bool:
        """Whether the block's output can be had: always, but for a sum of branches that no module gives."""
        return self.output is not None or self.branches == 1


_found: "weakref.WeakKeyDictionary[nn.Module, tuple]" = weakref.WeakKeyDictionary()


def find_blocks(module: nn.Module, example: torch.Tensor) -> list[AttentionBlock]:
    """The attention blocks that run in a network's forward, in the order in which they run.

    They are found by what they do in one forward of the example (``senet_viz.gates.search``), whatever their class: a
    feature map is multiplied, channel by channel, by what a sigmoid, softmax, tanh or its kin made of the picture.
    Hence a gate that never fires is none (timm's gcresnets carry such decoys).

    Args:
        module: the network; it is run in evaluation mode and left as it was.
        example: (N, 3, H, W), a picture that it could be given; on any device. Where a gated map has one pixel, the
            example is enlarged, for a network that takes it so.

    Raises:
        ValueError: when the network fails on the example, with the part in which it does, or runs a block more than
            once in a forward.

    >>> [block.label for block in find_blocks(senet_viz.models.se_resnet50(), torch.rand(1, 3, 64, 64))][:4]
    ['SE_2_1', 'SE_2_2', 'SE_2_3', 'SE_3_1']
    """
    module = eager(module)
    if example.dim() != 4 or not len(example):
        raise ValueError(f"an example has the shape (N, 3, H, W), N at least 1, not {tuple(example.shape)}")
    example = example[:1]  # one picture, so that a batch cannot be taken for branches
    if any(parameter.is_meta for parameter in module.parameters()):
        raise ValueError(f"{type(module).__name__} has no values, for its parameters are on the meta device: give it "
                         f"some (to_empty, load_state_dict)")
    search, side = _search(module, example), math.sqrt(math.prod(example.shape[-2:]))
    if search.too_small:  # a gate on a map of one pixel looks like any product: look again from nearer
        with suppress(ValueError):  # networks of one input size fail
            search, side = _search(module, nn.functional.interpolate(example, scale_factor=NEARER)), side * NEARER
    groups: dict[frozenset[Use], None] = {}
    for use in search.uses:
        if use.branch_dim or use.summed:
            groups.setdefault(use.added)
    blocks: list[AttentionBlock] = []
    sides: dict[str, float] = {}
    for group in groups:
        block = _block(module, sorted(group, key=search.uses.index), search, {b.name for b in blocks})
        if search.calls[_path(block.name)] > 1:
            raise ValueError(f"{_path(block.name)} ({type(module.get_submodule(_path(block.name))).__name__}) runs its "
                             f"gate {search.calls[_path(block.name)]} times in one forward; the places that share a "
                             f"block cannot be told apart.")
        blocks.append(block)
        sides[block.name] = next(iter(group)).side
    return _label(blocks, sides, side)


def _search(module: nn.Module, example: torch.Tensor) -> Search:
    batch = to_module(example, module).detach().view(example.shape)  # a tensor of our own
    with hooked(module) as hooks, torch.no_grad():
        search = Search(module, hooks, batch)
        try:
            with search:
                module(batch)
        except Exception as error:
            raise ValueError(_failure(module, example, search.stack, error)) from error
    return search


def blocks_of(module: nn.Module, example: torch.Tensor) -> list[AttentionBlock]:
    """``find_blocks``, kept until a part of the network is replaced."""
    module = eager(module)
    signature = tuple(map(id, module.modules()))
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


def _path(name: str) -> str:
    return name.partition("#")[0]


def _block(module: nn.Module, uses: list[Use], search: Search, taken: set[str]) -> AttentionBlock:
    """The block of the uses whose products enter one sum."""
    first, whole = uses[0], frozenset(uses)
    once = {path for path, count in search.calls.items() if count == 1}
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
    given = [(call, output) for call, output in first.activation.outputs
             if first.branch_dim and call.path in once and output.numel() == values.numel()
             and torch.equal(output.reshape(values.shape), values)]
    scales_input = branches == 1 and first.inner.entered is first.map
    named = [call for call, _ in given if next(module.get_submodule(call.path).parameters(), None) is not None]
    output = returned[0].path if returned else None
    if first.inner in returned and first.inner in first.activation.calls and (scales_input or branches > 1):
        name, entry = first.inner.path, first.inner if scales_input else None
    elif named:
        name = named[-1].path
        entry = named[-1] if branches == 1 and named[-1].entered is first.map else None
    else:
        count = sum(_path(other) == first.call.path and "#" in other for other in taken)
        name, entry = f"{first.call.path}#{count}", None
    paths = tuple(part.outputs[-1].path for part in parts if part is not None and part.outputs)
    if len(paths) != branches or len(set(paths)) != branches or not once.issuperset(paths):
        paths = ()
    kernels = tuple(side for path in paths if (side := _kernel(module.get_submodule(path))))
    shortcut, is_input = first.shortcut or (None, False)
    part = module.get_submodule(_path(name))
    highway = branches > 1 and any(use.map is use.inner.entered for use in uses)
    precision = max(1e-3, 4 * torch.finfo(mean.dtype).eps)
    return AttentionBlock(
        name=name, label="", kind="Highway" if highway else kind_of(part, branches), channels=channels,
        branches=branches, kernels=kernels if paths and len(kernels) == branches else None, stage=0, index=0,
        gate=given[0][0].path if given else None, paths=paths, input=entry.path if entry else None,
        output=output if output in once else None,
        products=tuple(Product(use.call.path, use.number, use.operand, use.branch_dim) for use in uses),
        shortcut=shortcut.path if shortcut and shortcut.path in once else None, shortcut_is_input=is_input,
        split_input=bool(paths and getattr(part, "split_input", False)),
        squeeze=next((path for path, vector in uses[-1].vectors if path in once and vector.shape == mean.shape
                      and torch.allclose(vector, mean, rtol=precision, atol=precision)), None),
        gain=first.gain)


def _kernel(branch: nn.Module) -> int | None:
    """Effective side of a branch's convolution: dilation · (kernel − 1) + 1."""
    for part in branch.modules():
        if isinstance(part, nn.Conv2d):
            return part.dilation[0] * (part.kernel_size[0] - 1) + 1
    return None


def _label(blocks: list[AttentionBlock], sides: dict[str, float], input_side: float) -> list[AttentionBlock]:
    labelled: list[AttentionBlock] = []
    counts: dict[int, int] = {}
    taken: dict[str, int] = {}
    for block in blocks:
        unit = UNIT.search(block.name)
        if unit:
            stage, index = int(unit[1]) + 1, int(unit[2]) + 1
        else:
            stage = round(math.log2(input_side / sides[block.name]))
            index = counts[stage] = counts.get(stage, 0) + 1
        label = f"{block.kind}_{stage}_{index}"
        taken[label] = taken.get(label, 0) + 1
        if taken[label] > 1:  # a second gate in one residual unit
            label += f"#{taken[label]}"
        labelled.append(replace(block, label=label, stage=stage, index=index))
    return labelled
