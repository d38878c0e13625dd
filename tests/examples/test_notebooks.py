"""The notebooks of ``examples/`` run from anywhere and are kept without outputs; what they claim, they assert."""
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
LIMIT = 600  # seconds a cell, for machines that are busy with something else


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["a_data_set", "one_photo", "your_own_block"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path, tmp_path, monkeypatch):
    """In a kernel of its own, far from the clone and without a network."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for folder in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):  # no settings of whoever runs the tests
        monkeypatch.setenv(folder, str(tmp_path / folder))
    for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        for name in (proxy, proxy.lower()):
            monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody listens
    here = tmp_path / "here"
    here.mkdir()
    notebook = read(path)
    NotebookClient(notebook, timeout=LIMIT, kernel_name="python3",
                   resources={"metadata": {"path": str(here)}}).execute()  # raises where a cell fails
    cells = code(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    shown = [output for cell in cells for output in cell.outputs]
    assert not [output for output in shown if output.output_type == "error"]
    figures = [output.data["application/vnd.plotly.v1+json"] for output in shown
               if "application/vnd.plotly.v1+json" in output.get("data", {})]
    assert len(figures) == sum(cell.source.splitlines()[-1].startswith(("view.plot(", "stats.plot(", "real.plot(",
                                                                        "figures.")) for cell in cells) > 3
    assert all(figure["data"] and figure["layout"]["meta"]["alt"] for figure in figures)
    assert any("<table" in output.get("data", {}).get("text/html", "") for output in shown)
    assert not list(here.iterdir())  # nothing is left where it ran


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_kept_without_outputs(path):
    notebook = read(path)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.metadata, cell.metadata
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None, cell.source
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert path.read_text(encoding="utf-8").endswith("}\n")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_can_be_followed(path):
    """How to install it in Colab comes first; numbers are asserted; nothing depends on where the notebook lies."""
    notebook = read(path)
    cells = code(notebook)
    assert cells[0].source.startswith("# In Colab:") and "%pip install" in cells[0].source
    assert any("assert " in cell.source for cell in cells)
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    for cell in cells:
        assert "../" not in cell.source and "http" not in cell.source
