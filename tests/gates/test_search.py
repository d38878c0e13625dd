"""Gates found by what they do: the forms in which attention is written by hand, and what looks like it and is not.

What is found is compared with gates that each test network writes down itself, by its own arithmetic.
"""
import pytest
import timm.layers
import torch
from torch import nn
from torch.nn import functional as F

from senet_viz.gates import Edit, find_blocks, inspect
from senet_viz.gates.hooks import hooked
from senet_viz.gates.removals import removals
from senet_viz.gates.tracing import over_channels
from senet_viz.layers import SqueezeExcite

C = 16


class SELinear(nn.Module):
    """Hu et al. as most repositories have it: a Sequential of linear layers, view, expand_as."""

    def __init__(self, channels=C, reduction=4):
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(nn.Linear(channels, channels // reduction, bias=False), nn.ReLU(inplace=True),
                                nn.Linear(channels // reduction, channels, bias=False), nn.Sigmoid())

    def forward(self, x):
        b, c, _, _ = x.size()
        y = self.fc(self.avg_pool(x).view(b, c)).view(b, c, 1, 1)
        self.seen = [y.flatten(1)]
        return x * y.expand_as(x)


class SEConv(nn.Module):
    """1×1 convolutions, a hidden layer of a least width, the activation as a function."""

    def __init__(self, channels=C, reduction=16, least=8, inplace=False):
        super().__init__()
        hidden = max(channels // reduction, least)
        self.down, self.up, self.inplace = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1), inplace

    def forward(self, x):
        w = torch.sigmoid(self.up(F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))))
        self.seen = [w.flatten(1)]
        return x.mul_(w) if self.inplace else x * w


class Gives(nn.Module):
    """Returns the gate; who calls it multiplies."""

    def __init__(self, channels=C):
        super().__init__()
        self.fc = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 4, 1), nn.ReLU(),
                                nn.Conv2d(4, channels, 1), nn.Sigmoid())

    def forward(self, x):
        return self.fc(x)


class Around(nn.Module):
    """conv, then what ``form`` does with the map and the unit's own layers."""

    def __init__(self, form, **layers):
        super().__init__()
        self.conv, self.form = nn.Conv2d(C, C, 3, padding=1), form
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.form(self, self.conv(x), x)


def keep(unit, *gates):
    unit.seen = [gate.detach().clone().expand(-1, C, 1, 1).flatten(1) if gate.dim() == 4 else gate.detach().clone()
                 for gate in gates]
    return gates[0] if len(gates) == 1 else gates


def inline(unit, u, x):
    z = u.mean((2, 3))
    s = keep(unit, torch.sigmoid(unit.up(F.relu(unit.down(z)))))
    return F.relu(u * s[:, :, None, None] + x)


def double(unit, u, x):
    return u * keep(unit, 2 * torch.sigmoid(unit.up(F.relu(unit.down(u.mean((2, 3)))))))[..., None, None]


def hard(unit, u, x):
    return u * keep(unit, F.relu6(unit.up(unit.down(u.mean((2, 3)))) + 3) / 6)[..., None, None]


def clamped(unit, u, x):
    return u * keep(unit, (unit.up(unit.down(u.mean((2, 3)))) + 0.5).clamp(0, 1))[..., None, None]


def by_exp(unit, u, x):
    return u * keep(unit, 1 / (1 + torch.exp(-u.mean((2, 3)))))[..., None, None]


def divided(unit, u, x):
    return u * keep(unit, 1 / (1 + F.relu(unit.up(unit.down(u.mean((2, 3)))))))[..., None, None]


def tanh(unit, u, x):
    return u * keep(unit, torch.tanh(unit.up(unit.down(u.mean((2, 3))))))[..., None, None]


def softmax(unit, u, x):
    return u * keep(unit, F.softmax(unit.up(unit.down(u.mean((2, 3)))), 1))[..., None, None]


def materialised(unit, u, x):
    s = keep(unit, torch.sigmoid(unit.up(unit.down(u.mean((2, 3))))))
    return s[..., None, None].repeat(1, 1, *u.shape[-2:]) * u


def side_by_side(unit, u, x):
    s = keep(unit, torch.sigmoid(unit.up(unit.down(u.mean((2, 3))))))
    return u * s[..., None, None].repeat(1, 1, u.shape[2], 1).repeat_interleave(u.shape[3], 3)


def upsampled(unit, u, x):
    s = keep(unit, torch.sigmoid(unit.up(unit.down(u.mean((2, 3))))))
    return u * F.interpolate(s[..., None, None], size=u.shape[-2:])


def with_maximum(unit, u, x):
    """CBAM's channel attention, inline."""
    paths = [unit.up(F.relu(unit.down(z))) for z in (u.mean((2, 3)), u.amax((2, 3)))]
    return u * keep(unit, (paths[0] + paths[1]).sigmoid()).unsqueeze(-1).unsqueeze(-1)


