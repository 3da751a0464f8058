"""Output of the command: coloured tables that fit the terminal, or plain text in a pipe."""

from __future__ import annotations

import importlib.util
import itertools
import math
import os
import shutil
import sys
import time
import unicodedata
from typing import TYPE_CHECKING, Any, NamedTuple

from neuralib.persistence._errors import PersistenceError
from neuralib.persistence._messages import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TextIO, TypeVar

    T = TypeVar("T")

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_COMFORTABLE_WIDTH = 10  # characters; optional columns are dropped to leave this much for each of the others
_MIN_WIDTH = 6  # characters; no column is made narrower
_MAX_CELL = 500  # characters; a column is as wide as its widest cell, in all rows
_MAX_LINE = 10_000  # characters
_MAX_ROWS_FOR_RICH = 300  # rich takes about a millisecond for each row


class Column(NamedTuple):
    """One column of a table."""

    title: str
    right: bool = False
    """Whether the texts are aligned to the right, as numbers are."""
    style: str = ""
    spare: bool = False
    """Whether the column is dropped if the terminal is too narrow."""


class Screen:
    """Writes lines and tables to a stream.

    :param color: ``always``, ``never``, or ``auto``. ``auto`` uses colours in a terminal, and respects ``NO_COLOR`` and
        ``FORCE_COLOR``.
    :param stream: the stream to write to, standard output by default
    """

    def __init__(self, color: str = "auto", stream: TextIO | None = None) -> None:
        self.stream = sys.stdout if stream is None else stream
        terminal = self.stream.isatty()
        self.colored = color == "always" or (color == "auto" and _wants_color(terminal=terminal))
        limited = terminal or (self.colored and os.environ.get("COLUMNS", "").isdecimal())
        self.width = shutil.get_terminal_size((80, 24)).columns if limited else None

    def styled(self, text: str, style: str) -> str:
        """Return *text* in *style* if colours are on, and unchanged otherwise."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.colored and style and text else text

    def line(self, text: str = "", style: str = "") -> None:
        """Write a line of text."""
        self.stream.write(self.styled(_cell(text, _MAX_LINE), style) + "\n")

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """Write a table. In a terminal, cut its columns to the width of the terminal."""
        use_rich = self.colored and len(rows) <= _MAX_ROWS_FOR_RICH and importlib.util.find_spec("rich") is not None
        gap = 3 if use_rich else 2
        used = [i for i, _ in enumerate(columns) if any(row[i] for row in rows)]
        titles = {i: _cell(columns[i].title) for i in used}
        texts = {i: _printable_all([row[i] for row in rows]) for i in used}
        widths = {i: max(_widths([titles[i], *texts[i]])) for i in used}
        used = self._without_spare(used, widths, columns, gap)
        fitted = dict(zip(used, self._narrowed([widths[i] for i in used], gap), strict=True))
        kept = [columns[i] for i in used]
        for i, width in fitted.items():
            if width < widths[i]:
                texts[i] = [_cut(text, width) for text in texts[i]]
                titles[i] = _cut(titles[i], width)
        if use_rich:
            self._rich_table(kept, [titles[i] for i in used], list(zip(*(texts[i] for i in used), strict=True)))
            return
        cells = [
            self._padded([titles[i]], fitted[i], "bold", right=columns[i].right)
            + self._padded(texts[i], fitted[i], columns[i].style, right=columns[i].right)
            for i in used
        ]
        self.stream.write("".join("  ".join(row).rstrip() + "\n" for row in zip(*cells, strict=True)))

    def _without_spare(self, used: list[int], widths: dict[int, int], columns: Sequence[Column], gap: int) -> list[int]:
        """Return the column indices *used* without the spare columns that do not fit, dropped from the right."""
        kept = list(used)
        for i in reversed(used):
            needed = sum(min(widths[column], _COMFORTABLE_WIDTH) for column in kept) + gap * len(kept)
            if self.width is not None and needed > self.width and columns[i].spare:
                kept.remove(i)
        return kept

    def _narrowed(self, widths: list[int], gap: int) -> list[int]:
        """Return *widths* with the widest columns made narrower until the table fits."""
        if self.width is None:
            return widths
        excess = sum(widths) + gap * len(widths) - self.width
        while excess > 0 and max(widths) > _MIN_WIDTH:
            widest = widths.index(max(widths))
            others = [width for i, width in enumerate(widths) if i != widest]
            step = max(1, min(excess, widths[widest] - max([_MIN_WIDTH, *others])))
            widths[widest] -= step
            excess -= step
        return widths

    def _padded(self, texts: list[str], width: int, style: str, *, right: bool) -> list[str]:
        """Return *texts* in *style*, padded with spaces to *width*."""
        paddings = [" " * (width - used) for used in _widths(texts)]
        styled = [self.styled(text, style) for text in texts] if self.colored else texts
        pairs = zip(paddings, styled, strict=True) if right else zip(styled, paddings, strict=True)
        return [left + right_part for left, right_part in pairs]

    def _rich_table(self, columns: Sequence[Column], titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        console = Console(file=self.stream, force_terminal=True, width=self.width, highlight=False)
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
        for column, title in zip(columns, titles, strict=True):
            justify: Any = "right" if column.right else "left"
            style = column.style or None
            table.add_column(Text(title), justify=justify, style=style, no_wrap=True, overflow="ellipsis")
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)


def _wants_color(*, terminal: bool) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return terminal and os.environ.get("TERM") != "dumb"


def _printable_all(texts: list[str]) -> list[str]:
    short = max(map(len, texts), default=0) <= _MAX_CELL
    return texts if short and "".join(texts).isprintable() else [_cell(text) for text in texts]


def _cell(text: str, longest: int = _MAX_CELL) -> str:
    """Return *text* so that a terminal can show it, without its middle where it is longer than anybody reads."""
    half = longest // 2
    return printable(text if len(text) <= longest else f"{text[:half]}…{text[-half:]}")


def _widths(texts: list[str]) -> list[int]:
    return list(map(len if "".join(texts).isascii() else text_width, texts))


def text_width(text: str) -> int:
    """Return the width of *text* in a terminal, in columns."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


