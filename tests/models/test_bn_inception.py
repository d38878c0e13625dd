import pytest
import torch
from torch import nn

from senet_viz.models import se_bn_inception
from senet_viz.models.bn_inception import BNInception, Inception

WIDTHS = [256, 320, 576, 576, 576, 608, 608, 1056, 1024, 1024]  # 3a to 5b


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameters_and_gates():
    with torch.device("meta"):
        plain, network = BNInception(), se_bn_inception()
    assert count(network) == 11_931_622
    assert count(network) - count(plain) == sum(2 * c * (c // 16) + c // 16 + c for c in WIDTHS)
    gates = [network.get_submodule(f"{name}.1") for name, _ in network.named_children() if name.startswith("inception")]
    assert [gate.expand.out_features for gate in gates] == WIDTHS
    assert [gate.reduce.out_features for gate in gates] == [c // 16 for c in WIDTHS]


@torch.inference_mode()
def test_sizes_of_the_maps():
    network, sides = BNInception(7).eval(), {}
    for name, module in network.named_children():
        module.register_forward_hook(lambda _, args, output, name=name: sides.__setitem__(name, output.shape[1:]))
    assert network(torch.rand(1, 3, 224, 224)).shape == (1, 7)
    assert sides["stem"] == (192, 28, 28)
    assert [sides[f"inception_{name}"] for name in ("3c", "4e", "5b")] == [(576, 14, 14), (1056, 7, 7), (1024, 7, 7)]


@pytest.mark.parametrize("average", [True, False])
@torch.inference_mode()
def test_branches_stand_side_by_side(average):
    module = Inception(6, 2, (3, 4), (3, 5), 7, average).eval()
    x = torch.randn(2, 6, 5, 5)
    out = module(x)
    assert out.shape == (2, 18, 5, 5)
    torch.testing.assert_close(out[:, :2], module.branches[0](x))
    padded = nn.functional.pad(x, [1] * 4, value=0 if average else -torch.inf).unfold(2, 3, 1).unfold(3, 3, 1)
    pooled = padded.mean((-2, -1)) if average else padded.amax((-2, -1))
    torch.testing.assert_close(out[:, 11:], module.branches[3][1](pooled))


@torch.inference_mode()
def test_a_module_of_stride_2_passes_its_pooled_input_on():
    module = Inception(6, 0, (3, 4), (3, 5), 0, average=False).eval()
    x = torch.randn(2, 6, 8, 8)
    out = module(x)
    assert out.shape == (2, 15, 4, 4)
    torch.testing.assert_close(out[:, 9:], nn.functional.max_pool2d(x, 3, 2, 1))
