"""An SQLite file that is open in one process: its connection, the lock that threads share, and what its errors mean."""

from __future__ import annotations

import errno
import os
import stat
import urllib.parse
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from neuralib.persistence import _disk
from neuralib.persistence._forks import CLOSING, OPENING, STORE, is_idle, lock_for_forks, run_before_forks

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Generator

BUSY_S = 60.0
"""How long others may write before that is an error."""

_LOG_PAGES = 500
_CACHE_BYTES = 1 << 26  # at most; SQLite takes as much as the pages that it has read

_NORMAL, _FULL = 1, 2  # values of SQLite's synchronous
_ALLOW, _DENY = 0, 1  # answers of an authorizer
_READ = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
_JOURNAL_MARK = bytes.fromhex("d9d505f920a163d7")  # at the end of a journal: before it stands the name of another file

_live: weakref.WeakSet[Database] = weakref.WeakSet()
"""All that are open in this process."""

opening = lock_for_forks(OPENING)
"""The lock under which files are made and opened."""

# SQLite keeps in memory which locks of a file its process has, and has locks of its own for this memory. A child would get those
# of a thread that is in SQLite, and keep them for good. So each call is made under one of these locks, which a fork waits for.
_closing = lock_for_forks(CLOSING)


class Database:
    """One open file. Its threads take turns by its lock.

    :param path: the file, which is there
    :param found: its status, by which a later one is told from it
    :param locks: whether the disk keeps locks; else the file can be read only
    :raises OSError: it can't be opened
    """

    def __init__(self, path: str, found: os.stat_result, *, locks: bool) -> None:
        self.path = path
        self._device, self._inode = found.st_dev, found.st_ino
        real = os.path.realpath(path)  # beside which SQLite has its files, where the path is a link
        self._log = f"{real}-wal"
        self.lock = lock_for_forks(STORE)
        self.is_read_only = False
        self.lacks_space = False  # so that it can only be read
        self._is_left = False
        try:
            self._open(f"{real}-journal", locks=locks)
        except BaseException:
            if hasattr(self, "connection"):
                self.connection.close()
            raise
        self.execute = self.connection.execute
        self.cursor = self.connection.cursor()  # made once, for what is run for each result
        # Not in __del__: of objects that refer to each other, Python may take the connection before this one, and warn of it.
        self._closing = weakref.finalize(self, _close, self.connection)
        self._closing.atexit = False  # later functions that run at exit may save something
        _live.add(self)

    def _open(self, journal: str, *, locks: bool) -> None:
        if locks:
            _refuse_journal_of_others(journal, self.path)
            self.connection = self._connected("mode=rw")
            try:
                self._begin()
            except OSError as error:
                self.connection.close()
                if error.errno not in {errno.EACCES, errno.EROFS, errno.ENOENT, errno.ENOSPC}:
                    raise
                self.lacks_space = error.errno == errno.ENOSPC
                if not self._is_whole():
                    problem = (
                        f"its last changes are in {os.path.basename(self._log)}: copy both files to a place that can be"
                    )
                    raise OSError(error.errno, f"{problem} written, and open it there", self.path) from error
                self._begin_unlocked()
        elif self._is_whole():
            self._begin_unlocked()
        else:
            problem = "a program has it open, or was killed: open it where it was written, on a local disk"
            raise OSError(errno.EBUSY, problem, self.path)

    def _connected(self, mode: str) -> sqlite3.Connection:
        import sqlite3

        address = f"file:{urllib.parse.quote(os.path.abspath(self.path).replace(os.sep, '/'))}?{mode}"
        try:
            return sqlite3.connect(address, timeout=BUSY_S, isolation_level=None, check_same_thread=False, uri=True)
        except sqlite3.Error as error:
            raise explained(error, "opening the archive", self.path) from error

    def _begin(self) -> None:
        with explaining("opening the archive", self.path):
            run = self.connection.execute
            run("PRAGMA trusted_schema=OFF")  # a file of others may define views and triggers
            run("PRAGMA cell_size_check=ON")
            self.connection.set_authorizer(_refuse_schema)
            encoding = run("PRAGMA encoding").fetchone()[0]
            if encoding != "UTF-8":
                name = os.path.basename(self.path)
                problem = f"its texts are in {encoding}, those of archives in UTF-8: `sqlite3 {name} .dump | sqlite3 NEW.sqlar` converts it"
                raise OSError(errno.EINVAL, problem, self.path)
            in_wal = run("PRAGMA journal_mode").fetchone()[0] == "wal"
            if not in_wal and not self.is_read_only and os.access(self.path, os.W_OK):
                with suppress(Exception):  # others have it open: it works without a log as well
                    in_wal = run("PRAGMA journal_mode=WAL").fetchone()[0] == "wal"
            # In a write-ahead log, NORMAL loses the last results at a loss of power, and never the file.
            self._synchronous = self._least = _NORMAL if in_wal else _FULL
            run(f"PRAGMA synchronous={self._synchronous}")
            # Names come in any order, and so do the pages of their index: what is in memory is not read for each name.
            run(f"PRAGMA cache_size=-{_CACHE_BYTES >> 10}")
            # A log as long as with SQLite's own pages, half as large: on a full disk, it takes the room that the file needs.
            run(f"PRAGMA wal_autocheckpoint={_LOG_PAGES}")

    def size(self) -> int:
        """Return how many bytes there are of the file and of the log beside it."""
        found = os.path.getsize(self.path)
        with suppress(OSError):
            found += os.path.getsize(self._log)
        return found

    def _is_whole(self) -> bool:
        """Return whether all is in the file itself: no log beside it that would have to be brought in."""
        try:
            return os.path.getsize(self._log) == 0
        except OSError:
            return not os.path.exists(self._log)

    def _begin_unlocked(self) -> None:
        """Read the file as it is: SQLite can't make what readers share in a folder that can't be written."""
        self.connection = self._connected("immutable=1")
        self.is_read_only = True
        self._begin()

    def is_current(self) -> bool:
        """Return whether the path is that of this file, and this process has it open."""
        return not self._is_left and _disk.leads_to(self.path, self._device, self._inode)

    def wait_for_disk(self, wait: bool, /) -> None:
        """Let what is written from now on survive a loss of power when a transaction ends, or not."""
        wanted = _FULL if wait else self._least
        if wanted != self._synchronous:
            self.execute(f"PRAGMA synchronous={wanted}")
            self._synchronous = wanted

    @contextmanager
    def transaction(self, doing: str, *, durable: bool) -> Generator[Callable[[], object]]:
        """Give a function that keeps what is written in the block. What was not kept is undone at the end."""
        with self.lock, explaining(doing, self.path):
            self.wait_for_disk(durable)
            self.execute("BEGIN IMMEDIATE")
            try:
                yield lambda: self.execute("COMMIT")  # looked up then: see abandon
            finally:
                if self.connection.in_transaction:
                    self.execute("ROLLBACK")

    def write_through(self) -> None:
        """Write what others may read through to the disk. The lock is held."""
        if not self.is_read_only:
            self.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def reuse_log(self) -> None:
        """Bring the log into the file, where that has room for it: then the next changes are written in its place."""
        with self.lock, suppress(Exception):
            self.write_through()

    def close(self) -> None:
        """Bring all into the one file, and close it."""
        with self.lock:
            self._is_left = True
            if self._closing.detach() is not None:
                with explaining("closing the archive", self.path):
                    self.connection.close()

    def abandon(self) -> None:
        """Never use or close the connection again: the file is another by now, or it is the parent process's.

        Closing removes the log of the file that has the name now, and gives up the locks of the other process. The cursor
        keeps the connection, and is not freed either: it would wait for a thread that used it and is not in this process.
        A process that was forked in a transaction must not undo it: it would take out of the log what its parent keeps.
        """
        import ctypes

        self._is_left = True
        if self._closing.detach() is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.cursor))
            left: Any = _Left(self.path)
            self.connection, self.cursor, self.execute = left, left, left.execute


