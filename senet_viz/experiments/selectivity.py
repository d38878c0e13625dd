"""Does selectivity matter? How class-selective a channel is, beside what the network loses without its choice.

A channel's gate is fixed at its mean over the data. If the channel matters for the class that it opens or closes for
most, the network should lose there, and more than for other classes. It need not be so: A. Morcos et al. found that
class-selective units matter no more than others (On the importance of single directions for generalization, arXiv
1803.06959).
"""
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy.stats import norm, spearmanr, t

from ..gates import AttentionBlock, EditError, parse_edits
from ..statistics.archive import IMAGES, Statistics
from ..statistics.directions import named
from ..statistics.summaries import CONSTANT

UNEDITED = "unedited"
CONFIDENCE = 0.95
LEAST = 8  # channels of a block from which on a rank correlation is told
COLUMNS = ["block", "label", "channel", "omega_squared", "class", "deviation", "own", "own_low", "own_high", "others",
           "others_low", "others_high", "excess", "excess_low", "excess_high", "own_images", "images"]


def each_channel(blocks: Sequence[AttentionBlock], count: int = 32, value: str = "mean") -> list[str]:
    """Edits for ``evaluate``: up to ``count`` channels of each block, evenly spaced, one at a time.

    Raises:
        ValueError: for less than one channel.
    """
    if count < 1:
        raise ValueError(f"one channel of a block or more, not {count}")
    return [f"{block.label}[{channel}]={value}" for block in blocks for channel in np.unique(
        np.linspace(0, block.channels - 1, min(count, block.channels)).round().astype(int))]


def channel_effects(evaluation: str | Path, stats: Statistics, classes: Sequence[str]) -> pd.DataFrame:
    """What fixing one channel's gate does to its own class and to the others: a row a channel that was evaluated.

    Columns: block, label, channel; omega_squared (of ranks, see ``Statistics.rank_specificity``); class (the channel's
    own: whose mean gate lies farthest from that of all pictures) and deviation (how far, signed); own and others (the
    mean change of the right class's probability, −1..1, over the pictures of that class and over all others), excess
    (own − others), each with its 95 % interval: of own over the class's pictures, of others over the classes' means,
    and of excess from both (B. Welch's, Biometrika 34, 1947); own_images and images (how many). Channels whose gate is
    the same for every picture are left out: fixing it changes nothing, and they have no class of their own.

    Args:
        evaluation: folder that ``evaluate`` wrote with the edits of ``each_channel``.
        stats: of the same network, with a sample of whole gates.
        classes: the network's own, ``Model.classes``.

    Raises:
        ValueError: for statistics that have no ω² of ranks.
    """
    rows = pq.read_table(Path(evaluation) / IMAGES, columns=["edit", "index", "label", "probability"]).to_pandas()
    place = {name: i for i, name in enumerate(classes)}
    targets = np.array([place.get(name, -1) for name in stats.classes])
    before = rows[rows["edit"] == UNEDITED].set_index("index")
    found = []
    for edit, part in rows.groupby("edit", sort=False):
        block, channel = _single(str(edit), stats.blocks)
        if block is None:
            continue
        if not stats.overall_std(block)[-1, channel] > CONSTANT:
            continue
        part = part.set_index("index").loc[before.index]
        change = part["probability"].astype(float) - before["probability"].astype(float)
        deviation = stats.mean(block)[:, -1, channel] - stats.overall_mean(block)[-1, channel]
        own = int(np.nanargmax(np.abs(deviation)))
        mine = (before["label"] == targets[own]).to_numpy()
        found.append({"block": block.name, "label": block.label, "channel": channel,
                      "omega_squared": stats.rank_specificity(block)[channel], "class": stats.classes[own],
                      "deviation": deviation[own]}
                     | _effects(change.to_numpy(), before["label"].to_numpy(), mine))
    return pd.DataFrame(found, columns=COLUMNS)


def _single(edit: str, blocks: Sequence[AttentionBlock]) -> tuple[AttentionBlock | None, int]:
    """The one channel of one block that an edit fixes; None where it is another edit."""
    try:
        edits = parse_edits(edit, mean={})
    except EditError:
        return None, -1
    if len(edits) != 1 or edits[0].channels is None or len(edits[0].channels) != 1:
        return None, -1
    touched = [block for block in blocks if edits[0].matches(block)]
    return (touched[0], int(edits[0].channels[0])) if len(touched) == 1 else (None, -1)


