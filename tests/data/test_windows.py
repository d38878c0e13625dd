"""Which part of a photo a transform shows, against what the papers of its parts say, worked out by hand."""
import random

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image, ImageOps
from timm.data import create_transform
from torchvision import transforms
from torchvision.transforms import v2

from senet_viz.data.windows import window

SIZES = [(640, 480), (480, 640), (500, 500), (333, 500), (90, 60), (1600, 1067)]


def near(found, expected, size, side) -> None:
    """Within half a pixel of the photo or of the input, with a little for rounding."""
    for axis in (0, 1):
        pixel = (expected[axis + 2] - expected[axis]) / side[axis]  # of the input
        allowed = 0.55 * max(1, pixel)
        assert found[axis] == pytest.approx(expected[axis], abs=allowed), (found, expected)
        assert found[axis + 2] == pytest.approx(expected[axis + 2], abs=allowed), (found, expected)


def cropped(size, resized, side):
    """Of a photo resized to ``resized``, the crop of ``side`` in its middle, in the photo's pixels."""
    edges = []
    for whole, small, part in zip(size, resized, side):
        start = round((small - part) / 2)
        edges.append((start * whole / small, (start + part) * whole / small))
    return edges[0][0], edges[1][0], edges[0][1], edges[1][1]


def shorter(size, side):
    """torchvision's Resize of the shorter side."""
    return tuple(side if whole == min(size) else int(side * whole / min(size)) for whole in size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("percent", "side"), [(0.875, 224), (0.95, 224), (1.0, 224), (0.9, 64), (1.0, 288)])
def test_timms_centre_crop(size, percent, side):
    found = window(create_transform(side, crop_pct=percent, interpolation="bicubic"), size)
    near(found, cropped(size, shorter(size, int(side / percent)), (side, side)), size, (side, side))


@pytest.mark.parametrize("size", SIZES)
def test_timms_squash(size):
    assert window(create_transform(224, crop_pct=1.0, crop_mode="squash"), size) == (0, 0, *size)
    near(window(create_transform(224, crop_pct=0.8, crop_mode="squash"), size),
         cropped(size, (280, 280), (224, 224)), size, (224, 224))


@pytest.mark.parametrize("size", SIZES)
def test_timms_border_reaches_beyond_the_photo(size):
    found = window(create_transform(224, crop_pct=1.0, crop_mode="border"), size)
    resized = [round(whole * 224 / max(size)) for whole in size]
    scale = [whole / small for whole, small in zip(size, resized)]
    before = [(224 - small) // 2 for small in resized]  # padded; one more behind, where the number is odd
    expected = [-start * by for start, by in zip(before, scale)] + [
        (224 - start) * by for start, by in zip(before, scale)]
    near(found, expected, size, (224, 224))


@pytest.mark.parametrize("size", SIZES)
def test_an_input_that_is_not_square(size):
    found = window(create_transform((3, 192, 256), crop_pct=0.9), size)
    scale = max(213 / size[1], 284 / size[0])
    near(found, cropped(size, tuple(round(scale * whole) for whole in size), (256, 192)), size, (256, 192))


@pytest.mark.parametrize(("preset", "resized", "side"), [
    (torchvision.models.ResNet50_Weights.IMAGENET1K_V1, 256, 224),
    (torchvision.models.ResNet50_Weights.IMAGENET1K_V2, 232, 224),
    (torchvision.models.EfficientNet_B3_Weights.IMAGENET1K_V1, 320, 300)])
def test_torchvisions_presets(preset, resized, side):
    for size in SIZES[:3]:
        near(window(preset.transforms(), size), cropped(size, shorter(size, resized), (side, side)), size, (side, side))


def test_presets_of_segmentations_and_detectors():
    segmentation = torchvision.models.segmentation.LRASPP_MobileNet_V3_Large_Weights.DEFAULT.transforms()
    detection = torchvision.models.detection.FasterRCNN_ResNet50_FPN_Weights.DEFAULT.transforms()
    for size in SIZES:
        assert window(segmentation, size) == window(detection, size) == (0, 0, *size)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 2), (5, 9), (1, 60), (60, 1), (10_000, 100), (100, 10_000)])
@pytest.mark.parametrize("percent", [0.875, 1.0])
def test_tiny_photos_and_narrow_ones(size, percent):
    found = window(create_transform(224, crop_pct=percent), size)
    side = min(size) * percent
    middle = [(whole - side) / 2 for whole in size]
    near(found, (*middle, middle[0] + side, middle[1] + side), size, (224, 224))


