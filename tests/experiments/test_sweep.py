"""A sweep against zooms and controls made by hand, looked at one by one."""
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

import senet_viz as sv
from senet_viz.data import images
from senet_viz.experiments.sweep import SIZES, Sweep, centre_of, size_preference, size_slopes, sweep
from senet_viz.models import Model, slim_resnet50

pytestmark = pytest.mark.usefixtures("one_thread")
ASSETS = Path(sv.__file__).resolve().parents[1] / "assets"
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


def test_rows_as_views_of_one_picture():
    found = sweep(network("tiny"), noise(40, 40), (1, 2))
    for look, sizes in found.sizes.items():
        for row in range(len(sizes)):
            one = found.row(look, row)
            assert torch.equal(one.logits, found.views[look].logits[row:row + 1])
            assert all(torch.equal(gate, found.views[look].gates[key][row:row + 1]) for key, gate in one.gates.items())
            assert one.blocks == found.model.blocks


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
        by_hand(model, [last], found.row(look, len(found.sizes[look]) - 1))
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
