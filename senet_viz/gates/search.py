"""Finding channel gates by what they do: one forward, watched function by function and module by module.

A gate begins without spatial extent: an activation, or a learned layer, of a vector or of a map of one cell that was
computed from the picture. It multiplies a feature map, channel by channel, alike at every place: broadcast, repeated or
enlarged. Where that happens, in a module's forward or inline, of a known class or not, does not matter; nor do values.
"""
import weakref
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from .hooks import MULTIPLICATIONS, Hooks, function_name, product_of, tensors_in

ACTIVATIONS = {"sigmoid", "hardsigmoid", "expit", "special_expit", "softmax", "gumbel_softmax", "tanh", "glu"}
# what may also be part of another activation, as in relu6(x + 3) / 6: only where no activation has been yet
PARTS = {"relu", "relu6", "hardtanh", "clamp", "clip", "exp", "silu", "gelu", "elu", "celu", "selu", "leaky_relu",
         "softplus", "softsign", "hardswish", "mish", "prelu"}
LEARNED = {"linear", "addmm", "conv1d", "conv2d", "conv3d"}  # a gate may begin there as well, without an activation
NORMS = {"batch_norm", "layer_norm", "group_norm"}  # which may follow such a layer
ARITHMETIC = {"add", "sub", "rsub", "mul", "multiply", "rmul", "div", "divide", "true_divide", "rdiv", "neg", "pow",
              "abs", "sqrt", "square", "reciprocal", "maximum", "minimum", "where", "gt", "ge", "lt", "le"}
# another form of the same values, in the same order
FORMS = {"view", "reshape", "flatten", "unflatten", "ravel", "squeeze", "unsqueeze", "contiguous", "clone", "to",
         "float", "half", "bfloat16", "double", "type", "type_as", "detach", "view_as", "expand", "expand_as",
         "broadcast_to", "dropout", "feature_dropout", "dropout1d", "dropout2d", "dropout3d"}
# the same values elsewhere, more often, or only some of them
MOVES = FORMS | {"permute", "transpose", "movedim", "get", "repeat", "tile", "repeat_interleave", "getitem", "select",
                 "narrow", "chunk", "split", "tensor_split", "unbind", "index_select", "flip", "roll", "cat", "concat",
                 "stack"}
JOINS = {"cat", "concat", "stack"}
TURNS = {"permute", "transpose", "movedim"}
# new values, of another's shape or type only
NEW = {f"new_{kind}" for kind in ("empty", "full", "ones", "tensor", "zeros")} | {
    f"{kind}_like" for kind in ("empty", "full", "ones", "zeros", "rand", "randn")}
WRITES = {"copy", "setitem"}
COPIES = {"expand", "expand_as", "broadcast_to", "repeat", "tile", "repeat_interleave", "interpolate"}
REDUCTIONS = {"mean", "sum", "amax", "max", "std", "var", "norm", "vector_norm", "logsumexp"}
POINTWISE = ACTIVATIONS | PARTS | ARITHMETIC | {"batch_norm"}
MOST_CHANNELS = 8192  # of a squeezed vector: larger inputs of modules are maps, not worth keeping
RECENT = 64  # squeezed vectors kept while a gate is awaited


@dataclass(eq=False)
class Call:
    """One call of a module."""

    path: str
    number: int  # among the module's own calls
    entered: "Trace | None"  # its first argument
    argument: "weakref.ref[torch.Tensor] | None" = None
    version: int = 0  # of the argument, when the call began
    multiplications: int = 0  # so far, in its forward

    def unwritten(self) -> bool:
        """Whether the first argument is what it was when the call began."""
        tensor = self.argument() if self.argument else None
        return tensor is None or _version(tensor) == self.version


