"""Files in a folder that are named like a result but are none: they are left out with a message, and the rest goes on."""

from __future__ import annotations

import os
import shutil
import socket

import numpy as np
import pytest
from checks import filled

from neuralib.persistence import (
    CorruptResultError,
    GzipHandler,
    KeyMismatchError,
    PickleHandler,
    field,
    missing,
    persistence_class,
)
from neuralib.persistence._keeping.keeper import Keeper

HANDLERS = [PickleHandler, GzipHandler]
SIZES = [3, 100_000]


@persistence_class
class Score:
    animal: str = field(validator=True, filename=True)
    note: str = field(default="")
    score: float
    weights: np.ndarray


def with_two_results(handler, size=3):
    """Save two results by *handler*, and return it."""
    for animal in ("A00", "B00"):
        handler.save_persistence(filled(Score(animal), score=0.5, weights=np.arange(size)))
    return handler


def messages_of_left_out_files(caplog):
    """Return the log messages about files that were left out, and clear the log."""
    found = [record.getMessage() for record in caplog.records if record.getMessage().startswith("left out: ")]
    caplog.clear()
    return found


@pytest.fixture(params=HANDLERS)
def kind(request):
    return request.param


@pytest.mark.parametrize("size", SIZES)
def test_a_copy_made_by_a_synchronising_program_is_left_out(tmp_path, kind, size, caplog):
    """Wherever the file is read: the keys in its card differ from its name. A log message says so."""
    handler = with_two_results(kind(Score, tmp_path), size)
    copy = f"cache-Score-A00 (1){handler.suffix}"
    shutil.copy(handler.filepath(Score("A00")), tmp_path / copy)
    found = handler.find()
    reads = {
        "a table": lambda: found.refresh().to_columns("score")["animal"],
        "a table with paths": lambda: [os.path.basename(path)[12:15] for path in found.refresh().to_columns("score", path=True)["path"]],
        "a condition on data": lambda: [hit.keys["animal"] for hit in handler.find(score=0.5)],
        "load_all": lambda: [result.animal for _, result in handler.load_all(Score(missing))],
        "stack": lambda: ["A00", "B00"][: len(found.refresh().stack("weights"))],
    }  # fmt: skip
    for what, read in reads.items():
        assert read() == ["A00", "B00"], what
        messages = messages_of_left_out_files(caplog)
        assert messages, what
        assert all("A00 (1)" in message for message in messages), what
    assert [path.name for path in found.delete()] == [
        handler.filename(Score("A00")),
        handler.filename(Score("B00")),
    ]
    assert "A00 (1)" in caplog.text


def test_check_and_verify_report_copies(tmp_path, kind):
    """`find` and `todo` read names alone, so they count copies."""
    handler = with_two_results(kind(Score, tmp_path))
    copy = tmp_path / f"cache-Score-A00 (1){handler.suffix}"
    assert handler.find().check() == []
    shutil.copy(handler.filepath(Score("A00")), copy)
    assert [hit.keys["animal"] for hit in handler.find()] == ["A00", "A00 (1)", "B00"]
    assert list(handler.todo({"animal": ["A00 (1)"]})) == []
    (problem,) = handler.find().check()
    assert problem.path == copy
    assert isinstance(problem.problem, KeyMismatchError)
    assert [check.path for check in handler.verify() if check.problem] == [copy]
    with pytest.raises(KeyMismatchError):
        handler.load_persistence({"animal": "A00 (1)"})


def test_an_array_to_fill_has_room_for_results_alone(tmp_path, kind):
    """Without the files that are left out, and not more."""
    handler = with_two_results(kind(Score, tmp_path))
    shutil.copy(handler.filepath(Score("A00")), tmp_path / f"cache-Score-A00 (1){handler.suffix}")
    assert handler.find().stack("weights", out=np.zeros((2, 3))).shape == (2, 3)
    with pytest.raises(ValueError, match="the stack of weights has"):
        handler.find().stack("weights", out=np.zeros((5, 3)))


