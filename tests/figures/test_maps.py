import base64
import io

import numpy as np
import pytest
from PIL import Image

from senet_viz.figures import cam_grid, channel_maps, gate_change, signed_map

SIDE = 16


def pictures(*names) -> dict[str, np.ndarray]:
    return {name: np.full((SIDE, SIDE, 3), 40 * i % 255, np.uint8) for i, name in enumerate(names or ("a", "b"))}


def maps(names, columns, side=4, low=0.0, seed=0) -> dict:
    generator = np.random.default_rng(seed)
    return {name: {c: generator.uniform(low, 1, (side, side)) for c in columns} for name in names}


def heatmaps(figure):
    return [trace for trace in figure.data if trace.type == "heatmap"]


def panel(figure, row, column, columns):
    """The heat map of a cell of the grid, both counted from 0."""
    index = row * columns + column + 1
    return next(t for t in heatmaps(figure) if t.xaxis == f"x{index if index > 1 else ''}")


def corners(trace, side):
    """Left and right edge of a heat map in pixels of the picture, the outer edges of its outer cells."""
    return trace.x0 - trace.dx / 2, trace.x0 + (side - 0.5) * trace.dx


STAGES = ["Stage 2", "Stage 3", "Stage 4"]


def cams(names=("a", "b"), **options):
    return cam_grid(pictures(*names), maps(names, STAGES), classes=dict.fromkeys(names, "tabby"), **options)


def test_cam_grid_shows_each_map_over_its_picture():
    values = maps("ab", STAGES)
    figure = cam_grid(pictures(), values, classes={"a": "tabby", "b": "bus"}, opacity=0.3)
    assert len(heatmaps(figure)) == 6
    for row, name in enumerate("ab"):
        for column, stage in enumerate(STAGES):
            trace = panel(figure, row, column, 3)
            np.testing.assert_array_equal(trace.z, values[name][stage])
            assert trace.opacity == 0.3 and (trace.zmin, trace.zmax) == (0, values[name][stage].max())
    texts = [a.text for a in figure.layout.annotations]
    assert texts[:3] == ["Stage 2, 4×4", "Stage 3, 4×4", "Stage 4, 4×4"]
    assert texts[3:] == ["a<br><i>tabby</i>", "b<br><i>bus</i>"]


def test_whole_names_are_under_the_pointer_of_what_stands_above_a_row():
    name = "a photo with a name that is longer than the room above its row.jpg"
    figure = cam_grid(pictures(name), maps([name], STAGES), classes={name: "tabby"},
                      whole={name: "tabby, tabby cat <x>"})
    row = figure.layout.annotations[-1]
    assert row.text.endswith("<br><i>tabby</i>") and name not in row.text
    assert row.hovertext == f"{name}<br>tabby, tabby cat &lt;x&gt;"
    assert cams("a").layout.annotations[-1].hovertext == "a<br>tabby"


@pytest.mark.parametrize("count", [1, 4])
def test_titles_that_fit_are_whole(count):
    names = [f"n{i}" for i in range(count)]
    values = dict.fromkeys(names, np.ones((2, 2)))
    titles = ("uniform weights, Σ α·U/M", "selected, Σ α·V")
    figure = gate_change(pictures(*names), values, values, "SK_2_1", names=titles)
    assert tuple(a.text for a in figure.layout.annotations[:3]) == (*titles, "difference")


def test_the_picture_below_is_the_one_that_was_given():
    figure = cams()
    images = [trace for trace in figure.data if trace.type == "image"]
    assert len(images) == 6
    for index, trace in enumerate(images):
        kind, _, encoded = trace.source.partition(",")
        decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB"))
        assert kind.startswith("data:image/") and decoded.shape == (SIDE, SIDE, 3)
        assert abs(decoded.astype(int) - [0, 0, 0, 40, 40, 40][index]).max() <= 3


@pytest.mark.parametrize("side", [1, 2, 4, 7, 16])
def test_cells_cover_the_picture_exactly(side):
    figure = cam_grid(pictures("a"), maps("a", ["s"], side), classes={"a": "k"})
    trace = heatmaps(figure)[0]
    assert corners(trace, side) == pytest.approx((-0.5, SIDE - 0.5))
    assert figure.layout.xaxis.range == (-0.5, SIDE - 0.5) and figure.layout.yaxis.range == (SIDE - 0.5, -0.5)


