"""``results_equal`` and the comparison of keys: which values are equal."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import math
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, strategies as st

from neuralib.persistence import PickleHandler, field, persistence_class, results_equal
from neuralib.persistence._equality import same_value
from neuralib.persistence.cli_persistence import PersistenceOptions

NAN = float("nan")


@dataclasses.dataclass
class Window:
    start: float
    weights: Any
    note: str = dataclasses.field(default="", compare=False)


@dataclasses.dataclass(eq=False)
class Loose:
    weights: Any


@dataclasses.dataclass
class Rounded:
    """Has an ``__eq__`` that compares rounded values."""

    value: float

    def __eq__(self, other):
        return round(self.value) == round(other.value)


@dataclasses.dataclass
class Node:
    value: int
    next: Any = None


class Pair(NamedTuple):
    first: Any
    second: Any


class Own:
    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return isinstance(other, Own) and self.value == other.value


def array(*values):
    return np.array(values)


def nest(depth):
    found = []
    for _ in range(depth):
        found = [found]
    return found


def ring(value):
    found = [value]
    found.append(found)
    return found


def dag(depth):
    found = [NAN]
    for _ in range(depth):
        found = [found, found]
    return found


def chain(length):
    found = None
    for number in range(length):
        found = Node(number, found)
    return found


ALIKE = [
    (lambda: 1, lambda: 2),
    (lambda: NAN, lambda: 1.0),
    (lambda: math.inf, lambda: -math.inf),
    (lambda: "a", lambda: "b"),
    (lambda: None, lambda: 0),
    (lambda: complex(NAN, 1), lambda: 1j),
    (lambda: decimal.Decimal("nan"), lambda: decimal.Decimal(1)),
    (lambda: datetime.date(2020, 1, 2), lambda: datetime.date(2020, 1, 3)),
    (lambda: array(1.0, NAN), lambda: array(1.0, 2.0)),
    (lambda: array(1, 2), lambda: array(1, 2, 3)),
    (lambda: array(1, 1), lambda: np.array(1)),
    (lambda: np.array(["a", "b"]), lambda: np.array(["a", "c"])),
    (lambda: np.array("NaT", "M8[s]"), lambda: np.array("2020", "M8[s]")),
    (lambda: np.array([(1, NAN)], "i4,f8"), lambda: np.array([(1, 2)], "i4,f8")),
    (lambda: np.array([array(1), None], object), lambda: np.array([array(2), None], object)),
    (lambda: np.ma.array([1, 2, 3], mask=[0, 1, 0]), lambda: np.ma.array([1, 2, 3], mask=[0, 1, 1])),
    (lambda: np.ma.array([1, 2, 3], mask=[0, 1, 0]), lambda: np.ma.array([1, 2, 4], mask=[0, 1, 0])),
    (lambda: [array(1, 2)], lambda: [array(1, 3)]),
    (lambda: (array(1, 2), "a"), lambda: (array(1, 2), "b")),
    (lambda: {"a": array(1), "b": [NAN]}, lambda: {"a": array(1), "b": [2.0]}),
    (lambda: {"a": NAN}, lambda: {"b": NAN}),
    (lambda: {float("nan"): 1, 2: 3}, lambda: {float("nan"): 2, 2: 3}),
    (lambda: {(1, float("nan")): array(1)}, lambda: {(2, float("nan")): array(1)}),
    (lambda: {1, float("nan")}, lambda: {1, 2.5}),
    (lambda: frozenset({1, 2}), lambda: frozenset({1, 3})),
    (lambda: collections.OrderedDict(a=array(1)), lambda: collections.OrderedDict(a=array(2))),
    (lambda: collections.UserDict(a=array(1)), lambda: collections.UserDict(a=array(2))),
    (lambda: types.MappingProxyType({"a": array(1)}), lambda: types.MappingProxyType({"a": array(2)})),
    (lambda: collections.deque([array(1)]), lambda: collections.deque([array(2)])),
    (lambda: types.SimpleNamespace(a=array(1, 2)), lambda: types.SimpleNamespace(a=array(1, 3))),
    (lambda: types.SimpleNamespace(a=array(1, 2)), lambda: types.SimpleNamespace(b=array(1, 2))),
    (lambda: Window(NAN, array(1, 2)), lambda: Window(NAN, array(1, 3))),
    (lambda: Window(NAN, {"a": [array(1, 2)]}), lambda: Window(1.0, {"a": [array(1, 2)]})),
    (lambda: Loose(array(1, 2)), lambda: Loose(array(1, 3))),
    (lambda: Pair(array(1, 2), NAN), lambda: Pair(array(1, 3), NAN)),
    (lambda: Own(1), lambda: Own(2)),
    (lambda: ring(NAN), lambda: ring(1.0)),
    (lambda: nest(20_000), lambda: nest(19_999)),
    (lambda: dag(60), lambda: dag(59)),
    (lambda: chain(5_000), lambda: chain(4_999)),
]


@pytest.mark.parametrize(("make", "other"), ALIKE, ids=range(len(ALIKE)))
def test_values_are_equal_if_their_parts_are(make, other):
    """If one part differs, they are unequal, in either order of the two."""
    assert same_value(make(), make())
    assert not same_value(make(), other())
    assert not same_value(other(), make())


def test_dataclass_fields_with_compare_false_are_ignored():
    """As the dataclass says of it."""
    assert same_value(Window(1, array(1), note="a"), Window(1, array(1), note="b"))


def test_eq_of_a_class_is_used():
    """If the class defines one that returns a bool."""
    assert same_value(Rounded(1.1), Rounded(0.9))
    assert not same_value(Rounded(1.1), Rounded(2.9))


def test_if_eq_fails_the_parts_are_compared():
    """If nothing is known of the parts of such a class, the values are unequal, and no error is raised."""
    assert same_value(Rounded(np.array([1, 2])), Rounded(np.array([1, 2]))) is True
    assert same_value(Own(array(1, 2)), Own(array(1, 2))) is False


def test_an_array_is_no_list_and_no_number():
    """They are different keys."""
    for other in ([1, 2], (1, 2), 1, "12", None):
        assert not same_value(array(1, 2), other)
        assert not same_value(other, array(1, 2))
    assert not same_value(np.array(1), 1)


def test_numbers_out_of_range_of_the_other_type_are_unequal():
    """numpy must not warn."""
    assert not same_value(np.float32(0.5), 3.4028235677973366e38)
    assert same_value(np.float32(0.5), 0.5)
    assert same_value(np.float32("nan"), NAN)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.builds(np.array, st.floats()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=2) | st.floats(), inner, max_size=3)
        | st.builds(Window, st.floats(), inner)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=10,
)


@given(values)
def test_a_pickled_copy_is_equal(value):
    """Results are compared after a pickle too."""
    import pickle

    assert same_value(pickle.loads(pickle.dumps(value)), value)


def test_many_threads_compare_at_the_same_time():
    """No state is kept between two comparisons."""

    def right(_):
        return same_value({"a": [array(1, NAN)]}, {"a": [array(1, NAN)]}) and not same_value([array(1)], [array(2)])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(right, range(800)))


# ---------------------------------------------------------------------------------------------- of other libraries


def test_attrs():
    """Classes by attrs, frozen ones with slots too."""
    attrs = pytest.importorskip("attrs")

    @attrs.frozen
    class Setup:
        rate: float
        gains: Any
        note: str = attrs.field(default="", eq=False)

    assert same_value(Setup(NAN, array(1, 2), "a"), Setup(NAN, array(1, 2), "b"))
    assert not same_value(Setup(NAN, array(1, 2)), Setup(NAN, array(1, 3)))


def test_msgspec_and_pydantic():
    """By the fields that these libraries declare."""
    msgspec, pydantic = pytest.importorskip("msgspec"), pytest.importorskip("pydantic")
    struct = msgspec.defstruct("Setup", [("gains", Any)])
    model = pydantic.create_model("Model", gains=(Any, ...))
    for kind in (struct, model):
        assert same_value(kind(gains=array(1, NAN)), kind(gains=array(1, NAN)))
        assert not same_value(kind(gains=array(1, NAN)), kind(gains=array(1, 2)))


def test_astropy():
    """Tables by column, quantities by value and unit."""
    table, units = pytest.importorskip("astropy.table"), pytest.importorskip("astropy.units")

    def make(kind=table.Table, last=3.0, **more):
        return kind({"x": array(1.0, NAN, last), "name": np.array(["a", "b", "c"])}, **more)

    for kind in (table.Table, table.QTable):
        assert same_value(make(kind), make(kind))
        assert not same_value(make(kind), make(kind, last=4.0))
        assert same_value({"t": [make(kind)]}, {"t": [make(kind)]})
    assert not same_value(make(meta={"a": 1}), make(meta={"a": 2}))
    masked, other = make(masked=True), make(masked=True)
    masked["x"].mask = [True, False, False]
    assert not same_value(masked, other)
    other["x"].mask = [True, False, False]
    assert same_value(masked, other)
    quantity = array(1.0, NAN) * units.m
    assert same_value(quantity, array(1.0, NAN) * units.m)
    assert not same_value(quantity, array(2.0, NAN) * units.m)
    assert not same_value(quantity, array(1.0, NAN) * units.s)
    assert same_value(array(1.0, 2.0) * units.km, array(1000.0, 2000.0) * units.m)
    assert same_value(3 * units.m, 3 * units.m)
    assert not same_value(make(), make(table.QTable)["x"])


def test_pint():
    """Quantities of two registries are compared by value: a loaded quantity belongs to the default one."""
    pint = pytest.importorskip("pint")
    one, other = pint.UnitRegistry(), pint.UnitRegistry()
    quantity = one.Quantity(array(1.0, NAN), "Hz")
    assert same_value(quantity, one.Quantity(array(1.0, NAN), "Hz"))
    assert same_value(quantity, other.Quantity(array(1.0, NAN), "Hz"))
    assert not same_value(quantity, one.Quantity(array(2.0, NAN), "Hz"))
    assert not same_value(quantity, other.Quantity(array(2.0, NAN), "Hz"))
    assert not same_value(quantity, one.Quantity(array(1.0, NAN), "m"))
    assert not same_value(one.Quantity(array(1, 1), "Hz"), one.Quantity(1, "Hz"))
    assert same_value(one.Quantity(3, "Hz"), one.Quantity(3, "Hz"))
    assert same_value(one.Quantity(3, "Hz"), other.Quantity(3, "Hz"))
    assert not same_value(one.Quantity(3, "Hz"), 3)


@pytest.mark.parametrize("kind", ["csr_array", "csc_matrix", "coo_array", "lil_matrix", "dok_array", "bsr_array"])
def test_sparse_of_scipy(kind):
    """By their elements, whatever the storage format."""
    make = getattr(pytest.importorskip("scipy.sparse"), kind)
    dense = np.array([[0, 1.0], [NAN, 0]])
    assert same_value(make(dense), make(dense))
    assert not same_value(make(dense), make(np.array([[0, 2.0], [NAN, 0]])))
    assert not same_value(make(dense), make(np.array([[0, 1.0], [0, NAN]])))
    assert not same_value(make(dense), make(dense[:1]))


def test_sparse_of_pydata():
    """By their elements, whatever the storage format."""
    sparse = pytest.importorskip("sparse")
    dense = np.array([[0, 1.0], [NAN, 0]])
    for make in (sparse.COO.from_numpy, sparse.GCXS.from_numpy):
        assert same_value(make(dense), make(dense))
        assert not same_value(make(dense), make(np.array([[0, 2.0], [NAN, 0]])))
        assert not same_value(make(dense), make(dense[:1]))


def test_awkward():
    """Ragged arrays."""
    awkward = pytest.importorskip("awkward")
    one = awkward.Array([[1.0, NAN], [], [3.0]])
    assert same_value(one, awkward.Array([[1.0, NAN], [], [3.0]]))
    assert not same_value(one, awkward.Array([[1.0, NAN], [], [4.0]]))
    assert not same_value(one, awkward.Array([[1.0, NAN], [3.0], []]))
    assert not same_value(awkward.Array([{"x": 1}]), awkward.Array([{"y": 1}]))


@pytest.mark.parametrize("name", ["pandas", "polars", "xarray"])
def test_tables_are_compared_by_their_equals_method(name):
    """They may be parts of other values."""
    library = pytest.importorskip(name)

    def make(last):
        if name == "xarray":
            return library.Dataset({"x": ("t", array(NAN, last))})
        return library.DataFrame({"x": [NAN, last]})

    assert same_value({"a": Window(0, make(1.0))}, {"a": Window(0, make(1.0))})
    assert not same_value({"a": Window(0, make(1.0))}, {"a": Window(0, make(2.0))})


# ---------------------------------------------------------------------------------------------- what it is for


@persistence_class
class Fit:
    window: Window = field(validator=True)
    area: str = field(filename=True)
    table: dict[str, Any]


class Options(PersistenceOptions[Fit]):
    computed = 0

    def __init__(self, folder):
        self.folder = folder

    def empty_cache(self):
        return Fit(Window(NAN, array(1, 2)), "RSC")

    def persistence_handler(self, dest=None):
        return PickleHandler(Fit, self.folder)

    def compute_cache(self, result):
        self.computed += 1
        result.table = {"x": array(1, NAN)}
        return result


def test_a_validated_key_of_parts_is_computed_once(tmp_path):
    """If the ``==`` of a key raises, load_cache must not compute each time."""
    options = Options(tmp_path)
    first = options.load_cache()
    again = options.load_cache()
    assert options.computed == 1
    assert results_equal(first, again)


def test_comparing_loads_no_library():
    """If a library is not imported, there are no values of its types."""
    code = "import sys; from neuralib.persistence._equality import same_value; same_value([1], (2,)); print('numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "False"
