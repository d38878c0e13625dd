"""Sections of pictures: each script, run as it is printed, gives its section's table; each sentence says what is so."""
import re
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import senet_viz as sv
from senet_viz import tables
from senet_viz.experiments.attribution import attribute
from senet_viz.experiments.picture_sections import BY_DIFFERENCE, BY_VALUE, HEADS, PictureSections, describe_gate_change
from senet_viz.gates import contribution_points
from senet_viz.gates.answers import target_of
from senet_viz.layers import SqueezeExcite
from senet_viz.models import for_and_against
from senet_viz.reports.text import plain
from tests.experiments.test_what_if import NAMES
from tests.gates.conftest import make

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "samples"
PHOTOS = {name: str(FOLDER / f"{file}.jpg") for name, file in (
    ("a *bug*", "ladybug"), ("pot", "teapot"), ("cat", "tabby_cat"))}
TARGETS = {"a *bug*": 3, "pot": 5, "cat": 3}


@pytest.fixture(scope="module")
def model():
    """``model("se")``: a small network of random weights."""
    return lambda name: sv.Model(make(f"slim/{name}"), lambda image: torch.from_numpy(
        np.asarray(image.resize((64, 64)), np.float32) / 64 - 2).permute(2, 0, 1), NAMES, name=name)


@pytest.fixture(scope="module")
def of(model):
    """``of("se", "pot", "cat")``: the sections of these photos."""
    def sections(name: str, *pictures: str) -> PictureSections:
        net, views = model(name), {}
        layers = [*net.stages.values(), *((block.name, "output") for block in net.blocks)]
        for picture in pictures:
            views[picture] = sv.inspect(net, net.batch([sv.open_image(PHOTOS[picture])]), layers=layers,
                                        features=contribution_points(net.blocks), retain_graph=True)
        seen = {picture: np.zeros((64, 64, 3), np.uint8) for picture in pictures}
        return PictureSections(net, "model = given", {p: PHOTOS[p] for p in pictures}, views, seen)
    return sections


@pytest.fixture(scope="module")
def made(of):
    """Every section of both networks, by the network's name and its own, and the network."""
    found = {}
    for name in ("se", "sk"):
        sections = of(name, *PHOTOS)
        net, block = sections.model, sections.model.blocks[-2]
        explained = {picture: view.grad_cam([TARGETS[picture]]) for picture, view in sections.views.items()}
        values = attribute(net, net.batch([sv.open_image(PHOTOS["pot"])])[0], 5, "integrated gradients")
        parts = {
            "predictions": sections.predictions(), "all_blocks": sections.all_blocks(),
            "block": sections.block(block, tables.quantities(block)[0]),
            "channel": sections.channel(block, 3), "differences": sections.differences("cat", "pot", 7),
            "cams": sections.cams({picture: {layer: cams[layer][0, 0].numpy() for layer in net.stages.values()}
                                   for picture, (cams, _) in explained.items()}, TARGETS),
            "gate_change": sections.gate_change(
                block, {picture: found[1][block.name, "output"] for picture, found in explained.items()}, TARGETS),
            "opinion": sections.opinion("pot", values.numpy(), 5, "integrated gradients"),
            "contribution": sections.contribution()}
        if name == "sk":
            parts |= {"kernels": sections.kernels(), "difference": sections.block(block, "5×5 − 3×3")}
        found |= {(name, key): (section, net) for key, section in parts.items()}
    return found


@pytest.mark.parametrize(("name", "key"), [
    *((name, key) for name in ("se", "sk") for key in (
        "predictions", "all_blocks", "block", "channel", "differences", "cams", "gate_change", "opinion",
        "contribution")), ("sk", "kernels"), ("sk", "difference")])
def test_the_script_gives_the_table(made, name, key, capsys):
    section, net = made[name, key]
    names = {"given": net}
    exec(compile(section.script, "script", "exec"), names)
    pd.testing.assert_frame_equal(names["result"], section.table, check_dtype=False, rtol=1e-4, atol=1e-5)
    assert capsys.readouterr().out and section.text and len(section.table)
    assert (section.figure is None) == (key in ("predictions", "differences"))


