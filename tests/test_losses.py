"""Saving loses nothing silently."""

from __future__ import annotations

import os

import pytest

from neuralib.persistence import (
    DataNotSetError,
    FieldDefinitionError,
    PickleHandler,
    UndeclaredAttributeError,
    WildcardKeyError,
    autoinc_field,
    field,
    missing,
    persistence_class,
)


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
    """Both names are told, nothing is saved, and no number is kept."""
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


def test_other_undeclared_attributes_are_told_once(tmp_path, caplog):
    """They are kept in memory on purpose by existing code."""
    handler = PickleHandler(Score, tmp_path)
    for animal in "ABC":
        result = Score(animal)
        result.score, result.figure, result._private = 1.0, object(), 2
        handler.save_persistence(result)
    assert [record.message.split(":")[0] for record in caplog.records] == ["Score.figure is not declared and not saved"]
    assert len(handler.find()) == 3


def test_data_that_is_not_set_stays_unset(tmp_path):
    """Without a word, as ever; a strict class refuses it."""
    PickleHandler(Score, tmp_path).save_persistence(Score("A"))
    with pytest.raises(DataNotSetError, match="score"):
        PickleHandler(Strict, tmp_path).save_persistence(Strict("A"))


def test_a_subclass_without_the_decorator_is_refused_where_it_declares_fields(tmp_path):
    """One that only adds methods works as it does."""

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


def test_a_template_is_not_saved(tmp_path):
    """A wildcard is no key of a result; a star is."""
    handler = PickleHandler(Score, tmp_path)
    for saving in (lambda: handler.save_persistence(Score(missing)), lambda: handler.save_all([Score(missing)])):
        with pytest.raises(WildcardKeyError, match="animal"):
            saving()
    assert os.listdir(tmp_path) == []
    handler.save_persistence(Score("*"))
    assert handler.load_persistence(Score("*")).animal == "*"
