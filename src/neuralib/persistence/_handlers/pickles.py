"""Results as pickle files, plain and compressed. Either handler reads the files of both."""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, TypeVar

from neuralib.persistence._handlers.arrays import pickler
from neuralib.persistence._handlers.files import FileHandler

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from neuralib.persistence._stores.folder import FolderDraft

T = TypeVar("T")

DEFAULT_LEVEL = 6
"""zlib-ng's level 6 is faster and smaller than zlib's level 9 on recordings (float32 traces)."""

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WBITS = 31  # zlib's way to say: with the header and trailer of gzip


class PickleHandler(FileHandler[T]):
    """Keep results as pickle files: a plain pickle of the dict of fields.

    Support field type: all python objects.
    """

    suffix: ClassVar[str] = ".pkl"

    def _write(self, fields: dict[str, Any], file: FolderDraft) -> None:
        pickler(file).dump(fields)

    def _read(self, file: BinaryIO) -> Any:
        start = file.read(2)
        file.seek(0)
        if start == _GZIP_MAGIC:
            return pickle.loads(_decompressed(file.read()))
        return pickle.load(file)


class GzipHandler(PickleHandler[T]):
    """Keep results as gzip-compressed pickle files.

    Support field type: all python objects.

    :param compression: level from 0 (none) to 9 (smallest); None is the level that suits recordings best
    :raises ValueError: *compression* is no level
    """

    suffix: ClassVar[str] = ".pkl.gz"

    def __init__(
        self,
        data_cls: type[T],
        save_root: str | os.PathLike[str],
        ext: str | None = None,
        compression: int | None = None,
        *,
        durable: bool = False,
    ) -> None:
        super().__init__(data_cls, save_root, ext, durable=durable)
        if compression is not None and (type(compression) is not int or not 0 <= compression <= 9):
            raise ValueError(f"GzipHandler: compression must be an int from 0 to 9, or None, not {compression!r}")
        self._level = DEFAULT_LEVEL if compression is None else compression

    def _write(self, fields: dict[str, Any], file: FolderDraft) -> None:
        compressor = _Compressor(file, self._level)
        pickler(compressor).dump(fields)
        compressor.finish()


class _Compressor:
    """What a pickler writes to: compresses on the way to *file*."""

    __slots__ = ("_compress", "_file")

    def __init__(self, file: FolderDraft, level: int) -> None:
        from zlib_ng import zlib_ng

        self._file = file
        self._compress = zlib_ng.compressobj(level, zlib_ng.DEFLATED, _GZIP_WBITS)

    def write(self, data: Buffer, /) -> None:
        # Picklers pass large arrays uncopied: their memory as it lies there, in whatever order.
        compressed = self._compress.compress(data.raw() if isinstance(data, pickle.PickleBuffer) else data)
        if compressed:
            self._file.write(compressed)

    def finish(self) -> None:
        self._file.write(self._compress.flush())


def _decompressed(data: bytes) -> bytes:
    """Return the content of the gzip members *data*, each checked to its end.

    :raises ValueError: the length or a CRC is wrong, or something else follows
    """
    from zlib_ng import zlib_ng

    parts: list[bytes] = []
    while data:
        if not data.startswith(_GZIP_MAGIC):
            raise ValueError(f"{len(data)} bytes follow the end of the compressed data")
        reader = zlib_ng.decompressobj(_GZIP_WBITS)
        try:
            parts.append(reader.decompress(data))
        except zlib_ng.error as error:  # type: ignore[misc]  # its stub calls the class an instance
            raise ValueError(str(error)) from error
        if not reader.eof:
            raise EOFError("the compressed data ends too early")
        data = reader.unused_data
    return parts[0] if len(parts) == 1 else b"".join(parts)
