"""Files as they are found: whether they are whole, and hold the result that their names say."""

from __future__ import annotations

import errno
import logging
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from neuralib.persistence._classes.name_texts import has_text
from neuralib.persistence._errors import (
    AutoIncFieldNotResolvedError,
    CorruptResultError,
    KeyMismatchError,
    MissingFieldError,
    NotAResultError,
    PersistenceError,
    UnsafeNameError,
    shown,
)
from neuralib.persistence._finding import listing
from neuralib.persistence._keeping import batches, identity
from neuralib.persistence._stores import system
from neuralib.persistence._tasks import read_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from neuralib.persistence._finding.query import Conditions

T = TypeVar("T")

_TRIES = 3
_log = logging.getLogger("neuralib.persistence")


class FileCheck(NamedTuple):
    """What :meth:`PersistenceHandler.verify` found of a file."""

    path: Path
    problem: Exception | None
    """What is wrong with it: a :class:`CorruptResultError`, a :class:`KeyMismatchError` (its name is not that of the keys
    in it), an :class:`OSError`. None: nothing."""
    checksummed: bool
    """Whether a checksum says that it is what was saved. False for files of other programs and formats without one."""


class Checked(listing.Keeper, Protocol):
    """What this needs of a handler."""

    threads: int

    @property
    def persistence_class(self) -> type[Any]: ...
    def _load(self, path: str) -> Any: ...
    def _check(self, path: str) -> bool: ...
    def _head_of(self, path: str) -> dict[str, Any]: ...
    def _is_named(self, result: Any, name: str) -> bool: ...


def checked(handler: Checked, paths: list[str], *, progress: bool, given: bool) -> Iterator[FileCheck]:
    """Yield what becomes of each of the files *paths*: see :meth:`PersistenceHandler.verify`."""
    check_own_name = partial(check_name, handler)
    with batches.bar(paths, progress, "files") as bar:
        for path in bar:
            problem: Exception | None = None
            checksummed = False
            try:
                if given:  # it may have any name
                    checksummed = handler._check(path)
                else:
                    checksummed = _read_again(handler._check, path)
                    _read_again(check_own_name, path)
            except _GoneError:
                continue
            except (PersistenceError, OSError) as error:
                problem = error
            yield FileCheck(Path(path), problem, checksummed)


class _GoneError(Exception):
    """A file was removed since its name was listed."""


def _read_again(read: Callable[[str], T], path: str) -> T:
    """Return what *read* gives for *path*, also where the file was removed and its number given anew in between.

    :raises _GoneError: it was removed
    """
    tries = 0
    while True:
        try:
            return read(path)
        except OSError as error:
            tries += 1
            if error.errno not in {errno.ENOENT, errno.ESTALE}:
                raise
            if not os.path.lexists(path):
                raise _GoneError from error
            if tries == _TRIES:  # a link to nothing
                raise


def check_name(handler: Checked, path: str) -> bool:
    """Raise an error where the keys in the file at *path* give another name; return whether they could be read.

    :raises KeyMismatchError: they do
    """
    fields = handler._head_of(path)
    named = handler.persistence_info.named_fields
    if not all(it.field_name in fields and has_text(it, fields[it.field_name]) for it in named):
        return False
    keys = {it.field_name: fields[it.field_name] for it in named}
    try:
        found = handler.filename(None, **keys)
    except UnsafeNameError as error:
        raise _misplaced(handler, keys, os.path.basename(path), path) from error
    if found != os.path.basename(path):
        raise _misplaced(handler, keys, os.path.basename(path), path)
    return True


def _misplaced(handler: Checked, keys: dict[str, Any], name: str, path: str) -> KeyMismatchError:
    """Return the error that the file at *path* holds the result of other *keys* than its *name* says."""
    found = ", ".join(f"{it}={shown(value)}" for it, value in keys.items())
    return KeyMismatchError(handler.persistence_class.__qualname__, "", name, found, path)


def load_matching(
    handler: Checked,
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
    info = handler.persistence_info
    found = listing.Listing(handler, conditions, template)
    root = Path(found.folder)
    prefix = system.joined(found.folder, "")
    rows = found.candidates(conditions)
    names = [found.table.names[it] for it in rows]
    table = found.table
    doubtful = {table.names[it] for it in rows if table.doubtful(it)} if table.any_doubtful else frozenset[str]()
    with batches.bar(names, progress, "results") as shown_names:
        for name, load in read_ahead(handler.threads, lambda it: _read_again(handler._load, prefix + it), shown_names):
            try:
                result = load()
            except (CorruptResultError, NotAResultError, MissingFieldError, AutoIncFieldNotResolvedError) as error:
                if on_corrupt is None:
                    raise
                on_corrupt(error)
                continue
            except _GoneError:
                continue
            # A name can be read in more than one way where values contain the splitter; the keys inside decide.
            if not handler._is_named(result, name):
                _report_stranger(handler, result, name, str(root / name), on_corrupt)
            elif name not in doubtful or identity.other_key(info, result, exact) is None:
                yield root / name, result


def _report_stranger(
    handler: Checked,
    result: object,
    name: str,
    path: str,
    on_corrupt: Callable[[PersistenceError], object] | None,
) -> None:
    """Report the file at *path*, whose content belongs under another name: it was renamed or copied."""
    keys = {it.field_name: getattr(result, it.field_name, None) for it in handler.persistence_info.named_fields}
    error = _misplaced(handler, keys, name, path)
    if on_corrupt is None:
        _log.warning("left out: %s", error)
    else:
        on_corrupt(error)
