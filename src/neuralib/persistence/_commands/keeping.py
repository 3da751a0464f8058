"""``verify``, ``rm`` and ``convert``: check, remove and convert result files."""

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

_MAX_LISTED = 5  # files that the confirmation prompt lists


def verify(options: argparse.Namespace, screen: Screen) -> int:
    """Check that files are intact and that their names match their keys. Return 1 if a file fails."""
    paths, wanted = targets(options.paths)
    if wanted:
        raise UsageError(f"verify accepts files and folders, not {next(iter(wanted))}=")
    info = class_asked_for(options)
    found = checked(paths, recursive=options.recursive, info=info)
    status = 1 if found.damaged or found.misnamed else 0
    if options.json:
        write_json(screen, _report(found))
        return status
    for path, problem in [*found.damaged, *found.misnamed]:
        text = str(problem)
        screen.line(text if path in text else f"{path}: {text}", "red")
    if not options.quiet:
        _write_summary(found, screen, has_class=info is not None)
    return status


def _report(found: Checked) -> dict[str, Any]:
    """Return the report as a dict for ``--json``."""
    return {
        "files": found.files,
        "size_bytes": found.size_bytes,
        "damaged": [{"path": path, "problem": str(problem)} for path, problem in found.damaged],
        "misnamed": [{"path": path, "problem": str(problem)} for path, problem in found.misnamed],
        "without_checksum": found.plain,
        "names_not_compared": found.not_compared,
    }


def _write_summary(found: Checked, screen: Screen, *, has_class: bool) -> None:
    n_damaged = len(found.damaged)
    line = f"{count_text(found.files, 'file')}, {size_text(found.size_bytes)}: "
    line += f"{found.files - n_damaged:,} intact, {n_damaged:,} damaged"
    if found.misnamed:
        line += f", {len(found.misnamed):,} misnamed"
    screen.line(line, "red" if n_damaged or found.misnamed else "green")
    if found.plain:
        files = count_text(len(found.plain), "file")
        screen.line(f"no checksum in {files} of another program: complete, but changed values can't be detected", "dim")
    if found.not_compared:
        names = count_text(len(found.not_compared), "file name")
        advice = "" if has_class else " without the class; pass --class"
        screen.line(f"could not check {names}{advice}", "dim")


# ------------------------------------------------------------------------------------------ rm


def rm(options: argparse.Namespace, screen: Screen) -> int:
    """Remove results, after a confirmation prompt."""
    entries = _selected(options, "rm")
    return _apply_to_each(options, screen, entries, "remove", "removed", lambda entry: os.unlink(entry.path))


def _selected(options: argparse.Namespace, command: str) -> list[Entry]:
    paths, wanted = targets(options.paths)
    if not paths:
        raise UsageError(
            f"{command} needs a file or folder: `neuralib-persistence {command} . animal=A00` for the current folder"
        )
    if not wanted and not options.all and any(os.path.isdir(path) for path in paths):
        raise UsageError(f"{command} needs --all for all results of a folder, or key=value to select some of them")
    entries = selected(options.paths, recursive=options.recursive, info=class_asked_for(options))
    named = [entry for entry in entries if entry.path in paths]
    others = [entry.path for entry in named if not entry.is_result]
    if others and command == "rm" and not options.force:
        more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
        raise UsageError(f"not a result: {others[0]}{more}; nothing was removed. Pass --force to remove it too")
    # Damaged files match no selection. convert keeps them in the list so that it reports them as failed.
    reported = CorruptResultError if command == "convert" else ()
    return [
        entry for entry in entries if entry.problem is None or entry in named or isinstance(entry.problem, reported)
    ]


def _apply_to_each(
    options: argparse.Namespace, screen: Screen, entries: list[Entry], verb: str, done: str, action: Any
) -> int:
    """Call *action* with each entry if the user agrees. Return 1 if it failed for some, or if the user declined."""
    size = size_text(sum(entry.size_bytes for entry in entries))
    what = f"{count_text(len(entries), 'file')} ({size})"
    if not entries:
        screen.line(f"no result to {verb}", "dim")
        return 0
    if options.dry_run:
        for entry in entries:
            screen.line(entry.path)
        screen.line(f"would {verb} {what}; nothing was changed", "bold")
        return 0
    if not options.yes and not _confirmed(entries, f"{verb} {what}?", verb):
        screen.line("nothing was changed")
        return 1
    failed = 0
    for entry in progress(entries, f"{verb}: file"):
        try:
            action(entry)
        except (OSError, PersistenceError) as error:
            failed += 1
            print(f"neuralib-persistence: {_reason(error)}", file=sys.stderr)  # noqa: T201 - error message of a command
    screen.line(f"{done} {count_text(len(entries) - failed, 'file')}" + (f"; {failed:,} failed" if failed else ""))
    return 1 if failed else 0


def _confirmed(entries: list[Entry], question: str, verb: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(f"not an interactive terminal: pass --yes to {verb}, or --dry-run to see what would happen")
    out = Screen(stream=sys.stderr)
    for entry in entries[:_MAX_LISTED]:
        out.line(f"  {entry.path}")
    if len(entries) > _MAX_LISTED:
        out.line(f"  … and {len(entries) - _MAX_LISTED:,} more")
    sys.stderr.write(f"{question[0].upper()}{question[1:]} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


# ------------------------------------------------------------------------------------------ convert


def convert(options: argparse.Namespace, screen: Screen) -> int:
    """Compress or decompress results. Each source is removed after its converted copy was read back and compared."""
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

    entries = [entry for entry in _selected(options, "convert") if target_of(entry) != entry.path]
    before = sum(entry.size_bytes for entry in entries)
    after = 0

    def action(entry: Entry) -> None:
        nonlocal after
        target = target_of(entry)
        try:
            convert_file(entry.path, target, compression=compression, level=options.level, keep=options.keep)
        except FileExistsError as error:
            raise FileExistsError(error.errno, "exists already; nothing was changed", target) from error
        after += os.stat(target).st_size

    options.yes = True  # no confirmation: nothing is lost
    status = _apply_to_each(options, screen, entries, f"convert to {options.to}", "converted", action)
    if after:
        screen.line(f"{size_text(before)} before, {size_text(after)} now")
    return status
