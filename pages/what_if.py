"""What if: gates changed by hand, and what becomes of the prediction and of where the network looks."""
from collections.abc import Callable, Hashable
from dataclasses import replace

import pandas as pd
import streamlit as st

import senet_viz as sv
from pages.parts import editing
from pages.parts.archives import beside_app, last_written, statistics_of
from pages.parts.choices import choose_class, one_of, recall, remember
from pages.parts.keeping import kept
from pages.parts.model import Loaded, loaded_model
from pages.parts.over_data import over_data
from pages.parts.pictures import NO_STAGES, Picture, choose_pictures, explain
from pages.parts.ranking import ranking
from pages.parts.sections import clear, clicked, clicked_number, downloads, heading, keep, show
from pages.parts.sentences import SENTENCES, in_a_sentence, lacking
from senet_viz import tables
from senet_viz.experiments import edit_text, looking, what_if
from senet_viz.experiments.what_if_sections import AFTER, BEFORE, LEAD, Sections, head
from senet_viz.gates.answers import CLASSIFICATION
from senet_viz.reports.html import Section
from senet_viz.reports.text import file_name, plain

TOP_CLASS = "the most probable one"
LOGIT, PROBABILITY = "logit", "probability"
NUMBER = st.column_config.NumberColumn
HEADINGS = {
    "logit_before": NUMBER("logit", format="%.2f"), "logit_after": NUMBER("edited", format="%.2f"),
    "change": NUMBER("change", format="%+.2f"),
    "lead_change": NUMBER("against all classes", format="%+.2f", help=LEAD), "spread": None,
    "probability_before": NUMBER("probability", format="percent"),
    "probability_after": NUMBER("edited ", format="percent"), "probability_change": None}


def main() -> None:
    """The page, top to bottom."""
    st.title("What if")
    st.markdown("Take a gate away, swap it, force a kernel: what becomes of the prediction? Looking at gates is "
                "correlation; this is the experiment. Whatever is found holds for this photo and this model.")
    loaded = loaded_model(__file__)
    st.session_state["sections"] = dict.fromkeys((
        "what_overview", "what_block", "what_changes", "what_cams", "what_travel"))
    pictures = choose_pictures()
    if not pictures:
        st.info("Upload a photo or choose a sample picture to begin.", icon=":material/add_photo_alternate:")
        return
    looked = {}
    for picture in pictures:
        try:
            looked[picture.name] = _looked(loaded.key, picture.digest, "", (), loaded.model, picture.data, [])
        except SENTENCES as error:
            st.error(f"**{plain(picture.name)}**: {plain(str(error))}", icon=":material/error:")
    if not looked:
        return
    page = Page(loaded, [picture for picture in pictures if picture.name in looked], looked)
    for part in (page.edit, page.changes, page.matter, page.channels, page.swap, page.sizes)[:None if page.told else 2]:
        part()
    over_data(loaded)
    downloads(f"Experiments with the gates of {loaded.model.name}",
              {"Photo": page.picture.name, "Edits": "; ".join(page.text.split("\n")) or "none"},
              f"{file_name(loaded.model.name)}_what_if")


@kept()
@in_a_sentence
def _look(key: str, digest: str, text: str, sources: tuple, _model: sv.Model, _data: bytes, _edits: list
          ) -> what_if.Looked:
    return what_if.look(_model, sv.open_image(_data), _edits)


@kept()
def _glance(key: str, digest: str, text: str, sources: tuple, _model: sv.Model, _data: bytes, _edits: list
            ) -> what_if.Looked:
    looked = _look(key, digest, text, sources, _model, _data, _edits)
    return replace(looked, view=looking.lighter(looked.view))


def _looked(*arguments) -> what_if.Looked:
    """A photo with edits; its graph is asked of what is kept, or made again."""
    looked = _glance(*arguments)
    return replace(looked, view=looking.with_maps(looked.view, lambda: _look(*arguments).view))


@kept("Trying edit after edit")
@in_a_sentence
def _experiment(key: str, digest: str, other: str, name: str, arguments: tuple, _model: sv.Model, *_data: bytes
                ) -> pd.DataFrame | what_if.Tried:
    images = [sv.open_image(data) for data in _data]
    given = images if name == "try_sizes" else [_model.batch([image]) for image in images]
    return getattr(what_if, name)(_model, *given, *arguments)


def _tried(experiment, *arguments):
    """What an experiment finds; None where it fails, which is said."""
    try:
        return experiment(*arguments)
    except SENTENCES as error:
        st.error(plain(str(error)), icon=":material/error:")


