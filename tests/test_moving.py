"""Results move between folders and archives: each copy is verified before the original is removed."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
import tracemalloc
from contextlib import closing

import pytest
from checks import filled

from neuralib.persistence import PickleHandler, autoinc_field, field, missing, persistence_class
from neuralib.persistence._commands.entry import main
from neuralib.persistence._stores import archive_writing, moving, system
from neuralib.persistence._stores.drafts import FolderDraft
from neuralib.persistence.stores import ArchiveStore, FolderStore, MemoryStore, Put


@persistence_class
class Run:
    animal: str = field(validator=True, filename=True)
    number: int = autoinc_field("#")
    score: float


@pytest.fixture
def folder(tmp_path):
    PickleHandler(Run, tmp_path / "folder").save_all(filled(Run(animal), score=1.0) for animal in "AABC")
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    os.utime(tmp_path / "folder" / "cache-Run-B-#0.pkl", ns=(10**18, 10**18 + 123_000_000))
    return tmp_path / "folder"


def content(place):
    return {path.name: path.read_bytes() for path in place.iterdir() if path.suffix == ".pkl"}


def run_command(capsys, *words):
    """Return the exit status, the output and the errors of a command."""
    status = main([*map(str, words)])
    return status, *capsys.readouterr()


def test_a_folder_is_packed_and_unpacked(folder, tmp_path, capsys):
    """Byte for byte, with the times. Files that are no results stay."""
    before, file = content(folder), tmp_path / "results.sqlar"
    assert "4 files to be packed; nothing was changed" in run_command(capsys, "pack", folder, file, "--dry-run")[1]
    assert not file.exists()
    status, out, err = run_command(capsys, "pack", folder, file)
    assert (status, err) == (0, "")
    assert f"packed 4 files into {file}" in out
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "results.sqlar"]
    assert len(list(PickleHandler(Run, file).load_all(animal=missing))) == 4
    assert round(ArchiveStore(file).stat("cache-Run-B-#0.pkl").time_modified_s, 2) == 1e9 + 0.12
    assert run_command(capsys, "unpack", file, tmp_path / "again", "--keep")[0] == 0
    assert content(tmp_path / "again") == before
    assert round(os.stat(tmp_path / "again" / "cache-Run-B-#0.pkl").st_mtime, 2) == 1e9 + 0.12
    assert "4 were there already" in run_command(capsys, "unpack", file, tmp_path / "again")[1]
    assert list(ArchiveStore(file).names()) == []


def test_other_files_move_where_that_is_asked_for(folder, tmp_path, capsys):
    """Files that are no results are packed with ``--all``. Hidden ones never are."""
    (folder / ".hidden").write_text("mine")
    assert run_command(capsys, "pack", folder, tmp_path / "all.sqlar", "--all")[0] == 0
    assert [path.name for path in folder.iterdir()] == [".hidden"]
    assert ArchiveStore(tmp_path / "all.sqlar").open("notes.txt").read() == b"mine"


def test_the_files_of_an_open_archive_stay(folder, tmp_path, capsys):
    """Without its log, an archive lacks its last results."""
    with ArchiveStore(folder / "own.sqlar") as store:
        PickleHandler(Run, store).save_persistence(filled(Run("D"), score=1.0))
        beside = {path.name for path in folder.iterdir() if path.name.startswith("own.sqlar")}
        assert "own.sqlar-wal" in beside
        assert run_command(capsys, "pack", folder, tmp_path / "all.sqlar", "--all")[0] == 0
        assert {path.name for path in folder.iterdir()} == beside
    assert len(PickleHandler(Run, folder / "own.sqlar").find()) == 1


def test_what_is_damaged_stays(folder, tmp_path, capsys):
    """It is reported, and the others move."""
    damaged = folder / "cache-Run-A-#1.pkl"
    damaged.write_bytes(damaged.read_bytes()[:-30] + b"x" * 30)
    (folder / "cache-Run-D-#0.pkl").symlink_to(damaged)
    status, out, err = run_command(capsys, "pack", folder, tmp_path / "results.sqlar")
    assert status == 1
    assert "packed 3 files" in out
    assert "2 failed" in out
    assert str(damaged) in err
    assert "is a folder or a link" in err
    assert sorted(content(folder)) == ["cache-Run-A-#1.pkl", "cache-Run-D-#0.pkl"]


def test_names_that_clash_are_compared(folder, tmp_path, capsys):
    """Equal files count as one result. If they differ, both stay where they are."""
    PickleHandler(Run, tmp_path / "other.sqlar").save_all(filled(Run(animal), score=2.0) for animal in "BD")
    status, out, err = run_command(capsys, "merge", folder, tmp_path / "other.sqlar", "-o", tmp_path / "both.sqlar")
    assert status == 1
    assert "merged 5 files" in out
    assert err.count("\n") == 1
    assert "cache-Run-B-#0.pkl: is another result of this name; both stay" in err
    merged = PickleHandler(Run, tmp_path / "both.sqlar")
    assert merged.load_persistence({"animal": "B", "number": 0}).score == 1.0
    assert len(content(folder)) == 4
    status, out, _ = run_command(capsys, "merge", folder, "-o", tmp_path / "both.sqlar")
    assert (status, "merged 0 files" in out, "4 were there already" in out) == (0, True, True)


def test_an_interrupted_move_goes_on(folder, tmp_path, capsys, monkeypatch):
    """Nothing is lost, and nothing is there twice."""
    before, file = content(folder), tmp_path / "results.sqlar"
    monkeypatch.setattr(moving, "_MOST_TOGETHER", 2)
    plain = FolderStore.delete
    deleted = []

    def interrupted(self, name, /):
        if len(deleted) == 3:
            raise KeyboardInterrupt
        deleted.append(name)
        plain(self, name)

    monkeypatch.setattr(FolderStore, "delete", interrupted)
    assert main(["pack", str(folder), str(file)]) == 130
    assert len(content(folder)) == 1
    assert len(list(ArchiveStore(file).names())) == 4
    monkeypatch.setattr(FolderStore, "delete", plain)
    assert "packed 0 files" in run_command(capsys, "pack", folder, file)[1]
    store = ArchiveStore(file)
    assert {name: store.open(name).read() for name in store.names()} == before
    assert content(folder) == {}


def test_an_archive_is_emptied_in_one_transaction(folder, tmp_path, capsys, monkeypatch):
    """If it can't be written, that is said once. The copies are there, and the next call finds them."""
    before, file, out = content(folder), tmp_path / "results.sqlar", tmp_path / "out"
    run_command(capsys, "pack", folder, file)
    delete_many = ArchiveStore.delete_many
    asked = []

    def refused(self, versions, /):
        asked.append(len(versions))
        raise OSError(errno.EROFS, "the archive or its folder can't be written", self.file)

    monkeypatch.setattr(ArchiveStore, "delete_many", refused)
    status, text, err = run_command(capsys, "unpack", file, out)
    assert (status, asked, err.count("can't be written")) == (1, [4], 1)
    assert "unpacked 4 files" in text
    assert "4 failed" in text
    assert content(out) == before
    monkeypatch.setattr(ArchiveStore, "delete_many", delete_many)
    assert "4 were there already" in run_command(capsys, "unpack", file, out)[1]
    assert list(ArchiveStore(file).names()) == []