class _Left:
    """Stands for the connection and the cursor of a file that was abandoned: who goes on opens it again."""

    in_transaction = False

    def __init__(self, path: str) -> None:
        self._path = path

    def execute(self, *_: object, **__: object) -> Any:
        raise ClosedError(errno.EBADF, "the archive is another file by now, or that of the parent process", self._path)

    executemany = blobopen = execute

    def setlimit(self, *_: object) -> int:
        """Do nothing: it is what undoes such a call before."""
        return 0


def _close(connection: sqlite3.Connection) -> None:
    with _closing:
        connection.close()


def _refuse_schema(_action: int, _first: str | None, _second: str | None, _database: str | None, by: str | None) -> int:
    """Allow what our own statements do, and nothing that a view or trigger of the file would add to it."""
    return _ALLOW if by is None else _DENY


def _refuse_journal_of_others(journal: str, path: str) -> None:
    """Raise an error where the *journal* of the archive *path* names another file, which SQLite would remove in the end.

    Only a transaction of several databases has such a journal. Who can write into the folder could make one; or a pipe of
    that name, which SQLite would wait for without end. It follows no links.
    """
    try:
        fd = os.open(journal, _READ)
    except OSError:  # there is none, or a link
        return
    try:
        found = os.fstat(fd)
        is_file = stat.S_ISREG(found.st_mode)
        if is_file:
            os.lseek(fd, max(0, found.st_size - len(_JOURNAL_MARK)), os.SEEK_SET)
            if os.read(fd, len(_JOURNAL_MARK)) != _JOURNAL_MARK:
                return
    finally:
        os.close(fd)
    effect = "would have SQLite remove another file" if is_file else "is no file"
    raise OSError(errno.EINVAL, f"{os.path.basename(journal)}, beside it, {effect}: remove or rename it", path)


