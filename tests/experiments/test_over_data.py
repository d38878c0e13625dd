"""Edits over a data set: what is read from an evaluation, and what is said of it."""
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy import stats

import senet_viz as sv
from senet_viz.experiments import over_data, over_data_sections
from senet_viz.experiments.over_data import describe_evaluation, describe_static, missing, static_or_dynamic, verdict
from senet_viz.experiments.removal import removal_findings
from senet_viz.statistics.paired import paired_interval
from tests.gates.conftest import make

GATES = ["no attention", "mean gate", "rank 0", "rank 1", "rank 2", "gate of the same class", "another picture's gate",
         "gate of another class"]
VALUES = {"se": "1", "sk": "uniform"}


@pytest.fixture(scope="module")
def blocks():
    """``blocks("se")``: those of a small network."""
    found = {}

    def of(name: str) -> list:
        if name not in found:
            found[name] = sv.find_blocks(make(f"slim/{name}"), torch.randn(1, 3, 64, 64))
        return found[name]
    return of


def evaluation(rows: dict[str, tuple], classes: bool = True) -> pd.DataFrame:
    """A table as ``open_evaluation`` gives it: edit → change of top-1, and halves of both its intervals."""
    table = pd.DataFrame([("unedited", 0.0, 0.0, 0.0), *((edit, *values) for edit, values in rows.items())],
                         columns=["edit", "difference", "half", "wide"])
    table["images"], table["top1"], table["top5"] = 5000, 0.6 + table["difference"], 0.8
    table["low"], table["high"] = table["difference"] - table["half"], table["difference"] + table["half"]
    for end, sign in (("low", -1), ("high", 1)):
        table[f"{end}_classes"] = table["difference"] + sign * table["wide"] if classes else np.nan
    table["blocks"], table["lost"], table["gained"] = "some", 9, 4
    table.attrs["data"] = "some_photos"
    return table.drop(columns=["half", "wide"])


@pytest.mark.parametrize("name", ["se", "sk"])
def test_places_and_gates(blocks, name):
    kind, off, half = name.upper(), VALUES[name], (0.01, 0.02)
    found = static_or_dynamic(evaluation({
        "*=shuffle images": (-0.3, *half), f"*={off}": (-0.5, *half), f"{kind}_3_2=mean": (-0.011, *half),
        "stage 4=shuffle classes": (-0.04, *half), "stage 4=rank 2": (-0.01, *half), "stage 4=rank 0": (-0.03, *half),
        "stage 4=shuffle class 3": (-0.035, *half), "stage 4=mean": (-0.03, *half), f"stage 4={off}": (-0.2, *half),
        "stage 4=rank 1": (-0.02, *half), "stage 4=shuffle images": (-0.037, *half), f"{kind}_2_*=mean": (-0.1, *half),
        # none of these is of one whole place, or says what takes the gates' place
        f"{kind}_4_1,{kind}_4_2=mean": (-0.1, *half), f"{kind}_3_1[3]=mean": (-0.1, *half), "stage 2=array": (0, *half),
        "stage 2=*0.5": (-0.1, *half), "stage 2=shuffle channels": (-0.1, *half), "stage 5=mean; stage 4=mean": (
            -0.2, *half), "stage 2=0.7": (-0.1, *half), "stage 3=array (2)": (0, *half)}), blocks(name))
    assert found[["level", "place", "gate"]].to_numpy().tolist() == [
        ["stage", "stage 2", "mean gate"], *(["stage", "stage 4", gate] for gate in GATES),
        ["stage", "all blocks", "no attention"], ["stage", "all blocks", "another picture's gate"],
        ["block", f"{kind}_3_2", "mean gate"]]
    rows = found[found["place"] == "stage 4"].set_index("gate")
    assert (rows["worth"] == 0.2).all() and rows.loc["gate of the same class", "edit"] == "stage 4=shuffle class 3"
    assert rows["kept"].tolist() == pytest.approx([1 + change / 0.2 for change in rows["difference"]])
    assert rows.loc["mean gate", "low_classes"] == pytest.approx(-0.05)
    assert found[found["place"].isin(["stage 2", f"{kind}_3_2"])][["worth", "kept"]].isna().all(axis=None)


