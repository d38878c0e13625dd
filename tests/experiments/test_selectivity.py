"""Single channels fixed at their mean, beside a loop of one's own."""
import io
import math
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from scipy import stats as st
from torch import nn

import senet_viz as sv
from senet_viz.collecting import Computing, Settings, collect, evaluate
from senet_viz.data.datasets import open_pictures
from senet_viz.experiments.selectivity import (
    _effects,
    channel_effects,
    correlation,
    each_channel,
    pooled_correlation,
    selectivity_findings,
)
from senet_viz.models import for_and_against
from tests.runs import class_folders, make_model

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return class_folders(tmp_path_factory.mktemp("pictures"), 48)


@pytest.fixture(scope="module")
def model():
    return make_model("se")


@pytest.fixture(scope="module")
def stats(folder, model, tmp_path_factory):
    return collect(model, folder, tmp_path_factory.mktemp("statistics") / "out", Settings(batch_size=16),
                   workers=0, progress=False)


@pytest.fixture(scope="module")
def evaluated(folder, model, stats, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluation") / "out"
    edits = ["SE_2_1=1", *each_channel(model.blocks[:2], 5), "SE_3_1[1,2]=mean"]
    evaluate(model, folder, out, edits, Computing(batch_size=16), statistics=stats, workers=0, progress=False)
    return out


def test_channels_are_spread_over_a_block(model):
    first, second, *_ = model.blocks
    assert each_channel([first], 3) == [f"{first.label}[{c}]=mean" for c in (0, 8, 15)]
    assert len(each_channel([first, second], 1000)) == first.channels + second.channels
    assert each_channel([first], 1, "0") == [f"{first.label}[0]=0"]
    with pytest.raises(ValueError, match="one channel of a block or more, not 0"):
        each_channel([first], 0)


def test_effects_are_those_of_a_loop_of_ones_own(folder, model, stats, evaluated):
    table = channel_effects(evaluated, stats, model.classes)
    assert len(table) == 10 and set(table["label"]) == {"SE_2_1", "SE_3_1"}  # neither whole blocks nor two channels
    pictures = open_pictures(folder)
    batch = torch.stack([model.transform(Image.open(io.BytesIO(pictures.read(i)))) for i in range(48)])
    labels = np.asarray(pictures.labels)
    plain = sv.inspect(model, batch)
    right = plain.logits.softmax(1).numpy()[np.arange(48), labels]
    for row in table.to_dict("records"):
        gate = plain.gates[row["block"]][:, 0, row["channel"]].double().numpy()
        edit = sv.Edit(row["label"], {row["block"]: np.full(stats.block(row["block"]).channels, gate.mean())},
                       channels=[row["channel"]])
        change = sv.inspect(model, batch, edits=[edit]).logits.softmax(1).numpy()[np.arange(48), labels] - right
        deviations = [gate[labels == k].mean() - gate.mean() for k in range(3)]
        own = int(np.argmax(np.abs(deviations)))
        assert row["class"] == stats.classes[own] and row["deviation"] == pytest.approx(deviations[own], abs=1e-6)
        mine = change[labels == own]
        assert (row["own_images"], row["images"]) == (16, 48)
        assert row["own"] == pytest.approx(mine.mean(), abs=1e-6)
        low, high = st.t.interval(0.95, 15, mine.mean(), st.sem(mine))
        assert (row["own_low"], row["own_high"]) == pytest.approx((low, high), abs=1e-6)
        others = [change[labels == k].mean() for k in range(3) if k != own]
        assert row["others"] == pytest.approx(np.mean(others), abs=1e-6)
        welch = st.ttest_ind(mine, others, equal_var=False).confidence_interval(0.95)
        assert (row["excess_low"], row["excess_high"]) == pytest.approx((welch.low, welch.high), abs=1e-5)
        assert row["omega_squared"] == stats.rank_specificity(row["block"])[row["channel"]]
        ends = [st.ttest_ind(change[labels == k], [change[labels == j].mean() for j in range(3) if j != k],
                             equal_var=False).confidence_interval(0.95) for k in range(3) if k != own]
        assert row["more_elsewhere"] == np.mean([end.high < 0 for end in ends])
        assert row["less_elsewhere"] == np.mean([end.low > 0 for end in ends])


@pytest.mark.filterwarnings("error")
def test_a_single_class_has_no_others():
    found = _effects(np.array([0.1, 0.2, 0.3]), np.zeros(3), np.ones(3, bool))
    assert math.isnan(found["excess"]) and (found["own_images"], found["images"]) == (3, 3)


def test_by_chance_an_own_class_is_no_other_than_the_rest():
    """Classes differ by themselves, so that an interval leaves 0 out more often than in one of 20; it is counted."""
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(20), 30)
    rows = [_effects(rng.normal(rng.normal(0, 0.5, 20)[label], 1), label, label == 7) for _ in range(400)]
    table = pd.DataFrame(rows)
    for found, elsewhere in ((table["excess_high"] < 0, "more_elsewhere"), (table["excess_low"] > 0, "less_elsewhere")):
        assert found.mean() > 0.1  # by the interval alone it would be 0.025
        assert abs(found.mean() - table[elsewhere].mean()) < 3 * math.sqrt(found.mean() / 400)


