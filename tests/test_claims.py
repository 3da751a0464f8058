"""Batches that run at the same time don't compute the same results, and the claims of dead ones are taken over."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from batches import Draw, DrawOptions, Fit, FitOptions, YieldingOptions

from neuralib.persistence import PickleHandler
from neuralib.persistence._commands.entry import main
from neuralib.persistence._computing import claims as claims_module
from neuralib.persistence._computing.claims import STALE_S, Claims, claim_name
from neuralib.persistence._stores.base import LEFTOVER_PREFIX, listed
from neuralib.persistence._stores.folder import STALE_AFTER_S
from neuralib.persistence._stores.paths import store_at
from neuralib.persistence.stores import ArchiveStore, FolderStore, MemoryStore


def bucket_store():
    pytest.importorskip("obstore", reason="needs the extra cloud")
    from buckets import probed_bucket

    return probed_bucket()[0]


STORES = {
    "folder": FolderStore,
    "archive": lambda path: ArchiveStore(path.with_suffix(".sqlar")),
    "memory": lambda path: MemoryStore(),
    "bucket": lambda path: bucket_store(),
}


@pytest.fixture(params=STORES)
def store(request, tmp_path):
    return STORES[request.param](tmp_path / "results")


@pytest.fixture
def age(store, monkeypatch):
    """Return a function that makes the claim on a name older by some seconds, until it is renewed."""
    ages = {}
    plain = type(store).stat

    def stat(self, name):
        found = plain(self, name)
        version, seconds = ages.get(name, (None, 0))
        return found._replace(time_modified_s=found.time_modified_s - seconds * (found.version == version))

    def grow_older(name, seconds):
        if isinstance(store, FolderStore):
            os.utime(store.location(claim_name(name)), (time.time() - seconds,) * 2)
            return
        ages[claim_name(name)] = plain(store, claim_name(name)).version, seconds

    monkeypatch.setattr(type(store), "stat", stat)
    return grow_older


def reports_of_batches(count, make_options, *arguments, **keywords):
    """Let threads compute the same batch at the same time, each with options of its own; return their reports."""
    together = threading.Barrier(count)

    def compute(_):
        options = make_options()
        together.wait(10)
        return options.compute_missing(*arguments, progress=False, **keywords)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(compute, range(count)))


def put_claim(store, name, **changed):
    """Put a claim of another batch on *name*."""
    owner = {"batch": "another", "host": "elsewhere", "pid": 1}
    store.put(claim_name(name), json.dumps({**owner, **changed}).encode(), replace=True)


def hidden_names(store):
    """Return the names of claims and other hidden files."""
    if isinstance(store, FolderStore):
        return [name for name in os.listdir(store.root) if name.startswith(".")]
    return list(store.names(LEFTOVER_PREFIX))


def test_concurrent_batches_compute_each_template_once(store):
    """No claim is left afterwards."""
    computed = []

    class RecordingOptions(FitOptions):
        def compute_cache(self, result):
            computed.append(result.plane)
            time.sleep(0.002)
            return super().compute_cache(result)

    grid = {"animal": "A", "plane": range(30)}
    reports = reports_of_batches(3, RecordingOptions, grid, dest=store, claims=True)
    assert sorted(computed) == list(range(30))
    assert sum(report.saved for report in reports) == 30
    assert len(PickleHandler(Fit, store).find()) == 30
    assert hidden_names(store) == []


def test_concurrent_batches_save_as_many_repetitions_as_wanted(store):
    """Together, not each."""

    class SlowDraws(DrawOptions):
        def compute_cache(self, result):
            time.sleep(0.002)
            return super().compute_cache(result)

    reports = reports_of_batches(3, SlowDraws, {"animal": ["A", "B"]}, dest=store, repeat=15, claims=True)
    assert sum(report.saved for report in reports) == 30
    assert [hit.keys["run"] for hit in PickleHandler(Draw, store).find(animal="A")] == list(range(15))


def test_what_another_batch_computes_is_passed_over(store):
    """The report counts it. A batch without claims computes it too."""
    handler = PickleHandler(Fit, store)
    put_claim(store, handler.filename(Fit("A", 1)))
    report = FitOptions().compute_missing({"animal": "A", "plane": range(3)}, dest=store, claims=True)
    assert (report.saved, report.passed_over) == (2, 1)
    assert "1 being computed by others" in repr(report)
    assert FitOptions().compute_missing({"animal": "A", "plane": range(3)}, dest=store).saved == 1, "without claims"


STRANGE_CLAIMS = {
    "nothing": b"",
    "no text": b"\xff" * 100,
    "lists in lists": b"[" * 100_000,
    "a list": b"[1]",
    "a huge number": b'{"batch": "x", "host": "%b", "pid": 1e999}' % socket.gethostname().encode(),
    "a process beyond all": b'{"batch": "x", "host": "%b", "pid": %d}' % (socket.gethostname().encode(), 1 << 80),
    "a long text": b'{"batch": "%b", "host": "", "pid": 1}' % (b"x" * 100_000),
    "objects": b'{"batch": {"x": []}, "host": [], "pid": true, "start": {}}',
}


@pytest.mark.parametrize("kind", STRANGE_CLAIMS)
def test_what_others_wrote_into_a_claim_stops_no_batch(store, age, kind):
    """Whoever can write there. It is passed over while it is young, and taken over as soon as its age or its owner allows."""
    name = PickleHandler(Fit, store).filename(Fit("A", 1))
    store.put(claim_name(name), STRANGE_CLAIMS[kind], replace=True)
    report = FitOptions().compute_missing({"animal": "A", "plane": range(3)}, dest=store, claims=True)
    assert (report.saved, report.passed_over) == ((3, 0) if kind == "a process beyond all" else (2, 1))
    assert list(report) == []
    if report.passed_over:
        age(name, 61)
        assert FitOptions().compute_missing({"animal": "A", "plane": 1}, dest=store, claims=True).saved == 1


def test_claims_of_a_dead_batch_are_taken_over(store, age):
    """A batch is dead if its claim was not renewed for long, or its process is known to have ended."""
    handler = PickleHandler(Fit, store)
    names = [handler.filename(Fit("A", plane)) for plane in range(4)]
    put_claim(store, names[0])
    age(names[0], STALE_S + 1)
    put_claim(store, names[1])
    age(names[1], STALE_S / 2)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    put_claim(store, names[2], host=socket.gethostname(), pid=ended.pid)
    put_claim(store, names[3], host=socket.gethostname(), pid=os.getpid())
    report = FitOptions().compute_missing({"animal": "A", "plane": range(4)}, dest=store, claims=True)
    taken_over = 2 if os.name == "posix" else 1
    assert (report.saved, report.passed_over) == (taken_over, 4 - taken_over)
    store.put(claim_name(names[1]), b"what no version wrote", replace=True)
    assert FitOptions().compute_missing({"animal": "A", "plane": [1]}, dest=store, claims=True).passed_over == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a process began")
def test_claims_of_a_process_that_has_ended_are_taken_over(tmp_path):
    """The process may be a zombie, or another process may have its number by now."""
    store = FolderStore(tmp_path / "results")
    ended = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    ended.stdout.read()  # returns when the process ends
    end = time.monotonic() + 10
    while claims_module._state_of(ended.pid)[0] != "Z" and time.monotonic() < end:
        time.sleep(0.001)
    this_process = {"host": socket.gethostname(), "pid": os.getpid(), "start": claims_module._state_of(os.getpid())[1]}
    put_claim(store, "not-asked.pkl", host=socket.gethostname(), pid=ended.pid)
    put_claim(store, "other-process.pkl", **{**this_process, "start": "1"})
    put_claim(store, "alive.pkl", **this_process)
    mine = Claims("mine")
    taken = [mine.take(store, name) for name in ("not-asked.pkl", "other-process.pkl", "alive.pkl")]
    mine.release_all()
    ended.stdout.close()
    ended.wait()
    assert taken == ["taken over", "taken over", None]


def test_a_claim_is_renewed_while_its_owner_is_alive(store, age, monkeypatch):
    """However long the computation takes."""
    monkeypatch.setattr(claims_module, "BEAT_S", 0.02)
    mine, others = Claims("mine"), Claims("others")
    assert mine.take(store, "a.pkl")
    age("a.pkl", 1000)
    end = time.monotonic() + 10
    while time.time() - store.stat(claim_name("a.pkl")).time_modified_s > STALE_S and time.monotonic() < end:
        time.sleep(0.01)
    assert not others.take(store, "a.pkl")
    mine.release(store, "a.pkl")
    assert others.take(store, "a.pkl")
    others.release_all()
    end = time.monotonic() + 10
    while (mine._beating or others._beating) and time.monotonic() < end:
        time.sleep(0.01)
    assert not mine._beating, "a thread that has nothing to renew ends"
    assert hidden_names(store) == []


def test_the_former_owner_leaves_a_claim_that_was_taken_over(store, age):
    """It was thought dead, but goes on."""
    slow, quick = Claims("slow"), Claims("quick")
    assert slow.take(store, "a.pkl")
    age("a.pkl", STALE_S + 1)
    assert quick.take(store, "a.pkl")
    slow._held = {key: (store, since - STALE_S) for key, (store, since) in slow._held.items()}
    slow._renew(store, claim_name("a.pkl"))
    slow.release(store, "a.pkl")
    assert not Claims("third").take(store, "a.pkl")
    quick.release(store, "a.pkl")
    assert hidden_names(store) == []


def test_claims_are_not_listed_as_results(store):
    """A sweep removes them like all leftovers."""
    handler = PickleHandler(Fit, store)
    result = Fit("A", 0)
    result.weights, result.pid = None, 0
    handler.save_persistence(result)
    put_claim(store, handler.filename(result))
    assert len(handler.find()) == 1
    assert [check.problem for check in handler.verify()] == [None]
    assert listed(store) == [handler.filename(result)]
    assert len(handler.sweep(older_than_s=1000)) == 0
    assert [path.name for path in handler.sweep(older_than_s=0)] == [claim_name(handler.filename(result))]
    assert hidden_names(store) == []


@pytest.mark.parametrize("place", ["results", "results.sqlar"])
def test_commands_show_and_move_no_claims(tmp_path, monkeypatch, capsys, place):
    """Neither as results nor as other files."""
    monkeypatch.chdir(tmp_path)
    assert FitOptions().compute_missing({"animal": "A", "plane": range(3)}, dest=tmp_path / place).saved == 3
    handler = PickleHandler(Fit, tmp_path / place)
    names = sorted(hit.name for hit in handler.find())
    put_claim(handler._keeper.store, names[0])
    for command in (["ls"], ["du"], ["verify"]):
        assert main([*command, place]) == 0
        out = capsys.readouterr().out
        assert "work-" not in out
        assert "3 results" in out or "3 files, " in out
    command = ["pack", "results", "moved.sqlar"] if place == "results" else ["unpack", place, "moved"]
    assert main([*command, "--all"]) == 0
    moved = store_at("moved.sqlar" if place == "results" else "moved")
    assert sorted(moved.names()) == names
    assert not moved.has(claim_name(names[0]))


def test_the_next_batch_removes_old_claims_of_saved_results(store, age):
    """A batch killed right after a save leaves a claim that nobody takes over, since the result is there."""
    handler = PickleHandler(Fit, store)
    names = [handler.filename(Fit("A", plane)) for plane in (70, 71)]
    for name in names:
        put_claim(store, name)
    age(names[0], STALE_AFTER_S + 1)
    assert FitOptions().compute_missing({"animal": "A", "plane": range(3)}, dest=store, claims=True).saved == 3
    assert hidden_names(store) == [claim_name(names[1])]


@pytest.mark.parametrize("place", ["results", "results.sqlar"])
def test_each_result_is_counted_by_the_batch_that_saved_it(tmp_path, place):
    """A claim tells whose attempt it was, even if the engine loses answers and computes again."""
    from test_driving import Engine

    class LossyEngine(Engine):
        def __init__(self):
            super().__init__()
            self.lose_answers = True

    grid = {"animal": "A", "plane": range(20)}
    reports = reports_of_batches(3, YieldingOptions, grid, LossyEngine, dest=tmp_path / place, claims=True)
    assert [len(report) for report in reports] == [0, 0, 0]
    assert sum(report.saved for report in reports) == 20
    handler = PickleHandler(Fit, tmp_path / place)
    assert len(handler.find()) == 20
    assert hidden_names(handler.store) == []


def test_a_result_that_two_batches_compute_at_once_is_counted_once(store):
    """Without claims, the batch that saves it first counts it; the other's result is dropped."""
    together = threading.Barrier(2)

    class TogetherOptions(FitOptions):
        def compute_cache(self, result):
            together.wait(10)
            return super().compute_cache(result)

    reports = reports_of_batches(2, TogetherOptions, {"animal": "A", "plane": range(10)}, dest=store)
    assert [report.saved + report.found for report in reports] == [10, 10]
    assert sum(report.saved for report in reports) == 10


def test_a_failure_releases_its_claim(store):
    """So other batches may try it."""
    report = FitOptions().compute_missing({"animal": "A", "plane": [0, 100]}, dest=store, claims=True)
    assert (report.saved, len(report)) == (1, 1)
    assert hidden_names(store) == []


def test_the_driver_claims_results_that_workers_send_back(store):
    from test_driving import Engine

    put_claim(store, PickleHandler(Fit, store).filename(Fit("A", 1)))
    report = FitOptions().compute_missing(
        {"animal": "A", "plane": [0, 1, 2, 100]}, Engine(), dest=store, claims=True, save="driver"
    )
    assert (report.saved, report.passed_over, len(report)) == (2, 1, 1)
    assert len(hidden_names(store)) == 1, "the claim of the other batch is left"
