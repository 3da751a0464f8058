"""Reading the files that :mod:`~neuralib.persistence._codecs.frames` writes from where they are, checked.

Large arrays go straight into memory of their own, or are mapped, while the rest is unpickled from a few hundred bytes.
Files without a card, written by others, are read as any pickle is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from neuralib.persistence._bytes import checksums, holes
from neuralib.persistence._bytes.checksums import checksum, read_by_parts
from neuralib.persistence._codecs.base import Decoded
from neuralib.persistence._codecs.card import LARGEST_CARD, Card
from neuralib.persistence._codecs.framed_content import (
    MISMATCH,
    parsed_card,
    parts_around,
    refuse_unannounced,
    unpickled,
    unpickled_with,
)
from neuralib.persistence._codecs.frames import END_BYTES, MAGIC, end_of
from neuralib.persistence._codecs.unloadable import raise_not_unpickled, refuse_unused
from neuralib.persistence._trust.instructions import LONGEST_KEPT, Instructions

if TYPE_CHECKING:
    from neuralib.persistence._bytes.sources import Source
    from neuralib.persistence._codecs.base import Unpickle
    from neuralib.persistence._codecs.card import ArrayPlace

_PIECE = 1 << 20  # bytes that are read and go through the checksum together, while they are in the processor's cache
_TOGETHER = 64  # pieces of memory that are filled by one call, at most
_LAST = 1 << 12  # bytes at the end of a file that are read at once: they hold the card of nearly all


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
    card = parsed_card(data[:card_bytes], pickle_bytes)
    if size > holes.MOST_BYTES:
        parts = parts_around(card.arrays, pickle_bytes)
        in_holes = sum(holes.bytes_in(source, begin, stop) for begin, stop, _, _ in parts)
        if in_holes > holes.MOST_BYTES:  # beside its arrays: nobody writes such
            raise ValueError(f"its pickle has {in_holes:,} bytes in holes of the file, where nothing was written")
    return Tail(pickle_bytes, whole, structure, card, data)


def read_source(source: Source, unpickle: Unpickle = unpickled) -> Decoded:
    """Return what *source* holds; its large arrays have memory of their own.

    :raises ValueError: the checksum says that it is damaged
    """
    tail = read_tail(source)
    if tail is None:
        with source.file() as buffered:  # not ours: read as it comes, which takes the least memory
            found = _unpickled_plain(unpickle, buffered)
            if buffered.read(len(MAGIC)) == MAGIC:  # it is ours: a network file system gave the size of another file
                raise ValueError("something else follows its end")
            return found, None
    structure, memory, targets, announced = _memory_for(tail.card.arrays, tail.pickle_bytes)
    if checksum(tail.data, _fill(source, targets)) != tail.whole:
        raise ValueError(MISMATCH)
    refuse_unannounced(tail.card.arrays, announced)
    del targets, announced  # so that unpickling can give the structure's memory back
    return unpickled_with(unpickle, structure, memory, tail.card), tail.card


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
    return unpickled_with(unpickle, structure, buffers, tail.card), tail.card


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
    for begin, end, _, announcing in parts_around(tail.card.arrays, tail.pickle_bytes):
        for piece in holes.pieces(source, at, begin):  # an array
            whole = _summed(piece, whole)
        at = end + announcing
        for piece in holes.pieces(source, begin, at):
            whole, structure = _summed(piece, whole), _summed(piece, structure)
        if announcing:
            announced.append(source.read_at(announcing, end))
    sums = (checksum(tail.data, whole), checksum(tail.data, structure))
    if sums != (tail.whole, tail.structure):
        raise ValueError(MISMATCH)
    refuse_unannounced(tail.card.arrays, announced)
    if tail.card.arrays:
        refuse_unused(len(tail.card.arrays), _structure(source, tail))
    return True


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


def _structure(source: Source, tail: Tail) -> bytes:
    """Return the pickle in *source* without its large arrays, checked.

    :raises ValueError: it is damaged
    """
    parts: list[bytes] = []
    announced: list[bytes] = []
    found = 0
    for begin, end, opcodes, announcing in parts_around(tail.card.arrays, tail.pickle_bytes):
        data = _read_exactly(source, end + announcing - begin, begin)
        found = checksum(data, found)
        parts += [data[: end - begin], opcodes]
        if announcing:
            announced.append(data[end - begin :])
    if checksum(tail.data, found) != tail.structure:
        raise ValueError(MISMATCH)
    refuse_unannounced(tail.card.arrays, announced)
    return b"".join(parts)


def _read_exactly(source: Source, count: int, at: int) -> bytes:
    data = source.read_at(count, at)
    if len(data) < count:
        raise EOFError("it ends too early")
    return data


def _summed(piece: bytes | int, start: int) -> int:
    return checksums.with_zeros(start, piece) if isinstance(piece, int) else checksum(piece, start)


def _memory_for(
    arrays: tuple[ArrayPlace, ...], length: int
) -> tuple[bytearray, list[Any], list[memoryview], list[memoryview]]:
    """Return memory for the pickle without its *arrays*, for each of these, and all of it in the order of the file.

    The first unpickles to the whole, given the second as out-of-band buffers. The last is what announces each array.
    """
    parts = list(parts_around(arrays, length))
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
