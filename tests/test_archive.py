"""An archive stores results in one SQLite file: it behaves like a folder, other programs can read it, and its errors help."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import tempfile
import threading
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

import hostile_files
import numpy as np
import pytest
from checks import filled

from neuralib.persistence import (
    CorruptResultError,
    GzipHandler,
    PickleHandler,
    autoinc_field,
    field,
    missing,
    persistence_class,
    read_head,
    results_equal,
)
from neuralib.persistence._commands.entry import main
from neuralib.persistence._stores import archive_writing, database, mounts, rows
from neuralib.persistence.cli_persistence import PersistenceOptions
from neuralib.persistence.stores import ArchiveStore, FolderStore, Put

needs_sqlite = pytest.mark.skipif(shutil.which("sqlite3") is None, reason="needs the program sqlite3")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@persistence_class
class Run:
    animal: str = field(validator=True, filename=True)
    number: int = autoinc_field("#")
    weights: np.ndarray
    score: float


@persistence_class
class Mean:
    animal: str = field(validator=True, filename=True)
    value: float


def run(animal="A", score=1.0, size=5):
    return filled(Run(animal), weights=np.arange(size) * 1.0, score=score)


def mean(animal, value=1.0):
    return filled(Mean(animal), value=value)


def means(animals):
    return [mean(animal, value) for value, animal in enumerate(animals)]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "results.sqlar"


def sqlite(*arguments):
    return subprocess.run(["sqlite3", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


# ---------------------------------------------------------------------------------------------- one file, readable by other programs


def test_a_path_that_ends_in_sqlar_is_an_archive(file, tmp_path):
    """Handlers and options take it as text or as a path; an existing folder of that name stays a folder."""

    class Options(PersistenceOptions[Mean]):
        def empty_cache(self):
            return Mean("A")

        def compute_cache(self, result):
            return filled(result, value=7.0)

    assert isinstance(PickleHandler(Mean, str(file)).store, ArchiveStore)
    assert Options().load_cache(dest=file).value == 7.0
    assert file.is_file()
    assert [hit.keys for hit in PickleHandler(Mean, file).find()] == [{"animal": "A"}]
    assert Options().compute_missing({"animal": list("ABC")}, progress=False, dest=str(file)).saved == 2
    (tmp_path / "folder.sqlar").mkdir()
    assert isinstance(PickleHandler(Mean, tmp_path / "folder.sqlar").store, FolderStore)


@needs_sqlite
def test_sqlite_lists_and_extracts_results(file, tmp_path):
    """The extracted files equal those of a folder, byte for byte."""
    for place in (file, tmp_path / "folder"):
        PickleHandler(Run, place).save_all(run(animal, 2.0, 300) for animal in "ABBA")
        GzipHandler(Mean, place).save_all(means("AB"))
    expected = {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}
    assert sorted(sqlite(file, "-At").split()) == sorted(expected)
    target = tmp_path / "extracted"
    target.mkdir()
    subprocess.run(["sqlite3", str(file), "-Ax"], check=True, cwd=target)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == expected


@needs_sqlite
def test_an_archive_made_by_sqlite_can_be_read(file, tmp_path):
    """SQLite compresses what gets smaller, and stores folders and links too."""
    folder = tmp_path / "folder"
    PickleHandler(Mean, folder).save_all(means("AB"))
    PickleHandler(Run, folder).save_persistence(filled(Run("A"), weights=np.zeros(300_000), score=1.0))
    (folder / "more").mkdir()
    (folder / "more" / "cache-Mean-C.pkl").write_bytes((folder / "cache-Mean-A.pkl").read_bytes())
    (folder / "cache-Mean-D.pkl").symlink_to("cache-Mean-A.pkl")
    names = [path.name for path in folder.iterdir()]
    subprocess.run(["sqlite3", str(file), "-Ac", *names], check=True, cwd=folder)
    store = ArchiveStore(file)
    assert sorted(store.names()) == sorted(names)
    assert [store.stat(name).regular for name in sorted(store.names())] == [True, True, False, True, False]
    assert PickleHandler(Mean, store).load_persistence(Mean("B")).value == 1.0
    assert not PickleHandler(Run, store).load_persistence({"animal": "A", "number": 0}).weights.any()
    with pytest.raises(OSError, match="a folder or a link"):
        PickleHandler(Mean, store).load_persistence(Mean("D"))
    PickleHandler(Mean, store).save_persistence(mean("E"))
    assert "cache-Mean-E.pkl" in sqlite(file, "-At").split()


def test_a_closed_archive_is_a_single_file(file, tmp_path):
    """So it can be copied."""
    with ArchiveStore(file) as store:
        PickleHandler(Mean, store).save_all(means("AB"))
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    PickleHandler(Mean, store).save_persistence(mean("C"))  # opens the archive again
    store.close()
    assert len(PickleHandler(Mean, shutil.copy(file, tmp_path / "copy.sqlar")).find()) == 3


@pytest.mark.parametrize("use", ["saving", "load_all", "find", "batch", "table"])
def test_an_archive_that_nobody_uses_is_closed_at_once(file, tmp_path, use):
    """Its disk can be unmounted then. The garbage collector may come much later."""
    handler = PickleHandler(Mean, file)
    handler.save_all(means("AB"))
    gc.disable()
    try:
        if use == "load_all":
            assert len(list(handler.load_all(animal=missing))) == 2
        elif use == "find":
            assert [hit.load().value for hit in handler.find()] == [0, 1]
        elif use == "batch":
            with handler.batch():
                handler.save_persistence(mean("C"))
        elif use == "table":
            assert handler.find().to_columns("value")["value"] == [0, 1]
        del handler
        assert [path.name for path in tmp_path.iterdir()] == [file.name]
    finally:
        gc.enable()


def test_the_time_of_the_last_save_is_kept(file):
    """It is finer than a second, and results of the same time still differ in their version."""
    store = ArchiveStore(file)
    handler = PickleHandler(Mean, store)
    handler.save_persistence(mean("A"))
    first = store.stat("cache-Mean-A.pkl")
    handler.save_persistence(mean("A", 2.0))
    second = store.stat("cache-Mean-A.pkl")
    assert 0 < second.time_modified_s - first.time_modified_s < 60
    store.put_many([Put(f"copy-{number}", b"x", time_ns=10**18 + 5) for number in range(3)])
    store.put_many([Put("copy-3", b"x", time_ns=10**18 + 5)])
    store.put_many([Put("copy-4", b"x", time_ns=-(10**20)), Put("copy-5", b"x", time_ns=10**20)])  # as a server may say
    assert {round(store.stat(f"copy-{number}").time_modified_s, 3) for number in range(4)} == {1e9}
    assert len({store.stat(f"copy-{number}").version for number in range(4)}) == 4


# ---------------------------------------------------------------------------------------------- large results, unusual names


def test_large_results_are_read_in_parts(file):
    """A result that is replaced while it is open can't be read further."""
    handler = PickleHandler(Run, file)
    saved = handler.save_persistence(run(size=700_000))
    assert results_equal(handler.load_persistence(saved), saved)
    assert handler.find().to_columns("score")["score"] == [1.0]
    assert handler.find().stack("weights").shape == (1, 700_000)
    assert read_head(file / "cache-Run-A-#0.pkl").fields["weights"].shape == (700_000,)
    with handler.store.open("cache-Run-A-#0.pkl") as source:
        assert len(source.read_at(10, 1_000_000)) == 10
        assert source._data is None
        handler.save_persistence(saved)  # while its source is open
        with pytest.raises(FileNotFoundError, match="just replaced"):
            source.read_at(10, 0)
    assert [found.checksummed for found in handler.verify()] == [True]


