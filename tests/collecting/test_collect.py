import copy
import io
import multiprocessing
import random
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn

import senet_viz as sv
from senet_viz.collecting import Settings, collect, shards
from senet_viz.data.datasets import Pictures, open_pictures
from senet_viz.data.images import zoom
from senet_viz.layers import SelectiveKernel, SqueezeExcite
from senet_viz.models import slim_resnet50
from senet_viz.models.copies import random_weights
from senet_viz.tables import sampled_channels
from tests.runs import noise, png, with_small_network

FILES = ["images.parquet", "metadata.json", "sample.safetensors", "statistics.safetensors", "unreadable.csv"]
CLOSE = {"rtol": 1e-9, "atol": 1e-12}


@pytest.fixture(scope="module")
def small_run(run):
    return with_small_network(run)


# a computation by hand

def images_of(data: Path) -> list[Image.Image]:
    column = pq.read_table(data / "val.parquet")["image"]
    return [Image.open(io.BytesIO(cell.as_py())).convert("RGB") for cell in column]


def labels_of(data: Path) -> np.ndarray:
    return np.array([-1 if v is None else v for v in pq.read_table(data / "val.parquet")["label"].to_pylist()])


def seen_by(module: nn.Module, blocks, tensors: torch.Tensor, settings: Settings):
    """Logits, gates (N, M, C) and squeezed inputs (N, C) of each block, as float64, from hooks of our own.

    The same batches and memory format: rounding of float32 would otherwise be all that is compared.
    """
    module = copy.deepcopy(module).to(memory_format=torch.channels_last)
    logits, gates, squeezed = [], {b.name: [] for b in blocks}, {b.name: [] for b in blocks}
    maps = {}
    for block in blocks:
        module.get_submodule(block.gate).register_forward_hook(
            lambda _, __, gate, b=block: gates[b.name].append(gate.reshape(-1, b.branches, b.channels)))
        if block.kind == "SE":
            module.get_submodule(block.name).register_forward_pre_hook(
                lambda _, args, b=block: squeezed[b.name].append(args[0].mean((2, 3))))
        for m, path in enumerate(block.paths):
            module.get_submodule(path).register_forward_hook(
                lambda _, __, u, b=block, m=m: maps.__setitem__((b.name, m), u.clone()))
    for shard in tensors.split(settings.shard_size):
        for batch in shard.split(settings.batch_size):
            with torch.no_grad():
                logits.append(module(batch.contiguous(memory_format=torch.channels_last)))
            for block in blocks:
                if block.kind == "SK":
                    squeezed[block.name].append((maps[block.name, 0] + maps[block.name, 1]).mean((2, 3)))
    join = lambda parts: torch.cat(parts).double().numpy()  # noqa: E731
    return (join(logits), {name: join(parts) for name, parts in gates.items()},
            {name: join(parts) for name, parts in squeezed.items()})


