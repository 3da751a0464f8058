"""The compiled core and its reference give the same answer, or the same type of error."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
import pytest
import reference
from hypothesis import given, strategies as st

from neuralib.persistence import (
    AutoIncFieldNotResolvedError,
    KeyNotSetError,
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
)


@persistence_class
class Run:
    a: Any = field(filename=True)
    number: int = autoinc_field("#")
    b: Any = field(filename_prefix="p", filename=True)


class Colour(str, Enum):
    RED = "red"


@persistence_class
class Small:
    a: Any = field(filename=True)
    b: Any = field(filename_prefix="p", filename=True)
    c: Any = field(filename=lambda it: None if it is None else f"<{it}>")
    d: Any = field(default=7)
    x: Any
    y: Any = 3


def outcome(function, *arguments):
    try:
        return function(*arguments)
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
    assert [it for it in "abcdxy" if it in found] == list(found)


@given(VALUE, VALUE, VALUE, st.dictionaries(st.sampled_from("abcdq"), VALUE, max_size=2))
def test_format_name_agrees_with_the_reference(a, b, c, overrides):
    """On the fast path and on the slow one."""
    result = Small(a, b, c)
    layout = Small._persistence_layout_
    mine = outcome(_core.format_name, layout, result, overrides)
    assert mine == outcome(reference.format_name, layout, result, overrides)
    if isinstance(mine, str):
        assert _core.is_plain_name(mine) == reference.is_plain_name(mine)


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


PLAIN = st.one_of(st.text("abA-_#0129", max_size=8), st.integers(0, 10**17))


@given(
    PLAIN, PLAIN, PLAIN, st.integers(0, 10**18 - 1), st.sampled_from([".pkl", "", "9"]), st.sampled_from(["/é/", "/x/"])
)
def test_a_number_is_taken_with_its_path(a, b, other, number, suffix, folder):
    """And there is none for a series of other keys, however they make up the same text."""
    result = Run(a, b=b)
    layout = Run._persistence_layout_
    head, tail = _core.around_number(layout, result, suffix)
    found = _core.take_number(layout, result, suffix, folder, head, number, tail)
    expected = folder + reference.format_name(layout, Run(a, number, b=b), {}) + suffix
    assert found == (expected if folder.isascii() else None)
    assert result.number == (None if found is None else number)
    for keys in ((a, other), (other, b)):
        there = _core.take_number(layout, Run(keys[0], b=keys[1]), suffix, folder, head, number, tail)
        assert there == (found if (str(keys[0]), str(keys[1])) == (str(a), str(b)) else None)
    longer = _core.take_number(layout, result, suffix + "x", folder, head, number, tail)
    assert longer is None


@given(VALUE, VALUE, st.sampled_from(["h-1", ""]), TEXT)
def test_no_number_is_taken_where_around_number_says_nothing(a, b, head, tail):
    """Of any values: bad ones, such that another function takes care of, and ends that are no series of them."""
    result = Run(a, b=b)
    layout = Run._persistence_layout_
    around = outcome(_core.around_number, layout, result, ".pkl")
    ends = around if isinstance(around, tuple) else (head, tail)
    found = outcome(_core.take_number, layout, result, ".pkl", "/x/", *ends[:1], 7, *ends[1:])
    if isinstance(around, tuple):
        assert (found, result.number) == (f"/x/{ends[0]}7{ends[1]}", 7)
    else:
        assert (found, result.number) == (around, None)
    assert _core.take_number(layout, Run("a", b="b"), ".pkl", "/x/", head, 7, tail) is None


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
