"""One attention block taken apart on one picture: what it squeezes, its hidden layer, its gate, its maps.

Everything is seen in one real forward of the network. The layers between the squeezed vector and the gate are found by
what they are given, not by the names of their attributes, and how they squeeze and excite is verified by arithmetic.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvNd

from ..gates import AttentionBlock, View, contribution_points, inspect
from ..gates.answers import is_finite
from ..gates.blocks import block_of, eager
from ..gates.hidden import outgoing
from ..gates.hooks import hooked
from ..gates.inspection import Point
from ..reports.text import plain
from ..statistics import Statistics
from ..statistics.dimension import ONE, effective
from ..tables import cells as map_cells
from ..tables import kernel_name

Function = Callable[[torch.Tensor], torch.Tensor]
MOST = 65536  # values of a vector inside a block: larger outputs are maps
SQUEEZES: dict[str, Function] = {  # (…, H, W) → (…)
    "mean": lambda u: u.mean((-2, -1)),
    "max": lambda u: u.amax((-2, -1)),
}
EXCITATIONS: dict[str, Function] = {  # (…, M, C) → (…, M, C)
    "sigmoid": torch.sigmoid,
    "hard sigmoid": F.hardsigmoid,
    "tanh": torch.tanh,
    "ReLU": torch.relu,
    "softmax over branches": lambda a: a.softmax(-2),
    "softmax over channels": lambda a: a.softmax(-1),
}
SYMBOLS = {"sigmoid": r"\sigma", "hard sigmoid": r"\mathrm{hard}\,\sigma", "tanh": r"\tanh",
           "ReLU": r"\mathrm{ReLU}", "softmax over branches": r"\mathrm{softmax}_m",
           "softmax over channels": r"\mathrm{softmax}_c"}


@dataclass(frozen=True)
class Step:
    """A layer inside a block that gave a vector: its path, what it was given (None for a map), what it gave."""

    path: str
    module: nn.Module
    entered: torch.Tensor | None
    output: torch.Tensor

    @property
    def weighs(self) -> bool:
        """Whether it is a linear layer or a convolution."""
        return isinstance(self.module, (nn.Linear, _ConvNd)) and self.entered is not None

    @property
    def weight(self) -> torch.Tensor:
        """Of a layer that weighs."""
        assert isinstance(self.module, (nn.Linear, _ConvNd))
        return self.module.weight

    @property
    def bias(self) -> torch.Tensor | None:
        """Of a layer that weighs."""
        assert isinstance(self.module, (nn.Linear, _ConvNd))
        return self.module.bias


@dataclass(frozen=True)
class Anatomy:
    """One block on one picture. Tensors are float32, on the CPU.

    Attributes:
        block: the block.
        view: the inspection it was seen in.
        maps: (M, C, H, W), the branches U_m, or U where there is one.
        gate: (M, C).
        output: (C, H, W), s·U or Σ a_m·U_m as the network had it; computed here where no part of it gives the sum.
        steps: the layers from the squeezed vector to what the gate's activation is given, in order; () where they
            could not be found, and ``missing`` says why.
        squeeze: how the vector that the first layer is given comes from U: "mean" or "max" over space; None for
            neither.
        excitation: the key of ``EXCITATIONS`` that makes the gate of the last layer's output; None for another one.
        missing: one sentence, or "".
        error: the largest difference of Σ_m gate·map from the output; None where that was computed, not seen.
    """

    block: AttentionBlock
    view: View
    maps: torch.Tensor
    gate: torch.Tensor
    output: torch.Tensor
    steps: tuple[Step, ...] = ()
    squeeze: str | None = None
    excitation: str | None = None
    missing: str = ""
    error: float | None = 0.0

    @property
    def summed(self) -> torch.Tensor:
        """U, (C, H, W): the sum of the branches."""
        return self.maps.sum(0)

    @property
    def squeezed(self) -> torch.Tensor | None:
        """The vector that the first layer is given, (C,): z of the SE paper, s of the SK paper."""
        return self.steps[0].entered if self.steps else None

    @property
    def hidden(self) -> torch.Tensor | None:
        """What the last layer is given; None for a block of a single layer."""
        return self.steps[-1].entered if sum(step.weighs for step in self.steps) > 1 else None

    @property
    def logits(self) -> torch.Tensor | None:
        """What the gate's activation is given, (M, C)."""
        return self.steps[-1].output.reshape(self.gate.shape) if self.steps else None


