"""The plan of an ablation: one recipe, several seeds, and the variants of a network that are trained with it.

A plan is a TOML file::

    reference = "se"                # the variant that all others are compared with
    seeds = [0, 1, 2]
    pictures = 15000                # of the training pictures, spread evenly; all without it

    [recipe]                        # of senet_viz.training.Recipe, but for attention and seed
    widths = [8, 16, 32, 64]
    epochs = 16

    [variants.se]                   # an empty one is SE as the recipe has it
    [variants.max]
    squeeze = "max"
    [variants.late]
    stages = [5]
"""
import re
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..models.insert import KINDS, PLACES
from ..models.meta import on_meta
from ..models.variant import MOST_BRANCHES, slim_resnet50_variant
from .recipe import Recipe

STAGES = (2, 3, 4, 5)  # as the papers count them: the stem is stage 1
OF_SE = ("reduction", "min_width", "squeeze", "excitation", "bias")
OPTIONS: dict[str, tuple[str, ...]] = {  # attention → the axes that it has besides place and stages
    "none": (), "se": OF_SE, "eca": (), "unsqueezed": ("reduction", "min_width", "excitation", "bias"),
    "pooled": ("squeeze", "excitation"), "convolution": ("reduction", "min_width", "bias"), "parallel": OF_SE,
    "sk": ("branches", "groups", "reduction", "min_width"),
}
TYPES = {"squeeze": str, "excitation": str, "bias": bool} | dict.fromkeys(
    ("reduction", "min_width", "branches", "groups"), int)
AXES = ("attention", "place", "stages", *TYPES)
SET_HERE = ("attention", "seed")  # of the recipe
DEFAULTS = {"squeeze": "avg", "excitation": "sigmoid", "bias": True, "branches": 2, "groups": 1}  # of every layer's
MOST_OF = {"reduction": 4096, "min_width": 4096, "branches": MOST_BRANCHES, "groups": 4096}
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.+-]{0,58}[A-Za-z0-9_+-])?")  # Windows drops a dot at the end
OF_FILES = (".toml", ".json", ".csv", ".parquet", ".part")  # of the ablation's folder
MOST = 1000  # variants, and seeds
MOST_PARAMETERS = 500_000_000  # of a variant's network
MOST_DIGITS = 18  # of a number
MOST_SAID = 80  # characters of a value in a sentence


class PlanError(ValueError):
    """A plan that makes no sense; the message is one sentence."""


@dataclass(frozen=True)
class Variant:
    """What stands in the network's units.

    Attributes:
        attention: a kind of ``with_attention``, or "none".
        place: of the gate in the unit.
        stages: those that get it, 2 to 5.
        options: of the layer; what it does without them is left out (``DEFAULTS``).
    """

    attention: str = "se"
    place: str = "standard"
    stages: tuple[int, ...] = STAGES
    options: dict[str, Any] = field(default_factory=dict)

    def build(self, recipe: Recipe, classes: int) -> nn.Module:
        """The network, with weights that follow from the recipe's seed: those outside of attention are every variant's.

        Raises:
            ValueError: for options or a place that make no sense.
        """
        torch.manual_seed(recipe.seed)
        return slim_resnet50_variant(**self._arguments(recipe, classes))

    def architecture(self, recipe: Recipe, classes: int) -> dict[str, Any]:
        """The network as a file of its weights describes it."""
        return {"name": slim_resnet50_variant.__name__} | self._arguments(recipe, classes)

    def _arguments(self, recipe: Recipe, classes: int) -> dict[str, Any]:
        return asdict(self) | {"num_classes": classes, "widths": recipe.widths, "strides": recipe.strides}

    def differences(self, other: "Variant") -> dict[str, Any]:
        """Axis → this one's value, where another has another.

        Of another attention the axes of its layer are compared, those that the other lacks with what they are by
        default (r and L have none); place and stages are not.
        """
        if self.attention != other.attention:
            return {"attention": self.attention} | {
                axis: value for axis in OPTIONS[self.attention]
                if (value := self.options.get(axis, DEFAULTS.get(axis))) != (
                    other.options.get(axis, DEFAULTS.get(axis)))}
        mine, theirs = ({"place": one.place, "stages": one.stages} | one.options for one in (self, other))
        return {axis: value for axis, value in mine.items() if theirs.get(axis, DEFAULTS.get(axis)) != value} | {
            axis: DEFAULTS.get(axis) for axis, value in theirs.items()
            if axis not in mine and value != DEFAULTS.get(axis)}


