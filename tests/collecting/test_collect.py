import copy
import csv
import importlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import nn
from torchvision import transforms

import senet_viz as sv
from senet_viz.__main__ import main
from senet_viz.collecting import Settings, Stopped, collect
from senet_viz.collecting.engines.local import Local
from senet_viz.data.checksums import write_described
from senet_viz.data.datasets import Pictures, open_pictures
from senet_viz.data.images import zoom
from senet_viz.layers import SelectiveKernel, SqueezeExcite
from senet_viz.models import slim_resnet50
from senet_viz.models.checkpoints import save_checkpoint
from senet_viz.models.copies import random_weights
from senet_viz.statistics import StatisticsError, open_statistics
from senet_viz.tables import sampled_channels

merging = importlib.import_module("senet_viz.collecting.merge")
ROOT = Path(__file__).resolve().parents[2]
FILES = ["images.parquet", "metadata.json", "sample.safetensors", "statistics.safetensors", "unreadable.csv"]
CLOSE = {"rtol": 1e-9, "atol": 1e-12}


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

def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def noise(labels: list[int], side: int = 30, classes: int | None = None) -> Pictures:
    """Pictures in memory."""
    rng = np.random.default_rng(7)
    content = [png(Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize((side, side))) for _ in labels]
    names = [f"class {k}" for k in range(max(labels, default=-1) + 1 if classes is None else classes)]
    return Pictures(content.__getitem__, labels, names)


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
def test_no_labels_at_all(run, tmp_path, compact):
    stats = run(tmp_path / "out", data=noise([-1] * 9), compact=compact)
    assert (stats.classes, stats.count.tolist()) == ([], [])
    assert (stats.metadata["images"], stats.metadata["unlabelled"]) == (9, 9)
    for block in stats.blocks:
        assert stats.mean(block).shape == (0, block.branches, block.channels)
        assert np.isfinite(stats.overall_mean(block)).all()
        assert stats.histogram(block).sum() == 9 * block.branches * block.channels
        for source in stats.sources:
            assert np.nan_to_num(np.stack(stats.variance(block, source))).max() == 0
    assert (stats.images()["label"] == -1).all()


def test_limit(run, data_set, tmp_path):
    stats = run(tmp_path / "out", limit=9)
    assert stats.metadata["count"] == stats.metadata["images"] == len(stats.images()) == 9
    assert stats.count.tolist() == [3, 2, 1, 0, 1]  # and two without a label: spread over the data set
    assert stats.images()["index"].tolist() == [0, 2, 5, 7, 10, 12, 15, 17, 20]
    assert len(stats.classes) == 5
    assert run(tmp_path / "more", limit=1000).metadata["count"] == 23
    for limit in (0, -3):
        with pytest.raises(ValueError, match=f"the limit is 1 picture or more, not {limit}"):
            run(tmp_path / "none", limit=limit)
    assert not (tmp_path / "none").exists()


def test_classes_without_a_picture_take_no_memory(run, tmp_path, data_set):
    """Of the 20,000 names of a taxonomy a data set has a few."""
    table = pq.read_table(data_set / "val.parquet")
    labels = [None if label is None else 5000 * label for label in table["label"].to_pylist()]
    (tmp_path / "data").mkdir()
    where = table.column_names.index("label")
    pq.write_table(table.set_column(where, "label", [labels]), tmp_path / "data/val.parquet")
    (tmp_path / "data/classes.csv").write_text("label,name\n" + "".join(f"{k},name {k}\n" for k in range(20_001)))
    stats, expected = run(tmp_path / "out", data=tmp_path / "data"), run(tmp_path / "few")
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
def test_zooms(run, data_set, tmp_path, around):
    stats = run(tmp_path / "out", options={"zooms": [1, 1.7, 3], "around": around})
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
        alone = run(tmp_path / f"{number}", data=Pictures(enlarged.__getitem__, pictures.labels, pictures.classes))
        for block in stats.blocks:
            for name in ("mean", "std", "min", "max", "overall_mean", "overall_std", "histogram"):
                ask, other = getattr(stats, name), getattr(alone, name)
                np.testing.assert_array_equal(ask(block, zoom=factor), other(block))
        part = rows[rows["zoom"] == factor].reset_index()
        assert part["fits"].tolist() == fits
        np.testing.assert_allclose(part["box"], shares, rtol=1e-12)
    assert {*rows["fits"]} == {True, False, None}


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


