"""Pictures that cannot be read, and those of which the network or the transform makes nothing finite."""
import copy
import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from senet_viz.data.datasets import Pictures
from tests.runs import noise, png, small_module, with_small_network


@pytest.fixture(scope="module")
def run(run):
    return with_small_network(run)


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


def test_a_picture_too_small_to_be_enlarged(run, tmp_path):
    pictures = noise([0, 1] * 3)
    tiny = png(Image.new("RGB", (1, 1)))
    stats = run(tmp_path / "out", data=Pictures(
        lambda i: tiny if i == 3 else pictures.read(i), pictures.labels, pictures.classes),
        options={"zooms": (1, 2), "controls": True})
    assert listed(stats.path)[1:] == [["3", "a zoom by 2 leaves less than one pixel of a picture of 1 × 1"]]
    assert stats.count.tolist() == [3, 2]


@pytest.mark.parametrize("lazy", [False, True])
def test_a_reader_s_own_oserror(run, network, content, tmp_path, lazy):
    """Pillow raises it for what is no picture, naming a place in memory, and for half of one when that is decoded."""
    pictures, model = noise([0, 1] * 3), network("se", small_module())
    damaged = {1: b"hello", 4: pictures.read(4)[:90]}
    model.reader = lambda data: Image.open(io.BytesIO(data)) if lazy else Image.open(io.BytesIO(data)).convert("RGB")
    outs = [run(tmp_path / f"{i}", model, Pictures(
        lambda i: damaged.get(i) or pictures.read(i), pictures.labels, pictures.classes)) for i in range(2)]
    [one, other] = listed(outs[0].path)[1:]
    assert one == ["1", "cannot identify image file <_io.BytesIO object>"]
    assert other[0] == "4" and "truncated" in other[1]
    assert outs[0].count.tolist() == [2, 2] and content(outs[0].path) == content(outs[1].path)


def test_another_error_of_a_reader_ends_the_run(run, network, tmp_path):
    """And so does one of reading the file, whatever reads what is in it."""
    pictures, model = noise([0, 1]), network("se", small_module())
    model.reader = lambda data: data.no_such_thing
    with pytest.raises(AttributeError, match="no_such_thing"):
        run(tmp_path / "out", model, pictures)

    def failing(_):
        raise TimeoutError("the storage did not answer")

    model.reader = lambda data: Image.open(io.BytesIO(data))
    with pytest.raises(TimeoutError, match="did not answer"):
        run(tmp_path / "out", model, Pictures(failing, pictures.labels, pictures.classes))


class NanWhenDark(nn.Module):
    """Fails for black pictures, as a normalisation by their own deviation does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / (x.mean((1, 2, 3), keepdim=True) > -1.9).to(x)


@pytest.fixture
def nervous(network):
    """A network that gives nan for dark pictures."""
    module = small_module()
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
        heavy.layer1[0].conv3.weight *= 1e7
        for unit in (steep.layer1[0], steep.layer2[0]):
            unit.bn3.weight *= 2e4
    for module, message in ((heavy, r"layer1\.0\.conv3\.weight is not finite in fp16; take another precision"),
                            (steep, "none of the 6 pictures could be used; the first: the network's output is not")):
        with pytest.raises(ValueError, match=message):
            run(tmp_path / message[:5], network("se", module), noise([0, 1] * 3), options={"precision": "fp16"})
        assert run(tmp_path / f"{message[:5]} full", network("se", module),
                   noise([0, 1] * 3)).metadata["unreadable"] == 0
