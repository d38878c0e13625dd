import html
import itertools

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from senet_viz.figures.drawing import Drawing
from senet_viz.figures.style import (
    COLOURS,
    SEQUENTIAL,
    colour,
    dash,
    finish,
    hover_name,
    in_blocks,
    mark_stages,
    reach,
    shorten,
    signed_percent,
    span,
    symbol,
)

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB
DEUTERANOPIA = np.array([
    [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]])
PROTANOPIA = np.array([
    [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]])


def rgb(hexadecimal: str) -> np.ndarray:
    return np.array([int(hexadecimal[i:i + 2], 16) for i in (1, 3, 5)]) / 255


def linear(colour_: np.ndarray) -> np.ndarray:
    return np.where(colour_ <= 0.04045, colour_ / 12.92, ((colour_ + 0.055) / 1.055) ** 2.4)


def lab(linear_rgb: np.ndarray) -> np.ndarray:
    """Oklab (Ottosson)."""
    to_lms = np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                       [0.0883024619, 0.2817188376, 0.6299787005]])
    to_lab = np.array([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
                       [0.0259040371, 0.7827717662, -0.8086757660]])
    return to_lab @ np.cbrt(to_lms @ linear_rgb.clip(0, 1))


@pytest.mark.parametrize("eye", [np.eye(3), DEUTERANOPIA, PROTANOPIA], ids=["all cones", "no green", "no red"])
def test_colours_stay_apart(eye):
    seen = [lab(eye @ linear(rgb(c))) for c in COLOURS]
    closest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
    assert closest > 0.07  # what is just noticed side by side is near 0.02


@pytest.mark.parametrize("eye", [np.eye(3), DEUTERANOPIA, PROTANOPIA], ids=["all cones", "no green", "no red"])
def test_six_pictures_stay_farther_apart_and_from_grey(eye):
    """The grey is that of the mean over all classes, beside them."""
    for count, closest in ((4, 0.11), (6, 0.09)):
        seen = [lab(eye @ linear(rgb(c))) for c in (*map(colour, range(count)), "#808080")]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > closest


@pytest.mark.parametrize("ground", ["#FFFFFF", "#11161C"])
def test_colours_are_seen_on_both_grounds(ground):
    def luminance(c):
        return linear(rgb(c)) @ [0.2126, 0.7152, 0.0722]
    for c in COLOURS:
        bright, dark = sorted((luminance(c), luminance(ground)), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) > 2.2, c


def test_sixteen_pictures_have_sixteen_looks():
    assert len({(colour(i), dash(i)) for i in range(16)}) == len({(colour(i), symbol(i)) for i in range(16)}) == 16
    assert colour(0) == colour(8) and dash(0) != dash(8)


@pytest.mark.parametrize(("stages", "lines", "names"), [
    ([2, 2, 3], [1.5], {0.5: "Stage 2", 2.0: "Stage 3"}),
    ([2, 3, 4], [0.5, 1.5], {0.0: "Stage 2", 1.0: "Stage 3", 2.0: "Stage 4"}),
    ([5], [], {0.0: "Stage 5"}),
    ([2, 3, 2], [0.5, 1.5], {0.0: "Stage 2", 1.0: "Stage 3", 2.0: "Stage 2"}),
])
def test_stage_marks(stages, lines, names):
    drawing = Drawing()
    mark_stages(drawing, stages)
    figure = drawing.figure()
    assert [shape.x0 for shape in figure.layout.shapes] == lines
    assert {a.x: a.text for a in figure.layout.annotations} == names


def test_a_long_legend_does_not_press_on_the_plot():
    def height(count: int, **values) -> int:
        drawing = Drawing()
        for number in range(count):
            drawing.add_scatter(y=[1], name=str(number), **values)
        return finish(drawing, alt="").layout.height

    few, many = height(2), height(16)
    assert many > few
    assert height(16, showlegend=False) == few


def test_the_sequential_scale_rises_from_black_for_every_eye():
    colours = [c for _, c in go.Heatmap(colorscale=SEQUENTIAL).colorscale]
    for eye in (np.eye(3), DEUTERANOPIA, PROTANOPIA):
        lightness = [lab(eye @ linear(rgb(c)))[0] for c in colours]
        assert (np.diff(lightness) > 0).all() and lightness[0] < 0.15 < 0.9 < lightness[-1]


def test_stage_marks_without_names():
    drawing = Drawing()
    mark_stages(drawing, [2, 3], names=False)
    figure = drawing.figure()
    assert len(figure.layout.shapes) == 1 and not figure.layout.annotations


def test_finish_keeps_the_description():
    figure = finish(Drawing(), alt="what is seen", height=300, legend=False)
    assert figure.layout.meta["alt"] == "what is seen" and figure.layout.height == 300 and not figure.layout.showlegend


@pytest.mark.parametrize("length", [10, 22, 24, 25, 60])
@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 23, 24, 25, 26, 59, 60, 61, 300])
def test_short_names_keep_their_beginning_and_end(length, size):
    name = "".join(chr(ord("a") + i % 26) for i in range(size))
    short = shorten(name, length)
    if size <= length:
        assert short == name
    else:
        head, _, tail = short.partition("…")
        assert len(short) <= length and name.startswith(head) and name.endswith(tail) and head and tail


def test_markup_and_templates_in_names_are_letters():
    name = "<i>50%{y}</i> &lt;"
    assert html.unescape(shorten(name)) == name and html.unescape(hover_name(name)) == name
    assert not set("<>%") & set(shorten(name)) and not set("<>%") & set(hover_name(name))
    assert html.unescape(shorten("<b>" * 20)).count("<") > 0  # cut before it is escaped, so that no entity is torn
    assert ";" not in html.unescape(shorten("<b>" * 20))


def test_no_colour_is_one_of_streamlits_placeholders():
    # streamlit/elements/lib/streamlit_plotly_theme.py stands #000001 … #000038 for colours of the theme
    low = {f"#{value:06x}" for value in range(1, 256)}
    assert not low & {colour.lower() for colour in [*COLOURS, *SEQUENTIAL]}


def test_one_block_is_no_range():
    values = pd.Series({"SE_2_1": 0.256, "SE_3_1": 0.1, "SE_4_1": 0.3})
    assert (span(values, ".1f"), in_blocks(3)) == ("from 0.1 in SE_3_1 to 0.3 in SE_4_1", "in 3 blocks")
    assert (span(values[:1], ".2f"), in_blocks(1)) == ("0.26 in SE_2_1", "in 1 block")
    assert span(values, ".0f") == "0 in all" and reach([0.256, 0.3, float("nan")], ".1f") == "0.3"
    assert reach(values, ".1f") == "from 0.1 to 0.3"


@pytest.mark.parametrize(("low", "wanted"), [(-0.6, "+.0%"), (-0.05, "+.0%"), (-0.02, "+.1%"), (-0.004, "+.2%"),
                                             (0.0, "+.0%"), (float("nan"), "+.0%")])
def test_ticks_of_small_changes_differ(low, wanted):
    assert signed_percent([low, 0.0], low) == wanted
