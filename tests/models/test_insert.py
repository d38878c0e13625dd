import copy
import math

import pytest
import timm
import torch
import torchvision
from timm.layers import ConvNormAct, EcaModule
from timm.models import resnet as timm_resnet
from timm.models.inception_resnet_v2 import Block35
from torch import nn
from torchvision.models import resnet as torchvision_resnet

import senet_viz as sv
from senet_viz.gates import find_blocks
from senet_viz.layers import (
    ParallelGate,
    PlainConvolution,
    PooledGate,
    SelectiveKernel,
    SqueezeExcite,
    UnsqueezedExcite,
)
from senet_viz.models import se_resnet50, slim_resnet50, with_attention
from senet_viz.models.bn_inception import Inception
from senet_viz.models.insert import PLACES
from senet_viz.models.resnet import Bottleneck, ResNet
from senet_viz.models.shufflenet import ShuffleUnit


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def normal_weights(module: nn.Module) -> nn.Module:
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
            nn.init.normal_(part.running_mean)
    return module.eval()


def units() -> dict[str, nn.Module]:
    """A unit with a projection and one without, of every kind."""
    torch.manual_seed(0)
    basic, bottleneck = torchvision_resnet.BasicBlock, torchvision_resnet.Bottleneck
    with_projection = nn.Sequential(nn.Conv2d(8, 16, 1, 2, bias=False), nn.BatchNorm2d(16))
    return {
        "torchvision basic": basic(8, 8), "torchvision bottleneck": bottleneck(16, 4),
        "torchvision projection": bottleneck(8, 4, 2, with_projection),
        "torchvision grouped": bottleneck(16, 4, groups=2, base_width=64),
        "timm basic": timm_resnet.BasicBlock(8, 8), "timm bottleneck": timm_resnet.Bottleneck(16, 4),
        "ours": Bottleneck(16, 4, 16), "our projection": Bottleneck(8, 4, 16, stride=2, stride_first=True),
    }


def by_hand(unit: nn.Module, x: torch.Tensor, place: str, gates: list[SqueezeExcite]) -> torch.Tensor:
    """A residual unit written out, with a gate at a place; the unit itself has none."""
    gate = {name: gates[0] if name == place else nn.Identity() for name in PLACES}
    shortcut = gate["identity"](x if unit.downsample is None else unit.downsample(x))
    out = unit.bn1(unit.conv1(gate["pre"](x)))
    if not hasattr(unit, "conv3"):
        out = unit.bn2(unit.conv2(gate["3x3"](out).relu()))
    else:
        out = unit.bn3(unit.conv3(gate["3x3"](unit.bn2(unit.conv2(out.relu()))).relu()))
    return gate["post"]((gate["standard"](out) + shortcut).relu())


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", units())
@torch.no_grad()
def test_places_equal_the_unit_written_out(name, place):
    unit, plain = normal_weights(units()[name]), normal_weights(units()[name])
    plain.load_state_dict(unit.state_dict())
    gated = with_attention(unit, "se", place, reduction=2)
    gates = [part for part in gated.modules() if isinstance(part, SqueezeExcite)]
    assert len(gates) == 1
    x = torch.randn(2, unit.conv1.in_channels if place != "pre" else unit.conv1[1].in_channels, 6, 6)
    out = gated(x.clone())
    torch.testing.assert_close(out, by_hand(plain, x, place, gates))
    width = gates[0].expand.out_features
    others = {"standard": out.shape[1], "pre": x.shape[1], "post": out.shape[1], "identity": out.shape[1],
              "3x3": plain.bn2.num_features}
    assert not any(torch.allclose(out, by_hand(plain, x, other, gates))
                   for other, channels in others.items() if other != place and channels == width)


