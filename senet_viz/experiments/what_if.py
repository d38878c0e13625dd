"""Experiments with gates: one picture again and again, each time with other edits, and what becomes of its logits.

A block is "off" where its gate leaves the map as it is: set to 1 (in NFNets to 1 over the number that follows it). In a
unit that weighs branches a 1 for each would add them up, M times their mean: it is forced to each branch instead, or to
all alike. A gate of 1 also takes away how much a gate scales the map as a whole; so beside it stands the picture's own
mean gate in every channel, which takes away the choice between channels alone.

A wider gate makes the maps behind it larger, and with them the logits of all classes. So what is said of a class is its
lead, its logit less the mean logit over all classes (the softmax is the same of both); and beside it how far the logits
of all classes lie apart, for where the mean is near 0 already, as in networks trained with a softmax, they grow apart.

A network of one logit is told of as two classes, 0 against and 1 for (``senet_viz.models.for_and_against``).
"""
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.nn import functional as F

from ..data.class_names import short_names
from ..data.images import zoom
from ..gates import AttentionBlock, Edit, View, edited, inspect, record
from ..gates.answers import CLASSIFICATION, by_class, is_finite
from ..gates.blocks import block_of, eager, to_module
from ..gates.hooks import hooked
from ..gates.removals import branch_values, removals
from ..gates.targets import logits_of
from ..models import Model
from ..reports.text import plain
from ..tables import cells, gates, kernel_name

ROWS = 64  # pictures in one forward
SIZES = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
INPUT = ("",)  # of the network itself
OWN, ALL, FLAT = "own choice", "all blocks", "mean gate"
NOT_FINITE = "The network's output for this picture is not finite."
AGAINST = "against the mean of all classes"  # how the change of a lead is named
WIDER = 1.25  # the factor from which on all logits are said to lie farther apart
ROUNDING = 1e-5  # a change of a logit up to this is none
NOTICED = 0.01  # a mean change of a gate from which on it is said to have moved


# --- forwards
# ----------------------------------------------------------------------------------------------------------


def runs(model: Model, picture: torch.Tensor, variants: Sequence[Sequence[Edit]]) -> torch.Tensor:
    """Logits of one picture as it is, and under each of several lists of edits, in one forward for every 64 of them.

    What comes before a list's first block is computed once for all: the batch grows as it goes through the network,
    wherever that is a chain of modules.

    Args:
        model: the network.
        picture: (1, 3, H, W), transformed for it.
        variants: V lists of edits. Their ``rows`` are not looked at.

    Returns:
        (1 + V, K) float32; row 0 is the picture without edits.

    Raises:
        ValueError: for more than one picture.
        EditError: for an edit that matches no block or does not fit one.
    """
    picture = to_module(_single(picture), eager(model.module)).to(memory_format=torch.channels_last)  # as in a sweep
    for edit in (edit for variant in variants for edit in variant):
        for block in filter(edit.matches, model.blocks):
            replace(edit, rows=None).check(block, 1)  # the rows of the batch are one picture, not several to shuffle
    first = [next((i for i, block in enumerate(model.blocks) if any(edit.matches(block) for edit in variant)), 0)
             for variant in variants]
    order = sorted(range(len(variants)), key=first.__getitem__)
    result: dict[int, torch.Tensor] = {}
    for start in range(0, max(1, len(order)), ROWS):
        part = order[start:start + ROWS]
        logits = _forward(model, picture, [variants[i] for i in part], [first[i] for i in part])
        result[0] = logits[0]
        for i, row in zip(part, logits[1:]):
            result[1 + i] = row
    return torch.stack([result[i] for i in range(1 + len(variants))]).float()


def _single(picture: torch.Tensor) -> torch.Tensor:
    if picture.dim() != 4 or len(picture) != 1:
        raise ValueError(f"experiments take one picture, (1, 3, H, W), not {tuple(picture.shape)}")
    return picture


