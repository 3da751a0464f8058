"""Results in an object store: lost answers, the number of requests, credentials, and servers that are refused."""

from __future__ import annotations

import copy
import errno
import itertools
import json
import multiprocessing
import pickle
import random
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import datetime, timezone

import numpy as np
import pytest
from checks import filled

from neuralib.persistence import (
    GzipHandler,
    NameTakenError,
    PickleHandler,
    UnconditionalStoreError,
    autoinc_field,
    field,
    missing,
    persistence_class,
)
from neuralib.persistence._commands.entry import main
from neuralib.persistence._tasks import read_ahead
from neuralib.persistence.cli_persistence import PersistenceOptions
from neuralib.persistence.stores import MemoryStore, Put, SeveralStores
from neuralib.persistence.testing import check_store

obstore = pytest.importorskip("obstore", reason="needs the extra cloud")

from buckets import RETRY_AT_ONCE, S3Store, bucket, lost_answer, probed_bucket  # noqa: E402
from google_server import Google  # noqa: E402
from obstore import exceptions  # noqa: E402

from neuralib.persistence._stores import bucket as bucket_module, objects  # noqa: E402
from neuralib.persistence._stores.attempts import as_os_error  # noqa: E402
from neuralib.persistence._stores.object_source import PART_BYTES, ObjectSource  # noqa: E402
from neuralib.persistence.stores import ObjectStore  # noqa: E402


@persistence_class
class Shuffle:
    animal: str = field(validator=True, filename=True)
    run: int = autoinc_field("#")
    weights: np.ndarray


@persistence_class
class Map:
    animal: str = field(validator=True, filename=True)
    plane: int = field(validator=True, filename=True)
    weights: np.ndarray


def result_of(cls, *keys, size=5):
    return filled(cls(*keys), weights=np.arange(float(size)))


def content_of(store, name):
    with store.open(name) as source:
        return source.read()


# ---------------------------------------------------------------------------------------------- the contract


def test_an_object_store_keeps_the_contract_of_stores():
    """On obstore's own memory, and on a client whose requests are counted."""
    check_store(lambda: ObjectStore(obstore.store.MemoryStore()))
    check_store(lambda: ObjectStore(S3Store(), in_flight=4))


@pytest.mark.parametrize("size", [600, 60_000], ids=["small", "large"])
@pytest.mark.parametrize("save", ["save_persistence", "save_all"])
def test_a_result_too_large_for_one_request_is_refused(monkeypatch, size, save):
    """By the limit of the server, before anything is sent, however the result is saved."""
    monkeypatch.setitem(bucket_module._MOST_PUT_BYTES, "S3Store", 4_000)
    client = S3Store()
    handler = PickleHandler(Map, ObjectStore(client))
    handler.save_persistence(result_of(Map, "A", 1))
    sent = len(client.requests)
    large = result_of(Map, "B", 1, size=size)
    with pytest.raises(OSError, match="takes 4,000 in one request: keep it in a folder, or split it") as caught:
        handler.save_persistence(large) if save == "save_persistence" else handler.save_all([large])
    assert (caught.value.errno, len(client.requests)) == (errno.EFBIG, sent)
    assert len(handler.find()) == 1


def test_a_put_by_name_is_one_request():
    """Also of a large content: of several, the parts stay in the bucket where one fails."""
    store, client = probed_bucket()
    put, asked = client.put, []
    client.put = lambda name, data, **more: (asked.append(more), put(name, data, **more))
    store.put("a", b"1", replace=True)
    assert asked == [{"use_multipart": False}]


def test_a_deletion_whose_answer_was_lost_has_succeeded():
    """Sent again, the server says that there is no such object, since it is deleted."""

    class GCSStore(S3Store):
        def delete(self, name):
            return self._request("delete", lambda: (self.inner.head(name), self.inner.delete(name)))

    client = GCSStore()
    store = ObjectStore(client, retry_config=RETRY_AT_ONCE)
    store.put("a", b"1")
    store.put("b", b"1")
    client.faults["delete"] = ["unanswered", None, "unanswered"]
    store.delete("a")
    assert store.delete_many({"b": store.stat("b").version}) == ["b"]
    assert store.names() == []
    with pytest.raises(FileNotFoundError):
        store.delete("a")


def test_delete_many_keeps_results_that_were_replaced():
    store = ObjectStore(S3Store(), in_flight=4)
    handler = PickleHandler(Map, store)
    handler.save_all(result_of(Map, "A", plane) for plane in range(12))
    versions = {name: store.stat(name).version for name in store.names()}
    handler.save_persistence(result_of(Map, "A", 3, size=7))
    deleted = store.delete_many({**versions, "none": "1"})
    assert deleted == [name for name in versions if "-A-3." not in name]
    assert handler.find().keys() == [{"animal": "A", "plane": 3}]


# ---------------------------------------------------------------------------------------------- requests


def test_a_save_is_one_request():
    """Each process tries the server once, by one more request, and by another in a new place."""
    store, client = bucket()
    handler = PickleHandler(Map, store)
    handler.save_persistence(result_of(Map, "A", 1))
    assert client.asked() == ["put create"] * 3  # two of them try a new place
    handler.save_persistence(result_of(Map, "A", 2))
    assert client.asked() == ["put create"]
    again = ObjectStore(client)
    PickleHandler(Map, again).save_persistence(result_of(Map, "A", 3))
    assert client.asked() == ["put create"] * 2


