"""Names that are given once: whoever comes second is told so, whatever the file system lacks or answers.

A hard link is the exclusive step that nearly all file systems have; then a rename that replaces nothing; then a claim. Who
won is seen by looking: network file systems report a lost race as EPERM, and a success, whose answer was lost, as a failure.
"""

from __future__ import annotations

import errno
import os
import sys
import time
import zlib
from functools import partial
from typing import TYPE_CHECKING

from neuralib.persistence import _disk
from neuralib.persistence._stores.system import LEFTOVER_PREFIX, hidden_path, is_there, joined

if TYPE_CHECKING:
    from collections.abc import Callable

_LINKS_LACK = {
    errno.EPERM,
    errno.EACCES,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
    errno.ENOSYS,
    errno.EINVAL,
    errno.EMLINK,
    errno.EXDEV,
}
_RENAMES_LACK = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
_STALE_CLAIM_S = 10.0
_MOST_TRIES = 100


def link_unnamed(fd: int, target: str) -> bool:
    """Give the file without name that is open as *fd* the name *target*.

    :return: False where it can't get one so: without hard links, without ``/proc``, or in a folder that was removed
    :raises FileExistsError: the name is taken
    """
    # The descriptor of the folder is not used for an absolute path; giving one makes Python call linkat(2), which
    # follows the link under /proc.
    try:
        os.link(f"/proc/self/fd/{fd}", target, src_dir_fd=fd, follow_symlinks=True)
    except OSError as error:
        if not _won(os.fstat(fd), target, error):
            if error.errno in _LINKS_LACK or error.errno == errno.ENOENT:
                return False
            raise
    return True


def rename_exclusively(hidden: str, target: str) -> None:
    """Rename *hidden* to *target* unless there is a *target*.

    :raises FileExistsError: there is one; *hidden* is as it was
    """
    if sys.platform == "win32":
        os.rename(hidden, target)  # exclusive there
        return
    mine = os.lstat(hidden)
    if _link(hidden, target, mine):
        _remove(hidden)
        return
    try:
        if _disk.rename_exclusively(hidden, target):
            return
    except OSError as error:
        if _won(mine, target, error):
            return
        if error.errno not in _RENAMES_LACK:
            raise
    _rename_under_claim(hidden, target, mine)


def rename_over(hidden: str, target: str) -> None:
    """Rename *hidden* to *target*, in place of what has that name."""
    mine = os.lstat(hidden)
    for tries in range(_MOST_TRIES):
        try:
            os.replace(hidden, target)
        except OSError as error:
            if not os.path.lexists(hidden):
                if _is(mine, target):
                    return  # only the answer was lost
                raise
            # File systems in user space move a file aside first that is replaced while it is read, and miss it where
            # another mount did so at the same moment.
            if error.errno != errno.ENOENT or tries == _MOST_TRIES - 1 or not os.path.isdir(os.path.dirname(target)):
                raise
            time.sleep(0.001)
        else:
            return


def _is(mine: os.stat_result, path: str) -> bool:
    try:
        there = os.lstat(path)
    except OSError:
        return False
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def _won(mine: os.stat_result, target: str, error: OSError) -> bool:
    """Look who has the name *target* after *error*: the file *mine* (True), or nobody (False).

    :raises FileExistsError: somebody else
    """
    if _is(mine, target):
        return True
    if not os.path.lexists(target):
        return False
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from error


def _link(hidden: str, target: str, mine: os.stat_result) -> bool:
    """Give the file *hidden*, which is *mine*, the name *target* too; False where there are no hard links."""
    for tries in range(_MOST_TRIES):
        try:
            os.link(hidden, target, follow_symlinks=False)
        except OSError as error:
            if _won(mine, target, error):
                break
            if error.errno not in _LINKS_LACK or tries == _MOST_TRIES - 1:
                raise
            # A refusal without a winner: there are no links, or the winner's file is gone again by now. To take the
            # second for the first would mean a rename, which is exclusive among renames only.
            if not _links_work(hidden):
                return False
        else:
            break
    return True


