"""What is in a folder, from names alone: which names belong to a class, the values of their keys, and their order."""

from __future__ import annotations

import itertools
import logging
import os
import re
from typing import TYPE_CHECKING, Any

from neuralib.persistence import _names
from neuralib.persistence._classes.name_texts import has_text, text_of
from neuralib.persistence._classes.schema import default_maker
from neuralib.persistence._errors import KeyMismatchError, shown
from neuralib.persistence._naming.names import Pattern, patterns_of
from neuralib.persistence._naming.typed import UNDECIDED, reader_of
from neuralib.persistence._stores.base import listed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from neuralib.persistence._classes.field import PersistentField
    from neuralib.persistence._finding.query import Conditions
    from neuralib.persistence._keeping.keeper import Keeper

_MOST_READINGS = 256  # of one name: with more, only what is in the file can tell
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]?\d+)?", re.ASCII)
_DIGITS = re.compile(r"(\d+)", re.ASCII)


Series = tuple[int | str, ...]
"""Stands for the keys of a result but its number."""


class Listing:
    """The names in a store that belong to a class, at one time. Files are opened only to tell what names don't.

    :param keeper: what keeps the results
    :param conditions: what the keys have to be; those that names tell are made use of here
    :param template: see :func:`patterns_of`
    """

    def __init__(self, keeper: Keeper[Any], conditions: Conditions, template: Any = None) -> None:
        self.keeper = keeper
        self.store = keeper.store
        self.fields = keeper.info.named_fields
        self.columns = {it.field_name: column for column, it in enumerate(self.fields)}
        self.template = template
        self.patterns = patterns_of(keeper.names, keeper.info, template)
        asked = [conditions.texts.get(it.field_name) or () for it in self.fields]
        wanted = tuple(next(iter(texts)) if len(texts) == 1 else None for texts in asked)
        self.table = _names.read_names(listed(self.store, _common_start(self.patterns)), self.patterns, wanted)
        self._readers = [reader_of(it) for it in self.fields]
        self._values: list[list[Any]] = [[_UNREAD] * len(it) for it in self.table.texts]
        self._stored: dict[int, dict[str, Any]] = {}
        self._codes: list[dict[str, int]] | None = None
        self._own_texts = len(self.patterns) > 1 or any(callable(it.filename) for it in self.fields)
        self._names = tuple(self.columns)

    def __len__(self) -> int:
        return len(self.table.names)

    def name(self, row: int) -> str:
        """Return the name of the result."""
        return self.table.names[row]

    def location(self, row: int) -> str:
        """Return where the result is, for messages."""
        return self.store.location(self.table.names[row])

    # ------------------------------------------------------------------------------------------ which rows

    def candidates(self, conditions: Conditions) -> list[int]:
        """Return the rows whose names may belong to *conditions*, in the order of their keys; no file is opened."""
        table = self.table
        admitted = tuple(self._admitted(column, conditions) for column in range(len(self.fields)))
        rows = table.select(admitted, tuple(_ranks(it) for it in table.texts))
        if table.any_doubtful and any(it is not None for it in admitted):
            rows = [it for it in rows if not table.doubtful(it) or self._name_belongs(it, conditions) is not False]
        return rows

    def matching(self, conditions: Conditions, among: list[int] | None = None) -> list[int]:
        """Return the rows that belong to *conditions*, in the order of their keys; files are opened where names don't tell.

        :param among: the rows to choose from, whose order stays
        :raises CorruptResultError: a file that had to be opened is damaged
        """
        rows = self.candidates(conditions)
        if among is not None:
            chosen = set(rows)
            rows = [it for it in among if it in chosen]
        if self._names_tell(conditions):
            return rows
        return [it for it in rows if self._belongs(it, conditions)]

    def _admitted(self, column: int, conditions: Conditions) -> bytes | None:
        """Return what :meth:`NameTable.select` admits in *column*: all that may belong to *conditions*."""
        name = self.fields[column].field_name
        texts, test = conditions.texts.get(name), conditions.tests.get(name)
        if texts is None and test is None:
            return None
        there = self.table.texts[column]
        found = bytearray(texts is None or it in texts for it in (None, *there))
        if test is not None:
            for code in range(len(there)):
                if found[code + 1]:
                    value = self._value(column, code)
                    found[code + 1] = value is UNDECIDED or bool(test(value))
        return bytes(found)

    def _names_tell(self, conditions: Conditions) -> bool:
        """Return whether no file needs to be opened for *conditions*."""
        if self.table.any_doubtful and (conditions.texts or conditions.tests):
            return False
        columns = [self.columns.get(it) for it in conditions.tests]
        return not any(it is None or callable(self.fields[it].filename) or self._undecided(it) for it in columns)

    def _undecided(self, column: int) -> bool:
        return any(self._value(column, code) is UNDECIDED for code in range(len(self.table.texts[column])))

    def _belongs(self, row: int, conditions: Conditions) -> bool:
        verdict = self._name_belongs(row, conditions)
        if verdict is False:
            return False
        outside = [it for it in conditions.tests if it not in self.columns]
        if verdict and not outside:
            return True
        try:
            fields = self.stored(row, outside)
        except FileNotFoundError:  # deleted since the names were listed
            return False
        mismatch = self.name_mismatch(row, fields)
        if mismatch is not None:
            log.warning("left out: %s", mismatch)
            return False
        for name, texts in conditions.texts.items():
            if text_of(self.fields[self.columns[name]], fields.get(name)) not in texts:
                return False
        return all(name in fields and bool(test(fields[name])) for name, test in conditions.tests.items())

    def _name_belongs(self, row: int, conditions: Conditions) -> bool | None:
        """Return whether the name belongs to *conditions*; None where only what is in the file can tell."""
        if not self.table.doubtful(row):
            return self._reading_belongs(self._texts_of(row), conditions)
        answers = set()
        for number, texts in enumerate(readings(self.table.names[row], self.patterns)):
            answers.add(self._reading_belongs(texts, conditions))
            if len(answers) == 2 or None in answers or number == _MOST_READINGS:
                return None
        return answers.pop()

    def _reading_belongs(self, texts: dict[int, str], conditions: Conditions) -> bool | None:
        for name, wanted in conditions.texts.items():
            if texts.get(self.columns[name]) not in wanted:
                return False
        known = True
        for name, test in conditions.tests.items():
            column = self.columns.get(name)
            if column is None:
                continue
            value = self._readers[column](texts[column]) if column in texts else UNDECIDED
            if value is UNDECIDED:
                known = False
            elif not test(value):
                return False
        return True if known else None

    def latest(self, rows: list[int]) -> list[int]:
        """Return those of *rows* that have the highest number among those of the same other keys."""
        if not self.keeper.info.numbered:
            return rows
        highest: dict[Series, tuple[int, int]] = {}
        for place, (series, number) in enumerate(self.series(rows)):
            known = highest.get(series)
            if known is None or number > known[0]:
                highest[series] = number, place
        return [rows[place] for place in sorted(place for _, place in highest.values())]

    def series(self, rows: list[int]) -> Iterator[tuple[Series, int]]:
        """Yield, for each of *rows*, what is the same for all that differ in their number only, and the number."""
        numbered = next(column for column, it in enumerate(self.fields) if it.autoinc)
        others = [column for column in range(len(self.fields)) if column != numbered]
        codes = zip(*(self.table.column(it, rows) for it in others), strict=True) if others else itertools.repeat(())
        for row, series, code in zip(rows, codes, self.table.column(numbered, rows), strict=False):
            number = self._value(numbered, code)
            if number is UNDECIDED or (self.table.any_doubtful and self.table.doubtful(row)):
                keys = self.keys(row)
                yield self.series_of(keys), keys[self.fields[numbered].field_name]
            else:
                yield series, number

    def series_of(self, keys: dict[str, Any]) -> Series:
        """Return what :meth:`series` yields for a result with *keys*."""
        if self._codes is None:
            self._codes = [{text: code for code, text in enumerate(it)} for it in self.table.texts]
        texts = [
            (column, text_of(it, keys.get(it.field_name))) for column, it in enumerate(self.fields) if not it.autoinc
        ]
        return tuple(-1 if text is None else self._codes[column].get(text, text) for column, text in texts)

    # ------------------------------------------------------------------------------------------ what a row says

    def _texts_of(self, row: int) -> dict[int, str]:
        codes = self.table.codes_of(row)
        return {column: self.table.texts[column][code] for column, code in enumerate(codes) if code >= 0}

    def _value(self, column: int, code: int) -> Any:
        """Return the value of a text, which is looked for once; UNDECIDED where only what is in the file can tell."""
        values = self._values[column]
        found = values[code]
        if found is _UNREAD:
            found = values[code] = self._readers[column](self.table.texts[column][code])
        return found

    def keys(self, row: int) -> dict[str, Any]:
        """Return the keys in the name, by name; the file is opened where the name does not tell them.

        :raises KeyMismatchError: the file, which had to be opened, holds a result of other keys
        """
        table = self.table
        if row not in self._stored and not table.doubtful(row):
            found = {}
            for column, code in enumerate(table.codes_of(row)):
                value = UNDECIDED if code < 0 else self._value(column, code)
                if value is UNDECIDED:
                    break
                found[self.fields[column].field_name] = value
            else:
                return found
        fields = self.fields_from_file(row, ())
        return {it.field_name: fields[it.field_name] for it in self.fields if it.field_name in fields}

    def values(self, column: int, rows: list[int]) -> list[Any]:
        """Return the values of one key as the names tell them; of :meth:`undetermined_rows` rows, something."""
        values = self._values[column]
        codes = self.table.column(column, rows)
        for code in set(codes):
            if code >= 0:
                self._value(column, code)
        return [values[code] if code >= 0 else None for code in codes]

    def undetermined_rows(self, rows: list[int]) -> set[int]:
        """Return the places in *rows* of names that do not tell all keys."""
        found: set[int] = set()
        if self.table.any_doubtful:
            found.update(place for place, row in enumerate(rows) if self.table.doubtful(row))
        for column in range(len(self.fields)):
            unknown = {
                code for code in range(len(self.table.texts[column])) if self._value(column, code) is UNDECIDED
            } | {-1}
            codes = self.table.column(column, rows)
            if not unknown.isdisjoint(codes):
                found.update(place for place, code in enumerate(codes) if code in unknown)
        return found

    def fields_from_file(self, row: int, more: Collection[str]) -> dict[str, Any]:
        """Return the keys in the name, and the fields *more*, from the file.

        :raises KeyMismatchError: the file holds a result of another name
        """
        found = self._stored.get(row)
        if found is None or any(it not in found for it in more):
            read = self.keeper.fields(self.name(row), [*self.columns, *more])
            if self._agrees(row, read) and all(it in read for it in more):
                return read  # nothing needs to be kept of it
            found = self._stored[row] = {**(found or {}), **self._completed(read, more)}
        self.refuse_name_mismatch(row, found)
        return found

    def _agrees(self, row: int, fields: dict[str, Any]) -> bool:
        """Return whether the keys in *fields* are surely those of the row's name, without making the name anew."""
        return not self._own_texts and self.table.agrees(row, self._names, fields)

    def refuse_name_mismatch(self, row: int, fields: dict[str, Any]) -> None:
        """Raise an error where a result with the keys in *fields* does not belong under the name of the row.

        :raises KeyMismatchError: it does not
        """
        if not self._agrees(row, fields):
            mismatch = self.name_mismatch(row, fields)
            if mismatch is not None:
                raise mismatch

    def stored(self, row: int, more: Collection[str]) -> dict[str, Any]:
        """Return what the file says of the keys in its name, and of the fields *more*: those that it has."""
        found = self._stored.get(row)
        if found is None or any(it not in found for it in more):
            found = self._stored[row] = {**(found or {}), **self.read(row, more)}
        return found

    def read(self, row: int, more: Collection[str]) -> dict[str, Any]:
        """Return the same as the file says now."""
        return self._completed(self.keeper.fields(self.name(row), [*self.columns, *more]), more)

    def _completed(self, read: dict[str, Any], more: Collection[str]) -> dict[str, Any]:
        """Return the keys in the name, and the fields *more*, of those that were *read*, or their defaults."""
        names = [*self.columns, *more]
        found = {it: read[it] for it in names if it in read}
        for name in names:
            if name not in found:
                _take_default(found, self.keeper.info.get_field(name))
        return found

    def name_mismatch(self, row: int, fields: dict[str, Any]) -> KeyMismatchError | None:
        """Return the error to raise where a result with the keys in *fields* does not belong under the name of the row."""
        name = self.table.names[row]
        keys = {it.field_name: fields.get(it.field_name) for it in self.fields}
        owner = self.keeper.info.persistence_cls.__qualname__
        unprintable_keys = [it.field_name for it in self.fields if not has_text(it, keys[it.field_name])]
        if unprintable_keys:
            return KeyMismatchError(
                owner, unprintable_keys[0], name, shown(keys[unprintable_keys[0]]), self.location(row)
            )
        if self.keeper.names.name(self.template, keys) == name:
            return None
        texts = self._texts_of(row)
        for column, it in enumerate(self.fields):
            text = text_of(it, keys[it.field_name])
            if texts.get(column) != text:
                return KeyMismatchError(owner, it.field_name, shown(texts.get(column)), shown(text), self.location(row))
        return KeyMismatchError(owner, "", name, self.keeper.names.name(self.template, keys), self.location(row))


