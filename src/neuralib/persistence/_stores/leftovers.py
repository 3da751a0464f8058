"""Folders that stay the same ones, and what killed processes left in them.

Anybody who can write into a folder can rename what is in it, and put a link in its place at any moment. So hidden folders are
kept open, and what is in them is listed, moved and removed by their descriptors, never through a path that leads elsewhere
by then. What is swept is the user's own, and looks like a leftover inside too: another folder of the user that somebody
renamed to a hidden name does not.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from neuralib.persistence import _disk
from neuralib.persistence._stores.base import LEFTOVER_PREFIX
from neuralib.persistence._stores.system import joined

if TYPE_CHECKING:
    from typing import Self

_BY_DESCRIPTOR = {os.mkdir, os.open, os.rename, os.rmdir, os.stat, os.unlink} <= os.supports_dir_fd
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


class OpenFolder:
    """A folder that is the same one until it is closed, whatever has its path by then. On Windows, which lacks that, its path.

    :param path: of the folder, or its name in *above*
    :param above: the folder that it is in; a link there is not followed
    :raises OSError: it can't be opened, or is no folder
    """

    __slots__ = ("_file", "_path")

    def __init__(self, path: str, above: OpenFolder | None = None) -> None:
        self._path: str = path if above is None else joined(above._path, path)
        self._file: _disk.OpenFile | None = None
        if _BY_DESCRIPTOR:
            if above is None:
                self._file = _disk.OpenFile(path, _FOLDER)
            else:
                self._file = _disk.OpenFile(path, _FOLDER | _NO_LINK, 0, above.fd)
        elif os.path.islink(self._path) or not os.path.isdir(self._path):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def fd(self) -> int | None:
        """The descriptor by which names in it are given; None where that is not possible."""
        return None if self._file is None else self._file.fd

    def at(self, name: str) -> str:
        """Return the path of *name* in it, for calls that also get :attr:`fd`."""
        return name if self._file is not None else joined(self._path, name)

    def close(self) -> None:
        """Close it."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                pass  # nothing was written by it

    def names(self) -> list[str]:
        """Return the names of all that is in it."""
        return os.listdir(self._path if self._file is None else self._file.fd)

    def stat(self, name: str) -> os.stat_result:
        """Return what *name* in it is; a link is not followed."""
        return os.stat(self.at(name), dir_fd=self.fd, follow_symlinks=False)

    def make_folder(self, name: str) -> OpenFolder:
        """Make the folder *name* in it, and return it open.

        :raises OSError: it can't be made, or another folder has its name already
        """
        os.mkdir(self.at(name), dir_fd=self.fd)
        made = OpenFolder(name, self)
        try:
            if made.names():
                problem = "another program put a folder in the place of the new one"
                raise OSError(errno.ENOTEMPTY, problem, joined(self._path, name))
        except BaseException:
            made.close()
            raise
        return made

    def move_out(self, name: str, target: str) -> None:
        """Rename the file *name* in it to the path *target*, in place of what is there."""
        os.replace(self.at(name), target, src_dir_fd=self.fd)

    def remove(self, name: str, known: os.stat_result | None = None) -> None:
        """Remove *name* in it: a folder with all that is in it.

        :param known: what a folder must be, lest another one is emptied that has its name by now
        """
        if stat.S_ISDIR(self.stat(name).st_mode):
            with OpenFolder(name, self) as inside:
                if known is not None and not os.path.samestat(
                    os.stat(inside._path if inside.fd is None else inside.fd), known
                ):
                    return
                inside.empty()
            os.rmdir(self.at(name), dir_fd=self.fd)
        else:
            os.unlink(self.at(name), dir_fd=self.fd)

    def empty(self) -> None:
        """Remove all that is in it."""
        for name in self.names():
            self.remove(name)


def sweep(folder: str, before: float) -> list[str]:
    """Remove the user's own leftovers in *folder* that were changed last *before* that time; return their names.

    :raises OSError: the folder can't be listed
    """
    with OpenFolder(folder) as opened:
        return [name for name in opened.names() if name.startswith(LEFTOVER_PREFIX) and _swept(opened, name, before)]


def _swept(folder: OpenFolder, name: str, before: float) -> bool:
    """Remove the leftover *name*, with all that is in it, if nothing of it was changed since; return whether it was.

    A folder counts as changed with anything in it: a hook may write into one file for days. What comes into it meanwhile
    stays, and so does the folder: another process may have taken over a claim.
    """
    try:
        found = folder.stat(name)
        if not _is_own_and_old(found, before):
            return False
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(folder.at(name), dir_fd=folder.fd)
            return True
        with OpenFolder(name, folder) as inside:
            names = inside.names()
            if not all(each.startswith(LEFTOVER_PREFIX) and _is_stale(inside, each, before) for each in names):
                return False
            for each in names:
                inside.remove(each)
        os.rmdir(folder.at(name), dir_fd=folder.fd)
    except OSError:
        return False  # somebody else swept it, or may do it
    return True


def _is_stale(folder: OpenFolder, name: str, before: float) -> bool:
    """Return whether *name* in *folder*, with all that is in it, is the user's own, and nothing of it was changed since."""
    found = folder.stat(name)
    if not _is_own_and_old(found, before):
        return False
    if not stat.S_ISDIR(found.st_mode):
        return True
    with OpenFolder(name, folder) as inside:
        return all(_is_stale(inside, each, before) for each in inside.names())


def _is_own_and_old(found: os.stat_result, before: float) -> bool:
    """Return whether *found* is the user's own, and was changed last *before* that time.

    A copy has the time of its original already when it gets its name. So the last access to a file counts, too.
    """
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        return False
    return found.st_mtime <= before and (stat.S_ISDIR(found.st_mode) or found.st_atime <= before)
