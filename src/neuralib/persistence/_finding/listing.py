"""The contents of a store by names alone: which names belong to a class, the values of their keys, and their order."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from neuralib.persistence import _names
from neuralib.persistence._classes.name_texts import has_text, text_of
from neuralib.persistence._classes.schema import default_maker
from neuralib.persistence._errors import KeyMismatchError, PersistenceError
from neuralib.persistence._finding.candidates import candidate_names
from neuralib.persistence._finding.not_results import warn_left_out
from neuralib.persistence._log import is_first, log
from neuralib.persistence._messages import shown
from neuralib.persistence._naming.equal import is_name_of
from neuralib.persistence._naming.names import MOST_READINGS, patterns_of, readings
from neuralib.persistence._naming.order import ranks
from neuralib.persistence._naming.typed import UNDECIDED, reader_of, texts_matching

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable

    from neuralib.persistence._classes.field import PersistentField
    from neuralib.persistence._finding.query import Conditions
    from neuralib.persistence._keeping.keeper import Keeper
    from neuralib.persistence._stores.base import Store


class Listing:
    """The names in a store that belong to a class, at one time. Files are opened only where names don't tell enough.

    :param keeper: the keeper of the results
    :param conditions: the names are listed that may fit these conditions
    :param template: see :func:`patterns_of`
    :param every: list also files of other formats beside which a file in the handler's own format has the same keys
    """

    def __init__(
        self, keeper: Keeper[Any], conditions: Conditions, template: Any = None, *, every: bool = False
    ) -> None:
        self.keeper = keeper
        self.store = keeper.store
        self._source = self.store  # from which files are read
        self.fields = keeper.info.named_fields
        self.columns = {declared.field_name: column for column, declared in enumerate(self.fields)}
        self.template = template
        self.patterns = patterns_of(keeper.names, keeper.info, template)
        self._wanted = tuple(conditions.texts.get(field.field_name) for field in self.fields)
        self.table = _names.read_names(
            candidate_names(self.store, self.patterns, self._wanted), self.patterns, self._wanted
        )
        n_own = len(self.patterns) // (1 + len(keeper.names.others))
        if self.table.last_pattern >= n_own and not every:
            self._leave_out_superseded()
        self._readers = [reader_of(declared) for declared in self.fields]
        self._values: list[list[Any]] = [[_UNREAD] * len(texts) for texts in self.table.texts]
        self._stored: dict[int, dict[str, Any]] = {}
        self._own_texts = any(callable(declared.filename) for declared in self.fields)
        self._names = tuple(self.columns)

    def _leave_out_superseded(self) -> None:
        """Leave out files of other formats beside which there is one of the same keys in the handler's own."""
        table, suffix = self.table, self.keeper.names.suffix
        own = {name for name in table.all_names() if name.endswith(suffix)}
        left_out = set()
        for row, name in enumerate(table.all_names()):
            other = next((other for other in self.keeper.names.others if name.endswith(other)), None)
            if other is not None and name.removesuffix(other) + suffix in own and not table.doubtful(row):
                left_out.add(name)
        if left_out:
            owner = self.keeper.info.persistence_cls
            if is_first(owner, "superseded", self.store.url):
                log.warning(
                    "left out: %d files of %s in %s, since other files have the same keys in this handler's format, %s",
                    len(left_out),
                    owner.__qualname__,
                    self.store.url,
                    suffix,
                )
            names = [name for name in table.all_names() if name not in left_out]
            self.table = _names.read_names(names, self.patterns, self._wanted)

    def __len__(self) -> int:
        return len(self.table)

    def name(self, row: int) -> str:
        """Return the name of the result."""
        return self.table.name(row)

    @contextmanager
    def reading(self, rows: Iterable[int]) -> Generator[Store]:
        """Read the files of *rows*, which are asked for in this order, with less work: give the store to read them from."""
        before = self._source
        self._source = self.store.reading(self.table.name(row) for row in rows)
        try:
            yield self._source
        finally:
            self._source = before

    def location(self, row: int) -> str:
        """Return where the result is, for messages."""
        return self.store.location(self.table.name(row))

    # ------------------------------------------------------------------------------------------ which rows

    def candidates(self, conditions: Conditions) -> list[int]:
        """Return the rows whose names may belong to *conditions*, in the order of their keys; no file is opened."""
        table = self.table
        admitted = tuple(self._admitted(column, conditions) for column in range(len(self.fields)))
        rows = table.select(admitted, tuple(ranks(texts) for texts in table.texts))
        if table.any_doubtful and any(codes is not None for codes in admitted):
            rows = [row for row in rows if not table.doubtful(row) or self._name_belongs(row, conditions) is not False]
        return rows

    def matching(self, conditions: Conditions, among: list[int] | None = None) -> list[int]:
        """Return the rows that belong to *conditions*, in the order of their keys; files are opened where names don't tell.

        :param among: the rows to choose from, whose order stays
        :raises CorruptResultError: a file that had to be opened is damaged
        """
        rows = self.candidates(conditions)
        if among is not None:
            chosen = set(rows)
            rows = [row for row in among if row in chosen]
        if self._names_tell(conditions):
            return rows
        with self.reading(rows):
            return [row for row in rows if self._belongs(row, conditions)]

    def _admitted(self, column: int, conditions: Conditions) -> bytes | None:
        """Return which codes in *column* may fit *conditions*, as :meth:`NameTable.select` takes them; None for all."""
        name = self.fields[column].field_name
        texts, test = conditions.texts.get(name), conditions.tests.get(name)
        if texts is None and test is None:
            return None
        there = self.table.texts[column]
        found = bytearray(texts is None or text in texts for text in (None, *there))
        if test is not None:
            for code in range(len(there)):
                if found[code + 1]:
                    value = self.value(column, code)
                    found[code + 1] = value is UNDECIDED or bool(test(value))
        return bytes(found)

    def _names_tell(self, conditions: Conditions) -> bool:
        """Return whether no file needs to be opened for *conditions*."""
        if self.table.any_doubtful and (conditions.texts or conditions.tests):
            return False
        columns = [self.columns.get(name) for name in conditions.tests]
        return not any(
            column is None or callable(self.fields[column].filename) or self._undecided(column) for column in columns
        )

    def _undecided(self, column: int) -> bool:
        return any(self.value(column, code) is UNDECIDED for code in range(len(self.table.texts[column])))

    def _belongs(self, row: int, conditions: Conditions) -> bool:
        verdict = self._name_belongs(row, conditions)
        if verdict is False:
            return False
        outside = [name for name in conditions.tests if name not in self.columns]
        if verdict and not outside:
            return True
        try:
            fields = self.stored(row, outside)
        except (PersistenceError, OSError) as error:
            warn_left_out(error, self.store, self.name(row))
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
        """Return whether the name fits *conditions*; None if only the file can tell."""
        if not self.table.doubtful(row):
            return self._reading_belongs(self._texts_of(row), conditions)
        answers = set()
        for number, texts in enumerate(readings(self.table.name(row), self.patterns)):
            answers.add(self._reading_belongs(texts, conditions))
            if len(answers) == 2 or None in answers or number == MOST_READINGS:
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

    # ------------------------------------------------------------------------------------------ what a row says

    def _texts_of(self, row: int) -> dict[int, str]:
        codes = self.table.codes_of(row)
        return {column: self.table.texts[column][code] for column, code in enumerate(codes) if code >= 0}

    def value(self, column: int, code: int) -> Any:
        """Return the value of the text with *code* in *column*; UNDECIDED if only the file can tell."""
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
                value = UNDECIDED if code < 0 else self.value(column, code)
                if value is UNDECIDED:
                    break
                found[self.fields[column].field_name] = value
            else:
                return found
        fields = self.fields_from_file(row, ())
        return {name: fields[name] for name in self.columns if name in fields}

    def keys_or_none(self, row: int) -> dict[str, Any] | None:
        """Return the keys in the name; None, with a warning, if the file had to be opened and is no result of its name."""
        try:
            return self.keys(row)
        except (PersistenceError, OSError) as error:
            warn_left_out(error, self.store, self.name(row))
            return None

    def own_rows(self, rows: list[int]) -> list[int]:
        """Return those of *rows* whose files hold results of their names; warn of the others. All heads are read."""
        found = []
        for row in rows:
            try:
                self.fields_from_file(row, ())
            except (PersistenceError, OSError) as error:
                warn_left_out(error, self.store, self.name(row))
            else:
                found.append(row)
        return found

    def values(self, column: int, rows: list[int]) -> list[Any]:
        """Return the values of one key as the names tell them; those of :meth:`undetermined_rows` are meaningless."""
        values = self._values[column]
        codes = self.table.column(column, rows)
        for code in set(codes):
            if code >= 0:
                self.value(column, code)
        return [values[code] if code >= 0 else None for code in codes]

    def undetermined_rows(self, rows: list[int]) -> set[int]:
        """Return the places in *rows* of names that do not tell all keys."""
        found: set[int] = set()
        if self.table.any_doubtful:
            found.update(place for place, row in enumerate(rows) if self.table.doubtful(row))
        for column in range(len(self.fields)):
            unknown = {
                code for code in range(len(self.table.texts[column])) if self.value(column, code) is UNDECIDED
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
        if found is None or not all(map(found.__contains__, more)):
            read = self.keeper.readable_fields(self._source, self.table.name(row), (*self._names, *more))
            if self._agrees(row, read) and all(map(read.__contains__, more)):
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
        if found is None or any(name not in found for name in more):
            read = self.keeper.readable_fields(self._source, self.name(row), [*self.columns, *more])
            found = self._stored[row] = {**(found or {}), **self._completed(read, more)}
        return found

    def read_anew(self, row: int) -> dict[str, Any]:
        """Return the keys in the name as the file says now; a small file is loaded whole for it.

        :raises UnloadableResultError: that can't be done here
        """
        return self._completed(self.keeper.records.fields(self.store, self.name(row), [*self.columns]), ())

    def _completed(self, read: dict[str, Any], more: Collection[str]) -> dict[str, Any]:
        """Return the keys in the name, and the fields *more*, of those that were *read*, or their defaults."""
        names = [*self.columns, *more]
        found = {name: read[name] for name in names if name in read}
        for name in names:
            if name not in found:
                take_default(found, self.keeper.info.get_field(name))
        return found

    def name_mismatch(self, row: int, fields: dict[str, Any]) -> KeyMismatchError | None:
        """Return the error to raise where a result with the keys in *fields* does not belong under the name of the row."""
        name = self.table.name(row)
        keys = {name: fields.get(name) for name in self.columns}
        owner = self.keeper.info.persistence_cls.__qualname__
        unprintable_keys = [
            name for name, column in self.columns.items() if not has_text(self.fields[column], keys[name])
        ]
        if unprintable_keys:
            return KeyMismatchError(
                owner, unprintable_keys[0], name, shown(keys[unprintable_keys[0]]), self.location(row)
            )
        if is_name_of(self.keeper.names, self.keeper.info, name, keys, self.template, self.patterns):
            return None
        texts = self._texts_of(row)
        for key, column in self.columns.items():
            declared, value = self.fields[column], keys[key]
            if texts.get(column) not in texts_matching(declared, value):
                wanted, found = shown(texts.get(column)), shown(text_of(declared, value))
                return KeyMismatchError(owner, key, wanted, found, self.location(row))
        return KeyMismatchError(owner, "", name, self.keeper.names.name(self.template, keys), self.location(row))


_UNREAD: Any = object()


def take_default(found: dict[str, Any], declared: PersistentField[Any] | None) -> None:
    """Put the default of the field *declared*, which a file lacks, into *found*, if it has one."""
    if declared is not None and declared.optional:
        make = default_maker(declared)
        found[declared.field_name] = declared.default if make is None else make()
