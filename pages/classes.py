"""Classes: do the gates differ between classes, and at which depth? Over a data set, and one's own photos beside it."""
import tempfile
import threading
import weakref
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import getitem
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import streamlit as st
import torch

import senet_viz as sv
from pages.parts.archives import RUNS, collected, last_written, weights_of
from pages.parts.model import Loaded, loaded_model
from pages.parts.pictures import NO_STAGES, Inspected, Picture, choose_pictures, explain, inspect_all
from pages.parts.sections import clear, downloads, show
from pages.parts.sentences import LOG, SENTENCES
from senet_viz import figures, tables
from senet_viz.collecting import Settings, Stopped, collect
from senet_viz.data.datasets import Pictures
from senet_viz.data.places import APP
from senet_viz.reports import papers, scripts
from senet_viz.reports.html import Section
from senet_viz.reports.text import plain
from senet_viz.statistics import published, summaries

SHOWN = 8  # classes in a figure, and colours
MAX_COLLECTED = 500  # photos in a run that a visitor starts
BANDS = {"none": None, "standard deviation": "std", "standard error": "error"}
OVERALL = {"mean of class means": "class", "mean of pictures": "image", "none": None}
SHARD = 8  # photos between two looks at the cancel button


def main() -> None:
    """The page, top to bottom; each part is a fragment and redraws alone."""
    st.title("Classes")
    st.markdown("Do the gates differ between classes, and at which depth? The SE paper's question, over a whole data "
                "set.")
    loaded = loaded_model(__file__)
    st.session_state["sections"] = {}
    take_in()
    stats = choose_statistics(loaded)
    if stats is None:
        collecting(loaded)
        return
    page = Page(loaded, stats)
    page.lines()
    page.depth()
    page.channels()
    page.pair()
    page.saturation()
    page.photos()
    collecting(loaded)
    downloads(f"Classes in {page.stats.metadata['model']}", {"Statistics": page.what},
                     f"{Path(page.stats.metadata['model']).stem}_classes")


def choose_statistics(loaded: Loaded) -> sv.Statistics | None:
    """The data set to look at; to begin with one of the model in the sidebar, where there is one."""
    found = collected()
    if not found:
        st.info("There are no statistics here yet: start a run over your own photos below.", icon=":material/info:")
        return None
    own = weights_of(loaded.key, loaded.model)
    fitting = [name for name, stats in found.items() if stats.metadata["weights"] == own]
    if st.session_state.get("statistics") not in found:
        st.session_state.pop("statistics", None)
    other = st.session_state.get("statistics_of", loaded.key) != loaded.key
    names = list(found)
    begin = {"index": names.index((fitting or names)[0])}
    if other and fitting and st.session_state.get("statistics") not in fitting:  # another model: follow it
        st.session_state["statistics"], begin = fitting[0], {}
    st.session_state["statistics_of"] = loaded.key
    name = st.selectbox(
        "Statistics", names, **begin, key="statistics", bind="query-params",
        help="Collected by `python -m senet_viz collect`. The operator of this server can offer others with "
             "`streamlit run app.py -- --statistics FOLDER`; a small run over your own photos starts further below.")
    if name not in fitting:
        also = (f"Of that one choose “{plain(fitting[0])}”." if fitting else
                "Of that one there are none here; further below a small run over your own photos can be started.")
        st.info(f"These statistics are of another network than the model in the sidebar, {plain(loaded.model.name)}. "
                f"{also}", icon=":material/info:")
    return found[name]


