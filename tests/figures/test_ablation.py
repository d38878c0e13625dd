"""The figure of trained variants with names that anyone may give them."""
import pandas as pd

from senet_viz.figures import trained_variants


def table(labels) -> pd.DataFrame:
    rows = pd.DataFrame({"label": labels, "difference": [0.01 * i for i in range(len(labels))], "top1": 0.5,
                         "trained": 2, "dimension": 2.0})
    return rows.assign(low=rows["difference"] - 0.005, high=rows["difference"] + 0.005,
                       low_both=rows["difference"] - 0.015, high_both=rows["difference"] + 0.015)


def draw(rows: pd.DataFrame, published: dict):
    seeds = pd.concat([rows[["label", "difference"]].assign(seed=seed) for seed in (0, 1)])
    return trained_variants(rows, seeds, pd.Series(published, dtype=float), reference="SE, r = 16")


def test_a_row_a_variant(ugly):
    figure = draw(table([ugly or "empty", "max squeeze", "POST"]), {"POST": -0.005})
    rows = figure.layout.yaxis.categoryarray
    assert len(set(rows)) == 3
    for trace in figure.data:
        assert set(trace.y) <= set(rows) and "<b>bold" not in "".join(trace.y)
    assert [trace.name for trace in figure.data if trace.showlegend is not False] == [
        "one seed", "all seeds", "published"]


def test_filled_where_the_interval_over_both_leaves_0_out():
    figure = draw(table(["a", "b", "c"]), {})
    [dots] = [trace for trace in figure.data if trace.name == "all seeds"]
    assert list(dots.marker.symbol) == ["circle-open", "circle-open", "circle"]  # 0 ± .015, .01 ± .015, .02 ± .015
    assert "leaves 0 out for 1" in figure.layout.meta["alt"]


def test_one_seed_has_no_thin_bar():
    rows = table(["a", "b"]).assign(low_both=float("nan"), high_both=float("nan"))
    figure = draw(rows, {})
    assert [trace.name for trace in figure.data] == ["one seed", "all seeds"]


def test_what_lies_far_beyond_the_others_is_a_number_at_the_edge():
    rows = table(["a", "b", "c", "d"])
    rows.loc[3, ["difference", "low", "high", "low_both", "high_both"]] = [-0.3, -0.31, -0.29, -0.4, -0.2]
    figure = draw(rows, {})
    low, high = figure.layout.xaxis.range
    assert low < -0.015 and 0.035 < high < 0.06 and low > -0.06  # the others' intervals fit, and fill the room
    [said] = figure.layout.annotations
    assert (said.text, said.y, said.x) == ("← -30.0%", "d", low)
    assert not draw(table(["a", "b"]), {}).layout.annotations
