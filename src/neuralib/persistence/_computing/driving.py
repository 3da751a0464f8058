"""The driver of a batch: gives chunks of templates to an executor, and takes what became of them.

The executor decides how many workers there are, and which of them computes what. The driver sends short tasks in chunks, and goes on
when workers are killed.
"""

from __future__ import annotations

import collections
import itertools
import queue
import threading
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING, Any

from neuralib.persistence._computing.chunks import Chunk, OptionsSending, Pace, Unit
from neuralib.persistence._computing.limits import CannotStopError
from neuralib.persistence._computing.parcels import Answer, Parcel, pickler_for, run_parcel
from neuralib.persistence._computing.report import Failure, failure_of
from neuralib.persistence._computing.work import CLAIMED, SAVED, THERE, Computed
from neuralib.persistence._keeping.identity import keys_in_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from neuralib.persistence._computing.work import Outcome, Work

_MOST_WAITING = 1024  # chunks that an executor has at a time, where it does not say how many workers it has
_CHUNK_S = 0.02  # how long a chunk of short tasks takes; executors whose tasks cost more have an attribute chunk_s
_MOST_BREAKS = 10  # of executors, or errors of an engine, one after the other, without an answer in between
_PATIENCE_S = 5.0


def _start_method(executor: Any) -> str:
    context = getattr(executor, "_mp_context", None)
    return "" if context is None else str(context.get_start_method())


def _made_by(make: Any) -> Any:
    executor = make()
    if not hasattr(executor, "submit") or isinstance(executor, type):
        raise TypeError(f"the function {make!r} returned {executor!r}: expected an executor")
    return executor


