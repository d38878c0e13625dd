"""Maps over whole photos: they land on what they are of, and what cannot be drawn is one sentence."""
import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform
from torch import nn

import senet_viz as sv
from senet_viz import tables
from senet_viz.experiments.overlays import Photo, describe_photos
from senet_viz.gates import contribution_points
from senet_viz.layers import SqueezeExcite

SIDE = 32


class Bright(nn.Module):
    """A network whose Grad-CAM is known: class 0 is the mean brightness of its map, where the photo is bright."""

    def __init__(self):
        super().__init__()
        self.pool, self.se = nn.AvgPool2d(4), SqueezeExcite(3, 3)

    def forward(self, x):
        x = self.se(self.pool(x))
        mean = x.mean((2, 3))
        return torch.stack([mean.sum(1), -mean.sum(1), mean[:, 0]], 1)


def spotted(size, centre) -> Image.Image:
    """A black photo with a white square of 32 pixels."""
    image, half = Image.new("RGB", size), 16
    image.paste((255, 255, 255), (centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half))
    return image


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return sv.Model(Bright(), create_transform(SIDE, crop_pct=0.8, mean=(0, 0, 0), std=(1, 1, 1)), ["a", "b", "c"])


WIDE, TALL = spotted((600, 400), (400, 140)), spotted((400, 640), (140, 420))


@pytest.mark.parametrize(("photo", "centre"), [(WIDE, (400, 140)), (TALL, (140, 420))])
def test_the_peak_of_a_map_is_on_the_object(model, photo, centre):
    view = sv.inspect(model, model.batch([photo]), [0], ["pool"])
    scale = ["rgb(0,0,0)", "rgb(255,0,255)"]
    drawn = np.asarray(sv.on_photo(view, photo, "pool", opacity=1, smooth=False, colormap=scale)).astype(int)
    assert drawn.shape == (photo.height, photo.width, 3)
    # by hand: the middle 0.8 of the shorter side is seen, 320 pixels in 8×8 cells of 40; the square is in one of them
    left, top = ((whole - 320) // 2 for whole in photo.size)
    i, j = (centre[1] - top) // 40, (centre[0] - left) // 40
    lit = np.argwhere((drawn[..., 0] > 128) & (drawn[..., 1] == 0))[:, ::-1]  # x, y
    expected = left + j * 40, top + i * 40, left + (j + 1) * 40, top + (i + 1) * 40
    assert [*lit.min(0), *(lit.max(0) + 1)] == pytest.approx(expected, abs=2)
    assert len(lit) == pytest.approx(40 * 40, rel=0.1)
    assert np.ptp(drawn[2, 2]) == 0 < np.ptp(drawn[lit[0, 1], lit[0, 0]])  # what was not seen is grey


def test_the_picture_of_a_batch_is_found(model):
    view = sv.inspect(model, model.batch([WIDE, TALL]), [0], ["pool"])
    for photo in (WIDE, TALL):
        alone = sv.inspect(model, model.batch([photo]), [0], ["pool"])
        assert np.array_equal(sv.on_photo(view, photo, "pool"), sv.on_photo(alone, photo, "pool"))
    assert np.array_equal(sv.on_photo(view, TALL, "pool", picture=1), sv.on_photo(view, TALL, "pool"))


def test_the_batch_may_be_changed_afterwards(model):
    batch = model.batch([WIDE, TALL])
    view = sv.inspect(model, batch, [0], ["pool"])
    batch.zero_()
    sv.on_photo(view, TALL, "pool")


def test_a_target_among_several(model):
    view = sv.inspect(model, model.batch([WIDE]), [0, 1], ["pool"])
    first, second = (np.asarray(sv.on_photo(view, WIDE, "pool", target=i)) for i in (0, 1))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, sv.on_photo(view, WIDE, view.cams["pool"][0, 0]))


def test_points_of_blocks_and_maps_of_ones_own(model):
    block = model.blocks[0]
    view = sv.inspect(model, model.batch([WIDE]), [0], [(block.name, "output")], contribution_points([block]))
    by_name, by_label, by_block = (sv.on_photo(view, WIDE, (which, "output"))
                                   for which in (block.name, block.label, block))
    assert np.array_equal(by_name, by_label) and np.array_equal(by_name, by_block)
    before, after = tables.gate_change(view, block)
    drawn = np.asarray(sv.on_photo(view, WIDE, after - before))
    assert np.array_equal(drawn, sv.on_photo(view, WIDE, torch.tensor(after - before)))
    assert np.array_equal(sv.on_photo(view, WIDE, view.features[block.name, "input"][0, 1]),
                          sv.on_photo(view, WIDE, view.features[block.name, "input"][0, 1].tolist()))