def test_smooth_or_cells():
    assert {t.zsmooth for t in heatmaps(cams(smooth=True))} == {"best"}
    assert {t.zsmooth for t in heatmaps(cams(smooth=False))} == {False}


def test_an_empty_cam_is_counted_and_drawn():
    values = maps("ab", STAGES)
    values["b"]["Stage 4"][:] = 0
    figure = cam_grid(pictures(), values, classes={"a": "tabby", "b": "tabby"})
    assert "1 of 6 maps are empty" in figure.layout.meta["alt"]
    assert panel(figure, 1, 2, 3).zmax > 0  # a scale from 0 to 0 would be drawn in full


def test_the_alternative_text_of_cams_names_classes_once():
    alt = cams().layout.meta["alt"]
    assert alt == ("Grad-CAM of 2 pictures at Stage 2, Stage 3, Stage 4, for tabby; 0 of 6 maps are empty.")


def test_gate_change_shares_one_scale_and_shows_the_difference():
    before, after = {"a": np.array([[1.0, -2.0]])}, {"a": np.array([[3.0, 1.0]])}
    figure = gate_change(pictures("a"), before, after, "SE_2_1")
    first, second, change = (panel(figure, 0, column, 3) for column in range(3))
    np.testing.assert_array_equal(first.z, [[1, 0]])  # what speaks for the class, as Grad-CAM shows it
    np.testing.assert_array_equal(second.z, [[3, 1]])
    np.testing.assert_array_equal(change.z, [[2, 3]])  # signed
    assert first.zmax == second.zmax == 3 and first.zmin == second.zmin == 0
    assert (change.zmin, change.zmax) == (-3, 3)
    changed = np.linalg.norm([2, 3]) / np.linalg.norm([1, -2])
    assert f"by {changed:.0%} of its norm" in figure.layout.meta["alt"]
    two = gate_change(pictures("a", "b"), before | {"b": before["a"]}, after | {"b": before["a"]}, "SE_2_1")
    assert f"by 0% to {changed:.0%} of its norm" in two.layout.meta["alt"]


def test_gate_change_of_an_open_gate_and_of_nothing():
    same = {"a": np.array([[1.0, -2.0]])}
    figure = gate_change(pictures("a"), same, same, "SE_2_1")
    assert "by 0% of its" in figure.layout.meta["alt"] and panel(figure, 0, 2, 3).zmax > 0
    zeros = {"a": np.zeros((2, 2))}
    for after in (zeros, {"a": np.ones((2, 2))}):  # a share of nothing is no percentage
        alt = gate_change(pictures("a"), zeros, after, "SE_2_1").layout.meta["alt"]
        assert alt.endswith("without the gate the map is empty.")


def test_four_maps_beside_a_picture_fit_into_a_page():
    """As those of a unit of two kernels: 900 pixels are left in a window of 1440."""
    widths = [channel_maps(pictures("a"), {"a": [np.ones((2, 2))] * count}, [f"map {i}" for i in range(count)],
                           label="SK_2_1", channel=0, captions={"a": "0.1"}).layout.width for count in range(1, 6)]
    assert widths[:3] == [412, 610, 808] and widths[3] <= 900 and widths[4] > widths[3]


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_channel_maps_share_one_scale_a_picture_around_zero_where_needed(low):
    values = {name: [m * scale for m in named.values()]
              for (name, named), scale in zip(maps("ab", ["before", "after"], low=low).items(), (1, 10))}
    figure = channel_maps(pictures(), values, ["before", "after"], label="SE_2_1", channel=7,
                          captions={"a": "0.100 (#3)", "b": "0.900 (#1)"})
    for row, name in enumerate("ab"):
        top = max(np.abs(m).max() for m in values[name])
        assert panel(figure, row, 0, 3).visible is False  # the picture alone
        for column in (0, 1):
            trace = panel(figure, row, column + 1, 3)
            np.testing.assert_array_equal(trace.z, values[name][column])
            assert trace.zmax == top and trace.zmin == (-top if low < 0 else 0)
    alt = figure.layout.meta["alt"]
    assert alt == "Channel 7 of SE_2_1: before, after; a: 0.100 (#3); b: 0.900 (#1)."
    assert [a.text for a in figure.layout.annotations][-2:] == ["a<br>0.100 (#3)", "b<br>0.900 (#1)"]


