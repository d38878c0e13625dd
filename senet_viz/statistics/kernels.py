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
from ..reports.text import ends, listed, number
from ..tables import beyond, kernel_name, last_and_first, panels
from .archive import Statistics
from .summaries import FEW, class_names, named

# A change of the difference whose whole interval is closer to 0 than this counts as none: it is a thousandth of the
# difference's range, −1..1, and less than half of the smallest change that the paper shows, .0045 in SK_2_3.
NEGLIGIBLE = 0.002
LARGEST = 2.0  # what a difference, in −1..1, can change by
CONFIDENCE = 0.95
POWER = 0.8  # the share of repetitions in which a change as large as ``detectable`` would be found
CONTROLS = {"blur": "the same blur without the zoom", "elsewhere": "as large a crop elsewhere"}
PUBLISHED = {"SK_2_3": (-0.069, -0.0645), "SK_3_4": (-0.043, -0.028), "SK_5_3": (0.094, 0.079)}
"""Unit → mean difference at 1 and at 1.5, read off the paper's Fig. 4: SKNet-50, all ImageNet validation pictures."""
PUBLISHED_ZOOM = 1.5
READ = 0.001  # how closely a change can be read off the paper's figure, up or down
RISING = ("SK_2_3", "SK_3_4")  # in the paper in every class; in the other unit without direction

