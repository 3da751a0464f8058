"""Work for other threads, which whoever waits for it does where no thread could be had.

Not by :class:`threading.Thread`: Ctrl-C while one begins leaves it among the living for good, with all that it refers to,
or becomes a ``RuntimeError`` of the lock that is waited for.
"""

from __future__ import annotations

import _thread
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Task:
    """A function to be called once, by another thread or by whoever needs what it returns.

    >>> task = Task(lambda: 6 * 7)
    >>> task.begin()
    >>> task.result()
    42
    """

    __slots__ = ("_done", "_found", "_problem", "_taken", "_work")

    def __init__(self, work: Callable[[], int]) -> None:
        self._work = work
        self._taken = threading.RLock()
        self._done = False
        self._found = 0
        self._problem: BaseException | None = None

    def begin(self) -> None:
        """Let another thread do it, if there is one to be had."""
        try:
            _thread.start_new_thread(self._help, ())
        except RuntimeError:
            pass  # there are too many, or none on this platform: who waits does it

    def take(self) -> None:
        """Wait for the thread that does it, if one has begun; from now on, none will."""
        self._taken.acquire()  # for good, and again without harm

    def result(self) -> int:
        """Return what the function returned, or raise what it raised."""
        self.take()
        if not self._done:
            self._do()
        if self._problem is not None:
            try:
                raise self._problem
            finally:
                self._problem = None  # its traceback refers to this object
        return self._found

    def _help(self) -> None:
        if self._taken.acquire(blocking=False):
            try:
                self._do()
            finally:
                self._taken.release()

    def _do(self) -> None:
        try:
            self._found = self._work()
        except BaseException as error:
            self._problem = error
        self._done = True
