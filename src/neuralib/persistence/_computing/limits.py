"""A limit of time for a computation: what takes longer is stopped, where the system can do that."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

_GRACE_S = 10.0

LONGEST_S = 1e9
"""The longest limit that timers of all systems take, in seconds: 30 years."""


class CannotStopError(ValueError):
    """``timeout_s`` is given, and computations run where nothing can stop them."""


@contextmanager
def at_most(timeout_s: float, driver_pid: int) -> Generator[None, None, None]:
    """Raise an error in what takes more than *timeout_s* seconds.

    Compiled code that does not return to Python can't be interrupted. Where that runs in a worker process, the process is ended after
    as much time again, and at least 10 seconds: the engine reports that it lost a worker.

    :raises TimeoutError: the time is up
    :raises CannotStopError: this is not the main thread, or the system has no timers (Windows)
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        raise CannotStopError(
            f"timeout_s={timeout_s}: only the main thread of a process can be stopped, on POSIX systems: use an executor "
            f"of processes, or the limit of the engine"
        )

    def stop(*_: Any) -> None:
        raise TimeoutError(f"the computation took longer than timeout_s={timeout_s}")

    former = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    watched = os.getpid() != driver_pid and _watch(timeout_s + max(timeout_s, _GRACE_S))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
        if watched:
            faulthandler.cancel_dump_traceback_later()


def _watch(seconds: float) -> bool:
    """End this process in *seconds*, with a traceback; return whether that is possible."""
    try:
        faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or sys.stderr)
    except (AttributeError, OSError, RuntimeError, ValueError):  # standard error is not a file
        return False
    return True
