"""Files of unknown origin, for tests and for the fuzzer: real ones to change, and ways to read what became of them."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import os
import pickle
import struct
import sys
import uuid
import zlib
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from neuralib.persistence import PersistenceError
from neuralib.persistence._codecs import framed_reader, frames
from neuralib.persistence._handlers import pickles
from neuralib.persistence._trust import allowance, untrusted

# What a reader may raise on bytes: whoever calls it names the file in an error of the library's.
ALLOWED = (PersistenceError, ValueError, EOFError, LookupError, TypeError, OverflowError, MemoryError, struct.error)
WAYS = ["pickle", "vouched", "whole", "hopped", "mapped", "mapped to write", "checked", "compressed"]


class Colour(enum.Enum):
    RED = 1
    BLUE = (2, 3)


class Thing:
    """A class that the class of a result declares."""


READER = untrusted.Reader([Colour, Thing])


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
    from io import BytesIO

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
