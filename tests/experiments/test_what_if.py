"""Experiments with gates, against one inspection after another and against hand computation."""
import copy
import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

import senet_viz as sv
from senet_viz.data.images import zoom
from senet_viz.experiments import what_if
from senet_viz.gates.removals import removals
from senet_viz.layers import SqueezeExcite
from senet_viz.models import for_and_against
from tests.gates.conftest import CLASSES, make
from tests.gates.test_search import FORMS
from tests.gates.test_search import Net as InlineNet

NAMES = [f"class *{i}*" for i in range(CLASSES)]
NETWORKS = ["slim/se", "slim/sk", "timm/skresnet18", "timm/regnety_002",
            "torchvision/mobilenet_v3_small", "inline", "parallel", "listed"]


class Parallel(nn.Module):
    """Two gated paths side by side, in no chain, and one gate behind both."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.left, self.right, self.last = (nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), SqueezeExcite(8, 2))
                                            for _ in range(3))
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = self.stem(x)
        return self.head(self.last(self.left(x) + self.right(x)).mean((2, 3)))


class Listed(nn.Module):
    """Gated units in a list, as in efficientnet_pytorch: the list, which is around all of them, is never called."""

    def __init__(self):
        super().__init__()
        self.units = nn.ModuleList(nn.Sequential(nn.Conv2d(inputs, 8, 3, 2, 1), nn.ReLU(), SqueezeExcite(8, 2))
                                   for inputs in (3, 8, 8))
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x):
        for unit in self.units:
            x = unit(x)
        return self.head(x.mean((2, 3)))


@pytest.fixture(autouse=True, scope="module")
def small_maps(one_thread):
    """All pictures here are small."""


@pytest.fixture(scope="module")
def network():
    """``network(name)``: a model of random weights for pictures of 64×64."""
    def model(name: str) -> sv.Model:
        own = {"inline": lambda: InlineNet(FORMS["inline"][0]), "parallel": Parallel, "listed": Listed}
        if name in own:
            torch.manual_seed(0)
            module = own[name]()
        else:
            module = copy.deepcopy(make(name))
        module.double()  # random weights make much of rounding, which differs between sizes of a batch
        classes = module(torch.randn(2, 3, 64, 64).double()).shape[1]
        return sv.Model(module, lambda image: torch.from_numpy(
            np.asarray(image.resize((64, 64)), np.float32) / 64 - 2).permute(2, 0, 1), NAMES[:classes], name=name)
    return model


def picture(seed: int = 0) -> torch.Tensor:
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
    return nn.functional.avg_pool2d(noise, 5, 1, 2) * 3


def alone(model: sv.Model, batch: torch.Tensor, *edits: sv.Edit) -> torch.Tensor:
    return sv.inspect(model, batch, edits=edits).logits[0].double()


@pytest.mark.parametrize("name", NETWORKS)
def test_one_forward_is_as_many_inspections(network, name):
    model, batch = network(name), picture()
    table = what_if.each_block(model, batch, target=3 % len(model.classes))
    assert table.groupby("label", sort=False)["edit"].agg(list).to_dict() == {
        block.label: removals(block) + ["mean gate"] * (block.branches == 1) for block in model.blocks}
    gates = {block.label: sv.record(model, batch).gates[block.name] for block in model.blocks}
    before = alone(model, batch)
    scale = before.abs().max().item()
    for row in table[::3].itertuples():
        value = float(gates[row.label].mean()) if row.edit == "mean gate" else row.edit
        after = alone(model, batch, sv.Edit(row.label, value))
        target = 3 % len(model.classes)
        assert row.logit == pytest.approx(after[target].item(), abs=1e-6 * scale)
        assert row.change == pytest.approx((after - before)[target].item(), abs=1e-6 * scale)
        less = [logits[target].item() - sum(logits.tolist()) / len(logits) for logits in (before, after)]
        assert row.lead == pytest.approx(less[1], abs=1e-6 * scale)
        assert row.lead_change == pytest.approx(less[1] - less[0], abs=1e-6 * scale)
        assert row.spread == pytest.approx(np.std(after.numpy()) / np.std(before.numpy()), rel=1e-4)
        assert row.probability == pytest.approx(after.softmax(0)[target].item(), abs=1e-6)
        assert row.probability_change == pytest.approx((after.softmax(0) - before.softmax(0))[target].item(), abs=1e-6)
        assert row[table.columns.get_loc("class") + 1] == NAMES[after.argmax()]
    assert set(table["class_before"]) == {NAMES[before.argmax()]}
    assert table["change"].abs().max() > 1e-3 * scale


@pytest.mark.parametrize(("name", "blocks", "wanted"), [
    ("slim/se", 16, {"stem": [1], "layer1.0": [2], "layer1.2": [3], "layer4.2": [16], "fc": [17]}),
    ("listed", 3, {"units.0": [1], "units.1": [2], "units.2": [3], "head": [4]})])
def test_what_all_runs_share_is_computed_once(network, name, blocks, wanted):
    model, rows = network(name), {}
    assert len(model.blocks) == blocks  # found in a forward of their own
    handles = [model.module.get_submodule(path).register_forward_pre_hook(
        lambda _, inputs, path=path: rows.setdefault(path, []).append(len(inputs[0]))) for path in wanted]
    try:
        what_if.runs(model, picture(), [[sv.Edit(block.label, 1)] for block in model.blocks])
    finally:
        for handle in handles:
            handle.remove()
    assert rows == wanted  # a hook of before sees what comes in before the batch grows


def test_more_runs_than_fit_and_their_order(network, monkeypatch):
    model, batch = network("slim/se"), picture()
    variants = [[sv.Edit(block.label, "*0.5")] for block in reversed(model.blocks)] + [[sv.Edit("*", 1)], []]
    whole = what_if.runs(model, batch, variants)
    monkeypatch.setattr(what_if, "ROWS", 5)
    torch.testing.assert_close(what_if.runs(model, batch, variants), whole, rtol=1e-4, atol=1e-4)
    for logits, edits in zip(whole, [[], *variants]):
        torch.testing.assert_close(logits.double(), alone(model, batch, *edits), rtol=1e-3, atol=1e-3)
    assert torch.equal(what_if.runs(model, batch, [])[0], whole[0]) and len(what_if.runs(model, batch, [])) == 1


def test_a_gate_that_is_doubled_is_off_at_one_half(network):
    model = network("slim/se")
    block = model.blocks[0].__class__(**{**vars(model.blocks[0]), "gain": 2.0})
    assert removals(block) == ["0.5"]


@pytest.mark.parametrize("name", ["slim/se", "slim/sk"])
def test_stages_channels_and_another_pictures_gates(network, name):
    model, batch, other = network(name), picture(), picture(1)
    values = ["1", "mean gate"] if name == "slim/se" else ["3x3", "5x5", "uniform"]
    stages = what_if.each_stage(model, batch)
    assert list(zip(stages["label"], stages["edit"])) == [
        (label, value) for label in ("stage 2", "stage 3", "stage 4", "stage 5", "all blocks") for value in values]
    own = sv.record(model, batch).gates
    for row in stages.itertuples():
        where = "*" if row.label == "all blocks" else row.label
        value = {name: gate.mean().expand(gate.shape[1:]) for name, gate in own.items()} if (
            row.edit == "mean gate") else row.edit
        assert row.logit == pytest.approx(alone(model, batch, sv.Edit(where, value)).numpy()[
            NAMES.index(row.of)], rel=1e-5, abs=1e-5)
    block = model.blocks[-1]
    gate = sv.record(model, batch).gates[block.name][0, -1]
    channels = what_if.each_channel(model, batch, block.label, target=2, top=3)
    assert list(channels["channel"].unique()) == gate.argsort(descending=True)[:3].tolist()
    for row in channels.itertuples():
        assert row.gate == pytest.approx(gate[row.channel].item(), abs=1e-5) and row.of == NAMES[2]
        assert row.logit == pytest.approx(alone(model, batch, sv.Edit(
            block.label, row.edit, channels=[row.channel]))[2].item(), rel=1e-5, abs=1e-5)
    swapped, gates = what_if.swap(model, batch, other), sv.record(model, other).gates
    targets = list(dict.fromkeys([int(alone(model, batch).argmax()), int(alone(model, other).argmax())]))
    assert list(swapped["of"].unique()) == [NAMES[i] for i in targets]
    for row in swapped.itertuples():
        after = alone(model, batch, sv.Edit("*" if row.label == "all blocks" else row.label, gates))
        assert row.logit == pytest.approx(after[NAMES.index(row.of)].item(), rel=1e-5, abs=1e-5)


def test_forced_kernels_at_each_size(network):
    model, image = network("slim/sk"), sv.Model.noise()
    table = what_if.forced_sizes(model, image, sizes=(0.5, 1.0, 2.0))
    target = int(alone(model, model.batch([zoom(image, 1.0, None, (128, 128))])).argmax())
    assert len(table) == 12 and set(table["of"]) == {NAMES[target]}
    for row in table.itertuples():
        batch = model.batch([zoom(image, row.size, None, (128, 128))])
        edits = [] if row.edit == what_if.OWN else [sv.Edit("*", row.edit)]
        logits = alone(model, batch, *edits).numpy()
        assert row.logit == pytest.approx(logits[target], rel=1e-5, abs=1e-5)
        assert row.lead == pytest.approx(logits[target] - logits.mean(), rel=1e-5, abs=1e-5)
    with pytest.raises(ValueError, match="no units that choose"):
        what_if.forced_sizes(network("slim/se"), image)


def test_travel_and_changes_by_hand(network):
    model, batch = network("slim/se"), picture()
    edits = sv.parse_edits("SE_3_2=0.5; SE_4_*[1,2]=0")
    before, after = sv.inspect(model, batch), sv.inspect(model, batch, edits=edits)
    table = what_if.travel(before, after, edits).set_index("label")
    assert list(table.index[table["edited"]]) == ["SE_3_2", *(f"SE_4_{i}" for i in range(1, 7))]
    for block in model.blocks:
        a, b = (view.gates[block.name][0].numpy().ravel().astype(float) for view in (before, after))
        assert table["difference"][block.label] == pytest.approx(np.abs(a - b).mean(), abs=1e-7)
        assert table["distance"][block.label] == pytest.approx(
            1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
    assert not table["difference"][:"SE_3_1"].any() and (table["difference"]["SE_3_2":] > 0).all()
    changes = what_if.changes(before, after, NAMES, target=0, top=2)
    assert changes["class"][0] == NAMES[0] and 3 <= len(changes) <= 5
    p, q = (view.logits[0].double().softmax(0) for view in (before, after))
    for row in changes.itertuples():
        i = NAMES.index(row[1])
        difference = (after.logits - before.logits)[0].double().numpy()
        assert row.change == pytest.approx(difference[i], abs=1e-5)
        assert row.lead_change == pytest.approx(difference[i] - difference.mean(), abs=1e-5)
        assert row.spread == pytest.approx(np.std(after.logits.numpy()) / np.std(before.logits.numpy()), rel=1e-5)
        assert row.probability_change == pytest.approx((q - p)[i].item(), abs=1e-6)


def test_sentences_follow_from_the_tables(network):
    model, batch = network("slim/se"), picture()
    table = what_if.each_block(model, batch)
    table = table[table["edit"] == "1"].reset_index(drop=True)
    text = re.sub(r"\\", "", what_if.describe_effects(table))
    assert f"As it is, the most probable class is **{table['class_before'][0]}**." in text
    other = table[table["class"] != table["class_before"]]
    if len(other):
        assert f"another class becomes the most probable in **{len(other)}** of 16 cases" in text
    else:
        assert "stays the same in all 16 cases" in text
    low, high = table.loc[table["lead_change"].idxmin()], table.loc[table["lead_change"].idxmax()]
    assert (f"falls most with **{low['label']}** ({low['lead_change']:+.3g}" in text) == (low["lead_change"] < 0)
    assert (f"rises most with **{high['label']}** ({high['lead_change']:+.3g}" in text) == (high["lead_change"] > 0)
    still = table.assign(lead_change=0.0, **{"class": table["class_before"]})
    assert what_if.describe_effects(still).endswith(
        f"in all 16 cases; the logit of class \\*{NAMES.index(table['of'][0])}\\*, against the mean of all classes, "
        "does not change.")
    assert what_if.describe_effects(still.assign(lead_change=4e-6)).endswith("does not change.")  # rounding
    swapped = table.assign(**{"class": "another"})
    assert "in **16** of 16 cases (SE_2_1, SE_2_2, SE_2_3, SE_3_1, SE_3_2, SE_3_3 and 10 more)" in (
        what_if.describe_effects(swapped))


def test_a_single_stage_is_all_blocks(network):
    model = network("inline")
    model.blocks = [block for block in model.blocks if block.stage == model.blocks[0].stage]
    stages = what_if.each_stage(model, picture())
    assert list(stages["label"]) == ["all blocks", "all blocks"] and "stage at a time" not in (
        what_if.describe_effects(stages))


def test_all_blocks_are_no_stage_at_a_time():
    table = pd.DataFrame({
        "label": ["stage 2", "stage 3", "all blocks"], "edit": "1", "of": "x", "lead_change": [-1.0, 0.5, -248.0],
        "spread": [1.2, 0.5, 195.4], "class": ["x", "y", "z"], "class_before": "x"})
    assert what_if.describe_effects(table) == (
        "As it is, the most probable class is **x**. One stage at a time set to 1: another class becomes the most "
        "probable in **1** of 2 cases (stage 3); the logit of x, against the mean of all classes, falls most with "
        "**stage 2** (-1) and rises most with **stage 3** (+0.5, with all logits 0.50 times as far apart). All blocks "
        "together set to 1: **z** becomes the most probable class; the logit of x, against the mean of all classes, "
        "changes by -248, with all logits 195 times as far apart.")
    assert what_if.describe_effects(table.assign(lead_change=0.0, **{"class": "x"})).endswith(
        "All blocks together set to 1: the most probable class stays the same; the logit of x, against the mean of all "
        "classes, does not change.")
    assert "All blocks together, each at its mean gate: **z**" in what_if.describe_effects(
        table.assign(edit="mean gate"))
    named = table[:2].assign(block=["a", "b"], label=["SE_2_1", "all blocks"])  # a block may be called anything
    assert "in **1** of 2 cases (all blocks)" in what_if.describe_effects(named)


@pytest.mark.parametrize(("last", "said"), [
    ("x", "the most probable class stays the same in the one case; the logit of x, against the mean of all classes, "
          "falls with **SE_2_1** (-1)."),
    ("y", "another class becomes the most probable in the one case (SE_2_1); the logit of x, against the mean of all "
          "classes, falls with **SE_2_1** (-1).")])
def test_one_case_is_not_counted(last, said):
    table = pd.DataFrame({"block": ["a"], "label": "SE_2_1", "edit": "1", "of": "x", "lead_change": -1.0,
                          "spread": 1.0, "class": last, "class_before": "x"})
    assert what_if.describe_effects(table).endswith(f"One block at a time set to 1: {said}")


@pytest.mark.parametrize(("place", "error", "times"), [
    ("stem", RuntimeError, 1), ("layer3", torch.OutOfMemoryError, 1), ("layer3", RuntimeError, 2)])
def test_what_fails_is_not_tried_again_in_vain(network, place, error, times):
    model, calls = network("slim/se"), []
    assert model.blocks

    def fail(*_):
        calls.append(place)
        raise error("on purpose")

    handle = model.module.get_submodule(place).register_forward_pre_hook(fail)
    try:
        with pytest.raises(error, match="on purpose"):
            what_if.runs(model, picture(), [[sv.Edit(block.label, 1)] for block in model.blocks[:4]])
    finally:
        handle.remove()
    assert len(calls) == times


def test_sentences_of_an_edit(network):
    model, batch = network("slim/se"), picture()
    before = sv.inspect(model, batch)

    def after(text: str):
        edits = sv.parse_edits(text)
        view = sv.inspect(model, batch, edits=edits)
        return what_if.travel(before, view, edits), what_if.changes(before, view, NAMES, target=1)

    travel, changes = after("SE_5_3=1")
    assert what_if.describe_travel(travel) == (
        "No unedited block follows the first edited one, so that no other gate can change.")
    travel, changes = after("SE_5_1=0.9")
    later = travel.set_index("label")["difference"][["SE_5_2", "SE_5_3"]]
    text = what_if.describe_travel(travel)
    assert text.startswith(f"Of 2 unedited blocks behind the first edited one, **{(later > .01).sum()}** ")
    assert f"most **{later.idxmax()}** ({later.max():.3f})" in text
    row = changes.iloc[0]
    text = what_if.describe_change(changes, NAMES[1]).replace("\\", "")
    assert (f"The logit of class *1* goes from {row['logit_before']:.2f} to {row['logit_after']:.2f} "
            f"({row['change']:+z.2f}); against the mean of all classes it changes by {row['lead_change']:+z.2f}") in (
                text)
    assert "(+0.00); against the mean of all classes it changes by +0.00. " in what_if.describe_change(
        changes.assign(change=-0.001, lead_change=-0.001, spread=1.0), NAMES[1])
    assert ("stays" in text) == (changes["logit_before"].idxmax() == changes["logit_after"].idxmax())
    travel, changes = after("SE_5_1=*1")
    assert what_if.describe_travel(travel).endswith("none changes at all.")
    assert what_if.describe_change(changes, NAMES[1]).endswith("does not change.")
    assert what_if.describe_travel(what_if.travel(before, before, [])) == ""


def test_the_one_block_that_an_edit_reaches_is_named_once():
    table = pd.DataFrame({"label": ["SE_2_1", "SE_3_1", "SE_4_1"], "difference": [0.5, 0.1, 0.001],
                          "edited": [True, False, False]})
    assert what_if.describe_travel(table) == (
        "Of 2 unedited blocks behind the first edited one, **1** changes by more than 0.01 a gate on average, most "
        "**SE_3_1** (0.100).")
    assert what_if.describe_travel(table.assign(difference=0.1)).endswith("; the last to do so is **SE_4_1**.")


def test_of_channels_with_one_gate_none_is_the_most_excited(network):
    """A block that is always open has a gate of 1 in every channel: which come first is an accident."""
    block = network("slim/se").blocks[0]
    table = pd.DataFrame({"channel": [3, 3, 5, 5], "gate": [1.0] * 4, "edit": ["0", "1"] * 2})
    assert what_if.describe_ranking(table, block) == (
        f"2 of {block.channels} channels in **{block.label}** than which none is more excited: the gate is 1.000 in "
        f"each of them.")
    assert what_if.describe_ranking(table.assign(gate=[1.0, 1.0, 0.9, 0.9]), block) == (
        f"The 2 most excited of {block.channels} channels in **{block.label}**, the most excited first.")
    assert "The 1 most excited" in what_if.describe_ranking(table[:2], block)


def test_a_pictures_own_gates_change_nothing(network):
    table = what_if.swap(network("slim/se"), picture(), picture())
    assert what_if.describe_swap(table, "a", "b").endswith(
        "its logit, against the mean of all classes, does not change.")
    assert what_if.describe_swap(table.assign(lead_change=0.001), "a", "b").endswith("changes by +0.001.")


class Inflating(nn.Module):
    """A gated path that feeds a constant part of every class's logit: opening it raises all of them."""

    def __init__(self):
        super().__init__()
        self.se, self.head = SqueezeExcite(4, 2), nn.Linear(4, 3)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[30.0] * 4, [31.0] * 4, [29.5] * 4]))

    def forward(self, x):
        return self.head(self.se(torch.cat([x, x[:, :1]], 1)).mean((2, 3)))


