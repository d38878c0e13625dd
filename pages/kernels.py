"""Kernels: how the choice of kernel of a selective-kernel network shifts with the size of the object."""
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image

import senet_viz as sv
from pages.parts.archives import beside_app, collected, last_written, weights_of
from pages.parts.choices import choose_class, one_of
from pages.parts.keeping import kept
from pages.parts.model import Loaded, loaded_model, obtain, offered
from pages.parts.pictures import NO_STAGES, Picture, choose_one, choose_pictures
from pages.parts.sections import clear, downloads, heading, keep, show
from pages.parts.sentences import SENTENCES, in_a_sentence, lacking
from senet_viz import figures
from senet_viz.experiments.sweep import DRAWS, PAPER, SIZES, Box, Sweep, drawn_box, name_of, parse_box, sweep, untrained
from senet_viz.experiments.sweep_sections import SweepSections
from senet_viz.gates.answers import CLASSIFICATION, is_finite
from senet_viz.reports.film import film
from senet_viz.reports.text import file_name, plain
from senet_viz.statistics.kernel_sections import HEAD, KernelSections
from senet_viz.statistics.kernels import enlarged

OFFERED = ("demo/sknet50_slim", "timm/skresnext50_32x4d.ra_in1k")
TOP_CLASS = "the most probable at each size"
NO_OTHER = "no other model"
SHOWN, BESIDE, HALF = 420, 460, 440  # pixels: a picture's width, that of a chart beside it, that of each of two charts
PACE = 0.7  # seconds a size
TABS = {"data_findings": "Change", "data_doses": "All sizes", "data_bars": "Bars", "data_classes": "Classes",
        "data_share": "Without zoom"}


def main() -> None:
    """The page, top to bottom."""
    st.title("Kernels")
    st.markdown("Does a larger object make the network choose the larger kernel? The SK paper's Figs. 3 and 4, for any "
                "photo, beside controls that the paper lacks.")
    loaded = loaded_model(__file__)
    st.session_state["sections"] = {}
    if not choosing(loaded.model):
        st.info(f"{plain(loaded.model.name)} has no units that choose between kernels: this page takes a "
                f"selective-kernel network.", icon=":material/info:")
        with st.container(horizontal=True):
            for name in filter(offered, OFFERED):
                st.button(f"Take {name}", on_click=st.session_state.update, args=({"model": name},))
    else:
        if any(block.split_input for block in loaded.model.blocks):
            st.warning("The branches of this network see different halves of the input channels, so that its choice of "
                       "kernel cannot be told from a choice of channels.")
        picture = choose_picture()
        if picture is not None:
            photo(loaded, picture)
    data_set(loaded)
    downloads(f"Kernel choice of {loaded.model.name}", {}, f"{file_name(loaded.model.name)}_kernels")


def choosing(model: sv.Model) -> list[sv.AttentionBlock]:
    """The units that weigh branches."""
    return [block for block in model.blocks if block.branches > 1]


def choose_picture() -> tuple[Picture, Image.Image] | None:
    """One of the uploads and samples, decoded."""
    heading("One photo at many sizes", "photo",
            f"Where is the object? Draw a box around it; without one the picture's centre is enlarged. The network "
            f"looks at it {len(SIZES)} times, from {name_of(SIZES[0])} to {name_of(SIZES[-1])} of its size.")
    pictures = choose_pictures()
    if not pictures:
        st.info("Upload a photo or choose a sample picture to begin.", icon=":material/add_photo_alternate:")
        return None
    picture = choose_one(pictures, "kernel_picture")
    try:
        return picture, sv.open_image(picture.data)
    except sv.UnreadableImage as error:
        st.error(f"**{plain(picture.name)}**: {plain(str(error))}", icon=":material/error:")
        return None