@dataclass(frozen=True)
class AblationPlan:
    """A plan, checked.

    Attributes:
        reference: name of the variant that others are compared with.
        seeds: of the trainings of each variant.
        recipe: that of all of them, but for the seed.
        variants: name → what is trained.
        pictures: training pictures; None for all.
    """

    reference: str
    seeds: tuple[int, ...]
    recipe: Recipe
    variants: dict[str, Variant]
    pictures: int | None = None

    @property
    def trainings(self) -> Iterator[tuple[str, int]]:
        """Variant and seed of each, in the order of training: a stopped run has whole seeds, and the last in part."""
        return ((name, seed) for seed in self.seeds for name in self.variants)

    def meaning(self) -> dict[str, Any]:
        """What the plan says, as plain values: two files that mean the same give the same."""
        return asdict(self)

    def label(self, name: str) -> str:
        """A variant by what makes it differ from the reference, in words."""
        variant, reference = self.variants[name], self.variants[self.reference]
        differences = variant.differences(reference)
        if "min_width" not in reference.options and variant.options.get("min_width") == self.recipe.min_width:
            differences.pop("min_width", None)  # every variant's that has one
        if variant.attention == "sk" != reference.attention:
            differences |= {"branches": variant.options.get("branches", DEFAULTS["branches"])}
        said = [words(axis, value) for axis, value in differences.items()]
        if variant.attention != reference.attention:
            others = {"place": variant.place, "stages": variant.stages}
            said += [words(axis, value) for axis, value in others.items()
                      if value != getattr(Variant(), axis) and variant.attention != "none"]
        return ", ".join(said) or _described(variant)


def words(axis: str, value: Any) -> str:
    """An axis of a variant and its value, as a label says them."""
    if axis == "attention":
        return {"none": "no attention", "eca": "ECA", "sk": "SK", "se": "SE", "unsqueezed": "no squeeze",
                "pooled": "wrong: gate is the pooled values", "convolution": "wrong: convolutions, no gate",
                "parallel": "wrong: gate from the unit's input"}[value]
    if axis == "place":
        return {"standard": "standard place", "pre": "PRE", "post": "POST", "identity": "Identity", "3x3": "3×3"}[value]
    if axis == "stages":
        return f"stage{'s' * (len(value) > 1)} {', '.join(map(str, value))} only"
    if axis == "bias":
        return "with biases" if value else "no biases"
    if axis in ("squeeze", "excitation"):
        return f"{ {'avg': 'mean', 'relu': 'ReLU'}.get(value, value)} {axis}"
    return f"{ {'reduction': 'r', 'min_width': 'L', 'branches': 'M', 'groups': 'G'}[axis]} = {value}"


def _described(variant: Variant) -> str:
    reduction = variant.options.get("reduction")
    return words("attention", variant.attention) + (f", r = {reduction}" if reduction else "")


def read_plan(path: str | Path) -> AblationPlan:
    """The plan of a file; every variant's network has been built once.

    Raises:
        OSError: when the file cannot be read.
        PlanError: one sentence, for a file that is no TOML, names that are not known, and values that make no sense.
    """
    return text_and_plan(path)[1]


def text_and_plan(path: str | Path) -> tuple[str, AblationPlan]:
    """As ``read_plan``, with the file's text; it is read once, for it may be a pipe."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # editors of Windows write a mark before the text
    except UnicodeDecodeError as error:
        raise PlanError(f"{path} is not text in UTF-8") from error
    try:
        return text, parse_plan(text)
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from error


def parse_plan(text: str, build: bool = True) -> AblationPlan:
    """As ``read_plan``, of the file's text; of one that has been trained, no network needs to be built again."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"this is no TOML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise PlanError("its tables or lists lie too deep in each other") from error
    except ValueError as error:  # Python reads decimal numbers up to a limit
        raise PlanError("a number in it has thousands of digits") from error
    _known(content, ("reference", "seeds", "pictures", "recipe", "variants"), "a plan")
    recipe = _recipe(content.get("recipe", {}))
    tables = content.get("variants", {})
    if not isinstance(tables, dict) or not tables or not all(isinstance(table, dict) for table in tables.values()):
        raise PlanError("a plan has variants, each a table [variants.NAME]")
    reference = content.get("reference", next(iter(tables)))
    if reference not in list(tables):
        raise PlanError(f"the reference {_said(reference)} is none of the variants {', '.join(tables)}")
    seeds = content.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or not all(_whole(seed) and 0 <= seed < 100_000 for seed in seeds):
        raise PlanError(f"seeds is a list of whole numbers, 0 to 99,999, not {_said(seeds)}")
    pictures = content.get("pictures")
    if pictures is not None and not (_whole(pictures) and pictures >= 1):
        raise PlanError(f"pictures is a number of them, 1 or more, not {_said(pictures)}")
    if max(len(tables), len(seeds)) > MOST or len(set(seeds)) < len(seeds):
        raise PlanError(f"a plan has up to {MOST:,} variants and seeds, each seed once")
    folders: dict[str, str] = {}
    for name in tables:
        if (same := folders.setdefault(name.lower(), name)) != name:
            raise PlanError(f"the variants {same} and {name} differ only in case, which many disks take for one folder")
    plan = AblationPlan(reference, tuple(seeds), recipe, {
        name: _variant(name, table, recipe) for name, table in tables.items()}, pictures)
    there: dict[str, str] = {}
    for name, variant in plan.variants.items():
        same = there.setdefault(str(variant), name)
        if same != name:
            raise PlanError(f"the variants {same} and {name} are the same")
        try:
            with torch.random.fork_rng(devices=[]), on_meta():  # which takes no memory for weights
                count = sum(weights.numel() for weights in variant.build(recipe, 2).parameters()) if build else 0
        except (ValueError, TypeError) as error:
            raise PlanError(f"variant {name}: {error}") from error
        if count > MOST_PARAMETERS:
            raise PlanError(f"variant {name} has {count:,} parameters, and cannot have more than {MOST_PARAMETERS:,}")
    return plan


