"""What reading a file of unknown origin may cost: memory in proportion to its size, bounded time, and little stack."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import hostile_files
import numpy as np
import pytest
from checks import Pair, filled
from hypothesis import HealthCheck, given, settings, strategies as st

from neuralib.persistence import (
    CorruptResultError,
    GzipHandler,
    KeyMismatchError,
    NotAResultError,
    PersistenceError,
    PickleHandler,
    UntrustedTypeError,
    missing,
    read_head,
    results_equal,
)
from neuralib.persistence._codecs import frames
from neuralib.persistence._equality import same_value
from neuralib.persistence._messages import is_brief, shown
from neuralib.persistence._trust import allowance, plain_data
from neuralib.persistence._trust.untrusted import Reader

REFUSED = (CorruptResultError, UntrustedTypeError, NotAResultError)

OBJECTS = (
    b"\x80\x04cnumpy._core.multiarray\n_reconstruct\nq\x000K\x01\x85q\x020"
    b"cnumpy\ndtype\n\x8c\x02O8\x89\x88\x87R(K\x03\x8c\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tbq\x030"
)
ARRAY = b"h\x00cnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01h\x02h\x03\x89]"  # the start of an array of one object, which follows


def text(count):
    return b"X" + count.to_bytes(4, "little") + b"a" * count


def calls(name, arguments, count):
    """Return a pickle with a list of *count* calls of one function with the same *arguments*, at five bytes each."""
    module, _, function = name.rpartition(".")
    return (
        b"\x80\x04c%b\n%b\nq\x000%bq\x010(" % (module.encode(), function.encode(), arguments)
        + b"h\x00h\x01R" * count
        + b"l."
    )


def integers(count):
    return b"".join(b"J" + value.to_bytes(4, "little") for value in range(count))


def expensive_pickles(count):
    """Return pickles of about *count* instructions that take the most memory or time for their size, by what they hold."""
    long_int = b"\x8b" + (count + 1).to_bytes(4, "little") + b"\xff" * count + b"\x00"
    prime = (1 << 61) - 1
    return {
        "empty sets": b"\x80\x04(" + b"\x8f" * count + b"l.",
        "empty dicts": b"\x80\x04(" + b"}" * count + b"l.",
        "empty lists": b"\x80\x04(" + b"]" * count + b"l.",
        "dicts of one": b"\x80\x04(" + b"}NNs" * (count // 4) + b"l.",
        "sets of one": b"\x80\x04(" + b"\x8f(N\x90" * (count // 4) + b"l.",
        "tuples": b"\x80\x04(" + b"N\x85" * (count // 2) + b"l.",
        "marks": b"\x80\x04" + b"(" * count + b".",
        "memo": b"\x80\x04N" + b"\x94" * count + b".",
        "far memo": b"\x80\x04N"
        + b"".join(b"r" + (7 * number + 5).to_bytes(4, "little") for number in range(count // 5))
        + b".",
        "characters of four bytes": b"\x80\x04(" + b"\x8c\x04\xf0\x9f\x98\x80" * (count // 6) + b"l.",
        "floats": b"\x80\x04(" + b"G12345678" * (count // 9) + b"l.",
        "copies of text": calls("_codecs.encode", text(count) + b"\x8c\x06latin1\x86", count // 5),
        "copies of bytes": calls(
            "builtins.bytearray", b"B" + count.to_bytes(4, "little") + b"a" * count + b"\x85", count // 5
        ),
        "copies of a list": calls("builtins.set", b"(" + integers(count // 5) + b"l\x85", count // 5),
        "copies of a deque": calls("collections.deque", b"(" + integers(count // 5) + b"l\x85", count // 5),
        "deques": calls("collections.deque", b")", count // 5),
        "counters": calls("collections.Counter", b")", count // 5),
        "ordered dicts": calls("collections.OrderedDict", b")", count // 5),
        "paths": calls("pathlib.Path", b"\x8c\x01a\x8c\x01b\x86", count // 5),
        "identifiers": calls("uuid.UUID", b")", count // 5),
        "arrays of many axes": calls("numpy.ndarray", b"(" + b"K\x01" * 32 + b"t\x8c\x02u1C\x01a\x87", count // 5),
        "ranges of long numbers": calls("builtins.range", long_int + b"\x85", count // 5),
        "a long number as a key": b"\x80\x04" + long_int + b"q\x000}" + b"h\x00Ns" * (count // 4) + b".",
        "keys of one hash": b"\x80\x04}("
        + b"".join(b"\x8a\x0c" + (number * prime).to_bytes(12, "little") + b"N" for number in range(1, count // 15))
        + b"u.",
        "lists in lists": b"\x80\x04" + b"]" * count + b"a" * (count - 1) + b".",
        "tuples in tuples": b"\x80\x04)" + b"\x85" * count + b".",
        "namespaces": calls("types.SimpleNamespace", b")", count // 5),
        "namespaces of one state": b"\x80\x04ctypes\nSimpleNamespace\nq\x000}("
        + b"".join(b"X\x04\0\0\0%04dN" % number for number in range(min(2000, count // 100)))
        + b"uq\x010("
        + b"h\x00)Rh\x01b" * (count // 10)
        + b"l.",
        "default dicts in default dicts": b"\x80\x04ccollections\ndefaultdict\nq\x000"
        + b"h\x00)RN" * (count // 6)
        + b"N"
        + b"s" * (count // 6)
        + b".",
        "arrays in arrays": OBJECTS + ARRAY * (count // 50) + b"N" + b"atb" * (count // 50) + b".",
        "the same list many times": b"\x80\x04]q\x000(h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00lq\x000" * (count // 22)
        + b".",
        "tuples as keys that double": b"\x80\x04)" + b"2\x86" * (count // 2) + b"q\x000}h\x00Ns.",
        "tuples as arguments that double": b"\x80\x04cbuiltins\nset\n)" + b"2\x86" * (count // 2) + b"\x85R.",
        "buffers": b"\x80\x05C\x01a(" + b"C\x01a\x98" * (count // 4) + b"l\x86.",
    }


MEASURE = """
import json, sys, time
from neuralib.persistence import PersistenceError, PickleHandler, field, persistence_class
@persistence_class
class Pair:
    a: object = field(filename=True)
    b: object = field(filename=True)
    data: object
