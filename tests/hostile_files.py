"""Files of unknown origin, for tests and for the fuzzer: real ones to change, and ways to read what became of them."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import os
import pickle
import re
import struct
import sys
import uuid
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from neuralib.persistence import PersistenceError
from neuralib.persistence._codecs import framed_reader, frames
from neuralib.persistence._handlers import pickles
from neuralib.persistence._trust import allowance, untrusted
from neuralib.persistence._trust.outline import outline

# What a reader may raise on bytes: whoever calls it names the file in an error of the library's.
ALLOWED = (PersistenceError, ValueError, EOFError, LookupError, TypeError, OverflowError, MemoryError, struct.error)
WAYS = ["pickle", "vouched", "whole", "hopped", "mapped", "mapped to write", "checked", "compressed", "head"]


class Colour(enum.Enum):
    RED = 1
    BLUE = (2, 3)


class Flags(enum.Flag, boundary=enum.KEEP):
    A = 1


class Thing:
    """A class that the class of a result declares."""


READER = untrusted.Reader([Colour, Flags, Thing])


def real_values() -> list[Any]:
    """Plain data and arrays of every kind that a file may hold."""
    thing = Thing()
    thing.x = [1.5]  # type: ignore[attr-defined]
    shared = [1]
    return [
        {"name": "A", "data": np.arange(5.0), "more": [1, 70000, -1, 2**70, True, None, 1.5, 2j]},
        [np.array(["a", None], object), np.zeros(2, "M8[s]"), np.zeros((2, 0)), np.float32(1), np.str_("x")],
        np.zeros(2, [("a", "i4"), ("b", "f8", (2,))]),
        [np.asfortranarray(np.zeros((2, 3), "i2")), np.arange(4, dtype=">u2"), np.arange(10)[::2]],
        [datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1, 5), datetime.timedelta(1), datetime.time(1)],
        [datetime.timezone(datetime.timedelta(hours=1)), decimal.Decimal("1.1"), fractions.Fraction(1, 3)],
        [uuid.UUID(int=7), Path("a/b"), ZoneInfo("UTC"), bytearray(b"xy"), b"b", "text", "é"],
        [collections.OrderedDict(a=1), collections.deque([1], 3), collections.Counter("aab")],
        [collections.defaultdict(list, {1: [2]}), {1, 2}, frozenset([(1, "a")]), (1,), (1, 2, 3, 4), {}],
        [Colour.RED, Colour.BLUE, thing, shared, shared],
        [datetime.datetime(2020, 7, 1, tzinfo=ZoneInfo("UTC")), np.ma.masked_array([1.0, 2.0], [0, 1]), np.ma.masked],
        [np.rec.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]), np.random.default_rng(1)],
        [np.array(["a", "bc"], np.dtypes.StringDType()) if hasattr(np.dtypes, "StringDType") else None],
    ]


def real_pickles() -> list[bytes]:
    """The same as files of every protocol, and as this package writes them."""
    found = [pickle.dumps(it, protocol) for it in real_values() for protocol in (0, 2, 5)]
    found += [_ours(it) for it in real_values()]
    return [*found, with_large_array()]


def _ours(value: Any) -> bytes:
    target = BytesIO()
    pickles.pickler(target).dump(value)
    return target.getvalue()


class _Draft:
    def __init__(self) -> None:
        self.content = bytearray()

    def write(self, data: Any) -> None:
        self.content += data

    def reserve(self, size: int) -> None:
        pass


def with_large_array(size: int = 70_000) -> bytes:
    """A file that has its array between the frames, without its trailer."""
    draft = _Draft()
    writer = frames.PickleWriter(draft)  # type: ignore[arg-type]
    pickles.pickler(writer).dump({"a": 1, "data": np.zeros(size, "u1"), "b": "x"})
    writer.finish()
    return bytes(draft.content[:-24])


def vouched(content: bytes) -> bytes:
    """Return *content* with a trailer by which every change looks intended, where the checksum of its arrays is too."""
    try:
        _, _, structure = framed_reader._structure_of(memoryview(content))
    except ALLOWED:
        structure = 0
    return content + frames.TRAILER.pack(frames.MAGIC, len(content), zlib.crc32(content), structure)


def read_somehow(way: int, data: bytes) -> Any:
    """Read *data* without trust, in one of the ways; documented errors are an answer too."""
    kind = WAYS[way % len(WAYS)]
    try:
        return _read(kind, data)
    except ALLOWED as error:
        return error


def strange_parts(value: Any, most: int = 2000) -> list[str]:
    """Return the names of the types in *value* that a file of unknown origin must not make."""
    todo, seen, strange = [value], 0, []
    while todo and seen < most:
        it = todo.pop()
        seen += 1
        if isinstance(it, dict):
            todo += [*it.keys(), *it.values()]
        elif isinstance(it, (list, tuple, set, frozenset, collections.deque)):
            todo += it
        elif isinstance(it, Thing):
            todo += vars(it).values()
        elif isinstance(it, np.ndarray) and it.dtype == object:
            todo += it.ravel().tolist()
        kind = type(it)
        if kind.__module__ not in _PLAIN_MODULES and kind not in {Colour, Thing} and not isinstance(it, ALLOWED):
            strange.append(f"{kind.__module__}.{kind.__qualname__}")
        elif callable(it) or isinstance(it, type):
            strange.append(repr(it))
    return strange


_PLAIN_MODULES = {"builtins", "collections", "datetime", "decimal", "fractions", "uuid", "pathlib", "pathlib._local",
                  "zoneinfo", "numpy", "numpy.dtypes", "numpy.ma", "numpy.ma.core", "numpy.rec", "numpy.random._generator",
                  "numpy.random.mtrand"}  # fmt: skip


def _read(kind: str, data: bytes) -> Any:
    if kind == "pickle":
        return READER(data, ())
    if kind == "head":
        repr(outline(BytesIO(data)))
        return None
    if kind == "compressed":
        return READER(pickles._decompressed(data, allowance.largest_content(len(data))), (), len(data))
    if kind in {"vouched", "whole"}:
        return framed_reader.read_bytes(vouched(data) if kind == "vouched" else data, READER)
    fd = _open_file(vouched(data))
    try:
        if kind == "hopped":
            return framed_reader.read_file(fd, READER)
        if kind == "checked":
            return framed_reader.check_file(fd)
        return framed_reader.map_file(fd, "r" if kind == "mapped" else "c", READER)
    finally:
        os.close(fd)


def _open_file(data: bytes) -> int:
    if sys.platform == "linux":
        fd = os.memfd_create("hostile")
    else:
        import tempfile

        fd, path = tempfile.mkstemp()
        os.unlink(path)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


# ------------------------------------------------------------------------------------------ kinds of hostile files


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _int(number: int) -> bytes:
    data = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<I", len(data)) + data


def _call(name: str, arguments: bytes) -> bytes:
    module, _, function = name.rpartition(".")
    return f"c{module}\n{function}\n".encode() + arguments + b"R"


def frame(content: bytes, size: int | None = None) -> bytes:
    return b"\x95" + struct.pack("<Q", len(content) if size is None else size) + content


def two_programs() -> dict[str, bytes]:
    """Files that say one thing to who follows their frames, and another to who reads straight through."""
    hidden = b"\x96" + struct.pack("<Q", 20)  # a bytearray of 20 bytes, which begin in the frame and end after it
    return {
        "a value that crosses the end of its frame": b"\x80\x05" + frame(b"}" + hidden + b"x" * 10) + b"N" * 10 + b"0.",
        "an argument that crosses it": b"\x80\x05" + frame(b"NJ\x01\x00") + b"\x00\x00\x86.",
        "a line that crosses it": b"\x80\x05" + frame(b"NI12") + b"3\n\x86.",
        "a frame in a frame": b"\x80\x05" + frame(b"N" + frame(b"0}.")),
        "a frame that begins within another": b"\x80\x05" + frame(b"N" + frame(b"0}")[:-1]) + b"}.",
        "a frame beyond the end": b"\x80\x05" + frame(b"}.", 1000),
        "an end within a frame": b"\x80\x05" + frame(b"}.N"),
    }


def hidden_array() -> bytes:
    """A file with a large array between its frames, for who follows these; straight through it is a part of a value.

    The last value of the first frame, a bytearray, goes on to the end of the array and what follows.
    """
    content = with_large_array()
    first = 11 + int.from_bytes(content[3:11], "little")
    rest = content[first:]
    inner = content[11:first] + b"\x96" + struct.pack("<Q", len(rest) - 1)
    return b"\x80\x05" + frame(inner) + rest


def _slow_keys(count: int) -> dict[str, bytes]:
    prime = (1 << 61) - 1
    length = count // 2
    long_number = 1 << (8 * length)
    number = long_number - long_number % prime
    half = b"B" + struct.pack("<I", length)
    return {
        "numbers of one hash with long equal beginnings": b"\x80\x04}("
        + b"".join(_int(number + prime * n) + b"N" for n in range(max(3, count // 3000)))
        + b"u.",
        # Each tuple has its own copy of the bytes, so that comparing two of them looks at all of these.
        "tuples of one hash with long equal beginnings": b"\x80\x04"
        + half + b"a" * length + b"\x94" + half + b"a" * length + b"\x940" + b"0}("
        + b"".join(b"h" + bytes([n % 2]) + _int(1 + prime * n) + b"\x86N" for n in range(count // 20))
        + b"u.",
        "sets of one hash": b"\x80\x04}(("
        + b"".join(_int(1 + prime * n) for n in range(count // 40)) + b"\x91\x940"
        + b"".join(b"h\x00" + _int(1 + prime * n) + b"\x86N" for n in range(count // 40))
        + b"u.",
    }  # fmt: skip


def slow(count: int) -> dict[str, bytes]:
    """Files of about *count* bytes that would take time out of proportion."""
    third = _int(3 ** (count * 2))[:-1] + b"\x01"
    other = _int(7**count)[:-1] + b"\x01"
    shared = b"\x8c\x01a\x940" + b"]\x940" + b"(" + b"h\x01" * 8 + b"l\x940"
    calls = count // 8
    text = np.zeros(count // 8, "<U2").tobytes()
    return {
        **_slow_keys(count),
        "fractions with huge terms": b"\x80\x04cfractions\nFraction\n\x940" + third + b"\x940" + other + b"\x940("
        + b"h\x00h\x01h\x02\x86R" * calls + b"l.",
        "fractions with long terms": b"\x80\x04cfractions\nFraction\n\x940" + _int(3**6200) + b"\x940" + _int(7**3500)
        + b"\x940(" + b"h\x00h\x01h\x02\x86R" * calls + b"l.",
        "counters of the same keys": b"\x80\x04ccollections\nCounter\n\x940}("
        + b"".join(b"J" + struct.pack("<i", n) + b"N" for n in range(count // 8)) + b"u\x940("
        + b"h\x00h\x01\x85R" * (count // 8) + b"l.",
        "views of a text": b"\x80\x04cnumpy\nndarray\n\x940" + b"J" + struct.pack("<i", len(text) // 8) + b"\x85\x940"
        + b"\x8c\x03<U2\x940B" + struct.pack("<I", len(text)) + text + b"\x940("
        + b"h\x00h\x01h\x02h\x03\x87R" * calls + b"l.",
        "time zones": b"\x80\x04cbuiltins\ngetattr\nczoneinfo\nZoneInfo\n\x8c\x09_unpickle\x86R\x940("
        + b"h\x00\x8c\x03UTCI00\n\x86R" * (count // 16) + b"l.",
        "a list that expands when walked": b"\x80\x04" + shared
        + b"".join(b"(" + (b"h" + bytes([n])) * 8 + b"l\x940" for n in range(2, min(200, count // 20)))
        + b"h\x02.",
        "instructions that do nothing": b"\x80\x04N" + b"(1" * (count // 2) + b".",
    }  # fmt: skip


def deep(count: int) -> dict[str, bytes]:
    """Files of values in *count* levels, of every container, and in every order."""
    deque, default = b"ccollections\ndeque\n\x940", b"ccollections\ndefaultdict\n\x940"
    return {
        "deques": b"\x80\x04" + deque + b"h\x00)R" * count + b"a" * (count - 1) + b".",
        "deques of an argument": b"\x80\x04" + deque + b"h\x00" * count + b"]" + b"\x85R\x85" * (count - 1) + b"\x85R.",
        "deques from the outside in": b"\x80\x04" + deque + b"h\x00)R\x94"
        + b"".join(b"j" + struct.pack("<I", n) + b"h\x00)R\x94a0" for n in range(1, count)) + b".",
        "deques in lists": b"\x80\x04" + deque + b"]h\x00)R" * count + b"a" * (2 * count - 1) + b".",
        "default dicts": b"\x80\x04" + default + b"h\x00)RN" * count + b"N" + b"s" * count + b".",
        "default dicts and deques": b"\x80\x04" + default + deque + b"h\x00)RNh\x01)R" * count + b"N" + b"as" * count + b".",
        "tuples": b"\x80\x04N" + b"\x85" * count + b".",
        "tuples as a key": b"\x80\x04}N" + b"\x85" * count + b"Ns.",
        "sets as an item": b"\x80\x04" + b"(" * count + b"N" + b"\x91" * count + b".",
        "lists": b"\x80\x04" + b"]" * count + b"a" * (count - 1) + b".",
        "dicts": b"\x80\x04" + b"}N" * count + b"N" + b"s" * count + b".",
        "ordered dicts": b"\x80\x04ccollections\nOrderedDict\n\x940" + b"h\x00)RN" * count + b"N" + b"s" * count + b".",
        "arguments": b"\x80\x04cbuiltins\nset\n" + b"\x85" * count + b".",
        "states": b"\x80\x04cuuid\nUUID\n)R" + b"\x85" * count + b"b.",
    }  # fmt: skip


def failing() -> dict[str, bytes]:
    """Files on which the functions of the table, or Python itself, fail in their own ways."""
    return {
        "a decimal that is none": b"\x80\x04" + _call("decimal.Decimal", _text("1e") + b"\x85") + b".",
        "a decimal beyond all exponents": b"\x80\x04" + _call("decimal.Decimal", _text("1e" + "9" * 30) + b"\x85") + b".",
        "a fraction of zero": b"\x80\x04" + _call("fractions.Fraction", b"K\x01K\x00\x86") + b".",
        "a time that is too long": b"\x80\x04" + _call("datetime.timedelta", _int(1 << 200) + b"\x85") + b".",
        "a number of too many digits": b"I" + b"9" * 5000 + b"\n.",
        "a float of too many digits": b"F" + b"9" * 50_000 + b"x\n.",
        "a float that is none": b"F" + b"\x1b" * 5000 + b"\n.",
        "flags of a huge number": b"\x80\x04chostile_files\nFlags\n" + _int(1 << 5000) + b"\x85R.",
        "a complex number of a long one": b"\x80\x04" + _call("builtins.complex", _int(1 << 5000) + b"K\x00\x86") + b".",
        "a deque of a long one": b"\x80\x04" + _call("collections.deque", b"]" + _int(1 << 200) + b"\x86") + b".",
        "an id of a negative number": b"\x80\x04" + _call("uuid.UUID", b")") + b"}\x8c\x03intI-1\nsb.",
        "a path of nothing": b"\x80\x04" + _call("pathlib.Path", b"N\x85") + b".",
        "a time zone that there is not": b"\x80\x04cbuiltins\ngetattr\nczoneinfo\nZoneInfo\n\x8c\x09_unpickle\x86R"
        + _text("No/Where") + b"\x85R.",
        "a list as a key": b"\x80\x04}]Ns.",
        "an enumeration of a list": b"\x80\x04chostile_files\nColour\n]\x85R.",
        "a member that there is not": b"\x80\x04chostile_files\nColour\nK\x09\x85R.",
        "an enumeration with a state": b"\x80\x04chostile_files\nColour\nK\x01\x85R}\x8c\x07_value_K\x05sb.",
        "axes of a range": b"\x80\x04cnumpy._core.numeric\n_frombuffer\n(C\x01acnumpy\ndtype\n\x8c\x02u1\x89\x88\x87R"
        + _call("builtins.range", _int(10**9) + b"\x85") + b"\x8c\x01K" + _call("builtins.range", _int(10**9) + b"\x85") + b"tR.",
        "an array of a shape": b"\x80\x04" + _call("numpy.ndarray", _int(1 << 40) + b"\x85\x8c\x02u1C\x01a\x87") + b".",
        "an array of a shape of nothing": b"\x80\x04"
        + _call("numpy.ndarray", _int(1 << 40) + b"\x85\x8c\x02V0C\x00\x87") + b".",
        "a masked array of a shape": pickle.dumps(np.ma.masked_array([1.0, 2.0], [0, 1])).replace(
            b"K\x02\x85", b"J\xff\xff\xff\x7f\x85"),
        "records of a shape": pickle.dumps(np.rec.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])).replace(
            b"K\x01\x85", b"J\xff\xff\xff\x7f\x85"),
        "a generator that reads beyond its memory": re.sub(
            rb"(\x03pos\x94)M..",
            lambda found: found[1] + b"M\xff\xff",
            pickle.dumps(np.random.Generator(np.random.MT19937(1)), 4),
            flags=re.DOTALL,
        ),
        "a generator without a state": b"\x80\x04cnumpy.random._pickle\n__bit_generator_ctor\n\x8c\x05PCG64\x85R}b.",
        "memory as a value": b"\x80\x05}\x8c\x01a\x96" + struct.pack("<Q", 3) + b"abc\x98s.",
        "an instruction that there is not": b"\x80\x05\xff.",
        "a protocol that there is not": b"\x80\x63}.",
    }  # fmt: skip
