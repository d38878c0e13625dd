"""Runs side by side: what is compared, beside a computation from all pictures' gates."""
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from senet_viz.statistics import comparison, summaries
from senet_viz.statistics.comparison import CLASSES, MEASURES, PICTURES
from senet_viz.statistics.whole import whole_gates


def blocks_like(block, stages: dict[int, int]) -> list:
    """So many blocks in each stage."""
    return [replace(block, name=f"{stage}.{i}", label=f"X_{stage}_{i}", stage=stage, index=i)
            for stage, count in stages.items() for i in range(1, count + 1)]


def by_hand(stats, block, left_out: int | None = None) -> dict[str, float]:
    """From the gates of all pictures, that of a class left out."""
    gates = whole_gates(stats)(block).astype(float)
    labels = stats.images(["index", "label"]).drop_duplicates("index").set_index("index")["label"].to_numpy()
    kept = labels != left_out
    gates, labels = gates[kept], labels[kept]
    mean, classes = gates.mean(0), np.unique(labels)
    between = sum((labels == k).sum() * (gates[labels == k].mean(0) - mean) ** 2 for k in classes)
    within = sum(((gates[labels == k] - gates[labels == k].mean(0)) ** 2).sum(0) for k in classes)
    error = within / (len(labels) - len(classes))
    omega = (between - (len(classes) - 1) * error) / (between + within + error)
    return {"omega_squared": np.median(omega), "spread": gates.std(0).mean(), "mean": gates.mean(),
            "beyond": ((gates < 0.05) | (gates > 0.95)).mean()}


def half(values: np.ndarray) -> float:
    n = len(values)
    return t.ppf(0.975, n - 1) * np.sqrt((n - 1) / n * ((values - values.mean()) ** 2).sum())


def test_positions(many):
    blocks = blocks_like(many.blocks[0], {2: 3, 3: 1, 4: 5})
    assert comparison.positions(blocks) == {
        "X_2_1": 0, "X_2_2": 0.5, "X_2_3": 1, "X_3_1": 0.5, "X_4_1": 0, "X_4_2": 0.25, "X_4_3": 0.5, "X_4_4": 0.75,
        "X_4_5": 1}


def test_blocks_are_aligned_by_stage_and_place_in_it(many):
    block = many.blocks[0]
    first = blocks_like(block, {1: 1, 2: 2, 3: 3, 4: 1})
    second = blocks_like(block, {2: 5, 3: 3, 4: 2, 5: 1})
    table = comparison.align(first, second)
    assert list(zip(table["first"], table["second"])) == [
        # two beside five, at 0 and 1 beside 0, .25, .5, .75 and 1: the one in the middle goes to the earlier
        ("X_2_1", "X_2_1"), ("X_2_1", "X_2_2"), ("X_2_1", "X_2_3"), ("X_2_2", "X_2_4"), ("X_2_2", "X_2_5"),
        ("X_3_1", "X_3_1"), ("X_3_2", "X_3_2"), ("X_3_3", "X_3_3"), ("X_4_1", "X_4_1"), ("X_4_1", "X_4_2")]
    assert table["position"].tolist() == [0, 0.25, 0.5, 0.75, 1, 0, 0.5, 1, 0, 1]
    other = comparison.align(second, first)
    assert set(zip(other["second"], other["first"])) == set(zip(table["first"], table["second"]))
    assert comparison.align(first[:1], second).empty


def test_same_blocks(many, near, other_classes):
    assert comparison.same_blocks(many.blocks, near.blocks)
    assert not comparison.same_blocks(many.blocks, other_classes.blocks)
    assert not comparison.same_blocks(many.blocks, many.blocks[:-1])


