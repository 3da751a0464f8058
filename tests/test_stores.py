"""After a failed save, the file is the former one; after a successful one, it is complete."""

from __future__ import annotations

import errno
import gc
import os
import stat
import sys
import tempfile
import time
from pathlib import Path

import pytest
from checks import NOT_PICKLED, Pair, filled

from neuralib.persistence import PersistenceHandler, PickleHandler, _disk, load
from neuralib.persistence._stores import system
from neuralib.persistence._stores.drafts import FolderDraft
from neuralib.persistence._stores.folder import FolderStore

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and permissions of POSIX")


class TextHandler(PersistenceHandler):
    """A handler whose hooks write and read by path."""

    def __init__(self, root):
        self.root = root

    persistence_class = Pair
    save_root = property(lambda self: self.root)

    def _save_persistence(self, result, path):
        path.write_text(result.data)

    def _load_persistence(self, path):
        return filled(Pair(1, 2), data=path.read_text())


@pytest.fixture(params=["unnamed", "hidden", "no links"])
def publishing(request, monkeypatch):
    """The methods of publishing: a file without a name, a hidden name, and a hidden name where there are no hard links."""
    if request.param == "unnamed" and not system.TMPFILE:
        pytest.skip("this system has no files without name")
    if request.param != "unnamed":
        monkeypatch.setattr(system, "TMPFILE", 0)
    if request.param == "no links":

        def link(*_, **__):
            raise OSError(errno.EOPNOTSUPP, "no links here")

        monkeypatch.setattr(os, "link", link)
    return request.param


def publish(root, name, data, *, over=False):
    draft = FolderStore(str(root)).draft()
    try:
        draft.write(data)
        (draft.publish_over if over else draft.publish_new)(name)
    finally:
        draft.discard()


@pytest.mark.parametrize("data", [b"", b"small", b"x" * 3_000_000], ids=len)
def test_bytes_get_their_name_in_one_step(publishing, tmp_path, data):
    """A new name, a name that is taken, and a replacement: nothing is left over, no open descriptor either."""
    root = tmp_path / "made" / "here"
    gc.collect()  # of other tests: their descriptors must not be closed meanwhile
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    publish(root, "a", data)
    with pytest.raises(FileExistsError):
        publish(root, "a", b"second")
    assert (root / "a").read_bytes() == data
    publish(root, "a", b"third", over=True)
    assert (root / "a").read_bytes() == b"third"
    assert os.listdir(root) == ["a"]
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_draft_that_is_discarded_leaves_nothing(publishing, tmp_path):
    """Small or large."""
    for size in (3, 3_000_000):
        draft = FolderStore(str(tmp_path)).draft()
        draft.write(b"x" * size)
        draft.discard()
        draft.discard()
    assert os.listdir(tmp_path) == []


def test_chunks_of_any_kind_arrive_in_order(publishing, tmp_path):
    """Views, arrays of bytes, more than one system call."""
    draft = FolderStore(str(tmp_path)).draft()
    parts = [b"ab", bytearray(b"c" * 2_000_000), memoryview(b"def"), b"", memoryview(b"0123").cast("H")]
    sizes = [draft.write(part) for part in parts]
    draft.publish_new("x")
    draft.discard()
    assert sizes == [2, 2_000_000, 3, 0, 4]
    assert (tmp_path / "x").read_bytes() == b"ab" + b"c" * 2_000_000 + b"def0123"


