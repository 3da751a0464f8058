"""Results to content and back: by a codec, whichever the store."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from neuralib.persistence._bytes.sources import Source
from neuralib.persistence._classes.convert import as_dict, from_dict
from neuralib.persistence._classes.evolution import brought_up, names_then
from neuralib.persistence._classes.losses import check_before_saving
from neuralib.persistence._classes.unknown import all_fields, keep, kept_with
from neuralib.persistence._codecs.base import Head
from neuralib.persistence._codecs.card import card_of, with_fields
from neuralib.persistence._errors import (
    ContractError,
    CorruptResultError,
    MissingFieldError,
    NewerVersionError,
    NotAResultError,
    PersistenceError,
    UnloadableResultError,
    UntrustedTypeError,
)
from neuralib.persistence._keeping.identity import refuse_other_class
from neuralib.persistence._keeping.reading import FAILURES, opened, raise_explained, unloadable
from neuralib.persistence._keeping.replacing import head_of, refuse_other
from neuralib.persistence._messages import shown
from neuralib.persistence._trust.stand_ins import ArrayHead, ObjectHead

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Self

    from neuralib.persistence._classes.schema import PersistentClass
    from neuralib.persistence._codecs.base import Codec, Unpickle
    from neuralib.persistence._codecs.card import Card
    from neuralib.persistence._stores.base import Content, Store

T = TypeVar("T")

SMALL_BYTES = 1 << 16
"""A smaller content is loaded whole for a few of its fields; of others, the head is read."""


class Records(Protocol[T]):
    """How a handler's results become content, and content results."""

    def content(self, result: T, store: Store, name: str, /, *, durable: bool) -> Content:
        """Return *result* as content that *store* can put under *name*."""

    def load(self, store: Store, name: str, /) -> T:
        """Return the result under *name*."""
        ...

    def fields(self, store: Store, name: str, names: Collection[str] | None, /) -> dict[str, Any]:
        """Return fields of the result under *name*, those of *names* that it has among them; arrays need not be read.

        With *names* None, all fields are returned, arrays included.
        """
        ...

    def plain_fields(self, store: Store, name: str, names: Collection[str], /) -> dict[str, Any]:
        """Return those of the fields *names* that are plain data, without trust; none where they can't be read."""
        ...

    def about(self, store: Store, name: str, /) -> Head:
        """Return what the content under *name* says of itself, whichever class it is of; without trust, if that can be."""
        ...

    def for_former(self) -> Self:
        """Return records that load content with the card of any class: the caller knows that it is the same class."""
        ...

    def check(self, store: Store, name: str, /) -> bool:
        """Read the content under *name* to its end; return whether a checksum says that it is what was saved."""
        ...

    def refuse_other(self, result: T, there: Source, store: Store, name: str, content: Content = None, /) -> None:
        """Raise an error where *there*, the content under *name*, must not be replaced by *result*.

        :param content: of *result*, if it is made already
        """


