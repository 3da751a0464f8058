"""A batch computes into every kind of store, by threads and by processes."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from batches import DrawOptions, Fit, FitOptions, SeededOptions
from test_claims import STORES
from test_driving import Engine, pool, pytestmark  # noqa: F401

from neuralib.persistence import PickleHandler
from neuralib.persistence.stores import ArchiveStore, FolderStore

GRID = {"animal": ["A", "B"], "plane": [*range(6), 100]}


@pytest.fixture(params=STORES)
def store(request, tmp_path):
    return STORES[request.param](tmp_path / "results")


@pytest.fixture(params=[ThreadPoolExecutor, pool, Engine], ids=["threads", "processes", "engine"])
def executor(request):
    with request.param(2) if request.param is not Engine else Engine() as made:
        yield made


def may_save(store, executor):
    """Return whether the workers of *executor* can save into *store*."""
    return isinstance(executor, ThreadPoolExecutor) or isinstance(store, (FolderStore, ArchiveStore))


@pytest.mark.parametrize("save", ["worker", "driver"])
@pytest.mark.parametrize("claims", [False, True], ids=["", "claims"])
def test_a_batch_computes_into_any_store(store, executor, save, claims):
    """Each result once, whole, with its failures reported; the next batch computes nothing again."""
    if save == "worker" and not may_save(store, executor):
        with pytest.raises((ValueError, TypeError), match="in the memory of this process|forked|pickle"):
            FitOptions().compute_missing(GRID, executor, dest=store, save=save, claims=claims)
        return
    how = {"dest": store, "save": save, "claims": claims, "progress": False}
    report = FitOptions().compute_missing(GRID, executor, **how)
    assert (report.saved, [failure.error for failure in report]) == (12, ["UnpicklableError"] * 2)
    again = FitOptions().compute_missing(GRID, executor, **how)
    assert (again.saved, again.found, len(again)) == (0, 0, 2)
    handler = PickleHandler(Fit, store)
    assert [check.problem for check in handler.verify()] == [None] * 12
    pids = {hit.load().pid for hit in handler.find()}
    assert (os.getpid() in pids) == (not isinstance(executor, ProcessPoolExecutor))


def test_repetitions_in_any_store_are_exact(store, executor):
    """Numbers from 0 on, each the seed of its result."""
    save = "worker" if may_save(store, executor) else "driver"
    for repeat, new in ((7, 7), (9, 2)):
        report = SeededOptions().compute_missing(
            {"animal": ["A"]}, executor, dest=store, repeat=repeat, save=save, progress=False
        )
        assert report.saved == new
    found = PickleHandler(SeededOptions().persistence_class, store).find()
    assert [hit.keys["run"] for hit in found] == list(range(9))
    assert len({hit.load().value for hit in found}) == 9
    assert DrawOptions().compute_missing({"animal": ["A"]}, executor, dest=store, repeat=9, save=save).saved == 0
