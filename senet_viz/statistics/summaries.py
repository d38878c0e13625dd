"""Statistics → tables (pandas): what the gates did over a data set, the numbers behind every figure of it.

Everywhere ``block`` is a block of the network, its name or its label, ``zoom`` one of ``stats.zooms``, and ``branch``
the branch whose gate is meant, counted from the end where negative: −1, the largest kernel, is enough for two branches,
which mirror each other. Of an archive with unlabelled pictures only, what goes by class is an empty table.
"""
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import cdist
from scipy.stats import beta, permutation_test, rankdata, spearmanr, t

from ..data.class_names import short_names
from ..gates import AttentionBlock
from ..reports.text import listed, number
from ..tables import HIGH, LOW
from .archive import Statistics
from .decoding import FOLDS

ALL = "all"  # the line over all classes, as the SE paper calls it
FEW = 5  # a class of fewer pictures is marked: its mean is unsure
MOST = 0.99  # the share of pictures in which a dead or an open channel is beyond LOW or HIGH
CONSTANT = 1e-6  # a standard deviation up to this is rounding in float32
SCALE = 1e-4  # below this a standard deviation is no scale for distances
COARSE = 2e-3  # below this a standard deviation is no scale for class means kept in float16, whose steps are up to 5e-4
NEGLIGIBLE = 0.01  # a difference in ω² up to this counts as none (Cohen's bound of a small effect)
STEADY = 0.5  # from this on a rank correlation with depth is called a rise or a fall, if chance seldom gives it
SURE = 0.05  # the largest p-value of what chance seldom gives
EXACT = 8  # blocks up to which a p-value is taken over all their orders, 8! = 40,320
CLASS_TOLD = ("decoded", "asked", "among")  # of ``Statistics.measures``
ORDERED = 500  # leaves up to which a dendrogram is also ordered optimally, in time ~ n³


def class_names(stats: Statistics) -> list[str]:
    """The names of all classes as ``Model.class_labels`` has them: ImageNet's by their first synonym, all different.

    A class called "all", as the line over all classes is, gets its index: "all [2]".
    """
    return [f"{name} [{i}]" if name == ALL else name for i, name in enumerate(short_names(stats.classes))]


def class_lines(stats: Statistics, block, classes: Sequence[int], *, overall: str | None = "class", branch: int = -1,
                zoom: float = 1.0) -> pd.DataFrame:
    """The mean gate of each channel for some classes and over all, the lines of the SE paper's Figs. 6 and 7.

    Columns: class (a unique name, or "all"), channel, value (mean, 0..1), std (over the class's pictures, dividing by
    their number; of "all" over class means or over pictures), error (standard error of the mean; nan below two), count
    (pictures; of "all" by class, classes with pictures), few (a class of fewer than ``FEW`` pictures).

    Args:
        stats: the statistics.
        block: whose gate.
        classes: indices, in the order in which their lines are to come; those without pictures are left out.
        overall: what "all", the last line, is the mean of: class means, as in the paper ("class"), or pictures,
            unlabelled ones too ("image"); None for no such line. By class there is none without labelled pictures.
        branch: whose gate.
        zoom: of the pictures.
    """
    mean, std, names = stats.mean(block, zoom)[:, branch], stats.std(block, zoom)[:, branch], class_names(stats)
    there = stats.count > 0
    lines = [(names[i], mean[i], std[i], int(stats.count[i]), bool(stats.count[i] < FEW)) for i in classes if there[i]]
    if overall == "class" and there.any():
        lines.append((ALL, mean[there].mean(0), mean[there].std(0), int(there.sum()), False))
    elif overall == "image":
        lines.append((ALL, stats.overall_mean(block, zoom=zoom)[branch], stats.overall_std(block, zoom)[branch],
                      stats.pictures, False))
    elif overall not in ("class", None):
        raise ValueError(f"overall is 'class', 'image' or None, not {overall!r}")
    columns = ["class", "channel", "value", "std", "error", "count", "few"]
    # std divides by n, so that the standard error of the mean, s / √n with s dividing by n − 1, is std / √(n − 1)
    parts = [pd.DataFrame({"class": name, "channel": np.arange(len(value)), "value": value, "std": spread,
                           "error": spread / np.sqrt(count - 1) if count > 1 else np.nan, "count": count, "few": few})
             for name, value, spread, count, few in lines]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def block_lines(stats: Statistics, blocks: Sequence, classes: Sequence[int], *, overall: str | None = "class",
                branch: int = -1, zoom: float = 1.0) -> pd.DataFrame:
    """``class_lines`` of several blocks, one below the other, and a column label, the block's."""
    return pd.concat([
        class_lines(stats, block, classes, overall=overall, branch=branch, zoom=zoom).assign(
            label=stats.block(block).label) for block in blocks], ignore_index=True)


def omega_squared(between, within, images: int, classes: int) -> np.ndarray:
    """The share of variance that the class accounts for, as a one-way analysis of variance estimates it (Hays, 1963).

    ω² = (SSB − (k − 1)·MSW) / (SSB + SSW + MSW) with MSW = SSW / (N − k). Unlike η² = SSB / (SSB + SSW), which is
    (k − 1) / (N − 1) on average for labels dealt at random, ω² is then about 0, and may be slightly negative.

    Args:
        between: sums of squares between classes, SSB, of any shape.
        within: and within them, SSW.
        images: N, labelled pictures.
        classes: k, classes with pictures.

    Returns:
        An array, at most 1; nan where nothing varies, and throughout if k < 2 or N ≤ k.
    """
    between, within = np.asarray(between, float), np.asarray(within, float)
    if classes < 2 or images <= classes:
        return np.full_like(between, np.nan)
    error = within / (images - classes)
    varies = _varies(between, within, images)
    return np.where(varies, (between - (classes - 1) * error) / np.where(varies, between + within + error, 1), np.nan)


