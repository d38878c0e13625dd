"""Texts of edits, made step by step: every choice is an edit that can be made, and does what its words say."""
import dataclasses

import pytest
import torch

import senet_viz as sv
from senet_viz.experiments import edit_text
from senet_viz.experiments.edit_text import choices, lines, mixture, read_edits, stage_steps, step_of_stage, with_line
from senet_viz.gates import find_blocks
from tests.gates.conftest import make


@pytest.fixture(scope="module")
def blocks():
    """``blocks("se")``: those of a small network."""
    return lambda name: find_blocks(make(f"slim/{name}"), torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize(("name", "words", "offered"), [
    ("se", ["mean"], {"off": "1", "a number": None, "scaled": None, "only the most excited channels": None,
                      "shuffled over channels": "shuffle channels", "its mean over a data set": "mean"}),
    ("se", ["rank"], {"off": "1", "a number": None, "scaled": None, "only the most excited channels": None,
                      "shuffled over channels": "shuffle channels", "its mean and first directions": None}),
    ("sk", ["photo"], {"all 3x3": "3x3", "all 5x5": "5x5", "a mixture": None, "uniform": "uniform",
                       "shuffled over channels": "shuffle channels", "another photo's": "photo"})])
def test_what_a_block_can_be_set_to(blocks, name, words, offered):
    found = choices(blocks(name)[:2], words)
    assert found == offered and list(found) == list(offered)
    for value in filter(None, (value for value in found.values() if value not in words)):
        sv.Edit("*", value).check(blocks(name)[0])


def test_blocks_that_are_not_alike_share_little(blocks):
    assert choices([blocks("se")[0], blocks("sk")[0]]) == {"scaled": None, "shuffled over channels": "shuffle channels"}
    twins = dataclasses.replace(blocks("sk")[0], kernels=(3, 3))
    assert list(choices([twins]))[:2] == ["all branch 0", "all branch 1"] and not stage_steps([twins, blocks("sk")[1]])


@pytest.mark.parametrize(("branches", "last"), [(2, 0.3), (3, 0.5), (4, 0.1)])
def test_a_mixture_is_one_in_sum(branches, last):
    shares = [float(share) for share in mixture(branches, last).split()[1:]]
    assert len(shares) == branches and shares[-1] == last and sum(shares) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", ["se", "sk"])
def test_the_steps_of_a_stage(blocks, name):
    steps, block = stage_steps(blocks(name)[:3]), blocks(name)[0]
    assert steps.pop("own") is None and len(steps) == (21 if name == "se" else 11)
    gate = torch.full((1, block.branches, block.channels), 0.4)
    for step, value in steps.items():
        changed = sv.Edit("*", value).apply(block, gate, 0)[0, -1, 0]
        assert changed == pytest.approx(0.4 * float(step[1:]) if name == "se" else float(step), abs=1e-6)
    assert stage_steps([dataclasses.replace(block, branches=3, kernels=(3, 5, 7))]) == {}
    assert edit_text.click_values(block) == (["0", "1"] if name == "se" else ["3x3", "5x5"])


def test_lines_come_and_go():
    text = "SE_2_1=0; SE_2_2=1\n\n stage 3=*0.5 "
    assert lines(text) == ["SE_2_1=0", "SE_2_2=1", "stage 3=*0.5"]
    assert with_line("", "SE_2_1", "1") == "SE_2_1=1"
    assert with_line(text, "SE_4_1", "*2", "7, 9-12").endswith("\nstage 3=*0.5\nSE_4_1[7, 9-12]=*2")
    steps = {"own": None, "×0.5": "*0.5", "×2": "*2"}
    assert step_of_stage(text, 3, steps) == "×0.5" and step_of_stage(text, 4, steps) == "own"
    assert step_of_stage(text + "\nstage 3=*2", 3, steps) == "×2"  # the last one
    assert step_of_stage("stage 3=0.7", 3, steps) == "own"
    assert edit_text.with_stage(text, 3, "*2") == "SE_2_1=0\nSE_2_2=1\nstage 3=*2"
    assert edit_text.with_stage(text, 3, None) == "SE_2_1=0\nSE_2_2=1"


def test_words_stand_for_gates_met_elsewhere(blocks):
    photo = {block.name: torch.rand(1, 1, block.channels) for block in blocks("se")}
    assert edit_text.words_used("SE_2_1= photo; SE_2_2=1") == {"photo"} and not edit_text.words_used("mean=1")
    edits = read_edits("SE_2_1=photo; SE_2_2=0", "net", photo=photo)
    block = blocks("se")[0]
    torch.testing.assert_close(edits[0].apply(block, torch.zeros(1, 1, block.channels), 0), photo[block.name])

    class Statistics:
        blocks = (block,)

        def overall_mean(self, block):
            return torch.full((1, block.channels), 0.25)

    [edit] = read_edits("SE_2_1=mean", "net", Statistics())
    assert (edit.apply(block, torch.zeros(1, 1, block.channels), 0) == 0.25).all() and str(edit) == "SE_2_1=mean"
    with pytest.raises(sv.EditError, match=r"^There are no statistics of net here, so that 'mean' has no value"):
        read_edits("SE_2_1=mean", "net", photo=photo)
    with pytest.raises(sv.EditError, match=r"^There are no statistics of net here, so that 'rank' has no value"):
        read_edits("SE_2_1=rank 2", "net")
    Statistics.sampled = 0
    with pytest.raises(sv.EditError, match=r"^The statistics here hold no principal directions"):
        read_edits("SE_2_1=rank 2", "net", Statistics())
    with pytest.raises(sv.EditError, match=r"^There is no other photo here, so that 'photo' has no value"):
        read_edits("SE_2_1=photo", "net")
    for words in ("shuffle class", "shuffle classes 3"):
        with pytest.raises(sv.EditError, match=rf"^SE_2_1={words} takes pictures whose classes are known, as senet-viz "
                                               r"evaluate has them\.$"):
            read_edits(f"SE_2_1={words}", "net")
    assert [edit.deals for edit in read_edits("SE_2_1=shuffle images", "net")] == ["images"]
    for photos, offered in ((None, False), (photo, True)):
        with pytest.raises(sv.EditError, match=r"^'blue' is no value of a gate; there are a number, ") as error:
            read_edits("SE_2_1=blue", "net", Statistics(), photos)
        assert "'mean'" in str(error.value) and "'rank 1'" not in str(error.value)
        assert ("'photo'" in str(error.value)) == offered
    with pytest.raises(sv.EditError, match="'rubbish' is no edit"):
        read_edits("rubbish", "net")
