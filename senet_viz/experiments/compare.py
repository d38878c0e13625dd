"""Networks side by side on the same photos; and how much the accuracy of each rests on gates of the picture's own.

Collected runs are compared by ``senet_viz.statistics.comparison``.
"""
from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from .. import tables
from ..figures import last_branch
from ..gates import AttentionBlock, View
from ..reports.text import ends, listed, number, plain
from ..statistics.archive import IMAGES
from ..statistics.comparison import positions
from ..statistics.paired import between_networks
from .over_data import ALL, MEAN, static_or_dynamic, verdict

UNKNOWN = (np.nan, np.nan, np.nan)

Views = Mapping[str, Mapping[str, View]]


def photos(views: Views) -> pd.DataFrame:
    """How the gates stand for each photo in each network: a row a network, photo and block.

    Columns: run (the network), picture, block, label, stage, position (in the stage, 0..1), kind, kernel, channels,
    mean, std (over channels), below and above (shares of channels under .05 and over .95), of the last branch.

    Args:
        views: network → photo → view of that photo.
    """
    parts = []
    for run, of in views.items():
        table = last_branch(tables.summary(of))
        place = positions(next(iter(of.values())).blocks)
        parts.append(table.assign(run=run, position=table["label"].map(place)))
    columns = ["run", "picture", "block", "label", "stage", "position", "kind", "kernel", "channels", "mean", "std",
               "below", "above"]
    return pd.concat(parts, ignore_index=True)[columns]


def distances(views: Views) -> pd.DataFrame:
    """How far apart the gates of two photos are in each network: a row a network, pair of photos and block.

    Columns: run, first, second (photos), block, label, stage, position, distance (the root mean square, over the
    channels of the last branch, of the difference of the two gates). No rows of a single photo.
    """
    rows = []
    for run, of in views.items():
        blocks = next(iter(of.values())).blocks
        place = positions(blocks)
        for block in blocks:
            gates = {name: view.gates[block.name][0, -1].cpu().double().numpy() for name, view in of.items()}
            rows += [(run, one, two, block.name, block.label, block.stage, place[block.label],
                      float(np.sqrt(np.mean((gates[one] - gates[two]) ** 2)))) for one, two in combinations(gates, 2)]
    return pd.DataFrame(rows, columns=["run", "first", "second", "block", "label", "stage", "position", "distance"])


def photo_findings(table: pd.DataFrame, apart: pd.DataFrame) -> list[str]:
    """What the photos show, in sentences (Markdown); a handful of photos says nothing of others, which is said.

    Args:
        table: ``photos``.
        apart: ``distances``.
    """
    found = []
    for run, rows in table.groupby("run", sort=False):
        means = rows.groupby("label", sort=False)["mean"].mean()
        low, high = str(means.idxmin()), str(means.idxmax())
        text = (f"**{plain(str(run))}**: the mean gate, over the channels of a block and the "
                f"{number(rows['picture'].nunique(), 'photo')}, is {means[low]:.2f} (**{low}**)"
                + (f" to {means[high]:.2f} (**{high}**)" if len(means) > 1 else ""))
        pairs = apart[apart["run"] == run]
        if len(pairs):
            of = pairs.groupby("label", sort=False)["distance"].mean()
            near, far = str(of.idxmin()), str(of.idxmax())
            count = len(pairs) // len(of)
            text += (f"; the gates of two photos ({number(count, 'pair')}) are {of[near]:.3f} (**{near}**)"
                     + (f" to {of[far]:.3f} (**{far}**)" if len(of) > 1 else "") + " apart, root mean square over "
                     "channels")
        found.append(f"{text}.")
    found.append(f"{number(table['picture'].nunique(), 'photo')} "
                 f"{'tells' if table['picture'].nunique() == 1 else 'tell'} of these photos only: what holds over a "
                 f"data set, two collected runs tell.")
    return found


