import torch
from torch import nn

from senet_viz.models.meta import on_meta
from senet_viz.models.resnet import slim_resnet50


def test_shapes_and_no_values():
    expected = slim_resnet50("sk", num_classes=3, widths=(4, 4, 8, 8)).state_dict()
    with on_meta():
        found = slim_resnet50("sk", num_classes=3, widths=(4, 4, 8, 8)).state_dict()
    assert {name: (value.shape, value.dtype) for name, value in found.items()} == {
        name: (value.shape, value.dtype) for name, value in expected.items()}
    assert all(value.is_meta for value in found.values())


def test_a_network_may_count_with_tensors():
    """Its widths, say; and with tensors of a device that it names itself, which stay where it wants them."""
    with on_meta():
        widths = (torch.arange(3) * torch.tensor(8) + torch.tensor([1, 2, 3])).tolist()
        assert nn.Linear(1, widths[-1]).weight.shape == (19, 1)
        assert torch.arange(3, device="meta").is_meta and nn.BatchNorm2d(3).num_batches_tracked.is_meta
    assert widths == [1, 10, 19]


def test_nothing_is_drawn_there_and_all_elsewhere():
    before = torch.random.get_rng_state()
    with on_meta():
        nn.Linear(3, 4)
        nn.init.normal_(torch.empty(3))
        assert torch.equal(torch.random.get_rng_state(), before)
        values = torch.empty(1000, device="cpu").normal_()
    assert 0.8 < values.std() < 1.2
    layer = nn.Linear(1000, 1)
    assert layer.weight.device.type == "cpu" and 0 < layer.weight.std() < 1
