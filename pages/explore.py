"""Explore: what the channel attention of one network does with a few pictures, beside where the network looks."""
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from pages.parts.archives import statistics_of
from pages.parts.choices import choose_class, one_of
from pages.parts.model import Loaded, loaded_model
from pages.parts.pictures import (
    NO_STAGES,
    Picture,
    choose_pictures,
    explain,
    full_size,
    inspect_all,
    over_photo,
    weigh,
    whole,
)
from pages.parts.ranking import ranking, shares
from pages.parts.sections import clear, clicked_number, heading, keep, offer, show
from pages.parts.sentences import SENTENCES, lacking
from senet_viz import tables
from senet_viz.experiments import attribution
from senet_viz.experiments.looking import Look
from senet_viz.experiments.overlays import Photo
from senet_viz.experiments.picture_report import picture_report
from senet_viz.experiments.picture_sections import BY_INDEX, BY_VALUE, NO_CAMS, NO_PREDICTIONS, ORDERS, PictureSections
from senet_viz.figures.maps import Panel
from senet_viz.figures.style import elide
from senet_viz.gates import AttentionBlock
from senet_viz.gates.answers import OTHER, SEGMENTATION, target_of
from senet_viz.reports.text import file_name, plain
from senet_viz.statistics.directions import mark

TOP_CLASS, LARGEST = "each picture's own top class", "each picture's own largest class"
SEEN, WHOLE = "network's input", "whole photo"
PANEL, LARGE = 480, 720  # pixels of a photo in a figure, where it can be enlarged, and of one by itself


def main() -> None:
    """The page, top to bottom; each part is a fragment and redraws alone."""
    st.title("Explore")
    st.markdown("Which channels does the network turn up or down, block by block, for your photos? "
                "And where does it look? Gates, feature maps and Grad-CAM all come from **one** forward pass a "
                "picture.")
    loaded = loaded_model(__file__)
    st.session_state["sections"] = {}
    pictures = choose_pictures()
    if not pictures:
        st.info("Upload photos or choose a sample picture to begin.", icon=":material/add_photo_alternate:")
        return
    results = inspect_all(loaded, pictures)
    if not results:
        return
    page = Page(loaded, [picture for picture in pictures if picture.name in results], results)
    page.predictions()
    page.all_blocks()
    page.one_block()
    page.differences()
    if any(block.branches > 1 for block in loaded.model.blocks):
        page.kernels()
    page.grad_cam()
    page.contribution()
    shown = st.session_state["sections"]
    offer(f"{file_name(loaded.model.name)}_report", lambda: picture_report(page.sections, shown))


