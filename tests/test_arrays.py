"""Arrays survive saving and loading unchanged, and the file stays a plain pickle."""

from __future__ import annotations

import abc
import collections
import collections.abc
import copyreg
import datetime
import decimal
import enum
import fractions
import functools
import math
import os
import pathlib
import pickle
import pickletools
import re
import subprocess
import sys
import uuid
from typing import Any

import memory
import numpy as np
import pytest
from checks import dumped
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as st_np

ANY_DTYPE = st.one_of(
    st_np.scalar_dtypes(),
    st_np.byte_string_dtypes(),
    st_np.unicode_string_dtypes(),
    st_np.array_dtypes(st_np.scalar_dtypes(), max_size=3),
)
ANY_SHAPE = st_np.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


def assert_same_array(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


@given(st_np.arrays(ANY_DTYPE, ANY_SHAPE), st.sampled_from("CFKA"))
def test_any_array_survives_as_plain_pickle(array, order):
    """Any dtype, shape and memory order. ``pickle.load`` alone reads it, and all that numpy's own pickle keeps is kept."""
    array = np.copy(array, order=order)
    found = pickle.loads(dumped(array))
    plain = pickle.loads(pickle.dumps(array, 5))
    assert_same_array(found, plain)
    for flag in ("c_contiguous", "f_contiguous", "writeable", "aligned"):
        assert getattr(found.flags, flag) == getattr(plain.flags, flag), flag


@given(st_np.arrays(np.float64, (4, 6)), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_views_survive(array, rows, columns, transposed):
    """Strided, reversed and transposed views have the same values."""
    view = array[::-rows, ::columns]
    view = view.T if transposed else view
    assert_same_array(pickle.loads(dumped(view)), np.array(view))


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a", "ccc"]),
        np.array([b"a", b"ccc"]),
        np.array(["2023-01-01", "NaT"], "datetime64[ns]"),
        np.array([1, 2], "timedelta64[s]"),
        np.array([1.5, np.nan], ">f8"),
        np.array([(1, 2.0)], [("x", "i4"), ("y", "f8")]),
        np.array([{"a": 1}, None, [1]], object),
        np.array(3.5),
        np.zeros((0, 3)),
        np.array([1, 2], "f8").view(np.recarray),
        np.ma.masked_array([1, 2], [True, False]),
    ],
    ids=lambda value: f"{type(value).__name__}-{value.dtype}-{value.shape}",
)
def test_special_arrays_survive(array):
    """Arrays that are left to numpy's own pickling."""
    found = pickle.loads(dumped(array))
    assert type(found) is type(array)
    assert found.dtype == array.dtype
    assert found.tolist() == array.tolist() or np.array_equal(found, array, equal_nan=True)


def test_read_only_stays_read_only():
    """As with numpy's own pickles of protocol 5."""
    array = np.arange(3.0)
    array.flags.writeable = False
    assert not pickle.loads(dumped(array)).flags.writeable
    assert pickle.loads(dumped(np.arange(3.0))).flags.writeable


def test_one_array_in_two_fields_stays_one():
    """Identity within a result is data too."""
    array = np.arange(5)
    found = pickle.loads(dumped({"a": array, "b": [array]}))
    assert found["a"] is found["b"][0]


def test_a_cycle_through_an_array_survives():
    """An object array can hold itself."""
    array = np.empty(1, object)
    array[0] = [array]
    found = pickle.loads(dumped(array))
    assert found[0][0] is found


def test_dtype_metadata_survives():
    """numpy's own pickle keeps it too."""
    array = np.zeros(2, np.dtype("f8", metadata={"unit": "mV"}))
    assert pickle.loads(dumped(array)).dtype.metadata == {"unit": "mV"}


@pytest.mark.parametrize("size", [10, 20_000])
def test_the_pickle_names_numpy_ndarray_only(size):
    """No private module of one numpy version is named, so that files travel between numpy 1 and 2."""
    data = dumped({"x": np.arange(size, dtype=float)})
    texts = [argument for _, argument, _ in pickletools.genops(data) if isinstance(argument, str)]
    assert texts == ["x", "numpy", "ndarray", "<f8"]


class _Point:
    def __init__(self, x: int) -> None:
        self.x = x


def test_reducers_registered_with_copyreg_are_used(monkeypatch):
    """A dispatch table of our own would hide copyreg's."""
    monkeypatch.setitem(copyreg.dispatch_table, _Point, lambda point: (complex, (point.x, 0)))
    assert pickle.loads(dumped([_Point(3), np.arange(2)]))[0] == 3 + 0j


