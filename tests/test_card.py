"""The card, by which a file describes itself, is data: if it is damaged or false, each way of reading says so, and takes little memory."""

from __future__ import annotations

import contextlib
import json
import pickle
import tracemalloc
import zlib

import hostile_files
import numpy as np
import pytest
from checks import Pair, filled
from hypothesis import given, strategies as st

from neuralib.persistence import CorruptResultError, GzipHandler, PickleHandler, load, read_head
from neuralib.persistence._bytes.sources import BytesSource
from neuralib.persistence._codecs import frames
from neuralib.persistence._codecs.card import LARGEST_CARD, parse_card
from neuralib.persistence._codecs.pickles import PickleCodec
from neuralib.persistence._stores.base import MemoryDraft

SIZES = {"small": 10, "whole": 20_000, "large": 300_000}


WAYS = {
    "trusted": lambda path: load(Pair, path),
    "not trusted": lambda path: load(Pair, path, trusted=False),
    "head": read_head,
    "mapped": lambda path: load(Pair, path, mmap_mode="r"),
    "mapped, not trusted": lambda path: load(Pair, path, mmap_mode="c", trusted=False),
}


@pytest.fixture(autouse=True, scope="module")
def what_reading_imports(tmp_path_factory):
    """Import it before memory is counted, whichever test is the first."""
    path = PickleHandler(Pair, tmp_path_factory.mktemp("intact")).filepath(Pair(1, "x"))
    for size in SIZES.values():
        content(path.parent, size)
        data = path.read_bytes()
        for each in (data, zlib.compress(data, 1, 31)):
            path.write_bytes(each)
            for read in WAYS.values():
                with contextlib.suppress(ValueError):  # a compressed file can't be mapped
                    read(path)
        path.unlink()


def content(folder, size):
    """Return the pickle and the card of a file with two arrays of *size* numbers."""
    handler = PickleHandler(Pair, folder)
    result = handler.save_persistence(filled(Pair(1, "x"), data=[np.arange(float(size)), np.arange(float(size)) + 1]))
    data = handler.filepath(result).read_bytes()
    pickled, card = frames.lengths_of(data)
    return data[:pickled], json.loads(data[pickled : pickled + card])


def check_refused(folder, pickled, card, *, gzipped=True):
    """Check that each way of reading refuses a file of *pickled* and *card* with correct checksums, and takes little memory."""
    card = card if isinstance(card, bytes) else json.dumps(card, separators=(",", ":")).encode()
    try:
        places = parse_card(card, len(pickled)).arrays
    except ValueError:
        places = ()
    whole = hostile_files.with_card_and_end(pickled, card, list(places))
    path = PickleHandler(Pair, folder).filepath(Pair(1, "x"))
    for data in (whole, zlib.compress(whole, 1, 31)) if gzipped else (whole,):
        path.write_bytes(data)
        for way, read in WAYS.items():
            if data is not whole and way == "head" and len(whole) >= frames.AT_ONCE:
                continue  # this package compresses large files in several parts; in others, the end is not looked for
            tracemalloc.start()
            try:
                with pytest.raises(CorruptResultError) as caught:
                    read(path)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert str(path) in str(caught.value), way
            assert peak < 6_000_000 + 4 * len(whole), way
    path.write_bytes(whole)
    assert isinstance(next(PickleHandler(Pair, folder).verify(path)).problem, CorruptResultError)


