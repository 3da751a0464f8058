"""The compiled core and its reference give the same result, or the same type of error."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import threading
import time
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
    MissingFieldError,
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
    # Longer than the texts that hypothesis draws: objects that equal such a text would confuse it.
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
    """Whatever fields are set, missing, or unknown, in any order."""
    mine, theirs = outcome(_core.from_dict, Small, values), outcome(reference.from_dict, Small, values)
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
    """A default that is made anew for each result, as for lists; it is no data descriptor."""

    def __get__(self, result, owner):
        if result is None:
            raise AttributeError("y")
        return result.__dict__.setdefault("y", ["made for", 1])


class Watched:
    """A property: its value is not in the instance's dict."""

    def __get__(self, result, owner):
        return self if result is None else "watched"

    def __set__(self, result, value):
        result.__dict__["x"] = value


def shapes():
    """Classes with the fields a, b, c, d, x and y, whose instances keep attributes in all possible ways."""

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
    """Return an equal text that is another object, like a name that was read from a file."""
    return (name + "!")[:-1]


@given(
    st.sampled_from(shapes()),
    st.permutations("abcdxyz"),
    st.integers(0, 7),
    st.lists(st.sampled_from("abcdxyz"), max_size=3),
    st.booleans(),
)
def test_as_dict_agrees_with_the_reference_for_results_of_every_shape(cls, order, count, unset, as_texts):
    """Fields set in any order, missing fields, other attributes, names that are not interned, custom attribute access."""
    mine, theirs = cls.__new__(cls), cls.__new__(cls)
    for result in (mine, theirs):
        for name in order[:count]:
            if as_texts:
                vars(result)[uninterned(name)] = f"value of {name}"
            else:
                setattr(result, name, f"value of {name}")
        for name in unset:
            vars(result).pop(name, None)
    for _ in range(2):  # the second time, defaults exist already
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
    """With values in any order, under the class's own name objects and under equal ones."""
    values = {name if interned else uninterned(name): f"value of {name}" for name in order[:count]}
    mine, theirs = outcome(_core.from_dict, cls, values), outcome(reference.from_dict, cls, values)
    if isinstance(theirs, type):
        assert mine is theirs
        return
    assert type(mine) is cls
    assert list(vars(mine).items()) == list(vars(theirs).items())
    assert outcome(getattr, mine, "x") == outcome(getattr, theirs, "x")


def test_a_class_may_change_after_its_results_were_seen():
    """What the core remembers of a class is dropped when the class changes."""

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
        made = _core.from_dict(type(result), {"a": 1, "b": 2})
        assert vars(made) == vars(reference.from_dict(type(result), {"a": 1, "b": 2})) == {"a": 1}
    Below.__init__ = lambda self, a: None
    for core in (_core, reference):  # it has to be called
        assert vars(core.from_dict(Below, {"a": 1})) == {}
    del Below.__init__
    Base.a = property(lambda self: "a property's")
    for result in results:
        assert filename(result) == reference.filename(result) == "cache-Changing-a property's"
        with pytest.raises(AttributeError):
            _core.from_dict(type(result), {"a": 1})
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


def test_threads_that_change_a_result_disturb_nobody_who_reads_it():
    """Each answer is made of values that were set at some moment, whether or not there is a GIL."""

    @persistence_class
    class Shared:
        a: Any = field(filename=True)
        b: Any = field(filename=True)
        c: Any

    values = [f"value {number}" for number in range(8)]
    result, fields = Shared("value 0", "value 0"), {"a": "value 0", "b": "value 0", "c": "value 0"}
    ended = threading.Event()
    problems: list[object] = []

    def change(turn):
        for text in values:
            result.a, result.b, result.c = text + "", text + "", [text]
            fields["c"] = fields["a"] = (text + "!")[:-1]
            vars(result)[f"other{turn % 5}"] = text
            vars(result).pop(f"other{(turn + 2) % 5}", None)
            fields.pop("b", None)
            fields["b"] = (text + "!")[:-1]

    def change_class(turn):
        Shared.c = property(lambda self: "a property's", lambda self, value: None)
        del Shared.c

    def read(turn):
        found = _core.as_dict(result)
        assert found["a"] in values
        assert found["b"] in values
        assert set(found) <= {"a", "b", "c"}
        assert filename(result).count("value") == 2
        try:
            made = _core.from_dict(Shared, fields)
        except MissingFieldError as error:
            assert "b" in error.args  # noqa: PT017 - another thread was just replacing it
        else:
            assert made.a in values

    def until_the_end(step):
        try:
            turn = 0
            while not ended.is_set():
                step(turn)
                turn += 1
        except BaseException as error:
            problems.append(error)
            ended.set()

    kept = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=until_the_end, args=(step,)) for step in (change, change_class, read, read)]
        for thread in threads:
            thread.start()
        ended.wait(0.3)
        ended.set()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(kept)
    assert not problems


def test_a_default_may_wait_while_another_thread_changes_the_dict():
    """What is set after it is still taken out of the dict while nobody changes that."""
    names = [f"data{number}" for number in range(200)]

    def slow():
        time.sleep(0.0005)
        return "a default"

    body = {"__annotations__": {"a": str, **dict.fromkeys(names, Any)}, "__module__": __name__}
    made = persistence_class(type("Slow", (), body | {"a": field(default_factory=slow, filename=True)}))
    fields = {name: (0,) for name in names}
    ended = threading.Event()

    def change():
        turn = 0
        while not ended.is_set():
            turn += 1
            for name in reversed(names):
                fields[name] = (turn,)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(200):
            found = _core.from_dict(made, fields)
            assert found.a == "a default"
            assert all(type(getattr(found, name)) is tuple for name in names)
    finally:
        ended.set()
        thread.join()