def _forward(model: Model, picture: torch.Tensor, variants: list[Sequence[Edit]], first: list[int]) -> torch.Tensor:
    edits = [replace(edit, rows=[row]) for row, variant in enumerate(variants, 1) for edit in variant]
    entries = _entries(model.blocks)
    growth: dict[tuple[str, ...], list[int]] = {}  # where the batch grows: rows that come in, rows that are added
    grown: list[tuple[str, ...]] = []  # where it did
    for rows, i in enumerate(first, 1):
        growth.setdefault(entries[i], [rows, 0])[1] += 1
    with edited(model, edits) as module, torch.no_grad():
        try:
            with hooked(module) as hooks:
                for paths, (rows, more) in growth.items():
                    def grow(x: torch.Tensor, paths=paths, rows: int = rows, more: int = more) -> torch.Tensor | None:
                        if paths in grown:
                            return None
                        grown.append(paths)
                        return _grown(x, rows, more)

                    for path in paths:
                        hooks.before(path, grow)
                returned = module(picture)
            with suppress(ValueError):  # not as many rows as variants
                return logits_of(returned, 1 + len(variants), model.output)
        except torch.OutOfMemoryError:  # the whole batch needs no less
            raise
        except (RuntimeError, IndexError):  # no chain of modules: batches of several sizes met
            if set(grown) <= {INPUT}:  # there was one size alone
                raise
        return logits_of(module(picture.expand(1 + len(variants), -1, -1, -1)), 1 + len(variants), model.output)


def _entries(blocks: Iterable[AttentionBlock]) -> list[tuple[str, ...]]:
    """For each block the modules around it that hold no earlier one, outermost first: no edit of it is felt before.

    Not all need be called: a list of modules never is.
    """
    entries: list[tuple[str, ...]] = []
    earlier: list[str] = []
    for block in blocks:
        own = path = "" if "@" in block.place else block.path  # a module of several places is entered several times
        around: list[str] = []
        while path and not any(f"{name}.".startswith(f"{path}.") for name in earlier):
            around, path = [path, *around], path.rpartition(".")[0]
        entries.append(tuple(around) or (entries[-1] if entries else INPUT))
        earlier.append(own)
    return entries


def _grown(x, rows: int, more: int) -> torch.Tensor:
    if not isinstance(x, torch.Tensor) or len(x) != rows:
        raise RuntimeError("this is not what all of the network comes through")
    return torch.cat([x, x[:1].expand(more, *x.shape[1:])])


# --- experiments
# -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tried:
    """What one picture gave with edit after edit: any class can be looked at, without a forward.

    Attributes:
        logits: (1 + V, K) float64; row 0 is the picture as it is.
        rows: of each of the V trials, what was tried.
        classes: K labels.
    """

    logits: torch.Tensor
    rows: list[dict[str, Any]]
    classes: list[str]

    def outcomes(self, target: int | None = None) -> pd.DataFrame:
        """A row a trial: what was tried, and what became of a class, the most probable one when None.

        Columns behind those of ``rows``: of (the class looked at), logit, change (against row 0), lead (the logit less
        the mean logit over all classes), lead_change, spread (standard deviation of the logits over all classes, as a
        multiple of row 0's), probability, probability_change, class (the most probable one), class_before (row 0's).
        """
        logits, first = self.logits, int(self.logits[0].argmax())
        target = first if target is None else target
        own, probable = logits[:, target], logits.softmax(1)[:, target]
        lead, spread = own - logits.mean(1), logits.std(1, correction=0)
        columns: dict[str, Any] = {
            "of": self.classes[target], "logit": own[1:].numpy(), "change": (own[1:] - own[0]).numpy(),
            "lead": lead[1:].numpy(), "lead_change": (lead[1:] - lead[0]).numpy(),
            "spread": (spread[1:] / spread[0]).numpy(),
            "probability": probable[1:].numpy(), "probability_change": (probable[1:] - probable[0]).numpy(),
            "class": [self.classes[i] for i in logits[1:].argmax(1).tolist()], "class_before": self.classes[first]}
        return pd.DataFrame(self.rows).assign(**columns)


def _tried(model: Model, logits: torch.Tensor, rows: list[dict[str, Any]]) -> Tried:
    logits, names = by_class(logits.double().cpu(), model.classes)
    if not logits.isfinite().all():
        raise ValueError("The network's output is not finite under every edit, so that the changes say nothing.")
    if logits.shape[1] != len(names):
        raise ValueError(f"The network gives {logits.shape[1]} logits, but there are {len(names)} class names.")
    return Tried(logits, rows, short_names(names))


