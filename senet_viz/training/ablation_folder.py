"""The folder of an ablation: reading it, and the tables that are made of its trainings.

It has a folder a training, VARIANT/SEED, whose ``training.json`` is written last and makes it whole; the tables are
made of these alone, so that they do not depend on how often a run was killed, or on the order of its trainings.
"""
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from ..data.checksums import damaged, write_described
from ..data.files import replacing
from .ablation_plan import AblationPlan, parse_plan
from .ablation_table import of_trainings, of_variants

ABLATION, PLAN, TABLE, TRAININGS = "ablation.json", "plan.toml", "ablation", "trainings"
TABLES = (f"{TABLE}.csv", f"{TABLE}.parquet", f"{TRAININGS}.csv")
CHECKPOINT, TRAINING, CORRECT, LOG, CARD, WEIGHTS = (  # of a training
    "checkpoint.pt", "training.json", "correct.parquet", "monitor.parquet", "card.md", "weights.safetensors")


class AblationError(ValueError):
    """A folder that is no ablation, or another one's; the message is one sentence."""


@dataclass(frozen=True)
class Ablation:
    """A folder that was read.

    Attributes:
        path: its own.
        plan: what it holds, or is to hold.
        about: ``ablation.json``: data, versions, device.
        table: a row a variant (``ablation_table.of_variants``).
        trainings: a row a training (``ablation_table.of_trainings``).
    """

    path: Path
    plan: AblationPlan
    about: dict
    table: pd.DataFrame
    trainings: pd.DataFrame


def open_ablation(path: str | Path) -> Ablation:
    """What a folder of ``ablate`` holds so far, from its tables.

    Raises:
        FileNotFoundError: when there is no such folder or nothing in it.
        AblationError: one sentence, for a folder that is none, or that is damaged.
    """
    path = Path(path)
    said = about(path)
    if said is None:
        raise FileNotFoundError(f"{path} holds no ablation")
    if wrong := damaged(path / ABLATION, said):
        raise AblationError(f"{path / wrong} is not as it was written: run the ablation again to make it anew")
    try:
        trainings = pd.read_csv(path / f"{TRAININGS}.csv", dtype={"variant": str},  # names are text, also 16 and None
                                keep_default_na=False, na_values=[""])
        return Ablation(path, parse_plan((path / PLAN).read_text(encoding="utf-8"), build=False), said,
                        pd.read_parquet(path / f"{TABLE}.parquet"), trainings)
    except FileNotFoundError as error:
        raise AblationError(f"{path} has no training that is over") from error


def tables(path: str | Path, plan: AblationPlan) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table of variants and that of trainings, made anew from the folder of each training that is over."""
    path, facts, answers = Path(path), [], {}
    for name, seed in plan.trainings:
        folder = path / name / str(seed)
        if (folder / TRAINING).is_file():
            facts.append(json.loads((folder / TRAINING).read_text(encoding="utf-8")))
            if facts[-1]["status"] == "trained":
                answers[name, seed] = pd.read_parquet(folder / CORRECT)
    trainings = of_trainings(facts)
    return of_variants(plan, trainings, answers), trainings


def against(found: Ablation, reference: str) -> pd.DataFrame:
    """The table of variants, compared with another one than the plan's reference; it needs each training's answers."""
    return tables(found.path, replace(found.plan, reference=reference))[0]


def about(out: Path) -> dict | None:
    """What ``ablation.json`` of a folder says; None without one.

    Raises:
        AblationError: where it is damaged, or no ablation's.
    """
    if not (out / ABLATION).is_file():
        return None
    try:
        found = json.loads((out / ABLATION).read_text(encoding="utf-8"))
        found["format"], found["plan"]
    except (ValueError, KeyError, TypeError) as error:
        raise AblationError(f"{out / ABLATION} is damaged, or no ablation's") from error
    return found


def write_tables(out: Path, plan: AblationPlan, said: dict) -> None:
    """Make the tables anew and write them, with ``ablation.json``, which says ``said``; none of no training."""
    variants, trainings = tables(out, plan)
    if trainings.empty:
        return
    for name, write in ((f"{TABLE}.csv", variants.to_csv), (f"{TABLE}.parquet", variants.to_parquet),
                        (f"{TRAININGS}.csv", trainings.to_csv)):
        with replacing(out / name) as part:
            write(part, index=False)
    write_described(out / ABLATION, said, (PLAN, *TABLES))
