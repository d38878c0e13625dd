"""Maps over photos: colours at chosen pixels, worked out by hand."""
import numpy as np
import pytest
from PIL import Image
from plotly.colors import get_colorscale, sample_colorscale, unlabel_rgb

from senet_viz.figures import overlay, set_off
from senet_viz.figures.style import DIVERGING, SEQUENTIAL

GROUND = (200, 100, 40)


def photo(width=400, height=200) -> Image.Image:
    return Image.new("RGB", (width, height), GROUND)


def colour(share: float, scale=SEQUENTIAL) -> np.ndarray:
    return np.array(unlabel_rgb(sample_colorscale(get_colorscale(scale) if isinstance(scale, str) else scale,
                                                  [share])[0]))


def blended(share: float, opacity: float, scale=SEQUENTIAL) -> np.ndarray:
    return (1 - opacity) * np.array(GROUND) + opacity * colour(share, scale)


def at(image: Image.Image, x: float, y: float) -> np.ndarray:
    return np.array(image.getpixel((int(x), int(y))), dtype=float)


def test_each_cell_lies_on_its_part_of_the_photo():
    """A map of 2×4 cells over the middle 200×100 of 400×200: a cell is 50 pixels."""
    values = np.arange(8.0).reshape(2, 4)
    drawn = overlay(photo(), values, (100, 50, 300, 150), opacity=0.4, smooth=False)
    assert drawn.size == (400, 200) and drawn.mode == "RGB"
    for i, j in np.ndindex(2, 4):
        for x, y in ((25, 25), (8, 25), (42, 25), (25, 42)):
            np.testing.assert_allclose(at(drawn, 100 + 50 * j + x, 50 + 50 * i + y), blended(values[i, j] / 7, 0.4),
                                       atol=3)


def test_the_peak_of_a_smooth_map_is_where_its_cell_is():
    values = np.zeros((7, 7))
    values[2, 5] = 3.0
    grey = ["rgb(0,0,0)", "rgb(255,255,255)"]
    drawn = np.asarray(overlay(photo(), values, (100, 0, 300, 200), opacity=1, colormap=grey))[5:-5, 105:295, 0]
    drawn = drawn.astype(float)
    y, x = np.unravel_index(drawn.argmax(), drawn.shape)
    assert (x + 105.5, y + 5.5) == pytest.approx((100 + 5.5 * 200 / 7, 2.5 * 200 / 7), abs=2)
    # halfway to the next cell's middle half of it is left
    assert drawn[round(2.5 * 200 / 7) - 5, round(5 * 200 / 7) - 5] == pytest.approx(127, abs=6)


def test_a_part_with_broken_edges_beyond_the_photo():
    """Padded above and below: cells there are left out, and those that are cut keep their places."""
    values = np.arange(16.0).reshape(4, 4)
    drawn = overlay(photo(400, 200), values, (0.3, -100.2, 400.3, 300.1), opacity=1, smooth=False)
    for i, j in ((1, 0), (1, 3), (2, 0), (2, 3)):  # rows of 100 pixels from -100 on
        np.testing.assert_allclose(at(drawn, 100 * j + 50, 100 * i - 50), colour(values[i, j] / 15), atol=3)


def test_signed_maps_have_colours_around_zero():
    drawn = overlay(photo(), [[-1.0, 0.0, 0.5, 2.0]], (0, 0, 400, 200), opacity=1, smooth=False)
    for j, value in enumerate([-1.0, 0.0, 0.5, 2.0]):
        np.testing.assert_allclose(at(drawn, 100 * j + 50, 100), colour((value + 2) / 4, DIVERGING), atol=3)


def test_a_common_scale():
    for top in (1.0, 4.0):
        drawn = overlay(photo(), [[1.0]], (0, 0, 400, 200), opacity=1, top=top)
        np.testing.assert_allclose(at(drawn, 200, 100), colour(1 / top), atol=3)


@pytest.mark.parametrize("values", [np.zeros((3, 3)), np.full((3, 3), np.nan)])
def test_an_empty_map(values):
    drawn = overlay(photo(), values, (0, 0, 400, 200), opacity=1)
    np.testing.assert_allclose(at(drawn, 200, 100), colour(0), atol=3)


def test_the_rest_is_pale_and_grey_and_the_part_as_it_was():
    found = set_off(photo(), (100, 50, 300, 150), 0.6)
    assert at(found, 200, 100).tolist() == list(GROUND)
    grey = np.dot(GROUND, [0.299, 0.587, 0.114])
    np.testing.assert_allclose(at(found, 20, 20), 0.4 * grey + 0.6 * 255, atol=2)
    assert at(set_off(photo(), (100, 50, 300, 150), 0), 20, 20).tolist() == list(GROUND)


def test_the_frame_is_just_inside_the_part():
    pixels = np.asarray(set_off(photo(1000, 500), (200, 100, 600, 400)))
    white, black = (np.argwhere((pixels == value).all(-1)) for value in (255, 0))
    assert white[:, ::-1].min(0).tolist() == [202, 102] and white[:, ::-1].max(0).tolist() == [597, 397]
    assert black[:, ::-1].min(0).tolist() == [200, 100] and black[:, ::-1].max(0).tolist() == [599, 399]


def test_a_tiny_photo_is_not_hidden_by_its_frame():
    np.testing.assert_allclose(np.asarray(overlay(photo(3, 2), [[1.0]], (0, 0, 3, 2), opacity=0)),
                               np.asarray(photo(3, 2)), atol=1)


def test_scales_by_name():
    drawn = overlay(photo(), [[1.0]], (0, 0, 400, 200), opacity=1, colormap="viridis")
    np.testing.assert_allclose(at(drawn, 200, 100), colour(1.0, "Viridis"), atol=3)


@pytest.mark.parametrize(("changes", "said"), [
    ({"opacity": 1.5}, "opacity is from 0 to 1, not 1.5"), ({"dim": -1}, "dim is from 0 to 1"),
    ({"colormap": "no such"}, "no colour scale 'no such'"), ({"colormap": ["nonsense"]}, "no colour scale"),
    ({"values": np.zeros(3)}, r"A map to draw is \(h, w\), not \(3,\)"),
    ({"box": (300, 0, 100, 200)}, "A part of a photo is"), ({"box": (0, 0, 100)}, "A part of a photo is"),
    ({"box": (0, 0, float("nan"), 9)}, "A part of a photo is"),
    ({"box": (500, 0, 600, 200)}, "has no pixel of a photo of 400×200"),
])
def test_bad_input_is_one_sentence(changes, said):
    given = {"values": np.ones((2, 2)), "box": (0, 0, 400, 200)} | changes
    with pytest.raises(ValueError, match=said):
        overlay(photo(), **given)