def test_curves(many, other_classes):
    runs = {"a": many, "b": other_classes}
    table = comparison.curves(runs)
    assert table["run"].tolist() == ["a"] * len(many.blocks) + ["b"] * len(other_classes.blocks)
    for name, stats in runs.items():
        rows = table[table["run"] == name].set_index("label")
        specific = summaries.specificity(stats).query("source == 'gate'").set_index("label")
        told = summaries.dimension(stats).query("source == 'gate'").set_index("label")
        saturation = summaries.saturation(stats).set_index("label")
        for block in stats.blocks:
            row = rows.loc[block.label]
            assert row["omega_squared"] == pytest.approx(specific["median"][block.label])
            for column, other in (("dimension", "dimension"), ("error", "error")):
                assert row[column] == pytest.approx(told[other][block.label], nan_ok=True)
            fixed = saturation.loc[block.label, ["dead", "open", "constant"]].sum() / block.channels
            assert row["fixed"] == pytest.approx(fixed)
            if not fixed:
                for measure, value in by_hand(stats, block).items():
                    # limits lie on the edges of bins
                    assert row[measure] == pytest.approx(value, rel=1e-4, abs=2e-3 if measure == "beyond" else 1e-6)


def test_intervals_leave_out_a_class_from_both(many, near):
    table = comparison.differences(many, near)
    blocks = table[table["level"] == "block"]
    looked = 0
    for one, two in zip(many.blocks, near.blocks):
        if any(np.any(summaries.channel_states(stats, each, -1, 1.0)) for stats, each in ((many, one), (near, two))):
            continue
        for measure in ("omega_squared", "spread", "mean", "beyond"):
            row = blocks[(blocks["first_block"] == one.label) & (blocks["measure"] == measure)].iloc[0]
            assert row["second_block"] == two.label and row["place"] == one.label and row["over"] == CLASSES
            assert row["paired"]
            # of the second only 30 pictures were kept whole
            value = by_hand(many, one)[measure]
            assert row["first"] == pytest.approx(value, rel=1e-4, abs=2e-3 if measure == "beyond" else 1e-6)
            assert row["difference"] == pytest.approx(row["second"] - row["first"], abs=1e-12)
            looked += 1
    assert looked >= 8


def test_intervals_by_brute_force(many, drawn):
    table = comparison.differences(many, drawn).query("level == 'block'")
    looked = 0
    for block in many.blocks:
        if any(np.any(summaries.channel_states(stats, block.name, -1, 1.0)) for stats in (many, drawn)):
            continue
        left = [{k: by_hand(stats, block.name, k) for k in range(8)} for stats in (many, drawn)]
        for measure in ("omega_squared", "spread", "mean", "beyond"):
            row = table[(table["first_block"] == block.label) & (table["measure"] == measure)].iloc[0]
            values = np.array([left[1][k][measure] - left[0][k][measure] for k in range(8)])
            assert row["high"] - row["difference"] == pytest.approx(half(values), rel=1e-3, abs=1e-6)
            assert row["difference"] - row["low"] == pytest.approx(half(values), rel=1e-3, abs=1e-6)
            looked += 1
    assert looked >= 8


def test_stages_are_means_over_their_blocks(many, drawn):
    table = comparison.differences(many, drawn)
    for place, rows in table[table["level"] == "stage"].groupby("place"):
        labels = [block.label for block in many.blocks if f"stage {block.stage}" == place]
        curves = comparison.curves({"first": many, "second": drawn}).set_index(["run", "label"])
        for row in rows.itertuples():
            for run in ("first", "second"):
                mean = np.mean([curves.loc[(run, label), row.measure] for label in labels])
                assert getattr(row, run) == pytest.approx(mean, nan_ok=True)


def test_other_intervals(many, near, without, other_classes):
    table = comparison.differences(many, near)
    dimension = table[(table["level"] == "block") & (table["measure"] == "dimension")]
    for row, one, two in zip(dimension.itertuples(), many.blocks, near.blocks):
        errors = [stats.measures(block)["error"] for stats, block in ((many, one), (near, two))]
        if np.isfinite(errors).all():
            assert row.high - row.difference == pytest.approx(t.ppf(0.975, 19) * np.hypot(*errors))
            assert row.over == PICTURES and not row.paired
    fixed = table[table["measure"] == "fixed"]
    assert fixed["low"].isna().all() and (fixed["over"] == "").all()
    # a compact archive has no saturation by picture
    beyond = comparison.differences(many, without).query("measure == 'beyond'")
    assert beyond["low"].isna().all() and (beyond["over"] == "").all() and beyond["difference"].notna().all()
    # other classes: each run by itself
    table = comparison.differences(many, other_classes)
    row = table[(table["measure"] == "mean") & (table["level"] == "block")].iloc[0]
    assert not row["paired"] and row["over"] == CLASSES
    errors = []
    for stats, label in ((many, row["first_block"]), (other_classes, row["second_block"])):
        values = np.array([by_hand(stats, label, k)["mean"] for k in range(8)])
        errors.append(half(values))
    assert row["high"] - row["difference"] == pytest.approx(np.hypot(*errors), rel=1e-3)


