"""What the sample of whole gates tells, computed again from recorded pictures."""
import importlib
import io
import math
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import rankdata

import senet_viz as sv
from senet_viz.collecting import Computing, evaluate
from senet_viz.collecting.sample import evenly, rank_specificity
from senet_viz.data.datasets import open_pictures
from senet_viz.data.properties import picture_properties
from senet_viz.statistics import summaries
from senet_viz.statistics.decoding import decoded
from senet_viz.statistics.drivers import drivers
from tests.runs import LABELS, class_folders, make_model

merging = importlib.import_module("senet_viz.collecting.merge")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """130 pictures."""
    return class_folders(tmp_path_factory.mktemp("many"), 130)


@pytest.fixture(scope="module")
def whole(run, many, tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole") / "out", data=many,
               options={"batch_size": 32, "shard_size": 50, "random_weights": 3})


@pytest.fixture(scope="module")
def unsampled(run, many, tmp_path_factory):
    return run(tmp_path_factory.mktemp("unsampled") / "out", data=many,
               options={"batch_size": 32, "shard_size": 50, "sample": 0})


@pytest.fixture(scope="module")
def view(many):
    """All pictures in the order of the data, and their classes."""
    model, pictures = make_model(), open_pictures(many)
    batch = torch.stack([model.transform(Image.open(io.BytesIO(pictures.read(i)))) for i in range(len(pictures))])
    units = {}
    handles = [model.module.get_submodule(name).register_forward_pre_hook(
        lambda _, given, name=name: units.update({name: given[0].detach().flatten(1).numpy()}))
        for name in ("layer1.0.se.expand", "layer1.0.conv2.select")]
    found = sv.inspect(model, batch, features=[(block.name, "input") for block in model.blocks])
    for handle in handles:
        handle.remove()
    return found, np.asarray(pictures.labels), units


def ratio(values: np.ndarray) -> float:
    one, two = np.cov(values[::2].T), np.cov(values[1::2].T)
    return np.trace(one) * np.trace(two) / np.trace(one @ two)


def test_every_measure_of_every_gate_and_its_input_is_numpys(whole, view):
    found, labels, _ = view
    table = summaries.dimension(whole).set_index(["label", "source"])
    assert set(table["images"]) == {130} and len(table) == 3 * len(whole.blocks)
    for block in whole.blocks:
        for source in ("gate", "squeeze"):
            for branch in range(block.branches if source == "gate" else 1):
                values = (found.gates[block.name][:, branch] if source == "gate" else
                          found.features[block.name, "input"].mean((2, 3))).double().numpy()
                row = whole.measures(block, source, branch)
                told = len(values) >= 3 * ratio(values)
                assert math.isnan(row["dimension"]) != told
                if told:
                    assert row["dimension"] == pytest.approx(ratio(values), rel=1e-3)
                    assert 0 < row["error"] < row["dimension"]
                distances = np.sort(np.square(values - values.mean(0)).sum(1))
                assert row["tail"] == pytest.approx(distances[-1:].sum() / distances.sum(), rel=1e-3)
                between = np.array([(labels == k).sum() * np.square(
                    values[labels == k].mean(0) - values.mean(0)).sum() for k in range(3)])
                assert row["classes"] == pytest.approx(between.sum() ** 2 / np.square(between).sum(), rel=1e-3)
                near = values[np.sort(np.argsort(np.square(values - values.mean(0)).sum(1))[:-1])]  # 1 % is one of 130
                assert math.isnan(row["trimmed"]) or row["trimmed"] == pytest.approx(ratio(near), rel=1e-3)
                hits = 0
                scale = np.sqrt(sum(np.square(values[labels == k] - values[labels == k].mean(0)).sum(0)
                                    for k in range(3)) / (len(values) - 3))
                for i, value in enumerate(values):
                    others = np.arange(len(values)) != i
                    means = [values[(labels == k) & others].mean(0) for k in range(3)]
                    hits += np.argmin([np.square((value - mean) / scale).sum() for mean in means]) == labels[i]
                assert row["nearest"] == pytest.approx(hits / len(values), abs=0.02)
                # what LDA tells is compared with scikit-learn's in test_decoding
                assert row["decoded"] == pytest.approx(decoded(torch.from_numpy(values), torch.from_numpy(labels)),
                                                       abs=0.02)
                assert row == pytest.approx(whole.measures(block, source, branch - (
                    block.branches if source == "gate" else 1)), nan_ok=True)
        last = table.loc[(block.label, "gate")]
        assert last["dimension"] == pytest.approx(whole.measures(block)["dimension"], nan_ok=True)


def test_the_specificity_of_ranks_is_scipys(whole, view):
    found, labels, _ = view
    for block in whole.blocks:
        for source in ("gate", "squeeze"):
            values = (found.gates[block.name][:, -1] if source == "gate" else
                      found.features[block.name, "input"].mean((2, 3))).numpy()
            omega = whole.rank_specificity(block, source)
            assert omega.shape == (block.channels,)
            for channel in range(block.channels):
                ranks = rankdata(values[:, channel])
                groups = [ranks[labels == k] for k in range(3)]
                within = sum(np.square(group - group.mean()).sum() for group in groups)
                total = np.square(ranks - ranks.mean()).sum()
                error = within / (len(ranks) - 3)
                assert omega[channel] == pytest.approx((total - within - 2 * error) / (total + error), abs=2e-3)


