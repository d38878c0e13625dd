"""Small pictures in memory, decoded once for all trainings of a process, and batches augmented whole.

A slim network on small pictures takes less time than decoding and augmenting them one by one. Training pictures are
kept a quarter larger than they are shown, so that a random crop hardly loses resolution; crop, mirroring and resizing
of a whole batch are then one call of ``grid_sample``.
"""
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torchvision.transforms import v2

from ..data.datasets import Pictures
from .recipe import Recipe

LARGER = 1.25  # as many times the side
RATIOS = (3 / 4, 4 / 3)  # of a random crop's sides, as torchvision and timm have it


@dataclass(frozen=True)
class Decoded:
    """Pictures of one size.

    Attributes:
        images: uint8 (N, 3, S, S).
        labels: int64 (N,).
        indices: int64 (N,), which of the data set's they are.
    """

    images: torch.Tensor
    labels: torch.Tensor
    indices: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str | torch.device) -> "Decoded":
        """With the images on a device."""
        return replace(self, images=self.images.to(device))


def decode(pictures: Pictures, side: int, count: int | None = None) -> Decoded:
    """Up to ``count`` pictures, spread evenly over those there are, their central squares resized to one side.

    Raises:
        UnreadableImage, OSError: when one of them cannot be read.
    """
    count = min(len(pictures), count or len(pictures))
    indices = np.arange(count) * len(pictures) // count
    shrink = v2.Compose([v2.Resize(side, v2.InterpolationMode.BICUBIC, antialias=True), v2.CenterCrop(side),
                         v2.PILToTensor()])
    read = pictures.through(shrink)
    images = torch.empty(count, 3, side, side, dtype=torch.uint8)
    for place, index in enumerate(indices.tolist()):
        images[place] = read[index][0]
    return Decoded(images, torch.as_tensor(pictures.labels)[indices], torch.from_numpy(indices))


def larger(side: int) -> int:
    """Side that training pictures are kept at, for those shown at a side."""
    return round(LARGER * side)


def normalised(images: torch.Tensor) -> torch.Tensor:
    """uint8 (N, 3, H, W) or what was sampled of it → what networks are given, with ImageNet's mean and deviation."""
    mean, std = (torch.tensor(values, device=images.device).view(3, 1, 1) * 255
                 for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
    return (images.float() - mean) / std


def batches(pictures: Decoded, recipe: Recipe, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The batches of an epoch, augmented: their order, crops and mirroring follow from the recipe's seed and it alone.

    Whatever network a recipe trains, it sees the same pictures in the same order.
    """
    random = torch.Generator().manual_seed(recipe.seed * 10_000 + epoch)
    side, size = recipe.size_at(epoch), recipe.batch_size
    order = torch.randperm(len(pictures), generator=random)
    windows = crops(len(pictures), recipe.scale, random)
    for start in range(0, len(pictures) - size + 1, size):
        chosen = order[start:start + size]
        images = pictures.images[chosen.to(pictures.images.device)]
        yield crop(images, windows[chosen].to(images.device), side), pictures.labels[chosen]


def crops(count: int, scale: float, random: torch.Generator) -> torch.Tensor:
    """Random crops and mirroring as affine maps from the crop to its picture, (N, 2, 3) for ``affine_grid``.

    A crop has ``scale`` to 1 of the picture's area, a ratio of the sides between 3:4 and 4:3 as far as it fits, any
    place in the picture, and is mirrored every other time.
    """
    area, ratio, x, y, mirror = torch.rand(5, count, generator=random)
    area = scale + (1 - scale) * area
    low, high = map(math.log, RATIOS)
    ratio = (low + (high - low) * ratio).exp()
    width, height = (area * ratio).sqrt().clamp_max(1), (area / ratio).sqrt().clamp_max(1)
    maps = torch.zeros(count, 2, 3)
    maps[:, 0, 0] = torch.where(mirror < 0.5, -width, width)
    maps[:, 1, 1] = height
    maps[:, 0, 2] = (1 - width) * (2 * x - 1)
    maps[:, 1, 2] = (1 - height) * (2 * y - 1)
    return maps


def crop(images: torch.Tensor, windows: torch.Tensor, side: int) -> torch.Tensor:
    """Crops of uint8 pictures (N, 3, S, S) resized to a side and normalised, (N, 3, side, side)."""
    grid = torch.nn.functional.affine_grid(windows, [len(images), 3, side, side], align_corners=False)
    return torch.nn.functional.grid_sample(
        normalised(images), grid, mode="bilinear", padding_mode="reflection", align_corners=False)
