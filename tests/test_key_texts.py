"""The text of a key in a file name depends on its value alone, and not on the process, on versions or settings."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import itertools
import logging
import os
import subprocess
import sys
import textwrap
import tracemalloc
import unicodedata
import uuid
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple, Optional

import checks
import numpy as np
import pytest
from hypothesis import given, strategies as st

from neuralib.persistence import (
    FieldDefinitionError,
    GzipHandler,
    PickleHandler,
    UnsafeNameError,
    autoinc_field,
    field,
    filename,
    missing,
    persistence_class,
)
from neuralib.persistence._classes.name_texts import has_text, text_of
from neuralib.persistence._classes.value_texts import from_portable_text, portable_text, value_text
from neuralib.persistence._naming import typed
from neuralib.persistence._naming.typed import UNDECIDED, reader_of, texts_matching

NFC, NFD = "\xe9", "e\u0301"


@persistence_class
class Loose:
    a: Any = field(filename=True)
    data: Any


@persistence_class(portable=True)
class Portable:
    a: Any = field(filename=True)
    b: Any = field(filename=lambda value: f"<{value}>", default="")
    data: Any


class Colour(enum.Enum):
    RED = "red"


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclasses.dataclass(frozen=True)
class Window:
    start: Any
    stop: Any = 0


class Plain:
    """Has the repr of object, with its address."""

    def method(self):
        pass


class Shown(Plain):
    """Has a repr of its own."""

    def __init__(self, *parts):
        self.parts = parts

    def __str__(self):
        return f"Shown {len(self.parts)}"


class Slotted:
    __slots__ = ("places",)

    def __init__(self, places):
        self.places = places

    def __repr__(self):
        return f"Slotted({self.places!r})"


def name_of(value):
    return filename(Loose(value)).removeprefix("cache-Loose-")


# ---------------------------------------------------------------------------------------------- unchanged

SAFE = [
    "", "A00", "a-b", "x[1]", "é", "日本", 0, -3, 10**30, True, None, 0.1, -0.0, 1e16, float("nan"), float("inf"), 1j, b"x",
    (), (1,), (0.04, 1.0), ("a", None, True), [], [1, "a"], {}, {"a": 1, 2: [3.5]}, {1}, frozenset({"a"}), set(), frozenset(),
    Colour.RED, (Colour.RED,), datetime.date(2020, 1, 2), (datetime.date(2020, 1, 2),), decimal.Decimal("1.50"),
    fractions.Fraction(3), uuid.UUID(int=5), PurePosixPath("a.b"), range(3), slice(1, 2), int, (str, int), len,
    Pair(1, "a"), (Pair(1, (2,)),), Window(1, "a"), [Window(0.5)], Shown(1, [2]),
    collections.Counter("aab"), collections.deque([1, 2]), collections.defaultdict(list, a=[1]), Slotted([1, 2]),
    np.int64(3), np.float32(0.1), np.float64(0.1), np.bool_(True), np.str_("a"), np.datetime64("2020-01-02"), np.array(3),
    functools.partial(int, base=2), Ellipsis, bytearray(b"x"), "a at 0x7f0000000000>", ("a at 0x7f0000000000>",),
]  # fmt: skip


@pytest.mark.parametrize("value", SAFE, ids=lambda parameter: f"{type(parameter).__name__} {str(parameter)[:20]}")
def test_safe_names_are_those_of_the_existing_package(value):
    """To the byte: files are found by them."""
    assert name_of(value) == str(value)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.builds(Window, inner)
        | st.builds(Pair, inner, inner)
        | st.builds(Slotted, inner)
    ),
)


@given(plain)
def test_texts_are_those_of_str(value):
    """Except that accents are composed; also for nested containers."""
    assert value_text(value) == unicodedata.normalize("NFC", str(value))


def test_a_list_that_holds_itself_has_the_text_of_str():
    """It ends in ``[...]``."""
    ring: list[Any] = [1]
    ring.append(ring)
    assert value_text(ring) == "[1, [...]]"
    assert value_text((ring,)) == "([1, [...]],)"


# ---------------------------------------------------------------------------------------------- sets

SETS = """
    import collections, dataclasses, types
    from typing import Any, NamedTuple
    from neuralib.persistence import field, filename, persistence_class

    @persistence_class
    class R:
        a: Any = field(filename=True)

    @dataclasses.dataclass(frozen=True)
    class Window:
        areas: Any

    class Pair(NamedTuple):
        first: Any
        second: Any

    class Areas(frozenset):
        pass

    areas = {"V1", "RSC", "PPC", "M2", "A1"}
    for value in (
        areas, frozenset(areas), (areas,), {"a": [frozenset(areas)]}, {frozenset(areas), frozenset({"x", "y"})}, Areas(areas),
        Window(frozenset(areas)), (Window({("a", "b"), ("c", None)}),), Pair(1, areas), collections.OrderedDict(a=areas),
        {1, "a", None, 2.5, (1, 2)}, types.MappingProxyType({"a": areas}), types.SimpleNamespace(a=areas), {"a": areas}.values(),
        slice(0, areas), {10, 9, 8.5, -1, True},
    ):
        print(filename(R(value)))
