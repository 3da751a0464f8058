"""HTML for notebooks: the fields of a result, with shapes, sizes and small previews. All values are escaped.

The HTML uses the colours of the page, so that it is readable in dark themes. The accent colour comes from JupyterLab's
CSS variables if they are defined.
"""

from __future__ import annotations

import html
import itertools
from typing import TYPE_CHECKING, Any

from neuralib.persistence import _core
from neuralib.persistence._classes.field import missing, unit_of
from neuralib.persistence._classes.schema import ensure_persistence_class
from neuralib.persistence._errors import PersistenceError
from neuralib.persistence._messages import printable
from neuralib.persistence._showing.previews import (
    count_text,
    is_array,
    shape_text,
    size_of,
    size_text,
    type_text,
    value_text,
)
from neuralib.persistence._showing.thumbnails import thumbnail

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MAX_ITEMS = 50  # shown of a dict or list in a field
_MAX_THUMBNAILS = 12  # in one table
_MAX_VALUE_CHARS = 120

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
    """Return the fields of *result* as a collapsible table."""
    info = ensure_persistence_class(result)
    fields = _core.as_dict(result)
    keys = {key_field.field_name for key_field in info.key_fields()}
    notes = {declared.field_name: (unit_of(declared), declared.description) for declared in info.fields}
    unset = [name for name in info.fields_name() if name not in fields]
    body = _FieldTables(keys, notes).render(fields.items())
    if unset:
        body += f'<div class="d">not set: {_escaped(", ".join(unset))}</div>'
    try:
        name = f" {_escaped(_core.filename(result))}"
    except PersistenceError:  # a key has no valid value yet
        name = ""
    total = sum(size_of(value) or 0 for value in fields.values())
    size = f", {size_text(total)} of arrays" if total else ""
    about = f'<span class="d">{name} · {count_text(len(fields), "field")}{size}</span>'
    return _collapsible(f"<b>{_escaped(info.cls_name)}</b>{about}", body, outermost=True)


def rows_html(
    title: str, about: str, columns: Sequence[str], rows: Iterable[Sequence[object]], numeric: Iterable[int]
) -> str:
    """Return *rows* as a collapsible table.

    :param numeric: the indices of the columns that hold numbers, which are aligned to the right
    """
    right = set(numeric)
    classes = ['class="n"' if i in right else "" for i in range(len(columns))]

    def line(tag: str, cells: Iterable[object]) -> str:
        return "".join(
            f"<{tag} {kind}>{_escaped(str(cell))}</{tag}>" for cell, kind in zip(cells, classes, strict=True)
        )

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    table = f"<table><thead><tr>{line('th', columns)}</tr></thead><tbody>{body}</tbody></table>"
    return _collapsible(f'<b>{_escaped(title)}</b> <span class="d">{_escaped(about)}</span>', table, outermost=True)


def _escaped(value: str) -> str:
    return html.escape(printable(value))


def _collapsible(summary: str, body: str, *, outermost: bool = False) -> str:
    if outermost:
        return f'<div class="neuralib-p">{_STYLE}<details open><summary>{summary}</summary>{body}</details></div>'
    return f"<details><summary>{summary}</summary>{body}</details>"


class _FieldTables:
    """Renders nested tables of fields, with a limited number of thumbnails in all of them together."""

    def __init__(self, keys: set[str], notes: dict[str, tuple[str, str]]) -> None:
        self._keys = keys
        self._notes = notes
        # Columns for units and descriptions, where the class declares some.
        self._noted = [place for place in (0, 1) if any(note[place] for note in notes.values())]
        self._thumbnails_left = _MAX_THUMBNAILS

    def render(self, fields: Iterable[tuple[Any, Any]], depth: int = 0) -> str:
        """Return *fields* as a table."""
        rows = "".join(self._row(name, value, depth) for name, value in fields)
        titles = '<th>field</th><th>type</th><th>shape</th><th class="n">size</th><th>value</th>'
        titles += "".join(f"<th>{('unit', 'description')[place]}</th>" for place in self._noted)
        head = f"<thead><tr>{titles}</tr></thead>" if depth == 0 else ""
        return f"<table>{head}<tbody>{rows}</tbody></table>"

    def _row(self, name: Any, value: Any, depth: int) -> str:
        label = _escaped(name if isinstance(name, str) else f"[{value_text(name, 30)}]")
        marked = f'<span class="k">{label}</span>' if depth == 0 and name in self._keys else label
        size = size_of(value)
        return (
            f"<tr><td>{marked}</td><td>{_escaped(type_text(value))}</td><td>{_escaped(shape_text(value))}</td>"
            f'<td class="n">{"" if size is None else size_text(size)}</td><td class="v">{self._value(value, depth)}</td>'
            f"{self._note_cells(name if depth == 0 else None)}</tr>"
        )

    def _note_cells(self, name: Any) -> str:
        """Return the cells with the unit and the description of the field *name*; empty ones where it is no field."""
        note = self._notes.get(name, ("", "")) if isinstance(name, str) else ("", "")
        return "".join(f"<td>{_escaped(note[place])}</td>" for place in self._noted)

    def _value(self, value: Any, depth: int) -> str:
        if value is missing:
            return '<span class="d">any</span>'
        brief = _escaped(value_text(value, _MAX_VALUE_CHARS))
        if is_array(value):
            return self._thumbnail(value) + brief
        items = _items_to_show(value)
        if depth >= 2 or not items:
            return brief
        more = f'<div class="d">{len(value) - len(items):,} more</div>' if len(value) > len(items) else ""
        return _collapsible(brief, self.render(items, depth + 1) + more)

    def _thumbnail(self, value: Any) -> str:
        if self._thumbnails_left <= 0:
            return ""
        picture = thumbnail(value)
        self._thumbnails_left -= bool(picture)
        return picture


def _items_to_show(value: Any) -> list[tuple[Any, Any]]:
    """Return the items of a container that get rows of their own: those of a dict, and those of a list with arrays."""
    if type(value) is dict:
        return list(itertools.islice(value.items(), _MAX_ITEMS))
    if type(value) in {list, tuple}:
        items = list(enumerate(value[:_MAX_ITEMS]))
        return items if any(is_array(item) and item.shape for _, item in items) else []
    return []