def test_a_result_above_the_size_limit_is_refused(file, monkeypatch):
    """Its content is not collected in memory first, and a batch keeps the results before it."""
    monkeypatch.setattr(archive_writing, "MOST_BYTES", 10_000)
    handler = PickleHandler(Run, file)
    with pytest.raises(OSError, match="takes 10,000 at most: keep it in a folder") as caught:
        handler.save_persistence(run(size=5_000))
    assert caught.value.errno == errno.EFBIG
    with pytest.raises(OSError, match="at most"):
        handler.save_all([run("A"), run("B"), run("C", size=5_000), run("D")])
    assert [hit.keys["animal"] for hit in handler.find()] == ["A", "B"]
    draft = handler.store.draft()
    with pytest.raises(OSError, match="at most"):
        draft.reserve(10_001)


def test_highest_compares_numbers_by_value(file):
    """Names of another form are ignored."""
    store = ArchiveStore(file)
    for name in ("a-#9.x", "a-#10.x", "a-#-99.x", "a-#0100.x", "a-#1x0.x", "a-#.x", "a-#99.y", "b-#77.x", "a-#5%.x"):
        store.put(name, b"")
    assert (store.highest("a-#", ".x"), store.highest("b-#", ".x"), store.highest("a-#", "")) == (10, 77, -1)
    store.put("a-#" + "9" * 18 + ".x", b"")
    assert store.highest("a-#", ".x") == 10**18 - 1


def test_names_are_listed_once_each_by_several_queries(file, monkeypatch):
    """For any prefix."""
    monkeypatch.setattr("neuralib.persistence._stores.rows._NAMES_AT_ONCE", 3)
    store = ArchiveStore(file)
    names = [f"{start}-{number}" for start in ("a", "ä", "b\ud7ff", "z") for number in range(7)] + [".hidden"]
    store.put_many([Put(name, b"") for name in names])
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("INSERT INTO sqlar(name, sz, data) VALUES('in/side', 0, x'')")
    monkeypatch.setattr("neuralib.persistence._stores.rows._NAMES_AT_ONCE", 3)
    for prefix in ("", "a", "ä-", "b", "b\ud7ff", "z-6", "y"):
        assert sorted(store.names(prefix)) == sorted(name for name in names if name.startswith(prefix))


@pytest.mark.parametrize("size", [1_020, 1_021, 10_000])
def test_rows_with_names_too_long_for_files_are_not_listed(file, monkeypatch, size):
    """Whether they are longer than all names that are listed in one step may be, or not."""
    monkeypatch.setattr("neuralib.persistence._stores.rows._NAMES_AT_ONCE", 3)
    store = ArchiveStore(file)
    names = ["a", "b", "c", "m", "n", "x", "y"]
    store.put_many([Put(name, bytes(100_000)) for name in names])
    others = [first + "k" * (size - 1) for first in "bmy"]
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executemany("INSERT INTO sqlar(name, sz, data) VALUES(?, 0, x'')", [(name,) for name in others])
    listed = sorted(names + others) if size <= 1_020 else names
    assert list(store.names()) == [name for name, _ in store.stats()] == listed
    assert b"/".join(store.packed_names()).decode().split("/") == listed
    assert store.count_unlisted() == len(names) + len(others) - len(listed)
    assert store.open("y").size == 100_000  # more than names that are listed together


def test_listing_an_index_that_is_out_of_order_ends_with_an_error(file, monkeypatch):
    """Each search would begin before the end of the last one, for ever."""
    monkeypatch.setattr("neuralib.persistence._stores.rows._NAMES_AT_ONCE", 2)
    store = ArchiveStore(file)
    store.put_many([Put(f"name-{number}", b"") for number in range(10)])
    store.close()
    pages = file.read_bytes()
    size = int.from_bytes(pages[16:18], "big")
    page = bytearray(
        next(
            page
            for page in (pages[start : start + size] for start in range(0, len(pages), size))
            if page[0] == 10 and b"name-4" in page  # a leaf of an index
        )
    )
    whole = bytes(page)
    four, nine = page.index(b"name-4"), page.index(b"name-9")
    page[four : four + 6], page[nine : nine + 6] = b"name-9", b"name-4"
    file.write_bytes(pages.replace(whole, bytes(page)))
    with pytest.raises(OSError, match=r"index of names is out of order.*\.recover") as caught:
        list(ArchiveStore(file).names())
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(file))


def test_an_archive_in_another_encoding_is_refused(file):
    """Its names would not be found. The error says how to convert it."""
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA encoding='UTF-16'")
    connection.execute("CREATE TABLE sqlar(name TEXT PRIMARY KEY, mode INT, mtime INT, sz INT, data BLOB)")
    connection.close()
    for act in (lambda handler: len(handler.find()), lambda handler: handler.save_persistence(mean("A"))):
        with pytest.raises(OSError, match=r"texts are in UTF-16le, those of archives in UTF-8: `sqlite3 .* \.dump"):
            act(PickleHandler(Mean, file))


# ---------------------------------------------------------------------------------------------- batches and several writers


def executed_statements(handler, act):
    """Return the SQL statements that are executed while *act* runs."""
    found = []
    connection = handler.store._file.opened().connection
    connection.set_trace_callback(found.append)
    act()
    connection.set_trace_callback(None)
    return found


def test_a_batch_is_one_transaction(file):
    """For new results, for replaced ones, and for a mixture."""
    handler = PickleHandler(Mean, file)
    handler.save_persistence(mean("first"))
    animals = [f"{number:03d}" for number in range(200)]
    for saved in (animals[:100], animals):
        executed = executed_statements(handler, lambda saved=saved: handler.save_all(means(saved)))
        assert executed.count("COMMIT") == 1
        assert not any(statement.startswith("INSERT") for statement in executed[executed.index("COMMIT") :])
    assert len(handler.find()) == 201
    assert handler.load_persistence(Mean("150")).value == 150.0


def test_saves_inside_a_batch_share_a_transaction(file):
    """Saves of other threads take part too. Numbers are assigned at once."""
    handler = PickleHandler(Run, file)
    handler.save_persistence(run("first"))

    def save():
        with handler.batch():
            assert [handler.save_persistence(run()).number for _ in range(10)] == list(range(10))
            with handler.batch():  # an inner batch is complete when it ends
                assert handler.save_all(run() for _ in range(5)) == 5
            assert len(PickleHandler(Run, file).find(animal="A")) == 15
            thread = threading.Thread(target=handler.save_persistence, args=(run(),))
            thread.start()
            thread.join()
            handler.save_persistence(run())

    assert executed_statements(handler, save).count("COMMIT") == 2
    assert handler.find(animal="A").to_columns()["number"] == list(range(17))
    assert handler.save_persistence(run()).number == 17


