"""A folder that two users write into: what one of them puts there harms nothing of the other but the result itself.

Both are processes of their own, forked, under ids that own nothing else. So these tests run as root.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import pickle
import shutil
import stat
import sys
import tempfile
import time
import traceback
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from checks import Pair, filled

from neuralib.persistence import GzipHandler, PersistenceError, PickleHandler
from neuralib.persistence._commands import conversion
from neuralib.persistence._stores import leftovers, system

# Imported here, since the users can't read the folder of the tests, nor that of Python perhaps.
import neuralib.persistence._codecs.gzipped  # isort: skip
import neuralib.persistence._commands.content  # isort: skip  # noqa: F401
import zlib_ng.zlib_ng  # isort: skip  # noqa: F401

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="two users, as which only root can run something"
)

OWNER, STRANGER = 20_001, 20_002  # the ids of the user who saves, and of the one who would harm him
HIDDEN = system.LEFTOVER_PREFIX


class User:
    """A process that runs *act* as the user *uid*; it ends at the latest with the test."""

    def __init__(self, uid, act, *arguments):
        self._result, write = os.pipe()
        self._pid = os.fork()
        if self._pid:
            os.close(write)
            return
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.umask(0o022)
            outcome = True, act(*arguments)
        except BaseException:
            outcome = False, traceback.format_exc()
        try:
            os.write(write, pickle.dumps(outcome))
        finally:
            os._exit(0)

    def result(self):
        """Return what it returned."""
        with os.fdopen(self._result, "rb") as file:
            data = file.read()
        os.waitpid(self._pid, 0)
        succeeded, found = pickle.loads(data)
        assert succeeded, found
        return found

    def stop(self):
        os.kill(self._pid, 9)
        os.waitpid(self._pid, 0)
        os.close(self._result)


@pytest.fixture
def place():
    """A folder with ``shared``, which everybody can write into, and ``private``, which is the owner's."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    (folder / "shared").mkdir()
    (folder / "shared").chmod(0o777)
    User(OWNER, lambda: None).result()
    os.makedirs(folder / "private")
    (folder / "private" / "thesis").write_text("months of work")
    (folder / "private" / "key").write_text("secret")
    (folder / "private" / "key").chmod(0o600)
    for path in [*(folder / "private").iterdir(), folder / "private"]:
        os.chown(path, OWNER, OWNER)
        os.utime(path, (1, 1))
    yield folder
    shutil.rmtree(folder)


def is_unharmed(place):
    """Return whether the private folder has what it had, as it was."""
    files = [path for path in (place / "private").iterdir() if path.is_file()]
    found = {path.name: (path.read_text(), stat.S_IMODE(path.stat().st_mode)) for path in files}
    return found == {"thesis": ("months of work", 0o644), "key": ("secret", 0o600)}


def swap(shared, target, wanted):
    """Put a link to *target* in the place of whatever hidden thing of the owner appears in *shared*, again and again."""
    number = 0
    while True:
        for name in os.listdir(shared):
            if not wanted(name):
                continue
            number += 1
            path = f"{shared}/{name}"
            try:
                os.rename(path, f"{shared}/away-{number}")
                os.symlink(target, path)
            except OSError:
                pass


def exchange(first, second):
    """Let two names change places, again and again, in one step each."""
    libc = ctypes.CDLL(None)
    while True:
        libc.renameat2(-100, first, -100, second, 2)


def stale_folder(shared, name):
    """Leave what a killed process leaves: files of the names that the private folder has, in hidden folders."""
    made = Path(tempfile.mkdtemp(), name)
    inside = made / name
    inside.mkdir(parents=True)
    for file_name in ("thesis", "key"):
        (inside / file_name).write_text("torn")
    for path in (*inside.iterdir(), inside, made):
        os.utime(path, (1, 1))
    made.rename(shared / name)
    made.parent.rmdir()


def save_numbered(shared, count):
    """Save until *count* results are there; another user may make some saves fail."""
    handler = PickleHandler(Pair, shared)
    for n in range(count):
        try:
            handler.save_persistence(filled(Pair(n, "x"), data=1))
        except (OSError, PersistenceError):
            continue
    handler.sweep()


class Seam:
    """A module as the code under test sees it: before each of its calls that look at files, *before* is called."""

    def __init__(self, module, before):
        self._module, self._before = module, before

    def __getattr__(self, name):
        found = getattr(self._module, name)
        if name not in {"stat", "lstat", "listdir", "scandir", "open", "unlink", "rmdir", "replace", "OpenFile"}:
            return found

        def call(*arguments, **options):
            self._before()
            return found(*arguments, **options)

        return call


