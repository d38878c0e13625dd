"""Everything the program knows about a prediction, from one forward: logits, gates, feature maps and Grad-CAM."""
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn

from .blocks import AttentionBlock, batch_of, blocks_of, network_of, to_module
from .cam import channel_weights, weighted_sum
from .edits import Edit, install
from .hooks import Hooks, hooked, part_and_call
from .points import keep_gate, on_branch, on_gate_map, on_output, on_shortcut, pieces
from .state import part_at
from .targets import listed, logits_of, scores_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

Point = str | tuple[str, str | int]  # a module path, or a block and "input", "output", "shortcut" or a branch index

_turned: "weakref.WeakKeyDictionary[nn.Module, bool]" = weakref.WeakKeyDictionary()  # see ``_turned_signals``


@dataclass
class View:
    """What ``inspect`` saw. Tensors are detached, float32, and on the model's device.

    A copy, or what is loaded from a pickle, has no graph to explain further classes from.

    Attributes:
        logits: (N, K); (N, 0) of a network that gives none, such as maps of a backbone or of a segmentation.
        gates: block name → (N, M, C), the gate after its activation; M = 1 unless the block weighs branches. Of blocks
            with several rows a picture (``AttentionBlock.rows``) a gate for each row.
        features: point → (N, C, *space); a pair has the block's name, also where it was asked for by label.
        cams: layer → (N, T, *space), Grad-CAM with ReLU, not normalised.
        weights: layer → (N, T, C), Grad-CAM's channel weights α (signed).
        blocks: the network's attention blocks.
        output: what the network returned, detached.
    """

    logits: torch.Tensor
    gates: dict[str, torch.Tensor]
    features: dict[Point, torch.Tensor]
    cams: dict[Point, torch.Tensor]
    weights: dict[Point, torch.Tensor]
    blocks: list[AttentionBlock]
    output: object = field(default=None, repr=False)
    _graph: "_Explaining | None" = field(default=None, repr=False)
    _model: object = field(default=None, repr=False)  # what was looked at, where it was more than an nn.Module
    _samples: torch.Tensor | None = field(default=None, repr=False)  # a few values of each picture, to know it again
    _name: str = "a network"
    _batch: torch.Tensor | None = field(default=None, repr=False)  # what Grad-CAM's maps lie over, where there are some
    _targets: Sequence | torch.Tensor | None = field(default=None, repr=False)  # what they explain
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)  # pages share views between threads

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_graph": None, "_lock": None}  # they are of this process alone

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __repr__(self) -> str:
        from .showing import line

        return line(self)

    def _repr_html_(self) -> str:
        from .showing import html

        return html(self)

    def plot(self, which: str = "gates", block: AttentionBlock | str | None = None, *,
             names: Sequence[str] | None = None, **options) -> "go.Figure":
        """A Plotly figure of the view, with a line a picture; of more than 16 pictures the first 16.

        Of a network that folds the frames of a clip into the batch the first frame of each is drawn.

        ================  ==============================================================================================
        ``which``         what is drawn
        ================  ==============================================================================================
        "gates"           how the gate of each block is distributed over its channels
        "block"           the gate of one block, channel by channel
        "kernels"         which kernel each unit prefers, of a network that weighs kernels
        "cams"            Grad-CAM over the pictures as the network saw them; needs ``layers``
        "contribution"    the gate beside what the gated map weighs in what follows; needs
                          ``features=senet_viz.gates.contribution_points(blocks)``
        "gate_change"     what one gate itself changed in the evidence for the class; needs these features, and the
                          block's output among the ``layers``
        ================  ==============================================================================================

        Args:
            which: one of these.
            block: by itself, its name or its label, for "block" and "gate_change"; the last one when None.
            names: of the pictures, all different.
            options: further ones of the function of ``senet_viz.figures`` that draws it: "gates" ``all_blocks``,
                "block" ``excitation``, "kernels" ``kernel_preference``, "cams" ``cam_grid`` (``map_lines`` of signals,
                ``volume_slices`` of volumes), "contribution" and "gate_change" those of the same name.

        Raises:
            ValueError: one sentence, for a figure or a block that there is none of, and for what was not inspected.

        >>> view.plot("block", "SE_3_4")
        >>> view.plot("cams", smooth=False)
        """
        from .showing import plot

        return plot(self, which, block, names, options)

    def grad_cam(self, targets) -> tuple[dict[Point, torch.Tensor], dict[Point, torch.Tensor]]:
        """Grad-CAM and its channel weights for further classes, without another forward.

        Args:
            targets: as of ``inspect``.

        Returns:
            As ``cams`` and ``weights``.

        Raises:
            RuntimeError: unless the view was made with ``retain_graph=True``.
            ValueError: for a class that the model lacks.
        """
        if self._graph is None:
            raise RuntimeError("this view kept no graph: inspect with retain_graph=True to ask for classes later")
        with self._lock:
            return self._graph.grad_cam(targets, retain_graph=True)

    def index_of(self, picture: torch.Tensor) -> int | None:
        """Which picture of the batch this is, (channels, *space), transformed; None where it is none of them."""
        if self._samples is None:
            return None
        samples = _samples_of(picture[None]).to(self._samples)
        same = (torch.isclose(self._samples, samples, rtol=1e-2, atol=1e-2).all(1).nonzero().flatten().tolist()
                if samples.shape[1] == self._samples.shape[1] else [])
        return same[0] if same else None


