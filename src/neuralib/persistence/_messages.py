"""How values are shown in messages: in short, and so that a terminal or log can show them."""

from __future__ import annotations

import collections
import itertools
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_MAX_SHOWN = 120
_MAX_VALUES = 1000
_MAX_CHARS = 1 << 16
"""Characters, and bytes of arrays, that are written out to show a few of them."""
_FEW_BITS = 4096  # of an int whose digits are written
_SPACES = frozenset("\xa0\u1680\u202f\u205f\u3000").union(map(chr, range(0x2000, 0x200B)))
"""Spaces, which a terminal can show, although Python escapes them."""


def printable(text: str) -> str:
    """Return *text* with control characters, line ends and directional marks escaped, so that a terminal can show it."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in _SPACES else character.encode("unicode_escape").decode()
        for character in text
    )


def shown(value: object, write: Callable[[Any], str] = repr, max_chars: int = _MAX_SHOWN) -> str:
    """Return a short printable text of *value* for a message, or the name of its type if *write* fails.

    :param write: ``repr`` or ``str``
    """
    try:
        if type(value) in {str, bytes, bytearray} and len(value) > max_chars:  # type: ignore[arg-type]
            text = write(value[: max_chars + 1])  # type: ignore[index]
        elif type(value) is int and value.bit_length() > _FEW_BITS:
            return f"<int of {value.bit_length()} bits>"
        elif is_brief(value, max_chars=_MAX_CHARS):
            text = write(value)
        else:
            return f"<{type(value).__name__} of many values>"
    except Exception:  # building an error message must not raise another error
        return f"<{type(value).__name__}>"
    text = printable(text if len(text) <= max_chars else text[: max_chars - 3] + "...")
    return text if len(text) <= max_chars else text[: max_chars - 3] + "..."


def is_brief(value: object, max_chars: int | None = None) -> bool:
    """Return whether *value*, counted together with all values nested in it, is few values.

    A list in a file can contain the same list many times, which can contain another list many times, and so on. The
    ``repr`` of such a value would be too long to compute.

    :param max_chars: how many characters of texts, and bytes of arrays, they may have together
    """
    if isinstance(value, (int, float)):  # fast path: most values are plain
        return True
    pending: list[Any] = [value]
    left, chars = _MAX_VALUES, max_chars or 0
    while pending:
        left -= 1
        if left < 0:
            return False
        current = pending.pop()
        if isinstance(current, (int, float)):
            continue
        if max_chars is not None:
            chars -= _length_of(current)
            if chars < 0:
                return False
        if isinstance(current, (str, bytes, bytearray)):
            continue
        pending.extend(itertools.islice(_children_of(current), left + 1))
    return True


def _length_of(value: Any) -> int:
    """Return how much of *value* its ``repr`` writes out, not counting other values in it."""
    if isinstance(value, (str, bytes, bytearray)):
        return len(value)
    size = getattr(value, "nbytes", 0)
    if not isinstance(size, int):
        return 0
    dtype = getattr(value, "dtype", None)
    if getattr(dtype, "names", None):
        count: int = getattr(value, "size", 1)
        return count * _length_of_record(dtype)
    numbers = getattr(dtype, "kind", "") in "biufcmM"
    return min(size, _MAX_SHOWN * 8) if numbers else size  # of many numbers, the first and the last are written


def _length_of_record(dtype: Any) -> int:
    """Return how much is written of a record: its fields may overlap, and take no memory."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        count: int = math.prod(shape)
        return count * _length_of_record(base)
    if dtype.names is not None:
        return sum(_length_of_record(dtype[name]) for name in dtype.names)
    size: int = dtype.itemsize
    return max(size, 1)


def _children_of(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return (child for pair in value.items() for child in pair)
    if isinstance(value, (list, tuple, set, frozenset, collections.deque)):
        return value
    if getattr(getattr(value, "dtype", None), "hasobject", False) and hasattr(value, "flat"):
        return value.flat  # type: ignore[no-any-return]
    if isinstance(value, type) or getattr(value, "_is_shown_briefly", False) is True:
        return ()
    if isinstance(value, BaseException):
        return value.args
    slots = (name for base in type(value).__mro__ for name in base.__dict__.get("__slots__", ()) if len(name) > 1)
    parts = [getattr(value, name, None) for name in slots]
    return [*parts, *vars(value).values()] if hasattr(value, "__dict__") else parts
