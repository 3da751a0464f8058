"""Locks that a fork waits for, so that its child can take them, and finds whole what they guard.

A child has only the thread that forked. What another thread held or was changing at that moment stays so in the child for good.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
import weakref
from typing import Any

_WAIT_S = 5.0  # at most for all: a thread may wait long under its lock, also for this one

OPENING, STORE, IMPORT, CLOSING, FREED = range(5)
"""The order in which a fork takes locks. A thread that holds one takes no lock that comes before.

A fork does not wait for the last kind: the child has it free, and begins anew what it guards.
"""

_numbers = itertools.count()
_locks: dict[tuple[int, int], weakref.ref[Any]] = {}  # by order and number
_forking = threading.local()  # its locks: those that this thread holds while it forks


def lock_for_forks(order: int) -> Any:
    """Return a reentrant lock that a fork waits for."""
    lock = threading.RLock()
    key = order, next(_numbers)
    _locks[key] = weakref.ref(lock, lambda _: _locks.pop(key, None))
    return lock


def _before() -> None:
    _forking.locks = []
    end = time.monotonic() + _WAIT_S
    for order in range(CLOSING + 1):
        # Listed only now: while files are opened, there may be new locks. It is one step, since threads make others meanwhile.
        for (of_lock, _), found in list(_locks.items()):
            lock = found() if of_lock == order else None
            if lock is not None and lock.acquire(timeout=max(0, end - time.monotonic())):
                _forking.locks.append(lock)


def _after_in_parent() -> None:
    for lock in _forking.locks:
        lock.release()
    _forking.locks = []


def _after_in_child() -> None:
    _after_in_parent()
    for found in list(_locks.values()):
        lock = found()
        if lock is not None and not lock._is_owned():
            lock._at_fork_reinit()  # as Python does with its own: who holds it is not in this process


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
