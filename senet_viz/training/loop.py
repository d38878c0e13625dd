"""The training loop: one checkpoint an epoch, going on where it stopped, and a card that says what came of it."""
import glob
import io
import json
import math
import random
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, create_transform
from timm.optim import param_groups_weight_decay
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..data.datasets import FORK, Pictures, data_name, open_pictures
from ..data.files import check_writable, replacing
from ..models.checkpoints import CheckpointError, save_checkpoint
from ..models.devices import fastest_precision
from ..models.insert import LAYERS
from ..models.matching import load_state
from ..models.resnet import slim_resnet50
from .cards import card, in_short, trained
from .monitor import Monitor
from .recipe import Recipe

MOST_WORKERS = 1024


def train(
        data: str | Path,
        out: str | Path,
        recipe: Recipe,
        *,
        device: str | torch.device = "cpu",
        workers: int = 2,
        note: str = "",
        progress: bool = True,
) -> dict:
    """Train a slim 3/4/6/3 bottleneck network and write it with its card.

    After every epoch ``OUT.checkpoint.pt`` is replaced atomically; run again with the same recipe and data, training
    goes on from there and ends, with as many workers, with the weights of a run that nobody interrupted. At the end
    that file is removed. What a ``Monitor`` measured of the gates, every 50th step, is put beside it:
    ``OUT.monitor.parquet``.
    A network that is finished is left as it is, its card and note among it: run again with the same recipe and data,
    nothing is trained.

    Args:
        data: what ``senet_viz.data.datasets.open_pictures`` opens, with the splits "train" and "val".
        out: file to write, ``….safetensors``; the card, ``….md``, is put beside it.
        recipe: the network, and how it is trained.
        device: to compute on.
        workers: processes that decode pictures; 0 decodes in this one.
        note: a sentence for the card, on the data's licence for instance.
        progress: a bar, and a line an epoch, on stderr.

    Returns:
        The file's metadata: "architecture", "transform", "classes", "recipe", "data" and "accuracy" (with "top1" and
        "top5" in 0..1, measured on the validation pictures with the weights as stored: in fp16 where that holds them).

    Raises:
        FileNotFoundError, ValueError: when the data cannot be opened (see ``open_pictures``), do not fill a batch, or
            have other classes in the two splits; when ``out`` ends otherwise; for a number of workers that makes no
            sense.
        OSError: when nothing can be written beside ``out``, before anything is trained, or the disk is full.
        RuntimeError: when ``out`` holds a network or a checkpoint of another recipe or other data, or anything else,
            before anything is trained; when the loss is not finite.
    """
    out, device = Path(out), torch.device(device)
    if out.suffix != ".safetensors":
        raise ValueError(f"the file to write must end in .safetensors, not {out.name!r}")
    if not 0 <= workers <= MOST_WORKERS:
        raise ValueError(f"workers is 0 to {MOST_WORKERS:,}, not {workers:,}")
    pictures, validation = open_pictures(data, "train"), open_pictures(data, "val")
    classes = pictures.classes
    if min([*pictures.labels, *validation.labels], default=0) < 0:
        raise ValueError(f"{data} has pictures without a label")
    if not len(validation) or validation.classes != classes[:len(validation.classes)]:
        raise ValueError(f"the classes of the validation pictures in {data} are not those of the training pictures")
    architecture: dict[str, Any] = {
        "name": "slim_resnet50", "attention": recipe.attention, "num_classes": len(classes),
        "widths": list(recipe.widths), "strides": list(recipe.strides), "reduction": recipe.reduction,
        "min_width": recipe.min_width}
    transform = transform_of(recipe)
    about = {"name": data_name(data), "training": len(pictures), "validation": len(validation)}
    checkpoint = out.with_suffix(".checkpoint.pt")
    finished = _finished(out, recipe, about, classes)
    if finished and not checkpoint.exists():  # of a run that was killed behind the file, the card may be missing
        return finished
    out.parent.mkdir(parents=True, exist_ok=True)
    check_writable(out)  # where it cannot be, nobody waits for an epoch to hear so

    torch.manual_seed(recipe.seed)
    module = slim_resnet50(**{k: v for k, v in architecture.items() if k != "name"})
    steps = len(pictures) // recipe.batch_size
    if steps == 0:
        raise ValueError(f"{len(pictures)} training pictures do not fill one batch of {recipe.batch_size}")
    fit = Fit(module, recipe, steps, device)

    history, saved = [], None
    fingerprints = [pictures.fingerprint, validation.fingerprint]
    if checkpoint.exists():
        try:
            saved = torch.load(checkpoint, map_location=device, weights_only=True)
            if recipe.precision == "auto":  # a run goes on in the precision in which it began
                recipe = replace(recipe, precision=json.loads(saved["recipe"])["precision"])
            ours = (saved["recipe"], saved.get("data")) == (json.dumps(asdict(recipe)), fingerprints)
        except Exception as error:  # zip, pickle, EOF and key errors of a damaged or foreign file
            raise RuntimeError(f"{checkpoint} is damaged: remove it, or write to another file") from error
        if not ours:
            raise RuntimeError(f"{checkpoint} belongs to another recipe or other data: remove it, or write to another "
                               f"file")
        fit.restore(saved)
        history = saved["history"]

    if recipe.precision == "auto":
        recipe = replace(recipe, precision=fastest_precision(device))
    monitor = Monitor(module, example(recipe)) if recipe.attention != "none" else None
    if monitor and saved:
        monitor.restore(saved["monitor"])
    for epoch in range(fit.done, recipe.epochs):
        loader = _loader(pictures, recipe, epoch, transform, workers, device)
        loss = fit.epoch(loader, recipe.precision, progress)
        top1, top5 = evaluate(module, validation, transform, device=device, workers=workers)
        history.append([loss, top1])
        if progress:
            tqdm.write(f"epoch {epoch + 1}/{recipe.epochs}  size {recipe.size_at(epoch)}  loss {loss:.3f}  "
                       f"top-1 {top1:.1%}  top-5 {top5:.1%}", file=sys.stderr)
        _keep(checkpoint, {
            "recipe": json.dumps(asdict(recipe)), "data": fingerprints, "history": history, **fit.state(),
            "monitor": monitor.state() if monitor else None})

    state = {key: _stored(value)
             for key, value in module.state_dict().items() if not key.endswith("num_batches_tracked")}
    stored = slim_resnet50(**{k: v for k, v in architecture.items() if k != "name"}).to(device)
    load_state(stored, state)
    top1, top5 = evaluate(stored, validation, transform, device=device, workers=workers)
    metadata = {
        "architecture": architecture, "transform": transform, "classes": classes,
        "recipe": asdict(recipe) | {"history": history},
        "data": about | {"note": note},
        "accuracy": {"top1": top1, "top5": top5, "images": len(validation)},
        "made": {"date": date.today().isoformat(), "torch": torch.__version__, "timm": timm.__version__,
                 "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type},
    }
    save_checkpoint(out, state, metadata)
    with replacing(out.with_suffix(".md")) as part:
        part.write_text(card(out.stem, metadata), encoding="utf-8")
    log = out.with_suffix(".monitor.parquet")
    if monitor:
        monitor.close()
        monitor.save(log, in_short(metadata))
    else:
        log.unlink(missing_ok=True)  # of a network that was here before
    for leftover in (checkpoint, *checkpoint.parent.glob(f"{glob.escape(checkpoint.name)}.*.part")):
        leftover.unlink(missing_ok=True)
    return metadata


def _finished(out: Path, recipe: Recipe, data: dict, classes: list[str]) -> dict | None:
    """The metadata of a network that is in ``out`` and is what would be trained; None where there is no file.

    Raises:
        RuntimeError: for another network, and for a file of something else.
    """
    if not out.exists():
        return None
    wanted = json.loads(json.dumps({"recipe": asdict(recipe), "data": data, "classes": classes}))
    try:
        there = trained(out)
        found = {"recipe": {key: value for key, value in there["recipe"].items() if key != "history"},
                 "data": {key: there["data"][key] for key in data}, "classes": there["classes"]}
        if recipe.precision == "auto":  # what it was when that run began
            wanted["recipe"]["precision"] = found["recipe"]["precision"]
    except (CheckpointError, KeyError, TypeError, AttributeError) as error:  # whatever a foreign file says of itself
        raise RuntimeError(f"{out} is there, and no training wrote it: remove it, or write to another file") from error
    if found != wanted or "removed" in there:  # pruned since
        raise RuntimeError(f"{out} belongs to another recipe or other data: remove it, or write to another file")
    return there


def evaluate(
        module: nn.Module,
        pictures: Pictures,
        transform: dict,
        *,
        device: str | torch.device = "cpu",
        batch_size: int = 256,
        workers: int = 0,
) -> tuple[float, float]:
    """Top-1 and top-5 accuracy, 0..1, in fp32; ``transform`` are the arguments of ``timm.data.create_transform``."""
    pictures = pictures.through(create_transform(**transform))
    module.eval()
    hits = torch.zeros(2)
    with torch.inference_mode():
        for images, labels in DataLoader(pictures, batch_size, num_workers=workers,
                                         multiprocessing_context=FORK if workers else None):
            images = images.to(device, memory_format=torch.channels_last)
            ranks = module(images).cpu().topk(min(5, len(pictures.classes))).indices
            right = ranks == labels[:, None]
            hits += torch.stack([right[:, 0].sum(), right.any(1).sum()])
    top1, top5 = (hits / len(pictures)).tolist()
    return top1, top5


class Diverged(RuntimeError):
    """A training whose loss is no longer finite; the message is one sentence."""


class Fit:
    """A network in training, which can be put down after every epoch and taken up again.

    Args:
        module: the network; moved to the device.
        recipe: of its optimiser.
        steps: batches in an epoch.
        device: to compute on.

    Attributes:
        done: epochs that are over.
    """

    def __init__(self, module: nn.Module, recipe: Recipe, steps: int, device: torch.device):
        self.module = module.to(device).to(memory_format=torch.channels_last)
        self.recipe, self.steps, self.device, self.done = recipe, steps, device, 0
        self.optimizer = torch.optim.SGD(
            parameter_groups(module, recipe), lr=recipe.lr, momentum=recipe.momentum, nesterov=True)
        rise = min(recipe.warmup / recipe.epochs, 0.5)
        if rise * (steps * recipe.epochs) == 1:
            rise = 0.0  # the scheduler divides by the length of the rise less one step
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, recipe.lr, total_steps=steps * recipe.epochs, pct_start=rise,
            anneal_strategy="cos", cycle_momentum=False, div_factor=20, final_div_factor=1e3)

    def state(self) -> dict:
        """All that ``restore`` needs: "epoch", "module", "optimizer" and "scheduler"."""
        return {"epoch": self.done, "module": self.module.state_dict(), "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict()}

    def restore(self, state: dict) -> None:
        """Go on where ``state`` was."""
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.done = state["epoch"]

    def epoch(self, batches: Iterable[tuple[torch.Tensor, torch.Tensor]], precision: str, progress: bool = False
              ) -> float:
        """Train on one epoch's ``steps`` batches of pictures (N, 3, H, W) and labels; the mean loss.

        Raises:
            Diverged: when the loss is not finite.
        """
        module, recipe, device = self.module.train(), self.recipe, self.device
        total = torch.zeros((), device=device)
        half = torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
        with tqdm(total=self.steps * recipe.batch_size, unit=" images", desc=f"epoch {self.done + 1}/{recipe.epochs}",
                  disable=not progress, mininterval=1, leave=False) as bar:
            for images, labels in batches:
                images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
                labels = labels.to(device, non_blocking=True)
                with half:
                    logits = module(images)
                loss = nn.functional.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
                self.optimizer.zero_grad()
                loss.backward()
                if recipe.clip:
                    nn.utils.clip_grad_norm_(module.parameters(), recipe.clip)
                self.optimizer.step()
                self.scheduler.step()
                total += loss.detach()
                bar.update(len(labels))
        self.done += 1
        mean = total.item() / self.steps
        if not math.isfinite(mean):
            raise Diverged(f"the loss is no longer finite in epoch {self.done}: lower the learning rate")
        return mean


def transform_of(recipe: Recipe) -> dict[str, Any]:
    """How validation pictures are prepared, as arguments of ``timm.data.create_transform``."""
    return {"input_size": [3, recipe.image_size, recipe.image_size], "crop_pct": 1.0, "interpolation": "bicubic",
            "mean": list(IMAGENET_DEFAULT_MEAN), "std": list(IMAGENET_DEFAULT_STD)}


def example(recipe: Recipe) -> torch.Tensor:
    """Noise of a picture's size, (1, 3, H, W), to find a network's attention with."""
    return torch.randn(1, 3, recipe.image_size, recipe.image_size, generator=torch.Generator().manual_seed(0))


def parameter_groups(module: nn.Module, recipe: Recipe) -> list[dict]:
    """What an optimizer is given: the parameters that do not decay, and those that do.

    Biases and batch normalisation never decay; the gates' weights do where the recipe says so.
    """
    # by its name: the argument's place has changed between versions of timm
    return param_groups_weight_decay(
        module, recipe.weight_decay, no_weight_decay_list=[] if recipe.decay_gates else gate_weights(module))


def gate_weights(module: nn.Module) -> list[str]:
    """Names of the weights from which the gates of a network are computed (``senet_viz.models.with_attention``)."""
    return [f"{name}.{key}" for name, part in module.named_modules()
            if isinstance(part, LAYERS)
            for key, _ in part.named_parameters() if not key.startswith("branches.")]


def _loader(pictures, recipe, epoch, transform, workers, device) -> DataLoader:
    # everything random in an epoch follows from its number, so that a resumed run repeats what a killed one did
    seed = recipe.seed * 10_000 + epoch
    random.seed(seed)
    torch.manual_seed(seed)
    size = recipe.size_at(epoch)
    augment = create_transform(**(transform | {"input_size": (3, size, size)}), is_training=True,
                               scale=(recipe.scale, 1.0), color_jitter=None)  # type: ignore[arg-type]  # timm: none
    return DataLoader(
        pictures.through(augment), recipe.batch_size, shuffle=True,
        drop_last=True, num_workers=workers, multiprocessing_context=FORK if workers else None,
        pin_memory=device.type == "cuda",
        generator=torch.Generator().manual_seed(seed))


def _stored(value: torch.Tensor) -> torch.Tensor:
    """A tensor in fp16, unless that is too small for it: variances of a young network's maps may be beyond 65,504."""
    half = value.half() if value.is_floating_point() else value
    return half if torch.equal(half.isfinite(), value.isfinite()) else value


def _keep(checkpoint: Path, content: dict) -> None:
    with replacing(checkpoint) as part:
        part.write_bytes(as_bytes(content))


def as_bytes(content: dict) -> bytes:
    """What ``torch.save`` writes. It does not say of a disk that it is full, but where it is in its archive."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
