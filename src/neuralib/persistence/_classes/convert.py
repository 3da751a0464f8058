"""Results to plain dicts and back: what may be missing, and what to do where a class makes its instances itself."""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from neuralib.persistence import _core
from neuralib.persistence._classes.schema import GENERATED, ensure_persistence_class
from neuralib.persistence._equality import same_value
from neuralib.persistence._errors import MissingFieldError, NoInitFitsError, WrongResultClassError

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

as_dict = _core.as_dict


def from_dict(data_cls: type[T], d: Mapping[str, Any]) -> T:
    """Return a result of *data_cls* with the values of *d*.

    Keys need a value in *d* or a default; data fields that *d* lacks stay absent; what *d* has beyond the fields is
    ignored. Where the class has an ``__init__`` of its own that does not take the keys, its classmethod ``from_dict``
    makes the result.

    :raises MissingFieldError: a key without default is not in *d* (a :class:`KeyError`)
    :raises NoInitFitsError: the class's own ``__init__`` does not take the keys, and it has no ``from_dict``
    """
    if hasattr(getattr(data_cls, "__init__", None), GENERATED):
        return _core.new_from_dict(data_cls, d if type(d) is dict else dict(d))  # type: ignore[no-any-return]
    return _from_dict_by_own_init(data_cls, dict(d))


def _from_dict_by_own_init(data_cls: type[T], values: dict[str, Any]) -> T:
    info = ensure_persistence_class(data_cls)
    layout = info.layout
    for name in layout.names:
        if name not in values and name in layout.required:
            raise MissingFieldError(data_cls.__qualname__, name)
    known = {name: values[name] for name in layout.names if name in values}
    keys = {it.field_name: known[it.field_name] for it in info.key_fields() if it.field_name in known}
    # Decided by the signature, so that a TypeError from inside a fitting __init__ is seen.
    if _accepts(data_cls, keys):
        result = data_cls(**keys)
        for name, value in known.items():
            if name not in keys:
                setattr(result, name, value)
        return result
    make = getattr(data_cls, "from_dict", None)
    if make is None:
        raise NoInitFitsError(data_cls.__qualname__, tuple(keys))
    result = make(known)
    if not isinstance(result, data_cls):
        raise WrongResultClassError(
            data_cls.__qualname__,
            type(result).__qualname__,
            f"{data_cls.__qualname__}.from_dict must return a result of it",
        )
    return result


def _accepts(data_cls: type[Any], keys: dict[str, Any]) -> bool:
    try:
        inspect.signature(data_cls).bind(**keys)
    except (TypeError, ValueError):  # the arguments do not fit, or there is no signature to be had
        return False
    return True


def replaced(result: T, changes: dict[str, Any]) -> T:
    """Return a copy of *result* with *changes*. The number of the copy is open again unless *changes* gives one."""
    info = ensure_persistence_class(result)
    values = as_dict(result)
    autoinc = info.layout.autoinc
    if autoinc is not None:
        values[autoinc] = None  # else saving the copy would replace the original
    values.update(changes)
    cls = type(result)
    try:
        return from_dict(cls, values)
    except (MissingFieldError, NoInitFitsError):
        # Keys that are not set, or a class that only it can make: copy what is there.
        twin = copy.copy(result)
        for name, value in values.items():
            if name in changes or name == autoinc:
                setattr(twin, name, value)
        return twin


def results_equal(a: object, b: object, /) -> bool:
    """Return whether two results are of one class and agree in every field, arrays and NaN included.

    A field that is absent in one must be absent in the other. ``==`` of results stays that of the class.

    :raises NotPersistenceClassError: *a* or *b* is no result
    """
    mine, theirs = as_dict(a), as_dict(b)
    return type(a) is type(b) and same_value(mine, theirs)
