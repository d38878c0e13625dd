"""Other gates in the place of a block's own, with the block's own weights: swapped in, not retrained.

The SE paper's ablations of the squeeze and the excitation (Sec. 6), and three structures in circulation that are no SE
block. Every variant scales the same maps U, those of one picture; all of them go on to the prediction in one forward.

Whether a variant's gate says the same as the block's own is told across pictures, channel by channel. Across the
channels of one picture it would only say that both have large and small channels: a gate that is a mean pattern times
one number is like almost any other gate that way.
"""
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeGuard

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from ..gates import Edit, inspect
from ..gates.answers import CLASSIFICATION, by_class
from ..gates.blocks import block_of, eager
from ..gates.hooks import hooked
from ..gates.points import on_output
from ..reports import papers
from ..reports.text import plain
from ..tables import kernel_name
from .anatomy import EXCITATIONS, SQUEEZES, Anatomy, Function, NotFinite, Step, dissect, may_be_rectified

OWN = "as it is"
FEWEST = 5  # pictures for a correlation across them
STILL = 1e-6  # a gate whose values over the pictures lie within this does not move
ALONG_ONE = 0.9  # the share of a gate's variance from which on it is said to lie along one direction
NO_LAYERS, CONVOLUTION, PARALLEL = "no FC layers", "plain convolution", "from the unit's input"
OTHERS = "other squeezes, layers and excitations"


@dataclass(frozen=True)
class Variants:
    """Variants of one block on one picture.

    Attributes:
        found: the block as it is.
        gates: variant → (M, C); of a plain convolution, which has no gate, the scalar by which U_c comes nearest to its
            output. The first is ``OWN``, the block's.
        logits: variant → (K,), of the network with the variant in the block's place; none of one that is no classifier.
        groups: variant → "squeeze", "layers", "excitation" or "structure".
        outputs: variant → (C, H, W), what a plain convolution puts in the place of s·U.
        vectors: variant → (C,), what is squeezed for it where that is not the block's own vector.
        left_out: variant → one sentence on why it is not there.
        across: variant → (N, M, C), its gate in each of N pictures, this one first; also "vector" and "vector of …",
            (N, C), what is squeezed. A variant that cannot be computed in all of them is not there, nor is a picture
            for which the network's output is not finite.
    """

    found: Anatomy
    gates: dict[str, torch.Tensor]
    logits: dict[str, torch.Tensor]
    groups: dict[str, str]
    outputs: dict[str, torch.Tensor]
    vectors: dict[str, torch.Tensor]
    left_out: dict[str, str]
    across: dict[str, torch.Tensor]

    @property
    def pictures(self) -> int:
        """N, over how many pictures gates are compared."""
        return len(self.across[OWN])

    @property
    def along_one(self) -> float:
        """Share of the variance over the N pictures of the own gate's channels that lies along one direction, 0..1.

        Of the last branch; nan for a gate that does not move, and for fewer than ``FEWEST`` pictures. So few pictures
        have few directions: what is near 1 is, what is not is not told to be otherwise.
        """
        own = self.across[OWN][:, -1].double()
        if len(own) < FEWEST or not (np.ptp(own.numpy(), 0) > STILL).any():
            return float("nan")
        powers = torch.linalg.svdvals(own - own.mean(0)).square()
        return float(powers[0] / powers.sum())