def test_a_gate_that_inflates_all_logits_is_no_gain_of_a_class():
    torch.manual_seed(0)
    model = sv.Model(Inflating().double(), lambda image: torch.zeros(3, 16, 16), ["a", "b", "c"])
    batch = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) + 1
    table = what_if.each_block(model, batch, target=2)
    before, after = (alone(model, batch, *edits).numpy() for edits in ([], [sv.Edit("*", 1)]))
    row = table[table["edit"] == "1"].iloc[0]
    assert (after > before + 20).all() and row["change"] == pytest.approx(after[2] - before[2])
    assert row["lead_change"] == pytest.approx((after[2] - after.mean()) - (before[2] - before.mean())) and (
        row["lead_change"] < 0)  # the logit rises by over 20, but the class falls behind the others
    assert f"falls with **{row['label']}** ({row['lead_change']:+.3g}, with all logits " in (
        what_if.describe_effects(table[table["edit"] == "1"]))


def test_sentences_of_a_swap_and_of_sizes(network):
    model = network("slim/sk")
    table = what_if.swap(model, picture(), picture(1))
    text = what_if.describe_swap(table, "a", "b")
    if table["of"].nunique() == 1:
        assert "no class to move towards" in text
    faked = table.assign(of="x", **{"class": "x", "class_before": "x", "lead_change": -1.0,
                                        "spread": 1.0})
    faked = pd.concat([faked[:17], faked[:17].assign(of="y", lead_change=[2.0] + [-3.0] * 15 + [-2.0])])
    text = what_if.describe_swap(faked, "a", "b")
    assert "the most probable class stays **x**" in text and "moves away from the other (-1)." in text
    assert text.endswith("it moves towards the other in **1** of 16 cases, most with **SK_2_1** (+3).")
    only = faked[faked["label"].isin([what_if.ALL, "SK_2_1"])]
    small = what_if.describe_swap(only.assign(lead_change=only["lead_change"] / 1000), "a", "b")
    assert small.endswith("moves away from the other (-0.001).")  # one block is all there are
    sizes = what_if.forced_sizes(model, sv.Model.noise(), sizes=(0.5, 1.0, 2.0))
    wide = sizes.assign(right=sizes["class"] == sizes["of"]).pivot(index="size", columns="edit")
    text = what_if.describe_sizes(sizes)
    own = wide["right", "own choice"].sum()
    assert f"at **{own}** of 3 sizes with the network's own choice; with all units forced " in text
    for edit, words in (("3x3", "forced to 3x3"), ("5x5", "forced to 5x5"), ("uniform", "at uniform weights")):
        assert f"{words} at {wide['right', edit].sum()}" in text
        assert f"{wide['probability', edit][2.0]:.1%} {words}" in text
    assert f"At 2× its probability is {wide['probability', 'own choice'][2.0]:.1%} with the own choice, " in text


