import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats as st

from senet_viz.gates import AttentionBlock
from senet_viz.statistics.archive import Statistics, describe
from senet_viz.statistics.decoding import decoded
from senet_viz.statistics.summaries import (
    best_by_chance,
    beyond,
    block_lines,
    by_chance,
    channel_classes,
    channel_histogram,
    class_lines,
    class_names,
    depth_findings,
    farthest_by_chance,
    heat_map,
    heat_map_cells,
    nearest_classes,
    omega_squared,
    saturation,
    selective_channels,
    separating_channels,
    specificity,
    trend,
)


class Tensors(dict):
    """What safetensors' safe_open gives, of arrays."""

    get_tensor = get_slice = dict.__getitem__


def sums(values, labels, classes):
    """Count, mean, M2 by class and sums of squares between and within, of values (N, M, C)."""
    count = np.bincount(labels[labels >= 0], minlength=classes)
    mean, M2 = (np.zeros((classes, *values.shape[1:])) for _ in range(2))
    for k in np.flatnonzero(count):
        mean[k] = values[labels == k].mean(0)
        M2[k] = ((values[labels == k] - mean[k]) ** 2).sum(0)
    known = values[labels >= 0]
    grand = known.mean(0) if len(known) else 0
    return count, mean, M2, (count[:, None, None] * (mean - grand) ** 2).sum(0), M2.sum(0)


def archive(values, labels, *, classes=None, compact=False, blocks=("SE_2_1", "SE_3_1"), zooms=(1.0,), **controls):
    """Statistics of one array of gates (N, M, C) for every block (or one array a block); zoom x divides them by x.

    ``controls``: source → array of gates, or for "shuffled" (labels, sampled channels).
    """
    labels = np.asarray(labels)
    classes = classes or [f"class {k}" for k in range(labels.max(initial=0) + 1)]
    arrays = values if isinstance(values, list) else [values] * len(blocks)
    described, tensors, bins = [], {}, 20 if compact else 100
    for label, gates in zip(blocks, arrays):
        _, branches, channels = gates.shape
        name, (kind, stage, index) = f"net.{label}", label.split("_")
        described.append(AttentionBlock(name=name, label=label, kind=kind, channels=channels, branches=branches,
                                        kernels=None, stage=int(stage), index=int(index), gate=f"{name}.gate"))
        found = {}
        for zoom in zooms:
            g = gates / zoom
            count, mean, M2, between, within = sums(g, labels, len(classes))
            by_class = ({"mean": mean.astype(np.float16),
                         "std": np.sqrt(M2 / np.maximum(count, 1)[:, None, None]).astype(np.float16)}
                        if compact else {"mean": mean, "M2": M2})
            bin_of = np.clip((g * bins + 1e-9).astype(int), 0, bins - 1)
            parts = by_class | {
                "gate.between": between, "gate.within": within, "overall_mean": g.mean(0),
                "overall_min": g.min(0), "overall_max": g.max(0),
                "overall_M2": ((g - g.mean(0)) ** 2).sum(0),
                "histogram": np.stack([(bin_of == b).sum(0) for b in range(bins)], -1).astype(np.int32)}
            for source, control in controls.items():
                if source == "shuffled":
                    dealt, sampled = control
                    pair = np.full((2, branches, channels), np.nan)
                    pair[:, :, sampled] = np.stack(sums(g, dealt, len(classes))[3:])[:, :, sampled]
                else:
                    pair = sums(control, labels, len(classes))[3:]
                parts |= {f"{source}.between": pair[0], f"{source}.within": pair[1]}
            for key, value in parts.items():
                found.setdefault(key, []).append(value)
        tensors |= {f"{name}.{key}": np.stack(value) for key, value in found.items()}
    tensors["count"] = np.bincount(labels[labels >= 0], minlength=len(classes))
    metadata = {"blocks": describe(described), "classes": classes, "settings": {"zooms": list(zooms)}, "model": "net",
                "data": "data", "images": len(labels), "compact": compact}
    return Statistics(Path(), metadata, Tensors(tensors))


def gates(labels, channels=6, branches=1, effect=0.1, seed=0):
    """Normal values about .5 whose class means differ."""
    random = np.random.default_rng(seed)
    centre = random.normal(0, effect, (max(labels) + 1, branches, channels))
    return np.clip(0.5 + centre[labels] + random.normal(0, 0.05, (len(labels), branches, channels)), 0, 1)


LABELS = np.repeat([0, 1, 2], [4, 9, 15])  # unequal counts
GATES = gates(LABELS)


@pytest.fixture(scope="module")
def some():
    return archive(GATES, LABELS)


def test_omega_squared_is_that_of_an_analysis_of_variance(some):
    n, k = len(LABELS), 3
    F = st.f_oneway(*(GATES[LABELS == c, 0] for c in range(3))).statistic
    omega = omega_squared(*some.variance("SE_2_1"), n, k)[0]
    np.testing.assert_allclose(omega, (k - 1) * (F - 1) / ((k - 1) * (F - 1) + n))


def test_omega_squared_of_labels_dealt_at_random_is_about_zero_where_eta_squared_is_not():
    random, labels = np.random.default_rng(0), np.repeat([0, 1, 2], 5)
    _, _, _, between, within = sums(random.normal(size=(15, 1, 4000)), labels, 3)
    assert 0.13 < (between / (between + within)).mean() < 0.19
    omega = omega_squared(between, within, 15, 3)
    assert abs(omega.mean()) < 0.01
    assert omega.min() < 0


def test_omega_squared_is_not_a_number_where_nothing_can_be_told():
    assert np.isnan(omega_squared([1.0, 2.0], [1.0, 1.0], 3, 3)).all()
    assert np.isnan(omega_squared([0.0], [1.0], 10, 1)).all()
    assert np.isnan(omega_squared([0.0], [1.0], 0, 0)).all()
    np.testing.assert_array_equal(omega_squared([0.0, 1e-13, np.nan, 1.0], [0.0, 1e-13, np.nan, 0.0], 10, 2),
                                  [np.nan, np.nan, np.nan, 1])


def test_names_are_unique():
    stats = archive(GATES, LABELS, classes=["crane", "crane", "all"])
    assert class_names(stats) == ["crane [0]", "crane [1]", "all [2]"]
    assert class_names(archive(GATES, LABELS, classes=["a", "b", "c"])) == ["a", "b", "c"]
    synonyms = ["tench, Tinca tinca", "goldfish, Carassius auratus", "a, b"]  # two of ImageNet's, and one that is not
    assert class_names(archive(GATES, LABELS, classes=synonyms)) == ["tench", "goldfish", "a, b"]


