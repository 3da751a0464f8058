"""The decoder: the instructions of a pickle one by one, with their arguments.

It takes them as they stand, straight through, and refuses what other readers could take for another program: a value
that crosses the end of its frame, and frames that overlap. It takes no more memory than there are bytes.
"""

from __future__ import annotations

import codecs
import io
import struct
from typing import TYPE_CHECKING, Any, BinaryIO

from neuralib.persistence._trust.stand_ins import ObjectHead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


LONGEST_KEPT = (1 << 16) - 1
"""Bytes: for a head, a larger text, array or bytes object is stepped over."""
STOP = ord(".")
_WINDOW = 1 << 14  # bytes that are read at a time
_LONGEST_NUMBER = 20_000  # characters of a number that is written as text
_LONGEST_FLOAT = 100
_LONGEST_LINE = 1 << 16  # characters of a name, or of a number with zeros before it
_LONGEST_TEXT_LINE = 1 << 28  # of a text, which is an array too in the oldest protocols
_NO_LIMIT = 1 << 70


class Instructions:
    """The opcode and the argument of each instruction of a pickle, up to STOP.

    :param source: its bytes, or a file that is open at its start. That may be read beyond the pickle's end
    :param longest: bytes: what is larger is stepped over, and :class:`ObjectHead` in its place. With more than
        :data:`LONGEST_KEPT`, a file must be one that can be read in any order
    :raises ValueError: while iterating: it is no pickle, or one that has two meanings
    :raises EOFError: while iterating: it ends too early
    """

    def __init__(self, source: bytes | BinaryIO, longest: int = _NO_LIMIT) -> None:
        # The window: bytes of the pickle, of which those up to _end are within the frame.
        self._data = source if isinstance(source, bytes) else b""
        self._file = io.BytesIO() if isinstance(source, bytes) else source  # of what follows the window
        self._at, self._end = 0, len(self._data)
        self._start = 0  # of the window, in the pickle
        self._frame_end = _NO_LIMIT
        self._longest = longest
        self.size_bytes = 0
        """How long the pickle is, known after its last instruction."""

    def __iter__(self) -> Iterator[tuple[int, Any]]:  # noqa: C901 - one loop, for its speed
        data, at, end = self._data, 0, self._end
        longest = self._longest
        while True:
            if at >= end:
                if self._start + at == self._frame_end:
                    self._frame_end = _NO_LIMIT
                at = self._more(at, 1)
                data, end = self._data, self._end
            code = data[at]
            at += 1
            form = _FORMS[code]
            if form is None:
                yield code, None
                continue
            how, size, unpack, convert = form
            if at + size > end:
                at = self._more(at, size)
                data, end = self._data, self._end
            number = unpack(data, at)[0] if unpack is not None else data[at] if size else 0
            if how == _PLAIN:
                at += size
                yield code, number
            elif how == _COUNTED:
                at += size
                if 0 <= number <= longest and at + number <= end:
                    yield code, convert(data[at : at + number])
                    at += number
                    continue
                del data  # so that only the caller refers to its memory
                yield code, self._large(code, at, number, convert)
                # A value is stepped over only if somebody asks for what follows.
                at = self._at if number <= longest else self._skip(at + number)
                data, end = self._data, self._end
            elif how == _LINES:
                value, at = self._lines(code, at, convert)
                data, end = self._data, self._end
                yield code, value
            elif how == _FRAME:
                at += size
                self._begin_frame(at, number)
                end = self._end
            else:
                self._finish(code, at)
                yield code, None
                return

    def _more(self, at: int, need: int) -> int:
        """Have *need* bytes from the place *at* on in the window, and return what that place is now."""
        self._refuse_crossing(at + need)
        if at + need > len(self._data):
            parts = [self._data[at:]]
            have = len(parts[0])
            while have < need:
                parts.append(self._file.read(max(_WINDOW, have)))
                if not parts[-1]:
                    raise EOFError("it ends too early")
                have += len(parts[-1])
            self._data = b"".join(parts)
            self._start += at
            at = 0
        self._end = min(len(self._data), self._frame_end - self._start)
        return at

    def _refuse_crossing(self, at: int) -> None:
        if self._start + at > self._frame_end:
            raise ValueError("a value in it crosses the end of its frame")

    def _skip(self, at: int) -> int:
        """Go to the place *at*, and return what that is in the window."""
        if at > len(self._data):
            self._file.seek(at - len(self._data), io.SEEK_CUR)
            self._start += at
            self._data = b""
            at = 0
        self._end = min(len(self._data), self._frame_end - self._start)
        return at

    def _large(self, code: int, at: int, size: int, convert: Any) -> Any:
        """Return the value of *size* bytes at the place *at* that goes beyond the window, or :class:`ObjectHead` where it is too long."""
        if size < 0:
            raise ValueError(f"its instruction {code:#x} has a negative length")
        self._refuse_crossing(at + size)
        if size > self._longest:
            return ObjectHead(f"builtins.{_KINDS[convert]}", (), size)
        if size <= LONGEST_KEPT:
            at = self._more(at, size)
            self._at = at + size
            return convert(self._data[at : self._at])
        file = self._file
        begin = file.tell() - (len(self._data) - at)
        if begin + size > file.seek(0, io.SEEK_END):  # a length is not believed before the bytes are there
            raise EOFError("it ends too early")
        file.seek(begin)
        raw: Any = file.read(size)
        if len(raw) != size:  # the file was cut meanwhile
            raise EOFError("it ends too early")
        self._start += at + size
        self._data, self._at, self._end = b"", 0, 0
        return raw if convert is type(raw) else convert(raw)

    def _lines(self, code: int, at: int, convert: Callable[[Any], Any]) -> tuple[Any, int]:
        """Return the value of the line at the place *at*, or those of two, and the place after it."""
        value, at = self._line(at, convert)
        if code not in _TWO_LINES:
            return value, at
        second, at = self._line(at, convert)
        return (value, second), at

    def _line(self, at: int, convert: Callable[[Any], Any]) -> tuple[Any, int]:
        dropped, seen = 0, at
        longest = _LONGEST_TEXT_LINE if convert in {_quoted_line, _escaped_line} else _LONGEST_LINE
        while (found := self._data.find(b"\n", seen, self._end)) < 0:
            have = self._end - at
            if dropped + have > longest:  # a file without content may announce a terabyte
                raise ValueError(f"it has a line of more than {longest} characters")
            if have > self._longest:
                dropped, at, have = dropped + have, self._end, 0
            at = self._more(at, have + 1)
            seen = at + have
        line = self._data[at:found]
        return (ObjectHead("builtins.str", (), dropped + len(line)) if dropped else convert(line)), found + 1

    def _begin_frame(self, at: int, size: int) -> None:
        if self._frame_end != _NO_LIMIT:
            raise ValueError("its frames overlap")
        self._frame_end = self._start + at + size
        self._end = min(len(self._data), at + size)

    def _finish(self, code: int, at: int) -> None:
        if code != STOP:
            raise ValueError(f"{bytes([code])!r} is no instruction of a pickle")
        self.size_bytes = self._start + at
        if self._frame_end not in {_NO_LIMIT, self.size_bytes}:
            raise ValueError("it ends before the end of its frame")