"""


def test_a_set_has_the_same_name_in_every_process():
    """Its members are sorted; the order of a set depends on the hash seed."""
    code = textwrap.dedent(SETS)
    texts = set()
    for seed in ("0", "1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
        texts.add(run.stdout)
    assert len(texts) == 1
    lines = texts.pop().splitlines()
    assert lines[0] == "cache-R-{'A1', 'M2', 'PPC', 'RSC', 'V1'}"
    assert lines[1] == "cache-R-frozenset({'A1', 'M2', 'PPC', 'RSC', 'V1'})"
    assert lines[6].endswith("Window(areas=frozenset({'A1', 'M2', 'PPC', 'RSC', 'V1'}))")
    assert lines[-1] == "cache-R-{-1, True, 8.5, 9, 10}"


def test_equal_sets_have_one_text():
    """Numbers are sorted by value, all else by text."""
    for members in itertools.permutations([8, 0, 16]):
        assert name_of(set(members)) == "{0, 8, 16}"


# ---------------------------------------------------------------------------------------------- addresses


def function():
    pass


def local():
    def inner():
        pass

    return inner


ADDRESSED = [
    function,
    local(),
    lambda: 1,
    Plain(),
    Plain().method,
    object(),
    functools.partial(function, 1),
    (lambda: 1,),
    [Plain()],
    {"a": [function]},
    {function: 1},
    frozenset({function}),
    (Shown(1),),
    Window(function),
    Pair(Plain(), 1),
    (number for number in range(3)),
    iter([1]),
    memoryview(b"x"),
    (np.random.default_rng(1),),
    collections.deque([Plain()]),
]


@pytest.mark.parametrize("value", ADDRESSED, ids=range(len(ADDRESSED)))
@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler])
def test_a_text_with_an_address_is_refused(tmp_path, kind, value):
    """Another process would have another name. The error says what to do."""
    handler = kind(Loose, tmp_path)
    result = Loose(value)
    result.data = 1
    with pytest.raises(UnsafeNameError, match=r"Loose.a = .* address .* filename= function"):
        handler.save_persistence(result)
    assert os.listdir(tmp_path) == []


def test_a_custom_str_with_the_address_is_refused():
    """In decimal or hexadecimal, in upper or lower case."""
    for write in (lambda value: f"<{id(value):#x}>", lambda value: f"{id(value):X}", lambda value: str(id(value))):
        kind = type("Told", (), {"__str__": write})
        with pytest.raises(UnsafeNameError, match="address"):
            name_of(kind())


def test_a_filename_function_gives_such_a_key_its_text():
    """As the error advises. What it returns is checked too."""

    @persistence_class
    class Named:
        f: Any = field(filename=lambda value: value.__name__)
        g: Any = field(filename=lambda value: value, default="")

    assert filename(Named(function)) == "cache-Named-function-"
    with pytest.raises(UnsafeNameError, match=r"Named\.g.*address"):
        filename(Named(function, g=function))


def test_small_addresses_are_values():
    """Such as those of hardware."""
    kind = type("Chip", (), {"__str__": lambda self: "<Chip at 0x3F>"})
    assert name_of(kind()) == "<Chip at 0x3F>"


# ---------------------------------------------------------------------------------------------- numpy

NUMPY_1 = [
    ((np.float64(0.1),), "(0.1,)"),
    ([np.float32(0.1), np.int8(3)], "[0.1, 3]"),
    ({"a": np.int64(3), np.str_("b"): np.bool_(True)}, "{'a': 3, 'b': True}"),
    ((np.str_("x"), np.bytes_(b"y")), "('x', b'y')"),
    ((np.complex128(1 + 2j), np.float64("nan"), np.float64("-inf")), "((1+2j), nan, -inf)"),
    ((np.datetime64("2020-01-02"),), "(numpy.datetime64('2020-01-02'),)"),
    ((np.timedelta64(3, "D"),), "(numpy.timedelta64(3,'D'),)"),
    (Pair(np.float64(0.1), (np.int16(2),)), "Pair(first=0.1, second=(2,))"),
    (Window(np.float64(0.1)), "Window(start=0.1, stop=0)"),
    ((Window([np.float64(0.1)]),), "(Window(start=[0.1], stop=0),)"),
    ({np.int64(3), np.int64(20)}, "{3, 20}"),
    ((np.void(b"\x01"),), r"(void(b'\x01'),)"),
]


@pytest.mark.parametrize(("value", "expected"), NUMPY_1, ids=[text for _, text in NUMPY_1])
def test_scalars_of_numpy_show_as_under_numpy_1(value, expected):
    """numpy 2 would write their type too."""
    assert name_of(value) == expected


@given(st.floats() | st.integers(-(2**63), 2**63 - 1) | st.booleans())
def test_a_scalar_of_numpy_shows_as_the_same_number_of_python(number):
    """In a tuple too."""
    scalar = np.array([number])[0]
    assert value_text((scalar,)) == f"({number!r},)"


ARRAYS = [
    np.array([1, 2]),
    np.zeros((2, 2)),
    np.array([]),
    np.arange(5000),
    (np.array([1, 2]),),
    {"a": [np.array([1, 2])]},
    (np.array(0.1),),
    Window(np.array([1.0, 2.0])),
    Pair(np.array([1.0, 2.0]), 1),
    np.ma.array([1, 2]),
    np.array([(1, 2.5)], "i4,f8"),
    np.array([(1, 2.5)], "i4,f8")[0],
]


@pytest.mark.parametrize("value", ARRAYS, ids=range(len(ARRAYS)))
def test_arrays_are_refused(tmp_path, value):
    """Their text depends on print options."""
    with pytest.raises(UnsafeNameError, match=r"(?s)Loose.a = .* print options; .* filename= function"):
        PickleHandler(Loose, tmp_path).save_persistence(Loose(value))
    assert os.listdir(tmp_path) == []


def test_an_object_that_holds_arrays_and_does_not_show_them_is_a_key():
    """If its repr does not contain them."""
    assert name_of(Shown(np.arange(3), np.zeros(2))) == "Shown 2"


def test_tables_are_refused():
    """As arrays are."""
    pandas = pytest.importorskip("pandas")
    for value in (pandas.Series([1, 2]), pandas.DataFrame({"a": [1]}), (pandas.Index([1]),)):
        with pytest.raises(UnsafeNameError, match="print options"):
            name_of(value)
    assert name_of(pandas.Timestamp("2020-01-02")) == "2020-01-02 00:00:00"


def test_arrays_of_other_libraries_are_refused():
    """Quantities that are single numbers are allowed."""
    sparse = pytest.importorskip("scipy.sparse")
    values = [sparse.eye(2), sparse.coo_array(np.eye(2))]
    for name, make in (
        ("xarray", lambda module: module.DataArray([1.0])),
        ("polars", lambda module: module.Series([1.0])),
        ("pint", lambda module: module.UnitRegistry().Quantity(np.array([1.0]), "Hz")),
        ("astropy.units", lambda module: np.array([1.0]) * module.m),
    ):
        if sys.modules.get(name) or name in {"xarray", "polars"}:
            values.append(make(pytest.importorskip(name)))
    for value in values:
        for key in (value, (value,), {"a": value}):
            with pytest.raises(UnsafeNameError, match="print options"):
                name_of(key)


def test_scalar_quantities_are_keys():
    """They are numbers with a unit."""
    pint = pytest.importorskip("pint")
    assert name_of(pint.UnitRegistry().Quantity(3, "Hz")) == "3 hertz"


def test_print_options_of_numpy_change_no_name():
    """Numbers of numpy are written as Python's numbers, whatever ``numpy.printoptions`` says."""
    values = [np.float64(1 / 3), np.float32(1 / 3), (np.float64(1 / 3),), np.array(1 / 3), np.complex128(1 / 3)]
    before = [name_of(value) for value in values]
    with np.printoptions(precision=2, suppress=True, floatmode="fixed"):
        assert [name_of(value) for value in values] == before