def opened(path: str, keeps_locks: Callable[[], bool]) -> Database | None:
    """Open the file *path*; return None where there is none.

    :param keeps_locks: tells whether the disk does
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}, while opening the archive", path) from error
    with opening:
        return Database(path, found, locks=keeps_locks())


def _before_fork() -> None:
    """Close what no thread is using: it is opened again when it is needed.

    SQLite would tell the child, from the memory that it gets, that it has the locks of its parent. It has none: others would
    remove the log into which the child writes.
    """
    for each in list(_live):
        if is_idle(each.lock):
            with suppress(Exception):
                each.close()


def _after_fork_in_child() -> None:
    for each in list(_live):
        each.abandon()


run_before_forks(_before_fork)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


# ---------------------------------------------------------------------------------------------- errors


class ClosedError(OSError):
    """Another thread closed the file since it was looked up: it can be opened again."""


@contextmanager
def explaining(doing: str, path: str) -> Generator[None]:
    """Raise SQLite's errors as those of the operating system, with the path and what was done."""
    try:
        yield
    except Exception as error:
        told = explained(error, doing, path)
        if told is error:
            raise
        raise told from error


def explained(error: Any, doing: str, path: str) -> Exception:  # noqa: C901 - one branch for each kind
    """Return what *error* of SQLite means; *error* itself where it is none."""
    import sqlite3

    if not isinstance(error, sqlite3.Error):
        return error  # type: ignore[no-any-return]
    kind = getattr(error, "sqlite_errorname", "") or ""
    if "closed database" in str(error):
        return ClosedError(errno.EBADF, f"another thread closed the archive, while {doing}", path)
    code, problem = errno.EIO, f"SQLite says: {error}"
    if kind.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        code, problem = (
            errno.EBUSY,
            (
                f"another program has been writing for {BUSY_S:.0f} s: end the one that has the archive open with an "
                f"unfinished transaction (a database viewer, a debugger), and save again"
            ),
        )
    elif kind.startswith(("SQLITE_FULL", "SQLITE_IOERR_SHM")):  # the latter of what readers share, beside the log
        code, problem = errno.ENOSPC, os.strerror(errno.ENOSPC)
    elif kind.startswith("SQLITE_READONLY"):
        code, problem = errno.EROFS, "the archive or its folder can't be written"
    elif kind.startswith("SQLITE_AUTH") or "not authorized" in str(error):
        code, problem = errno.EINVAL, "it has views or triggers, which archives of results don't have: nothing was run"
    elif kind.startswith(("SQLITE_CANTOPEN", "SQLITE_PERM")):
        code = _why_not_opened(path)
        problem = os.strerror(code)
    elif kind.startswith("SQLITE_NOTADB"):
        code, problem = errno.EINVAL, "it is not an archive, since it is not an SQLite file"
    elif kind.startswith("SQLITE_CORRUPT"):
        problem = _damage(error, path)
    elif kind.startswith("SQLITE_TOOBIG"):
        code, problem = errno.EFBIG, "the result is too large for an archive: keep it in a folder"
    elif "no such table: sqlar" in str(error):
        code, problem = errno.EINVAL, "it is not an archive, since this SQLite file has no table sqlar"
    return OSError(code, f"{problem}, while {doing}", path)


def _damage(what: object, path: str) -> str:
    return f"the archive is damaged ({what}): `sqlite3 {os.path.basename(path)} .recover` saves what is left"


def out_of_order(path: str) -> OSError:
    """Return the error for an index of names that is not in order, in which a search could go on without end."""
    return OSError(errno.EIO, _damage("its index of names is out of order", path), path)


def _why_not_opened(path: str) -> int:
    if os.path.isdir(path):
        return errno.EISDIR
    return errno.EACCES if os.path.exists(path) else errno.ENOENT
