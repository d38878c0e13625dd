"""Finding attention blocks, against counts known from the architectures and against a trace of our own."""
import math
import re
import threading

import pytest
import timm.layers
import torch
import torchvision
from torch import nn

from senet_viz.gates import find_blocks, inspect
from senet_viz.gates.blocks import blocks_of, to_module
from senet_viz.gates.hooks import part_and_call
from senet_viz.layers import SelectiveKernel, SqueezeExcite
from senet_viz.models import Model

UNITS_18 = [(stage, index) for stage in (2, 3, 4, 5) for index in (1, 2)]
UNITS_50 = [(stage, index) for stage, units in zip((2, 3, 4, 5), (3, 4, 6, 3)) for index in range(1, units + 1)]
EFFICIENTNET_B0 = [
    (1, 1), (2, 1), (2, 2), (3, 1), (3, 2), *((4, i) for i in range(1, 7)), *((5, i) for i in range(1, 6))]
MOBILENET_V3_SMALL = [(2, 1), *((4, i) for i in range(1, 6)), *((5, i) for i in range(1, 4))]
MOBILENET_V3_LARGE = [(3, 1), (3, 2), (3, 3), (4, 1), (4, 2), (5, 1), (5, 2), (5, 3)]

# network → kind, class of its blocks, labels' numbers in the order of execution. The counts are those of the published
# architectures; elsewhere than in ResNets a stage is the number of halvings.
NETWORKS = {
    "slim/se": ("SE", "senet_viz.layers.squeeze_excite:SqueezeExcite", UNITS_50),
    "slim/sk": ("SK", "senet_viz.layers.selective_kernel:SelectiveKernel", UNITS_50),
    "timm/seresnet18": ("SE", "timm.layers.squeeze_excite:SEModule", UNITS_18),
    "timm/seresnet50": ("SE", "timm.layers.squeeze_excite:SEModule", UNITS_50),
    "timm/legacy_seresnet18": ("SE", "timm.models.senet:SEModule", UNITS_18),
    "timm/ecaresnet26t": ("ECA", "timm.layers.eca:EcaModule", UNITS_18),
    "timm/eca_nfnet_l0": ("ECA", "timm.layers.eca:EcaModule", [
        (2, 1), (3, 1), (3, 2), *((4, i) for i in range(1, 7)), *((5, i) for i in range(1, 4))]),
    "timm/resnet18+ceca": ("ECA", "timm.layers.eca:CecaModule", UNITS_18),
    "timm/skresnet18": ("SK", "timm.layers.selective_kernel:SelectiveKernel", UNITS_18),
    "timm/skresnext50_32x4d": ("SK", "timm.layers.selective_kernel:SelectiveKernel", UNITS_50),
    "timm/efficientnet_b0": ("SE", "timm.models._efficientnet_blocks:SqueezeExcite", EFFICIENTNET_B0),
    "timm/mobilenetv3_small_050": ("SE", "timm.models._efficientnet_blocks:SqueezeExcite", MOBILENET_V3_SMALL),
    "timm/mobilenetv3_large_100": ("SE", "timm.models._efficientnet_blocks:SqueezeExcite", MOBILENET_V3_LARGE),
    "timm/regnety_002": ("SE", "timm.layers.squeeze_excite:SEModule", [
        (2, 1), (3, 1), *((4, i) for i in range(1, 5)), *((5, i) for i in range(1, 8))]),
    "timm/hgnet_tiny": ("eSE", "timm.models.hgnet:EseModule", [(2, 1), (3, 1), (4, 1), (4, 2), (5, 1)]),
    "timm/ese_vovnet19b_dw": ("eSE", "timm.layers.squeeze_excite:EffectiveSEModule", [(2, 1), (3, 1), (4, 1), (5, 1)]),
    "timm/resnest14d": ("SplitAttn", "timm.layers.split_attn:SplitAttn", [(stage, 1) for stage in (2, 3, 4, 5)]),
    "timm/resnet18+gc": ("GC", "timm.layers.global_context:GlobalContext", UNITS_18),
    "timm/resnet18+cbam": ("CBAM", "timm.layers.cbam:ChannelAttn", UNITS_18),
    "timm/resnet18+lcbam": ("CBAM", "timm.layers.cbam:LightChannelAttn", UNITS_18),
    "torchvision/efficientnet_b0": ("SE", "torchvision.ops.misc:SqueezeExcitation", EFFICIENTNET_B0),
    "torchvision/mobilenet_v3_small": ("SE", "torchvision.ops.misc:SqueezeExcitation", MOBILENET_V3_SMALL),
    "torchvision/mobilenet_v3_large": ("SE", "torchvision.ops.misc:SqueezeExcitation", MOBILENET_V3_LARGE),
    "torchvision/regnet_y_400mf": ("SE", "torchvision.ops.misc:SqueezeExcitation", [
        (2, 1), (3, 1), (3, 2), (3, 3), *((4, i) for i in range(1, 7)), *((5, i) for i in range(1, 7))]),
}


