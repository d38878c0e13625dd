"""What an ablation found, beside what the SE paper published of the same variants: words, figure, tables, scripts."""
from functools import lru_cache

import numpy as np
import pandas as pd

from .. import figures
from ..data.places import APP, ASSETS
from ..reports import papers
from ..reports.html import Section
from ..reports.text import plain
from .ablation_folder import ABLATION, Ablation, open_ablation
from .ablation_plan import STAGES, AblationPlan, Variant
from .ablation_table import CHANCE

EMBEDDED = ASSETS / "ablations"
PLACES = {"pre": "PRE", "post": "POST", "identity": "Identity", "3x3": "3×3"}
WRONG = ("pooled", "convolution", "parallel")
SHOWN = ["label", "trained", "top1", "top5", "difference", "low_both", "high_both", "published", "parameters", "macs",
         "dimension", "seconds"]
HOW = (
    "Each variant is trained alike: one recipe, and with each seed the same first weights outside of attention and the "
    "same pictures, cropped alike, in the same order. A dot is the change of top-1 from the reference on the same "
    "validation pictures, the mean over seeds; the strokes are single seeds. The thick bar is the interval for other "
    "pictures of these classes, the thin one for other pictures and other seeds, whose spread is told from all "
    "trainings together, of variants that hardly learn from theirs alone; a dot is filled where the thin one leaves 0 "
    "out. A variant far beyond the others is a number at the edge. Diamonds are the paper's differences, of "
    "SE-ResNet-50 without biases on ImageNet.")


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
    plan, data, table = found.plan, found.about["data"], found.table.set_index("variant")
    row, recipe = table.loc[plan.reference], plan.recipe
    seeds = sorted(set(table["trained"] + table["diverged"]))
    times = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}"
    return (f"Measured on **{plain(data['name'])}**: {data['training_pictures']:,} training pictures of "
            f"{recipe.image_size}×{recipe.image_size} px and {data['classes']} classes, {recipe.epochs} epochs, "
            f"{times} seed{'s' * (seeds[-1] != 1)} a variant, {data['validation_pictures']:,} validation pictures. The "
            f"reference, **{plan.label(plan.reference)}**, has {row['parameters']:,} parameters and a top-1 of "
            f"{row['top1']:.1%}: a slim network on small pictures is not ImageNet.")


def findings(found: Ablation) -> list[str]:
    """What can be told of the variants and what cannot, in sentences (Markdown)."""
    table = beside(found)
    told = table[table["low_both"].notna()]
    said = []
    if told.empty:
        said.append("Of a single seed it is not known what another would give: nothing can be told of variants yet.")
    else:
        worse, better = told[told["high_both"] < 0], told[told["low_both"] > 0]
        rest = told.drop([*worse.index, *better.index])
        halves = ((rest["high_both"] - rest["low_both"]) / 2 if len(rest) else
                  (told["high_both"] - told["low_both"]) / 2) * 100
        chance = CHANCE * len(told)
        said.append(f"By the interval over pictures and seeds, {_named(worse, 'less accurate', 'than the reference')}; "
                    f"{_named(better, 'more accurate', 'than it')}. The other {len(rest)} of {len(told)} cannot be "
                    f"told from it: their intervals reach {_to(halves)} points to each side, so that smaller "
                    f"differences are not seen. "
                    f"If none differed, about {chance:.1g} of {len(told)} would still seem to.")
        if len(known := told[told["published"].notna()]):
            said += _against_published(known)
    wrong = table[table["attention"].isin(WRONG) & table["difference"].notna()]
    if len(wrong):
        said.append("The structures that are taken for SE: " + "; ".join(
            f"**{row['label'].removeprefix('wrong: ')}** {_change(row)}" for row in wrong.to_dict("records")) + ".")
    if len(gone := table[table["diverged"] > 0]):
        said.append("Diverged: " + "; ".join(
            f"**{row['label']}** with {row['diverged']} of {row['diverged'] + row['trained']} seeds"
            for row in gone.to_dict("records")) + ".")
    alive = table[table["dimension"].notna()]
    if len(alive):
        low, *_, high = alive.sort_values("dimension").to_dict("records") * (2 if len(alive) == 1 else 1)
        said.append(f"At the end of the training the gate of the median block moves in {low['dimension']:.1f} "
                    f"(**{low['label']}**) to {high['dimension']:.1f} (**{high['label']}**) directions, over a batch "
                    f"of {found.plan.recipe.batch_size} pictures.")
    return said


def _against_published(known: pd.DataFrame) -> list[str]:
    """What agrees with the published differences."""
    clear = known[(known["high_both"] < 0) | (known["low_both"] > 0)]
    same = clear[np.sign(clear["difference"]) == np.sign(clear["published"])]
    other = clear.drop(same.index)
    open_ = known.drop(clear.index)
    within = open_[(open_["low_both"] <= open_["published"]) & (open_["published"] <= open_["high_both"])]
    outside = open_.drop(within.index)
    text = (f"The paper has {len(known)} of these variants. Of them {len(clear)} differ{'s' * (len(clear) == 1)} here")
    if len(clear):
        text += f", {len(same)} in the published direction{_list(same)} and {len(other)} in the other{_list(other)}"
    if len(clear):
        near = clear[(clear["low_both"] <= clear["published"]) & (clear["published"] <= clear["high_both"])]
        text += (f". The size that was published lies within the interval for {len(near)} of these {len(clear)}"
                 f"{_list(near)}")
    text += f". Of the {len(open_)} that cannot be told here"
    text += (f", the published difference lies within the interval for {len(within)}: no contradiction, and no "
             f"confirmation" + (f"; for {len(outside)} it lies outside{_list(outside)}" if len(outside) else "") + "."
             if len(open_) else " there is none.")
    return [text]


def _named(rows: pd.DataFrame, verb: str, than: str) -> str:
    if rows.empty:
        return f"none is {verb} {than}"
    named = ", ".join(f"**{row['label']}** ({_change(row)})" for row in rows.to_dict("records"))
    return f"{len(rows)} {'is' if len(rows) == 1 else 'are'} {verb} {than}: {named}"


def _to(values: pd.Series) -> str:
    low, high = f"{values.min():.1f}", f"{values.max():.1f}"
    return low if low == high else f"{low} to {high}"


def _list(rows: pd.DataFrame) -> str:
    return f" ({', '.join(rows['label'])})" if len(rows) else ""


def _change(row: dict) -> str:
    between = ("" if np.isnan(row["low_both"]) else
               f", {100 * row['low_both']:+.1f} to {100 * row['high_both']:+.1f}")
    return f"{100 * row['difference']:+.1f} points{between}"


def script(found: Ablation, ending: str) -> str:
    """Lines that give a table again from the folder."""
    path = found.path.relative_to(APP) if found.path.is_relative_to(APP) else found.path
    return ("from senet_viz.training import open_ablation\n"
            "from senet_viz.training.ablation_sections import beside\n\n"
            f"found = open_ablation({str(path)!r})\nresult = {ending}\nprint(result)\n")