class NotFinite(ValueError):
    """What a network gives for a picture is not finite, which leaves nothing to tell of it."""


def dissect(model, batch: torch.Tensor, label: str) -> Anatomy:
    """Take a block apart, in one forward of one picture.

    Args:
        model: a ``senet_viz.Model``.
        batch: (1, 3, H, W).
        label: of the block, or its name.

    Raises:
        ValueError: for an unknown block, or where its maps before and after the gate are no feature maps of one shape.
        NotFinite: where the network's output for the picture is not finite.
    """
    block, module = block_of(model.blocks, label), eager(model.module)
    scope = block.path  # of a gate written inline, the module around it
    call = block.place.removeprefix(scope)  # "@1", of a module that is called several times
    steps: list[Step] = []

    def keep(path: str, part: nn.Module, entered: object, output: object) -> None:
        if (given := _vector(output)) is not None:
            steps.append(Step(path, part, _vector(entered), given))

    points = [point for point in contribution_points([block]) if point[1] != "shortcut"]
    seen: list[Point] = [(block.name, "output")] * block.has_output
    with hooked(module) as hooks:
        for path, part in module.get_submodule(scope).named_modules():
            path = f"{scope}.{path}".strip(".")
            # a convolution may hold a module for its padding
            layer = isinstance(part, (nn.Linear, _ConvNd)) or not any(part.children())
            if layer and not path.startswith(block.paths or ("\0",)):
                hooks.after(path + call,
                            lambda entered, output, path=path, part=part: keep(path, part, entered, output))
        view = inspect(model, batch[:1], features=[*points, *seen])
    if not is_finite(view):
        raise NotFinite("The network's output for this picture is not finite, so its gates say nothing.")
    gate, maps = view.gates[block.name][0].cpu(), torch.stack([view.features[point][0].cpu() for point in points])
    weighted = (gate[(..., *[None] * block.space)] * maps).sum(0)
    output = view.features[seen[0]][0].cpu() if seen else weighted
    if len(maps) != len(gate) or maps.shape[1] != gate.shape[1] or maps.shape[1:] != output.shape:
        raise ValueError(f"{block.label} cannot be taken apart: its maps {tuple(maps.shape)}, gate "
                         f"{tuple(gate.shape)} and output {tuple(output.shape)} do not belong together.")
    found = Anatomy(block, view, maps, gate, output, error=float((weighted - output).abs().max()) if seen else None)
    return _with_layers(found, steps, inline="#" in block.name)


def _vector(value: object) -> torch.Tensor | None:
    """The one vector in a tensor: (1, C), (1, C, 1, 1), (1, 1, C), …, flat; None for maps and everything else."""
    if not isinstance(value, torch.Tensor) or value.dim() < 2 or len(value) != 1 or value.numel() > MOST:
        return None
    if value.dim() > 2 and max(value.shape[1:]) != value.numel():
        return None
    return value.detach().float().cpu().flatten().clone()


def _same(a: torch.Tensor | None, b: torch.Tensor) -> bool:
    return a is not None and a.shape == b.shape and torch.allclose(
        a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max()) + 1e-7)


