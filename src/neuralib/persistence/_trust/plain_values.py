"""What the makers of plain data share: values that are not ready, and checks of arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuralib.persistence._errors import UntrustedTypeError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Unbuilt:
    """What is no value, or not yet: a pickle has begun it, but not given its state."""

    __slots__ = ()

    def built(self, state: Any) -> Any:
        """Return the value with *state*."""
        raise UntrustedTypeError("", "the state of a function or class")


class Settled(Unbuilt):
    """The same, where it may be used without a state."""

    __slots__ = ()


def wrong(what: str) -> ValueError:
    """Return the error that *what* is made of other arguments than it takes."""
    return ValueError(f"it makes {what} of arguments that don't fit")


def only(kinds: tuple[type, ...], values: Sequence[Any], what: str) -> None:
    """Raise an error where one of *values* is of none of *kinds*."""
    if not all(type(it) in kinds for it in values):
        raise wrong(what)


def is_one_of(value: Any, *allowed: str | bytes) -> bool:
    """Return whether *value* is one of these texts."""
    # Not by hash, and not by comparison of what is no text: nested deeply, either could overflow the stack of C.
    return type(value) in {str, bytes} and any(value == it for it in allowed)
