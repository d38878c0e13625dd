import numpy as np

from senet_viz.figures import class_colours, painted
from senet_viz.figures.class_map import OTHERS, SIDE
from senet_viz.figures.style import COLOURS, colour


def test_the_first_eight_classes_have_a_colour_each():
    colours = class_colours([7, 3, 3, -1, *range(10, 20)])
    assert list(colours) == [7, 3, -1, *range(10, 20)]
    assert [colours[i] for i in (7, 3, 10, 11, 12, 13, 14, 15)] == [colour(i) for i in range(8)]
    assert {colours[i] for i in (-1, 16, 17, 18, 19)} == {OTHERS}
    assert OTHERS not in COLOURS


def test_every_cell_has_the_colour_of_its_class():
    labels = np.array([[7, 3, 3], [-1, 7, 3]])
    colours = class_colours([7, 3, -1])
    picture = painted(labels, colours)
    scale = SIDE // 3
    assert picture.shape == (2 * scale, 3 * scale, 3)
    assert picture.dtype == np.uint8
    for (row, column), index in np.ndenumerate(labels):
        cell = picture[row * scale:(row + 1) * scale, column * scale:(column + 1) * scale]
        assert (cell == cell[0, 0]).all()
        assert "#{:02X}{:02X}{:02X}".format(*cell[0, 0]) == colours[index].upper()


def test_a_large_map_stays_as_it_is():
    assert painted(np.zeros((SIDE, SIDE + 1), int), {0: "#000000"}).shape == (SIDE, SIDE + 1, 3)
