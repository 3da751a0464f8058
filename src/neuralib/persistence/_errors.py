"""The errors of this library.

The attributes and the message of an error name the class, the field and the file it is about. The message also says
what to do. Every error is also a subclass of a builtin error, so ``except`` clauses for builtin errors catch it. Every
error can be pickled, so a worker process can send it to its parent.
"""

from __future__ import annotations

import collections
import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_SHOWN = 120


def shown(value: object) -> str:
    """Return a short ``repr`` of *value* for a message, or the name of its type if ``repr`` fails."""
    try:
        if not is_brief(value):
            return f"<{type(value).__name__} of many values>"
        text = repr(value)
    except Exception:  # building an error message must not raise another error
        return f"<{type(value).__name__}>"
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


def is_brief(value: object, max_values: int = 1000) -> bool:
    """Return whether *value*, counted together with all values nested in it, has at most *max_values* values.

    A list in a file can contain the same list many times, which can contain another list many times, and so on. The
    ``repr`` of such a value would be too long to compute.
    """
    if isinstance(value, (str, bytes, int, float)):  # fast path: most values are plain
        return True
    pending: list[Any] = [value]
    left = max_values
    while pending:
        left -= 1
        if left < 0:
            return False
        current = pending.pop()
        if isinstance(current, (str, bytes, int, float)):
            continue
        if isinstance(current, dict):
            children: Any = (child for pair in current.items() for child in pair)
        elif isinstance(current, (list, tuple, set, frozenset, collections.deque)):
            children = current
        elif getattr(getattr(current, "dtype", None), "hasobject", False) and hasattr(current, "flat"):
            children = current.flat
        elif not isinstance(current, type) and hasattr(current, "__dict__"):
            children = vars(current).values()
        else:
            continue
        pending.extend(itertools.islice(children, left + 1))
    return True


class PersistenceError(Exception):
    """Base class of all errors of this library.

    ``args`` holds the arguments of ``__init__``, in the same order, so that the error can be pickled.
    """

    def __init__(self, *facts: object) -> None:
        super().__init__(*facts)
        self._facts = facts

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._facts


class NotPersistenceClassError(PersistenceError, RuntimeError, TypeError):
    """A persistence class was expected, but the class has no ``@persistence_class`` decorator."""

    def __init__(self, owner: str) -> None:
        super().__init__(owner)
        self.owner = owner

    def __str__(self) -> str:
        return f"{self.owner} is not a persistence class: decorate it with @persistence_class"


class FieldDefinitionError(PersistenceError, RuntimeError, TypeError):
    """The declaration of a persistence class is invalid."""

    def __init__(self, owner: str, field: str, problem: str) -> None:
        super().__init__(owner, field, problem)
        self.owner, self.field, self.problem = owner, field, problem

    def __str__(self) -> str:
        where = f"{self.owner}.{self.field}" if self.field else self.owner
        return f"{where}: {self.problem}"


