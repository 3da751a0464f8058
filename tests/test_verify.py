"""Verifying files without loading them, and removing what killed processes left behind."""

from __future__ import annotations

import errno
import gzip
import os
import pickle
import time
from pathlib import Path

import hostile_files
import numpy as np
import pytest
from checks import NOT_PICKLED, Pair, Run, filled
from test_handlers import JsonHandler, NpzHandler

from neuralib.persistence import (
    CorruptResultError,
    FileCheck,
    GzipHandler,
    PersistenceError,
    PickleHandler,
    load,
    missing,
    save,
)
from neuralib.persistence._bytes import pread
from neuralib.persistence._commands.content import check
from neuralib.persistence._commands.entry import main
from neuralib.persistence._keeping.records import CodecRecords
from neuralib.persistence._stores import system


@pytest.mark.parametrize("data", ["some text", np.arange(100_000.0)], ids=["small", "array"])
def test_a_damaged_content_that_was_compressed_is_named_and_replaced(tmp_path, data):
    """As memory may damage it before it is compressed: then only the checksum of the content tells."""
    handler = GzipHandler(Pair, tmp_path)
    result = filled(Pair(1, "x"), data=data)
    handler.save_persistence(result)
    path = handler.filepath(result)
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[content.rindex(b"some text" if isinstance(data, str) else data[-1:].tobytes())] ^= 1
    path.write_bytes(gzip.compress(content))
    with pytest.raises(CorruptResultError, match="checksum"):
        handler.load_persistence(path)
    assert "checksum" in str(next(handler.verify()).problem)
    handler.save_persistence(result)
    assert np.array_equal(handler.load_persistence(path).data, data)


