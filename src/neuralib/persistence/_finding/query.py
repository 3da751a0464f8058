"""Conditions on the keys of results: a value, any of several values, or a function that returns whether a value fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from neuralib.persistence._classes.evolution import refuse_unknown
from neuralib.persistence._classes.field import missing, same_key
from neuralib.persistence._errors import KeyNotSetError
from neuralib.persistence._messages import shown
from neuralib.persistence._naming.typed import admits, texts_matching

if TYPE_CHECKING:
    from neuralib.persistence._classes.field import PersistentField
    from neuralib.persistence._classes.schema import PersistentClass

Test = Callable[[Any], object]


class Conditions(NamedTuple):
    """Conditions by field. A field without one may have any value."""

    texts: dict[str, frozenset[str | None]]
    """The texts that a key may have in the name. None means that the name leaves the key out."""
    tests: dict[str, Test]
    """The tests that the value of a field must pass."""
    about: tuple[str, ...]
    """The conditions in words, for messages."""

    def and_more(self, other: Conditions) -> Conditions:
        """Return these conditions and those of *other*, which are on other fields."""
        return Conditions({**self.texts, **other.texts}, {**self.tests, **other.tests}, (*self.about, *other.about))


NOTHING_ASKED = Conditions({}, {}, ())


def of_template(info: PersistentClass[Any], template: Any, overrides: dict[str, Any]) -> Conditions:
    """Return the conditions that a template sets: the values of the keys in its name, replaced by *overrides*.

    :raises KeyNotSetError: a key of the name has no value, not even ``missing``
    :raises UnknownFieldError: *overrides* names no field
    """
    refuse_unknown(info, overrides, info.fields_name())
    texts: dict[str, frozenset[str | None]] = {}
    about = []
    for declared in info.named_fields:
        name = declared.field_name
        if name in overrides:
            value = overrides[name]
        else:
            value = getattr(template, name, None if declared.autoinc else KeyNotSetError)
            if value is KeyNotSetError:
                raise KeyNotSetError(info.persistence_cls.__qualname__, name)
        if value is missing or (declared.autoinc and value is None):
            continue
        texts[name] = texts_matching(declared, value)
        about.append(f"{name}={shown(value)}")
    return Conditions(texts, {}, tuple(about))


def of_keys(info: PersistentClass[Any], asked: dict[str, Any]) -> Conditions:
    """Return the conditions *asked*, by field: see :meth:`PersistenceHandler.find`.

    :raises UnknownFieldError: there is no such field
    """
    refuse_unknown(info, asked, info.fields_name())
    texts: dict[str, frozenset[str | None]] = {}
    tests: dict[str, Test] = {}
    about = []
    for name, condition in asked.items():
        declared = info.get_field(name)
        assert declared is not None, "unknown names were refused"
        if condition is missing or (declared.autoinc and condition is None):
            continue
        values = _values(declared, condition)
        if values is None:
            tests[name] = _explained(condition, name)
            about.append(f"{name}: {getattr(condition, '__name__', shown(condition))}")
        elif not any(value is missing for value in values):
            about.append(
                f"{name}={shown(condition)}"
                if len(values) == 1 and values[0] is condition
                else f"{name} in {shown(condition)}"
            )
            if declared.filename:
                texts[name] = frozenset(text for value in values for text in texts_matching(declared, value))
            else:
                tests[name] = _is_any_of(values)
    return Conditions(texts, tests, tuple(about))


def _values(declared: PersistentField[Any], condition: Any) -> list[Any] | None:
    """Return the values that *condition* admits, or None if it is a function."""
    if isinstance(condition, (str, bytes)) or admits(declared.field_type, type(condition)):
        return [condition]
    if isinstance(condition, (set, frozenset, list, range, Iterator)):
        return list(condition)
    # A tuple, an array, a Series or a dict's keys are several values, unless a value of the key may be such a thing itself.
    if isinstance(condition, Iterable) and admits(declared.field_type, type(condition)) is False:
        return list(condition)
    return None if callable(condition) else [condition]


def _is_any_of(values: list[Any]) -> Test:
    return lambda value: any(same_key(wanted, value) for wanted in values)


def _explained(test: Test, name: str) -> Test:
    def explained(value: Any) -> object:
        try:
            return test(value)
        except Exception as error:
            error.add_note(f"in the condition on {name}, which was given {shown(value)}")
            raise

    return explained
