"""Files of unknown origin, for tests and for the fuzzer: real ones to change, hostile ones, and readers to try them with."""

from __future__ import annotations

import collections
import contextlib
import datetime
import decimal
import enum
import fractions
import gzip
import os
import pickle
import re
import struct
import sys
import types
import uuid
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from checks import dump_into, dumped

from neuralib.persistence import PersistenceError
from neuralib.persistence._bytes import checksums
from neuralib.persistence._bytes.sources import BytesSource, FileSource
from neuralib.persistence._codecs import framed_reader, frames
from neuralib.persistence._codecs.card import ArrayPlace, Card, parse_card, with_arrays
from neuralib.persistence._codecs.pickles import NoFieldsError, PickleCodec
from neuralib.persistence._messages import shown as shown_briefly
from neuralib.persistence._stores.base import MemoryDraft
from neuralib.persistence._trust import untrusted
from neuralib.persistence._trust.outline import outline

# What a reader may raise on bytes. Its callers raise an error of this package instead, which names the file.
ALLOWED = (PersistenceError, ValueError, EOFError, LookupError, TypeError, OverflowError, MemoryError, struct.error)
READERS = ["pickle", "file with card", "file", "framed", "mapped", "mapped to write", "checked", "compressed", "outline",
           "head"]  # fmt: skip


class Colour(enum.Enum):
    RED = 1
    BLUE = (2, 3)


class Flags(enum.Flag, boundary=enum.KEEP):
    A = 1


class Thing:
    """A class that a field of a result is annotated with."""


READER = untrusted.Reader([Colour, Flags, Thing])


def real_values() -> list[Any]:
    """Return plain data and arrays of every kind that a file may hold."""
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
        [types.SimpleNamespace(a=1, b=types.SimpleNamespace()), np.zeros((2, 2)).view(np.matrix)],
        [np.array(["a", "bc"], np.dtypes.StringDType()) if hasattr(np.dtypes, "StringDType") else None],
    ]


def real_pickles() -> list[bytes]:
    """Return pickles of :func:`real_values`, of several protocols and as this package writes them."""
    found = [pickle.dumps(value, protocol) for value in real_values() for protocol in (0, 2, 5)]
    found += [dumped(value) for value in real_values()]
    return [*found, pickle_with_large_array()]


CARD = Card("", "", "", "-", (), {}).to_bytes()


def file_with_large_array(size: int = 70_000) -> bytes:
    """Return a file whose array is between the frames of its pickle, with card and end."""
    draft = MemoryDraft()
    writer = frames.writer_to(draft)
    dump_into(writer, {"a": 1, "data": np.zeros(size, "u1"), "b": "x"})
    frames.finish(writer, CARD)
    return draft.content()


def pickle_with_large_array(size: int = 70_000) -> bytes:
    """Return the pickle of :func:`file_with_large_array`."""
    content = file_with_large_array(size)
    return content[: frames.lengths_of(content)[0]]


def card_of(content: bytes) -> Card:
    """Return the card of the file *content*."""
    pickle_bytes, card_bytes = frames.lengths_of(content)
    return parse_card(content[pickle_bytes : pickle_bytes + card_bytes], pickle_bytes)


def apparent_arrays(content: bytes) -> list[ArrayPlace]:
    """Return where *content* seems to have large aligned arrays, even if these bytes are part of another value."""
    places: list[ArrayPlace] = []
    for found in re.finditer(rb"C(.)(\0*)0([\x96\x8e])(.{8})", content, re.DOTALL):
        size = int.from_bytes(found[4], "little")
        after = places[-1].end if places else 0
        if found[1][0] == len(found[2]) and after <= found.start() and found.end() + size < len(content):
            places.append(ArrayPlace(found.start(), found.end(), size, found[3] == b"\x96", (size,), "|u1"))
    return places


def with_valid_card(content: bytes, places: list[ArrayPlace] | None = None) -> bytes:
    """Return *content* with a card and an end whose checksums fit, so that it looks intact.

    :param places: of large arrays; by default those that seem to be there
    """
    places = apparent_arrays(content) if places is None else places
    return with_card_and_end(content, with_arrays(CARD, places) if places else CARD, places)


def with_card_and_end(content: bytes, card: bytes, places: list[ArrayPlace] | None = None) -> bytes:
    """Return a file of the pickle *content* and *card*, with an end whose checksums fit."""
    tail = card + frames._MARK.pack(frames.MAGIC, len(content), len(card))
    rest, at = b"", 0
    for place in places or []:
        rest += content[at : place.start]
        at = place.end
    rest += content[at:]
    return content + tail + frames._SUMS.pack(zlib.crc32(content + tail), zlib.crc32(rest + tail))


