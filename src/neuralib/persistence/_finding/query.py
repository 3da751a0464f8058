"""What is asked of the keys of results: a value, any of several values, or that a function says yes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from neuralib.persistence._classes.field import missing
from neuralib.persistence._classes.name_texts import text_of
from neuralib.persistence._equality import same_value
from neuralib.persistence._errors import KeyNotSetError, UnknownFieldError, shown
from neuralib.persistence._naming.typed import admits

if TYPE_CHECKING:
    from neuralib.persistence._classes.field import PersistentField
    from neuralib.persistence._classes.schema import PersistentClass

Test = Callable[[Any], object]


class Conditions(NamedTuple):
    """What is asked, by field; of the fields that are not among them, nothing."""

    texts: dict[str, frozenset[str | None]]
    """The texts that a key may have in the name; None: that the name leaves it out."""
    tests: dict[str, Test]
    """What the value of a field has to pass."""
    about: tuple[str, ...]
    """The same in words."""

    def and_more(self, other: Conditions) -> Conditions:
        """Return these and those of *other* together."""
        texts = dict(self.texts)
        for name, more in other.texts.items():
            texts[name] = texts[name] & more if name in texts else more
        tests = dict(self.tests)
        for name, test in other.tests.items():
            tests[name] = _both(tests[name], test) if name in tests else test
        return Conditions(texts, tests, (*self.about, *other.about))


NOTHING_ASKED = Conditions({}, {}, ())


def of_template(info: PersistentClass[Any], template: Any, overrides: dict[str, Any]) -> Conditions:
    """Return the conditions that a template sets: the keys in its name, with the values of *overrides* in their place.

    :raises KeyNotSetError: a key of the name has no value, not even ``missing``
    :raises UnknownFieldError: *overrides* names no field
    """
    _refuse_unknown(info, overrides)
    texts: dict[str, frozenset[str | None]] = {}
    about = []
    for it in info.named_fields:
        name = it.field_name
        if name in overrides:
            value = overrides[name]
        else:
            value = getattr(template, name, None if it.autoinc else KeyNotSetError)
            if value is KeyNotSetError:
                raise KeyNotSetError(info.persistence_cls.__qualname__, name)
        if value is missing or (it.autoinc and value is None):
            continue
        texts[name] = frozenset([text_of(it, value)])
        about.append(f"{name}={shown(value)}")
    return Conditions(texts, {}, tuple(about))


def of_keys(info: PersistentClass[Any], asked: dict[str, Any]) -> Conditions:
    """Return the conditions *asked*, by field: see :meth:`PersistenceHandler.find`.

    :raises UnknownFieldError: there is no such field
    """
    _refuse_unknown(info, asked)
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
        elif not any(it is missing for it in values):
            about.append(
                f"{name}={shown(condition)}"
                if len(values) == 1 and values[0] is condition
                else f"{name} in {shown(condition)}"
            )
            if declared.filename:
                texts[name] = frozenset(text_of(declared, it) for it in values)
            else:
                tests[name] = _is_any_of(values)
    return Conditions(texts, tests, tuple(about))


def _values(declared: PersistentField[Any], condition: Any) -> list[Any] | None:
    """Return the values that *condition* admits, or None where it is a function."""
    if isinstance(condition, (str, bytes)) or admits(declared.field_type, type(condition)):
        return [condition]
    if isinstance(condition, (set, frozenset, list, range, Iterator)):
        return list(condition)
    # A tuple, an array, a Series, a dict's keys: unless the key may be such a value itself.
    if isinstance(condition, Iterable) and admits(declared.field_type, type(condition)) is False:
        return list(condition)
    return None if callable(condition) else [condition]


def _is_any_of(values: list[Any]) -> Test:
    return lambda value: any(same_value(it, value) for it in values)


def _explained(test: Test, name: str) -> Test:
    def explained(value: Any) -> object:
        try:
            return test(value)
        except Exception as error:
            error.add_note(f"in the condition on {name}, which was given {shown(value)}")
            raise

    return explained


def _both(first: Test, second: Test) -> Test:
    return lambda value: first(value) and second(value)


def _refuse_unknown(info: PersistentClass[Any], names: Iterable[str]) -> None:
    known = info.fields_name()
    for name in names:
        if name not in known:
            raise UnknownFieldError(info.persistence_cls.__qualname__, name, tuple(known))
