"""``pack``, ``unpack`` and ``merge``: results from folders into archives and back, and from several places into one."""

from __future__ import annotations

import os
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING

from neuralib.persistence._classes.name_texts import problem_of_whole
from neuralib.persistence._codecs.compression import pieces_of
from neuralib.persistence._codecs.pickles import PickleCodec
from neuralib.persistence._commands.checking import unlisted_rows_in, unlisted_text
from neuralib.persistence._commands.conversion import written
from neuralib.persistence._commands.entries import UsageError, holds_results
from neuralib.persistence._commands.naming import SUFFIXES
from neuralib.persistence._commands.screen import failure, progress
from neuralib.persistence._errors import CorruptResultError, PersistenceError
from neuralib.persistence._keeping.reading import opened
from neuralib.persistence._showing.previews import count_text, size_text
from neuralib.persistence._stores.base import Put, Store, listed, stat_of
from neuralib.persistence._stores.moving import Copy, drafted, moved
from neuralib.persistence._stores.paths import ARCHIVE_FILES, ARCHIVE_SUFFIX, store_at

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from neuralib.persistence._bytes.sources import Source
    from neuralib.persistence._commands.screen import Screen


class _Mover:
    """Copies results from other stores into one, and counts what became of them.

    :param target: where they go
    :param keep: leave the originals
    """

    def __init__(self, target: Store, *, keep: bool) -> None:
        self._target, self._keep = target, keep
        self._told: Exception | None = None
        self.copied = self.same = self.failed = self.size_bytes = 0

    def move(self, source: Store, names: list[str], doing: str) -> None:
        """Copy *names* from *source*, compare each copy with the original, and then remove that, unless it is kept."""
        for _, problem in moved(source, self._copies(source, progress(names, doing)), keep=self._keep):
            if problem is not None:
                self._tell(problem)

    def _copies(self, source: Store, names: Iterable[str]) -> Iterator[Copy]:
        for name in names:
            try:
                yield self._copy(source, name)
            except (OSError, PersistenceError) as error:
                self._tell(error)

    def _copy(self, source: Store, name: str) -> Copy:
        """Return a copy of *name*, which is checked if it is a pickle.

        :raises CorruptResultError: it is damaged
        """
        problem = problem_of_whole(name)
        if problem is not None:
            raise CorruptResultError(source.location(name), f"its name can't be a file name: {problem}")
        before = stat_of(source, name)
        if not before.regular:
            raise OSError(0, "is a folder or a link, not a file", source.location(name))
        with drafted(self._target) as draft, opened(source, name) as content:
            if name.endswith(SUFFIXES):
                PickleCodec().check(content)
            copied = written(pieces_of(content), draft)
        return Copy(name, before, self._target, Put(name, draft), partial(self._verify, source, name, copied))

    def _verify(self, source: Store, name: str, copied: tuple[int, int], taken: Exception | None) -> None:
        """Raise an error unless the target has the same under *name*; count it.

        :param copied: size and checksum of what was copied
        """
        place = self._target.location(name)
        with self._target.open(name) as there:
            if taken is None:
                if written(pieces_of(there)) != copied:
                    raise CorruptResultError(place, "what was written is not what was read")
            elif not _is_same(source, name, there):
                raise FileExistsError(0, "is another result of this name; both stay", place)
        self.copied += taken is None
        self.same += taken is not None
        self.size_bytes += copied[0]

    def tell_unlisted(self, source: str) -> None:
        """Tell how many rows of the archive *source* stay there since no file can have their names."""
        for path, count in unlisted_rows_in(source):
            self._tell(OSError(f"left behind: {unlisted_text(path, count)}"), count)

    def _tell(self, error: Exception, count: int = 1) -> None:
        self.failed += count
        if error is not self._told:  # of several results
            failure(error)
        self._told = error


def _is_same(source: Store, name: str, there: Source) -> bool:
    """Compare the bytes: files that end with their checksums have the same checksum even where they differ."""
    with source.open(name) as content:
        return all(a == b for a, b in zip_longest(pieces_of(content), pieces_of(there)))


def _names_in(store: Store, *, everything: bool) -> list[str]:
    names = [name for name in listed(store) if not name.startswith(".")]
    if not everything:
        names = [name for name in names if name.endswith(SUFFIXES)]
    if store.local_folder() is not None:
        names = [name for name in names if not os.path.isdir(store.location(name)) and not name.endswith(ARCHIVE_FILES)]
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
