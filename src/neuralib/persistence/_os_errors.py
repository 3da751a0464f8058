"""Errors of the operating system that say which path they are about, and what was being done."""

from __future__ import annotations

import os


def explained(error: OSError, doing: str, path: str) -> OSError:
    """Return *error* with the path and the operation, of the same class, unless it has them already."""
    if error.errno is None:
        return error
    if ", while " in str(error.strerror):
        return OSError(error.errno, error.strerror, error.filename)
    return OSError(error.errno, f"{error.strerror or os.strerror(error.errno)}, while {doing}", path)


def explained_any(error: Exception, doing: str, path: str) -> Exception:
    """Return *error*, which a user's function raised, with the path and the operation: as a note where it is not an OSError."""
    if isinstance(error, OSError) and type(error).__module__ == "builtins" and error.errno is not None:
        return explained(error, doing, path)
    error.add_note(f"while {doing}: {path}")
    return error