def test_replacing_a_result_takes_three_requests():
    """One finds the name taken, one reads the result there, one replaces that version. At first, one more tries the server."""
    store, client = bucket()
    handler = PickleHandler(Map, store)
    handler.save_persistence(result_of(Map, "A", 1))
    client.asked()
    handler.save_persistence(result_of(Map, "A", 1, size=3))
    assert client.asked() == ["put create", "get", "put update", "put update"]
    handler.save_persistence(result_of(Map, "A", 1, size=4))
    assert client.asked() == ["put create", "get", "put update"]
    assert handler.load_persistence({"animal": "A", "plane": 1}).weights.size == 4


def test_a_number_is_found_by_one_listing_and_then_remembered():
    """That listing serves all series."""
    store, client = probed_bucket()
    handler = PickleHandler(Shuffle, store)
    for _ in range(3):
        handler.save_persistence(result_of(Shuffle, "A"))
    assert client.asked() == ["put create"] * 3  # a listing of nothing has no page
    fresh = PickleHandler(Shuffle, store)
    assert [fresh.save_persistence(result_of(Shuffle, "A")).run for _ in range(3)] == [3, 4, 5]
    assert client.asked() == ["list", *["put create"] * 3]
    assert [fresh.save_persistence(result_of(Shuffle, animal)).run for animal in "BBCC"] == [0, 1, 0, 1]
    assert client.asked() == ["list", *["put create"] * 4]


def test_loading_a_small_result_is_one_request():
    """By keys and by name. Loading many takes one request for each, and one for every 1,000 names."""
    store, client = probed_bucket()
    handler = PickleHandler(Map, store)
    handler.save_all(result_of(Map, "A", plane) for plane in range(20))
    client.asked()
    handler.load_persistence({"animal": "A", "plane": 7})
    handler.load_persistence("cache-Map-A-7.pkl")
    assert client.asked() == ["get", "get"]
    assert [result.plane for _, result in handler.load_all(animal="A", plane=missing)] == list(range(20))
    assert sorted(client.asked()) == ["get"] * 20 + ["list"]


def test_10_000_names_are_listed_by_10_requests():
    """A listing by prefix asks only for pages that have such names."""
    store, client = probed_bucket()
    for number in range(10_000):
        client.inner.put(f"cache-{'ABCDE'[number % 5]}-{number:05}.pkl", b"")
    assert len(list(store.names())) == 10_000
    assert client.asked() == ["list"] * 11  # one of them has the hidden object by which the server was tried
    assert len(list(store.names("cache-C-"))) == 2_000
    assert len(client.asked()) <= 4
    assert store.highest("cache-E-0999", ".pkl") == 9


def test_the_head_of_a_large_result_is_two_requests():
    """The end of the file holds the card, its start the keys; arrays are not read."""
    store, client = probed_bucket()
    handler = PickleHandler(Map, store)
    handler.save_persistence(result_of(Map, "A", 1, size=1_000_000))
    client.asked()
    fields = handler.find(animal="A").first().fields("plane", "weights")
    assert fields["plane"] == 1
    assert fields["weights"].shape == (1_000_000,)
    assert client.asked() == ["list", "get", "get"]


@pytest.mark.parametrize(
    ("size", "most"), [(10_000, 1), (20_000, 2), (45_000, 2), (100_000, 3), (900_000, 4), (5_000_000, 9)]
)
def test_loading_takes_few_requests_at_any_size(size, most):
    """From 80 kB to 40 MB."""
    store, client = probed_bucket()
    handler = PickleHandler(Map, store)
    handler.save_persistence(result_of(Map, "A", 1, size=size))
    client.asked()
    assert handler.load_persistence(Map("A", 1)).weights.size == size
    assert len(client.asked()) <= most


def test_verifying_and_showing_take_few_requests(monkeypatch):
    """A notebook does not ask for the size of each result."""
    store, client = probed_bucket()
    handler = PickleHandler(Map, store)
    handler.save_all(result_of(Map, "A", plane) for plane in range(40))
    client.asked()
    assert [found.problem for found in handler.verify()] == [None] * 40
    assert client.asked().count("get") == 80
    assert "40 found" in handler.find()._repr_html_()
    assert client.asked().count("head") == 10


@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler])
def test_a_large_result_is_read_by_few_large_ranges(kind):
    store, client = probed_bucket()
    handler = kind(Map, store)
    result = filled(Map("A", 1), weights=np.random.default_rng(1).normal(size=1_300_000))
    handler.save_persistence(result)
    client.asked()
    loaded = handler.load_persistence(Map("A", 1))
    assert np.array_equal(loaded.weights, result.weights)
    assert set(client.asked()) == {"get"}
    handler.load_persistence(Map("A", 1))
    assert len(client.asked()) <= 3 + result.weights.nbytes // PART_BYTES + 3
    assert [found.problem for found in handler.verify()] == [None]


