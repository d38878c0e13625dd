"""Gates that are used at several places of one forward, and rows of the batch that belong to one picture."""
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from senet_viz.gates import Edit, find_blocks, inspect
from senet_viz.layers import SqueezeExcite

C = 8


class Streams(nn.Module):
    """Streams of growing receptive field that share one gate, as in omni-scale re-identification networks."""

    def __init__(self, streams=4):
        super().__init__()
        self.streams = nn.ModuleList(nn.Sequential(*(nn.Conv2d(C, C, 3, 1, 1) for _ in range(t + 1)))
                                     for t in range(streams))
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(C, 2, 1), nn.ReLU(), nn.Conv2d(2, C, 1),
                                  nn.Sigmoid())

    def forward(self, x):
        self.seen, total = [], x
        for stream in self.streams:
            u = stream(x)
            gate = self.gate(u)
            self.seen.append((u.detach(), gate.detach()))
            total = total + u * gate
        return total


class Net(nn.Module):
    def __init__(self, body, stem=None):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.body, self.head = stem or nn.Conv2d(3, C, 3, 2, 1), body(), nn.Linear(C, 5)
        self.eval()

    def forward(self, x):
        return self.head(self.body(self.stem(x)).mean((2, 3)))


def test_streams_that_share_a_gate(pictures, unchanged):
    net, batch = Net(Streams), pictures(2, 32)
    blocks = find_blocks(net, pictures(1, 32))
    assert [block.name for block in blocks] == [f"body.gate@{t}" for t in range(4)]
    assert [block.label for block in blocks] == [f"SE_1_{t}" for t in range(1, 5)]
    with unchanged(net):
        view = inspect(net, batch, features=[(block.label, "input") for block in blocks])
    for block, (u, gate) in zip(blocks, net.body.seen):
        torch.testing.assert_close(view.gates[block.name][:, 0], gate.flatten(1))
        torch.testing.assert_close(view.features[block.name, "input"], u)


def test_an_edit_of_one_place(pictures):
    net, batch = Net(Streams), pictures(2, 32)
    blocks, plain = find_blocks(net, pictures(1, 32)), inspect(net, batch)
    edited = inspect(net, batch, edits=[Edit("body.gate@2", 0, channels=[1])])
    for block in blocks:
        changed = (edited.gates[block.name] != plain.gates[block.name]).nonzero()[:, 2].unique().tolist()
        assert changed == ([1] if block.name == "body.gate@2" else [])
    u, gate = net.body.seen[2]
    gate = gate.clone()
    gate[:, 1] = 0
    maps = [u * gate if t == 2 else other[0] * other[1] for t, other in enumerate(net.body.seen)]
    torch.testing.assert_close(edited.logits, net.head((sum(maps) + net.stem(batch)).mean((2, 3))).detach())


def test_siamese_halves_and_pyramid_levels(pictures):
    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.se = SqueezeExcite(C)

        def forward(self, x):
            return self.se(x) + nn.functional.interpolate(self.se(nn.functional.max_pool2d(x, 4)), scale_factor=4)

    class Siamese(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Net(lambda: SqueezeExcite(C))

        def forward(self, x):
            return self.net(x) - self.net(x.flip(-1))

    blocks = find_blocks(Net(Pyramid), pictures(1))
    assert [(block.name, block.label) for block in blocks] == [("body.se@0", "SE_1_1"), ("body.se@1", "SE_3_1")]
    siamese, batch = Siamese(), pictures(2)
    view = inspect(siamese, batch)
    for name, pictured in (("net.body@0", batch), ("net.body@1", batch.flip(-1))):
        torch.testing.assert_close(view.gates[name], inspect(siamese.net, pictured).gates["body"])


def test_a_place_counts_from_each_forward(pictures):
    """Also after a forward that broke off."""
    net, batch = Net(Streams), pictures(1, 32)
    expected, armed = inspect(net, batch), [True]

    def fail(*_):
        if armed:
            armed.clear()
            raise RuntimeError("on purpose")
    handle = net.body.streams[1].register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="on purpose"):
        inspect(net, batch)
    assert torch.equal(inspect(net, batch).gates["body.gate@3"], expected.gates["body.gate@3"])
    handle.remove()


T = 3


