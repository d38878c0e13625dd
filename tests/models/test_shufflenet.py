import pytest
import torch
from torch import nn

from senet_viz.models.mac_count import macs
from senet_viz.models.shufflenet import ShuffleNet, ShuffleUnit


def test_size():
    network = ShuffleNet()
    # the paper's 138 million multiply-additions (Table 2), and the widths of its Table 1 for three groups
    assert macs(network) / 1e6 == pytest.approx(138, rel=0.01)
    assert [getattr(network, f"layer{i}")[-1].conv3.out_channels for i in (1, 2, 3)] == [240, 480, 960]
    assert network.eval()(torch.rand(1, 3, 64, 64)).shape == (1, 1000)


def test_every_output_sees_every_group():
    unit = ShuffleUnit(12, 12, 1, groups=3, first_groups=3).eval()
    nn.init.ones_(unit.conv1.weight)
    x = torch.rand(1, 12, 3, 3, requires_grad=True)
    branch = unit.shuffle(unit.conv1(x))
    # groups of one channel each after the shuffle: the i-th is of the i-th group, as the paper's Fig. 1 (c)
    assert [int(torch.autograd.grad(branch[:, i].sum(), x, retain_graph=True)[0].any((0, 2, 3)).nonzero()[0]) // 4
            for i in range(3)] == [0, 1, 2]


@torch.inference_mode()
def test_stride_2_puts_the_branch_beside_the_input():
    unit = ShuffleUnit(12, 24, 2, groups=3, first_groups=1).eval()
    x = torch.rand(2, 12, 6, 6)
    out = unit(x)
    assert out.shape == (2, 24, 3, 3)
    torch.testing.assert_close(out[:, :12], nn.functional.avg_pool2d(x, 3, 2, 1))
    assert not torch.equal(out[:, 12:], out[:, :12])
