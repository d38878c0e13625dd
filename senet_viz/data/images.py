"""Bytes → picture, safely: uploads are untrusted, of any format, mode and orientation."""
import io
import math
import re
import stat
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageFilter, ImageOps, UnidentifiedImageError

MAX_BYTES = 20 * 2**20
MAX_PIXELS = 50_000_000
MAX_ASPECT = 100
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
# small files that would keep a decoder busy for minutes
MAX_SCANS = 100  # of a progressive JPEG, each over the whole picture; encoders write 10 or so
MAX_TILES = 100_000  # of a TIFF
MARKER = re.compile(b"\xff([\x01-\xcf\xd8-\xfe])")  # of a JPEG; in a scan ff is followed by 00 or a restart marker
MAX_RUNS = 4 * 2**20  # bytes of run lengths in a BMP, which Pillow reads one by one


class UnreadableImage(ValueError):
    """A picture that cannot be read; the message is one sentence for the person who sent it."""


def as_picture(values: np.ndarray, mean=None, std=None) -> np.ndarray:
    """A transformed picture (channels, H, W) to look at: (H, W, 3) uint8, its normalisation undone.

    Args:
        values: numbers. Of other numbers of channels than three their mean is taken, in grey.
        mean, std: of the normalisation, a number a channel; where None the values are stretched to 0..255.
    """
    values = np.asarray(values, dtype=np.float32)
    if mean is None:
        low, high = values.min(), values.max()
        values = (values - low) / max(high - low, np.float32(1e-8))
    else:
        mean, std = (np.asarray(each, dtype=np.float32).reshape(-1, 1, 1) for each in (mean, std))
        values = values * std + mean
    if len(values) != 3:
        values = np.repeat(values.mean(0, keepdims=True), 3, axis=0)
    return (values.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)


def open_image(source: bytes | str | Path) -> Image.Image:
    """Decode a picture into RGB, upright, on white where it is transparent.

    Args:
        source: the encoded bytes, or a path. JPEG, PNG, WebP, GIF (first frame), BMP and TIFF; every mode Pillow reads,
            CMYK, palette and 16-bit grey among them (16-bit and float values are scaled to 0..255).

    Returns:
        A PIL image of mode "RGB", its EXIF orientation applied.

    Raises:
        UnreadableImage: for anything else: no image, a truncated one, more than 20 MB or 50 megapixels, one
            side more than 100 times the other.
        OSError: where there is no such file, it is a folder, or it cannot be opened.
    """
    data = read_file(source) if isinstance(source, (str, Path)) else bytes(source)
    if not data:
        raise UnreadableImage("The file is empty.")
    _check_bytes(len(data))
    try:
        # Pillow's own limit only warns up to twice its value, and is global: the size is checked here instead, before
        # a pixel is decoded.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise UnreadableImage(
                f"The picture has {width}×{height} pixels; at most {MAX_PIXELS // 1_000_000} megapixels are read.")
        if max(width, height) > MAX_ASPECT * min(width, height):  # a transform would enlarge the short side, and all
            raise UnreadableImage(f"The picture has {width}×{height} pixels; the longer side may be {MAX_ASPECT} times "
                                  f"the shorter.")
        _check_work(image, data)
        if image.format == "PNG" and image.mode == "RGB" and image.tile and image.tile[0].args == "RGB;16B":
            _shorten_transparency(image)
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))
    except UnreadableImage:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableImage(
            f"The picture has too many pixels; at most {MAX_PIXELS // 1_000_000} megapixels are read.") from error
    except UnidentifiedImageError as error:
        raise UnreadableImage("The file is not a picture in JPEG, PNG, WebP, GIF, BMP or TIFF format.") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, …: all mean a bad file
        raise UnreadableImage(f"The picture is damaged and cannot be read ({error}).") from error


def _check_work(image: ImageFile.ImageFile, data: bytes) -> None:
    if image.format == "JPEG" and image.info.get("progressive") and (scans := _scans(data)) > MAX_SCANS:
        raise UnreadableImage(f"The JPEG has {scans:,} scans; at most {MAX_SCANS} are read.")
    if image.format == "TIFF" and len(image.tile) > MAX_TILES:
        raise UnreadableImage(f"The TIFF is cut into {len(image.tile):,} tiles; at most {MAX_TILES:,} are read.")
    if image.format == "BMP" and image.tile and image.tile[0].codec_name == "bmp_rle" and len(data) > MAX_RUNS:
        raise UnreadableImage(f"The BMP has {len(data) / 2**20:.1f} MB of run lengths; at most "
                              f"{MAX_RUNS // 2**20} MB are read.")


def _scans(data: bytes) -> int:
    """How often a decoder goes over the whole picture of a JPEG."""
    count, place = 0, 2
    while (marker := MARKER.search(data, place)) and marker[1] != b"\xd9":
        count += marker[1] == b"\xda"
        place = marker.end() + int.from_bytes(data[marker.end():marker.end() + 2])
    return count


def read_file(path: str | Path, limited: bool = True) -> bytes:
    """The bytes of a file that a data set or a command line names, of at most 20 MB where they are ``limited``.

    Raises:
        UnreadableImage: where they are more, and for a pipe or a device, which may never end.
        OSError: where there is no such file, it is a folder, or it cannot be opened.
    """
    path = Path(path)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise UnreadableImage("It is a pipe or a device, not a file.")
    if limited:
        _check_bytes(status.st_size)
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1 if limited else -1)  # it may have grown since