class CodecRecords(Generic[T]):
    """Results by a codec.

    :param info: the class of the results
    :param codec: the format
    :param trust: reads pickles of unknown origin; None where files are trusted
    :param mmap_mode: None, ``'r'`` or ``'c'``
    :param cls: the class itself, or a subclass without a decorator of its own
    """

    def __init__(
        self,
        info: PersistentClass[T],
        codec: Codec,
        trust: Unpickle | None = None,
        mmap_mode: str | None = None,
        cls: type[T] | None = None,
    ) -> None:
        self._info = info
        self._cls = info.persistence_cls if cls is None else cls
        self._card: Card = card_of(info)
        self._same_card = self._card  # of a file read before: the same but for arrays and packages
        self.codec = codec.for_class(self._card)
        self._trust, self._mmap_mode = trust, mmap_mode
        self._strict = info.strict
        self._any_class = False
        self._names = self._card.fields.keys()

    def content(self, result: T, store: Store, name: str, /, *, durable: bool) -> Content:
        """Return *result* as content that *store* can put."""
        fields = as_dict(result)
        # Every result whose attributes are just its fields is fine; the others are looked at.
        attributes = getattr(result, "__dict__", fields)
        if attributes.keys() != fields.keys() or type(result) is not self._cls or self._strict:
            check_before_saving(result, self._info)
            self._info.refuse_unsaved(result)
            if kept := kept_with(result):
                codec = self.codec.for_class(
                    with_fields(self._card, {name: unknown.annotation for name, unknown in kept.items()})
                )
                return codec.content(all_fields(fields, kept), store.draft)
        return self.codec.content(fields, store.draft)

    def load(self, store: Store, name: str, /) -> T:
        """Return the result under *name*.

        :raises CorruptResultError: the content is damaged
        :raises NotAResultError: it is something else
        :raises OtherClassError: it is of another class
        """
        try:
            source = store.open(name) if self._mmap_mode is None else store.open_to_map(name)  # no call more: it is hot
            try:
                root, card = self.codec.load(source, self._trust, self._mmap_mode)
            finally:
                source.close()
        except FAILURES as error:
            raise_explained(error, store, name, self._cls.__qualname__)
        try:
            if (card is not self._card and card is not self._same_card) or type(root) is not dict:
                return self._result_of_changed(root, card, store, name)
            return from_dict(self._cls, root)
        except MissingFieldError as error:
            raise MissingFieldError(error.owner, error.field, store.location(name)) from error
        except Exception as error:
            if self._trust is None or isinstance(error, (PersistenceError, MemoryError)):
                if not isinstance(error, PersistenceError):
                    error.add_note(f"while loading {store.location(name)}")
                raise
            raise unloadable(error, store, name) from error  # of the class's own code, given what it did not expect

    def _result_of_changed(self, root: Any, card: Card | None, store: Store, name: str) -> T:
        """Return the result of a file with another card than today's: of large arrays, of a changed class, of others."""
        place = store.location(name)
        self._refuse_other_class(card, place)
        fields = self._brought_up(root, card, store, name)
        if not isinstance(fields, dict):
            self._refuse_other_content(fields, store, name)
            return fields  # type: ignore[no-any-return]  # the oldest files hold the instance itself
        try:
            result = from_dict(self._cls, fields)
        except MissingFieldError as error:
            raise MissingFieldError(error.owner, error.field, place) from error
        if card is not None and card._replace(arrays=(), packages={}) == self._card:
            self._same_card = card
        elif not fields.keys() <= self._names:
            unknown = {each: value for each, value in fields.items() if each not in self._names}
            keep(result, unknown, {} if card is None else card.fields, place)
        return result

    def _refuse_other_class(self, card: Card | None, place: str) -> None:
        if not self._any_class:
            refuse_other_class(self._card, card, place, self._info.former_names)

    def _needs_upgrade(self, card: Card | None) -> bool:
        """Return whether the class changes the fields of the file with *card* in its own way, for which it needs all."""
        return (0 if card is None else card.version) < self._info.version and hasattr(self._cls, "upgrade")

    def _brought_up(self, root: Any, card: Card | None, store: Store, name: str) -> Any:
        """Return the fields *root* of a file with another card than today's as the class has them now."""
        if not isinstance(root, dict):
            return root
        return brought_up(self._info, root, 0 if card is None else card.version, store.location(name))

    def _refuse_other_content(self, root: Any, store: Store, name: str) -> None:
        if not isinstance(root, (dict, self._cls)):
            raise NotAResultError(self._cls.__qualname__, store.location(name), f"a {type(root).__qualname__}")

    def fields(self, store: Store, name: str, names: Collection[str] | None, /) -> dict[str, Any]:
        """Return fields of the result under *name*: a small one is loaded whole, of a large one the head is read."""
        try:
            source = store.open(name) if self._mmap_mode is None else store.open_to_map(name)
            try:
                found = None
                if names is not None and source.size >= SMALL_BYTES:
                    found = self._from_head(source, names)
                root, card = found or self.codec.load(source, self._trust, self._mmap_mode)
            finally:
                source.close()
        except FAILURES as error:
            raise_explained(error, store, name, self._cls.__qualname__)
        if card is self._card and type(root) is dict:
            return root
        self._refuse_other_class(card, store.location(name))
        self._refuse_other_content(root, store, name)
        if not isinstance(root, dict):
            return as_dict(root)
        return self._brought_up(root if type(root) is dict else dict(root), card, store, name)  # type: ignore[no-any-return]

    def _from_head(self, source: Source, names: Collection[str]) -> tuple[dict[str, Any], Card | None] | None:
        """Return the fields *names* and the card of a large *source* by its head; None if it must be loaded for them."""
        asked = names_then(self._info, names)
        head = head_of(self.codec, source, asked)
        return (head.fields, head.card) if _tells(head, asked) and not self._needs_upgrade(head.card) else None

    def plain_fields(self, store: Store, name: str, names: Collection[str], /) -> dict[str, Any]:
        """Return those of the fields *names* that are plain data."""
        try:
            head = self._head(store, name, names_then(self._info, names))
            if self._needs_upgrade(head.card):
                head = self._head(store, name, None)
            fields: dict[str, Any] = self._brought_up(head.fields, head.card, store, name)
        except (ContractError, NewerVersionError):
            raise
        except PersistenceError:
            return {}  # reading all of the content says what is wrong with it
        except Exception:  # of an upgrade that needs values which are not in the head
            return {}
        return {each: value for each, value in fields.items() if not isinstance(value, (ArrayHead, ObjectHead))}

    def _head(self, store: Store, name: str, names: Collection[str] | None) -> Head:
        try:  # as `opened` does, whose generator would take a tenth of the time
            with store.open(name) as source:
                return head_of(self.codec, source, names)
        except FAILURES as error:
            raise_explained(error, store, name, self._cls.__qualname__)

    def about(self, store: Store, name: str, /) -> Head:
        """Return what the content under *name* says of itself."""
        return self._head(store, name, None)

    def for_former(self) -> Self:
        """Return a copy that takes any card for that of the class."""
        twin = copy.copy(self)
        twin._any_class = True
        return twin

    def check(self, store: Store, name: str, /) -> bool:
        """Read the content under *name* to its end."""
        with opened(store, name, self._cls.__qualname__) as source:
            return self.codec.verify(source, self._trust)

    def refuse_other(self, result: T, there: Source, store: Store, name: str, content: Content = None, /) -> None:
        """Raise an error where *there* is of another class, or of other keys in the name, than *result*.

        :raises NameTakenError: its keys are others
        :raises OtherClassError: its class is another
        """
        try:
            if type(content) is not bytes or not self.codec.has_same_keys(there, content):
                refuse_other(self._info, self.codec, result, there, store.location(name))
        except FAILURES as error:
            if isinstance(error, PersistenceError) and not isinstance(
                error, (UnloadableResultError, UntrustedTypeError)
            ):
                raise
            if not isinstance(there, Source):
                expected = "replace to be called with a Source"
                raise ContractError(type(store).__qualname__, "put", expected, shown(there)) from error
            raise_explained(error, store, name, self._cls.__qualname__)


def _tells(head: Head, names: Collection[str]) -> bool:
    """Return whether *head* has all that the content has of the fields *names*: what holds too many values is cut short."""
    if any(isinstance(head.fields.get(each), ObjectHead) for each in names):
        return False
    return head.complete or all(each in head.fields for each in names)


def is_no_result(error: Exception) -> bool:
    """Return whether *error* says that there is no result any more, so that the file may be replaced."""
    return isinstance(error, (CorruptResultError, NotAResultError))