class Page:
    """The parts of the page for one data set's statistics."""

    def __init__(self, loaded: Loaded, stats: sv.Statistics):
        self.loaded, self.stats = loaded, stats
        self.names = summaries.class_names(stats)
        self.there = np.flatnonzero(stats.count > 0).tolist()
        self.index = {self.names[i]: i for i in self.there}
        self.blocks = {block.label: block for block in stats.blocks}
        self.path = str(stats.path.relative_to(APP) if stats.path.is_relative_to(APP) else stats.path)
        zooms = {f"{zoom:g}×": zoom for zoom in stats.zooms}
        self.zoom = stats.zooms[0]
        self._facts()
        if len(zooms) > 1:
            around = "box" if stats.metadata["settings"]["around"] == "box" else "centre"
            chosen = st.segmented_control("Zoom", list(zooms), default=next(iter(zooms)), required=True, key="zoom",
                                          bind="query-params", help=f"How much the pictures' {around} was enlarged.")
            self.zoom = zooms.get(chosen, self.zoom)
        weighs = [block for block in stats.blocks if block.branches > 1]
        self.quantity = f"weight of {tables.kernel_name(weighs[-1], -1)}" if weighs else "gate"
        zoomed = f", zoom {self.zoom:g}×" if len(zooms) > 1 else ""
        self.what = (f"{stats.metadata['model']} on {stats.metadata['data']}, {stats.metadata['images']:,} pictures of "
                     f"{len(self.there):,} classes{zoomed}")
        self.source = plain(self.what)
        self.key = f"{stats.path} {last_written(stats.path)}"

    def _facts(self) -> None:
        stats, metadata = self.stats, self.stats.metadata
        counts = stats.count[stats.count > 0]
        facts = [f"**{metadata['images']:,}** pictures"]
        if len(counts):
            each = f"{counts.min():,}" if counts.min() == counts.max() else f"{counts.min():,} to {counts.max():,}"
            facts.append(f"**{len(counts):,}** classes of {each}")
        if metadata["unlabelled"]:
            facts.append(f"{metadata['unlabelled']:,} without a label, which count to all only")
        if metadata["unreadable"]:
            facts.append(f"{metadata['unreadable']:,} could not be used")
        settings = metadata["settings"]
        facts.append(f"{settings['precision']} on {plain(metadata['device'])}, torch "
                     f"{plain(metadata['versions']['torch'])}")
        st.caption(" · ".join(facts))

    def _script(self, ending: str, imports: str = "") -> str:
        return imports + scripts.over_data(self.path, ending)

    def _zoom(self) -> str:
        return f", zoom={self.zoom}" if self.zoom != 1 else ""

    def _default_classes(self) -> list[str]:
        """The paper's where the data set has them, and others from its whole length, four in all."""
        shown = [i for i in published.shown_classes(self.stats).values() if i in self.there]
        spread = [self.there[int(i)] for i in np.linspace(0, len(self.there) - 1, min(4, len(self.there)))]
        return [self.names[i] for i in list(dict.fromkeys(shown + spread))[:4]]

    def _lines(self, blocks: Sequence[str], classes: Sequence[str], overall: str | None) -> pd.DataFrame:
        chosen = [self.index[name] for name in classes]
        return pd.concat([
            summaries.class_lines(self.stats, label, chosen, overall=overall, zoom=self.zoom).assign(label=label)
            for label in blocks], ignore_index=True)

    @st.fragment
    def lines(self) -> None:
        st.header("Class by class, block by block", anchor="lines")
        clear("lines", "paper")
        with st.container(horizontal=True):
            classes = st.multiselect(
                f"Classes (up to {SHOWN})", list(self.index), **begin("classes", self.index, self._default_classes()),
                max_selections=SHOWN, key="classes", bind="query-params", width=560)
            blocks = st.multiselect(
                "Blocks", list(self.blocks),
                **begin("blocks", self.blocks, [block.label for block in tables.panels(self.stats.blocks)]),
                key="blocks", bind="query-params", width=560,
                help="The SE paper shows the last block of each stage, and all of the last stage.")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            every = st.segmented_control("Channels", ["every s-th", "all"], default="every s-th", required=True,
                                         key="class_channels", bind="query-params",
                                         help="The paper shows every s-th channel, s = ⌈C/50⌉.")
            band = st.segmented_control(
                "Band", list(BANDS), default="none", required=True, key="band", bind="query-params",
                help="Around each class's mean: the standard deviation over its pictures, as in the SE paper's Fig. 7, "
                     "or the standard error of the mean.")
            overall = st.selectbox(
                "Line “all”", list(OVERALL), key="overall", bind="query-params", width=220,
                help="Over class means, as in the paper, or over pictures: they differ where classes have different "
                     "numbers of pictures.")
            paper = st.toggle("Beside the paper", key="paper", bind="query-params",
                              help="What the SE paper's Fig. 6 shows in each panel, beside this.")
        if not blocks or not (classes or OVERALL[overall]):
            st.info("Choose a class and a block to draw.")
            return
        lines = self._lines(blocks, classes, OVERALL[overall])
        if lines.empty:
            st.info("There is nothing to draw: no picture of this data set has a label. Choose “mean of pictures”.")
            return
        few = lines.loc[lines["few"], "class"].nunique()
        text = (f"The {self.quantity} of each channel, averaged over the pictures of a class, as in the SE paper's "
                f"Fig. 6. *{self.source}.*")
        if BANDS[band]:
            text += f" Bands are the mean ± one {band}{' of the mean' if band == 'standard error' else ''}."
        if few:
            text += f" Dashed: {few} class{'es' * (few > 1)} of fewer than {summaries.FEW} pictures."
        chosen = [self.index[name] for name in classes]
        script = self._script(
            f"pd.concat([\n    summaries.class_lines(stats, label, {chosen}, overall={OVERALL[overall]!r}"
            f"{self._zoom()}).assign(label=label)\n    for label in {list(blocks)}], ignore_index=True)",
            "import pandas as pd\n")
        figure = figures.class_panels(lines, band=BANDS[band], quantity=self.quantity, sampled=every == "every s-th")
        show(Section("Class by class, block by block", text, figure, lines, script), "lines")
        if paper:
            self._paper([label for label in blocks if label in papers.PANELS])

    def _paper(self, labels: list[str]) -> None:
        st.subheader("Beside the paper's Fig. 6", anchor="paper")
        if not labels:
            st.info(f"None of these blocks is in the paper's figure; it shows {', '.join(papers.PANELS)}.")
            return
        if 1 not in self.stats.zooms:
            st.info("These statistics are of enlarged pictures only, the paper's are not.")
            return
        table = pd.concat([published.comparison(self.stats, label).assign(block=label) for label in labels],
                          ignore_index=True)
        same = table.duplicated(["quantity", "published", "here"], keep=False) & table["quantity"].isin(papers.PROTOCOL)
        table["block"] = table["block"].mask(same, "all of these")
        table = table.drop_duplicates()[["block", "quantity", "published", "here"]]
        show(Section(
            "Beside the paper's Fig. 6", "What “Squeeze-and-Excitation Networks” shows and says of these blocks of its "
            "SE-ResNet-50 on ImageNet, and what the statistics chosen here give"
            + (" for pictures that are not enlarged" if len(self.stats.zooms) > 1 else "")
            + ". Of another network, or on other data, the blocks bear the same names and no more.", None, table,
            f"""\
import pandas as pd
import senet_viz as sv
from senet_viz.reports import papers
from senet_viz.statistics import published

stats = sv.open_statistics({self.path!r})
table = pd.concat([published.comparison(stats, label).assign(block=label) for label in {labels}],
                  ignore_index=True)
same = table.duplicated(["quantity", "published", "here"], keep=False) & table["quantity"].isin(papers.PROTOCOL)
table["block"] = table["block"].mask(same, "all of these")
result = table.drop_duplicates()[["block", "quantity", "published", "here"]]
print(result)
"""), "paper", headings={})

    def depth(self) -> None:
        st.header("How class-specific is each depth?", anchor="depth")
        table = _specificity(self.key, self.zoom, self.stats)
        findings = summaries.depth_findings(self.stats, table)
        what = ("For every channel the share of its variance over pictures that lies between classes (ω², which labels "
                "dealt at random do not inflate), as a distribution over the channels of a block. Controls: the same "
                "with labels dealt out anew, the gates of the same network with random weights, and the block's own "
                "input after the squeeze."
                + ("" if self.quantity == "gate" else f" The gate is here the {self.quantity}."))
        st.markdown(f"{what} *{self.source}.*\n" + "".join(f"\n- {finding}" for finding in findings))
        figure = figures.specificity(table, quantity=self.quantity) if table["median"].notna().any() else None
        text = f"{what} *{self.source}.* {' '.join(findings)}"
        show(Section("How class-specific is each depth?", text, figure, table,
                            self._script(f"summaries.specificity(stats{self._zoom()})")), "depth", text=False)

    @st.fragment
    def channels(self) -> None:
        st.header("The channels of a block", anchor="channels")
        clear("heat_map", "selective", "channel_classes", "channel_histogram")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            label = st.selectbox("Block", list(self.blocks), index=len(self.blocks) - 1, key="class_block",
                                 bind="query-params", width=160)
            centred = st.toggle("Centred", value=True, key="centred", bind="query-params",
                                help="Each channel's mean over the classes subtracted.")
            clustered = st.toggle("Clustered", value=True, key="clustered", bind="query-params",
                                  help="Classes and channels of like gates beside each other; otherwise in their own "
                                       "order.")
        block = self.blocks[label]
        selective = summaries.selective_channels(self.stats, label, block.channels, zoom=self.zoom)
        if selective.empty:
            st.info("No picture of this data set has a label, so that nothing can be told by class.")
        else:
            centred &= len(self.there) > 1  # one class is its own mean
            table = _heat_map(self.key, self.zoom, label, centred, clustered, self.stats)
            classes = f"{len(table):,} classes" if len(table) > 1 else plain(table.index[0])
            text = (f"Mean {self.quantity} of {classes} in the {block.channels:,} channels of **{label}**"
                    + (", less each channel's mean over the classes." if centred else ".")
                    + f" *{self.source}.*")
            show(Section(
                f"The channels of {label}", text,
                figures.class_heat_map(
                    table, quantity=f"mean {self.quantity}{', centred' if centred else ''}"),
                table.reset_index().melt("class", var_name="channel"),
                self._script(f"summaries.heat_map(stats, {label!r}, centred={centred}, clustered={clustered}"
                             f"{self._zoom()})\nresult = result.reset_index().melt('class', var_name='channel')")),
                "heat_map")
            st.subheader("The most class-selective channels", anchor="selective")
            best = selective.iloc[0]
            text = (f"The channels of {label} by ω², the share of their variance that lies between classes. " + (
                f"First comes channel **{best['channel']}** (ω² {best['omega_squared']:.2f}), highest for "
                f"{plain(best['highest'])} ({best['highest_mean']:.2f}), lowest for {plain(best['lowest'])} "
                f"({best['lowest_mean']:.2f})." if pd.notna(best["omega_squared"]) else
                "Here it cannot be told: that takes two classes or more, more pictures than classes, and a gate that "
                "varies."))
            show(Section(
                f"The most class-selective channels of {label}", text, None, selective.head(20),
                self._script(f"summaries.selective_channels(stats, {label!r}, 20{self._zoom()})")),
                "selective", headings={"omega_squared": "ω²", "highest_mean": "highest mean",
                                       "lowest_mean": "lowest mean", "std": "std within classes"})
        self._channel(block, 0 if selective.empty else int(selective["channel"].iloc[0]))

    def _channel(self, block: sv.AttentionBlock, first: int) -> None:
        key, begin = "class_channel", {"value": first}
        of = self.key, block.label
        if st.session_state.get("class_channel_of", of) != of:
            st.session_state[key], begin = first, {}  # the most selective one of this block, not another's number
        st.session_state["class_channel_of"] = of
        st.subheader("One channel over the classes", anchor="class-channel")
        channel = st.number_input("Channel", 0, block.channels - 1, **begin, key=key, bind="query-params", width=160)
        name = f"channel {channel} of {block.label}"
        left, right = st.columns(2)
        with left:
            table = summaries.channel_classes(self.stats, block, channel, zoom=self.zoom)
            if not table.empty:
                text = (f"The classes with the highest and the lowest mean {self.quantity} in {name}, ± one standard "
                        f"deviation over a class's pictures.")
                show(Section(
                    f"{name}: classes", text, figures.channel_classes(table, quantity=f"mean {self.quantity}"), table,
                    self._script(f"summaries.channel_classes(stats, {block.label!r}, {channel}{self._zoom()})")),
                    "channel_classes")
        with right:
            table = summaries.channel_histogram(self.stats, block, channel, zoom=self.zoom)
            text = (f"How the {self.quantity} of {name} is distributed over all "
                    f"{self.stats.metadata['images']:,} pictures. "
                    f"{summaries.beyond(self.stats, [block.label], zoom=self.zoom)}")
            show(Section(
                f"{name}: distribution", text, figures.channel_histogram(table, quantity=self.quantity), table,
                self._script(f"summaries.channel_histogram(stats, {block.label!r}, {channel}{self._zoom()})")),
                "channel_histogram")

    @st.fragment
    def pair(self) -> None:
        st.header("Two classes", anchor="pair")
        clear("pair", "separating")
        if len(self.there) < 2:
            st.info("There are no two classes to compare.")
            return
        names = list(self.index)
        defaults = [names.index(name) for name in self._default_classes()[:2]]
        with st.container(horizontal=True):
            first = st.selectbox("Class", names, index=defaults[0], key="class_first", bind="query-params", width=260)
            second = st.selectbox("and", names, index=defaults[1], key="class_second", bind="query-params", width=260)
            label = st.selectbox("in block", list(self.blocks), index=len(self.blocks) - 1, key="pair_block",
                                 bind="query-params", width=160)
        if first == second:
            st.info("The two classes are the same: choose another.")
            return
        lines = self._lines([label], [first, second], None)
        text = (f"The {self.quantity} in **{label}** for the two classes: mean ± one standard deviation over the "
                f"pictures of the class, as in the SE paper's Fig. 7. *{self.source}.*")
        pair = self.index[first], self.index[second]
        show(Section(
            f"{first} and {second}", text, figures.class_panels(lines, band="std", quantity=self.quantity, columns=1),
            lines, self._script(f"summaries.class_lines(stats, {label!r}, {list(pair)}, overall=None{self._zoom()})"
                                f".assign(label={label!r})")), "pair")
        table = summaries.separating_channels(self.stats, label, *pair, zoom=self.zoom)
        text = (f"The channels of {label} that separate the two best, by Cohen's d: the difference of the means over "
                f"the pooled standard deviation within the classes.")
        show(Section(
            f"Channels that separate {first} and {second}", text, None, table,
            self._script(f"summaries.separating_channels(stats, {label!r}, {pair[0]}, {pair[1]}{self._zoom()})")),
            "separating", headings={"first": first, "second": second})

    def saturation(self) -> None:
        title = f"Saturated and dead {'gates' if self.quantity == 'gate' else 'kernel weights'}"
        st.header(title, anchor="saturation")
        table = summaries.saturation(self.stats, zoom=self.zoom)
        counts = table[["dead", "open", "constant"]].sum()
        text = (f"Of {table['channels'].sum():,} channels **{counts['dead']:,}** are dead (under {tables.LOW:g} in "
                f"{summaries.MOST:.0%} of the pictures), **{counts['open']:,}** always open (over {tables.HIGH:g} in "
                f"as many) and **{counts['constant']:,}** constant. The lines show the share of all single values "
                f"beyond these limits. {summaries.beyond(self.stats, zoom=self.zoom)} *{self.source}.*")
        show(Section(title, text, figures.saturation(table, quantity=self.quantity), table,
                            self._script(f"summaries.saturation(stats{self._zoom()})")), "saturation")

    def photos(self) -> None:
        st.header("Your photos beside the data set", anchor="photos")
        if weights_of(self.loaded.key, self.loaded.model) != self.stats.metadata["weights"]:
            st.info("The statistics above are of another network than the model in the sidebar, so that photos cannot "
                    "be put beside them.")
            return
        pictures = choose_pictures()
        results = inspect_all(self.loaded, pictures) if pictures else {}
        if results:
            Photos(self, [picture for picture in pictures if picture.name in results], results).show()
        else:
            st.info("Upload photos or choose a sample picture to see its gates beside the classes.",
                    icon=":material/add_photo_alternate:")