def member(unit, u, x):
    return u * keep(unit, unit.sigmoid(unit.up(unit.down(u.mean((2, 3))))))[..., None, None]


def on_or_off(unit, u, x):
    """Channels whose sigmoid is small are switched off, as in networks that compute only some."""
    return u * keep(unit, (torch.sigmoid(unit.up(unit.down(u.mean((2, 3))))) > 0.5).float())[..., None, None]


def glu(unit, u, x):
    """Half of the vector gates the other half."""
    z = unit.up(unit.down(u.mean((2, 3))))
    return u * keep(unit, F.glu(torch.cat([z, z.flip(1)], 1), 1))[..., None, None]


def given(unit, u, x):
    s = unit.ca(u)
    keep(unit, s)
    return s * u


def given_by_sequential(unit, u, x):
    s = unit.fc(u.mean((2, 3)))
    keep(unit, s)
    return u * s.view(-1, C, 1, 1)


def fc():
    return {"down": nn.Linear(C, 4), "up": nn.Linear(4, C)}


FORMS = {  # → the unit, and the block's name below the unit
    "linear layers in a Sequential": (SELinear, ""),
    "1×1 convolutions, a least width, functional": (SEConv, ""),
    "in place": (lambda: Around(lambda unit, u, x: unit.se(u), se=SEConv(inplace=True)), ".se"),
    "inline": (lambda: Around(inline, **fc()), "#0"),
    "inline, doubled": (lambda: Around(double, **fc()), "#0"),
    "dropout on the gate": (lambda: Around(lambda unit, u, x: u * F.dropout(keep(unit, torch.sigmoid(
        unit.up(unit.down(u.mean((2, 3)))))), 0.1, unit.training)[..., None, None], **fc()), "#0"),
    "torch.mul with keywords": (lambda: Around(lambda unit, u, x: torch.mul(input=u, other=keep(unit, torch.sigmoid(
        unit.up(unit.down(u.mean((2, 3))))))[..., None, None]), **fc()), "#0"),
    "an einsum": (lambda: Around(lambda unit, u, x: torch.einsum("bchw,bc->bchw", u, keep(unit, torch.sigmoid(
        unit.up(unit.down(u.mean((2, 3))))))), **fc()), "#0"),
    "an einsum with an ellipsis": (lambda: Around(lambda unit, u, x: torch.einsum("bc...,bc->bc...", u, keep(
        unit, torch.sigmoid(unit.up(unit.down(u.mean((2, 3))))))), **fc()), "#0"),
    "an einsum, in another order": (lambda: Around(lambda unit, u, x: torch.einsum("nc, nyxc -> ncyx", keep(
        unit, torch.sigmoid(unit.up(unit.down(u.mean((2, 3)))))), u.permute(0, 2, 3, 1)), **fc()), "#0"),
    "hard sigmoid by hand": (lambda: Around(hard, **fc()), "#0"),
    "on or off": (lambda: Around(on_or_off, **fc()), "#0"),
    "a gated linear unit": (lambda: Around(glu, **fc()), "#0"),
    "clamped": (lambda: Around(clamped, **fc()), "#0"),
    "a sigmoid by exp, of nothing learned": (lambda: Around(by_exp), "#0"),
    "a learned divisor": (lambda: Around(divided, **fc()), "#0"),
    "tanh": (lambda: Around(tanh, **fc()), "#0"),
    "softmax over channels": (lambda: Around(softmax, **fc()), "#0"),
    "repeated over space": (lambda: Around(materialised, **fc()), "#0"),
    "repeated along one side and the other": (lambda: Around(side_by_side, **fc()), "#0"),
    "upsampled": (lambda: Around(upsampled, **fc()), "#0"),
    "mean and maximum": (lambda: Around(with_maximum, **fc()), "#0"),
    "an nn.Sigmoid of the unit": (lambda: Around(member, sigmoid=nn.Sigmoid(), **fc()), "#0"),
    "a module that gives the gate": (lambda: Around(given, ca=Gives()), ".ca"),
    "a Sequential that ends in nn.Sigmoid": (lambda: Around(given_by_sequential, fc=nn.Sequential(
        nn.Linear(C, 4), nn.ReLU(), nn.Linear(4, C), nn.Sigmoid())), ".fc"),
    "a Sequential of a convolution and nn.Hardsigmoid": (lambda: Around(
        lambda unit, u, x: u * keep(unit, unit.gate(F.adaptive_avg_pool2d(u, 1))), gate=nn.Sequential(
            nn.Conv2d(C, C, 1), nn.Hardsigmoid())), ".gate"),
}


def without_activation(unit, u, x):
    """Simple channel attention, common in restoration: x · W mean(x)."""
    return u * keep(unit, unit.point(u.mean((2, 3), keepdim=True)))


