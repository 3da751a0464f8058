"""Results in several places, which are read as one: new ones are saved in the first."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from neuralib.persistence._stores.base import CHANGED, Content, Put, Replace, Stat, State, Store, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import PurePath

    from neuralib.persistence._bytes.sources import Source


class _States(State):
    """The states of all places at one time."""

    __slots__ = ("each",)

    def __init__(self, each: tuple[Any, ...]) -> None:
        self.each = each

    def is_unchanged(self, now: _States, /) -> bool:
        return all(before.is_unchanged(after) for before, after in zip(self.each, now.each, strict=True))


class SeveralStores(Store):
    """Several stores that are read as one.

    New results are saved in the first. Where several have one name, the result of the first of these is read. Only what is in
    the first can be deleted. A number is new in all of them when it is given; a process that saves into another of these
    places meanwhile may give the same number there.

    :param stores: the stores, the one that is saved into first
    """

    def __init__(self, stores: Sequence[Store]) -> None:
        self._first = stores[0]
        self._stores = tuple(stores)
        self.url = ", ".join(store.url for store in stores)
        self.shares_puts = self._first.shares_puts
        self.in_flight = max(store.in_flight for store in stores)
        self.process_local = any(store.process_local for store in stores)
        self.survives_fork = all(store.survives_fork for store in stores)

    def __repr__(self) -> str:
        return f"SeveralStores([{', '.join(map(repr, self._stores))}])"

    def _with(self, name: str) -> Store:
        """Return the store that has *name*; the first where none has."""
        return next((store for store in self._stores if store.has(name)), self._first)

    # ------------------------------------------------------------------------------------------ writing, in the first

    def put(self, name: str, content: Content, /, *, replace: Replace = False, durable: bool = False) -> None:
        """Store *content* under *name* in the first."""
        self._first.put(name, content, replace=replace, durable=durable)

    def put_many(self, puts: Sequence[Put], outcomes: Any = None, /, *, durable: bool = False) -> Any:
        """Store several contents in the first."""
        return self._first.put_many(puts, outcomes, durable=durable)

    def put_if(self, name: str, content: Content, expected: _States | None, /, *, durable: bool = False) -> Any:
        """Store *content* in the first, unless one of them has changed."""
        others = tuple(store.state() for store in self._stores[1:])
        if expected is not None and not all(
            now is not None and before.is_unchanged(now) for before, now in zip(expected.each[1:], others, strict=True)
        ):
            return CHANGED
        state = self._first.put_if(name, content, None if expected is None else expected.each[0], durable=durable)
        if state is CHANGED:
            return CHANGED
        return None if state is None or None in others else _States((state, *others))

    def draft(self) -> Any:
        """Return a new draft of the first."""
        return self._first.draft()

    def delete(self, name: str, /) -> None:
        """Remove *name* from the first.

        :raises PermissionError: another one has it
        """
        store = self._with(name)
        if store is not self._first:
            problem = "is in a place that is only read: delete it with a handler for that place"
            raise PermissionError(errno.EROFS, problem, store.location(name))
        store.delete(name)

    def sync(self, names: Iterable[str], /) -> None:
        """Write *names* of the first through to the disk."""
        self._first.sync(names)

    def sweep(self, *arguments: float) -> list[str]:
        """Remove what killed writers left in the first."""
        return self._first.sweep(*arguments)

    def hold(self) -> None:
        """Prepare the first."""
        self._first.hold()

    def release(self) -> None:
        """Give up what was prepared."""
        self._first.release()

    def group_size(self) -> int:
        """Return that of the first."""
        return self._first.group_size()

    # ------------------------------------------------------------------------------------------ reading, from all

    def open(self, name: str, /) -> Source:
        """Return the content of *name*, from the first that has it."""
        for store in self._stores:
            try:
                return store.open(name)
            except FileNotFoundError:
                continue
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._first.location(name))

    def reading(self, names: Iterable[str], /) -> Store:
        """Return a store that opens *names* with less work."""
        wanted = list(names)
        return SeveralStores([store.reading(wanted) for store in self._stores])

    def names(self, prefix: str = "", /) -> Iterator[str]:
        """Yield the names of all, each once."""
        seen: set[str] = set()
        for store in self._stores:
            found = listed(store, prefix)
            yield from found if not seen else (name for name in found if name not in seen)
            seen.update(found)

    def stat(self, name: str, /) -> Stat:
        """Return what is known of *name*."""
        return self._with(name).stat(name)

    def weight(self, name: str, /) -> int:
        """Return how much memory reading *name* takes at most, without asking which of them has it."""
        return max(store.weight(name) for store in self._stores)

    def has(self, name: str, /) -> bool:
        """Return whether one of them has *name*."""
        return any(store.has(name) for store in self._stores)

    def which(self, names: Iterable[str], /) -> list[str]:
        """Return those of *names* that one of them has."""
        names = list(names)
        found = set().union(*(store.which(names) for store in self._stores))
        return [name for name in names if name in found]

    def highest(self, head: str, tail: str, /) -> int:
        """Return the highest number of all."""
        return self.highest_among(head, (tail,))

    def highest_among(self, head: str, tails: tuple[str, ...], /) -> int:
        """Return the same for several ends of names, each place being listed once."""
        return max(store.highest_among(head, tails) for store in self._stores)

    def state(self) -> _States | None:
        """Return what tells whether one of them changes."""
        each = tuple(store.state() for store in self._stores)
        return None if None in each else _States(each)

    def location(self, name: str, /) -> str:
        """Return where *name* is."""
        return self._with(name).location(name)

    def path(self, name: str, /) -> PurePath:
        """Return the path of *name*."""
        return self._with(name).path(name)
