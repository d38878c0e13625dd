"""The picture on which a box is drawn: its pixels are the coordinates, also where a smaller copy is shown."""
import base64
import io

import numpy as np
import pytest
from PIL import Image

from senet_viz.figures import box_picker

PICTURE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def test_the_picture_lies_on_its_own_pixels():
    figure = box_picker(PICTURE, "a cat")
    [image] = figure.layout.images
    assert (image.x, image.y, image.sizex, image.sizey, image.xref, image.yref) == (0, 0, 40, 30, "x", "y")
    assert figure.layout.xaxis.range == (0, 40) and figure.layout.yaxis.range == (30, 0)  # y counts downwards
    assert (figure.layout.width, figure.layout.height) == (40, 30)
    shown = Image.open(io.BytesIO(base64.b64decode(image.source.partition(",")[2])))
    assert shown.size == (40, 30)
    assert figure.layout.meta["alt"] == "a cat, 40×30 pixels." and not figure.layout.shapes
    assert figure.layout.yaxis.scaleanchor == "x"  # a narrow window does not distort it


def test_a_smaller_copy_has_the_pixels_of_the_whole():
    figure = box_picker(PICTURE, "a cat", (100, 50, 350.5, 280), size=(400, 300))
    [image], [shape] = figure.layout.images, figure.layout.shapes
    assert (image.sizex, image.sizey) == (400, 300) and figure.layout.yaxis.range == (300, 0)
    assert (figure.layout.width, figure.layout.height) == (40, 30)
    assert (shape.type, shape.x0, shape.y0, shape.x1, shape.y1) == ("rect", 100, 50, 350.5, 280)
    assert figure.layout.meta["alt"] == "a cat, 400×300 pixels, with a box from (100, 50) to (350.5, 280)."


@pytest.mark.parametrize("size", [None, (400, 300)])
def test_a_box_is_drawn_with_the_pointer(size):
    """Streamlit reports a selection of points only: they lie all over the picture, unseen."""
    figure = box_picker(PICTURE, "a cat", size=size)
    [points] = figure.data
    width, height = size or (40, 30)
    assert (min(points.x), max(points.x), min(points.y), max(points.y)) == (0, width, 0, height)
    assert len(set(zip(points.x, points.y))) == len(points.x) > 1000
    assert {points.marker.opacity, points.selected.marker.opacity, points.unselected.marker.opacity} == {0}
    assert figure.layout.dragmode == "select" and points.hoverinfo == "skip" and not figure.layout.showlegend