def _cut(text: str, width: int) -> str:
    """Return *text* cut to *width*, with an ellipsis in the middle, because file names differ at their ends."""
    if text_width(text) <= width:
        return text
    head = (width - 1) // 2
    start, end = text[:head], text[len(text) - (width - 1 - head) :]
    while text_width(start) + text_width(end) > width - 1:
        start, end = (start[:-1], end) if text_width(start) > text_width(end) else (start, end[1:])
    return f"{start}…{end}"


class StatusLine:
    """Shows on standard error how far something came: a line that changes in a terminal, elsewhere a line now and then.

    :param after_s: from when on it is shown in a terminal
    :param every_s: how often it changes there
    :param log_every_s: how often a line is written where there is no terminal; never by default
    """

    def __init__(self, after_s: float, every_s: float, log_every_s: float = math.inf) -> None:
        self._out = sys.stderr
        self._terminal = self._out.isatty()
        self._every_s = every_s if self._terminal else log_every_s
        self._due_s = time.monotonic() + (after_s if self._terminal else log_every_s)
        self._shown = False

    def show(self, text: Callable[[], str]) -> None:
        """Show what *text* returns, if it is time to."""
        now_s = time.monotonic()
        if now_s >= self._due_s:
            self._write(f"\r\x1b[K{text()}" if self._terminal else f"{text()}\n")
            self._shown, self._due_s = True, now_s + self._every_s

    def end(self) -> None:
        """Remove the line from the terminal."""
        if self._shown and self._terminal:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def progress(items: Sequence[T], doing: str) -> Iterator[T]:
    """Yield *items*. After half a second, show in the terminal how many are done, as in "*doing* 12 of 100"."""
    status, doing = StatusLine(0.5, 0.1), _cell(doing)
    try:
        for done, item in enumerate(items):
            status.show(lambda: f"{doing} {done:,} of {len(items):,}")  # noqa: B023 - called at once
            yield item
    finally:
        status.end()


def failure(error: Exception) -> None:
    """Write to standard error what *error* says."""
    Screen(stream=sys.stderr).line(f"neuralib-persistence: {reason(error)}")


def reason(error: Exception) -> str:
    """Return what *error* says; of an error of the system, the file and the problem, without its number."""
    if isinstance(error, OSError) and not isinstance(error, PersistenceError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def write_json(screen: Screen, value: Any) -> None:
    """Write *value* as JSON."""
    import json

    json.dump(value, screen.stream, indent=2, ensure_ascii=True, allow_nan=False)
    screen.stream.write("\n")


def write_csv(screen: Screen, titles: Sequence[str], rows: Iterable[Sequence[Any]], *, safe: bool = False) -> None:
    """Write a table as comma-separated values.

    :param safe: put an apostrophe before each text that a spreadsheet would take for a formula
    """
    import csv

    def cell(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return f"'{_cell(value, _MAX_LINE)}" if safe and _is_formula(value) else _cell(value, _MAX_LINE)

    writer = csv.writer(screen.stream, lineterminator="\n")
    for row in itertools.chain([titles], rows):
        writer.writerow([cell(value) for value in row])


def _is_formula(text: str) -> bool:
    """Return whether a spreadsheet may run *text*: some leave out blanks and quotes before its first character."""
    if not text.lstrip(" \"'").startswith(("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False
