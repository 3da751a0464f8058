"""The file of a result: plain pickle for others; for us, arrays that need no copy and damage that shows."""

from __future__ import annotations

import os
import pickle
import pickletools
import sys

import memory
import numpy as np
import pytest
from checks import Pair, check_round_trip, filled
from hypothesis import given, settings, strategies as st

from neuralib.persistence import CorruptResultError, GzipHandler, PickleHandler, _disk, load, results_equal, save
from neuralib.persistence._bytes import checksums, pread
from neuralib.persistence._codecs import framed_reader, frames

LARGE = 100_000


@pytest.fixture(autouse=True, params=["whole", "hopping", "hopping by seeking"])
def way(request, monkeypatch):
    """Files of up to a megabyte are read as a whole; here as larger ones are, too, and as on systems with fewer calls."""
    if request.param != "whole":
        monkeypatch.setattr(PickleHandler, "_spare", None)
    if request.param == "hopping by seeking":
        monkeypatch.setattr(framed_reader, "BY_PARTS", None)
        monkeypatch.setattr(pread, "_pread", pread._pread_by_seeking)
        monkeypatch.setattr(pread, "_preadv", pread._preadv_by_seeking)
        monkeypatch.setattr(_disk, "read_small", lambda *_: None)


def values():
    """One value of each kind that is large enough to stand between the frames, and some that are not."""
    readonly = np.arange(LARGE)
    readonly.flags.writeable = False
    shared = np.arange(LARGE, dtype=np.int16)
    return {
        "array": np.arange(LARGE, dtype=float),
        "fortran": np.asfortranarray(np.arange(LARGE).reshape(100, -1)),
        "read-only": readonly,
        "small": np.arange(10.0),
        "strided": np.arange(2 * LARGE)[::2],
        "bytes": b"x" * LARGE,
        "bytearray": bytearray(b"y" * LARGE),
        "text": "z" * LARGE,
        "numbers": list(range(LARGE)),
        "several": [np.arange(LARGE), b"between" * LARGE, np.arange(LARGE, dtype=np.float32), "end"],
        "twice": [shared, shared],
        "huge": np.arange(3_000_000),
        "structured": np.zeros(LARGE, dtype=[("a", "i4"), ("b", "f8")]),
        "dates": np.arange(LARGE).astype("M8[s]"),
        "masked": np.ma.masked_array(np.arange(LARGE), mask=np.arange(LARGE) % 2 == 0),
        "buffer": pickle.PickleBuffer(b"q" * LARGE),
    }


def same(a, b):
    if isinstance(a, pickle.PickleBuffer):
        return bytes(a) == bytes(b)
    if isinstance(a, np.ndarray):
        return (
            type(a) is type(b)
            and a.dtype == b.dtype
            and (a.flags.f_contiguous == b.flags.f_contiguous or not a.flags.forc)
            and a.flags.writeable == b.flags.writeable
            and np.array_equal(np.asarray(a), np.asarray(b))
        )
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("kind", values())
def test_large_values_survive_and_are_plain_pickle(tmp_path, kind):
    """For us, and for a reader that knows pickle alone."""
    value = values()[kind]
    path = tmp_path / "a.pkl"
    save(filled(Pair(1, 2), data=value), path)
    ours = load(Pair, path).data
    theirs = pickle.loads(path.read_bytes())["data"]
    assert same(value, ours)
    assert same(value, theirs)
    if kind == "twice":
        assert ours[0] is ours[1]
    with open(path, "rb") as file:
        assert same(value, pickle.load(file)["data"])


def test_large_arrays_lie_at_multiples_of_64_bytes(tmp_path):
    """So that a mapped array is as fast as one in memory."""
    arrays = [np.arange(LARGE + n, dtype=np.int32) for n in range(5)]
    path = tmp_path / "a.pkl"
    save(filled(Pair(1, 2), data=arrays), path)
    data = path.read_bytes()
    for array in arrays:
        assert data.index(array.tobytes()) % frames.ALIGNMENT == 0
    assert not any(it[0].name == "FRAME" and it[1] > 1 << 20 for it in pickletools.genops(data))


