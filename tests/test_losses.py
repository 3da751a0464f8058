"""Saving never loses values without an error or a warning."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest

from neuralib.persistence import (
    DataNotSetError,
    FieldDefinitionError,
    NothingComputedError,
    PickleHandler,
    UndeclaredAttributeError,
    WildcardKeyError,
    autoinc_field,
    field,
    missing,
    persistence_class,
)
from neuralib.persistence.cli_persistence import PersistenceOptions


@persistence_class
class Score:
    animal: str = field(filename=True)
    score: float
    note: str = field(init=False, default="")


@persistence_class
class Shuffle:
    animal: str = field(filename=True)
    run: int = autoinc_field(filename_prefix="#")
    score: float


@persistence_class(strict=True)
class Strict:
    animal: str = field(filename=True)
    score: float


@pytest.mark.parametrize("cls", [Score, Shuffle])
@pytest.mark.parametrize("batch", [False, True])
def test_a_misspelt_attribute_is_refused(tmp_path, cls, batch):
    """The error has both names, nothing is saved, and no number is used."""
    handler = PickleHandler(cls, tmp_path)
    result = cls("A00")
    result.scroe = 1.0
    with pytest.raises(UndeclaredAttributeError, match="scroe.*score"):
        handler.save_all([result]) if batch else handler.save_persistence(result)
    assert os.listdir(tmp_path) == []
    assert getattr(result, "run", None) is None
    result.score = 1.0
    handler.save_persistence(result)
    assert len(os.listdir(tmp_path)) == 1


def test_other_undeclared_attributes_give_one_warning(tmp_path, caplog):
    """Existing code keeps them in memory on purpose."""

    @persistence_class
    class Drawn:  # of this test alone, since a class is warned about once in a process
        animal: str = field(filename=True)
        score: float

    handler = PickleHandler(Drawn, tmp_path)
    for animal in "ABC":
        result = Drawn(animal)
        result.score, result.figure, result._private = 1.0, object(), 2
        handler.save_persistence(result)
    (warning,) = [record.message for record in caplog.records]
    assert warning.startswith(f"{Drawn.__qualname__}.figure is not declared and not saved")
    assert len(handler.find()) == 3


def test_data_that_is_not_set_stays_unset(tmp_path):
    """Without a warning, as in the existing package. A strict class refuses it."""
    PickleHandler(Score, tmp_path).save_persistence(Score("A"))
    with pytest.raises(DataNotSetError, match="score"):
        PickleHandler(Strict, tmp_path).save_persistence(Strict("A"))


def test_a_subclass_without_the_decorator_is_refused_where_it_declares_fields(tmp_path):
    """A subclass that only adds methods works."""

    class WithMethods(Score):
        def doubled(self):
            return 2 * self.score

    class Forgotten(Score):
        weights: list[float]

    handler = PickleHandler(Score, tmp_path)
    fine = WithMethods("A")
    fine.score = 1.0
    handler.save_persistence(fine)
    lost = Forgotten("B")
    lost.score = 1.0
    with pytest.raises(FieldDefinitionError, match="Forgotten is not decorated"):
        handler.save_persistence(lost)
    assert len(os.listdir(tmp_path)) == 1


@persistence_class
class Labels:
    animal: str = field(filename=True)
    labels: list[str] = []
    note: str = ""


class Forgetful(PersistenceOptions[Any]):
    """Options that compute a result and set only the fields that they are given."""

    def __init__(self, cls, **values):
        self.cls, self.values = cls, values

    persistence_class = property(lambda self: self.cls)

    def empty_cache(self):
        return self.cls("A")

    def compute_cache(self, result):
        vars(result).update(self.values)
        return result


@pytest.mark.parametrize("cls", [Score, Shuffle])
@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({}, NothingComputedError, r"Forgetful.compute_cache returned a \w+ without any of its data \(score"),
        ({"_scroe": 1.0, "figure": 2}, NothingComputedError, "score"),
        ({"scroe": 1.0}, UndeclaredAttributeError, "did you mean score"),
    ],
)
def test_a_computed_result_without_data_is_a_failure(tmp_path, cls, values, error, message):
    """Saved, it would count as done. So nothing is saved, and the next batch tries again."""
    options = Forgetful(cls, **values)
    with pytest.raises(error, match=message):
        options.load_cache(dest=tmp_path)
    for _ in range(2):
        report = options.compute_missing({"animal": ["A", "B"]}, dest=tmp_path)
        assert (report.saved, [failure.error for failure in report]) == (0, [error.__name__] * 2)
        assert re.search(message, report[0].message)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("cls", "values"), [(Score, {"note": "bad"}), (Score, {"score": None}), (Labels, {}), (Shuffle, {"score": 1.0})]
)
def test_a_computed_result_with_some_of_its_data_is_saved(tmp_path, cls, values):
    """Data may be left out on purpose. If all data has a default, nothing needs to be set."""
    Forgetful(cls, **values).load_cache(dest=tmp_path)
    assert len(os.listdir(tmp_path)) == 1


def test_a_template_is_not_saved(tmp_path):
    """A key of ``missing`` is refused; the text ``*`` is an ordinary key."""
    handler = PickleHandler(Score, tmp_path)
    for saving in (lambda: handler.save_persistence(Score(missing)), lambda: handler.save_all([Score(missing)])):
        with pytest.raises(WildcardKeyError, match="animal"):
            saving()
    assert os.listdir(tmp_path) == []
    handler.save_persistence(Score("*"))
    assert handler.load_persistence(Score("*")).animal == "*"
