"""Importing the package is cheap."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ["numpy", "argclz", "gzip", "zlib_ng", "pandas", "dataclasses", "multiprocessing", "asyncio"]


def loaded_by(statement):
    code = f"import sys, json; before = set(sys.modules); {statement}; print(json.dumps(sorted(set(sys.modules) - before)))"
    return json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def test_import_loads_nothing_heavy():
    """Neither numpy nor a command-line library."""
    loaded = loaded_by("import neuralib.persistence")
    assert not [it for it in loaded if it.split(".")[0] in HEAVY]
    assert len(loaded) < 120
    assert "neuralib.persistence._core" in loaded


def test_options_are_imported_on_demand():
    """They bring argclz, where it is installed."""
    assert "neuralib.persistence._options" not in loaded_by("import neuralib.persistence")
    pytest.importorskip("argclz", reason="needs the extra 'cli'")
    assert "argclz" in loaded_by("import neuralib.persistence.cli_persistence")
