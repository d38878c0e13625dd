"""Other gates in the place of a block's own: each computed here by hand, and put into the network by hand."""
import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import senet_viz as sv
from senet_viz.experiments import anatomy, variants
from senet_viz.layers import SqueezeExcite
from senet_viz.models import for_and_against, slim_resnet50
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
def others() -> torch.Tensor:
    return torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * torch.linspace(0.2, 2, 6)[
        :, None, None, None]


@pytest.fixture(scope="module")
def run(se, batch, others) -> variants.Variants:
    return variants.variants(se, batch, "SE_5_3", others)  # its unit's input has as many channels


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


@torch.no_grad()
def by_hand(se, pictures) -> dict[str, np.ndarray]:
    """Variant → its gate in each picture, (N, C), in float64."""
    module = copy.deepcopy(se.module).double()
    block, found = module.get_submodule("layer4.2.se"), {}
    for i, picture in enumerate(pictures.double()):
        double = sv.Model(module, None, CLASSES)
        u, x = (entering(double, path, picture[None])[0] for path in ("layer4.2.se", "layer4.2"))

        def a(z):
            return block.expand.weight @ torch.relu(block.reduce.weight @ z + block.reduce.bias) + block.expand.bias

        z = u.mean((1, 2))
        plain = F.conv2d(torch.relu(F.conv2d(u[None], block.reduce.weight[..., None, None], block.reduce.bias)),
                         block.expand.weight[..., None, None], block.expand.bias)[0]
        for name, gate in {variants.OWN: a(z).sigmoid(), "squeeze: max": a(u.amax((1, 2))).sigmoid(),
                           "excitation: tanh": a(z).tanh(), variants.NO_LAYERS: z.sigmoid(),
                           variants.PARALLEL: a(x.mean((1, 2))).sigmoid(),
                           variants.CONVOLUTION: (plain * u).sum((1, 2)) / u.square().sum((1, 2)),
                           "z": z, "x": x.mean((1, 2))}.items():
            found.setdefault(name, np.zeros((len(pictures), len(gate))))[i] = gate.numpy()
    return found


def test_structures_are_compared_across_pictures(se, run, batch, others):
    gates = by_hand(se, torch.cat([batch, others]))
    shown, text = variants.table(run, CLASSES).set_index("variant"), "\n".join(variants.findings(run))
    assert run.pictures == 7
    for name in (set(gates) - {"z", "x"}):
        assert run.across[name][:, 0].numpy() == pytest.approx(gates[name], abs=1e-4)
        # a float32 gate that moves in its last digits only is still
        own = [np.corrcoef(gates[name][:, c], gates[variants.OWN][:, c])[0, 1] if min(
            np.ptp(gates[each][:, c]) for each in (name, variants.OWN)) > 1e-6 else np.nan for c in range(32)]
        assert variants.agreement(run, name)[0] == pytest.approx(own, abs=0.02, nan_ok=True)
        own = np.array(own)[np.isfinite(own)]
        assert shown.loc[name, ["lower", "correlation", "upper"]].tolist() == pytest.approx(
            np.quantile(own, [0.25, 0.5, 0.75]).tolist(), abs=0.01)
        if name in (variants.NO_LAYERS, variants.CONVOLUTION, variants.PARALLEL):
            assert f"correlation with the own one is {shown['correlation'][name]:+.2f} in the median channel" in text
    pooled = np.median([np.corrcoef(gates["x"][:, c], gates["z"][:, c])[0, 1] for c in range(32) if min(
        np.ptp(gates[each][:, c]) for each in "xz") > 1e-6])  # ReLUs before it leave some channels at 0
    assert f"the median channel's pooled input has a correlation of {pooled:+.2f} with its pooled U" in text
    powers = np.linalg.svd(gates[variants.OWN] - gates[variants.OWN].mean(0), compute_uv=False)**2
    assert run.along_one == pytest.approx(powers[0] / powers.sum(), abs=1e-3)


