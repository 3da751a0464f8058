"""The head of a file shows its fields, without trust, without its class, and without reading its arrays."""

from __future__ import annotations

import codecs
import collections
import datetime
import enum
import gzip
import os
import pickle
import random
import subprocess
import sys
import tracemalloc
from typing import Any

import memory
import numpy as np
import pytest
import test_trust
from checks import Pair, filled
from hypothesis import HealthCheck, given, settings, strategies as st
from test_golden import ENTRIES, expected_of
from zlib_ng import zlib_ng

from neuralib.persistence import (
    ArrayHead,
    CorruptResultError,
    GzipHandler,
    NotAResultError,
    ObjectHead,
    PersistenceError,
    PickleHandler,
    as_dict,
    read_head,
    results_equal,
)
from neuralib.persistence._codecs import frames
from neuralib.persistence._codecs.card import Card
from neuralib.persistence._codecs.pickles import PickleCodec
from neuralib.persistence._equality import same_value
from neuralib.persistence._stores.paths import PATHS


class Colour(enum.Enum):
    RED = 1


class Cyclic:
    def __init__(self):
        self.me = self
        self.data = np.arange(3)


def saved(folder, handler=PickleHandler, **values):
    result = filled(Pair("A00", 1), **values)
    handler(Pair, folder).save_persistence(result)
    return handler(Pair, folder).filepath(result)


def dumped(path, value, protocol=5):
    path.write_bytes(pickle.dumps(value, protocol))
    return path


# ------------------------------------------------------------------------------------------ what a head shows