def test_a_result_that_cannot_be_saved_leaves_the_former_one(publishing, tmp_path):
    """Pickling fails half-way, with a megabyte written."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(filled(Pair(1, 2), data="former"))
    with pytest.raises(NOT_PICKLED, match="pickle|local object"):
        handler.save_persistence(filled(Pair(1, 2), data=[b"x" * 3_000_000, lambda: 0]))
    with pytest.raises(NOT_PICKLED, match="pickle|local object"):
        handler.save_persistence(filled(Pair(1, 3), data=lambda: 0))
    assert os.listdir(tmp_path) == ["cache-Pair-1-2.pkl"]
    assert handler.load_persistence(Pair(1, 2)).data == "former"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_full_disk_leaves_the_former_result(publishing, tmp_path, monkeypatch, code):
    """The error names the path and the operation."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(filled(Pair(1, 2), data="former"))

    def write(fd, data):
        raise OSError(code, "as the system says")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        patch.setattr(_disk, "write_unnamed", write)
        patch.setattr(_disk, "replace_file", lambda *_: write(0, b""))
        with pytest.raises(OSError, match="while writing a result into the folder") as caught:
            handler.save_persistence(filled(Pair(1, 2), data="new"))
    assert (caught.value.errno, caught.value.filename) == (code, str(tmp_path))
    assert os.listdir(tmp_path) == ["cache-Pair-1-2.pkl"]
    assert handler.load_persistence(Pair(1, 2)).data == "former"