@pytest.mark.parametrize("compact", [False, True])
def test_class_lines(compact):
    stats = archive(GATES, LABELS, classes=["a", "b", "c", "none"], compact=compact)
    tolerance = 1e-3 if compact else 1e-12
    table = class_lines(stats, "SE_3_1", [2, 3, 0])
    assert list(table["class"].unique()) == ["c", "a", "all"]
    assert list(table.columns) == ["class", "channel", "value", "std", "error", "count", "few"]
    c, a, every = (table[table["class"] == name] for name in ("c", "a", "all"))
    own = GATES[LABELS == 2, 0]
    assert list(c["channel"]) == list(range(6))
    np.testing.assert_allclose(c["value"], own.mean(0), atol=tolerance)
    np.testing.assert_allclose(c["std"], own.std(0), atol=tolerance)
    np.testing.assert_allclose(c["error"], st.sem(own), atol=tolerance)
    assert (c["count"] == 15).all() and not c["few"].any() and (a["count"] == 4).all() and a["few"].all()
    means = np.stack([GATES[LABELS == k, 0].mean(0) for k in range(3)])
    np.testing.assert_allclose(every["value"], means.mean(0), atol=tolerance)
    np.testing.assert_allclose(every["std"], means.std(0), atol=tolerance)
    np.testing.assert_allclose(every["error"], st.sem(means), atol=tolerance)
    assert (every["count"] == 3).all() and not every["few"].any()


def test_lines_of_several_blocks_stand_one_below_the_other():
    stats = archive([GATES, GATES / 2], LABELS)
    table = block_lines(stats, [stats.blocks[1], "SE_2_1"], [1, 0], overall="image")
    assert list(table["label"].unique()) == ["SE_3_1", "SE_2_1"] and table.index.is_unique
    for label, rows in table.groupby("label"):
        pd.testing.assert_frame_equal(rows.drop(columns="label").reset_index(drop=True),
                                      class_lines(stats, label, [1, 0], overall="image"))


def test_all_over_pictures_counts_unlabelled_ones_too():
    labels = np.where(np.arange(28) < 5, -1, LABELS)
    stats = archive(GATES, labels)
    every = class_lines(stats, "SE_2_1", [], overall="image")
    np.testing.assert_allclose(every["value"], GATES[:, 0].mean(0))
    np.testing.assert_allclose(every["error"], st.sem(GATES[:, 0]))
    assert (every["count"] == 28).all()
    assert class_lines(stats, "SE_2_1", [], overall=None).empty
    with pytest.raises(ValueError, match="overall is"):
        class_lines(stats, "SE_2_1", [], overall="picture")


def test_a_single_picture_has_no_standard_error():
    table = class_lines(archive(GATES[:3], [0, 1, 1]), "SE_2_1", [0, 1], overall=None)
    assert table[table["class"] == "class 0"]["error"].isna().all()
    assert table[table["class"] == "class 1"]["error"].notna().all()


def test_the_last_branch_and_the_zoom_are_taken():
    values = gates(LABELS, branches=2)
    stats = archive(values, LABELS, blocks=("SK_2_1",), zooms=(1.0, 2.0))
    value = class_lines(stats, "SK_2_1", [1], overall=None, zoom=2.0)["value"]
    np.testing.assert_allclose(value, values[LABELS == 1, 1].mean(0) / 2)
    value = class_lines(stats, "SK_2_1", [1], overall=None, branch=0)["value"]
    np.testing.assert_allclose(value, values[LABELS == 1, 0].mean(0))
    assert saturation(stats, branch=0)["mean"][0] == pytest.approx(values[:, 0].mean())
    assert saturation(stats, zoom=2.0)["mean"][0] == pytest.approx(values[:, 1].mean() / 2)


def saturated(labels):
    """Channels: 0 to 2 vary by class; 3 dead, 4 open, 5 constant, 6 low in 96 %, 7 dead and constant."""
    values = gates(labels, channels=8)
    random = np.random.default_rng(1)
    values[..., 3] = random.uniform(0, 0.049, (len(labels), 1))
    values[..., 4] = random.uniform(0.951, 1, (len(labels), 1))
    values[..., 5] = 0.5
    values[..., 6] = random.uniform(0, 0.049, (len(labels), 1))
    values[..., 7] = 0
    values[::25, :, 6] = 0.3
    values[0, :, 3] = 0.7  # 99 of 100
    return values


@pytest.mark.parametrize("compact", [False, True])
def test_dead_open_and_constant_channels(compact):
    labels = np.arange(100) % 4
    values = saturated(labels)
    random, z = gates(labels, 8, seed=3), np.maximum(gates(labels, 8, seed=4), 0)
    z[..., :2] = 0
    dealt = np.random.default_rng(0).permutation(labels)
    stats = archive(values, labels, compact=compact, shuffled=(dealt, [0, 2, 3, 5]), squeeze=z, random=random)
    row = saturation(stats).iloc[0]
    assert tuple(row[["channels", "dead", "open", "constant"]]) == (8, 2, 1, 1)
    assert row["below"] == pytest.approx((values < 0.05).mean())
    assert row["above"] == pytest.approx((values > 0.95).mean())
    assert row["mean"] == pytest.approx(values.mean())

    table = specificity(stats).set_index(["label", "source"])
    assert len(table) == 8
    counts = table.loc["SE_3_1"][["channels", "dead", "open", "constant"]]
    assert {source: tuple(row) for source, row in counts.iterrows()} == {
        "gate": (4, 2, 1, 1), "shuffled": (2, 1, 0, 1), "squeeze": (6, 0, 0, 2), "random": (8, 0, 0, 0)}

    def omega(sample, labels):
        F = st.f_oneway(*(sample[labels == c] for c in range(4))).statistic
        return 3 * (F - 1) / (3 * (F - 1) + 100)

    for source, sample, by in (("gate", values[:, 0, [0, 1, 2, 6]], labels), ("shuffled", values[:, 0, [0, 2]], dealt),
                               ("squeeze", z[:, 0, 2:], labels), ("random", random[:, 0], labels)):
        expected, row = omega(sample, by), table.loc["SE_3_1", source]
        np.testing.assert_allclose(row[["q05", "q25", "median", "q75", "q95"]].astype(float),
                                   np.quantile(expected, [0.05, 0.25, 0.5, 0.75, 0.95]), rtol=1e-9)
        assert row["mean"] == pytest.approx(expected.mean())
    assert tuple(table.reset_index().loc[0, ["block", "label", "stage", "index"]]) == ("net.SE_2_1", "SE_2_1", 2, 1)


def test_the_squeezed_input_has_one_branch():
    values, z = gates(LABELS, branches=2), gates(LABELS, seed=8)
    stats = archive(values, LABELS, blocks=("SK_2_1",), squeeze=z)
    assert stats.sources == ["gate", "squeeze"]
    first, last = (specificity(stats, branch).set_index("source") for branch in (1, -1))
    pd.testing.assert_frame_equal(first, last)
    assert first.loc["squeeze", "median"] == pytest.approx(
        np.median(omega_squared(*sums(z, LABELS, 3)[3:], len(LABELS), 3)))


