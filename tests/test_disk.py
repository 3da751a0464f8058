"""Files without names, and what stamps tell of folders."""

from __future__ import annotations

import itertools
import os
import tempfile

import pytest

from neuralib.persistence import _disk
from neuralib.persistence._stores import system


@pytest.mark.skipif(not system.TMPFILE, reason="this system has no files without name")
def test_a_file_without_a_name_has_its_content(tmp_path):
    """And goes with whoever holds it."""
    made = _disk.write_unnamed(str(tmp_path), b"content")
    assert os.pread(made.fd, 100, 0) == b"content"
    assert not os.get_inheritable(made.fd)
    assert os.listdir(tmp_path) == []
    fd = made.fd
    del made
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert _disk.write_unnamed(str(tmp_path / "nowhere"), b"") is None
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file"):
        _disk.write_unnamed(str(tmp_path / "file" / "below"), b"")
    with pytest.raises(ValueError, match="null"):
        _disk.write_unnamed("a\0b", b"")


def test_folder_stamp_changes_with_the_names(tmp_path):
    """That is what it is for."""
    folder = str(tmp_path)
    for nanoseconds in (0, 1, 2, 1 << 30, 1 << 62):
        before = _disk.folder_stamp(folder)
        assert before.is_unchanged(_disk.folder_stamp(folder))
        os.utime(tmp_path, ns=(1, nanoseconds))
        now = _disk.folder_stamp(folder)
        assert not before.is_unchanged(now)
        assert not now.is_unchanged(before)
    twin = tmp_path / "twin"
    twin.mkdir()
    os.utime(twin, ns=(1, 1 << 62))
    os.utime(tmp_path, ns=(1, 1 << 62))
    assert not _disk.folder_stamp(str(twin)).is_unchanged(_disk.folder_stamp(folder))


def test_only_a_folder_that_is_there_has_a_stamp(tmp_path):
    """Whatever its name."""
    assert _disk.folder_stamp(str(tmp_path / "nowhere")) is None
    (tmp_path / "file").touch()
    assert _disk.folder_stamp(str(tmp_path / "file/x")) is None
    (tmp_path / "ümläut").mkdir()
    assert _disk.folder_stamp(str(tmp_path / "ümläut")).known


def test_an_unknown_stamp_holds_for_no_folder(tmp_path):
    """So whoever has nothing better looks again."""
    assert not _disk.UNKNOWN.known
    for stamp in (_disk.UNKNOWN, _disk.CHANGED, _disk.Stamp()):
        assert not stamp.is_unchanged(_disk.folder_stamp(str(tmp_path)))
    os.utime(tmp_path, ns=(0, 0))
    assert not _disk.UNKNOWN.is_unchanged(_disk.folder_stamp(str(tmp_path)))
    with pytest.raises(TypeError):
        _disk.UNKNOWN.is_unchanged(None)


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no file system in memory")
def test_folder_stamp_tells_changes_within_one_step_of_the_clock():
    """In memory, time advances by some milliseconds at once, in which many results are saved; the folder's size tells."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        found = [_disk.folder_stamp(folder)]
        for number in range(100):
            open(os.path.join(folder, str(number)), "w").close()
            found.append(_disk.folder_stamp(folder))
    assert not any(before.is_unchanged(now) for before, now in itertools.pairwise(found))
