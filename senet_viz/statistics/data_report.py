"""What a data set's statistics show as one HTML file: what the Classes page shows, with or without the page."""
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType

from ..reports.html import Section, report
from ..reports.made import made
from ..tables import panels
from . import published, summaries
from .archive import Statistics
from .sections import DataSections, Finding

UNDER = {"heat_map": "channels", "pair": "pair", "photo_lines": "photos"}  # sections under a head of another name
DEFAULTS = {"zooms": [1.0], "around": "centre", "random_weights": 0, "sample": 1024, "precision": "fp32",
            "batch_size": 32, "shard_size": 512}  # of the options of ``collect`` that say what was computed
KIND = ("demo", "timm", "torchvision", "paper")  # of names that load the same network anywhere


def data_report(data: DataSections, shown: Mapping[str, Section | None] = MappingProxyType({}),
                facts: Mapping[str, str] = MappingProxyType({})) -> str:
    """One HTML file.

    Args:
        data: the sections over the data set.
        shown: those that were made already, as someone chose them, in their order; None leaves one out.
        facts: further lines at the head.
    """
    return report(f"Classes in {data.stats.metadata['model']}", {**data_facts(data.stats), **facts, **made()},
                  report_sections(data, shown).values())


def data_facts(stats: Statistics) -> dict[str, str]:
    """The head of a report: which network, which data and how many, and how the statistics were made."""
    about, counts = stats.metadata, stats.count[stats.count > 0]
    pictures = f"{about['images']:,} pictures"
    if len(counts):
        each = f"{counts.min():,}" if counts.min() == counts.max() else f"{counts.min():,} to {counts.max():,}"
        pictures += f", {len(counts):,} classes of {each}"
    for key, what in (("unlabelled", "without a label"), ("unreadable", "could not be used")):
        if about[key]:
            pictures += f"; {about[key]:,} {what}"
    return {"Model": about["model"], "Weights": f"SHA-256 {about['weights'][:12]}…", "Data": about["data"],
            "Pictures": pictures, "Computed with": f"{about['settings']['precision']} on {about['device']}, torch "
            f"{about['versions']['torch']}, timm {about['versions']['timm']}", "Collected by": collect_command(stats)}


def collect_command(stats: Statistics) -> str:
    """The command that gives the statistics anew from the same pictures; it names neither those nor a folder."""
    about = stats.metadata
    settings, words = about["settings"], ["senet-viz", "collect"]
    words += [about["model"] if about["model"].partition("/")[0] in KIND else "MODEL", "DATA", "OUT"]
    for key, default in DEFAULTS.items():
        value = settings.get(key, default)
        if value != default:
            words += [f"--{'zoom' if key == 'zooms' else key.replace('_', '-')}",
                      *(f"{each:g}" if isinstance(each, float) else str(each)
                        for each in (value if isinstance(value, list | tuple) else [value]))]
    words += [f"--{option}" for option, given in (
        ("controls", settings.get("controls")), ("compile", settings.get("compiled")),
        ("compact", about["compact"])) if given]
    return shlex.join([*words, "--threads", str(settings["threads"])])


def report_sections(data: DataSections, shown: Mapping[str, Section | None] = MappingProxyType({})
                    ) -> dict[str, Section]:
    """Every section of a report, in its order, with how to read it.

    Args:
        data: the sections over the data set.
        shown: those that were made already, as someone chose them, in their order; None leaves one out.
    """
    missing = {key: make for key, make in _begin(data).items() if key not in shown}
    found = {**shown, **{key: make() for key, make in missing.items()}}
    return {key: _explained(data, key, section) for key, section in found.items() if section is not None}


def _explained(data: DataSections, key: str, section: Section) -> Section:
    if isinstance(section, Finding):  # its text is all of it in one
        head = data.head(key)
        return replace(section, text=f"{head.lead} *{data.source}.*", points=section.found, about=head.more)
    if key in UNDER:
        head = data.head(UNDER[key])
        return replace(section, text=f"{head.lead} {section.text}", about=head.more)
    return section


def _begin(data: DataSections) -> dict[str, Callable[[], Section | None]]:
    """What the page begins with, key by key: the paper's blocks and classes, and the last block in detail."""
    stats = data.stats
    blocks, last = [block.label for block in panels(stats.blocks)], stats.blocks[-1].label
    classes = first_classes(stats)
    selective, two = cache(lambda: data.selective(last)), classes[:2] if len(classes) > 1 else None

    def channel() -> int:
        first = selective()
        return 0 if first is None or first.table is None else int(first.table["channel"].iloc[0])

    return {
        "lines": lambda: data.lines(blocks, classes, overall="class" if classes else "image"),
        "depth": data.depth,
        "dimension": data.dimension,
        "driving": data.driving,
        "heat_map": lambda: data.heat_map(last, centred=len(data.classes) > 1) if classes else None,
        "selective": selective,
        "channel_classes": lambda: data.channel_classes(last, channel()),
        "channel_histogram": lambda: data.channel_histogram(last, channel()),
        "pair": lambda: data.pair(last, *two) if two else None,
        "separating": lambda: data.separating(last, *two) if two else None,
        "saturation": data.saturation,
    }


def first_classes(stats: Statistics) -> list[str]:
    """The classes that a report or the page begins with, by name: those of the SE paper, or others."""
    names = summaries.class_names(stats)
    return [names[i] for i in published.first_classes(stats)]
