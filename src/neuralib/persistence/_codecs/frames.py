"""Writing the file of a result: a plain pickle whose large arrays can be mapped, a card, and checksums.

A pickler writes what is small in frames, and what is large between them. Before the memory of a large array this module
puts a push and a pop, which mean nothing to a reader of pickles, so that the memory begins at a multiple of 64 bytes. After
the end of the pickle, where every reader stops, follow the card, which says where these arrays lie, and the end: a magic
number, the lengths of pickle and card, and checksums of everything and of everything but the arrays.
"""

from __future__ import annotations

import operator
import pickle
import struct
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from neuralib.persistence._bytes import checksums
from neuralib.persistence._bytes.checksums import BackgroundCrc, checksum
from neuralib.persistence._codecs.card import ArrayPlace, with_arrays

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from neuralib.persistence._bytes.sources import Sink

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


class PickleWriter:
    """What a pickler writes to: aligns large arrays, notes where they are, and adds up the checksums.

    :param target: gets the bytes of the file
    :param card: the class's card, which may be changed up to the end
    :param end_part: called between pickle and card, and at the end
    """

    __slots__ = ("_arrays", "_checksum", "_end_part", "_held", "_length", "_structure", "_target", "card", "draft")

    draft: Any
    """What becomes the content of the file, where there is a draft of it."""

    def __init__(self, target: Sink, card: bytes, end_part: Callable[[], object] = lambda: None) -> None:
        self._target = target
        self.card = card
        self._end_part = end_part
        self._held: bytes | None = None  # the last chunk: its end may be the header of an array
        self._length = 0
        self._checksum = 0
        self._structure: int | None = None  # the checksum without arrays, from the first array on
        self._arrays: list[ArrayPlace] = []

    def write(self, data: Buffer, /) -> None:
        """Take what the pickler gives: its own bytes, or a large value as it is."""
        held, self._held = self._held, None
        if held is not None:
            header = _array_header(held, data) if isinstance(data, pickle.PickleBuffer) else b""
            if header:
                self._put_array(held[: -len(header)], header, data)  # type: ignore[arg-type]
                return
            self._put(held)
        if type(data) is bytes:
            self._held = data
        else:
            self._put(data.raw() if isinstance(data, pickle.PickleBuffer) else memoryview(data).cast("B"))

    def _put_array(self, before: bytes, header: bytes, data: pickle.PickleBuffer) -> None:
        self._put(before)
        begin = self._length
        filling = -(begin + len(_announcement(0, header))) % ALIGNMENT
        self._put(_announcement(filling, header))
        if self._structure is None:
            self._structure = self._checksum
        array: Any = memoryview(data).obj
        memory = data.raw()
        place = ArrayPlace(begin, self._length, memory.nbytes, header[0] in WRITABLE, array.shape, array.dtype.str)
        self._arrays.append(place)
        self._put(memory, array=True)

    def finish(self) -> None:
        """Write what is left, the card, and the end."""
        held, self._held = self._held, None
        if held is not None:
            self._put(held)
        length = self._length
        card = with_arrays(self.card, self._arrays) if self._arrays else self.card
        self._end_part()
        tail = card + _MARK.pack(MAGIC, length, len(card))
        whole = checksum(tail, self._checksum)
        structure = whole if self._structure is None else checksum(tail, self._structure)
        self._target.write(tail + _SUMS.pack(whole, structure))
        self._end_part()

    def _put(self, data: Buffer, *, array: bool = False) -> None:
        view = memoryview(data)
        size = view.nbytes
        self._length += size
        if array and size >= checksums.BACKGROUND_FROM:
            self._put_large(view)
            return
        for start in range(0, size, _PIECE):
            piece = view[start : start + _PIECE] if size > _PIECE else data
            self._checksum = checksum(piece, self._checksum)
            if self._structure is not None and not array:
                self._structure = checksum(piece, self._structure)
            self._target.write(piece)

    def _put_large(self, view: memoryview) -> None:
        """Write the memory of a large array, while a thread adds up its checksum."""
        self._target.reserve(view.nbytes)
        background = BackgroundCrc(self._checksum)
        try:
            for start in range(0, view.nbytes, _LARGE_PIECE):
                part = view[start : start + _LARGE_PIECE]
                background.add(part)
                self._target.write(part)
        finally:
            self._checksum = background.result()


def small_file(pickled: bytes, card: bytes) -> bytes:
    """Return the whole file for *pickled*, which is small and so has no large array."""
    content = pickled + card + _MARK.pack(MAGIC, len(pickled), len(card))
    found = checksum(content)
    return content + _SUMS.pack(found, found)


def _array_header(chunk: bytes, data: pickle.PickleBuffer) -> bytes:
    """Return the end of *chunk* that announces *data*, the memory of an array; nothing where it is something else."""
    view = data.raw()
    numpy = sys.modules.get("numpy")
    if numpy is None or type(memoryview(data).obj) is not numpy.ndarray:
        return b""
    for opcode in (*WRITABLE, *READ_ONLY):
        header = _header(opcode, view.nbytes)
        if header and chunk.endswith(header):
            return header
    return b""


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
        raise ValueError("the end of it that says what was saved is damaged")
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
