"""A format in two methods: what is written for the fields of a result, and how it is read."""

from __future__ import annotations

import abc
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, TypeVar

from neuralib.persistence import _core, _disk
from neuralib.persistence._classes.convert import as_dict, from_dict
from neuralib.persistence._classes.name_texts import problem_of
from neuralib.persistence._classes.schema import ensure_persistence_class
from neuralib.persistence._codecs.reading import FAILURES, opened, raise_explained, refuse_special_file
from neuralib.persistence._errors import (
    FieldDefinitionError,
    MissingFieldError,
    NotAResultError,
    shown,
)
from neuralib.persistence._handlers.base import PersistenceHandler, stamp_or_draft
from neuralib.persistence._keeping.numbering import Numbering
from neuralib.persistence._stores.folder import FolderStore
from neuralib.persistence._stores.system import publish_whole

if TYPE_CHECKING:
    from neuralib.persistence._classes.schema import PersistentClass
    from neuralib.persistence._keeping.numbering import Series
    from neuralib.persistence._stores.base import Draft
    from neuralib.persistence._stores.drafts import FolderDraft

T = TypeVar("T")

CHANGED = _disk.CHANGED


class FileHandler(PersistenceHandler[T]):
    """Base of handlers that keep each result in one file: a suffix and two methods make a new format.

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
    :param save_root: the folder, which is made when the first result is saved
    :param ext: the end of the file names, in place of :attr:`suffix`
    :param durable: let each save return only when it would survive a loss of power, which costs some milliseconds
    :param threads: how many threads read files in :meth:`~PersistenceHandler.load_all`; more than one helps where files are compressed
    """

    suffix: ClassVar[str] = ""
    """The end of the file names."""

    def __init__(
        self,
        data_cls: type[T],
        save_root: str | os.PathLike[str],
        ext: str | None = None,
        *,
        durable: bool = False,
        threads: int = 1,
    ) -> None:
        self._info = ensure_persistence_class(data_cls)
        self._data_cls = data_cls
        self._save_path = Path(save_root)
        self._store = FolderStore(os.fspath(self._save_path))
        self._numbers: Numbering[FolderStore] = Numbering()
        self._ext = self.suffix if ext is None else ext
        if type(threads) is not int or threads < 1:
            raise ValueError(f"{type(self).__qualname__}: threads must be an int of at least 1, not {threads!r}")
        self.threads = threads
        problem = problem_of(self._ext)
        if problem is not None:
            raise FieldDefinitionError(type(self).__qualname__, "", f"ext={shown(self._ext)}: {problem}")
        self.durable = durable

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._data_cls.__qualname__}, {str(self._save_path)!r}, ext={self._ext!r})"

    @property
    def persistence_class(self) -> type[T]:
        """The class whose results this handler keeps."""
        return self._data_cls

    @property
    def persistence_info(self) -> PersistentClass[T]:
        """What is known of that class."""
        return ensure_persistence_class(self.persistence_class) if self._own_class else self._info

    @property
    def save_root(self) -> Path:
        """The folder of the results."""
        return self._save_path

    def filename(self, result: T | None, /, **kwargs: Any) -> str:
        """Return the file name for the keys of *result*, replaced by *kwargs*: see :class:`PersistenceHandler`."""
        return self._named(self.persistence_info, result, kwargs)

    def _publish_new(self, result: T, store: FolderStore, name: str, *, stamped: bool) -> Draft | _disk.Stamp:
        if self._own_writing or self.durable:
            return super()._publish_new(result, store, name, stamped=stamped)
        content = self._content(result, store, durable=False)
        if type(content) is not bytes:
            return stamp_or_draft(content, name)  # type: ignore[arg-type]
        try:
            stamp = publish_whole(store.root, store.prefix + name, content, stamped)
            if stamp is not None:
                return stamp
        except FileExistsError:
            return _draft_of(content, store, durable=False)
        return stamp_or_draft(_draft_of(content, store, durable=False), name)

    def _batch_begins(self) -> None:
        self._store.hold()

    def _batch_ends(self) -> None:
        self._store.release()

    def _save_with_new_number(self, result: T, info: PersistentClass[T]) -> None:
        """Save *result* under the number that is the next one if nobody else wrote into the folder, else as ever.

        That spares a look at the folder before: it is one step with the publication. Only after a small result of the same
        series was saved so: what is large would be written in vain where somebody did write.
        """
        series = self._numbers.last
        expected = None if series is None else series.expected  # looked at once: other threads set it too
        if series is None or expected is None or series.store is not self._store or self._own_place or self.durable:
            super()._save_with_new_number(result, info)
            return
        store = self._store
        layout: _core.Layout = info._layout  # type: ignore[assignment]
        number, stamp = expected
        published = False
        try:
            # In here: Ctrl-C may come right after it has set the number.
            path = _core.assign_number(layout, result, self._ext, store.prefix, series.head, number, series.tail)
            if path is not None:
                content = self._content(result, store, durable=False)
                if type(content) is bytes:
                    found = publish_whole(store.root, path, content, True, stamp, store.held)
                    if found is not None and found is not CHANGED:
                        published = True
                        series.expected = (number + 1, found)
                        return
                    store.release()  # it may be another folder that has the path by now
                else:
                    content.discard()  # type: ignore[union-attr]
                    series.forget_expected()
        except FileExistsError:
            series.lost(number)
        finally:
            if not published:
                setattr(result, layout.autoinc, None)  # type: ignore[arg-type]  # so that saving it again gives it a number
        super()._save_with_new_number(result, info)

    def _content(self, result: T, store: FolderStore, *, durable: bool) -> bytes | Draft:
        """Return what is to be in the file of *result*: the bytes themselves where they are few."""
        draft = store.draft(durable=durable)
        try:
            self._write(as_dict(result), draft)
        except BaseException:
            draft.discard()
            raise
        return draft

    def _named(self, info: PersistentClass[T], result: T | None, overrides: dict[str, Any] | None) -> str:
        name = _core.format_name(info.layout, result, overrides) + self._ext
        if not _core.is_plain_name(name):
            info.check_name(name, result, overrides or {})
        return name

    def _place_of(self, result: T, info: PersistentClass[T]) -> tuple[FolderStore, str]:
        if self._own_place:
            return super()._place_of(result, info)
        name = _core.plain_name(info._layout, result, self._ext)  # type: ignore[arg-type]
        return self._store, self._named(info, result, None) if name is None else name

    def _series_of(self, result: T, info: PersistentClass[T], field: str) -> Series[FolderStore]:
        around = None if self._own_place else _core.around_number(info._layout, result, self._ext)  # type: ignore[arg-type]
        if around is None:
            return super()._series_of(result, info, field)
        return self._numbers.series(self._store, around)

    @abc.abstractmethod
    def _write(self, fields: dict[str, Any], file: FolderDraft) -> None:
        """Write *fields*, by name, into *file* by its ``write(data)``."""

    @abc.abstractmethod
    def _read(self, file: BinaryIO) -> Any:
        """Return the fields, by name, that *file* holds."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Note what the subclass does in its own way."""
        super().__init_subclass__(**kwargs)
        cls._note_own_ways(FileHandler)
        cls._own_class = cls.persistence_class is not FileHandler.persistence_class
        cls._own_writing = cls._save_persistence is not FileHandler._save_persistence
        cls._own_reading = cls._load_persistence is not FileHandler._load_persistence

    _own_class = False
    _own_writing = False
    _own_reading = False

    def _draft(self, result: T, store: FolderStore, name: str, *, durable: bool) -> Draft:
        if self._own_writing:
            return super()._draft(result, store, name, durable=durable)
        content = self._content(result, store, durable=durable)
        return _draft_of(content, store, durable=durable) if type(content) is bytes else content  # type: ignore[return-value]

    def _save_persistence(self, result: T, path: Path) -> None:
        folder, name = os.path.split(os.fspath(path))
        draft = FolderStore(folder).draft(durable=self.durable)
        try:
            self._write(as_dict(result), draft)
            draft.publish_over(name)
        finally:
            draft.discard()

    def _load_persistence(self, path: Path) -> T:
        return self._load_file(os.fspath(path))

    def _load(self, path: str | os.PathLike[str]) -> T:
        if self._own_reading:
            return super()._load(path)
        result = self._load_file(os.fspath(path))
        self._refuse_open_number(result, path)
        return result

    def _load_file(self, path: str) -> T:
        found = self._root_of(path)
        cls = self._data_cls
        if not isinstance(found, dict):
            return found  # type: ignore[no-any-return]  # the oldest files hold the instance itself
        try:
            return from_dict(cls, found)
        except MissingFieldError as error:
            raise MissingFieldError(error.owner, error.field, path) from error

    def _stored_fields(self, path: str) -> dict[str, Any]:
        if self._own_reading:
            return super()._stored_fields(path)
        found = self._root_of(path)
        return found if isinstance(found, dict) else as_dict(found)

    def _root_of(self, path: str) -> Any:
        """Return what the file at *path* holds: the fields, or an instance of this handler's class."""
        try:
            data = _disk.read_small(path, self._quick_bytes, self._spare) if self._quick_bytes else None
            found = opened(path, self._read_open) if data is None else self._read_bytes(data)
        except FAILURES as error:
            raise_explained(error, path)
        self._refuse_other_content(found, path)
        return found

    def _refuse_other_content(self, found: Any, path: str) -> None:
        """Raise an error where *found*, the content of the file at *path*, is neither fields nor a result."""
        if not isinstance(found, (dict, self._data_cls)):
            raise NotAResultError(self._data_cls.__qualname__, path, f"a {type(found).__qualname__}")

    def _check(self, path: str) -> bool:
        if self._own_reading:
            return super()._check(path)
        try:
            return bool(opened(path, self._check_open))
        except FAILURES as error:
            raise_explained(error, path)

    def _is_named(self, result: T, name: str) -> bool:
        if not self._own_place and _core.plain_name(self.persistence_info.layout, result, self._ext) == name:
            return True
        return super()._is_named(result, name)

    def _check_open(self, fd: int) -> bool:
        """Read the file that is open as *fd* to its end; return whether a checksum says that it is what was saved."""
        self._read_open(fd)
        return False

    _quick_bytes = 0
    """A file with fewer bytes is read in one step, and given to :meth:`_read_bytes`."""

    _spare: list[bytearray] | None = None
    """Memory to read larger files into; then :meth:`_read_bytes` gets a view of it, and puts it back."""

    def _read_bytes(self, data: bytes | memoryview) -> Any:
        """Return what the whole file *data* holds."""
        return self._read(io.BytesIO(data))

    def _read_open(self, fd: int) -> Any:
        """Return what the file that is open as *fd* holds; the caller closes it."""
        refuse_special_file(fd)
        with os.fdopen(fd, "rb", closefd=False) as file:
            return self._read(file)


def _draft_of(content: bytes, store: FolderStore, *, durable: bool) -> Draft:
    draft = store.draft(durable=durable)
    draft.write(content)
    return draft
