"""Edited gates, against networks rebuilt by hand and against arithmetic."""
import copy
import threading

import numpy as np
import pytest
import torch
from torch import nn

import senet_viz as sv
from senet_viz.data.places import ASSETS
from senet_viz.gates import Edit, EditError, Subspace, edited, find_blocks, inspect, parse_edits
from senet_viz.gates.hooks import ModelBusy
from senet_viz.layers import SqueezeExcite
from tests.gates.test_search import FORMS, SKInUnit, SKSliced
from tests.gates.test_search import Net as InlineNet
from tests.gates.test_spatial import C, Coordinates
from tests.gates.test_spatial import Net as SpatialNet

STATISTICS = ASSETS / "statistics" / "se_resnet50_slim"
KINDS = ["slim/se", "timm/seresnet18", "timm/ecaresnet26t", "timm/efficientnet_b0", "timm/hgnet_tiny",
         "torchvision/mobilenet_v3_small", "inline"]


@pytest.fixture
def gated(network):
    """``gated(name)``: a network; "inline" is one whose gates no module knows."""
    return lambda name: InlineNet(FORMS["inline"][0]) if name == "inline" else network(name)


def rebuilt(module: nn.Module, blocks, factor=None) -> nn.Module:
    """The same network without its SE modules: each one's place is taken by the identity (or by constant factors)."""
    class Constant(nn.Module):
        def __init__(self, block):
            super().__init__()
            self.factor = factor[block.name]

        def forward(self, x):
            return x * self.factor[0, :, None, None]

    module = copy.deepcopy(module)
    for block in blocks:
        parent, _, name = block.name.rpartition(".")
        setattr(module.get_submodule(parent), name, nn.Identity() if factor is None else Constant(block))
    return module


@pytest.mark.parametrize("name", KINDS)
def test_gates_of_one_are_the_network_without_them(gated, pictures, unchanged, name):
    module, batch = gated(name), pictures(3)
    blocks = find_blocks(module, batch[:1])
    with unchanged(module):
        view = inspect(module, batch, edits=[Edit("*", 1)])
    if name == "inline":
        def without(x):
            x = module.stem(x)
            for unit, then in ((module.layer1[0], module.pool), (module.layer2[0], nn.Identity())):
                x = then(torch.relu(unit.conv(x) + x))
            return module.head(x.mean((2, 3)))
    else:
        without = rebuilt(module, blocks)
    with torch.no_grad():
        torch.testing.assert_close(view.logits, without(batch), rtol=1e-5, atol=1e-5)
        assert not torch.allclose(view.logits, module(batch), rtol=1e-3, atol=1e-3)
    for gate in view.gates.values():
        assert (gate == 1).all()


@pytest.mark.parametrize("name", ["slim/sk", "timm/skresnext50_32x4d", "sliced"])
@pytest.mark.parametrize("branch", [0, 1])
def test_a_forced_branch_is_the_network_with_that_branch_alone(network, pictures, name, branch):
    module, batch = InlineNet(SKSliced) if name == "sliced" else network(name), pictures(2)

    class Alone(nn.Module):
        def __init__(self, part):
            super().__init__()
            self.branch = (part.three, part.five)[branch] if name == "sliced" else getattr(
                part, "paths" if name.startswith("timm") else "branches")[branch]

        def forward(self, x):
            return self.branch(x)

    alone = copy.deepcopy(module)
    for block in find_blocks(module, batch[:1]):
        parent, _, child = block.name.rpartition(".")
        setattr(alone.get_submodule(parent), child, Alone(alone.get_submodule(block.name)))
    with torch.no_grad():
        expected = alone(batch)
    for value in (f"branch {branch}", ("3x3", "5×5")[branch], ("mix 1 0", "mix 0 1")[branch]):
        torch.testing.assert_close(inspect(module, batch, edits=[Edit("SK_*", value)]).logits, expected)


