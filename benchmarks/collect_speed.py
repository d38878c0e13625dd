"""Speed and memory of collecting statistics, beside a script by hand and beside the bare forward.

``python benchmarks/collect_speed.py PHOTOS DATA [--device cuda] [--batch-size 32] [--copies 8]``; see README.md.

PHOTOS is a flat folder of photos, which are linked into one class folder each, several times over. The script by hand
is what one would write: ImageFolder, a DataLoader, hooks that append each block's gates to lists, numpy at the end. All
see timm's seresnet50 with random weights at 224×224; what each needs once (processes, compiling) is over before time is
taken. DATA is a set of many small pictures, on which the embedded SE model's class means in two precisions are compared
and the peak memory of whole runs of the command line is taken.
"""
import argparse
import copy
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import timm
import torch
from timm.data import create_transform, resolve_model_data_config
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import senet_viz as sv
from senet_viz.collecting import Settings, collect, shards
from senet_viz.collecting.network import GateNetwork, hardware
from senet_viz.collecting.plan import Batch, Plan, Reading
from senet_viz.collecting.shards import Collection, Collector
from senet_viz.data.datasets import open_pictures
from senet_viz.models import choose_device

ROOT = Path(__file__).resolve().parents[1]
ROUND = 8  # batches that are timed together where some are added up together
SPEEDS = ["fp32", "fp32 compiled", "bf16", "bf16 compiled"]


def by_hand(model: sv.Model, folder: Path, rates: list[float], workers: int, size: int, skip: int
            ) -> dict[str, np.ndarray]:
    """Mean gates by class, from batches of a size; appends the pictures per second after so many that are skipped."""
    dataset = ImageFolder(folder, model.transform)
    kept: dict[str, list] = {block.name: [] for block in model.blocks}
    handles = [model.module.get_submodule(block.gate).register_forward_hook(
        lambda _, args, gate, name=block.name: kept[name].append(gate.detach().cpu())) for block in model.blocks]
    with torch.no_grad():
        for number, (images, _) in enumerate(DataLoader(dataset, size, num_workers=workers)):
            model.module(images.to(model.device))
            if number == skip - 1:
                start = time.perf_counter()
    rates.append((len(dataset) - skip * size) / (time.perf_counter() - start))
    for handle in handles:
        handle.remove()
    labels = np.array(dataset.targets)
    gates = {name: torch.cat(parts).flatten(1).double().numpy() for name, parts in kept.items()}
    return {name: np.stack([values[labels == c].mean(0) for c in range(len(dataset.classes))])
            for name, values in gates.items()}


