"""How statistics show themselves: as a table in a notebook, and as the figures of ``Statistics.plot``."""
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from .. import tables
from ..figures.style import headed
from ..notebook import summary
from ..reports.html import Section
from . import published
from .archive import Statistics
from .kernel_sections import KernelSections
from .kernels import enlarged
from .sections import DataSections


def html(stats: Statistics) -> str:
    """What a notebook shows."""
    about, classes = stats.metadata, int((stats.count > 0).sum())
    facts = [f"{stats.pictures:,} picture{'s' * (stats.pictures != 1)} of {classes:,} class{'es' * (classes != 1)}",
             f"{len(stats.blocks)} attention block{'s' * (len(stats.blocks) != 1)}"]
    facts += [f"{about[name]:,} {words}" for name, words in (("unlabelled", "without a label"),
                                                             ("unreadable", "could not be used")) if about[name]]
    if stats.zooms != (1.0,):
        facts.append(f"zooms {', '.join(f'{zoom:g}×' for zoom in stats.zooms)}, here {stats.zooms[0]:g}×")
    weighs = any(block.branches > 1 for block in stats.blocks)
    return summary(f"Statistics of {about['model']} on {about['data']}", facts, block_table(stats),
                   "The gate of blocks that weigh branches is the weight of the last one." if weighs else "")


def block_table(stats: Statistics, zoom: float | None = None) -> pd.DataFrame:
    """The gate of each block, of several branches the last: a row a block, in network order.

    Columns: block (label), name, kind, channels, mean gate (over pictures and channels), std over channels (of the mean
    gate), std over pictures (mean over channels) and, where the statistics tell, dimension (as in
    ``Statistics.measures``).

    Args:
        stats: the statistics.
        zoom: one of ``stats.zooms``, the first when None.
    """
    zoom = stats.zooms[0] if zoom is None else zoom
    rows = []
    for block in stats.blocks:
        mean = stats.overall_mean(block, zoom=zoom)[-1].astype(float)
        row = {"block": block.label, "name": block.name, "kind": block.kind, "channels": block.channels,
               "mean gate": mean.mean(), "std over channels": mean.std(),
               "std over pictures": stats.overall_std(block, zoom)[-1].astype(float).mean()}
        if stats.tells("measures"):
            row["dimension"] = stats.measures(block, zoom=zoom)["dimension"]
        rows.append(row)
    return pd.DataFrame(rows)


def plot(stats: Statistics, which: str, block, zoom: float | None, options: dict) -> go.Figure:
    """See ``Statistics.plot``."""
    if which not in FIGURES:
        raise ValueError(f"statistics have the figures {', '.join(FIGURES)}, not {which!r}")
    if zoom is not None and zoom not in stats.zooms:
        raise ValueError(f"these statistics were taken at zoom {', '.join(f'{z:g}' for z in stats.zooms)}, not at "
                         f"{zoom!r}")
    if which == "kernels" and zoom is None:
        zoom = next(iter(enlarged(stats)), None)
    data = DataSections(stats, zoom=zoom)
    label = stats.block(stats.blocks[-1] if block is None else block).label
    found = FIGURES[which](data, label, options)
    if found is None or found.figure is None:
        raise ValueError(f"these statistics do not tell what {which!r} shows: {LACKING[which]}")
    return headed(found.figure, f"{label} of {data.what}" if which == "heat_map" else data.what)


def _classes(data: DataSections, label: str, options: dict) -> Section | None:
    stats, names = data.stats, {index: name for name, index in data.classes.items()}
    shown: dict[str, Any] = {"blocks": [block.label for block in tables.panels(stats.blocks)],
                             "classes": [names[index] for index in published.first_classes(stats)]} | options
    unknown: Sequence[str] = [name for name in shown["classes"] if name not in data.classes]
    if unknown:
        raise ValueError(f"there is no class {unknown[0]!r} with pictures in these statistics")
    return data.lines(shown.pop("blocks"), shown.pop("classes"), **shown)


def _heat_map(data: DataSections, label: str, options: dict) -> Section | None:
    return data.heat_map(label, **options) if data.classes else None


def _kernels(data: DataSections, label: str, options: dict) -> Section | None:
    weighs = any(block.branches > 1 for block in data.stats.blocks)
    return KernelSections(data.stats, data.zoom, **options).effects() if weighs and data.zoom in enlarged(
        data.stats) else None


FIGURES: dict[str, Callable[[DataSections, str, dict], Section | None]] = {
    "classes": _classes,
    "specificity": lambda data, label, options: data.depth(**options),
    "dimension": lambda data, label, options: data.dimension(**options),
    "driving": lambda data, label, options: data.driving(**options),
    "heat_map": _heat_map,
    "saturation": lambda data, label, options: data.saturation(**options),
    "kernels": _kernels,
}
LACKING = dict.fromkeys(FIGURES, "they have too few pictures with a label") | dict.fromkeys(
    ("dimension", "driving"), "they have no sample of whole gates, or too few pictures in it") | {
    "kernels": "that takes units that weigh kernels, pictures at 1× and a zoom above it"}
