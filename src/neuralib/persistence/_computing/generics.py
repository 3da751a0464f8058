"""Which class stands for the type variable of a generic class, in a class that inherits from it."""

from __future__ import annotations

import sys
import typing
from typing import Any, TypeVar, cast


def argument_of(cls: type, generic: type) -> type | None:
    """Return what stands for the type variable of *generic* in *cls*, also through bases that have type variables."""
    for base in getattr(cls, "__orig_bases__", ()) if "__orig_bases__" in cls.__dict__ else ():
        found = _argument_in(base, generic)
        if isinstance(found, typing.ForwardRef):
            found = getattr(sys.modules.get(cls.__module__), found.__forward_arg__, None)
        if isinstance(found, type):
            return found
        if typing.get_origin(found) is not None:
            return cast("type", typing.get_origin(found))  # a generic class of results: Result[int]
    for plain in cls.__bases__:
        inherited = argument_of(plain, generic)
        if inherited is not None:
            return inherited
    return None


def _argument_in(base: Any, generic: type) -> Any:
    """Return what stands for the type variable of *generic* in *base*: a class, another type variable, or None."""
    origin = typing.get_origin(base)
    if origin is None or not issubclass(origin, generic):
        return None
    arguments = typing.get_args(base)
    if origin is generic:
        return arguments[0]
    parameters = getattr(origin, "__parameters__", ())
    for inner in getattr(origin, "__orig_bases__", ()):
        found = _argument_in(inner, generic)
        if isinstance(found, TypeVar) and found in parameters:
            return arguments[parameters.index(found)]
    # A base of a client's own, "class Base(PersistenceOptions, Generic[T])": its one variable is meant.
    return arguments[0] if len(arguments) == 1 else None
