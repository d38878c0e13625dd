"""Figures for a paper: statistics → a figure for print, and the caption that tells its model, its data and its numbers.

The numbers are those of the pages, from the same functions.
"""
import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..data.files import replacing
from ..figures.style import span
from ..gates import AttentionBlock
from ..reports.text import ends, listed, number
from ..tables import group_edges, kernel_name, panels, sampled_channels
from . import kernels, published, summaries
from .archive import Statistics
from .photos import SHOWN
from .sections import DataSections

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = {
    "se6": "mean gate of classes, channel by channel: the SE paper's Fig. 6",
    "se7": "mean and standard deviation of two classes: the SE paper's Fig. 7",
    "sk3": "weight of the larger kernel at each size of the object: the SK paper's Fig. 3",
    "sk4": "change of each class with the object's size: the SK paper's Fig. 4",
    "dimension": "number of directions over depth",
    "specificity": "how class-specific each depth is",
}
"""What can be drawn; each is a method of ``PaperFigures``."""
PAIR = ("goldfish", "plane")  # the classes of the SE paper's Fig. 7
SE, SK = ("“Squeeze-and-Excitation Networks” (Hu et al., arXiv 1709.01507)",
          "“Selective Kernel Networks” (Li et al., arXiv 1903.06586)")
SIZES = "--zoom 1 1.5 2 --around box --controls"  # of ``collect``; around the centre where no boxes are known


@dataclass(frozen=True)
class Printed:
    """A figure for print.

    Attributes:
        figure: to be written by ``PaperFigures.save``.
        title: what it is, a line.
        caption: what it shows, of which model and data.
        numbers: what stands in it, sentences.
    """

    figure: "Figure"
    title: str
    caption: str
    numbers: str


