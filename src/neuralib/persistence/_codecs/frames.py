"""The file of a result: a plain pickle, in which large arrays can be found without interpreting it, and a checksum.

A pickler writes what is small in frames and what is large between them. Before the memory of a large array this module
puts a push and a pop, which mean nothing to a reader of pickles, so that the memory lies at a multiple of 64 bytes; that
also tells it apart from other large values. After the end of the pickle, where every reader stops, follow a magic
number, the length, and checksums of everything and of everything but the arrays.

So a reader can hop from frame to frame, which is what :mod:`~neuralib.persistence._codecs.framed_reader` does.
"""

from __future__ import annotations

import operator
import pickle
import struct
import sys
from typing import TYPE_CHECKING, NamedTuple

from neuralib.persistence._codecs import checksums
from neuralib.persistence._codecs.checksums import Aside, checksum

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from neuralib.persistence._stores.base import Draft

MAGIC = b"\x89NLP\r\n\x1a\n"
"""Begins the last 24 bytes of a file."""
ALIGNMENT = 64
"""Bytes: the memory of a large array begins at a multiple of it."""
AT_ONCE = 1 << 16
"""Bytes: a file that is smaller is read in one call, and has no large array."""

TRAILER = struct.Struct("<8sQII")
"""The last bytes of a file: the magic number, the length of the pickle, and the checksums."""
FRAME = 0x95
"""The opcode that begins a frame: its length follows, in eight bytes."""
LONG_HEADERS = {0x96: 9, 0x8E: 9, 0x8D: 9, 0x42: 5, 0x58: 5}
"""The opcodes of large values, and the sizes of their headers in bytes: opcode and length."""
WRITABLE, READ_ONLY = (0x96,), (0x8E, 0x42)
"""Those of the memory of arrays: bytearray8; binbytes8 and binbytes."""
LONGEST_PAD = 3 + ALIGNMENT
"""Bytes: what is put before the memory of an array is at most as long."""
U64 = struct.Struct("<Q")
U32 = struct.Struct("<I")

_ALIKE = 5  # bytes of a magic number that is meant to be ours
_PIECE = 1 << 20  # bytes that go through checksum and system call together, while they are in the processor's cache
_LARGE_PIECE = 1 << 24  # the same, where another thread computes the checksum, with a cache that both share


class PickleWriter:
    """What a pickler writes to: puts large arrays where they can be mapped, and adds up the checksums."""

    __slots__ = ("_checksum", "_held", "_length", "_structure", "draft")

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self._held: bytes | None = None  # the last chunk: its end may be the header of an array
        self._length = 0
        self._checksum = 0
        self._structure: int | None = None  # the same without arrays, from the first array on

    def write(self, data: Buffer, /) -> None:
        """Take what the pickler gives: its own bytes, or a large value as it is."""
        held, self._held = self._held, None
        if held is not None:
            header = _array_header(held, data) if isinstance(data, pickle.PickleBuffer) else b""
            if header:
                before = held[: -len(header)]
                filling = -(self._length + len(before) + 3 + len(header)) % ALIGNMENT
                self._put(b"%bC%c%b0%b" % (before, filling, bytes(filling), header))
                if self._structure is None:
                    self._structure = self._checksum
                self._put(data.raw(), array=True)  # type: ignore[attr-defined]
                return
            self._put(held)
        if type(data) is bytes:
            self._held = data
        else:
            self._put(data.raw() if isinstance(data, pickle.PickleBuffer) else memoryview(data).cast("B"))

    def finish(self) -> None:
        """Write what is left, and the trailer."""
        held, self._held = self._held, None
        if held is not None:
            self._put(held)
        structure = self._checksum if self._structure is None else self._structure
        self.draft.write(TRAILER.pack(MAGIC, self._length, self._checksum, structure))

    def _put(self, data: Buffer, *, array: bool = False) -> None:
        view = memoryview(data)
        self._length += view.nbytes
        write = self.draft.write
        if array and view.nbytes >= checksums.ASIDE_FROM:
            self.draft.reserve(view.nbytes)
            aside = Aside(self._checksum)
            try:
                for start in range(0, view.nbytes, _LARGE_PIECE):
                    part = view[start : start + _LARGE_PIECE]
                    aside.add(part)
                    write(part)
            finally:
                self._checksum = aside.result()
            return
        for start in range(0, view.nbytes, _PIECE):
            piece = view[start : start + _PIECE] if view.nbytes > _PIECE else data
            self._checksum = checksum(piece, self._checksum)
            if self._structure is not None and not array:
                self._structure = checksum(piece, self._structure)
            write(piece)


def with_trailer(pickled: bytes) -> bytes:
    """Return the whole file for *pickled*, which is small and so has no large array."""
    found = checksum(pickled)
    return pickled + TRAILER.pack(MAGIC, len(pickled), found, found)


def _array_header(chunk: bytes, data: pickle.PickleBuffer) -> bytes:
    """Return the end of *chunk* that announces *data*, the memory of an array; nothing where it is something else."""
    view = data.raw()
    numpy = sys.modules.get("numpy")
    if numpy is None or type(memoryview(data).obj) is not numpy.ndarray:
        return b""
    for opcode in (*WRITABLE, *READ_ONLY):
        size = LONG_HEADERS[opcode]
        number = (U64 if size == 9 else U32).pack(view.nbytes) if view.nbytes < 1 << 32 or size == 9 else b"-"
        header = bytes([opcode]) + number
        if chunk.endswith(header):
            return header
    return b""


# ------------------------------------------------------------------------------------------ what a reader looks for


class Trailer(NamedTuple):
    """What the end of a file says of it."""

    length: int
    checksum: int
    structure: int


def trailer_of(end: Buffer, size: int) -> Trailer | None:
    """Return the trailer that *end*, the last bytes of a file of *size* bytes, has, or None.

    :raises ValueError: its length is not that of the file
    """
    if len(memoryview(end)) < TRAILER.size:
        return None
    magic, length, whole, structure = TRAILER.unpack(end[-TRAILER.size :])  # type: ignore[index]
    if magic != MAGIC:
        # Most of it alike is no accident: damage to it must not hide damage to the rest.
        if length == size - TRAILER.size or sum(map(operator.eq, magic, MAGIC)) >= _ALIKE:
            raise ValueError("the end of it that says what was saved is damaged")
        return None
    if length != size - TRAILER.size:
        raise ValueError(f"it has {size} bytes, but says of itself that it has {length + TRAILER.size}")
    return Trailer(length, whole, structure)


def pad_size(ahead: bytes) -> int:
    """Return the size of the push and pop at the start of *ahead*, or 0."""
    if ahead[0] != 0x43 or len(ahead) < 3:  # short_binbytes
        return 0
    size = 3 + ahead[1]
    return size if len(ahead) > size and ahead[size - 1] == 0x30 else 0  # pop
