"""Collected runs side by side: what their gates do over depth, by how much they differ, and channel by channel.

Blocks of different networks are aligned by their stage, which says how far the map has shrunk, and their place in it. A
difference has a 95 % interval, which says how it would come out for other classes of the same kind, or for other
pictures; each measure has the one that its data allow (``MEASURES``).
"""
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..gates import AttentionBlock
from . import summaries
from .archive import Statistics
from .similarity import common_classes, interval, jackknife_error

CLASSES, PICTURES, NONE = "other classes", "other pictures", ""
GROUPS = 20  # of pictures, behind the standard error of a dimension
DRAWS = 20  # of shuffled channels
FEWEST = 3  # classes, of which one can be left out


@dataclass(frozen=True)
class Measure:
    """What is compared.

    Attributes:
        title: for a figure and at the head of a sentence.
        text: in full.
        form: how a value is written.
        small: a difference up to this counts as none.
        over: what the interval is for: ``CLASSES``, by leaving out one class at a time from both runs, or from each by
            itself where they have not the same; ``PICTURES``, from the two standard errors, as if the pictures were not
            the same, which is too wide rather than too narrow; ``NONE``, where there is no interval.
    """

    title: str
    text: str
    form: str
    small: float
    over: str


MEASURES = {
    "omega_squared": Measure("class-specificity ω²", "the median channel's ω²", ".2f", summaries.NEGLIGIBLE, CLASSES),
    "dimension": Measure("number of directions", "the participation ratio", ".2f", 0.1, PICTURES),
    "spread": Measure("spread over pictures", "the gate's standard deviation over pictures, mean over channels", ".3f",
                      0.005, CLASSES),
    "mean": Measure("mean gate", "the mean gate", ".3f", 0.005, CLASSES),
    "beyond": Measure("saturation", "the share of gates under .05 or over .95", ".1%", 0.005, CLASSES),
    "fixed": Measure("share of dead, open or constant channels", "channels as ``summaries.saturation`` counts them",
                     ".1%", 0.0, NONE),
}


def positions(blocks: list[AttentionBlock]) -> dict[str, float]:
    """Where each block lies in its stage: label → 0 (the first) to 1 (the last); .5 of a stage's only block."""
    stages: dict[int, list[str]] = {}
    for block in blocks:
        stages.setdefault(block.stage, []).append(block.label)
    return {label: i / (len(labels) - 1) if len(labels) > 1 else 0.5
            for labels in stages.values() for i, label in enumerate(labels)}


def align(first: list[AttentionBlock], second: list[AttentionBlock]) -> pd.DataFrame:
    """Which blocks of two networks are compared: a row a pair, in the order of depth.

    Columns: first, second (labels), stage, position (of the block that was given a partner, in its stage, 0..1). In
    each stage that both have, every block of the network with more of them (of the first, where both have as many) is
    given that block of the other that is nearest by position, the earlier of two equally near ones. Where both have as
    many, the i-th goes with the i-th.
    """
    places, rows = (positions(first), positions(second)), []
    for stage in sorted({block.stage for block in first} & {block.stage for block in second}):
        labels = [[block.label for block in blocks if block.stage == stage] for blocks in (first, second)]
        more = int(len(labels[1]) > len(labels[0]))
        for label in labels[more]:
            position = places[more][label]
            other = min(labels[1 - more], key=lambda name: round(abs(places[1 - more][name] - position), 9))
            pair = (other, label) if more else (label, other)
            rows.append((*pair, stage, position))
    return pd.DataFrame(rows, columns=["first", "second", "stage", "position"])


def same_blocks(first: list[AttentionBlock], second: list[AttentionBlock]) -> bool:
    """Whether two networks have the same blocks, by name, channels and branches, in one order."""
    described = [[(block.name, block.channels, block.branches) for block in blocks] for blocks in (first, second)]
    return described[0] == described[1]


