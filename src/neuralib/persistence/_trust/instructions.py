"""The instructions of a pickle one by one, without its large values: they are stepped over, and only their size is told.

For looking into files of any origin and size: what is read into memory at a time is bounded by this module, never by a
number in the file.
"""
# pyright: reportReturnType=false
# (a method of a protocol has a docstring for a body)

from __future__ import annotations

import functools
import io
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Protocol

    class Tape(Protocol):
        """What a pickle is read from."""

        def read(self, size: int, /) -> bytes:
            """Return the next *size* bytes, or what is left."""

        def readline(self) -> bytes:
            """Return the bytes up to the next newline, or to the limit of a line."""

        def seek(self, offset: int, whence: int, /) -> int:
            """Step over *offset* bytes."""


LONGEST_KEPT = (1 << 16) - 1
"""Bytes: a larger text, array or bytes object is stepped over."""
_LONGEST_READ = 1 << 20  # bytes of one argument: of a line, or of a large integer
_PIECE = 1 << 16
_GZIP_WBITS = 31

# Instructions of values that may be large: the format of their length, and the type of the value.
_LARGE = {
    "BINSTRING": ("<i", "str"),
    "BINUNICODE": ("<I", "str"),
    "BINUNICODE8": ("<Q", "str"),
    "BINBYTES": ("<I", "bytes"),
    "BINBYTES8": ("<Q", "bytes"),
    "BYTEARRAY8": ("<Q", "bytearray"),
    "LONG4": ("<i", "int"),
}
_LINES = {"UNICODE", "STRING"}


class Left(NamedTuple):
    """A value that was stepped over."""

    kind: str
    size_bytes: int
    over: bool = False
    """Whether the tape is at its end already."""


class File(io.BufferedReader):
    """An open file, of which no more than a bounded part is read at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next *size* bytes."""
        return super().read(_bounded(size))

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the next line, or the start of a long one."""
        return super().readline(_LONGEST_READ)


class Inflated:
    """The content of a gzip file, decompressed as it is read.

    :param parts: the file's bytes
    """

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self._reader: Any = None
        self._compressed = b""
        self._ahead = b""

    def read(self, size: int, /) -> bytes:
        """Return the next *size* bytes, or what is left."""
        self._look_ahead(_bounded(size))
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    def readline(self) -> bytes:
        """Return the bytes up to the next newline, or to the limit of a line."""
        size = _PIECE
        while b"\n" not in self._ahead and len(self._ahead) >= size // 2 and size <= _LONGEST_READ:
            self._look_ahead(size)
            size *= 2
        return self.read(self._ahead.find(b"\n") + 1 or min(len(self._ahead), _LONGEST_READ))

    def seek(self, offset: int, _whence: int, /) -> int:
        """Step over *offset* bytes."""
        while offset:
            self._look_ahead(1)
            step = min(len(self._ahead), offset)
            if not step:
                raise EOFError("a value goes beyond the end")
            self._ahead = self._ahead[step:]
            offset -= step
        return 0

    def _look_ahead(self, size: int) -> None:
        while len(self._ahead) < size and (more := self._more()):
            self._ahead += more

    def _more(self) -> bytes:
        from zlib_ng import zlib_ng

        while True:
            if not self._compressed:
                self._compressed = next(self._parts, b"")
            if self._reader is None:
                if not self._compressed:
                    return b""
                self._reader = zlib_ng.decompressobj(_GZIP_WBITS)
            try:
                found: bytes = self._reader.decompress(self._compressed, _PIECE)
            except zlib_ng.error as error:  # type: ignore[misc]  # its stub calls the class an instance
                raise ValueError(str(error)) from error
            ended = not self._compressed
            self._compressed = self._reader.unconsumed_tail
            if self._reader.eof:
                self._compressed, self._reader = self._reader.unused_data, None
            if found:
                return found
            if ended and self._reader is not None:
                raise EOFError("the compressed data ends too early")


def instructions(tape: Tape) -> Iterator[tuple[str, Any]]:
    """Yield the name and the argument of each instruction, up to STOP; large values are :class:`Left`.

    :raises ValueError: it is no pickle
    :raises EOFError: it ends too early
    """
    read = tape.read
    table = _table()
    name = ""
    while name != "STOP":
        code = read(1)
        try:
            name, reader = table[code]
        except KeyError:
            if not code:
                raise EOFError("it ends too early") from None
            raise ValueError(f"{code!r} is no instruction of a pickle") from None
        if reader is None:
            yield name, None
            continue
        arg = reader(tape)
        yield name, arg
        if type(arg) is Left and not arg.over:  # stepped over only if somebody asks for what follows
            tape.seek(arg.size_bytes, io.SEEK_CUR)


@functools.cache
def _table() -> dict[bytes, tuple[str, Callable[[Any], Any] | None]]:
    """Return the name of each instruction, and what reads its argument."""
    import pickletools

    known = {code.encode("latin-1"): it for code, it in pickletools.code2op.items()}  # type: ignore[attr-defined]
    readers: dict[str, Any] = {it.name: it.arg.reader if it.arg else None for it in known.values()}
    readers |= {name: functools.partial(_large, name) for name in _LARGE}
    readers |= {name: functools.partial(_line, reader) for name, reader in readers.items() if name in _LINES}
    return {code: (it.name, readers[it.name]) for code, it in known.items()}


def _large(name: str, tape: Tape) -> Any:
    form, kind = _LARGE[name]
    (size,) = struct.unpack(form, tape.read(struct.calcsize(form)))
    if size < 0:
        raise ValueError(f"its instruction {name} has a negative length")
    if size > LONGEST_KEPT:
        return Left(kind, size)
    data = tape.read(size)
    if len(data) < size:
        raise EOFError("it ends too early")
    if kind == "str":
        return data.decode("latin-1") if name == "BINSTRING" else data.decode("utf-8", "surrogatepass")
    return (
        int.from_bytes(data, "little", signed=True)
        if kind == "int"
        else bytearray(data)
        if kind == "bytearray"
        else data
    )


def _line(reader: Callable[[Any], Any], tape: Tape) -> Any:
    """Return the text that stands in a line of its own, as the oldest protocols have it."""
    line = tape.readline()
    if len(line) <= LONGEST_KEPT:
        return reader(io.BytesIO(line))
    size = len(line)
    while line and not line.endswith(b"\n"):
        line = tape.readline()
        size += len(line)
    return Left("str", size, over=True)


def _bounded(size: int | None) -> int:
    if size is None or not 0 <= size <= _LONGEST_READ:
        raise ValueError(f"a value of {size} bytes in it is too large to be looked at")
    return size