@pytest.mark.parametrize("words", [["unpack"], ["unpack", "--dry-run"], ["unpack", "--keep"], ["merge"]], ids=" ".join)
def test_rows_that_no_file_can_have_are_told_as_left_behind(folder, tmp_path, capsys, words):
    """They are no reason to leave others behind."""
    file, target = tmp_path / "results.sqlar", tmp_path / "again"
    assert run_command(capsys, "pack", folder, file)[0] == 0
    with closing(sqlite3.connect(file)) as connection, connection:
        rows_made = [(name, 33188, 1, 1, b"x") for name in ("../cache-Run-D-#0.pkl", "", "..")]
        connection.executemany("INSERT INTO sqlar VALUES (?, ?, ?, ?, ?)", rows_made)
    verb, *options = words
    places = [file, "-o", target] if verb == "merge" else [file, target]
    status, out, err = run_command(capsys, verb, *places, *options)
    assert status == 1
    assert f"left behind: 3 rows of {file} whose names are paths, empty or no text" in err
    assert "`sqlite3 results.sqlar -At` lists them" in err
    assert err.count("\n") == 1
    if "--dry-run" not in words:
        assert "4 files" in out
        assert "3 failed" in out
        assert len(content(target)) == 4
    assert ArchiveStore(file).count_unlisted() == 3


