import numpy as np
import pandas as pd
import pytest

from senet_viz.figures import strips
from senet_viz.figures.style import DIVERGING


def strip(name, values, scale="", unit="channel"):
    return pd.DataFrame({"strip": name, "unit": unit, "index": range(len(values)), "value": values,
                         "scale": scale or name})


@pytest.fixture
def table():
    return pd.concat([
        strip("z", [-0.5, 0.25, 0.1, 0.0]), strip("hidden", [0.0, 3.0], unit="hidden unit"),
        strip("s", [0.2, 0.9, 0.5, 0.4], "gate"), strip("before", [1.0, 2.0, 3.0, 4.0], "size"),
        strip("after", [0.2, 1.8, 1.5, 1.6], "size")], ignore_index=True)


def heat(figure):
    return [trace for trace in figure.data if trace.type == "heatmap"]


def test_strips_are_the_table_and_channels_are_aligned(table):
    figure = strips(table, "SE_2_1", channel=2)
    for trace, (_, rows) in zip(heat(figure), table.groupby("strip", sort=False), strict=True):
        np.testing.assert_array_equal(trace.z[0], rows["value"])
    axes = [figure.layout[trace.xaxis.replace("x", "xaxis")] for trace in heat(figure)]
    assert [axis.matches for axis in axes] == [None, None, "x", "x", "x"]  # the hidden layer is of another width
    assert [tuple(axis.range) for axis in axes] == [(-0.5, 3.5), (-0.5, 1.5)] + [(-0.5, 3.5)] * 3


def test_colours_of_one_scale_are_one(table):
    z, hidden, s, before, after = heat(strips(table, "SE_2_1"))
    assert (z.zmin, z.zmax, s.zmin, s.zmax, hidden.zmax) == (-0.5, 0.5, 0, 1, 3)
    assert (before.zmin, before.zmax) == (after.zmin, after.zmax) == (0, 4)
    assert z.colorscale[0][1] != s.colorscale[0][1]
    places, colours = zip(*type(z)(colorscale=DIVERGING).colorscale)
    assert [colour for _, colour in z.colorscale] == list(colours)
    assert [place for place, _ in z.colorscale] == pytest.approx(places)


def test_a_click_finds_its_channel_and_the_chosen_one_is_marked(table):
    figure = strips(table, "SE_2_1", channel=2)
    points = [trace for trace in figure.data if trace.type == "scatter"]
    assert len(points) == 4 and all(list(trace.customdata) == [0, 1, 2, 3] for trace in points)
    assert {(shape.x0, shape.x1) for shape in figure.layout.shapes} == {(1.5, 2.5)} and len(figure.layout.shapes) == 4
    assert all(trace.marker.opacity == trace.unselected.marker.opacity == 0 for trace in points)
    plain = strips(table, "SE_2_1")
    assert not plain.layout.shapes and all(trace.type == "heatmap" for trace in plain.data)


def test_constant_strips_and_zeros():
    figure = strips(pd.concat([strip("z", [0.0, 0.0]), strip("s", [1.5, 0.0], "gate")]), "x")
    assert [(trace.zmin, trace.zmax) for trace in heat(figure)] == [(0, 1), (0, 1.5)]
    assert "nan" not in figure.layout.meta["alt"]


def test_the_alternative_text_and_titles_have_the_ranges(table, numbers):
    figure = strips(table, "SE_2_1")
    assert numbers(figure.layout.meta["alt"]) == [-0.5, 0.25, 0, 3, 0.2, 0.9, 1, 4, 0.2, 1.8]
    assert "z (4): -0.5 … 0.25" in {a.text for a in figure.layout.annotations}
