"""The files that a command is about: found in folders, told apart by class and keys, chosen by ``key=value``."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from neuralib.persistence._commands import names
from neuralib.persistence._commands.screen import progress
from neuralib.persistence._errors import PersistenceError
from neuralib.persistence._handlers.heads import read_head
from neuralib.persistence._handlers.pickles import PickleHandler
from neuralib.persistence._preview import is_array
from neuralib.persistence._stores.system import LEFTOVER_PREFIX, joined

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from neuralib.persistence._schema import PersistentClass

SUFFIXES = (".pkl", ".pkl.gz")
"""Of the files that can be looked into."""


class UsageError(Exception):
    """The command was called in a way that can't work; the message says what to do."""


class Entry:
    """One file.

    :param path: as it is to be shown
    """

    __slots__ = ("class_name", "fields", "keys", "modified", "path", "problem", "size_bytes")

    def __init__(self, path: str) -> None:
        self.path = path
        status = os.stat(path)
        self.size_bytes = status.st_size
        self.modified = status.st_mtime
        self.class_name = ""
        self.keys: dict[str, Any] = {}
        """Those that show in the name."""
        self.fields: dict[str, Any] = {}
        """All that is known of the content; nothing where the name was enough."""
        self.problem: Exception | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return os.path.basename(self.path)

    def matches(self, wanted: dict[str, list[str]]) -> bool:
        """Return whether each key has one of the values that are *wanted*."""
        values = self.fields | self.keys
        return all(key in values and any(_is_text_of(it, values[key]) for it in texts) for key, texts in wanted.items())


def _is_text_of(text: str, value: Any) -> bool:
    if hasattr(value, "type_name") or (is_array(value) and value.shape):
        return False
    try:
        if str(value) == text:
            return True
        return isinstance(value, (int, float)) and not isinstance(value, bool) and float(text) == value
    except (ValueError, OverflowError):
        return False


def parsed_keys(words: Iterable[str]) -> dict[str, list[str]]:
    """Return the values that ``key=value`` words ask for; a key that comes twice may have either value.

    :raises UsageError: a word is something else
    """
    found: dict[str, list[str]] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or not key.isidentifier():
            raise UsageError(f"{word!r} is neither a file that is there nor key=value, as in animal=A00")
        found.setdefault(key, []).append(value)
    return found


def paths_in(folder: str, *, recursive: bool) -> Iterator[str]:
    """Yield the paths of the results in *folder*, in the order of their names, numbers by size (2 before 10).

    :raises OSError: there is no such folder
    """
    below = []
    found = []
    with os.scandir(folder) as entries:
        for it in entries:
            if recursive and it.is_dir(follow_symlinks=False) and not it.name.startswith("."):
                below.append(it.name)
            elif it.name.endswith(SUFFIXES) and not it.name.startswith(LEFTOVER_PREFIX) and it.is_file():
                found.append(it.name)
    prefix = "" if folder == os.curdir else joined(folder, "")
    for name in sorted(found, key=natural):
        yield prefix + name
    for name in sorted(below, key=natural):
        yield from paths_in(prefix + name, recursive=True)


def natural(text: str) -> list[tuple[int, int, str]]:
    """Return what sorts *text* as people count."""
    return [(0, int(it), it) if it.isdecimal() else (1, 0, it) for it in re.split(r"(\d{1,18})", text) if it]


def entries_in(
    folder: str, *, recursive: bool, info: PersistentClass[Any] | None, wanted: dict[str, list[str]]
) -> list[Entry]:
    """Return what there is in *folder*: of the class *info*, where one is given, and with the keys *wanted*."""
    if info is not None:
        folders = [it for it, _, _ in os.walk(folder)] if recursive else [folder]
        return [entry for it in folders for entry in _of_class(it, info, wanted) if entry.matches(wanted)]
    paths = list(paths_in(folder, recursive=recursive))
    found = [it for path in progress(paths, "looking at file") if (it := _looked_at(path)) is not None]
    _read_names(found)
    return [it for it in found if it.matches(wanted)]


def _entry(path: str) -> Entry | None:
    try:
        return Entry(path)
    except FileNotFoundError:  # removed just now
        return None


def _looked_at(path: str) -> Entry | None:
    entry = _entry(path)
    if entry is None:
        return None
    try:
        head = read_head(path)
    except (PersistenceError, OSError) as error:
        entry.problem = error
    else:
        entry.fields = head.fields
        if head.type_name is not None:
            entry.class_name = head.type_name.rpartition(".")[2]
    return entry


def _read_names(entries: list[Entry]) -> None:
    """Set class and keys of *entries*, group by group."""
    groups: dict[tuple[str, tuple[str, str]], list[Entry]] = {}
    for it in entries:
        groups.setdefault((os.path.dirname(it.path), names.group_of(it.name)), []).append(it)
    for group in groups.values():
        whole = [it for it in group if it.problem is None]
        reading = names.Reading(names.group_of(group[0].name)[1], ())
        if whole:
            reading = names.reading_of([it.name for it in whole], [it.fields for it in whole])
        for it in group:
            it.class_name = it.class_name or reading.class_name
            it.keys = {key: it.fields[key] for key in reading.keys if key in it.fields}


class _Careful(PickleHandler[Any]):
    """Finds without trust: what names don't tell is read from heads."""

    def _some_fields(self, path: str, names: Collection[str]) -> dict[str, Any]:
        return read_head(path).fields


def _of_class(folder: str, info: PersistentClass[Any], wanted: dict[str, list[str]]) -> Iterator[Entry]:
    """Yield the files in *folder* of the class *info*; no file is opened whose name says enough."""
    named = {it.field_name for it in info.named_fields}
    for suffix in SUFFIXES:
        found = _Careful(info.persistence_cls, folder, ext=suffix).find()
        for hit in progress(found, "looking at file"):
            entry = _entry(hit.name if folder == os.curdir else joined(folder, hit.name))
            if entry is None:
                continue
            entry.class_name = info.cls_name
            try:
                entry.keys = hit.keys
                if not named.issuperset(wanted):
                    entry.fields = read_head(entry.path).fields
            except (PersistenceError, OSError) as error:
                entry.problem = error
            yield entry


def targets(words: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the files and folders among *words*, and the keys asked for.

    :raises UsageError: a word is neither
    """
    split = next((i for i, it in enumerate(words) if "=" in it and not os.path.lexists(it)), len(words))
    paths = words[:split]
    for it in paths:
        if not os.path.lexists(it):
            raise UsageError(f"there is no {it!r} here")
    return paths, parsed_keys(words[split:])


def selected(words: list[str], *, recursive: bool, info: PersistentClass[Any] | None) -> list[Entry]:
    """Return the results that *words* name: files, and what is in folders, with the keys asked for.

    :raises UsageError: a word is neither a file nor ``key=value``
    """
    paths, wanted = targets(words)
    found: list[Entry] = []
    for path in paths:
        if os.path.isdir(path):
            found += entries_in(path, recursive=recursive, info=info, wanted=wanted)
        else:
            entry = _looked_at(path)
            if entry is not None:
                _read_names([entry])
                found += [entry] if entry.matches(wanted) else []
    return found
