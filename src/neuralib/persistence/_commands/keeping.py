"""``verify``, ``rm`` and ``convert``: check, remove and convert result files."""

from __future__ import annotations

import errno
import itertools
import os
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from neuralib.persistence._commands.checking import checked, unlisted_text
from neuralib.persistence._commands.classes import class_asked_for
from neuralib.persistence._commands.confirming import confirmed
from neuralib.persistence._commands.entries import Entry, UsageError, holds_results, selected
from neuralib.persistence._commands.screen import Screen, failure, progress, write_json
from neuralib.persistence._errors import CorruptResultError, PersistenceError, UnloadableResultError
from neuralib.persistence._showing.previews import count_text, size_text
from neuralib.persistence._stores.base import is_deleted
from neuralib.persistence._stores.leftovers import OpenFolder
from neuralib.persistence._stores.paths import PATHS, store_and_name
from neuralib.persistence._stores.system import joined

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from neuralib.persistence._commands.checking import Checked
    from neuralib.persistence._stores.base import Store


def verify(options: argparse.Namespace, screen: Screen) -> int:
    """Check that files are intact and that their names match their keys. Return 1 if a file fails."""
    if options.wanted:
        raise UsageError(f"verify accepts files and folders, not {next(iter(options.wanted))}=")
    info = class_asked_for(options)
    found = checked(options.paths, recursive=options.recursive, info=info)
    failed = [*found.damaged, *found.misnamed, *found.unread]
    status = 1 if failed else 0
    if options.output == "json":
        write_json(screen, _report(found))
        return status
    for path, problem in failed:
        text = str(problem)
        screen.line(text if path in text else f"{path}: {text}", "red")
    if not options.quiet:
        _write_summary(found, screen, has_class=info is not None)
    return status


def _report(found: Checked) -> dict[str, Any]:
    """Return the report as a dict for ``--json``."""

    def problems(failed: list[tuple[str, Exception]]) -> list[dict[str, str]]:
        return [{"path": path, "problem": str(problem)} for path, problem in failed]

    return {
        "files": found.files,
        "size_bytes": found.size_bytes,
        "damaged": problems(found.damaged),
        "misnamed": problems(found.misnamed),
        "not_checked": problems(found.unread),
        "without_checksum": found.plain,
        "names_not_compared": found.not_compared,
        "rows_left_out": [{"path": path, "rows": count} for path, count in found.unlisted],
        "not_loadable_here": [{"path": path, "missing": missing} for path, missing in found.not_loadable],
    }


def _write_summary(found: Checked, screen: Screen, *, has_class: bool) -> None:
    n_damaged, n_unread = len(found.damaged), len(found.unread)
    line = f"{count_text(found.files, 'file')}, {size_text(found.size_bytes)}: "
    line += f"{found.files - n_damaged - n_unread:,} intact, {n_damaged:,} damaged"
    if found.misnamed:
        line += f", {len(found.misnamed):,} misnamed"
    if n_unread:
        line += f", {n_unread:,} not checked"
    screen.line(line, "red" if n_damaged or found.misnamed or n_unread else "green")
    if found.plain:
        files = count_text(len(found.plain), "file")
        screen.line(f"no checksum in {files} of another program: complete, but changed values can't be detected", "dim")
    if found.not_loadable:
        files = count_text(len(found.not_loadable), "intact file")
        missing = ", ".join(sorted({package for _, packages in found.not_loadable for package in packages}))
        screen.line(f"not loadable here: {files} with objects of packages that are not installed: {missing}", "yellow")
    for path, count in found.unlisted:
        screen.line(f"left out: {unlisted_text(path, count)}", "yellow")
    if found.not_compared:
        names = count_text(len(found.not_compared), "file name")
        advice = "" if has_class else " without the class; pass --class"
        screen.line(f"could not check {names}{advice}", "dim")


# ------------------------------------------------------------------------------------------ rm


def rm(options: argparse.Namespace, screen: Screen) -> int:
    """Remove results, after a confirmation prompt."""
    entries = _selected(options, "rm")
    return _apply(options, screen, entries, "remove", "removed", partial(_removed, options.paths))


def _removed(tops: list[str], entries: list[Entry]) -> Iterator[Exception | None]:
    """Remove *entries*, and yield for each None, or why it could not be removed. Those of an archive or a bucket share the cost.

    :param tops: the files and folders that were given
    """
    for _, group in itertools.groupby(entries, lambda entry: os.path.dirname(entry.path)):
        together = list(group)
        store, _ = store_and_name(together[0].path)
        if not store.shares_puts:
            yield from _each(partial(_remove, tops), together)
            continue
        size = store.group_size()
        for first in range(0, len(together), size):
            yield from _removed_together(store, together[first : first + size])


