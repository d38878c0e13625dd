"""Everything the program knows about a prediction, from one forward: logits, gates, feature maps and Grad-CAM."""
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn

from .blocks import AttentionBlock, blocks_of, eager, to_module
from .cam import channel_weights, weighted_sum
from .edits import Edit, install
from .hooks import Hooks, hooked
from .points import on_branch, on_gate, on_output, on_shortcut

INDICES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
Point = str | tuple[str, str | int]  # a module path, or a block and "input", "output", "shortcut" or a branch index


@dataclass
class View:
    """What ``inspect`` saw. Tensors are detached, float32, and on the model's device.

    Attributes:
        logits: (N, K); (N, 0) of a network that gives none, such as a backbone's maps, unless Grad-CAM is asked for.
        gates: block name → (N, M, C), the gate after its activation; M = 1 unless the block weighs branches.
        features: point → (N, C, H, W); a pair has the block's name, also where it was asked for by label.
        cams: layer → (N, T, h, w), Grad-CAM with ReLU, not normalised.
        weights: layer → (N, T, C), Grad-CAM's channel weights α (signed).
        blocks: the network's attention blocks.
    """

    logits: torch.Tensor
    gates: dict[str, torch.Tensor]
    features: dict[Point, torch.Tensor]
    cams: dict[Point, torch.Tensor]
    weights: dict[Point, torch.Tensor]
    blocks: list[AttentionBlock]
    _graph: tuple[torch.Tensor, dict[Point, torch.Tensor]] | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)  # pages share views between threads

    def grad_cam(self, targets) -> tuple[dict[Point, torch.Tensor], dict[Point, torch.Tensor]]:
        """Grad-CAM and its channel weights for further classes, without another forward.

        Args:
            targets: T class indices for every image, or (N, T).

        Returns:
            As ``cams`` and ``weights``.

        Raises:
            RuntimeError: unless the view was made with ``retain_graph=True``.
            ValueError: for a class that the model lacks.
        """
        if self._graph is None:
            raise RuntimeError("this view kept no graph: inspect with retain_graph=True to ask for classes later")
        with self._lock:
            return _grad_cam(*self._graph, _targets(targets, self.logits), retain_graph=True)


