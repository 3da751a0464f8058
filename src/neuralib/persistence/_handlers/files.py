"""A format in two methods: what is written for the fields of a result, and how it is read."""

from __future__ import annotations

import abc
import errno
import os
import pickle
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, TypeVar

from neuralib.persistence._convert import as_dict, from_dict
from neuralib.persistence._errors import (
    CorruptResultError,
    FieldDefinitionError,
    MissingFieldError,
    NotAResultError,
    shown,
)
from neuralib.persistence._handlers.base import PersistenceHandler
from neuralib.persistence._naming import problem_of
from neuralib.persistence._schema import ensure_persistence_class
from neuralib.persistence._stores.folder import FolderStore

if TYPE_CHECKING:
    from neuralib.persistence._stores.base import Draft
    from neuralib.persistence._stores.folder import FolderDraft

T = TypeVar("T")

_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
# What readers raise on bytes that they can't make sense of. An ImportError or AttributeError is not among them: there
# the file is whole, and this environment lacks something.
_DAMAGE = (
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    OverflowError,
    MemoryError,
    struct.error,
    pickle.UnpicklingError,
)


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
    ) -> None:
        ensure_persistence_class(data_cls)
        self._data_cls = data_cls
        self._save_path = Path(save_root)
        self._ext = self.suffix if ext is None else ext
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
    def save_root(self) -> Path:
        """The folder of the results."""
        return self._save_path

    def filename(self, result: T | None, /, **kwargs: Any) -> str:
        """Return the file name for the keys of *result*, replaced by *kwargs*: see :class:`PersistenceHandler`."""
        name = super().filename(result, **kwargs) + self._ext
        if len(name) > 63:  # characters, of 4 bytes at the most: shorter names fit a file system's 255 bytes
            self.persistence_info.check_name(name, result, kwargs)
        return name

    @abc.abstractmethod
    def _write(self, fields: dict[str, Any], file: FolderDraft) -> None:
        """Write *fields*, by name, into *file* by its ``write(data)``."""

    @abc.abstractmethod
    def _read(self, file: BinaryIO) -> Any:
        """Return the fields, by name, that *file* holds."""

    def _draft(self, result: T, store: FolderStore, name: str) -> Draft:
        if type(self)._save_persistence is not FileHandler._save_persistence:
            return super()._draft(result, store, name)  # a subclass has its own way
        draft = store.draft()
        try:
            self._write(as_dict(result), draft)
        except BaseException:
            draft.discard()
            raise
        return draft

    def _save_persistence(self, result: T, path: Path) -> None:
        folder, name = os.path.split(os.fspath(path))
        draft = FolderStore(folder, durable=self.durable).draft()
        try:
            self._write(as_dict(result), draft)
            draft.publish_over(name)
        finally:
            draft.discard()

    def _load_persistence(self, path: Path) -> T:
        found = self._read_root(path)
        cls = self._data_cls
        if not isinstance(found, dict):
            return found  # type: ignore[no-any-return]  # the oldest files hold the instance itself
        try:
            return from_dict(cls, found)
        except MissingFieldError as error:
            raise MissingFieldError(error.owner, error.field, str(path)) from error

    def _stored_fields(self, path: Path) -> dict[str, Any]:
        found = self._read_root(path)
        return found if isinstance(found, dict) else as_dict(found)

    def _read_root(self, path: Path) -> Any:
        """Return what the file at *path* holds: the fields, or an instance of this handler's class."""
        with os.fdopen(_opened(path), "rb") as file:
            try:
                found = self._read(file)
            except _DAMAGE as error:
                raise CorruptResultError(str(path), f"{type(error).__name__}: {error}") from error
            except (ImportError, AttributeError) as error:
                error.add_note(f"while loading {path}: the file needs something that can't be imported here")
                raise
        if not isinstance(found, (dict, self._data_cls)):
            raise NotAResultError(self._data_cls.__qualname__, str(path), f"a {type(found).__qualname__}")
        return found


def _opened(path: Path) -> int:
    """Open a regular file for reading; a pipe or device is refused, not waited for."""
    fd = os.open(path, _READ)
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "is a folder, not a file with a result", str(path))
        if not stat.S_ISREG(mode):
            raise CorruptResultError(str(path), "it is a pipe or a device, not a file")
    except BaseException:
        os.close(fd)
        raise
    return fd
