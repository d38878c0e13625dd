"""What a data set's statistics show, section by section: words, figure, table, and the script that gives the table."""
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from .. import figures, tables
from ..gates import View
from ..reports import papers, scripts
from ..reports.html import Section
from ..reports.text import number, plain
from . import directions, driving, photos, published, summaries
from .archive import Statistics


class Head(NamedTuple):
    """The head of a section: what it shows in a line or two (``lead``), and how to read it (``more``); Markdown."""

    title: str
    lead: str
    more: str = ""


HEADS = {
    "lines": Head(
        "Class by class, block by block",
        "Each line is a class: its mean {quantity} in every channel. Where lines lie on one another, the block treats "
        "these classes alike on average.",
        "A panel is one block; a line is the {quantity} of each channel, averaged over the pictures of a class, as in "
        "the SE paper's Fig. 6. To begin with there are the last block of each stage and all blocks of the last one, "
        "and every s-th channel, s = ⌈C/50⌉, as in the paper. The thick grey line “all” is the mean over class means "
        "or over pictures. A band shows how the pictures of a class differ (standard deviation, as in Fig. 7), or how "
        f"sure their mean is (standard error). A line is dashed where its class has fewer than {summaries.FEW} "
        "pictures, so that its mean is unsure."),
    "paper": Head(
        "Beside the paper's Fig. 6",
        "What “Squeeze-and-Excitation Networks” shows and says of these blocks of its SE-ResNet-50 on ImageNet, and "
        "what the statistics chosen here give{not_enlarged}. Of another network, or on other data, the blocks bear the "
        "same names and no more."),
    "depth": Head(
        "How class-specific is each depth?",
        "How much of a channel's variance over pictures goes with their class? At ω² = 0 nothing, at 1 all of it.",
        "ω² is the share of a channel's variance over pictures that lies between classes; labels dealt at random do "
        "not inflate it. A box shows how it is distributed over the channels of a block: the median, the quartiles, "
        "and whiskers from the 5th to the 95th percentile; the dot is the mean. Lines are controls, the medians, with "
        "bands between the quartiles: the same with labels dealt out anew, the gates of the same network with random "
        "weights, its batch normalisation set with pictures, and the block's own input after the squeeze.{kernels}"),
    "dimension": Head(
        "How many directions?",
        "A gate of many channels whose pictures all lie on one line is one number. In how many directions does each "
        "block's {quantity} move from picture to picture?",
        "The number is the participation ratio of the covariance over pictures, (Σλ)² / Σλ² of its eigenvalues λ: 1 "
        "where all channels rise and fall together, up to the number of channels where they all move on their own. It "
        "is taken from two halves of the pictures, so that few of them do not lower it; bars are ± one standard error "
        "(jackknife over runs of pictures). Beside it stand the block's input after the squeeze and the gate of the "
        "same network with random weights, its batch normalisation set with pictures. Few directions do not make a "
        "block unimportant, nor many a useful one: what the network loses without a block is on the What if "
        "page.{kernels}"),
    "driving": Head(
        "What drives a {gate}?",
        "How much of each block's {quantity}, before its activation, can be predicted, and from what: the squeezed "
        "input z, the picture's class, or simple properties of the picture?",
        "A gate is computed from z, the means of its block's channels over space. For each block a linear model is "
        "fitted to the values before the sigmoid or softmax (a gate that reaches 0, or often 1, was made by another "
        "function, and is taken as it is), and each picture is predicted by the model of all other pictures, so that "
        "chance gives about 0. ECA computes a gate from the few channels around it, SE from all: the "
        "lines say what each could tell here. Brightness and contrast are the mean and standard deviation of the luma, "
        "colourfulness is Hasler and Süsstrunk's, detail the logarithm of the Laplacian's standard deviation, which "
        "blur lowers; the object's size is the side of its box, where boxes are known.{kernels}"),
    "channels": Head(
        "The channels of a block",
        "One block in detail: which of its channels are open for which classes.",
        "The heat map has a row a class and a column a channel; its colour is the mean {quantity} over the pictures of "
        "the class. Centred, each channel's mean over the classes is subtracted, and what differs between classes is "
        "left. Clustered, classes and channels of like gates lie beside each other; otherwise they are in their own "
        "order. A channel is class-selective where much of its variance lies between classes (ω²)."),
    "pair": Head(
        "Two classes",
        "How two classes differ in one block, channel by channel.",
        "A line is the mean over the pictures of a class, its band ± one standard deviation over them, as in the SE "
        "paper's Fig. 7. The table lists the channels of the block that separate the two best, by Cohen's d: the "
        "difference of the means over the pooled standard deviation within the classes."),
    "saturation": Head(
        "Saturated and dead {gates}",
        "A gate that is always shut or always open no longer tells pictures apart. How many channels have one?",
        f"A channel is dead when its gate is under {tables.LOW:g} in {summaries.MOST:.0%} of the pictures, and in none "
        f"as far below 0, always open when it is over {tables.HIGH:g} in as many, and constant when it is neither and "
        "does not vary. Bars show the share of such channels, the lines the share of all single values beyond "
        "these limits."),
    "photos": Head(
        "Your photos beside the data set",
        "The gates of single photos over the means of the classes.",
        "The photos go through the model in the sidebar, which must be the network that the statistics are of. To "
        "begin with, the class of a photo is what the network takes it for."),
}


