"""Which names in a folder belong to a template: the patterns of the names, and the order of what matches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuralib.persistence import _core
from neuralib.persistence._field import missing
from neuralib.persistence._naming import AnyText, literals_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from neuralib.persistence._schema import PersistentClass


def patterns_of(
    info: PersistentClass[Any], filename: Callable[..., str], result: Any, overrides: dict[str, Any]
) -> list[tuple[str, ...]]:
    """Return the fixed texts of the names that a template may have: several where a wildcard key may be left out.

    :param filename: the handler's own, which gives the name for *result* and overrides
    """
    wild: list[tuple[str, bool]] = []  # the wildcards, and whether the class may leave that key out of the name
    for it in info.fields:
        value = overrides.get(it.field_name, getattr(result, it.field_name, None))
        if it.filename and (value is missing or (it.autoinc and value is None)):
            wild.append((it.field_name, callable(it.filename)))
    variants: list[dict[str, Any]] = [{}]
    for name, optional in wild:
        kinds = [AnyText(), AnyText(absent=True)] if optional else [AnyText()]
        variants = [{**variant, name: kind} for variant in variants for kind in kinds]
    return [literals_of(filename(result, **{**overrides, **variant})) for variant in variants]


def matching(names: Iterable[str], patterns: list[tuple[str, ...]]) -> list[str]:
    """Return those of *names* that match a pattern, in the order of their keys, numbers by size (2 before 10)."""
    found: dict[str, tuple[str, ...]] = {}
    match = _core.match_name
    for name in names:
        for pattern in patterns:
            texts = match(name, pattern)
            if texts is not None:
                found.setdefault(name, texts)
    return sorted(found, key=lambda it: (_natural(found[it]), it))


def _natural(texts: tuple[str, ...]) -> list[tuple[int, int, str]]:
    return [(0, int(it), it) if it.isdecimal() else (1, 0, it) for it in texts]
