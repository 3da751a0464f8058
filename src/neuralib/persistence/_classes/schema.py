"""The reading of a class body and its bases: which fields a persistence class has, and of which kind."""

from __future__ import annotations

import copy
import inspect
import keyword
import typing
from typing import Any, Generic, TypeVar, overload

from neuralib.persistence import _core
from neuralib.persistence._classes import checks, hints
from neuralib.persistence._classes.field import PersistentField, missing
from neuralib.persistence._classes.name_texts import AnyText, problem_of_whole, refuse_fixed_text, text_of
from neuralib.persistence._errors import (
    DataNotSetError,
    FieldDefinitionError,
    KeyMismatchError,
    NotPersistenceClassError,
    UnsafeNameError,
)
from neuralib.persistence._messages import shown

if typing.TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

INFO = "_ast_persistence_cls_info_"
LAYOUT = "_persistence_layout_"
GENERATED = "_persistence_generated_"


def _sent(cls: type[Any]) -> PersistentClass[Any]:
    """Return the :class:`PersistentClass` of *cls*, which came from another process; an empty one if *cls* is new here."""
    found = cls.__dict__.get(INFO)
    return found if isinstance(found, PersistentClass) else PersistentClass.__new__(PersistentClass)


class PersistentClass(Generic[T]):
    """The fields of a persistence class, in order, and its options.

    :param persistence_cls: the decorated class
    :param persistence_name: the class's part of the file name; the class's own name by default
    :param filename_field_splitter: the text between the parts of the file name
    :param portable: encode what some systems refuse in file names; None: as the base class, or False
    :param strict: refuse undeclared attributes and incomplete data; None: as the base class, or False
    :param version: the version of the fields; None: as the base class, or 0
    """

    def __init__(
        self,
        persistence_cls: type[T],
        persistence_name: str | None = None,
        filename_field_splitter: str = "-",
        portable: bool | None = None,
        strict: bool | None = None,
        version: int | None = None,
    ) -> None:
        self.persistence_cls = persistence_cls
        self.cls_name = persistence_cls.__name__ if persistence_name is None else persistence_name
        self.filename_field_splitter = filename_field_splitter
        self._fields: tuple[PersistentField[Any], ...] = ()
        self._own_fields: tuple[PersistentField[Any], ...] = ()
        self._layout: _core.Layout | None = None
        self.named_fields: tuple[PersistentField[Any], ...] = ()
        """The key fields that show in the file name."""
        self.former_names: dict[str, str] = {}
        """Today's name of each field that was renamed, by its former names."""
        base: PersistentClass[Any] | None = getattr(persistence_cls, INFO, None)
        self.portable: bool = (base is not None and base.portable) if portable is None else portable
        """Whether characters are encoded that some systems refuse in file names."""
        self.strict: bool = (base is not None and base.strict) if strict is None else strict
        """Whether undeclared attributes and incomplete data are refused."""
        self.version: int = (0 if base is None else base.version) if version is None else version
        """The version of the fields; files of older versions go through the classmethod ``upgrade``."""
        _check_options(self)
        for what, text in (("name=", self.cls_name), ("filename_field_splitter=", filename_field_splitter)):
            refuse_fixed_text(persistence_cls, what, text, portable=self.portable)

    def __reduce__(self) -> tuple[Any, ...]:
        # Engines of clusters send a notebook's class with every task. This object must stay the one that was made when the
        # class came first, since handlers recognise their results by it.
        return _sent, (self.persistence_cls,), vars(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        if not hasattr(self, "persistence_cls"):
            vars(self).update(state)

    def __repr__(self) -> str:
        return f"<PersistentClass {self.cls_name}: {', '.join(self.fields_name())}>"

    @property
    def fields(self) -> list[PersistentField[Any]]:
        """All fields, those of bases first, in the order of their declaration."""
        return list(self._fields)

    @property
    def layout(self) -> _core.Layout:
        """The fields, in the form that the compiled core works with."""
        assert self._layout is not None, "the class is not completely decorated yet"
        return self._layout

    def fields_name(self) -> list[str]:
        """Return the names of all fields."""
        return [declared.field_name for declared in self._fields]

    def key_fields(self) -> list[PersistentField[Any]]:
        """Return the key fields."""
        return [declared for declared in self._fields if declared.init]

    def get_field(self, name: str) -> PersistentField[Any] | None:
        """Return the field called *name*, or None."""
        return next((declared for declared in self._fields if declared.field_name == name), None)

    def autoinc_field(self) -> PersistentField[int] | None:
        """Return the auto-increment field, or None."""
        return next((declared for declared in self._fields if declared.autoinc), None)

    def is_autoinc_field_resolved(self, result: T | None, /, **kwargs: object) -> bool:
        """Return whether *result*, or *kwargs*, has a number; True for a class without auto-increment field."""
        return _core.is_numbered(self.layout, result, kwargs)

    def validate(self, v: T, u: T | dict[str, Any]) -> bool:
        """Return True where every validated key of *u*, a result or its values, agrees with *v*, the reference.

        :raises KeyMismatchError: one does not (a :class:`FileNotFoundError`)
        """
        values = u if isinstance(u, dict) else None
        for declared in self._fields:
            if declared.validator is False:
                continue
            name = declared.field_name
            wanted = getattr(v, name, None)
            found = getattr(u, name, None) if values is None else values.get(name)
            if wanted is missing:
                continue  # a wildcard agrees with anything
            if not declared.validate(wanted, found):
                raise KeyMismatchError(self.persistence_cls.__qualname__, name, shown(wanted), shown(found))
        return True

    def filename(self, data: T | None, /, **kwargs: object) -> str:
        """Return the file name, without suffix, for the keys of *data* replaced by *kwargs*.

        A number that is still open shows as ``None``, a wildcard as ``*``.

        :raises KeyNotSetError: a key of the name has no value
        :raises UnknownFieldError: *kwargs* names no field
        :raises UnsafeNameError: a value can't be part of a file name
        """
        name = _core.format_name(self.layout, data, kwargs)
        if not _core.is_plain_name(name):
            self.check_name(name, data, kwargs)
        return name

    def refuse_unsaved(self, result: T) -> None:
        """Raise an error if *result* is of a strict class and lacks data without a default.

        :raises DataNotSetError: it names the fields
        """
        if self.strict:
            absent = tuple(
                declared.field_name
                for declared in self._fields
                if not declared.init and not declared.optional and not hasattr(result, declared.field_name)
            )
            if absent:
                raise DataNotSetError(self.persistence_cls.__qualname__, absent)

    def check_name(self, name: str, data: T | None, overrides: dict[str, Any]) -> None:
        """Raise an error if *name*, made of the keys of *data* and *overrides*, can't be a file name.

        :raises UnsafeNameError: it names the key whose text is the cause; of a name that is too long, the key of the longest
        """
        problem = problem_of_whole(name)
        if problem is None:
            return
        keys = {declared.field_name: declared for declared in self.named_fields}
        values = {key: overrides.get(key, getattr(data, key, missing)) for key in keys}
        texts = {
            key: "" if isinstance(value, AnyText) else text_of(keys[key], value) or "" for key, value in values.items()
        }
        # The "*" of a wildcard stands in no file name, and is never the cause.
        problems = {key: problem_of_whole(text) for key, text in texts.items() if values[key] is not missing}
        causes = [key for key, found in problems.items() if found is not None]
        if not causes and any(value is missing for value in values.values()):
            problem = problem_of_whole(name.replace("*", "_"))
            if problem is None:
                return
        same = [key for key in causes if problems[key] == problem] or causes
        cause = same[-1] if same else max(texts, key=lambda key: len(texts[key]), default="")
        raise UnsafeNameError(self.persistence_cls.__qualname__, cause, shown(values.get(cause, name)), problem)


@overload
def ensure_persistence_class(data: type[T]) -> PersistentClass[T]: ...
@overload
def ensure_persistence_class(data: T) -> PersistentClass[T]: ...
def ensure_persistence_class(data: Any) -> PersistentClass[Any]:
    """Return the fields and options of the persistence class *data*, or of the class of the result *data*.

    :raises NotPersistenceClassError: it is not decorated with ``@persistence_class`` (a :class:`RuntimeError`)
    """
    cls: Any = data if isinstance(data, type) else typing.get_origin(data) or type(data)
    info: PersistentClass[Any] | None = getattr(cls, INFO, None)
    if info is None:
        raise NotPersistenceClassError(cls.__qualname__)
    return info


def read_class(info: PersistentClass[T]) -> None:
    """Read the annotations of the class and its persistence bases into *info*, and take its declarations off the class.

    :raises FieldDefinitionError: the class is declared in a way that can't work
    """
    cls = info.persistence_cls
    found: dict[str, PersistentField[Any]] = {}
    for base in reversed(cls.__mro__[1:]):
        base_info = base.__dict__.get(INFO)
        if isinstance(base_info, PersistentClass):
            found.update(
                (declared.field_name, declared.bound_to(declared.field_name)) for declared in base_info._own_fields
            )
        else:
            _refuse_lost_declarations(cls, base)
    own = _own_fields(cls)
    found.update(own)
    for declared in found.values():
        declared.owner, declared.portable = cls, info.portable
        what = f"{declared.field_name}: filename_prefix="
        refuse_fixed_text(cls, what, declared.filename_prefix, portable=info.portable)
    info._own_fields = tuple(own.values())
    info._fields = tuple(found.values())
    info.named_fields = tuple(declared for declared in info._fields if declared.filename)
    info.former_names = _former_names(cls, info._fields)
    _refuse_second_autoinc(cls, info)
    for declared in own.values():
        _set_class_default(cls, declared)


def _check_options(info: PersistentClass[Any]) -> None:
    cls = info.persistence_cls
    for option in ("portable", "strict"):
        if not isinstance(getattr(info, option), bool):
            raise FieldDefinitionError(cls.__qualname__, "", f"{option}= must be True or False")
    version: Any = info.version
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise FieldDefinitionError(cls.__qualname__, "", f"version= must be an int from 0 on, not {shown(version)}")
    upgrade = inspect.getattr_static(cls, "upgrade", None)
    if version and upgrade is not None and not isinstance(upgrade, (classmethod, staticmethod)):
        raise FieldDefinitionError(
            cls.__qualname__,
            "upgrade",
            "must be a classmethod, as there is no result yet: write '@classmethod def upgrade(cls, fields, version)'",
        )


def _former_names(cls: type, fields: tuple[PersistentField[Any], ...]) -> dict[str, str]:
    names = {declared.field_name for declared in fields}
    found: dict[str, str] = {}
    for declared in fields:
        for former in declared.renamed_from:
            taken = former if former in names else found.get(former)
            if taken is not None:
                raise FieldDefinitionError(
                    cls.__qualname__,
                    declared.field_name,
                    f"renamed_from={former!r} is the name, or a former name, of the field {taken}: "
                    f"each name can stand for one field only",
                )
            found[former] = declared.field_name
    return found


def _own_fields(cls: type) -> dict[str, PersistentField[Any]]:
    resolve = hints.resolver(cls)
    fields: dict[str, PersistentField[Any]] = {}
    for name, annotation in hints.annotations_of(cls).items():
        value = cls.__dict__.get(name, missing)
        if hints.is_class_var(cls, annotation) and not isinstance(value, PersistentField):
            continue
        if not name.isidentifier() or keyword.iskeyword(name):
            raise FieldDefinitionError(cls.__qualname__, name, "can't be the name of an attribute")
        checks.refuse_foreign_field(cls, name, annotation, value)
        checks.refuse_lost_field(cls, name, annotation, value)
        declared = (
            value.bound_to(name)
            if isinstance(value, PersistentField)
            else PersistentField(init=False, optional=value is not missing, default=value)
        )
        declared.field_name = name
        declared.annotate(annotation, resolve)
        if declared.autoinc:
            _refuse_wrong_autoinc_type(cls, declared)
        fields[name] = declared
    for name, value in cls.__dict__.items():
        if name in fields:
            continue
        if isinstance(value, PersistentField):
            raise FieldDefinitionError(
                cls.__qualname__, name, f"has no annotation: write '{name}: <type> = field(...)'"
            )
        checks.refuse_foreign_field(cls, name, None, value)
    return fields


def _refuse_wrong_autoinc_type(cls: type, declared: PersistentField[Any]) -> None:
    kind = declared.field_type
    if kind is not int and kind != "int":
        text = kind if isinstance(kind, str) else getattr(kind, "__name__", repr(kind))
        raise FieldDefinitionError(
            cls.__qualname__, declared.field_name, f"an auto-increment field must be annotated int, not {text}"
        )


def _refuse_second_autoinc(cls: type, info: PersistentClass[Any]) -> None:
    numbered = [declared.field_name for declared in info.fields if declared.autoinc]
    if len(numbered) > 1:
        raise FieldDefinitionError(
            cls.__qualname__,
            numbered[1],
            f"a class can have one auto-increment field, and {numbered[0]} is one already: keep one of them",
        )


def _refuse_lost_declarations(cls: type, base: type) -> None:
    for name, value in base.__dict__.items():
        if isinstance(value, PersistentField):
            raise FieldDefinitionError(
                cls.__qualname__,
                name,
                f"is declared in {base.__qualname__}, which is no persistence class: decorate it with @persistence_class",
            )


def _set_class_default(cls: type, declared: PersistentField[Any]) -> None:
    """Leave only the default on the class, which instances without the attribute then show."""
    name = declared.field_name
    if isinstance(cls.__dict__.get(name), PersistentField):
        delattr(cls, name)
    if declared.init or not declared.optional:
        return
    make = default_maker(declared)
    if make is None:
        setattr(cls, name, declared.default)
    else:
        default = _OwnDefault(name, declared.default, make)
        setattr(cls, name, default)


def default_maker(declared: PersistentField[Any]) -> Callable[[], Any] | None:
    """Return a function that makes the field's default anew, or None if all results can share one value."""
    if declared.default_factory is not None:
        return declared.default_factory
    if declared.default is not missing and type(declared.default).__hash__ is None:
        return lambda: copy.deepcopy(declared.default)  # a list, dict, set or array: results must not share it
    return None


class _OwnDefault:
    """A data field's default that each result gets anew, when it is first looked at."""

    def __init__(self, name: str, default: object, make: Callable[[], object]) -> None:
        self.name, self.default, self.make = name, default, make

    def __get__(self, result: object | None, owner: type) -> object:
        if result is None:
            if self.default is missing:
                raise AttributeError(f"type object {owner.__name__!r} has no attribute {self.name!r}")
            return self.default
        # In one step, so that threads which look at the same moment get the same value.
        return result.__dict__.setdefault(self.name, self.make())
