"""One shard of a data set → one result, which depends on nothing but the plan: not on who computes it, or when."""
import io
import json
import math
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
import torch

from ..gates.hidden import hidden_layers
from ..models.copies import random_weights
from ..tables import HIGH, LOW, sampled_channels
from .moments import Moments, histogram
from .network import GateNetwork
from .plan import Batch, Computing, Plan, Read, Reading, Worker
from .sample import evenly
from .side_stream import SideStream

Outputs = list[list[tuple[torch.Tensor, ...]]]  # what networks gave, by look and network
TOGETHER = ("cuda",)  # kinds of device that add up some batches together
AT_ONCE = 2**23  # values, about, that are then added up: the many small steps take as long for one batch
CALIBRATION = 64  # pictures that the random weights' batch normalisation is set with


@dataclass(frozen=True)
class Settings(Computing):
    """How a run computes. Every one of these can change bits of the result.

    Attributes:
        zooms: each picture is looked at with its centre enlarged by these factors (``senet_viz.data.images.zoom``).
        around: "centre" of the picture, or of its "box".
        controls: look also, for each zoom but 1, at the picture with the same blur and no zoom, and at as large a crop
            elsewhere; they are told of in the rows of pictures only.
        compiled: run the network through ``torch.compile``; "auto" where the run ends sooner with it.
        random_weights: look also at so many networks like this one with random weights, drawn anew each time, as a
            control; 0 for none.
        sample: pictures, evenly spread, whose gates are kept whole until the end, to tell how channels move together
            (``Statistics.measures``); 0 for none.
    """

    zooms: tuple[float, ...] = (1.0,)
    around: str = "centre"
    controls: bool = False
    compiled: bool | Literal["auto"] = False
    random_weights: int = 0
    sample: int = 1024

    def __post_init__(self):
        object.__setattr__(self, "zooms", tuple(map(float, self.zooms)))  # 1 and 1.0 would be written differently
        object.__setattr__(self, "random_weights", int(self.random_weights))  # True is one

    @property
    def looks(self) -> list[tuple[str, float]]:
        """Every way in which a picture is looked at, one of ``LOOKS`` and a factor; the zooms come first."""
        looks = [("zoom", factor) for factor in self.zooms]
        if self.controls:  # where they differ from the zoom
            looks += [("blur", factor) for factor in self.zooms if factor != 1]
            looks += [("elsewhere", factor) for factor in self.zooms if factor > 1]
        return looks

    @property
    def around_box(self) -> bool:
        """Whether pictures are enlarged around their box."""
        return self.around == "box"

    def check(self) -> None:
        """Raise ValueError, one sentence, where a setting makes no sense."""
        if not self.zooms or any(not 0 < factor < math.inf for factor in self.zooms):
            raise ValueError(f"zooms are finite factors above 0, not {', '.join(map(str, self.zooms)) or 'none'}")
        if len(set(self.zooms)) < len(self.zooms):
            raise ValueError("each zoom is given once")
        if self.around not in ("centre", "box"):
            raise ValueError(f"pictures are enlarged around their centre or a box, not {self.around!r}")
        if self.compiled not in (True, False, "auto"):
            raise ValueError(f"compiled is true, false or auto, not {self.compiled!r}")
        if self.sample < 0:
            raise ValueError(f"the sample is a number of pictures, 0 or more, not {self.sample}")
        if self.random_weights < 0:
            raise ValueError(f"random weights are drawn 0 times or more, not {self.random_weights}")
        super().check()


