"""The files that a command is about: found in folders, grouped by class and keys, chosen by ``key=value``."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from typing import TYPE_CHECKING, Any

from neuralib.persistence._classes.name_texts import START
from neuralib.persistence._codecs.card import card_of
from neuralib.persistence._commands.naming import (
    SUFFIXES,
    NameReader,
    compare,
    key_value,
    text_in_name,
)
from neuralib.persistence._commands.screen import progress
from neuralib.persistence._errors import PersistenceError
from neuralib.persistence._finding.former import warn_of_former_names
from neuralib.persistence._finding.found import Hit
from neuralib.persistence._finding.listing import Listing
from neuralib.persistence._finding.query import NOTHING_ASKED
from neuralib.persistence._handlers.heads import read_head
from neuralib.persistence._handlers.pickles import PickleHandler
from neuralib.persistence._naming.order import natural
from neuralib.persistence._naming.typed import UNDECIDED
from neuralib.persistence._showing.previews import is_array, is_object_head
from neuralib.persistence._stores.base import LEFTOVER_PREFIX, Stat
from neuralib.persistence._stores.files import stat_of_file
from neuralib.persistence._stores.paths import PATHS, is_archive, is_url, store_at
from neuralib.persistence._stores.system import joined
from neuralib.persistence._tasks import read_ahead

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterable, Iterator

    from neuralib.persistence._classes.schema import PersistentClass
    from neuralib.persistence._codecs.card import Card

_MANY = 50  # files whose names begin alike: of fewer, each is opened
_SAMPLE = 25  # of these that are opened for their cards
_MOST_CLASSES = 8  # whose names begin alike: of more, each file is opened
_MOST_CARDS = 1000  # that are shared
_VERY_MANY = 20_000  # files from which on they are shown while they are read
_FIRST_PART = 500
_PART = 5_000


class UsageError(Exception):
    """The command was called in a way that can't work; the message says what to do."""


_cards: dict[bytes, Card] = {}
"""By what stands in files: many have the same card."""


class Entry:
    """One file.

    :param path: as it is to be shown
    :param known: what is known of it already
    :raises FileNotFoundError: there is nothing
    """

    __slots__ = (
        "card", "fields", "keys", "known_fields", "label", "misnamed", "modified", "name",
        "opened", "path", "problem", "readable_name", "size_bytes", "type_name", "version",
    )  # fmt: skip

    def __init__(self, path: str, known: Stat | None = None) -> None:
        self.path = path
        self.name = os.path.basename(path)
        self.card: Card | None = None
        self.label = ""
        """The class, as it is shown."""
        self.type_name = ""
        """Of a file without a card: the class, where its pickle says it."""
        self.keys: dict[str, Any] = {}
        """Those that show in the name."""
        self.fields: dict[str, Any] = {}
        """Those in the file that were asked for."""
        self.known_fields: Collection[str] = ()
        """The names of the fields that the file may have, as far as they are known."""
        self.problem: Exception | None = None
        self.misnamed = False
        """Whether it is known that the keys in the file are not those of its name."""
        self.readable_name = True
        """Whether the card tells how the name is read."""
        self.opened = False
        if known is None or not known.regular:
            try:
                known = _stat_of(path)
            except OSError as error:
                self.problem, self.opened = error, True
                known = PATHS.stat(path)
        self.size_bytes, self.modified = known.size_bytes, known.time_modified_s
        self.version = known.version
        """Differs where the content was replaced since."""

    @property
    def class_name(self) -> str:
        """The class's part of the name; nothing where that is not known."""
        return self.type_name.rpartition(".")[2] if self.card is None else self.card.name

    @property
    def is_result(self) -> bool:
        """Whether this is a result, whole or damaged, and not a file of another program."""
        return bool(self.class_name) or (self.name.startswith(START) and self.name.endswith(SUFFIXES))

    def look(self, needed: Collection[str] = ()) -> None:
        """Look into the file, if that was not done yet.

        :param needed: the fields to be kept, beside the keys
        """
        if self.opened:
            return
        self.opened = True
        self.card, self.keys = None, {}  # they were read from the name
        try:
            head = read_head(self.path)
        except (PersistenceError, OSError, ImportError) as error:
            self.problem = error
            return
        self.fields = {name: head.fields[name] for name in needed if name in head.fields}
        if head.card is None:
            self.known_fields, self.type_name = tuple(head.fields), head.type_name or ""
            return
        self.card = card = _shared(head.card)
        self.known_fields = card.fields
        verdict, texts = compare(self.name, card, head.fields)
        self.misnamed = verdict is False
        self.readable_name = self.misnamed or texts is not None
        self.keys = dict(_keys_of(card, head.fields, texts or {}))

    def matches(self, wanted: dict[str, list[str]]) -> bool:
        """Return whether each key has one of the values that are *wanted*."""
        values = self.fields | self.keys
        return all(
            key in values and any(_is_text_of(text, values[key]) for text in texts) for key, texts in wanted.items()
        )


