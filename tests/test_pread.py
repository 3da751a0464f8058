"""Reading at a place: all of it, however little the system gives at once, and without the calls that not each has."""

from __future__ import annotations

import itertools
import os

import pytest
from hypothesis import given, strategies as st

from neuralib.persistence._bytes import pread

CONTENT = bytes(range(256)) * 4


@pytest.fixture(params=["calls for it", "seeking"])
def ways(request, monkeypatch):
    """The module, and as it is on a system that can't read at a place."""
    if request.param == "seeking":
        monkeypatch.setattr(pread, "_pread", pread._pread_by_seeking)
        monkeypatch.setattr(pread, "_preadv", pread._preadv_by_seeking)
    return pread


@pytest.fixture
def fd(tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    opened = os.open(tmp_path / "file", os.O_RDONLY | getattr(os, "O_BINARY", 0))
    yield opened
    os.close(opened)


def grudging(function, most):
    """Let a call for bytes give only so many of them."""

    def less(fd, wanted, at):
        if isinstance(wanted, int):
            return function(fd, min(wanted, most), at)
        first = next(it for it in wanted if it)
        return function(fd, [first[:most]], at)

    return less


def cut(memory, sizes):
    """Return views of pieces of *memory*, one after the other."""
    ends = list(itertools.accumulate(sizes))
    return [memoryview(memory)[end - size : end] for end, size in zip(ends, sizes, strict=True)]


@pytest.mark.parametrize("most", [1, 3, 10_000])
def test_a_part_is_read_whole(ways, fd, monkeypatch, most):
    """And less than asked for only at the end."""
    monkeypatch.setattr(ways, "_pread", grudging(ways._pread, most))
    assert ways.read_at(fd, 10, 5) == CONTENT[5:15]
    assert ways.read_at(fd, 100, 1000) == CONTENT[1000:]
    assert ways.read_at(fd, 10, 2000) == b""
    assert ways.read_at(fd, 0, 0) == b""


@pytest.mark.parametrize("most", [1, 3, 10_000])
@pytest.mark.parametrize("sizes", [[], [0], [7], [0, 5, 0, 0, 9, 0], [1] * 30, [300, 1, 500]])
def test_memory_is_filled_in_order(ways, fd, monkeypatch, most, sizes):
    """Empty pieces too, and nothing beyond."""
    monkeypatch.setattr(ways, "_preadv", grudging(ways._preadv, most))
    memory = bytearray(sum(sizes) + 1)
    ways.read_into(fd, cut(memory, sizes), 20)
    assert memory == CONTENT[20 : 20 + sum(sizes)] + b"\0"


def test_the_file_stays_where_it_was(ways, fd):
    """Whoever reads on goes on from there."""
    os.lseek(fd, 100, os.SEEK_SET)
    ways.read_at(fd, 10, 5)
    ways.read_into(fd, [memoryview(bytearray(7))], 0)
    assert os.read(fd, 3) == CONTENT[100:103]


def test_an_early_end_is_an_error(ways, fd):
    """Whatever was there."""
    with pytest.raises(EOFError, match="too early"):
        ways.read_into(fd, [memoryview(bytearray(10)), memoryview(bytearray(2000))], 0)


@given(st.lists(st.integers(0, 5), max_size=6), st.data())
def test_what_is_left_follows_what_is_filled(sizes, data):
    """To the byte."""
    whole = bytes(range(sum(sizes)))
    filled = data.draw(st.integers(0, len(whole)))
    assert b"".join(pread._rest(cut(whole, sizes), filled)) == whole[filled:]
