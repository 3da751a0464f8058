"""What may be made of a pickle of unknown origin: functions that check their arguments and can only make data.

Each stands for the function or class of the same name that a pickle calls. None of them takes memory for more than the
bytes that it is given, calls what it is given, or gives back anything that could.
"""

from __future__ import annotations

import collections
import re
from typing import TYPE_CHECKING, Any

from neuralib.persistence._errors import UntrustedTypeError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LISTS = {list, collections.deque}
DICTS = {dict, collections.OrderedDict, collections.defaultdict, collections.Counter}
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


class Unbuilt:
    """What a pickle has made, but not yet given its state."""

    def built(self, state: Any) -> Any:
        """Return the value with *state*."""
        raise NotImplementedError


class Settled(Unbuilt):
    """The same, where it may be used without a state."""


def _wrong(what: str) -> ValueError:
    return ValueError(f"it makes {what} of arguments that don't fit")


def _only(kinds: tuple[type, ...], values: Sequence[Any], what: str) -> None:
    if not all(type(it) in kinds for it in values):
        raise _wrong(what)


def _is_one_of(value: Any, *allowed: str | bytes) -> bool:
    # Not by hash, and not by comparison of what is no text: nested deeply, either could overflow the stack of C.
    return type(value) in {str, bytes} and any(value == it for it in allowed)


# ------------------------------------------------------------------------------------------ builtins


def _refused(*_: Any) -> Any:
    raise UntrustedTypeError("", "a call of a type as a function")


def _encoded(text: str, encoding: str = "utf-8") -> bytes:
    """Return bytes as protocols 0 to 2 have them."""
    _only((str,), (text, encoding), "bytes")
    if not _is_one_of(encoding, "latin1", "latin-1", "utf-8"):
        raise _wrong("bytes")
    return text.encode(encoding)


def _bytes(*values: Any) -> bytes:
    if values:
        raise _wrong("bytes")
    return b""


def _bytearray(data: Any = b"", encoding: str = "latin-1") -> bytearray:
    if type(data) is str:
        data = _encoded(data, encoding)
    _only((bytes,), (data,), "a bytearray")
    return bytearray(data)


def _complex(real: float, imaginary: float) -> complex:
    _only((int, float), (real, imaginary), "a complex number")
    return complex(real, imaginary)


def _set(items: Any = ()) -> set[Any]:
    _check_items(items)
    return set(items)


def _frozenset(items: Any = ()) -> frozenset[Any]:
    _check_items(items)
    return frozenset(items)


def _check_items(items: Any) -> None:
    """Admit only what is quick to hash: this way of writing sets is that of old protocols."""
    _only((list, tuple), (items,), "a set")
    for it in items:
        if isinstance(it, (tuple, frozenset)) and any(isinstance(part, (tuple, frozenset)) for part in it):
            raise _wrong("a set")


def _range(*numbers: int) -> range:
    _only((int,), numbers, "a range")
    return range(*numbers)


def _slice(*values: Any) -> slice:
    _only((int, float, str, type(None)), values, "a slice")
    return slice(*values)


def _ordered(items: Any = ()) -> collections.OrderedDict[Any, Any]:
    pairs = list(items) if type(items) in {list, tuple} else []
    if (items and not pairs) or any(type(it) not in {list, tuple} or len(it) != 2 for it in pairs):
        raise _wrong("an OrderedDict")
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
        raise _wrong("a Counter")
    return collections.Counter(items)


def _deque(items: Any = (), size: int | None = None) -> collections.deque[Any]:
    _only((list, tuple), (items,), "a deque")
    _only((int, type(None)), (size,), "a deque")
    return collections.deque(items, size)


# ------------------------------------------------------------------------------------------ the standard library


def _of_datetime(name: str) -> Callable[..., Any]:
    def make(*values: Any) -> Any:
        import datetime

        _only((bytes, str, int, datetime.timezone, datetime.timedelta, type(None)), values, f"a {name}")
        return getattr(datetime, name)(*values)

    return make


def _decimal(text: str) -> Any:
    from decimal import Decimal

    _only((str,), (text,), "a Decimal")
    return Decimal(text)


def _fraction(*values: Any) -> Any:
    from fractions import Fraction

    if len(values) == 1 and type(values[0]) is str and re.fullmatch(r"-?\d+(/\d+)?", values[0]):
        return Fraction(values[0])  # not '1e999999999'
    _only((int,), values, "a Fraction")
    return Fraction(*values)


