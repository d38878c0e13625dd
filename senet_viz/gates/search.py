"""Finding channel gates by what they do: one forward, watched function by function and module by module.

A gate begins without spatial extent: an activation, or a learned layer, of a vector or of a map of one cell that was
computed from the picture. It multiplies a feature map, channel by channel, alike at every place: broadcast, repeated or
enlarged. Where that happens, in a module's forward or inline, of a known class or not, does not matter; nor do values.
"""
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from .hooks import MULTIPLICATIONS, Hooks, function_name, product_of, tensors_in
from .tracing import (
    CONVOLUTIONS,
    MOVES,
    WRITES,
    Beginning,
    Call,
    Fold,
    Trace,
    followed,
    one_cell,
    over_channels,
    repeated,
    space_of,
    version_of,
)

MOST_CHANNELS = 8192  # of a squeezed vector: larger inputs of modules are maps, not worth keeping
RECENT = 64  # squeezed vectors kept while a gate is awaited


@dataclass(eq=False)
class Use:
    """One multiplication of a feature map by a gate.

    Attributes:
        begun: where the gate began; ``changes``, the operations since then.
        call: the innermost module call around it that has parameters of its own or below.
        inner: the innermost of all.
        number, operand: the multiplication among those in ``call``, and which of its operands is the gate.
        space: dimensions of the map's space, its last ones.
        branch_dim: the dimension along which the branches of a map with one more dimension lie, 1 or 0.
        gate: (R, C), or (R, M, C) where the map has a dimension more; R the rows of one picture.
        map: what it multiplies; ``mean`` over space, of the gate's shape.
        fold: of the map's first dimension.
        extent: of the map in space, in pixels.
        given: calls whose first argument is the map, as it was then.
        vectors: what small inputs modules had been given shortly before, with the call.
        added: all uses whose products enter one sum, this one included.
        summed: whether the product is summed over its branches.
        returned: calls whose output is the product, or a sum of products, innermost first, and of which uses.
        shortcut: the call whose output, or whose input, the output is added to; and whether it is the input.
        gain: the number above 1 with which the output is multiplied next; else 1.
    """

    begun: Beginning
    changes: int
    call: Call
    inner: Call
    number: int
    operand: int
    space: int
    branch_dim: int
    gate: torch.Tensor
    map: Trace
    mean: torch.Tensor
    fold: Fold | None
    extent: torch.Size
    given: frozenset[Call]
    vectors: tuple[tuple[Call, torch.Tensor], ...]
    added: frozenset["Use"] = frozenset()
    summed: bool = False
    returned: list[tuple[Call, frozenset["Use"]]] = field(default_factory=list)
    shortcut: tuple[Call, bool] | None = None
    gain: float = 1.0