class Photos:
    """One's own photos beside the data set."""

    def __init__(self, page: Page, pictures: list[Picture], results: dict[str, Inspected]):
        self.page, self.pictures, self.results = page, pictures, results
        self.model = page.loaded.model
        self.views = {picture.name: results[picture.name].view for picture in pictures}
        self.paths = {picture.name: picture.path for picture in pictures}

    @st.fragment
    def show(self) -> None:
        clear("photo_lines", "nearest", "mean_cams")
        classes = self._classes()
        self._lines(classes)
        self._nearest()
        self._grad_cam(classes)

    def _classes(self) -> dict[str, str]:
        """The class of each photo: what the network takes it for, unless told otherwise."""
        top = tables.predictions(self.views, self.model.class_labels, top=1)
        st.markdown("To which class does each photo belong? To begin with it is what the network takes it for; choose "
                    "another where that is wrong.")
        table = st.data_editor(
            top[["picture", "class", "probability"]], hide_index=True, disabled=["picture", "probability"],
            key="_".join(["photo_classes", self.page.loaded.key, *(picture.digest[:6] for picture in self.pictures)]),
            column_config={
                "class": st.column_config.SelectboxColumn("class", options=self.model.class_labels, required=True),
                "probability": st.column_config.NumberColumn("probability of the network's choice", format="percent")})
        return dict(zip(table["picture"], table["class"]))

    def _lines(self, classes: dict[str, str]) -> None:
        page = self.page
        st.subheader("Their lines over the class means", anchor="photo-lines")
        known = [name for name in dict.fromkeys(classes.values()) if name in page.index][:SHOWN]
        labels = [block.label for block in tables.panels(page.stats.blocks)]
        overall, parts = "class" if page.there else "image", []
        for label in labels:
            gates = tables.gates(self.views, page.blocks[label]).query("branch == branch.max()")
            photos = gates.rename(columns={"picture": "class"})[["class", "channel", "value"]]
            parts += [page._lines([label], known, overall).assign(photo=False),
                      photos.assign(label=label, photo=True, own=photos["class"].map(classes))]
        lines = pd.concat(parts, ignore_index=True)
        text = (f"Dotted, with markers: the {page.quantity} for each photo. "
                + ("Solid, in the same colour: the mean of its class in the data set. " if known else
                   "The data set has none of their classes. ")
                + ("The photos are not enlarged. " if page.zoom != 1 else "") + f"*{page.source}.*")
        chosen = [page.index[name] for name in known]
        ending = f"""\
stats = sv.open_statistics({page.path!r})
classes = {classes!r}
parts = []
for label in {labels}:
    lines = summaries.class_lines(stats, label, {chosen}, overall={overall!r}{page._zoom()})
    gates = tables.gates(views, stats.block(label)).query("branch == branch.max()")
    photos = gates.rename(columns={{"picture": "class"}})[["class", "channel", "value"]]
    parts += [lines.assign(label=label, photo=False),
              photos.assign(label=label, photo=True, own=photos["class"].map(classes))]
result = pd.concat(parts, ignore_index=True)"""
        script = scripts.script(page.loaded.code, self.paths, ending,
                                imports="from senet_viz.statistics import summaries\nimport pandas as pd")
        show(Section("Photos over the class means", text,
                            figures.class_panels(lines, quantity=page.quantity), lines, script), "photo_lines")

    def _nearest(self) -> None:
        page = self.page
        st.subheader("The nearest classes by excitation", anchor="nearest")
        gates = {name: {block.name: view.gates[block.name][0].cpu().numpy() for block in page.stats.blocks}
                 for name, view in self.views.items()}
        table = summaries.nearest_classes(page.stats, gates, zoom=page.zoom)
        if table.empty:
            st.info("The data set has no more labelled pictures than classes, so that distances have no scale.")
            return
        text = ("For each photo and block the class whose mean gates are nearest: the root mean square over channels "
                "of the difference in standard deviations within classes. A photo of a class is on average at "
                f"about 1 from its own. *{page.source}.*")
        ending = (f"stats = sv.open_statistics({page.path!r})\n"
                  "gates = {name: {block: gate[0].cpu().numpy() for block, gate in view.gates.items()}\n"
                  "         for name, view in views.items()}\n"
                  f"result = summaries.nearest_classes(stats, gates{page._zoom()})")
        script = scripts.script(page.loaded.code, self.paths, ending,
                                imports="from senet_viz.statistics import summaries")
        show(Section("The nearest classes by excitation", text, figures.nearest_classes(table), table, script),
                    "nearest")

    def _grad_cam(self, classes: dict[str, str]) -> None:
        st.subheader("Where the network looks for each class", anchor="mean-cams")
        stages = self.model.stages
        if not stages:
            st.info(NO_STAGES)
            return
        targets = {name: self.model.class_labels.index(label) for name, label in classes.items()}
        cams = {}
        for picture in self.pictures:
            explained, _ = explain(self.page.loaded.key, picture.digest, targets[picture.name],
                                          self.views[picture.name])
            cams[picture.name] = {stage: explained[layer] for stage, layer in stages.items()}
        maps = tables.mean_maps(cams, classes)
        seen = {label: np.mean([self.results[name].seen for name, own in classes.items() if own == label], axis=0)
                .round().astype(np.uint8) for label in maps}
        counts = {label: f"{n} photo{'s' * (n > 1)}" for label, n in Counter(classes.values()).items()}
        text = ("Grad-CAM of the class at the end of each stage, mean over its photos here, each first brought to a "
                "maximum of 1, over the mean of the photos. "
                + ", ".join(f"{plain(label)}: {counts[label]}" for label in maps) + ".")
        _, arguments = scripts.cams(stages, targets)
        ending = (f"layers = {stages!r}\n"
                  "maps = {name: {stage: view.cams[layer][0, 0].cpu().numpy() for stage, layer in layers.items()}\n"
                  "        for name, view in views.items()}\n"
                  f"result = tables.cells(tables.mean_maps(maps, {classes!r}))")
        figure = figures.cam_grid(seen, maps, classes=counts)
        show(Section("Where the network looks for each class", text, figure, tables.cells(maps),
                            scripts.script(self.page.loaded.code, self.paths, ending, inspect=arguments)), "mean_cams")


