"""What edits of gates do to the accuracy over a data set, and whether a gate has to be that of its picture.

A gate is static where a fixed one, its mean over all pictures, does as well, and another picture's, too; it is dynamic
where accuracy is lost with its mean. Everything is read from the table of ``senet_viz.collecting.open_evaluation``.
"""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..gates import AttentionBlock, Edit, EditError, parse_edits
from ..gates.edits import RANK
from ..gates.removals import removals
from ..reports.text import ends, plain
from ..statistics.archive import IMAGES
from ..statistics.paired import between

MARGIN = 0.01  # of top-1: a gate does as well where no more is lost, by the whole interval
LEAST = 0.05  # of top-1 without edits: of less, ``MARGIN`` is no small part, and a network at chance has none to lose
WITHOUT, MEAN = "no attention", "mean gate"
DEALT = {"class": "gate of the same class", "images": "another picture's gate", "classes": "gate of another class"}
SAME, ANOTHER, OTHER = DEALT.values()
ALL = "all blocks"
STATIC, REPLACEABLE, DYNAMIC, OPEN = "nearly static", "replaceable", "dynamic", "not told"
OF_THE_CLASS = r"=\s*shuffle\s+class\b"  # edits whose gates tell the true class
FEW = 6  # places that get a sentence each
AGAINST = {"regained": (MEAN, WITHOUT), "spared": (SAME, OTHER)}  # columns of what a gate has above another
COLUMNS = ["level", "place", "blocks", "gate", "edit", "top1", "difference", "low", "high", "low_classes",
           "high_classes", "worth", "kept", *(f"{name}{end}" for name in AGAINST for end in ("", "_low", "_high"))]


def static_or_dynamic(table: pd.DataFrame, blocks: Sequence[AttentionBlock], folder: str | Path | None = None
                      ) -> pd.DataFrame:
    """Accuracy with each stage's, or block's, gates replaced: by their mean, and by another picture's.

    Args:
        table: of ``senet_viz.collecting.open_evaluation``. Edits of one whole block, one whole stage or all blocks are
            looked at, others are not.
        blocks: all of the network's.
        folder: of the evaluation, for what gates are compared in picture by picture; None leaves that out, as does a
            folder without the rows of its pictures.

    Returns:
        A row a place and gate; stages before blocks, places in network order. Columns: level ("stage", with all blocks
        together among them, or "block"), place, blocks (their labels), gate, edit; top1, difference, low, high,
        low_classes and high_classes of the table; worth (top-1 lost with "no attention"; nan where that was not
        evaluated) and kept (the share of it that is left, where the interval of worth for other pictures leaves 0 out;
        else nan); regained (with the mean gate: top-1 above that with no attention) and spared (with the gate of the
        same class: above that with one of another class), each with the ends of its 95 % interval, for other classes
        where that is known; nan in all other rows.
        Gates are "no attention" (1, or where branches are weighed all alike), "mean gate", "rank k" (that and what lies
        along the first k principal directions), and those of other pictures. A level of which nothing but "no
        attention" was evaluated has no rows.
    """
    rows: dict[tuple[str, str, str], dict[Any, Any]] = {}
    for evaluated in table.iloc[1:].to_dict("records"):
        edit = _whole(evaluated["edit"])
        where, gate = (_place(edit, blocks), _gate(edit, blocks)) if edit else (None, None)
        if where and gate:
            rows.setdefault((where["level"], where["place"], gate), where | {"gate": gate} | evaluated)
    found = []
    for (level, place, _), row in rows.items():
        without = rows.get((level, place, WITHOUT))
        row["worth"] = -without["difference"] if without else float("nan")
        row["kept"] = 1 + row["difference"] / row["worth"] if without and without["high"] < 0 else float("nan")
        if any(other[0] == level and other[2] != WITHOUT for other in rows):
            found.append(row)
    if folder is not None and (Path(folder) / IMAGES).is_file():
        _compare(rows, folder)
    found.sort(key=lambda row: (row["level"] != "stage", row["order"], _order(row["gate"])))
    return pd.DataFrame(found, columns=COLUMNS)


