"""The card: what a file says of itself, after its pickle.

A card is data, never trusted: it is parsed within bounds, and whatever it says of places is checked against the bytes
that are there.
"""

from __future__ import annotations

import functools
import json
import typing
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from neuralib.persistence._classes.field import unit_of
from neuralib.persistence._messages import shown
from neuralib.persistence._showing.previews import MAX_REPR_CHARS, value_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from neuralib.persistence._classes.schema import PersistentClass

LARGEST_CARD = 1 << 20
"""Bytes: a longer card is refused, but in a very large file, which may have that many large arrays."""

_MOST_FIELDS = 10_000
_as_text = json.JSONEncoder(separators=(",", ":")).encode


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
    packages: dict[str, str] = {}  # noqa: RUF012
    """The versions of the packages of others whose objects are in the file."""
    portable: bool = False
    """Whether names encode the characters that some systems refuse."""

    def __repr__(self) -> str:
        return f"<Card of {shown(self.class_name, str)}: {value_text(dict(self.keys), MAX_REPR_CHARS)}>"

    @property
    def class_name(self) -> str:
        """Where the class is defined: ``module:qualified name``."""
        return f"{self.module}:{self.qualname}"

    def to_bytes(self) -> bytes:
        """Return the card as it stands in files, without the large arrays, which differ from file to file."""
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
            "packages": self.packages,
            "portable": self.portable,
        }
        found |= {name: value for name, value in optional.items() if value}
        return _as_text(found).encode("ascii")


def with_arrays(card: bytes, arrays: Sequence[tuple[int, int, int, bool, tuple[int, ...], str]]) -> bytes:
    """Return the bytes of a card with the places of large arrays added, each as in an :class:`ArrayPlace`."""
    places = [
        [begin, start, size, int(writable), list(shape), dtype] for begin, start, size, writable, shape, dtype in arrays
    ]
    return b'%b,"arrays":%b}' % (card[:-1], _as_text(places).encode("ascii"))


_PACKAGES = b',"packages":'
_LONGEST_REMEMBERED = 1 << 12


@functools.lru_cache(64)
def with_packages(card: bytes, packages: tuple[tuple[str, str], ...]) -> bytes:
    """Return the bytes of a *card* with the versions of *packages* added."""
    return b"%b%b%b}" % (card[:-1], _PACKAGES, _as_text(dict(packages)).encode("ascii"))


def adds_packages_only(card: Any, own: bytes) -> bool:
    """Return whether *card* is *own* with the versions of packages added."""
    end = len(own) - 1
    if card[end : end + len(_PACKAGES)] != _PACKAGES or card[:end] != own[:end]:
        return False
    return len(card) - end <= _LONGEST_REMEMBERED and _is_packages(bytes(card[end + 1 :]))


@functools.lru_cache(64)
def _is_packages(member: bytes) -> bool:
    """Return whether *member*, the end of a card, has versions of packages, and nothing else."""
    try:
        found = json.loads(b"{" + member)
        return found.keys() == {"packages"} and _is_texts(found["packages"])
    except (ValueError, AttributeError, RecursionError):
        return False


def with_fields(card: Card, annotations: Mapping[str, str]) -> Card:
    """Return *card* with more fields, each with its annotation as text."""
    return card._replace(fields={**card.fields, **annotations})


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
    units, descriptions, packages = found.get("units", {}), found.get("descriptions", {}), found.get("packages", {})
    version, numbered = found.get("version", 0), found.get("numbered")
    if not all(_is_texts(texts) for texts in (fields, units, descriptions, packages)):
        raise ValueError("fields must be texts by name")
    for name in (*(name for name, _ in keys), *key_names, *function_keys, *units, *descriptions):
        if name not in fields:
            raise ValueError(f"{name!r} is none of its fields")
    if type(version) is not int or version < 0 or not (numbered is None or numbered in key_names):
        raise ValueError("its version is no number, or its numbered key is no key")
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
        packages,
        found.get("portable") is True,
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


def _is_texts(found: Any) -> bool:
    """Return whether *found* is not too many texts by name."""
    return type(found) is dict and len(found) <= _MOST_FIELDS and all(type(text) is str for text in found.values())


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
        {field.field_name: unit for field in declared if (unit := unit_of(field))},
        {field.field_name: field.description for field in declared if field.description},
        info.layout.autoinc,
        tuple(field.field_name for field in info.named_fields if callable(field.filename)),
        portable=info.portable,
    )


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
