"""Compressed files: which compression a file has, and its content, read within bounds.

One compression is one small class. A compressed file holds the same bytes as the plain one. A large one has its card and
end in a part of their own after the rest, so that they can be read without decompressing it.
"""

from __future__ import annotations

import abc
import io
import pickle
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from neuralib.persistence._bytes.sources import ReadableFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import Buffer

    from neuralib.persistence._bytes.sources import Sink, Source

T = TypeVar("T")

_PIECE = 1 << 19  # bytes that are read, and made, at a time: a head needs two of them
_FED = 1 << 14  # bytes that are given to a decompressor at a time: what is left of them is copied for each part
_TAIL = 1 << 15  # bytes at the end of a file in which its last part is looked for
_MOST_TRIES = 16
_MOST_TAIL = 1 << 24  # bytes that the last part may make
_SMALL_BYTES = 4096


class Decompressor:
    """Decompresses one part of a file.

    :param reader: as zlib makes it, which gives back what it did not take; or as the later modules, which keep it
    :param error: what the library raises where the data is damaged
    """

    def __init__(self, reader: Any, error: Any) -> None:
        self._reader, self._error = reader, error

    @property
    def eof(self) -> bool:
        """Whether the part ended."""
        return bool(self._reader.eof)

    @property
    def unused_data(self) -> bytes:
        """The data that was fed beyond the end of the part."""
        return self._reader.unused_data  # type: ignore[no-any-return]

    @property
    def wants_input(self) -> bool:
        """Whether more content needs more data."""
        return bool(getattr(self._reader, "needs_input", not self._given_back))

    @property
    def _given_back(self) -> bytes:
        return getattr(self._reader, "unconsumed_tail", b"")

    def feed(self, data: bytes, most: int) -> bytes:
        """Return at most *most* bytes more of the content.

        :raises ValueError: it is damaged
        """
        try:
            return self._reader.decompress(self._given_back + data, most)  # type: ignore[no-any-return]
        except self._error as error:
            raise ValueError(str(error)) from error


class Compression(abc.ABC):
    """One way to compress."""

    name: str
    magic: bytes
    """Begins every part of a compressed file."""
    small_level: int
    """For what fits into one block of the disk, where no level was asked for: it takes a block at any level."""
    level: int
    """Where no level was asked for."""

    @abc.abstractmethod
    def compress(self, data: bytes, level: int) -> bytes:
        """Return *data* compressed, as one part."""

    @abc.abstractmethod
    def compressor(self, level: int) -> Any:
        """Return an object with ``compress(data)`` and ``flush()``, for one part."""

    @abc.abstractmethod
    def decompressor(self) -> Decompressor:
        """Return what decompresses one part."""

    def compress_small(self, data: bytes, level: int | None) -> bytes:
        """Return the small content *data* compressed; *level* None chooses the level."""
        if level is None:
            level = self.small_level if len(data) <= _SMALL_BYTES else self.level
        return self.compress(data, level)


# ---------------------------------------------------------------------------------------------- writing


class CompressingSink:
    """Compresses what is written to it on its way to *target*."""

    def __init__(self, compression: Compression, level: int, target: Sink) -> None:
        self._new_part = partial(compression.compressor, level)
        self._part: Any = None
        self._target = target

    def write(self, data: Buffer, /) -> None:
        """Compress *data*."""
        if self._part is None:
            self._part = self._new_part()
        # Picklers pass large arrays uncopied: their memory as it lies there, in whatever order.
        compressed = self._part.compress(data.raw() if isinstance(data, pickle.PickleBuffer) else data)
        if compressed:
            self._target.write(compressed)

    def reserve(self, size_bytes: int, /) -> None:
        """Do nothing: the size of the compressed bytes is not known."""

    def finish(self) -> None:
        """End the part. What is written next begins a new one."""
        self.write(b"")
        self._target.write(self._part.flush())
        self._part = None


# ---------------------------------------------------------------------------------------------- reading


def content_parts(compression: Compression, pieces: Iterable[bytes], most: int | None = None) -> Iterator[bytes]:  # noqa: C901
    """Yield the content of a compressed file, piece by piece, each part checked to its end.

    :param pieces: the file's bytes
    :param most: how many bytes the content may have
    :raises ValueError: it is damaged, or something else follows, or it has more than *most* bytes
    """
    reader: Decompressor | None = None
    left = most
    for data in _fed(pieces):
        rest = data
        while rest:
            if reader is None:
                if not compression.magic.startswith(rest[: len(compression.magic)]):
                    raise ValueError("something else follows the end of the compressed data")
                reader = compression.decompressor()
            given, rest = rest, b""
            while True:
                found = reader.feed(given, _PIECE)
                if found:
                    if left is not None:
                        left -= len(found)
                        if left < 0:
                            raise ValueError(
                                "its content is much larger than a file of its size should hold; "
                                "load it with trusted=True if you know where it comes from"
                            )
                    yield found
                if reader.eof:
                    rest, reader = reader.unused_data, None
                    break
                if not found and reader.wants_input:
                    break
                given = b""
    if reader is not None:
        raise EOFError("the compressed data ends too early")


def _fed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        for start in range(0, len(piece), _FED):
            yield piece[start : start + _FED]


def pieces_of(source: Source) -> Iterator[bytes]:
    """Yield the content of *source*, not too much of it at once."""
    at = 0
    while piece := source.read_at(_PIECE, at):
        yield piece
        at += len(piece)


def decompressed(compression: Compression, source: Source, most: int | None = None) -> bytes:
    """Return the whole content of the compressed file *source*: see :func:`content_parts`."""
    if source.size <= _FED:  # in one part, as a rule: quickly
        reader = compression.decompressor()
        found = reader.feed(source.read(), _PIECE)
        if reader.eof and not reader.unused_data and (most is None or len(found) <= most):
            return found
    parts = list(content_parts(compression, pieces_of(source), most))
    return parts[0] if len(parts) == 1 else b"".join(parts)


def last_part(compression: Compression, source: Source, read: Callable[[bytes], T]) -> T | None:
    """Return what *read* makes of the last part of a compressed file; None where it can't be told from the file's end.

    :param read: raises a ValueError where some content is not that of a last part
    """
    data = source.read_at(min(_TAIL, source.size), max(0, source.size - _TAIL))
    at = len(data)
    for _ in range(_MOST_TRIES):
        at = data.rfind(compression.magic, 0, at)
        if at < 0:
            return None
        try:
            return read(b"".join(content_parts(compression, [data[at:]], _MOST_TAIL)))
        except (ValueError, EOFError):
            continue  # bytes that look like the beginning of a part
    return None


class ContentFile(ReadableFile):
    """The content of a compressed file, decompressed as it is read; it can be read and stepped over in one direction.

    :param parts: the content, piece by piece
    """

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._ahead = memoryview(b"")
        self._at = 0

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Step forward to a place.

        :raises EOFError: the content ends before
        """
        left = offset if whence == io.SEEK_CUR else offset - self._at
        if left < 0 or whence == io.SEEK_END:
            raise io.UnsupportedOperation("compressed content is read forward only")
        while left:
            step = len(self._next(left))
            if not step:
                raise EOFError("a value goes beyond the end")
            left -= step
        return self._at

    def _next(self, most: int) -> memoryview:
        while not self._ahead:
            piece = next(self._parts, None)
            if piece is None:
                return memoryview(b"")
            self._ahead = memoryview(piece)
        found, self._ahead = self._ahead[:most], self._ahead[most:]
        self._at += len(found)
        return found
