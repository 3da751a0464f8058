"""Where the large values and the arrays lie in a pickle as :mod:`~neuralib.persistence._codecs.frames` writes it.

They are found without interpreting the pickle: from the header of a frame to the next, a few bytes are looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from neuralib.persistence._codecs.frames import (
    AT_ONCE,
    FRAME,
    LONG_HEADERS,
    LONGEST_PAD,
    U32,
    U64,
    WRITABLE,
    pad_size,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Peek = Callable[[int, int], bytes]

_NEXT_BUFFER, _READONLY_BUFFER = b"\x97", b"\x98"


class LargeValue(NamedTuple):
    """Where a value lies that stands between the frames of a pickle."""

    begin: int
    """Of what aligns it, or else of its header."""
    header: int
    """The size of its header in bytes."""
    start: int
    """Of its content."""
    end: int
    opcode: int

    @property
    def aligned(self) -> bool:
        """Whether it is the memory of an array."""
        return self.start - self.header > self.begin

    @property
    def writable(self) -> bool:
        """Whether the array can be written."""
        return self.opcode in WRITABLE


def peek_into(pickled: memoryview) -> Peek:
    """Return what looks into *pickled* for :func:`large_values`."""
    return lambda at, count: bytes(pickled[at : at + count])


def large_values(peek: Peek, length: int) -> Iterator[LargeValue]:
    """Yield the large values between the frames of a pickle, which may say that they go beyond its end.

    :param peek: returns so many bytes from a place on, or all up to the end where there are fewer
    :param length: of the pickle in bytes
    """
    at = 2
    while at < length:
        ahead = peek(at, LONGEST_PAD + 9)
        if ahead[0] == FRAME and len(ahead) >= 9:
            at += 9 + U64.unpack_from(ahead, 1)[0]
            continue
        pad = pad_size(ahead)
        opcode = ahead[pad]
        header = LONG_HEADERS.get(opcode, 0)
        start = at + pad + header
        if not header or len(ahead) < pad + header:
            return  # the last opcodes may stand without a frame
        end = start + (U64 if header == 9 else U32).unpack_from(ahead, pad + 1)[0]
        yield LargeValue(at, header, start, end, opcode)
        at = end


def arrays_in(peek: Peek, length: int) -> list[LargeValue]:
    """Return the large arrays of a pickle: see :func:`large_values`.

    What is aligned and smaller was not written by us. Very many of that kind would take more memory than the file.
    """
    found = [it for it in large_values(peek, length) if it.aligned and it.end - it.start >= AT_ONCE]
    if found and found[-1].end > length:
        raise EOFError(f"an array of {found[-1].end - found[-1].start} bytes goes beyond its end")
    return found


def between(arrays: list[LargeValue], length: int) -> Iterator[tuple[int, int, bytes, int]]:
    """Yield where each part of a pickle that is no array begins and ends, and what follows it.

    That is the opcodes that stand for the array in a pickle without it, and how many bytes in its place announce and align it.
    """
    at = 0
    for it in arrays:
        yield at, it.begin, _NEXT_BUFFER if it.writable else _NEXT_BUFFER + _READONLY_BUFFER, it.start - it.begin
        at = it.end
    yield at, length, b"", 0
