"""Which channels can go? A block's gate as a score for that, beside others, by the accuracy that is left.

Channels are removed by setting their gate to 0; nothing is trained anew. In each block the same share of the channels
goes, those with the lowest score: scores of different blocks are on no common scale.
"""
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn

from ..gates import AttentionBlock, Edit
from ..gates.blocks import eager
from ..gates.hooks import hooked
from ..gates.inspection import inspect
from ..models import Model
from ..reports.text import number
from ..statistics.archive import Statistics

SCORES = {
    "gate": "with the lowest mean gate", "output": "with the least mean square of s·U",
    "gamma": "with the smallest absolute γ of the batch normalisation before", "random": "at random"}
DRAWS = 3  # of channels at random
SHARES = (0.1, 0.25, 0.5, 0.75)
NAME = re.compile(r"remove (?P<share>[\d.]+)% by (?P<score>\w+)(?: (?P<draw>\d+))?")
BATCH = 32


def channel_scores(model: Model, stats: Statistics, images: torch.Tensor) -> dict[str, dict[str, np.ndarray]]:
    """How much each channel counts, by different scores: name → block → (C,); the higher, the later it goes.

    "gate": the gate's mean over all pictures. "output": what the block passes on, the mean over pictures and space of
    (s·U)². "gamma": |γ| of the batch normalisation whose output the block scales (network slimming; Z. Liu et al.,
    arXiv 1708.06519); left out where a block has none. "random 1" and so on: channels in random order, ``DRAWS`` times.

    Args:
        model: its blocks that scale their input; units that weigh branches are left out.
        stats: of this network.
        images: (N, 3, H, W), on any device, for "output".

    Raises:
        ValueError: for a network without blocks that scale their input.
    """
    blocks = [block for block in model.blocks if block.branches == 1]
    if not blocks:
        raise ValueError(f"{model.name} has no block that scales its channels: units that weigh branches take nothing "
                         f"away")
    scores = {"gate": {block.name: stats.overall_mean(block.name)[0].astype(float) for block in blocks},
              "output": _passed_on(model, blocks, images)}
    gamma = {block.name: _gamma(model.module, block, images[:1].to(model.device)) for block in blocks}
    if all(values is not None for values in gamma.values()):
        scores["gamma"] = {name: values for name, values in gamma.items() if values is not None}
    for draw in range(DRAWS):
        random = np.random.default_rng(draw)
        scores[f"random {draw + 1}"] = {block.name: random.permutation(block.channels).astype(float)
                                        for block in blocks}
    return scores


def _passed_on(model: Model, blocks: Sequence[AttentionBlock], images: torch.Tensor) -> dict[str, np.ndarray]:
    """The mean over pictures and space of each channel's (s·U)²."""
    sums = {block.name: torch.zeros(block.channels, dtype=torch.float64) for block in blocks}
    for start in range(0, len(images), BATCH):
        view = inspect(model, images[start:start + BATCH], features=[(block.name, "output") for block in blocks])
        for block in blocks:
            squares = view.features[block.name, "output"].double().square()
            sums[block.name] += squares.flatten(2).mean(2).sum(0).cpu()
    return {name: (total / len(images)).numpy() for name, total in sums.items()}


@torch.no_grad()
def _gamma(module: nn.Module, block: AttentionBlock, image: torch.Tensor) -> np.ndarray | None:
    """|γ| of the batch normalisation that gave the map that a block scales; None where there is none.

    It is the last that ran before the block with as many channels, seen in a forward.
    """
    if block.input != block.name:  # a gate written inline, which no part is called for
        return None
    ran: list[torch.Tensor] = []
    found: list[torch.Tensor] = []
    module = eager(module)
    with hooked(module) as hooks:
        for path, part in module.named_modules():
            if isinstance(part, (nn.BatchNorm2d, nn.SyncBatchNorm)) and part.affine:
                hooks.before(path, lambda _, part=part: ran.append(part.weight))
        hooks.before(block.name, lambda _: found.extend(ran[-1:]))
        module(image)
    if not found or len(found[0]) != block.channels:
        return None
    return found[0].abs().double().cpu().numpy()