def _with_layers(found: Anatomy, steps: list[Step], inline: bool) -> Anatomy:
    """The layers from the squeezed vector to the gate, where they can be told."""
    label, (branches, channels) = found.block.label, found.gate.shape
    pools = {name: pool(found.summed) for name, pool in SQUEEZES.items()}
    weighing = [i for i, step in enumerate(steps) if step.weighs]
    ends: dict[int, str | None] = {}
    for i in weighing:
        if steps[i].output.numel() == branches * channels:
            gates = {name: act(steps[i].output.reshape(branches, channels)) for name, act in EXCITATIONS.items()
                     if branches > 1 or name != "softmax over branches"}
            # sigmoid and hard sigmoid are near each other where what they are given is small
            nearest = min(gates, key=lambda name: float((gates[name] - found.gate).abs().max()))
            ends[i] = nearest if _same(gates[nearest], found.gate) else None
    squeezes = {i: next((name for name, z in pools.items() if _same(steps[i].entered, z)), None) for i in weighing}
    start = next((i for i in weighing if squeezes[i]), None if inline else next(iter(weighing), None))
    end = next((i for i in reversed(ends) if ends[i]), next(reversed(ends), None))
    if start is None or end is None or end < start:
        return replace(found, missing=(
            f"No layer inside {label} is given a vector of one value a channel, so that nothing is known of it between "
            "its maps and its gate."))
    chain = steps[start:end + 1]
    paths = [step.path for step in chain if step.weighs]
    if len(set(paths)) < len(paths):
        return replace(found, missing=f"{label} runs the same layers more than once in a forward, so that it has no "
                                      f"single squeezed vector.")
    if any(step.entered is None for step in chain):
        return replace(found, missing=f"{label} squeezes more than once, so that it has no single squeezed vector.")
    return replace(found, steps=tuple(chain), squeeze=squeezes[start], excitation=ends[end])


def strips(found: Anatomy) -> pd.DataFrame:
    """The numbers of a block, in the order of the forward: a row a number.

    Columns: strip, unit ("channel" or "hidden unit"), index, value, scale (strips of one scale are to be coloured
    alike: "gate", "size" or the strip's own). Root mean squares (RMS) are over space.
    """
    block, parts = found.block, []

    def add(strip: str, values: torch.Tensor, scale: str = "", unit: str = "channel") -> None:
        parts.append(pd.DataFrame({"strip": strip, "unit": unit, "index": range(len(values)), "value": values.numpy(),
                                   "scale": scale or strip}))

    def size(maps: torch.Tensor) -> torch.Tensor:
        return maps.square().mean((-2, -1)).sqrt()

    weighs = block.branches > 1
    if weighs:
        for m, branch in enumerate(found.maps):
            add(f"RMS of U, {kernel_name(block, m)} branch", size(branch), "size")
    if found.squeezed is not None:
        how = f"{found.squeeze} of U over space" if found.squeeze else "what the first layer is given"
        add(f"{'s' if weighs else 'z'}, {how}", found.squeezed,
            unit="channel" if len(found.squeezed) == block.channels else "input")
    if found.hidden is not None:
        add("z, the hidden layer" if weighs else "hidden layer", found.hidden, unit="hidden unit")
    for m, values in enumerate(found.gate):
        add(f"weight of {kernel_name(block, m)}" if weighs else "gate s", values, "gate")
    if not weighs:
        add("RMS of U, before the gate", size(found.maps[0]), "size")
    add("RMS of the weighted sum" if weighs else "RMS of s·U, after the gate", size(found.output), "size")
    return pd.concat(parts, ignore_index=True)


def effective_units(found: Anatomy) -> float:
    """As how many equal hidden units those of a block count for this picture: (Σv)² / Σv².

    v_j = ‖w_j‖² h_j² is what unit j adds to the last layer's output, w_j the weights by which it goes out.

    Returns:
        1 or more; nan for a block without a hidden layer, or where all units are 0.
    """
    layers = [step for step in found.steps if step.weighs]
    weights = outgoing(layers[-1].module) if found.hidden is not None else None
    return float("nan") if weights is None or found.hidden is None else effective(
        weights.cpu() * found.hidden.double().square())


def default_block(labels: Sequence[str], stats: Statistics | None) -> str:
    """The last of these blocks whose gate moves in more than one direction; the last of all where that is not known.

    Args:
        labels: in network order, at least one.
        stats: of the network; None where there are none.
    """
    if stats is None or not stats.sampled:
        return labels[-1]
    return next((label for label in reversed(labels) if stats.measures(label, zoom=stats.zooms[0])["dimension"] >= ONE),
                labels[-1])