def test_what_was_replaced_meanwhile_stays(folder, tmp_path, capsys, monkeypatch):
    """The copy is of the former result."""
    plain = ArchiveStore.put_many

    def slow(self, puts, *arguments, **options):
        PickleHandler(Run, folder).save_persistence(filled(Run("C", 0), score=9.0))
        return plain(self, puts, *arguments, **options)

    monkeypatch.setattr(ArchiveStore, "put_many", slow)
    status, _, err = run_command(capsys, "pack", folder, tmp_path / "results.sqlar")
    assert (status, list(content(folder))) == (1, ["cache-Run-C-#0.pkl"])
    assert "was replaced meanwhile" in err


def test_what_is_too_large_stays(folder, tmp_path, capsys, monkeypatch):
    """The others move."""
    monkeypatch.setattr(archive_writing, "MOST_BYTES", 2_000)
    PickleHandler(Run, folder).save_persistence(filled(Run("B"), score="x" * 3_000))
    status, out, err = run_command(capsys, "pack", folder, tmp_path / "results.sqlar")
    assert (status, list(content(folder))) == (1, ["cache-Run-B-#1.pkl"])
    assert "packed 4 files" in out
    assert "keep it in a folder" in err


def test_a_copy_that_differs_is_reported(folder, tmp_path, capsys, monkeypatch):
    """The original stays."""
    plain = ArchiveStore.put_many

    def wrong(self, puts, *arguments, **options):
        return plain(self, [Put(put.name, put.content.content()[:-1]) for put in puts], *arguments, **options)

    monkeypatch.setattr(ArchiveStore, "put_many", wrong)
    status, _, err = run_command(capsys, "pack", folder, tmp_path / "results.sqlar")
    assert (status, len(content(folder))) == (1, 4)
    assert err.count("what was written is not what was read") == 4


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="every file name is a text there")
def test_a_name_that_the_archive_cannot_have_stays_alone(folder, tmp_path, capsys):
    """Though it is the first of its group."""
    name = os.fsdecode(b"cache-A-\xff.pkl")
    (folder / name).write_bytes((folder / "cache-Run-A-#0.pkl").read_bytes())
    status, out, err = run_command(capsys, "pack", folder, tmp_path / "results.sqlar")
    assert (status, list(content(folder))) == (1, [name])
    assert "packed 4 files" in out
    assert "can't be written in UTF-8" in err


@pytest.mark.skipif(sys.platform == "win32", reason="needs permissions")
def test_files_keep_their_permissions_between_folders(folder, tmp_path, capsys):
    """If a result was shared with others, its copy is too."""
    os.chmod(folder / "cache-Run-C-#0.pkl", 0o664)
    assert run_command(capsys, "merge", folder, "-o", tmp_path / "copy")[0] == 0
    assert os.stat(tmp_path / "copy" / "cache-Run-C-#0.pkl").st_mode & 0o777 == 0o664


def test_files_are_copied_to_where_their_times_cannot_be_set(folder, tmp_path, capsys, monkeypatch):
    """Some disks let only the owner of the whole disk set them, some servers nobody."""

    def refuse(*_, **__):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "utime", refuse)
    before = content(folder)
    assert run_command(capsys, "merge", folder, "-o", tmp_path / "copy")[0] == 0
    assert content(tmp_path / "copy") == before


def test_copies_on_their_way_to_their_names_are_not_swept(folder, tmp_path, monkeypatch):
    """They have the times of their originals already, which may be years old."""
    monkeypatch.setattr(system, "TMPFILE", 0)
    store, publish = FolderStore(tmp_path / "copies"), FolderDraft.publish_new

    def swept_before(draft, name):
        assert any(each.startswith(system.LEFTOVER_PREFIX) for each in os.listdir(store.root))
        assert store.sweep() == []
        publish(draft, name)

    monkeypatch.setattr(FolderDraft, "publish_new", swept_before)
    assert store.put_many([Put(name, b"content", time_ns=10**18) for name in "ab"]) == [None, None]
    assert {os.stat(store.path(name)).st_mtime_ns for name in "ab"} == {10**18}


