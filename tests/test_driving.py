"""A batch goes on when workers are killed, reports correctly what was saved, and adds little time to each task."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from batches import (
    CHUNKS,
    CountingOptions,
    Draw,
    DrawOptions,
    Fit,
    FitOptions,
    GrowingOptions,
    LingeringOptions,
    SeededOptions,
    StuckOptions,
)

from neuralib.persistence import PickleHandler
from neuralib.persistence._computing.parcels import SMALL_BYTES
from neuralib.persistence._stores.base import LEFTOVER_PREFIX
from neuralib.persistence.stores import MemoryStore

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system can't fork"),
]


def pool(workers=2):
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork"))


class Engine(Executor):
    """An executor that behaves like a cluster: it computes one task at a time, and pickles tasks and answers."""

    def __init__(self):
        self.submitted = []
        self.lose_answers = False
        self._threads = ThreadPoolExecutor(1)

    def submit(self, function, *arguments):
        sent = pickle.dumps((function, arguments))
        self.submitted.append(len(sent))
        return self._threads.submit(self._run, sent)

    def _run(self, sent):
        CHUNKS[0] += 1
        function, arguments = pickle.loads(sent)
        if self.lose_answers:
            function(*arguments)  # the worker is killed before it can answer: the engine computes again
        return pickle.loads(pickle.dumps(function(*arguments)))

    def shutdown(self, wait=True, *, cancel_futures=False):
        self._threads.shutdown(wait)


@pytest.fixture
def tally(tmp_path):
    """Return a folder in which options count their computations, one file each."""
    folder = tmp_path / "tally"
    folder.mkdir()
    return folder


def computations(tally, pattern="*"):
    """Return which computations were counted, such as ``A-5``."""
    return sorted(path.name.rsplit("-", 2)[0] for path in tally.glob(pattern))


# ---------------------------------------------------------------------------------------------- killed workers


def test_a_task_that_kills_its_worker_twice_is_a_failure(tmp_path, tally):
    """All others are computed, by new executors."""
    executors = []

    def make_executor():
        executors.append(pool())
        return executors[-1]

    report = FitOptions(tally, kill_at=5).compute_missing(
        {"animal": ["A", "B"], "plane": range(10)}, make_executor, dest=tmp_path
    )
    assert (report.saved, report.not_tried) == (18, 0)
    assert [(failure.keys["plane"], failure.error) for failure in report] == [(5, "BrokenProcessPool")] * 2
    assert "killed again when it was computed alone" in report[0].message
    assert len(executors) == len({id(executor) for executor in executors}) >= 4
    counted = computations(tally)
    assert counted.count("A-5") <= 2
    assert counted.count("B-5") <= 2
    assert len(set(counted)) == 20
    assert len(PickleHandler(Fit, tmp_path).find()) == 18
    for executor in executors:
        with pytest.raises(RuntimeError):  # all were shut down
            executor.submit(int)


def test_tasks_in_flight_when_a_worker_is_killed_are_computed(tmp_path, tally):
    """They are tried once more, one by one."""
    report = FitOptions(tally, slow_s=0.05, kill_at=0).compute_missing(
        {"animal": "A", "plane": range(6)}, pool, dest=tmp_path
    )
    assert (report.saved, [failure.keys["plane"] for failure in report]) == (5, [0])


def test_what_other_workers_compute_when_one_is_killed_is_not_begun_again_before_they_end(tmp_path, tally):
    """An executor says that it is broken before it ends its other workers, which may still save something."""
    try:
        report = LingeringOptions(tally).compute_missing({"animal": "A", "plane": range(4)}, pool, dest=tmp_path)
    finally:
        with contextlib.suppress(ProcessLookupError):  # else Python would wait for it at its end
            os.kill(int((tally / "lingering").read_text()), signal.SIGKILL)
    assert (report.saved, list(report)) == (4, [])
    assert computations(tally, "A-*") == ["A-0", "A-0", "A-1", "A-2", "A-3"]


def test_a_class_of_executors_may_be_given(tmp_path):
    """Like a function that returns one."""
    assert (
        FitOptions().compute_missing({"animal": "A", "plane": range(3)}, ThreadPoolExecutor, dest=tmp_path).saved == 3
    )


def test_a_function_that_makes_no_second_executor_ends_the_batch(tmp_path):
    """As a cluster that gives out no more nodes: the report says what was not tried, as for a plain executor."""
    made = []

    def make():
        if made:
            raise OSError("the cluster gives out no more nodes")
        made.append(pool())
        return made[0]

    report = FitOptions(kill_at=5).compute_missing({"animal": "A", "plane": range(20)}, make, dest=tmp_path)
    assert report.saved == len(PickleHandler(Fit, tmp_path).find())
    assert (len(report), report.saved + report.not_tried) == (0, 20)
    with pytest.raises(OSError, match="no more nodes"):  # the first one is an error of the caller
        FitOptions().compute_missing({"animal": "B", "plane": 1}, make, dest=tmp_path)


def test_executors_that_break_again_and_again_end_the_batch(tmp_path):
    """If no task at all is answered, the tasks are not the reason."""

    class Broken(ThreadPoolExecutor):
        def submit(self, *_):
            raise pickle.loads(b"cconcurrent.futures.process\nBrokenProcessPool\n(S'no worker starts'\ntR.")

    report = FitOptions().compute_missing({"animal": "A", "plane": range(40)}, Broken, dest=tmp_path)
    assert report.saved == 0
    assert len(report) + report.not_tried == 40
    assert report.not_tried > 20


class DeadlyOptions(FitOptions):
    """Fails at each fifth plane; ends its process from plane 30 on."""

    def compute_cache(self, result):
        if result.plane >= 30:
            os._exit(1)
        if result.plane % 5 == 0:
            raise ValueError("not yet")
        return super().compute_cache(result)


@pytest.mark.parametrize("make", [pool, lambda: pool(6)], ids=["2 workers", "6 workers"])
@pytest.mark.parametrize("given", ["executor", "function"])
def test_each_template_is_accounted_for_when_the_executor_breaks(tmp_path, tally, make, given):
    """The report has those too that were to be tried again, or that a worker sent back because it had no time for them."""

    report = DeadlyOptions(tally).compute_missing(
        {"animal": "A", "plane": range(60)}, make if given == "function" else make(), dest=tmp_path, retries=50
    )
    assert report.saved == len(PickleHandler(Fit, tmp_path).find()) > 0
    assert report.saved + len(report) + report.not_tried == 60
    assert report.saved <= 24
    if given == "executor":
        assert report.not_tried > 0


# ---------------------------------------------------------------------------------------------- the report


def test_the_report_counts_results_not_attempts(tmp_path, tally):
    """An engine that lost a worker repeats a task whose result is saved already."""
    engine = Engine()
    engine.lose_answers = True
    report = FitOptions(tally).compute_missing({"animal": "A", "plane": range(6)}, engine, dest=tmp_path)
    assert (report.saved, report.found, len(report)) == (6, 0, 0)
    assert len(computations(tally)) == 6
    report = DrawOptions().compute_missing({"animal": ["A", "B"]}, engine, dest=tmp_path, repeat=5)
    assert report.saved == 10
    assert len(PickleHandler(Draw, tmp_path).find()) == 10, "repetitions too are computed once each"


def test_a_cancelled_task_is_a_failure(tmp_path):
    """An engine cancels a task that it can't place."""

    class Cancelling(Engine):
        def submit(self, function, *arguments):
            if len(self.submitted) == 2:
                self.submitted.append(0)
                future = Future()
                future.cancel()
                future.set_running_or_notify_cancel()
                return future
            return super().submit(function, *arguments)

    report = FitOptions().compute_missing({"animal": "A", "plane": range(6)}, Cancelling(), dest=tmp_path)
    assert report.saved == 6 - len(report)
    assert {(failure.error, failure.message) for failure in report} == {
        ("CancelledError", "the executor cancelled it before it was computed")
    }


