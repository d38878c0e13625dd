"""Gates that vary over space: recorded as what they are, and only where they are asked for."""
import pytest
import torch
from torch import nn

from senet_viz.gates import Edit, EditError, find_blocks, inspect
from senet_viz.layers import SqueezeExcite

C = 8


class Coordinates(nn.Module):
    """Coordinate attention: pooled along each side, one hidden layer for both, a gate for each."""

    def __init__(self):
        super().__init__()
        self.hidden, self.high, self.wide = nn.Conv2d(C, 4, 1), nn.Conv2d(4, C, 1), nn.Conv2d(4, C, 1)

    def forward(self, x):
        h, w = x.shape[-2:]
        y = torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).permute(0, 1, 3, 2)], 2)
        y = self.hidden(y).relu()
        high, wide = y.split([h, w], 2)
        a, b = self.high(high).sigmoid(), self.wide(wide.permute(0, 1, 3, 2)).sigmoid()
        self.seen = x.detach(), (a * b).detach()
        return self.scaled(x, a, b)

    def scaled(self, x, a, b):
        return x * b * a


class Crossed(Coordinates):
    """The same, its two gates multiplied first."""

    def scaled(self, x, a, b):
        return (a * b).contiguous() * x


class LargeKernel(nn.Module):
    """LSKNet's unit: two kernels in a row, weighed place by place."""

    def __init__(self):
        super().__init__()
        self.five = nn.Conv2d(C, C, 5, padding=2, groups=C)
        self.seven = nn.Conv2d(C, C, 7, padding=9, dilation=3, groups=C)
        self.one, self.two = nn.Conv2d(C, C // 2, 1), nn.Conv2d(C, C // 2, 1)
        self.squeeze, self.out = nn.Conv2d(2, 2, 7, padding=3), nn.Conv2d(C // 2, C, 1)

    def forward(self, x):
        near = self.five(x)
        far = self.seven(near)
        near, far = self.one(near), self.two(far)
        both = torch.cat([near, far], 1)
        weights = self.squeeze(torch.cat([both.mean(1, keepdim=True), both.amax(1, keepdim=True)], 1)).sigmoid()
        self.seen = torch.stack([near, far], 1).detach(), weights.detach()
        return x * self.out(near * weights[:, 0].unsqueeze(1) + far * weights[:, 1].unsqueeze(1))


class Net(nn.Module):
    def __init__(self, *parts):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.parts, self.head = nn.Conv2d(3, C, 3, 2, 1), nn.Sequential(*parts), nn.Linear(C, 5)
        self.eval()

    def forward(self, x):
        return self.head(self.parts(self.stem(x)).mean((2, 3)))


@pytest.mark.parametrize("make, products", [(Coordinates, 2), (Crossed, 1)])
def test_coordinate_attention(pictures, unchanged, make, products):
    net, batch = Net(make()), torch.rand(2, 3, 32, 48)
    assert find_blocks(net, batch) == []
    with unchanged(net):
        view = inspect(net, batch, [1], ["stem"], [("Coord_1_1", place) for place in ("gate", "input", "output")],
                       spatial=True)
    block, = view.blocks
    assert (block.name, block.kind, block.channels, block.branches) == ("parts.0", "Coord", C, 1)
    assert len(block.products) == products
    x, gate = net.parts[0].seen
    torch.testing.assert_close(view.features["parts.0", "gate"], gate)
    torch.testing.assert_close(view.features["parts.0", "input"], x)
    torch.testing.assert_close(view.features["parts.0", "output"], x * gate)
    torch.testing.assert_close(view.gates["parts.0"][:, 0], gate.mean((2, 3)))
    assert view.cams["stem"].max() > 0
    assert inspect(net, batch).gates == {}


def test_large_selective_kernels(pictures, unchanged):
    net, batch = Net(LargeKernel()), pictures(2, 32)
    assert find_blocks(net, batch) == []
    with unchanged(net):
        view = inspect(net, batch, features=[("LSK_1_1", place) for place in ("gate", 0, 1, "input")], spatial=True)
    block, = view.blocks
    assert (block.name, block.kind, block.channels, block.branches) == ("parts.0", "LSK", C // 2, 2)
    maps, weights = net.parts[0].seen
    torch.testing.assert_close(view.features["parts.0", "gate"], weights)
    for m in range(2):
        torch.testing.assert_close(view.features["parts.0", m], maps[:, m])
        torch.testing.assert_close(view.gates["parts.0"][:, m], weights[:, m].mean((1, 2))[:, None].expand(2, C // 2))
    torch.testing.assert_close(view.features["parts.0", "input"], maps.sum(1))


def test_beside_channel_gates_in_the_order_of_the_network(pictures):
    net = Net(Coordinates(), SqueezeExcite(C), LargeKernel(), SqueezeExcite(C), Coordinates())
    blocks = find_blocks(net, pictures(1, 32), spatial=True)
    assert [block.label for block in blocks] == ["Coord_1_1", "SE_1_2", "LSK_1_3", "SE_1_4", "Coord_1_5"]
    assert [block.name for block in blocks] == [f"parts.{i}" for i in range(5)]
    assert [block.name for block in find_blocks(net, pictures(1, 32))] == ["parts.1", "parts.3"]
    view = inspect(net, pictures(2, 32), spatial=True)
    assert list(view.gates) == [block.name for block in blocks]
    for where in ("Coord_1_1", "Coord_*", "parts.0", "SE_1_2, Coord_1_1"):
        with pytest.raises(EditError, match="Coord_1_1 varies over space"):
            inspect(net, pictures(1, 32), edits=[Edit(where, 1)], spatial=True)
    assert list(inspect(net, pictures(1, 32), edits=[Edit("*", 1)]).gates) == ["parts.1", "parts.3"]


class Plain(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.point, self.form = nn.Conv2d(C, 1, 1), form

    def forward(self, x):
        return self.form(self, x)


@pytest.mark.parametrize("form", [
    lambda unit, x: x * unit.point(x).sigmoid(), lambda unit, x: x * x.sigmoid(),
    lambda unit, x: x * (nn.functional.relu6(x + 3) / 6), lambda unit, x: x * x.flatten(2).softmax(2).view_as(x),
    lambda unit, x: x + x * unit.point(x).sigmoid(),
    lambda unit, x: x * (unit.point(x).mean(2, keepdim=True).sigmoid() * unit.point(x).mean(3, keepdim=True).sigmoid()),
], ids=["spatial attention", "swish", "hard swish", "softmax over pixels", "beside the map",
        "lines of spatial attention"])
def test_what_is_neither(pictures, form):
    assert find_blocks(Net(Plain(form)), pictures(1, 32), spatial=True) == []


def test_groups_and_frames_in_the_batch():
    """Gates of groups of channels are left out, with a word; those of frames are a picture's rows."""
    class Groups(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = Coordinates()

        def forward(self, x):
            n, c, h, w = x.shape
            return self.gate(x.view(n * 2, c // 2, h, w)).view(n, c, h, w)

    class Wide(Net):
        def __init__(self):
            super().__init__(Groups())
            self.stem, self.head = nn.Conv2d(3, 2 * C, 3, 2, 1), nn.Linear(2 * C, 5)

    with pytest.warns(UserWarning, match=r"gates of groups"):
        assert find_blocks(Wide(), torch.rand(1, 3, 32, 32), spatial=True) == []

    class Frames(Net):
        def forward(self, x):
            return super().forward(x.flatten(0, 1)).view(len(x), -1, 5).mean(1)

    net, batch = Frames(Coordinates()), torch.rand(2, 4, 3, 32, 32)
    block, = find_blocks(net, batch, spatial=True)
    assert (block.kind, block.rows, block.together) == ("Coord", 4, True)
    view = inspect(net, batch, spatial=True, features=[(block.name, "gate")])
    torch.testing.assert_close(view.features[block.name, "gate"], net.parts[0].seen[1])
    assert view.gates[block.name].shape == (8, 1, C)
