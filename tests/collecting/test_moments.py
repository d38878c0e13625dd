import numpy as np
import pytest
import torch

from senet_viz.collecting.moments import BINS, SLICE, Moments, histogram

GROUPS, SIZE = 6, 5


@pytest.fixture(params=[0.0, 1e8, -3e4], ids=["centred", "far off", "negative"])
def values(request) -> torch.Tensor:
    """(N, S) float64, in places far from zero: there M2 from sums of squares would lose every digit."""
    return torch.randn(200, SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + request.param


@pytest.fixture
def groups() -> torch.Tensor:
    """No picture is of group 2, one is of group 5."""
    groups = torch.randint(0, 5, (200,), generator=torch.Generator().manual_seed(1))
    groups[groups == 2] = 3
    groups[77] = 5
    return groups


def collected(values: torch.Tensor, groups: torch.Tensor, cuts=()) -> Moments:
    moments = Moments.empty(GROUPS, values.shape[1])
    for part, member in zip(values.tensor_split(list(cuts)), groups.tensor_split(list(cuts))):
        if len(part):
            moments.update(part, member)
    return moments


def check(moments: Moments, values: torch.Tensor, groups: torch.Tensor) -> None:
    """Against numpy, to rounding of the values themselves."""
    x, g = values.double().numpy(), groups.numpy()
    scale = max(1.0, float(np.abs(x).max()))
    for k in range(len(moments.count)):
        rows = x[g == k]
        assert moments.count[k] == len(rows)
        if len(rows):
            np.testing.assert_allclose(moments.mean[k], rows.mean(0), rtol=1e-12, atol=1e-12)
            # M2 of float64 values of 1e8 is known to about 1e8 · 1e-16 · deviation for each of them
            np.testing.assert_allclose(moments.M2[k], ((rows - rows.mean(0)) ** 2).sum(0),
                                       rtol=1e-12, atol=1e-12 + 1e-15 * scale * len(rows) * 4)
            assert torch.equal(moments.min[k], torch.from_numpy(rows.min(0)))
            assert torch.equal(moments.max[k], torch.from_numpy(rows.max(0)))
        else:
            assert (moments.mean[k] == 0).all()
            assert (moments.M2[k] == 0).all()
            assert (moments.min[k] == torch.inf).all()
            assert (moments.max[k] == -torch.inf).all()
    assert {t.dtype for name, t in moments.tensors().items() if name != "count"} == {torch.float64}
    assert moments.count.dtype == torch.int64


@pytest.mark.parametrize("cuts", [(), (100,), (1, 2, 3), range(1, 200), (0, 199), (50, 50, 120)],
                         ids=["whole", "half", "ones", "one by one", "ends", "empty part"])
def test_as_numpy_in_any_cut(values, groups, cuts):
    moments = collected(values, groups, cuts)
    check(moments, values, groups)
    whole = collected(values, groups)
    assert torch.equal(moments.count, whole.count)
    assert torch.equal(moments.min, whole.min)
    assert torch.equal(moments.max, whole.max)


def test_float32_values_are_added_in_float64():
    values = torch.rand(10_000, 3, generator=torch.Generator().manual_seed(0))
    groups = torch.zeros(10_000, dtype=torch.int64)
    check(collected(values, groups, range(100, 10_000, 100)), values, groups)


def test_more_columns_than_are_added_at_a_time(groups):
    values = torch.randn(200, 2 * SLICE + 3, generator=torch.Generator().manual_seed(0))
    check(collected(values, groups, (70, 150)), values, groups)


def test_merging_moments_of_other_groups(values, groups):
    """As shards are merged: each knows only the groups that it saw."""
    merged = Moments.empty(GROUPS, SIZE)
    for part, member in zip(values.tensor_split(7), groups.tensor_split(7)):
        seen, index = member.unique(return_inverse=True)
        shard = Moments.empty(len(seen), SIZE)
        shard.update(part, index)
        merged.merge(shard, seen)
    check(merged, values, groups)


def test_merging_nothing_changes_nothing(values, groups):
    moments, before = collected(values, groups), collected(values, groups)
    moments.merge(Moments.empty(GROUPS, SIZE), torch.arange(GROUPS))
    for name, tensor in before.tensors().items():
        assert torch.equal(tensor, moments.tensors()[name]), name
    empty = Moments.empty(GROUPS, SIZE)
    empty.merge(before, torch.arange(GROUPS))
    for name, tensor in before.tensors().items():
        assert torch.equal(tensor, empty.tensors()[name]), name


def test_the_total_of_groups_of_one_mean_has_that_mean_to_the_bit():
    """So that what does not move has no variance at all."""
    mean = torch.tensor([[0.1, 0.7]], dtype=torch.float64).expand(3, 2)
    total = Moments(torch.tensor([3, 0, 7]), mean, torch.zeros(3, 2).double(), mean, mean).total()
    assert total.count.tolist() == [10] and total.mean.tolist() == [[0.1, 0.7]] and total.M2.tolist() == [[0, 0]]


def test_total_and_take(values, groups):
    moments = collected(values, groups)
    check(moments.total(), values, torch.zeros_like(groups))
    taken = moments.take(torch.tensor([4, 0]))
    assert torch.equal(taken.mean, moments.mean[[4, 0]])
    assert torch.equal(taken.count, moments.count[[4, 0]])
    assert Moments.empty(0, SIZE).total().count.tolist() == [0]


def test_variance_between_and_within(values, groups):
    between, within = collected(values, groups).variance()
    x, g = values.numpy(), groups.numpy()
    present = np.unique(g)
    by_hand = sum((g == k).sum() * (x[g == k].mean(0) - x.mean(0)) ** 2 for k in present)
    inside = sum(((x[g == k] - x[g == k].mean(0)) ** 2).sum(0) for k in present)
    accuracy = {"rtol": 1e-9 if np.abs(x).max() < 1e6 else 1e-6}
    np.testing.assert_allclose(between, by_hand, **accuracy)
    np.testing.assert_allclose(within, inside, **accuracy)
    np.testing.assert_allclose(between + within, ((x - x.mean(0)) ** 2).sum(0), **accuracy)


def test_histogram_as_numpy():
    values = torch.randn(500, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.3 + 0.5
    counts = histogram(values)
    assert (counts.shape, counts.dtype) == ((4, BINS), torch.int64)
    for channel in range(4):
        expected, _ = np.histogram(values[:, channel].clip(0, 1), BINS, (0, 1))
        np.testing.assert_array_equal(counts[channel], expected)
    assert torch.equal(histogram(values[200:], counts=histogram(values[:200])), counts)
    coarse = histogram(values, 20)
    np.testing.assert_array_equal(coarse, counts.unflatten(1, (20, 5)).sum(2))


@pytest.mark.parametrize(("value", "bin"), [
    (0.0, 0), (-0.0, 0), (1e-9, 0), (0.05, 5), (0.0499999, 4), (0.95, 95), (0.9499999, 94), (0.5, 50), (0.999, 99),
    (1.0, 99), (1.5, 99), (1e30, 99), (-0.01, 0), (-1.0, 0), (-1e30, 0)])
def test_edges_of_the_histogram(value, bin):
    for dtype in (torch.float32, torch.float64):
        assert histogram(torch.tensor([[value]], dtype=dtype))[0].nonzero().tolist() == [[bin]]