def test_a_source_reads_any_ranges():
    """Small and large, forward and back, also where only a part is known already."""
    data = bytes(np.random.default_rng(2).integers(0, 256, 700_000, np.uint8))
    asked = []

    def fetch(begin, end):
        asked.append((begin, end))
        return data[begin:end]

    known = (600_000, data[600_000:])
    source = ObjectSource(len(data), known[1], known[0], fetch, None, None)
    rng = np.random.default_rng(3)
    for at, count in zip(rng.integers(0, 710_000, 200), rng.integers(0, 300_000, 200), strict=True):
        assert source.read_at(int(count), int(at)) == data[at : at + count]
    assert all(end <= 600_000 for _, end in asked)
    assert source.read() == data
    asked.clear()
    fresh = ObjectSource(len(data), b"", 0, fetch, None, None)
    with fresh.file() as file:
        assert file.read() == data
    assert len(asked) < 10


# ---------------------------------------------------------------------------------------------- lost answers and other writers


@pytest.mark.parametrize("fault", ["dropped", "unanswered", "doubled", exceptions.AlreadyExistsError("409 Conflict")])
def test_a_put_whose_answer_was_lost_has_won(fault):
    """Sent again, the server says that the name is taken, but the content there is its own."""
    store, client = probed_bucket()
    client.faults["put create"] = [fault]
    store.put("a", b"mine")
    assert content_of(store, "a") == b"mine"
    client.faults["put create"] = [fault]
    with pytest.raises(FileExistsError, match="there is a result already"):
        store.put("a", b"mine")  # equal content, but another save
    client.faults["put create"] = [fault]
    store.put("a", b"new", replace=lambda there: None)
    assert content_of(store, "a") == b"new"
    client.faults["put update"] = [fault]
    store.put("a", b"newer", replace=lambda there: None)
    assert content_of(store, "a") == b"newer"


def test_equal_results_of_two_writers_get_two_numbers():
    """Equal bytes don't mean that they are of the same save."""
    store, client = probed_bucket()
    numbers = []
    for _ in range(5):
        client.faults["put create"] = ["unanswered"]
        numbers.append(PickleHandler(Shuffle, store).save_persistence(result_of(Shuffle, "A")).run)
        client.faults["put create"] = ["doubled"]
        numbers.append(PickleHandler(Shuffle, store).save_persistence(result_of(Shuffle, "A")).run)
    assert numbers == list(range(10))


def test_replacing_reads_again_what_others_replaced_meanwhile():
    """A result of another writer is never replaced unseen."""
    store, client = probed_bucket()
    store.put("a", b"first")
    seen = []

    def look(there):
        seen.append(there.read())
        if len(seen) < 3:
            client.inner.put("a", b"theirs %d" % len(seen))

    store.put("a", b"mine", replace=look)
    assert seen == [b"first", b"theirs 1", b"theirs 2"]
    assert content_of(store, "a") == b"mine"

    def refuse(there):
        raise NameTakenError("Map", "a", {}, {})

    with pytest.raises(NameTakenError):
        store.put("a", b"no", replace=refuse)


def test_google_compares_generations(monkeypatch, capsys):
    """It replaces the generation that was read, and no other. What was listed is what a request for one object tells of."""
    server = Google()
    try:
        for name, value in server.environment(server.port).items():
            monkeypatch.setenv(name, value)
        store = ObjectStore("gs://bucket/prefix", retry_config=RETRY_AT_ONCE)
        other = ObjectStore("gs://bucket/prefix", retry_config=RETRY_AT_ONCE)
        handler = PickleHandler(Map, store)
        handler.save_persistence(result_of(Map, "A", 1))
        (name,) = store.names()
        content = content_of(store, name)
        seen = []

        def look(there):
            seen.append(there.read())
            if len(seen) == 1:
                other.put(name, content, replace=True)  # of one content, and another generation

        store.put(name, b"mine", replace=look)
        assert seen == [content, content]
        assert content_of(store, name) == b"mine"
        handler.save_persistence(result_of(Map, "A", 1, size=9))
        assert handler.load_persistence(Map("A", 1)).weights.shape == (9,)
        assert main(["rm", store.url, "--all", "-y"]) == 0
        assert capsys.readouterr().out == "removed 1 file\n"
        assert list(store.names()) == []
    finally:
        server.close()


def test_a_result_that_others_deleted_meanwhile_is_saved_as_new():
    store, client = probed_bucket()
    store.put("a", b"first")
    store.put("a", b"mine", replace=lambda there: client.inner.delete("a"))
    assert content_of(store, "a") == b"mine"


def test_a_large_result_that_is_replaced_while_it_is_read_is_read_again():
    """What is loaded is never a mixture of two results."""
    store, client = probed_bucket()
    handler = PickleHandler(Map, store)
    handler.save_persistence(result_of(Map, "A", 1, size=1_000_000))
    other = MemoryStore()
    PickleHandler(Map, other).save_persistence(result_of(Map, "A", 1, size=500_000))
    (name,) = other.names()
    get = client.get
    replaced = []

    def get_and_replace(asked, *, options=None):
        found = get(asked, options=options)
        if not replaced:
            replaced.append(client.inner.put(name, other.open(name).read()))
        return found

    client.get = get_and_replace
    assert handler.load_persistence(Map("A", 1)).weights.size == 500_000
    assert replaced


# ---------------------------------------------------------------------------------------------- several requests at a time


def test_requests_run_at_the_same_time():
    """As many as asked for: each waits here until the others have come."""
    store, client = probed_bucket(in_flight=8)
    barrier = threading.Barrier(8, timeout=30)
    put, get = client.put, client.get
    client.put = lambda *args, **more: (barrier.wait(), put(*args, **more))[1]
    client.get = lambda *args, **more: (barrier.wait(), get(*args, **more))[1]
    handler = PickleHandler(Map, store)
    assert handler.save_all(result_of(Map, "A", plane) for plane in range(32)) == 32
    assert len(list(handler.load_all(animal="A", plane=missing))) == 32
    assert handler.find(animal="A").stack("weights").shape == (32, 5)


