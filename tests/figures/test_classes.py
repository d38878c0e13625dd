import numpy as np
import pandas as pd
import pytest

from senet_viz.figures import class_panels
from senet_viz.figures.classes import NEUTRAL, SVG_POINTS, ribbon


def lines(classes=("cat", "dog", "all"), blocks=("SE_2_1", "SE_2_2"), channels=6, few=(), seed=0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    rows = []
    for label in blocks:
        for class_ in classes:
            for channel in range(channels):
                std = generator.uniform(0.01, 0.1)
                rows.append({"label": label, "class": class_, "channel": channel, "value": generator.uniform(0.1, 0.9),
                             "std": std, "error": std / 3, "count": 3 if class_ in few else 10, "few": class_ in few})
    return pd.DataFrame(rows)


def drawn(figure, fill=False):
    """The lines, or the bands, by panel and name or colour, in the order of drawing."""
    return [trace for trace in figure.data if (trace.fill == "toself") == fill]


def test_lines_are_the_table():
    table = lines()
    figure = class_panels(table)
    traces = drawn(figure)
    # panels and classes in order of appearance, and "all", which comes last, below the others
    assert [trace.name for trace in traces] == ["all", "cat", "dog"] * 2
    assert [(trace.xaxis, trace.yaxis) for trace in traces] == [("x", "y")] * 3 + [("x2", "y2")] * 3
    assert [a.text for a in figure.layout.annotations] == ["SE_2_1", "SE_2_2", "gate"]
    for trace, label in zip(traces, ["SE_2_1"] * 3 + ["SE_2_2"] * 3):
        rows = table[(table["label"] == label) & (table["class"] == trace.name)]
        np.testing.assert_array_equal(trace.x, rows["channel"])
        np.testing.assert_array_equal(trace.y, rows["value"])
        np.testing.assert_array_equal(trace.customdata, rows[["std", "count"]])


def test_all_is_thick_and_grey_and_the_others_have_colours():
    all_, cat, dog = drawn(class_panels(lines(blocks=("SE_2_1",))))
    assert all_.line.color == NEUTRAL and all_.line.width > 2 * cat.line.width
    assert cat.line.color != dog.line.color and NEUTRAL not in (cat.line.color, dog.line.color)


def test_one_legend_for_all_panels():
    table = lines(blocks=[f"SE_{i}" for i in range(7)])
    table = table[~((table["label"] == "SE_0") & (table["class"] == "dog"))]  # a class that the first panel lacks
    traces = drawn(class_panels(table))
    assert sorted(trace.name for trace in traces if trace.showlegend) == ["all", "cat", "dog"]
    assert all(len({t.legendgroup for t in traces if t.name == name}) == 1 for name in ("all", "cat", "dog"))


@pytest.mark.parametrize(("blocks", "titled"), [(1, {1}), (3, {1, 2, 3}), (5, {3, 4, 5}), (6, {4, 5, 6})])
def test_only_the_lowest_panel_of_each_column_names_its_axis(blocks, titled):
    figure = class_panels(lines(blocks=[f"SE_{i}" for i in range(blocks)]))
    axes = {i: figure.layout[f"xaxis{i if i > 1 else ''}"].title.text for i in range(1, blocks + 1)}
    assert {i for i, title in axes.items() if title == "channel index"} == titled
    assert not {title for i, title in axes.items() if i not in titled} - {None}


def test_few_pictures_are_told():
    all_, cat, dog = drawn(class_panels(lines(blocks=("SE_2_1",), few=("dog",))))
    assert (all_.name, cat.name, dog.name) == ("all", "cat", "dog (n=3)")
    assert all_.line.dash is None and cat.line.dash == "solid" and dog.line.dash == "dash"


def test_many_classes_are_told_apart_few_or_not():
    names = [f"class {i}" for i in range(16)]
    for few in ((), names):
        traces = drawn(class_panels(lines([*names, "all"], blocks=("SE_2_1",), few=few)))
        assert len({(trace.line.color, trace.line.dash) for trace in traces}) == 17
    assert {trace.line.dash for trace in traces[1:]} == {"dash", "dashdot"}


@pytest.mark.parametrize(("band", "words"), [("std", "standard deviation"), ("error", "standard error")])
def test_a_band_is_the_mean_and_its_spread_and_is_named(band, words):
    table = lines(blocks=("SE_2_1",))
    figure = class_panels(table, band=band)
    # bands below all lines
    assert [trace.fill == "toself" for trace in figure.data] == [True] * 3 + [False] * 3
    for fill, line in zip(drawn(figure, fill=True), drawn(figure)):
        rows = table[table["class"] == line.name]
        low, high = rows["value"] - rows[band], rows["value"] + rows[band]
        np.testing.assert_allclose(fill.y, [*low, *high[::-1]])
        assert list(fill.x) == [*range(6), *range(6)[::-1]]
        assert fill.legendgroup == line.legendgroup and fill.showlegend is False
        assert float(fill.fillcolor.rstrip(")").split(",")[-1]) < 0.5
    assert figure.layout.annotations[-1].text == f"gate (band: mean ± {words})"
    assert words in figure.layout.meta["alt"]


def test_without_a_band_there_is_none():
    figure = class_panels(lines())
    assert not drawn(figure, fill=True) and "±" not in figure.layout.meta["alt"]


def test_a_ribbon_leaves_out_what_is_nan():
    low, high = [0, 1, np.nan, 3, 4], [1, 2, 3, 4, np.nan]
    assert ribbon(list("abcde"), low, high) == (["a", "b", "b", "a", None, "d", "d"], [0, 1, 2, 1, None, 3, 4])
    assert ribbon([0, 1], [np.nan] * 2, [1, 1]) == ([], []) == ribbon([], [], [])


def test_a_class_of_one_picture_has_no_band():
    table = lines(blocks=("SE_2_1",))
    table.loc[table["class"] == "cat", "error"] = np.nan
    figure = class_panels(table, band="error")
    assert len(drawn(figure, fill=True)) == 2 and len(drawn(figure)) == 3


@pytest.mark.parametrize("channels", [50, 51, 64, 256])
def test_channels_are_sampled_as_in_the_paper(channels):
    table = lines(channels=channels, blocks=("SE_2_1",))
    step = -(-channels // 50)
    for trace in drawn(class_panels(table)):
        assert list(trace.x) == list(range(0, channels, step))
        np.testing.assert_array_equal(trace.y, table[table["class"] == trace.name]["value"].to_numpy()[::step])
    assert {len(trace.x) for trace in drawn(class_panels(table, sampled=False))} == {channels}


@pytest.mark.parametrize(("value", "range_"), [
    (0.2, (-0.03, 1.03)), (1.0, (-0.03, 1.03)), (-0.7, (-0.73, 1.03)), (3.5, (-0.03, 3.53)), (np.nan, (-0.03, 1.03))])
def test_all_panels_have_one_axis_that_holds_every_value(value, range_):
    table = lines()
    table["value"] = np.where(table["label"] == "SE_2_1", value, 0.5)
    figure = class_panels(table)
    assert figure.layout.yaxis.range == figure.layout.yaxis2.range == pytest.approx(range_)


def test_webgl_only_beyond_many_points():
    few = lines(("cat",), ("SE_2_1",), SVG_POINTS)
    assert {trace.type for trace in class_panels(few, sampled=False).data} == {"scatter"}
    assert {trace.type for trace in class_panels(few, sampled=False, band="std").data} == {"scattergl"}
    assert {trace.type for trace in class_panels(few).data} == {"scatter"}


def test_photos_are_dotted_with_markers():
    # as pd.concat leaves them: no value in the column photo for classes, no spread of photos
    photos = lines(("cat", "all"), seed=1).assign(photo=True, std=np.nan, error=np.nan)
    table = pd.concat([lines(), photos], ignore_index=True)
    traces = drawn(class_panels(table, band="std"))[:5]
    assert [trace.name for trace in traces] == ["all", "cat", "dog", "cat", "all"]
    assert [trace.mode for trace in traces] == ["lines"] * 3 + ["lines+markers"] * 2
    assert [trace.line.dash for trace in traces[3:]] == ["dot", "dot"]
    # a photo of the name of a class is a line of its own
    assert len({trace.legendgroup for trace in traces}) == 5 and len({trace.line.color for trace in traces}) == 5
    assert all(trace.showlegend for trace in traces) and "standard deviation" not in traces[3].hovertemplate
    assert len(drawn(class_panels(table, band="std"), fill=True)) == 6


def test_photos_have_the_colour_of_their_class():
    photos = [lines((name,), seed=i).assign(photo=True, own=own) for i, (name, own) in enumerate(
        {"a": "dog", "b": "cat", "c": "dog", "d": "bird", "all": "fish"}.items())]
    all_, cat, dog, *five = drawn(class_panels(pd.concat([lines(), *photos], ignore_index=True)))[:8]
    assert [trace.name for trace in five] == ["a", "b", "c", "d", "all"]
    colours = [trace.line.color for trace in five]
    assert colours[:3] == [dog.line.color, cat.line.color, dog.line.color]
    # the class of the last two is not drawn
    assert len({cat.line.color, dog.line.color, *colours[3:], NEUTRAL}) == 5
    assert five[0].marker.symbol != five[2].marker.symbol  # two of one colour
    ranked = sorted((all_, cat, dog, *five), key=lambda trace: trace.legendrank)
    assert [trace.name for trace in ranked] == ["all", "cat", "b", "dog", "a", "c", "d", "all"]


def test_the_alternative_text_is_true():
    table = lines(blocks=("SE_2_1",))
    means = table.groupby("class")["value"].mean()
    assert class_panels(table).layout.meta["alt"] == (
        "Mean gate of classes over channels in 1 block. Mean over the channels drawn: "
        f"SE_2_1: cat {means['cat']:.2f}, dog {means['dog']:.2f}, all {means['all']:.2f}.")


def test_names_are_shown_as_they_stand(ugly):
    for trace in drawn(class_panels(lines((ugly, "b"), few=(ugly,))))[:1]:
        for text in (trace.hovertemplate.partition("<br>")[0], trace.name):
            assert "<" not in text and "%" not in text and len(text) < 130


def test_nan_is_a_gap():
    table = lines(("cat",), ("SE_2_1",))
    table.loc[3, "value"] = np.nan
    figure = class_panels(table, band="std")
    [fill], [line] = drawn(figure, fill=True), drawn(figure)
    assert np.isnan(line.y[3]) and not line.connectgaps and list(fill.x) == [0, 1, 2, 2, 1, 0, None, 4, 5, 5, 4]
    assert "nan" not in figure.layout.meta["alt"]


@pytest.mark.parametrize("columns", [1, 3, 5])
def test_no_class_and_fifty_blocks(columns):
    empty = class_panels(lines().iloc[:0], columns=columns)
    assert not empty.data and empty.layout.meta["alt"] == "No class to draw." and empty.to_json()
    many = class_panels(lines(blocks=[f"SE_{i}" for i in range(50)]), columns=columns)
    assert len(many.data) == 150 and many.layout.height > 130 * 50 / columns
