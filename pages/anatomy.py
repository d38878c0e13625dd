"""Anatomy: how an attention block works, step by step, on one picture; what else it could be, and what it costs."""

import numpy as np
import streamlit as st

import senet_viz as sv
from pages.parts import ablations
from pages.parts.archives import last_written, statistics_of
from pages.parts.keeping import kept
from pages.parts.model import Loaded, loaded_model
from pages.parts.pictures import SAMPLES, Picture, choose_one, choose_pictures
from pages.parts.published import HEADINGS, published
from pages.parts.sections import clear, clicked_number, downloads, heading, keep, show
from pages.parts.sentences import SENTENCES, in_a_sentence, lacking
from senet_viz import figures
from senet_viz.data.places import APP
from senet_viz.experiments import anatomy, cost, variants
from senet_viz.reports import scripts
from senet_viz.reports.html import Section
from senet_viz.reports.text import file_name, plain
from senet_viz.statistics.directions import mark

EXAMPLES = {1: "demo/se_resnet50_slim", 2: "demo/sknet50_slim"}  # a model with gates, and one that weighs branches
NUMBER, PERCENT = st.column_config.NumberColumn, {"format": "percent"}
EFFECTS = {
    "group": None, **{name: NUMBER(title, format="%.2f", help=(
        "Of the variant's gate with the block's own across this photo and the sample pictures, channel by channel: "
        "median and quartiles over the channels. Empty where it was not computed or a gate does not move."))
        for name, title in (("correlation", "correlation"), ("lower", "25 %"), ("upper", "75 %"))},
    "difference": NUMBER("|difference|", help="Mean, from the block's own gate.", format="%.4f"),
    "lowest": NUMBER(format="%.3f"),
    "mean": NUMBER(format="%.3f"), "highest": NUMBER(format="%.3f"), "class": "most probable",
    "probability": NUMBER(**PERCENT),
    "own class": NUMBER("class as it is", **PERCENT,
                        help="Probability of the class that the network as it is finds most probable.")}
OF_CLASSES = dict.fromkeys(("class", "probability", "own class"))  # not shown of a network without logits
BESIDE = {**HEADINGS, **{name: EFFECTS[name] for name in ("own class", "correlation")}}
STRIPS = (
    "From top to bottom are the block's vectors in the order in which it computes them, a colour a channel or hidden "
    "unit; strips of one kind share a colour scale. RMS is the root mean square of a channel's map over space. The "
    "formulae have the block's own sizes.")
VARIANTS = (
    "Each strip is what another gate would be for the same maps of this photo: another squeeze, other layers, another "
    "excitation, or another structure. The network was trained with its own gate, so that this shows what the parts "
    "do, and not which of them would be best.")
PHOTO = ("se_strips", "se_channel", "sk_strips", "sk_channel", "variants", "variant_effects", "variant_errors")


def main() -> None:
    """The page, top to bottom."""
    st.title("Anatomy")
    st.markdown("How does an attention block work? Squeeze, excite and scale, or split, fuse and select, with the "
                "model's own numbers for one photo; what other gates would do in their place, and what it all costs.")
    loaded = loaded_model(__file__)
    st.session_state["sections"] = dict.fromkeys(PHOTO)
    chosen = choose_picture(loaded)
    if chosen is not None:
        page = Photo(loaded, *chosen)
        page.gate()
        page.unit()
        page.variants()
    ablations.ablations()
    costs()
    downloads(f"Anatomy of {loaded.model.name}", {}, f"{file_name(loaded.model.name)}_anatomy")


def choose_picture(loaded: Loaded) -> tuple[Picture, np.ndarray] | None:
    """One of the uploads and samples, and as the network sees it."""
    pictures = choose_pictures()
    if not pictures:
        st.info("Upload a photo or choose a sample picture to see it go through a block.",
                icon=":material/add_photo_alternate:")
        return None
    picture = choose_one(pictures, "anatomy_picture")
    try:
        return picture, _seen(loaded.key, picture.digest, loaded.model, picture.data)
    except SENTENCES as error:
        st.error(f"**{plain(picture.name)}**: {plain(str(error))}", icon=":material/error:")
        return None


@kept()
@in_a_sentence
def _seen(key: str, digest: str, _model: sv.Model, _data: bytes) -> np.ndarray:
    return _model.seen(_model.transform(sv.open_image(_data)))


@kept()
@in_a_sentence
def _dissect(key: str, digest: str, label: str, _model: sv.Model, _data: bytes) -> anatomy.Anatomy:
    return anatomy.dissect(_model, _model.batch([sv.open_image(_data)]), label)