def test_classes_that_the_network_numbers_otherwise(folder, model, stats, evaluated):
    """Rows have the network's classes, statistics the data's."""
    table = channel_effects(evaluated, stats, model.classes)
    rows = pq.read_table(evaluated / "images.parquet").to_pandas()
    assert table["own_images"].tolist() == [16] * 10 and set(rows["label"]) == {0, 1, 2}
    unknown = channel_effects(evaluated, stats, [f"{name}!" for name in model.classes])
    assert (unknown["own_images"] == 0).all() and unknown["own"].isna().all()


def test_a_gate_that_never_changes_has_no_class_of_its_own(model, stats, evaluated, monkeypatch):
    still = {"SE_2_1": np.zeros((1, 16))}
    moving = type(stats).overall_std
    monkeypatch.setattr(type(stats), "overall_std", lambda self, block, zoom=1.0: still.get(
        block.label, moving(self, block, zoom)))
    table = channel_effects(evaluated, stats, model.classes)
    assert set(table["label"]) == {"SE_3_1"} and len(table) == 5


def made(count: int, slope: float, label: str = "SE_2_1", noise: float = 0.1) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    omega = np.linspace(0, 0.5, count)
    own = -(0.01 + slope * omega + noise * rng.normal(size=count) * 0.1)
    return pd.DataFrame({"label": label, "omega_squared": omega, "own": own, "others": 0.0,
                         "excess_low": own - 0.001, "excess_high": own + 0.001, "more_elsewhere": 0.05,
                         "less_elsewhere": 0.001})


def test_the_correlation_and_its_interval():
    table = made(40, 0.1)
    rho, low, high = correlation(table)
    assert rho == pytest.approx(st.spearmanr(table["omega_squared"], -table["own"]).statistic)
    half = 1.959964 * math.sqrt(1.06 / 37)
    assert (low, high) == pytest.approx((math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)))
    assert all(map(math.isnan, correlation(table[:7])))
    assert all(map(math.isnan, correlation(table.assign(own=0.0))))
    # of unrelated numbers the interval holds 0 in 19 of 20 cases
    rng = np.random.default_rng(1)
    held = sum(low <= 0 <= high for _, low, high in (
        correlation(pd.DataFrame({"omega_squared": rng.random(30), "own": rng.random(30)})) for _ in range(300)))
    assert 270 <= held <= 297