def photo(loaded: Loaded, chosen: tuple[Picture, Image.Image]) -> None:
    """Everything about one photo."""
    picture, image = chosen
    with st.container(horizontal=True):
        left, right = st.container(width=SHOWN), st.container(width=320)
    with right:  # first, for what is typed is drawn on the left
        box = type_box(picture, image.size)
        target = class_of_cam(loaded.model)
        random = st.toggle("Beside random weights", key="random_weights", bind="query-params",
                           help=f"A third control: the same zooms in the same network with newly drawn weights, never "
                                f"trained, {DRAWS} times. It takes longer than the rest of the page.")
    with left:
        draw_box(picture, image, box)
    try:
        swept = _sweep(loaded.key, picture.digest, box, target, loaded.model, picture.data)
        if random:
            swept = swept.beside(_untrained(loaded.key, picture.digest, box, swept, picture.data))
    except SENTENCES as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    page = Photo(loaded, picture, box, swept, target)
    page.at_size()
    page.beyond()
    page.paper()
    page.decided()


def type_box(picture: Picture, size: tuple[int, int]) -> Box | None:
    """The box in a text field; each photo keeps its own."""
    key, (width, height) = f"box_{picture.digest[:12]}", size
    st.session_state.setdefault(f"{key}_typed", st.session_state.get(key, ""))
    typed = st.text_input(
        "Box in pixels: left, top, right, bottom", key=f"{key}_typed", bind="query-params",
        help=f"The picture has {width}×{height} pixels.",
        placeholder=f"for instance {width // 4}, {height // 4}, {width * 3 // 4}, {height * 3 // 4}")
    try:
        box = parse_box(typed, size)
        st.session_state[key] = typed
    except ValueError as error:
        st.error(plain(str(error)), icon=":material/error:")
        box = parse_box(st.session_state.get(key, ""), size)
    st.button("Without a box", on_click=st.session_state.update, args=({f"{key}_typed": ""},), disabled=not typed,
              key="no_box", icon=":material/close:")
    return box


def draw_box(picture: Picture, image: Image.Image, box: Box | None) -> None:
    """The picture, on which a box can be drawn."""
    key = f"box_{picture.digest[:12]}"

    def drawn() -> None:
        chart = st.session_state.get(f"{key}_figure")  # none where the page was left, see ``clicked``
        for corners in chart.selection.box[-1:] if chart else ():
            if box := drawn_box(corners["x"], corners["y"], image.size):
                st.session_state[f"{key}_typed"] = ", ".join(f"{side:g}" for side in box)

    scale = min(SHOWN / image.width, 1.5 * SHOWN / image.height)
    shown = np.asarray(image.resize([max(1, round(side * scale)) for side in image.size]))
    figure = figures.box_picker(shown, picture.name, box, size=image.size)
    st.plotly_chart(figure, key=f"{key}_figure", on_select=drawn, selection_mode="box", width="content",
                    alt=figure.layout.meta["alt"], config={"displayModeBar": False})


def class_of_cam(model: sv.Model) -> int | None:
    """The class that Grad-CAM explains, None for the most probable one at each size."""
    if model.answer.task != CLASSIFICATION:
        return None
    try:
        return choose_class(model, "kernel_class", TOP_CLASS, title="Class of the Grad-CAM")
    except ValueError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return None


@kept("Looking at every size")
@in_a_sentence
def _sweep(key: str, digest: str, box: Box | None, target: int | None, _model: sv.Model, _data: bytes) -> Sweep:
    swept = sweep(_model, sv.open_image(_data), box=box, targets=None if target is None else [target],
                  layers=list(_model.stages.values())[-1:] if _model.answer.task == CLASSIFICATION else [])
    for view in swept.views.values():
        if not is_finite(view):
            raise ValueError("The network's output for this picture is not finite at every size, so its choice of "
                             "kernel says nothing.")
    return swept


@kept("Looking with random weights")
@in_a_sentence
def _untrained(key: str, digest: str, box: Box | None, _swept: Sweep, _data: bytes) -> list[sv.View]:
    return untrained(_swept, sv.open_image(_data))