@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler])
@pytest.mark.parametrize("data", [np.arange(3), np.arange(100_000.0), "x" * 200_000], ids=["small", "array", "text"])
def test_whole_files_pass_and_damaged_ones_are_named(tmp_path, kind, data):
    """Wherever a byte is changed or missing."""
    handler = kind(Pair, tmp_path)
    for n in range(3):
        handler.save_persistence(filled(Pair(n, "x"), data=data))
    paths = [handler.filepath(Pair(n, "x")) for n in range(3)]
    assert list(handler.verify()) == [FileCheck(path, None, checksummed=True) for path in paths]
    content = paths[1].read_bytes()
    for at in (0, 1, len(content) // 2, len(content) - 30, len(content) - 5, len(content) - 1):
        changed = bytearray(content)
        changed[at] ^= 4
        paths[1].write_bytes(changed)
        found = list(handler.verify(a=missing, b="x"))
        assert [check.problem is None for check in found] == [True, False, True] or kind is GzipHandler and 3 < at < 10
        paths[1].write_bytes(content[:at])
        (one,) = handler.verify(paths[1])
        assert isinstance(one.problem, CorruptResultError)
        assert one.problem.path == str(paths[1])
    assert [check.path for check in handler.verify(Pair(2, "x"))] == [paths[2]]


def test_files_of_others_are_checked_as_far_as_they_can_be(tmp_path):
    """A pickle without a checksum is read to its end; gzip always has one."""
    values = {"a": 1, "b": 2, "c": "default", "data": np.arange(50_000)}
    (tmp_path / "cache-Pair-1-2.pkl").write_bytes(pickle.dumps(values))
    (tmp_path / "cache-Pair-1-3.pkl").write_bytes(pickle.dumps(values | {"b": 3})[:-1000])
    (tmp_path / "cache-Pair-1-4.pkl").write_bytes(gzip.compress(pickle.dumps(values | {"b": 4})))
    (tmp_path / "cache-Pair-1-5.pkl").write_bytes(b"")
    (tmp_path / "cache-Pair-1-6.pkl").mkdir()
    found = {check.path.stem[-1]: check for check in PickleHandler(Pair, tmp_path).verify()}
    assert (found["2"].problem, found["2"].checksummed) == (None, False)
    assert (found["4"].problem, found["4"].checksummed) == (None, True)
    assert isinstance(found["3"].problem, CorruptResultError)
    assert isinstance(found["5"].problem, CorruptResultError)
    assert isinstance(found["6"].problem, IsADirectoryError)


def test_verify_runs_no_code_and_makes_no_objects(tmp_path):
    """So a file whose class can't be imported any more can be verified."""
    hostile = b"cnowhere\nNothing\n)R."
    (tmp_path / "cache-Pair-1-2.pkl").write_bytes(hostile)
    assert [check.problem for check in PickleHandler(Pair, tmp_path).verify()] == [None]


@pytest.mark.parametrize("kind", [JsonHandler, NpzHandler])
def test_other_formats_are_read(tmp_path, kind):
    """By their own methods."""
    handler = kind(Pair, tmp_path)
    handler.save_persistence(filled(Pair("a", "b"), data="x"))
    (one,) = handler.verify()
    assert (one.problem, one.checksummed) == (None, False)
    if kind is JsonHandler:
        one.path.write_bytes(b"{")
        assert isinstance(next(handler.verify()).problem, CorruptResultError)


def test_sweeping_on_request(tmp_path):
    """Old leftovers are removed; new ones may belong to a save in progress."""
    handler = PickleHandler(Run, tmp_path)
    handler.save_persistence(filled(Run("A"), data=1))
    old, new, folder = (tmp_path / f"{system.LEFTOVER_PREFIX}{path}" for path in ("old", "new", "folder"))
    old.write_bytes(b"torn")
    new.write_bytes(b"torn")
    files = folder / folder.name
    files.mkdir(parents=True)
    (files / "part").write_bytes(b"x")
    long_ago = time.time() - 90_000
    for path in (old, files / "part", files, folder):
        os.utime(path, (long_ago, long_ago))
    assert sorted(handler.sweep()) == sorted([old, folder])
    assert handler.sweep(older_than_s=-10) == [new]
    assert [path.name for path in tmp_path.iterdir()] == ["cache-Run-A-#0.pkl"]
    assert PickleHandler(Run, tmp_path / "nowhere").sweep() == []


def test_sweeping_removes_nothing_but_leftovers(tmp_path):
    """A folder with a hidden name stays. A link is removed, but not its target."""
    folder, private = tmp_path / "shared", tmp_path / "private"
    handler = PickleHandler(Run, folder)
    handler.save_persistence(filled(Run("A"), data=1))
    renamed, linked, within = (folder / f"{system.LEFTOVER_PREFIX}{name}" for name in ("renamed", "linked", "within"))
    for place in (private, renamed, renamed / "deep"):
        place.mkdir()
        (place / "thesis").write_text("months of work")
    linked.symlink_to(private)
    within.mkdir()
    (within / within.name).symlink_to(private)
    assert sorted(handler.sweep(older_than_s=-60)) == [linked, within]
    assert (private / "thesis").read_text() == (renamed / "thesis").read_text() == "months of work"
    assert (renamed / "deep" / "thesis").exists()


def test_a_hook_whose_folder_is_swapped_takes_nothing_from_elsewhere(tmp_path):
    """Its file is missing then, which is an error; the target of the link is not touched."""
    private = tmp_path / "private"
    private.mkdir()

    class Swapped(PickleHandler[Pair]):
        def _save_persistence(self, result, path):
            (private / path.name).write_text("another file of this name")
            for hidden in (path.parent, path.parent.parent)[: self.levels]:
                hidden.rename(f"{hidden}-away")
                hidden.symlink_to(private)
            if self.levels == 2:
                return
            path.write_bytes(b"written through the link")

    for levels in (1, 2):
        handler = Swapped(Pair, tmp_path / "shared")
        handler.levels = levels
        with pytest.raises(FileNotFoundError, match="did not write the file"):
            handler.save_persistence(filled(Pair(1, levels), data=1))
        assert [file.name for file in private.iterdir()] != []
    assert {file.name for file in private.iterdir()} == {"cache-Pair-1-1.pkl", "cache-Pair-1-2.pkl"}


def test_a_field_that_cannot_be_pickled_is_named(tmp_path):
    """The former result stays."""
    path = tmp_path / "x.pkl"
    save(filled(Pair(1, 2), data="former"), path)
    with pytest.raises(NOT_PICKLED) as caught:
        save(filled(Pair(1, 2), data={"f": lambda: 0}), path)
    assert "the field data, a dict, can't be pickled" in caught.value.__notes__[-1]
    assert load(Pair, path).data == "former"
    assert os.listdir(tmp_path) == ["x.pkl"]


def test_a_file_removed_after_listing_is_skipped(tmp_path, monkeypatch):
    """By loading and by verifying. A file that was asked for by name is reported missing, and a broken link is reported."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_all(filled(Pair(n, "x"), data=n) for n in range(3))
    everything = {"a": missing, "b": missing}
    loading, checking = handler.load_all(None, **everything), handler.verify()
    assert next(loading)[1].a == 0
    assert next(checking).problem is None
    os.unlink(handler.filepath(Pair(1, "x")))
    assert [result.a for _, result in loading] == [2]
    assert [hit.path.name for hit in checking] == ["cache-Pair-2-x.pkl"]
    (missing_file,) = handler.verify(handler.filepath(Pair(1, "x")))
    assert isinstance(missing_file.problem, FileNotFoundError)
    os.symlink("nowhere", handler.filepath(Pair(1, "x")))
    assert [result.a for _, result in handler.load_all(None, **everything)] == [0, 2]
    assert sum(check.problem is not None for check in handler.verify()) == 1


def test_a_file_that_is_replaced_while_it_is_looked_for_is_read(tmp_path, monkeypatch):
    """Its number was free for a moment, and assigned to another result."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(filled(Pair(1, "x"), data=1))
    real, turns = CodecRecords.check, []

    def missed_once(self, store, name):
        turns.append(name)
        if len(turns) == 1:
            raise FileNotFoundError(errno.ENOENT, "gone", store.location(name))
        return real(self, store, name)

    monkeypatch.setattr(CodecRecords, "check", missed_once)
    assert [check.problem for check in handler.verify()] == [None]
    assert len(turns) == 2
    loading, loads = CodecRecords.load, []

    def load_missed_once(self, store, name):
        loads.append(name)
        if len(loads) == 1:
            raise FileNotFoundError(errno.ENOENT, "gone", store.location(name))
        return loading(self, store, name)

    monkeypatch.setattr(CodecRecords, "load", load_missed_once)
    assert [result.data for _, result in handler.load_all(Pair(missing, missing))] == [1]
    assert len(loads) == 2


# ------------------------------------------------------------------------------------------ sparse files


def is_sparse_here(folder):
    path = folder / "sparse"
    with open(path, "wb") as file:
        file.truncate(1 << 30)
    return getattr(path.stat(), "st_blocks", 1 << 40) * 512 < 1 << 20 and hasattr(os, "SEEK_DATA")


def test_holes_are_verified_without_being_read(tmp_path, monkeypatch):
    """A sparse file of a terabyte is checked quickly, with the same answer as if its zeros were read."""
    if not is_sparse_here(tmp_path):
        pytest.skip("no sparse files here")
    hostile_files.write_sparse_files(tmp_path)
    read = []
    plain = pread.read_at
    monkeypatch.setattr(pread, "read_at", lambda fd, count, at: read.append(count) or plain(fd, count, at))
    outcomes = {}
    for path in sorted(tmp_path.glob("cache-Pair-1-*")):
        try:
            outcomes[path.name[13:]] = check(str(path))[0]
        except PersistenceError as error:
            outcomes[path.name[13:]] = str(error)
    assert sum(read) < 100 << 20
    assert outcomes.pop("array.pkl") is True
    assert "bytes in holes of the file, where nothing was written" in outcomes.pop("a mark.pkl")
    assert outcomes.pop("bytes.pkl") is False, "whole, without a checksum"
    assert all(isinstance(outcome, str) for outcome in outcomes.values()), outcomes
    with open(tmp_path / "cache-Pair-1-array.pkl", "r+b") as file:
        file.seek(1 << 39)
        file.write(b"\1")
    with pytest.raises(CorruptResultError, match="checksum"):
        check(str(tmp_path / "cache-Pair-1-array.pkl"))


def test_holes_are_not_loaded_without_trust(tmp_path):
    """They would fill the memory: what a file has on the disk says what its author had."""
    if not is_sparse_here(tmp_path):
        pytest.skip("no sparse files here")
    hostile_files.write_sparse_files(tmp_path)
    handler = PickleHandler(Pair, tmp_path, trusted=False)
    for name in ("array", "bytes"):
        with pytest.raises(CorruptResultError, match="bytes of it are holes of a sparse file"):
            handler.load_persistence(tmp_path / f"cache-Pair-1-{name}.pkl")
    problems: list[str] = []
    assert list(handler.load_all(a=missing, b=missing, on_corrupt=lambda error: problems.append(str(error)))) == []
    assert len(problems) == 8


def test_a_sparse_copy_is_the_same_result(tmp_path):
    """Programs that copy leave holes for zeros, in arrays and beside them."""
    data = np.zeros(3_000_000)
    data[1_000_000:1_000_010] = 1
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(filled(Pair(1, 2), data=[data, bytes(5_000_000), data[:100_000]]))
    path = handler.filepath(Pair(1, 2))
    content = Path(path).read_bytes()
    copy = tmp_path / "copy" / Path(path).name
    copy.parent.mkdir()
    with open(copy, "wb") as file:
        for at in range(0, len(content), 4096):
            block = content[at : at + 4096]
            file.seek(at)
            if any(block):
                file.write(block)
        file.truncate(len(content))
    assert copy.read_bytes() == content
    assert check(str(copy))[0] is True
    with open(copy, "r+b") as file:
        file.seek(len(content) // 2)
        file.write(bytes([content[len(content) // 2] ^ 1]))
    with pytest.raises(CorruptResultError):
        check(str(copy))


def test_a_hole_of_a_terabyte_is_not_converted(tmp_path, capsys):
    """Compressing its zeros would take hours."""
    if not is_sparse_here(tmp_path):
        pytest.skip("no sparse files here")
    hostile_files.write_sparse_files(tmp_path)
    assert main(["convert", "--to", "gzip", str(tmp_path / "cache-Pair-1-array.pkl")]) == 1
    assert "of its 1.1 TB are on the disk" in capsys.readouterr().err
    assert (tmp_path / "cache-Pair-1-array.pkl").exists()
