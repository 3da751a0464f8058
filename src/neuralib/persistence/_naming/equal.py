"""Which names belong to keys that are equal by value: 1 and 1.0 of a float, accents composed or not, other formats."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from neuralib.persistence._classes.convert import as_dict
from neuralib.persistence._classes.field import missing
from neuralib.persistence._classes.name_texts import AnyText, has_text, text_of
from neuralib.persistence._errors import KeyNotSetError, UnsafeNameError
from neuralib.persistence._naming.names import MOST_READINGS, patterns_of, readings
from neuralib.persistence._naming.typed import texts_matching

if TYPE_CHECKING:
    from neuralib.persistence._classes.field import PersistentField
    from neuralib.persistence._classes.schema import PersistentClass
    from neuralib.persistence._naming.names import Names, Pattern

_MOST_NAMES = 1024  # of equal keys: of more, some are left out


def is_key(declared: PersistentField[Any], wanted: object, found: object) -> bool:
    """Return whether *found* is the value *wanted* of the key *declared* to a name: of the same text, or of an equal one."""
    if not has_text(declared, found):
        return False
    text = text_of(declared, found)
    return text_of(declared, wanted) == text or text in texts_matching(declared, wanted)


def equal_names(
    names: Names, info: PersistentClass[Any], result: Any, overrides: dict[str, Any] | None = None
) -> list[str]:
    """Return further names that a result of these keys may have: those of equal values, and of other formats.

    Of the annotation float, 1 and 1.0 are equal; accents may be composed or not.

    :param overrides: values in place of those of *result*
    """
    given = overrides or {}
    own = names.name(result, given)
    choices = []
    for declared in info.named_fields:
        value = (
            given[declared.field_name] if declared.field_name in given else getattr(result, declared.field_name, None)
        )
        texts = {text_of(declared, value)} if value is missing else texts_matching(declared, value)
        choices.append([(declared.field_name, text) for text in texts])
    found = [own]
    if math.prod(map(len, choices)) > 1:
        equal = (
            names.name(result, {**given, **{name: AnyText.known(text) for name, text in chosen}})
            for chosen in itertools.islice(itertools.product(*choices), _MOST_NAMES)
        )
        found += [name for name in equal if name != own]
    others = [name.removesuffix(names.suffix) + other for other in names.others for name in found]
    return found[1:] + others


def is_name_of(
    names: Names,
    info: PersistentClass[Any],
    name: str,
    keys: dict[str, Any] | None,
    template: Any = None,
    patterns: list[Pattern] | None = None,
) -> bool:
    """Return whether *name* is the name of a result with *keys*, or of one whose keys are equal, in any format.

    :param keys: None for those of *template*
    :param template: a result, for names that need more of it than its keys
    :param patterns: of the class, if they are known
    """
    try:
        if names.name(template, keys) == name:
            return True
    except KeyNotSetError:  # of the oldest files, which may lack keys: nothing speaks against the name
        return True
    except UnsafeNameError:
        return False
    values = as_dict(template) if keys is None else keys
    return any(
        all(
            texts.get(column) in texts_matching(declared, values.get(declared.field_name))
            for column, declared in enumerate(info.named_fields)
        )
        for texts in itertools.islice(readings(name, patterns or patterns_of(names, info, template)), MOST_READINGS)
    )