@pytest.mark.parametrize("mode", ["r", "c"])
@pytest.mark.parametrize("kind", sorted(set(values()) - {"buffer"}))
def test_mapped_files_hold_the_same(tmp_path, kind, mode):
    """Writing into them changes memory, or is refused, and never the file."""
    value = values()[kind]
    handler = PickleHandler(Pair, tmp_path, mmap_mode=mode)
    handler.save_persistence(filled(Pair(1, 2), data=value))
    path = handler.filepath(Pair(1, 2))
    before = path.read_bytes()
    mapped = handler.load_persistence(path).data
    if isinstance(value, np.ndarray):
        assert np.array_equal(np.asarray(mapped), np.asarray(value))
    elif kind not in {"several", "twice"}:
        assert same(value, mapped)
    if kind == "array":
        assert not mapped.flags.owndata
        assert mapped.flags.writeable == (mode == "c")
        if mode == "c":
            mapped[0] = 7
            assert mapped[0] == 7
        else:
            with pytest.raises(ValueError, match="read-only"):
                mapped[0] = 7
        assert mapped.ctypes.data % frames.ALIGNMENT == 0
    assert path.read_bytes() == before
    assert load(Pair, path, mmap_mode=mode).a == 1


def test_mapping_is_refused_where_it_means_nothing(tmp_path):
    """With what is possible."""
    with pytest.raises(ValueError, match="mmap_mode must be None, 'r' or 'c', not 'w'"):
        PickleHandler(Pair, tmp_path, mmap_mode="w")
    with pytest.raises(ValueError, match="threads must be an int of at least 1, not 0"):
        PickleHandler(Pair, tmp_path, threads=0)


@pytest.mark.parametrize("mode", [None, "r"])
def test_files_of_others_are_read_as_they_are(tmp_path, mode):
    """Any protocol, without checksum, with something after the end."""
    fields = {"a": 1, "b": 2, "c": None, "data": [np.arange(LARGE), b"x" * LARGE, bytearray(LARGE)]}
    for protocol in range(6):
        path = tmp_path / f"{protocol}.pkl"
        for tail in (b"", b"more"):
            path.write_bytes(pickle.dumps(fields, protocol) + tail)
            found = load(Pair, path, mmap_mode=mode)
            assert same(found.data, fields["data"])


@pytest.mark.parametrize("size", [10, LARGE])
def test_bits_and_lengths_count(tmp_path, size):
    """Some of them; the stress tests try every one."""
    check_damage(tmp_path / "a.pkl", size, flips=60, cuts=30)


