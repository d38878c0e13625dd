import numpy as np
import pandas as pd
import pytest

from senet_viz.figures import kernel_preference

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
