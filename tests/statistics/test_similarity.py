"""CKA beside the formulas of its papers, written out in NumPy."""
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from senet_viz.statistics import similarity
from senet_viz.statistics.whole import whole_gates

RNG = np.random.default_rng(4)


def hsic(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    """The unbiased estimator as Song et al. (2012), Eq. 5, and Nguyen et al. (2021), Eq. 3, write it."""
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    one = np.ones(n)
    return (np.trace(k @ l) + (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
            - 2 / (n - 2) * (one @ k @ l @ one)) / (n * (n - 3))


def by_grams(x: np.ndarray, y: np.ndarray) -> float:
    k, l = x @ x.T, y @ y.T  # noqa: E741
    return hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))


@pytest.fixture(scope="module")
def vectors():
    shared = RNG.normal(size=(23, 3))
    return {"a": shared @ RNG.normal(size=(3, 7)) + RNG.normal(size=(23, 7)),
            "b": shared @ RNG.normal(size=(3, 40)) + 2 * RNG.normal(size=(23, 40)) + 5,
            "c": RNG.normal(size=(23, 11))}


def test_cka_is_that_of_the_gram_matrices(vectors):
    for x in vectors.values():
        for y in vectors.values():
            assert similarity.cka(x, y) == pytest.approx(by_grams(x, y), abs=1e-12)


def test_cka_of_a_network_with_itself_is_one(vectors):
    turn = np.linalg.qr(RNG.normal(size=(7, 7)))[0]
    assert similarity.cka(vectors["a"], vectors["a"]) == pytest.approx(1)
    assert similarity.cka(vectors["a"], 3 * vectors["a"] @ turn - 2) == pytest.approx(1)
    assert similarity.cka(vectors["a"], vectors["a"][:, ::-1]) == pytest.approx(1)


