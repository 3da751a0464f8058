"""What a pickler calls for arrays and objects, and writes to: the compiled core and its reference do the same."""

from __future__ import annotations

import copyreg
import io
import pickle
from decimal import Decimal

import numpy as np
import pytest
import reference
from hypothesis import given, strategies as st

from neuralib.persistence import _pickling

BOTH = pytest.mark.parametrize("pickling", [_pickling, reference], ids=["compiled", "reference"])
CODES = {np.dtype(code): code for code in ("<f8", "<i4", "|b1")}


@pytest.fixture(autouse=True)
def _array_codes(monkeypatch):
    """Let both know the same codes; the compiled core keeps them for the whole process."""
    monkeypatch.setattr(reference, "ARRAY_CODES", {})
    for pickling in (_pickling, reference):
        pickling.know_array_codes(CODES)


ARRAYS = [
    np.arange(6.0).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(12.0)[::2],
    np.zeros((0, 3), "<i4"),
    np.array(5.0),
    np.array([True, False]),
    np.arange(3, dtype=">f8"),
    np.array(["a", None], dtype=object),
    np.zeros(2, np.dtype("<f8", metadata={"unit": "mV"})),
    np.zeros(2, [("a", "<f8")]),
]


def described(reduced):
    """What a reduction says, buffers by their content."""
    return [bytes(part.raw()) if isinstance(part, pickle.PickleBuffer) else repr(part) for part in reduced[1]]


@pytest.mark.parametrize("number", range(len(ARRAYS)))
def test_reduce_array_agrees_with_the_reference(number):
    """A plain call for known dtypes in one piece, numpy's own way for others; the call makes the array again."""
    array = ARRAYS[number]
    mine, theirs = _pickling.reduce_array(array), reference.reduce_array(array)
    assert mine[0] == theirs[0]
    assert described(mine) == described(theirs)
    if mine[0] is np.ndarray:
        again = mine[0](*mine[1])
        np.testing.assert_array_equal(again, array)
        assert (again.dtype, again.flags.f_contiguous) == (array.dtype, array.flags.f_contiguous)


@given(st.one_of(st.complex_numbers(allow_nan=False), st.dates(), st.decimals(allow_nan=False), st.sets(st.integers())))
def test_reduce_object_agrees_with_the_reference(obj):
    """As objects say it themselves."""
    assert repr(_pickling.reduce_object(obj)) == repr(reference.reduce_object(obj)) == repr(obj.__reduce_ex__(5))


@BOTH
def test_reducers_are_ours_then_registered_ones_then_the_objects_own(pickling, monkeypatch):
    """Whenever they were registered; classes themselves are written by name."""
    reducers = pickling.Reducers(copyreg.dispatch_table)
    assert len(reducers) == 0
    assert reducers[Decimal] is pickling.reduce_object
    registered = lambda value: (Decimal, (str(value),))  # noqa: E731
    monkeypatch.setitem(copyreg.dispatch_table, Decimal, registered)
    assert reducers[Decimal] is registered
    reducers[Decimal] = str
    assert reducers[Decimal] is str
    assert len(reducers) == 1
    for kind in (type, type("Meta", (type,), {})):
        with pytest.raises(KeyError):
            reducers[kind]


@given(st.lists(st.binary(max_size=6) | st.binary(max_size=6).map(bytearray), max_size=5), st.integers(0, 6))
def test_first_chunk_agrees_with_the_reference(chunks, limit):
    """It holds one small piece, and passes on all pieces, in order, once there is more."""
    outcomes = []
    for pickling in (_pickling, reference):
        rest, begun = io.BytesIO(), []

        def begin_rest(rest=rest, begun=begun):
            begun.append(True)
            return rest

        target = pickling.FirstChunk(limit, begin_rest)
        for chunk in chunks:
            target.write(chunk)
        assert (target.first or b"") + rest.getvalue() == b"".join(chunks)
        outcomes.append((target.first, target.rest is rest, len(begun), rest.getvalue()))
    assert outcomes[0] == outcomes[1]
