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
from ..gates.answers import two_sides
from ..reports.text import ends
from ..statistics.archive import IMAGES, Statistics
from ..statistics.directions import named
from ..statistics.paired import UNEDITED
from ..statistics.summaries import CONSTANT

CONFIDENCE = 0.95
LEAST = 8  # channels of a block from which on a rank correlation is told
COLUMNS = ["block", "label", "channel", "omega_squared", "class", "deviation", "own", "own_low", "own_high", "others",
           "others_low", "others_high", "excess", "excess_low", "excess_high", "more_elsewhere", "less_elsewhere",
           "own_images", "images"]


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
    place = {name: i for i, name in enumerate(classes if len(classes) > 1 else two_sides(classes))}
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
    found: dict[str, float] = {"own_images": int(mine.sum()), "images": len(change)}
    classes = pd.Series(change).groupby(label).agg(["mean", "var", "count"])
    if not mine.any() or len(classes) < 2:
        return found | _row(np.full((9, 1), np.nan), 0) | {"others": classes["mean"].mean()}
    every = _every_class(*classes.to_numpy().T)
    own = int(np.flatnonzero(classes.index == label[mine][0])[0])
    low, high = (np.delete(every[row], own) for row in (7, 8))
    return found | _row(every, own) | {"more_elsewhere": (high < 0).mean(), "less_elsewhere": (low > 0).mean()}


def _row(every: np.ndarray, own: int) -> dict[str, float]:
    return {f"{name}{end}": every[3 * i + j, own] for i, name in enumerate(("own", "others", "excess"))
            for j, end in enumerate(("", "_low", "_high"))}


@np.errstate(invalid="ignore", divide="ignore")  # of classes with one picture and data with few classes
def _every_class(means: np.ndarray, variances: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Each class for the own one: (9, classes), mean, low and high of own, of others and of excess."""
    rest = len(means) - 1
    others = (means.sum() - means) / rest
    spread = ((means ** 2).sum() - means ** 2 - rest * others ** 2) / (rest - 1)
    errors = np.stack([variances / counts, np.maximum(spread, 0) / rest])  # squared
    free = np.stack([counts - 1, np.full(len(means), rest - 1.0)])
    error = errors.sum(0)
    freedom = np.where(error > 0, error ** 2 / (errors ** 2 / free).sum(0), 1)
    rows = []
    for mean, squared, degrees in ((means, errors[0], free[0]), (others, errors[1], free[1]),
                                   (means - others, error, freedom)):
        half = np.sqrt(squared) * t.ppf((1 + CONFIDENCE) / 2, degrees)
        rows += [mean, mean - half, mean + half]
    return np.stack(rows)


def correlation(table: pd.DataFrame) -> tuple[float, float, float]:
    """Spearman's rank correlation of ω² with the size of the effect on the own class, and its 95 % interval.

    The interval is Fisher's with the variance 1.06 / (n − 3) (E. Fieller, H. Hartley, E. Pearson, Biometrika 44, 1957).
    nan of fewer than ``LEAST`` channels, and where one of the two does not vary.
    """
    rows = table[["omega_squared", "own"]].dropna()
    if len(rows) < LEAST or rows.nunique().min() < 2:
        return math.nan, math.nan, math.nan
    rho = float(spearmanr(rows["omega_squared"], rows["own"].abs()).statistic)
    return _within(rho, len(rows) - 3)


def pooled_correlation(table: pd.DataFrame) -> tuple[float, float, float]:
    """The same within blocks, over all of them: the mean of Fisher's z, each weighed by its n − 3, and its interval.

    What distinguishes blocks, their depth for one, has no part in it. nan where no block has a correlation.
    """
    known = [(correlation(part)[0], len(part.dropna(subset=["omega_squared", "own"])) - 3)
             for _, part in table.groupby("label", sort=False)]
    told = [(_z(rho), weight) for rho, weight in known if not math.isnan(rho)]
    weights = [weight for _, weight in told]
    if not told:
        return math.nan, math.nan, math.nan
    return _within(math.tanh(float(np.average([z for z, _ in told], weights=weights))), sum(weights))


def _within(rho: float, weight: int) -> tuple[float, float, float]:
    """A rank correlation and the ends of its interval."""
    half = norm.ppf((1 + CONFIDENCE) / 2) * math.sqrt(1.06 / weight)
    return rho, math.tanh(_z(rho) - half), math.tanh(_z(rho) + half)


def _z(rho: float) -> float:
    """Fisher's."""
    return math.atanh(min(max(rho, -0.999999), 0.999999))


def selectivity_findings(stats: Statistics, table: pd.DataFrame) -> list[str]:
    """What the table says, in sentences (Markdown: block labels are bold).

    Args:
        stats: the statistics.
        table: ``channel_effects``.
    """
    if table.empty:
        return []
    hurt, helped = table["excess_high"] < 0, table["excess_low"] > 0
    elsewhere = [f"{count:.0f}" if (count := round(table[column].sum())) else "fewer than one"
                 for column in ("more_elsewhere", "less_elsewhere")]
    found = [
        f"Of {len(table):,} channels, each fixed at its mean by itself, {int(hurt.sum()):,} cost their own class more "
        f"than other classes and {int(helped.sum()):,} less, by the 95% interval; with any other class in the own "
        f"one's place it is {elsewhere[0]} and {elsewhere[1]} on average. In the median the right class's probability "
        f"changes by {_points(table['own'])} in the own class and by {_points(table['others'])} in the others."]
    known = {str(label): told for label, part in table.groupby("label", sort=False)
             if not math.isnan((told := correlation(part))[0])}
    rho, low, high = pooled_correlation(table)
    if known:
        said = ("a more selective channel moves its own class more" if low > 0 else
                "a more selective channel moves its own class less" if high < 0 else
                "whether a more selective channel moves its own class more cannot be told")
        where = "Within blocks, all taken together," if len(known) > 1 else f"Within {named(stats, list(known))}"
        found.append(f"{where} {said}: rank correlation {rho:+.2f} ({ends(low, high, 2)}).")
    if len(known) < 2:  # all has been said of it
        return found
    sure: list[tuple[str, float]] = []
    weak: list[tuple[str, float]] = []
    unsure: list[tuple[str, float]] = []
    for label, (rho, low, high) in known.items():
        (sure if low > 0 else weak if high < 0 else unsure).append((label, rho))
    for blocks, words in ((sure, "a more selective channel moves its own class more"),
                          (weak, "a more selective channel moves its own class less"), (unsure, "it cannot be told")):
        if blocks:
            values = [rho for _, rho in blocks]
            between = f"{min(values):+.2f}" if len(values) == 1 else f"{min(values):+.2f} to {max(values):+.2f}"
            by_chance = "" if blocks is unsure else (
                f"{len(blocks)} of {len(known)} blocks, by chance in about {(1 - CONFIDENCE) / 2 * len(known):.1g}; ")
            alone = "each by itself" if len(blocks) > 1 else "by itself"
            found.append(f"In {named(stats, [label for label, _ in blocks])}, {alone}, {words} ({by_chance}rank "
                         f"correlation {between}).")
    return found


def _points(values: pd.Series) -> str:
    """How large changes of a probability are, up or down, in percentage points: the median."""
    return f"{100 * values.abs().median():.2f} points"
