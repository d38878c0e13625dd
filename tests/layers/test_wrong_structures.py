"""Structures that are taken for SE, against NumPy by hand."""
import numpy as np
import pytest
import torch

from senet_viz.layers import ParallelGate, PlainConvolution, PooledGate, SqueezeExcite, UnsqueezedExcite


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def weights(layer: torch.nn.Module) -> tuple[np.ndarray, np.ndarray]:
    return layer.weight.detach().double().flatten(1).numpy(), layer.bias.detach().double().numpy()


@pytest.fixture
def u() -> torch.Tensor:
    return torch.randn(2, 8, 3, 5, generator=torch.Generator().manual_seed(0))


def randomised(layer: torch.nn.Module) -> torch.nn.Module:
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(parameter.numel()))
    return layer


def test_pooled_gate_is_the_pooled_value(u):
    layer = PooledGate(8)
    assert list(layer.parameters()) == []
    by_hand = u.numpy() * sigmoid(u.numpy().mean((2, 3), keepdims=True))
    np.testing.assert_allclose(layer(u).numpy(), by_hand, rtol=1e-5, atol=1e-6)
    other = u.clone()
    other[:, 1:] = 0  # no other channel has a say, as it has in SE
    assert torch.equal(layer(other)[:, 0], layer(u)[:, 0])
    right = randomised(SqueezeExcite(8, 2))
    assert not torch.allclose(right(other)[:, 0], right(u)[:, 0])


def test_max_pooled_gate(u):
    by_hand = u.numpy() * np.tanh(u.numpy().max((2, 3), keepdims=True))
    layer = PooledGate(8, squeeze="max", excitation="tanh")
    np.testing.assert_allclose(layer(u).numpy(), by_hand, rtol=1e-5, atol=1e-6)


def test_plain_convolution_mixes_channels_at_each_place(u):
    layer = randomised(PlainConvolution(8, 4))
    (w1, b1), (w2, b2) = weights(layer.reduce), weights(layer.expand)
    assert w1.shape == (2, 8)
    by_hand = np.empty(u.shape)
    for n in range(2):
        for y in range(3):
            for x in range(5):
                by_hand[n, :, y, x] = w2 @ np.maximum(w1 @ u[n, :, y, x].double().numpy() + b1, 0) + b2
    np.testing.assert_allclose(layer(u).detach().numpy(), by_hand, rtol=1e-4, atol=1e-5)
    places = (layer(u) - torch.from_numpy(b2).float().view(1, 8, 1, 1)).detach().permute(0, 2, 3, 1).reshape(-1, 8)
    assert torch.linalg.matrix_rank(places, rtol=1e-4) <= 2  # all that is left of 8 channels


def test_unsqueezed_gate_is_of_each_place(u):
    layer = randomised(UnsqueezedExcite(8, 4))
    (w1, b1), (w2, b2) = weights(layer.reduce), weights(layer.expand)
    columns = u.double().permute(0, 2, 3, 1).reshape(-1, 8).numpy()
    gates = sigmoid(np.maximum(columns @ w1.T + b1, 0) @ w2.T + b2)
    by_hand = (gates * columns).reshape(2, 3, 5, 8).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(layer(u).detach().numpy(), by_hand, rtol=1e-4, atol=1e-5)


def test_parallel_gate_is_told_of_the_input_alone(u):
    layer = randomised(ParallelGate(8, 4, 2, min_width=3))
    x = torch.randn(2, 4, 6, 10, generator=torch.Generator().manual_seed(1))
    (w1, b1), (w2, b2) = weights(layer.reduce), weights(layer.expand)
    assert w1.shape == (4, 4) and w2.shape == (8, 4)
    gate = sigmoid(np.maximum(x.double().numpy().mean((2, 3)) @ w1.T + b1, 0) @ w2.T + b2)
    np.testing.assert_allclose(layer(u, x).detach().numpy(), u.numpy() * gate[:, :, None, None], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer(2 * u, x), 2 * layer(u, x))  # whatever U is


@pytest.mark.parametrize(("layer", "options"), [(PooledGate, {"squeeze": "none"}), (PooledGate, {"excitation": "e"}),
                                               (UnsqueezedExcite, {"excitation": "e"}),
                                               (PlainConvolution, {"reduction": 0})])
def test_options_that_make_no_sense(layer, options):
    with pytest.raises(ValueError, match=r"must be (one of|at least 1)"):
        layer(8, **options)