def test_attention_without_worth_and_levels_without_other_gates(blocks):
    found = static_or_dynamic(evaluation({
        "stage 5=1": (-0.004, 0.006, 0.008), "stage 5=mean": (0.001, 0.002, 0.003), "SE_5_1=1": (-0.1, 0.01, 0.02)}),
        blocks("se"))
    assert found["place"].tolist() == ["stage 5"] * 2  # of blocks nothing but 1 was evaluated
    assert found["kept"].isna().all() and found["worth"].tolist() == [0.004] * 2
    assert describe_static(found).startswith(
        "- In **stage 5** top-1 changes by +0.1 (-0.2 to +0.4) with the mean gate: **replaceable**.")
    assert static_or_dynamic(evaluation({"SE_5_1=1": (-0.1, 0.01, 0.02)}), blocks("se")).empty


@pytest.mark.parametrize(("changes", "wanted"), [
    ({"mean": (-0.002, 0.007), "shuffle images": (-0.003, 0.006)}, "nearly static"),
    ({"mean": (-0.002, 0.007)}, "replaceable"), ({"shuffle classes": (-0.002, 0.007)}, "not told"),
    ({"mean": (-0.002, 0.007), "shuffle class": (0.0, 0.001)}, "replaceable"),
    ({"mean": (-0.002, 0.007), "shuffle images": (-0.03, 0.01), "shuffle classes": (-0.003, 0.006)}, "nearly static"),
    ({"mean": (-0.002, 0.009), "shuffle classes": (-0.003, 0.006)}, "not told"),
    ({"mean": (-0.002, 0.007), "shuffle images": (-0.03, 0.01)}, "replaceable"),
    ({"mean": (0.03, 0.01), "shuffle images": (-0.002, 0.007)}, "nearly static"),
    ({"mean": (-0.03, 0.019), "shuffle images": (-0.004, 0.004)}, "dynamic"),
    ({"mean": (-0.03, 0.021), "shuffle images": (-0.02, 0.015)}, "not told")])
@pytest.mark.parametrize("classes", [True, False])
def test_verdicts_are_by_the_whole_interval(blocks, changes, wanted, classes):
    rows = {f"stage 4={value}": (change, half if not classes else half / 50, half)
            for value, (change, half) in changes.items()}
    found = static_or_dynamic(evaluation(rows, classes), blocks("se"))
    assert verdict(found) == wanted
    text = describe_static(found)
    assert f": **{wanted}**." in text
    of = "other classes of the same kind" if classes else "other pictures of these classes"
    assert f"in brackets their 95\u00a0% interval for {of}" in text and f"by the whole interval for {of};" in text


@pytest.mark.parametrize(("top1", "wanted"), [(0.0, "not told"), (0.04, "not told"), (0.06, "nearly static")])
def test_a_network_that_knows_nothing_has_nothing_to_lose(blocks, top1, wanted):
    """Of random weights no gate is nearly static for want of a loss."""
    table = evaluation({f"stage 4={value}": (0.0, 0.004, 0.005) for value in ("mean", "shuffle classes")})
    found = static_or_dynamic(table.assign(top1=top1), blocks("se"))
    text = describe_static(found)
    assert verdict(found) == wanted and f": **{wanted}**." in text
    assert (f" Without edits top-1 is {top1:.1%}; where it is under 5% there is so little to lose" in text) == (
        wanted == "not told")


def test_sentences_of_stages(blocks):
    found = static_or_dynamic(evaluation({
        "stage 4=1": (-0.477, 0.01, 0.02), "stage 4=mean": (-0.023, 0.007, 0.011),
        "stage 4=rank 1": (-0.012, 0.004, 0.005), "stage 4=rank 2": (-0.004, 0.004, 0.005),
        "stage 4=rank 4": (-0.001, 0.004, 0.005),
        "stage 4=shuffle class": (-0.024, 0.002, 0.003), "stage 4=shuffle images": (-0.032, 0.004, 0.006),
        "stage 4=shuffle classes": (-0.034, 0.004, 0.005)}), blocks("se"))
    assert describe_static(found).startswith(
        "- In **stage 4** top-1 changes by -2.3 (-3.4 to -1.2) with the mean gate, which keeps **45.4** of the 47.7 "
        "points that are lost with no attention (gates at 1); by -0.4 (-0.9 to +0.1) with rank 2, 2 directions "
        "beside the mean; by -3.4 "
        "(-3.9 to -2.9) with a gate of another class: **dynamic**.\n\nChanges are in points, in brackets")
    meeting = found.assign(low_classes=found["low_classes"] - 0.01)
    assert "with rank 4, 4 directions beside the mean (more were not evaluated);" in describe_static(meeting)
    without = found[found["gate"] != "gate of another class"]
    assert "; by -3.2 (-3.8 to -2.6) with another picture's gate: **dynamic**" in describe_static(without)
    assert "Picture by picture" not in describe_static(found)  # no folder was given
    assert describe_static(found, "block") == ""