def _remove(tops: list[str], entry: Entry) -> None:
    """Remove the file *entry*, in the folder where it was found, even if somebody put a link in its path meanwhile."""
    if Entry(entry.path).version != entry.version:
        raise _just_replaced(entry)
    top = _top_of(entry.path, tops)
    folder, name = os.path.split(entry.path)
    below = [] if top is None else os.path.relpath(folder or os.curdir, top).split(os.sep)
    if top is None or below == [os.curdir]:
        PATHS.delete(entry.path)
        return
    with ExitStack() as stack:
        opened = stack.enter_context(OpenFolder(top))
        for part in below:
            opened = stack.enter_context(OpenFolder(part, opened))
        os.unlink(opened.at(name), dir_fd=opened.fd)


def _top_of(path: str, tops: list[str]) -> str | None:
    """Return which of the folders *tops* the file *path* was found in; None where it was given itself."""
    found = [top for top in tops if path.startswith("" if top == os.curdir else joined(top, ""))]
    return None if path in tops else max(found, key=len, default=None)


def _removed_together(store: Store, entries: list[Entry]) -> Iterator[Exception | None]:
    """Remove *entries* of *store* whose content is what was looked at, and yield for each None, or why it could not be removed."""
    try:
        gone = set(store.delete_many({entry.name: entry.version for entry in entries}))
    except (OSError, PersistenceError):
        # Some may be gone already: the others are tried one by one, and each says what is wrong.
        yield from _each(partial(_remove_what_is_left, store), entries)
        return
    for entry in entries:
        if entry.name in gone:
            gone.remove(entry.name)  # it may have been given twice
            yield None
        elif store.has(entry.name):
            yield _just_replaced(entry)
        else:
            yield FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), entry.path)


def _remove_what_is_left(store: Store, entry: Entry) -> None:
    if not is_deleted(store, entry.name, entry.version) and store.has(entry.name):
        raise _just_replaced(entry)


def _just_replaced(entry: Entry) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "was just replaced; the new result was not removed", entry.path)


def _selected(options: argparse.Namespace, command: str) -> list[Entry]:
    paths = options.paths
    if not paths:
        raise UsageError(
            f"{command} needs a file or folder: `neuralib-persistence {command} . animal=A00` for the current folder"
        )
    if not options.wanted and not options.all and any(holds_results(path) for path in paths):
        raise UsageError(f"{command} needs --all for all results of a folder, or key=value to select some of them")
    entries = selected(options, class_asked_for(options), heads=True)
    named = [entry for entry in entries if entry.path in paths]
    others = [entry.path for entry in named if not entry.is_result]
    if others and command == "rm" and not options.force:
        more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
        raise UsageError(f"not a result: {others[0]}{more}; nothing was removed. Pass --force to remove it too")
    # Files that can't be read match no selection. convert keeps them in the list so that it reports them as failed.
    reported = (CorruptResultError, UnloadableResultError) if command == "convert" else ()
    return [
        entry for entry in entries if entry.problem is None or entry in named or isinstance(entry.problem, reported)
    ]


def _apply(
    options: argparse.Namespace,
    screen: Screen,
    entries: list[Entry],
    verb: str,
    done: str,
    action: Callable[[list[Entry]], Iterator[Exception | None]],
) -> int:
    """Call *action* with the entries if the user agrees. Return 1 if it failed for some, or if the user declined.

    :param action: yields for each entry None, or why it failed
    """
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
    lines = [(entry.path, "") for entry in entries]
    if not options.yes and not confirmed(lines, f"{verb.capitalize()} {what}?", verb):
        screen.line("nothing was changed")
        return 1
    failed = 0
    for _, problem in zip(progress(entries, f"{verb}: file"), action(entries), strict=True):
        if problem is not None:
            failed += 1
            failure(problem)
    screen.line(f"{done} {count_text(len(entries) - failed, 'file')}" + (f"; {failed:,} failed" if failed else ""))
    return 1 if failed else 0


def _each(action: Callable[[Entry], None], entries: list[Entry]) -> Iterator[Exception | None]:
    """Call *action* with each of *entries*, and yield for each None, or the error."""
    for entry in entries:
        try:
            action(entry)
        except (OSError, PersistenceError) as error:
            yield error
        else:
            yield None


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
        after += PATHS.stat(target).size_bytes

    options.yes = True  # no confirmation: nothing is lost
    status = _apply(options, screen, entries, f"convert to {options.to}", "converted", partial(_each, action))
    if after:
        screen.line(f"{size_text(before)} before, {size_text(after)} now")
    return status
