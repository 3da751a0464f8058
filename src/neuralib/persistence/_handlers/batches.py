"""Many results saved together: one listing of names, a progress bar, and one wait for the disk shared by many."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from neuralib.persistence import _core
from neuralib.persistence._stores import system

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from neuralib.persistence._autoinc import Series
    from neuralib.persistence._schema import PersistentClass
    from neuralib.persistence._stores.base import Draft
    from neuralib.persistence._stores.folder import FolderStore

T = TypeVar("T")

_GROUP_RESULTS = 200  # each is an open file until it is published
_GROUP_BYTES = 1 << 28


class Saver(Protocol):
    """What a batch needs of a handler."""

    durable: bool

    @property
    def persistence_info(self) -> PersistentClass[Any]: ...
    def save_persistence(self, result: Any) -> Any: ...
    def _info_of(self, result: object) -> PersistentClass[Any]: ...
    def _place_of(self, result: Any, info: PersistentClass[Any]) -> tuple[FolderStore, str]: ...
    def _series_of(self, result: Any, info: PersistentClass[Any], field: str) -> Series[FolderStore]: ...
    def _draft(self, result: Any, store: FolderStore, name: str, *, durable: bool) -> Draft: ...


def save_all(handler: Saver, results: Iterable[T], *, progress: bool) -> int:
    """Save *results* with *handler*: see the method of that name."""
    batch = _DurableBatch(handler) if handler.durable else _Batch(handler)
    try:
        try:
            with bar(results, progress, "results") as shown:
                for result in shown:
                    batch.add(result)
        finally:
            batch.flush()  # what was complete before an error is saved too
    except BaseException as error:
        error.add_note(f"{batch.saved} results of the batch were saved before this one")
        raise
    return batch.saved


class _Batch:
    """Results saved one by one."""

    def __init__(self, handler: Saver) -> None:
        self._handler = handler
        self.saved = 0

    def add(self, result: Any) -> None:
        """Save *result*, at the latest when the batch is flushed."""
        self._handler.save_persistence(result)
        self.saved += 1

    def flush(self) -> None:
        """Save what waits."""


@contextmanager
def bar(items: Iterable[T], wanted: bool, unit: str) -> Iterator[Iterable[T]]:
    """Give *items* again, with a progress bar in a terminal where that is *wanted*."""
    if not wanted:
        yield items
        return
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        error.add_note('a progress bar needs the extra: pip install "neuralib-persistence[progress]"')
        raise
    with tqdm(items, unit=f" {unit}", disable=None) as shown:  # None: off where it is no terminal
        yield shown


class _DurableBatch(_Batch):
    """Results that wait as complete drafts without names until they are on the disk: then all get their names."""

    def __init__(self, handler: Saver) -> None:
        super().__init__(handler)
        self._waiting: list[tuple[Any, FolderStore, str, Draft, Series[FolderStore] | None]] = []
        self._numbers: dict[int, int] = {}  # by the identity of the series: the number after those of the group
        self._bytes = 0

    def add(self, result: Any) -> None:
        """Make the draft of *result*, with its number."""
        handler = self._handler
        info = handler._info_of(result)
        field = info.layout.autoinc
        series = None
        if _core.is_numbered(info.layout, result, None):
            store, name = handler._place_of(result, info)
        else:
            assert field is not None
            series = handler._series_of(result, info, field)
            store = series.store
            following = self._numbers.get(id(series))
            number = series.next() if following is None else following
            setattr(result, field, number)
            name = f"{series.head}{number}{series.tail}"
        try:
            draft = handler._draft(result, store, name, durable=False)
            try:
                draft.finish()
                self._bytes += draft.size
            except BaseException:
                draft.discard()
                raise
        except BaseException:
            if series is not None and field is not None:
                setattr(result, field, None)
            raise
        if series is not None:
            self._numbers[id(series)] = number + 1
        self._waiting.append((result, store, name, draft, series))
        if len(self._waiting) >= _GROUP_RESULTS or self._bytes >= _GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        """Wait for the disk once, give all drafts their names, and wait for the folders."""
        waiting, self._waiting = self._waiting, []
        self._numbers.clear()
        self._bytes = 0
        field = self._handler.persistence_info.layout.autoinc
        published = 0
        try:
            _sync_drafts([(store, draft) for _, store, _, draft, _ in waiting])
            for result, _, name, draft, series in waiting:
                try:
                    draft.publish_new(name)
                    if series is not None and field is not None:
                        series.taken(getattr(result, field))
                except FileExistsError:  # a lost race, or a result that replaces its former self: by itself
                    if series is not None and field is not None:
                        series.lost()
                        setattr(result, field, None)
                    self._handler.save_persistence(result)
                published += 1
                draft.discard()
        finally:
            for root in {store.root for _, store, _, _, _ in waiting[:published]}:
                system.sync_folder(root)
            self.saved += published
            for result, _, _, draft, series in waiting[published:]:
                draft.discard()
                if series is not None and field is not None:
                    setattr(result, field, None)


def _sync_drafts(drafts: list[tuple[FolderStore, Draft]]) -> None:
    """Write what *drafts* hold through to the disk: all that is on their file systems at once, where that is known."""
    for root in {store.root for store, _ in drafts}:
        if hasattr(os, "O_DIRECTORY"):
            folder = _core.OpenFile(root, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _core.sync_file_system(folder.fd):
                    continue
            finally:
                folder.close()
        for store, draft in drafts:
            if store.root == root:
                draft.sync()
        system.sync_parents(root)