class PaperFigures:
    """Draws statistics as figures for print.

    Args:
        stats: to draw.
        width: of the figures in mm, or one of ``senet_viz.figures.paper.WIDTHS``.
        style: one of ``senet_viz.figures.paper.STYLES``.
        blocks: labels to draw in se6, se7, sk3 and sk4, with wildcards; as in the papers when empty.
        classes: names to draw in se6 and se7; to begin with those that the page has when empty.
        zoom: of the pictures, one of ``stats.zooms``; in sk4 that of the enlarged ones. 1 and the next larger one when
            None.

    Raises:
        ValueError: one sentence, where Matplotlib is missing, for a width or style that there is not, and for blocks,
            classes and zooms that are not in the statistics.
    """

    def __init__(self, stats: Statistics, *, width: float | str = "column", style: str = "paper",
                 blocks: Sequence[str] = (), classes: Sequence[str] = (), zoom: float | None = None):
        try:
            from ..figures import paper
        except ImportError as error:
            raise ValueError("figures for print need Matplotlib: pip install matplotlib") from error
        if style not in paper.STYLES:
            raise ValueError(f"there is no style {style!r}; there are: {', '.join(paper.STYLES)}")
        if zoom is not None and zoom not in stats.zooms:
            raise ValueError(f"these statistics were taken at zoom {', '.join(f'{z:g}' for z in stats.zooms)}, not at "
                             f"{zoom:g}")
        self._paper, self.stats, self.style, self.zoom = paper, stats, style, zoom
        self.width = _width(width, paper.WIDTHS, paper.LEAST, paper.MOST)
        self._data = DataSections(stats, zoom=zoom)
        self._blocks, self._classes = list(_blocks(stats, blocks)), list(dict.fromkeys(_classes(stats, classes)))

    def draw(self, name: str) -> Printed:
        """One of ``FIGURES``.

        Raises:
            ValueError: one sentence, where these statistics do not have what it shows.
        """
        if name not in FIGURES:
            raise ValueError(f"there is no figure {name!r}; there are: {', '.join(FIGURES)}")
        with self._paper.print_style(self.style):
            return getattr(self, name)()

    def save(self, printed: Printed, path: str | Path, form: str = "pdf") -> None:
        """Write a figure; the same numbers give the same bytes.

        Args:
            printed: what ``draw`` gave.
            path: of the file.
            form: "pdf" or "svg".
        """
        with replacing(path) as part, self._paper.print_style(self.style):
            self._paper.save(printed.figure, part, form, printed.title, printed.caption)

    def se6(self) -> Printed:
        """The mean gate of each channel, a line a class and "all"."""
        return self._class_lines(self._classes or published.first_classes(self.stats), band=False)

    def se7(self) -> Printed:
        """Mean and standard deviation over the pictures of two classes."""
        first = published.shown_classes(self.stats)
        begin = [first[name] for name in PAIR if name in first and self.stats.count[first[name]]]
        begin = list(dict.fromkeys(begin + published.first_classes(self.stats)))[:2]
        return self._class_lines(self._classes or begin, band=True)

    def sk3(self) -> Printed:
        """The weight of the larger kernel over channels of one unit, and the difference in units, at each size."""
        self._units("sk3")
        units = self._blocks or [self.stats.block(label) for label in kernels.stage_ends(self.stats)]
        one, labels = units[:2][-1], [block.label for block in units]
        largest, smallest = kernel_name(one, -1), kernel_name(one, 0)
        groups, bars = channel_groups(self.stats, one), kernels.bars(self.stats)
        bars = bars[bars["label"].isin(labels)]
        figure = self._paper.kernel_sizes(groups, bars, largest=largest, smallest=smallest, width=self.width)
        cut = {zoom: kernels.cut_objects(self.stats, zoom) for zoom in kernels.enlarged(self.stats)}
        cuts = listed([f"{count:,} at {zoom:g}×" for zoom, count in cut.items() if count])
        count = int(bars["count"].iloc[0])
        several = count > 1  # one picture has no standard deviation
        widths = " or ".join(f"{width}" for width in sorted({*(groups["last"] - groups["first"] + 1)}))
        sizes = listed([f"{zoom:g}×" for zoom in self.stats.zooms])
        caption = (
            f"Kernel choice with the object at {sizes}, over {self._of(sizes=True)}. (a) Mean weight of "
            f"{largest} over pictures in {one.label}; each point is the mean of {widths} consecutive channels. "
            f"(b) Weight of {largest} less that of {smallest}, mean over channels; bars are means over pictures"
            + (", whiskers ± one standard deviation over them." if several else ".")
            + (f" All pictures count, those among them whose object the zoom cuts or that have no box: {cuts}."
               if cuts else "") + f" As in Fig. 3 of {SK}.")
        numbers = "; ".join(
            f"{label} " + ", ".join(f"{row['zoom']:g}× {_signed(row['mean'], 4)}" + f" ± {row['std']:.4f}" * several
                                    for row in rows.to_dict("records"))
            for label, rows in bars.groupby("label", sort=False))
        lines = ", ".join(f"{zoom:g}× {value:.4f}" for zoom, value in groups.groupby("zoom")["mean"].first().items())
        return Printed(figure, FIGURES["sk3"], caption,
                       f"(a) Mean over the channels of {one.label}: {lines}. (b) Mean"
                       f"{' ± standard deviation' * several} of {number(count, 'picture')}: {numbers}.")

    def sk4(self) -> Printed:
        """The difference of each class before and after its objects are enlarged."""
        self._units("sk4")
        labels = [block.label for block in self._blocks] or kernels.low_middle_high(self.stats)
        zoom = kernels.enlarged(self.stats)[0] if self.zoom is None else self.zoom
        table, effects = kernels.class_changes(self.stats, zoom), kernels.size_effects(self.stats, zoom)
        if table.empty:
            raise ValueError("sk4 has a point a class, and no picture of these statistics that counts has a label")
        effects = effects.set_index("label").loc[labels]
        largest, smallest = effects[["largest", "smallest"]].iloc[0]
        figure = self._paper.class_changes(table, labels, before="1×", after=f"{zoom:g}×", width=self.width,
                                           quantity=f"difference, {largest} − {smallest}")
        images, truncated, classes = (int(effects[name].iloc[0]) for name in ("images", "truncated", "classes"))
        caption = (
            f"Weight of {largest} less that of {smallest}, mean over channels and over the pictures of each "
            f"class, with the object as it is (1×) and enlarged ({zoom:g}×): {number(classes, 'class', 'classes')}, "
            f"{number(images, 'picture')} of {self._of(sizes=True)}."
            + (f" {number(truncated, 'picture')} {'is' if truncated == 1 else 'are'} left out, whose object would be "
               "cut or has no box." if truncated else "")
            + f" As in Fig. 4 of {SK}.")
        return Printed(figure, FIGURES["sk4"], caption,
                       " ".join(_effect(str(label), row) for label, row in effects.iterrows()))

    def dimension(self) -> Printed:
        """In how many directions each block's gate moves from picture to picture."""
        table = summaries.dimension(self.stats, zoom=self._data.zoom)
        if not table["dimension"].notna().any():
            raise ValueError("in how many directions the gates move cannot be told from these statistics: nothing "
                             "moves, or the pictures are too few")
        beside = {"squeeze": "the block's squeezed input z",
                  "random": f"the same network with random weights ({self._draws()})"}
        caption = (
            f"In how many directions each block's {self._data.quantity} moves from picture to picture (participation "
            "ratio of the covariance over pictures, (Σλ)² / Σλ²; 1 where all channels rise and fall together), beside "
            + listed([words for source, words in beside.items() if source in set(table["source"])])
            + f". Bars are ± one standard error (jackknife). {int(table['images'].max()):,} sampled pictures of "
            f"{self._of()}.")
        told = "; ".join(f"{self._data.quantity if source == 'gate' else name} {span(values, '.2f')}"
                         for source, name, values in _sources(table, "dimension"))
        return Printed(self._paper.dimension(table, quantity=self._data.quantity, width=self.width),
                       FIGURES["dimension"], caption, f"Directions: {told}.")

    def specificity(self) -> Printed:
        """ω² over the channels of each block, beside the controls."""
        table = summaries.specificity(self.stats, zoom=self._data.zoom)
        if not table.loc[table["source"] == "gate", "median"].notna().any():
            why = summaries.depth_findings(self.stats, table)[0]
            raise ValueError(why[0].lower() + why[1:].rstrip("."))
        sources = _sources(table, "median")
        controls = listed([f"{name} ({self._draws()})" if source == "random" else name
                          for source, name, _ in sources if source != "gate"])
        caption = (
            f"Share of the variance of each channel's {self._data.quantity} over pictures that lies between classes "
            "(ω²): boxes are the median and quartiles over the channels of a block, whiskers the 5th and 95th "
            "percentile. "
            + (f"Lines are the medians of controls, bands their quartiles: {controls}. " if controls else "")
            + f"{self._of()}.")
        told = "; ".join(f"{self._data.quantity if source == 'gate' else name} {span(values, '.3f')}"
                         for source, name, values in sources).replace(" -", " −")
        return Printed(self._paper.specificity(table, quantity=self._data.quantity, width=self.width),
                       FIGURES["specificity"], caption, f"Median ω² over channels: {told}.")

    def _class_lines(self, classes: list[int], band: bool) -> Printed:
        stats, quantity = self.stats, self._data.quantity
        blocks = self._blocks or panels(stats.blocks)
        lines = summaries.block_lines(stats, [block.name for block in blocks], classes,
                                      overall=None if band else "class", zoom=self._data.zoom)
        if lines.empty:
            raise ValueError("no picture of these statistics has a label, so that there is no class to draw")
        figure = self._paper.class_lines(lines, band=band, quantity=quantity, width=self.width)
        counts = lines[lines["class"] != summaries.ALL].drop_duplicates("class").set_index("class")["count"]
        overall = lines.loc[lines["class"] == summaries.ALL, "count"]
        if band:  # one picture has no standard deviation
            spread, unknown = bool((counts > 1).any()), bool((counts == 1).any())
            over = (", with bands of ± one standard deviation over the pictures" * spread
                    + ", none where there is one picture, of which it is not known" * (spread and unknown))
            what = " ± the standard deviation over pictures" * spread + ", of one picture not known" * (
                spread and unknown)
        else:  # nor has one class
            spread, every = overall.iloc[0] > 1, f"all {overall.iloc[0]:,} classes"
            over = f", and over {every if spread else 'the only class'} (“all”, the mean of class means)"
            what = "; of “all” ± the standard deviation between class means" if spread else ""
        drawn = listed([f"{len(sampled_channels(block.channels))} of {block.channels:,} in {block.label}"
                        for block in blocks])
        caption = (
            f"Mean {quantity} of each channel over the pictures of "
            + listed([f"{name} ({count:,})" for name, count in counts.items()])
            + f"{over}. Every s-th channel is drawn: {drawn}. {self._of()}. As in Fig. {7 if band else 6} of {SE}.")
        told = lines.groupby(["label", "class"], sort=False)[["value", "std", "count"]].mean()
        numbers = []
        for block in blocks:
            said = ", ".join(f"{name} {row['value']:.3f}" + (
                f" ± {row['std']:.3f}" if (band or name == summaries.ALL) and row["count"] > 1 else "")
                             for name, row in told.loc[block.label].iterrows())
            numbers.append(f"{block.label}: {said}")
        return Printed(figure, FIGURES["se7" if band else "se6"], caption,
                       f"Mean over all channels{what}. {'; '.join(numbers)}.")

    def _draws(self) -> str:
        return f"mean of {self.stats.draws} draws" if self.stats.draws > 1 else "one draw"

    def _of(self, sizes: bool = False) -> str:
        """The model, the data, and the size of objects where ``sizes`` are not what the figure is about."""
        if not sizes:
            return self._data.what
        about, classes = self.stats.metadata, len(self._data.classes)
        around = "the object's box" if about["settings"]["around"] == "box" else "the centre of the picture"
        return (f"{about['model']} on {about['data']}, {number(about['images'], 'picture')} of "
                f"{number(classes, 'class', 'classes')}; enlarged around {around}")

    def _units(self, name: str) -> None:
        """Refuse statistics without units, or without sizes."""
        none = [block.label for block in self._blocks or self.stats.blocks if block.branches < 2]
        if none and (self._blocks or len(none) == len(self.stats.blocks)):
            raise ValueError(f"{name} shows the choice between kernels, and "
                             f"{none[0] if self._blocks else self.stats.metadata['model']} has none to choose from")
        if not kernels.enlarged(self.stats):
            raise ValueError(f"{name} compares sizes of the object, and these statistics have one: collect them with "
                             f"senet-viz collect MODEL DATA OUT {SIZES}")