def test_naming_imports_no_numpy():
    """If no value is of numpy."""
    code = "import sys; from neuralib.persistence._classes.value_texts import value_text; value_text(((1, 'é'),)); print('numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "False"


# ---------------------------------------------------------------------------------------------- accents


@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler])
@pytest.mark.parametrize(("saved", "asked"), [(NFC, NFD), (NFD, NFC), (NFD, NFD)])
def test_composed_and_decomposed_accents_give_one_name(tmp_path, kind, saved, asked):
    """Otherwise there would be two files that look the same, which are one file on a Mac."""
    handler = kind(Loose, tmp_path)
    result = Loose(f"caf{saved}")
    result.data = 1
    handler.save_persistence(result)
    assert os.listdir(tmp_path) == [f"cache-Loose-caf{NFC}{handler.suffix}"]
    assert handler.load_persistence(Loose(f"caf{asked}")).data == 1
    assert [result.data for _, result in handler.load_all(Loose(f"caf{asked}"))] == [1]
    assert [hit.keys["a"] for hit in handler.find(a=f"caf{asked}")] == [f"caf{saved}"]
    assert list(handler.todo([Loose(f"caf{asked}")])) == []


def test_a_validated_key_agrees_composed_or_not():
    """Otherwise load_cache would compute each time."""

    @persistence_class
    class Named:
        name: str = field(validator=True, filename=True)

    declared = Named._ast_persistence_cls_info_.get_field("name")
    assert declared.validate(NFC, NFD)
    assert not declared.validate(NFC, "e")


