"""Many series in one store: names are listed a few times, whatever is saved; what others do counts in each series."""

from __future__ import annotations

import errno
import os
import shutil
import time

import numpy as np
import pytest
from checks import Run, filled

from neuralib.persistence import GzipHandler, PersistenceHandler, PickleHandler
from neuralib.persistence._bytes.sources import BytesSource
from neuralib.persistence._keeping import numbering
from neuralib.persistence._keeping.numbering import Numbering
from neuralib.persistence._stores.base import Stat, Store
from neuralib.persistence._stores.folder import FolderStore
from neuralib.persistence._stores.memory import MemoryStore

SERIES = [f"animal{number}" for number in range(1000)]
TICK_S = 0.02  # what changes in one tick of the clock may leave a folder's time of change as it is
LARGE = np.zeros(20_000)


class Counting:
    """A store that counts how often its names are listed."""

    listings = 0

    def names(self, prefix="", /):
        self.listings += 1
        return super().names(prefix)


class CountingFolder(Counting, FolderStore):
    def highest(self, head, tail, /):
        self.listings += 1
        return super().highest(head, tail)


class CountingMemory(Counting, MemoryStore):
    pass


class Plain(Counting, Store):
    """A store that defines what it must, and nothing else: it tells no state."""

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
    """Return *store* as another process would have it."""
    return FolderStore(store.root) if isinstance(store, FolderStore) else store


def one_by_one(handler, results):
    return [handler.save_persistence(each).version for each in results]


def all_at_once(handler, results):
    handler.save_all(results)
    return [each.version for each in results]


def durably(handler, results):
    handler.save_all(results, durable=True)
    return [each.version for each in results]


ways = pytest.mark.parametrize("save", [one_by_one, all_at_once, durably])


def in_turn(series=SERIES, data=1):
    return [filled(Run(animal), data=data) for animal in series]


@ways
def test_many_series_in_turn_cost_few_listings(store, save):
    """One that shows that there are several series, and one for all of them; a durable batch, one for each group."""
    handler = PickleHandler(Run, store)
    for number in range(3):
        assert save(handler, in_turn()) == [number] * len(SERIES)
    groups = 3 * len(SERIES) // store.group_size()
    assert 1 <= store.listings <= (2 + groups + 3 if save is durably else 2)


@ways
def test_many_series_that_are_there_cost_few_listings(store, save):
    """A new handler takes the highest numbers from the same listing."""
    PickleHandler(Run, same_place(store)).save_all(filled(Run(animal, 7), data=0) for animal in SERIES)
    store.listings = 0
    handler = PickleHandler(Run, store)
    assert save(handler, in_turn()) == [8] * len(SERIES)
    assert save(handler, in_turn(SERIES[:10])) == [9] * 10
    assert 1 <= store.listings <= (2 + len(SERIES) // store.group_size() + 2 if save is durably else 2)


@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler])
@pytest.mark.parametrize("data", [1, LARGE], ids=["small", "large"])
def test_what_a_handler_saves_is_no_change_by_others(store, kind, data):
    """In whichever series, whatever its size, and in a batch or not."""
    handler = kind(Run, store)
    one_by_one(handler, in_turn("AB"))
    listings, seen = store.listings, handler._keeper._numbering._seen
    for number in range(1, 20, 2):
        assert one_by_one(handler, in_turn("ABCD", data))[:2] == [number] * 2
        assert all_at_once(handler, in_turn("DCBA", data))[2:] == [number + 1] * 2
    assert (store.listings, handler._keeper._numbering._seen) == (listings, seen)