class _Uuid(Unbuilt):
    def built(self, state: Any) -> Any:
        from uuid import UUID

        if type(state) is not dict or type(state.get("int")) is not int:
            raise _wrong("a UUID")
        return UUID(int=state["int"])


def _reconstructor(kind: str, base: str, state: None) -> Any:
    """Begin an object of the oldest protocols."""
    if not _is_one_of(kind, "uuid.UUID") or not _is_one_of(base, "builtins.object") or state is not None:
        raise UntrustedTypeError("", f"a new object of {shown(kind)}")
    return _Uuid()


def _path(kind: str) -> Callable[..., Any]:
    def make(*parts: str) -> Any:
        import pathlib

        _only((str,), parts, "a path")
        return getattr(pathlib, kind)(*parts)

    return make


# ------------------------------------------------------------------------------------------ numpy

_PLAIN_DTYPE = re.compile(r"[<>=|]?([?bBhHiIlLqQefdgFDG]|[biufcSUVmM]\d{1,9}|[mM]8\[\d{0,9}[a-zA-Zμ]{1,7}\])")
_DATE_UNITS = {b"Y", b"M", b"W", b"D", b"h", b"m", b"s", b"ms", b"us", b"ns", b"ps", b"fs", b"as", b"generic"}
_LARGEST_ITEM = 1 << 26  # bytes: numpy takes memory for one item even where an array has none
_FORTRAN, _C = "F", "C"


def _dtype(code: Any, *_: Any) -> Any:
    """Begin a dtype as numpy writes it: ``dtype('f8', False, True)``, whose state follows."""
    import numpy as np

    if _is_one_of(code, "O", "O8", "|O"):
        return _DType(np.dtype(object))
    return _DType(_plain_dtype(code))


def _plain_dtype(code: Any) -> Any:
    import numpy as np

    if type(code) is not str or not _PLAIN_DTYPE.fullmatch(code):
        raise UntrustedTypeError("", f"the dtype {shown(code)}")
    return _checked_size(np.dtype(code))


def _checked_size(dtype: Any) -> Any:
    if dtype.itemsize > _LARGEST_ITEM:
        raise ValueError(f"it has an array of items of {dtype.itemsize} bytes")
    return dtype


class _DType(Settled):
    """A dtype whose byte order, fields or units follow."""

    def __init__(self, base: Any) -> None:
        self.base = base

    def built(self, state: Any) -> Any:
        import numpy as np

        if type(state) is not tuple or not 8 <= len(state) <= 9:
            raise _wrong("a dtype")
        _, order, sub, names, fields, size = state[:6]
        if self.base.hasobject:
            return self.base
        if sub is not None:
            return self._repeated(sub)
        if names is not None:
            return self._structured(names, fields, size, aligned=bool(state[7] & 0x80))
        found = self.base
        if found.kind in "mM" and len(state) == 9:
            found = np.dtype(f"{found.kind}8{_date_unit(state[8])}")
        elif found.kind in "SUV" and type(size) is int and 0 <= size <= _LARGEST_ITEM:
            found = np.dtype(f"{found.kind}{size // (4 if found.kind == 'U' else 1)}")
        return found.newbyteorder(order) if _is_one_of(order, "<", ">") else found

    @staticmethod
    def _repeated(sub: Any) -> Any:
        import numpy as np

        if type(sub) is not tuple or len(sub) != 2 or not isinstance(sub[0], np.dtype):
            raise _wrong("a dtype")
        shape = sub[1] if type(sub[1]) is tuple else (sub[1],)
        if _count(shape) * sub[0].itemsize > _LARGEST_ITEM:
            raise _wrong("a dtype")
        return np.dtype((sub[0], shape))

    @staticmethod
    def _structured(names: Any, fields: Any, size: Any, *, aligned: bool) -> Any:
        import numpy as np

        _only((tuple,), (names,), "a dtype")
        _only((str,), names, "a dtype")
        if type(fields) is not dict or type(size) is not int or set(fields) != set(names):
            raise UntrustedTypeError("", "a structured dtype with titles")
        parts = [fields[it] for it in names]
        for it in parts:
            if type(it) is not tuple or len(it) != 2 or not isinstance(it[0], np.dtype) or type(it[1]) is not int:
                raise UntrustedTypeError("", "a structured dtype with titles")
            if it[0].hasobject:
                raise UntrustedTypeError("", "a structured dtype with objects")
        spec = {"names": list(names), "formats": [it[0] for it in parts], "offsets": [it[1] for it in parts]}
        return _checked_size(np.dtype({**spec, "itemsize": size}, align=aligned))  # type: ignore[call-overload]


