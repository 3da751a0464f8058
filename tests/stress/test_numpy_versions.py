"""Files that were saved with numpy 1 load with numpy 2, and the reverse; both are installed for the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from neuralib import persistence

PACKAGE = Path(persistence.__file__).parent
VERSIONS = {"1": "numpy==1.26.4", "2": "numpy>=2.2,<3"}

pytestmark = [
    pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv, which makes the environments"),
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="numpy 1 has no wheels for this Python"),
]


@pytest.fixture(scope="module")
def pythons(tmp_path_factory):
    folder = tmp_path_factory.mktemp("environments")
    for name, numpy in VERSIONS.items():
        subprocess.run(["uv", "venv", "-q", "--python", sys.executable, folder / name], check=True)
        install = ["uv", "pip", "install", "-q", "--python", folder / name / "bin/python", numpy, "zlib-ng"]
        if subprocess.run(install, check=False, capture_output=True).returncode:
            pytest.skip(f"{numpy} can't be installed here")
    return {name: folder / name / "bin/python" for name in VERSIONS}


@pytest.mark.parametrize(("saved_by", "loaded_by"), [("2", "1"), ("1", "2")])
def test_arrays_of_every_kind_travel_between_versions_of_numpy(pythons, tmp_path, saved_by, loaded_by):
    """Texts, bytes, swapped byte order, records and long doubles too, with trust and without."""
    script = Path(__file__).with_name("numpy_kinds.py")
    # A copy of the package alone: in site-packages, this environment's numpy is beside it.
    shutil.copytree(PACKAGE, tmp_path / "alone" / "neuralib" / "persistence")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "alone"), "PYTHONWARNINGS": "ignore"}

    def run(python, what):
        done = subprocess.run(
            [python, script, what, tmp_path / "results"], env=environment, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    run(pythons[saved_by], "save")
    found = run(pythons[loaded_by], "load")
    assert len(found) > 200
    assert [line for line in found if not line.endswith(": same")] == []
