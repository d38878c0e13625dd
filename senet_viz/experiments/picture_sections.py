"""What a few pictures show in one network, section by section: words, figure, table, and the script of the table."""
from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from .. import figures, tables
from ..figures.maps import Panel, cam_panels, change_panels
from ..gates import AttentionBlock, View
from ..gates.answers import NO_CLASS, OTHER, SEGMENTATION, answer_of, class_map
from ..models import Model
from ..models.binary import TwoSided
from ..reports import scripts
from ..reports.html import Section
from ..reports.text import listed, plain
from .overlays import Photo, describe_photos

SPREAD = 1e-6  # the standard deviation over channels up to which they are alike but for rounding
FEWEST = 5  # blocks over which a correlation is given: of two it is always 1
BY_INDEX, BY_VALUE, BY_DIFFERENCE = ORDERS = (
    "channel index", "value in the first picture", "difference of the two pictures")
CAMS = ("Each map runs from 0 to its own maximum, so that brightness cannot be compared between panels; the values are "
        "under the pointer.")
NO_PREDICTIONS = "there are no predictions"
NO_CAMS = "there is no class for Grad-CAM to explain (sv.inspect takes any function of what the network returns)"
PIXELS = ("What is explained is the class's score, summed over the pixels that the network takes for it "
          "(Seg-Grad-CAM). ")
HEADS = {  # title, lead, how to read it
    "predictions": ("Predictions", "The pictures as the network saw them, {size}{and_classes}. *{source}.*",
                    "{probability}"),
    "blocks": ("All blocks at a glance", "{factor}. How is the {what} in every attention block distributed over its "
               "channels?", "Boxes run from the 25th to the 75th percentile, whiskers from the 5th to the 95th; a "
               "dot is the mean. Of more than six pictures dots alone are drawn."),
    "block": ("One block, channel by channel", "The {vector}. Click a channel to open it below.", ""),
    "channel": ("One channel over the pictures", "Its feature map before and after its {own}.", ""),
    "differences": ("Channels that differ most", "The {values} of two pictures, over all blocks.", ""),
    "kernels": ("Kernel choice", "Which kernel each unit prefers: above 0 it is the {last}, {kernel}.",
                "For each unit the mean over channels of the weight of the {last} less that of the {first}."),
    "grad-cam": ("Where the network looks", "Grad-CAM at the end of each stage, for one class or each picture's own.",
                 "{pixels}" + CAMS),
    "gate-change": ("What the gate itself changed", "The class's evidence without and with one gate, and the "
                    "difference.", "A Grad-CAM taken before a gate and one after it nearly coincide, because both "
                    "gradients run through the gate. Here the channel weights α are those at the block's output for "
                    "both maps, so that what differs is the gate. The first two show the positive part, on one colour "
                    "scale a picture; the difference beside them, and the figures on this page, are those of the "
                    "signed maps: red is evidence that the gate added, blue what it took away."),
    "second-opinion": ("A second opinion", "Captum's occlusion or integrated gradients look at pixels instead of "
                       "feature maps. They need many forward passes and run only when asked.", ""),
    "contribution": ("Gate and contribution", "A gate is not a contribution: {share}.", "Scales after a gate can undo "
                     "it, and a channel of small norm stays small however open its gate. Above stands the mean gate "
                     "of each block, below its share."),
}