def _compare(rows: dict[tuple[str, str, str], dict[Any, Any]], folder: str | Path) -> None:
    """Put in what gates are compared in picture by picture."""
    pairs = {(name, key): (rows[key]["edit"], rows[*key[:2], reference]["edit"])
             for name, (gate, reference) in AGAINST.items() for key in rows
             if key[2] == gate and (*key[:2], reference) in rows}
    if pairs:
        found = between(folder, list(pairs.values())).to_dict("records")
        for (name, key), row in zip(pairs, found):
            low, high = _interval(row)
            rows[key] |= {name: row["difference"], f"{name}_low": low, f"{name}_high": high}


def _whole(text: str) -> Edit | None:
    """The edit of a row, where it is a single one of all channels; its words stand for nothing."""
    try:
        edits = parse_edits(text, mean={}, rank=lambda _: {})
    except EditError:  # an array's, or a list's with a number behind
        return None
    return edits[0] if len(edits) == 1 and edits[0].channels is None else None


def _place(edit: Edit, blocks: Sequence[AttentionBlock]) -> dict[str, Any] | None:
    """Which place it is of: level, place, blocks, and order in the network."""
    touched = [i for i, block in enumerate(blocks) if edit.matches(block)]
    if not touched:
        return None
    first, stage = blocks[touched[0]], {blocks[i].stage for i in touched}
    if len(touched) == 1 and (len(blocks) == 1 or edit.where in (first.label, first.name)):
        return {"level": "block", "place": first.label, "order": touched[0]}
    if len(stage) == 1 and len(touched) == sum(block.stage in stage for block in blocks) < len(blocks):
        return {"level": "stage", "place": f"stage {first.stage}", "order": touched[0]}
    if len(touched) == len(blocks):
        return {"level": "stage", "place": ALL, "order": len(blocks)}
    return None


def _gate(edit: Edit, blocks: Sequence[AttentionBlock]) -> str | None:
    """What takes the gates' place."""
    if edit.deals:
        return DEALT[edit.deals]
    if edit.text == "mean":
        return MEAN
    if RANK.fullmatch(edit.text):
        return edit.text
    written = str(edit)[len(edit.where) + 1:]
    return WITHOUT if all(removals(block)[-1] == written for block in blocks if edit.matches(block)) else None


def _order(gate: str) -> tuple[int, int]:
    rank = RANK.fullmatch(gate)
    names = [WITHOUT, MEAN, "", *DEALT.values()]
    return (names.index(""), int(rank[1])) if rank else (names.index(gate), 0)


# --- what was found, in sentences (Markdown)
# -----------------------------------------------------------------------------


def verdict(rows: pd.DataFrame) -> str:
    """What the rows of one place say of its gates.

    "dynamic" where the mean gate loses more top-1 than ``MARGIN``, by the whole interval. Where it does not, by the
    whole interval, a fixed gate does as well: "nearly static" where another picture's (of another class, where that was
    evaluated) does not either, else "replaceable". And else "not told", as where top-1 is under ``LEAST`` without
    edits. Intervals are for other classes, where they are known.
    """
    gates = {row["gate"]: row for row in rows.to_dict("records")}
    if MEAN not in gates:
        return OPEN
    if _small(gates[MEAN]):
        if _unedited(gates[MEAN]) < LEAST:
            return OPEN
        return STATIC if any(_small(gates[gate]) for gate in _foreign(rows) if gate != SAME) else REPLACEABLE
    return DYNAMIC if _interval(gates[MEAN])[1] < -MARGIN else OPEN


