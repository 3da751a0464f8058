"""``ls`` and ``du``: which results there are, and what room they take."""

from __future__ import annotations

import datetime
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from neuralib.persistence._commands.classes import class_asked_for
from neuralib.persistence._commands.entries import Entry, UsageError, entries_in, natural, targets
from neuralib.persistence._commands.plain import as_json
from neuralib.persistence._commands.screen import Column, Screen, write_csv, write_json
from neuralib.persistence._errors import NotAResultError
from neuralib.persistence._keeping.identity import is_same_class
from neuralib.persistence._showing.previews import count_text, printable, size_text, value_text
from neuralib.persistence._stores.system import joined

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from neuralib.persistence._codecs.card import Card

UNKNOWN_CLASS = "(class unknown)"
_LARGEST = 1 << 63


def ls(options: argparse.Namespace, screen: Screen) -> int:
    """List the results of a folder."""
    entries, others = _found(options)
    if options.json:
        write_json(screen, [_as_dict(it) for it in _first_of_each(entries, options.limit)])
    elif options.csv:
        _csv(_first_of_each(entries, options.limit), screen)
    elif options.summary:
        screen.table(*_summary(entries))
    else:
        _tables(entries, options, screen)
    _notes(entries, others, screen, plain=options.json or options.csv)
    return 0


def _found(options: argparse.Namespace) -> tuple[list[Entry], int]:
    """Return the results that there are, and how many pickle files are something else."""
    paths, wanted = targets(options.paths)
    info = class_asked_for(options)
    found = []
    for folder in paths or [os.curdir]:
        if not os.path.isdir(folder):
            raise UsageError(f"{folder} is a file: see what is in it by `neuralib-persistence show`")
        found += entries_in(
            folder,
            recursive=options.recursive,
            info=info,
            wanted=wanted,
            by=getattr(options, "by", None) or (),
            heads=getattr(options, "heads", False),
            alone=len(paths) < 2,
        )
    results = [entry for entry in found if entry.is_result or not isinstance(entry.problem, NotAResultError)]
    _label_classes(results)
    return results, len(found) - len(results)


def _label_classes(entries: list[Entry]) -> None:
    """Set the label of each entry: the class's name, with its module where there are several classes of that name."""
    classes: list[Card] = []
    class_of: dict[int, Card] = {}
    for card in {id(entry.card): entry.card for entry in entries if entry.card is not None}.values():
        found = next((other for other in classes if other.name == card.name and is_same_class(card, other)), card)
        class_of[id(card)] = found
        if found is card:
            classes.append(card)
    names = Counter(card.name for card in classes)
    paths = Counter((card.name, card.class_name) for card in classes)
    for entry in entries:
        if entry.card is None:
            entry.label = entry.class_name or UNKNOWN_CLASS
            continue
        card = class_of[id(entry.card)]
        entry.label = card.name
        if names[card.name] > 1:
            fields = f", with {', '.join(card.fields)}" if paths[card.name, card.class_name] > 1 else ""
            entry.label += f" ({card.class_name}{fields})"


def _first_of_each(entries: list[Entry], limit: int | None) -> list[Entry]:
    """Return the first *limit* of each class, in their order; all where there is no limit."""
    seen: Counter[str] = Counter()
    found = []
    for entry in entries:
        seen[entry.label] += 1
        if limit is None or seen[entry.label] <= limit:
            found.append(entry)
    return found


def _by_class(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.label, []).append(entry)
    return dict(sorted(groups.items()))


def keys_of(entries: Iterable[Entry]) -> list[str]:
    """Return the keys that any of *entries* has, in their order."""
    return list(dict.fromkeys(key for it in entries for key in it.keys))


def _total(entries: Iterable[Entry]) -> int:
    return sum(it.size_bytes for it in entries)


def _tables(entries: list[Entry], options: argparse.Namespace, screen: Screen) -> None:
    folders = targets(options.paths)[0]
    folder = folders[0] if len(folders) == 1 else ""
    for i, (class_name, group) in enumerate(_by_class(entries).items()):
        if i:
            screen.line()
        screen.line(f"{class_name}  {count_text(len(group), 'result')}, {size_text(_total(group))}", "bold")
        keys = keys_of(group)
        columns = [Column(key, right=_are_numbers(key, group), style="cyan") for key in keys]
        columns += [Column("size", right=True, spare=True), Column("saved", spare=True), Column("file", style="dim")]
        shown = group[: options.limit]
        rows = [
            [
                *(_key_text(it, key) for key in keys),
                size_text(it.size_bytes),
                _when(it.modified),
                _file_text(it, folder),
            ]
            for it in shown
        ]
        screen.table(columns, rows)
        if len(shown) < len(group):
            screen.line(f"… {len(group) - len(shown):,} more: see them without --limit", "dim")
    if not entries:
        screen.line("no results", "dim")


