"""Refuse, when a class is made, what can't work: declarations of other libraries, and fields that would not be saved."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

from neuralib.persistence._classes import hints
from neuralib.persistence._classes.field import PersistentField, autoinc_field, field
from neuralib.persistence._errors import FieldDefinitionError

if TYPE_CHECKING:
    from collections.abc import Collection

_FOREIGN_FIELDS = {
    ("dataclasses", "Field"): "dataclasses.field",
    ("attr._make", "_CountingAttr"): "a field of attrs",
    ("pydantic.fields", "FieldInfo"): "a field of pydantic",
    ("pydantic.fields", "ModelPrivateAttr"): "a private attribute of pydantic",
    ("msgspec", "_Field"): "a field of msgspec",
}


def refuse_unfit_class(cls: type) -> None:
    """Refuse a class whose instances have no ``__dict__``, or are made by another library.

    :raises FieldDefinitionError: it says why, and what to do
    """
    kind = _foreign_kind(cls)
    if kind is not None:
        raise FieldDefinitionError(
            cls.__qualname__,
            "",
            f"is {kind}, which makes its fields itself: make it a plain class with annotations and "
            f"neuralib.persistence.field(...), or make {kind} a data field of such a class",
        )
    for base in cls.__mro__:
        if _keeps_content_in_c(base):
            raise FieldDefinitionError(
                cls.__qualname__,
                "",
                f"is a {base.__qualname__}, whose content would not be saved: make it a plain class with a data field for "
                f"the {base.__qualname__}",
            )
    if "__slots__" in cls.__dict__ and "__dict__" not in dir(cls):
        raise FieldDefinitionError(cls.__qualname__, "__slots__", "a result needs a __dict__: leave __slots__ out")
    if getattr(cls, "_is_protocol", False):
        raise FieldDefinitionError(
            cls.__qualname__, "", "is a Protocol, which has no instances: decorate a class that implements it"
        )


_HEAP_TYPE = 1 << 9  # a flag of types that are made at run time, as by a class statement


def _keeps_content_in_c(base: type) -> bool:
    """Return whether instances of *base*, such as dict, ndarray or Exception, have content that is no attribute of theirs."""
    return not base.__flags__ & _HEAP_TYPE and (base.__basicsize__ > object.__basicsize__ or base.__itemsize__ > 0)


_FOREIGN_BASES = {
    ("pydantic.main", "BaseModel"): "a pydantic model",
    ("msgspec", "Struct"): "a msgspec Struct",
    ("enum", "Enum"): "an Enum",
}


def _foreign_kind(cls: type) -> str | None:
    for base in cls.__mro__:
        kind = _FOREIGN_BASES.get((base.__module__, base.__name__))
        if kind is not None:
            return kind
    if type(cls).__name__ == "_TypedDictMeta":
        return "a TypedDict"
    fields: Any = cls.__dict__.get("__dataclass_fields__", {})
    if any(isinstance(part.default, PersistentField) for part in fields.values()):
        return "a dataclass"
    attributes: Any = cls.__dict__.get("__attrs_attrs__", ())
    if any(isinstance(attribute.default, PersistentField) for attribute in attributes):
        return "an attrs class"
    return None


def refuse_foreign_field(cls: type, name: str, annotation: Any, value: Any) -> None:
    """Refuse a field that is declared in the way of another library: it would be taken for data.

    :raises FieldDefinitionError: it says which library, and what to do
    """
    kind = _FOREIGN_FIELDS.get((type(value).__module__, type(value).__name__))
    if kind is not None:
        raise FieldDefinitionError(
            cls.__qualname__,
            name,
            f"is declared with {kind}: use neuralib.persistence.field(...), with init=False for a data field",
        )
    dataclasses = sys.modules.get("dataclasses")
    if dataclasses is None or annotation is None:
        return
    mark = hints.named(cls, annotation)
    if mark is dataclasses.KW_ONLY or mark is dataclasses.InitVar or isinstance(mark, dataclasses.InitVar):
        raise FieldDefinitionError(
            cls.__qualname__,
            name,
            "is annotated with a mark that only dataclasses know (InitVar, KW_ONLY): leave it out",
        )


def refuse_lost_field(cls: type, name: str, annotation: Any, value: Any) -> None:
    """Refuse ``field`` where it declares nothing: without parentheses, or inside the annotation.

    :raises FieldDefinitionError: it says how to write it
    """
    if value is field or value is autoinc_field:
        raise FieldDefinitionError(
            cls.__qualname__, name, f"write '{name}: <type> = {value.__name__}()', with parentheses"
        )
    if isinstance(annotation, str) and "Annotated" in annotation:
        annotation = hints.resolver(cls)(annotation)
    if any(isinstance(part, PersistentField) for part in getattr(annotation, "__metadata__", ())):
        raise FieldDefinitionError(
            cls.__qualname__,
            name,
            f"has field(...) in its annotation, where it is not seen: write '{name}: <type> = field(...)'",
        )


def refuse_unfit_init(cls: type, keys: Collection[str]) -> None:
    """Refuse a dataclass or attrs class whose ``__init__`` needs more than the *keys*: its results could not be loaded.

    :raises FieldDefinitionError: it says what to do
    """
    if hasattr(cls, "from_dict") or not {"__dataclass_fields__", "__attrs_attrs__"} & cls.__dict__.keys():
        return
    try:
        inspect.signature(cls).bind(**dict.fromkeys(keys))
    except TypeError as error:
        raise FieldDefinitionError(
            cls.__qualname__,
            "",
            f"its __init__ does not accept its keys alone ({error}), so that results could not be loaded: give the other "
            f"fields defaults, or make it a plain class with neuralib.persistence.field(...)",
        ) from error


def refuse_inherited_init(cls: type) -> None:
    """Refuse a class that inherits the ``__init__`` of a dataclass or an attrs class, which takes no keys.

    :raises FieldDefinitionError: it says what to do
    """
    for base in cls.__mro__[1:]:
        if base.__dict__.get("__init__") is not getattr(cls, "__init__"):  # noqa: B009 - of a type, for checkers
            continue
        kind = "a dataclass" if "__dataclass_fields__" in base.__dict__ else "an attrs class"
        if "__dataclass_fields__" in base.__dict__ or "__attrs_attrs__" in base.__dict__:
            raise FieldDefinitionError(
                cls.__qualname__,
                "",
                f"its base {base.__qualname__} is {kind}, whose __init__ takes no keys and whose fields are not saved: "
                f"make the base a persistence class, or write an __init__ that takes the keys",
            )


def refuse_post_init(cls: type) -> None:
    """Refuse a ``__post_init__`` beside a generated ``__init__``, which would not call it.

    :raises FieldDefinitionError: it says what to do
    """
    if hasattr(cls, "__post_init__"):
        raise FieldDefinitionError(
            cls.__qualname__,
            "__post_init__",
            "would not be called, as this is no dataclass, and loading a result calls no __init__: "
            "write a property for what follows from the fields, or an __init__ of your own with a classmethod from_dict",
        )
