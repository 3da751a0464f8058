"""How two results differ, field by field, arrays by how far they are apart."""

from __future__ import annotations

from typing import Any, NamedTuple

from neuralib.persistence._equality import same_value
from neuralib.persistence._showing.previews import is_array

_PIECE = 1 << 20  # elements that are compared at a time: the difference of two large arrays would be a third


class Difference(NamedTuple):
    """One field that differs."""

    field: str
    kind: str
    """``only in a``, ``only in b``, ``shape``, ``dtype``, ``values``, or ``not compared``."""
    a: Any
    b: Any
    figures: dict[str, Any]
    """Of arrays of numbers: ``max_abs``, the largest difference, and ``count``, of how many elements."""


_ABSENT = object()


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[Difference]:
    """Return the fields in which the results with the fields *a* and *b* differ, in their order."""
    found = []
    for name in dict.fromkeys([*a, *b]):
        mine, theirs = a.get(name, _ABSENT), b.get(name, _ABSENT)
        if mine is _ABSENT or theirs is _ABSENT:
            found.append(Difference(name, "only in b" if mine is _ABSENT else "only in a", mine, theirs, {}))
        elif is_array(mine) and is_array(theirs):
            found += _of_arrays(name, mine, theirs)
        elif not _same(mine, theirs):
            found.append(Difference(name, "values", mine, theirs, {}))
    return found


def difference_text(found: Difference) -> str:
    """Return what differs, for people."""
    if "max_abs" in found.figures:
        return f"max |a-b| {found.figures['max_abs']:.4g}, {found.figures['count']:,} of {found.figures['of']:,} differ"
    if "count" in found.figures:
        return f"{found.figures['count']:,} of {found.figures['of']:,} differ"
    return found.kind


def _same(a: Any, b: Any) -> bool:
    """Return whether two values are the same; of objects that are only named, whether all that is said of them is."""
    if hasattr(a, "type_name") and hasattr(b, "type_name"):
        parts = ("type_name", "size_bytes", "arguments", "state", "content")
        try:
            return all(_same(getattr(a, it), getattr(b, it)) for it in parts)
        except RecursionError:  # it contains itself
            return False
    try:
        return same_value(a, b)
    except RecursionError:
        return False


def _of_arrays(name: str, a: Any, b: Any) -> list[Difference]:
    if a.shape != b.shape:
        return [Difference(name, "shape", a, b, {})]
    if str(a.dtype) != str(b.dtype):
        return [Difference(name, "dtype", a, b, {})]
    values = [it.to_array() if hasattr(it, "to_array") else it for it in (a, b)]
    if any(it is None for it in values):
        return [Difference(name, "not compared", a, b, {})]
    figures = _distance(*values)
    return [Difference(name, "values", a, b, figures)] if figures["count"] else []


def _distance(a: Any, b: Any) -> dict[str, Any]:
    """Return in how many elements two arrays of one shape and dtype differ; of numbers, by how much at the most."""
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
    for start in range(0, a.size, _PIECE):
        mine, theirs = a[start : start + _PIECE], b[start : start + _PIECE]
        differ = (mine != theirs) & ~((mine != mine) & (theirs != theirs))  # noqa: PLR0124 - NaN differs from itself
        count += int(differ.sum())
        if differ.any():
            wide = complex if a.dtype.kind == "c" else np.longdouble
            apart = np.abs(mine[differ].astype(wide) - theirs[differ].astype(wide))
            worst = float(apart.max())
            largest = max(largest, worst if worst == worst else float("inf"))  # noqa: PLR0124 - a NaN on one side
    return {"max_abs": largest, "count": count, "of": a.size}