class Page:
    """The parts of the page for one model and its pictures."""

    def __init__(self, loaded: Loaded, pictures: list[Picture], results: dict[str, Look]):
        self.loaded, self.model = loaded, loaded.model
        self.pictures, self.results = {picture.name: picture for picture in pictures}, results
        self.names = list(self.pictures)
        self.views = {name: results[name].view for name in self.names}
        self.seen = {name: results[name].seen for name in self.names}
        self.blocks = {block.label: block for block in self.model.blocks}
        self.sections = PictureSections(loaded.model, loaded.code, {p.name: p.path for p in pictures}, self.views,
                                        self.seen, lambda name: weigh(loaded, self.pictures[name]))
        self.answer = self.sections.answer
        self.key = loaded.key, tuple((picture.name, picture.path, picture.digest) for picture in pictures)

    def _head(self, anchor: str, *, part: bool = False) -> None:
        title, lead, more = self.sections.head(anchor)
        heading(title, anchor, lead, more, part=part)

    def predictions(self) -> None:
        self._head("predictions")
        section = self.sections.predictions()
        if self.answer.task == OTHER:
            lacking(self.model, NO_PREDICTIONS)
        with st.container(horizontal=True, gap="medium"):
            for name in self.names:
                # as many beside each other as the window takes
                with st.container(width=370 if self.answer.task == SEGMENTATION else 270):
                    self._prediction(name, section.table)
        show(section, "predictions", text=False)

    def _prediction(self, name: str, table: pd.DataFrame | None) -> None:
        caption, seen = plain(elide(name, 48)), self.seen[name]
        if table is None:
            st.image(seen, caption=caption, width=180, alt=f"{name} as the network saw it")
            return
        rows = table[table["picture"] == name]
        top = rows["class"].iloc[0]
        if self.answer.task == SEGMENTATION:
            with st.container(horizontal=True, gap="small"):
                st.image(seen, caption=caption, width=175, alt=f"{name} as the network saw it")
                st.image(self.sections.class_picture(name), width=175, caption="the class of each pixel",
                         alt=f"The class of each pixel of {name}; most are {top}")
            shares(rows, self.model, self.sections.colours, f"Classes of the pixels of {name}")
        else:
            st.image(seen, caption=caption, width=180, alt=f"{name} as the network saw it; top class {top}")
            ranking(rows, self.model, f"Predictions for {name}")

    def all_blocks(self) -> None:
        self._head("blocks")
        show(keep(self.key, self.sections.all_blocks), "all_blocks")

    @st.fragment
    def one_block(self) -> None:
        self._head("block")
        with st.container(horizontal=True):
            label = st.selectbox("Block", list(self.blocks), index=len(self.blocks) - 1, key="block",
                                 bind="query-params", width=160)
            block = self.blocks[label]
            quantity = self._quantity(block)
            every = one_of("Channels", ["every s-th", "all"], key="channels", bind="query-params",
                           help="As the SE paper's Fig. 6: every s-th channel; read off the figure, s = ⌈C/50⌉.")
            order = st.selectbox("Order by", ORDERS, index=ORDERS.index(BY_INDEX), key="order", bind="query-params",
                                 width=280)
        if directions := mark(statistics_of(self.loaded), label):
            st.caption(directions)
        section = keep((self.key, label), lambda **how: self.sections.block(block, **how), quantity=quantity,
                       sampled=every == "every s-th", order=order, pair=self._pair(order))
        show(section, "excitation", on_select=self._pick)
        self._channel(block)

    @staticmethod
    def _quantity(block: AttentionBlock) -> str:
        names = tables.quantities(block)
        if block.branches == 1:
            return names[0]
        return st.selectbox("Value", names, index=block.branches - 1, key="quantity", bind="query-params", width=180)

    def _pair(self, order: str) -> tuple[str, str] | None:
        """The pictures that the order speaks of, where it speaks of any and there is a choice."""
        if order == BY_INDEX or len(self.names) == 1:
            return None
        with st.container(horizontal=True):
            first = st.selectbox("First picture", self.names, key="first", bind="query-params", width=260)
            if order == BY_VALUE:
                return first, first
            second = st.selectbox("Second picture", self.names, index=1, key="second", bind="query-params", width=260)
        return first, second

    @staticmethod
    def _pick() -> None:
        if (channel := clicked_number("excitation")) is not None:
            st.session_state["channel"] = channel

    def _channel(self, block: AttentionBlock) -> None:
        # a link or a narrower block may leave a channel that this block lacks
        st.session_state["channel"] = min(max(int(st.session_state.get("channel") or 0), 0), block.channels - 1)
        self._head("channel", part=True)
        with st.container(horizontal=True):
            channel = st.number_input("Channel", 0, block.channels - 1, key="channel", bind="query-params", width=160)
            smooth = st.toggle("Smooth", key="channel_smooth", bind="query-params",
                               help="Interpolate between cells; off shows the map's own cells.")
        show(keep((self.key, block.label), lambda **how: self.sections.channel(block, **how), channel=channel,
                  smooth=smooth), "channel_maps")

    @st.fragment
    def differences(self) -> None:
        self._head("differences")
        clear("differences")
        if len(self.names) < 2:
            st.info("Choose two pictures or more to compare their gates.")
            return
        with st.container(horizontal=True):
            first = st.selectbox("From", self.names, key="from", bind="query-params", width=260)
            second = st.selectbox("To", self.names, index=1, key="to", bind="query-params", width=260)
            top = st.slider("Rows", 5, 100, 20, key="rows", bind="query-params", width=200)
        if first == second:
            st.info("The two pictures are the same: choose another.")
        elif (section := keep(self.key, self.sections.differences, first, second, top)) is None:
            st.info("The gates of the two pictures are equal in every block.")
        else:
            kernels = any(section.table["kernel"])
            show(section, "differences", headings={
                "block": None, "label": "block", "branch": None, **({} if kernels else {"kernel": None}),
                **{key: st.column_config.NumberColumn(elide(title, 20), help=title, format=form) for key, title, form
                   in (("first", first, "%.3f"), ("second", second, "%.3f"), ("difference", "difference", "%+.3f"))}})

    def kernels(self) -> None:
        self._head("kernels")
        if any(block.split_input for block in self.model.blocks):
            st.warning("The branches of this network see different halves of the input channels, so that its choice of "
                       "kernel cannot be told from a choice of channels.")
        show(keep(self.key, self.sections.kernels), "kernels")

    @st.fragment
    def grad_cam(self) -> None:
        self._head("grad-cam")
        clear("grad_cam", "gate_change", "opinion")
        if self.answer.task == OTHER:
            lacking(self.model, NO_CAMS)
            return
        try:
            with st.container(horizontal=True):
                with st.container(width=320):
                    chosen = self._class()
                opacity = st.slider("Opacity", 0.0, 1.0, 0.5, 0.05, key="opacity", bind="query-params", width=180)
                smooth = st.toggle("Smooth", value=True, key="smooth", bind="query-params",
                                   help="Interpolate between cells; off shows the map's own cells.")
                over = one_of(
                    "Over", [SEEN, WHOLE], key="over", bind="query-params",
                    help="The network sees a photo cropped and resized. Over the whole photo, that part is framed, and "
                         "each map can be downloaded at the photo's full size.")
        except ValueError as error:
            st.error(plain(str(error)), icon=":material/error:")
            return
        photos = self._photos() if over == WHOLE else {}
        targets = self.sections.targets(chosen)
        explained = {name: explain(self.loaded.key, picture.digest, targets[name], self.views[name])
                     for name, picture in self.pictures.items()}
        cams, weights = ({name: found[i] for name, found in explained.items()} for i in (0, 1))
        if self.model.stages:
            show(keep((self.key, tuple(targets.values()), bool(photos)), lambda **how: self.sections.cams(
                cams, targets, photos=self._small(photos), **how), opacity=opacity, smooth=smooth), "grad_cam")
            self._large("grad_cam", photos, targets, lambda name: self.sections.panels(cams[name]), opacity, smooth)
        else:
            st.info(NO_STAGES)
        self._gate_change(targets, weights, photos, opacity, smooth)
        self._second_opinion(targets, opacity)

    def _class(self) -> int | None:
        """The class that Grad-CAM explains, of a segmentation one that occurs; None for each picture's own."""
        if self.answer.task == SEGMENTATION:
            labels = {self.model.class_labels[index]: index for index in self.sections.present}
            if st.session_state.get("pixels", LARGEST) not in [LARGEST, *labels]:  # of other pictures
                st.session_state.pop("pixels")
            return labels.get(st.selectbox("Class", [LARGEST, *labels], key="pixels", bind="query-params",
                                           help="Those that occur, the largest first."))
        top = tables.predictions(self.views, self.model.class_labels)["class"].drop_duplicates().tolist()
        return choose_class(self.model, "class", TOP_CLASS, first=top, about="The pictures' top five come first.")

    def _photos(self) -> dict[str, Photo]:
        """The photos as they were taken; none where the transform cannot be followed, which is said."""
        try:
            return {name: whole(self.loaded, picture) for name, picture in self.pictures.items()}
        except SENTENCES as error:
            st.info(f"The maps stay on the network's input: {plain(str(error))}.", icon=":material/info:")
            return {}

    @staticmethod
    def _small(photos: dict[str, Photo]) -> dict[str, Photo]:
        return {name: photo.reduced(PANEL) for name, photo in photos.items()}

    def _large(self, key: str, photos: dict[str, Photo], targets: dict[str, int],
               panels: Callable[[str], dict[str, Panel]], opacity: float, smooth: bool) -> None:
        """One map over one photo, large, and to download at the photo's full size."""
        if not photos:
            return
        with st.container(horizontal=True, vertical_alignment="bottom"):
            name = self.names[0] if len(self.names) == 1 else st.selectbox(
                "Photo", self.names, key=f"{key}_photo", width=260)
            maps = panels(name)
            title = st.selectbox("Map", list(maps), index=len(maps) - 1, key=f"{key}_map", width=220)
            label = self.model.class_labels[targets[name]]
            file = "_".join(map(file_name, (Path(name).stem, title, label)))
            st.download_button(
                "PNG of the photo's size", partial(full_size, self.model, self.pictures[name], maps[title], opacity,
                                                   smooth),
                f"{file}.png", "image/png", key=f"{key}_png", on_click="ignore", icon=":material/download:")
        photo = photos[name]
        drawn = over_photo(photo.image, photo.box, maps[title], opacity, smooth)
        with st.container(width=min(LARGE, drawn.width)):  # a narrower window makes it, and the image in it, smaller
            st.image(drawn, width="stretch", output_format="JPEG",
                     caption=f"{plain(elide(name, 48))}, {plain(title)}, {plain(label)}",
                     alt=f"{title} for {label} over all of {name}, the part that the network saw framed")

    def _gate_change(self, targets, weights, photos: dict[str, Photo], opacity: float, smooth: bool) -> None:
        self._head("gate-change", part=True)
        labels = [label for label, block in self.blocks.items() if block.has_output]
        if not labels:
            st.info("In this network no module gives what the gates leave, so there is no point at which to weigh it.")
            return
        label = st.selectbox("At block", labels, index=len(labels) - 1, key="change", bind="query-params", width=160)
        block = self.blocks[label]
        show(keep((self.key, label, tuple(targets.values()), bool(photos)), lambda **how: self.sections.gate_change(
            block, {name: of[block.name, "output"] for name, of in weights.items()}, targets,
            photos=self._small(photos), **how), opacity=opacity, smooth=smooth), "gate_change")
        self._large("gate_change", photos, targets, lambda name: self.sections.changed_panels(
            name, block, weights[name][block.name, "output"]), opacity, smooth)

    def _second_opinion(self, targets, opacity: float) -> None:
        self._head("second-opinion", part=True)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            name = st.selectbox("Picture", self.names, key="opinion_picture", width=260)
            method = one_of("Method", attribution.METHODS, key="opinion_method")
            run = st.button("Run", icon=":material/play_arrow:", key="opinion_run")
        key = (self.loaded.key, self.pictures[name].digest, targets[name], method)
        results = st.session_state.setdefault("opinions", {})
        if run and key not in results:
            bar = st.progress(0.0, f"{method.capitalize()} of {name}")
            try:
                values = attribution.attribute(
                    self.model, self.results[name].tensor, target_of(self.views[name], targets[name]), method,
                    progress=lambda share: bar.progress(share, f"{method.capitalize()} of {name}"))
                if len(results) >= 16:
                    results.pop(next(iter(results)))
                results[key] = values.cpu().numpy()
            except SENTENCES as error:
                st.error(plain(str(error)), icon=":material/error:")
            bar.empty()
        if key in results:
            show(self.sections.opinion(name, results[key], targets[name], method, opacity=opacity), "opinion")

    def contribution(self) -> None:
        self._head("contribution")
        show(keep(self.key, self.sections.contribution), "contribution")


main()