def test_a_task_that_a_worker_can_not_load_is_a_failure(tmp_path):
    """The worker may lack a module."""

    class Lacking(Engine):
        def _run(self, sent):
            raise ModuleNotFoundError("No module named 'lab'")

    report = FitOptions().compute_missing({"animal": "A", "plane": range(3)}, Lacking(), dest=tmp_path)
    assert [failure.error for failure in report] == ["ModuleNotFoundError"] * 3


class PoisonOptions(FitOptions):
    """Ends its worker at plane 70, as a process that has no memory left."""

    def compute_cache(self, result):
        if result.plane == 70:
            raise SystemExit("out of memory")
        return super().compute_cache(result)


class ReportingEngine(Engine):
    """Like engines of clusters, which go on with other workers, and report which tasks lost theirs."""

    chunk_s = 10.0
    _max_workers = 2

    def _run(self, sent):
        try:
            return super()._run(sent)
        except SystemExit as error:
            raise RuntimeError(f"the worker was killed: {error}") from None


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize("save", ["worker", "driver"])
@pytest.mark.parametrize("claims", [False, True])
def test_only_the_task_that_kills_its_worker_fails(tmp_path, tally, retries, save, claims):
    """Not the others that were sent with it: what was saved is counted, and the rest is sent again without it."""
    engine = ReportingEngine()
    report = PoisonOptions(tally).compute_missing(
        {"animal": "A", "plane": range(100)}, engine, dest=tmp_path, retries=retries, save=save, claims=claims
    )
    assert (report.saved, report.found, report.not_tried) == (99, 0, 0)
    assert [(failure.keys["plane"], failure.message) for failure in report] == [
        (70, "the worker was killed: out of memory")
    ]
    assert len(engine.submitted) < 60, "most tasks are sent in chunks"
    if save == "worker":
        assert len(set(computations(tally))) == len(computations(tally)) == 99
    assert [name for name in os.listdir(tmp_path) if name.startswith(LEFTOVER_PREFIX)] == []


