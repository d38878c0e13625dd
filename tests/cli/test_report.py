"""``report``: one whole file of photos or of a data set, or one sentence and no file."""
import re

import pytest
import torch

import senet_viz as sv
from senet_viz import tables
from senet_viz.cli import main
from senet_viz.models import slim_resnet50
from senet_viz.models.checkpoints import save_checkpoint
from senet_viz.statistics import summaries
from tests.cli.checks import printed, refused, usage
from tests.reports.test_html import Reader


def headings(page) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page.read_text())


def facts(page) -> dict[str, str]:
    head = page.read_text().partition("<dl>")[2].partition("</dl>")[0]
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", head))


@pytest.fixture
def statistics(capsys, file, named, tmp_path):
    from tests.cli.checks import QUICK
    printed(capsys, "collect", file, named, tmp_path / "OUT", *QUICK, "--random-weights", "1")
    return tmp_path / "OUT"


def test_a_report_of_photos(capsys, file, photos, tmp_path):
    out = tmp_path / "report.html"
    said = printed(capsys, "report", file, *photos, "--out", out, "--device", "cpu", "--class", "green")
    assert said.startswith(f"{out}: 2 photos in tiny.safetensors")
    model = sv.load(file, device="cpu")
    views = {photo.name: sv.record(model, model.batch([sv.open_image(photo)])) for photo in photos}
    read, last = Reader(out.read_text()), model.blocks[-1].label
    assert headings(out) == ["Predictions", "All blocks at a glance", f"{last}, channel by channel",
                             f"Channel 0 of {last}", "Channels that differ most", "Where the network looks: Grad-CAM",
                             f"What the gate itself changed at {last}", "Gate and contribution"]
    assert out.read_text().count("Plotly.newPlot(") >= 6
    for _, row in tables.predictions(views, model.classes).iterrows():
        assert row["class"] in read.text and f"{row['probability']:.5g}" in read.text
    for row in tables.differences(*views.values(), top=5).itertuples():
        assert f"{row.first:.5g}" in read.text
    assert "for green" in "".join(attrs.get("aria-label", "") for attrs in read.all("div"))
    head = facts(out)
    assert head["Model"] == model.name and "a.png" in head["Pictures"] and "torch" in head["Software"]
    assert head["Command"].startswith("senet-viz report file:") and "--class green" in head["Command"]


def test_the_same_command_gives_the_same_bytes(capsys, file, photos, tmp_path):
    pages = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        pages.append(tmp_path / name / "report.html")
        printed(capsys, "report", file, photos[0], "--out", pages[-1], "--device", "cpu")
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_photos_may_stand_behind_options(capsys, selective, photos, tmp_path):
    out = tmp_path / "report.html"
    printed(capsys, "report", selective, "--out", out, photos[0], "--device", "cpu")
    assert "Kernel choice" in headings(out) and "Channels that differ most" not in headings(out)


def test_a_photo_that_cannot_be_read_is_left_out(capsys, file, photos, tmp_path):
    (tmp_path / "letter.jpg").write_text("Dear Sir")
    out = tmp_path / "report.html"
    assert main(["report", file, str(photos[0]), str(tmp_path / "letter.jpg"), "--out", str(out),
                 "--device", "cpu"]) == 0
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1 and "letter.jpg" in shown.err and "not a picture" in shown.err
    assert "1 photo in" in shown.out and "not a picture" in facts(out)["Left out"]
    assert "letter.jpg" not in facts(out)["Pictures"]


def test_a_report_of_a_data_set(capsys, statistics, tmp_path):
    out = tmp_path / "data.html"
    assert "6 pictures of 2 classes" in printed(capsys, "report", "--statistics", statistics, "--out", out)
    stats = sv.open_statistics(statistics)
    titles = headings(out)
    assert titles[:3] == ["Class by class, block by block", "How class-specific is each depth?", "How many directions?"]
    assert "Saturated and dead gates" in titles
    read, last = Reader(out.read_text()), stats.blocks[-1].label
    for row in summaries.selective_channels(stats, last).head(3).itertuples():
        assert f"{row.omega_squared:.5g}" in read.text
    head = facts(out)
    assert head["Model"] == stats.metadata["model"] and head["Data"] == stats.metadata["data"]
    assert f"{stats.metadata['images']} pictures, 2 classes of 3" in head["Pictures"]
    assert head["Collected by"] == ("senet-viz collect MODEL DATA OUT --random-weights 1 --batch-size 2 --shard-size 3 "
                                    "--threads 1")
    assert head["Command"] == f"senet-viz report --statistics {statistics} --out data.html"