def check_damage(path, size, *, flips=None, cuts=None):
    """A flip or a cut is an error that names the file, or harmless; it is never silently other data.

    :param size: of the array in the file
    :param flips: how many bits are tried, one at a time; by default all of a small file, and many of a large one
    :param cuts: how many lengths are tried, in the same way
    """
    result = filled(Pair(1, 2), data=np.arange(size, dtype=float))
    save(result, path)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    bits = range(8 * len(good)) if size == 10 else rng.integers(0, 8 * len(good), 200).tolist() + list(range(800))
    lengths = range(len(good)) if size == 10 else [*range(0, 2_000, 7), *range(len(good) - 100, len(good))]
    bits, lengths = (
        every if count is None else rng.choice(every, count, replace=False).tolist()
        for every, count in ((bits, flips), (lengths, cuts))
    )
    damaged = [bytes(good[: bit // 8]) + bytes([good[bit // 8] ^ 1 << bit % 8]) + good[bit // 8 + 1 :] for bit in bits]
    damaged += [good[:length] for length in lengths]
    errors = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            found = load(Pair, path)
        except CorruptResultError as error:
            errors += 1
            assert error.path == str(path)
        else:
            assert results_equal(found, result)
    assert errors > 0.8 * len(damaged)


def test_a_mapped_file_is_checked_outside_of_its_arrays(tmp_path):
    """And at its length."""
    path = tmp_path / "a.pkl"
    save(filled(Pair(1, 2), data=np.arange(LARGE, dtype=float)), path)
    good = path.read_bytes()
    for at in (20, 60, len(good) - 40):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(CorruptResultError):
            load(Pair, path, mmap_mode="r")
    path.write_bytes(good[:-1])
    assert np.array_equal(load(Pair, path, mmap_mode="r").data, np.arange(LARGE, dtype=float))
    path.write_bytes(good[:-30])
    with pytest.raises(CorruptResultError):
        load(Pair, path, mmap_mode="r")
    path.write_bytes(good + good[-24:])
    with pytest.raises(CorruptResultError, match="says of itself"):
        load(Pair, path)


@settings(max_examples=60)
@given(st.binary(max_size=200), st.integers(0, 3))
def test_what_is_no_result_is_never_a_crash(data, kind):
    """Random bytes, with and without a trailer that fits them."""
    content = data if kind == 0 else frames.with_trailer(data) if kind == 1 else b"\x80\x05" + data + b"."
    try:
        framed_reader.read_bytes(content)
    except Exception as error:
        assert not isinstance(error, (SystemError, RecursionError))


def test_wrong_lengths_in_a_file_that_vouches_for_itself_are_errors(tmp_path):
    """A value that says it is larger than the file takes no memory."""
    for opcode in (b"\x95", b"\x96", b"\x8e", b"C\x000\x96", b"C\x000\x8e"):
        body = b"\x80\x05" + opcode + (1 << 40).to_bytes(8, "little") + bytes(LARGE)
        path = tmp_path / "a.pkl"
        path.write_bytes(frames.with_trailer(body))
        for mode in (None, "r"):
            with pytest.raises(CorruptResultError):
                load(Pair, path, mmap_mode=mode)


def test_arrays_that_are_aligned_though_small_are_values_like_others(tmp_path):
    """Nobody writes them; a file of nothing else is read like any other."""
    body = b"\x80\x05(" + 20_000 * (
        b"\x95" + (0).to_bytes(8, "little") + b"C\x000\x96" + (1).to_bytes(8, "little") + b"x"
    )
    body += b"l."
    content = frames.with_trailer(body)
    (tmp_path / "a.pkl").write_bytes(content)
    fd = os.open(tmp_path / "a.pkl", os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        assert framed_reader.read_file(fd) == [bytearray(b"x")] * 20_000
        assert framed_reader.map_file(fd, "r") == [bytearray(b"x")] * 20_000
        assert framed_reader.check_file(fd)
    finally:
        os.close(fd)


def test_large_arrays_are_not_copied(tmp_path):
    """Neither when they are saved nor when they are loaded: the peak of memory is that of the array."""
    import subprocess

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
big = Big(1); big.data = np.ones(8_000_000)
handler.save_persistence(big)
saved = peak() - start
del big.data
loaded = handler.load_persistence(big)
print(saved / 64e6, (peak() - start) / 64e6, loaded.data.sum())
"""
    if sys.platform == "win32":
        pytest.skip("no peak of memory to be had")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    saved, loaded, total = map(float, done.stdout.split())
    assert total == 8_000_000
    assert 0.9 < saved < 1.1, "the array itself is new memory"
    assert loaded < 1.15


@pytest.mark.parametrize("handler_class", [PickleHandler, GzipHandler])
def test_large_results_round_trip_through_either_handler(tmp_path, handler_class):
    """By every address."""
    check_round_trip(handler_class(Pair, tmp_path), filled(Pair("a", 1), data=values()["several"]))


def test_a_checksum_that_could_not_be_computed_is_an_error(tmp_path, monkeypatch):
    """A file with a wrong one would be taken for damaged ever after."""
    handler = PickleHandler(Pair, tmp_path)
    monkeypatch.setattr(checksums, "BACKGROUND_FROM", 1 << 16)

    def fail(*_):  # where it is computed aside: by a thread, or by who waits where none has begun
        raise MemoryError

    monkeypatch.setattr(checksums, "checksum", fail)
    with pytest.raises(MemoryError):
        handler.save_persistence(filled(Pair(1, 2), data=np.arange(100_000.0)))
    assert os.listdir(tmp_path) == []
