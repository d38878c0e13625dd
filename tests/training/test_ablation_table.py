"""Intervals of an ablation, against SciPy's functions and by hand."""
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from senet_viz.training import ablation_table
from senet_viz.training.ablation_folder import open_ablation
from senet_viz.training.ablation_plan import parse_plan
from senet_viz.training.ablation_sections import EMBEDDED
from senet_viz.training.ablation_table import (
    compared,
    hardly_learnt,
    mean_accuracies,
    of_trainings,
    of_variants,
    over_pictures,
    seed_error,
    seed_errors,
)

UNKNOWN = (float("nan"), 0)
RECIPE = "[recipe]\nwidths = [4, 4, 8, 8]\nimage_size = 16\nstart_size = 16\nmin_width = 2\n"
PLAN = parse_plan("seeds = [0, 1, 2]\n" + RECIPE + "[variants.se]\n[variants.none]\nattention = 'none'\n"
                  "[variants.max]\nsqueeze = 'max'\n")


@pytest.fixture
def answers() -> dict[tuple[str, int], pd.DataFrame]:
    random = np.random.default_rng(0)
    difficulty = random.random(500)
    found = {}
    for name, share in (("se", 0.5), ("none", 0.4), ("max", 0.48)):
        for seed in (0, 1, 2):
            top1 = difficulty + random.normal(0, 0.1, 500) < share + random.normal(0, 0.02)
            found[name, seed] = pd.DataFrame({"top1": top1, "top5": top1 | (difficulty < 0.7)})
    return found


def facts(answers, diverged=()) -> list[dict]:
    rows = []
    for (name, seed), answer in answers.items():
        row = {"variant": name, "seed": seed, "status": "trained", "epochs": 3, "losses": [2.0, 1.0], "images": 500,
               "parameters": 10 + len(name), "macs": 5, "seconds": 7.0 + seed, "blocks": 16, "dimension": 2.0 + seed,
               "dimension_least": 1.5, "collapsed": seed}
        row |= ({"status": "diverged"} if (name, seed) in diverged else
                {"top1": answer["top1"].mean(), "top5": answer["top5"].mean()})
        rows.append(row)
    return rows


def test_interval_over_pictures_of_one_seed_is_that_of_a_paired_z(answers):
    """The standard error of the differences' mean, as SciPy's sem has it."""
    change = answers["none", 0]["top1"].to_numpy().astype(float) - answers["se", 0]["top1"].to_numpy()
    difference, error = over_pictures(change[None])
    assert difference == pytest.approx(change.mean()) and error == pytest.approx(stats.sem(change))
    found = compared(change[None], UNKNOWN, UNKNOWN)
    low, high = stats.norm.interval(0.95, loc=change.mean(), scale=stats.sem(change))
    assert (found["low|"], found["high|"]) == pytest.approx((low, high))
    assert all(math.isnan(found[key]) for key in ("low|_seeds", "high|_both"))  # what seeds do is not known of one


def test_interval_over_pictures_counts_a_picture_once(answers):
    """With three seeds that all agree it is as wide as with one."""
    change = answers["none", 0]["top1"].to_numpy().astype(float) - answers["se", 0]["top1"].to_numpy()
    assert over_pictures(np.stack([change] * 3)) == pytest.approx(over_pictures(change[None]))


def test_spread_over_seeds_is_the_residual_of_a_two_way_analysis_of_variance(answers):
    """Row and column means taken out by hand."""
    names, seeds = ("se", "none", "max"), (0, 1, 2)
    grid = np.array([[answers[name, seed]["top1"].mean() for seed in seeds] for name in names])
    residuals = grid - grid.mean(1, keepdims=True) - grid.mean(0, keepdims=True) + grid.mean()
    spread, freedom = seed_error({key: float(answer["top1"].mean()) for key, answer in answers.items()})
    assert freedom == 4
    assert spread == pytest.approx(math.sqrt(np.square(residuals).sum() / 4))
    # what all variants have of a seed in common does not count
    shifted = {(name, seed): float(answer["top1"].mean()) + seed for (name, seed), answer in answers.items()}
    assert seed_error(shifted) == (pytest.approx(spread), 4)