def trace(module, example) -> list[tuple[str, nn.Module, torch.Size]]:
    """Path, module and output shape of every submodule that ran, in the order in which they finished."""
    calls, handles = [], []
    for path, part in module.named_modules():
        handles.append(part.register_forward_hook(
            lambda part, _, out, path=path: calls.append((path, part, getattr(out, "shape", None)))))
    with torch.no_grad():
        module(example)
    for handle in handles:
        handle.remove()
    return calls


@pytest.mark.parametrize("name", NETWORKS)
def test_finds_every_block(network, pictures, unchanged, recwarn, name):
    module, example = network(name), pictures(1)
    kind, cls, numbers = NETWORKS[name]
    with unchanged(module):
        blocks = find_blocks(module, example)
    assert not recwarn.list
    assert [(block.stage, block.index) for block in blocks] == numbers
    assert [block.label for block in blocks] == [f"{kind}_{stage}_{index}" for stage, index in numbers]
    assert {block.kind for block in blocks} == {kind}

    expected = [(path, shape) for path, part, shape in trace(module, example)
                if f"{type(part).__module__}:{type(part).__qualname__}" == cls]
    assert [(block.name, block.channels) for block in blocks] == [(path, shape[1]) for path, shape in expected]
    for block, (path, shape) in zip(blocks, expected):
        unit = re.search(r"layer(\d)\.(\d+)\.", path)
        assert block.stage == (int(unit[1]) + 1 if unit else round(math.log2(64 / shape[-1])))
        branches, kernels = {"SK": (2, (3, 5)), "SplitAttn": (2, None)}.get(kind, (1, None))
        assert (block.branches, block.kernels, block.output) == (branches, kernels, path)
        assert block.input == (path if branches == 1 else None)
        # its sigmoid is a function call, which no module's output shows
        assert block.gate is None if cls.endswith("LightChannelAttn") else block.gate.startswith(path + ".")
        assert len(block.paths) == (2 if kind == "SK" else 0)


@pytest.mark.parametrize("name, first_of_stage_2_projects", [
    ("timm/seresnet18", False), ("timm/legacy_seresnet18", False), ("timm/resnet18+ceca", False),
    ("timm/seresnet50", True), ("timm/ecaresnet26t", True), ("slim/se", True),
])
def test_shortcuts_of_residual_units(network, pictures, name, first_of_stage_2_projects):
    """The projection in a stage's first unit (BasicBlocks need none in stage 2), the unit's input in the others."""
    for block in find_blocks(network(name), pictures(1)):
        unit = block.name.rpartition(".")[0]
        projects = block.index == 1 and (block.stage > 2 or first_of_stage_2_projects)
        expected = (f"{unit}.downsample", False) if projects else (unit, True)
        assert (block.shortcut, block.shortcut_is_input) == expected


@pytest.mark.parametrize("name", ["slim/sk", "timm/skresnet18", "timm/efficientnet_b0", "timm/eca_nfnet_l0",
                                  "timm/regnety_002", "torchvision/mobilenet_v3_small", "timm/ese_vovnet19b_dw"])
def test_no_shortcut_where_none_is_added_directly(network, pictures, name):
    assert {block.shortcut for block in find_blocks(network(name), pictures(1))} == {None}


@pytest.mark.parametrize("name", ["timm/gcresnext26ts", "timm/resnet18", "torchvision/mobilenet_v2"])
def test_networks_without_channel_gates(network, pictures, recwarn, name):
    assert find_blocks(network(name), pictures(1)) == []
    assert not recwarn.list


