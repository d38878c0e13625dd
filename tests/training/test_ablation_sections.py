"""What is said of an ablation: every number and every verdict is that of its table."""
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from senet_viz.training import ablation_sections as shown
from senet_viz.training.ablation_folder import against, open_ablation, tables, write_tables
from senet_viz.training.ablation_plan import parse_plan
from tests.invented import ROOT, invented

PUBLISHED = {  # of the SE paper's tables 10 to 14, top-1 errors; the reference has 22.28
    "none": 23.30, "r4": 22.25, "r2": 22.29, "max": 22.57, "tanh": 23.00, "relu": 23.47, "pre": 22.23, "post": 22.78,
    "identity": 22.20, "3x3": 22.48, "unsqueezed": 22.93}
LIKE = """
[recipe]
widths = [4, 4, 8, 8]
image_size = 16
start_size = 16
min_width = 2
"""
VARIANTS = {  # of the embedded plan
    "se": "", "none": "attention = 'none'", "r4": "reduction = 4", "r2": "reduction = 2", "max": "squeeze = 'max'",
    "tanh": "excitation = 'tanh'", "relu": "excitation = 'relu'", "pre": "place = 'pre'", "post": "place = 'post'",
    "identity": "place = 'identity'", "3x3": "place = '3x3'"}


def small(folder: Path, change: dict[str, float], *names: str):
    """An ablation of a few variants, with known differences from ``se``."""
    (folder / "plan.toml").write_text("seeds = [0, 1]\n" + LIKE + "".join(
        f"[variants.{name}]\n{VARIANTS[name]}\n" for name in ("se", *names)))
    return open_ablation(invented(folder / "ablation", folder / "plan.toml", change=change))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return open_ablation(invented(tmp_path_factory.mktemp("invented") / "ablation", change={
        "none": -0.06, "relu": -0.08, "pre": 0.03, "post": 0.05, "convolution": -0.2}, diverged=(("relu", 1),)))


def test_published_differences_are_the_papers(found):
    table = shown.beside(found).set_index("variant")["published"]
    known = table.dropna()
    assert set(known.index) == set(PUBLISHED)
    for name, error in PUBLISHED.items():
        assert 100 * known[name] == pytest.approx(22.28 - error), name


@pytest.mark.parametrize(("reference", "other"), [
    ("reduction = 8", "squeeze = 'max'"),  # the paper's reference has r = 16
    ("", "squeeze = 'max'\nexcitation = 'tanh'"),  # two things at once
    ("", "attention = 'unsqueezed'\nstages = [5]"), ("", "stages = [4, 5]"), ("", "attention = 'eca'"),
    ("", "attention = 'unsqueezed'\nexcitation = 'tanh'"),
    ("place = 'pre'", "squeeze = 'max'")])
def test_what_the_paper_did_not_train_has_nothing_published_beside_it(reference, other):
    plan = parse_plan(f"{LIKE}[variants.se]\n{reference}\n[variants.other]\n{other}\n")
    assert np.isnan(shown.published_difference(plan, "other"))


@pytest.mark.parametrize(("stages", "error"), [("[3]", 23.04), ("[4]", 22.68)])
def test_one_stage(stages, error):
    plan = parse_plan(f"{LIKE}[variants.se]\n[variants.other]\nstages = {stages}\n")
    assert 100 * shown.published_difference(plan, "other") == pytest.approx(22.28 - error)


def named(sentence: str) -> list[str]:
    return re.findall(r"\*\*(.+?)\*\*", sentence)


def test_verdicts_are_those_of_the_intervals(found):
    table = shown.beside(found).set_index("variant")
    far, low, high, rest, *_, wrong, gone, gates = shown.findings(found)
    assert table.loc["convolution", "top1"] < 0.7 * table.loc["se", "top1"]
    assert far.startswith("Hardly learnt under this recipe, with less than 0.7 of") and named(far) == [
        "wrong: convolutions, no gate"]
    worse = table[(table["high_both"] < 0) & (table.index != "convolution")]
    better = table[table["low_both"] > 0]
    assert {"none", "relu"} <= set(worse.index) and {"pre", "post"} <= set(better.index)
    assert named(low) == worse.sort_values("difference")["label"].tolist()  # the largest change first
    assert low.endswith(", besides the 1 that hardly learnt.")
    assert named(high) == better.sort_values("difference", ascending=False)["label"].tolist()
    row = table.loc["none"]
    assert (f"**no attention** {100 * row['difference']:+.1f} ({100 * row['low_both']:+.1f} to "
            f"{100 * row['high_both']:+.1f})") in low
    count = table["low_both"].notna().sum() - len(worse) - len(better) - 1
    assert f"The other {count} of 17 cannot be told from the reference" in rest
    assert "If no variant differed from the reference, 0.9 of 17 intervals" in rest  # 0.05 × 17 = 0.85
    assert "convolutions, no gate** hardly learnt (top-1 " in wrong and wrong.count("**") == 6
    assert gone == "Diverged: **ReLU excitation** with 1 of 2 seeds."
    dimension = table["dimension"].dropna()
    assert f"{dimension.min():.1f} (" in gates and f"{dimension.max():.1f} (" in gates


