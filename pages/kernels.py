"""Kernels: how the choice of kernel of a selective-kernel network shifts with the size of the object."""
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

import senet_viz as sv
from pages import shared
from senet_viz import figures, scripts, tables
from senet_viz.film import film
from senet_viz.gates import contribution_points
from senet_viz.report import Section, plain
from senet_viz.statistics import kernels
from senet_viz.sweep import SIZES, Sweep, centre_of, sweep

PAPER = (1.0, 1.5, 2.0)  # the sizes of the SK paper's Fig. 3
OFFERED = ("demo/sknet50_slim", "timm/skresnext50_32x4d.ra_in1k")
TOP_CLASS = "the picture's own top class"
NO_OTHER = "no other model"
SHOWN = 420  # pixels of the picture's width on the page


def main() -> None:
    """The page, top to bottom."""
    st.title("Kernels")
    st.markdown("Does a larger object make the network choose the larger kernel? The SK paper's Figs. 3 and 4, for any "
                "photo, beside two controls that the paper lacks.")
    loaded = shared.loaded(__file__)
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
    shared.downloads(f"Kernel choice of {loaded.model.name}", {}, f"{Path(loaded.model.name).stem}_kernels")


def choosing(model: sv.Model) -> list[sv.AttentionBlock]:
    """The units that weigh branches."""
    return [block for block in model.blocks if block.branches > 1]


def choose_picture() -> tuple[shared.Picture, Image.Image] | None:
    """One of the uploads and samples, decoded."""
    st.header("One photo at many sizes", anchor="photo")
    pictures = shared.choose_pictures()
    if not pictures:
        st.info("Upload a photo or choose a sample picture to begin.", icon=":material/add_photo_alternate:")
        return None
    names = [picture.name for picture in pictures]
    if st.session_state.get("kernel_picture") not in names:
        st.session_state.pop("kernel_picture", None)
    name = st.selectbox("Photo", names, key="kernel_picture", width=260) if len(names) > 1 else names[0]
    picture = pictures[names.index(name)]
    try:
        return picture, sv.open_image(picture.data)
    except sv.UnreadableImage as error:
        st.error(f"**{plain(name)}**: {plain(str(error))}", icon=":material/error:")
        return None


def photo(loaded: shared.Loaded, chosen: tuple[shared.Picture, Image.Image]) -> None:
    """Everything about one photo."""
    picture, image = chosen
    box = choose_box(picture, image)
    labels = loaded.model.class_labels
    wanted = st.selectbox("Class of the Grad-CAM", [TOP_CLASS, *labels], key="kernel_class", bind="query-params",
                          accept_new_options=True, width=320)
    try:
        target = None if wanted in (TOP_CLASS, None) else loaded.model.class_index(wanted)
        swept = _sweep(loaded.key, picture.digest, box, target, loaded.model, picture.data)
    except shared.SENTENCES as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    page = Photo(loaded, picture, box, swept)
    page.at_size()
    page.paper()
    page.curves()
    page.decided()


def choose_box(picture: shared.Picture, image: Image.Image) -> tuple[float, float, float, float] | None:
    """The object: a box drawn on the picture or typed; the picture's centre without one."""
    key = f"box_{picture.digest[:12]}"
    scale = image.width / min(SHOWN, image.width)
    small = np.asarray(image.resize((round(image.width / scale), round(image.height / scale))))
    box = st.session_state.get(key)

    def drawn() -> None:
        boxes = st.session_state[f"{key}_figure"].selection.box
        if boxes:
            (x0, x1), (y0, y1) = (np.clip(np.sort(boxes[-1][axis]), 0, side / scale) * scale
                                  for axis, side in (("x", image.width), ("y", image.height)))
            if x1 - x0 >= 1 and y1 - y0 >= 1:
                st.session_state[key] = tuple(map(float, np.round([x0, y0, x1, y1])))

    left, right = st.columns([1, 1])
    with left:
        st.markdown("Where is the object? Draw a box around it; without one the picture's centre is enlarged.")
        scaled = box and tuple(side / scale for side in box)
        figure = figures.box_picker(small, picture.name, scaled, width=small.shape[1])
        st.plotly_chart(figure, key=f"{key}_figure", on_select=drawn, selection_mode="box", width="content",
                        alt=figure.layout.meta["alt"], config={"displayModeBar": False})
    with right:
        typed = st.text_input(
            "Box in pixels: left, top, right, bottom", value=", ".join(f"{side:g}" for side in box) if box else "",
            placeholder=f"for instance {image.width // 4}, {image.height // 4}, {image.width * 3 // 4}, "
                        f"{image.height * 3 // 4}", help=f"The picture has {image.width}×{image.height} pixels.")
        if box and st.button("Without a box", icon=":material/close:"):
            st.session_state.pop(key)
            st.rerun()
    if not typed.strip():
        return None
    try:
        numbers = [float(number) for number in typed.replace(";", ",").split(",")]
        if len(numbers) != 4:
            raise ValueError
    except ValueError:
        st.error("A box is four numbers: left, top, right, bottom.", icon=":material/error:")
        return box
    try:
        centre_of(tuple(numbers), image.size)
    except ValueError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return box
    return tuple(numbers)


