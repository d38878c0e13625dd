"""Figures of experiments with gates: every number drawn is the table's."""
import pandas as pd
import pytest

from senet_viz.figures import edit_effects, edit_travel, evaluated, forced_sizes


@pytest.fixture
def effects():
    """``effects(name)``: two blocks, each set to 1 and to its mean, followed in a class of this name."""
    def make(name: str = "cat") -> pd.DataFrame:
        return pd.DataFrame({
            "label": ["SE_2_1", "SE_2_1", "SE_3_1", "SE_3_1"], "stage": [2, 2, 3, 3],
            "edit": ["1", "mean gate"] * 2, "of": name, "logit": [1.0, 2.0, 3.0, 4.0],
            "change": [-2.0, -1.0, 0.0, 1.0], "lead_change": [-3.0, -1.5, 0.0, 1.5],
            "probability": [0.1, 0.2, 0.3, 0.4], "probability_change": [-0.2, -0.1, 0.0, 0.1],
            "class": [name, name, name, "dog"], "class_before": name})
    return make


@pytest.mark.parametrize("quantity", ["lead_change", "probability_change"])
def test_a_bar_a_block_and_edit(effects, quantity, stage_marks):
    table = effects()
    figure = edit_effects(table, quantity=quantity)
    assert [trace.name for trace in figure.data] == ["gate at 1", "mean gate"]
    for trace, (_, rows) in zip(figure.data, table.groupby("edit", sort=False)):
        assert list(trace.x) == ["SE_2_1", "SE_3_1"] and list(trace.y) == list(rows[quantity])
        assert [(*row[1:5], row[6]) for row in trace.customdata] == list(rows[
            ["logit", "change", "probability", "probability_change", "lead_change"]].itertuples(
                index=False, name=None))
    assert [list(trace.text) for trace in figure.data] == [["", ""], ["", "≠"]]  # where it is another class
    assert {trace.textangle for trace in figure.data} == {0}  # upright on narrow bars too
    assert stage_marks(figure) == ({0.0: "Stage 2", 1.0: "Stage 3"}, [0.5])
    least, most = ("-3.00", "+1.50") if quantity == "lead_change" else ("-20%", "+10%")
    against = "against the mean of all classes"
    for text in (figure.layout.yaxis.title.text, figure.layout.meta["alt"]):
        assert (against in text) == (quantity == "lead_change")
    alt = figure.layout.meta["alt"]
    assert f"in 2 places: 1 from {least} in SE_2_1 to " in alt and f"to {most} in SE_3_1" in alt
    one = edit_effects(table[table["label"] == "SE_2_1"], quantity=quantity).layout.meta["alt"]
    assert f"in 1 place: 1 {least} in SE_2_1; mean gate" in one
    assert "another class is the most probable in 1 of 4 cases" in alt


def test_small_changes_are_not_all_zero(effects):
    """One channel moves a probability by hundredths of a point."""
    table = effects()
    table["probability_change"] /= 1000
    layout = edit_effects(table, quantity="probability_change").layout
    ticks = [format(tick, layout.yaxis.tickformat) for tick in (-0.0002, -0.00015, -0.0001, -0.00005)]
    assert len(set(ticks)) == 4 and f"from {ticks[0]} in SE_2_1 to" in layout.meta["alt"]


def test_channels_have_no_stages_and_keep_their_order(effects):
    table = effects().drop(columns="stage").assign(channel=[30, 30, 4, 4])
    figure = edit_effects(table, by="channel", title="channels")
    assert list(figure.layout.xaxis.categoryarray) == ["30", "4"] and figure.layout.xaxis.type == "category"
    assert not figure.layout.annotations and figure.layout.xaxis.title.text == "channels"


def test_names_are_no_markup(effects, ugly):
    figure = edit_effects(effects(ugly))
    for text in [*(trace.hovertemplate for trace in figure.data), figure.layout.yaxis.title.text,
                 *(row[0] for trace in figure.data for row in trace.customdata)]:
        assert "<b>bold" not in text and "<a " not in text and "%{y} " not in text


