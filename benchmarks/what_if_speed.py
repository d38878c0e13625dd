"""Speed of taking each block away in turn, beside the bare forward.

``python benchmarks/what_if_speed.py [PHOTO] [--model NAME] [--device cuda] [--repeats 15]``; see README.md.

Each block of a network is switched off in turn on one photo. The bare forward is one batch with the photo once for each
block, in the memory layout that is faster. ``each_block`` tries two edits a block, and first takes the gates' means.
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
from senet_viz.experiments import what_if


def main() -> None:
    """Time all in turn and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photo", nargs="?", default=ASSETS / "samples" / "ladybug.jpg")
    parser.add_argument("--model", default="timm/seresnet50", help="with random weights: they cost no time")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    model = sv.load(args.model, device=args.device, pretrained=args.model.startswith("demo/"))
    picture = model.batch([sv.open_image(args.photo)])
    count = len(model.blocks)
    batch = picture.expand(count, -1, -1, -1).contiguous(memory_format=torch.channels_last)
    edits = [[sv.Edit(block.label, 1)] for block in model.blocks]

    def bare() -> None:
        with torch.no_grad():
            model.module(batch)

    tried = {f"bare forward of {count} pictures": bare,
             f"{count} blocks off, one at a time": lambda: what_if.runs(model, picture, edits),
             "each_block": lambda: what_if.each_block(model, picture, 0)}
    times: dict[str, list[float]] = {name: [] for name in tried}
    for repeat in range(args.repeats + 1):
        for name, function in tried.items():
            start = time.perf_counter()
            function()
            if model.device.type == "cuda":
                torch.cuda.synchronize()
            if repeat:  # the first warms up
                times[name].append(1000 * (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in times.items()}
    forward, off, both = medians.values()
    print(f"{args.model}, {model.input_size[1]}×{model.input_size[0]} pixels, {count} blocks, medians of "
          f"{args.repeats} repeats in turn.\n\n{hardware(model.device)}, {platform.machine()}, "
          f"{torch.get_num_threads()} threads; Python {platform.python_version()}, torch {torch.__version__}.\n")
    print("| what | median ms |\n| --- | ---: |")
    print("\n".join(f"| {name} | {median:.1f} |" for name, median in medians.items()))
    print("\n| ratio | measured | aim |\n| --- | ---: | --- |")
    print(f"| blocks off / bare forward | {off / forward:.2f} | ≤ 1.3 |")
    print(f"| each_block / bare forward | {both / forward:.2f} | |")


if __name__ == "__main__":
    main()
