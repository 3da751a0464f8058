"""``delete`` removes the results that were found, and nothing else."""

from __future__ import annotations

import os

import pytest
from checks import Pair, Run, filled

from neuralib.persistence import GzipHandler, PickleHandler


def listed(folder):
    return sorted(path.name for path in folder.iterdir())


def test_delete_is_a_dry_run_by_default(tmp_path):
    """A slip must not cost a week of computing."""
    handler = PickleHandler(Run, tmp_path)
    handler.save_all([Run("A"), Run("A"), Run("B")])
    before = listed(tmp_path)
    assert handler.find(animal="A").delete() == handler.find(animal="A").paths
    assert listed(tmp_path) == before


def test_exactly_what_was_found_is_deleted(tmp_path):
    """Not results that were saved later. Those that are gone already are no error."""
    handler = GzipHandler(Run, tmp_path)
    handler.save_all([Run("A") for _ in range(5)])
    handler.save_persistence(Run("B"))
    found = handler.find(animal="A")[1:4]
    assert len(found) == 3
    handler.save_persistence(Run("A"))
    found[0].path.unlink()
    assert [path.name for path in found.delete(dry_run=False)] == ["cache-Run-A-#2.pkl.gz", "cache-Run-A-#3.pkl.gz"]
    assert [hit.name for hit in handler.find()] == [
        f"cache-Run-{keys}.pkl.gz" for keys in ("A-#0", "A-#4", "A-#5", "B-#0")
    ]
    assert found.delete(dry_run=False) == []


def test_what_is_no_result_stays(tmp_path, caplog):
    """Links and their targets, folders, pipes, notes, files of other names and of other classes."""
    folder = tmp_path / "results"
    elsewhere = tmp_path / "elsewhere"
    handler = PickleHandler(Pair, folder)
    original = PickleHandler(Pair, elsewhere)
    original.save_persistence(Pair("x", 1))
    handler.save_persistence(Pair("good", 1))
    handler.save_persistence(Pair("old", 1))
    os.rename(folder / "cache-Pair-old-1.pkl", folder / "cache-Pair-new-1.pkl")
    (folder / "cache-Pair-notes-1.pkl").write_text("my notes")
    (folder / "cache-Pair-list-1.pkl").write_bytes(b"\x80\x05]\x94.")
    (folder / "cache-Pair-folder-1.pkl").mkdir()
    expected = ["new-1", "notes-1", "list-1", "folder-1"]
    if hasattr(os, "mkfifo"):
        (folder / "cache-Pair-x-1.pkl").symlink_to(elsewhere / "cache-Pair-x-1.pkl")
        os.mkfifo(folder / "cache-Pair-pipe-1.pkl")
        expected += ["x-1", "pipe-1"]
    for dry_run in (True, False):
        caplog.clear()
        deleted = handler.find().delete(dry_run=dry_run)
        assert [path.name for path in deleted] == ["cache-Pair-good-1.pkl"]
        assert len(caplog.records) == len(expected)
        for keys in expected:
            assert f"cache-Pair-{keys}.pkl" in caplog.text
    assert listed(folder) == sorted(f"cache-Pair-{keys}.pkl" for keys in expected)
    assert listed(elsewhere) == ["cache-Pair-x-1.pkl"]


def test_damaged_files_go_when_that_is_asked_for(tmp_path):
    """Together with ``verify``, which finds them."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(filled(Pair("a", 1), data="x" * 100))
    handler.save_persistence(filled(Pair("b", 1), data="x" * 100))
    data = bytearray((tmp_path / "cache-Pair-a-1.pkl").read_bytes())
    data[60] ^= 1
    (tmp_path / "cache-Pair-a-1.pkl").write_bytes(data)
    broken = {check.path.name for check in handler.verify() if check.problem}
    found = handler.find().filter(lambda hit: hit.name in broken)
    assert found.delete(dry_run=False) == []
    assert [path.name for path in found.delete(dry_run=False, damaged=True)] == ["cache-Pair-a-1.pkl"]
    assert listed(tmp_path) == ["cache-Pair-b-1.pkl"]


def test_a_result_saved_anew_while_it_is_deleted_stays(tmp_path, monkeypatch):
    """The new file is not the one that was found."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(Pair("a", 1))
    found = handler.find()
    records, looks = type(handler._keeper.records), []
    real = records.fields

    def replaced(self, store, name, names):
        looks.append(name)
        fields = real(self, store, name, names)
        PickleHandler(Pair, tmp_path).save_persistence(filled(Pair("a", 1), data="new"))
        return fields

    monkeypatch.setattr(records, "fields", replaced)
    assert found.delete(dry_run=False) == []
    assert looks == ["cache-Pair-a-1.pkl"]
    assert handler.find()[0].load().data == "new"


@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler])
def test_delete_leaves_hidden_leftovers_to_sweep(tmp_path, kind):
    """They are no results, so ``delete`` does not see them."""
    handler = kind(Pair, tmp_path)
    handler.save_persistence(Pair("a", 1))
    (tmp_path / ".neuralib-draft-0123456789abcdef").write_bytes(b"half")
    handler.find().delete(dry_run=False)
    assert listed(tmp_path) == [".neuralib-draft-0123456789abcdef"]
    assert len(handler.sweep(older_than_s=0)) == 1
    assert listed(tmp_path) == []
