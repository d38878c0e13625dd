import re

import pandas as pd
import pytest

import senet_viz as sv
from senet_viz.cli import main
from senet_viz.collecting import open_evaluation
from tests.cli.checks import QUICK, document, printed, refused


def test_evaluate(capsys, file, named, folder, tmp_path):
    out = tmp_path / "out"
    arguments = ["evaluate", file, str(folder), str(out), "--split", "val", "--edit", "SE_5_*=1", "SE_2_1=0; SE_2_2=0",
                 "--each-block", "--each-stage", "0.5", "shuffle images", "--compact", "--limit", "5", *QUICK]
    for _ in range(2):  # again, when all is done
        assert main(arguments) == 0
        lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("  ")[0] == "edit" and lines[0].endswith("  95 %, classes")
    table = open_evaluation(out)
    assert table["edit"].tolist() == [
        "unedited", "SE_5_*=1", "SE_2_1=0; SE_2_2=0", *(f"{block.label}=1" for block in sv.load(file).blocks),
        *(f"{where}={value}" for where in ("stage 2", "stage 3", "stage 4", "stage 5", "*")
          for value in ("0.5", "shuffle images"))]
    assert (table["images"] == 5).all()
    assert len(lines) == len(table) + 3
    assert table.attrs["settings"] == {"precision": "fp32", "batch_size": 2, "shard_size": 3, "threads": 1}
    assert table.attrs["compact"]
    capsys.readouterr()
    assert main([*arguments[:3], *arguments[4:8], *QUICK]) == 0  # a table alone
    assert "SE_5_*=1" in capsys.readouterr().out
    refused(capsys, [*arguments[:3], "--split", "val", "--edit", "*=1", *QUICK, "--workers", "-1"],
            "workers is 0 to 1,024, not -1")
    refused(capsys, [*arguments[:8], *QUICK], "holds another run, which is not mixed with this one: ")
    refused(capsys, ["evaluate", file, folder, "--split", "train", *QUICK],
            f"the data's classes are not those of {sv.load(file).name}: it does not know 'cat' and 1 more")
    refused(capsys, [*arguments[:3], "--split", "val", "--edit", "*=mean", *QUICK],
            f"the mean of gates needs statistics of {sv.load(file).name}: give a folder that collect wrote")


def test_evaluate_prints_shares_in_percent(capsys, file, named):
    arguments = ["evaluate", file, named, "--edit", "SE_5_*=1", "*=0", *QUICK]
    edits = document(capsys, *arguments)["edits"]
    _, unedited, *lines, foot, populations = [line.split() for line in printed(capsys, *arguments).splitlines()]
    assert unedited == ["unedited", "6", f"{100 * edits[0]['top1']:.2f}", f"{100 * edits[0]['top5']:.2f}"]
    for words, row in zip(lines, edits[1:], strict=True):
        change = [f"{100 * row['difference']:+z.2f}", f"{100 * row['low']:+z.2f}", "to", f"{100 * row['high']:+z.2f}"]
        wide = [f"{100 * row['low_classes']:+z.2f}", "to", f"{100 * row['high_classes']:+z.2f}"]
        assert words[:12] == [row["edit"], "6", f"{100 * row['top1']:.2f}", *change, *wide, str(row["lost"]),
                              str(row["gained"])]
    assert "percentage points" in " ".join(foot)
    assert " ".join(populations).endswith("for other pictures of these classes; for other classes of the same kind")


@pytest.mark.parametrize(("width", "kept", "left_out"), [
    (80, "95 %, pictures", "top-5"), (100, "95 %, classes", "top-5 change"), (150, "top-5 change", "anything")])
def test_evaluate_fits_the_terminal(capsys, monkeypatch, file, named, width, kept, left_out):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = printed(capsys, "evaluate", file, named, "--each-stage", "shuffle images", *QUICK).splitlines()[:-2]
    assert max(map(len, lines)) <= width and len(lines) == 1 + 1 + 5
    assert kept in lines[0] and left_out not in lines[0]


def test_evaluate_as_json(capsys, file, named, tmp_path):
    out = tmp_path / "out"
    told = document(capsys, "evaluate", file, named, out, "--edit", "SE_5_*=1", *QUICK)
    table = open_evaluation(out)
    assert (told["model"], told["unreadable"]) == (table.attrs["model"], 0)
    pd.testing.assert_frame_equal(pd.DataFrame(told["edits"]), table, check_dtype=False)


def test_single_channels_and_removed_ones(capsys, file, named, tmp_path):
    stats, out = tmp_path / "statistics", tmp_path / "out"
    assert main(["collect", file, str(named), str(stats), *QUICK]) == 0
    capsys.readouterr()
    arguments = ["evaluate", file, named, "--each-channel", "SE_2_1", "stage 5", "--channels", "3",
                 "--remove-channels", "0.5", "--statistics", stats, *QUICK]
    text = printed(capsys, *arguments[:3], out, *arguments[3:])
    edits = open_evaluation(out)["edit"].tolist()
    channels = [edit for edit in edits if edit.endswith("=mean")]
    blocks = [block for block in sv.load(file).blocks if block.label == "SE_2_1" or block.stage == 5]
    assert len(channels) == 3 * len(blocks) and channels[0] == "SE_2_1[0]=mean"
    assert [edit for edit in edits if edit.startswith("remove")] == [
        f"remove 50% by {score}" for score in ("gate", "output", "gamma", "random 1", "random 2", "random 3")]
    assert "With 50% of each block's channels removed, top-1 over " in text
    asked = int(re.search(r"Of (\d+) channels, each fixed at its mean by itself, ", text)[1])
    assert 0 < asked <= len(channels) and "**" not in text  # a channel that never changes has no class of its own
    found = document(capsys, *arguments)["found"]  # nothing is kept, so that single pictures are not known
    assert len(found) == 1 and found[0].startswith("With 50%")
    refused(capsys, [*arguments[:3], "--each-channel", "SE_9_9", *QUICK],
            "SE_9_9 matches no block; the network's are: ")
    twice = document(capsys, *arguments[:3], "--each-channel", "SE_2_1", "SE_2_1", "--channels", "2", "--statistics",
                     stats, *QUICK)
    assert len(twice["edits"]) == 1 + 2
    refused(capsys, [*arguments[:3], "--remove-channels", "1.5", "--statistics", stats, *QUICK],
            "the share of channels to remove is between 0 and 1, not 1.5")