def test_the_pooled_correlation_is_within_blocks():
    """Two blocks that lie apart: over all channels there is a strong one, within blocks none."""
    rng = np.random.default_rng(0)
    blocks = [pd.DataFrame(rng.random((count, 2)) + apart, columns=["omega_squared", "own"]).assign(label=name)
              for name, count, apart in (("a", 30, 0), ("b", 60, 5))]
    table = pd.concat([*blocks, blocks[0][:5].assign(label="c")])  # of five channels nothing is told
    assert st.spearmanr(table["omega_squared"], table["own"]).statistic > 0.5
    z = [np.arctanh(st.spearmanr(part["omega_squared"], part["own"]).statistic) for part in blocks]
    centre, half = (27 * z[0] + 57 * z[1]) / 84, 1.959964 * math.sqrt(1.06 / 84)
    assert pooled_correlation(table) == pytest.approx([math.tanh(centre + end * half) for end in (0, -1, 1)])
    assert pooled_correlation(blocks[0]) == correlation(blocks[0])
    assert all(map(math.isnan, pooled_correlation(blocks[0][:5])))


def test_sentences(stats):
    strong, none = made(40, 0.1), made(40, 0.0, "SE_3_1", noise=1.0)
    found = selectivity_findings(stats, pd.concat([strong, none]))
    hurt = int((pd.concat([strong, none])["excess_high"] < 0).sum())
    assert found[0].startswith(f"Of 80 channels, each fixed at its mean by itself, {hurt} cost their own class more")
    assert "with any other class in the own one's place it is 4 and fewer than one on average" in found[0]
    rho, low, high = pooled_correlation(pd.concat([strong, none]))
    assert found[1] == ("Within blocks, all taken together, a more selective channel moves its own class more: rank "
                        f"correlation {rho:+.2f} ({low:+.2f} to {high:+.2f}).")
    assert found[2].startswith("In **SE_2_1**, by itself, a more selective channel moves its own class more (1 of 2 "
                               "blocks, by chance in about 0.05; rank correlation ")
    assert found[3].startswith("In **SE_3_1**, by itself, it cannot be told (rank correlation ")
    weak = selectivity_findings(stats, strong.assign(own=strong["own"].to_numpy()[::-1]))
    assert "Within **SE_2_1** a more selective channel moves its own class less: rank" in weak[1]
    open_ = selectivity_findings(stats, none)
    assert "**SE_3_1** whether a more selective channel moves its own class more cannot be told: rank" in open_[1]
    assert len(weak) == len(open_) == 2  # of one block there is nothing else to take together or apart
    rest = selectivity_findings(stats, pd.concat([strong, none, made(5, 0.1, "SE_4_1")]))
    assert rest[2] == found[2]  # of five channels no correlation is told, by chance or otherwise
    assert selectivity_findings(stats, strong[:0]) == []
    few = selectivity_findings(stats, strong[:5].assign(own=-1e-6))[0]
    assert "it is fewer than one and fewer than one on average" in few and "by 0.00 points in the own class" in few
    assert len(selectivity_findings(stats, strong[:5])) == 1  # of five channels nothing is said of a correlation


def test_the_classes_of_one_logit_are_its_sides(folder, model, tmp_path):
    torch.manual_seed(0)
    one = sv.Model(nn.Sequential(model.module, nn.Linear(5, 1)), model.transform, ["class 1"])
    for side, name in enumerate(("against class 1", "for class 1")):
        shutil.copytree(folder / f"class {side}", tmp_path / "data" / name)
    stats = collect(one, tmp_path / "data", tmp_path / "statistics", Settings(batch_size=16), workers=0, progress=False)
    evaluate(one, tmp_path / "data", tmp_path / "out", each_channel(one.blocks[:1], 3), Computing(batch_size=16),
             statistics=stats, workers=0, progress=False)
    table = channel_effects(tmp_path / "out", stats, one.classes)
    pd.testing.assert_frame_equal(table, channel_effects(tmp_path / "out", stats, for_and_against(one).classes))
    assert table["own_images"].tolist() == [16] * 3 and table["own"].notna().all()
