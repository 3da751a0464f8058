"""The compiled functions for files: files without names, and stamps that show changes of a folder."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile

import numpy as np
import pytest
import reference

from neuralib.persistence import _disk
from neuralib.persistence._stores import system


@pytest.mark.skipif(not system.TMPFILE, reason="this system has no files without name")
def test_a_file_without_a_name_has_its_content(tmp_path):
    """It is gone when the last descriptor is closed."""
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
    """A stamp shows whether names were added or removed."""
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
    """Not a missing path, nor a path below a file."""
    assert _disk.folder_stamp(str(tmp_path / "nowhere")) is None
    (tmp_path / "file").touch()
    assert _disk.folder_stamp(str(tmp_path / "file/x")) is None
    (tmp_path / "ümläut").mkdir()
    assert _disk.folder_stamp(str(tmp_path / "ümläut")).known


def test_an_unknown_stamp_holds_for_no_folder(tmp_path):
    """Then the folder is listed again."""
    assert not _disk.UNKNOWN.known
    for stamp in (_disk.UNKNOWN, _disk.CHANGED, _disk.Stamp()):
        assert not stamp.is_unchanged(_disk.folder_stamp(str(tmp_path)))
    os.utime(tmp_path, ns=(0, 0))
    assert not _disk.UNKNOWN.is_unchanged(_disk.folder_stamp(str(tmp_path)))
    with pytest.raises(TypeError):
        _disk.UNKNOWN.is_unchanged(None)


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no file system in memory")
def test_folder_stamp_tells_changes_within_one_step_of_the_clock():
    """In memory, the clock advances in steps of milliseconds, in which many results are saved; the folder's size tells."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        found = [_disk.folder_stamp(folder)]
        for number in range(100):
            open(os.path.join(folder, str(number)), "w").close()
            found.append(_disk.folder_stamp(folder))
    assert not any(before.is_unchanged(now) for before, now in itertools.pairwise(found))


BOTH = pytest.mark.parametrize("disk", [_disk, reference], ids=["compiled", "reference"])
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows goes other ways")
UNNAMED = pytest.mark.skipif(not system.TMPFILE, reason="this system has no files without name")


@BOTH
def test_a_path_leads_to_the_file_that_was_looked_at(disk, tmp_path):
    """No longer where another file has the name, or none."""
    path = tmp_path / "ümläut"
    path.touch()
    found = os.stat(path)
    numbers = found.st_dev, found.st_ino
    assert disk.leads_to(str(path), *numbers)
    assert not disk.leads_to(str(path), found.st_dev + 1, found.st_ino)
    path.rename(tmp_path / "elsewhere")
    assert not disk.leads_to(str(path), *numbers)
    path.touch()
    assert not disk.leads_to(str(path), *numbers)
    with pytest.raises(ValueError, match="null|\0"):
        disk.leads_to("a\0b", *numbers)


@BOTH
def test_an_open_file_is_closed_once(disk, tmp_path):
    """By its method, or with the last reference to it."""
    file = disk.OpenFile(str(tmp_path / "file"), os.O_CREAT | os.O_RDWR, 0o600)
    fd = file.fd
    os.write(fd, b"content")
    file.close()
    file.close()
    assert file.fd == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    with pytest.raises(FileNotFoundError):
        disk.OpenFile(str(tmp_path / "nowhere"), os.O_RDONLY)
    if os.open in os.supports_dir_fd:
        folder = disk.OpenFile(str(tmp_path), os.O_RDONLY)
        assert disk.OpenFile("file", os.O_RDONLY, 0, folder.fd).fd > 0
    file = disk.OpenFile(str(tmp_path / "file"), os.O_RDONLY)
    fd = file.fd
    del file
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


@POSIX
@BOTH
@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 5000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_read_small_reads_what_is_below_its_limit(disk, tmp_path, size):
    """Below the limit as bytes; up to 1 MiB into a buffer, one of the caller's if it is large enough; else None."""
    path, content = tmp_path / "é", os.urandom(size)
    path.write_bytes(content)
    assert disk.read_small(str(path), 100) == (content if 0 < size < 100 else None)
    whole = (1 << 20) + 64
    for spare in ([], [bytearray(whole)], [bytearray(10)]):
        found = disk.read_small(str(path), 100, spare)
        assert found == (content if 0 < size <= 1 << 20 else None)
        assert isinstance(found, memoryview) == (100 <= size <= 1 << 20)
        if isinstance(found, memoryview):
            assert len(found.obj) == whole
            assert spare == [], "the piece is in use, or too small"
            assert np.frombuffer(found, np.uint8).ctypes.data % 64 == 0, "some processors are slow elsewhere"


@POSIX
@BOTH
def test_read_small_reads_regular_files_alone(disk, tmp_path):
    """Not folders or pipes; a missing file is an error."""
    assert disk.read_small(str(tmp_path), 100) is None
    os.mkfifo(tmp_path / "pipe")
    assert disk.read_small(str(tmp_path / "pipe"), 100) is None
    with pytest.raises(FileNotFoundError):
        disk.read_small(str(tmp_path / "nowhere"), 100)
    with pytest.raises(ValueError, match="a"):
        disk.read_small("a\0b", 100)


@UNNAMED
@BOTH
def test_publishing_makes_the_folder_where_asked(disk, tmp_path):
    """But none above it."""
    folder = str(tmp_path / "new")
    assert disk.publish_unnamed(f"{folder}/b", f"{folder}/b/a", b"", False, makes_folder=True) is None
    assert not os.path.exists(folder)
    for name in ("a", "b"):
        assert disk.publish_unnamed(folder, f"{folder}/{name}", b"made", False, makes_folder=True) is disk.UNKNOWN
    assert (tmp_path / "new/a").read_bytes() == b"made"