@pytest.mark.parametrize("kind", [ArchiveStore, FolderStore])
@pytest.mark.parametrize("durable", [False, True])
def test_an_error_inside_a_batch_keeps_earlier_saves(tmp_path, kind, durable):
    """In archives and folders; the error says how many results were saved."""
    handler = PickleHandler(Run, kind(tmp_path / "place.sqlar"), durable=durable)
    with pytest.raises(KeyError) as caught, handler.batch():
        for _ in range(3):
            handler.save_persistence(run())
        raise KeyError("mine")
    assert caught.value.__notes__ == ["3 results of the batch were saved"]
    assert handler.save_persistence(run()).number == 3
    assert len(handler.find()) == 4


@pytest.mark.usefixtures("listing_is_cheap")
@pytest.mark.parametrize("given_at", [0, 1, 2])
def test_a_number_set_by_the_caller_counts_for_later_numbers(file, given_at):
    """Wherever its result stands in the batch."""
    handler = PickleHandler(Run, ArchiveStore(file))
    save_some(handler, "A")
    results = [run("A") for _ in range(3)]
    results[given_at].number = 100
    handler.save_all(results)
    assert handler.save_persistence(run("A")).number == 101
    assert len(handler.find()) == 9


@pytest.mark.usefixtures("listing_is_cheap")
def test_the_next_number_follows_what_other_handlers_saved(file):
    """The highest number is looked up in the transaction that saves."""
    handler = PickleHandler(Run, ArchiveStore(file))
    save_some(handler, "A")
    other = run("A")
    other.number = 7
    PickleHandler(Run, ArchiveStore(file)).save_persistence(other)
    assert handler.save_persistence(run("A")).number == 8
    PickleHandler(Run, ArchiveStore(file)).find(number=8).delete(dry_run=False)
    assert handler.save_persistence(run("A")).number == 8


def test_a_batch_lists_names_once(file, monkeypatch):
    """However many groups and series it has, while no other handler saves."""
    handler = PickleHandler(Run, file)
    handler.save_persistence(run())
    monkeypatch.setattr(ArchiveStore, "group_size", lambda self: 10)
    listings = []
    for verb in ("highest", "names"):
        plain = getattr(ArchiveStore, verb)
        monkeypatch.setattr(
            ArchiveStore, verb, lambda *arguments, plain=plain: (listings.append(1), plain(*arguments))[1]
        )
    assert handler.save_all(run(animal) for _ in range(100) for animal in "ABC") == 300
    assert len(listings) <= 1
    PickleHandler(Run, ArchiveStore(file)).save_persistence(run("B"))
    assert handler.save_persistence(run("B")).number == 101


def test_a_batch_checks_the_archive_for_changes_once_per_group(file, monkeypatch):
    """A check for each series would cost as much as saving."""
    checks = []
    state = ArchiveStore.state

    def counted_state(store):
        checks.append(store)
        return state(store)

    handler = PickleHandler(Run, ArchiveStore(file))
    handler.save_all(run(f"A{number}") for number in range(40))
    monkeypatch.setattr(ArchiveStore, "state", counted_state)
    results = [run(f"A{number % 40}") for number in range(80)]
    handler.save_all(results)
    assert [result.number for result in results] == [1] * 40 + [2] * 40
    assert len(checks) <= 3


def test_a_result_is_found_by_one_query(file):
    """Whichever formats and values it may have in its name: none of the other names is read."""
    handler = PickleHandler(Run, file)
    save_some(handler, "A")
    executed = executed_statements(handler, lambda: handler.find(animal="A", number=3).first())
    assert [statement for statement in executed if statement.startswith("SELECT name")] == executed
    assert len(executed) == 1
    names = [f"cache-Run-A-#{number}.pkl" for number in range(1000, -1, -1)]
    assert handler.store.which(names) == names[-5:]
    assert ArchiveStore(f"{file}-none").which(names) == []


def test_small_results_are_read_in_groups(file):
    """Large results, deleted ones, and names asked for in another order are looked up one by one."""
    store = ArchiveStore(file)
    names = [f"name-{number}" for number in range(500)]
    store.put_many([Put(name, name.encode() * (10_000 if name.endswith("77") else 1)) for name in names])
    ahead = store.reading(name for name in names)
    store.delete("name-450")
    executed = []
    store._file.opened().connection.set_trace_callback(executed.append)
    for name in names[:430]:
        assert ahead.open(name).read().startswith(name.encode())
    assert ahead.open("name-3").read() == b"name-3"
    opened_alone = [statement.partition("FROM sqlar WHERE name=")[2].strip("'") for statement in executed]
    assert [name for name in opened_alone if name] == ["name-77", "name-177", "name-277", "name-377", "name-3"]
    with pytest.raises(FileNotFoundError):
        ahead.open("name-450")
    assert ahead.open("name-499").read() == b"name-499"
    assert store.location("name-1") == ahead.location("name-1")


def test_the_file_is_not_locked_while_the_caller_computes(file):
    """Other handlers can save between two results of a batch, durable or not."""
    handler, other = PickleHandler(Run, file), PickleHandler(Run, file)

    def computed():
        for number in range(5):
            other.save_persistence(run("other"))
            yield run("A", number)

    for durable in (False, True):
        assert handler.save_all(computed(), durable=durable) == 5
    assert len(handler.find(animal="other")) == len(handler.find(animal="A")) == 10


def test_a_batch_stops_at_another_result_with_the_same_name(file):
    """The results before it are saved, and the error says how many."""
    handler = PickleHandler(Mean, file)
    handler.store.put("cache-Mean-B.pkl", pickle.dumps({"animal": "X", "value": 1.0}))
    with pytest.raises(Exception, match="already holds another result") as caught:
        handler.save_all(means("ABC"))
    assert caught.value.__notes__ == ["1 results of the batch were saved before this one"]
    assert sorted(handler.store.names()) == ["cache-Mean-A.pkl", "cache-Mean-B.pkl"]


def test_batches_that_write_the_same_names_all_succeed(file):
    """Each result is one of theirs, whole."""
    animals = [f"{number:02d}" for number in range(40)]
    problems = []

    def save(value):
        try:
            handler = PickleHandler(Mean, ArchiveStore(file))
            for _ in range(5):
                handler.save_all([mean(animal, value) for animal in animals])
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=save, args=(value,)) for value in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert {result.value for _, result in PickleHandler(Mean, file).load_all(animal=missing)} <= {0.0, 1.0, 2.0}


def save_some(handler, animal):
    return [handler.save_persistence(run(animal)).number for _ in range(5)]


