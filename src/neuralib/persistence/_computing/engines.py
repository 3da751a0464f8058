"""Executors for engines that have none that fits: Ray, and job arrays of a cluster by submitit."""

from __future__ import annotations

import collections
import os
import secrets
import subprocess
import threading
import time
from concurrent.futures import Executor, Future
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from neuralib.persistence._packages import import_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_MOST_SHOWN_BYTES = 1000  # of what a job printed
_WARNED_S = 10
_PATIENCE_S = 60.0  # a result may appear later than its job leaves the queue, as far as a shared file system is slow


def ray_executor(*, address: str | None = None, jobs: int = 1000, **options: Any) -> Executor:
    """Return an executor that computes on Ray (extra ``ray``).

    >>> with ray_executor(num_cpus=2) as executor:  # doctest: +SKIP
    ...     report = options.compute_missing(grid, executor, dest="results")

    :param address: of a cluster, as ``ray.init`` takes it; where Ray runs in this process already, it is used as it is
    :param jobs: how many tasks Ray has at a time, at most
    :param options: of each task, as ``num_cpus``, ``num_gpus`` and ``memory``: see ``ray.remote``
    """
    ray = import_extra("ray", "ray", "ray_executor()")
    return _RayExecutor(ray, address, jobs, options)


def submitit_executor(
    folder: str | os.PathLike[str],
    *,
    cluster: str | None = None,
    jobs: int = 1000,
    poll_s: float = 1.0,
    chunk_s: float = 60.0,
    **parameters: Any,
) -> Executor:
    """Return an executor that submits jobs to a cluster by submitit (extra ``submitit``): arrays of them, to Slurm.

    >>> executor = submitit_executor("jobs", slurm_partition="short", timeout_min=60)  # doctest: +SKIP
    >>> with executor:  # doctest: +SKIP
    ...     report = options.compute_missing(grid, executor, dest="results")

    A job that the cluster kills fails its templates;
    :meth:`~neuralib.persistence.cli_persistence.PersistenceOptions.compute_missing` can try them again (``retries=``). Slurm tells
    of such a job by its accounts (``sacct``), or, where it keeps none, by its queue (``squeue``).

    :param folder: where submitit keeps what goes to the jobs, and what they print, in a new folder for each executor; all nodes
        must see it
    :param cluster: ``"slurm"``; ``"local"`` for processes of this machine; Slurm where it is installed, by default
    :param jobs: how many jobs are in the cluster at a time, at most: more wait here. No array is larger, so it must be below
        Slurm's ``MaxArraySize`` (1001 by default) and the limits of your account
    :param poll_s: how often submitted jobs are looked at, in seconds; what comes within that time becomes one array
    :param chunk_s: how long a job of short tasks is to take, in seconds
    :param parameters: of each job, as submitit's ``update_parameters`` takes them: ``timeout_min``, ``mem_gb``, ``cpus_per_task``,
        ``slurm_partition``, ``slurm_array_parallelism``, …
    """
    submitit = import_extra("submitit", "submitit", "submitit_executor()")
    # Local jobs are named by their process ids, which are used again: one may come across the files of a former job.
    own = os.path.join(folder, f"{time.strftime('%Y-%m-%d')}-{secrets.token_hex(4)}")
    submitter = submitit.AutoExecutor(folder=own, cluster=cluster)
    # Slurm warns a job by a signal, up to a minute before it was asked to. By default, submitit asks for 90 s before the end: a job of
    # two minutes would get the signal at its start, and before Python handles it, the signal kills it.
    submitter.update_parameters(**{"slurm_signal_delay_s": _WARNED_S, **parameters})
    return _SubmititExecutor(submitter, jobs, poll_s, chunk_s)


class _RayExecutor(Executor):
    def __init__(self, ray: Any, address: str | None, jobs: int, options: dict[str, Any]) -> None:
        self._ray = ray
        self._owns_ray = not ray.is_initialized()
        if self._owns_ray:
            ray.init(address=address, log_to_driver=False)
        self._call = ray.remote(_call)
        if options:
            self._call = self._call.options(**options)
        self._max_workers = jobs

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future[Any]:
        """Return the future of a task of Ray."""
        return self._call.remote(function, arguments, keywords).future()  # type: ignore[no-any-return]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End Ray if it was started for this executor."""
        if self._owns_ray and self._ray.is_initialized():
            self._ray.shutdown()


