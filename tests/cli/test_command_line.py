import hashlib
import io
import os
import signal
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
from senet_viz.collecting import open_evaluation
from senet_viz.collecting.local import Local
from senet_viz.experiments.sweep import SIZES, size_preference, size_slopes, sweep
from senet_viz.models import catalog, embedded_models, slim_resnet50
from senet_viz.models.checkpoints import read_metadata, save_checkpoint
from senet_viz.training import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).resolve().parents[2]
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

@pytest.mark.parametrize("command", [[], ["train"], ["models"], ["inspect"], ["collect"], ["evaluate"], ["prune"]])
def test_help(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: python -m senet_viz")
    words = ["--device"] if command else ["train", "models", "inspect", "collect", "export"]
    assert all(word in text for word in words)


@pytest.mark.parametrize("arguments", [
    [], ["nonsense"], ["train"], ["train", "data"], ["train", "data", "out", "--epochs", "many"],
    ["train", "data", "out", "--widths", "1", "2"], ["train", "data", "out", "--nonsense"], ["inspect", "demo/x"],
    ["collect", "demo/x", "data"], ["collect", "demo/x", "data", "out", "--around", "corner"],
    ["collect", "demo/x", "data", "out", "--zoom"], ["collect", "demo/x", "data", "out", "--engine", "spark"],
    ["collect", "demo/x", "data", "out", "--precision", "int8"], ["export"], ["export", "out", "--to", "xlsx"]])
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
    assert capsys.readouterr().err == "senet_viz train: interrupted\n"


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


def test_models_lists_what_can_be_loaded(capsys, tmp_path):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == catalog()["name"].tolist()
    assert [line.split()[0] for line in lines[1:] if line.endswith("yes")][:2] == embedded_models()
    assert main(["models", "--search", "seresnet50 RA2"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:6] == [
        "timm/seresnet50.ra2_in1k", "SE", "16", "28,088,024", "224", "1000"]
    assert main(["models", "--search", "skresnet", "--out", str(tmp_path / "table.csv")]) == 0
    table = pd.read_csv(tmp_path / "table.csv")
    assert table.columns.tolist() == catalog().columns.tolist()
    assert table["name"].tolist() == ["timm/skresnet18.ra_in1k", "timm/skresnet34.ra_in1k"]
    refused(capsys, ["models", "--search", "nothing like it"], "no network of the list has 'nothing like it'")
    refused(capsys, ["models", "demo/x", "--search", "x"], "--search and --out are for the list")


def test_fetch(capsys, tmp_path, monkeypatch):
    source = tmp_path / "0.pth"
    torch.save({"a": torch.ones(1000)}, source)
    name = f"net-{hashlib.sha256(source.read_bytes()).hexdigest()[:8]}.pth"
    source.rename(tmp_path / name)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "torch"))
    monkeypatch.setattr(torchvision.models.MobileNet_V3_Small_Weights.IMAGENET1K_V1._value_, "url",
                        (tmp_path / name).as_uri(), raising=False)
    here = tmp_path / "torch" / "checkpoints" / name
    for _ in range(2):  # the second time it is there
        assert main(["fetch", "torchvision/mobilenet_v3_small", "demo/sknet50_slim"]) == 0
        assert capsys.readouterr().out.splitlines() == [str(here), "demo/sknet50_slim needs no download"]
    assert here.read_bytes() == (tmp_path / name).read_bytes()
    here.unlink()
    (tmp_path / name).write_bytes(b"something else")
    assert main(["fetch", "torchvision/mobilenet_v3_small"]) == 2
    assert "could not be downloaded" in capsys.readouterr().err.splitlines()[-1]  # below the progress bar
    assert list(here.parent.iterdir()) == []
    refused(capsys, ["fetch", "torchvision/no_such_net"], "torchvision has no classification model")


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


# collect and export

QUICK = ["--device", "cpu", "--workers", "0", "--threads", "1", "--shard-size", "3", "--batch-size", "2"]


