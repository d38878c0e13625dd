import dataclasses

import pandas as pd
import pytest

import senet_viz as sv
from senet_viz.cli import main
from senet_viz.models import catalog, embedded_models
from senet_viz.models.listing import entries
from tests.cli.checks import document, printed, refused, usage


def test_models_lists_what_can_be_loaded(capsys, tmp_path):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == catalog()["name"].tolist()
    assert lines[0].split() == ["model", "attention", "blocks", "parameters", "pixels", "classes", "top-1", "%", "at",
                                "pixels", "licence", "here"]
    assert [line.split()[0] for line in lines[1:] if line.endswith("  yes")] == catalog().query("downloaded")[
        "name"].tolist()
    assert [line.split()[0] for line in lines[1:3]] == embedded_models()
    assert main(["models", "--search", "seresnet50 RA2"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:6] == [
        "timm/seresnet50.ra2_in1k", "SE", "16", "28,088,024", "224", "1,000"]
    assert main(["models", "--search", "skresnet", "--out", str(tmp_path / "table.csv")]) == 0
    table = pd.read_csv(tmp_path / "table.csv")
    assert table.columns.tolist() == catalog().columns.tolist()
    assert table["name"].tolist() == ["timm/skresnet18.ra_in1k", "timm/skresnet34.ra_in1k"]
    refused(capsys, ["models", "--search", "nothing like it"], "no network of the list has 'nothing like it'")
    for options in (["--search", "x"], ["--search", ""], ["--out", "x.csv"]):
        refused(capsys, ["models", "demo/x", *options], "--search and --out are for the list")
    usage(capsys, ["models", "--json", "--out", "x.csv"], "not allowed with argument --json")


@pytest.mark.parametrize("options", [["--json"], ["--out", "table.csv"]])
def test_models_where_nothing_is_found(capsys, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    refused(capsys, ["models", "--search", "nothing like it", *options], "no network of the list has")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("folder", "message"), [
    ("missing", "there is no folder"), ("file", "there is no folder"), ("here.csv", "is a folder, not a file")])
def test_models_where_nothing_can_be_written(capsys, tmp_path, folder, message):
    (tmp_path / "file").touch()
    (tmp_path / "here.csv").mkdir()
    out = tmp_path / folder if folder.endswith("csv") else tmp_path / folder / "table.csv"
    refused(capsys, ["models", "--out", out], message)


def test_models_into_a_folder_without_permission(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)  # whom root's tests would not stop
    refused(capsys, ["models", "--out", tmp_path / "table.csv"], f"the folder {tmp_path} cannot be written")


@pytest.mark.parametrize(("width", "kept", "left_out"), [
    (80, {"attention", "parameters", "top-1 %"}, {"classes", "licence", "at pixels"}),
    (100, {"attention", "pixels", "classes", "licence"}, {"at pixels"}),
    (160, {"attention", "classes", "licence", "at pixels"}, set())])
def test_search_fits_the_terminal(capsys, monkeypatch, width, kept, left_out):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["models", "--search", "seresnet50"]) == 0
    out, err = capsys.readouterr()
    head, *lines = out.splitlines()
    assert all(len(line) <= width for line in [head, *lines])
    assert [line.split()[0] for line in lines] == [entry.name for entry in entries("seresnet50")]  # none is wrapped
    assert all(name in head for name in kept) and not any(name in head for name in left_out)
    assert all(name in err for name in left_out) and bool(err) == bool(left_out)
    assert {line.find("28,088,024") + 10 for line in lines} == {head.find("parameters") + 10}


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_whole_list_fits_the_terminal(capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = printed(capsys, "models").splitlines()
    assert max(map(len, lines)) <= width and len(lines) == 1 + len(entries())
    if width >= 80:  # names, which are copied, stay whole
        assert [line.split()[0] for line in lines[1:]] == [entry.name for entry in entries()]


def test_models_as_json(capsys):
    rows = document(capsys, "models", "--search", "seresnet50 timm")
    assert [row["name"] for row in rows] == [entry.name for entry in entries("seresnet50 timm")]
    for row, entry in zip(rows, entries("seresnet50 timm")):
        assert row == {key: value for key, value in dataclasses.asdict(entry).items() if key in row} | {
            "downloaded": entry.downloaded}
    unrated = [row for row in document(capsys, "models") if row["top1"] is None]
    assert [row["name"] for row in unrated] == [entry.name for entry in entries() if entry.top1 is None]


def test_models_describes(capsys, file):
    assert main(["models", file, "--device", "cpu"]) == 0
    described, listed = capsys.readouterr().out.split("\n\n")
    told = dict(line.split(maxsplit=1) for line in described.splitlines())
    model = sv.load(file, device="cpu")
    assert told["Parameters"] == f"{sum(p.numel() for p in model.module.parameters()):,}"
    assert (told["Classes"], told["Device"], told["Model"]) == ("3", "cpu", model.name)
    head, *lines = map(str.split, listed.splitlines())
    assert head == ["block", "module", "attention", "channels"]
    assert lines == [[block.label, block.name, "SE", str(block.channels)] for block in model.blocks]


def test_models_describes_kernels_and_gains(capsys, selective):
    listed = printed(capsys, "models", selective, "--device", "cpu").split("\n\n")[1].splitlines()
    assert listed[0].split()[-1] == "kernels" and all(line.endswith("  3, 5") for line in listed[1:])


def test_models_describes_as_json(capsys, selective):
    told, model = document(capsys, "models", selective, "--device", "cpu"), sv.load(selective, device="cpu")
    assert (told["name"], told["parameters"], told["classes"], told["input"], told["device"]) == (
        model.name, model.parameters, model.classes, list(model.input_size), "cpu")
    assert told["info"] == model.info
    assert [(b["label"], b["name"], b["kind"], b["channels"], b["branches"], b["kernels"]) for b in told["blocks"]] == [
        (b.label, b.name, "SK", b.channels, 2, [3, 5]) for b in model.blocks]