def test_published_differences_are_weighed_by_variants_that_learnt(tmp_path):
    """One that hardly learnt is of no direction."""
    names = ("none", "tanh", "max", "pre", "post", "identity")
    found = small(tmp_path, {"none": -0.06, "post": -0.3, "identity": -0.35, "pre": -0.05, "tanh": 0.04}, *names)
    [text] = [each for each in shown.findings(found) if each.startswith("The paper has")]
    assert text.startswith("The paper has 6 of these variants. 2 hardly learnt under this recipe (POST, Identity), "
                           "and say nothing")
    told = shown.beside(found).set_index("variant").loc[[*names[:4]]]
    clear = told[(told["high_both"] < 0) | (told["low_both"] > 0)]
    same = clear[np.sign(clear["difference"]) == np.sign(clear["published"])]
    assert f"Of the other 4, {len(clear)} can be told from the reference here, {len(same)} in the published" in text
    assert "no attention" in same["label"].tolist() and "PRE" in text.split("in the other")[1]


def test_a_published_difference_outside_the_interval_is_not_called_no_contradiction():
    row = {"label": "PRE", "far": False, "difference": 0.0, "low_both": -0.01, "high_both": 0.01, "published": 0.02}
    inside = row | {"label": "3×3", "published": 0.002}
    beginning = ("The paper has {0} of these variants. Of these {0}, 0 can be told from the reference here. "
                 "Of the {0} that cannot be told here, the published difference lies ")
    for rows, ending in (
            ([row], "outside the interval for all (PRE)."),
            ([inside], "within the interval for all: no contradiction, and no confirmation."),
            ([row, inside], "within the interval for 1: no contradiction, and no confirmation; outside the interval "
                            "for 1 (PRE).")):
        assert shown._against_published(pd.DataFrame(rows)) == [beginning.format(len(rows)) + ending]
    assert " 1 hardly learnt under this recipe (PRE), and says nothing" in shown._against_published(
        pd.DataFrame([row | {"far": True}, inside]))[0]


def test_variants_may_have_names_that_pandas_reads_as_numbers_or_as_nothing(tmp_path):
    names = {"16": "", "4": "reduction = 4", "None": "attention = 'none'"}
    (tmp_path / "plan.toml").write_text(f"seeds = [0, 1]\n{LIKE}epochs = 1\n" + "".join(
        f"[variants.{name}]\n{line}\n" for name, line in names.items()))
    found = open_ablation(invented(tmp_path / "ablation", tmp_path / "plan.toml"))
    assert found.trainings["variant"].tolist() == [*names] * 2
    assert sorted(set(shown.by_seed(found)["label"])) == ["no attention", "r = 4"]
    assert ", 1 epoch, " in shown.scale(found)


@pytest.mark.parametrize("reference", ["attention = 'none'", "", "attention = 'sk'", "attention = 'eca'"])
def test_labels_tell_all_variants_apart(reference):
    """Also those that differ among themselves in what the reference does not have."""
    others = ["reduction = 4", "min_width = 4", "excitation = 'tanh'", "bias = false"]
    lines = [reference, *others, *(f"attention = 'unsqueezed'\n{line}" for line in others),
             *(f"attention = 'sk'\n{line}" for line in ("branches = 3", "branches = 3\ngroups = 2", "reduction = 4"))]
    plan = parse_plan(f"reference = 'v0'\n{LIKE}" + "".join(
        f"[variants.v{number}]\n{line}\n" for number, line in enumerate(lines)))
    labels = [plan.label(name) for name in plan.variants]
    assert len(set(labels)) == len(lines), labels
    assert not any("L = 2" in label for label in labels)  # the recipe's, of all


