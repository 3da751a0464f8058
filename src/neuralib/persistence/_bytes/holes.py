"""Holes in sparse files: how much of a content they are, and reading that steps over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuralib.persistence._bytes.sources import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 1 << 20  # bytes that are read at once
MOST_BYTES = 1 << 30
"""That may be in holes of what is read into memory: its author need not have had as much."""


def refuse(source: Source) -> None:
    """Raise an error where *source* is a sparse file that would be read into more memory than its author ever had."""
    found = bytes_in(source, 0, source.size)
    if found > MOST_BYTES:
        raise ValueError(
            f"{found:,} bytes of it are holes of a sparse file, where nothing was written; "
            f"load it with trusted=True if you know where it comes from"
        )


def bytes_in(source: Source, at: int, end: int) -> int:
    """Return how many bytes of *source* between two places are in large holes."""
    if type(source).data_after is Source.data_after:
        return 0  # only files have holes; the size of others may be what a server says, and nothing is as large
    found = 0
    while at < end:
        data = min(source.data_after(at), end)
        found, at = found + data - at, data + _PIECE
    return found


def pieces(source: Source, at: int, end: int) -> Iterator[bytes | int]:
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
