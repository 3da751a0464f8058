"""What reading a stored result can fail with, and the error that each failure becomes."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from neuralib.persistence._bytes.sources import Source
from neuralib.persistence._codecs.pickles import NoFieldsError, announces_too_much
from neuralib.persistence._codecs.unloadable import DAMAGE, cause_of
from neuralib.persistence._errors import (
    ContractError,
    CorruptResultError,
    NotAResultError,
    UnloadableResultError,
    UntrustedTypeError,
)
from neuralib.persistence._messages import shown
from neuralib.persistence._os_errors import explained
from neuralib.persistence._stores import system

if TYPE_CHECKING:
    from collections.abc import Generator

    from neuralib.persistence._stores.base import Store

FAILURES = (*DAMAGE, OSError, ImportError, AttributeError, MemoryError, NoFieldsError)


@contextmanager
def opened(store: Store, name: str, owner: str = "any persistence class") -> Generator[Source]:
    """Open *name* in *store*; what goes wrong while it is read is said as everywhere.

    :raises PersistenceError: it is damaged, or no result
    """
    try:
        with store.open(name) as source:
            yield source
    except FAILURES as error:
        raise_explained(error, store, name, owner)


def raise_explained(error: Exception, store: Store, name: str, owner: str = "any persistence class") -> NoReturn:
    """Raise what *error*, which came of reading *name* in *store*, means for the caller."""
    if isinstance(error, (TypeError, AttributeError)):
        refuse_broken_source(store, name)
    place = store.location(name)
    if isinstance(error, UnloadableResultError):
        raise error.at(place) from error.__cause__
    if isinstance(error, NoFieldsError):
        raise NotAResultError(owner, place, str(error)) from error
    if isinstance(error, UntrustedTypeError):
        raise UntrustedTypeError(place, error.kind) from error
    if isinstance(error, DAMAGE):
        raise CorruptResultError(place, f"{type(error).__name__}: {error}") from error
    if isinstance(error, OSError):
        _raise_os_error(error, store, name)
    if isinstance(error, MemoryError):
        _raise_for_memory(error, store, name)
    raise unloadable(error, store, name) from error


def _raise_os_error(error: OSError, store: Store, name: str) -> NoReturn:
    place = store.location(name)
    if problem := _no_file(error, store, name):
        raise CorruptResultError(place, problem) from error
    if error.errno == errno.EISDIR:
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file with a result", place) from error
    if error.errno == errno.ENOENT and error.strerror == os.strerror(errno.ENOENT):
        raise FileNotFoundError(errno.ENOENT, "no result is saved there (no such file)", place) from error
    raise explained(error, "reading a result", place) from error


def _no_file(error: OSError, store: Store, name: str) -> str | None:
    """Return what *name* is in place of a file; None where *error* means something else."""
    if error.errno == errno.ELOOP:
        return "it is a link that leads to itself"
    return endless_kind(store, name) if error.errno == errno.EINVAL else None


def _raise_for_memory(error: MemoryError, store: Store, name: str) -> NoReturn:
    place = store.location(name)
    if _announces_too_much(store, name):
        raise CorruptResultError(place, "a value in it would be longer than the file") from error
    error.add_note(f"while loading {place}: it needs more memory than there is, or is damaged")
    raise error


def unloadable(error: Exception, store: Store, name: str) -> UnloadableResultError:
    """Return that *name* in *store* can't be loaded because of *error*, where no checksum is known."""
    found = UnloadableResultError(store.location(name), "", "", cause_of(error), checksummed=False)
    found.__cause__ = error
    return found


def refuse_broken_source(store: Store, name: str) -> None:
    """Raise an error where *store* opens *name* as something that can't be read: that is no damage.

    :raises ContractError: it does
    """
    if store.local_folder() is not None:
        return
    try:
        source: Any = store.open(name)
    except Exception:
        return
    if not isinstance(source, Source):
        raise ContractError(type(store).__qualname__, "open", "a Source", shown(source))
    with source:
        size: Any = getattr(source, "size", None)
        if not isinstance(size, int):
            raise ContractError(type(source).__qualname__, "size", "an int", shown(size))
        data: Any = source.read_at(1, 0)
        if not isinstance(data, bytes):
            raise ContractError(type(source).__qualname__, "read_at", "bytes", shown(data))


def endless_kind(store: Store, name: str) -> str | None:
    """Return what *name* is if reading it may never end: a pipe or a device; None where it is a file, a folder, nothing."""
    return None if store.local_folder() is None else system.endless_kind(store.location(name))


def _announces_too_much(store: Store, name: str) -> bool:
    """Return whether the pickle under *name* has a length in it that goes beyond its end; False where that can't be known."""
    try:
        with store.open(name) as source:
            return announces_too_much(source)
    except (OSError, MemoryError):
        return False
