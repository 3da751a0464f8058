"""``show`` and ``diff``: what is in a file, and how two differ."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

from neuralib.persistence._commands.content import compression_name, fields_of
from neuralib.persistence._commands.differences import difference_text, differences
from neuralib.persistence._commands.entries import UsageError
from neuralib.persistence._commands.plain import as_json
from neuralib.persistence._commands.screen import Column, Screen, write_json
from neuralib.persistence._errors import UntrustedTypeError
from neuralib.persistence._handlers.heads import FileHead, read_head
from neuralib.persistence._showing.previews import is_array, shape_text, size_of, size_text, type_text, value_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_MOST_PARTS = 20  # of a dict or list in a field, shown in rows of their own
_COLUMNS = [
    Column("field", style="cyan"),
    Column("type"),
    Column("shape"),
    Column("size", right=True, spare=True),
    Column("unit"),
    Column("value", spare=True),
    Column("description", spare=True),
]


def show(options: argparse.Namespace, screen: Screen) -> int:
    """Show what is in result files."""
    shown = []
    for number, path in enumerate(options.files):
        if os.path.isdir(path):
            raise UsageError(f"{path} is a folder: see what is in it by `neuralib-persistence ls`")
        head = read_head(path)
        fields = fields_of(path, trusted=True) if options.trust else head.fields
        if options.json:
            shown.append(_as_dict(path, head, fields))
            continue
        if number:
            screen.line()
        _show(path, head, fields, screen)
    if options.json:
        write_json(screen, shown if len(shown) > 1 else shown[0])
    return 0


def _show(path: str, head: FileHead, fields: dict[str, Any], screen: Screen) -> None:
    screen.line(path, "bold")
    facts = [size_text(head.size_bytes), compression_name(path) or "pickle"]
    card = head.card
    if card is not None:
        facts = [card.class_name, *([f"version {card.version}"] if card.version else []), *facts]
    elif head.type_name is not None:
        facts.insert(0, f"an instance of {head.type_name}")
    screen.line(", ".join(facts), "dim")
    rows = []
    for name, value in fields.items():
        notes = ("", "") if card is None else (card.units.get(name, ""), card.descriptions.get(name, ""))
        rows.append(_row(name, value, *notes))
        rows += [_row(f"  {label}", part) for label, part in _parts(value)]
    screen.table(_COLUMNS, rows)
    if not head.complete:
        screen.line("… and more: the file has too much in it to be shown without trust (--trust shows all)", "yellow")


def _row(name: str, value: Any, unit: str = "", description: str = "") -> list[str]:
    size = size_of(value)
    return [
        name,
        type_text(value),
        shape_text(value),
        "" if size is None else size_text(size),
        unit,
        value_text(value),
        description,
    ]


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a field that has arrays in it, each with what it is reached by."""
    inner = getattr(value, "fields", None) or getattr(value, "content", None) or value
    if isinstance(inner, dict):
        pairs = [(f".{it}" if isinstance(it, str) else f"[{value_text(it, 20)}]", part) for it, part in inner.items()]
    elif isinstance(inner, (list, tuple)):
        pairs = [(f"[{i}]", part) for i, part in enumerate(itertools.islice(inner, _MOST_PARTS + 1))]
    else:
        return
    if any(is_array(part) and part.shape for _, part in pairs):
        yield from pairs[:_MOST_PARTS]


def _as_dict(path: str, head: FileHead, fields: dict[str, Any]) -> dict[str, Any]:
    found = {
        "path": path,
        "class": head.type_name if head.card is None else head.card.class_name,
        "size_bytes": head.size_bytes,
        "compressed": head.compressed,
        "complete": head.complete,
        "fields": {name: as_json(value) for name, value in fields.items()},
    }
    if head.card is not None:
        notes: dict[str, Any] = {
            "version": head.card.version,
            "units": head.card.units,
            "descriptions": head.card.descriptions,
        }
        found.update({name: note for name, note in notes.items() if note})
    return found


# ------------------------------------------------------------------------------------------ diff


def diff(options: argparse.Namespace, screen: Screen) -> int:
    """Show how two results differ; return 1 where they do."""
    notes = []
    sides = []
    for path in (options.a, options.b):
        if os.path.isdir(path):
            raise UsageError(f"{path} is a folder: give the paths of two files")
        try:
            sides.append(fields_of(path, trusted=options.trust))
        except UntrustedTypeError as error:
            notes.append(f"{path} holds {error.kind}: its large arrays are not compared, but for --trust")
            sides.append(read_head(path).fields)
    found = differences(*sides)
    if options.json:
        rows = [
            {
                "field": it.field,
                "kind": it.kind,
                "a": as_json(it.a) if it.kind != "only in b" else None,
                "b": as_json(it.b) if it.kind != "only in a" else None,
                **as_json(it.figures),
            }
            for it in found
        ]
        write_json(screen, {"a": options.a, "b": options.b, "differences": rows, "notes": notes})
        return 1 if found else 0
    columns = [Column("field", style="cyan"), Column("difference"), Column("a"), Column("b")]
    if found:
        screen.table(columns, [[it.field, difference_text(it), _side(it, "a"), _side(it, "b")] for it in found])
    else:
        screen.line("no field differs", "green" if not notes else "yellow")
    for note in notes:
        screen.line(note, "yellow")
    return 1 if found else 0


def _side(found: Any, side: str) -> str:
    if found.kind == f"only in {'b' if side == 'a' else 'a'}":
        return ""
    value = getattr(found, side)
    return f"{shape_text(value)} {type_text(value)}" if is_array(value) else value_text(value, 30)
