"""The lab notebook runs from start to end, and is stored without outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "lab_notebook.ipynb"


def test_notebook_is_kept_without_outputs():
    """So that changes of it can be read."""
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 8
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)


@pytest.mark.filterwarnings("ignore")  # by the kernel itself
def test_notebook_runs(tmp_path):
    """It gives the numbers that its text mentions."""
    nbformat = pytest.importorskip("nbformat", reason="needs the extra 'notebook'")
    nbclient = pytest.importorskip("nbclient", reason="needs the extra 'notebook'")
    for module in ("ipykernel", "pandas", "matplotlib"):
        pytest.importorskip(module, reason="needs the extra 'notebook'")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    text = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "<BatchReport: 9 saved, 0 failed>" in text
    assert "<BatchReport: 450 saved, 0 failed>" in text
    assert "<BatchReport: 0 saved, 0 failed>" in text
    assert notebook.cells[-1].outputs[0]["data"]["text/plain"] == "150"
    assert len(list((tmp_path / "decodings").glob("*.pkl"))) == 459
    assert (tmp_path / "decodings.png").read_bytes().startswith(b"\x89PNG")
