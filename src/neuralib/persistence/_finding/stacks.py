"""The arrays of many results as one, whose memory is allocated once."""

from __future__ import annotations

import functools
import importlib
import math
from typing import TYPE_CHECKING, Any

from neuralib.persistence._classes.name_texts import text_of
from neuralib.persistence._errors import MissingFieldError, NothingFoundError, PersistenceError, StackError
from neuralib.persistence._finding.tables import columns_of, names_of_members, notes_of
from neuralib.persistence._keeping.batches import bar
from neuralib.persistence._naming.order import natural
from neuralib.persistence._packages import import_extra
from neuralib.persistence._tasks import read_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from neuralib.persistence._finding.listing import Listing


class _Fields:
    """Reads some fields of results, one result after the other."""

    def __init__(self, listing: Listing, rows: list[int], names: Sequence[str], *, progress: bool) -> None:
        self._listing, self._rows, self._names = listing, rows, names
        self._threads, self._progress = listing.keeper.readers, progress
        self._store = listing.store
        self._as_array = importlib.import_module("numpy").asarray
        if not rows:
            raise NothingFoundError(self._owner, listing.store.url, "")

    @property
    def _owner(self) -> str:
        return self._listing.keeper.info.persistence_cls.__qualname__

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the place of each result, and its fields as arrays. Only as many results are held as there are threads."""
        with (
            self._listing.reading(self._rows) as self._store,
            bar(range(len(self._rows)), self._progress, "results") as places,
        ):
            reading = read_ahead(self._threads, lambda place: self._read(self._rows[place]), places, self._weight)
            for place, read in reading:
                yield place, read(place)

    def _weight(self, place: int) -> int:
        return self._listing.store.weight(self._listing.name(self._rows[place]))

    def _read(self, row: int) -> dict[str, Any]:
        listing = self._listing
        stored = listing.keeper.records.fields(self._store, listing.name(row), None)
        listing.refuse_name_mismatch(row, stored)
        for name in self._names:
            if name not in stored:
                raise MissingFieldError(self._owner, name, listing.location(row))
        return {name: self._as_array(stored[name]) for name in self._names}

    def path(self, place: int) -> str:
        return self._listing.location(self._rows[place])


class _Target:
    """An array that is filled with one field of each result."""

    def __init__(self, name: str, field: Any, sizes: tuple[int, ...], fields: _Fields, place: int) -> None:
        if field.dtype.hasobject:
            raise StackError(
                fields.path(place), name, f"is no array of numbers, but {field.dtype} of shape {field.shape}"
            )
        self._name, self._fields, self._first = name, fields, place
        self.shape, self.dtype = field.shape, field.dtype
        self.whole = (*sizes, *self.shape)

    def put(self, array: Any, index: Any, field: Any, place: int) -> None:
        """Copy *field*, of the result at *place*, to *index* of *array*."""
        if field.shape != self.shape or field.dtype != self.dtype:
            raise StackError(
                self._fields.path(place),
                self._name,
                f"has shape {field.shape} and dtype {field.dtype}, but shape {self.shape} and dtype {self.dtype} in "
                f"{self._fields.path(self._first)}",
            )
        array[index] = field


def _without_non_results(make: Callable[..., Any]) -> Callable[..., Any]:
    """Leave out files that are no results of their names, with a warning, where *make* fails for all rows of a listing."""

    @functools.wraps(make)
    def made(listing: Listing, rows: list[int], *given: Any, progress: bool) -> Any:
        try:
            return make(listing, rows, *given, progress=progress)
        except (PersistenceError, OSError, ValueError):  # a ValueError: such a file's array does not fit the others
            kept = listing.own_rows(rows)
            if len(kept) == len(rows):
                raise
            return make(listing, kept, *given, progress=progress)

    return made


@_without_non_results
def stacked(listing: Listing, rows: list[int], name: str, out: Any, *, progress: bool) -> Any:
    """Return the array of shape ``(n_results, *shape of the field)``: see :meth:`Found.stack`."""
    import numpy as np

    fields = _Fields(listing, rows, [name], progress=progress)
    target = None
    for place, found in fields:
        if target is None:
            target = _Target(name, found[name], (len(rows),), fields, place)
            if out is None:
                out = np.empty(target.whole, target.dtype)
            elif out.shape != target.whole:
                raise ValueError(f"out has shape {out.shape}, and the stack of {name} has {target.whole}")
            elif not np.can_cast(target.dtype, out.dtype, "same_kind"):
                raise ValueError(f"out has dtype {out.dtype}, which does not hold {target.dtype}, the dtype of {name}")
        target.put(out, place, found.pop(name), place)
    return out


@_without_non_results
def dataset(
    listing: Listing,
    rows: list[int],
    names: Sequence[str],
    dims: Sequence[str] | None,
    field_dims: Mapping[str, Sequence[str]],
    fill_value: Any,
    *,
    progress: bool,
) -> Any:
    """Return an ``xarray.Dataset``: see :meth:`Found.to_xarray`."""
    xarray = import_extra("xarray", "xarray", "to_xarray()")
    keys, rows = columns_of(listing, rows, (), path=False, progress=False)
    fields = _Fields(listing, rows, names, progress=progress)
    axes = _axes(listing, keys, dims)
    places = _places(axes, listing, keys, fields)
    sizes = tuple(len(values) for values in axes.values())
    arrays: dict[str, Any] = {}
    targets: dict[str, _Target] = {}
    for place, found in fields:
        for name in names:
            value = found.pop(name)
            if name not in targets:
                targets[name] = _Target(name, value, sizes, fields, place)
                arrays[name] = _empty(targets[name], name, math.prod(sizes) > len(rows), fill_value)
            targets[name].put(arrays[name], places[place], value, place)
    variables = {}
    for name, array in arrays.items():
        own = field_dims.get(name) or [f"{name}_{axis}" for axis in range(array.ndim - len(axes))]
        variables[name] = ((*axes, *own), array)
    coordinates = _coordinates(axes, keys, places, sizes)
    made = xarray.Dataset(variables, {name: values for name, values in coordinates.items() if name not in variables})
    for name in made.variables:
        made[name].attrs.update(notes_of(listing.keeper.info.get_field(name)))
    return made


def _axes(listing: Listing, keys: dict[str, list[Any]], dims: Sequence[str] | None) -> dict[str, dict[str | None, Any]]:
    """Return the values of each dimension, in order, by their text."""
    unknown = [name for name in dims or () if name not in keys]
    if unknown:
        raise ValueError(f"dims are keys of the name, of which there are {', '.join(keys)}: not {', '.join(unknown)}")
    axes = {}
    for name in keys if dims is None else dims:
        declared = listing.fields[listing.columns[name]]
        values = {text_of(declared, value): value for value in keys[name]}
        if dims is not None or len(values) > 1:
            axes[name] = {text: values[text] for text in sorted(values, key=lambda text: natural(text or ""))}
    return axes


def _places(
    axes: dict[str, dict[str | None, Any]], listing: Listing, keys: dict[str, list[Any]], fields: _Fields
) -> list[tuple[int, ...]]:
    """Return the index of each result along the dimensions.

    :raises ValueError: two results have the same index
    """
    numbers = {name: {text: number for number, text in enumerate(values)} for name, values in axes.items()}
    texts = {name: [text_of(listing.fields[listing.columns[name]], value) for value in keys[name]] for name in axes}
    owners: dict[tuple[int, ...], int] = {}
    for place in range(len(next(iter(keys.values()), [()]))):
        index = tuple(numbers[name][texts[name][place]] for name in axes)
        other = owners.setdefault(index, place)
        if other != place:
            raise ValueError(
                f"{fields.path(other)} and {fields.path(place)} have the same {', '.join(axes) or 'keys'}: "
                f"add a key to dims, or choose one of them, as latest() does"
            )
    return list(owners)


def _empty(target: _Target, name: str, gaps: bool, fill_value: Any) -> Any:
    """Return the array to fill: where there are gaps, with *fill_value*, or a value of its dtype that says "none"."""
    import numpy as np

    if not gaps:
        return np.empty(target.whole, target.dtype)
    if fill_value is None:
        if target.dtype.kind not in "fcmM":
            raise ValueError(
                f"some combinations of the dimensions have no result, and {target.dtype}, the dtype of {name}, has no "
                f"value that says so: give fill_value"
            )
        fill_value = "NaT" if target.dtype.kind in "mM" else math.nan
    return np.full(target.whole, fill_value, target.dtype)


def _coordinates(
    axes: dict[str, dict[str | None, Any]],
    keys: dict[str, list[Any]],
    places: list[tuple[int, ...]],
    sizes: tuple[int, ...],
) -> dict[str, Any]:
    """Return the values of each key: along its dimension, as one value if all are equal, or one for each combination."""
    import numpy as np

    found: dict[str, Any] = {}
    for name, values in keys.items():
        if name in axes:
            found[name] = (name, _as_array(list(axes[name].values())))
        elif all(value == values[0] for value in values):
            found[name] = ((), _as_array(values[:1])[0])
        else:
            varied = np.full(sizes, None, object)
            for place, index in enumerate(places):
                varied[index] = values[place]
            found[name] = (tuple(axes), varied)
    return found


def _as_array(values: list[Any]) -> Any:
    import numpy as np

    values = names_of_members(values)
    kinds = {type(value) for value in values}
    if len(kinds) == 1 and kinds <= {int, float, bool, str}:
        return np.array(values)
    if (
        len(kinds) == 1
        and kinds.pop().__name__ in {"date", "datetime"}
        and all(getattr(value, "tzinfo", None) is None for value in values)
    ):
        return np.array(values, dtype="datetime64[ns]")
    found = np.empty(len(values), object)
    found[:] = values
    return found
