"""What is missing of a grid, and nothing else."""

from __future__ import annotations

import itertools

import pytest
from batches import Draw, Fit
from checks import Pair, filled

from neuralib.persistence import PickleHandler, UnknownFieldError, WrongResultClassError, field, persistence_class

GRID = {"animal": ["A", "B"], "plane": range(3)}


def keys(templates):
    return [(it.animal, it.plane) for it in templates]


def test_a_grid_is_every_combination_but_those_that_are_there(tmp_path):
    """In order, the last key changing fastest."""
    handler = PickleHandler(Fit, tmp_path)
    assert keys(handler.todo(GRID)) == list(itertools.product("AB", range(3)))
    for it in (Fit("A", 1), Fit("B", 2), Fit("C", 0)):
        handler.save_persistence(it)
    todo = handler.todo(GRID)
    assert keys(todo) == [("A", 0), ("A", 2), ("B", 0), ("B", 1)]
    assert keys(handler.todo({"animal": "A", "plane": (0, 1)})) == [("A", 0)]
    assert keys(handler.todo({"animal": ["A"], "plane": 1})) == []
    assert keys(handler.todo({"animal": [], "plane": [1]})) == []


def test_templates_may_be_given_themselves(tmp_path):
    """A generator too, of which no more is asked for than is needed."""
    handler = PickleHandler(Fit, tmp_path)
    handler.save_persistence(Fit("A", 0))
    endless = handler.todo(Fit("A", number) for number in itertools.count())
    assert keys(itertools.islice(endless, 3)) == [("A", 1), ("A", 2), ("A", 3)]
    with pytest.raises(WrongResultClassError):
        list(handler.todo([Pair(1, 2)]))


def test_a_batch_goes_on_where_it_stopped(tmp_path):
    """Saving while going through what is missing gives each once."""
    handler = PickleHandler(Fit, tmp_path)
    for template in itertools.islice(handler.todo(GRID), 2):
        handler.save_persistence(template)
    rest = [handler.save_persistence(it) for it in handler.todo(GRID)]
    assert len(rest) == 4
    assert not list(handler.todo(GRID))


def test_open_numbers_are_counted(tmp_path):
    """So that there are as many repetitions as were wanted, whatever their numbers."""
    handler = PickleHandler(Draw, tmp_path)
    handler.save_all([Draw("A"), Draw("A"), Draw("A-#0"), filled(Draw("B"), run=7)])
    todo = list(handler.todo({"animal": ["A", "B", "A-#0", "C"]}, repeat=3))
    assert [it.animal for it in todo] == ["A", "B", "B", "A-#0", "A-#0", "C", "C", "C"]
    assert len({id(it) for it in todo}) == len(todo), "each is a template of its own"
    assert [it.animal for it in handler.todo([Draw("C"), Draw("C")], repeat=2)] == ["C", "C"]
    assert list(handler.todo({"animal": ["A"]}, repeat=2)) == []
    assert [it.animal for it in handler.todo({"animal": ["A", "C"]})] == ["C"]
    assert [it.run for it in handler.todo({"animal": ["B"], "run": range(6, 9)})] == [6, 8]
    with pytest.raises(ValueError, match="repeat"):
        handler.todo({"animal": ["A"]}, repeat=-1)


def test_a_name_that_others_have_does_not_count(tmp_path):
    """('a-b', 'c') is not there because ('a', 'b-c') is."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(Pair("a", "b-c"))
    assert [(it.a, it.b) for it in handler.todo({"a": ["a", "a-b"], "b": ["b-c", "c"]})] == [
        ("a", "c"),
        ("a-b", "b-c"),
        ("a-b", "c"),
    ]


def test_validated_keys_count_although_they_are_not_in_the_name(tmp_path):
    """As load_cache sees it; others don't."""

    @persistence_class
    class Version:
        animal: str = field(filename=True)
        version: int = field(validator=True, default=1)
        note: str = field(default="")

    handler = PickleHandler(Version, tmp_path)
    handler.save_persistence(Version("A", 1, "x"))
    assert list(handler.todo({"animal": ["A"], "note": ["y"]})) == []
    assert [it.version for it in handler.todo({"animal": ["A"], "version": [1, 2]})] == [2]


def test_a_grid_names_keys(tmp_path):
    """A slip of the pen would compute everything again."""
    handler = PickleHandler(Fit, tmp_path)
    with pytest.raises(UnknownFieldError, match="animals"):
        handler.todo({"animals": ["A"]})
    with pytest.raises(UnknownFieldError, match="weights"):
        handler.todo({"weights": ["A"]})