def each_block(model: Model, picture: torch.Tensor, target: int | None = None) -> pd.DataFrame:
    """Each block off in turn, the others as they are: which ones matter for this picture?

    A block that scales one map is tried with "1" (see ``removals``) and with "mean gate": the mean over channels of the
    picture's own gate, in each channel. One that weighs branches is tried with each of its ``removals``.

    Args:
        model: the network.
        picture: (1, 3, H, W).
        target: the class to look at, the most probable one when None.

    Returns:
        A row a block and edit: block, label, stage, edit and ``Tried.outcomes``.
    """
    return try_blocks(model, picture).outcomes(target)


def try_blocks(model: Model, picture: torch.Tensor) -> Tried:
    """``each_block``, of whichever class."""
    means = _means(model, picture)
    tried = [(block, *each) for block in model.blocks for each in _trials([block], means).items()]
    logits = runs(model, picture, [edits for *_, edits in tried])
    return _tried(model, logits, [{
        "block": block.name, "label": block.label, "stage": block.stage, "edit": name} for block, name, _ in tried])


def each_stage(model: Model, picture: torch.Tensor, target: int | None = None) -> pd.DataFrame:
    """All blocks of a stage off at once, stage by stage, and all of the network's: as ``each_block``.

    ``label`` is "stage 5" or "all blocks", of a single stage that alone; there is no ``block`` and no ``stage``.
    """
    return try_stages(model, picture).outcomes(target)


def try_stages(model: Model, picture: torch.Tensor) -> Tried:
    """``each_stage``, of whichever class."""
    means = _means(model, picture)
    stages = dict.fromkeys(block.stage for block in model.blocks)
    groups = {f"stage {stage}": [block for block in model.blocks if block.stage == stage]
              for stage in stages if len(stages) > 1} | {ALL: model.blocks}
    tried = [(label, *each) for label, blocks in groups.items() for each in _trials(blocks, means).items()]
    logits = runs(model, picture, [edits for *_, edits in tried])
    return _tried(model, logits, [{"label": label, "edit": name} for label, name, _ in tried])


def each_channel(model: Model, picture: torch.Tensor, label: str, target: int | None = None,
                 top: int = 16) -> pd.DataFrame:
    """The most excited channels of a block, one at a time set to 0 and to 1; where it weighs branches, to each branch.

    Args:
        model: the network.
        picture: (1, 3, H, W).
        label: the block's, or its name.
        target: the class to look at, the most probable one when None.
        top: how many; of a unit that weighs branches those with the largest weight of the last one.

    Returns:
        As ``each_block``, a row a channel and edit, with the columns channel and gate (its value without edits).

    Raises:
        ValueError: for an unknown block.
    """
    return try_channels(model, picture, label, top).outcomes(target)


def try_channels(model: Model, picture: torch.Tensor, label: str, top: int = 16) -> Tried:
    """``each_channel``, of whichever class."""
    block = block_of(model.blocks, label)
    values, channels = record(model, _single(picture)).gates[block.name][0, -1].topk(min(top, block.channels))
    tried = [(channel, gate, value) for channel, gate in zip(channels.tolist(), values.tolist())
             for value in (["0", "1"] if block.branches == 1 else branch_values(block))]
    logits = runs(model, picture, [[Edit(block.label, value, channels=[channel])] for channel, _, value in tried])
    return _tried(model, logits, [{
        "block": block.name, "label": block.label, "channel": channel, "gate": gate, "edit": value}
        for channel, gate, value in tried])


def swap(model: Model, picture: torch.Tensor, other: torch.Tensor) -> pd.DataFrame:
    """Another picture's gates put into a picture, block by block and all at once: does it move towards the other?

    Args:
        model: the network.
        picture, other: (1, 3, H, W).

    Returns:
        As ``each_stage``, a row a block (and one for "all blocks") and class: those most probable for the picture and
        for the other. Where they are the same there is only that one.
    """
    seen = record(model, other)
    labels = [*(block.label for block in model.blocks), ALL]
    logits = runs(model, picture, [[Edit(block.label, seen.gates)] for block in model.blocks]
                  + [[Edit(block.label, seen.gates) for block in model.blocks]])
    tried = _tried(model, logits, [{"label": label} for label in labels])
    others, _ = by_class(seen.logits, model.classes)
    targets = dict.fromkeys([int(tried.logits[0].argmax()), int(others[0].argmax())])
    return pd.concat([tried.outcomes(target) for target in targets], ignore_index=True)


