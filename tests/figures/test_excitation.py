import numpy as np
import pandas as pd
import pytest

from senet_viz.figures import excitation
from senet_viz.figures.excitation import SVG_POINTS


def gates(pictures=("a", "b"), channels=12, seed=0) -> pd.DataFrame:
    values = np.random.default_rng(seed).uniform(0, 1, (len(pictures), channels))
    return pd.DataFrame([{"picture": p, "channel": c, "value": values[i, c]}
                         for i, p in enumerate(pictures) for c in range(channels)])


def test_lines_are_the_table():
    table = gates()
    figure = excitation(table, "SE_2_1")
    assert [trace.name for trace in figure.data] == ["a", "b"]
    for picture, trace in zip("ab", figure.data):
        np.testing.assert_array_equal(trace.y, table[table["picture"] == picture]["value"])
        assert list(trace.x) == list(trace.customdata) == list(range(12))
    assert figure.layout.xaxis.title.text == "channel index" and figure.layout.yaxis.title.text == "gate in SE_2_1"


def test_every_third_channel_keeps_its_index():
    table = gates()
    trace = excitation(table, "SE_2_1", order=range(0, 12, 3)).data[1]
    assert list(trace.x) == list(trace.customdata) == [0, 3, 6, 9]
    np.testing.assert_array_equal(trace.y, table[table["picture"] == "b"]["value"].to_numpy()[::3])


def test_another_order_is_drawn_by_place_and_a_click_still_names_the_channel():
    table = gates()
    order = [7, 2, 11]
    figure = excitation(table, "SE_2_1", order=order)
    trace = figure.data[0]
    assert list(trace.x) == [0, 1, 2] and list(trace.customdata) == order
    np.testing.assert_array_equal(trace.y, table[table["picture"] == "a"]["value"].to_numpy()[order])
    assert figure.layout.xaxis.title.text == "channels in the chosen order"


def test_rows_may_come_in_any_order():
    table = gates().sample(frac=1, random_state=1)
    for trace in excitation(table, "SE_2_1").data:
        expected = gates()[gates()["picture"] == trace.name]["value"]
        np.testing.assert_array_equal(trace.y, expected)


def test_the_alternative_text_is_true():
    table = gates()
    alt = excitation(table, "SE_2_1", order=[0, 5]).layout.meta["alt"]
    means = table.groupby("picture")["value"].mean()
    # the means are not those of the two channels that are drawn, and it says so
    assert alt == ("Gate of 2 channels of SE_2_1; mean over all 12 by picture: "
                   f"a {means['a']:.2f}, b {means['b']:.2f}.")


@pytest.mark.parametrize(("values", "bounds", "range_"), [
    ((0.2, 0.8), (0.0, 1.0), (-0.03, 1.03)),
    ((0.0, 1.0), (0.0, 1.0), (-0.03, 1.03)),
    ((-0.9, 0.4), (0.0, 1.0), (-0.93, 1.03)),
    ((-0.2, 0.2), (-1.0, 1.0), (-1.03, 1.03)),
    ((0.0, 6.0), (0.0, 1.0), (-0.03, 6.03)),
    ((np.nan, 0.4), (0.0, 1.0), (-0.03, 1.03)),
])
def test_the_axis_holds_every_value(values, bounds, range_):
    table = gates(("a",), 2).assign(value=values)
    assert excitation(table, "SE_2_1", bounds=bounds).layout.yaxis.range == pytest.approx(range_)


def test_many_points_are_left_to_webgl():
    few, many = gates(("a",), SVG_POINTS), gates(("a",), SVG_POINTS + 1)
    assert {trace.type for trace in excitation(few, "x").data} == {"scatter"}
    assert {trace.type for trace in excitation(many, "x").data} == {"scattergl"}


def test_sixteen_pictures_are_told_apart_and_one_is_one():
    figure = excitation(gates([f"picture {i}" for i in range(16)]), "SE_2_1")
    assert len({(trace.line.color, trace.line.dash, trace.marker.symbol) for trace in figure.data}) == 16
    assert len(excitation(gates(("only",)), "SE_2_1").data) == 1


def test_names_are_shown_as_they_stand(ugly):
    first = excitation(gates((ugly, "b")), "SE_2_1").data[0]
    for text in (first.hovertemplate.partition("<br>")[0], first.name):
        assert "<" not in text and "%" not in text and len(text) < 130


def test_a_constant_gate():
    figure = excitation(gates().assign(value=1.0), "SE_2_1")
    assert set(figure.data[0].y) == {1.0} and "a 1.00, b 1.00" in figure.layout.meta["alt"]


def test_nan_is_a_gap():
    table = gates()
    table.loc[3, "value"] = np.nan
    trace = excitation(table, "SE_2_1").data[0]
    assert np.isnan(trace.y[3]) and not trace.connectgaps and np.isfinite(np.delete(trace.y, 3)).all()
