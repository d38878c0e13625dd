import numpy as np
import pandas as pd
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from senet_viz.data.datasets import Pictures, open_pictures
from senet_viz.statistics import export
from senet_viz.tables import kernel_name

NAMES = ["channels", "variance", "histograms", "images"]


@pytest.fixture(scope="module", params=["full", "compact"])
def stats(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module", params=["parquet", "csv"])
def tables(request, stats, tmp_path_factory):
    """Name → table, as pandas reads it."""
    folder = tmp_path_factory.mktemp("export") / "new folder"
    paths = export(stats, folder, request.param)
    assert paths == [folder / f"{name}.{request.param}" for name in NAMES]
    assert sorted(folder.iterdir()) == sorted(paths)
    if request.param == "parquet":
        return {path.stem: pd.read_parquet(path) for path in paths}
    return {path.stem: pd.read_csv(path, keep_default_na=path.stem == "images", na_values=[]) for path in paths}


def of(table: pd.DataFrame, zoom: float, block) -> pd.DataFrame:
    part = table[(table["zoom"] == zoom) & (table["block"] == block.name)]
    assert set(part["label"]) == {block.label}
    assert set(part["stage"]) == {block.stage}
    return part


def grid(part: pd.DataFrame, block, column: str) -> np.ndarray:
    """Long → (M, C)."""
    assert not part.duplicated(["branch", "channel"]).any()
    found = np.full((block.branches, block.channels), np.nan)
    found[part["branch"], part["channel"]] = part[column]
    return found


def test_channels(stats, tables):
    table, kept = tables["channels"], [k for k in range(5) if stats.count[k]]
    extremes = [] if stats.metadata["compact"] else ["min", "max"]
    assert list(table) == ["zoom", "block", "label", "stage", "kind", "branch", "kernel", "channel", "class_index",
                           "class", "count", "mean", "std", *extremes]
    for zoom in stats.zooms:
        for block in stats.blocks:
            part = of(table, zoom, block)
            assert set(part["kind"]) == {block.kind}
            assert set(part["class"]) == {"all", *(stats.classes[k] for k in kept)}
            for m, rows in part.groupby("branch"):
                assert set(rows["kernel"]) == {kernel_name(block, m)}
            for column in ("mean", "std", *extremes):
                ask, ask_all = getattr(stats, column), getattr(stats, f"overall_{column}")
                for k in kept:
                    of_class = part[part["class_index"] == k]
                    assert set(of_class["class"]) == {stats.classes[k]}
                    assert set(of_class["count"]) == {stats.count[k]}
                    np.testing.assert_allclose(grid(of_class, block, column), ask(block, zoom)[k], rtol=1e-12)
                over_all = part[part["class_index"] == -1]
                assert set(over_all["count"]) == {23}
                np.testing.assert_allclose(grid(over_all, block, column), ask_all(block, zoom=zoom), rtol=1e-6)
    assert len(table) == 2 * 5 * sum(block.branches * block.channels for block in stats.blocks)


def test_variance(stats, tables):
    table = tables["variance"]
    assert list(table) == ["zoom", "block", "label", "stage", "source", "branch", "channel", "between", "within"]
    for zoom in stats.zooms:
        for block in stats.blocks:
            part = of(table, zoom, block)
            assert list(part["source"].unique()) == stats.sources
            for source in stats.sources:
                rows = part[part["source"] == source]
                for column, values in zip(("between", "within"), stats.variance(block, source, zoom)):
                    found = grid(rows, block, column)[:len(values)]
                    np.testing.assert_allclose(found, values, rtol=1e-7)
                    assert rows[column].notna().all()


def test_histograms(stats, tables):
    table = tables["histograms"]
    assert list(table) == ["zoom", "block", "label", "stage", "branch", "channel", "left", "right", "count"]
    assert (table["count"] > 0).all()
    for zoom in stats.zooms:
        for block in stats.blocks:
            part, counts = of(table, zoom, block), stats.histogram(block, zoom)
            bins = counts.shape[-1]
            np.testing.assert_allclose(part["right"] - part["left"], 1 / bins)
            found = np.zeros_like(counts)
            found[part["branch"], part["channel"], (part["left"] * bins).round().astype(int)] = part["count"]
            np.testing.assert_array_equal(found, counts)


def test_images(stats, tables):
    found, expected = tables["images"], stats.images()
    assert list(found) == list(expected)
    assert found["fits"].isna().any()  # which pandas tells of in two ways
    for table in (found, expected):
        table["fits"] = table["fits"].map({True: 1, False: 0})
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-6)


@pytest.mark.parametrize("to", ["parquet", "csv"])
def test_read_with_pyarrow(full, tmp_path, to):
    for path in export(full, tmp_path, to):
        table = pq.read_table(path) if to == "parquet" else pyarrow.csv.read_csv(path)
        assert table.num_rows > 0
        if path.stem == "channels":
            assert str(table.schema.field("class").type).endswith("string")
            assert str(table.schema.field("channel").type) == "int64"
            assert str(table.schema.field("mean").type) == "double"
            assert "kind 0, or so" in table["class"].to_pylist()


def test_again_replaces(full, tmp_path):
    for _ in range(2):
        export(full, str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{name}.parquet" for name in NAMES)


def test_pictures_without_labels_or_boxes(run, data_set, tmp_path):
    read = open_pictures(data_set).read
    stats = run(tmp_path / "out", data=Pictures(read, [-1] * 6, []))
    for to, read_table in (("parquet", pd.read_parquet), ("csv", pd.read_csv)):
        channels, variance, histograms, images = map(read_table, export(stats, tmp_path / to, to))
        assert set(channels["class"]) == {"all"} and set(channels["class_index"]) == {-1}
        assert set(channels["count"]) == {6}
        assert (variance[["between", "within"]] == 0).all(axis=None)
        assert histograms["count"].sum() == 6 * sum(block.branches * block.channels for block in stats.blocks)
        assert "fits" not in images


def test_a_full_disk_leaves_no_half_table(full, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", fail)
    with pytest.raises(OSError, match="No space left"):
        export(full, tmp_path)
    assert list(tmp_path.iterdir()) == []
