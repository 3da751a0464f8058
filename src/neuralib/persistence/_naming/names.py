"""Names of results: from keys to a name, and the patterns by which names are read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from neuralib.persistence import _core
from neuralib.persistence._classes.name_texts import AnyText, literals_of

if TYPE_CHECKING:
    from neuralib.persistence._classes.schema import PersistentClass


class Names(Protocol):
    """How a handler names results."""

    def name(self, result: Any, overrides: dict[str, Any] | None = None, /) -> str:
        """Return the name for the keys of *result*, replaced by *overrides*, its suffix included."""
        ...

    def around_number(self, result: Any, /) -> tuple[str, str]:
        """Return what stands before and after the auto-increment number in the name of *result*."""
        ...

    def number_marks(self) -> tuple[str, str] | None:
        """Return the texts right before and after the number in every name; None where they are not known."""
        ...


class ClassNames:
    """Names as the class declares them.

    :param info: the class
    :param suffix: the end of the names
    """

    __slots__ = ("_layout", "info", "suffix")

    def __init__(self, info: PersistentClass[Any], suffix: str) -> None:
        self.info = info
        self.suffix = suffix
        self._layout = info.layout

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
        return _core.around_number(self._layout, result, self.suffix) or around_number(self, self.info, result)

    def number_marks(self) -> tuple[str, str] | None:
        """Return the texts right before and after the number in every name."""
        parts = self._layout.parts
        place = next((place for place, part in enumerate(parts) if part[0] == self._layout.autoinc), None)
        if place is None:
            return None
        if any(part[2] is not None for part in parts[place + 1 :]):
            return parts[place][1], ""  # keys that a function may leave out
        return parts[place][1], parts[place + 1][1] if place + 1 < len(parts) else self.suffix


def around_number(names: Names, info: PersistentClass[Any], result: Any) -> tuple[str, str]:
    """Return what stands before and after the number in the name of *result*, for names of any kind."""
    field: str = info.layout.autoinc  # type: ignore[assignment]
    plain = names.name(result, {field: 0})
    mark = next(mark for mark in map(AnyText, range(AnyText.COUNT)) if str(mark.text) not in plain)
    head, tail = names.name(result, {field: mark}).split(str(mark.text))
    return head, tail


class Pattern(NamedTuple):
    """The fixed texts of a name, and which key is between each two."""

    literals: tuple[str, ...]
    columns: tuple[int, ...]


def patterns_of(names: Names, info: PersistentClass[Any], template: Any = None) -> list[Pattern]:
    """Return the patterns of all names of the class: several where it may leave keys out of the name.

    :param template: a result, for names that need more of it than its keys
    """
    variants: list[dict[str, AnyText]] = [{}]
    for column, field in enumerate(info.named_fields):
        # Only a class's own function leaves a key out.
        kinds = [AnyText(column), AnyText(absent=True)] if callable(field.filename) else [AnyText(column)]
        variants = [{**variant, field.field_name: kind} for variant in variants for kind in kinds]
    return [Pattern(*literals_of(names.name(template, variant))) for variant in variants]
