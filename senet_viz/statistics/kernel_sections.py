"""What a data set shows of the choice of kernels, section by section: words, figure, table, and its script."""
import pandas as pd

from .. import figures
from ..reports import scripts
from ..reports.html import Section
from ..reports.text import number, plain
from .archive import Statistics
from .kernels import (
    bars,
    by_share,
    class_changes,
    dose_response,
    enlarged,
    kernel_findings,
    low_middle_high,
    size_effects,
    stage_ends,
)
from .summaries import FEW

HEAD = (  # title, lead, how to read it
    "Over a data set", "Does it hold for many objects? The same question, put to a data set.",
    "The sentences follow from the tables. Under the first tab, dots are the change of the mean difference between the "
    "kernels' weights with its 95% interval, over all units together and clustered by class; they are filled where it "
    "surely exceeds all controls. Where a dot is not filled, a change may be there that is too small to be found.")

PER_DOUBLING = "change of the weight difference<br>per doubling of the object's side"


class KernelSections:
    """The sections over one data set. They take a moment: keep them.

    Attributes:
        source: the network and the data, Markdown.
        findings: ``kernel_findings``, sentences in Markdown.

    Args:
        stats: of a network with units that weigh branches, at zoom 1 and larger ones.
        zoom: one of those, the smallest when None.
        path: where they lie, for the scripts.

    Raises:
        ValueError: for statistics of other zooms.
    """

    def __init__(self, stats: Statistics, zoom: float | None = None, path: str | None = None):
        self.zoom = next(iter(enlarged(stats)), 0.0) if zoom is None else zoom
        self._path = str(stats.path) if path is None else path
        self._effects, self._shares = size_effects(stats, self.zoom), by_share(stats)
        self._bars, self._changes = bars(stats, self.zoom), class_changes(stats, self.zoom)
        self._doses = dose_response(stats) if len(enlarged(stats)) > 1 else None
        self._ends, self._chosen = stage_ends(stats), low_middle_high(stats)
        self.findings = kernel_findings(stats, self._effects, self._shares, self._doses)
        about = stats.metadata
        self._total = int(about["images"])
        self.source = plain(f"{about['model']} on {about['data']}, {about['images']:,} pictures")

    def all(self) -> dict[str, Section]:
        """All of them: name → section; "data_doses" takes two larger zooms or more, "data_share" boxes."""
        found = {"data_findings": self.effects()}
        if self._doses is not None:
            found["data_doses"] = self.doses(self._doses)
        found |= {"data_bars": self.paper_bars(), "data_classes": self.classes()}
        return found if self._shares.empty else {**found, "data_share": self.shares()}

    def _script(self, ending: str) -> str:
        return scripts.over_data(self._path, f"kernels.{ending}", "kernels")

    def effects(self) -> Section:
        """What the zoom changes in each unit, beside the controls."""
        return Section(
            f"What {self.zoom:g}× changes", f"{' '.join(self.findings)} *{self.source}.* {HEAD[2]}",
            figures.size_effects(self._effects), self._effects, self._script(f"size_effects(stats, zoom={self.zoom})"))

    def doses(self, table: pd.DataFrame) -> Section:
        """What all zooms together change in each unit."""
        return Section(
            "All sizes together", "A line through all zooms from 1× up: how the difference changes per doubling of "
            f"the object's side, beside the controls. {self._of(table, 'in each of them')}",
            figures.size_effects(table, quantity=PER_DOUBLING), table, self._script("dose_response(stats)"))

    def paper_bars(self) -> Section:
        """The last unit of each stage at every zoom up to this one."""
        largest, smallest = self._effects[["largest", "smallest"]].iloc[0]
        shown = self._bars[self._bars["label"].isin(self._ends)]
        return Section(
            "The paper's bars", "The SK paper's Fig. 3: the mean over the classes' means, and the standard deviation "
            f"over pictures. {self._of(self._effects, f'at {self.zoom:g}×')}",
            figures.fig3_bars(shown, largest=largest, smallest=smallest), self._bars,
            self._script(f"bars(stats, zoom={self.zoom})"))

    def classes(self) -> Section:
        """Each class before and after the zoom, in three units."""
        labelled, images = self._changes["count"].sum() // len(self._effects), int(self._effects["images"].iloc[0])
        return Section(
            "Class by class", f"The SK paper's Fig. 4: each class's mean difference at 1× and {self.zoom:g}×, in a "
            f"low, a middle and a high unit. {self._of(self._effects, f'at {self.zoom:g}×')}"
            + (f" {labelled:,} of these have a label." if labelled < images else ""),
            figures.class_changes(self._changes, self._chosen, after=f"{self.zoom:g}×"), self._changes,
            self._script(f"class_changes(stats, zoom={self.zoom})"))

    def shares(self) -> Section:
        """How the choice goes with the object's size in pictures as they are."""
        return Section(
            "Objects that are large by themselves", "Without any zooming: how the difference changes per doubling of "
            f"the object's side, as its box tells, within classes. {self._with_boxes()}",
            figures.share_slopes(self._shares), self._shares, self._script("by_share(stats)"))

    def _of(self, table: pd.DataFrame, where: str) -> str:
        """Which pictures are shown, in a sentence: those that count in a table, and where their object is whole."""
        images, truncated = (int(table[name].iloc[0]) for name in ("images", "truncated"))
        if not truncated:
            return f"Of all {number(images, 'picture')}."
        return f"Of {images:,} of {number(images + truncated, 'picture')}, those whose object is whole {where}."

    def _with_boxes(self) -> str:
        images, classes = (int(self._shares[name].iloc[0]) for name in ("images", "classes"))
        return (f"Of {images:,} of {number(self._total, 'picture')}, those with a box, in "
                f"{number(classes, 'class', 'classes')} of at least {FEW} such pictures.")
