"""A block taken apart gives the numbers that the network had, computed here by hand from its weights."""
import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

import senet_viz as sv
from senet_viz.experiments import anatomy
from senet_viz.models import slim_resnet50
from tests.gates.test_search import Net, SKInUnit


def model_of(module: nn.Module, side: int = 32) -> sv.Model:
    """A model whose batches are made by hand; its norms and gates are not what they start from."""
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, (nn.BatchNorm2d, nn.BatchNorm1d)):
            part.weight.data.uniform_(0.5, 1.5, generator=generator)
            part.bias.data.uniform_(-0.5, 0.5, generator=generator)
    return sv.Model(module, lambda image: torch.zeros(3, side, side) + torch.from_numpy(
        np.array(image.resize((side, side)))).permute(2, 0, 1) / 255, [str(i) for i in range(5)])


@pytest.fixture(scope="module")
def batch() -> torch.Tensor:
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def se() -> sv.Model:
    torch.manual_seed(0)
    return model_of(slim_resnet50("se", num_classes=5, widths=(4, 8, 8, 8), min_width=4))


@pytest.fixture(scope="module")
def sk() -> sv.Model:
    torch.manual_seed(0)
    return model_of(slim_resnet50("sk", num_classes=5, widths=(4, 8, 8, 8), min_width=4))


def entering(model, path, batch) -> torch.Tensor:
    seen = []
    handle = model.module.get_submodule(path).register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    with torch.no_grad():
        model.module(batch)
    handle.remove()
    return seen[0]


def close(a, b):
    torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_squeeze_excite_block_is_the_papers_arithmetic(se, batch):
    found, block = anatomy.dissect(se, batch, "SE_3_2"), se.module.get_submodule("layer2.1.se")
    u = entering(se, "layer2.1.se", batch)[0]
    z = u.mean((1, 2))
    h = torch.relu(block.reduce.weight @ z + block.reduce.bias)
    s = torch.sigmoid(block.expand.weight @ h + block.expand.bias)
    close(found.maps[0], u)
    close(found.squeezed, z)
    close(found.hidden, h)
    close(found.gate[0], s)
    close(found.output, s[:, None, None] * u)
    assert (found.squeeze, found.excitation, found.missing) == ("mean", "sigmoid", "") and found.error < 1e-6
    table = anatomy.strips(found)
    assert [(name, len(rows)) for name, rows in table.groupby("strip", sort=False)] == [
        ("z, mean of U over space", 32), ("hidden layer", 4), ("gate s", 32), ("RMS of U, before the gate", 32),
        ("RMS of s·U, after the gate", 32)]
    close(np.array(table.loc[table["strip"] == "RMS of s·U, after the gate", "value"], np.float32),
          (s[:, None, None] * u).pow(2).mean((1, 2)).sqrt())


@torch.no_grad()
def test_a_selective_kernel_is_the_papers_arithmetic(sk, batch):
    found, unit = anatomy.dissect(sk, batch, "SK_4_1"), sk.module.get_submodule("layer3.0.conv2")
    maps = torch.stack([branch(entering(sk, "layer3.0.conv2", batch)) for branch in unit.branches])[:, 0]
    s = maps.sum(0).mean((1, 2))
    norm = unit.fuse[2]
    z = torch.relu(F.batch_norm((unit.fuse[1].weight.flatten(1) @ s)[None], norm.running_mean, norm.running_var,
                                norm.weight, norm.bias))[0]
    a = (unit.select.weight.flatten(1) @ z).view(2, 8).softmax(0)
    for mine, theirs in ((maps, found.maps), (s, found.squeezed), (z, found.hidden), (a, found.gate),
                         ((a[..., None, None] * maps).sum(0), found.output)):
        close(theirs, mine)
    assert found.excitation == "softmax over branches"
    shown = anatomy.channel_maps(found, 3)
    assert list(shown) == ["3×3 branch", "5×5 branch", "U, their sum", "weighted sum"]
    close(shown["weighted sum"], a[0, 3] * maps[0, 3] + a[1, 3] * maps[1, 3])
    cells = anatomy.cells(found, 3)
    assert len(cells) == sum(values.size for values in shown.values()) and set(cells["map"]) == set(shown)
    assert "weights sum to 1.000" in anatomy.describe_channel(found, 3)[0]
    assert f"The weights run from {float(a.min()):.3f} to {float(a.max()):.3f}, the softmax" in anatomy.describe(found)