def removal_edits(scores: Mapping[str, Mapping[str, np.ndarray]], shares: Sequence[float] = SHARES
                  ) -> dict[str, list[Edit]]:
    """Edits for ``evaluate``, by name: of each score and share the channels with the lowest score set to 0.

    Raises:
        ValueError: for a share that is not between 0 and 1.
    """
    wrong = [share for share in shares if not 0 < share < 1]
    if wrong:
        raise ValueError(f"the share of channels to remove is between 0 and 1, not {wrong[0]:g}")
    return {f"remove {100 * share:g}% by {score}": [
        Edit(name, 0.0, channels=np.argsort(values, kind="stable")[:round(share * len(values))].tolist())
        for name, values in blocks.items() if round(share * len(values))]
        for score, blocks in scores.items() for share in shares}


def removal_curve(table: pd.DataFrame) -> pd.DataFrame:
    """What was left of the accuracy: a row a score and share.

    Columns: score, share (of the channels, 0..1), draws, images, top1, difference, low and high (the 95 % interval of
    the difference from the unedited network, for other pictures; of several random draws the widest); top1 of random
    draws is their mean. Empty where the evaluation has no such edits.

    Args:
        table: of ``senet_viz.collecting.open_evaluation``.
    """
    rows = []
    for row in table.to_dict("records"):
        if said := NAME.fullmatch(str(row["edit"])):
            rows.append({"score": said["score"], "share": float(said["share"]) / 100} | {
                name: row[name] for name in ("images", "top1", "difference", "low", "high")})
    columns = ["score", "share", "draws", "images", "top1", "difference", "low", "high"]
    if not rows:
        return pd.DataFrame(columns=columns)
    grouped = pd.DataFrame(rows).groupby(["score", "share"], sort=False).agg(
        draws=("top1", "size"), images=("images", "first"), top1=("top1", "mean"), difference=("difference", "mean"),
        low=("low", "min"), high=("high", "max")).reset_index()
    order = grouped["score"].map(list(SCORES).index)
    return grouped.assign(order=order).sort_values(["order", "share"])[columns].reset_index(drop=True)


def removal_findings(curve: pd.DataFrame, unedited: float) -> list[str]:
    """What the curve says, in sentences (Markdown).

    Args:
        curve: ``removal_curve``.
        unedited: top-1 of the whole network, 0..1.
    """
    found = []
    for share, rows in curve.groupby("share"):
        by_score = rows.set_index("score")
        left = ", ".join(f"{row['top1']:.1%} without those {SCORES[str(score)]}" if score != "random" else
                         f"{row['top1']:.1%} {SCORES[str(score)]}" for score, row in by_score.iterrows())
        text = (f"With {share:.0%} of each block's channels removed, top-1 over "
                f"{number(int(rows['images'].iloc[0]), 'picture')}, {unedited:.1%}, becomes {left}.")
        if {"gate", "random"} <= set(by_score.index):
            gate, random = by_score.loc["gate"], by_score.loc["random"]
            # draws differ from each other, too: with pictures enough one more would be beyond a few others by chance
            draws = f"any of {random['draws']:.0f} draws at random"
            text += (f" The gate chooses better than {draws}." if gate["low"] > random["high"] else
                     f" The gate chooses worse than {draws}." if gate["high"] < random["low"] else
                     f" Whether the gate chooses better than {draws} cannot be told.")
        best = str(by_score["top1"].idxmax())
        if best not in ("gate", "random") and "gate" in by_score.index and (
                by_score["low"][best] > by_score["high"]["gate"]):
            text += f" Most is left without those {SCORES[best]}."
        found.append(text)
    return found
