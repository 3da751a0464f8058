"""Results as pickle files, plain and compressed. Either handler reads the files of both."""

from __future__ import annotations

import os
import pickle
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, TypeVar

from neuralib.persistence import _disk, _pickling
from neuralib.persistence._classes.convert import as_dict
from neuralib.persistence._codecs import framed_reader, frames, heads
from neuralib.persistence._codecs.arrays import pickler
from neuralib.persistence._codecs.pread import read_at
from neuralib.persistence._codecs.reading import FAILURES, raise_explained, refuse_special_file
from neuralib.persistence._errors import PersistenceError
from neuralib.persistence._handlers.files import FileHandler
from neuralib.persistence._trust import untrusted
from neuralib.persistence._trust.allowance import largest_content
from neuralib.persistence._trust.stand_ins import ArrayHead, ObjectHead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Literal

    from typing_extensions import Buffer

    from neuralib.persistence._classes.schema import PersistentClass
    from neuralib.persistence._codecs.arrays import Writable
    from neuralib.persistence._stores.base import Draft
    from neuralib.persistence._stores.drafts import FolderDraft
    from neuralib.persistence._stores.folder import FolderStore

T = TypeVar("T")

DEFAULT_LEVEL = 6
"""zlib-ng's level 6 takes a sixth of the time of zlib's level 9, for files of the same size (float32 traces)."""

_SPARE: list[bytearray] = []
"""Memory that files are read into, as long as nobody reads into it. Threads take it and put it back, which lists allow."""

_MOST_SPARE = 4

_SMALL_BYTES = 4096
_SMALL_LEVEL = 1
"""What fits into one block of the disk takes a block at any level: the quickest does, where none was asked for."""

_MEMORY_LEVEL = 9  # of 1 to 9: 256 KiB, which spares half a percent of the size
GZIP_MAGIC = b"\x1f\x8b"
_CHECKED_AT_ONCE = 1 << 14  # bytes, which may stand for a thousand times as many
_GZIP_WBITS = 31  # zlib's way to say: with the header and trailer of gzip