def curves(runs: Mapping[str, Statistics], zoom: float = 1.0) -> pd.DataFrame:
    """What the gates of each run do over depth: a row a run and block.

    Columns: run, block, label, stage, index, position (in the stage, see ``positions``), kind, channels, and of the
    last branch's gate omega_squared (median over the channels that are not dead, open or constant), dimension, error
    (its standard error), spread (standard deviation over pictures, mean over channels), mean, beyond (share of all
    pairs of channel and picture under .05 or over .95), fixed (share of channels that are dead, open or constant).
    nan where it cannot be told.
    """
    parts = []
    for name, stats in runs.items():
        place, saturation = positions(stats.blocks), summaries.saturation(stats, zoom=zoom)
        rows = [{"run": name, "block": block.name, "label": block.label, "stage": block.stage, "index": block.index,
                 "position": place[block.label], "kind": block.kind, "channels": block.channels}
                | {"omega_squared": summaries.median_omega_squared(stats, block, zoom=zoom)}
                | _directions(stats, block, zoom)
                | {"spread": float(stats.overall_std(block, zoom)[-1].mean(dtype=float))} for block in stats.blocks]
        fixed = saturation[["dead", "open", "constant"]].sum(axis=1) / saturation["channels"]
        parts.append(pd.DataFrame(rows).assign(
            mean=saturation["mean"], beyond=saturation["below"] + saturation["above"], fixed=fixed))
    return pd.concat(parts, ignore_index=True)


def _directions(stats: Statistics, block: AttentionBlock, zoom: float) -> dict[str, float]:
    if not stats.sampled:
        return {"dimension": np.nan, "error": np.nan}
    told = stats.measures(block, zoom=zoom)
    return {name: told[name] for name in ("dimension", "error")}


def differences(first: Statistics, second: Statistics, zoom: float = 1.0, table: pd.DataFrame | None = None
                ) -> pd.DataFrame:
    """By how much a second run differs from a first one: a row a place and measure.

    Columns: level ("stage", "block"), place ("stage 4"; of blocks "SE_4_1" or "SE_4_1, SK_4_1"), stage, first_block,
    second_block, measure (of ``MEASURES``), first, second (values), difference (second − first), low, high (95 %
    interval; nan where there is none), over (what it is for, see ``Measure``), paired (whether the same classes were
    left out of both). A stage's value is the mean over its blocks, in each network over its own. Its interval in
    ``dimension`` takes the blocks' errors for one and the same, and is again too wide rather than too narrow.

    Args:
        first, second: the runs.
        zoom: of the pictures.
        table: ``curves`` of the two, called "first" and "second", where that is known already.
    """
    runs = {"first": first, "second": second}
    table = curves(runs, zoom) if table is None else table
    parts = {name: table[table["run"] == name].set_index("label") for name in runs}
    left = {name: _without_each_class(stats, zoom) for name, stats in runs.items()}
    names = [_with_pictures(stats) for stats in runs.values()]
    paired = sorted(names[0]) == sorted(names[1])
    if paired:  # in one order
        order = [names[1].index(name) for name in names[0]]
        left["second"] = {measure: {label: values[order] for label, values in of.items()}
                          for measure, of in left["second"].items()}
    pairs = align(first.blocks, second.blocks)
    places: list[tuple[str, str, int, list[str], list[str]]] = []
    for stage in dict.fromkeys(pairs["stage"].astype(int)):
        one, two = ([block.label for block in stats.blocks if block.stage == stage] for stats in (first, second))
        places.append(("stage", f"stage {stage}", stage, one, two))
    for label, other, stage in zip(pairs["first"], pairs["second"], pairs["stage"].astype(int)):
        places.append(("block", label if label == other else f"{label}, {other}", stage, [label], [other]))
    rows = []
    for level, place, stage, *labels in places:
        for measure, about in MEASURES.items():
            values = [parts[name].loc[of, measure].mean(skipna=False) for name, of in zip(runs, labels)]
            difference = values[1] - values[0]
            low, high = _interval(difference, measure, about.over, [
                (parts[name].loc[of], [left[name].get(measure, {}).get(label) for label in of])
                for name, of in zip(runs, labels)], paired)
            rows.append((level, place, stage, *(of[0] if level == "block" else "" for of in labels), measure, *values,
                         difference, low, high, about.over if low == low else NONE,
                         paired and about.over == CLASSES))
    return pd.DataFrame(rows, columns=["level", "place", "stage", "first_block", "second_block", "measure", "first",
                                       "second", "difference", "low", "high", "over", "paired"])