def test_around_boxes_where_there_are_none(run, tmp_path):
    with pytest.raises(ValueError, match="own pictures has no boxes to enlarge"):
        run(tmp_path / "out", data=noise([0, 1]), options={"around": "box"})
    assert "box" not in run(tmp_path / "out", data=noise([0, 1])).images()


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
    eager, compiled = (run(tmp_path / f"{flag}", model, options=options | {"compiled": flag})
                       for flag in (False, True))
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0
    for block in model.blocks:
        np.testing.assert_allclose(compiled.mean(block), eager.mean(block), atol=1e-5)
        for a, b in zip(compiled.variance(block, "squeeze"), eager.variance(block, "squeeze")):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


# killed, and run again

class Killed(BaseException):
    """Stands for a signal that no process survives."""


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """A run that nobody interrupted: 23 pictures in four shards."""
    return run(tmp_path_factory.mktemp("whole") / "out")


@pytest.fixture
def again(run, whole, content, monkeypatch):
    """``again(out)``: run once more and compare with the uninterrupted run; gives the shards that it computed."""
    def check(out: Path) -> list[int]:
        computed, results = [], Local.results

        def watch(self, plan, shards):
            computed.extend(shards)
            return results(self, plan, shards)

        with monkeypatch.context() as patch:
            patch.setattr(Local, "results", watch)
            run(out)
        assert content(out) == content(whole.path)
        assert [path.name for path in sorted(out.iterdir())] == FILES  # and no folder
        return computed
    return check


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("step", range(10))  # run.json, four shards, unreadable.csv, images, tensors, sample, metadata
def test_killed_around_any_file(run, again, monkeypatch, tmp_path, step, place):
    """At once, so that no clean-up runs: a half-written file stays."""
    done, dead, rename, unlink = 0, False, os.replace, Path.unlink

    def rename_or_die(source, target):
        nonlocal done, dead
        if done == step:
            dead = True
            if place == "after":
                rename(source, target)
            else:
                os.truncate(source, Path(source).stat().st_size // 2)
            raise Killed
        done += 1
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", rename_or_die)
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: None if dead else unlink(self, missing_ok))
        with pytest.raises(Killed):
            run(tmp_path / "out")
    assert len(list((tmp_path / "out").rglob("*.part"))) == (place == "before")
    if (step, place) != (9, "after"):
        with pytest.raises(StatisticsError):
            open_statistics(tmp_path / "out")
    finished = min(4, max(0, step - 1 + (place == "after" and step > 0)))
    complete = (step, place) == (8, "after")
    assert again(tmp_path / "out") == ([] if complete else list(range(finished, 4)))


@pytest.mark.parametrize("place", ["before", "within", "after"])
def test_killed_while_cleaning_up(run, again, monkeypatch, tmp_path, place):
    remove = shutil.rmtree

    def die(folder, **_):
        if place == "within":
            next(iter(folder.iterdir())).unlink()
        if place == "after":
            remove(folder)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", die)
        with pytest.raises(Killed):
            run(tmp_path / "out")
    (tmp_path / "out" / "images.parquet.1234.part").write_text("of an earlier run")
    assert (tmp_path / "out" / "run.json").exists()
    assert open_statistics(tmp_path / "out").pictures == 23
    assert again(tmp_path / "out") == []


