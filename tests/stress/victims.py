"""Victims of strace: processes that are killed, or whose system calls fail, at a chosen call."""

from __future__ import annotations

import collections
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from stress.scenarios import SCENARIOS

CALLS = "%file,%desc,%network"


class Outcome(NamedTuple):
    """How a victim ended."""

    code: int
    said: list[dict[str, Any]]
    calls: collections.Counter[str]


def why_not() -> str | None:
    """Return why nothing can be traced here, or None."""
    if sys.platform != "linux":
        return "strace is there on Linux only"
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return "tracing is not allowed here" if done.returncode else None


class Victims:
    """Forks victims, and traces them."""

    def __init__(self) -> None:
        self._work = Path(tempfile.mkdtemp(prefix="victims-"))
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        self._zygote = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "zygote.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._runs = 0

    def close(self) -> None:
        self._zygote.stdin.close()
        self._zygote.wait()
        self._zygote.stdout.close()
        shutil.rmtree(self._work)

    def fresh(self, scenario: str) -> Path:
        """Return a folder that is ready for *scenario*."""
        self._runs += 1
        folder = self._work / f"{self._runs}"
        folder.mkdir()
        SCENARIOS[scenario](folder).before()
        return folder

    def run(self, scenario: str, way: str, folder: Path, *injections: str) -> Outcome:
        """Run *scenario* in *folder* under strace; with *injections* as its option ``inject`` takes them."""
        go, said, log = (self._work / f"{it}{self._runs}" for it in ("go", "said", "log"))
        os.mkfifo(go)
        gate = os.open(go, os.O_RDWR)  # which does not wait for a reader: it may be dead already
        order = {"scenario": scenario, "way": way, "folder": str(folder), "go": str(go), "said": str(said)}
        self._zygote.stdin.write(json.dumps(order) + "\n")
        self._zygote.stdin.flush()
        pid = self._zygote.stdout.readline().strip()
        while not said.exists() or not said.stat().st_size:
            time.sleep(0.001)
        inject = [it for injection in injections for it in ("-e", f"inject={injection}")]
        tracer = subprocess.Popen(
            ["strace", "-f", "-p", pid, "-o", str(log), "-e", f"trace={CALLS}", *inject],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert "attached" in tracer.stderr.readline()
        os.write(gate, b"x")
        code = int(self._zygote.stdout.readline())
        tracer.wait()
        tracer.stderr.close()
        os.close(gate)
        lines = said.read_text().strip().splitlines()
        counts = collections.Counter(re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE))
        for it in (go, said, log):
            it.unlink(missing_ok=True)
        return Outcome(code, [json.loads(it) for it in lines], counts)


def points(calls: collections.Counter[str]) -> list[tuple[str, int]]:
    """Return each call that was seen, with its turn."""
    return [(call, turn) for call, count in sorted(calls.items()) for turn in range(1, count + 1)]


needs_strace = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
