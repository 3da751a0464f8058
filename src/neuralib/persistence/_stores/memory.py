"""A store in memory: for tests, and for results that need not outlive the process."""

from __future__ import annotations

import errno
import itertools
import os
import time
from typing import TYPE_CHECKING

from neuralib.persistence._bytes.sources import BytesSource
from neuralib.persistence._forks import STORE, lock_for_forks
from neuralib.persistence._stores.base import (
    CHANGED,
    Content,
    Replace,
    Stat,
    State,
    Store,
    data_of,
    problem_of_name,
    refuse_name,
)

if TYPE_CHECKING:
    from neuralib.persistence._bytes.sources import Source

_numbers = itertools.count()


class _Changes(State):
    """How many times names came or went."""

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = count

    def is_unchanged(self, now: _Changes, /) -> bool:
        return self.count == now.count

    def is_after(self, before: _Changes, new_names: int, /) -> bool:
        return self.count == before.count + new_names


class MemoryStore(Store):
    """Named bytes in the memory of this process.

    Threads may share it. A copy, a pickled one too, holds what there was when it was made, and is a store of its own.
    """

    process_local = True

    def __init__(self) -> None:
        self.url = f"memory:{next(_numbers)}"
        self._entries: dict[str, tuple[bytes, float, int]] = {}
        self._changes = 0
        self._lock = lock_for_forks(STORE)

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._entries)} names)"

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self.url = f"memory:{next(_numbers)}"
        self._entries = dict(self._entries)
        self._lock = lock_for_forks(STORE)

    def put(self, name: str, content: Content, /, *, replace: Replace = False, durable: bool = False) -> None:
        """Store *content* under *name*."""
        refuse_name(self, name, problem_of_name(name))
        data = data_of(content)
        while True:
            with self._lock:
                found = self._entries.get(name)
                if found is None or replace is True:
                    self._note(name, data)
                    return
            if replace is False:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self.location(name))
            replace(BytesSource(found[0]))  # may raise, and takes its time: not under the lock
            with self._lock:
                if self._entries.get(name) is found:
                    self._note(name, data)
                    return

    def _note(self, name: str, data: bytes) -> None:
        self._changes += 1
        self._entries[name] = (data, time.time(), self._changes)

    def put_if(self, name: str, content: Content, expected: _Changes | None, /, *, durable: bool = False) -> object:
        """Store *content* under the new name *name*, unless the store has changed."""
        with self._lock:
            if expected is not None and expected.count != self._changes:
                return CHANGED
            self.put(name, content)
            return _Changes(self._changes)

    def open(self, name: str, /) -> Source:
        """Return the content of *name*."""
        return BytesSource(self._entry(name)[0])

    def _entry(self, name: str) -> tuple[bytes, float, int]:
        try:
            return self._entries[name]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.location(name)) from None

    def names(self, prefix: str = "", /) -> list[str]:
        """Return the names that begin with *prefix*."""
        with self._lock:
            return [name for name in self._entries if name.startswith(prefix)]

    def stat(self, name: str, /) -> Stat:
        """Return the size and time of *name*."""
        data, changed_s, version = self._entry(name)
        return Stat(len(data), changed_s, version)

    def delete(self, name: str, /) -> None:
        """Remove *name*."""
        with self._lock:
            self._entry(name)
            del self._entries[name]
            self._changes += 1

    def state(self) -> _Changes:
        """Return how often names came or went."""
        return _Changes(self._changes)
