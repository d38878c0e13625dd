"""Kernels: how the choice of kernel of a selective-kernel network shifts with the size of the object."""
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

import senet_viz as sv
from pages.parts.archives import collected, last_written, weights_of
from pages.parts.model import Loaded, loaded_model, obtain
from pages.parts.pictures import NO_STAGES, Picture, choose_one, choose_pictures
from pages.parts.sections import clear, downloads, show
from pages.parts.sentences import SENTENCES, in_a_sentence
from senet_viz import figures, tables
from senet_viz.data.places import APP
from senet_viz.experiments.sweep import SIZES, Box, Sweep, centre_of, size_preference, size_slopes, sweep
from senet_viz.gates import contribution_points
from senet_viz.reports import scripts
from senet_viz.reports.film import film
from senet_viz.reports.html import Section
from senet_viz.reports.text import plain
from senet_viz.statistics import kernels

PAPER = (1.0, 1.5, 2.0)  # the sizes of the SK paper's Fig. 3
OFFERED = ("demo/sknet50_slim", "timm/skresnext50_32x4d.ra_in1k")
TOP_CLASS = "the most probable at each size"
NO_OTHER = "no other model"
SHOWN = 420  # pixels of the picture's width on the page
PACE = 0.7  # seconds a size


def main() -> None:
    """The page, top to bottom."""
    st.title("Kernels")
    st.markdown("Does a larger object make the network choose the larger kernel? The SK paper's Figs. 3 and 4, for any "
                "photo, beside two controls that the paper lacks.")
    loaded = loaded_model(__file__)
    st.session_state["sections"] = {}
    if not choosing(loaded.model):
        st.info(f"{plain(loaded.model.name)} has no units that choose between kernels: this page takes a "
                f"selective-kernel network.", icon=":material/info:")
        with st.container(horizontal=True):
            for name in OFFERED:
                st.button(f"Take {name}", on_click=st.session_state.update, args=({"model": name},))
    else:
        if any(block.split_input for block in loaded.model.blocks):
            st.warning("The branches of this network see different halves of the input channels, so that its choice of "
                       "kernel cannot be told from a choice of channels.")
        picture = choose_picture()
        if picture is not None:
            photo(loaded, picture)
    data_set(loaded)
    downloads(f"Kernel choice of {loaded.model.name}", {}, f"{Path(loaded.model.name).stem}_kernels")


def choosing(model: sv.Model) -> list[sv.AttentionBlock]:
    """The units that weigh branches."""
    return [block for block in model.blocks if block.branches > 1]


def choose_picture() -> tuple[Picture, Image.Image] | None:
    """One of the uploads and samples, decoded."""
    st.header("One photo at many sizes", anchor="photo")
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
    st.markdown("Where is the object? Draw a box around it; without one the picture's centre is enlarged.")
    with st.container(horizontal=True):
        left, right = st.container(width=SHOWN), st.container(width=320)
    with right:  # first, for what is typed is drawn on the left
        box = type_box(picture, image.size)
        target = choose_class(loaded.model)
    with left:
        draw_box(picture, image, box)
    try:
        swept = _sweep(loaded.key, picture.digest, box, target, loaded.model, picture.data)
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
        "Box in pixels: left, top, right, bottom", key=f"{key}_typed", help=f"The picture has {width}×{height} pixels.",
        placeholder=f"for instance {width // 4}, {height // 4}, {width * 3 // 4}, {height * 3 // 4}")
    try:
        box = read_box(typed, size)
        st.session_state[key] = typed
    except ValueError as error:
        st.error(plain(str(error)), icon=":material/error:")
        box = read_box(st.session_state.get(key, ""), size)
    st.button("Without a box", on_click=st.session_state.update, args=({f"{key}_typed": ""},), disabled=not typed,
              key="no_box", icon=":material/close:")
    return box


def read_box(text: str, size: tuple[int, int]) -> Box | None:
    """Four numbers; None for nothing.

    Raises:
        ValueError: one sentence, for anything else and for a box that is not inside a picture of this size.
    """
    if not text.strip():
        return None
    try:
        left, top, right, bottom = map(float, text.replace(";", ",").split(","))
    except ValueError:
        raise ValueError("a box is four numbers: left, top, right, bottom") from None
    centre_of((left, top, right, bottom), size)
    return left, top, right, bottom


