"""Files that are read: opened, the small ones read at once, and what is known of one."""

from __future__ import annotations

import errno
import os
import stat
import time

from neuralib.persistence import _disk
from neuralib.persistence._bytes.sources import BytesSource, FileSource, PooledSource, Source
from neuralib.persistence._stores.base import Stat

SMALL_BYTES = 1 << 16
"""A smaller file is read in one step."""

_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_TRIES, _PAUSE_S = 6000, 0.01  # 60 s: Linux ends a lease 45 s after its holder was told, unless it is set otherwise

_buffer_pool: list[bytearray] = []
"""Memory that files are read into. Threads take it and put it back, which lists allow without a lock."""


def open_file(path: str, *, to_map: bool = False) -> Source:
    """Return the content of the file *path*: read already where it is small.

    :param to_map: let it be an open file from :data:`SMALL_BYTES` on
    :raises OSError: there is none, it can't be read, or it is no regular file
    """
    try:
        data = _disk.read_small(path, SMALL_BYTES, None if to_map else _buffer_pool)
    except ValueError as error:
        raise no_file(path) from error
    if data is not None:
        return BytesSource(data) if type(data) is bytes else PooledSource(data, _buffer_pool)  # type: ignore[arg-type]
    return open_unread(path)


def open_unread(path: str) -> FileSource:
    """Return the content of the file *path*, of which nothing is read yet, so that it can be mapped into memory.

    :raises OSError: there is none, or it is no regular file
    """
    file = _opened(path)
    try:
        source = FileSource(file.fd, file)
        mode = os.fstat(file.fd).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, "no regular file", path)
    except BaseException:
        file.close()
        raise
    return source


def _opened(path: str) -> _disk.OpenFile:
    """Open the file *path* for reading, and wait for a program that has a lease of it, such as a server for SMB or NFS.

    The first try tells that program, which then writes what it has kept in memory. The system itself would only wait without
    ``O_NONBLOCK``, and then for a pipe as well.
    """
    for _ in range(_TRIES):
        try:
            return _disk.OpenFile(path, _READ)
        except BlockingIOError:
            time.sleep(_PAUSE_S)
    return _disk.OpenFile(path, _READ)


def no_file(path: str) -> FileNotFoundError:
    """Return the error for a path with characters that the system can't be told: no file can have it."""
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def stat_of_file(found: os.stat_result) -> Stat:
    """Return what is known of a file by its status *found*."""
    version = (found.st_ino, found.st_mtime_ns)
    created = getattr(found, "st_birthtime", None)
    return Stat(found.st_size, found.st_mtime, version, stat.S_ISREG(found.st_mode), created)