@dataclass
class Finding(Section):
    """A section whose ``text`` is whole, for a report.

    Attributes:
        found: what was found here, without how to read it.
        source: what it is of, Markdown, where ``text`` has it.
    """

    found: Sequence[str] = ()
    source: str = ""


class DataSections:
    """The sections over one data set.

    Attributes:
        quantity: what is shown of the blocks: "gate", or "weight of 5×5" of blocks that weigh kernels.
        what: the network, the data and how much of them.
        source: the same in Markdown.
        classes: the unique name of each class that has pictures → its index.

    Args:
        stats: the statistics.
        path: where they lie, for the scripts.
        zoom: which of ``stats.zooms``; the first when None.
    """

    def __init__(self, stats: Statistics, path: str | None = None, zoom: float | None = None):
        self.stats, self.path = stats, str(stats.path) if path is None else path
        self.zoom = stats.zooms[0] if zoom is None else zoom
        names = summaries.class_names(stats)
        self.classes = {names[i]: int(i) for i in np.flatnonzero(stats.count > 0)}
        weighs = [block for block in stats.blocks if block.branches > 1]
        self.quantity = f"weight of {tables.kernel_name(weighs[-1], -1)}" if weighs else "gate"
        self.what = self._what(stats.metadata["images"])
        self.source, self._labelled = plain(self.what), plain(self._what(int(stats.count.sum())))
        self.along_one = directions.along_one(stats, self.zoom)
        self._zoom = f", zoom={self.zoom}" if self.zoom != 1 else ""

    def _what(self, images: int) -> str:
        """The network, the data and how many of the pictures."""
        about, zoomed = self.stats.metadata, f", zoom {self.zoom:g}×" if len(self.stats.zooms) > 1 else ""
        few = f"{images:,} of " if images < about["images"] else ""
        return (f"{about['model']} on {about['data']}, {few}{number(about['images'], 'picture')} of "
                f"{number(len(self.classes), 'class', 'classes')}{zoomed}")

    def head(self, name: str) -> Head:
        """The words at the head of a section, one of ``HEADS``."""
        gate = self.quantity == "gate"
        words = {"quantity": self.quantity, "gate": "gate" if gate else "kernel weight",
                 "gates": "gates" if gate else "kernel weights",
                 "kernels": "" if gate else f" The gate is here the {self.quantity}.",
                 "not_enlarged": " for pictures that are not enlarged" if len(self.stats.zooms) > 1 else ""}
        return Head(*(part.format(**words) for part in HEADS[name]))

    def facts(self) -> list[str]:
        """How many pictures and classes there are and how the statistics were computed; Markdown."""
        metadata, counts = self.stats.metadata, self.stats.count[self.stats.count > 0]
        facts = [f"**{metadata['images']:,}** pictures"]
        if len(counts):
            each = f"{counts.min():,}" if counts.min() == counts.max() else f"{counts.min():,} to {counts.max():,}"
            facts.append(f"**{len(counts):,}** classes of {each}")
        if metadata["unlabelled"]:
            facts.append(f"{metadata['unlabelled']:,} without a label, which count to all only")
        if metadata["unreadable"]:
            facts.append(f"{metadata['unreadable']:,} could not be used")
        # without the settings that change how it rounds, and the code of the processor's dialect: reports have both
        device = re.sub(r" [0-9a-f]{8}$", "", metadata["device"].partition(",")[0])
        facts.append(f"{metadata['settings']['precision']} on {plain(device)}, torch "
                     f"{plain(metadata['versions']['torch'])}")
        return facts

    def lines(self, blocks: Sequence[str], classes: Sequence[str], *, overall: str | None = "class",
              band: str | None = None, sampled: bool = True) -> Finding | None:
        """The SE paper's Fig. 6; None where there is no line to draw.

        Args:
            blocks: labels.
            classes: names, of ``self.classes``.
            overall: see ``summaries.class_lines``.
            band: "std" or "error".
            sampled: draw every s-th channel.
        """
        chosen = [self.classes[name] for name in classes]
        table = summaries.block_lines(self.stats, blocks, chosen, overall=overall, zoom=self.zoom)
        if table.empty:
            return None
        found, few = [], table.loc[table["few"], "class"].nunique()
        if band:
            spread = "error of the mean" if band == "error" else "deviation"
            found.append(f"Bands are the mean ± one standard {spread}.")
        if few:
            found.append(f"Dashed: {few} class{'es' * (few > 1)} of fewer than {summaries.FEW} pictures.")
        figure = figures.class_panels(table, band=band, quantity=self.quantity, sampled=sampled)
        return self._section("lines", found, figure, table, self._script(
            f"summaries.block_lines(stats, {list(blocks)}, {chosen}, overall={overall!r}{self._zoom})"))

    def paper(self, blocks: Sequence[str]) -> Finding | None:
        """What the SE paper published of these blocks beside the same of this data set; None where it is nothing."""
        labels = [label for label in blocks if label in papers.PANELS]
        if not labels or 1 not in self.stats.zooms:
            return None
        return self._section("paper", [], None, published.comparisons(self.stats, labels),
                             self._script(f"published.comparisons(stats, {labels})"))

    def depth(self, table: pd.DataFrame | None = None) -> Finding:
        """How class-specific each block is.

        Args:
            table: ``summaries.specificity``, where it is known already.
        """
        if table is None:
            table = summaries.specificity(self.stats, zoom=self.zoom)
        figure = figures.specificity(table, quantity=self.quantity) if table["median"].notna().any() else None
        return self._section("depth", [*summaries.depth_findings(self.stats, table), self.repeated()], figure, table,
                             self._script(f"summaries.specificity(stats{self._zoom})"), int(self.stats.count.sum()))

    def dimension(self) -> Finding | None:
        """In how many directions each block's gate moves; None for statistics without a sample of pictures."""
        if not self.stats.sampled:
            return None
        table = summaries.dimension(self.stats, zoom=self.zoom)
        units = summaries.hidden_units(self.stats, self.zoom)
        figure = figures.dimension(table, quantity=self.quantity) if table["dimension"].notna().any() else None
        return self._section("dimension", directions.dimension_findings(
            self.stats, table, units, self.zoom), figure, table,
                             self._script(f"summaries.dimension(stats{self._zoom})"), self.stats.sampled)

    def driving(self, properties: bool = False) -> Finding | None:
        """What predicts each block's gate; None for statistics that do not tell.

        Args:
            properties: draw the properties of the picture one by one.
        """
        try:
            table = driving.driving(self.stats, zoom=self.zoom)
        except ValueError:
            return None
        figure = figures.driving(table, properties=properties, quantity=self.quantity) if len(table) else None
        return self._section("driving", driving.driving_findings(self.stats, table), figure, table,
                             self._script(f"driving.driving(stats{self._zoom})"), self.stats.sampled)

    def heat_map(self, label: str, *, centred: bool = True, clustered: bool = True,
                 table: pd.DataFrame | None = None) -> Section:
        """Every class in every channel of a block.

        Args:
            label: the block's.
            centred, clustered: see ``summaries.heat_map``.
            table: what that gives, where it is known already.
        """
        if table is None:
            table = summaries.heat_map(self.stats, label, centred=centred, clustered=clustered, zoom=self.zoom)
        classes = f"{len(table):,} classes" if len(table) > 1 else plain(table.index[0])
        text = (f"Mean {self.quantity} of {classes} in the {table.shape[1]:,} channels of **{label}**"
                + (", less each channel's mean over the classes." if centred else ".")
                + (" It is the same for every class." if len(table) > 1 and not np.ptp(table, axis=0).any() else "")
                + f" {self.repeated(label)} *{self._labelled}.*".replace("  ", " "))
        call = f"summaries.heat_map(stats, {label!r}, centred={centred}, clustered={clustered}{self._zoom})"
        return Section(
            f"The channels of {label}", text,
            figures.class_heat_map(table, quantity=f"mean {self.quantity}{', centred' if centred else ''}"),
            summaries.heat_map_cells(table), self._script(f"summaries.heat_map_cells({call})"))

    def selective(self, label: str) -> Section | None:
        """The channels of a block that depend most on the class; None where no picture has a label."""
        table = summaries.selective_channels(self.stats, label, zoom=self.zoom)
        if table.empty:
            return None
        best, chance = table.iloc[0], summaries.best_by_chance(self.stats, label)
        text = f"The channels of {label} by ω², the share of their variance that lies between classes. " + (
            f"First comes channel **{best['channel']}** (ω² {best['omega_squared']:.2f}), highest for "
            f"{plain(best['highest'])} ({best['highest_mean']:.3f}), lowest for {plain(best['lowest'])} "
            f"({best['lowest_mean']:.3f}). "
            + self._first_of(label, "with labels dealt at random", f"an ω² of at most {chance:.2f}",
                             best["omega_squared"] <= chance)
            if pd.notna(best["omega_squared"]) else
            "Here it cannot be told: that takes two classes or more, more pictures than classes, and a gate that "
            "varies.") + f" {self.repeated(label)}".rstrip()
        return Section(f"The most class-selective channels of {label}", text, None, table,
                       self._script(f"summaries.selective_channels(stats, {label!r}{self._zoom})"))

    def channel_classes(self, label: str, channel: int) -> Section | None:
        """The classes that open and close one channel; None where no picture has a label."""
        table = summaries.channel_classes(self.stats, label, channel, zoom=self.zoom)
        if table.empty:
            return None
        same = len(table) > 1 and table["mean"].nunique() == 1
        text = (f"In channel {channel} of {label} the mean {self.quantity} is {table['mean'].iloc[0]:.2f} for every "
                f"class." if same else
                f"The classes with the highest and the lowest mean {self.quantity} in channel {channel} of {label}, "
                f"± one standard deviation over a class's pictures.")
        return Section(f"channel {channel} of {label}: classes", text,
                       figures.channel_classes(table, quantity=f"mean {self.quantity}"), table,
                       self._script(f"summaries.channel_classes(stats, {label!r}, {channel}{self._zoom})"))

    def channel_histogram(self, label: str, channel: int) -> Section:
        """How one channel is distributed over all pictures."""
        table = summaries.channel_histogram(self.stats, label, channel, zoom=self.zoom)
        text = (f"How the {self.quantity} of channel {channel} of {label} is distributed over all "
                f"{self.stats.metadata['images']:,} pictures. "
                f"{summaries.beyond(self.stats, [label], zoom=self.zoom)}")
        return Section(f"channel {channel} of {label}: distribution", text,
                       figures.channel_histogram(table, quantity=self.quantity), table,
                       self._script(f"summaries.channel_histogram(stats, {label!r}, {channel}{self._zoom})"))

    def pair(self, label: str, first: str, second: str) -> Section:
        """Two classes, by name, in one block: the SE paper's Fig. 7."""
        chosen = [self.classes[first], self.classes[second]]
        table = summaries.block_lines(self.stats, [label], chosen, overall=None, zoom=self.zoom)
        text = (f"The {self.quantity} in **{label}** for the two classes: mean ± one standard deviation over the "
                f"pictures of the class, as in the SE paper's Fig. 7. *{self.source}.*")
        return Section(
            f"{first} and {second}", text,
            figures.class_panels(table, band="std", quantity=self.quantity, columns=1), table,
            self._script(f"summaries.block_lines(stats, [{label!r}], {chosen}, overall=None{self._zoom})"))

    def separating(self, label: str, first: str, second: str) -> Section:
        """The channels of a block that separate two classes best."""
        pair = self.classes[first], self.classes[second]
        table = summaries.separating_channels(self.stats, label, *pair, zoom=self.zoom)
        chance = summaries.farthest_by_chance(self.stats, label, *pair)
        text = (f"The channels of {label} that separate the two best, by Cohen's d: the difference of the means over "
                f"the pooled standard deviation within the classes. " + (
                    self._first_of(label, "between classes that do not differ",
                                   f"a d of at most {chance:.2f}, up or down", table["d"].abs().max() <= chance)
                    if table["d"].notna().any() else
                    "Here it cannot be told: that takes two pictures or more of either class, and a gate that "
                    "varies."))
        return Section(
            f"Channels that separate {first} and {second}", text, None, table,
            self._script(f"summaries.separating_channels(stats, {label!r}, {pair[0]}, {pair[1]}{self._zoom})"))

    def _first_of(self, label: str, where: str, most: str, reached: bool) -> str:
        """What the first of all channels of a block would have by chance: the best of many is high for that alone."""
        channels = self.stats.block(label).channels
        first = f"the first of {channels:,} channels" if channels > 1 else "it"
        return (f"By chance, {where}, {first} would have {most}, 19 times out of 20"
                + ("; here it has no more." if reached else "."))

    def saturation(self) -> Finding:
        """How many channels do not work as gates, block by block."""
        table = summaries.saturation(self.stats, zoom=self.zoom)
        counts = table[["dead", "open", "constant"]].sum()
        verb = "is" if counts["dead"] == 1 else "are"
        found = [f"Of {table['channels'].sum():,} channels **{counts['dead']:,}** {verb} dead, "
                 f"**{counts['open']:,}** always open and **{counts['constant']:,}** constant.",
                 summaries.beyond(self.stats, zoom=self.zoom), self.repeated()]
        return self._section("saturation", found, figures.saturation(table, quantity=self.quantity), table,
                             self._script(f"summaries.saturation(stats{self._zoom})"))

    def repeated(self, *labels: str) -> str:
        """A sentence where channels of these blocks (of all) show one number many times, or ""."""
        return directions.repeated(self.along_one, labels or [block.label for block in self.stats.blocks], self.stats)

    def _section(self, name: str, found: Sequence[str], figure, table: pd.DataFrame, script: str,
                 images: int | None = None) -> Finding:
        """A section, signed with how many pictures it is of: all when None."""
        head, found = self.head(name), [each for each in found if each]
        source = self.source if images is None else plain(self._what(images))
        text = " ".join(filter(None, [head.lead, head.more, *found, f"*{source}.*"]))
        return Finding(head.title, text, figure, table, script, found=found, source=source)

    def _script(self, call: str) -> str:
        return scripts.over_data(self.path, call, call.partition(".")[0])


