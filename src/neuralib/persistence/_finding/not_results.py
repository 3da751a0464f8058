"""Files that have the name of a result but are none: renamed copies, broken links, pipes. They are left out, with a warning."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from neuralib.persistence._errors import KeyMismatchError
from neuralib.persistence._log import log

if TYPE_CHECKING:
    from neuralib.persistence._stores.base import Store


def kind_of_non_result(error: Exception, store: Store, name: str) -> str | None:
    """Return what *name* is if it is no result, after reading it failed with *error*; None if there is a result.

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


def warn_left_out(error: Exception, store: Store, name: str) -> None:
    """Log a warning that *name* is left out, if it is no result; if it is one, raise *error*."""
    kind = kind_of_non_result(error, store, name)
    if kind is None and store.has(name):
        raise error
    if kind is not None:
        log.warning(
            "left out: %s",
            error if isinstance(error, KeyMismatchError) else f"{store.location(name)} is {kind}",
        )
