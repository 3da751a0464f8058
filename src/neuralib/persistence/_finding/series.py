"""The results of a listing by their keys: series that differ in their number only, and results of equal keys."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from neuralib.persistence._classes.name_texts import text_of
from neuralib.persistence._naming.equal import equal_names
from neuralib.persistence._naming.typed import UNDECIDED, texts_matching

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neuralib.persistence._finding.listing import Listing

Series = tuple[int | str, ...]
"""Stands for all keys of a result but its number."""

_SIMPLE = frozenset({str, int, float, bool})


class KeyIndex:
    """Finds the results of a listing by their keys."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._codes = [{text: code for code, text in enumerate(texts)} for texts in listing.table.texts]
        self._rows: dict[tuple[int, ...], list[int]] | None = None  # by the codes of their texts
        self._known_codes: dict[tuple[int, type, Any], list[int]] = {}

    def latest(self, rows: list[int]) -> list[int]:
        """Return, of each series in *rows*, the row with the highest number. Without an auto-increment key, return *rows*."""
        if self._listing.keeper.info.layout.autoinc is None:
            return rows
        highest: dict[Series, tuple[int, int]] = {}
        for place, (series, number) in enumerate(self.series(rows)):
            known = highest.get(series)
            if known is None or number > known[0]:
                highest[series] = number, place
        return [rows[place] for place in sorted(place for _, place in highest.values())]

    def numbers(self) -> dict[Series, set[int]]:
        """Return the numbers of each series."""
        listing = self._listing
        numbered = self._numbered()
        numbers = [listing.value(numbered, code) for code in range(len(listing.table.texts[numbered]))]
        if not listing.table.any_doubtful and UNDECIDED not in numbers:
            groups = listing.table.groups(numbered)
            return {series: {numbers[code] for code in codes} for series, codes in groups.items()}
        found: dict[Series, set[int]] = {}
        for series, number in self.series(list(range(len(listing)))):
            found.setdefault(series, set()).add(number)
        return found

    def _numbered(self) -> int:
        """Return the column of the auto-increment key."""
        return next(column for column, declared in enumerate(self._listing.fields) if declared.autoinc)

    def series(self, rows: list[int]) -> Iterator[tuple[Series, int]]:
        """Yield the series and the number of each of *rows*."""
        listing = self._listing
        table = listing.table
        numbered = self._numbered()
        others = [column for column in range(len(listing.fields)) if column != numbered]
        codes = zip(*(table.column(column, rows) for column in others), strict=True) if others else itertools.repeat(())
        for row, series, code in zip(rows, codes, table.column(numbered, rows), strict=False):
            number = listing.value(numbered, code)
            if number is UNDECIDED or (table.any_doubtful and table.doubtful(row)):
                keys = listing.keys_or_none(row)
                if keys is None:
                    yield (listing.name(row),), -1  # of no series
                else:
                    yield self.series_of(keys), keys[listing.fields[numbered].field_name]
            else:
                yield series, number

    def series_of(self, keys: dict[str, Any]) -> Series:
        """Return the series of a result with *keys*."""
        texts = [
            (column, text_of(declared, keys.get(declared.field_name)))
            for column, declared in enumerate(self._listing.fields)
            if not declared.autoinc
        ]
        return tuple(-1 if text is None else self._codes[column].get(text, text) for column, text in texts)

    def equal_series(self, template: Any) -> list[Series]:
        """Return the series in the listing whose keys are equal to those of *template*."""
        return list(itertools.product(*self._equal_codes(template, numbered=False)))

    def rows_of(self, template: Any) -> list[int]:
        """Return the rows whose keys, by their names, are equal to those of *template*."""
        listing = self._listing
        table = listing.table
        if not len(listing):
            return []
        if self._rows is None:
            self._rows = {}
            for row in range(len(listing)):
                self._rows.setdefault(table.codes_of(row), []).append(row)
        choices = self._equal_codes(template, numbered=True)
        found = [row for codes in itertools.product(*choices) for row in self._rows.get(codes, ())]
        if not found and table.any_doubtful:  # by a name that can be read in more than one way
            names = equal_names(listing.keeper.names, listing.keeper.info, template)
            found = [row for row, name in enumerate(table.all_names()) if name in names]
        return found

    def _equal_codes(self, template: Any, *, numbered: bool) -> list[list[int]]:
        """Return, for each key, the codes of the texts in the listing that are equal to that of *template*.

        :param numbered: with the auto-increment key
        """
        found = []
        for column, declared in enumerate(self._listing.fields):
            if not numbered and declared.autoinc:
                continue
            value = getattr(template, declared.field_name, None)
            # Equal values of one of these types have the same texts. For other types, the text decides.
            known = column, type(value), value if type(value) in _SIMPLE else text_of(declared, value)
            codes = self._known_codes.get(known)
            if codes is None:
                texts = texts_matching(declared, value)
                here = self._codes[column]
                codes = self._known_codes[known] = [
                    -1 if text is None else here[text] for text in texts if text is None or text in here
                ]
            if not codes:
                return [[]]
            found.append(codes)
        return found
