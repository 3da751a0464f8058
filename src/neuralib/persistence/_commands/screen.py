"""What the command writes to: a terminal with its width and colours, or a pipe that gets plain text."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import time
import unicodedata
from typing import TYPE_CHECKING, Any, NamedTuple

from neuralib.persistence._showing.previews import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TextIO, TypeVar

    T = TypeVar("T")

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_LEGIBLE = 10  # columns: with less room for each, what is spare goes
_NARROWEST = 6  # columns: no table column is cut below
_MOST_ROWS_FOR_RICH = 300  # it takes a millisecond or so for each


class Column(NamedTuple):
    """One column of a table."""

    title: str
    right: bool = False
    """Whether its texts stand at the right, as numbers do."""
    style: str = ""
    spare: bool = False
    """Whether a narrow terminal does without it."""


class Screen:
    """Where the output goes.

    :param color: ``always``, ``never``, or ``auto``: where it is a terminal; ``NO_COLOR`` and ``FORCE_COLOR`` count
    :param stream: where to write
    """

    def __init__(self, color: str = "auto", stream: TextIO | None = None) -> None:
        self.stream = sys.stdout if stream is None else stream
        terminal = self.stream.isatty()
        self.colored = color == "always" or (color == "auto" and _wants_color(terminal=terminal))
        follows = terminal or self.colored
        self.width = shutil.get_terminal_size((80, 24)).columns if follows and (terminal or _columns_given()) else None

    def styled(self, text: str, style: str) -> str:
        """Return *text* in *style*, where there are colours."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.colored and style and text else text

    def line(self, text: str = "", style: str = "") -> None:
        """Write a line; where it is long it goes on in the next row."""
        self.stream.write(self.styled(printable(text), style) + "\n")

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """Write a table, cut to the width of the terminal; whole where there is none."""
        by_rich = self.colored and len(rows) <= _MOST_ROWS_FOR_RICH and importlib.util.find_spec("rich") is not None
        gap = 3 if by_rich else 2
        used = [i for i, _ in enumerate(columns) if any(row[i] for row in rows)]
        titles = {i: columns[i].title for i in used}
        texts = {i: _printable_all([row[i] for row in rows]) for i in used}
        widths = {i: max(_widths([titles[i], *texts[i]])) for i in used}
        used = self._with_room(used, widths, columns, gap)
        fitted = dict(zip(used, self._fitted([widths[i] for i in used], gap), strict=True))
        kept = [columns[i] for i in used]
        for i, width in fitted.items():
            if width < widths[i]:
                texts[i] = [_cut(it, width) for it in texts[i]]
                titles[i] = _cut(titles[i], width)
        if by_rich:
            self._rich_table(kept, [titles[i] for i in used], list(zip(*(texts[i] for i in used), strict=True)))
            return
        cells = [
            self._filled([titles[i]], fitted[i], "bold", right=columns[i].right)
            + self._filled(texts[i], fitted[i], columns[i].style, right=columns[i].right)
            for i in used
        ]
        self.stream.write("".join("  ".join(row).rstrip() + "\n" for row in zip(*cells, strict=True)))

    def _with_room(self, used: list[int], widths: dict[int, int], columns: Sequence[Column], gap: int) -> list[int]:
        """Return those of the columns *used* that have room, the spare ones left out as far as needed."""
        kept = list(used)
        for i in reversed(used):
            least = sum(min(widths[it], _LEGIBLE) for it in kept) + gap * len(kept)
            if self.width is not None and least > self.width and columns[i].spare:
                kept.remove(i)
        return kept

    def _fitted(self, widths: list[int], gap: int) -> list[int]:
        """Return *widths*, the widest made narrower until all have room."""
        if self.width is None:
            return widths
        over = sum(widths) + gap * len(widths) - self.width
        while over > 0 and max(widths) > _NARROWEST:
            at = widths.index(max(widths))
            others = [it for i, it in enumerate(widths) if i != at]
            step = max(1, min(over, widths[at] - max([_NARROWEST, *others])))
            widths[at] -= step
            over -= step
        return widths

    def _filled(self, texts: list[str], width: int, style: str, *, right: bool) -> list[str]:
        """Return *texts* in *style*, filled up to *width*."""
        fillings = [" " * (width - it) for it in _widths(texts)]
        marked = [self.styled(it, style) for it in texts] if self.colored else texts
        pairs = zip(fillings, marked, strict=True) if right else zip(marked, fillings, strict=True)
        return [a + b for a, b in pairs]

    def _rich_table(self, columns: Sequence[Column], titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        console = Console(file=self.stream, force_terminal=True, width=self.width, highlight=False)
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
        for it, title in zip(columns, titles, strict=True):
            justify: Any = "right" if it.right else "left"
            table.add_column(Text(title), justify=justify, style=it.style or None, no_wrap=True, overflow="ellipsis")
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)


def _wants_color(*, terminal: bool) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return terminal and os.environ.get("TERM") != "dumb"


def _columns_given() -> bool:
    return os.environ.get("COLUMNS", "").isdecimal()


def _printable_all(texts: list[str]) -> list[str]:
    return texts if "".join(texts).isprintable() else [printable(it) for it in texts]


def _widths(texts: list[str]) -> list[int]:
    return list(map(len if "".join(texts).isascii() else text_width, texts))


def text_width(text: str) -> int:
    """Return how many columns of a terminal *text* takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(it) else 1 + (unicodedata.east_asian_width(it) in "WF") for it in text)


def _cut(text: str, width: int) -> str:
    """Return *text*, with dots in place of its middle where it has no room: names differ at their ends."""
    if text_width(text) <= width:
        return text
    head = (width - 1) // 2
    start, end = text[:head], text[len(text) - (width - 1 - head) :]
    while text_width(start) + text_width(end) > width - 1:
        start, end = (start[:-1], end) if text_width(start) > text_width(end) else (start, end[1:])
    return f"{start}…{end}"


def progress(items: Sequence[T], doing: str) -> Iterator[T]:
    """Yield *items*; tell on a terminal how far it is, where it takes longer than half a second."""
    out = sys.stderr
    if not out.isatty():
        yield from items
        return
    due = time.monotonic() + 0.5
    told = False
    try:
        for done, it in enumerate(items):
            if time.monotonic() > due:
                out.write(f"\r\x1b[K{doing} {done:,} of {len(items):,}")
                out.flush()
                told, due = True, time.monotonic() + 0.1
            yield it
    finally:
        if told:
            out.write("\r\x1b[K")
            out.flush()


def write_json(screen: Screen, value: Any) -> None:
    """Write *value* as JSON."""
    import json

    json.dump(value, screen.stream, indent=2, ensure_ascii=True, allow_nan=False)
    screen.stream.write("\n")


def write_csv(screen: Screen, titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table as comma-separated values."""
    import csv

    writer = csv.writer(screen.stream, lineterminator="\n")
    writer.writerow([printable(it) for it in titles])
    writer.writerows([printable(it) if isinstance(it, str) else it for it in row] for row in rows)