def describe_static(table: pd.DataFrame, level: str = "stage") -> str:
    """What ``static_or_dynamic`` found at a level ("stage" or "block"), in sentences; "" where it has no rows."""
    rows = table[table["level"] == level]
    if rows.empty:
        return ""
    parts = {str(place): part for place, part in rows.groupby("place", sort=False)}
    verdicts = {place: verdict(part) for place, part in parts.items()}
    wide = _over_classes(rows)
    of = "other classes of the same kind" if wide else "other pictures of these classes"
    if len(parts) > FEW:
        told = {said: said for said in (STATIC, REPLACEABLE, DYNAMIC, OPEN)}
        if not any(_foreign(part) for part in parts.values()):
            told[REPLACEABLE] += f" or {STATIC} (another's gate was not evaluated)"
        named = [f"{words} in **{len(names)}** ({', '.join(names)})" for said, words in told.items()
                 if (names := [place for place, its in verdicts.items() if its == said])]
        found = f"Of {len(parts)} {level}s the gate is {'; '.join(named)}."
    else:
        found = "\n".join(f"- In **{place}** {_found(part)}: **{verdicts[place]}**." for place, part in parts.items())
        found += (f"\n\nChanges are in points, in brackets their 95\u00a0% interval for {of}"
                  f"{' (for other pictures of these classes it is the thick bar)' if wide else ''}.")
    found += _by_class(rows, level)
    if (before := _unedited(rows.iloc[0])) < LEAST:
        found += (f" Without edits top-1 is {before:.1%}; where it is under {LEAST:.0%} there is so little to lose "
                  f"that no gate is called static.")
    return (f"{found} *{DYNAMIC.capitalize()}*: the mean gate loses more than {100 * MARGIN:g} point of top-1, by the "
            f"whole interval for {of}; *{STATIC}*: neither it nor another's does, by the whole interval; "
            f"*{REPLACEABLE}*: it does not, another's may; *{OPEN}*: none of this can be said.")


def _found(rows: pd.DataFrame) -> str:
    """One place's numbers."""
    gates = {row["gate"]: row for row in rows.to_dict("records")}
    parts = []
    if mean := gates.get(MEAN):
        text = f"by {_change(mean)} with the mean gate"
        if mean["kept"] == mean["kept"]:
            all_of_it, back = f"{100 * mean['worth']:.1f}", f"**{100 * (mean['worth'] + mean['difference']):.1f}**"
            between_ends = "" if mean["regained"] != mean["regained"] else (
                f" ({ends(100 * mean['regained_low'], 100 * mean['regained_high'], 1, sign='')})")
            kept = f"all {all_of_it}" if mean["difference"] >= 0 else f"{back}{between_ends} of the {all_of_it}"
            even = (edit := _whole(gates[WITHOUT]["edit"])) and edit.value == "uniform"
            text += (f", which keeps {kept} points that "
                     f"are lost with no attention ({'even weights' if even else 'gates at 1'})")
            if mean["difference"] >= 0 and between_ends:
                text += f" and is {100 * mean['regained']:.1f}{between_ends} above these"
        parts.append(text)
    if mean and not _small(mean):
        ranks = {int(gate[5:]): row for gate, row in gates.items() if RANK.fullmatch(gate) and gate != "rank 0"}
        enough = next((k for k, row in sorted(ranks.items()) if _small(row)), max(ranks, default=None))
        if enough:
            directions = f"rank {enough}, {enough} direction{'s' * (enough > 1)} beside the mean"
            more = "" if _small(ranks[enough]) else " (more were not evaluated)"
            parts.append(f"by {_change(ranks[enough])} with {directions}{more}")
    parts += [f"by {_change(gates[gate])} with {'a ' * (gate != ANOTHER)}{gate}" for gate in _foreign(rows)]
    if not mean and WITHOUT in gates:
        parts.append(f"by {_change(gates[WITHOUT])} with no attention")
    return f"top-1 changes {'; '.join(parts)}" if parts else "none of the gates that tell was evaluated"


def _unedited(row: Mapping[Any, Any] | pd.Series) -> float:
    """Top-1 without the edit."""
    return float(row["top1"] - row["difference"])


def _foreign(rows: pd.DataFrame) -> list[str]:
    """Which gate of another picture is spoken of: of another class where that was evaluated."""
    there = set(rows["gate"])
    return [gate for gate in (OTHER, ANOTHER, SAME) if gate in there][:1]


def _by_class(rows: pd.DataFrame, level: str) -> str:
    """Whether it matters that the other picture is of the same class."""
    told = rows[rows["spared_low"].notna()]
    if told.empty:
        return ""
    less, more = (told["place"][way].tolist() for way in (told["spared_low"] > 0, told["spared_high"] < 0))
    if len(told) == 1:
        row = told.iloc[0]
        verb = "costs less than" if less else "costs more than" if more else "cannot be told from"
        return (f" Picture by picture a gate of the same class {verb} one of another: top-1 differs by "
                f"{100 * row['spared']:+z.1f} ({ends(100 * row['spared_low'], 100 * row['spared_high'], 1)}).")
    named = [f" ({', '.join(places)})" if places else "" for places in (less, more)]
    return (f" Picture by picture a gate of the same class costs less than one of another in **{len(less)}** of "
            f"{len(told)} {'places' if level == 'stage' else 'blocks'}{named[0]} and more in **{len(more)}**{named[1]}"
            f", by the 95\u00a0% interval.")


