"""What the dimension of the gates says, in sentences (Markdown: block labels are bold) that follow from its numbers."""
import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from ..data.class_names import short_names
from ..reports.text import listed, plain
from ..tables import kernel_name
from .archive import Statistics
from .dimension import FEWEST, ONE, TAIL
from .summaries import SURE, labelled, median_omega_squared, unrelated

HEAVY = 0.3  # the share of the variance from which on 1 % of the pictures are said to make it
NAMED = 3  # outlying pictures that are named
EXACT = 1.01  # a gate of more directions than this has channels that are one number nearly, not quite
NARROW = 0.1  # the share of the classes up to which the effective number of them is said to be small


def along_one(stats: Statistics, zoom: float = 1.0) -> list[str]:
    """Labels of the blocks whose gate moves along one direction: a dimension under ``ONE``, where it was measured."""
    if not stats.sampled:
        return []
    return [block.label for block in stats.blocks if stats.measures(block, zoom=zoom)["dimension"] < ONE]


def mark(stats: Statistics | None, label: str) -> str:
    """In how many directions a block's gate moves, in one sentence (Markdown).

    Args:
        stats: of the network that is shown; None where there are none.
        label: the block's.

    Returns:
        "" where it is not known.
    """
    if stats is None or not stats.sampled:
        return ""
    block = stats.block(label)
    channels, name = block.channels, kernel_name(block, -1)
    gate = f"weight of {name}" if name else "gate"
    number = stats.measures(label, zoom=stats.zooms[0])["dimension"]
    if math.isnan(number):
        return ""
    over = f"Over {stats.sampled:,} pictures of {plain(stats.metadata['data'])} the {gate} of **{label}** moves"
    if number < ONE:
        return (f"{over} along **one** direction: its {channels:,} channels are {_nearly(number)}one number for each "
                f"picture.")
    return f"{over} in **{number:.1f}** directions (participation ratio of its {channels:,} channels)."


def repeated(along: Sequence[str], labels: Iterable[str], stats: Statistics) -> str:
    """A sentence for sections that show channels one by one, where all channels of some of these blocks are one number.

    Args:
        along: labels, ``along_one(stats)``.
        labels: of the blocks that are shown.
        stats: the statistics.

    Returns:
        "" where there are no such blocks.
    """
    shown = set(labels)
    found = [label for label in along if label in shown]
    if not found:
        return ""
    return (f"All channels of {named(stats, found)} move along one direction: there one channel shows nearly what all "
            f"others show.")


def dimension_findings(stats: Statistics, table: pd.DataFrame, units: pd.DataFrame | None = None, zoom: float = 1.0
                       ) -> list[str]:
    """What the table says.

    Args:
        stats: the statistics.
        table: ``summaries.dimension(stats)``.
        units: ``summaries.hidden_units(stats)``.
        zoom: that of the tables.
    """
    drawn = "once" if stats.draws == 1 else f"{stats.draws} times"
    gate = _rows(table, "gate")
    told = gate["dimension"].dropna()
    if told.empty and still(stats):
        return ["The gates are the same for every picture: they move in no direction."]
    if told.empty:
        return [f"In how many directions the gates move cannot be told from {stats.sampled:,} pictures: nothing moves, "
                f"or there are fewer than {FEWEST} pictures for each direction."]
    found, one = [], [label for label in told.index if told[label] < ONE]
    if one:
        sizes = sorted({int(gate["channels"][label]) for label in one})
        channels = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
        dimension = f"dimension {'at most ' * (len(one) > 1)}{told[one].max():.2f}"
        found.append(f"The gate of {named(stats, one)} moves along one direction ({dimension}): there {channels} "
                     f"channels are {_nearly(told[one].max())}one number for each picture.")
    rest = told.drop(one)
    if len(rest):
        where = f"In the other {len(rest)} blocks" if one and len(rest) > 1 else "Elsewhere" if one else (
            f"In {len(rest)} of {len(gate)} blocks" if len(rest) < len(gate) else "In all blocks" if len(rest) > 1 else
            "In the only block")
        low, high = str(rest.idxmin()), str(rest.idxmax())
        found.append(f"{where} the dimension is {rest[low]:.1f} (**{low}**)" + (
            f" to {rest[high]:.1f} (**{high}**)" if high != low else "") + f", of {_channels(gate, rest.index)}.")
    # the error of one draw is that of its pictures alone
    another = " Another draw of the weights may give other numbers." * (stats.draws == 1)
    found += [_beside(gate, _rows(table, source), words, more) for source, words, more in (
        ("squeeze", "its squeezed input z", ""),
        ("random", f"the same network with random weights, drawn {drawn},", another))
        if (table["source"] == source).any()]
    found += _tails(stats, table, zoom)
    images, classes = labelled(stats)
    spread = gate["classes"].dropna()
    few = []
    if classes > 2 and images > classes:  # a picture a class: what is a class's cannot be told from a picture's
        # means of small classes lie far out by chance, too, and seem to be all that a gate tells of
        chance = unrelated(1 - SURE / len(gate), images, classes)
        few = [block.label for block in stats.blocks if spread.get(block.label, classes) <= max(1.5, NARROW * classes)
               and median_omega_squared(stats, block, zoom=zoom) > chance]
    if few:
        least = str(spread[few].idxmin())
        found.append(f"What the gate of {named(stats, few)} tells of classes is mostly about few of them: the variance "
                     f"between classes is spread as over {spread[least]:.1f} of {classes:,} classes"
                     + (f" in **{least}**." if len(few) > 1 else "."))
    if units is not None and len(units):
        share = units.set_index("label")["alive"] / units.set_index("label")["units"]
        least = str(share.idxmin())
        row = units.set_index("label").loc[least]
        found.append(f"Of the {units['units'].sum():,.0f} hidden units of the excitation {units['alive'].sum():,.0f} "
                     f"live (above zero in 1 to 99 % of the pictures; others are silent, or linear in z)" + (
                         f"; the smallest share is in **{least}**, {row['alive']:.0f} of {row['units']:.0f}."
                         if share.nunique() > 1 else "."))
    untold = gate.index[gate["dimension"].isna()]
    if len(untold):
        found.append(f"In {named(stats, list(untold))} it cannot be told: the gate does not move, or it takes more "
                     f"pictures.")
    return found