# ---------------------------------------------------------------------------------------------- what has no text


MANY_DIGITS = [10**5000, -(10**5000), (10**5000,), fractions.Fraction(10**5000), [[10**5000]]]


@pytest.mark.parametrize("value", MANY_DIGITS, ids=range(len(MANY_DIGITS)))
def test_an_int_of_very_many_digits_is_an_unsafe_name(tmp_path, value):
    """Python refuses to convert it to text."""
    with pytest.raises(UnsafeNameError, match=r"Loose\.a = "):
        PickleHandler(Loose, tmp_path).save_persistence(Loose(value))


def test_a_deeply_nested_key_is_an_unsafe_name():
    """It raises no RecursionError."""
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(UnsafeNameError, match="nested too deeply"):
        name_of(value)


def test_a_value_that_cannot_have_a_text_is_recognised():
    """A file of another program with such a key is left out; it is not an error."""
    declared = Loose._ast_persistence_cls_info_.get_field("a")
    for value in (function, np.arange(3), 10**5000, [[0] * 10_000]):
        assert not has_text(declared, value)
    for value in ("a", 3, 0.5, None, (1, 2), np.float64(3), 10**100):
        assert has_text(declared, value)


# ---------------------------------------------------------------------------------------------- portable names

AWKWARD = st.text(alphabet='ab<>:"\\|?*/%\x00\x1f\x7f. 2A5é', max_size=8) | st.text()


@given(AWKWARD)
def test_a_portable_text_can_be_decoded(text):
    """What was encoded has no character that any system refuses, and is decoded to what it was."""
    encoded = portable_text(text)
    assert from_portable_text(encoded) == text
    assert not set(encoded) & set('<>:"\\|?*/\0\n')
    assert not encoded.endswith((".", " "))


