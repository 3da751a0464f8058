"""What a pickle of unknown origin may make of numpy: dtypes, arrays and numbers, of bytes that are there."""

from __future__ import annotations

import math
import re
import sys
from typing import TYPE_CHECKING, Any

from neuralib.persistence._errors import UntrustedTypeError
from neuralib.persistence._trust.allowance import fields_within
from neuralib.persistence._trust.plain_values import (
    Buffer,
    Complete,
    Pending,
    class_of,
    is_one_of,
    label_of,
    need,
    only,
    tuple_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from neuralib.persistence._trust.allowance import Allowance

_PLAIN_DTYPE = re.compile(r"[<>=|]?([?bBhHiIlLqQefdgFDG]|[biufcSUVmM]\d{1,9}|[mM]8\[\d{0,9}[a-zA-Zμ]{1,7}\])")
_DATE_UNITS = {b"Y", b"M", b"W", b"D", b"h", b"m", b"s", b"ms", b"us", b"ns", b"ps", b"fs", b"as", b"generic"}
_LARGEST_ITEM = 1 << 26  # bytes
_MOST_ITEMS_OF_NOTHING = 1 << 20  # that take no bytes, but time and memory where they are compared
_MOST_AXES = 64
_FORTRAN, _C = "F", "C"

_KINDS_OF_ARRAYS = {
    "numpy.ndarray": "ndarray",
    "numpy.memmap": "ndarray",  # it was one where it was written; here its values are in memory
    "numpy.rec.recarray": "recarray",
    "numpy.recarray": "recarray",
    "numpy.matrix": "matrix",
}
_MASKED = ("numpy.ma.MaskedArray", "numpy.ma.core.MaskedArray")
CLASSES = (*(name for name in _KINDS_OF_ARRAYS if name != "numpy.ndarray"), *_MASKED, "numpy.record")
"""By full name, the classes that may be an argument, and nothing else."""

# ------------------------------------------------------------------------------------------ dtypes


def _dtype(_: Allowance, code: Any, *more: Any) -> Any:
    """Begin a dtype as numpy writes it: ``dtype('f8', False, True)``, whose state follows; or return one of aligned records."""
    import numpy as np

    if type(code) is dict:
        return _aligned(code, *more)
    if is_one_of(code, "O", "O8", "|O"):
        return _DType(np.dtype(object))
    if class_of(code, {"numpy.record"}):
        return _DType(np.dtype("V"), of_records=True)
    return _DType(plain_dtype(code))


def _aligned(spec: dict[Any, Any], *align: Any) -> Any:
    """Return the dtype of aligned records that this package writes: ``dtype({"names": …}, True)``."""
    need(spec.keys() == {"names", "formats", "offsets", "itemsize"} and align == (True,), "a dtype")
    names, formats, offsets = spec["names"], spec["formats"], spec["offsets"]
    only((list,), (names, formats, offsets), "a dtype")
    only((str,), names, "a dtype")
    need(len(names) == len(formats) == len(offsets) == len(set(names)), "a dtype")
    fields = dict(zip(names, zip(map(settled, formats), offsets, strict=True), strict=True))
    return _structured(tuple(names), fields, spec["itemsize"], aligned=True)


def plain_dtype(code: Any) -> Any:
    """Return the dtype of numbers, texts or dates that numpy writes as the text *code*."""
    import numpy as np

    if type(code) is not str or not _PLAIN_DTYPE.fullmatch(code):
        raise UntrustedTypeError("", f"the dtype {label_of(code)}")
    return _checked_size(np.dtype(code))


def _checked_size(dtype: Any) -> Any:
    if dtype.itemsize > _LARGEST_ITEM:
        raise ValueError(f"it has an array of items of {dtype.itemsize} bytes")
    return dtype


class _DType(Complete):
    """A dtype whose byte order, fields or units follow."""

    __slots__ = ("base", "of_records")
    type_name = "numpy.dtype"

    def __init__(self, base: Any, *, of_records: bool = False) -> None:
        self.base, self.of_records = base, of_records

    def built(self, account: Allowance, state: Any) -> Any:
        import numpy as np

        state = tuple_of(state, (8, 9), "a dtype")
        _version, order, sub, names, fields, size = state[:6]
        if self.base.hasobject:
            return self.base
        if sub is not None:
            return self._repeated(sub)
        if names is not None:
            found = _structured(names, fields, size, aligned=bool(state[7] & 0x80))
            return np.dtype((np.record, found)) if self.of_records else found
        found = self.base
        if found.kind in "mM" and len(state) == 9:
            found = np.dtype(f"{found.kind}8{_date_unit(state[8])}")
        elif found.kind in "SUV" and type(size) is int and 0 <= size <= _LARGEST_ITEM:
            found = np.dtype(f"{found.kind}{size // (4 if found.kind == 'U' else 1)}")
        return found.newbyteorder(order) if is_one_of(order, "<", ">") else found

    @staticmethod
    def _repeated(sub: Any) -> Any:
        import numpy as np

        base, shape = tuple_of(sub, (2,), "a dtype")
        shape = shape if type(shape) is tuple else (shape,)
        need(isinstance(base, np.dtype) and count_of(shape) * base.itemsize <= _LARGEST_ITEM, "a dtype")
        return np.dtype((base, shape))


def _structured(names: Any, fields: Any, size: Any, *, aligned: bool) -> Any:
    """Return the dtype of records with *fields*, by name the dtype and the offset of each.

    :raises UntrustedTypeError: a field has titles or objects
    """
    import numpy as np

    only((tuple,), (names,), "a dtype")
    only((str,), names, "a dtype")
    if type(fields) is not dict or type(size) is not int or len(fields) != len(names):
        raise UntrustedTypeError("", "a structured dtype with titles")
    parts: list[Any] = [fields.get(name) for name in names]
    for part in parts:
        if type(part) is not tuple or len(part) != 2 or type(part[1]) is not int:
            raise UntrustedTypeError("", "a structured dtype with titles")
        if not isinstance(part[0], np.dtype) or part[0].hasobject:
            raise UntrustedTypeError("", "a structured dtype with objects")
        fields_within(part[0])
    spec = {"names": list(names), "formats": [part[0] for part in parts], "offsets": [part[1] for part in parts]}
    found = np.dtype({**spec, "itemsize": size}, align=aligned)  # type: ignore[call-overload]
    fields_within(found)
    return _checked_size(found)


def _date_unit(metadata: Any) -> str:
    unit, number = metadata[1][:2]
    fits = is_one_of(unit, *_DATE_UNITS) and type(number) is int and 0 < number < 1 << 31
    need(fits, "a dtype of dates")
    return "" if unit == b"generic" else f"[{number}{unit.decode()}]"


def _text_dtype(_: Allowance, coerce: Any = True, *na_object: Any) -> Any:
    """Return numpy's dtype of texts of any length."""
    import numpy as np

    kind = getattr(np.dtypes, "StringDType", None)
    if kind is None:
        raise UntrustedTypeError("", "an array of texts of a later version of numpy")
    only((int, bool), (coerce,), "a dtype of texts")
    only((type(None), float, str), na_object, "a dtype of texts")
    return kind(coerce=bool(coerce), **dict(zip(("na_object",), na_object, strict=False)))


def settled(dtype: Any) -> Any:
    """Return the dtype that *dtype* is: one of native numbers may come without state."""
    import numpy as np

    if isinstance(dtype, _DType):
        return dtype.base
    need(isinstance(dtype, np.dtype), "an array")
    return dtype


# ------------------------------------------------------------------------------------------ arrays


def count_of(shape: Any) -> int:
    """Return how many items an array of *shape* has."""
    only((tuple,), (shape,), "an array")
    only((int,), shape, "an array")
    need(len(shape) <= _MOST_AXES and all(0 <= length < 1 << 63 for length in shape), "an array")
    return math.prod(shape)


def check_size(shape: Any, item_size: int, size: int) -> None:
    """Raise an error where an array of *shape* is not what *size* bytes are."""
    count = count_of(shape)
    need(count * item_size == size, "an array")
    if item_size == 0 and count > _MOST_ITEMS_OF_NOTHING:
        raise ValueError(f"it has an array of {count} items of 0 bytes")


def _of_memory(account: Allowance, shape: Any, dtype: Any, data: Any, order: Any = _C) -> Any:
    """Return the array whose memory is *data*: bytes of the file, and not that of another array, which may hold objects."""
    import numpy as np

    if isinstance(data, Buffer):
        data = data.memory
    only((bytes, bytearray, memoryview), (data,), "an array")
    need(not dtype.hasobject and is_one_of(order, _C, _FORTRAN), "an array")
    memory = memoryview(data)
    check_size(shape, dtype.itemsize, memory.nbytes)
    array = np.ndarray(shape, dtype, memory, 0, None, order)
    if dtype.kind == "U" and memory.nbytes:
        account.spend(memory.nbytes >> 5)
        native = np.ndarray((memory.nbytes // 4,), f"{dtype.byteorder.replace('|', '=')}u4", memory)
        if native.max() > sys.maxunicode:
            raise ValueError("it has an array of text with characters that do not exist")
    return array


def _array(
    account: Allowance, shape: Any, code: Any, data: Any, offset: Any = 0, strides: Any = None, order: Any = _C
) -> Any:
    """Return an array as this package writes it: ``numpy.ndarray(shape, dtype string, buffer)``."""
    need(type(offset) is int and not offset and strides is None, "an array")
    dtype = plain_dtype(code) if type(code) is str else settled(code)  # of records
    return _of_memory(account, shape, dtype, data, order)


def _from_buffer(account: Allowance, data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> Any:
    """Return an array as numpy writes it in protocol 5."""
    if not is_one_of(order, "K"):
        return _of_memory(account, shape, settled(dtype), data, order)
    made = _of_memory(account, shape, settled(dtype), data)
    if axes is None:
        return made
    only((tuple, list), (axes,), "an array")
    only((int,), axes, "an array")
    return made.transpose(axes)


def _reconstruct(_: Allowance, kind: Any, shape: Any, _code: Any) -> Any:
    """Begin an array as numpy writes it in earlier protocols: an empty one, whose state follows."""
    name = class_of(kind, _KINDS_OF_ARRAYS)
    if name is None or type(shape) is not tuple:
        raise UntrustedTypeError("", f"an array of the class {label_of(kind)}")
    return _Array(_KINDS_OF_ARRAYS[name])


def state_of_array(state: Any, most: int = 5) -> tuple[Any, Any, str, Any]:
    """Return shape, dtype, order and content of the array whose state is *state*."""
    _, shape, dtype, fortran, content = tuple_of(state, (most,), "an array")[:5]
    if type(content) is str:  # of Python 2
        content = content.encode("latin-1")
    return shape, settled(dtype), _FORTRAN if fortran else _C, content


class _Array(Pending):
    __slots__ = ("kind",)
    type_name = "numpy.ndarray"

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def built(self, account: Allowance, state: Any) -> Any:
        import numpy as np

        shape, dtype, order, content = state_of_array(state)
        if dtype.kind in "OT":
            return _of_list(account, shape, dtype, content, order)
        only((bytes, bytearray), (content,), "an array")
        made = _of_memory(account, shape, dtype, bytearray(content), order)  # a bytearray: it can be written
        return made if self.kind == "ndarray" else made.view(getattr(np, self.kind))


def _of_list(account: Allowance, shape: Any, dtype: Any, content: Any, order: str) -> Any:
    import numpy as np

    count = count_of(shape)
    need(type(content) is list and len(content) == count, "an array")
    if dtype.kind == "T":
        missing = getattr(dtype, "na_object", None)
        only((str, type(missing)), content, "an array of texts")
        account.spend(sum(4 * len(text) for text in content if type(text) is str))  # bytes of UTF-8
    made = np.empty(count, dtype)
    for place, item in enumerate(content):
        made[place] = item
    made = made.reshape(shape)  # the list is in the order of rows, whatever the array's is
    return np.asfortranarray(made) if order == _FORTRAN else made


def _scalar(account: Allowance, dtype: Any, content: Any = b"") -> Any:
    dtype = settled(dtype)
    if type(content) is str:
        content = content.encode("latin-1")
    only((bytes,), (content,), "a number of numpy's")
    return _of_memory(account, (1,), dtype, content)[0] if content or dtype.hasobject else dtype.type()


def _masked(_: Allowance, kind: Any, base: Any, *__: Any) -> Any:
    """Begin a masked array, whose state follows."""
    if not class_of(kind, _MASKED) or not class_of(base, {"numpy.ndarray"}):
        raise UntrustedTypeError("", f"a masked array of the class {label_of(kind)}")
    return _MaskedArray()


class _MaskedArray(Pending):
    __slots__ = ()
    type_name = "numpy.ma.MaskedArray"

    def built(self, account: Allowance, state: Any) -> Any:
        import numpy as np

        shape, dtype, order, content = state_of_array(state, 7)
        mask, fill = state[5:]
        if dtype.hasobject:
            raise UntrustedTypeError("", "a masked array of objects")
        only((bytes,), (content, mask), "a masked array")
        fits = fill is None or (type(fill) is np.ndarray and not fill.shape and not fill.dtype.hasobject)
        need(fits, "a masked array")
        data = _of_memory(account, shape, dtype, bytearray(content), order)
        hidden = _of_memory(account, shape, np.ma.make_mask_descr(dtype), bytearray(mask), order)
        made: Any = np.ma.MaskedArray(data, hidden)
        if fill is not None:
            made.fill_value = fill  # as numpy itself keeps it
        return made


def _masked_constant(_: Allowance) -> Any:
    import numpy as np

    return np.ma.masked


TABLE: dict[str, Callable[..., Any]] = {
    "numpy.ndarray": _array,
    "numpy.dtype": _dtype,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _from_buffer,
    "numpy._core._internal._convert_to_stringdtype_kwargs": _text_dtype,
    "numpy.ma.core._mareconstruct": _masked,
    "numpy.ma.core.MaskedConstant": _masked_constant,
}
"""By full name, what a pickle may call for arrays."""
