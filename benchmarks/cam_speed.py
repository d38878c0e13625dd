"""Speed of recording gates and of Grad-CAM beside the tools that people use, as ratios within one run.

``python benchmarks/cam_speed.py [--device cuda] [--repeats 15]``; see README.md in this folder.

All candidates see the same network (timm's seresnet50 with random weights), the same 224×224 picture, the same four
layers and three classes, and are used as their documentation shows. They give the same maps: checked first, for those
that leave the maps in the layer's size. Their repeats are interleaved in changing order, so that a machine that slows
down slows all of them and none always follows the same other.
"""
import argparse
import platform
import random
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
PEERS = {"torch-cam": "torchcam", "pytorch-grad-cam": "grad-cam", "Captum": "captum"}  # and their packages


def candidates(module: torch.nn.Module, batch: torch.Tensor) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    model = sv.Model(module, lambda image: batch[0].cpu(), [""] * 1000)
    parts = [module.get_submodule(layer) for layer in LAYERS]
    model.blocks  # found once per model, as in use  # noqa: B018

    def bare():
        """Logits."""
        with torch.no_grad():
            module(batch)

    def record():
        """Logits and the gates of all 16 blocks."""
        sv.record(model, batch)

    def inspect():
        """Logits, the gates of all 16 blocks and 12 maps: one forward, a backward a class from layer1's output on."""
        return sv.inspect(model, batch, CLASSES, LAYERS).cams

    def torchcam():
        """Logits and 12 normalised maps: one forward, a backward a class to layer1's output."""
        from torchcam.methods import GradCAM as TorchCam

        with TorchCam(module, target_layer=parts) as extractor:
            scores = module(batch)
            maps = [extractor(target, scores, retain_graph=target != CLASSES[-1]) for target in CLASSES]
        return {layer: torch.stack([of_class[i] for of_class in maps], 1) for i, layer in enumerate(LAYERS)}

    def captum():
        """12 maps: one layer and class a call, with a forward and a backward to the layer each."""
        from captum.attr import LayerGradCam

        return {layer: torch.cat([LayerGradCam(module, part).attribute(batch, target=target, relu_attributions=True)
                                  for target in CLASSES], 1) for layer, part in zip(LAYERS, parts)}

    def pytorch_grad_cam():
        """12 normalised maps in the picture's size: it fuses the layers of one call, so one layer and class a call.

        Each has a forward and a backward through everything, the weights included.
        """
        from pytorch_grad_cam import GradCAM as PytorchGradCam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        for part in parts:
            with PytorchGradCam(module, [part]) as explainer:
                for target in CLASSES:
                    explainer(batch, [ClassifierOutputTarget(target)])

    found = {"bare forward": bare, "sv.record": record, "sv.inspect": inspect}
    rounded = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False  # while maps are compared: its ten bits hide what differs
    for name, peer, returns_maps in (("torch-cam", torchcam, True), ("Captum", captum, True),
                                     ("pytorch-grad-cam", pytorch_grad_cam, False)):
        try:
            maps = peer()
        except ImportError as error:
            print(f"{name} is left out: {error.name} is not installed")
            continue
        found[name] = peer
        for layer, ours in inspect().items() if returns_maps else ():
            difference = (_normalised(ours) - _normalised(maps[layer])).abs().max()
            assert difference < 1e-3, f"{name} and sv.inspect differ by {difference:.2g} of the range at {layer}"
    torch.backends.cudnn.allow_tf32 = rounded
    return found


def _normalised(maps: torch.Tensor) -> torch.Tensor:
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return (maps - low) / (high - low).clamp_min(1e-12)


def measure(functions: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each repeat; two rounds of warm-up are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    order = random.Random(0)
    for repeat in range(-2, repeats):
        for name in order.sample(list(functions), len(functions)):
            _synchronise(device)
            start = time.perf_counter()
            functions[name]()
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
    lines += ["", "| ratio | measured | aim |", "| --- | ---: | --- |"]
    lines += [f"| {over} / {under} | {ratio(over, under)} | {aim} |" for over, under, aim in (
        ("sv.record", "bare forward", "≤ 1.02"), ("sv.record, embedded", "bare forward, embedded", "≤ 1.05"),
        ("hooks by hand, embedded", "bare forward, embedded", ""),
        ("sv.inspect", "torch-cam", "≤ 0.95"), ("Captum", "sv.inspect", "≥ 5.5"),
        ("pytorch-grad-cam", "sv.inspect", "≥ 10")) if {over, under} <= seconds.keys()]
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
    functions = candidates(module, batch)
    embedded, small = sv.load("demo/se_resnet50_slim", device=args.device), torch.randn(1, 3, 64, 64, device=device)
    embedded.blocks  # noqa: B018

    def bare_embedded() -> None:
        """A network so small that what recording adds shows."""
        with torch.no_grad():
            embedded.module(small)

    gates = [embedded.module.get_submodule(block.gate) for block in embedded.blocks]

    def by_hand() -> None:
        """What recording is at least: a hook on each block's last module, which keeps a copy of the gate."""
        kept: list[torch.Tensor] = []
        handles = [gate.register_forward_hook(lambda _, __, output: kept.append(output.clone())) for gate in gates]
        bare_embedded()
        for handle in handles:
            handle.remove()

    functions |= {"bare forward, embedded": bare_embedded, "hooks by hand, embedded": by_hand,
                  "sv.record, embedded": lambda: sv.record(embedded, small)}
    seconds = measure(functions, args.repeats, device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else (
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads")
    present = [PEERS[name] for name in PEERS if name in functions]
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "timm", *present))
    text = (f"seresnet50, one 224×224 picture, Grad-CAM at {len(LAYERS)} layers for {len(CLASSES)} classes, medians of "
            f"{args.repeats} interleaved repeats.\n\n{where}; Python {platform.python_version()}, {versions}.\n\n"
            f"{table(seconds)}\n")
    print(text)
    out = Path(__file__).parent / "results" / f"cam_speed_{device.type}.md"
    out.parent.mkdir(exist_ok=True)
    out.write_text(text)


if __name__ == "__main__":
    main()
