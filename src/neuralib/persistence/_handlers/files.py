"""Handlers composed of names, a codec and a store; and formats in two methods."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, TypeVar

from neuralib.persistence._bytes.sources import BytesSource
from neuralib.persistence._classes.name_texts import problem_of
from neuralib.persistence._classes.schema import ensure_persistence_class
from neuralib.persistence._classes.unknown import fields_to_save
from neuralib.persistence._codecs.card import card_of, with_fields
from neuralib.persistence._errors import FieldDefinitionError
from neuralib.persistence._handlers.base import PersistenceHandler
from neuralib.persistence._handlers.hooks import (
    HookKeeper,
    HookNames,
    HookRecords,
    LoadedByHookRecords,
    SavedByHookRecords,
    StreamCodec,
    local_folder,
    refuse_open_number,
)
from neuralib.persistence._keeping.keeper import Keeper
from neuralib.persistence._keeping.records import CodecRecords
from neuralib.persistence._messages import shown
from neuralib.persistence._naming.names import ClassNames
from neuralib.persistence._stores.folder import FolderStore
from neuralib.persistence._stores.paths import PATHS, store_at

if TYPE_CHECKING:
    from neuralib.persistence._bytes.sources import Sink
    from neuralib.persistence._codecs.base import Codec, Unpickle
    from neuralib.persistence._stores.base import Store
    from neuralib.persistence._stores.paths import Place

T = TypeVar("T")

_NO_HOOKS = "use a folder, or override filename, _write and _read, or give a codec"
_NOT_COPIED = frozenset(("_class_names", "_info", "_keeper"))


class FileHandler(PersistenceHandler[T]):
    """Keeps results in a store by a codec. A suffix and two methods make a new format too.

    >>> class JsonHandler(FileHandler[T]):
    ...     "Keep results as JSON text. Field types: whatever json can write."
    ...
    ...     suffix = ".json"
    ...
    ...     def _write(self, fields, file):
    ...         file.write(json.dumps(fields).encode())
    ...
    ...     def _read(self, file):
    ...         return json.load(file)

    :param data_cls: the persistence class whose results are kept
    :param save_root: the folder, which is made when the first result is saved; an archive (``results.sqlar``) or another store; or a
        list of these, which are read as one, and of which the first is saved into
    :param ext: the end of the names, in place of :attr:`suffix`
    :param durable: let each save return only when it would survive a loss of power, which costs some milliseconds
    :param threads: how many threads read in :meth:`~PersistenceHandler.load_all`; more than one helps where files are compressed
    :param codec: the format, in place of ``_write`` and ``_read``
    :raises TypeError: there is neither a codec nor ``_write`` and ``_read``
    """

    suffix: ClassVar[str] = ""
    """The end of the names."""

    def __init__(
        self,
        data_cls: type[T],
        save_root: Place,
        ext: str | None = None,
        *,
        durable: bool = False,
        threads: int = 1,
        codec: Codec | None = None,
    ) -> None:
        self._info = ensure_persistence_class(data_cls)
        if isinstance(data_cls, self._info.persistence_cls):
            owner = self._info.persistence_cls.__qualname__
            raise TypeError(f"{type(self).__qualname__}: expected the class {owner}, not a result of it")
        self._data_cls = data_cls
        self._store = store_at(save_root)
        self._codec = codec
        if ext is None:
            ext = self.suffix or (codec.suffix if codec is not None else "")
        self._ext = ext
        if codec is None and not (self._has_write and self._has_read):
            raise TypeError(f"{type(self).__qualname__}: define _write and _read, or give a codec")
        if type(threads) is not int or threads < 1:
            raise ValueError(f"{type(self).__qualname__}: threads must be an int of at least 1, not {threads!r}")
        problem = problem_of(self._ext)
        if problem is not None:
            raise FieldDefinitionError(type(self).__qualname__, "", f"ext={shown(self._ext)}: {problem}")
        self.threads = threads
        self.durable = durable
        self._class_names = self._names()
        if self._needs_files:
            local_folder(self._store, f"{type(self).__qualname__} overrides methods that work on paths", _NO_HOOKS)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied and pickled: what is known of the class is looked up anew."""
        return {name: value for name, value in vars(self).items() if name not in _NOT_COPIED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._info = ensure_persistence_class(self._data_cls)
        self._class_names = self._names()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._data_cls.__qualname__}, {self._store.url!r}, ext={self._ext!r})"

    def _names(self) -> ClassNames:
        """Return the names of the class, also those under which other formats that can be read have their files."""
        known: tuple[str, ...] = ()
        if self._codec is not None and not self._loads_itself:
            known = self._codec.read_suffixes
        others = tuple(suffix for suffix in known if suffix != self._ext) if self._ext in known else ()
        return ClassNames(self._info, self._ext, others)

    # ------------------------------------------------------------------------------------------ what a subclass overrides

    _has_write = _has_read = _loads_itself = _needs_files = _chooses_names = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Choose the adapters for what the subclass overrides."""
        super().__init_subclass__(**kwargs)

        def overrides(*names: str) -> bool:
            return any(getattr(cls, name) is not getattr(FileHandler, name) for name in names)

        cls._has_write, cls._has_read = overrides("_write"), overrides("_read")
        saves, loads = overrides("_save_persistence"), overrides("_load_persistence")
        cls._loads_itself = loads or cls._has_read
        cls._chooses_names = overrides("filename", "filepath", "save_root", "persistence_class")
        cls._needs_files = saves or loads or overrides("filepath", "save_root")
        kind: Any = {
            (False, False): CodecRecords,
            (True, False): SavedByHookRecords,
            (False, True): LoadedByHookRecords,
            (True, True): HookRecords,
        }[saves, loads]
        cls._records_of = staticmethod(kind)

    def _compose(self) -> Keeper[T]:
        records, store = self._records(), self._store
        if self._chooses_names and store.local_folder() is not None:
            return HookKeeper(self, records, durable=self.durable, threads=self.threads)
        names = HookNames(self) if self._chooses_names else self._class_names
        return Keeper(self.persistence_info, names, records, store, durable=self.durable, threads=self.threads)

    _records_of: Any = staticmethod(CodecRecords)

    def _records(self) -> Any:
        if self._records_of is HookRecords:
            return HookRecords(self)
        codec = self._codec
        if self._has_write or self._has_read:
            codec = StreamCodec(self, None if self._has_read else codec)
        records = self._records_of(self.persistence_info, codec, self._trust, self._mmap_mode, self.persistence_class)
        if self._records_of is not CodecRecords:
            records.handler = self
        return records

    _trust: Unpickle | None = None
    _mmap_mode: str | None = None

    # ------------------------------------------------------------------------------------------ names and places

    @property
    def persistence_class(self) -> type[T]:
        """The class whose results this handler keeps."""
        return self._data_cls

    @property
    def store(self) -> Store:
        """Where the results are."""
        return self._store

    @property
    def save_root(self) -> Path:
        """The folder of the results.

        :raises TypeError: the results are in a store without files: see :attr:`store`
        """
        return Path(local_folder(self._store, "save_root is a folder", "use handler.store").root)

    def filename(self, result: T | None, /, **kwargs: Any) -> str:
        """Return the name for the keys of *result*, replaced by *kwargs*: see :class:`PersistenceHandler`."""
        return self._class_names.name(result, kwargs)

    def filepath(self, result: T | None, /, **kwargs: Any) -> Path:
        """Return the path of the file for the keys of *result*; in a store without files, the name alone."""
        if self._store.local_folder() is not None:
            return super().filepath(result, **kwargs)
        refuse_open_number(self.persistence_info, result, kwargs)
        return self._store.path(self.filename(result, **kwargs))  # type: ignore[return-value]

    # ------------------------------------------------------------------------------------------ formats in two methods

    def _write(self, fields: dict[str, Any], file: Sink) -> None:
        """Write *fields*, by name, into *file* by its ``write(data)``.

        Fields that the class does not know are among them where the result was loaded from a file that has some. What
        :meth:`_read` returns of them stays with the result.
        """
        assert self._codec is not None, "a handler without a codec has a _write of its own"
        card = card_of(self.persistence_info)
        unknown = dict.fromkeys([name for name in fields if name not in card.fields], "")
        if unknown:
            card = with_fields(card, unknown)
        self._codec.for_class(card).encode(fields, file)

    def _read(self, file: BinaryIO) -> Any:
        """Return the fields, by name, that *file* holds."""
        assert self._codec is not None, "a handler without a codec has a _read of its own"
        return self._codec.decode(BytesSource(file.read()), trust=self._trust)

    def _save_persistence(self, result: T, path: Path) -> None:
        folder, name = os.path.split(os.fspath(path))
        store = FolderStore(folder)
        new_draft = partial(store.draft, durable=self.durable)
        draft = StreamCodec(self, None).content(fields_to_save(result), new_draft)
        store.put(name, draft, replace=True, durable=self.durable)

    def _load_persistence(self, path: Path) -> T:
        codec = StreamCodec(self, None) if self._has_read else self._codec
        assert codec is not None, "a handler without a codec has a _read of its own"
        records = CodecRecords(self.persistence_info, codec, self._trust, self._mmap_mode, self.persistence_class)
        return records.load(PATHS, os.fspath(path))
