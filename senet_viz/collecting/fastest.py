"""What "auto" becomes: the settings with which a run ends soonest, timed on pictures of its first shard."""
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..models.devices import fastest_precision, on_threads
from ..statistics.archive import METADATA
from .engines import Engine
from .network import GateNetwork
from .plan import Batch, Computing, Plan, Reading
from .runs import RUN

AUTO = "auto"
CHOSEN = ("precision", "compiled")
REPEATS = 3
AnyPlan = TypeVar("AnyPlan", bound=Plan)


def settled(plan: AnyPlan, out: Path, engine: Engine) -> AnyPlan:
    """A plan whose settings have no "auto".

    A folder that is there already says what they became when its run began, so that the run goes on as it began.

    Args:
        plan: of a run into ``out``.
        out: its folder.
        engine: what will compute; settings are timed where it does.
    """
    settings = plan.settings
    open_ones = [name for name in CHOSEN if getattr(settings, name, None) == AUTO]
    if not open_ones:
        return plan
    known = _begun(out)
    if all(name in known for name in open_ones):
        return replace(plan, settings=replace(settings, **{name: known[name] for name in open_ones}))
    plain: dict[str, Any] = {"precision": "fp32", "compiled": False}
    certain = replace(settings, **{name: plain[name] for name in open_ones})
    return replace(plan, settings=engine.call(fastest, replace(plan, settings=certain), open_ones))


def _begun(out: Path) -> dict:
    """The settings of the run that a folder holds, finished or not."""
    for name in (METADATA, RUN):
        try:
            found = json.loads((out / name).read_text(encoding="utf-8"))["settings"]
            return found if isinstance(found, dict) else {}
        except (OSError, ValueError, KeyError, TypeError):
            continue  # what is wrong with it the run will say
    return {}


def fastest(plan: Plan, names: list[str], seconds: Callable[[Plan, torch.Tensor], tuple[float, float]] | None = None
            ) -> Computing:
    """The settings of a plan with those in ``names`` chosen anew.

    Each choice is timed with the plan's own network and a batch of pictures of its first shard: the seconds of its
    preparation, compiling among them, and of a batch, times the number of batches. "bf16" is tried where the device
    convolves faster in it, "fp16" never: what overflows would be lost. What cannot be compiled here is not.

    Args:
        plan: with settings that can be computed with.
        names: "precision", "compiled" or both.
        seconds: times a plan on a batch: (preparation, a batch).
    """
    seconds = seconds or timed
    reads = map(Reading(plan).__getitem__, (index for batch in plan.batches(0) for index in batch))
    found: list = []
    for read in reads:
        if read.images is not None:
            found.append(read)
        if len(found) == plan.settings.batch_size:
            break
    if not found:  # what is wrong with all of them the run will say
        return plan.settings
    images = Batch(found).images
    assert images is not None
    looks, best = len(images), plan.settings
    batches = looks * -(-plan.count // plan.settings.batch_size)

    def total(settings: Computing) -> float:
        prepare, batch = seconds(replace(plan, settings=settings), images[0])
        return prepare + batch * batches

    time_of_best = total(best)
    tries: list[dict[str, Any]] = []
    if "precision" in names and fastest_precision(plan.device) == "bf16":
        tries.append({"precision": "bf16"})
    if "compiled" in names:
        tries.append({"compiled": True})
    for changed in tries:
        other = replace(best, **changed)
        try:
            taken = total(other)
        except Exception as error:  # a compiler that is not there, a layer without a kernel in this precision
            if isinstance(error, torch.OutOfMemoryError):
                raise
            continue
        if taken < time_of_best:
            best, time_of_best = other, taken
    return best


def timed(plan: Plan, images: torch.Tensor) -> tuple[float, float]:
    """Seconds of a network's preparation and of a batch (N, channels, *space), the best of three."""
    settings, device = plan.settings, plan.device
    compiled = settings.batch_size if asdict(settings).get("compiled") else None
    with on_threads(settings.threads):
        start = time.perf_counter()
        network = GateNetwork(plan.model.module, plan.model.blocks, device, settings.precision, None, compiled,
                              plan.model.output)
        images = images.to(device)
        run = partial(_seconds, network, images, device)
        run()
        return time.perf_counter() - start, min(run() for _ in range(REPEATS))


def _seconds(network: GateNetwork, images: torch.Tensor, device: torch.device) -> float:
    start = time.perf_counter()
    logits = network(images)[0]
    float(logits.sum())  # waits for a GPU
    return time.perf_counter() - start
