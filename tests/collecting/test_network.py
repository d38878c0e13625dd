import copy
import re
from dataclasses import replace

import pytest
import timm
import torch
import torchvision
from timm.layers import BatchNormAct2d
from torch import nn

import senet_viz as sv
from senet_viz.collecting.network import PRECISIONS, GateNetwork, hardware, private_copy
from senet_viz.gates import find_blocks, inspect
from senet_viz.layers import SqueezeExcite
from senet_viz.models.identity import weights_hash
from tests.gates.test_search import FORMS, SKConv, SKInUnit
from tests.gates.test_search import Net as InlineNet

CPU = torch.device("cpu")


def state(module: nn.Module) -> dict:
    """Everything that somebody who uses the network could notice."""
    found = {path: (part.training, len(part._forward_hooks), len(part._forward_pre_hooks))
             for path, part in module.named_modules()}
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        found["tensor " + name] = (tensor.requires_grad, tensor.dtype, tensor.stride(), tensor.data_ptr(),
                                   tensor._version)
    return found


def gates_of(module: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    view = sv.record(module, batch)
    return torch.cat([view.gates[block.name].flatten(1) for block in view.blocks], 1)


@pytest.mark.parametrize("attention", ["se", "sk", "se+sk"])
def test_logits_gates_and_squeezed_inputs(network, batch, attention):
    model = network(attention)
    points = [(block.name, "input") for block in model.blocks]
    view = sv.inspect(model, batch, features=points)
    logits, gates, squeezed, _ = GateNetwork(model.module, model.blocks, CPU, "fp32")(batch)
    assert logits.dtype == gates.dtype == squeezed.dtype == torch.float32
    torch.testing.assert_close(logits, view.logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gates, gates_of(model.module, batch), rtol=0, atol=1e-6)
    means = torch.cat([view.features[point].mean((2, 3)) for point in points], 1)
    torch.testing.assert_close(squeezed, means, rtol=1e-5, atol=1e-5)


class Own(nn.BatchNorm2d):
    """A norm that computes for itself."""

    def forward(self, x):
        return x * self.weight[:, None, None]


class NAM(nn.Module):
    """Normalisation-based attention (Liu et al., 2021), which weighs channels by the weights of a norm."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        weights = self.norm.weight.abs() / self.norm.weight.abs().sum()
        return (self.norm(x) * weights[:, None, None]).sigmoid() * x


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_batch_norms_compute_with_float32(precision):
    """torch's and timm's; who reads their weights, and a norm that computes for itself, finds them in the precision."""
    dtype = PRECISIONS[precision]
    norms = [nn.BatchNorm2d(8), nn.SyncBatchNorm(8), BatchNormAct2d(8, act_layer=nn.PReLU),
             nn.BatchNorm2d(8, affine=False), nn.BatchNorm2d(8, track_running_stats=False)]
    module = nn.Sequential(nn.Conv2d(3, 8, 1), *norms, Own(8), NAM(8)).eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for norm in [*norms, module[-1].norm]:
            for values in (norm.weight, norm.running_mean, norm.running_var):
                if values is not None:
                    nn.init.uniform_(values, 0.5, 1.5)
        maps = torch.randn(4, 8, 6, 6).to(dtype)
    rounded = private_copy(module, CPU, precision)
    assert {values.dtype for values in [*rounded.parameters(), module[-1](maps.float()).to(dtype)]} == {dtype}
    with torch.no_grad():
        for norm, copied in zip(norms, rounded[1:]):
            assert torch.equal(copied(maps), norm(maps.float()).to(dtype)) or isinstance(norm, BatchNormAct2d)
            torch.testing.assert_close(copied(maps).float(), norm(maps.float()), rtol=2e-2, atol=2e-2)
        assert torch.equal(rounded[-2](maps), maps * module[-2].weight.to(dtype)[:, None, None])
        torch.testing.assert_close(rounded[-1](maps).float(), module[-1](maps.float()), rtol=2e-2, atol=2e-2)
        assert rounded(torch.randn(2, 3, 6, 6).to(dtype)).dtype == dtype


def test_outputs_that_hold_logits(network, batch):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network("se").module

        def forward(self, x):
            return self.inner(x), x

    module = Wrapped()
    logits, gates, *_ = GateNetwork(module, find_blocks(module, batch), CPU, "fp32")(batch)
    expected = GateNetwork(module.inner, network("se").blocks, CPU, "fp32")(batch)
    assert torch.equal(logits, expected[0])
    assert torch.equal(gates, expected[1])


@pytest.mark.parametrize("form", ["inline", "in a unit", "concatenated"])
def test_gates_that_no_module_gives(form):
    module = InlineNet({"inline": FORMS["inline"][0], "in a unit": SKInUnit, "concatenated": SKConv}[form])
    batch = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    blocks = find_blocks(module, batch)
    logits, gates, squeezed, _ = GateNetwork(module, blocks, CPU, "fp32")(batch)
    view = inspect(module, batch, features=[(block.name, "input") for block in blocks])
    torch.testing.assert_close(logits, view.logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gates, torch.cat([view.gates[block.name].flatten(1) for block in blocks], 1))
    torch.testing.assert_close(squeezed, torch.cat([view.features[block.name, "input"].mean((2, 3))
                                                    for block in blocks], 1))


@pytest.mark.parametrize("attention", ["se", "sk"])
def test_squeezed_inputs_that_no_module_is_given(network, batch, attention):
    """They are then the means of the block's input, or of its branches."""
    model = network(attention)
    assert all(block.squeeze for block in model.blocks)
    given = GateNetwork(model.module, model.blocks, CPU, "fp32")(batch)[2]
    blocks = [replace(block, squeeze=None) for block in model.blocks]
    torch.testing.assert_close(GateNetwork(model.module, blocks, CPU, "fp32")(batch)[2], given)


def test_the_mean_also_where_a_block_squeezes_by_the_maximum(network, batch):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), SqueezeExcite(8, squeeze="max"), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    [block] = network("max", module).blocks
    squeezed = GateNetwork(module, [block], CPU, "fp32")(batch)[2]
    torch.testing.assert_close(squeezed, module[0](batch).mean((2, 3)).detach())


