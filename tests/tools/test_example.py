"""The example in the README runs, and continues an earlier run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "shuffle_test.py"


def run(*arguments):
    return subprocess.run([sys.executable, EXAMPLE, *arguments], capture_output=True, text=True)


def test_shuffle_test_computes_saves_and_loads(tmp_path):
    """It is run twice, with one folder."""
    pytest.importorskip("sklearn", reason="needs the extra 'example'")
    pytest.importorskip("matplotlib", reason="needs the extra 'example'")
    for expected in (20, 40):
        done = run("--folder", str(tmp_path), "--count", "20")
        assert done.returncode == 0, done.stderr
        assert f"found and loaded {expected} results" in done.stdout
        assert "p = " in done.stdout
    assert "numbering continues" in done.stdout
    assert (tmp_path / "shuffle_test.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.glob("cache-ShuffleScore-breast_cancer-folds5-#*.pkl"))) == 40
    wrong = run("--count", "0")
    assert wrong.returncode == 2
    assert "--count must be at least 1" in wrong.stderr
