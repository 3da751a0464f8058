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
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from stress.reads import READS
from stress.scenarios import SCENARIOS, Scenario

MARK = "the mark between a scenario"

CALLS = "%file,%desc,%network"


class Outcome(NamedTuple):
    """How a victim ended."""

    code: int
    said: list[dict[str, Any]]
    points: list[tuple[str, int]]
    """The system calls of the scenario: each by its name, and how many of that name there were since it is watched."""
    hit: bool
    """Whether it came to the call at which it was to be disturbed."""


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
        made(scenario, folder).before()
        return folder

    def run(self, scenario: str, way: str, folder: Path, *injections: str, again: bool = False) -> Outcome:
        """Run *scenario* in *folder* under strace.

        :param injections: as its option ``inject`` takes them
        :param again: let the same process run it a second time
        """
        said, log = (self._work / f"{it}{self._runs}" for it in ("said", "log"))
        order = {"scenario": scenario, "way": way, "folder": str(folder), "said": str(said), "again": again}
        self._zygote.stdin.write(json.dumps(order) + "\n")
        self._zygote.stdin.flush()
        pid = self._zygote.stdout.readline().strip()
        while not said.exists() or not said.read_bytes().strip(b"\0"):
            time.sleep(0.001)
        inject = [it for injection in injections for it in ("-e", f"inject={injection}")]
        tracer = subprocess.Popen(
            ["strace", "-f", "-p", pid, "-o", str(log), "-e", f"trace={CALLS}", *inject],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert "attached" in tracer.stderr.readline()
        with open(said, "r+b") as slate:
            slate.seek(-1, os.SEEK_END)
            slate.write(b"x")
        code = int(self._zygote.stdout.readline())
        tracer.wait()
        tracer.stderr.close()
        lines = said.read_bytes()[:-1].strip(b"\0").decode().splitlines()
        traced = log.read_text()
        for it in (said, log):
            it.unlink(missing_ok=True)
        hit = any(sign in traced for sign in ("(INJECTED)", "--- SIGINT ", "+++ killed by SIGKILL"))
        return Outcome(code, [json.loads(it) for it in lines], points_of(traced, pid), hit)

    def disturbed(
        self, scenario: str, way: str, point: tuple[str, int], how: str, *, again: bool = False
    ) -> Iterator[tuple[str, Path, Outcome]]:
        """Disturb *scenario* at a call, in a new folder: give the call's name, the folder, and how it ended.

        Runs differ a little, so that one may end before it came to the call. That is given too, and the next is disturbed in
        the middle of what that one did: it could miss only if it were half as long.

        :param point: the call, one of an outcome's
        :param how: as strace's option ``inject`` takes it, without the call and ``when``
        :raises AssertionError: runs differ more than a little
        """
        for _ in range(3):
            call, turn = point
            folder = self.fresh(scenario)
            outcome = self.run(scenario, way, folder, f"{call}:{how}:when={turn}", again=again)
            yield call, folder, outcome
            if outcome.hit:
                return
            point = outcome.points[len(outcome.points) // 2]
        raise AssertionError(f"three runs did not come to a call in the midst of the one before: {point}")


def made(scenario: str, folder: Path) -> Scenario:
    """Return the scenario of that name."""
    return (SCENARIOS[scenario] if scenario in SCENARIOS else READS[scenario])(folder)


def points_of(log: str, pid: str) -> list[tuple[str, int]]:
    """Return the calls of the process between the marks in *log*, each with its turn."""
    counts: collections.Counter[str] = collections.Counter()
    points = []
    marks = 0
    for line in log.splitlines():
        found = re.match(rf"{pid} +(\w+)\(", line)
        if found is None:
            continue
        call = found[1]
        counts[call] += 1
        if MARK in line:
            marks += 1
        elif marks == 1:
            points.append((call, counts[call]))
    return points


needs_strace = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
