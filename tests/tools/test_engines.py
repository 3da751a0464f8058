"""Loky, submitit, Ray and MPI compute a batch; for dask see ``test_dask.py``."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from batches import Fit, FitOptions
from test_computing import COMPUTED, check_computed

from neuralib.persistence import PickleHandler
from neuralib.persistence.engines import ray_executor, submitit_executor

pytestmark = pytest.mark.filterwarnings("ignore")  # of the engines' own
TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Let workers that begin as new processes import the options of the tests."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))


def test_missing_results_are_computed_by_loky(tmp_path):
    """It comes with joblib, and replaces dead workers by itself."""
    loky = pytest.importorskip("joblib.externals.loky")
    executor = loky.get_reusable_executor(2)
    check_computed(tmp_path, lambda: contextlib.nullcontext(executor), elsewhere=True)
    report = FitOptions(kill_at=4).compute_missing(
        {"animal": "C", "plane": range(8)}, lambda: loky.get_reusable_executor(2), dest=tmp_path / "killed"
    )
    assert (report.saved, [hit.keys["plane"] for hit in report]) == (7, [4])
    loky.get_reusable_executor(2).shutdown(kill_workers=True)


def test_classes_of_a_notebook_are_sent_to_loky(tmp_path):
    """Options and results that are defined in a script or notebook are pickled by value."""
    pytest.importorskip("joblib.externals.loky")
    script = tmp_path / "script.py"
    script.write_text(
        """
import os
from joblib.externals.loky import get_reusable_executor
from neuralib.persistence import field, persistence_class
from neuralib.persistence.cli_persistence import PersistenceOptions

@persistence_class
class Own:
    number: int = field(filename=True)
    pid: int

class OwnOptions(PersistenceOptions[Own]):
    def empty_cache(self):
        return Own(0)
    def compute_cache(self, result):
        result.pid = os.getpid()
        return result

report = OwnOptions().compute_missing({"number": range(9)}, get_reusable_executor(2), dest="results")
found = OwnOptions().persistence_handler("results").find()
assert os.getpid() not in {hit.load().pid for hit in found}
print(report, len(found))
"""
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout == "<BatchReport: 9 saved, 0 failed> 9\n", done.stderr


def test_missing_results_are_computed_by_submitit(tmp_path):
    """Each chunk in a process of its own. The number of waiting jobs is bounded."""
    pytest.importorskip("submitit")

    def executors():
        return submitit_executor(tmp_path / "jobs", cluster="local", jobs=3, poll_s=0.05, timeout_min=2)

    check_computed(tmp_path, executors, elsewhere=True)


def test_a_killed_job_of_submitit_is_a_failure(tmp_path):
    """The other jobs go on."""
    pytest.importorskip("submitit")
    with submitit_executor(tmp_path / "jobs", cluster="local", jobs=2, poll_s=0.05, timeout_min=2) as executor:
        report = FitOptions(kill_at=1).compute_missing(
            {"animal": "A", "plane": range(4)}, executor, dest=tmp_path / "r"
        )
    assert 1 in {hit.keys["plane"] for hit in report}
    assert report.saved == 4 - len(report) == len(PickleHandler(Fit, tmp_path / "r").find())


def test_missing_results_are_computed_by_ray(tmp_path, monkeypatch):
    """With resources for each task. A worker that is killed is a failure of its task."""
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    with ray_executor(num_cpus=1, max_retries=0) as executor:
        check_computed(tmp_path, lambda: contextlib.nullcontext(executor), elsewhere=True)
        report = FitOptions(kill_at=1).compute_missing(
            {"animal": "A", "plane": range(4)}, executor, dest=tmp_path / "r"
        )
    assert 1 in {hit.keys["plane"] for hit in report}
    assert report.saved == 4 - len(report)


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="there is no MPI")
def test_missing_results_are_computed_by_mpi(tmp_path):
    """By the processes of a job, of which one distributes the work."""
    pytest.importorskip("mpi4py")
    script = tmp_path / "driver.py"
    script.write_text(
        f"""
from mpi4py.futures import MPIPoolExecutor
from batches import FitOptions
if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        print(FitOptions().compute_missing({{"animal": ["A", "B"], "plane": range(3)}}, executor, dest={str(tmp_path / "r")!r}))
"""
    )
    environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    done = subprocess.run(
        ["mpirun", "--oversubscribe", "-n", "3", sys.executable, "-m", "mpi4py.futures", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "<BatchReport: 6 saved, 0 failed>" in done.stdout, done.stderr
    assert {(hit.keys["animal"], hit.keys["plane"]) for hit in PickleHandler(Fit, tmp_path / "r").find()} == COMPUTED
