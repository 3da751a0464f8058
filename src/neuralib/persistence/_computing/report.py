"""What became of a batch: how many results were saved, what failed, and what was left."""

from __future__ import annotations

import traceback
from typing import Any, NamedTuple

from neuralib.persistence._classes.convert import as_dict
from neuralib.persistence._classes.schema import ensure_persistence_class
from neuralib.persistence._finding import tables
from neuralib.persistence._messages import shown

_MAX_MESSAGE = 1000  # characters


class Failure(NamedTuple):
    """A result that could not be computed or saved."""

    keys: dict[str, Any]
    """Those of the template."""
    error: str
    """The class of the error."""
    message: str
    traceback: str
    """As Python would print it, from where it was raised."""


def failure_of(template: Any, error: BaseException) -> Failure:
    """Return the keys of *template*, and what *error* says, as texts: not every exception survives being pickled."""
    keys = {declared.field_name for declared in ensure_persistence_class(template).key_fields()}
    # compute_cache may have set data of the template, which would travel to the driver.
    found = {name: value for name, value in as_dict(template).items() if name in keys}
    return Failure(found, type(error).__qualname__, str(error), "".join(traceback.format_exception(error)))


class BatchReport(tables.Rows[Failure]):
    """The outcome of a batch: a sequence of its failures, and how many results were saved, or left to others."""

    def __init__(self, saved: int, failures: list[Failure]) -> None:
        super().__init__(failures)
        self.saved = saved
        """The number of results that this batch computed and saved. Results that existed before are not counted, and one that
        an engine computed twice, since it lost a worker, counts once. Of two batches that compute one result at the same time, the
        one counts it whose file is there. Only on engines of clusters, and without claims, may both count it: a result that
        is found there might be of an attempt that was lost."""
        self.found = 0
        """The number of results that were there when it was their turn here: others saved them meanwhile, or the grid has the same
        keys twice."""
        self.passed_over = 0
        """The number of templates that another batch was computing (``claims=True``)."""
        self.not_tried: int | None = 0
        """The number of templates that have no result since the batch ended early; None where it is not known how many were to
        come, from a generator."""

    def __repr__(self) -> str:
        first = f", the first: {shown(self[0].error, str)}: {shown(self[0].message, str, _MAX_MESSAGE)}" if self else ""
        return f"<BatchReport: {self._summary(first)}>"

    def _summary(self, first: str = "") -> str:
        """Return the counts in words, after those of failures what is said of the *first* one."""
        parts = [f"{self.saved:,} saved, {len(self):,} failed{first}"]
        if self.found:
            parts.append(f"{self.found:,} saved by others meanwhile")
        if self.passed_over:
            parts.append(f"{self.passed_over:,} being computed by others")
        if self.not_tried != 0:
            parts.append(f"{'the rest' if self.not_tried is None else f'{self.not_tried:,}'} not tried")
        return ", ".join(parts)

    def _done(self) -> int:
        """Return the number of templates of which it is known what became of them."""
        return self.saved + self.found + self.passed_over + len(self)

    def add(self, failure: Failure) -> None:
        """Add *failure*."""
        self._rows.append(failure)

    def to_columns(self) -> dict[str, list[Any]]:
        """Return the failures as a table: a list for each key, and ``error``, ``message``, ``traceback``."""
        names = dict.fromkeys(name for failure in self for name in failure.keys)
        columns: dict[str, list[Any]] = {name: [failure.keys.get(name) for failure in self] for name in names}
        for name in ("error", "message", "traceback"):
            columns[name] = [getattr(failure, name) for failure in self]
        return columns


class BatchInterrupted(KeyboardInterrupt):
    """Ctrl-C ended a batch. What was saved is there, and the next call goes on from there."""

    def __init__(self, report: BatchReport) -> None:
        super().__init__(report)
        self.report = report
        """The report so far."""

    def __str__(self) -> str:
        return f"{self.report!r}: the next call goes on from here; the report is the attribute report of this error"