def test_noise_of_many_channels_is_not_alike():
    """The plain, biased CKA would give 0.9 or so here."""
    found = [similarity.cka(RNG.normal(size=(20, 300)), RNG.normal(size=(20, 300))) for _ in range(60)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(60)
    x, y = RNG.normal(size=(2, 20, 300))
    centre = np.eye(20) - 1 / 20
    k, l = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre  # noqa: E741
    assert (k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum()) > 0.8


def test_what_does_not_vary_has_none(vectors):
    still = np.full((23, 5), 0.3)
    assert np.isnan(similarity.cka(still, vectors["a"])) and np.isnan(similarity.cka(still, still))
    for few in (vectors["a"][:3], vectors["a"][:20]):
        with pytest.raises(ValueError, match=r"of the same four things or more, not"):
            similarity.cka(few, vectors["b"][:3])


def test_every_block_with_every_block(vectors):
    table = similarity.matrix(vectors, {"one": vectors["b"], "two": vectors["c"]})
    assert list(table.index) == ["a", "b", "c"] and list(table.columns) == ["one", "two"]
    for name, row in table.iterrows():
        for column, key in (("one", "b"), ("two", "c")):
            assert row[column] == pytest.approx(by_grams(vectors[name], vectors[key]), abs=1e-12)
    long = similarity.cells(table)
    assert len(long) == 6 and list(long.columns) == ["first", "second", "cka"]
    assert long["cka"].tolist() == table.to_numpy().T.ravel().tolist()


def test_intervals_leave_out_a_group_at_a_time(vectors):
    groups = np.arange(23) // 4
    pairs = [("a", "b"), ("c", "c"), ("a", "c")]
    table = similarity.along(vectors, vectors, pairs, groups, draws=30)
    assert list(zip(table["first"], table["second"])) == pairs and (table["things"] == 23).all()
    for row in table.itertuples():
        x, y = vectors[row.first], vectors[row.second]
        assert row.cka == pytest.approx(by_grams(x, y), abs=1e-12)
        left = np.array([by_grams(x[groups != g], y[groups != g]) for g in range(6)])
        half = t.ppf(0.975, 5) * np.sqrt(5 / 6 * ((left - left.mean()) ** 2).sum())
        assert row.low == pytest.approx(max(row.cka - half, -1)) and row.high == pytest.approx(min(row.cka + half, 1))
    same = table.iloc[1]
    assert same[["cka", "low", "high"]].tolist() == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("groups", [np.arange(40), np.arange(40) // 3, np.arange(40) % 7], ids=["1", "runs", "mixed"])
def test_leaving_out_takes_no_second_gram_matrix_and_says_the_same(groups):
    """Also where one thing is so far from the others that hardly anything is left without it."""
    x = RNG.normal(size=(40, 9))
    y = x @ RNG.normal(size=(9, 60)) + 5 * RNG.normal(size=(40, 60))
    far = y.copy()
    far[3] += 1e4
    pair = {"x": x, "y": y, "far": far}
    for row in similarity.along(pair, pair, [("x", "y"), ("y", "far"), ("far", "far")], groups, draws=2).itertuples():
        left = np.array([similarity.cka(*(pair[name][groups != g] for name in (row.first, row.second)))
                         for g in np.unique(groups)])
        count = len(left)
        half = t.ppf(0.975, count - 1) * np.sqrt((count - 1) / count * ((left - left.mean()) ** 2).sum())
        assert row.low == pytest.approx(max(row.cka - half, -1), abs=1e-9)
        assert row.high == pytest.approx(min(row.cka + half, 1), abs=1e-9)


def test_memory_goes_with_the_square_of_the_classes():
    """One Gram matrix a class left out would be 300 of these here, and 16 GB for the 1,000 classes of ImageNet."""
    vectors_ = {"a": RNG.random((300, 20)), "b": RNG.random((300, 20))}
    tracemalloc.start()
    similarity.along(vectors_, vectors_, [("a", "b"), ("b", "a")], np.arange(300))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 300 ** 2 * 8


def test_shuffled_pairs_are_a_control(vectors):
    table = similarity.along(vectors, vectors, [("a", "b"), ("a", "a")], np.arange(23), draws=200)
    for row in table.itertuples():
        x, y = vectors[row.first], vectors[row.second]
        rng = np.random.default_rng(9)  # other draws
        dealt = [by_grams(x, y[rng.permutation(23)]) for _ in range(200)]
        assert row.shuffled == pytest.approx(0, abs=0.05) and np.mean(dealt) == pytest.approx(0, abs=0.05)
        assert row.shuffled_low < row.shuffled < row.shuffled_high < row.cka
        assert row.shuffled_high == pytest.approx(max(dealt), abs=0.15)
        assert row.draws == 200


def test_one_group_gives_no_interval(vectors):
    row = similarity.along(vectors, vectors, [("a", "b")], np.zeros(23, int)).iloc[0]
    assert np.isnan(row["low"]) and np.isnan(row["high"]) and np.isfinite(row["cka"])


def test_classes_are_matched_by_name(many, other_classes):
    first, second, names = similarity.class_vectors(many, other_classes)
    assert names == ["kind 2", "kind 3", "kind 4", "kind 5", "kind 6", "kind 7"]
    for stats, vectors_ in ((many, first), (other_classes, second)):
        for block in stats.blocks:
            np.testing.assert_allclose(vectors_[block.label], stats.mean(block)[
                [stats.classes.index(name) for name in names], -1])
    assert similarity.common_classes(many, other_classes) == names


def test_few_common_classes_are_refused(many, full):
    with pytest.raises(ValueError, match=r"^the two have no classes in common, and it takes 5"):
        similarity.class_vectors(many, full)


def test_pictures_that_both_kept(many, near, monkeypatch):
    monkeypatch.setattr(similarity, "FEWEST_PICTURES", 10)
    monkeypatch.setattr(similarity, "PICTURES", 12)
    for source in ("gate", "squeeze"):
        first, second, index = similarity.picture_vectors(many, near, source)
        common = np.intersect1d(whole_gates(many).index, whole_gates(near).index)
        assert len(index) == 12 < len(common) and set(index) <= set(common)
        for stats, found in ((many, first), (near, second)):
            whole = whole_gates(stats)
            rows = [whole.index.tolist().index(i) for i in index]
            for block in stats.blocks:
                np.testing.assert_array_equal(found[block.label], whole(block, source)[rows])


@pytest.mark.parametrize(("other", "message"), [
    ("other_classes", "^the two are not of the same pictures"),
    ("without", r"^the run of near keeps no whole gates of pictures: it was collected with --compact, without"),
    ("near", r"^the two kept whole gates of \d+ pictures in common, and it takes 50"),
])
def test_pictures_that_cannot_be_compared(many, other, message, request):
    with pytest.raises(ValueError, match=message):
        similarity.picture_vectors(many, request.getfixturevalue(other))


def test_runs_of_pictures_follow_each_other():
    runs = pd.Series(similarity.runs_of(50))
    assert runs.is_monotonic_increasing and runs.nunique() == 20 and runs.value_counts().between(2, 3).all()
    assert similarity.runs_of(3).tolist() == [0, 1, 2]
