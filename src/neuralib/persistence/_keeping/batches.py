"""Many results saved together: one listing of names, a progress bar, and one wait for the disk shared by many."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from neuralib.persistence import _core
from neuralib.persistence._stores import system

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from neuralib.persistence._classes.schema import PersistentClass
    from neuralib.persistence._keeping.numbering import Series
    from neuralib.persistence._stores.base import Draft
    from neuralib.persistence._stores.folder import FolderStore

T = TypeVar("T")

_GROUP_RESULTS = 500  # at the most: each is an open file until it is published
_ROOM = 4  # open files
_GROUP_BYTES = 1 << 28
PATIENCE = 3
"""How often a durable save may lose its number to others while it waits for the disk, before it takes one first."""
_PREPARE_EVERY = 256


class Saver(Protocol):
    """What a batch needs of a handler."""

    durable: bool

    @property
    def persistence_info(self) -> PersistentClass[Any]: ...
    def save_persistence(self, result: Any) -> Any: ...
    def _batch_begins(self) -> None: ...
    def _batch_ends(self) -> None: ...
    def _info_of(self, result: object) -> PersistentClass[Any]: ...
    def _place_of(self, result: Any, info: PersistentClass[Any]) -> tuple[FolderStore, str]: ...
    def _series_of(self, result: Any, info: PersistentClass[Any], field: str) -> Series[FolderStore]: ...
    def _note_number(self, result: Any, info: PersistentClass[Any]) -> None: ...
    def _draft(self, result: Any, store: FolderStore, name: str, *, durable: bool) -> Draft: ...
    def _replace(
        self, result: Any, draft: Draft, store: FolderStore, name: str, info: PersistentClass[Any] | None
    ) -> None: ...


def save_all(handler: Saver, results: Iterable[T], *, progress: bool) -> int:
    """Save *results* with *handler*: see the method of that name."""
    batch = _DurableBatch(handler) if handler.durable else _Batch(handler)
    try:
        handler._batch_begins()
        try:
            with bar(results, progress, "results") as shown:
                for result in shown:
                    batch.add(result)
        finally:
            batch.flush()  # what was complete before an error is saved too
    except BaseException as error:
        batch.give_up()
        error.add_note(f"{batch.saved} results of the batch were saved before this one")
        raise
    finally:
        handler._batch_ends()
    return batch.saved


class _Batch:
    """Results saved one by one."""

    def __init__(self, handler: Saver) -> None:
        self._handler = handler
        self.saved = 0

    def __del__(self) -> None:
        if hasattr(self, "_handler"):  # else Ctrl-C came while it was made
            self._handler._batch_ends()  # which Ctrl-C may have kept from it

    def add(self, result: Any) -> None:
        """Save *result*, at the latest when the batch is flushed."""
        self._handler.save_persistence(result)
        self.saved += 1
        if self.saved % _PREPARE_EVERY == 1:
            self._handler._batch_begins()  # the folder is there by now; later, it was given up where others replaced it

    def flush(self) -> None:
        """Save what waits."""

    def give_up(self) -> None:
        """After an error, leave no result with a number under which it was not saved."""


@contextmanager
def bar(items: Iterable[T], wanted: bool, unit: str, total: int | None = None) -> Generator[Iterable[T], None, None]:
    """Give *items* again, with a progress bar in a terminal where that is *wanted*.

    :param total: how many there will be, where *items* have no length
    """
    if not wanted:
        yield items
        return
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        error.add_note('a progress bar needs the extra: pip install "neuralib-persistence[progress]"')
        raise
    with tqdm(items, unit=f" {unit}", total=total, disable=None) as shown:  # None: off where it is no terminal
        yield shown


class _Waiting(NamedTuple):
    """A complete draft that has no name yet."""

    result: Any
    store: FolderStore
    name: str
    draft: Draft
    series: Series[FolderStore] | None
    """Of which it has a number; None where its number was given, or it has none."""


class _DurableBatch(_Batch):
    """Results that wait as complete drafts without names until they are on the disk: then all get their names."""

    def __init__(self, handler: Saver) -> None:
        super().__init__(handler)
        self._waiting: list[_Waiting] = []
        self._numbers: dict[tuple[str, str, str], int] = {}  # by series: the number after those of the group
        self._bytes = 0
        self._most = min(_GROUP_RESULTS, max(_open_files() // 2, 1))
        # By identity, the results whose numbers are not published yet. Each is noted before it gets its number, since
        # Ctrl-C may come in between: saved again with a number that is not its own, it would replace another's result.
        self._unpublished: dict[int, Any] = {}

    def give_up(self) -> None:
        """Take back the numbers of all that were not published."""
        field = self._handler.persistence_info.layout.autoinc
        assert field is not None or not self._unpublished
        for result in self._unpublished.values():
            setattr(result, field, None)  # type: ignore[arg-type]
        self._unpublished.clear()

    def add(self, result: Any) -> None:
        """Make the draft of *result*, with its number."""
        try:
            self._waiting.append(self._drafted(result))
        except OSError as error:
            if error.errno not in {errno.EMFILE, errno.ENFILE} or not self._waiting:
                raise
            # Waiting for the disk takes an open file too: the last drafts make room, and are made again.
            again = [it.result for it in self._waiting[-_ROOM:]] + [result]
            self._forget(self._waiting[-_ROOM:])
            del self._waiting[-_ROOM:]
            self.flush()
            self._waiting.extend(self._drafted(it) for it in again)
        if len(self._waiting) >= self._most or self._bytes >= _GROUP_BYTES:
            self.flush()

    def _drafted(self, result: Any) -> _Waiting:
        handler = self._handler
        info = handler._info_of(result)
        field = info.layout.autoinc
        if field is None or _core.is_numbered(info.layout, result, None):
            store, name = handler._place_of(result, info)
            return _Waiting(result, store, name, self._complete(result, store, name), None)
        series = handler._series_of(result, info, field)
        key = (series.store.root, series.head, series.tail)
        number = self._numbers.get(key)
        if number is None:
            number = series.next()
        name = f"{series.head}{number}{series.tail}"
        self._unpublished[id(result)] = result
        setattr(result, field, number)
        try:
            draft = self._complete(result, series.store, name)
        except BaseException:
            setattr(result, field, None)
            raise
        self._numbers[key] = number + 1
        return _Waiting(result, series.store, name, draft, series)

    def _complete(self, result: Any, store: FolderStore, name: str) -> Draft:
        draft = self._handler._draft(result, store, name, durable=False)
        try:
            draft.finish()
            self._bytes += draft.size
        except BaseException:
            draft.discard()
            raise
        return draft

    def flush(self) -> None:
        """Wait for the disk once, give all drafts their names, and wait for the folders.

        Those whose numbers others took meanwhile get new ones, and wait together again. Who waits before it takes a number
        never wins against those who don't wait, so at last they take their numbers first: a loss of power in between may
        leave torn files then, of results whose save has not returned, which are told when they are loaded.
        """
        losses = 0
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            self._numbers.clear()
            self._bytes = 0
            lost: list[Any] = []
            try:
                self._publish_all(waiting, lost, names_first=losses >= PATIENCE)
            except BaseException:
                for result in lost:  # they came before the one that failed
                    self._handler.save_persistence(result)
                    self.saved += 1
                raise
            losses += 1
            try:
                for result in lost:
                    self._waiting.append(self._drafted(result))
            except BaseException:
                self._forget(self._waiting)
                raise

    def _publish_all(self, waiting: list[_Waiting], lost: list[Any], *, names_first: bool) -> None:
        """Publish the drafts *waiting*; note in *lost* the results whose numbers were taken."""
        done = 0
        try:
            if not names_first:
                _sync_drafts(waiting)
            for it in waiting:
                if not self._publish(it):
                    lost.append(it.result)
                done += 1
            if names_first:
                _sync_drafts(waiting)
        finally:
            try:
                for root in {it.store.root for it in waiting[:done]}:
                    system.sync_names(root)
                self.saved += done - len(lost)
            finally:
                for it in waiting[:done]:
                    it.draft.discard()
                self._forget(waiting[done:])

    def _publish(self, it: _Waiting) -> bool:
        """Give a draft its name; return whether it has it."""
        info = self._handler._info_of(it.result)
        try:
            it.draft.publish_new(it.name)
        except FileExistsError:
            if it.series is None:
                self._handler._replace(it.result, it.draft, it.store, it.name, info)
                return True  # a number that was there already
            it.series.lost(getattr(it.result, info.layout.autoinc))  # type: ignore[arg-type]
            setattr(it.result, info.layout.autoinc, None)  # type: ignore[arg-type]
            self._unpublished.pop(id(it.result), None)
            return False
        if it.series is not None:
            self._unpublished.pop(id(it.result), None)
            it.series.taken(getattr(it.result, info.layout.autoinc))  # type: ignore[arg-type]
        elif info.layout.autoinc is not None:
            self._handler._note_number(it.result, info)
        return True

    def _forget(self, waiting: list[_Waiting]) -> None:
        """Give up the drafts *waiting*: their numbers are open again."""
        field = self._handler.persistence_info.layout.autoinc
        for it in waiting:
            it.draft.discard()
            if it.series is not None and field is not None:
                setattr(it.result, field, None)
                self._unpublished.pop(id(it.result), None)
        waiting.clear()


def _open_files() -> int:
    """Return how many files this process may have open."""
    try:
        import resource
    except ImportError:
        return 512  # as Windows has it by default
    limit: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit if limit != resource.RLIM_INFINITY else 2 * _GROUP_RESULTS


def _sync_drafts(waiting: list[_Waiting]) -> None:
    """Write what the drafts hold through to the disk: all that is on their file systems at once, where that is known."""
    for root in {it.store.root for it in waiting}:
        if not system.sync_file_system(root):
            for it in waiting:
                if it.store.root == root:
                    it.draft.sync()
