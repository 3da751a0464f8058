"""Deleting results, and nothing else."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from neuralib.persistence._errors import CorruptResultError, NotAResultError
from neuralib.persistence._keeping.batches import bar

if TYPE_CHECKING:
    from neuralib.persistence._finding.listing import Listing

_log = logging.getLogger("neuralib.persistence")


def delete(listing: Listing, rows: list[int], *, dry_run: bool, damaged: bool, progress: bool) -> list[Path]:
    """Delete the results in *rows*, and return their paths: see :meth:`Found.delete`."""
    deleted = []
    with bar(rows, progress, "results") as shown:
        for row in shown:
            path = listing.path(row)
            try:
                before = os.lstat(path)
                reason = _not_to_delete(listing, row, before, damaged=damaged)
                if reason is None and not dry_run:
                    now = os.lstat(path)
                    # What was saved under the name since it was looked at is somebody's new result.
                    if (now.st_ino, now.st_mtime_ns) != (before.st_ino, before.st_mtime_ns):
                        reason = "it was just replaced"
                    else:
                        os.unlink(path)
            except FileNotFoundError:
                continue
            if reason is None:
                deleted.append(Path(path))
            else:
                _log.warning("not deleted: %s: %s", path, reason)
    return deleted


def _not_to_delete(listing: Listing, row: int, found: os.stat_result, *, damaged: bool) -> str | None:
    """Return why the file is no result that may be deleted; None where it is one."""
    if not stat.S_ISREG(found.st_mode):
        return "it is a link" if stat.S_ISLNK(found.st_mode) else "it is no file"
    try:
        stranger = listing.stranger(row, listing.read(row, ()))
    except CorruptResultError as error:
        return None if damaged else f"{error.problem}; damaged=True deletes such files too"
    except NotAResultError as error:
        return str(error)
    return None if stranger is None else str(stranger)
