"""A folder of files as a store: the only module that writes files.

A draft has no name while it is written, where the file system can do that (Linux: ``O_TMPFILE``), so that a killed
process leaves nothing behind. Elsewhere it is a file with a hidden name that no reader looks at. Publishing it is one
system call: a hard link, which fails where the name is taken, or a rename, which replaces what has the name.
"""

from __future__ import annotations

import errno
import functools
import os
import shutil
import stat
import sys
import time
from pathlib import Path
from pickle import PickleBuffer
from typing import TYPE_CHECKING

from neuralib.persistence import _core

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

_SPILL_BYTES = 1 << 20  # below this a draft is written in one system call
_MOST_BYTES_A_WRITE = 1 << 30  # Linux takes 2 GiB - 4 KiB in one call, macOS and Windows fail above 2 GiB - 1
_TMPFILE: int = getattr(os, "O_TMPFILE", 0)
_WRITE = os.O_WRONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
_LINKS_LACK = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.EACCES}
_UNNAMED_LACK = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS}
_STALE_CLAIM_S = 10.0

LEFTOVER_PREFIX = ".neuralib-draft-"
"""How the hidden names of drafts begin."""


def _explained(error: OSError, doing: str, path: str) -> OSError:
    """Return *error* with the path and the operation, of the same class."""
    if error.errno is None:
        return error
    return OSError(error.errno, f"{os.strerror(error.errno)}, while {doing}", path)


class FolderStore:
    """The files of one folder, which is made when the first result is saved.

    :param root: the folder
    :param durable: let a publication return only when it would survive a loss of power
    """

    __slots__ = ("durable", "root")

    def __init__(self, root: str, *, durable: bool = False) -> None:
        self.root = root or os.curdir
        self.durable = durable

    def path(self, name: str) -> str:
        """Return the path of *name*."""
        root = self.root
        return root + name if root.endswith(("/", os.sep)) else f"{root}/{name}"

    def draft(self) -> FolderDraft:
        """Return a new draft; the disk is not touched before it has a megabyte, or is published."""
        return FolderDraft(self)

    def draft_by_hook(self, write: Callable[[Path], None], name: str) -> HookDraft:
        """Return the draft that *write* makes at the path that it is given, whose last part is *name*."""
        return HookDraft(self, write, name)

    def names(self) -> list[str]:
        """Return the names of all files, leftovers of killed processes excluded."""
        try:
            return [it for it in os.listdir(self.root) if not it.startswith(LEFTOVER_PREFIX)]
        except FileNotFoundError:
            return []

    def highest(self, head: str, tail: str) -> int:
        """Return the highest number between *head* and *tail* in the names of the folder, or -1."""
        try:
            return _core.highest_number(self.root, head, tail)
        except FileNotFoundError:
            return -1

    def stamp(self) -> int | None:
        """Return the time of the folder's last change, or None where it is not there."""
        try:
            return _core.folder_stamp(self.root)
        except FileNotFoundError:
            return None

    def has(self, name: str) -> bool:
        """Return whether there is something under *name*, a broken link included."""
        return os.path.lexists(self.path(name))

    def refuse_special(self, name: str) -> os.stat_result | None:
        """Raise an error where *name* is something that a result must not replace: a folder, a pipe, a device.

        :return: what is there, or None
        """
        path = self.path(name)
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return None
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, "is a folder, so no result can be saved under this name", path)
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
            raise FileExistsError(errno.EEXIST, "is no regular file, and is not replaced: remove it first", path)
        return found


