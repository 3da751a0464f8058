"""Files of a class under names that are not today's: its names, its keys or its format changed since they were saved."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from neuralib.persistence import _names
from neuralib.persistence._classes.name_texts import START, has_text
from neuralib.persistence._codecs.card import card_of
from neuralib.persistence._errors import PersistenceError
from neuralib.persistence._keeping.identity import is_same_class
from neuralib.persistence._log import is_first, log
from neuralib.persistence._naming.equal import is_name_of
from neuralib.persistence._naming.names import patterns_of
from neuralib.persistence._stores.base import listed

if TYPE_CHECKING:
    from collections.abc import Collection

    from neuralib.persistence._classes.schema import PersistentClass
    from neuralib.persistence._codecs.base import Head
    from neuralib.persistence._codecs.card import Card
    from neuralib.persistence._keeping.keeper import Keeper
    from neuralib.persistence._stores.base import Store

_MOST_LOOKS = 32  # heads of files that are read for the warning
_FEW_LOOKS = 4  # of those that have names as today's


def may_be_former(keeper: Keeper[Any], names: Collection[str]) -> list[str]:
    """Return those of *names* that may be of results of any class, in a format that *keeper* reads, in their order."""
    ends = (keeper.names.suffix, *keeper.names.others)
    begin = patterns_of(keeper.names, keeper.info)[0].literals[0][: len(START)]
    return sorted(name for name in names if name.startswith((START, begin)) and name.endswith(ends))


def is_of_class(info: PersistentClass[Any], name: str, head: Head, class_names: Collection[str] = ()) -> bool:
    """Return whether the file *name* is of the class: by its card, or by its fields where it has none.

    A class in an importable module may have another ``name=`` than the file says.

    :param head: of the file
    :param class_names: former names of the class, as they stand in the names of files
    """
    card = head.card
    if card is None or not card.qualname:
        return _fits_class(info, name, head, class_names)
    mine = card_of(info)
    if card.name != mine.name and (card.name in class_names or _is_defined_as(mine, card)):
        card = card._replace(name=mine.name)
    return is_same_class(mine, card, info.former_names)


def _is_defined_as(mine: Card, theirs: Card) -> bool:
    """Return whether two cards are of one place in the source. A function may make many classes there, each of another name."""
    return (mine.module, mine.qualname) == (theirs.module, theirs.qualname) and "<locals>" not in mine.qualname


def has_class_in_name(info: PersistentClass[Any], name: str, class_names: Collection[str] = ()) -> bool:
    """Return whether *name* begins as the names of the class do, whatever the splitter is."""
    known = "|".join(map(re.escape, {info.cls_name, info.persistence_cls.__name__, *class_names}))
    return re.match(rf"{START}[\W_]{{0,4}}({known})(?![^\W_])", name) is not None


def _fits_class(info: PersistentClass[Any], name: str, head: Head, class_names: Collection[str]) -> bool:
    """Return whether a file without a card has fields that a result of the class may have."""
    if not has_class_in_name(info, name, class_names):
        return False
    cls = info.persistence_cls
    if head.type_name is not None:
        return head.type_name.rpartition(".")[2] == cls.__name__
    there = {info.former_names.get(field, field) for field in head.fields}
    keys = {declared.field_name for declared in info.key_fields()}
    if info.version and hasattr(cls, "upgrade"):  # which may make today's fields of any others
        return not keys.isdisjoint(there)
    required = {declared.field_name for declared in info.key_fields() if declared.required}
    data = set(info.fields_name()) - keys
    return (
        head.complete
        and required <= there <= set(info.fields_name())
        and (not data or not data.isdisjoint(there - keys))
    )


# ---------------------------------------------------------------------------------------------- the warning that there are some


def warn_of_former_names(keeper: Keeper[Any]) -> None:
    """Log a warning where files of the class lie under other names than today's; look once for each class and place.

    To be called where nothing is found. Of many files that may be some, the heads of a few are read.
    """
    if not is_first(keeper.info.persistence_cls, "former names", keeper.store.url):
        return
    names = may_be_former(keeper, listed(keeper.store))
    table = _names.read_names(names, patterns_of(keeper.names, keeper.info), (None,) * len(keeper.info.named_fields))
    readable = sorted(table.all_names())  # also former ones, where a key was removed from the name or moved in it
    known = frozenset(readable)
    others = [name for name in names if name not in known]
    if any(_has_other_name(keeper, name, names) for name in _some(readable, _FEW_LOOKS)):
        others = names
    sample = _some(others, _MOST_LOOKS)
    count = sum(_is_former(keeper, name, names, known) for name in sample)
    if count:
        log.warning(
            "%s%d files in %s hold results of %s under former names, and are therefore not found: handler.migrate() shows "
            "their current names, and handler.migrate(dry_run=False) renames the files",
            "" if len(sample) == len(others) else "about ",
            count if len(sample) == len(others) else round(count * len(others) / len(sample)),
            keeper.store.url,
            keeper.info.persistence_cls.__qualname__,
        )


def _some(names: list[str], most: int) -> list[str]:
    """Return at most so many of *names*, from all parts of the list."""
    return names[:: max(1, -(-len(names) // most))]


def keys_inside(keeper: Keeper[Any], store: Store, name: str) -> dict[str, Any] | None:
    """Return the keys of the name that the file *name* holds; None where they are not plain data.

    :raises NewerVersionError: the file is of a newer version of the class
    """
    named = keeper.info.named_fields
    fields = keeper.records.plain_fields(store, name, [field.field_name for field in named])
    if not all(field.field_name in fields and has_text(field, fields[field.field_name]) for field in named):
        return None
    return {field.field_name: fields[field.field_name] for field in named}


def _has_other_name(keeper: Keeper[Any], name: str, names: Collection[str]) -> bool:
    """Return whether the keys in the file *name* give another name, which none of *names* is: such a file would be a copy."""
    try:
        keys = keys_inside(keeper, keeper.store, name)
        if keys is None or is_name_of(keeper.names, keeper.info, name, keys):
            return False
        return keeper.names.name(None, keys) not in names
    except (PersistenceError, OSError, MemoryError):
        return False


def _is_former(keeper: Keeper[Any], name: str, names: Collection[str], known: Collection[str]) -> bool:
    try:
        return is_of_class(keeper.info, name, keeper.records.about(keeper.store, name)) and (
            name not in known or _has_other_name(keeper, name, names)
        )
    except (PersistenceError, OSError, MemoryError):  # reading it says what is wrong with it
        return False
