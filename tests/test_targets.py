"""Whatever is at the path of a result (a pipe, a folder, a link): the outcome is defined, nothing is destroyed, nothing blocks."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest
from checks import Pair, Run, filled
from test_handlers import JsonHandler, LoggingHandler, NpzHandler

from neuralib.persistence import CorruptResultError, GzipHandler, PickleHandler, results_equal
from neuralib.persistence._stores import system

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and devices of POSIX")

KINDS = [PickleHandler, GzipHandler, JsonHandler, LoggingHandler, NpzHandler]
REFUSED = (FileExistsError, CorruptResultError)
PATIENCE_S = 30


@pytest.fixture(params=KINDS)
def kind(request):
    """Our formats, a user's format, and users' handlers with hooks."""
    return request.param


@pytest.fixture(params=["unnamed", "hidden"])
def way(request, monkeypatch):
    if request.param == "hidden":
        monkeypatch.setattr(system, "TMPFILE", 0)
    elif not system.TMPFILE:
        pytest.skip("this system has no files without name")
    return request.param


@pytest.fixture
def leased():
    """Gives a function that takes a lease of a file, as a file server does, and gives it back once it is told to."""
    fcntl = pytest.importorskip("fcntl")
    if not hasattr(fcntl, "F_SETLEASE"):
        pytest.skip("this system has no leases")
    told, before = [], signal.getsignal(signal.SIGIO)

    def take(path):
        fd = os.open(path, os.O_RDWR)

        def give_back(*_):
            told.append(path)
            os.close(fd)

        signal.signal(signal.SIGIO, give_back)
        try:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            os.close(fd)
            pytest.skip("this file system has no leases")
        return told

    yield take
    signal.signal(signal.SIGIO, before)


def mine(data="mine"):
    return filled(Pair(1, "x"), data=data)


def at_once(call):
    """Return the error that *call* raises; fail if it blocks."""
    caught = []

    def run():
        try:
            call()
        except Exception as error:
            caught.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "it hangs"
    return caught[0] if caught else None


def calls(handler, path):
    """All functions that save or load at *path*, which is where ``mine()`` is saved."""
    return {
        "save": lambda: handler.save_persistence(mine()),
        "save by path": lambda: handler.save_persistence(mine(), path),
        "save all": lambda: handler.save_all([mine()]),
        "load": lambda: handler.load_persistence(mine()),
        "load by path": lambda: handler.load_persistence(path),
    }


@pytest.mark.parametrize("durable", [False, True])
def test_a_pipe_or_device_is_refused(kind, way, tmp_path, durable):
    """It is not replaced, and opening it does not wait for its other end."""
    handler = kind(Pair, tmp_path)
    handler.durable = durable
    path = handler.filepath(mine())
    makers = [lambda: os.mkfifo(path)]
    if os.geteuid() == 0 and hasattr(os, "makedev"):
        makers.append(lambda: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5)))  # like /dev/zero, it never ends
    for make in makers:
        try:
            make()
        except PermissionError:
            continue  # a container without devices
        before = path.lstat()
        for what, call in calls(handler, path).items():
            error = at_once(call)
            assert isinstance(error, REFUSED), (what, error)
            assert str(path) in str(error), what
        assert not list(handler.load_all(mine())), "it is left out with a warning"
        assert [check.problem and type(check.problem) for check in handler.verify(path)] == [CorruptResultError]
        assert (before.st_mode, before.st_ino) == (path.lstat().st_mode, path.lstat().st_ino)
        assert os.listdir(tmp_path) == [path.name]
        path.unlink()


def test_a_folder_is_refused(kind, way, tmp_path):
    """Its content is not touched."""
    handler = kind(Pair, tmp_path)
    path = handler.filepath(mine())
    path.mkdir()
    (path / "theirs").write_text("theirs")
    for what, call in calls(handler, path).items():
        error = at_once(call)
        assert isinstance(error, IsADirectoryError), (what, error)
        assert str(path) in str(error), what
    assert not list(handler.load_all(mine())), "it is left out with a warning"
    assert (path / "theirs").read_text() == "theirs"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("by_path", [False, True])
def test_a_symbolic_link_is_replaced(kind, way, tmp_path, by_path):
    """Its target is not touched: a result, another file, a folder, a pipe, nothing."""
    root = tmp_path / "root"
    handler = kind(Pair, root)
    path = handler.filepath(mine())
    elsewhere = tmp_path / "elsewhere"
    kind(Pair, elsewhere).save_persistence(mine("former"))
    theirs = elsewhere / path.name
    (tmp_path / "text").write_text("text")
    os.mkfifo(tmp_path / "pipe")
    for target in (theirs, tmp_path / "text", elsewhere, tmp_path / "pipe", tmp_path / "nothing"):
        path.unlink(missing_ok=True)
        root.mkdir(exist_ok=True)
        path.symlink_to(target)
        if target is theirs:
            assert handler.load_persistence(mine()).data == "former"
        error = at_once(lambda: handler.save_persistence(mine(), path if by_path else None))
        if target.name == "text" and kind is NpzHandler and not by_path:  # only its own hook can read the keys
            assert str(path) in f"{error.__notes__}"
            continue
        assert error is None
        assert not path.is_symlink()
        assert results_equal(handler.load_persistence(mine()), mine())
    assert kind(Pair, elsewhere).load_persistence(mine()).data == "former"
    assert (tmp_path / "text").read_text() == "text"
    assert not (tmp_path / "nothing").exists()
    assert os.listdir(root) == [path.name]


def test_the_other_name_of_a_hard_link_keeps_its_content(kind, way, tmp_path):
    """The saved name gets a file of its own."""
    handler = kind(Pair, tmp_path)
    handler.save_persistence(mine("former"))
    path = handler.filepath(mine())
    other = tmp_path / f"other{path.suffix}"
    os.link(path, other)
    before = other.read_bytes()
    handler.save_persistence(mine())
    assert other.read_bytes() == before
    assert handler.load_persistence(mine()).data == "mine"
    assert other.stat().st_nlink == 1


def test_missing_parents_are_made(kind, way, tmp_path):
    """Saving into a folder whose parents are missing makes them: for one result, for a series, and for an explicit path."""
    root = tmp_path / "a" / "b" / "c"
    kind(Run, root / "runs").save_persistence(filled(Run("A"), data="mine"))
    handler = kind(Pair, root)
    handler.save_persistence(mine())
    path = root / "d" / handler.filename(mine())
    handler.save_persistence(mine(), path)
    assert handler.load_persistence(path).data == "mine"
    assert list((root / "runs").iterdir())


def test_a_root_that_is_no_folder_is_an_error(kind, way, tmp_path):
    """A file, a pipe or a broken link is not touched, and a numbered save does not look for a number for ever."""
    (tmp_path / "file").write_text("theirs")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for root in (tmp_path / "file", tmp_path / "pipe", tmp_path / "link", tmp_path / "file" / "below"):
        pairs, runs = kind(Pair, root), kind(Run, root)
        run = filled(Run("A"), data="x")
        durable = kind(Run, root)
        durable.durable = True
        for call in (
            lambda: pairs.save_persistence(mine()),
            lambda: runs.save_persistence(run),
            lambda: runs.save_all([run]),
            lambda: durable.save_all([run]),
        ):
            error = at_once(call)
            assert isinstance(error, NotADirectoryError), (root, error)
            assert str(root) in f"{error} {root.resolve()}"
            assert ", while " in str(error)
            assert run.version is None
        for call in (lambda: pairs.load_persistence(mine()), lambda: list(pairs.load_all(mine()))):
            error = at_once(call)
            assert error is None or isinstance(error, (NotADirectoryError, FileNotFoundError)), (root, error)
    assert (tmp_path / "file").read_text() == "theirs"
    assert sorted(os.listdir(tmp_path)) == ["file", "link", "pipe"]


def test_a_root_may_be_a_link_to_a_folder(kind, way, tmp_path):
    """On clusters, scratch folders often are."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    kind(Pair, tmp_path / "link").save_persistence(mine("former"))
    kind(Pair, tmp_path / "link").save_persistence(mine())
    assert kind(Pair, tmp_path / "real").load_persistence(mine()).data == "mine"
    assert (tmp_path / "link").is_symlink()


