"""``ls`` and ``du``: list the results of folders, and add up their sizes."""

from __future__ import annotations

import datetime
import itertools
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from neuralib.persistence._commands.classes import class_asked_for
from neuralib.persistence._commands.entries import (
    Entry,
    UsageError,
    holds_results,
    many_in,
    matching_among,
    refuse_unknown,
    selected,
)
from neuralib.persistence._commands.plain import as_json
from neuralib.persistence._commands.screen import Column, Screen, write_csv, write_json
from neuralib.persistence._errors import NotAResultError
from neuralib.persistence._keeping.identity import is_same_class
from neuralib.persistence._naming.order import natural
from neuralib.persistence._showing.previews import cell_text, count_text, moment_of, size_text
from neuralib.persistence._stores.paths import is_url
from neuralib.persistence._stores.system import joined

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from neuralib.persistence._codecs.card import Card

UNKNOWN_CLASS = "(class unknown)"
_MAX_INT = 1 << 63
_MAX_COLUMNS = 200
_MAX_CLASSES = 50  # of one name that are listed separately
_MAX_NAMES = 20  # of fields in the label of a class


def ls(options: argparse.Namespace, screen: Screen) -> int:
    """List the results of folders."""
    parts = _very_many(options)
    if parts is not None:
        _show_parts(parts, options, screen)
        return 0
    entries, n_others = _found(options)
    if options.output == "json":
        write_json(screen, [_as_dict(entry) for entry in _first_of_each_class(entries, options.limit)])
    elif options.output is not None:
        _write_csv(_first_of_each_class(entries, options.limit), screen, safe=options.output == "csv-safe")
    elif options.summary:
        screen.table(*_summary(entries))
    else:
        _write_tables(entries, options, screen)
    if options.output is None:
        _write_notes(sum(entry.problem is not None for entry in entries), n_others, screen)
    return 0


def _very_many(options: argparse.Namespace) -> Iterator[list[Entry]] | None:
    """Return the entries in parts where a table of very many is asked for, whose rows are shown while they are read."""
    folder = options.paths[0] if options.paths else os.curdir
    needs_all = options.output is not None or options.summary or options.limit is not None
    if (
        needs_all
        or options.recursive
        or options.class_
        or len(options.paths) > 1
        or is_url(folder)
        or not holds_results(folder)
    ):
        return None
    return many_in(folder)


def _show_parts(parts: Iterator[list[Entry]], options: argparse.Namespace, screen: Screen) -> None:
    """Write a table of each part, and the sums at the end."""
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    n_others = n_unreadable = 0
    found: list[Entry] = []
    for found in parts:
        matching = matching_among(found, options.wanted, heads=options.heads)
        results = [entry for entry in matching if _is_result(entry)]
        _label_classes(results)
        if results:
            _write_tables(results, options, screen, sums=False)
            screen.stream.flush()
        for entry in results:
            counts[entry.label] += 1
            sizes[entry.label] += entry.size_bytes
            n_unreadable += entry.problem is not None
        n_others += len(matching) - len(results)
    if not counts:
        refuse_unknown(found, options.wanted)
        screen.line("no results", "dim")
    for label in sorted(counts):
        screen.line(f"{label}  {count_text(counts[label], 'result')}, {size_text(sizes[label])}", "bold")
    _write_notes(n_unreadable, n_others, screen)


def _is_result(entry: Entry) -> bool:
    return entry.is_result or not isinstance(entry.problem, NotAResultError)


def _found(options: argparse.Namespace) -> tuple[list[Entry], int]:
    """Return the results, and the number of pickle files that are not results."""
    for path in options.paths:
        if not holds_results(path):
            raise UsageError(f"{path} is a file: run `neuralib-persistence show` to see its fields")
    by, heads = getattr(options, "by", None) or (), getattr(options, "heads", False)
    found = selected(options, class_asked_for(options), by=by, heads=heads)
    results = [entry for entry in found if _is_result(entry)]
    _label_classes(results)
    return results, len(found) - len(results)


