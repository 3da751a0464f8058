"""``verify``, ``rm`` and ``convert``: what changes files, and what says whether they are whole."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from neuralib.persistence._commands.classes import class_info
from neuralib.persistence._commands.content import checker
from neuralib.persistence._commands.entries import Entry, UsageError, paths_in, selected, targets
from neuralib.persistence._commands.screen import Screen, progress, write_json
from neuralib.persistence._errors import CorruptResultError, PersistenceError
from neuralib.persistence._preview import count_text, size_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_MOST_NAMED = 5  # files that a question names


def verify(options: argparse.Namespace, screen: Screen) -> int:
    """Read files to their end; return 1 where one is damaged."""
    paths, wanted = targets(options.paths)
    if wanted:
        raise UsageError(f"verify takes files and folders, and {next(iter(wanted))}= is neither")
    files = [it for path in paths for it in _files_at(path, options)]
    check = checker()._check
    damaged: list[tuple[str, Exception]] = []
    plain: list[str] = []
    size = 0
    for path in progress(files, "checking file"):
        try:
            if not check(path):
                plain.append(path)
            size += os.stat(path).st_size
        except (PersistenceError, OSError) as error:
            damaged.append((path, error))
    if options.json:
        problems = [{"path": path, "problem": str(it)} for path, it in damaged]
        write_json(
            screen,
            {"files": len(files), "size_bytes": size, "damaged": problems, "without_checksum": plain},
        )
        return 1 if damaged else 0
    for path, problem in damaged:
        text = str(problem)
        screen.line(text if path in text else f"{path}: {text}", "red")
    whole = len(files) - len(damaged)
    if not options.quiet:
        screen.line(
            f"{count_text(len(files), 'file')} of {size_text(size)}: {whole:,} whole, {len(damaged):,} damaged",
            "red" if damaged else "green",
        )
        if plain:
            files_text = count_text(len(plain), "whole file")
            screen.line(
                f"{files_text} of another program can be read to the end, but no checksum vouches for the values", "dim"
            )
    return 1 if damaged else 0


def _files_at(path: str, options: argparse.Namespace) -> Sequence[str]:
    return list(paths_in(path, recursive=options.recursive)) if os.path.isdir(path) else [path]


# ------------------------------------------------------------------------------------------ rm


def rm(options: argparse.Namespace, screen: Screen) -> int:
    """Remove results, after a question."""
    entries = _chosen(options, "rm")
    return _done_to_each(options, screen, entries, "remove", "removed", lambda it: os.unlink(it.path))


def _chosen(options: argparse.Namespace, command: str) -> list[Entry]:
    paths, wanted = targets(options.paths)
    if not paths:
        raise UsageError(
            f"{command} needs a file or folder: `neuralib-persistence {command} . animal=A00` for the folder here"
        )
    if not wanted and not options.all and any(os.path.isdir(it) for it in paths):
        raise UsageError(f"{command} of a whole folder needs --all; key=value chooses some of its results")
    info = class_info(options.class_) if options.class_ else None
    entries = selected(options.paths, recursive=options.recursive, info=info)
    # A damaged file is nobody's match, but whoever converts a folder wants to hear of it; other pickles are not ours.
    heard = CorruptResultError if command == "convert" else ()
    return [it for it in entries if it.problem is None or it.path in paths or isinstance(it.problem, heard)]


def _done_to_each(
    options: argparse.Namespace, screen: Screen, entries: list[Entry], verb: str, done: str, action: Any
) -> int:
    """Do *action* to each of *entries*, where the user wants it; return 1 where it failed for some."""
    size = size_text(sum(it.size_bytes for it in entries))
    what = f"{count_text(len(entries), 'file')} of {size}"
    if not entries:
        screen.line(f"no result to {verb}", "dim")
        return 0
    if options.dry_run:
        for it in entries:
            screen.line(it.path)
        screen.line(f"would {verb} {what}; nothing was changed", "bold")
        return 0
    if not options.yes and not _agreed(entries, f"{verb} {what}?", verb):
        screen.line("nothing was changed")
        return 1
    failed = 0
    for it in progress(entries, f"{verb.removesuffix('e')}ing file"):
        try:
            action(it)
        except (OSError, PersistenceError) as error:
            failed += 1
            print(f"neuralib-persistence: {_reason(error)}", file=sys.stderr)  # noqa: T201 - a command's message
    screen.line(f"{done} {count_text(len(entries) - failed, 'file')}" + (f"; {failed:,} failed" if failed else ""))
    return 1 if failed else 0


def _agreed(entries: list[Entry], question: str, verb: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(f"nobody can be asked here: give --yes to {verb}, or --dry-run to see what would be done")
    out = Screen(stream=sys.stderr)
    for it in entries[:_MOST_NAMED]:
        out.line(f"  {it.path}")
    if len(entries) > _MOST_NAMED:
        out.line(f"  … and {len(entries) - _MOST_NAMED:,} more")
    sys.stderr.write(f"{question[0].upper()}{question[1:]} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


# ------------------------------------------------------------------------------------------ convert


def convert(options: argparse.Namespace, screen: Screen) -> int:
    """Convert results from plain to compressed, or back; a source goes when its copy is known to be the same."""
    compress = options.to == "gzip"
    if options.level is not None and not compress:
        raise UsageError("--level is of --to gzip")
    entries = [it for it in _chosen(options, "convert") if it.path.endswith(".gz") != compress]
    before = sum(it.size_bytes for it in entries)
    after = 0

    def action(entry: Entry) -> None:
        nonlocal after
        from neuralib.persistence._handlers.conversion import convert_file

        target = f"{entry.path}.gz" if compress else entry.path.removesuffix(".gz")
        try:
            convert_file(entry.path, target, compress=compress, level=options.level, keep=options.keep)
        except FileExistsError as error:
            raise FileExistsError(error.errno, "is there already; nothing was changed", target) from error
        after += os.stat(target).st_size

    options.yes = True  # nothing is lost
    status = _done_to_each(options, screen, entries, f"convert to {options.to}", "converted", action)
    if after:
        screen.line(f"{size_text(before)} before, {size_text(after)} now")
    return status
