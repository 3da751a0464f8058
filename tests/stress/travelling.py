"""A script that sends classes and handlers to other processes by cloudpickle, and compares what comes back."""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any

import numpy as np

from neuralib.persistence import (
    GzipHandler,
    PickleHandler,
    autoinc_field,
    field,
    filename,
    persistence_class,
    results_equal,
)


@persistence_class(name="Tuned", filename_field_splitter="~")
class Trial:
    animal: str = field(filename=True, filename_prefix="m", validator=True)
    sf: float = field(filename=lambda value: f"{value:.2f}", unit="Hz", renamed_from="spatial")
    tags: list = field(default_factory=list)
    run: int = autoinc_field(filename_prefix="#")
    weights: np.ndarray
    extra: list = field(init=False, default_factory=list)

    def total(self) -> float:
        return float(self.weights.sum())


def local_class() -> Any:
    @persistence_class(version=2)
    class Local:
        animal: str = field(filename=True)
        score: float

        @classmethod
        def upgrade(cls, fields, version):
            return fields

    return Local


Local = local_class()


def work(handler, result, folder):
    """Save and find results in the worker; return what is compared here."""
    cls = handler.persistence_class
    assert type(result) is cls, "the class of the result is that of the handler"
    result.weights = np.arange(3.0)
    saved = handler.save_persistence(result)
    other = cls("B", 0.5)
    other.weights = np.ones(2)
    other.extra.append(1)
    GzipHandler(cls, folder).save_persistence(other)
    return saved, filename(saved), sorted(hit.name for hit in handler.find()), saved.total(), os.getpid(), cls


def local_work(handler, result):
    assert type(result) is handler.persistence_class
    result.score = 1.0
    return handler.save_persistence(result), filename(result), handler.load_persistence(result).score


def check(submit, folder) -> None:
    handler = PickleHandler(Trial, folder)
    for run in range(2):
        saved, name, names, total, pid, cls = submit(work, handler, Trial("A", 0.5), folder)
        assert pid != os.getpid(), "it ran in another process"
        assert type(saved) is cls is Trial, "the same class came back"
        assert name == filename(saved) == f"cache~Tuned~mA~0.50~#{run}"
        assert names == sorted(hit.name for hit in handler.find())
        assert (saved.run, total, saved.total()) == (run, 3, 3)
        assert results_equal(handler.load_persistence(saved), saved)
    assert len(handler.find(animal="B")) == 2
    there, name, score = submit(local_work, PickleHandler(Local, folder), Local("L"))
    assert (type(there), name, score) == (Local, filename(there), 1.0)
    assert PickleHandler(Local, folder).load_persistence(Local("L")).score == 1.0


def by_loky(folder) -> None:
    from joblib import Parallel, delayed

    with Parallel(n_jobs=2) as pool:
        check(lambda function, *arguments: pool([delayed(function)(*arguments)])[0], folder)


def by_dask(folder) -> None:
    import distributed

    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        check(lambda function, *arguments: client.submit(function, *arguments, pure=False).result(), folder)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        {"joblib": by_loky, "distributed": by_dask}[sys.argv[1]](place)
    print("same")