def test_killed_again_and_again(run, again, monkeypatch, tmp_path):
    results = Local.results

    def one(self, plan, shards):
        yield next(results(self, plan, shards))
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Local, "results", one)
        for number in range(1, 4):
            with pytest.raises(Killed):
                run(tmp_path / "out")
            assert len(list((tmp_path / "out" / "shards").glob("*.safetensors"))) == number
            (tmp_path / "out" / "shards" / f"{number:06}-0.safetensors.x.part").write_text("half")
    assert again(tmp_path / "out") == [3]


def test_shards_in_any_order(run, again, monkeypatch, tmp_path):
    """As a cluster hands them over."""
    results = Local.results
    with monkeypatch.context() as patch:
        patch.setattr(Local, "results", lambda self, plan, shards: reversed_results(self, plan, shards, results))
        run(tmp_path / "out")
    assert again(tmp_path / "out") == []


def reversed_results(engine, plan, shards, results):
    yield from [*results(engine, plan, shards)][::-1]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "renamed", "foreign", "beyond"])
def test_a_damaged_shard_is_computed_again(run, again, tmp_path, damage):
    out = tmp_path / "out"
    with pytest.raises(Stopped):
        run(out, stop=lambda: len(list((out / "shards").glob("*"))) == 3)
    path = sorted((out / "shards").iterdir())[1]
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(content[:-1])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "renamed":
        path.rename(path.with_name("000001-0123456789abcdef.safetensors"))
    elif damage == "foreign":
        (out / "shards" / "notes.safetensors").write_bytes(b"hello")
    elif damage == "beyond":
        shutil.copy(path, path.with_name(path.name.replace("000001", "000077")))
    assert again(out) == ([3] if damage in ("foreign", "beyond") else [1, 3])


