"""Many results computed where they are missing, here or by an executor, each saved where it was computed."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from neuralib.persistence._computing.chunks import Unit
from neuralib.persistence._computing.driving import Driver
from neuralib.persistence._computing.report import BatchInterrupted, BatchReport, Failure
from neuralib.persistence._computing.work import CLAIMED, SAVED, Outcome, Work
from neuralib.persistence._keeping import batches
from neuralib.persistence._log import log

if TYPE_CHECKING:
    from concurrent.futures import Executor


Watch = Callable[[BatchReport, "int | None"], object]
"""A function that is called with the report so far, and the number of templates, or None if it is not known."""


class _Here:
    """Computes in this thread: what :class:`Driver` is to an executor."""

    broken: BaseException | None = None
    left: Sequence[Unit] = ()

    def __init__(self, work: Work, retries: int) -> None:
        self._work, self._retries = work, retries

    def outcomes(self, units: Iterator[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Yield what becomes of each of *units*."""
        for unit in units:
            outcome = self._work.run_one(unit.template)
            while isinstance(outcome, Failure) and unit.failures < self._retries:
                unit.failures += 1
                outcome = self._work.run_one(unit.template)
            yield unit, outcome

    def close(self, *, wait_for_workers: bool) -> None:
        """Nothing to end."""


def compute(
    work: Work,
    templates: Iterable[Any],
    executor: Executor | Callable[[], Executor] | None,
    retries: int,
    *,
    progress: bool | Watch,
    finite: bool,
) -> BatchReport:
    """Compute *templates*, and save the results: see ``PersistenceOptions.compute_missing``.

    :param finite: whether *templates* are known to end, so that the rest can be counted
    """
    report = BatchReport(0, [])
    bar = progress is True and importlib.util.find_spec("tqdm") is not None
    if finite and (bar or callable(progress)):
        templates = list(templates)  # so that it is known how many
    total = len(templates) if isinstance(templates, Sequence) else None
    taken = itertools.count()
    rest = (template for template, _ in zip(templates, taken))  # noqa: B905  # of which one has no end
    engine = _Here(work, retries) if executor is None else _driver(work, executor, retries)
    completed = False
    try:
        _tell(progress, report, total)
        with batches.bar(_outcomes(engine, rest), bar, "results", total=total) as shown:
            for outcome in shown:
                _note(report, outcome)
                _tell(progress, report, total)
        completed = True
    except KeyboardInterrupt as error:
        if finite and total is None:
            total = next(taken) + sum(1 for _ in rest)
        report.not_tried = None if total is None else total - report._done()
        raise BatchInterrupted(report) from error
    except BaseException as error:
        error.add_note(f"the batch ended early: {report!r}; the next call goes on from here")
        raise
    finally:
        work.give_up(sweep=completed)
        engine.close(wait_for_workers=completed)
    if engine.broken is not None:
        report.not_tried = len(engine.left) + sum(1 for _ in rest) if finite else None
        log.warning("the executor computes no more: %s: %s", engine.broken, repr(report))
    return report


def _driver(work: Work, executor: Executor | Callable[[], Executor], retries: int) -> Driver:
    if work.timeout_s is not None and isinstance(executor, ThreadPoolExecutor):
        raise ValueError("timeout_s: nothing can stop a thread; use an executor of processes")
    driver = Driver(executor, work, retries=retries)
    store = work.handler()._keeper.store
    if store.process_local and not driver.in_threads and work.saves:
        raise ValueError(
            f'{store.url} is in the memory of this process, where its workers can\'t save: use save="driver"'
        )
    if driver.forks and not store.survives_fork and work.saves:
        raise ValueError(
            f"{store.url} can't be used by forked processes: use ProcessPoolExecutor("
            f"mp_context=multiprocessing.get_context('spawn'))"
        )
    return driver


def _outcomes(engine: Driver | _Here, templates: Iterator[Any]) -> Iterator[Outcome]:
    """Yield what becomes of *templates*; those that others compute are looked at once more at the end."""
    claimed: list[Unit] = []
    for unit, outcome in engine.outcomes(map(Unit, templates)):
        if outcome == CLAIMED:
            claimed.append(unit)
        else:
            yield outcome
    again = iter(claimed)
    if engine.broken is None:
        yield from (outcome for _, outcome in engine.outcomes(again))
    yield from (CLAIMED for _ in again)  # none, unless the engine is broken


def _note(report: BatchReport, outcome: Outcome) -> None:
    if isinstance(outcome, Failure):
        report.add(outcome)
        log.warning("not computed: %s: %s: %s", outcome.keys, outcome.error, outcome.message)
    elif outcome == SAVED:
        report.saved += 1
    elif outcome == CLAIMED:
        report.passed_over += 1
    else:
        report.found += 1


def _tell(progress: bool | Watch, report: BatchReport, total: int | None) -> None:
    if callable(progress):
        progress(report, total)
