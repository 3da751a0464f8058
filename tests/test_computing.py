"""A batch computes missing results by any executor, and goes on after failures."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from batches import Draw, DrawOptions, Fit, FitOptions

from neuralib.persistence import PickleHandler
from neuralib.persistence.cli_persistence import BatchInterrupted, BatchReport, Failure

GRID = {"animal": ["A", "B"], "plane": [0, 1, 2, 100]}
COMPUTED = {(animal, plane) for animal in "AB" for plane in range(3)}


def process_pool(method, workers=2):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system can't {method}")
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(method))


EXECUTORS = {
    "here": lambda: contextlib.nullcontext(None),
    "threads": lambda: ThreadPoolExecutor(3),
    "fork": lambda: process_pool("fork"),
    "spawn": lambda: process_pool("spawn"),
}


@pytest.mark.filterwarnings("ignore")  # warns about forking with threads
@pytest.mark.parametrize("where", EXECUTORS)
def test_missing_results_are_computed_by_any_executor(tmp_path, where):
    """In this process, by threads, and by processes; dask is tried in ``tools/test_dask.py``."""
    check_computed(tmp_path, EXECUTORS[where], elsewhere=where not in {"here", "threads"})


def check_computed(tmp_path, executors, *, elsewhere):
    """Each once, saved where it was computed; what fails is reported, and does not stop the others.

    :param executors: makes a context manager that gives an executor, or None
    :param elsewhere: whether it computes in other processes
    """
    folder, tally = tmp_path / "results", tmp_path / "tally"
    tally.mkdir()
    handler = PickleHandler(Fit, folder)
    there = Fit("A", 1)
    there.weights, there.pid = None, 0
    handler.save_persistence(there)
    with executors() as executor:
        report = FitOptions(tally).compute_missing(GRID, executor, dest=folder)
        again = FitOptions(tally).compute_missing(GRID, executor, dest=folder)
    assert isinstance(report, BatchReport)
    assert (report.saved, again.saved) == (5, 0)
    assert sorted(failure.keys["animal"] for failure in report) == ["A", "B"]
    assert {(failure.keys["plane"], failure.error, failure.message) for failure in report} == {
        (100, "UnpicklableError", "plane 100 does not converge")
    }
    assert "compute_cache" in report[0].traceback
    assert len(again) == 2, "what failed is tried again"
    results = [hit.load() for hit in handler.find()]
    assert {(result.animal, result.plane) for result in results} == COMPUTED
    processes = {result.pid for result in results if result.pid}
    assert (os.getpid() in processes) != elsewhere
    computed = sorted(path.name.rsplit("-", 2)[0] for path in tally.iterdir())
    assert computed == sorted([f"{a}-{p}" for a, p in COMPUTED - {("A", 1)}] + ["A-100", "B-100"] * 2)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("where", ["here", "threads", "fork"])
def test_repetitions_get_numbers_of_their_own(tmp_path, where):
    """All workers together save as many as were asked for, each under its own number."""
    handler = PickleHandler(Draw, tmp_path)
    handler.save_persistence(Draw("A"))
    with EXECUTORS[where]() as executor:
        report = DrawOptions().compute_missing({"animal": ["A", "B"]}, executor, dest=tmp_path, repeat=20)
    assert report.saved == 39
    for animal in "AB":
        assert [hit.keys["run"] for hit in handler.find(animal=animal)] == list(range(20))


def test_a_report_is_a_table_of_failures(tmp_path):
    """To look at, to count, and to take the templates from for another try."""
    report = FitOptions().compute_missing(GRID, dest=tmp_path)
    assert repr(report) == "<BatchReport: 6 saved, 2 failed, the first: UnpicklableError: plane 100 does not converge>"
    assert isinstance(report[0], Failure)
    assert len(report[:1]) == 1
    columns = report.to_columns()
    assert list(columns) == ["animal", "plane", "error", "message", "traceback"]
    assert columns["animal"] == ["A", "B"]
    assert (
        repr(FitOptions().compute_missing({"animal": "A", "plane": 1}, dest=tmp_path))
        == "<BatchReport: 0 saved, 0 failed>"
    )
    assert BatchReport(0, []).to_columns() == {"error": [], "message": [], "traceback": []}
    pytest.importorskip("pandas")
    assert list(report.to_pandas()["error"]) == ["UnpicklableError"] * 2


def test_a_computation_that_returns_no_result_fails(tmp_path):
    """A usual slip."""

    class Forgetful(FitOptions):
        def compute_cache(self, result):
            super().compute_cache(result)

    report = Forgetful().compute_missing({"animal": "A", "plane": 1}, dest=tmp_path)
    assert report[0].error == "TypeError"
    assert "must return the result" in report[0].message


class OneForAll(FitOptions):
    """Takes every animal for A."""

    in_place = True

    def compute_cache(self, result):
        if not self.in_place:
            result = Fit("A", result.plane)
        result.animal, result.pid = "A", 0
        return result


@pytest.mark.filterwarnings("ignore")  # warns about forking with threads
@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("save", ["worker", "driver"])
def test_a_computed_result_with_the_keys_of_another_is_a_failure(tmp_path, in_place, save):
    """It is not saved over the other one. Without an error it would count as saved by others, and be lost.

    One worker, so that the right one is first.
    """
    options = OneForAll()
    options.in_place = in_place
    with contextlib.nullcontext(None) if save == "worker" else process_pool("fork", 1) as executor:
        report = options.compute_missing({"animal": ["A", "B", "C"], "plane": 1}, executor, dest=tmp_path, save=save)
    assert report.saved == 1
    assert {failure.error for failure in report} == {"ValueError"}
    assert sorted(failure.message.partition(", of which")[0] for failure in report) == [
        f"OneForAll.compute_cache returned a result with animal='A' in place of '{animal}'" for animal in "BC"
    ]
    assert [path.name for path in tmp_path.glob("cache*")] == ["cache-Fit-A-plane1.pkl"]


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_killed_worker_loses_only_what_it_computed(tmp_path):
    """The report says how many are left; the next call goes on."""
    grid = {"animal": "A", "plane": range(8)}
    with process_pool("fork") as pool:
        report = FitOptions(slow_s=0.02, kill_at=5).compute_missing(grid, pool, dest=tmp_path)
    handler = PickleHandler(Fit, tmp_path)
    there = len(handler.find())
    assert there >= 3
    assert (report.saved, len(report), report.not_tried) == (there, 0, 8 - there)
    assert FitOptions().compute_missing(grid, dest=tmp_path).saved == 8 - there
    assert [hit.load().plane for hit in handler.find()] == list(range(8))


BATCH = """
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from batches import FitOptions
if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        FitOptions(slow_s=0.05).compute_missing({"animal": "A", "plane": range(100)}, pool, dest=Path(sys.argv[1]))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_killed_batch_goes_on_where_it_stopped(tmp_path):
    """The workers save, so all results that were computed are there, each whole."""
    script = tmp_path / "batch.py"
    script.write_text(BATCH)
    folder = tmp_path / "results"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
    }
    process = subprocess.Popen([sys.executable, str(script), str(folder)], env=environment, start_new_session=True)
    handler = PickleHandler(Fit, folder)
    try:
        end = time.monotonic() + 60
        while len(handler.find()) < 10 and time.monotonic() < end:
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    there = len(handler.find())
    assert 10 <= there < 100
    assert [check.problem for check in handler.verify()] == [None] * there
    assert FitOptions().compute_missing({"animal": "A", "plane": range(100)}, dest=folder).saved == 100 - there
    assert [hit.keys["plane"] for hit in handler.find()] == list(range(100))


