import os
from dataclasses import asdict, fields

import pytest
import torch

import senet_viz as sv
import senet_viz.training
from senet_viz.cli import main
from senet_viz.training import Recipe
from tests.cli.checks import TINY, refused, usage


def test_train(folder, tmp_path, capsys):
    out = tmp_path / "tiny.safetensors"
    assert main(["train", str(folder), str(out), *TINY, "--note", "Pictures of noise."]) == 0
    model = sv.load(f"file:{out}", device="cpu")
    assert model.classes == ["cat", "dog"]
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{out}: top-1 ")
    assert out.with_suffix(".md").read_text().endswith("Pictures of noise.\n")


def test_train_says_again_what_is_finished_and_replaces_nothing(folder, tmp_path, capsys):
    arguments = ["train", str(folder), str(tmp_path / "tiny.safetensors"), *TINY]
    assert main(arguments) == 0
    said, before = capsys.readouterr().out, (tmp_path / "tiny.safetensors").read_bytes()
    assert main(arguments) == 0
    assert capsys.readouterr().out == said
    refused(capsys, [*arguments, "--attention", "none"], "tiny.safetensors belongs to another recipe or other data")
    assert (tmp_path / "tiny.safetensors").read_bytes() == before


@pytest.fixture
def recipes(monkeypatch):
    """Recipes and keywords that the command would train with."""
    seen = []

    def train(data, out, recipe, **options):
        seen.append((data, out, recipe, options))
        return {"accuracy": {"top1": 0.5, "top5": 1.0}}

    monkeypatch.setattr(senet_viz.training, "train", train)
    return seen


def test_train_defaults_are_the_recipes(recipes):
    assert main(["train", "in", "out", "--device", "cpu"]) == 0
    assert recipes == [("in", "out", Recipe(), {"device": torch.device("cpu"), "workers": 2, "note": ""})]


def test_train_options_reach_the_recipe(recipes):
    other = {"attention": "sk", "widths": (8, 8, 16, 16), "strides": (2, 2, 1, 1), "reduction": 4, "min_width": 3,
             "image_size": 48, "start_size": 24, "grow": 0.5, "epochs": 7, "batch_size": 9, "lr": 0.125, "warmup": 2.5,
             "momentum": 0.5, "weight_decay": 0.25, "label_smoothing": 0.75, "scale": 0.625, "precision": "fp32",
             "seed": 11, "clip": 1.5, "decay_gates": True}
    assert set(other) == {field.name for field in fields(Recipe)}
    assert all(other[key] != value for key, value in asdict(Recipe()).items())
    words = []
    for key, value in other.items():
        values = () if value is True else value if isinstance(value, tuple) else (value,)
        words += ["--" + key.replace("_", "-"), *map(str, values)]
    assert main(["train", "in", "out", *words, "--device", "cpu"]) == 0
    assert recipes[0][2] == Recipe(**other)


@pytest.mark.parametrize(("arguments", "message"), [
    (["--attention", "eca"], "attention must be se, sk or none, not 'eca'"),
    (["--epochs", "0"], "must be positive"),
    (["--image-size", "20"], "image sizes must be multiples of 8"),
    (["--lr", "nan"], "must be positive"),
    (["--device", "cuda:99"], "The device cuda:99 was asked for"),
    (["--device", "gpu"], "'gpu' is no device"),
    (["--batch-size", "7"], "6 training pictures do not fill one batch of 7"),
    (["--momentum", "0"], "momentum"),
    (["--reduction", "0"], "at least 1"),
])
def test_train_refuses(capsys, folder, tmp_path, arguments, message):
    refused(capsys, ["train", folder, tmp_path / "out.safetensors", *TINY, *arguments], message)


def test_train_refuses_data(capsys, tmp_path):
    refused(capsys, ["train", tmp_path / "missing", tmp_path / "out.safetensors"], "no such file or folder")
    refused(capsys, ["train", tmp_path, tmp_path / "out.safetensors"], "neither a folder train nor files train*.parq")
    (tmp_path / "train.parquet").write_text("hello")
    refused(capsys, ["train", tmp_path, tmp_path / "out.safetensors"], "cannot be read as Parquet")


@pytest.mark.parametrize("workers", ["0", "1"])
def test_train_names_a_damaged_picture(capsys, folder, tmp_path, workers):
    """From another process, the error comes wrapped in its traceback."""
    for path in (folder / "train").glob("*/*.png"):
        path.write_bytes(path.read_bytes()[:300])
    arguments = ["train", folder, tmp_path / "out.safetensors", *TINY, "--workers", workers]
    refused(capsys, arguments, ".png of train: The picture is damaged and cannot be read (")
    assert not (tmp_path / "out.safetensors").exists()


def test_train_names_a_damaged_picture_that_it_is_measured_with(capsys, folder, tmp_path):
    (folder / "val" / "dog" / "3.png").write_bytes(b"")
    refused(capsys, ["train", folder, tmp_path / "out.safetensors", *TINY],
            "senet_viz train: Picture dog/3.png of val: The file is empty.")


@pytest.mark.parametrize("arguments", [
    [], ["data"], ["data", "out", "--epochs", "many"], ["data", "out", "--widths", "1", "2"],
    ["data", "out", "--nonsense"]])
def test_train_usage(capsys, arguments):
    usage(capsys, ["train", *arguments])


def test_train_where_nothing_can_be_written(capsys, folder, tmp_path, monkeypatch):
    """Told before an epoch is over, also of a folder that is there."""
    def epoch(*_):
        raise AssertionError("this was trained")

    monkeypatch.setattr("senet_viz.training.loop.Fit.epoch", epoch)
    (tmp_path / "file").touch()
    refused(capsys, ["train", folder, tmp_path / "file" / "out.safetensors", *TINY], str(tmp_path / "file"))

    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)  # root may write into any folder
    refused(capsys, ["train", folder, tmp_path / "out.safetensors", *TINY],
            f"{tmp_path / 'out.safetensors'}: Permission denied")
