"""Pictures that travel to a GPU as bytes and are normalised there: a quarter of the memory, less work to decode."""
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data.transforms import MaybeToTensor
from torchvision.transforms import Compose, Normalize, ToTensor


@dataclass(frozen=True)
class InBytes:
    """A transform in two parts: to the picture that is normalised at its end, and that.

    Attributes:
        picture: PIL image → PIL image, RGB.
        mean, std: of the normalisation, (3, 1, 1).
    """

    picture: Callable[[Image.Image], Image.Image]
    mean: torch.Tensor
    std: torch.Tensor

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """(H, W, 3) uint8."""
        return torch.from_numpy(np.array(self.picture(image)))

    def finished_on(self, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
        """(…, H, W, 3) uint8 → (…, 3, H, W) float32 on a device, to the bit what the whole transform gives.

        The channels stay last in memory.
        """
        most = torch.tensor(255.0, device=device)  # a number instead would be multiplied by, inverted and rounded
        mean, std = self.mean.to(device), self.std.to(device)
        return lambda images: images.movedim(-1, -3).float().div_(most).sub_(mean).div_(std)


def in_bytes(transform: Any) -> InBytes | None:
    """A transform as ``InBytes``; None unless it ends as timm's and most of torchvision's do."""
    if type(transform) is not Compose or len(transform.transforms) < 2:
        return None
    *steps, scaled, normalised = transform.transforms
    if type(scaled) not in (ToTensor, MaybeToTensor) or type(normalised) is not Normalize:
        return None
    mean, std = (torch.as_tensor(values, dtype=torch.float32).view(-1, 1, 1)
                 for values in (normalised.mean, normalised.std))
    found = InBytes(Compose(steps), mean, std)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 320, 3), dtype=np.uint8))
    try:
        seen = found(noise)
        same = seen.dim() == 3 and torch.equal(found.finished_on(torch.device("cpu"))(seen), transform(noise))
    except (TypeError, ValueError, RuntimeError):  # such as of a step that takes tensors alone
        return None
    return found if same else None