class _Explaining(Protocol):
    """What gives Grad-CAM of further classes."""

    def grad_cam(self, targets, *, retain_graph: bool
                 ) -> tuple[dict[Point, torch.Tensor], dict[Point, torch.Tensor]]: ...


@dataclass
class _Graph:
    """What Grad-CAM is computed from: what the network returned, with its graph to the maps asked for."""

    output: object
    logits: torch.Tensor | None
    maps: dict[Point, torch.Tensor]
    pictures: int
    class_index: Callable[[str], int] | None
    said: dict[Point, str]  # the maps' points as they were asked for

    def grad_cam(self, targets, *, retain_graph: bool) -> tuple[dict[Point, torch.Tensor], dict[Point, torch.Tensor]]:
        """Maps and channel weights, by layer."""
        with torch.inference_mode(False), torch.enable_grad():
            scores = scores_of(targets, self.output, self.logits, self.pictures, self.class_index)
            names = [self.said[point] for point in self.maps]
            found = channel_weights(scores, list(self.maps.values()), names, retain_graph=retain_graph)
        weights = dict(zip(self.maps, found))
        cams = {point: weighted_sum(w, self.maps[point].detach().float()).relu() for point, w in weights.items()}
        return cams, weights


def inspect(
        model,
        batch: torch.Tensor,
        targets: Sequence | torch.Tensor | None = None,
        layers: Iterable[Point] = (),
        features: Iterable[Point] = (),
        edits: Sequence[Edit] = (),
        *,
        output: Callable[[object], torch.Tensor] | None = None,
        spatial: bool = False,
        retain_graph: bool = False,
        wait: float | None = None,
) -> View:
    """Run a network once and return its logits, its gates, and the feature maps and Grad-CAMs asked for.

    An ``nn.Module`` that is new here is first run on one image, to find its blocks. The network is left as it was:
    hooks are removed, training flags and buffers restored whatever happens, no ``requires_grad`` is touched; gradient
    checkpointing is off meanwhile. One thread at a time uses a network; others wait.

    A point is a module path ("layer3": that module's output; "neck@1": that of its second call) or the module itself,
    or a pair of a block, by name, label or itself, and "input" (what the gate multiplies; for SK the sum of the
    branches), "output", "shortcut" (what the output is added to) or the index of a branch; an ``AttentionBlock`` alone
    is its output.
    A module's map whose channels come last (N, H, W, C), which its shape tells beside the picture's, is turned. Of
    (N, T, C) no shape tells: for a new layer of signals the network is first run on one, and on that twice in a row.

    Args:
        model: a ``senet_viz.Model`` or any ``nn.Module``.
        batch: (N, channels, *space) with one to three dimensions of space, (N, 3, H, W) for pictures; transformed for
            the model; moved to its device.
        targets: what to explain: T class indices, or names where the model knows them, for every image, or (N, T), or
            one alone; a target may also be a function of what the network returns that gives a scalar or (N,)
            (``senet_viz.SemanticSegmentationTarget`` and its kin). The class with the highest logit of each image when
            None.
        layers: points for Grad-CAM; an SK block's "input" has no place in the graph and cannot be one.
        features: points whose feature maps to return.
        edits: changes of gates, made in this forward alone. ``View.gates`` has the gates as changed.
        output: what the network returns → logits (N, K), where they lie in no usual place
            (``senet_viz.gates.targets.logits_of``); the model's own when None.
        spatial: record also gates that vary over space (coordinate attention, LSKNet's kernels): their mean over space
            as gate, and their map as the feature (block, "gate"), (N, C, *space), or (N, M, *space) of branches.
        retain_graph: keep the graph in the view, so that ``View.grad_cam`` can explain further classes.
        wait: seconds to wait for a model in use, ``senet_viz.gates.hooks.WAIT`` when None.

    Raises:
        ValueError: for an unknown point or class, a point that is no feature map or gives maps of other than the
            pictures (windows), or a model without such outputs.
        RuntimeError: when a gate or a point was not reached, or not exactly once, or the logits do not depend on it.
        EditError: for an edit that matches no block or does not fit one.
        ModelBusy: when the model stayed in use.

    >>> view = inspect(model, batch, targets=[1], layers=["layer4"])
    >>> view.gates["layer4.2.se"].shape, view.cams["layer4"].shape
    (torch.Size([1, 1, 512]), torch.Size([1, 1, 8, 8]))
    """
    module = network_of(model)
    batch = to_module(batch_of(batch), module)
    if output is None and not isinstance(model, nn.Module):  # of which a part may have that name
        output = getattr(model, "output", None)

    with hooked(module, wait) as hooks, torch.no_grad():
        blocks = (model.blocks if not isinstance(model, nn.Module) and not spatial
                  else blocks_of(module, batch[:1], spatial, hooks.parts))
        names = {key: block for block in blocks for key in (block.name, block.label)}
        asked = _listed(layers)
        layers, features = _points(asked, module, names), _points(features, module, names)
        turned = _turned_signals(module, batch[:1], [*layers, *features]) if batch.dim() == 3 else set()
        recorder = _Recorder(names, batch.shape, turned)
        samples = _samples_of(batch)  # before the forward, which may work in place
        seen = batch.clone() if layers else None
        install(hooks, blocks, edits, len(batch))
        for block in blocks:
            keep_gate(hooks, block, recorder.kept.setdefault(block.name, []))
        for point in dict.fromkeys([*layers, *features]):
            recorder.watch(hooks, module, point, point in layers)
        returned = module(batch)
        logits = None
        try:
            logits = logits_of(returned, len(batch), output)
        except ValueError:  # of a backbone, or a segmentation, whose gates are to be had all the same
            if output is not None:
                raise
        recorder.check(blocks, [*layers, *features])
    # autograd needs no hooks: others may use the model while gradients are computed
    view = View(
        logits=logits.detach().float() if logits is not None else batch.new_empty(len(batch), 0).float(),
        gates={block.name: recorder.gate(block) for block in blocks},
        features={point: recorder.feature(point) for point in features},
        cams={}, weights={}, blocks=blocks, output=_detached(returned), _samples=samples,
        _model=None if isinstance(model, nn.Module) else model, _name=getattr(model, "name", type(module).__name__),
        _batch=seen, _targets=listed(targets))
    if layers:
        if logits is not None and not logits.requires_grad:
            raise RuntimeError(f"{type(module).__name__} computes its logits without gradients (torch.no_grad or "
                               f"detach); Grad-CAM needs them")
        graph = _Graph(returned, logits, {point: recorder.maps[point] for point in layers}, len(batch),
                       getattr(model, "class_index", None),
                       {point: _as_asked(said, point) for said, point in zip(asked, layers)})
        view.cams, view.weights = graph.grad_cam(targets, retain_graph=retain_graph)
        if retain_graph:
            view._graph = graph
    return view


