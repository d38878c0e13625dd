"""Ablations: variants of attention trained alike, in a folder that a killed run goes on with."""
import json
import platform
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import PIL
import timm
import torch
import torchvision
from tqdm import tqdm

from ..data.checksums import KEY, write_described
from ..data.datasets import Pictures, data_name, open_pictures
from ..data.files import alone, replacing
from ..models.devices import choose_device, fastest_precision
from .ablation_engines import engine_of
from .ablation_folder import (
    ABLATION,
    CHECKPOINT,
    CORRECT,
    PLAN,
    TRAINING,
    WEIGHTS,
    Ablation,
    AblationError,
    about,
    open_ablation,
    write_tables,
)
from .ablation_plan import AblationPlan, PlanError, text_and_plan
from .ablation_work import Files, Job
from .loop import Fit

FORMAT = 1  # raised when a training does or writes anything differently; tables are made anew
MOST_THREADS = 1024


def ablate(
        plan: str | Path,
        data: str | Path,
        out: str | Path,
        *,
        limit: int | None = None,
        device: str | torch.device = "auto",
        threads: int = 1,
        engine: str = "local",
        workers: int = 1,
        address: str | None = None,
        keep_weights: bool = False,
        progress: bool | Callable[[str], None] = True,
) -> Ablation:
    """Train every variant of a plan with each of its seeds, and write what came of it into a folder.

    Trainings go seed by seed. Each goes on at the epoch at which it was killed when it is run again with the same
    arguments; on one machine, with as many threads, the folder ends with the same table, times excepted. A training
    whose loss is not finite is listed as diverged.

    Args:
        plan: a TOML file (``senet_viz.training.ablation_plan``).
        data: what ``senet_viz.data.datasets.open_pictures`` opens, with the splits "train" and "val".
        out: the folder to write.
        limit: take at most so many pictures of each split, spread evenly.
        device: to compute on; with Ray "cuda" is a GPU of the cluster, "auto" what is fastest on this machine.
        threads: of the CPU, in one training; other numbers round otherwise.
        engine: "local" or "ray" (a cluster; the data must be readable from its machines).
        workers: trainings at a time, in processes of their own; each takes ``threads`` of the CPU and, on a GPU, its
            own copy of the pictures.
        address: of the cluster; where None, the one that is running or else a new one on this machine.
        keep_weights: keep each trained network, too, as a file that ``senet_viz.models.load`` opens.
        progress: a bar and a line a training on stderr, nothing, or a function that is given these lines.

    Raises:
        PlanError: one sentence, for a plan that makes no sense, before anything is trained.
        AblationError: when the folder holds trainings of another ablation, or is being written; when weights are to be
            kept, and a training that is over kept none.
        FileNotFoundError, ValueError: when the data cannot be opened, do not fill a batch, lack labels or have other
            classes in the two splits; for options that make no sense; when a picture cannot be read, which is named
            (with several workers, or on a cluster, it is a RuntimeError).
        OSError: when the disk is full.
    """
    out = Path(out)
    text, parsed = text_and_plan(plan)
    run = engine_of(engine, workers, address)
    if limit is not None and limit < 1:
        raise ValueError(f"the limit is 1 picture or more, not {limit}")
    if not 1 <= threads <= MOST_THREADS:
        raise ValueError(f"threads is 1 to {MOST_THREADS:,}, not {threads:,}")
    elsewhere = engine == "ray" and str(device) == "cuda"  # this machine may have none
    device = torch.device("cuda") if elsewhere else choose_device(device)
    training, validation = open_pictures(data, "train"), open_pictures(data, "val")
    counts = _check(training, validation, parsed, data, limit)
    identity = json.loads(json.dumps({
        "format": FORMAT, "plan": parsed.meaning(),
        "data": {"name": data_name(data), "training": training.fingerprint,
                 "validation": validation.fingerprint, "training_pictures": counts[0],
                 "validation_pictures": counts[1], "classes": len(training.classes)},
        "device": device.type, "threads": threads,
        "versions": {"numpy": np.__version__, "pillow": PIL.__version__, "python": platform.python_version(),
                     "timm": timm.__version__, "torch": torch.__version__, "torchvision": torchvision.__version__}}))
    out.parent.mkdir(parents=True, exist_ok=True)
    with alone(out, AblationError):
        said = _claim(out, identity, text, device)
        jobs = [Job(_precise(parsed, said), name, seed, str(data), *counts, str(device), threads, keep_weights)
                for name, seed in parsed.trainings]
        over = [out / job.name for job in jobs if (out / job.name / TRAINING).is_file()]
        if keep_weights and (lost := [folder for folder in over if (folder / CORRECT).is_file()
                                      and not (folder / WEIGHTS).is_file()]):
            raise AblationError(f"{lost[0]} is of a training that is over, and its network was not kept: remove that "
                                f"folder to train it again, or do without weights")
        _run(out, said, parsed, [job for job in jobs if out / job.name not in over], run, progress)
        write_tables(out, parsed, said)
    return open_ablation(out)