def _effects(change: np.ndarray, label: np.ndarray, mine: np.ndarray) -> dict[str, float]:
    """Means and intervals of a change over the own class's pictures and over the others' class means."""
    own, others = change[mine], pd.Series(change[~mine]).groupby(label[~mine]).mean().to_numpy()
    found: dict[str, float] = {"own_images": len(own), "images": len(change)}
    errors, counts = [], []
    for name, sample in (("own", own), ("others", others)):
        count = len(sample)
        mean = sample.mean() if count else math.nan
        error = sample.std(ddof=1) / math.sqrt(count) if count > 1 else math.nan
        half = error * t.ppf((1 + CONFIDENCE) / 2, count - 1) if count > 1 else math.nan
        errors.append(error)
        counts.append(count)
        found |= {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}
    excess, error = found["own"] - found["others"], math.hypot(*errors)
    freedom = error ** 4 / sum(each ** 4 / (count - 1) for each, count in zip(errors, counts)) if error > 0 else 1.0
    half = error * t.ppf((1 + CONFIDENCE) / 2, freedom)
    return found | {"excess": excess, "excess_low": excess - half, "excess_high": excess + half}


def correlation(table: pd.DataFrame) -> tuple[float, float, float]:
    """Spearman's rank correlation of ω² with the size of the effect on the own class, and its 95 % interval.

    The interval is Fisher's with the variance 1.06 / (n − 3) (E. Fieller, H. Hartley, E. Pearson, Biometrika 44, 1957).
    nan of fewer than ``LEAST`` channels, and where one of the two does not vary.
    """
    rows = table[["omega_squared", "own"]].dropna()
    if len(rows) < LEAST or rows.nunique().min() < 2:
        return math.nan, math.nan, math.nan
    rho = float(spearmanr(rows["omega_squared"], rows["own"].abs()).statistic)
    half = norm.ppf((1 + CONFIDENCE) / 2) * math.sqrt(1.06 / (len(rows) - 3))
    centre = math.atanh(min(max(rho, -0.999999), 0.999999))
    return rho, math.tanh(centre - half), math.tanh(centre + half)


def selectivity_findings(stats: Statistics, table: pd.DataFrame) -> list[str]:
    """What the table says, in sentences (Markdown: block labels are bold).

    Args:
        stats: the statistics.
        table: ``channel_effects``.
    """
    if table.empty:
        return []
    hurt, helped = table["excess_high"] < 0, table["excess_low"] > 0
    chance = (1 - CONFIDENCE) / 2 * len(table)
    found = [
        f"Of {len(table):,} channels, each fixed at its mean by itself, {int(hurt.sum()):,} cost their own class more "
        f"than other classes and {int(helped.sum()):,} less, by the 95% interval; by chance it would be "
        f"{'fewer than one' if chance < 1 else f'about {chance:.0f}'} each. In the median "
        f"the right class's probability changes by {_points(table['own'])} in the own class and by "
        f"{_points(table['others'])} in the others."]
    sure: list[tuple[str, float]] = []
    weak: list[tuple[str, float]] = []
    unsure: list[tuple[str, float]] = []
    labels = list(table.groupby("label", sort=False))
    for label, part in labels:
        rho, low, high = correlation(part)
        if math.isnan(rho):
            continue
        (sure if low > 0 else weak if high < 0 else unsure).append((str(label), rho))
    for blocks, words in ((sure, "Where a channel is more selective, fixing it moves its own class more"),
                          (weak, "Where a channel is more selective, fixing it moves its own class less"),
                          (unsure, "Whether a more selective channel moves its own class more cannot be told")):
        if blocks:
            values = [rho for _, rho in blocks]
            between = f"{min(values):+.2f}" if len(values) == 1 else f"{min(values):+.2f} to {max(values):+.2f}"
            by_chance = "" if blocks is unsure else (
                f"{len(blocks)} of {len(labels)} blocks, by chance in about {(1 - CONFIDENCE) / 2 * len(labels):.1g}; ")
            found.append(f"{words} in {named(stats, [label for label, _ in blocks])} ({by_chance}rank correlation "
                         f"{between}).")
    return found


def _points(values: pd.Series) -> str:
    """How large changes of a probability are, up or down, in percentage points: the median."""
    return f"{100 * values.abs().median():.2f} points"