class PhotoSections:
    """The sections of single photos beside a data set.

    Args:
        data: the sections over the data set.
        views: of a photo each, by its name, of the network that the statistics are of.
        classes: photo → the name of the class that it shows.
        loading: the line of a script that makes ``model``.
        paths: photo → where a script would find it.
    """

    def __init__(self, data: DataSections, views: Mapping[str, View], classes: Mapping[str, str], loading: str,
                 paths: Mapping[str, str]):
        self.data, self.views, self.classes = data, views, dict(classes)
        self.loading, self.paths = loading, paths
        self.gates = photos.gates_of(views)

    def lines(self) -> Section:
        """The photos' gates over the means of their classes."""
        data = self.data
        table = photos.lines(data.stats, self.gates, self.classes, zoom=data.zoom)
        text = (f"Dotted, with markers: the {data.quantity} for each photo. "
                + ("In the same colour: the mean of its class in the data set, dashed where that has fewer than "
                   f"{summaries.FEW} pictures. "
                   if photos.known_classes(data.stats, self.classes) else "The data set has none of their classes. ")
                + ("The photos are not enlarged. " if data.zoom != 1 else "") + f"*{data.source}.*")
        return Section("Photos over the class means", text, figures.class_panels(table, quantity=data.quantity), table,
                       self._script(f"photos.lines(stats, photos.gates_of(views), {self.classes!r}{data._zoom})"))

    def nearest(self) -> Section | None:
        """The classes whose mean gates are nearest; None where distances have no scale."""
        data = self.data
        table = summaries.nearest_classes(data.stats, self.gates, zoom=data.zoom)
        if table.empty:
            return None
        text = ("For each photo and block the class whose mean gates are nearest: the root mean square over channels "
                "of the difference in standard deviations within classes. Over the pictures of the data set the root "
                "mean square distance of a picture from its own class is about 1; the mean is smaller. "
                f"{self._hits(table)} {data.repeated()} *{data.source}.*".replace("  ", " "))
        return Section("The nearest classes by excitation", text, figures.nearest_classes(table), table,
                       self._script(f"summaries.nearest_classes(stats, photos.gates_of(views){data._zoom})"))

    def _hits(self, table: pd.DataFrame) -> str:
        """Of how many pictures of the data set the own class is the nearest; "" where that is not known."""
        hits = table.drop_duplicates("label").set_index("label")["hits"].dropna()
        if hits.empty:
            return ""
        low, high = str(hits.idxmin()), str(hits.idxmax())
        chance = summaries.by_chance(self.data.stats.count[self.data.stats.count > 0])
        return (f"Of {self.data.stats.sampled:,} of these pictures the nearest class is the own one in {hits[low]:.1%} "
                f"(**{low}**)" + (f" to {hits[high]:.1%} (**{high}**)" if hits[high] > hits[low] else "")
                + f"; by chance it would be in {chance}.")

    def mean_cams(self, stages: Mapping[str, str], cams: Mapping[str, Mapping[str, np.ndarray]],
                  targets: Mapping[str, int], seen: Mapping[str, np.ndarray]) -> Section:
        """Grad-CAM of each class, mean over its photos.

        Args:
            stages: name → layer.
            cams: photo → stage → (h, w), from 0 up, for the photo's class.
            targets: photo → index of its class in the network.
            seen: photo → (H, W, 3) uint8, as the network saw it.
        """
        maps = tables.mean_maps(cams, self.classes)
        counts = {label: f"{n} photo{'s' * (n > 1)}" for label, n in Counter(self.classes.values()).items()}
        text = ("Grad-CAM of the class at the end of each stage, mean over its photos here, each first brought to a "
                "maximum of 1, over the mean of the photos. "
                + ", ".join(f"{plain(label)}: {counts[label]}" for label in maps) + ".")
        _, arguments = scripts.cams(stages, targets)
        ending = (f"layers = {dict(stages)!r}\n"
                  "maps = {name: {stage: view.cams[layer][0, 0].cpu().numpy() for stage, layer in layers.items()}\n"
                  "        for name, view in views.items()}\n"
                  f"result = tables.cells(tables.mean_maps(maps, {self.classes!r}))")
        figure = figures.cam_grid(photos.mean_pictures(seen, self.classes), maps, classes=counts)
        return Section("Where the network looks for each class", text, figure, tables.cells(maps),
                       scripts.script(self.loading, self.paths, ending, inspect=arguments))

    def _script(self, call: str) -> str:
        modules = sorted({"photos", call.partition(".")[0]})
        return scripts.script(
            self.loading, self.paths, f"stats = sv.open_statistics({self.data.path!r})\nresult = {call}",
            imports=f"from senet_viz.statistics import {', '.join(modules)}")
