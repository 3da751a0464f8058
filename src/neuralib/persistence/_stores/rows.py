"""The rows of an SQLite archive: its table, how names are listed, and how content is read."""

from __future__ import annotations

import errno
import re
import stat
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from neuralib.persistence import _core, _names
from neuralib.persistence._bytes.sources import BytesSource, Source
from neuralib.persistence._stores import base
from neuralib.persistence._stores.base import MOST_DIGITS
from neuralib.persistence._stores.database import Database, explained, explaining, opening, out_of_order
from neuralib.persistence._trust.allowance import largest_content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Ask = Callable[..., Any]  # calls a function with the open database, as ArchiveStore._asked

NS = 1_000_000_000

_MODE = stat.S_IFREG | 0o644
_TABLE = "CREATE TABLE sqlar(name TEXT PRIMARY KEY, mode INT, mtime INT, sz INT, data BLOB)"
_PAGE_BYTES = 1 << 13  # twice SQLite's own: small results fill it better, and fewer pages are written
_PIECE_BYTES = 1 << 20  # what is larger is read piece by piece
_NAMES_AT_ONCE = 20_000

AT_ONCE = 200
"""How many results are read in one step."""

_SMALL_BYTES = 1 << 16  # so much of each of them
_LOOK = "SELECT rowid, name, mode, mtime, sz, data FROM sqlar LIMIT 0"
_SCHEMA = """SELECT lower(name)='sqlar', substr(sql, 1, 10000) FROM sqlite_master
    WHERE lower(tbl_name)='sqlar' AND type IN ('table', 'view', 'index') AND sql IS NOT NULL"""
_PLAIN_TABLE = re.compile(r"""CREATE TABLE\s+["'`\[]?sqlar["'`\]]?\s*\([^()]*\)\s*""", re.IGNORECASE)
_PLAIN_INDEX = re.compile(r"""CREATE (UNIQUE )?INDEX\s+[^()]*\([\w\s,"'`\[\]]*\)\s*""", re.IGNORECASE)
_COMMENT = re.compile(r"--.*|/\*.*?\*/")
_LONGEST_NAME = 4 * 255
"""Bytes: a longer name in an archive is none of a file, and listing a million of such would fill the memory."""
INSERT = f"INSERT OR IGNORE INTO sqlar(rowid, name, mode, mtime, sz, data) VALUES(?, ?, {_MODE}, ?, ?, ?)"
REPLACE = f"UPDATE sqlar SET rowid=?, mode={_MODE}, mtime=?, sz=?, data=? WHERE name=? AND rowid=?"  # noqa: S608
_ROWS_AFTER = "SELECT max(rowid) FROM sqlar WHERE rowid BETWEEN ? AND ? + 999999"
HAS = "SELECT 1 FROM sqlar WHERE name=?"
HAS_ROW = "SELECT 1 FROM sqlar WHERE rowid=?"
# Another program may have put values of any kind into a row.
_SIZE = "CASE WHEN typeof(sz)='integer' THEN sz ELSE -1 END"
_TIME = "min(max(ifnull(CAST(mtime AS INTEGER), 0), 0), 1 << 33)"  # up to the year 2242: nanoseconds in 64 bits
_KNOWN = f"rowid, CAST(mode AS INTEGER), {_TIME}, {_SIZE}, typeof(data)='blob'"
STAT = f"SELECT {_KNOWN} FROM sqlar WHERE name=?"  # noqa: S608
_IS_SHORT = f"length(CAST(name AS BLOB)) <= {_LONGEST_NAME}"
_STATS = f"""SELECT CAST(name AS BLOB), {_KNOWN} FROM sqlar
    WHERE name BETWEEN CAST(? AS TEXT) AND CAST(? AS TEXT) AND {_IS_SHORT} ORDER BY name"""  # noqa: S608
CONTENT = f"""SELECT rowid, {_SIZE}, CASE WHEN typeof(data)='blob' THEN length(data) END,
    CASE WHEN typeof(data)='blob' AND length(data)<={_PIECE_BYTES} THEN data END FROM sqlar WHERE name=?"""  # noqa: S608


def contents_of(database: Database, names: list[str]) -> dict[str, Source]:
    """Return those of the contents of *names*, at most :data:`AT_ONCE`, that are small and were not compressed."""
    try:
        found = database.execute(_CONTENTS, (*names, *[None] * (AT_ONCE - len(names)))).fetchall()
    except Exception as error:
        raise reading_failed(error, database.path) from error
    return {names[place]: BytesSource(data) for place, data in found if data is not None}


