"""The classes of a segmentation's pixels as colours."""
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageColor

from .style import COLOURS, colour

OTHERS = "#8c8c8c"  # of classes beyond those that have a colour, and of pixels of none
SIDE = 360  # pixels of a map's longer side, from which on it is not enlarged


def class_colours(indices: Sequence[int]) -> dict[int, str]:
    """A colour for each of the first eight classes, one grey for all others and for −1, which is no class.

    Args:
        indices: of classes, the most important one first.
    """
    named = [index for index in dict.fromkeys(indices) if index >= 0]
    return dict.fromkeys(indices, OTHERS) | dict(zip(named, map(colour, range(len(COLOURS)))))


def painted(labels: np.ndarray, colours: Mapping[int, str]) -> np.ndarray:
    """A class map as a picture, each cell in its class's colour; small maps are enlarged.

    Args:
        labels: (h, w), class indices.
        colours: of all that occur.

    Returns:
        (H, W, 3) uint8.
    """
    found, places = np.unique(labels, return_inverse=True)
    values = np.array([ImageColor.getrgb(colours[int(index)]) for index in found], dtype=np.uint8)
    picture = Image.fromarray(values[places.reshape(labels.shape)])
    scale = max(1, SIDE // max(picture.size))
    return np.asarray(picture.resize([side * scale for side in picture.size], Image.Resampling.NEAREST))
