"""Many results computed where they are missing, here or by an executor, each saved where it was computed."""

from __future__ import annotations

import importlib.util
import logging
import os
import queue
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, overload

from neuralib.persistence._classes.convert import as_dict
from neuralib.persistence._finding import tables
from neuralib.persistence._finding.todo import is_there
from neuralib.persistence._keeping import batches

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from neuralib.persistence._handlers.base import PersistenceHandler

T = TypeVar("T")

_log = logging.getLogger("neuralib.persistence")

_MOST_WAITING = 1024  # templates that an executor has at a time


class Computing(Protocol[T]):
    """What this needs of the options."""

    def persistence_handler(self, dest: Path | None = None) -> PersistenceHandler[T]: ...
    def compute_cache(self, result: T) -> T: ...


class Failure(NamedTuple):
    """A result that could not be computed or saved."""

    keys: dict[str, Any]
    """Those of the template."""
    error: str
    """The class of the error."""
    message: str
    traceback: str
    """As Python would print it, from where it was raised."""


class BatchReport(Sequence[Failure]):
    """The outcome of a batch: a sequence of its failures, and the number of results that were saved."""

    def __init__(self, saved: int, failures: list[Failure]) -> None:
        self.saved = saved
        """The number of results that this batch computed and saved. Results that existed before are not counted."""
        self._failures = failures

    def __repr__(self) -> str:
        first = f", the first: {self[0].error}: {self[0].message}" if self else ""
        return f"<BatchReport: {self.saved} saved, {len(self)} failed{first}>"

    def __len__(self) -> int:
        return len(self._failures)

    @overload
    def __getitem__(self, index: int) -> Failure: ...
    @overload
    def __getitem__(self, index: slice) -> list[Failure]: ...
    def __getitem__(self, index: int | slice) -> Failure | list[Failure]:
        return self._failures[index]

    def to_columns(self) -> dict[str, list[Any]]:
        """Return the failures as a table: a list for each key, and ``error``, ``message``, ``traceback``."""
        names = dict.fromkeys(name for it in self for name in it.keys)
        columns: dict[str, list[Any]] = {name: [it.keys.get(name) for it in self] for name in names}
        for name in ("error", "message", "traceback"):
            columns[name] = [getattr(it, name) for it in self]
        return columns

    def to_pandas(self) -> Any:
        """Return the failures as a ``pandas.DataFrame`` (extra ``pandas``)."""
        return tables.pandas_frame(self.to_columns(), {})


def compute(
    options: Computing[T], templates: Iterable[T], executor: Executor | None, dest: Path | None, *, progress: bool
) -> BatchReport:
    """Compute *templates*, and save each result where it was computed: see ``PersistenceOptions.compute_missing``."""
    report = BatchReport(0, [])
    batch = os.urandom(8).hex()
    if progress:
        progress = importlib.util.find_spec("tqdm") is not None
        templates = list(templates)  # so that the bar knows how many
    total = len(templates) if isinstance(templates, Sequence) else None
    task = _Task(options, dest, batch)
    outcomes = map(task, templates) if executor is None else _by(executor, task, templates)
    try:
        with batches.bar(outcomes, progress, "results", total=total) as shown:
            for outcome in shown:
                if isinstance(outcome, Failure):
                    report._failures.append(outcome)
                    _log.warning("not computed: %s: %s: %s", outcome.keys, outcome.error, outcome.message)
                else:
                    report.saved += outcome
    except BaseException as error:
        error.add_note(
            f"{report.saved} results of the batch were saved, {len(report)} failed; the next call goes on from here"
        )
        raise
    return report


class _Task:
    """Computes one template and saves the result; made here, called wherever the executor computes."""

    def __init__(self, options: Computing[Any], dest: Path | None, batch: str) -> None:
        self._options, self._dest, self._batch = options, dest, batch

    def __call__(self, template: Any) -> Failure | bool:
        """Return whether it was computed and saved, and was not there by then; or what went wrong."""
        try:
            handler = _handler_of(self._batch, lambda: self._options.persistence_handler(self._dest))
            if is_there(handler._keeper, template):
                return False  # somebody else was quicker
            result = self._options.compute_cache(template)
            if result is None:
                raise TypeError(
                    f"{type(self._options).__qualname__}.compute_cache returned None: it must return the result"
                )
            handler.save_persistence(result)
        except Exception as error:
            return failure_of(template, error)
        return True


_handlers: dict[str, Any] = {}
_handlers_lock = threading.Lock()


def _handler_of(batch: str, make: Callable[[], Any]) -> Any:
    """Return the handler of this process for *batch*: it remembers the numbers that are taken."""
    with _handlers_lock:
        found = _handlers.get(batch)
        if found is None:
            _handlers.clear()
            found = _handlers[batch] = make()
        return found


def failure_of(template: Any, error: BaseException) -> Failure:
    """Return what is told of *error*: texts, since not every exception survives the way between processes."""
    return Failure(as_dict(template), type(error).__qualname__, str(error), "".join(traceback.format_exception(error)))


def _by(executor: Executor, task: _Task, templates: Iterable[Any]) -> Iterator[Failure | bool]:
    """Yield what became of each template, in the order in which they are done."""
    done: queue.SimpleQueue[Future[Failure | bool]] = queue.SimpleQueue()
    waiting: dict[Future[Failure | bool], Any] = {}
    rest = iter(templates)
    more = True
    try:
        while True:
            while more and len(waiting) < _MOST_WAITING:
                template = next(rest, None)
                if template is None:
                    more = False
                    break
                future = executor.submit(task, template)
                waiting[future] = template
                future.add_done_callback(done.put)
            if not waiting:
                return
            future = done.get()
            template = waiting.pop(future)
            error = future.exception()
            if error is None:
                yield future.result()
            elif isinstance(error, BrokenExecutor):
                raise error  # all others that wait would fail too
            else:
                yield failure_of(template, error)
    finally:
        for future in waiting:
            future.cancel()