def test_an_engine_that_does_no_task_any_more_is_not_asked_for_each(tmp_path):
    """If nothing is answered for some time, chunks are not sent again in parts."""

    class Failing(Engine):
        chunk_s = 10.0
        _max_workers = 2

        def _run(self, sent):
            if len(self.submitted) > 4:
                raise RuntimeError("the scheduler does not answer")
            return super()._run(sent)

    engine = Failing()
    report = FitOptions().compute_missing(
        {"animal": "A", "plane": range(5000)}, engine, dest=MemoryStore(), save="driver"
    )
    assert report.saved + len(report) == 5000
    assert len(report) > 1000
    assert len(engine.submitted) < 100


def test_a_failure_is_tried_as_often_as_asked_for(tmp_path, tally):
    grid = {"animal": "A", "plane": range(5)}
    for executor in (None, ThreadPoolExecutor(2), pool()):
        folder = tmp_path / str(executor)
        report = CountingOptions(tally).compute_missing(grid, executor, dest=folder, retries=1)
        assert (report.saved, [failure.keys["plane"] for failure in report]) == (4, [3])
        assert computations(tally, "A-*").count("A-3") == 2
        assert CountingOptions(tally).compute_missing(grid, executor, dest=folder, retries=1).saved == 1
        for path in tally.iterdir():
            path.unlink()
        if executor is not None:
            executor.shutdown()
    with pytest.raises(ValueError, match="retries=-1"):
        FitOptions().compute_missing(grid, dest=tmp_path, retries=-1)


@pytest.mark.skipif(os.name != "posix", reason="needs timers")
def test_a_task_beyond_its_time_limit_is_stopped(tmp_path):
    """In processes and in the main thread; a limit for other threads is refused."""
    grid = {"animal": "A", "plane": range(4)}
    with pool() as executor:
        report = StuckOptions().compute_missing(grid, executor, dest=tmp_path, timeout_s=0.2)
    assert (report.saved, [(failure.keys["plane"], failure.error) for failure in report]) == (3, [(1, "TimeoutError")])
    assert "longer than timeout_s=0.2" in report[0].message
    report = StuckOptions().compute_missing(grid, dest=tmp_path, timeout_s=0.1)
    assert (report.saved, report[0].error) == (0, "TimeoutError")
    with ThreadPoolExecutor(1) as threads:
        with pytest.raises(ValueError, match="nothing can stop a thread"):
            FitOptions().compute_missing(grid, threads, dest=tmp_path, timeout_s=1)
        with pytest.raises(ValueError, match="only the main thread of a process"):
            FitOptions().compute_missing(grid, lambda: threads, dest=tmp_path, timeout_s=1)
    with pytest.raises(ValueError, match="only the main thread of a process"):
        FitOptions().compute_missing(grid, Engine(), dest=tmp_path, timeout_s=1)
    with pytest.raises(ValueError, match="timeout_s=0"):
        FitOptions().compute_missing(grid, dest=tmp_path, timeout_s=0)


def test_progress_may_be_a_function(tmp_path):
    """It is called after each result, with the report and the number of all tasks."""
    calls = []
    report = FitOptions().compute_missing(
        {"animal": "A", "plane": [0, 1, 100]},
        dest=tmp_path,
        progress=lambda report, total: calls.append((report.saved, len(report), total)),
    )
    assert calls == [(0, 0, 3), (1, 0, 3), (2, 0, 3), (2, 1, 3)]
    assert report.saved == 2
    FitOptions().compute_missing(
        (template for template in [Fit("A", 5)]), dest=tmp_path, progress=lambda report, total: calls.append(total)
    )
    assert calls[-1] is None, "the number of tasks of a generator is not known"


