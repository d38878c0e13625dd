"""What is said of an ablation: every number and every verdict is that of its table."""
import json
import re

import numpy as np
import pandas as pd
import pytest

from senet_viz.training import ablation_sections as shown
from senet_viz.training.ablation_folder import open_ablation, tables
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
    ("place = 'pre'", "squeeze = 'max'")])
def test_what_the_paper_did_not_train_has_nothing_published_beside_it(reference, other):
    from senet_viz.training.ablation_plan import parse_plan

    plan = parse_plan(f"{LIKE}[variants.se]\n{reference}\n[variants.other]\n{other}\n")
    assert np.isnan(shown.published_difference(plan, "other"))


@pytest.mark.parametrize(("stages", "error"), [("[3]", 23.04), ("[4]", 22.68)])
def test_one_stage(stages, error):
    from senet_viz.training.ablation_plan import parse_plan

    plan = parse_plan(f"{LIKE}[variants.se]\n[variants.other]\nstages = {stages}\n")
    assert 100 * shown.published_difference(plan, "other") == pytest.approx(22.28 - error)


def test_verdicts_are_those_of_the_intervals(found):
    table = shown.beside(found).set_index("variant")
    first, against, wrong, gone, gates = shown.findings(found)
    worse = table[table["high_both"] < 0]
    better = table[table["low_both"] > 0]
    assert {"none", "relu", "convolution"} <= set(worse.index) and {"pre", "post"} <= set(better.index)
    low, high = first.split(";")[0], first.split(";")[1].split(". The other")[0]
    assert set(re.findall(r"\*\*(.+?)\*\*", low)) == set(worse["label"])
    assert set(re.findall(r"\*\*(.+?)\*\*", high)) == set(better["label"])
    row = table.loc["none"]
    assert f"**no attention** ({100 * row['difference']:+.1f} points, {100 * row['low_both']:+.1f} to" in low
    rest = table["low_both"].notna().sum() - len(worse) - len(better)
    assert f"The other {rest} of 17 cannot be told from it" in first
    clear = pd.concat([worse, better])
    clear = clear[clear["published"].notna()]
    same = clear[np.sign(clear["difference"]) == np.sign(clear["published"])]
    assert f"Of them {len(clear)} differ here, {len(same)} in the published direction" in against
    assert "POST" in against.split("in the other")[1]
    assert "The paper has 11 of these variants" in against
    assert "convolutions, no gate" in wrong and wrong.count("**") == 6
    assert gone == "Diverged: **ReLU excitation** with 1 of 2 seeds."
    dimension = table["dimension"].dropna()
    assert f"{dimension.min():.1f} (" in gates and f"{dimension.max():.1f} (" in gates


def test_of_one_seed_nothing_is_told(tmp_path):
    found = open_ablation(invented(tmp_path / "one", seeds=1, change={"none": -0.3}))
    first, *others = shown.findings(found)
    assert first.startswith("Of a single seed it is not known")
    assert not any("published direction" in each for each in others)
    assert "1 seed a variant" in shown.scale(found)
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
    clear = table[(table["high_both"] < 0) | (table["low_both"] > 0)]
    within = sum(row.low_both <= row.published <= row.high_both for row in clear.itertuples())
    assert f"The size that was published lies within the interval for {within} of these {len(clear)}" in said
    rest = found.table[found.table["low_both"].lt(0) & found.table["high_both"].gt(0)]
    half = (rest["high_both"] - rest["low_both"]) * 50
    assert f"their intervals reach {half.min():.1f} to {half.max():.1f} points to each side" in said
