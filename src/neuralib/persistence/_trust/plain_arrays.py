"""What a pickle of unknown origin may make of numpy: dtypes, arrays and numbers, of bytes that are there."""

from __future__ import annotations

import math
import re
import sys
from typing import TYPE_CHECKING, Any

from neuralib.persistence._errors import UntrustedTypeError, shown
from neuralib.persistence._trust.allowance import fields_within
from neuralib.persistence._trust.plain_values import Settled, Unbuilt, is_one_of, only, wrong

if TYPE_CHECKING:
    from collections.abc import Callable

_PLAIN_DTYPE = re.compile(r"[<>=|]?([?bBhHiIlLqQefdgFDG]|[biufcSUVmM]\d{1,9}|[mM]8\[\d{0,9}[a-zA-Zμ]{1,7}\])")
_DATE_UNITS = {b"Y", b"M", b"W", b"D", b"h", b"m", b"s", b"ms", b"us", b"ns", b"ps", b"fs", b"as", b"generic"}
_LARGEST_ITEM = 1 << 26  # bytes
_MOST_ITEMS_OF_NOTHING = 1 << 20  # that take no bytes, but time and memory where they are compared
_MOST_AXES = 64
_FORTRAN, _C = "F", "C"


def _dtype(code: Any, *_: Any) -> Any:
    """Begin a dtype as numpy writes it: ``dtype('f8', False, True)``, whose state follows."""
    import numpy as np

    if is_one_of(code, "O", "O8", "|O"):
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
            raise wrong("a dtype")
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
        return found.newbyteorder(order) if is_one_of(order, "<", ">") else found

    @staticmethod
    def _repeated(sub: Any) -> Any:
        import numpy as np

        if type(sub) is not tuple or len(sub) != 2 or not isinstance(sub[0], np.dtype):
            raise wrong("a dtype")
        shape = sub[1] if type(sub[1]) is tuple else (sub[1],)
        if _count(shape) * sub[0].itemsize > _LARGEST_ITEM:
            raise wrong("a dtype")
        return np.dtype((sub[0], shape))

    @staticmethod
    def _structured(names: Any, fields: Any, size: Any, *, aligned: bool) -> Any:
        import numpy as np

        only((tuple,), (names,), "a dtype")
        only((str,), names, "a dtype")
        if type(fields) is not dict or type(size) is not int or set(fields) != set(names):
            raise UntrustedTypeError("", "a structured dtype with titles")
        parts = [fields[it] for it in names]
        for it in parts:
            if type(it) is not tuple or len(it) != 2 or not isinstance(it[0], np.dtype) or type(it[1]) is not int:
                raise UntrustedTypeError("", "a structured dtype with titles")
            if it[0].hasobject:
                raise UntrustedTypeError("", "a structured dtype with objects")
        for it in parts:
            fields_within(it[0])
        spec = {"names": list(names), "formats": [it[0] for it in parts], "offsets": [it[1] for it in parts]}
        return _checked_size(np.dtype({**spec, "itemsize": size}, align=aligned))  # type: ignore[call-overload]


def _date_unit(metadata: Any) -> str:
    try:
        unit, number = metadata[1][:2]
    except (TypeError, IndexError, ValueError):
        raise wrong("a dtype of dates") from None
    if not is_one_of(unit, *_DATE_UNITS) or type(number) is not int or not 0 < number < 1 << 31:
        raise wrong("a dtype of dates")
    return "" if unit == b"generic" else f"[{number}{unit.decode()}]"


def _settled(dtype: Any) -> Any:
    """Return the dtype that *dtype* is: one of native numbers may come without state."""
    import numpy as np

    if isinstance(dtype, _DType):
        return dtype.base
    if not isinstance(dtype, np.dtype):
        raise wrong("an array")
    return dtype


def _count(shape: Any) -> int:
    only((tuple,), (shape,), "an array")
    only((int,), shape, "an array")
    if len(shape) > _MOST_AXES or any(not 0 <= it < 1 << 63 for it in shape):
        raise wrong("an array")
    return math.prod(shape)