class Unit(nn.Module):
    """activation(gate(conv(x)) · scale + x)."""

    def __init__(self, gate, activation=None, scale=1.0):
        super().__init__()
        self.conv, self.gate, self.activation = nn.Conv2d(16, 16, 3, padding=1), gate, activation or nn.Identity()
        self.scale = scale

    def forward(self, x):
        return self.activation(self.gate(self.conv(x)) * self.scale + x)


class Net(nn.Module):
    """A network as a user would write it: stem, parts, pool, head."""

    def __init__(self, *parts, channels=16):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, 2, 1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
        self.parts = nn.Sequential(*parts)
        self.head = nn.Linear(channels, 5)

    def forward(self, x):
        return self.head(self.parts(self.stem(x)).mean((2, 3)))


def test_layers_in_a_network_of_ones_own(pictures):
    net = Net(
        SqueezeExcite(16, 4), SelectiveKernel(16, branches=3), nn.MaxPool2d(2), SelectiveKernel(16, dilated=False),
        torchvision.ops.SqueezeExcitation(16, 4), timm.layers.EcaModule(16), nn.MaxPool2d(2),
        SqueezeExcite(16, fc="conv"))
    blocks = find_blocks(net, pictures(1))
    assert [block.label for block in blocks] == ["SE_1_1", "SK_1_2", "SK_2_1", "SE_2_2", "ECA_2_3", "SE_3_1"]
    assert [block.name for block in blocks] == [f"parts.{i}" for i in (0, 1, 3, 4, 5, 7)]
    assert [block.kernels for block in blocks] == [None, (3, 5, 7), (3, 5), None, None, None]
    assert [block.branches for block in blocks] == [1, 3, 2, 1, 1, 1]


def test_gather_excite(pictures):  # which timm's own networks cannot make with its defaults
    block, = find_blocks(Net(timm.layers.GatherExcite(16, extent=0, use_mlp=False)), pictures(1))
    assert (block.label, block.name, block.gate, block.input) == ("GE_1_1", "parts.0", "parts.0.gate", "parts.0")


def test_order_is_that_of_execution_not_of_definition(pictures):
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.late, self.early = SqueezeExcite(3, 1), SqueezeExcite(3, 1)

        def forward(self, x):
            return self.late(self.early(x)).mean((2, 3))

    assert [block.name for block in find_blocks(Backwards(), pictures(1))] == ["early", "late"]


def test_two_gates_in_one_unit_have_two_labels(pictures):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer1 = nn.Sequential(nn.Sequential(SqueezeExcite(16), nn.Conv2d(16, 16, 1), SqueezeExcite(16)))
            self.stem = nn.Conv2d(3, 16, 3)

        def forward(self, x):
            return self.layer1(self.stem(x)).mean((2, 3))

    assert [block.label for block in find_blocks(Two(), pictures(1))] == ["SE_2_1", "SE_2_1#2"]


@pytest.mark.parametrize("layer, kernels", [
    (lambda: timm.layers.SelectiveKernel(16, 16, kernel_size=[3, 5, 7], split_input=False), (3, 5, 7)),
    (lambda: timm.layers.SelectiveKernel(16, 16, kernel_size=[3, 5], keep_3x3=False, rd_channels=8), (3, 5)),
    (lambda: SelectiveKernel(16, branches=4, groups=4), (3, 5, 7, 9)),
])
def test_kernels_are_effective_sizes(pictures, layer, kernels):
    block, = find_blocks(Net(layer()), pictures(1))
    assert (block.kernels, block.branches) == (kernels, len(kernels))


@pytest.mark.parametrize("layer, split", [
    (lambda: timm.layers.SelectiveKernel(16, 16, rd_channels=8), True),
    (lambda: timm.layers.SelectiveKernel(16, 16, rd_channels=8, split_input=False), False),
    (lambda: SelectiveKernel(16), False), (lambda: SqueezeExcite(16), False),
])
def test_branches_that_see_different_channels(pictures, layer, split):
    block, = find_blocks(Net(layer()), pictures(1))
    assert block.split_input is split