@torch.no_grad()
def test_a_gate_of_zero_tells_the_place():
    for place in ("standard", "post", "identity"):
        unit = normal_weights(torchvision_resnet.Bottleneck(16, 4))
        gated = with_attention(unit, "se", place, reduction=2)
        gate = next(part for part in gated.modules() if isinstance(part, SqueezeExcite))
        nn.init.constant_(gate.expand.bias, -1e4)
        nn.init.zeros_(gate.expand.weight)
        x = torch.randn(2, 16, 5, 5)
        out = gated(x.clone())
        if place == "standard":  # the shortcut alone
            assert torch.equal(out, x.relu())
        elif place == "post":
            assert not out.any()
        else:  # the branch alone
            branch = [unit.conv1, unit.bn1, unit.relu, unit.conv2, unit.bn2, unit.relu, unit.conv3, unit.bn3, unit.relu]
            torch.testing.assert_close(out, nn.Sequential(*branch)(x))


# the ablations on ResNet-50; what is printed are the counts with biases, rounded up: 30.604 became 30.7, 26.830 26.9
@pytest.mark.parametrize(("options", "printed"), [
    ({"reduction": 2}, 45.7), ({"reduction": 4}, 35.7), ({"reduction": 8}, 30.7), ({"reduction": 16}, 28.1),
    ({"reduction": 32}, 26.9), ({"place": "3x3"}, 25.8)])
