"""What if: gates changed by hand, and what becomes of the prediction and of where the network looks."""
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

import senet_viz as sv
from pages.parts.archives import collected, last_written, weights_of
from pages.parts.model import Loaded, loaded_model
from pages.parts.pictures import NO_STAGES, Picture, choose_pictures, explain
from pages.parts.sections import clear, downloads, show
from pages.parts.sentences import SENTENCES, in_a_sentence
from senet_viz import figures, tables
from senet_viz.collecting import open_evaluation
from senet_viz.data.places import APP
from senet_viz.experiments import what_if
from senet_viz.gates.edits import HINT
from senet_viz.reports import scripts
from senet_viz.reports.html import Section
from senet_viz.reports.text import plain

TOP_CLASS = "the most probable one"
BEFORE, AFTER = "as it is", "edited"
LOGIT, PROBABILITY = "logit", "probability"
OFF, NUMBER, SCALED, TOP, SHUFFLED = ("off", "a number", "scaled", "only the most excited channels",
                                      "shuffled over channels")
MIXED, UNIFORM = "a mixture", "uniform"
MEAN, PHOTO = "its mean over a data set", "another photo's"
OWN = "own"  # the place of a stage's slider at which there is no edit
CHANGE = st.column_config.NumberColumn
HEADINGS = {
    "logit_before": CHANGE("logit", format="%.2f"), "logit_after": CHANGE("edited", format="%.2f"),
    "change": CHANGE("change", format="%+.2f"), "probability_before": CHANGE("probability", format="percent"),
    "probability_after": CHANGE("edited ", format="percent"), "probability_change": None}
EVALUATIONS = APP / "assets" / "evaluation"
OF_DATA = {"blocks": None, "images": None, "probability": None, "difference5": None, "low5": None, "high5": None,
           "images_per_second": None, **{name: CHANGE(title, format="percent") for name, title in (
               ("top1", "top-1"), ("difference", "change"), ("low", "from"), ("high", "to"), ("top5", "top-5"))}}
EDITED = ("what_changes", "what_cams", "what_travel")


@dataclass
class Looked:
    """A view of a photo, and the photo as the network saw it."""

    view: sv.View
    seen: np.ndarray


def main() -> None:
    """The page, top to bottom."""
    st.title("What if")
    st.markdown("Looking at gates is correlation; this is the experiment. Take a gate away, swap it, force a kernel: "
                "what becomes of the prediction? Whatever is found holds for this photo and this model.")
    loaded = loaded_model(__file__)
    st.session_state["sections"] = dict.fromkeys(("what_overview", "what_block", *EDITED))
    pictures = choose_pictures()
    if not pictures:
        st.info("Upload a photo or choose a sample picture to begin.", icon=":material/add_photo_alternate:")
        return
    looked = {}
    for picture in pictures:
        try:
            looked[picture.name] = _look(loaded.key, picture.digest, "", (), loaded.model, picture.data, [])
        except SENTENCES as error:
            st.error(f"**{plain(picture.name)}**: {plain(str(error))}", icon=":material/error:")
    pictures = [picture for picture in pictures if picture.name in looked]
    if not pictures:
        return
    page = Page(loaded, pictures, looked)
    page.choose()
    page.edit()
    page.changes()
    page.matter()
    page.channels()
    page.swap()
    page.sizes()
    page.over_data()
    downloads(f"Experiments with the gates of {loaded.model.name}",
                     {"Photo": page.picture.name, "Edits": "; ".join(page.text.split("\n")) or "none"},
                     f"{Path(loaded.model.name).stem}_what_if")


@st.cache_resource(max_entries=24, show_spinner=False)
@in_a_sentence
def _look(key: str, digest: str, text: str, sources: tuple, _model: sv.Model, _data: bytes, _edits: list) -> Looked:
    tensor = _model.transform(sv.open_image(_data))
    view = sv.inspect(_model, tensor[None], layers=list(_model.stages.values()), edits=_edits, retain_graph=True)
    if view.logits.shape[1] != len(_model.classes):
        raise ValueError(f"The network gives {view.logits.shape[1]} logits, but there are {len(_model.classes)} class "
                         f"names.")
    if not view.logits.isfinite().all():
        raise ValueError("The network's output for this picture is not finite" + " with these edits" * bool(text) + ".")
    return Looked(view, _model.seen(tensor))


