"""Ready-made checks for results."""

from __future__ import annotations

import datetime
import os
import pickle

import numpy as np
import pytest

from neuralib.persistence import field, persistence_class
from neuralib.persistence.validator import (
    ETLConcatable,
    PersistenceConcatError,
    attributes_validate,
    create_date_validate,
    validate_concat_etl_persistence,
)


@persistence_class
class Plane:
    exp_date: str = field(filename=True)
    animal: str = field(filename=True)
    plane_index: int = field(filename=True)
    value: object
    note: str = "none"


def plane(index, value, animal="A", date="d"):
    result = Plane(date, animal, index)
    result.value = value
    return result


@pytest.mark.parametrize(
    "value",
    [[1, 2], [np.arange(3), np.arange(2)], {"a": np.arange(2)}, None, np.array([1.0, np.nan]), (1, [2]), "text", 3],
    ids=repr,
)
def test_agreeing_fields_pass(value, capsys):
    """Lists of arrays, dicts and None too; nothing is printed."""
    import copy

    validate_concat_etl_persistence([plane(0, value), plane(1, copy.deepcopy(value))], ("value",))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2], [1, 2, 3]),
        ([1, 2, 3], [1, 2]),
        (np.arange(3), np.arange(4)),
        ([np.arange(3)], [np.arange(3) + 1]),
        ({"a": 1}, {"a": 1, "b": 2}),
        (None, 1),
        (np.arange(3), [0, 1, 2]),
    ],
    ids=repr,
)
def test_disagreeing_fields_are_refused(one, other):
    """Different lengths must not pass, in either order."""
    with pytest.raises(PersistenceConcatError, match="different value"):
        validate_concat_etl_persistence([plane(0, one), plane(1, other)], ("value",))


def test_mismatches_are_refused():
    """Each error says what is wrong, and survives pickling."""
    with pytest.raises(PersistenceConcatError, match="different animal.*'A' and 'B'") as caught:
        validate_concat_etl_persistence([plane(0, 1), plane(1, 1, animal="B")])
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(PersistenceConcatError, match="different exp_date"):
        validate_concat_etl_persistence([plane(0, 1), plane(1, 1, date="e")])
    with pytest.raises(PersistenceConcatError, match="no results"):
        validate_concat_etl_persistence([])
    with pytest.raises(TypeError, match="plane_index must be an int, not '_concat'"):
        validate_concat_etl_persistence([plane("_concat", 1)])
    with pytest.raises(RuntimeError, match="have no exp_date"):
        validate_concat_etl_persistence([object()])


def test_dates_of_all_kinds_compare(tmp_path, caplog):
    """A result must not be older than its source."""
    file = tmp_path / "data"
    file.write_text("x")
    os.utime(file, (1_600_000_000, 1_600_000_000))
    assert create_date_validate(file, (2020, 1, 1))
    assert not create_date_validate(file, datetime.date(2021, 1, 1))
    assert "is too old" in caplog.text
    assert create_date_validate(datetime.datetime(2021, 1, 1), str(file))
    assert create_date_validate(1_600_000_000.0, file)
    assert create_date_validate(file, file)
    caplog.clear()
    assert not create_date_validate(tmp_path / "none", file, verbose=False)
    assert caplog.text == ""
    with pytest.raises(TypeError, match="is not a date"):
        create_date_validate(None, file)


def test_attributes_validate_wants_every_field_without_default():
    """An absent data field makes a result incomplete, unless it is excluded or has a default."""
    result = Plane("d", "a", 0)
    assert not attributes_validate(result)
    assert attributes_validate(result, "value")
    result.value = None
    assert attributes_validate(result)


def test_etl_concatable_is_abstract():
    """Its one method must be written."""
    with pytest.raises(TypeError):
        ETLConcatable()