def test_a_mixture_and_the_uniform_one(pictures):
    module, batch = InlineNet(SKInUnit), pictures(2)
    view = inspect(module, batch, edits=[Edit("SK_2_1", "uniform"), Edit("SK_3_1", "mix 0.3 0.7")])
    assert (view.gates["layer1.0#0"] == 0.5).all()
    torch.testing.assert_close(view.gates["layer2.0#0"], torch.tensor([0.3, 0.7])[:, None].expand(2, 2, 16))

    def unit(part, x, weights):
        u = weights[0] * part.sk.three(x) + weights[1] * part.sk.five(x)
        return torch.relu(part.out(u) + x)

    with torch.no_grad():
        x = module.pool(unit(module.layer1[0], module.stem(batch), (0.5, 0.5)))
        expected = module.head(unit(module.layer2[0], x, (0.3, 0.7)).mean((2, 3)))
    torch.testing.assert_close(view.logits, expected)


def test_arrays_are_what_the_gates_become(network, pictures):
    module, batch = network("slim/se"), pictures(2)
    other = inspect(module, pictures(1, seed=9))
    view = inspect(module, batch, edits=[Edit("*", other.gates)])
    for name, gate in other.gates.items():
        torch.testing.assert_close(view.gates[name], gate.expand(2, -1, -1))
    factors = {name: gate[0] for name, gate in other.gates.items()}
    with torch.no_grad():
        torch.testing.assert_close(view.logits, rebuilt(module, view.blocks, factors)(batch))
    by_label = {block.label: other.gates[block.name][0, 0].numpy() for block in view.blocks}
    torch.testing.assert_close(inspect(module, batch, edits=[Edit("*", by_label)]).logits, view.logits)


@pytest.mark.parametrize("value", [np.float32(0.25), np.float64(0.25), np.array(0.25), torch.tensor(0.25)])
def test_a_number_of_numpy_or_torch_is_a_number(network, pictures, value):
    edit = Edit("SE_2_1", value)
    view = inspect(network("slim/se"), pictures(2), edits=[edit])
    assert str(edit) == "SE_2_1=0.25"
    assert (view.gates["layer1.0.se"] == 0.25).all()


def test_a_mean_from_statistics_is_the_mean_by_hand():
    model = sv.load("demo/se_resnet50_slim", device="cpu")
    stats = sv.open_statistics(STATISTICS)
    mean = stats.overall_mean("SE_5_3", weight="image")
    batch = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    view = sv.inspect(model, batch, edits=parse_edits("SE_5_3=mean", mean={"SE_5_3": mean}))
    block = next(block for block in model.blocks if block.label == "SE_5_3")
    by_hand = (stats.count[:, None] * stats.mean("SE_5_3")[:, 0]).sum(0) / stats.count.sum()
    # class means are stored in half precision
    np.testing.assert_allclose(view.gates[block.name][1, 0].numpy(), by_hand, rtol=5e-4)


def test_blocks_before_an_edit_stay_equal_to_the_bit(network, pictures):
    module, batch = network("slim/se"), pictures(2)
    plain, changed = inspect(module, batch), inspect(module, batch, edits=[Edit("SE_4_*", 0.5)])
    for block in plain.blocks:
        same = torch.equal(plain.gates[block.name], changed.gates[block.name])
        assert same == (block.stage < 4)


GATE = torch.tensor([[[0.9, 0.1, 0.5, 0.3]], [[0.2, 0.8, 0.4, 0.6]]])


