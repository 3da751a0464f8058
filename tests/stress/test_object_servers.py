"""Object stores on servers: moto, which answers like S3, azurite, which answers like Azure, and one that answers like Google.

The last is part of the tests. All of them are used over a bad network too.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import socket
import subprocess
import sys
import uuid
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("obstore", reason="needs the extra cloud")

from google_server import Google  # noqa: E402
from stress.bucket_writers import (  # noqa: E402
    QUICK,
    Map,
    MapOptions,
    Shuffle,
    compute_with_claims,
    number_found,
    save_numbered,
    shuffle,
)
from stress.servers import BUCKET, Azurite, Moto, Proxy, azurite  # noqa: E402

from neuralib.persistence import PickleHandler, missing  # noqa: E402
from neuralib.persistence._commands.entry import main  # noqa: E402
from neuralib.persistence._computing.claims import Claims  # noqa: E402
from neuralib.persistence._stores.base import LEFTOVER_PREFIX  # noqa: E402
from neuralib.persistence.stores import ObjectStore  # noqa: E402
from neuralib.persistence.testing import check_store  # noqa: E402

WRITERS = 4


@pytest.fixture(scope="module", params=[Moto, Azurite, Google], ids=["s3", "azure", "google"])
def server(request):
    if request.param is Moto:
        pytest.importorskip("moto.server", reason="needs moto[server]")
    elif request.param is Azurite and azurite() is None:
        pytest.skip("needs azurite-blob on the path, or in the folder AZURITE_BIN: npm install azurite")
    made = request.param()
    yield made
    made.close()


@pytest.fixture
def through(server, monkeypatch):
    """A function that starts a proxy before the server with faults, and returns it and the URL of a new bucket."""
    proxies = []

    def make(**faults):
        proxy = Proxy(server.port, **faults)
        proxies.append(proxy)
        for name, value in server.environment(proxy.port).items():
            monkeypatch.setenv(name, value)
        return proxy, f"{server.scheme}://{BUCKET}/{uuid.uuid4().hex}"

    yield make
    for proxy in proxies:
        proxy.close()


def spawned(count):
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))


def test_the_contract_on_a_server(through):
    """All methods, races of threads, and a handler's whole work."""
    through()
    places = iter(range(100))
    _, url = through()
    check_store(lambda: ObjectStore(f"{url}-{next(places)}", retry_config=QUICK))


@pytest.mark.parametrize(
    "faults",
    [
        {},
        {"dropped": 0.1, "unanswered": 0.1, "doubled": 0.1, "delayed": 0.05},
    ],
    ids=["good", "bad"],
)
def test_four_processes_share_no_number(through, long, faults):
    """Whatever requests and answers get lost: as many results as were saved, each under its own number."""
    proxy, url = through(**faults)
    count, batch = (60, 20) if long else (10, 4)
    with spawned(WRITERS) as pool:
        saving = [pool.submit(save_numbered, url, f"writer {n}", count, batch) for n in range(WRITERS)]
        numbers = [number for save in saving for number in save.result()]
    assert sorted(numbers) == list(range(WRITERS * count)), Counter(numbers).most_common(3)
    handler = PickleHandler(Shuffle, ObjectStore(url, retry_config=QUICK))
    assert [result.run for _, result in handler.load_all(animal="A", run=missing)] == list(range(WRITERS * count))
    assert all(proxy.counts[kind] for kind in faults), "no fault came to pass"


def test_replacing_under_faults_never_loses_the_last_one(through):
    """The object is whole, and is the one that was saved last. Results of other keys stay."""
    _, url = through(dropped=0.1, unanswered=0.15, doubled=0.15)
    handler = PickleHandler(Map, ObjectStore(url, retry_config=QUICK))
    for value in range(15):
        result = Map("A", value % 3)
        result.weights = np.full(4, float(value))
        handler.save_persistence(result)
        assert handler.load_persistence({"animal": "A", "plane": value % 3}).weights[0] == value
    assert len(handler.find()) == 3


def test_large_results_by_ranges(through):
    """Through a network that loses answers. The head is read without the array."""
    _, url = through(unanswered=0.05, dropped=0.05)
    handler = PickleHandler(Map, ObjectStore(url, retry_config=QUICK))
    result = Map("A", 1)
    result.weights = np.random.default_rng(0).normal(size=2_500_000)
    handler.save_persistence(result)
    assert handler.find().first().fields("weights")["weights"].shape == (2_500_000,)
    assert np.array_equal(handler.load_persistence(Map("A", 1)).weights, result.weights)
    assert [found.problem for found in handler.verify()] == [None]


def test_requests_that_reach_a_server(through, long):
    """One for a save, one for a load, one for 1,000 names: no more than the documentation says."""
    proxy, url = through()
    handler = PickleHandler(Shuffle, ObjectStore(url))
    handler.save_persistence(shuffle("a"))
    proxy.counts.clear()
    for _ in range(5):
        handler.save_persistence(shuffle("a"))
    assert proxy.counts == {"PUT": 5}
    proxy.counts.clear()
    handler.load_persistence({"animal": "A", "run": 3})
    assert proxy.counts == {"GET": 1}
    many = 1_100 if long else 50
    handler.save_all(shuffle("a", "B") for _ in range(many))
    proxy.counts.clear()
    fresh = ObjectStore(url)
    assert len(list(fresh.names())) == many + 6
    assert proxy.counts == {"GET": 2 if long else 1}
    proxy.counts.clear()
    assert len(list(fresh.names("cache-BucketShuffle-A-"))) == 6
    assert proxy.counts["GET"] <= 2