class Driver:
    """Computes templates with an executor.

    :param given: the executor, or a function that makes one
    :param work: what is done with each template
    :param retries: how often a template that failed is tried again
    """

    def __init__(self, given: Executor | Callable[[], Executor], work: Work, *, retries: int) -> None:
        is_executor = hasattr(given, "submit") and not isinstance(given, type)
        if not is_executor and not callable(given):
            raise TypeError(f"executor={given!r}: expected an executor, or a function that makes one")
        self._make: Callable[[], Executor] | None = None if is_executor else partial(_made_by, given)
        executor: Any = given if self._make is None else self._make()
        self._executor = executor
        self._work, self._retries = work, retries
        self._saves = not work.saves
        self.in_threads = isinstance(executor, ThreadPoolExecutor)
        """Whether the executor computes in this process."""
        self.forks = isinstance(executor, ProcessPoolExecutor) and _start_method(executor) == "fork"
        """Whether its processes are copies of this one."""
        # Engines of clusters compute again what they lost with a worker, its saved result included.
        repeats = work.saves and not isinstance(executor, (ThreadPoolExecutor, ProcessPoolExecutor))
        self._guesses_lost = repeats and not work.with_claims
        self._releases = work.leaves_claims = repeats and work.with_claims
        self._parcel = None if self.in_threads else Parcel(work, pickler_for(executor))
        always = self._parcel is None or self._parcel.small or getattr(executor, "fresh_workers", False)
        self._options = OptionsSending(always=always)
        self._pace = Pace(getattr(executor, "chunk_s", _CHUNK_S))
        self._done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._waiting: dict[Future[Any], Chunk] = {}
        self._ready: list[tuple[Unit, Outcome]] = []
        self._units: Iterator[Unit] = iter(())
        self._again: collections.deque[Unit] = collections.deque()
        self._strays: collections.deque[list[Unit]] = collections.deque()  # chunks sent as they are, with the options
        self._suspects: collections.deque[Unit] = collections.deque()
        self._breaks = self._losses = 0
        self.broken: BaseException | None = None
        """Why the executor computes no more."""
        self.left: list[Unit] = []
        """What was on its way then, or to be sent again."""

    def outcomes(self, units: Iterator[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Yield what became of each of *units*, in the order in which they are done."""
        self._units = units
        while True:
            self._fill()
            if not self._ready:
                if not self._waiting:
                    return
                future = self._done.get()
                chunk = self._waiting.pop(future, None)
                if chunk is not None:  # else it was taken care of when the executor broke
                    self._take(future, chunk)
            ready, self._ready = self._ready, []
            yield from ready

    def close(self, *, wait_for_workers: bool) -> None:
        """Cancel what has not begun, and end the executor if it was made here."""
        for future in list(self._waiting):
            future.cancel()
        if self._make is not None:
            self._executor.shutdown(wait=wait_for_workers)

    # ------------------------------------------------------------------------------------------ what goes

    def _fill(self) -> None:
        """Submit what the executor may have at a time."""
        while self.broken is None and not self._ready and len(self._waiting) < self._room():
            chunk = self._next_chunk()
            if chunk is None:
                return
            if chunk.units:
                self._submit(chunk)

    def _room(self) -> int:
        """Return how many chunks may be under way."""
        if self._suspects or any(chunk.units[0].suspect for chunk in self._waiting.values()):
            return 1  # by itself, so that it is known who kills the worker
        workers = getattr(self._executor, "_max_workers", None)
        room = workers + 1 if isinstance(workers, int) else _MOST_WAITING
        return self._options.room(room)

    def _next_chunk(self) -> Chunk | None:
        """Return what goes next; nothing where there is nothing, or it has to wait."""
        if self._suspects:
            return Chunk([self._suspects.popleft()], whole=True)
        whole = self._options.go_with_next(self._waiting.values(), needed=bool(self._strays))
        if whole is None:
            return None
        if whole and self._strays:
            return Chunk(self._strays.popleft(), whole=True)
        size = self._pace.size()
        again = [self._again.popleft() for _ in range(min(size, len(self._again)))]
        units = again + list(itertools.islice(self._units, size - len(again)))
        return Chunk([unit for unit in units if self._begins(unit)], whole=whole) if units else None

    def _begins(self, unit: Unit) -> bool:
        """Return whether *unit* has to be computed, as far as this process has to know."""
        if not self._saves:
            return True
        try:
            obstacle = self._work.begin(unit.template)
        except Exception as error:
            self._ready.append((unit, failure_of(unit.template, error)))
            return False
        if obstacle is not None:
            self._ready.append((unit, obstacle))
        return obstacle is None

    def _submit(self, chunk: Chunk) -> None:
        templates = [unit.template for unit in chunk.units]
        budget_s = self._pace.budget_s
        try:
            if self._parcel is None:
                future = self._executor.submit(Answer.of, self._work, templates, budget_s)
            else:
                arguments = self._parcel.arguments(templates, whole=chunk.whole)
                future = self._executor.submit(run_parcel, *arguments, budget_s)
        except BrokenExecutor as error:
            self._break(error, chunk)
            return
        self._waiting[future] = chunk
        future.add_done_callback(self._done.put)

    # ------------------------------------------------------------------------------------------ what comes back

    def _take(self, future: Future[Any], chunk: Chunk) -> None:
        if future.cancelled():
            message = "the executor cancelled it before it was computed"
            for unit in chunk.units:
                self._settle(unit, failure_of(unit.template, CancelledError(message)))
            return
        error = future.exception()
        if isinstance(error, BrokenExecutor):
            self._break(error, chunk)
        elif isinstance(error, CannotStopError):
            raise error
        elif error is not None:
            self._take_error(error, chunk)
        else:
            self._take_answer(future.result(), chunk)

    def _take_error(self, error: BaseException, chunk: Chunk) -> None:
        """Take care of *chunk*, which the engine could not compute: it lost the worker, or could not send the tasks or the answer.

        The chunk is sent again in parts, so that in the end only the task fails that is the reason.
        """
        lost = [unit for unit in chunk.units if not self._was_saved(unit)]
        self._losses += 1
        if len(lost) > 1 and self._losses <= _MOST_BREAKS:
            # A worker that saves computed the first of them when it was lost. Else, any may be the reason.
            cut = len(lost) // 2 if self._saves else 1
            self._strays += [lost[:cut], lost[cut:]]
            return
        for unit in lost:
            self._settle(unit, failure_of(unit.template, error))

    def _take_answer(self, answer: Answer, chunk: Chunk) -> None:
        self._breaks = self._losses = 0
        if answer.outcomes is None:
            self._strays.append(chunk.units)
            return
        self._options.note(answer)
        done = len(answer.outcomes)
        self._pace.note(answer.seconds, done)
        self._again.extendleft(reversed(chunk.units[done:]))  # what the worker had no time for
        for unit, outcome in zip(chunk.units, answer.outcomes, strict=False):
            self._settle(unit, outcome)

    def _settle(self, unit: Unit, outcome: Outcome) -> None:
        """Note *outcome* of *unit*, which is saved here if need be, and tried again if it may be."""
        if self._saves:
            outcome = self._saved(unit, outcome)
        if self._releases and outcome != CLAIMED:
            self._work.end(unit.template)
        if isinstance(outcome, Failure) and unit.failures < self._retries:
            unit.failures += 1
            self._again.append(unit)
            return
        if outcome == THERE and (self._guesses_lost or unit.suspect):
            outcome = SAVED  # by an attempt whose worker was lost before it could say so
        self._ready.append((unit, outcome))

    def _saved(self, unit: Unit, outcome: Outcome) -> Outcome:
        """Save the result in *outcome*, and end what :meth:`_begins` began."""
        try:
            if isinstance(outcome, Computed):
                wanted = keys_in_name(self._work.handler().persistence_info, unit.template)
                outcome = self._work.finish(unit.template, outcome.result, wanted)
            self._work.end(unit.template)
        except Exception as error:
            return failure_of(unit.template, error)
        return outcome

    # ------------------------------------------------------------------------------------------ killed workers

    def _break(self, error: BaseException, chunk: Chunk) -> None:
        """Take care of all that was under way when a worker of the executor was killed, and make a new executor."""
        chunks = [chunk]
        wait(self._waiting, timeout=_PATIENCE_S)
        if self._make is not None:
            self._end_workers()
        waiting, self._waiting = self._waiting, {}
        for future, other in waiting.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                self._take_answer(future.result(), other)
            else:
                chunks.append(other)
        self._breaks += 1
        lost = [unit for each in chunks for unit in each.units]
        lost = [unit for unit in lost if not self._was_saved(unit)]
        if self._make is None or self._breaks > _MOST_BREAKS:
            self._give_up(error, lost)
            return
        for unit in lost:
            if unit.suspect:
                message = f"its worker was killed again when it was computed alone: {error}"
                self._ready.append((unit, failure_of(unit.template, type(error)(message))))
            else:
                unit.suspect = True
                self._suspects.append(unit)
        try:
            self._executor = self._make()
        except Exception as error_again:
            self._give_up(error_again, [])
        self._options.forget()

    def _end_workers(self) -> None:
        """Wait until the workers of the broken executor have ended: it says that it broke before it ends the others.

        Until then, they compute and save: what they have begun would be computed twice.
        """
        ending = threading.Thread(target=self._executor.shutdown, daemon=True)  # a worker may ignore signals
        ending.start()
        ending.join(_PATIENCE_S)

    def _give_up(self, error: BaseException, lost: list[Unit]) -> None:
        self.broken = error
        self.left = [*lost, *self._suspects, *self._again, *itertools.chain(*self._strays)]

    def _was_saved(self, unit: Unit) -> bool:
        """Return whether the result of *unit* was saved before its worker was killed, and note that."""
        if self._saves:
            return False
        try:
            there = self._work.is_there(unit.template)
        except Exception:
            return False  # a file that can't be read: the next attempt reports why
        if there:
            own = not self._releases or self._work.claims_still(unit.template)
            self._ready.append((unit, SAVED if own else THERE))
            if self._releases:
                self._work.end(unit.template)
        return there


class CancelledError(RuntimeError):
    """The executor cancelled a task."""