def variants(model, batch: torch.Tensor, label: str, others: torch.Tensor | Sequence[torch.Tensor] = ()) -> Variants:
    """All variants of a block that its own weights allow.

    Args:
        model: a ``senet_viz.Model``.
        batch: (1, 3, H, W).
        label: of the block, or its name.
        others: (N − 1, 3, H, W), or so many of (1, 3, H, W): further pictures, over which the variants' gates are
            compared with the block's own; a forward each. Fewer than four tell nothing.

    Raises:
        ValueError: as ``senet_viz.experiments.anatomy.dissect``.
    """
    module, run = eager(model.module), _look(model, batch[:1], label)
    found, block = run.found, run.found.block
    names = list(run.groups)
    rows = batch[:1].expand(len(names), -1, -1, -1)
    with hooked(module) as hooks:
        if found.steps:
            first, last = found.steps[0].path, found.steps[-1].path
            hooks.before(first, lambda x: _put(x, {names.index(n): v for n, v in run.vectors.items()}))
            for path in {first, last}:
                hooks.after(path, lambda entered, output, path=path: _put(
                    output, {names.index(n): forms[path](entered[names.index(n)]) for n, forms in run.forms.items()}))
        if run.outputs:
            on_output(hooks, block, lambda output: _put(output, {names.index(n): v for n, v in run.outputs.items()}))
        view = inspect(model, rows, edits=[Edit(block.label, gate, rows=[names.index(name)])
                                           for name, gate in run.gates.items() if name not in run.outputs])
    gates = {name: run.gates.get(name, view.gates[block.name][i].cpu()) for i, name in enumerate(names)}
    told = model.answer.task == CLASSIFICATION
    logits = {name: view.logits[i].cpu() for i, name in enumerate(names)} if told else {}
    pictures = [run.computed()]
    for other in others.split(1) if isinstance(others, torch.Tensor) else others:
        with suppress(NotFinite):
            pictures.append(_look(model, other, label).computed())
    return Variants(found, gates, logits, run.groups, run.outputs, run.vectors, run.left_out, _across(pictures))


def _look(model, picture: torch.Tensor, label: str) -> "_Run":
    """What there is to swap in for one picture, (1, 3, H, W), in one forward."""
    entering: list[torch.Tensor] = []
    block = block_of(model.blocks, label)
    scope = block.path
    unit = scope if "#" in block.name or block.branches > 1 else scope.rpartition(".")[0]
    with hooked(eager(model.module)) as hooks:
        hooks.before(unit, lambda x: entering.append(x.detach().float().cpu().clone()))
        run = _Run(dissect(model, picture, label))
    if run.found.steps:
        run.plan()
        run.parallel(entering[0] if len(entering) == 1 else None)
    else:
        run.left_out = dict.fromkeys((OTHERS, PARALLEL), run.found.missing)
    return run


def _across(pictures: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.stack([each[name] for each in pictures]) for name in pictures[0]
            if all(name in each for each in pictures)}


def _put(whole: torch.Tensor, values: dict[int, torch.Tensor]) -> torch.Tensor | None:
    """The tensor with some of its rows replaced."""
    if not values:
        return None
    whole = whole.clone()
    for row, value in values.items():
        whole[row] = value.to(whole).reshape(whole[row].shape)
    return whole


