"""Values as JSON has them: bounded, and never more than the head of a file tells."""

from __future__ import annotations

import math
from typing import Any

from neuralib.persistence._showing.previews import is_array, size_of, type_text, value_text

_MOST_VALUES = 10_000  # in one field: a file may refer to one list a thousand times
_DEEPEST = 20
_LARGEST_EXACT = 1 << 63


class _Budget:
    """How many values may still be written."""

    def __init__(self) -> None:
        self.left = _MOST_VALUES


def as_json(value: Any) -> Any:
    """Return *value* as plain JSON: arrays by shape and dtype, objects by their class, texts for what has no form of its own.

    What is not a number in JSON (NaN, infinities) becomes a text.
    """
    return _plain(value, _Budget(), 0)


def _plain(value: Any, budget: _Budget, depth: int) -> Any:
    budget.left -= 1
    if value is None or isinstance(value, (bool, int, float, str)):
        return _scalar(value)
    if is_array(value) and value.shape == () and hasattr(value, "item"):
        item = value.item()  # a number of numpy's
        return value_text(item) if is_array(item) else _plain(item, budget, depth + 1)
    if is_array(value):
        return {"array": list(value.shape), "dtype": str(value.dtype), "size_bytes": size_of(value)}
    if hasattr(value, "type_name"):
        return {"object": type_text(value), "value": value_text(value)}
    return _container(value, budget, depth)


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < _LARGEST_EXACT else value_text(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    return str(value)


def _container(value: Any, budget: _Budget, depth: int) -> Any:
    if depth >= _DEEPEST or budget.left < 0:
        return value_text(value)
    if isinstance(value, dict):
        return {_key(name): _plain(it, budget, depth + 1) for name, it in _some(value.items(), budget)}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(it, budget, depth + 1) for it in _some(value, budget)]
    return value_text(value, 1000)


def _key(name: Any) -> str:
    return name if isinstance(name, str) else value_text(name)


def _some(values: Any, budget: _Budget) -> Any:
    for it in values:
        if budget.left < 0:
            return
        yield it