def test_one_outlier_moves_omega_squared_and_not_that_of_ranks():
    rng = np.random.default_rng(0)
    values, labels = torch.from_numpy(rng.normal(size=(300, 4))), torch.arange(300) % 30
    before = rank_specificity(values, labels)
    values[7] = 1e4
    np.testing.assert_allclose(rank_specificity(values, labels), before, atol=0.02)


def test_the_farthest_pictures(whole, view):
    for block in whole.blocks:
        values = view[0].gates[block.name][:, -1].double().numpy()
        distance = np.square(values - values.mean(0)).sum(1)
        found = whole.farthest(block)
        assert len(found) == len(set(found)) == 20
        np.testing.assert_allclose(distance[found], np.sort(distance)[::-1][:20], rtol=1e-4)
    files = whole.images(["index", "file"]).set_index("index")["file"]
    assert files.loc[found].notna().all()


def test_what_drives_each_gate(whole, view, many):
    found, labels, _ = view
    pictures = open_pictures(many)
    told = torch.tensor([(*picture_properties(Image.open(io.BytesIO(pictures.read(i)))), math.nan)
                         for i in range(len(pictures))])
    for block in whole.blocks:
        expected = drivers(found.gates[block.name], -1, found.features[block.name, "input"].mean((2, 3)),
                           torch.from_numpy(labels), told)
        assert whole.drivers(block) == pytest.approx(expected, abs=2e-3, nan_ok=True)
        assert math.isnan(whole.drivers(block)["size"])  # no boxes are known of these
        assert whole.drivers(block)["all"] > 0.3


def test_random_weights_are_drawn_anew_each_time(whole, view, many, run, tmp_path):
    assert whole.draws == 3
    block = whole.blocks[-1]
    seen = [whole.variance(block, "random", draw=draw)[0] for draw in range(3)]
    assert not np.allclose(seen[0], seen[1]) and not np.allclose(seen[1], seen[2])
    assert len({whole.measures(block, "random", draw=draw)["dimension"] for draw in range(3)}) == 3
    one = run(tmp_path / "out", data=many, options={"batch_size": 32, "shard_size": 50, "random_weights": 1})
    assert one.draws == 1
    np.testing.assert_allclose(one.variance(block, "random")[0], seen[0], rtol=1e-6)
    looks = whole.images()["look"]
    assert set(looks) == {"zoom", "random 0", "random 1", "random 2"}
    assert looks.value_counts().nunique() == 1


def test_the_principal_directions_are_numpys(whole, view):
    for block in whole.blocks:
        values = view[0].gates[block.name].double().numpy()
        directions = whole.components(block)
        assert directions.shape == (min(8, block.channels), block.branches, block.channels)
        for m in range(block.branches):
            expected = np.linalg.svd(values[:, m] - values[:, m].mean(0))[2][:2]
            np.testing.assert_allclose(np.abs((directions[:2, m] * expected).sum(1)), 1, atol=1e-3)


def test_hidden_units_that_live_and_what_they_add(whole, view):
    table = summaries.hidden_units(whole).set_index("block")
    assert list(table.index) == [block.name for block in whole.blocks]
    for name, layer in (("layer1.0.se", "layer1.0.se.expand"), ("layer1.0.conv2", "layer1.0.conv2.select")):
        units = view[2][layer].astype(float)
        share, weights = (units > 0).mean(0), make_model().module.get_submodule(layer).weight.detach().double().numpy()
        added = np.square(weights.reshape(len(weights), -1)).sum(0) * units.var(0)
        assert table.loc[name, "units"] == units.shape[1]
        assert table.loc[name, "alive"] == ((share >= 0.01) & (share <= 0.99)).sum()
        assert table.loc[name, "effective"] == pytest.approx(added.sum() ** 2 / np.square(added).sum(), rel=1e-3)


def test_of_more_pictures_a_sample_is_kept_and_the_rest_is_the_same(run, whole, view, many, tmp_path):
    stats = run(tmp_path / "out", data=many, options={"batch_size": 32, "shard_size": 50, "sample": 60})
    assert stats.sampled == 60
    chosen = np.arange(60) * 130 // 60
    block = stats.blocks[0]
    values = view[0].gates[block.name][chosen, 0].double().numpy()
    assert stats.measures(block)["dimension"] == pytest.approx(ratio(values), rel=1e-3)
    assert math.isnan(stats.measures(block)["tail"])  # of 60 pictures nobody is 1 %
    np.testing.assert_array_equal(stats.mean(block), whole.mean(block))
    with pytest.raises(ValueError, match="not measured of 'random'"):
        stats.measures(block, "random")


