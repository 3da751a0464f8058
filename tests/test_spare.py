"""Files of up to a megabyte are read into buffers that are used again, so loaded values must not refer to them."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest
from checks import Pair, filled

from neuralib.persistence import CorruptResultError, GzipHandler, PickleHandler, _disk, missing
from neuralib.persistence._bytes.sources import PooledSource
from neuralib.persistence._stores import files, folder

SIZE = 100_000  # bytes


@pytest.fixture(autouse=True)
def spare(monkeypatch):
    """The buffers that are kept for reuse; none at first."""
    monkeypatch.setattr(files, "_buffer_pool", [])
    return files._buffer_pool


def contents(n):
    """Return one value of each type whose bytes are taken from the file."""
    readonly = np.full(SIZE, n, np.uint8)
    readonly.flags.writeable = False
    return {
        "array": np.full(SIZE, n, np.uint8),
        "read-only": readonly,
        "fortran": np.asfortranarray(np.full((100, 1000), n, np.uint8)),
        "objects": np.array([bytes([n]) * SIZE, n], object),
        "structured": np.full(SIZE // 2, n, [("a", "u1"), ("b", "u1")]),
        "small": [np.full(2000, n) for _ in range(10)],
        "bytes": bytes([n]) * SIZE,
        "bytearray": bytearray([n]) * SIZE,
        "text": chr(n) * SIZE,
        "strange text": chr(0x100 + n) * SIZE,
        "numbers": [n] * SIZE,
        "large number": 1 << 8 * SIZE | n,
        "buffer": pickle.PickleBuffer(bytearray([n]) * SIZE),
    }


@pytest.mark.parametrize("handler_class", [PickleHandler, GzipHandler])
@pytest.mark.parametrize("kind", contents(0))
def test_loading_another_result_does_not_change_the_first(tmp_path, spare, handler_class, kind):
    """For each of these types."""
    handler = handler_class(Pair, tmp_path)
    for n in (65, 66):
        handler.save_persistence(filled(Pair(n, 0), data=contents(n)[kind]))
    first = handler.load_persistence(Pair(65, 0))
    as_loaded = pickle.dumps(first.data, 5)
    second = handler.load_persistence(Pair(66, 0))
    assert pickle.dumps(first.data, 5) == as_loaded
    assert pickle.dumps(second.data, 5) != as_loaded
    assert len(spare) == (handler_class is PickleHandler)
    for memory in spare:
        memory[:] = bytes(len(memory))
    assert pickle.dumps(first.data, 5) == as_loaded
    if isinstance(first.data, np.ndarray):
        assert first.data.flags.writeable == (kind != "read-only")


class Reading:
    """Loads another result while it is unpickled."""

    handler = None

    def __getstate__(self):
        return {"after": None}

    def __setstate__(self, state):
        self.inner = self.handler.load_persistence(Pair(1, 0)).data


def test_loading_within_loading(tmp_path, monkeypatch, spare):
    """A class may keep a part of itself in another file."""
    handler = PickleHandler(Pair, tmp_path)
    monkeypatch.setattr(Reading, "handler", handler)
    handler.save_persistence(filled(Pair(1, 0), data=np.full(SIZE, 1, np.uint8)))
    handler.save_persistence(
        filled(Pair(2, 0), data=[np.full(SIZE, 2, np.uint8), Reading(), np.full(SIZE, 3, np.uint8)])
    )
    before, reading, after = handler.load_persistence(Pair(2, 0)).data
    assert (before == 2).all()
    assert (reading.inner == 1).all()
    assert (after == 3).all()
    assert len(spare) == 2


def test_threads_do_not_share_buffers(tmp_path, spare):
    """However many threads there are. The number of kept buffers is bounded."""
    handler = PickleHandler(Pair, tmp_path)
    for n in range(8):
        handler.save_persistence(filled(Pair(n, 0), data=[np.full(SIZE, n, np.uint8), str(n) * SIZE]))
    wrong = []

    def work(n):
        for _ in range(50):
            numbers, text = handler.load_persistence(Pair(n, 0)).data
            if not ((numbers == n).all() and text == str(n) * SIZE):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert 1 <= len(spare) <= PooledSource._MOST_POOLED


def test_a_damaged_file_gives_its_buffer_back(tmp_path, spare):
    """Otherwise each damaged file would cost a megabyte."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(filled(Pair(1, 0), data=np.zeros(SIZE)))
    path = handler.filepath(Pair(1, 0))
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    for _ in range(3):
        with pytest.raises(CorruptResultError, match="checksum"):
            handler.load_persistence(path)
        assert len(spare) == 1


