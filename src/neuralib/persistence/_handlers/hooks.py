"""Adapters for handlers that do something in their own way, chosen once when their class is made.

A subclass may override where results are (``filename``, ``filepath``, ``save_root``, ``persistence_class``), how they are
saved and loaded by path (``_save_persistence``, ``_load_persistence``), or how their fields are written to and read from a
file (``_write``, ``_read``). Each kind of override becomes names, records or a codec, so that nothing else asks for them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from neuralib.persistence import _core
from neuralib.persistence._classes.convert import as_dict
from neuralib.persistence._codecs.base import Codec, Decoded, Head
from neuralib.persistence._errors import AutoIncFieldNotResolvedError, CorruptResultError, PersistenceError
from neuralib.persistence._keeping.identity import refuse_taken
from neuralib.persistence._keeping.keeper import Keeper
from neuralib.persistence._keeping.numbering import Numbering
from neuralib.persistence._keeping.reading import endless_kind, unloadable
from neuralib.persistence._keeping.records import CodecRecords
from neuralib.persistence._naming.names import Names
from neuralib.persistence._os_errors import explaining_any
from neuralib.persistence._stores.folder import FolderStore

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Self

    from neuralib.persistence._bytes.sources import Sink, Source
    from neuralib.persistence._classes.schema import PersistentClass
    from neuralib.persistence._codecs.base import Unpickle
    from neuralib.persistence._stores.base import Content, Store

T = TypeVar("T")

_MOST_FOLDERS = 64  # whose numbers are remembered, where a handler chooses the folder for each result


class Hooked(Protocol[T]):
    """What the adapters ask of a handler."""

    @property
    def save_root(self) -> Path: ...
    @property
    def persistence_info(self) -> PersistentClass[T]: ...
    def filename(self, result: T | None, /, **kwargs: Any) -> str: ...
    def filepath(self, result: T | None, /, **kwargs: Any) -> Path: ...
    def _save_persistence(self, result: T, path: Path) -> None: ...
    def _load_persistence(self, path: Path) -> T: ...


# ---------------------------------------------------------------------------------------------- names and places


class HookNames(Names):
    """Names as a handler's own ``filename`` gives them."""

    def __init__(self, handler: Hooked[Any]) -> None:
        super().__init__(handler.persistence_info)
        self._handler = handler

    def name(self, result: Any, overrides: dict[str, Any] | None = None, /) -> str:
        return self._handler.filename(result, **(overrides or {}))


class _PathNames(HookNames):
    """Names as the last part of what a handler's ``filepath`` gives."""

    def name(self, result: Any, overrides: dict[str, Any] | None = None, /) -> str:
        return os.path.basename(os.fspath(self._handler.filepath(result, **(overrides or {}))))


class HookKeeper(Keeper[T]):
    """A keeper for a handler that decides itself where each result is."""

    def __init__(self, handler: Hooked[T], records: Any, *, durable: bool, threads: int) -> None:
        self._handler = handler
        self._stores: dict[str, Numbering] = {}
        self._info = handler.persistence_info
        store = self._store_of(os.fspath(handler.save_root)).store
        super().__init__(self._info, HookNames(handler), records, store, durable=durable, threads=threads)
        self._path_names = _PathNames(handler)

    @property
    def store(self) -> Store:
        """The folder of the results."""
        return self._store_of(os.fspath(self._handler.save_root)).store

    @store.setter
    def store(self, store: Store) -> None:
        pass  # it is the handler's save_root at any time

    def _store_of(self, folder: str) -> Numbering:
        known = self._stores
        found = known.get(folder)
        if found is None:
            while len(known) >= _MOST_FOLDERS:
                known.pop(next(iter(list(known)), folder), None)
            found = known[folder] = Numbering(FolderStore(folder), None)
        return found

    def place_of(self, result: T) -> tuple[Store, str]:
        """Return the folder and the name of *result*."""
        return self.place_by(result, {})

    def place_by(self, result: T | None, overrides: dict[str, Any]) -> tuple[Store, str]:
        """Return the folder and the name for the keys of *result*, replaced by *overrides*."""
        folder, name = os.path.split(os.fspath(self._handler.filepath(result, **overrides)))
        return self._store_of(folder).store, name

    def series_of(self, result: T) -> tuple[Numbering, tuple[str, str]]:
        """Return the numbering of the folder of *result*, and what stands before and after the number in its name."""
        series = self._path_names.around_number(result)
        field: str = self.info.layout.autoinc  # type: ignore[assignment]
        folder = os.path.dirname(os.fspath(self._handler.filepath(result, **{field: 0})))
        return self._store_of(folder), series

    def _has_numbered(self) -> bool:
        return any(numbering.was_asked for numbering in list(self._stores.values()))