@POSIX
@BOTH
def test_read_former_reads_small_regular_files_alone(disk, tmp_path):
    """With their mode and owner; no links, folders, pipes, empty or missing files, which a closer look tells apart."""
    path = tmp_path / "é"
    path.write_bytes(b"content")
    path.chmod(0o640)
    data, mode, owner = disk.read_former(str(path), 100)
    assert (data, mode & 0o777, owner) == (b"content", 0o640, os.geteuid())
    assert disk.read_former(str(path), 8) is not None
    assert disk.read_former(str(path), 7) is None
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    for name in ("link", "pipe", "empty", "nowhere", "."):
        assert disk.read_former(str(tmp_path / name), 100) is None


@UNNAMED
@BOTH
def test_a_file_is_replaced_in_one_step(disk, tmp_path):
    """It keeps the permissions of the former one where they are given; where it can't be renamed, it is left."""
    hidden, target = tmp_path / "hidden", tmp_path / "target"
    target.write_bytes(b"former")
    assert disk.replace_file(str(hidden), str(target), b"new")
    assert target.read_bytes() == b"new"
    default = target.stat().st_mode & 0o777
    for mode, owner, wanted in ((0o100604, os.geteuid(), 0o604), (0o100604, os.geteuid() + 1, default)):
        assert disk.replace_file(str(hidden), str(target), b"", mode, owner)
        assert target.stat().st_mode & 0o777 == wanted
    assert not hidden.exists()
    (tmp_path / "folder").mkdir()
    assert not disk.replace_file(str(hidden), str(tmp_path / "folder"), b"kept")
    assert hidden.read_bytes() == b"kept"
    with pytest.raises(FileExistsError):
        disk.replace_file(str(hidden), str(target), b"other")
    assert hidden.read_bytes() == b"kept"


@UNNAMED
@BOTH
def test_a_file_is_published_whole_and_once(disk, tmp_path):
    """If the folder's stamp is not the expected one, nothing is published."""
    folder, target = str(tmp_path), str(tmp_path / "target")
    assert disk.publish_unnamed(folder, target, b"first", False) is disk.UNKNOWN
    with pytest.raises(FileExistsError):
        disk.publish_unnamed(folder, target, b"second", False)
    assert (tmp_path / "target").read_bytes() == b"first"
    before, held = disk.folder_stamp(folder), disk.OpenFile(folder, os.O_RDONLY)
    now = disk.publish_unnamed(folder, str(tmp_path / "other"), b"other", True, before, held)
    assert now is before  # brought up to date, for other threads that expect it
    assert now.known
    assert now.is_unchanged(disk.folder_stamp(folder))
    os.utime(tmp_path, ns=(1, 1))
    assert disk.publish_unnamed(folder, str(tmp_path / "third"), b"third", True, now, held) is disk.CHANGED
    nowhere = str(tmp_path / "nowhere")
    assert disk.publish_unnamed(nowhere, f"{nowhere}/a", b"", False) is None
    assert disk.write_unnamed(nowhere, b"") is None
    made = disk.write_unnamed(folder, b"content")
    assert os.pread(made.fd, 100, 0) == b"content"
    assert sorted(os.listdir(tmp_path)) == ["other", "target"]


@POSIX
@BOTH
def test_rename_exclusively_replaces_nothing(disk, tmp_path):
    """If the name is taken, it raises."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("content")
    if not disk.rename_exclusively(str(source), str(target)):
        pytest.skip("this file system has no such step")
    assert not source.exists()
    source.write_text("other")
    with pytest.raises(FileExistsError):
        disk.rename_exclusively(str(source), str(target))
    assert (source.read_text(), target.read_text()) == ("other", "content")
    with pytest.raises(FileNotFoundError):
        disk.rename_exclusively(str(tmp_path / "nowhere"), str(tmp_path / "new"))


@POSIX
@BOTH
def test_hints_to_the_disk_change_no_file(disk, tmp_path):
    """Reserved room counts neither as content nor as size."""
    file = disk.OpenFile(str(tmp_path / "file"), os.O_CREAT | os.O_RDWR)
    os.write(file.fd, b"content")
    disk.reserve(file.fd, 0, 1 << 16)
    assert disk.sync_file_system(file.fd) in {True, False}
    assert (tmp_path / "file").read_bytes() == b"content"
    fd = file.fd
    file.close()
    disk.reserve(fd, 0, 10)  # only a hint: an error shows when the file is written
    if disk is reference or sys.platform == "linux":
        with pytest.raises(OSError, match="Bad file descriptor"):
            disk.sync_file_system(fd)


@BOTH
def test_a_stamp_holds_for_its_folder_until_that_changes(disk, tmp_path):
    """A missing folder has none."""
    assert disk.folder_stamp(str(tmp_path / "nowhere")) is None
    before = disk.folder_stamp(str(tmp_path))
    assert before.known
    assert before.is_unchanged(disk.folder_stamp(str(tmp_path)))
    os.utime(tmp_path, ns=(1, 1))
    assert not before.is_unchanged(disk.folder_stamp(str(tmp_path)))
    for stamp in (disk.UNKNOWN, disk.CHANGED):
        assert not stamp.known
        assert not stamp.is_unchanged(before)