def test_a_branch_without_a_convolution_has_no_kernel(pictures):
    layer = SelectiveKernel(16)
    layer.branches[1] = nn.AvgPool2d(3, 1, 1)
    block, = find_blocks(Net(layer), pictures(1))
    assert (block.branches, block.kernels) == (2, None)


def test_empty_slots_are_passed_over(pictures):
    class Slots(Net):
        def __init__(self):
            super().__init__(SqueezeExcite(16), nn.Identity())
            self.se = None

    assert [block.name for block in find_blocks(Slots(), pictures(1))] == ["parts.0"]


def test_a_subclass_counts(pictures):
    class Mine(timm.layers.SEModule):
        pass

    assert [(block.name, block.kind) for block in find_blocks(Net(Mine(16)), pictures(1))] == [("parts.0", "SE")]


def test_a_block_that_scales_in_place_counts(pictures, recwarn):
    class InPlace(SqueezeExcite):
        def forward(self, x):
            return x.mul_(self.gate(self.expand(self.relu(self.reduce(x.mean((2, 3))))))[:, :, None, None])

    net = Net(Unit(InPlace(16)))
    block, = find_blocks(net, pictures(1))
    assert (block.name, block.shortcut) == ("parts.0.gate", "parts.0")
    assert not recwarn.list


def test_a_module_that_never_fires_is_no_block(pictures):
    class Unused(Net):
        def __init__(self):
            super().__init__(SqueezeExcite(16))
            self.decoy = SqueezeExcite(16)

    assert [block.name for block in find_blocks(Unused(), pictures(1))] == ["parts.0"]


@pytest.mark.parametrize("change, gain", [
    (lambda x, out: out + 0.1 * x, 1.0), (lambda x, out: 2 * out, 2.0), (lambda x, out: out.flip(1), 1.0),
    (lambda x, out: out.mean((2, 3)), 1.0), (lambda x, out: out[:, :8], 1.0),
])
def test_what_a_subclass_does_afterwards_is_no_part_of_the_gate(pictures, change, gain):
    class Other(timm.layers.SEModule):
        def forward(self, x):
            return change(x, super().forward(x))

    class Around(Net):
        def __init__(self):
            super().__init__(SqueezeExcite(16))
            self.other = Other(16)

        def forward(self, x):
            x = self.stem(x)
            self.other(x)
            return self.head(self.parts(x).mean((2, 3)))

    net = Around()
    other, inner = find_blocks(net, pictures(1))
    assert (other.name, other.gate, other.output, other.gain) == ("other#0", "other.gate", None, gain)
    assert inner.name == "parts.0"
    view = inspect(net, pictures(2), features=[("other#0", "input"), ("other#0", "output")])
    torch.testing.assert_close(view.features["other#0", "input"] * view.gates["other#0"].transpose(1, 2)[..., None],
                               view.features["other#0", "output"])


def test_a_shared_block_is_one_at_each_place(pictures, unchanged):
    shared = SqueezeExcite(16)
    net = Net(nn.Sequential(shared), nn.ReLU(), shared)
    with unchanged(net):
        blocks = find_blocks(net, pictures(1))
    assert [block.name for block in blocks] == ["parts.0.0@0", "parts.0.0@1"]
    assert {block.path for block in blocks} == {"parts.0.0"}
    assert len({block.label for block in blocks}) == 2


@pytest.mark.parametrize("unit", [
    lambda: Unit(SqueezeExcite(16)), lambda: Unit(SqueezeExcite(16), nn.ReLU(inplace=True)),
    lambda: Unit(SqueezeExcite(16), nn.Tanh()), lambda: Unit(nn.Sequential(SqueezeExcite(16))),
])
def test_shortcut(pictures, unit):
    block, = find_blocks(Net(unit()), pictures(1))
    assert (block.shortcut, block.shortcut_is_input) == ("parts.0", True)


@pytest.mark.parametrize("unit", [
    lambda: Unit(SqueezeExcite(16), scale=0.2), lambda: Unit(SqueezeExcite(16), scale=-1.0),
    lambda: nn.Sequential(nn.Conv2d(16, 16, 1), SqueezeExcite(16)),
])
def test_no_shortcut_where_the_sum_is_another(pictures, unit):
    block, = find_blocks(Net(unit()), pictures(1))
    assert block.shortcut is None