# ---------------------------------------------------------------------------------------------- what goes to workers


@pytest.mark.parametrize("size_bytes", [0, 4 * SMALL_BYTES])
def test_options_are_unpickled_once_for_each_worker(tmp_path, tally, size_bytes):
    """However many tasks there are; large options are sent a few times only."""
    grid = {"animal": ["A"], "plane": range(4, 60)}
    with pool() as executor:
        report = CountingOptions(tally, size_bytes).compute_missing(grid, executor, dest=tmp_path)
    assert report.saved == 56
    unpickled = computations(tally, "unpickled-*")
    assert 1 <= len(unpickled) <= 2
    engine = Engine()
    engine.submitted.clear()
    assert CountingOptions(tally, size_bytes).compute_missing(grid, engine, dest=tmp_path / "other").saved == 56
    large = [count for count in engine.submitted if count > size_bytes > 0]
    assert len(large) <= (16 if size_bytes else 0)


def test_a_worker_without_the_options_gets_them(tmp_path, tally):
    """An engine may start a new worker, and a worker may forget them."""
    from neuralib.persistence._computing import parcels

    class Forgetful(Engine):
        def _run(self, sent):
            if len(self.submitted) % 3 == 0:
                parcels._kept.clear()
            return super()._run(sent)

    engine = Forgetful()
    options = CountingOptions(tally, 4 * SMALL_BYTES)
    report = options.compute_missing({"animal": ["A"], "plane": range(4, 60)}, engine, dest=tmp_path)
    assert (report.saved, len(report)) == (56, 0)
    assert len(computations(tally, "A-*")) == 56


def test_options_that_can_not_be_pickled_are_refused_at_once(tmp_path):
    """Not once for each task."""
    options = FitOptions()
    options.lock = threading.Lock()
    with pool() as executor, pytest.raises(TypeError, match="pickle"):
        options.compute_missing({"animal": "A", "plane": range(3)}, executor, dest=tmp_path)


def test_short_tasks_go_in_chunks_and_long_ones_alone(tmp_path):
    engine = Engine()
    engine._max_workers = 1
    assert FitOptions().compute_missing({"animal": "A", "plane": range(99)}, engine, dest=tmp_path).saved == 99
    assert len(engine.submitted) < 50
    short, engine.chunk_s = len(engine.submitted), 1e-9
    assert FitOptions().compute_missing({"animal": "B", "plane": range(20)}, engine, dest=tmp_path).saved == 20
    assert len(engine.submitted) - short == 20


def test_slow_first_tasks_do_not_keep_chunks_small(tmp_path):
    """Workers import what they need during their first task."""

    class Timed(Engine):
        def _run(self, sent):
            answer = super()._run(sent)
            first = len(self.submitted) == 1
            return answer._replace(seconds=25 if first else 0.05 * len(answer.outcomes))

    engine = Timed()
    engine._max_workers, engine.chunk_s = 1, 10
    grid = {"animal": ["A", "B", "C"], "plane": range(100)}
    assert FitOptions().compute_missing(grid, engine, dest=tmp_path).saved == 300
    assert len(engine.submitted) <= 10


def test_a_task_costs_one_look_at_the_store(tmp_path):
    """Other names that equal keys may have are looked up once, when the batch begins."""

    class CountingStore(MemoryStore):
        looks = 0

        def stat(self, name):
            self.looks += 1
            return super().stat(name)

    store = CountingStore()
    grid = {"animal": [f"A{number}" for number in range(10)], "plane": range(10)}
    assert FitOptions().compute_missing(grid, dest=store).saved == 100
    assert store.looks <= 100


def test_tasks_that_grow_longer_don_t_wait_for_each_other(tmp_path):
    """A worker gives back the rest of a chunk that was made when tasks were short, so others can take it."""
    engine = Engine()
    engine._max_workers, engine.chunk_s = 1, 0.01
    options = GrowingOptions()
    report = options.compute_missing({"animal": "A", "plane": range(90)}, engine, dest=tmp_path)
    assert report.saved == 90
    alone = [hit.load().pid for hit in PickleHandler(Fit, tmp_path).find(plane=range(80, 90))]
    assert len(set(alone)) == 10, "each of the last in a chunk of its own"


