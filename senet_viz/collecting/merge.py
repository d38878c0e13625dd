"""Shard results → the archive, in shard order."""
import csv
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..data.checksums import write_described
from ..data.files import replacing
from ..gates import AttentionBlock
from ..models.devices import on_threads, set_threads
from ..statistics.archive import IMAGES, METADATA, TENSORS, describe
from ..statistics.drivers import DRIVERS, drivers
from ..statistics.whole import SAMPLE, write_whole
from .moments import Moments
from .plan import Plan
from .sample import components, farthest, hidden_measures, measures, rank_specificity, width
from .shards import Collection

COMPACT_BINS = 20
UNREADABLE = "unreadable.csv"
Place = TypeVar("Place")
Found = TypeVar("Found")


def merge(plan: Collection, shards: Sequence[Path], out: Path, compact: bool) -> None:
    """Write the archive of a run into ``out``; the metadata last, which make it whole.

    The tensors are those of one class table at a time, so that memory does not grow with the number of shards.

    Args:
        plan: the run.
        shards: the files of all shards, in order.
        out: a folder.
        compact: write each class's deviation from the mean of all and standard deviation in float16, no extremes by
            class, fewer bins, of each picture only a number a block, and no whole gates of the sample.

    Raises:
        ValueError: when no picture could be used.
        OSError: when the disk is full.
    """
    files = [Result(path) for path in shards]
    unreadable = list_unreadable(plan, files, out)

    parts: dict[str, list[torch.Tensor]] = {}  # zoom after zoom
    sampled = 0
    for z in range(len(plan.settings.zooms)):
        sample = Sample(plan, files, z)
        for source in ("gate", "squeeze", "shuffled"):
            moments = _merged(plan, files, z, source)
            if moments is not None:
                _add(parts, plan, source, moments, compact)
                if sample and source != "shuffled":
                    _measure(parts, plan, sample, source, moments, compact)
        draws: dict[str, list[torch.Tensor]] = {}
        for draw in range(plan.settings.random_weights):
            moments = _merged(plan, files, z, f"random {draw}")
            if moments is not None:
                _add(draws, plan, f"random {draw}", moments, compact)
                if sample:
                    _measure(draws, plan, sample, f"random {draw}", moments, compact)
        for name, values in draws.items():
            parts.setdefault(name, []).append(torch.stack(values))
        if sample:
            sampled = len(sample.index)
            with on_threads(1):
                _measure_hidden(parts, plan, sample)
            _measure_drivers(parts, plan, sample)
        counts = sum((file.get(f"{z}.histogram") for file in files if f"{z}.histogram" in file.names),
                     torch.zeros((), dtype=torch.int64))
        if compact:
            counts = counts.unflatten(1, (COMPACT_BINS, -1)).sum(2).int()
        for block, part in zip(plan.model.blocks, _parts(plan, counts.T)):
            parts.setdefault(f"{block.name}.histogram", []).append(part.permute(1, 2, 0))
    count, = parts.pop("count")
    tensors = {name: torch.stack(values).contiguous() for name, values in parts.items()} | {"count": count}

    with replacing(out / IMAGES) as path:
        _write_rows(plan, files, path, compact)
    with replacing(out / TENSORS) as path:
        try:
            save_file(tensors, path)
        except SafetensorError as error:  # what it makes of a full disk
            raise OSError(str(error)) from error
    sample = Sample(plan, files, 0)
    if sample and not compact:
        with replacing(out / SAMPLE) as path:
            write_whole(path, sample.index.numpy(), _whole(plan, sample))
    metadata = plan.identity | {
        "classes": plan.classes, "blocks": describe(plan.model.blocks), "compact": compact,
        "images": plan.count - unreadable, "sampled": sampled, "unlabelled": plan.count - unreadable - int(count.sum()),
        "unreadable": unreadable}
    write_described(out / METADATA, metadata, (IMAGES, TENSORS, SAMPLE, UNREADABLE))


def list_unreadable(plan: Plan, files: Sequence["Result"], out: Path) -> int:
    """Write the pictures that could not be used, and why, into ``unreadable.csv``; how many there are.

    Raises:
        ValueError: when it is all of them.
    """
    unreadable = [(str(plan.pictures.files[i]), reason) for file in files for i, reason in file.note["unreadable"]]
    with replacing(out / UNREADABLE) as path, path.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([("file", "reason"), *unreadable])
    if len(unreadable) == plan.count:
        raise ValueError(f"none of the {plan.count:,} pictures could be used; the first: {unreadable[0][1]}")
    return len(unreadable)