def between_and_within(values: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, labels = values[labels >= 0], labels[labels >= 0]
    grand, between, within = values.mean(0), 0.0, 0.0
    for k in np.unique(labels):
        rows = values[labels == k]
        between = between + len(rows) * (rows.mean(0) - grand) ** 2
        within = within + ((rows - rows.mean(0)) ** 2).sum(0)
    return between, within


@pytest.mark.parametrize("attention", ["se", "sk", "se+sk"])
def test_as_computed_by_hand(network, data_set, run, settings, tmp_path, attention):
    model, options = network(attention), {"zooms": (1, 1.5), "random_weights": True}
    stats = run(tmp_path / "out", model, options=options)
    images, labels, settings = images_of(data_set), labels_of(data_set), settings(**options)
    assert {block.kind for block in model.blocks} == set(attention.upper().split("+"))
    assert stats.classes == [f"kind {k}, or so" for k in range(5)]
    assert stats.count.tolist() == [(labels == k).sum() for k in range(5)] == [8, 4, 6, 0, 2]
    calibration = torch.stack([model.transform(image) for image in images])
    control = random_weights(model.module, calibration)
    dealt = labels.copy()
    dealt[labels >= 0] = np.random.default_rng(0).permutation(labels[labels >= 0])
    every = stats.images()
    rows, of_control = every[every["look"] == "zoom"], every[every["look"] == "random 0"]
    for factor in stats.zooms:
        tensors = torch.stack([model.transform(zoom(image, factor)) for image in images])
        logits, gates, squeezed = seen_by(model.module, model.blocks, tensors, settings)
        _, drawn, _ = seen_by(control, model.blocks, tensors, settings)
        points = [(block.name, "input") for block in model.blocks]
        view = sv.inspect(model, tensors, features=points)
        table = rows[rows["zoom"] == factor].reset_index()
        softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        np.testing.assert_array_equal(table["top1"], logits.argmax(1))
        np.testing.assert_allclose(table["probability"], softmax.max(1), rtol=1e-5)
        np.testing.assert_array_equal(table["label"], labels)
        np.testing.assert_array_equal(table["file"], [f"picture {i}" for i in range(len(labels))])
        for block in model.blocks:
            gate, z = gates[block.name], squeezed[block.name]
            np.testing.assert_allclose(gate, view.gates[block.name], atol=2e-6)
            np.testing.assert_allclose(z, view.features[block.name, "input"].mean((2, 3)), rtol=1e-5, atol=1e-5)

            for k in range(5):
                of_class = gate[labels == k]
                if not len(of_class):
                    for ask in (stats.mean, stats.std, stats.min, stats.max):
                        assert np.isnan(ask(block, factor)[k]).all()
                    continue
                np.testing.assert_allclose(stats.mean(block, factor)[k], of_class.mean(0), **CLOSE)
                np.testing.assert_allclose(stats.std(block, factor)[k], of_class.std(0), **CLOSE)
                np.testing.assert_array_equal(stats.min(block, factor)[k], of_class.min(0))
                np.testing.assert_array_equal(stats.max(block, factor)[k], of_class.max(0))
            np.testing.assert_allclose(stats.overall_mean(block, zoom=factor), gate.mean(0), **CLOSE)
            np.testing.assert_allclose(stats.overall_std(block, factor), gate.std(0), **CLOSE)
            np.testing.assert_array_equal(stats.overall_min(block, factor), gate.min(0))
            np.testing.assert_array_equal(stats.overall_max(block, factor), gate.max(0))
            by_class = np.mean([gate[labels == k].mean(0) for k in (0, 1, 2, 4)], 0)
            np.testing.assert_allclose(stats.overall_mean(block, "class", factor), by_class, **CLOSE)
            assert np.abs(by_class - gate.mean(0)).max() > 1e-4  # the two do differ here

            for source, values, deal in (("gate", gate, labels), ("squeeze", z[:, None], labels),
                                         ("random", drawn[block.name], labels), ("shuffled", gate, dealt)):
                expected = between_and_within(values, deal)
                channels = sampled_channels(block.channels) if source == "shuffled" else np.arange(block.channels)
                others = np.setdiff1d(np.arange(block.channels), channels)
                for found, value in zip(stats.variance(block, source, factor), expected):
                    np.testing.assert_allclose(found[:, channels], value[:, channels], **CLOSE)
                    assert np.isnan(found[:, others]).all()

            counts = stats.histogram(block, factor)
            for m, c in np.ndindex(block.branches, block.channels):
                np.testing.assert_array_equal(counts[m, c], np.histogram(gate[:, m, c], 100, (0, 1))[0])

            last = gate[:, -1].astype(np.float32)
            expected = {"mean": last.mean(1), "std": last.std(1), "below": (last < 0.05).mean(1),
                        "above": (last > 0.95).mean(1)}
            if block.branches > 1:
                expected["difference"] = (gate[:, 1] - gate[:, 0]).mean(1)
            for name, value in expected.items():
                np.testing.assert_allclose(table[f"{block.label}_{name}"], value, rtol=1e-5, atol=1e-6)
            assert (f"{block.label}_difference" in table) == (block.kind == "SK")
            if block.branches > 1:
                np.testing.assert_allclose(
                    of_control.loc[of_control["zoom"] == factor, f"{block.label}_difference"],
                    (drawn[block.name][:, 1] - drawn[block.name][:, 0]).mean(1), rtol=1e-5, atol=1e-6)
    assert len(rows) == 2 * len(labels) and len(every) == len(rows) + len(of_control)
    assert len(of_control) == (0 if attention == "se" else len(rows))  # only units are compared picture by picture
    assert rows["index"].tolist() == sorted([*range(len(labels))] * 2)


def test_sampled_channels_of_a_wide_block(tmp_path, settings, network):
    """Of more than 50 channels the control with shuffled labels looks at some."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = slim_resnet50("sk", num_classes=3, widths=(4, 4, 8, 60)).eval()
    model = network("sk", module)
    stats = collect(model, noise([0, 1] * 4), tmp_path / "out", settings(), workers=0, progress=False)
    block = model.blocks[-1]
    assert block.channels == 60
    between, within = stats.variance(block, "shuffled")
    assert np.isnan(between[:, 1::2]).all()
    assert np.isnan(within[:, 1::2]).all()
    assert np.isfinite(between[:, ::2]).all()
    total = stats.overall_std(block) ** 2 * 8
    np.testing.assert_allclose((between + within)[:, ::2], total[:, ::2], rtol=1e-9, atol=1e-15)


# which pictures

def test_unlabelled_pictures_count_for_all_only(run, data_set, network, tmp_path):
    stats = run(tmp_path / "all")
    assert (stats.metadata["images"], stats.metadata["unlabelled"], stats.count.sum()) == (23, 3, 20)
    pictures = open_pictures(data_set)
    known = [i for i, label in enumerate(pictures.labels) if label >= 0]
    labelled = Pictures(lambda i: pictures.read(known[i]), [pictures.labels[i] for i in known], pictures.classes)
    without = run(tmp_path / "without", data=labelled)
    for block in stats.blocks:
        np.testing.assert_allclose(stats.mean(block), without.mean(block), atol=1e-6)
        assert np.abs(stats.overall_mean(block) - without.overall_mean(block)).max() > 1e-4
        for a, b in zip(stats.variance(block), without.variance(block)):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("compact", [False, True])
def test_no_labels_at_all(small_run, tmp_path, compact):
    stats = small_run(tmp_path / "out", data=noise([-1] * 9), compact=compact)
    assert (stats.classes, stats.count.tolist()) == ([], [])
    assert (stats.metadata["images"], stats.metadata["unlabelled"]) == (9, 9)
    for block in stats.blocks:
        assert stats.mean(block).shape == (0, block.branches, block.channels)
        assert np.isfinite(stats.overall_mean(block)).all()
        assert stats.histogram(block).sum() == 9 * block.branches * block.channels
        for source in stats.sources:
            assert np.nan_to_num(np.stack(stats.variance(block, source))).max() == 0
    assert (stats.images()["label"] == -1).all()


def test_limit(small_run, data_set, tmp_path):
    stats = small_run(tmp_path / "out", limit=9)
    assert stats.metadata["count"] == stats.metadata["images"] == len(stats.images()) == 9
    assert stats.count.tolist() == [3, 2, 1, 0, 1]  # and two without a label: spread over the data set
    assert stats.images()["index"].tolist() == [0, 2, 5, 7, 10, 12, 15, 17, 20]
    assert len(stats.classes) == 5
    assert small_run(tmp_path / "more", limit=1000).metadata["count"] == 23
    for limit in (0, -3):
        with pytest.raises(ValueError, match=f"the limit is 1 picture or more, not {limit}"):
            small_run(tmp_path / "none", limit=limit)
    assert not (tmp_path / "none").exists()


def test_classes_without_a_picture_take_no_memory(small_run, tmp_path, data_set):
    """Of the 20,000 names of a taxonomy a data set has a few."""
    table = pq.read_table(data_set / "val.parquet")
    labels = [None if label is None else 5000 * label for label in table["label"].to_pylist()]
    (tmp_path / "data").mkdir()
    where = table.column_names.index("label")
    pq.write_table(table.set_column(where, "label", [labels]), tmp_path / "data/val.parquet")
    (tmp_path / "data/classes.csv").write_text("label,name\n" + "".join(f"{k},name {k}\n" for k in range(20_001)))
    stats, expected = small_run(tmp_path / "out", data=tmp_path / "data"), small_run(tmp_path / "few")
    assert stats.classes == ["name 0", "name 5000", "name 10000", "name 20000"]
    for block in stats.blocks:
        np.testing.assert_array_equal(stats.mean(block), expected.mean(block)[[0, 1, 2, 4]])
    assert stats.images()["label"].tolist() == [min(label, 3) for label in expected.images()["label"]]


def by_hand_window(size, factor, centre):
    """Edges (left, top, right, bottom) of what a zoom leaves."""
    side = np.array(size) / factor
    start = np.clip(np.array(centre) - side / 2, 0, size - side)
    return (*start, *(start + side))


@pytest.mark.parametrize("around", ["centre", "box"])
def test_zooms(small_run, data_set, tmp_path, around):
    stats = small_run(tmp_path / "out", options={"zooms": [1, 1.7, 3], "around": around})
    assert stats.zooms == (1.0, 1.7, 3.0)
    images, table = images_of(data_set), pq.read_table(data_set / "val.parquet").to_pandas()
    rows = stats.images()
    for number, factor in enumerate(stats.zooms):
        enlarged, fits, shares = [], [], []
        for image, (_, row) in zip(images, table.iterrows()):
            box = None if np.isnan(row["x0"]) else (row["x0"], row["y0"], row["x1"] + 1, row["y1"] + 1)
            centre = (image.width / 2, image.height / 2)
            if around == "box" and box:
                centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
            left, top, right, bottom = by_hand_window(image.size, factor, centre)
            enlarged.append(png(zoom(image, factor, centre)))
            fits.append(box and bool(left <= box[0] and top <= box[1] and box[2] <= right and box[3] <= bottom))
            shares.append((box[2] - box[0]) * (box[3] - box[1]) / (image.width * image.height) if box else np.nan)
        pictures = open_pictures(data_set)
        enlarged = Pictures(enlarged.__getitem__, pictures.labels, pictures.classes)
        alone = small_run(tmp_path / f"{number}", data=enlarged)
        for block in stats.blocks:
            for name in ("mean", "std", "min", "max", "overall_mean", "overall_std", "histogram"):
                ask, other = getattr(stats, name), getattr(alone, name)
                np.testing.assert_array_equal(ask(block, zoom=factor), other(block))
        part = rows[rows["zoom"] == factor].reset_index()
        assert part["fits"].tolist() == fits
        np.testing.assert_allclose(part["box"], shares, rtol=1e-12)
    assert {*rows["fits"]} == {True, False, None}


def with_boxes(data_set, boxes):
    """The data set, of whose pictures (30 × 30) some have other boxes: index → edges."""
    pictures = open_pictures(data_set)
    for index, box in boxes.items():
        pictures.boxes[index] = box
    return Pictures(pictures.read, pictures.labels, pictures.classes, boxes=pictures.boxes)


@pytest.mark.parametrize("around", ["centre", "box"])
def test_what_is_no_box_counts_as_none(small_run, data_set, content, tmp_path, around):
    """An exporter's mistake in one row does not end a run over the others, which is as if that box were not known."""
    wrong = {0: (9, 2, 3, 12), 1: (2, 9, 12, 3), 2: (5, 5, 5, 9), 5: (np.inf, 2, np.inf, 9), 6: (2, -np.inf, 9, np.inf),
             8: (30, 0, 40, 9), 9: (0, -9, 9, 0), 10: (-9, 31, -3, 40), 11: (1, np.nan, 9, 9)}
    options = {"zooms": (1, 2), "around": around}
    stats = small_run(tmp_path / "out", data=with_boxes(data_set, wrong), options=options)
    none = small_run(tmp_path / "none", data=with_boxes(data_set, dict.fromkeys(wrong, np.nan)), options=options)
    known = stats.images().groupby("index")["box"].count()
    assert known.loc[list(wrong)].eq(0).all() and known.sum() == 2 * (len(known) - len(wrong) - 2)  # two have none
    assert content(stats.path) | {"metadata.json": b""} == content(none.path) | {"metadata.json": b""}


def test_a_box_of_one_pixel_or_partly_outside_is_one(small_run, data_set, tmp_path):
    rows = small_run(tmp_path / "out", data=with_boxes(data_set, {0: (4, 4, 5, 5), 1: (-2, 4, 6, 14)})).images()
    np.testing.assert_allclose(rows.set_index("index")["box"][[0, 1]], [1 / 900, 80 / 900])


def test_controls_of_zooms(run, data_set, network, tmp_path):
    """A row a picture and look, from pictures blurred and cropped by hand; what goes by class is as without them."""
    plain = run(tmp_path / "plain", options={"zooms": (0.5, 1, 2)})
    stats = run(tmp_path / "out", options={"zooms": (0.5, 1, 2), "controls": True})
    rows = stats.images().set_index(["look", "zoom", "index"])
    assert dict(rows.groupby(level=["look", "zoom"]).size()) == dict.fromkeys(
        [("blur", 0.5), ("blur", 2), ("elsewhere", 2), ("zoom", 0.5), ("zoom", 1), ("zoom", 2)], 23)
    for block in stats.blocks:
        assert np.array_equal(stats.mean(block, 2), plain.mean(block, 2), equal_nan=True)
    pictures = images_of(data_set)
    looks = {"blur": [p.resize((15, 15), Image.Resampling.BICUBIC).resize((30, 30), Image.Resampling.BICUBIC)
                      for p in pictures],
             "elsewhere": [p.resize((30, 30), Image.Resampling.BICUBIC, box=(15, 15, 30, 30)) for p in pictures]}
    model = network("se+sk")
    for look, made in looks.items():
        view = sv.record(model, model.batch(made))
        for block in stats.blocks:
            expected = view.gates[block.name][:, -1].mean(1)
            np.testing.assert_allclose(rows.loc[(look, 2.0), f"{block.label}_mean"], expected, atol=1e-6)


def test_around_boxes_where_there_are_none(small_run, tmp_path):
    with pytest.raises(ValueError, match="own pictures has no boxes to enlarge"):
        small_run(tmp_path / "out", data=noise([0, 1]), options={"around": "box"})
    assert "box" not in small_run(tmp_path / "out", data=noise([0, 1])).images()


@pytest.mark.parametrize(("options", "message"), [
    ({"zooms": (0,)}, "zooms are finite factors above 0, not 0.0"), ({"zooms": ()}, "not none"),
    ({"zooms": (float("nan"),)}, "not nan"), ({"zooms": (float("inf"),)}, "not inf"),
    ({"zooms": (2, 2.0)}, "each zoom is given once"), ({"around": "corner"}, "not 'corner'"),
    ({"precision": "int8"}, "the precision is fp32, bf16, fp16 or auto, not 'int8'"),
    ({"batch_size": 0}, "batch size is 1 or more, not 0"), ({"shard_size": -1}, "shard size is 1 or more"),
    ({"threads": 0}, "threads is 1 or more")])
def test_settings_that_make_no_sense(run, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "out", options=options)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_collected(run, network, tmp_path):
    plain = network("none", slim_resnet50("none", num_classes=3, widths=(4, 4, 4, 4)))
    with pytest.raises(ValueError, match="none has no attention blocks, so there is nothing to collect"):
        run(tmp_path / "out", plain)
    with pytest.raises(ValueError, match="there are no pictures in own pictures"):
        run(tmp_path / "out", data=Pictures([].__getitem__, [], []))
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        run(tmp_path / "out", data=tmp_path / "missing")
    with pytest.raises(ValueError, match="there is no engine 'spark': choose local or ray"):
        run(tmp_path / "out", engine="spark")
    with pytest.raises(ValueError, match="an address is of a Ray cluster, where the engine ray computes"):
        run(tmp_path / "out", address="head:6379")
    assert not (tmp_path / "out").exists()


# how it computes

def test_the_same_bytes_again_with_any_number_of_workers(run, full, content, tmp_path):
    options = {"zooms": (1, 1.5), "random_weights": 2}
    state = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    stats = run(tmp_path / "out", workers=2, options=options)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == state[1:]  # noqa: NPY002
    assert sorted(content(tmp_path / "out")) == FILES
    assert content(stats.path) == content(full.path)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere what processes need is pickled")
def test_processes_take_a_transform_that_cannot_be_pickled(network, data_set, tmp_path):
    """Also where Python would start them anew, as from 3.14 on."""
    model = network("se")
    transform, model.transform = model.transform, lambda image: transform(image)
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method("forkserver", force=True)
    try:
        stats = collect(model, data_set, tmp_path / "out", workers=1, limit=3, progress=False)
    finally:
        multiprocessing.set_start_method(before, force=True)
    assert stats.metadata["images"] == 3


def test_other_batches_give_the_same_statistics(run, full, tmp_path):
    stats = run(tmp_path / "out", options={"zooms": (1, 1.5), "batch_size": 23, "shard_size": 100, "threads": 2})
    assert torch.get_num_threads() == 1  # as before
    np.testing.assert_array_equal(stats.count, full.count)
    for block in full.blocks:
        for name in ("mean", "std", "min", "max", "overall_mean", "overall_std"):
            np.testing.assert_allclose(getattr(stats, name)(block, zoom=1.5), getattr(full, name)(block, zoom=1.5),
                                       atol=1e-5)


def test_the_model_is_left_alone(network, run, tmp_path):
    module = copy.deepcopy(network("se").module).train()
    model = network("se", module)
    module.layer1.train()
    module.fc.weight.requires_grad_(False)
    before = {name: (tensor._version, tensor.requires_grad, tensor.clone())
              for name, tensor in [*module.named_parameters(), *module.named_buffers()]}
    flags = [(part.training, len(part._forward_hooks), len(part._forward_pre_hooks)) for part in module.modules()]
    run(tmp_path / "out", model, options={"random_weights": True})
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        version, required, value = before[name]
        assert (tensor._version, tensor.requires_grad) == (version, required)
        assert torch.equal(tensor, value)
    assert flags == [(part.training, len(part._forward_hooks), len(part._forward_pre_hooks))
                     for part in module.modules()]


def test_bf16(tmp_path):
    """Class means of an embedded network are those of float32 to within a fiftieth of a gate's range, also of noise."""
    model, pictures = sv.load("demo/se_resnet50_slim", device="cpu"), noise([i % 4 for i in range(64)], 64)
    exact, half = (collect(model, pictures, tmp_path / precision, Settings(precision=precision), workers=0,
                           progress=False) for precision in ("fp32", "bf16"))
    difference = max(np.abs(exact.mean(block) - half.mean(block)).max() for block in model.blocks)
    assert 0 < difference < 2e-2


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled(run, network, tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, 2), SqueezeExcite(4, 2), SelectiveKernel(4, min_width=4, stride=2),
                           nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    model, options = network("tiny", module), {"batch_size": 7}  # and a last batch of 2
    assert [block.kind for block in model.blocks] == ["SE", "SK"]
    with torch._dynamo.config.patch(error_on_recompile=True):  # once serves all batches
        eager, compiled = (run(tmp_path / f"{flag}", model, options=options | {"compiled": flag})
                           for flag in (False, True))
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0
    for block in model.blocks:
        np.testing.assert_allclose(compiled.mean(block), eager.mean(block), atol=1e-5)
        for a, b in zip(compiled.variance(block, "squeeze"), eager.variance(block, "squeeze")):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


def test_settings_are_compared_by_value():
    assert Settings(zooms=[1, 2]) == Settings(zooms=(1.0, 2.0)) == replace(Settings(), zooms=(1, 2))


def test_batches_added_up_together_or_each(small_run, content, tmp_path, monkeypatch):
    """Only the last bits differ; rows, histograms and counts do not."""
    options = {"zooms": (1, 2), "random_weights": 1, "controls": True}
    added = []
    settle = shards._Shard._settle
    monkeypatch.setattr(shards._Shard, "_settle", lambda shard, reads, *rest: (
        added.append(len(reads)), settle(shard, reads, *rest)))
    each = small_run(tmp_path / "each", options=options)
    assert added == [3, 3, 1] * 3 + [2]  # of shards of 7 pictures, and a last one
    monkeypatch.setattr(shards, "TOGETHER", ("cpu",))
    added.clear()
    together = small_run(tmp_path / "together", options=options)
    assert added == [7, 7, 7, 2]
    added.clear()
    monkeypatch.setattr(shards, "AT_ONCE", 1)
    waited = small_run(tmp_path / "waited", options=options)
    assert added == [3, 3, 1] * 3 + [2]
    assert content(tmp_path / "waited") == content(tmp_path / "each") and waited.zooms == each.zooms
    pd.testing.assert_frame_equal(together.images(), each.images(), rtol=1e-6)
    for block in together.blocks:
        assert (together.histogram(block) == each.histogram(block)).all()
        for factor in together.zooms:
            for of in (sv.Statistics.mean, sv.Statistics.variance):
                np.testing.assert_allclose(of(together, block, zoom=factor), of(each, block, zoom=factor), **CLOSE)
