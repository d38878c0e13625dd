"""What the tests of all pages look at in an ``AppTest``."""
import io
import re

import numpy as np
import pandas as pd
from PIL import Image


def png(seed: int = 0, width: int = 70, height: int = 50) -> bytes:
    """A picture of noise around a colour."""
    generator, buffer = np.random.default_rng(seed), io.BytesIO()
    Image.fromarray((generator.integers(0, 128, (height, width, 3)) + generator.integers(0, 128, 3)).astype(np.uint8)
                    ).save(buffer, "PNG")
    return buffer.getvalue()


def same(table: pd.DataFrame, other: pd.DataFrame) -> None:
    """Equal but for rounding and index."""
    pd.testing.assert_frame_equal(table.reset_index(drop=True), other.reset_index(drop=True), check_dtype=False,
                                  rtol=1e-3, atol=1e-5)


def sections(app) -> dict:
    return {key: section for key, section in app.session_state["sections"].items() if section}


def sentences(elements) -> list[str]:
    """What is said, without the marks that keep names from being read as Markdown."""
    return [re.sub(r"\\([^a-zA-Z0-9\s])", r"\1", element.value) for element in elements]


def fine(app, errors: int = 0) -> None:
    """No traceback, so many errors, each of one sentence on one line, and no number that is none."""
    assert not app.exception, app.exception[0].stack_trace
    said = sentences(app.error)
    assert len(said) == errors, said
    assert all("\n" not in sentence and "Traceback" not in sentence for sentence in said)
    written = "\n".join(sentences([*app.markdown, *app.caption, *app.info]))
    assert not re.search(r"\bnan\b|\bNone\b(?! of)", written), written