def _stat_of(path: str) -> Stat:
    """Return what is known of the file *path*, where a link may lead to it.

    :raises OSError: it is no file
    """
    if _is_store(os.path.dirname(path)):
        return PATHS.stat(path)
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        os.scandir(path).close()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is a folder, a pipe or a device, not a file", path)
    return stat_of_file(status)


def holds_results(path: str) -> bool:
    """Return whether *path* is a folder, an archive, or the URL of a bucket or of a prefix in it."""
    return os.path.isdir(path) or _is_store(path)


def kind_of_place(path: str) -> str:
    """Return what *path*, which holds results, is called in messages."""
    return "a bucket" if is_url(path) else "an archive" if is_archive(path) else "a folder"


def _is_store(path: str) -> bool:
    return is_archive(path) or (is_url(path) and not path.endswith(SUFFIXES))


def _is_there(path: str) -> bool:
    return holds_results(path) or PATHS.has(path)


def _shared(card: Card) -> Card:
    if len(_cards) >= _MOST_CARDS:
        _cards.clear()
    return _cards.setdefault(card.to_bytes(), card._replace(arrays=()))


def _keys_of(card: Card, fields: dict[str, Any], texts: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """Yield the keys of a file that holds *fields*, as its name shows them.

    :param texts: those in the name, which stand for values that only the class can make
    """
    for key, _ in card.keys:
        text = text_in_name(card, fields[key]) if key in fields else None
        if text is not None:
            value = key_value(card, key, text)
            yield key, fields[key] if value is UNDECIDED else value
        elif key in texts:
            yield key, texts[key]


def _is_text_of(text: str, value: Any) -> bool:
    if is_object_head(value) or (is_array(value) and value.shape):
        return False
    try:
        if str(value) == text:
            return True
        return isinstance(value, (int, float)) and not isinstance(value, bool) and float(text) == value
    except (ValueError, OverflowError):
        return False


def _parsed_keys(words: Iterable[str]) -> dict[str, list[str]]:
    """Return the values that ``key=value`` words ask for; a key that comes twice may have either value.

    :raises UsageError: a word is something else
    """
    found: dict[str, list[str]] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or not key.isidentifier():
            raise UsageError(f"{word!r} is neither an existing file nor key=value, as in animal=A00")
        found.setdefault(key, []).append(value)
    return found


def path_in(folder: str, name: str) -> str:
    """Return the path of *name* in *folder*, as it is to be shown."""
    return name if folder == os.curdir else joined(folder, name)


def places_in(top: str, *, recursive: bool) -> Iterator[str]:
    """Yield *top*; with *recursive*, also the folders and archives in it. Links to them, and hidden folders, are left out."""
    yield top
    if not recursive or _is_store(top):
        return
    below: list[str] = []
    with contextlib.suppress(OSError), os.scandir(top) as entries:  # listing it later raises the error
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                below += [] if entry.name.startswith(".") else [entry.name]
            elif is_archive(entry.path) and not entry.is_symlink():
                below.append(entry.name)
    for name in sorted(below, key=natural):
        yield from places_in(path_in(top, name), recursive=True)


def files_in(top: str, *, recursive: bool) -> Iterator[tuple[str, Stat | None]]:
    """Yield the paths of the results in a folder, archive or bucket, in the order of their names, numbers by size (2 before 10).

    Links to nothing, pipes, and folders inside that can't be read are among them: looking at them raises the error.

    :return: with what the list of an archive or a bucket has of each
    :raises OSError: there is no such folder
    """
    for place in places_in(top, recursive=recursive):
        try:
            found = dict(_listed(place))
        except OSError:
            if place == top:
                raise
            yield place, None
        else:
            yield from ((path_in(place, name), found[name]) for name in sorted(found, key=natural))


def _listed(place: str) -> Iterator[tuple[str, Stat | None]]:
    """Yield the names of the results in one folder, archive or bucket, in any order."""
    if _is_store(place):
        yield from ((name, known) for name, known in store_at(place).stats() if name.endswith(SUFFIXES))
        return
    with os.scandir(place) as entries:
        for entry in entries:
            name = entry.name
            if name.endswith(SUFFIXES) and not name.startswith(LEFTOVER_PREFIX) and not _is_folder(entry):
                yield name, None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _existing(files: Iterable[tuple[str, Stat | None]]) -> list[Entry]:
    found = []
    for path, known in files:
        try:
            found.append(Entry(path, known))
        except FileNotFoundError:  # removed just now
            continue
    return found


def matching_among(
    found: list[Entry], wanted: dict[str, list[str]], by: Collection[str] = (), *, heads: bool, readers: int = 1
) -> list[Entry]:
    """Return those of *found* that have the keys *wanted*, looked at as far as that is needed: see :func:`selected`."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in found:
        groups.setdefault((entry.path[: -len(entry.name)], _start_of(entry.name)), []).append(entry)
    needed = {*wanted, *by}
    for group in groups.values():
        if heads or not _read_names(group, needed):
            unopened = progress([entry for entry in group if not entry.opened], "looking at file")
            for entry, look in read_ahead(readers, lambda entry: entry.look(needed), unopened):
                look(entry)
    return [entry for entry in found if entry.matches(wanted)]


def many_in(folder: str) -> Iterator[list[Entry]] | None:
    """Return the entries of a folder or archive in parts, in the order of characters; None where there are not very many.

    :raises OSError: there is no such folder
    """
    found = _listed(folder)
    if not is_archive(folder):  # which is read in this order
        found = iter(sorted(found))
    first = list(itertools.islice(found, _VERY_MANY))
    return None if len(first) < _VERY_MANY else _in_parts(itertools.chain(first, found), folder)


def _in_parts(found: Iterator[tuple[str, Stat | None]], folder: str) -> Iterator[list[Entry]]:
    size = _FIRST_PART
    while part := list(itertools.islice(found, size)):
        yield _existing((path_in(folder, name), known) for name, known in part)
        size = _PART


def _start_of(name: str) -> str:
    """Return how the names of one class begin: up to the second splitter, which is whatever follows the first word."""
    splitter = name[len(START) : len(START) + 1]
    return splitter + name[len(START) + 1 :].split(splitter, 1)[0] if splitter and name.startswith(START) else ""


def refuse_unknown(entries: list[Entry], wanted: dict[str, list[str]]) -> None:
    """Raise an error where a field is asked for that none of *entries* has.

    :raises UsageError: there is such a field
    """
    known = {name for entry in entries for name in entry.known_fields}
    for key in wanted:
        if known and key not in known and not any(entry.problem is not None for entry in entries):
            raise UsageError(
                f"{key}= asks for a field that no result here has; the fields are {', '.join(sorted(known))}"
            )


def _read_names(group: list[Entry], needed: set[str]) -> bool:
    """Set class and keys of *group*, whose names begin alike; a few files are opened for their cards.

    :param needed: the fields that have to be known
    :return: whether that could be done; else all files have to be opened
    """
    if len(group) < _MANY:
        return False
    readers: dict[int, NameReader] = {}
    left, opening = group, _SAMPLE
    while left:
        opened = left[:: max(1, len(left) // opening)]
        for entry in progress(opened, "looking at file"):
            entry.look(needed)
            if entry.problem is not None:
                continue
            card = entry.card
            if card is None or not entry.readable_name or not needed <= {key for key, _ in card.keys}:
                return False  # of another program, as others may be; or a field is needed that is in no name
            reader = readers.setdefault(id(card), NameReader(card))
            if not entry.misnamed:
                reader.note({key: text_in_name(card, value) or "" for key, value in entry.keys.items()})
        if len(readers) > _MOST_CLASSES or any(reader.card.function_keys for reader in readers.values()):
            return False
        left = _undetermined(readers.values(), [entry for entry in group if not entry.opened])
        opening *= 2
    return True


def _undetermined(readers: Collection[NameReader], entries: list[Entry]) -> list[Entry]:
    """Set class and keys of those *entries* whose names tell them; return the others."""
    found: dict[str, list[tuple[Card, dict[str, Any] | None]]] = {entry.name: [] for entry in entries}
    for reader in readers:
        for name, keys in reader.read(found):
            found[name].append((reader.card, keys))
    left = []
    for entry in entries:
        readings = found[entry.name]
        if len(readings) == 1 and readings[0][1] is not None and entry.size_bytes:
            entry.card, entry.keys = readings[0]  # type: ignore[assignment]  # the keys are not None
            entry.known_fields = readings[0][0].fields
        else:
            left.append(entry)
    return left


def hits_in(folder: str, info: PersistentClass[Any], *, recursive: bool) -> Iterator[tuple[str, Hit[Any]]]:
    """Yield the files in *folder* of the class *info*, with their paths; no file is opened whose name says enough."""
    for place in places_in(folder, recursive=recursive):
        keeper = PickleHandler(info.persistence_cls, place, trusted=False)._keeper
        listing = Listing(keeper, NOTHING_ASKED, every=True)
        rows = listing.candidates(NOTHING_ASKED)
        if not rows:
            warn_of_former_names(keeper)
        for row in progress(rows, "looking at file"):
            yield path_in(place, listing.name(row)), Hit(listing, row)


def _of_class(
    folder: str, info: PersistentClass[Any], wanted: dict[str, list[str]], *, recursive: bool
) -> Iterator[Entry]:
    """Yield the entries for them."""
    hits = dict(hits_in(folder, info, recursive=recursive))
    named = {field.field_name for field in info.named_fields}
    for entry in _existing((path, None) for path in hits):
        if not named.issuperset(wanted):
            entry.look(wanted)
        entry.card = card = card_of(info)
        entry.known_fields = card.fields
        try:
            entry.keys = dict(_keys_of(card, hits[entry.path].keys, {}))
        except (PersistenceError, OSError) as error:
            entry.problem = error
        yield entry


def targets(words: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the files and folders among *words*, and the keys asked for.

    :raises UsageError: a word is neither
    """
    first_key = (place for place, word in enumerate(words) if "=" in word and not _is_there(word))
    split = next(first_key, len(words))
    for path in words[:split]:
        if not _is_there(path):
            raise UsageError(f"{path!r}: no such file or folder")
    return words[:split], _parsed_keys(words[split:])


def selected(
    options: argparse.Namespace, info: PersistentClass[Any] | None, *, by: Collection[str] = (), heads: bool
) -> list[Entry]:
    """Return the results that were asked for: files, and what is in folders, with the keys that are wanted.

    :param info: of folders, the results of this class alone
    :param by: other fields that are needed
    :param heads: look into each file, also where names tell enough
    :raises UsageError: in one place alone, there are results, none of which has a field that is wanted
    """
    wanted = options.wanted
    found: list[Entry] = []
    for path in options.paths or [os.curdir]:
        is_place = holds_results(path)
        if is_place and info is not None:
            hits = _of_class(path, info, wanted, recursive=options.recursive)
            found += [entry for entry in hits if entry.matches(wanted)]
            continue
        here = _existing(files_in(path, recursive=options.recursive) if is_place else [(path, None)])
        readers = store_at(path).in_flight if is_place and is_url(path) else 1
        matching = matching_among(here, wanted, by, heads=heads, readers=readers)
        if len(options.paths) < 2 and not matching:
            refuse_unknown(here, wanted)
        found += matching
    return found
