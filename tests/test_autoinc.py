"""The number of a saved result is the highest in its series plus one, and belongs to one result."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from checks import NOT_PICKLED, Run, filled

from neuralib.persistence import (
    GzipHandler,
    PersistenceHandler,
    PickleHandler,
    autoinc_field,
    field,
    load,
    persistence_class,
)
from neuralib.persistence._keeping import numbering
from neuralib.persistence._keeping.numbering import Numbering, View, _end_of_series
from neuralib.persistence._stores.folder import FolderStore

TICK_S = 0.02  # longer than a tick of the clock, within which two changes may give a folder the same time
FORK = "fork" in multiprocessing.get_all_start_methods()


class HookHandler(PersistenceHandler):
    def __init__(self, root):
        self.root = root

    persistence_class = Run
    save_root = property(lambda self: self.root)

    def _save_persistence(self, result, path):
        path.write_bytes(pickle.dumps(result))

    def _load_persistence(self, path):
        return pickle.loads(path.read_bytes())


def handlers(root):
    return [PickleHandler(Run, root), GzipHandler(Run, root), HookHandler(root)]


@pytest.mark.parametrize("which", range(3))
def test_numbers_start_at_0_and_have_no_gaps(tmp_path, which):
    """Each combination of the other keys is a series of its own."""
    handler = handlers(tmp_path)[which]
    numbers = [
        handler.save_persistence(filled(Run(animal), data=i)).version for i in range(4) for animal in ("A", "A-b")
    ]
    assert numbers == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [result.data for _, result in handler.load_all(Run("A"))] == [0, 1, 2, 3]


def test_numbers_are_found_from_names_alone(tmp_path):
    """No file is read: a damaged file of the series, numpy integers and unusual names do no harm; other series don't count."""
    handler = PickleHandler(Run, tmp_path)
    handler.save_persistence(Run("A", np.int64(6)))
    for name in ("A-#7.pkl", "A-#008.pkl", "A-#9.dat", "A-#-10.pkl", "A-b-#50.pkl", "[AB]-#60.pkl", "A-#1e3.pkl"):
        (tmp_path / f"cache-Run-{name}").write_bytes(b"no pickle")
    assert PickleHandler(Run, tmp_path).save_persistence(Run("A")).version == 8
    assert PickleHandler(Run, tmp_path).save_persistence(Run("A-b")).version == 51
    assert PickleHandler(Run, tmp_path).save_persistence(Run("[AB]")).version == 61
    assert PickleHandler(Run, tmp_path).save_persistence(Run("*")).version == 0


def test_values_with_brackets_do_not_overwrite_their_first_run(tmp_path):
    """The existing package took brackets for wildcards, found no number, and began at 0 again."""
    handler = PickleHandler(Run, tmp_path)
    assert [handler.save_persistence(Run("x[1]")).version for _ in range(3)] == [0, 1, 2]


def test_the_number_may_stand_anywhere_in_the_name(tmp_path):
    """First, in the middle, without a prefix."""

    @persistence_class
    class Middle:
        a: str = field(filename=True)
        n: int = autoinc_field()
        z: str = field(filename=True)

    handler = PickleHandler(Middle, tmp_path)
    names = [handler.filename(handler.save_persistence(Middle("a", z="z"))) for _ in range(3)]
    assert names == [f"cache-Middle-a-{n}-z.pkl" for n in range(3)]


@pytest.mark.usefixtures("listing_is_cheap")
def test_what_others_save_and_delete_counts(tmp_path):
    """Each save takes the highest number in the folder plus one."""
    mine, others = PickleHandler(Run, tmp_path), PickleHandler(Run, tmp_path)
    assert mine.save_persistence(Run("A")).version == 0
    assert others.save_persistence(Run("A")).version == 1
    assert mine.save_persistence(Run("A")).version == 2
    time.sleep(TICK_S)
    (tmp_path / "cache-Run-A-#50.pkl").write_bytes(b"")
    assert mine.save_persistence(Run("A")).version == 51
    time.sleep(TICK_S)
    for number in (50, 51):
        (tmp_path / f"cache-Run-A-#{number}.pkl").unlink()
    assert mine.save_persistence(Run("A")).version == 3
    time.sleep(TICK_S)
    for path in tmp_path.iterdir():
        path.unlink()
    assert mine.save_persistence(Run("A")).version == 0