@kept("Swapping in other gates")
@in_a_sentence
def _variants(key: str, digest: str, label: str, _model: sv.Model, _data: bytes, _others: list[bytes]
              ) -> variants.Variants:
    batch, *others = (_model.batch([sv.open_image(data)]) for data in [_data, *_others])
    return variants.variants(_model, batch, label, others)


class Photo:
    """The parts of the page for one photo in one model."""

    def __init__(self, loaded: Loaded, picture: Picture, seen: np.ndarray):
        self.loaded, self.model, self.picture, self.seen = loaded, loaded.model, picture, seen
        self.statistics = statistics_of(loaded)
        note = self.model.info.get("Note")
        self.source = plain(f"{self.model.name}{f' ({note})' if note else ''}, {picture.name}")
        self.key = (loaded.key, picture.name, picture.path, picture.digest,
                    self.statistics and (str(self.statistics.path), last_written(self.statistics.path)))

    @st.fragment
    def gate(self) -> None:
        """A block that scales the channels of one map."""
        blocks = [block for block in self.model.blocks if block.branches == 1]
        heading("Squeeze, excite, scale: one SE block", "gate",
                "How one block turns each channel of this photo up or down, step by step.", STRIPS if blocks else "")
        self._block(blocks, "se", "Block", "has no block that scales channels: this part takes a "
                    "squeeze-and-excitation network.", 1)

    @st.fragment
    def unit(self) -> None:
        """A unit that weighs branches."""
        blocks = [block for block in self.model.blocks if block.branches > 1]
        heading("Split, fuse, select: one SK unit", "unit",
                "How one unit weighs its kernels for each channel of this photo, step by step.",
                STRIPS if blocks else "")
        self._block(blocks, "sk", "Unit", "has no unit that weighs branches: this part takes a selective-kernel "
                    "network.", 2)

    def _block(self, blocks: list[sv.AttentionBlock], key: str, what: str, lacks: str, kind: int) -> None:
        clear(f"{key}_strips", f"{key}_channel")
        if not blocks:
            st.info(f"{plain(self.model.name)} {lacks}", icon=":material/info:")
            st.button(f"Take {EXAMPLES[kind]}", on_click=st.session_state.update,
                      args=({"model": EXAMPLES[kind]},), key=f"take_{key}")
            return
        labels = [block.label for block in blocks]
        with st.container(horizontal=True):
            label = self._choose(what, labels, f"{key}_block")
            block = blocks[labels.index(label)]
            # a link or a narrower block may leave a channel that this block lacks
            st.session_state[f"{key}_of"] = min(
                max(int(st.session_state.get(f"{key}_of") or 0), 0), block.channels - 1)
            channel = int(st.number_input("Channel", 0, block.channels - 1, key=f"{key}_of", bind="query-params",
                                          width=160, help="Or click a channel in the strips."))
        if directions := mark(self.statistics, label):
            st.caption(directions)
        try:
            found = _dissect(self.loaded.key, self.picture.digest, label, self.model, self.picture.data)
        except SENTENCES as error:
            st.error(plain(str(error)), icon=":material/error:")
            return
        self._strips(found, key, channel)
        with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
            for line in anatomy.formulae(found):
                st.latex(line, width="content")
        show(keep((self.key, label), lambda channel: self._channel(found, channel), channel), f"{key}_channel")

    def _choose(self, what: str, labels: list[str], key: str) -> str:
        """A block; at first the last one whose gate moves in more than one direction, as far as that is known."""
        return st.selectbox(what, labels, index=labels.index(anatomy.default_block(labels, self.statistics)), key=key,
                            bind="query-params", width=160)

    def _strips(self, found: anatomy.Anatomy, key: str, channel: int) -> None:
        def pick() -> None:
            if (channel := clicked_number(f"{key}_strips")) is not None:
                st.session_state[f"{key}_of"] = channel

        show(keep((self.key, found.block.label), lambda channel: self._steps(found, channel), channel), f"{key}_strips",
             on_select=pick)

    def _steps(self, found: anatomy.Anatomy, channel: int) -> Section:
        label, table = found.block.label, anatomy.strips(found)
        text = f"{anatomy.describe(found, self.statistics)} Click a channel to see its maps. *{self.source}.*"
        return Section(f"{label} step by step", text, figures.strips(table, label, channel=channel), table,
                       self._script("anatomy", f"found = anatomy.dissect(model, batch, {label!r})\n"
                                               "result = anatomy.strips(found)"))

    def _channel(self, found: anatomy.Anatomy, channel: int) -> Section:
        block, maps = found.block, anatomy.channel_maps(found, channel)
        text, caption = anatomy.describe_channel(found, channel)
        name = self.picture.name
        figure = figures.channel_maps({name: self.seen}, {name: list(maps.values())}, list(maps), label=block.label,
                                      channel=channel, captions={name: caption})
        return Section(
            f"Channel {channel} of {block.label}", f"{text} *{self.source}.*", figure,
            anatomy.cells(found, channel),
            self._script("anatomy", f"found = anatomy.dissect(model, batch, {block.label!r})\n"
                                    f"result = anatomy.cells(found, {channel})"))

    @st.fragment
    def variants(self) -> None:
        """Other gates in the block's place."""
        heading("Other gates in its place", "variants",
                "What would a block do with another squeeze, other layers, or another excitation?", VARIANTS)
        clear("variants", "variant_effects", "variant_errors")
        label = self._choose("Block", [block.label for block in self.model.blocks], "variant_block")
        if directions := mark(self.statistics, label):
            st.caption(directions)
        others = {str(path.relative_to(APP)): data for path in sorted(SAMPLES.glob("*.jpg"))
                  if (data := path.read_bytes()) != self.picture.data}
        try:
            run = _variants(self.loaded.key, self.picture.digest, label, self.model, self.picture.data,
                            list(others.values()))
        except SENTENCES as error:
            st.error(plain(str(error)), icon=":material/error:")
            return
        key = self.key, label
        table = keep(key, lambda: variants.table(run, self.model.class_labels))
        lacking(self.model, "what another gate does to a prediction cannot be told")
        text = f"**Swapped in, not retrained.** {variants.effect(run, table)} *{self.source}.*"
        ending = (f"others = [model.batch([sv.open_image(path)]) for path in {list(others)}]\n"
                  f"run = variants.variants(model, batch, {label!r}, others)\nresult = ")

        def strips() -> Section:
            drawn = variants.strips(run)
            return Section(f"Other gates in the place of {label}", text, figures.strips(drawn, label), drawn,
                           self._script("variants", f"{ending}variants.strips(run)"))

        show(keep((key, text), strips), "variants")
        if link := ablations.link():
            st.markdown(link)
        findings = keep(key, lambda: variants.findings(run))
        st.markdown("\n".join(f"- {finding}" for finding in findings))
        with st.expander("All variants in numbers"):
            show(Section(f"What the variants of {label} do", " ".join(findings), None, table,
                         self._script("variants", f"{ending}variants.table(run, model.class_labels)")),
                 "variant_effects", text=False, headings=EFFECTS if run.logits else EFFECTS | OF_CLASSES)
        with st.expander("Published: trained with such a squeeze or excitation"):
            about = f"Beside them stands what {label} does with them here, swapped in and not retrained."
            show(Section(f"Published errors beside the variants of {label}",
                         f"{variants.published()} {about} *{self.source}.*", None,
                         keep(key, lambda: variants.beside(run, table)), self._script("variants", (
                             f"{ending}variants.beside(run, variants.table(run, model.class_labels))"))),
                 "variant_errors", headings=BESIDE if run.logits else BESIDE | {"own class": None})
            if link:
                st.markdown(link)

    def _script(self, module: str, ending: str) -> str:
        return scripts.of_block(self.loaded.code, self.picture.path, module, ending)


