"""Convert results to plain dicts and back."""

from __future__ import annotations

import copy
import inspect
from typing import Any, TypeVar

from neuralib.persistence import _core
from neuralib.persistence._classes.schema import ensure_persistence_class
from neuralib.persistence._classes.unknown import keep_same
from neuralib.persistence._equality import same_value
from neuralib.persistence._errors import MissingFieldError, NoInitFitsError, WrongResultClassError

T = TypeVar("T")

as_dict, from_dict = _core.as_dict, _core.from_dict


def made_by_init(data_cls: type[T], values: dict[str, Any]) -> T:
    """Return the same as :func:`from_dict` for a class with an ``__init__`` of its own, which must be called."""
    info = ensure_persistence_class(data_cls)
    layout = info.layout
    for name in layout.names:
        if name not in values and name in layout.required:
            raise MissingFieldError(data_cls.__qualname__, name)
    known = {name: values[name] for name in layout.names if name in values}
    keys = {
        declared.field_name: known[declared.field_name]
        for declared in info.key_fields()
        if declared.field_name in known
    }
    # The signature decides, not a TypeError: an __init__ that fits may raise one itself, which has to be seen.
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
    except (TypeError, ValueError):  # the arguments do not fit, or the signature is unknown
        return False
    return True


def replaced(result: T, changes: dict[str, Any]) -> T:
    """Return a copy of *result* with *changes*. The copy has no number unless *changes* gives one."""
    info = ensure_persistence_class(result)
    values = as_dict(result)
    autoinc = info.layout.autoinc
    if autoinc is not None:
        values[autoinc] = None  # else saving the copy would replace the original
    values.update(changes)
    cls = type(result)
    try:
        twin = from_dict(cls, values)
        keep_same(twin, result)
        return twin
    except (MissingFieldError, NoInitFitsError):
        # A key is not set, or the class makes its instances itself: copy the object.
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