def test_the_part_may_be_given(model):
    """Of an nn.Module, or where what went in was cut out by hand."""
    part = WIDE.crop((300, 50, 500, 250))
    view = sv.inspect(model, model.batch([part]), [0], ["pool"])
    drawn = np.asarray(sv.on_photo(view, WIDE, "pool", box=(320, 70, 480, 230), opacity=1))
    assert np.ptp(drawn[150, 250]) == 0 and np.ptp(drawn[150, 350:450], axis=-1).max() > 0
    view = sv.inspect(model.module, model.batch([WIDE]), [0], ["pool"])
    assert sv.on_photo(view, WIDE, "pool", box=(140, 40, 460, 360)).size == WIDE.size


def test_a_smaller_copy_of_the_photo(model):
    """It is the same to the network, and has a part of its own."""
    view = sv.inspect(model, model.batch([WIDE]), [0], ["pool"])
    small = np.asarray(sv.on_photo(view, WIDE.resize((300, 200)), "pool", dim=1))
    seen = (small != 255).any(-1)
    assert small.shape == (200, 300, 3)
    assert seen[:, 150].sum() == seen[100].sum() == 160 - 2  # the frame's white lines


def test_upright_photos(tmp_path, model):
    """The photo as open_image gives it; one that lies on its side is another."""
    path, exif = tmp_path / "photo.png", Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    WIDE.save(path, exif=exif)
    photo = sv.open_image(path)
    assert photo.size == (400, 600)
    view = sv.inspect(model, model.batch([photo]), [0], ["pool"])
    assert sv.on_photo(view, photo, "pool").size == (400, 600)
    with pytest.raises(ValueError, match="This photo of 600×400 pixels is not the one"):
        sv.on_photo(view, Image.open(path), "pool")


def refused(said, *arguments, **options):
    with pytest.raises(ValueError, match=said) as caught:
        sv.on_photo(*arguments, **options)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_bad_input_is_one_sentence(model):
    block = model.blocks[0]
    view = sv.inspect(model, model.batch([WIDE, TALL]), [0, 1], ["pool"], contribution_points([block]))
    refused("explains 2 targets: say with target=0 … 1", view, WIDE, "pool")
    refused("explains 2 targets, and none is at 2", view, WIDE, "pool", target=2)
    refused(r"no Grad-CAM at se \(it has: pool\); ask for it with sv.inspect", view, WIDE, "se")
    refused("is a map that can be given instead", view, WIDE, (block, "input"))
    refused("not Bright", view, WIDE, model.module, target=0)
    refused("nor any other of its 2", view, WIDE.rotate(180), "pool", target=0)
    refused("pictures 0 … 1, and none at 2", view, WIDE, "pool", target=0, picture=2)
    refused("say with picture=0 … 1 which one", view, WIDE, "pool", target=0, box=(0, 0, 9, 9))
    refused("no Grad-CAM at pool .it has: none", sv.record(model, model.batch([WIDE])), WIDE, "pool")
    one = sv.inspect(model.module, model.batch([WIDE]), [0], ["pool"])
    refused("of an nn.Module, whose transform is not known", one, WIDE, "pool")


def test_a_transform_that_cannot_be_followed(model):
    turned = sv.Model(model.module, lambda image: model.transform(image.rotate(90)), model.classes)
    view = sv.inspect(turned, turned.batch([WIDE]), [0], ["pool"])
    refused("turns or warps .*: give the part as box=", view, WIDE, "pool")


def test_a_window_is_found_once_a_size(model):
    calls = []

    def counted(image):
        calls.append(image.size)
        return model.transform(image)

    own = sv.Model(model.module, counted, model.classes)
    first = own.window((600, 400))
    assert calls
    calls.clear()
    assert own.window((600, 400)) == first and not calls
    assert own.window((400, 600)) != first and calls


def test_photos_to_be_shown(model):
    """Reduced, with their part; by hand: 0.8 of the shorter side, squared, of all the photo's pixels."""
    photo = Photo.of(model, Image.new("RGB", (3000, 2000), "red"), 300)
    assert photo.image.size == (300, 200)
    assert photo.box == pytest.approx((70, 20, 230, 180), abs=3)
    assert photo.seen == pytest.approx(1600**2 / (3000 * 2000), abs=0.01)
    assert photo.picture[100, 150].tolist() == [255, 0, 0] and np.ptp(photo.picture[100, 20]) == 0
    padded = Photo(photo.image, (-100, 50, 400, 100))
    assert padded.seen == pytest.approx(0.25)
    said = describe_photos({"a*b": photo, "other": padded})
    assert said == f"Framed is what the network saw: {photo.seen:.0%} of a\\*b and 25% of other."
    many = describe_photos({str(n): Photo(photo.image, (0, 0, 300, 20 * n + 20)) for n in range(5)})
    assert many == "Framed is what the network saw: 10% to 50% of each photo."
