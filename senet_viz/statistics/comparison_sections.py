"""What a comparison of runs shows, section by section: words, figure, table, and the script that gives the table."""
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import pandas as pd

from .. import figures
from ..reports.html import Section
from ..reports.run_scripts import of_runs
from ..reports.text import plain
from . import comparison, similarity
from .archive import Statistics
from .comparison import MEASURES
from .comparison_findings import (
    WORDS,
    beside_input,
    channel_findings,
    curve_findings,
    data_findings,
    difference_findings,
    similarity_findings,
)
from .sections import Finding, Head

SHORT = {"fixed": "dead, open, constant"}  # titles of panels, where a measure's own has no room
HEADS = {
    "curves": Head(
        "Over depth",
        "What the gates of each network do, block by block.",
        "Blocks lie in their stage, which says how far the feature map has shrunk, at their place in it, from the "
        "first to the last, so that networks of other depths can be laid over one another. **Class-specificity** is "
        "ω², the share of a channel's variance that lies between classes; the median over the channels that move. "
        "**Directions** is the participation ratio of the covariance over pictures, with its standard error: 1 where "
        "all channels of a gate are one number. **Spread** is the standard deviation of the gate over pictures, mean "
        "over channels; **saturation** the share of gates under .05 or over .95."),
    "differences": Head(
        "What differs, and how surely",
        "The second network less the first, stage by stage.",
        "A stage's value is the mean over its blocks, of each network over its own. Intervals are for 95 %. Those for"
        " *other classes of the same kind* leave out one class at a time (jackknife, Student's t), from both networks"
        " at once where they have the same classes, so that what both make of a class does not count. Those of "
        "directions are for *other pictures*: from the two standard errors, as if each network had seen pictures of "
        "its own, which makes them too wide rather than too narrow. Within the grey band a difference counts as none: "
        "an interval that leaves 0 out and reaches into it is perhaps of no more than that."),
    "classes": Head(
        "Do they see the classes alike?",
        "Linear CKA of the class means of two blocks: 1 where the classes lie in the same pattern, 0 where the "
        "patterns have nothing to do with each other.",
        "CKA (Kornblith et al., 2019) compares which classes are near each other in the one network with which are in"
        " the other, whatever the number and the order of channels; it is the unbiased one, which for patterns that "
        "have nothing in common is 0 on average, however many channels there are. Of blocks that weigh kernels it is "
        "that of the largest one's weight. Bars are the 95 % interval for other classes of the same kind (jackknife "
        "over classes). The grey band is the control: the range of draws in which the classes of the second network "
        "are dealt out anew. It is the lowest of controls: a network with random weights may lie above it, too, for "
        "to it bright and dark pictures differ as to any. CKA goes by variance: what moves most counts most. Framed "
        "in the matrix: the blocks that are aligned, by stage and place in it."),
    "pictures": Head(
        "Do they see the pictures alike?",
        "The same with single pictures, of the gate and of z, the squeezed input that it is made of.",
        f"Of the pictures that both runs kept whole (up to {similarity.PICTURES}). Where z is alike and the gate is "
        "not, the networks see alike and gate otherwise. Bars are the 95 % interval for other pictures (jackknife "
        "over runs of pictures, which follow each other by class); the grey band is the control: the pictures of the "
        "second network dealt out anew. A few pictures far from all others can make most of z's variance, and with it"
        " of its CKA."),
    "channels": Head(
        "Channel by channel",
        "Two networks of the same blocks, such as one before and after fine-tuning: which channels have changed?",
        "The change is that of a channel's mean gate over all pictures. The lower panel asks whether a channel still "
        "does what it did: the correlation of its class means in the one network with those in the other, the median "
        "over the block's channels. The grey band is the control: the range of that median with the channels of the "
        "second network dealt out anew. Channels of networks that were trained from different beginnings have only "
        "their number in common."),
}


def run_names(stats: Sequence[Statistics]) -> list[str]:
    """A name for each run, all different: of its network, or where two are of one name, with the folder's behind it."""
    names = [each.metadata["model"] for each in stats]
    if len(set(names)) < len(names) and len({each.path.name for each in stats}) > 1:
        names = [f"{model} ({each.path.name})" for model, each in zip(names, stats)]
    found: list[str] = []
    for name in names:
        copy = 1
        while (unique := name if copy == 1 else f"{name} [{copy}]") in found:
            copy += 1
        found.append(unique)
    return found


