"""The ways in which a result gets its name, each forced by taking away what the file system has for the better ones."""

from __future__ import annotations

import errno
import os

from neuralib.persistence import _disk
from neuralib.persistence._stores import system

WAYS = {
    "unnamed": "a file without a name gets one by a link",
    "hidden": "a file with a hidden name gets another by a link",
    "renamed": "a file with a hidden name is renamed by a call that replaces nothing",
    "claimed": "whoever has the claim renames",
}


def go_the_way(way: str) -> None:
    """Let this process publish in no better way than *way*."""
    if way == "unnamed":
        return
    system.TMPFILE = 0
    if way == "hidden":
        return

    def no_link(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no links here")

    os.link = no_link  # type: ignore[assignment]
    if way == "claimed":
        _disk.rename_exclusively = lambda *_: False  # type: ignore[assignment]