@pytest.fixture
def read_only(tmp_path):
    """A function that makes a folder read-only, for the superuser too."""
    folder = tmp_path / "folder"
    folder.mkdir()
    mounted = []

    def close():
        if os.geteuid() != 0:
            folder.chmod(0o500)
            return
        if shutil.which("mount") is None:
            pytest.skip("there is no mount here, and the superuser may write anywhere")
        for options in (["--bind"], ["-o", "remount,ro,bind"]):
            done = subprocess.run(["mount", *options, str(folder), str(folder)], capture_output=True, check=False)
            if done.returncode:
                pytest.skip("mounting is not allowed here, and the superuser may write anywhere")
            mounted[:] = [folder]

    yield folder, close
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)
    folder.chmod(0o700)


def test_a_read_only_folder_is_an_error_for_saves(kind, way, read_only):
    """Its results load. The error of a save names path and operation, and nothing changes."""
    folder, close = read_only
    handler, runs = kind(Pair, folder), kind(Run, folder)
    handler.save_persistence(mine("former"))
    before = sorted(os.listdir(folder))
    close()
    run = filled(Run("A"), data="x")
    durable = kind(Run, folder)
    durable.durable = True
    for call in (
        lambda: handler.save_persistence(mine()),
        lambda: handler.save_persistence(filled(Pair(2, "new"), data="x")),
        lambda: runs.save_persistence(run),
        lambda: durable.save_all([run]),
        lambda: kind(Pair, folder / "below").save_persistence(mine()),
    ):
        error = at_once(call)
        assert isinstance(error, OSError), error
        assert str(folder) in str(error)
        assert ", while " in str(error)
        assert run.version is None
    assert handler.load_persistence(mine()).data == "former"
    assert len(list(handler.load_all(mine()))) == 1
    assert handler.sweep() == []
    assert sorted(os.listdir(folder)) == before


