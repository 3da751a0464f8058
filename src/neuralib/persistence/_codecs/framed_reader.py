"""Reading the files that :mod:`~neuralib.persistence._codecs.frames` writes, checked.

Large arrays go straight into memory of their own, or are mapped, while the rest is unpickled from a few hundred bytes.
Files without a card, written by others, are read as any pickle is.
"""

from __future__ import annotations

import functools
import io
import pickle
from typing import TYPE_CHECKING, Any, NamedTuple

from neuralib.persistence import _pickling
from neuralib.persistence._bytes import checksums
from neuralib.persistence._bytes.checksums import checksum, read_by_parts
from neuralib.persistence._bytes.sources import Source
from neuralib.persistence._codecs.base import Decoded
from neuralib.persistence._codecs.card import LARGEST_CARD, Card, adds_packages_only, parse_card
from neuralib.persistence._codecs.frames import END_BYTES, MAGIC, end_of, is_announced, lengths_of
from neuralib.persistence._codecs.unloadable import ARRAY_IN_VALUE, raise_not_unpickled, refuse_unused
from neuralib.persistence._trust.instructions import LONGEST_KEPT, Instructions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

    from typing_extensions import Buffer

    from neuralib.persistence._codecs.card import ArrayPlace

    Unpickle = Callable[[Any, Iterable[Any]], Any]

_PIECE = 1 << 20  # bytes that are read and go through the checksum together, while they are in the processor's cache
MOST_IN_HOLES = 1 << 30  # bytes
_TOGETHER = 64  # pieces of memory that are filled by one call, at most
_LAST = 1 << 12  # bytes at the end of a file that are read at once: they hold the card of nearly all
_MISMATCH = "its checksum is not that of what was saved"
_NEXT_BUFFER, _READONLY_BUFFER = b"\x97", b"\x98"


def unpickled(data: Any, buffers: Iterable[Any]) -> Any:
    """Return what the pickle *data* holds. All Python objects load: see the handlers' *trusted*."""
    load: Callable[..., Any] = pickle.load if isinstance(data, io.BufferedReader) else pickle.loads
    return load(data, buffers=buffers)


class Tail(NamedTuple):
    """What stands after a pickle."""

    pickle_bytes: int
    whole: int
    """The checksum of all that stands before it."""
    structure: int
    """The same without the memory of large arrays."""
    card: Card
    data: bytes
    """The card and the end, without the checksums."""


# ---------------------------------------------------------------------------------------------- what is in memory


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
    arrays = card.arrays
    _refuse_unannounced(arrays, [view[place.begin : place.start] for place in arrays])
    parts = _between(arrays, lengths_of(view)[0])
    structure = b"".join([piece for begin, end, opcodes, _ in parts for piece in (view[begin:end], opcodes)])
    return _unpickled_with(unpickle, structure, [bytearray(view[place.start : place.end]) for place in arrays], card)


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
        raise ValueError(_MISMATCH)
    card = data[pickle_bytes : size - END_BYTES]
    if own is not None and adds_packages_only(card, own.data):
        return own.card
    return _parsed(bytes(card), pickle_bytes)


_LONGEST_REMEMBERED = 1 << 12
# Files of one class with arrays of the same shapes have the same card: parsing it takes longer than loading many a file.
_parsed_before = functools.lru_cache(64)(parse_card)


def _parsed(data: bytes, pickle_bytes: int) -> Card:
    """Return the card that *data* is: see :func:`parse_card`."""
    return (_parsed_before if len(data) <= _LONGEST_REMEMBERED else parse_card)(data, pickle_bytes)


# ---------------------------------------------------------------------------------------------- what is somewhere else


def read_tail(source: Source) -> Tail | None:
    """Return what stands after the pickle in *source*; None where it has no card. The checksum is not compared.

    :raises ValueError: it is damaged
    """
    size = source.size
    last = source.read_at(min(_LAST, size), max(0, size - _LAST))
    end = end_of(last, size)
    if end is None:
        return None
    pickle_bytes, card_bytes, whole, structure = end
    wanted = card_bytes + END_BYTES
    if wanted > len(last):
        most = max(LARGEST_CARD, size >> 8)  # very many large arrays make a long card
        if card_bytes > most:
            raise ValueError(f"its card has {card_bytes} bytes, and may have {most}")
        last = source.read_at(wanted, size - wanted)
    data = last[len(last) - wanted : len(last) - 8]
    card = _parsed(data[:card_bytes], pickle_bytes)
    if size > MOST_IN_HOLES:
        parts = _between(card.arrays, pickle_bytes)
        holes = sum(_holes_in(source, begin, stop) for begin, stop, _, _ in parts)
        if holes > MOST_IN_HOLES:  # beside its arrays: nobody writes such
            raise ValueError(f"its pickle has {holes:,} bytes in holes of the file, where nothing was written")
    return Tail(pickle_bytes, whole, structure, card, data)