def _with_pictures(stats: Statistics) -> list[str]:
    return [name for name, count in zip(summaries.class_names(stats), stats.count) if count]


def _interval(difference: float, measure: str, over: str, sides: list, paired: bool) -> tuple[float, float]:
    """Of two sides, each the rows of its blocks and their values without each class."""
    if over == PICTURES:
        errors = [rows["error"].mean(skipna=False) for rows, _ in sides]
        return interval(difference, float(np.hypot(*errors)), GROUPS)
    if over == NONE or any(values is None for _, several in sides for values in several):
        return np.nan, np.nan
    one, two = (np.mean(several, axis=0) for _, several in sides)
    if paired:
        return interval(difference, float(jackknife_error(two - one)), len(one))
    error = float(np.hypot(jackknife_error(one), jackknife_error(two)))
    return interval(difference, error, min(len(one), len(two)))


def _without_each_class(stats: Statistics, zoom: float) -> dict[str, dict[str, np.ndarray]]:
    """Measure → label → its value without each class in turn, (K,); of fewer than ``FEWEST`` classes nothing."""
    there = stats.count > 0
    if there.sum() < FEWEST:
        return {}
    count = stats.count[there].astype(float)
    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in ("omega_squared", "spread", "mean")}
    for block in stats.blocks:
        for name, values in _left_out(stats, block, zoom, there, count).items():
            found[name][block.label] = values
    return found | {"beyond": _beyond_without(stats, zoom)}


def _left_out(stats: Statistics, block: AttentionBlock, zoom: float, there: np.ndarray, count: np.ndarray
              ) -> dict[str, np.ndarray]:
    """What is made of the moments by class, without each class in turn."""
    centre = stats.overall_mean(block, zoom=zoom)[-1].astype(float)
    mean = stats.mean(block, zoom)[there, -1] - centre
    within = stats.std(block, zoom)[there, -1].astype(float) ** 2 * count[:, None]
    n = (count.sum() - count)[:, None]
    sums = (count[:, None] * mean).sum(0) - count[:, None] * mean
    squares = (count[:, None] * mean ** 2).sum(0) - count[:, None] * mean ** 2
    between = squares - sums ** 2 / n
    within = within.sum(0) - within
    moving, found = summaries.moving(stats, block, -1, zoom), {}
    if moving.any():
        omega = np.empty((len(count), int(moving.sum())))
        for images in np.unique(n):
            rows = n[:, 0] == images
            omega[rows] = summaries.omega_squared(between[rows][:, moving], within[rows][:, moving], int(images),
                                                  len(count) - 1)
        if (~np.isnan(omega)).any(1).all():
            found["omega_squared"] = np.nanmedian(omega, axis=1)
    return found | {"spread": np.sqrt((between.clip(0) + within) / n).mean(1), "mean": (sums / n + centre).mean(1)}


def _beyond_without(stats: Statistics, zoom: float) -> dict[str, np.ndarray]:
    """The share of gates beyond the limits, from the rows of pictures, which compact archives have not."""
    columns = {block.label: [f"{block.label}_below", f"{block.label}_above"] for block in stats.blocks}
    if stats.metadata["compact"]:
        return {}
    rows = stats.images(["label", "look", "zoom", *(name for names in columns.values() for name in names)])
    rows = rows[(rows["look"] == "zoom") & (rows["zoom"] == zoom) & (rows["label"] >= 0)]
    shares = pd.DataFrame({label: rows[names].sum(axis=1) for label, names in columns.items()})
    sums = shares.groupby(rows["label"]).sum()
    count = rows.groupby("label").size()
    return {label: ((sums[label].sum() - sums[label]) / (count.sum() - count)).to_numpy() for label in columns}


