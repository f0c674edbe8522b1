"""The notebooks under docs/ run again, and print the numbers that are committed with them."""

from pathlib import Path

import doc_blocks
import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))

TOLERANCE = 0.05
"""Of printed numbers, which another block size, processor or version of JAX may round elsewhere."""


def printed(notebook: nbformat.NotebookNode) -> list[str]:
    """What each code cell prints."""
    return [
        "".join(output.text for output in cell.outputs if output.output_type == "stream")
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def figures(notebook: nbformat.NotebookNode) -> list[int]:
    """How many figures each code cell shows."""
    return [
        sum("image/png" in output.get("data", {}) for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_there_are_two() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["adversary", "own_loss"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_as_it_ran(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    # Nothing went wrong, and no warning was left in it.
    assert all(output.output_type in ("stream", "display_data") for output in outputs)
    assert all(output.name == "stdout" for output in outputs if output.output_type == "stream")
    assert sum(figures(notebook)) >= 1


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Jupyter's own processes
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_again(path: Path, tmp_path: Path, monkeypatch) -> None:
    committed = nbformat.read(path, as_version=4)
    again = nbformat.read(path, as_version=4)
    for cell in again.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    client = NotebookClient(again, timeout=300, kernel_name="python3")
    client.execute(cwd=str(tmp_path))
    assert figures(again) == figures(committed)
    for expected, got in zip(printed(committed), printed(again), strict=True):
        assert doc_blocks.difference(expected, got, TOLERANCE) is None, (expected, got)
