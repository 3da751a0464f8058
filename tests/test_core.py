"""The compiled core and its reference give the same answer, or the same type of error."""

from __future__ import annotations

import ast
import importlib
import inspect
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
from hypothesis import given, strategies as st

from neuralib.persistence import (
    AutoIncFieldNotResolvedError,
    KeyNotSetError,
    NotPersistenceClassError,
    _core,
    autoinc_field,
    field,
    filename,
    missing,
    persistence_class,
)
from neuralib.persistence._classes.name_texts import AnyText

TEXT = st.one_of(
    st.text(max_size=12),
    st.text("-_#*?[].0129aé", max_size=8),
    st.sampled_from(["A", "A-b", "..", "x[1]", "\ud800", "a/b", "\0", "٣", "²", "a" * 300, ""]),
)


@persistence_class
class Run:
    a: Any = field(filename=True)
    number: int = autoinc_field("#")
    b: Any = field(filename_prefix="p", filename=True)


class Colour(str, Enum):
    # Longer than the texts that hypothesis draws: one that is equal to a text is taken for it there, and confuses it.
    RED = "red as the wine in the painting"


class Shape(Enum):
    ROUND = "round"


VALUE = st.one_of(
    TEXT,
    st.integers(),
    st.integers(0, 10**25),
    st.booleans(),
    st.none(),
    st.floats(),
    st.tuples(st.floats(), st.integers()),
    st.dates(),
    st.just(missing),
    st.builds(np.int64, st.integers(-5, 5)),
    st.sampled_from([*Colour, *Shape, np.float32(0.1), np.bool_(True)]),
    st.builds(AnyText, st.integers(0, 3), absent=st.booleans()),
)


@persistence_class
class Small:
    a: Any = field(filename=True)
    b: Any = field(filename_prefix="p", filename=True)
    c: Any = field(filename=lambda value: None if value is None else f"<{value}>")
    d: Any = field(default=7)
    x: Any
    y: Any = 3


def outcome(function, *arguments, **named):
    try:
        return function(*arguments, **named)
    except Exception as error:
        return type(error)


@given(st.dictionaries(st.sampled_from("abcdxyz"), VALUE), st.lists(st.sampled_from("abcdxy"), unique=True))
def test_as_dict_and_from_dict_agree_with_the_reference(values, unset):
    """Whatever is set, missing or too much, in any order."""
    mine, theirs = outcome(_core.new_from_dict, Small, values), outcome(reference.new_from_dict, Small, values)
    if isinstance(theirs, type):
        assert mine is theirs
        return
    for result in (mine, theirs):
        for name in unset:
            vars(result).pop(name, None)
    found = _core.as_dict(mine)
    assert repr(found) == repr(reference.as_dict(theirs))
    assert [name for name in "abcdxy" if name in found] == list(found)


class Fresh:
    """A default that each result gets anew, as the library has them for lists: no data descriptor."""

    def __get__(self, result, owner):
        if result is None:
            raise AttributeError("y")
        return result.__dict__.setdefault("y", ["made for", 1])


class Watched:
    """A property of a kind: what it gives is not what the instance's dict has."""

    def __get__(self, result, owner):
        return self if result is None else "watched"

    def __set__(self, result, value):
        result.__dict__["x"] = value


def shapes():
    """Classes with the fields a, b, c, d, x and y whose results come by their attributes in all possible ways."""

    class Same(Small):
        def double(self):
            return self.a * 2

    class Slotted(Small):
        __slots__ = ("x",)

    class Asked(Small):
        def __getattr__(self, name):
            if name in {"x", "b"}:
                return f"asked for {name}"
            raise AttributeError(name)

    class Answering(Small):
        def __getattribute__(self, name):
            return "answered" if name == "a" else super().__getattribute__(name)

    class Defaulting(Small):
        x = "of the class"
        y = Fresh()

    class Watching(Small):
        x = Watched()

    class Storing(Small):
        def __setattr__(self, name, value):
            super().__setattr__(name, ("stored", value))

    class Made(Small):
        def __new__(cls, *_, **__):
            result = super().__new__(cls)
            vars(result)["z"] = vars(result)["x"] = "made"
            return result

    return [Small, Same, Slotted, Asked, Answering, Defaulting, Watching, Storing, Made]


