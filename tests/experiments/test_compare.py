"""Networks side by side on photos, and with their gates at the mean."""
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

import senet_viz as sv
from senet_viz.experiments import compare
from senet_viz.experiments.compare_sections import PhotoComparison, static
from tests.runs import make_batch, make_model

LOADING = {"SE": "from tests.runs import make_model\nmodel = make_model('se')", "SK": "model = make_model('sk')"}


@pytest.fixture(scope="module")
def views():
    models = {"SE": make_model("se"), "SK": make_model("sk")}
    return {run: {f"photo {i}": sv.record(model, make_batch(1, seed=i)) for i in range(3)}
            for run, model in models.items()}


def test_photos(views):
    table = compare.photos(views)
    for run, of in views.items():
        for name, view in of.items():
            rows = table[(table["run"] == run) & (table["picture"] == name)].set_index("block")
            assert list(rows.index) == [block.name for block in view.blocks]
            for block in view.blocks:
                gate = view.gates[block.name][0, -1].double().numpy()
                row = rows.loc[block.name]
                assert (row["mean"], row["std"]) == pytest.approx((gate.mean(), gate.std()))
                assert (row["below"], row["above"]) == pytest.approx(((gate < 0.05).mean(), (gate > 0.95).mean()))
                assert row["position"] == 0.5  # each stage of these networks has one block


def test_distances(views):
    table = compare.distances(views)
    assert len(table) == sum(3 * len(next(iter(of.values())).blocks) for of in views.values())
    for row in table.itertuples():
        one, two = (views[row.run][name].gates[row.block][0, -1].double().numpy() for name in (row.first, row.second))
        assert row.distance == pytest.approx(np.linalg.norm(one - two) / np.sqrt(len(one)))
    alone = compare.distances({run: dict(list(of.items())[:1]) for run, of in views.items()})
    assert alone.empty and "distance" in alone


def test_photos_in_words(views):
    table, apart = compare.photos(views), compare.distances(views)
    said = compare.photo_findings(table, apart)
    assert len(said) == 3 and said[-1].startswith("3 photos tell of these photos only")
    for run, sentence in zip(views, said):
        means = table[table["run"] == run].groupby("label", sort=False)["mean"].mean()
        of = apart[apart["run"] == run].groupby("label", sort=False)["distance"].mean()
        assert f"is {means.min():.2f} (**{means.idxmin()}**) to {means.max():.2f} (**{means.idxmax()}**)" in sentence
        assert f"(3 pairs) are {of.min():.3f} (**{of.idxmin()}**) to {of.max():.3f} (**{of.idxmax()}**)" in sentence
    one = compare.photo_findings(table[table["picture"] == "photo 0"], apart.iloc[:0])
    assert one[-1].startswith("1 photo tells") and "apart" not in one[0]


def test_scripts_give_the_tables(tmp_path, capsys):
    from tests.runs import picture
    paths = {}
    for i in range(2):
        (tmp_path / f"{i}.png").write_bytes(picture(i))
        paths[f"photo {i}"] = str(tmp_path / f"{i}.png")
    models = {"SE": make_model("se"), "SK": make_model("sk")}
    views = {run: {name: sv.record(model, model.batch([sv.open_image(path)])) for name, path in paths.items()}
             for run, model in models.items()}
    sections = PhotoComparison(views, LOADING, paths)
    for section in (sections.gates(), sections.distances()):
        names: dict = {}
        exec(compile(section.script, "script", "exec"), names)
        pd.testing.assert_frame_equal(names["result"], section.table, rtol=1e-5)
        assert capsys.readouterr().out
    assert PhotoComparison({run: {"photo 0": of["photo 0"]} for run, of in views.items()}, LOADING, paths
                           ).distances() is None


def evaluated(*rows) -> pd.DataFrame:
    """Of edits: (edit, blocks, difference, low_classes, high_classes)."""
    columns = ["edit", "blocks", "difference", "low_classes", "high_classes"]
    table = pd.DataFrame([("unedited", "", 0.0, 0.0, 0.0), *rows], columns=columns)
    return table.assign(images=100, top1=0.5 + table["difference"], low=table["low_classes"],
                        high=table["high_classes"])