def forced_sizes(model: Model, image: Image.Image, target: int | None = None,
                 sizes: Sequence[float] = SIZES) -> pd.DataFrame:
    """A picture with its centre enlarged and shrunk, with the kernels left to the network and forced in all units.

    Args:
        model: with units that weigh branches.
        image: RGB.
        target: the class to look at, the most probable one at the size nearest to 1 when None.
        sizes: factors above 0.

    Returns:
        A row a size and edit ("own choice", each branch, "uniform"): size, edit, of, logit, lead, probability, class.

    Raises:
        ValueError: for a model without such units.
    """
    return of_sizes(try_sizes(model, image, sizes), target)


def of_sizes(tried: Tried, target: int | None = None) -> pd.DataFrame:
    """``forced_sizes`` of what was tried."""
    return tried.outcomes(target)[["size", "edit", "of", "logit", "lead", "probability", "class"]]


def try_sizes(model: Model, image: Image.Image, sizes: Sequence[float] = SIZES) -> Tried:
    """``forced_sizes``, of whichever class; row 0 is the size nearest to 1 with the network's own choice."""
    units = [block for block in model.blocks if block.branches > 1]
    if not units:
        raise ValueError(f"{model.name} has no units that choose between kernels")
    # what the network could not see even so is dropped: the result needs twice its input at most
    scale = min(1, 2 * max(model.input_size) / min(image.size))
    seen = round(image.width * scale), round(image.height * scale)
    batch = to_module(model.batch([zoom(image, size, None, seen) for size in sizes]), eager(model.module))
    tried: dict[str, list[Edit]] = {OWN: []} | _trials(units, {})
    logits = []
    for edits in tried.values():
        with edited(model, edits) as module, torch.no_grad():
            logits.append(logits_of(module(batch), len(batch), model.output).float())
    nearest = min(range(len(sizes)), key=lambda i: abs(sizes[i] - 1))
    return _tried(model, torch.cat([logits[0][nearest:nearest + 1], *logits]),
                  [{"size": size, "edit": value} for value in tried for size in sizes])


def _means(model: Model, picture: torch.Tensor) -> dict[str, float]:
    """The mean gate of each block that scales one map."""
    if not any(block.branches == 1 for block in model.blocks):
        return {}
    view = record(model, _single(picture))
    if not is_finite(view):
        raise ValueError(NOT_FINITE)
    return {block.name: float(view.gates[block.name].mean()) for block in view.blocks if block.branches == 1}


def _trials(blocks: Iterable[AttentionBlock], means: dict[str, float]) -> dict[str, list[Edit]]:
    """What is tried with blocks together: what it is called → edits."""
    trials: dict[str, list[Edit]] = {}
    for block in blocks:
        for value in removals(block):
            trials.setdefault(value, []).append(Edit(block.label, value))
        if block.name in means:
            trials.setdefault(FLAT, []).append(Edit(block.label, means[block.name]))
    return trials


# --- before and after
# ---------------------------------------------------------------------------------------------------


@dataclass
class Looked:
    """A view of a photo, and the photo as the network saw it: (h, w, 3) uint8."""

    view: View
    seen: np.ndarray


def look(model: Model, image: Image.Image, edits: Sequence[Edit] = ()) -> Looked:
    """A photo in a network, with edits.

    Of a classification Grad-CAM of each stage can be had from the view (``View.grad_cam``); of any other the gates.

    Raises:
        EditError: for an edit that cannot be made.
        ValueError: where the output is not finite.
    """
    tensor = model.transform(image)
    layers = list(model.stages.values()) if model.answer.task == CLASSIFICATION else []
    view = inspect(model, tensor[None], layers=layers, edits=edits, retain_graph=True)
    if not is_finite(view):
        raise ValueError(NOT_FINITE.replace(".", " with these edits.") if edits else NOT_FINITE)
    return Looked(view, model.seen(tensor))


def last_gates(views: Mapping[str, View], label: str) -> pd.DataFrame:
    """The gate of one block in each view, of its last branch: picture, branch, kernel, channel, value.

    Args:
        views: of one model, by name.
        label: the block's, or its name.

    Raises:
        ValueError: for an unknown block.
    """
    block = block_of(next(iter(views.values())).blocks, label)
    table = gates(views, block)
    return table[table["branch"] == block.branches - 1].reset_index(drop=True)


