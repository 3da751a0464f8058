"""What a user writes in a class body: the declarations of key fields, data fields and the auto-increment field."""

from __future__ import annotations

import copy
import inspect
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeVar, overload

from neuralib.persistence._classes.value_texts import composed
from neuralib.persistence._equality import same_value

T = TypeVar("T")

missing = inspect.Parameter.empty
"""Stands for any value: as the value of a key in a template, it makes that key a wildcard."""


def field(
    validator: bool | Callable[[Any, Any], bool] = False,
    filename_prefix: str = "",
    filename: bool | Callable[..., str | None] = False,
    *,
    default: Any = missing,
    default_factory: Callable[[], Any] | None = None,
    init: bool = True,
    renamed_from: str | tuple[str, ...] = (),
    unit: str = "",
    description: str = "",
) -> Any:
    """Declare a key field: an argument of ``__init__`` by which a result is found again.

    :param validator: compare this key of a loaded result with the one asked for: True compares values (arrays and NaN
        too), a function ``(wanted, found) -> bool`` decides itself
    :param filename_prefix: text before the value in the file name
    :param filename: show the key in the file name: True as ``str(value)``, a function ``(value) -> str`` as the text
        that it returns, or not at all where it returns None
    :param default: value where none is given; a list, dict, set or array is copied for each result
    :param default_factory: function without arguments that makes the value where none is given
    :param init: False makes it a data field, which is no argument of ``__init__`` and never part of the name:
        ``field(init=False, default_factory=list)``
    :param renamed_from: the former name of the field, or names, under which older files hold it
    :param unit: the unit of the values, as ``"Hz"``, which files note
    :param description: what the field is, which files note
    :raises TypeError: both *default* and *default_factory* are given, or a data field is to show in the name
    """
    return PersistentField(
        validator,
        filename_prefix,
        filename,
        init=init,
        optional=default is not missing or default_factory is not None,
        default=default,
        default_factory=default_factory,
        renamed_from=renamed_from,
        unit=unit,
        description=description,
    )


if TYPE_CHECKING:
    # For type checkers: saving sets the number, so it is no argument of the __init__ that they work out. Such an
    # implicit init is read from overloads only, of which there must be two.
    @overload
    def autoinc_field(
        filename_prefix: str = "",
        *,
        renamed_from: str | tuple[str, ...] = (),
        description: str = "",
        init: Literal[False] = False,
    ) -> Any: ...
    @overload
    def autoinc_field(filename_prefix: bytes, *, init: Literal[True]) -> NoReturn: ...

    def autoinc_field(
        filename_prefix: Any = "",
        *,
        renamed_from: str | tuple[str, ...] = (),
        description: str = "",
        init: bool = False,
    ) -> Any: ...

else:

    def autoinc_field(
        filename_prefix: str = "", *, renamed_from: str | tuple[str, ...] = (), description: str = ""
    ) -> Any:
        """Declare the auto-increment key, which numbers results of the same keys: repeated random or shuffled runs.

        The annotation must be ``int``, and a class has at most one such field. It is None until the result is saved; saving
        gives it the highest number found plus one, starting at 0.

        :param filename_prefix: text before the number in the file name
        :param renamed_from: the former name of the field, or names, under which older files hold it
        :param description: what the number is, which files note
        """
        return PersistentField(
            validator=True,
            filename_prefix=filename_prefix,
            filename=True,
            init=True,
            autoinc=True,
            renamed_from=renamed_from,
            description=description,
        )


