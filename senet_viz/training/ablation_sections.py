"""What an ablation found, beside what the SE paper published of the same variants: words, figure, tables, scripts."""
import math
from functools import lru_cache

import numpy as np
import pandas as pd

from .. import figures
from ..data.places import APP, ASSETS
from ..reports import papers
from ..reports.html import Section
from ..reports.text import ends, listed, number, plain
from .ablation_folder import ABLATION, Ablation, against, open_ablation
from .ablation_plan import STAGES, AblationPlan, Variant, words
from .ablation_table import CHANCE, FAR, hardly_learnt

EMBEDDED = ASSETS / "ablations"
PLACES = {"pre": "PRE", "post": "POST", "identity": "Identity", "3x3": "3×3"}
WRONG = ("pooled", "convolution", "parallel")
AXES = {"reduction": "r", "squeeze": "Squeeze", "excitation": "Excitation", "place": "Place"}
SHOWN = ["label", "trained", "top1", "top5", "difference", "low_both", "high_both", "published", "parameters", "macs",
         "dimension"]
HOW = (
    "Each variant is trained alike: one recipe, and with each seed the same first weights outside of attention and the "
    "same pictures, cropped alike, in the same order. A dot is the change of top-1 from the reference on the same "
    "validation pictures, the mean over the seeds that both have: where the reference has more seeds, it is not the "
    "difference of the two accuracies in the table. The strokes are single seeds. The thick bar is the 95 % interval "
    "for other pictures of these classes, the thin one for other pictures and other seeds; a dot is filled where the "
    "thin one leaves 0 out. A few seeds of one variant tell little of how far seeds move its accuracy: this spread is "
    "told from all variants together, from those that hardly learn apart. A variant far beyond the others is a number "
    "at the edge. Diamonds are the paper's differences, of SE-ResNet-50 without biases on ImageNet.")


def embedded_ablation() -> Ablation | None:
    """The ablation that comes with the program; None where there is none.

    Raises:
        AblationError: where it is damaged.
    """
    return open_ablation(EMBEDDED) if (EMBEDDED / ABLATION).is_file() else None


@lru_cache(maxsize=1)
def _published() -> dict[tuple[str, str], float]:
    """Question and choice → top-1 error in %."""
    rows = [*papers.ABLATIONS[["question", "choice", "top1"]].itertuples(index=False, name=None),
            *(("reduction", name, top1) for name, top1 in papers.REDUCTIONS[["name", "top1"]].itertuples(
                index=False, name=None))]
    return {(question, choice): top1 for question, choice, top1 in rows}


def published_difference(plan: AblationPlan, name: str) -> float:
    """Top-1 that the SE paper's variant has more than its reference, 0..1; nan where the paper has no such variant.

    The paper's reference is the standard SE block with r = 16 in all stages; a variant differs from it by one thing.
    """
    reference, variant = plan.variants[plan.reference], plan.variants[name]
    own = Variant(options={"reduction": 16})
    if set(reference.differences(own)) - {"min_width", "bias"}:
        return float("nan")
    changed = variant.differences(reference)
    if len(changed) != 1 or ("attention" in changed and (variant.place, variant.stages) != ("standard", STAGES)):
        return float("nan")
    [(axis, value)] = changed.items()
    if axis == "stages":
        found = ("stages with SE", f"stage {value[0]}") if len(value) == 1 else None
    else:
        found = {
            ("attention", "none"): ("stages with SE", "no SE"), ("attention", "unsqueezed"): ("squeeze", "none"),
            ("squeeze", "max"): ("squeeze", "max"), ("excitation", "tanh"): ("excitation", "tanh"),
            ("excitation", "relu"): ("excitation", "ReLU"), ("reduction", value): ("reduction", f"r = {value}"),
            **{("place", place): ("placement", choice) for place, choice in PLACES.items()}}.get((axis, value))
    errors = _published()
    if found not in errors:
        return float("nan")
    return (errors["placement", "standard"] - errors[found]) / 100


def beside(found: Ablation) -> pd.DataFrame:
    """The table of variants with the column "published" (``published_difference``) behind."""
    return found.table.assign(published=[published_difference(found.plan, name) for name in found.table["variant"]])


