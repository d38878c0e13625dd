"""A sweep as an animated GIF: the object at each size, and each unit's preference below it."""
import io

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, CHART, PAUSE = 320, 640, 120, 250  # pixels: of the picture at most, of the chart; milliseconds a frame
UP, DOWN, LINE, INK, GROUND = (0, 114, 178), (213, 94, 0), (128, 128, 128), (27, 39, 51), (255, 255, 255)


def film(pictures: list[Image.Image], preference: pd.DataFrame) -> bytes:
    """The zooms of a sweep, forth and back.

    Args:
        pictures: of the look "zoom", one a size.
        preference: ``senet_viz.experiments.sweep.size_preference`` of the same sweep.

    Returns:
        A GIF. Below each picture stand bars, one a unit in network order, of the mean difference between the largest
        and the smallest kernel's weight, all frames on one scale.
    """
    rows = preference[preference["look"] == "zoom"]
    table = rows.pivot(index="size", columns="block", values="difference")[rows["block"].unique()].loc[
        rows["size"].unique()]
    names = rows[["largest", "smallest"]].iloc[0]
    top = float(np.abs(table.to_numpy()).max()) or 1.0
    scale = f"{names.iloc[0]} - {names.iloc[1]}, +-{top:.2f}".replace("×", "x")  # Pillow's own font has few signs
    frames = [_frame(picture, size, values, top, scale)
              for picture, size, values in zip(pictures, table.index, table.to_numpy())]
    frames += frames[-2:0:-1]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=PAUSE, loop=0)
    return buffer.getvalue()


def _frame(picture: Image.Image, size: float, values: np.ndarray, top: float, scale: str) -> Image.Image:
    reduced = min(WIDTH / picture.width, HEIGHT / picture.height)
    width, height = (max(1, round(side * reduced)) for side in picture.size)
    frame = Image.new("RGB", (WIDTH, height + CHART), GROUND)
    frame.paste(picture.resize((width, height), Image.Resampling.BICUBIC), ((WIDTH - width) // 2, 0))
    draw, font, small = ImageDraw.Draw(frame), ImageFont.load_default(16), ImageFont.load_default(11)
    draw.text((8, 6), f"{size:g}x", fill=GROUND, font=font, stroke_width=2, stroke_fill=INK)
    draw.text((8, height + 4), scale, fill=INK, font=small)
    middle, step = height + 20 + (CHART - 24) // 2, (WIDTH - 16) / len(values)
    gap = min(2, step / 4)
    for i, value in enumerate(values):
        reach = round(value / top * (CHART - 28) / 2)
        left, right = 8 + i * step + gap, 8 + (i + 1) * step - gap
        draw.rectangle((left, min(middle, middle - reach), right, max(middle, middle - reach)),
                       fill=UP if value > 0 else DOWN)
    draw.line((8, middle, WIDTH - 8, middle), fill=LINE)
    return frame
