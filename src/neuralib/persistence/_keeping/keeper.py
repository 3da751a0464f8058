"""Names, codec and store of one class, composed: saving, numbering, loading."""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from neuralib.persistence import _core
from neuralib.persistence._classes.losses import refuse_wildcards
from neuralib.persistence._classes.name_texts import has_text
from neuralib.persistence._errors import (
    AutoIncFieldNotResolvedError,
    KeyMismatchError,
    KeyNotSetError,
    NameTakenError,
    OtherClassError,
    UnloadableResultError,
)
from neuralib.persistence._keeping import identity
from neuralib.persistence._keeping.numbering import Numbering
from neuralib.persistence._keeping.records import is_no_result
from neuralib.persistence._log import log
from neuralib.persistence._messages import shown
from neuralib.persistence._naming.equal import equal_names, is_name_of
from neuralib.persistence._stores.base import CHANGED, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager

    from neuralib.persistence._bytes.sources import Source
    from neuralib.persistence._classes.schema import PersistentClass
    from neuralib.persistence._keeping.records import Records
    from neuralib.persistence._naming.names import Names
    from neuralib.persistence._stores.base import Content, Store

T = TypeVar("T")

PATIENCE = 3
"""How often a durable save may lose its number to others while it waits for the disk, before it takes one first."""


_MOST_LOOKS = 24  # for names one by one: for more, the names are listed


def names_of(name: str, content: Content) -> list[str]:
    """Return the names under which *content* was put as *name*: a hook may have written files beside the one that counts."""
    names: list[str] = getattr(content, "names", [])
    return names or [name]


