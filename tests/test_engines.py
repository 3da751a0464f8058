"""Executors for engines of clusters, tested with stubs; ``tests/tools/test_engines.py`` runs the engines themselves."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
import types

import pytest
from batches import Fit, FitOptions

from neuralib.persistence import PickleHandler
from neuralib.persistence._computing import engines
from neuralib.persistence.engines import ray_executor, submitit_executor


class StubSubmitit:
    """Stands in for the module submitit: a job is done the third time it is asked."""

    def __init__(self):
        self.arrays, self.running, self.most, self.parameters = [], 0, 0, {}
        self.refuse = False
        self.lock, self.submitting, self.submitted = threading.Lock(), threading.Event(), threading.Event()
        self.submitted.set()
        self._array = None

    def AutoExecutor(self, folder, cluster):
        self.given, self.cluster = (folder, cluster), cluster
        return self

    def update_parameters(self, **parameters):
        self.parameters.update(parameters)

    @contextlib.contextmanager
    def batch(self):
        if self.refuse:
            raise RuntimeError("sbatch: error: Invalid job array specification")
        self._array = []
        yield
        self.submitting.set()
        self.submitted.wait(30)
        self.arrays.append(self._array)

    def submit(self, function, *arguments):
        job = StubJob(self, function, arguments)
        self._array.append(job)
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        return job


class StubJob:
    paths = types.SimpleNamespace(stderr="/jobs/7_0.err")

    def __init__(self, jobs, function, arguments):
        self.job_id = f"7_{len(jobs._array)}"
        self._jobs, self._call = jobs, (function, arguments)
        self._looks = 0
        self.cancelled = False

    def done(self):
        self._looks += 1
        return self._looks > 2

    def result(self):
        with self._jobs.lock:
            self._jobs.running -= 1
        function, arguments = self._call
        return function(*arguments)

    def cancel(self, check=True):
        self.cancelled = True


@pytest.fixture
def jobs(monkeypatch):
    """Install a stub in place of submitit, and return it."""
    stub = StubSubmitit()
    monkeypatch.setitem(sys.modules, "submitit", stub)
    return stub


def test_jobs_are_submitted_in_arrays_within_the_limits(jobs, tmp_path):
    """However many templates there are."""
    with submitit_executor(tmp_path / "jobs", jobs=4, poll_s=0.005, chunk_s=1e-9, timeout_min=7) as executor:
        report = FitOptions().compute_missing({"animal": "A", "plane": range(30)}, executor, dest=tmp_path)
    assert report.saved == 30
    assert jobs.most <= 4
    assert max(map(len, jobs.arrays)) > 1, "more than one job is submitted at a time"
    assert jobs.parameters.pop("timeout_min") == 7
    assert len(PickleHandler(Fit, tmp_path).find()) == 30


def test_a_short_job_is_not_warned_at_its_start(jobs, tmp_path):
    """Slurm may send the signal a minute early, and it kills a job that has just begun. Whoever asks for another time gets it."""
    submitit_executor(tmp_path, timeout_min=2)
    assert jobs.parameters["slurm_signal_delay_s"] <= 30
    submitit_executor(tmp_path, slurm_signal_delay_s=100)
    assert jobs.parameters["slurm_signal_delay_s"] == 100


def test_no_job_comes_across_files_of_former_jobs(jobs, tmp_path):
    """Local jobs are named by process ids, which the system uses again: each executor has a folder of its own."""
    folders = []
    for _ in range(3):
        submitit_executor(tmp_path / "jobs")
        folders.append(jobs.given[0])
    assert len(set(folders)) == 3
    assert all(folder.startswith(os.path.join(tmp_path, "jobs", "")) for folder in folders)


def test_a_job_that_the_cluster_refuses_is_a_failure(jobs, tmp_path):
    """Each template fails with the message of the scheduler."""
    jobs.refuse = True
    with submitit_executor(tmp_path / "jobs", jobs=4, poll_s=0.005) as executor:
        report = FitOptions().compute_missing({"animal": "A", "plane": range(3)}, executor, dest=tmp_path)
    assert {(failure.error, failure.message) for failure in report} == {
        ("RuntimeError", "sbatch: error: Invalid job array specification")
    }


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """Put a command ``squeue`` on the path, which shows what is in the file that is returned, and fails where that is missing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "squeue"
    command.write_text(f"#!/bin/sh\nexec cat {folder}/queued\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder / "queued"


@pytest.mark.skipif(os.name != "posix", reason="the command is a shell script")
def test_a_job_that_left_the_queue_without_a_result_is_a_failure(jobs, squeue, tmp_path, monkeypatch):
    """As one that was killed on a cluster without accounts. Nothing is concluded while Slurm does not answer."""
    monkeypatch.setattr(engines, "_PATIENCE_S", 0.5)
    monkeypatch.setattr(StubJob, "done", lambda job: False)
    log = tmp_path / "7_1.err"
    monkeypatch.setattr(StubJob, "paths", types.SimpleNamespace(stderr=log))
    log.write_text("starts\n" * 1000 + "srun: error: it ran out of memory\n")
    with submitit_executor(tmp_path / "jobs", cluster="slurm", poll_s=0.01) as executor:
        queued, killed = executor.submit(int), executor.submit(int)
        with pytest.raises(TimeoutError):
            killed.result(1.2)  # squeue fails
        squeue.write_text("7_0\n")
        with pytest.raises(RuntimeError, match=r"the job 7_1 left the queue ") as raised:
            killed.result(30)
        assert str(raised.value).endswith("starts\nsrun: error: it ran out of memory")
        assert str(log) in str(raised.value)
        assert len(str(raised.value)) < 1500
        assert not queued.done()
        log.unlink()
        squeue.write_text("\n")
        assert re.search(r"the job 7_0 .*No such file", str(queued.exception(30)))


def test_results_of_many_jobs_are_read_at_a_time(jobs, tmp_path, monkeypatch):
    """Since submitit waits long for the result of a job that was killed."""
    together = threading.Barrier(8)

    def result(job):
        together.wait(30)
        raise RuntimeError("has not produced any output")

    monkeypatch.setattr(StubJob, "result", result)
    with submitit_executor(tmp_path, jobs=8, poll_s=0.2) as executor:
        futures = [executor.submit(int) for _ in range(8)]
        assert {str(future.exception(60)) for future in futures} == {"has not produced any output"}


def test_shutdown_waits_for_jobs_or_cancels_them(jobs, tmp_path):
    """As other executors do; nothing can be submitted afterwards."""
    executor = submitit_executor(tmp_path, jobs=1, poll_s=0.005)
    futures = [executor.submit(divmod, 7, 2) for _ in range(3)]
    executor.shutdown()
    assert [future.result(0) for future in futures] == [(3, 1)] * 3
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(int)
    executor = submitit_executor(tmp_path, jobs=1, poll_s=60)
    first = executor.submit(int)
    executor.shutdown(wait=False)
    assert first.cancelled()
    executor = submitit_executor(tmp_path, jobs=1, poll_s=0.005)
    jobs.arrays.clear()
    StubJob.done, done = (lambda job: job.cancelled), StubJob.done
    try:
        waiting = [executor.submit(int), executor.submit(int)]
        end = time.monotonic() + 10
        while not jobs.arrays and time.monotonic() < end:
            time.sleep(0.002)
        executor.shutdown(wait=False)
        end = time.monotonic() + 10
        while any(thread.name == "submitit" for thread in threading.enumerate()) and time.monotonic() < end:
            time.sleep(0.002)
    finally:
        StubJob.done = done
    assert [array[0].cancelled for array in jobs.arrays] == [True]
    assert waiting[1].cancelled()


def test_jobs_that_were_being_submitted_at_shutdown_are_cancelled(jobs, tmp_path, monkeypatch):
    """As after Ctrl-C, while sbatch runs."""
    monkeypatch.setattr(StubJob, "done", lambda job: job.cancelled)
    jobs.submitted.clear()
    executor = submitit_executor(tmp_path, jobs=2, poll_s=0.005)
    future = executor.submit(int)
    assert jobs.submitting.wait(30)
    executor.shutdown(wait=False)
    jobs.submitted.set()
    future.result(30)
    assert [job.cancelled for job in jobs.arrays[0]] == [True]


def test_a_class_sent_several_times_is_loaded_as_one_class(tmp_path):
    """Engines send a class of a notebook with each task; its results must still be accepted by the handler."""
    pytest.importorskip("cloudpickle")
    notebook = """
import cloudpickle
from neuralib.persistence import field, persistence_class

@persistence_class
class Local:
    number: int = field(filename=True)
    value: float

with open("sent", "wb") as file:
    cloudpickle.dump(Local, file)
"""
    code = """
import pickle
from neuralib.persistence import PickleHandler, stores
sent = open("sent", "rb").read()
first, second = pickle.loads(sent), pickle.loads(sent)
assert first is second
handler = PickleHandler(first, stores.MemoryStore())
result = pickle.loads(sent)(3)
result.value = 1.5
handler.save_persistence(result)
assert handler.load_persistence({"number": 3}).value == 1.5
"""
    for script in (notebook, code):
        subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)