class PersistentField(Generic[T]):
    """One field of a persistence class, as it was declared."""

    def __init__(
        self,
        validator: bool | Callable[[Any, Any], bool] = False,
        filename_prefix: str = "",
        filename: bool | Callable[..., str | None] = False,
        init: bool = True,
        autoinc: bool = False,
        optional: bool = False,
        default: Any = missing,
        default_factory: Callable[[], Any] | None = None,
        renamed_from: str | tuple[str, ...] = (),
        unit: str = "",
        description: str = "",
    ) -> None:
        if default is not missing and default_factory is not None:
            raise TypeError("field(): give default or default_factory, not both")
        if not init and (filename or filename_prefix):
            raise TypeError("field(): a data field (init=False) can't show in the file name, only a key can")
        for name, value in (("validator", validator), ("filename", filename)):
            if not isinstance(value, bool) and not callable(value):
                raise TypeError(f"field(): {name} must be True, False or a function, not {value!r}")
        for name, text in (("filename_prefix", filename_prefix), ("unit", unit), ("description", description)):
            if not isinstance(text, str):
                raise TypeError(f"field(): {name} must be a str, not {text!r}")
        self.field_name = ""
        self.validator = validator
        """Does this field have to agree when a result is loaded, and how is that decided?"""
        self.filename_prefix = filename_prefix
        """The text before the value in the file name."""
        self.filename = filename
        """Does this field show in the file name, and as which text?"""
        self.init = init
        """Is this field a key, and so an argument of ``__init__``?"""
        self.autoinc = autoinc
        """Is this field the auto-increment key?"""
        self.optional = optional
        """Does this field have a default value?"""
        self.default = default
        """The default value, or :data:`missing`."""
        self.default_factory = default_factory
        """The function that makes the default value, or None."""
        self.renamed_from = _names_of(renamed_from)
        """The former names of this field."""
        self.unit = unit
        """The unit of the values, or ''."""
        self.description = description
        """What this field is, or ''."""
        self.owner: type | None = None
        """The class whose field this is."""
        self.portable = False
        """Are characters encoded that some systems refuse in file names?"""
        self._annotation: Any = Any
        self.annotation: Any = Any
        """The annotation as it was written: a str, where annotations are postponed."""
        self._resolve: Callable[[Any], Any] | None = None

    def __set_name__(self, owner: type, name: str) -> None:
        self.field_name = name

    def __repr__(self) -> str:
        kind = "autoinc" if self.autoinc else "key" if self.init else "data"
        return f"<PersistentField {self.field_name} ({kind})>"

    @property
    def field_type(self) -> Any:
        """The annotation; as a type where it can be resolved, as it was written (a str) where it can't be."""
        if self._resolve is not None and isinstance(self._annotation, str):
            # Not before it is asked for: the name may be defined after the class, or never.
            self._annotation = self._resolve(self._annotation)
        return self._annotation

    def annotate(self, annotation: Any, resolve: Callable[[Any], Any] | None = None) -> None:
        """Set the annotation, and how to resolve it where it is text."""
        self._annotation, self._resolve = annotation, resolve
        self.annotation = annotation

    def bound_to(self, name: str) -> PersistentField[T]:
        """Return a copy of this declaration under *name*: one declaration may stand under two names."""
        twin = copy.copy(self)
        twin.field_name = name
        return twin

    @property
    def owner_name(self) -> str:
        """The name of the class whose field this is, for messages."""
        return "" if self.owner is None else self.owner.__qualname__

    @property
    def required(self) -> bool:
        """Whether a stored result must have this field."""
        return self.init and not self.autoinc and not self.optional

    def validate(self, v: Any, u: Any) -> bool:
        """Return whether the value *u* that was found agrees with the value *v* that was asked for."""
        if self.validator is False:
            return True
        if self.validator is True:
            return same_key(v, u)
        return bool(self.validator(v, u))


def unit_of(declared: PersistentField[Any]) -> str:
    """Return the unit of a field: what was declared, or what its annotation says beside the type (``Annotated[float, "Hz"]``)."""
    if declared.unit:
        return declared.unit
    annotation = declared.field_type
    if typing.get_origin(annotation) is typing.Annotated:
        return ", ".join(part for part in typing.get_args(annotation)[1:] if isinstance(part, str))
    return ""


def same_key(a: Any, b: Any) -> bool:
    """Return whether *a* and *b* are one value of a key: equal as data, texts whether their accents are composed or not."""
    if isinstance(a, str) and isinstance(b, str) and not (a.isascii() and b.isascii()):
        return composed(a) == composed(b)
    if same_value(a, b):
        return True
    return type(a) is type(b) and type(a) in _WITH_TEXTS and same_value(_composed_in(a), _composed_in(b))


_WITH_TEXTS = frozenset({tuple, list, set, frozenset, dict})


def _composed_in(value: Any) -> Any:
    """Return *value* with the accents of all texts in it composed."""
    kind = type(value)
    if kind is str:
        return composed(value)
    if kind is dict:
        return {_composed_in(key): _composed_in(part) for key, part in value.items()}
    return kind(map(_composed_in, value)) if kind in _WITH_TEXTS else value


def _names_of(renamed_from: Any) -> tuple[str, ...]:
    names: Any = (renamed_from,) if isinstance(renamed_from, str) else renamed_from
    if not isinstance(names, (tuple, list)) or not all(isinstance(name, str) and name for name in names):
        raise TypeError(f"field(): renamed_from must be a name or a tuple of names, not {renamed_from!r}")
    return tuple(names)