def still(stats: Statistics) -> bool:
    """Whether the gates of all blocks are the same for every picture."""
    return not any((stats.overall_std(block, zoom) > 0).any() for block in stats.blocks for zoom in stats.zooms)


def _nearly(dimension: float) -> str:
    return "nearly " if dimension > EXACT else ""


def named(stats: Statistics, labels: Sequence[str]) -> str:
    """Labels in words, those of blocks that follow each other as a range: "**SE_4_2** to **SE_4_6** and **SE_5_2**"."""
    order = {block.label: i for i, block in enumerate(stats.blocks)}
    runs: list[list[str]] = []
    for label in sorted(labels, key=order.__getitem__):
        if runs and order[runs[-1][-1]] == order[label] - 1:
            runs[-1].append(label)
        else:
            runs.append([label])
    words = [word for run in runs for word in (
        [f"**{run[0]}** to **{run[-1]}**"] if len(run) > 2 else [f"**{label}**" for label in run])]
    return listed(words)


def _rows(table: pd.DataFrame, source: str) -> pd.DataFrame:
    return table[table["source"] == source].set_index("label")


def _channels(gate: pd.DataFrame, labels: Iterable[str]) -> str:
    sizes = sorted({int(gate["channels"][label]) for label in labels})
    return f"{sizes[0]:,} channels" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,} channels"


def _beside(gate: pd.DataFrame, other: pd.DataFrame, words: str, caution: str = "") -> str:
    """In how many blocks the gate has fewer directions than something else, by more than two standard errors."""
    difference = (gate["dimension"] - other["dimension"]).dropna()
    if difference.empty:
        return f"It cannot be compared with {words.rstrip(',')}, of which it cannot be told."
    margin = 2 * (gate["error"].pow(2) + other["error"].pow(2)).pow(0.5).reindex(difference.index).fillna(0)
    fewer, more = int((difference < -margin).sum()), int((difference > margin).sum())
    if len(difference) == 1:
        label = difference.index[0]
        much = "fewer directions" if fewer else "more directions" if more else "as many directions"
        return (f"Beside {words} the gate has {much} ({gate['dimension'][label]:.1f} and "
                f"{other['dimension'][label]:.1f}, {'over' if fewer or more else 'no more than'} two standard errors "
                f"apart).{caution}")
    text = (f"Beside {words} the gate has fewer directions in {fewer} of {len(difference)} blocks and more in {more} "
            f"(by over two standard errors; medians {gate['dimension'].reindex(difference.index).median():.1f} and "
            f"{other['dimension'].reindex(difference.index).median():.1f}).")
    sure = difference.index[difference.abs() > margin]
    without = (gate["trimmed"] - other["trimmed"]).reindex(sure).dropna()
    turned = int((np.sign(without) * np.sign(difference.reindex(without.index)) < 0).sum())
    if turned and (_heavy(gate) or _heavy(other)):
        ours, theirs = (rows["trimmed"].reindex(without.index).median() for rows in (gate, other))
        text += (f" In {turned} of these {len(without)} a few pictures decide: without the {TAIL:.0%} of the pictures "
                 f"farthest out it has fewer in {int((without < 0).sum())} and more in {int((without > 0).sum())} "
                 f"(medians {ours:.1f} and {theirs:.1f}).")
    return text + caution


