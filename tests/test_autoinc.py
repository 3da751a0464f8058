"""The number of a result is the highest found plus one, and nobody else's."""

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
from checks import Run, filled

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
from neuralib.persistence._keeping.numbering import Numbering, _end_of_series
from neuralib.persistence._stores.folder import FolderStore

TICK_S = 0.02  # what changes in one tick of the clock may leave a folder's time of change as it is
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
def test_numbers_start_at_nought_and_are_dense(tmp_path, which):
    """Each set of keys has its own."""
    handler = handlers(tmp_path)[which]
    numbers = [
        handler.save_persistence(filled(Run(animal), data=i)).version for i in range(4) for animal in ("A", "A-b")
    ]
    assert numbers == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [result.data for _, result in handler.load_all(Run("A"))] == [0, 1, 2, 3]


def test_numbers_are_found_from_names_alone(tmp_path):
    """A damaged sibling, numbers of numpy and odd names do no harm; other keys do not count."""
    handler = PickleHandler(Run, tmp_path)
    handler.save_persistence(Run("A", np.int64(6)))
    for name in ("A-#7.pkl", "A-#008.pkl", "A-#9.pkl.gz", "A-#-10.pkl", "A-b-#50.pkl", "[AB]-#60.pkl", "A-#1e3.pkl"):
        (tmp_path / f"cache-Run-{name}").write_bytes(b"no pickle")
    assert PickleHandler(Run, tmp_path).save_persistence(Run("A")).version == 8
    assert PickleHandler(Run, tmp_path).save_persistence(Run("A-b")).version == 51
    assert PickleHandler(Run, tmp_path).save_persistence(Run("[AB]")).version == 61
    assert PickleHandler(Run, tmp_path).save_persistence(Run("*")).version == 0


def test_values_with_brackets_do_not_overwrite_their_first_run(tmp_path):
    """They were wildcards once."""
    handler = PickleHandler(Run, tmp_path)
    assert [handler.save_persistence(Run("x[1]")).version for _ in range(3)] == [0, 1, 2]


def test_the_number_may_stand_anywhere_in_the_name(tmp_path):
    """First, in the middle, without prefix."""

    @persistence_class
    class Middle:
        a: str = field(filename=True)
        n: int = autoinc_field()
        z: str = field(filename=True)

    handler = PickleHandler(Middle, tmp_path)
    names = [handler.filename(handler.save_persistence(Middle("a", z="z"))) for _ in range(3)]
    assert names == [f"cache-Middle-a-{n}-z.pkl" for n in range(3)]


def test_what_others_save_and_delete_counts(tmp_path):
    """The highest found plus one, at each save."""
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
def test_a_number_that_was_given_counts_at_once(tmp_path, kind, by):
    """Within one tick of the clock too, in which nothing else need tell of it."""
    for n in range(30):
        handler = handlers(tmp_path / str(n))[kind]
        assert [handler.save_persistence(filled(Run("A"), data=it)).version for it in range(3)] == [0, 1, 2]
        given = filled(Run("A", 50), data=3)
        if by == "save":
            handler.save_persistence(given)
        else:
            handler.save_all([given], durable=by == "durable batch")
        assert handler.save_persistence(filled(Run("A"), data=4)).version == 51
        handler.save_persistence(filled(Run("A", 7), data=5))  # below the highest, which stays it
        assert handler.save_persistence(filled(Run("A"), data=6)).version == 52


def test_a_given_number_need_not_show_in_the_name(tmp_path):
    """A handler may name its files as it likes, as long as it is not to find the next number."""

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


def tells_each_change(folder):
    """Return whether each of two changes in one tick of the clock gives *folder* another time or size, if it is looked at."""
    for n in range(50):
        looks = [os.stat(folder)]
        for name in ("a", "b"):
            (folder / f"{n}{name}").touch()
            looks.append(os.stat(folder))
        if len({(it.st_mtime_ns, it.st_size) for it in looks}) < 3:
            return False
    return True