@pytest.mark.parametrize("kind", [0, 1, 2], ids=["pickle", "gzip", "hook"])
@pytest.mark.parametrize("by", ["save", "batch", "durable batch"])
def test_an_explicit_number_counts_at_once(tmp_path, kind, by):
    """It counts even within one tick of the file system's clock, in which the folder's time does not change."""
    for n in range(8):
        handler = handlers(tmp_path / str(n))[kind]
        assert [handler.save_persistence(filled(Run("A"), data=number)).version for number in range(3)] == [0, 1, 2]
        given = filled(Run("A", 50), data=3)
        if by == "save":
            handler.save_persistence(given)
        else:
            handler.save_all([given], durable=by == "durable batch")
        assert handler.save_persistence(filled(Run("A"), data=4)).version == 51
        handler.save_persistence(filled(Run("A", 7), data=5))  # below the highest number, which does not change
        assert handler.save_persistence(filled(Run("A"), data=6)).version == 52


def test_an_explicit_number_need_not_be_in_the_name(tmp_path):
    """A handler may name its files freely, as long as it does not have to find the next number."""

    class OneFile(PickleHandler):
        def filename(self, result, /, **kwargs):
            return "one.pkl"

    handler = OneFile(Run, tmp_path)
    for data in (1, 2):
        handler.save_persistence(filled(Run("A", 3), data=data), tmp_path / "one.pkl")
    handler.save_persistence(filled(Run("A", 3), data=3))
    handler.save_all([filled(Run("A", 3), data=4)], durable=True)
    assert handler.load_persistence(tmp_path / "one.pkl").data == 4
    assert len(list(tmp_path.iterdir())) == 1


def time_or_size_tells_each_change(folder):
    """Return whether each of two changes in one tick of the clock gives *folder* another time or size."""
    for n in range(50):
        looks = [os.stat(folder)]
        for name in ("a", "b"):
            (folder / f"{n}{name}").touch()
            looks.append(os.stat(folder))
        if len({(look.st_mtime_ns, look.st_size) for look in looks}) < 3:
            return False
    return True


@pytest.mark.usefixtures("listing_is_cheap")
@pytest.mark.parametrize("store", ["disk", "memory"])
def test_what_others_do_counts_at_once(tmp_path, store):
    """Right after a save: a file that was moved in, a removed file, a save by another process. Where the system can tell."""
    folder = tmp_path
    if store == "memory":
        if not os.access("/dev/shm", os.W_OK):
            pytest.skip("no file system in memory")
        folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        (folder / "probe").mkdir()
        if not time_or_size_tells_each_change(folder / "probe"):
            pytest.skip("changes within one tick of the clock look like one here (Linux before 6.13)")
        for n in range(100):
            root = folder / str(n)
            handler = PickleHandler(Run, root)
            for number in range(3):
                handler.save_persistence(filled(Run("A"), data=number))
            if n % 3 == 0:
                (root / handler.filename(Run("A", 50))).write_bytes(b"of another program")
            elif n % 3 == 1:
                (root / handler.filename(Run("A", 2))).unlink()
            else:
                PickleHandler(Run, root).save_persistence(filled(Run("A", 50), data=3))
            assert handler.save_persistence(filled(Run("A"), data=4)).version == (2 if n % 3 == 1 else 51)
    finally:
        if store == "memory":
            shutil.rmtree(folder)


def test_a_saved_result_keeps_its_number(tmp_path):
    """Saving it again replaces its file."""
    handler = PickleHandler(Run, tmp_path)
    result = handler.save_persistence(filled(Run("A"), data=1))
    handler.save_persistence(filled(result, data=2))
    assert (result.version, handler.load_persistence(result).data, len(list(tmp_path.iterdir()))) == (0, 2, 1)


def test_a_failed_save_leaves_the_number_open(tmp_path):
    """The next try gets one."""
    handler = PickleHandler(Run, tmp_path)
    result = filled(Run("A"), data=lambda: 0)
    with pytest.raises(NOT_PICKLED):
        handler.save_persistence(result)
    assert result.version is None
    assert list(tmp_path.iterdir()) == []
    assert handler.save_persistence(filled(result, data=1)).version == 0


@pytest.mark.parametrize("folder_tells", [True, False], ids=["the folder tells", "the name tells"])
def test_a_lost_race_takes_the_next_number(tmp_path, monkeypatch, folder_tells):
    """A save finds a free number even if the number that it looked up is out of date each time."""
    handler = PickleHandler(Run, tmp_path)
    seen = []
    following = Numbering.take

    def outdated(self, series, *more):
        number, view = following(self, series, *more)
        seen.append(number)
        if len(seen) < 4:
            (tmp_path / f"{series[0]}{number}{series[1]}").write_bytes(
                pickle.dumps({"animal": "A", "version": number, "data": "theirs"})
            )
        return number, view if folder_tells else View(view.look, None)

    monkeypatch.setattr(Numbering, "take", outdated)
    result = handler.save_persistence(filled(Run("A"), data="mine"))
    assert (result.version, seen) == (3, [0, 1, 2, 3])
    assert [loaded.data for _, loaded in handler.load_all(Run("A"))] == ["theirs"] * 3 + ["mine"]