def by_seed(found: Ablation) -> pd.DataFrame:
    """Difference of top-1 from the reference with each seed that both have: label, seed, difference."""
    own = found.trainings["variant"] == found.plan.reference
    reference = found.trainings[own].set_index("seed")["top1"]
    rows, labels = found.trainings[~own], found.table.set_index("variant")["label"]
    return rows.assign(label=rows["variant"].map(labels), difference=rows["top1"] - rows["seed"].map(reference))[
        ["label", "seed", "difference"]].dropna().reset_index(drop=True)


def trained(found: Ablation) -> Section:
    """Every variant's difference from the reference, with what can and cannot be told from it."""
    table = beside(found)
    labels = table.set_index("label")["published"].dropna()
    reference = found.plan.label(found.plan.reference)
    figure = figures.trained_variants(table, by_seed(found), labels, reference=reference)
    return Section("Ablations trained here", scale(found), figure, table[
        [*found.table.columns, "published"]], script(found, "beside(found)"), points=findings(found), about=HOW)


def scale(found: Ablation) -> str:
    """On what it was measured, in sentences (Markdown)."""
    plan, data, recipe = found.plan, found.about["data"], found.plan.recipe
    seeds = (found.table["trained"] + found.table["diverged"]).value_counts().sort_index()
    named = " and ".join(f"{seed} seed{'s' * (seed != 1)} for {count} variant{'s' * (count != 1)}"
                         for seed, count in seeds.items())
    said = [f"Measured on **{plain(data['name'])}**: {data['training_pictures']:,} training pictures of "
            f"{recipe.image_size}×{recipe.image_size} px and {number(data['classes'], 'class', 'classes')}, "
            f"{number(recipe.epochs, 'epoch')}, "
            f"{data['validation_pictures']:,} validation pictures; {named}."]
    own = found.table[found.table["variant"] == plan.reference].to_dict("records")
    for row in own:  # none where it has no training yet
        accuracy = (f"a top-1 of {row['top1']:.1%}" if row["trained"] else
                    "no accuracy, for all its trainings diverged")
        said.append(f"The reference, **{row['label']}**, has {row['parameters']:,} parameters and {accuracy}.")
    variant = plan.variants[plan.reference]
    if variant.attention == "se" and variant.place in ("standard", "post", "identity"):  # where a gate has C channels
        channels = [4 * recipe.widths[stage - 2] for stage in variant.stages]
        ratio, least = variant.options["reduction"], variant.options["min_width"]
        hidden = [max(count // ratio, least) for count in channels]
        if any(count // ratio < least for count in channels):
            said.append(f"Its hidden layers have {listed(hidden)} units at C = {listed(channels)} channels: "
                        f"C / {ratio}, and {least} where that is less.")
    said.append(f"Its stages' 3×3 convolutions have {listed(recipe.widths)} channels, a ResNet-50's 64, 128, 256 and "
                f"512, and ImageNet has 1.28 million training pictures, shown at 224×224 px: a slim network on small "
                f"pictures is not ImageNet, and what is found here need not hold there.")
    return " ".join(said)


def findings(found: Ablation) -> list[str]:
    """What can be told of the variants and what cannot, in sentences (Markdown)."""
    table = beside(found)
    far = _far(found)
    table["far"] = table["variant"].isin(far)
    told = table[table["low_both"].notna()]
    said = []
    if table["difference"].isna().all():
        said.append("No variant has a training that ended well with a seed of which the reference has one, too: "
                    "nothing can be compared.")
    elif told.empty:
        said.append("Of a single seed it is not known what another would give: nothing can be told of variants yet.")
    else:
        said += [*_hardly(found, table), *_verdicts(told), *_best(found, told)]
        if len(known := told[told["published"].notna()]):
            said += _against_published(known)
    wrong = table[table["attention"].isin(WRONG) & table["difference"].notna()]
    if len(wrong):
        said.append("The structures that are taken for SE: " + "; ".join(
            f"**{row['label'].removeprefix('wrong: ')}** {_verdict(row)}" for row in wrong.to_dict("records")) + ".")
    if len(gone := table[table["diverged"] > 0]):
        said.append("Diverged: " + "; ".join(
            f"**{row['label']}** with {row['diverged']} of {row['diverged'] + row['trained']} seeds"
            for row in gone.to_dict("records")) + ".")
    alive = table[table["dimension"].notna() & (table["trained"] > 0)].sort_values("dimension")
    if len(alive):
        ends = [f"{row['dimension']:.1f} (**{row['label']}**)" for row in alive.to_dict("records")]
        said.append(f"From picture to picture a gate's channels may move each by itself, in many directions, or all as "
                    f"one number, in one. At the end of the training the median block's gate moves in "
                    f"{' to '.join(ends[::len(ends) - 1] if len(ends) > 1 else ends)} directions, over a batch of "
                    f"{found.plan.recipe.batch_size} pictures.")
    return said


def _far(found: Ablation) -> set[str]:
    return hardly_learnt(dict(zip(found.table["variant"], found.table["top1"])), found.plan.reference)


def _hardly(found: Ablation, table: pd.DataFrame) -> list[str]:
    """Which variants hardly learnt, and where the line between these and the others may lie."""
    far = table[table["far"]].sort_values("top1")
    if far.empty:
        return []
    reference = table.loc[table["variant"] == found.plan.reference, "top1"].item()
    shares = table["top1"] / reference
    low = math.floor(100 * shares[table["far"]].max() + 1e-9) / 100 + 0.01  # a variant on the line is no longer far
    high = math.floor(100 * shares[~table["far"]].min() + 1e-9) / 100
    named = listed(f"**{row['label']}** ({row['top1']:.1%})" for row in far.to_dict("records"))
    return [f"Hardly learnt under this recipe, with less than {FAR:g} of the reference's top-1 of {reference:.1%}: "
            f"{named}. Such variants have a spread over seeds of their own, which widens no other's interval"
            + (f"; the line could lie anywhere from {low:.2f} to {high:.2f} of the reference's top-1 without a change."
               if low < high else ".")]


def _verdicts(told: pd.DataFrame) -> list[str]:
    """Which variants differ from the reference by the interval over pictures and seeds, the largest change first."""
    worse, better = told[told["high_both"] < 0], told[told["low_both"] > 0]
    rest = told.drop([*worse.index, *better.index])
    halves = ((rest["high_both"] - rest["low_both"]) / 2 if len(rest) else
              (told["high_both"] - told["low_both"]) / 2) * 100
    near, far = worse[~worse["far"]], worse[worse["far"]]
    lost = f", besides the {len(far)} that hardly learnt" * bool(len(far) and len(near))
    return [
        f"Less accurate than the reference, in points of top-1 with the interval over pictures and seeds: "
        f"{_named(near if len(near) else worse)}{lost}.",
        f"More accurate than the reference: {_named(better)}.",
        f"The other {len(rest)} of {len(told)} cannot be told from the reference: their intervals reach {_to(halves)} "
        f"points to each side, so that smaller differences are not seen. If no variant differed from the reference, "
        f"{CHANCE * len(told):.1g} of {len(told)} intervals would be expected to leave 0 out all the same."]


def _best(found: Ablation, told: pd.DataFrame) -> list[str]:
    """Of each axis, which value is the most accurate, or that it cannot be told."""
    plan, said = found.plan, []
    reference = plan.variants[plan.reference]
    for axis, title in AXES.items():
        levels = told[[set(plan.variants[name].differences(reference)) == {axis} for name in told["variant"]]]
        if levels.empty:
            continue
        own = reference.differences(plan.variants[levels["variant"].iloc[0]])[axis]
        said.append(f"**{title}**: {_of_axis(found, levels, words(axis, own))}")
    return said


def _of_axis(found: Ablation, levels: pd.DataFrame, own: str) -> str:
    far = levels[levels["far"]]
    near = levels.drop(far.index)
    worse, better = near[near["high_both"] < 0], near[near["low_both"] > 0]
    open_ = near.drop([*worse.index, *better.index])
    parts = []
    if len(better):
        parts.append(f"{listed(map(_with_change, better.to_dict('records')))} {_is(better)} more accurate than {own}")
    elif open_.empty:
        parts.append(f"{own} is the most accurate of those that were trained")
    if len(open_):
        parts.append(f"{listed(map(_with_change, open_.to_dict('records')))} cannot be told from {own}"
                     + _from_each_other(found, open_))
    if len(worse):
        parts.append(f"{listed(map(_with_change, worse.to_dict('records')))} {_is(worse)} less accurate than {own}")
    if len(far):
        parts.append(f"{listed(far['label'])} hardly learnt")
    return "; ".join(parts) + "."


def _from_each_other(found: Ablation, rows: pd.DataFrame) -> str:
    """Whether variants that cannot be told from the reference can be told from one another."""
    if len(rows) < 2:
        return ""
    names, labels, apart = rows["variant"].tolist(), dict(zip(rows["variant"], rows["label"])), []
    for position, name in enumerate(names[:-1]):
        others = against(found, name).set_index("variant")
        apart += [f"{labels[name]} from {labels[other]}" for other in names[position + 1:]
                  if others.loc[other, "low_both"] > 0 or others.loc[other, "high_both"] < 0]
    return f", but {listed(apart)}" if apart else ", nor from each other"


def _against_published(known: pd.DataFrame) -> list[str]:
    """What agrees with the published differences, of the variants that learnt."""
    far = known[known["far"]]
    text = f"The paper has {len(known)} of these variants."
    if len(far):
        text += (f" {len(far)} hardly learnt under this recipe{_list(far)}, and say{'s' * (len(far) == 1)} nothing for "
                 f"or against the paper.")
        known = known.drop(far.index)
    clear = known[(known["high_both"] < 0) | (known["low_both"] > 0)]
    same = clear[np.sign(clear["difference"]) == np.sign(clear["published"])]
    other = clear.drop(same.index)
    open_ = known.drop(clear.index)
    within = open_[(open_["low_both"] <= open_["published"]) & (open_["published"] <= open_["high_both"])]
    outside = open_.drop(within.index)
    those = "the other" if len(far) else "these"
    text += f" Of {those} {len(known)}, {len(clear)} can be told from the reference here"
    if len(clear):
        near = clear[(clear["low_both"] <= clear["published"]) & (clear["published"] <= clear["high_both"])]
        text += (f", {len(same)} in the published direction{_list(same)} and {len(other)} in the other{_list(other)}. "
                 f"The size that was published lies within the interval for {len(near)} of these {len(clear)}"
                 f"{_list(near)}")
    text += f". Of the {len(open_)} that cannot be told here"
    if not len(open_):
        return [f"{text} there is none."]
    inside, beyond = ("all" if len(rows) == len(open_) else len(rows) for rows in (within, outside))
    lies = [f"within the interval for {inside}: no contradiction, and no confirmation"] * bool(len(within))
    lies += [f"outside the interval for {beyond}{_list(outside)}"] * bool(len(outside))
    return [f"{text}, the published difference lies {'; '.join(lies)}."]


def _named(rows: pd.DataFrame) -> str:
    order = rows["difference"].abs().sort_values(ascending=False).index
    return listed(f"**{row['label']}** {_change(row)}" for row in rows.loc[order].to_dict("records")) or "none"


def _verdict(row: dict) -> str:
    """What is known of one variant, without its name."""
    if row["far"]:
        return f"hardly learnt (top-1 {row['top1']:.1%})"
    if row["high_both"] < 0 or row["low_both"] > 0:
        return f"is {'less' if row['difference'] < 0 else 'more'} accurate than the reference: {_change(row)}"
    return f"cannot be told from the reference: {_change(row)}"


def _with_change(row: dict) -> str:
    return f"{row['label']} ({_change(row).replace(' (', ', ').removesuffix(')')})"


def _is(rows: pd.DataFrame) -> str:
    return "is" if len(rows) == 1 else "are"


def _to(values: pd.Series) -> str:
    low, high = f"{values.min():.1f}", f"{values.max():.1f}"
    return low if low == high else f"{low} to {high}"


def _list(rows: pd.DataFrame) -> str:
    return f" ({', '.join(rows['label'])})" if len(rows) else ""


def _change(row: dict) -> str:
    between = ("" if np.isnan(row["low_both"]) else
               f" ({ends(100 * row['low_both'], 100 * row['high_both'], 1)})")
    return f"{100 * row['difference']:+z.1f}{between}"


def script(found: Ablation, ending: str) -> str:
    """Lines that give a table again from the folder."""
    path = found.path.relative_to(APP) if found.path.is_relative_to(APP) else found.path
    return ("from senet_viz.training import open_ablation\n"
            "from senet_viz.training.ablation_sections import beside\n\n"
            f"found = open_ablation({str(path)!r})\nresult = {ending}\nprint(result)\n")