def test_names_are_looked_at_at_the_same_time():
    """Those that a result may have: as a number or a text, in each format."""
    store, client = probed_bucket(in_flight=4)
    barrier = threading.Barrier(4, timeout=30)
    head = client.head
    client.head = lambda name: (barrier.wait(), head(name))[1]
    store.put("c", b"1")
    store.put("a", b"1")
    assert store.which(["a", "b", "c", "d"]) == ["a", "c"]


def test_puts_of_one_name_stay_in_order():
    """The last one stays."""
    store, _ = probed_bucket()
    puts = [Put(f"n{number % 3}", b"%d" % number, lambda there: None) for number in range(100)]
    assert store.put_many(puts) == [None] * 100
    assert [content_of(store, name) for name in ("n0", "n1", "n2")] == [b"99", b"97", b"98"]


def test_reading_ahead_is_bounded_by_memory():
    """At most 256 MiB are read in advance; small results don't count."""
    started = []
    done = read_ahead(32, started.append, range(100), lambda item: 100 << 20)
    for item, load in done:
        load(item)
        assert max(started) <= item + 3
    done = read_ahead(4, started.append, range(100), lambda item: 0)
    next(done)
    done.close()
    store, client = probed_bucket()
    client.inner.put("large", bytes(2_000_000))
    client.inner.put("small", bytes(2_000))
    list(store.names())
    assert list(store.names("sm")) == ["small"]  # as where a number is looked for while others are read
    several = SeveralStores([MemoryStore(), store])
    client.asked()
    for place in (store, several):
        assert (place.weight("large"), place.weight("small")) == (8_000_000, 0)
    assert client.asked() == [], "a request for each result, one after the other"
    client.inner.delete("large")
    list(store.names())
    assert store.weight("large") == 0


def test_a_failed_batch_says_how_many_were_saved():
    """Requests in flight are waited for. Saved results have a number, the others have none."""
    store, client = probed_bucket(in_flight=1)
    results = [result_of(Shuffle, "A") for _ in range(20)]
    client.faults["put create"] = [None] * 7 + [exceptions.PermissionDeniedError("403")]
    with pytest.raises(PermissionError, match="check the credentials") as caught:
        PickleHandler(Shuffle, store).save_all(results)
    assert [result.run for result in results] == [*range(7), *[None] * 13]
    assert "7 results of the batch were saved" in caught.value.__notes__[0]
    assert len([name for name in store.names() if "Shuffle" in name]) == 7


def test_an_interrupted_batch_knows_what_was_saved(monkeypatch):
    """Also of what was under way: a result without its number would be saved again, under another one."""
    store, client = probed_bucket(in_flight=2)
    begun, put = threading.Semaphore(0), client.put

    def interrupted(*arguments):
        for turn, (item, wait_for) in enumerate(read_ahead(*arguments)):
            yield item, wait_for if turn == 0 else interrupt

    def interrupt(_item):
        for _ in range(3):  # the first result, and two more
            assert begun.acquire(timeout=30)
        raise KeyboardInterrupt

    client.put = lambda *args, **more: (begun.release(), put(*args, **more))[1]
    monkeypatch.setattr(objects, "read_ahead", interrupted)
    results = [result_of(Shuffle, "A") for _ in range(20)]
    with pytest.raises(KeyboardInterrupt) as caught:
        PickleHandler(Shuffle, store).save_all(results)
    numbers = [result.run for result in results if result.run is not None]
    assert {f"cache-Shuffle-A-#{number}.pkl" for number in numbers} == set(store.names())
    assert len(numbers) >= 3
    assert caught.value.__notes__ == [f"{len(numbers)} results of the batch were saved before this one"]


def test_a_batch_ends_at_a_name_that_is_taken():
    """What comes after it is not tried, and does not count as a number that others took."""
    store, client = probed_bucket(in_flight=1)
    handler = PickleHandler(Shuffle, store)
    other = MemoryStore()
    PickleHandler(Shuffle, other).save_persistence(result_of(Shuffle, "B"))
    client.inner.put("cache-Shuffle-A-#7.pkl", content_of(other, "cache-Shuffle-B-#0.pkl"))
    taken = filled(Shuffle("A"), run=7, weights=np.ones(3))
    results = [result_of(Shuffle, "C"), taken, result_of(Shuffle, "C"), result_of(Shuffle, "C")]
    with pytest.raises(NameTakenError):
        handler.save_all(results)
    assert [result.run for result in results] == [0, 7, None, None]
    assert [name for name in store.names() if "-C-" in name] == ["cache-Shuffle-C-#0.pkl"]


def test_a_batch_replaces_numbers_that_others_took():
    """Each result has a number of its own, whoever saves meanwhile."""
    store, _ = probed_bucket()
    handler = PickleHandler(Shuffle, store)
    handler.save_persistence(result_of(Shuffle, "A"))
    PickleHandler(Shuffle, store).save_all(result_of(Shuffle, "A") for _ in range(10))
    results = [result_of(Shuffle, "A") for _ in range(20)]
    assert handler.save_all(results) == 20
    assert sorted(result.run for result in results) == list(range(11, 31))


