"""The statistics that come with the program are those of the networks that come with it."""
import numpy as np
import pytest
import torch

import senet_viz as sv
from senet_viz.data.datasets import Pictures, open_pictures
from senet_viz.data.places import ASSETS
from senet_viz.models import embedded_models
from senet_viz.models.identity import weights_hash
from senet_viz.statistics import open_statistics, summaries
from senet_viz.statistics.archive import describe

FOLDER = ASSETS / "statistics"
NAMES = sorted(path.name for path in FOLDER.iterdir())


def test_every_embedded_model_has_some():
    assert [f"demo/{name}" for name in NAMES] == embedded_models()


def test_size():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= 10_000_000


@pytest.mark.parametrize("name", NAMES)
def test_statistics(name):
    stats, model = open_statistics(FOLDER / name), sv.load(f"demo/{name}", device="cpu")
    assert sorted(path.name for path in stats.path.iterdir()) == [
        "images.parquet", "metadata.json", "statistics.safetensors", "unreadable.csv"]
    assert stats.metadata["weights"] == weights_hash(model.module), "stale: collect them anew"
    assert describe(stats.blocks) == describe(model.blocks)
    assert stats.classes == model.classes
    assert stats.metadata["compact"]
    assert stats.metadata["images"] == stats.pictures == 5000
    assert stats.metadata["unreadable"] == stats.metadata["unlabelled"] == 0
    assert stats.count.tolist() == [50] * 100
    kinds = {block.kind for block in model.blocks}
    assert stats.zooms == ((1.0, 1.5, 2.0) if kinds == {"SK"} else (1.0,))
    rows = stats.images()
    looks = {("zoom", zoom) for zoom in stats.zooms} | {
        (control, zoom) for control in ("blur", "elsewhere") for zoom in stats.zooms if zoom > 1} | {
        (f"random {draw}", zoom) for draw in range(stats.draws if kinds == {"SK"} else 0) for zoom in stats.zooms}
    assert stats.draws == 3
    assert rows.groupby(["look", "zoom"]).size().to_dict() == dict.fromkeys(looks, 5000)
    accuracy = (rows["top1"] == rows["label"])[(rows["look"] == "zoom") & (rows["zoom"] == 1)].mean()
    assert accuracy > 0.3  # of 100 classes
    for block in stats.blocks:
        assert np.isfinite(stats.mean(block)).all()
        assert (stats.histogram(block).sum(-1) == 5000).all()
        np.testing.assert_allclose(stats.overall_mean(block, "class"), stats.overall_mean(block), atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_dimension_is_that_of_numpys_covariance(name, data):
    """(Σλ)² / Σλ² of gates and of z over five hundred pictures, without what chance adds to Σλ², within the errors."""
    count, model = 500, sv.load(f"demo/{name}", device="cpu")
    found = open_pictures(data / "data" / "tiny-imagenet-100", "val")
    pictures = Pictures(found.read, found.labels, found.classes, model.transform)
    values: dict[tuple[str, str], list] = {}
    for start in range(0, count, 100):
        batch = torch.stack([pictures[10 * index][0] for index in range(start, start + 100)])
        view = sv.inspect(model, batch, features=[(block.name, "input") for block in model.blocks])
        for block in model.blocks:
            values.setdefault((block.label, "gate"), []).append(view.gates[block.name][:, -1].double())
            values.setdefault((block.label, "squeeze"), []).append(
                view.features[block.name, "input"].double().flatten(2).mean(2))
    told = summaries.dimension(open_statistics(FOLDER / name)).set_index(["label", "source"])
    for key, parts in values.items():
        covariance = np.cov(torch.cat(parts).numpy().T)
        whole, squares = np.trace(covariance), np.square(covariance).sum()
        recomputed, row = whole ** 2 / (squares - whole ** 2 / count), told.loc[key]
        error = row["error"] * np.sqrt(1 + row["images"] / count)  # larger of fewer pictures, and of both
        assert abs(recomputed - row["dimension"]) < 3.5 * error, key