def _check(training: Pictures, validation: Pictures, plan: AblationPlan, data: str | Path, limit: int | None
           ) -> tuple[int, int]:
    """How many pictures are trained with, and how many are asked for."""
    if min([*training.labels, *validation.labels], default=0) < 0:
        raise ValueError(f"{data} has pictures without a label")
    if not len(validation) or validation.classes != training.classes[:len(validation.classes)]:
        raise ValueError(f"the classes of the validation pictures in {data} are not those of the training pictures")
    counts = (min(len(training), plan.pictures or len(training), limit or len(training)),
              min(len(validation), limit or len(validation)))
    if counts[0] < plan.recipe.batch_size:
        raise ValueError(f"{counts[0]} training pictures do not fill one batch of {plan.recipe.batch_size}")
    try:  # what an optimiser or its schedule refuses is told before anything is written
        with torch.random.fork_rng(devices=[]):
            Fit(plan.variants[plan.reference].build(plan.recipe, 2), plan.recipe, counts[0] // plan.recipe.batch_size,
                torch.device("cpu"))
    except (ValueError, ArithmeticError) as error:
        raise PlanError(f"the recipe: {str(error).splitlines()[0]}") from error
    return counts


def _claim(out: Path, identity: dict, text: str, device: torch.device) -> dict:
    """Make the folder this ablation's, or find that it is; what its ``ablation.json`` says."""
    there = about(out)
    if there is not None:
        differences = [key for key in identity if there.get(key) != identity[key]]
        if not differences:
            return {key: value for key, value in there.items() if key != KEY}
        if _names(out) - {ABLATION, PLAN}:  # of one that was only begun, nothing would be mixed
            raise AblationError(f"{out} holds another ablation, which is not mixed with this one: another "
                                f"{', '.join(differences)}")
    elif out.exists() and (not out.is_dir() or _names(out)):
        raise AblationError(f"{out} is not empty, and what is in it is no ablation")
    precision = identity["plan"]["recipe"]["precision"]
    said = identity | {"precision": fastest_precision(device) if precision == "auto" else precision}
    with replacing(out / PLAN) as part:  # before the description, which makes the folder an ablation
        part.write_text(text, encoding="utf-8")
    write_described(out / ABLATION, said, ())
    return said


def _names(out: Path) -> set[str]:
    """Of what is in a folder, but for files that a killed run left half written."""
    return {path.name for path in out.iterdir() if not path.name.endswith(".part")}


def _precise(plan: AblationPlan, said: dict) -> AblationPlan:
    """A run goes on in the precision in which it began."""
    return replace(plan, recipe=replace(plan.recipe, precision=said["precision"]))


def _run(out: Path, said: dict, plan: AblationPlan, jobs: list[Job], run, progress) -> None:
    epochs = plan.recipe.epochs
    whole = len(list(plan.trainings))
    bar = tqdm(total=whole * epochs, initial=(whole - len(jobs)) * epochs, unit=" epochs",
               disable=progress is not True, mininterval=1)
    say = progress if callable(progress) else partial(tqdm.write, file=sys.stderr) if progress else lambda _: None

    def saved(job: Job) -> bytes | None:
        path = out / job.name / CHECKPOINT
        return path.read_bytes() if path.is_file() else None

    with bar:
        for job, files in run(jobs, saved):
            _keep(out / job.name, files)
            bar.update()
            if TRAINING in files:
                facts = json.loads(files[TRAINING])
                write_tables(out, plan, said)
                found = (f"top-1 {facts['top1']:.2%}" if facts["status"] == "trained"
                         else f"diverged in epoch {facts['epochs']}")
                say(f"{job.variant}, seed {job.seed}: {found}, {facts['seconds']:,.0f} s")


def _keep(folder: Path, files: Files) -> None:
    """Write a training's files, that which makes it whole as the last; then its checkpoint is of no more use."""
    for name in sorted(files, key=lambda name: name == TRAINING):
        with replacing(folder / name) as part:
            part.write_bytes(files[name])
    if TRAINING in files:
        for leftover in (folder / CHECKPOINT, *folder.glob("*.part")):
            leftover.unlink(missing_ok=True)