def after_an_activation(unit, u, x):
    u = F.relu(u)
    return u * keep(unit, unit.point(u.mean((2, 3), keepdim=True))).expand_as(u)


def sequential_without_activation(unit, u, x):
    return u * keep(unit, unit.sca(u))


LINEAR = {
    "a convolution": (lambda: Around(without_activation, point=nn.Conv2d(C, C, 1)), "#0"),
    "of a map behind a ReLU, expand_as": (lambda: Around(after_an_activation, point=nn.Conv2d(C, C, 1)), "#0"),
    "pool and convolution in a Sequential": (lambda: Around(sequential_without_activation, sca=nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(C, C, 1))), ".sca"),
    "two layers": (lambda: Around(lambda unit, u, x: u * keep(unit, unit.up(unit.down(u.mean((2, 3)))))[
        ..., None, None], **fc()), "#0"),
}


class SKConv(nn.Module):
    """The ungrouped form in circulation: concatenated branches, an nn.Softmax member, M linear layers."""

    def __init__(self, branches=2, functional=False):
        super().__init__()
        self.convs = nn.ModuleList(nn.Sequential(
            nn.Conv2d(C, C, 3 + 2 * m, padding=1 + m), nn.BatchNorm2d(C), nn.ReLU()) for m in range(branches))
        self.fc, self.fcs = nn.Linear(C, 8), nn.ModuleList(nn.Linear(8, C) for _ in range(branches))
        self.softmax = None if functional else nn.Softmax(dim=1)

    def forward(self, x):
        for i, conv in enumerate(self.convs):
            fea = conv(x).unsqueeze_(dim=1)
            feas = fea if i == 0 else torch.cat([feas, fea], dim=1)  # noqa: F821
        z = self.fc(torch.sum(feas, dim=1).mean(-1).mean(-1))
        for i, fc in enumerate(self.fcs):
            vector = fc(z).unsqueeze_(dim=1)
            vectors = vector if i == 0 else torch.cat([vectors, vector], dim=1)  # noqa: F821
        attention = F.softmax(vectors, dim=1) if self.softmax is None else self.softmax(vectors)
        self.seen = [attention.detach()]
        return (feas * attention.unsqueeze(-1).unsqueeze(-1)).sum(dim=1)


class SKStacked(SKConv):
    """Another that is often copied: branches and weights stacked along a new first dimension."""

    def forward(self, x):
        outs = [conv(x) for conv in self.convs]
        z = self.fc(sum(outs).mean((-2, -1)))
        weights = torch.softmax(torch.stack([fc(z)[:, :, None, None] for fc in self.fcs], 0), 0)
        self.seen = [weights.detach()[..., 0, 0].transpose(0, 1)]
        return (weights * torch.stack(outs, 0)).sum(0)


class SKStackedModule(SKStacked):
    """The same with nn.Softmax(dim=0), whose output has branches before pictures."""

    def forward(self, x):
        outs = [conv(x) for conv in self.convs]
        z = self.fc(sum(outs).mean((-2, -1)))
        weights = nn.Softmax(dim=0)(torch.stack([fc(z)[:, :, None, None] for fc in self.fcs], 0))
        self.seen = [weights.detach()[..., 0, 0].transpose(0, 1)]
        return (torch.stack(outs, 0) * weights).sum(dim=0)


class Split(nn.Module):
    """ResNeSt's split attention: the branches are cut from one map, which is the module's own input."""

    def __init__(self):
        super().__init__()
        self.wide, self.fc = nn.Conv2d(C, 2 * C, 3, padding=1), nn.Linear(C, 2 * C)
        self.attention = Attention(self)

    def forward(self, x):
        return self.attention(self.wide(x))


class Attention(nn.Module):
    def __init__(self, unit):
        super().__init__()
        self.fc = unit.fc

    def forward(self, x):
        u = x.view(len(x), 2, C, *x.shape[-2:])
        return (u * self.fc(u.sum(1).mean((2, 3))).view(-1, 2, C, 1, 1).softmax(1)).sum(1)