def test_without_labels_there_are_empty_tables_and_saturation():
    stats = archive(saturated(np.zeros(100, int)), np.full(100, -1), classes=["a", "b"])
    table = specificity(stats)
    assert list(table["channels"]) == [0, 0] and table["median"].isna().all()
    assert tuple(table.loc[0, ["dead", "open", "constant"]]) == (2, 1, 1)
    assert tuple(saturation(stats).loc[0, ["dead", "open", "constant"]]) == (2, 1, 1)
    assert depth_findings(stats, table) == [
        "How class-specific the gates are cannot be told from 0 labelled pictures of 0 classes: that takes at least "
        "two classes and more pictures than classes."]
    assert class_lines(stats, "SE_2_1", [0, 1]).empty
    assert len(class_lines(stats, "SE_2_1", [0, 1], overall="image")) == 8
    assert selective_channels(stats, "SE_2_1").empty and channel_classes(stats, "SE_2_1", 0).empty
    assert heat_map(stats, "SE_2_1").shape == (0, 8)
    assert nearest_classes(stats, {"x": {block.name: np.zeros((1, 8)) for block in stats.blocks}}).empty
    assert separating_channels(stats, "SE_2_1", 0, 1)["d"].isna().all()


def test_gates_outside_0_and_1_are_said():
    wide = 3 * GATES - 1
    stats = archive([GATES, wide, np.clip(wide, 0, None)], LABELS, blocks=("SE_2_1", "SE_3_1", "SE_4_1"),
                    zooms=(1.0, 8.0))
    assert GATES.min() >= 0 and GATES.max() <= 1 and wide.min() < 0 and wide.max() > 1
    assert beyond(stats).startswith(f"The gates of **SE_3_1**, **SE_4_1** lie outside 0..1 in part, from "
                                    f"{wide.min():.3g} to {wide.max():.3g}. ")
    assert beyond(stats, ["SE_2_1"]) == "" and "from 0 to" in beyond(stats, ["SE_4_1"])
    assert beyond(stats, ["SE_4_1"], zoom=8.0) == ""  # an eighth of it
    assert beyond(archive(np.float32([[[0.0, 1.0]]] * 3), [0, 1, 1])) == ""


def test_a_gate_below_0_is_not_dead():
    values = np.linspace((0, -0.9, -0.04), (0.04, -0.5, 0.04), 40, dtype=np.float32)[:, None]
    stats = archive(values, np.arange(40) % 2)
    assert saturation(stats)["dead"].eq(2).all() and specificity(stats)["dead"].iloc[0] == 2


def test_selective_channels():
    labels = np.arange(100) % 4
    values = saturated(labels)
    table = selective_channels(archive(values, labels, classes=list("abcd")), "SE_2_1", top=7)
    assert len(table) == 7 and table["omega_squared"].dropna().is_monotonic_decreasing
    assert table["channel"].iloc[-1] in (5, 7) and table["omega_squared"].iloc[-2:].isna().tolist() == [False, True]
    first = table.iloc[0]
    sample = values[:, 0, first["channel"]]
    means = np.array([sample[labels == k].mean() for k in range(4)])
    assert first["highest"] == "abcd"[means.argmax()] and first["highest_mean"] == pytest.approx(means.max())
    assert first["lowest"] == "abcd"[means.argmin()] and first["lowest_mean"] == pytest.approx(means.min())
    assert first["std"] == pytest.approx((sample - means[labels]).std())


def test_channel_classes_and_histogram(some):
    table = channel_classes(archive(GATES, LABELS, classes=["a", "b", "c", "none"]), "SE_2_1", 3)
    assert table["mean"].is_monotonic_decreasing and set(table["class"]) == {"a", "b", "c"}
    a = table.set_index("class").loc["a"]
    own = GATES[LABELS == 0, 0, 3]
    assert a["mean"] == pytest.approx(own.mean()) and a["std"] == pytest.approx(own.std())
    assert a["count"] == 4 and a["few"] and not table.set_index("class").loc["b", "few"]
    for compact, bins in ((False, 100), (True, 20)):
        histogram = channel_histogram(archive(GATES, LABELS, compact=compact), "SE_2_1", 3)
        assert len(histogram) == bins and histogram["left"][0] == 0 and histogram["right"].iloc[-1] == 1
        np.testing.assert_array_equal(histogram["count"], np.histogram(GATES[:, 0, 3], bins, (0, 1))[0])


def test_separating_channels(some):
    table = separating_channels(some, "SE_2_1", 0, 1, top=4)
    assert len(table) == 4 and table["d"].abs().is_monotonic_decreasing
    a, b = (GATES[LABELS == k, 0] for k in (0, 1))
    pooled = np.sqrt((3 * a.var(0, ddof=1) + 8 * b.var(0, ddof=1)) / 11)
    d = (b.mean(0) - a.mean(0)) / pooled
    np.testing.assert_allclose(table["d"], d[table["channel"]])
    assert table["channel"][0] == np.abs(d).argmax()
    np.testing.assert_allclose(table["difference"], table["second"] - table["first"])
    np.testing.assert_allclose(table["first"], a.mean(0)[table["channel"]])


def test_separating_channels_are_told_only_where_there_is_a_scale():
    values = GATES.copy()
    values[..., 0] = 0.5
    values[..., 1] = 0.9 + 0.0002 * LABELS[:, None] + np.random.default_rng(0).normal(0, 1e-4, (28, 1))
    full = separating_channels(archive(values, LABELS), "SE_2_1", 0, 2).set_index("channel")["d"]
    assert np.isnan(full[0]) and full.index[-1] == 0 and full[1] > 2
    # the means are float16 here, so that d would be of their rounding
    compact = separating_channels(archive(values, LABELS, compact=True), "SE_2_1", 0, 2).set_index("channel")["d"]
    assert compact[[0, 1]].isna().all() and compact[2:].notna().any()
    single = separating_channels(archive(GATES[:5], [0, 1, 1, 1, 1]), "SE_2_1", 0, 1)
    assert single["d"].isna().all() and single["difference"].notna().all()


def test_heat_map(some):
    means = np.stack([GATES[LABELS == k, 0].mean(0) for k in range(3)])
    plain = heat_map(some, "SE_2_1", centred=False, clustered=False)
    np.testing.assert_allclose(plain, means)
    assert list(plain.index) == ["class 0", "class 1", "class 2"] and list(plain.columns) == list(range(6))
    np.testing.assert_allclose(heat_map(some, "SE_2_1", clustered=False), means - means.mean(0))
    chosen = heat_map(some, "SE_2_1", [4, 2], clustered=False)
    assert list(chosen.columns) == [4, 2]
    clustered = heat_map(some, "SE_2_1")
    pd.testing.assert_frame_equal(clustered.sort_index().sort_index(axis=1), heat_map(some, "SE_2_1", clustered=False))


def test_a_heat_map_as_a_long_table(some):
    table = heat_map(some, "SE_3_1", centred=False, clustered=False)
    cells = heat_map_cells(table)
    assert list(cells.columns) == ["class", "channel", "value"] and len(cells) == table.size
    for name, channel, value in cells.itertuples(index=False):
        assert table.loc[name, channel] == value