def test_report_refuses(capsys, file, photos, tmp_path, monkeypatch):
    out = tmp_path / "report.html"
    torch.manual_seed(0)
    metadata = {
        "architecture": {"name": "slim_resnet50", "attention": "none", "num_classes": 3}, "classes": ["a", "b", "c"],
        "transform": {"input_size": [3, 64, 64]}, "recipe": {"widths": [4], "epochs": 1}, "made": {"date": ""},
        "data": {"name": "", "training": 1}, "accuracy": {"top1": 0.5, "top5": 1.0, "images": 1}}
    save_checkpoint(tmp_path / "plain.safetensors", slim_resnet50("none", num_classes=3).state_dict(), metadata)
    (tmp_path / "letter.jpg").write_text("Dear Sir")
    (tmp_path / "a file").write_text("")
    for arguments, said in (
            ([], "there is nothing to report"),
            ([file], "there is nothing to report"),
            ([file, photos[0], "--statistics", tmp_path], "name no model, photo or class"),
            (["--statistics", tmp_path], "no statistics"),
            ([file, *[photos[0]] * 17], "at most 16 photos, and 17 were named"),
            ([file, tmp_path / "letter.jpg"], "letter.jpg: The file is not a picture"),
            ([file, tmp_path / "missing.jpg"], "missing.jpg"),
            ([file, photos[0], "--class", "purple"], "has no class 'purple'"),
            ([f"file:{tmp_path / 'plain.safetensors'}", photos[0]], "has no attention blocks"),
            ([file, photos[0], "--pdf", tmp_path / "report.ps"], "report.ps does not end in .pdf"),
            ([file, photos[0], "--pdf", tmp_path / "report.pdf", "--chromium", "/no/such"], "no program /no/such")):
        refused(capsys, ["report", *arguments, "--out", out, "--device", "cpu"], said)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CHROME_PATH", raising=False)
    monkeypatch.setattr("senet_viz.reports.pdf.PLACES", ())
    refused(capsys, ["report", file, photos[0], "--out", out, "--pdf", tmp_path / "report.pdf"], "none was found here")
    for path, said in ((tmp_path / "report.txt", "report.txt does not end in .html"),
                       (tmp_path / "none" / "report.html", "there is no folder"),
                       (tmp_path / "a file" / "report.html", "there is no folder")):
        refused(capsys, ["report", file, photos[0], "--out", path], said)
    usage(capsys, ["report", file, str(photos[0])], "--out")
    assert not [path for path in tmp_path.iterdir() if ".part" in path.name or path.suffix in (".html", ".pdf")]


def test_no_photo_is_left(capsys, file, tmp_path):
    for name in ("one.jpg", "two.jpg"):
        (tmp_path / name).write_text("Dear Sir")
    assert main(["report", file, str(tmp_path / "one.jpg"), str(tmp_path / "two.jpg"), "--out",
                 str(tmp_path / "report.html"), "--device", "cpu"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        f"left out {tmp_path / 'one.jpg'}", f"left out {tmp_path / 'two.jpg'}", "senet_viz report"]
    assert "none of the 2 photos" in lines[-1] and not (tmp_path / "report.html").exists()


def test_a_browser_that_prints_nothing_leaves_no_file(capsys, file, photos, tmp_path):
    """The HTML file is whole; of the PDF there is nothing."""
    silent = tmp_path / "browser"
    silent.write_text("#!/bin/sh\necho 'cannot open display' >&2\n")
    silent.chmod(0o755)
    refused(capsys, ["report", file, photos[0], "--out", tmp_path / "report.html", "--pdf", tmp_path / "report.pdf",
                     "--chromium", silent, "--device", "cpu"], "printed no PDF (cannot open display)")
    assert (tmp_path / "report.html").read_text().rstrip().endswith("</html>")
    assert not [path for path in tmp_path.iterdir() if ".part" in path.name or path.suffix == ".pdf"]
