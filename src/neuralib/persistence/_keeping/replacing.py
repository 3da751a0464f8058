"""Whether a result may replace what is there: it is looked at without trust, whatever its handler trusts.

Somebody else may have put the file there, and saving is no reason to run what is in it. Its head tells the keys. Those of
classes of the user's own are compared by what the file would hold of them; only where that differs are they made, of the
classes that the fields declare and the keys of the result have.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from neuralib.persistence._bytes.sources import BytesSource
from neuralib.persistence._classes.convert import as_dict
from neuralib.persistence._classes.evolution import brought_up, names_then
from neuralib.persistence._classes.field import same_key
from neuralib.persistence._codecs.base import Head
from neuralib.persistence._codecs.card import card_of
from neuralib.persistence._codecs.pickles import NoFieldsError
from neuralib.persistence._codecs.unloadable import DAMAGE
from neuralib.persistence._equality import same_value
from neuralib.persistence._errors import ContractError, UnloadableResultError, UntrustedTypeError
from neuralib.persistence._keeping.identity import keys_in_name, refuse_other_class, refuse_taken
from neuralib.persistence._messages import shown
from neuralib.persistence._stores.base import MemoryDraft
from neuralib.persistence._trust.untrusted import Reader, classes_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from neuralib.persistence._bytes.sources import Source
    from neuralib.persistence._classes.schema import PersistentClass
    from neuralib.persistence._codecs.base import Codec

_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})
_UNREADABLE = (*DAMAGE, AttributeError, NoFieldsError, UnloadableResultError, UntrustedTypeError)


def refuse_other(info: PersistentClass[Any], codec: Codec, result: object, there: Source, place: str) -> None:
    """Raise an error where *there*, the content at *place*, is of another class, or of other keys in the name, than *result*.

    :raises NameTakenError: its keys are others, or can't be told without running code from it
    :raises OtherClassError: its class is another
    :raises ValueError: it is damaged, and so are the other errors of :data:`DAMAGE`
    """
    keys = keys_in_name(info, result)
    try:
        head = head_of(codec, there, names_then(info, keys))
    except (*DAMAGE, AttributeError):
        if _is_whole(codec, there):  # a result, though not for this reader: it must not be lost
            refuse_taken(info, result, None, place)
        raise
    refuse_other_class(card_of(info), head.card, place, info.former_names)
    version = 0 if head.card is None else head.card.version
    stored = None
    tells = head.complete or all(name in head.fields for name in keys)
    if tells and (version >= info.version or not hasattr(info.persistence_cls, "upgrade")):  # which needs all fields
        stored = brought_up(info, head.fields, version, place)
        different = _different(stored, keys)
        if different and not any(type(stored[name]) in _PLAIN for name in different):
            written = _head_of_keys(codec, keys)
            different = [name for name in different if not same_value(written.get(name), stored[name])]
        if not different:
            return
        if any(type(stored[name]) in _PLAIN for name in different):
            refuse_taken(info, result, stored, place)
    made = _made(info, codec, there, keys)
    if made is not None:
        stored = brought_up(info, made, version, place)
    refuse_taken(info, result, stored, place)


def head_of(codec: Codec, source: Source, names: Collection[str] | None) -> Head:
    """Return the head of *source*.

    :raises ContractError: *codec* returns something else
    """
    head: Any = codec.head(source, names)
    if not isinstance(head, Head):
        raise ContractError(type(codec).__qualname__, "head", "a Head", shown(head))
    return head


def _different(stored: dict[str, Any], keys: dict[str, Any]) -> list[str]:
    return [name for name, value in keys.items() if name in stored and not same_key(value, stored[name])]


def _head_of_keys(codec: Codec, keys: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that the head of a file with *keys* would have."""
    draft = MemoryDraft()
    try:
        codec.encode(keys, draft)
        return head_of(codec, BytesSource(draft.content()), list(keys)).fields
    except Exception:  # a format that can't write them alone
        return {}


def _made(info: PersistentClass[Any], codec: Codec, there: Source, keys: dict[str, Any]) -> dict[str, Any] | None:
    """Return all fields of *there*, of plain data and classes that its owner knows; None where it holds something else."""
    reader = Reader([*classes_in(info), *_classes_of(keys.values())])
    try:
        root: Any = codec.load(there, reader, None)[0]
    except _UNREADABLE:
        return None
    if isinstance(root, dict):
        return root
    return as_dict(root) if isinstance(root, info.persistence_cls) else None


def _classes_of(values: Collection[Any]) -> Iterator[type]:
    """Yield the classes of *values*, and of what is in them, that can be made without calling anything of theirs."""
    for value in values:
        kind = type(value)
        if kind in {tuple, list, set, frozenset}:
            yield from _classes_of(value)
        elif (
            getattr(kind, "__new__", None) is object.__new__ or isinstance(value, enum.Enum) or hasattr(kind, "_fields")
        ):
            yield kind


def _is_whole(codec: Codec, there: Source) -> bool:
    """Return whether *there* is a whole file, whatever it holds."""
    try:
        codec.verify(there, Reader([]))
    except UnloadableResultError:
        return True
    except Exception:
        return False
    return True
