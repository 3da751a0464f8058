"""Which types a file of unknown origin may hold: those in the table of ``docs/checking.md``, and no others."""

from __future__ import annotations

import array
import collections
import copy
import datetime
import decimal
import enum
import fractions
import ipaddress
import pickle
import random
import re
import time
import types
import uuid
from pathlib import Path, PurePosixPath, PureWindowsPath
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from checks import Pair, filled

from neuralib.persistence import GzipHandler, PickleHandler, UntrustedTypeError
from neuralib.persistence._equality import same_value
from neuralib.persistence._trust.untrusted import Reader

GUIDE = (Path(__file__).parents[1] / "docs" / "checking.md").read_text()
RECORD = [("a", "i4"), ("b", "f8")]


class Colour(enum.Enum):
    RED = 1


class Point(collections.namedtuple("Point", "x y")):
    __slots__ = ()


def used(kind):
    """Return a generator of random numbers that has given some."""
    rng = np.random.Generator(kind(1))
    rng.random(3, dtype="f4")
    return rng


def texts(*values, **options):
    if not hasattr(np.dtypes, "StringDType"):
        return np.array(["a"])
    return np.array(values, np.dtypes.StringDType(**options))


ADMITTED = {
    "None, bool, int, float, complex": [None, True, 2**100, -0.5, float("inf"), 1 + 2j],
    "str, bytes, bytearray": ["a\u00e9", b"a", bytearray(b"a"), "x" * 100_000, b"x" * 100_000],
    "list, tuple, dict, set, frozenset": [[1, [2]], (1, (2,)), {"a": {1: 2}}, {1, "a"}, frozenset([1]), [[]] * 3],
    "OrderedDict": [collections.OrderedDict([(1, 2), ("a", [])])],
    "Counter": [collections.Counter("hello")],
    "deque": [collections.deque([1, 2], 3), collections.deque([collections.deque()])],
    "defaultdict": [
        collections.defaultdict(kind, {1: 2})
        for kind in (None, list, dict, set, int, float, str, complex, collections.Counter, collections.deque)
    ],
    "SimpleNamespace": [types.SimpleNamespace(a=1, b=types.SimpleNamespace(c=[2])), types.SimpleNamespace()],
    "date, time, datetime, timedelta": [
        datetime.date(2020, 1, 1),
        datetime.time(1, 2, 3, 4),
        datetime.time(1, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc),
        datetime.datetime(2020, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
        datetime.timedelta(1, 2, 3),
    ],
    "timezone, ZoneInfo": [datetime.timezone(datetime.timedelta(hours=1), "X"), ZoneInfo("UTC")],
    "Decimal, Fraction": [decimal.Decimal("1.10"), decimal.Decimal("-Infinity"), fractions.Fraction(-3, 4)],
    "UUID": [uuid.UUID(int=5)],
    "Path, PurePath": [Path("x") / "y", PurePosixPath("a/b"), PureWindowsPath("a/b")],
    "numbers of numpy": [np.float16(1), np.float32(0.5), np.int64(-3), np.uint64(3), np.bool_(True), np.complex64(1j)],
    "longdouble": [np.longdouble("0.1"), np.arange(3, dtype="g"), np.arange(3, dtype="G")],
    "str_, bytes_, void": [np.str_("a"), np.bytes_(b"a"), np.void(b"abc"), np.array([b"abc"], "V3")],
    "datetime64, timedelta64": [
        np.datetime64("2020-01-01"),
        np.datetime64("NaT", "ns"),
        np.timedelta64(3, "s"),
        np.array(["2020-01-01", "NaT"], "M8[D]"),
        np.array([1, 2], "m8[25ms]"),
    ],
    "arrays of numbers and texts": [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
        np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
        np.arange(3, dtype=">f8"),
        np.arange(3, dtype="f2"),
        np.array(["a"], ">U3"),
        np.array([b"a", b""]),
        np.array(3.5),
        np.zeros((0, 3)),
    ],
    "arrays of objects": [np.array([1, "a", [2]], object), np.array([np.zeros(2), None], object), np.array(None)],
    "StringDType": [texts("a", "\u00e9" * 100), texts("a", None, na_object=None), texts("a", np.nan, na_object=np.nan)],
    "structured arrays and records": [
        np.array([(1, 2.0)], RECORD),
        np.array([(1, 2.0)], RECORD)[0],
        np.zeros(2, np.dtype([("a", "i1"), ("b", [("c", "f8", (2,))])], align=True)),
        np.zeros(2, np.dtype([("a", "i1"), ("when", "M8[s]")], align=True)),
        np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)).view(np.recarray),
        np.rec.array([(1, 2.0)], dtype=RECORD),
        np.rec.array([(1, 2.0)], dtype=RECORD)[0],
    ],
    "masked arrays": [
        np.ma.array([1.0, 2.0], mask=[0, 1], fill_value=7),
        np.ma.array([1, 2]),
        np.ma.array([(1, 2.0)], mask=[(0, 1)], dtype=RECORD),
        np.ma.masked,
    ],
    "matrix": [np.arange(6.0).reshape(2, 3).view(np.matrix), np.asfortranarray(np.eye(2)).view(np.matrix)],
    "dtype": [np.dtype(">f8"), np.dtype(RECORD), np.dtype(object)],
    "Generator": [
        used(kind)
        for kind in (
            np.random.PCG64,
            np.random.PCG64DXSM,
            np.random.MT19937,
            np.random.Philox,
            np.random.SFC64,
        )
    ],
    "RandomState": [np.random.RandomState(3), np.random.RandomState(np.random.PCG64(3))],
    "BitGenerator, SeedSequence": [np.random.PCG64(4), np.random.SeedSequence([1, 2], spawn_key=(3,)).spawn(2)[1]],
}
REFUSED = {
    "functions and classes": [len, int, np.float64],
    "range and slice": [range(3), slice(1, 2)],
    "Ellipsis": [..., NotImplemented],
    "array.array": [array.array("d", [1])],
    "random.Random": [random.Random(1)],
    "exceptions": [ValueError("a")],
    "regular expressions": [re.compile("a")],
    "addresses": [ipaddress.ip_address("1.2.3.4")],
    "struct_time": [time.gmtime(0)],
    "structured arrays with objects or titles": [np.zeros(2, [("a", "O")]), np.zeros(2, [(("title", "a"), "i4")])],
    "masked arrays of objects": [np.ma.array([1, None], mask=[0, 1])],
}