def test_static_gates():
    model = make_model("se")
    first, last = model.blocks[0], model.blocks[-1]
    one = evaluated((f"stage {first.stage}=mean", first.label, -0.2, -0.25, -0.15),
                    (f"stage {first.stage}=shuffle classes", first.label, -0.3, -0.35, -0.25),
                    (f"{last.label}=1", last.label, -0.3, -0.4, -0.2))
    two = evaluated((f"stage {first.stage}=mean", first.label, 0.0, -0.002, 0.002),
                    (f"stage {first.stage}=shuffle classes", first.label, -0.001, -0.002, 0.001))
    table = compare.static_gates({"one": (one, model.blocks), "two": (two, model.blocks)})
    stages = table[table["level"] == "stage"]
    place = stages["place"].iloc[0]
    assert list(zip(stages["run"], stages["place"], stages["verdict"])) == [
        ("one", place, "dynamic"), ("two", place, "nearly static")]
    assert stages["top1"].tolist() == [0.3, 0.5] and stages["low"].tolist() == [-0.25, -0.002]
    said = compare.static_findings(table, ["one", "two", "three"])
    assert said[0] == (f"With the mean gates in **{place}** top-1 changes, of **one** by -20.0 points (-25.0 to "
                       f"-15.0): dynamic; of **two** by +0.0 points (-0.2 to +0.2): nearly static. The intervals of "
                       f"**two** and of **one** do not meet.")
    near = evaluated((f"stage {first.stage}=mean", first.label, -0.1, -0.16, -0.04))
    close = compare.static_gates({"one": (one, model.blocks), "two": (two, model.blocks), "near": (near, model.blocks)})
    assert close["apart"].isna().all()
    assert compare.static_findings(close, ["one", "two", "near"])[0].endswith(
        "The intervals of **two** and of **one** do not meet. Those of **near** and of **one** meet, which does not "
        "tell that they change alike.")
    assert said[-2] == "In brackets: 95\u00a0% intervals for other classes of the same kind."
    assert said[-1].startswith("No accuracy with gates at their mean is beside **three**")
    only = evaluated(("*=mean", last.label, 0.0, -0.002, 0.002))
    alone = compare.static_gates({"one": (one, model.blocks), "only": (only, model.blocks[-1:])})
    assert alone.iloc[-1][["run", "level", "place", "difference"]].tolist() == ["only", "stage", "all blocks", 0.0]
    section = static(stages, {"one": "a folder", "two": "another"})
    assert section.figure is not None and "'a folder'" in section.script
    compile(section.script, "script", "exec")
    assert compare.static_findings(compare.static_gates({}), ["one"])[0].startswith("No accuracy")


def written(folder, right: dict[str, np.ndarray], labels: np.ndarray) -> pd.DataFrame:
    """An evaluation with the rows of its pictures, and intervals that do not matter."""
    folder.mkdir()
    count = len(labels)
    pq.write_table(pa.table({
        "edit": np.repeat(list(right), count), "index": np.tile(np.arange(count), len(right)),
        "label": np.tile(labels, len(right)), "right1": np.concatenate(list(right.values()))}),
        folder / "images.parquet")
    start = right["unedited"].mean()
    table = evaluated(*((edit, "", values.mean() - start, values.mean() - start - 0.1, values.mean() - start + 0.1)
                        for edit, values in right.items() if edit != "unedited"))
    table.attrs |= {"folder": str(folder), "pictures": "these"}
    return table


def test_networks_over_the_same_pictures_are_compared_picture_by_picture(tmp_path):
    """Both lose the same pictures and one some more: surely more, though their intervals meet."""
    model, rng, labels = make_model("se"), np.random.default_rng(0), np.arange(600) % 10
    edit = f"stage {model.blocks[0].stage}=mean"
    start, lost = rng.random(600) < 0.8, rng.random(600) < 0.3
    more = lost | (rng.random(600) < 0.06)
    tables = {"one": written(tmp_path / "one", {"unedited": start, edit: start & ~lost}, labels),
              "two": written(tmp_path / "two", {"unedited": start, edit: start & ~more}, labels)}
    given = {name: (table, model.blocks) for name, table in tables.items()}
    found = compare.static_gates(given).set_index("run")
    change = (start & ~more).astype(int) - (start & ~lost)
    assert found.loc["two", "apart"] == pytest.approx(change.mean())
    each = pd.Series(change).groupby(labels).mean()
    low, high = stats.t.interval(0.95, 9, each.mean(), stats.sem(each))
    assert found.loc["two", "apart_low"] <= low + 1e-12 and high - 1e-12 <= found.loc["two", "apart_high"] < 0
    assert pd.isna(found.loc["one", "apart"]) and found.loc["two", "high"] > found.loc["one", "low"]
    said = compare.static_findings(compare.static_gates(given), list(given))[0]
    assert f"the change of **two** less that of **one** is {100 * change.mean():+.1f} points (" in said
    assert said.endswith("): it keeps less.") and "meet" not in said
    swapped = dict(reversed(given.items()))
    assert compare.static_findings(compare.static_gates(swapped), list(swapped))[0].endswith("): it keeps more.")
    alike = {"one": given["one"], "again": given["one"]}
    assert compare.static_findings(compare.static_gates(alike), list(alike))[0].endswith(
        "which of the two keeps more cannot be told.")
    # of other pictures nothing is paired
    tables["two"].attrs["pictures"] = "others"
    assert compare.static_gates(given)["apart"].isna().all()