class Highway(nn.Module):
    """g · f(x) + (1 − g) · x."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(C, C, 3, padding=1), nn.Linear(C, C)

    def forward(self, x):
        g = torch.sigmoid(self.fc(x.mean((2, 3))))[..., None, None]
        return g * self.conv(x) + (1 - g) * x


class SKSliced(nn.Module):
    """Two maps, each multiplied with its slice of a functional softmax, and added."""

    def __init__(self):
        super().__init__()
        self.three, self.five = nn.Conv2d(C, C, 3, padding=1), nn.Conv2d(C, C, 5, padding=2)
        self.fc = nn.Linear(C, 2 * C)

    def forward(self, x):
        a, b = self.three(x), self.five(x)
        w = F.softmax(self.fc((a + b).mean((2, 3))).view(-1, 2, C), 1)
        self.seen = [w.detach()]
        return a * w[:, 0, :, None, None] + b * w[:, 1, :, None, None]


class Complement(SKSliced):
    """a · w + b · (1 − w)."""

    def forward(self, x):
        a, b = self.three(x), self.five(x)
        w = torch.sigmoid(self.fc((a + b).mean((2, 3)))[:, :C])
        self.seen = [torch.stack([w, 1 - w], 1).detach()]
        return a * w[..., None, None] + b * (1 - w)[..., None, None]


class SKInUnit(nn.Module):
    """A selective kernel written inline in a residual unit: no module's output is the sum of its branches."""

    def __init__(self):
        super().__init__()
        self.sk, self.out = SKSliced(), nn.Conv2d(C, C, 1)

    def forward(self, x):
        a, b = self.sk.three(x), self.sk.five(x)
        w = F.softmax(self.sk.fc((a + b).mean((2, 3))).view(-1, 2, C), 1)
        self.seen = [w.detach()]
        return F.relu(self.out(sum(weight[:, :, None, None] * u for weight, u in zip(w.unbind(1), (a, b)))) + x)


CHOICES = {
    "two linear branches, nn.Softmax": (lambda: SKConv(2), "", (3, 5)),
    "three linear branches, nn.Softmax": (lambda: SKConv(3), "", (3, 5, 7)),
    "three branches, functional softmax": (lambda: SKConv(3, functional=True), "", (3, 5, 7)),
    "three branches, stacked first": (lambda: SKStacked(3), "", (3, 5, 7)),
    "two branches, stacked first": (lambda: SKStackedModule(2), "", (3, 5)),
    "two slices": (SKSliced, "", (3, 5)),
    "a gate and its complement": (Complement, "", (3, 5)),
    "inline in a unit": (SKInUnit, "#0", (3, 5)),
}


class Net(nn.Module):
    """Stem, a unit, a pool, a unit, a head."""

    def __init__(self, make):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, C, 3, 2, 1), nn.BatchNorm2d(C), nn.ReLU(inplace=True))
        self.layer1 = nn.Sequential(make())
        self.pool = nn.MaxPool2d(2)
        self.layer2 = nn.Sequential(make())
        self.head = nn.Linear(C, 5)
        self.eval()

    def forward(self, x):
        return self.head(self.layer2(self.pool(self.layer1(self.stem(x)))).mean((2, 3)))


def seen_in(net) -> list[torch.Tensor]:
    """The gates (N, M, C) that the units wrote down in the last forward."""
    return [part.seen[0].reshape(len(part.seen[0]), -1, C) for part in net.modules() if hasattr(part, "seen")]


@pytest.mark.parametrize("form", FORMS)
def test_forms_in_circulation(pictures, unchanged, form):
    make, name = FORMS[form]
    net = Net(make)
    with unchanged(net):
        blocks = find_blocks(net, pictures(1))
    assert [block.name for block in blocks] == [f"layer1.0{name}", f"layer2.0{name}"]
    assert [block.label for block in blocks] == ["SE_2_1", "SE_3_1"]
    assert {(block.kind, block.channels, block.branches, block.gain) for block in blocks} == {("SE", C, 1, 1.0)}

    batch = pictures(3, seed=1)
    points = [(block.label, place) for block in blocks for place in ("input", "output")]
    with unchanged(net):
        view = inspect(net, batch, [1], [(block.label, "output") for block in blocks], points)
    for block, expected in zip(blocks, seen_in(net)):
        gate = view.gates[block.name]
        torch.testing.assert_close(gate, expected)
        torch.testing.assert_close(view.features[block.name, "input"] * gate[:, 0, :, None, None],
                                   view.features[block.name, "output"])
        assert gate.std() > 1e-3
    with torch.no_grad():
        torch.testing.assert_close(view.logits, net(batch))
    for cam in view.cams.values():
        assert cam.max() > 0


@pytest.mark.parametrize("form", LINEAR)
def test_gates_without_an_activation(pictures, unchanged, form):
    make, name = LINEAR[form]
    net, batch = Net(make), pictures(3)
    with unchanged(net):
        blocks = find_blocks(net, pictures(1))
        view = inspect(net, batch, features=[(block.name, place) for block in blocks for place in ("input", "output")])
    assert [(block.name, block.kind, block.label) for block in blocks] == [
        (f"layer1.0{name}", "linear", "linear_2_1"), (f"layer2.0{name}", "linear", "linear_3_1")]
    for block, expected in zip(blocks, seen_in(net)):
        torch.testing.assert_close(view.gates[block.name], expected)
        torch.testing.assert_close(view.features[block.name, "input"] * expected[:, 0, :, None, None],
                                   view.features[block.name, "output"])


class SplitCut(Split):
    """The same with cuts: each is multiplied with its own gate, and Python adds them."""

    def forward(self, x):
        maps = self.wide(x).chunk(2, 1)
        gates = self.fc(sum(maps).mean((2, 3))).view(-1, 2, C).softmax(1)
        self.seen = [gates.detach()]
        return sum(gate[..., None, None] * u for gate, u in zip(gates.unbind(1), maps))


