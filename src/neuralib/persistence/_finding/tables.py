"""Found results as a table: plain columns, and the frames of pandas and polars made of them."""

from __future__ import annotations

import enum
import importlib
import typing
from typing import TYPE_CHECKING, Any

from neuralib.persistence._keeping.batches import bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from neuralib.persistence._classes.field import PersistentField
    from neuralib.persistence._finding.listing import Listing

PATH = "path"
"""The name of the column of paths."""

_SINGLE = {int, float, str, bool, type(None)}


def columns_of(
    listing: Listing, rows: list[int], fields: Sequence[str], *, path: bool, progress: bool
) -> dict[str, list[Any]]:
    """Return a list of values for each key in the name, and for each of *fields*; None where a result lacks one.

    :raises TypeError: one of *fields* is an array
    """
    more = [it for it in fields if it not in listing.columns]
    columns = {name: listing.values(column, rows) for name, column in listing.columns.items()}
    columns.update((it, [None] * len(rows)) for it in more)
    undetermined = listing.undetermined_rows(rows)
    cells = [(name, columns[name]) for name in more]
    with bar(range(len(rows)) if more else sorted(undetermined), progress, "results") as places:
        for place in places:
            row = rows[place]
            found = listing.fields_from_file(row, more)
            for name, column in cells:
                value = found.get(name)
                column[place] = value if type(value) in _SINGLE else _single(value, name, listing.location(row))
            if place in undetermined:
                for name in listing.columns:
                    columns[name][place] = found.get(name)
    if path:
        columns[PATH] = [listing.location(it) for it in rows]
    return columns


def _single(value: Any, name: str, path: str) -> Any:
    """Return *value*, which a cell of a table can hold."""
    shape = getattr(value, "shape", ())
    if not isinstance(shape, tuple) or not shape:
        to_array = getattr(value, "to_array", None)  # the stand-in of an array with a single value
        return value if to_array is None else to_array()[()]
    raise TypeError(
        f"{path}: {name} is an array of shape {shape}, and a table holds single values: "
        f"stack({name!r}) puts the arrays of all results together"
    )


def needed(module: str, method: str) -> Any:
    """Import *module*, which *method* needs and the package does not.

    :raises ImportError: it is not installed
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f'{method}() needs {module}: pip install "neuralib-persistence[{module}]"', name=module
        ) from error


def categories_of(declared: PersistentField[Any] | None) -> list[str] | None:
    """Return the texts that the field may have where its annotation lists them: of an Enum, or a Literal of texts."""
    kind = None if declared is None else declared.field_type
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return [it.name for it in kind]
    if typing.get_origin(kind) is typing.Literal:
        values = typing.get_args(kind)
        if all(isinstance(it, str) for it in values):
            return list(values)
    return None


def names_of_members(values: list[Any]) -> list[Any]:
    """Return *values* with the names of Enum members in their place."""
    return [it.name if isinstance(it, enum.Enum) else it for it in values]


def pandas_frame(columns: dict[str, list[Any]], fields: dict[str, PersistentField[Any] | None]) -> Any:
    """Return *columns* as a ``pandas.DataFrame``."""
    pandas = needed("pandas", "to_pandas")
    return pandas.DataFrame({name: _pandas_column(pandas, it, fields.get(name)) for name, it in columns.items()})


def _pandas_column(pandas: Any, values: list[Any], declared: PersistentField[Any] | None) -> Any:
    categories = categories_of(declared)
    values = names_of_members(values)
    if categories is not None and all(it is None or it in categories for it in values):
        return pandas.Categorical(values, categories=categories)
    kinds: set[Any] = {type(it) for it in values} or {None if declared is None else declared.field_type}
    if kinds == {int, type(None)}:
        return pandas.array(values, dtype="Int64")  # else they would become floats
    if len(kinds) == 1 and (kind := kinds.pop()) in {int, float, bool}:
        try:
            return pandas.Series(values, dtype={int: "int64", float: "float64", bool: "bool"}[kind])
        except OverflowError:
            return pandas.Series(values, dtype=object)
    if any(isinstance(it, (tuple, list, dict, set)) for it in values):
        return pandas.Series(values, dtype=object)
    return pandas.Series(values, dtype=None if values else object)


def polars_frame(columns: dict[str, list[Any]], fields: dict[str, PersistentField[Any] | None]) -> Any:
    """Return *columns* as a ``polars.DataFrame``."""
    polars = needed("polars", "to_polars")
    return polars.DataFrame([_polars_column(polars, name, it, fields.get(name)) for name, it in columns.items()])


def _polars_column(polars: Any, name: str, values: list[Any], declared: PersistentField[Any] | None) -> Any:
    categories = categories_of(declared)
    values = names_of_members(values)
    if categories is not None and all(it is None or it in categories for it in values):
        return polars.Series(name, values, dtype=polars.Enum(categories))
    if not values:
        kind = None if declared is None else declared.field_type
        known = {int: polars.Int64, float: polars.Float64, bool: polars.Boolean, str: polars.String}
        return polars.Series(name, values, dtype=known.get(kind) if isinstance(kind, type) else None)
    try:
        return polars.Series(name, [list(it) if isinstance(it, tuple) else it for it in values])
    except (TypeError, ValueError, OverflowError, polars.exceptions.PolarsError):
        # polars has no type for them: several types in one column, or a class of Python's.
        return polars.Series(name, [None if it is None else str(it) for it in values])
