"""Explore: what the channel attention of one network does with a few pictures, beside where the network looks."""
from pathlib import Path

import pandas as pd
import streamlit as st

from pages.parts.choices import choose_class
from pages.parts.model import Loaded, loaded_model
from pages.parts.pictures import NO_STAGES, Inspected, Picture, choose_pictures, explain, inspect_all
from pages.parts.sections import clear, downloads, heading, show
from pages.parts.sentences import SENTENCES
from senet_viz import figures, tables
from senet_viz.experiments import attribution
from senet_viz.reports import scripts
from senet_viz.reports.html import Section
from senet_viz.reports.text import plain

TOP_CLASS = "each picture's own top class"
BY_INDEX, BY_VALUE, BY_DIFFERENCE = "channel index", "value in the first picture", "difference of the two pictures"

CAMS = ("Each map runs from 0 to its own maximum, so that brightness cannot be compared between panels; the values are "
        "under the pointer.")
CHANGE = ("A Grad-CAM taken before a gate and one after it nearly coincide, because both gradients run through the "
          "gate. Here the channel weights α are those at the block's output for both maps, so that what differs is the "
          "gate. The first two show the positive part, on one colour scale a picture; the difference beside them, and "
          "the figures on this page, are those of the signed maps.")


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
    downloads(f"Channel attention of {loaded.model.name}", {"Pictures": ", ".join(page.names)},
                     f"{Path(loaded.model.name).stem}_report")