def channel_groups(stats: Statistics, block: AttentionBlock, points: int = 16) -> pd.DataFrame:
    """A unit's weight of the largest kernel, mean over pictures and over groups of channels: a row a zoom and point.

    Columns: label, zoom, point (from 0), first, last (channels), value, mean (of all channels), in 0..1.
    """
    edges, parts = group_edges(block.channels, points), []
    for zoom in stats.zooms:
        weight = stats.overall_mean(block, zoom=zoom)[-1].astype(float)
        parts.append(pd.DataFrame({
            "label": block.label, "zoom": zoom, "point": range(len(edges) - 1), "first": edges[:-1],
            "last": edges[1:] - 1, "mean": weight.mean(),
            "value": [weight[start:end].mean() for start, end in pairwise(edges)]}))
    return pd.concat(parts, ignore_index=True)


def latex(printed: Printed, name: str) -> str:
    """Two lines for a paper: the figure, from a file without a suffix, and its caption."""
    special: Any = {letter: f"\\{letter}" for letter in "#$%&_{}"} | {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "ω": r"$\omega$",
        "λ": r"$\lambda$", "Σ": r"$\Sigma$", "²": r"$^2$", "×": r"$\times$", "±": r"$\pm$", "−": "$-$",
        "“": "``", "”": "''"}
    caption = printed.caption.translate(str.maketrans(special))
    return f"\\includegraphics{{{name}}}\n\\caption{{{caption}}}\n"