def static_gates(evaluations: Mapping[str, tuple[pd.DataFrame, Sequence[AttentionBlock]]]) -> pd.DataFrame:
    """Accuracy with the gates of each stage, or block, fixed at their mean, network by network.

    Columns: run, level ("stage", with all blocks together among them, or "block"), place, top1 (with the mean gates),
    difference (from the unedited network, 0..1), low, high (its 95 % interval, for other classes of the same kind where
    that is known, else for other pictures), over (which of them), verdict (see ``over_data.verdict``), apart (the
    difference less that of the first network at this place, picture by picture), apart_low and apart_high (its 95 %
    interval, for the same): nan in the first network, and where the two are not known to be over the same pictures.

    Args:
        evaluations: network → the table of ``senet_viz.collecting.open_evaluation`` and the network's blocks; the
            folder of the evaluation is ``.attrs["folder"]`` of the table, or unknown.
    """
    rows: list[tuple] = []
    firsts: dict[Hashable, tuple[str, str]] = {}
    for run, (table, blocks) in evaluations.items():
        found = static_or_dynamic(table, blocks)
        if len(blocks) == 1:  # a block of its own is all of them, too, as other networks have
            found = found.assign(level="stage", place=ALL)
        for (level, place), part in found.groupby(["level", "place"], sort=False):
            mean = part[part["gate"] == MEAN]
            if mean.empty:
                continue
            row = mean.iloc[0]
            wide = pd.notna(row["low_classes"])
            low, high = (row["low_classes"], row["high_classes"]) if wide else (row["low"], row["high"])
            first, edit = firsts.setdefault((level, place), (run, row["edit"]))
            rows.append((run, level, place, row["top1"], row["difference"], low, high,
                         "other classes" if wide else "other pictures", verdict(part),
                         *(UNKNOWN if first == run else _apart(evaluations[first][0], table, row["edit"], edit))))
    return pd.DataFrame(rows, columns=["run", "level", "place", "top1", "difference", "low", "high", "over", "verdict",
                                       "apart", "apart_low", "apart_high"])


def _apart(first: pd.DataFrame, second: pd.DataFrame, edit: str, reference: str) -> tuple[float, float, float]:
    """How much more an edit changes a second network's top-1 than a reference a first one's; nan where not known."""
    if not {"folder", "pictures"} <= set(first.attrs) & set(second.attrs):
        return UNKNOWN
    folders = Path(first.attrs["folder"]), Path(second.attrs["folder"])
    if first.attrs["pictures"] != second.attrs["pictures"] or not all((each / IMAGES).is_file() for each in folders):
        return UNKNOWN
    found = between_networks(*folders, [(edit, reference)])
    if found is None:  # of the same data, but not the same pictures of it
        return UNKNOWN
    row = found.iloc[0]
    wide = "_classes" if pd.notna(row["low_classes"]) else ""
    return row["difference"], row[f"low{wide}"], row[f"high{wide}"]


def _beside_first(rows: pd.DataFrame) -> str:
    """Which networks keep more than the first at a place: picture by picture, or else by intervals that do not meet."""
    first, others = rows.iloc[0], rows.iloc[1:]
    text = ""
    for row in others[others["apart"].notna()].to_dict("records"):
        said = ("which of the two keeps more cannot be told" if row["apart_low"] <= 0 <= row["apart_high"] else
                f"it keeps {'more' if row['apart'] > 0 else 'less'}")
        text += (f" Picture by picture the change of **{plain(row['run'])}** less that of **{plain(first['run'])}** is "
                 f"{100 * row['apart']:+z.1f} points ({ends(100 * row['apart_low'], 100 * row['apart_high'], 1)}): "
                 f"{said}.")
    others = others[others["apart"].isna()]
    apart = others["run"][(others["low"] > first["high"]) | (others["high"] < first["low"])].tolist()
    if apart:
        text += (f" The intervals of {listed([f'**{plain(run)}**' for run in apart])} and of "
                 f"**{plain(first['run'])}** do not meet.")
    if meet := [run for run in others["run"] if run not in apart]:
        text += (f" Those of {listed([f'**{plain(run)}**' for run in meet])} and of **{plain(first['run'])}** meet, "
                 "which does not tell that they change alike.")
    return text


def static_findings(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Place by place, a sentence each, of the stages.

    Args:
        table: ``static_gates``.
        names: of all networks; those that were not evaluated are named.
    """
    found = []
    for place, rows in table[table["level"] == "stage"].groupby("place", sort=False):
        parts = [f"**{plain(row['run'])}** by {100 * row['difference']:+z.1f} points "
                 f"({ends(100 * row['low'], 100 * row['high'], 1)}): {row['verdict']}"
                 for row in rows.to_dict("records")]
        text = f"With the mean gates in **{place}** top-1 changes, of {'; of '.join(parts)}."
        found.append(f"{text}{_beside_first(rows)}")
    if found:
        over = set(table["over"])
        found.append("In brackets: 95\u00a0% intervals for " + " or ".join(
            f"{each} of the same kind" if each == "other classes" else each for each in sorted(over)) + ".")
    if missing := [name for name in names if name not in set(table["run"])]:
        found.append(f"No accuracy with gates at their mean is beside {listed([f'**{plain(n)}**' for n in missing])}: "
                     f"`senet-viz evaluate MODEL DATA FOLDER --each-stage 1 mean \"shuffle classes\"` gives it.")
    return found