def ours(plan: Plan, rates: list[float], workers: int, skip: int) -> None:
    """Appends the pictures per second of the engine after the shards that hold the batches that are skipped."""
    results = Collector(plan, workers).results(range(plan.shards))
    settings = plan.settings
    skipped = -(-skip * settings.batch_size // settings.shard_size)
    for _ in range(skipped):
        next(results)
    start = time.perf_counter()
    for _ in results:
        pass
    rates.append((plan.count - skipped * settings.shard_size) / (time.perf_counter() - start))


def decoded(plan: Plan, bare: list[float], collecting: list[float], batches: int) -> None:
    """Appends pictures per second from tensors in memory: of the forward alone, and with all that collecting adds."""
    settings = plan.settings
    # the same network without anything that records, or compiling would take the recording in
    silent = GateNetwork(plan.model.module, [], plan.device, settings.precision)
    worker = Collector(plan, 0)  # before the other, because it resets the compiler
    reading = Reading(plan, worker.bytes)
    run = torch.compile(silent.module, options={"freezing": True}) if settings.compiled else silent.module
    read = Batch([reading[index] for index in range(settings.batch_size)])
    if plan.device.type == "cuda":
        read = read.pin_memory()  # as the data loader does
    batch = worker.images(read)[0].to(silent.dtype, memory_format=torch.channels_last)
    shard = worker.empty(0)

    def forward() -> None:
        with torch.inference_mode():
            run(batch)

    def recorded() -> None:
        worker.look(read, shard)

    for function in (forward, recorded):
        function()
    shard.settle()
    size = ROUND if plan.device.type in shards.TOGETHER else 1
    for _ in range(-(-batches // size)):  # in turn, so that a machine that slows down slows both
        for function, rates in ((forward, bare), (recorded, collecting)):
            synchronise(plan.device)
            start = time.perf_counter()
            for _ in range(size):
                function()
            shard.settle()  # what of the round has not been added up yet
            synchronise(plan.device)
            rates.append(size * settings.batch_size / (time.perf_counter() - start))


def synchronise(device: torch.device) -> None:
    """Wait for what was asked of a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Autocast(nn.Module):
    """A network as torch.autocast runs it in bfloat16."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """The network's output."""
        with torch.autocast(batch.device.type, torch.bfloat16):
            return self.network(batch)


def with_rounded_weights(network: nn.Module) -> nn.Module:
    """A copy whose matrices and kernels are rounded to bfloat16, to compute with in float32."""
    network = copy.deepcopy(network)
    for parameter in network.parameters():
        if parameter.dim() > 1:
            parameter.data = parameter.data.bfloat16().float()
    return network


def differences(data: str, limit: int, out: Path, device: str, settings: Settings, workers: int) -> dict[str, float]:
    """How far the embedded SE model's class means lie from those in float32 at most, by what is in bfloat16."""
    model = sv.load("demo/se_resnet50_slim", device=device)

    def means(precision: str, network: nn.Module, name: str) -> list[np.ndarray]:
        seen = sv.Model(network, model.transform, model.classes, name=name)
        stats = collect(seen, data, out / name, replace(settings, precision=precision), limit=limit, workers=workers,
                        progress=False)
        return [stats.mean(block) for block in seen.blocks]

    exact = means("fp32", model.module, "fp32")
    return {name: max(np.nanmax(np.abs(one - other)) for one, other in zip(exact, means(precision, network, name)))
            for name, precision, network in (("bf16", "bf16", model.module),
                                             ("torch.autocast", "fp32", Autocast(model.module)),
                                             ("the weights alone in bf16", "fp32", with_rounded_weights(model.module)))}


def peak_memory(data: str, limit: int, out: Path) -> float:
    """Peak memory in MB of a run of the command line over so many pictures, the largest of its processes."""
    code = ("import sys; from senet_viz.__main__ import main; from benchmarks.peak import peak; "
            "assert main(sys.argv[1:]) == 0; print(peak())")
    command = ["collect", "demo/se_resnet50_slim", data, str(out), "--limit", str(limit), "--batch-size", "64"]
    result = subprocess.run([sys.executable, "-c", code, *command], cwd=ROOT, check=True, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True)
    return float(result.stdout.split()[-1])


def main() -> None:
    """Time, check and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("data")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--speeds", nargs="+", choices=SPEEDS, default=SPEEDS)
    parser.add_argument("--skip", type=int, default=2, help="batches before time is taken, rounded up to shards: "
                                                            "with many workers, those that were decoded meanwhile")
    parser.add_argument("--shard", type=int, help="pictures in a shard: two batches, unless said")
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="processes that decode")
    parser.add_argument("--pictures", type=int, nargs=2, default=[2000, 20000], help="whose peak memory is compared")
    args = parser.parse_args()

    torch.manual_seed(0)
    module = timm.create_model("seresnet50").eval().to(args.device)
    transform = create_transform(**resolve_model_data_config(module), is_training=False)
    model = sv.Model(module, transform, [str(i) for i in range(1000)], name="timm/seresnet50 with random weights")
    threads = torch.get_num_threads()
    size = args.batch_size
    shard = args.shard or 2 * size
    speeds = {name: Settings(threads=threads, batch_size=size, shard_size=shard, precision=name.split()[0],
                             compiled=name.endswith("compiled")) for name in args.speeds}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        for photo in sorted(args.photos.glob("*.jpg")):
            for copy in range(args.copies):
                link = scratch / "photos" / photo.stem / f"{copy}.jpg"
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(photo.resolve())
        pictures = open_pictures(scratch / "photos", in_memory=False)
        device = choose_device(args.device)
        plans = {name: Collection(model, pictures, settings, "photos", len(pictures), device, hardware(device))
                 for name, settings in speeds.items()}
        rates: dict[str, list[float]] = {"by hand": [], **{name: [] for name in plans}}
        for _ in range(args.repeats):
            means = by_hand(model, scratch / "photos", rates["by hand"], args.workers, size, args.skip)
            for name, plan in plans.items():
                ours(plan, rates[name], args.workers, args.skip)
        stats = collect(model, scratch / "photos", scratch / "statistics",
                        Settings(threads=threads, batch_size=size), workers=args.workers, progress=False)
        apart = max(np.abs(stats.mean(name)[:, 0] - values).max() for name, values in means.items())
        rounded = differences(args.data, args.pictures[0], scratch, args.device, Settings(threads=threads),
                              args.workers)
        forwards = {name: ([], []) for name in plans}
        for name, plan in plans.items():
            decoded(plan, *forwards[name], batches=15 * args.repeats)
        few, many = (peak_memory(args.data, limit, scratch / str(limit)) for limit in args.pictures)
    median = {name: statistics.median(values) for name, values in rates.items()}
    print(f"seresnet50 at 224×224, {len(pictures)} photos, batches of {size}, {args.workers} processes that decode, "
          f"medians of {args.repeats} interleaved runs.\n\n{hardware(device)}, {platform.machine()}, {threads} "
          f"threads; Python {platform.python_version()}, torch {torch.__version__}, timm {timm.__version__}.\n")
    print("| from a folder of photos | images/s | beside the script by hand | aim |\n| --- | ---: | ---: | --- |")
    aims = {"fp32": "≥ 1.15", "bf16 compiled": "≥ 2.5"}
    for name, rate in median.items():
        print(f"| {name} | {rate:.1f} | {rate / median['by hand']:.2f} | {aims.get(name, '')} |")
    print("\n| from decoded tensors | forward alone, images/s | collecting | ratio | aim |\n"
          "| --- | ---: | ---: | ---: | --- |")
    for name, (bare, full) in forwards.items():
        bare, full = statistics.median(bare), statistics.median(full)
        print(f"| {name} | {bare:.1f} | {full:.1f} | {full / bare:.2f} | ≥ .95 |")
    print("\n| what | measured | aim |\n| --- | ---: | --- |")
    print(f"| class means, fp32 and by hand, largest difference | {apart:.1e} | ≤ 1e-6 |")
    for name, difference in rounded.items():
        print(f"| class means of the embedded SE model, {name} and fp32, largest difference | {difference:.1e} | "
              f"{'≤ 5e-3' if name == 'bf16' else ''} |")
    print(f"| peak memory, {args.pictures[1]:,} pictures / {args.pictures[0]:,} | {many:.0f} MB / {few:.0f} MB = "
          f"{many / few:.3f} | ≤ 1.05 |")


if __name__ == "__main__":
    main()
