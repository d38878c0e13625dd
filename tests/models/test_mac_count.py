import pytest
import torch
from torch import nn

from senet_viz.models import macs, se_resnet50, senet154, sknet50


def test_equals_counting_by_hand():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 12, 3, groups=4), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 5))
    # positions · output channels · kernel · input channels of a group
    expected = 8 * 5 * 8 * 9 * 3 + 6 * 3 * 12 * 9 * 2 + 12 * 5
    assert macs(network, (16, 10)) == expected


@pytest.mark.parametrize(("make", "giga"), [(se_resnet50, 3.86), (senet154, 20.69), (sknet50, 4.463)])
def test_the_papers(make, giga):
    with torch.device("meta"):
        network = make()
    assert macs(network, (224, 224)) / 1e9 == pytest.approx(giga, rel=2e-3)


def test_leaves_the_network_as_it_was():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1)).double().train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert macs(network, (3, 3)) == 4 * 9 * 3
    assert all(part.training and not part._forward_hooks for part in network.modules())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
