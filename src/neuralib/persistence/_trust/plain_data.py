"""The table: by full name, what may be made of a pickle of unknown origin, and the functions that make it.

Each stands for the function or class of the same name that a pickle calls. It checks its arguments and can only make
data: none takes memory for more than the bytes that it is given, calls what it is given, or gives back anything that
could. The first argument of each is the account, to which it charges what its other arguments don't show.
"""

from __future__ import annotations

import collections
import functools
import re
from typing import TYPE_CHECKING, Any

from neuralib.persistence._errors import UntrustedTypeError
from neuralib.persistence._trust import plain_arrays, plain_generators
from neuralib.persistence._trust.plain_values import Function, Pending, class_of, is_one_of, label_of, need, only

if TYPE_CHECKING:
    from collections.abc import Callable

    from neuralib.persistence._trust.allowance import Allowance

    Maker = Callable[..., Any]

LISTS = {list, collections.deque}
DICTS = {dict, collections.OrderedDict, collections.defaultdict, collections.Counter}
_CLASSES: dict[str, type] = {
    **{f"builtins.{kind.__name__}": kind for kind in (list, dict, set, int, float, str, bytes, bool, tuple)},
    "builtins.long": int,
    "builtins.unicode": str,  # as protocols 0 to 2 call them
}
_FACTORIES: dict[str, type] = {
    **_CLASSES,
    **{f"{kind.__module__}.{kind.__name__}": kind for kind in (complex, frozenset, *LISTS, *DICTS)},
}

RENAMED_MODULES = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
    "numpy.core._internal": "numpy._core._internal",
    "pathlib._local": "pathlib",
}
"""Modules under the names that earlier and later versions have for them, to the one that is used here."""

VIEWS = {"numpy.ndarray", "numpy._core.numeric._frombuffer"}
"""Functions that copy nothing of what they are given."""

_MOST_BITS = 10_000  # of the terms of a fraction: calculating with longer ones takes long, and nobody measures them
_LONGEST_DECIMAL = 10_000  # characters
_ZONE_BYTES = 1 << 14  # what reading a time zone takes
_PATH_CHAR = 32  # each second one may be a separator, and each folder is an object

# ------------------------------------------------------------------------------------------ builtins


def _refused(_: Allowance, *__: Any) -> Any:
    """Refuse to call what is a class, and so may be an argument."""
    raise UntrustedTypeError("", "a call of a type as a function")


def _getattr(_: Allowance, owner: Any, name: Any) -> Any:
    """Return the one method that a pickle of plain data looks up."""
    if class_of(owner, {"zoneinfo.ZoneInfo"}) and is_one_of(name, "_unpickle"):
        return Function("zoneinfo.ZoneInfo._unpickle", _zone)
    raise UntrustedTypeError("", f"a call of getattr on {label_of(owner)}")


def _encoded(_: Allowance, text: str, encoding: str = "utf-8") -> bytes:
    """Return bytes as protocols 0 to 2 have them."""
    only((str,), (text, encoding), "bytes")
    need(is_one_of(encoding, "latin1", "latin-1", "utf-8"), "bytes")
    return text.encode(encoding)


def _bytearray(account: Allowance, data: Any = b"", encoding: str = "latin-1") -> bytearray:
    if type(data) is str:
        data = _encoded(account, data, encoding)
    only((bytes,), (data,), "a bytearray")
    return bytearray(data)


def _complex(_: Allowance, real: float, imaginary: float) -> complex:
    only((int, float), (real, imaginary), "a complex number")
    return complex(real, imaginary)


def _set(account: Allowance, items: Any = ()) -> set[Any]:
    only((list, tuple), (items,), "a set")
    return account.set_of(items)


def _ordered(account: Allowance, items: Any = ()) -> collections.OrderedDict[Any, Any]:
    only((list, tuple), (items,), "an OrderedDict")
    only((list, tuple), items, "an OrderedDict")
    made: collections.OrderedDict[Any, Any] = collections.OrderedDict()
    account.fill(made, made.update, items, [key for key, _ in items])
    return made


def _defaultdict(_: Allowance, factory: Any = None) -> collections.defaultdict[Any, Any]:
    name = class_of(factory, _FACTORIES)
    if factory is not None and name is None:
        raise UntrustedTypeError("", f"a defaultdict of {label_of(factory)}")
    return collections.defaultdict(None if name is None else _FACTORIES[name])


def _counter(account: Allowance, items: Any = None) -> collections.Counter[Any]:
    only((dict, type(None)), (items,), "a Counter")
    made: collections.Counter[Any] = collections.Counter()
    pairs = list((items or {}).items())
    account.fill(made, functools.partial(dict.update, made), pairs, items or ())
    return made