def test_clustering_brings_like_beside_like():
    # classes alternate between two kinds, channels between rising and falling with the kind, whatever their size
    labels = np.repeat(np.arange(8), 5)
    sign = np.array([1, -1] * 3 + [0])
    values = 0.5 + np.array([-1, 1])[labels % 2][:, None] * sign * np.array([0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0])
    values = (values + 1e-4 * np.random.default_rng(0).normal(size=values.shape) * (sign != 0))[:, None]
    table = heat_map(archive(values, labels), "SE_2_1")
    kinds = [int(name[-1]) % 2 for name in table.index]
    assert np.abs(np.diff(kinds)).sum() == 1
    ups = [sign[channel] for channel in table.columns if sign[channel]]
    assert (np.diff(ups) != 0).sum() == 1
    assert set(table.columns) == set(range(7)) and table[6].abs().max() < 1e-12
    assert heat_map(archive(values, labels), "SE_2_1", [6]).shape == (8, 1)


def test_nearest_classes():
    labels = np.repeat([0, 1, 2], [5, 7, 9])
    blocks = [gates(labels, 6, 2, seed=1), gates(labels, 4, 2, seed=2)]
    blocks[1][..., 3] = 0.5
    stats = archive(blocks, labels, classes=["a", "b", "c"], blocks=("SK_2_1", "SK_3_1"))
    pictures = {"second": [blocks[0][6], blocks[1][6]], "first": [blocks[0][1], blocks[1][1]]}
    table = nearest_classes(stats, {name: dict(zip(["net.SK_2_1", "net.SK_3_1"], each))
                                    for name, each in pictures.items()}, top=2)
    assert list(table.columns) == ["picture", "block", "label", "stage", "rank", "class", "distance", "hits"]
    assert table["hits"].isna().all()  # of statistics without a sample
    assert list(table["picture"]) == ["second"] * 4 + ["first"] * 4
    assert list(table["rank"]) == [1, 2] * 4 and list(table["label"][:4]) == ["SK_2_1"] * 2 + ["SK_3_1"] * 2
    for row in table.itertuples():
        at = ["SK_2_1", "SK_3_1"].index(row.label)
        values = blocks[at][..., :6 if at == 0 else 3]  # the constant channel is left out
        means = np.stack([values[labels == k].mean(0) for k in range(3)])
        s = np.sqrt(((values - means[labels]) ** 2).sum(0) / (21 - 3))
        g = pictures[row.picture][at][:, :values.shape[-1]]
        distance = np.sqrt((((g - means) / s) ** 2).mean((1, 2)))
        k = distance.argsort()[row.rank - 1]
        assert row.distance == pytest.approx(distance[k]) and row._6 == "abc"[k]
    assert nearest_classes(stats, {}).empty


def test_the_distance_from_the_own_class_is_about_1_as_a_root_mean_square_and_less_on_average():
    labels = np.repeat(np.arange(5), 40)
    values = gates(labels, 8)
    values[::20] = 0.5 + 4 * (values[::20] - 0.5)  # a few pictures are far out
    names = [f"class {k}" for k in range(5)]
    stats = archive(values, labels, classes=names, blocks=("SE_2_1",))
    table = nearest_classes(stats, {str(i): {"net.SE_2_1": g} for i, g in enumerate(values)}, top=5)
    own = table[table["class"] == [names[labels[int(i)]] for i in table["picture"]]]["distance"]
    assert len(own) == 200 and np.sqrt((own ** 2).mean()) == pytest.approx(np.sqrt((200 - 5) / 200))
    assert own.mean() < 0.9 * np.sqrt((own ** 2).mean())


def test_nearest_classes_leave_out_what_has_no_scale():
    stats = archive(np.full((10, 1, 3), 0.5), np.arange(10) % 2)
    assert nearest_classes(stats, {"x": {block.name: np.zeros((1, 3)) for block in stats.blocks}}).empty
    values = gates(np.arange(10) % 2, 3)
    values[..., 0] = 0.5 + 1e-3 * np.random.default_rng(0).normal(size=(10, 1))
    x = {"x": {f"net.{label}": np.concatenate([[[0.9]], values[0][:, 1:]], 1) for label in ("SE_2_1", "SE_3_1")}}
    full, compact = (nearest_classes(archive(values, np.arange(10) % 2, compact=c), x)["distance"].min()
                     for c in (False, True))
    assert full > 50 and compact < 5


# the sentences: tables made by hand


def findings(gate, *, count=(50, 50), drop=(), dead=None, draws=None, more=None, **controls):
    """What is said of medians of ω² a block, and of those of its controls ("shuffled": 95th percentiles).

    ``draws``: the least and largest median of several draws of random weights. ``more``: source → its further columns,
    a list a block each.
    """
    labels = [f"SE_{2 + i // 3}_{1 + i % 3}" for i in range(len(gate))]
    controls = {"shuffled": 0.0, "random": 0.0, "squeeze": 0.0} | controls
    rows = []
    for i, label in enumerate(labels):
        for source, values in {"gate": gate, **controls}.items():
            if source not in drop:
                value = values[i] if np.ndim(values) else values
                left = {"channels": 10, "open": 0} if not np.isnan(value) else {"channels": 0, "open": 10}
                rows.append({"label": label, "stage": int(label[3]), "source": source, "median": value, "q95": value,
                             "dead": 0, "constant": 0,
                             "low": value, "high": value, "draws": 1, "rank": np.nan, "decoded": np.nan}
                            | left | ((dead or {}).get(label, {}) if source == "gate" else {})
                            | {name: values[i] for name, values in (more or {}).get(source, {}).items()})
                if draws and source == "random":
                    rows[-1] |= {"low": draws[0], "high": draws[1], "draws": 3}
    stats = archive(gates(np.repeat(np.arange(len(count)), count), 2), np.repeat(np.arange(len(count)), count))
    stats.metadata |= {"sampled": 1000, "images": 2000}
    return depth_findings(stats, pd.DataFrame(rows))


def the(found, word):
    sentence, = [sentence for sentence in found if word in sentence]
    return sentence


def unrelated(share, images=100, classes=2):
    """A quantile of ω² for unrelated labels: η² is Beta((k − 1)/2, (N − k)/2), and ω² = (F − 1) / (F + (N − k + 1) /
    (k − 1)) with F = η² / (1 − η²) · (N − k) / (k − 1)."""
    eta = st.beta.ppf(share, (classes - 1) / 2, (images - classes) / 2)
    F = eta / (1 - eta) * (images - classes) / (classes - 1)
    return (F - 1) / (F + (images - classes + 1) / (classes - 1))


def chance(blocks, images="100", classes=2, dealt=True):
    """What chance is said to be, of so many blocks, each of which may exceed it in 5 % / blocks."""
    bound = unrelated(1 - 0.05 / blocks, int(images.replace(",", "")), classes)
    where = {1: "", 2: " in both blocks"}.get(blocks, f" in all {blocks} blocks")
    return (f"By chance, with labels dealt at random to {images} pictures of {classes} classes, it would be at most "
            f"{bound:.3f}{where}, 19 times out of 20"
            f"{'; where the same gates gave more with shuffled labels, that counts as chance' * dealt}.")


NONE_SATURATED = "None of {} channels is dead, open or constant."


