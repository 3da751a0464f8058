"""The errors of this library.

The attributes and the message of an error name the class, the field and the file it is about. The message also says
what to do. Every error is also a subclass of a builtin error, so ``except`` clauses for builtin errors catch it. Every
error can be pickled, so a worker process can send it to its parent.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from neuralib.persistence._messages import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_MESSAGE = 4000


class PersistenceError(Exception):
    """Base class of all errors of this library.

    ``args`` holds the arguments of ``__init__``, in the same order, so that the error can be pickled.
    """

    _is_shown_briefly = True  # whatever it is about: see `_messages`

    def __init__(self, *facts: object) -> None:
        super().__init__(*facts)
        self._facts = facts

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._facts

    def __str__(self) -> str:
        """Return the message, in which paths and values of files can't write to a terminal or log what they like."""
        text = printable(self._message())
        return text if len(text) <= _MAX_MESSAGE else f"{text[: _MAX_MESSAGE // 2]} ... {text[-_MAX_MESSAGE // 2 :]}"

    def _message(self) -> str:
        return super().__str__()


class NotPersistenceClassError(PersistenceError, RuntimeError, TypeError):
    """A persistence class was expected, but the class has no ``@persistence_class`` decorator."""

    def __init__(self, owner: str, problem: str = "") -> None:
        super().__init__(owner, problem)
        self.owner, self.problem = owner, problem

    def _message(self) -> str:
        advice = "give a class decorated with @persistence_class, or a result of one"
        return f"{self.owner} {self.problem or f'is not a persistence class: {advice}'}"


