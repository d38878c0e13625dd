"""Signals, pictures and volumes: gates over maps of one to three dimensions, against what each network writes down."""
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from senet_viz.gates import Edit, find_blocks, inspect

C = 8
CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
POOL = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
INPUTS = {1: (1, 256), 2: (4, 64, 64), 3: (2, 16, 32, 32)}  # channels and space: a waveform, four bands, a volume


def mean(x):
    return x.flatten(2).mean(2)


def spread(vector, x):
    return vector[(..., *[None] * (x.dim() - 2))]


class SE(nn.Module):
    """As modules: a pool, two pointwise convolutions."""

    def __init__(self, space):
        super().__init__()
        conv = CONV[space]
        self.fc = nn.Sequential(POOL[space](1), conv(C, 4, 1), nn.ReLU(), conv(4, C, 1), nn.Sigmoid())

    def forward(self, x):
        gate = self.fc(x)
        self.seen = x.detach(), gate.detach().flatten(1)[:, None]
        return x * gate


class Inline(nn.Module):
    """As lines of a forward, with linear layers."""

    def __init__(self, space):
        super().__init__()
        self.down, self.up = nn.Linear(C, 4), nn.Linear(4, C)

    def forward(self, x):
        gate = torch.sigmoid(self.up(F.relu(self.down(mean(x)))))
        self.seen = x.detach(), gate.detach()[:, None]
        return x * spread(gate, x)


class ECA(nn.Module):
    """A convolution over channels."""

    def __init__(self, space):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x):
        gate = torch.sigmoid(self.conv(mean(x)[:, None]))
        self.seen = x.detach(), gate.detach()
        return x * spread(gate[:, 0], x).expand_as(x)


class Turned(nn.Module):
    """The mean of a map with channels last, which keeps its dimension."""

    def __init__(self, space):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(C, C), nn.Sigmoid())

    def forward(self, x):
        gate = self.fc(x.flatten(2).transpose(1, 2).mean(1, keepdim=True))
        self.seen = x.detach(), gate.detach()
        return x * spread(gate.transpose(1, 2).flatten(1), x)