def channel_changes(first: Statistics, second: Statistics, zoom: float = 1.0) -> pd.DataFrame:
    """Two networks of equal blocks, channel by channel: a row a block and channel.

    Columns: block, label, stage, channel, first, second (mean gate over all pictures), difference (second − first),
    correlation (of the channel's class means in the one with those in the other, over the classes that both have; nan
    where they do not vary in one of them, or fewer than three classes are common).

    Raises:
        ValueError: where the blocks are not equal.
    """
    _check_equal(first, second)
    parts = []
    for block in first.blocks:
        means = [stats.overall_mean(block.name, zoom=zoom)[-1].astype(float) for stats in (first, second)]
        one, two = _profiles(first, second, block.name, zoom)
        parts.append(pd.DataFrame({
            "block": block.name, "label": block.label, "stage": block.stage, "channel": np.arange(block.channels),
            "first": means[0], "second": means[1], "difference": means[1] - means[0],
            "correlation": (one * two).sum(0) if len(one) else np.nan}))
    return pd.concat(parts, ignore_index=True)


def profile_agreement(first: Statistics, second: Statistics, zoom: float = 1.0, draws: int = DRAWS) -> pd.DataFrame:
    """How far channels of one number do the same in two networks of equal blocks: a row a block.

    Columns: block, label, stage, channels, classes (that both have), change (mean over the channels of the mean gate's
    absolute difference), correlation (the median of ``channel_changes``), shuffled_low, shuffled_high (the least and
    the largest median over draws in which the channels of the second are dealt out anew), draws.

    Raises:
        ValueError: where the blocks are not equal.
    """
    _check_equal(first, second)
    rng, rows = np.random.default_rng(0), []
    for block in first.blocks:
        means = [stats.overall_mean(block.name, zoom=zoom)[-1].astype(float) for stats in (first, second)]
        one, two = _profiles(first, second, block.name, zoom)
        own, dealt = _middle(one, two), [_middle(one, two[:, rng.permutation(block.channels)]) for _ in range(draws)]
        rows.append((block.name, block.label, block.stage, block.channels, len(one), np.abs(means[1] - means[0]).mean(),
                     own, np.min(dealt), np.max(dealt), draws))
    return pd.DataFrame(rows, columns=["block", "label", "stage", "channels", "classes", "change", "correlation",
                                       "shuffled_low", "shuffled_high", "draws"])


def _check_equal(first: Statistics, second: Statistics) -> None:
    if not same_blocks(first.blocks, second.blocks):
        raise ValueError("the two networks have not the same blocks, by name and channels, so that their channels "
                         "cannot be compared one by one")


def _middle(one: np.ndarray, two: np.ndarray) -> float:
    correlation = (one * two).sum(0) if len(one) else np.full(1, np.nan)
    return float(np.nanmedian(correlation)) if not np.isnan(correlation).all() else np.nan


def _profiles(first: Statistics, second: Statistics, block: str, zoom: float) -> tuple[np.ndarray, np.ndarray]:
    """The class means of each channel in both, centred and at length 1, (classes, C); nan where they do not vary.

    Of fewer than three common classes none.
    """
    names = common_classes(first, second)
    found = []
    for stats in (first, second):
        place = {name: i for i, name in enumerate(summaries.class_names(stats))}
        values = stats.mean(block, zoom)[[place[name] for name in names] if len(names) > 2 else [], -1]
        values = values - values.mean(0) if len(values) else values
        length = np.linalg.norm(values, axis=0)
        smallest = summaries.smallest_scale(stats, summaries.CONSTANT) * math.sqrt(len(values))
        found.append(values / np.where(length > smallest, length, np.nan))
    return found[0], found[1]