def read_source(source: Source, unpickle: Unpickle = unpickled) -> Decoded:
    """Return what *source* holds; its large arrays have memory of their own.

    :raises ValueError: the checksum says that it is damaged
    """
    tail = read_tail(source)
    if tail is None:
        with source.file() as buffered:  # not ours: read as it comes, which takes the least memory
            found = _unpickled_plain(unpickle, buffered)
            if buffered.read(len(MAGIC)) == MAGIC:  # it is: a network file system told the size of another file
                raise ValueError("something else follows its end")
            return found, None
    structure, memory, targets, announced = _memory_for(tail.card.arrays, tail.pickle_bytes)
    if checksum(tail.data, _fill(source, targets)) != tail.whole:
        raise ValueError(_MISMATCH)
    _refuse_unannounced(tail.card.arrays, announced)
    del targets, announced  # so that whoever unpickles may give the structure's memory back
    return _unpickled_with(unpickle, structure, memory, tail.card), tail.card


def map_source(source: Source, mode: str, unpickle: Unpickle = unpickled) -> Decoded:
    """Return what *source*, a local file, holds; its large arrays are the file, mapped into memory.

    :param mode: ``'r'``: they can't be written; ``'c'``: what is written stays in memory
    :raises ValueError: the checksum says that it is damaged outside of the arrays, which are not read
    """
    if source.size == 0:
        raise EOFError("it is empty")
    tail = read_tail(source)
    mapped = source.map(mode)
    if tail is None:
        return _unpickled_plain(unpickle, mapped), None
    structure = _structure(source, tail)
    memory = [mapped[place.start : place.end] for place in tail.card.arrays]
    buffers = [
        view if place.writable else view.toreadonly() for view, place in zip(memory, tail.card.arrays, strict=True)
    ]
    return _unpickled_with(unpickle, structure, buffers, tail.card), tail.card


def outline_of(source: Source) -> tuple[bytes, list[int], Card] | None:
    """Return the pickle in *source* without its large arrays, the sizes of these in bytes, and the card.

    The arrays are stepped over, not read. None where there is no card that would vouch for the rest.

    :raises ValueError: the checksum says that the rest is damaged
    """
    tail = read_tail(source)
    if tail is None:
        return None
    return _structure(source, tail), [place.size for place in tail.card.arrays], tail.card


def check_source(source: Source) -> bool:
    """Read *source* to its end, and make nothing of it.

    :return: True where a checksum says that it is what was saved; False where it has none, but is a whole pickle
    :raises ValueError: it is damaged
    """
    if source.size == 0:
        raise EOFError("it is empty")
    tail = read_tail(source)
    if tail is None:
        return _check_pickle(source)
    whole = structure = at = 0
    announced = []
    for begin, end, _, announcing in _between(tail.card.arrays, tail.pickle_bytes):
        for piece in _pieces(source, at, begin):  # an array
            whole = _summed(piece, whole)
        at = end + announcing
        for piece in _pieces(source, begin, at):
            whole, structure = _summed(piece, whole), _summed(piece, structure)
        if announcing:
            announced.append(source.read_at(announcing, end))
    sums = (checksum(tail.data, whole), checksum(tail.data, structure))
    if sums != (tail.whole, tail.structure):
        raise ValueError(_MISMATCH)
    _refuse_unannounced(tail.card.arrays, announced)
    if tail.card.arrays:
        refuse_unused(len(tail.card.arrays), _structure(source, tail))
    return True


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
        raise ValueError(_MISMATCH)


def _check_pickle(source: Source) -> bool:
    """Return False where *source* is a pickle, and nothing else; raise an error where it is not."""
    left = source.size - pickle_bytes(source)
    if left < 0:
        raise EOFError("it ends too early")
    if left:
        raise ValueError(f"{left} bytes follow the end of the pickle, and are no checksum")
    return False


def pickle_bytes(source: Source) -> int:
    """Return the length of the pickle at the start of *source*; its large values are stepped over.

    :raises ValueError: there is none, or it has two meanings
    :raises EOFError: it ends too early
    """
    with source.file() as file:
        steps = Instructions(file, LONGEST_KEPT)
        for _ in steps:
            pass
        return steps.size_bytes


def _unpickled_plain(unpickle: Unpickle, data: Any) -> Any:
    """Return what the pickle *data*, which has no checksum, holds."""
    try:
        return unpickle(data, ())
    except OSError as error:
        if isinstance(error, FileNotFoundError):  # what is open can be read, so an object misses a file
            raise_not_unpickled(error, b"", trusted=False, whole=False)
        raise
    except BaseException as error:
        raise_not_unpickled(error, b"", trusted=False, whole=False)


def _unpickled_with(unpickle: Unpickle, structure: Any, memory: list[Any], card: Card) -> Any:
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


