"""A process that has imported the library and forks victims on request: ``zygote.py``.

For each line of JSON on its input it forks a child, prints the child's pid, and, when the child has ended, how. The
child waits for its sign, runs one scenario, and says a line for each result that was acknowledged. Both are done in
memory that it shares, so that all system calls between two marks are the scenario's own.
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
import numpy.random  # noqa: ICN001  # this and those beside it here, so that their import is no part of a scenario
import zlib_ng.zlib_ng  # noqa: F401
from stress.reads import READS
from stress.scenarios import SCENARIOS
from stress.ways import go_the_way

MARK = "/the mark between a scenario and what is around it"


class Slate:
    """Lines that outlive the process that writes them, without a system call; the last byte is the sign to begin."""

    SIZE = 1 << 16

    def __init__(self, path: str) -> None:
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.ftruncate(file, self.SIZE)
        self._memory = mmap.mmap(file, self.SIZE)
        os.close(file)
        self._at = 0

    def say(self, **what: object) -> None:
        line = (json.dumps(what) + "\n").encode()
        self._memory[self._at : self._at + len(line)] = line
        self._at += len(line)

    def wait(self) -> None:
        while not self._memory[-1]:
            time.sleep(0.0005)


def told(error: BaseException) -> dict[str, object]:
    """Return what *error* tells."""
    return {
        "error": type(error).__name__,
        "kinds": [it.__name__ for it in type(error).__mro__],
        "text": "\n".join([str(error), *getattr(error, "__notes__", [])]),
        "errno": getattr(error, "errno", None),
        "path": str(getattr(error, "filename", None) or getattr(error, "path", None)),
    }


def victim(order: dict[str, str]) -> None:
    go_the_way(order["way"])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which is off in what a shell started in the background
    slate = Slate(order["said"])
    name = order["scenario"]
    scenario = (SCENARIOS[name] if name in SCENARIOS else READS[name])(Path(order["folder"]))
    scenario.say = slate.say
    np.zeros(1)
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    slate.say(ready=True)
    slate.wait()
    os.access(MARK, os.F_OK)
    try:
        scenario.run()
        for _ in range(2):  # a loop, in which the interpreter looks for a signal that came with the last call
            pass
    except BaseException as error:
        slate.say(**told(error))
    os.access(MARK, os.F_OK)
    gc.collect()
    slate.say(leaked=len(os.listdir("/proc/self/fd")) - before)
    if order["again"]:
        scenario.after()
        try:
            scenario.run()
        except BaseException as error:
            slate.say(**{"again " + fact: value for fact, value in told(error).items()})
        scenario.after()
    slate.say(ended=True)


def main() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                victim(json.loads(line))
                code = 0
            finally:
                os._exit(code)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
