"""Batches that finish although their workers and drivers are killed at random, and what must be true of them afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from batches import Draw, Fit
from stress.killed_driver import PLANES, REPETITIONS

from neuralib.persistence import PickleHandler
from neuralib.persistence._computing.claims import claim_name
from neuralib.persistence._stores.base import LEFTOVER_PREFIX

TESTS = Path(__file__).parents[1]
WANTED = [(animal, plane) for animal in "AB" for plane in range(PLANES)]
DRIVERS_ONLY = ("executorlib",)  # it waits for ever for a worker that was killed between two tasks
IN_TASKS_ONLY = (
    "parsl",
)  # its workers share a lock: of one that was killed while it waited for a task, the others wait for ever
WORKERS = 2  # of each driver: a pool loses all of them with the one that is killed, and MPI too
SLACK_NS = 1_000_000_000  # between a look for a result and the time at which its computation is noted
MPIRUN = ["mpirun", "--oversubscribe", "-n", "3", sys.executable, "-m", "mpi4py.futures"]


class Batch:
    """Driver processes that compute the same batch into one folder, each in a session of its own."""

    def __init__(self, tmp_path, engine):
        self.engine = engine
        self.folder, self.tally = tmp_path / "results", tmp_path / "tally"
        self.tally.mkdir()
        self.mark = f"KILLED_BATCH={tmp_path}"
        self.log = open(tmp_path / "log", "w")
        self.drivers = []
        self.killed = 0
        """How many workers were killed, or lost their driver."""
        self.killed_drivers = 0  # with MPI, a worker that is killed ends its driver too

    def start(self):
        name, _, value = self.mark.partition("=")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
            name: value,
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        command = [*(MPIRUN if self.engine == "mpi" else [sys.executable]), str(TESTS / "stress" / "killed_driver.py")]
        driver = subprocess.Popen(
            [*command, self.engine, str(self.folder), str(self.tally)],
            env=environment,
            start_new_session=True,
            stderr=self.log,
        )
        self.drivers.append(driver)
        return driver

    def workers(self):
        """Return the processes that have computed something and are still alive."""
        seen = {}
        for path in self.tally.iterdir():
            pid, seen_ns = map(int, path.name.split("-")[-2:])
            seen[pid] = seen_ns
        # A process that started later is another one with the same process id.
        return [pid for pid, seen_ns in seen.items() if (started_ns(pid) or seen_ns + 1) <= seen_ns]

    def is_marked(self, pid):
        """Return whether a process was started by this batch: it inherits an environment variable."""
        try:
            return self.mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False

    def kill_some(self, rng):
        """Kill a driver or a worker, chosen by *rng*."""
        workers = self.workers()
        if not workers:
            return  # no worker has computed anything yet
        if self.engine not in DRIVERS_ONLY and rng.random() < 0.7:
            worker = rng.choice(workers)
            if self.engine in IN_TASKS_ONLY and not self.is_stopped_in_task(worker):
                return
            kill(worker)
            self.killed += 1
        else:
            driver = rng.choice(self.drivers)
            os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()
            self.killed += len(workers)
            self.killed_drivers += 1

    def is_stopped_in_task(self, pid):
        """Stop the worker *pid* if it is computing or saving, else let it go on; return whether it was stopped."""
        signal_to(pid, signal.SIGSTOP)
        while state_of(pid)[0] not in {"T", "Z", ""}:
            time.sleep(0.001)
        tasks = {int(path.name.rpartition("-")[2]): path.name for path in self.tally.glob(f"*-{pid}-*")}
        animal, number, *_ = tasks[max(tasks)].split("-")
        fit, draw = f"cache-Fit-{animal}-plane{number}.pkl", f"cache-Draw-{animal}-{number.replace('run', '#')}.pkl"
        if (self.folder / (draw if "run" in number else fit)).exists():
            signal_to(pid, signal.SIGCONT)
            return False
        return True

    def end(self):
        """Kill all that is left of the batch."""
        for driver in self.drivers:
            if driver.poll() is None:
                os.killpg(driver.pid, signal.SIGKILL)
                driver.wait()
        # Engines start processes in sessions of their own. Some overwrite their environment to show another name.
        started = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        for pid in {*self.workers(), *filter(self.is_marked, started)}:
            kill(pid)
        self.log.close()


def started_ns(pid):
    """Return when the process began, as :func:`time.monotonic_ns` counts; None where it has ended."""
    state, start = state_of(pid)
    return None if state in {"Z", ""} else start * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def state_of(pid):
    """Return the state of the process, and when it began in ticks; an empty text where there is none."""
    try:
        state, *numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return state, int(numbers[18])


def signal_to(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def kill(pid):
    signal_to(pid, signal.SIGKILL)


def finish(batch, rng, most_kills):
    """Start and kill drivers until all is computed, and check the results."""
    try:
        end = time.monotonic() + 300
        while not is_done(batch) and batch.killed < most_kills and time.monotonic() < end:
            batch.drivers = [driver for driver in batch.drivers if driver.poll() is None]
            while len(batch.drivers) < (3 if batch.engine == "processes" else 2):
                batch.start()
            time.sleep(rng.uniform(0.05, 0.4))
            batch.kill_some(rng)
        assert batch.killed
        for driver in batch.drivers:
            driver.wait(timeout=300)
        # On one machine, claims of dead drivers are free as soon as the system has ended their processes.
        assert any(batch.start().wait(timeout=300) == 0 for _ in range(5))
    finally:
        batch.end()
    check_results(batch)


def is_done(batch):
    done = len(list(batch.folder.glob("cache-*"))) if batch.folder.exists() else 0
    return done == len(WANTED) + REPETITIONS


def check_results(batch):
    fits, draws = PickleHandler(Fit, batch.folder), PickleHandler(Draw, batch.folder)
    assert sorted((hit.keys["animal"], hit.keys["plane"]) for hit in fits.find()) == WANTED
    assert [hit.keys["run"] for hit in draws.find()] == list(range(REPETITIONS))
    assert all(found.problem is None for handler in (fits, draws) for found in handler.verify())
    begun = list(batch.tally.iterdir())
    repeated = len(begun) - len(WANTED) - REPETITIONS
    assert repeated >= 0
    if batch.engine != "parsl":  # it gives up workers whose heartbeats are late, as on a busy machine
        lost = (
            f"{repeated} were computed again, and {batch.killed} workers and {batch.killed_drivers} drivers were lost"
        )
        assert repeated <= WORKERS * batch.killed, f"{lost}: only tasks in flight are computed again"
    saved_ns = {f"{hit.keys['animal']}-{hit.keys['plane']}": hit.path.stat().st_mtime_ns for hit in fits.find()}
    saved_ns |= {f"{hit.keys['animal']}-run{hit.keys['run']}": hit.path.stat().st_mtime_ns for hit in draws.find()}
    for path in begun:
        late_ns = path.stat().st_mtime_ns - saved_ns[path.name.rsplit("-", 2)[0]]
        assert late_ns < SLACK_NS, f"{path.name} was begun after its result was saved"
    names = os.listdir(batch.folder)
    left = {name for name in names if name.startswith(f"{LEFTOVER_PREFIX}work-")}
    assert left <= set(map(claim_name, names)), "what is not there is claimed no more"
    if batch.engine == "processes":
        assert len(left) <= WORKERS * batch.killed, "a worker that was killed had one claim"
    elif batch.engine != "mpi" and not batch.killed_drivers:
        assert not left, "the drivers gave up the claims of killed workers"