@pytest.mark.parametrize("edit, expected", [
    (Edit("*", 0.25), [[0.25] * 4, [0.25] * 4]),
    (Edit("*", "0.25"), [[0.25] * 4, [0.25] * 4]),
    (Edit("*", "*0.5"), [[0.45, 0.05, 0.25, 0.15], [0.1, 0.4, 0.2, 0.3]]),
    (Edit("*", 0, channels=[1, 3]), [[0.9, 0, 0.5, 0], [0.2, 0, 0.4, 0]]),
    (Edit("*", 0, rows=[1]), [[0.9, 0.1, 0.5, 0.3], [0] * 4]),
    (Edit("*", 1, channels=[0], rows=[1]), [[0.9, 0.1, 0.5, 0.3], [1, 0.8, 0.4, 0.6]]),
    (Edit("*", "top 2"), [[0.9, 0, 0.5, 0], [0, 0.8, 0, 0.6]]),
    (Edit("*", np.array([1, 2, 3, 4.0])), [[1, 2, 3, 4]] * 2),
    (Edit("*", torch.arange(8.0).view(2, 1, 4)), [[0, 1, 2, 3], [4, 5, 6, 7]]),
])
def test_values(edit, expected):
    block, = find_blocks(nn.Sequential(nn.Conv2d(3, 4, 1), SqueezeExcite(4, 2)), torch.rand(1, 3, 8, 8))
    edit.check(block, 2)
    torch.testing.assert_close(edit.apply(block, GATE, 0)[:, 0], torch.tensor(expected, dtype=torch.float32))


def test_shuffles_keep_the_values(network, pictures):
    module, batch = network("slim/sk"), pictures(4)
    plain = inspect(module, batch).gates["layer1.0.conv2"]
    by_channel = inspect(module, batch, edits=[Edit("SK_2_1", "shuffle channels")]).gates["layer1.0.conv2"]
    assert not torch.equal(by_channel, plain)
    torch.testing.assert_close(by_channel.sort(2).values, plain.sort(2).values)
    torch.testing.assert_close(by_channel.sum(1), torch.ones(4, plain.shape[2]))  # branches go together
    by_image = inspect(module, batch, edits=[Edit("SK_2_1", "shuffle images", seed=1)]).gates["layer1.0.conv2"]
    assert not torch.equal(by_image, plain)
    torch.testing.assert_close(by_image.sort(0).values, plain.sort(0).values)


@pytest.mark.parametrize("count", [2, 3, 8, 24, 32])
def test_every_image_is_given_the_gates_of_another(count):
    block, = find_blocks(nn.Sequential(nn.Conv2d(3, 4, 1), SqueezeExcite(4, 2)), torch.rand(1, 3, 8, 8))
    gate = torch.arange(count * 4.0).view(count, 1, 4)
    for seed in range(20):
        shuffled = Edit("*", "shuffle images", seed=seed).apply(block, gate, 0)
        assert (shuffled != gate).all()
        assert torch.equal(shuffled[:, 0, 0].sort().values, gate[:, 0, 0])


def test_a_loop_of_ones_own_with_one_image_says_so(network, pictures):
    module = network("slim/se")
    with pytest.raises(EditError, match="only one image"), edited(
            module, [Edit("*", "shuffle images")], example=pictures(1)):
        module(pictures(1))


def test_edits_compose_in_order(network, pictures):
    module, batch = network("slim/se"), pictures(1)
    gates = inspect(module, batch, edits=parse_edits("SE_2_1=0.5; SE_2_1=*0.5; SE_2_1[3]=1")).gates["layer1.0.se"]
    expected = torch.full_like(gates, 0.25)
    expected[..., 3] = 1
    torch.testing.assert_close(gates, expected)


@pytest.mark.parametrize("where, count", [
    ("SE_5_3", 1), ("SE_5_*", 3), ("stage 4", 6), ("layer1.*", 3), ("layer1.0.se", 1), ("SE_2_1, stage 5", 4),
    ("*", 16)])
def test_where(network, pictures, where, count):
    blocks = find_blocks(network("slim/se"), pictures(1))
    assert sum(Edit(where, 1).matches(block) for block in blocks) == count


@pytest.mark.parametrize("text", ["SE_5_*=1", "SE_3_4[7,9-12]=0", "SK_2_1=branch 1", "stage 3=*0.5", "SE_2_1=top 8",
                                  "layer1.*=shuffle images", "layer1.*=shuffle images 7",
                                  "SE_2_1=shuffle class", "SE_2_1=shuffle classes 4", "SK_*=mix 0.3 0.7",
                                  "SE_4_1=mean", "SE_2_1=0.1234567891"])
def test_text_there_and_back(text):
    edit, = parse_edits(text, mean={})
    assert str(edit) == text