class Frames(Net):
    """A clip (N, 3·T, H, W), its frames folded into the batch."""

    def forward(self, x):
        return super().forward(self.fold(x)).view(len(x), T, -1).mean(1)

    def fold(self, x):
        return x.view(-1, 3, *x.shape[-2:])


class Clips(Frames):
    """(N, T, 3, H, W)."""

    def fold(self, x):
        return x.flatten(0, 1)


class Volumes(Frames):
    """(N, 3, T, H, W)."""

    def fold(self, x):
        return x.transpose(1, 2).reshape(-1, 3, *x.shape[-2:])


class Tiles(Net):
    """A picture, cut into four."""

    def forward(self, x):
        return super().forward(self.fold(x)).view(len(x), 4, -1).mean(1)

    def fold(self, x):
        return x.unfold(2, 32, 32).unfold(3, 32, 32).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 32, 32)


def tiles(x):
    return torch.stack([part for row in x.chunk(2, 2) for part in row.chunk(2, 3)], 1).flatten(0, 1)


class Copies(Net):
    """A picture and its mirror image, one batch behind the other."""

    def forward(self, x):
        return sum(super().forward(torch.cat([x, x.flip(-1)])).chunk(2)) / 2


CLIPS = {
    "channels": (Frames, (3 * T, 32, 32), lambda x: x.view(-1, 3, 32, 32), T, True),
    "frames first": (Clips, (T, 3, 32, 32), lambda x: x.flatten(0, 1), T, True),
    "frames second": (Volumes, (3, T, 32, 32), lambda x: x.transpose(1, 2).flatten(0, 1), T, True),
    "tiles": (Tiles, (3, 64, 64), tiles, 4, True),
    "copies": (Copies, (3, 32, 32), lambda x: torch.cat([x, x.flip(-1)]), 2, False),
}


@pytest.mark.parametrize("kind", CLIPS)
def test_rows_folded_into_the_batch(unchanged, kind):
    make, shape, fold, rows, together = CLIPS[kind]
    net, batch = make(lambda: SqueezeExcite(C)), torch.rand(2, *shape)
    with unchanged(net):
        block, = find_blocks(net, batch)
        view = inspect(net, batch, layers=["body"], features=[("body", "input")])
    assert (block.name, block.rows, block.together, block.space, block.channels) == ("body", rows, together, 2, C)
    assert block.label == "SE_1_1"  # half the side of a frame or tile
    expected = inspect(Net(lambda: SqueezeExcite(C)), fold(batch), layers=["body"])
    assert view.gates["body"].shape == (2 * rows, 1, C)
    torch.testing.assert_close(view.gates["body"], expected.gates["body"])
    assert view.logits.shape == (2, 5)
    assert view.cams["body"].shape == (2 * rows, 1, 16, 16)
    off = inspect(net, batch, edits=[Edit("body", 0)])
    assert off.gates["body"].abs().max() == 0


@pytest.mark.parametrize("kind", ["frames first", "copies"])
def test_edits_are_of_pictures_and_not_of_rows(kind):
    """An image's frames, or its copies, are edited together; values of a view are for each row."""
    make, shape, _, rows, together = CLIPS[kind]
    net, batch = make(lambda: SqueezeExcite(C)), torch.rand(3, *shape)
    plain = inspect(net, batch)

    def by_picture(view):
        gate = view.gates["body"][:, 0]
        return gate.view(3, rows, C) if together else gate.view(rows, 3, C).transpose(0, 1)

    one = by_picture(inspect(net, batch, edits=[Edit("body", 0, rows=[1])]))
    assert torch.equal(one[[0, 2]], by_picture(plain)[[0, 2]]) and one[1].abs().max() == 0
    dealt = by_picture(inspect(net, batch, edits=[Edit("body", "shuffle images")]))
    order = [int((by_picture(plain) == picture).flatten(1).all(1).nonzero()) for picture in dealt]
    assert sorted(order) == [0, 1, 2] and order != [0, 1, 2]
    given = inspect(net, batch, edits=[Edit("body", 0), Edit("body", plain.gates)])
    assert torch.equal(given.gates["body"], plain.gates["body"]) and torch.equal(given.logits, plain.logits)
    values = torch.rand(3, 1, C)
    set_to = by_picture(inspect(net, batch, edits=[Edit("body", values)]))
    assert torch.equal(set_to, values.expand(3, rows, C))