# ---------------------------------------------------------------------------------------------- commands


@pytest.fixture
def at_url(monkeypatch):
    """Return a bucket that is found by its URL, and its client."""
    store, client = probed_bucket()
    monkeypatch.setattr("neuralib.persistence._stores.paths._object_store_at", {store.url: store}.__getitem__)
    return store, client


def run_command(capsys, *words):
    """Return the exit status and the output of a command."""
    status = main(list(words))
    return status, "".join(capsys.readouterr())


def test_a_result_is_loaded_by_its_url(at_url):
    """By any handler of its class, whatever its own store is."""
    store, _ = at_url
    handler = PickleHandler(Map, store)
    handler.save_persistence(result_of(Map, "A", 1))
    (name,) = handler.find().paths
    url = store.location(str(name))
    assert url == "s3://bucket/results/cache-Map-A-1.pkl"
    assert handler.load_persistence(url).plane == 1
    assert PickleHandler(Map, "elsewhere").load_persistence(url).plane == 1


class MapOptions(PersistenceOptions[Map]):
    """Counts its computations."""

    computed = 0

    def empty_cache(self):
        return Map("A", 1)

    def compute_cache(self, result):
        self.computed += 1
        return filled(result, weights=np.ones(3))


def test_options_take_urls(at_url):
    """Each result is computed once."""
    store, _ = at_url
    options = MapOptions()
    for _ in range(2):
        assert options.load_cache(dest=store.url).plane == 1
    assert options.computed == 1
    with ThreadPoolExecutor(4) as pool:
        report = options.compute_missing({"animal": ["A"], "plane": range(4)}, pool, progress=False, dest=store.url)
    assert report.saved == 3
    assert sorted(store.names()) == [f"cache-Map-A-{plane}.pkl" for plane in range(4)]


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_an_executor_that_forks_is_refused(at_url):
    """Its processes would wait for threads that don't exist there. The error says what to use."""
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool,
        pytest.raises(ValueError, match="get_context.'spawn'"),
    ):
        MapOptions().compute_missing({"animal": ["A"], "plane": range(4)}, pool, progress=False, dest=at_url[0].url)


def test_deleting_checks_each_result_first(at_url):
    """It takes five requests, since the result may be a new one of another writer."""
    store, client = at_url
    handler = PickleHandler(Map, store)
    handler.save_persistence(result_of(Map, "A", 1))
    found = handler.find()
    assert len(found) == 1
    client.asked()
    found.delete(dry_run=False)
    assert sorted(client.asked()) == ["delete", "get", "head", "head", "head"]


def test_commands_take_urls(at_url, capsys):
    """URLs of buckets, of prefixes in them, and of single results."""
    store, _ = at_url
    PickleHandler(Map, store).save_all(result_of(Map, animal, plane) for animal in "AB" for plane in range(3))
    url = store.url
    status, text = run_command(capsys, "ls", url)
    assert status == 0
    assert text.count("cache-Map-") == 6
    status, text = run_command(capsys, "ls", url, "animal=B", "--json")
    assert [entry["keys"] for entry in json.loads(text)] == [{"animal": "B", "plane": plane} for plane in range(3)]
    status, text = run_command(capsys, "show", f"{url}/cache-Map-A-1.pkl")
    assert (status, "float64" in text) == (0, True)
    status, text = run_command(capsys, "verify", url)
    assert (status, "6" in text) == (0, True)
    assert run_command(capsys, "du", url)[0] == 0
    assert run_command(capsys, "diff", f"{url}/cache-Map-A-1.pkl", f"{url}/cache-Map-A-2.pkl")[0] == 1
    assert run_command(capsys, "rm", "--yes", url, "animal=A")[0] == 0
    assert sorted(store.names()) == [f"cache-Map-B-{plane}.pkl" for plane in range(3)]
    assert run_command(capsys, "convert", "--to", "gzip", f"{url}/cache-Map-B-0.pkl")[0] == 0
    assert store.has("cache-Map-B-0.pkl.gz")
    status, text = run_command(capsys, "show", url)
    assert (status, f"{url} is a bucket" in text) == (2, True)


def test_listing_names_reads_a_few_heads(at_url, capsys):
    """Sizes come with the names; a sample of the results tells how to read their names."""
    store, client = at_url
    PickleHandler(Map, store).save_all(result_of(Map, "A", plane) for plane in range(300))
    client.asked()
    assert run_command(capsys, "ls", store.url)[0] == 0
    asked = client.asked()
    assert (asked.count("head"), asked.count("list")) == (0, 1)
    assert asked.count("get") < 60


# ---------------------------------------------------------------------------------------------- errors of the network and the server


def test_lost_requests_are_sent_again_a_few_times():
    """The error says how often and for how long, and what was being done."""
    store, client = probed_bucket()
    store.put("a", b"1")
    client.faults = {"get": ["dropped"] * 4, "head": ["dropped"] * 4}
    assert content_of(store, "a") == b"1"
    assert store.stat("a").size_bytes == 1
    client.faults = {"get": ["dropped"] * 5}
    with pytest.raises(OSError, match=r"error sending request \(5 attempts in .* s\), while reading") as caught:
        store.open("a")
    assert caught.value.filename == "s3://bucket/results/a"
    client.faults = {"put create": ["dropped"] * 9}
    with pytest.raises(OSError, match=r"attempts in .* while saving"):
        store.put("b", b"1")
    assert not store.has("b")


