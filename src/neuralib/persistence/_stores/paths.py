"""Which store a place is, and files anywhere by their paths."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from neuralib.persistence._stores.base import Content, Replace, Stat, Store
from neuralib.persistence._stores.folder import FolderStore, open_file

if TYPE_CHECKING:
    from neuralib.persistence._bytes.sources import Source

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


def store_at(place: str | os.PathLike[str] | Store) -> Store:
    """Return the store that *place* is: a store itself, or a folder.

    :raises ValueError: it is a URL that no store takes
    """
    if isinstance(place, Store):
        return place
    text = os.fspath(place)
    url = _URL.match(text)
    if url is not None:
        raise ValueError(f"{text!r}: there is no store for {url[1]}:// URLs; give a folder, or a store object")
    return FolderStore(text)


class PathStore(Store):
    """Files anywhere: their names are their paths, as the caller gave them."""

    url = ""

    def put(self, name: str, content: Content, /, *, replace: Replace = False, durable: bool = False) -> None:
        """Store *content* in the folder of the path *name*."""
        folder, last = os.path.split(name)
        FolderStore(folder).put(last, content, replace=replace, durable=durable)

    def open(self, name: str, /) -> Source:
        """Return the content of the file *name*."""
        return open_file(name)

    def names(self, prefix: str = "", /) -> list[str]:
        """Files anywhere can't be listed."""
        raise OSError(errno.ENOTDIR, "files given by their paths can't be listed", prefix)

    def stat(self, name: str, /) -> Stat:
        """Return what is known of the file *name*."""
        folder, last = os.path.split(name)
        return FolderStore(folder).stat(last)

    def delete(self, name: str, /) -> None:
        """Remove the file *name*."""
        os.unlink(name)

    def has(self, name: str, /) -> bool:
        """Return whether there is something at the path *name*."""
        return os.path.lexists(name)

    def location(self, name: str, /) -> str:
        """Return the path."""
        return name

    def path(self, name: str, /) -> Path:
        """Return the path."""
        return Path(name)

    def local_folder(self) -> str:
        """Return the current folder, from which relative paths start."""
        return os.curdir


PATHS = PathStore()