def numbers_of(value):
    """Return the next numbers of a generator."""
    if isinstance(value, np.random.SeedSequence):
        return value.generate_state(4)
    if isinstance(value, np.random.BitGenerator):
        return value.random_raw(9)
    return value.normal(size=9)


def check_same(found, value, protocol=5):
    assert type(found) is type(value)
    if type(value).__module__.startswith("numpy.random"):
        assert (numbers_of(found) == numbers_of(value)).all()
        return
    assert same_value(found, value)
    if found is not value:  # protocols 0 to 3 have no place for the second of two equal hours
        assert repr(found) in {repr(value), repr(pickle.loads(pickle.dumps(value, protocol)))}
    if hasattr(value, "dtype"):
        assert found.dtype == value.dtype
        assert getattr(found, "fill_value", 0) == getattr(value, "fill_value", 0)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ADMITTED)
def test_admitted_kinds_load_from_every_protocol(kind, protocol):
    """Equal, and of the same type."""
    for value in ADMITTED[kind]:
        data = pickle.dumps(value, protocol)
        check_same(Reader(())(data, ()), copy.deepcopy(value), protocol)


@pytest.mark.parametrize("handler", [PickleHandler, GzipHandler])
def test_admitted_kinds_go_through_files(tmp_path, handler):
    """Saved by a handler and loaded without trust: all of them in one result, and each in its own."""
    values = [value for kind in ADMITTED.values() for value in kind]
    careful = handler(Pair, tmp_path, trusted=False)
    for number, value in enumerate([*values, values]):
        data = copy.deepcopy(value)
        careful.save_persistence(filled(Pair(1, number), data=data))
        found = careful.load_persistence(Pair(1, number)).data
        for one, other in zip(found, data, strict=True) if value is values else [(found, data)]:
            check_same(one, other)


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_kinds_are_named(kind, tmp_path):
    """The error says what to do. The file does not count as damaged."""
    for value in REFUSED[kind]:
        PickleHandler(Pair, tmp_path).save_persistence(filled(Pair(1, 2), data=value))
        with pytest.raises(UntrustedTypeError, match=r"add the type to trusted=\[\.\.\.\], or pass trusted=True"):
            PickleHandler(Pair, tmp_path, trusted=False).load_persistence(Pair(1, 2))