def describe(found: Anatomy, stats: Statistics | None = None) -> str:
    """What there is to say of a block on this picture, in sentences (Markdown).

    Args:
        found: the block.
        stats: of the network, for what its hidden units do over many pictures; None where there are none.
    """
    block, gate = found.block, found.gate
    name, (_, height, width) = f"**{block.label}**", found.output.shape
    layers = [step for step in found.steps if step.weighs]
    if found.missing:
        text = found.missing
    else:
        z, first = found.squeezed, type(layers[0].module).__name__
        vector = "s" if block.branches > 1 else "z"
        if found.squeeze and z is not None:
            error = float((z - SQUEEZES[found.squeeze](found.summed)).abs().max())
            text = (f"The vector {vector} that {name} hands to its first layer is the {found.squeeze} of U over its "
                    f"{height}×{width} places {_exactly(error)}.")
        else:
            text = (f"{name} does not squeeze by a mean or maximum over space: the strip has what its first layer "
                    f"({first}) is given.")
        if found.hidden is None:
            text += f" It has no hidden layer: one {first} leads from {vector} to the gate."
        else:
            text += f" {_hidden(found, stats)}"
    low, high = f"{float(gate.min()):.3f}", f"{float(gate.max()):.3f}"
    weighs = block.branches > 1
    text += (f" The {'weights run' if weighs else 'gate runs'} from {low} to {high}" if low != high else
             f" The {'weights are' if weighs else 'gate is'} {low} in every channel")
    text += f", the {found.excitation} of the last layer's output." if found.excitation else "."
    product = "Σ a·U" if block.branches > 1 else "s·U"
    text += (f" {product} is computed here and was not seen, for no part of the network gives that sum" if
             found.error is None else f" {product} is the block's output {_exactly(found.error)}")
    if block.gain != 1:
        text += f", before the factor of {block.gain:g} that follows"
    return f"{text}; its largest value is {float(found.output.abs().max()):.2g}."


def _hidden(found: Anatomy, stats: Statistics | None) -> str:
    """How many hidden units are above zero, and as how many they count."""
    assert found.hidden is not None
    count, live = effective_units(found), int((found.hidden > 0).sum())
    text = f"{live} of its {len(found.hidden)} hidden units are above zero for this picture"
    if count == count:
        text += (f"; by what each adds to the last layer's output, v = ‖w‖²h², they count as **{count:.1f}** equal "
                 f"ones, (Σv)²/Σv²")
    units = stats.hidden(found.block.label, zoom=stats.zooms[0]) if stats is not None and stats.sampled else {}
    if units and stats is not None:
        text += (f". Over {stats.sampled:,} pictures of {plain(stats.metadata['data'])} {units['alive']:.0f} live "
                 f"(above zero in 1 to 99 %)")
        if units["effective"] == units["effective"]:
            text += f", and by the variance that each adds they count as **{units['effective']:.1f}**"
    return f"{text}."


def _exactly(error: float) -> str:
    return f"to within {error:.0e}" if error else "exactly"


def formulae(found: Anatomy) -> list[str]:
    """The block's steps in LaTeX, with its own sizes."""
    block, (_, height, width) = found.block, found.output.shape
    weighs, layers = block.branches > 1, [step for step in found.steps if step.weighs]
    z, h, s = ("s", "z", "a") if weighs else ("z", "h", "s")
    lines = []

    def add(line: str, sizes: str = "") -> None:
        lines.append(rf"\begin{{gathered}}{line}\\[-2pt] {{\small {sizes}}}\end{{gathered}}" if sizes else line)

    if weighs:
        add(r"U = \sum_{m=1}^{M} U_m", rf"M = {block.branches},\; C = {block.channels}")
    if found.squeeze:
        add(rf"{z}_c = \frac{{1}}{{H W}} \sum_{{i,j}} U_c(i,j)" if found.squeeze == "mean"
            else rf"{z}_c = \max_{{i,j}} U_c(i,j)",
            rf"H \times W = {height} \times {width},\; C = {block.channels}")
    last = z
    for number, layer in enumerate(layers, 1):
        weight, term = layer.weight, f"W_{number} {last}"
        sizes = rf"W_{number} \in \mathbb{{R}}^{{{weight.shape[0]} \times {weight[0].numel()}}}"
        if isinstance(layer.module, nn.Conv1d):
            term, sizes = rf"w_{number} * {last}", rf"w_{number} \in \mathbb{{R}}^{{{weight.numel()}}}"
        if layer.bias is not None:
            term += f" + b_{number}"
        if layer is layers[-1]:
            act = SYMBOLS.get(found.excitation, "f") if found.excitation else "f"
            add(f"{s} = {act}({term})", sizes)
        else:
            term, last = _between(found, layer, term), h if number == len(layers) - 1 else f"{h}_{number}"
            hidden = len(layer.output)
            ratio = rf",\; r = {block.channels} / {hidden} = {block.channels / hidden:.4g}" if number == 1 else ""
            add(f"{last} = {term}", sizes + ratio)
    if not weighs:
        add(r"\tilde U_c = s_c \cdot U_c")
    else:
        add(r"V_c = \sum_m a_{m,c}\, U_{m,c}",
            r"\sum_m a_{m,c} = 1" if found.excitation == "softmax over branches" else "")
    return lines


