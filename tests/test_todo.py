"""`todo` gives the templates of a grid that have no result yet."""

from __future__ import annotations

import itertools

import pytest
from batches import Draw, Fit
from checks import Pair, filled

from neuralib.persistence import PickleHandler, UnknownFieldError, WrongResultClassError, field, persistence_class

GRID = {"animal": ["A", "B"], "plane": range(3)}


def keys_of(templates):
    return [(template.animal, template.plane) for template in templates]


def test_a_grid_is_every_combination_without_a_result(tmp_path):
    """In order: the last key changes fastest."""
    handler = PickleHandler(Fit, tmp_path)
    assert keys_of(handler.todo(GRID)) == list(itertools.product("AB", range(3)))
    for result in (Fit("A", 1), Fit("B", 2), Fit("C", 0)):
        handler.save_persistence(result)
    todo = handler.todo(GRID)
    assert keys_of(todo) == [("A", 0), ("A", 2), ("B", 0), ("B", 1)]
    assert keys_of(handler.todo({"animal": "A", "plane": (0, 1)})) == [("A", 0)]
    assert keys_of(handler.todo({"animal": ["A"], "plane": 1})) == []
    assert keys_of(handler.todo({"animal": [], "plane": [1]})) == []


def test_templates_may_be_given_instead_of_a_grid(tmp_path):
    """A generator is read only as far as needed."""
    handler = PickleHandler(Fit, tmp_path)
    handler.save_persistence(Fit("A", 0))
    missing_templates = handler.todo(Fit("A", number) for number in itertools.count())
    assert keys_of(itertools.islice(missing_templates, 3)) == [("A", 1), ("A", 2), ("A", 3)]
    with pytest.raises(WrongResultClassError):
        list(handler.todo([Pair(1, 2)]))


def test_a_batch_goes_on_where_it_stopped(tmp_path):
    """Results may be saved while the templates are gone through."""
    handler = PickleHandler(Fit, tmp_path)
    for template in itertools.islice(handler.todo(GRID), 2):
        handler.save_persistence(template)
    rest = [handler.save_persistence(template) for template in handler.todo(GRID)]
    assert len(rest) == 4
    assert not list(handler.todo(GRID))


def test_repetitions_are_counted_whatever_their_numbers(tmp_path):
    """So there are as many as wanted."""
    handler = PickleHandler(Draw, tmp_path)
    handler.save_all([Draw("A"), Draw("A"), Draw("A-#0"), filled(Draw("B"), run=7)])
    todo = list(handler.todo({"animal": ["A", "B", "A-#0", "C"]}, repeat=3))
    assert [template.animal for template in todo] == ["A", "B", "B", "A-#0", "A-#0", "C", "C", "C"]
    assert len({id(template) for template in todo}) == len(todo), "each is a template of its own"
    assert [template.animal for template in handler.todo([Draw("C"), Draw("C")], repeat=2)] == ["C", "C"]
    assert list(handler.todo({"animal": ["A"]}, repeat=2)) == []
    assert [template.animal for template in handler.todo({"animal": ["A", "C"]})] == ["C"]
    assert [template.run for template in handler.todo({"animal": ["B"], "run": range(6, 9)})] == [6, 8]
    with pytest.raises(ValueError, match="repeat"):
        handler.todo({"animal": ["A"]}, repeat=-1)


def test_a_name_that_fits_other_keys_too_is_told_apart(tmp_path):
    """('a-b', 'c') does not exist because ('a', 'b-c') does."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(Pair("a", "b-c"))
    assert [(template.a, template.b) for template in handler.todo({"a": ["a", "a-b"], "b": ["b-c", "c"]})] == [
        ("a", "c"),
        ("a-b", "b-c"),
        ("a-b", "c"),
    ]


def test_validated_keys_count_although_they_are_not_in_the_name(tmp_path):
    """As in `load_cache`; keys that are neither validated nor in the name don't count."""

    @persistence_class
    class Version:
        animal: str = field(filename=True)
        version: int = field(validator=True, default=1)
        note: str = field(default="")

    handler = PickleHandler(Version, tmp_path)
    handler.save_persistence(Version("A", 1, "x"))
    assert list(handler.todo({"animal": ["A"], "note": ["y"]})) == []
    assert [template.version for template in handler.todo({"animal": ["A"], "version": [1, 2]})] == [2]


def test_a_grid_with_an_unknown_key_is_refused(tmp_path):
    """A misspelt key would compute everything again."""
    handler = PickleHandler(Fit, tmp_path)
    with pytest.raises(UnknownFieldError, match="animals"):
        handler.todo({"animals": ["A"]})
    with pytest.raises(UnknownFieldError, match="weights"):
        handler.todo({"weights": ["A"]})
