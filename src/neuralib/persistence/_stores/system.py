"""System calls as a folder of results needs them: complete writes, exclusive names, and errors that say where."""

from __future__ import annotations

import errno
import functools
import os
import stat
import sys
from typing import TYPE_CHECKING

from neuralib.persistence import _disk
from neuralib.persistence._os_errors import explained, explaining
from neuralib.persistence._stores.base import LEFTOVER_PREFIX

if TYPE_CHECKING:
    from typing_extensions import Buffer

FOLDER: int = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
"""The flags that open a folder, to look at it."""

TMPFILE: int = getattr(os, "O_TMPFILE", 0)
"""The flag that opens a file without a name, where there is one (Linux)."""

_MOST_BYTES_A_WRITE = 1 << 30  # Linux takes 2 GiB - 4 KiB in one call, macOS and Windows fail above 2 GiB - 1
_CREATE = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
)
_UNNAMED = os.O_RDWR | getattr(os, "O_CLOEXEC", 0)
_UNNAMED_LACK = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS}
_SYNCFS_TELLS_SINCE = (5, 8)  # of Linux: before, syncfs(2) succeeded even where writing had failed


def home_expanded(path: str | os.PathLike[str]) -> str:
    """Return *path* as text, with the home folder in place of ``~``."""
    text = os.fspath(path)
    return os.path.expanduser(text) if text.startswith("~") else text


def absolute(path: str | os.PathLike[str]) -> str:
    """Return the absolute path of *path*, with the home folder in place of ``~``.

    :raises OSError: the system has no such path, as it contains a NUL character, or one without bytes in its encoding; or it is
        relative, and the current folder was removed
    """
    found = home_expanded(path) or os.curdir
    try:
        found = os.path.abspath(found)
    except OSError as error:
        raise explained(error, "finding the current folder, from which the path starts", found) from error
    if not found.isascii() or "\0" in found:
        try:
            if b"\0" in os.fsencode(found):
                raise ValueError("embedded null character")
        except ValueError as error:
            raise OSError(errno.EINVAL, f"no file or folder can have such a path ({error})", found) from error
    return found


def joined(folder: str, name: str) -> str:
    """Return the path of *name* in *folder*."""
    return f"{folder}{name}" if folder.endswith(("/", os.sep)) else f"{folder}/{name}"


def hidden_path(folder: str) -> str:
    """Return a path in *folder* that no reader looks at: 64 random bits, which no two processes or machines share."""
    return joined(folder, f"{LEFTOVER_PREFIX}{os.urandom(8).hex()}")


def remove(path: str) -> None:
    """Remove the file *path*, as far as the system lets it be removed."""
    try:
        os.unlink(path)
    except OSError:
        pass  # what can't be removed now is invisible, and is swept once it is stale


def walked(top: str) -> list[tuple[str, list[str]]]:
    """Return each folder in *top*, itself last, with the names of the files in it; a link is a file.

    Not by :func:`os.walk`: Python 3.12 may crash where Ctrl-C comes in it. It takes the place that a loop jumps back to for
    one within the ``with`` before (python/cpython#108214).
    """
    folders: list[str] = []
    files: list[str] = []
    for name in os.listdir(top):
        kind = folders if stat.S_ISDIR(os.lstat(f"{top}/{name}").st_mode) else files
        kind.append(name)
    return [*(each for name in folders for each in walked(f"{top}/{name}")), (top, files)]


def publish_whole(
    folder: str,
    target: str,
    data: bytes,
    stamped: bool = False,
    expected: _disk.Stamp | None = None,
    held: _disk.OpenFile | None = None,
    makes_folder: bool = False,
) -> _disk.Stamp | None:
    """Make the new file *target* in *folder* with the content *data*, in the few calls that take the least time.

    :param stamped: return the folder's stamp after it
    :param expected: with *stamped*: what must hold of the folder before; ``_disk.CHANGED`` is returned where it does not
    :param held: *folder*, where it is kept open
    :param makes_folder: without *stamped*: make *folder* if it is not there
    :return: None where the system or the folder can't do it so. Nothing was changed in the last two cases
    :raises FileExistsError: the name is taken
    """
    if not TMPFILE or not _proc_is_there():
        return None
    try:
        return _disk.publish_unnamed(folder, target, data, stamped, expected, held, makes_folder)
    except FileExistsError:
        raise
    except OSError as error:
        doing = "giving the result its name" if error.filename == target else "writing a result into the folder"
        raise explained(error, doing, error.filename) from error


def write_unnamed(folder: str, data: bytes) -> _disk.OpenFile | None:
    """Return a new file in *folder*, open, that has no name and the content *data*, in the few calls that take the least time.

    :return: None where the system or the folder can't do it so: nothing was changed
    """
    return _disk.write_unnamed(folder, data) if TMPFILE and _proc_is_there() else None


def open_unnamed(folder: str) -> _disk.OpenFile | None:
    """Open a new file in *folder* that has no name; None where there are no such files."""
    if TMPFILE and _proc_is_there():
        try:
            return _disk.OpenFile(folder, TMPFILE | _UNNAMED, 0o666)
        except OSError as error:
            if error.errno not in _UNNAMED_LACK:
                raise
    return None


