"""``pack``, ``unpack`` and ``merge``: results from folders into archives and back, and from several places into one."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from neuralib.persistence._classes.name_texts import problem_of_whole
from neuralib.persistence._codecs.pickles import PickleCodec
from neuralib.persistence._commands.checking import unlisted_rows_in, unlisted_text
from neuralib.persistence._commands.entries import UsageError, holds_results
from neuralib.persistence._commands.naming import SUFFIXES
from neuralib.persistence._commands.screen import failure, progress
from neuralib.persistence._errors import CorruptResultError, PersistenceError
from neuralib.persistence._handlers.heads import opened
from neuralib.persistence._showing.previews import count_text, size_text
from neuralib.persistence._stores.base import Put, Stat, Store, listed
from neuralib.persistence._stores.paths import ARCHIVE_SUFFIX, store_at

if TYPE_CHECKING:
    import argparse

    from neuralib.persistence._commands.screen import Screen

_GROUP = 500  # results that are copied in one step
_GROUP_BYTES = 1 << 26


class _Copy(NamedTuple):
    """What is copied in one step."""

    put: Put
    before: Stat
    """Of the original."""


class _Mover:
    """Copies results from other stores into one, and counts what became of them.

    :param target: where they go
    :param keep: leave the originals
    """

    def __init__(self, target: Store, *, keep: bool) -> None:
        self._target, self._keep = target, keep
        self._source: Store
        self.copied = self.same = self.failed = self.size_bytes = 0

    def move(self, source: Store, names: list[str], doing: str) -> None:
        """Copy *names* from *source*, compare each copy with the original, and then remove that, unless it is kept."""
        self._source = source
        group: list[_Copy] = []
        size = 0
        for name in progress(names, doing):
            try:
                group.append(self._read(name))
            except (OSError, PersistenceError) as error:
                self._tell(error)
                continue
            size += len(group[-1].put.content)
            if len(group) == _GROUP or size >= _GROUP_BYTES:
                self._copy(group)
                group, size = [], 0
        self._copy(group)

    def _read(self, name: str) -> _Copy:
        """Return the content of *name*, which is checked if it is a pickle.

        :raises CorruptResultError: it is damaged
        """
        problem = problem_of_whole(name)
        if problem is not None:
            raise CorruptResultError(self._source.location(name), f"its name can't be a file name: {problem}")
        before = self._source.stat(name)
        if not before.regular:
            raise OSError(0, "is a folder or a link, not a file", self._source.location(name))
        with opened(self._source, name) as content:
            if name.endswith(SUFFIXES):
                PickleCodec().check(content)
            data = bytes(content.read())
        return _Copy(Put(name, data, time_ns=round(before.time_modified_s * 1e9)), before)

    def _copy(self, group: list[_Copy]) -> None:
        while group:
            outcomes: list[Exception | None] = []
            problem: Exception | None = None
            try:
                self._target.put_many([each.put for each in group], outcomes, durable=True)
            except OSError as error:  # of the first that has no outcome
                problem = error
            whole = [
                each
                for each, taken in zip(group, outcomes, strict=False)
                if self._is_copied(each, is_new=taken is None)
            ]
            if whole and not self._keep:
                self._remove(whole)
            group = group[len(outcomes) :]
            if problem is not None:
                # What is too large is about one result alone: others may still be stored.
                if not outcomes and getattr(problem, "errno", None) != errno.EFBIG:
                    raise problem
                self._tell(problem)
                group = group[1:]

    def _is_copied(self, copy: _Copy, *, is_new: bool) -> bool:
        """Compare what is in the target with the original; return whether it is the same."""
        put, _ = copy
        with self._target.open(put.name) as content:
            is_same = content.read() == put.content
        if not is_same:
            place = self._target.location(put.name)
            why = "what was written is not what was read" if is_new else "is another result of this name; both stay"
            self._tell(CorruptResultError(place, why) if is_new else FileExistsError(0, why, place))
            return False
        self.copied += is_new
        self.same += not is_new
        self.size_bytes += len(put.content)
        return True

    def _remove(self, copies: list[_Copy]) -> None:
        """Remove the originals of *copies*: all of an archive's in one transaction, the others one by one."""
        for part in [copies] if self._source.shares_puts else [[copy] for copy in copies]:
            try:
                gone = set(self._source.delete_many({put.name: before.version for put, before in part}))
            except OSError as error:
                self._tell(error, len(part))
                continue
            for put, _ in part:
                if put.name not in gone and self._source.has(put.name):
                    self._tell(OSError(0, "was replaced meanwhile, and stays", self._source.location(put.name)))

    def tell_unlisted(self, source: str) -> None:
        """Tell how many rows of the archive *source* stay there since no file can have their names."""
        for path, count in unlisted_rows_in(source):
            self._tell(OSError(f"left behind: {unlisted_text(path, count)}"), count)

    def _tell(self, error: Exception, count: int = 1) -> None:
        self.failed += count
        failure(error)


def _names_in(store: Store, *, everything: bool) -> list[str]:
    names = [name for name in listed(store) if not name.startswith(".")]
    if not everything:
        names = [name for name in names if name.endswith(SUFFIXES)]
    if store.local_folder() is not None:
        names = [
            name for name in names if not os.path.isdir(store.location(name)) and not name.endswith(ARCHIVE_SUFFIX)
        ]
    return sorted(names)


def pack(options: argparse.Namespace, screen: Screen) -> int:
    """Move the results of a folder into an archive."""
    if not os.path.isdir(options.sources[0]):
        raise UsageError(f"{options.sources[0]} is not a folder")
    if not options.target.endswith(ARCHIVE_SUFFIX):
        raise UsageError(f"{options.target}: the name of an archive ends with {ARCHIVE_SUFFIX}")
    return _moved(options, screen, "packed")


def unpack(options: argparse.Namespace, screen: Screen) -> int:
    """Move the results of an archive into a folder."""
    if not holds_results(options.sources[0]) or os.path.isdir(options.sources[0]):
        raise UsageError(f"{options.sources[0]} is not an archive")
    if options.target.endswith(ARCHIVE_SUFFIX):
        raise UsageError(f"{options.target}: give a folder")
    return _moved(options, screen, "unpacked")


def merge(options: argparse.Namespace, screen: Screen) -> int:
    """Copy the results of several places into one; the originals stay."""
    for source in options.sources:
        if not holds_results(source):
            raise UsageError(f"{source} is neither a folder nor an archive")
        if os.path.exists(options.target) and os.path.samefile(source, options.target):
            raise UsageError(f"{source} is the place to merge into: name it once, after -o")
    options.keep = True
    return _moved(options, screen, "merged")


def _moved(options: argparse.Namespace, screen: Screen, done: str) -> int:
    mover = _Mover(store_at(options.target), keep=options.keep)
    for source in options.sources:
        store = store_at(source)
        names = _names_in(store, everything=options.all)
        if options.dry_run:
            screen.line(f"{source}: {count_text(len(names), 'file')} to be {done}; nothing was changed", "bold")
        else:
            mover.move(store, names, f"{source}: file")
        mover.tell_unlisted(source)
    if not options.dry_run:
        text = f"{done} {count_text(mover.copied, 'file')} into {options.target}"
        text += f"; {mover.same:,} were there already" if mover.same else ""
        text += f" ({size_text(mover.size_bytes)})" if mover.size_bytes else ""
        text += f"; {mover.failed:,} failed" if mover.failed else ""
        screen.line(text, "red" if mover.failed else "green")
    return 1 if mover.failed else 0
