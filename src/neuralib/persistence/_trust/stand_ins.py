"""What stands for the values of a file that are not read: arrays, and objects of classes that are not imported."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from neuralib.persistence._showing.previews import StandIn, type_text
from neuralib.persistence._trust import plain_arrays, plain_data, plain_generators
from neuralib.persistence._trust.allowance import Allowance
from neuralib.persistence._trust.plain_values import Pending, need, tuple_of

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGEST_PREVIEW = 4096  # bytes of an array that are kept, to show its values
_NUMBER_CODE = re.compile(r"([<>|=])([biufc])(\d{1,2})")
_NUMBER_KINDS = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}
_NATIVE = "<" if sys.byteorder == "little" else ">"


class ArrayHead(StandIn):
    """What is known of an array in a file without reading it."""

    __slots__ = ("_code", "data", "dtype", "order", "shape", "size_bytes")
    _compared_parts = ("shape", "dtype", "_values")

    def __init__(
        self, shape: tuple[int, ...], dtype: str, size_bytes: int, order: str, data: bytes | None, code: str
    ) -> None:
        self._code = code  # the dtype as it stands in files: ``<f8``
        self.shape = shape
        self.dtype = dtype
        """As numpy prints it: ``float64``, ``>i4``, ``<U3``, ``[('a', '<i4'), ('b', '<f8')]``, ``object``."""
        self.size_bytes = size_bytes
        """In memory."""
        self.order = order
        """``'C'`` or ``'F'``: which index varies slowest in the file."""
        self.data = data
        """Its memory, where that is small and the dtype is one of numbers, texts or dates; else None."""

    def __repr__(self) -> str:
        return f"<array {'x'.join(map(str, self.shape[:9])) or 'scalar'} {type_text(self)}>"

    def to_array(self) -> Any:
        """Return the array itself, or None where its values were not read."""
        if self.data is None:
            return None
        make = plain_data.TABLE["numpy.ndarray"]
        return make(Allowance(0), self.shape, self._code, bytearray(self.data), 0, None, self.order)

    @property
    def _values(self) -> Any:
        """The array, or this itself, which is equal to no other one, where the values were not read."""
        found = self.to_array()
        return self if found is None else found


class ObjectHead(StandIn):
    """What a file says of an object that is no plain data: nothing of it was imported, and nothing run."""

    __slots__ = ("arguments", "content", "size_bytes", "state", "type_name")
    _compared_parts = ("type_name", "arguments", "state", "content", "_size")

    def __init__(self, type_name: str, arguments: tuple[Any, ...] | None = None, size_bytes: int | None = None) -> None:
        self.type_name = type_name
        """The full name of its class, or of the function that would make it."""
        self.arguments = arguments
        """What that would be called with; None where the class or function itself is the value."""
        self.state: Any = None
        """What it would be given afterwards: usually a dict of its attributes."""
        self.content: list[Any] | dict[Any, Any] | None = None
        """The items of what is a list or dict by its class."""
        self.size_bytes = size_bytes
        """Of a text or bytes object that is too large to be a part of the head."""

    def __repr__(self) -> str:
        return f"<{self.type_name}>"

    @property
    def _size(self) -> Any:
        """None, or, where the content was left out, this itself, which is equal to no other one."""
        return None if self.size_bytes is None else self

    @property
    def fields(self) -> dict[str, Any]:
        """The attributes that it would have."""
        parts = self.state if isinstance(self.state, tuple) else (self.state,)
        return {
            name: value for part in parts if isinstance(part, dict) for name, value in part.items() if type(name) is str
        }


def _array(
    account: Allowance, shape: Any, code: Any, data: Any, _offset: Any = 0, _strides: Any = None, order: Any = "C"
) -> ArrayHead:
    """Describe an array as this package writes it."""
    if type(code) is not str:  # of records
        return _described(account, shape, code, data, order)
    found = _NUMBER_CODE.fullmatch(code)
    if found is None:
        return _described(account, shape, plain_arrays.plain_dtype(code), data, order)
    sign, kind, size = found[1], found[2], int(found[3])
    native = sign in {_NATIVE, "|"}
    name = f"{_NUMBER_KINDS[kind]}{8 * size if kind != 'b' else ''}" if native else code
    return _head(account, shape, name, code, size, data, order)


def _described(account: Allowance, shape: Any, dtype: Any, data: Any, order: Any, *, moved: bool = False) -> ArrayHead:
    """Describe an array whose dtype is numpy's, or one that could not be made.

    :param moved: whether its axes are in an order of their own, so that *data* is no memory to show
    """
    if isinstance(dtype, ObjectHead):
        return _head(account, shape, "a dtype with objects in it", "", 0, None, order)
    dtype = plain_arrays.settled(dtype)
    need(not dtype.hasobject or (type(data) is list and len(data) == plain_arrays.count_of(shape)), "an array")
    plain = dtype.names is None and dtype.subdtype is None and dtype.kind != "V" and not moved
    content = None if dtype.hasobject else data
    return _head(account, shape, str(dtype), dtype.str, dtype.itemsize, content, order, keep=plain)


def _head(
    account: Allowance, shape: Any, name: str, code: str, item_size: int, data: Any, order: Any, *, keep: bool = True
) -> ArrayHead:
    size = plain_arrays.count_of(shape) * item_size
    if isinstance(data, (bytes, bytearray)):
        plain_arrays.check_size(shape, item_size, len(data))
    elif isinstance(data, ObjectHead):
        need(size <= (data.size_bytes or _size_of_text(data)), "an array")
    else:
        need(data is None, "an array")
    kept = bytes(data) if keep and isinstance(data, (bytes, bytearray)) and size <= _LARGEST_PREVIEW else None
    account.spend(len(name) + (size if kept is not None else 0))
    return ArrayHead(shape, name, size, "F" if order == "F" else "C", kept, code)


def _size_of_text(encoded: ObjectHead) -> int:
    """Return how many bytes *encoded* is at most: a text that was stepped over, as protocols 0 to 2 have bytes."""
    text = encoded.arguments[0] if encoded.arguments else None
    return text.size_bytes or 0 if isinstance(text, ObjectHead) else 0


def _from_buffer(account: Allowance, data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> ArrayHead:
    """Describe an array as numpy writes it in protocol 5."""
    if order != "K" or axes is None:
        return _described(account, shape, dtype, data, order)
    plain_arrays.count_of(shape)  # neither C nor Fortran: *shape* is that of the memory, before its axes are moved
    plain_arrays.count_of(tuple(axes) if type(axes) is list else axes)
    need(len(axes) == len(shape), "an array")
    return _described(account, tuple(shape[axis] for axis in axes), dtype, data, "C", moved=True)


class _ArrayBegun(Pending):
    """An array as numpy writes it in earlier protocols, or a masked one, whose state follows."""

    __slots__ = ()
    type_name = "numpy.ndarray"

    def built(self, account: Allowance, state: Any) -> ArrayHead:
        state = tuple_of(state, range(5, 8), "an array")
        if isinstance(state[2], ObjectHead):
            return _described(account, state[1], state[2], None, "C")
        shape, dtype, order, content = plain_arrays.state_of_array(state, len(state))
        return _described(account, shape, dtype, content, order)


TABLE: dict[str, Callable[..., Any]] = {
    **plain_data.TABLE,
    **dict.fromkeys(plain_generators.GENERATORS, lambda *_: ObjectHead("numpy.random.Generator", ())),
    "numpy.ndarray": _array,
    "numpy._core.multiarray._reconstruct": lambda *_: _ArrayBegun(),
    "numpy._core.numeric._frombuffer": _from_buffer,
    "numpy.ma.core._mareconstruct": lambda *_: _ArrayBegun(),
}
"""By full name, what may be called where heads are read; arrays are only described."""
