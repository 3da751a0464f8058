"""Conversion of field values to JSON, with a limit on the number of values."""

from __future__ import annotations

import math
from typing import Any

from neuralib.persistence._showing.previews import cell_text, is_array, is_object_head, size_of, type_text, value_text

_MAX_VALUES = 100_000  # of one file, which can contain the same list a thousand times
_MAX_CHARS = 1 << 20  # of the texts of one file
_TEXT_VALUES = 250  # that are looked at for a short text
_MAX_DEPTH = 20
_MAX_INT = 1 << 63  # many JSON readers can't represent larger integers


class Budget:
    """Counts how many more values, and characters of texts, may be written of one file."""

    def __init__(self) -> None:
        self.left = _MAX_VALUES
        self.chars = _MAX_CHARS

    @property
    def spent(self) -> bool:
        """Whether something was left out or shortened."""
        return self.left < 0 or self.chars < 0

    def text(self, value: str) -> str:
        """Return *value*, or the start of it where there are too many characters."""
        self.chars -= len(value)
        return value if self.chars >= 0 else value_text(value)


def as_json(value: Any, budget: Budget | None = None) -> Any:
    """Return *value* as a JSON value.

    Arrays become their shape and dtype, and objects become their class name and a short text. NaN, infinities and any
    other value that JSON does not have become text.
    """
    return _plain(value, Budget() if budget is None else budget, 0)


def _plain(value: Any, budget: Budget, depth: int) -> Any:
    budget.left -= 1
    if value is None or isinstance(value, (bool, int, float, str)):
        return budget.text(str(value)) if isinstance(value, str) else _scalar(value)
    if is_array(value) and value.shape == () and hasattr(value, "item"):
        item = value.item()  # numpy scalar
        return value_text(item) if is_array(item) else _plain(item, budget, depth + 1)
    if is_array(value):
        return {"array": list(value.shape), "dtype": budget.text(str(value.dtype)), "size_bytes": size_of(value)}
    if is_object_head(value):
        return {"object": type_text(value), "value": value_text(value)}
    return _container(value, budget, depth)


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < _MAX_INT else value_text(value)
    return float(value) if math.isfinite(value) else str(float(value))


def _container(value: Any, budget: Budget, depth: int) -> Any:
    if depth >= _MAX_DEPTH or budget.left < 0:
        budget.left -= _TEXT_VALUES
        return value_text(value) if budget.left > -_MAX_VALUES else "…"
    if isinstance(value, dict):
        pairs = _within(budget, value.items())
        return {budget.text(cell_text(key)): _plain(item, budget, depth + 1) for key, item in pairs}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, budget, depth + 1) for item in _within(budget, value)]
    return value_text(value, 1000)


def _within(budget: Budget, values: Any) -> Any:
    """Yield *values* until the budget is used up."""
    for value in values:
        if budget.left < 0:
            return
        yield value
