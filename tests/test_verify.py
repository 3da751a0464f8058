"""Checking files without making results of them, and sweeping what killed processes left."""

from __future__ import annotations

import errno
import gzip
import os
import pickle
import time

import numpy as np
import pytest
from checks import Pair, Run, filled
from test_handlers import JsonHandler, NpzHandler

from neuralib.persistence import CorruptResultError, FileCheck, GzipHandler, PickleHandler, load, missing, save
from neuralib.persistence._keeping.records import CodecRecords
from neuralib.persistence._stores import system


@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler])
@pytest.mark.parametrize("data", [np.arange(3), np.arange(100_000.0), "x" * 200_000], ids=["small", "array", "text"])
def test_whole_files_pass_and_damaged_ones_are_named(tmp_path, kind, data):
    """Wherever a byte is changed or lost."""
    handler = kind(Pair, tmp_path)
    for n in range(3):
        handler.save_persistence(filled(Pair(n, "x"), data=data))
    paths = [handler.filepath(Pair(n, "x")) for n in range(3)]
    assert list(handler.verify()) == [FileCheck(it, None, checksummed=True) for it in paths]
    content = paths[1].read_bytes()
    for at in (0, 1, len(content) // 2, len(content) - 30, len(content) - 5, len(content) - 1):
        changed = bytearray(content)
        changed[at] ^= 4
        paths[1].write_bytes(changed)
        found = list(handler.verify(a=missing, b="x"))
        assert [it.problem is None for it in found] == [True, False, True] or kind is GzipHandler and 3 < at < 10
        paths[1].write_bytes(content[:at])
        (one,) = handler.verify(paths[1])
        assert isinstance(one.problem, CorruptResultError)
        assert one.problem.path == str(paths[1])
    assert [it.path for it in handler.verify(Pair(2, "x"))] == [paths[2]]


def test_files_of_others_are_checked_as_far_as_they_can_be(tmp_path):
    """A pickle without checksum is followed to its end; gzip always has one."""
    values = {"a": 1, "b": 2, "c": "default", "data": np.arange(50_000)}
    (tmp_path / "cache-Pair-1-2.pkl").write_bytes(pickle.dumps(values))
    (tmp_path / "cache-Pair-1-3.pkl").write_bytes(pickle.dumps(values | {"b": 3})[:-1000])
    (tmp_path / "cache-Pair-1-4.pkl").write_bytes(gzip.compress(pickle.dumps(values | {"b": 4})))
    (tmp_path / "cache-Pair-1-5.pkl").write_bytes(b"")
    (tmp_path / "cache-Pair-1-6.pkl").mkdir()
    found = {it.path.stem[-1]: it for it in PickleHandler(Pair, tmp_path).verify()}
    assert (found["2"].problem, found["2"].checksummed) == (None, False)
    assert (found["4"].problem, found["4"].checksummed) == (None, True)
    assert isinstance(found["3"].problem, CorruptResultError)
    assert isinstance(found["5"].problem, CorruptResultError)
    assert isinstance(found["6"].problem, IsADirectoryError)


def test_nothing_is_run_or_made(tmp_path):
    """The file of a class that can't be imported any more is whole all the same."""
    hostile = b"cnowhere\nNothing\n)R."
    (tmp_path / "cache-Pair-1-2.pkl").write_bytes(hostile)
    assert [it.problem for it in PickleHandler(Pair, tmp_path).verify()] == [None]


@pytest.mark.parametrize("kind", [JsonHandler, NpzHandler])
def test_other_formats_are_read(tmp_path, kind):
    """In their own way."""
    handler = kind(Pair, tmp_path)
    handler.save_persistence(filled(Pair("a", "b"), data="x"))
    (one,) = handler.verify()
    assert (one.problem, one.checksummed) == (None, False)
    if kind is JsonHandler:
        one.path.write_bytes(b"{")
        assert isinstance(next(handler.verify()).problem, CorruptResultError)


def test_sweeping_on_request(tmp_path):
    """What is old goes, what is new may be in the making."""
    handler = PickleHandler(Run, tmp_path)
    handler.save_persistence(filled(Run("A"), data=1))
    old, new, folder = (tmp_path / f"{system.LEFTOVER_PREFIX}{it}" for it in ("old", "new", "folder"))
    old.write_bytes(b"torn")
    new.write_bytes(b"torn")
    folder.mkdir()
    (folder / "part").write_bytes(b"x")
    long_ago = time.time() - 90_000
    for it in (old, folder / "part", folder):
        os.utime(it, (long_ago, long_ago))
    assert sorted(handler.sweep()) == sorted([old, folder])
    assert handler.sweep(older_than_s=-10) == [new]
    assert [it.name for it in tmp_path.iterdir()] == ["cache-Run-A-#0.pkl"]
    assert PickleHandler(Run, tmp_path / "nowhere").sweep() == []


def test_a_field_that_cannot_be_pickled_is_named(tmp_path):
    """And the former result stays."""
    path = tmp_path / "x.pkl"
    save(filled(Pair(1, 2), data="former"), path)
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)) as caught:
        save(filled(Pair(1, 2), data={"f": lambda: 0}), path)
    assert "the field data, a dict, can't be pickled" in caught.value.__notes__[-1]
    assert load(Pair, path).data == "former"
    assert os.listdir(tmp_path) == ["x.pkl"]


def test_what_is_removed_after_it_was_listed_is_not_there(tmp_path, monkeypatch):
    """Neither for loading nor for checking; a file that was named is missing, and a broken link is one."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_all(filled(Pair(n, "x"), data=n) for n in range(3))
    everything = {"a": missing, "b": missing}
    loading, checking = handler.load_all(None, **everything), handler.verify()
    assert next(loading)[1].a == 0
    assert next(checking).problem is None
    os.unlink(handler.filepath(Pair(1, "x")))
    assert [it.a for _, it in loading] == [2]
    assert [it.path.name for it in checking] == ["cache-Pair-2-x.pkl"]
    (missing_file,) = handler.verify(handler.filepath(Pair(1, "x")))
    assert isinstance(missing_file.problem, FileNotFoundError)
    os.symlink("nowhere", handler.filepath(Pair(1, "x")))
    with pytest.raises(FileNotFoundError):
        list(handler.load_all(None, **everything))
    assert sum(it.problem is not None for it in handler.verify()) == 1


def test_a_file_that_is_replaced_while_it_is_looked_for_is_read(tmp_path, monkeypatch):
    """Its number was free for a moment, and given to another result."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(filled(Pair(1, "x"), data=1))
    real, turns = CodecRecords.check, []

    def missed_once(self, store, name):
        turns.append(name)
        if len(turns) == 1:
            raise FileNotFoundError(errno.ENOENT, "gone", store.location(name))
        return real(self, store, name)

    monkeypatch.setattr(CodecRecords, "check", missed_once)
    assert [it.problem for it in handler.verify()] == [None]
    assert len(turns) == 2
    loading, loads = CodecRecords.load, []

    def load_missed_once(self, store, name):
        loads.append(name)
        if len(loads) == 1:
            raise FileNotFoundError(errno.ENOENT, "gone", store.location(name))
        return loading(self, store, name)

    monkeypatch.setattr(CodecRecords, "load", load_missed_once)
    assert [it.data for _, it in handler.load_all(Pair(missing, missing))] == [1]
    assert len(loads) == 2
