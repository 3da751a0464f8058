"""The lab notebook runs from its first cell to its last, and is kept without outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "lab_notebook.ipynb"


def test_notebook_is_kept_without_outputs():
    """So that a change of it can be read."""
    cells = [it for it in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if it["cell_type"] == "code"]
    assert len(cells) > 8
    assert all(not it["outputs"] and it["execution_count"] is None for it in cells)


@pytest.mark.filterwarnings("ignore")  # of the kernel's own
def test_notebook_runs(tmp_path):
    """With the numbers that its text speaks of."""
    nbformat = pytest.importorskip("nbformat", reason="needs the extra 'notebook'")
    nbclient = pytest.importorskip("nbclient", reason="needs the extra 'notebook'")
    for module in ("ipykernel", "pandas", "matplotlib"):
        pytest.importorskip(module, reason="needs the extra 'notebook'")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    text = "".join(it.get("text", "") for cell in notebook.cells for it in cell.get("outputs", []))
    assert "<BatchReport: 9 saved, 0 failed>" in text
    assert "<BatchReport: 450 saved, 0 failed>" in text
    assert "<BatchReport: 0 saved, 0 failed>" in text
    assert notebook.cells[-1].outputs[0]["data"]["text/plain"] == "150"
    assert len(list((tmp_path / "decodings").glob("*.pkl"))) == 459
    assert (tmp_path / "decodings.png").read_bytes().startswith(b"\x89PNG")