def sweep_by_path(os, folder, before):
    """Sweep as one may think that it is enough: what is looked at is removed under the same path."""
    for name in os.listdir(folder):
        path = f"{folder}/{name}"
        if not name.startswith(HIDDEN) or os.lstat(path).st_uid != OWNER or os.lstat(path).st_mtime > before:
            continue
        for name in os.listdir(path):
            for last in os.listdir(f"{path}/{name}"):
                if os.lstat(f"{path}/{name}/{last}").st_mtime <= before:
                    os.unlink(f"{path}/{name}/{last}")
            os.rmdir(f"{path}/{name}")
        os.rmdir(path)


def harmed_by_swaps(place, sweep, *, twice):
    """Return at which calls of *sweep* a swap harms the private folder: once before one of them, or there and back.

    :param sweep: is called with a function to be called before each look at files
    """
    shared, private = place / "shared", place / "private"
    leftover, link = shared / f"{HIDDEN}{0:016x}", shared / "link"
    libc = ctypes.CDLL(None)

    def taken(moments):
        """Sweep, with a swap before each of the calls *moments*; return how many calls there were, and whether it harms."""
        for leftover_path in (leftover, link):
            if leftover_path.is_symlink():
                leftover_path.unlink()
            elif leftover_path.exists():
                shutil.rmtree(leftover_path)
        stale_folder(shared, leftover.name)
        link.symlink_to(private)
        calls = 0

        def before():
            nonlocal calls
            if calls in moments:
                libc.renameat2(-100, os.fsencode(leftover), -100, os.fsencode(link), 2)
            calls += 1

        try:
            sweep(before)
        except OSError:
            pass
        harmed = not is_unharmed(place)
        if harmed:
            (private / "thesis").write_text("months of work")
            (private / "key").touch(0o600)
            (private / "key").write_text("secret")
            (private / leftover.name).unlink(missing_ok=True)
            (private / leftover.name).symlink_to(".")
            for path in (*(private / name for name in ("thesis", "key")), private):
                os.utime(path, (1, 1))
        return calls, harmed

    (private / leftover.name).symlink_to(".")  # so that the paths of the leftover lead to the private files
    count, harmed = taken(())
    assert not harmed
    assert not os.path.lexists(leftover), "it is swept where nothing is swapped"
    moments = [(first,) for first in range(count)]
    if twice:
        moments += itertools.combinations(range(count + 2), 2)
    harmful = [moment for moment in moments if taken(moment)[1]]
    (private / leftover.name).unlink()
    return count, harmful


def test_a_swapped_leftover_empties_no_other_folder(place):
    """Another user replaces it by a link to a private folder before any call of the sweep, and puts it back before any later one."""
    shared = str(place / "shared")

    def by_descriptor(before):
        with pytest.MonkeyPatch.context() as patch:
            for name in ("os", "_disk"):
                patch.setattr(leftovers, name, Seam(getattr(leftovers, name), before))
            PickleHandler(Pair, shared).sweep()

    def by_path(before):
        sweep_by_path(Seam(os, before), shared, time.time())

    count, harmful = User(OWNER, partial(harmed_by_swaps, place, by_descriptor, twice=True)).result()
    assert count > 10
    assert harmful == []
    count, harmful = User(OWNER, partial(harmed_by_swaps, place, by_path, twice=False)).result()
    assert len(harmful) > 3, "who sweeps by path loses for certain"
    assert is_unharmed(place)


def test_a_folder_that_is_renamed_to_a_leftover_is_not_emptied(place):
    """Another user who can write into the parent folder, but not into the folder itself, can rename it."""
    shared = place / "shared"

    def make():
        results = shared / "results"
        results.mkdir(mode=0o755)
        (results / "thesis").write_text("months of work")
        for path in (results / "thesis", results):
            os.utime(path, (1, 1))

    User(OWNER, make).result()
    User(STRANGER, os.rename, shared / "results", shared / f"{HIDDEN}{0:016x}").result()
    User(OWNER, save_numbered, shared, 3).result()
    assert (shared / f"{HIDDEN}{0:016x}" / "thesis").read_text() == "months of work"


def test_leftovers_of_other_users_are_kept(place):
    """A process on another machine may still be writing them."""
    shared = place / "shared"
    User(STRANGER, stale_folder, shared, f"{HIDDEN}{1:016x}").result()
    User(OWNER, save_numbered, shared, 1).result()
    assert (shared / f"{HIDDEN}{1:016x}").exists()


class ByHook(PickleHandler):
    """A handler that writes by path, and takes its time."""

    def _save_persistence(self, result, path):
        time.sleep(0.002)
        super()._save_persistence(result, path)
        time.sleep(0.002)


def test_a_swapped_folder_of_a_hook_takes_nothing_from_elsewhere(place, long):
    """While the hook writes, and while what it wrote is published."""
    shared = place / "shared"

    def save_by_hook():
        handler = ByHook(Pair, shared)
        outcomes = []
        for n in range(300 if long else 30):
            try:
                handler.save_persistence(filled(Pair(n, "key"), data=1))
            except (OSError, PersistenceError) as error:
                outcomes.append(type(error).__name__)
        return outcomes

    stranger = User(STRANGER, swap, str(shared), str(place / "private"), lambda name: name.startswith(HIDDEN))
    try:
        outcomes = User(OWNER, save_by_hook).result()
    finally:
        stranger.stop()
    assert outcomes, "the other user came in between"
    # The hook itself may have written through the link; what was there is there.
    assert [(place / "private" / name).read_text() for name in ("thesis", "key")] == ["months of work", "secret"]


