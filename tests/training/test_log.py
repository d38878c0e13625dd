"""Logs of a monitor, read again; what they say."""
import math

import numpy as np
import pandas as pd
import pytest
import torch

from senet_viz import figures
from senet_viz.data.places import ASSETS
from senet_viz.models import embedded_models
from senet_viz.models.checkpoints import read_metadata
from senet_viz.training import Monitor
from senet_viz.training.cards import in_short
from senet_viz.training.log import (
    COLUMNS,
    MEASURES,
    LogError,
    collapses,
    embedded_logs,
    findings,
    grid,
    labels,
    read_log,
)
from senet_viz.training.log_sections import LogSections
from tests.runs import make_batch, make_module

pytestmark = pytest.mark.usefixtures("one_thread")


def made(dimensions: dict[str, list[float]], pictures: int = 128, alive: float = 0.9) -> pd.DataFrame:
    """A log of these blocks; a value a step, 50 steps apart."""
    rows = [{"step": 50 * i, "block": label.lower(), "label": label, "pictures": pictures, "mean": 0.5, "std": 0.1,
             "below": 0.0, "above": 0.0, "dimension": values[i], "first": 0.5, "alive": alive}
            for i in range(len(next(iter(dimensions.values())))) for label, values in dimensions.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """What a monitor wrote, and its table."""
    network = make_module("se+sk")
    with Monitor(network, make_batch(2), every=2) as monitor:
        network.train()
        for seed in range(5):
            network(make_batch(40, seed))
        network.eval()
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    monitor.save(path)
    return path, monitor.table()


def test_labels_of_every_kind_are_read(log, tmp_path):
    named = log[1].assign(label=["SplitAttn_0_1", "SE_-1_12#2"] * (len(log[1]) // 2))
    named.to_parquet(tmp_path / "log.parquet", index=False)
    assert set(read_log(tmp_path / "log.parquet")["label"]) == {"SplitAttn_0_1", "SE_-1_12#2"}


def test_a_log_is_read_as_it_was_written(log):
    path, table = log
    for source in (path, str(path), path.read_bytes()):
        pd.testing.assert_frame_equal(read_log(source), table, check_dtype=False)


def test_a_note_goes_with_the_log_and_is_shown(log, tmp_path):
    network = make_module("se")
    with Monitor(network, make_batch(2), every=1) as monitor:
        network.train()(make_batch(8))
    monitor.save(tmp_path / "log.parquet", "30 epochs, *all* of them")
    table = read_log(tmp_path / "log.parquet")
    assert table.attrs == {"note": "30 epochs, *all* of them"} and read_log(log[0]).attrs == {"note": ""}
    runs = LogSections({"a": table, "b": read_log(log[0])}, {"a": "a", "b": "b"})
    assert runs.map("a", "mean").text.endswith(" *30 epochs\\, \\*all\\* of them.*")
    assert runs.map("b", "mean").text == f"**b**. {MEASURES['mean'][1].capitalize()}."
    table.attrs["note"] = 2000 * "x"
    table.to_parquet(tmp_path / "long.parquet")
    assert read_log(tmp_path / "long.parquet").attrs == {"note": 500 * "x"}
    table.attrs["note"] = {"of": "another"}
    table.to_parquet(tmp_path / "other.parquet")
    assert read_log(tmp_path / "other.parquet").attrs == {"note": ""}


def test_a_block_that_collapsed_is_looked_at_first():
    lives = made({"SE_2_1": [3.0, 4.0], "SE_3_1": [3.0, 4.0], "SE_5_1": [2.0, 3.0]})
    falls = made({"SE_2_1": [3.0, 1.1], "SE_3_1": [3.0, 1.02], "SE_9_9": [2.0, 1.01], "SE_5_1": [2.0, 2.0]})
    assert LogSections({"a": lives}, {"a": "a"}).telling() == "SE_5_1"
    # the page offers the first one's blocks
    assert LogSections({"a": lives, "b": falls}, {"a": "a", "b": "b"}).telling() == "SE_3_1"


def test_the_embedded_logs_tell_two_stories():
    """Those of the embedded networks, whose gates live, and one whose gates collapsed."""
    logs = {name: read_log(path) for name, path in embedded_logs().items()}
    embedded = [name.partition("/")[2] for name in embedded_models()]
    assert sorted(logs) == sorted([*embedded, "se_resnet50_slim_decayed_gates"])
    for name, table in logs.items():
        assert len(collapses(table)) == (0 if name in embedded else 9) and table["label"].nunique() == 16
    for name in embedded:
        assert logs[name].attrs["note"] == in_short(read_metadata(ASSETS / "models" / f"{name}.safetensors"))
    note = logs["se_resnet50_slim_decayed_gates"].attrs["note"]
    assert "weight decay 0.0005 on all weights, " in note and "top-1 62.3%" in note


@pytest.mark.parametrize(("change", "message"), [
    (lambda table: table.drop(columns="first"), "it has no column first"),
    (lambda table: table[:0], "The log is empty"),
    (lambda table: pd.concat([table, table]), "has a block twice at one step"),
    (lambda table: table.assign(step="now"), "columns are not what a monitor writes"),
    (lambda table: table.assign(mean=math.inf), "infinite numbers"),
    (lambda table: table.assign(label="**SE** <b>" * 99), "labels are not those of blocks"),
    (lambda table: pd.DataFrame({"a": [1]}), "it has no column step"),
])
def test_other_tables_are_refused(log, tmp_path, change, message):
    change(log[1]).to_parquet(tmp_path / "other.parquet", index=False)
    with pytest.raises(LogError, match=message):
        read_log(tmp_path / "other.parquet")


@pytest.mark.parametrize("content", [b"", b"step,block\n1,2\n", b"PAR1" + bytes(40) + b"PAR1"])
def test_files_that_are_no_table_are_refused(content):
    with pytest.raises(LogError, match="is no log of a monitor"):
        read_log(content)


def test_a_grid_has_blocks_in_network_order_and_what_is_not_known_is_nan():
    table = made({"SE_5_1": [3.0, 2.0], "SE_2_1": [math.nan, 1.0]})
    found = grid(table, "dimension")
    assert list(found.index) == ["SE_5_1", "SE_2_1"] == labels(table) and list(found.columns) == [0, 50]
    np.testing.assert_array_equal(found, [[3.0, 2.0], [math.nan, 1.0]])


def test_a_block_has_collapsed_if_it_stays_along_one_direction():
    table = made({"back": [1.1, 1.1, 2.0, 1.3], "late": [3.0, 1.1, 1.3, 1.1], "always": [1.0, 1.0, 1.1, 1.0],
                  "gap": [3.0, 1.1, math.nan, 1.05], "unknown": [math.nan] * 4})
    found = collapses(table).set_index("label")
    assert found["since"].to_dict() == {"late": 150, "always": 0, "gap": 50}
    assert found["dimension"].to_dict() == {"late": 1.1, "always": 1.0, "gap": 1.05}


def test_sentences_have_their_numbers():
    text = findings(made({"SE_2_1": [2.0, 4.0], "SE_4_1": [2.0, 3.0], "SE_5_1": [1.3, 1.1]}, alive=0.25))
    assert text[0] == ("At the end, step 50, the gates of 1 of 3 blocks move along one direction: **SE_5_1** since "
                       "step 50.")
    assert text[1] == "The others have 3.0 (**SE_4_1**) to 4.0 (**SE_2_1**) directions."
    assert text[2] == "Of the hidden units 25% live, in every block." and "128 pictures" in text[3]
    unlike = made({"SE_2_1": [2.0], "SE_4_1": [3.0]}).assign(alive=[0.9, 0.25])
    assert findings(unlike)[2] == "Fewest of the hidden units live in **SE_4_1**: 25% of them."
    assert findings(made({"SE_2_1": [2.0, 4.0]}))[:2] == [
        "At the end, step 50, the gates of none of 1 blocks move along one direction.",
        "**SE_2_1** has 4.0 directions."]
    assert "too small to tell" in findings(made({"SE_2_1": [math.nan]}, pictures=2))[0]


def test_sections_have_the_logs_numbers_and_scripts_that_give_them(log, capsys):
    path, table = log
    sections = LogSections({"mine": table, "other": table[table["label"] != "SK_5_1"]},
                           {"mine": str(path), "other": str(path)})
    for measure in MEASURES:
        section = sections.map("mine", measure)
        values = section.figure.data[0].customdata
        np.testing.assert_array_equal(np.asarray(values, float), grid(table, measure).to_numpy())
        assert section.figure.layout.meta["alt"].endswith(".")
    for section in (sections.map("mine", "std"), sections.curves(sections.labels[0], "dimension")):
        names: dict = {}
        exec(section.script, names)
        pd.testing.assert_frame_equal(names["result"].reset_index(drop=True), section.table.reset_index(drop=True),
                                      check_dtype=False)
    assert capsys.readouterr().out
    assert len(sections.curves("SK_5_1", "mean").figure.data) == 1  # of the run that has the block


def test_two_maps_share_their_colours_and_directions_are_on_a_logarithmic_scale():
    low, high = made({"SE_2_1": [1.0, 2.0]}), made({"SE_2_1": [1.0, 20.0]})
    sections = LogSections({"low": low, "high": high}, {"low": "low", "high": "high"})
    one, two = (sections.map(name, "dimension").figure.data[0] for name in ("low", "high"))
    assert one.zmax == two.zmax == pytest.approx(math.log(20))
    np.testing.assert_allclose(two.z, [[0, math.log(20)]])
    assert [two.colorbar.ticktext[i] for i in (0, -1)] == ["1", "20"]
    empty = figures.training_map(grid(made({"a": [math.nan]}), "dimension"), measure="dimension", quantity="directions")
    assert np.isnan(np.asarray(empty.data[0].z, float)).all()


def test_a_training_that_diverged_is_said_to_have_done_so():
    """By a network whose weights became NaN; its batches are not too small."""
    network, batch = make_module("se"), make_batch(40)
    with Monitor(network.train(), batch, every=1) as monitor:
        network(batch)
        with torch.no_grad():
            next(network.parameters()).fill_(math.nan)
        network(batch)
    table = monitor.table()
    count = len(labels(table))
    said, before = findings(table), findings(table[table["step"] == 0])
    assert said[0] == (f"From step 1 on gates are no numbers (NaN), in {count} of {count} blocks: the training "
                       f"diverged. What follows is of before.")
    assert said[1] == before[0].replace("Measured once, at step 0, ", "At step 0 ") and said[2:] == before[1:]
    assert findings(table[table["step"] == 1]) == [
        f"The gates of its {count} blocks are no numbers (NaN) at any step: the training diverged."]


def test_a_log_of_one_step_is_not_told_as_an_end():
    """As of a training of fewer steps than lie between two measurements."""
    once = made({"SE_2_1": [1.02], "SE_2_2": [3.0], "SE_2_3": [math.nan]})
    said = findings(once)
    assert said[0] == ("Measured once, at step 0, the gates of 1 of 2 blocks move along one direction: **SE_2_1**; of "
                       "1 more it cannot be told.")
    sections = LogSections({"mine": once[once["label"] != "SE_2_1"]}, {"mine": "mine.parquet"})
    assert sections.telling() == "SE_2_2"  # of SE_2_3, the last, nothing could be drawn
    [points] = sections.curves("SE_2_2", "dimension").figure.data
    assert points.mode == "markers"
