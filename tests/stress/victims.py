"""Victims: processes that run one scenario under strace, which kills them or makes a chosen system call fail."""

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

MARK = "the mark between a scenario"  # see fork_server.py
TRACED = "%file,%desc,%network"  # the classes of system calls that strace logs


class Outcome(NamedTuple):
    """How a victim ended."""

    exit_code: int
    reports: list[dict[str, Any]]
    points: list[tuple[str, int]]
    """The system calls of the scenario: the name of each, and its number among the calls of that name, from 1 on."""
    reached: bool
    """Whether the process reached the call that was to be disturbed."""


def why_no_strace() -> str | None:
    """Return why strace can't be used here, or None."""
    if sys.platform != "linux":
        return "strace exists on Linux only"
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return "tracing is not allowed here" if done.returncode else None


class Victims:
    """Starts victims by a fork server, and traces them."""

    def __init__(self) -> None:
        self._work = Path(tempfile.mkdtemp(prefix="victims-"))
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        self._fork_server = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "fork_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._runs = 0

    def close(self) -> None:
        self._fork_server.stdin.close()
        self._fork_server.wait()
        self._fork_server.stdout.close()
        shutil.rmtree(self._work)

    def prepared_folder(self, scenario: str) -> Path:
        """Return a new folder that is prepared for *scenario*."""
        self._runs += 1
        folder = self._work / f"{self._runs}"
        folder.mkdir()
        make_scenario(scenario, folder).prepare()
        return folder

    def run(self, scenario: str, publishing: str, folder: Path, *injections: str, again: bool = False) -> Outcome:
        """Run *scenario* in *folder* under strace.

        :param injections: what strace's option ``inject`` takes
        :param again: let the same process run the scenario a second time, undisturbed
        """
        report_file, log = (self._work / f"{name}{self._runs}" for name in ("reports", "log"))
        order = {
            "scenario": scenario,
            "publishing": publishing,
            "folder": str(folder),
            "reports": str(report_file),
            "again": again,
        }
        self._fork_server.stdin.write(json.dumps(order) + "\n")
        self._fork_server.stdin.flush()
        pid = self._fork_server.stdout.readline().strip()
        while not report_file.exists() or not report_file.read_bytes().strip(b"\0"):
            time.sleep(0.001)
        inject = [argument for injection in injections for argument in ("-e", f"inject={injection}")]
        tracer = subprocess.Popen(
            ["strace", "-f", "-p", pid, "-o", str(log), "-e", f"trace={TRACED}", *inject],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert "attached" in tracer.stderr.readline()
        with open(report_file, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"x")  # the start flag
        exit_code = int(self._fork_server.stdout.readline())
        tracer.wait()
        tracer.stderr.close()
        lines = report_file.read_bytes()[:-1].strip(b"\0").decode().splitlines()
        traced = log.read_text()
        for path in (report_file, log):
            path.unlink(missing_ok=True)
        reached = any(sign in traced for sign in ("(INJECTED)", "--- SIGINT ", "+++ killed by SIGKILL"))
        return Outcome(exit_code, [json.loads(line) for line in lines], points_of(traced, pid), reached)

    def disturb(
        self, scenario: str, publishing: str, point: tuple[str, int], how: str, *, again: bool = False
    ) -> Iterator[tuple[str, Path, Outcome]]:
        """Run *scenario* in a new folder and disturb it at one call; yield the call's name, the folder, and the outcome.

        Runs differ a little, so a run may end before it comes to the call. Its outcome is yielded too, and another run is
        disturbed in the middle of the calls that this one made. That can miss only if the other run is half as long.

        :param point: the call: one of :attr:`Outcome.points`
        :param how: what strace's option ``inject`` takes, without the call and ``when``
        :raises AssertionError: three runs in a row ended too early
        """
        for _ in range(3):
            call, turn = point
            folder = self.prepared_folder(scenario)
            outcome = self.run(scenario, publishing, folder, f"{call}:{how}:when={turn}", again=again)
            yield call, folder, outcome
            if outcome.reached:
                return
            point = outcome.points[len(outcome.points) // 2]
        raise AssertionError(f"three runs did not reach the middle of the run before: {point}")


def make_scenario(scenario: str, folder: Path) -> Scenario:
    """Return the scenario of that name."""
    return (SCENARIOS[scenario] if scenario in SCENARIOS else READS[scenario])(folder)


def points_of(log: str, pid: str) -> list[tuple[str, int]]:
    """Return the calls of the process between the two marks in *log*, each with its number among those of its name."""
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


needs_strace = pytest.mark.skipif(why_no_strace() is not None, reason=str(why_no_strace()))
