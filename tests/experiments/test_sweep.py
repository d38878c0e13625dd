"""A sweep against zooms and controls made by hand, looked at one by one."""
import copy
import math
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torchvision import transforms

import senet_viz as sv
from senet_viz import tables
from senet_viz.data import images
from senet_viz.data.places import ASSETS
from senet_viz.experiments.sweep import (
    PAPER,
    SIZES,
    Sweep,
    at_size,
    branch_maps,
    branch_weights,
    centre_of,
    describe_cam,
    describe_slopes,
    drawn_box,
    paper_bars,
    parse_box,
    size_preference,
    size_slopes,
    sweep,
    untrained,
)
from senet_viz.gates import AttentionBlock, View
from senet_viz.models import Model, for_and_against, slim_resnet50
from senet_viz.models.identity import weights_hash
from senet_viz.statistics.kernels import NEGLIGIBLE

pytestmark = pytest.mark.usefixtures("one_thread")
SIDE = 32


def tiny(attention: str = "sk") -> Model:
    """A network of random weights under which gates depend on the picture.

    In float64: in float32 a batch rounds otherwise than its pictures one by one, and random weights enlarge that.
    """
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = slim_resnet50(attention, num_classes=5, widths=(8, 8, 12, 16))
        with torch.no_grad():
            for part in module.modules():
                if isinstance(part, torch.nn.BatchNorm2d):
                    part.weight.uniform_(0.5, 1.5)
                    part.momentum = 1.0
            module.train()(torch.randn(16, 3, SIDE, SIDE) + torch.randn(16, 3, 1, 1))
            for name, parameter in module.named_parameters():
                if "select" in name:
                    parameter.mul_(1.5)
    transform = transforms.Compose([transforms.Resize((SIDE, SIDE)), transforms.ToTensor(),
                                    transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))])
    return Model(module.eval().double(), transform, [f"class {k}" for k in range(5)], name=attention)


