"""What an ablation's trainings say together: a row a variant, compared with the reference on the same pictures.

Two things could have come out otherwise: other pictures could have been asked, and other seeds trained with. The
interval over pictures takes the trained networks as they are, the one over seeds takes the pictures as they are, and
that over both is what another ablation of this kind may be expected to find.
"""
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtrit  # the quantiles of scipy.stats, which takes a second to import

from .ablation_plan import AblationPlan

CHANCE = 0.05  # of an interval to miss
# Of the reference's accuracy: what gets less has hardly learnt, and scatters more over seeds. Variants come either near
# the reference or to half of it at most, and the line may lie anywhere between: in the embedded ablation each from 0.50
# to 0.85 makes the same groups.
FAR = 0.7
ROUNDING = 1e-12  # what is left of a spread of 0; one picture of a million is 1e-6
MEANS = ("seconds", "dimension", "dimension_least", "collapsed")
COLUMNS = ["variant", "label", "attention", "trained", "diverged", "top1", "top5", "difference", "low", "high",
           "low_seeds", "high_seeds", "low_both", "high_both", "difference5", "low5", "high5", "low5_seeds",
           "high5_seeds", "low5_both", "high5_both", "parameters", "macs", "blocks", *MEANS]
OF_TRAININGS = ["variant", "seed", "status", "top1", "top5", "loss", "epochs", "images", "parameters", "macs",
                "seconds", "blocks", "dimension", "dimension_least", "collapsed"]
Answers = Mapping[tuple[str, int], pd.DataFrame]
Spread = tuple[float, int]  # standard deviation of one training's accuracy over seeds, and its degrees of freedom


def of_trainings(facts: list[dict]) -> pd.DataFrame:
    """A row a training from what each says of itself; columns ``OF_TRAININGS``, loss of the last epoch."""
    rows = [one | {"loss": one["losses"][-1] if one["losses"] else None} for one in facts]
    numbers = [column for column in OF_TRAININGS if column not in ("variant", "status")]
    return pd.DataFrame(rows, columns=OF_TRAININGS).astype(
        dict.fromkeys(numbers, float) | dict.fromkeys(("seed", "epochs", "parameters", "macs", "blocks"), int))


def of_variants(plan: AblationPlan, trainings: pd.DataFrame, answers: Answers) -> pd.DataFrame:
    """A row a variant of which a training is over, in the plan's order.

    Args:
        plan: of the ablation.
        trainings: of ``of_trainings``.
        answers: variant and seed → "top1" and "top5" of the same pictures in the same order, bool.

    Returns:
        Columns: variant, label (by what makes it differ), attention; trained and diverged (numbers of seeds); top1 and
        top5 (0..1, means over seeds); difference (top1 less the reference's, over the seeds that both have), with the
        95 % intervals low and high (over pictures, see ``over_pictures``), low_seeds and high_seeds (over seeds, see
        ``seed_errors``; nan of one seed) and low_both and high_both (over both); the same of top-5 (difference5, low5,
        …); parameters, macs, blocks (with a gate that is a vector); and means over seeds: seconds, dimension (of the
        gates at the end of the training, the median over blocks), dimension_least, and collapsed (blocks whose gate
        moves along one direction).
    """
    accuracies = {measure: {key: float(answer[measure].mean()) for key, answer in answers.items()}
                  for measure in ("top1", "top5")}
    far = hardly_learnt(mean_accuracies(accuracies["top1"]), plan.reference)  # of both: top-5 has no line of its own
    spreads = {measure: seed_errors(values, far) for measure, values in accuracies.items()}
    rows = []
    for name, variant in plan.variants.items():
        its = trainings[trainings["variant"] == name]
        if its.empty:
            continue
        good = its[its["status"] == "trained"]
        row = {"variant": name, "label": plan.label(name), "attention": variant.attention, "trained": len(good),
               "diverged": len(its) - len(good), "top1": good["top1"].mean(), "top5": good["top5"].mean(),
               **its.iloc[0][["parameters", "macs", "blocks"]], **its[list(MEANS)].mean()}
        seeds = [seed for seed in plan.seeds if (name, seed) in answers and (plan.reference, seed) in answers]
        if seeds and name != plan.reference:
            for measure, ending in (("top1", ""), ("top5", "5")):
                changes = np.stack([answers[name, seed][measure].to_numpy().astype(float)
                                    - answers[plan.reference, seed][measure].to_numpy() for seed in seeds])
                found = compared(changes, spreads[measure][name], spreads[measure][plan.reference])
                row |= {key.replace("|", ending): value for key, value in found.items()}
        rows.append(row)
    whole = ("trained", "diverged", "parameters", "macs", "blocks")
    numbers = [column for column in COLUMNS if column not in ("variant", "label", "attention", *whole)]
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(numbers, float) | dict.fromkeys(whole, int))


