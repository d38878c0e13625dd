"""The evaluations that come with the program are those of the networks that come with it."""
import numpy as np
import pandas as pd
import pytest
from scipy.stats import sem, t

import senet_viz as sv
from senet_viz.collecting import open_evaluation
from senet_viz.collecting.evaluate import gate_means
from senet_viz.collecting.evaluation import edits_hash
from senet_viz.data.places import ASSETS
from senet_viz.experiments.over_data import static_or_dynamic
from senet_viz.gates import parse_edits
from senet_viz.models import embedded_models
from senet_viz.models.identity import weights_hash
from senet_viz.statistics import open_statistics
from senet_viz.statistics.paired import paired_interval

FOLDER = ASSETS / "evaluation"
CHANNELS = "_channels"
FOUND = sorted(path.name for path in FOLDER.iterdir())
NAMES = [name for name in FOUND if not name.endswith(CHANNELS)]


def test_every_embedded_model_has_one():
    assert [f"demo/{name}" for name in NAMES] == embedded_models()


def test_size():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= 4_500_000


@pytest.mark.parametrize("name", NAMES)
def test_evaluation(name):
    table, model = open_evaluation(FOLDER / name), sv.load(f"demo/{name}", device="cpu")
    assert table.attrs["weights"] == weights_hash(model.module), "stale: evaluate them anew"
    assert (table.attrs["images"], table.attrs["unreadable"], table.attrs["unlabelled"]) == (5000, 0, 0)
    stats = open_statistics(ASSETS / "statistics" / name)
    words = {"mean": gate_means(model), "rank": stats.rank}  # of the statistics that are embedded now
    assert table.attrs["edits"] == [
        [edit, edits_hash(parse_edits(edit, **words), model.blocks)] for edit in table["edit"][1:]]
    found = static_or_dynamic(table, model.blocks)
    stages = [f"stage {stage}" for stage in dict.fromkeys(block.stage for block in model.blocks)]
    for place in (*stages, "all blocks"):
        assert {"no attention", "mean gate", "another picture's gate"} <= set(found[found["place"] == place]["gate"])

    rows = pd.read_parquet(FOLDER / name / "images.parquet")
    assert len(rows) == 5000 * len(table)
    right = {top: rows.pivot(index="index", columns="edit", values=top) for top in ("right1", "right5")}
    unedited = right["right1"]["unedited"]
    statistics = stats.images(["index", "look", "zoom", "label", "top1"])
    plain = statistics[(statistics["look"] == "zoom") & (statistics["zoom"] == 1)].set_index("index")
    # the same network on the same pictures in other batches: a tie may fall otherwise
    assert ((plain["label"] == plain["top1"]) != unedited).sum() <= 2
    for line in table.itertuples():
        assert line.top1 == pytest.approx(right["right1"][line.edit].mean())
        assert line.top5 == pytest.approx(right["right5"][line.edit].mean())
        lost, gained = ((unedited & ~right["right1"][line.edit]).sum(), (~unedited & right["right1"][line.edit]).sum())
        assert (line.lost, line.gained) == (lost, gained)
        if line.edit != "unedited":
            np.testing.assert_allclose((line.difference, line.low, line.high), paired_interval(lost, gained, 5000))
            each = (right["right1"][line.edit].astype(int) - unedited.astype(int)).groupby(plain["label"]).mean()
            low, high = t.interval(0.95, len(each) - 1, each.mean(), sem(each))  # all classes have as many pictures
            assert (line.low_classes, line.high_classes) == pytest.approx((min(low, line.low), max(high, line.high)))


@pytest.mark.parametrize("name", [name.removesuffix(CHANNELS) for name in FOUND if name.endswith(CHANNELS)])
def test_evaluation_of_channels(name):
    """16 channels a block, spread evenly, each by itself; each row recomputed from its pictures."""
    table, model = open_evaluation(FOLDER / f"{name}{CHANNELS}"), sv.load(f"demo/{name}", device="cpu")
    assert table.attrs["weights"] == weights_hash(model.module), "stale: evaluate them anew"
    assert (table.attrs["images"], table.attrs["unreadable"], table.attrs["unlabelled"]) == (2000, 0, 0)
    alone = table[table["edit"].str.endswith("]=mean")]["edit"]
    labels = alone.str.partition("[")[0]
    assert labels.value_counts(sort=False).to_dict() == {block.label: 16 for block in model.blocks}
    for block in model.blocks:
        steps = np.diff(alone[labels == block.label].str.extract(r"\[(\d+)\]")[0].astype(int))
        assert steps.min() >= 1 and np.ptp(steps) <= 1
    rows = pd.read_parquet(FOLDER / f"{name}{CHANNELS}" / "images.parquet")
    right = rows.groupby("edit")["right1"].mean()
    assert np.allclose(table["top1"], right[table["edit"]])
