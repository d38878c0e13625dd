import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest

from senet_viz.cli._output import Column, cell_width, print_json, print_table, terminal_width

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = [Column("name", "name"), Column("size", "size", ",", 1), Column("share", "share", "z.2f"),
           Column("note", "note", spare=2)]
ROWS = [{"name": "first", "size": 1234567, "share": -0.001, "note": "x" * 20},
        {"name": "the second", "size": 8, "share": None, "note": None},
        {"name": "third", "size": 90, "share": float("nan"), "note": "y"}]


def lines(capsys, monkeypatch, width: int | None, columns=COLUMNS, rows=ROWS) -> list[str]:
    if width is not None:
        monkeypatch.setenv("COLUMNS", str(width))
    print_table(columns, rows)
    return capsys.readouterr().out.splitlines()


def test_numbers_stand_to_the_right_and_text_to_the_left(capsys, monkeypatch):
    assert lines(capsys, monkeypatch, None) == [
        "name             size  share  note",
        "first       1,234,567   0.00  xxxxxxxxxxxxxxxxxxxx",
        "the second          8",
        "third              90         y"]


def test_columns_go_by_how_little_they_matter(capsys, monkeypatch):
    heads = {width: lines(capsys, monkeypatch, width)[0].split() for width in (50, 49, 28, 27, 17)}
    assert heads == {50: ["name", "size", "share", "note"], 49: ["name", "size", "share"],
                     28: ["name", "size", "share"], 27: ["name", "share"], 17: ["name", "share"]}
    print_table(COLUMNS, ROWS)
    assert capsys.readouterr().err == "(17 columns have no room for: size, note)\n"


def test_columns_that_matter_as_little_go_together(capsys, monkeypatch):
    pair = [Column("a", "a"), Column("b", "bbbb", spare=1), Column("c", "c", spare=1)]
    rows = [{"a": "1234", "b": "1", "c": "1"}]
    assert lines(capsys, monkeypatch, 13, pair, rows)[0].split() == ["a", "bbbb", "c"]
    assert lines(capsys, monkeypatch, 12, pair, rows)[0].split() == ["a"]


def test_text_is_cut_at_last_and_no_line_is_wrapped(capsys, monkeypatch):
    rows = [{"name": "a name that is far too long", "size": 12}, {"name": "b", "size": 345}]
    cut = lines(capsys, monkeypatch, 20, [Column("name", "name"), Column("size", "size")], rows)
    assert cut == ["name            size", "a name that i…    12", "b                345"]
    assert len(lines(capsys, monkeypatch, 5, [Column("name", "name"), Column("size", "size")], rows)) == 3


def test_wide_characters_take_two_cells(capsys, monkeypatch):
    rows = [{"name": "金魚.png", "size": 1}, {"name": "cafe\u0301", "size": 2}]
    table = lines(capsys, monkeypatch, None, [Column("name", "name"), Column("size", "size")], rows)
    assert {cell_width(line) for line in table} == {len("金魚.png") + 2 + 2 + 4}
    table = lines(capsys, monkeypatch, 14, [Column("name", "name"), Column("size", "size")], [
        {"name": "金" * 10, "size": 1}])
    assert table[1].startswith("金" * 3 + "…") and cell_width(table[1]) == 14


def test_a_column_without_values_is_left_out_silently(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    print_table(COLUMNS, [{"name": "a", "size": 1, "share": None, "note": ""}])
    assert capsys.readouterr() == ("name  size\na        1\n", "")


def test_json_has_all_digits_and_null_where_there_is_no_number(capsys):
    print_json({"a": [1 / 3, float("nan"), float("inf"), np.float32(0.1)], "b": (np.int64(3), None, True, "é"),
                "c": np.ones((1, 2))})
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and out.isascii()
    assert json.loads(out) == {"a": [1 / 3, None, None, float(np.float32(0.1))], "b": [3, None, True, "é"],
                               "c": [[1.0, 1.0]]}


def test_no_limit_but_in_a_terminal(monkeypatch, capsys):
    assert terminal_width() == float("inf")
    monkeypatch.setenv("COLUMNS", "77")
    assert terminal_width() == 77


@pytest.mark.parametrize("width", [80, 100])
def test_in_a_terminal(width):
    """A real one, of this width."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, width))
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    process = subprocess.Popen([sys.executable, "-m", "senet_viz", "models", "--search", "demo/"], cwd=ROOT,
                               env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL)
    assert process.wait(60) == 0
    os.close(theirs)
    said = os.read(ours, 10_000).decode().split("\r\n")
    os.close(ours)
    assert ("classes" in said[0]) == (width == 100) and len(said) == 4