@pytest.mark.parametrize("name", ["se", "sk"])
def test_heads_say_what_the_network_has(of, name):
    sections = of(name, "pot")
    for anchor in HEADS:
        title, lead, more = sections.head(anchor)
        assert title and "{" not in lead + more and 20 < len(lead) < 250
    word, what = {"se": ("gate", "gate"), "sk": ("weight", "weight of 5×5")}[name]
    lead = sections.head("blocks")[1]  # the first that speaks of it says what it is
    assert lead.startswith(f"A {word} is the factor") and f"How is the {what} in every" in lead
    assert "64×64 pixels" in sections.head("predictions")[1] and "1 picture.*" in sections.head("predictions")[1]
    assert sections.head("differences")[1].startswith(f"The {word}s of two pictures")
    # a unit that weighs branches always has a share, a gate one of the sum that it enters
    assert "the sum that they enter" in sections.head("contribution")[1]


def test_a_last_branch_is_called_larger_where_it_is(of):
    sections = of("sk", "pot")
    assert sections.head("kernels")[1].endswith("above 0 it is the larger kernel, 5×5.")
    turned = [replace(block, kernels=block.kernels[::-1]) for block in sections.model.blocks]
    sections.model, sections.views = copy(sections.model), {
        name: replace(view, blocks=turned) for name, view in sections.views.items()}
    sections.model.blocks = turned
    section, (_, lead, more) = sections.kernels(), sections.head("kernels")
    assert lead.endswith("above 0 it is the last branch, 3×3.")
    assert "kernel" not in section.text + more and "3×3 has more weight than 5×5" in section.figure.layout.meta["alt"]


def test_the_most_spread_and_the_most_saturated_block_are_named(made):
    section, _ = made["se", "all_blocks"]
    means = section.table.groupby("label")[["std", "below", "above"]].mean()
    saturated = means["below"] + means["above"]
    assert f"spreads most in **{means['std'].idxmax()}** (standard deviation {means['std'].max():.2f})" in section.text
    assert (f"**{saturated.idxmax()}** with {saturated.max():.1%}" in section.text) == (saturated.max() > 0)


@pytest.mark.parametrize("count", [1, None])
def test_gates_beyond_0_and_1_are_not_called_saturated(of, count):
    sections = of("se", "pot")
    view = sections.views["pot"]
    gates = {name: torch.linspace(-0.9, 0.7, gate.shape[-1]).expand(gate.shape) for name, gate in view.gates.items()}
    sections.views = {"pot": replace(view, gates=gates, blocks=view.blocks[:count])}
    text = sections.all_blocks().text
    assert "outside 0..1 in part, from -0.9 to 0.7, so that none is called saturated" in text
    assert "below .05" not in text


def test_gates_that_are_constant_spread_nowhere(of):
    sections = of("se", "pot")
    gates = {name: torch.full_like(gate, 0.73) for name, gate in sections.views["pot"].gates.items()}
    sections.views = {"pot": replace(sections.views["pot"], gates=gates)}
    assert sections.all_blocks().text.startswith("It is the same in all channels of a block; no channel is saturated")


def test_one_block_spreads_most_of_nothing(of):
    sections = of("se", "pot")
    assert sections.all_blocks().text.startswith("It spreads most in **")  # nor is there a mean over one picture
    table = sections.all_blocks().table
    name = table["label"].iloc[0]
    row = table.iloc[0]
    sections.views = {"pot": replace(sections.views["pot"], blocks=sections.views["pot"].blocks[:1])}
    assert sections.all_blocks().text.startswith(
        f"The standard deviation over the channels of **{name}** is {row['std']:.2f}, and "
        f"{row['below'] + row['above']:.1%} of them are saturated (below .05 or above .95). *")