@st.cache_resource(max_entries=8, show_spinner="Looking at every size")
@shared.in_a_sentence
def _sweep(key: str, digest: str, box, target: int | None, _model: sv.Model, _data: bytes) -> Sweep:
    layer = list(_model.stages.values())[-1]
    return sweep(_model, sv.open_image(_data), box=box, targets=None if target is None else [target], layers=[layer])


class Photo:
    """The parts of the page for one photo in one model."""

    def __init__(self, loaded: shared.Loaded, picture: shared.Picture, box, swept: Sweep):
        self.loaded, self.model, self.picture, self.box, self.swept = loaded, loaded.model, picture, box, swept
        self.blocks = {block.label: block for block in choosing(loaded.model)}
        self.panels = [block.label for block in tables.panels(list(self.blocks.values()), False)]
        self.preference = tables.size_preference(swept)
        self.kernels = tuple(self.preference[["largest", "smallest"]].iloc[0])
        note = self.model.info.get("Note")
        self.source = plain(f"{self.model.name}{f' ({note})' if note else ''}, {picture.name}")
        self.layer = list(self.model.stages.items())[-1]

    def _script(self, ending: str) -> str:
        return scripts.of_sweep(self.loaded.code, self.picture.path, self.box, ending)

    def at_size(self) -> None:
        st.subheader("At one size", anchor="size")
        playing = st.toggle("Play", key="play", help="Go through the sizes, forth and back.")
        st.fragment(self._at_size, run_every=0.7 if playing else None)(playing)

    def _at_size(self, playing: bool) -> None:
        sizes = list(SIZES)
        if playing:
            step, at = st.session_state.get("play_step", 1), sizes.index(st.session_state.get("size", 1.0))
            step = -step if not 0 <= at + step < len(sizes) else step
            st.session_state.update(size=sizes[at + step], play_step=step)
        if st.session_state.get("size", 1.0) not in sizes:
            st.session_state.pop("size")
        size = st.select_slider("Size of the object", sizes, value=st.session_state.get("size", 1.0), key="size",
                                format_func=lambda value: f"{value:g}×", bind="query-params")
        if size < 1:
            st.caption("Below 1× the picture is shrunk onto a blurred copy of itself: its mirror image would double "
                       "the object.")
        row = sizes.index(size)
        stage, layer = self.layer
        view, seen = self.swept.views["zoom"], self._seen(row)
        top = self.model.class_labels[int(view.logits[row].argmax())]
        left, right = st.columns([2, 3])
        with left:
            cam = {f"{size:g}×": {stage: view.cams[layer][row, 0].cpu().numpy()}}
            figure = figures.cam_grid({f"{size:g}×": seen}, cam, classes={f"{size:g}×": top})
            shared.show(Section(
                f"Grad-CAM at {size:g}×", f"Most probable: **{plain(top)}** "
                f"({float(view.logits[row].softmax(0).max()):.0%}).", figure, tables.cells(cam)), "size_cam")
        with right:
            rows = self.preference[(self.preference["look"] == "zoom") & (self.preference["size"] == size)]
            table = rows.assign(picture=f"{size:g}×")
            text = (f"For each unit the mean over channels of the weight of {self.kernels[0]} less that of "
                    f"{self.kernels[1]}. *{self.source}.*")
            shared.show(Section(f"Kernel choice at {size:g}×", text, figures.kernel_preference(table), rows,
                                self._script(f"result = tables.size_preference(swept).query('size == {size}')")),
                        "size_preference")

    def _seen(self, row: int) -> np.ndarray:
        return self.model.seen(self.model.transform(self.swept.pictures["zoom"][row]))

    def _named(self, sizes) -> dict[str, sv.View]:
        """Single rows of the sweep, by the name of the size."""
        rows = {f"{size:g}×": self.swept.sizes["zoom"].index(size) for size in sizes}
        return {name: self.swept.row("zoom", row) for name, row in rows.items()}

    @st.fragment
    def paper(self) -> None:
        st.subheader("The paper's three sizes", anchor="paper-sizes")
        shared.clear("fig3_lines", "fig3_bars")
        with st.container(horizontal=True):
            label = st.selectbox("Unit", list(self.blocks), index=list(self.blocks).index(self.panels[
                min(1, len(self.panels) - 1)]), key="kernel_unit", bind="query-params", width=160)
            points = st.segmented_control("Channels", ["16 means", "all"], default="16 means", required=True,
                                          key="kernel_points", bind="query-params",
                                          help="The paper draws means over C/16 consecutive channels.")
        views = self._named(PAPER)
        with st.container(horizontal=True):
            for size, name in zip(PAPER, views):
                st.image(self._seen(SIZES.index(size)), caption=name, width=150)
        block = self.blocks[label]
        groups = tables.kernel_groups(views, block, 16 if points == "16 means" else block.channels)
        count = 16 if points == "16 means" else block.channels
        text = (f"As in the SK paper's Fig. 3: the weight of {self.kernels[0]} in **{label}** at the three sizes, and "
                f"below it the mean difference in the last unit of each stage. *{self.source}.*")
        ending = (f"{scripts.find_block(label)}\n"
                  "rows = {size: row for row, size in enumerate(swept.sizes['zoom'])}\n"
                  f"views = {{f'{{size:g}}×': swept.row('zoom', rows[size]) for size in {PAPER}}}\n"
                  f"result = tables.kernel_groups(views, block, {count})")
        shared.show(Section(f"{label} at three sizes", text, figures.fig3_lines(groups, label), groups,
                            self._script(ending)), "fig3_lines")
        rows = self.preference[(self.preference["look"] == "zoom") & self.preference["size"].isin(PAPER)
                               & self.preference["label"].isin(self.panels)]
        bars = rows.rename(columns={"size": "zoom", "difference": "mean"})[["label", "zoom", "mean"]]
        figure = figures.fig3_bars(bars, largest=self.kernels[0], smallest=self.kernels[1])
        ending = ("table = tables.size_preference(swept)\n"
                  f"result = table[(table['look'] == 'zoom') & table['size'].isin({PAPER})]")
        shared.show(Section("Kernel choice at three sizes", "", figure, bars, self._script(ending)), "fig3_bars")

    @st.fragment
    def curves(self) -> None:
        st.subheader("Kernel choice against size", anchor="curves")
        shared.clear("size_curves", "size_slopes", "other_curves")
        slopes = tables.size_slopes(self.preference)
        text = self._sentence(slopes)
        st.markdown("Enlarging a picture also blurs it, and cutting it also takes its surroundings away. So each curve "
                    "stands beside two controls: the same blur without the zoom, and as large a crop from the corner "
                    "farthest from the object. What size does is what is left against both.")
        every = st.toggle("All units", key="every_unit", bind="query-params")
        labels = list(self.blocks) if every else self.panels
        shared.show(Section("Kernel choice against size", text, figures.size_curves(self.preference, labels),
                            self.preference, self._script("result = tables.size_preference(swept)")), "size_curves")
        shared.show(Section(
            "Change per doubling of size", "The slope of each unit's curve from 1× up; the bar is what neither control "
            "explains.", figures.size_slopes(slopes), slopes,
            self._script("result = tables.size_slopes(tables.size_preference(swept))")), "size_slopes")
        st.download_button("The sweep as a GIF", lambda: film(self.swept.pictures["zoom"], self.preference),
                           f"{Path(self.picture.name).stem}_sizes.gif", "image/gif", key="film", on_click="ignore",
                           icon=":material/movie:")
        self._beside()

    def _sentence(self, slopes: pd.DataFrame) -> str:
        left = slopes.set_index("label")["left"]
        up, down = (left > kernels.NEGLIGIBLE).sum(), (left < -kernels.NEGLIGIBLE).sum()
        text = (f"From 1× to {SIZES[-1]:g}×, beyond both controls, more than {kernels.NEGLIGIBLE:g} per doubling of "
                f"size goes to the larger kernel in **{up}** and to the smaller in **{down}** of {len(left)} units")
        if up or down:
            most = left.abs().idxmax()
            text += f", most in **{most}** ({left[most]:+.3f})"
        return text + f". One photo shows what happens to it, not what happens to objects. *{self.source}.*"

    def _beside(self) -> None:
        """Another network on the same photo."""
        options = [NO_OTHER, *(name for name in OFFERED if name != self.model.name)]
        other = st.selectbox("Beside another network", options, key="other", bind="query-params",
                             accept_new_options=True, width=320)
        if other in (NO_OTHER, None):
            return
        try:
            second = shared.obtain(other)
            swept = _sweep(second.key, self.picture.digest, self.box, None, second.model, self.picture.data)
        except shared.SENTENCES as error:
            st.error(plain(str(error)), icon=":material/error:")
            return
        page = Photo(second, self.picture, self.box, swept)
        slopes = tables.size_slopes(page.preference)
        shared.show(Section(f"Kernel choice against size in {second.model.name}", page._sentence(slopes),
                            figures.size_curves(page.preference, page.panels), page.preference,
                            page._script("result = tables.size_preference(swept)")), "other_curves")

    @st.fragment
    def decided(self) -> None:
        st.subheader("Where it is decided", anchor="decided")
        shared.clear("branch_maps", "branch_shares")
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
        shared.show(Section(
            f"Channel {channel} of {label}", text,
            figures.channel_maps({name: self._seen(row)}, maps, titles, label=label, channel=int(channel),
                                 captions={name: weights}),
            tables.cells({name: dict(zip(titles, maps[name]))})), "branch_maps")
        table = tables.contributions({name: view})
        text = ("A branch's weight is not its contribution: a branch of small norm adds little, however large its "
                f"weight. Above, the mean weight in each unit at {name}; below, the share of a_m·‖U_m‖.")
        shared.show(Section("Weight and contribution of the branches", text, figures.contribution(table), table),
                    "branch_shares")


