"""Drawing on plain dictionaries, in the words of Plotly.

Plotly checks each value at each step, and each new shape with all shapes before it, so that a figure drawn step by step
takes it 50 to 200 ms. On dictionaries it takes 2 to 5. The tests let Plotly check whatever is drawn.
"""
import json
from copy import deepcopy
from functools import lru_cache, partialmethod
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.colors import get_colorscale, make_colorscale
from plotly.subplots import make_subplots


class Drawing:
    """A figure that is being drawn: the methods of ``plotly.graph_objects.Figure`` that the figures here use.

    They take what Plotly's take, tables and arrays too, but write nested names as dictionaries: ``legend={"y": 1}``,
    not ``legend_y=1``. What is None is left out.

    Attributes:
        data: the traces.
        layout: of the figure.

    Args:
        rows, cols, options: as ``plotly.subplots.make_subplots`` takes them; one panel without them.
    """

    def __init__(self, rows: int | None = None, cols: int = 1, **options: Any):
        self.data: list[dict[str, Any]] = []
        self.layout: dict[str, Any] = {}
        self._axes: dict[tuple[int, int], tuple[str, str]] = {}
        if rows is not None:
            layout, self._axes = _panels(rows, cols, json.dumps(options))
            self.layout = deepcopy(layout)

    def add(self, kind: str, *, row: int | None = None, col: int | None = None, **values: Any) -> None:
        """Draw a trace of a kind such as "scatter"."""
        if self._axes:
            values["xaxis"], values["yaxis"] = self._at(row, col)
        if (scale := values.get("colorscale")) is not None:
            values["colorscale"] = get_colorscale(scale) if isinstance(scale, str) else make_colorscale(scale)
        self.data.append({"type": kind, **_plain(values)})

    add_scatter = partialmethod(add, "scatter")
    add_bar = partialmethod(add, "bar")
    add_box = partialmethod(add, "box")
    add_heatmap = partialmethod(add, "heatmap")
    add_image = partialmethod(add, "image")

    def add_shape(self, *, row: int | None = None, col: int | None = None, **values: Any) -> None:
        self._append("shapes", row, col, values)

    def add_annotation(self, *, row: int | None = None, col: int | None = None, **values: Any) -> None:
        self._append("annotations", row, col, values)

    def add_layout_image(self, **values: Any) -> None:
        self._append("images", None, None, values)

    def add_vline(self, x: float, **values: Any) -> None:
        self.add_shape(type="line", x0=x, x1=x, xref="x", y0=0, y1=1, yref="y domain", **values)

    def add_hline(self, y: float, **values: Any) -> None:
        self.add_shape(type="line", x0=0, x1=1, xref="x domain", y0=y, y1=y, yref="y", **values)

    def add_vrect(self, x0: float, x1: float, **values: Any) -> None:
        self.add_shape(type="rect", x0=x0, x1=x1, xref="x", y0=0, y1=1, yref="y domain", **values)

    def add_hrect(self, y0: float, y1: float, **values: Any) -> None:
        self.add_shape(type="rect", x0=0, x1=1, xref="x domain", y0=y0, y1=y1, yref="y", **values)

    def update_layout(self, **values: Any) -> None:
        _merge(self.layout, values)

    def update_annotations(self, **values: Any) -> None:
        for annotation in self.layout.get("annotations", []):
            _merge(annotation, values)

    def update_xaxes(self, *, row: int | None = None, col: int | None = None, **values: Any) -> None:
        """Change the x axis of a panel, or of all panels."""
        self._update_axes(0, row, col, values)

    def update_yaxes(self, *, row: int | None = None, col: int | None = None, **values: Any) -> None:
        """Change the y axis of a panel, or of all panels."""
        self._update_axes(1, row, col, values)

    def axis(self, name: str, row: int, col: int) -> dict[str, Any]:
        """The layout of the "x" or "y" axis of a panel."""
        return self.layout[_key(self._at(row, col)["xy".index(name)])]

    def figure(self) -> go.Figure:
        """What was drawn, as Plotly's own."""
        figure = go.Figure({"data": self.data, "layout": self.layout}, _validate=False)
        for part in (figure, figure.layout, *figure.data):  # whoever goes on with it is told of mistakes
            part._validate = True
        return figure

    def _at(self, row: int | None, col: int | None) -> tuple[str, str]:
        return self._axes[row or 1, col or 1] if self._axes else ("x", "y")

    def _append(self, name: str, row: int | None, col: int | None, values: dict[str, Any]) -> None:
        if row is not None:
            for axis, own in zip(("x", "y"), self._at(row, col)):
                reference = values.get(f"{axis}ref", axis)
                values[f"{axis}ref"] = reference if reference == "paper" else reference.replace(axis, own, 1)
        self.layout.setdefault(name, []).append(_merge({}, values))

    def _update_axes(self, which: int, row: int | None, col: int | None, values: dict[str, Any]) -> None:
        axes = [self._at(row, col)] if row is not None or not self._axes else self._axes.values()
        for pair in axes:
            _merge(self.layout.setdefault(_key(pair[which]), {}), values)


@lru_cache(maxsize=128)
def _panels(rows: int, cols: int, options: str) -> tuple[dict[str, Any], dict[tuple[int, int], tuple[str, str]]]:
    """The layout of a grid, and the names of the axes of each of its panels, by row and column."""
    figure = make_subplots(rows, cols, **json.loads(options))
    layout = figure.layout.to_plotly_json()
    layout.pop("template", None)  # of whoever comes first
    places = {(row, col): figure.get_subplot(row, col) for row in range(1, rows + 1) for col in range(1, cols + 1)}
    return layout, {place: tuple(axis.plotly_name.replace("axis", "") for axis in panel)
                    for place, panel in places.items() if panel is not None}


def _key(axis: str) -> str:
    """Of an axis in the layout: "xaxis2" of "x2"."""
    return f"{axis[0]}axis{axis[1:]}"


def _merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Put new values into old ones, to any depth."""
    for key, value in new.items():
        if key == "title" and isinstance(value, str):
            value = {"text": value}
        if value is None:
            old.pop(key, None)
        elif isinstance(value, dict):
            _merge(old.setdefault(key, {}), value)
        else:
            old[key] = _plain(value)
    return old


def _plain(value: Any) -> Any:
    """The same without tables and None in it."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if each is not None}
    return value.to_numpy() if isinstance(value, pd.DataFrame | pd.Series | pd.Index) else value
