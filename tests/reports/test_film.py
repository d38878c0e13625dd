"""A sweep as a GIF, read frame by frame."""
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageSequence

from senet_viz.reports.film import CHART, DOWN, PAUSE, UP, WIDTH, film

SIZES = (0.5, 1.0, 2.0, 3.0)


def preference(values, sizes=SIZES, kernels=("3×3", "5×5")) -> pd.DataFrame:
    """(size, unit) values; and controls, which a film has nothing of."""
    table = pd.DataFrame([
        {"look": look, "size": size, "block": f"net.{unit}", "label": f"SK_{unit}", "smallest": kernels[0],
         "largest": kernels[1], "difference": value if look == "zoom" else 9.0}
        for look in ("zoom", "blur") for size, row in zip(sizes, values) for unit, value in enumerate(row)])
    return table.sort_values(["look", "size"], ascending=[False, True], ignore_index=True)


def pictures(count: int = len(SIZES), width: int = 80, height: int = 60) -> list[Image.Image]:
    """One colour each."""
    return [Image.new("RGB", (width, height), (40 * i, 255 - 40 * i, 90)) for i in range(count)]


def frames(content: bytes) -> list[np.ndarray]:
    with Image.open(io.BytesIO(content)) as gif:
        assert gif.format == "GIF" and gif.info["loop"] == 0
        found = []
        for frame in ImageSequence.Iterator(gif):
            found.append(np.asarray(frame.convert("RGB")).astype(int))
            assert frame.info["duration"] == PAUSE
    return found


def count(frame: np.ndarray, colour, left: int, right: int) -> int:
    """Pixels of about this colour between two columns of the chart."""
    return int((np.abs(frame[-CHART:, left:right] - colour).sum(-1) < 40).sum())


def test_forth_and_back():
    shown = frames(film(pictures(), preference([[0.1, -0.1], [0.2, -0.2], [0.3, -0.3], [0.4, -0.4]])))
    assert len(shown) == 6 and {frame.shape for frame in shown} == {(240 + CHART, WIDTH, 3)}
    for frame, size in zip(shown, (0, 1, 2, 3, 2, 1)):
        np.testing.assert_allclose(frame[120, 200], pictures()[size].getpixel((0, 0)), atol=12)


def test_bars_are_on_one_scale_and_say_which_way():
    values = [[0.1, -0.1], [0.2, -0.2], [0.0, 0.0], [0.4, -0.4]]
    shown = frames(film(pictures(), preference(values)))
    heights = [(count(frame, UP, 0, WIDTH // 2), count(frame, DOWN, WIDTH // 2, WIDTH)) for frame in shown]
    for (up, down), (value, _) in zip(heights, values):
        full = heights[3][0]
        assert up == pytest.approx(full * value / 0.4, abs=400) and down == pytest.approx(up, abs=400)
    assert heights[0][0] < heights[1][0] < heights[3][0]
    assert all(not count(frame, DOWN, 0, WIDTH // 2) and not count(frame, UP, WIDTH // 2, WIDTH) for frame in shown)


def test_any_shape_and_one_unit_and_one_size():
    for width, height, high in ((60, 90, 480), (200, 20, 32), (1, 1, 320), (30, 90, 640), (2, 900, 640)):
        [frame] = frames(film(pictures(1, width, height), preference([[0.0]], sizes=(1.0,), kernels=("", "branch 1"))))
        assert frame.shape == (high + CHART, WIDTH, 3)
    both = frames(film(pictures(2), preference([[0.1], [-0.1]], sizes=(1.0, 2.0))))
    assert len(both) == 2


def test_many_units():
    """As many as ResNeSt-269 has, and one a pixel."""
    for units in (89, 304, 1000):
        [frame] = frames(film(pictures(1), preference([[0.4] * units], sizes=(1.0,))))
        assert count(frame, UP, 0, WIDTH) and not count(frame, DOWN, 0, WIDTH)


def test_the_units_stand_in_network_order():
    table = preference([[0.4, 0.0, -0.4]], sizes=(1.0,)).sort_index()
    [frame] = frames(film(pictures(1), table))
    third = WIDTH // 3
    assert count(frame, UP, 0, third) and count(frame, DOWN, 2 * third, WIDTH)