def record(model, batch: torch.Tensor) -> View:
    """``inspect`` for logits and gates alone, at the cost of the forward."""
    return inspect(model, batch)


def grad_cam(model, batch: torch.Tensor, targets, layers: Iterable[Point]) -> dict[Point, torch.Tensor]:
    """``inspect`` for Grad-CAM alone: layer → (N, T, *space), ReLU applied, not normalised."""
    return inspect(model, batch, targets, layers).cams


def _samples_of(batch: torch.Tensor) -> torch.Tensor:
    """About a thousand values of each picture, (N, values): whoever keeps views does not want to keep batches."""
    values = batch.flatten(1)
    return values[:, ::values.shape[1] // 1024 | 1].float().clone()  # an odd step: an even one may stay in few columns


def _detached(output):
    if isinstance(output, torch.Tensor):
        return output.detach()
    if isinstance(output, Mapping):
        return {key: _detached(value) for key, value in output.items()}
    if isinstance(output, list | tuple):
        return [_detached(value) for value in output]
    return output


def contribution_points(blocks: Iterable[AttentionBlock]) -> list[Point]:
    """The features that show what gates do: each block's input or branches, and its shortcut where there is one."""
    points: list[Point] = []
    for block in blocks:
        points += [(block.name, m) for m in range(block.branches)] if block.branches > 1 else [(block.name, "input")]
        if block.shortcut is not None:
            points.append((block.name, "shortcut"))
    return points


class _Recorder:
    """Keeps what the hooks see.

    Feature maps are cloned: the next in-place ReLU or addition would overwrite them. For Grad-CAM the first map reached
    becomes a fresh leaf and gradients are recorded from there on, so that nothing before it costs a backward.
    """

    def __init__(self, names: dict[str, AttentionBlock], batch: torch.Size, turned: set[Point]):
        self.names, self.batch, self.turned = names, batch, turned
        self.kept: dict[str, list[torch.Tensor]] = {}  # block → copies of its gate, or of each branch's
        self.maps: dict[Point, torch.Tensor] = {}
        self.counts: dict[Point, int] = {}

    def gate(self, block: AttentionBlock) -> torch.Tensor:
        """(N, M, C)."""
        gates = [gate.detach().float().reshape(len(gate), -1, block.channels) for gate in self.kept[block.name]]
        return gates[0] if len(gates) == 1 else torch.cat(gates, 1)

    def watch(self, hooks: Hooks, module: nn.Module, point: Point, differentiable: bool) -> None:
        """Hook the place of a point."""
        if isinstance(point, str):
            hooks.after(_last(module, point), partial(self._after, point, differentiable))
            return
        block, place = self.names[point[0]], point[1]
        keep = partial(self._part, point, differentiable)
        if place == "output":
            on_output(hooks, block, keep)
        elif place == "shortcut":
            on_shortcut(hooks, block, keep)
        elif place == "gate" and block.spatial:
            on_gate_map(hooks, block, partial(self._part, point, False))
        elif place == "input" and block.branches == 1:
            on_branch(hooks, block, 0, keep)
        elif place == "input":
            if differentiable:
                raise ValueError(f"{block.label} sums its branches only to pool them: ask for Grad-CAM at its output "
                                 f"or at a branch")
            for m in range(block.branches):
                on_branch(hooks, block, m, partial(self._sum, point))
        elif isinstance(place, int) and 0 <= place < block.branches and block.branches > 1:
            on_branch(hooks, block, place, keep)
        else:
            raise ValueError(f"{block.label} has no {place!r}: choose 'input', 'output', 'shortcut'"
                             + (f" or a branch from 0 to {block.branches - 1}" if block.branches > 1 else ""))

    def feature(self, point: Point) -> torch.Tensor:
        return self.maps[point].detach().float()

    def check(self, blocks: list[AttentionBlock], points: list[Point]) -> None:
        for block in blocks:
            if (times := len(self.kept[block.name]) / pieces(block)) != 1:
                raise RuntimeError(f"the gate of {block.name} was reached {times:g} times in the forward, not once: "
                                   f"the network runs otherwise than when its blocks were found, and "
                                   f"senet_viz.find_blocks(network, batch) finds them anew")
        for key, times in {point: self.counts.get(point, 0) for point in points}.items():
            if times != 1:
                calls = (f"; its calls are {key}@0 to {key}@{times - 1:g}"
                         if key in points and isinstance(key, str) and times > 1 else "")
                raise RuntimeError(f"{_shown(key)} was reached {times:g} times in the forward, not once{calls}")

    def _count(self, key: Point) -> None:
        self.counts[key] = self.counts.get(key, 0) + 1

    def _after(self, point: Point, differentiable: bool, entered, output):
        self._count(point)
        allowed = {len(self.batch), 4} if len(self.batch) == 5 else {len(self.batch)}  # frames may be pictures
        if not isinstance(output, torch.Tensor) or output.dim() not in allowed:
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            raise ValueError(f"{_shown(point)} gives no feature map (N, C, H, W) but {shape}")
        if not self._of_pictures(len(output)):
            raise ValueError(f"{_shown(point)} gives {len(output)} maps for a batch of {self.batch[0]}, as where a map "
                             f"is cut into windows, and which are whose is not known: ask for a layer around it")
        # a module's output is its own, unless it hands on its input (Identity, an in-place ReLU)
        own = not isinstance(entered, torch.Tensor) or (
            output.untyped_storage().data_ptr() != entered.untyped_storage().data_ptr())
        if point not in self.turned and not _channels_last(output.shape, self.batch):
            return self._keep(point, differentiable, output, own)
        kept = self._keep(point, differentiable, output.movedim(-1, 1), own=False)
        return None if kept is None else kept.movedim(1, -1)

    def _of_pictures(self, maps: int) -> bool:
        """Whether so many maps are one for each picture, or for each of its frames, views or channels."""
        rows, rest = divmod(maps, self.batch[0])
        return rows > 0 and not rest and (
            rows in {1, *(block.rows for block in self.names.values())}
            or any(size % rows == 0 for size in self.batch[1:-2] or self.batch[1:2]))

    def _part(self, point: Point, differentiable: bool, value):
        if not isinstance(value, torch.Tensor):  # the module was called with keywords
            return None
        self._count(point)
        return self._keep(point, differentiable, value, own=False)

    def _keep(self, point: Point, differentiable: bool, value: torch.Tensor, own: bool):
        if not differentiable:
            self.maps[point] = value.detach().clone()
            return None
        if not own:  # others hold this tensor and may write to it
            value = value.clone()
        if not value.requires_grad:
            value = value.detach().requires_grad_()
            torch.set_grad_enabled(True)
        self.maps[point] = value
        return value.clone()  # what follows may work in place, and a leaf forbids that

    def _sum(self, point: Point, u: torch.Tensor) -> None:
        if point in self.maps:
            self.maps[point] += u.detach()
        else:
            self._count(point)
            self.maps[point] = u.detach().clone()


def _points(points, module: nn.Module, names: dict[str, AttentionBlock]) -> list[Point]:
    """Points with modules as paths and blocks by their names."""
    return [_point(point, module, names) for point in _listed(points)]


def _listed(points) -> list:
    if isinstance(points, str | nn.Module | AttentionBlock) or not isinstance(points, Iterable):
        return [] if points is None else [points]
    return list(points)


def _as_asked(said, point: Point) -> str:
    """A point in a message, with the path or the name or label of a block that it was asked for by, where it was."""
    path = isinstance(said, str) or (isinstance(said, Sequence) and isinstance(said[0], str))
    return _shown(said if path else point)


def _point(point, module: nn.Module, names: dict[str, AttentionBlock]) -> Point:
    if isinstance(point, AttentionBlock):
        point = point, "output"
    if isinstance(point, str | nn.Module):
        path = _path(point, module) if isinstance(point, nn.Module) else point
        try:
            part = module.get_submodule(part_and_call(path)[0])
        except AttributeError as error:
            hint = f"; the block's output is {(path, 'output')}" if path in names else ""
            raise ValueError(f"{type(module).__name__} has no layer {path!r}{hint}") from error
        if isinstance(part, torch.jit.ScriptModule):
            raise ValueError(f"the layer {path!r} is a script, which runs without Python and cannot be watched: ask "
                             f"for a layer around it")
        return path
    if not isinstance(point, Sequence) or len(point) != 2 or not isinstance(point[1], str | int):
        raise ValueError(f"a layer is a module's path, a module, a block, or a pair of a block and 'input', 'output', "
                         f"'shortcut' or a branch's index, not {point!r}")
    block, place = point
    block = _path(block, module) if isinstance(block, nn.Module) else getattr(block, "name", block)
    if not isinstance(block, str) or block not in names:
        known = ", ".join(b.label for b in dict.fromkeys(names.values())) or "none"
        raise ValueError(f"there is no attention block {block!r}; the network's are: {known}")
    return names[block].name, place


def _path(part: nn.Module, module: nn.Module) -> str:
    path = next((path for path, known in module.named_modules() if known is part), None)
    if path is None:
        raise ValueError(f"the layer {type(part).__name__} is no part of {type(module).__name__}")
    return path


def _shown(point: Point) -> str:
    """A point in a message."""
    return (point or "the whole network") if isinstance(point, str) else " ".join(map(str, point))


def _last(module: nn.Module, place: str) -> str:
    """The place whose output a point's is: of an nn.Sequential its last part, for many a network runs part by part."""
    path, number = part_and_call(place)
    part = module.get_submodule(path)
    while type(part).forward is nn.Sequential.forward and (children := list(part.named_children())):
        name, part = children[-1]
        if isinstance(part, torch.jit.ScriptModule):  # which takes no hooks
            break
        path = f"{path}.{name}" if path else name
    return path if number is None else f"{path}@{number}"


def _turned_signals(module: nn.Module, signal: torch.Tensor, points: list[Point]) -> set[Point]:
    """The module paths whose maps are (N, T, C) and not (N, C, T): T alone grows with a signal (1, channels, length).

    A network runs for this once, and what it gives is kept. Where it takes no other length, and fails before a layer is
    reached, the layer's map is taken as (N, C, T).
    """
    places = {point: _last(module, point) for point in points if isinstance(point, str)}
    parts = {place: part_at(module, part_and_call(place)[0]) for place in places.values()}
    if any(part not in _turned for part in parts.values()):
        shapes: dict[str, list[torch.Size]] = {place: [] for place in parts}

        def keep(place, _, output):
            if isinstance(output, torch.Tensor) and output.dim() == 3:
                shapes[place].append(output.shape)

        with hooked(module, first=True) as hooks, torch.no_grad(), suppress(Exception):
            for place in parts:
                hooks.after(place, partial(keep, place))
            module(signal.clone())
            module(torch.cat([signal, signal], -1))
        for place, seen in shapes.items():
            grows = [one != other for one, other in zip(seen[0], seen[1])] if len(seen) == 2 else []
            _turned[parts[place]] = grows == [False, True, False]
    return {point for point, place in places.items() if _turned[parts[place]]}


def _channels_last(shape: torch.Size, batch: torch.Size) -> bool:
    """Whether a map (N, *space, C) has its channels last: its other reading does not have the picture's proportions."""
    space = len(shape) - 2
    return space > 1 and not _proportional(shape[2:], batch[-space:]) and _proportional(shape[1:-1], batch[-space:])


def _proportional(sides: Sequence[int], picture: Sequence[int]) -> bool:
    scale = [side / whole for side, whole in zip(sides, picture)]
    return all(abs(side - whole * scale[0]) <= 1 + whole / picture[0] for side, whole in zip(sides, picture))