@pytest.mark.parametrize("name", ["images.parquet", "sample.safetensors", "statistics.safetensors", "unreadable.csv"])
def test_a_damaged_result_is_told_and_computed_again(again, whole, tmp_path, name):
    out = shutil.copytree(whole.path, tmp_path / "out")
    content = bytearray((out / name).read_bytes())
    content[len(content) // 2] ^= 1
    (out / name).write_bytes(content)
    with pytest.raises(StatisticsError, match=rf"are damaged \({name} has changed since it was written\)"):
        open_statistics(out)
    assert again(out) == [0, 1, 2, 3]
    (out / name).unlink()
    assert again(out) == [0, 1, 2, 3]


def test_a_damaged_description_is_told(run, whole, tmp_path):
    out = shutil.copytree(whole.path, tmp_path / "out")
    path = out / "metadata.json"
    path.write_text(path.read_text().replace('"images": 23', '"images": 22'))
    with pytest.raises(StatisticsError, match=r"are damaged \(metadata.json has changed since it was written\)"):
        open_statistics(out)
    with pytest.raises(StatisticsError, match=r"metadata.json has changed since it was written: remove .* to begin"):
        run(out)


def test_stop_and_progress(run, again, tmp_path):
    out, told = tmp_path / "out", []
    with pytest.raises(Stopped) as stopped:
        run(out, stop=lambda: len(list((out / "shards").glob("*"))) == 2, progress=lambda *now: told.append(now))
    assert str(stopped.value) == "stopped; 2 of 4 shards are kept: run again to go on"
    assert told == [(0, 23), (7, 23), (14, 23)]
    assert sorted(path.name for path in out.iterdir()) == ["run.json", "shards"]
    with pytest.raises(Stopped, match="2 of 4"):
        run(out, stop=lambda: True)
    told.clear()
    run(shutil.copytree(out, tmp_path / "copy"), progress=lambda *now: told.append(now))
    assert told == [(14, 23), (21, 23), (23, 23)]
    assert again(out) == [2, 3]


def test_a_bar(run, tmp_path, capsys):
    run(tmp_path / "out", progress=True)
    assert "23/23" in capsys.readouterr().err
    run(tmp_path / "other", progress=False)
    assert capsys.readouterr().err == ""


def test_a_whole_run_is_not_computed_again(run, whole, content, monkeypatch, tmp_path):
    out = shutil.copytree(whole.path, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}

    def fail(*_):
        raise AssertionError("computed")

    monkeypatch.setattr(Local, "results", fail)
    stats = run(out)
    assert repr(stats) == repr(whole)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


@pytest.mark.parametrize("call", range(1, 6))
def test_full_disk(run, again, monkeypatch, tmp_path, call):
    """At the second shard, the list of unreadable pictures, the rows, the tensors, the metadata."""
    out, error = tmp_path / "out", OSError(28, "No space left on device")
    written = []

    def write_bytes(self, content):
        written.append(self)
        if len(written) == 2:
            with self.open("wb") as file:
                file.write(content[:100])
            raise error
        with self.open("wb") as file:
            file.write(content)

    def fail(*_, **__):
        raise error

    def fail_half_way(plan, files, path, compact):
        path.write_text("half")
        raise error

    def fail_as_safetensors_does(tensors, path):
        path.write_text("half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        if call == 1:
            patch.setattr(Path, "write_bytes", write_bytes)
        elif call == 2:
            patch.setattr(merging.csv, "writer", fail)
        elif call == 3:
            patch.setattr(merging, "_write_rows", fail_half_way)
        elif call == 4:
            patch.setattr(merging, "save_file", fail_as_safetensors_does)
        elif call == 5:
            patch.setattr(merging, "describe", fail)
        with pytest.raises(OSError, match="No space left on device"):
            run(out)
    assert list(out.rglob("*.part")) == []
    assert not (out / "metadata.json").exists()
    assert again(out) == ([1, 2, 3] if call == 1 else [])


@pytest.mark.skipif(sys.platform == "win32", reason="no limits there")
def test_files_that_cannot_grow(run, again, tmp_path):
    """What the libraries themselves raise: each run gets further, until the files fit."""
    import resource

    before, out, failed = resource.getrlimit(resource.RLIMIT_FSIZE), tmp_path / "out", 0
    for size in (100, 10_000, 30_000, 60_000, 80_000, 100_000, 200_000, 400_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            run(out)
        except OSError:
            failed += 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert list(out.rglob("*.part")) == []
        assert all(path.stat().st_size <= size for path in out.rglob("*"))
        if (out / "metadata.json").exists():
            break
    assert failed > 2
    again(out)


# not mixed with other runs

def other_module(network) -> nn.Module:
    module = copy.deepcopy(network("se+sk").module)
    with torch.no_grad():
        module.fc.bias[0] += 1
    return module


OTHERS = {
    "batch size": ({"batch_size": 4}, {}, "batch_size is 3 there, 4 here"),
    "shard size": ({"shard_size": 8}, {}, "shard_size is 7 there, 8 here"),
    "threads": ({"threads": 2}, {}, "threads is 1 there, 2 here"),
    "precision": ({"precision": "bf16"}, {}, "precision is 'fp32' there, 'bf16' here"),
    "zooms": ({"zooms": (1, 2)}, {}, r"zooms is \[1.0\] there, \[1.0, 2.0\] here"),
    "around": ({"around": "box"}, {}, "around is 'centre' there, 'box' here"),
    "compiled": ({"compiled": True}, {}, "compiled is False there, True here"),
    "control": ({"random_weights": True}, {}, "random_weights is 0 there, 1 here"),
    "limit": ({}, {"limit": 9}, "count is 23 there, 9 here"),
    "compact": ({}, {"compact": True}, "compact is False there, True here"),
    "split": ({}, {"split": "val"}, "data is 'data set0' there, 'data set0 val' here"),
}


@pytest.mark.parametrize("state", ["unfinished", "whole"])
@pytest.mark.parametrize("other", [*OTHERS, "weights", "transform", "name", "data", "several"])
def test_another_run_is_refused(run, network, whole, content, data_set, tmp_path, state, other):
    out = tmp_path / "out"
    if state == "whole":
        shutil.copytree(whole.path, out)
    else:
        with pytest.raises(Stopped):
            run(out, stop=lambda: len(list((out / "shards").glob("*"))) == 1)
    before = content(out)
    options, keywords, message = OTHERS.get(other, ({}, {}, f"{other} differs"))
    model, data = network("se+sk"), None
    if other == "weights":
        model = network("se+sk", other_module(network))
    elif other == "transform":
        model.transform = copy.deepcopy(model.transform)
        model.transform.transforms[0].size = (20, 20)
        message = "transform differs; transformed_noise differs"
    elif other == "name":
        model.name, message = "another", "model is 'se\\+sk' there, 'another' here"
    elif other == "data":
        data, message = tmp_path / data_set.name, "pictures differs"
        shutil.copytree(data_set, data)
        (data / "classes.csv").write_text("label,name\n0,another name\n")
    elif other == "several":
        options, message = {"batch_size": 4, "threads": 2}, "batch_size is 3 there, 4 here; threads is 1 there, 2 here"
    with pytest.raises(StatisticsError, match=f"out holds another run, which is not mixed with this one: {message}$"):
        run(out, model, data, options=options, **keywords)
    assert content(out) == before


def test_what_looks_the_same_in_words_is_refused(run, network, tmp_path):
    """Two lambdas as transforms; other pictures of the same names; another network with the same weights."""
    for i in range(4):
        (tmp_path / "data" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "ab"[i % 2] / f"{i}.png").write_bytes(noise([0]).read(0))
    first, second = network("se"), network("se")
    plain = first.transform
    first.transform = transforms.Compose([plain, transforms.Lambda(lambda x: x)])
    second.transform = transforms.Compose([plain, transforms.Lambda(lambda x: 2 * x)])
    run(tmp_path / "out", first, tmp_path / "data")
    with pytest.raises(StatisticsError, match=r"this one: transformed_noise differs$"):
        run(tmp_path / "out", second, tmp_path / "data")

    module = copy.deepcopy(first.module)
    module.stem[2] = nn.SiLU()
    other = network("se", module)
    other.transform = first.transform
    with pytest.raises(StatisticsError, match=r"this one: architecture differs$"):
        run(tmp_path / "out", other, tmp_path / "data")

    (tmp_path / "data" / "a" / "0.png").write_bytes(noise([3], 40).read(0))
    with pytest.raises(StatisticsError, match=r"this one: pictures differs$"):
        run(tmp_path / "out", first, tmp_path / "data")


def test_one_run_at_a_time(run, tmp_path):
    """A second one into the same folder is refused while the first is at work, and not afterwards."""
    pictures = noise([0, 1] * 8)

    def meddling(done: int, total: int) -> None:
        with pytest.raises(StatisticsError, match="another run is writing into"):
            run(tmp_path / "out", data=pictures)

    run(tmp_path / "out", data=pictures, progress=meddling)
    run(tmp_path / "out", data=pictures)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_among_the_pictures_is_refused(run, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.png").write_bytes(noise([0]).read(0))
    with pytest.raises(ValueError, match="whose pictures it would become part of"):
        run(tmp_path / "out", data=tmp_path)
    assert not (tmp_path / "out").exists()


def test_no_control_of_one_picture(run, tmp_path):
    """Batch normalisation cannot be set with it."""
    stats = run(tmp_path / "out", data=noise([0]), options={"random_weights": True})
    assert stats.sources == ["gate", "shuffled", "squeeze"]


def test_other_machines_and_versions_are_refused(run, whole, content, tmp_path, monkeypatch):
    out = shutil.copytree(whole.path, tmp_path / "out")
    metadata = json.loads((out / "metadata.json").read_text())
    metadata["versions"]["torch"], metadata["device"] = "1.0", "cuda Old"
    del metadata["checksums"]
    write_described(out / "metadata.json", metadata, FILES[2:])
    with pytest.raises(StatisticsError, match=r"device differs; torch is '1.0' there, "):
        run(out)


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "shards", "images.parquet.1.part"])
def test_a_folder_of_something_else_is_refused(run, content, tmp_path, name):
    out = tmp_path / "out"
    out.mkdir()
    if name == "shards":
        (out / name).mkdir()
    else:
        (out / name).write_text("hello")
    with pytest.raises(StatisticsError, match="is not empty, and what is in it is no run of this program"):
        run(out)
    assert [path.name for path in out.iterdir()] == [name]


def test_a_file_in_place_of_the_folder(run, tmp_path):
    (tmp_path / "out").write_text("hello")
    with pytest.raises(StatisticsError, match="what is in it is no run"):
        run(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "hello"


@pytest.mark.parametrize(("text", "message"), [("{", "is damaged"), ("[1]", "holds another run"),
                                               ('{"name": "npm"}', "holds another run")])
@pytest.mark.parametrize("name", ["metadata.json", "run.json"])
def test_a_foreign_file_of_that_name(run, tmp_path, name, text, message):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text(text)
    with pytest.raises(StatisticsError, match=message):
        run(tmp_path / "out")
    assert (tmp_path / "out" / name).read_text() == text


def test_an_empty_folder_is_welcome(again, tmp_path):
    (tmp_path / "new" / "out").mkdir(parents=True)
    assert again(tmp_path / "new" / "out") == [0, 1, 2, 3]


# pictures that cannot be used

def listed(out: Path) -> list[list[str]]:
    with (out / "unreadable.csv").open(newline="", encoding="utf-8") as lines:
        return list(csv.reader(lines))


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_pictures(run, tmp_path, content, workers):
    labels = [i % 3 for i in range(16)]
    pictures = noise(labels)
    intact = [pictures.read(i) for i in range(16)]
    damaged = {2: b"", 5: intact[5][:200], 9: b"hello\n, \"you\"", 10: b"", 11: b""}  # the whole of a batch among them
    bytes_of = [damaged.get(i, data) for i, data in enumerate(intact)]
    files = [f"folder/{i}, \"é\".png" for i in range(16)]
    stats = run(tmp_path / "out", data=Pictures(bytes_of.__getitem__, labels, pictures.classes, files=files),
                workers=workers, options={"random_weights": True, "shard_size": 6, "zooms": (1, 2)})
    header, *rows = listed(stats.path)
    assert header == ["file", "reason"]
    assert [file for file, _ in rows] == [files[i] for i in damaged]
    reasons = [reason for _, reason in rows]
    assert reasons[0] == reasons[3] == "The file is empty."
    assert reasons[1].startswith("The picture is damaged and cannot be read (")
    assert reasons[2] == "The file is not a picture in JPEG, PNG, WebP, GIF, BMP or TIFF format."
    good = [i for i in range(16) if i not in damaged]
    assert (stats.metadata["images"], stats.metadata["unreadable"]) == (11, 5)
    assert stats.images(["index", "zoom"])["index"].tolist() == sorted(good * 4)  # at each zoom, and of random weights
    alone = run(tmp_path / "good", data=Pictures(lambda i: intact[good[i]], [labels[i] for i in good],
                                                 pictures.classes))
    np.testing.assert_array_equal(stats.count, alone.count)
    for block in stats.blocks:
        np.testing.assert_allclose(stats.mean(block), alone.mean(block), atol=1e-6)
        assert stats.histogram(block).sum() == 11 * block.branches * block.channels


def test_a_shard_without_a_readable_picture(run, tmp_path):
    labels = [i % 3 for i in range(16)]
    pictures = noise(labels)
    bytes_of = [pictures.read(i) if 7 <= i < 14 else b"" for i in range(16)]
    stats = run(tmp_path / "out", data=Pictures(bytes_of.__getitem__, labels, pictures.classes))
    assert stats.metadata["images"] == len(stats.images()) == stats.count.sum() == 7
    assert len(listed(stats.path)) == 1 + 9


def test_no_readable_picture(run, tmp_path):
    bad = Pictures(lambda _: b"hello", [0, 1, -1] * 4, ["a", "b"])
    for _ in range(2):  # and again
        with pytest.raises(ValueError, match=r"^none of the 12 pictures could be used; the first: The file is not a p"):
            run(tmp_path / "out", data=bad, options={"random_weights": True})
        assert not (tmp_path / "out" / "metadata.json").exists()
    assert len(listed(tmp_path / "out")) == 13


def test_files_that_are_not_there(run, tmp_path):
    pictures = noise([0, 1])
    (tmp_path / "list.txt").write_text("0.png a\nmissing.png b\n1.png b\n")
    for i in range(2):
        (tmp_path / f"{i}.png").write_bytes(pictures.read(i))
    stats = run(tmp_path / "out", data=tmp_path / "list.txt")
    assert stats.count.tolist() == [1, 1]
    [[file, reason]] = listed(tmp_path / "out")[1:]
    assert file == "missing.png"
    assert "No such file" in reason


def test_an_error_that_may_pass_ends_the_run(run, content, tmp_path):
    """A picture that the network of a cluster did not bring this once is not to be missing for good."""
    pictures = noise([i % 3 for i in range(16)])

    def failing(i: int) -> bytes:
        if i == 9:
            raise TimeoutError("the storage did not answer")
        return pictures.read(i)

    run(tmp_path / "whole", data=pictures)
    with pytest.raises(TimeoutError, match="did not answer"):
        run(tmp_path / "out", data=Pictures(failing, pictures.labels, pictures.classes))
    assert len(list((tmp_path / "out" / "shards").iterdir())) == 1
    run(tmp_path / "out", data=pictures)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


class NanWhenDark(nn.Module):
    """Fails for black pictures, as a normalisation by their own deviation does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / (x.mean((1, 2, 3), keepdim=True) > -1.9).to(x)


@pytest.fixture
def nervous(network):
    """A network that gives nan for dark pictures."""
    module = copy.deepcopy(network("se+sk").module)
    module.stem = nn.Sequential(NanWhenDark(), *module.stem)
    return network("se+sk", module)


def test_outputs_that_are_not_finite(run, nervous, tmp_path):
    labels = [i % 3 for i in range(16)]
    pictures = noise(labels)
    black = png(Image.new("RGB", (30, 30)))
    dark = {0, 4, 15}
    stats = run(tmp_path / "out", nervous, Pictures(
        lambda i: black if i in dark else b"" if i == 8 else pictures.read(i), labels, pictures.classes))
    assert [row for row in listed(stats.path)[1:] if row[0] != "8"] == [
        [str(i), "the network's output is not finite"] for i in sorted(dark)]
    assert stats.metadata["unreadable"] == 4
    assert stats.images()["index"].tolist() == [i for i in range(16) if i not in dark | {8}]
    for block in stats.blocks:
        assert np.isfinite(stats.mean(block)).all()
        assert np.isfinite(stats.variance(block, "squeeze")).all()


def test_a_zoom_that_is_not_finite_leaves_the_picture_out(run, nervous, tmp_path):
    """Otherwise the zooms could not be compared."""
    pictures = noise([0, 0, 1, 1])
    dark_within = Image.new("RGB", (30, 30), "white")
    dark_within.paste("black", (5, 5, 25, 25))
    stats = run(tmp_path / "out", nervous, Pictures(
        lambda i: png(dark_within) if i == 1 else pictures.read(i), pictures.labels, pictures.classes),
        options={"zooms": (1, 3)})
    assert listed(stats.path)[1:] == [["1", "the network's output is not finite"]]
    assert stats.count.tolist() == [1, 2]
    assert stats.images(["index", "zoom"])["index"].tolist() == [0, 0, 2, 2, 3, 3]


def test_a_picture_that_the_transform_makes_nan_does_not_spoil_the_control(run, network, tmp_path):
    pictures, black = noise([i % 3 for i in range(12)]), png(Image.new("RGB", (30, 30)))
    model = network("se")
    transform = model.transform
    model.transform = lambda image: (lambda x: x / (x.std() > 0))(transform(image))
    stats = run(tmp_path / "out", model, Pictures(
        lambda i: black if i == 5 else pictures.read(i), pictures.labels, pictures.classes),
        options={"random_weights": True})
    assert stats.metadata["unreadable"] == 1
    for block in stats.blocks:
        assert np.isfinite(stats.variance(block, "random")).all()


def test_overflow_in_half_precision(run, network, tmp_path):
    """Of a weight, which is said at once, and of what weights that fit make of the maps."""
    heavy, steep = (copy.deepcopy(network("se").module) for _ in range(2))
    with torch.no_grad():
        heavy.layer1[0].bn3.weight *= 1e6
        for unit in (steep.layer1[0], steep.layer2[0]):
            unit.bn3.weight *= 2e4
    for module, message in ((heavy, r"layer1\.0\.bn3\.weight is not finite in fp16; take another precision"),
                            (steep, "none of the 6 pictures could be used; the first: the network's output is not")):
        with pytest.raises(ValueError, match=message):
            run(tmp_path / message[:5], network("se", module), noise([0, 1] * 3), options={"precision": "fp16"})
        assert run(tmp_path / f"{message[:5]} full", network("se", module),
                   noise([0, 1] * 3)).metadata["unreadable"] == 0


# killed for real

@pytest.fixture
def command(tmp_path):
    """Arguments of the program, but for the folder to write: 60 shards of two pictures."""
    options = {"attention": "se", "num_classes": 3, "widths": [4, 4, 8, 8], "min_width": 2}
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "tiny.safetensors", slim_resnet50(**options).state_dict(), {
        "architecture": {"name": "slim_resnet50", **options}, "classes": ["red", "green", "blue"],
        "transform": {"input_size": [3, 64, 64], "crop_pct": 1.0}, "recipe": {"widths": [4, 4, 8, 8], "epochs": 12},
        "made": {"date": "2024-02-29"}, "data": {"name": "colours", "training": 123, "note": ""},
        "accuracy": {"top1": 0.5, "top5": 1.0, "images": 45}})
    pictures = noise([i % 3 for i in range(120)], 64)
    for i, label in enumerate(pictures.labels):
        path = tmp_path / "pictures" / "abc"[label] / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pictures.read(i))
    return lambda out: ["collect", f"file:{tmp_path / 'tiny.safetensors'}", str(tmp_path / "pictures"), str(out),
                        "--shard-size", "2", "--threads", "1", "--device", "cpu", "--zoom", "1", "1.5",
                        "--random-weights", "--workers", "1"]


def test_killed_by_a_signal(command, content, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "senet_viz", *command(out)], env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        patience = time.monotonic() + 120
        while not list((out / "shards").glob("*.safetensors")) and time.monotonic() < patience:
            assert process.poll() is None
            time.sleep(0.002)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
    kept = len(list((out / "shards").glob("*.safetensors")))
    assert 1 <= kept < 60
    assert (out / "run.json").exists()
    assert not (out / "metadata.json").exists()
    assert main(command(out)) == 0
    assert main(command(tmp_path / "whole")) == 0
    assert content(out) == content(tmp_path / "whole")
    assert sorted(content(out)) == FILES


def test_settings_are_compared_by_value():
    assert Settings(zooms=[1, 2]) == Settings(zooms=(1.0, 2.0)) == replace(Settings(), zooms=(1, 2))
