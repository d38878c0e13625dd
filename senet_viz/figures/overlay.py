"""A map over a whole photo, of which a network saw a part: the part framed, the rest set off."""
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw
from plotly.colors import get_colorscale, sample_colorscale, unlabel_rgb
from plotly.exceptions import PlotlyError

from .style import DIVERGING, SEQUENTIAL

DIM = 0.6  # of the rest of a photo, towards white


def overlay(
        photo: Image.Image,
        values: ArrayLike,
        box: tuple[float, float, float, float],
        *,
        opacity: float = 0.5,
        smooth: bool = True,
        colormap: str | list[str] | None = None,
        top: float | None = None,
        signed: bool | None = None,
        dim: float = DIM,
) -> Image.Image:
    """A map in colours over the part of a photo that it is of.

    Args:
        photo: RGB.
        values: (h, w), from 0 up, or signed; nan is drawn as 0.
        box: left, top, right and bottom edge of the part in pixels of the photo; what lies beyond it is left out.
        opacity: of the map, 0..1.
        smooth: interpolate between cells, or show them as they are.
        colormap: one of Plotly's scales, by name or as a list of colours; the figures' when None.
        top: the value of the scale's end, its own largest when None.
        signed: whether the scale begins at ``-top`` instead of 0; where there are negative values when None.
        dim: how much paler the rest of the photo is made, 0..1.

    Returns:
        An image of the photo's size.

    Raises:
        ValueError: one sentence, for an opacity or a dimming outside 0..1, a map that is none, an unknown scale, or a
            part that has no pixel of the photo.
    """
    for name, number in (("opacity", opacity), ("dim", dim)):
        if not 0 <= number <= 1:
            raise ValueError(f"{name} is from 0 to 1, not {number}.")
    cells = np.nan_to_num(np.asarray(values, dtype=np.float32))
    if cells.ndim != 2 or not cells.size:
        raise ValueError(f"A map to draw is (h, w), not {cells.shape}.")
    seen = _pixels(photo.size, box)
    signed = bool((cells < 0).any()) if signed is None else signed
    top = float(np.abs(cells).max()) if top is None else top
    levels = ((cells / (top or 1) + signed) / (1 + signed)).clip(0, 1) * 255  # an empty map is all 0
    drawn = _enlarged(levels, box, seen, smooth)
    drawn.putpalette(_palette(colormap or (DIVERGING if signed else SEQUENTIAL)))
    found = set_off(photo, box, dim, frame=False)
    found.paste(Image.blend(photo.convert("RGB").crop(seen), drawn.convert("RGB"), opacity), seen[:2])
    return _framed(found, seen)


def set_off(photo: Image.Image, box: tuple[float, float, float, float], dim: float = DIM, *, frame: bool = True,
            ) -> Image.Image:
    """A photo with all but a part of it in pale grey, and a frame around the part; arguments as of ``overlay``."""
    seen, photo = _pixels(photo.size, box), photo.convert("RGB")
    grey = Image.blend(photo, photo.convert("L").convert("RGB"), min(1, 2 * dim))
    found = Image.blend(grey, Image.new("RGB", photo.size, "white"), dim)
    found.paste(photo.crop(seen), seen[:2])
    return _framed(found, seen) if frame else found


def _pixels(size: tuple[int, int], box: Sequence[float]) -> tuple[int, int, int, int]:
    """The pixels of a part that lie in the photo."""
    if len(box) != 4 or not np.isfinite(box).all() or not (box[0] < box[2] and box[1] < box[3]):
        raise ValueError(f"A part of a photo is (left, top, right, bottom) in pixels, not {tuple(box)}.")
    left, top, right, bottom = (round(min(max(edge, 0), side)) for edge, side in zip(box, (*size, *size)))
    if left == right or top == bottom:
        raise ValueError(f"The part {tuple(round(edge, 1) for edge in box)} has no pixel of a photo of "
                         f"{size[0]}×{size[1]}.")
    return left, top, right, bottom


def _enlarged(levels: np.ndarray, box, seen: tuple[int, int, int, int], smooth: bool) -> Image.Image:
    """The cells at the size of the part, with values 0 … 255."""
    height, width = levels.shape
    across, down = (box[2] - box[0]) / width, (box[3] - box[1]) / height  # pixels of a cell
    inner = ((seen[0] - box[0]) / across, (seen[1] - box[1]) / down,
             (seen[2] - box[0]) / across, (seen[3] - box[1]) / down)
    inner = tuple(min(max(edge, 0), side) for edge, side in zip(inner, (width, height, width, height)))
    method = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    drawn = Image.fromarray(levels).resize((seen[2] - seen[0], seen[3] - seen[1]), method, box=inner)
    return drawn.point(lambda v: v * 1 + 0.5).convert("L")  # which cuts off decimals


def _palette(colormap: str | list[str]) -> list[int]:
    try:
        colours = sample_colorscale(get_colorscale(colormap) if isinstance(colormap, str) else list(colormap),
                                    np.linspace(0, 1, 256))
    except (PlotlyError, ValueError, TypeError) as error:
        raise ValueError(f"Plotly has no colour scale {colormap!r}.") from error
    return [round(min(max(part, 0), 255)) for colour in colours for part in unlabel_rgb(colour)]


def _framed(photo: Image.Image, seen: tuple[int, int, int, int]) -> Image.Image:
    """A frame just inside a part, light between dark so that it reads on any ground; none where it would hide all."""
    line = max(1, round(max(photo.size) / 500))
    if min(seen[2] - seen[0], seen[3] - seen[1]) > 12 * line:
        draw = ImageDraw.Draw(photo)
        edges = [seen[0], seen[1], seen[2] - 1, seen[3] - 1]
        draw.rectangle(edges, outline=(0, 0, 0), width=3 * line)
        draw.rectangle([edges[0] + line, edges[1] + line, edges[2] - line, edges[3] - line], outline=(255, 255, 255),
                       width=line)
    return photo
