import io
import os
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image

import senet_viz as sv
import senet_viz.training
from senet_viz.__main__ import main
from senet_viz.models import embedded_models, slim_resnet50
from senet_viz.models.checkpoints import save_checkpoint
from senet_viz.training import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).resolve().parents[1]
TINY = ["--widths", "4", "4", "8", "8", "--image-size", "16", "--start-size", "16", "--epochs", "1",
        "--batch-size", "4", "--min-width", "2", "--precision", "fp32", "--device", "cpu", "--workers", "0"]


def picture(seed: int, side: int = 16) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    for i, (split, name) in enumerate([(s, n) for s in ("train", "val") for n in ("cat", "dog")] * 3):
        path = tmp_path / "pictures" / split / name / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i))
    return tmp_path / "pictures"


def refused(capsys, arguments: list, message: str, code: int = 2) -> None:
    assert main([str(a) for a in arguments]) == code
    shown = capsys.readouterr().err.rpartition("\r")[2]  # what stays when a progress bar has been wiped
    assert shown.count("\n") == 1, shown
    assert shown.startswith(f"senet_viz {arguments[0]}: ")
    assert message in shown


# every command

@pytest.mark.parametrize("command", [[], ["train"], ["models"], ["inspect"]])
def test_help(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: python -m senet_viz")
    assert all(word in text for word in (["train", "models", "inspect"] if not command else ["--device"]))


@pytest.mark.parametrize("arguments", [
    [], ["nonsense"], ["train"], ["train", "data"], ["train", "data", "out", "--epochs", "many"],
    ["train", "data", "out", "--widths", "1", "2"], ["train", "data", "out", "--nonsense"], ["inspect", "demo/x"]])
def test_usage(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "error: " in capsys.readouterr().err.splitlines()[-1]


def test_as_a_module(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "senet_viz", "train", str(tmp_path / "missing"), str(tmp_path / "out.safetensors")],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=600)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"senet_viz train: no such file or folder: {tmp_path / 'missing'}\n"


# train

def test_train(folder, tmp_path, capsys):
    out = tmp_path / "tiny.safetensors"
    assert main(["train", str(folder), str(out), *TINY, "--note", "Pictures of noise."]) == 0
    model = sv.load(f"file:{out}", device="cpu")
    assert model.classes == ["cat", "dog"]
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{out}: top-1 ")
    assert out.with_suffix(".md").read_text().endswith("Pictures of noise.\n")


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
             "seed": 11}
    assert set(other) == {field.name for field in fields(Recipe)}
    assert all(other[key] != value for key, value in asdict(Recipe()).items())
    words = [word for key, value in other.items() for word in (
        "--" + key.replace("_", "-"), *map(str, value if isinstance(value, tuple) else [value]))]
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
    refused(capsys, arguments, " of the data set: The picture is damaged and cannot be read (")
    assert not (tmp_path / "out.safetensors").exists()