def test_a_pattern_that_all_pictures_share_is_no_agreement(run):
    """Channels differ much and alike in both gates, pictures hardly and the other way round."""
    generator = np.random.default_rng(0)
    pattern, moves = generator.uniform(0.1, 0.9, (1, 32)), generator.normal(size=(6, 1)) * 0.01
    same, other = (torch.from_numpy(pattern + sign * moves)[:, None] for sign in (1, -1))
    assert np.corrcoef(same[0, 0], other[0, 0])[0, 1] > 0.999  # across channels, what was said before
    collapsed = dataclasses.replace(run, across={variants.OWN: same, variants.NO_LAYERS: other})
    assert variants.agreement(collapsed, variants.NO_LAYERS) == pytest.approx(np.full((1, 32), -1.0))
    assert collapsed.along_one == pytest.approx(1) and variants.findings(collapsed)[0].startswith(
        "Over these 6 pictures 100% of the variance of SE_5_3's own gate lies along one direction: its 32 channels")
    assert "correlation with the own one is -1.00 in the median channel (-1.00 to -1.00" in "".join(
        variants.findings(collapsed))
    still = dataclasses.replace(run, across={variants.OWN: same, variants.NO_LAYERS: same[:1].expand(6, 1, 32)})
    assert np.isnan(variants.agreement(still, variants.NO_LAYERS)).all()
    assert "has no correlation with the own one, for one of the two does not move" in "".join(variants.findings(still))


def test_few_pictures_tell_no_correlation(se, batch):
    run = variants.variants(se, batch, "SE_5_3")
    assert run.pictures == 1 and np.isnan(run.along_one)
    assert variants.table(run, CLASSES)[["lower", "correlation", "upper"]].isna().all(axis=None)
    text = "".join(variants.findings(run))
    assert "correlation of" not in text and "is told by 5 pictures or more" in text and "nan" not in text


def test_published_errors_stand_beside_what_is_swapped_in(run):
    shown = variants.table(run, CLASSES)
    table = variants.beside(run, shown).set_index(["question", "choice"])
    assert table["top1"].to_dict() == {
        ("squeeze", "mean"): 22.28, ("squeeze", "max"): 22.57,
        ("squeeze", "none"): 22.93, ("excitation", "sigmoid"): 22.28,
        ("excitation", "tanh"): 23.00, ("excitation", "ReLU"): 23.47}
    assert table["variant"].tolist() == [variants.OWN, "squeeze: max", "not tried here", variants.OWN,
                                         "excitation: tanh", "excitation: ReLU"]
    own = shown.set_index("variant")
    for row in table.itertuples():
        if row.variant in own.index:
            assert row.correlation == own.loc[row.variant, "correlation"]
    assert table["own class"].isna().tolist() == [False, False, True, False, False, False]


def test_the_table_is_what_numpy_says(run):
    table = variants.table(run, CLASSES).set_index("variant")
    own = run.gates[variants.OWN].numpy().ravel()
    for name, row in table.iterrows():
        gate = run.gates[name].numpy().ravel()
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
    mean = slopes.sum() / len(z)**2
    assert variants.own_weight(run.found) == pytest.approx(float(slopes.diagonal().mean() / mean), abs=1e-2)
    text = "".join(variants.findings(run))
    assert f"{float(expected):.1%} of the gate's sensitivity" in text and f"1 − 1/C is {1 - 1 / 32:.1%}." in text
    assert f"is {variants.own_weight(run.found):.2f} times as sensitive to that channel's own squeezed value" in text


