import senet_viz as sv
from senet_viz.cli import main
from senet_viz.collecting import open_evaluation
from senet_viz.models.checkpoints import read_metadata
from tests.cli.checks import QUICK, document, printed, refused, usage


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
    refused(capsys, ["prune", file, out, "--blocks", "*", "--by", "nan"],
            "'nan' is no value that a gate is held at; there are a number, its mean over a data set, and for kernels")
    refused(capsys, ["prune", file, out, "--blocks", "SE_9_*"], "SE_9_*=1 matches no block")
    refused(capsys, ["prune", file, tmp_path / "x.pt", "--blocks", "*"], "x.pt is not the name of a safetensors file")
    refused(capsys, ["prune", file, out, "--blocks", "*", "--by", "mean"], "the mean of gates needs statistics of")


def test_prune_as_json(capsys, file, tmp_path):
    out = tmp_path / "smaller.safetensors"
    told = document(capsys, "prune", file, out, "--blocks", "SE_5_*", "--device", "cpu")
    whole, smaller = sv.load(file, device="cpu"), sv.load(f"file:{out}", device="cpu")
    assert told["parameters"] == {"before": whole.parameters, "after": smaller.parameters}
    assert (told["file"], told["blocks"], told["arch"]) == (
        str(out), ["layer4.0.se", "layer4.1.se", "layer4.2.se"], None)
    assert all(0 < told["seconds"][key] < 10 for key in ("before", "after"))
    assert told["folded"] == {} and told["scaled"] == []
    told = document(capsys, "prune", file, out, "--blocks", "SE_5_*", "--by", "0.5", "--device", "cpu")
    assert told["folded"] == {f"layer4.{k}.se": f"layer4.{k}.bn3" for k in range(3)} and told["scaled"] == []


def test_prune_says_what_was_folded(capsys, file, tmp_path):
    out = tmp_path / "smaller.safetensors"
    lines = printed(capsys, "prune", file, out, "--blocks", "SE_5_*", "--by", "0.5", "--device", "cpu").splitlines()
    assert lines[3:] == ["gates folded into weights, so that nothing is multiplied: SE_5_1 into layer4.0.bn3, "
                         "SE_5_2 into layer4.1.bn3, SE_5_3 into layer4.2.bn3"]


def test_prune_usage(capsys):
    usage(capsys, ["prune", "demo/x", "out.safetensors"])
    usage(capsys, ["prune", "demo/x", "out.safetensors", "--blocks", "*", "--evaluation", "folder"])
