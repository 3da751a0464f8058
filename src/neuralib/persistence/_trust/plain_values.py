"""What the makers of plain data share: values that are not ready, checks of arguments, and words for errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuralib.persistence._errors import UntrustedTypeError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from neuralib.persistence._trust.allowance import Allowance

_LONGEST_SHOWN = 200


class Pending:
    """What is no value, or not yet: a pickle has begun it, but not given its state."""

    __slots__ = ()
    type_name = "an object"

    def built(self, account: Allowance, state: Any) -> Any:
        """Return the value with *state*."""
        raise UntrustedTypeError("", "the state of a function or class")


class Complete(Pending):
    """The same, where it may be an argument without a state."""

    __slots__ = ()


class Function(Complete):
    """A function or class of the table: it can be called, or say what is to be made."""

    __slots__ = ("make", "type_name")

    def __init__(self, type_name: str, make: Callable[..., Any]) -> None:
        self.type_name, self.make = type_name, make


class Buffer(Complete):
    """Memory that stands elsewhere: an array can be made of it, and nothing else."""

    __slots__ = ("memory",)
    type_name = "builtins.memoryview"

    def __init__(self, memory: Any) -> None:
        self.memory = memory


def need(holds: bool, what: str) -> None:
    """Raise the error that *what* is made of other arguments than it takes, unless *holds*."""
    if not holds:
        raise ValueError(f"it makes {what} of arguments that don't fit")


def only(kinds: tuple[type, ...], values: Sequence[Any], what: str) -> None:
    """Raise an error where one of *values* is of none of *kinds*."""
    for value in values:
        if type(value) not in kinds:
            need(False, what)


def tuple_of(value: Any, lengths: Container[int], what: str) -> Any:
    """Return *value*, a tuple of one of these *lengths*."""
    need(type(value) is tuple and len(value) in lengths, what)
    return value


def is_one_of(value: Any, *allowed: str | bytes) -> bool:
    """Return whether *value* is one of these texts."""
    # Not by hash, and not by comparison of what is no text: nested deeply, either could overflow the stack of C.
    return type(value) in {str, bytes} and any(value == text for text in allowed)


def class_of(value: Any, allowed: Container[str]) -> str | None:
    """Return the full name of the class *value* of the table, if it is one of *allowed*."""
    return value.type_name if isinstance(value, Function) and value.type_name in allowed else None


def label_of(value: object) -> str:
    """Return a name for *value*, which comes from a file, to be shown in an error: short and printable."""
    if isinstance(value, Function):
        return value.type_name
    if not isinstance(value, str):
        return f"a {type(value).__name__}"
    text = value[:_LONGEST_SHOWN]
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(value) <= _LONGEST_SHOWN else f"{text}..."
