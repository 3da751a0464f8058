"""The values that the texts in file names stand for, by the annotations of their keys."""

from __future__ import annotations

import ast
import contextlib
import datetime
import enum
import itertools
import math
import pathlib
import types
import typing
from typing import TYPE_CHECKING, Any, Final

from neuralib.persistence._classes import value_texts
from neuralib.persistence._classes.name_texts import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from neuralib.persistence._classes.field import PersistentField

UNDECIDED: Final[Any] = object()
"""In place of a value: the text alone does not tell it."""

# str() of their instances is what they are made of. By name, so that none is imported for it.
_MADE_OF_TEXT = {
    "builtins.str",
    "builtins.int",
    "builtins.float",
    "builtins.complex",
    "decimal.Decimal",
    "uuid.UUID",
}
_CONTAINERS = (tuple, list, dict, set, frozenset)


def reader_of(declared: PersistentField[Any]) -> Callable[[str], Any]:
    """Return the function that gives the value of the key *declared* for its text in a name.

    It is a value of the annotation: of ``'3'``, 3 for an int, ``'3'`` for a str. The function returns :data:`UNDECIDED`
    where the annotation has no value of that text, or more than one (``None`` and ``'None'`` for an optional str), where
    it is no type known here, and where the class makes the text by a function of its own, which can't be inverted.
    """
    if callable(declared.filename):
        return lambda _: UNDECIDED
    read = reader_of_kind(declared.field_type)
    return (lambda text: read(value_texts.from_portable_text(text))) if declared.portable else read


def reader_of_kind(kind: Any) -> Callable[[str], Any]:
    """Return the function that gives the value of the annotation *kind* for its text: see :func:`reader_of`."""
    if kind is int:
        return _int_or_undecided
    if kind is str:  # keys are not checked against their annotation, and None is a usual value of a str
        return lambda text: UNDECIDED if text == "None" else text
    return lambda text: _one_of(_candidates(kind, text), text)


def _int_or_undecided(text: str) -> Any:
    try:
        value = int(text)
    except ValueError:
        return UNDECIDED
    return value if str(value) == text else UNDECIDED


def _one_of(candidates: Iterator[Any], text: str) -> Any:
    """Return the one value of *candidates* whose text is *text*."""
    found: list[Any] = []
    for value in candidates:
        if value is UNDECIDED:
            return UNDECIDED
        if _shows_as(value, text) and not any(type(other) is type(value) and other == value for other in found):
            found.append(value)
    if len(found) != 1 or (text == "None" and found[0] is not None):
        return UNDECIDED
    return found[0]


def _shows_as(value: Any, text: str) -> bool:
    if isinstance(value, (float, int)):  # as most are
        return str(value) == text
    try:
        return value_texts.value_text(value) == value_texts.composed(text)
    except value_texts.NoFixedTextError:
        return False


def texts_matching(declared: PersistentField[Any], value: object) -> frozenset[str | None]:
    """Return all texts in a name that stand for *value*, or one that is equal to it, of the key *declared*.

    Of the annotation ``float``, these are ``1`` and ``1.0`` for both 1 and 1.0; accents are composed or not; texts are
    as they are today and, where that can be told, as they were in the names of earlier files. None stands for a key that
    is left out of the name.

    :raises UnsafeNameError: *value* has no text that depends on it alone
    """
    texts = {text_of(declared, value)}
    if not declared.portable and not callable(declared.filename):
        more = _more_texts(declared.field_type, value)
        if more is not None:
            texts.update(more)
            return frozenset(texts)
    for equal in _equal_values(declared.field_type, value):
        with contextlib.suppress(Exception):  # of a function of the class that takes values of the annotation alone
            texts.add(text_of(declared, equal))
    if not callable(declared.filename) and not isinstance(value, str):
        former = value_texts.former_texts(value)
        texts.update(map(value_texts.portable_text, former) if declared.portable else former)
    if declared.portable:  # files from before the class was; but no text that stands for another value today
        plain = {value_texts.from_portable_text(text) for text in texts if text is not None}
        texts = {text for text in texts if text is None or _is_portable(text)}
        texts.update(text for text in plain if not _is_portable(text) and "/" not in text and "\0" not in text)
    texts.update([value_texts.decomposed(text) for text in texts if text is not None])
    return frozenset(texts)


_MOST_EXACT = 1 << 53  # up to here, each int is a float too, whose text has a point and no exponent


def _more_texts(annotation: Any, value: object) -> tuple[str, ...] | None:
    """Return what :func:`texts_matching` adds to the text of *value*, for the usual kinds of keys; None for the others."""
    kind = type(value)
    if kind is str:
        return () if value.isascii() else None  # type: ignore[attr-defined]
    if annotation is not int and annotation is not float:
        return None
    if kind is int and 0 < abs(value) < _MOST_EXACT:  # type: ignore[arg-type]
        return (f"{value}.0",)
    return () if kind is float and value % 1 else None  # type: ignore[operator]


def _is_portable(text: str) -> bool:
    return value_texts.portable_text(value_texts.from_portable_text(text)) == text


_MOST_COMBINATIONS = 64


