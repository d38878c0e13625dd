"""One training of an ablation, in whichever process: what comes of it are a few small files.

The process that trains writes nothing. It gives its checkpoint after every epoch, and at the end its result, as bytes;
whoever asked for them, on this machine or another, keeps them.
"""
import io
import json
import platform
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import lru_cache

import numpy as np
import pandas as pd
import timm
import torch
from torch import nn

from ..data.datasets import data_name, open_pictures
from ..models.checkpoints import checkpoint_bytes
from ..models.devices import on_threads
from ..models.mac_count import macs
from ..reports.text import number
from ..statistics.dimension import ONE
from . import in_memory
from .ablation_folder import CARD, CHECKPOINT, CORRECT, LOG, TRAINING, WEIGHTS
from .ablation_plan import AblationPlan
from .loop import Diverged, Fit, as_bytes, example, transform_of
from .monitor import CollapseWarning, Monitor
from .recipe import Recipe

MEASURED = 40  # times, about, that a training's gates are measured
LAST = 5  # of these are taken for the end of the training
TOP = 5
OF_VARIANT = ("attention", "reduction", "min_width")  # of a recipe: a variant has its own
Files = dict[str, bytes]


@dataclass(frozen=True)
class Job:
    """A training: whole, so that it can be sent to another machine.

    Attributes:
        plan: the ablation's.
        variant: its name.
        seed: of everything random.
        data: address of the pictures.
        pictures: training pictures, spread evenly over those there are.
        validation: validation pictures, likewise.
        device: to compute on.
        threads: of the CPU.
        weights: give the trained weights, too.
    """

    plan: AblationPlan
    variant: str
    seed: int
    data: str
    pictures: int
    validation: int
    device: str
    threads: int
    weights: bool

    @property
    def recipe(self) -> Recipe:
        """The plan's, with this seed."""
        return replace(self.plan.recipe, seed=self.seed)

    @property
    def name(self) -> str:
        """As folders are called: VARIANT/SEED."""
        return f"{self.variant}/{self.seed}"