def test_a_pickled_handler_opens_the_archive_anew(file):
    """Only its path is pickled. Processes never get the same number."""
    handler = PickleHandler(Run, file)
    assert save_some(handler, "A") == list(range(5))
    with ProcessPoolExecutor(2) as pool:
        numbers = [number for found in pool.map(save_some, [handler] * 4, ["A"] * 4) for number in found]
    assert sorted([*numbers, *save_some(handler, "A")]) == list(range(5, 30))


@needs_fork
def test_a_forked_process_leaves_the_parents_connection_alone(file):
    """Parent and child both go on saving, and nothing is lost when the child ends first."""
    handler = PickleHandler(Run, file)
    handler.save_persistence(run("before"))
    child = os.fork()
    if child == 0:
        try:
            save_some(handler, "child")
            handler.store.close()
        finally:
            os._exit(0)
    save_some(handler, "parent")
    os.waitpid(child, 0)
    save_some(handler, "parent")
    found = PickleHandler(Run, ArchiveStore(file)).find().to_columns()
    assert found["animal"] == ["before"] + ["child"] * 5 + ["parent"] * 10


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_that_is_forked_while_a_thread_writes_can_save(file):
    """SQLite keeps the locks of a process in memory: a child that got those of a thread could not save any more."""
    handler = PickleHandler(Run, file)
    handler.save_persistence(run("parent"))
    opened = handler.store._file.opened()
    begun = threading.Event()

    def write():
        with opened.transaction("waiting", durable=False):
            begun.set()
            time.sleep(0.3)

    thread = threading.Thread(target=write)
    thread.start()
    begun.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            handler.save_persistence(run("child"))
        except BaseException:
            os._exit(1)
        os._exit(0)
    thread.join()
    assert os.waitpid(child, 0)[1] == 0, "the child has saved"
    assert handler.find().to_columns()["animal"] == ["child", "parent"]


def test_a_removed_archive_is_created_again(file):
    """Nothing is saved into the removed file or found in it."""
    handler = PickleHandler(Run, file)
    save_some(handler, "A")
    file.unlink()
    assert len(handler.find()) == 0
    with pytest.raises(FileNotFoundError):
        handler.load_persistence({"animal": "A", "number": 0})
    for end in ("-wal", "-shm"):
        Path(f"{file}{end}").unlink(missing_ok=True)
    assert save_some(handler, "A") == list(range(5))
    assert len(PickleHandler(Run, ArchiveStore(file)).find()) == 5


@pytest.mark.parametrize("end", ["-wal", "-journal"])
def test_the_log_of_a_removed_archive_stays_out_of_a_new_one(file, end):
    """SQLite would write its pages into the new file, which would be damaged by that."""
    log = Path(f"{file}{end}")
    log.write_bytes(b"the last changes of another archive")
    handler = PickleHandler(Run, file)
    for save in (lambda: save_some(handler, "A"), lambda: handler.save_all([filled(Run("A"), score=0.0)])):
        with pytest.raises(OSError, match=f"results.sqlar{end} has the last changes of an archive that was here"):
            save()
    assert not file.exists()
    log.write_bytes(b"")
    assert save_some(handler, "A") == list(range(5))


# ---------------------------------------------------------------------------------------------- errors


def test_a_damaged_row_fails_its_checksum(file):
    """The error names the result, and the other results load."""
    with ArchiveStore(file) as store:
        handler = PickleHandler(Mean, store)
        handler.save_all([mean(f"animal-{letter}", ord(letter)) for letter in "ABC"])
    data = file.read_bytes()
    at = data.index(b"\x8c\x08animal-B") + 2  # in the pickle
    file.write_bytes(data[:at] + b"X" + data[at + 1 :])
    handler = PickleHandler(Mean, file)
    with pytest.raises(CorruptResultError, match=r"results\.sqlar.cache-Mean-animal-B\.pkl"):
        handler.load_persistence(Mean("animal-B"))
    assert [found.path.name for found in handler.verify() if found.problem] == ["cache-Mean-animal-B.pkl"]
    assert handler.load_persistence(Mean("animal-C")).value == ord("C")


def test_the_error_for_damaged_pages_names_recover(file):
    """SQLite's `.recover` saves what is left."""
    with ArchiveStore(file) as store:
        PickleHandler(Mean, store).save_all(means([f"{number:04d}" for number in range(300)]))
    with open(file, "r+b") as damaged:
        damaged.seek(4096)
        damaged.write(b"\xff" * 8192)
    with pytest.raises(OSError, match=r"the archive is damaged .*\.recover"):
        len(PickleHandler(Mean, file).find())


@pytest.mark.parametrize(
    "content", [b"no database at all, but a text of some length" * 99, None], ids=["text", "table"]
)
def test_a_file_that_is_no_archive_is_refused(file, content):
    """Its content is left as it is."""
    if content is None:
        other = sqlite3.connect(file)
        other.execute("CREATE TABLE results(x)")
        other.close()
        before = None
    else:
        file.write_bytes(content)
        before = content
    for act in (lambda handler: len(handler.find()), lambda handler: handler.save_persistence(mean("A"))):
        with pytest.raises(OSError, match="is not an archive, since") as caught:
            act(PickleHandler(Mean, file))
        assert (caught.value.errno, caught.value.filename) == (errno.EINVAL, str(file))
    assert before is None or file.read_bytes() == before


def test_the_error_for_a_locked_archive_says_what_to_do(file, monkeypatch):
    """Saving fails after a while; loading works all the time."""
    monkeypatch.setattr(database, "BUSY_S", 0.05)
    handler = PickleHandler(Mean, ArchiveStore(file))
    handler.save_persistence(mean("A"))
    viewer = sqlite3.connect(file, isolation_level=None)
    viewer.execute("BEGIN IMMEDIATE")
    for act in (lambda: handler.save_persistence(mean("B")), lambda: handler.save_all(means("CD"))):
        with pytest.raises(OSError, match="end the one that has the archive open") as caught:
            act()
        assert caught.value.errno == errno.EBUSY
    assert handler.load_persistence(Mean("A")).value == 1.0
    viewer.close()
    handler.save_persistence(mean("B"))
    assert len(handler.find()) == 2


def test_results_are_deleted_in_one_transaction(file):
    """Those that were replaced since they were listed are kept."""
    handler = PickleHandler(Mean, ArchiveStore(file))
    handler.save_all(means("ABCDE"))
    store = handler.store
    found = handler.find(animal={"A", "B", "C"})
    assert [path.name for path in found.delete(dry_run=False)] == [hit.name for hit in found]
    versions = {hit.name: store.stat(hit.name).version for hit in handler.find()}
    handler.save_persistence(mean("D", 7.0))
    assert store.delete_many({**versions, "none": 1}) == ["cache-Mean-E.pkl"]
    assert [result.value for _, result in handler.load_all(animal=missing)] == [7.0]
    executed = []
    store._file.opened().connection.set_trace_callback(executed.append)
    handler.save_all(means("FGHIJ"))
    executed.clear()
    assert len(handler.find().delete(dry_run=False)) == 6
    assert [statement for statement in executed if statement.startswith(("BEGIN", "COMMIT"))] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ]
    assert len(handler.find()) == 0


