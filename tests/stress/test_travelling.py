"""Classes of a script or notebook work in worker processes, where joblib and dask send them by cloudpickle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("travelling.py")


@pytest.mark.parametrize("by", ["joblib", "distributed"])
def test_a_class_of_a_script_works_in_worker_processes(by):
    """File names, numbers and defaults are the same there, and what is sent back is of the class here."""
    pytest.importorskip(by)
    done = subprocess.run([sys.executable, SCRIPT, by], check=False, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "same\n"), done.stderr


def test_a_class_without_a_source_file_works_in_worker_processes():
    """Such as one from a notebook cell."""
    pytest.importorskip("joblib")
    done = subprocess.run(
        [sys.executable, "-", "joblib"],
        input=SCRIPT.read_text(),
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, "same\n"), done.stderr
