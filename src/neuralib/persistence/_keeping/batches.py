"""Many results saved together: a progress bar, and one wait or transaction shared by many."""

from __future__ import annotations

import copy
import os
import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from neuralib.persistence._forks import FREED, lock_for_forks
from neuralib.persistence._keeping.keeper import PATIENCE, Keeper, names_of
from neuralib.persistence._packages import import_extra
from neuralib.persistence._stores.base import Put, State

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from neuralib.persistence._keeping.numbering import Numbering
    from neuralib.persistence._stores.base import Store

T = TypeVar("T")

_GROUP_BYTES = 1 << 28
_PREPARE_EVERY = 256


def save_all(keeper: Keeper[T], results: Iterable[T], *, progress: bool) -> int:
    """Save *results*, and return how many."""
    joins = keeper.joins  # looked up once: another thread may end the batch
    if joins is not None:
        with bar(results, progress, "results") as shown, joins(keeper.durable) as save:
            return sum(save(result) is None for result in shown)
    with _begun(keeper, " before this one") as batch:
        try:
            with bar(results, progress, "results") as shown:
                for result in shown:
                    batch.add(result)
        finally:
            batch.flush()  # what was complete before an error is saved too
    return batch.saved


@contextmanager
def _begun(keeper: Keeper[T], when: str = "") -> Generator[Batch[T]]:
    """Give a new batch. After an error, it is given up, and a note says how many were saved, and *when*."""
    batch = SharedBatch(keeper) if keeper.durable or keeper.store.shares_puts else Batch(keeper)
    try:
        keeper.store.hold()
        yield batch
    except BaseException as error:
        batch.give_up()
        error.add_note(f"{batch.saved} results of the batch were saved{when}")
        raise
    finally:
        keeper.store.release()


@contextmanager
def together(keeper: Keeper[T]) -> Generator[Keeper[T]]:
    """Give a keeper whose saves are one batch, which is complete when the block ends. Threads may share it."""
    lock = lock_for_forks(FREED)
    own, batching = copy.copy(keeper), copy.copy(keeper)  # the one of the batch, and the one that adds to it

    def save(result: T) -> None:
        with lock:
            own.durable = own.durable or batching.durable  # which may be set at any time
            if not batch.is_over:
                batch.add(result)
                return
        own.save(result)  # of a thread that took the handler's keeper before the block ended

    @contextmanager
    def joined(durable: bool) -> Generator[Callable[[T], None]]:
        own.durable = own.durable or durable
        try:
            yield save
        finally:
            with lock:
                batch.flush()

    batching.save, batching.joins = save, joined  # type: ignore[method-assign]
    with _begun(own) as batch:
        try:
            yield batching
        finally:
            with lock:
                batch.is_over = True
                batching.joins = None
                del batching.save  # which refers to it: a cycle would keep the store open
                batch.flush()


@contextmanager
def bar(items: Iterable[T], wanted: bool, unit: str, total: int | None = None) -> Generator[Iterable[T], None, None]:
    """Give *items* again, with a progress bar in a terminal where that is *wanted*.

    :param total: how many there will be, where *items* have no length
    """
    if not wanted:
        yield items
        return
    tqdm = import_extra("tqdm.auto", "progress", "a progress bar").tqdm
    with tqdm(items, unit=f" {unit}", total=total, disable=None) as shown:  # None: off where it is no terminal
        yield shown


class Batch(Generic[T]):
    """Results saved one by one."""

    is_over = False
    """Whether the block was left whose saves it takes."""

    def __init__(self, keeper: Keeper[T]) -> None:
        self._keeper = keeper
        self.saved = 0

    def __del__(self) -> None:
        if hasattr(self, "_keeper"):  # else Ctrl-C came while it was made
            self._keeper.store.release()  # which Ctrl-C may have kept it from

    def add(self, result: T) -> None:
        """Save *result*, at the latest when the batch is flushed."""
        self._keeper.save(result)
        self.saved += 1
        if self.saved % _PREPARE_EVERY == 1:
            self._keeper.store.hold()  # the folder is there by now; later, it was released where others replaced it

    def flush(self) -> None:
        """Save what waits."""

    def give_up(self) -> None:
        """After an error, leave no result with a number under which it was not saved."""