def read_or_error(reader: str, data: bytes) -> Any:
    """Read *data* without trust; return the value or the documented error.

    :param reader: one of :data:`READERS`
    """
    try:
        return _read(reader, data)
    except ALLOWED as error:
        return error


def forbidden_types(value: Any, most: int = 2000) -> list[str]:
    """Return the names of types in *value* that a file of unknown origin must not create."""
    todo, seen, strange = [value], 0, []
    while todo and seen < most:
        part = todo.pop()
        seen += 1
        if isinstance(part, dict):
            todo += [*part.keys(), *part.values()]
        elif isinstance(part, (list, tuple, set, frozenset, collections.deque)):
            todo += part
        elif isinstance(part, Thing):
            todo += vars(part).values()
        elif isinstance(part, np.ndarray) and part.dtype == object:
            todo += part.ravel().tolist()
        kind = type(part)
        if kind.__module__ not in _PLAIN_MODULES and kind not in {Colour, Thing} and not isinstance(part, ALLOWED):
            strange.append(f"{kind.__module__}.{kind.__qualname__}")
        elif callable(part) or isinstance(part, type):
            strange.append(repr(part))
    return strange


_PLAIN_MODULES = {"builtins", "collections", "datetime", "decimal", "fractions", "uuid", "pathlib", "pathlib._local",
                  "types", "zoneinfo", "numpy", "numpy.dtypes", "numpy.matrixlib.defmatrix", "numpy.ma", "numpy.ma.core", "numpy.rec", "numpy.random._generator",
                  "numpy.random.mtrand"}  # fmt: skip


def _read(reader: str, data: bytes) -> Any:
    if reader == "pickle":
        return READER(data, ())
    if reader == "outline":
        shown_briefly(outline(BytesIO(data)))
        return None
    codec = PickleCodec()
    if reader in {"compressed", "file"}:
        return codec.load(BytesSource(data), READER)[0]
    if reader == "file with card":
        return codec.load(BytesSource(with_valid_card(data)), READER)[0]
    if reader == "head":
        try:
            shown_briefly(codec.head(BytesSource(with_valid_card(data))))
        except NoFieldsError:
            pass  # the pickle holds no dict of fields
        return None
    with FileSource(fd := _open_file(with_valid_card(data)), _Closing(fd)) as source:
        if reader == "framed":
            return framed_reader.read_source(source, READER)[0]
        if reader == "checked":
            return framed_reader.check_source(source)
        return framed_reader.map_source(source, "r" if reader == "mapped" else "c", READER)[0]


class _Closing:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def close(self) -> None:
        os.close(self._fd)


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


def ambiguous() -> dict[str, bytes]:
    """Return files that differ for a reader that follows their frames and one that reads straight through."""
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
    """Return a pickle with a large array between its frames, which straight through is part of another value.

    The last value of the first frame, a bytearray, extends over the array and what follows.
    """
    content = pickle_with_large_array()
    first = 11 + int.from_bytes(content[3:11], "little")
    rest = content[first:]
    inner = content[11:first] + b"\x96" + struct.pack("<Q", len(rest) - 1)
    return b"\x80\x05" + frame(inner) + rest


