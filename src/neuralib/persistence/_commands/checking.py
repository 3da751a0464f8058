"""What is wrong with files: damage, and names that are not those of the keys inside."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from neuralib.persistence._classes.name_texts import START
from neuralib.persistence._commands.content import check
from neuralib.persistence._commands.entries import files_in, hits_in, holds_results, places_in
from neuralib.persistence._commands.naming import compare, suffix_of
from neuralib.persistence._commands.screen import progress
from neuralib.persistence._errors import KeyMismatchError, PersistenceError, UnloadableResultError
from neuralib.persistence._finding.checking import check_name
from neuralib.persistence._handlers.heads import read_head
from neuralib.persistence._handlers.pickles import PickleHandler
from neuralib.persistence._messages import shown
from neuralib.persistence._showing.previews import count_text
from neuralib.persistence._stores.archive import ArchiveStore
from neuralib.persistence._stores.paths import PATHS, store_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neuralib.persistence._classes.schema import PersistentClass


class Checked:
    """What became of files."""

    def __init__(self) -> None:
        self.files = self.size_bytes = 0
        self.damaged: list[tuple[str, Exception]] = []
        self.misnamed: list[tuple[str, Exception]] = []
        """Whole files whose keys belong under another name."""
        self.plain: list[str] = []
        """Whole files without a checksum."""
        self.not_compared: list[str] = []
        """Whole files of which it is not known whether the name is that of the keys."""
        self.not_loadable: list[tuple[str, list[str]]] = []
        """Whole files with objects of packages that are not installed here, each with these packages."""
        self.unread: list[tuple[str, Exception]] = []
        """Files in a compression that can't be read here."""
        self.unlisted: list[tuple[str, int]] = []
        """Archives with rows whose names no file can have, and how many: they are left out."""


def checked(paths: list[str], *, recursive: bool, info: PersistentClass[Any] | None) -> Checked:
    """Read the files at *paths*, and in the folders there, to their end.

    :param info: of folders, the files of this class alone, whose names are made exactly as it says
    :raises OSError: there is no such folder
    """
    files = [file for path in paths for file in _files_at(path, recursive=recursive, info=info)]
    found = Checked()
    found.files = len(files)
    found.unlisted = [each for path in paths for each in unlisted_rows_in(path, recursive=recursive)]
    for path in progress(files, "checking file"):
        try:
            has_checksum, file_bytes, missing = check(path)
            found.size_bytes += file_bytes
            if missing:
                found.not_loadable.append((path, missing))
            if not has_checksum:
                found.plain.append(path)
            if not (_is_named_by_card(path) if info is None else _is_named_by(info, path)):
                found.not_compared.append(path)
        except KeyMismatchError as error:
            found.misnamed.append((path, error))
        except UnloadableResultError as error:
            found.unread.append((path, error))
        except (PersistenceError, OSError) as error:
            found.damaged.append((path, error))
    return found


def _files_at(path: str, *, recursive: bool, info: PersistentClass[Any] | None) -> Iterator[str]:
    if not holds_results(path):
        yield path
    elif info is None:
        yield from (file for file, _ in files_in(path, recursive=recursive))
    else:
        yield from (file for file, _ in hits_in(path, info, recursive=recursive))


def unlisted_rows_in(path: str, *, recursive: bool = False) -> Iterator[tuple[str, int]]:
    """Yield the archives at *path* that have rows whose names no file can have, each with how many."""
    for place in places_in(path, recursive=recursive) if holds_results(path) else []:
        store = store_at(place)
        if isinstance(store, ArchiveStore):
            with suppress(OSError):  # listing it told what is wrong
                count = store.count_unlisted()
                if count:
                    yield place, count


def unlisted_text(path: str, count: int) -> str:
    """Return in words that the archive *path* has *count* rows whose names no file can have."""
    advice = f"`sqlite3 {os.path.basename(path)} -At` lists them"
    return f"{count_text(count, 'row')} of {path} whose names are paths, empty or no text; {advice}"


def _is_named_by(info: PersistentClass[Any], path: str) -> bool:
    """Return whether it is known that the file *path* has the name that the class *info* gives to its keys.

    :raises KeyMismatchError: it has another one
    """
    handler = PickleHandler(info.persistence_cls, os.curdir, ext=suffix_of(path))
    return check_name(handler._keeper, PATHS, path)


def _is_named_by_card(path: str) -> bool:
    """Return the same as far as the card of the file tells; files of other programs have no names to be compared.

    :raises KeyMismatchError: it has another one
    """
    name = os.path.basename(path)
    try:
        head = read_head(path)
    except PersistenceError:  # a pickle of something else
        return True
    if head.card is None:
        return not name.startswith(START)
    verdict, _ = compare(name, head.card, head.fields)
    if verdict is False:
        keys = ", ".join(f"{key}={shown(head.fields[key])}" for key, _ in head.card.keys if key in head.fields)
        raise KeyMismatchError(head.card.qualname, "", name, keys, path)
    return verdict is True