@pytest.mark.parametrize("name", ["se", "sk"])
def test_channels_in_order(of, name):
    sections = of(name, "pot", "cat")
    block = sections.model.blocks[3]
    quantity = tables.quantities(block)[-1]
    wide = tables.quantity(sections.views, block, quantity).pivot(index="channel", columns="picture", values="value")
    for order, values in ((BY_VALUE, wide["cat"]), (BY_DIFFERENCE, wide["pot"] - wide["cat"])):
        section = sections.block(block, quantity, sampled=False, order=order, pair=("cat", "pot"))
        for trace, picture in zip(section.figure.data, ("pot", "cat"), strict=True):  # pictures keep their order
            drawn = list(trace.customdata)
            assert trace.name == picture and sorted(drawn) == list(range(block.channels))
            np.testing.assert_array_equal(trace.y, wide[picture].loc[drawn])
            assert (np.diff(values.loc[drawn]) <= 0).all()
    varies = re.findall(r"by (\d\.\d{3})", section.text)
    assert varies == [f"{wide.std(axis=1, ddof=0).mean():.3f}", f"{wide.std(axis=0, ddof=0).mean():.3f}"]
    alone = of(name, "pot").block(block, quantity, order=BY_DIFFERENCE)
    assert "Between pictures" not in alone.text
    assert list(alone.figure.data[0].customdata) == list(tables.sampled_channels(block.channels))


def test_no_difference_is_no_section(of):
    sections = of("se", "pot", "cat")
    assert sections.differences("pot", "pot") is None
    section = sections.differences("pot", "cat", 5)
    first = section.table.iloc[0]
    assert f"{first['difference']:+.3f} in {first['label']}" in section.text and len(section.table) == 5


@pytest.mark.parametrize(("name", "what"), [("se", "its gate and its rank"), ("sk", "its weights and their ranks")])
def test_what_a_channel_has_is_called_by_its_name(made, of, name, what):
    assert what in made[name, "channel"][0].text
    own, values = {"se": ("gate", "gates"), "sk": ("weights", "weights")}[name]
    sections = of(name, "pot")
    assert sections.head("channel")[1].startswith(f"Its feature map before and after its {own}; beside each name th")
    assert sections.head("differences")[1] == f"The {values} of two pictures, over all blocks."
    assert f" {values}, over all blocks, that differ most" in made[name, "differences"][0].text


def test_what_the_kernels_prefer(made):
    section, _ = made["sk", "kernels"]
    means = section.table.groupby("label")["difference"].mean()
    assert f"in {(means > 0).sum()} of {len(means)} units" in section.text
    assert f"highest in **{means.idxmax()}**" in section.text and f"lowest in **{means.idxmin()}**" in section.text


def test_a_correlation_takes_more_blocks_than_two(of):
    sections = of("se", "pot")
    table = sections.contribution().table
    whole = table.groupby("label", sort=False)[["gate", "share"]].mean()
    assert (f"Over the 16 blocks gate and share correlate with r = {np.corrcoef(whole.T)[0, 1]:+.2f}; the share is "
            "largest") in sections.contribution().text
    sections.__dict__["_contributions"] = table[table["label"].isin(["SE_2_1", "SE_3_1"])]  # r of two is 1 or -1
    assert "correlate" not in sections.contribution().text and "The share is largest in **" in (
        sections.contribution().text)


def test_what_a_share_is_where_no_addition_follows(of):
    sections = of("se", "pot")
    assert sections.head("contribution")[1].endswith(": how much the gated maps weigh in the sum that they enter.")
    sections.__dict__["_contributions"] = sections.contribution().table.assign(share=np.nan)
    assert sections.head("contribution")[1] == (
        "A gate is not a contribution: no addition follows one here, so the share is what it leaves of its input's "
        "norm.")


def test_names_are_shown_letter_by_letter(made):
    assert "a \\*bug\\*" not in made["se", "opinion"][0].text and "class \\*5\\*" in made["se", "opinion"][0].text
    assert made["se", "cams"][1].class_labels[3] in made["se", "cams"][0].figure.layout.meta["alt"]


