"""What is known of a value in a forward: whether it depends on the picture, has an extent in space, and may be a gate.

One function of PyTorch after the other, ``followed`` gives the trace of a result from those of the operands. No number
in them is looked at: what a value is follows from where it comes from and from its shape.
"""
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from .search import Use

ACTIVATIONS = {"sigmoid", "hardsigmoid", "expit", "special_expit", "softmax", "gumbel_softmax", "tanh", "glu"}
# what may also be part of another activation, as in relu6(x + 3) / 6: only where no activation has been yet
PARTS = {"relu", "relu6", "hardtanh", "clamp", "clip", "exp", "silu", "gelu", "elu", "celu", "selu", "leaky_relu",
         "softplus", "softsign", "hardswish", "mish", "prelu"}
CONVOLUTIONS = {"conv1d", "conv2d", "conv3d"}
LEARNED = {"linear", "addmm"} | CONVOLUTIONS  # a gate may begin there as well, without an activation
NORMS = {"batch_norm", "layer_norm", "group_norm"}  # which may follow such a layer
ARITHMETIC = {"add", "sub", "rsub", "mul", "multiply", "rmul", "div", "divide", "true_divide", "rdiv", "neg", "pow",
              "abs", "sqrt", "square", "reciprocal", "maximum", "minimum", "where", "gt", "ge", "lt", "le"}
# another form of the same values, in the same order
FORMS = {"view", "reshape", "flatten", "unflatten", "ravel", "squeeze", "unsqueeze", "contiguous", "clone", "to",
         "float", "half", "bfloat16", "double", "type", "type_as", "detach", "view_as", "expand", "expand_as",
         "broadcast_to", "dropout", "feature_dropout", "dropout1d", "dropout2d", "dropout3d"}
TURNS = {"permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims"}
# the same values elsewhere, more often, or only some of them
MOVES = FORMS | TURNS | {"get", "unfold", "repeat", "tile", "repeat_interleave", "getitem", "select",
                 "narrow", "chunk", "split", "tensor_split", "unbind", "index_select", "flip", "roll", "cat", "concat",
                 "stack"}
JOINS = {"cat", "concat", "stack"}
# new values, of another's shape or type only
NEW = {f"new_{kind}" for kind in ("empty", "full", "ones", "tensor", "zeros")} | {
    f"{kind}_like" for kind in ("empty", "full", "ones", "zeros", "rand", "randn")}
WRITES = {"copy", "setitem"}
COPIES = {"expand", "expand_as", "broadcast_to", "repeat", "tile", "repeat_interleave", "interpolate"}
REDUCTIONS = {"mean", "sum", "amax", "max", "std", "var", "norm", "vector_norm", "logsumexp"}
POINTWISE = ACTIVATIONS | PARTS | ARITHMETIC | {"batch_norm"}


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
        return tensor is None or version_of(tensor) == self.version


@dataclass(eq=False)
class Beginning:
    """A place where a gate may begin: the calls around it, and the modules that gave its values as their output.

    ``outputs`` has their calls, the values, and how many operations had changed these since the beginning.
    """

    calls: tuple[Call, ...]
    learned: bool = False  # a learned layer, without an activation
    floored: bool = False  # a part of an activation that may only keep a statistic of the map above 0
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
        time: of a signal's three dimensions, that in which time lies; None where this is not known.
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
    time: int | None = None


def followed(name, traces, shapes, output, args, kwargs, calls) -> Trace | None:
    """What is known of a function's result; None where it does not depend on the picture.

    Another form of a value shares its trace with it, and so what becomes known of it.

    Args:
        name: of the function (``function_name``).
        traces, shapes: of its operands, as they were before; a trace is None where an operand depends on no picture.
        output: one of its results.
        args, kwargs: with which it was called.
        calls: of the modules that were running, from the outermost.
    """
    if name == "unfold" and len(output.shape) < len(shapes[0]):
        name = "im2col"  # the function of that name: half a convolution, where the method cuts tiles
    if name in MOVES and name not in JOINS:  # another operand only says how
        traces, shapes = traces[:1], shapes[:1]
    known = [trace for trace in traces if trace is not None]
    if not known or name in NEW:
        return None
    first = traces[0]
    fold, space = _folded(name, known, shapes[0], output.shape), max(trace.space for trace in known)
    picture = all(t.picture for t in known) and name in MOVES | ARITHMETIC | {"interpolate"}
    if picture and len(output.shape) > 2 and name != "unfold":
        space = len(output.shape) - 2  # frames of a clip
    time = _time(name, known, shapes[0], output, args, kwargs)
    wide = any(trace.wide for trace in known) and not one_cell(output.shape, space, time) and not (
        name in REDUCTIONS and output.shape == shapes[0][:-space])
    enlarged = not wide and _enlarged(name, traces, shapes, output.shape, space)
    if (name in FORMS or _only_new_axes(name, args)) and output.numel() == shapes[0].numel() and (
            first.space, first.wide, first.enlarged, first.fold) == (space, wide, enlarged, fold):
        return first
    trace = Trace(space, wide, enlarged, picture=picture, fold=fold, time=time)
    if not wide:
        trace.begun, trace.changes = _begun(name, traces, shapes, output, args, kwargs, calls)
    if name in JOINS:
        trace.parts = tuple(part for t in traces for part in (t.parts if t and t.parts else (t,)))
    elif name in MOVES:
        trace.uses, trace.whole = first.uses, first.whole or first
    return trace