KINDS = {  # timm's; squeeze, hidden width or None, excitation, what the formula has
    "seresnet18": ("mean", 8, "sigmoid", r"\mathrm{ReLU}(W_1 z + b_1)"),
    "ecaresnet26t": ("mean", None, "sigmoid", "w_1 * z"),
    "mobilenetv3_small_100": ("mean", 8, "hard sigmoid", r"\mathrm{hard}\,\sigma"),
    "ese_vovnet19b_dw": ("mean", None, "hard sigmoid", "W_1 z + b_1"),
    "efficientnet_b0": ("mean", 8, "sigmoid", r"\mathrm{SiLU}(W_1 z + b_1)"),
    "skresnet18": ("mean", 16, "softmax over branches", r"\mathrm{ReLU}(\mathrm{BN}(W_1 s))"),
}


@pytest.mark.parametrize("name", KINDS)
def test_blocks_of_timm(name):
    torch.manual_seed(0)
    module = timm.create_model(name, num_classes=5)
    for part in module.modules():  # zero-initialised norms would leave maps of zeros
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, 0.5, 1.0)
        if isinstance(part, (nn.Conv2d, nn.Conv1d)) and part.weight[0].numel() > 27:
            nn.init.kaiming_normal_(part.weight, nonlinearity="linear")
    model = model_of(module, 64)
    found = anatomy.dissect(model, torch.rand(1, 3, 64, 64), model.blocks[0].label)
    squeeze, hidden, excitation, formula = KINDS[name]
    assert (found.squeeze, found.excitation) == (squeeze, excitation)
    assert (None if found.hidden is None else len(found.hidden)) == hidden
    assert any(formula in line for line in anatomy.formulae(found))
    assert ("no hidden layer" in anatomy.describe(found)) == (hidden is None)
    close(found.squeezed, found.summed.mean((1, 2)))
    close(anatomy.EXCITATIONS[excitation](found.logits), found.gate)


class Odd(nn.Module):
    """A gate by a function, whose layers run twice when asked to."""

    def __init__(self, twice: bool = False, squeeze: str = "max"):
        super().__init__()
        self.fc, self.gate, self.twice, self.squeeze = nn.Linear(6, 6), nn.Sigmoid(), twice, squeeze

    def forward(self, x):
        z = x.amax((2, 3)) if self.squeeze == "max" else x.pow(2).mean((2, 3))
        a = self.fc(z)
        return x * self.gate(self.fc(a) if self.twice else a)[..., None, None]


def odd(**options) -> sv.Model:
    torch.manual_seed(0)
    return model_of(nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), Odd(**options), nn.Conv2d(6, 5, 3),
                                  nn.AdaptiveAvgPool2d(1), nn.Flatten()))


class Inline(nn.Module):
    """A residual unit whose gate is written out in its forward."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc1, self.fc2 = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 4), nn.Linear(4, 6)

    def forward(self, x):
        u = self.conv(x)
        s = torch.sigmoid(self.fc2(F.relu(self.fc1(u.mean((2, 3))))))
        return F.relu(u * s[..., None, None] + x)


def inline() -> sv.Model:
    torch.manual_seed(0)
    return model_of(nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), Inline(), nn.Conv2d(6, 5, 3),
                                  nn.AdaptiveAvgPool2d(1), nn.Flatten()))


@torch.no_grad()
def test_a_gate_written_inline(batch):
    model = inline()
    assert "#" in model.blocks[0].name
    found, unit = anatomy.dissect(model, batch, model.blocks[0].label), model.module[2]
    h = F.relu(unit.fc1(unit.conv(entering(model, "2", batch)).mean((2, 3))))
    close(found.hidden, h[0])
    close(found.gate, torch.sigmoid(unit.fc2(h)))
    assert r"\mathrm{ReLU}(W_1 z + b_1)" in anatomy.formulae(found)[1]


class Padded(nn.Conv2d):
    """A convolution that holds its padding, as in efficientnet_pytorch."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, 1)
        self.static_padding = nn.Identity()

    def forward(self, x):
        return super().forward(self.static_padding(x))