@dataclass
class Collection(Plan):
    """A run that collects what gates do."""

    settings: Settings

    def worker(self, workers: int) -> "Collector":
        """What computes the shards."""
        return Collector(self, workers)

    @cached_property
    def used(self) -> np.ndarray:
        """The data's classes that the archive has, (K,): all, or where most have no picture those that have one.

        Of 21,000 names a data set may have few, and every class takes memory.
        """
        labels, count = np.asarray(self.pictures.labels, dtype=np.int64), len(self.pictures.classes)
        found = np.unique(labels[labels >= 0])
        return found if 2 * len(found) < count else np.arange(count)

    @property
    def classes(self) -> list[str]:
        """Their names."""
        return [self.pictures.classes[label] for label in self.used]

    @cached_property
    def labels(self) -> np.ndarray:
        """Of all pictures, int64, as positions among ``classes``; −1 for none."""
        labels = np.asarray(self.pictures.labels, dtype=np.int64)
        return np.where(labels >= 0, np.searchsorted(self.used, labels), -1)

    @cached_property
    def identity(self) -> dict:
        """Everything that the result's bytes depend on, as JSON holds it."""
        all_used = len(self.used) == len(self.pictures.classes)
        return super().identity | ({} if all_used else {"classes_with_pictures": len(self.used)})

    @cached_property
    def shuffled(self) -> np.ndarray:
        """The control's labels: the same ones, dealt out anew among the labelled pictures that are looked at."""
        chosen = np.concatenate([self.indices(shard) for shard in range(self.shards)])
        known = chosen[self.labels[chosen] >= 0]
        dealt = self.labels.copy()
        dealt[known] = np.random.default_rng(0).permutation(dealt[known])
        return dealt

    @property
    def weighs(self) -> bool:
        """Whether there are units that weigh branches, whose choice is compared in the rows of pictures."""
        return any(block.branches > 1 for block in self.model.blocks)

    @cached_property
    def hidden(self) -> dict[str, str | None]:
        """Block → the layer that is given its hidden units; None without one."""
        return hidden_layers(self.model.module, self.model.blocks, self.model.example_batch)

    @cached_property
    def kept_whole(self) -> np.ndarray:
        """Whether a picture is in the sample, for all of the data set's."""
        kept = np.zeros(len(self.pictures), dtype=bool)
        kept[evenly(self.count, self.settings.sample) * len(self.pictures) // self.count] = True
        return kept

    @cached_property
    def sampled(self) -> torch.Tensor:
        """The channels that the control with shuffled labels looks at, every s-th of each block and branch."""
        starts = np.cumsum([0, *(block.branches * block.channels for block in self.model.blocks)])
        return torch.from_numpy(np.concatenate([
            start + m * block.channels + sampled_channels(block.channels)
            for start, block in zip(starts, self.model.blocks) for m in range(block.branches)]))


class Collector(Worker):
    """Computes shards of moments, histograms and rows."""

    plan: Collection

    def __init__(self, plan: Collection, workers: int):
        super().__init__(plan, workers)
        # Apple's GPUs have no float64
        self.accumulator = torch.device("cpu") if self.device.type == "mps" else self.device
        self.side = SideStream(self.accumulator)
        blocks, settings = plan.model.blocks, plan.settings
        compiled = settings.batch_size if settings.compiled else None
        self.network = GateNetwork(plan.model.module, blocks, self.device, settings.precision,
                                   plan.hidden if settings.sample else None, compiled, plan.model.output)
        self.random: list[GateNetwork] = []
        if settings.random_weights:
            spread = np.linspace(0, len(plan.pictures) - 1, min(CALIBRATION, plan.count)).round().astype(int)
            plain = Reading(replace(plan, settings=replace(settings, zooms=(1.0,), controls=False)))
            images = [read.images[0] for read in map(plain.__getitem__, spread)
                      if read.images is not None and read.images[0].isfinite().all()]
            if len(images) > 1:  # of one, batch normalisation knows no variance
                for seed in range(settings.random_weights):
                    module = random_weights(plan.model.module, torch.stack(images).to(self.device), seed)
                    self.random.append(GateNetwork(module, blocks, self.device, settings.precision, None, compiled,
                                                   plan.model.output))

    def empty(self, shard: int) -> "_Shard":
        """A shard before its first picture."""
        return _Shard(self.plan, shard, self.accumulator, self.side)

    def look(self, batch: Batch, result: "_Shard") -> None:
        """Add a batch: a forward for each look, and one of each control's network for each zoom."""
        result.unreadable += batch.unreadable
        if batch.images is None:
            return
        outputs: Outputs = []
        for look, seen in enumerate(self.images(batch)):
            drawn = self.random if look < len(self.plan.settings.zooms) else []
            outputs.append([self.network(seen), *(network(seen)[:2] for network in drawn)])
        result.take(batch.reads, outputs)


@dataclass
class _Given:
    """A batch whose forwards were asked for until the mark, and how many numbers they gave."""

    reads: list[Read]
    outputs: Outputs
    marked: torch.Event | None

    def __post_init__(self):
        self.values = sum(values.numel() for look in self.outputs for output in look for values in output)


class _Shard:
    """What accumulates over one shard.

    Moments by class that it saw, histograms, the sample's whole gates, and a row a picture and look.
    """

    def __init__(self, plan: Collection, shard: int, device: torch.device, side: SideStream):
        self.plan, self.device, self.side = plan, device, side
        indices = plan.indices(shard)
        self.labels = {"labels": plan.labels, "shuffled": plan.shuffled}
        self.seen = {key: np.unique(values[indices]) for key, values in self.labels.items()}
        self.moments: dict[tuple[int, str], Moments] = {}
        self.histograms: dict[int, torch.Tensor] = {}
        self.whole: dict[tuple[int, str], list[torch.Tensor]] = {}
        self.rows: list[pa.Table] = []
        self.unreadable: list[tuple[int, str]] = []
        self.waiting: list[_Given] = []

    def take(self, reads: list[Read], outputs: Outputs) -> None:
        """Pictures with what the networks gave, look by look.

        On a GPU some batches wait and are added up together, when as many more have come: it has their forwards to do
        meanwhile. On a processor there is nothing to do meanwhile, and one batch stays in its cache.
        """
        self.waiting.append(_Given(reads, outputs, self.side.mark()))
        if self.device.type not in TOGETHER:
            self.settle()
        elif sum(given.values for given in self.waiting) >= 2 * AT_ONCE:
            self.settle(len(self.waiting) // 2)

    def settle(self, count: int | None = None) -> None:
        """Add what waits, or so many batches of it."""
        count = len(self.waiting) if count is None else count
        batches, self.waiting = self.waiting[:count], self.waiting[count:]
        if not batches:
            return
        with self.side.after(batches[-1].marked):
            reads = [read for given in batches for read in given.reads]
            self._settle(reads, [[[torch.cat(parts) for parts in zip(*of)] for of in zip(*look)]
                                 for look in zip(*(given.outputs for given in batches))])

    def _settle(self, reads: list[Read], outputs: list[list[list[torch.Tensor]]]) -> None:
        """Add pictures, from what each network gave in each look."""
        # what overflowed says nothing, and would make its class's mean a nan
        finite = torch.stack([values.isfinite().all(1) for network, *_ in outputs for values in network]).all(0)
        good = finite.tolist()
        used = list(compress(reads, good))
        self.unreadable += [(read.index, "the network's output is not finite")
                            for read, kept in zip(reads, good) if not kept]
        if not used:
            return
        for look, networks in enumerate(outputs):
            (logits, gates, squeezed, units), *random = networks if len(used) == len(reads) else [
                [values[finite] for values in output] for output in networks]
            self.add_rows(look, used, logits, gates)
            if look < len(self.plan.settings.zooms):
                drawn = {}
                for draw, (logits, found) in enumerate(random):
                    drawn[f"random {draw}"] = found
                    if self.plan.weighs:
                        self.add_rows(look, used, logits, found, f"random {draw}")
                self.add(look, used, {"gate": gates, "squeeze": squeezed} | drawn)
                self.keep(look, used, {"gate": gates, "squeeze": squeezed, "hidden": units} | drawn)

    def add(self, z: int, items: list[Read], values: dict[str, torch.Tensor]) -> None:
        """What the gates, their inputs and those of the controls did at one zoom, (N, columns) a source."""
        values = {source: rows.to(self.device) for source, rows in values.items()}
        gates = values["gate"]
        values["shuffled"] = gates[:, self.plan.sampled.to(self.device)]
        for source, rows in values.items():
            if not source.startswith("random"):  # of which some may not be finite
                self._accumulate(z, source, items, rows)
                continue
            finite = rows.isfinite().all(1)
            kept = list(compress(items, finite.tolist()))
            if kept:
                self._accumulate(z, source, kept, rows if len(kept) == len(items) else rows[finite])
        self.histograms[z] = histogram(gates, counts=self.histograms.get(z))

    def keep(self, z: int, items: list[Read], values: dict[str, torch.Tensor]) -> None:
        """The pictures of the sample, whole, from (N, columns) a source at one zoom."""
        kept = np.flatnonzero(self.plan.kept_whole[[item.index for item in items]])
        if not len(kept):
            return
        chosen = [items[i] for i in kept]
        found = {source: rows[torch.from_numpy(kept).to(rows.device)] for source, rows in values.items()}
        found["index"] = torch.tensor([item.index for item in chosen])
        # √(the object's share of the picture) is its side
        found["properties"] = torch.tensor([(*item.properties[z], math.sqrt(item.box)) for item in chosen])
        for source, rows in found.items():
            self.whole.setdefault((z, source), []).append(rows)

    def _accumulate(self, z: int, source: str, items: list[Read], values: torch.Tensor) -> None:
        key = "shuffled" if source == "shuffled" else "labels"
        groups = np.searchsorted(self.seen[key], self.labels[key][[item.index for item in items]])
        if (z, source) not in self.moments:
            self.moments[z, source] = Moments.empty(len(self.seen[key]), values.shape[1], self.device)
        self.moments[z, source].update(values, torch.from_numpy(groups))

    def add_rows(self, look: int, items: list[Read], logits: torch.Tensor, gates: torch.Tensor, network: str = ""
                 ) -> None:
        """A row a picture, for one look; a ``network`` other than the plan's is named in place of the look."""
        name, factor = self.plan.settings.looks[look]
        name = network or name
        pictures, blocks = self.plan.pictures, self.plan.model.blocks
        # a network without logits says nothing of classes
        none = (torch.full((len(items),), math.nan), torch.full((len(items),), -1))
        probability, top = logits.softmax(1).max(1) if logits.shape[1] else none
        indices = [item.index for item in items]
        columns = {
            "index": np.asarray(indices), "file": [str(pictures.files[i]) for i in indices],
            "label": self.plan.labels[indices], "look": [name] * len(items), "zoom": np.full(len(items), factor),
            "top1": top.cpu().numpy(), "probability": probability.cpu().numpy()}
        if pictures.boxes is not None:
            columns["box"] = np.array([item.box for item in items])
            columns["fits"] = pa.array([item.fits[look] if item.fits else None for item in items], pa.bool_())
        by_block: dict[str, torch.Tensor] = {}
        for block, part in zip(blocks, gates.split([b.branches * b.channels for b in blocks], 1)):
            weights = part.view(len(items), block.branches, block.channels)
            last = weights[:, -1]
            named = {"mean": last.mean(1), "std": last.std(1, correction=0), "below": (last < LOW).float().mean(1),
                     "above": (last > HIGH).float().mean(1)}
            if block.branches > 1:
                named["difference"] = (last - weights[:, 0]).mean(1)
            by_block |= {f"{block.label}_{name}": value for name, value in named.items()}
        columns |= dict(zip(by_block, torch.stack(list(by_block.values())).cpu().numpy()))  # one copy from a GPU
        self.rows.append(pa.table(columns))

    def to_bytes(self) -> bytes:
        """Everything as one safetensors file, the rows within it as Parquet."""
        self.settle()
        tensors = {f"{z}.{source}.{name}": tensor.cpu().contiguous() for (z, source), moments in self.moments.items()
                   for name, tensor in moments.tensors().items()}
        tensors |= {f"{z}.histogram": counts.cpu() for z, counts in self.histograms.items()}
        tensors |= {f"{z}.{source}.whole": torch.cat(parts).cpu() for (z, source), parts in self.whole.items()}
        tensors |= {f"seen.{key}": torch.from_numpy(values) for key, values in self.seen.items()}
        if self.rows:
            sink = io.BytesIO()
            pq.write_table(pa.concat_tables(self.rows).sort_by(
                [(name, "ascending") for name in ("index", "look", "zoom")]), sink,
                           compression="zstd")
            tensors["rows"] = torch.frombuffer(bytearray(sink.getvalue()), dtype=torch.uint8)
        # one entry: safetensors writes several in any order
        note = {"unreadable": sorted(self.unreadable)}
        return safetensors.torch.save(tensors, {"shard": json.dumps(note, sort_keys=True)})
