"""What the tests of all pages look at in an ``AppTest``."""
import ast
import io
import re
from copy import copy

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


class Scripts:
    """Runs the scripts beside the figures. What several of them begin with, a network and a sweep over sizes for
    instance, runs once: statements are the same where they are written the same, come after the same ones, and find
    the same under the names that were imported.
    """

    def __init__(self):
        self._after: dict[tuple, dict] = {}  # statements → the names that they leave

    def result(self, script: str) -> pd.DataFrame:
        """The table that a script ends with; its last statement, which prints it, always runs."""
        body = ast.parse(script).body
        imports = [statement for statement in body if isinstance(statement, ast.Import | ast.ImportFrom)]
        imported: dict = {}
        _run(imports, imported)
        names, done = dict(imported), ()
        for statement in body:
            if statement in imports:
                continue
            found = {node.id: id(imported[node.id]) for node in ast.walk(statement)
                     if isinstance(node, ast.Name) and node.id in imported}
            done = *done, (ast.unparse(statement), *sorted(found.items()))
            if statement is body[-1] or done not in self._after:
                _run([statement], names)
                self._after[done] = _apart({name: value for name, value in names.items() if name not in imported})
            names |= _apart(self._after[done])
        return names["result"]


def _run(statements: list[ast.stmt], names: dict) -> None:
    exec(compile(ast.Module(statements, []), "script", "exec"), names)


def _apart(names: dict) -> dict:
    """With lists and dictionaries of their own, which a script may fill."""
    return {name: copy(value) if isinstance(value, list | dict) else value for name, value in names.items()}