def _links_work(path: str) -> bool:
    """Try whether the file *path* can get a second name that surely nobody else has."""
    path_of_probe = hidden_path(os.path.dirname(path))
    probe = _Passing(os.unlink, path_of_probe)
    try:
        os.link(path, path_of_probe, follow_symlinks=False)
    except OSError:
        return False
    finally:
        probe.remove()
    return True


class _Passing:
    """What is removed, at the latest when nobody refers to this any more: Ctrl-C may keep a ``finally`` from doing it."""

    __slots__ = ("_paths", "_remove")

    def __init__(self, remove: Callable[[str], None], *paths: str) -> None:
        self._remove = remove
        self._paths = paths

    def remove(self) -> None:
        for it in self._paths:
            try:
                self._remove(it)
            except OSError:
                pass  # gone, or the next one's, or swept some day
        self._paths = ()

    def __del__(self) -> None:
        if hasattr(self, "_paths"):
            self.remove()


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # the result has its name; a second, hidden one does no harm, and is swept


# ---------------------------------------------------------------------------------------------- claims
#
# Without links and without renames that replace nothing, one exclusive step is left: a folder can be renamed to the name
# of an empty folder, or of none, but never to that of a folder with something in it. So the draft goes into a folder of
# its own, and that folder is renamed to the claim on the target. The claim holds the draft, under a random mark, until
# the draft is renamed to the target, which also empties the claim for the next.
#
# A claim whose holder was killed is emptied by whoever has seen the same mark in it for long: the draft is moved out. It
# may belong to a process that only slept: that one finds no draft to publish when it wakes, so it can't overwrite
# anything, and looks for it where it was put. What is moved is told by its mark, so that of two who would empty a stale
# claim, the second can't take the draft of the next holder.


def _rename_under_claim(hidden: str, target: str, mine: os.stat_result) -> None:
    """Rename *hidden*, which is *mine*, to *target* unless there is a *target*: among all who do it so."""
    folder, name = os.path.split(target)
    claim = joined(folder, f"{LEFTOVER_PREFIX}claim-{zlib.crc32(os.fsencode(name)):08x}")
    for _ in range(_MOST_TRIES):
        mark = os.urandom(8).hex()
        own = hidden_path(folder)
        passing = _Passing(partial(_cleared, mark), own, claim)
        try:
            os.mkdir(own)
            os.rename(hidden, f"{own}/{mark}")
            _enter(own, claim, folder)
            if not is_there(target):
                os.rename(f"{claim}/{mark}", target)
                return
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        except BaseException as error:
            if isinstance(error, OSError) and _is(mine, target):
                return  # only the answer was lost
            back = _brought_back(hidden, mark, own, claim, folder)
            if not (back and isinstance(error, FileNotFoundError)):
                raise
            # Others took this process for dead, and its draft out of the claim: once more.
        finally:
            passing.remove()
    raise OSError(errno.EAGAIN, "others took this process for dead again and again: save once more", target)


def _cleared(mark: str, folder: str) -> None:
    """Remove the folder *folder*, and the draft in it where Ctrl-C kept that from being brought back."""
    try:
        os.rmdir(folder)
    except OSError:
        os.unlink(f"{folder}/{mark}")
        os.rmdir(folder)


def _enter(own: str, claim: str, folder: str) -> None:
    """Rename the folder *own*, with the draft in it, to *claim*, once nobody else's draft is there."""
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
            there = os.listdir(claim)
        except FileNotFoundError:
            continue
        if not there or there != seen:
            seen, since = there, time.monotonic()
        elif time.monotonic() - since > _STALE_CLAIM_S:
            for mark in there:
                _moved(f"{claim}/{mark}", _outside(folder, mark))
        time.sleep(0.001)


def _outside(folder: str, mark: str) -> str:
    """Return where a draft goes that is moved out of a stale claim."""
    return joined(folder, LEFTOVER_PREFIX + mark)


def _brought_back(hidden: str, mark: str, own: str, claim: str, folder: str) -> bool:
    """Rename the draft back to *hidden*, wherever it is; return whether it is there."""
    places = (f"{own}/{mark}", f"{claim}/{mark}", _outside(folder, mark))
    return os.path.lexists(hidden) or any(_moved(it, hidden) for it in places)


def _moved(source: str, target: str) -> bool:
    try:
        os.rename(source, target)
    except OSError:
        return False
    return True