def work(job: Job, checkpoint: bytes | None = None) -> Iterator[Files]:
    """Train: after every epoch its checkpoint, last the result, which has the file ``TRAINING``.

    A training that a checkpoint continues gives, on one machine with as many threads, what an uninterrupted one gives.

    Raises:
        ValueError, OSError: as ``open_pictures``.
        RuntimeError: for a checkpoint that is damaged.
    """
    with on_threads(job.threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", CollapseWarning)  # the table tells of it
        yield from _work(job, checkpoint)


def _work(job: Job, checkpoint: bytes | None) -> Iterator[Files]:
    recipe, device = job.recipe, torch.device(job.device)
    training, validation, classes = _pictures(job.data, recipe.image_size, job.pictures, job.validation, job.device)
    module = job.plan.variants[job.variant].build(recipe, len(classes))
    facts = {"variant": job.variant, "seed": job.seed, "parameters": sum(p.numel() for p in module.parameters()),
             "macs": macs(module, (recipe.image_size, recipe.image_size))}
    steps = len(training) // recipe.batch_size
    fit = Fit(module, recipe, steps, device)
    monitor = _monitor(module, recipe, steps)
    history: list[float] = []
    seconds = 0.0
    if checkpoint is not None:
        try:
            saved = torch.load(io.BytesIO(checkpoint), map_location=device, weights_only=True)
            fit.restore(saved)
            history, seconds = saved["history"], saved["seconds"]
            if monitor:
                monitor.restore(saved["monitor"])
        except Exception as error:  # zip, pickle, EOF and key errors of a damaged file
            raise RuntimeError(f"the checkpoint of {job.name} is damaged: remove it") from error
    status = "trained"
    for epoch in range(fit.done, recipe.epochs):
        start = time.perf_counter()
        try:
            history.append(fit.epoch(in_memory.batches(training, recipe, epoch), recipe.precision))
        except Diverged:
            status = "diverged"
            seconds += time.perf_counter() - start
            break
        seconds += time.perf_counter() - start
        if fit.done < recipe.epochs:
            yield {CHECKPOINT: as_bytes({**fit.state(), "history": history, "seconds": seconds,
                                         "monitor": monitor.state() if monitor else None})}
    files: Files = {}
    log = pd.DataFrame()
    if monitor:
        log = monitor.table()
        monitor.close()
        files[LOG] = _parquet(log)
    facts |= {"status": status, "epochs": fit.done, "losses": history, "seconds": seconds, **_gates(log)}
    made = {"date": date.today().isoformat(), "torch": torch.__version__, "timm": timm.__version__,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else
            f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}", "threads": job.threads}
    if status == "trained":
        correct = judge(module, validation)
        files[CORRECT] = _parquet(correct)
        facts |= {"top1": float(correct["top1"].mean()), "top5": float(correct["top5"].mean()),
                  "images": len(correct)}
        if job.weights:
            files[WEIGHTS] = checkpoint_bytes(module.state_dict(), _description(job, classes, facts) | {"made": made})
    facts["made"] = made
    files[CARD] = card(job, facts).encode()
    files[TRAINING] = (json.dumps(facts, indent=1) + "\n").encode()
    yield files


@lru_cache(maxsize=1)  # all trainings of a process share them
def _pictures(data: str, side: int, training: int, validation: int, device: str
              ) -> tuple[in_memory.Decoded, in_memory.Decoded, list[str]]:
    pictures = open_pictures(data, "train")
    return (in_memory.decode(pictures, in_memory.larger(side), training).to(device),
            in_memory.decode(open_pictures(data, "val"), side, validation).to(device), pictures.classes)


def _description(job: Job, classes: list[str], facts: dict) -> dict:
    """What a file of a network's weights says of itself, so that ``senet_viz.models.load`` builds it."""
    recipe = {key: value for key, value in asdict(job.recipe).items() if key not in OF_VARIANT}
    return {
        "architecture": job.plan.variants[job.variant].architecture(job.recipe, len(classes)),
        "transform": transform_of(job.recipe), "classes": classes, "recipe": recipe,
        "data": {"name": data_name(job.data), "training": job.pictures, "validation": job.validation},
        "accuracy": {key: facts[key] for key in ("top1", "top5", "images")}}


def _monitor(module: nn.Module, recipe: Recipe, steps: int) -> Monitor | None:
    try:
        return Monitor(module, example(recipe), every=max(1, steps * recipe.epochs // MEASURED))
    except ValueError:  # no gate that is a vector
        return None


def judge(module: nn.Module, pictures: in_memory.Decoded, batch_size: int = 250) -> pd.DataFrame:
    """Which pictures a network gets right, in fp32: a row a picture with index, label, top1 and top5 (bool)."""
    module.eval()
    right = []
    with torch.inference_mode():
        for start in range(0, len(pictures), batch_size):
            images = in_memory.normalised(pictures.images[start:start + batch_size])
            logits = module(images.contiguous(memory_format=torch.channels_last)).float().cpu()
            ranks = logits.topk(min(TOP, logits.shape[1])).indices
            right.append(ranks == pictures.labels[start:start + batch_size, None])
    found = torch.cat(right)
    return pd.DataFrame({"index": pictures.indices, "label": pictures.labels, "top1": found[:, 0],
                         "top5": found.any(1)})


def _gates(log: pd.DataFrame) -> dict:
    """In how many directions gates move at the end of a training, over its blocks: median, least, number of blocks."""
    if log.empty:
        return {"blocks": 0, "dimension": None, "dimension_least": None, "collapsed": None}
    steps = np.sort(log["step"].unique())[-LAST:]
    told = log[log["step"].isin(steps)].groupby("label")["dimension"].mean().dropna()
    blocks = int(log["label"].nunique())
    if told.empty:
        return {"blocks": blocks, "dimension": None, "dimension_least": None, "collapsed": None}
    return {"blocks": blocks, "dimension": float(told.median()), "dimension_least": float(told.min()),
            "collapsed": int((told < ONE).sum())}


def card(job: Job, facts: dict) -> str:
    """What was trained and what came of it, as Markdown."""
    recipe, variant = asdict(job.recipe), job.plan.variants[job.variant]
    for axis in (*OF_VARIANT, "seed"):
        del recipe[axis]
    axes = {"attention": variant.attention} | ({} if variant.attention == "none" else {
        "place": variant.place, "stages": list(variant.stages)} | variant.options)
    found = (f"top-1 {facts['top1']:.2%}, top-5 {facts['top5']:.2%} on {facts['images']:,} validation pictures"
             if facts["status"] == "trained" else f"diverged in epoch {facts['epochs']}")
    known = facts["dimension"] is not None
    rows = {
        "Variant": "; ".join(f"{key} {value}" for key, value in axes.items()),
        "Seed": str(job.seed),
        "Data": f"{data_name(job.data)}: {job.pictures:,} training pictures, "
                f"decoded once to {in_memory.larger(recipe['image_size'])} px",
        "Recipe": "; ".join(f"{key.replace('_', ' ')} {value}" for key, value in recipe.items()),
        "Result": found,
        "Parameters, MACs": f"{facts['parameters']:,}, {facts['macs']:,}",
        "Directions of gates": (f"{facts['dimension']:.1f} in the median of {facts['blocks']} blocks, "
                                f"{facts['dimension_least']:.1f} in the least") if known else "not told",
        "Made": "{date}, torch {torch}, timm {timm}, on {device}, ".format(**facts["made"])
                + number(facts["made"]["threads"], "thread"),
    }
    return "\n".join([f"# {job.name}", "", "| | |", "| --- | --- |",
                      *(f"| {key} | {value} |" for key, value in rows.items())]) + "\n"


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()
