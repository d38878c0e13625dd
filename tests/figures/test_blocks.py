import numpy as np
import pandas as pd
import pytest

from senet_viz.figures import all_blocks


def traces(figure, kind):
    return [trace for trace in figure.data if trace.type == kind]


def test_boxes_and_dots_are_the_table(summary):
    table = summary(("a", "b", "c"))
    figure = all_blocks(table)
    boxes, dots = traces(figure, "box"), traces(figure, "scatter")
    assert len(boxes) == len(dots) == 3 and [dot.name for dot in dots] == ["a", "b", "c"]
    for picture, box, dot in zip("abc", boxes, dots):
        rows = table[table["picture"] == picture]
        assert list(box.x) == list(dot.x) == ["SE_2_1", "SE_2_2", "SE_3_1"]
        for attribute, column in (("lowerfence", "q05"), ("q1", "q25"), ("median", "median"), ("q3", "q75"),
                                  ("upperfence", "q95")):
            np.testing.assert_array_equal(box[attribute], rows[column])
        np.testing.assert_array_equal(dot.y, rows["mean"])
        np.testing.assert_array_equal(dot.customdata, rows[["std", "below", "above", "channels", "min", "max"]])
        assert box.line.color == dot.marker.color and box.offsetgroup == dot.offsetgroup
        assert box.legendgroup == dot.legendgroup and not box.showlegend and dot.showlegend is None


def test_of_branches_the_last_is_drawn(summary):
    table = summary(branches=3)
    figure = all_blocks(table)
    for picture, dot in zip("ab", traces(figure, "scatter")):
        rows = table[(table["picture"] == picture) & (table["branch"] == 2)]
        np.testing.assert_array_equal(dot.y, rows["mean"])
    assert figure.layout.yaxis.title.text == "weight of 7×7"
    assert "weight of 7×7" in figure.layout.meta["alt"]


def test_gates_beside_weights_are_not_called_weights(summary):
    mixed = pd.concat([summary().assign(label="SE_4_1", block="gate"), summary(branches=3)])
    assert all_blocks(mixed).layout.yaxis.title.text == "gate or weight of 7×7"


def test_of_many_pictures_there_are_dots_alone(summary):
    names = tuple("abcdefg")
    assert len(traces(all_blocks(summary(names[:6])), "box")) == 6
    figure = all_blocks(summary(names))
    assert not traces(figure, "box") and len(traces(figure, "scatter")) == 7
    assert figure.layout.meta["alt"].startswith("Mean of the gate")


def test_stages_are_marked(summary, stage_marks):
    assert stage_marks(all_blocks(summary())) == ({0.5: "Stage 2", 2.0: "Stage 3"}, [1.5])


def test_the_alternative_text_is_true(summary, numbers):
    table = summary()
    figure = all_blocks(table)
    widest = table.loc[table["std"].idxmax()]
    assert numbers(figure.layout.meta["alt"]) == [
        3, 2, round(table["mean"].min(), 2), round(table["mean"].max(), 2), round(widest["std"], 2)]
    assert widest["label"] in figure.layout.meta["alt"]


@pytest.mark.parametrize(("values", "range_"), [
    ({"min": 0.2, "max": 0.8}, (-0.03, 1.03)),    # always from 0 to 1, so that figures can be compared
    ({"min": 0.0, "max": 1.0}, (-0.03, 1.03)),    # a hard sigmoid's, whose dots must not be cut off
    ({"min": -0.7, "max": 0.9}, (-0.73, 1.03)),   # a tanh's
    ({"min": 0.0, "max": 3.5}, (-0.03, 3.53)),    # a ReLU's
])
def test_the_axis_holds_every_gate(summary, values, range_):
    figure = all_blocks(summary().assign(**values))
    assert figure.layout.yaxis.range == pytest.approx(range_)


def test_one_picture(summary):
    figure = all_blocks(summary(("only",)))
    assert len(figure.data) == 2 and figure.layout.meta["alt"].split(". ")[0].endswith("for 1 picture")


def test_sixteen_pictures_are_told_apart(summary):
    figure = all_blocks(summary([f"picture {i}" for i in range(16)]))
    dots = traces(figure, "scatter")
    assert len(dots) == 16 and len({(dot.marker.color, dot.marker.symbol) for dot in dots}) == 16


def test_names_are_shown_as_they_stand(summary, ugly):
    figure = all_blocks(summary((ugly, "b")))
    first = traces(figure, "scatter")[0]
    ours = "<b>%{x}</b> "
    assert first.hovertemplate.startswith(ours)
    theirs = first.hovertemplate.removeprefix(ours).partition("<br>")[0]
    for text in (theirs, first.name):
        assert "<" not in text and "%" not in text and len(text) < 130
    assert figure.to_json()


def test_a_constant_gate(summary):
    same = dict.fromkeys(("min", "q05", "q25", "median", "q75", "q95", "max", "mean"), 0.5)
    figure = all_blocks(summary().assign(std=0.0, below=0.0, above=0.0, **same))
    assert set(traces(figure, "box")[0].q1) == set(traces(figure, "box")[0].q3) == {0.5}
    assert "Block means: 0.50; " in figure.layout.meta["alt"]
    table = summary()[:1]
    assert all_blocks(table).layout.meta["alt"].endswith(
        f"In {table['label'][0]} the mean is {table['mean'][0]:.2f}, the standard deviation {table['std'][0]:.2f}.")


def test_a_picture_of_nan_leaves_the_others_be(summary):
    table = summary()
    columns = ["mean", "std", "min", "q05", "q25", "median", "q75", "q95", "max"]
    table.loc[table["picture"] == "a", columns] = np.nan
    figure = all_blocks(table)
    assert figure.layout.yaxis.range == pytest.approx((-0.03, 1.03))
    np.testing.assert_array_equal(traces(figure, "scatter")[1].y, table[table["picture"] == "b"]["mean"])
    assert "nan" not in figure.layout.meta["alt"]
