"""Deleting results, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuralib.persistence._errors import (
    CorruptResultError,
    KeyMismatchError,
    NewerVersionError,
    NotAResultError,
    OtherClassError,
    UnloadableResultError,
)
from neuralib.persistence._keeping.batches import bar
from neuralib.persistence._keeping.records import SMALL_BYTES
from neuralib.persistence._log import log
from neuralib.persistence._packages import missing_here
from neuralib.persistence._stores.base import stat_of

if TYPE_CHECKING:
    from pathlib import PurePath

    from neuralib.persistence._finding.listing import Listing
    from neuralib.persistence._stores.base import Stat, Store


def delete(listing: Listing, rows: list[int], *, dry_run: bool, damaged: bool, progress: bool) -> list[PurePath]:
    """Delete the results in *rows*, and return their paths: see :meth:`Found.delete`."""
    deleted: list[PurePath] = []
    store = listing.store
    together = store.group_size() if store.shares_puts else 1
    waiting: dict[str, object] = {}  # by name, the version that was looked at
    with bar(rows, progress, "results") as shown:
        for row in shown:
            name = listing.name(row)
            try:
                before = stat_of(store, name)
                reason = _not_to_delete(listing, row, before, damaged=damaged)
            except FileNotFoundError:
                continue
            if reason is not None:
                _warn_of_kept(store, name, reason)
            elif dry_run:
                deleted.append(store.path(name))
            else:
                waiting[name] = before.version
                if len(waiting) >= together:
                    deleted += _deleted(store, waiting)
    return deleted + _deleted(store, waiting)


def _deleted(store: Store, waiting: dict[str, object]) -> list[PurePath]:
    """Delete what waits, and return its paths. What was saved under a name since it was looked at is somebody's new result."""
    versions = waiting.copy()
    waiting.clear()
    if not versions:
        return []
    gone = store.delete_many(versions)
    for name in versions.keys() - gone:
        if store.has(name):
            _warn_of_kept(store, name, "it was just replaced")
    return [store.path(name) for name in gone]


def _warn_of_kept(store: Store, name: str, reason: str) -> None:
    log.warning("not deleted: %s: %s", store.location(name), reason)


def _not_to_delete(listing: Listing, row: int, found: Stat, *, damaged: bool) -> str | None:
    """Return why there is no result that may be deleted; None where it is one."""
    if not found.regular:
        return "it is a link or a folder, not a file"
    try:
        listing.refuse_name_mismatch(row, listing.read_anew(row))
    except CorruptResultError as error:
        return None if damaged else f"{error.problem}; damaged=True deletes such files too"
    except (KeyMismatchError, NewerVersionError, NotAResultError, OtherClassError, UnloadableResultError) as error:
        return str(error)
    return _missing_packages(listing, row) if found.size_bytes >= SMALL_BYTES else None


def _missing_packages(listing: Listing, row: int) -> str | None:
    """Return that a large result, of which the head was read, can't be loaded here; None where it may be."""
    card = listing.keeper.records.about(listing.store, listing.name(row)).card
    missing = [] if card is None else missing_here(card.packages)
    return f"it has objects of packages that are not installed here: {', '.join(missing)}" if missing else None