def test_variants_that_hardly_learn_do_not_widen_the_others_intervals():
    """Their spread is told from them alone, and the difference's error is Welch's."""
    near = {("se", 0): 0.30, ("se", 1): 0.31, ("max", 0): 0.28, ("max", 1): 0.30}
    far = {("relu", 0): 0.07, ("relu", 1): 0.02, ("post", 0): 0.08, ("post", 1): 0.14}
    assert hardly_learnt(mean_accuracies(near | far), "se") == {"relu", "post"}
    found = seed_errors(near | far, {"relu", "post"})
    assert found["se"] is found["max"] and found["se"] == seed_error(near)
    assert found["relu"] is found["post"] and found["relu"] == seed_error(far)
    changes = np.array([[1.0, 0.0, -1.0, -1.0], [0.0, 0.0, -1.0, 0.0]])
    told = compared(changes, found["relu"], found["se"])
    variances = [found[name][0] ** 2 / 2 for name in ("relu", "se")]
    degrees = sum(variances) ** 2 / sum(variance ** 2 for variance in variances)  # each has one
    half = stats.t.ppf(0.975, degrees) * math.sqrt(sum(variances))
    assert told["high|_seeds"] - told["difference|"] == pytest.approx(half)


def test_a_single_variant_that_hardly_learns_has_the_spread_of_all():
    accuracies = {("se", 0): 0.30, ("se", 1): 0.31, ("relu", 0): 0.07, ("relu", 1): 0.02}
    assert seed_errors(accuracies, {"relu"})["relu"] == seed_error(accuracies)


def test_top5_has_the_groups_of_top1():
    """A variant that hardly learns has more than half of the reference's top-5, and widens no other's interval."""
    top1 = {("se", 0): 300, ("se", 1): 310, ("max", 0): 280, ("max", 1): 302, ("none", 0): 60, ("none", 1): 20}
    top5 = {("se", 0): 600, ("se", 1): 610, ("max", 0): 590, ("max", 1): 606, ("none", 0): 500, ("none", 1): 440}
    places = np.arange(1000)
    answers = {key: pd.DataFrame({"top1": places < top1[key], "top5": places < top5[key]}) for key in top1}
    table = of_variants(PLAN, of_trainings(facts(answers)), answers).set_index("variant")
    for name, measure, ending in (("top1", top1, ""), ("top5", top5, "5")):
        spread = seed_error({key: value / 1000 for key, value in measure.items() if key[0] in ("se", "max")})
        half = stats.t.ppf(0.975, spread[1]) * spread[0]  # √(2 / 2 seeds)
        row = table.loc["max"]
        assert row[f"high{ending}_seeds"] - row[f"difference{ending}"] == pytest.approx(half)
        changes = np.mean([answers["max", seed][name].astype(float) - answers["se", seed][name] for seed in (0, 1)], 0)
        assert row[f"difference{ending}"] - row[f"low{ending}"] == pytest.approx(
            stats.norm.ppf(0.975) * stats.sem(changes))


@pytest.fixture(scope="module")
def trained():
    """Of the embedded ablation: its plan, a row a training, and what its networks answered."""
    found = open_ablation(EMBEDDED)
    return found.plan, found.trainings, {
        (name, seed): pd.read_parquet(EMBEDDED / name / str(seed) / "correct.parquet")
        for name, seed in found.trainings[["variant", "seed"]].itertuples(index=False)}


def test_no_verdict_rests_on_where_the_line_lies(trained, monkeypatch):
    """Each line from half of the reference's accuracy to 0.85 of it has the same groups; lower ones have others."""
    plan, trainings, answers = trained
    wanted = of_variants(plan, trainings, answers)
    shares = (wanted.set_index("variant")["top1"] / wanted["top1"][0]).sort_values()
    assert shares[shares < 0.5].index.tolist() == ["relu", "post", "identity", "convolution"]
    assert shares[shares >= 0.5].index[0] == "tanh" and shares["tanh"] > 0.85 > 0.5 > shares["convolution"]
    for line in (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85):
        monkeypatch.setattr(ablation_table, "FAR", line)
        pd.testing.assert_frame_equal(of_variants(plan, trainings, answers), wanted)
    monkeypatch.setattr(ablation_table, "FAR", 0.45)  # without convolution
    assert of_variants(plan, trainings, answers).set_index("variant").loc["none", "high_both"] != pytest.approx(
        wanted.set_index("variant").loc["none", "high_both"])


def test_of_two_variants_it_is_the_paired_t_interval(answers):
    accuracies = {key: float(answer["top1"].mean()) for key, answer in answers.items() if key[0] != "max"}
    change = np.stack([answers["none", seed]["top1"].to_numpy().astype(float) - answers["se", seed]["top1"].to_numpy()
                       for seed in (0, 1, 2)])
    spread = seed_error(accuracies)
    found = compared(change, spread, spread)
    paired = stats.ttest_rel(*([accuracies[name, seed] for seed in (0, 1, 2)] for name in ("none", "se")))
    interval = paired.confidence_interval(0.95)
    assert (found["low|_seeds"], found["high|_seeds"]) == pytest.approx((interval.low, interval.high))