def test_mapped_arrays_use_no_buffer(tmp_path, spare):
    """Mapped arrays are the file itself."""
    PickleHandler(Pair, tmp_path).save_persistence(filled(Pair(1, 0), data=np.arange(20_000)))
    handler = PickleHandler(Pair, tmp_path, mmap_mode="r")
    assert (handler.load_persistence(Pair(1, 0)).data == np.arange(20_000)).all()
    assert not spare


@pytest.mark.parametrize("kind", sorted(set(contents(0)) - {"large number"}))
def test_values_read_without_trust_do_not_refer_to_a_buffer(tmp_path, spare, kind):
    """The buffer is used again for the next file. Values of each type are read from our files and from those of others."""
    handler = PickleHandler(Pair, tmp_path, trusted=False)
    result = filled(Pair(65, 0), data=contents(65)[kind])
    path = PickleHandler(Pair, tmp_path).filepath(result)
    fields = {"a": 65, "b": 0, "c": None, "data": result.data}
    for save in (PickleHandler(Pair, tmp_path).save_persistence, lambda _: path.write_bytes(pickle.dumps(fields, 5))):
        save(result)
        found = handler.load_persistence(path).data
        as_loaded = pickle.dumps(found, 5)
        assert len(spare) == 1
        spare[0][:] = bytes(len(spare[0]))
        assert pickle.dumps(found, 5) == as_loaded


def test_a_closed_source_is_not_read(tmp_path, spare):
    """Its buffer may hold another file then. Closing it again gives nothing back."""
    (tmp_path / "file").write_bytes(bytes(SIZE))
    source = folder.FolderStore(tmp_path).open("file")
    assert type(source) is PooledSource
    source.close()
    source.close()
    assert len(spare) == 1
    with pytest.raises(ValueError, match="closed"):
        source.read_at(1, 0)


@pytest.mark.parametrize("size", [99, 100, 101, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_what_fits_is_read_whole(tmp_path, size):
    """Into new memory below the limit, into a kept buffer above it; larger files are not read whole."""
    path = tmp_path / "file"
    content = bytes(range(256)) * (size // 256 + 1)
    path.write_bytes(content[:size])
    spare = []
    found = _disk.read_small(str(path), 100, spare)
    if size > 1 << 20:
        assert found is None
    else:
        assert found == content[:size]
        assert type(found) is (bytes if size < 100 else memoryview)
    if type(found) is memoryview:
        assert len(found.obj) == (1 << 20) + 64
        spare.append(found.obj)
        again = _disk.read_small(str(path), 100, spare)
        assert again.obj is found.obj
        assert not spare
    assert _disk.read_small(str(path), 100) == (content[:size] if size < 100 else None)


class ShiftedHandler(PickleHandler):
    """Writes and reads files in its own way, by the methods of its base."""

    def _read(self, file):
        fields = super()._read(file)
        fields["data"] = fields["data"][::-1]
        return fields


@pytest.mark.parametrize("size", [10, SIZE, 2_000_000])
def test_a_subclass_reads_in_its_own_way(tmp_path, size):
    """Files of every size."""
    handler = ShiftedHandler(Pair, tmp_path)
    PickleHandler(Pair, tmp_path).save_persistence(filled(Pair(1, 0), data=np.arange(size)))
    assert (handler.load_persistence(Pair(1, 0)).data == np.arange(size)[::-1]).all()
    assert [check.problem for check in handler.verify()] == [None]
    ((_, found),) = handler.load_all(Pair(1, missing))
    assert found.data[0] == size - 1
