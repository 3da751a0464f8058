"""The file of a result is a plain pickle; this package reads its arrays without a copy, and finds damage."""

from __future__ import annotations

import os
import pickle
import pickletools
import sys
import types

import numpy as np
import pytest
from checks import Pair, check_round_trip, filled
from hypothesis import given, strategies as st

from neuralib.persistence import CorruptResultError, GzipHandler, PickleHandler, _disk, load, results_equal, save
from neuralib.persistence._bytes import checksums, pread
from neuralib.persistence._bytes.sources import BytesSource, FileSource
from neuralib.persistence._codecs import framed_reader, frames, pickles
from neuralib.persistence._codecs.card import Card
from neuralib.persistence._codecs.pickles import PickleCodec
from neuralib.persistence._stores import files
from neuralib.persistence._stores.paths import PATHS

LARGE = 100_000
EMPTY_CARD = Card("", "", "", "-", (), {}).to_bytes()


@pytest.fixture(autouse=True, params=["whole", "hopping", "hopping by seeking"])
def way(request, monkeypatch):
    """How a file is read: whole, as small ones are; in parts, as large ones are; in parts without the system calls for it."""
    if request.param != "whole":
        monkeypatch.setattr(pickles, "_SMALL_BYTES", 0)
        monkeypatch.setattr(files, "SMALL_BYTES", 1)
        monkeypatch.setattr(files, "_buffer_pool", None)
    if request.param == "hopping by seeking":
        monkeypatch.setattr(FileSource, "parallel", lambda _: False)
        monkeypatch.setattr(pread, "_pread", pread._pread_by_seeking)
        monkeypatch.setattr(pread, "_preadv", pread._preadv_by_seeking)
        monkeypatch.setattr(_disk, "read_small", lambda *_: None)


def vouched(content, card=EMPTY_CARD):
    """Return *content* with a card, and with an end whose checksums are right for both."""
    return frames.small_file(content, card)


def read_only():
    array = np.arange(LARGE)
    array.flags.writeable = False
    return array