NOT_CARDS = {
    "nothing": b"",
    "no JSON": b"{",
    "no text": b"\xff\xfe",
    "a list": b"[]",
    "a number": b"1",
    "an empty object": b"{}",
    "many levels": b"[" * 100_000 + b"]" * 100_000,
    "a number without end": b"1" * 100_000,
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", NOT_CARDS)
def test_what_is_no_card_is_refused(tmp_path, kind, size):
    """A correct checksum does not make it a card."""
    pickled, _ = content(tmp_path, SIZES[size])
    check_refused(tmp_path, pickled, NOT_CARDS[kind], gzipped=size == "small")


CHANGES = {
    "a class that is a text": {"class": "x"},
    "a class of numbers": {"class": [1, 2]},
    "a name that is none": {"name": None},
    "a key that does not exist": {"keys": [["nobody", ""]]},
    "a prefix that is a number": {"keys": [["a", 1]]},
    "fields in a list": {"fields": ["a", "b"]},
    "an annotation that is a list": {"fields": {"a": []}},
    "very many fields": {"fields": {str(n): "" for n in range(10_001)}},
    "a key name that does not exist": {"key_names": ["nobody"]},
    "a unit of nothing": {"units": {"nobody": "Hz"}},
    "a description that is none": {"descriptions": {"a": 1}},
    "a negative version": {"version": -1},
    "a version that is a truth": {"version": True},
    "a number that does not exist": {"numbered": "data"},
    "a function of nothing": {"function_keys": ["nobody"]},
}


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("change", CHANGES)
def test_cards_with_invalid_members_are_refused(tmp_path, change, size):
    """Each member of the card is checked."""
    pickled, card = content(tmp_path, SIZES[size])
    check_refused(tmp_path, pickled, card | CHANGES[change], gzipped=size == "small")


def false_places(places, end):
    """Yield false offsets and sizes of the arrays, as a card may have them."""
    (begin, start, size, writable, shape, dtype), second = places
    first = places[0]
    for at, values in enumerate(
        [(begin - 1, begin + 1, -1), (start + 1, 1 << 70, 0), (size - 1, size + 8, 1 << 62, 1.5)]
    ):
        for value in values:
            yield [[*first[:at], value, *first[at + 1 :]], second]
    yield [[begin, start, size, 1 - writable, shape, dtype], second]
    yield [second, first]
    yield [first, first]
    yield [[begin, start, size, writable, shape, 5], second]
    yield [[begin, start, size, writable, "ab", dtype], second]
    yield [first[:5], second]
    yield [first, [second[0], second[1], end, *second[3:]]]
    yield 7
    yield [first, second, second]


@pytest.mark.parametrize("size", ["whole", "large"])
def test_arrays_that_are_not_where_the_card_says_are_refused(tmp_path, size):
    """Beyond the end, one in another, missing in the card, or of another size."""
    pickled, card = content(tmp_path, SIZES[size])
    for places in false_places(card["arrays"], len(pickled)):
        check_refused(tmp_path, pickled, card | {"arrays": places}, gzipped=False)


@pytest.mark.parametrize("size", [70_000, 2_000_000])
def test_arrays_within_other_values_are_refused(tmp_path, size):
    """A reader that maps the file and one that reads it from start to end must get the same values."""
    _, card = content(tmp_path, 10)
    inner = hostile_files.pickle_with_large_array(size)
    pickled = pickle.dumps({"a": 1, "b": "x", "c": None, "data": [inner, bytes(size)]}, 5)
    places = [
        [*place[:3], int(place.writable), list(place.shape), place.dtype]
        for place in hostile_files.apparent_arrays(pickled)
    ]
    assert len(places) == 1
    check_refused(tmp_path, pickled, card | {"arrays": places}, gzipped=False)


def test_large_cards_are_refused(tmp_path):
    """If the file is read in parts, before the card is read."""
    pickled, card = content(tmp_path, 300_000)
    check_refused(tmp_path, pickled, card | {"arrays": [], "x": "y" * LARGEST_CARD * 20}, gzipped=False)


def test_unknown_members_of_a_card_are_ignored(tmp_path):
    """A later version may write more."""
    pickled, card = content(tmp_path, 10)
    path = PickleHandler(Pair, tmp_path).filepath(Pair(1, "x"))
    path.write_bytes(hostile_files.with_card_and_end(pickled, json.dumps(card | {"later": [1]}).encode()))
    assert load(Pair, path).a == 1
    assert read_head(path).card.class_name == "checks:Pair"


@pytest.mark.parametrize("handler_class", [PickleHandler, GzipHandler])
def test_files_written_by_a_codec_alone_have_no_class(tmp_path, handler_class):
    """They load as the result of any class that has their fields, and a result of such a class may replace them."""
    handler = handler_class(Pair, tmp_path)
    result = filled(Pair(1, "x"), data=[1, 2])
    draft = MemoryDraft()
    PickleCodec().encode({"a": 1, "b": "x", "c": None, "data": [1, 2]}, draft)
    path = handler.filepath(result)
    path.write_bytes(draft.content())
    assert handler.load_persistence(path).data == [1, 2]
    assert read_head(path).card is None
    handler.save_persistence(result)
    assert read_head(path).card.class_name == "checks:Pair"


@given(st.recursive(st.none() | st.integers() | st.text() | st.booleans() | st.floats(), lambda values: st.lists(values) | st.dictionaries(
    st.sampled_from(["class", "name", "splitter", "keys", "fields", "key_names", "version", "units", "numbered", "arrays"]), values)))  # fmt: skip
def test_any_card_is_read_or_refused(value):
    """A card, or one kind of error."""
    whole = hostile_files.with_card_and_end(b"\x80\x05}.", json.dumps(value).encode())
    try:
        PickleCodec().load(BytesSource(whole))
    except ValueError as error:
        assert "card is damaged" in str(error)
