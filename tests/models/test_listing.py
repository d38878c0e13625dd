import json
from pathlib import Path

import huggingface_hub
import pandas as pd
import pytest
import timm
import torch
import torchvision

import senet_viz as sv
import senet_viz.models.count
from senet_viz.models import catalog, embedded_models, remote
from senet_viz.models.cache import Remote
from senet_viz.models.count import place
from senet_viz.models.download import UnknownModel
from senet_viz.models.listing import TABLE, entries, published

pytestmark = pytest.mark.usefixtures("one_thread")
FILE = pd.read_csv(TABLE, keep_default_na=False).set_index("name")


def test_columns_and_order():
    table = catalog()
    assert list(table.columns) == ["name", "kind", "blocks", "parameters", "input", "classes", "top1", "top1_input",
                                   "licence", "downloaded"]
    assert table["name"].is_unique
    assert table["name"].head(len(embedded_models())).tolist() == embedded_models()
    assert len(table) > 400 and (table["blocks"] > 0).all()
    assert set(table["name"].str.split("/").str[0]) == {"demo", "timm", "torchvision"}


def test_what_timm_says_of_itself():
    rows = FILE[FILE.index.str.startswith("timm/")]
    assert len(rows) == 421
    for row in rows.itertuples():
        config = timm.get_pretrained_cfg(row.Index.removeprefix("timm/"))
        if config is None and tuple(map(int, timm.__version__.split(".")[:3])) < (1, 0, 31):
            continue  # what it does not have yet
        assert config.has_weights
        assert (row.input, row.classes) == (config.input_size[-1], config.num_classes)
        assert row.licence == (config.license or "")
        if row.published:
            sides = {int(pair.split(":")[0]) for pair in row.published.split(";")}
            assert sides <= {config.input_size[-1], (config.test_input_size or config.input_size)[-1]}


@pytest.mark.parametrize("name", [
    "timm/seresnet50.ra2_in1k", "timm/skresnet18.ra_in1k", "timm/ecaresnet26t.ra2_in1k",
    "timm/gc_efficientnetv2_rw_t.agc_in1k", "timm/resnest14d.gluon_in1k", "torchvision/mobilenet_v3_small",
    "torchvision/regnet_y_400mf", "demo/sknet50_slim"])
def test_rows_are_what_the_network_has(name):
    model = sv.load(name, device="cpu", pretrained=False)
    row = catalog(name).set_index("name").loc[name]
    assert (row.parameters, row.classes) == (sum(p.numel() for p in model.module.parameters()), len(model.classes))
    assert row.input == model.transform(model.noise()).shape[-1]
    kinds = pd.Series([block.kind for block in model.blocks]).value_counts().to_dict()
    assert json.loads(FILE.loc[name, "blocks"]) == kinds
    assert (row.blocks, row.kind) == (len(model.blocks), "+".join(kinds))


def test_torchvisions_accuracies():
    table = catalog("torchvision/").set_index("name")
    for name in ("efficientnet_b0", "regnet_y_16gf"):
        weights = torchvision.models.get_model_weights(name).DEFAULT
        assert table.loc[f"torchvision/{name}", "top1"] == weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
        assert table.loc[f"torchvision/{name}", "top1_input"] == weights.transforms().crop_size[0]


def test_search():
    assert set(catalog("seresnet50")["name"]) == {name for name in FILE.index if "seresnet50" in name}
    assert catalog("SERESNET50 Timm RA2")["name"].tolist() == ["timm/seresnet50.ra2_in1k"]
    assert set(catalog("splitattn")["kind"]) <= {"SplitAttn"}
    assert set(catalog("eca timm")["kind"]) >= {"ECA"}
    assert catalog("nothing like it").empty
    assert len(catalog("(")) == 0  # text, not a pattern


def test_the_list_needs_no_pandas():
    """The command line shows what it says without waiting for a table."""
    table = catalog("se timm")
    assert len(table) > 100
    for entry, row in zip(entries("se timm"), table.itertuples(), strict=True):
        assert (entry.name, entry.kind, entry.blocks, entry.parameters, entry.downloaded) == (
            row.name, row.kind, row.blocks, row.parameters, row.downloaded)
        assert (entry.top1 is None and pd.isna(row.top1)) or entry.top1 == row.top1


def test_where_weights_come_from_is_what_timm_and_torchvision_say():
    """All rows, but for names that the installed version lacks."""
    compared = 0
    for entry in entries():
        try:
            place = remote(entry.name)
        except UnknownModel:
            continue
        assert entry.place == place, entry.name
        compared += 1
    assert compared > 400


def test_count_gives_what_stands_in_the_table():
    for name in ("demo/sknet50_slim", "timm/fastvit_mci0.apple_mclip", "torchvision/mobilenet_v3_small"):
        assert place(name) == {"repository": FILE.loc[name, "repository"], "url": FILE.loc[name, "url"]}


@pytest.mark.parametrize("somewhere", [Remote("a/b", revision="v1"), Remote("a/b", files=("other.safetensors",))])
def test_count_refuses_places_that_the_table_cannot_hold(monkeypatch, somewhere):
    monkeypatch.setattr(senet_viz.models.count, "remote", lambda name: somewhere)
    with pytest.raises(ValueError, match="not in the newest revision and usual files of a/b"):
        place("timm/x")


def test_published():
    assert published("timm/seresnet50.ra2_in1k") == "top-1 80.3 % at 224 px and 81.3 % at 288 px (as timm publishes)"
    assert published("timm/coatnet_2_rw_224.sw_in12k") == "" == published("timm/no_such_net")


def test_downloaded_follows_the_caches(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "torch"))
    assert catalog().query("downloaded")["name"].tolist() == embedded_models()
    snapshot = tmp_path / "hub" / "models--timm--skresnet18.ra_in1k" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").touch()
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    (tmp_path / "torch" / "checkpoints").mkdir(parents=True)
    for name in ("timm/legacy_seresnet18.in1k", "torchvision/regnet_y_400mf"):
        (tmp_path / "torch" / "checkpoints" / Path(remote(name).url).name).touch()
    assert set(catalog().query("downloaded")["name"]) == {
        *embedded_models(), "timm/skresnet18.ra_in1k", "timm/legacy_seresnet18.in1k", "torchvision/regnet_y_400mf"}