def test_beside_chance():
    assert findings([0.1, 0.2, 0.3])[0] == (
        f"In all 3 blocks the gate's median ω² is above chance: **SE_2_1** to **SE_2_3**. {chance(3)}")
    assert findings([0.1])[0] == f"In **SE_2_1**, the only block, the gate's median ω² is above chance. {chance(1)}"
    assert findings([0.0])[0] == f"In **SE_2_1**, the only block, the gate's median ω² is not above chance. {chance(1)}"
    assert findings([0.1, 0.3, 0.3, 0.2, 0.3], shuffled=[0.2, 0.2, 0.2, 0.2, 0.1])[0] == (
        "In 3 of 5 blocks the gate's median ω² is above chance: **SE_2_2**, **SE_2_3**, **SE_3_2**; in **SE_2_1**, "
        f"**SE_3_1** it is not. {chance(5)}")
    # the labels dealt out anew raise the bound where there are any, and are not spoken of where there are none
    assert "in **SE_2_1** it is not" in findings([0.2, 0.2, 0.2], shuffled=[0.25, np.nan, 0.1])[0]
    assert findings([0.1, 0.2], drop=["shuffled"])[0] == (
        f"In both blocks the gate's median ω² is above chance: **SE_2_1**, **SE_2_2**. {chance(2, dealt=False)}")
    # one draw of labels may lie low in all channels at once: that alone is not a class-specific gate
    assert findings([0.01, 0.2], shuffled=-0.05)[0].startswith("In 1 of 2 blocks")


def test_of_chance_nothing_more_is_said():
    assert findings([0.1, 0.2], shuffled=0.25) == [
        f"In none of 2 blocks is the gate's median ω² above chance. {chance(2)}", NONE_SATURATED.format(20)]
    found = findings([0.02, 0.01], count=(50, 3), drop=["shuffled", "random", "squeeze"],
                     dead={"SE_2_1": {"dead": 1, "channels": 9}})
    assert found[0] == f"In none of 2 blocks is the gate's median ω² above chance. {chance(2, '53', dealt=False)}"
    assert len(found) == 3 and found[1].startswith("Of 20 channels 1 is dead")
    assert found[2].startswith("1 of 2 classes has fewer")


@pytest.mark.parametrize("blocks", [1, 2, 16])
def test_the_bound_of_chance_is_for_all_blocks_looked_at(blocks):
    bound = unrelated(1 - 0.05 / blocks)
    rest = [0.0] * (blocks - 1)
    below, above = (f"In none of {blocks}", f"In 1 of {blocks}") if rest else (
        f"In **SE_2_1**, the only block, the gate's median ω² is {word}" for word in ("not above", "above"))
    assert findings([bound - 1e-6, *rest])[0].startswith(below)
    assert findings([bound + 1e-6, *rest])[0].startswith(above)
    # a block without a channel left is not looked at
    assert findings([bound + 1e-6, *rest, np.nan])[0].replace(" of which it can be told", "") == (
        findings([bound + 1e-6, *rest])[0])


def test_the_bound_of_chance_is_that_of_a_simulation():
    random, labels = np.random.default_rng(0), np.repeat([0, 1, 2], 5)
    omega = omega_squared(*sums(random.normal(size=(15, 1, 100000)), labels, 3)[3:], 15, 3)
    bound = np.quantile(omega[0], 1 - 0.05 / 2)
    assert bound == pytest.approx(unrelated(1 - 0.05 / 2, 15, 3), abs=0.01)
    assert findings([bound - 0.02, bound - 0.02], count=(5, 5, 5))[0].startswith("In none of 2")
    assert findings([bound - 0.02, bound + 0.02], count=(5, 5, 5))[0].startswith("In 1 of 2")


def test_of_unrelated_labels_nothing_is_claimed():
    blocks, silent, naive, seeds = [f"SE_{2 + i // 4}_{1 + i % 4}" for i in range(16)], 0, 0, 20
    labels = np.repeat([0, 1, 2], 20)
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        # channels of a block go together, and so err together
        normal = random.normal(size=(18, 60, 1, 1)) + 0.3 * random.normal(size=(18, 60, 1, 8))
        *values, weights, z = np.clip(0.5 + 0.1 * normal, 0, 1)
        stats = archive(values, labels, blocks=blocks, random=weights, squeeze=z,
                        shuffled=(random.permutation(labels), np.arange(8)))
        table = specificity(stats)
        found = depth_findings(stats, table)
        silent += found == [f"In none of 16 blocks is the gate's median ω² above chance. {chance(16, '60', 3)}",
                            NONE_SATURATED.format(128)]
        naive += table.loc[table["source"] == "gate", "median"].max() > unrelated(0.95, 60, 3)
    assert silent >= 0.9 * seeds
    assert naive > 0.25 * seeds  # what a bound for one block would have made of it


def test_where_the_class_accounts_for_most():
    assert findings([0.1, 0.3, 0.05, 0.2])[1] == (
        "The class accounts for most in **SE_2_2**, where the median channel's ω² is 0.30, and for least in **SE_2_3** "
        "(0.05): 0.25 apart.")
    assert findings([0.205, 0.2, 0.21])[1] == (
        f"The 3 blocks differ by no more than {unrelated(0.95):.2g}: the median channel's ω² is 0.20 (**SE_2_2**) to "
        "0.21 (**SE_2_3**).")
    # of many pictures little is beyond chance, and yet little
    found = findings([0.002, 0.004, 0], count=(2500, 2500))
    assert found[0] == ("In 2 of 3 blocks the gate's median ω² is above chance: **SE_2_1**, **SE_2_2**; in **SE_2_3** "
                        f"it is not. {chance(3, '5,000')}")
    assert found[1] == (
        "But the class accounts for little in any block: the median channel's ω² is at most 0.004 (**SE_2_2**).")
    # under 0 it is none
    assert "for least in **SE_2_2** (0.00): 0.30 apart." in findings([0.3, -0.02, 0.1])[1]
    assert findings([0.2])[1] == "In **SE_2_1** the class accounts for 0.20 of the median channel's variance (ω²)."


def orders(values):
    """Spearman's rank correlation with the order, and its p-value over all orders, one by one."""
    found = st.spearmanr(range(len(values)), values).statistic
    every = [st.spearmanr(range(len(values)), order).statistic for order in itertools.permutations(values)]
    return found, np.mean(np.abs(every) >= abs(found) - 1e-12)


@pytest.mark.parametrize("values", [
    [0.1, 0.2, 0.3], [0.1, 0.2, 0.15, 0.4], [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4, 0.5], [5, 4, 3, 2, 1.0],
    [0.1, 0.1, 0.3, 0.2, 0.5], [0.3, 0.1, 0.4, 0.1, 0.5, 0.9]])
def test_the_trend_of_few_values_is_exact(values):
    assert trend(pd.Series(values)) == pytest.approx(orders(values))