class Keeper(Generic[T]):
    """Keeps the results of one class.

    :param info: the class
    :param names: how results are named
    :param records: how they become content, and content results
    :param store: where they are
    :param durable: whether a save returns only when it would survive a loss of power
    :param threads: how many threads read when many are loaded
    """

    def __init__(
        self,
        info: PersistentClass[T],
        names: Names,
        records: Records[T],
        store: Store,
        *,
        durable: bool = False,
        threads: int = 1,
    ) -> None:
        self.info = info
        self.names, self.records, self.store = names, records, store
        self.durable, self.threads = durable, threads
        self.joins: Callable[[bool], AbstractContextManager[Callable[[T], None]]] | None = None
        """In a batch: gives what adds results to it, which are saved when the block ends, and durably if that is asked for."""
        self._autoinc: str | None = info.layout.autoinc
        marks = None if self._autoinc is None else names.number_marks()
        self._numbering = Numbering(store, marks, (names.suffix, *names.others))
        self._writes_small = True  # whether the last numbered result was small

    # ------------------------------------------------------------------------------------------ saving

    def place_of(self, result: T) -> tuple[Store, str]:
        """Return the store and the name of *result*."""
        return self.store, self.names.name(result)

    def place_by(self, result: T | None, overrides: dict[str, Any]) -> tuple[Store, str]:
        """Return the store and the name for the keys of *result*, replaced by *overrides*."""
        return self.store, self.names.name(result, overrides)

    def series_of(self, result: T) -> tuple[Numbering, tuple[str, str]]:
        """Return the numbering of the store of *result*, and what stands before and after the number in its name."""
        return self._numbering, self.names.around_number(result)

    def save(self, result: T) -> None:
        """Save *result* under its name, with a new number where it needs one."""
        autoinc = self._autoinc
        if autoinc is not None and getattr(result, autoinc, None) is None:
            self._save_numbered(result, autoinc)
            return
        store, name = self.place_of(result)
        if "*" in name:  # as a wildcard shows in a name
            refuse_wildcards(result, self.info)
        content = self.records.content(result, store, name, durable=self.durable)
        store.put(name, content, replace=self.replacing(result, store, name, content), durable=self.durable)
        if autoinc is not None:
            self.note_number(result)

    def save_new(self, result: T) -> bool:
        """Save *result*, whose number is set, unless its name is taken; return whether it was saved."""
        store, name = self.place_of(result)
        if "*" in name:
            refuse_wildcards(result, self.info)
        content = self.records.content(result, store, name, durable=self.durable)
        try:
            store.put(name, content, durable=self.durable)
        except FileExistsError:
            return False
        self.note_number(result)
        return True

    def replacing(self, result: T, store: Store, name: str, content: Content = None) -> Callable[[Source], None]:
        """Return what is given the content under *name*, and raises an error where *result* must not replace it.

        :param content: of *result*, if it is made already
        """
        return partial(self._refuse_other, result, store, name, content)

    def _refuse_other(self, result: T, store: Store, name: str, content: Content, there: Source) -> None:
        try:
            self.records.refuse_other(result, there, store, name, content)
        except (NameTakenError, OtherClassError):
            raise
        except Exception as error:
            if not is_no_result(error):
                raise
            log.warning("replacing a file that is not a result: %s", error)

    def _save_numbered(self, result: T, field: str) -> None:
        """Save *result* under the next number of its series, which becomes the value of *field*."""
        numbering, series = self.series_of(result)
        store = numbering.store
        losses = least = 0
        name, content, encoded = "", b"", -1  # the last is the number in the other two
        number = left = -1  # the latter was taken before higher ones that other threads have taken
        view = numbering.view
        is_small = self._writes_small
        try:
            while True:
                # What is large would be encoded in vain where others have saved meanwhile, and its draft may change the
                # state of a folder: there, look before.
                look = not is_small
                number, view = numbering.take(series, look, left)
                if losses:
                    number = max(number, least)
                if number != encoded:
                    setattr(result, field, number)
                    name = f"{series[0]}{number}{series[1]}"
                    content = self.records.content(result, store, name, durable=self.durable and losses < PATIENCE)
                    is_small = type(content) is bytes
                    encoded = number if is_small else -1
                    if not is_small and not look:
                        content.discard()
                        left = numbering.give_back(series, number, view)
                        continue
                try:
                    if losses >= PATIENCE and self.durable:
                        state = self._put_then_wait(store, name, content)
                    else:
                        state = store.put_if(name, content, view.state, durable=self.durable)
                except FileExistsError:  # somebody else was first: theirs stays, this one takes the next number
                    numbering.lost(series, number, view)
                    losses += 1
                    least = number + 1  # also where theirs is not listed: 'a' and 'A' are one on some file systems
                    left = -1
                    continue
                if state is not CHANGED:
                    break
                numbering.changed(view)
                left = numbering.give_back(series, number, view)
        except BaseException:
            setattr(result, field, None)  # so that saving it again gives it a number
            numbering.give_back(series, number, view)
            raise
        self._writes_small = is_small
        numbering.published(series, number, view, state)

    @staticmethod
    def _put_then_wait(store: Store, name: str, content: Any) -> Any:
        """Put *content*, and wait for the disk afterwards; return the store's state.

        A writer that waits for the disk before taking a number never wins against writers that don't wait. A loss of power in
        between may leave a torn file, of a result whose save has not returned; loading it raises an error.
        """
        store.put(name, content)
        store.sync(names_of(name, content))
        return store.state()

    def note_number(self, result: T) -> None:
        """Take into account that *result* was saved with a number that it had: the next one is after it."""
        number = getattr(result, self._autoinc or "", None)
        if type(number) is int and self._has_numbered():  # other numbers show when the names are listed
            numbering, series = self.series_of(result)
            numbering.given(series, number)

    def _has_numbered(self) -> bool:
        """Return whether a number was asked for, so that highest ones are remembered."""
        return self._numbering.was_asked

    # ------------------------------------------------------------------------------------------ loading

    def load(self, store: Store, name: str) -> T:
        """Return the result under *name* in *store*.

        :raises FileNotFoundError: there is none
        :raises AutoIncFieldNotResolvedError: it has no number
        """
        try:
            result = self.records.load(store, name)
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            result = self.records.load(store, name)  # what replaced it while it was read
        autoinc = self._autoinc
        if autoinc is not None and not _core.is_numbered(self.info.layout, result, None):
            message = f"{store.location(name)}: the result in it has no number in its auto-increment field {autoinc}"
            raise AutoIncFieldNotResolvedError(result, autoinc, message)
        return result

    def load_by(self, store: Store, name: str, keys: dict[str, Any]) -> T:
        """Return the result under *name* in *store*, which must have *keys*.

        :raises KeyMismatchError: it has others
        """
        result = self.load(store, name)
        other = identity.other_key(self.info, result, keys)
        if other is not None:
            wanted, found = shown(keys[other]), shown(getattr(result, other, None))
            owner = self.info.persistence_cls.__qualname__
            raise KeyMismatchError(owner, other, wanted, found, store.location(name))
        return result

    @property
    def readers(self) -> int:
        """How many threads read at a time: as many as were asked for, and at least as many as suit the store."""
        return max(self.threads, self.store.in_flight)

    def other_name(self, result: T | None, overrides: dict[str, Any], store: Store) -> str | None:
        """Return the name of a result in *store* whose keys are equal to these, or None: see :func:`equal_names`.

        Its own name is not looked for.
        """
        names = equal_names(self.names, self.info, result, overrides)
        if len(names) > _MOST_LOOKS:
            there = set(listed(store))
            return next((name for name in names if name in there), None)
        return next(iter(store.which(names)), None)

    def readable_fields(self, store: Store, name: str, names: Collection[str]) -> dict[str, Any]:
        """Return what :meth:`Records.fields` does, also where *names* are plain data and another field can't be loaded here."""
        try:
            return self.records.fields(store, name, names)
        except UnloadableResultError:
            found = self.records.plain_fields(store, name, names)
            if not all(each in found for each in names):
                raise
            return found

    def is_named(self, result: T, name: str) -> bool:
        """Return whether *name* is the name of *result*."""
        try:
            if self.names.is_plainly_named(result, name):
                return True
        except KeyNotSetError:
            pass  # is_name_of below decides, after the other keys were looked at
        for field in self.info.named_fields:
            if not has_text(field, getattr(result, field.field_name, None)):
                return False
        return is_name_of(self.names, self.info, name, None, result)
