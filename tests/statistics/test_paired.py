"""Intervals of differences over the same pictures: beside SciPy's, and how often they hold what is so."""
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from senet_viz.statistics.paired import between, between_networks, class_interval, paired_interval


@pytest.mark.parametrize(("lost", "gained", "images"), [(16, 5, 200), (0, 0, 98), (3, 3, 10), (0, 7, 7), (50, 0, 60)])
def test_paired_interval(lost, gained, images):
    """Wald's for matched proportions over a table with half a picture more in each of its cells, or the exact one."""
    both = images - lost - gained
    cells = np.array([both / 2, lost, gained, both / 2]) + 0.5
    change = np.array([0, -1, 1, 0])
    share = cells / cells.sum()
    mean = (share * change).sum()
    error = np.sqrt((share * (change - mean) ** 2).sum() / cells.sum())
    ends = [mean - 1.959964 * error, mean + 1.959964 * error]
    if changed := lost + gained:
        exact = stats.binomtest(gained, changed).proportion_ci()
        exact = [changed * (2 * share - 1) / images for share in exact]
        ends = [min(ends[0], exact[0]), max(ends[1], exact[1])]
    difference, low, high = paired_interval(lost, gained, images)
    assert difference == (gained - lost) / images
    assert (low, high) == pytest.approx((max(ends[0], -1), min(ends[1], 1)), abs=1e-6)


def test_few_changed_answers_are_no_more_sure_than_a_coin():
    lost, gained = (values.ravel() for values in np.mgrid[:15, :15])
    _, low, high = paired_interval(lost, gained, 5000)
    exact = [stats.binomtest(a, a + b).pvalue < 0.05 if a + b else False for a, b in zip(gained, lost)]
    np.testing.assert_array_equal((low > 0) | (high < 0), exact)


@pytest.mark.parametrize("shares", [(0.02, 0.01), (0.2, 0.05), (0.3, 0.3)])
def test_the_interval_covers_the_difference_in_95_of_100_samples(shares):
    lost, gained, _ = np.random.default_rng(0).multinomial(120, [*shares, 1 - sum(shares)], 20000).T
    _, low, high = paired_interval(lost, gained, 120)
    assert 0.93 < ((low <= shares[1] - shares[0]) & (shares[1] - shares[0] <= high)).mean() < 0.995


def changes(shares: list[float], sizes: list[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Changes of one edit over classes of these sizes, in each of which such a share is lost; and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)) * 3, sizes)
    return -(rng.random(len(labels)) < np.repeat(shares, sizes)).astype(int)[None], labels


def test_class_interval_is_that_of_the_mean_over_classes():
    """SciPy's interval of a mean, where all classes have as many pictures; the order of pictures does not matter."""
    found, labels = changes([0.1, 0.5, 0.2, 0.9], [10] * 4, 0)
    each = pd.Series(found[0]).groupby(labels).mean()
    wanted = stats.t.interval(0.95, 3, each.mean(), stats.sem(each))
    order = np.random.default_rng(0).permutation(40)
    low, high = class_interval(found[:, order], labels[order])
    assert (low[0], high[0]) == pytest.approx(wanted)
    assert np.isnan(class_interval(found, np.zeros(40))).all()


def test_class_interval_of_unequal_classes_covers_the_difference():
    """Over draws of classes with their own loss and size: 95 % of intervals hold what all classes lose together."""
    rng, inside, narrow = np.random.default_rng(0), 0, 0
    for seed in range(600):
        sizes = rng.integers(20, 60, 30)
        found, labels = changes(rng.beta(1, 4, 30), sizes.tolist(), seed)  # 1/5 on average
        low, high = class_interval(found, labels)
        inside += bool(low[0] <= -0.2 <= high[0])
        _, low, high = paired_interval(-found.sum(), 0, len(labels))
        narrow += bool(low <= -0.2 <= high)
    assert 0.92 < inside / 600 < 0.98 and narrow / 600 < 0.7