def create(path: str) -> _disk.OpenFile:
    """Create and open the file *path*, which must not be there."""
    return _disk.OpenFile(path, _CREATE, 0o666)


def refuse_special(path: str) -> os.stat_result | None:
    """Raise an error where *path* is something that a result must not replace: a folder, a pipe, a device.

    :return: what is there, or None
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise explained(error, "looking for a former result", path) from error
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder, so no result can be saved under this name", path)
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
        raise FileExistsError(errno.EEXIST, "is no regular file, and is not replaced: remove it first", path)
    return found


def is_there(path: str) -> bool:
    """Return whether there is something at *path*, a broken link included.

    :raises OSError: that can't be found out, which :func:`os.path.lexists` takes for no
    """
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def endless_kind(path: str) -> str | None:
    """Return what *path* is if reading it may never end: a pipe or a device; None where it is a file, a folder, nothing."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return None
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "it is a pipe or a device, not a file"


def sync_open(fd: int) -> None:
    """Write the content of the file that is open as *fd* through to the disk."""
    if sys.platform == "darwin":
        import fcntl

        try:
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # fsync(2) stops at the disk's own memory there
        except OSError as error:
            if error.errno not in {errno.ENOTSUP, errno.EINVAL, errno.ENOTTY}:
                raise
        else:
            return
    os.fsync(fd)


def sync_file(path: str) -> None:
    """Write the content of the file *path* through to the disk."""
    how = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY | os.O_CLOEXEC  # files may be read-only
    _sync(path, how, "writing a result through to the disk")


def sync_all(path: str) -> None:
    """Write the file *path*, or the folder and all that is in it, through to the disk."""
    if not os.path.isdir(path):
        sync_file(path)
        return
    for folder, files in walked(path):
        for file in files:
            sync_file(f"{folder}/{file}")
        sync_folder(folder)


def sync_folder(path: str) -> os.stat_result | None:
    """Write the names in the folder *path* through to the disk (Windows does that by itself).

    :return: what the folder is
    """
    if sys.platform == "win32":
        return None
    return _sync(path, os.O_RDONLY | os.O_CLOEXEC, "writing the folder through to the disk")


def _sync(path: str, how: int, doing: str) -> os.stat_result:
    with explaining(doing, path):
        opened = _disk.OpenFile(path, how)
        try:
            sync_open(opened.fd)
            return os.fstat(opened.fd)
        finally:
            opened.close()


# The folders, by device and inode, whose own names are on the disk. Shared by all threads: a lost or doubled entry only
# costs another wait.
_settled: set[tuple[int, int]] = set()
_MOST_SETTLED = 1000


def sync_names(folder: str) -> None:
    """Write the names in *folder*, and at the first time those that lead to it, through to the disk."""
    info = sync_folder(folder)
    above = os.path.abspath(folder)
    try:
        while info is not None and not _is_settled(info) and not os.path.ismount(above):
            settled = info
            above = os.path.dirname(above)
            info = sync_folder(above)
            _settled.add((settled.st_dev, settled.st_ino))
    except PermissionError:
        pass  # made by somebody else, long ago


def _is_settled(info: os.stat_result) -> bool:
    if len(_settled) >= _MOST_SETTLED:
        _settled.clear()
    return (info.st_dev, info.st_ino) in _settled


def sync_file_system(folder: str) -> bool:
    """Write all of the file system that *folder* is on through to the disk.

    :return: False where the system can't, or would not tell that it failed
    """
    if not _syncfs_tells():
        return False
    with explaining("writing the file system of the folder through to the disk", folder):
        opened = _disk.OpenFile(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if not _disk.sync_file_system(opened.fd):
                return False
            info = os.fstat(opened.fd)
            _settled.add((info.st_dev, info.st_ino))
            return True
        finally:
            opened.close()


@functools.cache
def _syncfs_tells() -> bool:
    import re

    found = re.match(r"(\d+)\.(\d+)", os.uname().release) if sys.platform == "linux" else None
    return found is not None and (int(found[1]), int(found[2])) >= _SYNCFS_TELLS_SINCE


def make_folder(path: str, *, durable: bool) -> None:
    """Make the folder *path*, and those above it that are not there.

    :param durable: write their names through to the disk
    """
    missing = []
    try:
        above = os.path.abspath(path)
        while not os.path.isdir(above) and os.path.dirname(above) != above:
            missing.append(above)
            above = os.path.dirname(above)
        os.makedirs(path, exist_ok=True)
    except FileExistsError as error:  # not to be taken for the name of a result that is taken
        problem = f"{os.strerror(errno.ENOTDIR)}, while making the folder"
        raise NotADirectoryError(errno.ENOTDIR, problem, path) from error
    except OSError as error:
        raise explained(error, "making the folder", path) from error
    if durable:
        for folder in missing:
            sync_folder(os.path.dirname(folder))


def write_all(fd: int, data: Buffer) -> None:
    written = 0
    if type(data) is bytes and len(data) <= _MOST_BYTES_A_WRITE:
        written = os.write(fd, data)
        if written == len(data):
            return
    view = memoryview(data).cast("B")[written:]
    while view:
        view = view[os.write(fd, view[:_MOST_BYTES_A_WRITE]) :]


@functools.cache  # what is mounted there does not change under a running program
def _proc_is_there() -> bool:
    return os.path.exists("/proc/self/fd")