def test_each_failure_of_a_put_counts_as_one_attempt():
    """Also where it is to replace what is there, which is looked at again after each failure."""
    store, client = probed_bucket()  # with four retries
    store.put("a", b"1")
    client.faults = {"put update": [exceptions.GenericError("status code: 503 Slow Down")] * 4}
    store.put("a", b"2", replace=lambda there: None)
    assert content_of(store, "a") == b"2"


def test_repeated_requests_leave_the_global_random_numbers_alone():
    """A program with a seed gets the same numbers, however often requests are lost."""
    store, client = probed_bucket()
    before = random.getstate()
    client.faults = {"put create": ["dropped"] * 3, "get": ["dropped"] * 3}
    store.put("a", b"1")
    assert content_of(store, "a") == b"1"
    assert client.asked().count("put create") > 1, "no request was repeated"
    assert random.getstate() == before


def test_a_listing_that_stops_is_an_error():
    """Else half of the names would pass for all of them."""
    store, client = probed_bucket()
    for number in range(3000):
        client.inner.put(f"n{number:04}", b"")
    client.faults["list"] = [None, None, lost_answer()]
    with pytest.raises(OSError, match="listing the names, after 2,000"):
        store.names()


def listed(pages):
    """Return a store whose server lists *pages* of names."""
    _, client = probed_bucket()
    meta = {"size": 1, "e_tag": None, "last_modified": datetime(2024, 1, 1, tzinfo=timezone.utc)}
    client.list = lambda **_: ([{**meta, "path": name} for name in names] for names in pages)
    return ObjectStore(client)


def test_names_are_listed_once_and_the_prefix_is_none():
    """Some tools make an object for a prefix; some servers list a name twice, or one that is too long to ask for."""
    assert listed([["", "a", "a", "b"], ["b", "c/d", ".e", "e", "f" * 100_000]]).names() == ["a", "b", "e"]


def test_a_listing_ends(monkeypatch):
    """A server that begins again and again, or finds ever more names, gets no further requests."""
    with pytest.raises(OSError, match="the same names again and again, while listing the names, after 4"):
        listed(itertools.repeat(["a", "b"])).names("c")
    monkeypatch.setattr(objects, "_MOST_LISTED_BYTES", 10_000)
    with pytest.raises(OSError, match="more names than can be listed"):
        listed([f"x/{number}"] for number in itertools.count()).names()


def test_an_answer_that_makes_no_sense_is_an_error_that_can_be_shown():
    """It may have a time that no calendar has, or a name that obstore refuses, which can contain any character."""
    store, client = probed_bucket()
    client.faults["list"] = [ValueError("year 262000 is out of range"), exceptions.InvalidPathError("of \x1b[31m")]
    client.inner.put("a", b"")
    with pytest.raises(OSError, match="answer can't be read: year 262000"):
        store.names()
    with pytest.raises(OSError, match=r"with such a name: of \\x1b\[31m; rename or delete it, .*, while listing"):
        store.names()


class Lying:
    """An answer to a request, of which some is not as it is."""

    def __init__(self, found, sent=None, **meta):
        self.range, self.attributes, self.meta = found.range, found.attributes, {**found.meta, **meta}
        self.stream = found.stream if sent is None else lambda **_: sent


def test_no_more_is_read_than_is_asked_for():
    """A server may send without end."""
    store, client = probed_bucket()
    store.put("a", b"12345")
    get = client.get
    client.get = lambda name, *, options=None: Lying(get(name, options=options), itertools.repeat(b"123456"))
    with store.open("a") as source:
        assert (source.size, source.read()) == (5, b"12345")


@pytest.mark.parametrize("later", [{"e_tag": None}, {"e_tag": "other"}, {"size": 1_000_001}])
def test_parts_of_two_contents_are_not_put_together(later):
    """The ETags of all parts are compared, since a server may not know If-Match."""
    store, client = probed_bucket()
    store.put("a", bytes(1_000_000))
    get = client.get
    with store.open("a") as source:
        client.get = lambda name, *, options=None: Lying(get(name, options=options), **later)
        with pytest.raises(OSError, match="it was replaced meanwhile") as caught:
            source.read()
    assert caught.value.errno == errno.ESTALE


def test_a_content_that_was_replaced_is_asked_for_once():
    """It does not come back: waiting for it would take most of a minute before the new content is read."""
    store, client = probed_bucket()
    store.put("a", bytes(1_000_000))
    with store.open("a") as source:
        client.inner.put("a", bytes(1_000_001))
        client.asked()
        with pytest.raises(OSError, match="it was replaced meanwhile") as caught:
            source.read()
    assert (caught.value.errno, client.asked()) == (errno.ESTALE, ["get"])


def test_replacing_ends_where_the_server_cannot_tell_what_it_has():
    """Without ETags, or with another one each time."""
    store, client = probed_bucket()
    store.put("a", b"first")
    get = client.get
    client.get = lambda name, *, options=None: Lying(get(name, options=options), e_tag=None)
    with pytest.raises(UnconditionalStoreError, match="it gives no ETag"):
        store.put("a", b"second", replace=lambda there: None)
    numbers = itertools.count(100)
    client.get = lambda name, *, options=None: Lying(get(name, options=options), e_tag=f'"{next(numbers)}"')
    with pytest.raises(OSError, match=r"it was replaced meanwhile \(5 attempts"):
        store.put("a", b"second", replace=lambda there: None)
    client.get = get
    assert content_of(store, "a") == b"first"