class Summed(nn.Module):
    """A gate inline, the sum of one or two: of the map, and of the unit's input, as in MAnet."""

    def __init__(self, gates: int):
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 3, padding=1)
        self.gates = nn.ModuleList(nn.Sequential(nn.AdaptiveAvgPool2d(1), Padded(6, 4), nn.ReLU(), Padded(4, 6),
                                                 nn.Sigmoid()) for _ in range(gates))

    def forward(self, x):
        u = self.conv(x)
        return u * sum(gate(given) for gate, given in zip(self.gates, (u, x)))


def summed(gates: int) -> sv.Model:
    torch.manual_seed(0)
    return model_of(nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), Summed(gates), nn.Conv2d(6, 5, 3),
                                  nn.AdaptiveAvgPool2d(1), nn.Flatten()))


@torch.no_grad()
def test_a_layer_that_holds_modules(batch):
    model = summed(1)
    found, unit = anatomy.dissect(model, batch, model.blocks[0].label), model.module[2]
    u = unit.conv(entering(model, "2", batch))
    close(found.squeezed, u[0].mean((1, 2)))
    close(found.hidden, unit.gates[0][:3](u).flatten())
    close(found.logits, unit.gates[0][:4](u).reshape(1, -1))
    assert found.squeeze == "mean" and found.excitation == "sigmoid"


def test_a_gate_of_two_squeezed_maps_has_no_single_vector(batch):
    found = anatomy.dissect(model := summed(2), batch, model.blocks[0].label)
    assert found.steps == () and "squeezes more than once" in anatomy.describe(found)