def content_of(database: Database, name: str) -> Any:
    """Return what :data:`CONTENT` selects for *name*; None where there is nothing, or what no store has as a name."""
    if problem_of_name(name) is not None:
        return None
    try:
        return database.execute(CONTENT, (name,)).fetchone()
    except Exception as error:
        raise reading_failed(error, database.path) from error


def look(database: Database, statement: str, name: str) -> Any:
    """Return what *statement* selects for *name*; None where there is nothing, or what no store has as a name."""
    if problem_of_name(name) is not None:
        return None
    return database.execute(statement, (name,)).fetchone()


def which(database: Database, names: list[str]) -> set[str]:
    """Return those of *names* that there are."""
    found: set[str] = set()
    names = [name for name in names if problem_of_name(name) is None]
    for start in range(0, len(names), AT_ONCE):
        part = names[start : start + AT_ONCE]
        places = ", ".join("?" * len(part))
        found.update(name for (name,) in database.execute(f"SELECT name FROM sqlar WHERE name IN ({places})", part))  # noqa: S608
    return found


def free_row(database: Database, time_ns: int) -> int:
    """Return a number for the row of what was changed at *time_ns*: that time, or the next free one within a millisecond."""
    with database.lock, explaining("saving results", database.path):
        found = database.execute(_ROWS_AFTER, (time_ns, time_ns)).fetchone()[0]
    return time_ns if found is None else int(found) + 1


# A table of the names takes less time than a list, which SQLite sorts first, and the place of a name less than the name.
_CONTENTS = f"""SELECT column1,
        CASE WHEN typeof(data)='blob' AND length(data) <= {_SMALL_BYTES} AND length(data) = sz THEN data END
    FROM (VALUES {", ".join(f"({place}, ?)" for place in range(AT_ONCE))}) CROSS JOIN sqlar ON name = column2"""  # noqa: S608


class Row(NamedTuple):
    """What :data:`CONTENT` selects."""

    number: int
    size_bytes: int
    stored_bytes: int | None
    """Fewer where another program compressed it."""
    data: bytes | None
    """The stored content, where it is small."""


def make_file(path: Path) -> None:
    """Write an empty archive to *path*."""
    with opening, explaining("making the archive", str(path)):
        import sqlite3

        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(_TABLE)


def check_table(database: Database) -> None:
    """Raise an error where the table is another than archives have: reading or writing another one could run anything.

    :raises OSError: it is no table, or one that computes something
    """
    with database.lock, explaining("opening the archive", database.path):
        found = database.execute(_SCHEMA).fetchall()
        database.execute(_LOOK)
    for is_table, text in found:
        if not (_PLAIN_TABLE if is_table else _PLAIN_INDEX).fullmatch(_COMMENT.sub("", text)):
            problem = "its sqlar is no table of plain columns, so it is no archive of results"
            raise OSError(errno.EINVAL, problem, database.path)


def source_of(ask: Ask, row: Row, path: str) -> Source:
    """Return the content of *row* of the archive *path*.

    :raises OSError: it is a folder or a link, which other programs put there
    :raises ValueError: it is damaged, or too large to be decompressed
    """
    if row.stored_bytes is None or row.size_bytes < 0:
        raise OSError(errno.EINVAL, "is a folder or a link in the archive, not a result", path)
    if row.data is None and row.stored_bytes > ask("reading a result", Database.size, default=0):
        raise ValueError(f"it claims {row.stored_bytes:,} bytes, more than the archive has")
    if row.stored_bytes == row.size_bytes:
        return BytesSource(row.data) if row.data is not None else RowSource(ask, row, path)
    if row.size_bytes > largest_content(row.stored_bytes):
        raise ValueError(f"it claims {row.size_bytes:,} bytes, too many for its {row.stored_bytes:,} compressed bytes")
    stored = row.data if row.data is not None else RowSource(ask, row, path).read()
    try:
        data = zlib.decompressobj().decompress(stored, row.size_bytes + 1)
    except zlib.error as error:
        raise ValueError(f"it can't be decompressed: {error}") from error
    if len(data) != row.size_bytes:
        raise ValueError(f"it does not have the {row.size_bytes:,} bytes that the archive says")
    return BytesSource(data)


def former_content(ask: Ask, row: Row, path: str) -> Source:
    """Return the content of *row*, which is to be replaced; none where it can't be read."""
    try:
        return source_of(ask, row, path)
    except ValueError:
        return BytesSource(b"")


