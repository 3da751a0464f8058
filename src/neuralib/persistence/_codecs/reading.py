"""Opening files to read them; what that can fail with, and what each failure means for who asked for the file."""

from __future__ import annotations

import errno
import os
import pickle
import stat
import struct
from typing import TYPE_CHECKING, NoReturn, TypeVar

from neuralib.persistence import _disk
from neuralib.persistence._errors import CorruptResultError, UntrustedTypeError
from neuralib.persistence._stores.system import endless_kind, explained

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
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

FAILURES = (*DAMAGE, OSError, ImportError, AttributeError, MemoryError)


def opened(path: str, use: Callable[[int], T]) -> T:
    """Return what *use* makes of the descriptor of the file *path*, which is closed afterwards."""
    file = _disk.OpenFile(path, _READ)
    try:
        return use(file.fd)
    finally:
        file.close()


def refuse_special_file(fd: int) -> int:
    """Return the size of the file that is open as *fd*; raise an error where it is no regular file."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL, "no regular file")
    return found.st_size


def raise_explained(error: Exception, path: str) -> NoReturn:
    """Raise what *error*, which came of reading the file *path*, means for who asked for it."""
    if isinstance(error, UntrustedTypeError):
        raise UntrustedTypeError(path, error.kind) from error
    if isinstance(error, DAMAGE):
        raise CorruptResultError(path, endless_kind(path) or f"{type(error).__name__}: {error}") from error
    if isinstance(error, OSError):
        if error.errno == errno.EINVAL and (special := endless_kind(path)):
            raise CorruptResultError(path, special) from error
        if error.errno == errno.EISDIR:
            raise IsADirectoryError(errno.EISDIR, "is a folder, not a file with a result", path) from error
        raise explained(error, "reading a result", path) from error
    if isinstance(error, MemoryError):
        if _announces_too_much(path):
            raise CorruptResultError(path, "a value in it would be longer than the file") from error
        error.add_note(f"while loading {path}: it needs more memory than there is, or is damaged")
        raise error
    error.add_note(f"while loading {path}: the file needs something that can't be imported here")
    raise error


def _announces_too_much(path: str) -> bool:
    """Return whether the pickle at *path* has a length in it that goes beyond its end; False where that can't be known."""
    import mmap
    import pickletools

    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            if mapped[:1] != pickle.PROTO:
                return False  # compressed, which has a checksum, or another format
            for _ in pickletools.genops(mapped):  # type: ignore[arg-type]  # it reads as a file does
                pass
    except ValueError:
        return True
    except (OSError, MemoryError):
        pass
    return False