def _label_classes(entries: list[Entry]) -> None:
    """Set the label of each entry: the class's name, with its module where there are several classes of that name."""
    by_name: dict[str, list[Card]] = {}
    class_of: dict[int, Card] = {}
    for card in {id(entry.card): entry.card for entry in entries if entry.card is not None}.values():
        same_name = by_name.setdefault(card.name, [])
        found = next((other for other in same_name if is_same_class(card, other)), card)
        if found is card and len(same_name) >= _MAX_CLASSES:
            found = same_name[0]
        elif found is card:
            same_name.append(card)
        class_of[id(card)] = found
    names = {name: len(cards) for name, cards in by_name.items()}
    paths = Counter((card.name, card.class_name) for cards in by_name.values() for card in cards)
    for entry in entries:
        if entry.card is None:
            entry.label = entry.class_name or UNKNOWN_CLASS
            continue
        card = class_of[id(entry.card)]
        entry.label = card.name
        if names[card.name] > 1:
            fields = (
                f", with {', '.join(itertools.islice(card.fields, _MAX_NAMES))}"
                if paths[card.name, card.class_name] > 1
                else ""
            )
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
    """Return the names of the keys of *entries*, in the order in which they first appear; not more than a table can show."""
    names = dict.fromkeys(key for entry in entries for key in entry.keys)
    return list(itertools.islice(names, _MAX_COLUMNS))


def _total_bytes(entries: Iterable[Entry]) -> int:
    return sum(entry.size_bytes for entry in entries)


def _write_tables(entries: list[Entry], options: argparse.Namespace, screen: Screen, *, sums: bool = True) -> None:
    folder = options.paths[0] if len(options.paths) == 1 else ""
    for i, (class_name, group) in enumerate(_by_class(entries).items()):
        if i:
            screen.line()
        about = f"  {count_text(len(group), 'result')}, {size_text(_total_bytes(group))}" if sums else ""
        screen.line(class_name + about, "bold")
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
    return cell_text(value)


def _are_numbers(key: str, entries: list[Entry]) -> bool:
    return all(isinstance(entry.keys.get(key, 0), (int, float)) for entry in entries)


def _local_time(seconds: float) -> str:
    return f"{moment_of(seconds):%Y-%m-%d %H:%M}"


def _as_dict(entry: Entry) -> dict[str, Any]:
    report = {
        "path": entry.path,
        "class": entry.class_name or None,
        "class_path": entry.type_name or None if entry.card is None else entry.card.class_name,
        "keys": as_json(entry.keys),
        "size_bytes": entry.size_bytes,
        "saved": _iso_time(entry.modified),
    }
    if entry.problem is not None:
        report["problem"] = str(entry.problem)
    elif entry.misnamed:
        report["problem"] = "the file name does not match the keys in the file"
    return report


def _iso_time(seconds: float) -> str:
    return moment_of(seconds).astimezone(datetime.UTC).isoformat()


def _write_csv(entries: list[Entry], screen: Screen, *, safe: bool) -> None:
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
    write_csv(screen, ["path", "class", *keys, "size_bytes", "saved"], rows, safe=safe)


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


def _write_notes(n_unreadable: int, n_others: int, screen: Screen) -> None:
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
        group_key = (entry.label, *(cell_text(values.get(key, "")) for key in by))
        groups.setdefault(group_key, []).append(entry)
    largest_first = sorted(groups.items(), key=lambda item: -_total_bytes(item[1]))
    total = _total_bytes(entries)
    titles = ["class", *by, "results", "size_bytes"]
    raw: list[list[Any]] = [[*group_key, len(group), _total_bytes(group)] for group_key, group in largest_first]
    if options.output == "json":
        write_json(screen, [dict(zip(titles, row, strict=True)) for row in raw])
    elif options.output is not None:
        write_csv(screen, titles, raw, safe=options.output == "csv-safe")
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