def inspect(
        model,
        batch: torch.Tensor,
        targets: Sequence | torch.Tensor | None = None,
        layers: Iterable[Point] = (),
        features: Iterable[Point] = (),
        edits: Sequence[Edit] = (),
        *,
        retain_graph: bool = False,
        wait: float | None = None,
) -> View:
    """Run a network once and return its logits, its gates, and the feature maps and Grad-CAMs asked for.

    An ``nn.Module`` that is new here is first run on one image, to find its blocks. The network is left as it was:
    hooks are removed and training flags restored whatever happens, no ``requires_grad`` is touched. One thread at a
    time uses a network; others wait.

    A point is a module path ("layer3": that module's output) or a pair of a block, by name or label, and "input" (what
    the gate multiplies; for SK the sum of the branches), "output", "shortcut" (what the output is added to) or the
    index of a branch.

    Args:
        model: a ``senet_viz.Model`` or any ``nn.Module``.
        batch: (N, 3, H, W), transformed for the model; moved to its device.
        targets: the classes to explain: T class indices for every image, or (N, T). The class with the highest
            logit of each image when None.
        layers: points for Grad-CAM; an SK block's "input" has no place in the graph and cannot be one.
        features: points whose feature maps to return.
        edits: changes of gates, made in this forward alone. ``View.gates`` has the gates as changed.
        retain_graph: keep the graph in the view, so that ``View.grad_cam`` can explain further classes.
        wait: seconds to wait for a model in use, ``senet_viz.gates.hooks.WAIT`` when None.

    Raises:
        ValueError: for an unknown point or class, a point that is no feature map, or a model without such outputs.
        RuntimeError: when a gate or a point was not reached, or not exactly once, or the logits do not depend on it.
        EditError: for an edit that matches no block or does not fit one.
        ModelBusy: when the model stayed in use.

    >>> view = inspect(model, batch, targets=[1], layers=["layer4"])
    >>> view.gates["layer4.2.se"].shape, view.cams["layer4"].shape
    (torch.Size([1, 1, 512]), torch.Size([1, 1, 8, 8]))
    """
    module = eager(getattr(model, "module", model)) if not isinstance(model, nn.Module) else eager(model)
    if batch.dim() != 4 or not len(batch):
        raise ValueError(f"a batch has the shape (N, 3, H, W), N at least 1, not {tuple(batch.shape)}")
    batch = to_module(batch, module)

    with hooked(module, wait) as hooks, torch.no_grad():
        blocks = model.blocks if not isinstance(model, nn.Module) else blocks_of(module, batch[:1])
        names = {key: block for block in blocks for key in (block.name, block.label)}
        layers, features = [_normal(p, names) for p in layers], [_normal(p, names) for p in features]
        recorder = _Recorder(names)
        install(hooks, blocks, edits, len(batch))
        for block in blocks:
            on_gate(hooks, block, partial(recorder.gate, block))
        for point in dict.fromkeys([*layers, *features]):
            recorder.watch(hooks, module, point, point in layers)
        output = module(batch)
        try:
            logits = logits_of(output)
        except ValueError:  # a backbone, whose gates are to be had all the same
            if layers:
                raise
            logits = batch.new_empty(len(batch), 0)
        recorder.check(blocks, [*layers, *features])
    # autograd needs no hooks: others may use the model while gradients are computed
    view = View(
        logits=logits.detach().float(),
        gates=recorder.gates,
        features={point: recorder.feature(point) for point in features},
        cams={}, weights={}, blocks=blocks)
    if layers:
        if not logits.requires_grad:
            raise RuntimeError(f"{type(module).__name__} computes its logits without gradients (torch.no_grad or "
                               f"detach); Grad-CAM needs them")
        maps = {point: recorder.maps[point] for point in layers}
        view.cams, view.weights = _grad_cam(logits, maps, _targets(targets, view.logits), retain_graph=retain_graph)
        if retain_graph:
            view._graph = (logits, maps)
    return view


def record(model, batch: torch.Tensor) -> View:
    """``inspect`` for logits and gates alone, at the cost of the forward."""
    return inspect(model, batch)


def grad_cam(model, batch: torch.Tensor, targets, layers: Iterable[Point]) -> dict[Point, torch.Tensor]:
    """``inspect`` for Grad-CAM alone: layer → (N, T, h, w), ReLU applied, not normalised."""
    return inspect(model, batch, targets, layers).cams