def test_folders_are_listed_once(tmp_path, monkeypatch):
    """However many results there are."""
    calls = []
    highest = FolderStore.highest_among
    monkeypatch.setattr(FolderStore, "highest_among", lambda self, *texts: calls.append(texts) or highest(self, *texts))
    handler = PickleHandler(Run, tmp_path)
    for _ in range(50):
        handler.save_persistence(Run("A"))
    assert len(calls) <= 2  # the first save makes the folder


@pytest.mark.parametrize("length", [1, 2, 3, 7, 64, 1000])
def test_the_end_of_a_series_is_found_in_few_looks(length):
    """Used while others write into a folder that is too large to list at each save."""

    class Store:
        looks = 0

        def has(self, name):
            self.looks += 1
            return int(name[1:-1]) < length

    for known in {0, length // 2, length - 1}:
        store = Store()
        assert _end_of_series(store, "h", "t", known) == length - 1
        assert store.looks <= 2 * length.bit_length() + 2


def _save_many(which, root, count, numbers):
    handler = handlers(root)[which]
    mine = [handler.save_persistence(filled(Run("A"), data=os.getpid())).version for _ in range(count)]
    numbers.put(mine)


@pytest.mark.skipif(not FORK, reason="needs fork")
@pytest.mark.parametrize(("which", "processes", "count"), [(0, 8, 50), (2, 4, 20)])
def test_processes_never_share_a_number(tmp_path, which, processes, count):
    """Each result whose save returned is there, and readers never see a partial file."""
    context = multiprocessing.get_context("fork")
    numbers = context.Queue()
    workers = [context.Process(target=_save_many, args=(which, tmp_path, count, numbers)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    handler = handlers(tmp_path)[which]
    while any(worker.is_alive() for worker in workers) and numbers.qsize() < processes:
        for _, result in handler.load_all(Run("A")):
            assert isinstance(result.data, int)
    found = sorted(number for _ in workers for number in numbers.get(timeout=60))
    for worker in workers:
        worker.join()
    assert found == list(range(processes * count))
    assert [result.version for _, result in handler.load_all(Run("A"))] == found


def test_threads_never_share_a_number(tmp_path):
    """They share one handler."""
    handler = PickleHandler(Run, tmp_path)
    numbers = []

    def work():
        numbers.extend([handler.save_persistence(Run("A")).version for _ in range(50)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(200))


def _save_for_ever(root, acknowledged):
    handler = PickleHandler(Run, root)
    while True:
        result = handler.save_persistence(filled(Run("A"), data=b"x" * 200_000))
        os.write(acknowledged, f"{result.version}\n".encode())


@pytest.mark.skipif(not FORK or sys.platform == "win32", reason="needs fork and kill")
def test_a_killed_process_leaves_whole_results_only(tmp_path):
    """Killed at any moment: each result whose save returned is there, and numbering goes on."""
    acknowledged = set()
    for attempt in range(10):
        reading, writing = os.pipe()
        worker = multiprocessing.get_context("fork").Process(target=_save_for_ever, args=(tmp_path, writing))
        worker.start()
        os.close(writing)
        with os.fdopen(reading) as file:
            for _ in range(1 + attempt):  # it is killed during the next save
                acknowledged.add(int(file.readline()))
            time.sleep(0.0005 * attempt)
            os.kill(worker.pid, signal.SIGKILL)
            worker.join()
            acknowledged.update(int(line) for line in file.read().split())
    found = {load(Run, path).version for path in tmp_path.glob("cache-*")}
    assert len(acknowledged) >= sum(range(1, 11))
    assert acknowledged <= found
    assert found == set(range(len(found)))
    assert PickleHandler(Run, tmp_path).save_persistence(Run("A")).version == len(found)


@pytest.mark.usefixtures("listing_is_cheap")
def test_others_are_seen_in_the_step_that_publishes(tmp_path):
    """After the first number, the folder is checked for changes only in the system call that publishes the file."""
    handler = PickleHandler(Run, tmp_path)
    assert [handler.save_persistence(filled(Run("A"), data=number)).version for number in range(3)] == [0, 1, 2]
    time.sleep(TICK_S)
    PickleHandler(Run, tmp_path).save_persistence(filled(Run("A", 7), data=2))
    assert handler.save_persistence(filled(Run("A"), data=3)).version == 8
    time.sleep(TICK_S)
    (tmp_path / (handler.filename(Run("A", 8)))).unlink()
    assert handler.save_persistence(filled(Run("A"), data=4)).version == 8
    time.sleep(TICK_S)
    (tmp_path / (handler.filename(Run("A", 9)))).write_bytes(b"of a program that left no other trace")
    assert (
        handler.save_persistence(filled(Run("A"), data=np.zeros(100_000))).version == 10
    )  # large results are published by another method
    assert handler.save_persistence(filled(Run("A"), data=5)).version == 11
    assert handler.load_persistence(Run("A", 8)).data == 4


@pytest.mark.parametrize("moved", [False, True])
def test_a_batch_saves_into_the_folder_that_has_the_path(tmp_path, moved):
    """A batch keeps the folder open. If that was removed or moved meanwhile, a new folder is made at the path."""
    folder = tmp_path / "results"
    handler = PickleHandler(Run, folder)

    def results():
        for number in range(6):
            if number == 3:
                assert sorted(os.listdir(folder)) == [handler.filename(Run("A", version)) for version in range(3)]
                if moved:
                    folder.rename(tmp_path / "elsewhere")
                else:
                    shutil.rmtree(folder)
            yield filled(Run("A"), data=number)

    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    assert handler.save_all(results()) == 6
    assert [result.data for _, result in handler.load_all(Run("A"))] == [3, 4, 5]
    assert [result.version for _, result in handler.load_all(Run("A"))] == [0, 1, 2]
    assert sys.platform != "linux" or len(os.listdir("/proc/self/fd")) == before


def test_a_batch_whose_folder_is_moved_with_its_parent_loses_nothing(tmp_path):
    """That changes nothing in the folder itself, which the batch keeps open."""
    handler = PickleHandler(Run, tmp_path / "lab" / "results")
    handler.save_persistence(filled(Run("A"), data="first"))

    def results():
        yield filled(Run("A"), data=1)
        yield filled(Run("A"), data=2)
        (tmp_path / "lab").rename(tmp_path / "old")
        (tmp_path / "lab" / "results").mkdir(parents=True)
        for number in range(3, 6):
            yield filled(Run("A"), data=number)

    handler.save_all(results())
    assert [result.data for _, result in handler.load_all(Run("A"))] == [3, 4, 5]
    assert [result.data for _, result in PickleHandler(Run, tmp_path / "old" / "results").load_all(Run("A"))] == [
        "first",
        1,
        2,
    ]


def test_a_series_that_becomes_durable_is_durable(tmp_path, monkeypatch):
    """The quick path for further saves must wait for the disk too."""
    handler = PickleHandler(Run, tmp_path)
    for _ in range(2):
        handler.save_persistence(filled(Run("A"), data=1))
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    handler.durable = True
    assert handler.save_persistence(filled(Run("A"), data=1)).version == 2
    assert synced


@pytest.mark.usefixtures("listing_is_cheap")
def test_an_outdated_listing_gives_no_number_twice(tmp_path, monkeypatch):
    """Network file systems may list names as they were some seconds ago. A number that was found taken is not tried again."""
    handler, other = PickleHandler(Run, tmp_path), PickleHandler(Run, tmp_path)
    other.save_all(filled(Run("A"), data=n) for n in range(5))
    calls = []
    stale = [handler.filename(Run("A", n)) for n in range(2)]
    monkeypatch.setattr(FolderStore, "highest_among", lambda self, *texts: calls.append(texts) or 1)
    monkeypatch.setattr(FolderStore, "names", lambda self, *texts: calls.append(texts) or stale)
    assert handler.save_persistence(Run("A")).version == 5
    assert len(calls) == 2


def test_a_number_that_is_free_again_is_assigned(tmp_path):
    """Another handler took it first, and then deleted its result."""
    numbers, series = Numbering(FolderStore(tmp_path), None), ("h", "t")
    assert numbers.next(series, look=False)[0] == 0
    numbers.lost(series, 0, numbers.view)
    assert numbers.next(series, look=False)[0] == 0


def test_threads_may_begin_series_at_the_same_time(tmp_path, monkeypatch):
    """More series than are remembered."""
    monkeypatch.setattr(numbering, "_MOST_SERIES", 256)
    numbers = Numbering(FolderStore(tmp_path), ("", ""))
    problems = []

    def work(name):
        try:
            for n in range(400):
                series = (f"{name}{n}", "")
                number, view = numbers.next(series, look=n % 2 == 0)
                assert number == 0
                numbers.published(series, number, view, None)
                if n % 3 == 0:
                    numbers.lost(series, number, view)
        except Exception as error:
            problems.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert problems == []
    assert len(numbers._counters) <= 256 + 8
