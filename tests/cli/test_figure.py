import os
import subprocess
import sys
from pathlib import Path

import pytest
from pypdf import PdfReader

from senet_viz.cli import figure, main
from senet_viz.data.places import ASSETS
from senet_viz.figures.paper import STYLES
from senet_viz.statistics import open_statistics
from senet_viz.statistics.paper_figures import FIGURES
from tests.cli.checks import ROOT, printed, refused, usage
from tests.runs import data_set, full, make_model, run, settings

__all__ = ["data_set", "full", "run", "settings"]


@pytest.fixture(scope="module")
def plain(run, tmp_path_factory) -> Path:
    """Statistics of a network without units, at one size."""
    return run(tmp_path_factory.mktemp("plain") / "out", make_model("se")).path


def test_figures_with_their_captions(capsys, full, tmp_path):
    names = list(FIGURES)
    said = printed(capsys, "figure", str(full.path), *names, "--width", "120", "--into", str(tmp_path / "new" / "one"))
    files = [Path(line) for line in said.splitlines()]
    assert [file.name for file in files] == [f"{name}.{suffix}" for name in names for suffix in ("pdf", "txt", "tex")]
    for name in names:
        page, = PdfReader(files[0].with_name(f"{name}.pdf")).pages
        assert float(page.mediabox.width) / 72 * 25.4 == pytest.approx(120, abs=0.05)
        assert not page.images
        caption, numbers = files[0].with_name(f"{name}.txt").read_text(encoding="utf-8").strip().split("\n\n")
        assert "se+sk on " in caption and "23 pictures" in caption
        assert numbers
        tex = files[0].with_name(f"{name}.tex").read_text(encoding="utf-8").splitlines()
        assert [line.partition("{")[0] for line in tex] == ["\\includegraphics", "\\caption"]


def test_svg_and_chosen_classes(capsys, plain, tmp_path):
    said = printed(capsys, "figure", str(plain), "se6", "se6", "--into", str(tmp_path), "--format", "svg", "--style",
                   "paper-serif", "--classes", "kind 1, or so", "--blocks", "SE_[23]*")
    assert [Path(line).name for line in said.splitlines()] == ["se6.svg", "se6.txt"]
    text = (tmp_path / "se6.svg").read_text(encoding="utf-8")
    assert text.count("axes_") == 2 and "<image" not in text
    assert "kind 1, or so" in (tmp_path / "se6.txt").read_text(encoding="utf-8")


def test_an_embedded_model_by_name(capsys, tmp_path):
    if not (ASSETS / "statistics" / "se_resnet50_slim").is_dir():
        pytest.skip("the embedded statistics are missing")
    printed(capsys, "figure", "demo/se_resnet50_slim", "se7", "--into", str(tmp_path))
    assert "demo/se_resnet50_slim" in (tmp_path / "se7.txt").read_text(encoding="utf-8")


def test_the_same_numbers_give_the_same_bytes_elsewhere(capsys, plain, tmp_path):
    """In another process, in which sets have another order."""
    printed(capsys, "figure", plain, "se6", "--into", tmp_path / "here")
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    subprocess.run([sys.executable, "-m", "senet_viz", "figure", plain, "se6", "--into", tmp_path / "there"], cwd=ROOT,
                   env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True)
    first, second = (sorted((tmp_path / place).iterdir()) for place in ("here", "there"))
    assert [file.name for file in first] == [file.name for file in second]
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    assert len(first) == 3


@pytest.mark.parametrize(("name", "said"), [
    ("狗", "the font lacks letters of some names: boxes stand for them\n"), ("Ärger $x^2$ _", "")])
def test_names_that_the_font_cannot_write(capsys, plain, tmp_path, monkeypatch, name, said):
    stats = open_statistics(plain)
    stats.classes[0] = name
    monkeypatch.setattr("senet_viz.statistics.open_statistics", lambda path: stats)
    code = main(["figure", str(plain), "se6", "--into", str(tmp_path), "--classes", name])
    assert (code, capsys.readouterr().err) == (0, said)
    assert name in (tmp_path / "se6.txt").read_text(encoding="utf-8")
    assert len(PdfReader(tmp_path / "se6.pdf").pages) == 1


def test_figure_refuses(capsys, plain, tmp_path):
    into = ["--into", tmp_path / "figures"]
    refused(capsys, ["figure", tmp_path / "missing", "se6", *into], "there is no folder")
    refused(capsys, ["figure", "demo/other", "se6", *into], "there is no folder demo/other")
    refused(capsys, ["figure", plain, "sk3", *into], "se has none to choose from")
    refused(capsys, ["figure", plain, "se6", "sk4", *into], "sk4 shows the choice between kernels")
    assert not list((tmp_path / "figures").iterdir())  # not one of them, where another cannot be drawn
    refused(capsys, ["figure", plain, "se6", "--classes", "zebra", *into], "there is no class 'zebra'")
    refused(capsys, ["figure", plain, "se6", "--width", "wide", *into], "a width is column, page or a number")
    refused(capsys, ["figure", plain, "dimension", "--classes", "zebra", *into], "--classes is of se6, se7")
    refused(capsys, ["figure", plain, "dimension", "--blocks", "SE_2_1", *into], "--blocks is of se6, se7, sk3, sk4")
    (tmp_path / "file").write_text("")
    refused(capsys, ["figure", plain, "se6", "--into", tmp_path / "file"], "is a file, not a folder to write into")
    refused(capsys, ["figure", plain, "se6", "--into", tmp_path / "file" / "below"], "Not a directory")


def test_a_folder_that_cannot_be_written(capsys, plain, tmp_path, monkeypatch):
    monkeypatch.setattr(figure.os, "access", lambda path, mode: False)  # root may write anywhere
    refused(capsys, ["figure", plain, "se6", "--into", tmp_path], "cannot be written")


def test_figure_usage(capsys):
    usage(capsys, ["figure", "out"])
    usage(capsys, ["figure", "out", "se5"], "invalid choice: 'se5'")
    usage(capsys, ["figure", "out", "se6", "--style", "poster"], "invalid choice: 'poster'")
    usage(capsys, ["figure", "out", "se6", "--format", "png"], "invalid choice: 'png'")


def test_choices_are_the_librarys(capsys):
    with pytest.raises(SystemExit):
        main(["figure", "--help"])
    text = capsys.readouterr().out
    assert f"--style {{{','.join(STYLES)}}}" in text
    for name in FIGURES:
        usage(capsys, ["figure", "out", name, "--zoom", "x"], "invalid float value")