def test_interval_over_both_is_wider_than_either_and_covers(answers):
    table = of_variants(PLAN, of_trainings(facts(answers)), answers).set_index("variant")
    for name in ("none", "max"):
        row = table.loc[name]
        half = (row["high_both"] - row["low_both"]) / 2
        assert half > (row["high"] - row["low"]) / 2 * 0.99
        assert half >= (row["high_seeds"] - row["low_seeds"]) / 2
        assert (row["low_both"] + row["high_both"]) / 2 == pytest.approx(row["difference"])


def test_interval_over_both_is_never_shorter_than_that_over_seeds():
    """With one degree of freedom Satterthwaite's sum has several, and so a much smaller quantile."""
    changes = np.array([[1.0, 0.0, -1.0, 0.0] * 50])
    _, by_picture = over_pictures(changes)
    found = compared(np.concatenate([changes] * 2), (by_picture, 1), (by_picture, 1))
    half = found["high|_seeds"] - found["difference|"]
    assert half == pytest.approx(stats.t.ppf(0.975, 2) * by_picture)  # two variances over two seeds each
    parts = [(by_picture ** 2 / 2, 1)] * 2 + [(by_picture ** 2, 199)]
    degrees = sum(part for part, _ in parts) ** 2 / sum(part ** 2 / freedom for part, freedom in parts)
    assert stats.t.ppf(0.975, degrees) * by_picture * math.sqrt(2) < half
    assert found["high|_both"] - found["difference|"] == half


def test_a_spread_of_nothing_is_0():
    accuracies = {(name, seed): value + 0.01 * seed for name, value in (("a", 0.3), ("b", 0.1)) for seed in range(3)}
    spread = seed_error(accuracies)
    assert spread == (0.0, 2)
    found = compared(np.zeros((2, 9)), spread, spread)
    assert set(found.values()) == {0.0}


def test_interval_over_both_covers_what_a_new_ablation_would_find():
    """Simulated: pictures and seeds drawn anew each time, of a known difference; the share of hits is 95 % or so."""
    random, hits, runs = np.random.default_rng(1), 0, 400
    names = ("a", "b", "c", "d", "e", "f")
    for _ in range(runs):
        skill = {(name, seed): random.normal(0, 0.01) - 0.03 * (name == "b") for name in names for seed in (0, 1)}
        difficulty = random.normal(0.5, 0.2, 800)
        right = {key: (difficulty + random.normal(0, 0.05, 800) < 0.5 + value).astype(float)
                 for key, value in skill.items()}
        spread = seed_error({key: float(value.mean()) for key, value in right.items()})
        found = compared(np.stack([right["b", seed] - right["a", seed] for seed in (0, 1)]), spread, spread)
        # by 0.03 less of a normal quantity with a standard deviation of √(0.2² + 0.05² + 0.01²)
        wanted = stats.norm.cdf(-0.03 / math.sqrt(0.04 + 0.0025 + 0.0001)) - 0.5
        hits += found["low|_both"] <= wanted <= found["high|_both"]
    assert 0.93 <= hits / runs <= 0.99  # 0.95 has a standard error of 0.011; a picture and seed's noise counts twice


def test_table_of_what_is_over_so_far(answers):
    some = {key: value for key, value in answers.items() if key in (("se", 0), ("none", 0), ("se", 1))}
    table = of_variants(PLAN, of_trainings(facts(some)), some).set_index("variant")
    assert table.index.tolist() == ["se", "none"]
    assert table["trained"].tolist() == [2, 1]
    assert table.loc["none", "difference"] == pytest.approx(
        some["none", 0]["top1"].mean() - some["se", 0]["top1"].mean())  # over the seeds that both have
    assert math.isnan(table.loc["none", "low_both"]) and not math.isnan(table.loc["none", "low"])


def test_diverged_trainings(answers):
    gone = {("none", 1), ("none", 2), ("se", 2)}
    left = {key: value for key, value in answers.items() if key not in gone}
    table = of_variants(PLAN, of_trainings(facts(answers, gone)), left).set_index("variant")
    assert table[["trained", "diverged"]].to_numpy().tolist() == [[2, 1], [1, 2], [3, 0]]
    assert table.loc["max", "difference"] == pytest.approx(np.mean([
        left["max", seed]["top1"].mean() - left["se", seed]["top1"].mean() for seed in (0, 1)]))
    assert table.loc["none", "seconds"] == 8.0  # of all three


def test_nothing_is_known_of_no_trainings():
    assert seed_error({}) == (pytest.approx(float("nan"), nan_ok=True), 0)
    assert of_variants(PLAN, of_trainings([]), {}).empty