def unrelated(share: float, images: int, classes: int) -> float:
    """A quantile of one channel's ω² for labels that have nothing to do with it, whose η² is Beta((k−1)/2, (N−k)/2).

    Args:
        share: 0..1.
        images, classes: N and k, as of ``omega_squared``.
    """
    eta = beta.ppf(share, (classes - 1) / 2, (images - classes) / 2)
    return float(omega_squared(eta, 1 - eta, images, classes))


def median_omega_squared(stats: Statistics, block, branch: int = -1, zoom: float = 1.0) -> float:
    """ω² of the median channel that is not dead, open or constant; nan where there is none, or it is not defined."""
    between, within = (part[branch] for part in stats.variance(block, zoom=zoom))
    omega = omega_squared(between, within, *labelled(stats))[moving(stats, block, branch, zoom)]
    return float(np.nanmedian(omega)) if (~np.isnan(omega)).any() else np.nan


def specificity(stats: Statistics, branch: int = -1, zoom: float = 1.0) -> pd.DataFrame:
    """How class-specific the channels of each block are, and the controls: a row a block and source of ``stats``.

    Columns: block, label, stage, index, source ("gate", or a control as in ``Statistics.variance``), channels (how many
    the quantiles are over), dead, open, constant (how many were left out as such), and q05, q25, median, q75, q95, mean
    of ω² over the channels; nan where none is left, or ω² is not defined (see ``omega_squared``). From the sampled
    pictures, nan where the statistics have none: rank (the median over the channels of ω² of ranks, in which a few
    outliers weigh no more than others), decoded (the share of pictures whose class is told from all channels together,
    0..1, see ``senet_viz.statistics.decoding``), asked and among (how many pictures that is a share of, and how many
    classes they have). Of random weights that were drawn several times all of these
    are means over the draws, and low and high are the least and largest median among them; elsewhere both are median.
    draws is how many there were.

    A channel is dead when its gate is under .05 in at least 99 % of all pictures and above −.05 in all of them, open
    when it is over .95 in as many, and constant when it is neither and does not vary. "gate" and "shuffled" leave out
    all three by the gate's state; "squeeze" and "random" only channels that are constant themselves.
    """
    rows = []
    images, classes = labelled(stats)
    for block in stats.blocks:
        states = channel_states(stats, block, branch, zoom)
        for source in stats.sources:
            draws = pd.DataFrame([
                _specificity(stats, block, source, branch, zoom, draw, states, images, classes)
                for draw in range(stats.draws if source == "random" else 1)])
            rows.append({"block": block.name, "label": block.label, "stage": block.stage, "index": block.index,
                         "source": source} | draws.mean().to_dict()
                        | {"low": draws["median"].min(), "high": draws["median"].max(), "draws": len(draws)})
    counts = ["channels", "dead", "open", "constant"]
    table = pd.DataFrame(rows)
    return table.astype(dict.fromkeys(counts, int)) if rows else table


def _specificity(stats: Statistics, block: AttentionBlock, source: str, branch: int, zoom: float, draw: int,
                 states: tuple[np.ndarray, ...], images: int, classes: int) -> dict[str, float]:
    """What ``specificity`` tells of one block and source, of one draw."""
    dead, opened, constant = states
    nobody = np.zeros_like(dead)
    # the squeezed input has no branches
    between, within = (part[0 if source == "squeeze" else branch]
                       for part in stats.variance(block, source, zoom, draw))
    looked, still = ~np.isnan(between), ~_varies(between, within, images) & (images > 0)
    out = [dead, opened, (constant | still) & ~dead & ~opened] if source in ("gate", "shuffled") else [
        nobody, nobody, still]
    kept = looked & ~np.any(out, axis=0)
    omega = omega_squared(between, within, images, classes)[kept]
    omega = omega[~np.isnan(omega)]
    found = {"channels": len(omega)} | {
        name: int((which & looked).sum()) for name, which in zip(("dead", "open", "constant"), out)} | _quantiles(omega)
    if source == "shuffled" or not stats.tells("rank"):
        return found | {"rank": np.nan} | dict.fromkeys(CLASS_TOLD, np.nan)
    ranks = stats.rank_specificity(block, source, branch, zoom, draw)[kept]
    told = stats.measures(block, source, branch, zoom, draw)
    return found | {"rank": float(np.nanmedian(ranks)) if (~np.isnan(ranks)).any() else np.nan} | {
        name: told[name] for name in CLASS_TOLD}


