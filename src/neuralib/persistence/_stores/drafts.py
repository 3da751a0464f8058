"""Files that are written before they get their name, in the folder where they will stay.

While it is written, a draft has no name if the file system supports that (``O_TMPFILE`` on Linux), so that a killed
process leaves nothing behind. Otherwise it has a hidden name that no reader looks at. Publishing it is one system call: a
hard link, which fails if the name is taken, or a rename, which replaces the file of that name.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any

from neuralib.persistence import _disk, _forks
from neuralib.persistence._os_errors import explained, explaining, explaining_any
from neuralib.persistence._stores import exclusive, system
from neuralib.persistence._stores.leftovers import OpenFolder
from neuralib.persistence._stores.system import joined

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

_READ_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_PERMISSIONS = 0o777
_SPILL_BYTES = 1 << 20  # below this a draft is written in one system call


class FolderDraft:
    """A file that has no name yet, or a hidden one.

    :param folder: the folder of the file; both are made when they are needed, at the latest when it is published
    :param durable: write it through to the disk before it is published
    """

    def __init__(self, folder: str, *, durable: bool = False) -> None:
        self._folder = folder
        self._process: object = None  # the process whose file it is
        self.durable = durable
        self._chunks: list[Buffer] = []
        self._pending = 0  # bytes in _chunks
        self.size = 0
        self._file: _disk.OpenFile | None = None
        self._finished = False  # every byte is in the file
        self._hidden: str | None = None  # the path of the hidden name, where the file has one
        self._made: Any = None  # the status (os.stat_result) of the closed file with a hidden name
        self._published: str | None = None  # the path under which it was published
        self._status: tuple[int | None, int] | None = None  # see set_status

    @property
    def has_hidden_name(self) -> bool:
        """Whether the file has a hidden name, so that making it changed the state of the folder."""
        return self._hidden is not None

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
        self.size += size
        if self._pending >= _SPILL_BYTES:
            self._flush()
        return size

    def reserve(self, size: int) -> None:
        """Tell the disk that *size* more bytes follow."""
        if self._pending:
            self._flush()
        _disk.reserve(self._opened().fd, self.size, size)

    def _flush(self) -> None:
        self._refuse_child()
        try:
            begins_small = self._file is None and self._pending < _SPILL_BYTES
            if begins_small:
                self._file = system.write_unnamed(self._folder, self._joined())
            if self._file is None or not begins_small:
                fd = self._opened().fd
                as_they_are = len(self._chunks) == 1 or self._pending > 2 * _SPILL_BYTES
                for chunk in self._chunks if as_they_are else [self._joined()]:
                    self._refuse_child()
                    system.write_all(fd, chunk)
        except OSError as error:
            raise explained(error, "writing a result into the folder", self._folder) from error
        self._chunks.clear()
        self._pending = 0

    def _refuse_child(self) -> None:
        """Raise an error where the file is that of the process that this one was forked from: both would write into it.

        :raises RuntimeError: it is
        """
        if self._file is None and self._hidden is None:
            self._process = _forks.this_process  # which may make the file now
        elif self._process is not _forks.this_process:
            raise _of_parent(self._folder)

    def _joined(self) -> bytes:
        """Return what is pending."""
        chunks = self._chunks
        return chunks[0] if len(chunks) == 1 and type(chunks[0]) is bytes else b"".join(chunks)

    def _opened(self) -> _disk.OpenFile:
        self._refuse_child()
        if self._file is not None:
            return self._file
        with explaining("making a file in the folder", self._folder):
            self._file = self._in_folder(self._open_here)
        return self._file

    def _in_folder(self, opening: Callable[[], _disk.OpenFile]) -> _disk.OpenFile:
        """Return what *opening* opens in the folder, which is made if it is not there."""
        try:
            return opening()
        except FileNotFoundError:
            system.make_folder(self._folder, durable=self.durable)
            return opening()

    def _open_here(self) -> _disk.OpenFile:
        file = system.open_unnamed(self._folder)
        return self._open_hidden() if file is None else file

    def _open_hidden(self) -> _disk.OpenFile:
        self._hidden = system.hidden_path(self._folder)  # noted before it is there: Ctrl-C may come in between
        return system.create(self._hidden)

    def set_status(self, mode: int | None, time_ns: int) -> None:
        """Give the file the permissions of *mode*, and a time, before it has a name. Nothing may be written afterwards.

        File systems that keep none, or don't let this user set them, give the file their own.

        :param mode: None for those of a new file
        :param time_ns: of the last change, in nanoseconds since 1970
        """
        self._status = mode, time_ns
        if self._chunks:
            self._flush()
        self._keep_status()

    def _keep_status(self) -> None:
        if self._status is not None:
            mode, time_ns = self._status
            fd = self._opened().fd
            if mode is not None:
                with suppress(OSError):
                    os.chmod(fd if os.chmod in os.supports_fd else self._hidden or fd, mode & _PERMISSIONS)
            with suppress(OSError):  # that it was accessed just now keeps its hidden name from being swept
                os.utime(fd if os.utime in os.supports_fd else self._hidden or fd, ns=(time.time_ns(), time_ns))

    def finish(self) -> None:
        """Write what is pending, and through to the disk where the draft is durable."""
        self._refuse_child()
        if self._finished:
            return  # publishing it under another name failed before
        if self._chunks or self._file is None:
            if not self._chunks:
                self._chunks.append(b"")
            self._flush()
        if self.durable:
            self.sync()
        if self._hidden is not None:
            self._close()  # network file systems report a full disk only now
        self._finished = True

    def sync(self) -> None:
        """Write the finished file, published or not, through to the disk."""
        with explaining("writing a result through to the disk", self._folder):
            if self._file is not None:
                system.sync_open(self._file.fd)
            elif self._hidden is not None:
                system.sync_file(self._hidden)
            elif self._published is not None:
                system.sync_file(self._published)

    def publish_new(self, name: str) -> None:
        """Give the file *name*, unless the name is taken.

        :raises FileExistsError: the name is taken: nothing was changed
        """
        target = joined(self._folder, name)
        is_small = self._file is None and not self._finished and not self.durable  # nothing was written yet
        if is_small and system.publish_whole(self._folder, target, self._joined()) is not None:
            self._published = target
            return
        self.finish()
        if self._hidden is None:
            assert self._file is not None
            if self._linked(target):
                self._close()
            else:
                self._copy_to_hidden()
        if self._hidden is not None:
            self._publish_hidden(target)
        self._published = target
        if self.durable:
            system.sync_names(self._folder)

    def publish_over(self, name: str) -> None:
        """Give the file *name*, in place of a file or link of that name."""
        target = joined(self._folder, name)
        found = system.refuse_special(target)
        self.finish()
        kept = found if found is not None and stat.S_ISREG(found.st_mode) else None
        if self._file is not None and self._hidden is None:
            if kept is not None:  # nobody may open the new file who may not open the former one
                keep_mode(self._file.fd, kept)
            self._hidden = system.hidden_path(self._folder)
            if self._linked(self._hidden):
                kept = None  # done
            else:
                self._copy_to_hidden()
        if kept is not None:
            self._keep_mode(kept)
        self._close()
        assert self._hidden is not None
        with explaining("giving the result its name", target):
            exclusive.rename_over(self._hidden, target)
        self._hidden = None
        self._published = target
        if self.durable:
            system.sync_names(self._folder)

    def _linked(self, path: str) -> bool:
        """Give the file without name the name *path*; False where it can't get one."""
        assert self._file is not None
        try:
            return exclusive.link_unnamed(self._file.fd, path)
        except FileExistsError:
            raise
        except OSError as error:
            raise explained(error, "giving the result its name", path) from error

    def _copy_to_hidden(self) -> None:
        """Copy the file without a name, which can't get one here, to a file with a hidden name."""
        unnamed = self._file
        assert unnamed is not None
        try:
            with explaining("writing a result into the folder", self._folder):
                self._file = self._in_folder(self._open_hidden)
                os.lseek(unnamed.fd, 0, os.SEEK_SET)
                while part := os.read(unnamed.fd, _SPILL_BYTES):
                    system.write_all(self._file.fd, part)
                self._keep_status()
        finally:
            unnamed.close()
        if self.durable:
            self.sync()
        self._close()

    def discard(self) -> None:
        """Close the file, and remove its hidden name if it has one, but not that of a parent's file in a forked process."""
        if self._chunks:
            self._chunks.clear()
        if self._file is not None:
            try:
                self._close()
            except OSError:
                pass  # nobody needs what was written
        if self._hidden is not None:
            if self._process is _forks.this_process:
                system.remove(self._hidden)
            self._hidden = None

    def __del__(self) -> None:
        if hasattr(self, "_hidden"):  # else Ctrl-C came while it was made
            self.discard()  # Ctrl-C may have kept the caller from it

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        try:
            if self._hidden is not None:
                self._made = os.fstat(file.fd)
            file.close()
        except InterruptedError:
            pass  # the descriptor is gone all the same
        except OSError as error:
            raise explained(error, "closing a result in the folder", self._folder) from error

    def _keep_mode(self, found: os.stat_result) -> None:
        assert self._hidden is not None
        if self._file is not None or os.chmod not in os.supports_fd:
            keep_mode(self._hidden if self._file is None else self._file.fd, found)
            return
        try:
            file = _disk.OpenFile(self._hidden, _READ_FLAGS)
            if os.path.samestat(os.fstat(file.fd), self._made):  # else somebody put another file in its place
                keep_mode(file.fd, found)
            file.close()
        except OSError:
            pass  # the same as of a file system without modes

    def _publish_hidden(self, target: str) -> None:
        hidden = self._hidden
        assert hidden is not None
        with explaining("giving the result its name", target):
            exclusive.rename_exclusively(hidden, target)
        self._hidden = None