@pytest.mark.parametrize(("value", "kind"), [(Point(1, 2), Point), (Colour.RED, Colour)], ids=["tuple", "enumeration"])
def test_classes_are_admitted_by_name(value, kind, tmp_path):
    """By ``trusted=[Point]``, as the error advises."""
    PickleHandler(Pair, tmp_path).save_persistence(filled(Pair(1, 2), data=[value]))
    with pytest.raises(UntrustedTypeError, match=kind.__qualname__):
        PickleHandler(Pair, tmp_path, trusted=False).load_persistence(Pair(1, 2))
    assert PickleHandler(Pair, tmp_path, trusted=[kind]).load_persistence(Pair(1, 2)).data == [value]


def test_the_guide_lists_these_kinds():
    """Each is in its table, as loaded without trust or as refused."""
    admitted, refused = (
        GUIDE.partition(f"\n| {title} |")[2].partition("\n\n")[0].replace("`", "")
        for title in ("loaded without trust", "refused")
    )
    for kind in ADMITTED:
        assert kind in admitted
    for kind in REFUSED:
        assert kind in refused


class Made:
    """Is written as a call of ``numpy.dtype``."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return np.dtype, self.arguments


NUMBER, OBJECT = np.dtype("i4"), np.dtype("O")
SPEC = {"names": ["a", "b"], "formats": [NUMBER, NUMBER], "offsets": [0, 4], "itemsize": 8}


def test_only_aligned_records_are_made_of_a_dict():
    """As this package writes them; nothing else that numpy takes, and nothing that is too large."""
    assert Reader(())(pickle.dumps(Made(SPEC, True)), ()).isalignedstruct
    for arguments in (
        (SPEC,),
        (SPEC, False),
        (SPEC, True, True),
        ({**SPEC, "titles": ["x", "y"]}, True),
        ({**SPEC, "aligned": True}, True),
        ({**SPEC, "names": ["a"]}, True),
        ({**SPEC, "names": ["a", "a"]}, True),
        ({**SPEC, "names": ["a", 1]}, True),
        ({**SPEC, "names": "ab"}, True),
        ({**SPEC, "formats": ["i4", "i4"]}, True),
        ({**SPEC, "formats": [NUMBER, OBJECT], "offsets": [0, 8], "itemsize": 16}, True),
        ({**SPEC, "offsets": [0, 1]}, True),
        ({**SPEC, "offsets": [0, -4]}, True),
        ({**SPEC, "offsets": [0, 4.0]}, True),
        ({**SPEC, "itemsize": 4}, True),
        ({**SPEC, "itemsize": 1 << 40}, True),
        ({**SPEC, "itemsize": "8"}, True),
        ({"a": (NUMBER, 0)}, True),
        ((np.record, NUMBER),),
        ((np.ndarray, np.dtype(RECORD)),),
        ((NUMBER, (1 << 40,)),),
    ):
        with pytest.raises((UntrustedTypeError, ValueError, TypeError)):
            Reader(())(pickle.dumps(Made(*arguments)), ())
