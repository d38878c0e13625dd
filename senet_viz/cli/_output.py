"""What commands print: tables for people, JSON for programs.

Tables fit the terminal, or the width in ``COLUMNS``; output into a file or a pipe has no limit, so that nothing of it
is cut. Where the width does not suffice, the columns that matter least are left out and a line on stderr names them,
then text is cut; no line is ever wrapped.
"""
import json
import math
import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GAP = 2  # spaces between columns
LEAST = 8  # characters that are left of a text that is cut


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: of the value in each row.
        head: what stands above.
        form: how a value is written: a format such as ",.1f", or a function that gives its text.
        spare: columns with the highest number are left out first where the terminal is narrow; 0 stays.
        right: align to the right, which numbers are anyway.
    """

    key: str
    head: str
    form: str | Callable[[Any], str] = ""
    spare: int = 0
    right: bool = False

    def text(self, value: Any) -> str:
        """A value as text; "" for one that is missing."""
        if value is None or value != value:  # nan
            return ""
        return self.form(value) if callable(self.form) else format(value, self.form)


def print_table(columns: Iterable[Column], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print a table: numbers to the right, text to the left; columns without any value are left out."""
    rows, width = list(rows), terminal_width()
    cells = {column: [column.head, *(column.text(row[column.key]) for row in rows)] for column in columns}
    cells = {column: texts for column, texts in cells.items() if any(texts[1:])}
    widths = {column: max(map(cell_width, texts)) for column, texts in cells.items()}
    while _needed(widths) > width and (most := max(column.spare for column in widths)):
        widths = {column: cells for column, cells in widths.items() if column.spare < most}
    right = {column: column.right or all(_is_number(row[column.key]) or row[column.key] is None for row in rows)
               for column in widths}
    while (excess := _needed(widths) - width) > 0:  # the longest text gives way
        longest = max((column for column in widths if not right[column]), key=widths.__getitem__, default=None)
        if longest is None or widths[longest] <= LEAST:
            break
        widths[longest] = max(LEAST, widths[longest] - int(excess))
    for line in range(len(rows) + 1):
        print((" " * GAP).join(_padded(cells[column][line], widths[column], right[column])
                               for column in widths).rstrip())
    if len(widths) < len(cells):
        sys.stdout.flush()
        names = ", ".join(column.head for column in cells if column not in widths)
        print(f"({width} columns have no room for: {names})", file=sys.stderr)


def print_json(document: Any) -> None:
    """Print one JSON document; what is no number is null."""
    print(json.dumps(_plain(document), allow_nan=False))


def records(table) -> list[dict[str, Any]]:
    """The rows of a data frame."""
    return table.to_dict("records")


def check_file(path: str | None) -> None:
    """Refuse a file that cannot be written before the work whose result it is meant for.

    Raises:
        OSError: one sentence.
    """
    if path is None:
        return
    folder = Path(path).parent
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a file to write")
    if not folder.is_dir():
        raise NotADirectoryError(f"there is no folder {folder} to write {Path(path).name} into")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"the folder {folder} cannot be written")


def check_folder(path: str | None) -> None:
    """Refuse a folder that cannot be written into, or made, before the work whose results it is meant for.

    Raises:
        OSError: one sentence.
    """
    if path is None:
        return
    there = next(each for each in (Path(path).absolute(), *Path(path).absolute().parents) if each.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{there} is a file, not a folder to write into")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"the folder {there} cannot be written")


def terminal_width() -> float:
    """Characters in a line: ``COLUMNS`` where it is set, else the terminal's; infinite where the output is none."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return math.inf


def cell_width(text: str) -> int:
    """Cells of the terminal that a text takes: two for a wide character, none for a combining one."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _needed(widths: Mapping[Column, int]) -> int:
    return sum(widths.values()) + GAP * (len(widths) - 1)


def _padded(text: str, width: int, right: bool) -> str:
    if cell_width(text) > width:
        while cell_width(text) > width - 1:
            text = text[:-1]
        text += "…"
    space = " " * (width - cell_width(text))
    return space + text if right else text + space


def _plain(value: Any) -> Any:
    """Of lists, dictionaries, texts, whole numbers and finite floats."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):  # numpy's and torch's
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
