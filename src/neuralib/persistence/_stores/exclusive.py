"""Give a file its name unless the name is taken, on file systems of every kind.

Three ways are tried in turn: a hard link, which nearly all file systems have; a rename that replaces nothing; and a claim
(see below). After an error, the name is looked at to see who has it: network file systems report a lost race as EPERM, and
may report a success as a failure when the answer was lost.
"""

from __future__ import annotations

import errno
import os
import sys
import time
import zlib
from functools import partial
from typing import TYPE_CHECKING

from neuralib.persistence import _disk, _forks
from neuralib.persistence._stores.base import LEFTOVER_PREFIX
from neuralib.persistence._stores.leftovers import OpenFolder
from neuralib.persistence._stores.system import hidden_path, is_there, joined, remove

if TYPE_CHECKING:
    from collections.abc import Callable

_ERRORS_WITHOUT_LINKS = {
    errno.EPERM,
    errno.EACCES,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
    errno.ENOSYS,
    errno.EINVAL,
    errno.EMLINK,
    errno.EXDEV,
}
_ERRORS_WITHOUT_EXCLUSIVE_RENAME = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
_STALE_CLAIM_S = 10.0
_MAX_TRIES = 100


def link_unnamed(fd: int, target: str) -> bool:
    """Give the file without name that is open as *fd* the name *target*.

    :return: False if that is impossible: there are no hard links or no ``/proc``, or the folder was removed
    :raises FileExistsError: the name is taken
    """
    # The descriptor of the folder is not used for an absolute path; giving one makes Python call linkat(2), which
    # follows the link under /proc.
    try:
        os.link(f"/proc/self/fd/{fd}", target, src_dir_fd=fd, follow_symlinks=True)
    except OSError as error:
        if not _won(os.fstat(fd), target, error):
            if error.errno in _ERRORS_WITHOUT_LINKS or error.errno == errno.ENOENT:
                return False
            raise
    return True


def rename_exclusively(hidden: str, target: str) -> None:
    """Rename *hidden* to *target*, unless the name is taken.

    :raises FileExistsError: the name is taken; *hidden* is unchanged
    """
    if sys.platform == "win32":
        os.rename(hidden, target)  # exclusive there
        return
    mine = os.lstat(hidden)
    if _link(hidden, target, mine):
        remove(hidden)  # where that fails, the second, hidden name does no harm
        return
    try:
        if _disk.rename_exclusively(hidden, target):
            return
    except OSError as error:
        if _won(mine, target, error):
            return
        if error.errno not in _ERRORS_WITHOUT_EXCLUSIVE_RENAME:
            raise
    _rename_under_claim(hidden, target, mine)


def rename_over(hidden: str, target: str) -> None:
    """Rename *hidden* to *target*, and replace the file that has this name, if any."""
    mine = os.lstat(hidden)
    for tries in range(_MAX_TRIES):
        try:
            os.replace(hidden, target)
        except OSError as error:
            if not os.path.lexists(hidden):
                if _is_file(mine, target):
                    return  # only the answer was lost
                raise
            # File systems in user space move a file aside first that is replaced while it is read, and miss it where
            # another mount did so at the same moment.
            if error.errno != errno.ENOENT or tries == _MAX_TRIES - 1 or not os.path.isdir(os.path.dirname(target)):
                raise
            time.sleep(0.001)
        else:
            return


def _is_file(mine: os.stat_result, path: str) -> bool:
    try:
        there = os.lstat(path)
    except OSError:
        return False
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def _won(mine: os.stat_result, target: str, error: OSError) -> bool:
    """Return whether the file *mine* has the name *target* after *error*; False if no file has it.

    :raises FileExistsError: another file has the name
    """
    if _is_file(mine, target):
        return True
    if not os.path.lexists(target):
        return False
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from error


def _link(hidden: str, target: str, mine: os.stat_result) -> bool:
    """Give the file *hidden*, whose status is *mine*, the second name *target*. Return False if there are no hard links."""
    for tries in range(_MAX_TRIES):
        try:
            os.link(hidden, target, follow_symlinks=False)
        except OSError as error:
            if _won(mine, target, error):
                break
            if error.errno not in _ERRORS_WITHOUT_LINKS or tries == _MAX_TRIES - 1:
                raise
            # A refusal without a winner: there are no links, or the winner's file is gone again by now. To take the
            # second for the first would mean a rename, which is exclusive among renames only.
            if not _links_work(hidden):
                return False
        else:
            break
    return True


def _links_work(path: str) -> bool:
    """Return whether the file system has hard links: whether *path* can get a second, random name."""
    path_of_probe = hidden_path(os.path.dirname(path))
    probe = _TemporaryPaths(os.unlink, path_of_probe)
    try:
        os.link(path, path_of_probe, follow_symlinks=False)
    except OSError:
        return False
    finally:
        probe.remove()
    return True