def test_without_a_sample_it_says_what_it_lacks(run, unsampled, many, tmp_path):
    for function in (summaries.dimension, summaries.hidden_units, lambda s: s.components(s.blocks[0])):
        with pytest.raises(ValueError, match="do not tell how channels move together"):
            function(unsampled)
    with pytest.raises(ValueError, match="sample is a number of pictures"):
        run(tmp_path / "other", data=many, options={"sample": -1})


def test_a_compact_archive_tells_the_same(full, compact):
    for block in full.blocks:
        for zoom in (1.0, 1.5):
            for source in ("gate", "squeeze", "random"):
                assert full.measures(block, source, zoom=zoom) == pytest.approx(
                    compact.measures(block, source, zoom=zoom), nan_ok=True)
            np.testing.assert_allclose(full.components(block, zoom), compact.components(block, zoom), atol=1e-3)
    assert full.sampled == len(LABELS)
    assert full.measures(full.blocks[0], zoom=1.0) != full.measures(full.blocks[0], zoom=1.5)


@pytest.mark.parametrize(("count", "wanted", "expected"), [
    (5, 9, [0, 1, 2, 3, 4]), (5, 5, [0, 1, 2, 3, 4]), (7, 3, [0, 2, 4]), (7, 0, [])])
def test_evenly(count, wanted, expected):
    assert evenly(count, wanted).tolist() == expected


@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_are_measured_side_by_side_and_each_on_one_thread(threads):
    """In their order, whoever is done first; sums are those of one thread, on however many the blocks are."""
    before, seen = torch.get_num_threads(), set()

    def function(place):
        seen.add((threading.get_ident(), torch.get_num_threads()))
        time.sleep(0.02 * (5 - place))
        return place ** 2

    plan = SimpleNamespace(settings=SimpleNamespace(threads=threads))
    assert merging._side_by_side(plan, function, range(5)) == [0, 1, 4, 9, 16]
    assert len(seen) == threads and {count for _, count in seen} == {1}
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError):
        merging._side_by_side(plan, lambda place: 1 / place, [1, 0])
    assert merging._slices([2, 0, 3]) == [slice(0, 2), slice(2, 2), slice(2, 5)]


def test_an_edit_keeps_the_mean_and_the_first_directions(whole, view):
    model, block, found = make_model(), whole.blocks[0], view[0]
    images = torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    before = sv.record(model, images).gates[block.name].double().numpy()
    mean = found.gates[block.name].double().numpy().mean(0)
    for k in (0, 1, 3):
        directions = whole.components(block)[:k].astype(float)
        expected = mean + np.stack([(before[:, m] - mean[m]) @ directions[:, m].T @ directions[:, m]
                                    for m in range(block.branches)], 1)
        edit, = sv.parse_edits(f"{block.label}=rank {k}", rank=whole.rank)
        assert str(edit) == f"{block.label}=rank {k}"
        edited = sv.inspect(model, images, edits=[edit])
        np.testing.assert_allclose(edited.gates[block.name], expected, atol=1e-5)
    every = sv.inspect(model, images, edits=[sv.Edit("SK_*", whole.rank(4))])  # of four channels all directions
    for block in whole.blocks:
        if block.kind == "SK" and block.channels == 4:
            np.testing.assert_allclose(every.gates[block.name], sv.record(model, images).gates[block.name], atol=1e-5)


def test_rank_0_is_the_mean(whole):
    block = whole.blocks[0]
    nearest = whole.rank(0)[block.name].nearest(torch.rand(2, block.branches, block.channels), 0)
    np.testing.assert_allclose(nearest, whole.overall_mean(block)[None].repeat(2, 0), atol=1e-6)


def test_ranks_that_cannot_be_made(whole, unsampled):
    last = whole.blocks[-1]
    with pytest.raises(sv.EditError, match=rf"the statistics hold the first 8 directions of {last.label}, and no more"):
        sv.inspect(make_model(), torch.rand(1, 3, 24, 24), edits=[sv.Edit(last.label, whole.rank(9))])
    with pytest.raises(sv.EditError, match="'rank 1' stands for nothing without statistics"):
        sv.Edit("*", "rank 1")
    with pytest.raises(sv.EditError, match="does not fit"):
        sv.inspect(make_model(), torch.rand(1, 3, 24, 24), edits=[sv.Edit("*", {
            block.name: whole.rank(1)[whole.blocks[0].name] for block in whole.blocks})])
    with pytest.raises(ValueError, match="do not tell how channels move together"):
        unsampled.rank(1)


def test_evaluations_of_ranks(whole, many, tmp_path):
    model = make_model()
    table = evaluate(model, many, None, ["*=rank 0", "*=mean", "*=rank 1"], Computing(batch_size=32, shard_size=50),
                     statistics=whole, workers=0, progress=False).set_index("edit")
    assert list(table.index) == ["unedited", "*=rank 0", "*=mean", "*=rank 1"]
    assert table.loc["*=rank 0", "probability"] == pytest.approx(table.loc["*=mean", "probability"], rel=1e-5)
    assert table.loc["*=rank 1", "probability"] != pytest.approx(table.loc["*=mean", "probability"], rel=1e-5)