def test_a_portable_class_encodes_what_other_systems_refuse(tmp_path):
    """In keys of every kind, and in texts made by a function."""
    moment = datetime.datetime(2023, 1, 1, 12, 30)
    assert filename(Portable(moment)) == "cache-Portable-2023-01-01 12%3A30%3A00-%3C%3E"
    assert filename(Portable("a/b%", b="x")) == "cache-Portable-a%2Fb%25-%3Cx%3E"
    assert filename(Portable(NFD)) == f"cache-Portable-{NFC}-%3C%3E"
    handler = PickleHandler(Portable, tmp_path)
    for value in ("a:b", "a%3Ab", "*", "é?", "..", moment, 3, None):
        result = Portable(value)
        result.data = repr(value)
        handler.save_persistence(result)
    assert len(os.listdir(tmp_path)) == 8
    for value in ("a:b", "a%3Ab", "*", "é?", "..", moment, 3, None):
        assert handler.load_persistence(Portable(value)).data == repr(value)
        assert [hit.load().data for hit in handler.find(a=value)] == [repr(value)]
    assert len(list(handler.load_all(Portable(missing), b=missing))) == 8


def test_a_portable_key_is_read_back():
    """From its text in the name."""

    @persistence_class(portable=True)
    class Moments:
        when: datetime.datetime = field(filename=True)
        name: str = field(filename=True)

    read = reader_of(Moments._ast_persistence_cls_info_.get_field("when"))
    assert read("2023-01-01 12%3A30%3A00") == datetime.datetime(2023, 1, 1, 12, 30)
    assert reader_of(Moments._ast_persistence_cls_info_.get_field("name"))("a%3Ab") == "a:b"


def test_a_portable_class_assigns_numbers(tmp_path):
    """Beside an encoded key."""

    @persistence_class(portable=True)
    class Run:
        a: str = field(filename=True)
        n: int = autoinc_field("#")

    handler = PickleHandler(Run, tmp_path)
    assert [handler.save_persistence(Run("x:y")).n for _ in range(3)] == [0, 1, 2]
    assert sorted(os.listdir(tmp_path)) == [f"cache-Run-x%3Ay-#{n}.pkl" for n in range(3)]


def test_portable_is_inherited():
    """A subclass may turn it off; the base is not changed."""

    @persistence_class
    class Base:
        a: str = field(filename=True)

    @persistence_class(portable=True)
    class Sub(Base):
        b: str = field(filename=True, default="")

    @persistence_class
    class SubSub(Sub):
        pass

    @persistence_class(portable=False)
    class Back(Sub):
        pass

    names = [filename(cls("x:y")) for cls in (Base, Sub, SubSub, Back)]
    assert names == ["cache-Base-x:y", "cache-Sub-x%3Ay-", "cache-SubSub-x%3Ay-", "cache-Back-x:y-"]


@pytest.mark.parametrize("where", ["name", "splitter", "prefix"])
def test_a_portable_class_has_a_portable_name_and_prefixes(where):
    """Others are refused when the class is made."""
    prefix = "a:" if where == "prefix" else ""
    body = {"__annotations__": {"a": str}, "a": field(filename=True, filename_prefix=prefix)}
    arguments = {"name": {"name": "a:b"}, "splitter": {"filename_field_splitter": ":"}, "prefix": {}}[where]
    with pytest.raises(FieldDefinitionError, match=r"portable.*':'"):
        persistence_class(portable=True, **arguments)(type("R", (), body))
    assert persistence_class(**arguments)(type("R", (), dict(body)))


@pytest.mark.skipif(os.name == "nt", reason="there it is refused")
def test_names_that_are_not_portable_give_one_warning(caplog):
    """The names are used as they are."""

    @persistence_class
    class Moment:
        when: datetime.datetime = field(filename=True)

    with caplog.at_level(logging.WARNING, "neuralib.persistence"):
        for minute in range(3):
            name = filename(Moment(datetime.datetime(2023, 1, 1, 12, minute)))
            assert name == f"cache-Moment-2023-01-01 12:0{minute}:00"
        filename(Portable(datetime.datetime(2023, 1, 1, 12, 0)))
    assert len(caplog.records) == 1
    text = caplog.text
    assert all(part in text for part in ("Moment.when", "Windows", "SMB", "cloud", "':'", "portable=True", "filename="))