class _Run:
    """What is swapped in: gates computed here, vectors handed to the first layer, layers of another form."""

    def __init__(self, found: Anatomy):
        self.found = found
        self.groups = {OWN: ""}
        self.gates: dict[str, torch.Tensor] = {}
        self.vectors: dict[str, torch.Tensor] = {}
        self.forms: dict[str, dict[str, Function]] = {}
        self.outputs: dict[str, torch.Tensor] = {}
        self.left_out: dict[str, str] = {}

    def plan(self) -> None:
        found, block = self.found, self.found.block
        assert found.logits is not None and found.squeezed is not None  # for there are steps
        for name, pool in SQUEEZES.items():
            if name != found.squeeze:
                self.groups[f"squeeze: {name}"] = "squeeze"
                self.vectors[f"squeeze: {name}"] = pool(found.summed)
        layers = [step for step in found.steps if step.weighs]
        name = f"layers: {'1×1 convolutions' if isinstance(layers[0].module, nn.Linear) else 'linear'}"
        if all(_plain(layer.module) for layer in layers):
            self.groups[name] = "layers"
            self.forms[name] = {layer.path: _other_form(layer) for layer in (layers[0], layers[-1])}
        else:
            self.left_out["layers of another form"] = (
                f"The layers of {block.label} are no full matrices from channels to channels.")
        for name, act in EXCITATIONS.items():
            if name not in (found.excitation, "hard sigmoid") and (block.branches > 1 or "branches" not in name):
                self._gate(f"excitation: {name}", "excitation", act(found.logits))
        if found.excitation is not None:
            self._gate(NO_LAYERS, "structure", EXCITATIONS[found.excitation](found.maps.mean((-2, -1))))
        else:
            self.left_out[NO_LAYERS] = f"The activation of {block.label}'s gate is none that is known here."
        if block.branches == 1:
            self._convolution()

    def _gate(self, name: str, group: str, gate: torch.Tensor) -> None:
        self.groups[name], self.gates[name] = group, gate

    def _convolution(self) -> None:
        """The block's layers as 1×1 convolutions over the whole map, and their output in the place of s·U."""
        found, u = self.found, self.found.maps[0]
        try:
            with torch.no_grad():
                output = over(found, u[None])[0]
        except (ValueError, RuntimeError):
            self.left_out[CONVOLUTION] = f"The layers of {found.block.label} cannot be laid over a whole map."
            return
        energy = u.square().sum((-2, -1))
        self._gate(CONVOLUTION, "structure", ((output * u).sum((-2, -1)) / energy.clamp_min(1e-12))[None])
        self.outputs[CONVOLUTION] = output

    def parallel(self, entering: torch.Tensor | None) -> None:
        """A gate on what enters the unit, beside its convolutions, instead of on what leaves them."""
        found = self.found
        assert found.squeezed is not None
        if entering is None or entering.dim() != 4:
            self.left_out[PARALLEL] = f"What enters the unit around {found.block.label} is no single feature map."
        elif entering.shape[1] != len(found.squeezed):
            self.left_out[PARALLEL] = (
                f"What enters the unit around {found.block.label} has {entering.shape[1]} channels, but its first "
                f"layer takes {len(found.squeezed)}: such a gate would need other weights.")
        else:
            self.groups[PARALLEL] = "structure"
            self.vectors[PARALLEL] = SQUEEZES[found.squeeze or "mean"](entering[0])

    def computed(self) -> dict[str, torch.Tensor]:
        """What can be computed of the gates without running the network again; and what is squeezed, as "vector"."""
        found = self.found
        gates = {OWN: found.gate, **self.gates}
        if found.squeezed is not None:
            gates["vector"] = found.squeezed
        if found.excitation is not None:
            with suppress(ValueError, RuntimeError):
                for name, vector in self.vectors.items():
                    gate = over(found, vector[None, :, None, None]).detach().reshape(found.gate.shape)
                    gates |= {name: EXCITATIONS[found.excitation](gate), f"vector of {name}": vector}
        return gates


def over(found: Anatomy, x: torch.Tensor) -> torch.Tensor:
    """A block's layers, from the squeezed vector to what the gate's activation is given, at every place of a map.

    Args:
        found: the block.
        x: (N, C, H, W); of the block's own vector, (1, C, 1, 1), the result is what the block itself had.

    Raises:
        ValueError: where its layers are no 1×1 convolutions, or do not give what the block itself had.
    """
    def run(x: torch.Tensor) -> torch.Tensor:
        for step in found.steps:
            module = step.module
            if not step.weighs:
                x = F.relu(x) if isinstance(module, nn.ReLU) else module(x)  # not in place
            elif _plain(module):
                x = F.conv2d(x, module.weight.flatten(1)[..., None, None], module.bias)
            else:
                raise ValueError("layers that are no 1×1 convolutions cannot be laid over a map")
        return x

    squeezed, logits = found.squeezed, found.logits
    if squeezed is None or logits is None:
        raise ValueError(found.missing)
    if any(may_be_rectified(*steps) for steps in pairwise(found.steps)):
        raise ValueError("a ReLU between these layers that is no module is not seen where all units are above zero")
    weight = next(step.weight for step in found.steps if step.weighs)
    with torch.no_grad():
        own = run(squeezed.to(weight)[None, :, None, None]).float().cpu().flatten()
    if not torch.allclose(own, logits.flatten(), rtol=1e-3, atol=1e-3 * float(own.abs().max())):
        raise ValueError("there is more between these layers than modules")
    return run(x.to(weight)).float().cpu()


