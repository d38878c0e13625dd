"""Other gates in the place of a block's own: each computed here by hand, and put into the network by hand."""
import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import senet_viz as sv
from senet_viz.experiments import variants
from senet_viz.models import slim_resnet50
from senet_viz.reports import papers
from tests.experiments.test_anatomy import close, entering, inline, model_of, odd
from tests.gates.test_search import Around, Gives, Net, SKInUnit, given

CLASSES = ["<b>zero</b>", "one", "two", "three", "four"]


@pytest.fixture(scope="module")
def batch() -> torch.Tensor:
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def network(kind: str) -> sv.Model:
    torch.manual_seed(0)
    return model_of(slim_resnet50(kind, num_classes=5, widths=(4, 8, 8, 8), min_width=4))


@pytest.fixture(scope="module")
def se() -> sv.Model:
    return network("se")


@pytest.fixture(scope="module")
def run(se, batch) -> variants.Variants:
    return variants.variants(se, batch, "SE_5_3")  # its unit's input has as many channels


class Fixed(nn.Module):
    """A block that puts out what it is told."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, _):
        return self.output


@torch.no_grad()
def swapped(model: sv.Model, path: str, output: torch.Tensor, batch) -> torch.Tensor:
    """The logits of a copy of the network with something else in a block's place."""
    module = copy.deepcopy(model.module)
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, Fixed(output))
    return module(batch)[0]


@torch.no_grad()
def test_every_variant_is_its_definition(se, run, batch):
    block, path = se.module.get_submodule("layer4.2.se"), "layer4.2.se"
    u, x = entering(se, path, batch)[0], entering(se, "layer4.2", batch)[0]

    def a(z):
        return block.expand.weight @ torch.relu(block.reduce.weight @ z + block.reduce.bias) + block.expand.bias

    z = u.mean((1, 2))
    gates = {
        variants.OWN: a(z).sigmoid(), "squeeze: max": a(u.amax((1, 2))).sigmoid(),
        "layers: 1×1 convolutions": a(z).sigmoid(), "excitation: tanh": a(z).tanh(), "excitation: ReLU": a(z).relu(),
        "excitation: softmax over channels": a(z).softmax(0), variants.NO_LAYERS: z.sigmoid(),
        variants.PARALLEL: a(x.mean((1, 2))).sigmoid()}
    assert set(run.gates) == {*gates, variants.CONVOLUTION} and not run.left_out
    for name, gate in gates.items():
        close(run.gates[name][0], gate)
        close(run.logits[name], swapped(se, path, (gate[:, None, None] * u)[None], batch))
    plain = F.conv2d(torch.relu(F.conv2d(u[None], block.reduce.weight[..., None, None], block.reduce.bias)),
                     block.expand.weight[..., None, None], block.expand.bias)
    close(run.outputs[variants.CONVOLUTION], plain[0])
    close(run.logits[variants.CONVOLUTION], swapped(se, path, plain, batch))
    nearest = [np.linalg.lstsq(u[c].numpy().reshape(-1, 1), plain[0, c].numpy().ravel(), rcond=None)[0][0]
               for c in range(len(u))]
    close(run.gates[variants.CONVOLUTION][0], np.array(nearest, np.float32))


@torch.no_grad()
def test_every_variant_of_a_selective_kernel(batch):
    model, path = network("sk"), "layer4.1.conv2"
    run, unit = variants.variants(model, batch, "SK_5_2"), model.module.get_submodule("layer4.1.conv2")
    x = entering(model, path, batch)
    maps = torch.stack([branch(x) for branch in unit.branches])[:, 0]

    def a(s):
        return unit.select(unit.fuse[1:](s[None, :, None, None])).view(2, 8)

    s = maps.sum(0).mean((1, 2))
    gates = {
        variants.OWN: a(s).softmax(0), "squeeze: max": a(maps.sum(0).amax((1, 2))).softmax(0),
        "layers: linear": a(s).softmax(0), "excitation: sigmoid": a(s).sigmoid(), "excitation: tanh": a(s).tanh(),
        "excitation: ReLU": a(s).relu(), "excitation: softmax over channels": a(s).softmax(1),
        variants.NO_LAYERS: maps.mean((2, 3)).softmax(0), variants.PARALLEL: a(x[0].mean((1, 2))).softmax(0)}
    assert set(run.gates) == set(gates)
    for name, gate in gates.items():
        close(run.gates[name], gate)
        close(run.logits[name], swapped(model, path, (gate[..., None, None] * maps).sum(0)[None], batch))
    assert variants.strips(run).query("strip == @variants.OWN")["value"].to_numpy() == pytest.approx(
        gates[variants.OWN][1].numpy(), abs=1e-5)


def test_the_table_is_what_numpy_says(run):
    table = variants.table(run, CLASSES).set_index("variant")
    own = run.gates[variants.OWN].numpy().ravel()
    for name, row in table.iterrows():
        gate = run.gates[name].numpy().ravel()
        assert row["correlation"] == pytest.approx(np.corrcoef(gate, own)[0, 1], abs=1e-5)
        assert row["difference"] == pytest.approx(np.abs(gate - own).mean(), abs=1e-6)
        probable = np.exp(run.logits[name].numpy())
        probable /= probable.sum()
        assert row["class"] == CLASSES[probable.argmax()]
        assert row["probability"] == pytest.approx(probable.max(), rel=1e-4)
        assert row["own class"] == pytest.approx(probable[run.logits[variants.OWN].argmax()], rel=1e-4)
    assert table["difference"].iloc[0] == 0 and table["correlation"].iloc[0] == pytest.approx(1)