def test_the_driver_saves_results_that_workers_send_back(tmp_path, tally):
    """For stores that workers can't reach."""
    store = MemoryStore()
    with pool() as executor:
        report = FitOptions(tally).compute_missing(
            {"animal": "A", "plane": [0, 1, 2, 100]}, executor, dest=store, save="driver"
        )
        assert (report.saved, [failure.keys["plane"] for failure in report]) == (3, [100])
        results = [hit.load() for hit in PickleHandler(Fit, store).find()]
        assert [result.plane for result in results] == [0, 1, 2]
        assert os.getpid() not in {result.pid for result in results}
        again = FitOptions(tally).compute_missing(
            {"animal": "A", "plane": [0, 1, 2]}, executor, dest=store, save="driver"
        )
        assert (again.saved, len(again)) == (0, 0)
        drawn = SeededOptions().compute_missing({"animal": ["A"]}, executor, dest=store, repeat=9, save="driver")
        assert drawn.saved == 9
        with pytest.raises(ValueError, match='use save="driver"'):
            FitOptions().compute_missing({"animal": "B", "plane": 0}, executor, dest=store)
        with pytest.raises(ValueError, match="save='nobody'"):
            FitOptions().compute_missing({"animal": "B", "plane": 0}, executor, dest=store, save="nobody")
    assert FitOptions().compute_missing({"animal": "B", "plane": 0}, dest=store, save="driver").saved == 1
    with ThreadPoolExecutor(2) as threads:
        assert FitOptions().compute_missing({"animal": "C", "plane": range(3)}, threads, dest=store).saved == 3


def test_a_result_that_the_driver_can_not_save_is_a_failure(tmp_path):
    """The other results are saved."""

    class FullStore(MemoryStore):
        def put(self, name, content, /, **keywords):
            if "plane1" in name:
                raise OSError(28, "No space left on device", name)
            super().put(name, content, **keywords)

    with pool() as executor:
        report = FitOptions().compute_missing(
            {"animal": "A", "plane": range(3)}, executor, dest=FullStore(), save="driver"
        )
    assert (report.saved, [(failure.keys["plane"], failure.error) for failure in report]) == (2, [(1, "OSError")])


def test_a_failure_holds_the_keys_of_its_template_only(tmp_path):
    """Data computed before the error may be large: it is neither sent to the driver nor shown."""

    class Failing(FitOptions):
        def compute_cache(self, result):
            result.weights = np.zeros(1_000_000)
            raise ValueError("too late")

    report = Failing().compute_missing({"animal": "A", "plane": 1}, dest=tmp_path)
    assert [failure.keys for failure in report] == [{"animal": "A", "plane": 1}]
    assert list(report.to_columns()) == ["animal", "plane", "error", "message", "traceback"]


# ---------------------------------------------------------------------------------------------- repetitions


def test_repetitions_get_the_lowest_free_numbers(tmp_path):
    """A computation can use its number as a seed, and each number is computed once, whichever batch does it."""
    with pool() as executor:
        assert SeededOptions().compute_missing({"animal": ["A"]}, executor, dest=tmp_path, repeat=6).saved == 6
    found = PickleHandler(Draw, tmp_path).find()
    values = [hit.load().value for hit in found]
    assert len(set(values)) == 6
    PickleHandler(Draw, tmp_path).find(run={1, 4}).delete(dry_run=False)
    assert SeededOptions().compute_missing({"animal": ["A"]}, dest=tmp_path, repeat=6).saved == 2
    assert [hit.load().value for hit in PickleHandler(Draw, tmp_path).find()] == values


def test_a_repetition_never_replaces_what_others_saved_meanwhile(tmp_path):
    """The other result may have taken the number that was meant for the repetition."""
    handler = PickleHandler(Draw, tmp_path)

    class Overtaken(DrawOptions):
        def compute_cache(self, result):
            other = Draw("A")
            other.value = 7.0
            handler.save_persistence(other)
            return super().compute_cache(result)

    report = Overtaken().compute_missing({"animal": ["A"]}, dest=tmp_path, repeat=1)
    assert (report.saved, report.found) == (0, 1)
    assert [hit.load().value for hit in handler.find()] == [7.0]


def test_save_persistence_of_a_subclass_is_called(tmp_path):
    """It may do more than the inherited one."""
    saved_numbers = []

    class CountingHandler(PickleHandler):
        def save_persistence(self, result, path=None):
            saved_numbers.append(result.run)
            return super().save_persistence(result, path)

    class Options(DrawOptions):
        def persistence_handler(self, dest=None):
            return CountingHandler(Draw, dest)

    assert Options().compute_missing({"animal": ["A"]}, dest=tmp_path, repeat=3).saved == 3
    assert saved_numbers == [0, 1, 2]