def _recipe(table: Any) -> Recipe:
    if not isinstance(table, dict):
        raise PlanError("recipe is a table, [recipe]")
    known = {one.name: one.default for one in fields(Recipe) if one.name not in SET_HERE}
    _known(table, tuple(known), "a plan's recipe")
    given = {}
    for name, value in table.items():
        default: Any = known[name]
        if isinstance(default, tuple):
            fits = isinstance(value, list) and all(map(_whole, value))
            value = tuple(value) if fits else value
        elif isinstance(default, bool | str):
            fits = isinstance(value, type(default))
        else:
            fits = _whole(value) or (isinstance(default, float) and isinstance(value, float))
            value = type(default)(value) if fits else value
        if not fits:
            raise PlanError(f"{name} of the recipe cannot be {_said(value)}")
        given[name] = value
    try:
        return Recipe(**given)
    except ValueError as error:
        raise PlanError(f"the recipe: {error}") from error


def _variant(name: str, table: dict, recipe: Recipe) -> Variant:
    if not NAME.fullmatch(name):
        raise PlanError(f"a variant's name is a folder's, up to 60 of a–z, A–Z, 0–9 and _ . + -, "
                        f"not {_said(name)}")
    if name.lower().endswith(OF_FILES):
        raise PlanError(f"a variant's name is a folder's, beside files, and does not end as theirs do, not {name!r}")
    of = f"variant {name}"
    _known(table, AXES, of)
    attention, place, stages = (table.get(axis, getattr(Variant(), axis)) for axis in AXES[:3])
    if attention not in list(OPTIONS):
        raise PlanError(f"{of}: attention is one of none, {', '.join(KINDS)}, not {_said(attention)}")
    if place not in PLACES:
        raise PlanError(f"{of}: place is one of {', '.join(PLACES)}, not {_said(place)}")
    if not isinstance(stages, list | tuple) or not stages or not all(
            _whole(stage) and stage in STAGES for stage in stages):
        raise PlanError(f"{of}: stages is a list of some of {', '.join(map(str, STAGES))}, not {_said(stages)}")
    if attention == "none" and len(table) > 1:
        raise PlanError(f"{of} has no attention, and so no {', '.join(axis for axis in table if axis != 'attention')}")
    options: dict[str, Any] = {
        axis: getattr(recipe, axis) for axis in ("reduction", "min_width") if axis in OPTIONS[attention]}
    for axis, kind in TYPES.items():
        if axis not in table:
            continue
        if axis not in OPTIONS[attention]:
            raise PlanError(f"{of}: attention {attention!r} has no {axis}")
        if not (_whole(table[axis]) if kind is int else isinstance(table[axis], kind)):
            raise PlanError(f"{of}: {axis} cannot be {_said(table[axis])}")
        if axis in MOST_OF and table[axis] > MOST_OF[axis]:
            raise PlanError(f"{of}: {axis} cannot be more than {MOST_OF[axis]:,}")
        if table[axis] != DEFAULTS.get(axis):  # two plans that mean the same are the same
            options[axis] = table[axis]
    return Variant(attention, place, tuple(sorted(set(stages))), options)


def _known(table: dict, known: tuple[str, ...], of: str) -> None:
    if unknown := [str(key) for key in table if key not in known]:
        raise PlanError(f"{of} has no {', '.join(unknown)}; there are {', '.join(known)}")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10 ** MOST_DIGITS


def _said(value: Any) -> str:
    """A value in a sentence, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes decimal numbers up to a limit, and reads longer hexadecimal ones
        return "a number of thousands of digits"
    return text if len(text) <= MOST_SAID else f"{text[:MOST_SAID - 2]} …"
