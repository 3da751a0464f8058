"""``ls`` and ``du``: list the results of folders, and add up their sizes."""

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
_MAX_INT = 1 << 63


def ls(options: argparse.Namespace, screen: Screen) -> int:
    """List the results of folders."""
    entries, n_others = _found(options)
    if options.json:
        write_json(screen, [_as_dict(entry) for entry in _first_of_each_class(entries, options.limit)])
    elif options.csv:
        _write_csv(_first_of_each_class(entries, options.limit), screen)
    elif options.summary:
        screen.table(*_summary(entries))
    else:
        _write_tables(entries, options, screen)
    if not (options.json or options.csv):
        _write_notes(entries, n_others, screen)
    return 0


def _found(options: argparse.Namespace) -> tuple[list[Entry], int]:
    """Return the results, and the number of pickle files that are not results."""
    paths, wanted = targets(options.paths)
    info = class_asked_for(options)
    found = []
    for folder in paths or [os.curdir]:
        if not os.path.isdir(folder):
            raise UsageError(f"{folder} is a file: run `neuralib-persistence show` to see its fields")
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


def _first_of_each_class(entries: list[Entry], limit: int | None) -> list[Entry]:
    """Return the first *limit* entries of each class, or all entries if *limit* is None."""
    seen: Counter[str] = Counter()
    first = []
    for entry in entries:
        seen[entry.label] += 1
        if limit is None or seen[entry.label] <= limit:
            first.append(entry)
    return first


def _by_class(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.label, []).append(entry)
    return dict(sorted(groups.items()))


def keys_of(entries: Iterable[Entry]) -> list[str]:
    """Return the names of all keys of *entries*, in the order in which they first appear."""
    return list(dict.fromkeys(key for entry in entries for key in entry.keys))


def _total_bytes(entries: Iterable[Entry]) -> int:
    return sum(entry.size_bytes for entry in entries)


def _write_tables(entries: list[Entry], options: argparse.Namespace, screen: Screen) -> None:
    folders = targets(options.paths)[0]
    folder = folders[0] if len(folders) == 1 else ""
    for i, (class_name, group) in enumerate(_by_class(entries).items()):
        if i:
            screen.line()
        screen.line(f"{class_name}  {count_text(len(group), 'result')}, {size_text(_total_bytes(group))}", "bold")
        keys = keys_of(group)
        columns = [Column(key, right=_are_numbers(key, group), style="cyan") for key in keys]
        columns += [Column("size", right=True, spare=True), Column("saved", spare=True), Column("file", style="dim")]
        shown = group[: options.limit]
        rows = [
            [
                *(_key_text(entry, key) for key in keys),
                size_text(entry.size_bytes),
                _local_time(entry.modified),
                _file_text(entry, folder),
            ]
            for entry in shown
        ]
        screen.table(columns, rows)
        if len(shown) < len(group):
            screen.line(f"… {len(group) - len(shown):,} more: leave out --limit to see them", "dim")
    if not entries:
        screen.line("no results", "dim")


def _file_text(entry: Entry, folder: str) -> str:
    text = entry.path
    if folder:
        prefix = joined(folder, "")
        text = text[len(prefix) :] if text.startswith(prefix) else os.path.relpath(text, folder)
    if entry.problem is not None:
        return f"{text}  (can't be read)"
    return f"{text}  (file name does not match)" if entry.misnamed else text


def _key_text(entry: Entry, key: str) -> str:
    if key not in entry.keys:
        return ""
    value = entry.keys[key]
    if type(value) is int and -_MAX_INT < value < _MAX_INT:
        return str(value)  # fast path: most keys are small integers or text
    return printable(value) if isinstance(value, str) else value_text(value)


def _are_numbers(key: str, entries: list[Entry]) -> bool:
    return all(isinstance(entry.keys.get(key, 0), (int, float)) for entry in entries)


def _local_time(seconds: float) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"  # noqa: DTZ006 - local time, for people


