"""Whether two results are the same one: of the same class, and with the same keys in the file name.

A name alone does not tell: keys that contain the splitter can give the same name, and two notebooks can each have a class
``Result``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuralib.persistence._classes.field import missing, same_key
from neuralib.persistence._errors import NameTakenError, OtherClassError
from neuralib.persistence._messages import shown
from neuralib.persistence._naming.equal import is_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from neuralib.persistence._classes.schema import PersistentClass
    from neuralib.persistence._codecs.card import Card


def refuse_taken(info: PersistentClass[Any], result: object, stored: dict[str, Any] | None, path: str) -> None:
    """Raise an error where the file at *path*, with the fields *stored*, is of other keys in the name than *result*.

    :param stored: None where they can't be told
    :raises NameTakenError: with the keys of both
    """
    if stored is None:
        raise NameTakenError(info.persistence_cls.__qualname__, path, {}, {})
    names = [field.field_name for field in info.named_fields if field.field_name in stored]
    mine = {name: getattr(result, name, None) for name in names}
    theirs = {name: stored[name] for name in names}
    if not all(same_key(mine[name], theirs[name]) for name in names):
        raise NameTakenError(
            info.persistence_cls.__qualname__,
            path,
            {name: shown(value) for name, value in mine.items()},
            {name: shown(value) for name, value in theirs.items()},
        )


_ONE_TEXT = frozenset({str, int, bool})  # types whose equal values have one text; 0.0 and -0.0 have two


def keys_in_name(info: PersistentClass[Any], result: object) -> dict[str, Any]:
    """Return the keys of *result* that are part of file names; None for those that are not set."""
    return {field.field_name: getattr(result, field.field_name, None) for field in info.named_fields}


def other_key(info: PersistentClass[Any], result: object, keys: dict[str, Any]) -> str | None:
    """Return the name of the first key in the file name that *result* has with another value than *keys*.

    Values of one text are one value, and so are equal ones: see :func:`is_key`.
    """
    for field in info.named_fields:
        name = field.field_name
        if name not in keys or (wanted := keys[name]) is missing:
            continue
        found = getattr(result, name, None)
        if wanted is found or (type(wanted) is type(found) and type(found) in _ONE_TEXT and wanted == found):
            continue
        if not is_key(field, wanted, found):
            return name
    return None


def is_same_class(mine: Card, theirs: Card, former: Mapping[str, str] | None = None) -> bool:
    """Return whether two cards are of one class, which may have changed in between.

    - In one importable module, a qualified name means one class, whatever its fields are: it changed.
    - ``__main__`` is any script or notebook, and classes are renamed and moved between modules. There, the part of the file
      name that stands for the class must be the same, the keys in the file name of one class must be among those of the
      other, and at least one data field must be in both, unless one class has none.

    :param former: former names of fields of *mine*, each with the name of today
    """
    if mine.name != theirs.name:
        return False
    if (mine.module, mine.qualname) == (theirs.module, theirs.qualname) and mine.module != "__main__":
        return True
    today = former or {}
    my_keys = {name for name, _ in mine.keys}
    their_keys = {today.get(name, name) for name, _ in theirs.keys}
    if not (my_keys <= their_keys or their_keys <= my_keys):
        return False
    my_data = set(mine.fields) - set(mine.key_names)
    their_data = {today.get(name, name) for name in theirs.fields if name not in theirs.key_names}
    return not my_data or not their_data or not my_data.isdisjoint(their_data)


def refuse_other_class(mine: Card, theirs: Card | None, path: str, former: Mapping[str, str] | None = None) -> None:
    """Raise an error where the file at *path* has the card *theirs*, which is of another class.

    A codec that is used alone writes a card of no class, against which nothing speaks.

    :raises OtherClassError: with the fields of both
    """
    if theirs is not None and theirs is not mine and theirs.qualname and not is_same_class(mine, theirs, former):
        raise OtherClassError(mine.class_name, path, theirs.class_name, tuple(mine.fields), tuple(theirs.fields))