class FolderHandler(NpzHandler):
    """Each result is a folder of arrays, as users of zarr have it."""

    def filename(self, result, **kwargs):
        return super().filename(result, **kwargs).removesuffix(".npz")

    def _save_persistence(self, result, path):
        path.mkdir()
        np.save(path / "data.npy", result.data)

    def _load_persistence(self, path):
        return filled(Pair(1, "x"), data=np.load(path / "data.npy").item())


def test_a_hook_may_make_a_folder(tmp_path):
    """It is published whole. A former folder is not replaced, since no system can do that in one step."""
    handler = FolderHandler(Pair, tmp_path)
    handler.durable = True
    handler.save_persistence(mine(1))
    assert handler.load_persistence(mine()).data == 1
    with pytest.raises(IsADirectoryError, match="is a folder"):
        handler.save_persistence(mine(2))
    assert handler.load_persistence(mine()).data == 1
    assert len(os.listdir(tmp_path)) == 1


class BesideHandler(NpzHandler):
    """Writes a folder beside the result's file."""

    def _save_persistence(self, result, path):
        super()._save_persistence(result, path)
        (path.parent / "beside").mkdir()
        (path.parent / "beside" / "more").write_text(str(result.data))


def test_what_a_hook_writes_beside_replaces_no_folder(tmp_path):
    """The save is refused before anything is published, so the former result and its folder stay together."""
    handler = BesideHandler(Pair, tmp_path)
    handler.save_persistence(mine("former"))
    with pytest.raises(IsADirectoryError, match="beside"):
        handler.save_persistence(mine())
    assert handler.load_persistence(mine()).data == "former"
    assert (tmp_path / "beside" / "more").read_text() == "former"
    assert sorted(os.listdir(tmp_path)) == ["beside", handler.filename(mine())]


def test_leftovers_are_swept_when_they_are_stale(kind, tmp_path):
    """The next listing removes files and folders of dead processes, and leaves those of live ones."""
    handler = kind(Run, tmp_path)
    handler.save_persistence(filled(Run("A"), data="x"))
    stale = [tmp_path / f"{system.LEFTOVER_PREFIX}{part}" for part in ("file", "folder", "link")]
    stale[0].write_text("torn")
    files = stale[1] / stale[1].name
    (files / "deep").mkdir(parents=True)
    (files / "deep" / "file").write_text("torn")
    stale[2].symlink_to(tmp_path / "nowhere")
    live = [tmp_path / f"{system.LEFTOVER_PREFIX}live{part}" for part in ("file", "folder")]
    live[0].write_text("being written")
    (live[1] / live[1].name).mkdir(parents=True)
    (live[1] / live[1].name / "file").write_text("being written")
    for path in (files / "deep" / "file", files / "deep", files, *stale, live[1]):
        os.utime(path, (1, 1), follow_symlinks=False)
    assert [result for _, result in handler.load_all(Run("A"))][0].version == 0
    kind(Run, tmp_path).save_persistence(filled(Run("A"), data="x"))
    assert sorted(file.name for file in tmp_path.iterdir() if file.name.startswith(system.LEFTOVER_PREFIX)) == sorted(
        file.name for file in live
    )


@pytest.mark.parametrize("data", ["small", "large" * 50_000])
def test_a_file_that_a_server_keeps_is_read_once_it_gives_it_back(kind, tmp_path, leased, data):
    """Such as a server for SMB or NFS, whose client may have the newest content. Opening without waiting is an error then."""
    handler = kind(Pair, tmp_path)
    handler.save_persistence(mine(data))
    told = leased(handler.filepath(mine()))
    assert results_equal(handler.load_persistence(mine()), mine(data))
    assert len(told) == 1
    leased(handler.filepath(mine()))
    handler.save_persistence(mine("new"))
    assert results_equal(handler.load_persistence(mine()), mine("new"))
