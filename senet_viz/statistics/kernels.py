"""Which kernel a selective-kernel network chooses as objects grow, over a data set: Statistics → tables (pandas).

Figs. 3 and 4 of the SK paper (Li et al., arXiv 1903.06586), and beside them the controls that it lacks. A unit is a
block that weighs branches; its difference is the mean over channels of the largest kernel's weight minus the
smallest's, in −1..1. Everything comes from the rows of pictures. A network without units has empty tables.
"""
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import spearmanr, t

from ..gates import AttentionBlock
from ..tables import beyond, kernel_name, panels
from .archive import Statistics
from .summaries import FEW, _named, _number, class_names

# A change of the difference below this counts as none, however sure: it is a thousandth of its range, −1..1, and less
# than half of the smallest change that the paper shows, .0045 in SK_2_3.
NEGLIGIBLE = 0.002
CONFIDENCE = 0.95
CONTROLS = {"blur": "the same blur without the zoom", "elsewhere": "as large a crop elsewhere"}
PUBLISHED = {"SK_2_3": (-0.069, -0.0645), "SK_3_4": (-0.043, -0.028), "SK_5_3": (0.094, 0.079)}
"""Unit → mean difference at 1 and at 1.5, read off the paper's Fig. 4: SKNet-50, all ImageNet validation pictures."""
RISING = ("SK_2_3", "SK_3_4")  # in the paper in every class; in the other unit without direction

_UNIT = ["block", "label", "stage"]
_EFFECTS = [*_UNIT, "smallest", "largest", "zoom", "images", "truncated", "classes", "before", "after", "change", "std",
            "d", "images_up", "classes_up", "low", "high", *CONTROLS, "left", "beyond"]


def enlarged(stats: Statistics) -> list[float]:
    """The zooms that can be compared with the pictures as they are: above 1; none where those are not there."""
    return [zoom for zoom in stats.zooms if zoom > 1] if 1.0 in stats.zooms else []


def stage_ends(stats: Statistics) -> list[str]:
    """Labels of the last unit of each stage, which the paper's Fig. 3 shows."""
    return [block.label for block in panels(_units(stats), whole_stage=False)]


def low_middle_high(stats: Statistics) -> list[str]:
    """Labels of up to three units as in the paper's Fig. 4: the last of the first, the second and the last stage."""
    ends = stage_ends(stats)
    return list(dict.fromkeys([*ends[:2], *ends[-1:]]))


def size_effects(stats: Statistics, zoom: float = 1.5) -> pd.DataFrame:
    """How each unit's preference changes when the object is enlarged, and whether beyond the controls: a row a unit.

    Where boxes are known, only pictures count whose object still lies whole in what the zoom leaves: of the others it
    is cut, and not only larger. Unlabelled pictures count but where it goes by class.

    Columns: block, label, stage, smallest, largest (kernel names), zoom, images (pictures that count), truncated (how
    many do not), classes (with such pictures), before and after (mean difference at 1 and at the zoom), change, std (of
    the change over the pictures, dividing by their number), d (change / std), images_up and classes_up (share in which
    the larger kernel gains, in 0..1; of classes, by their mean), low and high (the change's confidence interval), blur
    and elsewhere (mean change in the controls, from zoom 1 as well; nan where the run had none), left (what the change
    has beyond both, ``senet_viz.tables.beyond``) and beyond (bool).

    Means are over the classes' means, so that each class counts alike however many of its pictures are left, and the
    intervals cluster by class: the sample are the class means, of K classes, with a t distribution of K − 1 degrees of
    freedom; all units' together hold with 95 % (Bonferroni). Below two classes the intervals are nan and the means are
    over the pictures. A unit's change is ``beyond`` when |left| is at least ``NEGLIGIBLE`` and the intervals of the
    change, and of its difference, picture by picture, from each control that there is, lie on the change's side of 0.
    Without any control there is nothing to be beyond of, and it is False.

    Args:
        stats: at zoom 1 and ``zoom``.
        zoom: above 1.

    Raises:
        ValueError: for other zooms.
    """
    pairs, rows = _pairs(stats, zoom), []
    change = pairs.after - pairs.before
    moved = {name: seen - pairs.before for name, seen in pairs.controls.items()}
    by_class = _class_means(change, pairs.label)
    low, high = _interval(by_class)
    # all of these must hold, so that together they are no surer of themselves than each: nothing more to correct for
    sides = [_side(low, high),
             *(_side(*_interval(_class_means(change - control, pairs.label))) for control in moved.values())]
    before, after, mean = (_mean(values, pairs.label) for values in (pairs.before, pairs.after, change))
    controls = pd.DataFrame({name: _mean(values, pairs.label) for name, values in moved.items()}, mean.index).reindex(
        columns=list(CONTROLS))
    for block in _units(stats):
        label, std = block.label, change[block.label].std(ddof=0)
        left = beyond(mean[label], *controls.loc[label]) + 0.0  # without a sign, where it is 0
        rows.append({
            "block": block.name, "label": label, "stage": block.stage, "smallest": kernel_name(block, 0),
            "largest": kernel_name(block, -1), "zoom": zoom, "images": len(change), "truncated": pairs.truncated,
            "classes": len(by_class), "before": before[label], "after": after[label], "change": mean[label], "std": std,
            "d": mean[label] / std if std else np.nan, "images_up": _up(change[label]),
            "classes_up": _up(by_class[label]), "low": low[label], "high": high[label], **controls.loc[label],
            "left": left, "beyond": bool(moved and abs(left) >= NEGLIGIBLE
                                         and all(side[label] == np.sign(mean[label]) for side in sides))})
    return pd.DataFrame(rows, columns=_EFFECTS)


