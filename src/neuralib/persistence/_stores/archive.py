"""An archive of many results in one file, in SQLite's archive format: any ``sqlite3 FILE -A`` lists and extracts it."""

from __future__ import annotations

import errno
import os
import stat
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from neuralib.persistence._bytes.sources import BytesSource
from neuralib.persistence._stores import archive_writing, rows
from neuralib.persistence._stores.ahead import ReadAhead
from neuralib.persistence._stores.archive_file import ArchiveFile
from neuralib.persistence._stores.archive_writing import Changes, Writer, refuse_large
from neuralib.persistence._stores.base import Content, LimitedDraft, Put, Replace, Stat, Store, data_of, refuse_name
from neuralib.persistence._stores.database import ClosedError, Database, explained
from neuralib.persistence._stores.system import absolute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from neuralib.persistence._bytes.sources import Source

R = TypeVar("R")


class ArchiveStore(Store):
    """Many results in one file, which is made when the first is saved.

    The file is an SQLite archive. Threads share the store; processes that are forked or that get it pickled open the
    file themselves. While it is open, the last changes are in a file beside it whose name ends with ``-wal``.

    :param file: the path of the file; ``~`` is the home folder. A relative one is that of the current folder when this is made
    :raises OSError: it is on a network file system (when the first result is saved)
    """

    shares_puts = True

    def __init__(self, file: str | os.PathLike[str]) -> None:
        self.file = absolute(file)
        self.url = self.file
        self._file = ArchiveFile(self.file)
        self._writer = Writer(self.file)
        self._ahead: ReadAhead | None = None
        self._folder: Path | None = None

    def __repr__(self) -> str:
        return f"ArchiveStore({self.file!r})"

    def __reduce__(self) -> tuple[type[ArchiveStore], tuple[str]]:
        return type(self), (self.file,)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Bring all into the one file, which may then be copied. What uses the store afterwards opens it again."""
        self._file.close()

    # ------------------------------------------------------------------------------------------ writing

    def put(self, name: str, content: Content, /, *, replace: Replace = False, durable: bool = False) -> None:
        """Store *content* under *name*: see :class:`~neuralib.persistence.stores.Store`."""
        data = self._data(name, content)
        while True:
            if self._written(self._writer.inserted, name, data, durable=durable):
                return
            if replace is False:
                raise self._taken(name)
            former = self._row(name)
            if former is None:
                continue  # it was just deleted
            if replace is not True:
                replace(rows.former_content(self._asked, former, self.file))  # may take its time: no lock is held
            if self._written(self._writer.replaced, name, data, former.number, durable=durable):
                return

    def _written(self, write: Callable[..., R], *values: Any, durable: bool) -> R:
        """Return what *write* returns for the open database and *values*. Where another thread closes the file, it is opened again."""
        while True:
            database = self._file.opened_to_write(durable=durable)
            try:
                return write(database, *values, durable=durable)
            except ClosedError:
                continue

    def _data(self, name: str, content: Content) -> bytes:
        data = data_of(content)
        if len(data) > archive_writing.MOST_BYTES:
            refuse_large(self.location(name), len(data))
        refuse_name(self, name, rows.problem_of_name(name))
        return data

    def put_if(self, name: str, content: Content, expected: Changes | None, /, *, durable: bool = False) -> Any:
        """Store *content* under the new name *name*, unless names came or went since the state *expected*."""
        data = self._data(name, content)
        found = self._written(self._writer.put_if, name, data, expected, durable=durable)
        if found is None:
            raise self._taken(name)
        return found

    def put_many(
        self, puts: Sequence[Put], outcomes: list[Exception | None] | None = None, /, *, durable: bool = False
    ) -> list[Exception | None]:
        """Store several contents, in one transaction where that can be."""
        outcomes = [] if outcomes is None else outcomes
        done = len(outcomes)
        while len(outcomes) - done < len(puts):
            rest = puts[len(outcomes) - done :]
            if self._written(self._writer.put_new, rest, durable=durable):
                outcomes.extend([None] * len(rest))
            else:
                self._written(self._put_over, rest, outcomes, durable=durable)
        return outcomes

    def _put_over(
        self, database: Database, puts: Sequence[Put], outcomes: list[Exception | None], *, durable: bool
    ) -> None:
        """Store *puts* in one transaction, up to the first that can't be; that one is put by itself, or its error raised."""
        formers: list[int | None] = []  # the rows that may be replaced
        problem: BaseException | None = None
        for put in puts:
            try:
                formers.append(self._replaceable_row(database, put))
            except BaseException as error:  # what comes before it is stored all the same
                problem = error
                break
        stored: list[Exception | None] = []
        with database.transaction("saving results", durable=durable) as keep:
            for put, former in zip(puts, formers, strict=False):
                data = data_of(put.content)
                is_fit = len(data) <= archive_writing.MOST_BYTES and rows.are_names([put.name])
                if is_fit and (
                    self._writer.inserted(database, put.name, data, durable=durable)
                    if former is None
                    else self._writer.replaced(database, put.name, data, former, durable=durable)
                ):
                    stored.append(None)
                elif put.replace is False and is_fit:
                    stored.append(self._taken(put.name))
                else:
                    break
            keep()
        outcomes.extend(stored)
        if len(stored) < len(formers):
            put = puts[len(stored)]
            self.put(put.name, put.content, replace=put.replace, durable=durable)
            outcomes.append(None)
        elif problem is not None:
            raise problem

    def _replaceable_row(self, database: Database, put: Put) -> int | None:
        """Return the number of the row that *put* may replace; None where there is none, or it must not be replaced.

        :raises Exception: what its ``replace`` raises
        """
        former = None if put.replace is False else self._row(put.name)
        if former is None:
            return None
        if put.replace is not True:
            put.replace(rows.former_content(self._asked, former, self.file))  # type: ignore[operator]
        return former.number

    def draft(self) -> LimitedDraft:
        """Return a new draft, in memory."""
        return LimitedDraft(partial(refuse_large, self.file))

    def group_size(self) -> int:
        """Return how many results share a transaction."""
        return 2000

    def sync(self, names: Iterable[str], /) -> None:
        """Write all that was put through to the disk."""
        self._asked("writing through to the disk", Database.write_through, default=None)

    def delete(self, name: str, /) -> None:
        """Remove *name*. Its space is used for the next results; the file stays as large."""
        if rows.problem_of_name(name) is not None or not self._deleted("DELETE FROM sqlar WHERE name=?", [(name,)]):
            raise self._not_there(name)

    def delete_many(self, versions: Mapping[str, object], /) -> list[str]:
        """Remove names whose content was not replaced since it was looked at, in one transaction; return those removed."""
        there = [each for each in versions.items() if rows.problem_of_name(each[0]) is None]
        found = self._deleted("DELETE FROM sqlar WHERE name=? AND rowid=?", there)
        return [name for name, _ in found]

    def _deleted(self, statement: str, values: list[Any]) -> list[Any]:
        """Run *statement* for each of *values*, all or none, and return those that removed a row."""
        was_full = False
        while True:
            database = self._file.opened()
            if database is None:
                return []
            database = self._file.writable(database)
            try:
                return self._writer.remove(database, statement, values)
            except ClosedError:
                continue
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                if was_full:
                    raise self._file.no_space() from error
            was_full = True
            database.reuse_log()  # which may have room for what deleting writes

    # ------------------------------------------------------------------------------------------ reading

    def open(self, name: str, /) -> Source:
        """Return the content of *name*."""
        read = None if self._ahead is None else self._ahead.source(name)
        if read is not None:
            return read
        found = self._asked("reading a result", rows.content_of, name, default=None)
        if found is None:
            raise self._not_there(name)
        if found[1] == found[2] and found[3] is not None:
            return BytesSource(found[3])
        return rows.source_of(self._asked, rows.Row(*found), self.file)

    def reading(self, names: Iterable[str], /) -> Store:
        """Return a store that reads many small results in one step."""
        found = type(self).__new__(type(self))
        vars(found).update(vars(self))
        found._ahead = ReadAhead(
            names, self._small_contents, rows.AT_ONCE
        )  # without a cycle, which would keep the file open
        return found

    def _small_contents(self, names: list[str]) -> dict[str, Source]:
        found: dict[str, Source] = self._asked("reading results", rows.contents_of, names, default={})
        return found

    def _asked(self, doing: str, question: Callable[..., Any], *values: Any, default: Any) -> Any:
        """Return what *question* returns for the open database and *values*. Where another thread closes the file, it is opened again.

        :param question: is called with the database's lock held
        :param default: is returned where there is no file, or where one of *values* is a text that SQLite has not
        """
        while True:
            database = self._file.opened()
            if database is None:
                return default
            try:
                with database.lock:
                    return question(database, *values)
            except UnicodeEncodeError:
                return default
            except Exception as error:
                told = explained(error, doing, self.file)
                if isinstance(told, ClosedError):
                    continue
                if told is error:
                    raise
                raise told from error

    def _row(self, name: str) -> rows.Row | None:
        found = self._look(rows.CONTENT, name)
        return None if found is None else rows.Row(*found)

    def _look(self, statement: str, name: str) -> Any:
        """Return what *statement* selects for *name*; None where there is nothing."""
        return self._asked("looking at a result", rows.look, statement, name, default=None)

    def _taken(self, name: str) -> FileExistsError:
        return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self.location(name))

    def _not_there(self, name: str) -> FileNotFoundError:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.location(name))

    def names(self, prefix: str = "", /) -> Iterator[str]:
        """Yield the names that begin with *prefix*, in the order of their characters, some thousands at a time."""
        for part in rows.names_in(self._asked, prefix):
            yield from part

    def packed_names(self, prefix: str = "", /) -> list[str] | list[bytes]:
        """Return the names that begin with *prefix*: many in one piece."""
        if prefix.startswith("."):
            return list(self.names(prefix))
        ranges: list[tuple[str, str | bytes]] = [(prefix, rows.after(prefix))]
        if not prefix:
            ranges = [("", "."), ("/", b"")]  # the names before and after hidden ones
        return [part for start, end in ranges for part in rows.packed_names_in(self._asked, start, end)]

    def count_unlisted(self) -> int:
        """Return how many rows other programs made whose names no file in a folder can have, so that they are not listed."""
        return rows.count_unlisted(self._asked)

    def stat(self, name: str, /) -> Stat:
        """Return what is known of *name*."""
        found = self._look(rows.STAT, name)
        if found is None:
            raise self._not_there(name)
        return _stat_of(*found)

    def stats(self, prefix: str = "", /) -> Iterator[tuple[str, Stat]]:
        """Yield the names that begin with *prefix*, in the order of their characters, each with what is known of it."""
        for name, *known in rows.stats_in(self._asked, prefix):
            yield name, _stat_of(*known)

    def has(self, name: str, /) -> bool:
        """Return whether there is something under *name*."""
        return self._look(rows.HAS, name) is not None

    def which(self, names: Iterable[str], /) -> list[str]:
        """Return those of *names* that are there, by few queries."""
        names = list(names)
        found = self._asked("looking for results", rows.which, names, default=frozenset())
        return [name for name in names if name in found]

    def highest(self, head: str, tail: str, /) -> int:
        """Return the highest number between *head* and *tail*: only the names of this series are looked at."""
        found: int = self._asked("looking for the highest number", rows.highest_in, head, tail, default=-1)
        return found

    def state(self) -> Changes | None:
        """Return what tells whether names come or go later; None where there is no file yet."""
        found: Changes | None = self._asked("looking for changes", self._writer.seen, default=None)
        return found

    def path(self, name: str, /) -> Path:
        """Return the path of *name*, as if the archive were a folder: commands and ``read_head`` take it."""
        if self._folder is None:
            from pathlib import Path

            self._folder = Path(self.file)
        return self._folder.joinpath(name)  # which takes less time than "/"


def _stat_of(row: int, mode: int | None, changed_s: int, size: int, has_data: int) -> Stat:
    """Return what a row says of its content, without the content."""
    regular = size >= 0 and bool(has_data) and stat.S_IFMT(mode or 0) in {0, stat.S_IFREG}
    exact_s = row / rows.NS
    return Stat(max(size, 0), exact_s if int(exact_s) == changed_s else float(changed_s), row, regular)