def test_a_number_of_thousands_of_digits_is_no_number():
    """Python refuses to read it."""
    store, client = probed_bucket()
    for number in ("7", "9" * 18, "9" * 5000):
        client.inner.put(f"a{number}.pkl", b"")
    assert store.highest("a", ".pkl") == 10**18 - 1


def test_names_that_no_object_can_have_are_not_there():
    """They are refused before the server is asked: by obstore, or since objects below a slash belong to others."""
    store, client = probed_bucket()
    store.put("a", b"1")
    client.inner.put("results/sub/theirs", b"2")
    client.inner.put("sub/theirs", b"2")
    for name in ("a\udcff", "nul\0", "..", "sub/theirs", "", "/a"):
        with pytest.raises(
            OSError, match="an object can't have such a name, while saving|takes no such name"
        ) as caught:
            store.put(name, b"1", replace=True)
        assert caught.value.errno == errno.EINVAL
        with pytest.raises(FileNotFoundError, match="an object can't have such a name"):
            store.open(name)
        for verb in (store.stat, store.delete):
            with pytest.raises(FileNotFoundError):
                verb(name)
        assert not store.has(name)
        assert store.which([name, "a"]) == ["a"]
        assert name not in list(store.names(name))


def test_a_lasting_error_is_raised_at_once():
    """Refused credentials, a missing bucket, a name that no object can have."""
    store, client = probed_bucket()
    for error, kind in (
        (exceptions.PermissionDeniedError("status code: 403 Forbidden: x"), PermissionError),
        (exceptions.UnauthenticatedError("status code: 401 Unauthorized"), PermissionError),
        (FileNotFoundError("status code: 404 Not Found: <Code>NoSuchBucket</Code>"), FileNotFoundError),
        (exceptions.GenericError("Error performing PUT - status code: 400 Bad Request: <Code>X</Code>"), OSError),
    ):
        client.faults = {"put create": [error], "get": [error]}
        client.asked()
        with pytest.raises(kind):
            store.put("a", b"1")
        assert client.asked() == ["put create"]
        with pytest.raises(kind):
            store.open("a")
    listing = (
        "Generic S3 error: Error performing list request: Error performing GET http://host/b in 1ms - status code: "
    )
    for status in ("401 Unauthorized", "403 Forbidden: <Code>AccessDenied</Code>"):
        client.faults = {"list": [exceptions.GenericError(listing + status)]}
        with pytest.raises(PermissionError, match="check the credentials and what they allow, while listing the names"):
            list(store.names())
    with pytest.raises(OSError, match="an object can't have such a name") as caught:
        store.put("tab\tin it", b"1")
    assert caught.value.errno == errno.EINVAL


# ---------------------------------------------------------------------------------------------- servers without conditions


class UnconditionalClient(S3Store):
    """A client of a server that ignores conditions."""

    ignored = ("create", "update")

    def put(self, name, data, *, mode="overwrite", attributes=None, use_multipart=None):
        kind = mode if isinstance(mode, str) else "update"
        return super().put(name, data, mode="overwrite" if kind in self.ignored else mode, attributes=attributes)


def test_saving_to_a_server_that_ignores_conditions_is_refused():
    """Two writers could get the same number there. Loading works. The server is tried once."""
    store, conditional_client = probed_bucket()
    PickleHandler(Map, store).save_persistence(result_of(Map, "A", 1))
    client = UnconditionalClient()
    client.inner = conditional_client.inner
    conditional_client.inner.delete(".neuralib-persistence-check")
    handler = PickleHandler(Map, ObjectStore(client))
    for _ in range(2):
        with pytest.raises(UnconditionalStoreError, match="If-None-Match.*Loading works"):
            handler.save_persistence(result_of(Map, "A", 2))
        with pytest.raises(UnconditionalStoreError):
            PickleHandler(Shuffle, handler.store).save_persistence(result_of(Shuffle, "A"))
    assert [verb for verb in client.asked() if verb != "list"] == ["put overwrite"] * 2
    assert handler.load_persistence(Map("A", 1)).weights.size == 5
    assert len(handler.find()) == 1
    handler.save_persistence(result_of(Map, "A", 1), "by-name.pkl")  # replaces whatever is there, as asked for


def test_a_server_without_if_match_takes_new_results_only():
    """Replacing is refused."""
    client = UnconditionalClient()
    client.ignored = ("update",)
    handler = PickleHandler(Map, ObjectStore(client))
    handler.save_persistence(result_of(Map, "A", 1))
    with pytest.raises(UnconditionalStoreError, match="If-Match"):
        handler.save_persistence(result_of(Map, "A", 1))


def test_a_server_that_answers_501_has_no_conditions(tmp_path):
    """obstore's own folders have none either."""
    store, client = bucket()
    client.faults["put create"] = [exceptions.GenericError("status code: 501 Not Implemented")]
    with pytest.raises(UnconditionalStoreError, match="no puts with a condition"):
        store.put("a", b"1")
    local = ObjectStore(obstore.store.LocalStore(str(tmp_path)))
    with pytest.raises((UnconditionalStoreError, OSError)):
        local.put("a", b"1", replace=lambda there: None)
        local.put("a", b"2", replace=lambda there: None)


