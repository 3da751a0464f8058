"""The compiled functions for pickling arrays and objects, compared with their reference."""

from __future__ import annotations

import copyreg
import datetime
import io
import pickle
import pickletools
import zlib
from decimal import Decimal

import numpy as np
import pytest
import reference
from checks import dumped
from hypothesis import given, strategies as st

from neuralib.persistence import _pickling
from neuralib.persistence._codecs.frames import MAGIC, small_file

BOTH = pytest.mark.parametrize("pickling", [_pickling, reference], ids=["compiled", "reference"])
CODES = {np.dtype(code): code for code in ("<f8", "<i4", "|b1")}


@pytest.fixture(autouse=True)
def _array_codes(monkeypatch):
    """Register the same dtype codes in both. The compiled core keeps them for the life of the process."""
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
    """Return a reduction as comparable data, with buffers by their content."""
    return [bytes(part.raw()) if isinstance(part, pickle.PickleBuffer) else repr(part) for part in reduced[1]]


@pytest.mark.parametrize("number", range(len(ARRAYS)))
def test_reduce_array_agrees_with_the_reference(number):
    """A call of ``numpy.ndarray`` for known dtypes of contiguous arrays, numpy's own reduction for others; the call makes an equal array."""
    array = ARRAYS[number]
    mine, theirs = _pickling.reduce_array(array), reference.reduce_array(array)
    assert mine[0] == theirs[0]
    assert described(mine) == described(theirs)
    if mine[0] is np.ndarray:
        again = mine[0](*mine[1])
        np.testing.assert_array_equal(again, array)
        assert (again.dtype, again.flags.f_contiguous) == (array.dtype, array.flags.f_contiguous)