@given(value=test_trust.plain, protocol=st.integers(0, 5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_head_has_plain_data(tmp_path, value, protocol):
    """The values that pickle loads."""
    path = dumped(tmp_path / "x.pkl", {"key": value, "after": 1}, protocol)
    head = read_head(path)
    assert head.complete
    assert list(head.fields) == ["key", "after"]
    assert type(head.fields["key"]) is type(value)
    assert same_value(head.fields["key"], value)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [parameter for parameter in test_trust.arrays() if isinstance(parameter, np.ndarray)],
    ids=lambda parameter: str(parameter.dtype),
)
def test_a_head_describes_arrays(tmp_path, value, protocol):
    """Shape, dtype, size and order; the values of small ones too."""
    head = read_head(dumped(tmp_path / "x.pkl", {"a": value, "b": "end"}, protocol))
    found = head.fields["a"]
    assert isinstance(found, ArrayHead)
    assert (found.shape, found.dtype, found.size_bytes) == (value.shape, str(value.dtype), value.nbytes)
    assert head.fields["b"] == "end"
    if value.dtype.names is None and not value.dtype.hasobject and value.nbytes <= 4096 and value.flags.forc:
        made = found.to_array()
        assert made.dtype == value.dtype
        assert same_value(made, value)
        assert found.order == ("C" if value.flags.c_contiguous else "F")


@pytest.mark.parametrize("code", "?bhilqBHILQefdgFDG")
def test_a_head_describes_arrays_that_this_package_wrote(tmp_path, code):
    """Small and large, in either order."""
    for order in "CF":
        for shape in ((3, 4), (300, 400)):
            value = np.asarray(np.ones(shape), dtype=code, order=order)
            found = read_head(saved(tmp_path, data=value)).fields["data"]
            assert (found.shape, found.dtype, found.size_bytes) == (shape, str(value.dtype), value.nbytes)
            assert found.order == order
            if shape == (3, 4):
                assert same_value(found.to_array(), value)
            else:
                assert found.to_array() is None


@pytest.mark.skipif(
    sys.version_info < (3, 11, 4), reason="enums were pickled as attributes of their class, not as calls"
)
@pytest.mark.parametrize("handler", [PickleHandler, GzipHandler])
def test_other_objects_are_named_and_not_made(tmp_path, handler):
    """With the arguments that they would be made from."""
    path = saved(
        tmp_path,
        handler,
        c=Colour.RED,
        data=[Cyclic(), {Colour.RED: 2}, np.mean, int, "x" * 100_000, b"y" * 100_000, collections.defaultdict(Cyclic)],
    )
    fields = read_head(path).fields
    assert fields["c"].type_name.endswith("test_heads.Colour")
    assert fields["c"].arguments == (1,)
    cyclic, by_colour, mean, kind, text, content, defaults = fields["data"]
    assert cyclic.type_name.endswith(".Cyclic")
    assert cyclic.fields["me"] is cyclic
    assert cyclic.fields["data"].shape == (3,)
    assert [head.type_name for head in by_colour] == [fields["c"].type_name]
    assert (mean.type_name, mean.arguments) == ("numpy.mean", None)
    assert (kind.type_name, kind.arguments) == ("builtins.int", None)
    assert (text.type_name, text.size_bytes) == ("builtins.str", 100_000)
    assert (content.type_name, content.size_bytes) == ("builtins.bytes", 100_000)
    assert defaults.type_name == "collections.defaultdict"


class Items(list):
    """A list with more attributes."""


class Table(dict):
    """A dict with more attributes."""


@pytest.mark.parametrize("protocol", range(6))
def test_classes_of_containers_show_their_content(tmp_path, protocol):
    """Subclasses of list and dict, in each protocol of pickle."""
    value = {"items": Items([1, np.arange(2)]), "table": Table(a=1), "date": datetime.date(2020, 1, 2)}
    if protocol >= 2:
        value["items"].note = "attribute"
    fields = read_head(dumped(tmp_path / "x.pkl", value, protocol)).fields
    assert isinstance(fields["items"], ObjectHead)
    assert fields["date"] == datetime.date(2020, 1, 2)
    if protocol >= 2:
        assert fields["items"].content[0] == 1
        assert fields["items"].content[1].shape == (2,)
        assert fields["items"].fields == {"note": "attribute"}
        assert fields["table"].content == {"a": 1}


@pytest.mark.parametrize(
    ("folder", "entry"),
    ENTRIES,
    ids=lambda parameter: parameter["file"] if isinstance(parameter, dict) else parameter.name,
)
def test_files_of_the_earlier_implementation_have_heads(folder, entry):
    """Dicts and instances, plain and compressed, written with numpy 1 and 2."""
    head = read_head(folder / entry["file"])
    for name, value in entry["fields"].items() if "fields" in entry else ():
        expected = expected_of(value)
        found = head.fields[name]
        if isinstance(expected, np.ndarray):
            assert (found.shape, found.dtype) == (expected.shape, str(expected.dtype))
            assert same_value(found.to_array(), expected)
        else:
            assert found == expected
    assert len(head.fields) >= 5
    assert head.complete
    assert head.compressed == entry["file"].endswith(".gz")
    assert head.type_name in {None, "legacy_classes.Session"}


def test_a_head_of_a_pickled_instance_names_its_class():
    """The file names the class then."""
    kinds = {read_head(folder / entry["file"]).type_name for folder, entry in ENTRIES}
    assert kinds == {None, "legacy_classes.Session"}


# ------------------------------------------------------------------------------------------ what it costs


def test_large_arrays_are_not_read(tmp_path):
    """Neither in our files nor in plain pickles: it takes the time and memory of a small file."""
    large = np.zeros(2_000_000)
    ours = saved(tmp_path, data=large)
    others = dumped(tmp_path / "x.pkl", {"a": "A00", "data": large, "end": 1})
    del large
    for path in (ours, others):
        read_head(path)
        tracemalloc.start()
        try:
            head = read_head(path)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert head.fields["data"].size_bytes == 16_000_000
        assert head.size_bytes > 16_000_000
        assert peak < 1_000_000


def test_compressed_files_are_read_as_far_as_needed(tmp_path):
    """In pieces, however much they expand to."""
    path = saved(tmp_path, GzipHandler, data=np.zeros(4_000_000))
    assert path.stat().st_size < 1_000_000
    read_head(path)
    tracemalloc.start()
    try:
        assert read_head(path).fields["data"].shape == (4_000_000,)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert read_head(path, ["a", "b"]).fields == {"a": "A00", "b": 1}
    with pytest.raises(CorruptResultError, match="ends too early"):
        read_head(path)


def test_only_the_requested_fields_are_in_a_head(tmp_path):
    """Each complete or not at all. A list that follows them is not read."""
    path = saved(tmp_path, c=("tuple", [1, 2]), data=list(range(3_000_000)))
    head = read_head(path, ["a", "c"])
    assert head.fields == {"a": "A00", "c": ("tuple", [1, 2])}
    assert not head.complete
    assert read_head(path, []).fields == {}
    small = saved(tmp_path, c=None, data=1)
    assert read_head(small, ["b", "no such field"]).fields == {"b": 1}


def test_a_head_ends_before_a_value_that_is_too_large(tmp_path):
    """It has the fields before that."""
    head = read_head(saved(tmp_path, c=2, data=list(range(1_000_000))))
    assert head.fields == {"a": "A00", "b": 1, "c": 2}
    assert not head.complete


def test_no_numpy_is_needed(tmp_path):
    """Neither numpy nor the class, for files that this package wrote."""
    path = saved(tmp_path, data=np.arange(5, dtype="f4"))
    code = f"""
import sys
from neuralib.persistence import read_head
print(read_head({str(path)!r}).fields)
assert "numpy" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'a': 'A00', 'b': 1, 'c': None, 'data': <array 5 float32>}"


# ------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("handler", [PickleHandler, GzipHandler])
def test_damage_shows(tmp_path, handler):
    """Cuts at any place, and files that are empty, missing or no pickle."""
    path = saved(tmp_path, handler, data=np.arange(10))
    content = path.read_bytes()
    pickled = (
        len(content) - 30 if handler is GzipHandler else frames.lengths_of(content)[0]
    )  # after that, a complete pickle remains
    for size in range(0, pickled, 7):
        path.write_bytes(content[:size])
        with pytest.raises(CorruptResultError, match=r"cache-Pair"):
            read_head(path)
    with pytest.raises(FileNotFoundError):
        read_head(tmp_path / "none.pkl")
    with pytest.raises(IsADirectoryError):
        read_head(tmp_path)
    for value in ([1], 3, "text", {1: 2}, Colour):
        with pytest.raises(NotAResultError, match="x.pkl"):
            read_head(dumped(tmp_path / "x.pkl", value))
    for text in (b"text", b"\x1f\x8bno", b"\x80\x05.", b"\x80\x05]", gzip.compress(b"text")):
        (tmp_path / "x.pkl").write_bytes(text)
        with pytest.raises(CorruptResultError):
            read_head(tmp_path / "x.pkl")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_is_no_file(tmp_path):
    """It is refused without waiting for a writer."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CorruptResultError, match="a pipe or a device"):
        read_head(tmp_path / "pipe")


def test_flips_outside_of_arrays_show_in_large_files(tmp_path):
    """What is not array memory has a checksum of its own."""
    path = saved(tmp_path, data=np.arange(100_000))
    good = path.read_bytes()
    for at in (10, 40, 90, len(good) - 30):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(CorruptResultError):
            read_head(path)
    path.write_bytes(good[:400_000] + bytes([good[400_000] ^ 1]) + good[400_001:])
    assert read_head(path).fields["data"].shape == (100_000,)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
def test_hostile_files_run_nothing(tmp_path, monkeypatch, wrapped, compressed):
    """All known attacks by pickle; nothing is imported either."""
    touched = tmp_path / "touched"
    monkeypatch.setattr("builtins.__import__", __import__)
    codecs.lookup("raw_unicode_escape")  # which Python imports for the texts of protocol 0
    count = 0
    for label, data in test_trust.hostile_pickles(touched):
        content = b"\x80\x04}\x8c\x01a" + data.removesuffix(b".") + b"s." if wrapped else data
        path = tmp_path / "x.pkl"
        path.write_bytes(gzip.compress(content) if compressed else content)
        before = set(sys.modules)
        try:
            head = read_head(path)
        except PersistenceError:
            pass
        else:
            repr(head)
            count += 1
        assert not touched.exists(), label
        new = set(sys.modules) - before
        assert not {
            name
            for name in new
            if name.split(".")[0]
            not in {"numpy", "pickletools", "zlib_ng", "decimal", "uuid", "fractions", "pathlib", "_decimal", "numbers"}
        }, label
    assert not wrapped or count > 40


@pytest.mark.parametrize("label", [label for label in test_trust.BOMBS if label not in test_trust.SLOW_BOMBS])
def test_bombs_take_no_memory(label, tmp_path):
    """Lengths beyond the end, numbers that grow, keys that take ages to hash."""
    path = tmp_path / "x.pkl"
    path.write_bytes(test_trust.BOMBS[label])
    tracemalloc.start()
    try:
        try:
            read_head(path)
        except PersistenceError:
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000 + 200 * len(test_trust.BOMBS[label])


TEXT = b"X" + (60_000).to_bytes(4, "little") + b"x" * 60_000
INT = b"\x8b" + (60_000).to_bytes(4, "little") + b"\x01" * 60_000
EXPANDING = {
    "lists": b"]",
    "sets": b"\x8f",
    "marks": b"(",
    "dicts on dicts": b"}]",
    "texts": TEXT,
    "integers": INT,
    "copies of bytes": b"c_codecs\nencode\nq\x00" + TEXT + b"q\x01X\x06\x00\x00\x00latin1q\x02" + b"h\x00h\x01h\x02\x86R" * 3000,
    "copies of lists": b"ccollections\ndeque\nq\x00](" + b"N" * 20_000 + b"eq\x01" + b"h\x00h\x01\x85R" * 3000,
    "arrays": b"cnumpy\nndarray\nq\x00M\x00\x10\x85q\x01X\x03\x00\x00\x00|u1q\x02\x96\x00\x10\x00\x00\x00\x00\x00\x00" + b"x" * 4096 + b"q\x03" + b"h\x00(h\x01h\x02h\x03tR" * 3000,
}  # fmt: skip


def check_what_expands_is_bounded(label, tmp_path):
    """However much a compressed file says. The stress tests try each: writing such a file takes a second."""
    piece = EXPANDING[label]
    path = tmp_path / "x.pkl"
    content = b"\x80\x04}(" + piece * ((20_000_000 if len(piece) < 10 else 100_000_000) // len(piece))
    path.write_bytes(zlib_ng.compress(content, 1, 31))
    code = f"""
import sys; sys.path.insert(0, {os.path.dirname(memory.__file__)!r})
from memory import peak_bytes
from neuralib.persistence import read_head, PersistenceError
import numpy, zlib_ng
start = peak_bytes()
try:
    read_head({str(path)!r})
except PersistenceError as error:
    pass
print(peak_bytes() - start)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 200 << 20


def test_the_repr_of_a_head_is_short(tmp_path):
    """Whatever is in the file: nested lists, long texts, a card of many fields."""
    expanding: list[Any] = [1]
    for _ in range(60):
        expanding = [expanding] * 8
    path = tmp_path / "x.pkl"
    for fields in ({"a": expanding}, {"a": {"\x1b" * 10**5: "x"}}, {f"f{n}": "x" * 9999 for n in range(99)}):
        path.write_bytes(pickle.dumps(fields))
        head = read_head(path)
        with PATHS.open(str(path)) as source:
            texts = [repr(head), repr(PickleCodec().head(source, None))]
        assert all(text.isprintable() and len(text) < 1500 for text in texts), texts
    path.write_bytes(pickle.dumps({"a": np.zeros((2, 3))}))
    assert repr(read_head(path)) == f"<FileHead of {str(path)!r}: {{'a': [0 0 0 0 0 0]}}>"
    card = Card("m", "q" * 10**5, "n", "-", tuple((f"k{n}", "") for n in range(9999)), {})
    assert len(repr(card)) < 1500


# ------------------------------------------------------------------------------------------ anything


def read_or_refuse(path):
    try:
        repr(read_head(path))
        read_head(path, ["a"])
    except PersistenceError as error:
        assert str(path) in str(error)


@test_trust.pytestmark
@given(
    data=st.lists(
        st.sampled_from(test_trust.OPCODES) | st.sampled_from(test_trust.NAMES) | st.binary(max_size=4), max_size=40
    ).map(b"".join),
    start=st.sampled_from([b"", b"\x80\x04}(\x8c\x01a"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_random_instructions_end_in_a_documented_error(tmp_path, data, start):
    """A few of them make a complete head. None causes a crash, a hang or another exception."""
    path = tmp_path / "x.pkl"
    path.write_bytes(start + data + b".")
    read_or_refuse(path)


@test_trust.pytestmark
@given(seed=st.integers(0, 2**32), protocol=st.integers(0, 5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_changed_files_end_in_a_documented_error(tmp_path, seed, protocol):
    """Parts of real files, changed and put together."""
    rng = random.Random(seed)
    fields = {
        "a": "x",
        "b": Colour.RED,
        "c": np.arange(3),
        "d": np.array(["a", None], object),
        "e": Cyclic(),
        "f": np.zeros(2, "M8[s]"),
    }
    data = bytearray(pickle.dumps(fields, protocol))
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(len(data))
        if rng.random() < 0.5:
            data[at] = rng.randrange(256)
        else:
            data[at:at] = rng.choice(test_trust.OPCODES + test_trust.NAMES)
    path = tmp_path / "x.pkl"
    path.write_bytes(data)
    read_or_refuse(path)


@given(
    values=st.tuples(test_trust.plain, test_trust.plain, test_trust.plain),
    handler=st.sampled_from([PickleHandler, GzipHandler]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_heads_agree_with_results(tmp_path, values, handler):
    """Field by field, for all fields and for requested ones."""
    c, data, extra = values
    result = filled(Pair("k", 1), c=c, data=[data, extra])
    path = handler(Pair, tmp_path).filepath(result)
    path.unlink(missing_ok=True)
    handler(Pair, tmp_path).save_persistence(result)
    head = read_head(path)
    loaded = handler(Pair, tmp_path).load_persistence(path)
    assert results_equal(loaded, result)
    assert list(head.fields) == list(as_dict(loaded))
    assert same_value(head.fields, as_dict(loaded))
    assert same_value(read_head(path, ["a", "c"]).fields, {"a": "k", "c": c})