def test_edited_blocks_are_bands_that_hide_nothing():
    table = pd.DataFrame({"label": ["a", "b", "c"], "stage": [2, 2, 3], "difference": [0.0, 0.5, 0.02],
                          "distance": [0.0, 0.3, 0.01], "edited": [False, True, False]})
    band, bars = edit_travel(table).data
    assert list(bars.x) == ["a", "c"] and list(bars.y) == [0.0, 0.02] and list(band.x) == ["b"]
    assert band.customdata[0][0] == 0.5 and band.y[0] == pytest.approx(0.021)
    assert edit_travel(table).layout.yaxis.range[1] < 0.03
    assert "edited: b; of the others most in c (0.0200)" in edit_travel(table).layout.meta["alt"]
    [alone] = edit_travel(table[table["edited"]]).data
    still = edit_travel(table.assign(difference=0.0)).layout.meta["alt"]
    assert still.endswith("the others do not change.")
    assert alone.y[0] == 0.5 and "there are no others" in edit_travel(table[table["edited"]]).layout.meta["alt"]
    [still] = edit_travel(table.assign(difference=0.0, edited=False)).data
    assert not any(still.y)


def test_a_line_a_choice_of_kernels():
    table = pd.DataFrame([{"size": size, "edit": edit, "of": "cat", "logit": 9.0, "lead": size * i,
                           "probability": 0.1 * i, "class": "dog"}
                          for i, edit in enumerate(["own choice", "3x3", "5x5", "uniform"])
                          for size in (0.5, 1.0, 2.0)])
    figure = forced_sizes(table)
    assert [trace.name for trace in figure.data] == ["own choice", "3x3", "5x5", "uniform"]
    for trace, (_, rows) in zip(figure.data, table.groupby("edit", sort=False)):
        assert list(trace.x) == [0.5, 1.0, 2.0] and list(trace.y) == list(rows["lead"])
        assert trace.customdata[0][1] == "dog" and trace.customdata[0][2] == 9.0
    assert "against the mean of all classes" in figure.layout.yaxis.title.text
    assert list(figure.layout.xaxis.ticktext) == ["0.5×", "1×", "2×"]
    assert "5x5 from 1.00 to 4.00" in figure.layout.meta["alt"]


def test_a_dot_and_its_intervals_an_edit(ugly):
    table = pd.DataFrame({
        "edit": ["unedited", "SE_5_*=1", "SE_4_1=0", ugly], "top1": [0.6, 0.4, 0.57, 0.61],
        "difference": [0.0, -0.2, -0.03, 0.01], "low": [0.0, -0.23, -0.05, -0.01], "high": [0.0, -0.17, -0.01, 0.03],
        "low_classes": [0.0, -0.25, -0.07, -0.02], "high_classes": [0.0, -0.15, 0.01, 0.04], "lost": [0, 30, 9, 4],
        "gained": [0, 10, 1, 6], "top5": [0.8, 0.7, 0.8, 0.8]})
    wide, dots = evaluated(table).data
    assert list(dots.x) == list(wide.x) == [-0.2, -0.03, 0.01]
    assert list(dots.marker.symbol) == ["circle", "circle-open", "circle-open"]
    for trace, end in ((dots, ""), (wide, "_classes")):
        assert list(trace.error_x.array) == pytest.approx((table[f"high{end}"] - table["difference"]).tolist()[1:])
        assert list(trace.error_x.arrayminus) == pytest.approx((table["difference"] - table[f"low{end}"]).tolist()[1:])
    assert "<b>bold" not in dots.y[2]
    assert "the interval for other classes leaves 0 out for 1." in evaluated(table).layout.meta["alt"]
    assert len(evaluated(table).layout.xaxis.title.text) < 40  # it fits a narrow window
    figure = evaluated(table.assign(low_classes=float("nan"), high_classes=float("nan")))
    [dots] = figure.data
    assert list(dots.marker.symbol) == ["circle", "circle", "circle-open"] and not dots.customdata[0][6]
    assert "the interval for other pictures leaves 0 out for 2." in figure.layout.meta["alt"]
    assert "classes" not in figure.layout.xaxis.title.text
