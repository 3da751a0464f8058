"""Whole files that can't be unpickled here: they are not damaged, and which field is the cause.

Classes are renamed and packages are missing or change what they write. So any exception may come of unpickling, and a
checksum alone tells whether the file is what was saved.
"""

from __future__ import annotations

import io
import pickle
import struct
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from neuralib.persistence._bytes.sources import BytesSource
from neuralib.persistence._errors import UnloadableResultError, UntrustedTypeError
from neuralib.persistence._packages import missing_here, versions_here
from neuralib.persistence._trust.instructions import LONGEST_KEPT, Instructions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

DAMAGE = (
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    OverflowError,
    struct.error,
    pickle.UnpicklingError,
)
"""The errors that readers raise for damaged bytes. An ImportError or AttributeError is not among them: there the
file is whole, and this environment lacks something. Nor is a MemoryError: a file that is taken for damaged may be replaced."""

ARRAY_IN_VALUE = "its card says that an array begins within another value"
_NEXT_BUFFER = 0x97
_MOST_DECODED = 1 << 24  # bytes of a pickle that is looked through in some seconds
_MOST_TRACED = 1 << 20  # bytes of a pickle that is read again, slowly
_LONGEST_CAUSE = 300


def raise_not_unpickled(
    error: BaseException,
    pickled: Any,
    memory: Collection[Any] = (),
    *,
    packages: Mapping[str, str] | None = None,
    trusted: bool,
    whole: bool,
) -> NoReturn:
    """Raise what *error*, which came of unpickling, means; called while it is handled.

    :param pickled: the pickle, as far as it is in memory
    :param memory: its out-of-band buffers
    :param packages: the versions of packages that the card notes
    :param trusted: whether :mod:`pickle` may read it again
    :param whole: whether a checksum says that the file is what was saved
    :raises UnloadableResultError: the file is whole
    :raises ValueError: what has the right checksum is no pickle
    """
    if not _may_be_of_object(error) or (not whole and isinstance(error, DAMAGE)):
        raise error
    field, type_name = "", ""
    if whole and len(pickled) <= _MOST_DECODED:
        refuse_unused(len(memory), pickled)
    if trusted and 0 < len(pickled) <= _MOST_TRACED:
        field, type_name = _failing_part(pickled, memory)
    noted = dict(packages or {})
    here = versions_here(noted)
    raise UnloadableResultError("", field, type_name, cause_of(error), noted, here, checksummed=whole) from error


def refuse_missing(packages: Mapping[str, str]) -> None:
    """Raise an error where some of the *packages* whose objects are in a whole file are not installed here.

    :raises UnloadableResultError: it names the first
    """
    missing = missing_here(packages)
    if missing:
        cause = f"ModuleNotFoundError: No module named {missing[0]!r}"
        raise UnloadableResultError("", "", "", cause, packages, versions_here(packages))


def refuse_unused(n_arrays: int, structure: Any) -> None:
    """Raise an error where *structure*, a pickle without its arrays, does not use each of them once.

    ``pickle`` would read an array that begins within another value as a part of that value.

    :raises ValueError: it does not, or it is no pickle
    """
    steps = Instructions(BytesSource(structure).file(), LONGEST_KEPT)
    if sum(opcode == _NEXT_BUFFER for opcode, _ in steps) != n_arrays:
        raise ValueError(ARRAY_IN_VALUE)


def _may_be_of_object(error: BaseException) -> bool:
    """Return whether *error* may come of an object that is unpickled: not of the user, of scarce memory, or of distrust."""
    if not isinstance(error, Exception):
        return type(error).__name__ == "PanicException"  # of extensions in Rust
    return not isinstance(error, (MemoryError, UntrustedTypeError, UnloadableResultError))


def cause_of(error: BaseException) -> str:
    """Return *error* in words."""
    try:
        text = str(error)
    except Exception:  # of the user's own class
        text = ""
    return f"{type(error).__name__}: {text}"[:_LONGEST_CAUSE].removesuffix(": ")


def _failing_part(pickled: Any, memory: Collection[Any]) -> tuple[str, str]:
    """Return the field in which unpickling fails, and what can't be made; empty texts where they are not known."""
    tracer = _Tracer(io.BytesIO(pickled), buffers=iter(memory))
    try:
        tracer.load()
    except BaseException as again:
        if not _may_be_of_object(again):
            raise
        return tracer.field(), tracer.type_name()
    return "", ""


def _full_name(made: Any) -> str:
    return f"{getattr(made, '__module__', '')}.{getattr(made, '__qualname__', type(made).__qualname__)}"


_CALLS = {pickle.NEWOBJ: -2, pickle.NEWOBJ_EX: -3, pickle.REDUCE: -2}
"""The instructions that call something, each with the place of that on the stack."""


def _watched(opcode: bytes, place: int) -> Callable[[_Tracer], None]:
    """Return a method that runs *opcode*, and notes the name of what it calls until that returns."""
    follow: Any = pickle._Unpickler.dispatch[opcode[0]]

    def watched(tracer: _Tracer) -> None:
        tracer._wanted = _full_name(tracer._levels()[-1][place])
        follow(tracer)
        tracer._wanted = ""

    return watched


class _Tracer(pickle._Unpickler):
    """An unpickler that tells where it failed."""

    _wanted = ""
    """The class or function that is looked up, or that makes an object."""

    def find_class(self, module: str, name: str) -> Any:
        self._wanted = f"{module}.{name}"
        found = super().find_class(module, name)
        self._wanted = ""
        return found

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        **{opcode[0]: _watched(opcode, place) for opcode, place in _CALLS.items()},
    }

    def _levels(self) -> list[list[Any]]:
        """Return the stacks: one more for each mark."""
        return [*getattr(self, "metastack", []), getattr(self, "stack", [])]

    def type_name(self) -> str:
        """Return the full name of the class or function that failed."""
        top = self._levels()[-1]
        return self._wanted or (_full_name(type(top[-1])) if top else "")

    def field(self) -> str:
        """Return the name of the field in the making: the last name among the items of the outermost dict."""
        levels = self._levels()
        items = levels[0][1:]  # where there is one item alone, else they have a level of their own
        if len(levels) > 1 and not (items and type(items[0]) is str):
            items = levels[1]
        found = ""
        for name in items[::2]:
            if type(name) is not str or not name.isidentifier():
                break
            found = name
        return found
