"""What has the name of a result and is none: copies under other names, links to nothing, pipes. It is told, and left out."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from neuralib.persistence._errors import KeyMismatchError
from neuralib.persistence._log import log

if TYPE_CHECKING:
    from neuralib.persistence._stores.base import Store


def kind_of_stranger(error: Exception, store: Store, name: str) -> str | None:
    """Return what *name* is, where *error* came of reading it and there is no result of that name; None where there is one.

    A file whose keys belong under another name, as programs that synchronise folders leave behind (``A00 (1)``); a link to
    nothing, as of a dataset whose content was not fetched, or in a circle; a folder, pipe or device.
    """
    if isinstance(error, KeyMismatchError):
        return "a file with the name of another result"
    if store.local_folder() is None:
        return None
    path = store.location(name)
    try:
        mode = os.stat(path).st_mode
    except OSError:
        if not os.path.islink(path):
            return None
        return f"a link that leads to no file ({os.readlink(path)})"
    if stat.S_ISREG(mode):
        return None
    return "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"


def leave_out(error: Exception, store: Store, name: str) -> None:
    """Tell that *name* is left out, where there is no result of that name; raise *error* where there is one."""
    kind = kind_of_stranger(error, store, name)
    if kind is None and store.has(name):
        raise error
    if kind is not None:
        log.warning(
            "left out: %s",
            error if isinstance(error, KeyMismatchError) else f"{store.location(name)} is {kind}",
        )