def draw_box(picture: Picture, image: Image.Image, box: Box | None) -> None:
    """The picture, on which a box can be drawn."""
    key = f"box_{picture.digest[:12]}"

    def drawn() -> None:
        for box in st.session_state[f"{key}_figure"].selection.box[-1:]:
            left, right = np.clip(np.sort(box["x"]), 0, image.width).round()
            top, bottom = np.clip(np.sort(box["y"]), 0, image.height).round()
            if left < right and top < bottom:
                st.session_state[f"{key}_typed"] = f"{left:g}, {top:g}, {right:g}, {bottom:g}"

    scale = min(SHOWN / image.width, 1.5 * SHOWN / image.height)
    shown = np.asarray(image.resize([max(1, round(side * scale)) for side in image.size]))
    figure = figures.box_picker(shown, picture.name, box, size=image.size)
    st.plotly_chart(figure, key=f"{key}_figure", on_select=drawn, selection_mode="box", width="content",
                    alt=figure.layout.meta["alt"], config={"displayModeBar": False})


def choose_class(model: sv.Model) -> int | None:
    """The class that Grad-CAM explains, None for the most probable one at each size."""
    wanted = st.selectbox("Class of the Grad-CAM", [TOP_CLASS, *model.class_labels], key="kernel_class",
                          bind="query-params", accept_new_options=True)
    try:
        return None if wanted in (TOP_CLASS, None) else model.class_index(wanted)
    except ValueError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return None


@st.cache_resource(max_entries=8, show_spinner="Looking at every size")
@in_a_sentence
def _sweep(key: str, digest: str, box: Box | None, target: int | None, _model: sv.Model, _data: bytes) -> Sweep:
    swept = sweep(_model, sv.open_image(_data), box=box, targets=None if target is None else [target],
                  layers=list(_model.stages.values())[-1:])
    for view in swept.views.values():
        if view.logits.shape[1] != len(_model.classes):
            raise ValueError(f"The network gives {view.logits.shape[1]} logits, but there are {len(_model.classes)} "
                             f"class names.")
        if not view.logits.isfinite().all():
            raise ValueError("The network's output for this picture is not finite at every size, so its choice of "
                             "kernel says nothing.")
    return swept


