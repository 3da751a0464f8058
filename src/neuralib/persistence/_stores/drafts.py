"""Files on their way to a name, in the folder where they will stay.

A draft has no name while it is written, where the file system can do that (Linux: ``O_TMPFILE``), so that a killed
process leaves nothing behind. Elsewhere it is a file with a hidden name that no reader looks at. Publishing it is one
system call: a hard link, which fails where the name is taken, or a rename, which replaces what has the name.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from pickle import PickleBuffer
from typing import TYPE_CHECKING

from neuralib.persistence import _disk
from neuralib.persistence._os_errors import explained, explained_any
from neuralib.persistence._stores import exclusive, system

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

_SPILL_BYTES = 1 << 20  # below this a draft is written in one system call


class FolderDraft:
    """A file that has no name yet, or a hidden one.

    :param folder: where it is made, at the latest when it is published; the folder is made too
    :param durable: write it through to the disk before it is published
    """

    __slots__ = (
        "_chunks",
        "_file",
        "_finished",
        "_folder",
        "_hidden",
        "_pending",
        "_published",
        "_status",
        "durable",
        "size",
    )

    def __init__(self, folder: str, *, durable: bool = False) -> None:
        self._folder = folder
        self.durable = durable
        self._chunks: list[Buffer] = []
        self._pending = 0  # bytes in _chunks
        self.size = 0
        self._file: _disk.OpenFile | None = None
        self._finished = False  # every byte is in the file
        self._hidden: str | None = None  # the path of the hidden name, where the file has one
        self._published: str | None = None  # the path under which it was published
        self._status: tuple[int, tuple[int, int]] | None = None  # see set_status

    @property
    def has_hidden_name(self) -> bool:
        """Whether it is seen in the folder: making it changed the folder's state."""
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
        try:
            begins_small = self._file is None and self._pending < _SPILL_BYTES
            if begins_small:
                self._file = system.write_unnamed(self._folder, self._joined())
            if self._file is None or not begins_small:
                fd = self._opened().fd
                as_they_are = len(self._chunks) == 1 or self._pending > 2 * _SPILL_BYTES
                for chunk in self._chunks if as_they_are else [self._joined()]:
                    system.write_all(fd, chunk)
        except OSError as error:
            raise explained(error, "writing a result into the folder", self._folder) from error
        self._chunks.clear()
        self._pending = 0

    def _joined(self) -> bytes:
        """Return what is pending."""
        chunks = self._chunks
        return chunks[0] if len(chunks) == 1 and type(chunks[0]) is bytes else b"".join(chunks)

    def _opened(self) -> _disk.OpenFile:
        if self._file is not None:
            return self._file
        try:
            self._file = self._in_folder(self._open_here)
        except OSError as error:
            raise explained(error, "making a file in the folder", self._folder) from error
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

    def set_status(self, mode: int, times_ns: tuple[int, int]) -> None:
        """Give the file the permissions of *mode*, and times, before it has a name. Nothing may be written afterwards.

        :param times_ns: of the last access and the last change, in nanoseconds since 1970
        """
        self._status = mode, times_ns
        if self._chunks:
            self._flush()
        self._keep_status()

    def _keep_status(self) -> None:
        if self._status is not None:
            mode, times_ns = self._status
            fd = self._opened().fd
            try:
                os.chmod(fd if os.chmod in os.supports_fd else self._hidden or fd, mode & 0o777)
            except OSError:
                pass  # a file system without modes
            os.utime(fd if os.utime in os.supports_fd else self._hidden or fd, ns=times_ns)

    def finish(self) -> None:
        """Write what is pending, and through to the disk where the draft is durable."""
        if self._finished:
            return  # published once already, in vain: the name was taken
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
        try:
            if self._file is not None:
                system.sync_open(self._file.fd)
            elif self._hidden is not None:
                system.sync_file(self._hidden)
            elif self._published is not None:
                system.sync_file(self._published)
        except OSError as error:
            raise explained(error, "writing a result through to the disk", self._folder) from error

    def publish_new(self, name: str) -> None:
        """Give the file *name*, unless the name is taken.

        :raises FileExistsError: the name is taken: nothing was changed
        """
        target = system.joined(self._folder, name)
        is_small = self._file is None and not self._finished and not self.durable  # nothing was written yet
        if is_small and system.publish_whole(self._folder, target, self._joined()) is not None:
            self._published = target
            return
        if not self._finished:
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
        target = system.joined(self._folder, name)
        found = system.refuse_special(target)
        if not self._finished:
            self.finish()
        if found is not None and stat.S_ISREG(found.st_mode):
            self._keep_mode(found)
        if self._file is not None and self._hidden is None:
            self._hidden = system.hidden_path(self._folder)
            if not self._linked(self._hidden):
                self._copy_to_hidden()
        self._close()
        assert self._hidden is not None
        try:
            exclusive.rename_over(self._hidden, target)
        except OSError as error:
            raise explained(error, "giving the result its name", target) from error
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
        """Write what is in the file without name, which can't get one here, into a file with a hidden one."""
        unnamed = self._file
        assert unnamed is not None
        try:
            self._file = self._in_folder(self._open_hidden)
            os.lseek(unnamed.fd, 0, os.SEEK_SET)
            while part := os.read(unnamed.fd, _SPILL_BYTES):
                system.write_all(self._file.fd, part)
            self._keep_status()
        except OSError as error:
            raise explained(error, "writing a result into the folder", self._folder) from error
        finally:
            unnamed.close()
        if self.durable:
            self.sync()
        self._close()

    def discard(self) -> None:
        """Close the file, and remove its hidden name if it has one."""
        if self._chunks:
            self._chunks.clear()
        if self._file is not None:
            try:
                self._close()
            except OSError:
                pass  # nobody needs what was written
        if self._hidden is not None:
            system.remove(self._hidden)
            self._hidden = None

    def __del__(self) -> None:
        if hasattr(self, "_hidden"):  # else Ctrl-C came while it was made
            self.discard()  # what Ctrl-C may have kept it from

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.close()
        except InterruptedError:
            pass  # the descriptor is gone all the same
        except OSError as error:
            raise explained(error, "closing a result in the folder", self._folder) from error

    def _keep_mode(self, found: os.stat_result) -> None:
        file = self._file.fd if self._file is not None else self._hidden
        assert file is not None
        keep_mode(file, found)

    def _publish_hidden(self, target: str) -> None:
        hidden = self._hidden
        assert hidden is not None
        try:
            exclusive.rename_exclusively(hidden, target)
        except FileExistsError:
            raise
        except OSError as error:
            raise explained(error, "giving the result its name", target) from error
        self._hidden = None


