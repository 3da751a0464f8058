"""Whether two results are the same one: by all keys of the file name, not by the name alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuralib.persistence._classes.field import missing
from neuralib.persistence._classes.name_texts import has_text, text_of
from neuralib.persistence._equality import same_value
from neuralib.persistence._errors import NameTakenError, shown

if TYPE_CHECKING:
    from neuralib.persistence._classes.schema import PersistentClass


def refuse_taken(info: PersistentClass[Any], result: object, stored: dict[str, Any], path: str) -> None:
    """Raise an error where the file at *path*, with the fields *stored*, is of other keys in the name than *result*.

    :raises NameTakenError: with the keys of both
    """
    names = [it.field_name for it in info.named_fields if it.field_name in stored]
    mine = {it: getattr(result, it, None) for it in names}
    theirs = {it: stored[it] for it in names}
    if not all(same_value(mine[it], theirs[it]) for it in names):
        raise NameTakenError(
            info.persistence_cls.__qualname__,
            path,
            {it: shown(value) for it, value in mine.items()},
            {it: shown(value) for it, value in theirs.items()},
        )


def other_key(info: PersistentClass[Any], result: object, keys: dict[str, Any]) -> str | None:
    """Return the name of the first key in the file name that *result* has with another text than *keys*."""
    for it in info.named_fields:
        name = it.field_name
        if name not in keys or (wanted := keys[name]) is missing:
            continue
        found = getattr(result, name, None)
        if wanted is found:
            continue
        if not has_text(it, found) or text_of(it, wanted) != text_of(it, found):
            return name
    return None
