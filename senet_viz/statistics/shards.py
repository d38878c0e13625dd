"""One shard of a data set → one result, which depends on nothing but the plan: not on who computes it, or when."""
import hashlib
import io
import json
import math
import platform
import re
import signal
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
import PIL
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
import timm
import torch
import torchvision
from torch.utils.data import DataLoader, Dataset

from ..datasets import Pictures
from ..gates.blocks import eager
from ..images import UnreadableImage, blur, elsewhere, open_image, zoom, zoom_window
from ..models import Model
from ..tables import HIGH, LOW, sampled_channels
from .moments import Moments, histogram
from .network import PRECISIONS, GateNetwork, digest, hardware, random_weights, weights_hash

LOOKS = {"zoom": zoom, "blur": lambda image, factor, centre: blur(image, factor), "elsewhere": elsewhere}
FORMAT = 1  # raised when this program computes or writes anything differently
CALIBRATION = 64  # pictures that the random weights' batch normalisation is set with


@dataclass(frozen=True)
class Settings:
    """How a run computes. Every one of these can change bits of the result.

    Attributes:
        zooms: each picture is looked at with its centre enlarged by these factors (``senet_viz.images.zoom``).
        around: "centre" of the picture, or of its "box".
        controls: look also, for each zoom but 1, at the picture with the same blur and no zoom, and at as large a crop
            elsewhere; they are told of in the rows of pictures only.
        precision: "fp32", "bf16" or "fp16".
        batch_size: pictures in a forward.
        shard_size: pictures in a shard.
        threads: of the CPU, in a forward.
        compiled: run the network through ``torch.compile``.
        random_weights: look also at the same network with random weights, as a control.
    """

    zooms: tuple[float, ...] = (1.0,)
    around: str = "centre"
    controls: bool = False
    precision: str = "fp32"
    batch_size: int = 32
    shard_size: int = 512
    threads: int = 1
    compiled: bool = False
    random_weights: bool = False

    def __post_init__(self):
        object.__setattr__(self, "zooms", tuple(map(float, self.zooms)))  # 1 and 1.0 would be written differently

    @property
    def looks(self) -> list[tuple[str, float]]:
        """Every way in which a picture is looked at, one of ``LOOKS`` and a factor; the zooms come first."""
        looks = [("zoom", factor) for factor in self.zooms]
        if self.controls:  # where they differ from the zoom
            looks += [("blur", factor) for factor in self.zooms if factor != 1]
            looks += [("elsewhere", factor) for factor in self.zooms if factor > 1]
        return looks

    def check(self) -> None:
        """Raise ValueError, one sentence, where a setting makes no sense."""
        if not self.zooms or any(not 0 < factor < math.inf for factor in self.zooms):
            raise ValueError(f"zooms are finite factors above 0, not {', '.join(map(str, self.zooms)) or 'none'}")
        if len(set(self.zooms)) < len(self.zooms):
            raise ValueError("each zoom is given once")
        if self.around not in ("centre", "box"):
            raise ValueError(f"pictures are enlarged around their centre or a box, not {self.around!r}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"the precision is {', '.join(PRECISIONS)}, not {self.precision!r}")
        for name in ("batch_size", "shard_size", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name.replace('_', ' ')} is 1 or more, not {getattr(self, name)}")


@dataclass
class Plan:
    """A run: a network, pictures, and settings. Whole, so that it can be sent to other machines.

    Attributes:
        model: wherever it is; it is copied to ``device``.
        pictures: of which ``count`` are looked at, spread evenly over their list, which is often sorted by class.
        settings: how.
        data: says where the pictures came from.
        count: number of pictures.
        device: to compute on.
        hardware: what that is, as ``senet_viz.statistics.network.hardware`` names it.
    """

    model: Model
    pictures: Pictures
    settings: Settings
    data: str
    count: int
    device: torch.device
    hardware: str

    @property
    def shards(self) -> int:
        """How many there are."""
        return -(-self.count // self.settings.shard_size)

    def indices(self, shard: int) -> np.ndarray:
        """The pictures of a shard."""
        size = self.settings.shard_size
        return np.arange(shard * size, min((shard + 1) * size, self.count)) * len(self.pictures) // self.count

    @cached_property
    def labels(self) -> np.ndarray:
        """Of all pictures, int64; −1 for none."""
        return np.asarray(self.pictures.labels, dtype=np.int64)

    @cached_property
    def shuffled(self) -> np.ndarray:
        """The control's labels: the same ones, dealt out anew among the labelled pictures that are looked at."""
        chosen = np.concatenate([self.indices(shard) for shard in range(self.shards)])
        known = chosen[self.labels[chosen] >= 0]
        dealt = self.labels.copy()
        dealt[known] = np.random.default_rng(0).permutation(dealt[known])
        return dealt

    @cached_property
    def sampled(self) -> torch.Tensor:
        """The channels that the control with shuffled labels looks at, every s-th of each block and branch."""
        starts = np.cumsum([0, *(block.branches * block.channels for block in self.model.blocks)])
        return torch.from_numpy(np.concatenate([
            start + m * block.channels + sampled_channels(block.channels)
            for start, block in zip(starts, self.model.blocks) for m in range(block.branches)]))

    @cached_property
    def identity(self) -> dict:
        """Everything that the result's bytes depend on, as JSON holds it. Two runs mix only where this is the same."""
        model = self.model
        transform = re.sub(" at 0x[0-9a-f]+", "", str(model.transform))  # a function's place in memory
        return json.loads(json.dumps({
            "format": FORMAT, "model": model.name, "weights": weights_hash(model.module),
            "architecture": hashlib.sha256(f"{eager(model.module)} {model.blocks}".encode()).hexdigest(),
            "transform": transform,
            "transformed_noise": digest(model.transform(model.noise())),  # two lambdas look the same in words
            "data": self.data, "pictures": self.pictures.fingerprint,
            "count": self.count, "settings": asdict(self.settings), "device": self.hardware,
            "versions": {"python": platform.python_version(), "numpy": np.__version__, "pillow": PIL.__version__,
                         "pyarrow": pa.__version__, "safetensors": safetensors.__version__, "timm": timm.__version__,
                         "torch": torch.__version__, "torchvision": torchvision.__version__}}))


class ShardWorker:
    """Computes shards of a plan, one after the other: decoding goes on beside the network.

    Args:
        plan: the run.
        workers: processes that decode; 0 decodes in this one.

    Raises:
        RuntimeError: when this machine computes with other hardware than the run.
    """

    def __init__(self, plan: Plan, workers: int):
        self.plan, self.workers, self.device = plan, workers, plan.device
        if hardware(self.device) != plan.hardware:
            raise RuntimeError(f"the run computes on {plan.hardware}, this machine on {hardware(self.device)}: their "
                               f"results would differ in their last bits and are not mixed")
        torch.set_num_threads(plan.settings.threads)
        # Apple's GPUs have no float64
        self.accumulator = torch.device("cpu") if self.device.type == "mps" else self.device
        blocks, settings = plan.model.blocks, plan.settings
        compiled = settings.batch_size if settings.compiled else None
        self.network = GateNetwork(plan.model.module, blocks, self.device, settings.precision, compiled)
        self.random = None
        if settings.random_weights:
            spread = np.linspace(0, len(plan.pictures) - 1, min(CALIBRATION, plan.count)).round().astype(int)
            plain = _Reading(replace(plan, settings=replace(settings, zooms=(1.0,), controls=False)))
            images = [read.images[0] for read in map(plain.__getitem__, spread)
                      if read.images is not None and read.images[0].isfinite().all()]
            if len(images) > 1:  # of one, batch normalisation knows no variance
                module = random_weights(plan.model.module, torch.stack(images).to(self.device))
                self.random = GateNetwork(module, blocks, self.device, settings.precision, compiled)

    def results(self, shards: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Each shard with its result, in the order given."""
        shards = list(shards)
        size = self.plan.settings.batch_size
        batches = [indices[start:start + size].tolist() for shard in shards for indices in [self.plan.indices(shard)]
                   for start in range(0, len(indices), size)]
        loader = iter(DataLoader(
            _Reading(self.plan), batch_sampler=batches, num_workers=self.workers, collate_fn=_Batch,
            pin_memory=self.device.type == "cuda", worker_init_fn=_ignore_interrupts,
            generator=torch.Generator()))  # it draws a number, and should not from the caller's
        for shard in shards:
            result = _Shard(self.plan, shard, self.accumulator)
            for _ in range(0, len(self.plan.indices(shard)), size):
                self._look(next(loader), result)
            yield shard, result.to_bytes()

    def _look(self, batch: "_Batch", result: "_Shard") -> None:
        result.unreadable += batch.unreadable
        if not batch.reads:
            return
        images = batch.images.to(self.device, non_blocking=True)
        outputs = [self.network(seen) for seen in images]  # a forward for each look
        # what overflowed says nothing, and would make its class's mean a nan
        finite = torch.stack([values.isfinite().all(1) for output in outputs for values in output]).all(0)
        used = [read for read, good in zip(batch.reads, finite.tolist()) if good]
        result.unreadable += [(read.index, "the network's output is not finite")
                              for read, good in zip(batch.reads, finite.tolist()) if not good]
        if not used:
            return
        for look, (seen, output) in enumerate(zip(images, outputs)):
            logits, gates, squeezed = (values[finite] for values in output)
            result.add_rows(look, used, logits, gates)
            if look < len(self.plan.settings.zooms):
                drawn = self.random(seen)[1][finite] if self.random else None
                result.add(look, used, gates, squeezed, drawn)


@dataclass(eq=False)
class _Read:
    """A picture as it came off the disk: its tensors (looks, 3, H, W), or the reason why there are none."""

    index: int
    images: torch.Tensor | None = None
    reason: str = ""
    box: float = math.nan  # the object's share of the picture
    fits: tuple[bool, ...] = ()  # whether the object lies whole in what a zoom leaves of the picture, look by look


class _Batch:
    """Pictures that came off the disk: those that could be read, their tensors (looks, N, 3, H, W), and the others."""

    def __init__(self, reads: list[_Read]):
        self.unreadable = [(read.index, read.reason) for read in reads if read.images is None]
        self.reads = [read for read in reads if read.images is not None]
        self.images = torch.stack([read.images for read in self.reads], 1) if self.reads else None
        for read in self.reads:
            read.images = None  # one copy travels between processes

    def pin_memory(self) -> "_Batch":
        """What the data loader asks for where a GPU is to fetch the batch."""
        self.images = None if self.images is None else self.images.pin_memory()
        return self


class _Reading(Dataset):
    """Picture i, decoded, zoomed and transformed."""

    def __init__(self, plan: Plan):
        self.pictures, self.transform, self.settings = plan.pictures, plan.model.transform, plan.settings

    def __getitem__(self, index: int) -> _Read:
        try:
            image = open_image(self.pictures.read(index))
        except UnreadableImage as error:
            return _Read(index, reason=" ".join(str(error).split()))
        except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as error:
            return _Read(index, reason=error.strerror or "the file cannot be opened")  # what may pass ends the run
        except ValueError as error:  # an address of a protocol that nobody knows
            return _Read(index, reason=" ".join(str(error).split()))
        box, centre, looks = None, None, self.settings.looks
        if self.pictures.boxes is not None and not np.isnan(self.pictures.boxes[index]).any():
            box = x0, y0, x1, y1 = self.pictures.boxes[index].tolist()
            centre = ((x0 + x1) / 2, (y0 + y1) / 2) if self.settings.around == "box" else None
        read = _Read(index, torch.stack([
            self.transform(LOOKS[name](image, factor, centre)) for name, factor in looks]))
        if box:
            windows = [zoom_window(image.size, factor, centre) for _, factor in looks]
            read.box = (x1 - x0) * (y1 - y0) / (image.width * image.height)
            read.fits = tuple(left <= x0 and top <= y0 and x1 <= right and y1 <= bottom
                              for left, top, right, bottom in windows)
        return read


def _ignore_interrupts(_) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of the terminal; ours decides


class _Shard:
    """What accumulates over one shard: moments by class that it saw, histograms, a row a picture and zoom."""

    def __init__(self, plan: Plan, shard: int, device: torch.device):
        self.plan, self.device = plan, device
        indices = plan.indices(shard)
        self.labels = {"labels": plan.labels, "shuffled": plan.shuffled}
        self.seen = {key: np.unique(values[indices]) for key, values in self.labels.items()}
        self.moments: dict[tuple[int, str], Moments] = {}
        self.histograms: dict[int, torch.Tensor] = {}
        self.rows: list[pa.Table] = []
        self.unreadable: list[tuple[int, str]] = []

    def add(self, z: int, items: list[_Read], gates, squeezed, drawn) -> None:
        """What the gates did at one zoom; ``drawn`` are those of the control with random weights."""
        gates, squeezed = gates.to(self.device), squeezed.to(self.device)
        self._accumulate(z, "gate", items, gates)
        self._accumulate(z, "squeeze", items, squeezed)
        self._accumulate(z, "shuffled", items, gates[:, self.plan.sampled.to(self.device)])
        if drawn is not None:
            finite = drawn.isfinite().all(1)
            kept = [item for item, good in zip(items, finite.tolist()) if good]
            if kept:
                self._accumulate(z, "random", kept, drawn[finite].to(self.device))
        counts = histogram(gates)
        self.histograms[z] = self.histograms[z] + counts if z in self.histograms else counts

    def _accumulate(self, z: int, source: str, items: list[_Read], values: torch.Tensor) -> None:
        key = "shuffled" if source == "shuffled" else "labels"
        groups = np.searchsorted(self.seen[key], self.labels[key][[item.index for item in items]])
        if (z, source) not in self.moments:
            self.moments[z, source] = Moments.empty(len(self.seen[key]), values.shape[1], self.device)
        self.moments[z, source].update(values, torch.from_numpy(groups))

    def add_rows(self, look: int, items: list[_Read], logits: torch.Tensor, gates: torch.Tensor) -> None:
        """A row a picture, for one look."""
        name, factor = self.plan.settings.looks[look]
        pictures, blocks = self.plan.pictures, self.plan.model.blocks
        probability, top = logits.softmax(1).max(1)
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
        tensors = {f"{z}.{source}.{name}": tensor.cpu().contiguous() for (z, source), moments in self.moments.items()
                   for name, tensor in moments.tensors().items()}
        tensors |= {f"{z}.histogram": counts.cpu() for z, counts in self.histograms.items()}
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
