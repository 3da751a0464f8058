"""Names of results: from keys to a name, and the patterns by which names are read back."""

from __future__ import annotations

import abc
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from neuralib.persistence import _core
from neuralib.persistence._classes.name_texts import AnyText, literals_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neuralib.persistence._classes.schema import PersistentClass


class Names(abc.ABC):
    """How a handler names results, of which only the whole name need be known.

    :param info: the class
    :param suffix: the end of the names, where all have the same
    :param others: the ends of names of other formats that can be read too
    """

    __slots__ = ("info", "others", "suffix")

    def __init__(self, info: PersistentClass[Any], suffix: str = "", others: tuple[str, ...] = ()) -> None:
        self.info = info
        self.suffix, self.others = suffix, others

    @abc.abstractmethod
    def name(self, result: Any, overrides: dict[str, Any] | None = None, /) -> str:
        """Return the name for the keys of *result*, replaced by *overrides*, its suffix included."""

    def is_plainly_named(self, result: Any, name: str, /) -> bool:
        """Return whether *name* surely is the name of *result*. False asks for a closer look."""
        return False

    def around_number(self, result: Any, /) -> tuple[str, str]:
        """Return what stands before and after the auto-increment number in the name of *result*."""
        field: str = self.info.layout.autoinc  # type: ignore[assignment]
        plain = self.name(result, {field: 0})
        mark = next(mark for mark in map(AnyText, range(AnyText.COUNT)) if str(mark.text) not in plain)
        head, tail = self.name(result, {field: mark}).split(str(mark.text))
        return head, tail

    def number_marks(self) -> tuple[str, str] | None:
        """Return the texts right before and after the number in every name; None where they are not known."""
        return None


class ClassNames(Names):
    """Names as the class declares them."""

    __slots__ = ("_layout", "is_plainly_named")

    def __init__(self, info: PersistentClass[Any], suffix: str, others: tuple[str, ...]) -> None:
        super().__init__(info, suffix, others)
        self._layout = info.layout
        # A call less, for each of many.
        self.is_plainly_named = partial(_core.is_plainly_named, info.layout, suffix)  # type: ignore[method-assign]

    def name(self, result: Any, overrides: dict[str, Any] | None = None, /) -> str:
        """Return the name for the keys of *result*, replaced by *overrides*."""
        if overrides is None:
            plain = _core.plain_name(self._layout, result, self.suffix)
            if plain is not None:
                return plain
        name = _core.format_name(self._layout, result, overrides) + self.suffix
        if not _core.is_plain_name(name):
            self.info.check_name(name, result, overrides or {})
        return name

    def around_number(self, result: Any, /) -> tuple[str, str]:
        """Return what stands before and after the auto-increment number in the name of *result*."""
        return _core.around_number(self._layout, result, self.suffix) or super().around_number(result)

    def number_marks(self) -> tuple[str, str] | None:
        """Return the texts right before and after the number in every name."""
        parts = self._layout.parts
        place = next((place for place, part in enumerate(parts) if part[0] == self._layout.autoinc), None)
        if place is None:
            return None
        if any(part[2] is not None for part in parts[place + 1 :]):
            return parts[place][1], ""  # keys that a function may leave out
        return parts[place][1], parts[place + 1][1] if place + 1 < len(parts) else self.suffix


class Pattern(NamedTuple):
    """The fixed texts of a name, and which key is between each two."""

    literals: tuple[str, ...]
    columns: tuple[int, ...]


def patterns_of(names: Names, info: PersistentClass[Any], template: Any = None) -> list[Pattern]:
    """Return the patterns of all names of the class: several where it may leave keys out of the name.

    Those of the handler's own format come first, then as many of each other format that it reads.

    :param template: a result, for names that need more of it than its keys
    """
    variants: list[dict[str, AnyText]] = [{}]
    for column, field in enumerate(info.named_fields):
        # Only a class's own function leaves a key out.
        kinds = [AnyText(column), AnyText(absent=True)] if callable(field.filename) else [AnyText(column)]
        variants = [{**variant, field.field_name: kind} for variant in variants for kind in kinds]
    found = [Pattern(*literals_of(names.name(template, variant))) for variant in variants]
    return found + [
        Pattern((*literals[:-1], literals[-1].removesuffix(names.suffix) + other), columns)
        for other in names.others
        for literals, columns in found
    ]


# ---------------------------------------------------------------------------------------------- names in every way

MOST_READINGS = 256
"""Of one name: with more, only what is in the file can tell."""


def readings(name: str, patterns: list[Pattern]) -> Iterator[dict[int, str]]:
    """Yield each way to read *name*: the texts between the literals of a pattern, by column."""
    for literals, columns in patterns:
        end = len(name) - len(literals[-1])
        if not columns and name == literals[0]:
            yield {}
        elif columns and end >= len(literals[0]) and name.startswith(literals[0]) and name.endswith(literals[-1]):
            for texts in _split(name, len(literals[0]), end, literals[1:-1]):
                yield dict(zip(columns, texts, strict=True))


def _split(name: str, start: int, end: int, literals: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if not literals:
        yield (name[start:end],)
        return
    at = name.find(literals[0], start, end)
    while at >= 0:
        for rest in _split(name, at + len(literals[0]), end, literals[1:]):
            yield (name[start:at], *rest)
        at = name.find(literals[0], at + 1, end)
