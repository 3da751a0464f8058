"""``run``: compute the results that are missing, with progress, and report the failures."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from typing import TYPE_CHECKING, Any

from neuralib.persistence._classes.schema import INFO, ensure_persistence_class
from neuralib.persistence._commands.classes import imported
from neuralib.persistence._commands.entries import UsageError
from neuralib.persistence._commands.executors import executor_of
from neuralib.persistence._commands.plain import as_json
from neuralib.persistence._commands.screen import Column, Screen, StatusLine, write_csv, write_json
from neuralib.persistence._computing.report import BatchInterrupted
from neuralib.persistence._finding.shares import SCHEDULERS, share_of
from neuralib.persistence._naming.typed import UNDECIDED, reader_of
from neuralib.persistence._showing.previews import cell_text, count_text

if TYPE_CHECKING:
    import argparse

    from neuralib.persistence._classes.field import PersistentField
    from neuralib.persistence._computing.options import PersistenceOptions
    from neuralib.persistence._computing.report import BatchReport

_RANGE = re.compile(r"(-?\d+):(-?\d+)(?::([1-9]\d*))?", re.ASCII)
_TERMINAL_EVERY_S = 0.2
_LOG_EVERY_S = 30.0
_MOST_FAILURES = 50  # that the table shows


def run(options: argparse.Namespace, screen: Screen) -> int:
    """Compute what is missing. Return 0 if all is there then, 1 if something failed or is left, 130 after Ctrl-C."""
    computing = _options_object(options.target)
    grid = _grid(computing, options.grid)
    share = _share(options.share)
    dest = options.dest
    if options.dry_run:
        handler = computing._handler(dest)
        names = [handler.filename(template) for template in handler._todo(grid, options.repeat, share, numbered=True)]
        return _show_names(options, screen, names)
    # The table at the end shows the failures; where the module of the options sets up logging, it shows them too.
    logging.getLogger("neuralib.persistence").addHandler(logging.NullHandler())
    progress = _Progress()
    interrupted = False
    try:
        report = computing.compute_missing(
            grid,
            executor_of(options.executor),
            progress,
            dest,
            repeat=options.repeat,
            share=share,
            claims=options.claims,
            retries=options.retries,
            timeout_s=options.timeout,
            save=options.save,
        )
    except BatchInterrupted as error:
        report, interrupted = error.report, True
    except ValueError as error:  # of arguments that don't fit together
        raise UsageError(str(error)) from error
    finally:
        progress.end()
    _show_report(options, screen, report)
    if interrupted:
        return 130
    return 1 if report or report.not_tried != 0 else 0


# ------------------------------------------------------------------------------------------ what is asked for


def _options_object(name: str) -> PersistenceOptions[Any]:
    """Return the options object *name*, or one of the class *name*.

    :raises UsageError: there is none
    """
    here = os.path.realpath(os.curdir)
    if here not in sys.path:
        sys.path.append(here)  # last: a csv.py in it must not replace Python's own
        # Workers that begin as new processes look there too.
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), here]))
    found = imported(name, name)
    if not hasattr(found, "compute_missing"):
        hint = ", not the class of the results" if hasattr(found, INFO) else ""
        raise UsageError(f"{name}: not options: name a class that inherits from PersistenceOptions[YourResult]{hint}")
    if isinstance(found, type):
        try:
            found = found()
        except TypeError as error:
            problem = "its options can't be made without arguments; give the name of an options object"
            raise UsageError(f"{name}: {error}: {problem}") from error
    return found  # type: ignore[no-any-return]


def _grid(computing: PersistenceOptions[Any], given: list[str]) -> dict[str, list[Any]]:
    """Return the values of each key: those that were given, or else those of the options.

    :raises UsageError: what was given names no key
    """
    info = ensure_persistence_class(computing.persistence_class)
    keys = {declared.field_name: declared for declared in info.key_fields()}
    template = computing.empty_cache()
    grid = {
        name: [getattr(template, name)]
        for name, declared in keys.items()
        if hasattr(template, name) and not declared.autoinc
    }
    asked: dict[str, list[Any]] = {}
    for part in given:
        name, sign, texts = part.partition("=")
        if not sign or name not in keys:
            known = ", ".join(keys)
            raise UsageError(
                f"--grid {part}: expected key=values; the keys of {info.persistence_cls.__qualname__} are {known}"
            )
        asked.setdefault(name, []).extend(_values(keys[name], texts))
    return {**grid, **asked}


def _values(declared: PersistentField[Any], texts: str) -> list[Any]:
    found: list[Any] = []
    read = reader_of(declared)
    for text in texts.split(","):
        parts = _RANGE.fullmatch(text)
        if parts and declared.field_type is int:
            values = range(int(parts[1]), int(parts[2]), int(parts[3] or 1))
            if not values:
                raise UsageError(f"--grid {declared.field_name}={text}: this range is empty; 0:4 is 0, 1, 2 and 3")
            found += values
        else:
            value = read(text)
            found.append(_converted(declared, text) if value is UNDECIDED else value)
    return found


def _converted(declared: PersistentField[Any], text: str) -> Any:
    """Return *text* as a number where the key *declared* is one, and as it is otherwise."""
    kind = declared.field_type
    if kind not in {int, float, complex}:
        return text
    try:
        return kind(text)
    except ValueError as error:
        raise UsageError(f"--grid {declared.field_name}={text}: expected a value of type {kind.__name__}") from error


def _share(text: str | None) -> tuple[int, int]:
    if text is None:
        return share_of(None)
    parts = re.fullmatch(r"(\d+)/(\d+)", text, re.ASCII)
    if parts is None and text.partition(":")[0] not in SCHEDULERS:
        raise UsageError(f"--share {text}: expected I/N, such as 0/4, or one of {', '.join(SCHEDULERS)}")
    if parts is not None and int(parts[1]) >= int(parts[2]):
        raise UsageError(
            f"--share {text}: the shares of {parts[2]} tasks are 0/{parts[2]} to {int(parts[2]) - 1}/{parts[2]}"
        )
    try:
        return share_of((int(parts[1]), int(parts[2])) if parts else text)
    except ValueError as error:
        raise UsageError(str(error)) from error


# ------------------------------------------------------------------------------------------ what is shown


class _Progress(StatusLine):
    """Shows how far the batch came."""

    def __init__(self) -> None:
        super().__init__(0.0, _TERMINAL_EVERY_S, _LOG_EVERY_S)
        self._start_s = time.monotonic()

    def __call__(self, report: BatchReport, total: int | None) -> None:
        self.show(lambda: progress_text(report, total, time.monotonic() - self._start_s))


def progress_text(report: BatchReport, total: int | None, seconds: float) -> str:
    """Return how far a batch came in *seconds*: done, failed, rate, time left."""
    done = report._done()
    parts = [f"{done:,} done" if total is None else f"{done:,} of {total:,} done"]
    if report:
        parts.append(f"{len(report):,} failed")
    if done and seconds > 0:
        rate = done / seconds
        parts.append(f"{rate:,.1f}/s" if rate >= 1 else f"{rate * 60:,.1f}/min")
        if total is not None and total > done:
            parts.append(f"{_duration((total - done) / rate)} left")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _show_names(options: argparse.Namespace, screen: Screen, names: list[str]) -> int:
    if options.output == "json":
        write_json(screen, {"would_compute": names})
    elif options.output is not None:
        write_csv(screen, ["would_compute"], [[name] for name in names], safe=options.output == "csv-safe")
    else:
        for name in names:
            screen.line(name)
        screen.line(f"would compute {count_text(len(names), 'result')}; nothing was computed", "bold")
    return 0


def _show_report(options: argparse.Namespace, screen: Screen, report: BatchReport) -> None:
    columns = report.to_columns()
    if options.output == "json":
        failures = [{**failure._asdict(), "keys": as_json(failure.keys)} for failure in report]
        counts = {name: getattr(report, name) for name in ("saved", "found", "passed_over", "not_tried")}
        write_json(screen, {**counts, "failures": failures})
        return
    if options.output is not None:
        lines = zip(*columns.values(), strict=True)
        write_csv(screen, list(columns), lines, safe=options.output == "csv-safe")
        sys.stderr.write(f"{_summary(report)}\n")
        return
    if report:
        names = [name for name in columns if name != "traceback"]
        rows = [[cell_text(columns[name][row]) for name in names] for row in range(min(len(report), _MOST_FAILURES))]
        screen.table([Column(name, style="red" if name == "error" else "") for name in names], rows)
        if len(report) > _MOST_FAILURES:
            screen.line(f"… and {len(report) - _MOST_FAILURES:,} more; --csv shows all", "dim")
    screen.line(_summary(report), "red" if report or report.not_tried != 0 else "green")


def _summary(report: BatchReport) -> str:
    return report._summary() + ("; run it again to go on" if report.not_tried != 0 else "")