def _grad_cam(logits, maps, targets, *, retain_graph):
    weights = dict(zip(maps, channel_weights(logits, targets, list(maps.values()), retain_graph=retain_graph)))
    return {point: weighted_sum(w, maps[point].detach().float()).relu() for point, w in weights.items()}, weights


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

    def __init__(self, names: dict[str, AttentionBlock]):
        self.names = names
        self.gates: dict[str, torch.Tensor] = {}
        self.maps: dict[Point, torch.Tensor] = {}
        self.counts: dict[Point, int] = {}

    def gate(self, block: AttentionBlock, gate: torch.Tensor, first: int) -> None:
        gate = gate.detach().to(torch.float32, copy=True)
        if first:  # each branch has a multiplication of its own
            gate = torch.cat([self.gates[block.name], gate], 1)
        else:
            self._count((block.name, "gate"))
        self.gates[block.name] = gate

    def watch(self, hooks: Hooks, module: nn.Module, point: Point, differentiable: bool) -> None:
        """Hook the place of a point."""
        if isinstance(point, str):
            try:
                module.get_submodule(point)
            except AttributeError as error:
                raise ValueError(f"{type(module).__name__} has no layer {point!r}") from error
            hooks.after(point, partial(self._after, point, differentiable))
            return
        block, place = self.names[point[0]], point[1]
        keep = partial(self._part, point, differentiable)
        if place == "output":
            on_output(hooks, block, keep)
        elif place == "shortcut":
            on_shortcut(hooks, block, keep)
        elif place == "input" and block.branches == 1:
            on_branch(hooks, block, 0, keep)
        elif place == "input":
            if differentiable:
                raise ValueError(f"{block.label} sums its branches only to pool them: ask for Grad-CAM at its output "
                                 f"or at a branch")
            for m in range(block.branches):
                on_branch(hooks, block, m, partial(self._sum, point, m))
        elif isinstance(place, int) and 0 <= place < block.branches and block.branches > 1:
            on_branch(hooks, block, place, keep)
        else:
            raise ValueError(f"{block.label} has no {place!r}: choose 'input', 'output', 'shortcut'"
                             + (f" or a branch from 0 to {block.branches - 1}" if block.branches > 1 else ""))

    def feature(self, point: Point) -> torch.Tensor:
        return self.maps[point].detach().float()

    def check(self, blocks: list[AttentionBlock], points: list[Point]) -> None:
        for key in [(block.name, "gate") for block in blocks] + points:
            times = self.counts.get(key, 0)
            if times != 1:
                place = key if isinstance(key, str) else " ".join(map(str, key))
                raise RuntimeError(f"{place} was reached {times} times in the forward, not once")

    def _count(self, key: Point) -> None:
        self.counts[key] = self.counts.get(key, 0) + 1

    def _after(self, point: Point, differentiable: bool, entered, output):
        self._count(point)
        if not isinstance(output, torch.Tensor) or output.dim() != 4:
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            raise ValueError(f"{point} gives no feature map (N, C, H, W) but {shape}")
        # a module's output is its own, unless it hands on its input (Identity, an in-place ReLU)
        own = not isinstance(entered, torch.Tensor) or (
            output.untyped_storage().data_ptr() != entered.untyped_storage().data_ptr())
        return self._keep(point, differentiable, output, own)

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

    def _sum(self, point: Point, m: int, u: torch.Tensor) -> None:
        if m == 0:
            self._count(point)
            self.maps[point] = u.detach().clone()
        else:
            self.maps[point] += u.detach()


def _normal(point: Point, names: dict[str, AttentionBlock]) -> Point:
    if isinstance(point, str):
        return point
    block, place = point
    block = getattr(block, "name", block)
    if block not in names:
        known = ", ".join(b.label for b in dict.fromkeys(names.values())) or "none"
        raise ValueError(f"there is no attention block {block!r}; the network's are: {known}")
    return names[block].name, place


def logits_of(output) -> torch.Tensor:
    """The logits (N, classes) in what a network returns: a tensor, a tuple, a dictionary or an object with "logits".

    Raises:
        ValueError: where there are none.
    """
    if not isinstance(output, torch.Tensor):  # transformers return objects, some torchvision nets named tuples
        first = output[0] if isinstance(output, tuple) and output else None
        output = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", first)
    if not isinstance(output, torch.Tensor) or output.dim() != 2:
        raise ValueError("the network returns no logits of shape (N, classes)")
    return output


def _targets(targets, logits: torch.Tensor) -> torch.Tensor:
    n, k = logits.shape
    if targets is None:
        return logits.argmax(1, keepdim=True)
    targets = torch.as_tensor(targets, device=logits.device)
    if targets.dtype not in INDICES or targets.dim() not in (1, 2) or targets.numel() == 0:
        raise ValueError("targets are class indices: T of them, or (N, T)")
    if targets.dim() == 1:
        targets = targets.expand(n, -1)
    if targets.shape[0] != n:
        raise ValueError(f"targets have {targets.shape[0]} rows for {n} images")
    if int(targets.min()) < 0 or int(targets.max()) >= k:
        raise ValueError(f"targets must lie in 0..{k - 1}; found {int(targets.min())} to {int(targets.max())}")
    return targets.long()
