"""Bytes that are there: read all of them, read some at a place, or map them into memory.

What stores open and codecs read. The only method that a source of your own must have is ``read_at``.
"""

from __future__ import annotations

import abc
import errno
import io
import mmap
import os
from typing import TYPE_CHECKING, BinaryIO, Protocol

from neuralib.persistence._bytes import pread

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from typing_extensions import Buffer

_PIECE_BYTES = 1 << 20
_HAS_HOLES = hasattr(os, "SEEK_DATA") and hasattr(os.stat_result, "st_blocks")


class Sink(Protocol):
    """What bytes are written to."""

    def write(self, data: Buffer, /) -> object:
        """Add *data*, which must not change before the content is stored."""

    def reserve(self, size_bytes: int, /) -> object:
        """Prepare for *size_bytes* more bytes. This is a hint, given before large values."""


class Source(abc.ABC):
    """The content of one name in a store. Close it after use, or open it in a ``with`` statement."""

    size: int
    """In bytes."""

    @abc.abstractmethod
    def read_at(self, count: int, at: int, /) -> bytes:
        """Return *count* bytes from the place *at* on, or fewer where the content ends before."""

    def read(self) -> bytes:
        """Return the whole content."""
        return self.read_at(self.size, 0)

    def view(self) -> Buffer:
        """Return the whole content in memory that is valid until the source is closed."""
        return self.read()

    def read_into(self, targets: list[memoryview], at: int, /) -> None:
        """Fill *targets*, one after the other, from the place *at* on.

        :raises EOFError: the content ends before
        """
        for target in targets:
            done = 0
            while done < len(target):
                piece = self.read_at(min(len(target) - done, _PIECE_BYTES), at)
                if not piece:
                    raise EOFError("it ends too early")
                target[done : done + len(piece)] = piece
                done, at = done + len(piece), at + len(piece)

    def map(self, mode: str) -> memoryview:
        """Map the content into memory.

        :param mode: ``'r'`` for reading only; ``'c'``: changes stay in memory
        :raises TypeError: it is no local file
        """
        raise TypeError(f"mmap_mode={mode!r} needs a local file, and this store has none: load without mmap_mode")

    def file(self) -> BinaryIO:
        """Return the content as a file that is open for reading."""
        return io.BufferedReader(_SourceFile(self))

    def parallel(self) -> bool:
        """Return whether several threads may read at once, and are faster than one."""
        return False

    def data_after(self, at: int, /) -> int:
        """Return where the next bytes from the place *at* on are that may be other than zeros: the end of a hole in a sparse file."""
        return at

    def close(self) -> None:  # noqa: B027 - most have nothing to release
        """Release what was opened. More than one call does no harm."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class BytesSource(Source):
    """Content that is in memory.

    :param data: the whole content
    """

    __slots__ = ("_data", "size")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read_at(self, count: int, at: int, /) -> bytes:
        """Return *count* bytes from the place *at* on."""
        return self._data[at : at + count]

    def read(self) -> bytes:
        """Return the whole content."""
        return self._data

    view = read

    def __exit__(self, *_: object) -> None:
        pass  # nothing to close


class PooledSource(Source):
    """Content in memory that is used again after the source is closed.

    :param data: the content, a view into a ``bytearray``
    :param pool: gets that ``bytearray`` back
    """

    __slots__ = ("_data", "_pool", "size")

    _MOST_POOLED = 4

    def __init__(self, data: memoryview, pool: list[bytearray]) -> None:
        self._data: memoryview | None = data
        self._pool = pool
        self.size = len(data)

    def read_at(self, count: int, at: int, /) -> bytes:
        """Return *count* bytes from the place *at* on."""
        return bytes(self.view()[at : at + count])

    def view(self) -> memoryview:
        """Return the whole content, valid until the source is closed."""
        if self._data is None:
            raise ValueError("read from a source that is closed")
        return self._data

    def close(self) -> None:
        """Give the memory back."""
        data, self._data = self._data, None
        if data is not None and len(self._pool) < self._MOST_POOLED:
            self._pool.append(data.obj)  # type: ignore[arg-type]


class FileSource(Source):
    """An open file.

    :param fd: its descriptor
    :param close: what closes it
    :raises OSError: its size can't be read
    """

    __slots__ = ("_closer", "_is_sparse", "fd", "size")

    def __init__(self, fd: int, closer: SupportsClose) -> None:
        self.fd = fd
        self._closer = closer
        found = os.fstat(fd)
        self.size = found.st_size
        self._is_sparse = _HAS_HOLES and found.st_blocks * 512 < self.size

    def read_at(self, count: int, at: int, /) -> bytes:
        """Return *count* bytes from the place *at* on."""
        return pread.read_at(self.fd, count, at)

    def read_into(self, targets: list[memoryview], at: int, /) -> None:
        """Fill *targets* from the place *at* on."""
        pread.read_into(self.fd, targets, at)

    def map(self, mode: str) -> memoryview:
        """Map the file into memory."""
        return memoryview(mmap.mmap(self.fd, 0, access=mmap.ACCESS_READ if mode == "r" else mmap.ACCESS_COPY))

    def file(self) -> BinaryIO:
        """Return the file itself, at its start."""
        os.lseek(self.fd, 0, os.SEEK_SET)
        return os.fdopen(self.fd, "rb", closefd=False)

    def parallel(self) -> bool:
        """Return whether several threads may read at once."""
        return hasattr(os, "preadv")

    def data_after(self, at: int, /) -> int:
        """Return the end of the hole at the place *at*; *at* where there is none, or the system can't tell."""
        if not self._is_sparse:  # a network file system would be asked each time
            return at
        try:
            return os.lseek(self.fd, at, os.SEEK_DATA)
        except OSError as error:
            return self.size if error.errno == errno.ENXIO else at  # nothing but a hole follows

    def close(self) -> None:
        """Close the file."""
        self._closer.close()


class SupportsClose(Protocol):
    """What can be closed."""

    def close(self) -> object: ...


class ReadableFile(io.RawIOBase):
    """A file that is open for reading, of content that comes from elsewhere."""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, target: Buffer, /) -> int:
        view = memoryview(target).cast("B")
        data = self._next(len(view))
        view[: len(data)] = data
        return len(data)

    def _next(self, most: int) -> bytes | memoryview:
        """Return the next bytes, at most *most*; none at the end."""
        raise NotImplementedError


class _SourceFile(ReadableFile):
    """A source as a file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._at = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def _next(self, most: int) -> bytes:
        data = self._source.read_at(min(most, max(self._source.size - self._at, 0)), self._at)
        self._at += len(data)
        return data
