"""Experiments with gates as sections of a page or report: text, figure, table, and the script that gives the table."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import figures, tables
from ..gates import AttentionBlock, Edit, View
from ..gates.blocks import block_of
from ..models import Model
from ..reports import edit_scripts
from ..reports.html import Section
from ..reports.text import plain
from . import what_if

BEFORE, AFTER = "as it is", "edited"
PAIR = f"views[{BEFORE!r}], views[{AFTER!r}]"


OTHER_CLASS = "≠ marks where another class is the most probable."
LEFT_OUT = "The edits above are left out here."
LEAD = ("A gate that is wider open makes the logits of all classes larger. So the change of a class's logit is given "
        "against the mean of all classes: less the change of the mean logit over them. Where an edit also moves all "
        f"logits apart or together (their standard deviation over the classes, by a factor of {what_if.WIDER:g} or "
        "more), the sentence says so: that alone lets a leading class rise.")
HEADS = {  # of groups of sections: title, lead, what one needs to read it
    "edit": ("Edit gates", "The {what} every block over its channels. Click a dot to choose its block, say below what "
             "its gate is to be, and press Edit.", "{factor} "
             "Boxes reach over the quartiles of a block's channels, whiskers from the 5th to the 95th percentile, a "
             "dot is at the mean: as it is, and edited where there are edits."),
    "changes": ("What the edits change", "The prediction for the same photo, before and after your edits.",
                "An edit changes the map that leaves its block: so what later blocks see and their gates, where the "
                f"network looks, and what it says in the end. {LEAD}"),
    "blocks": ("Which blocks matter", "Each block off in turn, or forced to one branch, the others as they are: a "
               f"longer bar is a larger change. {OTHER_CLASS}", f"{LEFT_OUT} {{removals}} {LEAD}"),
    "channels": ("Which channels matter", "The same within one block: its most excited channels, one at a time. "
                 f"{OTHER_CLASS}", f"{LEFT_OUT} A channel's gate is set to 0 and to 1; in a unit that weighs branches "
                 f"the channel is forced to each of them. {LEAD}"),
    "swap": ("Another photo's gates", "With the gates of another photo, does the network see more of what is in that "
             f"one? {OTHER_CLASS}", f"{LEFT_OUT} The other photo's gates are put into this one, block by block and all "
             f"at once. The classes are those most probable for either photo. {LEAD}"),
    "sizes": ("Forced kernels and the object's size", "Does a larger object ask for a larger kernel? All units are "
              "forced to one kernel, at every size of the object.", f"{LEFT_OUT} The photo's centre is enlarged and "
              f"shrunk, as on the Kernels page. {LEAD}"),
    "data-set": ("Over a data set", "One photo is one photo. Over a whole data set: has a gate to be that of its "
                 "picture, or does a fixed one do as well?", "A dot is the change of top-1 against the network without "
                 "edits, over the same pictures. Its thick bar is the 95 % interval for other pictures of these "
                 "classes, the thin one for other classes of the same kind. *Mean gate*: each channel's mean over the "
                 "data set, the same for every picture; *rank k*: that and what lies along the first k principal "
                 "directions. Gates of others are those of another picture, of the same class or another. *No "
                 "attention*: gates that leave the map as it is; where branches are weighed, all weights alike."),
    "removal": ("Which channels can go?", "In each block a share of the channels is removed, chosen by the gate or "
                "otherwise: what accuracy is left?", "Channels are removed by setting their gate to 0; nothing is "
                "trained anew. In each block the same share goes, those with the lowest score. *Mean gate*: over the "
                "data set. *Passed on*: the mean square of the gated map s·U. *γ*: of the batch normalisation before "
                "the block. Bars are 95 % intervals of the change for other pictures; at random it is the mean of "
                "several draws."),
    "selectivity": ("Does selectivity matter?", "Each channel's gate is fixed at its mean, one at a time. Do the more "
                    "class-specific channels matter more?", "A dot is a channel. To the right lie channels whose gates "
                    "depend more on the class (ω² of ranks). Up and down is the change of the right class's "
                    "probability over the pictures of the channel's own class, the one whose mean gate lies farthest "
                    "from that of all pictures, with its 95 % interval. Only some channels of each block were tried, "
                    "evenly spaced."),
    "every-edit": ("Every edit", "All that was evaluated, on the same pictures.", "Bars as above. A dot is filled "
                   "where the interval for other classes leaves 0 out."),
}


def head(anchor: str, blocks: Sequence[AttentionBlock]) -> tuple[str, str, str]:
    """The head of a group of sections (of ``HEADS``) for a network with these blocks: title, lead, how to read it."""
    kernel = next((tables.kernel_name(block, -1) for block in blocks if block.branches > 1), "")
    what = f"weight of {kernel} in" if kernel else "gate of"
    title, lead, more = HEADS[anchor]
    factor = ("A weight says how much of a channel in one branch goes into the sum of the branches." if kernel else
              "A gate says how much of each channel goes on to the next layer.")
    return title, lead.format(what=what), more.format(factor=factor, removals=what_if.describe_removals(blocks))


@dataclass(frozen=True)
class Sections:
    """Sections of one photo in one model.

    Their texts are Markdown, computed from the tables. ``views`` are the photo's, by ``BEFORE`` and, where there are
    edits, ``AFTER``.

    Args:
        model: the network.
        loading: the line of a script that makes ``model``.
        path: of the photo, as a script opens it.
        source: what each text names as its source, as Markdown.
        target: the class to speak of.
        text: of the edits, "" where there are none.
        statistics: folder of those that "mean" stands for in the edits, "" where it does not occur.
        other: path of the photo that "photo" stands for, "" where it does not occur.
    """

    model: Model
    loading: str
    path: str
    source: str
    target: int
    text: str = ""
    statistics: str = ""
    other: str = ""

    # before and after

    def overview(self, views: Mapping[str, View]) -> Section:
        """All blocks' gates: ``tables.summary``."""
        table = tables.summary(views)
        return Section("Gates before and after", f"*{self.source}.*", figures.all_blocks(table), table,
                       self._both("tables.summary(views)", imports="from senet_viz import tables"))

    def block(self, views: Mapping[str, View], label: str) -> Section:
        """One block's gate, channel by channel: ``what_if.last_gates``."""
        table, block = what_if.last_gates(views, label), block_of(self.model.blocks, label)
        return Section(f"{label}, before and after", self._text(what_if.describe_gates(table, block)),
                       figures.excitation(table, label, quantity=what_if.quantity(block)), table,
                       self._both(f"what_if.last_gates(views, {label!r})"))

    def changes(self, views: Mapping[str, View]) -> Section:
        """Logits and probabilities: ``what_if.changes``; without a figure."""
        labels = self.model.class_labels
        table = what_if.changes(views[BEFORE], views[AFTER], labels, self.target)
        return Section("What the edits change", self._text(what_if.describe_change(table, labels[self.target])), None,
                       table, self._both(f"what_if.changes({PAIR}, model.class_labels, {self.target})"))

    def cams(self, cams: Mapping[str, Mapping[str, np.ndarray]], seen: np.ndarray) -> Section:
        """Grad-CAM: ``what_if.cam_cells``.

        Args:
            cams: ``BEFORE`` and ``AFTER`` → layer → map, as for ``what_if.stage_cams``.
            seen: the photo as the network saw it.
        """
        maps, label = what_if.stage_cams(cams, self.model.stages), self.model.class_labels[self.target]
        figure = figures.cam_grid(dict.fromkeys(maps, seen), maps, classes=dict.fromkeys(maps, label),
                                  whole=dict.fromkeys(maps, self.model.classes[self.target]))
        return Section("Grad-CAM before and after", self._text(
            f"Grad-CAM of **{plain(label)}** at the end of each stage, each map from 0 to its own maximum."), figure,
            tables.cells(maps), self._both("what_if.cam_cells(views, model.stages)", inspect=(
                f"targets=[{self.target}], layers=list(model.stages.values())")))

    def travel(self, views: Mapping[str, View], edits: Sequence[Edit]) -> Section:
        """How far the edits travel: ``what_if.travel``."""
        table = what_if.travel(views[BEFORE], views[AFTER], edits)
        return Section("How far the edits travel", self._text(
            "An edit changes the maps that later blocks squeeze, and so their gates. "
            + what_if.describe_travel(table)), figures.edit_travel(table), table,
            self._both(f"what_if.travel({PAIR}, edits)"))

    # experiments of their own: of the table that each has made, for it takes long

    def blocks(self, table: pd.DataFrame, quantity: str = "lead_change") -> Section:
        """``what_if.each_block``; quantity as of ``figures.edit_effects``."""
        return Section("Which blocks matter", self._text(what_if.describe_effects(table)),
                       figures.edit_effects(table, quantity=quantity), table,
                       self._script(f"what_if.each_block(model, batch, {self.target})"))

    def stages(self, table: pd.DataFrame, quantity: str = "lead_change") -> Section:
        """``what_if.each_stage``."""
        return Section("Which stages matter", self._text(what_if.describe_effects(table)),
                       figures.edit_effects(table, quantity=quantity, title="blocks that are off"), table,
                       self._script(f"what_if.each_stage(model, batch, {self.target})"))

    def channels(self, table: pd.DataFrame, label: str, top: int, quantity: str = "lead_change") -> Section:
        """``what_if.each_channel``, of that block and so many channels."""
        found = what_if.describe_ranking(table, block_of(self.model.blocks, label))
        figure = figures.edit_effects(table, quantity=quantity, by="channel",
                                      title=f"channels of {label}, the most excited first")
        return Section(f"Which channels of {label} matter", self._text(f"{found} {what_if.describe_effects(table)}"),
                       figure, table, self._script(
                           f"what_if.each_channel(model, batch, {label!r}, {self.target}, {top})"))

    def swap(self, table: pd.DataFrame, name: str, other: str, other_path: str,
             quantity: str = "lead_change") -> Section:
        """``what_if.swap``, of photos of these names."""
        return Section("Another photo's gates", self._text(what_if.describe_swap(table, name, other)),
                       figures.edit_effects(table, quantity=quantity, group="of",
                                            title="blocks with the other photo's gates"), table,
                       self._script("what_if.swap(model, batch, other)",
                                    f"other = model.batch([sv.open_image({other_path!r})])"))

    def sizes(self, table: pd.DataFrame) -> Section:
        """``what_if.forced_sizes``."""
        return Section("Forced kernels and the object's size", self._text(what_if.describe_sizes(table)),
                       figures.forced_sizes(table), table, self._script(
                           f"what_if.forced_sizes(model, image, {self.target})",
                           f"image = sv.open_image({self.path!r})"))

    def _text(self, found: str) -> str:
        return f"{found} *{self.source}.*"

    def _script(self, call: str, lines: str = "") -> str:
        return edit_scripts.experiment(self.loading, self.path, call, lines)

    def _both(self, call: str, **arguments: str) -> str:
        return edit_scripts.before_and_after(self.loading, self.path, call, (BEFORE, AFTER), self.text,
                                             self.statistics, self.other, **arguments)
