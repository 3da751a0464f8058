"""Comparison of two results field by field. Differences of arrays are given as numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

from neuralib.persistence._equality import same_value
from neuralib.persistence._showing.previews import StandIn, is_array

_SIMPLE = frozenset({str, bytes, int, float, bool, complex, type(None)})
_CHUNK = 1 << 20  # elements compared at a time; the difference of whole arrays would need as much memory as one of them


class Difference(NamedTuple):
    """One field that differs."""

    field: str
    kind: str
    """``only in a``, ``only in b``, ``shape``, ``dtype``, ``values``, or ``not compared``."""
    a: Any
    b: Any
    figures: dict[str, Any]
    """For arrays: ``count``, how many of the ``of`` elements differ, and for numbers ``max_abs``, the largest difference."""


_ABSENT = object()


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[Difference]:
    """Return the differences between two results, given as dicts of their fields, in the order of the fields."""
    found = []
    for name in dict.fromkeys([*a, *b]):
        in_a, in_b = a.get(name, _ABSENT), b.get(name, _ABSENT)
        if in_a is _ABSENT or in_b is _ABSENT:
            found.append(Difference(name, "only in b" if in_a is _ABSENT else "only in a", in_a, in_b, {}))
        elif is_array(in_a) and is_array(in_b):
            found += _array_differences(name, in_a, in_b)
        elif not same_value(in_a, in_b):
            found.append(Difference(name, "values", in_a, in_b, {}))
    return found


def difference_text(difference: Difference) -> str:
    """Return a short description of *difference*."""
    figures = difference.figures
    if "max_abs" in figures:
        return f"max |a-b| {figures['max_abs']:.4g}, {figures['count']:,} of {figures['of']:,} differ"
    if "count" in figures:
        return f"{figures['count']:,} of {figures['of']:,} differ"
    return difference.kind


def _array_differences(name: str, a: Any, b: Any) -> list[Difference]:
    if a.shape != b.shape:
        return [Difference(name, "shape", a, b, {})]
    if str(a.dtype) != str(b.dtype):
        return [Difference(name, "dtype", a, b, {})]
    arrays = [array.to_array() if isinstance(array, StandIn) else array for array in (a, b)]
    if any(array is None for array in arrays):
        return [Difference(name, "not compared", a, b, {})]
    if any(hasattr(array, "mask") or not hasattr(array.dtype, "hasobject") for array in arrays):
        return [] if same_value(*arrays) else [Difference(name, "values", a, b, {})]
    if arrays[0].dtype.hasobject:
        return [] if same_value(*arrays) else [Difference(name, "values", a, b, _count_of_objects(*arrays))]
    figures = _figures(*arrays)
    return [Difference(name, "values", a, b, figures)] if figures["count"] else []


def _count_of_objects(a: Any, b: Any) -> dict[str, Any]:
    """Return how many of two arrays of objects differ, where these have no parts, which arrays may share."""
    pairs = list(zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
    if not _SIMPLE.issuperset(type(value) for pair in pairs for value in pair):
        return {}
    return {"count": sum(not same_value(*pair) for pair in pairs), "of": a.size}


def _figures(a: Any, b: Any) -> dict[str, Any]:
    """Return how many elements of two arrays with the same shape and dtype differ, and by how much if they are numbers."""
    import numpy as np

    if a.dtype.kind not in "biufc":
        if same_value(a, b):
            return {"count": 0}
        try:
            return {"count": int((np.asarray(a) != np.asarray(b)).sum()), "of": a.size}
        except (TypeError, ValueError):
            return {"count": a.size, "of": a.size}
    largest, count = 0.0, 0
    a, b = a.ravel(), b.ravel()
    for start in range(0, a.size, _CHUNK):
        in_a, in_b = a[start : start + _CHUNK], b[start : start + _CHUNK]
        differ = (in_a != in_b) & ~((in_a != in_a) & (in_b != in_b))  # noqa: PLR0124 - NaN differs from itself
        count += int(differ.sum())
        if differ.any():
            wide = complex if a.dtype.kind == "c" else np.longdouble
            distances = np.abs(in_a[differ].astype(wide) - in_b[differ].astype(wide))
            chunk_max = float(distances.max())
            largest = max(largest, chunk_max if chunk_max == chunk_max else float("inf"))  # noqa: PLR0124 - one is NaN
    return {"max_abs": largest, "count": count, "of": a.size}
