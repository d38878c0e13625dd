import numpy as np
import pandas as pd
import pytest

from senet_viz.figures import fig3_bars, fig3_lines, kernel_preference

VALUES = {"a": (0.5, -0.2, 0.125), "b": (-0.25, -0.1, 0.5)}


def preference(pictures=None) -> pd.DataFrame:
    pictures = VALUES if pictures is None else pictures
    return pd.DataFrame([
        {"picture": p, "block": f"layer{label}", "label": f"SK_{label}", "stage": int(label[0]), "smallest": "3×3",
         "largest": "7×7", "difference": value}
        for p, values in pictures.items() for label, value in zip(("2_1", "2_2", "3_1"), values)])


def test_bars_are_the_table():
    figure = kernel_preference(preference())
    assert [bar.name for bar in figure.data] == ["a", "b"]
    for bar in figure.data:
        assert tuple(bar.y) == VALUES[bar.name] and list(bar.x) == ["SK_2_1", "SK_2_2", "SK_3_1"]
    assert figure.layout.yaxis.title.text == "mean weight difference, 7×7 − 3×3"


def test_stages_and_the_zero_are_marked(stage_marks):
    figure = kernel_preference(preference())
    names, lines = stage_marks(figure)
    assert names == {0.5: "Stage 2", 2.0: "Stage 3"} and 1.5 in lines
    assert any(shape.y0 == shape.y1 == 0 for shape in figure.layout.shapes)


def test_the_alternative_text_is_true(numbers):
    alt = kernel_preference(preference()).layout.meta["alt"]
    # means over the two pictures: 0.125, -0.15, 0.3125
    assert numbers(alt) == [3, 2, 2, 3, -0.15, 0.312]
    assert "-0.150 in SK_2_2" in alt and "in SK_3_1" in alt


def test_one_picture_and_sixteen():
    assert len(kernel_preference(preference({"only": (0.1, 0.2, 0.3)})).data) == 1
    figure = kernel_preference(preference({f"picture {i}": (0.1, 0.2, 0.3) for i in range(16)}))
    assert len({(bar.marker.color, bar.marker.pattern.shape) for bar in figure.data}) == 16


def test_names_are_shown_as_they_stand(ugly):
    first = kernel_preference(preference({ugly: VALUES["a"], "b": VALUES["b"]})).data[0]
    theirs = first.hovertemplate.removeprefix("<b>%{x}</b> ").partition("<br>")[0]
    for text in (theirs, first.name):
        assert "<" not in text and "%" not in text and len(text) < 130


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0])
def test_a_preference_without_a_doubt_or_none(value):
    figure = kernel_preference(preference({"a": (value,) * 3}))
    larger = 3 if value > 0 else 0
    assert f"in {larger} of 3 units" in figure.layout.meta["alt"] and tuple(figure.data[0].y) == (value,) * 3


def test_nan_of_one_picture_leaves_the_others_be():
    figure = kernel_preference(preference({"a": (np.nan,) * 3, "b": VALUES["b"]}))
    assert tuple(figure.data[1].y) == VALUES["b"] and "nan" not in figure.layout.meta["alt"]


def groups(pictures=("1×", "1.5×", "2×"), points=4, width=4, branches=2) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    return pd.DataFrame([
        {"picture": picture, "branch": branch, "kernel": f"{3 + 2 * branch}×{3 + 2 * branch}", "point": point,
         "first": point * width, "last": point * width + width - 1, "value": generator.uniform()}
        for picture in pictures for branch in range(branches) for point in range(points)],
        columns=["picture", "branch", "kernel", "point", "first", "last", "value"])


@pytest.mark.parametrize("branches", [2, 3])
def test_lines_are_the_last_branch(branches):
    table = groups(branches=branches)
    figure = fig3_lines(table, "SK_3_4")
    assert [line.name for line in figure.data] == ["1×", "1.5×", "2×"]
    for line in figure.data:
        rows = table[(table["picture"] == line.name) & (table["branch"] == branches - 1)]
        np.testing.assert_array_equal(line.x, rows["point"])
        np.testing.assert_array_equal(line.y, rows["value"])
        assert list(line.customdata) == ["0–3", "4–7", "8–11", "12–15"]
        assert "channels %{customdata}" in line.hovertemplate
    kernel = {2: "5×5", 3: "7×7"}[branches]
    assert figure.layout.yaxis.title.text == f"weight of {kernel} in SK_3_4"
    assert figure.layout.xaxis.title.text == "point, the mean of 4 consecutive channels"
    low, high = figure.layout.yaxis.range
    assert low <= 0 and high >= 1