import numpy, collections, pathlib, uuid, fractions, pickletools
from zlib_ng import zlib_ng
handler = PickleHandler(Pair, ".", trusted=False)
try: handler.load_persistence(sys.argv[1])
except PersistenceError: pass
sys.path.insert(0, sys.argv[3])
from memory import peak_bytes
before, start = peak_bytes(), time.process_time()
try: found = type(handler.load_persistence(sys.argv[2])).__name__
except PersistenceError as error: found = type(error).__name__ + ": " + str(getattr(error, "problem", ""))[:50]
print(json.dumps([peak_bytes() - before, time.process_time() - start, found]))
"""


def measure(folder, content):
    """Return the memory and time that a process takes to read *content*, and the name of the result or error."""
    (folder / "warm.pkl").write_bytes(pickle.dumps({"a": 1, "b": 2, "data": np.arange(3)}))
    (folder / "x.pkl").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, folder / "warm.pkl", folder / "x.pkl", Path(__file__).parents[1]],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


QUICK = {"empty sets", "copies of text", "arrays in arrays", "keys of one hash", "tuples as arguments that double"}


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is that of Linux")
@pytest.mark.parametrize("kind", expensive_pickles(100))
def test_no_file_takes_more_memory_than_its_allowance(tmp_path, kind, long):
    """Measured in a process of its own: 64 bytes for each byte of the file and 16 MiB, and what Python itself takes."""
    if not long and kind not in QUICK:
        pytest.skip("long form: --long")
    content = expensive_pickles(1_000_000 if long else 200_000)[kind]
    memory, seconds, found = measure(tmp_path, content)
    allowed = allowance.PER_BYTE * len(content) + allowance.BASE_BYTES
    print(f"{kind}: {len(content)} bytes, {memory / len(content):.1f} times, {seconds:.2f} s, {found}")
    assert memory < allowed + (16 << 20) + 2 * len(content)
    assert seconds < 20 + len(content) / 20_000


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is that of Linux")
@pytest.mark.parametrize("writer", ["ours", "bytes", "numpy, protocol 5", "numpy, protocol 4", "numpy, protocol 2"])
def test_large_values_take_twice_their_file_at_most(tmp_path, writer):
    """The value, and the bytes that it is made from. Protocol 2 has no bytes, so there the text for them counts too."""
    array = np.arange(4_000_000.0)
    fields = {"a": 1, "b": 2, "data": array.tobytes() if writer == "bytes" else array}
    if writer == "ours":
        handler = PickleHandler(Pair, tmp_path)
        path = handler.filepath(handler.save_persistence(filled(Pair(1, 2), data=array)))
        content = path.read_bytes()
    else:
        content = pickle.dumps(fields, int(writer[-1]) if "numpy" in writer else 5)
    memory, _, found = measure(tmp_path, content)
    assert found == "Pair"
    assert memory < (2.6 if "2" in writer else 2) * len(content) + (8 << 20)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is that of Linux")
@pytest.mark.parametrize("kind", hostile_files.slow(100))
def test_time_is_in_proportion_to_the_size(tmp_path, kind, long):
    """At most 3 seconds and 20 microseconds for each byte: hashing keys, fractions and views are limited like memory."""
    if not long and kind not in QUICK_TIME:
        pytest.skip("long form: --long")
    content = hostile_files.slow(1_000_000 if long else 100_000)[kind]
    memory, seconds, found = measure(tmp_path, content)
    print(f"{kind}: {len(content)} bytes, {memory >> 20} MiB, {seconds:.2f} s, {found}")
    assert seconds < 3 + 20e-6 * len(content)
    assert memory < allowance.PER_BYTE * len(content) + allowance.BASE_BYTES + (16 << 20) + 2 * len(content)


QUICK_TIME = {"tuples of one hash with long equal beginnings", "fractions with huge terms", "counters of the same keys"}


DEEP = """
import os, sys, threading
import hostile_files
from neuralib.persistence import PersistenceError, PickleHandler, field, persistence_class, read_head
@persistence_class
class Pair:
    a: object = field(filename=True)
    b: object = field(filename=True)
    data: object
