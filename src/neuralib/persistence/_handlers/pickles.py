"""Results as pickles, plain and compressed. Each handler reads the files of all."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from neuralib.persistence._classes.schema import ensure_persistence_class
from neuralib.persistence._codecs.pickles import GzipCodec, PickleCodec, ZstdCodec
from neuralib.persistence._handlers.files import FileHandler
from neuralib.persistence._handlers.hooks import local_folder
from neuralib.persistence._trust import untrusted

if TYPE_CHECKING:
    from typing import Literal

    from neuralib.persistence._classes.schema import PersistentClass
    from neuralib.persistence._codecs.base import Unpickle
    from neuralib.persistence._stores.paths import Place

T = TypeVar("T")

_PLAIN = PickleCodec()  # of all handlers: it does not change


class PickleHandler(FileHandler[T]):
    """Keep results as pickle files: a plain pickle of the dict of fields, with a checksum after it.

    Support field type: all python objects.

    :param data_cls: the persistence class whose results are kept
    :param save_root: the folder, which is made when the first result is saved; an archive (``results.sqlar``) or another store; or a
        list of these, which are read as one, and of which the first is saved into
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
        save_root: Place,
        ext: str | None = None,
        *,
        durable: bool = False,
        mmap_mode: Literal["r", "c"] | None = None,
        threads: int = 1,
        trusted: bool | Collection[type] = True,
    ) -> None:
        self._trust = reader_for(ensure_persistence_class(data_cls), trusted)
        if mmap_mode not in {None, "r", "c"}:
            raise ValueError(f"{type(self).__qualname__}: mmap_mode must be None, 'r' or 'c', not {mmap_mode!r}")
        self._mmap_mode = self.mmap_mode = mmap_mode
        super().__init__(data_cls, save_root, ext, durable=durable, threads=threads, codec=self._codec_to_use())
        if mmap_mode is not None:
            local_folder(self._store, f"mmap_mode={mmap_mode!r} maps files", "use a folder, or leave mmap_mode out")

    def _codec_to_use(self) -> PickleCodec:
        return _PLAIN


class _CompressedHandler(PickleHandler[T]):
    """Base of the handlers of compressed pickles."""

    _codec_of: type[GzipCodec | ZstdCodec]

    def __init__(
        self,
        data_cls: type[T],
        save_root: Place,
        ext: str | None = None,
        compression: int | None = None,
        *,
        durable: bool = False,
        threads: int = 1,
        trusted: bool | Collection[type] = True,
    ) -> None:
        self._compression = compression
        super().__init__(data_cls, save_root, ext, durable=durable, threads=threads, trusted=trusted)

    def _codec_to_use(self) -> PickleCodec:
        return self._codec_of(self._compression)


class GzipHandler(_CompressedHandler[T]):
    """Keep results as gzip-compressed pickle files.

    Support field type: all python objects.

    :param data_cls: the persistence class whose results are kept
    :param save_root: the folder, which is made when the first result is saved; an archive (``results.sqlar``) or another store; or a
        list of these, which are read as one, and of which the first is saved into
    :param ext: the end of the file names, in place of ``.pkl.gz``
    :param compression: level from 0 (none) to 9 (smallest); None is the level that suits recordings best
    :param durable: let each save return only when it would survive a loss of power, which costs some milliseconds
    :param threads: how many threads read files in :meth:`~PersistenceHandler.load_all`
    :param trusted: see :class:`PickleHandler`
    :raises ValueError: *compression* is no level
    """

    suffix: ClassVar[str] = ".pkl.gz"
    _codec_of = GzipCodec


class ZstdHandler(_CompressedHandler[T]):
    """Keep results as pickle files compressed by Zstandard: smaller than gzip, and many times faster.

    Support field type: all python objects. Python has Zstandard from 3.14 on; before, it is the extra ``zstd``.

    :param data_cls: the persistence class whose results are kept
    :param save_root: the folder, which is made when the first result is saved; an archive (``results.sqlar``) or another store; or a
        list of these, which are read as one, and of which the first is saved into
    :param ext: the end of the file names, in place of ``.pkl.zst``
    :param compression: level from 1 (fastest) to 22 (smallest); None is the level that suits recordings best
    :param durable: let each save return only when it would survive a loss of power, which costs some milliseconds
    :param threads: how many threads read files in :meth:`~PersistenceHandler.load_all`
    :param trusted: see :class:`PickleHandler`
    :raises ValueError: *compression* is no level
    """

    suffix: ClassVar[str] = ".pkl.zst"
    _codec_of = ZstdCodec


def reader_for(info: PersistentClass[Any], trusted: object) -> Unpickle | None:
    """Return what reads the pickles of *info*'s results; None where files are trusted.

    :param trusted: True, False, or a collection of classes that may be made beside plain data
    :raises TypeError: it is something else
    """
    if trusted is True:
        return None
    extra = [] if trusted is False else list(trusted) if isinstance(trusted, Collection) else [trusted]
    if isinstance(trusted, str) or not all(isinstance(kind, type) for kind in extra):
        raise TypeError(f"trusted must be True, False, or a collection of classes, not {trusted!r}")
    return untrusted.Reader([*untrusted.classes_in(info), *extra])  # type: ignore[list-item]
