"""The class told from vectors, beside scikit-learn."""
import math

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from senet_viz.statistics.decoding import asked, decoded, discriminants


def made(count: int, channels: int, classes: int, apart: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors around class centres, channels of unequal spread that go together; sorted by class, as data sets are."""
    rng = np.random.default_rng(seed)
    labels = np.sort(np.arange(count) % classes)
    mixing = rng.normal(size=(channels, channels)) / math.sqrt(channels) + np.eye(channels)
    values = (rng.normal(size=(count, channels)) + apart * rng.normal(size=(classes, channels))[labels]) @ mixing
    return torch.from_numpy(values * np.geomspace(1e-3, 10, channels)), torch.from_numpy(labels)


def by_scikit(values: torch.Tensor, labels: torch.Tensor, folds: int = 5) -> float:
    """Class after class dealt to folds; the pooled covariance within classes as LedoitWolf shrinks it."""
    x, y = values.numpy(), labels.numpy()
    fold = np.concatenate([np.arange((y == k).sum()) % folds for k in np.unique(y)])
    hits = 0
    for turn in range(folds):
        seen, unseen = fold != turn, fold == turn
        mean, std = x[seen].mean(0), x[seen].std(0)
        train, test = (x[seen] - mean) / std, (x[unseen] - mean) / std
        centres = np.array([train[y[seen] == k].mean(0) for k in np.unique(y)])
        within = LedoitWolf(assume_centered=True).fit(train - centres[y[seen]])
        distance = [np.einsum("nc,cd,nd->n", test - centre, within.precision_, test - centre) for centre in centres]
        hits += (np.argmin(distance, 0) == y[unseen]).sum()
    return hits / len(y)


@pytest.mark.parametrize(("count", "channels", "classes", "apart"), [
    (120, 8, 4, 0.7), (200, 30, 10, 0.5), (60, 100, 3, 0.25), (60, 1, 3, 1.0)])
def test_as_scikit_learn_tells_it(count, channels, classes, apart):
    values, labels = made(count, channels, classes, apart)
    share = decoded(values, labels)
    assert share == pytest.approx(by_scikit(values, labels))
    assert 1 / classes < share < 1


def test_without_shrinking_it_is_the_discriminant_analysis_of_scikit_learn():
    values, labels = made(20_000, 3, 3, 0.5)  # of so many pictures nothing is left to shrink
    weights, bias = discriminants(values, labels, 3)
    ours = (values @ weights + bias).argmax(1).numpy()
    theirs = LinearDiscriminantAnalysis(priors=np.full(3, 1 / 3)).fit(values.numpy(), labels.numpy())
    assert (ours == theirs.predict(values.numpy())).mean() > 0.995


def test_products_that_are_known_change_nothing_but_rounding():
    values, labels = made(300, 12, 6, 0.5)
    values = values - values.mean(0)
    values[:, 3] = 0  # what does not vary tells nothing
    for mine, plain in zip(discriminants(values, labels, 6, values.T @ values), discriminants(values, labels, 6)):
        torch.testing.assert_close(mine, plain, rtol=1e-9, atol=1e-12)
    seen = torch.arange(300) % 5 != 2  # of a part of the pictures, whose mean is not 0
    for mine, plain in zip(discriminants(values[seen], labels[seen], 6, values[seen].T @ values[seen]),
                           discriminants(values[seen], labels[seen], 6)):
        torch.testing.assert_close(mine, plain, rtol=1e-9, atol=1e-12)


def test_a_channel_that_does_not_vary_changes_nothing():
    values, labels = made(300, 12, 6, 0.5)
    still = torch.full((300, 1), 0.1, dtype=torch.float64)  # no float64, and not its own mean to the last bit
    assert float((still - still.mean()).abs().max()) > 0
    assert discriminants(torch.cat([values, still], 1), labels, 6)[0][-1].eq(0).all()
    zero = torch.zeros_like(still)
    assert decoded(torch.cat([values, still], 1), labels) == decoded(torch.cat([values, zero], 1), labels)


def test_noise_tells_nothing():
    values, labels = made(2000, 20, 10, 0.0)
    assert decoded(values, labels) == pytest.approx(0.1, abs=0.03)


def test_what_is_made_of_it_tells_no_more():
    """A gate of one direction holds less of the class than its input."""
    values, labels = made(500, 20, 10, 0.8)
    gate = torch.sigmoid((values / values.std(0)) @ torch.ones(20, 1).double() @ torch.ones(1, 20).double())
    assert decoded(gate, labels) < decoded(values, labels) - 0.2


def test_pictures_without_a_label_and_rare_classes_are_left_out():
    values, labels = made(120, 8, 4, 0.7)
    more = torch.cat([values, 100 * torch.ones(9, 8).double()])
    labels_ = torch.cat([labels, torch.tensor([-1] * 5 + [7] * 4)])
    share = decoded(more, labels_)
    assert asked(labels_) == (120, 4) and asked(labels_[120:]) == (0, 0)
    assert share == pytest.approx(decoded(values, labels))


@pytest.mark.parametrize("labels", [[-1] * 20, [3] * 20, list(range(20))])
def test_where_there_are_no_two_classes_it_cannot_be_told(labels):
    assert math.isnan(decoded(torch.rand(20, 4), torch.tensor(labels)))


@pytest.mark.parametrize("channels", [4, 40])
def test_vectors_that_do_not_vary(channels):
    share = decoded(torch.ones(20, channels), torch.arange(20) % 2)
    assert share == 0.5  # of equal scores the first class is told


@pytest.mark.parametrize("apart", [0, 1e-8])
@pytest.mark.parametrize("channels", [4, 40, 2000])
def test_classes_whose_pictures_are_copies_of_each_other(channels, apart):
    """As in a folder into which pictures were copied; what they differ by is rounding."""
    labels = torch.arange(60) % 3
    centres, noise = torch.rand(3, channels, dtype=torch.float64), torch.rand(60, channels, dtype=torch.float64)
    assert decoded(centres[labels] + apart * noise, labels) == 1


@pytest.mark.parametrize("channels", [4, 40])
def test_classes_of_two_pictures_and_their_copies(channels):
    """Within classes all vectors lie along one line, equally far out: nothing is left to shrink."""
    labels = torch.arange(80) % 2
    centres, line = torch.rand(2, channels, dtype=torch.float64), torch.rand(channels, dtype=torch.float64)
    side = 1 - 2.0 * (torch.arange(80) // 2 % 2)
    assert decoded(centres[labels] + side[:, None] * line, labels) == 1
