"""Finding channel gates by what they do: one forward, watched function by function and module by module.

A gate is the output of a sigmoid or its kin, computed from the picture, that varies over the channels of a feature map
but not over space, and multiplies it. Where that happens, in a module's forward or inline, of a known class or not,
does not matter.
"""
from collections import Counter, deque
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from .hooks import MULTIPLICATIONS, Hooks, function_name, tensors_in

ACTIVATIONS = {"sigmoid", "hardsigmoid", "expit", "special_expit", "softmax", "tanh"}
# what may also be part of another activation (relu6(x + 3) / 6) or bound a map: only where no gate has begun yet
CLIPS = {"relu", "relu6", "hardtanh", "clamp", "clip", "exp"}
ARITHMETIC = {"add", "sub", "rsub", "mul", "multiply", "rmul", "div", "divide", "true_divide", "rdiv", "neg", "pow",
              "abs", "sqrt", "square", "reciprocal", "maximum", "minimum", "where"}
# another form of the same values, in the same order
FORMS = {"view", "reshape", "flatten", "unflatten", "ravel", "squeeze", "unsqueeze", "contiguous", "clone", "to",
         "float", "half", "bfloat16", "double", "type", "type_as", "detach", "view_as", "expand", "expand_as",
         "broadcast_to", "dropout", "feature_dropout", "dropout2d"}
# the same values elsewhere, more often, or only some of them
MOVES = FORMS | {"permute", "transpose", "movedim", "get", "repeat", "tile", "repeat_interleave", "getitem", "select",
                 "narrow", "chunk", "split", "tensor_split", "unbind", "index_select", "flip", "roll", "cat", "concat",
                 "stack"}
JOINS = {"cat", "concat", "stack"}
MOST_CHANNELS = 8192  # of a squeezed vector: larger inputs of modules are maps, not worth keeping
RECENT = 64  # squeezed vectors kept while a gate is awaited


@dataclass(eq=False)
class Call:
    """One call of a module."""

    path: str
    entered: "Trace | None"  # its first argument
    multiplications: int = 0  # so far, in its forward


@dataclass(eq=False)
class Activation:
    """A place where a gate may begin: the calls around it, and the modules that gave its values as their output."""

    calls: tuple[Call, ...]
    outputs: list[tuple[Call, torch.Tensor]] = field(default_factory=list)


@dataclass(eq=False)
class Trace:
    """What is known of one value that depends on the picture.

    Attributes:
        activation: what it is a rescaled, reshaped, joined or cut form of.
        outputs: the modules whose output it is, innermost first.
        parts: what it was joined from; None for what does not depend on the picture.
        uses: the multiplications by a gate whose product, or sum of products, it is.
        partial: whether it is a cut of a product only.
    """

    activation: Activation | None = None
    outputs: list[Call] = field(default_factory=list)
    parts: tuple["Trace | None", ...] = ()
    uses: frozenset["Use"] = frozenset()
    partial: bool = False


@dataclass(eq=False)
class Use:
    """One multiplication of a feature map by a gate.

    Attributes:
        activation: where the gate began.
        call: the innermost module call around it that has parameters of its own or below.
        inner: the innermost of all.
        number, operand: the multiplication among those in ``call``, and which of its operands is the gate.
        branch_dim: the dimension of a five-dimensional map along which its branches lie, 1 or 0.
        gate: (N, C), or (N, M, C) where the map has a fifth dimension.
        map: what it multiplies; ``mean`` over space, of the gate's shape.
        side: square root of the map's area, in pixels.
        vectors: what small inputs modules had been given shortly before, with the module's path.
        added: all uses whose products enter one sum, this one included.
        summed: whether the product is summed over its branches.
        returned: calls whose output is the product, or a sum of products, innermost first, and of which uses.
        shortcut: the call whose output, or whose input, the output is added to; and whether it is the input.
        gain: the number with which the output is multiplied next.
    """

    activation: Activation
    call: Call
    inner: Call
    number: int
    operand: int
    branch_dim: int
    gate: torch.Tensor
    map: Trace
    mean: torch.Tensor
    side: float
    vectors: tuple[tuple[str, torch.Tensor], ...]
    added: frozenset["Use"] = frozenset()
    summed: bool = False
    returned: list[tuple[Call, frozenset["Use"]]] = field(default_factory=list)
    shortcut: tuple[Call, bool] | None = None
    gain: float = 1.0