class OverTime(nn.Module):
    """Before the gate, frames lie side by side for a difference in time, and pixels in the batch for a shift."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Conv1d(C, C, 3, padding=1, groups=C)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(C, C, 1), nn.Sigmoid())

    def forward(self, x):
        rows, _, h, w = x.shape
        clips = x.view(-1, T, C, h, w)
        shifted = self.shift(clips.permute(0, 3, 4, 2, 1).reshape(-1, C, T)).view(-1, h, w, C, T)
        u = shifted.permute(0, 4, 3, 1, 2).reshape(rows, C, h, w)
        motion = F.pad(clips[:, 1:] - clips[:, :-1], (0, 0, 0, 0, 0, 0, 0, 1)).flatten(0, 1)
        gate = self.gate(motion)
        self.seen = u.detach(), gate.detach()
        return u * gate


def test_frames_that_were_side_by_side(unchanged):
    net, batch = Clips(OverTime), torch.rand(2, T, 3, 32, 32)
    with unchanged(net):
        block, = find_blocks(net, batch)
        view = inspect(net, batch, features=[(block.name, "input")])
    u, gate = net.body.seen
    assert (block.rows, block.together, block.channels) == (T, True, C)
    torch.testing.assert_close(view.gates[block.name][:, 0], gate.flatten(1))
    torch.testing.assert_close(view.features[block.name, "input"], u)


def test_branches_that_ran_in_another_order(pictures):
    """Levels of a pyramid, fused by a selective kernel: the last of its branches runs first."""
    class Fusion(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.same, self.fc = nn.Conv2d(C, C, 1), nn.Conv2d(C, C, 3, padding=1), nn.Linear(C, 2 * C)

        def forward(self, x):
            same = self.same(x)
            maps = torch.stack([self.up(F.interpolate(F.avg_pool2d(x, 2), scale_factor=2)), same], 1)
            gate = self.fc(maps.sum(1).mean((2, 3))).view(-1, 2, C).softmax(1)
            self.seen = maps.detach(), gate.detach()
            return (maps * gate[..., None, None]).sum(1)

    net, batch = Net(Fusion), pictures(2)
    block, = find_blocks(net, batch)
    view = inspect(net, batch, features=[(block.name, 0), (block.name, 1), (block.name, "input")])
    maps, gate = net.body.seen
    torch.testing.assert_close(view.gates[block.name], gate)
    for m in range(2):
        torch.testing.assert_close(view.features[block.name, m], maps[:, m])
    torch.testing.assert_close(view.features[block.name, "input"], maps.sum(1))


def test_patches_of_a_picture_as_columns():
    """The function with the same name as the method that cuts tiles: what it gives becomes no signal."""
    class Columns(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3 * 16, C)

        def forward(self, x):
            return self.fc(F.unfold(x, 4, stride=4).transpose(1, 2)).transpose(1, 2).unflatten(2, (8, 8))

    block, = find_blocks(Net(lambda: SqueezeExcite(C), Columns()), torch.rand(1, 3, 32, 32))
    assert (block.name, block.space, block.rows) == ("body", 2, 1)


def test_frames_of_a_volume(unchanged):
    """The maps of a network for clips, gated frame by frame."""
    class ByFrame(nn.Module):
        def __init__(self):
            super().__init__()
            self.se = SqueezeExcite(C)

        def forward(self, x):
            n, _, t, h, w = x.shape
            frames = self.se(x.transpose(1, 2).reshape(n * t, C, h, w))
            return frames.view(n, t, C, h, w).transpose(1, 2).mean(2)

    net, batch = Net(ByFrame, nn.Conv3d(3, C, 3, (1, 2, 2), 1)), torch.rand(2, 3, T, 32, 32)
    with unchanged(net):
        block, = find_blocks(net, batch)
        view = inspect(net, batch, features=[(block.name, "input")])
    assert (block.name, block.rows, block.space, block.channels) == ("body.se", T, 2, C)
    frames = net.stem(batch).transpose(1, 2).flatten(0, 1).detach()
    torch.testing.assert_close(view.features["body.se", "input"], frames)
    assert view.gates["body.se"].shape == (2 * T, 1, C)
    with torch.no_grad():
        scaled = net.body.se(frames)
    torch.testing.assert_close(frames * view.gates["body.se"][:, 0, :, None, None], scaled)
