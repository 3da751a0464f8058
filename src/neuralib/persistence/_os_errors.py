"""Errors of the operating system that say which path they are about, and what was being done."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator


def explained(error: OSError, doing: str, path: str) -> OSError:
    """Return *error* with the path and the operation, of the same class, unless it has them already."""
    if error.errno is None:
        return error
    if ", while " in str(error.strerror):
        return OSError(error.errno, error.strerror, error.filename)
    return OSError(error.errno, f"{error.strerror or os.strerror(error.errno)}, while {doing}", path)


@contextmanager
def explaining(doing: str, path: str) -> Generator[None]:
    """Raise the OSErrors of the block with the path and the operation; that a name is taken, as it is."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise explained(error, doing, path) from error


@contextmanager
def explaining_any(doing: str, path: str) -> Generator[None]:
    """Raise what a user's function raises with the path and the operation: as a note where it is not an OSError."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and type(error).__module__ == "builtins" and error.errno is not None:
            raise explained(error, doing, path) from error
        error.add_note(f"while {doing}: {path}")
        raise
