"""Results as HTML, for notebooks: fields, shapes, sizes, small previews. Whatever a field holds, it is shown as text.

Colours are those of the page around it, so that dark themes are readable: text and lines take its colour, and what is
tinted asks JupyterLab's variables first.
"""

from __future__ import annotations

import html
import itertools
from typing import TYPE_CHECKING, Any

from neuralib.persistence import _core
from neuralib.persistence._classes.field import missing
from neuralib.persistence._classes.schema import ensure_persistence_class
from neuralib.persistence._errors import PersistenceError
from neuralib.persistence._showing.previews import (
    count_text,
    is_array,
    printable,
    shape_text,
    size_of,
    size_text,
    type_text,
    value_text,
)
from neuralib.persistence._showing.thumbnails import thumbnail

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MOST_PARTS = 50  # of a dict or list in a field
_MOST_THUMBNAILS = 12
_LONGEST_VALUE = 120

_STYLE = """<style>
.neuralib-p {
  --neuralib-line: rgba(128, 128, 128, .35); --neuralib-tint: rgba(128, 128, 128, .09);
  --neuralib-accent: var(--jp-brand-color1, #1769aa);
  color: var(--jp-content-font-color1, inherit); font-size: 13px; line-height: 1.4; max-width: 100%; overflow-x: auto;
}
@media (prefers-color-scheme: dark) { .neuralib-p { --neuralib-accent: var(--jp-brand-color1, #6cb6ff); } }
.neuralib-p table { border-collapse: collapse; margin: .3em 0; border: 0; color: inherit; font-size: inherit; }
.neuralib-p th, .neuralib-p td {
  text-align: left !important; padding: .15em .8em .15em .3em; border: 0; border-bottom: 1px solid var(--neuralib-line);
  background: none; vertical-align: middle; white-space: nowrap; color: inherit; font-size: inherit; max-width: none;
}
.neuralib-p tbody tr { background: none !important; }
.neuralib-p tbody tr:nth-child(odd) { background: var(--neuralib-tint) !important; }
.neuralib-p th { font-weight: 600; }
.neuralib-p td.n, .neuralib-p th.n { text-align: right !important; }
.neuralib-p td.v { white-space: normal; min-width: 12em; font-family: var(--jp-code-font-family, monospace); overflow-wrap: anywhere; }
.neuralib-p summary { cursor: pointer; }
.neuralib-p .k { color: var(--neuralib-accent); font-weight: 600; }
.neuralib-p .d { opacity: .7; }
.neuralib-p svg, .neuralib-p img { display: block; height: 32px; max-width: 160px; margin: 0; }
.neuralib-p img { image-rendering: pixelated; }
</style>"""


def result_html(result: object) -> str:
    """Return the fields of *result* as a table that can be folded."""
    info = ensure_persistence_class(result)
    fields = _core.as_dict(result)
    keys = {it.field_name for it in info.key_fields()}
    absent = [name for name in info.fields_name() if name not in fields]
    body = _Table(keys).of(fields.items())
    if absent:
        body += f'<div class="d">not set: {_text(", ".join(absent))}</div>'
    try:
        name = f" {_text(_core.filename(result))}"
    except PersistenceError:  # keys that don't make a name yet
        name = ""
    total = sum(size_of(it) or 0 for it in fields.values())
    size = f", {size_text(total)} of arrays" if total else ""
    about = f'<span class="d">{name} · {count_text(len(fields), "field")}{size}</span>'
    return _folded(f"<b>{_text(info.cls_name)}</b>{about}", body, outermost=True)


def rows_html(
    title: str, about: str, columns: Sequence[str], rows: Iterable[Sequence[object]], numeric: Iterable[int]
) -> str:
    """Return a table of texts that can be folded.

    :param numeric: which columns are numbers, by their places
    """
    right = set(numeric)
    kinds = ['class="n"' if i in right else "" for i in range(len(columns))]
    head = "".join(f"<th {kind}>{_text(it)}</th>" for it, kind in zip(columns, kinds, strict=True))
    lines = "".join(
        f"<tr>{''.join(f'<td {kind}>{_text(str(it))}</td>' for it, kind in zip(row, kinds, strict=True))}</tr>"
        for row in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
    return _folded(f'<b>{_text(title)}</b> <span class="d">{_text(about)}</span>', table, outermost=True)


def _text(value: str) -> str:
    return html.escape(printable(value))


def _folded(summary: str, body: str, *, outermost: bool = False) -> str:
    if outermost:
        return f'<div class="neuralib-p">{_STYLE}<details open><summary>{summary}</summary>{body}</details></div>'
    return f"<details><summary>{summary}</summary>{body}</details>"


class _Table:
    """Tables of fields, with no more thumbnails in all than a page can bear."""

    def __init__(self, keys: set[str]) -> None:
        self._keys = keys
        self._thumbnails_left = _MOST_THUMBNAILS

    def of(self, fields: Iterable[tuple[Any, Any]], depth: int = 0) -> str:
        """Return the table of *fields*."""
        rows = "".join(self._row(name, value, depth) for name, value in fields)
        titles = '<th>field</th><th>type</th><th>shape</th><th class="n">size</th><th>value</th>'
        head = f"<thead><tr>{titles}</tr></thead>" if depth == 0 else ""
        return f"<table>{head}<tbody>{rows}</tbody></table>"

    def _row(self, name: Any, value: Any, depth: int) -> str:
        label = _text(name if isinstance(name, str) else f"[{value_text(name, 30)}]")
        marked = f'<span class="k">{label}</span>' if depth == 0 and name in self._keys else label
        size = size_of(value)
        return (
            f"<tr><td>{marked}</td><td>{_text(type_text(value))}</td><td>{_text(shape_text(value))}</td>"
            f'<td class="n">{"" if size is None else size_text(size)}</td><td class="v">{self._value(value, depth)}</td></tr>'
        )

    def _value(self, value: Any, depth: int) -> str:
        if value is missing:
            return '<span class="d">any</span>'
        brief = _text(value_text(value, _LONGEST_VALUE))
        if is_array(value):
            return self._thumbnail(value) + brief
        parts = _parts(value)
        if depth >= 2 or not parts:
            return brief
        more = f'<div class="d">{len(value) - len(parts):,} more</div>' if len(value) > len(parts) else ""
        return _folded(brief, self.of(parts, depth + 1) + more)

    def _thumbnail(self, value: Any) -> str:
        if self._thumbnails_left <= 0:
            return ""
        made = thumbnail(value)
        self._thumbnails_left -= bool(made)
        return made


def _parts(value: Any) -> list[tuple[Any, Any]]:
    """Return the parts of a container that are worth rows of their own; those of a list only where arrays are among them."""
    if type(value) is dict:
        return list(itertools.islice(value.items(), _MOST_PARTS))
    if type(value) in {list, tuple}:
        parts = list(enumerate(value[:_MOST_PARTS]))
        return parts if any(is_array(it) and it.shape for _, it in parts) else []
    return []