def _check_bytes(count: int) -> None:
    if count > MAX_BYTES:
        raise UnreadableImage(f"The file has {count / 2**20:,.1f} MB; at most {MAX_BYTES // 2**20} MB are read.")


def zoom(image: Image.Image, factor: float, centre: tuple[float, float] | None = None,
         size: tuple[int, int] | None = None) -> Image.Image:
    """Make what a picture shows larger or smaller, as in section 4.3 of the SK paper: a crop, resized back.

    Args:
        image: RGB.
        factor: from 1 up, 1/factor of either side remains to be seen. Below 1, which the paper does not have, the
            picture is shrunk and laid onto a blurred copy of itself; its mirror image would double the object.
        centre: x and y in pixels of the point to enlarge, the picture's centre if not given. What is seen never reaches
            beyond the picture: near its edge it is moved inwards.
        size: width and height of the result, those of the picture if not given.

    Returns:
        A picture, interpolated bicubically.

    Raises:
        ValueError: when the factor is not above 0 and finite or leaves less than a pixel, or the centre is not finite.
    """
    window, size = zoom_window(image.size, factor, centre), size or image.size
    if factor == 1:
        return _resized(image, size)
    if factor > 1:
        return image.resize(size, Image.Resampling.BICUBIC, box=window)
    small = image.resize([max(1, round(side * factor)) for side in size], Image.Resampling.BICUBIC)
    ground = _resized(image, size).filter(ImageFilter.GaussianBlur(max(size) / 10))
    ground.paste(small, ((size[0] - small.width) // 2, (size[1] - small.height) // 2))
    return ground


def zoom_window(
        size: tuple[int, int], factor: float, centre: tuple[float, float] | None = None,
) -> tuple[float, float, float, float]:
    """What ``zoom`` leaves of a picture of a size: left, top, right and bottom edge in pixels. Raises as ``zoom``."""
    if not 0 < factor < math.inf:
        raise ValueError(f"the factor of a zoom must be a finite number above 0, not {factor}")
    if centre is not None and not all(map(math.isfinite, centre)):
        raise ValueError(f"the centre of a zoom must be two finite numbers, not {centre}")
    if factor > min(size):
        raise ValueError(f"a zoom by {factor:g} leaves less than one pixel of a picture of {size[0]} × {size[1]}")
    edges = []
    for whole, middle in zip(size, (size[0] / 2, size[1] / 2) if centre is None else centre):
        side = whole / max(1, factor)
        start = min(max(middle - side / 2, 0), whole - side)
        edges.append((start, min(start + side, whole)))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom


def blur(image: Image.Image, factor: float, size: tuple[int, int] | None = None) -> Image.Image:
    """A control for ``zoom``: the detail that a zoom by this factor leaves, and nothing made larger or smaller.

    The picture is shrunk to 1/factor (below 1, to factor) of its sides and resized back. Raises as ``zoom``.
    """
    zoom_window(image.size, factor)
    if factor != 1:
        sides = [max(1, round(side * min(factor, 1 / factor))) for side in image.size]
        image, size = image.resize(sides, Image.Resampling.BICUBIC), size or image.size
    return _resized(image, size or image.size)


def elsewhere(image: Image.Image, factor: float, centre: tuple[float, float] | None = None,
              size: tuple[int, int] | None = None) -> Image.Image:
    """A control for ``zoom``: as large a crop, in the corner of the picture that lies farthest from the centre given.

    Of factor 1 and below it is the picture as ``zoom`` gives it, for then there is no elsewhere. Raises as ``zoom``.
    """
    zoom_window(image.size, factor, centre)
    middle = (image.width / 2, image.height / 2) if centre is None else centre
    x, y = (float(whole) if at <= whole / 2 else 0.0 for whole, at in zip(image.size, middle))
    return zoom(image, factor, (x, y), size)


def thumbnail(data: bytes, side: int = 128) -> Image.Image:
    """A picture in a file's bytes, RGB, shrunk to at most ``side`` pixels; raises as ``open_image``."""
    image = open_image(data)
    image.thumbnail((side, side), Image.Resampling.BICUBIC)
    return image


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == tuple(size) else image.resize(size, Image.Resampling.BICUBIC)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        clear = image.info.pop("transparency", None)  # a grey of the deep picture, which is white in it
        grey = _scale_to_8_bit(image)
        image = grey if clear is None else Image.merge("LA", (grey, Image.fromarray(
            np.where(np.asarray(image) == clear, 0, 255).astype(np.uint8))))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _shorten_transparency(image: Image.Image) -> None:
    """Pillow reads the high bytes of a colour of 16 bits, but leaves the transparent colour as it is."""
    if isinstance(clear := image.info.get("transparency"), tuple):
        image.info["transparency"] = tuple(value >> 8 for value in clear)


def _scale_to_8_bit(image: Image.Image) -> Image.Image:
    """Pillow's own conversion clips at 255, which turns a 16-bit photograph white."""
    deep = image.mode.startswith("I;16")
    values = (image.convert("I") if deep else image).convert("F")  # big-endian 16 bit has no way to F but this
    low, high = map(float, values.getextrema())  # type: ignore[arg-type]  # two numbers, of the one band
    if deep or (low >= 0 and 255 < high <= 65535):
        low, high = 0, 65535
    elif image.mode == "F" and 0 <= low and high <= 1:  # floats are counted from 0 to 1 more often than to 255
        low, high = 0, 1
    elif 0 <= low and high <= 255:
        return image.convert("L")
    span = (high - low) or 1
    return values.point(lambda v: v * (255 / span) + (-low * 255 / span)).convert("L")