def depth_findings(stats: Statistics, table: pd.DataFrame) -> list[str]:
    """What ``specificity`` found, in sentences (Markdown: block labels are bold) whose claims follow from its numbers.

    They go by the size of effects beside the controls, not by p-values, which thousands of pictures make small for any
    difference; differences in ω² count as none up to ``NEGLIGIBLE`` or what chance gives a channel in one of
    twenty cases, and beside a control negative ω² counts as 0. A rise or fall with depth is one of the blocks, of which
    there are few: it takes a rank correlation of ``STEADY`` that blocks in random order seldom have. Blocks of which
    there is no number are named, with the reason.

    Args:
        stats: the statistics.
        table: ``specificity(stats)``; sources that it lacks are said to be missing.
    """
    images, classes = labelled(stats)
    if classes < 2 or images <= classes:
        return [f"How class-specific the gates are cannot be told from {number(images, 'labelled picture')} of "
                f"{number(classes, 'class', 'classes')}: that takes at least two classes and more pictures than "
                "classes."]
    rows = {str(source): part.set_index("label") for source, part in table.groupby("source", sort=False)}
    gate, median = rows["gate"], rows["gate"]["median"].dropna()
    found = []
    if median.empty:
        found.append("How class-specific the gates are cannot be told: every channel is dead, open or constant.")
    else:
        above, chance = _beside_chance(gate["median"], rows.get("shuffled"), images, classes)
        found += [chance, *_left_out(gate)]
        if above.any():  # what is said of noise would be noise
            margin = max(NEGLIGIBLE, unrelated(0.95, images, classes))
            found += [_range(median, margin), *_depth(median, gate["stage"], margin),
                      *_controls(median, rows, margin), *_decoded(rows, stats.count, *_asked(stats, rows["gate"]))]
    found.append(_saturated(gate))
    few = int(((stats.count > 0) & (stats.count < FEW)).sum())
    if few:
        found.append(f"{few} of {number(classes, 'class', 'classes')} {'has' if few == 1 else 'have'} fewer than "
                     f"{FEW} pictures (the smallest has {stats.count[stats.count > 0].min()}): "
                     f"{'its mean is' if few == 1 else 'their means are'} unsure.")
    return found


def saturation(stats: Statistics, branch: int = -1, zoom: float = 1.0) -> pd.DataFrame:
    """How far the gates of each block are open, over all pictures, unlabelled ones too: a row a block.

    Columns: block, label, stage, channels, dead, open, constant (counts of channels, as in ``specificity``), below and
    above (share of all pairs of channel and picture with a gate under .05 and over .95, in 0..1), mean (gate, 0..1).
    """
    rows = []
    for block in stats.blocks:
        states, (below, above) = channel_states(stats, block, branch, zoom), _tails(stats, block, branch, zoom)
        rows.append({"block": block.name, "label": block.label, "stage": block.stage, "channels": block.channels}
                    | {name: int(which.sum()) for name, which in zip(("dead", "open", "constant"), states)}
                    | {"below": below.mean(), "above": above.mean(),
                       "mean": float(stats.overall_mean(block, zoom=zoom)[branch].mean(dtype=float))})
    return pd.DataFrame(rows)


def dimension(stats: Statistics, branch: int = -1, zoom: float = 1.0) -> pd.DataFrame:
    """In how many directions the channels of each block move from picture to picture: a row a block and source.

    Columns: block, label, stage, index, source ("gate"; "squeeze", the input z that it is made of; "random", the gate
    of the same network with random weights, where the run looked at it), channels, images (the sampled pictures), and
    as in ``Statistics.measures`` dimension (the participation ratio of the covariance over pictures: 1 where all
    channels are one number, up to their number), error (its standard error), first (share of the variance along the
    first direction, 0..1), redundancy (mean squared correlation of two channels), tail (share of the variance that 1 %
    of the pictures hold), classes (effective number of classes that the variance between classes is spread over),
    trimmed (the dimension without those 1 %) and decoded (the share of pictures whose class is told from it, 0..1).
    nan where the pictures are too few to tell, or nothing moves. Of random weights that were drawn several times these
    are means over the draws, and the error is that of one draw: it holds how they differ, too.

    Raises:
        ValueError: for statistics without a sample of pictures.
    """
    sources = [source for source in ("gate", "squeeze", "random") if source in stats.sources]
    return pd.DataFrame([
        {"block": block.name, "label": block.label, "stage": block.stage, "index": block.index, "source": source,
         "channels": block.channels, "images": stats.sampled} | _measures(stats, block, source, branch, zoom)
        for block in stats.blocks for source in sources])


def _measures(stats: Statistics, block: AttentionBlock, source: str, branch: int, zoom: float) -> dict[str, float]:
    """What is told of a gate; of several draws the means."""
    draws = pd.DataFrame([stats.measures(block, source, branch, zoom, draw)
                          for draw in range(stats.draws if source == "random" else 1)])
    found = draws.mean()
    if len(draws) > 1:
        found["error"] = np.sqrt((draws["error"] ** 2).mean() + draws["dimension"].var())
    return {str(name): float(value) for name, value in found.items()}


def hidden_units(stats: Statistics, zoom: float = 1.0) -> pd.DataFrame:
    """The hidden layers of the blocks that have one: a row a block.

    Columns: block, label, units, alive (above zero in 1 to 99 % of the sampled pictures), effective (their effective
    number by what each adds to the gate before its activation).

    Raises:
        ValueError: for statistics without a sample of pictures.
    """
    rows = [{"block": block.name, "label": block.label} | found for block in stats.blocks
            if (found := stats.hidden(block, zoom))]
    table = pd.DataFrame(rows, columns=["block", "label", "units", "alive", "effective"])
    return table.astype({"units": int, "alive": int, "effective": float})


