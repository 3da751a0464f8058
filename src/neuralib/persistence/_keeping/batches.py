"""Many results saved together: a progress bar, and one wait or transaction shared by many."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from neuralib.persistence._keeping.keeper import PATIENCE, Keeper, names_of
from neuralib.persistence._stores.base import Put

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from neuralib.persistence._keeping.numbering import Numbering
    from neuralib.persistence._stores.base import Content, Store

T = TypeVar("T")

_GROUP_BYTES = 1 << 28
_PREPARE_EVERY = 256


def save_all(keeper: Keeper[T], results: Iterable[T], *, progress: bool) -> int:
    """Save *results*, and return how many."""
    batch = SharedBatch(keeper) if keeper.durable or keeper.store.shares_puts else Batch(keeper)
    try:
        keeper.store.hold()
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
        keeper.store.release()
    return batch.saved


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


class Batch(Generic[T]):
    """Results saved one by one."""

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


class _Waiting(NamedTuple):
    """A result whose content is complete, but has no name yet."""

    result: Any
    store: Store
    name: str
    content: Content
    numbering: Numbering | None
    """By which it has its number; None where its number was given, or it has none."""
    series: tuple[str, str] | None
    number: int


class SharedBatch(Batch[T]):
    """Results that wait, as complete contents without names, until all get their names in one step of the store."""

    def __init__(self, keeper: Keeper[T]) -> None:
        super().__init__(keeper)
        self._waiting: list[_Waiting] = []
        self._numbers: dict[tuple[str, str, str], int] = {}  # by store and series: the number after those of the group
        self._bytes = 0
        self._most = keeper.store.group_size()
        # By identity, the results whose numbers are not published yet. Each is noted before it gets its number, since
        # Ctrl-C may come in between: saved again with a number that is not its own, it would replace another's result.
        self._unpublished: dict[int, Any] = {}

    def give_up(self) -> None:
        """Take back the numbers of all that were not published."""
        field = self._keeper.info.layout.autoinc
        for result in self._unpublished.values():
            setattr(result, field, None)  # type: ignore[arg-type]
        self._unpublished.clear()

    def add(self, result: T) -> None:
        """Make the content of *result*, with its number."""
        self._waiting.append(self._prepared(result))
        if len(self._waiting) >= self._most or self._bytes >= _GROUP_BYTES:
            self.flush()

    def _prepared(self, result: T) -> _Waiting:
        keeper = self._keeper
        field = keeper.info.layout.autoinc
        if field is None or getattr(result, field, None) is not None:
            store, name = keeper.place_of(result)
            return _Waiting(result, store, name, self._content(result, store, name), None, None, -1)
        numbering, series = keeper.series_of(result)
        store = numbering.store
        key = (store.url, *series)
        number = self._numbers.get(key)
        if number is None:
            number, _ = numbering.next(series, look=True)
        name = f"{series[0]}{number}{series[1]}"
        self._unpublished[id(result)] = result
        setattr(result, field, number)
        try:
            content = self._content(result, store, name)
        except BaseException:
            setattr(result, field, None)
            raise
        self._numbers[key] = number + 1
        return _Waiting(result, store, name, content, numbering, series, number)

    def _content(self, result: T, store: Store, name: str) -> Content:
        content = self._keeper.records.content(result, store, name, durable=False)
        self._bytes += len(content) if type(content) is bytes else content.size
        return content

    def flush(self) -> None:
        """Give all that wait their names. Those whose numbers others took meanwhile get new ones, and wait again.

        Who waits for the disk before taking a number never wins against those who don't wait, so at last they take their
        numbers first: a loss of power in between may leave torn files then, of results whose save has not returned, which
        are told when they are loaded.
        """
        losses = 0
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            self._numbers.clear()
            self._bytes = 0
            lost = self._put_all(waiting, names_first=losses >= PATIENCE)
            losses += 1
            try:
                for result in lost:
                    self._waiting.append(self._prepared(result))
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
            for result in lost:  # they came before the one that failed
                self._keeper.save(result)
                self.saved += 1
            raise
        return lost

    def _put_group(self, store: Store, group: list[_Waiting], lost: list[Any], *, names_first: bool) -> None:
        keeper = self._keeper
        puts = []
        for each in group:
            replace = False if each.numbering else keeper.replacing(each.result, store, each.name)
            puts.append(Put(each.name, each.content, replace))
        outcomes: list[OSError | None] = []
        try:
            store.put_many(puts, outcomes, durable=keeper.durable and not names_first)
            if names_first and keeper.durable:
                done = [each for each, taken in zip(group, outcomes, strict=True) if taken is None]
                store.sync([name for each in done for name in names_of(each.name, each.content)])
        finally:
            for each, taken in zip(group, outcomes, strict=False):
                self._note(each, taken=taken is not None)
                if taken is None:
                    self.saved += 1
                else:
                    lost.append(each.result)

    def _note(self, each: _Waiting, *, taken: bool) -> None:
        self._unpublished.pop(id(each.result), None)
        field = self._keeper.info.layout.autoinc
        if each.numbering is None or each.series is None:
            if field is not None:
                self._keeper.note_number(each.result)
        elif taken:
            each.numbering.lost(each.series, each.number)
            setattr(each.result, field, None)  # type: ignore[arg-type]
        else:
            each.numbering.published(each.series, each.number, None)  # others may have saved meanwhile

    def _forget(self, waiting: list[_Waiting]) -> None:
        """Give up what waits and was not put: their numbers are open again."""
        field = self._keeper.info.layout.autoinc
        for each in waiting:
            if type(each.content) is not bytes:
                each.content.discard()
            if self._unpublished.pop(id(each.result), None) is not None and field is not None:
                setattr(each.result, field, None)
        waiting.clear()


def _by_store(waiting: list[_Waiting]) -> list[tuple[Store, list[_Waiting]]]:
    """Return what waits in groups of one store, each in its order."""
    groups: dict[str, tuple[Store, list[_Waiting]]] = {}
    for each in waiting:
        groups.setdefault(each.store.url, (each.store, []))[1].append(each)
    return list(groups.values())