def _structure(source: Source, tail: Tail) -> bytes:
    """Return the pickle in *source* without its large arrays, checked.

    :raises ValueError: it is damaged
    """
    parts: list[bytes] = []
    announced: list[bytes] = []
    found = 0
    for begin, end, opcodes, announcing in _between(tail.card.arrays, tail.pickle_bytes):
        data = _read_exactly(source, end + announcing - begin, begin)
        found = checksum(data, found)
        parts += [data[: end - begin], opcodes]
        if announcing:
            announced.append(data[end - begin :])
    if checksum(tail.data, found) != tail.structure:
        raise ValueError(_MISMATCH)
    _refuse_unannounced(tail.card.arrays, announced)
    return b"".join(parts)


def _refuse_unannounced(places: Iterable[ArrayPlace], announced: Iterable[Buffer]) -> None:
    for place, data in zip(places, announced, strict=True):
        if not is_announced(place, bytes(data)):
            raise ValueError(f"its card says that an array begins at {place.start}, where none is announced")


def _between(arrays: tuple[ArrayPlace, ...], length: int) -> Iterator[tuple[int, int, bytes, int]]:
    """Yield where each part of a pickle that is no array begins and ends, and what follows it.

    That is the opcodes that stand for the array in a pickle without it, and how many bytes in its place announce and align it.
    """
    at = 0
    for place in arrays:
        opcodes = _NEXT_BUFFER if place.writable else _NEXT_BUFFER + _READONLY_BUFFER
        yield at, place.begin, opcodes, place.start - place.begin
        at = place.end
    yield at, length, b"", 0


def _read_exactly(source: Source, count: int, at: int) -> bytes:
    data = source.read_at(count, at)
    if len(data) < count:
        raise EOFError("it ends too early")
    return data


def _summed(piece: bytes | int, start: int) -> int:
    return checksums.with_zeros(start, piece) if isinstance(piece, int) else checksum(piece, start)


def refuse_holes(source: Source) -> None:
    """Raise an error where *source* is a sparse file that would be read into more memory than its author ever had."""
    found = _holes_in(source, 0, source.size)
    if found > MOST_IN_HOLES:
        raise ValueError(
            f"{found:,} bytes of it are holes of a sparse file, where nothing was written; "
            f"load it with trusted=True if you know where it comes from"
        )


def _holes_in(source: Source, at: int, end: int) -> int:
    """Return how many bytes of *source* between two places are in large holes."""
    if type(source).data_after is Source.data_after:
        return 0  # only files have holes; the size of others may be what a server says, and nothing is as large
    found = 0
    while at < end:
        data = min(source.data_after(at), end)
        found, at = found + data - at, data + _PIECE
    return found


def _pieces(source: Source, at: int, end: int) -> Iterator[bytes | int]:
    """Yield the bytes of *source* between two places, not too many at once; for a hole, which is not read, its length."""
    while at < end:
        data = min(source.data_after(at), end)
        if data > at:
            yield data - at
            at = data
            continue
        piece = source.read_at(min(_PIECE, end - at), at)
        if not piece:
            raise EOFError("it ends too early")
        yield piece
        at += len(piece)


def _memory_for(
    arrays: tuple[ArrayPlace, ...], length: int
) -> tuple[bytearray, list[Any], list[memoryview], list[memoryview]]:
    """Return memory for the pickle without its *arrays*, for each of these, and all of it in the order of the file.

    The first unpickles to the whole, given the second as out-of-band buffers. The last is what announces each array.
    """
    parts = list(_between(arrays, length))
    structure = bytearray(sum(end - begin + len(opcodes) for begin, end, opcodes, _ in parts))
    view = memoryview(structure)
    memory: list[Any] = []
    if arrays:
        import numpy as np

        memory = [np.empty(place.size, np.uint8) for place in arrays]  # in large pages, unlike a bytearray's
    targets = []
    announced = []
    at = 0
    for number, (begin, end, opcodes, announcing) in enumerate(parts):
        size = end - begin
        targets.append(view[at : at + size])
        view[at + size : at + size + len(opcodes)] = opcodes
        at += size + len(opcodes)
        if announcing:
            announced.append(memoryview(bytearray(announcing)))
            targets += [announced[-1], memoryview(memory[number])]
    return structure, memory, targets, announced


def _fill(source: Source, targets: list[memoryview]) -> int:
    """Fill *targets*, one after the other, from the start of *source*; return the checksum."""
    found = at = size = 0
    together: list[memoryview] = []

    def fill() -> None:
        nonlocal found, at, size, together
        source.read_into(together, at)
        for target in together:
            found = checksum(target, found)
        at, size, together = at + size, 0, []

    parallel = source.parallel()
    for target in targets:
        if parallel and len(target) >= checksums.BACKGROUND_FROM:
            fill()
            found = read_by_parts(source, target, at, found)
            at += len(target)
            continue
        for start in range(0, len(target), _PIECE):
            piece = target[start : start + _PIECE]
            together.append(piece)
            size += len(piece)
            if size >= _PIECE or len(together) == _TOGETHER:
                fill()
    fill()
    return found