def test_classes_in_another_order_are_the_same(many, run, kinds, tmp_path):
    """Left out from both by name, not by number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tests.runs import make_model
    table = pq.read_table(kinds / "val.parquet")
    turned = table.set_column(table.column_names.index("label"), "label", pa.array(
        [7 - label for label in table["label"].to_pylist()]))
    pq.write_table(turned, tmp_path / "val.parquet")
    (tmp_path / "classes.csv").write_text("label,name\n" + "".join(f"{7 - kind},kind {kind}\n" for kind in range(8)))
    other = run(tmp_path.parent / f"{tmp_path.name} out", make_model("se"), tmp_path)
    found = comparison.differences(many, other)
    kept = found[found["measure"].isin(["omega_squared", "spread", "mean", "beyond"])]
    assert kept["paired"].all()
    np.testing.assert_allclose(kept[["difference", "low", "high"]].dropna(), 0, atol=1e-6)


def test_a_network_with_itself(many):
    table = comparison.differences(many, many)
    assert (table["difference"].dropna() == 0).all()
    classes = table[table["over"] == CLASSES]
    assert len(classes) and (classes["low"] == 0).all() and (classes["high"] == 0).all()
    changes = comparison.channel_changes(many, many)
    assert (changes["difference"] == 0).all()
    np.testing.assert_allclose(changes["correlation"].dropna(), 1)
    assert set(table["measure"]) == set(MEASURES)


def test_channels_one_by_one(many, drawn):
    table = comparison.channel_changes(many, drawn)
    assert len(table) == sum(block.channels for block in many.blocks)
    for block in many.blocks:
        rows = table[table["block"] == block.name]
        means = [whole_gates(stats)(block.name).astype(float) for stats in (many, drawn)]
        np.testing.assert_allclose(rows["difference"], means[1].mean(0) - means[0].mean(0), atol=1e-6)
        one, two = (stats.mean(block.name)[:, -1] for stats in (many, drawn))
        for c in range(block.channels):
            if min(one[:, c].std(), two[:, c].std()) > 1e-5:
                assert rows["correlation"].iloc[c] == pytest.approx(np.corrcoef(one[:, c], two[:, c])[0, 1], abs=1e-6)


def test_agreement_of_profiles(many, near, drawn):
    close, far = (comparison.profile_agreement(many, other) for other in (near, drawn))
    changes = comparison.channel_changes(many, near)
    for row in close.itertuples():
        part = changes[changes["block"] == row.block]
        assert row.correlation == pytest.approx(part["correlation"].median())
        assert row.change == pytest.approx(part["difference"].abs().mean())
        assert row.shuffled_low <= row.shuffled_high and row.draws == 20 and row.classes == 8
    assert (close["correlation"] > close["shuffled_high"]).mean() > 0.5
    assert close["correlation"].median() > far["correlation"].median()


def test_channels_of_other_blocks_are_refused(many, other_classes):
    for function in (comparison.channel_changes, comparison.profile_agreement):
        with pytest.raises(ValueError, match=r"^the two networks have not the same blocks"):
            function(many, other_classes)


def test_without_a_sample_directions_are_not_told(run, kinds, many, tmp_path):
    from tests.runs import make_model
    stats = run(tmp_path / "none", make_model("se"), kinds, options={"sample": 0})
    table = comparison.curves({"a": many, "b": stats})
    assert table[table["run"] == "b"]["dimension"].isna().all()
    found = comparison.differences(many, stats)
    assert found[found["measure"] == "dimension"]["difference"].isna().all()
    assert isinstance(found, pd.DataFrame)
