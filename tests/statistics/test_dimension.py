import math

import numpy as np
import pytest
import torch

from senet_viz.statistics.dimension import CHANNELS, Covariance, dimension, sampled


def drawn(pictures: int, spectrum, seed: int = 0) -> torch.Tensor:
    """Vectors whose covariance has these eigenvalues along random directions."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(len(spectrum), len(spectrum))))
    return torch.from_numpy(rng.normal(size=(pictures, len(spectrum))) * np.sqrt(spectrum) @ turn + 3)


def found(values: torch.Tensor):
    return dimension(Covariance.of(values[::2]), Covariance.of(values[1::2]), values.shape[1])


def true(spectrum) -> float:
    return float(np.sum(spectrum) ** 2 / np.sum(np.square(spectrum)))


def test_covariance_is_numpys_and_parts_add_up_to_the_whole():
    values = drawn(50, np.arange(1, 9))
    whole = Covariance.of(values)
    np.testing.assert_allclose(whole.moment / 49, np.cov(values.numpy().T), rtol=1e-10)
    parts = Covariance.of(values[:7]) + Covariance.of(values[7:7]) + Covariance.of(values[7:])
    assert parts.count == 50
    torch.testing.assert_close(parts.mean, whole.mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(parts.moment, whole.moment, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("spectrum", [
    [1.0] + [0.0] * 19, [1.0] * 20, np.geomspace(1, 1e-3, 64), np.geomspace(1, 1e-3, 400)], ids=len)
def test_many_pictures_give_the_true_ratio_and_first_share(spectrum):
    result = found(drawn(6000, spectrum))
    assert result.dimension == pytest.approx(true(spectrum), rel=0.05)
    assert result.first == pytest.approx(np.max(spectrum) / np.sum(spectrum), abs=0.02 if len(spectrum) < 400 else 0.04)


def test_few_pictures_are_not_biased():
    spectrum = np.geomspace(1, 1e-2, 60)
    halves, plain = [], []
    for seed in range(60):
        values = drawn(100, spectrum, seed)
        halves.append(found(values).dimension)
        plain.append(true(np.linalg.eigvalsh(np.cov(values.numpy().T))))
    error = np.std(halves) / math.sqrt(len(halves))
    assert abs(np.mean(halves) - true(spectrum)) < 4 * error + 0.3
    assert np.mean(plain) < true(spectrum) - 2  # what it is measured against: the ratio of one covariance


def test_one_direction_is_one_however_the_channels_are_scaled():
    rng = torch.Generator().manual_seed(0)
    level = torch.rand(40, 1, generator=rng)
    for channels, error in ((CHANNELS, 1e-9), (300, 0.05)):  # of 300 a part is measured, and stands for the rest
        result = found(level * torch.randn(1, channels, generator=rng))
        assert result.dimension == pytest.approx(1, abs=error)
        assert result.first == pytest.approx(1, abs=1e-9)


def test_what_cannot_be_told_is_nan():
    for values in (torch.ones(40, 5), torch.rand(3, 5), torch.rand(0, 5), drawn(24, [1.0] * 64)):
        result = found(values)
        assert math.isnan(result.dimension) and math.isnan(result.first)


def test_of_many_channels_some_are_measured():
    assert sampled(5).tolist() == [0, 1, 2, 3, 4]
    chosen = sampled(2048)
    assert len(chosen) == len(chosen.unique()) == CHANNELS and chosen[0] == 0 and chosen[-1] == 2047
    assert Covariance.of(torch.rand(4, 2048)).moment.shape == (CHANNELS, CHANNELS)
