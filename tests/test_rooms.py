"""The order of floors: rooms import from the floors below, never back up (the contract in pyproject.toml)."""
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_order_of_floors(monkeypatch, capsys):
    cli = pytest.importorskip("importlinter.cli")
    monkeypatch.chdir(ROOT)
    code = cli.lint_imports(config_filename="pyproject.toml", no_cache=True, no_logo=True)
    said = capsys.readouterr().out
    assert code == 0, said
    assert "kept, 0 broken" in said, said  # contracts were read, not only nothing broken
