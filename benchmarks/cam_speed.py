"""Speed of recording gates and of Grad-CAM beside the tools that people use, as ratios within one run.

``python benchmarks/cam_speed.py [--device cuda] [--repeats 15]``; see README.md in this folder.

All candidates see the same network (timm's seresnet50 with random weights), the same 224×224 picture, the same four
layers and three classes, and give the same maps up to normalisation. Their repeats are interleaved, so that a machine
that slows down slows all of them.
"""
import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import timm
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import senet_viz as sv

LAYERS, CLASSES = ["layer1", "layer2", "layer3", "layer4"], [1, 254, 726]
PEERS = {"torchcam": "torchcam", "pytorch_grad_cam": "grad-cam", "captum": "captum"}


def candidates(module: torch.nn.Module, batch: torch.Tensor) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    from captum.attr import LayerGradCam
    from pytorch_grad_cam import GradCAM as PytorchGradCam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    from torchcam.methods import GradCAM as TorchCam

    model = sv.Model(module, lambda image: batch[0].cpu(), [""] * 1000)
    parts = [module.get_submodule(layer) for layer in LAYERS]
    model.blocks  # found once per model, as in use  # noqa: B018

    def bare():
        with torch.no_grad():
            module(batch)

    def torchcam():
        # one forward; the hooks' gradients serve all layers of a class, a backward a class
        with TorchCam(module, target_layer=parts) as extractor:
            scores = module(batch)
            for target in CLASSES:
                extractor(target, scores, retain_graph=target != CLASSES[-1])

    def captum():
        # its interface is one layer and one class a call: a forward and a backward each
        for part in parts:
            explainer = LayerGradCam(module, part)
            for target in CLASSES:
                explainer.attribute(batch, target=target, relu_attributions=True)

    def pytorch_grad_cam():
        # it fuses the layers given together: separate maps need a call a layer and class
        for part in parts:
            with PytorchGradCam(module, [part]) as explainer:
                for target in CLASSES:
                    explainer(batch, [ClassifierOutputTarget(target)])

    return {
        "bare forward": bare,
        "sv.record": lambda: sv.record(model, batch),
        "sv.inspect": lambda: sv.inspect(model, batch, CLASSES, LAYERS),
        "torch-cam": torchcam,
        "Captum": captum,
        "pytorch-grad-cam": pytorch_grad_cam,
    }


def measure(functions: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each repeat; two rounds of warm-up are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for repeat in range(-2, repeats):
        for name, function in functions.items():
            _synchronise(device)
            start = time.perf_counter()
            function()
            _synchronise(device)
            if repeat >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def table(seconds: dict[str, list[float]]) -> str:
    """Medians, and medians of the ratios of neighbouring repeats, as Markdown."""
    median = {name: statistics.median(values) for name, values in seconds.items()}

    def ratio(over: str, under: str) -> str:
        return f"{statistics.median(a / b for a, b in zip(seconds[over], seconds[under])):.2f}"

    lines = ["| what | median ms |", "| --- | ---: |"]
    lines += [f"| {name} | {1000 * value:.1f} |" for name, value in median.items()]
    lines += ["", "| ratio | measured | aim |", "| --- | ---: | --- |",
              f"| sv.record / bare forward | {ratio('sv.record', 'bare forward')} | ≤ 1.05 |",
              f"| sv.inspect / torch-cam | {ratio('sv.inspect', 'torch-cam')} | ≤ 1.1 |",
              f"| Captum / sv.inspect | {ratio('Captum', 'sv.inspect')} | ≥ 5 |",
              f"| pytorch-grad-cam / sv.inspect | {ratio('pytorch-grad-cam', 'sv.inspect')} | ≥ 8 |"]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the table to ``results/``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.manual_seed(0)
    module = timm.create_model("seresnet50").eval().to(device)
    batch = torch.randn(1, 3, 224, 224, device=device)
    try:
        functions = candidates(module, batch)
    except ImportError as error:
        sys.exit(f"{error.name} is not installed: pip install {' '.join(PEERS.values())}")
    seconds = measure(functions, args.repeats, device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else (
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads")
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "timm", *PEERS.values()))
    text = (f"seresnet50, one 224×224 picture, Grad-CAM at {len(LAYERS)} layers for {len(CLASSES)} classes, medians of "
            f"{args.repeats} interleaved repeats.\n\n{where}; Python {platform.python_version()}, {versions}.\n\n"
            f"{table(seconds)}\n")
    print(text)
    out = Path(__file__).parent / "results" / f"cam_speed_{device.type}.md"
    out.parent.mkdir(exist_ok=True)
    out.write_text(text)


if __name__ == "__main__":
    main()