def _memory(data: Any) -> memoryview:
    """Return the memory of *data*: bytes of the file, and not that of another array, which may hold objects."""
    if type(data) not in {bytes, bytearray, memoryview}:
        raise wrong("an array")
    return memoryview(data)


def _checked(array: Any) -> Any:
    """Return *array*, if its items are some."""
    if array.dtype.itemsize == 0 and array.size > _MOST_ITEMS_OF_NOTHING:
        raise ValueError(f"it has an array of {array.size} items of no bytes")
    if array.dtype.kind == "U" and array.size and array.dtype.itemsize:
        import numpy as np

        native = np.ndarray((array.nbytes // 4,), f"{array.dtype.byteorder.replace('|', '=')}u4", array.data.cast("B"))
        if native.max() > sys.maxunicode:
            raise ValueError("it has an array of text with characters that there are not")
    return array


def _array(shape: Any, code: Any, data: Any, offset: int = 0, strides: None = None, order: Any = _C) -> Any:
    """Return an array as this package writes it: ``numpy.ndarray(shape, dtype string, buffer)``."""
    import numpy as np

    _count(shape)
    only((int,), (offset,), "an array")
    if strides is not None or not is_one_of(order, _C, _FORTRAN):
        raise wrong("an array")
    return _checked(np.ndarray(shape, _plain_dtype(code), _memory(data), offset, None, order))


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> Any:
    """Return an array as numpy writes it in protocol 5."""
    import numpy as np

    dtype = _settled(dtype)
    if dtype.hasobject or not is_one_of(order, _C, _FORTRAN, "K"):
        raise wrong("an array")
    memory = _memory(data)
    if _count(shape) * dtype.itemsize != memory.nbytes:
        raise wrong("an array")
    flat = _checked(np.ndarray((_count(shape),), dtype, memory))
    kept: Any = _C if order == "K" else order
    if order == "K" and axes is not None:
        only((int,), axes, "an array")
        return flat.reshape(shape).transpose(axes)
    return flat.reshape(shape, order=kept)


def _reconstruct(kind: Any, shape: Any, _code: Any) -> Any:
    """Begin an array as numpy writes it in earlier protocols: an empty one, whose state follows."""
    if not is_one_of(kind, "numpy.ndarray") or type(shape) is not tuple:
        raise UntrustedTypeError("", f"an array of the class {shown(kind)}")
    return _Array()


class _Array(Unbuilt):
    def built(self, state: Any) -> Any:
        import numpy as np

        if type(state) is not tuple or len(state) != 5:
            raise wrong("an array")
        _, shape, dtype, fortran, content = state
        dtype = _settled(dtype)
        count = _count(shape)
        order: Any = _FORTRAN if fortran else _C
        if dtype.kind == "O":
            if type(content) is not list or len(content) != count:
                raise wrong("an array")
            made = np.empty(count, object)
            for i, it in enumerate(content):
                made[i] = it
            made = made.reshape(shape)  # the list is in the order of rows, whatever the array's is
            return np.asfortranarray(made) if fortran else made
        if dtype.hasobject:
            raise UntrustedTypeError("", "a structured array with objects")
        if type(content) is str:  # of Python 2
            content = content.encode("latin-1")
        if type(content) not in {bytes, bytearray} or count * dtype.itemsize != len(content):
            raise wrong("an array")
        return _checked(np.ndarray(shape, dtype, bytearray(content), order=order))  # a bytearray: it can be written


def _scalar(dtype: Any, content: Any = b"") -> Any:
    import numpy as np

    dtype = _settled(dtype)
    if type(content) is str:
        content = content.encode("latin-1")
    if dtype.hasobject or type(content) is not bytes or len(content) != dtype.itemsize:
        raise wrong("a number of numpy's")
    return _checked(np.ndarray((1,), dtype, content))[0] if content else dtype.type()


TABLE: dict[str, Callable[..., Any]] = {
    "numpy.ndarray": _array,
    "numpy.dtype": _dtype,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _from_buffer,
}
"""By full name, what a pickle may call of numpy's."""
