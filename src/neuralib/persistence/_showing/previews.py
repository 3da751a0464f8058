"""Values as short texts, for people: bounded in length and work, whatever the value, its class or its origin."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

from neuralib.persistence._errors import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_MOST_ITEMS = 6
_DEEPEST = 3
_LONGEST_TEXT = 60
_LARGEST_INT = 1 << 256
_PLAIN = (bool, float, complex, type(None))


def size_text(size_bytes: float) -> str:
    """Return a size for people.

    >>> size_text(999), size_text(1500), size_text(256_000_000)
    ('999 B', '1.5 kB', '256 MB')
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size_bytes < 999.5 or unit == "TB":
            break
        size_bytes /= 1000
    return f"{size_bytes:.0f} {unit}" if unit == "B" or size_bytes >= 99.5 else f"{size_bytes:.1f} {unit}"


def count_text(count: int, what: str) -> str:
    """Return how many there are of something.

    >>> count_text(1, "result"), count_text(12000, "result")
    ('1 result', '12,000 results')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def printable(text: str) -> str:
    """Return *text* with what a terminal would obey, or could not show, in escaped form."""
    if text.isprintable():
        return text
    return "".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in text)


def is_array(value: object) -> bool:
    """Return whether *value* is an array, or tells of one."""
    return isinstance(getattr(value, "shape", None), tuple) and hasattr(value, "dtype")


def shape_text(value: Any) -> str:
    """Return the shape of an array, nothing for what is none."""
    if not is_array(value):
        return ""
    shape = " × ".join(f"{it}" for it in value.shape[:9]) or "scalar"  # noqa: RUF001 - a sign of multiplication is meant
    return f"{shape} …" if len(value.shape) > 9 else shape


def type_text(value: Any) -> str:
    """Return what kind of value *value* is: the dtype of an array, the class of all else."""
    if is_array(value):
        text = str(value.dtype)
        return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
    name: str = getattr(value, "type_name", None) or type(value).__qualname__
    return name.removeprefix("builtins.")


def size_of(value: Any) -> int | None:
    """Return the size of an array, or of what is too large to be shown, in bytes; None for all else."""
    size = getattr(value, "size_bytes", None)
    if size is None and is_array(value):
        size = getattr(value, "nbytes", None)
    return size if isinstance(size, int) else None


def value_text(value: Any, longest: int = _LONGEST_TEXT) -> str:
    """Return *value* as a text of about *longest* characters at the most, on one line."""
    text = re.sub(r"\s+", " ", printable(_brief(value, 0).replace("\n", " ")))
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _brief(value: Any, depth: int) -> str:  # noqa: PLR0911 - one answer for each kind
    kind = type(value)
    if kind is int:
        return repr(value) if abs(value) < _LARGEST_INT else f"an integer of {value.bit_length()} bits"
    if kind in _PLAIN:
        return repr(value)
    if isinstance(value, (str, bytes, bytearray)):
        start = value[: 2 * _LONGEST_TEXT]
        return _guarded(start) + ("…" if len(value) > len(start) else "")
    if is_array(value):
        if value.shape == () and hasattr(value, "item"):
            return str(value.item())[: 2 * _LONGEST_TEXT]
        return _array_text(value) or (f"<{shape_text(value)} {type_text(value)}>" if depth else "")
    if hasattr(value, "type_name"):
        return _object_text(value, depth)
    if isinstance(value, dict):
        return _items(
            value.items(), len(value), depth, "{}", lambda it: f"{_part(it[0], depth)}: {_part(it[1], depth)}"
        )
    for base, ends in ((list, "[]"), (tuple, "()"), (set, "{}"), (frozenset, "{}")):
        if isinstance(value, base):
            return _items(value, len(value), depth, ends, lambda it: _part(it, depth))
    # Dates as they are in a name.
    return str(value) if kind.__module__ == "datetime" else _guarded(value)


def _part(value: Any, depth: int) -> str:
    return _brief(value, depth + 1)


def _items(values: Iterable[Any], count: int, depth: int, ends: str, text: Callable[[Any], str]) -> str:
    if not count:
        return ends
    if depth >= _DEEPEST:
        return f"{ends[0]}…{ends[1]}"
    parts = [text(it) for it in itertools.islice(values, _MOST_ITEMS)]
    if count > _MOST_ITEMS:
        parts.append(f"… {count:,} in all")
    return f"{ends[0]}{', '.join(parts)}{',' if ends == '()' and count == 1 else ''}{ends[1]}"


def _object_text(value: Any, depth: int) -> str:
    name = type_text(value)
    if value.size_bytes is not None:
        return f"{name}, {size_text(value.size_bytes)}"
    if value.content is not None:
        return f"{name} {_brief(value.content, depth + 1)}"
    if value.fields:
        return f"{name} {_brief(value.fields, depth + 1)}"
    return name if value.arguments is None else f"{name}{_brief(value.arguments, depth + 1).replace(',)', ')')}"


def _array_text(value: Any) -> str:
    read = getattr(value, "to_array", None)
    try:
        array = value if read is None else read()
        if array is None:
            return ""
        first = list(itertools.islice(array.flat, _MOST_ITEMS))
        parts = [_number(it) for it in first]
        more = " …" if array.size > len(first) else ""
    except Exception:  # a class or dtype that can't be looked at so
        return ""
    return f"[{' '.join(parts)}{more}]"


def _number(value: Any) -> str:
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind == "f":
        return f"{value:.4g}"
    return _guarded(value.item() if kind in {"b", "i", "u", "U"} else value, str)


def _guarded(value: Any, text: Callable[[Any], str] = repr) -> str:
    return shown(value) if text is repr else text(value)[:_LONGEST_TEXT]
