"""Pictures as bytes, normalised later: to the bit what the transform gives, or not at all."""
import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform
from torchvision import transforms
from torchvision.models import ResNet50_Weights

from senet_viz.collecting.in_bytes import in_bytes

TO_FLOAT = [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
PICTURE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8))


@pytest.mark.parametrize("transform", [
    create_transform((3, 48, 48)), create_transform((3, 48, 48), mean=(0, 0, 0), std=(1, 1, 1), crop_mode="border"),
    transforms.Compose([transforms.Resize(32), transforms.CenterCrop(32), *TO_FLOAT]),
    transforms.Compose([transforms.Grayscale(3), *TO_FLOAT]),
    transforms.Compose([transforms.Lambda(np.array), *TO_FLOAT])])
def test_the_same_bits(transform):
    found = in_bytes(transform)
    seen = torch.stack([found(PICTURE), found(PICTURE.rotate(180))])
    assert seen.dtype == torch.uint8 and seen.shape[-1] == 3
    finished = found.finished_on(torch.device("cpu"))(seen)
    assert torch.equal(finished, torch.stack([transform(PICTURE), transform(PICTURE.rotate(180))]))


@pytest.mark.parametrize("transform", [
    ResNet50_Weights.DEFAULT.transforms(), transforms.ToTensor(), transforms.Compose([]), lambda image: torch.zeros(3),
    transforms.Compose(TO_FLOAT[:1]),
    transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.5)][::-1]),
    transforms.Compose([transforms.Grayscale(), transforms.ToTensor(), transforms.Normalize(0.5, 0.5)]),
    transforms.Compose([transforms.PILToTensor(), transforms.ConvertImageDtype(torch.float), *TO_FLOAT[1:]]),
    transforms.Compose([transforms.Lambda(lambda image: image.convert("F")), *TO_FLOAT]),
    transforms.Compose([transforms.ToTensor(), transforms.ToPILImage(), *TO_FLOAT, transforms.RandomErasing(1.0)])])
def test_other_transforms_stay_whole(transform):
    assert in_bytes(transform) is None