def stage_cams(cams: Mapping[str, Mapping[Any, torch.Tensor | np.ndarray]], stages: Mapping[str, str]
               ) -> dict[str, dict[str, np.ndarray]]:
    """Grad-CAM of one picture and class at the end of each stage: name → stage → (h, w).

    Args:
        cams: name → layer → (1, 1, h, w) or (h, w), as ``View.cams`` or without its first axes.
        stages: stage → layer, as ``Model.stages``.
    """
    def alone(cam: torch.Tensor | np.ndarray) -> np.ndarray:
        return torch.as_tensor(cam).cpu().numpy().reshape(cam.shape[-2:])

    return {name: {stage: alone(found[layer]) for stage, layer in stages.items()} for name, found in cams.items()}


def cam_cells(views: Mapping[str, View], stages: Mapping[str, str]) -> pd.DataFrame:
    """``stage_cams`` of views as a table: picture, map, row, column, value."""
    return cells(stage_cams({name: view.cams for name, view in views.items()}, stages))


def travel(before: View, after: View, edits: Sequence[Edit]) -> pd.DataFrame:
    """How far an edit travels: what each block's gates have changed by.

    Args:
        before, after: of one picture, without the edits and with them.
        edits: the edits.

    Returns:
        A row a block: block, label, stage, difference (mean of |after − before| over branches and channels), distance
        (1 − cosine of the two, 0..2; nan for gates of zeros), edited (whether an edit is of this block).
    """
    rows = []
    for block in before.blocks:
        a, b = (view.gates[block.name][0].double().flatten() for view in (before, after))
        zero = not a.any() or not b.any()
        rows.append({"block": block.name, "label": block.label, "stage": block.stage,
                     "difference": float((b - a).abs().mean()),
                     "distance": float("nan") if zero else max(0.0, 1 - float(F.cosine_similarity(a, b, 0))),
                     "edited": any(edit.matches(block) for edit in edits)})
    return pd.DataFrame(rows)


def changes(before: View, after: View, classes: Sequence[str], target: int | None = None, top: int = 5) -> pd.DataFrame:
    """Logits and probabilities of the most probable classes without edits and with them, and of one more class.

    Columns: class, logit_before, logit_after, change, lead_change (the change less that of the mean logit over all
    classes), spread (as of ``each_block``, the same in all rows), probability_before, probability_after,
    probability_change.
    """
    (a, names), (b, _) = (by_class(view.logits[0].double().cpu(), classes) for view in (before, after))
    top = min(top, len(a))
    chosen = dict.fromkeys([*([target] if target is not None else []), *a.topk(top).indices.tolist(),
                            *b.topk(top).indices.tolist()])
    p, q, lead = a.softmax(0), b.softmax(0), (b - b.mean()) - (a - a.mean())
    return pd.DataFrame([{
        "class": names[i], "logit_before": float(a[i]), "logit_after": float(b[i]), "change": float(b[i] - a[i]),
        "lead_change": float(lead[i]), "spread": float(b.std(correction=0) / a.std(correction=0)),
        "probability_before": float(p[i]), "probability_after": float(q[i]),
        "probability_change": float(q[i] - p[i])} for i in chosen])


# --- in words
# ----------------------------------------------------------------------------------------------------------


def describe_removals(blocks: Iterable[AttentionBlock]) -> str:
    """What it means that a block is off, for the kinds of blocks that there are."""
    branched = {block.branches > 1 for block in blocks}
    return " ".join([
        "A gate of 1 takes away the choice between channels and how much the gate scales the map; the mean of the "
        "photo's own gate, in each channel, takes away the choice alone."] * (False in branched) + [
        "A unit that weighs branches cannot be off, for a weight of 1 for each would add them up: it is forced to each "
        "branch, and to all alike."] * (True in branched) + [
        "Of blocks and units together those alone are changed to which it can be done."] * (len(branched) > 1))


def describe_gates(table: pd.DataFrame, block: AttentionBlock) -> str:
    """What ``last_gates`` found, in a sentence (Markdown)."""
    means = table.groupby("picture", sort=False)["value"].mean()
    return (f"The {quantity(block)} in **{block.label}**, channel by channel; its mean is "
            + ", ".join(f"{mean:.3f} {plain(str(picture))}" for picture, mean in means.items()) + ".")


