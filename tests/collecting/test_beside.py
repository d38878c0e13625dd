"""Which evaluation belongs to which run."""
import pandas as pd
import pytest

from senet_viz.collecting import evaluate
from senet_viz.collecting.beside import evaluations_of
from senet_viz.statistics import StatisticsError
from tests.runs import make_model


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """``evaluated(edits, statistics)``: the folder of an evaluation of the small network."""
    def make(data, statistics, *edits):
        out = tmp_path_factory.mktemp("evaluated") / "out"
        model = make_model("se")
        model.classes[:] = [f"kind {i}" for i in range(5)]
        evaluate(model, data, out, list(edits), statistics=statistics, workers=0, progress=False)
        return out
    return make


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    from tests.comparing import data_of
    return data_of(tmp_path_factory.mktemp("five") / "data", range(5))


@pytest.fixture(scope="module")
def stats(run, five, tmp_path_factory):
    return run(tmp_path_factory.mktemp("five") / "run", make_model("se"), five)


def test_by_weights(stats, five, evaluated, full):
    folder = evaluated(five, stats, "*=mean")
    found = evaluations_of({"a": stats, "b": full}, [folder])
    assert list(found) == ["a"] and isinstance(found["a"], pd.DataFrame)
    assert found["a"]["edit"].tolist() == ["unedited", "*=mean"]
    assert evaluations_of({"a": stats}) == {}
    with pytest.raises(StatisticsError, match=r"is of none of these networks$"):
        evaluations_of({"b": full}, [folder])


def test_without_gates_at_their_mean(stats, five, evaluated):
    with pytest.raises(StatisticsError, match=r"has no gates at their mean: evaluate with --each-stage mean$"):
        evaluations_of({"a": stats}, [evaluated(five, stats, "*=1")])


def test_no_evaluation(stats, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^there is no folder"):
        evaluations_of({"a": stats}, [tmp_path / "none"])
    with pytest.raises(StatisticsError, match=r"holds no finished evaluation$"):
        evaluations_of({"a": stats}, [tmp_path])
