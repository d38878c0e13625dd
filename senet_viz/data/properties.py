"""Simple properties of a picture that a gate may answer to: how bright, full of contrast, colourful and sharp it is."""
import numpy as np
from PIL import Image

PROPERTIES = ("brightness", "contrast", "colour", "detail")
SIDE = 128  # pixels of the longer side, to which larger pictures are brought first


def picture_properties(image: Image.Image) -> tuple[float, ...]:
    """``PROPERTIES`` of an RGB picture, of which the longer side has at most ``SIDE`` pixels.

    brightness and contrast: mean and standard deviation of the luma Y (ITU-R 601), 0..1. colour: the colourfulness of
    D. Hasler and S. Süsstrunk (Measuring colourfulness in natural images, SPIE 5007, 2003) of values in 0..1, 0 for
    grey. detail: the logarithm of the standard deviation of the luma's Laplacian, a measure of focus (J. Pech-Pacheco
    et al., Diatom autofocusing in brightfield microscopy, ICPR 2000): less in blurred pictures.
    """
    if max(image.size) > SIDE:
        factor = SIDE / max(image.size)
        image = image.resize((max(round(image.width * factor), 1), max(round(image.height * factor), 1)),
                             Image.Resampling.BOX)
    red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), dtype=np.float64) / 255, 2, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    first, second = red - green, (red + green) / 2 - blue
    colour = np.hypot(first.std(), second.std()) + 0.3 * np.hypot(first.mean(), second.mean())
    inner = luma[1:-1, 1:-1]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * inner
    detail = np.log(laplacian.std() + 1e-3) if laplacian.size else np.nan  # one grey value of 255 is .004
    return float(luma.mean()), float(luma.std()), float(colour), float(detail)