@st.cache_data(max_entries=64, show_spinner="Trying block after block")
@in_a_sentence
def _blocks(key: str, digest: str, target: int, _model: sv.Model, _data: bytes) -> tuple[pd.DataFrame, pd.DataFrame]:
    batch = _model.batch([sv.open_image(_data)])
    return what_if.each_block(_model, batch, target), what_if.each_stage(_model, batch, target)


@st.cache_data(max_entries=64, show_spinner="Trying channel after channel")
@in_a_sentence
def _channels(key: str, digest: str, label: str, target: int, top: int, _model: sv.Model, _data: bytes) -> pd.DataFrame:
    return what_if.each_channel(_model, _model.batch([sv.open_image(_data)]), label, target, top)


@st.cache_data(max_entries=64, show_spinner="Swapping gates")
@in_a_sentence
def _swap(key: str, digest: str, other: str, _model: sv.Model, _data: bytes, _other: bytes) -> pd.DataFrame:
    return what_if.swap(_model, *(_model.batch([sv.open_image(data)]) for data in (_data, _other)))


@st.cache_data(max_entries=64, show_spinner="Forcing kernels at every size")
@in_a_sentence
def _sizes(key: str, digest: str, target: int, _model: sv.Model, _data: bytes) -> pd.DataFrame:
    return what_if.forced_sizes(_model, sv.open_image(_data), target)