def test_sentences_of_many_blocks(blocks):
    changes = {block.label: -0.003 * i for i, block in enumerate(blocks("se"))}
    found = static_or_dynamic(evaluation({
        f"{label}={value}": (change, 0.004, 0.004) for label, change in changes.items()
        for value in ("mean", "shuffle images")}), blocks("se"))
    static = [label for label, change in changes.items() if change - 0.004 >= -0.01]
    dynamic = [label for label, change in changes.items() if change + 0.004 < -0.01]
    undecided = [label for label in changes if label not in static + dynamic]
    assert min(map(len, (static, dynamic, undecided))) > 0
    assert describe_static(found, "block").startswith(
        f"Of 16 blocks the gate is nearly static in **{len(static)}** ({', '.join(static)}); dynamic in "
        f"**{len(dynamic)}** ({', '.join(dynamic)}); not told in **{len(undecided)}** ({', '.join(undecided)}). *D")


def test_weights_of_branches_are_compared_with_even_ones(blocks):
    found = static_or_dynamic(evaluation({
        "*=uniform": (-0.1, 0.01, 0.01), "*=mean": (0.01, 0.001, 0.002)}), blocks("sk"))
    assert describe_static(found).startswith(
        "- In **all blocks** top-1 changes by +1.0 (+0.8 to +1.2) with the mean gate, which keeps all 10.0 points that "
        "are lost with no attention (even weights): **replaceable**.")
    compared = found.assign(regained=0.11, regained_low=0.004, regained_high=0.21)  # how sure that is
    assert "no attention (even weights) and is 11.0 (0.4 to 21.0) above these: **repl" in describe_static(compared)


@pytest.mark.parametrize("name", ["se", "sk"])
def test_what_is_missing_and_the_command_that_gives_it(blocks, name):
    off = VALUES[name]
    everything = [off, "mean", "rank 1", "shuffle class", "shuffle images", "shuffle classes"]
    some, whole = (static_or_dynamic(evaluation({f"stage 4={value}": (-0.1, 0.01, 0.01) for value in values}),
                                     blocks(name)) for values in (everything[:2], everything))
    text = missing(some, blocks(name))
    assert text.startswith(
        "Not evaluated: rank 1, gate of the same class, another picture's gate, gate of another class. All are with")
    written = text.split("`")[1].split("--each-stage ")[1]
    assert written == f'{off} mean "rank 1" "shuffle class" "shuffle images" "shuffle classes"'
    assert missing(whole, blocks(name)) == ""
    assert "--each-block" in missing(whole, blocks(name), "block")


def test_sentences_of_an_evaluation():
    table = evaluation({"SE_5_*=1": (-0.2, 0.03, 0.06), "a": (0.01, 0.02, 0.03), "b": (0.05, 0.03, 0.06)})
    assert describe_evaluation(table).startswith(
        "Over 5,000 pictures top-1 is **60.0%** without edits. By the 95\u00a0% interval for other classes of the same "
        "kind it is lower with **1** and higher with **0** of 3 edits, lowest with **SE\\_5\\_\\*\\=1** (40.0%); the "
        "others cannot be told from none.")
    pictures = table.assign(low_classes=np.nan, high_classes=np.nan)
    assert ("interval for other pictures of these classes it is lower with **1** and higher with **1** of 3 edits, "
            "lowest with **SE\\_5\\_\\*\\=1** (40.0%), highest with **b** (65.0%)") in describe_evaluation(pictures)
    assert "lower with **0** and higher with **0** of 1 edits; none can be told" in describe_evaluation(
        table.iloc[[0, 2]])
    assert "would still seem to" not in describe_evaluation(table)
    many = pd.concat([table.iloc[:1], *[table.iloc[[2]]] * 39])
    few = pd.concat([table.iloc[:2], *[table.iloc[[2]]] * 39])  # one of 40 is what chance gives
    assert "lower with **1**" in describe_evaluation(few) and "lowest" not in describe_evaluation(few)
    assert ("If each edit only swapped as many answers for better as for worse, about 2 of 39 would still seem to "
            "change it. Nothing") in describe_evaluation(many)