def test_dependence_is_that_of_finite_differences(se, run):
    block, z = se.module.get_submodule("layer4.2.se"), run.found.squeezed.double()
    w1, b1, w2, b2 = (p.detach().double() for p in (block.reduce.weight, block.reduce.bias, block.expand.weight,
                                                    block.expand.bias))

    def s(z):
        return torch.sigmoid(w2 @ torch.relu(w1 @ z + b1) + b2)
    slopes = torch.stack([(s(z + e) - s(z - e)) / 2e-6 for e in torch.eye(len(z), dtype=torch.float64) * 1e-6]).abs()
    expected = 1 - slopes.diagonal().sum() / slopes.sum()
    assert variants.dependence(run.found) == pytest.approx(float(expected), abs=1e-4) and expected > 0.8


def test_findings_have_the_numbers(run, se):
    said = variants.findings(run)
    assert len(said) == 5 and all("nan" not in sentence for sentence in said)
    text, own = "\n".join(said), run.gates[variants.OWN].numpy().ravel()
    for name in (variants.NO_LAYERS, variants.PARALLEL):
        assert f"{np.corrcoef(run.gates[name].numpy().ravel(), own)[0, 1]:+.2f} with the own one" in text
    assert f"{variants.dependence(run.found):.1%}" in text
    assert "which is rounding" in text or "are identical" in text
    shown = variants.table(run, CLASSES)
    effect = variants.effect(run, shown)
    turned = (shown["class"] != shown["class"].iloc[0]).sum()
    assert f"{turned or 'none'} of {len(shown) - 1} variants change" in effect and "<b>" not in effect
    published = variants.published()
    for table in (papers.SQUEEZES, papers.EXCITATIONS):
        assert all(f"{name} {top1:.2f} %" in published for name, (top1, _) in table.items())


def test_what_a_blocks_weights_do_not_allow_is_left_out_with_a_sentence(se, batch):
    run = variants.variants(se, batch, "SE_2_1")  # 8 channels enter a unit of 16
    assert variants.PARALLEL not in run.gates and "has 8 channels, but its first layer takes 16" in run.left_out[
        variants.PARALLEL]
    assert variants.findings(run)[-1].startswith("**From the unit's input** is left out. ")
    model = odd(twice=True)
    run = variants.variants(model, batch, model.blocks[0].label)
    assert list(run.gates) == [variants.OWN] and "more than once" in variants.findings(run)[0]
    variants.effect(run, variants.table(run, CLASSES))


@torch.no_grad()
def test_a_gate_written_inline_is_swapped_too(batch):
    model = inline()
    run, unit = variants.variants(model, batch, model.blocks[0].label), model.module[2]
    x = entering(model, "2", batch)
    u = unit.conv(x)
    assert len(run.gates) > 5
    close(run.gates["excitation: tanh"], run.found.logits.tanh())
    for name, gate in run.gates.items():
        close(run.logits[name], model.module[3:](F.relu(gate[0][:, None, None] * u + x))[0])
    assert np.ptp(torch.stack(list(run.logits.values())).numpy(), axis=0).max() > 1e-3
    assert "variants change" in variants.effect(run, variants.table(run, CLASSES))


@torch.no_grad()
def test_a_module_that_gives_the_gate_is_swapped_too(batch):
    torch.manual_seed(0)
    model = model_of(Net(lambda: Around(given, ca=Gives())))
    assert model.blocks[0].name == "layer1.0.ca"
    run, unit = variants.variants(model, batch, model.blocks[0].label), model.module.layer1[0]
    u = unit.conv(entering(model, "layer1", batch))
    assert variants.CONVOLUTION in run.outputs  # no module's output is what it takes the place of
    for name, gate in run.gates.items():
        scaled = run.outputs[name][None] if name in run.outputs else gate[0][:, None, None] * u
        close(run.logits[name], model.module.head(model.module.layer2(model.module.pool(scaled)).mean((2, 3)))[0])


@torch.no_grad()
def test_a_selective_kernel_written_inline_is_swapped_too(batch):
    model = model_of(Net(SKInUnit))
    run, unit = variants.variants(model, batch, "SK_2_1"), model.module.layer1[0]
    x = entering(model, "layer1", batch)
    maps = torch.stack([unit.sk.three(x), unit.sk.five(x)])[:, 0]
    assert len(run.gates) > 5
    for name, gate in run.gates.items():
        left = F.relu(unit.out((gate[..., None, None] * maps).sum(0)[None]) + x)
        close(run.logits[name], model.module.head(model.module.layer2(model.module.pool(left)).mean((2, 3)))[0])


def test_the_network_is_left_as_it_was(se, batch):
    before = {name: value.clone() for name, value in se.module.state_dict().items()}
    first = se.module(batch)
    variants.variants(se, batch, "SE_3_2")
    assert all(torch.equal(before[name], value) for name, value in se.module.state_dict().items())
    assert torch.equal(se.module(batch), first)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in se.module.modules())
