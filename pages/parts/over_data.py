"""What was evaluated over a data set with the gates of a model changed: the last part of What if."""
from pathlib import Path

import pandas as pd
import streamlit as st

from pages.parts.archives import beside_app, last_written, statistics_of, weights_of
from pages.parts.choices import one_of
from pages.parts.keeping import kept
from pages.parts.model import Loaded
from pages.parts.sections import clear, heading, keep, show
from pages.parts.sentences import SENTENCES
from senet_viz.collecting import open_evaluation
from senet_viz.data.places import ASSETS
from senet_viz.experiments import over_data_sections as sections
from senet_viz.experiments.over_data import missing, static_or_dynamic
from senet_viz.experiments.removal import removal_curve
from senet_viz.experiments.selectivity import channel_effects
from senet_viz.experiments.what_if_sections import head
from senet_viz.reports.text import plain
from senet_viz.statistics import Statistics

NUMBER = st.column_config.NumberColumn
OF_DATA = {
    **dict.fromkeys(("blocks", "images", "probability", "difference5", "low5", "high5", "low5_classes", "high5_classes",
                     "images_per_second")),
    **{name: NUMBER(title, format="percent") for name, title in (
        ("top1", "top-1"), ("difference", "change"), ("low", "from (other pictures)"), ("high", "to (other pictures)"),
        ("low_classes", "from (other classes)"), ("high_classes", "to (other classes)"), ("top5", "top-5"))}}


def over_data(loaded: Loaded) -> None:
    """What edits do to the accuracy over a data set, where that was evaluated for this model."""
    found = {path: table for path in sorted((ASSETS / "evaluation").glob("*/"))
             if (table := _opened(path)) is not None
             and table.attrs["weights"] == weights_of(loaded.key, loaded.model)}
    rows = {path: _compared(loaded, path, table) for path, table in found.items()}
    # single channels and removed ones may have been evaluated by themselves
    if main := next((path for path in found if len(rows[path])), next(iter(found), None)):
        _accuracy(loaded, main, found[main], rows[main])
    stats = statistics_of(loaded)
    for path, table in found.items():
        _removal(loaded, path, table)
        if stats is not None and stats.tells("rank"):
            _selectivity(loaded, path, table, stats)


def _opened(path: Path) -> pd.DataFrame | None:
    """An evaluation; None where it cannot be opened, which is said."""
    try:
        return keep((path, last_written(path)), lambda: open_evaluation(path))
    except SENTENCES as error:
        st.error(plain(str(error)), icon=":material/error:")
        return None


def _compared(loaded: Loaded, path: Path, table: pd.DataFrame) -> pd.DataFrame:
    return keep((loaded.key, path, last_written(path)), lambda: static_or_dynamic(
        table, loaded.model.blocks, path))


def _head(loaded: Loaded, anchor: str, part: bool = False) -> str:
    title, lead, more = head(anchor, loaded.model.blocks)
    return heading(title, anchor, lead, more, part=part)


def _accuracy(loaded: Loaded, path: Path, table: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Whether gates have to be those of their picture, and every edit there is."""
    about, source = _head(loaded, "data-set"), sections.source_of(table, loaded.model.name)
    _static(loaded, path, rows, source, about)
    about = _head(loaded, "every-edit", part=True)
    section = keep((loaded.key, path, last_written(path)), lambda: sections.every_edit(table, source, beside_app(path)))
    show(section, "what_data", about=about)
    with st.expander(f"The table of {len(table)} rows"):
        st.dataframe(table, hide_index=True, column_config=OF_DATA, alt=section.text)


@st.fragment
def _static(loaded: Loaded, path: Path, rows: pd.DataFrame, source: str, about: str) -> None:
    """Stage by stage or block by block."""
    clear("what_static")
    if not (levels := sections.levels(rows)):
        st.info(missing(rows, loaded.model.blocks))
        return
    level = levels[0] if len(levels) == 1 else one_of(
        "Gates replaced in each", levels, key="what_static_level", bind="query-params")
    show(keep((loaded.key, path, last_written(path)), lambda level: sections.static(
        rows, loaded.model.blocks, level, source, loaded.code, beside_app(path)), level), "what_static", about=about)


def _removal(loaded: Loaded, path: Path, table: pd.DataFrame) -> None:
    """Channels removed by different scores."""
    key = loaded.key, path, last_written(path)
    curve = keep(key, lambda: removal_curve(table))
    if len(curve):
        about = _head(loaded, "removal", part=True)
        source = sections.source_of(table, loaded.model.name)
        show(keep(key, lambda: sections.removal(curve, table, source, beside_app(path))), "what_removal", about=about)


def _selectivity(loaded: Loaded, path: Path, table: pd.DataFrame, stats: Statistics) -> None:
    """Single channels fixed at their mean."""
    key = f"{path} {last_written(path)} {stats.path} {last_written(stats.path)}"
    effects = _effects(key, path, stats, loaded.model.classes)
    if len(effects):
        about = _head(loaded, "selectivity", part=True)
        show(keep((loaded.key, key), lambda: sections.selectivity(
            effects, stats, sections.source_of(table, loaded.model.name), loaded.code, beside_app(path),
            beside_app(stats.path))), "what_selectivity", about=about)


@kept("Comparing channels")
def _effects(key: str, _path: Path, _stats: Statistics, _classes: list[str]) -> pd.DataFrame:
    return channel_effects(_path, _stats, _classes)
