"""A process that is forked while other threads save can save: the fork waits for their locks."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import signal
import sqlite3
import threading
import time
import types
import zlib

import pytest

from neuralib.persistence import PickleHandler, _disk, _forks, autoinc_field, field, persistence_class
from neuralib.persistence._bytes.checksums import BackgroundCrc
from neuralib.persistence._bytes.sources import BytesSource
from neuralib.persistence._computing import parcels
from neuralib.persistence._computing.claims import Claims, claim_name
from neuralib.persistence._forks import STORE, lock_for_forks
from neuralib.persistence._packages import import_extra
from neuralib.persistence._stores import database, drafts, exclusive, rows, system
from neuralib.persistence._stores.ahead import ReadAhead
from neuralib.persistence._stores.database import opened
from neuralib.persistence._tasks import read_ahead
from neuralib.persistence.stores import ArchiveStore, FolderStore, MemoryStore, ObjectStore

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

A_WHILE_S = 0.3


@persistence_class
class Mean:
    animal: str = field(validator=True, filename=True)
    value: float


@persistence_class
class Run:
    animal: str = field(validator=True, filename=True)
    number: int = autoinc_field("#")
    value: float

    @classmethod
    def of(cls, animal):
        result = cls(animal)
        result.value = 1.0
        return result


class Thread(threading.Thread):
    """Calls *function* with a function that says that it began, and takes a while."""

    def __init__(self, function):
        super().__init__(target=function, args=(self.pause,))
        self._begun = threading.Event()
        self.is_through = False
        self.start()
        assert self._begun.wait(10)

    def pause(self):
        self._begun.set()
        time.sleep(A_WHILE_S)
        self.is_through = True


def runs_in_child(function):
    """Return whether a forked process can call *function*, which may take 10 seconds."""
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            function()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def test_a_store_in_memory_can_be_used_although_a_thread_was_saving(tmp_path):
    handler = PickleHandler(Mean, MemoryStore())

    def save(pause):
        with handler.store._lock:
            pause()

    thread = Thread(save)
    result = Mean("A")
    result.value = 1.0
    assert runs_in_child(lambda: handler.save_persistence(result))
    thread.join()


def test_a_bucket_that_a_thread_was_asking_is_refused():
    """As any other of the parent's: the child has no thread of its client."""
    bucket = ObjectStore(pytest.importorskip("obstore.store").MemoryStore())._bucket
    bucket.require("create")
    bucket._kept.clear()

    def ask(pause):
        with bucket._lock, bucket._probing:
            pause()

    def refused():
        for use in (lambda: bucket.require("create"), lambda: bucket.client_for(0)):
            with pytest.raises(RuntimeError, match="was forked from one that used an object store"):
                use()

    thread = Thread(ask)
    assert runs_in_child(refused)
    thread.join()


def test_a_fork_waits_for_an_archive_that_is_closed_with_its_last_reference():
    """SQLite has locks of its own for its memory."""
    thread = Thread(lambda pause: database._close(types.SimpleNamespace(close=pause)))
    assert runs_in_child(lambda: None)
    assert thread.is_through
    thread.join()


def test_a_fork_waits_for_an_archive_that_is_made(tmp_path, monkeypatch):
    connect = sqlite3.connect

    def make(pause):
        monkeypatch.setattr(sqlite3, "connect", lambda *args, **how: (pause(), connect(*args, **how))[1])
        rows.make_file(tmp_path / "results.sqlar")

    thread = Thread(make)
    assert runs_in_child(lambda: None)
    assert thread.is_through
    thread.join()


def test_a_fork_waits_for_an_archive_that_is_opened_and_used_at_once(tmp_path):
    """The locks are looked for when no more files are opened."""
    path = tmp_path / "results.sqlar"
    rows.make_file(path)

    def use(pause):
        with database.opening:
            pause()
            found = opened(str(path), lambda: True)
            found.lock.acquire()
        thread.is_through = False
        pause()
        found.lock.release()
        found.close()

    thread = Thread(use)
    assert runs_in_child(lambda: None)
    assert thread.is_through
    thread.join()