def test_the_papers_ablations(options, printed):
    with torch.device("meta"):
        counts = {bias: count(with_attention(torchvision.models.resnet50(), bias=bias, **options))
                  for bias in (True, False)}
    assert math.ceil(counts[True] / 1e5) / 10 == printed
    width = 1 if options.get("place") == "3x3" else 4
    stages = [(3, 64 * width), (4, 128 * width), (6, 256 * width), (3, 512 * width)]
    r = options.get("reduction", 16)
    assert counts[False] == 25_557_032 + 2 * sum(n * c * c for n, c in stages) // r  # Sec. 4: (2/r) · Σ N · C²
    assert counts[True] - counts[False] == sum(n * (c + c // r) for n, c in stages)


def test_selective_kernels_take_the_3x3():
    with torch.device("meta"):
        network = with_attention(torchvision.models.resnext50_32x4d(), "sk")
        slim = with_attention(torchvision.models.resnet18(), "sk", branches=3, min_width=8)
    assert count(network) == 27_479_784  # SKNet-50
    assert [network.layer2[0].conv2.branches[m][0].dilation for m in (0, 1)] == [(1, 1), (2, 2)]
    assert network.layer2[0].conv2.branches[1][0].stride == (2, 2)
    assert not any(isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3) for name, part in network.named_modules()
                   if "branches" not in name)
    kernels = [part for part in slim.modules() if isinstance(part, SelectiveKernel)]
    assert len(kernels) == 8 and {len(part.branches) for part in kernels} == {3}


@torch.no_grad()
def test_nothing_but_the_kernel_changes_in_the_unit():
    torch.manual_seed(0)
    unit = normal_weights(torchvision_resnet.Bottleneck(16, 4, groups=2))
    with_attention(unit, "sk", min_width=4)
    normal_weights(unit)
    x = torch.randn(2, 16, 6, 6)
    out = unit.conv2(unit.bn1(unit.conv1(x)).relu())
    torch.testing.assert_close(unit(x.clone()), (unit.bn3(unit.conv3(out)) + x).relu())


@pytest.mark.parametrize("kind", ["se", "sk"])
def test_our_plain_network_becomes_the_papers(kind):
    def plain(**unit):
        return ResNet(nn.Conv2d(3, 8, 3, 2), 8, (2, 1, 1, 1), (8, 8, 16, 16), num_classes=3, **unit)

    options = {"reduction": 4, "min_width": 6}
    made = plain(se=lambda c: SqueezeExcite(c, **options)) if kind == "se" else plain(
        sk=lambda i, o, stride: SelectiveKernel(i, o, stride=stride, **options))
    put = with_attention(plain(), kind, **options).eval()
    put.load_state_dict(made.state_dict())  # the same names
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(put(x), made.eval()(x))


def test_one_stage_alone():
    network = torchvision.models.resnet18(num_classes=2).eval()
    with_attention(network.layer3)
    assert [block.label for block in sv.find_blocks(network, torch.rand(1, 3, 64, 64))] == ["SE_4_1", "SE_4_2"]


@pytest.mark.parametrize("place", PLACES)
def test_gates_at_every_place_are_found_and_labelled(place):
    network = with_attention(torchvision.models.resnet18(num_classes=2), "se", place)
    blocks = sv.find_blocks(network, torch.rand(1, 3, 64, 64))
    assert [block.label for block in blocks] == [f"SE_{stage}_{unit}" for stage in range(2, 6) for unit in (1, 2)]
    expected = [64, 64, 64, 128, 128, 256, 256, 512] if place == "pre" else [64, 128, 256, 512] * 2
    assert sorted(block.channels for block in blocks) == sorted(expected)


@pytest.mark.parametrize(("kind", "place"), [("sk", "standard"), *(("se", place) for place in PLACES)])
def test_what_was_there_keeps_its_values_and_all_of_it_trains(kind, place):
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=3)
    before = {id(p): p.clone() for p in network.parameters()}
    with_attention(network, kind, place)
    kept = [p for p in network.parameters() if id(p) in before]
    assert len(kept) == len(before) - (kind == "sk") * 8 * 3  # the 3×3 and its BN
    assert all(torch.equal(p, before[id(p)]) for p in kept)
    network(torch.rand(4, 3, 64, 64)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("kind", ["se", "sk"])
def test_new_layers_are_like_their_unit(kind):
    network = with_attention(torchvision.models.resnet18(num_classes=3).double().eval(), kind)
    assert {p.dtype for p in network.parameters()} == {torch.float64}
    assert not any(part.training for part in network.modules())
    assert network(torch.rand(1, 3, 32, 32).double()).shape == (1, 3)


@torch.no_grad()
def test_vgg_gates_stand_behind_the_relu(with_weights):
    with torch.device("meta"):
        vgg = torchvision.models.VGG(torchvision.models.vgg.make_layers([4, "M", 6], batch_norm=True))
    before = set(vgg.state_dict())
    with_attention(vgg, reduction=2)
    with_weights(vgg.features)
    assert before < set(vgg.state_dict())  # a backbone's names stay
    gates = [part for part in vgg.modules() if isinstance(part, SqueezeExcite)]
    conv1, bn1, pool, conv2, bn2 = (vgg.features[i] for i in (0, 1, 3, 4, 5))
    x = torch.rand(1, 3, 8, 8)
    expected = gates[1](bn2(conv2(pool(gates[0](bn1(conv1(x)).relu())))).relu())
    torch.testing.assert_close(vgg.features(x), expected)


@pytest.mark.parametrize("make", [
    lambda: Inception(6, 2, (3, 4), (3, 5), 7), lambda: torchvision.models.inception.InceptionA(12, 8),
    lambda: torchvision.models.inception.InceptionD(12),
    lambda: timm.create_model("mobilenetv1_100").blocks[1][1]])
@torch.no_grad()
def test_gates_stand_on_the_output_of_inception_and_separable_modules(make):
    module = make().eval()
    gated = with_attention(module, reduction=2)
    x = torch.rand(2, next(part for part in module.modules() if isinstance(part, nn.Conv2d)).in_channels, 9, 9)
    torch.testing.assert_close(gated(x), gated[1](module(x)))
    assert gated[0] is module


@torch.no_grad()
def test_shufflenet_gates_stand_on_the_branch():
    unit = ShuffleUnit(12, 12, 1, groups=3, first_groups=3).eval()
    x = torch.rand(2, 12, 6, 6)
    branch = nn.Sequential(unit.conv1, unit.bn1, unit.relu, unit.shuffle, unit.conv2, unit.bn2, unit.conv3, unit.bn3)
    branch = branch(x)
    with_attention(unit, reduction=2)
    torch.testing.assert_close(unit(x), (unit.bn3[1](branch) + x).relu())


@torch.no_grad()
def test_inception_resnet_gates_stand_on_the_branch_before_its_scale():
    unit = Block35(0.17, ConvNormAct).eval()
    x = torch.rand(1, 320, 5, 5)
    branch = unit.conv2d(torch.cat([unit.branch0(x), unit.branch1(x), unit.branch2(x)], 1))
    with_attention(unit)
    torch.testing.assert_close(unit(x), (unit.conv2d[1](branch) * 0.17 + x).relu())


class SeparableUnit(torchvision_resnet.Bottleneck):
    """A unit whose 3×3 is none."""

    def __init__(self):
        super().__init__(16, 4)
        self.conv2 = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 4, 1))