class ComparisonSections:
    """The sections over several runs; those of two compare the first with one of the others.

    Args:
        runs: name → statistics, two or more.
        paths: name → folder, for the scripts; where the statistics lie when None.
        zoom: of the pictures.

    Raises:
        ValueError: for fewer than two, or runs that have not this zoom.
    """

    def __init__(self, runs: Mapping[str, Statistics], paths: Mapping[str, str] | None = None, zoom: float = 1.0):
        if len(runs) < 2:
            raise ValueError("it takes two runs or more to compare")
        for name, stats in runs.items():
            if zoom not in stats.zooms:
                raise ValueError(f"{name} was not looked at with zoom {zoom:g}, but with "
                                 f"{', '.join(f'{each:g}' for each in stats.zooms)}")
        self.runs, self.zoom = dict(runs), zoom
        self.paths = {name: str(stats.path) for name, stats in runs.items()} if paths is None else dict(paths)
        self._zoom = f", zoom={zoom}" if zoom != 1 else ""
        self._pairs: dict[str, Pair] = {}

    @cached_property
    def table(self) -> pd.DataFrame:
        """``comparison.curves``."""
        return comparison.curves(self.runs, self.zoom)

    def beside(self, name: str | None = None) -> "Pair":
        """The first run and another one, the second when None."""
        others = list(self.runs)[1:]
        name = others[0] if name is None else name
        if name not in self._pairs:
            self._pairs[name] = Pair(self, next(iter(self.runs)), name)
        return self._pairs[name]

    def source(self, names: Sequence[str] | None = None) -> str:
        """What is compared, as Markdown."""
        said = [f"{name} on {about['data']}, {about['images']:,} pictures" for name in names or self.runs
                for about in [self.runs[name].metadata]]
        return plain("; ".join(said) + (f"; zoom {self.zoom:g}×" if self.zoom != 1 else ""))

    def curves(self) -> Finding:
        """All measures over depth."""
        head = HEADS["curves"]
        measures = {name: (SHORT.get(name, measure.title), measure.form) for name, measure in MEASURES.items()}
        found = curve_findings(self.table)
        text = " ".join([head.lead, head.more, *found, f"*{self.source()}.*"])
        return Finding(head.title, text, figures.compared_curves(self.table, measures), self.table,
                       of_runs(self.paths, f"result = comparison.curves(runs{self._zoom})", "comparison"),
                       found=found)