class Photo:
    """The parts of the page for one photo in one model."""

    def __init__(self, loaded: Loaded, picture: Picture, box: Box | None, swept: Sweep, target: int | None = None):
        self.loaded, self.model, self.picture, self.box, self.swept = loaded, loaded.model, picture, box, swept
        self.key = (loaded.key, picture.name, picture.path, picture.digest, box, target, tuple(swept.sizes))
        self.sections = keep(self.key, lambda: SweepSections(
            swept, picture.name, picture.path, box, loaded.code, target))
        self.labels = list(self.sections.blocks)

    def _heading(self, name: str) -> None:
        title, lead, more = self.sections.head(name)
        heading(title, name, lead, more, part=True)

    def _seen(self, size: float) -> np.ndarray:
        return keep((self.key, size), lambda: self.model.seen(self.model.transform(self.swept.picture(size))))

    def at_size(self) -> None:
        self._heading("size")
        with st.container(horizontal=True, vertical_alignment="center"):
            playing = st.toggle("Play", key="play", help="Go through the sizes, forth and back.")
            st.download_button(
                "The sweep as a GIF", lambda: film(self.swept.pictures["zoom"], self.sections.preference),
                f"{Path(self.picture.name).stem}_sizes.gif", "image/gif", key="film", on_click="ignore",
                icon=":material/movie:")
        st.fragment(self._at_size, run_every=PACE if playing else None)(playing)

    def _at_size(self, playing: bool) -> None:
        clear("size_cam", "size_preference", "size_curves")
        sizes, begin = list(SIZES), {"value": 1.0}
        if playing:
            step, at = st.session_state.get("play_step", 1), sizes.index(st.session_state.get("size", 1.0))
            step = -step if not 0 <= at + step < len(sizes) else step
            st.session_state.update(size=sizes[at + step], play_step=step)
            begin = {}
        size = st.select_slider("Size of the object", sizes, key="size", format_func=name_of, bind="query-params",
                                **begin)
        with st.container(horizontal=True):
            left, right = st.container(width=SHOWN), st.container(width=BESIDE)
        with left:
            if lacking(self.model, "there is no class for Grad-CAM to explain"):
                st.image(self._seen(size), alt=f"{self.picture.name} at {name_of(size)}, as the network saw it")
            elif self.model.stages:
                show(keep(self.key, lambda size: self.sections.cam(size, self._seen(size)), size), "size_cam")
            else:
                st.info(NO_STAGES)
        with right:
            show(keep(self.key, self.sections.bars, size), "size_preference")
        self._heading("curves")
        every = st.toggle("All units", key="every_unit", bind="query-params")
        show(keep(self.key, self.sections.curves, size, every), "size_curves", text=False)

    @st.fragment
    def beyond(self) -> None:
        clear("size_slopes", "other_curves")
        self._heading("beyond")
        show(keep(self.key, self.sections.beyond), "size_slopes", text=False)
        options = [NO_OTHER, *(name for name in OFFERED if offered(name) and name != self.model.name)]
        other = st.selectbox("Beside another network", options, key="other", bind="query-params",
                             accept_new_options=True, width=320)
        if other in (NO_OTHER, None):
            return
        second = obtain(other)
        if second is None:
            return
        try:
            swept = _sweep(second.key, self.picture.digest, self.box, None, second.model, self.picture.data)
        except SENTENCES as error:
            st.error(plain(str(error)), icon=":material/error:")
            return
        beside = Photo(second, self.picture, self.box, swept)
        show(keep(beside.key, beside.sections.beside), "other_curves")

    @st.fragment
    def paper(self) -> None:
        clear("fig3_lines", "fig3_bars")
        self._heading("paper-sizes")
        second = self.sections.panels[:2][-1]
        with st.container(horizontal=True):
            label = st.selectbox("Unit", self.labels, index=self.labels.index(second), key="kernel_unit",
                                 bind="query-params", width=160)
            points = one_of("Channels", ["16 means", "all"], key="kernel_points", bind="query-params",
                            help="The paper draws means over C/16 consecutive channels.")
        with st.container(horizontal=True):
            for size in PAPER:
                st.image(self._seen(size), caption=name_of(size), width=110,
                         alt=f"{self.picture.name} at {name_of(size)}, as the network saw it")
        with st.container(horizontal=True):
            left, right = st.container(width=HALF), st.container(width=HALF)
        with left:
            count = 16 if points == "16 means" else self.sections.blocks[label].channels
            show(keep(self.key, self.sections.lines, label, count), "fig3_lines", text=False)
        with right:
            show(keep(self.key, self.sections.paper_bars), "fig3_bars")

    @st.fragment
    def decided(self) -> None:
        clear("branch_maps", "branch_shares")
        self._heading("decided")
        with st.container(horizontal=True):
            label = st.selectbox("Unit", self.labels, index=len(self.labels) - 1, key="decided_unit",
                                 bind="query-params", width=160)
            channels = self.sections.blocks[label].channels
            if int(st.session_state.get("decided_channel") or 0) >= channels:
                st.session_state.pop("decided_channel")
            channel = int(st.number_input("Channel", 0, channels - 1, key="decided_channel", bind="query-params",
                                          width=160))
            size = st.select_slider("Size", list(SIZES), value=1.0, key="decided_size", format_func=name_of,
                                    bind="query-params", width=260)
        view = _at(self.loaded.key, self.picture.digest, self.box, size, self.swept)
        show(keep(self.key, lambda size, *of: self.sections.maps(view, size, *of, self._seen(size)), size, label,
                  channel), "branch_maps", text=False)
        show(keep(self.key, lambda size: self.sections.shares(view, size), size), "branch_shares", text=False)


