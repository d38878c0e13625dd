"""The figure of static and dynamic gates: every number drawn is the table's."""
import numpy as np
import pandas as pd
import pytest

from senet_viz.figures import static_or_dynamic

GATES = ["no attention", "mean gate", "rank 1", "rank 4", "gate of another class"]


def table(gates=tuple(GATES), places=("stage 2", "stage 3", "all blocks"), classes=True) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame([(place, gate) for place in places for gate in gates], columns=["place", "gate"])
    rows["difference"] = -rng.random(len(rows)) / 4
    rows["top1"], rows["kept"] = 0.6 + rows["difference"], np.where(rows["place"] == "stage 2", np.nan, 0.75)
    for of, half in (("", 0.01), ("_classes", 0.02 if classes else np.nan)):
        rows[f"low{of}"], rows[f"high{of}"] = rows["difference"] - half, rows["difference"] + 2 * half
    return rows


@pytest.mark.parametrize("classes", [True, False])
def test_a_dot_a_gate_with_its_intervals(classes):
    rows = table(classes=classes)
    figure = static_or_dynamic(rows)
    dots = {trace.name: trace for trace in figure.data if trace.name}
    assert set(dots) == set(GATES) and len(figure.data) == len(GATES) * (1 + classes)
    for gate, trace in dots.items():
        part = rows[rows["gate"] == gate]
        assert list(trace.y) == part["difference"].tolist()
        assert [round(x) for x in trace.x] == [0, 1, 2]
        assert list(trace.error_y.array) == pytest.approx([0.02] * 3)
        assert list(trace.error_y.arrayminus) == pytest.approx([0.01] * 3)
        assert [line[0] for line in trace.customdata] == part["place"].tolist()
        assert "kept" not in trace.customdata[0][5] and "75% of what" in trace.customdata[1][5]
        assert trace.yaxis == ("y2" if gate == "no attention" else "y")
        wide = [other for other in figure.data if other.legendgroup == gate and not other.name]
        assert len(wide) == classes
        if classes:
            assert list(wide[0].error_y.array) == pytest.approx([0.04] * 3) and list(wide[0].x) == list(trace.x)
            assert wide[0].error_y.thickness < trace.error_y.thickness and "other classes" in trace.customdata[0][4]
    assert len({(trace.marker.color, trace.marker.symbol) for trace in dots.values()}) == len(GATES)
    assert len({x for gate, trace in dots.items() if gate != "no attention" for x in trace.x}) == 3 * (len(GATES) - 1)
    assert list(figure.layout.xaxis.ticktext) == ["stage 2", "stage 3", "all blocks"]
    mean = rows[rows["gate"] == "mean gate"].set_index("place")["difference"]
    assert f"mean gate from {mean.min():+.1%} in {mean.idxmin()} to" in figure.layout.meta["alt"]


def test_without_no_attention_there_is_one_panel():
    figure = static_or_dynamic(table(gates=["mean gate"], places=["SE_2_1"]))
    assert {trace.yaxis for trace in figure.data} == {"y"} and list(figure.data[-1].x) == [0]
    assert figure.layout.meta["alt"].startswith("Change of top-1 in 1 place, with 95 % intervals: mean gate -")
    assert figure.layout.meta["alt"].endswith("% in SE_2_1.")


def test_gates_that_some_places_lack():
    rows = table()
    figure = static_or_dynamic(rows[(rows["gate"] != "rank 4") | (rows["place"] == "all blocks")])
    trace, = [trace for trace in figure.data if trace.name == "rank 4"]
    assert [round(x) for x in trace.x] == [2]


def test_a_dot_at_nothing_is_drawn_whole():
    """Of a network whose attention is worth nothing somewhere."""
    rows = table(classes=False)
    rows.loc[rows["place"] == "stage 3", ["difference", "low", "high"]] = 0.0
    low, high = static_or_dynamic(rows).layout.yaxis2.range
    lost = rows[rows["gate"] == "no attention"]
    assert high >= 0.05 * (high - low) and low < lost["low"].min()