def test_all_channels_are_points():
    figure = fig3_lines(groups(width=1), "SK_3_4")
    assert figure.layout.xaxis.title.text == "channel index"
    assert list(figure.data[0].customdata) == ["0", "1", "2", "3"]
    assert "channel %{customdata}" in figure.data[0].hovertemplate


def test_groups_of_two_widths_are_told():
    table = groups()
    table["last"] += table["point"] == 3
    assert fig3_lines(table, "SK_3_4").layout.xaxis.title.text == "point, the mean of 4 or 5 consecutive channels"


def test_alternative_text_of_lines(numbers):
    table = groups(("a", "b"))
    means = table[table["branch"] == 1].groupby("picture")["value"].mean()
    alt = fig3_lines(table, "SK_3_4").layout.meta["alt"]
    assert numbers(alt) == [4, round(means["a"], 3), round(means["b"], 3)]


def test_lines_without_a_picture_and_names_as_they_stand(ugly):
    figure = fig3_lines(groups(()), "SK_3_4")
    assert not figure.data and "none known" in figure.layout.meta["alt"] and figure.to_json()
    line = fig3_lines(groups((ugly,)), "SK_3_4").data[0]
    for text in (line.name, line.hovertemplate.partition("<br>")[0]):
        assert "<" not in text and "%" not in text


def zooms(std=0.1) -> pd.DataFrame:
    return pd.DataFrame([{"label": label, "zoom": zoom, "mean": value * zoom, "std": std, "count": 5000}
                         for label, value in (("SK_3_4", -0.05), ("SK_2_3", 0.125)) for zoom in (1.0, 1.5, 2.0)])


def test_bars_of_zooms_are_the_table():
    table = zooms()
    figure = fig3_bars(table, smallest="3×3", largest="5×5")
    assert [bar.name for bar in figure.data] == ["1×", "1.5×", "2×"]
    for bar, zoom in zip(figure.data, (1.0, 1.5, 2.0)):
        rows = table[table["zoom"] == zoom]
        assert list(bar.x) == ["SK_3_4", "SK_2_3"]
        np.testing.assert_array_equal(bar.y, rows["mean"])
        np.testing.assert_array_equal(bar.error_y.array, rows["std"])
        np.testing.assert_array_equal(bar.customdata, rows[["std", "count"]])
        assert bar.error_y.visible and "standard deviation" in bar.hovertemplate
    assert figure.layout.yaxis.title.text == "mean weight difference, 5×5 − 3×3"
    assert list(figure.layout.xaxis.categoryarray) == ["SK_3_4", "SK_2_3"]
    assert len({bar.marker.line.color for bar in figure.data}) == 3


@pytest.mark.parametrize("table", [zooms(np.nan), zooms().drop(columns="std"), zooms().drop(columns=["std", "count"])])
def test_bars_of_one_picture_have_no_spread(table):
    for bar in fig3_bars(table, "3×3", "5×5").data:
        assert not bar.error_y.visible and "deviation" not in bar.hovertemplate


def test_alternative_text_of_bars():
    alt = fig3_bars(zooms(), "3×3", "5×5").layout.meta["alt"]
    assert alt == ("Mean weight difference, 5×5 − 3×3: SK_3_4: 1× -0.050, 1.5× -0.075, 2× -0.100; "
                   "SK_2_3: 1× +0.125, 1.5× +0.188, 2× +0.250.")


def test_bars_with_nan_one_unit_and_none():
    table = zooms()
    table.loc[0, ["mean", "std"]] = np.nan
    assert "nan" not in fig3_bars(table, "3×3", "5×5").layout.meta["alt"]
    assert len(fig3_bars(table[table["label"] == "SK_2_3"], "3×3", "5×5").data) == 3
    figure = fig3_bars(table.iloc[:0], "3×3", "5×5")
    assert figure.to_json() and figure.layout.meta["alt"].endswith("none known.")


@pytest.mark.parametrize("branches", [2, 3])
def test_the_dotted_line_is_where_all_branches_weigh_the_same(branches):
    [line] = fig3_lines(groups(branches=branches), "SK_3_4").layout.shapes
    assert line.y0 == line.y1 == pytest.approx(1 / branches)
