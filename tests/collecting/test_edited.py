import copy

import pytest
import torch
from timm.layers import SqueezeExcite
from torch import nn

import senet_viz as sv
from senet_viz.collecting.edited import EditedNetwork
from senet_viz.models import Model

CPU = torch.device("cpu")


def edited_network(model: Model) -> EditedNetwork:
    return EditedNetwork(model.module, model.blocks, CPU, "fp32")


@pytest.mark.parametrize("attention", ["se", "sk", "se+sk"])
def test_the_bits_of_a_whole_forward(network, batch, attention):
    model = network(attention)
    net = edited_network(model)
    plain = net.unedited(batch)
    torch.testing.assert_close(plain, sv.inspect(model, batch).logits)
    for block in model.blocks:
        for value in (0.5, "shuffle images"):
            edits = [sv.Edit(block.label, value)]
            logits = net.edited(edits)
            with sv.edited(Model(net.module, model.transform, model.classes), edits, wait=1) as module, torch.no_grad():
                whole = module(batch.contiguous(memory_format=torch.channels_last))
            assert torch.equal(logits, whole)
            assert not torch.allclose(logits, plain)
    assert torch.equal(net.unedited(batch), plain)


def test_what_lies_before_is_not_computed_again(network, batch):
    model = network("se")
    net, ran = edited_network(model), []
    for path, part in net.module.named_modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(lambda *_, path=path: None)
            forward = part.forward
            part.forward = lambda x, path=path, forward=forward: ran.append(path) or forward(x)
    net.unedited(batch)
    everything = set(ran)
    ran.clear()
    net.edited([sv.Edit("SE_5_1", 1)])
    assert ran
    assert all(path.startswith("layer4.") for path in ran)
    ran.clear()
    net.edited([sv.Edit("SE_5_1", 1), sv.Edit("SE_3_1", 1)])
    assert {path.split(".")[0] for path in ran} == {"layer2", "layer3", "layer4"}
    ran.clear()
    net.unedited(batch)
    assert set(ran) == everything  # nothing was left skipped


class Gate(nn.Module):
    def __init__(self, channels: int, in_place: bool):
        super().__init__()
        self.conv, self.fc, self.sigmoid = nn.Conv2d(channels, channels, 3, 1, 1), nn.Linear(channels, channels), \
            nn.Sigmoid()
        self.in_place = in_place

    def forward(self, x):
        u = self.conv(x)
        u = u * self.sigmoid(self.fc(u.mean((2, 3))))[:, :, None, None]
        if self.in_place:
            x += u  # the output of the unit before is overwritten
            return x
        return x + u


class Shared(nn.Module):
    """Units that run in place, a part that runs twice, gates that are written inline, one of them in the root."""

    def __init__(self, in_place: bool):
        super().__init__()
        self.stem, self.act = nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(inplace=True)
        self.units = nn.Sequential(*(Gate(6, in_place) for _ in range(3)))
        self.norm, self.fc, self.head = nn.BatchNorm2d(6), nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x):
        x = self.act(self.norm(self.stem(x)))
        x = self.act(self.norm(self.units(x)) - 0.1)
        x = x * torch.sigmoid(self.fc(x.mean((2, 3))))[:, :, None, None]
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("in_place", [False, True])
def test_networks_that_change_maps_in_place_and_share_parts(batch, in_place):
    torch.manual_seed(0)
    module = Shared(in_place).eval()
    blocks = sv.find_blocks(module, batch)
    assert len(blocks) == 4
    net = EditedNetwork(module, blocks, CPU, "fp32")
    for _ in range(2):
        net.unedited(batch)
        for edit in [sv.Edit(block.label, 0.3) for block in blocks]:
            got = net.edited([edit])
            with sv.edited(copy.deepcopy(module), [edit], example=batch) as whole, torch.no_grad():
                torch.testing.assert_close(got, whole(batch.clone()))


class Flat(nn.Module):
    """Units without a module of their own, with one activation for all of them."""

    def __init__(self):
        super().__init__()
        self.c1, self.c2, self.c3 = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.se1, self.se2, self.se3 = (SqueezeExcite(8, rd_ratio=0.5) for _ in range(3))
        self.act, self.pool, self.head = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)

    def forward(self, x):
        for conv, se in ((self.c1, self.se1), (self.c2, self.se2), (self.c3, self.se3)):
            x = se(self.act(conv(x)))
        return self.head(self.pool(x).flatten(1))


def test_a_part_that_runs_before_and_after_a_gate(batch):
    torch.manual_seed(0)
    module = Flat().eval()
    blocks = sv.find_blocks(module, batch)
    assert len(blocks) == 3
    net = EditedNetwork(module, blocks, CPU, "fp32")
    plain = net.unedited(batch)
    for edit in [sv.Edit(block.label, 0) for block in blocks]:
        got = net.edited([edit])
        with sv.edited(copy.deepcopy(module), [edit], example=batch) as whole, torch.no_grad():
            torch.testing.assert_close(got, whole(batch.clone()))
        assert not torch.allclose(got, plain)


def test_after_an_error_the_network_is_whole(network, batch):
    model = network("se")
    net = edited_network(model)
    plain = net.unedited(batch)
    with pytest.raises(sv.EditError):
        net.edited([sv.Edit("SE_5_1", 1), sv.Edit("SE_9_9", 1)])
    assert torch.equal(net.unedited(batch), plain)
    assert not any("forward" in vars(part) for part in net.module.modules())
