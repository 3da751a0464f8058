"""The files that a command is about: found in folders, told apart by class and keys, chosen by ``key=value``."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from neuralib.persistence._commands import names
from neuralib.persistence._commands.schemes import Reader, Scheme, SchemeError, scheme_of_all, scheme_of_most
from neuralib.persistence._commands.screen import progress
from neuralib.persistence._errors import PersistenceError
from neuralib.persistence._handlers.heads import read_head
from neuralib.persistence._handlers.pickles import PickleHandler
from neuralib.persistence._showing.previews import is_array
from neuralib.persistence._stores.system import LEFTOVER_PREFIX, joined

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from neuralib.persistence._classes.schema import PersistentClass
    from neuralib.persistence._finding.found import Hit

SUFFIXES = (".pkl", ".pkl.gz")
"""Of the files that can be looked into."""
_DIGITS = re.compile(r"(\d{1,18})")
_MANY = 50  # files of one class: of fewer, each is looked into


class UsageError(Exception):
    """The command was called in a way that can't work; the message says what to do."""


class Entry:
    """One file.

    :param path: as it is to be shown
    """

    __slots__ = (
        "bare",
        "class_name",
        "fields",
        "keys",
        "misnamed",
        "modified",
        "name",
        "opened",
        "path",
        "problem",
        "size_bytes",
    )

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = os.path.basename(path)
        status = os.stat(path)
        self.size_bytes = status.st_size
        self.modified = status.st_mtime
        self.class_name = ""
        self.keys: dict[str, Any] = {}
        """Those that show in the name."""
        self.fields: dict[str, Any] = {}
        """All that is known of the content; nothing where the name was enough."""
        self.problem: Exception | None = None
        self.misnamed = False
        """Whether it is known that the keys in the file are not those of its name."""
        self.opened = False
        self.bare = True
        """Whether the file holds the fields alone, as all but the oldest do, which name their class."""

    def look(self) -> bool:
        """Look into the file, if that was not done yet; return whether it can be read."""
        if not self.opened:
            self.opened = True
            try:
                head = read_head(self.path)
            except (PersistenceError, OSError) as error:
                self.problem = error
            else:
                self.fields = head.fields
                self.bare = head.type_name is None
                if head.type_name is not None:
                    self.class_name = head.type_name.rpartition(".")[2]
        return self.problem is None

    def take_keys(self, reading: names.Reading | Scheme) -> None:
        """Take those of the fields in the file for its keys that *reading* says."""
        self.keys = {key: self.fields[key] for key in reading.keys if key in self.fields}
        if isinstance(reading, Scheme) and self.problem is None:
            self.misnamed = reading.agrees(self.name, self.fields) is False

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


def natural(text: str) -> tuple[list[str | int], str]:
    """Return what sorts *text* as people count."""
    parts: list[str | int] = _DIGITS.split(text)  # texts and numbers in turn
    parts[1::2] = map(int, parts[1::2])
    return parts, text


def entries_in(
    folder: str,
    *,
    recursive: bool,
    info: PersistentClass[Any] | None,
    wanted: dict[str, list[str]],
    by: Collection[str] = (),
    heads: bool = False,
    alone: bool = False,
) -> list[Entry]:
    """Return what there is in *folder*: of the class *info*, where one is given, and with the keys *wanted*.

    :param by: other fields that are needed
    :param heads: look into each file, also where names tell enough
    :param alone: whether nothing else is looked at, so that a field which is not here is nowhere
    :raises UsageError: *alone*, and there are results, none of which has a field that is *wanted*
    """
    if info is not None:
        return [it for it in _of_class(folder, info, wanted, recursive=recursive) if it.matches(wanted)]
    found = [it for path in paths_in(folder, recursive=recursive) if (it := _entry(path)) is not None]
    for group in _groups(found):
        if heads or not _read_by_names(group, {*wanted, *by}):
            for it in progress([it for it in group if not it.opened], "looking at file"):
                it.look()
            _read_names(group)
    matching = [it for it in found if it.matches(wanted)]
    if alone and not matching:
        _refuse_unknown(found, wanted)
    return matching


