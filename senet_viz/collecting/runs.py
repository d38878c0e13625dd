"""What every run over a data set does: it claims a folder, skips the shards that are there, and merges them all."""
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from ..data.checksums import damaged
from ..data.datasets import Pictures, data_name, open_pictures
from ..data.files import alone, replacing
from ..models.devices import on_threads
from ..statistics.archive import METADATA, StatisticsError
from .engines import Engine
from .plan import Plan

RUN, ROW_GROUPS = "run.json", "row_groups"
Progress = Callable[[int, int], None] | bool  # a function of (pictures done, all pictures), or whether to show a bar
AnyPlan = TypeVar("AnyPlan", bound=Plan)


class Stopped(Exception):
    """The run was asked to stop; its finished shards are kept. ``done`` of ``shards`` are there."""

    def __init__(self, done: int, shards: int):
        super().__init__(f"stopped; {done} of {shards} shards are kept: run again to go on")


def open_data(data: str | Path | Pictures, split: str | None, out: Path, in_order: bool = True,
              any_file: bool = False) -> tuple[Pictures, str]:
    """The pictures of a run that writes into ``out``, and what they are called.

    Args:
        data, split: what ``open_pictures`` opens, or pictures of one's own.
        out: the run's folder; where pictures are not read ``in_order``, it keeps row groups of Parquet files meanwhile.
        in_order: whether they are read in their order.
        any_file: take other files as well.

    Raises:
        FileNotFoundError, ValueError: when they cannot be opened, or ``out`` would become part of them.
    """
    if isinstance(data, Pictures):
        return data, "own pictures"
    if "://" not in str(data) and out.resolve().is_relative_to(Path(data).resolve()):
        raise ValueError(f"{out} lies in {data}, whose pictures it would become part of")
    spill = None if in_order else out / ROW_GROUPS
    return (open_pictures(data, split, in_memory=False, spill=spill, any_file=any_file),
            " ".join(filter(None, [data_name(data), split])))


def run(plan: AnyPlan, out: Path, engine: Engine, options: dict,
        merge: Callable[[AnyPlan, Sequence[Path], Path], None], progress: Progress, stop: Callable[[], bool]) -> None:
    """Compute what is missing of a plan's shards, and write the result of all of them; nothing where it is there.

    Args:
        plan: the run.
        out: its folder.
        engine: what computes.
        options: of the result, part of the run's identity beside the plan's.
        merge: writes the result of all shard files, in order, into the folder; ``METADATA`` last, which makes it whole.
        progress: a bar on stderr, nothing, or a function that is given (pictures done, all pictures).
        stop: asked after every shard.

    Raises:
        StatisticsError: when the folder holds another run, and what is different about it.
        Stopped: when ``stop`` said so.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with alone(out, StatisticsError):
        if not _claim(out, plan.identity | options):
            shards = Shards(out / "shards", plan)
            _compute(plan, shards, engine, progress, stop)
            merge(plan, list(shards.found.values()), out)
        # also what a run that was killed at this very place has left
        for folder in (out / "shards", out / ROW_GROUPS):
            shutil.rmtree(folder, ignore_errors=True)
        for leftover in (out / RUN, *out.glob("*.part")):
            leftover.unlink(missing_ok=True)


def _compute(plan: Plan, shards: "Shards", compute: Engine, progress: Progress, stop: Callable[[], bool]) -> None:
    pending = [shard for shard in range(plan.shards) if shard not in shards.found]
    done = plan.count - sum(len(plan.indices(shard)) for shard in pending)
    with on_threads(plan.settings.threads), _bar(progress, done, plan.count) as advance, closing(
            compute.results(plan, pending)) as results:
        while pending:
            if stop():
                raise Stopped(len(shards.found), plan.shards)
            shard, result = next(results)
            shards.write(shard, result)
            pending.remove(shard)
            advance(len(plan.indices(shard)))


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
            there = there if isinstance(there, dict) else {}
            wrong = damaged(out / name, there)
            if wrong == name:  # nobody knows whose it is
                raise StatisticsError(f"{out / name} has changed since it was written: remove {out} to begin anew")
            differences = _differences(there, identity)
            if differences:
                raise StatisticsError(f"{out} holds another run, which is not mixed with this one: "
                                      f"{'; '.join(differences)}")
            if name == RUN or not wrong:
                return name == METADATA
            (out / METADATA).rename(out / RUN)  # to be computed again: its shards are gone
            return False
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
def _bar(progress: Progress, done: int, count: int) -> Iterator[Callable[[int], object]]:
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