def test_split_attention_is_no_highway(pictures):
    assert [(block.kind, block.name) for block in find_blocks(Net(Split), pictures(1))] == [
        ("SplitAttn", "layer1.0.attention"), ("SplitAttn", "layer2.0.attention")]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_layers_that_are_quantised_as_they_run(pictures, unchanged):
    """Their products are of integers, and what they give are numbers."""
    net = torch.ao.quantization.quantize_dynamic(Net(SELinear), {nn.Linear}).eval()
    batch = pictures(2)
    assert type(net.layer1[0].fc[0]) is not nn.Linear
    with unchanged(net):
        blocks, view = find_blocks(net, batch), inspect(net, batch)
    assert [block.name for block in blocks] == ["layer1.0", "layer2.0"]
    for block, expected in zip(blocks, seen_in(net)):
        torch.testing.assert_close(view.gates[block.name], expected)


def test_a_gate_that_is_drawn(pictures):
    """A Gumbel softmax draws anew in each forward; what is recorded is what was drawn."""
    net = Net(lambda: Around(lambda unit, u, x: u * keep(unit, F.gumbel_softmax(
        unit.up(unit.down(u.mean((2, 3)))), hard=True))[..., None, None], **fc()))
    blocks, view = find_blocks(net, pictures(1)), inspect(net, pictures(2))
    assert [block.name for block in blocks] == ["layer1.0#0", "layer2.0#0"]
    for block, expected in zip(blocks, seen_in(net)):
        torch.testing.assert_close(view.gates[block.name], expected)


def test_split_attention_by_cuts(pictures):
    net, batch = Net(SplitCut), pictures(2)
    blocks = find_blocks(net, batch)
    assert [(block.kind, block.name, block.branches) for block in blocks] == [
        ("SplitAttn", "layer1.0", 2), ("SplitAttn", "layer2.0", 2)]
    view = inspect(net, batch)
    for block, expected in zip(blocks, seen_in(net)):
        torch.testing.assert_close(view.gates[block.name], expected)


def test_a_module_that_only_hands_the_gate_on(pictures):
    """Dropout gives what it was given: the product does not take it from there, and an edit there would do nothing."""
    def unit(unit, u, x):
        gate = torch.sigmoid(unit.up(unit.down(u.mean((2, 3)))))
        unit.dropout(gate)  # for the next step of a recurrence
        return u * keep(unit, gate)[..., None, None]

    net, batch = Net(lambda: Around(unit, dropout=nn.Dropout(), **fc())), pictures(2)
    blocks = find_blocks(net, batch)
    assert [block.gate for block in blocks] == [None, None]
    off = inspect(net, batch, edits=[Edit(blocks[0].name, 0)], features=[(blocks[0].name, "output")])
    assert off.features[blocks[0].name, "output"].abs().max() == 0


def hard_swish(unit, u, x):
    return u * (F.relu6(u + 3) / 6)


def weak(net: nn.Module) -> nn.Module:
    """Untrained, with weights so small that x + 3 is 3 from some depth on."""
    for part in net.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.normal_(part.weight, std=0.01)
            nn.init.zeros_(part.bias)
    return net


@pytest.mark.parametrize("swish", [hard_swish, lambda unit, u, x: u * torch.sigmoid(u),
                                   lambda unit, u, x: u * (u + 0.5).clamp(0, 1)])
@pytest.mark.parametrize("example", [torch.rand(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)], ids=["photo", "black"])
def test_no_value_decides(swish, example):
    """Of 12 units with a swish by hand and an SE each, the gates are 12, however small the activations are."""
    net = weak(nn.Sequential(nn.Conv2d(3, C, 1), *(Around(swish) if i % 2 else SEConv() for i in range(1, 25))))
    assert [block.name for block in find_blocks(net, example)] == [str(i) for i in range(2, 25, 2)]
    narrow = weak(nn.Sequential(nn.Conv2d(3, C, 1), *(Around(swish) for _ in range(6))))
    assert find_blocks(narrow, example) == []


class BAM(nn.Module):
    """1 + sigmoid(channels · places), both enlarged to the map's size."""

    def __init__(self):
        super().__init__()
        self.channel, self.spatial = nn.Linear(C, C), nn.Conv2d(C, 1, 1)

    def forward(self, x):
        channel = self.channel(x.mean((2, 3)))[..., None, None].expand_as(x)
        return x * (1 + torch.sigmoid(channel * self.spatial(x).expand_as(x)))


class Transformer(nn.Module):
    """A spatial transformer: the picture, cut where tanh of a learned vector says."""

    def __init__(self):
        super().__init__()
        self.place, self.scale = nn.Linear(C, 2), nn.Parameter(torch.ones(1, C, 1, 1))

    def forward(self, x):
        shift = torch.tanh(self.place(x.mean((2, 3))))
        theta = torch.cat([torch.eye(2).expand(len(x), 2, 2) * 0.5, shift[..., None]], 2)
        return F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), align_corners=False) * self.scale