@kept()
@in_a_sentence
def _at(key: str, digest: str, box: Box | None, size: float, _swept: Sweep) -> sv.View:
    return _swept.inspect(size)


@st.fragment
def data_set(loaded: Loaded) -> None:
    """The same over a data set."""
    title, lead, more = HEAD
    heading(title, "data-set", lead, more)
    clear(*TABS)
    found = {name: stats for name, stats in collected().items()
             if any(block.branches > 1 for block in stats.blocks)}
    if not found:
        st.info("There are no statistics of a selective-kernel network here.")
        return
    own = weights_of(loaded.key, loaded.model)
    names = list(found)
    if st.session_state.get("kernel_statistics") not in found:
        st.session_state.pop("kernel_statistics", None)
    fitting = next((i for i, stats in enumerate(found.values()) if stats.metadata["weights"] == own), 0)
    stats = found[st.selectbox("Statistics", names, index=fitting, key="kernel_statistics", bind="query-params",
                               help="Collected by `python -m senet_viz collect MODEL DATA OUT --zoom 1 1.5 2 --around "
                                    "box --controls`.")]
    if not (zooms := enlarged(stats)):
        st.info("These statistics were taken at one size only; collect with --zoom 1 1.5 2.")
        return
    size = one_of("Against 1×", zooms, key="data_zoom", format_func=name_of, bind="query-params")
    sections = _over_data(str(stats.path), last_written(stats.path), size, stats)
    st.markdown("".join(f"\n- {finding}" for finding in sections.findings) + f"\n\n*{sections.source}.*")
    shown = keep((str(stats.path), last_written(stats.path), size), sections.all)
    for tab, (key, section) in zip(st.tabs([TABS[key] for key in shown]), shown.items()):
        with tab:
            show(section, key, text=key != "data_findings")  # which stands above


@kept("Comparing sizes", grows=True)
def _over_data(path: str, changed: float, size: float, _stats: sv.Statistics) -> KernelSections:
    return KernelSections(_stats, size, beside_app(_stats.path))


main()
