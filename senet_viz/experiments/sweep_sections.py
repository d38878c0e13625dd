"""What a sweep over sizes shows, section by section: words, figure, table, and the script that gives the table."""
import pandas as pd

from .. import figures, tables
from ..gates import View
from ..reports import scripts
from ..reports.html import Section
from ..reports.text import plain
from .sweep import (
    PAPER,
    Box,
    Sweep,
    at_size,
    branch_maps,
    branch_weights,
    describe_cam,
    describe_slopes,
    name_of,
    paper_bars,
    size_preference,
    size_slopes,
)

HEADS = {  # name, which is also the anchor → title, lead, how to read it
    "size": (
        "At one size", "Move the slider: where the network looks, and which kernel each unit prefers.",
        "The map is Grad-CAM: the brighter a place, the more it speaks for the class. A bar is the mean over a unit's "
        "channels of the weight of {largest} less that of {smallest}; all sizes are drawn on one scale. Below 1× the "
        "picture is shrunk onto a blurred copy of itself: its mirror image would double the object."),
    "curves": (
        "Kernel choice against size", "What a curve does and {none} of its controls does may be due to the size.",
        "Enlarging a picture also blurs it, and cutting it also takes its surroundings away. So each curve stands "
        "beside two controls: the same blur without the zoom, and as large a crop from the corner farthest from the "
        "object.{band}"),
    "beyond": (
        "Beyond the controls", "{slopes}",
        "Dots are the slopes of the curves from 1× up, per doubling of the object's size; bars what a slope "
        "has beyond the steepest of the controls, whether that goes up or down.{crosses}"),
    "paper-sizes": (
        "The paper's three sizes", "The SK paper's Fig. 3, for this photo at {sizes}.",
        "Lines: the weight of {largest} over the channels of one unit at the three sizes; the paper draws means over "
        "C/16 consecutive channels. Bars: the mean difference between the weights of {largest} and {smallest}, in the "
        "last unit of each stage."),
    "decided": (
        "Where it is decided", "One channel in every branch, and how much of the sum each branch is.",
        "The maps are the branches' feature maps of one channel, and their weighted sum. A branch's weight is not its "
        "contribution: a branch of small norm adds little, however large its weight. The chart below the maps has the "
        "mean weight in each unit at the chosen size, and under it the branch's share of the norms ‖a·U‖."),
}
BAND = (" The band is a third: how far the same zooms move the unit in the same network with random weights, never "
        "trained, from the least to the largest of {draws}, laid onto the curve at 1×. What it does as well needs no "
        "training.")
CROSSES = (" A cross is the mean over {draws} of the same network with random weights, its bar goes from the least to "
           "the largest.")