def test_dict_keys_with_a_custom_eq_are_no_fields():
    """An instance's dict may have any object as a key."""

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
    """With more than the core removes one by one."""
    result = Small.__new__(Small)
    vars(result).update({f"other{number}": number for number in range(100)})
    for name in "yxdcba":
        setattr(result, name, name)
    assert list(_core.as_dict(result).items()) == [(name, name) for name in "abcdxy"]


def test_only_results_are_made_into_dicts():
    """In the other direction, only instances of persistence classes are made from dicts."""
    for subject in (Small, 5, None, Run):
        assert outcome(_core.as_dict, subject) is outcome(reference.as_dict, subject) is NotPersistenceClassError
    assert outcome(_core.from_dict, int, {}) is outcome(reference.from_dict, int, {}) is NotPersistenceClassError


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
def test_each_function_that_makes_a_name_agrees_with_the_reference(cls, keys, overrides, number, suffix):
    """The public one, the fast one, the one that gives the parts around the number; also with keys that are not set."""
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
        # None asks for the slow path. That one reports a key that is not set after a text that is not plain.
        assert mine == theirs or (mine is None and theirs is KeyNotSetError), function
    plain = outcome(_core.plain_name, layout, result, suffix)
    for name in {
        plain if isinstance(plain, str) else "é",
        f"cache-{cls.__name__}-x-1-pé",
        f"cache-{cls.__name__}-x-1-p1{suffix}",
    }:
        mine = outcome(_core.is_plainly_named, layout, suffix, result, name)
        theirs = outcome(reference.is_plainly_named, layout, suffix, result, name)
        assert mine == theirs or (mine is False and theirs is KeyNotSetError), name


@pytest.mark.parametrize(
    "value", ["x", "x" * 300, "é", 3, -3, 1 << 63, True, None, 1.5, (1,), b"x", missing, AnyText()]
)
@pytest.mark.parametrize("core", [_core, reference], ids=["compiled", "reference"])
def test_a_result_is_plainly_named_by_keys_with_brief_texts(core, value):
    """So that the text of a value from a file, which may be long or endless, is not made only to be compared."""
    layout, result = Run._persistence_layout_, Run("a", b=value)
    result.number = 3
    name = core.format_name(layout, result, None) + ".pkl"
    brief = value in ("x", 3, -3, True, None, 1.5)
    assert core.is_plainly_named(layout, ".pkl", result, name) is brief
    for other in (name[:-1], name + "x", name.replace("3", "4"), name.replace(".pkl", ".pkm"), f"x{name[1:]}"):
        assert not core.is_plainly_named(layout, ".pkl", result, other)


@pytest.mark.parametrize("core", [_core, reference], ids=["compiled", "reference"])
def test_a_name_with_a_key_by_a_function_is_not_compared_plainly(core):
    """The function may be asked for a value that it does not expect."""
    result = Shown("x", "y", c=1)
    result.number = 3
    layout = Shown._persistence_layout_
    assert not core.is_plainly_named(layout, ".pkl", result, core.format_name(layout, result, None) + ".pkl")


class CountsTexts:
    """A value that counts how often its text was asked for."""

    def __init__(self, text):
        self.text, self.asked = text, 0

    def __str__(self):
        self.asked += 1
        return self.text


@pytest.mark.parametrize("text", ["plain", "é", "a" * 600])
def test_a_value_is_asked_for_its_text_once(text):
    """A name that turns out to be long, or not ASCII, is written in another way, which does not ask for the texts again."""
    before, behind = CountsTexts("x"), CountsTexts(text)
    _core.format_name(Small._persistence_layout_, Small(before, behind, None), None)
    assert (before.asked, behind.asked) == (1, 1)


def test_a_missing_number_is_reported_before_other_missing_keys():
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
    """Both give an answer for any text, even one that no file can have as its name."""
    assert _core.is_plain_name(text) == reference.is_plain_name(text)


def test_any_text_stands_for_any_text_or_none():
    """It is the placeholder in patterns of names."""
    layout = Small._persistence_layout_
    assert (
        _core.format_name(layout, None, {"a": AnyText(), "b": 1, "c": AnyText(absent=True)})
        == f"cache-Small-{AnyText().text}-p1"
    )


def test_as_dict_looks_through_properties_and_hooks():
    """For classes with properties or ``__getattr__``, the instance's dict does not have all values."""

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

    class CountsTexts(str):
        def __str__(self):
            return "LOUD"

    assert str(Small(CountsTexts("x"), Colour.RED, None)) == f"cache-Small-LOUD-p{Colour.RED!s}"


@given(st.from_regex(r"[A-Za-z_]{1,5}", fullmatch=True))
def test_layout_cannot_be_changed(name):
    """It is shared by threads without a lock."""
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
    """With the same parameters, for functions, classes and methods."""
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
                    assert parameters(mine)[1:] == parameters(twin)[1:], f"{node.name}.{name}"
    assert set(CORE) >= {"_core", "_names", "_scan", "_disk", "_pickling"}