def _colliding_keys(count: int) -> dict[str, bytes]:
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
    """Return files of about *count* bytes that would take time out of proportion."""
    third = _int(3 ** (count * 2))[:-1] + b"\x01"
    other = _int(7**count)[:-1] + b"\x01"
    shared = b"\x8c\x01a\x940" + b"]\x940" + b"(" + b"h\x01" * 8 + b"l\x940"
    calls = count // 8
    text = np.zeros(count // 8, "<U2").tobytes()
    return {
        **_colliding_keys(count),
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
        "paths of many folders": b"\x80\x04cpathlib\nPurePosixPath\n\x940" + _text("a/" * (count // 4)) + b"\x940("
        + b"h\x01" * 1001 + b"t\x940(" + b"h\x00h\x02R" * (count // 10) + b"l.",
        "texts of numpy": b"\x80\x04" + _text("\U0001f600" * (count // 8)) + b"\x940cnumpy._core.multiarray\n_reconstruct\n"
        b"cnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01" + _int(count // 3) + b"\x85cnumpy._core._internal\n"
        b"_convert_to_stringdtype_kwargs\n)R\x89](" + b"h\x00" * (count // 3) + b"etb.",
        "instructions that do nothing": b"\x80\x04N" + b"(1" * (count // 2) + b".",
    }  # fmt: skip


def deep(count: int) -> dict[str, bytes]:
    """Return files of values in *count* levels, of every container, in every order."""
    deque, default = b"ccollections\ndeque\n\x940", b"ccollections\ndefaultdict\n\x940"
    return {
        "deques": b"\x80\x04" + deque + b"h\x00)R" * count + b"a" * (count - 1) + b".",
        "deques of an argument": b"\x80\x04" + deque + b"h\x00" * count + b"]" + b"\x85R\x85" * (count - 1) + b"\x85R.",
        "deques from the outside in": b"\x80\x04" + deque + b"h\x00)R\x94"
        + b"".join(b"j" + struct.pack("<I", n) + b"h\x00)R\x94a0" for n in range(1, count)) + b".",
        "deques in lists": b"\x80\x04" + deque + b"]h\x00)R" * count + b"a" * (2 * count - 1) + b".",
        "default dicts": b"\x80\x04" + default + b"h\x00)RN" * count + b"N" + b"s" * count + b".",
        "default dicts and deques": b"\x80\x04" + default + deque + b"h\x00)RNh\x01)R" * count + b"N" + b"as" * count + b".",
        "namespaces": b"\x80\x04ctypes\nSimpleNamespace\n\x940" + b"h\x00)R}\x8c\x01a" * count + b"N" + b"sb" * count + b".",
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
    """Return files on which functions of the table, or Python itself, fail."""
    return {
        "a decimal that is no number": b"\x80\x04" + _call("decimal.Decimal", _text("1e") + b"\x85") + b".",
        "a decimal beyond all exponents": b"\x80\x04" + _call("decimal.Decimal", _text("1e" + "9" * 30) + b"\x85") + b".",
        "a fraction with the denominator zero": b"\x80\x04" + _call("fractions.Fraction", b"K\x01K\x00\x86") + b".",
        "a timedelta that is too long": b"\x80\x04" + _call("datetime.timedelta", _int(1 << 200) + b"\x85") + b".",
        "a number of too many digits": b"I" + b"9" * 5000 + b"\n.",
        "a float of too many digits": b"F" + b"9" * 50_000 + b"x\n.",
        "a float that is no number": b"F" + b"\x1b" * 5000 + b"\n.",
        "flags of a huge number": b"\x80\x04chostile_files\nFlags\n" + _int(1 << 5000) + b"\x85R.",
        "a complex number of a huge integer": b"\x80\x04" + _call("builtins.complex", _int(1 << 5000) + b"K\x00\x86") + b".",
        "a deque with a huge maximum length": b"\x80\x04" + _call("collections.deque", b"]" + _int(1 << 200) + b"\x86") + b".",
        "a UUID of a negative number": b"\x80\x04" + _call("uuid.UUID", b")") + b"}\x8c\x03intI-1\nsb.",
        "a path of None": b"\x80\x04" + _call("pathlib.Path", b"N\x85") + b".",
        "an unknown time zone": b"\x80\x04cbuiltins\ngetattr\nczoneinfo\nZoneInfo\n\x8c\x09_unpickle\x86R"
        + _text("No/Where") + b"\x85R.",
        "a list as a key": b"\x80\x04}]Ns.",
        "an enumeration of a list": b"\x80\x04chostile_files\nColour\n]\x85R.",
        "an unknown member": b"\x80\x04chostile_files\nColour\nK\x09\x85R.",
        "an enumeration with a state": b"\x80\x04chostile_files\nColour\nK\x01\x85R}\x8c\x07_value_K\x05sb.",
        "a shape that is a huge range": b"\x80\x04cnumpy._core.numeric\n_frombuffer\n(C\x01acnumpy\ndtype\n\x8c\x02u1\x89\x88\x87R"
        + _call("builtins.range", _int(10**9) + b"\x85") + b"\x8c\x01K" + _call("builtins.range", _int(10**9) + b"\x85") + b"tR.",
        "an array with a huge shape": b"\x80\x04" + _call("numpy.ndarray", _int(1 << 40) + b"\x85\x8c\x02u1C\x01a\x87") + b".",
        "an array of empty items with a huge shape": b"\x80\x04"
        + _call("numpy.ndarray", _int(1 << 40) + b"\x85\x8c\x02V0C\x00\x87") + b".",
        "a masked array with a huge shape": pickle.dumps(np.ma.masked_array([1.0, 2.0], [0, 1])).replace(
            b"K\x02\x85", b"J\xff\xff\xff\x7f\x85"),
        "records with a huge shape": pickle.dumps(np.rec.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])).replace(
            b"K\x01\x85", b"J\xff\xff\xff\x7f\x85"),
        "a generator that reads beyond its memory": re.sub(
            rb"(\x03pos\x94)M..",
            lambda found: found[1] + b"M\xff\xff",
            pickle.dumps(np.random.Generator(np.random.MT19937(1)), 4),
            flags=re.DOTALL,
        ),
        "a generator without a state": b"\x80\x04cnumpy.random._pickle\n__bit_generator_ctor\n\x8c\x05PCG64\x85R}b.",
        "a read-only buffer as a value": b"\x80\x05}\x8c\x01a\x96" + struct.pack("<Q", 3) + b"abc\x98s.",
        "an unknown instruction": b"\x80\x05\xff.",
        "an unknown protocol": b"\x80\x63}.",
    }  # fmt: skip


def _expanding_list(levels: int = 60) -> bytes:
    """Return a list of eight references to a list of eight references, and so on: instructions that push it."""
    return b"](K\x01e\x94" + b"".join(b"0](" + (b"h" + bytes([n])) * 8 + b"e\x94" for n in range(levels))


def _fields(**parts: bytes) -> bytes:
    """Return a result with the keys 1 and 2; *parts* are the instructions of more fields."""
    items = {"a": b"K\x01", "b": b"K\x02", "c": b"N", "data": b"N"} | parts
    return b"\x80\x04}(" + b"".join(_text(name) + value for name, value in items.items()) + b"u."


def hard_to_show(count: int) -> dict[str, bytes]:
    """Return files of about *count* bytes whose values would fill the memory or the screen when they are shown."""
    text = _text("x" * count)
    reference = b"h\x00"
    many = b"](" + reference * min(count // 2, 5000) + b"e"
    array = b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01K\x02\x85"
    of_objects = array + (
        b"cnumpy\ndtype\n\x8c\x02O8\x89\x88\x87R(K\x03\x8c\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb\x89"
    )
    strange = "\x1b[31m\u202e\n\r\t=HYPERLINK()<script>"
    keys = {"a": text + b"\x94", "b": b"h\x00"}
    return {
        "a long text, many times": _fields(c=text + b"\x94", data=many),
        "a long text in tuples, many times": _fields(c=text + b"\x94", data=b"](" + reference * 300 + b"t\x85e"[:0] + b"e"),
        "a key that is a long text": _fields(**keys),
        "a key that is a list of a long text, many times": _fields(a=b"](" + text + b"\x94" + reference * 900 + b"e"),
        "a key that is a tuple of a long text, many times": _fields(a=b"(" + text + b"\x94" + reference * 900 + b"t"),
        "a key that is a long number, many times": _fields(a=b"(" + _int(10**4200) + b"\x94" + reference * (count // 2) + b"t"),
        "a key that expands": _fields(a=_expanding_list()),
        "data that expands": _fields(data=_expanding_list()),
        "a tuple that expands": _fields(data=b"(K\x01t\x940" + b"".join(b"(" + (b"h" + bytes([n])) * 8 + b"t\x940" for n in range(60)) + b"h\x3c"),
        "an array of lists that expand": _fields(c=_expanding_list() + b"\x94", data=of_objects + b"](h\x3dh\x3detb"),
        "an object of lists that expand": _fields(c=_expanding_list(), data=b"cstrange\nThing\n)\x81}(\x8c\x01xh\x3c\x8c\x01yh\x3cub"),
        "keys that expand in a dict": _fields(data=b"}(" + b"".join(_text(f"k{n}") + (b"h\x00" if n else _expanding_list()) for n in range(200)) + b"u"),
        "very many fields": _fields(**{f"f{n}": b"N" for n in range(count // 10)}),
        "a field with a very long name": _fields(**{"x" * count: b"N"}, **{f"f{n}": b"N" for n in range(2000)}),
        "strange names and values": _fields(**{strange: _text(strange)}, a=_text(strange), data=_text("=1+1")),
        "a class of a strange name": b"\x80\x04c" + strange.replace("\n", "").encode() + b"\nThing\n)\x81}\x8c\x01a" + _text(strange) + b"sb.",
        "a number of very many digits": _fields(a=_int(1 << (4 * count)), data=_int(1 << (4 * count))),
        "very many references to such a number": _fields(c=_int(1 << (4 * count)) + b"\x94", data=many),
        "a value of which only the size is there": _fields(data=b"\x8d" + struct.pack("<Q", 1 << 50) + b"x"),
        "a tuple in itself": _fields(data=b"]\x94(h\x00h\x00t\x94a"),
        "a set of very many NaNs": _fields(data=b"(" + b"".join(b"G" + struct.pack(">d", float("nan")) + b"K\x01\x86" for n in range(count // 12)) + b"\x91"),
    }  # fmt: skip


def odd_values() -> list[Any]:
    """Return plain data that Python or numpy fails to compare, to convert or to write as text."""
    hidden = np.ma.array([1, 2], mask=[True, False])
    found = [
        decimal.Decimal("sNaN"), [decimal.Decimal("sNaN")], np.array([decimal.Decimal("sNaN")], object), decimal.Decimal("NaN"),
        decimal.Decimal("1e999999999"), 10**400, fractions.Fraction(3**6000, 7), 1e308, complex("nan"), np.longdouble(1),
        np.clongdouble(1), np.array([1j], np.clongdouble), np.float16(1), np.uint64(2**64 - 1), np.bool_(True), np.bytes_(b"\x1b"),
        np.array([1]).view("M8"), np.array([1]).view("M8")[0], np.array([1], "M8[Y]"), np.array([1], "M8[as]"), np.datetime64(1, "as"),
        np.timedelta64(1, "Y"), np.array([1], "m8[2147483647Y]"), np.array([1], "m8[2147483629Y]"), np.array([1], "m8[as]"),
        hidden, hidden[:1], np.ma.array([3, 2], mask=[True, False]), np.ma.array([1, 2]), np.ma.masked,
        np.ma.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]), np.zeros(1, [("a", "i4")]), np.zeros(1, [("a", "i4")])[0],
        np.rec.array([(1, 2)], dtype=[("shape", "i4"), ("dtype", "i4")])[0], np.zeros((2, 2)).view(np.matrix),
        np.zeros(1, [("a", [("b", "i4", (2,))], (3,))])[0], np.zeros(1, "V4"), np.zeros(1, "V4")[0], np.zeros(2, "V0"),
        np.zeros((1 << 40, 0)), datetime.datetime.max.replace(tzinfo=datetime.timezone(-datetime.timedelta(hours=23))),
        datetime.datetime.min.replace(tzinfo=ZoneInfo("UTC")), datetime.timedelta.max, {float("nan"): 1},
    ]  # fmt: skip
    texts = getattr(np.dtypes, "StringDType", None)
    if texts is not None:
        found += [np.array(["a"], texts()), np.array(["a", None], texts(na_object=None))]
    return found


def records(count: int) -> dict[str, bytes]:
    """Return files of arrays and keys of odd kinds; records of about *count* bytes whose fields overlap, or have long names."""
    fields, length = 900, max(1, count // 2)
    overlapping = np.dtype({"names": [f"f{n}" for n in range(fields)], "formats": [("u1", (length,))] * fields,
                            "offsets": [0] * fields, "itemsize": length})  # fmt: skip
    long_name = np.dtype([("\U0001f600" * (count // 6), "u1")])
    same_name = np.dtype([(f"f{n}", long_name) for n in range(490)])
    plain = {"a": 1, "b": 2, "c": None, "data": None}
    made = {
        "odd values": plain | {f"f{number}": value for number, value in enumerate(odd_values())},
        "a key that is a record": plain | {"a": np.zeros(1, [("a", "i4")])[0]},
        "a key that is a signaling NaN": plain | {"a": decimal.Decimal("sNaN")},
        "a key that is a precise complex number": plain | {"a": np.clongdouble(1)},
        "a key that is a date without units": plain | {"a": np.array([1]).view("M8")[0]},
        "a record whose fields overlap": plain | {"a": np.zeros(1, overlapping)[0], "data": np.zeros(1, overlapping)},
        "many fields of one long name": plain | {"data": np.zeros(1, same_name), "c": [np.zeros(1, same_name)] * 9},
    }
    return {kind: pickle.dumps(value, 4) for kind, value in made.items()}


def cards(count: int) -> dict[str, bytes]:
    """Return files with strange cards of about *count* bytes."""
    strange = "\x1b[31m\u202e\n=1+1"
    fields = {f"f{n}": "int" for n in range(min(9000, count // 20))}
    made = {
        "very many keys": Card("lab", "Mean", "Mean", "-", tuple((name, "") for name in fields), fields, tuple(fields)),
        "strange names": Card(strange, strange, strange, "-", ((strange, ""),), {strange: strange}, (strange,)),
        "long texts": Card("m", "q", "n", "-", (), {"a": "t" * count}, (), 0, {"a": "u" * count}, {"a": "d" * count}),
        "keys that the file does not have": Card(
            "lab", "Mean", "Mean", "", tuple((n, "") for n in fields), fields, tuple(fields)
        ),
    }
    content = _fields(**{name: b"N" for name in list(fields)[:100]})
    return {f"a card of {kind}": with_card_and_end(content, card.to_bytes()) for kind, card in made.items()}


def write_sparse_files(folder: Path) -> None:
    """Write files of a terabyte, mostly holes, into *folder*: zeros, huge values, endless lines."""
    for name, start, end in (
        ("zeros", b"", b""),
        ("bytes", b"\x80\x05}\x8c\x01a\x8e" + struct.pack("<Q", (1 << 40) - 17), b"s."),
        ("a line", b"\x80\x05}\x8c\x01aV", b"\ns."),
        ("a digit", b"I1", b"\n."),
        ("gzip", b"\x1f\x8b\x08\x00", b""),
        ("a mark", b"", _end_after_zeros((1 << 40) - len(CARD) - frames.END_BYTES)),
    ):
        with open(folder / f"cache-Pair-1-{name}.pkl", "wb") as file:
            file.write(start)
            file.truncate(1 << 40)
            file.seek((1 << 40) - len(end))
            file.write(end)
    _write_sparse_array(folder / "cache-Pair-1-array.pkl", 1 << 40)
    with open(folder / "cache-Pair-1-packed.pkl.gz", "wb") as file:
        file.write(gzip.compress(b"\x80\x04}."))
        file.truncate(1 << 40)


def _end_after_zeros(count: int) -> bytes:
    """Return card and end of a file whose pickle is *count* zeros."""
    tail = CARD + frames._MARK.pack(frames.MAGIC, count, len(CARD))
    whole = zlib.crc32(tail, checksums.with_zeros(0, count))
    return tail + frames._SUMS.pack(whole, whole)


def _write_sparse_array(path: Path, size: int) -> None:
    """Write an intact file with an array of *size* zeros that take no space on the disk."""
    content = file_with_large_array()
    place = card_of(content).arrays[0]
    before = content[: place.start - 8] + struct.pack("<Q", size)
    after = content[place.end : frames.lengths_of(content)[0]]
    card = with_arrays(CARD, [place._replace(size=size, shape=(size,))])
    length = len(before) + size + len(after)
    tail = card + frames._MARK.pack(frames.MAGIC, length, len(card))
    whole = zlib.crc32(after + tail, checksums.with_zeros(zlib.crc32(before), size))
    with open(path, "wb") as file:
        file.write(before)
        file.seek(len(before) + size)
        file.write(after + tail + frames._SUMS.pack(whole, zlib.crc32(before + after + tail)))


def corpus(count: int) -> dict[str, bytes]:
    """Return every kind of hostile file, of about *count* bytes where that can be chosen."""
    kinds = {
        **ambiguous(),
        **failing(),
        **slow(count),
        **deep(count // 4),
        **hard_to_show(count),
        **cards(count),
        **records(count),
    }
    kinds["a large array in another value"] = with_valid_card(hidden_array())
    return kinds


# ------------------------------------------------------------------------------------------ archives

RESULT_NAME = "cache-Pair-1-0.pkl"
"""The name of the result in each hostile archive that tests read."""
_MOST_ROWS = 50_000  # each operation takes time in proportion to them, up to 0.2 ms for each that is looked into
_LARGE = 1_100_000
_SQLAR = "CREATE TABLE sqlar(name TEXT PRIMARY KEY, mode INT, mtime INT, sz INT, data BLOB)"


def archives(folder: Path, count: int) -> dict[str, Path]:
    """Write hostile archives of about *count* bytes into *folder*; return their paths by kind."""
    whole = _fields(b=b"K\x00", data=b"K\x05")
    bomb = _compressed_zeros(1 << 28)
    strange = "\x1b[31m\u202e\n\t=1+1"
    rows: dict[str, list[tuple[Any, ...]]] = {
        "strange names": [(f"cache-Pair-1-{strange}.pkl", 33188, 1, len(whole), whole), (strange, 33188, 1, 3, b"abc")],
        "names of a megabyte": [(f"cache-Pair-1-{'x' * (1 << 20)}{n}.pkl", 33188, 1, 1, b"x") for n in range(1 + count // 10**5)],
        "names with a null character": [(f"cache-Pair-1-{n}\0{'x' * 3000}.pkl", 33188, 1, 1, b"x") for n in range(9)],
        "names of numbers": [(f"cache-Pair-1-{'9' * 1000}{n}.pkl", 33188, 1, 1, b"x") for n in range(9)],
        "names that are not text": [(b"cache-Pair-1-9.pkl", 33188, 1, 1, b"x"), (None, 33188, 1, 1, b"x"), (5, 1, 1, 1, b"x"),
                                    ("", 33188, 1, 1, b"x"), ("..", 33188, 1, 1, b"x"), ("../cache-Pair-1-7.pkl", 33188, 1, 1, b"x")],
        "very many rows": [(f"cache-Pair-{n}-1.pkl", 33188, 1, 1, b"x") for n in range(min(count, _MOST_ROWS))],
        "a size that is larger": [(RESULT_NAME, 33188, 1, len(whole) + 1, whole)],
        "a size that is smaller": [(RESULT_NAME, 33188, 1, len(whole) - 1, whole)],
        "a size beyond all memory": [(RESULT_NAME, 33188, 1, 1 << 62, zlib.compress(whole))],
        "a size below zero": [(RESULT_NAME, 33188, 1, -(1 << 62), whole)],
        "a size that is a text": [(RESULT_NAME, 33188, 1, "many", whole)],
        "a size that is null": [(RESULT_NAME, 33188, 1, None, whole)],
        "a size that is a fraction": [(RESULT_NAME, 33188, 1, 0.5, whole)],
        "a bomb": [(RESULT_NAME, 33188, 1, 1 << 28, bomb)],
        "a bomb that claims little": [(RESULT_NAME, 33188, 1, 1000, bomb)],
        "data that is a number": [(RESULT_NAME, 33188, 1, 1, 5)],
        "data that is a text": [(RESULT_NAME, 33188, 1, 5, "hello")],
        "data that is a long text": [(RESULT_NAME, 33188, 1, count * 9, "x" * count * 9)],
        "data that is null": [(RESULT_NAME, 33188, 1, 0, None)],
        "data that is a fraction": [(RESULT_NAME, 33188, 1, 3, 0.5)],
        "a time that is a text": [(RESULT_NAME, 33188, "yesterday", len(whole), whole)],
        "a time beyond all calendars": [(RESULT_NAME, 33188, (1 << 63) - 1, len(whole), whole), ("cache-Pair-1-2.pkl", 33188, -(1 << 63), 1, b"x")],
        "a mode that is a text": [(RESULT_NAME, "rwx", 1, len(whole), whole)],
        "a link": [(RESULT_NAME, 0o120777, 1, -1, "/etc/passwd")],
        "a folder": [(RESULT_NAME, 0o40755, 1, 0, None)],
    }  # fmt: skip
    found = {kind: _archive(folder, n, [_SQLAR], added) for n, (kind, added) in enumerate(rows.items())}
    endless_select = (
        "WITH RECURSIVE a(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a) SELECT 'cache-Pair-1-' || n || '.pkl' AS name"
    )
    plain = "name TEXT PRIMARY KEY, mode INT, mtime INT, sz INT, data BLOB"
    large = "zeroblob(500000000)"
    schemas = {
        "an endless view": [f"CREATE VIEW sqlar AS {endless_select}, 33188 AS mode, 1 AS mtime, 1 AS sz, x'00' AS data FROM a"],
        "a view of a table": [f"CREATE TABLE t({plain})", "CREATE VIEW sqlar AS SELECT rowid, * FROM t"],
        "a trigger": [_SQLAR, f"CREATE TRIGGER t AFTER INSERT ON sqlar BEGIN UPDATE sqlar SET data={large}; DELETE FROM sqlar; END"],
        "triggers of changes": [_SQLAR, "CREATE TABLE t(a)"] + [
            f"CREATE TRIGGER t{what} BEFORE {what} ON sqlar BEGIN INSERT INTO t SELECT {large} FROM sqlar; END"
            for what in ("UPDATE", "DELETE")],
        "a computed column": [f"CREATE TABLE sqlar(name TEXT PRIMARY KEY, mode INT, mtime INT, sz INT, data BLOB AS ({large}))"],
        "a computed name": ["CREATE TABLE sqlar(mode INT, mtime INT, sz INT, data BLOB, name AS (hex(zeroblob(100000000))))"],
        "a check": [f"CREATE TABLE sqlar(name TEXT PRIMARY KEY, mode INT, mtime INT, sz INT, data BLOB, CHECK (length({large}) > 1))"],
        "an index that computes": [_SQLAR, "CREATE INDEX i ON sqlar(length(hex(data)))"],
        "a partial index": [_SQLAR, f"CREATE INDEX i ON sqlar(name) WHERE length({large}) > name"],
        "a virtual table": ["CREATE VIRTUAL TABLE sqlar USING fts4(name, mode, mtime, sz, data)"],
        "a table without row ids": [f"CREATE TABLE sqlar({plain}) WITHOUT ROWID"],
        "fewer columns": ["CREATE TABLE sqlar(name TEXT, data BLOB)"],
        "names that ignore case": ["CREATE TABLE sqlar(name TEXT COLLATE NOCASE PRIMARY KEY, mode INT, mtime INT, sz INT, data BLOB)"],
        "duplicate names": ["CREATE TABLE sqlar(name TEXT, mode INT, mtime INT, sz INT, data BLOB)"],
        "no table": ["CREATE TABLE other(name)"],
        "one content of a size": ["CREATE TABLE sqlar(name TEXT, mode INT, mtime INT, sz INTEGER PRIMARY KEY, data BLOB)"],
        "an index that has each content once": [_SQLAR, "CREATE UNIQUE INDEX i ON sqlar(data)"],
        "a column that must be given": [_SQLAR.replace(")", ", more TEXT NOT NULL)")],
    }  # fmt: skip
    row = [(RESULT_NAME, 33188, 1, len(whole), whole), ("cache-Pair-1-1.pkl", 33188, 1, len(whole), whole)]
    for kind, statements in schemas.items():
        given = row * 2 if kind == "duplicate names" else row
        found[kind] = _archive(folder, len(found), statements, given)
    for kind, change in _changes_of_pages().items():
        path = _archive(folder, len(found), [_SQLAR], [*row, ("cache-Pair-1-5.pkl", 33188, 1, _LARGE, bytes(_LARGE))])
        found[kind] = path
        with open(path, "r+b") as file:
            change(file)
    return found


def _compressed_zeros(count: int) -> bytes:
    """Return what zlib may make of *count* zeros, whole MiB: one MiB is compressed, and its block repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = (count % 65521) << 16 | 1  # Adler-32 of zeros
    return b"\x78\xda" + block * (count >> 20) + packer.flush() + checksum.to_bytes(4, "big")


def _archive(folder: Path, number: int, statements: list[str], rows: list[tuple[Any, ...]]) -> Path:
    import sqlite3

    path = folder / f"hostile{number}.sqlar"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous=OFF")  # nothing here has to survive a loss of power
    for statement in statements:
        if not statement.startswith(("CREATE TRIGGER", "CREATE INDEX")):
            connection.execute(statement)
    with contextlib.suppress(sqlite3.Error):  # of a view
        if len(connection.execute("SELECT * FROM sqlar LIMIT 0").description) == 5:
            connection.executemany("INSERT INTO sqlar(name, mode, mtime, sz, data) VALUES (?, ?, ?, ?, ?)", rows)
    for statement in statements:
        if statement.startswith(("CREATE TRIGGER", "CREATE INDEX")):
            connection.execute(statement)
    connection.commit()
    connection.close()
    return path


def _changes_of_pages() -> dict[str, Any]:
    def header(at: int, value: bytes) -> Any:
        return lambda file: (file.seek(at), file.write(value))

    def claim_most(file: Any) -> None:
        """Write the largest size that fits into the record of the large content."""
        content = file.read()
        size = 12 + 2 * _LARGE  # SQLite writes it by seven bits to a byte
        digits = bytes([0x80 | size >> 21, 0x80 | size >> 14 & 0x7F, 0x80 | size >> 7 & 0x7F, size & 0x7F])
        file.seek(content.index(digits))
        file.write(b"\xff\xff\xff\x7e")

    return {
        "very many pages": header(28, b"\xff\xff\xff\xfe"),
        "a page size of one": header(16, b"\x00\x01"),
        "pages that point anywhere": lambda file: (file.seek(4096 + 8), file.write(b"\xff" * 64)),
        "a schema of another version": header(44, b"\x00\x00\x00\x7f"),
        "half of the pages": lambda file: file.truncate(4096 * 2),
        "a terabyte of zeros": lambda file: file.truncate(1 << 40),
        "content that claims to be long": claim_most,
    }