def _equal_values(annotation: Any, value: Any) -> Iterator[Any]:
    """Yield values of *annotation* that are equal to *value*, and have other texts: numbers, also in tuples and lists."""
    for kind in _alternatives(annotation):
        origin = typing.get_origin(kind)
        if origin is typing.Literal or origin is None:
            kinds = [type(choice) for choice in typing.get_args(kind)] if origin else [kind]
            if any(_is_number_type(choice) for choice in kinds):
                yield from _equal_numbers(kinds, value)
        elif origin in {tuple, list} and type(value) is origin:
            yield from _equal_sequences(origin, typing.get_args(kind), value)


def _equal_sequences(origin: type, kinds: tuple[Any, ...], value: Any) -> Iterator[Any]:
    if origin is list or (len(kinds) == 2 and kinds[1] is Ellipsis):
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        return
    choices = [list(_equal_values(kind, part)) or [part] for kind, part in zip(kinds, value, strict=True)]
    if math.prod(len(parts) for parts in choices) <= _MOST_COMBINATIONS:
        yield from (origin(parts) for parts in itertools.product(*choices))
    else:
        for place in range(max(len(parts) for parts in choices)):
            yield origin(parts[min(place, len(parts) - 1)] for parts in choices)


def _equal_numbers(kinds: list[Any], value: Any) -> Iterator[Any]:
    number = value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value
    if not isinstance(number, (int, float, complex)):
        return
    makers: list[Callable[[Any], Any]] = [int, float, *(make for make in (bool, complex) if make in kinds)]
    candidates = [number]
    for make in makers:
        try:
            candidates.append(make(number))
        except (TypeError, ValueError, OverflowError):  # NaN, infinity, complex numbers, very large ones
            continue
    if number == 0:
        candidates.append(-0.0)
    equal = [candidate for candidate in candidates if candidate == number or candidate is number]
    yield from {str(candidate): candidate for candidate in equal}.values()


def _is_number_type(kind: Any) -> bool:
    return isinstance(kind, type) and (kind in {bool, int, float, complex} or _is_numpy_number(kind))


def admits(annotation: Any, kind: type) -> bool | None:
    """Return whether a value of *kind* may belong to *annotation*; None where the annotation does not tell."""
    unknown = False
    for alternative in _alternatives(annotation):
        origin = typing.get_origin(alternative) or alternative
        if origin is typing.Literal:
            if any(isinstance(value, kind) for value in typing.get_args(alternative)):
                return True
        elif alternative is None:
            continue
        elif not isinstance(origin, type) or origin in {object, Any}:
            unknown = True
        elif issubclass(kind, origin):
            return True
    return None if unknown else False


def _alternatives(annotation: Any) -> Iterator[Any]:
    """Yield the types of a union; of wrappers that say more about a type, the type."""
    while True:
        if hasattr(annotation, "__supertype__"):  # NewType
            annotation = annotation.__supertype__
        elif typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            break
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        for part in typing.get_args(annotation):
            yield from _alternatives(part)
    else:
        yield annotation


def _candidates(annotation: Any, text: str) -> Iterator[Any]:
    """Yield values of *annotation* that may have the text *text*; :data:`UNDECIDED` where it is not known."""
    for alternative in _alternatives(annotation):
        if typing.get_origin(alternative) is typing.Literal:
            yield from typing.get_args(alternative)
        elif alternative is None or alternative is type(None):
            yield None
        elif isinstance(alternative, type) and issubclass(alternative, enum.Enum):
            yield from alternative
        else:
            read = _reader(typing.get_origin(alternative) or alternative)
            if read is None:
                yield UNDECIDED
                return
            try:
                yield read(text)
            except (ValueError, TypeError, SyntaxError, ArithmeticError, RecursionError, MemoryError):
                continue


def _reader(kind: Any) -> Callable[[str], Any] | None:
    """Return the function that makes a value of *kind* of its text, or None where none is known."""
    if not isinstance(kind, type):
        return None
    if kind is bool:
        return _bool
    if kind in {datetime.date, datetime.datetime, datetime.time}:
        return kind.fromisoformat
    if kind in _CONTAINERS:
        return lambda text: _instance(kind, _literal(kind, text))
    name = f"{kind.__module__}.{kind.__qualname__}"
    if name == "fractions.Fraction":
        return lambda text: kind(_terms(text))
    made_of_text = name in _MADE_OF_TEXT
    is_path = issubclass(kind, pathlib.PurePath) and kind.__module__.startswith("pathlib")
    return kind if made_of_text or is_path or _is_numpy_number(kind) else None


def _literal(kind: type, text: str) -> Any:
    if kind is not frozenset:
        return ast.literal_eval(text)
    if not (text.startswith("frozenset(") and text.endswith(")")):
        raise ValueError(text)
    inner = text[len("frozenset(") : -1]
    return frozenset(_instance(set, ast.literal_eval(inner)) if inner else ())


def _bool(text: str) -> bool:
    if text not in {"True", "False"}:
        raise ValueError(text)
    return text == "True"


def _terms(text: str) -> str:
    """Return *text* if it is that of a fraction; others, like ``1e999999999``, take without end."""
    if not text.removeprefix("-").replace("/", "", 1).isdecimal():
        raise ValueError(text)
    return text


def _instance(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(kind)
    return value


def _is_numpy_number(kind: type) -> bool:
    return kind.__module__ == "numpy" and any(base.__qualname__ == "number" for base in kind.__mro__)