def test_which_value_of_an_axis_is_best(tmp_path):
    found = small(tmp_path, {"r2": 0.005, "max": 0.08, "tanh": -0.06, "relu": -0.3, "pre": -0.06, "post": -0.3},
                  *(name for name in VARIANTS if name not in ("se", "none")))
    said = {named(each)[0]: each for each in shown.findings(found) if each.startswith(
        ("**r**", "**Squeeze", "**Excitation", "**Place"))}
    table = found.table.set_index("label")

    def changed(label):
        row = 100 * table.loc[label, ["difference", "low_both", "high_both"]].astype(float)
        return f"{label} ({row['difference']:+z.1f}, {row['low_both']:+z.1f} to {row['high_both']:+z.1f})"

    assert said == {
        "r": f"**r**: {changed('r = 4')} and {changed('r = 2')} cannot be told from r = 16, nor from each other.",
        "Squeeze": f"**Squeeze**: {changed('max squeeze')} is more accurate than mean squeeze.",
        "Excitation": "**Excitation**: sigmoid excitation is the most accurate of those that were trained; "
                      f"{changed('tanh excitation')} is less accurate than sigmoid excitation; ReLU excitation hardly "
                      "learnt.",
        "Place": f"**Place**: {changed('Identity')} and {changed('3×3')} cannot be told from standard place, nor "
                 f"from each other; {changed('PRE')} is less accurate than standard place; POST hardly learnt."}


def test_two_that_cannot_be_told_from_the_reference_but_from_each_other(tmp_path):
    """The reference lies between them; each trained network's answers are compared anew."""
    found = small(tmp_path, {"r4": -0.008, "r2": 0.006}, "r4", "r2", "max", "tanh")
    table = found.table.set_index("variant").loc[["r4", "r2"]]
    assert (table["low_both"] < 0).all() and (table["high_both"] > 0).all()
    [said] = [each for each in shown.findings(found) if each.startswith("**r**")]
    row = against(found, "r4").set_index("variant").loc["r2"]
    answers = {name: [pd.read_parquet(found.path / name / seed / "correct.parquet")["top1"].mean() for seed in "01"]
               for name in ("r4", "r2")}
    assert row["difference"] == pytest.approx(np.mean(answers["r2"]) - np.mean(answers["r4"]))
    assert row["low_both"] > 0 and said.endswith(" cannot be told from r = 16, but r = 4 from r = 2.")


def test_where_the_line_of_hardly_learning_may_lie(found, monkeypatch):
    """At both ends that are named everything is as it was, and a hundredth beyond them it is not."""
    from senet_viz.training import ablation_table

    embedded = shown.embedded_ablation()
    [far, *_] = shown.findings(embedded)
    low, high = map(float, re.search(r"from (0\.\d\d) to (0\.\d\d) of the reference", far).groups())
    assert (low, high) == (0.5, 0.86)
    assert sorted(named(far)) == sorted(embedded.table.set_index("variant").loc[
        ["relu", "post", "identity", "convolution"], "label"])
    for line, alike in ((low, True), (high, True), (low - 0.01, False), (high + 0.01, False)):
        monkeypatch.setattr(ablation_table, "FAR", line)
        assert same(tables(embedded.path, embedded.plan)[0], embedded.table) == alike