def test_several_lines():
    edits = parse_edits(" SE_2_1 = 1 ;\nSE_2_2 [ 1, 2,3 ] =0;; ")
    assert [str(edit) for edit in edits] == ["SE_2_1=1", "SE_2_2[1-3]=0"]
    assert parse_edits("") == []


@pytest.mark.parametrize("text, sentence", [
    ("SE_5_3", "'SE_5_3' is no edit"), ("=1", "is no edit"), ("SE_5_3=off", "'off' is no value of a gate"),
    ("SE_5_3=nan", "'nan' is no value"), ("SE_5_3[0-99999999]=1", "names no channels"),
    ("SE_5_3=shuffle images", "there is only one image in the batch"),
    ("SE_5_3[9-7]=1", "names no channels"), ("SE_5_3[1,]=1", "names no channels"),
    ("SK_2_1=1", "SK_2_1=1 matches no block; the network's are: SE_2_1, SE_2_2"),
    ("SE_2_1[32]=1", "SE_2_1 has the channels 0 to 31, not 32"), ("SE_2_1=branch 0", "SE_2_1 has no branches"),
    ("SE_2_1=3x3", "no branches"), ("SE_2_1=top 33", "SE_2_1 has 32 channels"), ("SE_2_1=top 0", "has 32 channels"),
])
def test_one_sentence_for_what_cannot_be(network, pictures, unchanged, text, sentence):
    module = network("slim/se")
    with unchanged(module), pytest.raises(EditError) as error:
        inspect(module, pictures(1), edits=parse_edits(text))
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value, what, how", [
    ("mean", "statistics", {"mean": {"layer1.0.se": torch.ones(32)}}),
    ("rank 2", "statistics", {"rank": lambda k: {"layer1.0.se": torch.ones(32)}}),
    ("photo", "another picture's gates", {"photo": {"layer1.0.se": torch.ones(32)}}),
])
def test_words_for_gates_met_elsewhere_say_how_they_are_given(network, pictures, value, what, how):
    text, (name,) = f"SE_2_1={value}", how
    for make in (lambda: Edit("SE_2_1", value), lambda: parse_edits(text),
                 lambda: inspect(network("slim/se"), pictures(1), edits=text)):
        sentence = rf"^'{value}' stands for nothing without {what}: parse_edits\(text, {name}="
        with pytest.raises(EditError, match=sentence):
            make()
    assert [str(edit) for edit in parse_edits(text, **how)] == [text]


@pytest.mark.parametrize("value", ["1e400", "-1e39", "*1e400", "mix 0.5 1e400", float("inf"), float("nan"), 10**400,
                                   np.float32("inf"), torch.tensor(float("nan"))])
def test_numbers_that_no_gate_can_be(value):
    with pytest.raises(EditError, match=r"^a gate takes finite numbers, up to 3\.4e\+38, not "):
        Edit("SE_4_1", value)


def test_arrays_and_great_numbers_are_what_they_are(network, pictures):
    view = inspect(network("slim/se"), pictures(1), edits=[
        Edit("SE_2_1", np.full(32, np.nan)), Edit("SE_2_2", {"SE_2_2": torch.full((32,), torch.inf)}),
        Edit("SE_3_1", 3e38)])
    gates = list(view.gates.values())
    assert gates[0].isnan().all() and gates[1].isposinf().all()
    assert all(gate.eq(3e38).all() for block, gate in zip(view.blocks, gates) if block.label == "SE_3_1")


@pytest.mark.parametrize("edit, sentence", [
    (Edit("SE_2_1", torch.ones(31)), r"values of shape \(31,\) do not fit SE_2_1, whose gate is \(2, 1, 32\)"),
    (Edit("SE_2_1", torch.ones(3, 1, 32)), "do not fit"), (Edit("SE_2_1", torch.ones(2, 32)), "do not fit"),
    (Edit("SE_2_1", {"SE_2_2": torch.ones(32)}), "there are no values for SE_2_1"),
    (Edit("SE_2_1", ["a"]), "neither a number nor an array"), (Edit("SE_2_1", 1, channels=[]), "not none"),
    (Edit("SE_2_1", 1, rows=[2]), "the batch has the images 0 to 1, not 2"),
])
def test_one_sentence_for_values_that_do_not_fit(network, pictures, edit, sentence):
    with pytest.raises(EditError, match=sentence):
        inspect(network("slim/se"), pictures(2), edits=[edit])