def test_channel_maps_of_a_dead_channel():
    figure = channel_maps(pictures("a"), {"a": [np.zeros((2, 2))] * 2}, ["before", "after"], label="SE_2_1", channel=0,
                          captions={"a": "0.500 (#1)"})
    assert all(trace.zmax > 0 for trace in heatmaps(figure))


def test_signed_map_says_where_it_is_strongest():
    values = np.array([[0.5, 0.0, 1.0], [0.0, -3.0, 0.0]])
    figure = signed_map(pictures("a")["a"], values, "a", "occlusion, bus")
    trace = panel(figure, 0, 1, 2)
    np.testing.assert_array_equal(trace.z, values)
    assert (trace.zmin, trace.zmax) == (-3, 3)
    assert figure.layout.meta["alt"] == (
        "occlusion, bus for a: values from -3 to 1; the strongest is -3 at row 1, column 1 of 2×3.")
    assert heatmaps(signed_map(pictures("a")["a"], np.zeros((2, 2)), "a", "t"))[1].zmax > 0


def test_nan_leaves_a_scale():
    values = np.array([[np.nan, 1.0], [0.5, np.nan]])
    figure = cam_grid(pictures("a"), {"a": {"s": values}}, classes={"a": "k"})
    assert heatmaps(figure)[0].zmax == 1


@pytest.mark.parametrize("count", [1, 16])
def test_rows_do_not_overlap_and_panels_stay_square(count):
    names = [f"picture {i}" for i in range(count)]
    figure = cam_grid(pictures(*names), maps(names, STAGES), classes=dict.fromkeys(names, "tabby"))
    layout, margin = figure.layout, figure.layout.margin
    axes = [layout[f"yaxis{i if i > 1 else ''}"].domain for i in range(1, 3 * count + 1, 3)]
    assert len(heatmaps(figure)) == 3 * count
    assert all(low < high for low, high in axes) and all(axes[i][0] > axes[i + 1][1] for i in range(count - 1))
    width = (layout.xaxis.domain[1] - layout.xaxis.domain[0]) * (layout.width - margin.l - margin.r)
    height = (axes[0][1] - axes[0][0]) * (layout.height - margin.t - margin.b)
    assert width == pytest.approx(height, rel=0.05)
    assert layout.yaxis.scaleanchor == "x" and (count == 1 or layout.yaxis4.scaleanchor == "x4")


def test_names_are_shown_as_they_stand(ugly):
    values = maps([ugly], STAGES)
    figures = [
        cam_grid(pictures(ugly), values, classes={ugly: ugly}),
        gate_change(pictures(ugly), {ugly: np.ones((2, 2))}, {ugly: np.ones((2, 2))}, "SE_2_1"),
        channel_maps(pictures(ugly), {ugly: [np.ones((2, 2))]}, ["before"], label="SE_2_1", channel=0,
                     captions={ugly: ""}),
        signed_map(pictures(ugly)[ugly], np.ones((2, 2)), ugly, ugly)]
    for figure in figures:
        for annotation in figure.layout.annotations:
            text = annotation.text or ""
            for tag in ("<br>", "<i>", "</i>"):
                text = text.replace(tag, "")
            assert "<" not in text and "%" not in text and len(text) < 130


def test_maps_over_a_part_of_their_pictures():
    """Cells lie in the box, frames around it end at the picture."""
    names, boxes = ("a", "b"), {"a": (4.0, 2.0, 12.0, 10.0), "b": (-4.0, 0.0, 20.0, 16.0)}
    values = maps(names, STAGES)
    for figure in (cam_grid(pictures(*names), values, classes=dict.fromkeys(names, "tabby"), boxes=boxes),
                   gate_change(pictures(*names), {n: values[n]["Stage 2"] for n in names},
                               {n: values[n]["Stage 3"] for n in names}, "SE_5_3", boxes=boxes)):
        for row, name in enumerate(names):
            left, top, right, bottom = boxes[name]
            trace = panel(figure, row, 1, 3)
            assert corners(trace, 4) == pytest.approx((left - 0.5, right - 0.5))  # a pixel's middle is a whole number
            assert (trace.y0 - trace.dy / 2, trace.y0 + 3.5 * trace.dy) == pytest.approx((top - 0.5, bottom - 0.5))
            frames = [shape for shape in figure.layout.shapes if shape.xref == trace.xaxis]
            assert len(frames) == 2
            assert (frames[0].x0, frames[0].x1) == (max(left, 0) - 0.5, min(right, SIDE) - 0.5)
    assert not cams().layout.shapes
