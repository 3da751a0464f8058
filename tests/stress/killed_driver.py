"""A driver of a batch on one engine, started with the engine's name: ``killed_driver.py ENGINE RESULTS TALLY``."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from batches import DrawOptions, FitOptions

PLANES, REPETITIONS = 40, 20
SLOW_S = 0.02
CHUNK_S = 0.1


class DrawnOptions(DrawOptions):
    def __init__(self, tally):
        self.tally = tally

    def compute_cache(self, result):
        (self.tally / f"{result.animal}-run{result.run}-{os.getpid()}-{time.monotonic_ns()}").touch()
        time.sleep(SLOW_S)
        return super().compute_cache(result)


@contextlib.contextmanager
def dask(folder):
    import dask
    import distributed

    # By default, workers that are not back 15 s after they were killed are given up, and a batch waits if none is left.
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=None,
            silence_logs=50,
            local_directory=folder / f"dask-{os.getpid()}",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client.get_executor(retries=20)


@contextlib.contextmanager
def ray(folder):
    import ray

    from neuralib.persistence.engines import ray_executor

    # Not below the folder of the test: sockets have short paths.
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    with ray_executor(num_cpus=1, max_retries=20) as executor:
        yield executor
    ray.shutdown()


def submitit(folder):
    from neuralib.persistence.engines import submitit_executor

    return submitit_executor(folder / "jobs", cluster="local", jobs=2, poll_s=0.05, chunk_s=CHUNK_S, timeout_min=2)


def slurm(folder):
    from neuralib.persistence._computing import engines
    from neuralib.persistence.engines import submitit_executor

    engines._PATIENCE_S = 3.0  # with which the batch waits for jobs that were killed
    return submitit_executor(folder / "jobs", cluster="slurm", jobs=4, poll_s=0.05, chunk_s=CHUNK_S, timeout_min=2)


def executorlib(folder):
    from executorlib import SingleNodeExecutor

    return SingleNodeExecutor(max_workers=2, block_allocation=True)


def mpi(folder):
    from mpi4py.futures import MPIPoolExecutor

    return MPIPoolExecutor()


@contextlib.contextmanager
def parsl(folder):
    from parsl import Config
    from parsl.concurrent import ParslPoolExecutor
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    workers = HighThroughputExecutor(
        max_workers_per_node=2,
        cores_per_worker=0.1,
        address="127.0.0.1",
        heartbeat_period=1,
        heartbeat_threshold=5,
        provider=LocalProvider(max_blocks=1),
    )
    run_dir = str(folder / f"parsl-{os.getpid()}")
    config = Config(executors=[workers], retries=20, run_dir=run_dir, initialize_logging=False)
    with ParslPoolExecutor(config) as executor:
        yield executor


def loky():
    from joblib.externals.loky import get_reusable_executor

    return get_reusable_executor(2)


ENGINES = {
    "processes": lambda folder: contextlib.nullcontext(lambda: ProcessPoolExecutor(2)),
    "loky": lambda folder: contextlib.nullcontext(loky),
    "dask": dask,
    "ray": ray,
    "submitit": submitit,
    "slurm": slurm,
    "executorlib": executorlib,
    "mpi": mpi,
    "parsl": parsl,
}


def main():
    engine, results, tally = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    how = {"dest": results, "claims": True, "retries": 20, "progress": False}
    with ENGINES[engine](results.parent) as executor:
        fits = FitOptions(tally, slow_s=SLOW_S)
        report = fits.compute_missing({"animal": ["A", "B"], "plane": range(PLANES)}, executor, **how)
        draws = DrawnOptions(tally)
        drawn = draws.compute_missing({"animal": ["A"]}, executor, repeat=REPETITIONS, **how)
    for failure in (*report, *drawn):
        print(failure.keys, failure.error, failure.message, file=sys.stderr)
    sys.exit(any(batch or batch.not_tried or batch.passed_over for batch in (report, drawn)))


if __name__ == "__main__":
    main()
