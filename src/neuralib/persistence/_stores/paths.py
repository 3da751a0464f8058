"""Which store a place is, and files anywhere by their paths."""

from __future__ import annotations

import errno
import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Union

from neuralib.persistence._messages import shown
from neuralib.persistence._stores.base import Content, Replace, Stat, Store
from neuralib.persistence._stores.files import open_file
from neuralib.persistence._stores.folder import FolderStore
from neuralib.persistence._stores.places import SeveralStores

if TYPE_CHECKING:
    from neuralib.persistence._bytes.sources import Source

Place = Union[str, os.PathLike[str], Store, Sequence[Union[str, os.PathLike[str], Store]]]  # noqa: UP007 - is evaluated
"""Where results are: a folder, an archive, a store; or several of these, of which the first is saved into."""

ARCHIVE_SUFFIX = ".sqlar"
"""How the names of archives end."""

ARCHIVE_FILES = tuple(f"{ARCHIVE_SUFFIX}{ending}" for ending in ("", "-wal", "-shm", "-journal"))
"""How the names of their files end: SQLite has up to three beside an archive, without which its last changes are lost."""

_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss"})
_SETTINGS = ("AWS_", "AZURE_", "GOOGLE_")  # how names of environment variables begin that obstore reads
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_URL_AS_PATH = re.compile(
    rf"({'|'.join(_OBJECT_STORES)}|https?|file):/", re.IGNORECASE
)  # pathlib makes one slash of two


def store_at(place: Place) -> Store:
    """Return the store that *place* is: a store itself, a URL, an archive where its name ends with ``.sqlar``, a folder, or several.

    :raises ValueError: it is a URL that no store takes, or an empty list
    :raises TypeError: it is something else
    """
    if isinstance(place, Store):
        return place
    if isinstance(place, Sequence) and not isinstance(place, str):
        if not place:
            raise ValueError("the list of places is empty: give at least one; results are saved in the first")
        return SeveralStores([store_at(each) for each in place]) if len(place) > 1 else store_at(place[0])
    if not isinstance(place, (str, os.PathLike)):
        raise TypeError(
            f"expected a folder, a URL of an object store (s3://, gs://, az://) or a store, not {shown(place)}"
        )
    text = os.fspath(place)
    if is_url(text):
        return _object_store_at(text)
    if ":/" in text:
        _refuse_url_as_path(text)
    return _archive(text) if text.endswith(ARCHIVE_SUFFIX) and not os.path.isdir(text) else FolderStore(text)


def is_url(text: str) -> bool:
    """Return whether *text* is a URL, and no path."""
    return _URL.match(text) is not None


def _refuse_url_as_path(path: str) -> None:
    """Refuse what pathlib makes of a URL, which would be a local folder ``s3:``.

    :raises ValueError: *path* is of this kind
    """
    if _URL_AS_PATH.match(path):
        raise ValueError(
            f"{path!r} looks like a URL that was turned into a path: give the URL as text, with two slashes"
        )


def _object_store_at(url: str) -> Store:
    """Return the object store at *url*: the same one while the environment is the same, so that connections are kept.

    :raises ValueError: it is a URL that no store takes
    """
    scheme = url.partition(":")[0].lower()
    if scheme not in _OBJECT_STORES:
        raise ValueError(
            f"{url!r}: there is no store for {scheme}:// URLs; give a folder, a URL of an object store (s3://, gs://, az://), "
            f"or a store object"
        )
    settings = sorted(each for each in os.environ.items() if each[0].startswith(_SETTINGS))
    return _known_object_store(url, hash(tuple(settings)))


@functools.lru_cache(64)
def _known_object_store(url: str, _environment: int) -> Store:
    from neuralib.persistence._stores.objects import ObjectStore  # with obstore, which takes 60 ms to import

    return ObjectStore(url)


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Return whether there is an archive at *path*."""
    return os.fspath(path).endswith(ARCHIVE_SUFFIX) and os.path.isfile(path)


def _archive(path: str) -> Store:
    from neuralib.persistence._stores.archive import ArchiveStore  # with what folders don't need

    return ArchiveStore(path)


_archive_at = functools.lru_cache(maxsize=8)(_archive)


def _entry_at(path: str) -> tuple[Store, str] | None:
    """Return the archive and the name of the entry *path*, such as ``results.sqlar/cache-Mean-A00.pkl``; None for a file.

    Or the object store, and the name of an object.
    """
    if "://" in path and is_url(path):
        place, _, name = path.rpartition("/")
        return store_at(place), name
    if ARCHIVE_SUFFIX not in path:
        return None
    folder, name = os.path.split(path)
    return (_archive_at(os.path.abspath(folder)), name) if is_archive(folder) else None


def store_and_name(path: str) -> tuple[Store, str]:
    """Return the folder, archive or object store of *path*, and the name there."""
    folder, name = os.path.split(path)
    return _entry_at(path) or (FolderStore(folder), name)


class PathStore(Store):
    """Files, entries of archives and objects anywhere: their names are their paths or URLs, as the caller gave them."""

    url = ""

    def put(self, name: str, content: Content, /, *, replace: Replace = False, durable: bool = False) -> None:
        """Store *content* in the folder or archive of the path *name*."""
        store, last = store_and_name(name)
        store.put(last, content, replace=replace, durable=durable)

    def open(self, name: str, /) -> Source:
        """Return the content of the file *name*."""
        entry = _entry_at(name)
        return open_file(name) if entry is None else entry[0].open(entry[1])

    def open_to_map(self, name: str, /) -> Source:
        """Return the content of the file *name*, so that it can be mapped."""
        entry = _entry_at(name)
        return open_file(name, to_map=True) if entry is None else entry[0].open(entry[1])

    def names(self, prefix: str = "", /) -> list[str]:
        """Files anywhere can't be listed."""
        raise OSError(errno.ENOTDIR, "files given by their paths can't be listed", prefix)

    def stat(self, name: str, /) -> Stat:
        """Return what is known of the file *name*."""
        store, last = store_and_name(name)
        return store.stat(last)

    def delete(self, name: str, /) -> None:
        """Remove the file *name*."""
        store, last = store_and_name(name)
        store.delete(last)

    def has(self, name: str, /) -> bool:
        """Return whether there is something at the path *name*."""
        entry = _entry_at(name)
        return os.path.lexists(name) if entry is None else entry[0].has(entry[1])

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
