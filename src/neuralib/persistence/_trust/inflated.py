"""The content of a gzip file as a tape for :mod:`instructions`: decompressed as it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_PIECE = 1 << 16
_GZIP_WBITS = 31


class Inflated:
    """The content of a gzip file, decompressed as it is read.

    :param parts: the file's bytes
    """

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self._reader: Any = None
        self._compressed = b""
        self._ahead = b""

    def read(self, size: int, /) -> bytes:
        """Return the next *size* bytes, or what is left."""
        self._look_ahead(size)
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    def seek(self, offset: int, _whence: int, /) -> int:
        """Step over *offset* bytes."""
        while offset:
            self._look_ahead(1)
            step = min(len(self._ahead), offset)
            if not step:
                raise EOFError("a value goes beyond the end")
            self._ahead = self._ahead[step:]
            offset -= step
        return 0

    def _look_ahead(self, size: int) -> None:
        while len(self._ahead) < size and (more := self._more()):
            self._ahead += more

    def _more(self) -> bytes:
        from zlib_ng import zlib_ng

        while True:
            if not self._compressed:
                self._compressed = next(self._parts, b"")
            if self._reader is None:
                if not self._compressed:
                    return b""
                self._reader = zlib_ng.decompressobj(_GZIP_WBITS)
            try:
                found: bytes = self._reader.decompress(self._compressed, _PIECE)
            except zlib_ng.error as error:  # type: ignore[misc]  # its stub calls the class an instance
                raise ValueError(str(error)) from error
            ended = not self._compressed
            self._compressed = self._reader.unconsumed_tail
            if self._reader.eof:
                self._compressed, self._reader = self._reader.unused_data, None
            if found:
                return found
            if ended and self._reader is not None:
                raise EOFError("the compressed data ends too early")