class PictureSections:
    """The sections of a few pictures in one network.

    Their texts are Markdown, computed from the tables.

    Attributes:
        source: the network and how many pictures, as Markdown.
        answer: what the network says of them.

    Args:
        model: the network.
        loading: the line of a script that makes ``model``.
        paths: picture's name → path, as a script opens it; the order is the figures'.
        views: picture's name → view, with the features of ``senet_viz.gates.contribution_points``.
        seen: picture's name → (H, W, 3) uint8, as the network saw it.
        weigh: picture's name → ``tables.contributions`` of it alone, where that is kept; from the views when None.
    """

    def __init__(self, model: Model, loading: str, paths: Mapping[str, str], views: Mapping[str, View],
                 seen: Mapping[str, np.ndarray], weigh: Callable[[str], pd.DataFrame] | None = None):
        self.weigh = weigh
        self.model, self.loading, self.paths, self.views, self.seen = model, loading, paths, views, seen
        self.names = list(views)
        self.answer = answer_of(next(iter(views.values())), model.classes)
        note = model.info.get("Note")
        self.source = plain(f"{model.name}{f' ({note})' if note else ''}, {len(views)} picture"
                            + "s" * (len(views) > 1))

    def head(self, name: str) -> tuple[str, str, str]:
        """The words at the head of a section, one of ``HEADS``: title, lead, how to read it."""
        height, width = self.model.input_size
        alike = {seen.shape[:2] for seen in self.seen.values()} == {(height, width)}
        kernel = next((tables.kernel_name(block, -1) for block in reversed(self.model.blocks) if block.branches > 1),
                      "")
        last, first = tables.last_and_first(self.model.blocks)
        weighed = self._contributions["share"].notna().any() if name == "contribution" else True
        words = {
            "size": f"cropped and resized to {width}×{height} pixels" if alike else "each of its own proportions",
            "and_classes": self._and_classes(), "source": self.source, "probability": self._probability(),
            "pixels": PIXELS if self.answer.task == SEGMENTATION else "", "kernel": kernel,
            "last": last, "first": first,
            "vector": "weights of the unit's kernels, drawn as the SE paper's Fig. 6 draws gates" if kernel else
            "excitation vector, as in the SE paper's Fig. 6", "values": "weights" if kernel else "gates",
            "own": "weights; beside each name these weights, and their ranks in the unit" if kernel else
            "gate; beside each name that gate, and its rank in the block",
            "what": f"weight of {kernel}" if kernel else "gate",
            "factor": "A weight is the factor by which a unit multiplies a channel of one branch, before it adds the "
            "branches up" if kernel else "A gate is the factor by which a block multiplies a channel of its map",
            "share": "how much the gated maps weigh in the sum that they enter" if weighed
            else "no addition follows one here, so the share is what it leaves of its input's norm"}
        title, lead, more = HEADS[name]
        return title, lead.format(**words), more.format(**words)

    def _and_classes(self) -> str:
        count = len(self.model.classes)
        if self.answer.task == SEGMENTATION:
            return (f", and of its {count:,} classes the one with the highest score at each pixel" if count > 1 else
                    f", and the pixels that it takes for {plain(self.model.class_labels[0])}")
        if self.answer.task == OTHER:
            return ""
        return (f", and how probable {'both classes are' if count == 2 else 'it is'}" if count <= 2 else
                f", and its {'five ' * (count > 5)}most probable of {count:,} classes")

    def _probability(self) -> str:
        if isinstance(self.model.output, TwoSided):
            return ("The network has one logit. Its sigmoid is the probability of the one side, what is left of 1 that "
                    "of the other. Half of the logit counts for and half against: so the softmax of the two is the "
                    "same.")
        return ""

    # gates

    def predictions(self) -> Section:
        """``tables.predictions``, with the pictures; of a segmentation ``tables.class_shares``, with its class maps."""
        text, pictures = f"The pictures as the network saw them. {self.source}.", list(self.seen.items())
        if self.answer.task == OTHER:
            return Section("Predictions", f"{text} {plain(self.answer.lacks(NO_PREDICTIONS))}", pictures=pictures)
        if self.answer.task == SEGMENTATION:
            return Section("Predictions", f"{text} Beside each the class of each pixel, of the largest classes: "
                           f"{self._legend()}.", table=self.shares, script=self._script(scripts.CLASS_SHARES),
                           pictures=[(title, picture) for name, seen in pictures for title, picture in (
                               (name, seen), (f"{name}, its classes", self.class_picture(name)))])
        return Section("Predictions", text, table=tables.predictions(self.views, self.model.classes),
                       pictures=pictures, script=self._script(scripts.PREDICTIONS))

    # of a segmentation

    @cached_property
    def shares(self) -> pd.DataFrame:
        """``tables.class_shares`` of the pictures."""
        return tables.class_shares(self.views, self.model.class_labels)

    @cached_property
    def present(self) -> list[int]:
        """The classes that occur in the pictures, that with the most pixels first."""
        found = self.shares[self.shares["index"] != NO_CLASS].groupby("index", sort=True)["share"].sum()
        return found.sort_values(ascending=False, kind="stable").index.tolist()

    @cached_property
    def colours(self) -> dict[int, str]:
        """The colour of each class that occurs, as ``figures.class_colours``."""
        return figures.class_colours([*self.present, NO_CLASS])

    def class_picture(self, name: str) -> np.ndarray:
        """The class map of a picture in its ``colours``: (H, W, 3) uint8."""
        return figures.painted(class_map(self.views[name])[0].cpu().numpy(), self.colours)

    def _legend(self) -> str:
        labels = self.model.class_labels
        coloured = [plain(labels[index]) for index in self.present[:len(figures.COLOURS)]]
        return ", ".join(coloured) + "; others are grey" * (len(self.present) > len(coloured))


    def all_blocks(self) -> Section:
        """``tables.summary``."""
        table = tables.summary(self.views)
        means = figures.last_branch(table).groupby("label", sort=False)[["std", "below", "above"]].mean()
        widest, saturated = means["std"].idxmax(), means["below"] + means["above"]
        limits = "saturated (below .05 or above .95)"
        low, high = table["min"].min(), table["max"].max()
        outside = (f"its values lie outside 0..1 in part, from {low:.3g} to {high:.3g}, so that none is called "
                   "saturated" if low < 0 or high > 1 else "")
        if len(means) == 1:
            found = self._averaged(f"the standard deviation over the channels of **{widest}** is "
                                   f"{means['std'].max():.2f}, and "
                                   + (outside or f"{saturated.max():.1%} of them are {limits}") + ".")
        else:
            saturation = (f"most {limits} is **{saturated.idxmax()}** with {saturated.max():.1%} of its channels"
                          if saturated.max() > 0 else f"no channel is {limits}")
            spread = (f"it spreads most in **{widest}** (standard deviation {means['std'].max():.2f})"
                      if means["std"].max() > SPREAD else "it is the same in all channels of a block")
            found = self._averaged(f"{spread}; {outside or saturation}.")
        return Section("All blocks at a glance", self._text(found), figures.all_blocks(table), table,
                       self._script(scripts.SUMMARY))

    def block(self, block: AttentionBlock, quantity: str, *, sampled: bool = True, order: str = BY_INDEX,
              pair: tuple[str, str] | None = None) -> Section:
        """The excitation vector of one block: ``tables.gates``, or ``tables.kernel_difference``.

        Args:
            block: one of the model's.
            quantity: one of ``tables.quantities(block)``.
            sampled: every s-th channel, as in the SE paper's Fig. 6, or all.
            order: of the channels, one of ``ORDERS``.
            pair: the pictures that ``order`` speaks of; the first and last when None.
        """
        values = tables.quantity(self.views, block, quantity)
        channels = tables.sampled_channels(block.channels) if sampled else range(block.channels)
        wide = values.pivot(index="channel", columns="picture", values="value").loc[list(channels)]
        first, second = pair or (self.names[0], self.names[-1])
        by = {BY_VALUE: wide[first], BY_DIFFERENCE: wide[second] - wide[first]}.get(order)
        shown = wide.index if by is None else by.sort_values(ascending=False, kind="stable").index
        found = f"{len(shown)} of {block.channels} channels of **{block.label}** (`{block.name}`, {block.kind})."
        if len(self.names) > 1:
            found += (f" Between pictures a channel's value varies by {wide.std(axis=1, ddof=0).mean():.3f} (standard "
                      f"deviation, mean over channels), between channels of one picture by "
                      f"{wide.std(axis=0, ddof=0).mean():.3f}.")
        difference = quantity == tables.quantities(block)[-1] and block.branches > 1
        figure = figures.excitation(values, block.label, order=shown, quantity=quantity,
                                    bounds=(-1.0, 1.0) if difference else (0.0, 1.0))
        table = values if difference else tables.gates(self.views, block)
        ending = scripts.kernel_difference(block.label) if difference else scripts.gates(block.label)
        return Section(f"{block.label}, channel by channel", self._text(found), figure, table, self._script(ending))

    def channel(self, block: AttentionBlock, channel: int, *, smooth: bool = False) -> Section:
        """One channel's maps over each picture: the cells of ``tables.channel_maps``."""
        titles = tables.channel_map_names(block)
        maps = {name: tables.channel_maps(view, block, channel) for name, view in self.views.items()}
        what = "weights and their ranks" if block.branches > 1 else "gate and its rank"
        text = (f"Channel {channel} of {block.label}, its {what} among {block.channels} channels beside each picture. "
                f"One colour scale a picture, around 0 where a map has negative values.")
        figure = figures.channel_maps(
            self.seen, maps, titles, label=block.label, channel=channel, smooth=smooth,
            captions=tables.describe_ranks(self.views, block, channel))
        return Section(
            f"Channel {channel} of {block.label}", text, figure,
            tables.cells({name: dict(zip(titles, maps[name])) for name in self.names}),
            self._script(scripts.channel_maps(block.label, channel, titles), inspect=scripts.CONTRIBUTION_FEATURES,
                         imports=scripts.CONTRIBUTION_IMPORT))

    def differences(self, first: str, second: str, top: int = 20) -> Section | None:
        """``tables.differences`` of two pictures; None where all gates are equal."""
        table = tables.differences(self.views[first], self.views[second], top)
        if not table["difference"].any():
            return None
        what = " and ".join(sorted({"weights" if kernel else "gates" for kernel in table["kernel"]}))
        text = (f"The {len(table)} {what}, over all blocks, that differ most from {plain(first)} to "
                f"{plain(second)}. The largest difference is {table['difference'][0]:+.3f} in {table['label'][0]}.")
        return Section("Channels that differ most", text, None, table,
                       self._script(scripts.differences(first, second, top)))

    def kernels(self) -> Section:
        """``tables.kernel_preference``."""
        table = tables.kernel_preference(self.views)
        means = table.groupby("label", sort=False)["difference"].mean()
        last, first = tables.last_and_first(self.model.blocks)
        found = self._averaged(
            f"the {last} is preferred in {int((means > 0).sum())} of {len(means)} units; the difference is "
            f"highest in **{means.idxmax()}** ({means.max():+.3f}) and lowest in **{means.idxmin()}** "
            f"({means.min():+.3f})." if len(means) > 1 else
            f"the weight of the {last} less that of the {first} is {means.max():+.3f} in **{means.idxmax()}**.")
        return Section("Kernel choice", self._text(found), figures.kernel_preference(table), table,
                       self._script(scripts.KERNELS))

    @cached_property
    def _contributions(self) -> pd.DataFrame:
        if self.weigh is None:
            return tables.contributions(self.views)
        return pd.concat([self.weigh(name).assign(picture=name) for name in self.names], ignore_index=True)

    def contribution(self) -> Section:
        """``tables.contributions``."""
        table = self._contributions
        means = figures.last_branch(table).groupby("label", sort=False)[["gate", "share"]].mean()
        found = ""
        if means.nunique().min() > 1:
            two = ("the last branch's weight and its share of the branches' norms, of which it is a factor,"
                   if any(block.branches > 1 for block in self.model.blocks) else "gate and share")
            found = (f"Over the {len(means)} blocks {two} correlate with r = "
                     f"{means['gate'].corr(means['share']):+.2f}; the share "
                     if len(means) >= FEWEST else "The share ")
            found += (f"is largest in **{means['share'].idxmax()}** ({means['share'].max():.0%}) and least in "
                     f"**{means['share'].idxmin()}** ({means['share'].min():.0%}).")
        return Section("Gate and contribution", self._text(found), figures.contribution(table), table, self._script(
            scripts.CONTRIBUTIONS, inspect=scripts.CONTRIBUTION_FEATURES, imports=scripts.CONTRIBUTION_IMPORT))

    # where the network looks; ``targets``: picture's name → class

    def targets(self, chosen: int | None = None) -> dict[str, int]:
        """The class to explain in each picture: the chosen one, or the picture's own most probable or largest."""
        if chosen is not None:
            return dict.fromkeys(self.names, chosen)
        if self.answer.task == SEGMENTATION:
            own = self.shares[self.shares["index"] != NO_CLASS].drop_duplicates("picture").set_index("picture")["index"]
            return {name: int(own.get(name, 0)) for name in self.names}
        return {name: int(view.logits[0].argmax()) for name, view in self.views.items()}

    def _absent(self, targets: Mapping[str, int]) -> str:
        """Which pictures have no pixel of their class, in a sentence; "" where none."""
        if self.answer.task != SEGMENTATION:
            return ""
        found = set(zip(self.shares["picture"], self.shares["index"]))
        missing = [plain(name) for name, target in targets.items() if (name, target) not in found]
        return f"No pixel of {', '.join(missing)} is of the class: nothing is explained there." if missing else ""

    def cams(self, cams: Mapping[str, Mapping[str, np.ndarray]], targets: Mapping[str, int], *, opacity: float = 0.5,
             smooth: bool = True, photos: Mapping[str, Photo] | None = None) -> Section:
        """Grad-CAM at the end of each of the model's stages.

        Args:
            cams: picture's name → layer → (h, w).
            targets: what the maps explain.
            opacity, smooth: as of ``figures.cam_grid``.
            photos: the pictures as they were taken, to draw over them; over what the network saw when None.
        """
        stages, labels = self.model.stages, self.model.class_labels
        maps = {name: {stage: cams[name][layer] for stage, layer in stages.items()} for name in self.names}
        ending, arguments = scripts.cams(stages, targets, pixels=self.answer.task == SEGMENTATION)
        figure = figures.cam_grid(
            **self._ground(photos), cams=maps, classes={name: labels[target] for name, target in targets.items()},
            whole={name: self.model.classes[target] for name, target in targets.items()}, opacity=opacity,
            smooth=smooth)
        found = " ".join(filter(None, [self._absent(targets), describe_photos(photos) if photos else ""]))
        return Section("Where the network looks: Grad-CAM", self._text(found), figure,
                       tables.cells(maps), self._script(ending, inspect=arguments))

    def _ground(self, photos: Mapping[str, Photo] | None) -> dict:
        """What maps are drawn over, as arguments of figures."""
        if not photos:
            return {"pictures": self.seen}
        return {"pictures": {name: photos[name].picture for name in self.names},
                "boxes": {name: photos[name].box for name in self.names}}

    def gate_change(self, block: AttentionBlock, weights: Mapping[str, torch.Tensor], targets: Mapping[str, int], *,
                    opacity: float = 0.5, smooth: bool = True, photos: Mapping[str, Photo] | None = None) -> Section:
        """``tables.gate_change`` of one block.

        Args:
            block: one of the model's, with an output.
            weights: picture's name → Grad-CAM's α at the block's output, (1, T, C).
            targets: the classes of the weights.
            opacity, smooth: as of ``figures.gate_change``.
            photos: as of ``cams``.
        """
        names = changed_names(block)
        maps = {name: tables.gate_change(view, block, weights[name].to(view.logits.device))
                for name, view in self.views.items()}
        ending, arguments = scripts.gate_change(block.label, targets, names,
                                                pixels=self.answer.task == SEGMENTATION)
        figure = figures.gate_change(
            **self._ground(photos), before={n: m[0] for n, m in maps.items()}, after={n: m[1] for n, m in maps.items()},
            label=block.label, names=names, opacity=opacity, smooth=smooth)
        found = " ".join(filter(None, [describe_gate_change(maps, block.label),
                                       describe_photos(photos) if photos else ""]))
        return Section(
            f"What the gate itself changed at {block.label}", found, figure,
            tables.cells({name: dict(zip(names, pair)) for name, pair in maps.items()}),
            self._script(ending, inspect=arguments, imports=scripts.CONTRIBUTION_IMPORT))

    def panels(self, cams: Mapping[str, np.ndarray]) -> dict[str, Panel]:
        """What ``cams`` draws of one picture, by stage; ``cams``: layer → (h, w)."""
        return cam_panels({stage: cams[layer] for stage, layer in self.model.stages.items()})

    def changed_panels(self, name: str, block: AttentionBlock, weights: torch.Tensor) -> dict[str, Panel]:
        """What ``gate_change`` draws of one picture, by name; ``weights``: Grad-CAM's α at the block's output."""
        view = self.views[name]
        return change_panels(*tables.gate_change(view, block, weights.to(view.logits.device)), changed_names(block))

    def opinion(self, name: str, values: np.ndarray, target: int, method: str, *, opacity: float = 0.5) -> Section:
        """``senet_viz.experiments.attribution.attribute`` of one picture.

        Args:
            name: of the picture.
            values: (H, W), what it gave.
            target: the class.
            method: one of its ``METHODS``.
            opacity: of the map.
        """
        label, pixels = self.model.class_labels[target], self.answer.task == SEGMENTATION
        text = f"{method.capitalize()}, {plain(label)}, for {plain(name)}: red speaks for the class, blue against it."
        return Section(
            "A second opinion", text,
            figures.signed_map(self.seen[name], values, name, f"{method}, {label}", opacity=opacity),
            tables.cells({name: {method: values}}),
            self._script(scripts.opinion(name, target, method, pixels=pixels), imports="\n".join(
                [scripts.ATTRIBUTE_IMPORT, *[scripts.TARGET_IMPORT] * pixels])))

    def _averaged(self, found: str) -> str:
        """A sentence on numbers that are means over the pictures; of a single picture there is no mean."""
        return f"On average over these pictures {found}" if len(self.names) > 1 else f"{found[0].upper()}{found[1:]}"

    def _text(self, found: str) -> str:
        return f"{found} *{self.source}.*".strip()

    def _script(self, ending: str, **more: str) -> str:
        return scripts.script(self.loading, self.paths, ending, **more)


