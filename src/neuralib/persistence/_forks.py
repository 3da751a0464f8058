"""Locks that a fork waits for, so that its child can take them, and finds whole what they guard.

A child has only the thread that forked. What another thread held or was changing at that moment stays so in the child for good.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_WAIT_S = 5.0  # at most for all: a thread may wait long under its lock, also for this one

OPENING, STORE, IMPORT, CLOSING, FREED = range(5)
"""The order in which a fork takes locks. A thread that holds one takes no lock that comes before.

A fork does not wait for the last kind: the child has it free, and begins anew what it guards.
"""

this_process = object()
"""Another object in each forked process. What is noted with it was made by this process if it is still the same one."""

_numbers = itertools.count()
_locks: dict[tuple[int, int], weakref.ref[Any]] = {}  # by order and number


class _Forks(threading.local):
    """The forks that this thread is making, each with its locks, and whether this thread held them before.

    There may be several: a signal handler may fork while a fork waits.
    """

    def __init__(self) -> None:
        self.locks: list[list[tuple[Any, bool]]] = []


_forking = _Forks()
_last: list[Callable[[], object]] = []


def lock_for_forks(order: int) -> Any:
    """Return a reentrant lock that a fork waits for."""
    lock = threading.RLock()
    key = order, next(_numbers)
    _locks[key] = weakref.ref(lock, lambda _: _locks.pop(key, None))
    return lock


def run_before_forks(function: Callable[[], object]) -> None:
    """Call *function* before each fork, when its locks are held."""
    _last.append(function)


def is_idle(lock: Any) -> bool:
    """Return whether *lock* is held by the fork alone: neither another thread nor this one was using what it guards."""
    return any(lock is each and not was_held for each, was_held in _forking.locks[-1])


def _before() -> None:
    locks: list[tuple[Any, bool]] = []
    _forking.locks.append(locks)
    end = time.monotonic() + _WAIT_S
    for order in range(CLOSING + 1):
        # Listed only now: while files are opened, there may be new locks. It is one step, since threads make others meanwhile.
        for (of_lock, _), found in list(_locks.items()):
            lock = found() if of_lock == order else None
            if lock is not None:
                was_held = lock._is_owned()
                if lock.acquire(timeout=max(0, end - time.monotonic())):
                    locks.append((lock, was_held))
    for function in _last:
        function()


def _after_in_parent() -> None:
    for lock, _ in _forking.locks.pop():
        lock.release()


def _after_in_child() -> None:
    global this_process  # noqa: PLW0603
    this_process = object()
    _after_in_parent()
    for found in list(_locks.values()):
        lock = found()
        if lock is not None and not lock._is_owned():
            lock._at_fork_reinit()  # as Python does with its own: who holds it is not in this process


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
