"""The texts in names are converted back to values, or are recognised as ambiguous."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import pathlib
import uuid
from typing import Annotated, Any, Literal, NewType, Optional

import numpy as np
import pytest
from hypothesis import given, strategies as st

from neuralib.persistence import field, persistence_class
from neuralib.persistence._naming.typed import UNDECIDED, admits, reader_of


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Twins(enum.StrEnum):
    """An enum with aliases, which are one member."""

    A = "a"
    B = "a"


Plane = NewType("Plane", int)
Alike = type("Alike", (), {"__str__": lambda self: "same"})


def reader(kind, filename=True):
    cls = type("Result", (), {"__annotations__": {"key": kind}, "key": field(filename=filename)})
    return reader_of(persistence_class(cls)._ast_persistence_cls_info_.get_field("key"))


VALUES = [
    (int, st.integers()),
    (float, st.floats()),
    (complex, st.complex_numbers(allow_nan=False)),
    (bool, st.booleans()),
    (str, st.text().filter(lambda text: text != "None")),
    (Optional[int], st.none() | st.integers()),
    (int | None, st.none() | st.integers()),
    (Literal["a", "b", 3, None], st.sampled_from(["a", "b", 3, None])),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Twins, st.sampled_from(Twins)),
    (datetime.date, st.dates()),
    (datetime.datetime, st.datetimes() | st.datetimes(timezones=st.just(datetime.UTC))),
    (datetime.time, st.times()),
    (pathlib.Path, st.from_regex(r"[a-z.]{1,5}", fullmatch=True).map(pathlib.Path)),
    (tuple[float, float], st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1))),
    (tuple, st.tuples(st.text(), st.integers() | st.none())),
    (list[int], st.lists(st.integers())),
    (dict, st.dictionaries(st.text(), st.integers())),
    (decimal.Decimal, st.decimals(allow_nan=False)),
    (uuid.UUID, st.uuids()),
    (Plane, st.integers()),
    (Annotated[int, "um"], st.integers()),
    (np.int16, st.integers(-5, 5).map(np.int16)),
    (np.float64, st.floats(allow_nan=False).map(np.float64)),
    ("int", st.integers()),
    ("datetime.date | None", st.none() | st.dates()),
]


@pytest.mark.parametrize(("kind", "values"), VALUES, ids=[str(kind) for kind, _ in VALUES])
def test_a_text_is_read_back_as_its_value(kind, values):
    """The value has the same type; 1 is not read back as 1.0 or True."""
    read = reader(kind)

    @given(values)
    def check(value):
        found = read(str(value))
        assert type(found) is type(value)
        assert found == value or found != found and value != value

    check()


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (int, ["", "x", "007", "1_0", "+1", " 1", "1.0", "٣", "None", "True"]),
        (float, ["1", "1.50", "inf ", "None"]),
        (bool, ["true", "1", "None"]),
        (str, ["None"]),
        (Optional[str], ["None"]),
        (int | str, ["3"]),
        (Literal["1", 1], ["1"]),
        (Literal["a"], ["b", "None"]),
        (Colour, ["red", "Colour.GREEN"]),
        (datetime.date, ["20230101", "2023-01-01 00:00:00", "x"]),
        (tuple, ["(1,2)", "[1, 2]", "(1, 2", "f(x)", "(" * 200]),
        (Any, ["3", "x"]),
        (Alike, ["same"]),
        (Alike | int, ["3"]),
        ("NotThere", ["3"]),
        (list[int], ["(1,)"]),
    ],
)
def test_an_ambiguous_text_is_not_guessed(kind, texts):
    """A guess would be a wrong key in a table."""
    read = reader(kind)
    assert [text for text in texts if read(text) is not UNDECIDED] == []


def test_only_the_text_of_a_fraction_is_calculated():
    """Python takes ``1e999999999`` for a fraction too, and calculates without end; a file of that name is enough."""
    read = reader(fractions.Fraction)
    assert read("-1/3") == fractions.Fraction(-1, 3)
    assert read("7") == 7
    for text in ("1e999999999", "1e999999999/7", "1/0", "1/2/3", "-1//3"):
        assert read(text) is UNDECIDED


def test_a_filename_function_is_not_inverted():
    """The text of such a key stays unread, even if the function only calls ``str``."""
    assert reader(int, filename=str)("3") is UNDECIDED


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (int, (1, 2), False),
        (str | None, (1, 2), False),
        (tuple[int, int], (1, 2), True),
        (Literal[1, 2], (1, 2), False),
        (Any, (1, 2), None),
        (object, (1, 2), None),
        ("NotThere", (1, 2), None),
        (int | tuple, (1, 2), True),
        (Plane, (1, 2), False),
        (list[int], [1], True),
        (dict, [1], False),
    ],
)
def test_whether_a_tuple_may_be_a_value(kind, value, expected):
    """If not, a tuple in a condition is a collection of values."""
    cls = persistence_class(type("Result", (), {"__annotations__": {"key": kind}, "key": field(filename=True)}))
    assert admits(cls._ast_persistence_cls_info_.get_field("key").field_type, type(value)) is expected
