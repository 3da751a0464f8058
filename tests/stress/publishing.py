"""The methods by which a file is published under its name. Each is forced by disabling the system calls that better methods need."""

from __future__ import annotations

import errno
import os

from neuralib.persistence import _disk
from neuralib.persistence._stores import system

PUBLISHING = {
    "unnamed": "write a file without a name (O_TMPFILE), and link it to its name",
    "hidden": "write a file with a hidden name, and link it to its name",
    "renamed": "write a file with a hidden name, and rename it by a call that replaces nothing",
    "claimed": "write a file with a hidden name, create a claim file for the new name, and rename",
}
"""The methods, best first."""


def publish_by(publishing: str) -> None:
    """Disable all methods in this process that are better than *publishing*."""
    if publishing == "unnamed":
        return
    system.TMPFILE = 0
    if publishing == "hidden":
        return

    def no_link(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no links here")

    os.link = no_link  # type: ignore[assignment]
    if publishing == "claimed":
        _disk.rename_exclusively = lambda *_: False  # type: ignore[assignment]
