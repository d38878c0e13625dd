"""Speed of a sweep beside the bare forward.

``python benchmarks/sweep_speed.py [PHOTO] [--device cuda] [--repeats 15]``; see README.md.

The embedded SK model looks at a photo at 21 sizes, with both controls and Grad-CAM, from the decoded photo on: zooming,
the network's transform, the forwards. The bare forward is one batch of the 21 zoomed pictures, already transformed.
"""
import argparse
import platform
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import senet_viz as sv
from senet_viz.collecting.network import hardware
from senet_viz.data.places import ASSETS
from senet_viz.experiments.sweep import SIZES, sweep


def main() -> None:
    """Time both in turn and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photo", nargs="?", default=ASSETS / "samples" / "ladybug.jpg")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    model, image = sv.load("demo/sknet50_slim", device=args.device), sv.open_image(args.photo)
    layers = list(model.stages.values())[-1:]
    batch = model.batch(sweep(model, image).pictures["zoom"])

    def bare() -> None:
        with torch.no_grad():
            model.module(batch)

    times: dict[str, list[float]] = {"bare forward": [], "sweep": []}
    for repeat in range(args.repeats + 1):
        for name, function in (("bare forward", bare), ("sweep", lambda: sweep(model, image, layers=layers))):
            start = time.perf_counter()
            function()
            if model.device.type == "cuda":
                torch.cuda.synchronize()
            if repeat:  # the first warms up
                times[name].append(1000 * (time.perf_counter() - start))
    forward, whole = (statistics.median(values) for values in times.values())
    print(f"demo/sknet50_slim, a photo of {image.width}×{image.height} pixels, {len(SIZES)} sizes, medians of "
          f"{args.repeats} repeats in turn.\n\n{hardware(model.device)}, {platform.machine()}, "
          f"{torch.get_num_threads()} threads; Python {platform.python_version()}, torch {torch.__version__}.\n")
    print("| what | median ms |\n| --- | ---: |")
    print(f"| bare forward of {len(SIZES)} pictures | {forward:.1f} |\n| sweep with both controls | {whole:.1f} |\n")
    print(f"| ratio | measured | aim |\n| --- | ---: | --- |\n| sweep / bare forward | {whole / forward:.2f} | ≤ 3.5 |")


if __name__ == "__main__":
    main()