_UNREAD: Any = object()
log = logging.getLogger("neuralib.persistence")


def _common_start(patterns: list[Pattern]) -> str:
    """Return the text with which all names of *patterns* begin."""
    return os.path.commonprefix(  # noqa: RUF071 - not of paths
        [pattern.literals[0] for pattern in patterns]
    )


def _take_default(found: dict[str, Any], declared: PersistentField[Any] | None) -> None:
    """Put the default of the field *declared*, which a file lacks, into *found*, if it has one."""
    if declared is not None and declared.optional:
        make = default_maker(declared)
        found[declared.field_name] = declared.default if make is None else make()


def readings(name: str, patterns: list[Pattern]) -> Iterator[dict[int, str]]:
    """Yield each way to read *name*: the texts between the literals of a pattern, by column."""
    for literals, columns in patterns:
        end = len(name) - len(literals[-1])
        if not columns and name == literals[0]:
            yield {}
        elif columns and end >= len(literals[0]) and name.startswith(literals[0]) and name.endswith(literals[-1]):
            for texts in _split(name, len(literals[0]), end, literals[1:-1]):
                yield dict(zip(columns, texts, strict=True))


def _split(name: str, start: int, end: int, literals: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if not literals:
        yield (name[start:end],)
        return
    at = name.find(literals[0], start, end)
    while at >= 0:
        for rest in _split(name, at + len(literals[0]), end, literals[1:]):
            yield (name[start:at], *rest)
        at = name.find(literals[0], at + 1, end)


def _ranks(texts: list[str]) -> list[int]:
    """Return the place of each of *texts* in their order: numbers first, by size (2 before 10), then texts."""
    found = _names.rank_numbers(texts)
    if found is None:
        found = [0] * len(texts)
        for rank, place in enumerate(sorted(range(len(texts)), key=lambda it: natural(texts[it]))):
            found[place] = rank
    return found


def natural(text: str) -> tuple[int, float, list[tuple[int, str] | tuple[int, int]], str]:
    """Return what sorts *text* among others as a person would: 2 before 10, 0.25 before 0.5, s2 before s10."""
    if _NUMBER.fullmatch(text):
        return 0, float(text) if "." in text or "e" in text else int(text), [], text
    parts = _DIGITS.split(text)
    return 1, 0, [(0, int(it)) if place % 2 else (1, it) for place, it in enumerate(parts)], text
