"""Work for other threads, which whoever waits for it does where no thread could be had.

Not by :class:`threading.Thread`: Ctrl-C while one begins leaves it among the living for good, with all that it refers to,
or becomes a ``RuntimeError`` of the lock that is waited for.
"""

from __future__ import annotations

import _thread
import collections
import itertools
import queue
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
R = TypeVar("R")


class Task(Generic[R]):
    """A function to be called once, by another thread or by whoever needs what it returns.

    >>> task = Task(lambda: 6 * 7)
    >>> task.begin()
    >>> task.result()
    42
    """

    __slots__ = ("_done", "_found", "_problem", "_taken", "_work")

    def __init__(self, work: Callable[[], R]) -> None:
        self._work = work
        self._taken = threading.RLock()
        self._done = False
        self._found: R | None = None
        self._problem: BaseException | None = None

    def begin(self) -> None:
        """Let another thread do it, if there is one to be had."""
        try:
            _thread.start_new_thread(self.help, ())
        except RuntimeError:
            pass  # there are too many, or none on this platform: who waits does it

    def take(self) -> None:
        """Wait for the thread that does it, if one has begun; from now on, none will."""
        self._taken.acquire()  # for good, and again without harm

    def result(self) -> R:
        """Return what the function returned, or raise what it raised."""
        self.take()
        if not self._done:
            self._do()
        if self._problem is not None:
            try:
                raise self._problem
            finally:
                self._problem = None  # its traceback refers to this object
        return self._found  # type: ignore[return-value]  # which it set

    def help(self) -> None:
        """Do it, unless somebody else does or did it, or it was taken."""
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


class Team:
    """Threads that do tasks in the order in which they are given, until it ends or nobody refers to it any more.

    :param size: how many threads; where fewer are to be had, whoever waits for a task does it
    """

    def __init__(self, size: int) -> None:
        self._tasks: queue.SimpleQueue[Task[Any] | None] = queue.SimpleQueue()
        try:
            for _ in range(size):
                _thread.start_new_thread(_help_with, (self._tasks,))  # not with this object: see __del__
        except RuntimeError:
            pass

    def begin(self, task: Task[Any]) -> None:
        """Let a thread do *task* when it comes to it."""
        self._tasks.put(task)

    def end(self) -> None:
        """Let the threads end once they have done what they were given."""
        self._tasks.put(None)

    def __del__(self) -> None:
        if hasattr(self, "_tasks"):  # else Ctrl-C came while it was made
            self.end()  # which Ctrl-C may have kept it from


def _help_with(tasks: queue.SimpleQueue[Task[Any] | None]) -> None:
    """Do *tasks* up to None, which is left for the next thread."""
    while (task := tasks.get()) is not None:
        task.help()
        del task  # and so what it found
    tasks.put(None)


def read_ahead(threads: int, read: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, Callable[[], R]]]:
    """Yield each of *items* with the function that gives what *read* makes of it, by threads where there are several.

    Threads are a few items ahead, never more. None reads any more when this ends, however it does.
    """
    if threads == 1:
        for item in items:
            yield item, partial(read, item)
        return
    rest = iter(items)
    ahead: collections.deque[tuple[T, Task[R]]] = collections.deque()
    team = Team(threads)
    try:
        while True:
            for item in itertools.islice(rest, 2 * threads - len(ahead)):
                task = Task(partial(read, item))
                ahead.append((item, task))
                team.begin(task)
                del task  # and so what it finds
            if not ahead:
                return
            item, following = ahead[0]
            yield item, following.result
            del following
            ahead.popleft()
    finally:
        team.end()
        for _, task in ahead:
            task.take()
