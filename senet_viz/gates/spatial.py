"""Gates that vary over space: coordinate attention, and kernels selected place by place. Looked for only where asked.

Coordinate attention (Hou et al., https://arxiv.org/abs/2103.02907) scales each channel by a gate along the height and
one along the width. A large selective kernel (Li et al., LSKNet, https://arxiv.org/abs/2303.09030, Sec. 3.3) weighs its
branches by maps, the same for all channels. Neither is a channel gate: of both the mean over space stands for the gate,
and the map is kept beside it.
"""
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from .hooks import MULTIPLICATIONS, Hooks, function_name, tensors_in
from .search import Search
from .tracing import ACTIVATIONS, ARITHMETIC, MOVES, Call, Fold


@dataclass(eq=False)
class Start:
    """An activation in which a gate began; or, if ``crossed``, a product of gates that lie along different sides."""

    crossed: bool = False


@dataclass(eq=False)
class SpatialUse:
    """One multiplication of a map by a gate that varies over space.

    Attributes:
        begun: where the gate began.
        kind: "Coord" where it varies over channels and some dimensions of space, "LSK" where over space alone.
        inner: the innermost module call around it; ``number``, the multiplication in it; ``operand``, the gate.
        channels, extent, space: of the map: its channels, its extent in space, in pixels, and its dimensions.
        position: how many channel gates were multiplied before.
        fold: of the map's first dimension.
        with_: all uses of one block, in order, this one included.
    """

    begun: Start
    kind: str
    inner: Call
    number: int
    operand: int
    channels: int
    extent: torch.Size
    space: int
    position: int
    fold: Fold | None
    with_: list["SpatialUse"] = field(default_factory=list)


class SpatialSearch(Search):
    """A search whose ``spatial`` has, beside the channel gates, the uses of each gate that varies over space."""

    def __init__(self, module: nn.Module, hooks: Hooks, example: torch.Tensor):
        super().__init__(module, hooks, example)
        self._uses: list[SpatialUse] = []
        self._beginnings = WeakTensorKeyDictionary()  # gate → where it began
        self._products = WeakTensorKeyDictionary()  # product, or sum of products → its uses

    @property
    def spatial(self) -> list[list[SpatialUse]]:
        """The uses of each block: one after the other for coordinate attention, one for each branch of a kernel.

        A single map that scales all channels alike is spatial attention, and none of these.
        """
        groups = {id(use.with_): use.with_ for use in self._uses}
        return [uses for uses in groups.values() if len(uses) > 1 or uses[0].kind == "Coord"]

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = function_name(func)
        operands = tensors_in((*args, *(kwargs or {}).values()))
        product = name in MULTIPLICATIONS and len(operands) == 2
        use = self._spatial_use(operands) if product else None
        crossed = product and self._crossed(operands)
        shapes = [operand.shape for operand in operands]
        begun = [self._beginnings.get(operand) for operand in operands]
        products = [self._products.get(operand) for operand in operands]
        result = super().__torch_function__(func, types, args, kwargs)
        for output in tensors_in(result if isinstance(result, (list, tuple)) else (result,)):
            trace = self._traces.get(output)
            if trace is None or not trace.wide:
                continue
            if name in ACTIVATIONS or crossed:
                self._beginnings[output] = Start(crossed)
            elif name in MOVES or name in ARITHMETIC:
                kept = [start for start, shape in zip(begun, shapes)
                        if start is not None and (name in MOVES or shape.numel() == output.numel())]
                if kept and use is None:
                    self._beginnings[output] = kept[0]
            if use is not None:
                self._products[output] = use.with_
            elif name == "add" and len(products) == 2 and None not in products:
                self._products[output] = self._joined(*products)
        return result

    @staticmethod
    def _joined(first: list[SpatialUse], second: list[SpatialUse]) -> list[SpatialUse]:
        """The branches of one kernel enter one sum."""
        if first is second or {use.begun for use in first} != {use.begun for use in second} or first[0].kind != "LSK":
            return first
        first += second
        for use in second:
            use.with_ = first
        return first

    def _spatial_use(self, operands: list[torch.Tensor]) -> SpatialUse | None:
        shape = torch.broadcast_shapes(*(operand.shape for operand in operands))
        for operand, gate in enumerate(operands):
            other = operands[1 - operand]
            begun, scaled = self._beginnings.get(gate), self._traces.get(other)
            if begun is None or scaled is None or other.shape != shape or len(shape) != scaled.space + 2:
                continue
            if not scaled.wide or other.stride(1) == 0:
                continue
            kind = self._kind(begun, gate, shape, scaled.space)
            if kind is None:
                continue
            inner = self.stack[-1]
            fold = scaled.fold if shape[0] > 1 else None
            if fold is not None and fold.channels:
                self.groups.append(inner.path)
                return None
            use = SpatialUse(begun, kind, inner, inner.multiplications, operand, shape[1],
                             shape[2:], scaled.space, len(self.uses), fold)
            before = self._products.get(other)
            if kind == "Coord" and before is not None and before[-1].kind == "Coord" and before[-1].inner is inner:
                use.with_ = before  # along another dimension
            use.with_.append(use)
            self._uses.append(use)
            return use
        return None

    def _crossed(self, operands: list[torch.Tensor]) -> bool:
        """Whether gates along different sides are multiplied with each other, before they scale a map."""
        shape = torch.broadcast_shapes(*(operand.shape for operand in operands))
        return all((begun := self._beginnings.get(gate)) is not None
                   and self._kind(begun, gate, shape, len(shape) - 2) == "Coord" for gate in operands)

    @staticmethod
    def _kind(begun: Start, gate: torch.Tensor, shape: torch.Size, space: int) -> str | None:
        """What a gate is to a map of a shape, by the dimensions along which it is the same."""
        if shape[1] == 1:
            return None
        alike = [size > 1 and stride == 0 for size, stride in zip(shape, gate.expand(shape).stride())]
        along = sum(alike[2:])
        if alike[1]:
            return "LSK" if not along else None
        return "Coord" if 0 < along < space or (begun.crossed and not along) else None
