"""The text of edits, as a person makes it step by step: what gates can be set to, lines that come and go, and words.

``parse_edits`` reads such a text. Some of its words stand for gates that were met elsewhere: "mean" and "rank k" over a
data set, and "photo", another picture's.
"""
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..gates import AttentionBlock, Edit, EditError, parse_edits
from ..gates.edits import RANK, UnknownValue
from ..gates.removals import branch_values, removals
from ..statistics import Statistics

OFF, NUMBER, SCALED, TOP, SHUFFLED = ("off", "a number", "scaled", "only the most excited channels",
                                      "shuffled over channels")
MIXED, UNIFORM = "a mixture", "uniform"
MEAN, RANKED, PHOTO = "its mean over a data set", "its mean and first directions", "another photo's"
VALUES = {"mean": "'mean' (over a data set)", "rank": "'rank 1' (that and the first principal direction)",
          "photo": "'photo' (the other photo's gates)"}  # of words, as they are named in a list of values
OWN = "own"  # the step of a stage at which it has no edit


# --- values
# ------------------------------------------------------------------------------------------------------------


def choices(blocks: Sequence[AttentionBlock], words: Sequence[str] = ()) -> dict[str, str | None]:
    """What the gates of some blocks can be set to, in words, and the value of an edit that does so.

    Args:
        blocks: one or more; where they are not alike only what makes sense for all is offered.
        words: of "mean", "rank" and "photo", those that stand for something.

    Returns:
        Words → value; None where it takes a number (``NUMBER``, ``SCALED``, ``TOP``, ``MIXED``, ``RANKED``).

    >>> choices([sk])
    {"all 3x3": "3x3", "all 5x5": "5x5", "a mixture": None, "uniform": "uniform", "shuffled over channels": …}
    """
    block = blocks[-1]
    found: dict[str, str | None] = {}
    if any(removals(each) != removals(block) for each in blocks):
        found |= {SCALED: None}
    elif block.branches > 1:
        found |= {f"all {value}": value for value in branch_values(block)} | {MIXED: None, UNIFORM: "uniform"}
    else:
        found |= {OFF: removals(block)[0], NUMBER: None, SCALED: None, TOP: None}
    found[SHUFFLED] = "shuffle channels"
    return found | {name: None if word == "rank" else word
                    for name, word in ((MEAN, "mean"), (RANKED, "rank"), (PHOTO, "photo")) if word in words}


def mixture(branches: int, last: float) -> str:
    """The value of an edit that weighs the last branch so much, and the others alike with what is left of 1.

    >>> mixture(3, 0.5)
    'mix 0.25 0.25 0.5'
    """
    rest = round((1 - last) / (branches - 1), 4)
    return f"mix {' '.join(f'{share:g}' for share in [*[rest] * (branches - 1), last])}"


def click_values(block: AttentionBlock) -> list[str]:
    """The two or more values that a single channel is set to: 0 and 1, or each branch."""
    return ["0", "1"] if block.branches == 1 else branch_values(block)


def stage_steps(blocks: Sequence[AttentionBlock]) -> dict[str, str | None]:
    """A scale for the gates of a stage: what a step is called → value of an edit, None where there is no edit.

    Gates that scale a map go from ×0 to ×2, the last of two branches from a weight of 0 to 1. {} where the blocks are
    not alike, or weigh more branches than two.
    """
    block = blocks[0]
    if block.branches > 2 or any(removals(each) != removals(block) for each in blocks):
        return {}
    if block.branches == 2:
        return {OWN: None} | {f"{tenth / 10:g}": f"mix {1 - tenth / 10:g} {tenth / 10:g}" for tenth in range(11)}
    return {OWN: None} | {f"×{tenth / 10:g}": f"*{tenth / 10:g}" for tenth in range(21)}


# --- lines
# -------------------------------------------------------------------------------------------------------------


def lines(text: str) -> list[str]:
    """One edit each, without empty ones."""
    return [line.strip() for line in re.split(r"[;\n]", text) if line.strip()]


def with_line(text: str, where: str, value: str, channels: str = "") -> str:
    """A text of edits with one more at its end."""
    return "\n".join([*lines(text), f"{where}{f'[{channels}]' if channels else ''}={value}"])


def with_stage(text: str, stage: int, value: str | None) -> str:
    """A text of edits in which a stage as a whole has this edit and no other; none for None."""
    kept = [line for line in lines(text) if not line.startswith(f"stage {stage}=")]
    return "\n".join([*kept, *([f"stage {stage}={value}"] if value else [])])


def step_of_stage(text: str, stage: int, steps: Mapping[str, str | None]) -> str:
    """The step (of ``stage_steps``) that a text of edits says; ``OWN`` where it says none of them."""
    said = [line.partition("=")[2] for line in lines(text) if line.startswith(f"stage {stage}=")]
    return next((step for step, value in steps.items() if said and value == said[-1]), OWN)


# --- words
# -------------------------------------------------------------------------------------------------------------


def words_used(text: str) -> set[str]:
    """Which of "mean", "rank" (with any number behind) and "photo" are the value of an edit."""
    values = (line.partition("=")[2].strip() for line in lines(text))
    return {"rank" if RANK.fullmatch(value) else value for value in values} & {"mean", "rank", "photo"}


def read_edits(text: str, name: str, statistics: Statistics | None = None,
               photo: Mapping[str, torch.Tensor | np.ndarray] | None = None) -> list[Edit]:
    """Edits as ``parse_edits`` reads them, with "mean", "rank k" and "photo".

    Args:
        text: of the edits.
        name: of the model, for the sentence that statistics are missing.
        statistics: whose gates "mean" and "rank k" stand for.
        photo: another picture's gates, by block (``View.gates``), which "photo" stands for.

    Raises:
        EditError: for a text that cannot be read, and for a word that stands for nothing here, or asks for classes.
    """
    used = words_used(text)
    values: dict[str, Any] = {}
    if used & {"mean", "rank"} and statistics is None:
        word = "mean" if "mean" in used else "rank"
        raise EditError(f"There are no statistics of {name} here, so that '{word}' has no value: collect some with "
                        f"python -m senet_viz collect.")
    if "rank" in used and statistics is not None and not statistics.sampled:
        raise EditError("The statistics here hold no principal directions, so that 'rank' has no value: collect them "
                        "anew with python -m senet_viz collect.")
    if "photo" in used and photo is None:
        raise EditError("There is no other photo here, so that 'photo' has no value: choose a second one.")
    if statistics is not None and "mean" in used:
        values["mean"] = {block.name: statistics.overall_mean(block) for block in statistics.blocks}
    if statistics is not None and "rank" in used:
        values["rank"] = statistics.rank
    if photo is not None and "photo" in used:
        values["photo"] = photo
    try:
        edits = parse_edits(text, **values)
    except UnknownValue as error:
        here = {"mean": statistics is not None, "rank": bool(statistics and statistics.sampled),
                "photo": photo is not None}
        raise UnknownValue(error.value, [VALUES[word] for word in VALUES if here[word]]) from None
    for edit in edits:
        if edit.deals in ("class", "classes"):
            raise EditError(f"{edit} takes pictures whose classes are known, as senet-viz evaluate has them.")
    return edits
