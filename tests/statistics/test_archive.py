import copy
import json
import pickle
import shutil

import numpy as np
import pytest

import senet_viz as sv
from senet_viz.statistics import StatisticsError, open_statistics
from senet_viz.statistics.archive import describe

COARSE, FINE = 20, 100


@pytest.fixture
def copied(full, tmp_path):
    return shutil.copytree(full.path, tmp_path / "copy")


@pytest.mark.parametrize("copy", [copy.deepcopy, lambda stats: pickle.loads(pickle.dumps(stats))])
def test_a_copy_opens_the_folder_anew(full, copy):
    other = copy(full)
    assert repr(other) == repr(full)
    for block in full.blocks:
        assert np.array_equal(other.mean(block), full.mean(block), equal_nan=True)


def test_a_pickle_may_be_read_in_another_folder(copied, tmp_path, monkeypatch):
    monkeypatch.chdir(copied.parent)
    kept = pickle.dumps(open_statistics(copied.name))
    monkeypatch.chdir(tmp_path.parent)
    assert pickle.loads(kept).path == copied


# what cannot be opened

def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^there is no folder .*missing$"):
        open_statistics(tmp_path / "missing")
    (tmp_path / "file").write_text("hello")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        open_statistics(tmp_path / "file")


def test_empty_folder(tmp_path):
    with pytest.raises(StatisticsError, match=r"holds no statistics$"):
        open_statistics(str(tmp_path))


def test_unfinished_run(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(StatisticsError, match="holds an unfinished run: collect again with the same arguments"):
        open_statistics(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"blocks": [], "classes": []}', '{"blocks": 3}',
                                  '{"blocks": [{"name": "a"}], "classes": [], "settings": {"zooms": [1]}}', "\xff"])