def test_short_writes_are_completed(publishing, tmp_path, monkeypatch):
    """A system call may take less than it was given."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:7]))
    monkeypatch.setattr(system, "publish_whole", lambda *_, **__: None)
    monkeypatch.setattr(system, "write_unnamed", lambda *_: None)
    publish(tmp_path, "x", b"0123456789" * 20)
    assert (tmp_path / "x").read_bytes() == b"0123456789" * 20


def test_nothing_is_written_through_links(publishing, tmp_path):
    """Neither symbolic nor hard links; a broken symbolic link is replaced too."""
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "theirs").write_text("theirs")
    name = root / "cache-Pair-1-2.pkl"
    for make in (
        lambda: name.symlink_to(tmp_path / "theirs"),
        lambda: name.symlink_to(tmp_path / "nowhere"),
        lambda: os.link(tmp_path / "theirs", name),
    ):
        if publishing == "no links" and "hard" in str(make):
            continue
        name.unlink(missing_ok=True)
        try:
            make()
        except OSError:
            continue
        PickleHandler(Pair, root).save_persistence(filled(Pair(1, 2), data="mine"), name)
        assert (tmp_path / "theirs").read_text() == "theirs"
        assert not name.is_symlink()
        assert load(Pair, name).data == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_or_a_pipe_at_the_target_is_refused(publishing, tmp_path):
    """It is not destroyed, and the save does not wait for a reader of the pipe."""
    handler = PickleHandler(Pair, tmp_path)
    name = handler.filepath(Pair(1, 2))
    name.mkdir()
    for path in (None, name):
        with pytest.raises(IsADirectoryError, match="is a folder"):
            handler.save_persistence(Pair(1, 2), path)
    name.rmdir()
    os.mkfifo(name)
    for path in (None, name):
        with pytest.raises((FileExistsError, ValueError), match=r"no regular file|a pipe"):
            handler.save_persistence(Pair(1, 2), path)
    with pytest.raises(ValueError, match="a pipe"):
        handler.load_persistence(name)
    assert stat.S_ISFIFO(name.stat().st_mode)
    assert os.listdir(tmp_path) == [name.name]


def test_a_link_that_is_reported_failed_and_was_made_counts(tmp_path, monkeypatch):
    """Network file systems repeat a request whose answer was lost; the second then fails."""
    link = os.link

    def twice(*arguments, **options):
        link(*arguments, **options)
        raise OSError(errno.EPERM, "lost the answer")

    for tmpfile in {system.TMPFILE, 0}:
        with monkeypatch.context() as patch:
            patch.setattr(system, "TMPFILE", tmpfile)
            patch.setattr(os, "link", twice)
            publish(tmp_path, f"x{tmpfile}", b"data")
        assert (tmp_path / f"x{tmpfile}").read_bytes() == b"data"
    assert len(os.listdir(tmp_path)) == len({system.TMPFILE, 0})


def test_a_lost_race_that_is_reported_as_eperm_is_a_lost_race(tmp_path, monkeypatch):
    """sshfs reports EPERM where the name is taken."""
    (tmp_path / "x").write_bytes(b"theirs")

    def link(*_, **__):
        raise OSError(errno.EPERM, "not permitted")

    monkeypatch.setattr(system, "TMPFILE", 0)
    monkeypatch.setattr(os, "link", link)
    with pytest.raises(FileExistsError):
        publish(tmp_path, "x", b"mine")
    assert (tmp_path / "x").read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["x"]


def test_the_mode_of_a_replaced_file_is_kept(publishing, tmp_path):
    """Somebody set it, for example for a group that shares results."""
    publish(tmp_path, "x", b"1")
    os.chmod(tmp_path / "x", 0o664)
    publish(tmp_path, "x", b"2", over=True)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o664


@pytest.mark.skipif(not system.TMPFILE, reason="this system has no files without name")
def test_a_large_file_has_its_permissions_before_its_hidden_name(tmp_path, monkeypatch):
    """Whoever opened it for a moment could read it for good: see ``tests/stress/test_strangers.py`` for small files."""
    store, linked, modes = FolderStore(tmp_path), FolderDraft._linked, []
    store.put("x", b"1")
    os.chmod(tmp_path / "x", 0o600)

    def seen(draft, path):
        found = linked(draft, path)
        if os.path.basename(path) != "x":
            modes.append(os.stat(path).st_mode & 0o777)
        return found

    monkeypatch.setattr(FolderDraft, "_linked", seen)
    draft = store.draft()
    draft.write(b"2" * (1 << 20))
    store.put("x", draft, replace=True)
    assert modes == [0o600]
    assert os.stat(tmp_path / "x").st_mode & 0o777 == 0o600


def test_a_store_that_has_replaced_a_result_stores_new_ones_too(tmp_path):
    """After a replacement the store looks at a name before it writes: the status of the former name must not count for the next."""
    store = FolderStore(tmp_path)
    for content in (b"first", b"second"):
        store.put("a", content, replace=True)
    store.put("b", b"new", replace=True)
    store.put("a", b"third", replace=True)
    os.unlink(tmp_path / "a")
    store.put("a", b"new again", replace=True)
    with pytest.raises(FileExistsError):
        store.put("a", b"lost")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"new again", "b": b"new"}


def test_hidden_names_are_no_results(tmp_path):
    """A killed process may leave hidden files."""
    (tmp_path / f"{system.LEFTOVER_PREFIX}0123").write_bytes(b"torn")
    assert FolderStore(str(tmp_path)).names() == []


@pytest.mark.parametrize("durable", [False, True])
def test_hooks_write_into_a_hidden_folder(tmp_path, durable):
    """All files of the hook are published at once; if it fails, nothing is left."""

    class Handler(TextHandler):
        def _save_persistence(self, result, path):
            assert not path.exists()
            super()._save_persistence(result, path)
            (path.parent / "beside.txt").write_text("more")
            if result.data == "bad":
                raise ValueError("hook failed")

    handler = Handler(tmp_path / "root")
    handler.durable = durable
    handler.save_persistence(filled(Pair(1, 2), data="good"))
    with pytest.raises(ValueError, match="hook failed"):
        handler.save_persistence(filled(Pair(1, 2), data="bad"))
    assert handler.load_persistence(Pair(1, 2)).data == "good"
    assert sorted(os.listdir(tmp_path / "root")) == ["beside.txt", "cache-Pair-1-2"]


def test_a_hook_that_writes_another_file_is_an_error(tmp_path):
    """The error names the file that it wrote instead."""

    class Handler(TextHandler):
        def _save_persistence(self, result, path):
            path.with_suffix(".other").write_text("x")

    with pytest.raises(
        FileNotFoundError, match=r"did not write the file of this name \(it wrote cache-Pair-1-2.other\)"
    ):
        Handler(tmp_path).save_persistence(filled(Pair(1, 2), data="x"))
    assert os.listdir(tmp_path) == []


@pytest.fixture(params=["disk", "memory"])
def place(request, tmp_path):
    """A folder on a disk, where folders grow in blocks, and one in memory, where they grow with each name."""
    if request.param == "disk":
        yield str(tmp_path)
        return
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("no file system in memory")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield folder


def publish_stamped(folder, name, expected=None, held=None):
    return _disk.publish_unnamed(folder, f"{folder}/{name}", name.encode(), True, expected, held)


unnamed = pytest.mark.skipif(not system.TMPFILE, reason="no files without names")


@unnamed
@pytest.mark.parametrize("holding", [False, True])
def test_a_publication_returns_the_stamp_of_the_folder(place, holding):
    """So a loop of saves need not list names."""
    held = _disk.OpenFile(place, system.FOLDER) if holding else None
    stamp = publish_stamped(place, "0", held=held)
    for number in range(1, 300):
        assert stamp.is_unchanged(_disk.folder_stamp(place))
        stamp = publish_stamped(place, str(number), stamp, held)
        if stamp is _disk.CHANGED:  # once at most: the folder grew by a block in one of the two saves only
            stamp = publish_stamped(place, str(number), held=held)
    assert len(os.listdir(place)) == 300


CHANGES = {
    "another was added": lambda folder: Path(folder, "other").touch(),
    "one was removed": lambda folder: os.unlink(f"{folder}/a"),
    "its time was set": lambda folder: os.utime(folder, ns=(0, 0)),
    "it is another folder": lambda folder: (os.rename(folder, f"{folder}-old"), os.mkdir(folder)),
}


@unnamed
@pytest.mark.parametrize("foreseen", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_publishing_into_a_folder_that_has_changed_does_nothing(place, change, foreseen):
    """The expected stamp is compared in the same call."""
    folder = f"{place}/results"
    os.mkdir(folder)
    stamp = publish_stamped(folder, "a")
    if foreseen:
        while (after := publish_stamped(folder, "b", stamp)) is _disk.CHANGED:
            stamp = publish_stamped(folder, "c")
        stamp = after
    time.sleep(0.02)  # longer than a tick of the file system's clock
    CHANGES[change](folder)
    before = os.listdir(folder)
    assert publish_stamped(folder, "d", stamp) is _disk.CHANGED
    assert os.listdir(folder) == before


@unnamed
def test_in_memory_a_removed_name_changes_the_stamp_at_once(tmp_path):
    """The size of the folder changes, though the clock has not advanced."""
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("no file system in memory")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        stamp = publish_stamped(folder, "0")
        for number in range(1, 100):
            stamp = publish_stamped(folder, str(number), stamp)
            assert stamp.known
            os.unlink(f"{folder}/{number}")
            assert publish_stamped(folder, "more", stamp) is _disk.CHANGED
            stamp = publish_stamped(folder, f"again{number}")


@unnamed
def test_a_stamp_that_was_only_read_is_compared_too(tmp_path):
    """It does not say which clock the file system uses, so the folder is looked at again after the publication."""
    folder = str(tmp_path)
    stamp = publish_stamped(folder, "a")
    os.utime(folder, ns=(0, 10**9))
    early = _disk.folder_stamp(folder)
    assert publish_stamped(folder, "b", stamp) is _disk.CHANGED
    after = publish_stamped(folder, "b", early)
    assert after.is_unchanged(_disk.folder_stamp(folder))


@unnamed
def test_publishing_reports_a_taken_name_and_a_missing_folder(tmp_path):
    """A taken name is an error. A missing folder is reported to the caller, who makes it."""
    folder = str(tmp_path)
    assert publish_stamped(folder, "b").known
    with pytest.raises(FileExistsError, match="b"):
        publish_stamped(folder, "b")
    assert (tmp_path / "b").read_bytes() == b"b"
    assert not _disk.publish_unnamed(folder, f"{folder}/c", b"1", False).known
    assert _disk.publish_unnamed(f"{folder}/none", f"{folder}/none/a", b"1", True) is None