@pytest.mark.parametrize("make", [BAM, Transformer])
@pytest.mark.parametrize("fill", [None, 0.0])
def test_attention_over_channels_and_places_is_no_channel_gate(pictures, make, fill):
    assert find_blocks(Net(make), pictures(1) if fill is None else torch.full((1, 3, 64, 64), fill)) == []


def test_gates_of_groups_in_the_batch_are_said_to_be_left_out(pictures):
    net = Net(lambda: Around(groups))
    with pytest.warns(UserWarning, match=r"folds groups of channels .* \(in layer1\.0, layer2\.0\)"):
        assert find_blocks(net, pictures(1)) == []


def test_the_network_itself_may_have_gates_of_groups(pictures):
    with pytest.warns(UserWarning, match=r"\(in Around\); these"):
        assert find_blocks(Around(groups), torch.rand(1, C, 16, 16)) == []


@pytest.mark.parametrize("form", CHOICES)
def test_choices_between_branches(pictures, unchanged, form):
    make, name, kernels = CHOICES[form]
    net, m = Net(make), len(kernels)
    with unchanged(net):
        blocks = find_blocks(net, pictures(1))
    assert [block.name for block in blocks] == [f"layer1.0{name}", f"layer2.0{name}"]
    assert [(block.label, block.branches, block.kernels) for block in blocks] == [
        ("SK_2_1", m, kernels), ("SK_3_1", m, kernels)]

    places = [*range(m), "input", *(["output"] if blocks[0].output else [])]
    for size in (2, 3):  # as many pictures as branches, or another number
        check_choices(net, blocks, pictures(size, seed=1), places)


def check_choices(net, blocks, batch, places):
    view, m = inspect(net, batch, features=[(block.name, place) for block in blocks for place in places]), places.index(
        "input")
    for block, expected in zip(blocks, seen_in(net)):
        gate, maps = view.gates[block.name], [view.features[block.name, i] for i in range(m)]
        torch.testing.assert_close(gate, expected)
        torch.testing.assert_close(gate.sum(1), torch.ones(len(batch), C))
        torch.testing.assert_close(view.features[block.name, "input"], sum(maps))
        if block.output:
            torch.testing.assert_close(sum(gate[:, i, :, None, None] * u for i, u in enumerate(maps)),
                                       view.features[block.name, "output"])


def test_a_sum_of_branches_that_nothing_returns(pictures):
    net = Net(SKInUnit)
    with pytest.raises(ValueError, match="the sum of SK_2_1's branches is no module's output"):
        inspect(net, pictures(1), features=[("SK_2_1", "output")])


def spatial(unit, u, x):
    return u * torch.sigmoid(u.mean(1, keepdim=True))


def coordinates(unit, u, x):
    return u * torch.sigmoid(unit.point(u.mean(3, keepdim=True))) * torch.sigmoid(unit.point(u.mean(2, keepdim=True)))


def swish(unit, u, x):
    return u * torch.sigmoid(u)