def test_damaged_metadata(copied, text):
    (copied / "metadata.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(StatisticsError, match=r"the statistics in .* are damaged \("):
        open_statistics(copied)


@pytest.mark.parametrize("keep", [0, 5, 400, -1])
def test_truncated_tensors(copied, keep):
    path = copied / "statistics.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StatisticsError, match=r"the statistics in .* are damaged \("):
        open_statistics(copied)


def test_missing_tensors(copied):
    (copied / "statistics.safetensors").unlink()
    with pytest.raises(StatisticsError, match="are damaged"):
        open_statistics(copied)


# what can

def test_opens_again(full):
    stats = sv.open_statistics(str(full.path))
    assert stats.metadata == full.metadata
    assert (stats.classes, stats.zooms, stats.blocks) == (full.classes, (1.0, 1.5), full.blocks)
    data = full.metadata["data"]
    assert repr(stats) == f"Statistics('se+sk' on {data!r}: 23 images, 5 classes, 8 blocks, zooms (1.0, 1.5))"
    assert stats.pictures == 23


def test_blocks_are_the_networks(full, network):
    assert describe(full.blocks) == describe(network("se+sk").blocks)
    for block in full.blocks:
        assert full.block(block) == full.block(block.name) == full.block(block.label) == block
        assert np.array_equal(full.mean(block.label), full.mean(block), equal_nan=True)
    for unknown in ("SE_9_9", "layer9", 3):
        with pytest.raises(ValueError, match=r"there is no attention block .*; the network's are: SK_2_1, SE_2_1, "):
            full.mean(unknown)


def test_unknown_zooms_sources_and_weights(full, run, tmp_path):
    block = full.blocks[0]
    for ask in (full.mean, full.std, full.min, full.overall_std, full.histogram, full.variance):
        with pytest.raises(ValueError, match=r"these statistics were taken at zoom 1, 1\.5, not at 2"):
            ask(block, zoom=2)
    with pytest.raises(ValueError, match="hold gate, shuffled, squeeze, random, not 'nonsense'"):
        full.variance(block, "nonsense")
    with pytest.raises(ValueError, match="weight is 'image' or 'class', not 'picture'"):
        full.overall_mean(block, "picture")
    plain = run(tmp_path / "out")
    with pytest.raises(ValueError, match="hold gate, shuffled, squeeze, not 'random'"):
        plain.variance(block, "random")


def test_shapes_and_types(full, compact):
    for stats in (full, compact):
        for block in stats.blocks:
            shape = (block.branches, block.channels)
            assert stats.mean(block).shape == stats.std(block, 1.5).shape == (5, *shape)
            assert stats.mean(block).dtype == np.float64
            assert stats.overall_mean(block).shape == stats.overall_min(block).shape == shape
            assert stats.overall_mean(block, "class").shape == stats.overall_std(block).shape == shape
            assert stats.histogram(block).shape == (*shape, COARSE if stats is compact else FINE)
            assert stats.histogram(block).dtype == np.int64
            assert {a.shape for source in ("gate", "shuffled", "random") for a in stats.variance(block, source)} == {
                shape}
            assert {a.shape for a in stats.variance(block, "squeeze")} == {(1, block.channels)}


def test_results_are_ones_own(full):
    """Whoever writes into an array does not write into the archive."""
    block = full.blocks[0]
    for ask in (full.mean, full.std, full.overall_mean, full.overall_std, full.histogram):
        before = ask(block).copy()
        ask(block)[:] = 7
        assert np.array_equal(ask(block), before, equal_nan=True)


def test_compact_beside_full(full, compact):
    assert compact.metadata["compact"]
    assert not full.metadata["compact"]
    np.testing.assert_array_equal(compact.count, full.count)
    for block in full.blocks:
        for zoom in full.zooms:
            deviation = full.mean(block, zoom) - full.overall_mean(block, zoom=zoom)
            np.testing.assert_allclose(compact.mean(block, zoom) - compact.overall_mean(block, zoom=zoom), deviation,
                                       rtol=2**-11, atol=2e-7)
            np.testing.assert_allclose(compact.std(block, zoom), full.std(block, zoom), rtol=2**-11, atol=1e-7)
            np.testing.assert_allclose(compact.overall_mean(block, zoom=zoom), full.overall_mean(block, zoom=zoom),
                                       rtol=1e-6)
            np.testing.assert_allclose(compact.overall_std(block, zoom), full.overall_std(block, zoom), rtol=1e-6)
            np.testing.assert_array_equal(compact.overall_max(block, zoom), full.overall_max(block, zoom))
            np.testing.assert_array_equal(
                compact.histogram(block, zoom),
                full.histogram(block, zoom).reshape(block.branches, block.channels, COARSE, -1).sum(-1))
            for source in full.sources:
                for draw in range(full.draws if source == "random" else 1):
                    for a, b in zip(compact.variance(block, source, zoom, draw),
                                    full.variance(block, source, zoom, draw)):
                        np.testing.assert_allclose(a, b, rtol=1e-6)
        for ask in (compact.min, compact.max):
            with pytest.raises(ValueError, match="compact statistics keep no extremes by class; overall_min and"):
                ask(block)
    rows, all_rows = compact.images(), full.images()
    names = [f"{block.label}_{'difference' if block.branches > 1 else 'mean'}" for block in full.blocks]
    assert list(rows)[-8:] == names
    assert len(rows.columns) == 9 + 8
    for name in rows:
        if rows[name].dtype == np.float16:
            np.testing.assert_allclose(rows[name], all_rows[name], rtol=2**-11, atol=1e-6)
        else:
            assert rows[name].equals(all_rows[name])
    assert (rows.dtypes == np.float16).sum() == 9  # the probability and a number a block
    size = {stats: sum(path.stat().st_size for path in stats.path.iterdir()) for stats in (compact, full)}
    assert size[compact] < 0.6 * size[full]


def test_some_columns(full):
    assert list(full.images(["label", "zoom"])) == ["label", "zoom"]


def test_metadata_says_what_the_run_depended_on(full):
    metadata = json.loads((full.path / "metadata.json").read_text())
    assert metadata == full.metadata
    assert {"format", "model", "architecture", "weights", "transform", "transformed_noise", "data", "pictures", "count",
            "settings", "device", "versions", "classes", "blocks", "compact", "images", "sampled", "unlabelled",
            "unreadable", "checksums"} == set(metadata)
    assert (metadata["images"], metadata["unlabelled"], metadata["unreadable"]) == (23, 3, 0)