@pytest.mark.parametrize(("raising", "said"), [
    (["stage 5=shuffle class"], "highest with **stage 5\\=shuffle class** (65.0%); the higher one takes the gates of "
                                "other pictures of the true class, so that the label goes in, which is no improvement"),
    (["SE_5_1=shuffle class 3", "SE_5_2=0"], "1 of the 2 higher ones takes the gates of other pictures of the true"),
    (["SE_5_1=shuffle class", "SE_5_2=0; SE_5_3=shuffle class"], "all of the 2 higher ones take the gates of other"),
    (["SE_5_1=shuffle classes", "SE_5_2=shuffle channels"], "")])
def test_a_gate_of_the_true_class_is_no_improvement(raising, said):
    """It brings the label in; gates of another class do not, nor does an edit that changes nothing surely."""
    text = describe_evaluation(evaluation(dict.fromkeys(raising, (0.05, 0.01, 0.02))
                                          | {"SE_4_1=shuffle class": (0.06, 0.06, 0.07)}))
    assert f"higher with **{len(raising)}** of {len(raising) + 1} edits, highest with" in text
    assert said in text and ("true class" in text) == bool(said)
    assert "highest with **SE\\_4" not in text  # whose interval has 0 in it


def test_sections(blocks):
    table = evaluation({"stage 4=mean": (-0.1, 0.01, 0.01), "SE_4_1=mean": (-0.1, 0.01, 0.01)})
    found = static_or_dynamic(table, blocks("se"))
    assert over_data_sections.levels(found) == ["stage", "block"]
    source = over_data_sections.source_of(table, "demo/net")
    for level in ("stage", "block"):
        section = over_data_sections.static(found, blocks("se"), level, source, "model = given", "there")
        assert over_data.describe_static(found, level) in section.text
        assert "*demo\\/net on some\\_photos, 5,000 pictures.*" in section.text
        assert missing(found, blocks("se"), level) in section.text and set(section.table["level"]) == {level}
        assert "open_evaluation('there')" in section.script and f"'{level}'" in section.script
    every = over_data_sections.every_edit(table, source, "there")
    assert every.text.endswith(f"*{source}.*") and "open_evaluation('there')" in every.script


def test_sections_of_channels():
    curve = pd.DataFrame({"score": ["gate"], "share": [0.5], "draws": 1, "images": 10, "top1": [0.4],
                          "difference": [-0.2], "low": [-0.3], "high": [-0.1]})
    table = pd.DataFrame({"edit": ["unedited"], "top1": [0.6]})
    section = over_data_sections.removal(curve, table, "a source", "there")
    assert removal_findings(curve, 0.6)[0] in section.text and section.text.endswith("*a source.*")
    assert "removal_curve(open_evaluation('there'))" in section.script


def test_one_block_is_a_block_and_no_stage(blocks):
    """Whether it is named, its stage or all: there is nothing else."""
    rows = {"*=mean": (-0.002, 0.007, 0.007), "stage 2=1": (-0.2, 0.01, 0.01),
            "SE_2_1=shuffle class": (-0.01, 0.004, 0.004), "SE_2_1=shuffle classes": (-0.02, 0.004, 0.004)}
    found = static_or_dynamic(evaluation(rows), blocks("se")[:1])
    assert set(found["level"]) == {"block"} and set(found["place"]) == {"SE_2_1"} and len(found) == 4
    text = describe_static(found, "block")
    assert text.startswith("- In **SE_2_1** top-1 changes by -0.2 (-0.9 to +0.5) with the mean gate, which keeps "
                           "**19.8** of the 20.0 points")


# gates compared picture by picture

