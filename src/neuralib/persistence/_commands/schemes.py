"""How the names of one class are made, told from a few of its files: so other names say what is in theirs.

Or what is not in it: a file whose keys give another name was renamed, copied, or changed by another program.
"""

from __future__ import annotations

import functools
import operator
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from neuralib.persistence import _names
from neuralib.persistence._commands import names
from neuralib.persistence._finding.listing import Pattern, readings
from neuralib.persistence._naming.typed import UNDECIDED, reader_of_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Fields = dict[str, Any]

_FEW_TEXTS = 64  # of a key: where there are no more, each is looked for in a file


class Scheme(NamedTuple):
    """How the names of a class are made: ``cache``, the class, and each key after its prefix, with a splitter between."""

    splitter: str
    class_name: str
    keys: tuple[str, ...]
    prefixes: tuple[str, ...]

    def agrees(self, name: str, fields: Fields) -> bool | None:
        """Return whether the keys in *fields* are those in *name*; None where this can't be told without the class.

        A class may leave keys out of its names, and another class may begin with the same word.
        """
        stem, texts = names.stem_of(name), names.texts_of(fields)
        found = names.split(stem, texts, self.keys, self.splitter)
        if found is not None:
            class_name, prefixes = found
            alike = all(map(_alike, prefixes, self.prefixes, (texts[it] for it in self.keys)))
            return alike if class_name == self.class_name else None
        mine = set(self.keys)
        for class_name, keys in names.readings(stem, texts, self.splitter):
            if class_name == self.class_name and (mine <= set(keys) or set(keys) <= mine):
                return None
        return False

    @property
    def literals(self) -> tuple[str, ...]:
        """The fixed texts of a name, without the suffix."""
        head = f"{names.START}{self.splitter}{self.class_name}"
        return tuple(f"{'' if i else head}{self.splitter}{it}" for i, it in enumerate(self.prefixes))


def _alike(prefix: str, usual: str, text: str) -> bool:
    """Return whether *prefix* is the *usual* one, but for zeros that fill up a number."""
    return prefix == usual or (text.isdecimal() and prefix.rstrip("0") == usual.rstrip("0"))


def scheme_of_most(found: Sequence[tuple[str, Fields]], least: float = 0.5) -> Scheme | None:
    """Return the scheme by which most of the names are made, of files of one group with these fields.

    None where there is none that tells all that is in the names: a key of a class of its own, or one whose text the class
    makes by a function, is not told by the file.

    :param least: how large a part of the names that has to be
    """
    splitter, first = names.group_of(found[0][0])
    if not splitter:
        return None
    sample = found[:: max(1, len(found) // names.SAMPLE)]
    counts: Counter[Scheme] = Counter()
    for name, fields in sample:
        stem, texts = names.stem_of(name), names.texts_of(fields)
        for class_name, keys in names.readings(stem, texts, splitter):
            if class_name == first and keys:
                _, prefixes = names.split(stem, texts, keys, splitter) or ("", ())
                counts[Scheme(splitter, first, keys, prefixes)] += 1
    if not counts:
        return None
    best = max(counts, key=lambda it: (counts[it], len(it.keys)))
    agreeing = sum(best.agrees(*it) is True for it in sample)
    return best if agreeing >= least * len(sample) else None


def scheme_of_all(found: Sequence[tuple[str, Fields]]) -> Scheme | None:
    """Return the scheme by which all names of these files are made, or None."""
    splitter, _ = names.group_of(found[0][0])
    reading = names.agreed_reading_of([name for name, _ in found], [fields for _, fields in found])
    if reading is None or not reading.keys:
        return None
    split = {names.split(names.stem_of(name), names.texts_of(it), reading.keys, splitter) for name, it in found}
    parts = split.pop()
    if split or parts is None:
        return None
    return Scheme(splitter, parts[0], reading.keys, parts[1])


class SchemeError(Exception):
    """A name is not made as those that were looked at."""


class Reader:
    """Reads the keys of many files of one class from their names; from a file only where its name does not tell.

    :param scheme: how the names are made
    :param suffixes: how they end
    :param opened: files that were looked into, by name
    :param look: gives the fields of a file, or None where it can't be read
    """

    def __init__(
        self, scheme: Scheme, suffixes: Sequence[str], opened: dict[str, Fields], look: Callable[[str], Fields | None]
    ) -> None:
        self._scheme, self._look = scheme, look
        columns = tuple(range(len(scheme.keys)))
        self._patterns = [Pattern((*scheme.literals, it), columns) for it in suffixes]
        kinds = [{type(it[key]) for it in opened.values()} for key in scheme.keys]
        self._readers = [functools.cache(reader_of_kind(functools.reduce(operator.or_, it))) for it in kinds]
        self._numeric = [it <= {int, float} for it in kinds]
        self._known: list[set[str]] = [set() for _ in columns]
        for name, fields in opened.items():
            self._note(name, fields)

    def _note(self, name: str, fields: Fields) -> None:
        """Remember which texts the keys have.

        :raises SchemeError: the name is made in another way
        """
        agrees = self._scheme.agrees(name, fields)
        if agrees is None:
            raise SchemeError(name)
        if not agrees:  # the file belongs under another name, and says nothing of this one
            return
        texts = names.texts_of(fields)
        for key, known in zip(self._scheme.keys, self._known, strict=True):
            known.add(texts[key])

    def keys_of(self, all_names: Sequence[str]) -> dict[str, Fields]:
        """Return the keys of each of *all_names* that tells them; of the others, nothing.

        :raises SchemeError: there is a name that is made in another way
        """
        table = _names.read_names(list(all_names), self._patterns, (None,) * len(self._scheme.keys))
        few = [len(it) <= _FEW_TEXTS for it in table.texts]
        found = {}
        for row, name in enumerate(table.names):
            if table.doubtful(row):
                texts = self._only_reading(name)
            else:
                texts = tuple(map(operator.getitem, table.texts, table.codes_of(row)))
                if not self._is_known(texts, few) and not self._looked_into(name):
                    continue
            keys = None if texts is None else self._values(texts)
            if keys is not None:
                found[name] = keys
            elif table.doubtful(row):
                self._looked_into(name)
        return found

    def _looked_into(self, name: str) -> bool:
        """Look into the file *name* for texts that are not known yet; return whether it could be read."""
        fields = self._look(name)
        if fields is not None:
            self._note(name, fields)
        return fields is not None

    def _is_known(self, texts: Sequence[str], which: Sequence[bool]) -> bool:
        return all(text in known for text, known, it in zip(texts, self._known, which, strict=True) if it)

    def _only_reading(self, name: str) -> tuple[str, ...] | None:
        """Return the texts of a name that can be read in more than one way, where one way alone has texts that are known."""
        which = [not it for it in self._numeric]
        found = [
            texts
            for it in readings(name, self._patterns)
            if self._is_known(texts := tuple(it[i] for i in range(len(which))), which) and self._values(texts)
        ]
        return found[0] if len(found) == 1 else None

    def _values(self, texts: Sequence[str]) -> Fields | None:
        """Return the keys that have *texts*; None where a text does not tell its value."""
        found = {}
        for key, read, text in zip(self._scheme.keys, self._readers, texts, strict=True):
            value = found[key] = read(text)
            if value is UNDECIDED:
                return None
        return found
