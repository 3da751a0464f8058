"""What ``compute_cache`` returned, checked before it is saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from neuralib.persistence._classes.losses import check_before_saving
from neuralib.persistence._classes.schema import INFO, ensure_persistence_class
from neuralib.persistence._classes.unknown import forget
from neuralib.persistence._errors import NothingComputedError
from neuralib.persistence._keeping.identity import keys_in_name, other_key
from neuralib.persistence._log import log
from neuralib.persistence._messages import shown

if TYPE_CHECKING:
    from pathlib import Path

    from neuralib.persistence._classes.schema import PersistentClass
    from neuralib.persistence._handlers.base import PersistenceHandler

T = TypeVar("T")


class Computing(Protocol[T]):
    """The methods of the options that computing uses."""

    def persistence_handler(self, dest: Path | None = None) -> PersistenceHandler[T]: ...
    def compute_cache(self, result: T) -> T: ...
    def validate_cache(self, result_path: Path, result: T) -> bool: ...


def computed(options: Computing[T], template: T) -> T:
    """Return the result that *options* compute for *template*. Warn if it has other keys than *template* had.

    :raises TypeError: ``compute_cache`` did not return a result
    :raises UndeclaredAttributeError: the result has no data, and an attribute with nearly the name of a data field
    :raises NothingComputedError: the result has none of its data
    """
    # No data: it may be a property that can't be asked before it is computed.
    wanted = keys_in_name(ensure_persistence_class(template), template)
    result = options.compute_cache(template)
    owner = type(options).__qualname__
    if getattr(type(result), INFO, None) is None:
        raise TypeError(f"{owner}.compute_cache returned {shown(result)}: it must return the result")
    info = ensure_persistence_class(result)
    if has_no_data(info, result):
        check_before_saving(result, info)  # which says more where a field is misspelt
        fields = tuple(declared.field_name for declared in info.fields if not declared.init)
        raise NothingComputedError(info.persistence_cls.__qualname__, fields, owner)
    key = _other_key(info, result, wanted)
    if key is not None:
        log.warning(
            "%s.compute_cache returned a result with %s=%s, not %s: it is saved under its own keys, so the keys that were asked "
            "for are computed again each time; compute_cache must not change keys",
            owner,
            key,
            shown(getattr(result, key, None)),
            shown(wanted[key]),
        )
    forget(result)  # where the template was loaded: what is computed replaces all that was there
    return result


def refuse_other_keys(options: object, info: PersistentClass[Any], result: Any, wanted: dict[str, Any]) -> None:
    """Raise an error where *result*, which could not be saved since there is one of its keys, has other keys than *wanted*.

    :raises ValueError: it has
    """
    key = _other_key(info, result, wanted)
    if key is not None:
        raise ValueError(
            f"{type(options).__qualname__}.compute_cache returned a result with {key}={shown(getattr(result, key, None))} in "
            f"place of {shown(wanted[key])}, of which there is one already: it must keep the keys; nothing was saved"
        )


def _other_key(info: PersistentClass[Any], result: object, wanted: dict[str, Any]) -> str | None:
    """Return the name of the first key that *result* has with another value than *wanted*; its number is its own."""
    autoinc = info.layout.autoinc
    return other_key(info, result, {name: value for name, value in wanted.items() if name != autoinc})


def has_no_data(info: PersistentClass[Any], result: object) -> bool:
    """Return whether *result* lacks all data that has no default, and has nothing but defaults as its other data."""
    data = [declared for declared in info.fields if not declared.init]
    without_default = [declared.field_name for declared in data if not declared.optional]
    if not without_default or any(hasattr(result, name) for name in without_default):
        return False
    attributes = getattr(result, "__dict__", {})
    return not any(declared.field_name in attributes for declared in data)