def beyond(stats: Statistics, blocks: Sequence | None = None, branch: int = -1, zoom: float = 1.0) -> str:
    """Which of some blocks (all when None) have gates outside 0..1, in sentences (Markdown); "" where none has.

    Their histograms, and with them the shares and counts of ``saturation``, have such values in the outer bins.
    """
    ranges = pd.DataFrame([(block.label, float(stats.overall_min(block, zoom)[branch].min()),
                            float(stats.overall_max(block, zoom)[branch].max()))
                           for block in map(stats.block, stats.blocks if blocks is None else blocks)],
                          columns=["label", "low", "high"]).set_index("label")
    which = (ranges["low"] < -CONSTANT) | (ranges["high"] > 1 + CONSTANT)
    if not which.any():
        return ""
    return (f"The gates of {named(which)} lie outside 0..1 in part, from {ranges['low'][which].min():.3g} to "
            f"{ranges['high'][which].max():.3g}. Their outer bins have the values beyond too, so that there a gate "
            f"under {LOW:g} need not be closed, nor one over {HIGH:g} saturated.")


def selective_channels(stats: Statistics, block, top: int = 20, branch: int = -1, zoom: float = 1.0) -> pd.DataFrame:
    """The channels of a block whose gate depends most on the class, the highest ω² first (nan, a constant one's, last).

    Columns: channel, omega_squared, highest (the class with the highest mean gate), highest_mean, lowest, lowest_mean
    (0..1), std (of the gate within classes, √(SSW / N)).
    """
    columns = ["channel", "omega_squared", "highest", "highest_mean", "lowest", "lowest_mean", "std"]
    images, classes = labelled(stats)
    if not images:
        return pd.DataFrame(columns=columns)
    between, within = (part[branch] for part in stats.variance(block, zoom=zoom))
    means = _means(stats, block, branch, zoom)
    return pd.DataFrame({
        "channel": means.columns, "omega_squared": omega_squared(between, within, images, classes),
        "highest": means.idxmax().to_numpy(), "highest_mean": means.max().to_numpy(),
        "lowest": means.idxmin().to_numpy(), "lowest_mean": means.min().to_numpy(),
        "std": np.sqrt(within / images),
    }).sort_values("omega_squared", ascending=False, kind="stable").head(top).reset_index(drop=True)


def best_by_chance(stats: Statistics, block) -> float:
    """What the highest ω² of all channels of a block stays under 19 times out of 20, for labels dealt at random.

    nan where ω² is not defined.
    """
    return unrelated(1 - SURE / stats.block(block).channels, *labelled(stats))


def channel_classes(stats: Statistics, block, channel: int, branch: int = -1, zoom: float = 1.0) -> pd.DataFrame:
    """One channel's gate in each class that has pictures, the highest mean first.

    Columns: class, mean, std (over the class's pictures, dividing by their number), count (pictures), few (fewer than
    ``FEW``).
    """
    table = pd.DataFrame({
        "class": class_names(stats), "mean": stats.mean(block, zoom)[:, branch, channel],
        "std": stats.std(block, zoom)[:, branch, channel], "count": stats.count, "few": stats.count < FEW})
    return table[stats.count > 0].sort_values("mean", ascending=False, kind="stable").reset_index(drop=True)


def channel_histogram(stats: Statistics, block, channel: int, branch: int = -1, zoom: float = 1.0) -> pd.DataFrame:
    """How one channel's gate is distributed over all pictures: left, right (edges of a bin, in 0..1), count."""
    count = stats.histogram(block, zoom)[branch, channel]
    edges = np.linspace(0, 1, len(count) + 1)
    return pd.DataFrame({"left": edges[:-1], "right": edges[1:], "count": count})


def separating_channels(stats: Statistics, block, first: int, second: int, top: int = 20, branch: int = -1,
                        zoom: float = 1.0) -> pd.DataFrame:
    """The channels of a block whose gates tell two classes apart best, the largest |d| first (nan last).

    Columns: channel, first, second (mean gates, 0..1), difference (second − first), d (Cohen's: the difference over the
    pooled standard deviation within the two classes, each dividing by n − 1). d is nan for a class of fewer than two
    pictures and for a channel that does not vary within the classes; in a compact archive also for one that varies by
    less than ``COARSE``, where d would be made of the rounding of the means.
    """
    pair = [first, second]
    mean, std, count = stats.mean(block, zoom)[pair, branch], stats.std(block, zoom)[pair, branch], stats.count[pair]
    difference, d = mean[1] - mean[0], np.full(mean.shape[1], np.nan)
    if count.min() > 1:
        pooled = np.sqrt(count @ std ** 2 / (count.sum() - 2))
        varies = pooled > smallest_scale(stats, CONSTANT)
        d[varies] = difference[varies] / pooled[varies]
    return pd.DataFrame({
        "channel": np.arange(len(d)), "first": mean[0], "second": mean[1], "difference": difference, "d": d,
    }).sort_values("d", key=abs, ascending=False, kind="stable").head(top).reset_index(drop=True)


def farthest_by_chance(stats: Statistics, block, first: int, second: int) -> float:
    """What the largest |d| of all channels of a block stays under 19 times out of 20, for classes that do not differ.

    d over √(1 / n + 1 / m) is then Student's t with n + m − 2 degrees of freedom. nan for a class of fewer than two.
    """
    count = stats.count[[first, second]]
    if count.min() < 2:
        return np.nan
    largest = t.ppf(1 - SURE / 2 / stats.block(block).channels, count.sum() - 2)
    return float(largest * np.sqrt((1 / count).sum()))


