import numpy as np
import pandas as pd
import pytest

from senet_viz.figures import class_changes, share_slopes, size_bars, size_curves, size_effects, size_slopes
from senet_viz.figures.classes import NEUTRAL, SVG_POINTS
from senet_viz.figures.sizes import FEW, LOOKS

UNITS = (("SK_3_1", 3), ("SK_2_2", 2), ("SK_2_1", 2))  # no order but the table's
SIZES = {"zoom": (0.5, 1.0, 1.5, 3.0), "blur": (0.5, 1.0, 1.5, 3.0), "elsewhere": (1.5, 3.0)}
CONTROLS = ["control: blur", "control: elsewhere"]


def preference(units=UNITS, looks=SIZES, seed=0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    return pd.DataFrame([
        {"look": look, "size": size, "block": f"layer{label}", "label": label, "stage": stage, "smallest": "3×3",
         "largest": "5×5", "difference": generator.uniform(-0.2, 0.2), "side": generator.uniform(3, 5)}
        for look, sizes in looks.items() for size in sizes for label, stage in units],
        columns=["look", "size", "block", "label", "stage", "smallest", "largest", "difference", "side"])


def slopes() -> pd.DataFrame:
    return pd.DataFrame({
        "block": ["c", "b", "a"], "label": [unit[0] for unit in UNITS], "stage": [unit[1] for unit in UNITS],
        "zoom": [0.05, -0.02, 0.01], "blur": [0.01, 0.0, 0.02], "elsewhere": [-0.01, -0.03, 0.0],
        "draws": 0, "random": np.nan, "random_low": np.nan, "random_high": np.nan, "left": [0.04, -0.0, 0.0]})


def changes(labels=("SK_2_1", "SK_3_1"), classes=("cat", "dog", "cat"), seed=0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    table = pd.DataFrame([{"label": label, "class": class_, "count": 50, "before": generator.uniform(-0.2, 0.2)}
                          for label in labels for class_ in classes], columns=["label", "class", "count", "before"])
    return table.assign(change=0.05, after=table["before"] + 0.05)


def effects() -> pd.DataFrame:
    return slopes().rename(columns={"zoom": "change"}).assign(
        low=lambda t: t["change"] - 0.003, high=lambda t: t["change"] + 0.005, beyond=[True, False, False], d=0.4,
        images_up=0.6, classes_up=0.75, images=1234, classes=8, detectable=0.004,
        draws=0, random=np.nan, random_low=np.nan, random_high=np.nan)


def shares() -> pd.DataFrame:
    return effects().rename(columns={"change": "slope"}).assign(rho=[0.3, np.nan, 0.1])


def named(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def zeros(figure) -> list:
    return [shape for shape in figure.layout.shapes if shape.y0 == shape.y1 == 0 and shape.line.color == NEUTRAL]


@pytest.mark.parametrize("quantity", ["difference", "side"])
def test_curves_are_the_table(quantity):
    table = preference()
    figure = size_curves(table, quantity=quantity)
    assert [a.text for a in figure.layout.annotations][:3] == [unit[0] for unit in UNITS]
    for look, (name, *_) in LOOKS.items():
        lines = named(figure, name)
        assert [line.xaxis for line in lines] == ["x", "x2", "x3"] and [bool(t.showlegend) for t in lines] == [1, 0, 0]
        for line, (label, _) in zip(lines, UNITS):
            rows = table[(table["look"] == look) & (table["label"] == label)]
            np.testing.assert_array_equal(line.x, rows["size"])
            np.testing.assert_array_equal(line.y, rows[quantity])
    title = {"difference": "mean weight difference, 5×5 − 3×3", "side": "expected side of the kernel, in cells"}
    assert figure.layout.annotations[-1].text == title[quantity]
    assert len(zeros(figure)) == (3 if quantity == "difference" else 0)  # 0 is not in range of the sides


def test_curves_look_different_and_the_zoom_lies_on_top():
    lines = size_curves(preference(UNITS[:1])).data
    assert len({t.line.color for t in lines}) == len({t.line.dash for t in lines}) == len(lines) == 3
    assert lines[-1].name == "zoom" and lines[-1].line.dash == "solid"
    assert lines[-1].legendrank < min(t.legendrank or 1000 for t in lines[:-1])


def test_chosen_units_in_the_chosen_order():
    figure = size_curves(preference(), ["SK_2_1", "SK_3_1"])
    assert [a.text for a in figure.layout.annotations][:2] == ["SK_2_1", "SK_3_1"]
    table = preference()
    first = table[(table["label"] == "SK_2_1") & (table["look"] == "zoom")]
    np.testing.assert_array_equal(named(figure, "zoom")[0].y, first["difference"])


@pytest.mark.parametrize(("units", "columns", "titled"), [(1, 1, {1}), (4, 2, {3, 4}), (6, 4, {3, 4, 5, 6}),
                                                          (16, 4, {13, 14, 15, 16})])
def test_panels(units, columns, titled):
    figure = size_curves(preference([(f"SK_2_{i}", 2) for i in range(units)]))
    axes = {i: figure.layout[f"xaxis{i if i > 1 else ''}"] for i in range(1, units + 1)}
    assert {i for i, axis in axes.items() if axis.title.text} == titled
    assert len({round(axis.domain[0], 6) for axis in axes.values()}) == columns
    ticks = [".5", ".75", "1", "1.5", "2", "3"] if columns <= 2 else [".5", "1", "2"]  # as many as there is room for
    assert all(axis.type == "log" and list(axis.ticktext) == ticks for axis in axes.values())
    low, high = axes[1].range
    assert low <= np.log10(0.5) and np.log10(3) <= high
    assert sum(bool(trace.showlegend) for trace in figure.data) == 3
    assert len({figure.layout[axis].range for axis in figure.layout if str(axis).startswith("yaxis")}) == 1


def test_the_chosen_size_is_marked_in_each_panel():
    marks = [shape for shape in size_curves(preference(), at=1.5).layout.shapes if shape.x0 == shape.x1 == 1.5]
    assert [mark.xref for mark in marks] == ["x", "x2", "x3"]
    beyond = size_curves(preference(), at=4.0).layout.xaxis.range[1]
    assert beyond > np.log10(4)
    assert not [shape for shape in size_curves(preference()).layout.shapes if shape.x0 == shape.x1]


def test_bars_of_one_size_are_the_table_on_the_scale_of_all_sizes():
    table = preference()
    zoom = table[table["look"] == "zoom"]
    for size in zoom["size"].unique()[[0, -1]]:
        figure = size_bars(table, size)
        [bars] = figure.data
        rows = zoom[zoom["size"] == size]
        assert list(bars.x) == rows["label"].tolist() and not figure.layout.showlegend
        np.testing.assert_array_equal(bars.y, rows["difference"])
        assert figure.layout.yaxis.range[1] == pytest.approx(1.05 * zoom["difference"].abs().max())
        assert figure.layout.yaxis.range[0] == -figure.layout.yaxis.range[1]
    assert size_bars(table.assign(difference=0.001), size).layout.yaxis.range[1] == pytest.approx(0.0105)


def test_alternative_text_of_curves(numbers):
    table = preference(UNITS[:1])
    zoom = table.loc[table["look"] == "zoom", "difference"]
    alt = size_curves(table).layout.meta["alt"]
    assert numbers(alt) == [0.5, 3, round(zoom.iloc[0], 3), round(zoom.iloc[-1], 3)]
    assert all(name in alt for name in CONTROLS)
    assert "control" not in size_curves(preference(looks={"zoom": (1.0, 2.0)})).layout.meta["alt"]


def test_kernels_that_differ_between_units_are_not_named():
    table = preference()
    table.loc[table["label"] == "SK_2_1", "largest"] = "7×7"
    assert size_curves(table).layout.annotations[-1].text == "mean weight difference, largest − smallest"


def test_curves_without_a_control_a_single_size_and_nan():
    figure = size_curves(preference(looks={"zoom": (1.0,)}))
    assert [t.name for t in figure.data] == ["zoom"] * 3 and np.isfinite(figure.layout.yaxis.range).all()
    table = preference()
    table.loc[table["label"] == "SK_2_2", ["difference", "side"]] = np.nan
    figure = size_curves(table)
    assert len(figure.data) == 6 and "nan" not in figure.layout.meta["alt"]
    figure = size_curves(table.assign(side=np.nan), quantity="side")
    assert not figure.data and "none known" in figure.layout.meta["alt"]


@pytest.mark.parametrize("figure", [
    lambda: size_curves(preference().iloc[:0]), lambda: size_curves(preference(), []),
    lambda: size_curves(preference().iloc[:0], at=1.5), lambda: size_curves(preference(), ["none"], at=1.5),
    lambda: size_slopes(slopes().iloc[:0]), lambda: size_effects(effects().iloc[:0]),
    lambda: share_slopes(shares().iloc[:0]), lambda: share_slopes(pd.DataFrame(columns=shares().columns)),
    lambda: size_effects(pd.DataFrame(columns=effects().columns))])
def test_no_unit(figure):
    figure = figure()
    assert figure.to_json() and figure.layout.meta["alt"] == "No unit to draw."


def test_slopes_are_the_table(stage_marks):
    figure = size_slopes(slopes())
    [bars] = named(figure, "beyond both controls")
    assert bars.type == "bar"
    for column, name in {"left": bars.name, "zoom": "zoom", "blur": CONTROLS[0], "elsewhere": CONTROLS[1]}.items():
        [trace] = named(figure, name)
        assert list(trace.x) == ["SK_3_1", "SK_2_2", "SK_2_1"]
        np.testing.assert_array_equal(trace.y, slopes()[column])
    symbols = [t.marker.symbol for t in figure.data if t.type == "scatter"]
    assert len(set(symbols)) == 3 and figure.data[-1].name == "zoom"
    assert stage_marks(figure) == ({0.0: "Stage 3", 1.5: "Stage 2"}, [0.5]) and len(zeros(figure)) == 1
    assert list(figure.layout.xaxis.categoryarray) == ["SK_3_1", "SK_2_2", "SK_2_1"]
    assert figure.layout.yaxis.title.text.replace("<br>", " ") == (
        "change of the weight difference per doubling of size")


def test_random_weights_stand_beside_a_zoom():
    table = effects().assign(draws=3, random=[0.01, np.nan, 0.0], random_low=[0.005, np.nan, -0.01],
                             random_high=[0.02, np.nan, 0.01])
    [trace] = named(size_effects(table), "control: random weights (3 draws)")
    assert list(trace.x) == ["SK_3_1", "SK_2_1"] and list(trace.y) == [0.01, 0.0]
    np.testing.assert_allclose(trace.error_y.array, [0.01, 0.01])
    np.testing.assert_allclose(trace.error_y.arrayminus, [0.005, 0.01])
    assert not [t for t in size_effects(effects()).data if "random" in t.name]


def test_random_weights_stand_beside_slopes():
    table = slopes().assign(draws=3, random=[0.01, 0.02, 0.0], random_low=[0.005, -0.02, -0.01],
                            random_high=[0.02, 0.04, 0.01])
    figure = size_slopes(table)
    [trace] = named(figure, "control: random weights (3 draws)")
    assert list(trace.y) == [0.01, 0.02, 0.0] and figure.data[-1].name == "zoom"
    np.testing.assert_allclose(trace.y + trace.error_y.array, table["random_high"])
    np.testing.assert_allclose(trace.y - trace.error_y.arrayminus, table["random_low"])
    assert named(figure, "beyond all controls") and "something is left beyond all controls in 1" in (
        figure.layout.meta["alt"])


@pytest.mark.parametrize("start", [1.0, 0.5])
@pytest.mark.parametrize("quantity", ["difference", "side"])
def test_random_weights_are_a_band_from_where_the_curve_is(quantity, start):
    """At 1×, or at the smallest size; its numbers are the table's, by hand."""
    sizes = [size for size in SIZES["zoom"] if start == 1.0 or size != 1]
    table = preference(looks={"zoom": sizes, "blur": sizes, "random 0": sizes, "random 1": sizes})
    table["side"] += 1000 * table["look"].str.startswith("random")  # where the draws are is not what is shown
    figure = size_curves(table, quantity=quantity, at=1.5)
    lines, name = [t for t in figure.data if t.legendgroup == "random"], "control: random weights (2 draws)"
    assert len(lines) == 6 and [bool(t.showlegend) for t in lines] == [0, 1, 0, 0, 0, 0]
    assert {t.name for t in lines[1::2]} == {name} and {t.fill for t in lines[1::2]} == {"tonexty"}
    assert figure.data[-1].name == "zoom" and name in figure.layout.meta["alt"]
    for low, high, (label, _) in zip(lines[::2], lines[1::2], UNITS):
        unit = table[table["label"] == label].set_index(["look", "size"])[quantity]
        for i, size in enumerate(sizes):
            moved = [unit[f"random {draw}", size] - unit[f"random {draw}", start] for draw in (0, 1)]
            assert low.x[i] == high.x[i] == size
            np.testing.assert_allclose(high.customdata[i], [min(moved), max(moved)], atol=1e-9)
            assert low.y[i] == pytest.approx(unit["zoom", start] + min(moved))
            assert high.y[i] == pytest.approx(unit["zoom", start] + max(moved))
    bottom, top = figure.layout.yaxis.range
    drawn = [y for t in figure.data for y in t.y]
    assert bottom < min(drawn) and max(drawn) < top < 10
    assert not [t for t in size_curves(preference()).data if t.legendgroup == "random"]


def test_alternative_text_of_slopes(numbers):
    alt = size_slopes(slopes()).layout.meta["alt"]
    assert numbers(alt) == [3, -0.02, 0.05, 1] and "SK_2_2" in alt and "in SK_3_1" in alt and "<" not in alt


def test_slopes_with_nan():
    figure = size_slopes(slopes().assign(elsewhere=np.nan, blur=[np.nan, 0.1, 0.2]))
    assert not named(figure, CONTROLS[1]) and named(figure, CONTROLS[0])
    figure = size_slopes(slopes().assign(zoom=[np.nan, 0.1, 0.2], left=[np.nan, 0.1, 0.0]))
    assert "nan" not in figure.layout.meta["alt"] and "in 2 units" in figure.layout.meta["alt"]
    assert "in 1 unit:" in size_slopes(slopes().iloc[:1]).layout.meta["alt"]


def test_class_changes_are_the_table():
    table = changes()
    figure = class_changes(table, ["SK_3_1", "SK_2_1"], after="1.5×")
    assert [a.text for a in figure.layout.annotations] == ["SK_3_1", "SK_2_1", "mean weight difference"]
    assert [(t.name, t.xaxis) for t in figure.data] == [("1×", "x"), ("1.5×", "x"), ("1×", "x2"), ("1.5×", "x2")]
    assert [bool(t.showlegend) for t in figure.data] == [True, True, False, False]
    for trace, (label, column) in zip(figure.data, [(label, column) for label in ("SK_3_1", "SK_2_1")
                                                    for column in ("before", "after")]):
        rows = table[table["label"] == label]
        assert list(trace.x) == [0, 1, 2] and list(trace.hovertext) == ["cat", "dog", "cat"]  # two of one name
        np.testing.assert_array_equal(trace.y, rows[column])
        np.testing.assert_array_equal(trace.customdata, rows[["count", "change"]])
    first, second = figure.data[:2]
    assert first.line.color != second.line.color and first.marker.symbol != second.marker.symbol


def test_a_class_keeps_its_place_where_another_is_unknown():
    table = changes(["SK_2_1"])
    table.loc[1, ["before", "after", "change"]] = np.nan
    figure = class_changes(table, ["SK_2_1"])
    assert list(figure.data[0].x) == [0, 1, 2] and np.isnan(figure.data[0].y[1])
    assert "up in 2 of 2 classes" in figure.layout.meta["alt"] and "nan" not in figure.layout.meta["alt"]


@pytest.mark.parametrize("classes", [1, FEW, FEW + 1, 1000])
def test_lines_for_few_classes_and_dots_for_many(classes):
    figure = class_changes(changes(["SK_2_1"], [f"class {i}" for i in range(classes)]), ["SK_2_1"])
    assert {trace.mode for trace in figure.data} == {"lines+markers" if classes <= FEW else "markers"}
    assert {trace.type for trace in figure.data} == {"scatter"}
    assert figure.layout.xaxis.dtick == (1 if classes < 10 else None)


def test_webgl_for_many_points():
    labels = [f"SK_2_{i}" for i in range(SVG_POINTS // 2000 + 1)]
    figure = class_changes(changes(labels, range(1000)), labels)
    assert {trace.type for trace in figure.data} == {"scattergl"}


def test_alternative_text_of_class_changes(numbers):
    table = changes(["SK_2_1"]).assign(before=[0.1, 0.2, 0.3], after=[0.2, 0.1, 0.6])
    figure = class_changes(table, ["SK_2_1"], before="as it is", after="zoomed", quantity="preference")
    assert numbers(figure.layout.meta["alt"]) == [0.2, 0.3, 2, 3]
    assert figure.layout.meta["alt"].startswith("Preference by class, as it is and zoomed: SK_2_1 from")


@pytest.mark.parametrize("labels", [[], ["SK_2_1"], ["none"]])
def test_no_class(labels):
    figure = class_changes(changes(classes=()), labels)
    assert figure.to_json() and "none known" in figure.layout.meta["alt"]


def test_names_are_shown_as_they_stand(ugly):
    figure = class_changes(changes([ugly], [ugly]), [ugly], before=ugly, after=ugly)
    names = [*(a.text for a in figure.layout.annotations), *(t.name for t in figure.data),
             *(text for t in figure.data for text in t.hovertext)]
    for trace in figure.data:
        own = trace.hovertemplate.removeprefix("%{hovertext}<br><b>").partition(": %{y")[0]
        names += own.split("</b>", 1)
    names += [a.text for a in size_curves(preference([(ugly, 2)])).layout.annotations[:1]]
    assert all("<" not in name and "%" not in name.replace("&#37;", "") for name in names)


def test_effects_are_the_table(stage_marks):
    table = effects()
    figure = size_effects(table, quantity="change")
    [filled], [hollow] = (named(figure, f"zoom, {word} the controls") for word in ("beyond", "not surely beyond"))
    assert list(filled.x) == ["SK_3_1"] and list(hollow.x) == ["SK_2_2", "SK_2_1"]
    assert filled.marker.symbol == "circle" and hollow.marker.symbol == "circle-open"
    for trace, rows in ((filled, table[:1]), (hollow, table[1:])):
        np.testing.assert_array_equal(trace.y, rows["change"])
        np.testing.assert_allclose(trace.y + trace.error_y.array, rows["high"])
        np.testing.assert_allclose(trace.y - trace.error_y.arrayminus, rows["low"])
        np.testing.assert_array_equal(
            trace.customdata, rows[["low", "high", "left", "d", "images_up", "images", "classes_up", "classes",
                                    "detectable"]])
        assert "would be found: %{customdata[8]:.4f}" in trace.hovertemplate
    for look, name in zip(("blur", "elsewhere"), CONTROLS):
        [control] = named(figure, name)
        np.testing.assert_array_equal(control.y, table[look])
    assert list(figure.layout.xaxis.categoryarray) == ["SK_3_1", "SK_2_2", "SK_2_1"]
    assert stage_marks(figure) == ({0.0: "Stage 3", 1.5: "Stage 2"}, [0.5])


def test_alternative_text_of_effects(numbers):
    alt = size_effects(effects()).layout.meta["alt"]
    assert numbers(alt) == [3, -0.02, 0.05, 1]


def test_effects_with_nan_and_of_one_kind():
    figure = size_effects(effects().assign(beyond=False, blur=np.nan, elsewhere=np.nan))
    assert [trace.name for trace in figure.data] == ["zoom"]  # no control to be within
    assert "controls" not in figure.data[0].hovertemplate
    figure = size_effects(effects().assign(change=np.nan, low=np.nan, high=np.nan, beyond=np.nan))
    assert figure.to_json() and figure.layout.meta["alt"] == "No unit to draw."


def test_share_slopes_are_the_table(stage_marks, numbers):
    table = shares()
    figure = share_slopes(table)
    [trace] = figure.data
    assert list(trace.x) == list(table["label"]) and not figure.layout.showlegend
    np.testing.assert_array_equal(trace.y, table["slope"])
    np.testing.assert_allclose(trace.y + trace.error_y.array, table["high"])
    np.testing.assert_allclose(trace.y - trace.error_y.arrayminus, table["low"])
    np.testing.assert_array_equal(trace.customdata, table[["low", "high", "rho", "images", "classes"]])
    assert stage_marks(figure) == ({0.0: "Stage 3", 1.5: "Stage 2"}, [0.5]) and len(zeros(figure)) == 1
    table.loc[2, ["low", "high"]] = -0.01, 0.03
    assert numbers(share_slopes(table).layout.meta["alt"]) == [3, -0.02, 0.05, 0, 2]
