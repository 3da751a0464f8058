"""The compiled core is called with wrong arguments: it raises errors, and never ends the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_no_wrong_argument_ends_the_process(tmp_path):
    """Each function and method is called with None and values of wrong types in each place, also inside of collections."""
    script = Path(__file__).with_name("wrong_arguments.py")
    ran = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{ran.stdout[-300:]}\n{ran.stderr[-2000:]}"
