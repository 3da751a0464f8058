"""Reading pickles of unknown origin: a closed list of types, and no code of the file's choosing.

A pickle is a program. This runs its instructions on a stack of its own: what calls something is looked up in a table of
functions that check their arguments and can only make data. Nothing is imported by name, no attribute is looked up, and
memory is taken for bytes that are there, never for a number that says how many there would be. There is no way back to
:mod:`pickle` for what is not known here.

The instructions are decoded by :mod:`pickletools`, and are described there. What each means for the stack is that of the
standard library's reader.
"""

from __future__ import annotations

import io
import mmap
import os
import typing
from typing import TYPE_CHECKING, Any

from neuralib.persistence._trust.allowance import Allowance
from neuralib.persistence._trust.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FEW = 1 << 16  # bytes


class Reader:
    """Reads pickles that hold plain data, numpy arrays, and instances of *admitted* classes.

    :param admitted: classes that may be made anew, by calling them and by setting their attributes
    """

    def __init__(self, admitted: Iterable[type]) -> None:
        self.admitted = {f"{it.__module__}.{it.__qualname__}": it for it in admitted}

    def __call__(self, data: Any, buffers: Iterable[Any], compressed_bytes: int = 0) -> Any:
        """Return what the pickle *data* holds: bytes, or a file that is open.

        :param compressed_bytes: the size of the file, where *data* is what it was decompressed to
        :raises UntrustedTypeError: it needs something beyond the closed list
        :raises ValueError: it is damaged, or takes more memory than a file of its size should
        """
        return self._machine(data, buffers, compressed_bytes).run(_as_file(data))

    def _machine(self, data: Any, buffers: Iterable[Any], compressed_bytes: int) -> Machine:
        size = os.fstat(data.fileno()).st_size if isinstance(data, io.BufferedReader) else len(memoryview(data))
        left = Allowance(compressed_bytes, size) if compressed_bytes else Allowance(size)
        return Machine(self.admitted, iter(buffers), left)


def _as_file(data: Any) -> Any:
    """Return what can be read piece by piece, and takes no memory beside that of *data*."""
    if isinstance(data, io.BufferedReader):
        return _Bounded(data)
    if isinstance(data, memoryview) and isinstance(data.obj, mmap.mmap) and data.nbytes == len(data.obj):
        data.obj.seek(0)
        return data.obj
    file = io.BytesIO(data)
    if isinstance(data, bytearray):
        data.clear()  # made for this reader alone, and now in the file
    return file


class _Bounded:
    """A file of which no more is read than is there: :meth:`read` of the file itself takes the memory first."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._read = file.read
        self._size = os.fstat(file.fileno()).st_size
        self.readline, self.tell = file.readline, file.tell

    def read(self, count: int) -> bytes:
        return self._read(count if count < _FEW else min(count, max(self._size - self.tell(), 0)))


def classes_of(annotation: Any) -> Iterator[type]:
    """Yield the classes that *annotation* names, also within ``list[...]``, ``X | None`` and the like."""
    for part in typing.get_args(annotation):
        yield from classes_of(part)
    kind = typing.get_origin(annotation) or annotation
    if isinstance(kind, type) and kind.__module__ not in {"builtins", "typing", "types", "collections.abc"}:
        yield kind