class StrangersUnit(torchvision_resnet.BasicBlock):
    """A unit that its author gave SE."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.se_layer = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Sigmoid())


class NamelessUnit(torchvision_resnet.BasicBlock):
    """A unit whose gate no name tells, and no class that is known."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(self.conv2.out_channels, self.conv2.out_channels, 1), nn.Sigmoid())

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (x * self.attention(x) + shortcut).relu()


@pytest.mark.parametrize("part", ["", "layer3"])
def test_a_gate_is_known_by_what_it_does(part):
    network = torchvision_resnet.ResNet(NamelessUnit, [1, 1, 1, 1], num_classes=2).train()
    network.layer1.eval()
    before, state = copy.deepcopy(network), torch.get_rng_state()
    with pytest.raises(ValueError, match=r"has attention already: .*0\.attention \(Sequential\)\.$"):
        with_attention(network.get_submodule(part))
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(network.state_dict(), before.state_dict(), rtol=0, atol=0)
    assert [(part.training, len(part._forward_hooks)) for part in network.modules()] == [
        (part.training, 0) for part in before.modules()]


class Nameless(nn.Module):
    """A gate of a class of its own."""

    def __init__(self, channels):
        super().__init__()
        self.layer = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return x * self.layer(x.mean((2, 3), keepdim=True)).sigmoid()


def test_a_gate_of_a_network_that_takes_no_small_picture():
    network = torchvision.models.inception_v3(init_weights=False, num_classes=2)
    network.Mixed_7c.branch_pool = nn.Sequential(network.Mixed_7c.branch_pool, Nameless(192))
    with pytest.raises(ValueError, match=r"Mixed_7c\.branch_pool\.1 \(Nameless\)"):
        with_attention(network)


def test_stage_after_stage():
    """Gates in one part do not keep others from getting theirs."""
    network = torchvision.models.resnet18(num_classes=2)
    for stage in (network.layer3, network.layer4):
        with_attention(stage)
    assert [name for name, part in network.named_modules() if isinstance(part, SqueezeExcite)] == [
        f"layer{stage}.{unit}.bn2.1" for stage in (3, 4) for unit in (0, 1)]