def test_what_somebody_else_saved_meanwhile_is_not_computed(tmp_path):
    """Two batches on one folder share the work."""
    folder, tally = tmp_path / "results", tmp_path / "tally"
    tally.mkdir()
    handler = PickleHandler(Fit, folder)

    def templates():
        for plane in range(3):
            yield Fit("A", plane)
            result = Fit("A", plane + 1)
            handler.save_persistence(result)

    report = FitOptions(tally).compute_missing(templates(), dest=folder, progress=False)
    assert report.saved == 1
    assert len(list(tally.iterdir())) == 1


@pytest.mark.parametrize(
    ("problem", "given"),
    [
        ("executor='processes:2': expected an executor", {"executor": "processes:2"}),
        ("returned None: expected an executor", {"executor": lambda: None}),
        ("returned <class .*: expected an executor", {"executor": lambda: ThreadPoolExecutor}),
        ("progress='bar': expected True, False, or a function", {"progress": "bar"}),
        ("repeat=2.5: expected a whole number from 0", {"repeat": 2.5}),
        ("repeat=-1: expected a whole number from 0", {"repeat": -1}),
        ("retries='2': expected a whole number from 0", {"retries": "2"}),
        ("retries=-1: expected a whole number from 0", {"retries": -1}),
        ("timeout_s='5': expected seconds", {"timeout_s": "5"}),
        ("timeout_s=0: expected seconds", {"timeout_s": 0}),
        ("timeout_s=nan: expected seconds", {"timeout_s": float("nan")}),
        ("timeout_s=inf: expected seconds", {"timeout_s": float("inf")}),
        ("save='workers': expected 'worker' or 'driver'", {"save": "workers"}),
        (r"share=3: expected \(i, n\)", {"share": 3}),
        (r"share=\(0,\): expected \(i, n\)", {"share": (0,)}),
        (r"share=\(3, 3\): expected \(i, n\)", {"share": (3, 3)}),
    ],
)
def test_a_wrong_argument_is_named_before_anything_is_computed(tmp_path, problem, given):
    with pytest.raises((TypeError, ValueError), match=problem):
        FitOptions(tmp_path).compute_missing({"animal": "A", "plane": range(3)}, dest=tmp_path, **given)
    with pytest.raises(TypeError, match="5: expected values for each key"):
        FitOptions(tmp_path).compute_missing(5, dest=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_numpy_are_numbers(tmp_path):
    """As arguments that count, and as a time."""
    whole, half = (0, 1), (np.int64(1), np.uint8(2))
    for share, saved in ((whole, 3), (half, 0), (None, 3)):
        report = DrawOptions().compute_missing(
            {"animal": "A"},
            repeat=np.int64(3 if share else 6),
            share=share,
            retries=np.int8(1),
            timeout_s=np.float32(60),
            dest=tmp_path,
        )
        assert (report.saved, len(report)) == (saved, 0)


@pytest.mark.parametrize("progress", [True, False])
def test_an_interrupt_says_how_far_it_came(tmp_path, progress):
    """What was saved stays."""

    class Interrupted(FitOptions):
        def compute_cache(self, result):
            if result.plane == 2:
                raise KeyboardInterrupt
            return super().compute_cache(result)

    with pytest.raises(KeyboardInterrupt) as caught:
        Interrupted().compute_missing({"animal": "A", "plane": range(5)}, dest=tmp_path, progress=progress)
    report = caught.value.report
    assert isinstance(caught.value, BatchInterrupted)
    assert (report.saved, len(report), report.not_tried) == (2, 0, 3)
    assert "2 saved, 0 failed, 3 not tried" in str(caught.value)
    endless = ({"animal": "A", "plane": plane} for plane in itertools.count())
    with pytest.raises(BatchInterrupted) as caught:
        Interrupted().compute_missing((Fit(**keys) for keys in endless), dest=tmp_path)
    assert caught.value.report.not_tried is None
    assert len(PickleHandler(Fit, tmp_path).find()) == 2