def keep_mode(file: int | str, found: os.stat_result) -> None:
    """Give *file* the permissions of *found*, which it replaces, if that file belongs to this user."""
    if not hasattr(os, "geteuid") or found.st_uid == os.geteuid():
        try:
            os.chmod(file, found.st_mode & _PERMISSIONS)
        except OSError:
            pass  # a file system without modes


def replace_whole(folder: str, target: str, data: bytes, mode: int, owner: int) -> None:
    """Write the small content *data* to *target* in *folder*, and replace the file of that name in one step.

    :param mode: the permissions that the new file gets if *owner*, that of the file that has the name, is this user; -1
        for those of a new file
    :raises OSError: it can't be written; what is there is as it was
    """
    process = _forks.this_process
    hidden = system.hidden_path(folder)
    try:
        try:
            is_renamed = _disk.replace_file(hidden, target, data, mode, owner)
        except OSError as error:
            raise explained(error, "writing a result into the folder", folder) from error
        if not is_renamed:
            try:
                exclusive.rename_over(hidden, target)
            except OSError as error:
                raise explained(error, "giving the result its name", target) from error
    except BaseException:
        if process is _forks.this_process:
            system.remove(hidden)
        raise


def _of_parent(folder: str) -> RuntimeError:
    problem = "this process was forked while its parent was saving a result, which the parent alone goes on with"
    return RuntimeError(f"{problem}: save it again here, while writing into the folder: {folder}")