def may_be_rectified(step: Step, following: Step) -> bool:
    """Whether a ReLU written as a function may lie between two steps, the second of which weighs.

    That of a layer whose values are all above zero changes none of them, so that it is not seen.
    """
    return (following.weighs and next(step.module.parameters(), None) is not None
            and bool((step.output >= 0).all()) and _same(following.entered, step.output))


def _between(found: Anatomy, layer: Step, term: str) -> str:
    """What happens to a layer's output before the next one, around ``term``: BN, ReLU and the like."""
    for before, step in pairwise(found.steps[found.steps.index(layer):]):
        if step.weighs:
            unknown = may_be_rectified(before, step)
            if unknown or not _same(step.entered, before.output):  # by a function, not a module
                known: dict[str, Function] = {} if unknown else {"ReLU": F.relu, "SiLU": F.silu, "GELU": F.gelu}
                act = next((name for name, f in known.items() if _same(step.entered, f(before.output))), "f")
                term = rf"\mathrm{{{act}}}({term})"
            break
        if not isinstance(step.module, nn.Identity):
            name = type(step.module).__name__
            term = rf"\mathrm{{{'BN' if name.startswith('BatchNorm') else name}}}({term})"
    return term


def channel_maps(found: Anatomy, channel: int) -> dict[str, np.ndarray]:
    """One channel's maps (H, W) by name: before and after the gate, or the branches, their sum and the weighted sum."""
    if found.block.branches == 1:
        return {"before: U": found.maps[0, channel].numpy(), "after: s·U": found.output[channel].numpy()}
    named = {f"{kernel_name(found.block, m)} branch": branch[channel].numpy() for m, branch in enumerate(found.maps)}
    return {**named, "U, their sum": found.summed[channel].numpy(), "weighted sum": found.output[channel].numpy()}


def describe_channel(found: Anatomy, channel: int) -> tuple[str, str]:
    """What happens to one channel: a sentence, and a short line for beside its picture."""
    block, gate = found.block, found.gate[:, channel]
    if block.branches == 1:
        rank, others = int((found.gate[0] > gate[0]).sum()) + 1, int((found.gate[0] == gate[0]).sum()) - 1
        shared = f", which it shares with {others} more" * (others > 0)
        z = found.squeezed
        pooled = "" if found.squeeze is None or z is None else f" Its {found.squeeze} is {float(z[channel]):.3f}."
        return (f"Channel {channel}: every value of the map is multiplied by the gate {float(gate[0]):.3f}, rank "
                f"{rank} of {block.channels}{shared}.{pooled} Both maps share one colour scale.",
                f"gate {float(gate[0]):.3f} (#{rank})")
    terms = " + ".join(f"{float(a):.3f} · {kernel_name(block, m)}" for m, a in enumerate(gate))
    chosen = kernel_name(block, int(gate.argmax()))
    return (f"Channel {channel}: its weights sum to {float(gate.sum()):.3f}, and the weighted sum is {terms}; the "
            f"largest weight is that of {chosen}. All maps share one colour scale.",
            ", ".join(f"{kernel_name(block, m)} {float(a):.2f}" for m, a in enumerate(gate)))


def cells(found: Anatomy, channel: int) -> pd.DataFrame:
    """``channel_maps`` as a table: map, row, column, value; a row a cell."""
    return map_cells({"": channel_maps(found, channel)}).drop(columns="picture")
