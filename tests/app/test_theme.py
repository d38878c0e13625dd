"""The colours of the app's own words, by WCAG 2.1: 4.5:1 against their ground."""
import tomllib
from pathlib import Path

import numpy as np
import pytest

THEME = tomllib.loads((Path(__file__).resolve().parents[2] / ".streamlit" / "config.toml").read_text("utf-8"))["theme"]
FADED = 0.6  # of the ink, in a caption of Streamlit
TINT = 0.1  # of the primary colour, in the ground of what is chosen


def rgb(hexadecimal: str) -> np.ndarray:
    return np.array([int(hexadecimal[i:i + 2], 16) for i in (1, 3, 5)]) / 255


def contrast(ink: np.ndarray, ground: np.ndarray) -> float:
    low, high = sorted(np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
                       for c in (ink, ground))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("ground", ["backgroundColor", "secondaryBackgroundColor"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_captions_can_be_read(theme, ground):
    ink, ground = rgb(THEME[theme]["textColor"]), rgb(THEME[theme][ground])
    assert contrast(FADED * ink + (1 - FADED) * ground, ground) >= 4.5


@pytest.mark.parametrize("ground", ["backgroundColor", "secondaryBackgroundColor"])
def test_what_is_chosen_can_be_read(ground):
    """In a light window: in a dark one Streamlit writes with the primary colour and in white on it; none suits both."""
    ink, ground = rgb(THEME["light"]["primaryColor"]), rgb(THEME["light"][ground])
    assert contrast(ink, TINT * ink + (1 - TINT) * ground) >= 4.5 and contrast(ink, np.ones(3)) >= 4.5
