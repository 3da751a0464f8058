"""Deleting results, and nothing else."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from neuralib.persistence._errors import CorruptResultError, NotAResultError, OtherClassError
from neuralib.persistence._keeping.batches import bar
from neuralib.persistence._stores.base import stat_of

if TYPE_CHECKING:
    from pathlib import PurePath

    from neuralib.persistence._finding.listing import Listing
    from neuralib.persistence._stores.base import Stat

_log = logging.getLogger("neuralib.persistence")


def delete(listing: Listing, rows: list[int], *, dry_run: bool, damaged: bool, progress: bool) -> list[PurePath]:
    """Delete the results in *rows*, and return their paths: see :meth:`Found.delete`."""
    deleted = []
    store = listing.store
    with bar(rows, progress, "results") as shown:
        for row in shown:
            name = listing.name(row)
            try:
                before = stat_of(store, name)
                reason = _not_to_delete(listing, row, before, damaged=damaged)
                if reason is None and not dry_run:
                    # What was saved under the name since it was looked at is somebody's new result.
                    if store.stat(name).version != before.version:
                        reason = "it was just replaced"
                    else:
                        store.delete(name)
            except FileNotFoundError:
                continue
            if reason is None:
                deleted.append(store.path(name))
            else:
                _log.warning("not deleted: %s: %s", store.location(name), reason)
    return deleted


def _not_to_delete(listing: Listing, row: int, found: Stat, *, damaged: bool) -> str | None:
    """Return why there is no result that may be deleted; None where it is one."""
    if not found.regular:
        return "it is a link or a folder, not a file"
    try:
        mismatch = listing.name_mismatch(row, listing.read(row, ()))
    except CorruptResultError as error:
        return None if damaged else f"{error.problem}; damaged=True deletes such files too"
    except (NotAResultError, OtherClassError) as error:
        return str(error)
    return None if mismatch is None else str(mismatch)