class PickleHandler(FileHandler[T]):
    """Keep results as pickle files: a plain pickle of the dict of fields, with a checksum after it.

    Support field type: all python objects.

    :param data_cls: the persistence class whose results are kept
    :param save_root: the folder, which is made when the first result is saved
    :param ext: the end of the file names, in place of ``.pkl``
    :param durable: let each save return only when it would survive a loss of power, which costs some milliseconds
    :param mmap_mode: map large arrays into memory instead of reading them: ``'r'``: they can't be written; ``'c'``: what
        is written stays in memory. Arrays of less than 64 KiB, and files written by others, are read as ever
    :param threads: how many threads read files in :meth:`~PersistenceHandler.load_all`
    :param trusted: whether files may hold any Python object, and so run code when they are loaded. False admits plain
        data, numpy arrays and the classes that the fields of *data_cls* are annotated with, and nothing else; a
        collection of classes admits these too
    :raises ValueError: *mmap_mode* is none of these
    :raises TypeError: *trusted* is neither a bool nor a collection of classes
    """

    suffix: ClassVar[str] = ".pkl"

    def __init__(
        self,
        data_cls: type[T],
        save_root: str | os.PathLike[str],
        ext: str | None = None,
        *,
        durable: bool = False,
        mmap_mode: Literal["r", "c"] | None = None,
        threads: int = 1,
        trusted: bool | Collection[type] = True,
    ) -> None:
        super().__init__(data_cls, save_root, ext, durable=durable, threads=threads)
        if trusted is not True:
            self._unpickled = untrusted.Reader(admitted_classes(self._info, trusted))
        if mmap_mode not in {None, "r", "c"}:
            raise ValueError(f"{type(self).__qualname__}: mmap_mode must be None, 'r' or 'c', not {mmap_mode!r}")
        self.mmap_mode = mmap_mode
        if trusted is not True or mmap_mode is not None:
            self._spare = None  # what is read so may refer to the file's memory

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Note what the subclass does in its own way."""
        super().__init_subclass__(**kwargs)
        cls._own_format = cls._write is not PickleHandler._write
        if cls._read is not PickleHandler._read:
            cls._own_reader = True
            cls._quick_bytes = 0  # it is given an open file
        cls._own_content = cls._own_format or cls._own_reading or cls._own_reader

    _own_format = False
    _own_content = False
    _own_reader = False

    def _content(self, result: T, store: FolderStore, *, durable: bool) -> bytes | Draft:
        if self._own_format:
            return super()._content(result, store, durable=durable)
        target = _pickling.FirstChunk(frames.AT_ONCE, lambda: self._writer(store.draft(durable=durable)))
        try:
            _dump(as_dict(result), target)
            if target.first is not None:
                return self._small_file(target.first)
            target.rest.finish()
        except BaseException:
            if target.rest is not None:
                target.rest.draft.discard()
            raise
        draft: Draft = target.rest.draft
        return draft

    def _writer(self, draft: Draft) -> frames.PickleWriter | Compressor:
        """Return what a pickler is to write to, for the file *draft*."""
        return frames.PickleWriter(draft)

    _small_file = staticmethod(frames.with_trailer)

    def _write(self, fields: dict[str, Any], file: FolderDraft) -> None:
        writer = self._writer(file)
        _dump(fields, writer)
        writer.finish()

    def _read(self, file: BinaryIO) -> Any:
        return self._read_whole(file.fileno())

    _quick_bytes = frames.AT_ONCE
    _spare: list[bytearray] | None = _SPARE

    def _read_bytes(self, data: bytes | memoryview) -> Any:
        try:
            if data[:2] == GZIP_MAGIC:
                return self._unpickled_content(bytes(data))
            return framed_reader.read_bytes(data, self._unpickled)
        finally:
            if type(data) is memoryview and len(_SPARE) < _MOST_SPARE:
                _SPARE.append(data.obj)  # type: ignore[arg-type]

    def _read_open(self, fd: int) -> Any:
        return super()._read_open(fd) if self._own_reader else self._read_whole(fd)

    def _read_whole(self, fd: int) -> Any:
        """Return what the file that is open as *fd*, at its start, holds."""
        if refuse_special_file(fd) < self._quick_bytes or read_at(fd, len(GZIP_MAGIC), 0) == GZIP_MAGIC:
            os.lseek(fd, 0, os.SEEK_SET)
            return self._read_bytes(_rest(fd))
        if self.mmap_mode is not None:
            return framed_reader.map_file(fd, self.mmap_mode, self._unpickled)
        return framed_reader.read_file(fd, self._unpickled)

    def _check_open(self, fd: int) -> bool:
        if self._own_reader:
            return super()._check_open(fd)
        size = refuse_special_file(fd)
        if read_at(fd, len(GZIP_MAGIC), 0) != GZIP_MAGIC:
            return framed_reader.check_file(fd)
        for _ in decompressed_parts(parts_of(fd, _CHECKED_AT_ONCE), self._largest_content(size)):
            pass
        return True

    def _some_fields(self, path: str, names: Collection[str]) -> dict[str, Any]:
        if self._own_content:
            return super()._some_fields(path, names)
        try:
            data = _disk.read_small(path, frames.AT_ONCE)
            if data is not None:  # all of it takes less time than a look at its structure
                found = self._read_bytes(data)
                return found if type(found) is dict else self._fields_of(found, path)
            small = os.stat(path).st_size < frames.AT_ONCE
        except FAILURES as error:
            raise_explained(error, path)
        if small:
            return super()._some_fields(path, names)
        found = heads.read_head(path, names).fields
        if any(isinstance(found.get(it), ObjectHead) for it in names):
            return super()._some_fields(path, names)  # of a class, which this handler may trust
        return found

    def _fields_of(self, found: Any, path: str) -> dict[str, Any]:
        """Return the fields that *found*, the content of the file at *path*, is or has."""
        self._refuse_other_content(found, path)
        return found if isinstance(found, dict) else as_dict(found)

    def _head_of(self, path: str) -> dict[str, Any]:
        if self._own_content:
            return super()._head_of(path)
        try:
            found = heads.read_head(path, [it.field_name for it in self.persistence_info.named_fields])
        except PersistenceError:
            return {}  # what is wrong with the file is said by whoever reads all of it
        return {name: it for name, it in found.fields.items() if not isinstance(it, (ArrayHead, ObjectHead))}

    def _unpickled_content(self, data: bytes) -> Any:
        """Return what the compressed file *data* holds."""
        content = _decompressed(data, self._largest_content(len(data)))
        if isinstance(self._unpickled, untrusted.Reader):
            return self._unpickled(content, (), len(data))
        return self._unpickled(content, ())

    def _largest_content(self, size: int) -> int | None:
        """Return how many bytes a compressed file of *size* bytes may hold, where it is not trusted."""
        return largest_content(size) if isinstance(self._unpickled, untrusted.Reader) else None

    _unpickled: framed_reader.Unpickle = staticmethod(framed_reader.unpickled)


class GzipHandler(PickleHandler[T]):
    """Keep results as gzip-compressed pickle files.

    Support field type: all python objects.

    :param data_cls: the persistence class whose results are kept
    :param save_root: the folder, which is made when the first result is saved
    :param ext: the end of the file names, in place of ``.pkl.gz``
    :param compression: level from 0 (none) to 9 (smallest); None is the level that suits recordings best
    :param durable: let each save return only when it would survive a loss of power, which costs some milliseconds
    :param threads: how many threads read files in :meth:`~PersistenceHandler.load_all`
    :param trusted: see :class:`PickleHandler`
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
        threads: int = 1,
        trusted: bool | Collection[type] = True,
    ) -> None:
        super().__init__(data_cls, save_root, ext, durable=durable, threads=threads, trusted=trusted)
        if compression is not None and (type(compression) is not int or not 0 <= compression <= 9):
            raise ValueError(f"GzipHandler: compression must be an int from 0 to 9, or None, not {compression!r}")
        self._small_level = _SMALL_LEVEL if compression is None else compression
        self._level = DEFAULT_LEVEL if compression is None else compression

    def _writer(self, draft: Draft) -> Compressor:
        return Compressor(draft, self._level)

    def _small_file(self, pickled: bytes) -> bytes:
        from zlib_ng import zlib_ng

        level = self._small_level if len(pickled) <= _SMALL_BYTES else self._level
        return zlib_ng.compress(pickled, level, _GZIP_WBITS)


