"""What may be made of a pickle of unknown origin: functions that check their arguments and can only make data.

Each stands for the function or class of the same name that a pickle calls. None of them takes memory for more than the
bytes that it is given, calls what it is given, or gives back anything that could.
"""

from __future__ import annotations

import collections
import re
from typing import TYPE_CHECKING, Any

from neuralib.persistence._errors import UntrustedTypeError, shown
from neuralib.persistence._trust import plain_arrays
from neuralib.persistence._trust.plain_values import Unbuilt, is_one_of, only, wrong

if TYPE_CHECKING:
    from collections.abc import Callable

LISTS = {list, collections.deque}
DEFAULTDICT = collections.defaultdict
DICTS = {dict, collections.OrderedDict, DEFAULTDICT, collections.Counter}
BUFFERS = {bytes, bytearray, memoryview}
_FACTORIES: dict[str, Callable[[], Any]] = {
    "builtins.list": list,
    "builtins.dict": dict,
    "builtins.set": set,
    "builtins.int": int,
    "builtins.float": float,
    "builtins.str": str,
    "builtins.bytes": bytes,
    "builtins.bool": bool,
    "builtins.tuple": tuple,
}

RENAMED_MODULES = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
    "pathlib._local": "pathlib",
}
"""Modules under the names that earlier and later versions have for them, to the one that is used here."""

FIRST_IS_CLASS = {
    "builtins.getattr",
    "collections.defaultdict",
    "copyreg.__newobj__",
    "copyreg._reconstructor",
    "numpy._core.multiarray._reconstruct",
}
"""Functions whose first argument is a class. Those of the table are given as their names."""

SETS = {"builtins.set", "builtins.frozenset"}
"""Functions whose first argument holds keys."""

VIEWS = {"numpy.ndarray", "numpy._core.numeric._frombuffer"}
"""Functions that copy nothing of what they are given."""

_LONGEST_NUMBER_BITS = 100_000  # calculating with longer ones takes long, and nobody measures them
_LONGEST_DECIMAL = 10_000  # characters


# ------------------------------------------------------------------------------------------ builtins


def _refused(*_: Any) -> Any:
    raise UntrustedTypeError("", "a call of a type as a function")


def _encoded(text: str, encoding: str = "utf-8") -> bytes:
    """Return bytes as protocols 0 to 2 have them."""
    only((str,), (text, encoding), "bytes")
    if not is_one_of(encoding, "latin1", "latin-1", "utf-8"):
        raise wrong("bytes")
    return text.encode(encoding)


def _bytes(*values: Any) -> bytes:
    if values:
        raise wrong("bytes")
    return b""


def _bytearray(data: Any = b"", encoding: str = "latin-1") -> bytearray:
    if type(data) is str:
        data = _encoded(data, encoding)
    only((bytes,), (data,), "a bytearray")
    return bytearray(data)


def _complex(real: float, imaginary: float) -> complex:
    only((int, float), (real, imaginary), "a complex number")
    return complex(real, imaginary)


def _set(items: Any = ()) -> set[Any]:
    _check_items(items)
    return set(items)


def _frozenset(items: Any = ()) -> frozenset[Any]:
    _check_items(items)
    return frozenset(items)


def _check_items(items: Any) -> None:
    """Admit only what is quick to hash: this way of writing sets is that of old protocols."""
    only((list, tuple), (items,), "a set")
    for it in items:
        if isinstance(it, (tuple, frozenset)) and any(isinstance(part, (tuple, frozenset)) for part in it):
            raise wrong("a set")


def _range(*numbers: int) -> range:
    _only_numbers(numbers, "a range")
    return range(*numbers)


def _only_numbers(values: tuple[int, ...], what: str) -> None:
    only((int,), values, what)
    if any(it.bit_length() > _LONGEST_NUMBER_BITS for it in values):
        raise wrong(what)


def _slice(*values: Any) -> slice:
    only((int, float, str, type(None)), values, "a slice")
    return slice(*values)


