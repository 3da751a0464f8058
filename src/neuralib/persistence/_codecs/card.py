"""The card: what a file says of itself, after its pickle.

A card is data, never trusted: it is parsed within bounds, and whatever it says of places is checked against the bytes
that are there.
"""

from __future__ import annotations

import json
import typing
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from neuralib.persistence._classes.schema import PersistentClass

LARGEST_CARD = 1 << 20
"""Bytes: a longer card is refused, but in a very large file, which may have that many large arrays."""

_MOST_FIELDS = 10_000
_SEPARATORS = (",", ":")


class ArrayPlace(NamedTuple):
    """Where the memory of a large array lies in a pickle, in bytes from its start."""

    begin: int
    """Of what aligns it."""
    start: int
    """Of its memory."""
    size: int
    writable: bool
    shape: tuple[int, ...]
    dtype: str

    @property
    def end(self) -> int:
        """Of its memory."""
        return self.start + self.size


class Card(NamedTuple):
    """What a file says of itself."""

    module: str
    qualname: str
    name: str
    """The class's part of the file name."""
    splitter: str
    keys: tuple[tuple[str, str], ...]
    """The keys in the file name, in order: each with its prefix."""
    fields: dict[str, str]
    """All fields, in order: each with its annotation as text."""
    key_names: tuple[str, ...] = ()
    """The fields that are keys, in the file name or not."""
    version: int = 0
    units: dict[str, str] = {}  # noqa: RUF012  # a default of a NamedTuple, never changed
    descriptions: dict[str, str] = {}  # noqa: RUF012
    numbered: str | None = None
    """The auto-increment key."""
    function_keys: tuple[str, ...] = ()
    """The keys in the file name whose text a function of the class makes, which may leave them out."""
    arrays: tuple[ArrayPlace, ...] = ()

    @property
    def class_name(self) -> str:
        """Where the class is defined: ``module:qualified name``."""
        return f"{self.module}:{self.qualname}"

    def to_bytes(self) -> bytes:
        """Return the card as it stands in files, without the large arrays, which differ from file to file."""
        return json.dumps(self._as_json(), separators=_SEPARATORS).encode("ascii")

    def _as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "class": [self.module, self.qualname],
            "name": self.name,
            "splitter": self.splitter,
            "keys": [list(key) for key in self.keys],
            "fields": self.fields,
            "key_names": list(self.key_names),
        }
        optional = {
            "version": self.version,
            "units": self.units,
            "descriptions": self.descriptions,
            "numbered": self.numbered,
            "function_keys": self.function_keys,
        }
        return found | {name: value for name, value in optional.items() if value}


def with_arrays(card: bytes, arrays: list[ArrayPlace]) -> bytes:
    """Return the bytes of a card with the places of large arrays added."""
    places = [[a.begin, a.start, a.size, int(a.writable), list(a.shape), a.dtype] for a in arrays]
    return b'%b,"arrays":%b}' % (card[:-1], json.dumps(places, separators=_SEPARATORS).encode("ascii"))


def parse_card(data: bytes, pickle_bytes: int) -> Card:
    """Return the card that *data* is.

    :param pickle_bytes: the length of the pickle before it, within which all arrays must lie
    :raises ValueError: it is damaged, or says what can't be
    """
    try:
        found = json.loads(data)
        return _card_of(found, pickle_bytes)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"its card is damaged: {type(error).__name__}: {str(error)[:100]}") from None


def _card_of(found: Any, pickle_bytes: int) -> Card:
    module, qualname = found["class"]
    fields = found["fields"]
    keys = tuple((_text(name), _text(prefix)) for name, prefix in found["keys"])
    key_names = tuple(_text(name) for name in found["key_names"])
    function_keys = tuple(_text(name) for name in found.get("function_keys", ()))
    units, descriptions = found.get("units", {}), found.get("descriptions", {})
    version, numbered = found.get("version", 0), found.get("numbered")
    for texts in (fields, units, descriptions):
        if (
            type(texts) is not dict
            or len(texts) > _MOST_FIELDS
            or not all(type(text) is str for text in texts.values())
        ):
            raise ValueError("fields must be texts by name")
    for name in (*(name for name, _ in keys), *key_names, *function_keys, *units, *descriptions):
        if name not in fields:
            raise ValueError(f"{name!r} is none of its fields")
    if type(version) is not int or version < 0 or not (numbered is None or numbered in key_names):
        raise ValueError("its version or its numbered key is none")
    return Card(
        _text(module),
        _text(qualname),
        _text(found["name"]),
        _text(found["splitter"]),
        keys,
        fields,
        key_names,
        version,
        units,
        descriptions,
        numbered,
        function_keys,
        _places_of(found.get("arrays", []), pickle_bytes),
    )


def _places_of(found: Any, pickle_bytes: int) -> tuple[ArrayPlace, ...]:
    places = []
    at = 0
    for begin, start, size, writable, shape, dtype in found:
        numbers = (begin, start, size, writable, *shape)
        if not all(type(number) is int for number in numbers) or min(numbers) < 0:
            raise ValueError("the place of an array is not made of numbers")
        place = ArrayPlace(begin, start, size, bool(writable), tuple(shape), _text(dtype))
        if not at <= begin < start <= place.end < pickle_bytes:
            raise ValueError(f"an array of {size} bytes at {start} goes beyond its end, or into another")
        at = place.end
        places.append(place)
    return tuple(places)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("a name is no text")
    return value


# ---------------------------------------------------------------------------------------------- of a class

_cards: weakref.WeakKeyDictionary[type, Card] = weakref.WeakKeyDictionary()


def card_of(info: PersistentClass[Any]) -> Card:
    """Return the card of the results of a class; it is made once."""
    cls = info.persistence_cls
    found = _cards.get(cls)
    if found is None:
        found = _cards[cls] = _made(info)
    return found


def _made(info: PersistentClass[Any]) -> Card:
    cls = info.persistence_cls
    declared = info.fields
    return Card(
        cls.__module__,
        cls.__qualname__,
        info.cls_name,
        info.filename_field_splitter,
        tuple((field.field_name, field.filename_prefix) for field in info.named_fields),
        {field.field_name: annotation_text(field.annotation) for field in declared},
        tuple(field.field_name for field in info.key_fields()),
        getattr(info, "version", 0),
        _noted(declared, "unit"),
        _noted(declared, "description"),
        info.layout.autoinc,
        tuple(field.field_name for field in info.named_fields if callable(field.filename)),
    )


def _noted(declared: list[Any], what: str) -> dict[str, str]:
    found = {field.field_name: getattr(field, what, "") for field in declared}
    if what == "unit":
        found = {field.field_name: found[field.field_name] or unit_of(field.field_type) for field in declared}
    return {name: text for name, text in found.items() if text}


def unit_of(annotation: Any) -> str:
    """Return what an annotation says beside the type: ``"Hz"`` for ``Annotated[float, "Hz"]``."""
    if typing.get_origin(annotation) is typing.Annotated:
        return ", ".join(part for part in typing.get_args(annotation)[1:] if isinstance(part, str))
    return ""


def annotation_text(annotation: Any) -> str:
    """Return an annotation as it would be written."""
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, typing.ForwardRef):
        return annotation.__forward_arg__
    if isinstance(annotation, type) and not typing.get_args(annotation):
        builtin = annotation.__module__ in {"builtins", "__main__"}
        return annotation.__qualname__ if builtin else f"{annotation.__module__}.{annotation.__qualname__}"
    try:
        return repr(annotation).replace("typing.", "")
    except Exception:  # a class of the user's own: the card must not fail because of it
        return type(annotation).__qualname__