def begin(key: str, options: Iterable[str], default: list[str]) -> dict:
    """How a multiselect begins, also anew where there is nothing here of what was chosen in another data set."""
    options = set(options)
    other = st.session_state.get(f"{key}_of", options) != options
    st.session_state[f"{key}_of"] = options
    if other and options.isdisjoint(st.session_state.get(key, ())):
        st.session_state[key] = default
        return {}
    return {"default": default}


@st.cache_data(max_entries=32, show_spinner=False)
def _specificity(key: str, zoom: float, _stats: sv.Statistics) -> pd.DataFrame:
    return summaries.specificity(_stats, zoom=zoom)


@st.cache_data(max_entries=32, show_spinner="Ordering classes and channels")
def _heat_map(key: str, zoom: float, label: str, centred: bool, clustered: bool, _stats: sv.Statistics) -> pd.DataFrame:
    return summaries.heat_map(_stats, label, centred=centred, clustered=clustered, zoom=zoom)


# --- a run over one's own photos
# -------------------------------------------------------------------------------------


@dataclass
class Job:
    """A run in the background."""

    total: int
    folder: tempfile.TemporaryDirectory = field(
        default_factory=partial(tempfile.TemporaryDirectory, prefix="senet_viz_"))
    cancelled: threading.Event = field(default_factory=threading.Event)
    done: int = 0
    stopped: bool = False
    error: str = ""
    thread: threading.Thread | None = None

    @property
    def out(self) -> str:
        """Where the statistics come to lie."""
        return str(Path(self.folder.name, "statistics"))

    @property
    def running(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    def start(self, model: sv.Model, pictures: Pictures, settings: Settings) -> "Held":
        """Run in a thread, for as long as what is returned is kept."""
        self.thread = threading.Thread(target=self.run, args=(model, pictures, settings), daemon=True)
        self.thread.start()
        return Held(self)

    def run(self, model: sv.Model, pictures: Pictures, settings: Settings) -> None:
        """Collect; what goes wrong is kept as a sentence."""
        def tell(done: int, total: int) -> None:
            self.done = done

        try:
            with RUNS:
                collect(model, pictures, self.out, settings, workers=0, progress=tell, stop=self.cancelled.is_set)
        except Stopped:
            self.stopped = True
        except SENTENCES as error:
            self.error = str(error)
        except Exception as error:  # networks of one's own fail wherever they like
            LOG.exception("shown on the page as one sentence")
            self.error = f"The network fails ({type(error).__name__}: {' '.join(str(error).split())})."


class Held:
    """A visitor's hold on a run: when the session ends, so does the run, and its folder is removed."""

    def __init__(self, job: Job):
        self.job = job
        weakref.finalize(self, job.cancelled.set)


def take_in() -> None:
    """Add a run that has ended well to the statistics that this visitor may choose."""
    held: list[Held] = st.session_state.get("jobs", [])
    st.session_state["collected"] = [
        one.job.out for one in held if not (one.job.running or one.job.stopped or one.job.error)]


def labels_of(files: Sequence[str]) -> list[str]:
    """The class of each photo in uploaded folders, "" for none: the sub-folder that it lies in.

    As in a folder that is given to ``collect``; but where several folders without sub-folders were chosen, each is one.
    """
    paths = [PurePosixPath(file).parts for file in files]
    roots = {path[0] for path in paths if len(path) > 1}
    deep = {path[0] for path in paths if len(path) > 2}
    return [path[1] if len(path) > 2 else path[0] if path[0] in roots - deep and len(roots) > 1 else ""
            for path in paths]


def collecting(loaded: Loaded) -> None:
    """Start a run over photos in folders, follow it, cancel it."""
    st.header("Statistics over your own photos", anchor="collect")
    st.markdown(f"Choose a folder with one sub-folder a class, up to {MAX_COLLECTED} photos in all. The run is over "
                f"**{plain(loaded.model.name)}**, the model in the sidebar; its result appears among the statistics at "
                f"the top, for you and until you leave. For more, there is `python -m senet_viz collect`.")
    held: list[Held] = st.session_state.setdefault("jobs", [])  # the folders live as long as these
    job = held[-1].job if held else None
    uploads = st.file_uploader("Photos in folders", accept_multiple_files="directory", key="folders",
                               type=["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"],
                               disabled=job is not None and job.running)
    if job is not None:
        if job.running:
            _follow()
            return
        if job.error:
            st.error(plain(job.error), icon=":material/error:")
        elif job.stopped:
            st.info(f"Cancelled after {job.done} of {job.total} photos.", icon=":material/cancel:")
        elif job.out not in st.session_state["collected"]:  # it ended while the page was being drawn
            st.rerun()
        else:
            st.success(f"Done: {job.total} photos. Choose the result among the statistics at the top.",
                       icon=":material/check:")
    if not uploads:
        return
    labels = labels_of([upload.name for upload in uploads])
    counts = Counter(filter(None, labels))
    classes = sorted(counts)
    facts = [f"{plain(name)} ({counts[name]})" for name in classes[:12]] + ["…"] * (len(classes) > 12)
    if unlabelled := len(labels) - counts.total():
        facts.append(f"{unlabelled} in no sub-folder, without a class")
    st.markdown(f"{len(uploads)} photo{'s' * (len(uploads) != 1)}, {len(classes)} "
                f"class{'es' * (len(classes) != 1)}: {', '.join(facts)}.")
    if len(uploads) > MAX_COLLECTED:
        st.error(f"{len(uploads)} photos are too many for a run from here; the most is {MAX_COLLECTED}.",
                 icon=":material/error:")
        return
    control = st.toggle("With the network with random weights as a control (twice the time)", value=True, key="control")
    if st.button("Collect", icon=":material/play_arrow:", type="primary", key="collect"):
        pictures = Pictures(partial(getitem, [upload.getvalue() for upload in uploads]),
                            [classes.index(label) if label else -1 for label in labels], classes,
                            files=[upload.name for upload in uploads])
        settings = Settings(batch_size=SHARD, shard_size=SHARD, threads=torch.get_num_threads(), random_weights=control)
        held.append(Job(len(uploads)).start(loaded.model, pictures, settings))
        st.rerun()


@st.fragment(run_every=1.0)
def _follow() -> None:
    job = st.session_state["jobs"][-1].job
    if not job.running:
        st.rerun()
    st.progress(job.done / job.total, f"{job.done} of {job.total} photos")
    st.button("Cancel", icon=":material/cancel:", key="cancel", on_click=job.cancelled.set,
              disabled=job.cancelled.is_set())


main()
