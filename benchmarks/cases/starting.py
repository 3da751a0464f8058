"""Starting a program that imports the package."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cases.common import side
from cases.finding import SOME, results

# Let Python write bytecode, as for an installed package, so that modules are compiled once.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def starting(*words: str) -> Any:
    def batch() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
        return time.perf_counter() - start

    while True:
        yield batch


@side("import", "existing")
@side("import", "ours")
def import_package(folder: Path) -> Any:
    yield from starting("-c", "from neuralib.persistence import PickleHandler, field, persistence_class")


@side("help of the command", "bare interpreter")
@side("import", "bare interpreter")
def bare_interpreter(folder: Path) -> Any:
    yield from starting("-c", "pass")


@side("help of the command", "ours")
def help_of_command(folder: Path) -> Any:
    yield from starting("-m", "neuralib.persistence", "--help")


@side("help of the command", "100 ms")
def budget(folder: Path) -> Any:
    while True:
        yield lambda: 0.1


LISTING = """
import os, sys, time
for entry in sorted(os.scandir(sys.argv[1]), key=lambda entry: entry.name):
    status = entry.stat()
    print(entry.name, status.st_size, time.strftime("%Y-%m-%d %H:%M", time.localtime(status.st_mtime)))
"""


@side("ls of 10000", "ours")
def listed(folder: Path) -> Any:
    _, target = results(folder, SOME)
    yield from starting("-m", "neuralib.persistence", "ls", str(target))


@side("ls of 10000", "scandir and stat")
def listed_by_hand(folder: Path) -> Any:
    """Print names, sizes and times of change in order, by a script."""
    _, target = results(folder, SOME)
    yield from starting("-c", LISTING, str(target))