def test_a_module_that_a_thread_is_importing_can_be_imported(tmp_path, monkeypatch):
    """Python has a lock for each module, which a child gets as it is."""
    (tmp_path / "imported_by_a_thread.py").write_text("import sys\nsys.pause()\n")
    monkeypatch.syspath_prepend(tmp_path)

    def import_it(pause):
        monkeypatch.setattr("sys.pause", pause, raising=False)
        import_extra("imported_by_a_thread", "slow", "a test")

    thread = Thread(import_it)
    assert runs_in_child(lambda: import_extra("imported_by_a_thread", "slow", "a test"))
    thread.join()


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_child_waits_for_no_thread_that_reads_ahead(goes_on):
    """Such a thread is not there. What it was reading is read again."""
    begun, ended, parent = threading.Event(), threading.Event(), os.getpid()

    def read(item):
        if item == 1 and os.getpid() == parent:
            begun.set()
            assert ended.wait(20)
        return item

    found = read_ahead(2, read, range(5))
    item, result_of = next(found)
    assert result_of(item) == 0
    assert begun.wait(10)

    def use():
        if goes_on:
            assert [result_of(item) for item, result_of in found] == [1, 2, 3, 4]
        else:
            found.close()

    assert runs_in_child(use)
    ended.set()
    assert [result_of(item) for item, result_of in found] == [1, 2, 3, 4]


def test_a_child_adds_up_what_a_thread_has_added_up_in_its_parent():
    """The thread is not there, and the pieces that it took are in no queue any more."""
    pieces = [b"%d" % number * 100 for number in range(5)]
    whole = zlib.crc32(b"".join(pieces))
    background = BackgroundCrc(0)
    for piece in pieces[:3]:
        background.add(piece)
    while not background._pieces.empty():
        time.sleep(0.001)

    def go_on():
        background.add(pieces[3])
        background.add(pieces[4])
        assert background.result() == whole

    assert runs_in_child(go_on)
    go_on()


def test_a_child_reads_ahead_although_a_thread_was_reading():
    """What the thread had begun to read together is read one by one."""
    names, parent = [str(number) for number in range(6)], os.getpid()

    def read(pause):
        def read_many(some):
            if os.getpid() == parent:
                pause()
            return {name: BytesSource(name.encode()) for name in some}

        nonlocal ahead
        ahead = ReadAhead(names, read_many, 3)
        ahead.source("0")

    def go_on():
        assert ahead.source("0") is None
        assert ahead.source("3").read() == b"3"

    ahead = None
    thread = Thread(read)
    assert runs_in_child(go_on)
    thread.join()


class Options:
    """What computes a batch; to unpickle it takes a while, if :attr:`pause` is set."""

    pause = None

    def __reduce__(self):
        return Options.unpickled, ()

    @classmethod
    def unpickled(cls):
        if cls.pause is not None:
            cls.pause()
        return cls()

    def run_one(self, template):
        return "saved"


def test_a_worker_computes_although_a_thread_was_unpickling_the_options_of_another_batch(monkeypatch):
    """As of a batch by threads, while one by processes starts its workers."""
    content, templates = pickle.dumps(Options()), pickle.dumps([1])
    monkeypatch.setattr(parcels, "_kept", {})

    def unpickle(pause):
        monkeypatch.setattr(Options, "pause", pause)
        parcels.run_parcel("one", content, templates, 1.0)

    def compute():
        Options.pause = None
        assert parcels.run_parcel("another", content, templates, 1.0).outcomes == ["saved"]

    thread = Thread(unpickle)
    assert runs_in_child(compute)
    thread.join()


def test_the_wait_for_a_lock_has_an_end(monkeypatch):
    """The child has it free all the same, and the thread keeps it."""
    monkeypatch.setattr(_forks, "_WAIT_S", 0.1)
    lock, own = lock_for_forks(STORE), lock_for_forks(STORE)
    held, is_over = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            is_over.wait()

    def take():
        assert lock.acquire(timeout=1)
        assert own.acquire(timeout=1)
        own.release()
        own.release()  # which this thread held when it forked

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(10)
        with own:
            assert runs_in_child(take)
        assert not lock.acquire(blocking=False)
    finally:
        is_over.set()
        thread.join()
    assert lock.acquire(blocking=False)


