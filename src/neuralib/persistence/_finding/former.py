"""Files of a class under names that are not today's: its names, its keys or its format changed since they were saved."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from neuralib.persistence import _names
from neuralib.persistence._classes.name_texts import START
from neuralib.persistence._codecs.card import card_of
from neuralib.persistence._errors import PersistenceError
from neuralib.persistence._keeping.identity import is_same_class
from neuralib.persistence._log import is_first, log
from neuralib.persistence._naming.names import patterns_of
from neuralib.persistence._stores.base import listed

if TYPE_CHECKING:
    from collections.abc import Collection

    from neuralib.persistence._classes.schema import PersistentClass
    from neuralib.persistence._codecs.base import Head
    from neuralib.persistence._codecs.card import Card
    from neuralib.persistence._keeping.keeper import Keeper

_MOST_LOOKS = 32  # heads of files that are read to tell that there are some


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


# ---------------------------------------------------------------------------------------------- telling that there are some


def tell_of_former_names(keeper: Keeper[Any]) -> None:
    """Log a warning where files of the class lie under other names than today's; look once for each class and place.

    To be called where nothing is found. Of many files that may be some, the heads of a few are read.
    """
    if not is_first(keeper.info.persistence_cls, "former names", keeper.store.url):
        return
    names = may_be_former(keeper, listed(keeper.store))
    known = _names.read_names(names, patterns_of(keeper.names, keeper.info), (None,) * len(keeper.info.named_fields))
    others = sorted(set(names).difference(known.names))
    sample = others[:: max(1, -(-len(others) // _MOST_LOOKS))]
    count = sum(_is_former(keeper, name) for name in sample)
    if count:
        log.warning(
            "%s%d files in %s hold results of %s under former names, and are therefore not found: handler.migrate() shows "
            "their current names, and handler.migrate(dry_run=False) renames the files",
            "" if len(sample) == len(others) else "about ",
            count if len(sample) == len(others) else round(count * len(others) / len(sample)),
            keeper.store.url,
            keeper.info.persistence_cls.__qualname__,
        )


def _is_former(keeper: Keeper[Any], name: str) -> bool:
    try:
        return is_of_class(keeper.info, name, keeper.records.about(keeper.store, name))
    except (PersistenceError, OSError, MemoryError):  # what is wrong with it is told by who reads it
        return False