def _width(width: float | str, named: dict[str, float], least: float, most: float) -> float:
    try:
        number = named[width] if isinstance(width, str) and width in named else float(width)
    except ValueError:
        raise ValueError(f"a width is {', '.join(named)} or a number of millimetres, not {width!r}") from None
    if not least <= number <= most:
        raise ValueError(f"a figure is {least:g} to {most:g} mm wide, not {number:g}")
    return number


def _blocks(stats: Statistics, wanted: Sequence[str]) -> Iterator[AttentionBlock]:
    """Those of labels with wildcards, in network order."""
    for label in wanted:
        if not any(fnmatchcase(block.label, label) or block.name == label for block in stats.blocks):
            stats.block(label)  # which says what there is
    for block in stats.blocks:
        if any(fnmatchcase(block.label, label) or block.name == label for label in wanted):
            yield block


def _classes(stats: Statistics, wanted: Sequence[str]) -> Iterator[int]:
    """The indices of names, whole or as they are shown, whatever their case."""
    shown = summaries.class_names(stats)
    known = {name.casefold(): i for i, name in reversed(list(enumerate(stats.classes)))}
    known |= {name.casefold(): i for i, name in enumerate(shown)}
    if len(wanted) > SHOWN:
        raise ValueError(f"a figure has lines of up to {SHOWN} classes, not of {len(wanted)}")
    for name in wanted:
        index = known.get(name.casefold())
        if index is None:
            like = [shown[known[near]] for near in difflib.get_close_matches(name.casefold(), known, 3)]
            raise ValueError(f"there is no class {name!r} in these statistics"
                             + (f"; near it are {', '.join(like)}" if like else f" of {len(shown):,} classes"))
        if not stats.count[index]:
            raise ValueError(f"there is no picture of class {shown[index]!r} in these statistics")
        yield index