def read_all():
    for name, data in hostile_files.deep(int(sys.argv[2])).items():
        path = os.path.join(sys.argv[1], "x.pkl")
        for content in (data, b"\\x80\\x04}(U\\x01aK\\x01U\\x01bK\\x02U\\x04data" + data[2:-1] + b"u."):
            with open(path, "wb") as file:
                file.write(content)
            for read in (PickleHandler(Pair, sys.argv[1], trusted=False).load_persistence, read_head):
                try:
                    read(path)
                except PersistenceError:
                    pass
        print(name)
read_all()
threading.stack_size(1 << 20)
thread = threading.Thread(target=read_all)
thread.start()
thread.join()
"""


@pytest.mark.parametrize("count", [45, 5_000, 200_000])
def test_nested_values_do_not_overflow_the_stack(tmp_path, count, long):
    """When they are made, shown, and freed; also with the smaller stack of a thread."""
    if not long and count == 200_000:
        count = 20_000
    done = subprocess.run(
        [sys.executable, "-c", DEEP, tmp_path, str(count)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == 2 * list(hostile_files.deep(1))


def test_colliding_dict_keys_are_refused_in_time(long):
    """Python compares each with half of the table before it finds a place; see :func:`colliding_keys`."""
    content = colliding_keys(17 if long else 16)
    start = time.process_time()
    try:
        Reader(())(content, ())
    except allowance.AllowanceError:
        pass
    assert time.process_time() - start < 3 + 5e-6 * len(content)


def colliding_keys(bits):
    """Return a pickle of a dict whose integer keys all take the same path through its table of ``2**bits`` places."""
    size, count = 1 << bits, int(0.66 * (1 << bits))
    mask = size - 1
    path, place = [], 1
    for _ in range(count // 2):
        path.append(place)
        place = (5 * place + 1) & mask
    at = np.full(size, -1)
    at[path] = np.arange(len(path))
    keys = np.random.default_rng(0).integers(size, size << 5, 4_000_000)
    place, shift = keys & mask, keys
    met = at[place] >= 0
    for _ in range(bits // 5 + 2):  # until the higher bits of the number have no effect
        shift = shift >> 5
        place = (5 * place + shift + 1) & mask
        met &= at[place] >= 0
    keys = np.unique(keys[met & (at[place] < len(path) // 4)])[: count - len(path) - 10]
    assert len(keys) > 1000
    numbers = [*path, *keys.tolist()]
    return b"\x80\x04}(" + b"".join(b"J" + int(number).to_bytes(4, "little") + b"N" for number in numbers) + b"u."


@pytest.mark.parametrize("kind", expensive_pickles(100))
def test_small_expensive_files_are_refused_in_time(tmp_path, kind):
    """Their heads are read too."""
    path = tmp_path / "x.pkl"
    path.write_bytes(expensive_pickles(3000)[kind])
    start = time.process_time()
    with pytest.raises(PersistenceError):
        PickleHandler(Pair, tmp_path, trusted=False).load_persistence(path)
    try:
        read_head(path)
    except PersistenceError:
        pass
    assert time.process_time() - start < 10


# ------------------------------------------------------------------------------------------ compressed


def bomb(count, content=b"\0"):
    """Return a gzip file that expands to *count* bytes, without making these bytes."""
    target = io.BytesIO()
    with gzip.GzipFile(fileobj=target, mode="wb", mtime=0) as file:
        file.write(b"\x80\x04B" + (count & 0xFFFFFFFF).to_bytes(4, "little"))
        piece = content * (1 << 20)
        for _ in range(count >> 20):
            file.write(piece)
    return target.getvalue()


def test_a_gzip_bomb_is_refused(tmp_path, long):
    """A small file that expands to gigabytes: memory stays within the limit, and ``verify`` needs little."""
    if sys.platform != "linux":
        pytest.skip("the peak of memory is that of Linux")
    content = bomb((10 << 30) if long else (200 << 20))
    memory, seconds, found = measure(tmp_path, content)
    assert "its content is much larger" in found
    assert memory < 2 * allowance.largest_content(len(content)) + (32 << 20)
    assert seconds < 30
    for trusted, problem in (
        (False, CorruptResultError),
        (True, type(None)),
    ):  # with trust, all of it is read, in pieces
        handler = PickleHandler(Pair, tmp_path, trusted=trusted)
        tracemalloc.start()
        try:
            found = next(handler.verify(tmp_path / "x.pkl"))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert isinstance(found.problem, problem)
        assert peak < (160 << 20)


def test_a_bomb_of_many_members_and_one_of_objects(tmp_path):
    """The limit is for the whole file, and not for each member. Unpickling has a limit of its own."""
    small = gzip.compress(bytes(1 << 20), mtime=0)
    path = tmp_path / "x.pkl"
    handler = PickleHandler(Pair, tmp_path, trusted=False)
    path.write_bytes(small * 400)
    assert len(small) * 400 < 1 << 20
    with pytest.raises(CorruptResultError, match="its content is much larger"):
        handler.load_persistence(path)
    path.write_bytes(gzip.compress(b"\x80\x04(" + b"\x8f" * 1_000_000 + b"l.", mtime=0))
    with pytest.raises(CorruptResultError, match="more memory"):
        handler.load_persistence(path)


@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler])
def test_what_compresses_well_still_loads(tmp_path, kind):
    """Masks, zeros and tables of equal records are no attacks."""
    result = filled(Pair(1, 2), data=[np.zeros(8_000_000), np.zeros((1000, 1000), bool), [{"x": 1, "y": 2.5}] * 1000])
    result.data.append([{"x": number % 3, "y": 0.5} for number in range(10_000)])
    kind(Pair, tmp_path).save_persistence(result)
    assert results_equal(kind(Pair, tmp_path, trusted=False).load_persistence(Pair(1, 2)), result)


# ------------------------------------------------------------------------------------------ memory that is another's


def test_no_array_shares_memory_with_objects():
    """Otherwise integers could be written where Python expects pointers to objects."""
    inner = ARRAY + b"Natbq\x040"
    whole = OBJECTS + inner + b"cnumpy\nndarray\n(h\x02\x8c\x02i8h\x04tR."
    assert pickle.loads(whole).dtype == np.int64  # pickle itself allows that
    with pytest.raises(ValueError, match="an array of arguments that don't fit"):
        Reader(())(whole, ())
    for buffer in (b"cnumpy\nndarray\n(K\x01\x85\x8c\x02u1C\x01atR\x98", b"h\x04\x98"):
        with pytest.raises(ValueError, match=r"takes a ndarray for a buffer"):
            Reader(())(OBJECTS + inner + buffer + b".", ())


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is that of Linux")
def test_deep_arrays_are_refused_before_the_stack_overflows(tmp_path):
    """They are freed recursively. In a process of its own, which would crash if they were not refused."""
    for kind in ("arrays in arrays", "default dicts in default dicts"):
        _, _, found = measure(tmp_path, expensive_pickles(150_000)[kind])
        assert found.startswith(
            ("CorruptResultError: ValueError: it has more than", "CorruptResultError: AllowanceError")
        )


@pytest.mark.parametrize("levels", [1, 10, 40])
def test_arrays_in_arrays_load(levels):
    """Other programs store cells so."""
    value = np.array([1.5, None], dtype=object)
    for _ in range(levels):
        outer = np.empty(2, dtype=object)
        outer[0], outer[1] = value, [value]
        value = outer
    found = Reader(())(pickle.dumps(value), ())
    for _ in range(levels):
        assert found[0] is found[1][0]
        found = found[0]
    assert found.tolist() == [1.5, None]


def test_invalid_characters_and_times_are_refused():
    """Arrays of text and dates are made of bytes, some of which mean nothing."""
    for data in (
        pickle.dumps(np.array(["ab"])).replace(b"a\0\0\0", b"a\0\xff\xff"),
        pickle.dumps(np.str_("ab")).replace(b"a\0\0\0", b"a\0\xff\xff"),
        b"\x80\x04cdatetime\ndatetime\nC\x0a\x07\xe4\x01\x01\xff\xff\xff\x00\x00\x00\x85R.",
        b"\x80\x04cdatetime\ntime\nC\x06\xff\xff\xff\x00\x00\x00\x85R.",
        pickle.dumps(("x", np.zeros(3, "V4"))).replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85"),
    ):
        with pytest.raises(ValueError, match=r"."):
            Reader(())(data, ())


def test_functions_and_classes_never_become_values():
    """Neither in a list, nor in a tuple of arguments, nor as an object that gets a state."""
    for data in (
        b"\x80\x04cbuiltins\nset\nq\x00)Rh\x00\x86.",
        b"\x80\x04cbuiltins\nset\n\x85q\x000]h\x00a.",
        b"\x80\x04cbuiltins\nset\n\x85\x85.",
        b"\x80\x04}\x8c\x01acbuiltins\nset\ns.",
        b"\x80\x04(cbuiltins\nset\nl.",
        b"\x80\x04(cbuiltins\nset\n\x91.",
        b"\x80\x04}cbuiltins\nset\nNs.",
        b"\x80\x04cbuiltins\nset\n}b.",
        b"\x80\x04cuuid\nUUID\n)R\x85.",
        b"\x80\x04cuuid\nUUID\n)R.",
    ):
        with pytest.raises(UntrustedTypeError):
            Reader([hostile_files.Thing])(data, ())
        with pytest.raises(UntrustedTypeError):
            Reader([hostile_files.Thing])(data.replace(b"builtins\nset", b"hostile_files\nThing"), ())


def test_the_memo_works_as_in_pickle():
    """Entries in order, out of order, overwritten, and with huge numbers."""
    for body in (b"Nq\x05K\x01q\x00h\x05h\x00\x86", b"K\x01r\x00\x01\x00\x00\x94\x940K\x02q\x01h\x01j\x00\x01\x00\x00\x86",
                 b"K\x01\x94K\x02\x94K\x03q\x00h\x00h\x01\x86", b"K\x07q\x02K\x08\x94K\x09\x94K\x0a\x94h\x02h\x01\x86"):  # fmt: skip
        data = b"\x80\x04(" + body + b"l."
        assert Reader(())(data, ()) == pickle.loads(data)
    for body in (b"Np-1\n", b"g-1\n", b"Nq\x00g1\n"):
        with pytest.raises(ValueError, match=r"place -1|does not have"):
            Reader(())(b"\x80\x04" + body + b".", ())


# ------------------------------------------------------------------------------------------ what only expands when walked


def list_of_lists(levels=60):
    """Return a list that holds another list eight times, and so on: a hundred bytes in a file, 8**60 values if written out."""
    value: list = []
    for _ in range(levels):
        value = [value] * 8
    return value


def test_huge_nested_lists_are_not_written_out(tmp_path):
    """Neither to compare keys, nor in messages, nor to check the types of values."""
    handler = PickleHandler(Pair, tmp_path, trusted=False)
    path = handler.filepath(Pair("a", "b"))
    for field in ("a", "data", "c"):
        path.write_bytes(pickle.dumps({"a": "a", "b": "b", "c": None, "data": 1} | {field: list_of_lists()}))
        if field == "a":
            with pytest.raises(KeyMismatchError, match="<list of many values>"):
                handler.load_persistence(Pair("a", "b"))
            assert list(handler.load_all(a=missing, b="b")) == []
        else:
            assert handler.load_persistence(Pair("a", "b")).a == "a"
            assert len(list(handler.load_all(a=missing, b="b"))) == 1
        assert [check.problem for check in handler.verify()] == [None]  # huge keys are not compared
    path.write_bytes(pickle.dumps(list_of_lists()))
    with pytest.raises(NotAResultError):
        handler.load_persistence(path)
    assert shown(list_of_lists()) == "<list of many values>"
    assert not is_brief({"x": (np.array([None, list_of_lists()], object),)})
    assert is_brief([1, [2, {"a": (3,)}]])


# ------------------------------------------------------------------------------------------ random changes


@pytest.fixture(scope="module")
def seeds():
    """Made before anything is drawn, since some hold random numbers."""
    return hostile_files.real_pickles()


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
@given(reader=st.sampled_from(hostile_files.READERS), data=st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_changed_files_end_in_a_documented_error_or_data(seeds, reader, data):
    """Files that were cut, spliced or flipped, with every reader."""
    whole = changed(data, seeds)
    if reader == "compressed":
        whole = gzip.compress(whole, 1, mtime=0)
    assert hostile_files.forbidden_types(hostile_files.read_or_error(reader, whole)) == []


def changed(data, seeds, least=1):
    """Return one of *seeds* with at least *least* changes, and few."""
    content = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(least, 6))):
        at = data.draw(st.integers(0, len(content)))
        how = data.draw(st.integers(0, 3))
        if how == 0:
            content[at : at + 1] = data.draw(st.binary(max_size=3))
        elif how == 1:
            del content[at : at + data.draw(st.integers(1, 40))]
        elif how == 2:
            other = data.draw(st.sampled_from(seeds))
            start = data.draw(st.integers(0, len(other)))
            content[at:at] = other[start : start + data.draw(st.integers(1, 60))]
        elif at < len(content):
            content[at] ^= 1 << data.draw(st.integers(0, 7))
    return bytes(content)


class HarmlessUnpickler(pickle.Unpickler):
    """Python's unpickler, which finds harmless names alone."""

    modules = ("collections", "datetime", "decimal", "fractions", "uuid", "pathlib", "hostile_files")
    functions = ("builtins.set", "builtins.frozenset", "builtins.complex", "builtins.bytearray", "builtins.list", "builtins.int",
                 "builtins.object", "_codecs.encode", "copyreg._reconstructor", "types.SimpleNamespace")  # fmt: skip

    def find_class(self, module, name):
        module = plain_data.RENAMED_MODULES.get(module, module)
        of_module = module in self.modules and f"{module}.{name}" in {*plain_data.TABLE, *hostile_files.READER.admitted}
        if of_module or f"{module}.{name}" in self.functions:
            return super().find_class(module, name)
        raise LookupError(name)


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
@given(data=st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_read_is_what_python_reads(seeds, data):
    """A file must not have another meaning for whoever loads it with trust."""
    shared = ["x"]
    numbers = [1, 70_000, -1, 2**70, -(2**70), True, False, None, 1.5, 2j]
    plain = [numbers, "\xe9", b"b", (1, 2, 3), shared, {"a": shared}, {"b": {3}}, []]
    plain_seeds = [pickle.dumps(plain, protocol) for protocol in range(6)]
    whole = changed(data, [*plain_seeds * 4, *(seed for seed in seeds if b"numpy" not in seed)], least=0)
    found = hostile_files.read_or_error("pickle", whole)
    if isinstance(found, hostile_files.ALLOWED):
        return
    try:
        expected = HarmlessUnpickler(io.BytesIO(whole)).load()
    except (LookupError, MemoryError):  # a name that was not tried; a memo of a size that was not needed
        return
    assert type(found) is type(expected)
    assert same_parts(found, expected)


def same_parts(found, expected):
    """Return whether two values are the same, and the attributes of the objects in them."""
    if isinstance(found, (hostile_files.Thing, list, tuple)):
        parts = (vars(found), vars(expected)) if isinstance(found, hostile_files.Thing) else (found, expected)
        mine, theirs = (list(part.items()) if isinstance(part, dict) else list(part) for part in parts)
        return type(found) is type(expected) and len(mine) == len(theirs) and all(map(same_parts, mine, theirs))
    return repr(found) == repr(expected) or same_value(found, expected)


def test_the_unchanged_files_are_read():
    """Otherwise changing them would prove little."""
    for content in hostile_files.real_pickles():
        for reader in hostile_files.READERS:
            data = gzip.compress(content) if reader == "compressed" else content
            found = hostile_files.read_or_error(reader, data)
            assert not isinstance(found, Exception), (reader, found)
            assert hostile_files.forbidden_types(found) == []


def test_lengths_beyond_the_file_are_no_crash(tmp_path):
    """Whatever lengths it claims, also for the trusted reader, which skips the large arrays."""
    content = bytearray(hostile_files.pickle_with_large_array(5000))
    headers = [at for at in range(len(content)) if content[at] in (0x95, 0x96, 0x8E, 0x42, 0x43)][:40]
    for at in headers:
        for size in (0, 1, 24, 4999, 5001, 1 << 20, 1 << 40, (1 << 63) - 1, (1 << 64) - 1):
            changed = bytes(content[: at + 1]) + size.to_bytes(8, "little") + bytes(content[at + 9 :])
            for reader in hostile_files.READERS:
                assert hostile_files.forbidden_types(hostile_files.read_or_error(reader, changed)) == []
    assert frames.ALIGNMENT == 64