class Pair:
    """Two of the runs.

    Attributes:
        names: of the two.
        first, second: their statistics.
        aligned: ``comparison.align``.
    """

    def __init__(self, of: ComparisonSections, first: str, second: str):
        self.of, self.names, self.zoom = of, (first, second), of.zoom
        self.first, self.second = of.runs[first], of.runs[second]
        self.aligned = comparison.align(self.first.blocks, self.second.blocks)
        self.pairs = list(zip(self.aligned["first"], self.aligned["second"]))

    @property
    def equal(self) -> bool:
        """Whether the two networks have the same blocks, so that channels can be compared."""
        return comparison.same_blocks(self.first.blocks, self.second.blocks)

    @cached_property
    def difference_table(self) -> pd.DataFrame:
        """``comparison.differences``."""
        table = self.of.table
        table = pd.concat([table[table["run"] == name].assign(run=called)
                           for name, called in zip(self.names, ("first", "second"))])
        return comparison.differences(self.first, self.second, self.zoom, table)

    @cached_property
    def class_similarity(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """``similarity.along`` and ``matrix`` of class means. Raises ValueError where they cannot be compared."""
        one, two, names = similarity.class_vectors(self.first, self.second, self.zoom)
        return self._along(one, two, np.arange(len(names))), similarity.matrix(one, two)

    @cached_property
    def picture_similarity(self) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
        """The same of pictures: of "gate" and "squeeze"."""
        found = {}
        for source in ("gate", "squeeze"):
            one, two, index = similarity.picture_vectors(self.first, self.second, source, self.zoom)
            found[source] = self._along(one, two, similarity.runs_of(len(index))), similarity.matrix(one, two)
        return found

    def _along(self, one: similarity.Vectors, two: similarity.Vectors, groups: np.ndarray) -> pd.DataFrame:
        if not self.pairs:
            raise ValueError("the two networks have no stage in common, so that none of their blocks are aligned")
        table = similarity.along(one, two, self.pairs, groups)
        return table.assign(stage=self.aligned["stage"], position=self.aligned["position"])

    def differences(self) -> Finding:
        """By how much the second differs from the first."""
        found = [*data_findings(self.names, self.first, self.second),
                 *difference_findings(self.names, self.difference_table, self._classes())]
        measures = {name: (measure.title, measure.form, measure.small) for name, measure in MEASURES.items()}
        stages = self.difference_table[self.difference_table["level"] == "stage"]
        figure = figures.compared_differences(stages, measures) if stages["low"].notna().any() else None
        return self._section("differences", found, figure, self.difference_table,
                             "first, second = runs.values()\nresult = comparison.differences(first, second"
                             f"{self.of._zoom})", "comparison")

    def _classes(self) -> int:
        return min(int((stats.count > 0).sum()) for stats in (self.first, self.second))

    def classes(self) -> tuple[Finding, Section]:
        """CKA of class means: over depth, and the whole matrix. Raises ValueError where they cannot be compared."""
        along, matrix = self.class_similarity
        found = similarity_findings(self.names, along, matrix, "classes")
        lines = ("first, second = runs.values()\n"
                 f"one, two, names = similarity.class_vectors(first, second{self.of._zoom})\n")
        section = self._section(
            "classes", found, figures.similarity_along({WORDS["classes"]: along}), along,
            f"{lines}aligned = comparison.align(first.blocks, second.blocks)\n"
            "pairs = list(zip(aligned['first'], aligned['second']))\n"
            "result = similarity.along(one, two, pairs, np.arange(len(names)))\n"
            "result = result.assign(stage=aligned['stage'], position=aligned['position'])", "comparison, similarity",
            "import numpy as np")
        whole = Section(
            "Every block with every block", "CKA of the class means of each block of the one network with each of the "
            f"other; aligned ones are framed. *{self.of.source(self.names)}.*",
            figures.similarity_matrix(matrix, self.pairs, self.names), similarity.cells(matrix),
            of_runs(self._paths(), f"{lines}result = similarity.cells(similarity.matrix(one, two))",
                            "similarity"))
        return section, whole

    def pictures(self) -> Finding:
        """CKA of pictures, of gates and of their inputs. Raises ValueError where they cannot be compared."""
        both = self.picture_similarity
        found = [sentence for source, (along, matrix) in both.items()
                 for sentence in similarity_findings(self.names, along, matrix, source)]
        found += beside_input(both["gate"][0], both["squeeze"][0])
        table = pd.concat([along.assign(source=source) for source, (along, _) in both.items()], ignore_index=True)
        parts = {words: both[source][0] for source, words in WORDS.items() if source in both}
        return self._section(
            "pictures", found, figures.similarity_along(parts), table,
            "import pandas as pd\n\nfirst, second = runs.values()\naligned = comparison.align(first.blocks, "
            "second.blocks)\npairs = list(zip(aligned['first'], aligned['second']))\nparts = []\n"
            "for source in ('gate', 'squeeze'):\n"
            f"    one, two, index = similarity.picture_vectors(first, second, source{self.of._zoom})\n"
            "    part = similarity.along(one, two, pairs, similarity.runs_of(len(index)))\n"
            "    parts.append(part.assign(stage=aligned['stage'], position=aligned['position'], source=source))\n"
            "result = pd.concat(parts, ignore_index=True)", "comparison, similarity")

    def channels(self) -> Finding:
        """Channel by channel. Raises ValueError where the networks have not the same blocks."""
        table = comparison.channel_changes(self.first, self.second, self.zoom)
        agreement = comparison.profile_agreement(self.first, self.second, self.zoom)
        table = table.sort_values("difference", key=abs, ascending=False, kind="stable", ignore_index=True)
        return self._section(
            "channels", channel_findings(self.names, table, agreement),
            figures.channel_changes(table, agreement, self.names), table,
            f"first, second = runs.values()\ntable = comparison.channel_changes(first, second{self.of._zoom})\n"
            "result = table.sort_values('difference', key=abs, ascending=False, kind='stable', ignore_index=True)",
            "comparison")

    def _paths(self) -> dict[str, str]:
        return {name: self.of.paths[name] for name in self.names}

    def _section(self, name: str, found: Sequence[str], figure, table: pd.DataFrame, lines: str, modules: str,
                 first: str = "") -> Finding:
        head = HEADS[name]
        text = " ".join([head.lead, head.more, *found, f"*{self.of.source(self.names)}.*"])
        script = of_runs(self._paths(), lines, modules)
        return Finding(head.title, text, figure, table, f"{first}\n\n{script}" if first else script, found=found)