def test_collect_and_export(capsys, file, folder, tmp_path):
    out = tmp_path / "out"
    for _ in range(2):  # again, when all is done
        assert main(["collect", file, str(folder), str(out), "--split", "train", *QUICK]) == 0
        assert capsys.readouterr().out == f"{out}: 6 pictures of 2 classes\n"
    stats = sv.open_statistics(out)
    assert stats.classes == ["cat", "dog"]
    assert stats.count.tolist() == [3, 3]
    assert (stats.metadata["data"], stats.metadata["count"]) == ("pictures train", 6)
    names = ["channels", "variance", "histograms", "images"]
    assert main(["export", str(out)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(out / "tables" / f"{name}.parquet") for name in names]
    assert main(["export", str(out), "--to", "csv", "--into", str(tmp_path / "tables")]) == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "tables" / f"{name}.csv") for name in names]
    channels = pd.read_csv(tmp_path / "tables" / "channels.csv", keep_default_na=False)
    rows = channels[(channels["label"] == "SE_3_4") & (channels["class"] == "dog")]
    np.testing.assert_allclose(rows["mean"], stats.mean("SE_3_4")[1, 0])
    assert main(["collect", file, str(folder), str(out), "--split", "train", *QUICK]) == 0  # tables are no harm


def test_collect_options_reach_the_run(capsys, file, folder, tmp_path):
    out = tmp_path / "out"
    assert main(["collect", file, str(folder), str(out), "--split", "val", "--limit", "4", "--zoom", "1", "2.5",
                 "--controls", "--precision", "bf16", "--random-weights", "--compact", *QUICK]) == 0
    stats = sv.open_statistics(out)
    assert stats.metadata["settings"] == {
        "zooms": [1.0, 2.5], "around": "centre", "controls": True, "precision": "bf16", "batch_size": 2,
        "shard_size": 3, "threads": 1, "compiled": False, "random_weights": True}
    assert (stats.metadata["count"], stats.metadata["compact"]) == (4, True)
    assert stats.metadata["model"] == "tiny.safetensors"
    assert stats.sources == ["gate", "shuffled", "squeeze", "random"]


def test_collect_uses_all_threads(file, folder, tmp_path):
    assert main(["collect", file, str(folder), str(tmp_path / "out"), "--split", "val", "--device", "cpu"]) == 0
    assert sv.open_statistics(tmp_path / "out").metadata["settings"]["threads"] == torch.get_num_threads()


def test_collect_tells_of_unreadable_pictures(capsys, file, folder, tmp_path):
    (folder / "val" / "dog" / "broken.png").write_text("hello")
    out = tmp_path / "out"
    assert main(["collect", file, str(folder), str(out), "--split", "val", *QUICK]) == 0
    assert capsys.readouterr().out == (
        f"{out}: 6 pictures of 2 classes; 1 could not be used, see {out}/unreadable.csv\n")
    assert "dog/broken.png,\"The file is not a picture in" in (out / "unreadable.csv").read_text()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_collect_with_no_readable_picture(capsys, file, folder, tmp_path, workers):
    for path in folder.glob("val/*/*.png"):
        path.write_bytes(b"")
    arguments = ["collect", file, str(folder), str(tmp_path / "out"), "--split", "val", *QUICK, "--workers", workers]
    for _ in range(2):  # and again
        assert main(arguments) == 2
        assert capsys.readouterr().err.splitlines()[-1] == (  # after the bar
            "senet_viz collect: none of the 6 pictures could be used; the first: The file is empty.")


def test_collect_can_be_interrupted(capsys, monkeypatch, file, folder, tmp_path):
    """Ctrl-C: the shard at hand is finished, and the run goes on from there."""
    arguments, results = ["collect", file, str(folder), str(tmp_path / "out"), "--split", "val", *QUICK], Local.results

    def interrupted(self, plan, shards):
        for result in results(self, plan, shards):
            signal.raise_signal(signal.SIGINT)
            yield result

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Local, "results", interrupted)
        assert main(arguments) == 130
    lines = capsys.readouterr().err.splitlines()
    assert "finishing the shard at hand; press Ctrl-C again to stop at once" in lines
    assert lines[-1] == "senet_viz collect: stopped; 1 of 2 shards are kept: run again to go on"
    assert signal.getsignal(signal.SIGINT) is before
    assert main(arguments) == 0