ALIGNED = np.dtype([("a", "i1"), ("b", "f8")], align=True)
DTYPES = [
    ALIGNED,
    np.dtype([("p", ALIGNED), ("q", "i2", (3,)), ("when", "M8[s]")], align=True),
    np.dtype([("p", ALIGNED), ("q", "i1")]),
    np.dtype([("a", "i1"), ("o", "O")], align=True),
    np.dtype((np.record, ALIGNED)),
    np.dtype([(("title", "a"), "i1"), ("b", "f8")], align=True),
    np.dtype([("a", "i1")], align=True, metadata={"unit": "mV"}),
    np.dtype([], align=True),
    np.dtype([("a", "i1"), ("b", "f8")]),
    np.dtype("V7"),
    np.dtype(("i4", (2,))),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_reduce_dtype_agrees_with_the_reference(dtype):
    """Aligned records are written by a call, without a state, of which numpy 1 and 2 have different forms."""
    mine = _pickling.reduce_dtype(dtype)
    assert repr(mine) == repr(reference.reduce_dtype(dtype))
    again = pickle.loads(dumped(dtype))
    assert (again, again.isalignedstruct, again.type) == (dtype, dtype.isalignedstruct, dtype.type)
    assert (again.alignment, again.metadata, again.fields) == (dtype.alignment, dtype.metadata, dtype.fields)
    if dtype.type is not np.record and dtype in DTYPES[:4]:
        numbers = [argument for _, argument, _ in pickletools.genops(dumped(dtype)) if type(argument) is int]
        assert 144 not in numbers


@given(st.one_of(st.complex_numbers(allow_nan=False), st.dates(), st.decimals(allow_nan=False), st.sets(st.integers())))
def test_reduce_object_agrees_with_the_reference(obj):
    """By the object's own methods."""
    assert repr(_pickling.reduce_object(obj)) == repr(reference.reduce_object(obj)) == repr(obj.__reduce_ex__(5))


@BOTH
def test_reducers_are_ours_then_registered_ones_then_the_objects_own(pickling, monkeypatch):
    """Whenever they were registered. Classes themselves are pickled by name."""
    reducers = pickling.Reducers(copyreg.dispatch_table, lambda _: None)
    table = pickling.FirstChunk(1, io.BytesIO, reducers)
    assert len(reducers) == 0
    assert table[Decimal] is pickling.reduce_object
    registered = lambda value: (Decimal, (str(value),))  # noqa: E731
    monkeypatch.setitem(copyreg.dispatch_table, Decimal, registered)
    assert table[Decimal] is registered
    reducers[Decimal] = str
    assert table[Decimal] is str
    assert len(reducers) == 1
    for kind in (type, type("Meta", (type,), {})):
        with pytest.raises(KeyError):
            table[kind]


def written(pickling, chunks, at_once):
    """Return all that a writer shows after *chunks*, and what its target and the function for large data got."""
    target, large = io.BytesIO(), []

    def write_large(to, data, start):
        large.append((to is target, len(data), start))
        to.write(data)
        return zlib.crc32(data, start)

    writer = pickling.PickleWriter(target, zlib.crc32, write_large, at_once)
    for chunk in chunks:
        writer.write(chunk)
    return writer.held, writer.length, writer.whole, writer.structure, writer.arrays, target.getvalue(), large


MEMORY = np.arange(3.0)
OPCODES = st.sampled_from([b"\x96", b"\x8e", b"B"])
CHUNKS = st.one_of(
    st.binary(max_size=6),
    st.builds(lambda begin, opcode, size: begin + opcode + size, st.binary(max_size=70), OPCODES,
              st.sampled_from([(24).to_bytes(8, "little"), (24).to_bytes(4, "little"), (23).to_bytes(8, "little")])),
    st.sampled_from([pickle.PickleBuffer(MEMORY), pickle.PickleBuffer(MEMORY.reshape(3, 1).T), pickle.PickleBuffer(bytes(24)),
                     bytearray(24), pickle.PickleBuffer(np.zeros((0, 2)))]),
)  # fmt: skip


@given(st.lists(CHUNKS, max_size=7), st.integers(0, 60))
def test_pickle_writer_agrees_with_the_reference(chunks, at_once):
    """It aligns what is announced at the end of the chunk before and is an array, and passes on all else as it is."""
    assert written(_pickling, chunks, at_once) == written(reference, chunks, at_once)


@given(st.lists(st.binary(max_size=6) | st.binary(max_size=6).map(bytearray), max_size=5), st.integers(0, 6))
def test_first_chunk_agrees_with_the_reference(chunks, limit):
    """It keeps one small chunk, and passes on all chunks in order as soon as there are more."""
    outcomes = []
    for pickling in (_pickling, reference):
        rest, begun = io.BytesIO(), []

        def begin_rest(rest=rest, begun=begun):
            begun.append(True)
            return rest

        target = pickling.FirstChunk(limit, begin_rest, pickling.Reducers({}, lambda _: None))
        for chunk in chunks:
            target.write(chunk)
        assert (target.first or b"") + rest.getvalue() == b"".join(chunks)
        outcomes.append((target.first, target.rest is rest, len(begun), rest.getvalue()))
    assert outcomes[0] == outcomes[1]


class Foreign:
    """An object of another package; see :func:`package_of`."""


class Registered(Foreign):
    """An object of another package, whose author registered a reducer for it."""


def package_of(kind):
    return ("lab", "1.0") if issubclass(kind, Foreign) else None


@BOTH
@pytest.mark.parametrize("limit", [4, 1 << 16])
def test_first_chunk_notes_the_packages_of_objects(pickling, limit, monkeypatch):
    """It serves as a table of reducers, with the same answers as the table. Without such objects it notes nothing."""
    monkeypatch.setitem(copyreg.dispatch_table, Registered, lambda value: (Registered, ()))
    reducers = pickling.Reducers(copyreg.dispatch_table, package_of)
    reducers[Decimal] = lambda value: (Decimal, (str(value),))
    plain = [1, "x", Decimal(1), datetime.date(2020, 1, 1), Foreign]
    for value, packages in (
        (plain, None),
        ([plain, Foreign(), Foreign()], {"lab": "1.0"}),
        (Registered(), {"lab": "1.0"}),
    ):
        rest = io.BytesIO()
        target = pickling.FirstChunk(limit, lambda rest=rest: rest, reducers)
        target.dump(value)
        written = rest.getvalue() or target.first or target.noted
        assert target.packages == packages
        small = limit > 4
        assert (target.first is not None, target.noted is not None) == (
            small and not packages,
            small and bool(packages),
        )
        assert type(pickle.loads(written)) is type(value)
    with pytest.raises(KeyError):
        target[type]


def test_packages_of_classes_are_looked_up_once_and_not_remembered_for_ever(monkeypatch):
    """Programs may make classes while they run, so the memory of them is bounded."""
    asked = []
    reducers = _pickling.Reducers({}, lambda kind: asked.append(kind.__name__))
    target = _pickling.FirstChunk(1, io.BytesIO, reducers)
    for _ in range(3):
        for kind in (Foreign, Registered):
            assert target[kind] is _pickling.reduce_object
    assert asked == ["Foreign", "Registered"]
    for number in range(2500):
        assert target[type(f"Made{number}", (), {})] is _pickling.reduce_object
    assert len(asked) == 2502
    assert target[Foreign] is _pickling.reduce_object
    assert asked[2502:] == ["Foreign"], "it was forgotten with the others"


CARD = b'{"class":["lab","Result"]}'
SEAL = CARD + MAGIC


@BOTH
def test_a_content_is_sealed_by_the_card_of_its_class(pickling):
    """As the writer ends it; any other card, length or byte asks for a closer look."""
    content = small_file(pickle.dumps({"a": [1, 2, 3]}, 5), CARD)
    for data in (content, bytearray(content), memoryview(b"x" + content)[1:]):
        assert pickling.is_sealed(data, SEAL, zlib.crc32)
    assert not pickling.is_sealed(content, SEAL.replace(b"lab", b"bal"), zlib.crc32)
    assert not pickling.is_sealed(content, SEAL[1:], zlib.crc32)
    assert not pickling.is_sealed(content, SEAL, lambda data: zlib.crc32(data) ^ 1)
    assert not pickling.is_sealed(b"\x1f" + content[1:], SEAL, zlib.crc32)  # compressed, perhaps
    for size in range(len(content)):
        assert not pickling.is_sealed(content[:size], SEAL, zlib.crc32)
        assert not pickling.is_sealed(content[size + 1 :], SEAL, zlib.crc32)
    for at in range(len(content) - 4):  # the last four bytes are another checksum
        assert not pickling.is_sealed(content[:at] + bytes([content[at] ^ 64]) + content[at + 1 :], SEAL, zlib.crc32)


@given(st.binary(max_size=80), st.binary(max_size=40), st.binary(max_size=20), st.booleans())
def test_is_sealed_agrees_with_the_reference(pickled, card, other, right):
    """Whatever there is."""
    content = small_file(b"\x80" + pickled, card)
    seal = (card if right else other) + MAGIC
    for data in (content, content + other, other + content, other):
        for mark in (seal, other):
            mine = _pickling.is_sealed(data, mark, zlib.crc32)
            assert mine == reference.is_sealed(data, mark, zlib.crc32)


@BOTH
def test_what_is_no_memory_is_not_sealed(pickling):
    """A broken source may give anything."""
    with pytest.raises(TypeError):
        pickling.is_sealed("text", SEAL, zlib.crc32)
    with pytest.raises(RuntimeError):
        pickling.is_sealed(small_file(b"\x80.", CARD), SEAL, _fail)


def _fail(data):
    raise RuntimeError("no checksum today")


def whole(fields, card=CARD):
    return small_file(pickle.dumps(fields, 5), card)


@BOTH
def test_contents_begin_alike_where_their_first_items_are_written_alike(pickling):
    """Whatever follows; values that are parts of others, and names that are texts of the values before, are no end."""
    text = "weights"
    keys = {"animal": "A", "pair": (1, text, [2]), "plane": 3}
    content = whole({**keys, text: b"xyz", "score": 0.5})
    assert pickling.begins_alike(content, content, 3, zlib.crc32)
    assert pickling.begins_alike(whole({**keys, text: [1.5, {"a": {2}}]}), content, 3, zlib.crc32)
    for other in (
        {**keys, "plane": 4},
        {**keys, "pair": (1, text, [3])},
        {**keys, "plane": (3, text)},
        {"animal": "A"},
    ):
        assert not pickling.begins_alike(whole({**other, text: b"xyz", "score": 0.5}), content, 3, zlib.crc32)
    twice = whole({"animal": text, "plane": 3, text: 1})
    assert pickling.begins_alike(whole({"animal": text, "plane": 3, text: 2}), twice, 2, zlib.crc32)
    assert not pickling.begins_alike(whole({"animal": text, "plane": 4, text: 1}), twice, 2, zlib.crc32)
    alone = whole({"animal": "A", "plane": 3})
    assert pickling.begins_alike(alone, alone, 2, zlib.crc32)
    assert pickling.begins_alike(content, whole(keys), 3, zlib.crc32)
    assert not pickling.begins_alike(content, whole(keys), 4, zlib.crc32)
    fewer = whole({"a": [0, 0, 0], "b": [0, 0, 0], "c": [0, 0, 0]})
    assert not pickling.begins_alike(whole({"a": [0, 0, 0], "b": [0, 0, 0], "c": [0, 0, 1]}), fewer, 4, zlib.crc32)


@BOTH
def test_only_whole_contents_with_the_same_card_begin_alike(pickling):
    """Each changed byte and each other length asks for a closer look."""
    content = whole({"a": 1, "b": 2, "c": 3})
    assert not pickling.begins_alike(whole({"a": 1, "b": 2, "c": 3}, CARD + b" "), content, 2, zlib.crc32)
    for at in range(len(content) - 4):
        damaged = content[:at] + bytes([content[at] ^ 64]) + content[at + 1 :]
        assert not pickling.begins_alike(damaged, content, 2, zlib.crc32)
    for size in range(len(content)):
        assert not pickling.begins_alike(content[:size], content, 2, zlib.crc32)
        assert not pickling.begins_alike(content, content[:size], 2, zlib.crc32)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["a", "b", "c"]) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(*[st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), VALUES, max_size=4)] * 2, st.integers(0, 5))
def test_begins_alike_agrees_with_the_reference(fields, others, items):
    """Whatever values there are, once equal and once different; where it says yes, the first items are equal."""
    content = whole(fields)
    for other in (others, {**fields, **others}, {**others, **fields}, fields):
        data = whole(other)
        found = _pickling.begins_alike(data, content, items, zlib.crc32)
        assert found == reference.begins_alike(data, content, items, zlib.crc32)
        if found:
            assert repr(list(other.items())[:items]) == repr(list(fields.items())[:items])


@given(st.binary(max_size=60), st.integers(0, 3))
def test_begins_alike_takes_any_bytes(pickled, items):
    """As a hostile file may have them, with a right checksum."""
    start = b"\x80\x05\x95" + bytes(8) + b"}\x94("
    data = small_file(start + pickled, CARD)
    content = whole({"a": 1, "b": 2})
    found = _pickling.begins_alike(data, content, items, zlib.crc32)
    assert not found or (items < 3 and pickled.startswith(content[14 : 14 + 6 * items]))
