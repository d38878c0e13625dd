"""Data sets in networks that do not give a logit for each class."""
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms.functional import pil_to_tensor

import senet_viz as sv
from senet_viz.collecting import Settings, collect
from senet_viz.collecting.evaluate import evaluate
from senet_viz.layers import SqueezeExcite

CLASSES = ["dark", "light"]
SETTINGS = Settings(batch_size=4, shard_size=6, threads=1, sample=0)


class Net(nn.Module):
    """A gate, and maps (N, 2, h, w); ``form`` makes of them what it returns."""

    def __init__(self, form):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.se, self.head, self.form = nn.Conv2d(3, 8, 3, 2, 1), SqueezeExcite(8), nn.Conv2d(8, 2, 1), form

    def forward(self, x):
        return self.form(self.head(self.se(self.stem(x))))


def picture(data: bytes) -> torch.Tensor:
    return pil_to_tensor(Image.open(io.BytesIO(data))).float() / 255


@pytest.fixture
def folder(tmp_path):
    """Five pictures of each class."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(5):
            pixels = rng.integers(100 * label, 100 + 100 * label, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
    return tmp_path / "data"


def model_of(form) -> sv.Model:
    return sv.Model(Net(form), lambda image: pil_to_tensor(image).float() / 255, CLASSES)


def batch_of(folder) -> torch.Tensor:
    return torch.stack([picture(path.read_bytes()) for path in sorted(folder.glob("*/*.png"))])


@pytest.mark.parametrize("form", [lambda maps: {"out": maps}, lambda maps: maps, lambda maps: [maps, maps]],
                         ids=["segmentation", "maps", "a list of maps"])
def test_gates_of_networks_without_logits(folder, tmp_path, form):
    model = model_of(form)
    stats = collect(model, folder, tmp_path / "out", SETTINGS, workers=0, progress=False)
    gates = sv.record(model, batch_of(folder)).gates["se"]
    np.testing.assert_allclose(stats.mean("SE_1_1"), torch.stack([gates[:5].mean(0), gates[5:].mean(0)]), atol=1e-6)
    rows = stats.images()
    assert rows.top1.eq(-1).all()
    assert rows.probability.isna().all()
    with pytest.raises(ValueError, match="returns no logits"):
        evaluate(model, folder, tmp_path / "evaluated", ["SE_1_1=1"], workers=0, progress=False)


@pytest.mark.parametrize("form", [
    lambda maps: maps.mean((2, 3))[:, :1] * 30, lambda maps: maps[:, 0].mean((1, 2)) * 30], ids=["(N, 1)", "(N,)"])
def test_one_logit_is_for_and_against(folder, tmp_path, form):
    model, batch = model_of(form), batch_of(folder)
    with torch.no_grad():
        chance = model.module(batch).flatten().double().sigmoid()
    rows = collect(model, folder, tmp_path / "out", SETTINGS, workers=0, progress=False).images()
    assert rows.top1.tolist() == (chance > 0.5).long().tolist()
    np.testing.assert_allclose(rows.probability, torch.maximum(chance, 1 - chance), rtol=1e-5)
    found = evaluate(model, folder, tmp_path / "evaluated", ["SE_1_1=1"], workers=0, progress=False)
    labels = torch.arange(10) // 5
    assert found.top1[0] == pytest.approx(((chance > 0.5).long() == labels).double().mean().item())