def _as_dict(entry: Entry) -> dict[str, Any]:
    report = {
        "path": entry.path,
        "class": entry.class_name or None,
        "class_path": entry.type_name or None if entry.card is None else entry.card.class_name,
        "keys": {key: as_json(value) for key, value in entry.keys.items()},
        "size_bytes": entry.size_bytes,
        "saved": _iso_time(entry.modified),
    }
    if entry.problem is not None:
        report["problem"] = str(entry.problem)
    elif entry.misnamed:
        report["problem"] = "the file name does not match the keys in the file"
    return report


def _iso_time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()


def _write_csv(entries: list[Entry], screen: Screen) -> None:
    keys = keys_of(entries)
    rows = (
        [
            entry.path,
            entry.label,
            *(_key_text(entry, key) for key in keys),
            entry.size_bytes,
            _iso_time(entry.modified),
        ]
        for entry in entries
    )
    write_csv(screen, ["path", "class", *keys, "size_bytes", "saved"], rows)


def _summary(entries: list[Entry]) -> tuple[list[Column], list[list[str]]]:
    rows = []
    for class_name, group in _by_class(entries).items():
        keys = ", ".join(f"{key} {_values_text(key, group)}" for key in keys_of(group))
        rows.append([class_name, f"{len(group):,}", size_text(_total_bytes(group)), keys])
    return [Column("class"), Column("results", right=True), Column("size", right=True), Column("keys")], rows


def _values_text(key: str, entries: list[Entry]) -> str:
    """Return all values of *key* if they are few, or the first and the last one."""
    texts = sorted({_key_text(entry, key) for entry in entries if key in entry.keys}, key=natural)
    if len(texts) <= 4:
        return "|".join(texts)
    return f"{texts[0]}…{texts[-1]} ({len(texts):,} values)"


def _write_notes(entries: list[Entry], n_others: int, screen: Screen) -> None:
    n_unreadable = sum(entry.problem is not None for entry in entries)
    if n_unreadable:
        files = count_text(n_unreadable, "file")
        screen.line(f"{files} can't be read: run `neuralib-persistence verify` to see why", "red")
    if n_others:
        screen.line(f"{count_text(n_others, 'pickle file')} without a result", "dim")


# ------------------------------------------------------------------------------------------ du


def du(options: argparse.Namespace, screen: Screen) -> int:
    """Add up the sizes of results by class, and by the values of keys."""
    entries, _ = _found(options)
    by = options.by or []
    known = {name for entry in entries for name in entry.known_fields}
    for key in by:
        if entries and key not in known:
            fields = ", ".join(sorted(known)) or "none"
            raise UsageError(f"--by {key}: no result has this field; available fields: {fields}")
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        values = entry.fields | entry.keys
        group_key = (entry.label, *(_group_text(values, key) for key in by))
        groups.setdefault(group_key, []).append(entry)
    largest_first = sorted(groups.items(), key=lambda item: -_total_bytes(item[1]))
    total = _total_bytes(entries)
    titles = ["class", *by, "results", "size_bytes"]
    raw: list[list[Any]] = [[*group_key, len(group), _total_bytes(group)] for group_key, group in largest_first]
    if options.json:
        write_json(screen, [dict(zip(titles, row, strict=True)) for row in raw])
    elif options.csv:
        write_csv(screen, titles, raw)
    else:
        columns = [Column(title, style="cyan") for title in titles[:-2]]
        columns += [Column("results", right=True), Column("size", right=True), Column("share", right=True)]
        rows = [
            [*map(str, row[:-2]), f"{row[-2]:,}", size_text(row[-1]), f"{100 * row[-1] / total:.0f} %" if total else ""]
            for row in raw
        ]
        screen.table(columns, rows)
        screen.line(f"{count_text(len(entries), 'result')}, {size_text(total)}", "bold")
    return 0


def _group_text(values: dict[str, Any], key: str) -> str:
    value = values.get(key, "")
    return value if isinstance(value, str) else value_text(value)
