from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import senet_viz as sv
from senet_viz import figures, tables
from senet_viz.statistics import photos, summaries
from tests.runs import make_batch, make_model


@pytest.fixture(scope="module")
def views():
    model, batch = make_model(), make_batch(3, seed=8)
    return {f"photo {i}": sv.inspect(model, batch[i:i + 1]) for i in range(3)}


@pytest.fixture
def classes(full):
    names = full.classes
    return {"photo 0": names[2], "photo 1": "something else", "photo 2": names[3]}  # of the last there is no picture


def test_gates_are_those_of_the_views(views):
    gates = photos.gates_of(views)
    assert list(gates) == list(views)
    for name, view in views.items():
        assert list(gates[name]) == list(view.gates)
        for block, gate in view.gates.items():
            np.testing.assert_array_equal(gates[name][block], gate[0].numpy())


def test_classes_are_known_where_the_data_set_has_pictures_of_them(full, classes):
    assert photos.known_classes(full, classes) == [2]
    again = {"a": full.classes[4], "b": full.classes[0], "c": full.classes[4]}
    assert photos.known_classes(full, again) == [4, 0]
    many = SimpleNamespace(classes=[f"{i}" for i in range(20)], count=np.ones(20))
    assert photos.known_classes(many, {str(i): str(19 - i) for i in range(20)}) == list(range(19, 11, -1))


@pytest.mark.parametrize("zoom", [1.0, 1.5])
def test_photos_stand_beside_their_classes(full, views, classes, zoom):
    table = photos.lines(full, photos.gates_of(views), classes, zoom=zoom)
    labels = [block.label for block in tables.panels(full.blocks)]
    means = table[~table["photo"]].drop(columns=["photo", "own"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(means, summaries.block_lines(full, labels, [2], zoom=zoom), check_dtype=False)
    own = table[table["photo"]]
    assert own.groupby("class")["own"].unique().map(list).to_dict() == {name: [of] for name, of in classes.items()}
    for block in tables.panels(full.blocks):
        for name, view in views.items():
            values = own.loc[(own["label"] == block.label) & (own["class"] == name), "value"]
            np.testing.assert_allclose(values, view.gates[block.name][0, -1], atol=1e-7)
    assert list(table["label"].unique()) == labels


def test_photos_of_a_network_without_classes_stand_beside_all(full, views):
    table = photos.lines(full, photos.gates_of(views), {})
    assert set(table.loc[~table["photo"], "class"]) == {"all"}
    own = table[table["photo"]]
    assert set(own["own"]) == {""}
    assert set(own["class"]) == set(views)
    names = [trace.name for trace in figures.class_panels(table).data]
    assert len(names) == len(tables.panels(full.blocks)) * (1 + len(views))


def test_without_labels_all_is_the_mean_of_pictures(full, views, classes):
    stats = full
    bare = SimpleNamespace(
        classes=stats.classes, count=np.zeros(len(stats.classes), int), blocks=stats.blocks, block=stats.block,
        mean=stats.mean, std=stats.std, overall_mean=stats.overall_mean, overall_std=stats.overall_std,
        pictures=stats.pictures)
    table = photos.lines(bare, photos.gates_of(views), classes)
    rows = table[~table["photo"]]
    assert set(rows["class"]) == {"all"} and set(rows["count"]) == {stats.pictures}


def test_pictures_are_averaged_by_group():
    pictures = {name: np.full((2, 3, 3), value, np.uint8) for name, value in (("a", 250), ("b", 255), ("c", 7))}
    means = photos.mean_pictures(pictures, {"a": "x", "c": "y", "b": "x"})
    assert list(means) == ["x", "y"] and means["x"].dtype == np.uint8
    assert (means["x"] == 252).all() and (means["y"] == 7).all()  # no overflow