def uninterned(name):
    """Return an equal text that is another object, as names from a file are."""
    return (name + "!")[:-1]


@given(
    st.sampled_from(shapes()),
    st.permutations("abcdxyz"),
    st.integers(0, 7),
    st.lists(st.sampled_from("abcdxyz"), max_size=3),
    st.booleans(),
)
def test_as_dict_agrees_with_the_reference_for_results_of_every_shape(cls, order, count, unset, as_texts):
    """Set in any order, some not, some no fields, some by names that are not interned; and classes with their own ways."""
    mine, theirs = cls.__new__(cls), cls.__new__(cls)
    for result in (mine, theirs):
        for name in order[:count]:
            if as_texts:
                vars(result)[uninterned(name)] = f"value of {name}"
            else:
                setattr(result, name, f"value of {name}")
        for name in unset:
            vars(result).pop(name, None)
    for _ in range(2):  # the second time, defaults are there
        found = _core.as_dict(mine)
        assert list(found.items()) == list(reference.as_dict(theirs).items())
    assert vars(mine) == vars(theirs)
    found["x"] = "changed"
    assert vars(mine) == vars(theirs), "the dict is the caller's own"


@given(
    st.sampled_from(shapes()),
    st.permutations("abcdxyz"),
    st.integers(0, 7),
    st.booleans(),
)
def test_from_dict_agrees_with_the_reference_for_classes_of_every_shape(cls, order, count, interned):
    """With values in any order, by the class's own names and by those of a file."""
    values = {name if interned else uninterned(name): f"value of {name}" for name in order[:count]}
    mine, theirs = outcome(_core.new_from_dict, cls, values), outcome(reference.new_from_dict, cls, values)
    if isinstance(theirs, type):
        assert mine is theirs
        return
    assert type(mine) is cls
    assert list(vars(mine).items()) == list(vars(theirs).items())
    assert outcome(getattr, mine, "x") == outcome(getattr, theirs, "x")


def test_a_class_may_change_after_its_results_were_seen():
    """What was found out of a class holds only as long as it is the same."""

    class Base:
        pass

    @persistence_class
    class Changing(Base):
        a: Any = field(filename=True)
        b: Any

    class Below(Changing):
        pass

    results = [Changing(1), Below(1)]
    for result in results:
        result.b = 2
        assert _core.as_dict(result) == {"a": 1, "b": 2}
        assert filename(result) == "cache-Changing-1"
    Base.b = property(lambda self: 3, lambda self, value: None)
    for result in results:
        assert _core.as_dict(result) == reference.as_dict(result) == {"a": 1, "b": 3}
        made = _core.new_from_dict(type(result), {"a": 1, "b": 2})
        assert vars(made) == vars(reference.new_from_dict(type(result), {"a": 1, "b": 2})) == {"a": 1}
    Base.a = property(lambda self: "a property's")
    for result in results:
        assert filename(result) == reference.filename(result) == "cache-Changing-a property's"
        with pytest.raises(AttributeError):
            _core.new_from_dict(type(result), {"a": 1})
    del Base.a, Base.b
    for result in results:
        assert _core.as_dict(result) == {"a": 1, "b": 2}
    Base.b = "a default"
    for result in results:
        del result.b
        assert _core.as_dict(result) == {"a": 1, "b": "a default"}
    Changing.__getattribute__ = lambda self, name: 7 if name == "a" else object.__getattribute__(self, name)
    for result in results:
        assert _core.as_dict(result) == {"a": 7, "b": "a default"}
        assert filename(result) == "cache-Changing-7"