def test_interrupted(monkeypatch, capsys):
    def train(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(senet_viz.training, "train", train)
    assert main(["train", "in", "out", "--device", "cpu"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(("error", "line"), [
    (RuntimeError("first line\nsecond line"), "first line"), (OSError(), "OSError"), (ValueError("\n"), "ValueError"),
    (ValueError("Caught UnreadableImage in a worker.\nTraceback:\n  line 1\nmodule.Error: a: b\n"), "a: b")])
def test_errors_are_one_line(monkeypatch, capsys, error, line):
    def train(*_, **__):
        raise error

    monkeypatch.setattr(senet_viz.training, "train", train)
    refused(capsys, ["train", "in", "out", "--device", "cpu"], line)


# models and inspect

@pytest.fixture
def file(tmp_path):
    """A checkpoint of three classes, described as `train` does."""
    torch.manual_seed(0)
    options = {"attention": "se", "num_classes": 3, "widths": [4, 4, 8, 8], "min_width": 2}
    metadata = {
        "architecture": {"name": "slim_resnet50", **options}, "classes": ["red", "green", "blue"],
        "transform": {"input_size": [3, 64, 64], "crop_pct": 1.0},
        "recipe": {"widths": [4, 4, 8, 8], "epochs": 12}, "made": {"date": "2024-02-29"},
        "data": {"name": "colours", "training": 123, "validation": 45, "note": ""},
        "accuracy": {"top1": 0.5, "top5": 1.0, "images": 45}}
    save_checkpoint(tmp_path / "tiny.safetensors", slim_resnet50(**options).state_dict(), metadata)
    return f"file:{tmp_path / 'tiny.safetensors'}"


@pytest.fixture
def photos(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b, with a comma.png"]
    for seed, path in enumerate(paths):
        path.write_bytes(picture(seed, 90))
    return paths


def test_models_lists_what_is_embedded(capsys):
    assert main(["models"]) == 0
    assert capsys.readouterr().out.split() == embedded_models()


def test_models_describes(capsys, file):
    assert main(["models", file, "--device", "cpu"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    told = {words[0]: words[1] for words in lines}
    model = sv.load(file, device="cpu")
    assert told["Parameters"] == f"{sum(p.numel() for p in model.module.parameters()):,}"
    assert (told["Classes"], told["Device"], told["Model"]) == ("3", "cpu", "tiny.safetensors")
    blocks = {key: value.split() for key, value in told.items() if key.startswith("SE_")}
    assert len(blocks) == 16
    assert blocks["SE_3_4"] == ["layer2.3.se", "16", "channels"]


def test_inspect(capsys, file, photos, tmp_path):
    out = tmp_path / "gates.csv"
    assert main(["inspect", file, *map(str, photos), "--class", "GREEN", "--device", "cpu", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    model = sv.load(file, device="cpu")
    images = [sv.open_image(path) for path in photos]
    view = sv.inspect(model, model.batch(images))
    for row in view.logits.softmax(1):
        assert f"{row.max():.4f}" in text
    gates = pd.read_csv(out)
    for n, photo in enumerate(photos):
        for block in model.blocks:
            rows = gates[(gates["picture"] == str(photo)) & (gates["block"] == block.label)]
            np.testing.assert_allclose(rows.sort_values("channel")["value"], view.gates[block.name][n, 0], atol=1e-5)
    assert len(gates) == 2 * sum(block.channels for block in model.blocks)


def test_a_network_without_attention(capsys, tmp_path, photos):
    metadata = {
        "architecture": {"name": "slim_resnet50", "attention": "none", "num_classes": 3}, "classes": ["a", "b", "c"],
        "transform": {"input_size": [3, 64, 64]}, "recipe": {"widths": [4], "epochs": 1}, "made": {"date": ""},
        "data": {"name": "", "training": 1}, "accuracy": {"top1": 0.5, "top5": 1.0, "images": 1}}
    save_checkpoint(tmp_path / "plain.safetensors", slim_resnet50("none", num_classes=3).state_dict(), metadata)
    name = f"file:{tmp_path / 'plain.safetensors'}"
    assert main(["models", name, "--device", "cpu"]) == 0
    assert "SE_" not in capsys.readouterr().out
    assert main(["inspect", name, str(photos[0]), "--device", "cpu", "--class", "b"]) == 0
    assert "plain.safetensors has no attention blocks." in capsys.readouterr().out
    refused(capsys, ["inspect", name, photos[0], "--out", tmp_path / "gates.csv"], "there are no gates to write")
    torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / "other.pt")  # no stages of a known name
    arguments = [f"file:{tmp_path / 'other.pt'}", str(photos[0]), "--arch", "torchvision/squeezenet1_1"]
    assert main(["inspect", *arguments, "--device", "cpu", "--class", "goldfish"]) == 0


def test_inspect_refuses(capsys, file, photos, tmp_path):
    refused(capsys, ["inspect", "demo/nonsense", photos[0]], "There is no embedded model 'nonsense'")
    refused(capsys, ["models", "nonsense"], "'nonsense' names no model")
    refused(capsys, ["models", file, "--device", "cuda:99"], "cuda:99")
    refused(capsys, ["inspect", file, tmp_path / "missing.jpg"], "missing.jpg")
    (tmp_path / "text.jpg").write_text("hello")
    refused(capsys, ["inspect", file, tmp_path / "text.jpg"], "text.jpg: The file is not a picture")
    refused(capsys, ["inspect", file, photos[0], "--class", "purple"], "has no class 'purple'")