def _date_unit(metadata: Any) -> str:
    try:
        unit, number = metadata[1][:2]
    except (TypeError, IndexError, ValueError):
        raise _wrong("a dtype of dates") from None
    if not _is_one_of(unit, *_DATE_UNITS) or type(number) is not int or not 0 < number < 1 << 31:
        raise _wrong("a dtype of dates")
    return "" if unit == b"generic" else f"[{number}{unit.decode()}]"


def _settled(dtype: Any) -> Any:
    """Return the dtype that *dtype* is: one of native numbers may come without state."""
    import numpy as np

    if isinstance(dtype, _DType):
        return dtype.base
    if not isinstance(dtype, np.dtype):
        raise _wrong("an array")
    return dtype


def _count(shape: Any) -> int:
    _only((tuple,), (shape,), "an array")
    _only((int,), shape, "an array")
    count = 1
    for it in shape:
        if it < 0:
            raise _wrong("an array")
        count *= it
    return count


def _array(shape: Any, code: Any, data: Any, offset: int = 0, strides: None = None, order: Any = _C) -> Any:
    """Return an array as this package writes it: ``numpy.ndarray(shape, dtype string, buffer)``."""
    import numpy as np

    _count(shape)
    _only((int,), (offset,), "an array")
    if strides is not None or not _is_one_of(order, _C, _FORTRAN):
        raise _wrong("an array")
    return np.ndarray(shape, _plain_dtype(code), memoryview(data), offset, None, order)


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> Any:
    """Return an array as numpy writes it in protocol 5."""
    import numpy as np

    dtype = _settled(dtype)
    if dtype.hasobject or not _is_one_of(order, _C, _FORTRAN, "K"):
        raise _wrong("an array")
    if _count(shape) * dtype.itemsize != memoryview(data).nbytes:
        raise _wrong("an array")
    flat = np.frombuffer(data, dtype) if dtype.itemsize and memoryview(data).nbytes else np.empty(_count(shape), dtype)
    kept: Any = _C if order == "K" else order
    if order == "K" and axes is not None:
        _only((int,), axes, "an array")
        return flat.reshape(shape).transpose(axes)
    return flat.reshape(shape, order=kept)


def _reconstruct(kind: Any, shape: Any, _code: Any) -> Any:
    """Begin an array as numpy writes it in earlier protocols: an empty one, whose state follows."""
    if not _is_one_of(kind, "numpy.ndarray") or type(shape) is not tuple:
        raise UntrustedTypeError("", f"an array of the class {shown(kind)}")
    return _Array()


class _Array(Unbuilt):
    def built(self, state: Any) -> Any:
        import numpy as np

        if type(state) is not tuple or len(state) != 5:
            raise _wrong("an array")
        _, shape, dtype, fortran, content = state
        dtype = _settled(dtype)
        count = _count(shape)
        order: Any = _FORTRAN if fortran else _C
        if dtype.kind == "O":
            if type(content) is not list or len(content) != count:
                raise _wrong("an array")
            made = np.empty(count, object)
            for i, it in enumerate(content):
                if isinstance(it, Unbuilt):
                    raise UntrustedTypeError("", "an array or object that contains itself")
                made[i] = it
            made = made.reshape(shape)  # the list is in the order of rows, whatever the array's is
            return np.asfortranarray(made) if fortran else made
        if dtype.hasobject:
            raise UntrustedTypeError("", "a structured array with objects")
        if type(content) is str:  # of Python 2
            content = content.encode("latin-1")
        if type(content) not in {bytes, bytearray} or count * dtype.itemsize != len(content):
            raise _wrong("an array")
        if not content:
            return np.empty(shape, dtype, order)
        return np.ndarray(shape, dtype, bytearray(content), order=order)  # a bytearray: it can be written


def _scalar(dtype: Any, content: Any = b"") -> Any:
    import numpy as np

    dtype = _settled(dtype)
    if type(content) is str:
        content = content.encode("latin-1")
    if dtype.hasobject or type(content) is not bytes or len(content) != dtype.itemsize:
        raise _wrong("a number of numpy's")
    return np.frombuffer(content, dtype, 1)[0] if content else dtype.type()


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
    "numpy.ndarray": _array,
    "numpy.dtype": _dtype,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _from_buffer,
}
"""By full name, what a pickle may call."""