# ---------------------------------------------------------------------------------------------- texts of equal values


def matching(kind, value, filename=True):
    cls = type("Result", (), {"__annotations__": {"key": kind}, "key": field(filename=filename)})
    return texts_matching(persistence_class(cls)._ast_persistence_cls_info_.get_field("key"), value)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (float, 1, {"1", "1.0"}),
        (float, 1.0, {"1", "1.0"}),
        (float, np.float32(1), {"1", "1.0"}),
        (float, 0.5, {"0.5"}),
        (float, 0, {"0", "0.0", "-0.0"}),
        (float, float("nan"), {"nan"}),
        (float, float("inf"), {"inf"}),
        (float, 2**60, {str(2**60), str(float(2**60))}),
        (float, 2**53 + 1, {str(2**53 + 1)}),
        (float, 10**400, {str(10**400)}),
        (Optional[float], 1, {"1", "1.0"}),
        (float | None, None, {"None"}),
        (int, 1, {"1", "1.0"}),
        (int, 1.5, {"1.5"}),
        (bool, True, {"True", "1", "1.0"}),
        (int, True, {"True", "1", "1.0"}),
        (str, 1, {"1"}),
        (str, "1", {"1"}),
        (float, "1", {"1"}),
        (Any, 1, {"1"}),
        ([int], 1, {"1"}),
        ("NotThere", 1, {"1"}),
        (Literal[1.0], 1, {"1", "1.0"}),
        (tuple[float, float], (0.04, 1), {"(0.04, 1)", "(0.04, 1.0)"}),
        (tuple[float, ...], (1, 2), {"(1, 2)", "(1.0, 2)", "(1, 2.0)", "(1.0, 2.0)"}),
        (list[float], [1], {"[1]", "[1.0]"}),
        (tuple[str, float], ("a", 1), {"('a', 1)", "('a', 1.0)"}),
        (tuple[float, ...], tuple(range(1, 9)), {str(tuple(range(1, 9))), str(tuple(map(float, range(1, 9))))}),
        (str, NFC, {NFC, NFD}),
        (str, NFD, {NFC, NFD}),
        (frozenset, frozenset("ab"), {"frozenset({'a', 'b'})", "frozenset({'b', 'a'})"}),
    ],
)
def test_all_texts_of_an_equal_value(kind, value, expected):
    """Under the annotation: 1 and 1.0 are one float, with two texts."""
    assert matching(kind, value) == expected


def test_texts_of_equal_values_through_a_function():
    """Each text that the function makes of one of them."""
    assert matching(float, 1, filename=lambda value: f"{value}Hz") == {"1Hz", "1.0Hz"}
    assert matching(float, 1, filename=lambda value: f"{value:.2f}") == {"1.00"}
    assert matching(float, 1, filename=lambda value: None if value == 1 else "x") == {None}
    assert matching(float, 1, filename=lambda value: f"{value.bit_length()}") == {"1"}


def test_texts_of_equal_values_in_portable_names():
    """Encoded, and as they were before the class was portable."""
    info = Portable._ast_persistence_cls_info_
    for value, expected in (
        ("x:y", {"x%3Ay", "x:y"}),
        ("x%3Ay", {"x%253Ay"}),
        ("a/b", {"a%2Fb"}),
        ("plain", {"plain"}),
    ):
        assert texts_matching(info.get_field("a"), value) == expected
        assert texts_matching(info.get_field("a"), PurePosixPath(value)) == expected


def test_a_value_without_a_text_has_none_that_match():
    """It is refused, as in a name."""
    with pytest.raises(UnsafeNameError, match="address"):
        matching(Any, function)