def test_the_executor_that_started_ray_ends_it(monkeypatch, tmp_path):
    """Ray that runs already is used as it is."""
    from concurrent.futures import ThreadPoolExecutor

    threads, calls = ThreadPoolExecutor(2), []

    def remote(function):
        task = types.SimpleNamespace(
            remote=lambda *arguments: types.SimpleNamespace(future=lambda: threads.submit(function, *arguments)),
            options=lambda **options: calls.append(options) or task,
        )
        return task

    state = {"up": False}
    ray = types.SimpleNamespace(
        is_initialized=lambda: state["up"],
        init=lambda **keywords: state.update(up=True) or calls.append(keywords),
        shutdown=lambda: state.update(up=False),
        remote=remote,
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    with ray_executor(address="auto", num_cpus=2) as executor:
        assert state["up"]
        assert FitOptions().compute_missing({"animal": "A", "plane": range(5)}, executor, dest=tmp_path).saved == 5
        with ray_executor() as second:
            assert second.submit(divmod, 7, 2).result() == (3, 1)
        assert state["up"]
    assert not state["up"]
    assert calls == [{"address": "auto", "log_to_driver": False}, {"num_cpus": 2}]
    threads.shutdown()


@pytest.mark.parametrize("make", [ray_executor, lambda: submitit_executor("jobs")], ids=["ray", "submitit"])
def test_an_engine_that_is_not_installed_names_its_extra(monkeypatch, make, request):
    """The error has the command that installs it."""
    name = request.node.callspec.id
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        ImportError, match=rf'{name}_executor\(\) needs {name}: pip install "neuralib-persistence\[{name}\]"'
    ):
        make()
