"""Executors for engines that have none that fits: Ray, and job arrays of a cluster by submitit.

Each is given to :meth:`~neuralib.persistence.cli_persistence.PersistenceOptions.compute_missing` as its ``executor``.
"""

from __future__ import annotations

from neuralib.persistence._computing.engines import ray_executor, submitit_executor

__all__ = ["ray_executor", "submitit_executor"]
