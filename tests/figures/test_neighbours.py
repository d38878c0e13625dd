import numpy as np
import pandas as pd
import pytest

from senet_viz.figures import nearest_classes
from senet_viz.figures.neighbours import FAR, NAMED


def table(pictures=("b", "a"), blocks=3, ranks=4, seed=0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    rows = []
    for picture in pictures:
        for block in range(blocks):
            distances = np.sort(generator.uniform(0, 2, ranks))
            rows += [{"picture": picture, "block": f"layer{block}", "label": f"SE_{block}", "stage": 2 + block // 2,
                      "rank": rank, "class": f"class {block}{rank}{picture}"[:30], "distance": distance}
                     for rank, distance in enumerate(distances, 1)]
    return pd.DataFrame(rows)


def grid(data, rank=1, column="distance"):
    first = data[data["rank"] == rank]
    return [list(first[first["picture"] == picture][column]) for picture in data["picture"].unique()]


def test_cells_are_the_nearest_classes(stage_marks):
    data = table()
    figure = nearest_classes(data.sample(frac=1, random_state=1).sort_values(["picture", "block"], ascending=[0, 1]))
    [map_] = figure.data
    np.testing.assert_array_equal(map_.z, grid(data))
    assert map_.text.tolist() == grid(data, column="class")
    assert list(figure.layout.xaxis.ticktext) == ["SE_0", "SE_1", "SE_2"]
    assert list(figure.layout.yaxis.ticktext) == ["b", "a"] and figure.layout.yaxis.autorange == "reversed"
    assert stage_marks(figure) == ({0.5: "Stage 2", 2.0: "Stage 3"}, [1.5])


def test_the_three_nearest_are_under_the_pointer():
    data = table()
    lines = nearest_classes(data).data[0].hovertext[1][2].split("<br>")
    rows = data[(data["picture"] == "a") & (data["label"] == "SE_2")].head(3)
    assert lines == ["<b>SE_2</b> a", *(f"{rank}. {name}, distance {distance:.3f}" for rank, name, distance in
                                        rows[["rank", "class", "distance"]].itertuples(index=False))]


@pytest.mark.parametrize(("pictures", "blocks", "down", "named"), [
    (2, NAMED, False, True), (16, NAMED, False, True), (2, NAMED + 1, True, True), (NAMED, 16, True, True),
    (NAMED + 1, NAMED + 1, False, False), (16, 16, False, False)])
def test_names_stand_in_cells_where_they_have_room(pictures, blocks, down, named):
    data = table([f"picture {i}" for i in range(pictures)], blocks)
    figure = nearest_classes(data)
    [map_] = figure.data
    expected = np.array(grid(data))
    np.testing.assert_array_equal(map_.z, expected.T if down else expected)
    assert map_.hovertext.shape == map_.z.shape and (map_.text is not None) == named
    axis = figure.layout.yaxis if down else figure.layout.xaxis
    assert axis.title.text == "attention block, in network order" and list(axis.ticktext) == list(
        data["label"].unique())


def test_stages_are_parted_where_blocks_go_down():
    figure = nearest_classes(table(blocks=9))
    assert [shape.y0 for shape in figure.layout.shapes] == [1.5, 3.5, 5.5, 7.5]


@pytest.mark.parametrize(("distance", "top", "title"), [
    (0.1, 1.0, "distance"), (2.5, 2.5, "distance"), (FAR, FAR, "distance"), (50.0, FAR, "distance (≥ 3 alike)")])
def test_one_distant_picture_does_not_pale_the_others(distance, top, title):
    map_ = nearest_classes(table(ranks=1).assign(distance=[distance] + [0.1] * 5)).data[0]
    assert (map_.zmin, map_.zmax) == (0, top) and map_.colorbar.title.text == title


def test_the_alternative_text_is_true():
    data = table()
    assert nearest_classes(data).layout.meta["alt"] == (
        "Nearest class of 2 pictures in 3 blocks; in SE_2: b is nearest to class 21b, a is nearest to class 21a.")


def test_names_are_shown_as_they_stand(ugly):
    data = table((ugly, "b"))
    data["class"] = ugly
    figure = nearest_classes(data)
    title, first, *_ = figure.data[0].hovertext[0][0].split("<br>")
    for text in (title.removeprefix("<b>SE_0</b> "), first, figure.data[0].text[0][0], figure.layout.yaxis.ticktext[0]):
        assert "<" not in text and "%" not in text and len(text) < 150


def test_a_missing_block_is_a_gap_and_nan_too():
    data = table()
    data = data[~((data["picture"] == "a") & (data["label"] == "SE_1"))]
    data.loc[data["picture"] == "b", "distance"] = np.nan
    map_ = nearest_classes(data).data[0]
    assert np.isnan(map_.z).tolist() == [[True] * 3, [False, True, False]] and np.isfinite(map_.zmax)
    assert map_.hoverongaps is False and map_.text[1][1] == ""


def test_nothing():
    figure = nearest_classes(table().iloc[:0])
    assert figure.layout.meta["alt"] == "Nearest class of 0 pictures in 0 blocks." and figure.to_json()