class RowSource(Source):
    """Large content of a row, of which parts are read when they are asked for. In between, nothing is kept open.

    :param row: which has no content
    """

    def __init__(self, ask: Ask, row: Row, path: str) -> None:
        self._ask, self._row, self._path = ask, row, path
        self.size = row.stored_bytes or 0
        self._data: bytes | None = None

    def read_at(self, count: int, at: int, /) -> bytes:
        """Return *count* bytes from the place *at* on."""
        if self._data is None and count < _PIECE_BYTES // 4:
            part = bytearray(max(min(count, self.size - at), 0))
            self.read_into([memoryview(part)], at)
            return bytes(part)
        return self.read()[at : at + count]  # SQLite walks from the first byte to each part that is asked for

    def read(self) -> bytes:
        """Return the whole content."""
        if self._data is None:
            data = bytearray(self.size)
            self.read_into([memoryview(data)], 0)
            self._data = bytes(data)
        return self._data

    def read_into(self, targets: list[memoryview], at: int, /) -> None:
        """Fill *targets* from the place *at* on."""
        if at + sum(len(target) for target in targets) > self.size:
            raise EOFError("it ends too early")
        if not self._ask("reading a result", _read_row, self._row.number, targets, at, default=False):
            raise FileNotFoundError(errno.ENOENT, "was just replaced or deleted", self._path)

    def close(self) -> None:
        """Forget what was read."""
        self._data = None


def _read_row(database: Database, row: int, targets: list[memoryview], at: int) -> bool:
    """Fill *targets* with the content of the row *row* from the place *at* on; return False where there is no such row."""
    try:
        with database.connection.blobopen("sqlar", "data", row, readonly=True) as blob:
            blob.seek(at)
            for target in targets:
                for start in range(0, len(target), _PIECE_BYTES):
                    part = blob.read(min(_PIECE_BYTES, len(target) - start))
                    target[start : start + len(part)] = part
    except Exception as error:
        if "no such rowid" in str(error):
            return False
        raise reading_failed(error, database.path) from error
    return True


def reading_failed(error: Exception, path: str) -> Exception:
    """Return what *error* means for the content that was read: a damaged page is damage of the result in it."""
    found = explained(error, "reading a result", path)
    damaged = (getattr(error, "sqlite_errorname", "") or "").startswith("SQLITE_CORRUPT")
    return ValueError(f"the archive is damaged there: {error}") if damaged else found


def names_in(ask: Ask, prefix: str) -> Iterator[list[str]]:
    """Yield the names that begin with *prefix* in parts, in order, without those that no file can have."""
    for part in packed_names_in(ask, prefix, after(prefix)):
        names = [name for name in part.decode().split("/") if name not in base.FOLDERS]
        yield sorted(names)  # SQLite promises no order of what it puts together


def packed_names_in(ask: Ask, start: str, end: str | bytes) -> Iterator[bytes]:
    """Yield the names from *start* on that come before *end*, in parts: in UTF-8, with slashes between.

    One text for many names takes a fraction of the time of a row for each.
    """
    last: str | bytes | None = start
    while last is not None:
        last, text = ask("listing the archive", _next_names, last, end, default=(None, None))
        if text is not None:
            yield text


def _next_names(database: Database, start: str | bytes, end: str | bytes) -> tuple[bytes | None, bytes | None]:
    """Return the next names from *start* on that come before *end*, and the last of them; None for it where no more follow.

    :param start: bytes are the last name of the part before
    """
    after, values = f"name {'>' if type(start) is bytes or not start else '>='} CAST(? AS TEXT)", [start, end]
    last = _last_of_part(database, after, values)
    range_ = f"{after} AND name < ?"
    if last is not None:
        if type(start) is bytes and last <= start:
            raise out_of_order(database.path)
        range_, values[1] = f"{after} AND name <= CAST(? AS TEXT)", last
    return last, _names_together(database, range_, values)


def _last_of_part(database: Database, after: str, values: list[Any]) -> bytes | None:
    """Return the last of the next names *after* a value that are listed together; None where few are left."""
    query = f"""SELECT CASE WHEN {_IS_SHORT} THEN CAST(name AS BLOB) END FROM sqlar
        WHERE {after} AND name < ? {{}} ORDER BY name LIMIT 1 OFFSET {_NAMES_AT_ONCE - 1}"""  # noqa: S608
    found = database.execute(query.format(""), values).fetchone()
    if found == (None,):  # it is too long for a name
        found = database.execute(query.format(f"AND {_IS_SHORT}"), values).fetchone()
    return None if found is None else found[0]


