"""Unknown fields: those of a file that its class does not declare. They are kept, and written back when it is saved.

They are in the result's own ``__dict__``, so that copies and pickles of the result have them too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from neuralib.persistence import _core
from neuralib.persistence._classes.schema import ensure_persistence_class
from neuralib.persistence._log import is_first, log

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEPT = "_persistence_unknown_"
_MOST_NAMES, _LONGEST_NAME = 20, 100  # in a warning


class Unknown(NamedTuple):
    """An unknown field."""

    value: Any
    annotation: str
    """As text, as the class had it that saved the field."""


def unknown_fields(result: object) -> dict[str, Any]:
    """Return the fields of the file that *result* was loaded from and that its class does not know, by name.

    They are written back when *result* is saved. To drop them, save ``from_dict(type(result), as_dict(result))``.

    :raises NotPersistenceClassError: *result* is no result
    """
    ensure_persistence_class(result)
    return {name: field.value for name, field in kept_with(result).items()}


def kept_with(result: object) -> dict[str, Unknown]:
    """Return the unknown fields of *result*, by name."""
    found: dict[str, Unknown] = vars(result).get(_KEPT, {})
    return found


def all_fields(fields: dict[str, Any], kept: Mapping[str, Unknown]) -> dict[str, Any]:
    """Return the *fields* of a result, and the unknown ones that are *kept* with it."""
    return fields | {name: field.value for name, field in kept.items() if name not in fields}


def fields_to_save(result: object) -> dict[str, Any]:
    """Return the fields of *result*, and the unknown ones that are kept with it."""
    return all_fields(_core.as_dict(result), kept_with(result))


def keep(result: object, fields: Mapping[str, Any], annotations: Mapping[str, str], place: str) -> None:
    """Keep the unknown *fields* of the file at *place* with *result*, and log a warning, once for each set of fields."""
    names = sorted(fields)
    vars(result)[_KEPT] = {name: Unknown(value, annotations.get(name, "")) for name, value in fields.items()}
    if not is_first(type(result), "unknown", hash(tuple(names))):
        return
    some = [name[:_LONGEST_NAME] for name in names[:_MOST_NAMES]]
    log.warning(
        "%s has fields that %s does not declare: %s. They are kept, and written back when the result is saved. "
        "If a field was renamed, declare it with field(renamed_from=...)",
        place,
        type(result).__qualname__,
        ", ".join(some) + (f" and {len(names) - len(some)} more" if len(names) > len(some) else ""),
    )


def keep_same(result: object, source: object) -> None:
    """Copy the unknown fields of *source* to its copy *result*."""
    kept = kept_with(source)
    if kept:
        vars(result)[_KEPT] = kept


def forget(result: object) -> None:
    """Drop the unknown fields of *result*."""
    vars(result).pop(_KEPT, None)