_Waiting = tuple[Any, "Store", Put, "Numbering | None", "tuple[str, str] | None", int]
"""A result whose content is complete, but has no name yet, with its store and its put; then the numbering by which it has
its number, None where its number was given, or it has none; its series, and its number.

A plain tuple is made in a fifth of the time of a named one, and there is one for each result.
"""


_shared: weakref.WeakSet[SharedBatch[Any]] = weakref.WeakSet()


class SharedBatch(Batch[T]):
    """Results that wait, as complete contents without names, until all get their names in one step of the store."""

    def __init__(self, keeper: Keeper[T]) -> None:
        super().__init__(keeper)
        self._waiting: list[_Waiting] = []
        self._numbers: dict[tuple[str, str, str], int] = {}  # by store and series: the number after those of the group
        self._looked_at: set[Numbering] = set()  # whose store was looked at for the group: once does for all series
        self._bytes = 0
        self._most = keeper.store.group_size()
        # By identity, the results whose numbers are not published yet. Each is noted before it gets its number, since
        # Ctrl-C may come in between: saved again with a number that is not its own, it would replace another's result.
        self._unpublished: dict[int, Any] = {}
        self._field = keeper.info.layout.autoinc
        self._thread = threading.get_ident()
        _shared.add(self)

    def leave_to_parent(self) -> None:
        """Forget what waits, in a forked process: its parent saves it, and a number once more would be another result."""
        if self._thread != threading.get_ident():
            self.is_over = True  # the thread that leaves the block is not in this process
        self._waiting, self._bytes = [], 0
        for each in (self._numbers, self._looked_at, self._unpublished):
            each.clear()

    def give_up(self) -> None:
        """Take back the numbers of all that were not published."""
        for result in self._unpublished.values():
            setattr(result, self._field, None)  # type: ignore[arg-type]
        self._unpublished.clear()

    def add(self, result: T) -> None:
        """Make the content of *result*, with its number."""
        self._wait(result)
        if len(self._waiting) >= self._most or self._bytes >= _GROUP_BYTES:
            self.flush()

    def _wait(self, result: T) -> None:
        """Add *result* to those that wait, with its content, and its number where it has none."""
        keeper, field = self._keeper, self._field
        numbering, series, number = None, None, -1
        if field is None or getattr(result, field, None) is not None:
            store, name = keeper.place_of(result)
            content = keeper.records.content(result, store, name, durable=False)
            put = Put(name, content, keeper.replacing(result, store, name, content))
        else:
            numbering, series = keeper.series_of(result)
            store = numbering.store
            key = (store.url, *series)
            number = self._numbers.get(key, -1)
            if number < 0:
                number, _ = numbering.next(series, look=numbering not in self._looked_at)
                self._looked_at.add(numbering)
            name = f"{series[0]}{number}{series[1]}"
            self._unpublished[id(result)] = result
            setattr(result, field, number)
            try:
                content = keeper.records.content(result, store, name, durable=False)
            except BaseException:
                setattr(result, field, None)
                raise
            self._numbers[key] = number + 1
            put = Put(name, content)
        self._bytes += len(content) if type(content) is bytes else content.size
        self._waiting.append((result, store, put, numbering, series, number))

    def flush(self) -> None:
        """Give all that wait their names. Those whose numbers others took meanwhile get new ones, and wait again.

        A batch that waits for the disk before taking numbers never wins against writers that don't wait. So after some losses
        it takes its numbers first. A loss of power in between may then leave torn files, of results whose save has not
        returned; loading them raises an error.
        """
        losses = 0
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            self._numbers.clear()
            self._looked_at.clear()
            self._bytes = 0
            lost = self._put_all(waiting, names_first=losses >= PATIENCE)
            losses += 1
            try:
                for result in lost:
                    self._wait(result)
            except BaseException:
                self._forget(self._waiting)
                raise

    def _put_all(self, waiting: list[_Waiting], *, names_first: bool) -> list[Any]:
        """Put what waits; return the results whose numbers were taken."""
        lost: list[Any] = []
        try:
            for store, group in _by_store(waiting):
                self._put_group(store, group, lost, names_first=names_first)
        except BaseException:
            self._forget(waiting)
            for result in lost:
                self._keeper.save(result)
                self.saved += 1
            raise
        return lost

    def _put_group(self, store: Store, group: list[_Waiting], lost: list[Any], *, names_first: bool) -> None:
        keeper = self._keeper
        puts = [put for _, _, put, _, _, _ in group]
        numberings = [numbering for _, _, _, numbering, _, _ in group]
        numbered = None not in numberings
        before = numberings[0].view.state if numbered else None  # type: ignore[union-attr]
        outcomes: list[Exception | None] = []
        try:
            store.put_many(puts, outcomes, durable=keeper.durable and not names_first)
            if names_first and keeper.durable:
                done = [put for put, taken in zip(puts, outcomes, strict=True) if taken is None]
                store.sync([name for put in done for name in names_of(put.name, put.content)])
        finally:
            all_stored = outcomes == [None] * len(group)
            if all_stored and (numbered or self._field is None):
                if numbered:
                    self._note_numbers(group, _state_after(store, before, len(group)))
                self.saved += len(group)
            else:
                for waiting, problem in zip(group, outcomes, strict=False):
                    result, _, _, numbering, _, _ = waiting
                    if problem is None:
                        self._note(waiting, taken=False)
                        self.saved += 1
                    elif numbering is not None and isinstance(problem, FileExistsError):
                        self._note(waiting, taken=True)
                        lost.append(result)

    def _note_numbers(self, group: list[_Waiting], state: Any) -> None:
        """Note that all of *group*, which all have their numbers from here, are stored: of each series the last number."""
        last = {}
        for result, _, _, numbering, series, number in group:
            self._unpublished.pop(id(result), None)
            last[series] = numbering, number
        for series, (numbering, number) in last.items():
            numbering.published(series, number, numbering.view, state)  # type: ignore[union-attr,arg-type]

    def _note(self, waiting: _Waiting, *, taken: bool) -> None:
        result, _, _, numbering, series, number = waiting
        self._unpublished.pop(id(result), None)
        if numbering is None or series is None:
            if self._field is not None:
                self._keeper.note_number(result)
        elif taken:
            numbering.lost(series, number, numbering.view)
            setattr(result, self._field, None)  # type: ignore[arg-type]
        else:
            numbering.published(series, number, numbering.view, None)

    def _forget(self, waiting: list[_Waiting]) -> None:
        """Give up what waits and was not put: their numbers are open again."""
        for result, _, put, _, _, _ in waiting:
            if type(put.content) is not bytes:
                put.content.discard()
            if self._unpublished.pop(id(result), None) is not None and self._field is not None:
                setattr(result, self._field, None)
        waiting.clear()


def _leave_to_parent() -> None:
    for batch in list(_shared):
        batch.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def _state_after(store: Store, before: Any, new_names: int) -> Any:
    """Return the state of *store* if it is known that since *before* nothing happened but that so many names were put."""
    now = store.state() if isinstance(before, State) else None
    return now if isinstance(now, State) and now.is_after(before, new_names) else None


def _by_store(waiting: list[_Waiting]) -> list[tuple[Store, list[_Waiting]]]:
    """Return what waits in groups of one store, each in its order."""
    stores = [store for _, store, _, _, _, _ in waiting]
    if stores.count(stores[0]) == len(waiting):
        return [(stores[0], waiting)]
    groups: dict[str, tuple[Store, list[_Waiting]]] = {}
    for store, each in zip(stores, waiting, strict=True):
        groups.setdefault(store.url, (store, []))[1].append(each)
    return list(groups.values())
