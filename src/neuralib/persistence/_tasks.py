"""Functions that run in other threads, or in the waiting thread if no other thread could be started.

This module uses :mod:`_thread` instead of :class:`threading.Thread`. A Ctrl-C while a ``Thread`` starts can leave it
registered as alive forever, together with everything it refers to, or raise a ``RuntimeError`` from its lock.
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
    """A function that is called once, by another thread or by the thread that waits for its return value.

    >>> task = Task(lambda: 6 * 7)
    >>> task.begin()
    >>> task.result()
    42
    """

    __slots__ = ("_claimed", "_done", "_error", "_function", "_value")

    def __init__(self, function: Callable[[], R]) -> None:
        self._function = function
        self._claimed = threading.RLock()
        self._done = False
        self._value: R | None = None
        self._error: BaseException | None = None

    def begin(self) -> None:
        """Start a thread that calls the function, if the system allows another thread."""
        try:
            _thread.start_new_thread(self.run_unclaimed, ())
        except RuntimeError:
            pass  # too many threads, or a platform without them: result() calls the function

    def take(self) -> None:
        """Wait until no other thread runs the function, and prevent other threads from calling it later."""
        self._claimed.acquire()  # never released; the lock is reentrant, so a second call does not block

    def result(self) -> R:
        """Return what the function returned, or raise what it raised. Call it here if no thread has called it."""
        self.take()
        if not self._done:
            self._run()
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # its traceback refers to this object
        return self._value  # type: ignore[return-value]  # set by the function's call

    def run_unclaimed(self) -> None:
        """Call the function, unless another thread calls it, has called it, or took the task."""
        if self._claimed.acquire(blocking=False):
            try:
                self._run()
            finally:
                self._claimed.release()

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:
            self._error = error
        self._done = True


class WorkerPool:
    """Threads that run tasks in the order in which they were given, until :meth:`end` or garbage collection.

    :param size: the number of threads. If the system allows fewer, :meth:`Task.result` runs the remaining tasks.
    """

    def __init__(self, size: int) -> None:
        self._tasks: queue.SimpleQueue[Task[Any] | None] = queue.SimpleQueue()
        try:
            for _ in range(size):
                # The thread gets the queue alone. With a reference to this object, __del__ would never run.
                _thread.start_new_thread(_run_tasks, (self._tasks,))
        except RuntimeError:
            pass

    def begin(self, task: Task[Any]) -> None:
        """Put *task* into the queue."""
        self._tasks.put(task)

    def end(self) -> None:
        """Let the threads end after the tasks that are in the queue."""
        self._tasks.put(None)

    def __del__(self) -> None:
        if hasattr(self, "_tasks"):  # missing if Ctrl-C interrupted __init__
            self.end()  # Ctrl-C may have prevented an earlier call


def _run_tasks(tasks: queue.SimpleQueue[Task[Any] | None]) -> None:
    """Run *tasks* until None, which goes back into the queue for the other threads."""
    while (task := tasks.get()) is not None:
        task.run_unclaimed()
        del task  # frees its return value
    tasks.put(None)


def read_ahead(threads: int, read: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, Callable[[], R]]]:
    """Yield each item with a function that returns ``read(item)``. Several threads call *read* in advance.

    At most ``2 * threads`` items are read in advance. When the iterator ends, for any reason, no thread reads any more.
    """
    if threads == 1:
        for item in items:
            yield item, partial(read, item)
        return
    rest = iter(items)
    ahead: collections.deque[tuple[T, Task[R]]] = collections.deque()
    pool = WorkerPool(threads)
    try:
        while True:
            for item in itertools.islice(rest, 2 * threads - len(ahead)):
                task = Task(partial(read, item))
                ahead.append((item, task))
                pool.begin(task)
                del task  # frees its return value as soon as the caller drops it
            if not ahead:
                return
            item, next_task = ahead[0]
            yield item, next_task.result
            del next_task
            ahead.popleft()
    finally:
        pool.end()
        for _, task in ahead:
            task.take()