# ---------------------------------------------------------------------------------------------- credentials


def test_credentials_are_never_shown():
    """Not by the store's repr, URL or pickle, nor by its errors."""
    store = ObjectStore("s3://bucket/p", secret_access_key="SECRET", access_key_id="ID", region="eu-central-1")
    assert repr(store) == "ObjectStore('s3://bucket/p')"
    assert store.url == "s3://bucket/p"
    assert "SECRET" not in store.location("a") + repr(PickleHandler(Map, store).store)
    with pytest.raises(TypeError, match=r"secret_access_key.*environment") as caught:
        pickle.dumps(store)
    assert "SECRET" not in str(caught.value)
    assert copy.copy(store) is copy.deepcopy(store) is store
    for url in ("//host/bucket/a?X-Amz-Signature=SECRET", "//user:SECRET@host/bucket/a"):
        failed = as_os_error(
            exceptions.GenericError(f"PUT http:{url} in 3s - HTTP error: sent"), "saving", "s3://bucket/a"
        )
        assert failed.strerror == "PUT http://host/bucket/a in 3s - HTTP error: sent, while saving"
    denied = exceptions.PermissionDeniedError(
        "status code: 403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code><Message>wrong</Message>"
        "<AWSAccessKeyId>SECRET</AWSAccessKeyId></Error>"
    )
    assert "SECRET" not in str(as_os_error(denied, "saving", "a"))
    assert "SignatureDoesNotMatch: wrong" in str(as_os_error(denied, "saving", "a"))


@pytest.mark.parametrize(
    "options",
    [
        {"config": {"secret_access_key": "SECRET", "access_key_id": "ID"}},
        {"access_key_id": "ID", "secret_access_key": "SECRET", "session_token": "SECRET"},
        {"client_options": {"default_headers": {"Authorization": "SECRET"}}},
    ],
)
def test_no_option_with_a_credential_is_pickled(options):
    """However it was given."""
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(ObjectStore("s3://bucket/p", region="eu-central-1", **options))
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(ObjectStore(obstore.store.S3Store("bucket", region="eu-central-1", **options)))


def provide():
    return {"access_key_id": "ID", "secret_access_key": "SECRET", "token": None, "expires_at": None}


def test_a_pickled_store_holds_its_options_and_nothing_from_the_environment(monkeypatch):
    """Credentials are looked up anew where it is loaded."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRET")
    store = ObjectStore("s3://bucket/p/", in_flight=5, region="eu-central-1", credential_provider=provide)
    data = pickle.dumps(PickleHandler(Map, store))
    assert b"SECRET" not in data
    copied = pickle.loads(data).store
    assert (copied.url, copied.in_flight) == ("s3://bucket/p", 5)
    assert copied._bucket.client.config["region"] == "eu-central-1"


def test_a_url_gives_one_store_for_each_environment(monkeypatch):
    """So connections are kept."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_NAME"):
        monkeypatch.setenv(name, "name")
    for url in ("s3://bucket/results", "gs://bucket/results", "az://container/results", "s3://bucket"):
        store = PickleHandler(Map, url).store
        assert isinstance(store, ObjectStore)
        assert store.url == url
        assert PickleHandler(Shuffle, url).store is store
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    assert PickleHandler(Map, "s3://bucket").store is not store


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("s3://user:SECRET@bucket/p", "password"),
        ("s3://bucket/p?token=SECRET", r"'\?'"),
        ("results", "expected a URL"),
    ],
)
def test_places_that_are_no_plain_urls_are_refused(place, problem):
    """The error does not repeat them, since they may contain a password."""
    with pytest.raises(ValueError, match=problem) as caught:
        ObjectStore(place)
    assert "SECRET" not in str(caught.value)


def test_large_uploads_get_a_longer_timeout(monkeypatch):
    """The environment still counts, although obstore ignores it once it is given such options."""
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    made = []
    store = ObjectStore("s3://bucket/p", region="eu-central-1", access_key_id="ID", secret_access_key="SECRET")
    store._bucket._make = lambda **options: made.append(options)
    for size in (0, 1_000, 1 << 30, 1 << 30):
        store._bucket._clients.clear()
        store._bucket.client_for(size)
    assert [options.get("client_options") for options in made[:2]] == [None, None]
    assert made[2]["client_options"] == {"timeout": "7680s", "allow_http": "true"}
    assert all(options["retry_config"]["max_retries"] == 0 for options in made)


def test_wrong_options_are_refused_at_once():
    """Not only when the first result is computed."""
    with pytest.raises(ValueError, match="in_flight"):
        ObjectStore("s3://bucket/p", in_flight=0)
    with pytest.raises(ValueError, match="region to the store of obstore"):
        ObjectStore(S3Store(), region="eu-central-1", retry_config=RETRY_AT_ONCE)
    with pytest.raises(ValueError, match="'colour' is not valid.*obstore.store.from_url"):
        ObjectStore("s3://bucket/p", colour="red")


def test_the_error_without_obstore_names_the_extra():
    code = """
import sys
sys.modules["obstore"] = None
from neuralib.persistence import PickleHandler, field, persistence_class
@persistence_class
class Map:
    animal: str = field(filename=True)
try:
    PickleHandler(Map, "s3://bucket/results")
except ImportError as error:
    print(error)
"""
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert 'pip install "neuralib-persistence[cloud]"' in output