# ------------------------------------------------------------------------------------------ the table of instructions

_PLAIN, _COUNTED, _LINES, _FRAME, _STOP, _UNKNOWN = range(6)
_U16, _U32, _U64, _I32, _DOUBLE = (struct.Struct(form).unpack_from for form in ("<H", "<I", "<Q", "<i", ">d"))
_TWO_LINES = b"ci"


def _text(raw: bytes | bytearray) -> str:
    return str(raw, "utf-8", "surrogatepass")


def _latin_text(raw: bytes | bytearray) -> str:
    return str(raw, "latin-1")


def _integer(raw: bytes | bytearray) -> int:
    return int.from_bytes(raw, "little", signed=True)


def _number(line: bytes, longest: int = _LONGEST_NUMBER) -> bytes:
    if len(line) > longest:
        raise ValueError(f"it has a number of {len(line)} characters")
    return line


def _short_line(line: bytes) -> int:
    return line == b"01" if line in {b"00", b"01"} else int(_number(line))


def _long_line(line: bytes) -> int:
    return int(_number(line).removesuffix(b"L"))


def _float_line(line: bytes) -> float:
    return float(_number(line, _LONGEST_FLOAT))


def _quoted_line(line: bytes) -> str:
    if len(line) < 2 or line[:1] not in {b"'", b'"'} or line[:1] != line[-1:]:
        raise ValueError("it has a text without quotes")
    return str(codecs.escape_decode(line[1:-1])[0], "ascii")


def _escaped_line(line: bytes) -> str:
    return str(line, "raw-unicode-escape")


_KINDS: dict[Any, str] = {_text: "str", _latin_text: "str", bytes: "bytes", bytearray: "bytearray", _integer: "int"}
_BY_OPCODES: dict[bytes, tuple[int, int, Any, Any] | None] = {
    b"(012NQRabdlstuo]})e\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94\x97\x98": None,
    b"Khq\x80\x82": (_PLAIN, 1, None, None),
    b"M\x83": (_PLAIN, 2, _U16, None),
    b"jr": (_PLAIN, 4, _U32, None),
    b"J\x84": (_PLAIN, 4, _I32, None),
    b"G": (_PLAIN, 8, _DOUBLE, None),
    b"\x8c": (_COUNTED, 1, None, _text),
    b"X": (_COUNTED, 4, _U32, _text),
    b"\x8d": (_COUNTED, 8, _U64, _text),
    b"U": (_COUNTED, 1, None, _latin_text),
    b"T": (_COUNTED, 4, _I32, _latin_text),
    b"C": (_COUNTED, 1, None, bytes),
    b"B": (_COUNTED, 4, _U32, bytes),
    b"\x8e": (_COUNTED, 8, _U64, bytes),
    b"\x96": (_COUNTED, 8, _U64, bytearray),
    b"\x8a": (_COUNTED, 1, None, _integer),
    b"\x8b": (_COUNTED, 4, _I32, _integer),
    b"Igp": (_LINES, 0, None, _short_line),
    b"L": (_LINES, 0, None, _long_line),
    b"F": (_LINES, 0, None, _float_line),
    b"S": (_LINES, 0, None, _quoted_line),
    b"V": (_LINES, 0, None, _escaped_line),
    b"ciP": (_LINES, 0, None, _text),
    b"\x95": (_FRAME, 8, _U64, None),
    b".": (_STOP, 0, None, None),
}
_FORMS: list[tuple[int, int, Any, Any] | None] = [(_UNKNOWN, 0, None, None)] * 256
"""By opcode: how its argument is written, of how many bytes that or its length is, and what makes the value of it."""
for _codes, _form in _BY_OPCODES.items():
    for _code in _codes:
        _FORMS[_code] = _form