class Add(nn.Module):
    """A sum that is a module, with a norm of its own or without."""

    def __init__(self, then: nn.Module | None = None):
        super().__init__()
        self.then = then or nn.Identity()

    def forward(self, one, other):
        return self.then(one + other)


@pytest.mark.parametrize("sum_of, shortcut", [
    (lambda add, x, branch: x + branch, "parts.1"), (lambda add, x, branch: add(x, branch), "parts.1.add"),
    (lambda add, x, branch: add(branch, x), "parts.0")])
def test_what_the_next_unit_adds_to_a_blocks_output_is_not_its_shortcut(pictures, sum_of, shortcut):
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.gate, self.add = nn.Conv2d(16, 16, 3, padding=1), SqueezeExcite(16), Add()

        def forward(self, x):
            return sum_of(self.add, x, self.gate(self.conv(x)))

    blocks = find_blocks(Net(SqueezeExcite(16), Residual()), pictures(1))
    assert [(block.name, block.shortcut) for block in blocks] == [("parts.0", None), ("parts.1.gate", shortcut)]


@pytest.mark.parametrize("then", [None, nn.BatchNorm2d(16)])
@pytest.mark.parametrize("swapped, shortcut, is_input", [(False, "parts.0.down", False), (True, "parts.0.add", True)])
def test_shortcut_of_a_sum_that_is_a_module(pictures, swapped, shortcut, is_input, then):
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.down, self.add = SqueezeExcite(16), nn.Conv2d(16, 16, 1), Add(then)

        def forward(self, x):
            return self.add(*(self.down(x), self.gate(x)) if swapped else (self.gate(x), self.down(x)))

    block, = find_blocks(Net(Residual()), pictures(1))
    assert (block.shortcut, block.shortcut_is_input) == (shortcut, is_input)


@pytest.mark.parametrize("scale, found", [(1.0, True), (0.5, False)])
def test_a_faint_branch_is_held_to_its_own_size(pictures, scale, found):
    unit = Unit(SqueezeExcite(16), scale=scale)
    with torch.no_grad():
        unit.conv.weight *= 1e-4
        unit.conv.bias *= 1e-4
    block, = find_blocks(Net(unit), pictures(1))
    assert (block.shortcut is not None) == found


def test_half_precision(pictures):
    net = Net(
        Unit(SqueezeExcite(16), nn.ReLU()), SelectiveKernel(16, branches=4),
        timm.layers.SelectiveKernel(16, 16, kernel_size=[3, 5, 7], split_input=False)).to(torch.bfloat16)
    blocks = find_blocks(net, pictures(1))  # the example may be float32
    assert [block.kind for block in blocks] == ["SE", "SK", "SK"]
    assert blocks[0].shortcut_is_input


def test_the_network_fails_on_the_example(pictures, unchanged):
    net = Net(SqueezeExcite(16))
    words = r"Net fails on .* \(1, 1, 8, 8\) in stem\.0 \(Conv2d\): .*channels"
    with unchanged(net), pytest.raises(ValueError, match=words):
        find_blocks(net, torch.rand(1, 1, 8, 8))


@pytest.mark.parametrize("shape", [(64, 64), (0, 3, 64, 64), (1, 3, 2, 2, 64, 64)])
def test_an_example_of_the_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"an example has the shape \(N, channels, height, width\)"):
        find_blocks(Net(SqueezeExcite(16)), torch.rand(shape))


def test_a_network_without_values(pictures):
    with torch.device("meta"):
        net = Net(SqueezeExcite(16))
    with pytest.raises(ValueError, match=r"Net has no values.* meta"):
        find_blocks(net, pictures(1))


def test_a_network_whose_values_were_taken_away_after_it_was_watched():
    net = torchvision.models.efficientnet_b0().eval()
    inspect(net, torch.rand(1, 3, 64, 64))
    with pytest.raises(ValueError, match=r"EfficientNet has no values.* meta"):
        inspect(net.to("meta"), torch.rand(1, 3, 64, 64))


def test_the_training_mode_of_the_moment_does_not_matter(network, pictures, unchanged):
    module = network("slim/se")
    expected = find_blocks(module, pictures(1))
    module.train()
    try:
        with unchanged(module):
            assert find_blocks(module, pictures(1)) == expected
    finally:
        module.eval()