def compared(changes: np.ndarray, own: Spread, reference: Spread) -> dict[str, float]:
    """A difference and its intervals.

    Args:
        changes: (seeds, pictures), 1 where only the variant is right, −1 where only the reference is, else 0.
        own: of one training of the variant over seeds (``seed_errors``).
        reference: of one training of the reference; the same object where both were told together.

    Returns:
        "difference|", "low|", "high|" (over pictures), "low|_seeds", "high|_seeds", "low|_both", "high|_both".
    """
    seeds = len(changes)
    difference, by_picture = over_pictures(changes)
    found = {"difference|": difference}
    half = ndtri(1 - CHANCE / 2) * by_picture
    found |= {"low|": difference - half, "high|": difference + half}
    told = [(2 * own[0] ** 2 / seeds, own[1])] if own is reference else [
        (spread ** 2 / seeds, freedom) for spread, freedom in (own, reference)]
    over_seeds = both = float("nan")
    if all(freedom for _, freedom in told):
        over_seeds = _half(told)
        # pictures have many degrees of freedom, and few seeds few: together they may give a shorter interval than seeds
        both = max(over_seeds, _half([*told, (by_picture ** 2, max(changes.shape[1] - 1, 1))]))
    for ending, half in (("_seeds", over_seeds), ("_both", both)):
        found |= {f"low|{ending}": difference - half, f"high|{ending}": difference + half}
    return found


def _half(parts: list[tuple[float, int]]) -> float:
    """Half an interval, of a sum of variances with degrees of freedom each; its own are Satterthwaite's."""
    variance = sum(part for part, _ in parts)
    if not variance:
        return 0.0
    return float(stdtrit(variance ** 2 / sum(part ** 2 / freedom for part, freedom in parts), 1 - CHANCE / 2)
                 * np.sqrt(variance))


def over_pictures(changes: np.ndarray) -> tuple[float, float]:
    """The mean of changes (seeds, pictures), and its standard error for other pictures of these classes.

    A picture's changes with several seeds are one observation, their mean: they go together.
    """
    pictures = changes.mean(0)
    error = pictures.std(ddof=1) / np.sqrt(len(pictures)) if len(pictures) > 1 else float("nan")
    return float(pictures.mean()), float(error)


def mean_accuracies(accuracies: Mapping[tuple[str, int], float]) -> dict[str, float]:
    """Variant → its mean accuracy over seeds, of accuracies by variant and seed."""
    return {name: float(np.mean([value for (its, _), value in accuracies.items() if its == name]))
            for name, _ in accuracies}


def hardly_learnt(accuracies: Mapping[str, float], reference: str) -> set[str]:
    """The variants that have less than ``FAR`` of the reference's top-1, of top-1 by variant."""
    return {name for name, value in accuracies.items() if value < FAR * accuracies.get(reference, 0)}


def seed_errors(accuracies: Mapping[tuple[str, int], float], far: set[str]) -> dict[str, Spread]:
    """Variant → spread over seeds, told from all trainings together; apart from those of variants that hardly learn.

    These (``far``, see ``hardly_learnt``) scatter several times as much as others: they would widen the intervals of
    all. Where too few of them are there to tell their own spread, it is told from all.
    """
    whole = seed_error(accuracies)
    found: dict[str, Spread] = {}
    for group in (far, {name for name, _ in accuracies} - far):
        spread = seed_error({key: value for key, value in accuracies.items() if key[0] in group})
        found |= dict.fromkeys(group, spread if spread[1] else whole)
    return found


def seed_error(accuracies: Mapping[tuple[str, int], float]) -> tuple[float, int]:
    """Standard deviation of a training's accuracy over seeds, from all trainings together, and its degrees of freedom.

    Two or three seeds of one variant tell next to nothing of their spread. As the seed gives all variants the same
    weights outside of attention, and the same pictures in the same order, accuracies are taken as variant + seed +
    chance (a randomised block design), with chance alike for all variants: its standard deviation is that of what the
    first two leave. nan and 0 where nothing is left to tell it from.
    """
    variants = sorted({name for name, _ in accuracies})
    seeds = sorted({seed for _, seed in accuracies})
    design = np.zeros((len(accuracies), len(variants) + len(seeds)))
    for row, (name, seed) in enumerate(accuracies):
        design[row, variants.index(name)] = design[row, len(variants) + seeds.index(seed)] = 1
    values = np.array(list(accuracies.values()))
    if not len(values):
        return float("nan"), 0
    fitted, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    freedom = len(values) - int(rank)
    if not freedom:
        return float("nan"), 0
    spread = float(np.sqrt(np.square(values - design @ fitted).sum() / freedom))
    return spread if spread > ROUNDING else 0.0, freedom