@pytest.mark.parametrize("form", ["map", "nothing", "miscounted"])
def test_a_look_at_a_network_without_logits_of_classes_is_at_its_gates(form):
    net = make("slim/se")
    forms = {"map": lambda logits: logits[:, :, None, None].expand(-1, -1, 2, 2), "nothing": lambda logits: {"a": 1},
             "miscounted": lambda logits: logits[:, 1:]}

    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return forms[form](self.net(x))

    image = Image.fromarray(np.full((64, 64, 3), 100, np.uint8))
    model = sv.Model(Other(), lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255, NAMES)
    before, after = what_if.look(model, image), what_if.look(model, image, [sv.Edit("SE_3_*", 1)])
    assert before.view.cams == {}
    table = what_if.travel(before.view, after.view, [sv.Edit("SE_3_*", 1)])
    assert (table.loc[table["stage"] == 2, "difference"] == 0).all()
    assert (table.loc[table["stage"] > 3, "difference"] > 0).all()


def test_what_cannot_be_tried_is_said(network):
    model = network("slim/se")
    with pytest.raises(ValueError, match=r"one picture, .1, 3, H, W., not \(2, 3, 64, 64\)"):
        what_if.each_block(model, picture().expand(2, -1, -1, -1))
    with pytest.raises(ValueError, match="no attention block 'SE_9_9'; the network's are: SE_2_1"):
        what_if.each_channel(model, picture(), "SE_9_9")
    with pytest.raises(sv.EditError, match="only one image in the batch"):
        what_if.runs(model, picture(), [[sv.Edit("*", "shuffle images")]])
    with pytest.raises(sv.EditError, match="SE_9_9=1 matches no block"):
        what_if.runs(model, picture(), [[sv.Edit("SE_9_9", 1)]])
    with pytest.raises(ValueError, match="not finite"):
        what_if.each_block(model, picture() * float("nan"))
    model.classes.pop()
    with pytest.raises(ValueError, match="10 logits, but there are 9 class names"):
        what_if.each_block(model, picture())