def test_the_trend_of_many_values_is_scipys_and_of_equal_ones_none():
    values = np.random.default_rng(1).normal(size=12) + 0.1 * np.arange(12)
    assert trend(values) == pytest.approx(tuple(st.spearmanr(range(12), values)))
    # where the two meet they nearly agree
    assert trend(values[:8])[1] == pytest.approx(st.spearmanr(range(8), values[:8]).pvalue, abs=0.02)
    assert np.isnan(trend([0.2, 0.2, 0.2])).all() and np.isnan(trend([0.2])).all()


def test_whether_it_rises_with_depth():
    beside = ("its rank correlation with the order of the {} blocks (Spearman) is {}; blocks in random order have as "
              "much, up or down, in {} of cases.").format
    assert the(findings([0.1, 0.2, 0.3, 0.4, 0.5]), "With depth") == (
        f"With depth the median ω² rises: {beside(5, '+1.00', '2%')} The mean of each stage's blocks, 0.200 and 0.450 "
        "in stages 2 and 3, rises from the one to the other.")
    assert the(findings([0.6, 0.5, 0.4, 0.3, 0.2, 0.1]), "With depth") == (
        f"With depth the median ω² falls: {beside(6, '-1.00', 'under 1%')} The mean of each stage's blocks, 0.500 and "
        "0.200 in stages 2 and 3, falls from the one to the other.")
    # steady, and yet chance often gives it: in 16 of the 120 orders of five
    values = [0.1, 0.3, 0.2, 0.5, 0.4]
    assert orders(values)[0] == pytest.approx(0.8) and orders(values)[1] == pytest.approx(16 / 120)
    assert the(findings(values), "with depth") == (
        f"Whether the median ω² rises or falls with depth cannot be told: {beside(5, '+0.80', '13%')}")
    assert the(findings([0.2, 0.4, 0.1, 0.3, 0.25]), "With depth").startswith(
        "With depth the median ω² neither rises nor falls steadily: ")
    # seldom by chance, and yet not steady
    loose = (np.arange(40) % 5) / 10 + np.arange(40) / 180
    assert 0 < trend(loose)[0] < 0.5 and trend(loose)[1] < 0.05
    assert "neither rises nor falls steadily" in the(findings(loose), "With depth")
    assert not [sentence for sentence in findings([0.2, 0.205, 0.21, 0.215, 0.22]) if "depth" in sentence]
    assert not [sentence for sentence in findings([0.1, 0.3]) if "depth" in sentence]
    # a block without a channel left has no place in it
    assert "5 blocks (Spearman) is +1.00" in the(findings([0.1, np.nan, 0.2, 0.3, 0.4, 0.5]), "With depth")


def test_a_rise_from_stage_to_stage_is_told_from_one_within():
    """Three blocks a stage: each stage higher than the one before, and falling from block to block but once."""
    up = np.array([0.13, 0.12, 0.11, 0.33, 0.32, 0.31, 0.51, 0.52, 0.505])
    assert trend(up)[0] > 0.8
    assert the(findings(up), "With depth").endswith(
        "The mean of each stage's blocks, 0.120, 0.320 and 0.512 in stages 2, 3 and 4, rises in each of 2 steps. "
        "Within stages it rises from the earlier to the later block in 1 of 9 pairs.")
    assert "Within stages it falls from the earlier to the later block in 1 of 9 pairs." in the(
        findings(0.7 - up), "With depth")
    assert "Within stages" not in the(findings(np.sort(up)), "With depth")


def test_a_rise_on_the_whole_is_none_from_stage_to_stage():
    """Stage 3 below stage 2, as in the embedded network, and the trend of the blocks all the same."""
    values = np.array([0.24, 0.23, 0.21, 0.25, 0.19, 0.20, 0.38, 0.26, 0.25, 0.30, 0.32, 0.52])
    correlation, p = st.spearmanr(range(12), values)
    assert correlation > 0.5 and p < 0.05
    means = values.reshape(4, 3).mean(1)
    assert means[1] < means[0] < means[2] < means[3]
    for found, verb in ((findings(values), "rises"), (findings(0.7 - values), "falls")):
        sentence = the(found, "With depth")
        assert sentence.startswith(f"With depth the median ω² {verb} on the whole: ")
        shown = means if verb == "rises" else 0.7 - means
        assert (f"The mean of each stage's blocks, {', '.join(f'{mean:.3f}' for mean in shown[:3])} and {shown[3]:.3f} "
                f"in stages 2, 3, 4 and 5, {verb} in 2 of 3 steps, not from stage 2 to 3.") in sentence


@pytest.mark.parametrize(("values", "cases"), [([0.1, 0.2, 0.3], 3), ([0.4, 0.3, 0.2], 3), ([0.1, 0.2, 0.3, 0.4], 12)])
def test_three_or_four_blocks_tell_nothing_of_depth(values, cases):
    """A perfect order of them is as frequent as that by chance."""
    assert orders(values)[1] == pytest.approx(1 / cases) and 1 / cases > 0.05
    assert the(findings(values), "with depth") == (
        f"Whether it rises or falls with depth cannot be told from {len(values)} blocks: those in random order all "
        f"rise, or all fall, in 1 of {cases} cases.")


def test_what_chance_alone_orders_is_seldom_called_a_rise():
    random, called = np.random.default_rng(0), 0
    for _ in range(200):
        sentence, = (s for s in findings(0.2 + 0.5 * random.random(10), drop=["random", "squeeze"]) if "depth" in s)
        called += " rises:" in sentence or " falls:" in sentence
    assert called <= 20  # 5 % and a little; a correlation of .5 alone would be 14 %


@pytest.mark.parametrize(("half", "margin"), [(10, unrelated(0.95, 20)), (50, unrelated(0.95)), (2500, 0.01)])
def test_differences_count_from_what_chance_gives_a_channel(half, margin):
    assert unrelated(0.95, 5000) < 0.01 < unrelated(0.95, 100)
    for difference, counts in ((0.9 * margin, False), (1.1 * margin, True)):
        found = findings([0.5, 0.5, 0.5 + difference], count=(half, half), random=0.5, squeeze=0.5 + 2 * difference)
        assert found[1].startswith("The class accounts for most" if counts else "The 3 blocks differ by no more than")
        assert any("depth" in sentence for sentence in found) == counts
        assert (f"variance in {int(counts)}, for less in 0 and for as much (within {margin:.2g}) in {3 - counts} of"
                in the(found, "random weights"))
        found = findings([0.5, 0.5], count=(half, half), random=[0.5 + difference, 0.5],
                         squeeze=[0.5 - difference, 0.5])
        assert f"for less in {int(counts)} and" in the(found, "random weights")
        assert f"variance in {int(counts)}, for less in 0" in the(found, "squeezed input")