class HookDraft:
    """Files that a function writes by path, in a hidden folder of their own beside the target.

    The function sees the final name as the last part of its path, and may write further files beside it: they are
    published under their own names, once the one that counts is. The folder is in another hidden one, and both are kept
    open: see :mod:`~neuralib.persistence._stores.leftovers`.
    """

    def __init__(self, folder: str, write: Callable[[Path], None], name: str, *, durable: bool = False) -> None:
        self._folder = folder
        self._process = _forks.this_process
        self.durable = durable
        self._published: list[str] = []
        self._outside: OpenFolder | None = None  # the hidden folder
        self._inside: OpenFolder | None = None  # the one in it, in which the files are
        self._made: Any = None  # the status of the file that counts
        self._moved = ""  # its hidden path, on its way to its name
        hidden = system.hidden_path(folder)
        self._hidden = joined(hidden, os.path.basename(hidden))  # noted before it is there: Ctrl-C may come in between
        target = joined(folder, name)
        system.make_folder(folder, durable=durable)
        try:
            with explaining("making a folder for it in the folder", folder):
                with OpenFolder(folder) as around:
                    self._outside = around.make_folder(os.path.basename(hidden))
                self._inside = self._outside.make_folder(os.path.basename(hidden))
            with explaining_any("writing a result by _save_persistence", target):
                write(Path(self._hidden, name))
                names = self._inside.names()
                if name not in names:
                    written = ", ".join(sorted(names)) or "nothing"
                    problem = f"_save_persistence did not write the file of this name (it wrote {written})"
                    raise FileNotFoundError(errno.ENOENT, f"{problem}, while saving a result as", target)
        except BaseException:
            self.discard()
            raise

    has_hidden_name = True

    def write(self, data: Buffer, /) -> int:
        """Not for this kind of draft: its function wrote it."""
        raise TypeError("the files of this draft were written by a function")

    def reserve(self, size: int) -> None:
        """Nothing to do for this kind of draft."""

    @property
    def size(self) -> int:
        """The size of its files, in bytes."""
        with explaining("looking at what _save_persistence wrote for the folder", self._folder):
            return sum(
                os.lstat(f"{folder}/{file}").st_size for folder, files in system.walked(self._hidden) for file in files
            )

    @property
    def names(self) -> list[str]:
        """The names under which its files were published."""
        return [os.path.basename(path) for path in self._published]

    def finish(self) -> None:
        """Write the files through to the disk where the draft is durable."""
        if self.durable:
            self.sync()

    def sync(self) -> None:
        """Write the files, published or not, through to the disk."""
        with explaining("writing a result through to the disk", self._folder):
            for top in self._published or [self._hidden]:
                system.sync_all(top)

    def publish_new(self, name: str) -> None:
        """Give the file *name*, unless the name is taken.

        :raises FileExistsError: the name is taken: nothing was changed
        """
        self._publish(name, exclusive.rename_exclusively)

    def publish_over(self, name: str) -> None:
        """Give the file *name*, in place of a file or link of that name."""
        system.refuse_special(joined(self._folder, name))
        self._publish(name, exclusive.rename_over)

    def _publish(self, name: str, rename: Callable[[str, str], None]) -> None:
        if self._process is not _forks.this_process:
            raise _of_parent(self._folder)
        self.finish()
        target = joined(self._folder, name)
        inside = self._inside
        assert inside is not None
        beside = {}
        with explaining("looking at what _save_persistence wrote for", target):
            for each in inside.names():
                if each != name:
                    beside[each] = place = joined(self._folder, each)
                    system.refuse_special(place)
            if not self._moved:
                self._made = inside.stat(name)
                self._moved = system.hidden_path(self._folder)
                inside.move_out(name, self._moved)
        with explaining("giving the result its name", target):
            rename(self._moved, target)
        self._moved = ""
        self._published.append(target)
        for each, place in beside.items():
            with explaining("giving a file beside the result its name", place):
                inside.move_out(each, place)
            self._published.append(place)
        if self.durable:
            system.sync_names(self._folder)

    def discard(self) -> None:
        """Remove the hidden folders and what is left in them, but not those of a parent in a forked process."""
        if not self._hidden:
            return
        if self._process is _forks.this_process:
            self._remove_hidden()
        for opened in (self._inside, self._outside):
            if opened is not None:
                opened.close()
        self._hidden = self._moved = ""
        self._inside = self._outside = None

    def _remove_hidden(self) -> None:
        try:
            if self._moved:
                with OpenFolder(self._folder) as around:
                    around.remove(os.path.basename(self._moved), self._made)
        except OSError:
            pass  # the same as below
        try:
            if self._inside is not None:
                self._inside.empty()
            if self._outside is not None:
                self._outside.empty()
            os.rmdir(os.path.dirname(self._hidden))
        except OSError:
            pass  # what can't be removed now is invisible, and is swept once it is stale

    def __del__(self) -> None:
        if hasattr(self, "_hidden"):  # else Ctrl-C came while it was made
            self.discard()  # Ctrl-C may have kept the caller from it
