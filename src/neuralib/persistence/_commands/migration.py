"""``migrate``: bring the files of a class to the names and fields that the class gives them today."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from neuralib.persistence._commands.classes import class_asked_for
from neuralib.persistence._commands.confirming import confirmed
from neuralib.persistence._commands.entries import UsageError, holds_results, places_in
from neuralib.persistence._commands.naming import SUFFIXES, suffix_of
from neuralib.persistence._commands.screen import write_json
from neuralib.persistence._finding import migrating
from neuralib.persistence._handlers.pickles import GzipHandler, PickleHandler, ZstdHandler
from neuralib.persistence._showing.previews import count_text
from neuralib.persistence._stores.base import listed
from neuralib.persistence._stores.paths import is_url, store_at

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from neuralib.persistence._commands.screen import Screen
    from neuralib.persistence._finding.migrating import Move

_KINDS: dict[str, type[PickleHandler[Any]]] = {kind.suffix: kind for kind in (PickleHandler, GzipHandler, ZstdHandler)}
_SUFFIX_OF = dict(zip(("plain", "gzip", "zstd"), _KINDS, strict=True))
_STYLES = {"taken": "yellow", "failed": "red"}


def migrate(options: argparse.Namespace, screen: Screen) -> int:
    """Show what would become of the files of a class, and do it if the user agrees. Return 1 if some stay as they are."""
    info = class_asked_for(options)
    if info is None:
        raise UsageError("migrate needs the class of the results: pass --class module:Class or --class file.py:Class")
    for path in (*options.paths, *options.wanted):
        if not holds_results(path) or is_url(path):
            raise UsageError(f"migrate accepts folders and archives, not {path}")
    places = [place for folder in options.paths for place in places_in(folder, recursive=options.recursive)]
    planned = [move for place in places for move in _migrated(place, info.persistence_cls, options, dry_run=True)]
    if options.dry_run or not _changes(planned):
        return _report(planned, options, screen, dry_run=True)
    lines = [(_text(move), _STYLES.get(move.outcome, "")) for move in planned]
    if not options.yes and not confirmed(lines, f"Migrate {count_text(_changes(planned), 'file')}?", "migrate"):
        screen.line("nothing was changed")
        return 1
    done = [move for place in places for move in _migrated(place, info.persistence_cls, options, dry_run=False)]
    return _report(done, options, screen, dry_run=False)


def _migrated(place: str, cls: type, options: argparse.Namespace, *, dry_run: bool) -> Iterator[Move]:
    """Yield what becomes of the files in the folder *place*; each keeps its format where no other one was asked for."""
    names = listed(store_at(place))
    for suffix in SUFFIXES if options.to is None else [_SUFFIX_OF[options.to]]:
        only = [name for name in names if options.to is not None or suffix_of(name) == suffix]
        if only:
            handler = _KINDS[suffix](cls, place, trusted=options.trust)
            moves = migrating.migrate(
                handler._keeper, dry_run=dry_run, class_names=tuple(options.renamed_from or ()), only=frozenset(only)
            )
            folder = PurePath(place)  # as it was given
            for move in moves:
                target = None if move.target is None else folder / move.target.name
                yield move._replace(path=folder / move.path.name, target=target)


def _changes(moves: list[Move]) -> int:
    return sum(move.outcome not in {"taken", "failed"} for move in moves)


def _text(move: Move) -> str:
    target = "" if move.target is None or move.target == move.path else f" -> {move.target.name}"
    problem = f": {move.problem}" if move.problem else ""
    return f"{move.path}{target}  ({move.outcome}{problem})"


def _report(moves: list[Move], options: argparse.Namespace, screen: Screen, *, dry_run: bool) -> int:
    if options.output == "json":
        rows = [
            {
                "path": str(move.path),
                "target": None if move.target is None else str(move.target),
                "outcome": move.outcome,
                "problem": move.problem or None,
            }
            for move in moves
        ]
        write_json(screen, {"dry_run": dry_run, "files": rows})
    else:
        for move in moves:
            if dry_run or move.problem:
                screen.line(_text(move), _STYLES.get(move.outcome, ""))
        left = len(moves) - _changes(moves)
        line = f"{'would migrate' if dry_run else 'migrated'} {count_text(_changes(moves), 'file')}"
        line += f"; {left:,} stay as they are" if left else ""
        screen.line(line + ("; nothing was changed" if dry_run else ""), "bold")
    return 1 if len(moves) > _changes(moves) else 0
