import pytest
import torch
from timm.models.resnet import Bottleneck as TimmBottleneck
from timm.models.resnet import ResNet as TimmResNet
from timm.models.sknet import SelectiveKernelBottleneck
from torch import nn

from senet_viz.layers import SelectiveKernel, SqueezeExcite
from senet_viz.models import (
    se_resnet50,
    se_resnet101,
    se_resnet152,
    se_resnext50_32x4d,
    se_resnext101_32x4d,
    senet154,
    sknet26,
    sknet50,
    sknet101,
    slim_resnet50,
)
from senet_viz.models.resnet import Bottleneck

PAPERS = {  # by the authors' definitions
    se_resnet50: 28_088_024, se_resnet101: 49_326_872, se_resnet152: 66_821_848, se_resnext50_32x4d: 27_559_896,
    se_resnext101_32x4d: 48_955_416, senet154: 115_088_984, sknet26: 16_746_408, sknet50: 27_479_784,
    sknet101: 48_736_040,
}


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def share_weights(ours: nn.Module, theirs: nn.Module) -> nn.Module:
    """Give our network the other one's tensors, by order; the shapes have to agree one by one."""
    own, values = ours.state_dict(), theirs.state_dict().values()
    values = [v.flatten(1) if w.dim() == 2 and v.shape[2:] == (1, 1) else v  # a linear layer for a 1×1 convolution
              for w, v in zip(own.values(), values, strict=True)]
    assert [w.shape for w in own.values()] == [v.shape for v in values]
    ours.load_state_dict(dict(zip(own, values)), assign=True)
    return ours.eval()


@pytest.mark.parametrize(("make", "parameters"), PAPERS.items())
def test_parameter_counts(make, parameters):
    with torch.device("meta"):
        assert count(make()) == parameters


def test_what_se_adds_to_resnet50():
    with torch.device("meta"):
        network = se_resnet50()
    gates = sum(count(part) for part in network.modules() if isinstance(part, SqueezeExcite))
    stages = [(3, 256), (4, 512), (6, 1024), (3, 2048)]
    assert gates == sum(n * (2 * c * c // 16 + c // 16 + c) for n, c in stages)
    assert count(network) - gates == 25_557_032  # ResNet-50


@pytest.mark.parametrize("attention", ["se", "sk", "none"])
@torch.inference_mode()
def test_slim_stages_equal_timm(attention, with_weights):
    # timm's own rule gives the same hidden widths here: a multiple of 8, at least 8
    kinds = {"se": (TimmBottleneck, {"attn_layer": "se"}), "none": (TimmBottleneck, {}),
             "sk": (SelectiveKernelBottleneck, {"sk_kwargs": {"rd_ratio": 1 / 16, "split_input": False}})}
    block, block_args = kinds[attention]
    theirs = with_weights(TimmResNet(block, (3, 4, 6, 3), num_classes=10, channels=(16, 32, 64, 128), stem_width=16,
                                     stem_type="deep", block_args=block_args))
    ours = slim_resnet50(attention, num_classes=10).eval()
    x = torch.rand(2, 32, 16, 16)
    for name in ("layer1", "layer2", "layer3", "layer4"):
        share_weights(getattr(ours, name), getattr(theirs, name))
        expected = getattr(theirs, name)(x)
        x = getattr(ours, name)(x)
        torch.testing.assert_close(x, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert x.shape == (2, 512, 2, 2)


@pytest.mark.parametrize(("attention", "block", "number"), [("se", SqueezeExcite, 16), ("sk", SelectiveKernel, 16)])
def test_slim_has_every_block_of_the_papers(attention, block, number):
    network = slim_resnet50(attention)
    assert sum(isinstance(part, block) for part in network.modules()) == number
    assert [len(getattr(network, f"layer{i}")) for i in range(1, 5)] == [3, 4, 6, 3]


def test_slim_without_attention_has_none():
    assert not any(isinstance(part, SqueezeExcite | SelectiveKernel) for part in slim_resnet50("none").modules())


@pytest.mark.parametrize("attention", ["se", "sk", "none"])
def test_slim_trains(attention):
    network = slim_resnet50(attention, num_classes=7, widths=(8, 8, 16, 16), strides=(1, 2, 2, 1))
    maps = {}
    network.layer4.register_forward_hook(lambda module, args, output: maps.update(last=output))
    logits = network(torch.rand(3, 3, 64, 64))
    assert logits.shape == (3, 7)
    assert maps["last"].shape == (3, 64, 8, 8)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_slim_options():
    network = slim_resnet50("se", widths=(8, 16, 24, 32), reduction=4, min_width=12)
    assert network.layer1[0].se.reduce.out_features == 12
    assert network.layer4[2].se.reduce.out_features == 32
    network = slim_resnet50("sk", widths=(8, 16, 24, 32), reduction=4, min_width=7)
    assert network.layer1[0].conv2.fuse[1].out_channels == 7
    assert network.layer4[2].conv2.fuse[1].out_channels == 8
    with pytest.raises(ValueError, match="attention must be one of none, se, sk, not 'eca'"):
        slim_resnet50("eca")


@pytest.mark.parametrize(("stride_first", "first", "middle"), [(True, 2, 1), (False, 1, 2)])
def test_where_the_stride_is(stride_first, first, middle):
    unit = Bottleneck(8, 8, 32, stride=2, stride_first=stride_first)
    assert (unit.conv1.stride[0], unit.conv2.stride[0], unit.downsample[0].stride[0]) == (first, middle, 2)
    assert unit(torch.rand(1, 8, 10, 10)).shape == (1, 32, 5, 5)


def test_gate_sits_before_the_addition():
    unit = Bottleneck(32, 8, 32, se=lambda channels: SqueezeExcite(channels, 4)).eval()
    x = torch.randn(2, 32, 6, 6)
    nn.init.zeros_(unit.se.expand.weight)
    nn.init.constant_(unit.se.expand.bias, -1e4)  # gate 0: the shortcut alone is left
    torch.testing.assert_close(unit(x), x.relu())
    nn.init.constant_(unit.se.expand.bias, 1e4)  # gate 1: a plain unit
    plain = unit(x)
    unit.se = nn.Identity()
    torch.testing.assert_close(plain, unit(x))
    assert not torch.equal(plain, x.relu())


def test_dropout_is_senet154s_alone():
    with torch.device("meta"):
        assert [make().dropout.p for make in (se_resnet50, senet154, sknet50)] == [0.0, 0.2, 0.0]
