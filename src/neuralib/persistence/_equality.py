"""When two values are the same: arrays element by element, NaN like NaN, objects and containers part by part."""

from __future__ import annotations

import collections
import sys
from collections.abc import Collection, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

_MOST_PAIRS = 1_000_000  # of members of sets with NaN in them, each of which is compared with all others
_SCALARS = frozenset({str, int, float, bool, bytes, complex, type(None)})


def same_value(a: Any, b: Any) -> bool:
    """Return whether *a* and *b* are equal as data.

    Like ``==``, but arrays of any library are compared as a whole (shape and every element), NaN equals NaN, and what
    consists of parts is equal where the parts are: lists, tuples, mappings, dataclasses, classes of attrs, tables. Tables
    and arrays that have a method ``equals`` (pandas, polars, xarray) are asked by it. A class's own ``__eq__`` decides
    where it gives an answer.
    """
    if a is b:
        return True
    if type(a) in _SCALARS and type(b) in _SCALARS:
        return _same_scalars(a, b)
    return _Comparison().same(a, b)


def _same_scalars(a: Any, b: Any) -> bool:
    return bool(a == b or (a != a and b != b))  # noqa: PLR0124 - only NaN and its like differ from themselves


class _Comparison:
    """Pairs of values that must all be the same.

    Values that must be the same form a group. A pair within one group is not looked at again, so that cyclic parts end, and
    shared parts take no more time than there are parts.
    """

    def __init__(self) -> None:
        self._group: dict[int, int] = {}  # by id: another value of the group, or itself
        self._kept: list[tuple[Any, Any]] = []  # the id of a value that is gone could be given to another
        self._todo: list[tuple[Any, Any]] = []

    def same(self, a: Any, b: Any) -> bool:
        """Return whether *a* and *b* are the same, and all the parts that they consist of."""
        same = self._all([(a, b)])
        while same and self._todo:
            same = self._same_so_far(*self._todo.pop())
        return same

    def _all(self, pairs: Iterable[tuple[Any, Any]]) -> bool:
        """Compare *pairs* of simple values now, and note the others. Return False where two differ."""
        for a, b in pairs:
            if a is b:
                continue
            if type(a) not in _SCALARS or type(b) not in _SCALARS:
                self._todo.append((a, b))
            elif not _same_scalars(a, b):
                return False
        return True

    def _same_so_far(self, a: Any, b: Any) -> bool:
        """Return False where *a* and *b* differ. Otherwise note the parts that remain to be compared."""
        if _is_numpy_scalar(a) and (_is_numpy_scalar(b) or type(b) in _SCALARS):
            return _same_by_operator(a, b)
        mine, theirs = self._first_of(id(a)), self._first_of(id(b))
        if mine == theirs:  # decided where they were met first
            return True
        self._group[mine] = theirs
        self._kept.append((a, b))
        kind = type(a)
        if kind is type(b):  # as most are
            if kind is dict:
                return self._mappings(a, b)
            if kind is list or kind is tuple:
                return len(a) == len(b) and self._all(zip(a, b, strict=True))
        for compare in (self._arrays, self._containers, self._tables, self._objects):
            answer = compare(a, b)
            if answer is not None:
                return answer
        return _same_by_operator(a, b)

    def _first_of(self, value_id: int) -> int:
        """Return the id that stands for the group of a value."""
        group = self._group
        above = group.setdefault(value_id, value_id)
        while above != value_id:
            group[value_id] = value_id = group[above]  # the way is shorter the next time
            above = group[value_id]
        return value_id

    # Each of these returns None where the values are of another kind.

    def _containers(self, a: Any, b: Any) -> bool | None:
        if isinstance(a, Mapping) and not hasattr(type(a), "equals"):
            return isinstance(b, Mapping) and self._mappings(a, b)
        for kind in (list, tuple, collections.deque):
            if isinstance(a, kind):
                return isinstance(b, kind) and len(a) == len(b) and self._all(zip(a, b, strict=True))
        if isinstance(a, (set, frozenset)):
            return isinstance(b, (set, frozenset)) and _same_members(a, b) is not None
        return None

    def _mappings(self, a: Mapping[Any, Any], b: Mapping[Any, Any]) -> bool:
        if a.keys() == b.keys():
            return self._all([(value, b[key]) for key, value in a.items()])
        partners = _same_members(a.keys(), b.keys())
        return partners is not None and self._all((a[mine], b[theirs]) for mine, theirs in partners)

    def _arrays(self, a: Any, b: Any) -> bool | None:
        numpy = sys.modules.get("numpy")  # without numpy loaded there is no array
        if numpy is None or not (isinstance(a, numpy.ndarray) or isinstance(b, numpy.ndarray)):
            return None
        if not (isinstance(a, numpy.ndarray) and isinstance(b, numpy.ndarray)):
            # A number and an array without dimensions differ, as do an array and a list; a quantity has an array in it.
            return None if _is_quantity(a) and _is_quantity(b) else False
        return a.shape == b.shape and self._arrays_of_one_shape(numpy, a, b)

    def _arrays_of_one_shape(self, numpy: Any, a: Any, b: Any) -> bool:
        if a.dtype.names is not None or b.dtype.names is not None:
            return a.dtype.names == b.dtype.names and self._all((a[name], b[name]) for name in a.dtype.names or ())
        if isinstance(a, numpy.ma.MaskedArray) or isinstance(b, numpy.ma.MaskedArray):
            hidden, hidden_too = numpy.ma.getmaskarray(a), numpy.ma.getmaskarray(b)
            shown = ~hidden
            return bool((hidden == hidden_too).all()) and self._all(
                [(numpy.ma.getdata(a)[shown], numpy.ma.getdata(b)[shown])]
            )
        if a.dtype.hasobject or b.dtype.hasobject:
            return self._all(zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
        return _same_elements(a, b)

    def _tables(self, a: Any, b: Any) -> bool | None:
        if type(a) is not type(b):
            return None
        if hasattr(type(a), "equals"):
            return bool(a.equals(b))
        module = type(a).__module__.partition(".")[0]
        if module == "astropy" and hasattr(a, "colnames"):
            return list(a.colnames) == list(b.colnames) and self._all(
                [(a.meta, b.meta), *((a[name], b[name]) for name in a.colnames)]
            )
        if module == "awkward" and hasattr(a, "to_list"):
            return str(a.type) == str(b.type) and self._all([(a.to_list(), b.to_list())])
        if module == "scipy" and hasattr(a, "tocoo"):
            return tuple(a.shape) == tuple(b.shape) and self._all([(_sparse_parts(a), _sparse_parts(b))])
        return None

    def _objects(self, a: Any, b: Any) -> bool | None:
        """Compare what consists of named parts, unless the class itself says when they are equal."""
        kind = type(a)
        if kind is not type(b):
            return None
        names = _part_names(a)
        if names is None:
            return None
        if _has_own_equality(kind):
            try:
                return bool(a == b)
            except (TypeError, ValueError, ArithmeticError):  # of an array or a signaling NaN in it
                pass
        absent = object()
        parts = [(getattr(a, name, absent), getattr(b, name, absent)) for name in names]
        return names == _part_names(b) and self._all(parts)


def _same_members(mine: Collection[Any], theirs: Collection[Any]) -> list[tuple[Any, Any]] | None:
    """Return the members of two sets, or the keys of two mappings, in pairs; None where they are not the same."""
    if len(mine) != len(theirs):
        return None
    if mine == theirs:
        return [(member, member) for member in mine]
    rest = {member: member for member in theirs}
    pairs = []
    lone = []
    for member in mine:
        if member in rest:
            pairs.append((member, rest.pop(member)))
        elif type(member) in {str, int}:
            return None
        else:
            lone.append(member)
    if len(lone) * len(rest) > _MOST_PAIRS:
        return None
    for member in lone:  # only what has a NaN in it is not found by its hash
        partner = next((other for other in rest if same_value(member, other)), None)
        if partner is None:
            return None
        pairs.append((member, rest.pop(partner)))
    return pairs


def _part_names(value: Any) -> list[str] | None:
    """Return the names of the parts by which a dataclass, or the like, is compared; None for other values."""
    kind: Any = type(value)
    parts = getattr(kind, "_compared_parts", None)  # of what stands for a value in a file
    if parts is not None:
        return list(parts)
    if hasattr(kind, "__dataclass_fields__"):
        return [field.name for field in kind.__dataclass_fields__.values() if field.compare and _is_field(field)]
    if hasattr(kind, "__attrs_attrs__"):
        return [attribute.name for attribute in kind.__attrs_attrs__ if attribute.eq]
    if hasattr(kind, "__struct_fields__"):  # of msgspec
        return list(kind.__struct_fields__)
    if hasattr(kind, "__pydantic_fields__") or isinstance(value, SimpleNamespace):
        return sorted(vars(value))
    return None


def _is_field(field: Any) -> bool:
    return getattr(field._field_type, "name", "") == "_FIELD"  # not a ClassVar or InitVar


def _has_own_equality(kind: type) -> bool:
    """Return whether the class's author wrote its ``__eq__``: one that dataclasses and attrs write has no file."""
    code = getattr(kind.__eq__, "__code__", None)
    return code is not None and not code.co_filename.startswith("<") and kind.__eq__.__module__ != "pydantic.main"


def _same_elements(a: Any, b: Any) -> bool:
    try:
        equal = a == b
        if getattr(a, "unit", None) == getattr(b, "unit", None):  # NaN metres are not NaN seconds
            equal = equal | ((a != a) & (b != b))  # noqa: PLR0124 - NaN and NaT differ from themselves
    except (TypeError, ArithmeticError):  # dtypes that have no common one, or units of time that are too far apart
        return False
    return equal if isinstance(equal, bool) else bool(equal.all())


def _same_by_operator(a: Any, b: Any) -> bool:
    try:
        if getattr(a, "shape", ()) != getattr(b, "shape", ()):  # before one is repeated to the shape of the other
            return False
        if _is_numpy_scalar(a) or _is_numpy_scalar(b):
            import numpy as np

            with np.errstate(all="ignore"):  # a number beyond the range of the other's kind is another number
                return _answer(a, b)
        return _answer(a, b)
    except ArithmeticError:  # of a signaling NaN, or of an integer beyond the range of the other number
        return type(a) is type(b) and repr(a) == repr(b)
    except (TypeError, ValueError, RuntimeError):  # values that can't be compared
        return _same_quantity(a, b)


def _answer(a: Any, b: Any) -> bool:
    equal = a == b
    if isinstance(equal, bool) and equal:
        return True
    if hasattr(equal, "all"):  # an array of answers
        return bool((equal | ((a != a) & (b != b))).all())  # noqa: PLR0124 - NaN differs from itself
    return bool(equal) or bool(a != a and b != b)  # noqa: PLR0124 - the same


def _is_numpy_scalar(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.generic)


def _is_quantity(value: Any) -> bool:
    return hasattr(value, "magnitude") and hasattr(value, "units")


def _same_quantity(a: Any, b: Any) -> bool:
    """Compare quantities of two registries of pint, which it refuses: one that was loaded is of the default registry."""
    if not (_is_quantity(a) and _is_quantity(b)):
        return False
    return str(a.units) == str(b.units) and same_value(a.magnitude, b.magnitude)


def _sparse_parts(matrix: Any) -> list[Any]:
    """Return the places and values of a sparse matrix, in one order, without zeros that are stored."""
    entries = matrix.tocoo(copy=True)
    entries.sum_duplicates()
    entries.eliminate_zeros()
    places = entries.coords if hasattr(entries, "coords") else (entries.row, entries.col)
    return [*places, entries.data]
