"""Classes: do the gates differ between classes, and at which depth? Over a data set, and one's own photos beside it."""
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

import pandas as pd
import streamlit as st

import senet_viz as sv
from pages.parts.archives import beside_app, collected, last_written, weights_of
from pages.parts.choices import one_of
from pages.parts.keeping import kept
from pages.parts.model import Loaded, loaded_model
from pages.parts.outlying import outlying
from pages.parts.own_run import collecting, take_in
from pages.parts.pictures import NO_STAGES, Picture, choose_pictures, explain, inspect_all
from pages.parts.sections import clear, heading, keep, offer, show
from pages.parts.sentences import lacking
from senet_viz import tables
from senet_viz.experiments.looking import Look
from senet_viz.gates.answers import CLASSIFICATION
from senet_viz.reports import papers
from senet_viz.reports.html import Section
from senet_viz.reports.text import file_name, plain
from senet_viz.statistics import directions
from senet_viz.statistics.data_report import data_report, first_classes
from senet_viz.statistics.photos import SHOWN
from senet_viz.statistics.sections import DataSections, Finding, PhotoSections

BANDS = {"none": None, "standard deviation": "std", "standard error": "error"}
DRIVERS = {"what it is made of": False, "the picture": True}
OVERALL = {"mean of class means": "class", "mean of pictures": "image", "none": None}
T = TypeVar("T")
UNLABELLED = "No picture of this data set has a label, so that nothing can be told by class."


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
    page.dimension()
    page.driving()
    page.channels()
    page.pair()
    page.saturation()
    page.photos()
    collecting(loaded)
    shown = st.session_state["sections"]
    offer(f"{file_name(stats.metadata['model'])}_classes", lambda: data_report(page.data, shown))


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
                "Of that one there are none here" + ("; further below a small run over your own photos can be started."
                                                     if loaded.model.answer.task == CLASSIFICATION else "."))
        st.info(f"These statistics are of another network than the model in the sidebar, {plain(loaded.model.name)}. "
                f"{also}", icon=":material/info:")
    return found[name]


