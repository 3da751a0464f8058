"""Every change of a file is an error that names it, or harmless; it never loads as other data."""

from __future__ import annotations

import gzip
import os
import pickle
import random

import numpy as np
import pytest
from checks import Pair, filled

from neuralib.persistence import (
    CorruptResultError,
    GzipHandler,
    PickleHandler,
    load,
    missing,
    results_equal,
)
from neuralib.persistence._codecs import frames, pickles
from neuralib.persistence._stores import files

END = frames.END_BYTES
SMALL = {"score": 0.5, "weights": np.arange(3.0), "label": "x"}
LARGE = {"traces": np.arange(20_000.0), "between": "text", "more": np.arange(30_000, dtype="i4")}


KINDS = {
    "pickle": (PickleHandler, {}),
    "hopping": (PickleHandler, {}),  # small files are read like large ones
    "gzip": (GzipHandler, {}),
    "mapped": (PickleHandler, {"mmap_mode": "r"}),
    "mapped to write": (PickleHandler, {"mmap_mode": "c"}),
    "without trust": (PickleHandler, {"trusted": False}),
    "gzip without trust": (GzipHandler, {"trusted": False}),
}

each_kind = pytest.mark.parametrize("kind", KINDS, indirect=True)


class Saved:
    """A saved result; tells what loading gives if its file is changed."""

    def __init__(self, folder, kind, data):
        handler_class, options = KINDS[kind]
        self.handler = handler_class(Pair, folder, **options)
        self.result = self.handler.save_persistence(filled(Pair(1, "x"), data=data))
        self.path = self.handler.filepath(self.result)
        self.content = self.path.read_bytes()
        self.mapped = kind.startswith("mapped")
        self.pickle_bytes = len(self.content) if handler_class is GzipHandler else frames.lengths_of(self.content)[0]

    def error_for(self, content):
        """Return the error of loading the file with *content*, or None if it loads as what was saved."""
        self.path.write_bytes(content)
        try:
            found = self.handler.load_persistence(self.path)
        except CorruptResultError as error:
            assert error.path == str(self.path)
            assert error.problem
            assert str(self.path) in str(error)
            return error
        assert results_equal(found, self.result), "the file loads as something else"
        return None

    def verified(self, content):
        self.path.write_bytes(content)
        return next(self.handler.verify(self.path)).problem

    def arrays(self):
        """Return the byte ranges of large arrays, which are not checked when the file is mapped; none in other ways of loading."""
        found = []
        for array in self.result.data.values() if self.mapped else []:
            if isinstance(array, np.ndarray) and array.nbytes >= frames.AT_ONCE:
                at = self.content.index(array.tobytes())
                found.append(range(at, at + array.nbytes))
        return found


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.fixture
def some_bits(sample):
    """A function that returns the positions of some bits of a file: a third of them, and those at both ends."""

    def chosen(content):
        bits = range(8 * len(content))
        return sorted({*bits[:80], *bits[-256:], *sample(bits, len(bits) // 3)})

    return chosen


@pytest.fixture
def kind(request, monkeypatch):
    if request.param == "hopping":
        monkeypatch.setattr(pickles, "_SMALL_BYTES", 0)
        monkeypatch.setattr(files, "SMALL_BYTES", 1)
        monkeypatch.setattr(files, "_buffer_pool", None)
    return request.param


@pytest.fixture
def small(kind, tmp_path):
    return Saved(tmp_path, kind, SMALL)


@pytest.fixture
def large(kind, tmp_path):
    return Saved(tmp_path, kind, LARGE)


@each_kind
def test_every_bit_of_a_small_file(small, some_bits):
    """In a pickle, each flip is found. In gzip files, some bits of the header and of the compression mean nothing."""
    bits = some_bits(small.content)
    harmless = [bit for bit in bits if small.error_for(flipped(small.content, bit)) is None]
    gzipped = isinstance(small.handler, GzipHandler)
    structure = range(
        8 * len(small.content) - 32, 8 * len(small.content)
    )  # this checksum is compared only if the file is mapped
    assert len(harmless) < 100 if gzipped else set(harmless) <= set(structure)
    for bit in random.Random(0).sample(bits, 100):
        assert bit in harmless or small.verified(flipped(small.content, bit)) is not None


def test_verify_finds_every_bit_of_a_pickle(tmp_path, some_bits):
    """Loading may not notice a flipped bit that changes no value; ``verify`` reports it."""
    saved = Saved(tmp_path, "pickle", SMALL)
    for bit in some_bits(saved.content):
        assert isinstance(saved.verified(flipped(saved.content, bit)), CorruptResultError)


@each_kind
def test_bits_of_a_large_file(large, long):
    """The first and last bytes, and some in between. Mapped arrays are checked by ``verify``."""
    size = len(large.content)
    bits = set(range(40 * 8)) | set(range(8 * size - 60 * 8, 8 * size))
    bits = set(random.Random(1).sample(sorted(bits), len(bits) if long else 150))
    bits |= set(random.Random(2).sample(range(8 * size), 5000 if long else 40))
    arrays = large.arrays()
    for bit in sorted(bits):
        changed = flipped(large.content, bit)
        if any(bit // 8 in byte_range for byte_range in arrays):
            assert large.verified(changed) is not None
        else:
            large.error_for(changed)


def test_every_bit_of_several_files(tmp_path, long):
    """Values of several types, in each way of loading, in files below 3 kB."""
    if not long:
        pytest.skip("long form: --long")
    values = [
        None,
        list(range(200)),
        {"a": [np.float32(1), np.arange(40)]},
        "text " * 100,
        np.zeros((3, 0)),
        b"\0" * 500,
    ]
    for n, value in enumerate(values):
        for kind in KINDS:
            saved = Saved(tmp_path / str(n), kind, {"value": value})
            for bit in range(8 * len(saved.content)):
                saved.error_for(flipped(saved.content, bit))


@each_kind
def test_every_truncation_of_a_small_file(small):
    """A cut is an error, unless only the card and the end are cut. An empty file is an error."""
    content = small.content
    for size in range(len(content)):
        whole = small.error_for(content[:size]) is None
        assert whole == (not isinstance(small.handler, GzipHandler) and size >= small.pickle_bytes)
        assert whole or small.verified(content[:size]) is not None


@each_kind
def test_truncations_of_a_large_file(large, long):
    """Around each boundary, and some in between. A cut exactly at the end of the pickle loses nothing."""
    size = len(large.content)
    sizes = {
        *range(40),
        *range(large.pickle_bytes - 30, min(large.pickle_bytes + 30, size)),
        *range(size - 30, size),
        *random.Random(3).sample(range(size), 2000 if long else 30),
    }
    if not long:
        sizes = random.Random(4).sample(sorted(sizes), 90)
    for cut in sorted(sizes):
        whole = large.error_for(large.content[:cut]) is None
        # After a cut behind the pickle, the rest of card and end may count as damage, or be ignored.
        assert not whole or (not isinstance(large.handler, GzipHandler) and cut >= large.pickle_bytes)
        assert whole or isinstance(large.handler, GzipHandler) or cut != large.pickle_bytes
    if not isinstance(large.handler, GzipHandler):
        assert large.content[large.pickle_bytes - 1] == ord(".")


@each_kind
def test_bursts_and_pairs_of_errors(large, long):
    """Several bytes at once, zeros as after a loss of power, two places far apart, the end and another place."""
    size = len(large.content)
    rng = random.Random(5)
    arrays = large.arrays()
    gzipped = isinstance(large.handler, GzipHandler)
    for _ in range(2000 if long else 60):
        changed = bytearray(large.content)
        start = rng.choice([rng.randrange(size), size - rng.randrange(1, 100)])
        count = min(rng.choice([2, 3, 4, 100, 512, 4096]), size - start)
        filling = rng.choice([bytes(count), b"\xff" * count, rng.randbytes(count)])
        changed[start : start + count] = filling
        if rng.random() < 0.5:
            changed[rng.choice([size - rng.randrange(1, END + 1), rng.randrange(size)])] ^= rng.randrange(1, 256)
        if bytes(changed) == large.content:
            continue
        touched = np.flatnonzero(np.frombuffer(changed, "u1") != np.frombuffer(large.content, "u1")).tolist()
        mark = sum(size - END <= at < size - 20 for at in touched), sum(size - 20 <= at < size - 8 for at in touched)
        if mark[0] >= 4 and mark[1] and not gzipped:
            continue  # then it looks like a file of another program: a documented limit
        if arrays and any(at in byte_range for at in touched for byte_range in arrays):
            assert large.verified(bytes(changed)) is not None
            continue
        problem = large.error_for(bytes(changed))
        assert problem is not None or gzipped or min(touched) >= size - END


@each_kind
def test_tails_of_zeros(large):
    """A loss of power may leave zeros in place of blocks that were not written."""
    size = len(large.content)
    pickled = size - large.pickle_bytes
    for count in (1, END, pickled, pickled + 1, pickled + 2, 512, 4096, size // 2, size - 1, size):
        problem = large.error_for(large.content[: size - count] + bytes(count))
        if not isinstance(large.handler, GzipHandler):
            # With zeros in place of the whole end, it looks like a file of another program, and its pickle is complete.
            assert problem is not None if count > pickled else (problem is None or large.mapped)
    assert large.error_for(bytes(1_000_000)) is not None


@each_kind
@pytest.mark.parametrize("more", [b"\0", b".", b"x" * 24, b"x" * 100_000, frames.small_file(b"N.", b"{}")], ids=len)
def test_what_is_appended_is_an_error_or_left_out(small, more):
    """Loading stops at the end of the pickle. For ``verify``, additional bytes are damage."""
    small.error_for(small.content + more)
    assert isinstance(small.verified(small.content + more), CorruptResultError)


def test_a_damaged_end_is_an_error(tmp_path):
    """If it counted as a missing end, its damage would hide damage to the rest."""
    saved = Saved(tmp_path, "pickle", SMALL)
    at = saved.content.index(b"\x1f\x85\xebQ") if b"\x1f\x85\xebQ" in saved.content else 40
    for magic in range(len(saved.content) - END, len(saved.content) - 20):
        changed = bytearray(saved.content)
        changed[at] ^= 1
        changed[magic] ^= 255
        problem = saved.error_for(bytes(changed))
        assert problem is not None
        assert "its end, which says what was saved, is damaged" in problem.problem


def test_files_without_a_card_load(tmp_path):
    """Only what is no pickle can be found to be damaged."""
    path = tmp_path / "cache-Pair-1-x.pkl"
    for protocol in range(6):
        whole = pickle.dumps({"a": 1, "b": "x", "c": None, "data": np.arange(20_000.0)}, protocol)
        path.write_bytes(whole)
        assert load(Pair, path).data.sum() == sum(range(20_000))
        path.write_bytes(whole[:-1])
        with pytest.raises(CorruptResultError):
            load(Pair, path)


def test_gzip_bits_of_other_programs(tmp_path):
    """Their gzip headers have a name and a comment."""
    handler = PickleHandler(Pair, tmp_path)
    result = filled(Pair(1, "x"), data=[1, 2])
    path = handler.filepath(result)
    with gzip.GzipFile(os.fspath(path), "wb", mtime=1) as file:
        file.write(pickle.dumps({"a": 1, "b": "x", "c": None, "data": [1, 2]}))
    content = path.read_bytes()
    assert handler.load_persistence(path).data == [1, 2]
    for bit in range(8 * len(content)):
        path.write_bytes(flipped(content, bit))
        try:
            assert handler.load_persistence(path).data == [1, 2]
        except CorruptResultError as error:
            assert error.path == str(path)


@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler])
def test_one_damaged_file_among_many(tmp_path, kind):
    """load_all raises by default, and can skip and report it; verify reports it and goes on."""
    handler = kind(Pair, tmp_path)
    for n in range(4):
        handler.save_persistence(filled(Pair(n, "x"), data=SMALL))
    path = handler.filepath(Pair(2, "x"))
    path.write_bytes(flipped(path.read_bytes(), 8 * 60))
    with pytest.raises(CorruptResultError, match="cache-Pair-2-x"):
        list(handler.load_all(a=missing, b="x"))
    problems = []
    found = handler.load_all(a=missing, b="x", on_corrupt=problems.append)
    assert [result.a for _, result in found] == [0, 1, 3]
    assert [problem.path for problem in problems] == [str(path)]
    assert [check.problem is None for check in handler.verify()] == [True, True, False, True]
