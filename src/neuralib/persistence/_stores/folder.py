"""A folder of files as a store: what is there, and drafts of what will be."""

from __future__ import annotations

import functools
import os
import stat
import time
from typing import TYPE_CHECKING

from neuralib.persistence import _disk, _scan
from neuralib.persistence._stores import system
from neuralib.persistence._stores.drafts import FolderDraft, HookDraft

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STALE_AFTER_S = 24 * 3600.0
"""From this age on, a leftover is taken for a killed process's: a live one's draft is seconds old, or is being written."""


class FolderStore:
    """The files of one folder, which is made when the first result is saved.

    :param root: the folder
    """

    __slots__ = ("held", "prefix", "root", "stamp")

    def __init__(self, root: str) -> None:
        self.root = root or os.curdir
        self.prefix = system.joined(self.root, "")  # of the path of every name
        self.held: _disk.OpenFile | None = None
        """The folder itself while it is kept open: see :meth:`hold`."""
        self.stamp: functools.partial[_disk.Stamp | None] = functools.partial(_disk.folder_stamp, self.root)
        """Returns what tells whether names come or go later, or None where the folder is not there."""

    def hold(self) -> None:
        """Keep the folder open, if it is there, so that saving into it takes less time.

        Until :meth:`release`: an open folder keeps its disk from being unmounted.
        """
        if system.TMPFILE and self.held is None:
            try:
                self.held = _disk.OpenFile(self.root, system.FOLDER)
            except OSError:
                pass  # it is not there yet, or saving will tell

    def release(self) -> None:
        """Keep the folder open no more: not even while somebody keeps an error, whose traceback holds all that it saw."""
        held, self.held = self.held, None
        if held is not None:
            try:
                held.close()  # a thread that is just looking at it finds it changed
            except OSError:
                pass  # nothing was written by it

    def path(self, name: str) -> str:
        """Return the path of *name*."""
        return self.prefix + name

    def draft(self, *, durable: bool = False) -> FolderDraft:
        """Return a new draft; the disk is not touched before it has a megabyte, or is published.

        :param durable: let its publication return only when it would survive a loss of power
        """
        return FolderDraft(self.root, durable=durable)

    def draft_by_hook(self, write: Callable[[Path], None], name: str, *, durable: bool = False) -> HookDraft:
        """Return the draft that *write* makes at the path that it is given, whose last part is *name*."""
        return HookDraft(self.root, write, name, durable=durable)

    def names(self) -> list[str]:
        """Return the names of all files, leftovers of killed processes excluded."""
        return [it for it in self.entries() if not it.startswith(system.LEFTOVER_PREFIX)]

    def entries(self) -> list[str]:
        """Return the names of all that is in the folder, leftovers too."""
        try:
            return os.listdir(self.root)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise system.explained(error, "listing the folder", self.root) from error

    def highest(self, head: str, tail: str) -> int:
        """Return the highest number between *head* and *tail* in the names of the folder, or -1.

        Sweeps stale leftovers where it comes across some.
        """
        try:
            number, leftovers = _scan.scan_folder(self.root, head, tail, system.LEFTOVER_PREFIX)
        except FileNotFoundError:
            return -1
        except OSError as error:
            raise system.explained(error, "listing the folder for its highest number", self.root) from error
        if leftovers:
            try:
                self.sweep()
            except OSError:
                pass  # another save comes across them
        return number

    def has(self, name: str) -> bool:
        """Return whether there is something under *name*, a broken link included."""
        return os.path.lexists(self.path(name))

    def sweep(self, older_than_s: float = STALE_AFTER_S) -> list[str]:
        """Remove what killed processes left behind; return the names.

        :param older_than_s: leave what was changed less than this many seconds ago: its process may be alive
        """
        swept = []
        try:
            names = os.listdir(self.root)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise system.explained(error, "listing the folder for leftovers", self.root) from error
        for name in names:
            if name.startswith(system.LEFTOVER_PREFIX):
                path = self.path(name)
                try:
                    if not _removed(path, time.time() - older_than_s):
                        continue
                except OSError:
                    continue  # somebody else swept it, or may do it
                swept.append(name)
        return swept


def _removed(path: str, before: float) -> bool:
    """Remove the leftover *path* if it was changed last *before* that time; return whether it was.

    A folder counts as changed with anything in it: a hook may write into one file for days. What comes into it meanwhile
    stays, and so does the folder: another process may have taken over a claim.
    """
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        if found.st_mtime > before:
            return False
        os.unlink(path)
        return True
    inside = system.walked(path)
    files = [f"{folder}/{it}" for folder, names in inside for it in names]
    if max(os.lstat(it).st_mtime for it in [path, *files]) > before:
        return False
    for it in files:
        os.unlink(it)
    for folder, _ in inside:
        os.rmdir(folder)
    return True
