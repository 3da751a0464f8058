"""Many series in one store: names are listed a few times only, and saves by others count in each series."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
import time

import numpy as np
import pytest
from checks import NOT_PICKLED, Run, filled

from neuralib.persistence import FileHandler, GzipHandler, PersistenceHandler, PickleHandler
from neuralib.persistence._bytes.sources import BytesSource
from neuralib.persistence._keeping import numbering
from neuralib.persistence._keeping.numbering import Numbering
from neuralib.persistence._stores import system
from neuralib.persistence._stores.base import CHANGED, Stat, Store
from neuralib.persistence._stores.folder import FolderStore
from neuralib.persistence._stores.memory import MemoryStore
from neuralib.persistence.codecs import PickleCodec

SERIES = [f"animal{number}" for number in range(400)]
TICK_S = 0.02  # longer than a tick of the clock, within which two changes may give a folder the same time
LARGE = np.zeros(20_000)


class Counting:
    """Counts how often the names of a store are listed."""

    listings = 0

    def names(self, prefix="", /):
        self.listings += 1
        return super().names(prefix)


class CountingFolder(Counting, FolderStore):
    def highest_among(self, head, tails, /):
        self.listings += 1
        return super().highest_among(head, tails)


class CountingMemory(Counting, MemoryStore):
    pass


class Plain(Counting, Store):
    """A store that defines the required methods only: it has no ``state``, so changes can't be detected."""

    url = "plain:"

    def __init__(self):
        self.entries = {}

    def put(self, name, content, /, *, replace=False, durable=False):
        if name in self.entries:
            if not replace:
                raise FileExistsError(errno.EEXIST, "is there", name)
            if callable(replace):
                replace(self.open(name))
        self.entries[name] = content if isinstance(content, bytes) else content.content()

    def open(self, name, /):
        return BytesSource(self.entries[name])

    def stat(self, name, /):
        if name not in self.entries:
            raise FileNotFoundError(errno.ENOENT, "is not there", name)
        return Stat(len(self.entries[name]), 0.0)

    def delete(self, name, /):
        del self.entries[name]


class PlainStore(Plain):
    def names(self, prefix="", /):
        self.listings += 1
        return [name for name in self.entries if name.startswith(prefix)]


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path):
    return CountingFolder(tmp_path / "results") if request.param == "folder" else CountingMemory()


def same_place(store):
    """Return *store*, or another store of the same folder, as another process would have it."""
    return FolderStore(store.root) if isinstance(store, FolderStore) else store


def one_by_one(handler, results):
    return [handler.save_persistence(result).version for result in results]


def all_at_once(handler, results):
    handler.save_all(results)
    return [result.version for result in results]


def durably(handler, results):
    handler.save_all(results, durable=True)
    return [result.version for result in results]


ways = pytest.mark.parametrize("save", [one_by_one, all_at_once, durably])


def in_turn(series=SERIES, data=1):
    return [filled(Run(animal), data=data) for animal in series]


@ways
def test_many_series_in_turn_cost_few_listings(store, save):
    """One listing shows that there are several series, one serves all of them; a durable batch takes one for each group."""
    handler = PickleHandler(Run, store)
    for number in range(3):
        assert save(handler, in_turn()) == [number] * len(SERIES)
    groups = 3 * len(SERIES) // store.group_size()
    assert 1 <= store.listings <= (2 + groups + 3 if save is durably else 2)


@ways
def test_a_new_handler_finds_all_highest_numbers_by_one_listing(store, save):
    """A new handler takes the highest numbers from the same listing."""
    PickleHandler(Run, same_place(store)).save_all(filled(Run(animal, 7), data=0) for animal in SERIES)
    store.listings = 0
    handler = PickleHandler(Run, store)
    assert save(handler, in_turn()) == [8] * len(SERIES)
    assert save(handler, in_turn(SERIES[:10])) == [9] * 10
    assert 1 <= store.listings <= (2 + len(SERIES) // store.group_size() + 2 if save is durably else 2)


@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler])
@pytest.mark.parametrize("data", [1, LARGE], ids=["small", "large"])
def test_own_saves_cause_no_listing(store, kind, data):
    """In whichever series, whatever the size, in a batch or not: the handler knows its own saves."""
    handler = kind(Run, store)
    one_by_one(handler, in_turn("AB"))
    listings, look = store.listings, handler._keeper._numbering.view.look
    for number in range(1, 20, 2):
        assert one_by_one(handler, in_turn("ABCD", data))[:2] == [number] * 2
        assert all_at_once(handler, in_turn("DCBA", data))[2:] == [number + 1] * 2
    assert (store.listings, handler._keeper._numbering.view.look) == (listings, look)


