"""One shard of labelled pictures → which of them a network gets right, unedited and with each edit."""
import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import safetensors.torch
import torch

from ..gates import AttentionBlock, Edit
from ..gates.dealing import donors
from ..models.identity import digest
from .edited import EditedNetwork
from .plan import Batch, Plan, Worker

TOP = 5
ALONE = {  # by whose gates an edit deals: why a picture is not used
    "images": "it is alone in its batch, and no other has gates for it",
    "class": "its batch has no other picture of its class, whose gates it could have",
    "classes": "its batch has no picture of another class, whose gates it could have"}
LEAST = {"images": 2, "class": 6, "classes": 6}  # pictures in a batch: those of a class come as two or three


@dataclass
class Evaluation(Plan):
    """A run that evaluates edits. Its ``count`` pictures are labelled ones, dealt out by a fixed permutation.

    Where an edit deals gates within a class, two pictures of one class (three where their number is odd) stay together,
    so that each finds another of its class in its batch. A batch ends, and a shard, where the next of them do not fit.

    Attributes:
        edits: what is changed, by name.
        targets: the model's class of each of the data's.
    """

    edits: dict[str, list[Edit]]
    targets: np.ndarray

    def worker(self, workers: int) -> "Evaluator":
        """What computes the shards."""
        return Evaluator(self, workers)

    @property
    def shards(self) -> int:
        """How many there are."""
        return len(self.paired) if "class" in self.deals else super().shards

    def indices(self, shard: int) -> np.ndarray:
        """The pictures of a shard."""
        if "class" in self.deals:
            return np.concatenate(self.paired[shard])
        size = self.settings.shard_size
        return self.order[shard * size:(shard + 1) * size]

    def batches(self, shard: int) -> list[list[int]]:
        """The pictures of a shard, forward by forward; a last one that needs another's gates joins those before it."""
        if "class" in self.deals:
            return self.paired[shard]
        *others, last = super().batches(shard)
        if others and len(last) == 1 and self.deals:
            return [*others[:-1], others[-1] + last]
        return [*others, last]

    @cached_property
    def deals(self) -> set[str]:
        """Whose gates edits give to pictures: of "images", "class" and "classes" those that occur."""
        return deals(edit for edits in self.edits.values() for edit in edits)

    @cached_property
    def paired(self) -> list[list[list[int]]]:
        """Shards of batches of pictures, in which pictures of one class stay together by two or three."""
        by_class: dict[int, list[int]] = {}
        for index in self.order.tolist():
            by_class.setdefault(self.target(index), []).append(index)
        place = {index: i for i, index in enumerate(self.order.tolist())}
        units = [unit for members in by_class.values() for unit in _twos_and_threes(members)]
        units.sort(key=lambda unit: place[unit[0]])
        batches: list[list[int]] = [[]]
        for unit in units:
            if len(batches[-1]) + len(unit) > self.settings.batch_size:
                batches.append([])
            batches[-1] += unit
        if len(batches) > 1 and len({self.target(index) for index in batches[-1]}) == 1:
            last = batches.pop()  # by themselves they would find no other class
            batches[-1] += last
        shards: list[list[list[int]]] = [[]]
        for batch in batches:
            if shards[-1] and sum(map(len, shards[-1])) + len(batch) > self.settings.shard_size:
                shards.append([])
            shards[-1].append(batch)
        return shards

    def target(self, index: int) -> int:
        """The model's class of a picture."""
        return int(self.targets[self.labels[index]])

    @cached_property
    def order(self) -> np.ndarray:
        """The labelled pictures, spread evenly over their list, and dealt out.

        In their own order a batch is often of one class, and so would be gates that are dealt to its other images.
        """
        labelled = np.flatnonzero(self.labels >= 0)
        chosen = labelled[np.arange(self.count) * len(labelled) // self.count]
        return np.random.default_rng(0).permutation(chosen)

    @cached_property
    def identity(self) -> dict:
        """Everything that the result's bytes depend on, as JSON holds it."""
        return super().identity | {
            # a list: it is another run where edits are missing, too
            "edits": [[name, edits_hash(edits, self.model.blocks)] for name, edits in self.edits.items()],
            "targets": hashlib.sha256(json.dumps(self.targets.tolist()).encode()).hexdigest()}


def edits_hash(edits: Iterable[Edit], blocks: Iterable[AttentionBlock]) -> str:
    """SHA-256 of what edits say and of the arrays that they hold for these blocks, as hexadecimal digits."""
    said = []
    for edit in edits:
        arrays = [] if edit.text == "" and isinstance(edit.value, (int, float, str)) else [
            digest(array) for block in blocks if edit.matches(block) for array in _arrays(edit, block)]
        said.append([str(edit), edit.rows and list(edit.rows), edit.seed, arrays])
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _arrays(edit: Edit, block: AttentionBlock) -> list[torch.Tensor]:
    subspace = edit.subspace(block)
    return [edit.array(block)] if subspace is None else [
        torch.as_tensor(part) for part in (subspace.mean, subspace.directions)]


def deals(edits: Iterable[Edit]) -> set[str]:
    """Whose gates they give to pictures: of "images", "class" and "classes" those that occur."""
    return {edit.deals for edit in edits} - {""}


def _twos_and_threes(members: list[int]) -> list[list[int]]:
    """Cut into pairs, the last of three where the number is odd; a single one stays alone."""
    twos = [members[start:start + 2] for start in range(0, len(members), 2)]
    if len(twos) > 1 and len(twos[-1]) == 1:
        last = twos.pop()
        twos[-1] = twos[-1] + last
    return twos


class Evaluator(Worker):
    """Computes shards of right and wrong answers."""

    plan: Evaluation

    def __init__(self, plan: Evaluation, workers: int):
        super().__init__(plan, workers)
        self.network = EditedNetwork(plan.model.module, plan.model.blocks, self.device, plan.settings.precision,
                                     plan.model.output)

    def empty(self, shard: int) -> "_Shard":
        """A shard before its first picture."""
        return _Shard(len(self.plan.edits) + 1)

    def look(self, batch: Batch, result: "_Shard") -> None:
        """Add a batch: every edit sees the same one."""
        result.unreadable += batch.unreadable
        if batch.images is None:
            return
        if len(batch.reads) == 1 and self.plan.deals:
            result.unreadable.append((batch.reads[0].index, ALONE["images"]))
            return
        images = self.images(batch)[0]
        indices = np.array([read.index for read in batch.reads])
        targets = self.plan.targets[self.plan.labels[indices]]
        labels, left_out = torch.from_numpy(targets).to(self.device), self._without_donors(targets)
        answers = []
        for edits in (None, *self.plan.edits.values()):
            start = time.perf_counter()
            logits = self.network.unedited(images) if edits is None else self.network.edited(
                [edit.dealt(targets) for edit in edits])
            if edits is None:
                finite = logits.isfinite().all(1).cpu()
            answers.append(_answers(logits, labels))
            result.seconds[len(answers) - 1] += time.perf_counter() - start
        left_out |= dict.fromkeys(np.flatnonzero(~finite).tolist(), "the network's output is not finite")
        result.unreadable += [(int(indices[row]), reason) for row, reason in sorted(left_out.items())]
        used = torch.tensor([row not in left_out for row in range(len(indices))])
        result.parts.append({"index": torch.from_numpy(indices)[used]} | {
            name: torch.stack(values)[:, used] for name, *values in zip(("right1", "right5", "probability"),
                                                                       *answers)})

    def _without_donors(self, targets: np.ndarray) -> dict[int, str]:
        """Rows of a batch that find no other for some edit, and why: they are left out of all, which stay comparable.

        Their own gates are there for others all the same.
        """
        found: dict[int, str] = {}
        for word in ("classes", "class"):
            if word in self.plan.deals:
                alone = donors(word, targets, 0) == torch.arange(len(targets))
                found |= dict.fromkeys(np.flatnonzero(alone).tolist(), ALONE[word])
        return found


def _answers(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Whether each label is the first of all classes and among the first five, and its probability, on the CPU.

    What an edit made overflow is no answer: it is wrong, with a probability of 0 (topk would take nan for the largest).
    """
    known = logits.isfinite().all(1)
    hits = (logits.topk(min(TOP, logits.shape[1])).indices == labels[:, None]) & known[:, None]
    probability = torch.where(known, logits.softmax(1).gather(1, labels[:, None])[:, 0], 0)
    return hits[:, 0].cpu(), hits.any(1).cpu(), probability.cpu()


class _Shard:
    """What accumulates over one shard."""

    def __init__(self, edits: int):
        self.parts: list[dict[str, torch.Tensor]] = []
        self.unreadable: list[tuple[int, str]] = []
        self.seconds = np.zeros(edits)

    def to_bytes(self) -> bytes:
        """One safetensors file: index (N), right1, right5 and probability (1 + edits, N), in the order of the data."""
        tensors = {}
        if self.parts:
            joined = {name: torch.cat([part[name] for part in self.parts], -1) for name in self.parts[0]}
            order = joined["index"].argsort()
            tensors = {name: values[..., order].contiguous() for name, values in joined.items()}
        note = {"unreadable": sorted(self.unreadable), "seconds": self.seconds.tolist()}
        return safetensors.torch.save(tensors, {"shard": json.dumps(note, sort_keys=True)})
