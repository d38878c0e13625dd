"""Collecting statistics of channel attention over a data set, shard by shard, so that a run can stop and go on."""
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from ..datasets import Pictures, open_pictures
from ..files import replacing
from ..models import Model
from .archive import METADATA, Statistics, StatisticsError, open_statistics
from .local import Local
from .merge import merge
from .shards import Plan, Settings

RUN = "run.json"


class Stopped(Exception):
    """The run was asked to stop; its finished shards are kept. ``done`` of ``shards`` are there."""

    def __init__(self, done: int, shards: int):
        super().__init__(f"stopped; {done} of {shards} shards are kept: run again to go on")


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
        data: what ``senet_viz.datasets.open_pictures`` opens, or pictures of one's own.
        out: the folder to write.
        settings: how to compute; part of the run's identity, as are the model's weights and device and the data.
        split: of the data.
        limit: look only at so many pictures, spread evenly over the data set.
        compact: write means and standard deviations in float16, no extremes by class, fewer bins, and of each picture
            only a number a block.
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
    if limit is not None and limit < 1:
        raise ValueError(f"the limit is 1 picture or more, not {limit}")
    if not model.blocks:
        raise ValueError(f"{model.name} has no attention blocks, so there is nothing to collect.")
    pictures, name = data, "own pictures"
    if not isinstance(data, Pictures):
        if "://" not in str(data) and out.resolve().is_relative_to(Path(data).resolve()):
            raise ValueError(f"{out} lies in {data}, whose pictures it would become part of")
        pictures = open_pictures(data, split, in_memory=False)
        name = " ".join(filter(None, [str(data).rstrip("/").rpartition("/")[2], split]))
    if settings.around == "box" and pictures.boxes is None:
        raise ValueError(f"{name} has no boxes to enlarge (Parquet columns x0, y0, x1, y1)")
    count = min(len(pictures), limit or len(pictures))
    if not count:
        raise ValueError(f"there are no pictures in {name}")
    with ExitStack() as held, _engine(engine, workers, address) as compute:
        plan = Plan(model, pictures, settings, name, count, *compute.device(model, device))
        out.parent.mkdir(parents=True, exist_ok=True)
        held.enter_context(_alone(out))
        if not _claim(out, plan.identity | {"compact": compact}):
            shards = Shards(out / "shards", plan)
            _compute(plan, shards, compute, progress, stop)
            merge(plan, list(shards.found.values()), out, compact)
        # also what a run that was killed at this very place has left
        shutil.rmtree(out / "shards", ignore_errors=True)
        for leftover in (out / RUN, *out.glob("*.part")):
            leftover.unlink(missing_ok=True)
    return open_statistics(out)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """The only run that writes into a folder, on this machine; a run that was killed holds nothing."""
    lock = FileLock(out.with_name(f".{out.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StatisticsError(f"another run is writing into {out}") from error
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _compute(plan: Plan, shards: "Shards", compute, progress, stop: Callable[[], bool]) -> None:
    pending = [shard for shard in range(plan.shards) if shard not in shards.found]
    done = plan.count - sum(len(plan.indices(shard)) for shard in pending)
    with _bar(progress, done, plan.count) as advance, closing(compute.results(plan, pending)) as results:
        while pending:
            if stop():
                raise Stopped(len(shards.found), plan.shards)
            shard, result = next(results)
            shards.write(shard, result)
            pending.remove(shard)
            advance(len(plan.indices(shard)))


def _engine(name: str, workers: int, address: str | None):
    if name == "ray":
        from .cluster import Ray  # an optional part

        return Ray(workers, address)
    if name != "local":
        raise ValueError(f"there is no engine {name!r}: choose local or ray")
    return Local(workers)


class Shards:
    """The finished shards of a run: files whose names carry a checksum of what is in them.

    Attributes:
        found: shard → file, in the order of the shards. What is damaged is removed, to be computed again.
    """

    def __init__(self, folder: Path, plan: Plan):
        self.folder = folder
        found = {}
        for path in sorted(folder.glob("*.safetensors")):
            shard, _, checksum = path.stem.partition("-")
            if _checksum(path.read_bytes()) == checksum and int(shard) < plan.shards:
                found[int(shard)] = path
            else:
                path.unlink()
        self.found: dict[int, Path] = found

    def write(self, shard: int, result: bytes) -> None:
        """Add one, whole or not at all."""
        path = self.folder / f"{shard:06}-{_checksum(result)}.safetensors"
        with replacing(path) as part:
            part.write_bytes(result)
        self.found = dict(sorted({**self.found, shard: path}.items()))


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _claim(out: Path, identity: dict) -> bool:
    """Make the folder this run's; whether it holds the whole result already.

    Raises:
        StatisticsError: when it is something else's.
    """
    for name in (METADATA, RUN):
        if (out / name).is_file():
            try:
                there = json.loads((out / name).read_text(encoding="utf-8"))
            except ValueError as error:
                raise StatisticsError(f"{out / name} is damaged ({error})") from error
            differences = _differences(there if isinstance(there, dict) else {}, identity)
            if differences:
                raise StatisticsError(f"{out} holds another run, which is not mixed with this one: "
                                      f"{'; '.join(differences)}")
            return name == METADATA
    # a run that was killed while it wrote its first file has left a part of that
    if out.exists() and (not out.is_dir() or any(not path.match(f"{RUN}.*.part") for path in out.iterdir())):
        raise StatisticsError(f"{out} is not empty, and what is in it is no run of this program")
    with replacing(out / RUN) as part:
        part.write_text(json.dumps(identity, indent=1, sort_keys=True), encoding="utf-8")
    return False


def _differences(there: dict, here: dict) -> list[str]:
    """What two identities disagree on, as words."""
    found = []
    for key, value in here.items():
        other = there.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            found += _differences(other, value)
        elif other != value:
            told = max(len(repr(other)), len(repr(value))) <= 40
            found.append(f"{key} is {other!r} there, {value!r} here" if told else f"{key} differs")
    return found


@contextmanager
def _bar(progress, done: int, count: int) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of pictures that were added."""
    if callable(progress):
        total = done

        def advance(pictures: int) -> None:
            nonlocal total
            total += pictures
            progress(total, count)

        progress(done, count)
        yield advance
    else:
        with tqdm(total=count, initial=done, unit="img", disable=not progress, smoothing=0.1) as bar:
            yield bar.update
