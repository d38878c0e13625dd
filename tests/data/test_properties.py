"""Properties of pictures, from values known beforehand."""
import math

import numpy as np
import pytest
from PIL import Image, ImageFilter

from senet_viz.data.properties import PROPERTIES, picture_properties


def told(image: Image.Image) -> dict[str, float]:
    return dict(zip(PROPERTIES, picture_properties(image)))


def test_plain_colours():
    grey = told(Image.new("RGB", (40, 30), (51, 51, 51)))
    assert grey["brightness"] == pytest.approx(0.2) and grey["contrast"] == pytest.approx(0, abs=1e-12)
    assert grey["colour"] == pytest.approx(0, abs=1e-12) and grey["detail"] == pytest.approx(math.log(1e-3), abs=1e-6)
    red = told(Image.new("RGB", (40, 30), (255, 0, 0)))
    assert red["brightness"] == pytest.approx(0.299)
    assert red["colour"] == pytest.approx(0.3 * math.hypot(1, 0.5))


def test_half_black_half_white():
    pixels = np.zeros((20, 20), np.uint8)
    pixels[:, 10:] = 255
    found = told(Image.fromarray(pixels).convert("RGB"))
    assert found["brightness"] == pytest.approx(0.5) and found["contrast"] == pytest.approx(0.5)
    # the Laplacian is 1 and −1 in two of 18 inner columns
    assert found["detail"] == pytest.approx(math.log(1 / 3 + 1e-3))


def test_blur_takes_detail_and_leaves_brightness():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8))
    sharp, soft = told(noise), told(noise.filter(ImageFilter.GaussianBlur(2)))
    assert soft["detail"] < sharp["detail"] - 1
    assert soft["brightness"] == pytest.approx(sharp["brightness"], abs=0.01)


def test_the_size_of_a_picture_matters_little():
    small = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 8, 3), dtype=np.uint8))
    large = small.resize((1024, 2048), Image.Resampling.NEAREST)
    medium = small.resize((64, 128), Image.Resampling.NEAREST)
    assert told(large) == pytest.approx(told(medium), rel=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (2, 500), (1, 3000)])
def test_pictures_without_an_inside(size):
    found = told(Image.new("RGB", size, (255, 255, 255)))
    assert found["brightness"] == pytest.approx(1) and math.isnan(found["detail"])
