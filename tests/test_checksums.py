"""Checksums are those of zlib, however they are computed."""

from __future__ import annotations

import _thread
import os
import threading
import zlib

import pytest
from checks import threads_end
from hypothesis import given, strategies as st
from zlib_ng import zlib_ng

from neuralib.persistence._bytes import checksums, pread
from neuralib.persistence._stores.folder import FolderStore

PIECE = checksums._PIECE
needs_parts = pytest.mark.skipif(not hasattr(os, "preadv"), reason="this system can't read at a place")


@pytest.fixture
def fresh(monkeypatch):
    """Reset the module, as in a process that has computed no checksum yet."""
    monkeypatch.setattr(checksums, "_quickest", checksums._by_zlib)
    monkeypatch.setattr(checksums, "_until_import", checksums._until_import)


@pytest.mark.parametrize("size", [0, 1, 277, 60_000, 65_536, 200_000])
def test_checksums_agree_with_zlib(fresh, size):
    """Computed by zlib and by zlib-ng, at once and in pieces."""
    data = os.urandom(size)
    for _ in range(2):
        assert checksums.checksum(data) == checksums.checksum(memoryview(data)) == zlib.crc32(data)
        assert checksums.checksum(data[100:], checksums.checksum(data[:100])) == zlib.crc32(data)
        checksums._quickest = zlib_ng.crc32


@pytest.mark.parametrize(("size", "most"), [(277, 2000), (50_000, 200), (65_536, 1)])
def test_zlib_ng_is_imported_after_enough_bytes(fresh, monkeypatch, size, most):
    """Not for a few small files."""
    monkeypatch.setattr(checksums, "_until_import", 1 << 23)
    data = bytes(size)
    calls = 0
    while checksums._quickest is checksums._by_zlib:
        assert checksums.checksum(data) == zlib.crc32(data)
        calls += 1
    assert 0.7 * most < calls <= most
    assert checksums._quickest is zlib_ng.crc32


@given(st.binary(max_size=500), st.binary(max_size=500))
def test_checksums_of_parts_give_that_of_the_whole(first, second):
    """Whatever the sizes, empty parts included."""
    whole = zlib.crc32(first + second)
    assert checksums.combined(zlib.crc32(first), zlib.crc32(second), len(second)) == whole


def test_a_checksum_in_a_thread_covers_the_pieces_in_order():
    """The thread takes the pieces as they come."""
    pieces = [os.urandom(1000) for _ in range(50)]
    background = checksums.BackgroundCrc(zlib.crc32(b"before"))
    for piece in pieces:
        background.add(piece)
    assert background.result() == zlib.crc32(b"before" + b"".join(pieces))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"head" + os.urandom(4 * PIECE + 12_345))
    with FolderStore(tmp_path).open("file") as source:
        assert source.parallel() == hasattr(os, "preadv")
        yield source, path.read_bytes()


@needs_parts
@pytest.mark.parametrize("processors", [1, 2, 3, 4, 64])
def test_parts_read_by_threads_give_the_whole_file(file, monkeypatch, processors):
    """For any number of threads, from an offset on."""
    monkeypatch.setattr(checksums, "_processors", lambda: processors)
    source, data = file
    before = _thread._count()
    for size in (1, PIECE, 2 * PIECE + 7, len(data) - 4):
        target = bytearray(size)
        found = checksums.read_by_parts(source, memoryview(target), 4, zlib.crc32(b"head"))
        assert target == data[4 : 4 + size]
        assert found == zlib.crc32(data[: 4 + size])
    assert threads_end(before)


@needs_parts
@pytest.mark.parametrize("processors", [1, 4])
def test_a_file_that_ends_early_is_an_error(file, monkeypatch, processors):
    """In whichever part it ends."""
    monkeypatch.setattr(checksums, "_processors", lambda: processors)
    source, data = file
    for more in (1, PIECE, 20 * PIECE):
        with pytest.raises(EOFError, match="too early"):
            checksums.read_by_parts(source, memoryview(bytearray(len(data) + more)), 0, 0)


@needs_parts
@pytest.mark.parametrize("failing", [0, 1, 3])
def test_a_part_that_fails_stops_all(file, monkeypatch, failing):
    """An error of the disk, or Ctrl-C, in any part is raised after all threads have stopped reading."""
    monkeypatch.setattr(checksums, "_processors", lambda: 4)
    source, data = file
    real, turn = pread._preadv, [0]
    before = _thread._count()
    lock = threading.Lock()

    def fails(*args):
        with lock:
            turn[0] += 1
            if turn[0] == failing + 1:
                raise KeyboardInterrupt if failing == 3 else OSError(5, "broken")
        return real(*args)

    monkeypatch.setattr(pread, "_preadv", fails)
    with pytest.raises((OSError, KeyboardInterrupt)):
        checksums.read_by_parts(source, memoryview(bytearray(len(data))), 0, 0)
    assert threads_end(before)


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 100_000))
def test_zeros_are_added_without_being_read(start, count):
    """As a hole of a sparse file is."""
    assert checksums.with_zeros(start, count) == zlib.crc32(bytes(count), start)
