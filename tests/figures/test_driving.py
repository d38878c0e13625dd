import pandas as pd
import pytest

from senet_viz import figures


@pytest.fixture
def table():
    shares = {"all": [0.9, 0.4], "own": [0.5, 0.01], "neighbours": [0.6, 0.02], "dealt": [-0.01, 0.0],
              "class": [0.3, 0.35], "picture": [0.2, None], "brightness": [0.1, 0.15]}
    return pd.DataFrame([
        {"block": f"b{i}", "label": f"SE_{i + 2}_1", "stage": i + 2, "driver": driver, "share": share, "channels": 64,
         "neighbours": 3} for i in range(2) for driver, share in (
             (name, values[i]) for name, values in shares.items())])


def test_a_line_for_each_driver_with_its_numbers(table):
    figure = figures.driving(table)
    lines = {trace.name: trace for trace in figure.data}
    assert list(lines) == ["all of z", "z of channels around it", "z of the same channel", "the picture's class",
                           "properties of the picture", "control: z of other pictures"]
    assert list(lines["all of z"].x) == ["SE_2_1", "SE_3_1"] and list(lines["all of z"].y) == [0.9, 0.4]
    assert list(lines["properties of the picture"].y) == [0.2]
    assert "3 channels" not in lines["all of z"].hovertemplate
    assert all("channels before their activation" in line.hovertemplate for line in lines.values())
    assert "all of z from 40% in SE_3_1 to 90% in SE_2_1" in figure.layout.meta["alt"]


def test_the_properties_one_by_one(table):
    figure = figures.driving(table, properties=True, quantity="weight of 5×5")
    assert [trace.name for trace in figure.data] == ["all together", "brightness"]
    assert figure.layout.yaxis.title.text == "share of the variance of the weight of 5×5<br>before its activation"
    low, high = figure.layout.yaxis.range
    assert low < 0 and 0.2 < high < 0.3


def test_nothing_known(table):
    figure = figures.driving(table.assign(share=float("nan")))
    assert not figure.data and figure.layout.meta["alt"].endswith("none known.")


def test_one_block_and_what_predicts_worse_than_the_mean(table):
    one = table[table["block"] == "b0"]
    one.loc[one["driver"] == "class", "share"] = -0.36
    figure = figures.driving(one)
    assert figure.layout.yaxis.range[0] < -0.36  # it is drawn
    assert figure.layout.meta["alt"].startswith(
        "Share of the variance of the gate before its activation that is predicted, in 1 block: all of z 90% in "
        "SE_2_1; ")