class Search(TorchFunctionMode):
    """Watches one forward of a network on one picture; ``uses`` then has every multiplication by a gate, in order.

    ``too_small`` says that a map of one pixel was multiplied, which may have been by a gate: nothing tells there.
    ``groups`` has the modules in which a gate scales groups of channels that lie in the batch.
    ``scripts`` has those that are TorchScript and were given a map: what is in them is not seen.
    ``whole`` is the picture's extent, which those of maps are compared with.
    ``calls`` counts how often each module ran, and ``stack`` is the path of modules that are running, so that after an
    exception its last entry is where it arose.
    """

    def __init__(self, module: nn.Module, hooks: Hooks, example: torch.Tensor):
        super().__init__()
        self.uses: list[Use] = []
        self.too_small = False
        self.groups: list[str] = []
        self.scripts: list[str] = []
        self.calls: Counter[str] = Counter()
        self.stack: list[Call] = []
        self._example = example.shape
        self._convolved: list[torch.Size] = []  # extents of the picture, as convolutions were given it
        self._traces = WeakTensorKeyDictionary()
        self._traces[example] = Trace(example.dim() - 2, wide=True, picture=True)
        self._vectors: deque[tuple[Call, torch.Tensor]] = deque(maxlen=RECENT)
        self._with_parameters: set[str] = set()
        hooks.after_scripts(self._script)
        for path, part in watched_parts(module):
            if next(part.parameters(), None) is not None:
                self._with_parameters.add(path)
            hooks.before(path, partial(self._hooked, self._enter, path))
            hooks.after(path, lambda _, output, path=path: self._hooked(self._leave, path, output))

    @property
    def whole(self) -> torch.Size:
        """The extent of the picture, in pixels, as the network looks at it: detectors resize what they are given."""
        return max(self._convolved, key=torch.Size.numel, default=self._example[2:])

    @staticmethod
    def _hooked(function: Callable, path: str, value) -> None:
        """What a hook asks of a tensor is not the network's doing, and would be half of what is looked at."""
        with torch._C.DisableTorchFunction():
            function(path, value)

    def _enter(self, path: str, x) -> None:
        entered = self._traces.get(x) if isinstance(x, torch.Tensor) else None
        call = Call(path, self.calls[path], entered)
        if entered is not None:
            call.argument, call.version = weakref.ref(x), version_of(x)
        self.calls[path] += 1
        self.stack.append(call)
        if entered is not None and x.dim() > 1 and x[0].numel() <= MOST_CHANNELS:
            self._vectors.append((call, x.flatten(1).clone()))

    def _leave(self, path: str, output) -> None:
        call = self.stack.pop()
        while call.path != path:  # left by an exception that somebody caught
            call = self.stack.pop()
        if not isinstance(output, torch.Tensor):
            return
        trace = self._traces.get(output)
        if trace is None:
            if call.entered is None:
                return
            # computed where no mode looks: a script, an autograd.Function
            space = call.entered.space
            trace = self._traces[output] = Trace(space, not one_cell(output.shape, space), fold=call.entered.fold)
        if output.dim() == space_of(trace, output.shape) + 2:
            trace.outputs.append(call)
            for use in () if trace.whole else trace.uses:
                use.returned.append((call, trace.uses))
        handed_on = call.argument is not None and call.argument() is output  # by an identity: others hold it as well
        if trace.begun is not None and not handed_on and output.dim() > 1 and output[0].numel() <= MOST_CHANNELS:
            trace.begun.outputs.append((call, output.detach().clone(), trace.changes))

    def _script(self, path: str, given: tuple, output) -> None:
        """A script gives a map of what it is given; what it does with it no mode sees."""
        traces = [self._traces.get(tensor) for tensor in tensors_in(given)]
        if any(trace is not None and trace.wide for trace in traces):
            self.scripts.append(path)
        for tensor in tensors_in([output]):
            known = next((trace for trace in traces if trace is not None), None)
            if known is not None:
                self._traces[tensor] = Trace(known.space, not one_cell(tensor.shape, known.space), fold=known.fold)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = function_name(func)
        if (product := product_of(func, args)) is not None:
            with self:
                return product()
        if name in MULTIPLICATIONS:
            args = (*args, *(kwargs.pop(key) for key in ("input", "other") if key in kwargs))
            for call in self.stack:
                call.multiplications += 1
        operands = tensors_in((*args, *kwargs.values()))
        traces = [self._traces.get(operand) for operand in operands]
        if not any(traces):
            return func(*args, **kwargs)
        if name in CONVOLUTIONS and traces[0] is not None and traces[0].picture:
            self._look(operands[0].shape)
        use = self._use(name, operands, traces) if name in MULTIPLICATIONS else None
        shapes = [operand.shape for operand in operands]  # before an operation in place
        result = func(*args, **kwargs)
        for output in tensors_in(result if isinstance(result, (list, tuple)) else (result,)):
            trace = followed(name, traces, shapes, output, args, kwargs, self.stack)
            if trace is None:
                continue
            if use is not None:
                trace.uses = frozenset([use])
            elif trace is not traces[0] and name not in MOVES:
                self._after_a_use(name, trace, traces, args, kwargs)
            self._traces[output] = trace
        if name in WRITES and traces[0] is None:
            self._written(operands[0], [trace for trace in traces if trace is not None])
        return result

    def _look(self, shape: torch.Size) -> None:
        """A convolution is given the picture: resized, or a signal (N, T, C) turned."""
        space = len(self._example) - 2
        if space == 1 or shape[1] <= self._example[1]:  # else its pixels are channels
            self._convolved.append(shape[2:][-space:])

    def _written(self, target: torch.Tensor, known: list[Trace]) -> None:
        """The picture, or a map, was written into a tensor that knew nothing of it, as detectors fill their batch."""
        whole = target if target._base is None else target._base
        if whole not in self._traces:
            picture = all(trace.picture for trace in known)
            space = max(1, whole.dim() - 2) if picture else known[0].space
            self._traces[whole] = Trace(space, any(trace.wide for trace in known), picture=picture)

    def _use(self, name, operands, traces) -> Use | None:
        """The multiplication of a map by a gate, if it is one."""
        if len(operands) != 2 or None in traces or any(operand.is_complex() for operand in operands):
            return None
        shape = torch.broadcast_shapes(*(operand.shape for operand in operands))
        for operand, (gate, trace) in enumerate(zip(operands, traces)):
            other, scaled = operands[1 - operand], traces[1 - operand]
            space = space_of(scaled, shape)
            if trace.begun is None or other.shape != shape or len(shape) not in (space + 2, space + 3):
                continue
            if shape[-space:].numel() == 1:
                self.too_small |= len(shape) == space + 2
                continue
            if not scaled.wide:
                continue
            if len(shape) == 3 and scaled.time == 1:  # (N, T, C): what lies over the second dimension is a gate of time
                continue
            values = over_channels(gate, shape, space, trace.enlarged)
            if values is None or repeated(other.stride(), shape, space):
                continue
            fold = scaled.fold if shape[0] > 1 else None
            if fold is not None and fold.channels:
                self.groups.append(self.stack[-1].path)
                return None
            rows = fold.rows if fold is not None else 1
            branch_dim = 0 if len(shape) == space + 3 and shape[0] != rows else 1
            if shape[1 if branch_dim == 0 else 0] != rows:
                return None  # of unknown origin
            mean = other.flatten(-space).mean(-1)
            if branch_dim == 0:
                values, mean = values.transpose(0, 1), mean.transpose(0, 1)
            call = next(call for call in reversed(self.stack) if call.path in self._with_parameters or not call.path)
            calls = [self.stack[-1], *(output[0] for output in trace.begun.outputs)]
            use = Use(
                begun=trace.begun, changes=trace.changes, call=call, inner=self.stack[-1],
                number=call.multiplications - 1, operand=operand, space=space, branch_dim=branch_dim,
                gate=values.detach().clone(), map=scaled, mean=mean, fold=fold,
                extent=shape[-space:],
                given=frozenset(call for call in calls if call.entered is scaled and call.unwritten()),
                vectors=tuple(self._vectors))
            use.added = frozenset([use])
            self.uses.append(use)
            return use
        return None

    def _after_a_use(self, name, trace, traces, args, kwargs) -> None:
        """What becomes of a product: it is added, summed over branches, or multiplied with a number."""
        first = traces[0]
        numbers = [value for value in args if isinstance(value, (int, float)) and not isinstance(value, bool)]
        if name == "add" and len(traces) == 2 and None not in traces and "alpha" not in kwargs:
            trace.uses = self._added(*traces)
        elif name == "add" and numbers == [0] and first is not None:  # how Python's sum begins
            trace.uses = first.uses
        elif name == "sum" and first is not None and len(first.uses) == 1:
            use, = first.uses
            dim = args[1] if len(args) > 1 else kwargs.get("dim")
            dim = dim[0] if isinstance(dim, (tuple, list)) and len(dim) == 1 else dim
            if use.gate.dim() == 3 and dim in (use.branch_dim, use.branch_dim - 3 - use.space):
                use.summed = True
                trace.uses = first.uses
        elif name in MULTIPLICATIONS and len(traces) == 1 and numbers and first is not None:
            if numbers == [1]:
                trace.uses = first.uses
            elif numbers[0] > 1:  # a smaller one scales a residual branch down, with a gate or without
                for use in first.uses:
                    use.gain = float(numbers[0])

    def _added(self, a: Trace, b: Trace) -> frozenset[Use]:
        """The sum of two values: of two branches of one gate, or of a block's output and its shortcut."""
        if a.uses and b.uses and {use.begun for use in a.uses} == {use.begun for use in b.uses}:
            uses = a.uses | b.uses
            for use in uses:
                use.added = use.added | uses
                use.summed = use.summed or (a.uses == b.uses)
            return uses
        inner = self.stack[-1]
        for ours, other in ((a, b), (b, a)):
            for use in ours.uses:
                if use.shortcut is None and not self._is_shortcut(ours, other):
                    if other is inner.entered:
                        use.shortcut = (inner, True)
                    elif other.outputs:
                        use.shortcut = (other.outputs[-1], False)
        return frozenset()

    def _is_shortcut(self, ours: Trace, other: Trace) -> bool:
        """Whether a unit that is running was given the one value and made the other of it."""
        return bool(other.outputs) and any(
            call.entered is ours and f"{other.outputs[0].path}.".startswith(f"{call.path}.") for call in self.stack)


def watched_parts(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules that can be hooked, with their paths, each once: all, but for scripts and what is in them.

    Of a part compiled in place it is the wrapper, under whose path the part's own parts are found as well.
    """
    for path, part in module.named_modules():
        path = path.replace("._orig_mod.", ".")
        if not path.endswith("._orig_mod") and not isinstance(part, torch.jit.ScriptModule):
            yield path, part
