"""Small contents that are read together, ahead of being asked for."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from neuralib.persistence._forks import FREED, lock_for_forks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from neuralib.persistence._bytes.sources import Source


class ReadAhead:
    """The next small contents of *names*, read whenever one is asked for.

    :param read_many: returns those of some contents that are small
    :param at_once: how many names it gets
    """

    def __init__(self, names: Iterable[str], read_many: Callable[[list[str]], dict[str, Source]], at_once: int) -> None:
        self._rest = iter(names)
        self._read_many, self._at_once = read_many, at_once
        self._read: dict[str, Source | None] = {}  # None: it is large, or was not there
        self._last: dict[str, Source | None] = {}  # which threads may still ask for
        self._reading = lock_for_forks(FREED)

    def source(self, name: str) -> Source | None:
        """Return the content of *name*; None where it has to be read alone."""
        found = self._read.get(name)
        if found is None:
            with self._reading:
                if name not in self._read and name not in self._last:
                    names = list(itertools.islice(self._rest, self._at_once))
                    found_many = self._read_many(names) if len(names) > 1 else {}
                    self._last, self._read = self._read, {**dict.fromkeys(names), **found_many}
                found = self._read.get(name) or self._last.get(name)
        return found
