"""Every error that the library raises of its own.

Each names the class, the field and the file that it is about, as attributes and in its message, and says what to do.
Each is a builtin error too, so that ``except`` clauses written for builtins go on working, and each survives pickling,
so that it can leave a worker process.
"""

from __future__ import annotations

import collections
import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_SHOWN = 120


def shown(value: object) -> str:
    """Return a short ``repr`` of *value* for a message; a value whose ``repr`` fails is named by its type."""
    try:
        if not is_brief(value):
            return f"<{type(value).__name__} of many values>"
        text = repr(value)
    except Exception:  # a message must not fail because of what it is about
        return f"<{type(value).__name__}>"
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


def is_brief(value: object, most: int = 1000) -> bool:
    """Return whether *value* and what it holds, at all depths, are at most *most* values.

    What a file holds may refer to the same list many times, and that to another...: written out, it has no end.
    """
    if isinstance(value, (str, bytes, int, float)):  # as most are, of many thousand results
        return True
    todo: list[Any] = [value]
    left = most
    while todo:
        left -= 1
        if left < 0:
            return False
        it = todo.pop()
        if isinstance(it, (str, bytes, int, float)):
            continue
        if isinstance(it, dict):
            parts: Any = (part for pair in it.items() for part in pair)
        elif isinstance(it, (list, tuple, set, frozenset, collections.deque)):
            parts = it
        elif getattr(getattr(it, "dtype", None), "hasobject", False) and hasattr(it, "flat"):
            parts = it.flat
        elif not isinstance(it, type) and hasattr(it, "__dict__"):
            parts = vars(it).values()
        else:
            continue
        todo.extend(itertools.islice(parts, left + 1))
    return True


class PersistenceError(Exception):
    """Base of all errors of this library. Its arguments are the facts, in the order of ``__init__``."""

    def __init__(self, *facts: object) -> None:
        super().__init__(*facts)
        self._facts = facts

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._facts


class NotPersistenceClassError(PersistenceError, RuntimeError, TypeError):
    """A class without ``@persistence_class`` was given where a persistence class is needed."""

    def __init__(self, owner: str) -> None:
        super().__init__(owner)
        self.owner = owner

    def __str__(self) -> str:
        return f"{self.owner} is not a persistence class: decorate it with @persistence_class"


class FieldDefinitionError(PersistenceError, RuntimeError, TypeError):
    """A persistence class is declared in a way that can't work."""

    def __init__(self, owner: str, field: str, problem: str) -> None:
        super().__init__(owner, field, problem)
        self.owner, self.field, self.problem = owner, field, problem

    def __str__(self) -> str:
        where = f"{self.owner}.{self.field}" if self.field else self.owner
        return f"{where}: {self.problem}"


class AutoIncFieldNotResolvedError(PersistenceError, RuntimeError):
    """Raised when the auto-increment field of a result has no number yet where one is needed.

    ``instance`` is the result (or its class), ``field`` the name of the field. The instance stays behind when the error
    travels to another process: it is None there, and ``owner`` still names its class.
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
    """A key that shows in the file name has no value."""

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
    """An override names something that is no field of the class."""

    def __init__(self, owner: str, field: str, known: tuple[str, ...]) -> None:
        super().__init__(owner, field, known)
        self.owner, self.field, self.known = owner, field, known

    def __str__(self) -> str:
        return f"{self.owner} has no field {self.field!r}: its fields are {', '.join(self.known) or 'none'}"


class UnsafeNameError(PersistenceError, ValueError):
    """The value of a key can't be part of a file name."""

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
    """Stored values lack a key field that the class needs."""

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
    """A handler was given a result of another class than its own."""

    def __init__(self, owner: str, given: str, hint: str = "") -> None:
        super().__init__(owner, given, hint)
        self.owner, self.given, self.hint = owner, given, hint

    def __str__(self) -> str:
        advice = self.hint or f"use a handler made for {self.given}"
        return f"this handler keeps results of {self.owner}, not of {self.given}: {advice}"


class NoInitFitsError(PersistenceError, TypeError):
    """A class's own ``__init__`` does not take its keys, and the class has no ``from_dict``."""

    def __init__(self, owner: str, keys: tuple[str, ...]) -> None:
        super().__init__(owner, keys)
        self.owner, self.keys = owner, keys

    def __str__(self) -> str:
        return (
            f"{self.owner}.__init__ does not take the keys ({', '.join(self.keys)}): "
            f"define a classmethod from_dict(cls, data) that makes the result from its values"
        )


class KeyMismatchError(PersistenceError, FileNotFoundError):
    """A result was found, but its keys are not those that were asked for, or not those that its name says (``field`` is '')."""

    def __init__(self, owner: str, field: str, wanted: str, found: str, path: str | None = None) -> None:
        super().__init__(owner, field, wanted, found, path)
        self.owner, self.field, self.wanted, self.found, self.path = owner, field, wanted, found, path

    def __str__(self) -> str:
        if not self.field:
            return (
                f"{self.path} holds the result of {self.owner} with the keys ({self.found}), whose name is another: "
                f"it was renamed or copied, or the keys' names changed"
            )
        where = "" if self.path is None else f" in {self.path}"
        return f"{self.owner}.{self.field} does not validate{where}: wanted {self.wanted}, found {self.found}"


class NotAResultError(PersistenceError, TypeError):
    """A file can be read, but holds no result of the class asked for."""

    def __init__(self, owner: str, path: str, found: str) -> None:
        super().__init__(owner, path, found)
        self.owner, self.path, self.found = owner, path, found

    def __str__(self) -> str:
        return f"{self.path} holds {self.found}, not a result of {self.owner}: is this the right file and class?"


class CorruptResultError(PersistenceError, ValueError):
    """A file is not, or no longer, what was saved under its name."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return (
            f"{self.path} is damaged or is no result file: {self.problem}; restore it from a copy, or compute it again"
        )


class UntrustedTypeError(PersistenceError, TypeError):
    """A file that is not trusted needs something beyond the closed list of plain data."""

    def __init__(self, path: str, kind: str) -> None:
        super().__init__(path, kind)
        self.path, self.kind = path, kind

    def __str__(self) -> str:
        return (
            f"{self.path or 'the pickle'} holds {self.kind}, which is not loaded without trust: "
            f"name the type in trusted=[...], or give trusted=True if you know where the file comes from"
        )


class NothingFoundError(PersistenceError, LookupError):
    """A result was asked of a set that has none."""

    def __init__(self, owner: str, folder: str, about: str) -> None:
        super().__init__(owner, folder, about)
        self.owner, self.folder, self.about = owner, folder, about

    def __str__(self) -> str:
        about = f" with {self.about}" if self.about else ""
        return f"there is no {self.owner} in {self.folder!r}{about}: see what is there with find()"


class StackError(PersistenceError, ValueError):
    """A result does not fit into an array of many."""

    def __init__(self, path: str, field: str, problem: str) -> None:
        super().__init__(path, field, problem)
        self.path, self.field, self.problem = path, field, problem

    def __str__(self) -> str:
        return f"{self.path}: {self.field} {self.problem}: leave it out, or compute it again"


class NameTakenError(PersistenceError, FileExistsError):
    """Two results whose keys differ would share one file."""

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