def describe_ranking(table: pd.DataFrame, block: AttentionBlock) -> str:
    """Which channels ``each_channel`` tried, in a sentence (Markdown)."""
    by = f" by the weight of {kernel_name(block, -1)}" if block.branches > 1 else ""
    channels = table.drop_duplicates("channel")
    if len(channels) > 1 and channels["gate"].nunique() == 1:  # of those there is no first
        return (f"{len(channels)} of {block.channels} channels in **{block.label}** than which none is more excited: "
                f"the {quantity(block)} is {channels['gate'].iloc[0]:.3f} in each of them.")
    return (f"The {table['channel'].nunique()} most excited of {block.channels} channels in **{block.label}**{by}, the "
            f"most excited first.")


def quantity(block: AttentionBlock) -> str:
    """What a value of a block's last branch is: "gate", or "weight of 5×5"."""
    name = kernel_name(block, -1)
    return f"weight of {name}" if name else "gate"


def describe_effects(table: pd.DataFrame) -> str:
    """What ``each_block``, ``each_stage`` or ``each_channel`` found, in sentences (Markdown)."""
    channels = "channel" in table
    names = table["channel" if channels else "label"].astype(str)
    unit = "channel" if channels else "block" if "block" in table else "stage"
    sentences = [f"As it is, the most probable class is **{plain(table['class_before'].iloc[0])}**."]
    for edit, tried in table.groupby("edit", sort=False):
        whole = tried[(names[tried.index] == ALL) & (unit == "stage")]  # no single one: it has a sentence of its own
        rows = tried.drop(whole.index)
        if len(rows):
            sentences.append(f"One {unit} at a time {_set(str(edit))}: {_found(rows, names[rows.index])}.")
        for row in whole.to_dict("records"):
            text = ("the most probable class stays the same" if row["class"] == row["class_before"] else
                    f"**{plain(row['class'])}** becomes the most probable class")
            change = (f"changes by {row['lead_change']:+.3g}{_apart(row)}" if abs(row["lead_change"]) > ROUNDING else
                      "does not change")
            together = f"All blocks together{', each' * (edit == FLAT)} {_set(str(edit))}"
            sentences.append(f"{together}: {text}; the logit of {plain(row['of'])}, {AGAINST}, {change}.")
    return " ".join(sentences)


def _found(rows: pd.DataFrame, names: pd.Series) -> str:
    """What becomes of the prediction over several cases with these names."""
    other, change = names[rows["class"] != rows["class_before"]], rows["lead_change"]
    cases, most = ("the one case", "") if len(rows) == 1 else (f"all {len(rows)} cases", " most")
    text = f"the most probable class stays the same in {cases}"
    if len(other):
        cases = f"**{len(other)}** of {len(rows)} cases" if len(rows) > 1 else cases
        text = f"another class becomes the most probable in {cases} ({_listed(other)})"
    text += f"; the logit of {plain(rows['of'].iloc[0])}, {AGAINST},"
    if (change.abs() <= ROUNDING).all():
        return f"{text} does not change"
    what = "channel " if "channel" in rows else ""
    ends = [f"{verb}{most} with {what}**{names.iloc[i]}** ({change.iloc[i]:+.3g}{_apart(rows.iloc[i])})"
            for verb, i, there in (("falls", change.argmin(), change.min() < -ROUNDING),
                                   ("rises", change.argmax(), change.max() > ROUNDING)) if there]
    return f"{text} {' and '.join(ends)}"


def describe_travel(table: pd.DataFrame) -> str:
    """How far the edits travelled, in a sentence (Markdown); "" where nothing was edited."""
    if not table["edited"].any():
        return ""
    later = table.iloc[table["edited"].argmax():]
    later = later[~later["edited"]]
    if later.empty:
        return "No unedited block follows the first edited one, so that no other gate can change."
    moved, most = later[later["difference"] > NOTICED], later.iloc[later["difference"].argmax()]
    text = (f"Of {len(later)} unedited block{'s' * (len(later) > 1)} behind the first edited one, **{len(moved)}** "
            f"change{'s' * (len(moved) == 1)} by more than {NOTICED:g} a gate on average")
    if not most["difference"]:
        return f"{text}; none changes at all."
    last = f"; the last to do so is **{moved['label'].iloc[-1]}**" if len(moved) > 1 else ""
    return f"{text}, most **{most['label']}** ({most['difference']:.3f}){last}."


