"""How rows are written into an archive: one, many in one transaction, or one if nothing changed meanwhile."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING, Any

from neuralib.persistence._stores import rows
from neuralib.persistence._stores.base import CHANGED, State, data_of
from neuralib.persistence._stores.database import Database, explained, explaining

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from neuralib.persistence._stores.base import Put

MOST_BYTES = 1 << 29
"""The largest result. SQLite takes up to 10**9 bytes, and needs several times the memory of what it writes."""
_FEW_BYTES = 1 << 13
"""Of fewer, a ``bytearray`` is bound: ``sqlite3`` looks for an adapter of ``bytes``, which takes longer than to copy few."""
_LATEST_NS = 1 << 62  # in the year 2116: a time after it, or before 1970, is not one of a result


class Changes(State):
    """How often others changed the file, and how often names came or went by this store."""

    __slots__ = ("database", "others", "own")

    def __init__(self, database: Database, others: int, own: int) -> None:
        self.database, self.others, self.own = database, others, own

    def is_unchanged(self, now: Changes, /) -> bool:
        return self.is_after(now, 0)

    def is_after(self, before: Changes, new_names: int, /) -> bool:
        return self.own == before.own + new_names and self.others == before.others and self.database is before.database


def refuse_large(place: str, size_bytes: int) -> None:
    """Raise an error where *size_bytes* are too many for a result, which is to be at *place*."""
    if size_bytes > MOST_BYTES:
        problem = (
            f"the result has {size_bytes:,} bytes, and an archive takes {MOST_BYTES:,} at most: keep it in a folder"
        )
        raise OSError(errno.EFBIG, problem, place)


class Writer:
    """Writes the rows of the archive at *path*, and counts how often names came or went by that."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._own_changes = 0
        self._last_row = 0

    def seen(self, database: Database) -> Changes:
        """Return the state of *database*, whose lock is held."""
        [(others,)] = database.cursor.execute("PRAGMA data_version").fetchall()
        return Changes(database, others, self._own_changes)

    def inserted(self, database: Database, name: str, data: bytes, *, durable: bool) -> bool:
        """Store *data* under the new name *name*; False where the name is taken."""
        try:
            with database.lock:
                database.wait_for_disk(durable)
                return self._insert(database, name, data, durable=durable)
        except Exception as error:
            raise explained(error, "saving a result", self._path) from error

    def _insert(self, database: Database, name: str, data: bytes, *, durable: bool) -> bool:
        while True:
            row = self._new_row()
            size = len(data)
            bound = bytearray(data) if size < _FEW_BYTES else data
            cursor = database.cursor
            cursor.execute(rows.INSERT, (row, name, row // rows.NS, size, bound))
            if cursor.rowcount == 1:
                self._own_changes += 1
                return True
            if database.execute(rows.HAS, (name,)).fetchone() is not None:
                return False
            if database.execute(rows.HAS_ROW, (row,)).fetchone() is not None:
                continue
            if database.connection.in_transaction:
                raise OSError(errno.EINVAL, "its table refuses new rows, so it is no archive of results", self._path)
            # Somebody may have removed the name since it was refused. In a transaction, nobody can.
            with database.transaction("saving a result", durable=durable) as keep:
                is_stored = self._insert(database, name, data, durable=durable)
                keep()
            return is_stored

    def replaced(self, database: Database, name: str, data: bytes, former: int, *, durable: bool) -> bool:
        """Store *data* in place of the row *former*; False where that is no longer what is under *name*."""
        with database.lock, explaining("replacing a result", self._path):
            database.wait_for_disk(durable)
            row = self._new_row()
            values = (row, row // rows.NS, len(data), data, name, former)
            return bool(database.execute(rows.REPLACE, values).rowcount == 1)

    def _new_row(self, count: int = 1) -> int:
        """Return the number of a new row: the time in nanoseconds, so that no later content of a name has the same.

        The database's lock is held: no two threads get the same.

        :param count: how many rows get this number and the next ones
        """
        first = time.time_ns()
        if first <= self._last_row:
            first = self._last_row + 1
        self._last_row = first + count - 1
        return first

    def put_if(self, database: Database, name: str, data: bytes, expected: Changes | None, *, durable: bool) -> Any:
        """Store *data* under the new name *name* in one transaction with a look at the state, which takes less than two.

        :return: the state right after; CHANGED where it was not as *expected*; None where the name is taken
        """
        with database.lock:
            try:
                return self._put_if(database, name, data, expected, durable=durable)
            except Exception as error:
                raise explained(error, "saving a result", self._path) from error

    def _put_if(self, database: Database, name: str, data: bytes, expected: Changes | None, *, durable: bool) -> Any:
        database.wait_for_disk(durable)
        own_changes = self._own_changes
        database.cursor.execute("BEGIN IMMEDIATE")
        try:
            before = self.seen(database)
            if expected is not None and not expected.is_unchanged(before):
                return CHANGED
            is_stored = self._insert(database, name, data, durable=durable)
            database.cursor.execute("COMMIT")
        finally:
            if database.connection.in_transaction:
                self._own_changes = own_changes
                database.cursor.execute("ROLLBACK")
        before.own = self._own_changes  # what others change from the commit on shows in the next look
        return before if is_stored else None

    def put_new(self, database: Database, puts: Sequence[Put], *, durable: bool) -> bool:
        """Store all of *puts*, if none of their names is taken; return whether that was so."""
        names, contents = [put.name for put in puts], [data_of(put.content) for put in puts]
        sizes = list(map(len, contents))
        largest = max(sizes)
        if largest > MOST_BYTES or not rows.are_names(names):
            return False  # which is said when it is its turn
        bound = map(bytearray, contents) if largest < _FEW_BYTES else contents
        numbers = list(self._rows_of(database, puts))
        times = [number // rows.NS for number in numbers]
        values = list(zip(numbers, names, times, sizes, bound, strict=True))
        with database.transaction("saving results", durable=durable) as keep:
            if database.connection.executemany(rows.INSERT, values).rowcount != len(values):
                return False
            keep()
            self._own_changes += len(values)
        return True

    def _rows_of(self, database: Database, puts: Sequence[Put]) -> Iterable[int]:
        """Return the numbers of the rows of *puts*: the times of copies, and new ones for the others."""
        with database.lock:
            first = self._new_row(len(puts))
        new = range(first, first + len(puts))
        if all(put.time_ns is None for put in puts):
            return new
        return self._rows_of_copies(database, puts, new)

    @staticmethod
    def _rows_of_copies(database: Database, puts: Sequence[Put], new: range) -> Iterator[int]:
        copied: dict[int, int] = {}  # by the time of a copy, the next row: files written within a tick have one time
        for put, row in zip(puts, new, strict=True):
            if put.time_ns is None:
                yield row
                continue
            time_ns = min(max(put.time_ns, 0), _LATEST_NS)
            free = copied.get(time_ns) or rows.free_row(database, time_ns)
            copied[time_ns] = free + 1
            yield free

    def remove(self, database: Database, statement: str, values: list[Any]) -> list[Any]:
        """Run *statement*, which removes a row, for each of *values*, all or none; return those that removed one."""
        with database.transaction("deleting results", durable=False) as keep:
            done = [each for each in values if database.execute(statement, each).rowcount == 1]
            keep()
            self._own_changes += len(done)
        return done