class Sample:
    """The sampled pictures at one zoom, whole, read from the shards as they are asked for; false if there are none.

    Attributes:
        index: (n,) int64, their numbers in the data.
        labels: (n,) int64, their classes, −1 for none.
        properties: (n, 5), those of ``senet_viz.data.properties`` and the side of the object.
    """

    def __init__(self, plan: Collection, files: "list[Result]", z: int):
        self.z, self.files = z, [file for file in files if f"{z}.index.whole" in file.names]
        if self.files:
            self.index = self("index")
            self.labels = torch.from_numpy(plan.labels)[self.index]
            self.properties = self("properties")

    def __bool__(self) -> bool:
        return bool(self.files)

    def __call__(self, source: str, columns: slice | None = None) -> torch.Tensor:
        """(n, columns) of a source."""
        name = f"{self.z}.{source}.whole"
        return torch.cat([file.get(name, columns) for file in self.files])


class Result:
    """A shard's file. What is read of it is copied: safetensors' own tensors keep the whole file in memory."""

    def __init__(self, path: Path):
        self.path = path
        with safe_open(path, framework="pt") as file:
            self.names, self.note = set(file.keys()), json.loads(file.metadata()["shard"])

    def get(self, name: str, columns: slice | None = None) -> torch.Tensor:
        """A tensor, or some of its columns."""
        with safe_open(self.path, framework="pt") as file:
            return (file.get_tensor(name) if columns is None else file.get_slice(name)[:, columns]).clone()


def _merged(plan: Collection, files: list, z: int, source: str) -> Moments | None:
    """All shards' moments by class, the unlabelled pictures last; None where the run did not look at the source."""
    found = [file for file in files if f"{z}.{source}.count" in file.names]
    if not found:
        return None
    classes = len(plan.used)
    merged = Moments.empty(classes + 1, found[0].get(f"{z}.{source}.mean").shape[1])
    for file in found:
        seen = file.get("seen.shuffled" if source == "shuffled" else "seen.labels")
        part = Moments(**{name: file.get(f"{z}.{source}.{name}") for name in merged.tensors()})
        merged.merge(part, seen.where(seen >= 0, classes))
    return merged


def _add(tensors: dict[str, list[torch.Tensor]], plan: Collection, source: str, moments: Moments, compact: bool
         ) -> None:
    """Put what is kept of one source at one zoom behind what is there of the zooms before."""
    def add(name: str, values: torch.Tensor, parts=_parts) -> None:
        for block, part in zip(plan.model.blocks, parts(plan, values)):
            tensors.setdefault(f"{block.name}.{name}", []).append(part)

    labelled = moments.take(torch.arange(len(moments.count) - 1))
    between, within = labelled.variance()
    if source == "shuffled":
        spread = torch.full((2, sum(b.branches * b.channels for b in plan.model.blocks)), torch.nan).double()
        spread[:, plan.sampled] = torch.stack([between, within])
        between, within = spread
    kind = source.split()[0]
    for name, values in (("between", between), ("within", within)):
        add(f"{kind}.{name}", values.float() if compact else values, _squeezed if source == "squeeze" else _parts)
    if source != "gate":
        return
    tensors.setdefault("count", [labelled.count])  # the same at every zoom
    overall = moments.total()
    for name, values in overall.tensors().items():
        if name != "count":
            add(f"overall_{name}", values[0].float() if compact else values[0])
    by_class = labelled.tensors()
    del by_class["count"]
    if compact:
        # float16 has steps of 5e-4 near 1, which differences of classes can be smaller than; of deviations from the
        # mean of all, as it is kept, it has much finer ones
        std = (labelled.M2 / labelled.count.clamp_min(1)[:, None]).sqrt()
        deviation = labelled.mean - overall.mean.float()
        by_class = {"deviation": deviation.half(), "std": std.half()}
    for name, values in by_class.items():
        add(name, values)


def _measure(tensors: dict[str, list[torch.Tensor]], plan: Collection, sample: Sample, source: str, moments: Moments,
             compact: bool) -> None:
    """Put what the sample tells of one source at one zoom behind what is there."""
    labelled = moments.take(torch.arange(len(moments.count) - 1))
    kind, blocks = source.split()[0], plan.model.blocks
    sizes = [block.channels * (1 if source == "squeeze" else block.branches) for block in blocks]

    def of_block(place: tuple[slice, int]) -> dict[str, torch.Tensor]:
        columns, channels = place
        found: dict[str, list[torch.Tensor]] = {}
        for start in range(columns.start, columns.stop, channels):
            branch = slice(start, start + channels)
            values = sample(source, branch)
            told = {f"{kind}.measures": measures(values, sample.labels, labelled.channels(branch)),
                    f"{kind}.rank": rank_specificity(values, sample.labels)}
            if kind != "random":
                told[f"{kind}.farthest"] = farthest(values, sample.index)
            if kind == "gate":
                told["components"] = components(values)
            for name, tensor in told.items():
                short = compact and name != f"{kind}.measures" and tensor.is_floating_point()
                found.setdefault(name, []).append(tensor.half() if short else tensor)
        return {name: torch.stack(several) for name, several in found.items()}

    places = [(columns, block.channels) for columns, block in zip(_slices(sizes), blocks)]
    for block, told in zip(blocks, _side_by_side(plan, of_block, places)):
        for name, tensor in told.items():
            tensors.setdefault(f"{block.name}.{name}", []).append(tensor)