def costs() -> None:
    """What attention costs, and what it buys; no picture is needed."""
    heading("What it costs", "cost", "Sliders build the papers' 50-layer networks, for 1000 classes and pictures of "
            "224×224, and the costs are counted on them. The errors are those that the papers published.")
    squeeze_excite()
    selective_kernel()
    table = cost.reductions()
    text = (f"So it is often said. {cost.balance(table)} *Errors as published (SE paper, SE-ResNet-50, ImageNet, "
            f"single crop); parameters as counted here, without biases.*")
    heading("Is r = 16 the most accurate?", "ratio", text)
    _with_table(Section(
        "Is r = 16 the most accurate?", text, figures.error_against_parameters(table, source="SE paper", mark="r = 16"),
        table, scripts.of_cost("cost.reductions()")), "ratio", text=False)


@st.fragment
def squeeze_excite() -> None:
    """SE by r and width."""
    heading("Squeeze-and-excitation", "cost-se", "The larger r, the narrower the gates' hidden layers, and the fewer "
            "parameters.", part=True)
    with st.container(horizontal=True, vertical_alignment="center"):
        reduction = st.select_slider("Reduction r", [1, 2, 4, 8, 16, 32, 64], value=16, key="se_r", bind="query-params",
                                     width=260)
        width = st.select_slider("Width of the first stage", [16, 32, 64, 128], value=64, key="se_width",
                                 bind="query-params", width=260)
        bias = st.toggle("Biases", key="se_bias", bind="query-params",
                         help="The released networks have them; the paper's formula leaves them out.")
    found = cost.se_cost(reduction, width, bias)
    _metrics(found)
    st.latex(cost.formula(found, reduction))
    show(Section(
        "The cost of squeeze-and-excitation",
        f"{cost.describe(found)} {cost.published_se(reduction, width)}",
        figures.cost_by_stage(found.table), found.table,
        scripts.of_cost(f"cost.se_cost({reduction}, {width}, {bias}).table")), "se_cost")
    published("Networks without SE and with it", "se_networks", cost.se_networks, cost.describe_se_networks,
              "Errors as published (SE paper, Sec. 5.1 and 5.4: ImageNet, single crop); counted are the networks with "
              "SE and its biases, for pictures of 224×224, of 299×299 for Inception-ResNet-v2")
    published("Squeeze, excitation, stages and placement", "se_choices", cost.ablations, cost.describe_ablations,
              "Errors as published (SE paper, Sec. 6.2 to 6.5 and 7.1: SE-ResNet-50, r = 16, single crop; no squeeze "
              "is 1×1 convolutions over the whole map); counted without biases")