class Page:
    """The parts of the page for one model and its photos."""

    def __init__(self, loaded: Loaded, pictures: list[Picture], looked: dict[str, what_if.Looked]):
        self.loaded, self.model, self.looked = loaded, loaded.model, looked
        self.blocks = {block.label: block for block in loaded.model.blocks}
        self.statistics = statistics_of(loaded)
        self.told = self.model.answer.task == CLASSIFICATION  # whether there is a class whose logit can be followed
        self._choose({picture.name: picture for picture in pictures})

    def _choose(self, pictures: dict[str, Picture]) -> None:
        """The photo, another one, and the class to speak of."""
        chosen, labels = None, self.model.class_labels
        recall("what_picture", "photo", pictures)
        try:
            with st.container(horizontal=True):
                name = st.selectbox("Photo", list(pictures), key="what_picture", bind="query-params", width=260)
                self.picture, self.before = pictures[name], self.looked[name]
                others = [each for each in pictures if each != name]
                self.other = pictures[st.selectbox(
                    "Another photo", others, key="what_other", bind="query-params", width=260,
                    help="Whose gates can be put in.")] if others else None
                top = self.before.view.logits[0].topk(min(5, len(labels))).indices.tolist() if self.told else [0]
                if self.told:
                    chosen = choose_class(self.model, "what_class", TOP_CLASS, first=[labels[i] for i in top],
                                          width=320, about="Whose logit and probability are followed.")
        except ValueError as error:
            st.error(plain(str(error)), icon=":material/error:")
        remember("what_picture", "photo")
        self.target = top[0] if chosen is None else chosen
        note = self.model.info.get("Note")
        self.key, self.edited_key = (self.loaded.key, self.picture.digest), ""
        self.sections = Sections(self.model, self.loaded.code, self.picture.path, plain(
            f"{self.model.name}{f' ({note})' if note else ''}, {name}"), self.target)

    def _head(self, anchor: str) -> None:
        title, lead, more = head(anchor, self.model.blocks)
        self.about = heading(title, anchor, lead, more)

    def _show(self, section: Section, key: str, **options) -> None:
        """A section; in the report a heading's first one also has what stands there."""
        about, self.about = self.about, ""
        show(section, key, about=about, **options)

    def _keep(self, make: Callable[..., Section], *arguments: Hashable) -> Section:
        """What is shown of the photo as it is, and with the edits that there are."""
        said = tuple(value for name, value in vars(self.sections).items() if name != "model")
        return keep((self.key, self.edited_key, said), make, *arguments)

    def _found(self, name: str, *arguments, other: Picture | None = None):
        """What an experiment with the photo finds; it is not repeated, for another class neither."""
        more = (other.data,) if other else ()
        return _tried(_experiment, *self.key, other.digest if other else "", name, arguments, self.model,
                      self.picture.data, *more)

    # editing

    def edit(self) -> None:
        """Gates as they are and as edited, the means of editing them, and the edits as text."""
        self._head("edit")
        overview, controls = st.container(), st.container(horizontal=True, vertical_alignment="bottom")
        stages = list(dict.fromkeys(block.stage for block in self.blocks.values()))
        with controls:
            where = st.selectbox("Block or stage", [*self.blocks, *(f"stage {stage}" for stage in stages), "*"],
                                 index=len(self.blocks) - 1, key="what_where", bind="query-params", width=160,
                                 help="Or click a block above.",
                                 format_func=lambda place: what_if.ALL if place == "*" else place)
            value = editing.choose_value(
                [block for block in self.blocks.values() if sv.Edit(where, 1).matches(block)],
                ["mean"] * (self.statistics is not None) + ["photo"] * bool(self.other)
                + ["rank"] * bool(self.statistics and self.statistics.sampled))
            channels = st.text_input("Channels", key="what_of", placeholder="all; or 7, 9-12", width=140).strip()
            st.button("Edit", key="what_add", on_click=editing.add, icon=":material/edit:", type="primary",
                      args=(where, value, channels))
        self.text = editing.edit_area(list(self.blocks.values()))
        with controls:
            editing.undo_and_reset(self.text)
        with st.expander("Whole stages"), st.container(horizontal=True):
            for stage in stages:
                editing.stage_slider(self.text, stage, [b for b in self.blocks.values() if b.stage == stage])
        self.edits, self.after = [], None
        try:
            self.edits = edit_text.read_edits(self.text, self.model.name, self.statistics,
                                              self.other and self.looked[self.other.name].view.gates)
            if self.edits:
                self.after = self._edited()
        except SENTENCES as error:
            st.error(plain(str(error)), icon=":material/error:")
        self.views = {BEFORE: self.before.view} | ({AFTER: self.after.view} if self.after else {})
        with overview:
            self._show(self._keep(lambda: self.sections.overview(self.views)), "what_overview",
                       on_select=self._pick_block)
        if where in self.blocks:
            self._block(self.blocks[where])

    def _edited(self) -> what_if.Looked:
        """The photo with the edits; from now on scripts make them too."""
        used = edit_text.words_used(self.text)
        over_data, photo = bool(used & {"mean", "rank"}), "photo" in used
        sources = ((str(self.statistics.path), last_written(self.statistics.path)) if over_data else (),
                   self.other.digest if photo else "")
        looked = _looked(*self.key, self.text, sources, self.model, self.picture.data, self.edits)
        self.edited_key = f"{self.loaded.key} {self.text} {sources}"
        self.sections = replace(self.sections, text=self.text, other=self.other.path if photo else "",
                                statistics=beside_app(self.statistics.path) if over_data else "")
        return looked

    def _pick_block(self) -> None:
        if (label := clicked("what_overview").get("x")) in self.blocks:
            st.session_state["what_where"] = label

    def _block(self, block: sv.AttentionBlock) -> None:
        values = edit_text.click_values(block)
        value = one_of(f"A click on a channel of {block.label} sets it to", values,
                       key=f"what_click_{len(values)}_{values[0]}")

        def pick() -> None:
            if (channel := clicked_number("what_block")) is not None:
                editing.add(block.label, value, str(channel))

        self._show(self._keep(lambda label: self.sections.block(self.views, label), block.label), "what_block",
                   on_select=pick)

    # what an edit does

    def changes(self) -> None:
        """Predictions, Grad-CAM and later gates, before and after."""
        self._head("changes")
        if lacking(self.model, "what becomes of a prediction cannot be followed, only how far edits travel"):
            if self.after:
                self._show(self._keep(lambda: self.sections.travel(self.views, self.edits)), "what_travel")
            return
        with st.container(horizontal=True):
            for name, looked in ((BEFORE, self.before), (AFTER, self.after)):
                if looked:
                    self._prediction(name, looked)
        if not self.text:
            st.info("There are no edits: make one above to see what it does.", icon=":material/edit:")
        if self.after is None:  # what is wrong with a text is said above
            return
        changes = self._keep(lambda: self.sections.changes(self.views))
        st.markdown(changes.text)
        looks, travels, logits = st.tabs(["Where it looks", "How far it travels", "Logits"], key="what_change_tab",
                                         bind="query-params")
        with logits:
            show(changes, "what_changes", text=False, headings=HEADINGS)
        with looks:
            if not self.model.stages:
                st.info(NO_STAGES)
            else:
                cams = {name: explain(key, self.picture.digest, self.target, view)[0] for key, (name, view) in zip(
                    (self.loaded.key, self.edited_key), self.views.items())}
                self._show(self._keep(lambda: self.sections.cams(cams, self.before.seen)), "what_cams")
        with travels:
            self._show(self._keep(lambda: self.sections.travel(self.views, self.edits)), "what_travel")

    def _prediction(self, name: str, looked: what_if.Looked) -> None:
        rows = tables.predictions({name: looked.view}, self.model.classes)
        with st.container(horizontal=True, width=430):
            st.image(looked.seen, caption=name, width=150, alt=f"{self.picture.name} as the network saw it, {name}; "
                                                               f"top class {rows['class'].iloc[0]}")
            with st.container(width=260):
                ranking(rows, self.model, f"Predictions for {self.picture.name}, {name}")

    # experiments without the edits

    @st.fragment
    def matter(self) -> None:
        """Each block and each stage off in turn."""
        self._head("blocks")
        clear("what_blocks", "what_stages")
        blocks, stages = self._found("try_blocks"), self._found("try_stages")
        if blocks is None or stages is None:
            return
        single, whole = blocks.outcomes(self.target), stages.outcomes(self.target)
        one, all_ = st.tabs(["One block at a time", "Whole stages"], key="what_blocks_tab", bind="query-params")
        with one:
            self._show(self._keep(lambda of: self.sections.blocks(single, of), _quantity("what_blocks_of")),
                       "what_blocks")
        with all_:
            self._show(self._keep(lambda of: self.sections.stages(whole, of), _quantity("what_stages_of", PROBABILITY)),
                       "what_stages")

    @st.fragment
    def channels(self) -> None:
        """The most excited channels of a block, one at a time."""
        self._head("channels")
        clear("what_channels")
        with st.container(horizontal=True):
            label = st.selectbox("Block", list(self.blocks), index=len(self.blocks) - 1, key="what_channels_block",
                                 bind="query-params", width=160)
            top = st.slider("Most excited channels", 4, 32, 16, key="what_channels_top", bind="query-params", width=200)
            quantity = _quantity("what_channels_of")
        if (tried := self._found("try_channels", label, top)) is not None:
            self._show(self._keep(lambda *of: self.sections.channels(tried.outcomes(self.target), *of), label, top,
                                  quantity), "what_channels")

    @st.fragment
    def swap(self) -> None:
        """Another photo's gates."""
        self._head("swap")
        clear("what_swap")
        if self.other is None:
            st.info("Choose two photos or more to swap their gates.")
        elif (found := self._found("swap", other=self.other)) is not None:
            self._show(self._keep(lambda digest, *of: self.sections.swap(found, *of), self.other.digest,
                                  self.picture.name, self.other.name, self.other.path, _quantity("what_swap_of")),
                       "what_swap")

    @st.fragment
    def sizes(self) -> None:
        """Forced kernels over the object's size."""
        if any(block.branches > 1 for block in self.model.blocks):
            self._head("sizes")
            clear("what_sizes")
            if (tried := self._found("try_sizes")) is not None:
                self._show(self._keep(lambda: self.sections.sizes(what_if.of_sizes(tried, self.target))), "what_sizes")


def _quantity(key: str, default: str = LOGIT) -> str:
    chosen = one_of("Change of the", [LOGIT, PROBABILITY], default=default, key=key, bind="query-params", help=LEAD)
    return "lead_change" if chosen == LOGIT else "probability_change"


main()