def test_keys_that_compare_in_ways_of_their_own_are_no_fields():
    """An instance's dict may hold any object."""

    class Odd:
        def __hash__(self):
            return hash("x")

        def __eq__(self, other):
            raise AssertionError("it is not to be compared")

    result = Small(1, 2, 3)
    result.x = 4
    vars(result)[5] = vars(result)[7, 8] = "no field"
    assert _core.as_dict(result) == reference.as_dict(result)
    del result.x
    vars(result)[Odd()] = "no field"
    assert outcome(_core.as_dict, result) == outcome(reference.as_dict, result)


def test_a_result_with_many_other_attributes_has_its_fields():
    """More than are worth to be taken out one by one."""
    result = Small.__new__(Small)
    vars(result).update({f"other{number}": number for number in range(100)})
    for name in "yxdcba":
        setattr(result, name, name)
    assert list(_core.as_dict(result).items()) == [(name, name) for name in "abcdxy"]


def test_only_results_are_made_into_dicts():
    """And only persistence classes have instances made of dicts."""
    for subject in (Small, 5, None, Run):
        assert outcome(_core.as_dict, subject) is outcome(reference.as_dict, subject) is NotPersistenceClassError
    assert (
        outcome(_core.new_from_dict, int, {}) is outcome(reference.new_from_dict, int, {}) is NotPersistenceClassError
    )


@given(VALUE, VALUE, VALUE, st.none() | st.dictionaries(st.sampled_from("abcdq"), VALUE, max_size=2))
def test_format_name_agrees_with_the_reference(a, b, c, overrides):
    """Whatever the values are."""
    result = Small(a, b, c)
    layout = Small._persistence_layout_
    mine = outcome(_core.format_name, layout, result, overrides)
    assert mine == outcome(reference.format_name, layout, result, overrides)
    if isinstance(mine, str):
        assert _core.is_plain_name(mine) == reference.is_plain_name(mine)


@persistence_class
class Shown:
    a: Any = field(filename=True)
    b: Any = field(filename=lambda value: None if value is None else f"<{value}>")
    number: int = autoinc_field("#")
    c: Any = field(filename_prefix="é", filename=True)


@given(
    st.sampled_from([Small, Run, Shown]),
    st.dictionaries(st.sampled_from("abc"), VALUE),
    st.dictionaries(st.sampled_from(["a", "b", "c", "number", "q"]), VALUE, max_size=2),
    st.one_of(st.none(), st.integers(0, 30), VALUE),
    st.sampled_from([".pkl", "", "é"]),
)
def test_each_way_to_a_name_agrees_with_the_reference(cls, keys, overrides, number, suffix):
    """The public name, the plain one, what is around the number, and whether there is one; also of keys that are not set."""
    result, layout = cls.__new__(cls), cls._persistence_layout_
    for name in set(layout.names) & keys.keys():
        setattr(result, name, keys[name])
    if "number" in layout.names:
        result.number = number
    for subject in (result, cls):
        assert outcome(_core.filename, subject, **overrides) == outcome(reference.filename, subject, **overrides)
    for changes in (None, {}, overrides):
        mine = outcome(_core.is_numbered, layout, result, changes)
        assert mine == outcome(reference.is_numbered, layout, result, changes)
    for function in ("plain_name", "around_number"):
        mine = outcome(getattr(_core, function), layout, result, suffix)
        theirs = outcome(getattr(reference, function), layout, result, suffix)
        # The slow path, which is asked for by None, tells of a key that is not set behind a text that is not plain.
        assert mine == theirs or (mine is None and theirs is KeyNotSetError), function


class Loud:
    """A value that counts how often its text was asked for."""

    def __init__(self, text):
        self.text, self.asked = text, 0

    def __str__(self):
        self.asked += 1
        return self.text


@pytest.mark.parametrize("text", ["plain", "é", "a" * 600])
def test_a_value_is_asked_for_its_text_once(text):
    """Also where the name turns out to be long, or not ASCII, behind it."""
    before, behind = Loud("x"), Loud(text)
    _core.format_name(Small._persistence_layout_, Small(before, behind, None), None)
    assert (before.asked, behind.asked) == (1, 1)


