"""Load a saved result if it serves: it is whole, has the keys that were asked for, and is valid."""

from __future__ import annotations

import pickle
import time
from typing import TYPE_CHECKING, Any, cast

from neuralib.persistence import _core
from neuralib.persistence._classes.schema import ensure_persistence_class
from neuralib.persistence._codecs.unloadable import cause_of
from neuralib.persistence._errors import (
    AutoIncFieldNotResolvedError,
    CorruptResultError,
    MissingFieldError,
    NotAResultError,
    UnloadableResultError,
)
from neuralib.persistence._finding.former import warn_of_former_names
from neuralib.persistence._keeping import identity
from neuralib.persistence._log import log

if TYPE_CHECKING:
    from pathlib import Path

    from neuralib.persistence._computing.computed import Computing
    from neuralib.persistence._handlers.base import PersistenceHandler

# What a class's own validate_cache raises to say no.
_REFUSALS = (TypeError, ValueError, KeyError, AttributeError, RuntimeError)
# A file that can't be made a result of any more.
_UNREADABLE = (CorruptResultError, NotAResultError, MissingFieldError, AutoIncFieldNotResolvedError)


def load_valid(options: Computing[Any], handler: PersistenceHandler[Any], template: Any, path: Path) -> tuple[Any, str]:
    """Return the result at *path* if it serves; otherwise None, and why.

    :raises NameTakenError: it has other keys, so that it can't be replaced by another, which would be computed in vain
    :raises UnloadableResultError: the file is whole, but can't be loaded here
    """
    start = time.perf_counter()
    try:
        result = handler.load_persistence(path)
    except FileNotFoundError as error:
        other = _equal_place(handler, template)
        found = None if other == path else other
        return (None, str(error)) if found is None else load_valid(options, handler, template, found)
    except _UNREADABLE as error:
        log.warning("treated as missing: %s", error)
        return None, str(error)
    except UnloadableResultError:
        raise
    except (pickle.UnpicklingError, EOFError) as error:  # of a handler's own hook, as the next ones
        log.warning("treated as missing: %s can't be loaded: %s: %s", path, type(error).__name__, error)
        return None, f"{type(error).__name__}: {error}"
    except (ImportError, AttributeError) as error:
        raise UnloadableResultError(str(path), "", "", cause_of(error), checksummed=False) from error
    reason = _other_keys(handler, template, result, path)
    if reason:
        return None, reason
    if not is_valid(options, path, result):
        return None, "validate_cache refused it"
    log.info("loaded %s in %.3f s", path, time.perf_counter() - start)
    return result, ""


def is_valid(options: Computing[Any], path: Path, result: Any) -> bool:
    """Return whether *result*, which was loaded from *path*, passes ``validate_cache`` of *options*."""
    try:
        return bool(options.validate_cache(path, result))
    except _REFUSALS as error:
        log.warning("%s fails validation: %s: %s", path, type(error).__name__, error)
        return False


def refuse_irreplaceable(handler: PersistenceHandler[Any], template: Any) -> None:
    """Raise an error where a file is in the way that saving would not replace, so that nothing is computed in vain."""
    keeper = handler._keeper
    store, name = keeper.place_of(template)
    if store.has(name):
        with store.open(name) as there:
            keeper.replacing(template, store, name)(there)


def _other_keys(handler: PersistenceHandler[Any], template: Any, result: Any, path: Path) -> str:
    """Return how the keys of *result*, which was loaded from *path*, differ from those of *template*."""
    info = ensure_persistence_class(template)
    keys = identity.keys_in_name(info, template)
    problem = ""
    try:
        handler.validate(template, result)
    except FileNotFoundError as error:
        problem = str(error)
    if problem or identity.other_key(handler.persistence_info, result, keys) is not None:
        identity.refuse_taken(info, template, _core.as_dict(result), str(path))
    return problem


def _equal_place(handler: PersistenceHandler[Any], template: Any) -> Path | None:
    """Return where there is a result whose keys are equal to those of *template*, under another name or in another format."""
    keeper = handler._keeper
    store, _ = keeper.place_of(template)
    name = keeper.other_name(template, {}, store)
    if name is None:
        warn_of_former_names(keeper)
        return None
    return cast("Path", store.path(name))
