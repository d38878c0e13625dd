import numpy as np
import pandas as pd
import pytest

from senet_viz.figures import saturation

COUNTS, SHARES = ["dead", "open", "constant"], ["below", "above"]


def table(**columns) -> pd.DataFrame:
    return pd.DataFrame({
        "block": ["a", "b", "c"], "label": ["SE_3_1", "SE_2_2", "SE_2_1"], "stage": [3, 2, 2],
        "channels": [64, 64, 128], "dead": [16, 0, 0], "open": [8, 0, 1], "constant": [2, 0, 64],
        "below": [0.3, 0.0, 0.05], "above": [0.2, 0.0, 0.6], "mean": [0.4, 0.5, 0.6]}).assign(**columns)


def test_bars_are_shares_of_channels_and_lines_shares_of_gates(stage_marks):
    data = table()
    figure = saturation(data)
    bars, lines = figure.data[:3], figure.data[3:]
    for bar, column in zip(bars, COUNTS):
        assert bar.type == "bar" and bar.name == f"{column} channels" and list(bar.x) == list(data["label"])
        np.testing.assert_allclose(bar.y, data[column] / data["channels"])
        np.testing.assert_array_equal(bar.customdata, data[[column, "channels"]])
    for line, column, name in zip(lines, SHARES, ("gate below .05", "gate above .95")):
        assert line.type == "scatter" and line.name == name
        np.testing.assert_array_equal(line.y, data[column])
        np.testing.assert_array_equal(line.customdata, data["mean"])
    assert figure.layout.barmode == "stack" and stage_marks(figure) == ({0.0: "Stage 3", 1.5: "Stage 2"}, [0.5])
    assert len({bar.marker.pattern.shape for bar in bars}) == 3 and lines[0].line.dash != lines[1].line.dash
    assert not any("0 in every block" in a.text for a in figure.layout.annotations)


@pytest.mark.parametrize(("columns", "top"), [
    ({}, 0.6),                                        # a line's
    ({"above": 0.0}, 65 / 128),                       # a stack's
    ({"dead": 0, "open": 0, "constant": 0, "below": 0.001, "above": 0.0}, 0.05),
    ({"dead": [64, 64, 128], "open": 0, "constant": 0}, 1.0),
])
def test_the_axis_holds_everything_and_does_not_blow_up_little(columns, top):
    assert saturation(table(**columns)).layout.yaxis.range == pytest.approx((-0.02 * top, 1.05 * top))


def test_nothing_saturated_is_said():
    figure = saturation(table(**dict.fromkeys([*COUNTS, *SHARES], 0)))
    assert [a.text for a in figure.layout.annotations][-1].startswith("0 in every block")
    assert figure.layout.yaxis.range == pytest.approx((-0.001, 0.0525))
    assert "0 dead, 0 open and 0 constant channels of 256; gate below .05: at most 0.0%" in figure.layout.meta["alt"]


def test_the_alternative_text_is_true():
    assert saturation(table()).layout.meta["alt"] == (
        "Saturation in 3 blocks: 16 dead, 9 open and 66 constant channels of 256; gate below .05: at most 30.0%, in "
        "SE_3_1; gate above .95: at most 60.0%, in SE_2_1.")


def test_nan_and_nothing():
    figure = saturation(table(below=np.nan, above=[np.nan, 0.1, 0.2]))
    assert np.isfinite(figure.layout.yaxis.range).all() and "nan" not in figure.layout.meta["alt"]
    empty = saturation(table().iloc[:0])
    assert np.isfinite(empty.layout.yaxis.range).all() and empty.to_json()
    assert empty.layout.meta["alt"].startswith("Saturation in 0 blocks")
