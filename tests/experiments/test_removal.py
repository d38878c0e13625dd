"""Channels that are removed, by what is said of them, beside networks from which they are cut by hand."""
import copy
import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

import senet_viz as sv
from senet_viz.collecting import Computing, Settings, collect, evaluate
from senet_viz.data.datasets import open_pictures
from senet_viz.experiments.removal import channel_scores, removal_curve, removal_edits, removal_findings
from tests.runs import class_folders, make_batch, make_model

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return class_folders(tmp_path_factory.mktemp("pictures"), 30)


@pytest.fixture(scope="module")
def model():
    return make_model("se")


@pytest.fixture(scope="module")
def stats(folder, model, tmp_path_factory):
    return collect(model, folder, tmp_path_factory.mktemp("statistics") / "out", Settings(batch_size=16),
                   workers=0, progress=False)


def test_scores_are_what_they_are_called(model, stats):
    batch = make_batch(40)
    scores = channel_scores(model, stats, batch)
    assert list(scores) == ["gate", "output", "gamma", "random 1", "random 2", "random 3"]
    for block in model.blocks:
        view = sv.inspect(model, batch, features=[(block.name, "input")])
        passed = view.features[block.name, "input"] * view.gates[block.name][:, 0, :, None, None]
        np.testing.assert_allclose(scores["output"][block.name], passed.square().mean((0, 2, 3)), rtol=1e-4)
        np.testing.assert_allclose(scores["gate"][block.name], stats.overall_mean(block)[0])
        norm = model.module.get_submodule(block.name.replace("se", "bn3"))
        assert isinstance(norm, nn.BatchNorm2d)
        np.testing.assert_allclose(scores["gamma"][block.name], norm.weight.detach().abs(), rtol=1e-6)
        orders = [scores[f"random {draw}"][block.name].tolist() for draw in (1, 2, 3)]
        assert all(sorted(order) == list(range(block.channels)) for order in orders) and orders[0] != orders[1]


def test_a_network_without_batch_normalisation_has_no_gamma(stats):
    model = make_model("se")
    for block in model.blocks:
        unit = model.module.get_submodule(block.name.rpartition(".")[0])
        unit.bn3 = nn.GroupNorm(1, block.channels)
    assert "gamma" not in channel_scores(model, stats, make_batch(2))


def test_units_that_weigh_branches_take_nothing_away(stats):
    with pytest.raises(ValueError, match="sk has no block that scales its channels"):
        channel_scores(make_model("sk"), stats, make_batch(2))


def test_the_lowest_scores_go(model):
    values = {block.name: np.arange(block.channels)[::-1] for block in model.blocks}
    edits = removal_edits({"gate": values}, [0.25, 0.5])
    assert list(edits) == ["remove 25% by gate", "remove 50% by gate"]
    for edit, block in zip(edits["remove 25% by gate"], model.blocks):
        assert edit.where == block.name and edit.value == 0
        assert sorted(edit.channels) == list(range(block.channels - block.channels // 4, block.channels))
    with pytest.raises(ValueError, match="between 0 and 1, not 1"):
        removal_edits({"gate": values}, [0.5, 1.0])


def test_the_accuracy_that_is_left_is_that_of_a_network_cut_by_hand(folder, model, stats, tmp_path):
    edits = removal_edits(channel_scores(model, stats, make_batch(8)), [0.25, 0.75])
    table = evaluate(model, folder, tmp_path / "out", edits, Computing(batch_size=16), workers=0, progress=False)
    assert table["edit"].tolist() == ["unedited", *edits]
    pictures = open_pictures(folder)
    batch = torch.stack([model.transform(Image.open(io.BytesIO(pictures.read(i)))) for i in range(30)])
    labels = torch.tensor(pictures.labels)
    for name in ("remove 75% by gate", "remove 25% by gamma"):
        module = copy.deepcopy(model.module)
        for edit in edits[name]:  # an SE block scales what this normalisation gives
            norm = module.get_submodule(edit.where.replace("se", "bn3"))
            keep = torch.ones(len(norm.weight))
            keep[list(edit.channels)] = 0
            module.get_submodule(edit.where).register_forward_hook(
                lambda _, args, output, keep=keep: output * keep[:, None, None])
        right = (module(batch).argmax(1) == labels).double().mean().item()
        assert table.set_index("edit").loc[name, "top1"] == pytest.approx(right)
    curve = removal_curve(table).set_index(["score", "share"])
    assert curve.loc[("random", 0.25), "draws"] == 3 and curve.loc[("gate", 0.75), "draws"] == 1
    random = table[table["edit"].str.startswith("remove 25% by random")]
    assert curve.loc[("random", 0.25), "top1"] == pytest.approx(random["top1"].mean())
    assert curve.loc[("random", 0.25), "low"] == random["low"].min()


def test_nothing_removed_is_an_empty_curve():
    table = pd.DataFrame({"edit": ["unedited", "SE_2_1=1"], "top1": [0.5, 0.4]})
    assert removal_curve(table).empty and removal_findings(removal_curve(table), 0.5) == []


@pytest.mark.parametrize(("gate", "said"), [
    ((-0.02, 0.0), "The gate chooses better than any of 3 draws at random."),
    ((-0.4, -0.3), "The gate chooses worse than any of 3 draws at random."),
    ((-0.15, -0.05), "Whether the gate chooses better than any of 3 draws at random cannot be told.")])
def test_sentences(gate, said):
    curve = pd.DataFrame({"score": ["gate", "random"], "share": 0.25, "draws": [1, 3], "images": 2000,
                          "top1": [0.6, 0.5], "low": [gate[0], -0.12], "high": [gate[1], -0.1]})
    found, = removal_findings(curve, 0.62)
    assert found.startswith("With 25% of each block's channels removed, top-1 over 2,000 pictures, 62.0%, becomes "
                            "60.0% without those with the lowest mean gate, 50.0% at random.") and found.endswith(said)


def test_a_few_draws_at_random_are_not_chance():
    """One more draw is beyond all three others in a quarter of cases each way, however sure each accuracy is."""
    generator, beyond = np.random.default_rng(0), 0
    for _ in range(400):
        left = generator.normal(-0.2, 0.05, 4)
        curve = pd.DataFrame({
            "score": ["gate", "random"], "share": 0.25, "draws": [1, 3], "images": 10 ** 6,
            "top1": 0.6 + np.array([left[0], left[1:].mean()]), "low": [left[0], left[1:].min()],
            "high": [left[0], left[1:].max()]})
        [found] = removal_findings(curve, 0.6)
        beyond += "cannot be told" not in found
        assert "chance" not in found
    assert 160 < beyond < 240


def test_what_leaves_more_than_the_gate_is_named():
    curve = pd.DataFrame({"score": ["gate", "output", "random"], "share": 0.25, "draws": [1, 1, 3], "images": 2000,
                          "top1": [0.6, 0.61, 0.5], "low": [-0.03, -0.009, -0.13],
                          "high": [-0.01, 0.0, -0.11]})
    [found] = removal_findings(curve, 0.62)
    assert found.endswith("The gate chooses better than any of 3 draws at random. Most is left without those with the "
                          "least mean square of s·U.")
    [found] = removal_findings(curve.assign(low=[-0.03, -0.02, -0.13]), 0.62)  # the intervals meet
    assert "61.0%" in found and "Most is left" not in found
    [found] = removal_findings(curve[curve["score"] != "output"], 0.62)
    assert "Most is left" not in found
