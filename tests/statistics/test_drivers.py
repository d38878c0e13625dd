"""What predicts a gate, beside scikit-learn's regressions with one picture left out at a time."""
import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from senet_viz.statistics import drivers as module
from senet_viz.statistics.drivers import (
    DRIVERS,
    PENALTIES,
    before_activation,
    by_class,
    drivers,
    neighbourhood,
    ridge,
    ridges,
)


def r_squared(targets: np.ndarray, predicted: np.ndarray) -> float:
    """Beside the mean of all other pictures."""
    count = len(targets)
    others = (targets.sum(0) - targets) / (count - 1)
    return 1 - np.square(targets - predicted).sum() / np.square(targets - others).sum()


def left_out(model, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return cross_val_predict(model, x, y, cv=LeaveOneOut())


@pytest.fixture
def made():
    """z of 60 pictures in 8 channels, gates made of it, labels, and five properties, of which one drives channel 0."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=(60, 8)) * np.geomspace(0.1, 3, 8)
    logits = np.tanh(z @ rng.normal(size=(8, 4))) @ rng.normal(size=(4, 8)) + rng.normal(size=(60, 8)) * 0.2
    labels = np.arange(60) % 6
    logits += rng.normal(size=6)[labels][:, None]
    properties = rng.normal(size=(60, 5))
    logits[:, 0] += 3 * properties[:, 1]
    gates = torch.from_numpy(1 / (1 + np.exp(-logits)))[:, None]
    return gates, logits, torch.from_numpy(z), torch.from_numpy(labels), torch.from_numpy(properties)


@pytest.fixture
def everybody(monkeypatch):
    """No outliers are left out."""
    monkeypatch.setattr(module, "OUTLIERS", 0.0)


@pytest.mark.usefixtures("everybody")
def test_each_driver_is_a_regression_with_one_left_out(made):
    gates, logits, z, labels, properties = made
    found = drivers(gates, 0, z, labels, properties)
    assert list(found) == list(DRIVERS)
    x = z.numpy()
    own = np.stack([left_out(LinearRegression(), x[:, [c]], logits[:, c]) for c in range(8)], 1)
    assert found["own"] == pytest.approx(r_squared(logits, own), rel=1e-6)
    assert neighbourhood(8) == 3
    near = np.stack([left_out(LinearRegression(), x[:, max(c - 1, 0):c + 2], logits[:, c]) for c in range(8)], 1)
    assert found["neighbours"] == pytest.approx(r_squared(logits, near), rel=1e-6)
    means = np.stack([logits[(labels.numpy() == labels[i].item()) & (np.arange(60) != i)].mean(0) for i in range(60)])
    assert found["class"] == pytest.approx(r_squared(logits, means), rel=1e-6)
    for i, name in enumerate(("brightness", "contrast", "colour", "detail", "size")):
        alone = left_out(LinearRegression(), properties.numpy()[:, [i]], logits)
        assert found[name] == pytest.approx(r_squared(logits, alone), rel=1e-6)
    assert found["contrast"] > max(found["brightness"], found["colour"], found["size"])
    assert found["dealt"] < 0.1 < found["all"]


def test_all_of_z_is_the_best_ridge_regression(made):
    _, logits, z, _, _ = made
    x = (z.numpy() - z.numpy().mean(0)) / z.numpy().std(0)
    level = np.linalg.eigvalsh(x.T @ x).mean()
    best = max(r_squared(logits, _fixed_penalty(x, logits, power * level)) for power in PENALTIES)
    assert ridge(torch.from_numpy(logits), z) == pytest.approx(best, rel=1e-6)


def _fixed_penalty(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """Scikit-learn's ridge around the means of all pictures, then the exact formula for one left out."""
    fitted = Ridge(alpha=penalty).fit(x, y)
    hat = np.stack([Ridge(alpha=penalty, fit_intercept=False).fit(x, one).predict(x) for one in np.eye(len(x))], 1)
    return y - (y - fitted.predict(x)) / (1 - np.diag(hat)[:, None] - 1 / len(x))


def test_several_targets_of_one_decomposition(made):
    _, logits, z, _, _ = made
    one, other = torch.from_numpy(logits), torch.from_numpy(logits[::-1, :3].copy())
    assert ridges([one, other], z) == pytest.approx([ridge(one, z), ridge(other, z)], rel=1e-12)
    assert all(math.isnan(share) for share in ridges([one, other], torch.zeros_like(z)))


@pytest.mark.parametrize("hidden", [1, 3])
def test_a_gate_of_few_hidden_units_is_predicted_along_their_axes(hidden, monkeypatch):
    """As its channels are, however small: turned, all targets together give the same share."""
    generator = torch.Generator().manual_seed(hidden)
    units = torch.randn(90, hidden, generator=generator).double() * 10.0 ** -torch.arange(hidden)
    before = units @ torch.randn(hidden, 30, generator=generator).double() + 3
    z = torch.randn(90, 30, generator=generator)
    z[:, :hidden] += units
    labels, picture = torch.arange(90) % 9, torch.randn(90, 5, generator=generator)
    turned = module._axes(before)
    assert turned.shape == (90, hidden)
    for predictors in (z.double(), picture.double()):
        assert ridge(turned, predictors) == pytest.approx(ridge(before, predictors), abs=1e-8)
    assert by_class(turned, labels) == pytest.approx(by_class(before, labels), abs=1e-8)
    found = drivers(before.sigmoid()[:, None], 0, z, labels, picture)
    monkeypatch.setattr(module, "_axes", lambda targets: targets)
    assert found == pytest.approx(drivers(before.sigmoid()[:, None], 0, z, labels, picture), abs=1e-8)


def test_more_channels_than_pictures():
    rng = np.random.default_rng(2)
    z = torch.from_numpy(rng.normal(size=(50, 200)))
    y = z @ torch.from_numpy(rng.normal(size=(200, 3)))
    assert 0 < ridge(y, z) < 0.9  # of 50 pictures 200 weights cannot all be told
    assert ridge(y[torch.randperm(50, generator=torch.Generator().manual_seed(0))], z) < 0.1


def test_chance_gives_about_nothing():
    generator = torch.Generator().manual_seed(3)
    gates, z = torch.rand(400, 1, 16, generator=generator), torch.randn(400, 16, generator=generator)
    found = drivers(gates, 0, z, torch.arange(400) % 20, torch.rand(400, 5, generator=generator))
    for name, share in found.items():
        assert -0.08 < share < 0.02, name


def test_a_gate_of_its_own_channel_alone_and_of_its_neighbours():
    """What ECA computes is told from what a full layer computes."""
    generator = torch.Generator().manual_seed(4)
    z = torch.randn(600, 64, generator=generator)
    labels, properties = torch.full((600,), -1), torch.full((600, 5), math.nan)
    own = drivers(z.sigmoid()[:, None], 0, z, labels, properties)
    assert own["own"] == pytest.approx(1) and own["all"] == pytest.approx(1, abs=1e-3)
    assert math.isnan(own["class"]) and math.isnan(own["picture"]) and math.isnan(own["size"])
    weights = torch.tensor([0.5, -1, 0.7])
    near = torch.nn.functional.conv1d(z[:, None], weights[None, None], padding=1)
    eca = drivers(near.sigmoid(), 0, z, labels, properties)
    assert neighbourhood(64) == 3
    assert eca["neighbours"] == pytest.approx(1, abs=1e-6)
    assert eca["own"] == pytest.approx(1 / 1.74, abs=0.1)
    full = drivers((z @ torch.randn(64, 64, generator=generator) / 8).sigmoid()[:, None], 0, z, labels, properties)
    assert full["neighbours"] < 0.15 and full["all"] > 0.99


def test_a_few_outliers_do_not_decide():
    generator = torch.Generator().manual_seed(5)
    gates, z = torch.rand(400, 1, 16, generator=generator), torch.randn(400, 16, generator=generator)
    z[7], gates[7] = 1000, 0.999
    labels, properties = torch.arange(400) % 20, torch.rand(400, 5, generator=generator)
    assert drivers(gates, 0, z, labels, properties)["all"] < 0.05


def test_a_property_that_is_known_of_some_pictures(made):
    gates, _, z, labels, properties = made
    some = properties.clone()
    some[::2, 4] = math.nan
    found = drivers(gates, 0, z, labels, some)
    assert found["contrast"] == pytest.approx(drivers(gates, 0, z, labels, properties)["contrast"])
    assert math.isfinite(found["size"]) and math.isfinite(found["picture"])


def test_gates_of_branches_and_other_functions():
    logits = torch.randn(30, 3, 5).double()
    found = before_activation(logits.softmax(1), 2)
    assert torch.allclose(found, logits[:, 2] - logits[:, :2].mean(1))
    assert torch.allclose(before_activation(logits[:, :1].sigmoid(), 0), logits[:, 0])
    closed = torch.nn.functional.hardsigmoid(10 * logits[:, :1])
    assert torch.equal(before_activation(closed, 0), closed[:, 0])  # it reaches 0 and 1: no sigmoid made it


def test_a_gate_that_is_rounded_to_1_is_still_a_sigmoids():
    """One value of 6,400 in float32, and the gate is as linear in z before its activation as in float64."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(200, 6, generator=generator, dtype=torch.float64)
    logits = z @ torch.randn(6, 32, generator=generator, dtype=torch.float64)
    logits[5, 3] = 18.0
    gates = logits.sigmoid()[:, None].float()
    assert int((gates == 1).sum()) == 1
    shares = [drivers(each, 0, z, torch.zeros(200).long(), torch.full((200, 5), torch.nan))["all"]
              for each in (gates, logits.clamp(max=13).sigmoid()[:, None])]
    assert shares[0] == pytest.approx(shares[1], abs=0.01) and shares[0] > 0.9
    hard = (logits / 6 + 2).clamp(1e-3, 1)[:, None]  # often 1, and never 0
    assert torch.equal(before_activation(hard, 0), hard[:, 0])


def test_gates_that_do_not_move_and_too_few_pictures():
    for gates in (torch.full((30, 1, 4), 0.5), torch.rand(2, 1, 4)):
        n = len(gates)
        found = drivers(gates, 0, torch.rand(n, 4), torch.zeros(n).long(), torch.rand(n, 5))
        assert all(map(math.isnan, found.values()))
    assert math.isnan(by_class(torch.rand(6, 2), torch.arange(6)))


@pytest.mark.parametrize(("channels", "near"), [
    (1, 1), (2, 1), (4, 1), (16, 3), (64, 3), (256, 5), (512, 5), (2048, 7)])
def test_ecas_neighbourhood(channels, near):
    assert neighbourhood(channels) == near