def test_layers_that_run_twice_have_no_single_vector(batch):
    """The channel attention of CBAM, with its pools as modules."""
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.mean, self.max = nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)
            self.layers = nn.Sequential(nn.Conv2d(6, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, 1))

        def forward(self, x):
            return x * (self.layers(self.mean(x)) + self.layers(self.max(x))).sigmoid()

    model = model_of(nn.Sequential(nn.Conv2d(3, 6, 3), Shared(), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    found = anatomy.dissect(model, batch, model.blocks[0].label)
    assert found.steps == () and "runs the same layers more than once" in anatomy.describe(found)


@torch.no_grad()
def test_a_sum_of_branches_that_no_module_gives_is_computed(batch):
    model = model_of(Net(SKInUnit))
    found, unit = anatomy.dissect(model, batch, "SK_2_1"), model.module.layer1[0]
    assert not found.block.has_output
    x = entering(model, "layer1", batch)
    maps = torch.stack([unit.sk.three(x), unit.sk.five(x)])[:, 0]
    model.module(batch)
    close(found.maps, maps)
    close(found.gate, unit.seen[0][0])
    close(found.output, (unit.seen[0][0][..., None, None] * maps).sum(0))
    text = anatomy.describe(found)
    assert found.error is None and "Σ a·U is computed here and was not seen" in text
    assert "is the block's output" not in text and f"largest value is {float(found.output.abs().max()):.2g}." in text
    assert len(anatomy.strips(found)) and len(anatomy.cells(found, 0))


def test_other_squeezes_and_what_cannot_be_told(batch):
    found = anatomy.dissect(model := odd(), batch, model.blocks[0].label)
    assert found.squeeze == "max" and r"\max" in anatomy.formulae(found)[0]
    assert "is the max of U" in anatomy.describe(found)
    found = anatomy.dissect(model := odd(squeeze="square"), batch, model.blocks[0].label)
    assert found.squeeze is None and "does not squeeze by a mean or maximum" in anatomy.describe(found)
    found = anatomy.dissect(model := odd(twice=True), batch, model.blocks[0].label)
    assert found.steps == () and found.squeezed is None and "more than once" in anatomy.describe(found)
    assert list(anatomy.strips(found)["strip"].unique()) == [
        "gate s", "RMS of U, before the gate", "RMS of s·U, after the gate"]
    assert anatomy.formulae(found) == [r"\tilde U_c = s_c \cdot U_c"]


def test_an_unknown_block_is_a_sentence_and_no_hook_is_left(se, batch):
    with pytest.raises(ValueError, match="no attention block 'SE_9_9'"):
        anatomy.dissect(se, batch, "SE_9_9")
    anatomy.dissect(se, batch, "SE_2_1")
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in se.module.modules())


class Told:
    """What statistics say of a network, as far as sentences ask."""

    zooms, metadata, sampled = (1.0,), {"data": "some_photos"}, 2048

    def __init__(self, **dimension: float):
        self.dimension = dimension

    def hidden(self, label: str, zoom: float) -> dict[str, float]:
        return {"units": 4.0, "alive": 3.0, "effective": 1.04} if label == "SE_5_3" else {}

    def measures(self, label: str, zoom: float) -> dict[str, float]:
        return {"dimension": self.dimension[label]}


def test_hidden_units_are_counted_by_what_they_add(se, batch):
    found, block = anatomy.dissect(se, batch, "SE_5_3"), se.module.get_submodule("layer4.2.se")
    v = np.square(block.expand.weight.detach().numpy().astype(float)).sum(0) * np.square(found.hidden.numpy())
    assert anatomy.effective_units(found) == pytest.approx(v.sum()**2 / np.square(v).sum(), rel=1e-5)
    alone = anatomy.describe(found)
    assert f"they count as **{v.sum()**2 / np.square(v).sum():.1f}** equal ones, (Σv)²/Σv²." in alone
    assert ("Over 2,048 pictures of some\\_photos 3 live (above zero in 1 to 99 %), and by the variance that each adds "
            "they count as **1.0**.") in anatomy.describe(found, Told())
    assert anatomy.describe(anatomy.dissect(se, batch, "SE_2_1"), Told()) == anatomy.describe(
        anatomy.dissect(se, batch, "SE_2_1"))  # what is not known of a block is not said
    one = anatomy.dissect(model := odd(), batch, model.blocks[0].label)
    assert np.isnan(anatomy.effective_units(one)) and "count as" not in anatomy.describe(one)


def test_a_block_that_moves_comes_first():
    stats = Told(SE_2_1=2.0, SE_3_1=1.5, SE_4_1=1.03, SE_5_1=float("nan"))
    labels = list(stats.dimension)
    assert anatomy.default_block(labels, stats) == "SE_3_1"
    assert anatomy.default_block(labels[2:], stats) == anatomy.default_block(labels, None) == "SE_5_1"


def test_a_gate_that_is_always_open_has_no_range_and_no_first_channel(batch):
    torch.manual_seed(0)
    model = model_of(slim_resnet50("se", num_classes=5, widths=(4, 8, 8, 8), min_width=4))
    nn.init.constant_(model.module.get_submodule("layer4.2.se.expand").bias, 60.0)
    found = anatomy.dissect(model, batch, "SE_5_3")
    assert " The gate is 1.000 in every channel, the sigmoid of the last layer's output." in anatomy.describe(found)
    assert "the gate 1.000, rank 1 of 32, which it shares with 31 more. " in anatomy.describe_channel(found, 7)[0]


class Doubled(nn.Module):
    """Twice the gated map."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        return x * self.fc(x.mean((2, 3))).sigmoid()[..., None, None] * 2


def test_a_factor_behind_the_gate_is_told(batch):
    torch.manual_seed(0)
    model = model_of(nn.Sequential(nn.Conv2d(3, 8, 3), Doubled(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                                   nn.Linear(8, 5)))
    found = anatomy.dissect(model, batch, model.blocks[0].label)
    close(2 * found.output, model.module[:2](batch)[0])
    assert "exactly, before the factor of 2 that follows" in anatomy.describe(found)


def test_sentences_are_the_numbers(se, batch):
    found = anatomy.dissect(se, batch, "SE_5_3")
    text, formulae = anatomy.describe(found), " ".join(anatomy.formulae(found))
    assert f"{int((found.hidden > 0).sum())} of its 4 hidden units" in text
    assert f"from {float(found.gate.min()):.3f} to {float(found.gate.max()):.3f}, the sigmoid" in text
    assert r"\mathbb{R}^{4 \times 32}" in formulae and "r = 32 / 4 = 8" in formulae
    sentence, line = anatomy.describe_channel(found, 7)
    rank = int((found.gate[0] > found.gate[0, 7]).sum()) + 1
    assert f"gate {float(found.gate[0, 7]):.3f}, rank {rank} of 32. " in sentence and f"(#{rank})" in line