@dataclass(eq=False)
class Beginning:
    """A place where a gate may begin: the calls around it, and the modules that gave its values as their output.

    ``outputs`` has their calls, the values, and how many operations had changed these since the beginning.
    """

    calls: tuple[Call, ...]
    learned: bool = False  # a learned layer, without an activation
    outputs: list[tuple[Call, torch.Tensor, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Fold:
    """How a first dimension came to be longer than the batch.

    Attributes:
        rows: for each picture.
        together: whether a picture's rows lie side by side, or each copy of the batch does.
        channels: whether groups of channels were folded in, and not frames or copies of the picture.
    """

    rows: int
    together: bool
    channels: bool


@dataclass(eq=False)
class Trace:
    """What is known of one value that depends on the picture.

    Attributes:
        space: dimensions of the space of the maps that it comes from: 1 of signals, 2 of pictures, 3 of volumes.
        wide: whether it has an extent in space, and may differ from place to place.
        enlarged: of what has none: whether it was repeated over space.
        begun: where a gate began whose rescaled, reshaped, joined or cut form it is.
        changes: operations since then that changed values.
        picture: whether it is the picture itself, moved or rescaled.
        fold: what its first dimension holds beside the batch; also while that is unfolded, as (N, T, …).
        outputs: the modules whose output it is, innermost first.
        parts: what it was joined from; None for what does not depend on the picture.
        uses: the multiplications by a gate whose product, or sum of products, it is.
        whole: of a cut, or another arrangement, of a value: that value.
    """

    space: int
    wide: bool
    enlarged: bool = False
    begun: Beginning | None = None
    changes: int = 0
    picture: bool = False
    fold: Fold | None = None
    outputs: list[Call] = field(default_factory=list)
    parts: tuple["Trace | None", ...] = ()
    uses: frozenset["Use"] = frozenset()
    whole: "Trace | None" = None


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
        side: of the map, in pixels: the root of its area, or of its volume.
        given: calls whose first argument is the map, as it was then.
        vectors: what small inputs modules had been given shortly before, with the call.
        added: all uses whose products enter one sum, this one included.
        summed: whether the product is summed over its branches.
        returned: calls whose output is the product, or a sum of products, innermost first, and of which uses.
        shortcut: the call whose output, or whose input, the output is added to; and whether it is the input.
        gain: the number with which the output is multiplied next.
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
    side: float
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
    ``calls`` counts how often each module ran, and ``stack`` is the path of modules that are running, so that after an
    exception its last entry is where it arose.
    """

    def __init__(self, module: nn.Module, hooks: Hooks, example: torch.Tensor):
        super().__init__()
        self.uses: list[Use] = []
        self.too_small = False
        self.groups: list[str] = []
        self.calls: Counter[str] = Counter()
        self.stack: list[Call] = []
        self._traces = WeakTensorKeyDictionary()
        self._traces[example] = Trace(example.dim() - 2, wide=True, picture=True)
        self._vectors: deque[tuple[Call, torch.Tensor]] = deque(maxlen=RECENT)
        self._with_parameters: set[str] = set()
        hooks.after_scripts(self._script)
        for path, part in watched_parts(module):
            if next(part.parameters(), None) is not None:
                self._with_parameters.add(path)
            hooks.before(path, lambda x, path=path: self._enter(path, x))
            hooks.after(path, lambda _, output, path=path: self._leave(path, output))

    def _enter(self, path: str, x) -> None:
        entered = self._traces.get(x) if isinstance(x, torch.Tensor) else None
        call = Call(path, self.calls[path], entered)
        if entered is not None:
            call.argument, call.version = weakref.ref(x), _version(x)
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
            trace = self._traces[output] = Trace(space, not _one_cell(output.shape, space), fold=call.entered.fold)
        if output.dim() == _space(trace, output.shape) + 2:
            trace.outputs.append(call)
            for use in () if trace.whole else trace.uses:
                use.returned.append((call, trace.uses))
        handed_on = call.argument is not None and call.argument() is output  # by an identity: others hold it as well
        if trace.begun is not None and not handed_on and output.dim() > 1 and output[0].numel() <= MOST_CHANNELS:
            trace.begun.outputs.append((call, output.detach().clone(), trace.changes))

    def _script(self, given: tuple, output) -> None:
        """A script gives a map of what it is given; what it does with it no mode sees."""
        traces = [self._traces.get(tensor) for tensor in tensors_in(given)]
        for tensor in tensors_in([output]):
            known = next((trace for trace in traces if trace is not None), None)
            if known is not None:
                self._traces[tensor] = Trace(known.space, not _one_cell(tensor.shape, known.space), fold=known.fold)

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
        use = self._use(name, operands, traces) if name in MULTIPLICATIONS else None
        shapes = [operand.shape for operand in operands]  # before an operation in place
        result = func(*args, **kwargs)
        for output in tensors_in(result if isinstance(result, (list, tuple)) else (result,)):
            trace = self._follow(name, traces, shapes, output, args, kwargs)
            if trace is not None:
                if use is not None:
                    trace.uses = frozenset([use])
                self._traces[output] = trace
        if name in WRITES and traces[0] is None:
            self._written(operands[0], [trace for trace in traces if trace is not None])
        return result

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
            space = _space(scaled, shape)
            if trace.begun is None or other.shape != shape or len(shape) not in (space + 2, space + 3):
                continue
            if shape[-space:].numel() == 1:
                self.too_small |= len(shape) == space + 2
                continue
            if not scaled.wide:
                continue
            values = over_channels(gate, shape, space, trace.enlarged)
            if values is None or _repeated(other.stride(), shape, space):
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
                side=shape[-space:].numel() ** (1 / space),
                given=frozenset(call for call in calls if call.entered is scaled and call.unwritten()),
                vectors=tuple(self._vectors))
            use.added = frozenset([use])
            self.uses.append(use)
            return use
        return None

    def _follow(self, name, traces, shapes, output, args, kwargs) -> Trace | None:
        """What is known of a function's result; None where it does not depend on the picture."""
        if name in MOVES and name not in JOINS:  # another operand only says how
            traces, shapes = traces[:1], shapes[:1]
        known = [trace for trace in traces if trace is not None]
        if not known or name in NEW:
            return None
        first = traces[0]
        fold, space = _folded(name, known, shapes[0], output.shape), max(trace.space for trace in known)
        picture = all(t.picture for t in known) and name in MOVES | ARITHMETIC | {"interpolate"}
        if picture and len(output.shape) > 2:
            space = len(output.shape) - 2  # frames of a clip
        wide = any(trace.wide for trace in known) and not _one_cell(output.shape, space) and not (
            name in REDUCTIONS and output.shape == shapes[0][:-space])
        enlarged = not wide and _enlarged(name, traces, shapes, output.shape, space)
        if (name in FORMS or _only_new_axes(name, args)) and output.numel() == shapes[0].numel() and (
                first.space, first.wide, first.enlarged, first.fold) == (space, wide, enlarged, fold):
            return first  # shares what becomes known of it
        trace = Trace(space, wide, enlarged, picture=picture, fold=fold)
        if not wide:
            trace.begun, trace.changes = self._begun(name, traces, shapes, output, args, kwargs)
        if name in JOINS:
            trace.parts = tuple(part for t in traces for part in (t.parts if t and t.parts else (t,)))
        elif name in MOVES:
            trace.uses, trace.whole = first.uses, first.whole or first
        else:
            self._after_a_use(name, trace, traces, args, kwargs)
        return trace

    def _begun(self, name, traces, shapes, output, args, kwargs) -> tuple[Beginning | None, int]:
        """Where a gate began whose form a value without extent in space is, and how often it was changed since."""
        first = traces[0]
        begun, changes = (first.begun, first.changes) if first is not None else (None, 0)
        started = Beginning(tuple(self.stack)), 0
        if any(trace is not None and trace.wide for trace in traces):
            return None, 0
        if name in ACTIVATIONS:
            return started
        if name in MOVES or name == "interpolate":
            return next(((t.begun, t.changes) for t in traces if t is not None and t.begun), (None, 0))
        if name in PARTS and (begun is None or begun.learned):
            if name in ("clamp", "clip"):
                low = args[1] if len(args) > 1 else kwargs.get("min")
                high = args[2] if len(args) > 2 else kwargs.get("max")
                if isinstance(low, torch.Tensor) or not (low == 0 or (low is not None and high is not None)):
                    return None, 0  # against a division by zero: a normalisation
            return started
        if name in LEARNED:
            started[0].learned = True
            return started
        if name in PARTS or (name in NORMS and begun is not None and begun.learned):
            return begun, changes + 1
        if name in ARITHMETIC:
            begun_here = [(t.begun, t.changes + 1) for t, shape in zip(traces, shapes)
                          if t is not None and t.begun and shape.numel() == output.numel()]
            return min(begun_here, key=lambda found: found[0].learned, default=(None, 0))
        return None, 0

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
            else:
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
        for ours, other in ((a, b), (b, a)):
            for use in ours.uses:
                if use.shortcut is None:
                    inner = self.stack[-1]
                    if other is inner.entered:
                        use.shortcut = (inner, True)
                    elif other.outputs:
                        use.shortcut = (other.outputs[-1], False)
        return frozenset()


def watched_parts(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules that can be hooked, with their paths, each once: all, but for scripts and what is in them.

    Of a part compiled in place it is the wrapper, under whose path the part's own parts are found as well.
    """
    for path, part in module.named_modules():
        path = path.replace("._orig_mod.", ".")
        if not path.endswith("._orig_mod") and not isinstance(part, torch.jit.ScriptModule):
            yield path, part


def _version(tensor: torch.Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _only_new_axes(name: str, args) -> bool:
    """Whether an index such as ``x[:, :, None, None]`` takes all values."""
    if name != "getitem":
        return False
    index = args[1] if isinstance(args[1], tuple) else (args[1],)
    return all(part is None or part is ... or (isinstance(part, slice) and part == slice(None)) for part in index)


def _repeated(strides, shape: torch.Size, space: int) -> bool:
    """Whether a value of a map's shape serves several channels or branches."""
    return any(size > 1 and stride == 0 for size, stride in zip(shape[1:-space], strides[1:-space]))


def over_channels(gate: torch.Tensor, shape: torch.Size, space: int, enlarged: bool = False) -> torch.Tensor | None:
    """The gate's values over channels, (R, C) or (R, M, C), for a map of a shape; None where it varies over space.

    Nor is it a gate of channels where one value serves them all.

    Args:
        gate: as it is multiplied.
        shape: of the map, its last ``space`` dimensions in space.
        enlarged: whether it is known to be the same at every place.
    """
    gate = gate.expand(shape)
    if _repeated(gate.stride(), shape, space) or shape[1:-space].numel() == 1:
        return None
    if not enlarged and any(size > 1 and stride for size, stride in zip(shape[-space:], gate.stride()[-space:])):
        return None
    for _ in range(space):
        gate = gate[..., 0]
    return gate


def _space(trace: Trace, shape: torch.Size) -> int:
    """Dimensions of the space of a map of this shape: one fewer where a volume's has been reduced."""
    return 2 if trace.space == 3 and len(shape) == 4 else trace.space


def _one_cell(shape: torch.Size, space: int) -> bool:
    """Whether a value of this shape is a vector, a few of them, or a map of one cell."""
    if len(shape) < 3 or shape[2:].numel() == 1:
        return True
    if space == 1 and len(shape) == 3:  # (N, 1, T) is a signal
        return False
    return sum(size > 1 for size in shape[1:]) < 2 or (len(shape) == space + 3 and shape[-space:].numel() == 1)


def _enlarged(name: str, traces: list[Trace | None], shapes: list[torch.Size], shape: torch.Size, space: int) -> bool:
    """Whether a value without extent of its own lies repeated over space."""
    extent = shape[-space:]
    if len(shape) <= space or extent.numel() == 1:
        return False
    alike = [trace is not None and trace.enlarged and given[-space:] == extent for trace, given in zip(traces, shapes)]
    cells = [given[-space:].numel() == 1 for given in shapes]
    if name in COPIES:
        return alike[0] or (cells[0] and len(shapes[0]) >= space)
    if name == "batch_norm":
        return alike[0]
    return (name in MOVES or name in POINTWISE) and any(alike) and all(map(max, alike, cells))


def _folded(name: str, known: list[Trace], before: torch.Size, after: torch.Size) -> Fold | None:
    """What the first dimension of a result holds beside the batch."""
    fold = next((trace.fold for trace in known if trace.fold is not None), None)
    if not len(before) or not len(after):
        return None
    if fold is not None:  # until it is cut; what is folded beside it comes out again
        cut = before[0] == fold.rows and after[0] == 1 and after.numel() < before.numel()
        return None if cut else fold
    if before[0] != 1 or after[0] == 1 or name not in MOVES:
        return None
    picture = all(trace.picture for trace in known)
    if name in FORMS - COPIES:  # (N, T·C, …) → (N·T, C, …): frames of a clip or a volume, or groups of a map's channels
        frames = picture or (known[0].space == 3 and len(after) == 4)
        return Fold(after[0], together=True, channels=not frames)
    if (name in JOINS | COPIES and len(after) == len(before)) or (name in TURNS and picture):
        return Fold(after[0], together=name == "repeat_interleave", channels=False)
    return None  # branches, stacked first
