"""A few pictures in one network as one HTML file: what the Explore page shows, with or without the page."""
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType

from .. import tables
from ..gates import AttentionBlock
from ..gates.answers import OTHER
from ..models import Model
from ..reports.html import Section, report
from ..reports.made import made
from .looking import explain
from .picture_sections import PictureSections

UNDER = {  # of the sections that need an explanation: whose head
    "all_blocks": "blocks", "kernels": "kernels", "grad_cam": "grad-cam", "gate_change": "gate-change",
    "contribution": "contribution"}


def picture_report(pictures: PictureSections, shown: Mapping[str, Section | None] = MappingProxyType({}), *,
                   target: int | None = None, facts: Mapping[str, str] = MappingProxyType({})) -> str:
    """One HTML file.

    Args:
        pictures: the sections of pictures, of which ``looking.look`` gave the views.
        shown, target: as of ``report_sections``.
        facts: further lines at the head.
    """
    return report(
        f"Channel attention of {pictures.model.name}",
        {**model_facts(pictures.model), "Pictures": ", ".join(pictures.names), **facts, **made()},
        report_sections(pictures, shown, target=target).values())


def model_facts(model: Model) -> dict[str, str]:
    """The head of a report: which network, and where it ran."""
    return {"Model": model.name, **model.info, "Parameters": f"{model.parameters:,}", "Device": str(model.device)}


def report_sections(pictures: PictureSections, shown: Mapping[str, Section | None] = MappingProxyType({}), *,
                    target: int | None = None) -> dict[str, Section]:
    """Every section of a report, in its order, with how to read it.

    Args:
        pictures: the sections of pictures, of which ``looking.look`` gave the views.
        shown: those that were made already, as someone chose them, in their order; None leaves one out.
        target: the class that Grad-CAM explains in the others; each picture's own when None.
    """
    missing = {key: make for key, make in _begin(pictures, target).items() if key not in shown}
    found = {**shown, **{key: make() for key, make in missing.items()}}
    return {key: _explained(pictures, key, section) for key, section in found.items() if section is not None}


def _explained(pictures: PictureSections, key: str, section: Section) -> Section:
    if key not in UNDER:
        return section
    _, lead, more = pictures.head(UNDER[key])
    return replace(section, text=f"{lead} {section.text}", about=more)


def _begin(pictures: PictureSections, target: int | None) -> dict[str, Callable[[], Section | None]]:
    """What the page begins with, key by key: the last block, its first channel, the first two pictures."""
    block, two = pictures.model.blocks[-1], pictures.names[:2]
    with_output = [each for each in pictures.model.blocks if each.has_output]
    explained = _Explained(pictures, target)
    return {
        "predictions": pictures.predictions,
        "all_blocks": pictures.all_blocks,
        "excitation": lambda: pictures.block(block, tables.quantities(block)[block.branches - 1]),
        "channel_maps": lambda: pictures.channel(block, 0),
        "differences": lambda: pictures.differences(two[0], two[1]) if len(two) > 1 else None,
        "kernels": lambda: pictures.kernels() if any(b.branches > 1 for b in pictures.model.blocks) else None,
        "grad_cam": explained.cams,
        "gate_change": lambda: explained.gate_change(with_output[-1]) if with_output else None,
        "contribution": pictures.contribution,
    }


class _Explained:
    """The sections that explain a class; a network without classes has none."""

    def __init__(self, pictures: PictureSections, target: int | None):
        self.pictures = pictures
        self.targets = {} if pictures.answer.task == OTHER else pictures.targets(target)

    @cached_property
    def found(self) -> dict[str, tuple[dict, dict]]:
        return {name: explain(self.pictures.views[name], index) for name, index in self.targets.items()}

    def cams(self) -> Section | None:
        if not self.targets or not self.pictures.model.stages:
            return None
        return self.pictures.cams({name: cams for name, (cams, _) in self.found.items()}, self.targets)

    def gate_change(self, block: AttentionBlock) -> Section | None:
        if not self.targets:
            return None
        return self.pictures.gate_change(
            block, {name: weights[block.name, "output"] for name, (_, weights) in self.found.items()}, self.targets)