VALUES = {  # of each type, one that is large enough to be written outside of the pickle frames, and some that are not
    "array": lambda: np.arange(LARGE, dtype=float),
    "fortran": lambda: np.asfortranarray(np.arange(LARGE).reshape(100, -1)),
    "read-only": read_only,
    "small": lambda: np.arange(10.0),
    "strided": lambda: np.arange(2 * LARGE)[::2],
    "bytes": lambda: b"x" * LARGE,
    "bytearray": lambda: bytearray(b"y" * LARGE),
    "text": lambda: "z" * LARGE,
    "numbers": lambda: list(range(LARGE)),
    "several": lambda: [np.arange(LARGE), b"between" * LARGE, np.arange(LARGE, dtype=np.float32), "end"],
    "twice": lambda: [np.arange(LARGE, dtype=np.int16)] * 2,
    "huge": lambda: np.arange(checksums.BACKGROUND_FROM // 8 + 1000),
    "structured": lambda: np.zeros(LARGE, dtype=[("a", "i4"), ("b", "f8")]),
    "dates": lambda: np.arange(LARGE).astype("M8[s]"),
    "masked": lambda: np.ma.masked_array(np.arange(LARGE), mask=np.arange(LARGE) % 2 == 0),
    "buffer": lambda: pickle.PickleBuffer(b"q" * LARGE),
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


@pytest.mark.parametrize("kind", VALUES)
def test_large_values_survive_and_are_plain_pickle(tmp_path, kind):
    """They load by this package and by ``pickle.load``."""
    value = VALUES[kind]()
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


@pytest.mark.parametrize("module", [None, types.ModuleType("numpy")], ids=["blocked", "half imported"])
def test_large_values_that_are_no_arrays_need_no_numpy(tmp_path, monkeypatch, module):
    """Programs may block its import, and another thread may just be importing it."""
    monkeypatch.setitem(sys.modules, "numpy", module)
    for value in (bytearray(b"y" * LARGE), pickle.PickleBuffer(b"q" * LARGE), b"x" * LARGE, "z" * LARGE):
        save(filled(Pair(1, 2), data=value), tmp_path / "a.pkl")
        assert same(value, load(Pair, tmp_path / "a.pkl").data)


def test_large_arrays_lie_at_multiples_of_64_bytes(tmp_path):
    """So that a mapped array is as fast as one in memory."""
    arrays = [np.arange(LARGE + n, dtype=np.int32) for n in range(5)]
    path = tmp_path / "a.pkl"
    save(filled(Pair(1, 2), data=arrays), path)
    data = path.read_bytes()
    for array in arrays:
        assert data.index(array.tobytes()) % frames.ALIGNMENT == 0
    assert not any(operation[0].name == "FRAME" and operation[1] > 1 << 20 for operation in pickletools.genops(data))


@pytest.mark.parametrize("mode", ["r", "c"])
@pytest.mark.parametrize("kind", sorted(set(VALUES) - {"buffer"}))
def test_mapped_files_hold_the_same(tmp_path, kind, mode):
    """Writing into a mapped array changes memory, or is refused; it never changes the file."""
    value = VALUES[kind]()
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
    """The error says what is possible."""
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
def test_flipped_bits_and_cuts_are_found(tmp_path, size):
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
    # A cut after the end of the pickle leaves a complete pickle, as other programs write it.
    pickle_bytes = frames.lengths_of(good)[0]
    errors = sum(length >= pickle_bytes for length in lengths)
    for content in damaged:
        path.write_bytes(content)
        try:
            found = load(Pair, path)
        except CorruptResultError as error:
            errors += not (len(content) < len(good) and len(content) >= pickle_bytes)
            assert error.path == str(path)
        else:
            assert results_equal(found, result)
    assert errors > 0.95 * len(damaged)


def test_a_mapped_file_is_checked_outside_of_its_arrays(tmp_path):
    """Its pickle is compared with a checksum, and its length with what its end says. The arrays are not read."""
    path = tmp_path / "a.pkl"
    save(filled(Pair(1, 2), data=np.arange(LARGE, dtype=float)), path)
    good = path.read_bytes()
    for at in (20, 60, len(good) - 100, len(good) - 40):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(CorruptResultError):
            load(Pair, path, mmap_mode="r")
    pickle_bytes = frames.lengths_of(good)[0]
    for length in (len(good) - 1, pickle_bytes + 1, pickle_bytes):
        path.write_bytes(good[:length])
        assert np.array_equal(load(Pair, path, mmap_mode="r").data, np.arange(LARGE, dtype=float))
    path.write_bytes(good[: pickle_bytes - 1])
    with pytest.raises(CorruptResultError):
        load(Pair, path, mmap_mode="r")
    path.write_bytes(good + good[-frames.END_BYTES :])
    with pytest.raises(CorruptResultError, match="says of itself"):
        load(Pair, path)


@given(st.binary(max_size=200), st.integers(0, 3))
def test_what_is_no_result_is_never_a_crash(data, kind):
    """Random bytes, with and without a matching end, and as a card."""
    content = [data, vouched(data), b"\x80\x05" + data + b".", vouched(b"N.", data)][kind]
    try:
        PickleCodec().load(BytesSource(content))
    except Exception as error:
        assert not isinstance(error, (SystemError, RecursionError))


def test_wrong_lengths_under_right_checksums_are_errors(tmp_path):
    """A value that claims to be larger than the file takes no memory."""
    for opcode in (b"\x95", b"\x96", b"\x8e", b"C\x000\x96", b"C\x000\x8e"):
        body = b"\x80\x05" + opcode + (1 << 40).to_bytes(8, "little") + bytes(LARGE)
        path = tmp_path / "a.pkl"
        path.write_bytes(vouched(body))
        for mode in (None, "r"):
            with pytest.raises(CorruptResultError):
                load(Pair, path, mmap_mode=mode)


def test_arrays_that_are_aligned_though_small_are_values_like_others(tmp_path):
    """No writer aligns small arrays. A file of them is read like any other."""
    body = b"\x80\x05(" + 20_000 * (
        b"\x95" + (0).to_bytes(8, "little") + b"C\x000\x96" + (1).to_bytes(8, "little") + b"x"
    )
    body += b"l."
    path = tmp_path / "a.pkl"
    path.write_bytes(vouched(body))
    with PATHS.open_to_map(os.fspath(path)) as source:
        assert framed_reader.read_source(source)[0] == [bytearray(b"x")] * 20_000
        assert framed_reader.map_source(source, "r")[0] == [bytearray(b"x")] * 20_000
        assert framed_reader.check_source(source)


@pytest.mark.parametrize("handler_class", [PickleHandler, GzipHandler])
def test_large_results_round_trip_through_either_handler(tmp_path, handler_class):
    """By path, name, template and keys."""
    check_round_trip(handler_class(Pair, tmp_path), filled(Pair("a", 1), data=VALUES["several"]()))


def test_a_checksum_that_could_not_be_computed_is_an_error(tmp_path, monkeypatch):
    """A file with a wrong checksum would count as damaged for ever."""
    handler = PickleHandler(Pair, tmp_path)
    monkeypatch.setattr(checksums, "BACKGROUND_FROM", 1 << 16)
    monkeypatch.setattr(frames, "_PIECE", 1 << 16)

    def fail(*_):  # computed by a thread, or by the waiting thread if no other has begun
        raise MemoryError

    monkeypatch.setattr(checksums, "checksum", fail)
    with pytest.raises(MemoryError):
        handler.save_persistence(filled(Pair(1, 2), data=np.arange(100_000.0)))
    assert os.listdir(tmp_path) == []