def test_missing_results_are_computed_by_processes(through):
    """Without a shared disk: each process saves what it computed. Failures are reported; the next call finds nothing to do."""
    _, url = through(unanswered=0.03)
    options = MapOptions()
    with spawned(2) as pool:
        report = options.compute_missing({"animal": ["A", "B"], "plane": range(10, 16)}, pool, progress=False, dest=url)
    assert report.saved == 10
    assert [failure.keys["plane"] for failure in report] == [13, 13]
    handler = PickleHandler(Map, url)
    assert {hit.keys["plane"] for hit in handler.find(animal="B")} == {10, 11, 12, 14, 15}
    with ThreadPoolExecutor(4) as pool:
        again = options.compute_missing({"animal": ["A"], "plane": [10, 11, 12]}, pool, progress=False, dest=url)
    assert (again.saved, len(again)) == (0, 0)


def test_batches_share_a_bucket_by_claims(through, tmp_path, long):
    """Each result is computed by one batch. A batch that died does not block its results."""
    _, url = through(unanswered=0.03, dropped=0.03)
    planes = range(20, 100 if long else 40)
    handler = PickleHandler(Map, ObjectStore(url, retry_config=QUICK))
    dead = Claims("a batch that died")
    dead._content = json.dumps({"batch": "dead", "host": socket.gethostname(), "pid": ended_process()}).encode()
    places = [handler._keeper.place_of(Map("A", plane)) for plane in planes[:3]]
    assert all(dead.take(*place) for place in places)
    for place in places:
        dead.leave(*place)  # a dead batch renews nothing
    with spawned(3) as pool:
        batches = [pool.submit(compute_with_claims, url, tmp_path, planes) for _ in range(3)]
        saved = [batch.result()[0] for batch in batches]
    computed = sorted(int(path.name.partition("-")[0]) for path in tmp_path.iterdir())
    assert computed == list(planes)
    assert sum(saved) == len(planes)
    assert len(handler.find()) == len(planes)
    assert list(handler._keeper.store.names(LEFTOVER_PREFIX)) == []


def ended_process():
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_a_network_failure_reports_what_was_saved(through):
    """The next call goes on from there."""
    proxy, url = through()
    few = {**QUICK, "max_retries": 2}
    store = ObjectStore(url, retry_config=few, in_flight=4)
    store.group_size = lambda: 40
    handler = PickleHandler(Shuffle, store)
    handler.save_persistence(shuffle("a"))
    results = [shuffle("a") for _ in range(120)]

    def until_it_stops():
        for number, result in enumerate(results):
            if number == 60:
                proxy.stopped = True
            yield result

    with pytest.raises(OSError, match=r"attempts in .* while saving") as caught:
        handler.save_all(until_it_stops())
    saved = sum(result.run is not None for result in results)
    assert 40 <= saved < 120
    assert caught.value.__notes__ == [f"{saved} results of the batch were saved before this one"]
    with pytest.raises(OSError, match="while listing the names"):
        handler.find(animal="A").first()
    proxy.stopped = False
    assert handler.save_all(result for result in results if result.run is None) == 120 - saved
    assert sorted(result.run for result in results) == list(range(1, 121))


def test_a_pickle_finds_credentials_where_it_is_loaded(through):
    """A handler is unpickled in another process with another environment: the pickle holds no credentials."""
    _, url = through()
    handler = PickleHandler(Map, ObjectStore(url, retry_config=QUICK))
    result = Map("A", 1)
    result.weights = np.ones(3)
    handler.save_persistence(result)
    data = pickle.dumps(handler)
    for name, value in os.environ.items():
        if "KEY" in name and name.startswith(("AWS_", "AZURE_")):
            assert value.encode() not in data
    code = "import sys, pickle; print(len(pickle.load(sys.stdin.buffer).find()))"
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True, env=environment())
    assert done.stdout.strip() == b"1"


def environment():
    """Return the environment in which another process can import the classes here."""
    return {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}


def test_what_was_listed_is_removed_by_the_command(through, capsys):
    """A listing may tell a time more exactly than the answer to a request for one object: neither was replaced."""
    _, url = through()
    handler = PickleHandler(Shuffle, ObjectStore(url, retry_config=QUICK))
    handler.save_all(shuffle("a") for _ in range(5))
    assert main(["rm", url, "run=1", "run=3", "--yes"]) == 0
    assert capsys.readouterr().out == "removed 2 files\n"
    assert [hit.keys["run"] for hit in handler.find()] == [0, 2, 4]


def test_use_in_a_forked_process_is_an_error(through):
    """It would wait for ever for threads that a fork does not copy."""
    _, url = through()
    handler = PickleHandler(Map, ObjectStore(url, retry_config=QUICK))
    assert len(handler.find()) == 0
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system does not fork")
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool,
        pytest.raises(RuntimeError, match="spawn"),
    ):
        pool.submit(number_found, handler).result(timeout=60)
