import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision

import senet_viz as sv
from senet_viz.cli import main
from senet_viz.collecting.engines.local import Local
from tests.cli.checks import QUICK, refused, usage


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
                 "--controls", "--precision", "bf16", "--random-weights", "--sample", "9", "--compact",
                 *QUICK]) == 0
    stats = sv.open_statistics(out)
    assert stats.metadata["settings"] == {
        "zooms": [1.0, 2.5], "around": "centre", "controls": True, "precision": "bf16", "batch_size": 2,
        "shard_size": 3, "threads": 1, "compiled": False, "random_weights": 3, "sample": 9}
    assert (stats.metadata["count"], stats.metadata["compact"]) == (4, True)
    assert stats.metadata["model"] == sv.load(file, device="cpu").name
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
    check("workers is 0 to 1,024, not -1", "--workers", "-1")
    check("workers is 0 to 1,024, not 1,025", "--workers", "1025")
    check("threads is 1,024 or less, not 100,000", "--threads", "100000")
    check("cuda:99", "--device", "cuda:99")
    monkeypatch.setitem(sys.modules, "ray", None)
    check("the engine ray needs Ray: pip install 'ray[data]'", "--engine", "ray")


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


@pytest.mark.parametrize("arguments", [
    [], ["demo/x", "data"], ["demo/x", "data", "out", "--around", "corner"], ["demo/x", "data", "out", "--zoom"],
    ["demo/x", "data", "out", "--engine", "spark"], ["demo/x", "data", "out", "--precision", "int8"]])
def test_collect_usage(capsys, arguments):
    usage(capsys, ["collect", *arguments])


def test_collect_where_nothing_can_be_written(capsys, file, folder, tmp_path):
    (tmp_path / "file").touch()
    refused(capsys, ["collect", file, folder / "val", tmp_path / "file" / "out", *QUICK], str(tmp_path / "file"))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder that nobody can write into")
def test_a_place_where_nothing_can_be_written(capsys, file, folder):
    refused(capsys, ["collect", file, folder, "/proc/out", "--split", "train", *QUICK], "No such file or directory")
