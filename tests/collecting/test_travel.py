"""Pictures as bytes, normalised later: to the bit what the transform gives, or not at all."""
import io

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform
from torchvision import transforms
from torchvision.models import ResNet50_Weights
from torchvision.models.segmentation import FCN_ResNet50_Weights

from senet_viz.collecting import travel
from senet_viz.collecting.travel import as_bytes
from senet_viz.data.datasets import Pictures
from senet_viz.models import Model
from tests.runs import SIDE, make_module, noise, png

TO_FLOAT = [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
PICTURE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8))


@pytest.mark.parametrize("transform", [
    create_transform((3, 48, 48)), create_transform((3, 48, 48), mean=(0, 0, 0), std=(1, 1, 1), crop_mode="border"),
    transforms.Compose([transforms.Resize(32), transforms.CenterCrop(32), *TO_FLOAT]),
    transforms.Compose([transforms.Grayscale(3), *TO_FLOAT]), ResNet50_Weights.DEFAULT.transforms(),
    transforms.Compose([transforms.Lambda(np.array), *TO_FLOAT])])
def test_the_same_bits(transform):
    found = as_bytes(transform, PICTURE)
    seen = torch.stack([found(PICTURE), found(PICTURE.rotate(180))])
    assert seen.dtype == torch.uint8 and seen.shape[-1] == 3
    finished = found.finished_on(torch.device("cpu"))(seen)
    assert torch.equal(finished, torch.stack([transform(PICTURE), transform(PICTURE.rotate(180))]))


@pytest.mark.parametrize("transform", [
    FCN_ResNet50_Weights.DEFAULT.transforms(), transforms.ToTensor(), transforms.Compose([]),
    lambda image: torch.zeros(3), transforms.Compose(TO_FLOAT[:1]),
    transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.5)][::-1]),
    transforms.Compose([transforms.Grayscale(), transforms.ToTensor(), transforms.Normalize(0.5, 0.5)]),
    transforms.Compose([transforms.PILToTensor(), transforms.ConvertImageDtype(torch.float), *TO_FLOAT[1:]]),
    transforms.Compose([transforms.Lambda(lambda image: image.convert("F")), *TO_FLOAT]),
    transforms.Compose([transforms.ToTensor(), transforms.ToPILImage(), *TO_FLOAT, transforms.RandomErasing(1.0)])])
def test_other_transforms_stay_whole(transform):
    assert as_bytes(transform, PICTURE) is None


def failing(image: Image.Image) -> Image.Image:
    raise KeyError("a step of one's own")


def test_what_a_step_raises_the_whole_transform_will_say():
    assert as_bytes(transforms.Compose([transforms.Lambda(failing), *TO_FLOAT]), PICTURE) is None


def test_a_step_that_gives_something_else_for_some_pictures():
    found = as_bytes(transforms.Compose([transforms.Lambda(
        lambda image: image if image.width > 50 else np.asarray(image) / 255), *TO_FLOAT]), PICTURE)
    with pytest.raises(ValueError, match=r"the transform gives float64 of shape \(70, 40, 3\) before its last steps"):
        found(PICTURE.crop((0, 0, 40, 70)))


def test_random_numbers_are_left_to_the_caller():
    torch.manual_seed(0)
    expected = torch.get_rng_state()
    as_bytes(transforms.Compose([transforms.RandomHorizontalFlip(), *TO_FLOAT]), PICTURE)
    assert torch.equal(torch.get_rng_state(), expected)


class InPlace(torch.nn.Module):
    """Normalises its input where that lies."""

    def __init__(self, inner: torch.nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, batch):
        return self.inner(batch.sub_(0.5).div_(0.25))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("module", "options"), [
    (make_module, {"zooms": (1, 2), "controls": True, "random_weights": 2}), (make_module, {"precision": "bf16"}),
    (lambda attention: InPlace(make_module(attention)), {"zooms": (1, 2), "random_weights": 1})])
def test_the_same_statistics_to_the_bit(run, content, network, tmp_path, monkeypatch, module, options, workers):
    """On a processor, too, where pictures travel like this only here."""
    for name, kinds in (("floats", ()), ("bytes", ("cpu",))):
        monkeypatch.setattr(travel, "BY", kinds)
        run(tmp_path / name, network("se", module("se")), options=options, workers=workers)
    assert content(tmp_path / "floats") == content(tmp_path / "bytes")


def test_pictures_in_their_own_proportions_make_no_batch(run, tmp_path):
    model = Model(make_module("se"), transforms.Compose([transforms.Resize(SIDE), *TO_FLOAT]), ["a", "b"], name="own")
    content = [noise([0], side).read(0) for side in (30, 30)]
    wide = Image.open(io.BytesIO(content[1])).resize((60, 30))
    pictures = Pictures([content[0], png(wide)].__getitem__, [0, 1], ["a", "b"])
    with pytest.raises(ValueError, match="takes each picture in its own proportions"):
        run(tmp_path / "out", model, pictures)