@pytest.mark.parametrize(("name", "durable"), [("results", True), ("results.sqlar", False)])
def test_what_waits_in_a_batch_is_saved_by_the_process_that_began_it(tmp_path, name, durable):
    """The child, which leaves the block too, saves what it added itself."""
    handler = PickleHandler(Run, tmp_path / name, durable=durable)
    child = -1
    try:
        with handler.batch():
            for _ in range(3):
                handler.save_persistence(Run.of("parent"))
            child = os.fork()
            if child == 0:
                handler.save_persistence(Run.of("child"))
    finally:
        if child == 0:
            os._exit(0)
    os.waitpid(child, 0)
    assert [(hit.keys["animal"], hit.keys["number"]) for hit in handler.find()] == [
        ("child", 0),
        ("parent", 0),
        ("parent", 1),
        ("parent", 2),
    ]


@pytest.mark.parametrize("durable", [False, True])
def test_a_batch_to_which_a_thread_was_adding_can_be_used(tmp_path, durable):
    """In the child, it waits for no thread that is not there."""
    handler = PickleHandler(Run, tmp_path, durable=durable)

    class Slow:
        def __reduce__(self):
            self.pause()
            return float, ()

    def add(pause):
        result = Run.of("thread")
        result.value = Slow()
        result.value.pause = pause
        handler.save_persistence(result)

    def save():
        with handler.batch():
            handler.save_persistence(Run.of("child"))

    with handler.batch():
        thread = Thread(add)
        assert runs_in_child(save)
        thread.join()
    assert handler.find().to_columns()["animal"] == ["child", "thread"]


@pytest.mark.parametrize(("name", "durable"), [("results", True), ("results.sqlar", False)])
def test_a_batch_that_a_thread_began_is_over_in_a_child(tmp_path, name, durable):
    """Nobody leaves its block there."""
    handler = PickleHandler(Run, tmp_path / name, durable=durable)

    def save(pause):
        with handler.batch():
            handler.save_persistence(Run.of("thread"))
            pause()

    thread = Thread(save)
    assert runs_in_child(lambda: handler.save_persistence(Run.of("child")))
    thread.join()
    assert handler.find().to_columns()["animal"] == ["child", "thread"]


def test_an_archive_that_a_child_writes_into_stays_open(tmp_path):
    """SQLite keeps in memory which locks its process has: a child that had this memory would write without a lock."""
    store = ArchiveStore(tmp_path / "results.sqlar")
    store.put("parent", b"")
    to_child, to_parent = os.pipe(), os.pipe()

    def save():
        store.put("first", b"")
        os.write(to_parent[1], b".")
        os.read(to_child[0], 1)
        store.put("second", b"")

    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            save()
        finally:
            os._exit(0)
    os.read(to_parent[0], 1)
    store.close()  # which removes the log beside the file where no other process has it open
    os.write(to_child[1], b".")
    assert os.waitpid(child, 0)[1] == 0
    for end in (*to_child, *to_parent):
        os.close(end)
    assert list(ArchiveStore(store.file).names()) == ["first", "parent", "second"]


@pytest.mark.parametrize("use", ["names", "reading", "transaction"])
def test_an_archive_in_use_stays_open_when_its_thread_forks(tmp_path, use):
    """What comes after the fork goes on."""
    store = ArchiveStore(tmp_path / "results.sqlar")
    for name in "ABC":
        store.put(name, b"x" * (3 << 20))
    if use == "names":
        names = store.names()
        assert next(names) == "A"
        assert runs_in_child(lambda: None)
        assert list(names) == ["B", "C"]
    elif use == "reading":
        with store.open("B") as source:
            assert runs_in_child(lambda: None)
            assert len(source.read()) == 3 << 20
    else:
        used = store._file.opened()
        with used.transaction("a test", durable=False) as keep:
            used.execute("DELETE FROM sqlar WHERE name='A'")
            assert runs_in_child(lambda: None)
            keep()
        assert list(store.names()) == ["B", "C"]


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
@pytest.mark.parametrize("goes_on", [False, True])
def test_a_child_that_is_forked_in_a_transaction_does_not_undo_it(tmp_path, journal, goes_on):
    """Its parent keeps what is written, and the file is whole. What the child goes on with is done with the file opened anew."""
    store = ArchiveStore(tmp_path / "results.sqlar")
    for number in range(50):
        store.put(f"former{number}", b"f" * 5000)
    used, parent = store._file.opened(), os.getpid()
    used.execute(f"PRAGMA journal_mode={journal}")
    used.execute("PRAGMA cache_size=10")  # so that some is written before the end
    try:
        with used.transaction("a test", durable=False) as keep:
            used.execute("DELETE FROM sqlar")
            rows_made = [(f"new{number}", 33188, 1, 5000, b"n" * 5000) for number in range(300)]
            used.connection.executemany("INSERT INTO sqlar VALUES (?, ?, ?, ?, ?)", rows_made)
            child = os.fork()
            if child:
                assert os.waitpid(child, 0)[1] == 0
            elif not goes_on:
                raise LeftInChildError
            else:
                signal.alarm(10)
                for act in (keep, lambda: used.execute("DELETE FROM sqlar"), lambda: used.cursor.execute("COMMIT")):
                    with pytest.raises(database.ClosedError):
                        act()
            keep()
    except (LeftInChildError, database.ClosedError):
        assert os.getpid() != parent
        os._exit(0)
    finally:
        if os.getpid() != parent:
            os._exit(1)
    assert len(list(store.names())) == 300
    assert store._file.opened().execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_signal_handler_may_fork_while_a_fork_waits():
    """Each gives back the locks that it took. Steps of Python's own have no such promise, so no process is forked."""
    lock = lock_for_forks(STORE)
    _forks._before()
    _forks._before()
    assert not _forks.is_idle(lock)
    _forks._after_in_parent()
    assert _forks.is_idle(lock)
    _forks._after_in_parent()
    assert not lock._is_owned()