def test_an_open_number_is_told_before_other_keys_that_are_not_set():
    """It is no mistake, and has an error of its own."""
    bare = Run.__new__(Run)
    for keys in ({}, {"number": None}, {"a": 1}):
        for subject in (Run, bare, Run("x", b="y")):
            with pytest.raises(AutoIncFieldNotResolvedError):
                filename(subject, **keys)
    with pytest.raises(KeyNotSetError):
        filename(bare, number=3)
    assert filename(Run("x", b="y"), number=3) == "cache-Run-x-#3-py"
    assert filename(Run("x", b="y"), number=missing) == "cache-Run-x-#*-py"
    assert filename(Run, a="x", number=3, b="é") == "cache-Run-x-#3-pé"


@given(TEXT)
def test_is_plain_name_agrees_with_the_reference(text):
    """Also for texts that are no names."""
    assert _core.is_plain_name(text) == reference.is_plain_name(text)


def test_any_text_stands_for_any_text_or_none():
    """The placeholder of patterns."""
    layout = Small._persistence_layout_
    assert (
        _core.format_name(layout, None, {"a": AnyText(), "b": 1, "c": AnyText(absent=True)})
        == f"cache-Small-{AnyText().text}-p1"
    )


def test_as_dict_looks_through_properties_and_hooks():
    """The instance's own dict is not the whole truth there."""

    @persistence_class
    class Odd:
        a: int = field()
        b: int

    Odd.b = property(lambda self: 5, lambda self, value: None)

    class Hooked(Odd):
        def __getattribute__(self, name):
            return 9 if name == "a" else super().__getattribute__(name)

    assert _core.as_dict(Hooked(1)) == {"a": 9, "b": 5}
    assert _core.as_dict(Odd(1)) == {"a": 1, "b": 5}


def test_enum_and_str_subclasses_show_as_str_shows_them():
    """The fast path is for exact types only."""

    class Loud(str):
        def __str__(self):
            return "LOUD"

    assert str(Small(Loud("x"), Colour.RED, None)) == f"cache-Small-LOUD-p{Colour.RED!s}"


@given(st.from_regex(r"[A-Za-z_]{1,5}", fullmatch=True))
def test_layout_cannot_be_changed(name):
    """So it needs no lock."""
    with pytest.raises(AttributeError):
        setattr(Small._persistence_layout_, name, 1)


PACKAGE = Path(_core.__file__).parent
CORE = sorted(path.stem for path in PACKAGE.glob("_*.pyi") if path.stem != "__init__")


def parameters(function):
    return [
        (parameter.name, parameter.kind, parameter.default)
        for parameter in inspect.signature(function).parameters.values()
    ]


@pytest.mark.parametrize("module", CORE)
def test_the_reference_has_a_twin_of_everything_public(module):
    """With the same parameters: of a function, a class and its methods."""
    compiled = importlib.import_module(f"neuralib.persistence.{module}")
    for node in ast.parse((PACKAGE / f"{module}.pyi").read_text()).body:
        if isinstance(node, ast.AnnAssign):
            assert hasattr(reference, node.target.id), node.target.id
        elif isinstance(node, ast.FunctionDef):
            assert parameters(getattr(compiled, node.name)) == parameters(getattr(reference, node.name)), node.name
        elif isinstance(node, ast.ClassDef):
            methods = [method.name for method in node.body if isinstance(method, ast.FunctionDef)]
            for name in methods:
                mine, twin = getattr(getattr(compiled, node.name), name), getattr(getattr(reference, node.name), name)
                if inspect.isfunction(twin) and not name.startswith("__"):
                    assert parameters(mine) == parameters(twin), f"{node.name}.{name}"
    assert set(CORE) >= {"_core", "_names", "_scan", "_disk", "_pickling"}