@pytest.fixture
def compared(blocks, tmp_path):
    """``compared({"stage 2=mean": right, …})``: from rows of 1,000 pictures of ten classes; right is boolean."""
    def compare(rows: dict[str, np.ndarray]) -> pd.DataFrame:
        rows = {"unedited": np.arange(1000) % 100 < 60} | rows
        labels = np.tile(np.arange(1000) // 100, len(rows))
        pq.write_table(pa.table({"edit": np.repeat(list(rows), 1000), "label": labels,
                                 "right1": np.concatenate(list(rows.values()))}), tmp_path / "images.parquet")
        changes = {edit: (float(right.mean() - 0.6), 0.01, 0.01) for edit, right in rows.items()}
        del changes["unedited"]
        return static_or_dynamic(evaluation(changes), blocks("se"), tmp_path)
    return compare


def test_a_folder_without_rows_of_pictures_compares_nothing(blocks, tmp_path):
    """As of an evaluation from which they were taken to save room: all else is told."""
    table = evaluation({"stage 4=1": (-0.2, 0.01, 0.01), "stage 4=mean": (-0.1, 0.01, 0.01)})
    found = static_or_dynamic(table, blocks("se"), tmp_path)
    assert found["regained"].isna().all() and "of the 20.0 points" in describe_static(found)


def first(*counts: int) -> np.ndarray:
    """Right for the first so many of each class's hundred pictures, class after class; the last number goes on."""
    return np.concatenate([np.arange(100) < counts[min(i, len(counts) - 1)] for i in range(10)])


def test_what_the_mean_gate_keeps_has_its_own_interval(compared):
    """Lost with gates at 1 are 35 to 45 of a hundred; with the mean 20. The kept ones are 15 to 25, class by class."""
    found = compared({"stage 4=1": first(*(15 + i for i in range(11))), "stage 4=mean": first(40)})
    each = np.array([25 - i for i in range(10)]) / 100
    wanted = stats.t.interval(0.95, 9, each.mean(), stats.sem(each))
    row = found.set_index("gate").loc["mean gate"]
    assert row["regained"] == pytest.approx(each.mean())
    low, high = paired_interval(0, round(1000 * each.mean()), 1000)[1:]
    assert (row["regained_low"], row["regained_high"]) == pytest.approx((min(wanted[0], low), max(wanted[1], high)))
    assert (f"keeps **20.5** ({100 * row['regained_low']:.1f} to {100 * row['regained_high']:.1f}) of the 40.5 points"
            ) in describe_static(found)
    assert found["spared"].isna().all() and "Picture by picture" not in describe_static(found)


def test_gates_of_the_same_class_are_compared_picture_by_picture(compared):
    """Their own intervals meet: both lose much, class by class, and one always a little more."""
    uneven, up = tuple(range(10, 60, 5)), {"stage 2": 3, "stage 3": 0, "stage 4": -3}
    rows = {f"{stage}=shuffle {whose}": first(*(count + more * (whose == "class") for count in uneven))
            for stage, more in up.items() for whose in ("class", "classes")}
    found = compared(rows)
    same = found[found["gate"] == "gate of the same class"]
    assert same["spared"].tolist() == pytest.approx([0.03, 0, -0.03])
    assert ("Picture by picture a gate of the same class costs less than one of another in **1** of 3 places (stage 2) "
            "and more in **1** (stage 4), by the 95\u00a0% interval.") in describe_static(found)
    for stage, words in {"stage 2": "costs less than", "stage 3": "cannot be told from", "stage 4": "costs more than"
                         }.items():
        one = found[found["place"] == stage]
        assert (f"Picture by picture a gate of the same class {words} one of another: top-1 differs by "
                f"{100 * up[stage] / 100:+z.1f} (") in describe_static(one)


def test_edits_none_of_which_can_be_told():
    text = describe_evaluation(evaluation({f"SE_2_{i}=1": (0.001, 0.01, 0.02) for i in range(1, 4)}))
    assert "lower with **0** and higher with **0** of 3 edits; none can be told from no edit at all." in text


def test_static_cannot_be_told_where_no_other_gate_was_evaluated(blocks):
    table = evaluation({f"SE_4_{unit}=mean": (0.0, 0.001, 0.002) for unit in range(1, 7)} | {
        f"SE_4_{unit}=1": (-0.1, 0.01, 0.02) for unit in range(1, 7)} | {
        f"SE_3_{unit}=mean": (0.0, 0.001, 0.002) for unit in range(1, 5)} | {
        f"SE_3_{unit}=1": (-0.1, 0.01, 0.02) for unit in range(1, 5)})
    said = describe_static(static_or_dynamic(table, blocks("se")), "block")
    assert "the gate is replaceable or nearly static (another's gate was not evaluated) in **10** (" in said
