import math

import numpy as np
import pytest
import torch

from senet_viz.statistics.dimension import Halves, effective, principal, tail


def drawn(pictures: int, spectrum, seed: int = 0) -> torch.Tensor:
    """Vectors whose covariance has these eigenvalues along random directions."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(len(spectrum), len(spectrum))))
    return torch.from_numpy(rng.normal(size=(pictures, len(spectrum))) * np.sqrt(spectrum) @ turn + 3)


def true(spectrum) -> float:
    return float(np.sum(spectrum) ** 2 / np.sum(np.square(spectrum)))


@pytest.mark.parametrize(("pictures", "channels"), [(40, 8), (41, 70), (60, 29)])
def test_it_is_what_numpys_covariances_give(pictures, channels):
    values = drawn(pictures, np.geomspace(1, 0.1, channels)).numpy()
    one, two = np.cov(values[::2].T), np.cov(values[1::2].T)
    halves = Halves(torch.from_numpy(values))
    assert halves.ratio() == pytest.approx(np.trace(one) * np.trace(two) / np.trace(one @ two), rel=1e-9)
    shares = [vector @ measured @ vector / np.trace(measured) for found, measured in ((one, two), (two, one))
              for vector in [np.linalg.eigh(found)[1][:, -1]]]
    assert halves.first() == pytest.approx(np.mean(shares), rel=0.01)  # a close second takes long to part
    correlated = np.corrcoef(values[::2].T) * np.corrcoef(values[1::2].T)
    assert halves.redundancy() == pytest.approx(correlated[~np.eye(channels, dtype=bool)].mean(), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("spectrum", [
    [1.0] + [0.0] * 19, [1.0] * 20, np.geomspace(1, 1e-3, 64), np.geomspace(1, 1e-3, 400)], ids=len)
def test_many_pictures_give_the_true_ratio_and_first_share(spectrum):
    result = Halves(drawn(4000, spectrum)).measure()
    assert result.dimension == pytest.approx(true(spectrum), rel=0.05)
    assert result.first == pytest.approx(np.max(spectrum) / np.sum(spectrum), abs=0.03)


def test_few_pictures_are_not_biased_and_the_error_is_that_of_other_draws():
    spectrum = np.geomspace(1, 1e-2, 60)
    halves, errors, plain = [], [], []
    for seed in range(60):
        values = drawn(200, spectrum, seed)
        halves.append(Halves(values).ratio())
        errors.append(Halves(values).error())
        plain.append(true(np.linalg.eigvalsh(np.cov(values.numpy().T))))
    error = np.std(halves) / math.sqrt(len(halves))
    assert abs(np.mean(halves) - true(spectrum)) < 4 * error + 0.2
    assert np.mean(plain) < true(spectrum) - 1  # what it is measured against: the ratio of one covariance
    assert np.mean(errors) == pytest.approx(np.std(halves), rel=0.35)


def test_the_error_is_numpys_jackknife():
    values, groups = drawn(23, [3.0, 2.0, 1.0]).numpy(), 5
    halves = values[::2], values[1::2]
    left = []
    for group in range(groups):
        one, two = (np.cov(half[np.arange(len(half)) * groups // len(half) != group].T) for half in halves)
        left.append(np.trace(one) * np.trace(two) / np.trace(one @ two))
    expected = math.sqrt((groups - 1) / groups * np.square(np.subtract(left, np.mean(left))).sum())
    assert Halves(torch.from_numpy(values), groups).error() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("channels", [1, 2, 300])
def test_one_direction_is_one_however_the_channels_are_scaled(channels):
    rng = torch.Generator().manual_seed(0)
    halves = Halves(torch.rand(40, 1, generator=rng) * torch.randn(1, channels, generator=rng))
    result = halves.measure()
    assert result.dimension == pytest.approx(1, abs=1e-9) and result.first == pytest.approx(1, abs=1e-9)
    assert channels == 1 or halves.redundancy() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("values", [torch.ones(40, 5), torch.rand(3, 5), torch.rand(0, 5), drawn(24, [1.0] * 64)])
def test_what_cannot_be_told_is_nan(values):
    result = Halves(values).measure()
    assert math.isnan(result.dimension) and math.isnan(result.first)
    assert math.isnan(Halves(values[:7]).error()) and math.isnan(tail(values))


def test_principal_directions_are_numpys(monkeypatch):
    monkeypatch.setattr(torch, "manual_seed", lambda _: pytest.fail("a training on a GPU would draw other numbers"))
    values = drawn(300, np.geomspace(1, 1e-3, 40))
    state = torch.get_rng_state()
    found = principal(values, 4).numpy()
    assert torch.equal(state, torch.get_rng_state())  # nobody's random numbers are used up
    expected = np.linalg.svd(values.numpy() - values.numpy().mean(0))[2][:4]
    np.testing.assert_allclose(np.abs(found @ expected.T), np.eye(4), atol=1e-6)
    assert (found[range(4), np.abs(found).argmax(1)] > 0).all()
    assert principal(values[:3], 8).shape == (2, 40) and principal(values[:, :3], 8).shape == (3, 3)
    assert principal(values[:1], 8).shape == (0, 40) and principal(values[:0], 8).shape == (0, 40)


def test_the_tail_is_the_share_of_the_farthest_pictures():
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(500, 6)))
    distances = np.sort(np.square(values.numpy() - values.numpy().mean(0)).sum(1))
    assert tail(values) == pytest.approx(distances[-5:].sum() / distances.sum(), rel=1e-12)
    values[7] *= 1000
    assert tail(values) > 0.99


def test_the_effective_number_of_equal_parts_is_theirs():
    assert effective(torch.tensor([2.0, 2.0, 2.0, 0.0])) == 3
    assert effective(torch.tensor([5.0])) == 1
    assert math.isnan(effective(torch.zeros(3)))