class FieldDefinitionError(PersistenceError, RuntimeError, TypeError):
    """The declaration of a persistence class is invalid."""

    def __init__(self, owner: str, field: str, problem: str) -> None:
        super().__init__(owner, field, problem)
        self.owner, self.field, self.problem = owner, field, problem

    def _message(self) -> str:
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

    def _message(self) -> str:
        if self.message is not None:
            return self.message
        return (
            f"{self.owner}.{self.field} is an auto-increment field without a number yet: save the result first, "
            f"set the attribute, or give {self.field}=<int>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(type(self), owner=self.owner), (None, self.field, self.message)


class KeyNotSetError(PersistenceError, RuntimeError, AttributeError):
    """A key that is part of the file name has no value."""

    def __init__(self, owner: str, field: str) -> None:
        super().__init__(owner, field)
        self.owner, self.field = owner, field

    def _message(self) -> str:
        return f"{self.owner}.{self.field} is needed for the file name but is not set: set it, or give {self.field}=... (in a search, `missing` for any value)"


class WildcardKeyError(KeyNotSetError):
    """A key of a result that is to be saved is ``missing``, which stands for any value."""

    def _message(self) -> str:
        return (
            f"{self.owner}.{self.field} is `missing`, which stands for any value: set the key before saving the result"
        )


class DataNotSetError(PersistenceError, RuntimeError, AttributeError):
    """Data of a result of a strict class is not set when the result is saved."""

    def __init__(self, owner: str, fields: tuple[str, ...]) -> None:
        super().__init__(owner, fields)
        self.owner, self.fields = owner, fields

    def _message(self) -> str:
        return (
            f"{self.owner} can't be saved without {', '.join(self.fields)}: set them, or give them a default "
            f"(the class is declared with strict=True)"
        )


class NothingComputedError(DataNotSetError):
    """A computed result has none of its data; ``computed_by`` is the class whose ``compute_cache`` returned it."""

    def __init__(self, owner: str, fields: tuple[str, ...], computed_by: str) -> None:
        PersistenceError.__init__(self, owner, fields, computed_by)
        self.owner, self.fields, self.computed_by = owner, fields, computed_by

    def _message(self) -> str:
        return (
            f"{self.computed_by}.compute_cache returned a {self.owner} without any of its data "
            f"({', '.join(self.fields)}): set them before you return the result; nothing was saved"
        )


class UndeclaredAttributeError(PersistenceError, AttributeError):
    """An attribute is set that the class does not declare; ``field`` is the field that may be meant, or ''."""

    def __init__(self, owner: str, attribute: str, field: str = "") -> None:
        super().__init__(owner, attribute, field)
        self.owner, self.attribute, self.field = owner, attribute, field

    def _message(self) -> str:
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
    """A keyword argument is not the name of a field of the class.

    If it was the name of a field before the field was renamed, *renamed* is its name of today.
    """

    def __init__(self, owner: str, field: str, known: tuple[str, ...], renamed: str | None = None) -> None:
        super().__init__(owner, field, known, renamed)
        self.owner, self.field, self.known, self.renamed = owner, field, known, renamed

    def _message(self) -> str:
        if self.renamed is not None:
            return f"{self.owner} has no field {self.field!r}: it was renamed to {self.renamed!r}"
        return f"{self.owner} has no field {self.field!r}: its fields are {', '.join(self.known) or 'none'}"


class UnsafeNameError(PersistenceError, ValueError):
    """The value of a key can't be used in a file name."""

    def __init__(self, owner: str, field: str, value: str, problem: str) -> None:
        super().__init__(owner, field, value, problem)
        self.owner, self.field, self.value, self.problem = owner, field, value, problem

    def _message(self) -> str:
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

    def _message(self) -> str:
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

    def _message(self) -> str:
        advice = self.hint or f"use a handler made for {self.given}"
        return f"this handler stores results of {self.owner}, not of {self.given}: {advice}"


class NoInitFitsError(PersistenceError, TypeError):
    """The ``__init__`` of the class does not accept its keys, and the class has no ``from_dict``."""

    def __init__(self, owner: str, keys: tuple[str, ...]) -> None:
        super().__init__(owner, keys)
        self.owner, self.keys = owner, keys

    def _message(self) -> str:
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

    def _message(self) -> str:
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

    def _message(self) -> str:
        return f"{self.path} holds {self.found}, not a result of {self.owner}. Are the file and the class right?"


class CorruptResultError(PersistenceError, ValueError):
    """The file is damaged, or it is not a result file."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def _message(self) -> str:
        return (
            f"{self.path} is damaged or not a result file: {self.problem}; "
            f"restore it from a backup or compute the result again"
        )


class UnloadableResultError(PersistenceError, ImportError):
    """A file is not damaged, but something in it can't be loaded in this environment.

    ``field`` is the field in which it is, and ``type_name`` the full name of the class or function that fails; both are
    empty where they are not known. ``cause`` is the error in words, and ``__cause__`` the error itself. ``packages`` are the
    versions of the packages whose objects are in the file, as they were when it was saved, and ``here`` the same as they
    are now, without those that are not installed. ``checksummed`` says whether a checksum shows that the file is what was
    saved.
    """

    def __init__(
        self,
        path: str,
        field: str,
        type_name: str,
        cause: str,
        packages: Mapping[str, str] | None = None,
        here: Mapping[str, str] | None = None,
        checksummed: bool = True,
    ) -> None:
        packages, here = dict(packages or {}), dict(here or {})
        super().__init__(path, field, type_name, cause, packages, here, checksummed)
        self.path, self.field, self.type_name, self.cause = path, field, type_name, cause
        self.packages, self.here, self.checksummed = packages, here, checksummed

    def at(self, path: str) -> UnloadableResultError:
        """Return the same error about the file at *path*."""
        return type(self)(
            path, self.field, self.type_name, self.cause, self.packages, self.here, checksummed=self.checksummed
        )

    def _message(self) -> str:
        what = " of ".join(part for part in (self.type_name, self.field and f"the field {self.field}") if part)
        whole = "is whole, but " if self.checksummed else ""
        return (
            f"{self.path or 'the file'} {whole}can't be loaded here: {what + ': ' if what else ''}{self.cause}"
            f"{self._versions()}. Install what it needs, or load it where it was saved; "
            f"to compute it again, set invalid_cache, or delete the file"
        )

    def _versions(self) -> str:
        def version(versions: Mapping[str, str], name: str) -> str:
            return versions[name] or "of unknown version" if name in versions else "not installed"

        texts = [
            f"{name} {then} (here {version(self.here, name)})" if then else f"{name} (here {version(self.here, name)})"
            for name, then in self.packages.items()
        ]
        return f"; it was saved with {', '.join(texts)}" if texts else ""


class UntrustedTypeError(PersistenceError, TypeError):
    """An untrusted file contains a type that is not on the list of safe types."""

    def __init__(self, path: str, kind: str) -> None:
        super().__init__(path, kind)
        self.path, self.kind = path, kind

    def _message(self) -> str:
        return (
            f"{self.path or 'the pickle'} contains {self.kind}, which is not loaded from an untrusted file: "
            f"add the type to trusted=[...], or pass trusted=True if you know where the file comes from"
        )


class NothingFoundError(PersistenceError, LookupError):
    """A search found no result, and one is needed."""

    def __init__(self, owner: str, folder: str, about: str) -> None:
        super().__init__(owner, folder, about)
        self.owner, self.folder, self.about = owner, folder, about

    def _message(self) -> str:
        about = f" with {self.about}" if self.about else ""
        return f"no {self.owner} found in {self.folder!r}{about}: call find() to list the saved results"


class StackError(PersistenceError, ValueError):
    """A field of a result can't be stacked with the same field of the other results."""

    def __init__(self, path: str, field: str, problem: str) -> None:
        super().__init__(path, field, problem)
        self.path, self.field, self.problem = path, field, problem

    def _message(self) -> str:
        return f"{self.path}: {self.field} {self.problem}: leave this result out, or compute it again"


class NameTakenError(PersistenceError, FileExistsError):
    """The file name already belongs to another result, with different keys.

    ``theirs`` is empty where its keys can't be told without running code from the file.
    """

    def __init__(self, owner: str, path: str, mine: Mapping[str, str], theirs: Mapping[str, str]) -> None:
        super().__init__(owner, path, mine, theirs)
        self.owner, self.path, self.mine, self.theirs = owner, path, dict(mine), dict(theirs)

    def _message(self) -> str:
        def keys(values: Mapping[str, str]) -> str:
            return ", ".join(f"{name}={text}" for name, text in values.items())

        if not self.theirs:
            return (
                f"{self.path} is there already, and whether it holds the same result of {self.owner} can't be told "
                f"without running code from it: remove or rename it, then save again"
            )
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

    def _message(self) -> str:
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

    def _message(self) -> str:
        return (
            f"{self.path} holds a result of version {self.found} of {self.owner}, and the class here is of version "
            f"{self.known}: update the code that defines the class"
        )


class UnconditionalStoreError(PersistenceError, NotImplementedError):
    """An object store can't tell which of several writers was first, so that nothing is saved in it."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(url, problem)
        self.url, self.problem = url, problem

    def _message(self) -> str:
        return (
            f"{self.url}: {self.problem}, so that of two writers one would replace the other's result, or get its number. "
            f"Use a newer version of the server, or a folder or archive. Loading works"
        )


class ContractError(PersistenceError, AssertionError):
    """A store or a codec does not do what its base class asks for.

    ``owner`` is its class, and ``verb`` the method. :func:`neuralib.persistence.testing.check_store` and ``check_codec``
    raise it, and so does a handler that notices.
    """

    def __init__(self, owner: str, verb: str, expected: str, found: str) -> None:
        super().__init__(owner, verb, expected, found)
        self.owner, self.verb, self.expected, self.found = owner, verb, expected, found

    def _message(self) -> str:
        return f"{self.owner}.{self.verb} breaks its contract: expected {self.expected}; got {self.found}"
