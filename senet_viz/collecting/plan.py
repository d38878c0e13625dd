"""A run over a data set: what it depends on, how it is cut into shards, and how pictures reach the network."""
import hashlib
import json
import math
import platform
import re
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import PIL
import pyarrow as pa
import safetensors
import timm
import torch
import torchvision
from torch.utils.data import DataLoader, Dataset, default_collate

from ..data.datasets import FORK, Pictures
from ..data.images import blur, elsewhere, open_image, zoom, zoom_window
from ..data.properties import PROPERTIES, picture_properties
from ..gates.blocks import eager
from ..models import Model
from ..models.identity import digest, weights_hash
from . import travel
from .network import PRECISIONS, hardware

LOOKS = {"zoom": zoom, "blur": lambda image, factor, centre: blur(image, factor), "elsewhere": elsewhere}
MOST_THREADS = 1024
AHEAD = 2  # batches that a thread decodes before they are needed
FORMAT = 6  # raised when this program computes or writes anything differently


@dataclass(frozen=True)
class Computing:
    """How a network is run. Every one of these can change bits of the result.

    Attributes:
        precision: "fp32", "bf16" or "fp16"; "auto" becomes the faster one of the first two where the run begins.
        batch_size: pictures in a forward.
        shard_size: pictures in a shard.
        threads: of the CPU, in a forward.
    """

    precision: str = "fp32"
    batch_size: int = 32
    shard_size: int = 512
    threads: int = 1

    @property
    def looks(self) -> list[tuple[str, float]]:
        """Every way in which a picture is looked at, one of ``LOOKS`` and a factor."""
        return [("zoom", 1.0)]

    @property
    def around_box(self) -> bool:
        """Whether pictures are enlarged around their box."""
        return False

    def check(self) -> None:
        """Raise ValueError, one sentence, where a setting makes no sense."""
        if self.precision not in (*PRECISIONS, "auto"):
            raise ValueError(f"the precision is {', '.join(PRECISIONS)} or auto, not {self.precision!r}")
        for name in ("batch_size", "shard_size", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name.replace('_', ' ')} is 1 or more, not {getattr(self, name)}")
        if self.threads > MOST_THREADS:  # torch ends the process for want of memory for them
            raise ValueError(f"threads is {MOST_THREADS:,} or less, not {self.threads:,}")


@dataclass
class Plan:
    """A run: a network, pictures, and settings. Whole, so that it can be sent to other machines.

    Each kind of run has a plan of its own, which says what a worker does with a batch.

    Attributes:
        model: wherever it is; it is copied to ``device``.
        pictures: of which ``count`` are looked at, spread evenly over their list, which is often sorted by class.
        settings: how.
        data: says where the pictures came from.
        count: number of pictures.
        device: to compute on.
        hardware: what that is, as ``senet_viz.collecting.network.hardware`` names it.
    """

    model: Model
    pictures: Pictures
    settings: Computing
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

    def batches(self, shard: int) -> list[list[int]]:
        """The pictures of a shard, forward by forward."""
        indices, size = self.indices(shard).tolist(), self.settings.batch_size
        return [indices[start:start + size] for start in range(0, len(indices), size)]

    @cached_property
    def kept_whole(self) -> np.ndarray:
        """Whether a picture is in the sample that is looked at more closely, for all of the data set's: (n,) bool."""
        return np.zeros(len(self.pictures), dtype=bool)

    @cached_property
    def labels(self) -> np.ndarray:
        """Of all pictures, int64; −1 for none."""
        return np.asarray(self.pictures.labels, dtype=np.int64)

    @cached_property
    def identity(self) -> dict:
        """Everything that the result's bytes depend on, as JSON holds it. Two runs mix only where this is the same."""
        model = self.model
        return json.loads(json.dumps({
            "format": FORMAT, "model": model.name, "weights": weights_hash(model.module),
            "architecture": hashlib.sha256(f"{eager(model.module)} {model.blocks}".encode()).hexdigest(),
            "transform": _without_places(str(model.transform)),
            "transformed_noise": digest(model.example),  # two lambdas look the same in words
            "data": self.data, "pictures": self.pictures.fingerprint,
            "count": self.count, "settings": asdict(self.settings), "device": self.hardware,
            "versions": {"python": platform.python_version(), "numpy": np.__version__, "pillow": PIL.__version__,
                         "pyarrow": pa.__version__, "safetensors": safetensors.__version__, "timm": timm.__version__,
                         "torch": torch.__version__, "torchvision": torchvision.__version__}}))

    def worker(self, workers: int) -> "Worker":
        """What computes the shards of this plan; ``workers`` processes decode pictures for it."""
        raise NotImplementedError