@pytest.mark.parametrize("name", [
    "seresnet18", "ecaresnet26t", "skresnet18", "mobilenetv3_small_050", "torchvision mobilenet_v3_small"])
def test_networks_of_others(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = (torchvision.models.get_model(name.split()[1]) if " " in name else timm.create_model(name)).eval()
    batch = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    blocks = find_blocks(module, batch[:1])
    assert blocks
    before = state(module)
    logits, gates, squeezed, _ = GateNetwork(module, blocks, CPU, "fp32")(batch)
    assert state(module) == before
    assert logits.shape == (2, 1000)
    assert squeezed.shape == (2, sum(block.channels for block in blocks))
    torch.testing.assert_close(gates, gates_of(module, batch), rtol=0, atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_original_is_left_alone(network, batch, precision):
    module = copy.deepcopy(network("se+sk").module)
    module.layer1[0].conv1.train()
    module.fc.bias.requires_grad_(False)
    before = state(module)
    private = GateNetwork(module, network("se+sk").blocks, CPU, precision)
    _, gates, *_ = private(batch)
    assert state(module) == before
    assert gates.dtype == torch.float32
    assert not any(p.requires_grad for p in private.module.parameters())
    with torch.no_grad():
        module.fc.bias.add_(100)
    assert float(private(batch)[0].abs().max()) < 100


def test_hooks_that_others_have_set_stay_theirs(network, batch):
    """The app records from a network while its statistics are collected."""
    module = copy.deepcopy(network("se").module)
    calls = []
    module.layer1.register_forward_hook(lambda *_: calls.append(1))
    private = GateNetwork(module, network("se").blocks, CPU, "fp32")
    first = private(batch)
    module(batch)
    second = private(batch)
    assert all(map(torch.equal, first, second))


def test_half_precision_is_near(network, batch):
    model = network("se+sk")
    exact = GateNetwork(model.module, model.blocks, CPU, "fp32")(batch)[1]
    for precision, tolerance in (("bf16", 0.15), ("fp16", 0.02)):
        half = GateNetwork(model.module, model.blocks, CPU, precision)(batch)[1]
        assert 0 < float((half - exact).abs().max()) < tolerance


def test_a_wrapper_of_torch_compile_is_looked_into(network, batch):
    model = network("se")
    wrapped = torch.compile(model.module)
    assert weights_hash(wrapped) == weights_hash(model.module)
    gates = GateNetwork(wrapped, model.blocks, CPU, "fp32")(batch)[1]
    assert torch.equal(gates, GateNetwork(model.module, model.blocks, CPU, "fp32")(batch)[1])


# the identity of weights

def test_weights_hash(network):
    module = network("se").module
    known = weights_hash(module)
    assert len(known) == 64
    assert weights_hash(copy.deepcopy(module).to(memory_format=torch.channels_last)) == known
    for name in module.state_dict():
        other = copy.deepcopy(module)
        with torch.no_grad():
            other.state_dict()[name].flatten()[-1:].add_(1)
        assert (weights_hash(other) == known) == name.endswith("num_batches_tracked"), name
    assert weights_hash(copy.deepcopy(module).half()) != known


def test_weights_hash_does_not_depend_on_the_order_of_the_parts():
    a, b = nn.Linear(2, 3), nn.BatchNorm1d(3)
    left, right = nn.Module(), nn.Module()
    left.a, left.b = a, b
    right.b, right.a = b, a
    assert list(left.state_dict()) != list(right.state_dict())
    assert weights_hash(left) == weights_hash(right)
    right.a, right.b = nn.Linear(3, 2), b
    assert weights_hash(left) != weights_hash(right)


def test_hardware(monkeypatch):
    name = hardware(CPU)
    level = torch.backends.cpu.get_cpu_capability()
    assert re.fullmatch(rf"cpu {level} [0-9a-f]{{8}}, float32 matrix products ieee, convolutions ieee", name)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    assert hardware(CPU) != name
    monkeypatch.undo()
    torch.set_float32_matmul_precision("medium")
    try:
        assert hardware(CPU) == name.replace("products ieee", "products bf16")
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(("part", "said"), [("matmul", "products bf16, convolutions ieee"),
                                            ("conv", "products ieee, convolutions bf16")])
def test_hardware_where_torchs_newer_settings_are_used(part, said):
    """With which its older ones cannot be read any more."""
    setting = getattr(torch.backends.mkldnn, part)
    setting.fp32_precision = "bf16"
    try:
        assert hardware(CPU).endswith(said)
    finally:
        setting.fp32_precision = "none"
