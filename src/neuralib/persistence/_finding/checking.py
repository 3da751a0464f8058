"""Files as they are found: whether they are whole, and hold the result that their names say."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from neuralib.persistence._errors import (
    AutoIncFieldNotResolvedError,
    ContractError,
    CorruptResultError,
    KeyMismatchError,
    MissingFieldError,
    NewerVersionError,
    NotAResultError,
    OtherClassError,
    PersistenceError,
    UnloadableResultError,
)
from neuralib.persistence._finding.former import keys_inside, warn_of_former_names
from neuralib.persistence._finding.listing import Listing
from neuralib.persistence._finding.not_results import kind_of_non_result, warn_left_out
from neuralib.persistence._keeping import batches, identity
from neuralib.persistence._keeping.reading import unloadable
from neuralib.persistence._log import log
from neuralib.persistence._messages import shown
from neuralib.persistence._naming.equal import is_name_of
from neuralib.persistence._tasks import read_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from neuralib.persistence._finding.query import Conditions
    from neuralib.persistence._keeping.keeper import Keeper
    from neuralib.persistence._stores.base import Store

T = TypeVar("T")

_TRIES = 3
_OF_CHANGES = {errno.ENOENT, errno.ESTALE, errno.EINVAL, errno.EISDIR, errno.ENXIO}
"""What reading something other than a file fails with: by the next time there may be a file again."""
_OF_CONTENT = (
    CorruptResultError,
    UnloadableResultError,
    NotAResultError,
    OtherClassError,
    NewerVersionError,
    MissingFieldError,
    AutoIncFieldNotResolvedError,
)


class FileCheck(NamedTuple):
    """What :meth:`PersistenceHandler.verify` found of a file."""

    path: Path
    problem: Exception | None
    """What is wrong with it: a :class:`CorruptResultError`, a :class:`KeyMismatchError` (its name is not that of the keys
    in it), an :class:`OSError`. An :class:`UnloadableResultError`: the file is whole, but can't be loaded here. None:
    nothing."""
    checksummed: bool
    """Whether a checksum says that it is what was saved. False for files of other programs and formats without one."""


def checked(keeper: Keeper[Any], store: Store, names: list[str], *, progress: bool, named: bool) -> Iterator[FileCheck]:
    """Yield what becomes of each of *names*: see :meth:`PersistenceHandler.verify`.

    :param named: whether each must have the name of the keys in it
    """
    if named:
        store = store.reading(names)
    with batches.bar(names, progress, "files") as bar:
        reading = read_ahead(
            store.in_flight, lambda name: _checked(keeper, store, name, named=named), bar, store.weight
        )
        for name, check in reading:
            found = check(name)
            if found is not None:
                yield found


def _checked(keeper: Keeper[Any], store: Store, name: str, *, named: bool) -> FileCheck | None:
    """Return what is wrong with the file *name*; None where it was removed."""
    problem: Exception | None = None
    checksummed = False
    try:
        if named:
            checksummed = _read(store, name, partial(keeper.records.check, store))
            _read(store, name, partial(check_name, keeper, store))
        else:
            checksummed = keeper.records.check(store, name)
    except _GoneError:
        return None
    except ContractError:
        raise
    except (PersistenceError, OSError) as error:
        problem = error
        checksummed = checksummed or (isinstance(error, UnloadableResultError) and error.checksummed)
    return FileCheck(store.path(name), problem, checksummed)  # type: ignore[arg-type]


class _GoneError(Exception):
    """A file was removed since its name was listed."""


def _read(store: Store, name: str, read: Callable[[str], T]) -> T:
    """Return what *read* gives for *name*, also where the file was removed and its number given anew in between.

    :raises _GoneError: it was removed
    """
    tries = 0
    while True:
        try:
            return read(name)
        except OSError as error:
            if error.errno not in _OF_CHANGES:
                raise
            if not store.has(name):
                raise _GoneError from error
            tries += 1
            if tries == _TRIES:  # a link to nothing, or no file
                raise


def check_name(keeper: Keeper[Any], store: Store, name: str) -> bool:
    """Raise an error where the keys in the file *name* give another name; return whether they could be read.

    :raises KeyMismatchError: they do
    :raises NewerVersionError: the file is of a newer version of the class
    """
    keys = keys_inside(keeper, store, name)
    if keys is None:
        return False
    last = os.path.basename(name)
    if not is_name_of(keeper.names, keeper.info, last, keys):
        raise _misplaced(keeper, keys, last, store.location(name))
    return True


def _misplaced(keeper: Keeper[Any], keys: dict[str, Any], name: str, place: str) -> KeyMismatchError:
    """Return the error that the file at *place* holds the result of other *keys* than its *name* says."""
    found = ", ".join(f"{key}={shown(value)}" for key, value in keys.items())
    return KeyMismatchError(keeper.info.persistence_cls.__qualname__, "", name, found, place)


def non_results_in(listing: Listing, rows: list[int], *, progress: bool) -> list[FileCheck]:
    """Return those of *rows* that are no results of their names: see :meth:`Found.check`."""
    found = []
    store = listing.store
    with batches.bar(rows, progress, "files") as shown_rows:
        for row in shown_rows:
            name = listing.name(row)
            try:
                listing.refuse_name_mismatch(row, listing.read_anew(row))
            except (PersistenceError, OSError) as error:
                if store.has(name):
                    found.append(FileCheck(store.path(name), error, checksummed=False))  # type: ignore[arg-type]
    return found


def load_matching(
    keeper: Keeper[T],
    conditions: Conditions,
    template: T | None,
    exact: dict[str, Any],
    on_corrupt: Callable[[PersistenceError], object] | None,
    *,
    progress: bool,
) -> Iterator[tuple[Path, T]]:
    """Yield the results whose names fit *conditions*, with their paths: see :meth:`PersistenceHandler.load_all`.

    :param exact: what the keys in a file must be where its name can be read in more than one way
    """
    listing = Listing(keeper, conditions, template)
    store, table = listing.store, listing.table
    rows = listing.candidates(conditions)
    names = list(map(listing.name, rows))
    if not names:
        warn_of_former_names(keeper)
    doubtful = {listing.name(row) for row in rows if table.doubtful(row)} if table.any_doubtful else frozenset[str]()

    read = partial(keeper.load, store.reading(names))
    with batches.bar(names, progress, "results") as shown_names:
        for name, load in read_ahead(keeper.readers, read, shown_names, store.weight):
            try:
                try:
                    result = load(name)
                except OSError:
                    result = _read(store, name, read)
            except _GoneError:
                continue
            except Exception as error:
                _report_failure(error, store, name, keeper.info.persistence_cls.__qualname__, on_corrupt)
                continue
            # A name can be read in more than one way where values contain the splitter; the keys inside decide.
            if not keeper.is_named(result, name):
                _report_mismatch(keeper, result, name, on_corrupt)
            elif name not in doubtful or identity.other_key(keeper.info, result, exact) is None:
                yield store.path(name), result  # type: ignore[misc]


def _report_failure(
    error: Exception, store: Store, name: str, owner: str, on_corrupt: Callable[[PersistenceError], object] | None
) -> None:
    """Report that *name* does not load; raise *error* where nobody wants to know, or the content is not the cause.

    What is no file is left out, with a warning.
    """
    kind = kind_of_non_result(error, store, name)
    if kind is not None and not isinstance(error, KeyMismatchError):
        if on_corrupt is None:
            warn_left_out(error, store, name)
        else:
            on_corrupt(
                error if isinstance(error, PersistenceError) else NotAResultError(owner, store.location(name), kind)
            )
        return
    elsewhere = isinstance(error, (PersistenceError, OSError, MemoryError)) and not isinstance(error, _OF_CONTENT)
    if on_corrupt is None or elsewhere:
        raise error
    on_corrupt(error if isinstance(error, PersistenceError) else unloadable(error, store, name))


def _report_mismatch(
    keeper: Keeper[T], result: T, name: str, on_corrupt: Callable[[PersistenceError], object] | None
) -> None:
    """Report a file whose content belongs under another name: it was renamed or copied."""
    keys = identity.keys_in_name(keeper.info, result)
    error = _misplaced(keeper, keys, name, keeper.store.location(name))
    if on_corrupt is None:
        log.warning("left out: %s", error)
    else:
        on_corrupt(error)