def test_delete_keeps_a_result_that_was_just_replaced(file, caplog, monkeypatch):
    """A log message says so."""
    handler = PickleHandler(Mean, ArchiveStore(file))
    handler.save_all(means("AB"))
    delete_many = ArchiveStore.delete_many

    def after_another_save(store, versions):
        PickleHandler(Mean, ArchiveStore(file)).save_persistence(mean("A", 9.0))
        return delete_many(store, versions)

    monkeypatch.setattr(ArchiveStore, "delete_many", after_another_save)
    assert [path.name for path in handler.find().delete(dry_run=False)] == ["cache-Mean-B.pkl"]
    assert "cache-Mean-A.pkl: it was just replaced" in caplog.text
    assert handler.load_persistence(Mean("A")).value == 9.0


def test_the_command_removes_results_in_one_transaction(file, monkeypatch, capsys):
    """A result that is named twice, gone, or replaced while the user is asked is reported; all others are removed."""
    handler = PickleHandler(Mean, ArchiveStore(file))
    handler.save_all(means("ABCDE"))
    groups = []
    delete_many = ArchiveStore.delete_many

    def after_others(store, versions):
        store.delete("cache-Mean-A.pkl")
        handler.save_persistence(mean("B", 9.0))
        groups.append(len(versions))
        return delete_many(store, versions)

    monkeypatch.setattr(ArchiveStore, "delete_many", after_others)
    assert main(["rm", str(file), str(Path(file) / "cache-Mean-E.pkl"), "--all", "-y"]) == 1
    out, err = capsys.readouterr()
    assert out == "removed 3 files; 3 failed\n"
    assert [line.rpartition(os.sep)[2] for line in err.splitlines()] == [
        "cache-Mean-A.pkl: No such file or directory",
        "cache-Mean-B.pkl: was just replaced; the new result was not removed",
        "cache-Mean-E.pkl: No such file or directory",
    ]
    assert groups == [5]
    assert [result.value for _, result in handler.load_all(animal=missing)] == [9.0]


def test_the_command_says_why_it_cannot_remove_a_result(file, monkeypatch, capsys):
    """If the transaction fails, results are removed one by one; what is gone by then counts as removed."""
    handler = PickleHandler(Mean, ArchiveStore(file))
    handler.save_all(means("ABC"))
    delete = ArchiveStore.delete

    def in_part(store, versions):
        handler.store.delete("cache-Mean-A.pkl")
        raise OSError(errno.EIO, "is broken", store.file)

    def all_but_c(store, name):
        if name == "cache-Mean-C.pkl":
            raise PermissionError(errno.EACCES, "is denied", store.location(name))
        delete(store, name)

    monkeypatch.setattr(ArchiveStore, "delete_many", in_part)
    monkeypatch.setattr(ArchiveStore, "delete", all_but_c)
    assert main(["rm", str(file), "--all", "-y"]) == 1
    out, err = capsys.readouterr()
    assert out == "removed 2 files; 1 failed\n"
    assert err.endswith("cache-Mean-C.pkl: is denied\n")
    assert [hit.name for hit in handler.find()] == ["cache-Mean-C.pkl"]


def test_a_full_disk_loses_nothing(file):
    """A result that could not be saved has no number, and can be saved later."""
    handler = PickleHandler(Run, file)
    save_some(handler, "A")
    pages = handler.store._file.opened().execute("PRAGMA page_count").fetchone()[0]
    handler.store._file.opened().execute(f"PRAGMA max_page_count={pages + 2}")
    unsaved = run("A", size=4_000)
    with pytest.raises(OSError, match="No space left") as caught:
        handler.save_persistence(unsaved)
    assert (caught.value.errno, unsaved.number) == (errno.ENOSPC, None)
    with pytest.raises(OSError, match="No space left"):
        handler.save_all(run("B", size=1_000) for _ in range(20))
    handler.store._file.opened().execute("PRAGMA max_page_count=100000")
    assert handler.save_persistence(unsaved).number == 5
    assert len(list(PickleHandler(Run, ArchiveStore(file)).load_all(animal="A"))) == 6