def same(table: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two tables are alike, but for the last bits, which another processor may sum otherwise."""
    try:
        pd.testing.assert_frame_equal(table, other, rtol=1e-9)
    except AssertionError:
        return False
    return True


def test_where_nothing_is_trained_nothing_is_compared(tmp_path):
    """No nan, and not a word on a single seed."""
    plan = tmp_path / "plan.toml"
    plan.write_text(LIKE + "reduction = 2\n[variants.se]\n[variants.none]\nattention = 'none'\n")
    every = tuple((name, 0) for name in ("se", "none"))
    for diverged in (every, every[:1]):
        found = open_ablation(invented(tmp_path / str(len(diverged)), plan, 1, diverged=diverged))
        first, *others = shown.findings(found)
        assert first.startswith("No variant has a training that ended well with a seed of which the reference has one")
        assert others[0].startswith("Diverged: **SE, r = 2** with 1 of 1 seeds")
        assert len(others) == 1  # nor of how gates move that nobody trained
        section = shown.trained(found)
        assert "no accuracy, for all its trainings diverged" in section.text
        assert "nan" not in " ".join([section.text, *section.points])


def test_an_ablation_whose_reference_is_not_yet_trained(tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text("reference = 'se'\n" + LIKE + "[variants.none]\nattention = 'none'\n[variants.se]\n")
    folder = invented(tmp_path / "out", plan, 1)
    shutil.rmtree(folder / "se")
    found = open_ablation(folder)
    write_tables(folder, found.plan, {key: value for key, value in found.about.items() if key != "checksums"})
    section = shown.trained(open_ablation(folder))
    assert "The reference, " not in section.text and section.points[0].startswith("No variant has a training")


def test_scale_of_the_embedded_ablation():
    """By hand from its plan: C is 4 times the width, and hidden layers have max(C / 16, 4) units."""
    text = shown.scale(shown.embedded_ablation())
    assert "hidden layers have 4, 4, 8 and 16 units at C = 32, 64, 128 and 256 channels" in text
    assert "15,000 training pictures of 32×32 px" in text and "8, 16, 32 and 64 channels, a ResNet-50's 64, 128" in text
    assert "2 seeds for 15 variants and 3 seeds for 3 variants" in text


def test_of_one_seed_nothing_is_told(tmp_path):
    found = open_ablation(invented(tmp_path / "one", seeds=1, change={"none": -0.3}))
    first, *others = shown.findings(found)
    assert first.startswith("Of a single seed it is not known")
    assert not any("published direction" in each for each in others)
    assert "1 seed for 18 variants" in shown.scale(found)
    section = shown.trained(found)
    assert "leaves 0 out for 0" in section.figure.layout.meta["alt"]


def test_section(found):
    section = shown.trained(found)
    bars = {trace.name: trace for trace in section.figure.data}
    table = shown.beside(found)
    rows = table[table["difference"].notna()]
    assert list(bars["all seeds"].x) == pytest.approx(rows["difference"].tolist())
    assert list(bars["all seeds"].error_x.array) == pytest.approx((rows["high"] - rows["difference"]).tolist())
    assert list(bars[None].error_x.arrayminus) == pytest.approx((rows["difference"] - rows["low_both"]).tolist())
    filled = [symbol == "circle" for symbol in bars["all seeds"].marker.symbol]
    assert filled == ((rows["low_both"] > 0) | (rows["high_both"] < 0)).tolist() and 0 < sum(filled) < len(filled)
    assert sorted(bars["published"].x) == pytest.approx(sorted(rows["published"].dropna()))
    assert len(bars["one seed"].x) == 2 * len(rows) - 1  # one has diverged
    seeds = shown.by_seed(found)
    facts = [json.loads((found.path / name / "1" / "training.json").read_text())["top1"] for name in ("pre", "se")]
    assert seeds.query("label == 'PRE' and seed == 1")["difference"].item() == pytest.approx(facts[0] - facts[1])


def test_script_gives_the_table(found):
    section, names = shown.trained(found), {}
    exec(section.script.replace("print(result)", ""), names)
    pd.testing.assert_frame_equal(names["result"][section.table.columns], section.table)


@pytest.mark.skipif(not (ROOT / "assets" / "ablations" / "ablation.json").is_file(), reason="no ablation is embedded")
def test_embedded_tables_are_those_of_its_trainings():
    found = shown.embedded_ablation()
    table, trainings = tables(found.path, found.plan)
    pd.testing.assert_frame_equal(table, found.table)
    pd.testing.assert_frame_equal(trainings, found.trainings, check_dtype=False)
    pd.testing.assert_frame_equal(pd.read_csv(found.path / "ablation.csv"), table)
    assert found.table["trained"].min() >= 2 or found.table["diverged"].max() > 0
    assert found.about["plan"] == json.loads(json.dumps(found.plan.meaning()))
    for name, seed in found.trainings[["variant", "seed"]].itertuples(index=False):
        assert (found.path / name / str(seed) / "card.md").is_file()
    docs = " ".join((ROOT / "docs" / "ablations.md").read_text().split())
    seconds, seeds = trainings["seconds"], found.table["trained"]
    assert f"eight trainings at a time, in {seconds.min():.0f} to {seconds.max():.0f} seconds each" in docs
    assert f"{(seeds == 2).sum()} of the {len(seeds)} variants have two of the plan's three seeds" in docs
    said = " ".join(shown.findings(found))
    table = shown.beside(found).dropna(subset="published")
    table = table[table["top1"] > 0.7 * found.table["top1"][0]]
    clear = table[(table["high_both"] < 0) | (table["low_both"] > 0)]
    within = sum(row.low_both <= row.published <= row.high_both for row in clear.itertuples())
    assert f"The size that was published lies within the interval for {within} of these {len(clear)}" in said
    rest = found.table[found.table["low_both"].lt(0) & found.table["high_both"].gt(0)]
    half = (rest["high_both"] - rest["low_both"]) * 50
    assert f"their intervals reach {half.min():.1f} to {half.max():.1f} points to each side" in said


def test_an_interval_that_ends_near_0_shows_on_which_side(found):
    """−2.7 to +0.0 does not tell why a variant cannot be told from the reference."""
    row = {"label": "3×3", "difference": -0.013, "low_both": -0.027, "high_both": 0.0004, "far": False}
    assert shown._verdict(row) == "cannot be told from the reference: -1.3 (-2.7 to +0.04)"
    assert shown._with_change(row) == "3×3 (-1.3, -2.7 to +0.04)"