def test_a_crop_larger_than_the_photo():
    """torchvision pads with black on every side."""
    found = window(transforms.Compose([transforms.CenterCrop((100, 80)), transforms.ToTensor()]), (60, 40))
    assert found == pytest.approx((-10, -30, 70, 70), abs=0.5)


def grey(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image.convert("L").resize((32, 24), box=(10, 20, 74, 68)), np.float32))[None]


@pytest.mark.parametrize("transform", [
    grey,
    lambda image: -3 * grey(image) + 7,
    lambda image: torch.cat([grey(image), torch.zeros(2, 24, 32), grey(ImageOps.invert(image)) * 0.2]),
    lambda image: grey(image).half(),
    v2.Compose([v2.Lambda(grey), v2.Normalize([100.0], [20.0])]),
])
def test_a_function_of_ones_own(transform):
    """Whatever it does to colours: one channel, several, inverted, in half precision."""
    assert window(transform, (100, 100)) == pytest.approx((10, 20, 74, 68), abs=1.05)


def randomly(image: Image.Image) -> torch.Tensor:
    return grey(image if random.random() < 0.5 else ImageOps.mirror(image))


PRIVATE = np.random.default_rng(1)
TO = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])


@pytest.mark.parametrize(("transform", "said"), [
    (create_transform(64, is_training=True), "is random"),
    (transforms.Compose([transforms.RandomHorizontalFlip(), TO]), "is random"),
    (transforms.Compose([transforms.RandomCrop(30), TO]), "is random"),
    (randomly, "is random"),
    (lambda image: TO(image) + PRIVATE.normal(), "is random"),
    (lambda image: TO(image)[:, PRIVATE.integers(8):], "is random"),
    (lambda image: TO(ImageOps.mirror(image)), "mirrors"),
    (lambda image: TO(image.rotate(180)), "mirrors"),
    (lambda image: TO(image.rotate(90)), "turns or warps"),
    (lambda image: TO(image.rotate(30)), "turns or warps"),
    (lambda image: TO(image) ** 3, "in proportion"),
    (lambda image: torch.zeros(3, 8, 8), "the same of a black and of a white photo"),
    (lambda image: (TO(image) - TO(image).mean()) / TO(image).std(), "the same of a black and of a white photo"),
    (lambda image: torch.stack([TO(image)] * 2), r"no tensor \(channels, height, width\) but a tensor \(2, 3, 32, "),
    (lambda image: np.asarray(image), "but ndarray"),
    (lambda image: 1 / 0, "the transform fails: ZeroDivisionError"),
])
def test_what_cannot_be_followed_is_one_sentence(transform, said):
    with pytest.raises(ValueError, match=said) as caught:
        window(transform, (100, 80))
    assert "\n" not in str(caught.value)
    assert "part of a photo it shows" in str(caught.value) or "fails" in str(caught.value)


def test_a_generator_that_another_thread_draws_from_is_no_random_transform():
    """Its numbers change while the transform runs, but not each time."""
    calls = []

    def beside(image):
        calls.append(1)
        if len(calls) == 2:
            torch.rand(1)
        return TO(image)

    assert window(beside, (100, 80)) == (0, 0, 100, 80)


def test_both_ramps_at_once_give_the_same():
    """Independently: a picture with x in red and y in green, through the transform, and a plane fitted to each."""
    size, transform = (700, 450), create_transform(192, crop_pct=0.9)
    x, y = np.meshgrid((np.arange(size[0]) + 0.5) / size[0], (np.arange(size[1]) + 0.5) / size[1])
    picture = Image.fromarray(np.rint(255 * np.stack([x, y, 0 * x], -1)).astype(np.uint8))
    made = transform(picture)
    mean, std = (transform.transforms[-1].__dict__[name].view(3, 1, 1) for name in ("mean", "std"))
    values = (made * std + mean).numpy()
    rows, columns = np.mgrid[:192, :192] + 0.5
    plane = np.stack([columns.ravel(), rows.ravel(), np.ones(192 * 192)], 1)
    (xx, xy, x0), (yx, yy, y0) = (np.linalg.lstsq(plane, v.ravel(), rcond=None)[0] for v in values[:2])
    assert abs(xy) < 1e-4 and abs(yx) < 1e-4
    expected = x0 * size[0], y0 * size[1], (x0 + 192 * xx) * size[0], (y0 + 192 * yy) * size[1]
    near(window(transform, size), expected, size, (192, 192))
