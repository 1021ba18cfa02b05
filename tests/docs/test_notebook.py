"""docs/api.ipynb runs from top to bottom; it is committed without outputs, which go stale."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

CHECKOUT = Path(__file__).parents[2]
NOTEBOOK = CHECKOUT / "docs/api.ipynb"


def test_every_cell_runs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    # As Jupyter starts it: in the notebook's own folder.
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    shown = "".join(str(output.get("data", "")) for cell in cells for output in cell.outputs)
    assert "seed 1" in shown and "image/png" in shown and "verdict" in shown