@ways
def test_what_others_save_counts_in_every_series(store, save):
    """Numbers that go on, numbers that leave a gap, and new series: by one listing."""
    mine, others = PickleHandler(Run, store), PickleHandler(Run, same_place(store))
    assert save(mine, in_turn(SERIES[:200])) == [0] * 200
    others.save_all(in_turn(SERIES[:100]))
    others.save_all(filled(Run(animal, 50), data=2) for animal in SERIES[100:300])
    time.sleep(TICK_S)
    store.listings = 0
    assert save(mine, in_turn(SERIES[:400])) == [2] * 100 + [51] * 200 + [0] * 100
    assert 1 <= store.listings <= (2 if save is durably else 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@ways
def test_what_another_process_saves_counts_in_every_series(tmp_path, save):
    """It shares nothing but the folder."""
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
    """The number after the highest that is left."""
    handler = PickleHandler(Run, store)
    for _ in range(3):
        save(handler, in_turn("ABC"))
    for name in [handler.filename(Run("A", 2)), handler.filename(Run("B", 2)), handler.filename(Run("B", 1))]:
        same_place(store).delete(name)
    time.sleep(TICK_S)
    assert save(handler, in_turn("ABCD")) == [2, 1, 3, 0]


@ways
def test_numbers_begin_again_in_a_folder_that_was_removed(tmp_path, save):
    """Also where nothing but a durable batch was saved into it."""
    store = CountingFolder(tmp_path / "results")
    handler = PickleHandler(Run, store)
    for _ in range(2):
        assert save(handler, in_turn("ABA")) == [0, 0, 1]
        shutil.rmtree(store.root)
    assert save(handler, in_turn("C")) == [0]


@pytest.mark.parametrize("size", ["large", "durable"])
def test_what_others_save_while_a_result_takes_its_time_counts(tmp_path, monkeypatch, size):
    """While it is written, or waits for the disk: it is saved all the same, and what they saved counts for the next."""
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


def test_a_number_that_was_given_counts_in_a_series_that_was_not_begun():
    """Where the others are known, so that none is looked for, and the state of the store tells nothing yet."""
    store = CountingMemory()
    numbers = Numbering(store, ("#", ""))
    for head in ("A#", "B#"):
        number, state = numbers.next((head, ""), look=False)
        numbers.published((head, ""), number, store.put_if(f"{head}{number}", b"", state))
    numbers.given(("C#", ""), 7)
    numbers.given(("A#", ""), 5)
    numbers.given(("B#", ""), -3)
    listings = store.listings
    assert [numbers.next((head, ""), look=False)[0] for head in ("A#", "B#", "C#", "D#")] == [6, 1, 8, 0]
    assert store.listings == listings


@ways
def test_the_memory_for_series_is_bounded(store, save, monkeypatch):
    """What was forgotten is looked up again."""
    monkeypatch.setattr(numbering, "_MOST_SERIES", 50)
    handler = PickleHandler(Run, store)
    for number in range(2):
        assert save(handler, in_turn(SERIES[:300])) == [number] * 300
        assert len(handler._keeper._numbering._highest) <= 50
    handler.save_all(filled(Run(animal, 9), data=1) for animal in SERIES[:300])
    assert save(handler, in_turn(SERIES[:60])) == [10] * 60
    assert len(handler._keeper._numbering._highest) <= 50


def test_lost_and_given_numbers_are_bounded_too(monkeypatch):
    """They are remembered in the same place."""
    monkeypatch.setattr(numbering, "_MOST_SERIES", 50)
    numbers = Numbering(CountingMemory(), ("#", ""))
    numbers.next(("A#", ""), look=False)
    for head in SERIES:
        numbers.lost((head, ""), 3)
        numbers.given((head, ""), 4)
        numbers.published((f"{head}-", ""), 5, None)
    assert len(numbers._highest) <= 50


@ways
def test_a_store_that_tells_no_state_is_listed_few_times(save):
    """What is remembered holds until a number is lost."""
    store = PlainStore()
    mine, others = PickleHandler(Run, store), PickleHandler(Run, store)
    for number in range(3):
        assert save(mine, in_turn(SERIES[:100])) == [number] * 100
    assert 1 <= store.listings <= 2
    assert save(others, in_turn(SERIES[:10])) == [3] * 10
    assert save(mine, in_turn(SERIES[:20])) == [4] * 10 + [3] * 10


def test_listing_takes_a_share_of_the_time_where_others_keep_saving(store, monkeypatch):
    """Once that is used up, the end of a series is looked for from where it was."""
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
    """They may put the number anywhere, so that one listing does not serve all."""
    listings = []
    highest = FolderStore.highest
    monkeypatch.setattr(FolderStore, "highest", lambda self, *texts: listings.append(texts) or highest(self, *texts))
    handler = HookHandler(tmp_path)
    for number in range(3):
        assert save(handler, in_turn(SERIES[:50])) == [number] * 50
    assert len(listings) <= 50 * (3 if save is durably else 1) + 1