def attention(unit, u, x):
    q = u.flatten(2).transpose(1, 2).reshape(len(u), -1, 2, C // 2).transpose(1, 2)
    weights = F.softmax(q @ q.transpose(-1, -2), -1)
    return (weights @ q).transpose(1, 2).reshape(len(u), -1, C).transpose(1, 2).reshape(u.shape)


def response_norm(unit, u, x):
    g = u.norm(dim=(2, 3), keepdim=True)
    return u * (g / (g.mean(1, keepdim=True) + 1e-6)) + u


def clamped_norm(unit, u, x):
    return u * (1 / u.norm(dim=(2, 3), keepdim=True).clamp(min=1e-6))


def rectified_norm(unit, u, x):
    return u * (1 / (F.relu(u.std((2, 3), keepdim=True) - 1e-5) + 1e-5))


def rectified_norm_in_steps(unit, u, x):
    return u * ((u.std((2, 3), keepdim=True) - 1e-5).clamp(0) + 1e-5).reciprocal().expand_as(u)


def groups(unit, u, x):
    """Groups of channels folded into the batch, as in spatial group-wise enhancement and shuffle attention."""
    folded = u.reshape(len(u) * 4, C // 4, *u.shape[-2:])
    return (folded * torch.sigmoid(folded.mean((2, 3), keepdim=True))).reshape(u.shape)


TRAPS = {
    "groups folded into the batch": groups,
    "plain": lambda unit, u, x: u,
    "spatial gate": spatial, "coordinate gates": coordinates, "swish": swish, "self-attention": attention,
    "global response normalisation": response_norm, "clamped norm": clamped_norm,
    "rectified norm": rectified_norm, "rectified norm in steps": rectified_norm_in_steps,
    "dropout mask": lambda unit, u, x: F.dropout2d(u, 0.3, training=True),
    "a window over space": lambda unit, u, x: u * (torch.sigmoid(
        u.mean((2, 3), keepdim=True)) * torch.hamming_window(u.shape[3])),
    "layer scale": lambda unit, u, x: u * torch.sigmoid(unit.scale.weight.view(1, C, 1, 1)),
    "one gate for all channels": lambda unit, u, x: u * torch.sigmoid(unit.point(u).mean((1, 2, 3), keepdim=True)),
    "a product of pooled vectors": lambda unit, u, x: u + F.silu(u.mean((2, 3), keepdim=True)) * torch.sigmoid(
        u.mean((2, 3), keepdim=True)),
    "an additive context": lambda unit, u, x: u + torch.sigmoid(unit.point(u.mean((2, 3), keepdim=True))),
    "an untrained batch normalisation by hand": lambda unit, u, x: u * u.var((0, 2, 3), keepdim=True).rsqrt(),
    "attention of a class token": lambda unit, u, x: u * u.flatten(2).transpose(1, 2)[:, :1].softmax(-1).mean(
        2, keepdim=True)[..., None],
    "normalisation by hand": lambda unit, u, x: (u - u.mean((2, 3), keepdim=True)) * (
        u.var((2, 3), keepdim=True) + 1e-5).rsqrt() * unit.scale.weight.view(1, C, 1, 1),
    "a softmax over pixels": lambda unit, u, x: u + u * u.flatten(2).softmax(-1).view_as(u),
}


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.filterwarnings("ignore:.*groups of channels:UserWarning")
def test_what_is_no_gate(pictures, trap):
    net = Net(lambda: Around(TRAPS[trap], point=nn.Conv2d(C, C, 1), scale=nn.Conv2d(1, C, 1)))
    assert find_blocks(net, pictures(1)) == []


def test_two_gates_written_in_one_unit(pictures):
    def both(unit, u, x):
        return inline(unit, double(unit, u, x), x)

    blocks = find_blocks(Net(lambda: Around(both, **fc())), pictures(1))
    assert [(block.name, block.label) for block in blocks] == [
        ("layer1.0#0", "SE_2_1"), ("layer1.0#1", "SE_2_1#2"), ("layer2.0#0", "SE_3_1"), ("layer2.0#1", "SE_3_1#2")]


@pytest.mark.parametrize("form", ["inline", "1×1 convolutions, a least width, functional"])
def test_names_and_numbers_do_not_depend_on_size_type_or_instance(pictures, form):
    make, _ = FORMS[form]
    expected = find_blocks(Net(make), pictures(1))
    assert find_blocks(Net(make), pictures(2, 96)) == expected
    assert find_blocks(Net(make).double(), pictures(1).double()) == expected


def test_a_shortcut_of_an_inline_gate(pictures):
    blocks = find_blocks(Net(FORMS["inline"][0]), pictures(1))
    assert [(block.shortcut, block.shortcut_is_input) for block in blocks] == [("layer1.0", True), ("layer2.0", True)]


def test_a_highway_is_no_choice_of_kernels(pictures):
    blocks = find_blocks(Net(Highway), pictures(1))
    assert [(block.kind, block.branches, block.label) for block in blocks] == [
        ("Highway", 2, "Highway_2_1"), ("Highway", 2, "Highway_3_1")]


def test_backbones_that_return_maps_or_dictionaries(pictures):
    class Maps(Net):
        def forward(self, x):
            return [self.layer1(self.stem(x))]

    class Named(Net):
        def forward(self, x):
            return {"logits": super().forward(x), "aux": None}

    batch, expected = pictures(2), inspect(Net(SEConv), pictures(2))
    view = inspect(Maps(SEConv), batch)
    assert view.logits.shape == (2, 0)
    torch.testing.assert_close(view.gates["layer1.0"], expected.gates["layer1.0"])
    with pytest.raises(ValueError, match="returns no logits"):
        inspect(Maps(SEConv), batch, layers=["layer1"])
    torch.testing.assert_close(inspect(Named(SEConv), batch, layers=["layer2"]).logits, expected.logits)


def test_the_gain_of_nfnets():
    module = timm.create_model("eca_nfnet_l0", num_classes=5)
    assert {block.gain for block in find_blocks(module, torch.randn(1, 3, 64, 64))} == {2.0}


@pytest.mark.parametrize("scaled", [lambda branch: branch * 0.17, lambda branch: 0.1 * branch])
def test_a_residual_units_scale_is_no_gain(pictures, scaled):
    class Scaled(nn.Module):  # as in SE-Inception-ResNet-v2, and in restoration
        def __init__(self):
            super().__init__()
            self.conv, self.se = nn.Conv2d(C, C, 3, padding=1), SqueezeExcite(C, 2)

        def forward(self, x):
            return x + scaled(self.se(self.conv(x)))

    net = Net(Scaled)
    blocks = find_blocks(net, pictures(1))
    assert [removals(block) for block in blocks] == [["1"], ["1"]]
    whole = inspect(net, pictures(2), edits=[Edit("*", 1)]).logits
    net.layer1[0].se, net.layer2[0].se = nn.Identity(), nn.Identity()
    torch.testing.assert_close(net(pictures(2)), whole)


def test_a_unit_that_is_used_at_two_places(pictures, unchanged):
    unit = Around(inline, **fc())
    net, batch, seen = Net(lambda: unit), pictures(3), []
    blocks = find_blocks(net, pictures(1))
    assert [(block.name, block.label) for block in blocks] == [("layer1.0@0#0", "SE_1_1"), ("layer1.0@1#0", "SE_2_1")]
    inspect(net, pictures(1))
    handle = unit.register_forward_hook(lambda *_: seen.append(unit.seen[0]))
    with unchanged(net):
        view = inspect(net, batch, layers=["layer1.0@1"], features=[(block.name, "input") for block in blocks])
    handle.remove()
    for block, gate, side in zip(blocks, seen, (32, 16)):
        torch.testing.assert_close(view.gates[block.name][:, 0], gate)
        assert view.features[block.name, "input"].shape == (3, C, side, side)
    assert not torch.equal(*seen)
    assert view.cams["layer1.0@1"].shape == (3, 1, 16, 16)


def test_a_forward_that_wants_other_inputs(pictures):
    class Captions(nn.Module):
        def forward(self, images, lengths):
            return images

    with pytest.raises(ValueError, match="Captions takes images, lengths and not one batch of pictures"):
        find_blocks(Captions(), pictures(1))


def test_no_hook_or_mode_survives_an_exception(pictures, unchanged):
    def fails(unit, u, x):
        inline(unit, u, x)
        if unit.armed:
            raise RuntimeError("on purpose")
        return u

    net = Net(lambda: Around(fails, **fc()))
    for part in net.modules():
        part.armed = False
    inspect(net, pictures(1))  # its blocks are known from now on
    net.layer2[0].armed = True
    with unchanged(net), pytest.raises(RuntimeError, match="on purpose"):
        inspect(net, pictures(1))
    with unchanged(net), pytest.raises(ValueError, match=r"in layer2\.0 \(Around\): on purpose"):
        find_blocks(net, pictures(2))
    from torch.overrides import _get_current_function_mode_stack
    assert _get_current_function_mode_stack() == []


def test_multiplications_are_counted_with_those_of_submodules(pictures):
    net, seen = Net(FORMS["inline"][0]), []
    with hooked(net) as hooks, torch.no_grad():
        hooks.multiplied("", 1, lambda multiply, *operands: seen.append(operands[0].shape) or multiply(*operands))
        net(pictures(1))
    assert seen == [torch.Size([1, C, 16, 16])]  # the second unit's


def test_a_map_of_one_pixel_is_looked_at_from_nearer(pictures):
    expected = find_blocks(Net(SEConv), pictures(1))
    assert find_blocks(Net(SEConv), pictures(1, 4)) == expected  # maps of 2×2 and 1×1

    class OneSize(Net):
        def forward(self, x):
            assert x.shape[-1] == 4
            return super().forward(x)

    assert [block.label for block in find_blocks(OneSize(SEConv), pictures(1, 4))] == ["SE_2_1"]


@pytest.mark.parametrize("gate, found", [
    (torch.arange(4.0).view(1, 4, 1, 1), True), (torch.arange(4.0).view(1, 4, 1, 1).expand(1, 4, 3, 3), True),
    (torch.arange(4.0).view(1, 4, 1, 1).repeat(1, 1, 3, 3), False), (torch.arange(4.0).view(4, 1, 1), True),
    (torch.zeros(1, 4, 1, 1), True), (torch.ones(1, 1, 1, 1), False), (torch.rand(1, 1, 3, 3), False),
    (torch.rand(1, 4, 3, 3), False), (torch.rand(1, 4, 3, 1), False),
    (torch.ones(1, 1, 1, 1).expand(1, 4, 3, 3), False),
])
def test_over_channels(gate, found):
    values = over_channels(gate, torch.Size([2, 4, 3, 3]), 2)
    assert (values is not None) == found
    if found:
        torch.testing.assert_close(values, gate.expand(2, 4, 3, 3)[:, :, 0, 0])


def test_what_is_known_to_be_repeated_is_not_looked_at():
    """Nor does an untrained network, whose activations are all alike, give gates by chance."""
    gate = torch.arange(4.0).view(1, 4, 1, 1).repeat(1, 1, 3, 3)
    assert over_channels(gate, gate.shape, 2) is None
    assert over_channels(gate, gate.shape, 2, enlarged=True).tolist() == [[0, 1, 2, 3]]
