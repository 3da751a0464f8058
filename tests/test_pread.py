"""Reading at an offset is complete, however little a call reads at once, and also without these system calls."""

from __future__ import annotations

import itertools
import os

import pytest
from hypothesis import given, strategies as st

from neuralib.persistence._bytes import pread

CONTENT = bytes(range(256)) * 4


@pytest.fixture(params=["calls for it", "seeking"])
def reader(request, monkeypatch):
    """The module, with the system calls that read at an offset, and without them."""
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


def short_reads(function, most):
    """Return *call*, limited to so many bytes at once."""

    def less(fd, wanted, at):
        if isinstance(wanted, int):
            return function(fd, min(wanted, most), at)
        first = next(part for part in wanted if part)
        return function(fd, [first[:most]], at)

    return less


def cut(memory, sizes):
    """Return views of pieces of *memory*, one after the other."""
    ends = list(itertools.accumulate(sizes))
    return [memoryview(memory)[end - size : end] for end, size in zip(ends, sizes, strict=True)]


@pytest.mark.parametrize("most", [1, 3, 10_000])
def test_a_part_is_read_whole(reader, fd, monkeypatch, most):
    """Fewer bytes are returned only at the end of the file."""
    monkeypatch.setattr(reader, "_pread", short_reads(reader._pread, most))
    assert reader.read_at(fd, 10, 5) == CONTENT[5:15]
    assert reader.read_at(fd, 100, 1000) == CONTENT[1000:]
    assert reader.read_at(fd, 10, 2000) == b""
    assert reader.read_at(fd, 0, 0) == b""


@pytest.mark.parametrize("most", [1, 3, 10_000])
@pytest.mark.parametrize("sizes", [[], [0], [7], [0, 5, 0, 0, 9, 0], [1] * 30, [300, 1, 500]])
def test_memory_is_filled_in_order(reader, fd, monkeypatch, most, sizes):
    """Empty pieces too, and nothing beyond them."""
    monkeypatch.setattr(reader, "_preadv", short_reads(reader._preadv, most))
    memory = bytearray(sum(sizes) + 1)
    reader.read_into(fd, cut(memory, sizes), 20)
    assert memory == CONTENT[20 : 20 + sum(sizes)] + b"\0"


def test_the_position_of_the_file_is_kept(reader, fd):
    """Another reader goes on from there."""
    os.lseek(fd, 100, os.SEEK_SET)
    reader.read_at(fd, 10, 5)
    reader.read_into(fd, [memoryview(bytearray(7))], 0)
    assert os.read(fd, 3) == CONTENT[100:103]


def test_an_early_end_is_an_error(reader, fd):
    """Whatever was read before it."""
    with pytest.raises(EOFError, match="too early"):
        reader.read_into(fd, [memoryview(bytearray(10)), memoryview(bytearray(2000))], 0)


@given(st.lists(st.integers(0, 5), max_size=6), st.data())
def test_the_remaining_pieces_follow_the_filled_ones(sizes, data):
    """To the byte."""
    whole = bytes(range(sum(sizes)))
    filled = data.draw(st.integers(0, len(whole)))
    assert b"".join(pread._rest(cut(whole, sizes), filled)) == whole[filled:]
