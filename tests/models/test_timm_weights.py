import pytest
import timm
import torch
from timm.layers.selective_kernel import SelectiveKernelAttn
from timm.models.senet import SEModule

from senet_viz.layers import SelectiveKernel, SqueezeExcite
from senet_viz.models import from_timm
from senet_viz.models.networks import NETWORKS
from senet_viz.models.timm_weights import TWINS

GATES = {  # a block → the submodule that gives its gate
    SqueezeExcite: lambda block: block.gate, SelectiveKernel: lambda block: block.gate,
    SEModule: lambda block: block.sigmoid, SelectiveKernelAttn: lambda block: block,
}
BLOCKS = {"se_resnet50": 16, "se_resnet101": 33, "se_resnet152": 50, "se_resnext50_32x4d": 16, "senet154": 50,
          "sknet50": 16}


@pytest.mark.parametrize("name", TWINS.keys() - BLOCKS.keys())
def test_keys_and_shapes(name):
    with torch.device("meta"):
        ours, theirs = NETWORKS[name](), timm.create_model(TWINS[name])
    assert {key: value.shape for key, value in ours.state_dict().items()} == {
        key: value.shape for key, value in from_timm(theirs.state_dict()).items()}


# 75: odd maps before the pooling
@pytest.mark.parametrize(("name", "side"), [
    ("se_resnet50", 64), ("se_resnet50", 75), ("se_resnet101", 33), ("se_resnet152", 33), ("se_resnext50_32x4d", 64),
    ("senet154", 33), ("sknet50", 64)])
@torch.no_grad()
def test_logits_and_gates_equal_timm(name, side, with_weights):
    with torch.device("meta"):
        ours, theirs = NETWORKS[name](), timm.create_model(TWINS[name])
    with_weights(theirs)
    ours.load_state_dict(from_timm(theirs.state_dict()), assign=True)
    gates, expected = [], []
    for network, kept in ((ours, gates), (theirs, expected)):
        for part in network.modules():
            part = GATES.get(type(part), lambda _: None)(part)
            if part is not None:
                part.register_forward_hook(lambda _, args, gate, kept=kept: kept.append(gate.flatten(1)))
    x = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    logits = theirs(x)
    assert 1e-2 < logits.std() < 1e4
    torch.testing.assert_close(ours.eval()(x), logits, rtol=1e-4, atol=1e-4 * min(1, float(logits.abs().max())))
    assert len(gates) == len(expected) == BLOCKS[name]
    for ours, theirs in zip(gates, expected):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
        assert theirs.std() > 1e-4
