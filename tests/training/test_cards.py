"""Cards with what was measured after a training."""
import json
from dataclasses import replace

import pytest
from safetensors.torch import save_file

from senet_viz.cli import main
from senet_viz.collecting import Settings, collect
from senet_viz.models import load
from senet_viz.models.checkpoints import CheckpointError, read_metadata
from senet_viz.statistics import summaries
from senet_viz.training import cards
from senet_viz.training.cards import write_card
from tests.cli.checks import refused
from tests.training.test_loop import RECIPE, pictures, run  # noqa: F401

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trained(pictures, tmp_path_factory):  # noqa: F811
    """A network, the same without attention, and statistics of the first."""
    folder = tmp_path_factory.mktemp("trained")
    short = replace(RECIPE, epochs=1)
    run(pictures / "parquet", folder / "se.safetensors", short)
    run(pictures / "parquet", folder / "none.safetensors", replace(short, attention="none", reduction=2))
    model = load(f"file:{folder / 'se.safetensors'}", device="cpu")
    stats = collect(model, pictures / "parquet", folder / "statistics", Settings(batch_size=8), split="val", workers=0,
                    progress=False)
    return folder, stats


def test_directions_and_a_baseline(trained, capsys):
    folder, stats = trained
    plain = (folder / "se.md").read_text()
    assert "Without attention" not in plain and "SE_2_1" not in plain
    assert main(["card", str(folder / "se.safetensors"), "--statistics", str(stats.path),
                 "--baseline", str(folder / "none.safetensors")]) == 0
    assert capsys.readouterr().out == f"{folder / 'se.md'}\n"
    text = (folder / "se.md").read_text()
    ours, theirs = (read_metadata(folder / f"{name}.safetensors")["accuracy"]["top1"] for name in ("se", "none"))
    assert (f"| Without attention | top-1 {theirs:.1%}, top-5 100.0% on the 30 validation pictures, of the same "
            f"recipe: attention makes {100 * (ours - theirs):+.1f} points of top-1 (") in text
    table = summaries.dimension(stats).set_index(["label", "source"])
    hidden = summaries.hidden_units(stats).set_index("label")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| SE_")]
    assert [row[0] for row in rows] == [f"| {block.label}" for block in stats.blocks] and len(rows) == 16
    for row, block in zip(rows, stats.blocks):
        for cell, source in ((row[2], "gate"), (row[3], "squeeze")):
            told = table.loc[(block.label, source)]
            few = (" †" + f" ({told['trimmed']:.1f})" * int(told["trimmed"] > 0)) * int(told["tail"] > 0.3)
            assert cell == (f"{told['dimension']:.1f} ± {told['error']:.2f}{few}" if told["dimension"] > 0 else
                            "not told")
        assert row[1] == str(block.channels)
        assert row[4] == f"{hidden['alive'][block.label]} of {hidden['units'][block.label]} |"
    heavy = table.loc[(slice(None), ["gate", "squeeze"]), "tail"].gt(0.3).any()
    assert ("†: 1% of the pictures hold over 30% of the variance" in text) == heavy
    assert all(line in text for line in plain.splitlines())  # nothing else is changed
    write_card(folder / "se.safetensors")
    assert (folder / "se.md").read_text() == plain


def test_a_network_without_attention_is_said_to_have_none(trained, capsys):
    folder, _ = trained
    file = folder / "none.safetensors"
    text = (folder / "none.md").read_text()
    assert "units, no attention, widths" in text and "weight decay 0.0005 on all weights, label" in text
    assert not any(word in text for word in ("| Attention |", "reduction", "hidden", "gates"))
    for baseline in ("none", "se"):
        refused(capsys, ["card", file, "--baseline", folder / f"{baseline}.safetensors"],
                "the network has no attention itself, so that a baseline says nothing about it")
    assert (folder / "none.md").read_text() == text


def test_a_pruned_network_has_no_accuracy_to_write_down(trained, tmp_path, capsys):
    folder, _ = trained
    file = tmp_path / "pruned.safetensors"
    assert main(["prune", f"file:{folder / 'se.safetensors'}", str(file), "--blocks", "SE_5_*"]) == 0
    capsys.readouterr()
    refused(capsys, ["card", file], "pruned.safetensors lacks attention blocks that it was trained with: its accuracy "
                                    "was not measured since")
    assert not file.with_suffix(".md").exists()


def test_the_interval_of_a_difference():
    # Newcombe 1998, table II, (a) and (h), method 10
    for (a, m), (b, n), expected in (((56, 70), (48, 80), (0.0524, 0.3339)), ((10, 10), (0, 10), (0.6075, 1.0))):
        told = cards._difference({"top1": a / m, "images": m}, {"top1": b / n, "images": n})
        assert told == pytest.approx((a / m - b / n, *expected), abs=1e-4)


def test_a_baseline_in_another_precision_is_named():
    def made(attention, precision, top1):
        return {"recipe": {"attention": attention, "precision": precision, "epochs": 3},
                "data": {"name": "d", "training": 9, "validation": 9}, "accuracy": {
                    "top1": top1, "top5": 1.0, "images": 1000}}
    text = cards._without_attention(made("se", "fp32", 0.65), made("none", "bf16", 0.62))
    # p ± 1.96 √(p(1−p)/n) of each, taken together, is close at a thousand pictures
    assert "of the same recipe in bf16: attention makes +3.0 points of top-1 (-1.2 to +7.2 over" in text
    assert "recipe:" in cards._without_attention(made("se", "bf16", 0.65), made("none", "bf16", 0.62))


def test_what_is_refused(trained, capsys, tmp_path, pictures):  # noqa: F811
    folder, stats = trained
    refused(capsys, ["card", str(folder / "se.safetensors"), "--baseline", str(folder / "se.safetensors")],
            "the baseline is a network without attention, not with se")
    other = replace(RECIPE, epochs=1, attention="none", lr=0.01, seed=3)
    run(pictures / "parquet", tmp_path / "other.safetensors", other)
    refused(capsys, ["card", str(folder / "se.safetensors"), "--baseline", str(tmp_path / "other.safetensors")],
            "the baseline has another lr and seed, so that it is none")
    refused(capsys, ["card", str(folder / "none.safetensors"), "--statistics", str(stats.path)],
            f"the statistics in {stats.path} are of other weights than those of none.safetensors")
    (tmp_path / "text.safetensors").write_text(json.dumps({}))
    with pytest.raises(CheckpointError, match="is not a safetensors file"):
        write_card(tmp_path / "text.safetensors")
    save_file({}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="does not say how it was trained"):
        write_card(tmp_path / "foreign.safetensors")


@pytest.mark.parametrize(("tail", "trimmed", "said"), [
    (0.67, 7.0, "1.7 ± 0.16 † (7.0)"), (0.2, 7.0, "1.7 ± 0.16"), (0.67, float("nan"), "1.7 ± 0.16 †")])
def test_a_number_that_a_few_pictures_make_is_marked(tail, trimmed, said):
    assert cards._number({"dimension": 1.66, "error": 0.161, "tail": tail, "trimmed": trimmed}) == said