def test_a_lock_that_is_gone_is_forgotten():
    before = len(_forks._locks)
    lock = lock_for_forks(STORE)
    assert len(_forks._locks) == before + 1
    del lock
    assert len(_forks._locks) == before


class LeftInChildError(BaseException):
    """Ends a save in the child, as Ctrl-C would."""


CALLS = ["link", "rename", "replace", "mkdir", "rmdir", "unlink", "lstat", "write", "urandom"]


@pytest.fixture
def forks(monkeypatch):
    """After many system calls, fork. The child leaves by an exception; the parent waits for its end, and goes on.

    Returns a function that does what it is given so, and returns how many children there were.
    """

    def run(function):
        parent, children = os.getpid(), []

        def forking(call):
            def call_and_fork(*arguments, **options):
                done = call(*arguments, **options)
                if os.getpid() != parent:
                    return done
                child = os.fork()
                if child == 0:
                    signal.alarm(10)
                    raise LeftInChildError
                children.append(os.waitpid(child, 0)[1])
                return done

            return call_and_fork

        gc.freeze()  # else each child would copy the memory of all objects to look at them
        try:
            with monkeypatch.context() as patch:
                for name in CALLS:
                    patch.setattr(os, name, forking(getattr(os, name)))
                function()
        finally:
            if os.getpid() != parent:
                gc.collect()
                os._exit(0)
            gc.unfreeze()
        assert set(children) == {0}
        return len(children)

    return run


@pytest.fixture(params=["unnamed", "hidden", "claims"])
def way(request, monkeypatch):
    """How files get their names: all is there, there are no files without names, or neither links nor exclusive renames."""
    if request.param != "unnamed":
        monkeypatch.setattr(system, "TMPFILE", 0)
    if request.param == "claims":

        def refuse(*_, **__):
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

        monkeypatch.setattr(os, "link", refuse)
        monkeypatch.setattr(exclusive._disk, "rename_exclusively", lambda *_: False)
    return request.param


@pytest.mark.parametrize("durable", [False, True])
def test_a_child_that_is_forked_in_a_save_leaves_its_parents_files(tmp_path, forks, way, durable):
    """Whichever step comes next."""
    store = FolderStore(tmp_path)

    def save(replace, size=3):
        draft = store.draft()
        for part in range(size):
            draft.write(b"%d" % part * 1_000_000)
        store.put("result", draft, replace=replace, durable=durable)

    content = b"".join(b"%d" % part * 1_000_000 for part in range(3))
    assert forks(lambda: save(replace=False)) > 0
    assert store.open("result").read() == content
    assert os.listdir(tmp_path) == ["result"]
    assert forks(lambda: save(replace=True, size=2)) > 0
    assert store.open("result").read() == content[:2_000_000]
    assert os.listdir(tmp_path) == ["result"]