def describe_change(table: pd.DataFrame, target: str) -> str:
    """What ``changes`` found, in sentences (Markdown).

    Args:
        table: of ``changes``.
        target: the class to speak of, one of the table's.
    """
    before, after = (table.iloc[table[f"logit_{when}"].argmax()] for when in ("before", "after"))
    row = table[table["class"] == target].iloc[0]
    if before["class"] == after["class"]:
        text = (f"The most probable class stays **{plain(before['class'])}** ({before['probability_before']:.1%} "
                f"before, {after['probability_after']:.1%} after).")
    else:
        text = (f"The most probable class turns from **{plain(before['class'])}** ({before['probability_before']:.1%}) "
                f"to **{plain(after['class'])}** ({after['probability_after']:.1%}).")
    if not row["change"]:
        return f"{text} The logit of {plain(target)} does not change."
    return (f"{text} The logit of {plain(target)} goes from {row['logit_before']:.2f} to {row['logit_after']:.2f} "
            f"({row['change']:+z.2f}); {AGAINST} it changes by {row['lead_change']:+z.2f}{_apart(row)}. Its "
            f"probability goes from {row['probability_before']:.1%} to {row['probability_after']:.1%}.")


def describe_swap(table: pd.DataFrame, picture: str, other: str) -> str:
    """What ``swap`` found, in sentences (Markdown)."""
    own, *rest = table["of"].unique()
    wide = table.pivot(index="label", columns="of", values="lead_change")
    whole = table[table["label"] == ALL].iloc[0]
    text = f"With all gates of {plain(other)} in {plain(picture)}, the most probable class "
    text += (f"stays **{plain(whole['class'])}**." if whole["class"] == whole["class_before"] else
             f"turns from **{plain(whole['class_before'])}** to **{plain(whole['class'])}**.")
    if not rest:
        change = (f"changes by {whole['lead_change']:+.3g}{_apart(whole)}" if abs(whole["lead_change"]) > ROUNDING else
                  "does not change")
        return (f"{text} Both pictures are most probably {plain(own)}, so there is no class to move towards; its "
                f"logit, {AGAINST}, {change}.")
    towards = wide[rest[0]] - wide[own]
    single = towards.drop(ALL)
    where = "towards" if towards[ALL] > 0 else "away from" if towards[ALL] < 0 else "neither towards nor away from"
    text += (f" {AGAINST.capitalize()}, the logit of {plain(rest[0])}, the other's class, changes by "
             f"{wide[rest[0]][ALL]:+.3g}, that of {plain(own)} by {wide[own][ALL]:+.3g}: their difference moves "
             f"{where} the other ({towards[ALL]:+.3g}{_apart(whole)}).")
    if len(single) == 1:  # the same as all
        return text
    text += (f" With the gates of a single block it moves towards the other in **{int((single > 0).sum())}** of "
             f"{len(single)} cases")
    return text + (f", most with **{single.idxmax()}** ({single.max():+.3g})." if single.max() > 0 else ".")


def describe_sizes(table: pd.DataFrame) -> str:
    """What ``forced_sizes`` found, in sentences (Markdown).

    By the most probable class and its probability: forced kernels change how far all logits lie apart, so that the
    logits of two edits do not compare.
    """
    right = (table["class"] == table["of"]).groupby([table["edit"], table["size"]]).any().unstack("size")
    count, named = right.sum(axis=1), list(table["edit"].unique())
    sizes, last = right.shape[1], table[table["size"] == table["size"].max()].set_index("edit")["probability"]
    forced = [edit for edit in named if edit != OWN]
    times = ", ".join(f"{_set(edit)} at {count[edit]}" for edit in forced)
    shares = ", ".join(f"{last[edit]:.1%} {_set(edit)}" for edit in forced)
    return (f"**{plain(table['of'].iloc[0])}** is the most probable class at **{count[OWN]}** of {sizes} sizes with "
            f"the network's own choice; with all units {times}. At {table['size'].max():g}× its probability is "
            f"{last[OWN]:.1%} with the own choice, {shares}.")


def _apart(row) -> str:
    """How far an edit moves the logits of all classes apart or together, where it is much."""
    if 1 / WIDER < row["spread"] < WIDER or not np.isfinite(row["spread"]):
        return ""
    factor = row["spread"]
    return f", with all logits {factor:.{0 if factor >= 10 else 1 if factor >= 1 else 2}f} times as far apart"


def _set(edit: str) -> str:
    if edit in ("uniform", FLAT):
        return {"uniform": "at uniform weights", FLAT: "at its mean gate"}[edit]
    return f"{'forced' if edit.startswith('branch') or 'x' in edit else 'set'} to {edit}"


def _listed(names: Iterable[str], most: int = 6) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