def test_too_few_directions_name_the_edited_block(network, pictures):
    module = network("slim/se")
    blocks = find_blocks(module, pictures(1))

    def rank(k: int) -> dict[str, Subspace]:
        return {block.name: Subspace(torch.full((1, block.channels), 0.5), torch.zeros(
            min(k, 3 if block.label == "SE_4_1" else 8), 1, block.channels), k) for block in blocks}

    edits = parse_edits("SE_5_1=rank 4; SE_4_1=rank 3", rank=rank)
    assert torch.all(inspect(module, pictures(2), edits=edits).gates["layer4.0.se"] == 0.5)
    sentence = "^SE_4_\\*=rank 4: the statistics hold the first 3 directions of SE_4_1, and no more$"
    with pytest.raises(EditError, match=sentence):
        inspect(module, pictures(1), edits=parse_edits("SE_4_*=rank 4", rank=rank))


@pytest.mark.parametrize("value, sentence", [
    ("branch 2", "has the branches 0 to 1"), ("7x7", "kernels of SK_2_1 are 3x3, 5x5"),
    ("mix 1 0 0", "has 2 branches")])
def test_one_sentence_for_branches_that_are_not_there(network, pictures, value, sentence):
    with pytest.raises(EditError, match=sentence):
        inspect(network("slim/sk"), pictures(1), edits=[Edit("SK_2_1", value)])


@pytest.mark.parametrize("edits", ["SE_5_*=1; SE_2_1=*0.5", ["SE_5_*=1", Edit("SE_2_1", "*0.5")],
                                   (edit for edit in parse_edits("SE_5_*=1; SE_2_1=*0.5"))])
def test_text_is_read(network, pictures, edits):
    module, batch = network("slim/se"), pictures(1)
    expected = inspect(module, batch, edits=[Edit("SE_5_*", 1), Edit("SE_2_1", "*0.5")])
    assert torch.equal(inspect(module, batch, edits=edits).logits, expected.logits)
    assert not torch.equal(inspect(module, batch).logits, expected.logits)


def test_one_edit_needs_no_list(network, pictures):
    module, batch = network("slim/se"), pictures(1)
    expected = inspect(module, batch, edits=[Edit("SE_5_*", 1)]).logits
    assert torch.equal(inspect(module, batch, edits=Edit("SE_5_*", 1)).logits, expected)
    with edited(module, Edit("SE_5_*", 1), example=batch) as inside, torch.no_grad():
        torch.testing.assert_close(inside(batch), expected)


@pytest.mark.parametrize(("edits", "sentence"), [
    (3, "^an edit is a senet_viz.Edit or text such as SE_5_.=1, not int$"), (None, "not NoneType$"),
    ([("SE_5_1", 1)], "not tuple$"), ({"SE_5_1": 1}, "^'SE_5_1' is no edit: one is"), ("SE_5_1", "is no edit")])
def test_one_sentence_for_what_is_no_edit(network, pictures, edits, sentence):
    with pytest.raises(EditError, match=sentence):
        inspect(network("slim/se"), pictures(1), edits=edits)


@pytest.mark.parametrize(("of", "said"), [
    (lambda net: net.state_dict(), r"A state_dict \(OrderedDict\) holds weights and no network"),
    (lambda net: torch.jit.trace(net, torch.rand(1, 3, 64, 64)), "A TorchScript network runs without Python"),
    (lambda net: None, "A network is an nn.Module or a senet_viz.Model, not NoneType")])
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
def test_only_networks_are_edited(network, of, said):
    with pytest.raises(ValueError, match=said), edited(of(network("slim/se")), []):
        pass