def test_a_child_that_is_forked_in_a_small_save_leaves_its_parents_file(tmp_path, monkeypatch, forks):
    """A small file is replaced in one step; where that step fails, in two, between which it has a hidden name."""
    store = FolderStore(tmp_path)
    store.put("result", b"first")
    replace_file = _disk.replace_file

    def written_only(hidden, target, *arguments):
        assert replace_file(hidden, hidden + "-named", *arguments)
        os.rename(hidden + "-named", hidden)
        return False

    monkeypatch.setattr(drafts._disk, "replace_file", written_only)
    assert forks(lambda: store.put("result", b"second", replace=True)) > 0
    assert store.open("result").read() == b"second"
    assert os.listdir(tmp_path) == ["result"]


def test_a_child_that_is_forked_in_a_hook_leaves_its_parents_files(tmp_path, forks, way):
    """Those of the hidden folder that the hook writes into."""
    store = FolderStore(tmp_path)

    def write(path):
        path.with_name("beside").write_bytes(b"other")
        path.write_bytes(b"content")
        os.lstat(path)

    assert forks(lambda: store.put("result", store.draft_by_hook(write, "result"))) > 0
    assert store.open("result").read() == b"content"
    assert sorted(os.listdir(tmp_path)) == ["beside", "result"]


class Forking:
    """Forks where it is pickled first, and waits for the child."""

    child = -1

    def __reduce__(self):
        if self.child == -1:
            self.child = os.fork()
            if self.child:
                assert os.waitpid(self.child, 0)[1] == 0
            else:
                signal.alarm(10)
        return float, ()


def test_a_child_that_is_forked_while_a_result_is_pickled_does_not_save_it(tmp_path, way):
    """Both would write into one file. The parent's result is whole."""
    handler, forking = PickleHandler(Mean, tmp_path), Forking()
    result = Mean("A")
    large = [b"%d" % n * 3_000_000 for n in range(4)]
    result.value = [*large[:2], forking, *large[2:]]
    try:
        handler.save_persistence(result)
    except RuntimeError as error:
        if forking.child == 0:
            os._exit("forked while its parent was saving a result" not in str(error))
        raise
    finally:
        if forking.child == 0:
            os._exit(2)
    assert forking.child > 0
    assert handler.load_persistence(result).value == [*large[:2], 0.0, *large[2:]]
    assert os.listdir(tmp_path) == ["cache-Mean-A.pkl"]


def test_a_child_that_goes_on_after_a_hook_publishes_nothing(tmp_path):
    """What the hook wrote is the parent's."""
    store, forked = FolderStore(tmp_path), []

    def write(path):
        path.write_bytes(b"content")
        forked.append(os.fork())
        if forked[0]:
            assert os.waitpid(forked[0], 0)[1] == 0

    try:
        store.put("result", store.draft_by_hook(write, "result"))
    except RuntimeError:
        if forked[0]:
            raise
        os._exit(0)
    finally:
        if not forked[0]:
            os._exit(2)
    assert store.open("result").read() == b"content"
    assert os.listdir(tmp_path) == ["result"]


def test_a_child_can_not_go_on_with_a_draft_of_its_parent(tmp_path):
    """Both would write into one file. What had no file yet is copied by the fork."""
    store = FolderStore(tmp_path)
    begun, in_memory = store.draft(), store.draft()
    begun.write(b"x" * 2_000_000)
    in_memory.write(b"small")

    def go_on():
        for act in (lambda: begun.write(b"x" * 2_000_000), lambda: begun.reserve(5), lambda: store.put("a", begun)):
            with pytest.raises(RuntimeError, match="forked while its parent was saving a result"):
                act()
        in_memory.write(b"x" * 2_000_000)
        store.put("child", in_memory)

    assert runs_in_child(go_on)
    store.put("parent", begun)
    store.put("small", in_memory)
    sizes = {name: store.stat(name).size_bytes for name in store.names()}
    assert sizes == {"child": 2_000_005, "parent": 2_000_000, "small": 5}


def test_a_child_leaves_the_claims_of_its_parents_batch(tmp_path):
    """It may have claims of its own, though a thread of the parent held the lock."""
    store, claims = FolderStore(tmp_path), Claims("batch")
    assert claims.take(store, "parents") == "new"

    def leave():
        claims.release(store, "parents")
        assert claims.is_held(store, "parents")
        assert claims.take(store, "childs") == "new"
        claims.release_all()
        assert claims.take(store, "childs") == "new"
        claims.release(store, "childs")

    with claims._lock:
        assert runs_in_child(leave)
    assert os.listdir(tmp_path) == [claim_name("parents")]
    claims.release(store, "parents")
    assert os.listdir(tmp_path) == []