class AutoIncFieldNotResolvedError(PersistenceError, RuntimeError):
    """A number is needed, but the auto-increment field of the result has none yet.

    ``instance`` is the result or its class, and ``field`` is the name of the field. Pickling drops the instance: in
    another process ``instance`` is None, and ``owner`` is still the name of the class.
    """

    def __init__(self, instance: object, field: Any, message: str | None = None, *, owner: str | None = None) -> None:
        name: str = getattr(field, "field_name", field)
        if owner is None:
            owner = instance.__name__ if isinstance(instance, type) else type(instance).__name__
        super().__init__(instance, name, message)
        self.instance, self.field, self.message, self.owner = instance, name, message, owner

    def __str__(self) -> str:
        if self.message is not None:
            return self.message
        return (
            f"{self.owner}.{self.field} is an auto-increment field without a number yet: save the result first, "
            f"set the attribute, or give {self.field}=<int>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_autoinc_error, (type(self), self.field, self.message, self.owner)


def _rebuild_autoinc_error(
    kind: type[AutoIncFieldNotResolvedError], field: str, message: str | None, owner: str
) -> AutoIncFieldNotResolvedError:
    return kind(None, field, message, owner=owner)


class KeyNotSetError(PersistenceError, RuntimeError, AttributeError):
    """A key that is part of the file name has no value."""

    def __init__(self, owner: str, field: str) -> None:
        super().__init__(owner, field)
        self.owner, self.field = owner, field

    def __str__(self) -> str:
        return f"{self.owner}.{self.field} is needed for the file name but is not set: set it, or give {self.field}=..."


class WildcardKeyError(KeyNotSetError):
    """A key of a result that is to be saved is ``missing``, which stands for any value."""

    def __str__(self) -> str:
        return (
            f"{self.owner}.{self.field} is `missing`, which stands for any value: set the key before saving the result"
        )


class DataNotSetError(PersistenceError, RuntimeError, AttributeError):
    """Data of a result of a strict class is not set when the result is saved."""

    def __init__(self, owner: str, fields: tuple[str, ...]) -> None:
        super().__init__(owner, fields)
        self.owner, self.fields = owner, fields

    def __str__(self) -> str:
        return (
            f"{self.owner} can't be saved without {', '.join(self.fields)}: set them, or give them a default "
            f"(the class is declared with strict=True)"
        )


class UndeclaredAttributeError(PersistenceError, AttributeError):
    """An attribute is set that the class does not declare; ``field`` is the field that may be meant, or ''."""

    def __init__(self, owner: str, attribute: str, field: str = "") -> None:
        super().__init__(owner, attribute, field)
        self.owner, self.attribute, self.field = owner, attribute, field

    def __str__(self) -> str:
        if self.field:
            return (
                f"{self.owner}.{self.attribute} is not declared and would not be saved; did you mean {self.field}, "
                f"which is not set? Rename it, declare it, or begin its name with an underscore"
            )
        return (
            f"{self.owner} does not declare {self.attribute}, and would not save it: "
            f"declare it, or begin its name with an underscore"
        )


class UnknownFieldError(PersistenceError, TypeError):
    """A keyword argument is not the name of a field of the class."""

    def __init__(self, owner: str, field: str, known: tuple[str, ...]) -> None:
        super().__init__(owner, field, known)
        self.owner, self.field, self.known = owner, field, known

    def __str__(self) -> str:
        return f"{self.owner} has no field {self.field!r}: its fields are {', '.join(self.known) or 'none'}"


class UnsafeNameError(PersistenceError, ValueError):
    """The value of a key can't be used in a file name."""

    def __init__(self, owner: str, field: str, value: str, problem: str) -> None:
        super().__init__(owner, field, value, problem)
        self.owner, self.field, self.value, self.problem = owner, field, value, problem

    def __str__(self) -> str:
        where = f"{self.owner}.{self.field}" if self.field else self.owner
        return (
            f"{where} = {self.value} can't be part of a file name: {self.problem}; "
            f"change the value, or give the field a filename= function that returns a safe text"
        )


class MissingFieldError(PersistenceError, KeyError):
    """The loaded data has no value for a required key field."""

    def __init__(self, owner: str, field: str, path: str | None = None) -> None:
        super().__init__(owner, field, path)
        self.owner, self.field, self.path = owner, field, path

    def __str__(self) -> str:
        source = "the values given" if self.path is None else self.path
        return (
            f"missing required field {self.owner}.{self.field} in {source}: "
            f"declare it with field(default=...), or compute the result again"
        )


class WrongResultClassError(PersistenceError, TypeError):
    """The result does not belong to the class of the handler."""

    def __init__(self, owner: str, given: str, hint: str = "") -> None:
        super().__init__(owner, given, hint)
        self.owner, self.given, self.hint = owner, given, hint

    def __str__(self) -> str:
        advice = self.hint or f"use a handler made for {self.given}"
        return f"this handler stores results of {self.owner}, not of {self.given}: {advice}"


class NoInitFitsError(PersistenceError, TypeError):
    """The ``__init__`` of the class does not accept its keys, and the class has no ``from_dict``."""

    def __init__(self, owner: str, keys: tuple[str, ...]) -> None:
        super().__init__(owner, keys)
        self.owner, self.keys = owner, keys

    def __str__(self) -> str:
        return (
            f"{self.owner}.__init__ does not accept the keys ({', '.join(self.keys)}): "
            f"define a classmethod from_dict(cls, data) that creates the result from a dict of its fields"
        )


class KeyMismatchError(PersistenceError, FileNotFoundError):
    """The keys in a file are not the keys that were requested, or they do not match the file name.

    ``field`` is the first key that differs. It is empty if the keys as a whole do not match the file name.
    """

    def __init__(self, owner: str, field: str, wanted: str, found: str, path: str | None = None) -> None:
        super().__init__(owner, field, wanted, found, path)
        self.owner, self.field, self.wanted, self.found, self.path = owner, field, wanted, found, path

    def __str__(self) -> str:
        if not self.field:
            return (
                f"{self.path} holds the result of {self.owner} with the keys ({self.found}), which do not match its "
                f"file name. Was the file renamed or copied, or did the keys of the class change?"
            )
        where = "" if self.path is None else f" in {self.path}"
        return f"{self.owner}.{self.field} does not match{where}: expected {self.wanted}, found {self.found}"


class NotAResultError(PersistenceError, TypeError):
    """The file can be read, but does not contain a result of the requested class."""

    def __init__(self, owner: str, path: str, found: str) -> None:
        super().__init__(owner, path, found)
        self.owner, self.path, self.found = owner, path, found

    def __str__(self) -> str:
        return f"{self.path} holds {self.found}, not a result of {self.owner}. Are the file and the class right?"


class CorruptResultError(PersistenceError, ValueError):
    """The file is damaged, or it is not a result file."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return (
            f"{self.path} is damaged or not a result file: {self.problem}; "
            f"restore it from a backup or compute the result again"
        )


class UntrustedTypeError(PersistenceError, TypeError):
    """An untrusted file contains a type that is not on the list of safe types."""

    def __init__(self, path: str, kind: str) -> None:
        super().__init__(path, kind)
        self.path, self.kind = path, kind

    def __str__(self) -> str:
        return (
            f"{self.path or 'the pickle'} contains {self.kind}, which is not loaded from an untrusted file: "
            f"add the type to trusted=[...], or pass trusted=True if you know where the file comes from"
        )


class NothingFoundError(PersistenceError, LookupError):
    """A search found no result, and one is needed."""

    def __init__(self, owner: str, folder: str, about: str) -> None:
        super().__init__(owner, folder, about)
        self.owner, self.folder, self.about = owner, folder, about

    def __str__(self) -> str:
        about = f" with {self.about}" if self.about else ""
        return f"no {self.owner} found in {self.folder!r}{about}: call find() to list the saved results"


class StackError(PersistenceError, ValueError):
    """A field of a result can't be stacked with the same field of the other results."""

    def __init__(self, path: str, field: str, problem: str) -> None:
        super().__init__(path, field, problem)
        self.path, self.field, self.problem = path, field, problem

    def __str__(self) -> str:
        return f"{self.path}: {self.field} {self.problem}: leave this result out, or compute it again"


class NameTakenError(PersistenceError, FileExistsError):
    """The file name already belongs to another result, with different keys."""

    def __init__(self, owner: str, path: str, mine: Mapping[str, str], theirs: Mapping[str, str]) -> None:
        super().__init__(owner, path, mine, theirs)
        self.owner, self.path, self.mine, self.theirs = owner, path, dict(mine), dict(theirs)

    def __str__(self) -> str:
        def keys(values: Mapping[str, str]) -> str:
            return ", ".join(f"{name}={text}" for name, text in values.items())

        return (
            f"{self.path} already holds another result of {self.owner}, with the keys {keys(self.theirs)}; "
            f"the keys ({keys(self.mine)}) give the same file name: use another splitter or a filename_prefix"
        )


class OtherClassError(PersistenceError, TypeError):
    """A file holds a result of another class of the same name."""

    def __init__(
        self, owner: str, path: str, found: str, fields: tuple[str, ...] = (), found_fields: tuple[str, ...] = ()
    ) -> None:
        super().__init__(owner, path, found, fields, found_fields)
        self.owner, self.path, self.found = owner, path, found
        self.fields, self.found_fields = fields, found_fields

    def __str__(self) -> str:
        return (
            f"{self.path} holds a result of another class, {self.found} ({', '.join(self.found_fields)}), "
            f"not of {self.owner} ({', '.join(self.fields)}): use another folder, or give one of the classes "
            f"another name, as in @persistence_class(name=...)"
        )


class NewerVersionError(PersistenceError, ValueError):
    """A file was saved by a newer version of its class."""

    def __init__(self, owner: str, path: str, found: int, known: int) -> None:
        super().__init__(owner, path, found, known)
        self.owner, self.path, self.found, self.known = owner, path, found, known

    def __str__(self) -> str:
        return (
            f"{self.path} holds a result of version {self.found} of {self.owner}, and the class here is of version "
            f"{self.known}: update the code that defines the class"
        )


class ContractError(PersistenceError, AssertionError):
    """A store or a codec does not do what its base class asks for.

    ``owner`` is its class, and ``verb`` the method. :func:`neuralib.persistence.testing.check_store` and ``check_codec``
    raise it, and so does a handler that notices.
    """

    def __init__(self, owner: str, verb: str, expected: str, found: str) -> None:
        super().__init__(owner, verb, expected, found)
        self.owner, self.verb, self.expected, self.found = owner, verb, expected, found

    def __str__(self) -> str:
        return f"{self.owner}.{self.verb} breaks its contract: expected {self.expected}; got {self.found}"