def test_a_pattern_of_gates_of_channels_and_of_space_means_the_channels():
    """As without the gates over space, whose maps stay what they are made of: of the edited map before them."""
    net, batch = SpatialNet(SqueezeExcite(C), Coordinates(), SqueezeExcite(C)), torch.rand(2, 3, 32, 48)
    for where in ("*", "stage 1", "parts.*"):
        view = inspect(net, batch, edits=[Edit(where, 0.25)], spatial=True)
        assert [block.spatial for block in view.blocks] == [False, True, False]
        assert (view.gates["parts.0"] == 0.25).all() and (view.gates["parts.2"] == 0.25).all()
        torch.testing.assert_close(view.gates["parts.1"][:, 0], net.parts[1].seen[1].mean((2, 3)))
        torch.testing.assert_close(view.logits, inspect(net, batch, edits=[Edit(where, 0.25)]).logits)


def test_edited_is_for_loops_of_ones_own(network, pictures, unchanged):
    module, batch = network("slim/se"), pictures(2)
    expected = inspect(module, batch, edits=[Edit("SE_5_*", 1)])
    with unchanged(module):
        with edited(module, [Edit("SE_5_*", 1)], example=batch[:1]) as inside, torch.no_grad():
            torch.testing.assert_close(inside(batch), expected.logits)
            within = inspect(module, batch)  # sees the edits, and its own edits are made after them
        torch.testing.assert_close(within.gates["layer4.2.se"], expected.gates["layer4.2.se"])
        with torch.no_grad():
            assert not torch.allclose(module(batch), expected.logits)
    with pytest.raises(EditError, match="give an example"), edited(module, [Edit("*", 1)]):
        pass
    with unchanged(module), pytest.raises(KeyError), edited(module, [Edit("*", 1)], example=batch):
        raise KeyError


def test_threads_with_different_edits_do_not_mix(network, pictures):
    module, batch = network("slim/se"), pictures(2)
    values = [step / 16 for step in range(16)]
    expected = [inspect(module, batch, edits=[Edit("*", value)]).logits for value in values]
    results: dict[float, torch.Tensor] = {}

    def work(value):
        for _ in range(2):
            results[value] = inspect(module, batch, edits=[Edit("*", value)]).logits

    threads = [threading.Thread(target=work, args=(value,)) for value in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for value, logits in zip(values, expected):
        assert torch.equal(results[value], logits)


def test_another_thread_waits_for_an_edited_network(network, pictures):
    module, errors = network("slim/se"), []

    def work():
        try:
            inspect(module, pictures(1), wait=0.1)
        except ModelBusy as error:
            errors.append(error)

    with edited(module, [Edit("*", 1)], example=pictures(1)):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(errors) == 1


def test_an_edited_network_that_another_thread_lets_go(network, pictures):
    """As a generator is that was dropped unfinished: nobody waits for the network ever after."""
    module, batch = network("slim/se"), pictures(1)
    expected = inspect(module, batch)
    manager = edited(module, [Edit("*", 1)], example=batch)
    manager.__enter__()
    thread = threading.Thread(target=manager.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    found = []
    other = threading.Thread(target=lambda: found.append(inspect(module, batch, wait=1).logits))
    other.start()
    other.join()
    assert torch.equal(found[0], expected.logits)
    assert torch.equal(inspect(module, batch, wait=1).logits, expected.logits)
    assert torch.utils.checkpoint.CheckpointFunction.__module__ == "torch.utils.checkpoint"


def test_grad_cam_of_an_edited_network(network, pictures):
    module, batch = network("slim/se"), pictures(1)
    blocks = find_blocks(module, batch)
    expected = inspect(rebuilt(module, blocks), batch, [1], ["layer3", "layer4"])
    view = inspect(module, batch, [1], ["layer3", "layer4"], edits=[Edit("*", 1)])
    for layer, cam in expected.cams.items():
        torch.testing.assert_close(view.cams[layer], cam, rtol=1e-4, atol=1e-6)