def _dump(fields: dict[str, Any], target: Writable) -> None:
    try:
        pickler(target).dump(fields)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        for name, value in fields.items():
            try:
                pickler(_Nowhere()).dump(value)
            except Exception:
                error.add_note(f"the field {name}, a {type(value).__qualname__}, can't be pickled; nothing was saved")
        raise


class _Nowhere:
    """What a pickler writes to, to see whether it can."""

    def write(self, data: Buffer, /) -> None:
        pass


def admitted_classes(info: PersistentClass[Any], trusted: object) -> list[type]:
    """Return the classes that a file of *info*'s results may hold beside plain data.

    :param trusted: False, or a collection of classes
    :raises TypeError: it is something else
    """
    extra = [] if trusted is False else list(trusted) if isinstance(trusted, Collection) else [trusted]
    if isinstance(trusted, str) or not all(isinstance(it, type) for it in extra):
        raise TypeError(f"trusted must be True, False, or a collection of classes, not {trusted!r}")
    declared = [kind for it in info.fields for kind in untrusted.classes_of(it.field_type)]
    return [info.persistence_cls, *declared, *extra]  # type: ignore[list-item]


class Compressor:
    """What a pickler writes to: compresses on the way to *file*."""

    __slots__ = ("_compress", "draft")

    def __init__(self, draft: Draft, level: int) -> None:
        from zlib_ng import zlib_ng

        self.draft = draft
        self._compress = zlib_ng.compressobj(level, zlib_ng.DEFLATED, _GZIP_WBITS, _MEMORY_LEVEL)

    def write(self, data: Buffer, /) -> None:
        # Picklers pass large arrays uncopied: their memory as it lies there, in whatever order.
        compressed = self._compress.compress(data.raw() if isinstance(data, pickle.PickleBuffer) else data)
        if compressed:
            self.draft.write(compressed)

    def finish(self) -> None:
        self.draft.write(self._compress.flush())


def parts_of(fd: int, size: int = 1 << 24) -> Iterator[bytes]:
    """Yield what is left to read of *fd*, *size* bytes at a time."""
    while part := os.read(fd, size):
        yield part


def _rest(fd: int) -> bytes:
    """Return what is left to read of *fd*."""
    return b"".join(parts_of(fd))


def _decompressed(data: bytes, most: int | None = None) -> bytes:
    """Return the content of the gzip members *data*, each checked to its end.

    :param most: how many bytes it may be
    :raises ValueError: the length or a CRC is wrong, or something else follows, or it is more than *most*
    """
    parts = list(decompressed_parts([data], most))
    return parts[0] if len(parts) == 1 else b"".join(parts)


def decompressed_parts(parts: Iterable[bytes], most: int | None = None) -> Iterator[bytes]:
    """Yield the content of the gzip members that *parts* are together: see :func:`_decompressed`."""
    from zlib_ng import zlib_ng

    reader = None
    total = 0
    for part in parts:
        data = part
        while data:
            if reader is None:
                if not GZIP_MAGIC.startswith(data[:2]):
                    raise ValueError("something else follows the end of the compressed data")
                reader = zlib_ng.decompressobj(_GZIP_WBITS)
            found = _inflated(reader, data, None if most is None else most - total)
            total += len(found)
            if found:
                yield found
            data = b""
            if reader.eof:
                data, reader = reader.unused_data, None
    if reader is not None:
        raise EOFError("the compressed data ends too early")


def _inflated(reader: Any, data: bytes, left: int | None) -> bytes:
    """Return what *reader* makes of *data*: at most *left* bytes.

    :raises ValueError: it is damaged, or makes more
    """
    from zlib_ng import zlib_ng

    try:
        found: bytes = reader.decompress(data) if left is None else reader.decompress(data, left + 1)
    except zlib_ng.error as error:  # type: ignore[misc]  # its stub calls the class an instance
        raise ValueError(str(error)) from error
    if left is not None and len(found) > left:
        raise ValueError(
            "its content is much larger than a file of its size should hold; "
            "load it with trusted=True if you know where it comes from"
        )
    return found