@cache
def network(name: str) -> Model:
    return tiny() if name == "tiny" else sv.load("demo/sknet50_slim", device="cpu")


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Coarse blocks, whose look changes with a zoom."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def by_hand(model: Model, pictures: list[Image.Image], seen: sv.View) -> None:
    """Each picture alone gives what its row says."""
    assert len(seen.logits) == len(pictures)
    for row, picture in enumerate(pictures):
        alone = sv.record(model, model.batch([picture]))
        torch.testing.assert_close(seen.logits[row], alone.logits[0], atol=1e-5, rtol=1e-4)
        assert set(seen.gates) == set(alone.gates) == {block.name for block in model.blocks}
        for name, gate in alone.gates.items():
            torch.testing.assert_close(seen.gates[name][row], gate[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["tiny", "demo"])
@pytest.mark.parametrize("box", [None, (5, 10, 25, 60)])
def test_each_look_and_size_by_hand(name, box):
    model = network(name)
    image = noise(90, 70) if name == "tiny" else sv.open_image(ASSETS / "samples" / "ladybug.jpg").resize((90, 70))
    sizes = (0.5, 1, 1.5, 2.25)
    found = sweep(model, image, sizes, box)
    centre = box and (15.0, 35.0)
    result = (round(90 * 64 / 70), 64) if name == "tiny" else (90, 70)  # at most twice the network's input of 32 or 64
    expected = {"zoom": [images.zoom(image, size, centre, result) for size in sizes],
                "blur": [images.blur(image, size, result) for size in (0.5, 1.5, 2.25)],
                "elsewhere": [images.elsewhere(image, size, centre, result) for size in (1.5, 2.25)]}
    assert isinstance(found, Sweep) and found.model is model
    assert found.sizes == {"zoom": sizes, "blur": (0.5, 1.5, 2.25), "elsewhere": (1.5, 2.25)}
    assert list(found.views) == list(found.pictures) == list(found.sizes)
    for look, pictures in expected.items():
        assert [picture.tobytes() for picture in found.pictures[look]] == [picture.tobytes() for picture in pictures]
        by_hand(model, pictures, found.views[look])
    gates = found.views["zoom"].gates[model.blocks[0].name]
    assert (gates[0] - gates[3]).abs().max() > 1e-4  # sizes are told apart
    assert not found.views["zoom"].cams


def test_the_default_sizes():
    assert len(SIZES) == 21 and SIZES[0] == 0.5 and SIZES[-1] == 3 and 1 in SIZES
    assert set(np.diff(SIZES)) == {0.125}
    found = sweep(network("tiny"), noise(40, 40))
    assert {look: len(sizes) for look, sizes in found.sizes.items()} == {"zoom": 21, "blur": 20, "elsewhere": 16}


def test_one_size_as_a_view_of_one_picture():
    model = network("tiny")
    found = sweep(model, noise(40, 40), (1, 2), layers=["layer3"])
    for look, sizes in found.sizes.items():
        for row, size in enumerate(sizes):
            one, seen = found.at(size, look), found.views[look]
            assert torch.equal(one.logits, seen.logits[row:row + 1])
            for own, all_ in ((one.gates, seen.gates), (one.cams, seen.cams), (one.weights, seen.weights)):
                assert set(own) == set(all_) and all(torch.equal(own[key], all_[key][row:row + 1]) for key in all_)
            assert one.blocks == model.blocks
    with pytest.raises(ValueError, match=r"did not look at size 1\.5: its sizes are 1, 2$"):
        found.at(1.5)


def test_sizes_by_name_as_tables_take_them():
    model = network("tiny")
    found = sweep(model, noise(40, 40), (1, 1.5, 2), layers=["layer3", (model.blocks[-1].name, "output")])
    assert list(found.named()) == ["1×", "1.5×", "2×"] and list(found.named([2])) == ["2×"]
    assert torch.equal(found.named()["1.5×"].logits, found.views["zoom"].logits[1:2])
    [stage] = [name for name, layer in model.stages.items() if layer == "layer3"]
    cams = found.cams(2)["2×"]
    assert list(cams) == [stage, str((model.blocks[-1].name, "output"))]
    np.testing.assert_array_equal(cams[stage], found.views["zoom"].cams["layer3"][2, 0].numpy())
    assert found.picture(2) is found.pictures["zoom"][2]


def test_looking_again_shows_what_the_branches_gave():
    model = network("tiny")
    found = sweep(model, noise(40, 40), (1, 2))
    view, block = found.inspect(2), model.blocks[3]
    torch.testing.assert_close(view.logits, found.at(2).logits, atol=1e-5, rtol=1e-4)
    shown = branch_maps(view, block, 2)
    assert list(shown) == ["3×3 branch", "5×5 branch", "selected sum"]
    low, high, both = shown.values()
    gate = view.gates[block.name][0, :, 2]
    np.testing.assert_allclose(low, view.features[block.name, 0][0, 2])
    np.testing.assert_allclose(both, float(gate[0]) * low + float(gate[1]) * high, atol=1e-6)
    assert branch_weights(view, block, 2) == f"3×3 {gate[0]:.2f}, 5×5 {gate[1]:.2f}"
    assert len(tables.contributions({"2×": view})) == 2 * len(model.blocks)


@pytest.mark.parametrize(("sizes", "looks"), [
    ((1,), ["zoom"]), ((1, 1.0), ["zoom"]), ((0.5,), ["zoom", "blur", "elsewhere"]),
    ((2,), ["zoom", "blur", "elsewhere"])])
def test_few_sizes(sizes, looks):
    """What is not there has no rows, and tables can still be made."""
    found = sweep(network("tiny"), noise(40, 40), sizes)
    assert list(found.sizes) == looks
    assert {look: len(view.logits) for look, view in found.views.items()} == {
        look: len(rows) for look, rows in found.sizes.items()}
    table = size_preference(found)
    units = len(found.model.blocks)
    assert len(table) == units * (sum(map(len, found.sizes.values())) + ("blur" in looks) * sizes.count(1))
    assert len(size_slopes(table)) in (0, units)


def test_a_large_photo_is_shrunk_first_to_what_can_be_seen():
    model, image = network("tiny"), noise(400, 300)
    sizes = (1, 2)
    found = sweep(model, image, sizes, (300, 0, 400, 150))
    small = image.resize((round(400 * 64 / 300), 64), Image.Resampling.BICUBIC)  # 32 pixels at size 2
    centre = (350 * 64 / 300, 75 * 64 / 300)
    assert [picture.size for picture in found.pictures["zoom"]] == [small.size] * 2
    for look, make in (("zoom", images.zoom), ("elsewhere", images.elsewhere)):
        last = make(small, 2, centre)
        assert found.pictures[look][-1].tobytes() == last.tobytes()
        by_hand(model, [last], found.at(2, look))
    assert found.pictures["blur"][0].tobytes() == images.blur(small, 2).tobytes()
    # nothing is lost that the network could see: pixels of a deviation of about 1
    direct = model.batch([images.zoom(image, size, (350, 75)) for size in sizes])
    assert (model.batch(found.pictures["zoom"]) - direct).abs().max() < 0.05


def test_sizes_below_one_do_not_shrink_it_further():
    found = sweep(network("tiny"), noise(100, 80), (0.5, 0.75))
    assert found.pictures["zoom"][0].size == (40, 32)
    assert sweep(network("tiny"), noise(31, 30), (1, 3)).pictures["zoom"][0].size == (31, 30)


@pytest.mark.parametrize("targets", [None, [3], [0, 4]])
def test_grad_cam_one_by_one(targets):
    model, image, sizes = network("tiny"), noise(64, 64), (0.75, 1, 2)
    layers = ["layer3", (model.blocks[-1].label, "output")]
    found = sweep(model, image, sizes, targets=targets, layers=layers)
    cams = found.views["zoom"].cams
    for row, size in enumerate(sizes):
        batch = model.batch([images.zoom(image, size)])
        one = sv.grad_cam(model, batch, targets, layers)
        assert set(cams) == set(one)
        for layer, cam in one.items():
            assert cam.max() > 0 or cams[layer][row].max() == 0
            torch.testing.assert_close(cams[layer][row], cam[0], atol=1e-6, rtol=1e-5)
    assert not found.views["blur"].cams and not found.views["elsewhere"].cams


@pytest.mark.parametrize(("arguments", "message"), [
    ({"sizes": ()}, "a sweep takes one size or more"),
    ({"sizes": (1, 0)}, "a finite number above 0, not 0"),
    ({"sizes": (-1,)}, "a finite number above 0, not -1"),
    ({"sizes": (math.nan, 1)}, "a finite number above 0, not nan"),
    ({"sizes": (1, math.inf)}, "a finite number above 0, not inf"),
    ({"box": (0, 0, 41, 40)}, "is empty or not inside the picture, which has 40×30 pixels"),
    ({"box": (-1, 0, 4, 4)}, "not inside"),
    ({"box": (0, 10, 4, 10)}, "the box 0, 10, 4, 10 (left, top, right, bottom) is empty"),
    ({"box": (5, 0, 4, 4)}, "is empty"),
    ({"box": (0, math.nan, 4, 4)}, "is empty or not inside"),
])
def test_refused(arguments, message):
    with pytest.raises(ValueError) as refused:
        sweep(network("tiny"), noise(40, 30), **{"sizes": (1, 2), **arguments})
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_a_network_without_units_is_refused():
    for model in (tiny("se"), tiny("none")):
        with pytest.raises(ValueError, match="has no units that choose between kernels: it takes a selective-kernel"):
            sweep(model, noise(40, 30))


def test_centre_of():
    assert centre_of((0, 0, 40, 30), (40, 30)) == (20, 15)
    assert centre_of((10, 4, 12, 30), (40, 30)) == (11, 17)


# random weights

def drawn_by_hand(model: Model, crops: list[Image.Image], seed: int) -> torch.nn.Module:
    """The network with new weights, each part's by torch's own rule, and the crops' mean and variance in its norms."""
    module = copy.deepcopy(model.module).float()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for part in module.modules():
            if isinstance(part, torch.nn.Conv2d | torch.nn.Linear):
                torch.nn.init.kaiming_uniform_(part.weight, a=math.sqrt(5))
                if part.bias is not None:
                    bound = part.weight[0].numel() ** -0.5
                    part.bias.uniform_(-bound, bound)
            elif isinstance(part, torch.nn.BatchNorm2d):
                part.weight.fill_(1)
                part.bias.zero_()
                part.momentum = 1.0
        module.train()(model.batch(crops))
    return module.eval()


@pytest.mark.parametrize("name", ["tiny", "demo"])
def test_random_weights_by_hand(name):
    model, image, sizes = network(name), noise(90, 70), (0.5, 1, 2)
    before, generator = weights_hash(model.module), torch.get_rng_state()
    found = sweep(model, image, sizes, (5, 10, 25, 60), draws=2)
    assert weights_hash(model.module) == before and torch.equal(torch.get_rng_state(), generator)
    assert not any(part._forward_hooks or part.training for part in model.module.modules())
    assert list(found.views) == ["zoom", "blur", "elsewhere", "random 0", "random 1"]
    chance = np.random.default_rng(0)
    factors, x, y = chance.uniform(1, 3, 64), chance.random(64), chance.random(64)
    result = (round(90 * 64 / 70), 64) if name == "tiny" else (90, 70)  # at most twice the network's input of 32 or 64
    crops = [images.zoom(image, *each, result) for each in zip(factors, zip(90 * x, 70 * y))]
    for seed in (0, 1):
        look = f"random {seed}"
        assert found.sizes[look] == sizes and found.pictures[look] == found.pictures["zoom"]
        module = drawn_by_hand(model, crops, seed)
        expected: dict[str, torch.Tensor] = {}
        for block in model.blocks:
            module.get_submodule(block.gate).register_forward_hook(
                lambda _, __, gate, to=expected, name=block.name: to.update({name: gate.detach()}))
        with torch.no_grad():
            logits = module(model.batch(found.pictures["zoom"]))
        torch.testing.assert_close(found.views[look].logits, logits, atol=1e-4, rtol=1e-3)
        for block in model.blocks:
            gate = expected[block.name].reshape(len(sizes), block.branches, block.channels)
            torch.testing.assert_close(found.views[look].gates[block.name], gate, atol=1e-4, rtol=1e-3)
            assert (gate - found.views["zoom"].gates[block.name]).abs().max() > 1e-2  # no trained weight is left
    first = model.blocks[0].name
    assert (found.views["random 0"].gates[first] - found.views["random 1"].gates[first]).abs().max() > 1e-2


def test_a_large_photo_is_reduced_before_its_crops(monkeypatch):
    """The same whether or not a larger size than the sweep's is asked for, and at no more than the network can see."""
    model, image, seen = network("tiny"), noise(400, 300), []
    monkeypatch.setattr("senet_viz.experiments.sweep.zoom", lambda image, factor, *rest: seen.append(
        (image.size, rest[-1])) or images.zoom(image, factor, *rest))
    plain = sweep(model, image, (1, 1.5))
    seen.clear()
    views = untrained(plain, image, 1)
    assert set(seen) == {((128, 96), (85, 64))} and len(seen) == 64  # 32 pixels at size 3
    whole = sweep(model, image, (1, 1.5), draws=1)
    assert torch.equal(whole.views["random 0"].logits, views[0].logits)


def test_random_weights_beside_a_sweep_that_is_there():
    model, image = network("tiny"), noise(40, 40)
    plain, whole = sweep(model, image, (1, 2)), sweep(model, image, (1, 2), draws=2)
    assert list(plain.views) == ["zoom", "blur", "elsewhere"] and untrained(plain, image, 0) == []
    views = untrained(plain, image, 1)  # fewer draws are the first ones
    assert torch.equal(views[0].logits, whole.views["random 0"].logits)
    beside = plain.beside(views)
    assert list(beside.views) == ["zoom", "blur", "elsewhere", "random 0"] and "random 0" not in plain.views
    assert torch.equal(beside.at(2, "random 0").logits, whole.views["random 0"].logits[1:])
    pd.testing.assert_frame_equal(size_preference(beside), size_preference(whole).query("look != 'random 1'"))
    with pytest.raises(ValueError, match=r"drawn 0 times or more, not -1$"):
        sweep(model, image, (1, 2), draws=-1)


# tables of gates written by hand

def block(name: str, kind: str = "SE", channels: int = 4, kernels=(), stage: int = 2, known: bool = True,
          index: int = 1) -> AttentionBlock:
    return AttentionBlock(
        name=name, label=f"{kind}_{stage}_{index}", kind=kind, channels=channels, branches=max(1, len(kernels)),
        kernels=tuple(kernels) if kernels and known else None, stage=stage, index=index, gate=f"{name}.gate",
        paths=tuple(f"{name}.{m}" for m in range(len(kernels))), shortcut=None)


def swept(looks: dict[str, dict[float, dict]], blocks: list[AttentionBlock]) -> Sweep:
    """A sweep of gates written by hand: look → size → block → (M, C)."""
    views = {}
    for look, rows in looks.items():
        gates = {b.name: torch.tensor(np.stack([row[b] for row in rows.values()]), dtype=torch.float32) for b in blocks}
        views[look] = View(torch.zeros(len(rows), 2), gates, {}, {}, {}, blocks)
    model = SimpleNamespace(blocks=blocks)
    return Sweep(model, {look: tuple(rows) for look, rows in looks.items()}, {}, views)


def weights(difference: float) -> np.ndarray:
    """Of two branches and four channels, whose mean difference is given."""
    low = np.array([0.1, 0.3, 0.5, 0.5]) - difference / 2 + 0.15
    return np.stack([low, 1 - low])


def test_size_preference_by_hand():
    two, three, se = block("a", "SK", 4, (3, 5)), block("b", "SK", 2, (3, 5, 7), stage=3), block("c")
    rest = {three: [[0.5, 0.1], [0.2, 0.8], [0.3, 0.1]], se: np.ones((1, 4))}
    sweep = swept({"zoom": {2.0: {two: weights(0.2), **rest}, 1.0: {two: weights(-0.1), **rest}},
                   "blur": {2.0: {two: weights(0.3), **rest}}, "elsewhere": {2.0: {two: weights(0.05), **rest}}},
                  [two, se, three])
    table = size_preference(sweep)
    assert list(table.columns) == [
        "look", "size", "block", "label", "stage", "smallest", "largest", "difference", "side"]
    assert table["label"].tolist() == ["SK_2_1", "SK_3_1"] * 5  # in the network's order, without the SE block
    first = table[table["label"] == "SK_2_1"]
    assert list(zip(first["look"], first["size"])) == [
        ("zoom", 1), ("zoom", 2), ("blur", 1), ("blur", 2), ("elsewhere", 2)]  # sizes rise
    np.testing.assert_allclose(first["difference"], [-0.1, 0.2, -0.1, 0.3, 0.05], atol=1e-6)
    np.testing.assert_allclose(first["side"], [4 - 0.1, 4 + 0.2, 4 - 0.1, 4 + 0.3, 4 + 0.05], atol=1e-6)
    last = table[table["label"] == "SK_3_1"]
    np.testing.assert_allclose(last["difference"], -0.1, atol=1e-6)
    np.testing.assert_allclose(last["side"], np.mean([0.5 * 3 + 0.2 * 5 + 0.3 * 7, 0.1 * 3 + 0.8 * 5 + 0.1 * 7]),
                               atol=1e-6)
    assert (set(last["smallest"]), set(last["largest"]), set(last["stage"])) == ({"3×3"}, {"7×7"}, {3})


def test_size_preference_of_unknown_kernels_and_without_controls():
    unit = block("a", "SK", 4, (3, 5), known=False)
    table = size_preference(swept({"zoom": {1.0: {unit: weights(0.1)}}}, [unit]))
    assert table["side"].isna().all() and table["largest"].tolist() == ["branch 1"]
    assert table["look"].tolist() == ["zoom"]


def test_size_slopes_by_hand():
    unit = block("a", "SK", 4, (3, 5))
    #                 doublings: −1 is left out, 0, 1, 2
    zoom = {0.5: 0.9, 1.0: 0.0, 2.0: 0.04, 4.0: 0.11}
    blur, elsewhere = {0.5: -0.9, 2.0: 0.01, 4.0: 0.02}, {2.0: -0.02, 4.0: -0.04}
    sweep = swept({look: {size: {unit: weights(d)} for size, d in values.items()}
                   for look, values in (("zoom", zoom), ("blur", blur), ("elsewhere", elsewhere))}, [unit])
    table = size_slopes(size_preference(sweep))
    assert list(table.columns) == ["block", "label", "stage", "zoom", "blur", "elsewhere", "draws", "random",
                                   "random_low", "random_high", "left"] and len(table) == 1
    row = table.iloc[0]
    assert row["zoom"] == pytest.approx(0.11 / 2, abs=1e-6)  # of three equidistant points the middle one does nothing
    assert row["blur"] == pytest.approx(0.01, abs=1e-6)
    assert row["elsewhere"] == pytest.approx(-0.02, abs=1e-6)  # from the picture as it is
    assert row["left"] == pytest.approx(0.055 - 0.02, abs=1e-6)  # the steepest control, though it goes down
    assert row["draws"] == 0 and row[["random", "random_low", "random_high"]].isna().all()


@pytest.mark.parametrize(("draws", "left"), [
    ((0.02, -0.04), 0.055 - 0.04),  # farther than each control and each draw, whichever way
    ((0.005, -0.004), 0.055 - 0.01),  # the blur still does more
    ((0.06, 0.0), 0.0), ((-0.9,), 0.0)])  # one draw is enough
def test_size_slopes_beside_random_weights(draws, left):
    unit = block("a", "SK", 4, (3, 5))
    looks = {"zoom": {1.0: 0.0, 2.0: 0.04, 4.0: 0.11}, "blur": {2.0: 0.01, 4.0: 0.02}}
    looks |= {f"random {i}": {1.0: 0.3, 2.0: 0.3 + slope, 4.0: 0.3 + 2 * slope} for i, slope in enumerate(draws)}
    sweep = swept({look: {size: {unit: weights(d)} for size, d in values.items()} for look, values in looks.items()},
                  [unit])
    row = size_slopes(size_preference(sweep)).iloc[0]
    assert row["draws"] == len(draws) and row["zoom"] == pytest.approx(0.055, abs=1e-6)
    assert row[["random", "random_low", "random_high"]].tolist() == pytest.approx(
        [np.mean(draws), min(draws), max(draws)], abs=1e-6)
    assert row["left"] == pytest.approx(left, abs=1e-6)


def test_size_slopes_of_too_few_sizes():
    unit = block("a", "SK", 4, (3, 5))
    one = size_slopes(size_preference(swept({"zoom": {1.0: {unit: weights(0.1)}}}, [unit])))
    assert one[["zoom", "blur", "elsewhere", "left"]].isna().all(axis=None) and len(one) == 1
    below = swept({"zoom": {0.5: {unit: weights(0.1)}}, "blur": {0.5: {unit: weights(0.1)}}}, [unit])
    assert size_slopes(size_preference(below)).empty


def test_one_size_and_the_papers_bars_by_hand():
    units = [block("a", "SK", 4, (3, 5)), block("b", "SK", 4, (3, 5), index=2), block("c", "SK", 4, (3, 5), stage=3)]
    difference = {1.0: (0.1, 0.2, 0.3), 1.25: (0.0, 0.0, 0.0), 1.5: (-0.1, -0.2, -0.3), 2.0: (0.4, 0.5, 0.6)}
    looks = {size: {unit: weights(d) for unit, d in zip(units, values)} for size, values in difference.items()}
    table = size_preference(swept({"zoom": looks, "blur": {1.5: looks[1.25]}}, units))
    one = at_size(table, 1.5)
    assert set(one["look"]) == {"zoom"} and one["label"].tolist() == ["SK_2_1", "SK_2_2", "SK_3_1"]
    np.testing.assert_allclose(one["difference"], difference[1.5], atol=1e-6)
    bars = paper_bars(table)
    assert list(bars.columns) == ["label", "zoom", "mean"] and PAPER == (1, 1.5, 2)
    assert list(zip(bars["label"], bars["zoom"])) == [(label, size) for size in PAPER for label in ("SK_2_2", "SK_3_1")]
    np.testing.assert_allclose(bars["mean"], [0.2, 0.3, -0.2, -0.3, 0.5, 0.6], atol=1e-6)
    assert paper_bars(table, [1.25])["zoom"].tolist() == [1.25, 1.25] and at_size(table, 7).empty


# sentences

def told(left, **columns) -> pd.DataFrame:
    """Slopes of units SK_0, SK_1, …; columns that are not given are nan."""
    count = max(np.size(values) for values in (left, *columns.values()))
    table = pd.DataFrame({"label": [f"SK_{i}" for i in range(count)]}).assign(
        zoom=np.nan, draws=0, random=np.nan, random_low=np.nan, random_high=np.nan)
    return table.assign(left=left, **columns)


@pytest.mark.parametrize(("left", "said"), [
    ([0.01, -0.03, 0.0, NEGLIGIBLE], "larger kernel in **1** and to the smaller kernel in **1** of 4 units, by more "
                                     "than 0.002 per doubling of its size, most in **SK_1** (-0.030). One"),
    ([0.0, 0.001], "larger kernel in **0** and to the smaller kernel in **0** of 2 units, by more than 0.002 per "
                   "doubling of its size. One"),
    ([math.nan, 0.5], "larger kernel in **1** and to the smaller kernel in **0** of 1 unit, by more than 0.002 per "
                      "doubling of its size, most in **SK_1** (+0.500). One")])
def test_slopes_in_a_sentence(left, said):
    text = describe_slopes(told(left=left), 2.5)
    assert said in text and text.startswith(
        "As what is in the box, or else the picture's centre, grows from 1× to 2.5×, beyond both controls in either "
        "direction, weight moves")
    assert "random" not in text


@pytest.mark.parametrize(("draws", "said"), [
    (3, "The same zooms move weight in 3 networks with random weights too, by -0.040 (**SK_1**) to +0.060 "
        "(**SK_2**) per doubling; the trained network goes farther than any draw does, up or down, in "
        "**2** of 4 units, most in **SK_1** (-0.080 beside -0.040 to +0.010). One photo"),
    (1, "The same zooms move weight in a network with random weights too, by -0.040 (**SK_1**) to +0.060 "
        "(**SK_2**) per doubling; the trained network goes farther than it does, up or down, in **2** of 4 "
        "units, most in **SK_1** (-0.080 beside -0.040). One photo")])
def test_random_weights_in_a_sentence(draws, said):
    table = told(zoom=[0.03, -0.08, 0.05, 0.0119], random_low=[0.01, -0.04, -0.01, 0.0], draws=draws, left=0.0,
                 random_high=[0.02, 0.01, 0.06, 0.01])
    if draws == 1:
        table["random_low"] = table["random_high"] = [0.02, -0.04, 0.06, 0.01]
    table["random"] = table[["random_low", "random_high"]].mean(axis=1)
    text = describe_slopes(table, 3)
    assert said in text and "to 3×, beyond all controls in either direction, weight" in text
    table["zoom"] = 0.0
    assert (f"farther than {'any draw' if draws > 1 else 'it'} does, up or down, in **0** of 4 units. One"
            in describe_slopes(table, 3))


@pytest.mark.parametrize("left", [[], [math.nan, math.nan]])
def test_without_two_sizes_no_slope_is_said_to_be_none(left):
    table = told(left=np.array(left, float))
    assert describe_slopes(table, 0.5) == (
        "Whether weight moves as the object grows cannot be told: that takes two sizes or more from 1× up.")


def test_the_class_of_a_grad_cam_in_a_sentence():
    logits = torch.tensor([[0.0, math.log(3.0)], [math.log(4.0), 0.0]])
    found = Sweep(SimpleNamespace(blocks=[]), {"zoom": (1.0, 1.5)}, {}, {"zoom": View(logits, {}, {}, {}, {}, [])})
    classes = ["a*b", "c"]
    assert describe_cam(found, 1, classes) == (
        "Grad-CAM at 1× of **c**, the most probable class there (probability 75%).")
    assert describe_cam(found, 1.5, classes) == (
        r"Grad-CAM at 1.5× of **a\*b**, the most probable class there (probability 80%).")
    assert describe_cam(found, 1.5, classes, 0) == describe_cam(found, 1.5, classes)
    assert describe_cam(found, 1.5, classes, 1) == (
        r"Grad-CAM at 1.5× of **c** (probability 20%), not of the most probable class there, **a\*b** (probability "
        "80%).")
    surely = torch.tensor([[0.0, 9.0]])
    found = Sweep(SimpleNamespace(blocks=[]), {"zoom": (1.0,)}, {}, {"zoom": View(surely, {}, {}, {}, {}, [])})
    assert describe_cam(found, 1, classes, 0) == (
        r"Grad-CAM at 1× of **a\*b** (probability under 1%), not of the most probable class there, **c** (probability "
        "over 99%).")


@pytest.mark.parametrize("names", [[], ["smiling"], ["no", "yes"]])
def test_one_logit_is_for_and_against(names):
    many = tiny()
    torch.manual_seed(0)
    one = Model(torch.nn.Sequential(many.module, torch.nn.Linear(5, 1)).float(), many.transform, names)
    both = for_and_against(one)
    layer = list(one.stages.values())[-1:]
    for targets in (None, [0], [1]):
        found, expected = (sweep(model, noise(40, 30), (1, 2), targets=targets, layers=layer) for model in (one, both))
        for size in (1, 2):
            assert torch.equal(found.at(size).logits, expected.at(size).logits)
            assert torch.equal(found.at(size).cams[layer[0]], expected.at(size).cams[layer[0]])
            target = targets and targets[0]
            text = describe_cam(found, size, one.class_labels, target)
            assert text == describe_cam(expected, size, both.class_labels, target)
            assert any(f"**{name}**" in text for name in both.classes) and "over 99%" not in text


# boxes

@pytest.mark.parametrize(("text", "box"), [
    ("", None), ("  ", None), ("1, 2, 3, 4", (1, 2, 3, 4)), (" 0;0 ; 10.5;30", (0, 0, 10.5, 30)),
    ("1 2 3 4", (1, 2, 3, 4))])
def test_a_typed_box(text, box):
    assert parse_box(text, (40, 30)) == box


@pytest.mark.parametrize(("text", "said"), [
    ("left, top", "four numbers"), ("1, 2, , 4", "four numbers"), ("1, 2, 3", "four numbers"),
    ("nan, 0, 10, 10", "not inside"), ("0, 0, 41, 10", "which has 40×30 pixels"), ("5, 5, 5, 9", "is empty")])
def test_a_typed_box_that_is_none(text, said):
    with pytest.raises(ValueError, match=said):
        parse_box(text, (40, 30))


def test_a_drawn_box():
    assert drawn_box([30.4, 10.6], [5.2, 20.7], (40, 30)) == (11, 5, 30, 21)  # from its last corner to its first
    assert drawn_box([-9, 55], [-3, 31], (40, 30)) == (0, 0, 40, 30)
    assert drawn_box([50, 60], [5, 20], (40, 30)) is None and drawn_box([5, 5.2], [5, 20], (40, 30)) is None