class Page:
    """The parts of the page for one model and its photos."""

    def __init__(self, loaded: Loaded, pictures: list[Picture], looked: dict[str, Looked]):
        self.loaded, self.model, self.looked = loaded, loaded.model, looked
        self.pictures = {picture.name: picture for picture in pictures}
        self.blocks = {block.label: block for block in loaded.model.blocks}

    def choose(self) -> None:
        """The photo, another one, and the class to speak of."""
        names, labels = list(self.pictures), self.model.class_labels
        with st.container(horizontal=True):
            name = st.selectbox("Photo", names, key="what_picture", bind="query-params", width=260)
            self.picture, self.before = self.pictures[name], self.looked[name]
            others = [each for each in names if each != name]
            self.other = self.pictures[st.selectbox(
                "Another photo", others, key="what_other", bind="query-params", width=260,
                help="Whose gates can be put in.")] if others else None
            top = self.before.view.logits[0].topk(min(5, len(labels))).indices.tolist()
            first = [labels[i] for i in top]
            wanted = st.selectbox("Class", [TOP_CLASS, *first, *(each for each in labels if each not in set(first))],
                                  key="what_class", bind="query-params", accept_new_options=True, width=320,
                                  help="Whose logit and probability are followed. Part of a name can be typed.")
        self.target = top[0]
        try:
            if wanted not in (TOP_CLASS, None):
                self.target = self.model.class_index(wanted)
        except ValueError as error:
            st.error(plain(str(error)), icon=":material/error:")
        note = self.model.info.get("Note")
        self.source = plain(f"{self.model.name}{f' ({note})' if note else ''}, {name}")
        own = weights_of(self.loaded.key, self.model)
        self.statistics = next((stats for stats in collected().values() if stats.metadata["weights"] == own),
                               None)

    # editing

    def edit(self) -> None:
        """Gates as they are and as edited, the means of editing them, and the edits as text."""
        st.header("Edit gates", anchor="edit")
        overview, controls = st.container(), st.container()
        places = [*self.blocks, *(f"stage {stage}" for stage in self._stages()), "*"]
        with controls, st.container(horizontal=True, vertical_alignment="bottom"):
            where = st.selectbox("Block or stage", places, index=len(self.blocks) - 1, key="what_where",
                                 bind="query-params", width=160, help="Or click a block above.",
                                 format_func=lambda place: what_if.ALL if place == "*" else place)
            blocks = [block for block in self.blocks.values() if sv.Edit(where, 1).matches(block)]
            value = self._value(blocks)
            channels = st.text_input("Channels", key="what_of", placeholder="all; or 7, 9-12", width=140).strip()
            st.button("Edit", key="what_add", on_click=_add, icon=":material/edit:", type="primary",
                      args=(f"{where}{f'[{channels}]' if channels else ''}={value}",))
        self.text = "\n".join(_lines(st.text_area(
            "Edits", key="edits", bind="query-params", height=100, max_chars=4000,
            placeholder="SE_5_*=1\nSE_3_4[7,9-12]=0", help="An edit a line, or semicolons between: BLOCKS=VALUE or "
            f"BLOCKS[CHANNELS]=VALUE. A value is {HINT}; 'mean' (over a data set) or 'photo' (the other photo's "
            "gates).")))
        _remember(self.text)
        with st.container(horizontal=True):
            st.button("Undo", key="what_undo", on_click=_undo, disabled=not st.session_state["what_past"],
                      icon=":material/undo:")
            st.button("Reset", key="what_reset", on_click=_write, args=("",), disabled=not self.text,
                      icon=":material/restart_alt:")
        with st.expander("Whole stages"):
            self._sliders()
        self.edits, self.after = [], None
        try:
            self.edits = self._parse()
            if self.edits:
                self.after = self._looked(self.edits)
        except SENTENCES as error:
            st.error(plain(str(error)), icon=":material/error:")
        self.views = {BEFORE: self.before.view} | ({AFTER: self.after.view} if self.after else {})
        with overview:
            self._overview()
        if where in self.blocks:
            self._block(self.blocks[where])

    def _stages(self) -> list[int]:
        return list(dict.fromkeys(block.stage for block in self.blocks.values()))

    def _value(self, blocks: list[sv.AttentionBlock]) -> str:
        """What a gate is to be, as the text of an edit."""
        block = blocks[-1]
        forced = {f"all {value}": value for value in what_if.branch_values(block)} if block.branches > 1 else {}
        options = [*forced, MIXED, UNIFORM, SHUFFLED] if forced else [OFF, NUMBER, SCALED, TOP, SHUFFLED]
        if any(what_if.removals(each) != what_if.removals(block) for each in blocks):
            options = [SCALED, SHUFFLED]
        options += [MEAN] * (self.statistics is not None) + [PHOTO] * (self.other is not None)
        kind = st.selectbox("Set to", options, key="what_kind", width=260)
        if kind in forced:
            return forced[kind]
        if kind == NUMBER:
            return f"{st.slider('Number', 0.0, 1.0, 0.5, 0.01, key='what_number', width=200):g}"
        if kind == SCALED:
            return f"*{st.slider('Factor', 0.0, 2.0, 0.5, 0.05, key='what_factor', width=200):g}"
        if kind == TOP:
            most = min(each.channels for each in blocks)
            if int(st.session_state.get("what_top") or 1) > most:
                st.session_state.pop("what_top")
            return f"top {int(st.number_input('Channels kept', 1, most, min(8, most), key='what_top', width=140))}"
        if kind == MIXED:
            last = st.slider(f"Weight of {tables.kernel_name(block, -1)}", 0.0, 1.0, 0.5, 0.05, key="what_mix",
                             width=200)
            rest = (1 - last) / (block.branches - 1)
            return f"mix {' '.join(f'{share:g}' for share in [*[round(rest, 4)] * (block.branches - 1), last])}"
        return {OFF: what_if.removals(block)[0], UNIFORM: "uniform", SHUFFLED: "shuffle channels", MEAN: "mean",
                PHOTO: "photo"}[kind]

    def _sliders(self) -> None:
        """A slider a stage that writes one line of the text, and stands where that line says."""
        with st.container(horizontal=True):
            for stage in self._stages():
                block, *others = [block for block in self.blocks.values() if block.stage == stage]
                if block.branches > 2 or any(what_if.removals(each) != what_if.removals(block) for each in others):
                    continue
                steps = {OWN: None} | (
                    {f"{share / 10:g}": f"mix {1 - share / 10:g} {share / 10:g}" for share in range(11)}
                    if block.branches == 2 else {f"×{tenth / 10:g}": f"*{tenth / 10:g}" for tenth in range(21)})
                key, said = f"what_stage_{stage}", re.findall(rf"^stage {stage}=(.+)$", self.text, re.MULTILINE)
                st.session_state[key] = next((step for step, value in steps.items() if said and value == said[-1]), OWN)
                what = f"Weight of {tables.kernel_name(block, -1)} in" if block.branches == 2 else "Gates of"
                st.select_slider(f"{what} stage {stage}", list(steps), key=key, width=260,
                                 on_change=_slide, args=(stage, key, steps))

    def _parse(self) -> list[sv.Edit]:
        values = {}
        for word, missing in (("mean", self.statistics is None), ("photo", self.other is None)):
            if not re.search(rf"=\s*{word}$", self.text, re.MULTILINE):
                continue
            if missing:
                raise ValueError({
                    "mean": f"There are no statistics of {self.model.name} here, so that 'mean' has no value: collect "
                            f"some with python -m senet_viz collect.",
                    "photo": "There is no other photo here, so that 'photo' has no value: choose a second one."}[word])
            values[word] = ({block.name: self.statistics.overall_mean(block) for block in self.statistics.blocks}
                            if word == "mean" else self.looked[self.other.name].view.gates)
        return sv.parse_edits(self.text, **values)

    def _sources(self) -> tuple[str, str]:
        """Where 'mean' and 'photo' come from, "" where they are not used."""
        used = {edit.text for edit in self.edits}
        path = ""
        if "mean" in used:
            path = self.statistics.path
            path = str(path.relative_to(APP) if path.is_relative_to(APP) else path)
        return path, self.other.path if "photo" in used else ""

    def _looked(self, edits: list[sv.Edit]) -> Looked:
        used = {edit.text for edit in edits}
        sources = (str(self.statistics.path), last_written(self.statistics.path)) if "mean" in used else ()
        sources += (self.other.digest,) if "photo" in used else ()
        self.key = f"{self.loaded.key} {self.text} {sources}"
        return _look(self.loaded.key, self.picture.digest, self.text, sources, self.model, self.picture.data, edits)

    def _script(self, ending: str) -> str:
        return scripts.of_block(self.loaded.code, self.picture.path, "tables, what_if", ending)

    def _both(self, ending: str, *, arguments: str = "") -> str:
        """A script with the views as they are and edited, where there are edits."""
        more = f", {arguments}" if arguments else ""
        lines = [f"views = {{{BEFORE!r}: sv.inspect(model, batch{more})}}"]
        if self.after:
            lines += [scripts.edits(self.text, *self._sources()),
                      f"views[{AFTER!r}] = sv.inspect(model, batch{more}, edits=edits)"]
        return self._script("\n".join([*lines, ending]))

    def _overview(self) -> None:
        def pick() -> None:
            points = st.session_state["what_overview_figure"].selection.points
            if points and points[0].get("x") in self.blocks:
                st.session_state["what_where"] = points[0]["x"]

        table = tables.summary(self.views)
        kernel = next((tables.kernel_name(block, -1) for block in self.blocks.values() if block.branches > 1), "")
        what = f"weight of the {kernel} branch in" if kernel else "gate of"
        text = (f"The {what} every block over its channels, {BEFORE}" + f" and {AFTER}" * bool(self.after)
                + f": boxes over the quartiles, whiskers from the 5th to the 95th percentile, a dot at the mean. Click "
                  f"a dot to choose its block. *{self.source}.*")
        show(Section("Gates before and after", text, figures.all_blocks(table), table,
                            self._both("result = tables.summary(views)")), "what_overview", on_select=pick)

    def _block(self, block: sv.AttentionBlock) -> None:
        values = ["0", "1"] if block.branches == 1 else what_if.branch_values(block)
        value = st.segmented_control(f"A click on a channel of {block.label} sets it to", values, default=values[0],
                                     required=True, key=f"what_click_{len(values)}_{values[0]}")

        def pick() -> None:
            points = st.session_state["what_block_figure"].selection.points
            if points and (picked := points[0].get("customdata")) is not None:
                channel = int(picked[0] if isinstance(picked, (list, tuple)) else picked)
                _add(f"{block.label}[{channel}]={value}")

        table = figures.last_branch(tables.gates(self.views, block).assign(block=block.name)).drop(columns="block")
        name = tables.kernel_name(block, -1)
        quantity = f"weight of {name}" if name else "gate"
        means = table.groupby("picture", sort=False)["value"].mean()
        text = (f"The {quantity} in **{block.label}**, channel by channel; its mean is "
                + ", ".join(f"{mean:.3f} {picture}" for picture, mean in means.items()) + f". *{self.source}.*")
        ending = (f"{scripts.find_block(block.label)}\ntable = tables.gates(views, block)\n"
                  f"result = table[table['branch'] == {block.branches - 1}]")
        show(Section(f"{block.label}, before and after", text,
                            figures.excitation(table, block.label, quantity=quantity), table, self._both(ending)),
                    "what_block", on_select=pick)

    # what an edit does

    def changes(self) -> None:
        """Predictions, Grad-CAM and later gates, before and after."""
        st.header("What the edits change", anchor="changes")
        label = self.model.class_labels[self.target]
        looked = {BEFORE: self.before} | ({AFTER: self.after} if self.after else {})
        for column, (name, each) in zip(st.columns(len(looked)), looked.items()):
            rows = tables.predictions({name: each.view}, self.model.class_labels)
            with column, st.container(horizontal=True):
                st.image(each.seen, caption=name, width=180, alt=f"{self.picture.name} as the network saw it, {name}; "
                                                                 f"top class {rows['class'].iloc[0]}")
                st.dataframe(rows[["class", "probability"]], hide_index=True, height="content", width=280,
                             column_config={"probability": st.column_config.ProgressColumn(
                                 format="percent", min_value=0.0, max_value=1.0)},
                             alt=f"{name}: " + "; ".join(f"{c} {p:.0%}" for c, p in zip(rows["class"],
                                                                                      rows["probability"])))
        if self.after is None and self.text:  # what is wrong with them is said above
            return
        if self.after is None:
            st.info("There are no edits: make one above to see what it does.", icon=":material/edit:")
            return
        before, after = self.before.view, self.after.view
        table = what_if.changes(before, after, self.model.class_labels, self.target)
        pair = f"views[{BEFORE!r}], views[{AFTER!r}]"
        show(Section(
            "What the edits change", f"{what_if.describe_change(table, label)} *{self.source}.*", None, table,
            self._both(f"result = what_if.changes({pair}, model.class_labels, {self.target})")),
            "what_changes", headings=HEADINGS)
        self._cams(label)
        st.subheader("How far it travels", anchor="travel")
        table = what_if.travel(before, after, self.edits)
        text = ("An edit changes the maps that later blocks squeeze, and so their gates. "
                f"{what_if.describe_travel(table)} *{self.source}.*")
        show(Section("How far the edits travel", text, figures.edit_travel(table), table,
                            self._both(f"result = what_if.travel({pair}, edits)")), "what_travel")

    def _cams(self, label: str) -> None:
        st.subheader("Where it looks", anchor="cams")
        stages = self.model.stages
        if not stages:
            st.info(NO_STAGES)
            return
        cams = {}
        for name, key, each in ((BEFORE, self.loaded.key, self.before), (AFTER, self.key, self.after)):
            found, _ = explain(key, self.picture.digest, self.target, each.view)
            cams[name] = {stage: found[layer] for stage, layer in stages.items()}
        figure = figures.cam_grid(dict.fromkeys(cams, self.before.seen), cams, classes=dict.fromkeys(cams, label))
        text = (f"Grad-CAM of **{plain(label)}** at the end of each stage, each map from 0 to its own maximum. "
                f"*{self.source}.*")
        ending = (f"layers = {stages!r}\nresult = tables.cells({{name: {{stage: view.cams[layer][0, 0].cpu().numpy() "
                  "for stage, layer in layers.items()}\n                       for name, view in views.items()})")
        show(Section("Grad-CAM before and after", text, figure, tables.cells(cams), self._both(
            ending, arguments=f"targets=[{self.target}], layers={list(stages.values())!r}")), "what_cams")

    # experiments without the edits

    @st.fragment
    def matter(self) -> None:
        """Each block and each stage off in turn."""
        st.header("Which blocks matter", anchor="blocks")
        clear("what_blocks", "what_stages")
        try:
            blocks, stages = _blocks(self.loaded.key, self.picture.digest, self.target, self.model, self.picture.data)
        except SENTENCES as error:
            st.error(plain(str(error)), icon=":material/error:")
            return
        quantity = self._quantity("what_blocks_of")
        text = "Without the edits above: each block off in turn, the others as they are. "
        if any(block.branches == 1 for block in self.blocks.values()):
            text += ("A gate of 1 takes away the choice between channels and how much the gate scales the map; the "
                     "mean of the photo's own gate, in each channel, takes away the choice alone. ")
        if any(block.branches > 1 for block in self.blocks.values()):
            text += ("A unit that weighs branches cannot be off, for a weight of 1 for each would add them up: it is "
                     "forced to each branch, and to all alike. ")
        text += f"≠ marks where another class is the most probable. {what_if.describe_effects(blocks)} *{self.source}.*"
        show(Section("Which blocks matter", text, figures.edit_effects(blocks, quantity=quantity), blocks,
                            self._script(f"result = what_if.each_block(model, batch, {self.target})")), "what_blocks")
        st.subheader("Whole stages", anchor="stages")
        quantity = self._quantity("what_stages_of", PROBABILITY)
        show(Section("Which stages matter", f"{what_if.describe_effects(stages)} *{self.source}.*",
                            figures.edit_effects(stages, quantity=quantity, title="blocks that are off"), stages,
                            self._script(f"result = what_if.each_stage(model, batch, {self.target})")), "what_stages")

    def _quantity(self, key: str, default: str = LOGIT) -> str:
        chosen = st.segmented_control("Change of the", [LOGIT, PROBABILITY], default=default, required=True, key=key,
                                      bind="query-params")
        return "change" if chosen == LOGIT else "probability_change"

    @st.fragment
    def channels(self) -> None:
        """The most excited channels of a block, one at a time."""
        st.header("Which channels matter", anchor="channels")
        clear("what_channels")
        with st.container(horizontal=True):
            label = st.selectbox("Block", list(self.blocks), index=len(self.blocks) - 1, key="what_channels_block",
                                 bind="query-params", width=160)
            top = st.slider("Most excited channels", 4, 32, 16, key="what_channels_top", bind="query-params", width=200)
            quantity = self._quantity("what_channels_of")
        try:
            table = _channels(self.loaded.key, self.picture.digest, label, self.target, top, self.model,
                              self.picture.data)
        except SENTENCES as error:
            st.error(plain(str(error)), icon=":material/error:")
            return
        block = self.blocks[label]
        of = f" by the weight of {tables.kernel_name(block, -1)}" if block.branches > 1 else ""
        text = (f"The {table['channel'].nunique()} most excited of {block.channels} channels in **{label}**{of}, the "
                f"most excited first. {what_if.describe_effects(table)} *{self.source}.*")
        figure = figures.edit_effects(table, quantity=quantity, by="channel",
                                      title=f"channels of {label}, the most excited first")
        show(Section(f"Which channels of {label} matter", text, figure, table, self._script(
            f"result = what_if.each_channel(model, batch, {label!r}, {self.target}, {top})")), "what_channels")

    @st.fragment
    def swap(self) -> None:
        """Another photo's gates."""
        st.header("Another photo's gates", anchor="swap")
        clear("what_swap")
        if self.other is None:
            st.info("Choose two photos or more to swap their gates.")
            return
        try:
            table = _swap(self.loaded.key, self.picture.digest, self.other.digest, self.model, self.picture.data,
                          self.other.data)
        except SENTENCES as error:
            st.error(plain(str(error)), icon=":material/error:")
            return
        text = (f"The gates of {plain(self.other.name)} put into {plain(self.picture.name)}, block by block and all at "
                f"once. {what_if.describe_swap(table, self.picture.name, self.other.name)} *{self.source}.*")
        figure = figures.edit_effects(table, quantity=self._quantity("what_swap_of"), group="of",
                                      title="blocks with the other photo's gates")
        show(Section(
            "Another photo's gates", text, figure, table, self._script(
                f"other = model.batch([sv.open_image({self.other.path!r})])\n"
                "result = what_if.swap(model, batch, other)")), "what_swap")

    @st.fragment
    def sizes(self) -> None:
        """Forced kernels over the object's size."""
        if not any(block.branches > 1 for block in self.blocks.values()):
            return
        st.header("Forced kernels and the object's size", anchor="sizes")
        clear("what_sizes")
        try:
            table = _sizes(self.loaded.key, self.picture.digest, self.target, self.model, self.picture.data)
        except SENTENCES as error:
            st.error(plain(str(error)), icon=":material/error:")
            return
        text = (f"The photo's centre enlarged and shrunk, as on the Kernels page, with all units forced to one kernel. "
                f"{what_if.describe_sizes(table)} *{self.source}.*")
        show(Section("Forced kernels and the object's size", text, figures.forced_sizes(table), table,
                            self._script(f"image = sv.open_image({self.picture.path!r})\n"
                                         f"result = what_if.forced_sizes(model, image, {self.target})")), "what_sizes")

    def over_data(self) -> None:
        """What edits do to the accuracy over a data set, where that was evaluated for this model."""
        own = weights_of(self.loaded.key, self.model)
        path, table = next(((path, table) for path, table in _evaluations() if table.attrs["weights"] == own),
                           (None, None))
        if table is None:
            return
        st.header("Over a data set", anchor="data-set")
        text = (f"One photo is one photo. {what_if.describe_evaluation(table)} "
                f"*{plain(self.model.name)} on {plain(table.attrs['data'])}.*")
        show(Section("Over a data set", text, figures.evaluated(table), table, (
            "from senet_viz.statistics import open_evaluation\n\n"
            f"result = open_evaluation({str(path.relative_to(APP))!r})\nprint(result)\n")),
            "what_data", headings=OF_DATA)


