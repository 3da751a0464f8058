"""The file of an archive: opened when it is needed, and made when the first result is saved."""

from __future__ import annotations

import errno
import os

from neuralib.persistence._stores import mounts, rows
from neuralib.persistence._stores.database import Database, opened, opening
from neuralib.persistence._stores.folder import FolderStore

_SPACE = "an archive needs some space to be written, or deleted from: free a megabyte elsewhere on its disk"
_NETWORK = (
    "is on {kind}, where an archive can be read, and not written: give a folder, an object store, or an archive on a local"
    " disk for each task, and a handler over all of them"
)


class ArchiveFile:
    """The file at *path*, and its database while it is open."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._database: Database | None = None

    def close(self) -> None:
        """Bring all into the one file, and close it. It is opened again when it is needed."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def opened(self) -> Database | None:
        """Return the open file; None where there is none yet."""
        current = self._database
        if current is not None:
            if current.is_current():
                return current
            current.abandon()
        with opening:  # so that no fork closes it in between
            found = opened(self.path, keeps_locks=lambda: self._network() is None)
            if found is not None:
                rows.check_table(found)
        self._database = found
        return found

    def _network(self) -> str | None:
        return mounts.network_file_system(os.path.dirname(os.path.realpath(self.path)))

    def _refuse_network(self) -> None:
        kind = self._network()
        if kind is not None:
            raise OSError(errno.EOPNOTSUPP, _NETWORK.format(kind=kind), self.path)

    def opened_to_write(self, *, durable: bool) -> Database:
        """Return the open file, which is made where there is none."""
        database = self._database
        if database is not None and not database.is_read_only and database.is_current():  # a call less for each save
            return database
        database = self.opened()
        if database is None:
            self._make(durable=durable)
            database = self.opened()
            if database is None:
                raise FileNotFoundError(errno.ENOENT, "the new archive was removed at once", self.path)
        return self.writable(database) if database.is_read_only else database

    def writable(self, database: Database) -> Database:
        """Return *database*; where its disk had no space and it could only be read, opened again.

        :raises OSError: it can't be written
        """
        if database.lacks_space:
            self.close()
            database = self.opened() or database
            if database.lacks_space:
                raise self.no_space()
        if database.is_read_only:
            self._refuse_network()
            raise OSError(errno.EROFS, "the archive or its folder can't be written", self.path)
        return database

    def no_space(self) -> OSError:
        """Return the error that the disk has no space left."""
        return OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {_SPACE}", self.path)

    def _make(self, *, durable: bool) -> None:
        """Make the empty archive under a hidden name first: of several processes one is first, and nobody sees half a file."""
        self._refuse_network()
        real = os.path.realpath(self.path)  # of a link, where it leads
        self._refuse_log_of_removed(real)
        place, name = os.path.split(real)
        folder = FolderStore(place)
        try:
            folder.put(name, folder.draft_by_hook(rows.make_file, name, durable=durable), durable=durable)
        except FileExistsError:
            pass

    def _refuse_log_of_removed(self, real: str) -> None:
        """Raise an error where the last changes of an archive that is gone lie at *real*: SQLite would bring them into the new one.

        :raises OSError: they do
        """
        for log in (f"{real}-wal", f"{real}-journal"):
            # Looked at in this order: if another process makes the archive now, it is there before its log.
            if _size_of(log) > 0 and not os.path.exists(real):
                problem = (
                    f"{os.path.basename(log)} has the last changes of an archive that was here: move that file to where the archive "
                    f"is now, or remove it"
                )
                raise OSError(errno.EINVAL, problem, self.path)


def _size_of(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