def test_targets_are_the_chosen_class_or_each_pictures_own(of):
    sections = of("se", "pot", "cat")
    own = {name: int(np.argmax(view.logits[0].numpy())) for name, view in sections.views.items()}
    assert sections.targets() == own and sections.targets(4) == {"pot": 4, "cat": 4}


def test_what_a_gate_changed_in_words():
    up, zero = np.array([[1.0, 2.0]]), np.zeros((1, 2))
    one = describe_gate_change({"x": (up, up / 2)}, "SE_2_1")
    assert "At **SE_2_1** the second map has 0.50 times the first one's norm and a cosine of 1.000 with it" in one
    two = describe_gate_change({"x": (up, up / 2), "y": (up, up[:, ::-1])}, "SE_2_1")
    assert "has 0.50 to 1.00 times" in two and "a cosine of 0.800 to 1.000 with" in two and "nowhere" not in two
    dark = describe_gate_change({"x": (up, -up), "_y_": (-up, -up), "z": (zero, up), "v": (-up, up)}, "SE_2_1")
    assert "The first map of z and v is nowhere positive" in dark
    assert "The second map of x is nowhere positive" in dark
    assert "Neither map of \\_y\\_ is anywhere positive" in dark
    assert describe_gate_change({"x": (zero, zero)}, "SE_2_1").startswith("Neither map of x is anywhere positive")


# a segmentation

class Pixels(torch.nn.Module):
    """Scores of classes around 0, so that several have pixels."""

    def __init__(self, classes: int):
        super().__init__()
        self.stem, self.se, self.head = (torch.nn.Conv2d(3, 8, 3, 2, 1), SqueezeExcite(8, 2),
                                         torch.nn.Conv2d(8, classes, 5, 2, 2))

    def forward(self, x):
        maps = self.head(self.se(self.stem(x).relu()))
        return {"out": maps - maps.mean((2, 3), keepdim=True)}


@pytest.fixture(scope="module", params=[5, 1])
def segmentation(request, model):
    torch.manual_seed(0)
    net = sv.Model(Pixels(request.param), model("se").transform, NAMES[:request.param],
                   name="pixels")
    views, seen = {}, {}
    for name, path in PHOTOS.items():
        batch = net.batch([sv.open_image(path)])
        views[name] = sv.inspect(net, batch, [sv.SemanticSegmentationTarget(0)],
                                 [*net.stages.values(), (net.blocks[0].name, "output")],
                                 contribution_points(net.blocks), retain_graph=True)
        seen[name] = net.seen(batch[0])
    return PictureSections(net, "model = given", PHOTOS, views, seen)


def run(section, net) -> pd.DataFrame:
    names = {"given": net}
    exec(compile(section.script, "script", "exec"), names)
    return names["result"]


def test_the_class_map_of_a_segmentation(segmentation):
    net, section = segmentation.model, segmentation.predictions()
    pd.testing.assert_frame_equal(run(section, net), section.table.assign(
        **{"class": [NAMES[i] if i >= 0 else "none" for i in section.table["index"]]}))
    assert [title for title, _ in section.pictures[:2]] == ["a *bug*", "a *bug*, its classes"]
    painted = section.pictures[1][1]
    found = {tuple(int(segmentation.colours[index][i:i + 2], 16) for i in (1, 3, 5))
             for index in section.table.loc[section.table["picture"] == "a *bug*", "index"]}
    assert {tuple(colour) for colour in painted.reshape(-1, 3).tolist()} == found
    sums = section.table[section.table["index"] >= 0].groupby("index")["share"].sum()
    assert segmentation.present[0] == sums.idxmax() and set(segmentation.present) == set(sums.index)
    lead = segmentation.head("predictions")[1]
    assert "64×64 pixels" in lead and "{" not in lead
    assert ("of its 5 classes" in lead) == (len(net.classes) == 5)
    assert "Seg-Grad-CAM" in segmentation.head("grad-cam")[2]