class Worker:
    """Computes shards of a plan, one after the other: decoding goes on beside the network.

    Args:
        plan: the run.
        workers: processes that decode; with 0 a thread of this one does.

    Raises:
        RuntimeError: when this machine computes with other hardware than the run.
    """

    def __init__(self, plan: Plan, workers: int):
        self.plan, self.workers, self.device = plan, workers, plan.device
        if hardware(self.device) != plan.hardware:
            raise RuntimeError(f"the run computes on {plan.hardware}, this machine on {hardware(self.device)}: their "
                               f"results would differ in their last bits and are not mixed")
        torch.set_num_threads(plan.settings.threads)
        model = plan.model
        self.bytes = None
        if self.device.type in travel.BY and not model.reader:
            self.bytes = travel.as_bytes(model.transform, model.noise())
        self.finished = self.bytes.finished_on(self.device) if self.bytes else None

    def images(self, batch: "Batch") -> torch.Tensor:
        """The transformed pictures of a batch that has some (looks, N, 3, H, W), on the device."""
        assert batch.images is not None
        # only CUDA keeps what it copies from until it has
        images = batch.images.to(self.device, non_blocking=self.device.type == "cuda")
        return self.finished(images) if self.finished else images

    def results(self, shards: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Each shard with its result, in the order given."""
        shards = list(shards)
        batches = [batch for shard in shards for batch in self.plan.batches(shard)]
        with closing(self._read(batches)) as read:
            for shard in shards:
                result = self.empty(shard)
                for _ in self.plan.batches(shard):
                    self.look(next(read), result)
                yield shard, result.to_bytes()

    def _read(self, batches: list[list[int]]) -> Generator["Batch", None, None]:
        """Pictures of each batch, decoded while the network looks at the one before."""
        reading, pinned = Reading(self.plan, self.bytes), self.device.type == "cuda"
        if self.workers:
            yield from DataLoader(
                reading, batch_sampler=batches, num_workers=self.workers, collate_fn=Batch, pin_memory=pinned,
                worker_init_fn=_ignore_interrupts, multiprocessing_context=FORK,
                generator=torch.Generator())  # it draws a number, and should not from the caller's
            return

        def batch(indices: list[int]) -> Batch:
            read = Batch([reading[index] for index in indices])
            return read.pin_memory() if pinned else read

        with ThreadPoolExecutor(1) as pool:
            ahead = deque(pool.submit(batch, indices) for indices in batches[:AHEAD])
            for indices in batches[AHEAD:]:
                found = ahead.popleft().result()
                ahead.append(pool.submit(batch, indices))
                yield found
            for last in ahead:
                yield last.result()

    def empty(self, shard: int):
        """What the batches of a shard are added to; its ``to_bytes()`` is the shard's result."""
        raise NotImplementedError

    def look(self, batch: "Batch", result) -> None:
        """Add a batch."""
        raise NotImplementedError


@dataclass(eq=False)
class Read:
    """A picture as it came off the disk: its tensors (looks, 3, H, W) or bytes (looks, H, W, 3), or why it has none."""

    index: int
    images: torch.Tensor | None = None
    reason: str = ""
    box: float = math.nan  # the object's share of the picture
    fits: tuple[bool, ...] = ()  # whether the object lies whole in what a zoom leaves of the picture, look by look
    properties: tuple[tuple[float, ...], ...] = ()  # of a picture of the sample, look by look


class Batch:
    """Pictures that came off the disk: those that could be read, their tensors (looks, N, …), and the others.

    Raises:
        ValueError: for tensors of several shapes.
    """

    def __init__(self, reads: list[Read]):
        self.unreadable = [(read.index, read.reason) for read in reads if read.images is None]
        self.reads = [read for read in reads if read.images is not None]
        images = [read.images for read in self.reads if read.images is not None]
        if len({each.shape for each in images}) > 1:
            raise ValueError("the transform takes each picture in its own proportions, so that several of different "
                             "ones make no batch")
        # the loader's own, because it writes where other processes read
        self.images = default_collate(images).transpose(0, 1) if images else None
        for read in self.reads:
            read.images = None  # one copy travels between processes

    def pin_memory(self) -> "Batch":
        """What the data loader asks for where a GPU is to fetch the batch."""
        self.images = None if self.images is None else self.images.pin_memory()
        return self


class Reading(Dataset):
    """Picture i, decoded, zoomed and transformed, by the model's transform or up to what is left for the GPU."""

    def __init__(self, plan: Plan, transform: Callable | None = None):
        self.pictures, self.settings = plan.pictures, plan.settings
        self.transform = transform or plan.model.transform
        self.kept_whole, self.reader = plan.kept_whole, plan.model.reader

    def __getitem__(self, index: int) -> Read:
        try:
            data = self.pictures.read(index)
        except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as error:
            return Read(index, reason=error.strerror or "the file cannot be opened")  # what may pass ends the run
        except ValueError as error:  # too many bytes, or an address of a protocol that nobody knows
            return Read(index, reason=_reason(error))
        try:
            image = (self.reader or open_image)(data)
        except (ValueError, OSError) as error:
            return Read(index, reason=_reason(error))
        if self.reader is not None:  # no picture, and seen in one way only
            unknown = (math.nan,) * len(PROPERTIES)
            try:
                seen_once = self.transform(image)[None]
            except OSError as error:  # of what decodes when it is looked into, as what PIL.Image.open gives does
                return Read(index, reason=_reason(error))
            return Read(index, seen_once, properties=(unknown,) * int(self.kept_whole[index]))
        box, looks = self._box(index, image.size), self.settings.looks
        centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) if box and self.settings.around_box else None
        try:
            seen = [LOOKS[name](image, factor, centre) for name, factor in looks]
        except ValueError as error:  # too small a picture
            return Read(index, reason=_reason(error))
        read = Read(index, torch.stack([self.transform(picture) for picture in seen]))
        if self.kept_whole[index]:
            read.properties = tuple(map(picture_properties, seen))
        if box:
            x0, y0, x1, y1 = box
            windows = [zoom_window(image.size, factor, centre) for _, factor in looks]
            read.box = (x1 - x0) * (y1 - y0) / (image.width * image.height)
            read.fits = tuple(left <= x0 and top <= y0 and x1 <= right and y1 <= bottom
                              for left, top, right, bottom in windows)
        return read

    def _box(self, index: int, size: tuple[int, int]) -> tuple[float, float, float, float] | None:
        """Where the object is in a picture of a size; None where that is not known, or what is said is no box in it."""
        if self.pictures.boxes is None:
            return None
        x0, y0, x1, y1 = box = tuple(self.pictures.boxes[index].tolist())
        sound = np.isfinite(box).all() and max(x0, 0) < min(x1, size[0]) and max(y0, 0) < min(y1, size[1])
        return box if sound else None


def _reason(error: Exception) -> str:
    """What an error says, in one line that is the same in every run."""
    return _without_places(" ".join(str(error).split())) or type(error).__name__


def _without_places(text: str) -> str:
    """Text without the places in memory of what it names."""
    return re.sub(" at 0x[0-9a-f]+", "", text)


def _ignore_interrupts(_) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of the terminal; ours decides