def changed_names(block: AttentionBlock) -> tuple[str, str]:
    """What the two maps of ``tables.gate_change`` are called."""
    return (("uniform weights, Σ α·U/M", "selected, Σ α·V") if block.branches > 1
            else ("gate left out, Σ α·U", "gated, Σ α·s·U"))


def describe_gate_change(maps: Mapping[str, tuple[np.ndarray, np.ndarray]], label: str) -> str:
    """What became of the maps, of which only the positive part can be seen; Markdown, "" where there is nothing to say.

    Args:
        maps: picture's name → the two of ``tables.gate_change``.
        label: the block's.
    """
    relations = pd.DataFrame([tables.change_of_form(*pair) for pair in maps.values()], columns=["scale", "cosine"])
    said = []
    if relations["cosine"].notna().any():
        low, high = relations.min(), relations.max()
        said.append(f"At **{label}** the second map has {_range(low['scale'], high['scale'], 2)} times the first "
                    f"one's norm and a cosine of {_range(low['cosine'], high['cosine'], 3)} with it (1 would mean that "
                    f"the gate only scales).")
    empty = {name: tuple(not (part > 0).any() for part in pair) for name, pair in maps.items()}
    for which, shape in (("The first map of {} is nowhere", (True, False)), ("The second map of {} is nowhere",
                         (False, True)), ("Neither map of {} is anywhere", (True, True))):
        if names := [plain(name) for name, found in empty.items() if found == shape]:
            said.append(f"{which.format(listed(names))} positive: by it, nothing there speaks for the class.")
    return " ".join(said)


def _range(low: float, high: float, digits: int) -> str:
    ends = [f"{end:.{digits}f}" for end in (low, high)]
    return " to ".join(dict.fromkeys(ends))
