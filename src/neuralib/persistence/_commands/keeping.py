"""``verify``, ``rm`` and ``convert``: what changes files, and what says whether they are whole."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from neuralib.persistence._commands.checking import checked
from neuralib.persistence._commands.classes import class_asked_for
from neuralib.persistence._commands.entries import Entry, UsageError, selected, targets
from neuralib.persistence._commands.screen import Screen, progress, write_json
from neuralib.persistence._errors import CorruptResultError, PersistenceError
from neuralib.persistence._showing.previews import count_text, size_text

if TYPE_CHECKING:
    import argparse

    from neuralib.persistence._commands.checking import Checked

_MOST_NAMED = 5  # files that a question names


def verify(options: argparse.Namespace, screen: Screen) -> int:
    """Read files to their end, and hold their keys against their names; return 1 where something is wrong."""
    paths, wanted = targets(options.paths)
    if wanted:
        raise UsageError(f"verify takes files and folders, and {next(iter(wanted))}= is neither")
    found = checked(paths, recursive=options.recursive, info=class_asked_for(options))
    status = 1 if found.damaged or found.misnamed else 0
    if options.json:
        write_json(screen, _report(found))
        return status
    for path, problem in [*found.damaged, *found.misnamed]:
        text = str(problem)
        screen.line(text if path in text else f"{path}: {text}", "red")
    if not options.quiet:
        _tell(found, screen)
    return status


def _report(found: Checked) -> dict[str, Any]:
    """Return what was *found* for programs."""
    return {
        "files": found.files,
        "size_bytes": found.size_bytes,
        "damaged": [{"path": path, "problem": str(it)} for path, it in found.damaged],
        "misnamed": [{"path": path, "problem": str(it)} for path, it in found.misnamed],
        "without_checksum": found.plain,
        "names_not_compared": found.not_compared,
    }


def _tell(found: Checked, screen: Screen) -> None:
    """Write what was *found* in all files together."""
    wrong = len(found.damaged)
    line = f"{count_text(found.files, 'file')} of {size_text(found.size_bytes)}: "
    line += f"{found.files - wrong:,} whole, {wrong:,} damaged"
    if found.misnamed:
        line += f", {len(found.misnamed):,} under another name"
    screen.line(line, "red" if wrong or found.misnamed else "green")
    if found.plain:
        files_text = count_text(len(found.plain), "whole file")
        screen.line(
            f"{files_text} of another program can be read to the end, but no checksum vouches for the values", "dim"
        )
    if found.not_compared:
        files_text = count_text(len(found.not_compared), "file")
        screen.line(f"the keys of {files_text} can't be held against the name without the class: give --class", "dim")


# ------------------------------------------------------------------------------------------ rm


def rm(options: argparse.Namespace, screen: Screen) -> int:
    """Remove results, after a question."""
    entries = _chosen(options, "rm")
    return _done_to_each(options, screen, entries, "remove", "removed", lambda entry: os.unlink(entry.path))


def _chosen(options: argparse.Namespace, command: str) -> list[Entry]:
    paths, wanted = targets(options.paths)
    if not paths:
        raise UsageError(
            f"{command} needs a file or folder: `neuralib-persistence {command} . animal=A00` for the folder here"
        )
    if not wanted and not options.all and any(os.path.isdir(it) for it in paths):
        raise UsageError(f"{command} of a whole folder needs --all; key=value chooses some of its results")
    found = selected(options.paths, recursive=options.recursive, info=class_asked_for(options))
    named = [entry for entry in found if entry.path in paths]
    others = [entry.path for entry in named if not entry.is_result]
    if others and command == "rm" and not options.force:
        more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
        raise UsageError(f"{others[0]}{more}: no result of this library; nothing was removed. --force removes it too")
    # A damaged file is nobody's match, but whoever converts a folder wants to hear of it; other pickles are not ours.
    heard = CorruptResultError if command == "convert" else ()
    return [entry for entry in found if entry.problem is None or entry in named or isinstance(entry.problem, heard)]


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
    """Convert results from one compression to another, or to none; a source goes when its copy is known to be the same."""
    from neuralib.persistence._codecs.gzipped import GZIP
    from neuralib.persistence._codecs.zstd import ZSTD
    from neuralib.persistence._commands.conversion import convert_file

    compression, ending, levels = {
        "plain": (None, "", range(0)),
        "gzip": (GZIP, ".gz", range(10)),
        "zstd": (ZSTD, ".zst", range(1, 23)),
    }[options.to]
    if options.level is not None and options.level not in levels:
        raise UsageError(f"--level {options.level}: --to {options.to} has no such level; gzip has 0 to 9, zstd 1 to 22")

    def target_of(entry: Entry) -> str:
        return entry.path.removesuffix(".gz").removesuffix(".zst") + ending

    entries = [entry for entry in _chosen(options, "convert") if target_of(entry) != entry.path]
    before = sum(entry.size_bytes for entry in entries)
    after = 0

    def action(entry: Entry) -> None:
        nonlocal after
        target = target_of(entry)
        try:
            convert_file(entry.path, target, compression=compression, level=options.level, keep=options.keep)
        except FileExistsError as error:
            raise FileExistsError(error.errno, "is there already; nothing was changed", target) from error
        after += os.stat(target).st_size

    options.yes = True  # nothing is lost
    status = _done_to_each(options, screen, entries, f"convert to {options.to}", "converted", action)
    if after:
        screen.line(f"{size_text(before)} before, {size_text(after)} now")
    return status
