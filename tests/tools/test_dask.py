"""Dask computes a batch."""

from __future__ import annotations

import contextlib

import pytest
from test_computing import check_computed


@contextlib.contextmanager
def dask_executor():
    distributed = pytest.importorskip("distributed")
    pytest.importorskip("dask")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client.get_executor()


@pytest.mark.filterwarnings("ignore")  # by dask itself
def test_missing_results_are_computed_by_dask(tmp_path):
    """By its executor."""
    check_computed(tmp_path, dask_executor, elsewhere=True)
