"""The object that a contract suite tries: it tells which method broke the contract."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from neuralib.persistence._errors import ContractError
from neuralib.persistence._messages import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T = TypeVar("T")


class Subject:
    """A store, codec or source that is tried. Its methods raise errors that name its class and the method at fault.

    The name of that method is *verb*; *expected* says in words what it should have given.
    """

    def __init__(self, tried: object) -> None:
        self.owner = type(tried).__qualname__

    def broken(self, verb: str, expected: str, found: str) -> ContractError:
        """Return the error that *verb* gave *found* where *expected* was expected."""
        return ContractError(self.owner, verb, expected, found)

    def expect(self, condition: object, verb: str, expected: str, found: object) -> None:
        """Raise an error unless *condition* is true."""
        if not condition:
            raise self.broken(verb, expected, shown(found))

    def call(self, verb: str, expected: str, act: Callable[[], Any]) -> Any:
        """Return what *act* returns; it is not expected to raise an error."""
        with self.stage(verb, expected):
            return act()

    def gives(self, wanted: Any, verb: str, expected: str, act: Callable[[], Any]) -> None:
        """Raise an error unless *act* returns *wanted*: an equal value of the same type."""
        found = self.call(verb, expected, act)
        self.expect(type(found) is type(wanted) and found == wanted, verb, expected, found)

    def made(self, kind: type, verb: str, expected: str, act: Callable[[], T]) -> T:
        """Return what *act* returns, which has to be of the class *kind*."""
        found: T = self.call(verb, expected, act)
        self.expect(isinstance(found, kind), verb, expected, found)
        return found

    def raises(self, kind: type[Exception], verb: str, case: str, act: Callable[[], Any]) -> None:
        """Raise an error unless *act* raises *kind*."""
        expected = f"{kind.__name__} {case}"
        try:
            found = act()
        except kind:
            return
        except Exception as error:
            raise self.broken(verb, expected, f"{type(error).__name__}: {error}") from error
        raise self.broken(verb, expected, shown(found))

    @contextmanager
    def stage(self, verb: str, expected: str) -> Generator[None]:
        """Turn any error of the ``with`` block into one that names *verb*."""
        try:
            yield
        except ContractError:
            raise
        except Exception as error:
            raise self.broken(verb, expected, f"{type(error).__name__}: {error}") from error