class _Meta(type):
    pass


class _WithMeta(metaclass=_Meta):
    pass


class _Colour(enum.Enum):
    RED = 1


class _Reduced:
    """Pickles by ``__reduce__``, the oldest hook."""

    def __reduce__(self):
        return _Reduced, ()


class _Named:
    """Pickles as a global name."""

    def __reduce_ex__(self, protocol):
        assert protocol == 5
        return "NAMED"


class _Made:
    def __getnewargs_ex__(self):
        return (), {}

    def __getstate__(self):
        return {"a": 1}


_Made.__module__ = _Named.__module__ = __name__
NAMED = _Named()


class _Unwilling:
    def __reduce_ex__(self, protocol):
        raise KeyError("mine")


OTHERS = [
    _WithMeta, _WithMeta(), _Meta, abc.ABC, collections.abc.Mapping, _Colour, _Colour.RED, _Reduced(), NAMED, _Made(), len,
    math.sqrt, "a".join, np.float64(1.5), np.int8(3), np.str_("x"), np.dtype("f8"), np.sin,
    datetime.datetime(2020, 1, 1), fractions.Fraction(1, 3), decimal.Decimal("1.5"), pathlib.PurePosixPath("/a"), slice(1, 2),
    collections.OrderedDict(a=1), collections.deque([1]), collections.Counter("ab"), range(3), 1 + 2j, NotImplemented, ...,
    functools.partial(len, "a"), uuid.UUID(int=5), int, type(None), re.compile("a+"), object(), bytearray(b"x"), {1, 2},
]  # fmt: skip


@pytest.mark.parametrize("value", OTHERS, ids=lambda parameter: repr(parameter).partition(" at 0x")[0][:30])
def test_what_is_no_array_is_written_as_any_pickler_does(value):
    """To the byte: the hook that looks at each object must change nothing for other types."""
    dumped(np.arange(2))  # from now on its reducer is remembered
    assert dumped([value, value]) == pickle.dumps([value, value], 5)


def test_a_reducer_registered_later_is_used(monkeypatch):
    """What the pickler remembers of a type does not hide a reducer that is registered after the first pickle."""
    assert isinstance(pickle.loads(dumped([_Point(3), np.arange(2)]))[0], _Point)
    monkeypatch.setitem(copyreg.dispatch_table, _Point, lambda point: (complex, (point.x, 0)))
    assert pickle.loads(dumped([_Point(3), np.arange(2)]))[0] == 3 + 0j


def test_errors_of_objects_are_raised():
    """A KeyError of an object does not mean that its type is unknown."""
    with pytest.raises(KeyError, match="mine"):
        dumped([np.arange(2), _Unwilling()])


def test_large_arrays_are_not_copied(tmp_path):
    """When they are saved or loaded, the peak of memory is the size of the array."""
    code = f"""
import sys; sys.path.insert(0, {os.path.dirname(memory.__file__)!r})
import numpy as np
from memory import peak_bytes as peak
from neuralib.persistence import PickleHandler, persistence_class, field
@persistence_class
class Big:
    a: int = field(filename=True)
    data: object
handler = PickleHandler(Big, {str(tmp_path)!r})
small = Big(0); small.data = np.zeros(10_000); handler.save_persistence(small); handler.load_persistence(small)
start = peak()
big = Big(1); big.data = np.ones(4_000_000)
handler.save_persistence(big)
saved = peak() - start
del big.data
loaded = handler.load_persistence(big)
print(saved / 32e6, (peak() - start) / 32e6, loaded.data.sum())
"""
    if sys.platform == "win32":
        pytest.skip("no peak of memory to be had")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    saved, loaded, total = map(float, done.stdout.split())
    assert total == 4_000_000
    assert 0.9 < saved < 1.1, "the array itself is new memory"
    assert loaded < 1.15


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    "dtype", ["U5", ">U5", "S5", ">i4", ">f8", "g", "G", "V8", [("a", "i4"), ("b", "U3")]], ids=str
)
def test_no_array_names_a_function_that_another_numpy_lacks(dtype, order):
    """numpy 2 would write ``numpy._core.numeric._frombuffer``, which numpy 1 does not have."""
    array = np.zeros((2, 3), dtype, order=order)
    written = dumped({"array": array})
    assert b"numeric" not in written
    found = pickle.loads(written)["array"]
    assert (found.dtype, found.shape, found.flags.f_contiguous) == (array.dtype, array.shape, array.flags.f_contiguous)
    assert found.tobytes() == array.tobytes()
    found[0] = array[0]  # writing is allowed