class _TemporaryPaths:
    """Paths that are removed by :meth:`remove`, or by the finalizer where Ctrl-C kept a ``finally`` from calling it.

    In a process that is forked meanwhile, they stay: they are those of its parent.
    """

    __slots__ = ("_paths", "_process", "_remove")

    def __init__(self, remove: Callable[[str], None], *paths: str) -> None:
        self._process = _forks.this_process
        self._remove = remove
        self._paths = paths

    @property
    def are_own(self) -> bool:
        """Whether this process made them, not the one that it was forked from."""
        return self._process is _forks.this_process

    def remove(self) -> None:
        for path in self._paths if self.are_own else ():
            try:
                self._remove(path)
            except OSError:
                pass  # it is gone, belongs to another process, or will be swept
        self._paths = ()

    def __del__(self) -> None:
        if hasattr(self, "_paths"):
            self.remove()


# ---------------------------------------------------------------------------------------------- claims
#
# Without links and without renames that replace nothing, one exclusive step is left: a folder can be renamed to the name
# of an empty folder, or of none, but never to that of a folder with something in it. So the draft goes into a folder of
# its own, and that folder is renamed to the claim on the target. The claim holds the draft, under a random mark, until
# the draft is renamed to the target, which also empties the claim for the next.
#
# If the holder of a claim was killed, a process that has seen the same mark in the claim for long moves the draft out. The
# holder may only have slept. When it wakes, it finds no draft to publish, so it can't overwrite anything, and looks for the
# draft where it was moved to. The draft is moved by its mark: of two processes that empty a stale claim, the second can't
# take the draft of the next holder.


def _rename_under_claim(hidden: str, target: str, mine: os.stat_result) -> None:
    """Rename *hidden*, whose status is *mine*, to *target*, unless the name is taken. Exclusive among writers that use claims."""
    folder, name = os.path.split(target)
    claim = joined(folder, f"{LEFTOVER_PREFIX}claim-{zlib.crc32(os.fsencode(name)):08x}")
    for _ in range(_MAX_TRIES):
        mark = f"{LEFTOVER_PREFIX}{os.urandom(8).hex()}"
        own = hidden_path(folder)
        temporary = _TemporaryPaths(partial(_clear, mark), own, claim)
        try:
            os.mkdir(own)
            os.rename(hidden, f"{own}/{mark}")
            _enter_claim(own, claim, folder)
            if not is_there(target):
                os.rename(f"{claim}/{mark}", target)
                return
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        except BaseException as error:
            if not temporary.are_own:
                raise  # the draft is the parent's, who goes on with it
            if isinstance(error, OSError) and _is_file(mine, target):
                return  # only the answer was lost
            back = _moved_back(hidden, mark, own, claim, folder)
            if not (back and isinstance(error, FileNotFoundError)):
                raise
            # Others took this process for dead, and its draft out of the claim: once more.
        finally:
            temporary.remove()
    raise OSError(errno.EAGAIN, "other processes repeatedly took this one for dead: save again", target)


def _clear(mark: str, folder: str) -> None:
    """Remove *folder*, and the draft in it if Ctrl-C kept it from being moved back."""
    try:
        os.rmdir(folder)
    except OSError:
        os.unlink(f"{folder}/{mark}")
        os.rmdir(folder)


def _enter_claim(own: str, claim: str, folder: str) -> None:
    """Rename the folder *own*, which holds the draft, to *claim*, as soon as that holds no draft of another process."""
    seen: list[str] = []
    since = time.monotonic()
    while True:
        try:
            os.rename(own, claim)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
        else:
            return
        try:
            with OpenFolder(folder) as around, OpenFolder(os.path.basename(claim), around) as held:
                there = held.names()
                if not there or there != seen:
                    seen, since = there, time.monotonic()
                elif time.monotonic() - since > _STALE_CLAIM_S:
                    if not all(mark.startswith(LEFTOVER_PREFIX) for mark in there):
                        problem = "holds what no save put there; rename it, while waiting for it to be emptied"
                        raise OSError(errno.ENOTEMPTY, problem, claim)
                    for mark in there:
                        held.move_out(mark, joined(folder, mark))
        except FileNotFoundError:
            continue
        time.sleep(0.001)


def _moved_back(hidden: str, mark: str, own: str, claim: str, folder: str) -> bool:
    """Move the draft back to *hidden* from wherever it is. Return whether it is there."""
    places = (f"{own}/{mark}", f"{claim}/{mark}", joined(folder, mark))
    return os.path.lexists(hidden) or any(_moved(place, hidden) for place in places)


def _moved(source: str, target: str) -> bool:
    try:
        os.rename(source, target)
    except OSError:
        return False
    return True