# ---------------------------------------------------------------------------------------------- saving and loading by path


class SavesByHook(Generic[T]):
    """Records whose content is written by ``_save_persistence``."""

    handler: Hooked[T]

    def content(self, result: T, store: Store, name: str, /, *, durable: bool) -> Content:
        """Return the files that the hook writes as a draft."""
        folder = local_folder(store, "_save_persistence writes to a path")
        return folder.draft_by_hook(lambda path: self.handler._save_persistence(result, path), name, durable=durable)


class LoadsByHook(Generic[T]):
    """Records that are loaded by ``_load_persistence``."""

    handler: Hooked[T]

    def load(self, store: Store, name: str, /) -> T:
        """Return what the hook makes of the file; its errors say the path, and nobody waits for a pipe."""
        local_folder(store, "_load_persistence reads from a path")
        place = store.location(name)
        endless = endless_kind(store, name)
        if endless is not None:
            raise CorruptResultError(place, endless)
        with explaining_any("reading a result", place):
            return self.handler._load_persistence(Path(place))

    def fields(self, store: Store, name: str, names: Collection[str] | None, /) -> dict[str, Any]:
        """Return all fields of the result under *name*."""
        return as_dict(self.load(store, name))

    def plain_fields(self, store: Store, name: str, names: Collection[str], /) -> dict[str, Any]:
        """Return nothing: what is in the file is known to the hook alone."""
        return {}

    def about(self, store: Store, name: str, /) -> Head:
        """Return the fields that the hook gives the result under *name*."""
        return Head(self.fields(store, name, None))

    def for_former(self) -> Self:
        """Return this: a hook asks for no card."""
        return self

    def check(self, store: Store, name: str, /) -> bool:
        """Load the result under *name*; no checksum is known."""
        try:
            self.load(store, name)
        except (PersistenceError, OSError, MemoryError):
            raise
        except Exception as error:
            raise unloadable(error, store, name) from error
        return False

    def refuse_other(self, result: T, there: Source, store: Store, name: str, content: Content = None, /) -> None:
        """Raise an error where the file holds a result of other keys in the name than *result*."""
        refuse_taken(self.handler.persistence_info, result, self.fields(store, name, None), store.location(name))


class SavedByHookRecords(SavesByHook[T], CodecRecords[T]):
    """Records that a hook writes and a codec reads."""


class LoadedByHookRecords(LoadsByHook[T], CodecRecords[T]):
    """Records that a codec writes and a hook reads."""


class HookRecords(SavesByHook[T], LoadsByHook[T]):
    """Records that hooks write and read."""

    def __init__(self, handler: Hooked[T]) -> None:
        self.handler = handler


def local_folder(store: Store, why: str, advice: str = "use a folder, or a codec in place of the hook") -> FolderStore:
    """Return *store*, a folder.

    :param why: what needs a folder
    :param advice: what to do where it is none
    :raises TypeError: it is none
    """
    if store.local_folder() is None:
        raise TypeError(f"{why}, and {store.url} has no local files: {advice}")
    return store  # type: ignore[return-value]


# ---------------------------------------------------------------------------------------------- fields to and from a file


class StreamCodec(Codec):
    """A codec of a handler's own ``_write`` and ``_read``.

    :param decoder: what reads in place of ``_read``, where the handler overrides ``_write`` alone
    """

    def __init__(self, handler: Any, decoder: Codec | None) -> None:
        self._handler, self._decoder = handler, decoder

    def encode(self, fields: Mapping[str, Any], target: Sink, /) -> None:
        """Write *fields* by ``_write``."""
        self._handler._write(dict(fields), target)

    def decode(self, source: Source, /, *, trust: Unpickle | None = None, mmap_mode: str | None = None) -> Any:
        """Return the fields by ``_read``."""
        if self._decoder is not None:
            return self._decoder.decode(source, trust=trust, mmap_mode=mmap_mode)
        with source.file() as file:
            return self._handler._read(file)

    def load(self, source: Source, trust: Unpickle | None, mmap_mode: str | None) -> Decoded:
        """Return what ``_read`` returns: where that is no dict, the file holds something else."""
        return self.decode(source, trust=trust, mmap_mode=mmap_mode), None


def refuse_open_number(info: PersistentClass[Any], result: Any, overrides: dict[str, Any]) -> None:
    """Raise an error where neither *result* nor *overrides* has a number.

    :raises AutoIncFieldNotResolvedError: so it has no name
    """
    layout = info.layout
    if not _core.is_numbered(layout, result, overrides):
        owner = info.persistence_cls if result is None else result
        raise AutoIncFieldNotResolvedError(owner, layout.autoinc)
