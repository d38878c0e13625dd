"""Collecting statistics of channel attention over a data set, shard by shard, so that a run can stop and go on."""
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from ..data.datasets import Pictures
from ..models import Model, for_and_against
from ..statistics.archive import Statistics, open_statistics
from .engines import engine_of
from .fastest import settled
from .merge import merge
from .runs import open_data, run
from .shards import Collection, Settings


def collect(
        model: Model,
        data: str | Path | Pictures,
        out: str | Path,
        settings: Settings | None = None,
        *,
        split: str | None = None,
        limit: int | None = None,
        compact: bool = False,
        device: str | torch.device | None = None,
        engine: str = "local",
        workers: int = 2,
        address: str | None = None,
        progress: Callable[[int, int], None] | bool = True,
        stop: Callable[[], bool] = lambda: False,
) -> Statistics:
    """Look at every picture of a data set and write what the gates did into a folder.

    The ordered list of pictures is cut into shards of fixed size, and each shard's result is written whole or not at
    all. Run again with the same arguments, finished shards are skipped; however often a run was killed, and whichever
    engine computed which shard, the folder ends with the same bytes. Pictures that cannot be read, or for which the
    network's output is not finite, are listed in ``unreadable.csv`` and left out.

    Args:
        model: with attention blocks.
        data: what ``senet_viz.data.datasets.open_pictures`` opens, or pictures of one's own.
        out: the folder to write.
        settings: how to compute; part of the run's identity, as are the model's weights and device and the data.
        split: of the data.
        limit: look only at so many pictures, spread evenly over the data set.
        compact: write means and standard deviations in float16, no extremes by class, fewer bins, of each picture only
            a number a block, and no whole gates of the sample.
        device: to compute on; the model's when None, with Ray a GPU where the cluster has one.
        engine: "local" or "ray" (a cluster; the data must be readable from its machines).
        workers: processes that decode pictures ("local"); that compute shards ("ray").
        address: of the cluster; where None, the one that is running or else a new one on this machine.
        progress: a bar on stderr, nothing, or a function that is given (pictures done, all pictures).
        stop: asked after every shard.

    Returns:
        As ``open_statistics(out)``.

    Raises:
        FileNotFoundError, ValueError: when the data cannot be opened, none of them can be read, settings make no sense,
            or the model has no attention blocks.
        StatisticsError: when the folder holds another run, and what is different about it.
        Stopped: when ``stop`` said so.
        OSError: when the disk is full.
    """
    settings, out = settings or Settings(), Path(out)
    settings.check()
    computer = engine_of(engine, workers, address)
    if limit is not None and limit < 1:
        raise ValueError(f"the limit is 1 picture or more, not {limit}")
    model = for_and_against(model) if model.answer.binary else model
    if not model.blocks:
        raise ValueError(f"{model.name} has no attention blocks, so there is nothing to collect.")
    pictures, name = open_data(data, split, out, any_file=model.reader is not None)
    if model.reader is not None and (settings.looks != [("zoom", 1.0)] or settings.around == "box"):
        raise ValueError(f"{model.name} is given no pictures, and what it is given cannot be enlarged: zooms are 1, "
                         f"without controls")
    if settings.around == "box" and pictures.boxes is None:
        raise ValueError(f"{name} has no boxes to enlarge (Parquet columns x0, y0, x1, y1)")
    count = min(len(pictures), limit or len(pictures))
    if not count:
        raise ValueError(f"there are no pictures in {name}")
    with computer as compute:
        plan = Collection(model, pictures, settings, name, count, *compute.device(model, device))
        plan = settled(plan, out, compute)
        run(plan, out, compute, {"compact": compact}, partial(merge, compact=compact), progress, stop)
    return open_statistics(out)