@st.cache_resource(max_entries=8, show_spinner=False)
@shared.in_a_sentence
def _at(key: str, digest: str, box, size: float, _model: sv.Model, _picture: Image.Image) -> sv.View:
    return sv.inspect(_model, _model.batch([_picture]), features=contribution_points(_model.blocks))


@st.fragment
def data_set(loaded: shared.Loaded) -> None:
    """The same over a data set."""
    st.header("Over a data set", anchor="data-set")
    shared.clear("data_findings", "data_bars", "data_classes", "data_share")
    found = {name: stats for name, stats in shared.statistics().items()
             if any(block.branches > 1 for block in stats.blocks)}
    if not found:
        st.info("There are no statistics of a selective-kernel network here.")
        return
    own = shared.weights(loaded.key, loaded.model)
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
    path = str(stats.path.relative_to(shared.ROOT) if stats.path.is_relative_to(shared.ROOT) else stats.path)
    source = plain(f"{stats.metadata['model']} on {stats.metadata['data']}, {stats.metadata['images']:,} pictures")
    effects, shares, bars, changes = _over_data(str(stats.path), stats.metadata["images"], size, stats)

    def script(ending: str) -> str:
        return scripts.over_data(path, ending).replace("import summaries", "import kernels")

    findings = kernels.kernel_findings(stats, effects, shares)
    st.markdown("".join(f"\n- {finding}" for finding in findings) + f"\n\n*{source}.*")
    text = " ".join(findings) + (" Dots: the change of the mean difference between the kernels' weights with its 95 % "
                                 "interval, over all units together and clustered by class; filled where it exceeds "
                                 "both controls.")
    shared.show(Section(f"What {size:g}× changes", text, figures.size_effects(effects), effects,
                        script(f"kernels.size_effects(stats, zoom={size})")), "data_findings", text=False)
    largest, smallest = effects[["largest", "smallest"]].iloc[0]
    panels = [block.label for block in tables.panels([b for b in stats.blocks if b.branches > 1], False)]
    shared.show(Section(
        "The paper's bars", "The SK paper's Fig. 3 over all pictures: mean and standard deviation over pictures.",
        figures.fig3_bars(bars[bars["label"].isin(panels)], largest=largest, smallest=smallest), bars,
        script("kernels.bars(stats)")), "data_bars")
    chosen = list(dict.fromkeys([panels[0], panels[min(1, len(panels) - 1)], panels[-1]]))
    shared.show(Section(
        "Class by class",
        f"The SK paper's Fig. 4: each class's mean difference at 1× and {size:g}×, in a low, a middle and a high unit.",
        figures.class_changes(changes, chosen, after=f"{size:g}×"), changes,
        script(f"kernels.class_changes(stats, zoom={size})")), "data_classes")
    if not shares.empty:
        shared.show(Section(
            "Objects that are large by themselves",
            "Without any zooming: how the difference changes per doubling of the object's side, as its box tells, "
            "within classes.", figures.share_slopes(shares), shares,
            script("kernels.by_share(stats)")), "data_share")


@st.cache_data(max_entries=16, show_spinner="Comparing sizes")
def _over_data(path: str, images: int, size: float, _stats: sv.Statistics):
    return (kernels.size_effects(_stats, size), kernels.by_share(_stats), kernels.bars(_stats),
            kernels.class_changes(_stats, size))


main()
