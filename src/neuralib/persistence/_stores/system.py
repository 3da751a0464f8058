"""System calls as a folder of results needs them: complete writes, exclusive names, and errors that say where."""

from __future__ import annotations

import errno
import functools
import os
import stat
import sys
import time
from typing import TYPE_CHECKING

from neuralib.persistence import _core

if TYPE_CHECKING:
    from typing_extensions import Buffer

TMPFILE: int = getattr(os, "O_TMPFILE", 0)
"""The flag that opens a file without a name, where there is one (Linux)."""

LEFTOVER_PREFIX = ".neuralib-draft-"
"""How the hidden names of drafts begin."""

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
_LINKS_LACK = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.EACCES}
_UNNAMED_LACK = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS}
_STALE_CLAIM_S = 10.0


def explained(error: OSError, doing: str, path: str) -> OSError:
    """Return *error* with the path and the operation, of the same class."""
    if error.errno is None:
        return error
    return OSError(error.errno, f"{os.strerror(error.errno)}, while {doing}", path)


def joined(folder: str, name: str) -> str:
    """Return the path of *name* in *folder*."""
    return f"{folder}{name}" if folder.endswith(("/", os.sep)) else f"{folder}/{name}"


def hidden_path(folder: str) -> str:
    """Return a path in *folder* that no reader looks at: 64 random bits, which no two processes or machines share."""
    return joined(folder, f"{LEFTOVER_PREFIX}{os.urandom(8).hex()}")


def publish_whole(
    folder: str, target: str, data: bytes, *, stamped: bool = False, expected: int | None = None
) -> int | None:
    """Make the new file *target* in *folder* with the content *data*, in the few calls that take the least time.

    :param stamped: return the time of the folder's last change (see ``_core.folder_stamp``), -1 where it can't be had
    :param expected: with *stamped*: what that time must be before; ``_core.CHANGED`` is returned where it is another
    :return: None where the system or the folder can't do it so. Nothing was changed in the last two cases
    :raises FileExistsError: the name is taken
    """
    if not TMPFILE or not _proc_is_there():
        return None
    try:
        return _core.publish_unnamed(folder, target, data, stamped, expected)
    except FileExistsError:
        raise
    except OSError as error:
        doing = "giving the result its name" if error.filename == target else "writing a result into the folder"
        raise explained(error, doing, error.filename) from error


def open_unnamed(folder: str) -> _core.OpenFile | None:
    """Open a new file in *folder* that has no name; None where there are no such files."""
    if TMPFILE and _proc_is_there():
        try:
            return _core.OpenFile(folder, TMPFILE | _UNNAMED, 0o666)
        except OSError as error:
            if error.errno not in _UNNAMED_LACK:
                raise
    return None


def create(path: str) -> _core.OpenFile:
    """Create and open the file *path*, which must not be there."""
    return _core.OpenFile(path, _CREATE, 0o666)


def link_unnamed(fd: int, target: str) -> None:
    """Give the file without name that is open as *fd* the name *target*.

    :raises FileExistsError: the name is taken
    """
    # The descriptor of the folder is not used for an absolute path; giving one makes Python call linkat(2), which
    # follows the link under /proc.
    try:
        os.link(f"/proc/self/fd/{fd}", target, src_dir_fd=fd, follow_symlinks=True)
    except FileExistsError:
        raise
    except OSError as error:
        if not same_file(os.fstat(fd), target):  # else the answer was lost on the way, but the link is there
            raise explained(error, "giving the result its name", target) from error


def refuse_special(path: str) -> os.stat_result | None:
    """Raise an error where *path* is something that a result must not replace: a folder, a pipe, a device.

    :return: what is there, or None
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder, so no result can be saved under this name", path)
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
        raise FileExistsError(errno.EEXIST, "is no regular file, and is not replaced: remove it first", path)
    return found


def sync_file(path: str) -> None:
    """Write the content of the file *path* through to the disk."""
    file = _core.OpenFile(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(file.fd)
    finally:
        file.close()


def sync_folder(path: str) -> None:
    """Write the names in the folder *path* through to the disk (Windows does that by itself)."""
    if sys.platform == "win32":
        return
    folder = _core.OpenFile(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder.fd)
    except OSError as error:
        raise explained(error, "writing the folder through to the disk", path) from error
    finally:
        folder.close()


def sync_parents(path: str) -> None:
    """Write the names of the new folder *path* and of those above it through to the disk."""
    parent = os.path.dirname(os.path.abspath(path))
    while True:
        sync_folder(parent)
        above = os.path.dirname(parent)
        if above == parent or os.path.ismount(parent):
            return
        parent = above


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


def same_file(mine: os.stat_result, path: str) -> bool:
    try:
        there = os.lstat(path)
    except OSError:
        return False
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def rename_exclusively(hidden: str, target: str) -> None:
    """Rename *hidden* to *target* unless there is a *target*.

    A hard link is the one exclusive step that all POSIX file systems have; who won is seen by looking, because network
    file systems report a lost race as EPERM, or a success as a failure.
    """
    if sys.platform == "win32":
        os.rename(hidden, target)  # exclusive there
        return
    mine = os.lstat(hidden)
    try:
        os.link(hidden, target, follow_symlinks=False)
    except OSError as error:
        if not same_file(mine, target):
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from error
            if error.errno not in _LINKS_LACK:
                raise
            if not _core.rename_exclusively(hidden, target):
                _rename_under_claim(hidden, target)
            return
    os.unlink(hidden)


def _rename_under_claim(hidden: str, target: str) -> None:
    """Do the same where there are no hard links: whoever creates the claim file may rename."""
    folder, name = os.path.split(target)
    claim = joined(folder, f"{LEFTOVER_PREFIX}claim-{name}"[:200])
    mine = _claimed(claim)
    try:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        if not same_file(mine, claim):  # this process slept so long that another took the claim for a dead one's
            raise OSError(errno.EAGAIN, "another process took over", target)
        os.rename(hidden, target)
    finally:
        if same_file(mine, claim):
            os.unlink(claim)


def _claimed(claim: str) -> os.stat_result:
    """Create the file *claim* once nobody else has it; return what it is."""
    deadline = time.monotonic() + _STALE_CLAIM_S
    seen: os.stat_result | None = None
    while True:
        try:
            mine = create(claim)
        except FileExistsError:
            pass
        else:
            try:
                return os.fstat(mine.fd)
            finally:
                mine.close()
        if seen is None or not same_file(seen, claim):  # a live process holds it for a few system calls
            deadline = time.monotonic() + _STALE_CLAIM_S
            try:
                seen = os.lstat(claim)
            except FileNotFoundError:
                continue
        elif time.monotonic() > deadline:
            os.unlink(claim)  # of a killed process
        time.sleep(0.001)
