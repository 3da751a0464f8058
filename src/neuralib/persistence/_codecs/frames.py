"""Writing the file of a result: a plain pickle whose large arrays can be mapped, a card, and checksums.

A pickler writes what is small in frames, and what is large between them. Before the memory of a large array this module
puts a push and a pop, which mean nothing to a reader of pickles, so that the memory begins at a multiple of 64 bytes. After
the end of the pickle, where every reader stops, follow the card, which says where these arrays lie, and the end: a magic
number, the lengths of pickle and card, and checksums of everything and of everything but the arrays.
"""

from __future__ import annotations

import operator
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from neuralib.persistence._bytes import checksums
from neuralib.persistence._bytes.checksums import BackgroundCrc, checksum
from neuralib.persistence._codecs.card import with_arrays
from neuralib.persistence._pickling import PickleWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from neuralib.persistence._bytes.sources import Sink
    from neuralib.persistence._codecs.card import ArrayPlace

MAGIC = b"\x89NLP\r\n\x1a\n"
"""Begins the last 28 bytes of a file."""
ALIGNMENT = 64
"""Bytes: the memory of a large array begins at a multiple of it."""
AT_ONCE = 1 << 16
"""Bytes: a smaller result is written in one call, and has no large array."""

_MARK = struct.Struct("<8sQI")  # magic, length of the pickle, length of the card
_SUMS = struct.Struct("<II")  # checksums: of all before them, and of all but the memory of large arrays
_END = struct.Struct("<8sQIII")  # both
END_BYTES = _END.size
"""The size of the end."""

WRITABLE, READ_ONLY = (0x96,), (0x8E, 0x42)
"""The opcodes that announce the memory of arrays: bytearray8; binbytes8 and binbytes."""
_BINBYTES = 0x42  # whose length has four bytes

_ALIKE = 5  # bytes of a magic number that is meant to be ours
_PIECE = 1 << 20  # bytes that go through checksum and system call together, while they are in the processor's cache
_LARGE_PIECE = 1 << 24  # the same, where another thread computes the checksum, with a cache that both share


def writer_to(target: Sink) -> PickleWriter:
    """Return what a pickler writes to, so that *target* gets the pickle with aligned arrays."""
    return PickleWriter(target, checksum, _write_large, _PIECE)


def _write_large(target: Sink, data: Buffer, start: int) -> int:
    """Write the large *data* to *target*; return its checksum, going on from *start*."""
    view = memoryview(data)
    if len(view) < checksums.BACKGROUND_FROM:
        for at in range(0, len(view), _PIECE):
            piece = view[at : at + _PIECE]
            start = checksum(piece, start)
            target.write(piece)
        return start
    target.reserve(len(view))
    background = BackgroundCrc(start)
    try:
        for at in range(0, len(view), _LARGE_PIECE):
            piece = view[at : at + _LARGE_PIECE]
            background.add(piece)
            target.write(piece)
    finally:
        found = background.result()
    return found


_FEW = 8
_with_few_arrays = lru_cache(64)(with_arrays)  # in a loop, the arrays of all results are often alike


def finish(writer: PickleWriter, card: bytes, end_part: Callable[[], object] = lambda: None) -> None:
    """Write what *writer* still holds, the card, and the end.

    :param card: the class's
    :param end_part: called between pickle and card, and at the end
    """
    held = writer.held or b""
    length = writer.length + len(held)
    if writer.arrays:
        add = _with_few_arrays if len(writer.arrays) <= _FEW else with_arrays
        card = add(card, tuple(writer.arrays))
    tail = card + _MARK.pack(MAGIC, length, len(card))
    last = held + tail  # both are small: a pickler's last chunk is less than two frames
    whole = checksum(last, writer.whole)
    structure = checksum(last, writer.structure) if writer.arrays else whole
    writer.target.write(held)
    end_part()
    writer.target.write(tail + _SUMS.pack(whole, structure))
    end_part()


def small_file(pickled: bytes, card: bytes) -> bytes:
    """Return the whole file for *pickled*, which is small and so has no large array."""
    content = pickled + card + _MARK.pack(MAGIC, len(pickled), len(card))
    found = checksum(content)
    return content + _SUMS.pack(found, found)


def _header(opcode: int, size: int) -> bytes:
    """Return the instruction that announces *size* bytes; nothing where they are too many for it."""
    if opcode != _BINBYTES:
        return struct.pack("<BQ", opcode, size)
    return struct.pack("<BI", opcode, size) if size < 1 << 32 else b""


# ------------------------------------------------------------------------------------------ what a reader looks for


def end_of(last: Any, size: int) -> tuple[int, int, int, int] | None:
    """Return what the end of a file of *size* bytes says, or None where it has none.

    That is the lengths of pickle and card, the checksum of all that stands before it, and the same without the memory of
    large arrays.

    :param last: its last bytes, :data:`END_BYTES` of them where there are so many
    :raises ValueError: it is damaged
    """
    at = len(last) - END_BYTES
    if at < 0:
        return None
    magic, pickle_bytes, card_bytes, whole, structure = _END.unpack_from(last, at)
    said = pickle_bytes + card_bytes + END_BYTES
    if magic == MAGIC:
        if said != size:
            raise ValueError(f"it has {size} bytes, but says of itself that it has {said}")
        return pickle_bytes, card_bytes, whole, structure
    # Most of it alike is no accident: damage to it must not hide damage to the rest.
    if said == size or sum(map(operator.eq, magic, MAGIC)) >= _ALIKE:
        raise ValueError("its end, which says what was saved, is damaged")
    return None


def is_announced(place: ArrayPlace, data: bytes) -> bool:
    """Return whether *data*, the bytes of a pickle before the memory of an array, align and announce exactly that memory.

    Only then does a reader that goes straight through the pickle meet the same array.
    """
    return data in _announcements(place)


@lru_cache(maxsize=256)
def _announcements(place: ArrayPlace) -> list[bytes]:
    """Return the bytes that may stand before the memory of an array."""
    found = []
    for opcode in WRITABLE if place.writable else READ_ONLY:
        header = _header(opcode, place.size)
        filling = place.start - place.begin - len(_announcement(0, header))
        if header and 0 <= filling < 256:
            found.append(_announcement(filling, header))
    return found


def _announcement(filling: int, header: bytes) -> bytes:
    """Return a push and a pop of *filling* bytes, which align what follows, and *header*."""
    return b"C%c%b0%b" % (filling, bytes(filling), header)


def lengths_of(last: Any) -> tuple[int, int]:
    """Return the lengths of pickle and card that the end *last* of a file says.

    :raises ValueError: it is no end
    """
    if len(last) < END_BYTES:
        raise ValueError("it is too short")
    magic, pickle_bytes, card_bytes = _MARK.unpack_from(last, len(last) - END_BYTES)
    if magic != MAGIC:
        raise ValueError("it has no card")
    return pickle_bytes, card_bytes