def _file_text(entry: Entry, folder: str) -> str:
    text = entry.path
    if folder:
        inside = joined(folder, "")
        text = text[len(inside) :] if text.startswith(inside) else os.path.relpath(text, folder)
    note = "  (can't be read)" if entry.problem is not None else "  (its name says otherwise)" if entry.misnamed else ""
    return text + note


def _key_text(entry: Entry, key: str) -> str:
    if key not in entry.keys:
        return ""
    value = entry.keys[key]
    if type(value) is int and -_LARGEST < value < _LARGEST:
        return str(value)  # as most are
    return printable(value) if isinstance(value, str) else value_text(value)


def _are_numbers(key: str, entries: list[Entry]) -> bool:
    return all(isinstance(it.keys.get(key, 0), (int, float)) for it in entries)


def _when(seconds: float) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"  # noqa: DTZ006 - as the clock on the wall has it


def _as_dict(entry: Entry) -> dict[str, Any]:
    found = {
        "path": entry.path,
        "class": entry.class_name or None,
        "class_path": entry.type_name or None if entry.card is None else entry.card.class_name,
        "keys": {key: as_json(value) for key, value in entry.keys.items()},
        "size_bytes": entry.size_bytes,
        "saved": _iso(entry.modified),
    }
    if entry.problem is not None:
        found["problem"] = str(entry.problem)
    elif entry.misnamed:
        found["problem"] = "its name is not that of the keys in it"
    return found


def _iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()


def _csv(entries: list[Entry], screen: Screen) -> None:
    keys = keys_of(entries)
    rows = (
        [
            it.path,
            it.label,
            *(_key_text(it, key) for key in keys),
            it.size_bytes,
            _iso(it.modified),
        ]
        for it in entries
    )
    write_csv(screen, ["path", "class", *keys, "size_bytes", "saved"], rows)


def _summary(entries: list[Entry]) -> tuple[list[Column], list[list[str]]]:
    rows = []
    for class_name, group in _by_class(entries).items():
        keys = ", ".join(f"{key} {_range(key, group)}" for key in keys_of(group))
        rows.append([class_name, f"{len(group):,}", size_text(_total(group)), keys])
    return [Column("class"), Column("results", right=True), Column("size", right=True), Column("keys")], rows


def _range(key: str, entries: list[Entry]) -> str:
    texts = sorted({_key_text(it, key) for it in entries if key in it.keys}, key=natural)
    if len(texts) <= 4:
        return "|".join(texts)
    return f"{texts[0]}…{texts[-1]} ({len(texts):,} values)"


def _notes(entries: list[Entry], others: int, screen: Screen, *, plain: bool) -> None:
    if plain:
        return
    damaged = [it for it in entries if it.problem is not None]
    if damaged:
        files = count_text(len(damaged), "file")
        screen.line(f"{files} can't be read: see why by `neuralib-persistence verify`", "red")
    if others:
        screen.line(f"{count_text(others, 'other pickle file')}, no results", "dim")


# ------------------------------------------------------------------------------------------ du


def du(options: argparse.Namespace, screen: Screen) -> int:
    """Add up the sizes of results, by class, or by the values of keys."""
    entries, _ = _found(options)
    by = options.by or []
    known = {name for it in entries for name in it.known_fields}
    for key in by:
        if entries and key not in known:
            raise UsageError(f"--by {key}: no result has such a field; there are {', '.join(sorted(known)) or 'none'}")
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for it in entries:
        values = it.fields | it.keys
        place = (it.label, *(_by_text(values, key) for key in by))
        groups.setdefault(place, []).append(it)
    found = sorted(groups.items(), key=lambda it: -_total(it[1]))
    total = _total(entries)
    titles = ["class", *by, "results", "size_bytes"]
    raw: list[list[Any]] = [[*place, len(group), _total(group)] for place, group in found]
    if options.json:
        write_json(screen, [dict(zip(titles, row, strict=True)) for row in raw])
    elif options.csv:
        write_csv(screen, titles, raw)
    else:
        columns = [Column(it, style="cyan") for it in titles[:-2]]
        columns += [Column("results", right=True), Column("size", right=True), Column("share", right=True)]
        rows = [
            [*map(str, row[:-2]), f"{row[-2]:,}", size_text(row[-1]), f"{100 * row[-1] / total:.0f} %" if total else ""]
            for row in raw
        ]
        screen.table(columns, rows)
        screen.line(f"{count_text(len(entries), 'result')}, {size_text(total)}", "bold")
    return 0


def _by_text(values: dict[str, Any], key: str) -> str:
    value = values.get(key, "")
    return value if isinstance(value, str) else value_text(value)