@st.fragment
def selective_kernel() -> None:
    """SK by M, G, r, L and width, beside the paper's networks."""
    heading("Selective kernels", "cost-sk", "What a further kernel costs, and what groups and narrow hidden layers "
            "save.", part=True)
    with st.container(horizontal=True):
        branches = st.slider("Branches M", 2, 5, 2, key="sk_m", bind="query-params", width=160)
        groups = st.select_slider("Groups G", [1, 2, 4, 8, 16, 32, 64], value=32, key="sk_g", bind="query-params",
                                  width=160)
        reduction = st.select_slider("Reduction r", [2, 4, 8, 16, 32, 64], value=16, key="sk_r", bind="query-params",
                                     width=160)
        least = st.select_slider("Least width L of z", [8, 16, 32, 64, 128], value=32, key="sk_l", bind="query-params",
                                 width=160)
        width = st.select_slider("Width of the first stage", [64, 128, 256], value=128, key="sk_width",
                                 bind="query-params", width=160)
    found = cost.sk_cost(branches, groups, reduction, least, width)
    _metrics(found)
    show(Section(
        "The cost of selective kernels",
        f"The branches beyond the first are counted as attention. {cost.describe(found)} "
        f"{cost.published_sk(branches, groups, reduction, least, width)}",
        figures.cost_by_stage(found.table), found.table,
        scripts.of_cost(f"cost.sk_cost({branches}, {groups}, {reduction}, {least}, {width}).table")), "sk_cost")
    with st.spinner("Counting the paper's networks"):
        table = cost.networks()
    text = ("The SK paper's networks; the line is at the network that the sliders make. *Top-1 errors as published (SK "
            "paper, ImageNet, 224×224); parameters and multiply-accumulates as counted here.*")
    _with_table(Section(
        "The SK paper's networks", text, figures.error_against_parameters(
            table, source="SK paper", mark="SKNet-50", at=found.parameters), table,
        scripts.of_cost("cost.networks()")), "sk_networks")
    published("SKNets and their competitors", "sk_competitors", cost.competitors, cost.describe_competitors,
              "Errors, parameters and GMACs as published (SK paper, Table 2: ImageNet, centre crop); counted for "
              "224×224, Inception-v3 (without its auxiliary head) and Inception-ResNet-v2 for 299×299")
    published("Kernels, dilation and groups", "sk_kernels", cost.kernels, cost.describe_choices,
              "Errors as published (SK paper, Sec. 4.3: SKNet-50, 224×224); 5×5 and 7×7 are 3×3 with dilation 2 and 3")


def _with_table(section: Section, key: str, **options) -> None:
    """A section whose table opens on request."""
    show(section, key, **options)
    with st.expander("The table"):
        st.dataframe(section.table, hide_index=True, column_config=HEADINGS, alt=section.text, height="content")


def _metrics(found: cost.Cost) -> None:
    with st.container(horizontal=True):
        st.metric("Parameters of attention", f"{found.attention:,}", width=180)
        st.metric("Share of the network", f"{found.share:.2%}", width=180)
        st.metric("Parameters of the network", f"{found.parameters:,}", width=180)
        st.metric("GMACs", f"{found.macs / 1e9:.3f}", delta=f"{(found.macs - found.macs_without) / 1e9:+.4f}",
                  delta_color="off", delta_arrow="off", width=180)


main()
