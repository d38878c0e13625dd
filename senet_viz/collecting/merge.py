"""Shard results → the archive, in shard order."""
import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..data.files import replacing
from ..statistics.archive import IMAGES, METADATA, TENSORS, describe
from .moments import Moments
from .plan import Plan
from .sample import components, hidden_measures, measures, on_threads, width
from .shards import Collection

COMPACT_BINS = 20


def merge(plan: Collection, shards: Sequence[Path], out: Path, compact: bool) -> None:
    """Write the archive of a run into ``out``; the metadata last, which make it whole.

    The tensors are those of one class table at a time, so that memory does not grow with the number of shards.

    Args:
        plan: the run.
        shards: the files of all shards, in order.
        out: a folder.
        compact: write means and standard deviations in float16, no extremes by class, fewer bins, and of each picture
            only a number a block.

    Raises:
        ValueError: when no picture could be used.
        OSError: when the disk is full.
    """
    files = [Result(path) for path in shards]
    unreadable = list_unreadable(plan, files, out)

    parts: dict[str, list[torch.Tensor]] = {}  # zoom after zoom
    sampled = 0
    for z in range(len(plan.settings.zooms)):
        for source in ("gate", "squeeze", "shuffled", "random"):
            moments = _merged(plan, files, z, source)
            if moments is not None:
                _add(parts, plan, source, moments, compact)
                if source != "shuffled":
                    with on_threads(plan.settings.threads):
                        sampled = max(sampled, _measure(parts, plan, files, z, source, moments, compact))
        with on_threads(plan.settings.threads):
            _measure_hidden(parts, plan, files, z)
        counts = sum(file.get(f"{z}.histogram") for file in files if f"{z}.histogram" in file.names)
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
    metadata = plan.identity | {
        "classes": plan.pictures.classes, "blocks": describe(plan.model.blocks), "compact": compact,
        "images": plan.count - unreadable, "sampled": sampled, "unlabelled": plan.count - unreadable - int(count.sum()),
        "unreadable": unreadable}
    with replacing(out / METADATA) as path:
        path.write_text(json.dumps(metadata, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def list_unreadable(plan: Plan, files: Sequence["Result"], out: Path) -> int:
    """Write the pictures that could not be used, and why, into ``unreadable.csv``; how many there are.

    Raises:
        ValueError: when it is all of them.
    """
    unreadable = [(str(plan.pictures.files[i]), reason) for file in files for i, reason in file.note["unreadable"]]
    with replacing(out / "unreadable.csv") as path, path.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([("file", "reason"), *unreadable])
    if len(unreadable) == plan.count:
        raise ValueError(f"none of the {plan.count:,} pictures could be used; the first: {unreadable[0][1]}")
    return len(unreadable)


class Result:
    """A shard's file: its tensors are read as they are asked for."""

    def __init__(self, path: Path):
        file = safe_open(path, framework="pt")
        self.get, self.part = file.get_tensor, file.get_slice
        self.names, self.note = set(file.keys()), json.loads(file.metadata()["shard"])


def _merged(plan: Collection, files: list, z: int, source: str) -> Moments | None:
    """All shards' moments by class, the unlabelled pictures last; None where the run did not look at the source."""
    found = [file for file in files if f"{z}.{source}.count" in file.names]
    if not found:
        return None
    classes = len(plan.pictures.classes)
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
    for name, values in (("between", between), ("within", within)):
        add(f"{source}.{name}", values.float() if compact else values, _squeezed if source == "squeeze" else _parts)
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
        std = (labelled.M2 / labelled.count.clamp_min(1)[:, None]).sqrt()
        by_class = {"mean": labelled.mean.half(), "std": std.half()}
    for name, values in by_class.items():
        add(name, values)


def _measure(tensors: dict[str, list[torch.Tensor]], plan: Collection, files: list["Result"], z: int, source: str,
             moments: Moments, compact: bool) -> int:
    """Put what the sample tells of one source at one zoom behind what is there; how many pictures are in it."""
    read = _sample(files, f"{z}.{source}.whole")
    if read is None:
        return 0
    labelled = moments.take(torch.arange(len(moments.count) - 1))
    between = labelled.count[:, None] * (labelled.mean - labelled.total().mean).square()
    start = pictures = 0
    for block in plan.model.blocks:
        told, directions = [], []
        for _ in range(1 if source == "squeeze" else block.branches):
            columns = slice(start, start := start + block.channels)
            values = read(columns)
            pictures = len(values)
            told.append(measures(values, between[:, columns].sum(1)))
            if source == "gate":
                directions.append(components(values))
        tensors.setdefault(f"{block.name}.{source}.measures", []).append(torch.stack(told))
        if directions:
            kept = torch.stack(directions)
            tensors.setdefault(f"{block.name}.components", []).append(kept.half() if compact else kept)
    return pictures


def _measure_hidden(tensors: dict[str, list[torch.Tensor]], plan: Collection, files: list["Result"], z: int) -> None:
    read, start = _sample(files, f"{z}.hidden.whole"), 0
    if read is None:
        return
    for name, layer in plan.hidden.items():
        if layer is not None:
            columns = slice(start, start := start + width(plan.model.module, layer))
            tensors.setdefault(f"{name}.hidden", []).append(
                hidden_measures(read(columns), plan.model.module, layer))


def _sample(files: list["Result"], name: str) -> Callable[[slice], torch.Tensor] | None:
    """A function that reads some columns of the sample, (n, columns); None where there is none."""
    found = [file for file in files if name in file.names]
    return (lambda columns: torch.cat([file.part(name)[:, columns] for file in found])) if found else None


def _parts(plan: Collection, values: torch.Tensor) -> list[torch.Tensor]:
    """(…, Σ M·C) → each block's (…, M, C)."""
    blocks = plan.model.blocks
    return [part.unflatten(-1, (block.branches, block.channels)) for block, part in zip(
        blocks, values.split([block.branches * block.channels for block in blocks], -1))]


def _squeezed(plan: Collection, values: torch.Tensor) -> list[torch.Tensor]:
    """(Σ C) → each block's (1, C)."""
    return [part[None] for part in values.split([block.channels for block in plan.model.blocks])]


def _write_rows(plan: Collection, files: list, path: Path, compact: bool) -> None:
    writer = None
    for file in files:
        if "rows" not in file.names:
            continue
        rows = pq.read_table(pa.BufferReader(file.get("rows").numpy().tobytes()))
        if compact:
            dropped = [f"{block.label}_{name}" for block in plan.model.blocks
                       for name in ("std", "below", "above", *(["mean"] if block.branches > 1 else []))]
            rows = rows.drop_columns(dropped)
        writer = writer or pq.ParquetWriter(path, rows.schema, compression="zstd")
        writer.write_table(rows)
    if writer is not None:
        writer.close()