def test_maps_of_a_segmentations_class(segmentation):
    net, views = segmentation.model, segmentation.views
    targets = segmentation.targets()
    for name, target in targets.items():
        rows = segmentation.shares[(segmentation.shares["picture"] == name) & (segmentation.shares["index"] >= 0)]
        assert target == rows["index"].iloc[0]
    explained = {name: view.grad_cam([target_of(view, targets[name])]) for name, view in views.items()}
    cams = {name: {layer: found[layer][0, 0].numpy() for layer in net.stages.values()}
            for name, (found, _) in explained.items()}
    section = segmentation.cams(cams, targets)
    pd.testing.assert_frame_equal(run(section, net), section.table, rtol=1e-4, atol=1e-6)
    assert section.table["value"].max() > 0 and "No pixel" not in section.text
    block = net.blocks[0]
    change = segmentation.gate_change(
        block, {name: found[1][block.name, "output"] for name, found in explained.items()}, targets)
    pd.testing.assert_frame_equal(run(change, net), change.table, rtol=1e-4, atol=1e-6)
    image = net.transform(sv.open_image(PHOTOS["pot"]))
    values = attribute(net, image, target_of(views["pot"], targets["pot"]))
    opinion = segmentation.opinion("pot", values.numpy(), targets["pot"], "occlusion")
    pd.testing.assert_frame_equal(run(opinion, net), opinion.table, rtol=1e-3, atol=1e-5)
    assert opinion.table["value"].abs().max() > 0


def test_a_class_that_a_picture_lacks(segmentation):
    net = segmentation.model
    empty = {name: {layer: np.zeros((4, 4)) for layer in net.stages.values()} for name in PHOTOS}
    lacks = {(name, index) for name in PHOTOS for index in range(len(net.classes))} - set(
        zip(segmentation.shares["picture"], segmentation.shares["index"]))
    for name, index in [*lacks, ("pot", segmentation.targets()["pot"])]:
        text = segmentation.cams(empty, segmentation.targets() | {name: index}).text
        assert (f"No pixel of {plain(name)} is of the class" in text) == ((name, index) in lacks)


def test_what_a_network_without_classes_shows(model):
    net = sv.Model(model("se").module, model("se").transform, [], name="embedding")
    views = {name: sv.inspect(net, net.batch([sv.open_image(path)]), features=contribution_points(net.blocks))
             for name, path in PHOTOS.items()}
    sections = PictureSections(net, "", PHOTOS, views, {name: np.zeros((64, 80, 3), np.uint8) for name in PHOTOS})
    section = sections.predictions()
    assert section.table is None and not section.script
    assert "The network gives 10 numbers for a picture, and the model names no classes" in re.sub(
        r"\\(.)", r"\1", section.text)
    assert [title for title, _ in section.pictures] == list(PHOTOS)
    assert "each of its own proportions. *" in sections.head("predictions")[1]
    assert len(sections.all_blocks().table) == 3 * len(net.blocks)


def test_the_words_for_one_logit(model):
    module = torch.nn.Sequential(model("se").module, torch.nn.Linear(10, 1))
    net = for_and_against(sv.Model(module, model("se").transform, ["smiling"], name="one"))
    views = {"pot": sv.inspect(net, net.batch([sv.open_image(PHOTOS["pot"])]))}
    sections = PictureSections(net, "model = given", {"pot": PHOTOS["pot"]}, views,
                               {"pot": np.zeros((64, 64, 3), np.uint8)})
    _, lead, more = sections.head("predictions")
    assert "how probable both classes are" in lead and "one logit" in more
    section = sections.predictions()
    pd.testing.assert_frame_equal(run(section, net), section.table)
    assert section.table["class"].tolist() in (["for smiling", "against smiling"], ["against smiling", "for smiling"])
    assert section.table["probability"].sum() == pytest.approx(1)