def test_large_files_are_copied_piece_by_piece(folder, tmp_path, capsys):
    """The memory is enough for a piece, however large the result is. A second time, both files are compared so too."""
    PickleHandler(Run, folder).save_persistence(filled(Run("L"), score=b"x" * 40_000_000))
    for told in ("merged 5 files", "5 were there already"):
        tracemalloc.start()
        try:
            assert told in run_command(capsys, "merge", folder, "-o", tmp_path / "copy")[1]
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()


def copies(store, target=None):
    """Return copies of all of *store* for *target*, under the same names."""
    return [
        moving.Copy(name, store.stat(name), target or store, Put(name, store.open(name).read()), lambda _: None)
        for name in sorted(store.names())
    ]


def test_what_moves_to_where_it_is_stays():
    """A place may have two names, and be given as source and target."""
    store = MemoryStore()
    store.put("a", b"1")
    assert [problem for _, problem in moving.moved(store, copies(store))] == [None]
    assert store.open("a").read() == b"1"


def test_what_the_target_did_not_store_stays():
    """A store may have tried several at a time: then it says of each what became of it."""

    class Refusing(MemoryStore):
        def put_many(self, puts, outcomes=None, /, *, durable=False):
            self.put(puts[0].name, puts[0].content)
            outcomes += [None, OSError(errno.EINVAL, "no such name"), None]
            self.put(puts[2].name, puts[2].content)
            raise outcomes[1]

    source, target = MemoryStore(), Refusing()
    for name in "abc":
        source.put(name, b"1")
    problems = {copy.name: str(problem) for copy, problem in moving.moved(source, copies(source, target)) if problem}
    assert problems == {"b": "[Errno 22] no such name"}
    assert (list(source.names()), sorted(target.names())) == (["b"], ["a", "c"])


def test_what_the_target_did_not_try_is_tried_again():
    """A store that tries several at a time begins no others after a failure, which may be about that one result."""

    class Parallel(MemoryStore):
        def put_many(self, puts, outcomes=None, /, *, durable=False):
            for put in puts:
                if put.name == "b":
                    outcomes += [InterruptedError() for _ in puts]
                    outcomes[puts.index(put)] = OSError(errno.EINVAL, "no such name")
                    raise outcomes[puts.index(put)]
            return super().put_many(puts, outcomes)

    source, target = MemoryStore(), Parallel()
    for name in "abcd":
        source.put(name, b"1")
    problems = {copy.name: str(problem) for copy, problem in moving.moved(source, copies(source, target)) if problem}
    assert problems == {"b": "[Errno 22] no such name"}
    assert (list(source.names()), sorted(target.names())) == (["b"], ["a", "c", "d"])


def test_a_full_target_ends_the_move():
    """What was stored before is verified, and moves."""

    class Full(MemoryStore):
        def put(self, name, content, /, *, replace=False, durable=False):
            if name == "b":
                raise OSError(errno.ENOSPC, "the disk is full")
            super().put(name, content, replace=replace, durable=durable)

    source, target = MemoryStore(), Full()
    for name in "abc":
        source.put(name, b"1")
    with pytest.raises(OSError, match="full"):
        list(moving.moved(source, copies(source, target)))
    assert (sorted(source.names()), list(target.names())) == (["b", "c"], ["a"])


def test_failure_messages_are_escaped(folder, tmp_path, capsys):
    """The name of a link comes from whoever made it."""
    (folder / "cache-Map-\x1b[31m\n-\u202e.pkl").symlink_to("nothing")
    status, _, err = run_command(capsys, "pack", folder, tmp_path / "results.sqlar")
    assert status == 1
    assert err.removesuffix("\n").isprintable()
    assert r"\x1b[31m\n-\u202e" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pack", "none", "a.sqlar"], "none is not a folder"),
        (["pack", "folder", "archive"], "the name of an archive ends with .sqlar"),
        (["unpack", "folder", "target"], "folder is not an archive"),
        (["unpack", "a.sqlar", "b.sqlar"], "is not an archive"),
        (["merge", "none", "-o", "c.sqlar"], "none is neither a folder nor an archive"),
        (["merge", "folder", "-o", "folder"], "name it once, after -o"),
    ],
)
def test_impossible_sources_and_targets_are_refused(folder, capsys, monkeypatch, words, message):
    """The error says what to pass."""
    monkeypatch.chdir(folder.parent)
    status, _, err = run_command(capsys, *words)
    assert status == 2
    assert message in err