def dependence(found: Anatomy) -> float:
    """How much of a gate is decided by other channels: the share of Σ |∂s_c/∂z_k| with k ≠ c, in 0..1.

    Layers that weigh all C channels alike have 1 − 1/C of it, which says nothing but that they are dense: see
    ``own_weight``.

    Args:
        found: a block whose gate is a known function of its layers' output.

    Raises:
        ValueError: as ``over``, for another block, or where the derivatives vanish.
    """
    if found.excitation is None or found.squeezed is None:
        raise ValueError(found.missing or f"the activation of {found.block.label}'s gate is none that is known here")
    act = EXCITATIONS[found.excitation]

    def gate(z: torch.Tensor) -> torch.Tensor:
        return act(over(found, z[None, :, None, None]).reshape(found.gate.shape))

    slopes = torch.func.jacfwd(gate)(found.squeezed).detach().abs().sum(0)  # (C, C): of s_c by z_k
    if not slopes.any():
        raise ValueError("the gate does not depend on the squeezed vector here")
    return 1 - float(slopes.diagonal().sum() / slopes.sum())


def own_weight(found: Anatomy) -> float:
    """How many times as much a channel's own mean moves its gate as an average channel's: C (1 − ``dependence``).

    1 for layers that know no own channel, C for a gate of its own channel alone. Raises ValueError as ``dependence``.
    """
    share = 1 - dependence(found)
    return share * found.block.channels


def _plain(module: nn.Module) -> TypeGuard[nn.Linear | nn.Conv2d]:
    """Whether a layer is one matrix from channels to channels."""
    return isinstance(module, nn.Linear) or (
        isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1)


def _other_form(layer: Step) -> Function:
    """A linear layer computed as a 1×1 convolution, and the other way round."""
    if isinstance(layer.module, nn.Linear):
        return lambda x: F.conv2d(x.reshape(1, -1, 1, 1), layer.weight[..., None, None], layer.bias)
    return lambda x: F.linear(x.reshape(1, -1), layer.weight.flatten(1), layer.bias)


def table(run: Variants, classes: list[str]) -> pd.DataFrame:
    """What each variant does: a row a variant, the block's own first.

    Columns: variant, group, correlation, lower, upper (median and quartiles over branches and channels of Pearson's
    correlation with the block's own gate across ``run.pictures`` pictures; nan of fewer than ``FEWEST``, of a gate that
    does not move and where it was not computed), difference (mean absolute, from the own gate), lowest, mean, highest,
    class (the most probable with the variant swapped in), probability (its softmax), own class (that of the most
    probable class of the network as it is); of a network without logits "" and nan.
    """
    own, rows = run.gates[OWN].double().numpy(), []
    told = {name: by_class(logits, classes) for name, logits in run.logits.items()}  # of one logit both sides
    for name, gate in run.gates.items():
        values = gate.double().numpy()
        logits, names = told.get(name, (None, []))
        probable = None if logits is None else logits.softmax(0)
        lower, median, upper = _quartiles(agreement(run, name))
        rows.append({"variant": name, "group": run.groups[name], "correlation": median, "lower": lower, "upper": upper,
                     "difference": np.abs(values - own).mean(), "lowest": values.min(), "mean": values.mean(),
                     "highest": values.max(),
                     "class": "" if probable is None else names[int(probable.argmax())],
                     "probability": np.nan if probable is None else float(probable.max()),
                     "own class": np.nan if probable is None else float(probable[int(told[OWN][0].argmax())])})
    return pd.DataFrame(rows)


def strips(run: Variants) -> pd.DataFrame:
    """The gates as ``senet_viz.experiments.anatomy.strips`` has them; of several branches the last one's weight."""
    parts = []
    for name, gate in run.gates.items():
        values = gate[-1].numpy()
        parts.append(pd.DataFrame({
            "strip": name, "unit": "channel", "index": range(len(values)), "value": values,
            "scale": "gate" if 0 <= values.min() and values.max() <= 1 else name}))
    return pd.concat(parts, ignore_index=True)


