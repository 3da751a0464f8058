"""Functions that run in other threads, or in the waiting thread if no other thread could be started.

This module uses :mod:`_thread` instead of :class:`threading.Thread`. A Ctrl-C while a ``Thread`` starts can leave it
registered as alive forever, together with everything it refers to, or raise a ``RuntimeError`` from its lock.
"""

from __future__ import annotations

import _thread
import collections
import itertools
import queue
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from neuralib.persistence._forks import FREED, lock_for_forks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
R = TypeVar("R")

_MOST_AHEAD_BYTES = 1 << 28


class Task(Generic[R]):
    """A function that is called once, by another thread or by the thread that waits for its return value.

    >>> task = Task(lambda: 6 * 7)
    >>> task.begin()
    >>> task.result()
    42
    """

    __slots__ = ("_claimed", "_done", "_error", "_function", "_taken", "_value")

    def __init__(self, function: Callable[[], R]) -> None:
        self._function = function
        self._claimed = lock_for_forks(FREED)
        self._done = self._taken = False
        self._value: R | None = None
        self._error: BaseException | None = None

    def begin(self) -> None:
        """Start a thread that calls the function, if the system allows another thread."""
        try:
            _thread.start_new_thread(self.run_unclaimed, ())
        except RuntimeError:
            pass  # too many threads, or a platform without them: result() calls the function

    def take(self) -> None:
        """Wait until no other thread runs the function, and prevent threads that were started from calling it later.

        Any thread may call this: the garbage collector ends iterators in whichever thread it happens to run.
        """
        with self._claimed:  # reentrant: the function itself may set off the garbage collector
            self._taken = True

    def result(self) -> R:
        """Return what the function returned, or raise what it raised. Call it here if no thread has called it."""
        with self._claimed:
            self._taken = True
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
                if not self._taken:
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


def read_ahead(
    threads: int, read: Callable[[T], R], items: Iterable[T], weight: Callable[[T], int] | None = None
) -> Iterator[tuple[T, Callable[[T], R]]]:
    """Yield each item with a function that, given the item, returns ``read(item)``. Several threads call *read* in advance.

    At most ``2 * threads`` items are read in advance. When the iterator ends, for any reason, no thread reads any more.

    :param weight: returns how much memory an item takes, in bytes. No more are read in advance while those that were take
        256 MiB
    """
    if threads == 1:
        return zip(items, itertools.repeat(read), strict=False)
    return _read_by_threads(threads, read, items, weight)


def _result_of(task: Task[R], _item: object) -> R:
    return task.result()


def _read_by_threads(
    threads: int, read: Callable[[T], R], items: Iterable[T], weight: Callable[[T], int] | None
) -> Iterator[tuple[T, Callable[[T], R]]]:
    rest = iter(items)
    ahead: collections.deque[tuple[T, int, Task[R]]] = collections.deque()
    held = 0
    pool = WorkerPool(threads)
    try:
        while True:
            room = 2 * threads - len(ahead) if held < _MOST_AHEAD_BYTES else 0
            for item in itertools.islice(rest, room):
                task = Task(partial(read, item))
                size = 0 if weight is None else weight(item)
                held += size
                ahead.append((item, size, task))
                pool.begin(task)
                del task  # frees its return value as soon as the caller drops it
                if held >= _MOST_AHEAD_BYTES:
                    break
            if not ahead:
                return
            item, size, next_task = ahead[0]
            yield item, partial(_result_of, next_task)
            del next_task
            ahead.popleft()
            held -= size
    finally:
        pool.end()
        for _, _, task in reversed(ahead):  # those that no thread has begun come first: else some would still begin
            task.take()
