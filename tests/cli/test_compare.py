"""``senet-viz compare``: tables, sentences, files; one sentence on bad input."""
import numpy as np
import pandas as pd
import pytest

import senet_viz as sv
from senet_viz import tables
from senet_viz.collecting import collect
from senet_viz.collecting.shards import Settings
from senet_viz.statistics import comparison, open_statistics
from tests.cli.checks import document, picture, printed, refused
from tests.comparing import data_of

SMALL = Settings(batch_size=8, shard_size=20)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders: two networks of equal blocks over the same pictures, and one of other blocks over others."""
    from tests.comparing import near_model
    from tests.runs import make_model
    root = tmp_path_factory.mktemp("runs")
    data, others = data_of(root / "data", range(8)), data_of(root / "others", range(20, 28))
    for name, model, pictures in (("one", make_model("se"), data), ("two", near_model(), data),
                                  ("three", make_model("sk"), others)):
        collect(model, pictures, root / name, SMALL, workers=0, progress=False)
    return root


def test_two_runs(capsys, runs):
    said = printed(capsys, "compare", runs / "one", runs / "two")
    stats = [open_statistics(runs / name) for name in ("one", "two")]
    lines = said.splitlines()
    assert lines[0].split()[:2] == ["run", "block"]
    table = comparison.differences(*stats)
    for row in table[(table["level"] == "stage") & (table["measure"] == "mean")].itertuples():
        line = next(line for line in lines if f"{row.place}  mean gate" in line)
        assert f"{row.difference:+z.3g}" in line and f"{row.low:+z.3g} to {row.high:+z.3g}" in line
    assert "Both looked at the same 40 pictures" in said and "CKA of the class means" in said
    assert "CKA of pictures" not in said
    assert "The two kept whole gates of 40 pictures in common, and it takes 50" in said
    assert "**" not in said and "\\" not in said


def test_every_further_run_is_compared_with_the_first(capsys, runs):
    found = document(capsys, "compare", runs / "one", runs / "two", runs / "three")
    assert {row["run"] for row in found["blocks"]} == {"se", "near", "sk"}
    assert {row["beside"] for row in found["differences"]} == {"near", "sk"}
    assert {row["beside"] for row in found["similarity"]} == {"near"}  # the third has no class in common
    assert {row["beside"] for row in found["channels"]} == {"near"}
    assert any("have no classes in common" in sentence for sentence in found["found"])
    assert any("different pictures" in sentence for sentence in found["found"])


def test_one_long_table(capsys, runs, tmp_path):
    printed(capsys, "compare", runs / "one", runs / "two", "--out", tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv")
    assert list(table.columns) == ["quantity", "run", "beside", "level", "place", "beside_place", "value", "low",
                                   "high"]
    stats = [open_statistics(runs / name) for name in ("one", "two")]
    curves = comparison.curves(dict(zip(("se", "near"), stats)))
    rows = table[(table["quantity"] == "mean") & table["beside"].isna()]
    np.testing.assert_allclose(rows["value"], curves["mean"])
    changes = comparison.channel_changes(*stats)
    rows = table[(table["quantity"] == "mean") & (table["level"] == "channel")]
    assert len(rows) == len(changes)
    np.testing.assert_allclose(sorted(rows["value"]), sorted(changes["difference"]))
    assert {"cka classes", "cka classes, shuffled", "omega_squared"} <= set(table["quantity"])


def test_models_on_photos(capsys, file, selective, photos, tmp_path):
    found = document(capsys, "compare", "--models", file, selective, "--photos", *photos, "--device", "cpu")
    for name in (file, selective):
        model = sv.load(name, device="cpu")
        views = {str(path): sv.record(model, model.batch([sv.open_image(path)])) for path in photos}
        table = tables.summary(views).groupby(["picture", "label"], sort=False).last()
        rows = [row for row in found["photos"] if row["run"] == name]
        assert len(rows) == 2 * len(model.blocks)
        for row in rows:
            for column in ("mean", "std", "below", "above"):
                assert row[column] == pytest.approx(table.loc[(row["picture"], row["label"]), column])
        apart = {row["block"]: row["distance"] for row in found["distances"] if row["run"] == name}
        for block in model.blocks:
            one, two = (view.gates[block.name][0, -1] for view in views.values())
            assert apart[block.name] == pytest.approx(float((one - two).square().mean().sqrt()), rel=1e-5)
    said = printed(capsys, "compare", "--models", file, selective, "--photos", *photos, "--out", tmp_path / "out.csv",
                   "--device", "cpu")
    assert "2 photos tell of these photos only" in said and "a.png, b, with a comma.png" in said
    table = pd.read_csv(tmp_path / "out.csv")
    assert set(table["quantity"]) == {"mean", "std", "below", "above", "distance"}
    assert len(table) == 4 * len(found["photos"]) + len(found["distances"])


def test_a_network_twice(capsys, file, photos):
    found = document(capsys, "compare", "--models", file, file, "--photos", photos[0], "--device", "cpu")
    names = list(dict.fromkeys(row["run"] for row in found["photos"]))
    assert names == [file, f"{file} [2]"] and found["distances"] == []
    one, two = ([row["mean"] for row in found["photos"] if row["run"] == name] for name in names)
    assert one == two


def test_bad_input(capsys, runs, photos, file, folder, tmp_path):
    refused(capsys, ["compare"], "compare takes two runs or more")
    refused(capsys, ["compare", runs / "one"], "compare takes two runs or more")
    refused(capsys, ["compare", runs / "one", tmp_path / "none"], "nor an embedded model of that name; these are: demo")
    refused(capsys, ["compare", runs / "one", "demo/nothing"], "there is no folder demo/nothing, nor an embedded model")
    refused(capsys, ["compare", runs / "one", folder], "holds no statistics")
    refused(capsys, ["compare", runs / "one", runs / "two", "--zoom", "2"], "was not looked at with zoom 2, but with 1")
    refused(capsys, ["compare", runs / "one", runs / "two", "--evaluation", tmp_path / "no"], "there is no folder")
    refused(capsys, ["compare", runs / "one", runs / "two", "--out", tmp_path / "no" / "x.csv"], "there is no folder")
    refused(capsys, ["compare", runs / "one", runs / "two", "--out", tmp_path], "is a folder, not a file to write")
    refused(capsys, ["compare", "--models", file, file], "--photos the pictures to show them")
    refused(capsys, ["compare", "--models", file, "--photos", photos[0]], "takes two networks or more")
    refused(capsys, ["compare", runs / "one", "--models", file, file, "--photos", photos[0]],
            "compare takes either runs, or --models and --photos")
    refused(capsys, ["compare", "--models", file, file, "--photos", tmp_path / "none.png"], "none.png")


def test_networks_without_gates(capsys, file, photos, monkeypatch):
    import torchvision

    import senet_viz.models

    plain = sv.Model(torchvision.models.resnet18(num_classes=3).eval(), sv.load(file, device="cpu").transform,
                     ["a", "b", "c"], name="plain")
    monkeypatch.setattr(senet_viz.models, "load", lambda name, **options: plain)
    refused(capsys, ["compare", "--models", "plain", "other", "--photos", photos[0]],
            "plain has no attention blocks, so there are no gates to compare.")


def test_pictures_of_one_name(capsys, runs, tmp_path):
    """A file that is no picture is one sentence, with its name."""
    (tmp_path / "text.png").write_bytes(b"no picture")
    (tmp_path / "a.png").write_bytes(picture(1))
    refused(capsys, ["compare", "--models", "demo/se_resnet50_slim", "demo/sknet50_slim", "--photos",
                     tmp_path / "a.png", tmp_path / "text.png"], "text.png: ")
