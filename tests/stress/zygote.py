"""A process that has imported the library and forks victims on request: ``zygote.py``.

For each line of JSON on its input it forks a child, prints the child's pid, and, when the child has ended, how. The
child waits until somebody opens the pipe that it is given, runs one scenario, and writes a line for each result that was
acknowledged.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from stress.scenarios import SCENARIOS

from neuralib.persistence import _core
from neuralib.persistence._stores import system


def go_the_way(way: str) -> None:
    """Take away what the file system has, so that the next best way is gone."""
    if way == "unnamed":
        return
    system.TMPFILE = 0
    if way == "hidden":
        return

    def no_link(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no links here")

    os.link = no_link  # type: ignore[assignment]
    if way == "claimed":
        _core.rename_exclusively = lambda *_: False  # type: ignore[assignment]


def victim(order: dict[str, str]) -> None:
    go_the_way(order["way"])
    said = os.open(order["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def say(**what: object) -> None:
        os.write(said, (json.dumps(what) + "\n").encode())

    scenario = SCENARIOS[order["scenario"]](Path(order["folder"]))
    scenario.say = say
    np.zeros(1)
    go = os.open(order["go"], os.O_RDONLY)
    os.write(said, b"\n")  # ready
    os.read(go, 1)
    before = len(os.listdir("/proc/self/fd"))
    try:
        scenario.run()
    except BaseException as error:
        number = getattr(error, "errno", None)
        say(error=type(error).__name__, text=str(error), errno=number, path=getattr(error, "filename", None))
    say(leaked=len(os.listdir("/proc/self/fd")) - before)


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