@pytest.mark.parametrize("names", [[], ["smiling"], ["no", "yes"]])
def test_one_logit_is_for_and_against(network, names):
    many = network("slim/sk")
    torch.manual_seed(1)
    one = sv.Model(nn.Sequential(many.module, nn.Linear(CLASSES, 1)).float(), many.transform, names)
    both = for_and_against(one)
    rng = np.random.default_rng(0)
    photo, other = (Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(2))
    picture, second = one.batch([photo]), one.batch([other])
    edit = [sv.Edit(one.blocks[0].label, "uniform")]

    def changes(model, target=None):
        return what_if.changes(*(what_if.look(model, photo, edits).view for edits in ([], edit)), model.classes, target)

    for experiment in (lambda model, *target: what_if.each_block(model, picture, *target),
                       lambda model, *target: what_if.each_stage(model, picture, *target),
                       lambda model, *target: what_if.each_channel(model, picture, model.blocks[-1].label, *target),
                       lambda model, *target: what_if.forced_sizes(model, photo, *target), changes):
        for target in ((), (0,), (1,)):
            pd.testing.assert_frame_equal(experiment(one, *target), experiment(both, *target))
    pd.testing.assert_frame_equal(what_if.swap(one, picture, second), what_if.swap(both, picture, second))
    with torch.no_grad():
        chance = float(one.module(picture).sigmoid())
    table = what_if.each_block(one, picture, 1)
    assert (table["probability"] - table["probability_change"]).to_numpy() == pytest.approx(chance, abs=1e-5)
    assert table["probability_change"].abs().max() > 1e-4
    assert set(table["of"]) == {{0: "for", 1: "for smiling", 2: "yes"}[len(names)]}


def test_one_logit_with_three_names_is_refused(network):
    many = network("slim/se")
    one = sv.Model(nn.Sequential(many.module, nn.Linear(CLASSES, 1).double()), many.transform, NAMES[:3])
    with pytest.raises(ValueError, match="The network gives 1 logits, but there are 3 class names"):
        what_if.each_block(one, torch.rand(1, 3, 64, 64))
