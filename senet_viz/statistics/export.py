"""Statistics → long tables on disk, for pandas, DuckDB and polars."""
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ..data.files import replacing
from ..tables import kernel_name
from .archive import IMAGES, Statistics


def export(stats: Statistics, folder: str | Path, to: str = "parquet") -> list[Path]:
    """Write four tables into a folder, block by block, so that no table is ever whole in memory.

    ``channels`` (kind, branch, kernel, channel, class_index, class, count, mean, std, and where they are kept min and
    max; the rows of class_index −1, "all", are over all pictures), ``variance`` (source, which is the gate or a
    control, branch, channel, and the sums of squares between and within classes), ``histograms`` (branch, channel, the
    edges left and right, count; empty bins are left out), each with zoom, block, label and stage; ``images`` as
    ``Statistics.images``.

    Args:
        stats: to write.
        folder: made where it is not there.
        to: "parquet" or "csv".

    Returns:
        The files.
    """
    folder = Path(folder)
    tables = {"channels": _channels(stats), "variance": _variance(stats), "histograms": _histograms(stats),
              "images": _images(stats)}
    paths = []
    for name, parts in tables.items():
        paths.append(folder / f"{name}.{to}")
        with replacing(paths[-1]) as part:
            _write(part, parts, to)
    return paths


def _write(path: Path, parts: Iterator[pd.DataFrame], to: str) -> None:
    writer = None
    try:
        for part in parts:
            table = pa.Table.from_pandas(part, preserve_index=False)
            if writer is None:
                writer = (pa_csv.CSVWriter(path, table.schema) if to == "csv" else
                          pq.ParquetWriter(path, table.schema, compression="zstd"))
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _channels(stats: Statistics) -> Iterator[pd.DataFrame]:
    extremes = not stats.metadata["compact"]
    names = np.array([*stats.classes, "all"], dtype=object)
    numbers = np.array([*range(len(stats.classes)), -1])
    counts = np.append(stats.count, stats.metadata["images"])
    for zoom in stats.zooms:
        for block in stats.blocks:
            values = {"mean": (stats.mean(block, zoom), stats.overall_mean(block, zoom=zoom)),
                      "std": (stats.std(block, zoom), stats.overall_std(block, zoom))}
            if extremes:
                values |= {"min": (stats.min(block, zoom), stats.overall_min(block, zoom)),
                           "max": (stats.max(block, zoom), stats.overall_max(block, zoom))}
            joined = {name: np.concatenate([by_class, overall[None]]) for name, (by_class, overall) in values.items()}
            kept = counts > 0
            index, branch, channel = np.indices(joined["mean"].shape)[:, kept].reshape(3, -1)
            kernels = np.array([kernel_name(block, m) for m in range(block.branches)], dtype=object)
            yield _of(zoom, block, kind=block.kind, branch=branch, kernel=kernels[branch], channel=channel,
                      class_index=numbers[index], **{"class": names[index]}, count=counts[index],
                      **{name: value[kept].ravel() for name, value in joined.items()})


def _variance(stats: Statistics) -> Iterator[pd.DataFrame]:
    for zoom in stats.zooms:
        for block in stats.blocks:
            for source in stats.sources:
                between, within = stats.variance(block, source, zoom)
                known = ~np.isnan(between)
                branch, channel = np.nonzero(known)
                yield _of(zoom, block, source=source, branch=branch, channel=channel,
                          between=between[known].astype(float), within=within[known].astype(float))


def _histograms(stats: Statistics) -> Iterator[pd.DataFrame]:
    for zoom in stats.zooms:
        for block in stats.blocks:
            counts = stats.histogram(block, zoom)
            branch, channel, index = np.nonzero(counts)
            bins = counts.shape[-1]
            yield _of(zoom, block, branch=branch, channel=channel, left=index / bins, right=(index + 1) / bins,
                      count=counts[branch, channel, index])


def _images(stats: Statistics) -> Iterator[pd.DataFrame]:
    with pq.ParquetFile(stats.path / IMAGES) as file:
        for batch in file.iter_batches():
            yield batch.to_pandas()


def _of(zoom: float, block, **columns) -> pd.DataFrame:
    return pd.DataFrame({"zoom": zoom, "block": block.name, "label": block.label, "stage": block.stage, **columns})
