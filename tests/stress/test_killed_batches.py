"""Workers and drivers of batches are killed at random until all is done: each result is saved once, and little is computed twice."""

from __future__ import annotations

import importlib.util
import random
import shutil
import sys

import pytest
from stress.killed_batches import Batch, finish
from stress.killed_driver import ENGINES

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc"),
    pytest.mark.filterwarnings("ignore"),  # the engines give warnings of their own
]

PACKAGES = {"loky": "joblib", "dask": "distributed", "mpi": "mpi4py"}


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "slurm"])
def test_batches_finish_although_workers_and_drivers_are_killed(tmp_path, long, engine):
    """Several drivers compute into one folder; a new one is started for each that was killed."""
    if engine != "processes" and importlib.util.find_spec(PACKAGES.get(engine, engine)) is None:
        pytest.skip(f"needs {engine}")
    if engine == "mpi" and shutil.which("mpirun") is None:
        pytest.skip("there is no MPI")
    for seed in range(20 if long and engine == "processes" else 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        finish(Batch(folder, engine), random.Random(seed), most_kills=30 if long else 5)
