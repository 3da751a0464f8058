"""Short texts that describe values. Length and computing time are bounded for any value, also from untrusted files."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

from neuralib.persistence._messages import printable, shown

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterable

_MAX_ITEMS = 6
_MAX_DEPTH = 3
_MAX_CHARS = 60
MAX_REPR_CHARS = 1000
_MAX_INT = 1 << 256
_LATEST_S = 253_000_000_000  # in the year 9987
_PLAIN_TYPES = (bool, float, complex, type(None))


class StandIn:
    """The base of what stands for a value that was not read: of ``ArrayHead`` and ``ObjectHead``."""

    __slots__ = ()
    size_bytes: int | None

    def to_array(self) -> Any:
        """Return the array that it stands for; None where it is another object, or its values were not read."""
        return None


def size_text(size_bytes: float) -> str:
    """Return a size in a readable unit.

    >>> size_text(999), size_text(1500), size_text(256_000_000)
    ('999 B', '1.5 kB', '256 MB')
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size_bytes < 999.5 or unit == "TB":
            break
        size_bytes /= 1000
    return f"{size_bytes:.0f} {unit}" if unit == "B" or size_bytes >= 99.5 else f"{size_bytes:.1f} {unit}"


def count_text(count: int, what: str) -> str:
    """Return *count* and the noun *what*, in the plural if needed.

    >>> count_text(1, "result"), count_text(12000, "result")
    ('1 result', '12,000 results')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def moment_of(seconds: float) -> datetime.datetime:
    """Return the local time *seconds* after 1970; the nearest one that a calendar has where a file claims another."""
    import datetime

    return datetime.datetime.fromtimestamp(min(max(seconds, 0), _LATEST_S)).astimezone()


def is_array(value: object) -> bool:
    """Return whether *value* is an array or an ``ArrayHead``, which describes one."""
    try:
        return isinstance(getattr(value, "shape", None), tuple) and hasattr(value, "dtype")
    except Exception:  # such as of an array in a file that was closed
        return False


def is_object_head(value: object) -> bool:
    """Return whether *value* is an ``ObjectHead``, which describes an object."""
    return isinstance(value, StandIn) and not is_array(value)


def shape_text(value: Any) -> str:
    """Return the shape of an array, or an empty text for other values."""
    if not is_array(value):
        return ""
    shape = " × ".join(str(size) for size in value.shape[:9]) or "scalar"  # noqa: RUF001 - the multiplication sign
    return f"{shape} …" if len(value.shape) > 9 else shape


def type_text(value: Any) -> str:
    """Return the dtype of an array, or the name of the class of any other value."""
    if is_array(value):
        text = str(value.dtype)
        return text if len(text) <= _MAX_CHARS else text[: _MAX_CHARS - 1] + "…"
    name: str = value.type_name if is_object_head(value) else type(value).__qualname__
    return name.removeprefix("builtins.")


def size_of(value: Any) -> int | None:
    """Return the size in bytes of an array or of an object head that knows its size, or None for other values."""
    if isinstance(value, StandIn):
        return value.size_bytes
    size = getattr(value, "nbytes", None) if is_array(value) else None
    return size if isinstance(size, int) else None


def value_text(value: Any, max_chars: int = _MAX_CHARS) -> str:
    """Return *value* as one line of text with at most *max_chars* characters."""
    text = re.sub(r"\s+", " ", printable(_brief(value, 0).replace("\n", " ")))
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"


def cell_text(value: Any) -> str:
    """Return *value* for a cell of a table: a text as it is, anything else in short."""
    return value if isinstance(value, str) else value_text(value)


def _brief(value: Any, depth: int) -> str:  # noqa: PLR0911 - one return for each kind of value
    kind = type(value)
    if kind is int:
        return repr(value) if abs(value) < _MAX_INT else f"an integer of {value.bit_length()} bits"
    if kind in _PLAIN_TYPES:
        return repr(value)
    if isinstance(value, (str, bytes, bytearray)):
        start = value[: 2 * _MAX_CHARS]
        return shown(start) + ("…" if len(value) > len(start) else "")
    if is_array(value):
        if value.shape == () and hasattr(value, "item"):
            return _element_text(value.flat[0], depth) if hasattr(value, "flat") else _brief(value.item(), depth + 1)
        return _array_text(value, depth) or (f"<{shape_text(value)} {type_text(value)}>" if depth else "")
    if is_object_head(value):
        return _object_text(value, depth)
    if isinstance(value, dict):
        return _items_text(
            value.items(),
            len(value),
            depth,
            "{}",
            lambda pair: f"{_brief(pair[0], depth + 1)}: {_brief(pair[1], depth + 1)}",
        )
    for base, brackets in ((list, "[]"), (tuple, "()"), (set, "{}"), (frozenset, "{}")):
        if isinstance(value, base):
            return _items_text(value, len(value), depth, brackets, lambda item: _brief(item, depth + 1))
    # Dates look the same here as in file names.
    return str(value) if kind.__module__ == "datetime" else shown(value)


def _items_text(values: Iterable[Any], count: int, depth: int, brackets: str, text: Callable[[Any], str]) -> str:
    if not count:
        return brackets
    if depth >= _MAX_DEPTH:
        return f"{brackets[0]}…{brackets[1]}"
    items = [text(value) for value in itertools.islice(values, _MAX_ITEMS)]
    if count > _MAX_ITEMS:
        items.append(f"… {count:,} in all")
    return f"{brackets[0]}{', '.join(items)}{',' if brackets == '()' and count == 1 else ''}{brackets[1]}"


def _object_text(value: Any, depth: int) -> str:
    name = type_text(value)
    if value.size_bytes is not None:
        return f"{name}, {size_text(value.size_bytes)}"
    if value.content is not None:
        return f"{name} {_brief(value.content, depth + 1)}"
    if value.fields:
        return f"{name} {_brief(value.fields, depth + 1)}"
    return name if value.arguments is None else f"{name}{_brief(value.arguments, depth + 1).replace(',)', ')')}"


def _array_text(value: Any, depth: int) -> str:
    try:
        array = value.to_array() if isinstance(value, StandIn) else value
        if array is None:
            return ""
        first = list(itertools.islice(array.flat, _MAX_ITEMS))
        items = [_element_text(element, depth) for element in first]
        more = " …" if array.size > len(first) else ""
    except Exception:  # array classes and dtypes of other libraries may raise anything
        return ""
    return f"[{' '.join(items)}{more}]"


def _element_text(value: Any, depth: int) -> str:
    if isinstance(value, (str, bytes)):
        return str(value[:_MAX_CHARS])
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind == "f" and not hasattr(value, "mask"):
        return f"{value:.4g}"
    if kind in {"M", "m"} or (kind != "V" and hasattr(value, "mask")):
        return shown(value, str)
    depth = max(depth, _MAX_DEPTH - 1)
    if kind == "V":
        names = value.dtype.names
        return (
            shown(value)
            if not names
            else _items_text(names, len(names), depth, "()", lambda name: _brief(value[name], depth + 1))
        )
    plain = value.item() if kind in {"b", "i", "u", "c"} else value
    return shown(plain, str) if is_array(plain) else _brief(plain, depth)  # no complex of Python is as precise