def missing(table: pd.DataFrame, blocks: Sequence[AttentionBlock], level: str = "stage") -> str:
    """Which gates were not evaluated at a level, and the command that gives them all; "" where none is missing.

    Args:
        table: of ``static_or_dynamic``.
        blocks: all of the network's.
        level: "stage" or "block".
    """
    there = set(table[table["level"] == level]["gate"])
    words = dict.fromkeys(removals(block)[-1] for block in blocks)
    values = dict.fromkeys(words, WITHOUT) | {"mean": MEAN, "rank 1": "rank 1"} | {
        f"shuffle {word}": gate for word, gate in DEALT.items()}
    lacks = list(dict.fromkeys(gate for gate in values.values() if gate not in there))
    if not lacks:
        return ""
    written = " ".join(f'"{value}"' if " " in value else value for value in values)
    return (f"Not evaluated: {', '.join(lacks)}. All are with `senet-viz evaluate MODEL DATA FOLDER "
            f"--each-{level} {written}`, into a new folder.")


def describe_evaluation(table: pd.DataFrame) -> str:
    """What ``senet_viz.collecting.open_evaluation`` holds, in sentences (Markdown)."""
    unedited, rows = table.iloc[0], table.iloc[1:]
    wide = _over_classes(rows)
    intervals = pd.DataFrame([_interval(row) for row in rows.to_dict("records")], columns=["low", "high"])
    lower, higher = rows[(intervals["high"] < 0).to_numpy()], rows[(intervals["low"] > 0).to_numpy()]
    worse, better = len(lower), len(higher)
    chance = round(0.05 * len(rows))
    text = (f"Over {unedited['images']:,} pictures top-1 is **{unedited['top1']:.1%}** without edits. By the 95\u00a0% "
            f"interval for {'other classes of the same kind' if wide else 'other pictures of these classes'} it is "
            f"lower with **{worse}** and higher with **{better}** of {len(rows)} edits")
    if worse + better > chance:  # fewer may be chance alone
        if worse:
            low = lower.iloc[lower["difference"].argmin()]
            text += f", lowest with **{plain(low['edit'])}** ({low['top1']:.1%})"
        if better:
            high = higher.iloc[higher["difference"].argmax()]
            text += f", highest with **{plain(high['edit'])}** ({high['top1']:.1%})"
    text += _given(higher)
    if not worse + better:
        text += "; none can be told from no edit at all"
    elif worse + better < len(rows):
        text += "; the others cannot be told from none"
    if chance:
        text += (f". If each edit only swapped as many answers for better as for worse, about {chance} of {len(rows)} "
                 f"would still seem to change it")
    return f"{text}. Nothing was trained anew: a network may miss what another has learned to do without."


def _given(higher: pd.DataFrame) -> str:
    """That edits which deal gates within a class give the label away, where such raise accuracy; else ""."""
    count = int(higher["edit"].str.contains(OF_THE_CLASS).sum())
    if not count:
        return ""
    which = ("the higher one takes" if len(higher) == 1 else
             f"{'all' if count == len(higher) else count} of the {len(higher)} higher ones take{'s' * (count == 1)}")
    return (f"; {which} the gates of other pictures of the true class, so that the label goes in, which is no "
            "improvement")


def _over_classes(rows: pd.DataFrame) -> bool:
    """Whether there are intervals for other classes."""
    return "low_classes" in rows and bool(rows["low_classes"].notna().all())


def _interval(row: dict) -> tuple[float, float]:
    """For other classes where it is known, else for other pictures."""
    low, high = row.get("low_classes", float("nan")), row.get("high_classes", float("nan"))
    return (low, high) if low == low else (row["low"], row["high"])


def _small(row: dict) -> bool:
    """Whether no more than ``MARGIN`` is lost, by the whole interval."""
    return _interval(row)[0] >= -MARGIN


def _change(row: dict) -> str:
    low, high = _interval(row)
    return f"{100 * row['difference']:+z.1f} ({ends(100 * low, 100 * high, 1)})"