def _ordered(items: Any = ()) -> collections.OrderedDict[Any, Any]:
    pairs = list(items) if type(items) in {list, tuple} else []
    if (items and not pairs) or any(type(it) not in {list, tuple} or len(it) != 2 for it in pairs):
        raise wrong("an OrderedDict")
    _check_items([key for key, _ in pairs])
    return collections.OrderedDict(pairs)


def _defaultdict(factory: str | None = None) -> collections.defaultdict[Any, Any]:
    if factory is None:
        return collections.defaultdict()
    if type(factory) is not str or factory not in _FACTORIES:
        raise UntrustedTypeError("", f"a defaultdict of {shown(factory)}")
    return collections.defaultdict(_FACTORIES[factory])


def _counter(items: Any = None) -> collections.Counter[Any]:
    if type(items) not in {dict, type(None)}:
        raise wrong("a Counter")
    return collections.Counter(items)


def _deque(items: Any = (), size: int | None = None) -> collections.deque[Any]:
    only((list, tuple), (items,), "a deque")
    only((int, type(None)), (size,), "a deque")
    return collections.deque(items, size)


# ------------------------------------------------------------------------------------------ the standard library


def _of_datetime(name: str) -> Callable[..., Any]:
    def make(*values: Any) -> Any:
        import datetime

        only((bytes, str, int, datetime.timezone, datetime.timedelta, type(None)), values, f"a {name}")
        made = getattr(datetime, name)(*values)
        return made.replace() if hasattr(made, "replace") else made  # which looks whether there is such an hour

    return make


def _decimal(text: str) -> Any:
    from decimal import Decimal

    only((str,), (text,), "a Decimal")
    if len(text) > _LONGEST_DECIMAL:
        raise wrong("a Decimal")
    return Decimal(text)


def _fraction(*values: Any) -> Any:
    from fractions import Fraction

    if len(values) == 1 and type(values[0]) is str and re.fullmatch(r"-?\d+(/\d+)?", values[0]):
        return Fraction(values[0])  # not '1e999999999'
    _only_numbers(values, "a Fraction")
    return Fraction(*values)


class _Uuid(Unbuilt):
    def built(self, state: Any) -> Any:
        from uuid import UUID

        if type(state) is not dict or type(state.get("int")) is not int:
            raise wrong("a UUID")
        return UUID(int=state["int"])


def _reconstructor(kind: str, base: str, state: None) -> Any:
    """Begin an object of the oldest protocols."""
    if not is_one_of(kind, "uuid.UUID") or not is_one_of(base, "builtins.object") or state is not None:
        raise UntrustedTypeError("", f"a new object of {shown(kind)}")
    return _Uuid()


def _path(kind: str) -> Callable[..., Any]:
    def make(*parts: str) -> Any:
        import pathlib

        only((str,), parts, "a path")
        return getattr(pathlib, kind)(*parts)

    return make


TABLE: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(_FACTORIES, _refused),
    "builtins.bytearray": _bytearray,
    "builtins.bytes": _bytes,
    "builtins.complex": _complex,
    "builtins.frozenset": _frozenset,
    "builtins.getattr": _refused,
    "builtins.object": _refused,
    "builtins.range": _range,
    "builtins.xrange": _range,
    "builtins.set": _set,
    "builtins.slice": _slice,
    "_codecs.encode": _encoded,
    "collections.Counter": _counter,
    "collections.OrderedDict": _ordered,
    "collections.defaultdict": _defaultdict,
    "collections.deque": _deque,
    "copyreg.__newobj__": _refused,
    "copyreg._reconstructor": _reconstructor,
    **{f"datetime.{it}": _of_datetime(it) for it in ("date", "time", "datetime", "timedelta", "timezone")},
    "decimal.Decimal": _decimal,
    "fractions.Fraction": _fraction,
    "uuid.UUID": _Uuid,
    "pathlib.Path": _path("Path"),
    "pathlib.PosixPath": _path("Path"),
    "pathlib.WindowsPath": _path("Path"),
    "pathlib.PurePath": _path("PurePath"),
    "pathlib.PurePosixPath": _path("PurePosixPath"),
    "pathlib.PureWindowsPath": _path("PureWindowsPath"),
    **plain_arrays.TABLE,
}
"""By full name, what a pickle may call."""
