import pytest
import timm.layers.selective_kernel
import torch
from torch import nn
from torch.nn import functional as F

from senet_viz.layers import SelectiveKernel


@pytest.fixture
def x():
    return torch.randn(2, 16, 9, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def randomise(module: nn.Module) -> nn.Module:
    """Batch normalisations that do something in evaluation mode."""
    torch.manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.3)
            nn.init.normal_(part.running_mean, std=0.3)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    return module.double()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("kernels", [[3, 5], [3, 5, 7]])
@pytest.mark.parametrize("dilated", [True, False])
def test_equals_timm(x, kernels, groups, stride, dilated):
    theirs = randomise(timm.layers.selective_kernel.SelectiveKernel(
        16, 24, kernels, stride=stride, groups=groups, rd_channels=6, keep_3x3=dilated, split_input=False)).eval()
    ours = SelectiveKernel(16, 24, branches=len(kernels), groups=groups, reduction=4, min_width=2, stride=stride,
                           dilated=dilated).double().eval()
    assert ours.kernels == tuple(kernels)
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    torch.testing.assert_close(ours(x), theirs(x))


def normalise_by_hand(x: torch.Tensor, norm: nn.BatchNorm2d, training: bool) -> torch.Tensor:
    mean, var = norm.running_mean, norm.running_var
    if training:
        mean = x.mean((0, 2, 3))
        var = (x - mean.view(-1, 1, 1)).square().mean((0, 2, 3))
    scale = norm.weight / torch.sqrt(var + norm.eps)
    return (x - mean.view(-1, 1, 1)) * scale.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("branches", "stride"), [(2, 1), (3, 1), (3, 2)])
def test_equals_the_ungrouped_form_by_hand(x, branches, stride, training):
    layer = randomise(SelectiveKernel(16, branches=branches, groups=1, reduction=2, min_width=4, stride=stride,
                                      dilated=False, bias=True, fuse_norm=False)).train(training)
    maps = []
    for m, (conv, norm, _) in enumerate(layer.branches):
        assert conv.weight.shape == (16, 16, 3 + 2 * m, 3 + 2 * m)
        u = F.conv2d(x, conv.weight, conv.bias, stride=stride, padding=1 + m)
        maps.append(normalise_by_hand(u, norm, training).clamp(min=0))
    s = torch.stack(maps).sum(0).mean((2, 3))
    z = (s @ layer.fuse[1].weight.flatten(1).T + layer.fuse[1].bias).clamp(min=0)
    assert z.shape == (2, 8)
    scores = torch.stack([z @ a.T for a in layer.select.weight.flatten(1).chunk(branches)])  # A_m z, (M, N, C)
    weights = torch.exp(scores) / torch.exp(scores).sum(0)
    torch.testing.assert_close(layer(x), sum(a[:, :, None, None] * u for a, u in zip(weights, maps)))


def test_gate_is_a_share_of_each_branch(x):
    layer = randomise(SelectiveKernel(16, branches=3, min_width=4)).eval()
    seen = {}
    layer.gate.register_forward_hook(lambda module, args, output: seen.update(gate=output))
    for m, branch in enumerate(layer.branches):
        branch.register_forward_hook(lambda module, args, output, m=m: seen.update({m: output}))
    output = layer(x)
    gate = seen["gate"]
    assert gate.shape == (2, 3, 16)
    assert gate.std() > 1e-3
    torch.testing.assert_close(gate.sum(1), torch.ones(2, 16, dtype=torch.float64))
    torch.testing.assert_close(output, sum(gate[:, m, :, None, None] * seen[m] for m in range(3)))


def test_equal_scores_average_the_branches(x):
    layer = randomise(SelectiveKernel(16)).eval()
    nn.init.zeros_(layer.select.weight)
    torch.testing.assert_close(layer(x), (layer.branches[0](x) + layer.branches[1](x)) / 2)


@pytest.mark.parametrize(("dilated", "taps"), [(True, (9, 9, 9)), (False, (9, 25, 49))])
def test_receptive_fields(dilated, taps):
    """The gradient of one output value marks the input pixels that it sees."""
    layer = SelectiveKernel(4, branches=3, dilated=dilated).double()
    for kernel, count, branch in zip(layer.kernels, taps, layer.branches):
        x = torch.rand(1, 4, 11, 11, dtype=torch.float64, requires_grad=True)
        branch[0](x)[0, :, 5, 5].sum().backward()
        rows, columns = x.grad[0].abs().sum(0).nonzero(as_tuple=True)
        assert len(rows) == count
        for index in (rows, columns):
            assert (index.min(), index.max()) == (5 - kernel // 2, 5 + kernel // 2)
            step = kernel // 2 if dilated else 1
            assert set((index - 5).tolist()) == set(range(-(kernel // 2), kernel // 2 + 1, step))


@pytest.mark.parametrize(("side", "stride", "expected"), [(8, 1, 8), (8, 2, 4), (9, 2, 5), (1, 1, 1)])
def test_shape(side, stride, expected):
    layer = SelectiveKernel(8, 12, branches=3, groups=4, stride=stride).eval()
    assert layer(torch.rand(2, 8, side, side + stride)).shape == (2, 12, expected, expected + 1)


@pytest.mark.parametrize(("channels", "reduction", "min_width", "width"), [
    (128, 16, 32, 32), (1024, 16, 32, 64), (64, 2, 32, 32), (64, 2, 8, 32)])
def test_width_of_the_descriptor(channels, reduction, min_width, width):
    assert SelectiveKernel(channels, groups=32, reduction=reduction, min_width=min_width).fuse[1].out_channels == width


def test_parameters_by_hand():
    c, g, m, d = 128, 32, 2, 32
    branch = 9 * c * c // g + 2 * c
    expected = m * branch + d * c + 2 * d + m * c * d
    assert sum(p.numel() for p in SelectiveKernel(c, branches=m, groups=g).parameters()) == expected


def test_every_weight_gets_a_gradient(x):
    layer = SelectiveKernel(16, branches=3, min_width=8, bias=True, fuse_norm=False).double()
    layer(x).square().sum().backward()
    # a bias before batch statistics has no effect
    silent = {f"branches.{m}.0.bias" for m in range(3)}
    assert all((p.grad.abs().max() > 1e-9) != (name in silent) for name, p in layer.named_parameters())


@pytest.mark.parametrize(("arguments", "message"), [
    ({"branches": 1}, "at least 2 branches, not 1"),
    ({"reduction": 0}, "must be at least 1"),
    ({"min_width": 0}, "must be at least 1"),
    ({"stride": 0}, "must be at least 1"),
    ({"groups": 0}, "must be at least 1"),
    ({"out_channels": 0}, "must be at least 1"),
    ({"groups": 3}, r"groups \(3\) must divide"),
    ({"out_channels": 18, "groups": 4}, r"groups \(4\) must divide"),
])
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        SelectiveKernel(16, **arguments)