def test_xarray_leaves_copies_out(tmp_path, kind, caplog):
    pytest.importorskip("xarray")
    handler = with_two_results(kind(Score, tmp_path))
    shutil.copy(handler.filepath(Score("A00")), tmp_path / f"cache-Score-A00 (1){handler.suffix}")
    data = handler.find().to_xarray("weights")
    assert data.animal.values.tolist() == ["A00", "B00"]
    assert messages_of_left_out_files(caplog)


def make_files_that_are_no_results(folder, suffix):
    """Make a dangling link (as git-annex has for missing content), a link to itself, a pipe and a folder; return how many."""
    os.symlink(".git/annex/objects/x", folder / f"cache-Score-link{suffix}")
    os.symlink(f"cache-Score-circle{suffix}", folder / f"cache-Score-circle{suffix}")
    os.mkfifo(folder / f"cache-Score-pipe{suffix}")
    (folder / f"cache-Score-folder{suffix}").mkdir()
    return 4


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs links and pipes")
def test_links_pipes_and_folders_are_reported_and_the_rest_goes_on(tmp_path, kind, caplog):
    """By every method of the handler that reads files."""
    handler = with_two_results(kind(Score, tmp_path))
    count = make_files_that_are_no_results(tmp_path, handler.suffix)
    found = handler.find()
    assert len(found) == 2 + count, "names alone"
    assert found.to_columns("score")["animal"] == ["A00", "B00"]
    assert len(messages_of_left_out_files(caplog)) == count
    assert len(handler.find(score=0.5)) == 2
    assert len(messages_of_left_out_files(caplog)) == count
    assert len(found.stack("weights")) == 2
    assert len(messages_of_left_out_files(caplog)) == count
    assert [result.animal for _, result in handler.load_all(Score(missing))] == ["A00", "B00"]
    assert len(messages_of_left_out_files(caplog)) == count
    problems = []
    assert len(list(handler.load_all(Score(missing), on_corrupt=problems.append))) == 2
    assert len(problems) == count
    assert not messages_of_left_out_files(caplog)
    assert sum(check.problem is not None for check in handler.verify()) == count
    assert len(found.check()) == count
    assert len(found.delete()) == 2
    assert "2 found" not in caplog.text
    assert "6 found" in found._repr_html_()
    assert len(handler.migrate().problems) >= 1
    template = Score("link")
    with pytest.raises(FileNotFoundError):
        handler.load_persistence(template)
    with pytest.raises((OSError, CorruptResultError)):
        handler.load_persistence(Score("pipe"))
    assert list(handler.todo({"animal": ["A00", "C00"]}))[0].animal == "C00"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs sockets that are files")
@pytest.mark.parametrize("what", ["folder", "socket"])
def test_a_file_that_was_something_else_for_a_moment_is_read(tmp_path, kind, what, monkeypatch):
    """Whoever writes into the folder may exchange it while all results are read: the others are not lost for that."""
    handler = with_two_results(kind(Score, tmp_path))
    path = handler.filepath(Score("A00"))
    hidden = tmp_path / "hidden"
    path.rename(hidden)
    with socket.socket(socket.AF_UNIX) as opened:
        if what == "folder":
            path.mkdir()
        else:
            monkeypatch.chdir(tmp_path)  # the address of a socket is short
            opened.bind(path.name)
        plain_load = Keeper.load

        def load(keeper, store, name):
            try:
                return plain_load(keeper, store, name)
            except OSError:
                if hidden.exists():
                    path.rmdir() if what == "folder" else path.unlink()
                    hidden.rename(path)
                raise

        monkeypatch.setattr(Keeper, "load", load)
        problems = []
        found = [result.animal for _, result in handler.load_all(Score(missing), on_corrupt=problems.append)]
    assert (found, [str(problem) for problem in problems]) == (["A00", "B00"], [])
