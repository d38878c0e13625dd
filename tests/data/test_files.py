import os
import re
import stat
from contextlib import nullcontext
from pathlib import Path

import pytest

from senet_viz.data.files import alone, check_writable, replacing


def test_replaces(tmp_path):
    path = tmp_path / "new folder" / "numbers.csv"
    for text in ("first", "second"):
        with replacing(str(path)) as part:
            assert part.parent == path.parent
            part.write_text(text)
            assert not path.exists() or path.read_text() == "first"
        assert path.read_text() == text
        assert list(path.parent.iterdir()) == [path]


def test_is_readable_for_others(tmp_path):
    path = tmp_path / "numbers.csv"
    with replacing(path) as part:
        part.write_text("1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "numbers.csv"
    path.write_text("old")
    with pytest.raises(type(error)) as raised, replacing(path) as part:
        part.write_text("half of")
        raise error
    assert raised.value is error
    assert getattr(error, "filename", None) == (str(path) if isinstance(error, OSError) else None)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_is_whole_or_not_there(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="Input/output"), replacing(tmp_path / "numbers.csv") as part:
        part.write_text("1")
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_was_moved_away(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "numbers.csv") as part:
        part.unlink()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [
    replacing, lambda path: alone(path, ValueError), lambda path: nullcontext(check_writable(path))])
def test_what_cannot_be_written_is_named(tmp_path, monkeypatch, write):
    """By what was asked for, and not by the temporary file beside it."""
    def refuse(path, *_, **__):
        assert str(path).startswith(str(tmp_path))
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError) as raised, write(tmp_path / "out"):
        pass
    assert (raised.value.errno, raised.value.filename) == (13, str(tmp_path / "out"))


def test_seeing_whether_it_can_be_written_leaves_nothing(tmp_path):
    check_writable(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_folder_is_one_runs_alone(tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    with alone(out, ValueError), alone(other, ValueError), pytest.raises(
            ValueError, match=r"^another run is writing into .*out$"), alone(out, ValueError):
        pass
    with alone(out, ValueError):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_is_one_runs_alone_by_whichever_path(tmp_path, monkeypatch):
    out, link = tmp_path / "out", tmp_path / "link"
    out.mkdir()
    link.symlink_to(out)
    monkeypatch.chdir(out)
    for path in (out, link, Path(), Path("../out")):
        with alone(path, ValueError):
            for other in (out, link, Path(), Path("../out")):
                with pytest.raises(ValueError, match=f"^another run is writing into {re.escape(str(other))}$"), alone(
                        other, ValueError):
                    pass
    assert sorted(tmp_path.rglob("*")) == [link, out]