@given(
    st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.text(), st.tuples(st.floats(), st.integers()))
)
def test_the_text_of_the_value_itself_always_matches(value):
    """Whatever the annotation."""
    for kind in (float, int, str, Any, tuple[float, float], Optional[bool]):
        cls = persistence_class(type("R", (), {"__annotations__": {"key": kind}, "key": field(filename=True)}))
        declared = cls._ast_persistence_cls_info_.get_field("key")
        found = texts_matching(declared, value)
        assert text_of(declared, value) in found
        read = reader_of(declared)
        for text in found - {None}:
            back = read(text)
            assert back is UNDECIDED or back == value or back != back or str(back) == str(value) or kind is str


@pytest.mark.parametrize("kind", [int, float, str, bool, complex, Any, Optional[float], np.float64], ids=str)
def test_the_texts_of_usual_keys_are_those_of_all(kind, monkeypatch):
    """These are told without looking at the annotation: of a batch, each key of each template is asked for."""
    halves = [0.5, -0.5, 1e-300, 1e15 + 0.5, float("nan"), float("inf"), -0.0, 3.0, 1e16, 1e22]
    ints = [0, 1, -7, True, 2**53 - 1, 2**53, 2**53 + 1, 10**16, 10**17 + 1, 10**400]
    values = [*halves, *ints, "", "a", "1", "1.0", NFC, NFD, None, 2j, np.float64(3), np.int64(3)]
    found = [matching(kind, value) for value in values]
    monkeypatch.setattr(typed, "_more_texts", lambda annotation, value: None)
    assert found == [matching(kind, value) for value in values]


class Sign(enum.StrEnum):
    COLON = "a:b"
    PLAIN = "ab"


class Bits(enum.Flag):
    ONE = 1
    TWO = 2


class Open(enum.StrEnum):
    FIRST = "first"

    @classmethod
    def _missing_(cls, value):
        member = str.__new__(cls, value)
        member._name_, member._value_ = "other", value
        return member


@pytest.mark.parametrize(
    ("value", "loose", "portable"),
    [
        (Colour.RED, "Colour.RED", "Colour.RED"),
        (Sign.PLAIN, "ab", "ab"),
        (Sign.COLON, "a:b", "a%3Ab"),
        (Bits.ONE | Bits.TWO, str(Bits.ONE | Bits.TWO), portable_text(str(Bits.ONE | Bits.TWO))),
        (Open("x:y"), "x:y", "x%3Ay"),
    ],
)
def test_members_of_an_enum_have_the_same_text_again(value, loose, portable):
    """For an Enum whose members all have plain texts, this is remembered; members of another Enum must not match it."""
    for member in [*type(value), value, value]:  # after the first, the Enum is known
        names = filename(Loose(member)), filename(Portable(member))
    assert names == (f"cache-Loose-{loose}", f"cache-Portable-{portable}-%3C%3E")


def test_a_text_that_a_key_holds_many_times_is_not_written_out():
    """A file of some kilobytes could fill the memory so. Such a key has no text, and is refused at once."""
    text, number = "x" * 300_000, 10**4000
    values = [
        [text] * 900,
        (text,) * 900,
        [[text] * 900],
        {1: (text,) * 900},
        [number] * 100_000,
        (number,) * 100_000,
        (decimal.Decimal("1" * 9999),) * 100_000,
        (b"\0" * 9999,) * 10_000,
        (0.1,) * 1_000_000,
    ]
    for value in values:
        tracemalloc.start()
        with pytest.raises(UnsafeNameError, match="longer than any file name"):
            filename(checks.Pair(value, 1))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2_000_000, type(value)
    assert filename(checks.Pair((1, "a", 0.5), [1, "a"])) == "cache-Pair-(1, 'a', 0.5)-[1, 'a']"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (collections.OrderedDict(), "OrderedDict()"),
        (collections.OrderedDict(b=1, a={"y", "x"}), "OrderedDict([('b', 1), ('a', {'x', 'y'})])"),
        ((collections.OrderedDict(a=np.float64(0.5)),), "(OrderedDict([('a', 0.5)]),)"),
    ],
)
def test_the_text_of_an_ordered_dict_is_that_of_every_python(value, text):
    """``repr`` writes another one from Python 3.12 on."""
    assert value_text(value) == text
