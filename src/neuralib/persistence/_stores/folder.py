"""A folder of files as a store: what is there, and drafts of what will be."""

from __future__ import annotations

import functools
import os
import shutil
import stat
import time
from typing import TYPE_CHECKING

from neuralib.persistence import _core
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

    __slots__ = ("prefix", "root", "stamp")

    def __init__(self, root: str) -> None:
        self.root = root or os.curdir
        self.prefix = system.joined(self.root, "")  # of the path of every name
        self.stamp: Callable[[], int | None] = functools.partial(_core.folder_stamp, self.root)
        """Returns the time of the folder's last change, or None where it is not there."""

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
        try:
            return [it for it in os.listdir(self.root) if not it.startswith(system.LEFTOVER_PREFIX)]
        except FileNotFoundError:
            return []

    def highest(self, head: str, tail: str) -> int:
        """Return the highest number between *head* and *tail* in the names of the folder, or -1.

        Sweeps stale leftovers where it comes across some.
        """
        try:
            number, leftovers = _core.scan_folder(self.root, head, tail, system.LEFTOVER_PREFIX)
        except FileNotFoundError:
            return -1
        if leftovers:
            self.sweep()
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
        for name in names:
            if name.startswith(system.LEFTOVER_PREFIX):
                path = self.path(name)
                try:
                    found = os.lstat(path)
                    if time.time() - _last_change(path, found) < older_than_s:
                        continue
                    if stat.S_ISDIR(found.st_mode):
                        shutil.rmtree(path)
                    else:
                        os.unlink(path)
                except OSError:
                    continue  # somebody else swept it, or may do it
                swept.append(name)
        return swept


def _last_change(path: str, found: os.stat_result) -> float:
    """Return when *path*, or anything in it, was changed last: a hook may write into one file for days."""
    latest = found.st_mtime
    if stat.S_ISDIR(found.st_mode):
        for folder, _, files in os.walk(path):
            latest = max([latest, *(os.lstat(f"{folder}/{it}").st_mtime for it in files)])
    return latest
