"""Starting a program that imports the package."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cases.common import side

if TYPE_CHECKING:
    pass


def starting(code: str) -> Any:
    def batch() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    while True:
        yield batch


@side("import", "existing")
@side("import", "ours")
def import_package(folder: Path) -> Any:
    yield from starting("import neuralib.persistence")


@side("import", "bare interpreter")
def bare_interpreter(folder: Path) -> Any:
    yield from starting("pass")
