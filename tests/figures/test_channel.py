import numpy as np
import pandas as pd
import pytest

from senet_viz.figures import channel_classes, channel_histogram


def classes(count=30, few=(), seed=0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    names = [f"class {i}" for i in range(count)] if isinstance(count, int) else list(count)
    made = pd.DataFrame({"class": names, "mean": generator.uniform(0, 1, len(names)),
                         "std": generator.uniform(0, 0.1, len(names)), "count": 10, "few": False})
    made.loc[made["class"].isin(few), ["count", "few"]] = [3, True]
    return made.sort_values("mean", ascending=False, ignore_index=True)


def histogram(counts) -> pd.DataFrame:
    edges = np.linspace(0, 1, len(counts) + 1)
    return pd.DataFrame({"left": edges[:-1], "right": edges[1:], "count": counts})


def test_dots_are_the_highest_and_the_lowest_classes():
    data = classes()
    figure = channel_classes(data.sample(frac=1, random_state=0), top=4)
    dots, rows = figure.data[0], data.iloc[[0, 1, 2, 3, 26, 27, 28, 29]]
    np.testing.assert_array_equal(dots.x, rows["mean"])
    np.testing.assert_array_equal(dots.error_x.array, rows["std"])
    np.testing.assert_array_equal(dots.customdata, rows[["std", "count"]])
    assert list(dots.hovertext) == list(rows["class"])
    # the highest on top, a gap between the two ends
    assert list(dots.y) == [0, 1, 2, 3, 5, 6, 7, 8] and figure.layout.yaxis.range == pytest.approx((8.7, -0.7))
    ticks = dict(zip(figure.layout.yaxis.tickvals, figure.layout.yaxis.ticktext))
    assert ticks == dict(zip(dots.y, rows["class"])) | {4: "… 22 more …"}
    assert figure.layout.shapes[0].x0 == pytest.approx(data["mean"].mean())  # over all, not over those drawn


@pytest.mark.parametrize("count", [1, 5, 8])
def test_where_all_have_room_there_is_no_gap(count):
    figure = channel_classes(classes(count), top=4)
    assert list(figure.data[0].y) == list(range(count)) and "more" not in "".join(figure.layout.yaxis.ticktext)


def test_few_pictures_are_told():
    data = classes(3, few=("class 1",))
    figure = channel_classes(data)
    for name, symbol, tick in zip(data["class"], figure.data[0].marker.symbol, figure.layout.yaxis.ticktext):
        assert (symbol, tick) == (("circle-open", "class 1 (n=3)") if name == "class 1" else ("circle", name))


def test_the_alternative_text_is_true():
    data = classes()
    assert channel_classes(data).layout.meta["alt"] == (
        f"Classes by mean gate: highest {data['class'][0]} {data['mean'][0]:.2f}, lowest {data['class'][29]} "
        f"{data['mean'][29]:.2f}, of 30.")


def test_classes_that_are_all_alike_have_no_highest():
    alt = channel_classes(classes().assign(mean=1.0, std=0.0)).layout.meta["alt"]
    assert alt == "All 30 classes have the same mean gate, 1.00."


def test_names_are_shown_as_they_stand(ugly):
    figure = channel_classes(classes((ugly, ugly + "b")))
    for text in (*figure.data[0].hovertext, *figure.layout.yaxis.ticktext):
        assert "<" not in text and "%" not in text and len(text) < 130
    assert len(figure.data[0].y) == 2


def test_classes_without_pictures_are_left_out():
    data = classes(5)
    data.loc[2, ["mean", "std"]] = np.nan
    assert len(channel_classes(data).data[0].x) == 4
    data["mean"] = np.nan
    for empty in (data, data.iloc[:0]):
        figure = channel_classes(empty)
        assert figure.layout.meta["alt"] == "No class has pictures." and figure.to_json()


def test_bars_are_the_table_and_the_limits_are_marked():
    counts = np.random.default_rng(0).integers(0, 50, 100)
    data = histogram(counts)
    figure = channel_histogram(data)
    [bars] = figure.data
    np.testing.assert_array_equal(bars.y, counts)
    np.testing.assert_allclose(bars.x - bars.width / 2, data["left"])
    np.testing.assert_allclose(bars.x + bars.width / 2, data["right"])
    np.testing.assert_allclose(bars.customdata[:, 2], counts / counts.sum())
    assert [shape.x0 for shape in figure.layout.shapes] == [0.05, 0.95]
    below, above = counts[:5].sum() / counts.sum(), counts[95:].sum() / counts.sum()
    assert [a.text for a in figure.layout.annotations] == [f"{below:.1%} below .05", f"{above:.1%} above .95"]
    assert figure.layout.meta["alt"] == (
        f"Histogram of the gate over {counts.sum():,} pictures: {below:.1%} below .05, {above:.1%} above .95, mean "
        f"near {((np.arange(100) + 0.5) / 100 * counts).sum() / counts.sum():.2f}.")


@pytest.mark.parametrize(("bin_", "below", "above"), [
    (4, "100.0%", "0.0%"), (5, "0.0%", "0.0%"), (94, "0.0%", "0.0%"), (95, "0.0%", "100.0%")])
def test_the_limits_are_edges(bin_, below, above):
    figure = channel_histogram(histogram(np.eye(100, dtype=int)[bin_]))
    assert [a.text.split()[0] for a in figure.layout.annotations] == [below, above]


@pytest.mark.parametrize("bins", [0, 100])
def test_nothing_to_count(bins):
    figure = channel_histogram(histogram(np.zeros(bins, int)))
    assert "over 0 pictures: 0.0% below" in figure.layout.meta["alt"] and figure.layout.yaxis.range == (0, 1)
