"""The whole content of a file that :mod:`~neuralib.persistence._codecs.frames` wrote, in memory: checked and unpickled.

Contents without a card, written by others, are unpickled as any pickle is.
"""

from __future__ import annotations

import functools
import io
import pickle
from typing import TYPE_CHECKING, Any, NamedTuple

from neuralib.persistence import _pickling
from neuralib.persistence._bytes.checksums import checksum
from neuralib.persistence._codecs.base import Decoded
from neuralib.persistence._codecs.card import Card, adds_packages_only, parse_card
from neuralib.persistence._codecs.frames import END_BYTES, MAGIC, end_of, is_announced, lengths_of
from neuralib.persistence._codecs.unloadable import ARRAY_IN_VALUE, raise_not_unpickled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

    from typing_extensions import Buffer

    from neuralib.persistence._codecs.base import Unpickle
    from neuralib.persistence._codecs.card import ArrayPlace

MISMATCH = "its checksum is not that of what was saved"
_NEXT_BUFFER, _NEXT_READ_ONLY = b"\x97", b"\x97\x98"


def unpickled(data: Any, buffers: Iterable[Any]) -> Any:
    """Return what the pickle *data* holds. All Python objects load: see the handlers' *trusted*."""
    load: Callable[..., Any] = pickle.load if isinstance(data, io.BufferedReader) else pickle.loads
    return load(data, buffers=buffers)


class OwnCard(NamedTuple):
    """The card that is expected, which then need not be parsed."""

    card: Card
    data: bytes
    """The card as it stands in files."""
    seal: bytes
    """What stands between the pickle and the lengths of both."""
    leading: int
    """How many fields come first, up to the last key in the file name."""

    @classmethod
    def of(cls, card: Card) -> Self:
        """Return *card* as it is looked for in files."""
        data = card.to_bytes()
        named = {name for name, _ in card.keys}
        leading = max((place for place, name in enumerate(card.fields, 1) if name in named), default=0)
        return cls(card, data, data + MAGIC, leading)


# By the identity of the card, which stays with it. Writing it as text takes longer than a save.
_own_cards: dict[int, OwnCard] = {}
_MOST_OWN = 64


def own_card(card: Card) -> OwnCard:
    """Return *card* as it is looked for in files; it is made once."""
    try:
        return _own_cards[id(card)]  # not dict.get, which may wait for itself: see Numbering
    except KeyError:
        found = OwnCard.of(card)
    if len(_own_cards) >= _MOST_OWN:
        _own_cards.clear()
    _own_cards[id(card)] = found
    return found


def load_sealed(data: Buffer, own: OwnCard) -> Decoded | None:
    """Return what the whole content *data* of a trusted file holds if it has just the card *own*, as most have, and that card.

    None asks for a closer look.

    :raises UnloadableResultError: it is whole, and can't be unpickled here
    """
    if not _pickling.is_sealed(data, own.seal, checksum):
        return None
    try:
        return pickle.loads(data), own.card
    except BaseException as error:
        raise_not_unpickled(error, data, trusted=True, whole=True)


def load_bytes(data: Buffer, own: OwnCard, unpickle: Unpickle | None, *, whole: bool = False) -> Decoded:
    """Return what the whole content *data* holds, and its card.

    :param own: the card that is expected
    :param whole: whether a checksum of another kind than the card's says that it is what was saved
    :raises ValueError: the checksum says that it is damaged
    :raises UnloadableResultError: it is whole, and can't be unpickled here
    """
    card = checked_card(data, own)
    if card is not None and card.arrays:
        return _with_arrays(memoryview(data), card, unpickled if unpickle is None else unpickle), card
    try:
        if unpickle is None:
            return pickle.loads(data), card
        return unpickle(bytes(data), ()), card
    except BaseException as error:
        found = None if card is None else checked_card(data)  # with the versions of packages
        packages = {} if found is None else found.packages
        raise_not_unpickled(error, data, packages=packages, trusted=unpickle is None, whole=whole or card is not None)


