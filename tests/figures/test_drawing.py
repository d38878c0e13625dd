"""What is drawn on dictionaries is what Plotly draws of the same words."""
import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from plotly.subplots import make_subplots

from senet_viz.figures.drawing import Drawing

TABLE = pd.DataFrame({"label": ["a", "b", "c"], "value": [0.5, np.nan, 2.0], "count": [3, 1, 2]})


def words(figure: go.Figure) -> dict:
    """A figure as it is sent."""
    return json.loads(figure.to_json())


def draw(figure, **place) -> None:
    """With the methods that Plotly's figures and drawings share."""
    figure.add_scatter(x=TABLE["label"], y=TABLE["value"], customdata=TABLE[["label", "count"]], name="n",
                       error_y={"type": "data", "array": TABLE["count"]}, showlegend=None, **place)
    figure.add_bar(x=TABLE["label"], y=TABLE["count"], marker={"color": "#123456", "line": {"width": 0}}, **place)
    figure.add_box(x=["a"], q1=[1], median=[2], q3=[3], **place)
    figure.add_heatmap(z=np.arange(6.0).reshape(2, 3), colorscale=["#000000", "#ffffff"], zmin=0, **place)
    figure.add_image(source="data:image/png;base64,", hoverinfo="skip", **place)
    figure.add_vline(x=1, line={"width": 2}, **place)
    figure.add_hline(y=0.5, layer="below", **place)
    figure.add_vrect(x0=0, x1=1, fillcolor=None, **place)
    figure.add_hrect(y0=0, y1=1, fillcolor="#ffffff", **place)
    figure.add_shape(type="rect", x0=0, x1=1, y0=0, y1=1, **place)
    figure.add_annotation(x=1, y=1, yref="y domain", text="above", showarrow=False, **place)
    figure.update_xaxes(title="first", range=[0, 3], **place)
    figure.update_xaxes(title={"font": {"size": 9}}, range=None, **place)
    figure.update_yaxes(type="log", tickvals=[1, 2], **place)
    figure.update_annotations(font={"size": 13})
    figure.update_layout(height=300, legend={"x": 0}, margin={"l": 1})
    figure.update_layout(legend={"y": 1}, margin={"l": None, "r": 2}, meta={"alt": "what is seen"})


def test_one_panel():
    plotly, drawing = go.Figure(), Drawing()
    draw(plotly)
    draw(drawing)
    assert words(drawing.figure()) == words(plotly)


@pytest.mark.parametrize(("grid", "places"), [
    ({"rows": 2, "cols": 2, "subplot_titles": ["one", "two", "three", "four"], "shared_yaxes": "all"},
     [{"row": 2, "col": 1}, {"row": 1, "col": 2}]),
    ({"rows": 2, "cols": 2, "specs": [[{}, {}], [{"colspan": 2}, None]]}, [{"row": 2, "col": 1}]),
    ({"rows": 3, "cols": 1, "shared_xaxes": True, "row_heights": [0.5, 0.25, 0.25]}, [{"row": 3, "col": 1}, {}]),
])
def test_panels(grid, places):
    plotly, drawing = make_subplots(**grid), Drawing(**grid)
    for place in filter(None, places):
        draw(plotly, **place)
        draw(drawing, **place)
    for figure in (plotly, drawing):
        figure.update_xaxes(showgrid=False)
        figure.update_yaxes(title="all")
    assert words(drawing.figure()) == words(plotly)
    for row, col in (place.values() for place in places if place):
        assert drawing.axis("y", row, col)["domain"] == list(plotly.get_subplot(row, col).yaxis.domain)


def test_grids_of_one_shape_do_not_share_what_is_drawn():
    one, two = (Drawing(2, 1, subplot_titles=["a", "b"]) for _ in range(2))
    one.update_annotations(text="changed")
    one.update_xaxes(range=[0, 1])
    assert [each["text"] for each in two.layout["annotations"]] == ["a", "b"] and "range" not in two.axis("x", 1, 1)


def test_whoever_goes_on_with_a_figure_is_told_of_mistakes():
    drawing = Drawing()
    drawing.add_scatter(y=[1, 2])
    figure = drawing.figure()
    figure.update_layout(title="a title", legend_y=0.5)
    assert figure.layout.title.text == "a title" and figure.layout.legend.y == 0.5
    for change in (lambda: figure.update_layout(hight=3), lambda: figure.update_traces(mod="lines"),
                   lambda: figure.update_layout(height="tall")):
        with pytest.raises(ValueError):
            change()
