"""The collected data sets that a visitor may see."""
import threading
from pathlib import Path

import streamlit as st

import senet_viz as sv
from pages.parts.keeping import kept
from pages.parts.model import Loaded
from pages.parts.sentences import SENTENCES
from senet_viz.collecting.runs import RUN
from senet_viz.data.places import APP, ASSETS
from senet_viz.models.identity import weights_hash
from senet_viz.reports.text import plain
from senet_viz.statistics.archive import METADATA

EMBEDDED = ASSETS / "statistics"
RUNS = threading.BoundedSemaphore(2)  # over visitors' own photos, at a time; others wait their turn


@kept()
def _open(path: str, changed: float) -> sv.Statistics:
    return sv.open_statistics(path)


def collected() -> dict[str, sv.Statistics]:
    """Every collected data set that this visitor may see, by a name to choose it by: the embedded ones, what lies in
    the folder that the operator named, and runs of one's own; what cannot be opened is said in a sentence.
    """
    folders = _runs(EMBEDDED) if EMBEDDED.is_dir() else []
    if allowed := st.session_state.get("allowed"):
        folders += _runs(Path(allowed)) or [Path(allowed)]
    folders += [Path(folder) for folder in st.session_state.get("collected", [])]
    found: dict[str, sv.Statistics] = {}
    for folder in folders:
        try:
            stats = _open(str(folder), last_written(folder))
        except SENTENCES as error:
            st.error(plain(str(error)), icon=":material/error:")
            continue
        about = stats.metadata
        name = title = f"{about['model']} on {about['data']}, {about['images']:,} pictures"
        if allowed and folder.is_relative_to(Path(allowed)):  # of the same data there may be several
            name = title = f"{folder.name}: {title}"
        copy = 1
        while name in found:
            copy += 1
            name = f"{title} ({copy})"
        found[name] = stats
    return found


def _runs(folder: Path) -> list[Path]:
    """The folders of runs, finished or not: this one and those in it."""
    return [each for each in (folder, *sorted(folder.glob("*/")))
            if any((each / name).is_file() for name in (METADATA, RUN))]


def last_written(folder: Path) -> float:
    """When statistics were last written: an operator may collect anew into the same folder."""
    return (folder / METADATA).stat().st_mtime if (folder / METADATA).is_file() else 0.0


def statistics_of(loaded: Loaded) -> sv.Statistics | None:
    """The first that are of the model in the sidebar; None where there are none here."""
    own = weights_of(loaded.key, loaded.model)
    return next((stats for stats in collected().values() if stats.metadata["weights"] == own), None)


@kept()
def weights_of(key: str, _model: sv.Model) -> str:
    """What the weights of the model in the sidebar are known by."""
    return weights_hash(_model.module)


def beside_app(path: Path) -> str:
    """A folder as a script beside ``app.py`` would open it."""
    return str(path.relative_to(APP) if path.is_relative_to(APP) else path)