def _names_together(database: Database, range_: str, values: list[Any]) -> bytes | None:
    """Return the names in a range with slashes between, without those that no file can have; None for no names."""
    # A text in the statement: SQLite would copy what a function or a value gives, such as a NUL character, for each name.
    together = "SELECT count(*), CAST(group_concat(name, '/') AS BLOB) FROM sqlar WHERE "
    found = _if_short(database, together + range_, values)
    if found is not None:
        count, text = found
        if not count:
            return None
        if _can_be_names(text, count):
            return text  # type: ignore[no-any-return]
    each = f"SELECT CAST(name AS BLOB) FROM sqlar WHERE {range_} AND {_IS_SHORT}"  # noqa: S608
    names = list(filter(_can_be_name, [name for (name,) in database.execute(each, values)]))
    return b"/".join(names) if names else None


def _if_short(database: Database, query: str, values: list[Any]) -> Any:
    """Return the row that *query* finds; None where it has more bytes than names that are listed together can have.

    To let SQLite stop there takes less time than to ask for the length of each name.
    """
    import sqlite3

    before = database.connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _NAMES_AT_ONCE * (_LONGEST_NAME + 1))
    try:
        return database.execute(query, values).fetchone()
    except sqlite3.DataError:
        return None
    finally:
        database.connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)


def _can_be_name(text: bytes) -> bool:
    """Return whether a file can have the name *text*."""
    return _can_be_names(text, 1) and text.decode() not in base.FOLDERS


def problem_of_name(name: str) -> str | None:
    """Return why *name* is no name of a result, and would not be listed; None where it is one."""
    if _core.is_plain_name(name):
        return None
    try:
        text = name.encode()
    except UnicodeEncodeError as error:
        return f"{name[error.start]!r} can't be written in UTF-8"
    if len(text) > _LONGEST_NAME:
        return f"it has {len(text):,} bytes"
    return base.problem_of_name(name)


def are_names(names: list[str]) -> bool:
    """Return whether :func:`problem_of_name` gives none for *names*: quickly for most."""
    return all(map(_core.is_plain_name, names)) or not any(map(problem_of_name, names))


def _can_be_names(text: bytes, count: int) -> bool:
    """Return whether *text* is *count* names with slashes between, none too long, without NUL characters, in UTF-8."""
    if not _names.are_packed(text, count, _LONGEST_NAME):
        return False
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def stats_in(ask: Ask, prefix: str) -> Iterator[tuple[Any, ...]]:
    """Yield the names that begin with *prefix*, in order, each with what :data:`STAT` selects."""
    for names in names_in(ask, prefix):
        found = ask("listing the archive", _stats_between, names[0], names[-1], default=[]) if names else []
        yield from ((name.decode(), *known) for name, *known in found if _can_be_name(name))


def _stats_between(database: Database, first: str, last: str) -> list[tuple[Any, ...]]:
    return database.execute(_STATS, (first, last)).fetchall()


def count_unlisted(ask: Ask) -> int:
    """Return how many rows have names that no file can have, so that they are not listed.

    What others save or delete meanwhile does not count.
    """
    before: int = ask("listing the archive", _count, default=0)
    listed = sum(map(len, names_in(ask, "")))
    after: int = ask("listing the archive", _count, default=0)
    return max(0, min(before, after) - listed)


def _count(database: Database) -> int:
    return int(database.execute("SELECT count(*) FROM sqlar").fetchone()[0])


def after(prefix: str) -> str | bytes:
    """Return the first value after all texts that begin with *prefix*, as SQLite orders them: bytes come after all texts."""
    last = ord(prefix[-1]) + 1 if prefix else 0x110000
    if last == 0xD800:
        last = 0xE000  # no character has the numbers between
    return b"" if last == 0x110000 else prefix[:-1] + chr(last)


_HIGHEST = """
SELECT max(CAST(digits AS INTEGER)) FROM (
    SELECT substr(name, length(:head) + 1, length(name) - length(:head) - length(:tail)) AS digits FROM sqlar
    WHERE name >= :head || '0' AND name < :head || ':' AND length(name) > length(:head) + length(:tail)
        AND substr(name, length(name) - length(:tail) + 1) = :tail
) WHERE length(digits) <= :most AND digits NOT GLOB '*[^0-9]*' AND (digits = '0' OR digits NOT GLOB '0*')"""


def highest_in(database: Database, head: str, tail: str) -> int:
    """Return the highest number between *head* and *tail* in the names, or -1."""
    [(highest,)] = database.execute(_HIGHEST, {"head": head, "tail": tail, "most": MOST_DIGITS}).fetchall()
    return -1 if highest is None else int(highest)