def _call(function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    return function(*arguments, **keywords)


class _SubmititExecutor(Executor):
    fresh_workers = True  # each job is a process of its own

    def __init__(self, submitter: Any, jobs: int, poll_s: float, chunk_s: float) -> None:
        self._submitter = submitter
        self._max_workers, self._poll_s, self.chunk_s = jobs, poll_s, chunk_s
        self._waiting: collections.deque[tuple[Future[Any], Any]] = collections.deque()
        self._running: list[tuple[Future[Any], Any]] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ended = self._cancels = False
        self._thread: threading.Thread | None = None
        self._queue = _SlurmQueue(poll_s) if submitter.cluster == "slurm" else None

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future[Any]:
        """Return the future of a job, which is submitted with others after a while."""
        future: Future[Any] = Future()
        with self._lock:
            if self._ended:
                raise RuntimeError("cannot submit jobs after shutdown")
            self._waiting.append((future, (function, arguments, keywords)))
            if self._thread is None:
                self._thread = threading.Thread(target=self._look_after_jobs, name="submitit", daemon=True)
                self._thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Submit no more jobs; without *wait*, cancel those that run."""
        with self._lock:
            self._ended, self._cancels = True, self._cancels or not wait
            thread = self._thread
            if cancel_futures or not wait:
                for future, _ in self._waiting:
                    future.cancel()
            if not wait:
                for _, job in self._running:
                    job.cancel(check=False)
        self._wake.set()
        if wait and thread is not None:
            thread.join()

    def _look_after_jobs(self) -> None:
        while True:
            self._wake.wait(self._poll_s)
            if self._wake.is_set():
                self._wake.clear()
            with self._lock:
                room = self._max_workers - len(self._running)
                batch = [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]
            self._start(batch)
            running = list(self._running)
            lost = set() if self._queue is None else self._queue.lost(job.job_id for _, job in running)
            done = {future: job.result for future, job in running if job.done()}
            for future, job in running:
                if future not in done and job.job_id in lost:
                    done[future] = partial(_raise_lost, job)
            # submitit waits 15 s for the result of a job that was killed: for all at a time here. No thread keeps Python from ending.
            threads = [threading.Thread(target=self._settle, args=item, daemon=True) for item in done.items()]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            with self._lock:
                self._running = [(future, job) for future, job in self._running if future not in done]
                if not self._waiting and not self._running:
                    self._thread = None
                    return

    def _start(self, batch: list[tuple[Future[Any], Any]]) -> None:
        """Submit the calls in *batch* as one array."""
        begun = [(future, call) for future, call in batch if future.set_running_or_notify_cancel()]
        if not begun:
            return
        try:
            with self._submitter.batch():
                jobs = [self._submitter.submit(_call, *call) for _, call in begun]
        except Exception as error:  # what the scheduler refuses
            for future, _ in begun:
                future.set_exception(error)
            return
        with self._lock:
            self._running += [(future, job) for (future, _), job in zip(begun, jobs, strict=True)]
            cancels = self._cancels
        for job in jobs if cancels else []:  # shut down while they were submitted
            job.cancel(check=False)

    @staticmethod
    def _settle(future: Future[Any], result: Callable[[], Any]) -> None:
        try:
            value = result()
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(value)


class _SlurmQueue:
    """The jobs in Slurm's queue. One that has left it without a result was killed, or cancelled.

    Where a cluster keeps no accounts, nothing else tells so.

    :param poll_s: how often jobs are looked at. The queue is asked ten times less often, and not more than every 10 seconds
    """

    def __init__(self, poll_s: float) -> None:
        self._every_s = max(10 * poll_s, _PATIENCE_S / 6)
        self._asked_s = time.monotonic()
        self._missed: dict[str, float] = {}
        """Since when a job is not in the queue."""

    def lost(self, job_ids: Iterable[str]) -> set[str]:
        """Return which of *job_ids* have not been in the queue for some time."""
        now = time.monotonic()
        if now - self._asked_s < self._every_s:
            return set()
        self._asked_s = now
        queued = _queued()
        if queued is None:
            return set()
        self._missed = {job_id: self._missed.get(job_id, now) for job_id in job_ids if job_id not in queued}
        return {job_id for job_id, since in self._missed.items() if now - since >= _PATIENCE_S}


def _queued() -> set[str] | None:
    """Return the jobs of this user that are in Slurm's queue; None where it does not answer."""
    command = ["squeue", "--noheader", "--array", "--format=%i", f"--user={os.getuid()}"]
    try:
        return set(subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout.split())  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None


def _raise_lost(job: Any) -> NoReturn:
    path = job.paths.stderr
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _MOST_SHOWN_BYTES))
            printed = file.read().decode(errors="replace").strip()
    except OSError as error:
        printed = f"({error})"
    raise RuntimeError(
        f"the job {job.job_id} left the queue of Slurm without a result: it was killed, or cancelled. What it printed last, in "
        f"{path}: {printed or '(nothing)'}"
    )
