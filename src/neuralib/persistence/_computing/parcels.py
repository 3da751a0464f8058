"""Send a batch to other processes: the options once to each worker, the templates in chunks.

Options may be large. They are pickled once. A worker that has unpickled them keeps them, and the driver, who can't know
which worker gets what, sends them along until workers know them. This works with any executor, however it starts its workers.
"""

from __future__ import annotations

import os
import pickle
import socket
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from neuralib.persistence._forks import FREED, lock_for_forks

if TYPE_CHECKING:
    from neuralib.persistence._computing.work import Outcome, Work

SMALL_BYTES = 1 << 15
"""Options of no more than this are sent with each chunk."""

_MOST_KEPT = 2  # batches whose options a worker keeps


class Answer(NamedTuple):
    """What a worker returns."""

    outcomes: list[Outcome] | None
    """Of the templates that there was time for; None where the worker needs the options."""
    worker: tuple[str, int]
    """Its host and process."""
    seconds: float
    """Of all that were computed."""

    @classmethod
    def of(cls, work: Work, templates: list[Any], budget_s: float) -> Answer:
        """Return what becomes of *templates*; after *budget_s* seconds, no further one is begun."""
        start_s = time.perf_counter()
        outcomes: list[Outcome] = []
        for template in templates:
            outcomes.append(work.run_one(template))
            if time.perf_counter() - start_s > budget_s:
                break
        return cls(outcomes, _worker(), time.perf_counter() - start_s)


def _worker() -> tuple[str, int]:
    return socket.gethostname(), os.getpid()


class Parcel:
    """The options of a batch, pickled.

    :param work: what is sent
    :param dumps: pickles it
    """

    def __init__(self, work: Work, dumps: Callable[[Any], bytes]) -> None:
        self.batch = work.batch
        self.content = dumps(work)
        self._dumps = dumps
        self.small = len(self.content) <= SMALL_BYTES

    def arguments(self, templates: list[Any], *, whole: bool) -> tuple[str, bytes | None, bytes]:
        """Return the arguments of :func:`run_parcel` for *templates*.

        :param whole: with the options
        """
        return self.batch, self.content if whole else None, self._dumps(templates)


def pickler_for(executor: Executor) -> Callable[[Any], bytes]:
    """Return the function that pickles for *executor*: for engines of clusters, one that also pickles classes of scripts and notebooks."""
    if not isinstance(executor, ProcessPoolExecutor):
        for name in ("cloudpickle", "joblib.externals.cloudpickle"):
            try:
                module = __import__(name, fromlist=["dumps"])
            except ImportError:
                continue
            return lambda value: module.dumps(value, protocol=5)
    return lambda value: pickle.dumps(value, protocol=5)


_kept: dict[str, Work] = {}
_kept_lock = lock_for_forks(FREED)


def run_parcel(batch: str, content: bytes | None, templates: bytes, budget_s: float) -> Answer:
    """Compute *templates* by the options in *content*, or by those that came before: what an engine's worker is given."""
    with _kept_lock:
        work = _kept.get(batch)
        if work is None:
            if content is None:
                return Answer(None, _worker(), 0.0)
            while len(_kept) >= _MOST_KEPT:
                del _kept[next(iter(_kept))]
            work = _kept[batch] = pickle.loads(content)
    return Answer.of(work, pickle.loads(templates), budget_s)
