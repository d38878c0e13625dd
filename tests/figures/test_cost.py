import pandas as pd
import pytest

from senet_viz.figures import cost_by_stage, error_against_parameters


@pytest.fixture
def errors():
    return pd.DataFrame({"name": ["large", "none", "small", "<b>"], "top1": [20.1, 23.0, 20.2, 21.0],
                         "parameters": [40_000_000, 25_000_000, 28_000_000, 25_500_000]})


def test_bars_are_the_table():
    table = pd.DataFrame({"part": ["stem", "stage 2"], "without": [1_000_000, 3_000_000], "attention": [0, 500_000]})
    figure = cost_by_stage(table)
    assert [list(bar.y) for bar in figure.data] == [[1, 3], [0, 0.5]] and figure.layout.barmode == "relative"
    assert figure.layout.meta["alt"] == "Parameters by stage; attention adds stage 2 500,000."
    assert "adds none" in cost_by_stage(table.assign(attention=0)).layout.meta["alt"]


def test_dots_are_the_table_and_labels_keep_clear(errors):
    [dots] = error_against_parameters(errors, source="a paper", mark="small").data
    assert list(dots.x) == [25, 25.5, 28, 40] and list(dots.y) == [23.0, 21.0, 20.2, 20.1]
    assert list(dots.text) == ["none", "&lt;b&gt;", "small", "large"]
    assert dots.marker.size[2] == max(dots.marker.size) and list(dots.marker.size).count(max(dots.marker.size)) == 1
    assert dots.textposition[-1] == "middle left" and dots.textposition[0] == "middle right"
    near = pd.concat([errors, pd.DataFrame({"name": ["near"], "top1": [23.02], "parameters": [26_000_000]})])
    [dots] = error_against_parameters(near, source="a paper").data
    assert dots.textposition[0] == "bottom center"  # beside its dot it would lie on the near one
    [dots] = error_against_parameters(near, source="a paper", at=25_000_000).data
    assert dots.textposition[0] == "bottom right"  # and here on the line
    [dots] = error_against_parameters(near.replace(23.02, 22.98), source="a paper").data
    assert dots.textposition[0] == "top center"  # the near one's label is a little lower
    near = pd.concat([errors, pd.DataFrame({"name": ["near"], "top1": [20.12], "parameters": [39_000_000]})])
    [dots] = error_against_parameters(near, source="a paper").data
    assert list(dots.textposition[-2:]) == ["middle left", "top center"]
    assert len(set(dots.marker.size)) == 1


def test_a_line_within_the_plot(errors):
    figure = error_against_parameters(errors, source="a paper", at=60_000_000)
    assert [shape.x0 for shape in figure.layout.shapes] == [60] and figure.layout.xaxis.range[1] > 60
    assert "line at 60.0 M" in figure.layout.meta["alt"]


def test_the_source_and_the_numbers_are_said(errors, numbers):
    figure = error_against_parameters(errors.iloc[:2], source="a paper")
    assert "a paper" in figure.layout.yaxis.title.text and "counted here" in figure.layout.xaxis.title.text
    assert numbers(figure.layout.meta["alt"].replace("top-1", "").replace("M", " M"))[:2] == [23.0, 25.0]
    error_against_parameters(errors.iloc[:1], source="a paper")
