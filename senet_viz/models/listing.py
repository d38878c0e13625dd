"""The networks with channel attention that can be loaded by name: the embedded ones, timm's and torchvision's.

What stands in the table was computed by ``count.py``; timm's accuracies are from timm's results tables.
"""
import json
from functools import cache
from pathlib import Path

import pandas as pd

from .download import Remote, UnknownModel, remote

TABLE = Path(__file__).with_name("catalog.csv")


def catalog(search: str = "") -> pd.DataFrame:
    """The networks whose name or kind of attention contains every word of ``search``, in any case; all without one.

    Returns:
        A row a network, the embedded ones first: name (as ``sv.load`` takes it), kind ("SE"; "+" between several),
        blocks (their number), parameters, input (side in pixels), classes, top1 (published, in %; NaN where there is
        none) and top1_input (the side it was measured at), licence ("" where none is stated), downloaded (whether the
        weights are on this machine).
    """
    table = _table()
    words = (table["name"] + " " + table["kind"]).str.casefold()
    for word in search.casefold().split():
        table = table[words.loc[table.index].str.contains(word, regex=False)]
    table = table.drop(columns="published").reset_index(drop=True)
    return table.assign(downloaded=[_here(name) for name in table["name"]])


def published(name: str) -> str:
    """The published top-1 of a timm network of the table, as text; "" where there is none."""
    found = dict(zip(_table()["name"], _table()["published"])).get(name, "")
    scores = " and ".join(f"{value:.1f} % at {side} px" for side, value in _scores(found).items())
    return scores and f"top-1 {scores} (as timm publishes)"


@cache
def _table() -> pd.DataFrame:
    table = pd.read_csv(TABLE, keep_default_na=False)
    blocks = table["blocks"].map(json.loads)
    scores = [_scores(text) for text in table["published"]]
    # that of the size that sv.load's transform gives, where it was measured there
    side = [size if size in found else next(iter(found), None) for size, found in zip(table["input"], scores)]
    columns = pd.DataFrame({
        "name": table["name"], "kind": blocks.map("+".join), "blocks": blocks.map(lambda kinds: sum(kinds.values())),
        "parameters": table["parameters"], "input": table["input"], "classes": table["classes"],
        "top1": [found.get(size, float("nan")) for found, size in zip(scores, side)],
        "top1_input": pd.array(side, dtype="Int64"), "licence": table["licence"], "published": table["published"]})
    return columns[columns["blocks"] > 0]


def _scores(text: str) -> dict[int, float]:
    """"224:81.762; 288:82.59" → {224: 81.762, 288: 82.59}."""
    pairs = (pair.split(":") for pair in text.split(";") if pair)
    return {int(side): float(value) for side, value in pairs}


def _here(name: str) -> bool:
    place = _place(name)
    return name.startswith("demo/") or (place is not None and place.cached is not None)


@cache
def _place(name: str) -> Remote | None:
    try:
        return remote(name)
    except UnknownModel:  # of a timm or torchvision of another version
        return None
