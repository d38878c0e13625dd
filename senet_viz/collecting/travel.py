"""Pictures travel to a GPU as bytes and are normalised there: a quarter of the memory, and less work to decode them."""
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data.transforms import MaybeToTensor
from torchvision.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor
from torchvision.transforms._presets import ImageClassification

BY = ("cuda",)  # kinds of device that pictures travel to like this


@dataclass(frozen=True)
class Bytes:
    """A transform in two parts: up to the picture that is normalised at its end, and that.

    Attributes:
        picture: PIL image → PIL image, RGB.
        mean, std: of the normalisation, (3, 1, 1).
    """

    picture: Callable[[Image.Image], Image.Image]
    mean: torch.Tensor
    std: torch.Tensor

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """(H, W, 3) uint8.

        Raises:
            ValueError: for anything else.
        """
        pixels = np.array(self.picture(image))
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(f"the transform gives {pixels.dtype} of shape {pixels.shape} before its last steps for "
                             f"this picture, and RGB in bytes for others")
        return torch.from_numpy(pixels)

    def finished_on(self, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
        """(…, H, W, 3) uint8 → (…, 3, H, W) float32 on a device, to the bit what the whole transform gives.

        The channels stay last in memory.
        """
        most = torch.tensor(255.0, device=device)  # a number instead would be multiplied by, inverted and rounded
        mean, std = self.mean.to(device), self.std.to(device)
        return lambda images: images.movedim(-1, -3).float().div_(most).sub_(mean).div_(std)


def as_bytes(transform: Any, example: Image.Image) -> Bytes | None:
    """A transform as ``Bytes``; None unless it ends as timm's do, or is torchvision's for classification.

    Args:
        transform: PIL image → tensor.
        example: a picture that both have to give the same bits for.
    """
    if type(transform) is ImageClassification:
        steps = [Resize(transform.resize_size, transform.interpolation, antialias=transform.antialias),
                 CenterCrop(transform.crop_size)]
        normalised = transform
    elif type(transform) is Compose and len(transform.transforms) > 1:
        *steps, scaled, normalised = transform.transforms
        if type(scaled) not in (ToTensor, MaybeToTensor) or type(normalised) is not Normalize:
            return None
    else:
        return None
    mean, std = (torch.as_tensor(values, dtype=torch.float32).view(-1, 1, 1)
                 for values in (normalised.mean, normalised.std))
    found = Bytes(Compose(steps), mean, std)
    try:
        with torch.random.fork_rng(devices=[]):
            same = torch.equal(found.finished_on(torch.device("cpu"))(found(example)), transform(example))
    except Exception:  # of a step of one's own: what is wrong with it the whole transform will say
        return None
    return found if same else None
