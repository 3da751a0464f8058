"""What reading a stored result can fail with, and what each failure means for who asked for it."""

from __future__ import annotations

import errno
import pickle
import struct
from typing import TYPE_CHECKING, Any, NoReturn

from neuralib.persistence._bytes.sources import Source
from neuralib.persistence._codecs.pickles import NoFieldsError, announces_too_much
from neuralib.persistence._errors import (
    ContractError,
    CorruptResultError,
    NotAResultError,
    UntrustedTypeError,
    shown,
)
from neuralib.persistence._os_errors import explained
from neuralib.persistence._stores import system

if TYPE_CHECKING:
    from neuralib.persistence._stores.base import Store

# What readers raise on bytes that they can't make sense of. An ImportError or AttributeError is not among them: there
# the file is whole, and this environment lacks something. Nor is a MemoryError: a file that is taken for damaged may be
# replaced.
DAMAGE = (
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    OverflowError,
    struct.error,
    pickle.UnpicklingError,
)

FAILURES = (*DAMAGE, OSError, ImportError, AttributeError, MemoryError, NoFieldsError)


def raise_explained(error: Exception, store: Store, name: str, owner: str = "any persistence class") -> NoReturn:
    """Raise what *error*, which came of reading *name* in *store*, means for who asked for it."""
    if isinstance(error, (TypeError, AttributeError)):
        refuse_broken_source(store, name)
    place = store.location(name)
    if isinstance(error, NoFieldsError):
        raise NotAResultError(owner, place, str(error)) from error
    if isinstance(error, UntrustedTypeError):
        raise UntrustedTypeError(place, error.kind) from error
    if isinstance(error, DAMAGE):
        raise CorruptResultError(place, f"{type(error).__name__}: {error}") from error
    if isinstance(error, OSError):
        if error.errno == errno.EINVAL and (special := endless_kind(store, name)):
            raise CorruptResultError(place, special) from error
        if error.errno == errno.EISDIR:
            raise IsADirectoryError(errno.EISDIR, "is a folder, not a file with a result", place) from error
        raise explained(error, "reading a result", place) from error
    if isinstance(error, MemoryError):
        if _announces_too_much(store, name):
            raise CorruptResultError(place, "a value in it would be longer than the file") from error
        error.add_note(f"while loading {place}: it needs more memory than there is, or is damaged")
        raise error
    error.add_note(f"while loading {place}: the file needs something that can't be imported here")
    raise error


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
