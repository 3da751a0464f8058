"""What is wrong with files: damage, and names that are not those of the keys inside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from neuralib.persistence._commands import names
from neuralib.persistence._commands.content import check
from neuralib.persistence._commands.entries import SUFFIXES, hits_in, paths_in
from neuralib.persistence._commands.schemes import scheme_of_most
from neuralib.persistence._commands.screen import progress
from neuralib.persistence._errors import KeyMismatchError, PersistenceError, shown
from neuralib.persistence._finding.checking import check_name
from neuralib.persistence._handlers.heads import read_head
from neuralib.persistence._handlers.pickles import PickleHandler
from neuralib.persistence._stores.paths import PATHS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neuralib.persistence._classes.schema import PersistentClass


class Checked(NamedTuple):
    """What became of all files."""

    files: int
    size_bytes: int
    damaged: list[tuple[str, Exception]]
    misnamed: list[tuple[str, Exception]]
    """Whole files whose keys belong under another name."""
    plain: list[str]
    """Whole files without a checksum."""
    not_compared: list[str]
    """Whole files of which it is not known whether the name is that of the keys."""


def checked(paths: list[str], *, recursive: bool, info: PersistentClass[Any] | None) -> Checked:
    """Read the files at *paths*, and in the folders there, to their end.

    :param info: of folders, the files of this class alone, whose names are made exactly as it says
    :raises OSError: there is no such folder
    """
    files = [it for path in paths for it in _files_at(path, recursive=recursive, info=info)]
    damaged: list[tuple[str, Exception]] = []
    plain: list[str] = []
    whole: list[str] = []
    size = 0
    for path in progress(files, "checking file"):
        try:
            if not check(path):
                plain.append(path)
            whole.append(path)
            size += os.stat(path).st_size
        except (PersistenceError, OSError) as error:
            damaged.append((path, error))
    misnamed, not_compared = _compared(whole) if info is None else _compared_by(info, whole)
    return Checked(len(files), size, damaged, misnamed, plain, not_compared)


def _files_at(path: str, *, recursive: bool, info: PersistentClass[Any] | None) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
    elif info is None:
        yield from paths_in(path, recursive=recursive)
    else:
        yield from (it for it, _ in hits_in(path, info, recursive=recursive))


# ------------------------------------------------------------------------------------------ names


def _compared_by(info: PersistentClass[Any], paths: list[str]) -> tuple[list[tuple[str, Exception]], list[str]]:
    """Return which of *paths*, of the class *info*, have another name than their keys; and of which it is not known."""
    handlers = {it: PickleHandler(info.persistence_cls, os.curdir, ext=it) for it in SUFFIXES}
    misnamed: list[tuple[str, Exception]] = []
    unknown: list[str] = []
    for path in progress(paths, "looking at the keys of file"):
        handler = handlers[".pkl.gz" if path.endswith(".gz") else ".pkl"]
        try:
            if not check_name(handler._keeper, PATHS, path):
                unknown.append(path)
        except PersistenceError as error:
            misnamed.append((path, error))
    return misnamed, unknown


def _compared(paths: list[str]) -> tuple[list[tuple[str, Exception]], list[str]]:
    """Return the same without the class: what most files of a folder with the same first word have in common counts."""
    groups: dict[tuple[str, tuple[str, str]], list[str]] = {}
    for path in paths:
        name = os.path.basename(path)
        if name.startswith(names.START):
            groups.setdefault((os.path.dirname(path), names.group_of(name)), []).append(path)
    misnamed: list[tuple[str, Exception]] = []
    unknown: list[str] = []
    for group in groups.values():
        found = {path: _fields_of(path) for path in progress(group, "looking at the keys of file")}
        scheme = scheme_of_most([(os.path.basename(path), it) for path, it in found.items()])
        for path, fields in found.items():
            name = os.path.basename(path)
            verdict = None if scheme is None else scheme.agrees(name, fields)
            if verdict is None or scheme is None:
                unknown.append(path)
            elif not verdict:
                keys = ", ".join(f"{it}={shown(fields[it])}" for it in scheme.keys if it in fields)
                misnamed.append((path, KeyMismatchError(scheme.class_name, "", name, keys, path)))
    return misnamed, unknown


def _fields_of(path: str) -> dict[str, Any]:
    """Return what is known of the fields of a file without trust: nothing where it is no result, or is gone by now."""
    try:
        return read_head(path).fields
    except (PersistenceError, OSError):
        return {}