@pytest.fixture
def reachable_folder():
    """A folder that other users can reach. Each start of pytest takes that right from the folders of all its runs."""
    folder = Path(tempfile.mkdtemp(prefix="archive-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@needs_fork
@pytest.mark.parametrize("leftover", [False, True])
def test_a_read_only_archive_can_be_loaded(reachable_folder, leftover):
    """Unless a killed writer left a log, which SQLite would have to write back."""
    file = reachable_folder / "results.sqlar"
    with ArchiveStore(file) as store:
        PickleHandler(Mean, store).save_all(means("AB"))
    if leftover:
        Path(f"{file}-wal").write_bytes(b"a log")
    file.chmod(0o444)
    reachable_folder.chmod(0o555)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            os.write(writing, "\n".join(outcomes_without_write_access(file)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as answers:
        found, *refused = answers.read().split("\n")
    os.waitpid(child, 0)
    if leftover:
        assert "copy both files to a place that can be written" in found
        return
    assert found == "2 1"
    assert len(refused) == 2
    assert all("the archive or its folder can't be written" in message for message in refused)


def outcomes_without_write_access(file):
    """Yield the results of listing and loading, saving, and deleting, or their errors, as text."""
    handler = PickleHandler(Mean, ArchiveStore(file))
    for act in (
        lambda: f"{len(handler.find())} {handler.load_persistence(Mean('B')).value}",
        lambda: handler.save_persistence(mean("C")),
        lambda: handler.find().delete(dry_run=False),
    ):
        try:
            yield str(act())
        except Exception as error:
            yield f"{type(error).__name__}: {error}"


def test_saving_on_a_network_file_system_is_refused(file, tmp_path, monkeypatch):
    """The error names alternatives. An archive that was copied there can be loaded."""
    with ArchiveStore(file) as store:
        PickleHandler(Mean, store).save_all(means("AB"))
    monkeypatch.setattr(mounts, "network_file_system", lambda folder: "nfs4")
    handler = PickleHandler(Mean, file)
    assert handler.load_persistence(Mean("B")).value == 1.0
    for place in (file, tmp_path / "new.sqlar"):
        with pytest.raises(OSError, match=r"is on nfs4.*give a folder, an object store, or an archive") as caught:
            PickleHandler(Mean, place).save_persistence(mean("C"))
        assert caught.value.errno == errno.EOPNOTSUPP
    Path(f"{file}-wal").write_bytes(b"a log")
    with pytest.raises(OSError, match="open it where it was written"):
        PickleHandler(Mean, file).load_persistence(Mean("B"))


def test_a_link_to_an_archive_is_that_archive(file, tmp_path, monkeypatch):
    """SQLite's log is beside the file itself, as is the file system that counts."""
    link = tmp_path / "link" / "results.sqlar"
    link.parent.mkdir()
    link.symlink_to(file)
    PickleHandler(Mean, link).save_persistence(mean("A"))
    assert len(PickleHandler(Mean, file).find()) == 1
    log = Path(f"{file}-wal")
    log.write_bytes(b"a log")
    kinds = {str(file.parent): "nfs4"}
    monkeypatch.setattr(mounts, "network_file_system", kinds.get)
    with pytest.raises(OSError, match="open it where it was written"):
        PickleHandler(Mean, link).find().first()
    log.unlink()
    with pytest.raises(OSError, match="is on nfs4"):
        PickleHandler(Mean, link).save_persistence(mean("B"))


MOUNTINFO = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
28 22 0:26 / /home rw - nfs4 server:/home rw,vers=4.2
29 28 0:27 / /home/my\040disk rw - xfs /dev/sdb rw
30 22 0:28 / /mnt/lab rw - fuse.sshfs lab: rw
31 22 0:29 / /scratch rw - tmpfs tmpfs rw
32 31 0:30 / /scratch rw - lustre mds@tcp:/fs rw
"""
MOUNT_OUTPUT = """/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
//ann@server/lab on /Volumes/lab (smbfs, nodev, nosuid, mounted by ann)
server:/data on /Volumes/my data (nfs)
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/tmp/x", "ext4"),
        ("/home/ann", "nfs4"),
        ("/homes", "ext4"),
        ("/home/my disk/a", "xfs"),
        ("/mnt/lab", "fuse.sshfs"),
    ]
    + [("/scratch/x", "lustre")],
)
def test_the_file_system_is_read_from_mountinfo(folder, kind):
    """The longest mount point counts, and of several at one place the last."""
    assert mounts.kind_in_mountinfo(MOUNTINFO, folder) == kind


@pytest.mark.parametrize(
    ("folder", "kind"), [("/Users/ann", "apfs"), ("/Volumes/lab/x", "smbfs"), ("/Volumes/my data", "nfs")]
)
def test_the_file_system_is_read_from_the_output_of_mount(folder, kind):
    """As macOS prints it."""
    assert mounts.kind_in_mount_output(MOUNT_OUTPUT, folder) == kind


@pytest.mark.skipif(not os.path.exists("/proc/self/mountinfo"), reason="needs Linux")
def test_clients_of_networks_in_user_space_are_networks(tmp_path, monkeypatch):
    """By the names that their mounts have. A disk that is mounted in user space is none."""
    kinds = ["fuse.sshfs", "fuse.ceph-fuse", "fuse.juicefs", "fuse.mfs", "wekafs", "fuse.ntfs-3g", "fuseblk", "ext4"]
    monkeypatch.setattr(mounts, "kind_in_mountinfo", lambda *_: kinds.pop(0))
    found = [mounts.network_file_system(str(tmp_path)) for _ in tuple(kinds)]
    assert found == ["fuse.sshfs", "fuse.ceph-fuse", "fuse.juicefs", "fuse.mfs", "wekafs", None, None, None]


def test_a_missing_folder_has_the_file_system_of_its_parent(tmp_path):
    here = mounts.network_file_system(str(tmp_path))
    assert mounts.network_file_system(str(tmp_path / "not" / "there")) == here


# ---------------------------------------------------------------------------------------------- commands


def run_command(capsys, *words):
    """Return the exit status and the output of a command."""
    status = main([*map(str, words)])
    return status, capsys.readouterr().out


def test_all_commands_read_archives(file, tmp_path, capsys):
    """An archive may be named itself, or be in a folder that is named."""
    handler = PickleHandler(Run, file)
    handler.save_all(run(animal, score) for score, animal in enumerate("AAB"))
    PickleHandler(Mean, tmp_path).save_persistence(mean("F"))
    status, text = run_command(capsys, "ls", file)
    assert status == 0
    assert "Run  3 results" in text
    assert "cache-Run-B-#0.pkl" in text
    assert "Run" not in run_command(capsys, "ls", tmp_path)[1]
    assert "cache-Run-B-#0.pkl" in run_command(capsys, "ls", "-r", tmp_path)[1]
    assert "2 results" in run_command(capsys, "ls", file, "animal=A")[1]
    assert "3 results" in run_command(capsys, "du", file)[1]
    assert "weights" in run_command(capsys, "show", file / "cache-Run-A-#1.pkl")[1]
    assert run_command(capsys, "verify", file) == (0, f"3 files, {total_size_text(handler)}: 3 intact, 0 damaged\n")
    assert run_command(capsys, "diff", file / "cache-Run-A-#0.pkl", file / "cache-Run-A-#1.pkl")[0] == 1
    assert "is an archive" in capsys.readouterr().err if main(["show", str(file)]) == 2 else False
    before = handler.load_persistence({"animal": "A", "number": 1})
    assert "converted 3 files" in run_command(capsys, "convert", file, "--all", "--to", "gzip")[1]
    assert [name[-7:] for name in handler.store.names()] == [".pkl.gz"] * 3
    assert results_equal(GzipHandler(Run, file).load_persistence({"animal": "A", "number": 1}), before)
    assert run_command(capsys, "rm", file, "animal=A", "--yes") == (0, "removed 2 files\n")
    assert run_command(capsys, "rm", file / "cache-Run-B-#0.pkl.gz", "--yes") == (0, "removed 1 file\n")
    assert "no results" in run_command(capsys, "ls", file)[1]


def total_size_text(handler):
    from neuralib.persistence._showing.previews import size_text

    return size_text(sum(hit.size_bytes for hit in handler.find()))


# ------------------------------------------------------------------------------------------ archives of unknown origin


def test_code_in_the_schema_of_an_archive_never_runs(tmp_path):
    """Views, triggers, computed columns and indexes are refused when they are found, or before they would run."""
    made = hostile_files.archives(tmp_path, 100)
    for kind in ("an endless view", "a view of a table", "a computed column", "a computed name", "a check",
                 "an index that computes", "a partial index", "a virtual table", "no table", "fewer columns"):  # fmt: skip
        store = ArchiveStore(made[kind])
        for act in (
            lambda: list(store.names()),
            lambda: store.open(hostile_files.RESULT_NAME),
            lambda: store.put("x", b"1"),
        ):
            with pytest.raises(
                OSError, match="no table of plain columns|no such column|no table sqlar|has views or triggers"
            ) as caught:
                act()
            assert caught.value.filename == str(made[kind]), kind
    for kind, act in {
        "a trigger": lambda store: store.put("x", b"1"),
        "triggers of changes": lambda store: store.delete(hostile_files.RESULT_NAME),
    }.items():
        store = ArchiveStore(made[kind])
        assert len(list(store.names())) == 2
        with pytest.raises(
            OSError, match="it has views or triggers, which archives of results don't have: nothing was run"
        ):
            act(store)
        store.close()
        with closing(sqlite3.connect(made[kind])) as other:
            assert other.execute("SELECT count(*), max(length(data)) FROM sqlar").fetchone()[0] == 2


@pytest.mark.parametrize(
    "statement",
    [
        'CREATE TABLE "sqlar" (name TEXT PRIMARY KEY, mode INT, mtime INT, sz INT, data BLOB)',
        (
            "CREATE TABLE sqlar(\n  name TEXT PRIMARY KEY,  -- name of the file (as a path)\n  mode INT,\n  mtime INT,"
            "\n  sz INT, /* (in bytes) */\n  data BLOB  -- compressed content\n)"
        ),
        "create table [sqlar] (name text not null unique, mode integer default 33188, mtime int, sz int, data)",
    ],
)
def test_tables_created_by_other_programs_are_accepted(file, statement):
    """However the statement is spelled, and with an additional index."""
    connection = sqlite3.connect(file)
    connection.execute(statement)
    connection.execute("CREATE INDEX times ON sqlar(mtime, [sz] DESC)")
    connection.execute("CREATE TABLE other(a, b AS (a || a))")
    connection.commit()
    connection.close()
    store = ArchiveStore(file)
    store.put("a", b"1")
    assert list(store.names()) == ["a"]


def test_a_row_with_a_false_size_takes_no_memory(tmp_path):
    """Rows whose values have the wrong type are not read either."""
    made = hostile_files.archives(tmp_path, 3000)
    for kind in ("a size beyond all memory", "a bomb", "a bomb that claims little", "content that claims to be long"):
        name = "cache-Pair-1-5.pkl" if kind == "content that claims to be long" else hostile_files.RESULT_NAME
        tracemalloc.start()
        with (
            pytest.raises((ValueError, OSError), match="claims|does not have|is damaged"),
            ArchiveStore(made[kind]).open(name) as source,
        ):
            source.read()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10 << 20, kind
    for kind in ("data that is a number", "data that is a text", "data that is null", "data that is a fraction", "a link",
                 "a size that is a text", "a size that is null", "a size below zero"):  # fmt: skip
        store = ArchiveStore(made[kind])
        assert not store.stat(hostile_files.RESULT_NAME).regular, kind
        with pytest.raises(OSError, match="not a result"):
            store.open(hostile_files.RESULT_NAME)


@pytest.mark.parametrize(
    "kind", ["one content of a size", "an index that has each content once", "a column that must be given"]
)
def test_a_table_that_refuses_new_rows_is_an_error(tmp_path, kind):
    """Saving must not take that for a taken name or number, and look for the next one without end."""
    store = ArchiveStore(hostile_files.archives(tmp_path, 100)[kind])
    with pytest.raises(OSError, match="its table refuses new rows") as caught:
        for name in "xy":
            store.put(name, b"of one content and size")
    assert caught.value.filename == store.url


def test_archives_in_a_circle_of_references_are_closed(tmp_path):
    """As of an error that is kept with the frames that it came through. Python 3.13 warns of connections that nobody closes."""
    for number in range(20):
        circle = [ArchiveStore(tmp_path / f"{number}.sqlar")]
        circle.append(circle)
        circle[0].put("a", b"1")
        if number % 2:
            gc.collect(0)  # so that they are of several generations, which Python takes in another order
    del circle
    gc.collect()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{number}.sqlar" for number in range(20))


def test_a_name_that_others_remove_at_that_moment_is_saved(file):
    """Claims of batches come and go. It must not be taken for a table that refuses rows."""
    with ArchiveStore(file) as store:
        store.put("a", b"theirs")
        database = store._file.opened()
        execute = database.execute

        def remove_first(statement, *values):
            if statement == rows.HAS:
                other = sqlite3.connect(file)
                with other:
                    other.execute("DELETE FROM sqlar WHERE name='a'")
                other.close()
                database.execute = execute
            return execute(statement, *values)

        database.execute = remove_first
        store.put("a", b"ours")
        assert database.execute is execute
        assert store.open("a").read() == b"ours"
        with pytest.raises(FileExistsError):
            store.put("a", b"later")


@persistence_class
class Trial:
    animal: str = field(filename=True)
    block: int = field(default=0, filename_prefix="b", filename=lambda block: str(block) if block else None)
    plane: int = field(filename=True)
    label: str = field(filename=True)


def test_names_that_leave_a_key_out_are_read_like_those_of_a_folder(file, tmp_path):
    """Also where a text in them looks like that key, and many names begin alike."""
    trials = [Trial(animal="A", plane=2, label=f"b{number}") for number in range(4)]
    found = []
    for store in (FolderStore(tmp_path / "folder"), ArchiveStore(file)):
        handler = PickleHandler(Trial, store)
        handler.save_all(trials)
        found.append([hit.keys for hit in handler.find()])
        assert list(handler.todo(trials)) == []
    assert found == [[{"animal": "A", "block": 0, "plane": 2, "label": f"b{number}"} for number in range(4)]] * 2


def test_names_that_no_file_can_have_are_left_out(tmp_path):
    """Names of a megabyte, of bytes, with a null character. The other names are listed."""
    made = hostile_files.archives(tmp_path, 100)
    assert list(ArchiveStore(made["names of a megabyte"]).names()) == []
    assert list(ArchiveStore(made["names with a null character"]).names()) == []
    assert list(ArchiveStore(made["names that are not text"]).names()) == ["5"]
    connection = sqlite3.connect(made["names with a null character"])
    connection.execute(
        "INSERT INTO sqlar VALUES ('a', 33188, 1, 1, x'00'), (CAST(x'ff61' AS TEXT), 1, 1, 1, x'00'), ('b\u00e9', 1, 1, 1, x'00')"
    )
    connection.commit()
    connection.close()
    store = ArchiveStore(made["names with a null character"])
    assert list(store.names()) == ["a", "b\u00e9"]
    assert [name for name, _ in store.stats()] == ["a", "b\u00e9"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_others_save_or_delete_meanwhile_is_not_counted_as_left_out(file, monkeypatch, when):
    """Counting takes several steps."""
    store, other = ArchiveStore(file), ArchiveStore(file)
    for name in "abc":
        store.put(name, b"")
    listing = rows.names_in

    def changed(*arguments):
        if when == "before":
            other.delete("a")
        yield from listing(*arguments)
        if when == "after":
            other.put("d", b"")

    monkeypatch.setattr(rows, "names_in", changed)
    assert store.count_unlisted() == 0


def test_rows_whose_names_no_file_can_have_are_left_out_and_counted(file, tmp_path, capsys):
    """By all that list names; nothing is written outside the folder that an archive is unpacked into."""
    PickleHandler(Mean, file).save_all(means("AB"))
    [whole] = [each.read() for each in [ArchiveStore(file).open("cache-Mean-A.pkl")]]
    names = [
        "",
        ".",
        "..",
        "../cache-Mean-C.pkl",
        "/cache-Mean-D.pkl",
        "sub/cache-Mean-E.pkl",
        "cache-Mean-F\0.pkl",
        "a/..",
    ]
    with closing(sqlite3.connect(file)) as connection, connection:
        rows_made = [(name, 33188, 1, len(whole), whole) for name in names]
        connection.executemany("INSERT INTO sqlar VALUES (?, ?, ?, ?, ?)", rows_made)
    store = ArchiveStore(file)
    listed = ["cache-Mean-A.pkl", "cache-Mean-B.pkl"]
    assert list(store.names()) == [name for name, _ in store.stats()] == listed
    assert list(store.names(".")) == store.packed_names(".") == []
    assert b"/".join(store.packed_names()).decode().split("/") == listed
    assert store.count_unlisted() == len(names)
    assert [hit.name for hit in PickleHandler(Mean, store).find()] == listed
    assert "2 results" in run_command(capsys, "ls", file)[1]
    for place in (file, tmp_path):
        status, text = run_command(capsys, "verify", "-r", place)
        assert status == 0
        assert "2 files" in text
        assert f"left out: {len(names)} rows of" in text
    assert f'"rows": {len(names)}' in run_command(capsys, "verify", file, "--json")[1]
    target = tmp_path / "outer" / "unpacked"
    assert run_command(capsys, "unpack", file, target, "--all")[0] == 1
    assert sorted(path.name for path in (tmp_path / "outer").rglob("*")) == [*listed, "unpacked"]
    assert not (tmp_path / "cache-Mean-C.pkl").exists()
    assert ArchiveStore(file).count_unlisted() == len(names)
    for name in names:
        puts = [Put(f"before {len(name)}", b"1", replace=True), Put(name, b"1", replace=True), Put("after", b"1")]
        for verb, values in (("put", (name, b"1")), ("put_if", (name, b"1", None)), ("put_many", (puts,))):
            with pytest.raises(OSError, match="takes no such name, since it is a path, empty, or has a NUL character"):
                getattr(store, verb)(*values)
        assert store.has(f"before {len(name)}")
    assert not store.has("after")
    assert "left out" not in run_command(capsys, "verify", target)[1]


def test_names_with_lone_surrogates_are_refused_and_not_found(file):
    """In a folder, such a character stands for a byte that is no text. SQLite has no such texts."""
    handler, numbered = PickleHandler(Mean, file), PickleHandler(Run, file)
    handler.save_persistence(mean("A"))
    numbered.save_persistence(run("A"))
    with pytest.raises(OSError, match="since .* can't be written in UTF-8: change the value, or give the") as caught:
        handler.save_persistence(mean("B\udcff"))
    assert caught.value.errno == errno.EINVAL
    assert caught.value.filename == f"{file}/cache-Mean-B\udcff.pkl"
    for save in (lambda: numbered.save_persistence(run("A\udcff")), lambda: handler.save_all(means(["C", "B\udcff"]))):
        with pytest.raises(OSError, match="can't be written in UTF-8"):
            save()
    assert [hit.keys["animal"] for hit in handler.find(animal=["A", "B\udcff", "C"])][:1] == ["A"]
    assert len(handler.find(animal="B\udcff")) == len(numbered.find(animal="A\udcff")) == 0
    assert list(handler.load_all(animal="B\udcff")) == list(numbered.load_all(run("A\udcff"))) == []
    assert numbered.find(animal="A\udcff").delete(dry_run=False) == []
    assert len(list(handler.todo({"animal": ["A", "B\udcff"]}))) == 1
    for address in (mean("B\udcff"), {"animal": "B\udcff"}, "cache-Mean-B\udcff.pkl", file / "cache-Mean-B\udcff.pkl"):
        with pytest.raises(FileNotFoundError, match="no result is saved there"):
            handler.load_persistence(address)
    reading = handler.store.reading(["cache-Mean-A.pkl", "cache-Mean-B\udcff.pkl"])
    assert len(reading.open("cache-Mean-A.pkl").read()) > 0


def test_closing_an_archive_disturbs_no_thread_that_uses_it(file):
    """Whoever uses it afterwards opens it again."""
    store = ArchiveStore(file)
    large = b"x" * 3_000_000
    store.put("large", large)
    handler = PickleHandler(Run, store)
    is_done = threading.Event()
    problems = []

    def repeat(act):
        while not is_done.is_set():
            try:
                act()
            except Exception as error:
                problems.append(error)
                return

    saved = []

    def save():
        saved.append(handler.save_persistence(run("A")).number)

    def save_many():
        results = [run("B") for _ in range(5)]
        handler.save_all(results)
        saved.extend((result.number, "B") for result in results)

    def put_over():
        store.put_many([Put("same", b"1", replace=True), Put("same", b"2", replace=lambda there: None)])

    def delete():
        store.put(f"of {threading.get_ident()}", b"1", replace=True)
        store.delete(f"of {threading.get_ident()}")

    def read():
        assert store.open("large").read() == large
        assert "large" in list(store.names())
        assert [name for name, _ in store.stats("large")] == store.which(["large"]) == ["large"]
        assert store.highest("cache-Run-A-#", ".pkl") >= -1
        store.sync([])

    threads = [threading.Thread(target=repeat, args=[act]) for act in (save, save_many, put_over, delete, read)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 1.0
    while time.monotonic() < end and not problems:
        store.close()
    is_done.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(saved) == len(set(saved)) > 10
    assert len(handler.find()) == len(saved)
    names = iter(store.names())
    source = store.open("large")
    next(names)
    store.close()
    assert len(list(names)) == len(saved) + 1
    assert source.read() == large


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes and links")
@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "link", "link to nothing", "noise", "a terabyte"])
def test_what_others_put_beside_an_archive_is_no_trap(file, tmp_path, suffix, kind):
    """SQLite would wait for a pipe without end, and a link to a device would fill the memory. No file elsewhere changes."""
    with ArchiveStore(file) as store:
        store.put("a", b"1")
    private, new, beside = tmp_path / "private", tmp_path / "new", Path(f"{file}{suffix}")
    private.write_text("a file of the user")
    links = {"device": Path("/dev/zero"), "link": private, "link to nothing": new}
    if kind == "pipe":
        os.mkfifo(beside)
    elif kind == "folder":
        beside.mkdir()
    elif kind in links:
        beside.symlink_to(links[kind])
    else:
        beside.write_bytes(random.Random(0).randbytes(10_000))
        if kind == "a terabyte":
            os.truncate(beside, 1 << 40)
    try:
        assert ArchiveStore(file).open("a").read() == b"1"
        ArchiveStore(file).put("b", b"2")
    except OSError as error:
        assert str(file) in str(error)
    assert (private.read_text(), new.exists()) == ("a file of the user", False)


def test_a_journal_that_names_another_file_is_refused(file, tmp_path):
    """Many versions of SQLite would apply it, and then remove the file that it names: any file of the user."""
    with ArchiveStore(file) as store:
        store.put("a", b"1")
    with closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA journal_mode=DELETE")
    private = tmp_path / "private"
    private.write_text("a file of the user")
    mark, name = bytes.fromhex("d9d505f920a163d7"), os.fsencode(private)
    header = (mark + struct.pack(">5I", 0, 1, os.path.getsize(file) // 4096, 512, 4096)).ljust(512, b"\0")
    end = struct.pack(">I", (1 << 30) // 4096 + 1) + name + struct.pack(">II", len(name), sum(name)) + mark
    journal = Path(f"{file}-journal")
    journal.write_bytes(header + end)
    with pytest.raises(OSError, match="-journal, beside it, would have SQLite remove another file"):
        ArchiveStore(file).open("a")
    assert private.exists()
    journal.write_bytes(b"")
    assert ArchiveStore(file).open("a").read() == b"1"
