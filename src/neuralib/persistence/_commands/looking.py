"""``show`` and ``diff``: the fields of a file, and the differences between two files."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from neuralib.persistence._commands.content import compression_name, fields_of
from neuralib.persistence._commands.differences import difference_text, differences
from neuralib.persistence._commands.entries import UsageError, holds_results, kind_of_place
from neuralib.persistence._commands.plain import Budget, as_json
from neuralib.persistence._commands.screen import Column, Screen, write_json
from neuralib.persistence._errors import UntrustedTypeError
from neuralib.persistence._handlers.heads import FileHead, read_head
from neuralib.persistence._showing.previews import (
    is_array,
    is_object_head,
    shape_text,
    size_of,
    size_text,
    type_text,
    value_text,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_MAX_FIELDS = 1000  # of a file that are shown
_MAX_ITEMS = 20  # of a dict or list in a field that get rows of their own
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
    """Show the fields of result files."""
    reports = []
    for i, path in enumerate(options.files):
        if holds_results(path):
            raise UsageError(f"{path} is {kind_of_place(path)}: run `neuralib-persistence ls` to list its results")
        head = read_head(path)
        fields = fields_of(path, trusted=True) if options.trust else head.fields
        if options.output == "json":
            reports.append(_as_dict(path, head, fields))
            continue
        if i:
            screen.line()
        _show(path, head, fields, screen)
    if options.output == "json":
        write_json(screen, reports if len(reports) > 1 else reports[0])
    return 0


def _show(path: str, head: FileHead, fields: dict[str, Any], screen: Screen) -> None:
    screen.line(path, "bold")
    about = [size_text(head.size_bytes), compression_name(path) or "pickle"]
    card = head.card
    if card is not None:
        about = [card.class_name, *([f"version {card.version}"] if card.version else []), *about]
    elif head.type_name is not None:
        about.insert(0, f"an instance of {head.type_name}")
    screen.line(", ".join(about), "dim")
    rows = []
    for name, value in itertools.islice(fields.items(), _MAX_FIELDS):
        notes = ("", "") if card is None else (card.units.get(name, ""), card.descriptions.get(name, ""))
        rows.append(_row(name, value, *notes))
        rows += [_row(f"  {label}", item) for label, item in _items(value)]
    screen.table(_COLUMNS, rows)
    if card is not None and card.packages:
        packages = ", ".join(f"{name} {version}".strip() for name, version in card.packages.items())
        screen.line(f"has objects of {packages}", "dim")
    if len(fields) > _MAX_FIELDS:
        screen.line(f"… {len(fields) - _MAX_FIELDS:,} more fields", "dim")
    if not head.complete:
        screen.line("… and more: the file is too complex to show in full without --trust", "yellow")


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


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the items of a field that contains arrays, each after its label, such as ``.name`` or ``[0]``."""
    inner = (value.fields or value.content) if is_object_head(value) else value
    if isinstance(inner, dict):
        pairs = [
            (f".{key}" if isinstance(key, str) else f"[{value_text(key, 20)}]", item)
            for key, item in itertools.islice(inner.items(), _MAX_FIELDS)
        ]
    elif isinstance(inner, (list, tuple)):
        pairs = [(f"[{i}]", item) for i, item in enumerate(itertools.islice(inner, _MAX_ITEMS + 1))]
    else:
        return
    if any(is_array(item) and item.shape for _, item in pairs):
        yield from pairs[:_MAX_ITEMS]


def _as_dict(path: str, head: FileHead, fields: dict[str, Any]) -> dict[str, Any]:
    budget = Budget()
    plain = {budget.text(name): as_json(value, budget) for name, value in itertools.islice(fields.items(), _MAX_FIELDS)}
    report = {
        "path": path,
        "class": head.type_name if head.card is None else head.card.class_name,
        "size_bytes": head.size_bytes,
        "compressed": head.compressed,
        "complete": head.complete and not budget.spent and len(fields) <= _MAX_FIELDS,
        "fields": plain,
    }
    if head.card is not None:
        notes: dict[str, Any] = {
            "version": head.card.version,
            "units": head.card.units,
            "descriptions": head.card.descriptions,
            "packages": head.card.packages,
        }
        report.update({name: note for name, note in notes.items() if note})
    return report


# ------------------------------------------------------------------------------------------ diff


def diff(options: argparse.Namespace, screen: Screen) -> int:
    """Show the differences between two results, and return 1 if there are any."""
    notes = []
    results = []
    for path in (options.a, options.b):
        if holds_results(path):
            raise UsageError(f"{path} is {kind_of_place(path)}: give the paths of two files")
        try:
            results.append(fields_of(path, trusted=options.trust))
        except UntrustedTypeError as error:
            notes.append(f"{path} contains {error.kind}: pass --trust to compare its large arrays")
            results.append(read_head(path).fields)
    found = differences(*results)
    n_more = len(found) - _MAX_FIELDS
    if n_more > 0:
        notes.append(f"{n_more:,} more fields differ")
        del found[_MAX_FIELDS:]
    if options.output == "json":
        budget = Budget()
        rows = [
            {
                "field": budget.text(difference.field),
                "kind": difference.kind,
                "a": as_json(difference.a, budget) if difference.kind != "only in b" else None,
                "b": as_json(difference.b, budget) if difference.kind != "only in a" else None,
                **as_json(difference.figures),
            }
            for difference in found
        ]
        write_json(screen, {"a": options.a, "b": options.b, "differences": rows, "notes": notes})
        return 1 if found else 0
    columns = [Column("field", style="cyan"), Column("difference"), Column("a"), Column("b")]
    if found:
        table = [[each.field, difference_text(each), _value_in(each, "a"), _value_in(each, "b")] for each in found]
        screen.table(columns, table)
    else:
        screen.line("no differences", "green" if not notes else "yellow")
    for note in notes:
        screen.line(note, "yellow")
    return 1 if found else 0


def _value_in(difference: Any, side: str) -> str:
    """Return a short text of the value in the result *side*, which is ``a`` or ``b``."""
    if difference.kind == f"only in {'b' if side == 'a' else 'a'}":
        return ""
    value = getattr(difference, side)
    return f"{shape_text(value)} {type_text(value)}" if is_array(value) else value_text(value, 30)
