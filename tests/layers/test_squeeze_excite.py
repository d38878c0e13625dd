from itertools import product

import pytest
import timm.models.senet
import torch
import torchvision

from senet_viz.layers import SqueezeExcite

OPTIONS = list(product(["avg", "max"], ["linear", "conv"], [True, False], ["sigmoid", "tanh", "relu", "softmax"]))


@pytest.fixture
def x():
    return torch.randn(3, 32, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def gate_by_hand(layer: SqueezeExcite, x: torch.Tensor, squeeze: str, excitation: str) -> torch.Tensor:
    z = {"avg": x.sum((2, 3)) / (x.shape[2] * x.shape[3]), "max": x.reshape(*x.shape[:2], -1).sort(2).values[..., -1]}
    z = z[squeeze]
    for fc, last in ((layer.reduce, False), (layer.expand, True)):
        z = torch.einsum("ni,oi->no", z, fc.weight.flatten(1))
        if fc.bias is not None:
            z = z + fc.bias
        if not last:
            z = z * (z > 0)
    return {"sigmoid": 1 / (1 + torch.exp(-z)), "tanh": 1 - 2 / (torch.exp(2 * z) + 1), "relu": z * (z > 0),
            "softmax": torch.exp(z) / torch.exp(z).sum(1, keepdim=True)}[excitation]


@pytest.mark.parametrize(("squeeze", "fc", "bias", "excitation"), OPTIONS)
def test_equals_the_formula(x, squeeze, fc, bias, excitation):
    layer = SqueezeExcite(32, 4, squeeze=squeeze, fc=fc, bias=bias, excitation=excitation).double()
    gates = []
    layer.gate.register_forward_hook(lambda module, args, output: gates.append(output))
    output = layer(x)
    expected = gate_by_hand(layer, x, squeeze, excitation)
    torch.testing.assert_close(gates[0].flatten(1), expected)
    torch.testing.assert_close(output, torch.einsum("nchw,nc->nchw", x, expected))
    assert (layer.reduce.bias is not None) == bias == (layer.expand.bias is not None)


def test_equals_timm(x):
    theirs = timm.models.senet.SEModule(32, reduction=16).double()
    ours = SqueezeExcite(32, 16, fc="conv").double()
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values())))
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("fc", ["linear", "conv"])
def test_equals_torchvision(x, fc):
    theirs = torchvision.ops.SqueezeExcitation(32, 8).double()
    ours = SqueezeExcite(32, 4, fc=fc).double()
    ours.load_state_dict({key: value.reshape(ours.state_dict()[key].shape)
                          for key, value in zip(ours.state_dict(), theirs.state_dict().values())})
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(("channels", "reduction", "min_width", "hidden"), [
    (64, 16, 1, 4), (64, 2, 1, 32), (64, 16, 8, 8), (8, 16, 1, 1), (100, 16, 1, 6)])
def test_hidden_width(channels, reduction, min_width, hidden):
    layer = SqueezeExcite(channels, reduction, min_width=min_width)
    assert layer.reduce.weight.shape == (hidden, channels)
    assert layer.expand.weight.shape == (channels, hidden)


def test_weights_added_without_biases():
    # (2/r) · C², Hu et al., Sec. 4
    count = sum(p.numel() for p in SqueezeExcite(256, 16, bias=False).parameters())
    assert count == 2 * 256**2 // 16


def test_every_weight_gets_a_gradient(x):
    layer = SqueezeExcite(32, 4).double()
    layer(x).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in layer.parameters())


@pytest.mark.parametrize(("arguments", "message"), [
    ({"squeeze": "mean"}, "squeeze must be one of avg, max, not 'mean'"),
    ({"fc": "mlp"}, "fc must be one of linear, conv, not 'mlp'"),
    ({"excitation": "gelu"}, "excitation must be one of sigmoid, tanh, relu, softmax, not 'gelu'"),
    ({"reduction": 0}, "at least 1"),
    ({"min_width": 0}, "at least 1"),
    ({"channels": 0}, "at least 1"),
])
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        SqueezeExcite(**{"channels": 32, **arguments})
