"""Batches of tasks that take no time, by two processes: what a task costs beside the bare pool or engine."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

from cases.common import Unavailable, scaled, side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor
    from pathlib import Path

TASKS = 2_000
LARGE_TASKS = 200
WORKERS = 2


@functools.cache
def tiny_options() -> type[Any]:
    """Return the options of a computation that takes no time, as a module of a lab has them: workers import them by name."""
    from neuralib.persistence import field, persistence_class
    from neuralib.persistence.cli_persistence import PersistenceOptions

    @persistence_class
    class Tiny:
        n: int = field(validator=True, filename=True)
        value: float

    class TinyOptions(PersistenceOptions[Tiny]):
        def empty_cache(self) -> Tiny:
            return Tiny(0)

        def compute_cache(self, result: Tiny) -> Tiny:
            result.value = half_of(result.n)
            return result

    for made in (Tiny, TinyOptions):
        made.__qualname__ = made.__name__
        globals()[made.__name__] = made
    return TinyOptions


def __getattr__(name: str) -> Any:
    if name in {"Tiny", "TinyOptions"}:
        tiny_options()
        return globals()[name]
    raise AttributeError(name)


def half_of(n: int) -> float:
    return n * 0.5


@contextlib.contextmanager
def engine_of(name: str) -> Iterator[Executor]:
    """Start two workers of an engine. They are ready: each has computed something.

    :raises Unavailable: it is not installed
    """
    with contextlib.ExitStack() as stack:
        try:
            executor = _start(name, stack)
        except ImportError:
            raise Unavailable(f"needs {name}") from None
        for task in [executor.submit(half_of, 1) for _ in range(20)]:
            task.result()
        yield executor


def _start(name: str, stack: contextlib.ExitStack) -> Executor:
    if name == "loky":
        from joblib.externals.loky import get_reusable_executor

        return get_reusable_executor(WORKERS)
    if name == "dask":
        import distributed

        cluster = distributed.LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, dashboard_address=None, silence_logs=50
        )
        return stack.enter_context(distributed.Client(stack.enter_context(cluster))).get_executor()
    import ray

    from neuralib.persistence.engines import ray_executor

    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="error")
    stack.callback(ray.shutdown)
    return stack.enter_context(ray_executor(num_cpus=1))


def batches(folder: Path, options: Any, count: int, started: Executor | None = None, **settings: Any) -> Any:
    for number in itertools.count():

        def batch(target: Path = folder / str(number)) -> int:
            with contextlib.nullcontext(started) if started else ProcessPoolExecutor(WORKERS) as executor:
                report = options.compute_missing({"n": range(count)}, executor, dest=target, progress=False, **settings)
            assert report.saved == count
            return count

        yield batch


@side("compute_missing of 2000 tiny tasks", "ours")
def compute_missing(folder: Path) -> Any:
    yield from batches(folder, tiny_options()(), scaled(TASKS, at_least=200))


@side("compute_missing of 2000 tiny tasks", "with claims")
def compute_with_claims(folder: Path) -> Any:
    yield from batches(folder, tiny_options()(), scaled(TASKS, at_least=200), claims=True)


@side("compute_missing of 2000 tiny tasks", "bare pool")
def bare_pool(folder: Path) -> Any:
    """Computes, and saves nothing."""
    yield from submitted(half_of, scaled(TASKS, at_least=200))


def submitted(function: Callable[[int], float], count: int, started: Executor | None = None) -> Any:
    def batch() -> int:
        with contextlib.nullcontext(started) if started else ProcessPoolExecutor(WORKERS) as executor:
            tasks = [executor.submit(function, number) for number in range(count)]
            for task in tasks:
                task.result()
        return count

    while True:
        yield batch


def compute_by(engine: str, folder: Path) -> Any:
    with engine_of(engine) as executor:
        yield from batches(folder, tiny_options()(), scaled(TASKS, at_least=200), executor)


def bare_engine(engine: str, folder: Path) -> Any:
    """Computes, and saves nothing."""
    with engine_of(engine) as executor:
        yield from submitted(half_of, scaled(TASKS, at_least=200), executor)


for each in ("loky", "dask", "ray"):
    side(f"compute_missing of 2000 tiny tasks by {each}", "ours")(functools.partial(compute_by, each))
    side(f"compute_missing of 2000 tiny tasks by {each}", "bare engine")(functools.partial(bare_engine, each))


def large_options() -> Any:
    options = tiny_options()()
    options.table = os.urandom(10_000_000)
    return options


def half_by(options: Any, n: int) -> float:
    return half_of(n)


@side("compute_missing with 10 MB of options", "ours")
def compute_with_large_options(folder: Path) -> Any:
    yield from batches(folder, large_options(), scaled(LARGE_TASKS, at_least=20))


@side("compute_missing with 10 MB of options", "bare pool")
def bare_pool_with_large_options(folder: Path) -> Any:
    """Sends the options with each task."""
    yield from submitted(functools.partial(half_by, large_options()), scaled(LARGE_TASKS, at_least=20))