def _refuse_unknown(entries: list[Entry], wanted: dict[str, list[str]]) -> None:
    """Raise an error where a field is asked for that none of *entries*, whose files were looked into, has.

    :raises UsageError: there is such a field
    """
    known = {key for it in entries for key in it.fields | it.keys}
    for key in wanted:
        if known and key not in known and not any(it.problem is not None for it in entries):
            raise UsageError(f"{key}= asks for a field that no result here has; there are {', '.join(sorted(known))}")


def _entry(path: str) -> Entry | None:
    try:
        return Entry(path)
    except FileNotFoundError:  # removed just now
        return None


def _groups(entries: list[Entry]) -> Collection[list[Entry]]:
    """Return *entries* by what their names have in common, which are of one class as a rule."""
    groups: dict[tuple[str, tuple[str, str]], list[Entry]] = {}
    for it in entries:
        groups.setdefault((it.path[: -len(it.name)], names.group_of(it.name)), []).append(it)
    return groups.values()


def _read_by_names(group: list[Entry], needed: set[str]) -> bool:
    """Set class and keys of *group*, of which as few files as possible are opened; return whether that could be done.

    :param needed: the fields that have to be known
    """
    if len(group) < _MANY:
        return False
    sample = [it for it in group[:: len(group) // names.SAMPLE] if it.look() and it.bare]
    shown = [(it.name, it.fields) for it in sample]
    scheme = (scheme_of_all(shown) or scheme_of_most(shown, 0.9)) if sample else None
    if scheme is None or not needed.issubset(scheme.keys):
        return False
    by_name = {it.name: it for it in group}

    def look(name: str) -> dict[str, Any] | None:
        return by_name[name].fields if by_name[name].look() else None

    suffixes = [it for it in SUFFIXES if any(name.endswith(it) for name in by_name)]
    try:
        keys = Reader(scheme, suffixes, dict(shown), look).keys_of(list(by_name))
    except SchemeError:
        return False
    for it in group:
        if it.size_bytes and it.name in keys and not it.opened:
            it.keys = keys[it.name]
        else:
            it.look()
            it.take_keys(scheme)
        it.class_name = it.class_name or scheme.class_name
    return True


def _read_names(group: list[Entry]) -> None:
    """Set class and keys of *group*, whose files were looked into."""
    whole = [it for it in group if it.problem is None]
    reading: names.Reading | Scheme = names.Reading(names.group_of(group[0].name)[1], ())
    if whole:
        found = [it.name for it in whole], [it.fields for it in whole]
        most = names.agreed_reading_of(*found) or scheme_of_most(list(zip(*found, strict=True)))
        reading = most or names.reading_of(*found)
    for it in group:
        it.class_name = it.class_name or reading.class_name
        it.take_keys(reading)


def hits_in(folder: str, info: PersistentClass[Any], *, recursive: bool) -> Iterator[tuple[str, Hit[Any]]]:
    """Yield the files in *folder* of the class *info*, with their paths; no file is opened whose name says enough."""
    for place in [it for it, _, _ in os.walk(folder)] if recursive else [folder]:
        for suffix in SUFFIXES:
            for hit in progress(
                PickleHandler(info.persistence_cls, place, ext=suffix, trusted=False).find(), "looking at file"
            ):
                yield hit.name if place == os.curdir else joined(place, hit.name), hit


def _of_class(
    folder: str, info: PersistentClass[Any], wanted: dict[str, list[str]], *, recursive: bool
) -> Iterator[Entry]:
    """Yield the entries for them."""
    named = {it.field_name for it in info.named_fields}
    for path, hit in hits_in(folder, info, recursive=recursive):
        entry = _entry(path)
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
    """Return the results that *words* name: files, and what is in folders, with the keys asked for. All were looked into.

    :raises UsageError: a word is neither a file nor ``key=value``
    """
    paths, wanted = targets(words)
    found: list[Entry] = []
    for path in paths:
        if os.path.isdir(path):
            found += entries_in(path, recursive=recursive, info=info, wanted=wanted, heads=True, alone=len(paths) == 1)
        else:
            entry = _entry(path)
            if entry is not None:
                entry.look()
                _read_names([entry])
                found += [entry] if entry.matches(wanted) else []
    return found