class Search(TorchFunctionMode):
    """Watches one forward of a network; afterwards ``uses`` has every multiplication by a gate, in order.

    ``too_small`` says that a map of one pixel was multiplied, which may have been by a gate: nothing tells there.
    ``calls`` counts how often each module ran, and ``stack`` is the path of modules that are running, so that after an
    exception its last entry is where it arose.
    """

    def __init__(self, module: nn.Module, hooks: Hooks, example: torch.Tensor):
        super().__init__()
        self.uses: list[Use] = []
        self.too_small = False
        self.calls: Counter[str] = Counter()
        self.stack: list[Call] = []
        self._traces = WeakTensorKeyDictionary()
        self._traces[example] = Trace()
        self._vectors: deque[tuple[str, torch.Tensor]] = deque(maxlen=RECENT)
        self._with_parameters = {path for path, part in module.named_modules()
                                 if next(part.parameters(), None) is not None}
        for path, _ in module.named_modules():
            hooks.before(path, lambda x, path=path: self._enter(path, x))
            hooks.after(path, lambda _, output, path=path: self._leave(path, output))

    def _enter(self, path: str, x) -> None:
        entered = self._traces.get(x) if isinstance(x, torch.Tensor) else None
        self.calls[path] += 1
        self.stack.append(Call(path, entered))
        if entered is not None and x.dim() > 1 and x[0].numel() <= MOST_CHANNELS:
            self._vectors.append((path, x.flatten(1).clone()))

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
            trace = self._traces[output] = Trace()  # computed where no mode looks: a script, an autograd.Function
        if output.dim() == 4:
            trace.outputs.append(call)
            for use in () if trace.partial else trace.uses:
                use.returned.append((call, trace.uses))
        if trace.activation is not None and output.dim() > 1 and output[0].numel() <= MOST_CHANNELS:
            trace.activation.outputs.append((call, output.detach().clone()))

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = function_name(func)
        if name in MULTIPLICATIONS:
            args = (*args, *(kwargs.pop(key) for key in ("input", "other") if key in kwargs))
            for call in self.stack:
                call.multiplications += 1
        operands = tensors_in((*args, *kwargs.values()))
        traces = [self._traces.get(operand) for operand in operands]
        if not any(traces):
            return func(*args, **kwargs)
        use = self._use(name, operands, traces) if name in MULTIPLICATIONS else None
        sizes = [operand.numel() for operand in operands]  # before an operation in place
        activation = self._activation(name, operands, traces, args, kwargs)
        result = func(*args, **kwargs)
        for output in tensors_in(result if isinstance(result, (list, tuple)) else (result,)):
            trace = self._follow(name, operands, traces, sizes, output, args, kwargs)
            if name in ACTIVATIONS or name in CLIPS:
                trace.activation = activation
            if use is not None:
                trace.uses = frozenset([use])
            self._traces[output] = trace
        return result

    def _activation(self, name, operands, traces, args, kwargs) -> Activation | None:
        begun = traces[0].activation if traces[0] is not None else None
        if name in ACTIVATIONS:
            return Activation(tuple(self.stack))
        if name not in CLIPS or begun is not None:
            return begun
        if name in ("clamp", "clip"):
            low = args[1] if len(args) > 1 else kwargs.get("min")
            high = args[2] if len(args) > 2 else kwargs.get("max")
            if isinstance(low, torch.Tensor) or not (low == 0 or (low is not None and high is not None)):
                return None  # against a division by zero: a normalisation
        return Activation(tuple(self.stack))

    def _use(self, name, operands, traces) -> Use | None:
        """The multiplication of a map by a gate, if it is one."""
        if len(operands) != 2 or None in traces or any(operand.is_complex() for operand in operands):
            return None
        shape = torch.broadcast_shapes(*(operand.shape for operand in operands))
        if len(shape) not in (4, 5) or shape[-1] * shape[-2] == 1:
            self.too_small |= len(shape) == 4 and any(trace.activation for trace in traces)
            return None
        # the example is one picture: another first dimension are branches, or groups folded into the batch
        branch_dim = 0 if len(shape) == 5 and shape[0] > 1 else 1
        if shape[1 if branch_dim == 0 else 0] != 1:
            return None
        for operand, (gate, trace) in enumerate(zip(operands, traces)):
            other = operands[1 - operand]
            if trace.activation is None or other.shape != shape:
                continue
            values, mean = over_channels(gate, shape), other.mean((-2, -1))
            if values is None:
                continue
            if branch_dim == 0:
                values, mean = values.transpose(0, 1), mean.transpose(0, 1)
            call = next(call for call in reversed(self.stack) if call.path in self._with_parameters or not call.path)
            use = Use(
                activation=trace.activation, call=call, inner=self.stack[-1], number=call.multiplications - 1,
                operand=operand, branch_dim=branch_dim, gate=values.detach().clone(), map=traces[1 - operand],
                mean=mean, side=(shape[-1] * shape[-2]) ** 0.5, vectors=tuple(self._vectors))
            use.added = frozenset([use])
            self.uses.append(use)
            return use
        return None

    def _follow(self, name, operands, traces, sizes, output, args, kwargs) -> Trace:
        """What is known of a function's result."""
        first = traces[0]
        if name in MOVES:
            if first is not None and output.numel() == sizes[0] and (name in FORMS or _only_new_axes(name, args)):
                return first  # shares what becomes known of it
            known = [trace for trace in traces if trace is not None]
            trace = Trace(activation=next((t.activation for t in known if t.activation), None))
            if name in JOINS:
                trace.parts = tuple(part for t in traces for part in (t.parts if t and t.parts else (t,)))
            elif first is not None:
                trace.uses, trace.partial = first.uses, True
            return trace
        if name == "interpolate" and operands[0].shape[-2:].numel() == 1:
            return Trace(activation=first.activation if first else None)
        trace = Trace()
        if name in ARITHMETIC:
            trace.activation = next((t.activation for t, size in zip(traces, sizes)
                                     if t is not None and t.activation and size == output.numel()), None)
        numbers = [value for value in args if isinstance(value, (int, float)) and not isinstance(value, bool)]
        if name == "add" and len(operands) == 2 and None not in traces and "alpha" not in kwargs:
            trace.uses = self._added(*traces)
        elif name == "add" and numbers == [0] and first is not None:  # how Python's sum begins
            trace.uses = first.uses
        elif name == "sum" and first is not None and len(first.uses) == 1:
            use, = first.uses
            dim = args[1] if len(args) > 1 else kwargs.get("dim")
            dim = dim[0] if isinstance(dim, (tuple, list)) and len(dim) == 1 else dim
            if use.gate.dim() == 3 and dim in (use.branch_dim, use.branch_dim - 5):
                use.summed = True
                trace.uses = first.uses
        elif name in MULTIPLICATIONS and len(operands) == 1 and numbers and first is not None:
            if numbers == [1]:
                trace.uses = first.uses
            else:
                for use in first.uses:
                    use.gain = float(numbers[0])
        return trace

    def _added(self, a: Trace, b: Trace) -> frozenset[Use]:
        """The sum of two values: of two branches of one gate, or of a block's output and its shortcut."""
        if a.uses and b.uses and {use.activation for use in a.uses} == {use.activation for use in b.uses}:
            uses = a.uses | b.uses
            for use in uses:
                use.added = use.added | uses
                use.summed = use.summed or (a.uses == b.uses)
            return uses
        for ours, other in ((a, b), (b, a)):
            for use in ours.uses:
                if use.shortcut is None:
                    inner = self.stack[-1]
                    if other is inner.entered:
                        use.shortcut = (inner, True)
                    elif other.outputs:
                        use.shortcut = (other.outputs[-1], False)
        return frozenset()


def _only_new_axes(name: str, args) -> bool:
    """Whether an index such as ``x[:, :, None, None]`` takes all values."""
    if name != "getitem":
        return False
    index = args[1] if isinstance(args[1], tuple) else (args[1],)
    return all(part is None or part is ... or (isinstance(part, slice) and part == slice(None)) for part in index)


def over_channels(gate: torch.Tensor, shape: torch.Size) -> torch.Tensor | None:
    """The gate's values over channels, (N, C) or (N, M, C), for a map of a shape; None where it varies over space.

    Nor is it a gate of channels where one value serves them all.
    """
    gate = gate.expand(shape)
    if any(size > 1 and stride == 0 for size, stride in zip(shape[1:-2], gate.stride()[1:-2])):
        return None
    if len(shape[1:-2]) and shape[1:-2].numel() == 1:
        return None
    corner = gate[..., :1, :1]
    flat = all(size == 1 or stride == 0 for size, stride in zip(shape[-2:], gate.stride()[-2:]))
    if not flat and not torch.equal(gate, corner.expand(shape)):
        return None
    return corner[..., 0, 0]
