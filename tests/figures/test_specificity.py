import numpy as np
import pandas as pd
import pytest

from senet_viz.figures import specificity

QUANTILES = ["q05", "q25", "median", "q75", "q95"]
SOURCES = ("gate", "shuffled", "squeeze", "random")
NAMES = {"gate": "gate", "shuffled": "control: shuffled labels", "squeeze": "control: squeezed input z",
         "random": "control: random weights"}


def table(sources=SOURCES, seed=0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    rows = []
    for label, stage in (("3_1", 3), ("2_2", 2), ("2_1", 2)):  # no order but the table's
        for source in sources:
            q = np.sort(generator.uniform(0, 0.6, 5))
            rows.append({"block": f"layer{label}", "label": f"SE_{label}", "stage": stage, "index": 1, "source": source,
                         "channels": 60, "dead": 3, "open": 1, "constant": 0, "mean": q.mean()}
                        | dict(zip(QUANTILES, q)))
    return pd.DataFrame(rows)


def parts(figure, name):
    """The box or the line of a source."""
    return [t for t in figure.data if t.name == name and (t.type == "box" or t.mode == "lines+markers")]


def bands(figure):
    return [t for t in figure.data if t.type == "scatter" and t.fill]


def test_the_gate_is_boxes():
    rows = table()[table()["source"] == "gate"]
    figure = specificity(table())
    [box] = parts(figure, "gate")
    assert box.type == "box" and list(box.x) == list(rows["label"])
    for attribute, column in zip(("lowerfence", "q1", "median", "q3", "upperfence"), QUANTILES):
        np.testing.assert_array_equal(box[attribute], rows[column])
    [dots] = [t for t in figure.data if t.type == "scatter" and t.mode == "markers"]
    np.testing.assert_array_equal(dots.y, rows["mean"])
    np.testing.assert_array_equal(
        dots.customdata, rows[[*QUANTILES, "mean", "channels", "dead", "open", "constant"]])
    assert dots.legendgroup == box.legendgroup and dots.showlegend is False


@pytest.mark.parametrize("source", SOURCES[1:])
def test_a_control_is_a_line_and_a_band(source):
    rows = table()[table()["source"] == source]
    figure = specificity(table())
    [line] = parts(figure, NAMES[source])
    np.testing.assert_array_equal(line.y, rows["median"])
    np.testing.assert_array_equal(
        line.customdata, rows[[*QUANTILES, "mean", "channels", "dead", "open", "constant"]])
    [band] = [t for t in bands(figure) if t.legendgroup == line.legendgroup]
    assert list(band.x) == [*rows["label"], *rows["label"][::-1]] and band.showlegend is False
    np.testing.assert_array_equal(band.y, [*rows["q25"], *rows["q75"][::-1]])


def test_blocks_keep_their_order_and_stages_are_marked(stage_marks):
    data = table()
    # the first control lacks the first block
    data = data[~((data["label"] == "SE_3_1") & (data["source"] == "shuffled"))]
    figure = specificity(data)
    assert list(figure.layout.xaxis.categoryarray) == ["SE_3_1", "SE_2_2", "SE_2_1"]
    assert stage_marks(figure) == ({0.0: "Stage 3", 1.5: "Stage 2"}, [0.5])
    assert figure.layout.yaxis.title.text == "share of variance between classes (ω²)"


@pytest.mark.parametrize("sources", [("gate",), ("gate", "random"), ("squeeze",)])
def test_only_what_is_there(sources):
    figure = specificity(table(sources))
    assert {t.name for t in figure.data if t.showlegend is not False} == {NAMES[source] for source in sources}
    text = figure.layout.meta["alt"]
    assert ("control" in text) == (sources != ("gate",)) and ("shuffled" in text) == ("shuffled" in sources)


def test_the_alternative_text_is_true(numbers):
    data = table(("gate", "random"))
    medians = {source: rows["median"] for source, rows in data.groupby("source")}
    assert numbers(specificity(data).layout.meta["alt"]) == [3] + [
        round(f(medians[source]), 2) for source in ("gate", "random") for f in (min, max)]


def test_controls_look_different():
    lines = [t for name in list(NAMES.values())[1:] for t in parts(specificity(table()), name)]
    assert len({t.line.color for t in lines}) == len({t.line.dash for t in lines}) == len(lines) == 3


def test_nan_is_left_out():
    data = table()
    data.loc[(data["label"] == "SE_2_2"), [*QUANTILES, "mean"]] = np.nan
    figure = specificity(data)
    assert "nan" not in figure.layout.meta["alt"] and np.isfinite(figure.layout.yaxis.range).all()
    assert figure.layout.meta["alt"].count(", without a channel to tell of in SE_2_2") == 4  # the gate and its controls
    assert "without" not in specificity(table()).layout.meta["alt"]
    for band in bands(figure):
        assert list(band.x) == ["SE_3_1", "SE_3_1", None, "SE_2_1", "SE_2_1"]
    box, = [trace for trace in figure.data if trace.type == "box"]
    assert list(box.x) == ["SE_3_1", "SE_2_1"]  # of nan a browser draws it at 0
    assert len(figure.layout.xaxis.categoryarray) == 3


def test_all_nan_and_no_rows():
    figure = specificity(table().assign(**dict.fromkeys([*QUANTILES, "mean"], np.nan)))
    assert figure.layout.meta["alt"].endswith("median over channels: none known.")
    assert figure.layout.yaxis.range == pytest.approx((-0.02, 0.12)) and not bands(figure)
    assert specificity(table().iloc[:0]).to_json()


@pytest.mark.parametrize(("value", "range_"), [
    (0.0, (-0.02, 0.12)), (1.0, (-0.02, 1.02)), (-0.05, (-0.07, 0.12))])
def test_the_axis_holds_every_value(value, range_):
    figure = specificity(table().assign(**dict.fromkeys([*QUANTILES, "mean"], value)))
    assert figure.layout.yaxis.range == pytest.approx(range_)
