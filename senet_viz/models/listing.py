"""The networks with channel attention that can be loaded by name: the embedded ones, timm's and torchvision's.

What stands in the table was computed by ``count.py``; timm's accuracies are from timm's results tables. Reading it
needs neither torch nor pandas, so that the command line answers at once.
"""
from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .cache import Remote

if TYPE_CHECKING:
    import pandas as pd

TABLE = Path(__file__).with_name("catalog.csv")


@dataclass(frozen=True)
class Entry:
    """A network of the table.

    Attributes:
        name: as ``sv.load`` takes it.
        kind: of its attention blocks, "SE"; "+" between several.
        blocks: their number.
        parameters: their number.
        input: side in pixels.
        classes: their number.
        top1: published, in %; None where there is none.
        top1_input: the side it was measured at.
        licence: of the weights; "" where none is stated.
        scores: all published top-1, by side.
        place: where the weights are fetched from; None where they come with the program.
    """

    name: str
    kind: str
    blocks: int
    parameters: int
    input: int
    classes: int
    top1: float | None
    top1_input: int | None
    licence: str
    scores: dict[int, float]
    place: Remote | None

    @property
    def downloaded(self) -> bool:
        """Whether the weights are on this machine."""
        return self.place is None or self.place.cached is not None


def entries(search: str = "") -> list[Entry]:
    """The networks whose name or kind of attention contains every word of ``search``, in any case; all without one."""
    words = search.casefold().split()
    return [entry for entry in _table() if all(word in f"{entry.name} {entry.kind}".casefold() for word in words)]


def catalog(search: str = "") -> pd.DataFrame:
    """The networks whose name or kind of attention contains every word of ``search``, in any case; all without one.

    Returns:
        A row a network, the embedded ones first: name (as ``sv.load`` takes it), kind ("SE"; "+" between several),
        blocks (their number), parameters, input (side in pixels), classes, top1 (published, in %; NaN where there is
        none) and top1_input (the side it was measured at), licence ("" where none is stated), downloaded (whether the
        weights are on this machine).
    """
    import pandas as pd

    types = {"name": "str", "kind": "str", "blocks": "int64", "parameters": "int64", "input": "int64",
             "classes": "int64", "top1": "float64", "top1_input": "Int64", "licence": "str", "downloaded": "bool"}
    found = entries(search)
    return pd.DataFrame({column: pd.Series([getattr(entry, column) for entry in found], dtype=kind)
                         for column, kind in types.items()})


def published(name: str) -> str:
    """The published top-1 of a timm network of the table, as text; "" where there is none."""
    found = {entry.name: entry.scores for entry in _table()}.get(name, {})
    scores = " and ".join(f"{value:.1f} % at {side} px" for side, value in found.items())
    return scores and f"top-1 {scores} (as timm publishes)"


@cache
def _table() -> list[Entry]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return [_entry(row) for row in csv.DictReader(file) if row["blocks"] != "{}"]


def _entry(row: dict[str, str]) -> Entry:
    kinds = json.loads(row["blocks"])
    pairs = (pair.split(":") for pair in row["published"].split(";") if pair)  # "224:81.762; 288:82.59"
    scores = {int(side): float(value) for side, value in pairs}
    # that of the size that sv.load's transform gives, where it was measured there
    side = int(row["input"]) if int(row["input"]) in scores else next(iter(scores), None)
    place = Remote(repository=row["repository"], url=row["url"]) if row["repository"] or row["url"] else None
    return Entry(
        name=row["name"], kind="+".join(kinds), blocks=sum(kinds.values()), parameters=int(row["parameters"]),
        input=int(row["input"]), classes=int(row["classes"]), top1=None if side is None else scores[side],
        top1_input=side, licence=row["licence"], scores=scores, place=place)