def forwards(module) -> list:
    calls = []
    module.register_forward_pre_hook(lambda *_: calls.append(1))
    return calls


def test_blocks_are_found_once(pictures):
    net = Net(SqueezeExcite(16), nn.Identity())
    calls = forwards(net)
    first = blocks_of(net, pictures(1))
    first.clear()  # the caller's list is the caller's
    assert [block.name for block in blocks_of(net, pictures(1))] == ["parts.0"]
    assert len(calls) == 1


def test_blocks_are_found_anew_when_one_is_replaced(pictures):
    net = Net(SqueezeExcite(16), nn.Identity())
    blocks_of(net, pictures(1))
    net.parts[1] = SelectiveKernel(16)
    assert [block.kind for block in blocks_of(net, pictures(1))] == ["SE", "SK"]
    net.parts[0] = nn.Identity()
    assert [block.kind for block in blocks_of(net, pictures(1))] == ["SK"]


class Larger(nn.Module):
    """Has a second block for larger pictures alone, and none at all once it is told so."""

    def __init__(self):
        super().__init__()
        self.stem, self.on = nn.Conv2d(3, 16, 3, 2, 1), True
        self.first, self.second = SqueezeExcite(16), SqueezeExcite(16)

    def forward(self, x):
        x = self.stem(x)
        x = self.first(x) if self.on else x
        return self.second(x) if x.shape[-1] > 16 else x


def test_what_is_found_anew_is_what_others_look_at():
    net, small, large = Larger(), torch.rand(1, 3, 32, 32), torch.rand(2, 3, 64, 64)
    assert list(inspect(net, small).gates) == ["first"]
    assert [block.name for block in find_blocks(net, large)] == ["first", "second"]
    assert list(inspect(net, large).gates) == ["first", "second"]
    with pytest.raises(RuntimeError, match=r"^the gate of second was reached 0 times .*find_blocks\(network, batch\)"):
        inspect(net, small)
    net.on = False
    assert [block.name for block in find_blocks(net, large)] == ["second"]
    assert list(inspect(net, large).gates) == ["second"]


def test_a_compiled_network_is_searched_eagerly(network, pictures):
    module = network("slim/se")
    compiled = torch.compile(module, backend=lambda *_: pytest.fail("compiled"))
    assert find_blocks(compiled, pictures(1)) == find_blocks(module, pictures(1))
    model = Model(compiled, lambda image: torch.zeros(3, 64, 64), ["class"] * 10)
    assert model.stages == {f"Stage {i + 1}": f"layer{i}" for i in range(1, 5)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_to_module(dtype):
    assert to_module(torch.rand(1, 3, 8, 8), nn.Conv2d(3, 3, 1).to(dtype)).dtype == dtype
    batch = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    assert to_module(batch, nn.ReLU()) is batch


@pytest.mark.parametrize("name", NETWORKS)
def test_squeeze(network, name):
    """The module that ``squeeze`` names is given the mean over space of what the gate multiplies."""
    module = network(name)
    example = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(3))
    blocks = find_blocks(module, example)
    given, handles = {}, []
    inspect(module, example)
    # a convolution that is given z with a margin from its other end; a sum weighted over pixels; layers that are given
    # the mean and the maximum together
    if name.endswith(("+ceca", "+gc", "+lcbam")):
        assert {block.squeeze for block in blocks} == {None}
        return
    for block in blocks:
        path, number = part_and_call(block.squeeze)
        assert path.startswith(block.name + ".")
        assert number == (0 if name.endswith("cbam") else None)  # its layers are given the mean, and then the maximum
        handles.append(module.get_submodule(path).register_forward_pre_hook(
            lambda _, args, name=block.name: given.setdefault(name, []).append(args[0].flatten(1).clone())))
    view = inspect(module, example, features=[(block.name, "input") for block in blocks])
    for handle in handles:
        handle.remove()
    for block in blocks:
        expected = view.features[block.name, "input"].mean((2, 3))
        torch.testing.assert_close(given[block.name][0], expected, rtol=1e-3, atol=1e-4)


