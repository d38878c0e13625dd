"""What it costs to measure in how many directions gates move, while statistics are collected and in a training.

``python benchmarks/dimension_speed.py PHOTOS DATA [--device cuda] [--repeats 3]``; see README.md.

Collecting is timed with a sample of whole gates and without one, in turn, shards and merging together: timm's
seresnet50 with random weights over a flat folder of photos, and the embedded SE network over a set of many small
pictures. Peak memory is that of a process of its own. Training steps of a slim SE network are timed with a monitor that
measures every 50th and without one, in turn.
"""
import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import timm
import torch
from timm.data import create_transform, resolve_model_data_config
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import senet_viz as sv
from benchmarks.peak import peak
from senet_viz.collecting import Settings, collect
from senet_viz.collecting.network import hardware
from senet_viz.models import choose_device, slim_resnet50

BATCH, EVERY = 128, 50
SAMPLES = {"without": 0, "with a sample": 1024}


def seresnet50(device: str) -> sv.Model:
    """SE-ResNet-50 with random weights at 224×224."""
    torch.manual_seed(0)
    module = timm.create_model("seresnet50").eval().to(device)
    transform = create_transform(**resolve_model_data_config(module), is_training=False)
    return sv.Model(module, transform, [str(i) for i in range(1000)], name="timm/seresnet50 with random weights")


def seconds(model: sv.Model, data: str, limit: int, sample: int) -> float:
    """Of one whole run."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        collect(model, data, Path(folder, "out"), Settings(threads=torch.get_num_threads(), sample=sample),
                limit=limit, progress=False)
        return time.perf_counter() - start


def peak_memory(photos: str, sample: int, device: str) -> float:
    """MB of a process that collects with seresnet50."""
    code = [sys.executable, __file__, photos, photos, "--device", device, "--peak", str(sample)]
    return float(subprocess.run(code, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


def steps(count: int, watched: bool, device: torch.device) -> float:
    """Seconds a training step, over so many."""
    torch.manual_seed(0)
    network = slim_resnet50("se", num_classes=100).train().to(device)
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    images, labels = torch.randn(BATCH, 3, 32, 32, device=device), torch.randint(100, (BATCH,), device=device)
    monitor = sv.Monitor(network, images, every=EVERY) if watched else None
    start = time.perf_counter()
    for _ in range(count):
        optimizer.zero_grad()
        cross_entropy(network(images), labels).backward()
        optimizer.step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elapsed = time.perf_counter() - start
    if monitor:
        monitor.close()
    return elapsed / count


def main() -> None:
    """Time and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photos")
    parser.add_argument("data")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=5000, help="of DATA")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    device = choose_device(args.device)
    if args.peak is not None:
        seconds(seresnet50(args.device), args.photos, 10_000, args.peak)
        print(peak())
        return

    runs = {"seresnet50, photos at 224×224": (seresnet50(args.device), args.photos, 10_000),
            f"embedded SE network, {args.pictures:,} pictures": (
                sv.load("demo/se_resnet50_slim", device=args.device), args.data, args.pictures)}
    taken: dict[str, dict[str, list[float]]] = {name: {way: [] for way in SAMPLES} for name in runs}
    training: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(args.repeats):
        for name, (model, data, limit) in runs.items():
            for way, sample in SAMPLES.items():
                taken[name][way].append(seconds(model, data, limit, sample))
        for watched, times in training.items():
            times.append(steps(EVERY, watched, device))
    memory = [peak_memory(args.photos, sample, args.device) for sample in SAMPLES.values()]
    print(f"{hardware(device)}, {platform.machine()}, {torch.get_num_threads()} threads; Python "
          f"{platform.python_version()}, torch {torch.__version__}, timm {timm.__version__}. Medians of {args.repeats} "
          f"interleaved runs.\n")
    print("| what | without | with | ratio | aim |\n| --- | ---: | ---: | ---: | --- |")
    for name, times in taken.items():
        without, sampled = (statistics.median(times[way]) for way in SAMPLES)
        print(f"| collecting: {name} | {without:.1f} s | {sampled:.1f} s | {sampled / without:.2f} | ≤ 1.10 |")
    print(f"| peak memory, seresnet50 | {memory[0]:.0f} MB | {memory[1]:.0f} MB | + {memory[1] - memory[0]:.0f} MB | "
          f"≤ 300 MB |")
    bare, watched = (statistics.median(times) for times in training.values())
    print(f"| a training step of {BATCH} pictures of 32×32, every {EVERY}th measured | {1000 * bare:.0f} ms | "
          f"{1000 * watched:.0f} ms | {watched / bare:.3f} | ≤ 1.02 |")


if __name__ == "__main__":
    main()