def class_changes(stats: Statistics, zoom: float = 1.5) -> pd.DataFrame:
    """The mean difference of each class at 1 and at a zoom, as in the paper's Fig. 4: a row a unit and class.

    Of the pictures that count in ``size_effects``. Columns: block, label, class (a unique name), count (pictures),
    before, after, change; classes with pictures, in their order.

    Args:
        stats: at zoom 1 and ``zoom``.
        zoom: above 1.

    Raises:
        ValueError: for other zooms.
    """
    pairs, names = _pairs(stats, zoom), np.array(class_names(stats), dtype=object)
    before, after = (_class_means(values, pairs.label) for values in (pairs.before, pairs.after))
    count = pairs.label.value_counts().reindex(before.index).to_numpy()
    parts = [pd.DataFrame({
        "block": block.name, "label": block.label, "class": names[before.index], "count": count,
        "before": before[block.label].to_numpy(), "after": after[block.label].to_numpy(),
        "change": (after - before)[block.label].to_numpy()}) for block in _units(stats)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(
        columns=["block", "label", "class", "count", "before", "after", "change"])


def bars(stats: Statistics) -> pd.DataFrame:
    """The difference at each zoom over all pictures, cut objects too, as in the paper's Fig. 3: a row a unit and zoom.

    Columns: block, label, stage, zoom, mean, std (over the pictures, dividing by their number), count (pictures).
    """
    rows, units = stats.images(), _units(stats)
    seen = {zoom: _look(rows, "zoom", zoom, units) for zoom in stats.zooms}
    return pd.DataFrame([(
        block.name, block.label, block.stage, zoom, values[block.label].mean(), values[block.label].std(ddof=0),
        len(values)) for block in units for zoom, values in seen.items()],
        columns=[*_UNIT, "zoom", "mean", "std", "count"])


def by_share(stats: Statistics) -> pd.DataFrame:
    """How the difference goes with the object's size in the pictures as they are, without any zoom: a row a unit.

    Within classes, so that it is no difference of classes: ``slope``, by least squares per doubling of the object's
    side (the root of its box's share of the picture), is the mean of the classes' own, and so is ``rho``, Spearman's
    rank correlation. Classes count that have at least ``FEW`` pictures with a box, not all of one size.

    Columns: block, label, stage, images, classes (that count), slope, low, high (its interval, as in ``size_effects``,
    of the classes' slopes), rho (nan where no class's difference varies). Empty without boxes, or where no class
    counts.

    Raises:
        ValueError: where there is no zoom 1.
    """
    _check(stats, 1.0)
    rows, units = stats.images(), _units(stats)
    columns = [*_UNIT, "images", "classes", "slope", "low", "high", "rho"]
    if "box" not in rows or not units:
        return pd.DataFrame(columns=columns)
    rows = rows[(rows["look"] == "zoom") & (rows["zoom"] == 1) & (rows["label"] >= 0) & (rows["box"] > 0)]
    kept = [part for _, part in rows.groupby("label") if len(part) >= FEW and part["box"].nunique() > 1]
    if not kept:
        return pd.DataFrame(columns=columns)
    names = [block.label for block in units]
    by_class, ranks = [], []
    for part in kept:
        side, values = np.log2(part["box"].to_numpy()) / 2, _differences(part, units).to_numpy()
        side = side - side.mean()
        by_class.append(side @ (values - values.mean(0)) / (side @ side))
        ranks.append([spearmanr(side, column).statistic if np.ptp(column) else np.nan for column in values.T])
    slopes = pd.DataFrame(by_class, columns=names)
    low, high = _interval(slopes)
    rho = pd.DataFrame(ranks, columns=names).mean()
    return pd.DataFrame([(
        block.name, block.label, block.stage, sum(map(len, kept)), len(kept), slopes[block.label].mean(),
        low[block.label], high[block.label], rho[block.label]) for block in units], columns=columns)


def kernel_findings(stats: Statistics, effects: pd.DataFrame, shares: pd.DataFrame) -> list[str]:
    """What the tables found, in sentences (Markdown: unit labels are bold) whose claims follow from their numbers.

    They go by the size of changes beside the controls, not by p-values, which thousands of pictures make small for any
    change: one below ``NEGLIGIBLE`` counts as none.

    Args:
        stats: the statistics.
        effects: ``size_effects(stats, zoom)``, of any zoom.
        shares: ``by_share(stats)``.
    """
    if effects.empty:
        return [f"{stats.metadata['model']} has no units that choose between kernels."]
    rows = effects.set_index("label")
    images, classes = (int(rows[name].iloc[0]) for name in ("images", "classes"))
    truncated, zoom = int(rows["truncated"].iloc[0]), f"{rows['zoom'].iloc[0]:g}×"
    found = []
    if truncated:
        found.append(f"Of {_number(truncated + images, 'picture')} {truncated:,} {'is' if truncated == 1 else 'are'} "
                     f"left out, whose object does not fit into what is left at {zoom}, or has no box: what follows is "
                     f"of {_number(images, 'picture')} of smaller objects, of {_number(classes, 'class', 'classes')}.")
    if images:
        found += _moves(rows, zoom) if classes > 1 else [
            f"Enlarged to {zoom}, an object moves weight to the larger kernel on average in "
            f"{int((rows['change'] > 0).sum())} of {_number(len(rows), 'unit')}; whether by more than chance cannot be "
            "told without labels of at least two classes."]
        if missing := [words for name, words in CONTROLS.items() if rows[name].isna().all()]:
            found.append(f"There is no comparison with {' or '.join(missing)}: the run had no such control.")
        found += _beside_the_paper(rows, zoom)
    return [*found, _without_zoom(rows, shares)]


@dataclass
class _Pairs:
    """What pictures show at 1 and at a zoom; each table has a row a picture (its index) and a column a unit's label."""

    label: pd.Series
    before: pd.DataFrame
    after: pd.DataFrame
    controls: dict[str, pd.DataFrame]
    truncated: int


def _pairs(stats: Statistics, zoom: float) -> _Pairs:
    _check(stats, 1.0, zoom)
    if not zoom > 1:
        raise ValueError(f"an object grows at a zoom above 1, not at {zoom:g}")
    rows, units = stats.images(), _units(stats)
    at = rows[(rows["look"] == "zoom") & (rows["zoom"] == zoom)].set_index("index")
    boxes = "fits" in at and at["fits"].notna().any()
    kept = at.index[at["fits"].eq(True)] if boxes else at.index
    before, after = (_look(rows, "zoom", factor, units).loc[kept] for factor in (1.0, zoom))
    controls = {name: _look(rows, name, zoom, units) for name in CONTROLS}
    controls = {name: seen.loc[kept] for name, seen in controls.items() if len(seen)}
    return _Pairs(at["label"][kept], before, after, controls, len(at) - len(kept))


def _check(stats: Statistics, *zooms: float) -> None:
    for zoom in zooms:
        if zoom not in stats.zooms:
            raise ValueError(f"these statistics were taken at zoom {', '.join(f'{z:g}' for z in stats.zooms)}, not at "
                             f"{zoom:g}")


def _units(stats: Statistics) -> list[AttentionBlock]:
    return [block for block in stats.blocks if block.branches > 1]


def _differences(rows: pd.DataFrame, units: list[AttentionBlock]) -> pd.DataFrame:
    """The units' differences, a column a label; float32 would lose digits in means of thousands."""
    return pd.DataFrame({block.label: rows[f"{block.label}_difference"].astype(float) for block in units}, rows.index)


def _look(rows: pd.DataFrame, name: str, zoom: float, units: list[AttentionBlock]) -> pd.DataFrame:
    """The differences in one look, by picture."""
    return _differences(rows[(rows["look"] == name) & (rows["zoom"] == zoom)].set_index("index"), units)


def _class_means(values: pd.DataFrame, label: pd.Series) -> pd.DataFrame:
    """A row a class that has pictures."""
    return values[label >= 0].groupby(label[label >= 0]).mean()


def _mean(values: pd.DataFrame, label: pd.Series) -> pd.Series:
    """Over the classes' means; over the pictures below two classes."""
    by_class = _class_means(values, label)
    return (by_class if len(by_class) > 1 else values).mean()


def _interval(sample: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Of each column's mean, so that all together hold with ``CONFIDENCE``; a row a class, nan below two."""
    count, columns = sample.shape
    half = sample.sem() * t.ppf(1 - (1 - CONFIDENCE) / 2 / max(1, columns), count - 1)
    return sample.mean() - half, sample.mean() + half


def _side(low: pd.Series, high: pd.Series) -> pd.Series:
    """On which side of 0 intervals lie: 1, −1, or 0 for those that hold it or are nan."""
    return (low > 0).astype(int) - (high < 0).astype(int)


def _up(change: pd.Series) -> float:
    return float((change > 0).mean()) if len(change) else np.nan


def _controls(rows: pd.DataFrame) -> str:
    """The controls that there are, in words; "" for none."""
    there = [words for name, words in CONTROLS.items() if rows[name].notna().any()]
    return (f"{'both controls' if len(there) == 2 else 'its control'} ({'; '.join(there)})") if there else ""


def _moves(rows: pd.DataFrame, zoom: str) -> list[str]:
    """Where the weight goes, where no further than in the controls, and where nowhere."""
    controls, units, rest = _controls(rows), _number(len(rows), "unit"), ~rows["beyond"]
    kernels = {sign: f"the {word} kernel" + (f" ({rows[column].iloc[0]})" if rows[column].nunique() == 1 else "")
               for sign, word, column in ((1, "larger", "largest"), (-1, "smaller", "smallest"))}
    found = []
    for sign, kernel in kernels.items():
        which = rows["beyond"] & (np.sign(rows["change"]) == sign)
        if which.any():
            part = rows[which]
            found.append(
                f"Enlarged to {zoom}, an object moves weight to {kernel} beyond {controls} in {which.sum()} of "
                f"{units}: {_named(which)}. The difference changes by {_between(part['change'])}, beyond the controls "
                f"by {_between(part['left'])}, and in this direction in {_agreeing(part, sign)}.")
        elif controls and not (rest.all() and sign < 0):  # neither is said once
            found.append(f"In none of {units} does an object enlarged to {zoom} move weight to "
                         f"{'the larger or the smaller kernel' if rest.all() else kernel} beyond {controls}.")
    small, side = rows["change"].abs() < NEGLIGIBLE, _side(rows["low"], rows["high"])
    moved, unsure, small = rest & ~small & (side != 0), rest & ~small & (side == 0), rest & small
    if moved.any():
        ways = [f"to {kernel} in {_named(moved & (side == sign))}" for sign, kernel in kernels.items()
                if (moved & (side == sign)).any()]
        found.append(f"In {moved.sum()} of {units} weight moves, but " + (
            "not surely further than in the controls" if controls else
            "nothing tells an object's size from a loss of detail or from any other crop") + f": {', '.join(ways)}.")
    if small.any():
        found.append(f"In {small.sum()} of {units} the change is negligible, under {NEGLIGIBLE:g}, however "
                     f"sure: {_named(small)}.")
    if unsure.any():
        found.append(f"In {unsure.sum()} of {units} the change has no sure direction: {_named(unsure)}.")
    return found


def _beside_the_paper(rows: pd.DataFrame, zoom: str) -> list[str]:
    own = [label for label in PUBLISHED if label in rows.index]
    if not own:
        return [f"The paper's Fig. 4 shows {', '.join(f'**{label}**' for label in PUBLISHED)}, which this network does "
                "not have."]
    published = ", ".join(
        f"**{label}** {_weight(before)} → {_weight(after)} "
        f"({'up in every class' if label in RISING else 'no direction'})"
        for label, (before, after) in PUBLISHED.items() if label in own)
    here = ", ".join(
        f"**{label}** {_weight(row['before'])} → {_weight(row['after'])} (up in {_gaining(row)}: {word})"
        for (label, row), word in zip(rows.loc[own].iterrows(), _as_published(rows.loc[own])))
    found = [f"In the paper, SKNet-50 on ImageNet without controls, from 1× to 1.5×: {published}. Here, from 1× to "
             f"{zoom}: {here}."]
    early, up = rows["stage"] < rows["stage"].max(), rows["beyond"] & (rows["change"] > 0)
    if early.any() and _controls(rows) and rows["classes"].iloc[0] > 1:
        found.append("In the paper a larger object gives the larger kernel more weight in low and middle units, and "
                     f"not in the last. Here it does so, beyond the controls, in {(up & early).sum()} of "
                     f"{_number(early.sum(), 'unit')} before the last stage and in {(up & ~early).sum()} of "
                     f"{(~early).sum()} in it.")
    return found


def _as_published(rows: pd.DataFrame) -> list[str]:
    """How units compare with the paper, unit by unit, by their changes alone: it had no controls."""
    if rows["low"].isna().any():
        return ["how sure, cannot be told"] * len(rows)
    small, sure = rows["change"].abs() < NEGLIGIBLE, _side(rows["low"], rows["high"])
    beside = ", but not beyond the controls" if _controls(rows) else ""
    found = []
    for label, way in zip(rows.index, sure.mask(small, 0)):
        word = {1: "up", -1: "down", 0: "negligible" if small[label] else "no direction"}[way]
        partly = ", though not in every class" if way and rows["classes_up"][label] < 1 else ""
        found.append(f"{word}, " + ("unlike the paper" if way != (label in RISING) else
                                    "as published" + partly + (beside if way and not rows["beyond"][label] else "")))
    return found


def _without_zoom(rows: pd.DataFrame, shares: pd.DataFrame) -> str:
    """What pictures of large and small objects tell, and whether the zoom told the same."""
    if shares.empty:
        return ("How the weights go with the object's size in the pictures as they are cannot be told: that takes "
                f"boxes, and classes of at least {FEW} pictures.")
    shares = shares.set_index("label")
    slope = shares["slope"]
    side = _side(shares["low"], shares["high"]).mask(slope.abs() < NEGLIGIBLE, 0)
    ways = [f"{verb} in {_named(side == sign)} (by {_between(slope[side == sign])} per doubling of its side)"
            for sign, verb in ((1, "rises"), (-1, "falls")) if (side == sign).any()]
    agree = rows["beyond"] & (side == np.sign(rows["change"]))
    return ("In the pictures as they are, and within classes, the difference " + (
        f"surely {' and '.join(ways)} as the object is larger" if ways else
        f"goes surely with the object's size in no unit, by {NEGLIGIBLE:g} or more per doubling of its side") + (
        f"; that agrees with the zoom in {agree.sum()} of {_number(int(rows['beyond'].sum()), 'unit')} that it moves "
        "beyond the controls" if rows["beyond"].any() else "") + ".")


def _gaining(row: pd.Series) -> str:
    if row["classes"] > 1:
        return f"{round(row['classes_up'] * row['classes'])} of {row['classes']:,} classes"
    return f"{row['images_up']:.0%} of the pictures"


def _agreeing(rows: pd.DataFrame, sign: int) -> str:
    """In how many classes some units' differences go one way; a class without any change goes neither."""
    share = rows["classes_up"] if sign > 0 else 1 - rows["classes_up"]
    count = sorted((share * rows["classes"]).round().astype(int))
    return (f"{count[0]}" + (f" to {count[-1]}" if count[-1] > count[0] else "")
            + f" of {rows['classes'].iloc[0]:,} classes")


def _between(values: pd.Series) -> str:
    """The smallest and the largest of some values of one sign."""
    low, high = (_weight(values.iloc[at]) for at in (values.abs().argmin(), values.abs().argmax()))
    return low if low == high else f"{low} to {high}"


def _weight(value: float) -> str:
    """Four decimals; zero has no sign."""
    value = round(float(value), 4) + 0.0
    return f"{value:+.4f}" if value else "0"