def heat_map(stats: Statistics, block, channels: Sequence[int] | None = None, *, centred: bool = True,
             clustered: bool = True, branch: int = -1, zoom: float = 1.0) -> pd.DataFrame:
    """Mean gates by class: a row a class that has pictures (index: its name), a column a channel (its number).

    Args:
        stats: the statistics.
        block: whose gate.
        channels: which; all when None.
        centred: subtract each channel's mean over the classes.
        clustered: bring classes of like gates beside each other, and channels that go together over the classes
            (average linkage; Euclidean distance, of channels after scaling, so that it goes by their correlation).
        branch: whose gate.
        zoom: of the pictures.
    """
    table = _means(stats, block, branch, zoom)
    if channels is not None:
        table = table[list(channels)]
    deviation = table - table.mean()
    if clustered:
        spread = deviation.std(ddof=0)
        # what hardly varies would be scaled up to mere rounding; at 0 it lies between what rises and what falls
        scaled = deviation / spread.where(spread > smallest_scale(stats, CONSTANT), np.inf)
        order = _leaves(deviation.to_numpy()), _leaves(scaled.to_numpy().T)
        table, deviation = table.iloc[order], deviation.iloc[order]
    return deviation if centred else table


def heat_map_cells(table: pd.DataFrame) -> pd.DataFrame:
    """A heat map as a long table: class, channel, value; a row a cell, channel by channel."""
    return table.reset_index().melt("class", var_name="channel")


def nearest_classes(stats: Statistics, gates: Mapping[str, Mapping[str, np.ndarray]], top: int = 3, zoom: float = 1.0,
                    ) -> pd.DataFrame:
    """The classes whose mean gates are nearest to those of single pictures, block by block.

    Columns: picture, block, label, stage, rank (from 1), class, distance: the root mean square over channels (of all
    branches) of (g − class mean) / s, where s is the channel's pooled standard deviation within classes,
    √(SSW / (N − k)). Over the pictures behind the statistics the root mean square of the distance from their own class
    is thus √((N − k) / N), about 1; the mean is smaller, the more so where a few pictures are far from their class.
    Channels with s under ``SCALE`` are left out (under ``COARSE`` in a compact archive of means in float16). No rows
    come of a block without others, or where there are no more labelled pictures than classes, for want of s. hits is
    the share of the sampled pictures of the data set, 0..1, to which their own class is the nearest; nan where that was
    not measured.

    Args:
        stats: of the network that the gates are of.
        gates: picture → block name → (M, C).
        top: classes a picture and block.
        zoom: of the pictures behind the statistics.
    """
    columns = ["picture", "block", "label", "stage", "rank", "class", "distance", "hits"]
    images, classes = labelled(stats)
    there, rows = stats.count > 0, []
    names = np.array(class_names(stats), dtype=object)[there]
    for block in stats.blocks if images > classes and gates else ():
        std = np.sqrt(stats.variance(block, zoom=zoom)[1].astype(float).ravel() / (images - classes))
        kept = std >= smallest_scale(stats, SCALE)
        if kept.any():
            means = stats.mean(block, zoom)[there].reshape(classes, -1)
            pictures = np.stack([np.ravel(of[block.name]) for of in gates.values()])
            distance = cdist(pictures[:, kept] / std[kept], means[:, kept] / std[kept]) / np.sqrt(kept.sum())
            nearest = distance.argsort(axis=1, kind="stable")[:, :top]
            hits = stats.measures(block, zoom=zoom)["nearest"] if stats.sampled else np.nan
            rows += [(picture, block.name, block.label, block.stage, rank, names[i], distance[p, i], hits)
                     for p, picture in enumerate(gates) for rank, i in enumerate(nearest[p], 1)]
    table = pd.DataFrame(rows, columns=columns)
    order = table["picture"].map({picture: i for i, picture in enumerate(gates)})
    return table.iloc[order.argsort(kind="stable")].reset_index(drop=True)


def by_chance(counts: np.ndarray) -> str:
    """The share of pictures whose class is told by chance, in words.

    One over the number of classes where these are equally large. Otherwise noise is taken more often for a large class,
    whose mean is less unsure, and the share is up to that of the largest one, which naming it each time would give.

    Args:
        counts: pictures of each class.
    """
    low, high = f"{1 / len(counts):.1%}", f"{counts.max() / counts.sum():.1%}"
    return low if low == high else f"{low} to {high}, the share of the largest class"


def labelled(stats: Statistics) -> tuple[int, int]:
    """N, labelled pictures, and k, classes with pictures."""
    return int(stats.count.sum()), int((stats.count > 0).sum())


def _varies(between: np.ndarray, within: np.ndarray, images: int) -> np.ndarray:
    return between + within > images * CONSTANT ** 2


def smallest_scale(stats: Statistics, smallest: float) -> float:
    """The smallest standard deviation by which differences of class means may be divided."""
    return COARSE if stats.metadata["compact"] and not stats.fine else smallest


def _tails(stats: Statistics, block, branch: int, zoom: float) -> tuple[np.ndarray, np.ndarray]:
    """The share of pictures in which each channel's gate is under LOW and over HIGH, (C,) each."""
    histogram = stats.histogram(block, zoom)[branch]
    low, high = (round(edge * histogram.shape[1]) for edge in (LOW, HIGH))
    return tuple(part.sum(1) / histogram.sum(1) for part in (histogram[:, :low], histogram[:, high:]))