def _with_arrays(view: memoryview, card: Card, unpickle: Unpickle) -> Any:
    """Return what the content *view*, whose checksum is right, holds, with arrays where its *card* says that they are.

    So that a file is the same to this as to who maps it, whatever its card says.
    """
    pieces: list[Buffer] = []
    memory = []
    at = 0
    for place in card.arrays:
        begin, start, size, writable, _, _ = place
        refuse_unannounced((place,), (view[begin:start],))
        pieces += view[at:begin], _NEXT_BUFFER if writable else _NEXT_READ_ONLY
        at = start + size
        memory.append(bytearray(view[start:at]))
    pieces.append(view[at : lengths_of(view)[0]])
    return unpickled_with(unpickle, b"".join(pieces), memory, card)


def checked_card(data: Any, own: OwnCard | None = None) -> Card | None:
    """Return the card of the whole content *data*, checked to its last byte; None where it has none.

    :raises ValueError: the checksum says that it is damaged
    """
    if own is not None and _pickling.is_sealed(data, own.seal, checksum):
        return own.card
    size = len(data)
    if not size:
        raise EOFError("it is empty")
    end = end_of(data, size)
    if end is None:
        return None
    pickle_bytes, _, whole, _ = end
    if checksum(memoryview(data)[: size - 8]) != whole:
        raise ValueError(MISMATCH)
    card = data[pickle_bytes : size - END_BYTES]
    if own is not None and adds_packages_only(card, own.data):
        return own.card
    return parsed_card(bytes(card), pickle_bytes)


_LONGEST_REMEMBERED = 1 << 12
# Files of one class with arrays of the same shapes have the same card: parsing it takes longer than loading many a file.
_parsed_before = functools.lru_cache(64)(parse_card)


def parsed_card(data: bytes, pickle_bytes: int) -> Card:
    """Return the card that *data* is: see :func:`parse_card`."""
    return (_parsed_before if len(data) <= _LONGEST_REMEMBERED else parse_card)(data, pickle_bytes)


def check_content(parts: Iterable[bytes]) -> None:
    """Read the content *parts* of a compressed file to its end, and make nothing of it.

    :raises ValueError: its own checksum, if it has one, says that it is not what was saved
    """
    size = whole = 0
    last = b""
    for part in parts:
        size += len(part)
        held = last + part
        whole = checksum(memoryview(held)[:-END_BYTES], whole)
        last = held[-END_BYTES:]
    end = end_of(last, size)
    if end is not None and checksum(last[:-8], whole) != end[2]:
        raise ValueError(MISMATCH)


# ---------------------------------------------------------------------------------------------- a pickle and its arrays


def unpickled_with(unpickle: Unpickle, structure: Any, memory: list[Any], card: Card) -> Any:
    """Return what the pickle *structure*, whose checksum is right, holds with the arrays in *memory*; it must use each."""
    buffers = iter(memory)
    try:
        found = unpickle(structure, buffers)
    except BaseException as error:
        trusted = unpickle is unpickled
        raise_not_unpickled(error, structure, memory, packages=card.packages, trusted=trusted, whole=True)
    if next(buffers, None) is not None:
        raise ValueError(ARRAY_IN_VALUE)
    return found


def parts_around(arrays: tuple[ArrayPlace, ...], length: int) -> Iterator[tuple[int, int, bytes, int]]:
    """Yield each part of a pickle between its large *arrays*: where it begins and ends, and what an array after it takes.

    That is the opcodes that stand for the array in a pickle without it, and how many bytes announce and align it.
    """
    at = 0
    for place in arrays:
        opcodes = _NEXT_BUFFER if place.writable else _NEXT_READ_ONLY
        yield at, place.begin, opcodes, place.start - place.begin
        at = place.end
    yield at, length, b"", 0


def refuse_unannounced(places: Iterable[ArrayPlace], announced: Iterable[Buffer]) -> None:
    """Raise an error where *announced*, the bytes before each of the arrays at *places*, announce something else."""
    for place, data in zip(places, announced, strict=True):
        if not is_announced(place, bytes(data)):
            raise ValueError(f"its card says that an array begins at {place.start}, where none is announced")