def _begun(name, traces, shapes, output, args, kwargs, calls) -> tuple[Beginning | None, int]:
    """Where a gate began whose form a value without extent in space is, and how often it was changed since."""
    first = traces[0]
    begun, changes = (first.begun, first.changes) if first is not None else (None, 0)
    started = Beginning(tuple(calls)), 0
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
        started[0].floored = begun is None and name != "exp"
        return started
    if name in LEARNED:
        started[0].learned = True
        return started
    if name in PARTS or (name in NORMS and begun is not None and begun.learned):
        return begun, changes + 1
    if name in ("reciprocal", "rdiv") and begun is not None and begun.floored:
        return None, 0  # a normalisation as well
    if name in ARITHMETIC:
        begun_here = [(t.begun, t.changes + 1) for t, shape in zip(traces, shapes)
                      if t is not None and t.begun and shape.numel() == output.numel()]
        return min(begun_here, key=lambda found: found[0].learned, default=(None, 0))
    return None, 0


def version_of(tensor: torch.Tensor) -> int:
    """A number that grows when a tensor is written into; 0 of one made in inference mode, which nobody counts."""
    return 0 if tensor.is_inference() else tensor._version


def _only_new_axes(name: str, args) -> bool:
    """Whether an index such as ``x[:, :, None, None]`` takes all values."""
    if name != "getitem":
        return False
    index = args[1] if isinstance(args[1], tuple) else (args[1],)
    return all(part is None or part is ... or (isinstance(part, slice) and part == slice(None)) for part in index)


def repeated(strides, shape: torch.Size, space: int) -> bool:
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
    if repeated(gate.stride(), shape, space) or shape[1:-space].numel() == 1:
        return None
    if not enlarged and any(size > 1 and stride for size, stride in zip(shape[-space:], gate.stride()[-space:])):
        return None
    for _ in range(space):
        gate = gate[..., 0]
    return gate


def space_of(trace: Trace, shape: torch.Size) -> int:
    """Dimensions of the space of a map of this shape: one fewer where a volume's has been reduced."""
    return 2 if trace.space == 3 and len(shape) == 4 else trace.space


def one_cell(shape: torch.Size, space: int, time: int | None = None) -> bool:
    """Whether a value of this shape is a vector, a few of them, or a map of one cell.

    A signal turned to (N, T, C) has a vector where ``time`` is 1.
    """
    if len(shape) < 3 or shape[2:].numel() == 1:
        return True
    if space == 1 and len(shape) == 3:  # (N, 1, T) is a signal, and (N, 1, C) a vector
        return time == 1 and shape[1] == 1
    return sum(size > 1 for size in shape[1:]) < 2 or (len(shape) == space + 3 and shape[-space:].numel() == 1)


def _time(name: str, known: list[Trace], before: torch.Size, output: torch.Tensor, args, kwargs) -> int | None:
    """In which of three dimensions time lies: the last behind a convolution, and elsewhere once that is turned."""
    if len(output.shape) != 3:
        return None
    if name == "conv1d":
        return 2
    time = next((trace.time for trace in known if trace.wide), None)
    if time is None or len(before) != 3 or (name in FORMS - COPIES and output.shape != before):
        return None
    if name not in TURNS:
        return time
    mark = torch.empty([2 if dim == time else 1 for dim in range(3)], device="meta")
    how = {key: value for key, value in kwargs.items() if key != "input"}
    return getattr(mark, name)(*args[1:], **how).shape.index(2)


def _enlarged(name: str, traces: list[Trace | None], shapes: list[torch.Size], shape: torch.Size, space: int) -> bool:
    """Whether a value without extent of its own lies repeated over space."""
    extent = shape[-space:]
    if len(shape) <= space or extent.numel() == 1:
        return False
    alike = [trace is not None and trace.enlarged and given[-space:] == extent for trace, given in zip(traces, shapes)]
    cells = [given[-space:].numel() == 1 for given in shapes]
    if name in COPIES:  # of one cell, or of what lies along one side already
        return (traces[0] is not None and traces[0].enlarged) or (cells[0] and len(shapes[0]) >= space)
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
