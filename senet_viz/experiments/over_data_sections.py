"""What edits do over a data set, as sections of a page or report."""
from collections.abc import Sequence

import pandas as pd

from .. import figures
from ..gates import AttentionBlock
from ..reports import edit_scripts
from ..reports.html import Section
from ..reports.text import number, plain
from ..statistics import Statistics
from . import over_data
from .removal import removal_findings
from .selectivity import selectivity_findings


def levels(table: pd.DataFrame) -> list[str]:
    """Of "stage" and "block" those that a table of ``over_data.static_or_dynamic`` has."""
    return list(table["level"].unique())


def static(table: pd.DataFrame, blocks: Sequence[AttentionBlock], level: str, source: str, loading: str, path: str
           ) -> Section:
    """Whether gates have to be those of their picture: ``over_data.static_or_dynamic`` at a level.

    Args:
        table: of that function, with rows of the level.
        blocks: all of the network's.
        level: "stage" or "block".
        source: what the text names as its source, as Markdown.
        loading: the line of a script that makes ``model``.
        path: of the evaluation's folder, as a script opens it.
    """
    rows = table[table["level"] == level]
    text = " ".join(filter(None, (over_data.describe_static(table, level), f"*{source}.*",
                                  over_data.missing(table, blocks, level))))
    return Section("Static or dynamic?", text, figures.static_or_dynamic(rows), rows,
                   edit_scripts.static_or_dynamic(loading, path, level))


def every_edit(table: pd.DataFrame, source: str, path: str) -> Section:
    """All of an evaluation.

    Args:
        table: of ``senet_viz.collecting.open_evaluation``.
        source, path: as of ``static``.
    """
    return Section("Every edit", f"{over_data.describe_evaluation(table)} *{source}.*", figures.evaluated(table), table,
                   edit_scripts.of_evaluation(path))


def removal(curve: pd.DataFrame, table: pd.DataFrame, source: str, path: str) -> Section:
    """Accuracy without some of the channels: ``senet_viz.experiments.removal.removal_curve``.

    Args:
        curve: of that function, with a row or more.
        table: of the evaluation.
        source, path: as of ``static``.
    """
    unedited = float(table["top1"].iloc[0])
    text = "".join(f"\n- {sentence}" for sentence in removal_findings(curve, unedited))
    return Section("Which channels can go?", f"{text}\n\n*{source}.*", figures.removal(curve, unedited), curve,
                   edit_scripts.removal(path))


def selectivity(effects: pd.DataFrame, stats: Statistics, source: str, loading: str, path: str, statistics: str
                ) -> Section:
    """Single channels fixed at their mean: ``senet_viz.experiments.selectivity.channel_effects``.

    Args:
        effects: of that function, with a row or more.
        stats: the statistics it took.
        source, loading, path: as of ``static``.
        statistics: the statistics' folder, as a script opens it.
    """
    text = "".join(f"\n- {sentence}" for sentence in selectivity_findings(stats, effects))
    return Section("Does selectivity matter?", f"{text}\n\n*{source}.*", figures.channel_effects(effects), effects,
                   edit_scripts.channel_effects(loading, path, statistics))


def source_of(table: pd.DataFrame, name: str) -> str:
    """The model of this name, the data of an evaluation and how many pictures it is of, as Markdown."""
    return f"{plain(name)} on {plain(table.attrs['data'])}, {number(int(table['images'].iloc[0]), 'picture')}"
