"""Reading pickles of unknown origin: a closed list of types, and no code of the file's choosing.

A pickle is a program. :mod:`instructions` decodes it; :mod:`machine` runs it on a stack of its own: what calls something
is looked up in the table of :mod:`plain_data`, whose functions check their arguments and can only make data. Nothing is
imported by name, no attribute is looked up, and memory is taken for bytes that are there, never for a number that says
how many there would be. :mod:`allowance` counts what all of it costs. There is no way back to :mod:`pickle` for what is
not known here.
"""

from __future__ import annotations

import enum
import io
import types
import typing
from typing import TYPE_CHECKING, Any

from neuralib.persistence._bytes.sources import BytesSource
from neuralib.persistence._classes.schema import INFO
from neuralib.persistence._trust.allowance import Allowance
from neuralib.persistence._trust.instructions import Instructions
from neuralib.persistence._trust.machine import Machine
from neuralib.persistence._trust.plain_data import TABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from neuralib.persistence._classes.schema import PersistentClass

_ALWAYS_ADMITTED = (types.SimpleNamespace,)
_FEW = 1 << 16  # bytes: a copy of them costs less than reading them piece by piece


class Reader:
    """Reads pickles that hold plain data, numpy arrays, and instances of *admitted* classes.

    These are made by ``__new__`` without arguments, and get their state: an Enum by its value, a named tuple by its items.
    What numpy makes is only made by the table: its classes, and those derived from them, are not admitted.

    :param admitted: the classes
    """

    def __init__(self, admitted: Iterable[type]) -> None:
        self.admitted = {
            f"{kind.__module__}.{kind.__qualname__}": kind
            for kind in (*_ALWAYS_ADMITTED, *admitted)
            if not _is_of_numpy(kind)
        }

    def __call__(self, data: Any, buffers: Iterable[Any], compressed_bytes: int = 0) -> Any:
        """Return what the pickle *data* holds: bytes, or a file that is open.

        :param compressed_bytes: the size of the file, where *data* is what it was decompressed to
        :raises UntrustedTypeError: it needs something beyond the closed list
        :raises ValueError: it is damaged, or takes more memory or time than a file of its size should
        :raises EOFError: it ends too early
        """
        start, source = 0, data
        if isinstance(data, io.BufferedReader):
            start = data.tell()
            size = data.seek(0, io.SEEK_END)  # what a store opened need not be a file
            data.seek(start)
        else:
            size = len(data)
            view: Any = memoryview(data)
            source = bytes(data) if type(data) is bytes or size <= _FEW else BytesSource(view).file()
        account = Allowance(compressed_bytes, size) if compressed_bytes else Allowance(size)
        machine, steps = Machine(TABLE, self.admitted, buffers, account), Instructions(source)
        machine.run(steps)
        if isinstance(data, io.BufferedReader):  # a file: the caller reads on after the pickle
            data.seek(start + steps.size_bytes)
        return machine.result()


def classes_in(info: PersistentClass[Any]) -> list[type]:
    """Return the classes that a result may hold by the annotations of its fields, and its own."""
    return [info.persistence_cls, *(kind for field in info.fields for kind in classes_of(field.field_type))]


def classes_of(annotation: Any) -> Iterator[type]:
    """Yield the classes that *annotation* admits, also within ``list[...]``, ``X | None`` and the like.

    Those are persistence classes, dataclasses, classes of attrs, named tuples and enumerations.
    """
    for part in typing.get_args(annotation):
        yield from classes_of(part)
    kind = typing.get_origin(annotation) or annotation
    if isinstance(kind, type) and not _is_of_numpy(kind) and _holds_data(kind):
        yield kind


def _holds_data(kind: type) -> bool:
    if issubclass(kind, enum.Enum) or (issubclass(kind, tuple) and hasattr(kind, "_fields")):
        return True
    return any(hasattr(kind, mark) for mark in (INFO, "__dataclass_fields__", "__attrs_attrs__"))


def _is_of_numpy(kind: type) -> bool:
    return any(base.__module__ == "numpy" for base in kind.__mro__)