class Small(nn.Module):
    def __init__(self, se=None):
        super().__init__()
        self.stem, self.se, self.head = nn.Conv2d(3, 8, 3, 2, 1), se or SqueezeExcite(8), nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.se(self.stem(x)).mean((2, 3)))


class InAThread(Small):
    def forward(self, x):
        outputs = []
        thread = threading.Thread(target=lambda: outputs.append(super(InAThread, self).forward(x)))
        thread.start()
        thread.join()
        return outputs[0]


class Lazy(Small):
    def __init__(self):
        super().__init__()
        self.stem = nn.LazyConv2d(8, 3, 2, 1)


NOT_WATCHED = {
    "a script": (lambda: torch.jit.script(Plain().eval()), "TorchScript network .* that it was made from"),
    "a trace": (lambda: torch.jit.trace(Small().eval(), torch.rand(1, 3, 16, 16)), "TorchScript network"),
    "an exported program": (lambda: torch.export.export(Small().eval(), (torch.rand(1, 3, 16, 16),)),
                            "exported program"),
    "its module": (lambda: torch.export.export(Small().eval(), (torch.rand(1, 3, 16, 16),)).module(),
                   "exported program"),
    "quantised": (lambda: torchvision.models.quantization.mobilenet_v3_large(weights=None, quantize=True),
                  "statically quantised"),
    "lazy": (Lazy, "lazy layers without values"),
    "in a thread": (InAThread, "runs its parts in other threads"),
    "a state_dict": (lambda: Small().state_dict(), "holds weights and no network"),
    "no network": (lambda: "resnet50", "an nn.Module or a senet_viz.Model, not str"),
}


class Plain(nn.Module):
    """What a script can be made of."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.conv(x).mean((2, 3))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("case", NOT_WATCHED)
def test_networks_whose_parts_cannot_be_watched(case):
    make, words = NOT_WATCHED[case]
    module = make()
    for call in (find_blocks, inspect):
        with pytest.raises(ValueError, match=words):
            call(module, torch.rand(1, 3, 16, 16))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*TorchScript:UserWarning")
def test_a_scripted_part_does_not_lose_the_rest(unchanged):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.scripted, self.second = Small(), torch.jit.script(Plain().conv), SqueezeExcite(8)
            self.first.stem.in_channels = 3
            self.up = nn.Conv2d(4, 8, 1)

        def forward(self, x):
            return self.first(x) + self.second(self.up(self.scripted(x))).mean((2, 3))[:, :5]

    net, batch = Two().eval(), torch.rand(2, 3, 16, 16)
    with unchanged(net):
        view = inspect(net, batch)
    assert list(view.gates) == ["first.se", "second"]
    torch.testing.assert_close(view.gates["second"], inspect(nn.Sequential(net.up, net.second), net.scripted(
        batch).detach()).gates["1"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_gates_in_scripts_are_said_to_be_unseen(recwarn):
    gate = SqueezeExcite(8)
    script, other = (torch.jit.trace(gate, torch.rand(1, 8, 4, 4)) for _ in range(2))
    net = nn.Sequential(nn.Conv2d(3, 8, 1), script, nn.Sequential(nn.ReLU(), other, script))
    assert len(find_blocks(nn.Sequential(net[0], gate), torch.rand(1, 3, 8, 8))) == 1
    recwarn.clear()
    assert find_blocks(net, torch.rand(1, 3, 8, 8)) == []
    warning, = [warning for warning in recwarn if warning.category is UserWarning]
    assert str(warning.message) == "Sequential has parts that are TorchScript (1, 2.1): gates in them are not seen."


def test_a_network_traced_by_fx_is_watched():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Sigmoid())

        def forward(self, x):
            return x * self.fc(x)

    net, batch = Small(Gate()).eval(), torch.rand(1, 3, 16, 16)
    view, = inspect(torch.fx.symbolic_trace(net), batch).gates.values()
    assert torch.equal(view, inspect(net, batch).gates["se"])


def test_arrays_are_pictures_too():
    net, batch = Small().eval(), torch.rand(2, 3, 16, 16)
    assert torch.equal(inspect(net, batch.numpy()).gates["se"], inspect(net, batch).gates["se"])
    assert [block.name for block in find_blocks(net, batch.numpy())] == ["se"]