def _measure_hidden(tensors: dict[str, list[torch.Tensor]], plan: Collection, sample: Sample) -> None:
    start = 0
    for name, layer in plan.hidden.items():
        if layer is not None:
            columns = slice(start, start := start + width(plan.model.module, layer))
            tensors.setdefault(f"{name}.hidden", []).append(
                hidden_measures(sample("hidden", columns), plan.model.module, layer))


def _measure_drivers(tensors: dict[str, list[torch.Tensor]], plan: Collection, sample: Sample) -> None:
    blocks = plan.model.blocks
    gates = _slices([block.branches * block.channels for block in blocks])
    squeezed = _slices([block.channels for block in blocks])

    def of_block(place: tuple[AttentionBlock, slice, slice]) -> torch.Tensor:
        block, columns, of_z = place
        values = sample("gate", columns).unflatten(1, (block.branches, block.channels))
        z = sample("squeeze", of_z)
        told = [drivers(values, branch, z, sample.labels, sample.properties) for branch in range(block.branches)]
        return torch.tensor([[of[name] for name in DRIVERS] for of in told], dtype=torch.float32)

    for block, told in zip(blocks, _side_by_side(plan, of_block, zip(blocks, gates, squeezed))):
        tensors.setdefault(f"{block.name}.drivers", []).append(told)


def _side_by_side(plan: Collection, function: Callable[[Place], Found], places: Iterable[Place]) -> list[Found]:
    """What a function finds of each block, a block a thread, on as many as the run has.

    No sum is shared between threads, so that its last bits are the same on however many.
    """
    # each says for itself that it is one: another run beside this one may have set another number
    with on_threads(1), ThreadPoolExecutor(plan.settings.threads, initializer=set_threads, initargs=(1,)) as pool:
        return list(pool.map(function, places))


def _whole(plan: Collection, sample: Sample) -> dict[tuple[str, str], np.ndarray]:
    """What ``write_whole`` takes: of each block its gate (n, M, C) and its input (n, 1, C), float32."""
    blocks, found = plan.model.blocks, {}
    for source in ("gate", "squeeze"):
        branches = [block.branches if source == "gate" else 1 for block in blocks]
        columns = _slices([block.channels * several for block, several in zip(blocks, branches)])
        for block, part, several in zip(blocks, columns, branches):
            found[block.name, source] = sample(source, part).float().unflatten(1, (several, block.channels)).numpy()
    return found


def _slices(sizes: Sequence[int]) -> list[slice]:
    """Parts of these sizes, one behind the other."""
    ends = list(accumulate(sizes))
    return [slice(end - size, end) for size, end in zip(sizes, ends)]


def _parts(plan: Collection, values: torch.Tensor) -> list[torch.Tensor]:
    """(…, Σ M·C) → each block's (…, M, C)."""
    blocks = plan.model.blocks
    return [part.unflatten(-1, (block.branches, block.channels)) for block, part in zip(
        blocks, values.split([block.branches * block.channels for block in blocks], -1))]


def _squeezed(plan: Collection, values: torch.Tensor) -> list[torch.Tensor]:
    """(Σ C) → each block's (1, C)."""
    return [part[None] for part in values.split([block.channels for block in plan.model.blocks])]


def _write_rows(plan: Collection, files: list, path: Path, compact: bool) -> None:
    with ExitStack() as stack:
        writer = None
        for file in files:
            if "rows" not in file.names:
                continue
            rows = pq.read_table(pa.BufferReader(file.get("rows").numpy().tobytes()))
            if compact:
                dropped = [f"{block.label}_{name}" for block in plan.model.blocks
                           for name in ("std", "below", "above", *(["mean"] if block.branches > 1 else []))]
                rows = rows.drop_columns(dropped)
                rows = rows.cast(pa.schema([field.with_type(pa.float16()) if field.type == pa.float32() else field
                                            for field in rows.schema]))
            writer = writer or stack.enter_context(pq.ParquetWriter(path, rows.schema, compression="zstd"))
            writer.write_table(rows)
