"""Figures of networks side by side hold what their tables say."""
import numpy as np
import pandas as pd
import pytest

from senet_viz import figures
from senet_viz.figures.comparison import depth

MEASURES = {"omega_squared": ("class-specificity", ".2f"), "dimension": ("directions", ".1f"),
            "beyond": ("saturation", ".1%"), "empty": ("nothing", ".1f")}


@pytest.fixture
def curves():
    rows = []
    for run, stages in (("one<b>", {2: 2, 3: 3}), ("two", {2: 1, 3: 4, 5: 1})):
        for stage, count in stages.items():
            for i in range(count):
                rows.append({"run": run, "label": f"X_{stage}_{i + 1}", "stage": stage,
                             "position": i / (count - 1) if count > 1 else 0.5, "omega_squared": 0.1 * stage + 0.01 * i,
                             "dimension": 1.0 + i, "error": 0.2, "beyond": 0.001 * i, "empty": np.nan})
    return pd.DataFrame(rows)


@pytest.fixture
def along():
    return pd.DataFrame({
        "first": ["A_2_1", "A_2_2", "A_3_1"], "second": ["B_2_1", "B_2_1", "B_3_1"], "stage": [2, 2, 3],
        "position": [0.0, 1.0, 0.5], "cka": [0.2, np.nan, 0.9], "low": [0.1, np.nan, 0.7], "high": [0.3, np.nan, 1.0],
        "shuffled_low": [-0.1, np.nan, -0.05], "shuffled_high": [0.1, np.nan, 0.05]})


def test_depth():
    table = pd.DataFrame({"stage": [2, 2, 3], "position": [0.0, 1.0, 0.5]})
    assert depth(table).tolist() == pytest.approx([1.6, 2.4, 3.0])


def test_curves(curves):
    figure = figures.compared_curves(curves, MEASURES)
    lines = [trace for trace in figure.data if trace.type == "scatter"]
    assert len(lines) == 6  # the measure that nobody knows has no panel
    for i, name in enumerate(("omega_squared", "dimension", "beyond")):
        for r, run in enumerate(("one<b>", "two")):
            part, line = curves[curves["run"] == run], lines[2 * i + r]
            np.testing.assert_allclose(line.y, part[name])
            np.testing.assert_allclose(line.x, depth(part))
            assert list(line.customdata) == list(part["label"]) and "&lt;b&gt;" in lines[0].name
    assert lines[2].error_y.array.tolist() == [0.2] * 5 and figure.layout.yaxis2.type == "log"
    assert sum(line.showlegend for line in lines) == 2
    assert list(figure.layout.xaxis.ticktext) == ["2", "3", "5"]
    alt = figure.layout.meta["alt"]
    assert "2 networks" in alt and "two from 0.20 in X_2_1 to 0.50 in X_5_1" in alt and "nothing" not in alt


def test_differences():
    table = pd.DataFrame({"place": ["stage 2", "stage 3"] * 3, "measure": ["a", "a", "b", "b", "c", "c"],
                          "difference": [0.1, -0.2, 0.01, 0.0, 1.0, 2.0],
                          "low": [0.05, -0.3, 0.0, -0.01] + [np.nan] * 2,
                          "high": [0.2, -0.1, 0.02, 0.01] + [np.nan] * 2})
    figure = figures.compared_differences(table, {name: (f"measure {name}", form, 0.02) for name, form in (
        ("a", ".2f"), ("b", ".1%"), ("c", ".1f"), ("d", ".1f"))})
    assert [list(trace.y) for trace in figure.data] == [[0.1, -0.2], [0.01, 0.0]]  # without intervals there is none
    np.testing.assert_allclose(figure.data[0].error_y.array, [0.1, 0.1])
    np.testing.assert_allclose(figure.data[0].error_y.arrayminus, [0.05, 0.1])
    assert [(shape.y0, shape.y1) for shape in figure.layout.shapes if shape.type == "rect"] == [(-0.02, 0.02)] * 2
    assert figure.layout.meta["alt"] == ("Differences of stages with 95 % intervals: measure a from -0.20 in stage 3 "
                                         "to +0.10 in stage 2; measure b from +0.0% in stage 3 to +1.0% in stage 2.")


def test_matrix():
    table = pd.DataFrame([[0.1, 0.8], [np.nan, -0.02]], ["a", "b"], ["x", "y"])
    figure = figures.similarity_matrix(table, [("a", "x"), ("b", "y")], ("one", "two"))
    np.testing.assert_array_equal(figure.data[0].z, table)
    frames = [(shape.x0, shape.x1, shape.y0, shape.y1) for shape in figure.layout.shapes]
    assert frames == [(-0.5, 0.5, -0.5, 0.5), (0.5, 1.5, 0.5, 1.5)]
    assert figure.layout.meta["alt"] == ("CKA of 2 blocks of one with 2 of two, from -0.02 to 0.80; the highest is of "
                                         "a with y.")
    still = figures.similarity_matrix(table * np.nan, [], ("one", "two"))
    assert still.layout.meta["alt"] == "CKA of 2 blocks of one with 2 of two."


