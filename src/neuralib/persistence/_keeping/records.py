"""Results to content and back: by a codec, whichever the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from neuralib.persistence._bytes.sources import Source
from neuralib.persistence._classes.convert import as_dict, from_dict
from neuralib.persistence._classes.evolution import brought_up, names_then
from neuralib.persistence._classes.losses import check_before_saving
from neuralib.persistence._codecs.base import Head
from neuralib.persistence._codecs.card import card_of
from neuralib.persistence._codecs.pickles import NoFieldsError
from neuralib.persistence._errors import (
    ContractError,
    CorruptResultError,
    MissingFieldError,
    NotAResultError,
    PersistenceError,
    UntrustedTypeError,
    shown,
)
from neuralib.persistence._keeping.identity import refuse_other_class, refuse_taken
from neuralib.persistence._keeping.reading import DAMAGE, FAILURES, raise_explained
from neuralib.persistence._trust.stand_ins import ArrayHead, ObjectHead

if TYPE_CHECKING:
    from collections.abc import Collection

    from neuralib.persistence._classes.schema import PersistentClass
    from neuralib.persistence._codecs.base import Codec, Unpickle
    from neuralib.persistence._codecs.card import Card
    from neuralib.persistence._stores.base import Content, Store

T = TypeVar("T")

_SMALL_BYTES = 1 << 16


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

    def check(self, store: Store, name: str, /) -> bool:
        """Read the content under *name* to its end; return whether a checksum says that it is what was saved."""
        ...

    def refuse_other(self, result: T, there: Source, store: Store, name: str, /) -> None:
        """Raise an error where *there*, the content under *name*, must not be replaced by *result*."""


class CodecRecords(Generic[T]):
    """Results by a codec.

    :param info: the class of the results
    :param codec: the format
    :param trust: reads pickles of unknown origin; None where files are trusted
    :param mmap_mode: None, ``'r'`` or ``'c'``
    :param cls: the class itself, or a subclass without a decorator of its own
    """

    __slots__ = ("_card", "_cls", "_info", "_mmap_mode", "_strict", "_trust", "codec")

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
        self.codec = codec.for_class(self._card)
        self._trust, self._mmap_mode = trust, mmap_mode
        self._strict = info.strict

    def content(self, result: T, store: Store, name: str, /, *, durable: bool) -> Content:
        """Return *result* as content that *store* can put."""
        fields = as_dict(result)
        # Every result whose attributes are just its fields is fine; the others are looked at.
        attributes = getattr(result, "__dict__", fields)
        if attributes.keys() != fields.keys() or type(result) is not self._cls or self._strict:
            check_before_saving(result, self._info)
            self._info.refuse_unsaved(result)
        return self.codec.content(fields, store.draft)

    def load(self, store: Store, name: str, /) -> T:
        """Return the result under *name*.

        :raises CorruptResultError: the content is damaged
        :raises NotAResultError: it is something else
        :raises OtherClassError: it is of another class
        """
        try:
            source = self._opened(store, name)
            try:
                root, card = self.codec.load(source, self._trust, self._mmap_mode)
            finally:
                source.close()
        except FAILURES as error:
            raise_explained(error, store, name, self._cls.__qualname__)
        if card is not self._card:
            self._refuse_other_class(card, store.location(name))
            root = self._brought_up(root, card, store, name)
        if not isinstance(root, dict):
            self._refuse_other_content(root, store, name)
            return root  # type: ignore[no-any-return]  # the oldest files hold the instance itself
        try:
            return from_dict(self._cls, root)
        except MissingFieldError as error:
            raise MissingFieldError(error.owner, error.field, store.location(name)) from error

    def _refuse_other_class(self, card: Card | None, place: str) -> None:
        refuse_other_class(self._card, card, place, self._info.former_names)

    def _needs_upgrade(self, card: Card | None) -> bool:
        """Return whether the class changes the fields of the file with *card* in its own way, for which it needs all."""
        return (0 if card is None else card.version) < self._info.version and hasattr(self._cls, "upgrade")

    def _brought_up(self, root: Any, card: Card | None, store: Store, name: str) -> Any:
        """Return the fields *root* of a file with another card than today's as the class has them now."""
        if not isinstance(root, dict):
            return root
        return brought_up(self._info, root, 0 if card is None else card.version, store.location(name))

    def _opened(self, store: Store, name: str) -> Source:
        return store.open(name) if self._mmap_mode is None else store.open_to_map(name)

    def _refuse_other_content(self, root: Any, store: Store, name: str) -> None:
        if not isinstance(root, (dict, self._cls)):
            raise NotAResultError(self._cls.__qualname__, store.location(name), f"a {type(root).__qualname__}")

    def fields(self, store: Store, name: str, names: Collection[str] | None, /) -> dict[str, Any]:
        """Return fields of the result under *name*: a small one is loaded whole, of a large one the head is read."""
        try:
            with self._opened(store, name) as source:
                if names is not None and source.size >= _SMALL_BYTES:
                    asked = names_then(self._info, names)
                    head = self._head_of(source, asked)
                    if _tells(head, asked) and not self._needs_upgrade(head.card):
                        self._refuse_other_class(head.card, store.location(name))
                        found: dict[str, Any] = self._brought_up(head.fields, head.card, store, name)
                        return found
                root, card = self.codec.load(source, self._trust, self._mmap_mode)
        except FAILURES as error:
            raise_explained(error, store, name, self._cls.__qualname__)
        self._refuse_other_class(card, store.location(name))
        self._refuse_other_content(root, store, name)
        return self._brought_up(root, card, store, name) if isinstance(root, dict) else as_dict(root)

    def plain_fields(self, store: Store, name: str, names: Collection[str], /) -> dict[str, Any]:
        """Return those of the fields *names* that are plain data."""
        try:
            head = self._head(store, name, names_then(self._info, names))
            fields: dict[str, Any] = self._brought_up(head.fields, head.card, store, name)
        except ContractError:
            raise
        except PersistenceError:
            return {}  # what is wrong with the content is said by whoever reads all of it
        return {each: value for each, value in fields.items() if not isinstance(value, (ArrayHead, ObjectHead))}

    def _head(self, store: Store, name: str, names: Collection[str]) -> Head:
        try:
            with store.open(name) as source:
                return self._head_of(source, names)
        except FAILURES as error:
            raise_explained(error, store, name, self._cls.__qualname__)

    def _head_of(self, source: Source, names: Collection[str]) -> Head:
        head: Any = self.codec.head(source, names)
        if not isinstance(head, Head):
            raise ContractError(type(self.codec).__qualname__, "head", "a Head", shown(head))
        return head

    def check(self, store: Store, name: str, /) -> bool:
        """Read the content under *name* to its end."""
        try:
            with store.open(name) as source:
                return self.codec.verify(source, self._trust)
        except FAILURES as error:
            raise_explained(error, store, name, self._cls.__qualname__)

    def refuse_other(self, result: T, there: Source, store: Store, name: str, /) -> None:
        """Raise an error where *there* is of another class, or of other keys in the name, than *result*.

        :raises NameTakenError: its keys are others
        :raises OtherClassError: its class is another
        """
        keys = {field.field_name: getattr(result, field.field_name, None) for field in self._info.named_fields}
        try:
            if self.codec.begins_with(there, keys):
                return
            head = self._head_of(there, names_then(self._info, keys))
        except (OSError, MemoryError, ImportError) as error:  # nothing is known of what is there
            raise_explained(error, store, name, self._cls.__qualname__)
        except (*DAMAGE, AttributeError, NoFieldsError, UntrustedTypeError) as error:
            if not isinstance(there, Source):
                expected = "replace to be called with a Source"
                raise ContractError(type(store).__qualname__, "put", expected, shown(there)) from error
            stored = self.fields(store, name, None)  # it may be a result all the same, for who reads all of it
        else:
            self._refuse_other_class(head.card, store.location(name))
            # Keys of classes that this handler trusts are no part of a head.
            whole = not _tells(head, keys) or self._needs_upgrade(head.card)
            stored = self.fields(store, name, None) if whole else self._brought_up(head.fields, head.card, store, name)
        refuse_taken(self._info, result, stored, store.location(name))


def _tells(head: Head, names: Collection[str]) -> bool:
    """Return whether *head* has all that the content has of the fields *names*: what holds too many values is cut short."""
    if any(isinstance(head.fields.get(each), ObjectHead) for each in names):
        return False
    return head.complete or all(each in head.fields for each in names)


def is_no_result(error: Exception) -> bool:
    """Return whether *error* says that there is no result any more, so that the file may be replaced."""
    return isinstance(error, (CorruptResultError, NotAResultError))
