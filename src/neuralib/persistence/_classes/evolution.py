"""Bring the fields of older files up to date: renamed fields, and older versions of the class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from neuralib.persistence._errors import NewerVersionError, UnknownFieldError
from neuralib.persistence._messages import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from neuralib.persistence._classes.schema import PersistentClass


def names_then(info: PersistentClass[Any], names: Collection[str]) -> list[str]:
    """Return *names* and all former names of these fields."""
    former = [old for old, new in info.former_names.items() if new in names]
    return [*names, *former]


def refuse_unknown(info: PersistentClass[Any], names: Iterable[str], known: Collection[str]) -> None:
    """Raise an error if one of *names* is not among the fields *known*.

    :raises UnknownFieldError: it gives today's name where a field was renamed
    """
    for name in names:
        if name not in known:
            owner = info.persistence_cls.__qualname__
            raise UnknownFieldError(owner, name, tuple(known), info.former_names.get(name))


def _renamed(fields: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return *fields* under today's names. If a file has a field under both names, today's counts and the former one stays."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        today = names.get(name, name)
        found[name if today in fields or today in found else today] = value
    return found


def brought_up(info: PersistentClass[Any], fields: dict[str, Any], version: int, path: str) -> dict[str, Any]:
    """Return *fields*, which a file of an older *version* holds, as the class has them now.

    Renamed fields get their names of today. Then the classmethod ``upgrade(cls, fields, version)`` of the class, if it has
    one, returns the fields of today.

    :raises NewerVersionError: the file is of a newer version than the class
    """
    if version > info.version:
        raise NewerVersionError(info.persistence_cls.__qualname__, path, version, info.version)
    names = info.former_names
    if not names.keys().isdisjoint(fields):
        fields = _renamed(fields, names)
    upgrade = getattr(info.persistence_cls, "upgrade", None)
    if version < info.version and upgrade is not None:
        fields = _upgraded(info, upgrade, fields, version)
    return fields


def _upgraded(info: PersistentClass[Any], upgrade: Any, fields: dict[str, Any], version: int) -> dict[str, Any]:
    """Return what *upgrade* of the class makes of *fields*.

    :raises TypeError: that is no dict
    """
    upgraded = upgrade(dict(fields), version)
    if not isinstance(upgraded, Mapping):
        owner = info.persistence_cls.__qualname__
        raise TypeError(f"{owner}.upgrade returned {shown(upgraded)}: it must return a dict of the fields of today")
    return dict(upgraded)
