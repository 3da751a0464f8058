"""Found results as a table: plain columns, and the frames of pandas and polars made of them."""

from __future__ import annotations

import abc
import enum
import typing
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from neuralib.persistence._classes.field import unit_of
from neuralib.persistence._errors import PersistenceError
from neuralib.persistence._finding.not_results import warn_left_out
from neuralib.persistence._keeping.batches import bar
from neuralib.persistence._packages import import_extra
from neuralib.persistence._showing.previews import StandIn, is_array
from neuralib.persistence._tasks import read_ahead

if TYPE_CHECKING:
    from neuralib.persistence._classes.field import PersistentField
    from neuralib.persistence._finding.listing import Listing

T = TypeVar("T")


class Rows(Sequence[T]):
    """A sequence of what became of each of many, which can be had as a table."""

    def __init__(self, rows: list[T]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        return self._rows[index]

    @abc.abstractmethod
    def to_columns(self) -> dict[str, list[Any]]:
        """Return them as a table of plain lists."""

    def to_pandas(self) -> Any:
        """Return the table of :meth:`to_columns` as a ``pandas.DataFrame`` (extra ``pandas``)."""
        return pandas_frame(self.to_columns(), {})


PATH = "path"
"""The name of the column of paths."""

_SINGLE = {int, float, str, bool, type(None)}


def columns_of(
    listing: Listing, rows: list[int], fields: Sequence[str], *, path: bool, progress: bool
) -> tuple[dict[str, list[Any]], list[int]]:
    """Return a column of values for each key in the name and for each of *fields*. A field that a result lacks is None.

    A file that turns out to be no result of its name is left out, with a warning.

    :return: the columns, and those of *rows* that are in them
    :raises TypeError: one of *fields* is an array
    :raises ValueError: there would be two columns of one name
    """
    if path and (PATH in listing.columns or PATH in fields):
        owner = listing.keeper.info.persistence_cls.__qualname__
        raise ValueError(
            f"path=True: {owner} has a field of the name {PATH!r} itself; the attribute paths has the paths"
        )
    more = [name for name in fields if name not in listing.columns]
    columns = {name: listing.values(column, rows) for name, column in listing.columns.items()}
    columns.update((name, [None] * len(rows)) for name in more)
    undetermined = listing.undetermined_rows(rows)
    cells = [(name, columns[name]) for name in more]
    left_out: set[int] = set()
    opened = range(len(rows)) if more else sorted(undetermined)
    with listing.reading(rows[place] for place in opened), bar(opened, progress, "results") as places:
        reading = read_ahead(listing.store.in_flight, lambda place: listing.fields_from_file(rows[place], more), places)
        for place, read in reading:
            row = rows[place]
            try:
                found = read(place)
            except (PersistenceError, OSError) as error:
                warn_left_out(error, listing.store, listing.name(row))
                left_out.add(place)
                continue
            for name, column in cells:
                value = found.get(name)
                column[place] = value if type(value) in _SINGLE else _single(value, name, listing.location(row))
            if place in undetermined:
                for name in listing.columns:
                    columns[name][place] = found.get(name)
    if path:
        columns[PATH] = [listing.location(row) for row in rows]
    if left_out:
        kept = [place for place in range(len(rows)) if place not in left_out]
        columns = {name: [values[place] for place in kept] for name, values in columns.items()}
        rows = [rows[place] for place in kept]
    return columns, rows


def _single(value: Any, name: str, path: str) -> Any:
    """Return *value* as a cell of a table can hold it.

    :raises TypeError: it is an array
    """
    shape = getattr(value, "shape", ())
    if not isinstance(shape, tuple) or not shape:
        return value.to_array()[()] if isinstance(value, StandIn) and is_array(value) else value
    raise TypeError(
        f"{path}: {name} is an array of shape {shape}, and a table holds single values: "
        f"stack({name!r}) puts the arrays of all results together"
    )


def _categories_of(values: list[Any], declared: PersistentField[Any] | None) -> list[str] | None:
    """Return the texts that the field may have, if its annotation lists them, an Enum or a Literal, and *values* are such."""
    kind = None if declared is None else declared.field_type
    found: Sequence[Any] = ()
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        found = [member.name for member in kind]
    elif typing.get_origin(kind) is typing.Literal:
        found = typing.get_args(kind)
    is_listed = found and all(isinstance(text, str) for text in found)
    return list(found) if is_listed and all(value is None or value in found for value in values) else None


def names_of_members(values: list[Any]) -> list[Any]:
    """Return *values* with each Enum member replaced by its name."""
    return [value.name if isinstance(value, enum.Enum) else value for value in values]


def pandas_frame(columns: dict[str, list[Any]], fields: dict[str, PersistentField[Any] | None]) -> Any:
    """Return *columns* as a ``pandas.DataFrame``."""
    pandas = import_extra("pandas", "pandas", "to_pandas()")
    frame = pandas.DataFrame(
        {name: _pandas_column(pandas, values, fields.get(name)) for name, values in columns.items()}
    )
    notes = {name: notes_of(fields.get(name)) for name in columns}
    for what, found in (("units", "units"), ("descriptions", "long_name")):
        texts = {name: noted[found] for name, noted in notes.items() if found in noted}
        if texts:
            frame.attrs[what] = texts
    return frame


def notes_of(declared: PersistentField[Any] | None) -> dict[str, str]:
    """Return the unit and the description of a field as xarray's attributes have them: ``units`` and ``long_name``."""
    if declared is None:
        return {}
    notes = {"units": unit_of(declared), "long_name": declared.description}
    return {name: text for name, text in notes.items() if text}


def _pandas_column(pandas: Any, values: list[Any], declared: PersistentField[Any] | None) -> Any:
    values = names_of_members(values)
    categories = _categories_of(values, declared)
    if categories is not None:
        return pandas.Categorical(values, categories=categories)
    kinds: set[Any] = {type(value) for value in values} or {None if declared is None else declared.field_type}
    if kinds == {int, type(None)}:
        return pandas.array(values, dtype="Int64")  # else they would become floats
    if len(kinds) == 1 and (kind := kinds.pop()) in {int, float, bool}:
        try:
            return pandas.Series(values, dtype={int: "int64", float: "float64", bool: "bool"}[kind])
        except OverflowError:
            return pandas.Series(values, dtype=object)
    if any(isinstance(value, (tuple, list, dict, set)) for value in values):
        return pandas.Series(values, dtype=object)
    return pandas.Series(values, dtype=None if values else object)


def polars_frame(columns: dict[str, list[Any]], fields: dict[str, PersistentField[Any] | None]) -> Any:
    """Return *columns* as a ``polars.DataFrame``."""
    polars = import_extra("polars", "polars", "to_polars()")
    return polars.DataFrame(
        [_polars_column(polars, name, values, fields.get(name)) for name, values in columns.items()]
    )


def _polars_column(polars: Any, name: str, values: list[Any], declared: PersistentField[Any] | None) -> Any:
    values = names_of_members(values)
    categories = _categories_of(values, declared)
    if categories is not None:
        return polars.Series(name, values, dtype=polars.Enum(categories))
    if not values:
        kind = None if declared is None else declared.field_type
        known = {int: polars.Int64, float: polars.Float64, bool: polars.Boolean, str: polars.String}
        return polars.Series(name, values, dtype=known.get(kind) if isinstance(kind, type) else None)
    try:
        return polars.Series(name, [list(value) if isinstance(value, tuple) else value for value in values])
    except (TypeError, ValueError, OverflowError, RuntimeError, polars.exceptions.PolarsError):
        # polars has no type for these values: they are of several types, of a class that it does not know, or no UTF-8.
        return polars.Series(name, [None if value is None else _utf8(str(value)) for value in values])


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