class FolderDraft:
    """A file that has no name yet, or a hidden one."""

    __slots__ = ("_chunks", "_fd", "_finished", "_hidden", "_pending", "_store")

    def __init__(self, store: FolderStore) -> None:
        self._store = store
        self._chunks: list[Buffer] = []
        self._pending = 0  # bytes in _chunks
        self._fd = -1
        self._finished = False  # every byte is in the file
        self._hidden: str | None = None  # the path of the hidden name, where the file has one

    def write(self, data: Buffer, /) -> int:
        """Add *data*, which must not change before the draft is published; return its size in bytes."""
        if isinstance(data, bytes):
            size = len(data)
        else:
            # The memory as it lies there: a pickler passes large arrays uncopied, in their own order.
            data = data.raw() if isinstance(data, PickleBuffer) else memoryview(data).cast("B")
            size = data.nbytes
        self._chunks.append(data)
        self._pending += size
        if self._pending > _SPILL_BYTES:
            self._flush()
        return size

    def _flush(self) -> None:
        if self._fd < 0:
            self._open()
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else None
        try:
            if data is None and self._pending <= _SPILL_BYTES:
                data = b"".join(chunks)
            if data is not None:
                _write_all(self._fd, data)
            else:
                for chunk in chunks:
                    _write_all(self._fd, chunk)
        except OSError as error:
            raise _explained(error, "writing a result into the folder", self._store.root) from error
        chunks.clear()
        self._pending = 0

    def _open(self) -> None:
        try:
            self._open_here()
        except FileNotFoundError:
            os.makedirs(self._store.root, exist_ok=True)
            self._open_here()

    def _open_here(self) -> None:
        root = self._store.root
        if _TMPFILE and _proc_is_there():
            try:
                self._fd = os.open(root, _TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
            except OSError as error:
                if error.errno not in _UNNAMED_LACK:
                    raise
            else:
                return
        # 64 random bits, and O_EXCL: no two processes or machines share a name.
        hidden = self._store.path(f"{LEFTOVER_PREFIX}{os.urandom(8).hex()}")
        self._fd = os.open(hidden, _WRITE | os.O_CREAT | os.O_EXCL, 0o666)
        self._hidden = hidden

    def publish_new(self, name: str) -> None:
        """Give the file *name*, unless the name is taken.

        :raises FileExistsError: the name is taken: nothing was changed
        """
        self._finish_writing()
        target = self._store.path(name)
        if self._hidden is None:
            self._link_unnamed(target)
            self._close(after_publication=True)
        else:
            self._publish_hidden(target)
        self._sync_folder()

    def publish_over(self, name: str) -> None:
        """Give the file *name*, in place of a file or link of that name."""
        found = self._store.refuse_special(name)
        self._finish_writing()
        target = self._store.path(name)
        if found is not None and stat.S_ISREG(found.st_mode):
            self._keep_mode(found.st_mode)
        if self._hidden is None:
            hidden = self._store.path(f"{LEFTOVER_PREFIX}{os.urandom(8).hex()}")
            self._link_unnamed(hidden)
            self._hidden = hidden
        self._close()
        try:
            os.replace(self._hidden, target)
        except OSError as error:
            raise _explained(error, "giving the result its name", target) from error
        self._hidden = None
        self._sync_folder()

    def discard(self) -> None:
        """Close the file, and remove its hidden name if it has one."""
        self._chunks.clear()
        self._close(after_publication=True)
        hidden, self._hidden = self._hidden, None
        if hidden is not None:
            try:
                os.unlink(hidden)
            except OSError:
                pass  # what can't be removed now is invisible, and is swept once it is stale

    def _finish_writing(self) -> None:
        if self._finished:
            return  # published once already, in vain: the name was taken
        if self._chunks or self._fd < 0:
            if not self._chunks:
                self._chunks.append(b"")
            self._flush()
        if self._store.durable:
            try:
                os.fsync(self._fd)
            except OSError as error:
                raise _explained(error, "writing a result through to the disk", self._store.root) from error
        if self._hidden is not None:
            self._close()  # network file systems report a full disk only now
        self._finished = True

    def _close(self, *, after_publication: bool = False) -> None:
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            os.close(fd)
        except InterruptedError:
            pass  # the descriptor is gone all the same
        except OSError as error:
            if not after_publication:
                raise _explained(error, "closing a result", self._store.root) from error

    def _keep_mode(self, mode: int) -> None:
        file = self._fd if self._hidden is None else self._hidden
        try:
            os.chmod(file, stat.S_IMODE(mode))
        except OSError:
            pass  # a file system without modes

    def _link_unnamed(self, target: str) -> None:
        # The descriptor of the folder is not used for an absolute path; giving one makes Python call linkat(2), which
        # follows the link under /proc.
        try:
            os.link(f"/proc/self/fd/{self._fd}", target, src_dir_fd=self._fd, follow_symlinks=True)
        except FileExistsError:
            raise
        except OSError as error:
            if _same_file(os.fstat(self._fd), target):
                return  # reported as failed, and done all the same
            raise _explained(error, "giving the result its name", target) from error

    def _publish_hidden(self, target: str) -> None:
        hidden = self._hidden
        assert hidden is not None
        try:
            _rename_exclusively(hidden, target)
        except OSError as error:
            if isinstance(error, FileExistsError):
                raise
            raise _explained(error, "giving the result its name", target) from error
        self._hidden = None

    def _sync_folder(self) -> None:
        if self._store.durable:
            sync_folder(self._store.root)


class HookDraft:
    """Files that a function writes by path, in a hidden folder of their own beside the target.

    The function sees the final name as the last part of its path, and may write further files beside it: they are
    published under their own names, once the one that counts is.
    """

    __slots__ = ("_hidden", "_store")

    def __init__(self, store: FolderStore, write: Callable[[Path], None], name: str) -> None:
        self._store = store
        self._hidden = hidden = store.path(f"{LEFTOVER_PREFIX}{os.urandom(8).hex()}")
        os.makedirs(store.root, exist_ok=True)
        os.mkdir(hidden)
        try:
            write(Path(hidden, name))
            if not os.path.lexists(f"{hidden}/{name}"):
                written = ", ".join(sorted(os.listdir(hidden))) or "nothing"
                raise FileNotFoundError(
                    errno.ENOENT, f"_save_persistence did not write the file of this name (it wrote {written})", name
                )
            if store.durable:
                for file in os.listdir(hidden):
                    sync_file(f"{hidden}/{file}")
        except BaseException:
            self.discard()
            raise

    def write(self, data: Buffer, /) -> int:
        """Not for this kind of draft: its function wrote it."""
        raise TypeError("the files of this draft were written by a function")

    def publish_new(self, name: str) -> None:
        """Give the file *name*, unless the name is taken.

        :raises FileExistsError: the name is taken: nothing was changed
        """
        _rename_exclusively(f"{self._hidden}/{name}", self._store.path(name))
        self._publish_others()

    def publish_over(self, name: str) -> None:
        """Give the file *name*, in place of a file or link of that name."""
        self._store.refuse_special(name)
        os.replace(f"{self._hidden}/{name}", self._store.path(name))
        self._publish_others()

    def _publish_others(self) -> None:
        for file in os.listdir(self._hidden):
            os.replace(f"{self._hidden}/{file}", self._store.path(file))
        if self._store.durable:
            sync_folder(self._store.root)

    def discard(self) -> None:
        """Remove the hidden folder and what is left in it."""
        hidden, self._hidden = self._hidden, ""
        if hidden:
            shutil.rmtree(hidden, ignore_errors=True)


def sync_file(path: str) -> None:
    """Write the content of the file *path* through to the disk."""
    fd = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(path: str) -> None:
    """Write the names in the folder *path* through to the disk (Windows does that by itself)."""
    if sys.platform == "win32":
        return
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        raise _explained(error, "writing the folder through to the disk", path) from error
    finally:
        os.close(fd)


def _write_all(fd: int, data: Buffer) -> None:
    view = memoryview(data).cast("B")
    if len(view) <= _MOST_BYTES_A_WRITE:
        written = os.write(fd, view)
        if written == len(view):
            return
        view = view[written:]
    while view:
        view = view[os.write(fd, view[:_MOST_BYTES_A_WRITE]) :]


@functools.cache  # what is mounted there does not change under a running program
def _proc_is_there() -> bool:
    return os.path.exists("/proc/self/fd")


def _same_file(mine: os.stat_result, path: str) -> bool:
    try:
        there = os.lstat(path)
    except OSError:
        return False
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def _rename_exclusively(hidden: str, target: str) -> None:
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
        if not _same_file(mine, target):
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from error
            if error.errno not in _LINKS_LACK:
                raise
            _rename_under_claim(hidden, target)
            return
    os.unlink(hidden)


def _rename_under_claim(hidden: str, target: str) -> None:
    """Do the same where there are no hard links: whoever creates the claim file may rename."""
    folder, name = os.path.split(target)
    claim = f"{folder}/{LEFTOVER_PREFIX}claim-{name}"[: len(folder) + 200]
    deadline = time.monotonic() + _STALE_CLAIM_S
    while True:
        try:
            os.close(os.open(claim, _WRITE | os.O_CREAT | os.O_EXCL, 0o666))
            break
        except FileExistsError:
            if time.monotonic() > deadline:
                os.unlink(claim)  # of a killed process: a live one holds it for two system calls
                deadline = time.monotonic() + _STALE_CLAIM_S
            time.sleep(0.001)
    try:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        os.rename(hidden, target)
    finally:
        os.unlink(claim)