class SK(nn.Module):
    """Two kernels, stacked, and a softmax over them."""

    def __init__(self, space):
        super().__init__()
        self.branches = nn.ModuleList(CONV[space](C, C, kernel, padding=kernel // 2) for kernel in (3, 5))
        self.fc = nn.Linear(C, 2 * C)

    def forward(self, x):
        u = torch.stack([branch(x) for branch in self.branches], 1)
        gate = self.fc(mean(u.sum(1))).view(-1, 2, C).softmax(1)
        self.seen = u.detach(), gate.detach()
        return (u * spread(gate, u[:, 0])).sum(1)


class Net(nn.Module):
    def __init__(self, space, make):
        super().__init__()
        torch.manual_seed(0)
        conv = CONV[space]
        self.stem, self.one, self.pool, self.two = conv(INPUTS[space][0], C, 3, 2, 1), make(space), conv(
            C, C, 3, 2, 1), make(space)
        self.head = nn.Linear(C, 5)
        self.eval()

    def forward(self, x):
        return self.head(mean(self.two(self.pool(self.one(self.stem(x)).relu())).relu()))


@pytest.mark.parametrize("space", INPUTS)
@pytest.mark.parametrize("make, name, kind", [(SE, "", "SE"), (Inline, "#0", "SE"), (ECA, "#0", "SE"), (SK, "", "SK"),
                                              (Turned, "", "SE")])
def test_gates_maps_and_cams(unchanged, space, make, name, kind):
    net, batch = Net(space, make), torch.rand(3, *INPUTS[space])
    with unchanged(net):
        blocks = find_blocks(net, batch)
    assert [block.name for block in blocks] in ([f"one{name}", f"two{name}"], ["one", "two"])
    assert [(block.label, block.space, block.rows) for block in blocks] == [
        (f"{kind}_1_1", space, 1), (f"{kind}_2_1", space, 1)]

    branches = blocks[0].branches
    places = [0, 1, "input"] if branches == 2 else ["input", "output"]
    with unchanged(net):
        view = inspect(net, batch, [1, 2], ["pool", (blocks[1].name, "output")],
                       [(block.name, place) for block in blocks for place in places])
    for block, part in zip(blocks, (net.one, net.two)):
        u, gate = part.seen
        torch.testing.assert_close(view.gates[block.name], gate)
        if branches == 2:
            for m in range(2):
                torch.testing.assert_close(view.features[block.name, m], u[:, m])
        else:
            torch.testing.assert_close(view.features[block.name, "input"], u)
            torch.testing.assert_close(view.features[block.name, "output"], u * spread(gate[:, 0], u))

    # Grad-CAM by autograd alone
    maps = net.pool(net.one(net.stem(batch)).relu()).detach().requires_grad_()
    logits = net.head(mean(net.two(maps).relu()))
    for t, target in enumerate((1, 2)):
        gradient, = torch.autograd.grad(logits[:, target].sum(), maps, retain_graph=True)
        alpha = mean(gradient)
        torch.testing.assert_close(view.weights["pool"][:, t], alpha)
        torch.testing.assert_close(view.cams["pool"][:, t], (spread(alpha, maps) * maps.detach()).sum(1).relu())
    assert view.cams["pool"].shape == (3, 2, *maps.shape[2:])


@pytest.mark.parametrize("space", INPUTS)
@pytest.mark.parametrize("make", [SE, Inline])
def test_edits(space, make):
    net, batch = Net(space, make), torch.rand(2, *INPUTS[space])
    block = find_blocks(net, batch)[1]
    values = torch.rand(C)
    logits = inspect(net, batch, edits=[Edit(block.name, values)]).logits
    u = net.pool(net.one(net.stem(batch)).relu())
    torch.testing.assert_close(logits, net.head(mean((u * spread(values[None], u)).relu())).detach())


def test_kernels_of_branches():
    assert [block.kernels for block in find_blocks(Net(3, SK), torch.rand(1, *INPUTS[3]))] == [(3, 5), (3, 5)]


def test_what_is_no_gate_of_a_signal():
    """A gate over time, and a transformer's weights."""
    class Times(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.score = nn.Conv1d(1, C, 3, 2, 1), nn.Conv1d(C, 1, 1)

        def forward(self, x):
            x = self.stem(x)
            return (x * torch.sigmoid(self.score(x)) * self.score(x).softmax(-1)).mean(2)

    assert find_blocks(Times(), torch.rand(1, 1, 64)) == []


def test_a_signal_in_a_map_of_one_row():
    class Rows(nn.Sequential):  # braindecode's
        def forward(self, x):
            return super().forward(x[:, :, None])

    def unit(inputs):
        return nn.Sequential(nn.Conv2d(inputs, C, (1, 3), (1, 2), (0, 1)), SE(2))

    blocks = find_blocks(Rows(unit(3), unit(C)), torch.rand(1, 3, 64))
    assert [(block.label, block.space) for block in blocks] == [("SE_1_1", 2), ("SE_2_1", 2)]


def space_to_depth(x):
    return x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).permute(0, 3, 5, 1, 2, 4).flatten(1, 3)


@pytest.mark.parametrize(("prepare", "shape", "first"), [
    (lambda x: nn.functional.interpolate(x, size=(64, 64)), (3, 24, 24), 1), (lambda x: x, (3, 64, 64), 1),
    (space_to_depth, (3, 64, 64), 2), (lambda x: x.transpose(1, 2), (100, 3), 1)],
    ids=["resized", "as it is", "space to depth", "time first"])
def test_stages_are_told_from_the_picture_that_is_looked_at(prepare, shape, first):
    class Prepared(nn.Module):  # as torchvision's detectors, and speech networks for (N, T, C)
        def __init__(self):
            super().__init__()
            space, channels = len(shape) - 1, prepare(torch.rand(1, *shape)).shape[1]
            self.stem, self.one, self.two = CONV[space](channels, C, 3, 2, 1), SE(space), SE(space)
            self.pool = CONV[space](C, C, 3, 2, 1)

        def forward(self, x):
            return self.two(self.pool(self.one(self.stem(prepare(x)))))

    assert [block.label for block in find_blocks(Prepared(), torch.rand(1, *shape))] == [
        f"SE_{first}_1", f"SE_{first + 1}_1"]


class TurnedSignal(nn.Module):
    """A signal with channels last, weighed by one value for each time, between two gates of channels."""

    def __init__(self, turn):
        super().__init__()
        self.stem, self.one, self.score = nn.Conv1d(2, C, 3, 2, 1), SE(1), nn.Linear(C, 1)
        self.two, self.turn = SE(1), turn

    def forward(self, x):
        x = self.turn(self.one(self.stem(x)))
        return self.two(self.turn(x * self.score(x).sigmoid()))


@pytest.mark.parametrize("turn", [
    lambda x: x.transpose(1, 2), lambda x: torch.transpose(input=x, dim0=-1, dim1=-2), lambda x: x.permute(0, 2, 1),
    lambda x: torch.permute(x, dims=(0, 2, 1)), lambda x: x.swapaxes(1, 2), lambda x: x.movedim(1, 2),
    lambda x: x.permute(2, 0, 1).transpose(0, 1) if x.shape[1] == C else x.transpose(0, 1).permute(1, 2, 0),
], ids=["transpose", "keywords", "permute", "dims", "swapaxes", "movedim", "in two steps"])
def test_weights_over_time_are_no_gate_of_channels(turn):
    """Nor do they hide the gates before and behind them."""
    assert [block.name for block in find_blocks(TurnedSignal(turn), torch.rand(1, 2, 64))] == ["one", "two"]