def test_a_swapped_file_gives_no_permissions_away(place, long, monkeypatch):
    """Neither while a result is replaced without files that have no name, nor while one is converted."""
    monkeypatch.setattr(system, "TMPFILE", 0)
    shared = place / "shared"
    count = 300 if long else 40

    def replace():
        os.umask(0)
        handler = PickleHandler(Pair, shared)
        for n in range(count):
            try:
                path = handler.filepath(Pair(1, 2))
                handler.save_persistence(filled(Pair(1, 2), data=np.arange(200_000.0)))
                conversion.convert_file(str(path), f"{path}.{n}", compression=None, keep=True)
            except (OSError, PersistenceError):
                continue

    User(OWNER, lambda: PickleHandler(Pair, shared).save_persistence(filled(Pair(1, 2), data=1)) and None).result()
    stranger = User(
        STRANGER, swap, str(shared), str(place / "private" / "key"), lambda name: name.startswith((HIDDEN, "cache-"))
    )
    try:
        User(OWNER, replace).result()
    finally:
        stranger.stop()
    assert is_unharmed(place)


@pytest.mark.skipif(not system.TMPFILE, reason="this system has no files without name")
@pytest.mark.parametrize("size", [1, 300_000])
def test_what_replaces_a_private_file_is_private_at_any_moment(place, long, size):
    """The other user tries to open whatever gets a hidden name."""
    shared = place / "shared"

    def replace():
        handler = PickleHandler(Pair, shared)
        for n in range(10_000 if long else 200):
            handler.save_persistence(filled(Pair(1, 2), data=np.full(size, n)))
        (shared / "done").touch()

    def spy():
        opened = []
        while not (shared / "done").exists():
            for name in set(os.listdir(shared)) - {"done"}:
                try:
                    os.close(os.open(shared / name, os.O_RDONLY))
                    opened.append(name)
                except OSError:
                    continue
        return opened

    def begin():
        handler = PickleHandler(Pair, shared)
        handler.save_persistence(filled(Pair(1, 2), data=1))
        handler.filepath(Pair(1, 2)).chmod(0o600)

    User(OWNER, begin).result()
    stranger = User(STRANGER, spy)
    User(OWNER, replace).result()
    assert stranger.result() == []


@pytest.mark.parametrize("size", [1, 100, 300_000])
@pytest.mark.parametrize("unnamed", [True, False])
def test_permissions_of_another_user_s_file_are_not_copied(place, monkeypatch, size, unnamed):
    """They may let everybody write the file, and run it as its owner."""
    if not unnamed:
        monkeypatch.setattr(system, "TMPFILE", 0)
    shared = place / "shared"
    path = PickleHandler(Pair, shared).filepath(Pair(1, 2))

    def save(mode):
        PickleHandler(Pair, shared).save_persistence(filled(Pair(1, 2), data=np.zeros(size)))
        if mode:
            path.chmod(mode)

    for owner, mode in ((STRANGER, 0o6777), (OWNER, 0o6640)):
        User(owner, save, mode).result()
        User(OWNER, save, 0).result()
        expected = 0o644 if owner == STRANGER else 0o640
        assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (OWNER, expected)
        path.unlink()


class _Touch:
    """Runs something when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def hostile(touched, complete):
    """Return a file that runs something where it is unpickled; its keys come before that, or not at all."""
    fields = {"a": 1, "b": 2, "c": None, "data": _Touch(touched)} if complete else {"a": _Touch(touched), "b": 2}
    return pickle.dumps(fields)


@pytest.mark.parametrize("handler", [PickleHandler, GzipHandler])
@pytest.mark.parametrize("complete", [True, False])
def test_a_hostile_file_under_the_name_runs_nothing(place, long, handler, complete):
    """A save over it reads its head only, even if another user puts it there again all the time."""
    shared = place / "shared"
    touched = place / "private" / "touched"
    path = handler(Pair, shared).filepath(Pair(1, 2))
    content = hostile(str(touched), complete)

    def plant():
        while True:
            fresh = shared / f"planted-{os.urandom(4).hex()}"
            fresh.write_bytes(content)
            fresh.chmod(0o644)
            os.replace(fresh, path)

    def save():
        saver = handler(Pair, shared)
        for _ in range(300 if long else 30):
            try:
                saver.save_persistence(filled(Pair(1, 2), data=1))
            except (OSError, PersistenceError):
                continue

    stranger = User(STRANGER, plant)
    try:
        User(OWNER, save).result()
    finally:
        stranger.stop()
    assert not touched.exists()
    assert is_unharmed(place)
