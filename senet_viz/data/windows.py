"""Which rectangle of a photo a transform shows to the network, found by putting ramps through it.

A transform may be any code, so it is not read but tried: a photo that is black, one that is white and two that brighten
evenly, from left to right and from top to bottom, go through it. What comes out tells where each pixel was taken from,
whatever is done to colours in between, as long as it is the same everywhere and in proportion.
"""
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

Window = tuple[float, float, float, float]  # left, top, right and bottom edge in pixels of the photo
Transform = Callable[[Image.Image], Any]
TOLERANCE = 0.02  # of a ramp: what rounding to 256 levels, or JPEG inside a transform, moves a value
STEEP = 0.25  # of a ramp: where less of it is seen, it is made steeper and tried again
UNKNOWN = "so that it cannot be told which part of a photo it shows"


def window(transform: Transform, size: tuple[int, int]) -> Window:
    """Which part of a photo of this size a transform shows.

    Args:
        transform: PIL image (RGB) → tensor (channels, H, W). It may resize, also out of proportion, crop and pad, and
            do to colours what is linear.
        size: width and height of the photo, upright.

    Returns:
        Left, top, right and bottom edge in pixels of the photo, beyond its edges where the transform pads. Found to
        half a pixel of the photo or of the network's input, whichever is larger; an edge so near to the photo's is on
        it.

    Raises:
        ValueError: one sentence, for a transform that is random, turns, mirrors or warps, treats brightness otherwise
            than in proportion, gives no such tensor, or fails.

    >>> [round(edge) for edge in window(create_transform(224, crop_pct=0.875), (640, 480))]
    [109, 29, 529, 451]
    """
    drawn: list[bool] = []  # whether each time random numbers were
    sizes: set[tuple[int, ...]] = set()

    def through(photo: Image.Image) -> np.ndarray:
        before = _generators()
        made = _through(transform, photo)
        drawn.append(before != _generators())
        sizes.add(made.shape)
        if len(sizes) > 1:
            raise ValueError(f"the transform is random, {UNKNOWN}")
        return made

    black = through(Image.new("RGB", size, "black"))
    contrast = through(Image.new("RGB", size, "white")) - black
    if all(drawn):  # by another thread, perhaps, but hardly each time
        through(Image.new("RGB", size, "black"))
        if all(drawn):
            raise ValueError(f"the transform is random, {UNKNOWN}")
    most = np.abs(contrast).max(initial=0)
    if not np.isfinite(most) or not most:
        raise ValueError(f"the transform makes the same of a black and of a white photo, {UNKNOWN}")
    shows = np.abs(contrast) > most / 2  # elsewhere it pads
    contrast = np.where(shows, contrast, 1)

    def share(photo: Image.Image) -> np.ndarray:
        """How bright a photo is at each pixel of the input, 0 … 1; nan where none of it is seen."""
        return np.where(shows, (through(photo) - black) / contrast, np.nan)

    left, right = _edges(share, size, across=True)
    top, bottom = _edges(share, size, across=False)
    return left, top, right, bottom


def _edges(share: Callable[[Image.Image], np.ndarray], size: tuple[int, int], *, across: bool) -> tuple[float, float]:
    """Where the input begins and ends along one side of the photo."""
    length = size[0] if across else size[1]
    low, high = 0.0, float(length)
    while True:
        ramp = np.clip((np.arange(length) + 0.5 - low) / (high - low), 0, 1)
        levels = Image.fromarray(np.rint(255 * ramp).astype(np.uint8)[None if across else slice(None),
                                                                      slice(None) if across else None])
        photo = levels.resize(size, Image.Resampling.NEAREST).convert("RGB")
        found = share(photo)
        if across and not low and not np.array_equal(found, share(photo), equal_nan=True):
            raise ValueError(f"the transform is random, {UNKNOWN}")
        start, end = _fit(found if across else found.T, low, high, length)
        seen = max(start, 0), min(end, length)
        if length < 256 or seen[1] - seen[0] > STEEP * (high - low) or not seen[0] < seen[1]:
            break
        margin = 0.5 * (seen[1] - seen[0]) + 2 / 255 * (high - low)
        low, high = max(seen[0] - margin, 0), min(seen[1] + margin, length)
    near = max(0.5, 0.5 * (end - start) / found.shape[1 if across else 0])
    return 0.0 if abs(start) <= near else start, float(length) if abs(end - length) <= near else end


def _fit(found: np.ndarray, low: float, high: float, length: int) -> tuple[float, float]:
    """Both ends of the input on a side of the photo that brightens from ``low`` to ``high``; found: (…, along it)."""
    columns = np.flatnonzero(~np.isnan(found).all(0))
    values = np.nanmean(found[:, columns], 0)
    allowed = max(TOLERANCE, 0.5 / (high - low))
    bent = np.nanmax(np.abs(found[:, columns] - values)) > allowed
    # the ramp is flat beyond the photo's outermost pixels, and where a steep one has not begun or is over
    ends = np.clip((np.array([0.5, length - 0.5]) - low) / (high - low), 0, 1)
    rising = (values > ends[0] + 1.5 / 255) & (values < ends[1] - 1.5 / 255)
    if rising.sum() < 2 and length < 4:  # of so few pixels the middle of an enlarged one may be all there is
        slope = length / len(columns)
        start = -slope * columns[0]
    else:
        if bent or rising.sum() < 2:
            raise ValueError(f"the transform turns or warps the photo, or treats its brightness otherwise than in "
                             f"proportion, {UNKNOWN}")
        places, reached = columns[rising] + 0.5, values[rising] * (high - low) + low
        slope, start = np.polyfit(places, reached, 1)
        if np.abs(slope * places + start - reached).max() > allowed * (high - low):
            raise ValueError(f"the transform warps the photo, or treats its brightness otherwise than in proportion, "
                             f"{UNKNOWN}")
    if slope <= 0:
        raise ValueError(f"the transform mirrors the photo, {UNKNOWN}")
    return float(start), float(start + slope * found.shape[1])


def _through(transform: Transform, photo: Image.Image) -> np.ndarray:
    """What a transform makes of a photo, (H, W): the mean over channels."""
    try:
        made = transform(photo)
    except Exception as error:  # it may be any code
        raise ValueError(f"the transform fails: {type(error).__name__}: {' '.join(str(error).split())}") from error
    if not isinstance(made, torch.Tensor) or made.dim() != 3:
        what = f"a tensor {tuple(made.shape)}" if isinstance(made, torch.Tensor) else type(made).__name__
        raise ValueError(f"the transform makes of a photo no tensor (channels, height, width) but {what}, {UNKNOWN}")
    return made.detach().cpu().double().mean(0).numpy()


def _generators() -> tuple:
    """Where the generators of random numbers stand that all of a process shares."""
    numpys = np.random.get_state(legacy=False)  # noqa: NPY002  # it is what others use
    return random.getstate(), repr(numpys), numpys["state"]["key"].tobytes(), torch.get_rng_state().numpy().tobytes()