class Photo:
    """The parts of the page for one photo in one model."""

    def __init__(self, loaded: Loaded, picture: Picture, box: Box | None, swept: Sweep,
                 target: int | None = None):
        self.loaded, self.model, self.picture, self.box, self.swept = loaded, loaded.model, picture, box, swept
        self.target = target
        self.blocks = {block.label: block for block in choosing(loaded.model)}
        self.panels = [block.label for block in tables.panels(list(self.blocks.values()), False)]
        self.preference = size_preference(swept)
        self.kernels = tuple(self.preference[["largest", "smallest"]].iloc[0])
        note = self.model.info.get("Note")
        self.source = plain(f"{self.model.name}{f' ({note})' if note else ''}, {picture.name}")

    def _script(self, ending: str) -> str:
        return scripts.of_sweep(self.loaded.code, self.picture.path, self.box, ending)

    def at_size(self) -> None:
        st.subheader("At one size", anchor="size")
        with st.container(horizontal=True, vertical_alignment="center"):
            playing = st.toggle("Play", key="play", help="Go through the sizes, forth and back.")
            st.download_button("The sweep as a GIF", lambda: film(self.swept.pictures["zoom"], self.preference),
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
        size = st.select_slider("Size of the object", sizes, key="size", format_func=lambda value: f"{value:g}×",
                                bind="query-params", **begin)
        if size < 1:
            st.caption("Below 1× the picture is shrunk onto a blurred copy of itself: its mirror image would double "
                       "the object.")
        row, name = sizes.index(size), f"{size:g}×"
        with st.container(horizontal=True):
            left, right = st.container(width=SHOWN), st.container()
        with left:
            self._cam(row, name)
        with right:
            zoom = self.preference[self.preference["look"] == "zoom"]
            rows = zoom[zoom["size"] == size]
            reach = 1.05 * max(zoom["difference"].abs().max(), 0.01)  # one scale for all sizes
            figure = figures.kernel_preference(rows.assign(picture=name)).update_layout(showlegend=False)
            text = (f"For each unit the mean over channels of the weight of {self.kernels[0]} less that of "
                    f"{self.kernels[1]}. *{self.source}.*")
            show(Section(f"Kernel choice at {name}", text, figure.update_yaxes(range=[-reach, reach]), rows,
                                self._script(f"result = size_preference(swept).query("
                                             f"\"look == 'zoom' and size == {size}\")")), "size_preference")
        self._curves(size)

    def _cam(self, row: int, name: str) -> None:
        if not self.model.stages:
            st.info(NO_STAGES)
            return
        stage, layer = list(self.model.stages.items())[-1]
        view = self.swept.views["zoom"]
        top = int(view.logits[row].argmax())
        target = top if self.target is None else self.target
        probable, label = view.logits[row].softmax(0), self.model.class_labels[target]
        cam = {name: {stage: view.cams[layer][row, 0].cpu().numpy()}}
        figure = figures.cam_grid({name: self._seen(row)}, cam, classes={name: label})
        figure.update_annotations(visible=False, selector={"xanchor": "right"})  # the row's name stands in the text
        figure.update_layout(width=None, height=420, margin={"l": 10})
        text = f"Grad-CAM at {name} of **{plain(label)}** ({float(probable[target]):.0%}), " + (
            "the most probable class." if target == top else
            f"not of the most probable class, **{plain(self.model.class_labels[top])}** ({float(probable[top]):.0%}).")
        ending = (f"layer = {layer!r}\npicture = swept.pictures['zoom'][{row}]\n"
                  f"view = sv.inspect(model, model.batch([picture]), targets=[{target}], layers=[layer])\n"
                  f"result = tables.cells({{{name!r}: {{{stage!r}: view.cams[layer][0, 0].cpu().numpy()}}}})")
        show(Section(f"Grad-CAM at {name}", text, figure, tables.cells(cam), self._script(ending)), "size_cam")

    def _curves(self, size: float) -> None:
        st.subheader("Kernel choice against size", anchor="curves")
        text = ("Enlarging a picture also blurs it, and cutting it also takes its surroundings away. So each curve "
                "stands beside two controls: the same blur without the zoom, and as large a crop from the corner "
                f"farthest from the object. What size does is what is left against both. *{self.source}.*")
        every = st.toggle("All units", key="every_unit", bind="query-params")
        figure = figures.size_curves(self.preference, list(self.blocks) if every else self.panels, at=size)
        show(Section("Kernel choice against size", text, figure, self.preference,
                            self._script("result = size_preference(swept)")), "size_curves")

    def _seen(self, row: int) -> np.ndarray:
        return self.model.seen(self.model.transform(self.swept.pictures["zoom"][row]))

    def _named(self, sizes) -> dict[str, sv.View]:
        """Single rows of the sweep, by the name of the size."""
        rows = {f"{size:g}×": self.swept.sizes["zoom"].index(size) for size in sizes}
        return {name: self.swept.row("zoom", row) for name, row in rows.items()}

    @st.fragment
    def beyond(self) -> None:
        st.subheader("Beyond the controls", anchor="beyond")
        clear("size_slopes", "other_curves")
        slopes = size_slopes(self.preference)
        text = (f"{self._sentence(slopes)} Dots are the slopes of the curves from 1× up, bars what neither control "
                f"explains. *{self.source}.*")
        show(Section("Change per doubling of size", text, figures.size_slopes(slopes), slopes,
                            self._script("result = size_slopes(size_preference(swept))")), "size_slopes")
        self._beside()

    def _sentence(self, slopes: pd.DataFrame) -> str:
        left = slopes.set_index("label")["left"]
        up, down = (left > kernels.NEGLIGIBLE).sum(), (left < -kernels.NEGLIGIBLE).sum()
        text = (f"As the object grows from 1× to {SIZES[-1]:g}×, beyond both controls, weight moves to the larger "
                f"kernel in **{up}** and to the smaller in **{down}** of {len(left)} units, by more than "
                f"{kernels.NEGLIGIBLE:g} per doubling of its size")
        if up or down:
            most = left.abs().idxmax()
            text += f", most in **{most}** ({left[most]:+.3f})"
        return text + ". One photo shows what happens to it, not what happens to objects."

    def _beside(self) -> None:
        """Another network on the same photo."""
        options = [NO_OTHER, *(name for name in OFFERED if name != self.model.name)]
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
        page = Photo(second, self.picture, self.box, swept)
        slopes = size_slopes(page.preference)
        text = f"{page._sentence(slopes)} *{page.source}.*"
        show(Section(f"Kernel choice against size in {second.model.name}", text,
                            figures.size_curves(page.preference, page.panels), page.preference,
                            page._script("result = size_preference(swept)")), "other_curves")

    @st.fragment
    def paper(self) -> None:
        st.subheader("The paper's three sizes", anchor="paper-sizes")
        clear("fig3_lines", "fig3_bars")
        with st.container(horizontal=True):
            label = st.selectbox("Unit", list(self.blocks), index=list(self.blocks).index(self.panels[
                min(1, len(self.panels) - 1)]), key="kernel_unit", bind="query-params", width=160)
            points = st.segmented_control("Channels", ["16 means", "all"], default="16 means", required=True,
                                          key="kernel_points", bind="query-params",
                                          help="The paper draws means over C/16 consecutive channels.")
        views = self._named(PAPER)
        with st.container(horizontal=True):
            for size, name in zip(PAPER, views):
                st.image(self._seen(SIZES.index(size)), caption=name, width=150,
                         alt=f"{self.picture.name} at {name}, as the network saw it")
        block = self.blocks[label]
        groups = tables.kernel_groups(views, block, 16 if points == "16 means" else block.channels)
        count = 16 if points == "16 means" else block.channels
        text = (f"As in the SK paper's Fig. 3: the weight of {self.kernels[0]} in **{label}** at the three sizes, and "
                f"below it the mean difference in the last unit of each stage. *{self.source}.*")
        ending = (f"{scripts.find_block(label)}\n"
                  "rows = {size: row for row, size in enumerate(swept.sizes['zoom'])}\n"
                  f"views = {{f'{{size:g}}×': swept.row('zoom', rows[size]) for size in {PAPER}}}\n"
                  f"result = tables.kernel_groups(views, block, {count})")
        show(Section(f"{label} at three sizes", text, figures.fig3_lines(groups, label), groups,
                            self._script(ending)), "fig3_lines")
        rows = self.preference[(self.preference["look"] == "zoom") & self.preference["size"].isin(PAPER)
                               & self.preference["label"].isin(self.panels)]
        bars = rows.rename(columns={"size": "zoom", "difference": "mean"})[["label", "zoom", "mean"]]
        figure = figures.fig3_bars(bars, largest=self.kernels[0], smallest=self.kernels[1])
        ending = ("table = size_preference(swept)\n"
                  f"result = table[(table['look'] == 'zoom') & table['size'].isin({PAPER})]")
        show(Section("Kernel choice at three sizes", "", figure, bars, self._script(ending)), "fig3_bars")

    @st.fragment
    def decided(self) -> None:
        st.subheader("Where it is decided", anchor="decided")
        clear("branch_maps", "branch_shares")
        with st.container(horizontal=True):
            label = st.selectbox("Unit", list(self.blocks), index=len(self.blocks) - 1, key="decided_unit",
                                 bind="query-params", width=160)
            block = self.blocks[label]
            if int(st.session_state.get("decided_channel") or 0) >= block.channels:
                st.session_state.pop("decided_channel")
            channel = st.number_input("Channel", 0, block.channels - 1, key="decided_channel", bind="query-params",
                                      width=160)
            size = st.select_slider("Size", list(SIZES), value=1.0, key="decided_size",
                                    format_func=lambda value: f"{value:g}×", bind="query-params", width=260)
        row = SIZES.index(size)
        name = f"{size:g}×"
        view = _at(self.loaded.key, self.picture.digest, self.box, size, self.model, self.swept.pictures["zoom"][row])
        maps = {name: tables.channel_maps(view, block, int(channel))}
        titles = [f"{tables.kernel_name(block, m)} branch" for m in range(block.branches)] + ["selected sum"]
        weights = ", ".join(f"{tables.kernel_name(block, m)} {float(view.gates[block.name][0, m, int(channel)]):.2f}"
                            for m in range(block.branches))
        text = f"The branches' feature maps of channel {channel} in {label} and their weighted sum. *{self.source}.*"
        looking = (f"{scripts.CONTRIBUTION_IMPORT}\npicture = swept.pictures['zoom'][{row}]\n"
                   f"view = sv.inspect(model, model.batch([picture]), {scripts.CONTRIBUTION_FEATURES})\n")
        ending = (f"{looking}{scripts.find_block(label)}\nmaps = tables.channel_maps(view, block, {channel})\n"
                  f"result = tables.cells({{{name!r}: dict(zip({titles!r}, maps))}})")
        show(Section(
            f"Channel {channel} of {label}", text,
            figures.channel_maps({name: self._seen(row)}, maps, titles, label=label, channel=int(channel),
                                 captions={name: weights}),
            tables.cells({name: dict(zip(titles, maps[name]))}), self._script(ending)), "branch_maps")
        table = tables.contributions({name: view})
        text = ("A branch's weight is not its contribution: a branch of small norm adds little, however large its "
                f"weight. Above, the mean weight in each unit at {name}; below, the branch's share of the norms "
                f"‖a·U‖. *{self.source}.*")
        show(Section("Weight and contribution of the branches", text,
                            figures.contribution(table).update_layout(showlegend=False), table,
                            self._script(f"{looking}result = tables.contributions({{{name!r}: view}})")),
                    "branch_shares")


@st.cache_resource(max_entries=8, show_spinner=False)
@in_a_sentence
def _at(key: str, digest: str, box, size: float, _model: sv.Model, _picture: Image.Image) -> sv.View:
    return sv.inspect(_model, _model.batch([_picture]), features=contribution_points(_model.blocks))


@st.fragment
def data_set(loaded: Loaded) -> None:
    """The same over a data set."""
    st.header("Over a data set", anchor="data-set")
    clear("data_findings", "data_bars", "data_classes", "data_share")
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
    zooms = [zoom for zoom in stats.zooms if zoom > 1]
    if 1.0 not in stats.zooms or not zooms:
        st.info("These statistics were taken at one size only; collect with --zoom 1 1.5 2.")
        return
    size = st.segmented_control("Against 1×", zooms, default=zooms[0], required=True, key="data_zoom",
                                format_func=lambda value: f"{value:g}×", bind="query-params")
    path = str(stats.path.relative_to(APP) if stats.path.is_relative_to(APP) else stats.path)
    source = plain(f"{stats.metadata['model']} on {stats.metadata['data']}, {stats.metadata['images']:,} pictures")
    effects, shares, bars, changes = _over_data(
        str(stats.path), last_written(stats.path), size, stats)

    def script(ending: str) -> str:
        return scripts.over_data(path, ending).replace("import summaries", "import kernels")

    findings = kernels.kernel_findings(stats, effects, shares)
    st.markdown("".join(f"\n- {finding}" for finding in findings) + f"\n\n*{source}.*")
    text = " ".join(findings) + (" Dots: the change of the mean difference between the kernels' weights with its 95 % "
                                 "interval, over all units together and clustered by class; filled where it exceeds "
                                 "both controls.")
    show(Section(f"What {size:g}× changes", text, figures.size_effects(effects), effects,
                        script(f"kernels.size_effects(stats, zoom={size})")), "data_findings", text=False)
    largest, smallest = effects[["largest", "smallest"]].iloc[0]
    panels = [block.label for block in tables.panels([b for b in stats.blocks if b.branches > 1], False)]
    show(Section(
        "The paper's bars", "The SK paper's Fig. 3 over all pictures: mean and standard deviation over pictures.",
        figures.fig3_bars(bars[bars["label"].isin(panels)], largest=largest, smallest=smallest), bars,
        script("kernels.bars(stats)")), "data_bars")
    chosen = list(dict.fromkeys([panels[0], panels[min(1, len(panels) - 1)], panels[-1]]))
    show(Section(
        "Class by class",
        f"The SK paper's Fig. 4: each class's mean difference at 1× and {size:g}×, in a low, a middle and a high unit.",
        figures.class_changes(changes, chosen, after=f"{size:g}×"), changes,
        script(f"kernels.class_changes(stats, zoom={size})")), "data_classes")
    if not shares.empty:
        show(Section(
            "Objects that are large by themselves",
            "Without any zooming: how the difference changes per doubling of the object's side, as its box tells, "
            "within classes.", figures.share_slopes(shares), shares,
            script("kernels.by_share(stats)")), "data_share")


@st.cache_data(max_entries=16, show_spinner="Comparing sizes")
def _over_data(path: str, changed: float, size: float, _stats: sv.Statistics):
    return (kernels.size_effects(_stats, size), kernels.by_share(_stats), kernels.bars(_stats),
            kernels.class_changes(_stats, size))


main()
