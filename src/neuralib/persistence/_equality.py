"""When two values are the same: arrays element by element, NaN like NaN, inside lists, tuples and dicts too."""

from __future__ import annotations

import sys
from typing import Any


def same_value(a: Any, b: Any) -> bool:
    """Return whether *a* and *b* are equal as data.

    Like ``==``, but arrays are compared as a whole (shape and every element), NaN equals NaN, and tables that have a
    method ``equals`` (pandas, polars) are asked by it.
    """
    return _same(a, b, set())


def _same(a: Any, b: Any, seen: set[tuple[int, int]]) -> bool:
    if a is b:
        return True
    if isinstance(a, (dict, list, tuple)):
        if (id(a), id(b)) in seen:  # a cycle: decided where it was entered
            return True
        seen.add((id(a), id(b)))
        return _same_container(a, b, seen)
    if _is_array(a) or _is_array(b):
        return _is_array(a) and _is_array(b) and _same_array(a, b, seen)
    equals = getattr(type(a), "equals", None)
    if equals is not None and type(a) is type(b):
        return bool(equals(a, b))
    return _same_scalar(a, b)


def _same_scalar(a: Any, b: Any) -> bool:
    try:
        if a == b:
            return True
        return bool(a != a and b != b)  # noqa: PLR0124 - only NaN and its like differ from themselves
    except (TypeError, ValueError):  # values that can't be compared, or compare to more than one answer
        return False


def _same_container(a: Any, b: Any, seen: set[tuple[int, int]]) -> bool:
    if isinstance(a, dict):
        return (
            isinstance(b, dict) and a.keys() == b.keys() and all(_same(value, b[key], seen) for key, value in a.items())
        )
    kind = list if isinstance(a, list) else tuple
    return isinstance(b, kind) and len(a) == len(b) and all(_same(x, y, seen) for x, y in zip(a, b, strict=True))


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")  # without numpy loaded there is no array
    return numpy is not None and isinstance(value, numpy.ndarray)


def _same_array(a: Any, b: Any, seen: set[tuple[int, int]]) -> bool:
    if a.shape != b.shape:
        return False
    if a.dtype.names is not None or b.dtype.names is not None:
        return a.dtype.names == b.dtype.names and all(
            _same_array(a[name], b[name], seen) for name in a.dtype.names or ()
        )
    if a.dtype.hasobject or b.dtype.hasobject:
        return all(_same(x, y, seen) for x, y in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
    try:
        same = (a == b) | ((a != a) & (b != b))  # noqa: PLR0124 - NaN and NaT differ from themselves
    except TypeError:  # dtypes that have no common one
        return False
    return bool(same.all())