@pytest.mark.parametrize("store", ["disk", "memory"])
def test_what_others_do_counts_at_once(tmp_path, store):
    """Right after a save, where the system tells: by a file that came from elsewhere, a removed one, another process."""
    folder = tmp_path
    if store == "memory":
        if not os.access("/dev/shm", os.W_OK):
            pytest.skip("no file system in memory")
        folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        (folder / "probe").mkdir()
        if not tells_each_change(folder / "probe"):
            pytest.skip("changes within one tick of the clock look like one here (Linux before 6.13)")
        for n in range(100):
            root = folder / str(n)
            handler = PickleHandler(Run, root)
            for it in range(3):
                handler.save_persistence(filled(Run("A"), data=it))
            if n % 3 == 0:
                (root / handler.filename(Run("A", 50))).write_bytes(b"of somebody else")
            elif n % 3 == 1:
                (root / handler.filename(Run("A", 2))).unlink()
            else:
                PickleHandler(Run, root).save_persistence(filled(Run("A", 50), data=3))
            assert handler.save_persistence(filled(Run("A"), data=4)).version == (2 if n % 3 == 1 else 51)
    finally:
        if store == "memory":
            shutil.rmtree(folder)


def test_a_number_that_is_set_stays(tmp_path):
    """Saving again replaces, a copy made by hand has its own."""
    handler = PickleHandler(Run, tmp_path)
    result = handler.save_persistence(filled(Run("A"), data=1))
    handler.save_persistence(filled(result, data=2))
    assert (result.version, handler.load_persistence(result).data, len(list(tmp_path.iterdir()))) == (0, 2, 1)


def test_a_failed_save_leaves_the_number_open(tmp_path):
    """So that the next try gets one."""
    handler = PickleHandler(Run, tmp_path)
    result = filled(Run("A"), data=lambda: 0)
    with pytest.raises((AttributeError, TypeError)):
        handler.save_persistence(result)
    assert result.version is None
    assert list(tmp_path.iterdir()) == []
    assert handler.save_persistence(filled(result, data=1)).version == 0


@pytest.mark.parametrize("told", [True, False], ids=["the folder tells", "the name tells"])
def test_a_lost_race_takes_the_next_number(tmp_path, monkeypatch, told):
    """Even where the number that was found is outdated each time."""
    handler = PickleHandler(Run, tmp_path)
    seen = []
    following = Numbering.next

    def outdated(self, series, *, look):
        number, state = following(self, series, look=look)
        seen.append(number)
        if len(seen) < 4:
            (tmp_path / f"{series[0]}{number}{series[1]}").write_bytes(
                pickle.dumps({"animal": "A", "version": number, "data": "theirs"})
            )
        return number, state if told else None

    monkeypatch.setattr(Numbering, "next", outdated)
    result = handler.save_persistence(filled(Run("A"), data="mine"))
    assert (result.version, seen) == (3, [0, 1, 2, 3])
    assert [it.data for _, it in handler.load_all(Run("A"))] == ["theirs"] * 3 + ["mine"]


def test_folders_are_listed_once(tmp_path, monkeypatch):
    """However many results there are."""
    calls = []
    highest = FolderStore.highest
    monkeypatch.setattr(FolderStore, "highest", lambda self, *texts: calls.append(texts) or highest(self, *texts))
    handler = PickleHandler(Run, tmp_path)
    for _ in range(50):
        handler.save_persistence(Run("A"))
    assert len(calls) <= 2  # the folder is made by the first save


@pytest.mark.parametrize("length", [1, 2, 3, 7, 64, 1000])
def test_the_end_of_a_series_is_found_in_few_looks(length):
    """While others write into a folder that is too large to list at each save."""

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
    """Each acknowledged result is there, and readers see none by halves."""
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
    """With one handler for all."""
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
    """At any moment; what it acknowledged is there, and numbering goes on."""
    acknowledged = set()
    for attempt in range(10):
        reading, writing = os.pipe()
        worker = multiprocessing.get_context("fork").Process(target=_save_for_ever, args=(tmp_path, writing))
        worker.start()
        os.close(writing)
        with os.fdopen(reading) as file:
            for _ in range(1 + attempt):  # it is killed while it saves the next
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