def test_two_edits_are_compared_picture_by_picture(tmp_path):
    """Both lose as much against the unedited network, one of them always where the other does and once more."""
    right = np.random.default_rng(0).random((3, 300)) < 0.7
    right[2] = right[1] & (np.arange(300) % 20 != 0)
    names, labels = ["unedited", "one", "other"], np.arange(300) % 10
    pq.write_table(pa.table({"edit": np.repeat(names, 300), "label": np.tile(labels, 3), "right1": right.ravel()}),
                   tmp_path / "images.parquet")
    table = between(tmp_path, [("other", "one"), ("one", "unedited")]).set_index(["edit", "reference"])
    row = table.loc["other", "one"]
    lost = int((right[1] & ~right[2]).sum())
    assert row["difference"] == pytest.approx(-lost / 300) and lost > 5
    assert (row["low"], row["high"]) == tuple(paired_interval(lost, 0, 300)[1:])
    each = pd.Series(right[2].astype(int) - right[1]).groupby(labels).mean()
    wanted = stats.t.interval(0.95, 9, each.mean(), stats.sem(each))
    assert (row["low_classes"], row["high_classes"]) == pytest.approx(
        (min(wanted[0], row["low"]), max(wanted[1], row["high"])))
    assert table.loc["one", "unedited"]["difference"] == pytest.approx(right[1].mean() - right[0].mean())


def answers(folder, right: np.ndarray, labels: np.ndarray, first: int = 0) -> str:
    """The rows of an evaluation, unedited and with the edit "e"."""
    folder.mkdir()
    count = len(labels)
    pq.write_table(pa.table({
        "edit": np.repeat(["unedited", "e"], count), "index": np.tile(np.arange(first, first + count), 2),
        "label": np.tile(labels, 2), "right1": right.ravel()}), folder / "images.parquet")
    return str(folder)


def test_two_networks_are_compared_picture_by_picture(tmp_path):
    labels, rng = np.arange(300) % 10, np.random.default_rng(0)
    one, two = rng.random((2, 300)) < 0.7, rng.random((2, 300)) < 0.6
    paths = [answers(tmp_path / name, right, labels) for name, right in (("one", one), ("two", two))]
    row = between_networks(*paths, [("e", "e")]).iloc[0]
    apart = (two[1].astype(int) - two[0]) - (one[1].astype(int) - one[0])
    assert row["difference"] == pytest.approx(apart.mean()) and abs(apart).max() == 2
    added = np.concatenate([apart, [1, -1]])  # half a picture either way, of which each counts half
    variance = (np.square(apart).sum() + 1) / 302 - added.mean() ** 2
    ends = added.mean() + np.array([-1, 1]) * 1.959964 * np.sqrt(variance / 302)
    assert (row["low"], row["high"]) == pytest.approx(tuple(ends), abs=1e-6)
    each = pd.Series(apart).groupby(labels).mean()
    wanted = stats.t.interval(0.95, 9, each.mean(), stats.sem(each))
    assert (row["low_classes"], row["high_classes"]) == pytest.approx(
        (min(wanted[0], ends[0]), max(wanted[1], ends[1])), abs=1e-6)
    assert between_networks(paths[0], answers(tmp_path / "later", two, labels, 5), [("e", "e")]) is None
    assert between_networks(paths[0], answers(tmp_path / "others", two, labels[::-1]), [("e", "e")]) is None


def test_networks_that_lose_alike_have_an_interval_around_0_that_covers_in_95_of_100_samples(tmp_path):
    rng, inside = np.random.default_rng(1), 0
    for seed in range(300):
        right = rng.random((4, 200)) < np.array([[0.8], [0.7], [0.75], [0.65]])
        paths = [answers(tmp_path / f"{seed} {name}", part, np.zeros(200, int)) for name, part in (
            ("one", right[:2]), ("two", right[2:]))]
        row = between_networks(*paths, [("e", "e")]).iloc[0]
        inside += bool(row["low"] <= 0 <= row["high"])
        assert np.isnan(row["low_classes"])
    assert 0.92 < inside / 300 < 0.985
