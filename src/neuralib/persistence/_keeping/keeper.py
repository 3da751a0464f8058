"""Names, codec and store of one class, composed: saving, numbering, loading."""

from __future__ import annotations

import logging
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
    UnsafeNameError,
    shown,
)
from neuralib.persistence._keeping import identity
from neuralib.persistence._keeping.numbering import Numbering
from neuralib.persistence._keeping.records import is_no_result
from neuralib.persistence._stores.base import CHANGED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from neuralib.persistence._bytes.sources import Source
    from neuralib.persistence._classes.schema import PersistentClass
    from neuralib.persistence._keeping.records import Records
    from neuralib.persistence._naming.names import Names
    from neuralib.persistence._stores.base import Content, Store

T = TypeVar("T")

PATIENCE = 3
"""How often a durable save may lose its number to others while it waits for the disk, before it takes one first."""


_BRIEF = frozenset({str, float, bool, type(None)})  # types whose values have a text that is as long as they are

_log = logging.getLogger("neuralib.persistence")


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
        self._autoinc: str | None = info.layout.autoinc
        self._numbering = Numbering(store, names.number_marks())
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
        if autoinc is None:
            store, name = self.place_of(result)
            self.save_as(result, store, name)
        elif getattr(result, autoinc, None) is None:
            self._save_numbered(result, autoinc)
        else:
            store, name = self.place_of(result)
            self.save_as(result, store, name)
            self.note_number(result)

    def save_as(self, result: T, store: Store, name: str) -> None:
        """Save *result* under *name*, replacing what is there where it is a result of the same class and keys."""
        if "*" in name:  # as a wildcard shows in a name
            refuse_wildcards(result, self.info)
        content = self.records.content(result, store, name, durable=self.durable)
        store.put(name, content, replace=self.replacing(result, store, name), durable=self.durable)

    def replacing(self, result: T, store: Store, name: str) -> Callable[[Source], None]:
        """Return what is given the content under *name*, and raises an error where *result* must not replace it."""

        def refuse_other(there: Source) -> None:
            try:
                self.records.refuse_other(result, there, store, name)
            except (NameTakenError, OtherClassError):
                raise
            except Exception as error:
                if not is_no_result(error):
                    raise
                _log.warning("replacing a file that is no result any more: %s", error)

        return refuse_other

    def _save_numbered(self, result: T, field: str) -> None:
        """Save *result* under the next number of its series, which becomes the value of *field*."""
        numbering, series = self.series_of(result)
        store = numbering.store
        head, tail = series
        losses = least = 0
        published = False
        try:
            while not published:
                # What is large would be encoded in vain where others have saved meanwhile, and its draft may change the
                # state of a folder: there, look before.
                look = not self._writes_small
                number, state = numbering.next(series, look=look)
                number = max(number, least)
                setattr(result, field, number)
                name = f"{head}{number}{tail}"
                content = self.records.content(result, store, name, durable=self.durable and losses < PATIENCE)
                self._writes_small = type(content) is bytes
                if not self._writes_small and not look:
                    content.discard()
                    continue
                try:
                    if self.durable and losses >= PATIENCE:
                        state = self._put_then_wait(store, name, content)
                    else:
                        state = store.put_if(name, content, state, durable=self.durable)
                except FileExistsError:  # somebody else was first: theirs stays, this one takes the next number
                    numbering.lost(series, number)
                    losses += 1
                    least = number + 1  # also where theirs is not listed: 'a' and 'A' are one on some file systems
                    continue
                if state is CHANGED:
                    numbering.changed()
                    continue
                published = True
                numbering.published(series, number, state)
        finally:
            if not published:
                setattr(result, field, None)  # so that saving it again gives it a number

    @staticmethod
    def _put_then_wait(store: Store, name: str, content: Any) -> Any:
        """Put *content*, and wait for the disk afterwards; return the store's state.

        Who waits for the disk before taking a number never wins against those who don't wait. A loss of power in between may
        leave a torn file, of a result whose save has not returned, which is told when it is loaded.
        """
        store.put(name, content)
        store.sync(names_of(name, content))
        return store.state()

    def note_number(self, result: T) -> None:
        """Take into account that *result* was saved with a number that it had: the next one is after it."""
        number = getattr(result, self._autoinc or "", None)
        if type(number) is int and self._has_numbered():  # what is no int is told by listing the names
            numbering, series = self.series_of(result)
            numbering.given(series, number)

    def _has_numbered(self) -> bool:
        """Return whether a number was asked for, so that highest ones are remembered."""
        return self._numbering.was_asked

    # ------------------------------------------------------------------------------------------ loading

    def load(self, name: str, store: Store | None = None) -> T:
        """Return the result under *name*.

        :raises FileNotFoundError: there is none
        :raises AutoIncFieldNotResolvedError: it has no number
        """
        store = self.store if store is None else store
        result = self.records.load(store, name)
        autoinc = self._autoinc
        if autoinc is not None and not _core.is_numbered(self.info.layout, result, None):
            message = f"{store.location(name)}: the result in it has no number in its auto-increment field {autoinc}"
            raise AutoIncFieldNotResolvedError(result, autoinc, message)
        return result

    def load_by(self, name: str, keys: dict[str, Any], store: Store | None = None) -> T:
        """Return the result under *name*, which must have *keys*.

        :raises KeyMismatchError: it has others
        """
        result = self.load(name, store)
        other = identity.other_key(self.info, result, keys)
        if other is not None:
            wanted, found = shown(keys[other]), shown(getattr(result, other, None))
            place = (self.store if store is None else store).location(name)
            raise KeyMismatchError(self.info.persistence_cls.__qualname__, other, wanted, found, place)
        return result

    def fields(self, name: str, names: Collection[str]) -> dict[str, Any]:
        """Return fields of the result under *name*, those of *names* that it has among them; arrays need not be read."""
        return self.records.fields(self.store, name, names)

    def is_named(self, result: T, name: str) -> bool:
        """Return whether *name* is the name of *result*."""
        for field in self.info.named_fields:
            value = getattr(result, field.field_name, None)
            if type(value) not in _BRIEF and not has_text(field, value):
                return False
        try:
            return self.names.name(result) == name
        except KeyNotSetError:  # of the oldest files, which may lack keys: nothing speaks against the name
            return True
        except UnsafeNameError:
            return False