def test_others_are_seen_in_the_step_that_publishes(tmp_path):
    """After the first number, the folder is not looked at before; what others did there must count all the same."""
    handler = PickleHandler(Run, tmp_path)
    assert [handler.save_persistence(filled(Run("A"), data=it)).version for it in range(3)] == [0, 1, 2]
    time.sleep(TICK_S)
    PickleHandler(Run, tmp_path).save_persistence(filled(Run("A", 7), data=2))
    assert handler.save_persistence(filled(Run("A"), data=3)).version == 8
    time.sleep(TICK_S)
    (tmp_path / (handler.filename(Run("A", 8)))).unlink()
    assert handler.save_persistence(filled(Run("A"), data=4)).version == 8
    time.sleep(TICK_S)
    (tmp_path / (handler.filename(Run("A", 9)))).write_bytes(b"of somebody who left no other trace")
    assert handler.save_persistence(filled(Run("A"), data=np.zeros(100_000))).version == 10  # large: another way
    assert handler.save_persistence(filled(Run("A"), data=5)).version == 11
    assert handler.load_persistence(Run("A", 8)).data == 4


@pytest.mark.parametrize("moved", [False, True])
def test_a_batch_saves_into_the_folder_that_has_the_path(tmp_path, moved):
    """It keeps the folder open, which may be removed or moved meanwhile: then a new one is made."""
    folder = tmp_path / "results"
    handler = PickleHandler(Run, folder)

    def results():
        for number in range(6):
            if number == 3:
                assert sorted(os.listdir(folder)) == [handler.filename(Run("A", it)) for it in range(3)]
                if moved:
                    folder.rename(tmp_path / "elsewhere")
                else:
                    shutil.rmtree(folder)
            yield filled(Run("A"), data=number)

    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    assert handler.save_all(results()) == 6
    assert [it.data for _, it in handler.load_all(Run("A"))] == [3, 4, 5]
    assert [it.version for _, it in handler.load_all(Run("A"))] == [0, 1, 2]
    assert sys.platform != "linux" or len(os.listdir("/proc/self/fd")) == before


def test_a_batch_whose_folder_is_moved_with_its_parent_loses_nothing(tmp_path):
    """That changes nothing in the folder that is kept open."""
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
    assert [it.data for _, it in handler.load_all(Run("A"))] == [3, 4, 5]
    assert [it.data for _, it in PickleHandler(Run, tmp_path / "old" / "results").load_all(Run("A"))] == ["first", 1, 2]


def test_a_series_that_becomes_durable_is_durable(tmp_path, monkeypatch):
    """The quick way does not wait for the disk."""
    handler = PickleHandler(Run, tmp_path)
    for _ in range(2):
        handler.save_persistence(filled(Run("A"), data=1))
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    handler.durable = True
    assert handler.save_persistence(filled(Run("A"), data=1)).version == 2
    assert synced


def test_a_listing_from_yesterday_gives_no_number_twice(tmp_path, monkeypatch):
    """Network file systems list names as they were some seconds ago; the number that was lost counts all the same."""
    handler, other = PickleHandler(Run, tmp_path), PickleHandler(Run, tmp_path)
    other.save_all(filled(Run("A"), data=n) for n in range(5))
    calls = []
    stale = [handler.filename(Run("A", n)) for n in range(2)]
    monkeypatch.setattr(FolderStore, "highest", lambda self, *texts: calls.append(texts) or 1)
    monkeypatch.setattr(FolderStore, "names", lambda self, *texts: calls.append(texts) or stale)
    assert handler.save_persistence(Run("A")).version == 5
    assert len(calls) == 2


def test_a_lost_number_that_is_free_again_is_given(tmp_path):
    """Whoever was first removed it."""
    numbers, series = Numbering(FolderStore(tmp_path), None), ("h", "t")
    assert numbers.next(series, look=False)[0] == 0
    numbers.lost(series, 0)
    assert numbers.next(series, look=False)[0] == 0


def test_threads_may_begin_series_at_the_same_time(tmp_path, monkeypatch):
    """More than are remembered."""
    monkeypatch.setattr(numbering, "_MOST_SERIES", 256)
    numbers = Numbering(FolderStore(tmp_path), ("", ""))
    problems = []

    def work(name):
        try:
            for n in range(400):
                series = (f"{name}{n}", "")
                number, _ = numbers.next(series, look=n % 2 == 0)
                assert number == 0
                numbers.published(series, number, None)
                if n % 3 == 0:
                    numbers.lost(series, number)
        except Exception as error:
            problems.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for it in threads:
            it.start()
        for it in threads:
            it.join()
    finally:
        sys.setswitchinterval(interval)
    assert problems == []
    assert len(numbers._highest) <= 256 + 8