_UNIT = ["block", "label", "stage"]
_KERNELS = [*_UNIT, "smallest", "largest"]
_COUNTS = ["images", "truncated", "classes"]
_RANDOM = ["draws", "random", "random_low", "random_high"]
_CHANGE = ["change", "std", "d", "images_up", "classes_up", "low", "high", *CONTROLS, *_RANDOM, "left", "beyond",
           "detectable"]


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
    and elsewhere (mean change in the controls, from zoom 1 as well; nan where the run had none), draws (of random
    weights), random, random_low and random_high (mean, least and largest of the changes that the same zoom makes in
    networks with random weights, over the draws; nan without any), left (what the change has beyond all of these,
    ``senet_viz.tables.beyond``), beyond (bool), and detectable (a true change that is beyond
    the controls by this much would be found to be ``beyond`` in at least ``POWER`` of all repetitions; nan without a
    control).

    Means are over the classes' means, so that each class counts alike however many of its pictures are left, and the
    intervals cluster by class: the sample are the class means, of K classes, with a t distribution of K − 1 degrees of
    freedom; all units' together hold with 95 % (Bonferroni). Below two classes the intervals are nan and the means are
    over the pictures. A unit's change is ``beyond`` when |left| is at least ``NEGLIGIBLE`` and the intervals of the
    change, and of its difference, picture by picture, from each control that there is, lie on the change's side of 0;
    each draw of random weights is such a control, and one whose mean goes the other way counts with its sign turned:
    a change is not beyond what a control does in either direction. Without any control there is nothing to be beyond
    of, and it is False.

    detectable = max(``NEGLIGIBLE``, t(1 − .05 / 2m)·SE) + t(1 − (1 − ``POWER``) / J)·SE, of m units and J comparisons
    (the change and its difference from each control), with t's quantiles for K − 1 degrees of freedom and SE the
    largest standard error over class means of the change, and of its difference from and sum with each control, for
    the control may go either way. The first part is what a mean must reach to be found; the
    second keeps each of them from falling short of it in more than (1 − ``POWER``) / J of the repetitions.

    Args:
        stats: at zoom 1 and ``zoom``.
        zoom: above 1.

    Raises:
        ValueError: for other zooms.
    """
    seen = _seen(stats, [zoom])
    before, after = seen.looks["zoom"]
    table = _table(stats, seen, {look: values[-1] - values[0] for look, values in seen.looks.items()})
    ends = {"zoom": zoom, "before": _mean(before, seen.label), "after": _mean(after, seen.label)}
    # of two classes Student's t alone would reach farther than a change can
    ends |= {"low": table["low"].clip(-LARGEST), "high": table["high"].clip(upper=LARGEST)}
    return table.assign(**{name: np.asarray(value) for name, value in ends.items()})[
        [*_KERNELS, "zoom", *_COUNTS, "before", "after", *_CHANGE]]


def dose_response(stats: Statistics) -> pd.DataFrame:
    """How each unit's preference goes with the object's size over all zooms from 1 up: a row a unit.

    Of the pictures that count in ``size_effects`` at every zoom, so that they are the same ones throughout. Each
    picture has a slope, by least squares over the base-2 logarithm of the zoom, and so does each control, which starts
    at the picture as it is. With one zoom above 1 that is the change of ``size_effects`` over its logarithm.

    Columns as of ``size_effects``, where change, and what is made of it, is the slope: the change of the difference per
    doubling of the object's side. Instead of zoom, before and after there are zooms (how many, 1 counts) and steady
    (bool: from each zoom to the next the mean moves the slope's way).

    Raises:
        ValueError: where there is no zoom 1, or none above it.
    """
    zooms = [1.0, *(zoom for zoom in stats.zooms if zoom > 1)]
    seen, sizes = _seen(stats, zooms[1:]), np.log2(zooms)
    weights = (sizes - sizes.mean()) / np.square(sizes - sizes.mean()).sum()
    slopes = {look: sum(weight * value for weight, value in zip(weights, values))
              for look, values in seen.looks.items()}
    table = _table(stats, seen, slopes)
    means = np.array([_mean(values, seen.label) for values in seen.looks["zoom"]]).reshape(len(zooms), len(table))
    steady = (np.sign(np.diff(means, axis=0)) == np.sign(table["change"].to_numpy())).all(0) & table["change"].ne(0)
    return table.assign(zooms=len(zooms), steady=steady)[[*_KERNELS, "zooms", *_COUNTS, *_CHANGE, "steady"]]


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
    seen, names = _seen(stats, [zoom]), np.array(class_names(stats), dtype=object)
    before, after = (_class_means(values, seen.label) for values in seen.looks["zoom"])
    count = seen.label.value_counts().reindex(before.index).to_numpy()
    parts = [pd.DataFrame({
        "block": block.name, "label": block.label, "class": names[before.index], "count": count,
        "before": before[block.label].to_numpy(), "after": after[block.label].to_numpy(),
        "change": (after - before)[block.label].to_numpy()}) for block in _units(stats)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(
        columns=["block", "label", "class", "count", "before", "after", "change"])


def bars(stats: Statistics, zoom: float | None = None) -> pd.DataFrame:
    """The difference at each zoom, as in the paper's Fig. 3: a row a unit and zoom.

    With a zoom, of the zooms up to it and of the pictures that count in ``size_effects`` there, with means over the
    classes' means as there: what the bars change by is that table's change. Without one, of all zooms and pictures,
    those whose object is cut among them (``cut_objects``), with means over pictures.

    Columns: block, label, stage, zoom, mean, std (over the pictures, dividing by their number), count (pictures).

    Raises:
        ValueError: for a zoom that ``size_effects`` does not have.
    """
    rows, units = stats.images(), _units(stats)
    seen = {each: _look(rows, "zoom", each, units) for each in stats.zooms if zoom is None or each <= zoom}
    means = {each: values.mean() for each, values in seen.items()}
    if zoom is not None:
        label = _seen(stats, [zoom]).label
        seen = {each: values.loc[label.index] for each, values in seen.items()}
        means = {each: _mean(values, label) for each, values in seen.items()}
    return pd.DataFrame([(
        block.name, block.label, block.stage, each, means[each][block.label], values[block.label].std(ddof=0),
        len(values)) for block in units for each, values in seen.items()],
        columns=[*_UNIT, "zoom", "mean", "std", "count"])


def cut_objects(stats: Statistics, zoom: float) -> int:
    """Of how many pictures a zoom above 1 is not known to leave the object whole; 0 where no boxes are known."""
    return _seen(stats, [zoom]).truncated


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


def kernel_findings(stats: Statistics, effects: pd.DataFrame, shares: pd.DataFrame,
                    doses: pd.DataFrame | None = None) -> list[str]:
    """What the tables found, in sentences (Markdown: unit labels are bold) whose claims follow from their numbers.

    They go by the size of changes beside the controls, not by p-values, which thousands of pictures make small for any
    change. A change is called negligible where its whole interval is within ±``NEGLIGIBLE``; where that is not so, and
    the interval holds 0, it cannot be told.

    Args:
        stats: the statistics.
        effects: ``size_effects(stats, zoom)``, of any zoom.
        shares: ``by_share(stats)``.
        doses: ``dose_response(stats)``, of which nothing is said where there is one zoom above 1.
    """
    if effects.empty:
        return [f"{stats.metadata['model']} has no units that choose between kernels."]
    rows = effects.set_index("label")
    images, classes = (int(rows[name].iloc[0]) for name in ("images", "classes"))
    truncated, zoom = int(rows["truncated"].iloc[0]), float(rows["zoom"].iloc[0])
    found = []
    if truncated:
        seen = stats.images()
        boxless = ", or it has no box" if "box" not in seen or seen["box"].isna().any() else ""
        found.append(f"Of {number(truncated + images, 'picture')} {truncated:,} {'is' if truncated == 1 else 'are'} "
                     f"left out: enlarged to {zoom:g}× their object would be cut{boxless}. " + (
                         f"The changes at {zoom:g}× are of {'the one' if images == 1 else f'the other {images:,}'}, of "
                         f"smaller objects, in {number(classes, 'class', 'classes')}." if images else "None is left."))
    if images:
        words = last_and_first(_units(stats))
        found += _moves(rows, zoom, words) if classes > 1 else [
            f"Enlarged to {zoom:g}×, an object moves weight to the {words[0]} on average in "
            f"{_units_of(rows['change'] > 0)}; whether by more than chance cannot be told without labels of at least "
            "two classes."]
        found += _random(rows)
        if missing := [words for name, words in [*CONTROLS.items(), ("random", "networks with random weights")]
                       if rows[name].isna().all()]:
            found.append(f"There is no comparison with {listed(missing, 'or')}: the run had no such control.")
        found += _over_all_zooms(stats, doses)
        if words[0] == "larger kernel":  # the paper's question
            found += _beside_the_paper(rows, zoom)
    return [*found, _without_zoom(rows, shares)]


@dataclass
class _Seen:
    """What pictures show in each look, at 1 and at zooms; the tables have a row a picture and a column a unit's label.

    Attributes:
        label: of the pictures (−1 for none), by their index.
        looks: "zoom" and the controls that there are → a table at 1, the picture as it is, and at each zoom. Those of
            random weights are "random 0" and so on.
        truncated: how many pictures are left out.
    """

    label: pd.Series
    looks: dict[str, list[pd.DataFrame]]
    truncated: int


def _seen(stats: Statistics, zooms: list[float]) -> _Seen:
    _check(stats, 1.0, *zooms)
    if not zooms:
        raise ValueError("these statistics have no zoom above 1, at which an object is larger")
    if not min(zooms) > 1:
        raise ValueError(f"an object grows at a zoom above 1, not at {min(zooms):g}")
    rows, units = stats.images(), _units(stats)
    at = [rows[(rows["look"] == "zoom") & (rows["zoom"] == zoom)].set_index("index") for zoom in zooms]
    kept = every = at[0].index
    for part in at:
        if "fits" in part and part["fits"].notna().any():
            kept = kept[part["fits"].reindex(kept).eq(True)]
    before = _look(rows, "zoom", 1.0, units).loc[kept]
    looks = {}
    for name in ("zoom", *CONTROLS):
        seen = [_look(rows, name, zoom, units) for zoom in zooms]
        if all(len(part) for part in seen) or name == "zoom":
            looks[name] = [before, *(part.loc[kept] for part in seen)]
    for draw in range(stats.draws):
        seen = [_look(rows, f"random {draw}", zoom, units) for zoom in (1.0, *zooms)]
        if all(kept.isin(part.index).all() and len(part) for part in seen):
            looks[f"random {draw}"] = [part.loc[kept] for part in seen]
    return _Seen(at[0]["label"][kept], looks, len(every) - len(kept))


def _table(stats: Statistics, seen: _Seen, moved: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """What is common to ``size_effects`` and ``dose_response``; ``moved``: look → change of each picture."""
    units, label, change = _units(stats), seen.label, moved["zoom"]
    controls = {name: moved[name] for name in CONTROLS if name in moved}
    by_class, mean = _class_means(change, label), _mean(change, label)
    draws = {name: values for name, values in moved.items() if name.startswith("random")}
    # all of these must hold, so that together they are no surer of themselves than each: nothing more to correct for
    along = [control * _along(mean, _mean(control, label)) for control in (controls | draws).values()]
    compared = [by_class, *(_class_means(change - control, label) for control in along)]
    intervals = [_interval(each) for each in compared]
    low, high = intervals[0]
    of_controls = pd.DataFrame({name: _mean(control, label) for name, control in controls.items()}, mean.index).reindex(
        columns=list(CONTROLS))
    against = [_class_means(change + control, label) for control in along]  # what another change would be compared in
    detectable = _detectable([*compared, *against], len(compared)) if along else mean * np.nan
    drawn = pd.DataFrame([_mean(values, label) for values in draws.values()], columns=mean.index)
    rows = []
    for block in units:
        name, std = block.label, change[block.label].std(ddof=0)
        # + 0.0: without a sign, where it is 0
        left = beyond(mean[name], *of_controls.loc[name], *drawn[name]) + 0.0
        rows.append({
            "block": block.name, "label": name, "stage": block.stage, "smallest": kernel_name(block, 0),
            "largest": kernel_name(block, -1), "images": len(change), "truncated": seen.truncated,
            "classes": len(by_class), "change": mean[name], "std": std, "d": mean[name] / std if std else np.nan,
            "images_up": _up(change[name]), "classes_up": _up(by_class[name]), "low": low[name], "high": high[name],
            **of_controls.loc[name], "draws": len(drawn), "random": drawn[name].mean(),
            "random_low": drawn[name].min(), "random_high": drawn[name].max(), "left": left,
            "beyond": bool(along and abs(left) >= NEGLIGIBLE and all(
                _side(*ends)[name] == np.sign(mean[name]) for ends in intervals)), "detectable": detectable[name]})
    return pd.DataFrame(rows, columns=[*_KERNELS, *_COUNTS, *_CHANGE])


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
    half = sample.sem() * _quantile(sample)
    return sample.mean() - half, sample.mean() + half


def _quantile(sample: pd.DataFrame) -> float:
    """How many standard errors a confidence interval reaches from the mean."""
    count, columns = sample.shape
    return t.ppf(1 - (1 - CONFIDENCE) / 2 / max(1, columns), count - 1)


def _detectable(samples: list[pd.DataFrame], compared: int) -> pd.Series:
    """The smallest change beyond the controls that would be found, in so many comparisons; samples: a row a class."""
    error = pd.concat([sample.sem() for sample in samples], axis=1).max(axis=1)
    short = t.ppf(1 - (1 - POWER) / compared, len(samples[0]) - 1)
    return (error * _quantile(samples[0])).clip(NEGLIGIBLE) + error * short


def _along(mean: pd.Series, control: pd.Series) -> pd.Series:
    """−1 for units whose control goes the other way than their change, which turns it round; else 1."""
    return 1 - 2 * (np.sign(mean) * np.sign(control)).eq(-1)


def _side(low: pd.Series, high: pd.Series) -> pd.Series:
    """On which side of 0 intervals lie: 1, −1, or 0 for those that hold it or are nan."""
    return (low > 0).astype(int) - (high < 0).astype(int)


def _within(low: pd.Series, high: pd.Series) -> pd.Series:
    """Which intervals lie within ±``NEGLIGIBLE``; nan ones do not."""
    return (low >= -NEGLIGIBLE) & (high <= NEGLIGIBLE)


def _up(change: pd.Series) -> float:
    return float((change > 0).mean()) if len(change) else np.nan


def _controls(rows: pd.DataFrame) -> str:
    """The controls that there are, in words; "" for none."""
    there = [words for name, words in CONTROLS.items() if rows[name].notna().any()]
    if rows["random"].notna().any():
        there.append(f"the same zoom in networks with random weights{_drawn(rows)}")
    which = {1: "its control", 2: "both controls"}.get(len(there), f"all {len(there)} controls")
    return f"{which} ({'; '.join(there)})" if there else ""


def _drawn(rows: pd.DataFrame) -> str:
    draws = int(rows["draws"].iloc[0])
    return f", drawn {draws} times" if draws > 1 else ", drawn once"


def _random(rows: pd.DataFrame) -> list[str]:
    """What the zoom does to networks that learned nothing."""
    told = rows["random"].notna()
    if not told.any():
        return []
    part = rows[told]
    reach = part[["random_low", "random_high"]].abs().max(axis=1)
    most = str(reach.idxmax())
    reached = part["change"].abs() <= reach
    return [f"Networks with random weights{_drawn(rows)}, change as well when the object is enlarged: the difference "
            f"moves by up to {reach[most]:.4f} (**{most}**). The trained network's change is no larger than a draw's, "
            f"up or down, in {int(reached.sum())} of {number(len(part), 'unit')}."]


def _moves(rows: pd.DataFrame, zoom: float, words: tuple[str, str]) -> list[str]:
    """Where the weight goes, where no further than in the controls, where nowhere, and where that cannot be told."""
    controls, rest = _controls(rows), ~rows["beyond"]
    kernels = {sign: f"the {word}" + (f" ({rows[column].iloc[0]})" if rows[column].nunique() == 1 else "")
               for sign, word, column in zip((1, -1), words, ("largest", "smallest"), strict=True)}
    either = f"the {words[0].split()[0]} or the {words[1]}"
    found = []
    for sign, kernel in kernels.items():
        which = rows["beyond"] & (np.sign(rows["change"]) == sign)
        if which.any():
            part = rows[which]
            found.append(
                f"Enlarged to {zoom:g}×, an object moves weight to {kernel} beyond {controls} in {_units_of(which)}: "
                f"{named(which)}. The difference changes by {_between(part['change'])}, beyond the controls by "
                f"{_between(part['left'])}, and in this direction in {_agreeing(part, sign)}.")
        elif controls and not (rest.all() and sign < 0):  # neither is said once
            found.append(f"An object enlarged to {zoom:g}× is not found to move weight to "
                         f"{either if rest.all() else kernel} beyond {controls} in "
                         f"{'the one unit' if len(rows) == 1 else f'any of {len(rows)} units'}.")
    if rows["detectable"].notna().any():
        found.append(_found(rows["detectable"]))
    side, small = _side(rows["low"], rows["high"]), rest & _within(rows["low"], rows["high"])
    moved, unsure = rest & ~small & (side != 0), rest & ~small & (side == 0)
    if moved.any():
        ways = [f"to {kernel} in {named(moved & (side == sign))}" for sign, kernel in kernels.items()
                if (moved & (side == sign)).any()]
        found.append(f"In {_units_of(moved)} weight moves, but " + (
            "not surely further than in the controls" if controls else
            "nothing tells an object's size from a loss of detail or from any other crop") + f": {'; '.join(ways)}.")
    if small.any():
        found.append(f"In {_units_of(small)} the change is negligible, its whole 95% interval within "
                     f"±{NEGLIGIBLE:g}: {named(small)}.")
    if unsure.any():
        reach = float(rows.loc[unsure, ["low", "high"]].abs().to_numpy().max())
        found.append(f"In {_units_of(unsure)} it cannot be told whether weight moves: {named(unsure)}. The 95% "
                     f"interval has 0 in it and goes beyond ±{NEGLIGIBLE:g}, as far as {reach:.4f} from 0.")
    return found


def _found(detectable: pd.Series) -> str:
    """How large a change would have been found."""
    told = detectable[detectable <= LARGEST]
    if told.empty:
        return (f"No change beyond the controls, however large, would be found in {POWER:.0%} of repetitions: there "
                "are too few classes.")
    low, high = str(told.idxmin()), str(told.idxmax())
    least, most = (f"{told[label]:.4f}" for label in (low, high))
    sizes = least if least == most else f"{least} (**{low}**) to {most} (**{high}**), depending on the unit,"
    rest = f", and in {named(detectable > LARGEST)} none, however large" if len(told) < len(detectable) else ""
    return (f"A change beyond the controls of {sizes} would be found in at least {POWER:.0%} of repetitions{rest}; a "
            "smaller one may be missed.")


def _over_all_zooms(stats: Statistics, doses: pd.DataFrame | None) -> list[str]:
    """How the weights go with the zoom, where there is more than one above 1."""
    if doses is None or doses.empty or doses["zooms"].iloc[0] < 3 or doses["classes"].iloc[0] < 2:
        return []
    rows = doses.set_index("label")
    zooms = [f"{zoom:g}×" for zoom in (1.0, *enlarged(stats))]
    found = (f"Over {', '.join(zooms[:-1])} and {zooms[-1]} together, in the "
             f"{number(int(rows['images'].iloc[0]), 'picture')} that show the whole object in each of them, ")
    side = _side(rows["low"], rows["high"]).mask(_within(rows["low"], rows["high"]), 0)
    which, words = (rows["beyond"], " beyond the controls") if _controls(rows) else (side != 0, "")
    ways = [f"{verb} in {named(part)} by {_sizes(rows['change'][part])}" + (
        f", {_sizes(rows['left'][part])} of it{words}" if words else "") for sign, verb in (
        (1, "rises"), (-1, "falls")) if (part := which & (np.sign(rows["change"]) == sign)).any()]
    found += (f"the difference, per doubling of the object's side, {' and '.join(ways)}." if ways else
              f"the difference is not found to rise or fall with the object's size{words}.")
    if (side != 0).any():
        sure = side[side != 0].index
        steady = int(rows["steady"][sure].sum())
        found += (f" Controls aside, the interval of its slope leaves out 0 in {_units_of(side != 0)}, and in "
                  f"{'all' if steady == len(sure) else f'{steady:,}'} of these the mean goes that way from each size "
                  "to the next.")
    return [found]


def _beside_the_paper(rows: pd.DataFrame, zoom: float) -> list[str]:
    own = [label for label in PUBLISHED if label in rows.index]
    if not own:
        return [f"The paper's Fig. 4 shows {', '.join(f'**{label}**' for label in PUBLISHED)}, which this network does "
                "not have."]
    if zoom != PUBLISHED_ZOOM:
        found = [f"The paper's Fig. 4 is of {PUBLISHED_ZOOM:g}×: sizes of change are compared with it only there."]
    else:
        published = ", ".join(
            f"**{label}** {_weight(after - before)} ({'up in every class' if label in RISING else 'no one direction'})"
            for label, (before, after) in PUBLISHED.items() if label in own)
        here = "; ".join(f"**{label}** {_weight(row['change'])} ({_ends(row)}up in {_gaining(row)}), "
                         f"{_beside(row, *PUBLISHED[label])}"
                         for label, (_, row) in zip(own, rows.loc[own].iterrows(), strict=True))
        found = [f"In the paper's Fig. 4 (SKNet-50 on ImageNet, without controls, read off by eye to ±{READ:g}) the "
                 f"difference changes from 1× to {zoom:g}× by: {published}. Here by: {here}."]
    early, up = rows["stage"] < rows["stage"].max(), rows["beyond"] & (rows["change"] > 0)
    if early.any() and _controls(rows) and rows["classes"].iloc[0] > 1:
        found.append("In the paper a larger object gives the larger kernel more weight in low and middle units, and "
                     f"not in the last. Here it is found to, beyond the controls, in {(up & early).sum()} of "
                     f"{number(early.sum(), 'unit')} before the last stage and in {(up & ~early).sum()} of "
                     f"{(~early).sum()} in it.")
    return found


def _beside(row: pd.Series, before: float, after: float) -> str:
    """How a unit's change compares with the paper's, by its interval; the paper had no controls."""
    published = after - before
    low, high = sorted(np.sign(published) * np.array([row["low"], row["high"]]))
    published = abs(published)
    if np.isnan(low):
        return "and how sure that is cannot be told"
    beside = ", though not beyond the controls" if row[list(CONTROLS)].notna().any() and not row["beyond"] else ""
    if high < 0:
        return "the other way" + beside
    if low > 0:
        word = ("smaller" if high < published - READ else "larger" if low > published + READ else
                "as large, within the interval" if low <= published <= high else
                f"as large within the ±{READ:g} of the reading")
        return word + beside
    return "smaller, if any" if high < published - READ else "not told from none, nor from the paper's"


def _ends(row: pd.Series) -> str:
    return "" if np.isnan(row["low"]) else f"{ends(row['low'], row['high'], 4)}; "


def _without_zoom(rows: pd.DataFrame, shares: pd.DataFrame) -> str:
    """What pictures of large and small objects tell, and whether the zoom told the same."""
    if shares.empty or shares["low"].isna().all():
        return ("How the weights go with the object's size in the pictures as they are cannot be told: that takes "
                f"boxes, and two classes or more of at least {FEW} pictures with boxes of different sizes.")
    shares = shares.set_index("label")
    small = _within(shares["low"], shares["high"])
    side = _side(shares["low"], shares["high"]).mask(small, 0)
    unsure = (side == 0) & ~small
    ways = [f"{verb} in {named(side == sign)} (by {_sizes(shares['slope'][side == sign])})"
            for sign, verb in ((1, "rises"), (-1, "falls")) if (side == sign).any()]
    rest = [f"in {_units_of(which)} {words}" for which, words in (
        (small, f"it changes negligibly, the whole 95% interval within ±{NEGLIGIBLE:g}"),
        (unsure, "it cannot be told")) if which.any()]
    zoomed = _side(rows["low"], rows["high"]).mask(_within(rows["low"], rows["high"]), 0)
    both = side.reindex(rows.index).fillna(0) * zoomed
    compared = " and ".join(f"{words} in {named(both == sign)}" for sign, words in (
        (1, "the two go the same way"), (-1, "opposite ways")) if (both == sign).any())
    return ("In all pictures as they are, within classes and per doubling of the object's side, the difference "
            + (f"{' and '.join(ways)}" if ways else "is not found to rise or fall")
            + "".join(f"; {words}" for words in rest) + "." + (
        f" Where the zoom moves weight too, controls aside, {compared}." if compared else ""))


def _units_of(which: pd.Series) -> str:
    """How many of the units: "the one unit", "both units", "all 16 units", "3 of 16 units"."""
    if which.all():
        return {1: "the one unit", 2: "both units"}.get(len(which), f"all {len(which)} units")
    return f"{int(which.sum())} of {number(len(which), 'unit')}"


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


def _sizes(values: pd.Series) -> str:
    """The same without their sign, which "rises" or "falls" has said."""
    return _between(values.abs()).replace("+", "")


def _weight(value: float) -> str:
    """Four decimals; zero has no sign."""
    value = round(float(value), 4) + 0.0
    return f"{value:+.4f}" if value else "0"