class Page:
    """The parts of the page for one model and its pictures."""

    def __init__(self, loaded: Loaded, pictures: list[Picture], results: dict[str, Inspected]):
        self.loaded, self.model = loaded, loaded.model
        self.pictures, self.results = pictures, results
        self.names = [picture.name for picture in pictures]
        self.views = {name: results[name].view for name in self.names}
        self.seen = {name: results[name].seen for name in self.names}
        self.paths = {picture.name: picture.path for picture in pictures}
        self.blocks = {block.label: block for block in self.model.blocks}
        note = self.model.info.get("Note")
        self.source = plain(f"{self.model.name}{f' ({note})' if note else ''}, {len(pictures)} picture"
                            + "s" * (len(pictures) > 1))

    def script(self, ending: str, **more) -> str:
        return scripts.script(self.loaded.code, self.paths, ending, **more)

    def predictions(self) -> None:
        height, width = self.model.input_size
        heading("Predictions", "predictions",
                f"The pictures as the network saw them, cropped and resized to {width}×{height} pixels, and its five "
                f"most probable of {len(self.model.classes):,} classes. *{self.source}.*")
        table = tables.predictions(self.views, self.model.classes)
        with st.container(horizontal=True, gap="medium"):
            for name in self.names:
                rows = table[table["picture"] == name]
                shown = rows.assign(**{"class": [self.model.class_labels[index] for index in rows["index"]]})
                with st.container(width=270):  # as many beside each other as the window takes
                    st.image(self.seen[name], caption=plain(name), width=180,
                             alt=f"{name} as the network saw it; top class {rows['class'].iloc[0]}")
                    st.dataframe(
                        shown[["class", "probability"]], hide_index=True, height="content",
                        column_config={
                            "class": st.column_config.TextColumn(width=150),
                            "probability": st.column_config.ProgressColumn(
                                "probability", format="percent", min_value=0.0, max_value=1.0, width=110)},
                        alt="; ".join(f"{c} {p:.0%}" for c, p in zip(rows["class"], rows["probability"])))
        show(Section("Predictions", f"The pictures as the network saw them. {self.source}.", table=table,
                            pictures=list(self.seen.items()), script=self.script(scripts.PREDICTIONS)),
                    "predictions", text=False)

    def all_blocks(self) -> None:
        table = tables.summary(self.views)
        means = figures.last_branch(table).groupby("label", sort=False)[["std", "below", "above"]].mean()
        widest, saturated = means["std"].idxmax(), means["below"] + means["above"]
        limits = "saturated (below .05 or above .95)"
        saturation = (f"most {limits} is **{saturated.idxmax()}** with {saturated.max():.1%} of its channels"
                      if saturated.max() > 0 else f"no channel is {limits}")
        weighs = [block for block in self.model.blocks if block.branches > 1]
        what = f"weight of the {tables.kernel_name(weighs[-1], -1)} branch" if weighs else "gate"
        lead = f"How the {what} of every attention block is distributed over its channels."
        more = "Boxes run from the 25th to the 75th percentile, whiskers from the 5th to the 95th; a dot is the mean."
        found = (f"On average over these pictures it spreads most in **{widest}** (standard deviation "
                 f"{means['std'][widest]:.2f}); {saturation}. *{self.source}.*")
        heading("All blocks at a glance", "blocks", lead, more)
        st.markdown(found)
        text = f"{lead} {more} {found}"
        show(Section("All blocks at a glance", text, figures.all_blocks(table), table,
                     self.script(scripts.SUMMARY)), "all_blocks", text=False)

    @st.fragment
    def one_block(self) -> None:
        heading("One block, channel by channel", "block", "The excitation vector, as in the SE paper's Fig. 6. Click a "
                "channel to open it below.")
        with st.container(horizontal=True):
            label = st.selectbox("Block", list(self.blocks), index=len(self.blocks) - 1, key="block",
                                 bind="query-params", width=160)
            block = self.blocks[label]
            quantity = self._quantity(block)
            every = st.segmented_control(
                "Channels", ["every s-th", "all"], default="every s-th", required=True, key="channels",
                bind="query-params",
                help="The SE paper's Fig. 6 shows every s-th channel, s = ⌈C/50⌉.")
            order_by = st.selectbox("Order by", [BY_INDEX, BY_VALUE, BY_DIFFERENCE], key="order", bind="query-params",
                                    width=280)
        first, second = self._pair()
        gates = self._values(block, quantity)
        channels = tables.sampled_channels(block.channels) if every == "every s-th" else range(block.channels)
        wide = gates.pivot(index="channel", columns="picture", values="value").loc[list(channels)]
        if order_by == BY_VALUE:
            order = wide[first].sort_values(ascending=False, kind="stable").index
        elif order_by == BY_DIFFERENCE and second != first:
            order = (wide[second] - wide[first]).sort_values(ascending=False, kind="stable").index
        else:
            order = wide.index
        name = quantity if block.branches > 1 else "gate"
        spread = wide.std(axis=1, ddof=0).mean() if len(self.names) > 1 else None
        text = f"{len(order)} of {block.channels} channels of **{label}** (`{block.name}`, {block.kind})."
        if spread is not None:
            across = wide.std(axis=0, ddof=0).mean()
            text += (f" Between pictures a channel's value varies by {spread:.3f} (standard deviation, mean over "
                     f"channels), between channels of one picture by {across:.3f}.")
        text += f" *{self.source}.*"
        figure = figures.excitation(gates, label, order=order, quantity=name,
                                    bounds=(-1.0, 1.0) if "−" in name else (0.0, 1.0))
        table, ending = tables.gates(self.views, block), scripts.gates(label)
        if "−" in quantity:
            table = gates.sort_values(["picture", "channel"], ignore_index=True)
            ending = scripts.kernel_difference(label)
        show(Section(f"{label}, channel by channel", text, figure, table, self.script(ending)), "excitation",
                    on_select=self._pick)
        self._channel(block)

    def _quantity(self, block) -> str:
        if block.branches == 1:
            return "gate"
        kernels = [tables.kernel_name(block, m) for m in range(block.branches)]
        difference = f"{kernels[-1]} − {kernels[0]}"
        options = [f"weight of {kernel}" for kernel in kernels] + [difference]
        return st.selectbox("Value", options, index=block.branches - 1, key="quantity", bind="query-params", width=180)

    def _values(self, block, quantity: str) -> pd.DataFrame:
        gates = tables.gates(self.views, block)
        if block.branches == 1:
            return gates
        if "−" not in quantity:
            return gates[gates["kernel"] == quantity.removeprefix("weight of ")]
        wide = gates.pivot(index=["picture", "channel"], columns="branch", values="value")
        difference = (wide[block.branches - 1] - wide[0]).rename("value").reset_index()
        # pivot sorts pictures by name; the colours follow the order on the page
        return difference.sort_values("picture", key=lambda column: column.map(self.names.index), kind="stable",
                                      ignore_index=True)

    def _pair(self) -> tuple[str, str]:
        if len(self.names) == 1:
            return self.names[0], self.names[0]
        with st.container(horizontal=True):
            first = st.selectbox("First picture", self.names, key="first", bind="query-params", width=260)
            second = st.selectbox("Second picture", self.names, index=1, key="second", bind="query-params", width=260)
        return first, second

    @staticmethod
    def _pick() -> None:
        points = st.session_state["excitation_figure"].selection.points
        if points:
            picked = points[0].get("customdata")
            st.session_state["channel"] = int(picked[0] if isinstance(picked, (list, tuple)) else picked)

    def _channel(self, block) -> None:
        # a link or a narrower block may leave a channel that this block lacks
        st.session_state["channel"] = min(max(int(st.session_state.get("channel") or 0), 0), block.channels - 1)
        heading("One channel over the pictures", "channel", "Its feature map before and after the gate; beside each "
                "name its gate, and its rank in the block.", part=True)
        with st.container(horizontal=True):
            channel = st.number_input("Channel", 0, block.channels - 1, key="channel", bind="query-params", width=160)
            smooth = st.toggle("Smooth", key="channel_smooth", bind="query-params",
                               help="Interpolate between cells; off shows the map's own cells.")
        branches = range(block.branches)
        ranks = pd.concat([tables.channel_ranks(self.views, block, channel, m).assign(
            kernel=tables.kernel_name(block, m)) for m in branches], ignore_index=True)
        captions, maps = {}, {}
        for name in self.names:
            rows = ranks[ranks["picture"] == name]
            captions[name] = ", ".join(f"{f'{k} ' if k else ''}{v:.3f} (#{r})" for k, v, r in zip(
                rows["kernel"], rows["value"], rows["rank"]))
            maps[name] = tables.channel_maps(self.views[name], block, channel)
        titles = ([*(f"{tables.kernel_name(block, m)} branch" for m in branches), "selected sum"] if len(branches) > 1
                  else ["before the gate", "after the gate"])
        text = (f"Channel {channel} of {block.label}, its gate and rank among {block.channels} channels beside each "
                f"picture. One colour scale a picture, around 0 where a map has negative values.")
        figure = figures.channel_maps(self.seen, maps, titles, label=block.label, channel=channel, captions=captions,
                                      smooth=smooth)
        show(Section(
            f"Channel {channel} of {block.label}", text, figure,
            tables.cells({name: dict(zip(titles, maps[name])) for name in self.names}),
            self.script(scripts.channel_maps(block.label, channel, titles), inspect=scripts.CONTRIBUTION_FEATURES,
                        imports=scripts.CONTRIBUTION_IMPORT)), "channel_maps")

    @st.fragment
    def differences(self) -> None:
        heading("Channels that differ most", "differences", "Gate values of two pictures, over all blocks.")
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
            return
        table = tables.differences(self.views[first], self.views[second], top)
        if not table["difference"].any():
            st.info("The gates of the two pictures are equal in every block.")
            return
        text = (f"The {len(table)} gate values, over all blocks, that differ most from {plain(first)} to "
                f"{plain(second)}. The largest difference is {table['difference'][0]:+.3f} in {table['label'][0]}.")
        show(Section("Channels that differ most", text, None, table,
                            self.script(scripts.differences(first, second, top))), "differences",
                    headings={"first": first, "second": second})

    def kernels(self) -> None:
        table = tables.kernel_preference(self.views)
        means = table.groupby("label", sort=False)["difference"].mean()
        lead = (f"Which kernel each unit prefers: above 0 it is the larger one, {table['largest'].iloc[0]}.")
        more = "For each unit the mean over channels of the largest kernel's weight minus the smallest's."
        found = (f"On average over these pictures the larger kernel is preferred in {int((means > 0).sum())} of "
                 f"{len(means)} units; the difference is highest in **{means.idxmax()}** ({means.max():+.3f}) and "
                 f"lowest in **{means.idxmin()}** ({means.min():+.3f}). *{self.source}.*")
        heading("Kernel choice", "kernels", lead, more)
        st.markdown(found)
        if any(block.split_input for block in self.model.blocks):
            st.warning("The branches of this network see different halves of the input channels, so that its choice of "
                       "kernel cannot be told from a choice of channels.")
        show(Section("Kernel choice", f"{lead} {more} {found}", figures.kernel_preference(table), table,
                     self.script(scripts.KERNELS)), "kernels", text=False)

    @st.fragment
    def grad_cam(self) -> None:
        heading("Where the network looks", "grad-cam", "Grad-CAM at the end of each stage, for one class or each "
                "picture's own.", CAMS)
        clear("grad_cam", "gate_change", "opinion")
        top = tables.predictions(self.views, self.model.class_labels)["class"].drop_duplicates().tolist()
        try:
            with st.container(horizontal=True):
                with st.container(width=320):
                    chosen = choose_class(self.model, "class", TOP_CLASS, first=top,
                                          about="The pictures' top five come first.")
                opacity = st.slider("Opacity", 0.0, 1.0, 0.5, 0.05, key="opacity", bind="query-params", width=180)
                smooth = st.toggle("Smooth", value=True, key="smooth", bind="query-params",
                                   help="Interpolate between cells; off shows the map's own cells.")
            targets = {name: int(self.views[name].logits[0].argmax()) if chosen is None else chosen
                       for name in self.names}
        except ValueError as error:
            st.error(plain(str(error)), icon=":material/error:")
            return
        explained = {picture.name: explain(self.loaded.key, picture.digest, targets[picture.name],
                                                  self.views[picture.name]) for picture in self.pictures}
        self._cams(targets, explained, opacity, smooth)
        self._gate_change(targets, explained, opacity, smooth)
        self._second_opinion(targets, opacity)

    def _cams(self, targets, explained, opacity: float, smooth: bool) -> None:
        stages, labels = self.model.stages, self.model.class_labels
        if not stages:
            st.info(NO_STAGES)
            return
        cams = {name: {stage: explained[name][0][layer] for stage, layer in stages.items()} for name in self.names}
        st.markdown(f"*{self.source}.*")
        text = f"Grad-CAM at the end of each stage. {CAMS} *{self.source}.*"
        ending, arguments = scripts.cams(stages, targets)
        figure = figures.cam_grid(self.seen, cams, classes={n: labels[t] for n, t in targets.items()}, opacity=opacity,
                                  smooth=smooth)
        show(Section("Where the network looks: Grad-CAM", text, figure, tables.cells(cams),
                            self.script(ending, inspect=arguments)), "grad_cam", text=False)

    def _gate_change(self, targets, explained, opacity: float, smooth: bool) -> None:
        heading("What the gate itself changed", "gate-change", "The class's evidence without and with one gate, and "
                "the difference.", CHANGE, part=True)
        labels = [label for label, block in self.blocks.items() if block.has_output]
        if not labels:
            st.info("In this network no module gives what the gates leave, so there is no point at which to weigh it.")
            return
        label = st.selectbox("At block", labels, index=len(labels) - 1, key="change", bind="query-params", width=160)
        block = self.blocks[label]
        names = (("uniform weights, Σ α·U/M", "selected, Σ α·V") if block.branches > 1
                 else ("gate left out, Σ α·U", "gated, Σ α·s·U"))
        maps = {}
        for name in self.names:
            weights = explained[name][1][block.name, "output"].to(self.views[name].logits.device)
            maps[name] = tables.gate_change(self.views[name], block, weights)
        found = ""
        relations = pd.DataFrame([tables.change_of_form(*pair) for pair in maps.values()], columns=["scale", "cosine"])
        if relations["cosine"].notna().any():
            low, high = relations.min(), relations.max()
            found = (f"At **{label}** the second map has {low['scale']:.2f} to {high['scale']:.2f} of the first "
                     f"one's norm and a cosine of {low['cosine']:.3f} to {high['cosine']:.3f} with it (1 would mean "
                     f"that the gate only scales).")
            st.markdown(found)
        ending, arguments = scripts.gate_change(label, targets, names)
        figure = figures.gate_change(
            self.seen, {n: m[0] for n, m in maps.items()}, {n: m[1] for n, m in maps.items()}, label, names=names,
            opacity=opacity, smooth=smooth)
        table = tables.cells({name: dict(zip(names, pair)) for name, pair in maps.items()})
        show(Section(f"What the gate itself changed at {label}", f"{CHANGE} {found}".strip(), figure, table,
                            self.script(ending, inspect=arguments, imports=scripts.CONTRIBUTION_IMPORT)), "gate_change",
             text=False)

    def _second_opinion(self, targets, opacity: float) -> None:
        heading("A second opinion", "second-opinion", "Captum's occlusion or integrated gradients look at pixels "
                "instead of feature maps. They need many forward passes and run only when asked.", part=True)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            name = st.selectbox("Picture", self.names, key="opinion_picture", width=260)
            method = st.segmented_control("Method", attribution.METHODS, default=attribution.METHODS[0], required=True,
                                          key="opinion_method")
            run = st.button("Run", icon=":material/play_arrow:", key="opinion_run")
        key = (self.loaded.key, self._digest(name), targets[name], method)
        results = st.session_state.setdefault("opinions", {})
        if run and key not in results:
            bar = st.progress(0.0, f"{method.capitalize()} of {name}")
            try:
                values = attribution.attribute(
                    self.model, self.results[name].tensor, targets[name], method,
                    progress=lambda share: bar.progress(share, f"{method.capitalize()} of {name}"))
                if len(results) >= 16:
                    results.pop(next(iter(results)))
                results[key] = values.cpu().numpy()
            except SENTENCES as error:
                st.error(plain(str(error)), icon=":material/error:")
            bar.empty()
        if key in results:
            label = self.model.class_labels[targets[name]]
            title = f"{method}, {label}"
            text = (f"{method.capitalize()}, {plain(label)}, for {plain(name)}: red speaks for the class, blue against "
                    f"it.")
            figure = figures.signed_map(self.seen[name], results[key], name, title, opacity=opacity)
            table = tables.cells({name: {method: results[key]}})
            script = self.script(scripts.opinion(name, targets[name], method), imports=scripts.ATTRIBUTE_IMPORT)
            show(Section("A second opinion", text, figure, table, script), "opinion")

    def _digest(self, name: str) -> str:
        return next(picture.digest for picture in self.pictures if picture.name == name)

    def contribution(self) -> None:
        table = tables.contributions(self.views)
        means = figures.last_branch(table).groupby("label", sort=False)[["gate", "share"]].mean()
        lead = "A gate is not a contribution: how much the gated maps weigh in the sum that they enter."
        if means["share"].isna().all():
            lead = "A gate is not a contribution: here no addition follows a gate; what it leaves of its input's norm."
        more = ("Scales after a gate can undo it, and a channel of small norm stays small however open its gate. Above "
                "stands the mean gate of each block, below its share.")
        found = ""
        if means.nunique().min() > 1:
            found = (f"Over the blocks the two correlate with r = {means['gate'].corr(means['share']):+.2f}; the share "
                     f"is largest in **{means['share'].idxmax()}** ({means['share'].max():.0%}) and least in "
                     f"**{means['share'].idxmin()}** ({means['share'].min():.0%}). ")
        found += f"*{self.source}.*"
        heading("Gate and contribution", "contribution", lead, more)
        st.markdown(found)
        show(Section("Gate and contribution", f"{lead} {more} {found}", figures.contribution(table), table, self.script(
            scripts.CONTRIBUTIONS, inspect=scripts.CONTRIBUTION_FEATURES,
            imports=scripts.CONTRIBUTION_IMPORT)), "contribution", text=False)


main()