def keep_mode(file: int | str, found: os.stat_result) -> None:
    """Give *file* the permissions of the user's own file *found*, which it replaces; nothing of a stranger's."""
    if not hasattr(os, "geteuid") or found.st_uid == os.geteuid():
        try:
            os.chmod(file, found.st_mode & 0o777)
        except OSError:
            pass  # a file system without modes


def replace_whole(folder: str, target: str, data: bytes, found: os.stat_result | None) -> None:
    """Give the small content *data* the name *target* in *folder*, in place of what has it, in one step.

    :param found: what has the name
    :raises OSError: it can't be written; what is there is as it was
    """
    hidden = system.hidden_path(folder)
    try:
        try:
            file = system.create(hidden)
            try:
                system.write_all(file.fd, data)
                if found is not None and stat.S_ISREG(found.st_mode):
                    keep_mode(file.fd, found)
            finally:
                file.close()
        except OSError as error:
            raise explained(error, "writing a result into the folder", folder) from error
        try:
            exclusive.rename_over(hidden, target)
        except OSError as error:
            raise explained(error, "giving the result its name", target) from error
    except BaseException:
        system.remove(hidden)
        raise


class HookDraft:
    """Files that a function writes by path, in a hidden folder of their own beside the target.

    The function sees the final name as the last part of its path, and may write further files beside it: they are
    published under their own names, once the one that counts is.
    """

    __slots__ = ("_folder", "_hidden", "_published", "durable")

    def __init__(self, folder: str, write: Callable[[Path], None], name: str, *, durable: bool = False) -> None:
        self._folder = folder
        self.durable = durable
        self._published: list[str] = []
        self._hidden = hidden = system.hidden_path(folder)  # noted before it is there: Ctrl-C may come in between
        target = system.joined(folder, name)
        system.make_folder(folder, durable=durable)
        try:
            os.mkdir(hidden)
        except OSError as error:
            raise explained(error, "making a folder for it in the folder", folder) from error
        try:
            write(Path(hidden, name))
            if not os.path.lexists(f"{hidden}/{name}"):
                written = ", ".join(sorted(os.listdir(hidden))) or "nothing"
                problem = f"_save_persistence did not write the file of this name (it wrote {written})"
                raise FileNotFoundError(errno.ENOENT, f"{problem}, while saving a result as", target)
        except Exception as error:
            self.discard()
            told = explained_any(error, "writing a result by _save_persistence", target)
            if told is error:
                raise
            raise told from error
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
        try:
            return sum(
                os.lstat(f"{folder}/{it}").st_size for folder, files in system.walked(self._hidden) for it in files
            )
        except OSError as error:
            raise explained(error, "looking at what _save_persistence wrote for the folder", self._folder) from error

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
        try:
            for top in self._published or [self._hidden]:
                system.sync_all(top)
        except OSError as error:
            raise explained(error, "writing a result through to the disk", self._folder) from error

    def publish_new(self, name: str) -> None:
        """Give the file *name*, unless the name is taken.

        :raises FileExistsError: the name is taken: nothing was changed
        """
        self._publish(name, exclusive.rename_exclusively)

    def publish_over(self, name: str) -> None:
        """Give the file *name*, in place of a file or link of that name."""
        system.refuse_special(system.joined(self._folder, name))
        self._publish(name, exclusive.rename_over)

    def _publish(self, name: str, rename: Callable[[str, str], None]) -> None:
        self.finish()
        target = system.joined(self._folder, name)
        beside = {}
        try:
            for it in os.listdir(self._hidden):
                if it != name:
                    beside[f"{self._hidden}/{it}"] = place = system.joined(self._folder, it)
                    system.refuse_special(place)
        except OSError as error:
            raise explained(error, "looking at what _save_persistence wrote for", target) from error
        try:
            rename(f"{self._hidden}/{name}", target)
        except FileExistsError:
            raise
        except OSError as error:
            raise explained(error, "giving the result its name", target) from error
        self._published.append(target)
        for source, place in beside.items():
            try:
                os.replace(source, place)
            except OSError as error:
                raise explained(error, "giving a file beside the result its name", place) from error
            self._published.append(place)
        if self.durable:
            system.sync_names(self._folder)

    def discard(self) -> None:
        """Remove the hidden folder and what is left in it."""
        if self._hidden:
            system.remove(self._hidden)
            self._hidden = ""

    def __del__(self) -> None:
        if hasattr(self, "_hidden"):  # else Ctrl-C came while it was made
            self.discard()  # what Ctrl-C may have kept it from