def channel_states(stats: Statistics, block, branch: int, zoom: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which channels are dead, open, and constant without being either, (C,) each."""
    dead, opened = (share >= MOST for share in _tails(stats, block, branch, zoom))
    dead &= stats.overall_min(block, zoom)[branch] > -LOW  # a gate far below 0 turns its channel round
    return dead, opened, (stats.overall_std(block, zoom)[branch] <= CONSTANT) & ~dead & ~opened


def moving(stats: Statistics, block, branch: int, zoom: float) -> np.ndarray:
    """Which channels are not dead, open or constant, (C,)."""
    return ~np.logical_or.reduce(channel_states(stats, block, branch, zoom))


def _quantiles(values: np.ndarray) -> dict[str, float]:
    names = ["q05", "q25", "median", "q75", "q95", "mean"]
    if not len(values):
        return dict.fromkeys(names, np.nan)
    return dict(zip(names, [*np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95)).tolist(), float(values.mean())]))


def _means(stats: Statistics, block, branch: int, zoom: float) -> pd.DataFrame:
    """Class means: a row a class that has pictures, a column a channel."""
    there = stats.count > 0
    names = pd.Index(np.array(class_names(stats), dtype=object)[there], name="class")
    return pd.DataFrame(stats.mean(block, zoom)[there, branch], names).rename_axis(columns="channel")


def _leaves(rows: np.ndarray) -> np.ndarray:
    """An order that brings like rows beside each other."""
    if len(rows) < 3 or not rows.size:
        return np.arange(len(rows))
    return leaves_list(linkage(rows, "average", optimal_ordering=len(rows) <= ORDERED))


def _range(median: pd.Series, margin: float) -> str:
    """Where ω² is smallest and largest; under 0 it is none at all."""
    median = median.clip(0)
    low, high = str(median.idxmin()), str(median.idxmax())
    if median[high] <= margin:
        return (f"But the class accounts for little in any block: the median channel's ω² is at most "
                f"{median[high]:.3f} (**{high}**).")
    if len(median) == 1:
        return f"In **{high}** the class accounts for {_decimal(median[high])} of the median channel's variance (ω²)."
    if median[high] - median[low] <= margin:
        return (f"The {len(median)} blocks differ by no more than {margin:.2g}: the median channel's ω² is "
                f"{_decimal(median[low])} (**{low}**) to {_decimal(median[high])} (**{high}**).")
    return (f"The class accounts for most in **{high}**, where the median channel's ω² is {_decimal(median[high])}, "
            f"and for least in **{low}** ({_decimal(median[low])}): {_decimal(median[high] - median[low])} apart.")


def _depth(median: pd.Series, stage: pd.Series, margin: float) -> list[str]:
    """Whether ω² goes with the order of blocks, where it is not about the same in all."""
    count = len(median)
    if count < 3 or median.max() - median.min() <= margin:
        return []
    if 2 / math.factorial(count) > SURE:
        return [f"Whether it rises or falls with depth cannot be told from {count} blocks: those in random order all "
                f"rise, or all fall, in 1 of {math.factorial(count) // 2} cases."]
    correlation, p = trend(median)
    cases = "under 1%" if p < 0.01 else f"{p:.0%}"
    beside = (f"its rank correlation with the order of the {count} blocks (Spearman) is "
              f"{_decimal(correlation, sign=True)}; blocks in random order have as much, up or down, in {cases} of "
              "cases.")
    if abs(correlation) < STEADY:
        return [f"With depth the median ω² neither rises nor falls steadily: {beside}"]
    if p > SURE:
        return [f"Whether the median ω² rises or falls with depth cannot be told: {beside}"]
    steady, stages = _by_stage(median, stage, correlation > 0)
    verb = ("rises" if correlation > 0 else "falls") + " on the whole" * (not steady)
    return [f"With depth the median ω² {verb}: {beside}{stages}{_within_stages(median, stage, correlation > 0)}"]


def _by_stage(median: pd.Series, stage: pd.Series, rises: bool) -> tuple[bool, str]:
    """Whether the stages' means go the way of the trend at each step, and a sentence on them; "" of one stage."""
    means = median.groupby(stage.loc[median.index], sort=False).mean()
    if len(means) < 2:
        return True, ""
    steps = list(zip(means.index, means.index[1:]))
    off = [f"stage {before} to {after}" for before, after in steps
           if means[after] == means[before] or (means[after] > means[before]) != rises]
    verb = "rises" if rises else "falls"
    where = (f"in each of {len(steps)} steps" if len(steps) > 1 else "from the one to the other") if not off else (
        f"in {len(steps) - len(off)} of {number(len(steps), 'step')}, not from {listed(off, 'nor')}")
    return not off, (f" The mean of each stage's blocks, {listed(f'{mean:.3f}' for mean in means)} in stages "
                     f"{listed(means.index)}, {verb} {where}.")


def _within_stages(median: pd.Series, stage: pd.Series, rises: bool) -> str:
    """What is to be said where most blocks of one stage go against the trend over all; else "".

    A stage of wider blocks may have a higher ω² as a whole.
    """
    pairs = [after - before for _, part in median.groupby(stage.loc[median.index], sort=False)
             for before, after in itertools.combinations(part, 2)]
    along = sum((change > 0) == rises for change in pairs if change)
    if 2 * along >= len(pairs):
        return ""
    verb = "rises" if rises else "falls"
    return f" Within stages it {verb} from the earlier to the later block in {along} of {len(pairs)} pairs."


def trend(values: Sequence[float] | pd.Series) -> tuple[float, float]:
    """Spearman's rank correlation of values with their order, and how often a random order has as much, up or down.

    That p-value is exact, over all orders, for up to ``EXACT`` values, and by the t distribution above. Of n values it
    is at least 2 / n!: of four or fewer no trend can be told at .05.

    Returns:
        Both nan where the values are all the same, or fewer than two.
    """
    if len(values) < 2 or np.ptp(values) == 0:
        return np.nan, np.nan
    order = np.arange(len(values)) - (len(values) - 1) / 2
    correlation, p = map(float, spearmanr(order, values))
    if len(values) <= EXACT:
        p = float(permutation_test((rankdata(values),), lambda ranks, axis: (ranks * order).sum(axis), vectorized=True,
                                   permutation_type="pairings", n_resamples=np.inf).pvalue)
    return correlation, p


def _controls(median: pd.Series, rows: dict[str, pd.DataFrame], margin: float) -> list[str]:
    """The gate beside random weights and its own input."""
    found, missing = [], []
    draws = int(rows["random"]["draws"].iloc[0]) if "random" in rows else 1
    drawn = "once" if draws == 1 else f"{draws} times"
    for source, words, more in (
            ("random", f"the same network with random weights, drawn {drawn}",
             "Another draw of the weights may give other numbers." if draws == 1 else
             "What lies within the range of the draws counts as being as much; differences are from the end of that "
             "range that is nearer."),
            ("squeeze", "its own squeezed input z",
             "These are shares of variance, not of what can be known: a gate computed from z alone holds no more about "
             "the class than z does.")):
        control = rows.get(source)
        if control is None or control["median"].reindex(median.index).isna().all():
            missing.append({"random": "random weights", "squeeze": "the squeezed input z"}[source])
            continue
        # ω² under 0 is 0: no class-specificity at all, of which there is no more or less
        gate, low, high = median.clip(0), *(control[name].reindex(median.index).clip(0) for name in ("low", "high"))
        difference = (gate - gate.clip(low, high)).where(low.notna())
        found.append(f"Beside {words}, {_tally(difference, margin)}. {more}")
        if source == "squeeze" and (ranks := _ranked(rows, margin)):
            found[-1] += f" {ranks}"
    if missing:
        found.append(f"There is no comparison with {' or '.join(missing)}: the run had no such control.")
    return found


def _ranked(rows: dict[str, pd.DataFrame], margin: float) -> str:
    """Gate and input once more, by ranks; "" where there are none."""
    difference = (rows["gate"]["rank"].clip(0) - rows["squeeze"]["rank"].clip(0)).dropna()
    if difference.empty:
        return ""
    more, less = int((difference > margin).sum()), int((difference < -margin).sum())
    count = len(difference)
    where = _word(more, less, margin) if count == 1 else f"more in {more} and less in {less} of {count} blocks"
    return f"By ranks, in which a few outlying pictures weigh no more than others, it is {where}."


def _asked(stats: Statistics, gate: pd.DataFrame) -> tuple[int, int]:
    """Of how many pictures a classifier was asked for the class, and how many classes these have."""
    if "asked" in gate and (counts := gate[["asked", "among"]].dropna()).size:
        asked, among = counts.iloc[0]
        return int(asked), int(among)
    if stats.sampled < stats.metadata["images"]:  # earlier archives do not tell which classes have enough of the sample
        return stats.sampled, int((stats.count > 0).sum())
    enough = stats.count >= FOLDS
    return int(stats.count[enough].sum()), int(enough.sum())


def _decoded(rows: dict[str, pd.DataFrame], count: np.ndarray, sampled: int, among: int) -> list[str]:
    """Of how many pictures the class is told from the gate, and of how many from its input.

    Args:
        rows: of each source.
        count: pictures of each class.
        sampled, among: see ``_asked``.
    """
    if "squeeze" not in rows:
        return []
    gate, given = rows["gate"]["decoded"], rows["squeeze"]["decoded"]
    both = gate.notna() & given.notna() & rows["gate"]["median"].notna()  # a gate that does not vary tells nothing
    gate, given = gate[both], given[both]
    if gate.empty:
        return []
    fewer = among < (count > 0).sum()
    least = f" Only classes of {FOLDS} sampled pictures or more are asked for, {among:,}." if fewer else ""
    level = (gate + given) / 2
    margin = 2 * np.sqrt(2 * level * (1 - level) / sampled)  # two standard errors of a difference of shares
    more, less = int((given - gate > margin).sum()), int((gate - given > margin).sum())

    def of(shares: pd.Series) -> str:
        low, high = (f"{share:.1%}" for share in (shares.min(), shares.max()))
        return low if low == high else f"{low} to {high}"

    beyond = (f"From z more are told in {more} of {number(len(gate), 'block')}, from the gate more in {less} (by over "
              "two standard errors).") if len(gate) > 1 else (
        f"From {'z' if more else 'the gate'} more are told, by over two standard errors." if more or less else
        "They are apart by no more than two standard errors.")
    return [f"How much of the class each of them holds: a linear classifier that looks at all channels tells the "
            f"class of {of(given)} of {sampled:,} pictures from z, and of {of(gate)} from the gate; chance is "
            f"{by_chance(np.sort(count)[-among:])}.{least} {beyond}"]


def _word(more: int, less: int, margin: float) -> str:
    """How the one block compares."""
    return "more" if more else "less" if less else f"as much (within {margin:.2g})"


def _tally(difference: pd.Series, margin: float) -> str:
    """In how many blocks the class accounts for more of the gate than of a control; nan where there is none."""
    told = difference.dropna()
    more, less = int((told > margin).sum()), int((told < -margin).sum())
    unknown = difference.isna()
    if len(difference) == 1:
        value = float(told.iloc[0])
        # where two decimals would hide that it is beyond the margin, or not, there are three
        close = (abs(round(value, 2)) > round(margin, 3)) != (abs(value) > margin)
        return (f"the class accounts for {_word(more, less, margin)} of the median channel's variance (difference of "
                f"ω² {f'{value:+.3f}' if close else _decimal(value, sign=True)})")
    return (f"the class accounts for more of the median channel's variance in {more}, for less in {less} and for as "
            f"much (within {margin:.2g}) in {len(told) - more - less} of {number(len(told), 'block')} (median "
            f"difference of ω² {_decimal(told.median(), sign=True)})"
            + (f"; in {named(unknown)} the control does not vary" if unknown.any() else ""))


def _beside_chance(gate: pd.Series, shuffled: pd.DataFrame | None, images: int, classes: int) -> tuple[pd.Series, str]:
    """In which blocks the gate is more class-specific than it would be by chance, and sentences that say so.

    Of blocks without a number, nan, nothing is said but that they are not among those.
    """
    labels, gate = gate.index, gate.dropna()
    told = "" if len(gate) == len(labels) else " of which it can be told"
    # the labels were dealt out once, and channels that go together err together: all of a block may lie high or low by
    # chance. So the bound is not let under what is known of unrelated labels, for as many blocks as are looked at
    known = unrelated(1 - 0.05 / len(gate), images, classes)
    bound = gate * 0 + known
    if shuffled is not None:
        bound = shuffled["q95"].reindex(gate.index).fillna(known).clip(known)
    above, one = gate > bound, len(gate) == 1
    every = f"**{gate.index[0]}**, the only block{told}," if one else "both blocks" if len(gate) == 2 else (
        f"all {len(gate)} blocks")
    names, others = (named(which.reindex(labels, fill_value=False)) for which in (above, ~above))
    chance = (f"By chance, with labels dealt at random to {number(images, 'picture')} of {classes:,} classes, it "
              f"would be at most {known:.3f}{'' if one else f' in {every}'}, 19 times out of 20"
              + ("" if shuffled is None else "; where the same gates gave more with shuffled labels, that counts as "
                                             "chance") + ".")
    if above.all():
        return above, (f"In {every}{'' if one else told} the gate's median ω² is above chance"
                       f"{'' if one else f': {names}'}. {chance}")
    if one:
        return above, f"In {every} the gate's median ω² is not above chance. {chance}"
    if not above.any():
        return above, f"In none of {len(gate)} blocks{told} is the gate's median ω² above chance. {chance}"
    return above, (f"In {above.sum()} of {len(gate)} blocks{told} the gate's median ω² is above chance: {names}; in "
                   f"{others} it is not. {chance}")


def _left_out(gate: pd.DataFrame) -> list[str]:
    """The blocks without a channel of which ω² could be told, and why."""
    gone = gate[gate["median"].isna()]
    if gone.empty:
        return []
    parts = []
    for label, row in gone.iterrows():
        counts = {name: int(row[name]) for name in ("dead", "open", "constant") if row[name]}
        parts.append(f"**{label}**, whose {number(sum(counts.values()), 'channel')} " + (
            f"{'is' if sum(counts.values()) == 1 else 'are all'} {next(iter(counts))}" if len(counts) == 1 else
            "are " + " or ".join(f"{name} ({count:,})" for name, count in counts.items())))
    return [f"Of the network's {len(gate)} blocks there is no number of {'; '.join(parts)}."]


def _saturated(gate: pd.DataFrame) -> str:
    counts = gate[["dead", "open", "constant"]].sum()
    beyond, whole = gate[["dead", "open", "constant"]].sum(axis=1), counts.sum() + gate["channels"].sum()
    if not counts.sum():
        return f"None of {whole:,} channels is dead, open or constant."
    most = "" if len(gate) == 1 else f"; the most of one block are in **{beyond.idxmax()}**: {beyond.max():,}"
    return (f"Of {whole:,} channels {counts['dead']:,} {'is' if counts['dead'] == 1 else 'are'} dead (under {LOW:g} in "
            f"{MOST:.0%} of the pictures or more), {counts['open']:,} open (over {HIGH:g}) and {counts['constant']:,} "
            f"constant between{most}. They are left out of ω².")


def named(which: pd.Series) -> str:
    """The labels of some blocks, runs of them shortened: "**SE_2_1** to **SE_3_4**, **SE_5_1**"."""
    run = (which != which.shift()).cumsum()
    parts = []
    for _, part in which[which].groupby(run[which]):
        first, last = part.index[0], part.index[-1]
        parts.append(f"**{first}**" if len(part) == 1
                     else f"**{first}**{',' if len(part) == 2 else ' to'} **{last}**")
    return ", ".join(parts)


def _decimal(value: float, sign: bool = False) -> str:
    """Two decimals; zero has no sign."""
    value = round(float(value), 2) + 0.0
    return f"{value:{'+' if sign and value else ''}.2f}"