def _effect(label: str, row: pd.Series) -> str:
    """A unit's change, and whether it is beyond the controls."""
    change = f"{label}: from {_signed(row['before'], 4)} to {_signed(row['after'], 4)}, change "
    change += f"{_signed(row['change'], 4)}"
    if row["classes"] == 1:  # the interval, and with it the comparison, is one over classes
        return f"{change} (no interval: that takes two classes or more), up in {row['images_up']:.0%} of the pictures."
    compared = row["blur":"elsewhere"].notna().any() or row["draws"] > 0
    return (f"{change} (95 % interval of all units together {ends(row['low'], row['high'], 4).replace('-', '−')}), up "
            f"in {row['classes_up']:.0%} of classes"
            + (f", {'' if row['beyond'] else 'not '}surely beyond the controls" if compared else ", without a control")
            + ".")


def _sources(table: pd.DataFrame, column: str) -> list[tuple[str, str, pd.Series]]:
    """Source, its name, and its known values by label."""
    names = {"gate": "gate", "shuffled": "shuffled labels", "squeeze": "squeezed input z", "random": "random weights"}
    told = [(source, name, table[table["source"] == source].set_index("label")[column].dropna())
            for source, name in names.items()]
    return [(source, name, values) for source, name, values in told if len(values)]


def _signed(value: float, decimals: int) -> str:
    return f"{value:+.{decimals}f}".replace("-", "−")