@pytest.mark.parametrize(("gate", "control", "counts"), [
    ([0.3, 0.3, 0.1], [0.1, 0.1, 0.1], "in 2, for less in 0 and for as much (within {}) in 1 of 3 blocks (median "
     "difference of ω² +0.20)"),
    ([0.1, 0.1, 0.1], [0.2, 0.3, 0.105], "in 0, for less in 2 and for as much (within {}) in 1 of 3 blocks (median "
     "difference of ω² -0.10)"),
    ([0.2, 0.1], [0.1, 0.2], "in 1, for less in 1 and for as much (within {}) in 0 of 2 blocks (median difference of "
     "ω² 0.00)"),
    # ω² under 0 is none at all, and none is not more than none
    ([0.2, -0.1, 0.0], [0.2, 0.0, -0.1], "in 0, for less in 0 and for as much (within {}) in 3 of 3 blocks (median "
     "difference of ω² 0.00)"),
    ([0.3, 0.3, 0.1], [0.1, np.nan, 0.1], "in 1, for less in 0 and for as much (within {}) in 1 of 2 blocks (median "
     "difference of ω² +0.10); in **SE_2_2** the control does not vary"),
])
def test_beside_random_weights_and_the_input(gate, control, counts):
    found, counts = findings(gate, random=control, squeeze=control), counts.format(f"{unrelated(0.95):.2g}")
    assert the(found, "random weights") == (
        "Beside the same network with random weights, drawn once, the class accounts for more of the median channel's "
        f"variance {counts}. Another draw of the weights may give other numbers.")
    assert the(found, "squeezed input") == (
        f"Beside its own squeezed input z, the class accounts for more of the median channel's variance {counts}. "
        "These are shares of variance, not of what can be known: a gate computed from z alone holds no more about the "
        "class than z does.")


def test_a_gate_holds_no_more_of_the_class_than_its_input_whatever_its_share_of_variance():
    """Noise in z that the gate drops: ω² rises from z to the gate, and the class can be told from z just as well."""
    labels, random = np.repeat([0, 1, 2], 60), np.random.default_rng(0)
    z = np.stack([labels + 0.1 * random.normal(size=180), 4 * random.normal(size=180)], 1)[:, None]
    gate = (z[..., :1] / 4 + 0.3) * np.ones(2)  # a function of z
    stats = archive(np.clip(gate, 0, 1), labels, blocks=("SE_2_1",), squeeze=z)
    table = specificity(stats).set_index("source")["median"]
    assert table["gate"] > table["squeeze"] + 0.3
    told = "no more about the class than z does"
    assert told in the(depth_findings(stats, specificity(stats)), "squeezed input")


def test_what_lies_within_the_range_of_the_draws_is_as_much():
    found = findings([0.35, 0.2, 0.05], random=0.2, draws=(0.1, 0.3))
    assert the(found, "random weights") == (
        "Beside the same network with random weights, drawn 3 times, the class accounts for more of the median "
        f"channel's variance in 1, for less in 1 and for as much (within {unrelated(0.95):.2g}) in 1 of 3 blocks "
        "(median difference of ω² 0.00). What lies within the range of the draws counts as being as much; "
        "differences are from the end of that range that is nearer.")


def test_ranks_and_what_a_classifier_tells_beside_the_shares():
    found = findings([0.4, 0.3, 0.2], squeeze=0.1, more={
        "gate": {"rank": [0.1, 0.1, 0.3], "decoded": [0.20, 0.30, 0.25]},
        "squeeze": {"rank": [0.3, 0.3, 0.1], "decoded": [0.40, 0.31, 0.10]}})
    assert the(found, "squeezed input").endswith(
        "By ranks, in which a few outlying pictures weigh no more than others, it is more in 1 and less in 2 of 3 "
        "blocks.")
    assert the(found, "classifier") == (
        "How much of the class each of them holds: a linear classifier that looks at all channels tells the class of "
        "10.0% to 40.0% of 1,000 pictures from z, and of 20.0% to 30.0% from the gate; chance is 50.0%. From z more "
        "are told in 1 of 3 blocks, from the gate more in 1 (by over two standard errors).")
    one = findings([0.4], squeeze=0.1, more={"gate": {"decoded": [0.2]}, "squeeze": {"decoded": [0.4]}})
    assert the(one, "classifier").endswith("From z more are told, by over two standard errors.")
    assert not [sentence for sentence in findings([0.4]) if "ranks" in sentence or "classifier" in sentence]


def test_a_classifier_is_judged_by_the_pictures_it_was_asked_for():
    """Of rare classes it is not: they count neither to the pictures nor to chance, and the margin is that of fewer."""
    told = {"asked": [85] * 3, "among": [15] * 3}
    found = findings([0.4, 0.3, np.nan], count=(50,) * 20, squeeze=0.1, more={
        "gate": {"decoded": [0.20, 0.30, 0.08]} | told, "squeeze": {"decoded": [0.30, 0.50, 0.60]} | told})
    assert the(found, "classifier") == (
        "How much of the class each of them holds: a linear classifier that looks at all channels tells the class of "
        "30.0% to 50.0% of 85 pictures from z, and of 20.0% to 30.0% from the gate; chance is 6.7%. Only classes of 5 "
        "sampled pictures or more are asked for, 15. From z more are told in 1 of 2 blocks, from the gate more in 0 "
        "(by over two standard errors).")


def test_chance_of_classes_of_unequal_size():
    """Of noise most pictures of the large class are told, and hardly any of the small one."""
    counts = np.array([300, 6])
    labels, random = torch.from_numpy(np.repeat([0, 1], counts)), np.random.default_rng(0)
    shares = [decoded(torch.from_numpy(random.normal(size=(306, 32))), labels) for _ in range(5)]
    assert 0.6 < np.mean(shares) < 300 / 306
    assert by_chance(counts) == "50.0% to 98.0%, the share of the largest class"
    assert by_chance(np.array([50] * 8)) == "12.5%"
    told = {"decoded": [0.9], "asked": [306], "among": [2]}
    found = findings([0.4], count=(300, 6, 3), squeeze=0.1, more={"gate": told, "squeeze": told})
    assert "; chance is 50.0% to 98.0%, the share of the largest class. Only classes of 5 sampled" in the(
        found, "classifier")


@pytest.mark.parametrize("counts", [(10, 10, 10), (40, 3)])
def test_the_best_of_many_channels_by_chance(counts):
    """Beside 400 blocks of noise: the bound is exceeded in 5 % of them."""
    labels, random = np.repeat(np.arange(len(counts)), counts), np.random.default_rng(0)
    best, farthest = [], []
    for _ in range(400):
        values = random.normal(size=(len(labels), 64))
        groups = [values[labels == k] for k in range(len(counts))]
        F, k, n = st.f_oneway(*groups).statistic, len(counts), len(labels)
        best.append(((k - 1) * (F - 1) / ((k - 1) * (F - 1) + n)).max())
        t = st.ttest_ind(groups[0], groups[1]).statistic
        farthest.append(np.abs(t).max() * np.sqrt(1 / counts[0] + 1 / counts[1]))
    stats = archive(random.random((len(labels), 1, 64)), labels)
    assert 0.02 < np.mean(np.array(best) > best_by_chance(stats, "SE_2_1")) < 0.08
    assert 0.02 < np.mean(np.array(farthest) > farthest_by_chance(stats, "SE_2_1", 0, 1)) < 0.08
    alone = archive(random.random((4, 1, 8)), np.array([0, 1, 2, 3]))
    assert np.isnan(best_by_chance(alone, "SE_2_1")) and np.isnan(farthest_by_chance(alone, "SE_2_1", 0, 1))