def _tails(stats: Statistics, table: pd.DataFrame, zoom: float) -> list[str]:
    """Where a few pictures make the variance: which they are, and the number without them."""
    found = []
    for source, what in (("gate", "gate"), ("squeeze", "squeezed input z"), ("random", "gate with random weights")):
        rows = _rows(table, source)
        tail = rows["tail"].dropna()
        heavy = _heavy(rows)
        if not heavy:
            continue
        most = str(tail[heavy].idxmax())
        share = f"over {HEAVY:.0%} of its variance ({tail[most]:.0%} in **{most}**)" if len(heavy) > 1 else (
            f"{tail[most]:.0%} of its variance")
        text = (f"A few pictures move the {what} of {named(stats, heavy)} most: {TAIL:.0%} of them hold {share}. In "
                f"other pictures the number of directions may be another, by more than its standard error says.")
        without = rows["trimmed"].reindex(heavy).dropna()
        if len(without):
            grown = str((without - rows["dimension"].reindex(without.index)).abs().fillna(0).idxmax())
            known = rows["dimension"][grown]
            if f"{without[grown]:.1f}" == f"{known:.1f}":
                text += f" Without these {TAIL:.0%} it is the same here."
            else:
                text += (f" Without these {TAIL:.0%} it is {without[grown]:.1f}"
                         + (f" in **{grown}**" if len(heavy) > 1 else "") + (
                    f", with them {known:.1f}." if pd.notna(known) else "."))
        found.append(text + (_outliers(stats, heavy, source, zoom) if source != "random" else ""))
    return found


def outliers(stats: Statistics, table: pd.DataFrame, zoom: float = 1.0) -> pd.DataFrame:
    """The pictures that most of a gate's variance is made of, where a few make it: a row a source and picture.

    Columns: source ("gate", "squeeze"), index (as in ``Statistics.images``), file, class (its name, "" for none),
    blocks (in how many it is among the ``TAIL`` farthest), of (so many blocks in which a few pictures hold over
    ``HEAVY`` of the variance). Up to ``NAMED`` rows a source, the picture of most blocks first; none where no block's
    variance is made so, or where it is not known which pictures make it.

    Args:
        stats: the statistics.
        table: ``summaries.dimension`` of them.
        zoom: which of ``stats.zooms``.
    """
    parts = [_farthest(stats, heavy, source, zoom) for source in ("gate", "squeeze")
             if (heavy := _heavy(_rows(table, source)))]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_OUTLIERS)


_OUTLIERS = ["source", "index", "file", "class", "blocks", "of"]


def _heavy(rows: pd.DataFrame) -> list[str]:
    """The blocks of ``_rows`` of which ``TAIL`` of the pictures hold over ``HEAVY`` of the variance."""
    return [str(label) for label, tail in rows["tail"].items() if tail > HEAVY]


def _farthest(stats: Statistics, labels: Sequence[str], source: str, zoom: float) -> pd.DataFrame:
    """The rows of ``outliers`` over some blocks."""
    if not stats.tells("farthest"):
        return pd.DataFrame(columns=_OUTLIERS)
    few = max(round(TAIL * stats.sampled), 1)
    counts = Counter(int(index) for label in labels for index in stats.farthest(label, source, zoom=zoom)[:few])
    rows = stats.images(["index", "file", "label"]).drop_duplicates("index").set_index("index")
    classes = short_names(stats.classes)
    return pd.DataFrame([(
        source, index, str(rows["file"][index]), classes[label] if (label := int(rows["label"][index])) >= 0 else "",
        count, len(labels)) for index, count in counts.most_common(NAMED)], columns=_OUTLIERS)


def _outliers(stats: Statistics, labels: Sequence[str], source: str, zoom: float) -> str:
    """The pictures that are among the ``TAIL`` farthest in most of some blocks; "" where that is not known."""
    said = [plain(row["file"]) + f" ({plain(row['class'])})" * bool(row["class"])
            + f" in {row['blocks']} of {row['of']} blocks" * (row["of"] > 1)
            for row in _farthest(stats, labels, source, zoom).to_dict("records")]
    return f" Among the farthest: {'; '.join(said)}." if said else ""