def test_a_dense_layer_that_knows_no_own_channel_has_the_baseline():
    module = nn.Sequential(nn.Conv2d(3, 8, 1), SqueezeExcite(8, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        for parameter in module[1].parameters():
            parameter.fill_(0.1)
    model = model_of(module)
    found = anatomy.dissect(model, torch.rand(1, 3, 32, 32) + 1, model.blocks[0].label)
    assert variants.dependence(found) == pytest.approx(1 - 1 / 8, abs=1e-6)
    assert variants.own_weight(found) == pytest.approx(1, abs=1e-5)


def test_findings_have_the_numbers(run, se):
    said = variants.findings(run)
    assert len(said) == 5 + (run.along_one >= variants.ALONG_ONE) and all("nan" not in sentence for sentence in said)
    text = "\n".join(said)
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
    assert list(run.gates) == list(run.across) == [variants.OWN] and "more than once" in variants.findings(run)[0]
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


def test_other_pictures_of_other_sizes(se, batch, others):
    one_by_one = variants.variants(se, batch, "SE_4_2", others.split(1))
    together = variants.variants(se, batch, "SE_4_2", others)
    for name, gates in together.across.items():
        close(one_by_one.across[name], gates)
    mixed = variants.variants(se, batch, "SE_4_2", [*others[:4].split(1), others[4:5, :, :24], others[5:, :, :, :16]])
    for name, gates in together.across.items():
        close(mixed.across[name][:5], gates[:5])
    assert mixed.pictures == 7


def test_a_network_without_logits(se, batch, others):
    class Backbone(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = se.module

        def forward(self, x):
            return {"features": self.net(x)[:, :, None], "input": x}

    own = variants.variants(se, batch, "SE_3_1", others)
    run = variants.variants(sv.Model(Backbone(), se.transform, []), batch, "SE_3_1", others)
    assert run.logits == {}
    shown, expected = variants.table(run, []), variants.table(own, CLASSES)
    gone = ["class", "probability", "own class"]
    pd.testing.assert_frame_equal(shown.drop(columns=gone), expected.drop(columns=gone))
    assert shown[["probability", "own class"]].isna().all(axis=None)
    assert set(shown["class"]) == {""}
    said = variants.effect(run, shown)
    assert said in variants.effect(own, expected)
    assert said.endswith("the block's own weights.")
    assert variants.findings(run) == variants.findings(own)
    assert variants.beside(run, shown)["own class"].isna().all()


@pytest.mark.parametrize("names", [[], ["smiling"], ["no", "yes"]])
def test_one_logit_is_for_and_against(se, batch, names):
    torch.manual_seed(0)
    one = sv.Model(nn.Sequential(se.module, nn.Linear(5, 1)), se.transform, names)
    both = for_and_against(one)
    run = variants.variants(one, batch, "SE_5_3")
    shown, expected = variants.table(run, one.classes), variants.table(
        variants.variants(both, batch, "SE_5_3"), both.classes)
    pd.testing.assert_frame_equal(shown, expected)
    assert shown["class"].isin(both.classes).all() and shown["probability"].between(0.5, 1, inclusive="left").all()
    chance = float(sv.record(one, batch).logits.sigmoid())
    assert shown["probability"][0] == pytest.approx(max(chance, 1 - chance))
    assert shown["own class"].nunique() > 1 and variants.effect(run, shown).count("%") == 2


@pytest.mark.parametrize("classes", [0, 7])
def test_numbers_that_are_no_classes_say_nothing_of_a_prediction(se, batch, classes):
    names = list("abcdefg"[:classes])
    run = variants.variants(sv.Model(se.module, se.transform, names), batch, "SE_5_3")
    shown = variants.table(run, names)
    assert run.logits == {} and shown["class"].eq("").all() and "network says" not in variants.effect(run, shown)


class Burst(nn.Module):
    """What gives nan of a bright picture."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x) * torch.where(x.mean((1, 2, 3)) > 0.9, torch.nan, 1)[:, None]


def test_a_picture_whose_output_is_not_finite_is_a_sentence_and_not_compared_with(se, batch):
    model = model_of(Burst(se.module))
    label, bright, dark = model.blocks[-1].label, torch.ones_like(batch), torch.zeros_like(batch)
    with pytest.raises(anatomy.NotFinite, match="not finite"):
        variants.variants(model, bright, label)
    assert variants.variants(model, batch, label, torch.cat([bright, dark])).pictures == 2


class Functional(nn.Module):
    """Squeeze-and-excitation whose ReLU is a function; of an ordinary picture all hidden units are above zero."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.fc2 = nn.Linear(8, 4), nn.Linear(4, 8)
        nn.init.constant_(self.fc1.bias, 1)

    def forward(self, x):
        return x * self.fc2(F.relu(self.fc1(x.mean((2, 3))))).sigmoid()[..., None, None]


def test_layers_between_which_a_relu_may_be_unseen_are_not_laid_over_a_map(batch):
    torch.manual_seed(0)
    model = model_of(nn.Sequential(nn.Conv2d(3, 8, 3), Functional(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                                   nn.Linear(8, 5)))
    found = anatomy.dissect(model, batch, model.blocks[0].label)
    assert (found.hidden > 0).all()
    with pytest.raises(ValueError, match="ReLU"):
        variants.over(found, found.maps)
    assert variants.CONVOLUTION in variants.variants(model, batch, model.blocks[0].label).left_out
    assert any(r"\mathrm{f}(W_1 z" in line for line in anatomy.formulae(found))


@pytest.mark.parametrize("excitation", ["softmax over channels", "softmax over branches", "sigmoid"])
def test_what_a_gate_without_layers_follows(run, excitation):
    gate = anatomy.EXCITATIONS[excitation]
    pooled = torch.rand(2, 8, generator=torch.Generator().manual_seed(0))
    moved = pooled.clone()
    moved[0, 0] += 1
    others = not torch.allclose(gate(pooled)[:, 1:], gate(moved)[:, 1:])
    found = dataclasses.replace(run.found, excitation=excitation)
    said = next(each for each in variants.findings(dataclasses.replace(run, found=found)) if "pooled values" in each)
    assert ("can follow nothing but its own mean" in said) == (not others)