def findings(run: Variants) -> list[str]:
    """What goes wrong in each structure, and what the other form of the layers changes, in sentences with numbers."""
    found, own, said = run.found, run.gates[OWN].double().numpy(), []
    label = found.block.label
    if run.along_one >= ALONG_ONE:
        said.append(f"Over these {run.pictures} pictures {run.along_one:.0%} of the variance of {label}'s own gate "
                    f"lies along one direction: its {found.block.channels:,} channels are nearly one number for each "
                    f"picture, and agree with another gate all together or not at all.")
    for name, gate in run.gates.items():
        values = gate.double().numpy()
        if run.groups[name] == "layers":
            error = float(np.abs(values - own).max())
            said.append(f"**{_capital(name)}** in the place of the block's own, with the same weights: the gates "
                        + (f"differ by {error:.0e} at most, which is rounding." if error else "are identical."))
        elif name == "excitation: softmax over channels":
            said.append(f"**{_capital(name)}** makes the channels compete: their gates sum to 1, so that with "
                        f"{gate.shape[1]} channels the mean is {values.mean():.2g} and the highest {values.max():.2g}.")
        elif name == NO_LAYERS:
            text = f"**{_capital(name)}**, the {found.excitation} of the pooled values themselves: a channel's gate "
            text += {"softmax over channels": "can follow the others' means by their sum alone.",
                     "softmax over branches": "can follow nothing but its own means in the branches."}.get(
                         found.excitation or "", "can follow nothing but its own mean.")
            with suppress(ValueError, RuntimeError):
                channels = found.block.channels
                text += (f" In {label} as it is {dependence(found):.1%} of the gate's sensitivity to the squeezed "
                         f"vector (Σ |∂s/∂z|) is to other channels, which any dense layer has that weighs all channels "
                         f"alike: 1 − 1/C is {1 - 1 / channels:.1%}. The gate of a channel is "
                         f"{own_weight(found):.2f} times as sensitive to that channel's own squeezed value as to one "
                         f"of all channels on average.")
            said.append(f"{text} {_agrees(run, name)}")
        elif name == CONVOLUTION:
            u, out = found.maps[0].double(), run.outputs[name].double()
            both = u.square().sum((-2, -1)) * out.square().sum((-2, -1))
            along = ((u * out).sum((-2, -1)).square() / both)[both > 0]
            text = (f"**{_capital(name)}**, the block's layers over the whole map and their output in the "
                    f"place of s·U: this is no gate, for it mixes channels.")
            if len(along):
                text += (f" On average {float(along.mean()):.0%} of the energy of an output channel lies along its own "
                         f"U (100 % for any gate); its strip has the nearest scaling. {_agrees(run, name)}")
            said.append(text)
        elif name == PARALLEL:
            pooled = _quartiles(_correlations(run.across.get(f"vector of {name}"), run.across.get("vector")))[1]
            said.append(f"**A gate {name}**, in parallel with the convolutions: it describes another tensor. "
                        + (f"Across the pictures the median channel's pooled input has a correlation of "
                           f"{pooled:+.2f} with its pooled U. " if np.isfinite(pooled) else "") + _agrees(run, name))
    return said + [f"**{_capital(name)}** {'are' if name == OTHERS else 'is'} left out. {why}"
                   for name, why in run.left_out.items()]


def effect(run: Variants, shown: pd.DataFrame) -> str:
    """What the gates are made of and what they do to the prediction, in sentences.

    Args:
        run: the variants.
        shown: their ``table``.
    """
    block = run.found.block
    text = f"Each strip is a gate for the same maps U of **{block.label}**, made with the block's own weights"
    text += f"; shown is the weight of the last branch, {kernel_name(block, -1)}. " if block.branches > 1 else ". "
    if not run.logits:
        return text.strip()
    own, others = shown.iloc[0], shown.iloc[1:]
    text += f"As it is the network says **{plain(own['class'])}** ({own['probability']:.1%}). "
    if others.empty:
        return text
    change = others["own class"] - own["own class"]
    most = others.loc[change.abs().idxmax()]
    turned = others[others["class"] != own["class"]]
    verb = "changes" if len(turned) == 1 else "change"
    text += (f"At this one block {len(turned) or 'none'} of {len(others)} variants {verb} the most probable class"
             + (f" ({', '.join(turned['variant'])})" if len(turned) else "")
             + f"; the probability of {plain(own['class'])} moves most with **{most['variant']}**, to "
             + f"{most['own class']:.1%}. ")
    return text + ("What one block does in a network that was trained without it says little of what training with it "
                   "would give.")