class SweepSections:
    """The sections over one picture at many sizes.

    Attributes:
        blocks: label → unit that weighs branches, in network order.
        panels: labels of the last unit of each stage.
        kernels: names of the largest and of the smallest kernel.
        preference: ``size_preference`` of the sweep.
        slopes: ``size_slopes`` of it.
        draws: of random weights that the sweep is beside.
        source: the network and the picture, Markdown.

    Args:
        swept: the sweep, with Grad-CAM where ``cam`` is asked for.
        name: of the picture.
        path: of the picture, for the scripts.
        box: around its object.
        loading: the line that makes ``model``.
        target: the class that Grad-CAM explains, None for the most probable one at each size.
    """

    def __init__(self, swept: Sweep, name: str, path: str, box: Box | None, loading: str, target: int | None = None):
        self.swept, self.model, self.target = swept, swept.model, target
        self._of = loading, path, box
        units = [block for block in self.model.blocks if block.branches > 1]
        self.blocks = {block.label: block for block in units}
        self.panels = [block.label for block in tables.panels(units, whole_stage=False)]
        self.preference = size_preference(swept)
        self.slopes = size_slopes(self.preference)
        self.draws = sum(look.startswith("random") for look in swept.sizes)
        self.kernels = tuple(self.preference[["largest", "smallest"]].iloc[0])
        note = self.model.info.get("Note")
        self.source = plain(f"{self.model.name}{f' ({note})' if note else ''}, {name}")

    def head(self, name: str) -> tuple[str, str, str]:
        """The words at the head of a section, one of ``HEADS``: title, lead with the source, how to read it."""
        *first, last = map(name_of, PAPER)
        draws = self.draws and f"{self.draws} draw{'s' * (self.draws > 1)}"
        words = {"largest": self.kernels[0], "smallest": self.kernels[1], "sizes": f"{', '.join(first)} and {last}",
                 "slopes": describe_slopes(self.slopes, max(self.swept.sizes["zoom"]),
                                           tables.last_and_first(self.model.blocks)),
                 "none": "none" if draws else "neither", "band": BAND.format(draws=draws) if draws else "",
                 "crosses": CROSSES.format(draws=draws) if draws else ""}
        title, lead, more = (part.format(**words) for part in HEADS[name])
        return title, f"{lead} *{self.source}.*", more

    def _text(self, name: str) -> str:
        _, lead, more = self.head(name)
        return f"{lead} {more}"

    def _script(self, ending: str, *functions: str, options: str = "") -> str:
        loading, path, box = self._of
        return scripts.of_sweep(loading, path, box, ending, functions=", ".join(functions), options=options)

    @property
    def _drawn(self) -> str:
        return f"draws={self.draws}" if self.draws else ""

    def cam(self, size: float, picture) -> Section:
        """Grad-CAM at one size.

        Args:
            size: one of the sweep's.
            picture: (H, W, 3) uint8, as the network saw it.
        """
        text, cams = describe_cam(self.swept, size, self.model.class_labels, self.target), self.swept.cams(size)
        name = name_of(size)
        figure = figures.cam_grid({name: picture}, cams, classes={name: self._class(size)})
        *_, row = figure.layout.annotations  # its name stands in the text
        row.update(visible=False)
        figure.update_layout(width=None, height=420)
        return Section(f"Grad-CAM at {name}", text, figure, tables.cells(cams), self._script(
            f"result = tables.cells(swept.cams({size}))", options=f"targets="
            f"{None if self.target is None else [self.target]}, layers={list(self.swept.views['zoom'].cams)}"))

    def _class(self, size: float) -> str:
        target = self.target
        return self.model.class_labels[int(self.swept.at(size).logits[0].argmax()) if target is None else target]

    def bars(self, size: float) -> Section:
        """Each unit's preference at one size."""
        return Section(
            f"Kernel choice at {name_of(size)}",
            f"For each unit the mean over channels of the weight of {self.kernels[0]} less that of {self.kernels[1]}. "
            f"*{self.source}.*", figures.size_bars(self.preference, size), at_size(self.preference, size),
            self._script(f"result = at_size(size_preference(swept), {size})", "at_size", "size_preference"))

    def curves(self, size: float | None = None, every: bool = False) -> Section:
        """Each unit's preference over the sizes, beside the controls.

        Args:
            size: to mark.
            every: draw all units, not only the last of each stage.
        """
        return Section(
            self.head("curves")[0], self._text("curves"),
            figures.size_curves(self.preference, list(self.blocks) if every else self.panels, at=size),
            self.preference, self._script("result = size_preference(swept)", "size_preference", options=self._drawn))

    def beyond(self) -> Section:
        """What of the change with size the controls leave."""
        return Section(
            "Change per doubling of size", self._text("beyond"), figures.size_slopes(self.slopes), self.slopes,
            self._script("result = size_slopes(size_preference(swept))", "size_preference", "size_slopes",
                         options=self._drawn))

    def beside(self) -> Section:
        """The curves of this network, beside another network's."""
        curves = self.curves()
        curves.title += f" in {self.model.name}"
        curves.text = self.head("beyond")[1]
        return curves

    def lines(self, label: str, points: int) -> Section:
        """One unit's weights at the paper's sizes.

        Args:
            label: the unit's.
            points: groups of consecutive channels to average over.
        """
        groups = tables.kernel_groups(self.swept.named(), self.blocks[label], points)
        return Section(
            f"{label} at three sizes", self._text("paper-sizes"), figures.fig3_lines(groups, label), groups,
            self._script(f"{scripts.find_block(label)}\nresult = tables.kernel_groups(swept.named(), block, {points})"))

    def paper_bars(self) -> Section:
        """The last unit of each stage at the paper's sizes."""
        bars = paper_bars(self.preference)
        figure = figures.fig3_bars(bars, largest=self.kernels[0], smallest=self.kernels[1])
        return Section("Kernel choice at three sizes", "", figure, bars, self._script(
            "result = paper_bars(size_preference(swept))", "paper_bars", "size_preference"))

    def maps(self, view: View, size: float, label: str, channel: int, picture) -> Section:
        """One channel in every branch.

        Args:
            view: ``swept.inspect(size)``.
            size: one of the sweep's.
            label: the unit's.
            channel: 0 … C − 1.
            picture: (H, W, 3) uint8, as the network saw it.
        """
        name, block = name_of(size), self.blocks[label]
        maps = branch_maps(view, block, channel)
        return Section(
            f"Channel {channel} of {label}",
            f"The branches' feature maps of channel {channel} in {label} and their weighted sum. *{self.source}.*",
            figures.channel_maps({name: picture}, {name: list(maps.values())}, list(maps), label=label,
                                 channel=channel, captions={name: branch_weights(view, block, channel)}),
            tables.cells({name: maps}), self._script(
                f"view = swept.inspect({size})\n{scripts.find_block(label)}\n"
                f"result = tables.cells({{{name!r}: branch_maps(view, block, {channel})}})", "branch_maps"))

    def shares(self, view: View, size: float) -> Section:
        """What each branch is of the sum, unit by unit; arguments as of ``maps``."""
        table: pd.DataFrame = tables.contributions({name_of(size): view})
        return Section(
            "Weight and contribution of the branches", self._text("decided"),
            figures.contribution(table).update_layout(showlegend=False), table,
            self._script(f"view = swept.inspect({size})\nresult = tables.contributions({{{name_of(size)!r}: view}})"))