@pytest.mark.usefixtures("listing_is_cheap")
@ways
def test_what_others_save_counts_in_every_series(store, save):
    """Numbers that continue a series, numbers that leave a gap, and new series: one listing finds them."""
    mine, others = PickleHandler(Run, store), PickleHandler(Run, same_place(store))
    assert save(mine, in_turn(SERIES[:100])) == [0] * 100
    others.save_all(in_turn(SERIES[:50]))
    others.save_all(filled(Run(animal, 50), data=2) for animal in SERIES[50:150])
    time.sleep(TICK_S)
    store.listings = 0
    assert save(mine, in_turn(SERIES[:200])) == [2] * 50 + [51] * 100 + [0] * 50
    assert 1 <= store.listings <= (2 if save is durably else 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@ways
def test_what_another_process_saves_counts_in_every_series(tmp_path, save):
    """The processes share nothing but the folder."""
    handler = PickleHandler(Run, tmp_path)
    assert save(handler, in_turn("ABC")) == [0] * 3
    pid = os.fork()
    if pid == 0:
        try:
            PickleHandler(Run, tmp_path).save_all(in_turn("BCD") + in_turn("CD"))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    time.sleep(TICK_S)
    assert save(handler, in_turn("ABCDE")) == [1, 2, 3, 2, 0]


@ways
def test_what_others_delete_counts_in_every_series(store, save):
    """The next number follows the highest that is left."""
    handler = PickleHandler(Run, store)
    for _ in range(3):
        save(handler, in_turn("ABC"))
    for name in [handler.filename(Run("A", 2)), handler.filename(Run("B", 2)), handler.filename(Run("B", 1))]:
        same_place(store).delete(name)
    time.sleep(TICK_S)
    assert save(handler, in_turn("ABCD")) == [2, 1, 3, 0]


@ways
def test_numbers_begin_again_in_a_folder_that_was_removed(tmp_path, save):
    """A durable batch may be all that was saved there."""
    store = CountingFolder(tmp_path / "results")
    handler = PickleHandler(Run, store)
    for _ in range(2):
        assert save(handler, in_turn("ABA")) == [0, 0, 1]
        shutil.rmtree(store.root)
    assert save(handler, in_turn("C")) == [0]


@pytest.mark.usefixtures("listing_is_cheap")
@pytest.mark.parametrize("size", ["large", "durable"])
def test_what_others_save_during_a_save_counts(tmp_path, monkeypatch, size):
    """While the result is written, or waits for the disk: it gets another number, and the next one counts theirs."""
    handler, others = PickleHandler(Run, tmp_path), PickleHandler(Run, tmp_path)
    data = LARGE if size == "large" else 1
    handler.durable = size == "durable"
    for _ in range(2):
        one_by_one(handler, in_turn("AB", data))
    records = handler._keeper.records
    real = type(records).content
    made = []

    def content(self, result, *arguments, **options):
        found = real(self, result, *arguments, **options)
        if self is records and not made:
            made.append(result)
            time.sleep(TICK_S)
            others.save_persistence(filled(Run("B", 50), data=3))
            time.sleep(TICK_S)
        return found

    monkeypatch.setattr(type(records), "content", content)
    assert one_by_one(handler, in_turn("AB", data)) == [2, 51]
    assert made


def test_an_explicit_number_counts_in_a_new_series():
    """The handler has not looked for the highest number of that series yet, and the state of the store has not changed."""
    store = CountingMemory()
    numbers = Numbering(store, ("#", ""))
    for head in ("A#", "B#"):
        number, view = numbers.next((head, ""), look=False)
        numbers.published((head, ""), number, view, store.put_if(f"{head}{number}", b"", view.state))
    numbers.given(("C#", ""), 7)
    numbers.given(("A#", ""), 5)
    numbers.given(("A#", ""), 10**18)  # which no listing counts
    numbers.given(("B#", ""), 2**64)
    numbers.given(("B#", ""), -(2**64))
    listings = store.listings
    assert [numbers.next((head, ""), look=False)[0] for head in ("A#", "B#", "C#", "D#")] == [6, 1, 8, 0]
    assert store.listings == listings


@ways
def test_the_memory_for_series_is_bounded(store, save, monkeypatch):
    """A series that was forgotten is looked up again."""
    monkeypatch.setattr(numbering, "_MOST_SERIES", 50)
    handler = PickleHandler(Run, store)
    for number in range(2):
        assert save(handler, in_turn(SERIES[:120])) == [number] * 120
        assert len(handler._keeper._numbering._counters) <= 50
    handler.save_all(filled(Run(animal, 9), data=1) for animal in SERIES[:120])
    assert save(handler, in_turn(SERIES[:60])) == [10] * 60
    assert len(handler._keeper._numbering._counters) <= 50


def test_the_memory_for_lost_and_explicit_numbers_is_bounded(monkeypatch):
    """They are remembered in the same place."""
    monkeypatch.setattr(numbering, "_MOST_SERIES", 50)
    numbers = Numbering(CountingMemory(), ("#", ""))
    numbers.next(("A#", ""), look=False)
    for head in SERIES:
        numbers.lost((head, ""), 3, numbers.view)
        numbers.given((head, ""), 4)
        numbers.published((f"{head}-", ""), 5, numbers.view, None)
    assert len(numbers._counters) <= 50


@ways
def test_a_store_without_state_is_listed_few_times(save):
    """The remembered number is used until a save finds it taken."""
    store = PlainStore()
    mine, others = PickleHandler(Run, store), PickleHandler(Run, store)
    for number in range(3):
        assert save(mine, in_turn(SERIES[:100])) == [number] * 100
    assert 1 <= store.listings <= 2
    assert save(others, in_turn(SERIES[:10])) == [3] * 10
    assert save(mine, in_turn(SERIES[:20])) == [4] * 10 + [3] * 10


def test_listing_takes_a_bounded_share_of_the_time(store, monkeypatch):
    """While others keep saving. Once the share is used up, the handler tries names from the last known number on."""
    monkeypatch.setattr(numbering, "_SCAN_SHARE", 1e9)
    mine, others = PickleHandler(Run, store), PickleHandler(Run, same_place(store))
    one_by_one(mine, in_turn("AB"))
    mine._keeper._numbering._credit_s = 0.0
    store.listings = 0
    numbers = []
    for _ in range(100):
        for handler in (mine, others):
            numbers += one_by_one(handler, in_turn("AB"))
    assert numbers == [number for number in range(1, 201) for _ in "AB"]
    assert store.listings <= 1 + (100 * 2 + 2 if same_place(store) is store else 0)  # of memory, by the other handler


@pytest.mark.skipif(not system.TMPFILE, reason="no files without names")
def test_threads_of_one_handler_are_no_others(tmp_path):
    """What one thread saves in its series makes the other ones look at the folder no more than one thread alone would."""
    handler, count = PickleHandler(Run, tmp_path), 300
    one_by_one(handler, in_turn("AB"))
    before = handler._keeper._numbering.view.look
    start = threading.Barrier(2)
    numbers = {}

    def work(animal):
        start.wait()
        numbers[animal] = one_by_one(handler, in_turn([animal] * count))

    threads = [threading.Thread(target=work, args=(animal,)) for animal in "AB"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers == {animal: [*range(1, count + 1)] for animal in "AB"}
    assert handler._keeper._numbering.view.look - before < 10  # some where a block of the folder was full


def test_a_number_lost_to_another_thread_costs_no_look():
    """If two threads try the same number, the one that loses takes the next without listing the store."""
    store = CountingMemory()
    numbers, series = Numbering(store, ("#", "")), ("A#", "")
    number, view = numbers.next(series, look=False)
    numbers.published(series, number, view, view.state)
    listings = store.listings
    numbers.lost(series, number, view)
    assert numbers.next(series, look=False) == (number + 1, view)
    assert store.listings == listings


def by_threads(work, *arguments):
    """Call *work* with each of *arguments* in a thread of its own, all at the same time."""
    start = threading.Barrier(len(arguments))
    threads = [threading.Thread(target=lambda each: (start.wait(), work(each)), args=(each,)) for each in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def counting_contents(monkeypatch, handler):
    """Return a list to which each content made by *handler* adds the number in it."""
    real, made = type(handler._keeper.records).content, []

    def content(self, result, *arguments, **named):
        made.append(result.version)
        return real(self, result, *arguments, **named)

    monkeypatch.setattr(type(handler._keeper.records), "content", content)
    return made


def before_the_next_put(monkeypatch, store, act):
    """Call *act* with the name, once, before *store* puts its next numbered result; return a list to which that name is added."""
    real, tried = type(store).put_if, []

    def overtaken(self, name, content, expected, /, *, durable=False):
        if self is store and not tried:
            tried.append(name)
            act(name)
        return real(self, name, content, expected, durable=durable)

    monkeypatch.setattr(type(store), "put_if", overtaken)
    return tried


def test_threads_that_save_into_one_series_take_different_numbers(store, monkeypatch):
    """No result is encoded again because another thread of the same handler was first with its number."""
    handler, count, numbers = PickleHandler(Run, store), 200, {}
    one_by_one(handler, in_turn("A"))
    made = counting_contents(monkeypatch, handler)

    def work(thread):
        numbers[thread] = one_by_one(handler, in_turn("A" * count))

    by_threads(work, 0, 1, 2)
    assert sorted(sum(numbers.values(), [])) == [*range(1, 3 * count + 1)]
    assert all(each == sorted(each) for each in numbers.values())
    assert len(made) < 3 * count + 20  # the folder's size tells less where a block of it was full


def test_a_number_is_saved_though_other_threads_and_processes_went_on(store, monkeypatch):
    """It was taken before. Else it would be missing in the series, though no save failed."""
    handler, others = PickleHandler(Run, store), PickleHandler(Run, same_place(store))
    one_by_one(handler, in_turn("A"))

    def go_on(_name):
        by_threads(lambda each: one_by_one(handler, each), in_turn("AA"))
        time.sleep(TICK_S)
        assert one_by_one(others, in_turn("A")) == [4]

    tried = before_the_next_put(monkeypatch, store, go_on)
    made = counting_contents(monkeypatch, handler)
    assert one_by_one(handler, in_turn("AA")) == [1, 5]
    assert tried
    assert made == [1, 2, 3, 4, 5]


def test_a_number_that_others_saved_and_deleted_is_not_left_to_a_save(store, monkeypatch):
    """As for any other save, the next number follows the highest."""
    handler, others = PickleHandler(Run, store), PickleHandler(Run, same_place(store))
    one_by_one(handler, in_turn("A"))

    def save_and_delete(name):
        time.sleep(TICK_S)
        assert one_by_one(others, in_turn("AA")) == [1, 2]
        same_place(store).delete(name)

    tried = before_the_next_put(monkeypatch, store, save_and_delete)
    assert one_by_one(handler, in_turn("A")) == [3]
    assert tried


@pytest.mark.parametrize("data", [1, LARGE], ids=["small", "large"])
def test_a_failed_save_leaves_no_gap(store, data):
    """Neither before another one, nor where the size of results changes."""
    handler = PickleHandler(Run, store)
    one_by_one(handler, in_turn("A"))
    for number in (1, 3):
        with pytest.raises(NOT_PICKLED):
            handler.save_persistence(filled(Run("A"), data=lambda: 0))
        assert one_by_one(handler, in_turn("A", data) + in_turn("A")) == [number, number + 1]


def test_a_late_note_of_a_thread_does_not_hide_what_others_saved():
    """A thread notes its number after another thread has found the store changed."""
    store = CountingMemory()
    numbers, series = Numbering(store, ("#", "")), ("A#", "")
    number, view = numbers.next(series, look=False)
    state = store.put_if(f"A#{number}", b"", view.state)
    store.put("A#7", b"")
    numbers.changed(view)
    assert numbers.next(("B#", ""), look=False)[0] == 0
    numbers.published(series, number, view, state)
    assert numbers.next(series, look=False)[0] == 8


def test_a_result_is_encoded_once_where_others_save_in_other_series(tmp_path, monkeypatch):
    """The handler looks at the folder again, and finds that its number holds."""
    handler, others = PickleHandler(Run, tmp_path), PickleHandler(Run, tmp_path)
    one_by_one(handler, in_turn("AB"))
    time.sleep(TICK_S)
    others.save_persistence(filled(Run("B"), data=1))
    encoded = []
    real = type(handler._keeper.records).content
    monkeypatch.setattr(
        type(handler._keeper.records),
        "content",
        lambda self, *args, **named: encoded.append(1) or real(self, *args, **named),
    )
    assert one_by_one(handler, in_turn("A")) == [1]
    assert len(encoded) == 1


def test_threads_may_save_small_and_large_results_by_one_handler(tmp_path, monkeypatch):
    """Another thread saves a large one while a small one is tried again."""
    handler = PickleHandler(Run, tmp_path)
    one_by_one(handler, in_turn("A"))
    real, tried = FolderStore.put_if, []

    def changed_once(self, name, content, expected, /, *, durable=False):
        tried.append(name)
        if len(tried) == 1:
            threading.Thread(target=one_by_one, args=(handler, in_turn("B", LARGE))).start()
            while not list(tmp_path.glob("*B*")):
                time.sleep(0.001)
            return CHANGED
        return real(self, name, content, expected, durable=durable)

    monkeypatch.setattr(FolderStore, "put_if", changed_once)
    assert one_by_one(handler, in_turn("A")) == [1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process")
def test_a_fork_during_a_save_of_another_thread_leaves_a_handler_that_saves(tmp_path):
    """The child has no thread that could finish the step in which its parent's thread was."""
    handler, done = PickleHandler(Run, tmp_path), []
    one_by_one(handler, in_turn("AB"))

    def work():
        while not done:
            handler.save_persistence(filled(Run("A"), data=1))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(30):
            child = os.fork()
            if child == 0:
                signal.alarm(30)  # ends a child that waits for ever
                try:
                    handler.save_persistence(filled(Run("B"), data=2))
                    os._exit(0)
                finally:
                    os._exit(1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        done.append(True)
        thread.join()


class HookHandler(PersistenceHandler):
    persistence_class = Run
    save_root = None

    def __init__(self, root):
        self.save_root = root

    def _save_persistence(self, result, path):
        path.write_text(str(result.data))

    def _load_persistence(self, path):
        return filled(Run("A", 0), data=path.read_text())


@ways
def test_handlers_that_name_files_themselves_list_once_for_each_series(tmp_path, monkeypatch, save):
    """Their names may hold the number anywhere, so one listing does not serve all series."""
    listings = []
    highest = FolderStore.highest_among
    monkeypatch.setattr(
        FolderStore, "highest_among", lambda self, *texts: listings.append(texts) or highest(self, *texts)
    )
    handler = HookHandler(tmp_path)
    for number in range(3):
        assert save(handler, in_turn(SERIES[:50])) == [number] * 50
    assert len(listings) <= 50 * (3 if save is durably else 1) + 1


class Of20Formats(PickleCodec):
    read_suffixes = (".pkl", *(f".p{number}" for number in range(19)))


@pytest.mark.parametrize("place", ["folder", "memory"])
def test_numbers_of_all_formats_count_however_many_a_codec_reads(tmp_path, place):
    """The scan of a folder looks for eight of them at a time."""
    store = FolderStore(tmp_path) if place == "folder" else MemoryStore()
    for suffix, number in ((".p0", 3), (".p8", 5), (".p18", 7), (".other", 9)):
        store.put(f"cache-Run-A-#{number}{suffix}", b"")
    handler = FileHandler(Run, store, codec=Of20Formats())
    assert handler.save_persistence(filled(Run("A"), data=1)).version == 8