def test_specificity_of_several_draws_and_of_ranks(full):
    table = specificity(full).set_index(["label", "source"])
    images, classes = int(full.count.sum()), int((full.count > 0).sum())
    for block in full.blocks:
        medians, ranks = [], []
        for draw in range(2):
            between, within = (part[-1] for part in full.variance(block, "random", draw=draw))
            error = within / (images - classes)
            medians.append(np.median((between - (classes - 1) * error) / (between + within + error)))
            ranks.append(np.median(full.rank_specificity(block, "random", draw=draw)))
        row = table.loc[block.label, "random"]
        assert row["median"] == pytest.approx(np.mean(medians)) and row["rank"] == pytest.approx(np.mean(ranks))
        assert (row["low"], row["high"]) == pytest.approx((min(medians), max(medians)))
        gate = table.loc[block.label, "gate"]
        assert gate["rank"] == pytest.approx(np.median(full.rank_specificity(block)))
        assert gate["decoded"] == pytest.approx(full.measures(block)["decoded"], nan_ok=True)
    assert set(table["draws"]) == {1, 2} and table.xs("shuffled", level="source")["rank"].isna().all()


def test_missing_controls_are_said_to_be_missing():
    assert the(findings([0.1, 0.2], drop=["random"]), "no comparison") == (
        "There is no comparison with random weights: the run had no such control.")
    found = findings([0.1, 0.2], drop=["shuffled", "squeeze"], random=np.nan)
    assert the(found, "no comparison") == (
        "There is no comparison with random weights or the squeezed input z: the run had no such control.")
    assert not [sentence for sentence in found if "Beside" in sentence or "shuffled" in sentence]
    # a control of some blocks is compared in those
    assert "of 1 block (median difference of ω² +0.10); in **SE_2_1** the control does not vary." in the(
        findings([0.1, 0.2], random=[np.nan, 0.1]), "random weights")


@pytest.mark.parametrize(("control", "word"), [
    (0.3, "more of the median channel's variance (difference of ω² +0.20)"),
    (0.7, "less of the median channel's variance (difference of ω² -0.20)"),
    (0.49, f"as much (within {unrelated(0.95):.2g}) of the median channel's variance (difference of ω² +0.01)")])
def test_of_one_block_nothing_is_counted(control, word):
    found = findings([0.5], random=control, squeeze=control)
    for source in ("random weights", "squeezed input"):
        assert f"the class accounts for {word}. " in the(found, source)
    assert not [sentence for sentence in found if "of 1 block" in sentence]


def test_two_decimals_do_not_hide_that_a_difference_is_beyond_the_margin():
    """ "As much (within 0.029)" and a difference of −0.03 contradict each other."""
    assert 0.028 < unrelated(0.95) < 0.0295
    assert "for as much (within 0.029) of the median channel's variance (difference of ω² -0.028)" in the(
        findings([0.472], squeeze=0.5), "squeezed input")
    assert "for less of the median channel's variance (difference of ω² -0.03)" in the(
        findings([0.47], squeeze=0.5), "squeezed input")


def test_a_block_of_which_nothing_is_told_is_in_no_range():
    found = findings([0.1, np.nan, 0.3, 0.2])[0]
    assert found.startswith("In all 3 blocks of which it can be told the gate's median ω² is above chance: **SE_2_1**, "
                            "**SE_2_3**, **SE_3_1**. By chance,")
    assert "In **SE_2_1**, the only block of which it can be told, the" in findings([0.1, np.nan])[0]
    assert "In none of 2 blocks of which it can be told is" in findings([0.0, np.nan, 0.0])[0]
    assert findings([0.1, np.nan, 0.0])[0].startswith(
        "In 1 of 2 blocks of which it can be told the gate's median ω² is above chance: **SE_2_1**; in **SE_2_3** it")


def test_a_block_that_falls_out_is_named_with_the_reason():
    found = findings([0.1, np.nan, 0.3, 0.2])
    assert found[0].startswith("In all 3 blocks") and found[1] == (
        "Of the network's 4 blocks there is no number of **SE_2_2**, whose 10 channels are all open.")
    found = findings([0.1, np.nan, np.nan], dead={
        "SE_2_2": {"dead": 7, "open": 0, "constant": 3}, "SE_2_3": {"dead": 1, "open": 0}})
    assert found[1] == ("Of the network's 3 blocks there is no number of **SE_2_2**, whose 10 channels are dead (7) or "
                        "constant (3); **SE_2_3**, whose 1 channel is dead.")
    assert not [sentence for sentence in findings([0.1, 0.2]) if "no number" in sentence]


def test_of_a_network_with_a_gate_that_is_always_open():
    """Two blocks of three have numbers; the third's 6 channels are open for every picture."""
    stats = archive([GATES, np.full_like(GATES, 0.999), GATES], LABELS, blocks=("SE_2_1", "SE_2_2", "SE_3_1"),
                    random=GATES, squeeze=GATES)
    found = depth_findings(stats, specificity(stats))
    assert "Of the network's 3 blocks there is no number of **SE_2_2**, whose 6 channels are all open." in found
    assert "of 2 blocks" in the(found, "random weights") and "Of 18 channels 0 are dead" in the(found, "dead (")


def test_saturated_channels_are_counted():
    assert the(findings([0.1, 0.2]), "dead") == "None of 20 channels is dead, open or constant."
    dead = {"SE_2_1": {"dead": 1, "channels": 9}, "SE_2_2": {"open": 3, "constant": 2, "channels": 5}}
    assert the(findings([0.1, 0.2], dead=dead), "dead (") == (
        "Of 20 channels 1 is dead (under 0.05 in 99% of the pictures or more), 3 open (over 0.95) and 2 constant "
        "between; the most of one block are in **SE_2_2**: 5. They are left out of ω².")
    found = findings([np.nan], dead={"SE_2_1": {"dead": 10, "open": 0}})
    assert found[0] == "How class-specific the gates are cannot be told: every channel is dead, open or constant."
    assert "Of 10 channels 10 are dead" in found[1] and len(found) == 2


def test_few_pictures_are_said():
    assert not [sentence for sentence in findings([0.1, 0.2], count=(5, 5)) if "fewer" in sentence]
    assert findings([0.1, 0.2], count=(4, 5, 3))[-1] == (
        "2 of 3 classes have fewer than 5 pictures (the smallest has 3): their means are unsure.")
    assert findings([0.1, 0.2], count=(4, 5))[-1] == (
        "1 of 2 classes has fewer than 5 pictures (the smallest has 4): its mean is unsure.")
    assert findings([0.1, 0.2], count=(1, 1)) == [
        "How class-specific the gates are cannot be told from 2 labelled pictures of 2 classes: that takes at least "
        "two classes and more pictures than classes."]
    assert "from 9 labelled pictures of 1 class:" in findings([0.1, 0.2], count=(9,))[0]