class Page:
    """The parts of the page for one data set's statistics."""

    def __init__(self, loaded: Loaded, stats: sv.Statistics):
        self.loaded, self.stats = loaded, stats
        self.blocks = {block.label: block for block in stats.blocks}
        self.key = f"{stats.path} {last_written(stats.path)}"
        self.data = _sections(self.key, stats.zooms[0], stats)
        self.names = list(self.data.classes)
        st.caption(" · ".join(self.data.facts()))
        zooms = {f"{zoom:g}×": zoom for zoom in stats.zooms}
        if len(zooms) > 1:
            around = "box" if stats.metadata["settings"]["around"] == "box" else "centre"
            chosen = one_of("Zoom", list(zooms), key="zoom", bind="query-params",
                            help=f"How much the pictures' {around} was enlarged.")
            self.data = _sections(self.key, zooms.get(chosen, stats.zooms[0]), stats)
        self.first = keep(self.key, lambda: first_classes(stats))

    def _keep(self, make: Callable[..., T], *arguments: Hashable, **named: Hashable) -> T:
        return keep((self.key, self.data.zoom), make, *arguments, **named)

    def _heading(self, name: str) -> None:
        head = self.data.head(name)
        heading(head.title, name, head.lead, head.more)

    @st.fragment
    def lines(self) -> None:
        self._heading("lines")
        clear("lines", "paper")
        with st.container(horizontal=True):
            classes = st.multiselect(
                f"Classes (up to {SHOWN})", self.names, **begin("classes", self.names, self.first),
                max_selections=SHOWN, key="classes", bind="query-params", width=480)
            blocks = st.multiselect(
                "Blocks", list(self.blocks),
                **begin("blocks", self.blocks, [block.label for block in tables.panels(self.stats.blocks)]),
                key="blocks", bind="query-params", width=480,
                help="The SE paper shows the last block of each stage, and all of the last stage.")
        with st.container(horizontal=True, vertical_alignment="center"):
            drawing = st.popover("How it is drawn", icon=":material/tune:")
            paper = st.toggle("Beside the paper", key="paper", bind="query-params",
                              help="What the SE paper's Fig. 6 shows in each panel, beside this.")
        with drawing:
            every = one_of("Channels", ["every s-th", "all"], key="class_channels", bind="query-params",
                           help="As the SE paper's Fig. 6: every s-th channel; read off the figure, s = ⌈C/50⌉.")
            band = one_of(
                "Band", list(BANDS), default="none", key="band", bind="query-params",
                help="Around each class's mean: the standard deviation over its pictures, as in the SE paper's Fig. 7, "
                     "or the standard error of the mean.")
            overall = st.selectbox(
                "Line “all”", list(OVERALL), key="overall", bind="query-params", width=220,
                help="Over class means, as in the paper, or over pictures: they differ where classes have different "
                     "numbers of pictures.")
        if not blocks or not (classes or OVERALL[overall]):
            st.info("Choose a class and a block to draw.")
            return
        section = self._keep(self.data.lines, tuple(blocks), tuple(classes), overall=OVERALL[overall],
                             band=BANDS[band], sampled=every == "every s-th")
        if section is None:
            st.info("There is nothing to draw: no picture of this data set has a label. Choose “mean of pictures”.")
            return
        show(section, "lines", text=False)
        st.caption(" ".join([*section.found, f"*{section.source}.*"]))
        if paper:
            self._paper(blocks)

    def _paper(self, blocks: list[str]) -> None:
        head, section = self.data.head("paper"), self._keep(self.data.paper, tuple(blocks))
        st.subheader(head.title, anchor="paper")
        if section is not None:
            st.markdown(head.lead)
            show(section, "paper", text=False, headings={})
        elif not set(blocks) & set(papers.PANELS):
            st.info(f"None of these blocks is in the paper's figure; it shows {', '.join(papers.PANELS)}.")
        else:
            st.info("These statistics are of enlarged pictures only, the paper's are not.")

    def depth(self) -> None:
        self._heading("depth")
        self._found(self._keep(self.data.depth), "depth")

    def dimension(self) -> None:
        self._heading("dimension")
        section = self._keep(self.data.dimension)
        self._found(section, "dimension")
        if section is not None:
            outlying(self.stats, self._keep(self._outliers))

    def _outliers(self) -> pd.DataFrame:
        return directions.outliers(self.stats, self._keep(self.data.dimension).table, self.data.zoom)

    @st.fragment
    def driving(self) -> None:
        self._heading("driving")
        clear("driving")
        chosen = one_of("Predicted from", list(DRIVERS), key="driven_by", bind="query-params")
        self._found(self._keep(self.data.driving, DRIVERS[chosen]), "driving")

    def _found(self, section: Finding | None, key: str) -> None:
        """A section that goes over all blocks, and what was found."""
        if section is None:
            st.info("These statistics do not tell: they were collected without a sample of whole gates, or before this "
                    "was measured. Collect them anew.")
            return
        show(section, key, text=False)
        st.markdown("".join(f"\n- {finding}" for finding in section.found))
        st.caption(f"*{section.source}.*")

    @st.fragment
    def channels(self) -> None:
        self._heading("channels")
        clear("heat_map", "selective", "channel_classes", "channel_histogram")
        label = st.selectbox("Block", list(self.blocks), index=len(self.blocks) - 1, key="class_block",
                             bind="query-params", width=160)
        selective = self._keep(self.data.selective, label)
        every, ranked, single = st.tabs(["Every class", "Most selective", "One channel"], key="channels_of_block",
                                        bind="query-params")
        with every:
            self._heat_map(label)
        with ranked:
            st.subheader("The most class-selective channels", anchor="selective")
            if selective is None:
                st.info(UNLABELLED)
            else:
                show(selective, "selective", headings={"omega_squared": "ω²", "highest_mean": "highest mean",
                                                       "lowest_mean": "lowest mean", "std": "std within classes"})
        with single:
            st.subheader("One channel over the classes", anchor="class-channel")
            self._channel(self.blocks[label], 0 if selective is None else int(selective.table["channel"].iloc[0]))

    def _heat_map(self, label: str) -> None:
        if not self.names:
            st.info(UNLABELLED)
            return
        with st.container(horizontal=True):
            centred = st.toggle("Centred", value=True, key="centred", bind="query-params",
                                help="Each channel's mean over the classes subtracted.")
            clustered = st.toggle("Clustered", value=True, key="clustered", bind="query-params",
                                  help="Classes and channels of like gates beside each other; otherwise in their own "
                                       "order.")
        centred &= len(self.names) > 1  # one class is its own mean
        with st.spinner("Ordering classes and channels"):
            section = self._keep(self.data.heat_map, label, centred=centred, clustered=clustered)
        show(section, "heat_map")

    def _channel(self, block: sv.AttentionBlock, first: int) -> None:
        key, value = "class_channel", {"value": first}
        of = self.key, block.label
        if st.session_state.get("class_channel_of", of) != of:
            st.session_state[key], value = first, {}  # the most selective one of this block, not another's number
        st.session_state["class_channel_of"] = of
        channel = st.number_input("Channel", 0, block.channels - 1, **value, key=key, bind="query-params", width=160)
        with st.container(horizontal=True):
            if (section := self._keep(self.data.channel_classes, block.label, channel)) is not None:
                with st.container(width=440):
                    show(section, "channel_classes")
            with st.container(width=440):
                show(self._keep(self.data.channel_histogram, block.label, channel), "channel_histogram")

    @st.fragment
    def pair(self) -> None:
        self._heading("pair")
        clear("pair", "separating")
        if len(self.names) < 2:
            st.info("There are no two classes to compare.")
            return
        defaults = [self.names.index(name) for name in self.first[:2]]
        with st.container(horizontal=True):
            first = st.selectbox("Class", self.names, index=defaults[0], key="class_first", bind="query-params",
                                 width=260)
            second = st.selectbox("and", self.names, index=defaults[1], key="class_second", bind="query-params",
                                  width=260)
            label = st.selectbox("in block", list(self.blocks), index=len(self.blocks) - 1, key="pair_block",
                                 bind="query-params", width=160)
        if first == second:
            st.info("The two classes are the same: choose another.")
            return
        show(self._keep(self.data.pair, label, first, second), "pair")
        section = self._keep(self.data.separating, label, first, second)
        known = section.table["d"].notna().sum()
        with st.expander(f"The {known} channels that separate the two best" if known > 1 else
                         "The channels that separate the two best"):
            show(section, "separating", headings={"first": first, "second": second})

    def saturation(self) -> None:
        self._heading("saturation")
        section = self._keep(self.data.saturation)
        st.markdown(" ".join(section.found))
        show(section, "saturation", text=False)
        st.caption(f"*{section.source}.*")

    def photos(self) -> None:
        self._heading("photos")
        if weights_of(self.loaded.key, self.loaded.model) != self.stats.metadata["weights"]:
            st.info("The statistics above are of another network than the model in the sidebar, so that photos cannot "
                    "be put beside them.")
            return
        pictures = choose_pictures()
        results = inspect_all(self.loaded, pictures) if pictures else {}
        if results:
            self._photos([picture for picture in pictures if picture.name in results], results)
        else:
            st.info("Upload photos or choose a sample picture to see its gates beside the classes.",
                    icon=":material/add_photo_alternate:")

    @st.fragment
    def _photos(self, pictures: list[Picture], results: dict[str, Look]) -> None:
        clear("photo_lines", "nearest", "mean_cams")
        views = {picture.name: results[picture.name].view for picture in pictures}
        if lacking(self.loaded.model, "which class a photo shows cannot be told"):
            return
        top = tables.predictions(views, self.loaded.model.class_labels, top=1)
        st.markdown("Which class does each photo show? Choose another where the network is wrong.")
        table = st.data_editor(
            top[["picture", "class", "probability"]], hide_index=True, disabled=["picture", "probability"],
            key="_".join(["photo_classes", self.loaded.key, *(picture.digest[:6] for picture in pictures)]),
            column_config={
                "class": st.column_config.SelectboxColumn("class", options=self.loaded.model.class_labels,
                                                          required=True),
                "probability": st.column_config.NumberColumn("probability", format="percent",
                                                             help="Of the network's own choice.")})
        classes = dict(zip(table["picture"], table["class"]))
        sections = PhotoSections(self.data, views, classes, self.loaded.code,
                                 {picture.name: picture.path for picture in pictures})
        shown = (self.key, self.data.zoom, self.loaded.key, tuple(classes.items()),
                 tuple((picture.path, picture.digest) for picture in pictures))
        lines, nearest, cams = st.tabs(["Class means", "Nearest classes", "Grad-CAM"], key="photo_view",
                                       bind="query-params")
        with lines:
            st.subheader("Their lines over the class means", anchor="photo-lines")
            show(keep(shown, sections.lines), "photo_lines")
        with nearest:
            st.subheader("The nearest classes by excitation", anchor="nearest")
            if (section := keep(shown, sections.nearest)) is None:
                st.info("Distances have no scale: the data set has no more labelled pictures than classes, or no gate "
                        "varies within the classes.")
            else:
                show(section, "nearest")
        with cams:
            st.subheader("Where the network looks for each class", anchor="mean-cams")
            if self.loaded.model.stages:
                show(keep(shown, lambda: self._mean_cams(sections, pictures, results)), "mean_cams")
            else:
                st.info(NO_STAGES)

    def _mean_cams(self, sections: PhotoSections, pictures: list[Picture], results: dict[str, Look]) -> Section:
        stages, labels = self.loaded.model.stages, self.loaded.model.class_labels
        targets = {name: labels.index(label) for name, label in sections.classes.items()}
        cams = {}
        for picture in pictures:
            explained, _ = explain(self.loaded.key, picture.digest, targets[picture.name], sections.views[picture.name])
            cams[picture.name] = {stage: explained[layer] for stage, layer in stages.items()}
        return sections.mean_cams(stages, cams, targets, {name: result.seen for name, result in results.items()})


def begin(key: str, options: Iterable[str], default: list[str]) -> dict:
    """How a multiselect begins, also anew where there is nothing here of what was chosen in another data set."""
    options = set(options)
    other = st.session_state.get(f"{key}_of", options) != options
    st.session_state[f"{key}_of"] = options
    if other and options.isdisjoint(st.session_state.get(key, ())):
        st.session_state[key] = default
        return {}
    return {"default": default}


@kept()
def _sections(key: str, zoom: float, _stats: sv.Statistics) -> DataSections:
    return DataSections(_stats, beside_app(_stats.path), zoom)


main()
