"""A fork server: a process that imports the library once, and forks a child (a victim) for each scenario: ``fork_server.py``.

For each line of JSON on its input it forks a child, prints the child's pid, and prints its exit code when it has ended. The
child waits for the start flag, runs one scenario, and writes a line of JSON for each result whose save returned. The flag and
the lines are in shared memory, so that all system calls between the two marks are the scenario's own.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pickletools  # noqa: F401

import numpy as np
import numpy.ma  # noqa: ICN001
import numpy.random  # noqa: ICN001  # imported here, so that no scenario has to
import zlib_ng.zlib_ng  # noqa: F401
from stress.publishing import publish_by
from stress.reads import READS
from stress.scenarios import SCENARIOS

MARK = "/the mark between a scenario and what is around it"
"""A path that doesn't exist: asking for it marks a place in the log of strace."""


class SharedReports:
    """Lines of JSON in a mapped file: written without a system call, and kept if the process is killed.

    The last byte is the start flag.
    """

    SIZE = 1 << 16

    def __init__(self, path: str) -> None:
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.ftruncate(file, self.SIZE)
        self._memory = mmap.mmap(file, self.SIZE)
        os.close(file)
        self._at = 0

    def report(self, **facts: object) -> None:
        line = (json.dumps(facts) + "\n").encode()
        self._memory[self._at : self._at + len(line)] = line
        self._at += len(line)

    def wait_for_start(self) -> None:
        while not self._memory[-1]:
            time.sleep(0.0005)


def facts_of(error: BaseException) -> dict[str, object]:
    """Return what a test checks of *error*, as plain data."""
    return {
        "error": type(error).__name__,
        "kinds": [kind.__name__ for kind in type(error).__mro__],
        "text": "\n".join([str(error), *getattr(error, "__notes__", [])]),
        "errno": getattr(error, "errno", None),
        "path": str(getattr(error, "filename", None) or getattr(error, "path", None)),
    }


def run_victim(order: dict[str, str]) -> None:
    """Run the scenario that *order* names, in the child."""
    publish_by(order["publishing"])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for background jobs
    reports = SharedReports(order["reports"])
    name = order["scenario"]
    scenario = (SCENARIOS[name] if name in SCENARIOS else READS[name])(Path(order["folder"]))
    scenario.report = reports.report
    np.zeros(1)
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    reports.report(ready=True)
    reports.wait_for_start()
    os.access(MARK, os.F_OK)
    try:
        scenario.run()
        for _ in range(2):  # the interpreter checks for a pending signal at the end of a loop
            pass
    except BaseException as error:
        reports.report(**facts_of(error))
    os.access(MARK, os.F_OK)
    gc.collect()
    reports.report(leaked=len(os.listdir("/proc/self/fd")) - before)
    if order["again"]:
        scenario.report_results()
        try:
            scenario.run()
        except BaseException as error:
            reports.report(**{"again " + fact: value for fact, value in facts_of(error).items()})
        scenario.report_results()
    reports.report(ended=True)


def main() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                run_victim(json.loads(line))
                code = 0
            finally:
                os._exit(code)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
