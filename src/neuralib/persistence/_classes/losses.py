"""Warn of, or refuse, what saving a result would lose."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from neuralib.persistence._classes import hints
from neuralib.persistence._classes.field import PersistentField, missing
from neuralib.persistence._errors import FieldDefinitionError, UndeclaredAttributeError, WildcardKeyError
from neuralib.persistence._log import is_first, log

if TYPE_CHECKING:
    from collections.abc import Collection

    from neuralib.persistence._classes.schema import PersistentClass


_MIN_LIKENESS = 0.8  # of a name and its misspelling
_MIN_WORD_LENGTH = 4  # characters of a word that may be misspelt
_checked: weakref.WeakSet[type] = weakref.WeakSet()


def check_before_saving(result: object, info: PersistentClass[Any]) -> None:
    """Raise an error or log a warning if saving *result* would lose an attribute.

    Only needed where the attributes of *result* are not exactly the declared ones.

    :raises WildcardKeyError: a key is ``missing``
    :raises FieldDefinitionError: its class declares fields of its own, and is not decorated
    :raises UndeclaredAttributeError: an attribute that is not declared has nearly the name of a field that is not set
    """
    refuse_wildcards(result, info)
    _refuse_undecorated(type(result), info)
    _check_undeclared(result, info)


def refuse_wildcards(result: object, info: PersistentClass[Any]) -> None:
    """Refuse to save a template: a result with a key that is ``missing``.

    :raises WildcardKeyError: it names the key
    """
    for declared in info.key_fields():
        if getattr(result, declared.field_name, None) is missing:
            raise WildcardKeyError(info.persistence_cls.__qualname__, declared.field_name)


def _refuse_undecorated(cls: type, info: PersistentClass[Any]) -> None:
    """Refuse a subclass that declares fields and is not decorated."""
    owner = info.persistence_cls
    if cls is owner or cls in _checked:
        return
    known = set(info.fields_name())
    for base in cls.__mro__:
        if base is owner or not issubclass(base, owner):
            continue
        declared = [
            name
            for name, annotation in hints.annotations_of(base).items()
            if name not in known and not name.startswith("_") and not hints.is_class_var(base, annotation)
        ]
        declared += [name for name, value in base.__dict__.items() if isinstance(value, PersistentField)]
        if declared:
            raise FieldDefinitionError(
                base.__qualname__,
                declared[0],
                f"would not be saved, as {base.__qualname__} is not decorated: "
                f"decorate it with @persistence_class as its base {owner.__qualname__} is",
            )
    _checked.add(cls)


def _check_undeclared(result: object, info: PersistentClass[Any]) -> None:
    attributes: dict[str, Any] = getattr(result, "__dict__", {})
    known = set(info.fields_name())
    extra = [name for name in list(attributes) if name not in known and not name.startswith("_")]
    if not extra:
        return
    cls = type(result)
    absent = [name for name in info.fields_name() if not hasattr(result, name)]
    for name in extra:
        if hasattr(getattr(cls, name, None), "__get__"):  # a cached property, or a method that was replaced
            continue
        meant = close_name(name, absent)
        if meant is not None:
            raise UndeclaredAttributeError(info.persistence_cls.__qualname__, name, meant)
        if is_first(cls, "undeclared", name):
            log.warning(
                "%s.%s is not declared and not saved: declare it to save it; if it is for the memory alone, "
                "begin its name with an underscore",
                cls.__qualname__,
                name,
            )


def close_name(name: str, candidates: Collection[str]) -> str | None:
    """Return the one of *candidates* that *name* probably misspells, or None."""
    likely = [(_likeness(name, candidate), candidate) for candidate in candidates]
    best, found = max(likely, default=(0.0, ""))
    return found if best >= _MIN_LIKENESS else None


def _likeness(name: str, candidate: str) -> float:
    """Return how alike two names are, from 0 to 1: by their least alike words; 0 if they differ only in digits."""
    if _without_digits(name) == _without_digits(candidate):
        return 0.0
    words, others = name.lower().split("_"), candidate.lower().split("_")
    if len(words) != len(others):
        return _word_likeness("".join(words), "".join(others))
    return min(_word_likeness(word, other) for word, other in zip(words, others, strict=True))


def _word_likeness(word: str, other: str) -> float:
    if word == other:
        return 1.0
    if min(len(word), len(other)) < _MIN_WORD_LENGTH:  # one letter more or less makes another word
        return 0.0
    if sorted(word) == sorted(other):
        return 1.0
    import difflib  # only where a name is asked about

    ratio = difflib.SequenceMatcher(None, word, other).ratio()
    return ratio if len(word) == len(other) or ratio > _MIN_LIKENESS else 0.0


def _without_digits(name: str) -> str:
    return "".join(character for character in name if not character.isdigit())