def _deque(_: Allowance, items: Any = (), size: int | None = None) -> collections.deque[Any]:
    only((list, tuple), (items,), "a deque")
    only((int, type(None)), (size,), "a deque")
    return collections.deque(items, size)


# ------------------------------------------------------------------------------------------ the standard library


def _of_datetime(name: str) -> Maker:
    def make(_: Allowance, *values: Any) -> Any:
        import datetime
        from zoneinfo import ZoneInfo

        kinds = (bytes, str, int, datetime.timezone, datetime.timedelta, ZoneInfo, type(None))
        only(kinds, values, f"a {name}")
        made = getattr(datetime, name)(*values)
        return made.replace() if hasattr(made, "replace") else made  # which looks whether there is such an hour

    return make


@functools.cache
def _zones() -> set[str]:
    import zoneinfo

    return zoneinfo.available_timezones()


def _zone(account: Allowance, key: Any, _from_cache: Any = True) -> Any:
    from zoneinfo import ZoneInfo

    account.spend(_ZONE_BYTES)
    if type(key) is not str or key not in _zones():  # its name is that of a file that is read
        raise UntrustedTypeError("", f"the time zone {label_of(key)}, which is not known here")
    return ZoneInfo(key)


def _decimal(_: Allowance, text: str) -> Any:
    from decimal import Decimal

    only((str,), (text,), "a Decimal")
    need(len(text) <= _LONGEST_DECIMAL, "a Decimal")
    return Decimal(text)


def _fraction(account: Allowance, *values: Any) -> Any:
    from fractions import Fraction

    if len(values) == 1 and type(values[0]) is str and re.fullmatch(r"-?\d{1,3000}(/\d{1,3000})?", values[0]):
        values = tuple(map(int, values[0].split("/")))  # not '1e999999999'
    only((int,), values, "a Fraction")
    bits = max((number.bit_length() for number in values), default=0)
    need(bits <= _MOST_BITS, "a Fraction")
    account.spend((bits >> 4) ** 2)  # it looks for a common divisor
    return Fraction(*values)


class _Uuid(Pending):
    type_name = "uuid.UUID"

    def built(self, account: Allowance, state: Any) -> Any:
        from uuid import UUID

        only((dict,), (state,), "a UUID")
        only((int,), (state.get("int"),), "a UUID")
        return UUID(int=state["int"])


def _reconstructor(_: Allowance, kind: Any, base: Any, state: None) -> Any:
    """Begin an object of the oldest protocols."""
    if not class_of(kind, {"uuid.UUID"}) or not class_of(base, {"builtins.object"}) or state is not None:
        raise UntrustedTypeError("", f"a new object of {label_of(kind)}")
    return _Uuid()


def _path(kind: str) -> Maker:
    def make(account: Allowance, *parts: str) -> Any:
        import pathlib

        only((str,), parts, "a path")
        account.spend(_PATH_CHAR * sum(map(len, parts)))
        return getattr(pathlib, kind)(*parts)

    return make


TABLE: dict[str, Maker] = {
    **dict.fromkeys((*_CLASSES, "builtins.object", "zoneinfo.ZoneInfo"), _refused),
    **dict.fromkeys((*plain_arrays.CLASSES, *plain_generators.CLASSES), _refused),
    "builtins.bytearray": _bytearray,
    "builtins.bytes": lambda _: b"",
    "builtins.complex": _complex,
    "builtins.frozenset": lambda account, items=(): frozenset(_set(account, items)),
    "builtins.getattr": _getattr,
    "builtins.set": _set,
    "_codecs.encode": _encoded,
    "collections.Counter": _counter,
    "collections.OrderedDict": _ordered,
    "collections.defaultdict": _defaultdict,
    "collections.deque": _deque,
    "copyreg._reconstructor": _reconstructor,
    **{f"datetime.{name}": _of_datetime(name) for name in ("date", "time", "datetime", "timedelta", "timezone")},
    "decimal.Decimal": _decimal,
    "fractions.Fraction": _fraction,
    "uuid.UUID": lambda _: _Uuid(),
    **{f"pathlib.{kind}": _path(kind) for kind in ("Path", "PurePath", "PurePosixPath", "PureWindowsPath")},
    "pathlib.PosixPath": _path("Path"),
    "pathlib.WindowsPath": _path("Path"),
    **plain_arrays.TABLE,
    **plain_generators.TABLE,
}
"""By full name, what a pickle may call, or name as an argument."""