def test_collect_can_be_interrupted_at_once(capsys, monkeypatch, file, folder, tmp_path):
    def interrupted(self, plan, shards):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        yield

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Local, "results", interrupted)
    assert main(["collect", file, str(folder), str(tmp_path / "out"), "--split", "val", *QUICK]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "senet_viz collect: interrupted"
    assert signal.getsignal(signal.SIGINT) is before


def test_collect_refuses(capsys, monkeypatch, file, folder, tmp_path):
    out = tmp_path / "out"

    def check(message: str, *options: str, name: str = file, data: Path = folder / "val") -> None:
        refused(capsys, ["collect", name, data, out, *QUICK, *options], message)
        assert not out.exists()

    check("no such file or folder", data=tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    check("holds neither Parquet files nor pictures", data=tmp_path / "empty")
    check("has neither a folder test nor files test*.parquet", "--split", "test", data=folder)
    check("There is no embedded model 'nonsense'", name="demo/nonsense")
    check("'nonsense' names no model", name="nonsense")
    check("zooms are finite factors above 0, not 0.0", "--zoom", "0")
    check("each zoom is given once", "--zoom", "2", "2")
    check("has no boxes to enlarge", "--around", "box")
    for number in ("0", "-1"):
        check(f"the limit is 1 picture or more, not {number}", "--limit", number)
        check(f"batch size is 1 or more, not {number}", "--batch-size", number)
        check(f"shard size is 1 or more, not {number}", "--shard-size", number)
        check(f"threads is 1 or more, not {number}", "--threads", number)
    check("workers is 0 or more, not -1", "--workers", "-1")
    check("cuda:99", "--device", "cuda:99")
    monkeypatch.setitem(sys.modules, "ray", None)
    check("the engine ray needs Ray: pip install -r requirements-cluster.txt", "--engine", "ray")


def test_collect_refuses_a_network_without_gates(capsys, folder, tmp_path):
    torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / "other.pt")
    refused(capsys, ["collect", f"file:{tmp_path / 'other.pt'}", folder / "val", tmp_path / "out", *QUICK, "--arch",
                     "torchvision/squeezenet1_1"], "has no attention blocks, so there is nothing to collect.")


def test_collect_refuses_folders_of_others(capsys, file, folder, tmp_path):
    out = tmp_path / "out"
    assert main(["collect", file, str(folder / "val"), str(out), *QUICK]) == 0
    capsys.readouterr()
    refused(capsys, ["collect", file, folder / "val", out, *QUICK, "--batch-size", "3", "--compact"],
            "holds another run, which is not mixed with this one: batch_size is 2 there, 3 here; compact is False")
    refused(capsys, ["collect", file, folder / "val", folder, *QUICK], "what is in it is no run of this program")


def test_evaluate(capsys, file, named, folder, tmp_path):
    out = tmp_path / "out"
    arguments = ["evaluate", file, str(folder), str(out), "--split", "val", "--edit", "SE_5_*=1", "SE_2_1=0; SE_2_2=0",
                 "--each-block", "--each-stage", "0.5", "shuffle images", "--compact", "--limit", "5", *QUICK]
    for _ in range(2):  # again, when all is done
        assert main(arguments) == 0
        lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["edit", "images", "top1", "difference", "low", "high", "lost", "gained", "top5",
                                "difference5", "low5", "high5"]
    table = open_evaluation(out)
    assert table["edit"].tolist() == [
        "unedited", "SE_5_*=1", "SE_2_1=0; SE_2_2=0", *(f"{block.label}=1" for block in sv.load(file).blocks),
        *(f"{where}={value}" for where in ("stage 2", "stage 3", "stage 4", "stage 5", "*")
          for value in ("0.5", "shuffle images"))]
    assert (table["images"] == 5).all()
    assert len(lines) == len(table) + 2
    assert table.attrs["settings"] == {"precision": "fp32", "batch_size": 2, "shard_size": 3, "threads": 1}
    assert table.attrs["compact"]
    capsys.readouterr()
    assert main([*arguments[:3], *arguments[4:8], *QUICK]) == 0  # a table alone
    assert "SE_5_*=1" in capsys.readouterr().out
    refused(capsys, [*arguments[:3], "--split", "val", "--edit", "*=1", *QUICK, "--workers", "-1"],
            "workers is 0 or more, not -1")
    refused(capsys, [*arguments[:8], *QUICK], "holds another run, which is not mixed with this one: ")
    refused(capsys, ["evaluate", file, folder, "--split", "train", *QUICK],
            "the data's classes are not those of tiny.safetensors: it does not know 'cat' and 1 more")
    refused(capsys, [*arguments[:3], "--split", "val", "--edit", "*=mean", *QUICK],
            "the mean of gates needs statistics of tiny.safetensors: give a folder that collect wrote")


@pytest.fixture
def named(folder):
    """Validation pictures of classes that the network of ``file`` knows."""
    for name, new in (("cat", "red"), ("dog", "blue")):
        (folder / "val" / name).rename(folder / "val" / new)
    return folder / "val"


def test_prune(capsys, file, named, tmp_path):
    out = tmp_path / "smaller.safetensors"
    assert main(["prune", file, str(out), "--blocks", "SE_5_*", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{out}: layer4.0.se, layer4.1.se, layer4.2.se"
    whole, smaller = sv.load(file, device="cpu"), sv.load(f"file:{out}", device="cpu")
    assert lines[1].startswith(f"parameters {whole.parameters:,} → {smaller.parameters:,} (")
    assert "ms on cpu (median of 30, in turn)" in lines[2]
    assert len(smaller.blocks) == 13
    evaluate = ["evaluate", file, str(named), str(tmp_path / "found"), "--each-block", *QUICK]
    assert main(evaluate) == 0
    table = open_evaluation(tmp_path / "found").set_index("edit")["difference"][1:]
    bound = -100 * table.median()
    assert main(["prune", file, str(out), "--evaluation", str(tmp_path / "found"), "--within", str(bound)]) == 0
    kept = [block.label for block in sv.load(f"file:{out}", device="cpu").blocks]
    assert kept == [block.label for block in whole.blocks if -100 * table[f"{block.label}=1"] > bound]
    alike = tmp_path / "alike.safetensors"
    assert main(["prune", file, str(alike), "--evaluation", str(tmp_path / "found"), "--within", str(bound), "--by",
                 "1.0"]) == 0
    assert read_metadata(alike)["removed"] == read_metadata(out)["removed"]
    capsys.readouterr()
    evaluation = ["--evaluation", tmp_path / "found"]
    for value in ("mean", "0.5"):
        refused(capsys, ["prune", file, out, *evaluation, "--by", value],
                f"the evaluation has no rows BLOCK={value}: evaluate with --each-block {value}")
    refused(capsys, ["prune", file, out, *evaluation, "--by", "much"], "'much' is no value of a gate")
    refused(capsys, ["prune", file, out, *evaluation, "--within", "-101"], "lost -101 points or less with its gate")
    refused(capsys, ["prune", f"file:{out}", out, *evaluation], "is of other weights than those of smaller.safetensors")
    refused(capsys, ["prune", file, out, "--blocks", "SE_9_*"], "SE_9_*=1 matches no block")
    refused(capsys, ["prune", file, tmp_path / "x.pt", "--blocks", "*"], "x.pt is not the name of a safetensors file")
    refused(capsys, ["prune", file, out, "--blocks", "*", "--by", "mean"], "the mean of gates needs statistics of")


def test_export_refuses(capsys, tmp_path):
    refused(capsys, ["export", tmp_path / "missing"], "there is no folder")
    refused(capsys, ["export", tmp_path], "holds no statistics")
    (tmp_path / "run.json").write_text("{}")
    refused(capsys, ["export", tmp_path], "holds an unfinished run: collect again with the same arguments")
    (tmp_path / "metadata.json").write_text("{}")
    refused(capsys, ["export", tmp_path], "are damaged")


# kernels

@pytest.fixture
def selective(tmp_path):
    """A checkpoint that chooses between kernels."""
    torch.manual_seed(0)
    options = {"attention": "sk", "num_classes": 3, "widths": [4, 4, 8, 8], "min_width": 2}
    metadata = {
        "architecture": {"name": "slim_resnet50", **options}, "classes": ["red", "green", "blue"],
        "transform": {"input_size": [3, 32, 32], "crop_pct": 1.0},
        "recipe": {"widths": [4, 4, 8, 8], "epochs": 1}, "made": {"date": ""},
        "data": {"name": "colours", "training": 1, "note": ""}, "accuracy": {"top1": 0.5, "top5": 1.0, "images": 45}}
    save_checkpoint(tmp_path / "selective.safetensors", slim_resnet50(**options).state_dict(), metadata)
    return f"file:{tmp_path / 'selective.safetensors'}"


def test_kernels(capsys, selective, photos, tmp_path):
    out = tmp_path / "sizes.csv"
    assert main(["kernels", selective, *map(str, photos), "--zoom", "1", "1.5", "2", "--device", "cpu", "--out",
                 str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    model, table = sv.load(selective, device="cpu"), pd.read_csv(out)
    assert len(lines) == 1 + 2 * 16 and lines[0].split() == ["picture", "label", "zoom", "blur", "elsewhere", "left"]
    assert table.columns[0] == "picture" and len(table) == 2 * 16 * (3 + 3 + 2)
    for n, photo in enumerate(photos):
        preference = size_preference(sweep(model, sv.open_image(photo), (1, 1.5, 2)))
        own = table[table["picture"] == str(photo)].drop(columns="picture").reset_index(drop=True)
        pd.testing.assert_frame_equal(own, preference, check_dtype=False)
        for line, row in zip(lines[1 + 16 * n:], size_slopes(preference).itertuples()):
            assert line.split()[-5:-3] == [row.label, f"{row.zoom:.4f}"] and str(photo) in line
            assert line.split()[-1] == f"{row.left:.4f}"


def test_kernels_around_a_box(capsys, selective, photos, tmp_path):
    out = tmp_path / "sizes.csv"
    assert main(["kernels", selective, str(photos[0]), "--device", "cpu", "--out", str(out), "--box", "0", "10.5", "20",
                 "50"]) == 0
    table = pd.read_csv(out)
    assert sorted(table[table["look"] == "zoom"]["size"].unique()) == list(SIZES)
    expected = size_preference(
        sweep(sv.load(selective, device="cpu"), sv.open_image(photos[0]), box=(0, 10.5, 20, 50)))
    np.testing.assert_allclose(table["difference"], expected["difference"], atol=1e-6)
    capsys.readouterr()
    assert main(["kernels", selective, str(photos[0]), "--device", "cpu", "--zoom", "0.5"]) == 0
    assert capsys.readouterr().out == "No slopes: they take sizes from 1 up.\n"


def test_kernels_refuses(capsys, file, selective, photos, tmp_path):
    out = tmp_path / "sizes.csv"

    def check(message: str, *options, name: str = selective, pictures=photos[:1]) -> None:
        refused(capsys, ["kernels", name, *pictures, "--device", "cpu", "--out", out, *options], message)
        assert not out.exists()

    check("tiny.safetensors has no units that choose between kernels: it takes a selective-kernel network", name=file)
    check("a box is of one photo, and there are 2", "--box", "0", "0", "9", "9", pictures=photos)
    check("the box 0, 0, 91, 90 (left, top, right, bottom) is empty or not inside the picture, which has 90×90 pixels",
          "--box", "0", "0", "91", "90")
    check("is empty or not inside", "--box", "nan", "0", "9", "9")
    for zoom in ("0", "nan", "inf", "-1"):
        check(f"must be a finite number above 0, not {float(zoom)}", "--zoom", "1", zoom)
    (tmp_path / "text.jpg").write_text("hello")
    check("text.jpg: The file is not a picture", pictures=[tmp_path / "text.jpg"])
    check("missing.jpg", pictures=[photos[0], tmp_path / "missing.jpg"])
    check("There is no embedded model 'nonsense'", name="demo/nonsense")
    refused(capsys, ["kernels", selective, photos[0], "--device", "cpu", "--zoom", "1", "--out",
                     tmp_path / "none" / "x.csv"], str(tmp_path / "none"))


@pytest.mark.parametrize("arguments", [
    ["kernels"], ["kernels", "demo/x"], ["kernels", "demo/x", "a.png", "--zoom"],
    ["kernels", "demo/x", "a.png", "--zoom", "large"], ["kernels", "demo/x", "a.png", "--box", "1", "2", "3"]])
def test_kernels_usage(capsys, arguments):
    test_usage(capsys, arguments)