@pytest.mark.parametrize(("make", "arguments", "message"), [
    (torchvision.models.densenet121, {}, "DenseNet has no unit in which the SE paper defines the place 'standard'"),
    (lambda: timm.create_model("mobilenetv2_100"), {},
     "EfficientNet has no unit .*; known are the ResNets and ResNeXts of torchvision, timm and senet_viz, and "
     "torchvision's VGGs and Inception-v3, timm's Inception-ResNet-v2 and MobileNet v1, senet_viz's BN-Inception and "
     r"ShuffleNet\.$"),
    # what is there already: put by this function, here, in timm and by strangers
    (lambda: with_attention(torchvision.models.resnet18()), {},
     r"ResNet has attention already: layer1.0.bn2.1 \(SqueezeExcite\)\.$"),
    (lambda: with_attention(torchvision.models.resnet18()), {"place": "pre"}, "ResNet has attention already"),
    (lambda: with_attention(torchvision.models.resnet18(), "sk"), {},
     r"ResNet has attention already: layer1.0.conv1 \(SelectiveKernel\)\.$"),
    (lambda: with_attention(torchvision.models.vgg11()), {}, "VGG has attention already: features.1.1"),
    (se_resnet50, {}, r"ResNet has attention already: layer1.0.se \(SqueezeExcite\)\.$"),
    (se_resnet50, {"kind": "sk"}, "ResNet has attention already: layer1.0.se"),
    (lambda: timm.create_model("seresnet18"), {}, r"ResNet has attention already: layer1.0.se \(SEModule\)\.$"),
    (lambda: timm.create_model("ecaresnet50t"), {"place": "post"}, r"already: layer1.0.se \(EcaModule\)\.$"),
    (lambda: nn.Sequential(StrangersUnit(8, 8)), {}, r"Sequential has attention already: 0.se_layer \(Sequential\)\.$"),
    (lambda: nn.Sequential(torchvision_resnet.BasicBlock(8, 8), torchvision.ops.SqueezeExcitation(8, 4)), {},
     r"Sequential has attention already: 1 \(SqueezeExcitation\)\.$"),
    (lambda: timm.create_model("mobilenetv1_100"), {"kind": "sk"},
     "EfficientNet has no unit in which the SK paper .* known are the ResNets and ResNeXts of [^;]* senet_viz\\.$"),
    (torchvision.models.vgg11, {"place": "post"}, "VGG has no unit in which the SE paper defines the place 'post'"),
    (torchvision.models.resnet18, {"kind": "cbam"},
     "kind must be one of se, eca, unsqueezed, pooled, convolution, parallel, sk, not 'cbam'"),
    (torchvision.models.resnet18, {"place": "front"}, "place must be one of standard, pre, post, identity, 3x3, not"),
    (torchvision.models.resnet18, {"kind": "sk", "place": "pre"}, "so place cannot be 'pre'"),
    (lambda: with_attention(torchvision.models.resnet18(), "sk"), {"kind": "sk"}, "ResNet has attention already"),
    (lambda: timm.create_model("efficientnet_b0"), {}, "EfficientNet has attention already: blocks.0.0.se "),
    (SeparableUnit, {"kind": "sk"}, r"conv2 of a SeparableUnit is a Sequential already, no plain convolution\.$"),
    (lambda: torchvision.models.resnet50(replace_stride_with_dilation=[False, False, True]), {"kind": "sk"},
     "layer4.1.conv2 is dilated"),
])
def test_refuses_in_one_sentence(make, arguments, message):
    with torch.device("meta"):
        network = make()
        names = list(network.state_dict())
        with pytest.raises(ValueError, match=message):
            with_attention(network, **arguments)
    assert list(network.state_dict()) == names


@pytest.mark.parametrize(("kind", "layer"), [
    ("eca", EcaModule), ("unsqueezed", UnsqueezedExcite), ("pooled", PooledGate), ("convolution", PlainConvolution)])
def test_what_takes_the_place_of_se(kind, layer):
    """Wherever SE may stand, and nothing else is changed."""
    for place, path in (("standard", "layer2.1.bn2.1"), ("pre", "layer2.1.conv1.0"), ("post", "layer2.1.1")):
        network = with_attention(torchvision.models.resnet18(num_classes=3), kind, place)
        assert type(network.get_submodule(path)) is layer
        assert sum(isinstance(part, layer) for part in network.modules()) == 8
        assert network(torch.rand(2, 3, 32, 32)).shape == (2, 3)
        with pytest.raises(ValueError, match="has attention already"):
            with_attention(network, "se")


def test_a_gate_beside_the_convolutions_is_given_what_enters_the_unit():
    network = with_attention(slim_resnet50("none", num_classes=3), "parallel", reduction=4).eval()
    unit, x = network.layer2[0], torch.rand(2, 64, 8, 8)
    assert isinstance(unit.se, ParallelGate) and unit.se.reduce.in_features == 64
    with torch.no_grad():
        branch = unit.bn3(unit.conv3(unit.relu2(unit.bn2(unit.conv2(unit.relu(unit.bn1(unit.conv1(x))))))))
        gate = (unit.se.expand(unit.se.reduce(x.mean((2, 3))).relu())).sigmoid()
        by_hand = (branch * gate[:, :, None, None] + unit.downsample(x)).relu()
        torch.testing.assert_close(unit(x), by_hand)
    assert len(find_blocks(network, torch.rand(2, 3, 64, 64))) == 16
    with pytest.raises(ValueError, match="known are the bottleneck networks of senet_viz"):
        with_attention(torchvision.models.resnet18(), "parallel")
    with pytest.raises(ValueError, match="so place cannot be 'pre'"):
        with_attention(slim_resnet50("none"), "parallel", "pre")