def published() -> str:
    """What the paper measured with such squeezes and excitations, trained."""
    lists = [", ".join(f"{name} {top1:.2f} %" for name, (top1, _) in table.items())
             for table in (papers.SQUEEZES, papers.EXCITATIONS)]
    return (f"**Trained** with them from the start, the SE paper publishes these top-1 errors of SE-ResNet-50: squeeze "
            f"by {lists[0]}; excitation by {lists[1]}.")


def beside(run: Variants, shown: pd.DataFrame) -> pd.DataFrame:
    """The squeezes and excitations that the SE paper trained with, beside what they do when swapped in here.

    Args:
        run: the variants.
        shown: their ``table``.

    Returns:
        A row a choice: question, choice, top1, top5 (published, %), section, variant (of ``shown``; "not tried here"),
        own class, correlation (of ``shown``; nan where it was not tried).
    """
    own = {"squeeze": run.found.squeeze, "excitation": run.found.excitation}
    rows = papers.ABLATIONS[papers.ABLATIONS["question"].isin(own)].drop(columns="published")
    names = [OWN if choice == own[question] else f"{question}: {choice}"
             for question, choice in zip(rows["question"], rows["choice"])]
    tried = shown.set_index("variant")[["own class", "correlation"]].reindex(names).reset_index(drop=True)
    return rows.reset_index(drop=True).assign(
        variant=[name if name in run.gates else "not tried here" for name in names], **tried)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def agreement(run: Variants, name: str) -> np.ndarray:
    """Pearson's correlation of a variant's gate with the own one across the pictures, (M, C); nan as in ``table``."""
    return _correlations(run.across.get(name), run.across[OWN])


def _correlations(a: torch.Tensor | None, b: torch.Tensor | None) -> np.ndarray:
    """Across the first axis; nan where one does not move, and everywhere where one is not there or they are few."""
    if a is None or b is None or len(a) < FEWEST:
        return np.full(b.shape[1:] if b is not None else (1,), np.nan)
    x, y = (each.double().numpy() for each in (a, b))
    moves = (np.ptp(x, 0) > STILL) & (np.ptp(y, 0) > STILL)
    x, y = x - x.mean(0), y - y.mean(0)
    scale = np.sqrt(np.square(x).sum(0) * np.square(y).sum(0))
    return np.divide((x * y).sum(0), scale, out=np.full(scale.shape, np.nan), where=moves)


def _quartiles(values: np.ndarray) -> tuple[float, float, float]:
    values = values[np.isfinite(values)]
    lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75]) if values.size else [float("nan")] * 3
    return float(lower), float(median), float(upper)


def _agrees(run: Variants, name: str) -> str:
    """How a variant's gate goes with the block's own across pictures, in a sentence."""
    found = agreement(run, name)
    if run.pictures < FEWEST:
        return f"Whether the new gate follows the own one is told by {FEWEST} pictures or more."
    lower, median, upper = _quartiles(found)
    if not np.isfinite(median):
        return (f"Across {run.pictures} pictures, this one among them, the new gate has no correlation with the own "
                f"one, for one of the two does not move." if name in run.across else
                "Its gate was not computed for the other pictures.")
    still = found.size - int(np.isfinite(found).sum())
    return (f"Across {run.pictures} pictures, this one among them, the new gate's correlation with the own one is "
            f"{median:+.2f} in the median channel ({lower:+.2f} to {upper:+.2f} in the middle half)"
            + (f"; {still} of {found.size} do not move." if still else "."))