def test_along(along):
    figure = figures.similarity_along({"gate": along, "z": along})
    bands = [trace for trace in figure.data if trace.fill == "toself"]
    lines = [trace for trace in figure.data if trace.fill != "toself"]
    assert len(bands) == len(lines) == 2
    np.testing.assert_allclose(lines[0].y, along["cka"])
    np.testing.assert_allclose(lines[0].error_y.array, along["high"] - along["cka"])
    np.testing.assert_allclose(lines[0].error_y.arrayminus, along["cka"] - along["low"])
    np.testing.assert_allclose(bands[0].y, [*along["shuffled_high"], *along["shuffled_low"][::-1]])
    assert "gate from 0.20 in A_2_1 to 0.90 in A_3_1, 0.10 at most for shuffled pairs" in figure.layout.meta["alt"]
    along["cka"] = np.nan
    assert "none known" in figures.similarity_along({"gate": along}).layout.meta["alt"]


@pytest.mark.parametrize("told", [True, False])
def test_channels(told):
    table = pd.DataFrame({"label": ["b", "a", "a"], "channel": [0, 1, 0], "difference": [0.0, -0.3, 0.1]})
    agreement = pd.DataFrame({"label": ["a", "b"], "correlation": [0.9, 0.1] if told else np.nan,
                              "shuffled_low": -0.2, "shuffled_high": 0.3})
    figure = figures.channel_changes(table, agreement, ("one", "two"))
    box = figure.data[0]
    assert list(box.x) == ["b", "a", "a"] and list(box.y) == [0.0, -0.3, 0.1]
    assert list(figure.layout.xaxis.categoryarray) == ["a", "b"]  # in network order
    assert len(figure.data) == (3 if told else 1)
    alt = figure.layout.meta["alt"]
    assert "the largest is -0.300, of channel 1 of a" in alt and ("correlation" in alt) == told
    if told:
        assert list(figure.data[2].y) == [0.9, 0.1]


@pytest.mark.parametrize("photos", [1, 2])
def test_photos(photos):
    names = ["cat", "dog"][:photos]
    table = pd.DataFrame([{"run": run, "picture": name, "label": f"{run}_{stage}", "stage": stage, "position": 0.5,
                           "mean": 0.1 * stage, "std": 0.2, "below": 0.0, "above": 0.5}
                          for run in ("A", "B") for name in names for stage in (2, 3)])
    apart = pd.DataFrame([{"run": run, "first": "cat", "second": "dog", "label": f"{run}_{stage}", "stage": stage,
                           "position": 0.5, "distance": 0.05 * stage} for run in ("A", "B") for stage in (2, 3)],
                         columns=["run", "first", "second", "label", "stage", "position", "distance"])
    apart = apart if photos == 2 else apart.iloc[:0]
    figure = figures.compared_photos(table, apart)
    assert len(figure.data) == 4 * 2 * photos + (2 if photos == 2 else 0)
    assert list(figure.data[0].y) == pytest.approx([0.2, 0.3])
    if photos == 2:
        assert list(figure.data[-1].y) == pytest.approx([0.1, 0.15])
    colours = {trace.line.color for trace in figure.data[:2 * photos]}
    assert len(colours) == photos and {trace.line.dash for trace in figure.data[:2 * photos]} == {"solid", "dot"}
    assert figure.layout.meta["alt"].startswith(f"{photos} photo{'s' * (photos > 1)} in 2 networks. A: mean gate from "
                                                "0.20 in A_2 to 0.30 in A_3")


def test_static():
    table = pd.DataFrame({"run": ["A", "A", "B"], "place": ["stage 2", "all blocks", "stage 2"],
                          "difference": [-0.1, -0.2, 0.01], "low": [-0.15, -0.3, -0.01], "high": [-0.05, -0.1, 0.03],
                          "verdict": ["dynamic", "dynamic", "not told"]})
    figure = figures.static_compared(table)
    one, two = figure.data
    assert list(one.y) == [-0.1, -0.2] and list(two.y) == [0.01]
    assert one.x[0] < 0 < two.x[0] and one.x[1] == pytest.approx(0.9)
    np.testing.assert_allclose(one.error_y.array, [0.05, 0.1])
    np.testing.assert_allclose(one.error_y.arrayminus, [0.05, 0.1])
    assert "A from -20.0% in all blocks to -10.0% in stage 2; B +1.0% in stage 2" in figure.layout.meta["alt"]