def _evaluations() -> list[tuple[Path, pd.DataFrame]]:
    """The embedded ones, as ``python -m senet_viz evaluate`` wrote them; what cannot be opened is said."""
    found = []
    for path in sorted(EVALUATIONS.glob("*/")):
        try:
            found.append((path, open_evaluation(path)))
        except SENTENCES as error:
            st.error(plain(str(error)), icon=":material/error:")
    return found


# the text of the edits


def _write(text: str) -> None:
    st.session_state["edits"] = text


def _lines(text: str) -> list[str]:
    return [line.strip() for line in re.split(r"[;\n]", text) if line.strip()]


def _add(line: str) -> None:
    _write("\n".join([*_lines(st.session_state.get("edits", "")), line]))


def _slide(stage: int, key: str, steps: dict[str, str | None]) -> None:
    kept = [line for line in _lines(st.session_state.get("edits", "")) if not line.startswith(f"stage {stage}=")]
    value = steps[st.session_state[key]]
    _write("\n".join([*kept, *([f"stage {stage}={value}"] if value else [])]))


def _remember(text: str) -> None:
    past, last = st.session_state.setdefault("what_past", []), st.session_state.get("what_last", text)
    if text != last:
        past.append(last)
        del past[:-100]
    st.session_state["what_last"] = text


def _undo() -> None:
    if st.session_state["what_past"]:
        st.session_state["what_last"] = st.session_state["what_past"].pop()
        _write(st.session_state["what_last"])


main()
