"""What find says is there: from names alone where they tell, and exactly what is there always."""

from __future__ import annotations

import datetime
import enum
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from checks import Pair, Run, filled
from hypothesis import given, settings, strategies as st

from neuralib.persistence import (
    CorruptResultError,
    FileHandler,
    Found,
    GzipHandler,
    Hit,
    KeyMismatchError,
    KeyNotSetError,
    NothingFoundError,
    PickleHandler,
    UnknownFieldError,
    WrongResultClassError,
    autoinc_field,
    field,
    missing,
    persistence_class,
)
from neuralib.persistence._finding.listing import natural


class State(enum.Enum):
    AWAKE = "awake"
    ASLEEP = "asleep"


@persistence_class(name="lap", filename_field_splitter="_")
class Lap:
    animal: str = field(filename=True)
    lap: int = field(filename_prefix="lap", filename=True)
    side: str = field(filename=lambda it: None if it == "both" else it.upper(), default="both")


@pytest.fixture
def names_only(tmp_path):
    """A folder of empty files: whoever opens one fails."""

    def make(cls, *keys, **kwargs):
        handler = PickleHandler(cls, tmp_path, **kwargs)
        for values in keys:
            handler.filepath(cls(**values)).touch()
        return handler

    return make


def laps(*numbers, animal="A00"):
    return [{"animal": animal, "lap": it} for it in numbers]


def values(found, name):
    return [it[name] for it in found.keys()]


# ---------------------------------------------------------------------------------------------- conditions


def test_everything_is_found_in_natural_order(names_only):
    """2 before 10, whatever order the folder lists them in."""
    handler = names_only(Lap, *laps(10, 2, 0, 100, 33))
    found = handler.find(side="both")
    assert values_of_names(found) == [0, 2, 10, 33, 100]
    assert [hit.name for hit in found] == [f"cache_lap_A00_lap{it}.pkl" for it in (0, 2, 10, 33, 100)]


def values_of_names(found):
    return [int(it.name.split("lap")[-1].split("_")[0].split(".")[0]) for it in found]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (3, [3]),
        ("3", [3]),
        (np.int64(3), [3]),
        (99, []),
        (missing, [0, 1, 2, 3, 10]),
        ({1, 3, 99}, [1, 3]),
        ([10, 1], [1, 10]),
        ((10, 1), [1, 10]),
        (range(1, 3), [1, 2]),
        (frozenset({0}), [0]),
        (np.array([0, 2]), [0, 2]),
        (iter([0, 2]), [0, 2]),
        ({0: "x", 1: "y"}.keys(), [0, 1]),
        (set(), []),
        ([missing, 1], [0, 1, 2, 3, 10]),
        (lambda it: it > 2, [3, 10]),
        (lambda it: isinstance(it, int) and it % 2 == 0, [0, 2, 10]),
    ],
)
def test_conditions_on_a_key(names_only, condition, expected):
    """A value, any value, a collection, a function of the value; no file is opened."""
    handler = names_only(Lap, *laps(10, 2, 0, 3, 1), *laps(3, animal="B"))
    found = handler.find(animal="A00", lap=condition)
    assert values_of_names(found) == expected
    assert len(found) == len(expected)
    assert bool(found) == bool(expected)


def test_keys_are_values_of_their_annotations(names_only):
    """And a tuple is a value where the key is one."""
    expected = {
        "animal": "A",
        "date": datetime.datetime(2023, 1, 2, 13, 30),
        "plane": 2,
        "area": (0.04, 1.0),
        "kind": "spks",
        "state": State.ASLEEP,
        "run": 3,
    }
    handler = names_only(NoDash, expected)
    (hit,) = handler.find(area=(0.04, 1.0), state=State.ASLEEP, kind={"spks", "df_f"}, date=lambda it: it.year == 2023)
    assert hit.keys == expected
    assert not handler.find(area={(0.04, 2.0)})
    assert len(handler.find(area=[(0.04, 1.0), (1, 2)])) == 1


@persistence_class(filename_field_splitter="~")
class NoDash:
    animal: str = field(validator=True, filename=True)
    date: datetime.datetime = field(filename=True)
    plane: int = field(filename_prefix="plane", filename=True)
    area: tuple[float, float] = field(filename=True)
    kind: Literal["spks", "df_f"] = field(filename=True)
    state: State = field(filename=True)
    run: int = autoinc_field("#")


def test_a_template_says_what_to_look_for(names_only):
    """Its keys, of which some are any; what is given beside it replaces them."""
    handler = names_only(Lap, *laps(1, 2), *laps(1, animal="B"))
    assert len(handler.find(Lap("A00", missing))) == 2
    assert len(handler.find(Lap("A00", missing), animal={"A00", "B"})) == 3
    assert len(handler.find(Lap("A00", 2), lap=lambda it: it == 1)) == 1
    incomplete = Lap("A00", 2)
    del incomplete.lap
    with pytest.raises(KeyNotSetError, match="lap"):
        handler.find(incomplete)
    assert len(handler.find(incomplete, lap=missing)) == 2


def test_keys_of_a_template_that_are_not_in_the_name_do_not_count(tmp_path):
    """Its defaults would exclude what the user never spoke of; given by name, they do count."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(Pair("x", 1, c="why"))
    assert len(handler.find(Pair("x", 1))) == 1
    assert len(handler.find(Pair("x", 1), c="why")) == 1
    assert len(handler.find(Pair("x", 1), c=None)) == 0


def test_an_open_number_is_any(names_only):
    """As everywhere."""
    handler = names_only(Run, *({"animal": "A", "version": it} for it in (0, 1, 11)))
    assert len(handler.find(Run("A"))) == len(handler.find(version=None)) == len(handler.find()) == 3
    assert [it.name for it in handler.find(Run("A"), version={1, 11})] == ["cache-Run-A-#1.pkl", "cache-Run-A-#11.pkl"]


def test_what_is_no_field_or_no_result_is_refused(names_only):
    """At once, not when the set is looked at."""
    handler = names_only(Lap)
    with pytest.raises(UnknownFieldError, match="lapp"):
        handler.find(lapp=3)
    with pytest.raises(UnknownFieldError, match="lapp"):
        handler.find().filter(lapp=3)
    with pytest.raises(WrongResultClassError):
        handler.find(Pair(1, 2))


def test_an_error_in_a_function_says_what_it_was_given(names_only):
    """Else one looks for it among thousands of names."""
    handler = names_only(Lap, *laps(0))
    found = handler.find(lap=lambda it: 1 / it)
    with pytest.raises(ZeroDivisionError) as caught:
        len(found)
    assert caught.value.__notes__ == ["in the condition on lap, which was given 0"]


# ---------------------------------------------------------------------------------------------- when names do not tell


def test_names_alone_decide_where_they_can(names_only):
    """Files that can't be read are found all the same."""
    handler = names_only(Run, *({"animal": animal, "version": it} for animal in "AB" for it in (0, 2, 10)))
    found = handler.find(animal={"A"}, version=lambda it: it > 1)
    assert [it.name for it in found] == ["cache-Run-A-#2.pkl", "cache-Run-A-#10.pkl"]
    with pytest.raises(CorruptResultError):
        found[0].load()


def test_the_file_decides_where_a_name_can_be_read_in_two_ways(tmp_path):
    """Never a wrong hit, and never a result less."""
    handler = PickleHandler(Pair, tmp_path)
    for a, b in [("a-b", "c"), ("a", "x-y"), ("a", "z"), ("q-a", "b")]:
        handler.save_persistence(filled(Pair(a, b), data=1))
    assert [it.keys for it in handler.find(a="a")] == [{"a": "a", "b": "x-y"}, {"a": "a", "b": "z"}]
    assert [it.keys for it in handler.find(b="c")] == [{"a": "a-b", "b": "c"}]
    assert len(handler.find(b="b-c")) == len(handler.find(a="a", b="b-c")) == 0
    assert len(handler.find(a={"a-b", "q-a"})) == 2
    assert [it.keys["a"] for it in handler.find(a=lambda it: "-" in it)] == ["a-b", "q-a"]
    assert len(handler.find()) == 4


def test_a_file_is_opened_only_where_the_answer_depends_on_it(names_only):
    """A name of two readings that both fit, or both don't, needs none."""
    handler = names_only(Strings, {"a": "a-b", "b": "c"})
    assert len(handler.find()) == 1
    assert len(handler.find(a=missing)) == 1
    assert len(handler.find(a={"a", "a-b"}, b={"c", "b-c"})) == 1
    assert len(handler.find(a="q")) == 0
    assert len(handler.find(a=lambda it: it.startswith("a"))) == 1
    assert len(handler.find(b={"b", "a"})) == 0
    with pytest.raises(CorruptResultError, match="cache-Strings-a-b-c"):
        len(handler.find(a="a"))
    with pytest.raises(CorruptResultError, match="cache-Strings-a-b-c"):
        handler.find().keys()


@persistence_class
class Strings:
    a: str = field(validator=True, filename=True)
    b: str = field(validator=True, filename=True)


def test_keys_that_are_not_in_the_name_are_read_from_the_file(tmp_path):
    """And data fields too; a result that lacks one does not have its value."""
    handler = PickleHandler(NoDashNote, tmp_path)
    for number, note in enumerate(["good", "bad", "good"]):
        result = NoDashNote(number, note)
        result.weights = np.arange(number)
        if number:
            result.score = number / 4
        handler.save_persistence(result)
    assert values(handler.find(note="good"), "number") == [0, 2]
    assert values(handler.find(note={"bad", "worse"}), "number") == [1]
    assert values(handler.find(note=lambda it: it.startswith("g"), number=range(2)), "number") == [0]
    assert values(handler.find(score=lambda it: it < 0.5), "number") == [1]
    assert values(handler.find(score=None), "number") == []
    assert values(handler.find(weights=lambda it: it.shape == (2,)), "number") == [2]
    assert handler.find(number=2)[0].fields("score", "note") == {"score": 0.5, "note": "good"}
    assert handler.find(number=0)[0].fields("score", "number") == {"number": 0}


def test_large_arrays_are_not_read_to_find(tmp_path):
    """A gigabyte of traces must not stand in the way of a note; compressed files are read to the note."""
    for handler in (PickleHandler(NoDashNote, tmp_path), GzipHandler(NoDashNote, tmp_path)):
        for number in range(3):
            result = NoDashNote(number, "good" if number else "bad")
            result.weights, result.score = np.random.default_rng(number).normal(size=40_000), number / 2
            handler.save_persistence(result)
        found = handler.find(note="good", score=lambda it: it > 0.5, weights=lambda it: it.shape == (40_000,))
        assert values(found, "number") == [2]
        head = found[0].fields("weights")["weights"]
        assert (head.shape, head.dtype, head.size_bytes) == ((40_000,), "float64", 320_000)


@persistence_class
class NoDashNote:
    number: int = field(filename=True)
    note: str = field(default="")
    weights: np.ndarray
    score: float


def test_keys_that_files_of_old_lack_have_their_default(tmp_path):
    """As when they are loaded."""

    @persistence_class(name="NoDashNote")
    class Old:
        number: int = field(filename=True)

    PickleHandler(Old, tmp_path).save_persistence(Old(1))
    handler = PickleHandler(NoDashNote, tmp_path)
    assert len(handler.find(note="")) == 1
    assert len(handler.find(note="x")) == 0


def test_texts_by_a_function_are_asked_for_by_value_and_read_from_the_file(tmp_path):
    """It can't be inverted; a key that it leaves out is asked for by its value too."""
    handler = PickleHandler(Lap, tmp_path)
    for lap, side in enumerate(["both", "left", "right", "both"]):
        handler.save_persistence(Lap("A00", lap, side))
    assert values_of_names(handler.find(side="both")) == [0, 3]
    assert values_of_names(handler.find(side="left")) == [1]
    assert values_of_names(handler.find(side={"left", "both"})) == [0, 1, 3]
    assert values_of_names(handler.find(side=lambda it: it in {"left", "both"})) == [0, 1, 3]
    assert values(handler.find(), "side") == ["both", "left", "right", "both"]


def test_keys_of_any_type_are_read_from_the_file(tmp_path):
    """A text says less than the value."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(Pair(3, None))
    handler.save_persistence(Pair("x", 1.5))
    assert [it.keys for it in handler.find()] == [{"a": 3, "b": None}, {"a": "x", "b": 1.5}]
    assert len(handler.find(a=lambda it: it == 3)) == 1
    assert len(handler.find(a="3")) == 1, "values of one text are one value to a name"


def test_a_file_under_another_name_is_no_hit_by_its_content(tmp_path, caplog):
    """It was renamed: where the file is looked at, that is reported; loading it fails."""
    handler = PickleHandler(Strings, tmp_path)
    handler.save_persistence(Strings("x", "y"))
    os.rename(tmp_path / "cache-Strings-x-y.pkl", tmp_path / "cache-Strings-a-b-c.pkl")
    assert len(handler.find(a="a")) == 0
    assert "cache-Strings-a-b-c.pkl" in caplog.text
    (hit,) = handler.find()
    with pytest.raises(KeyMismatchError, match="cache-Strings-a-b-c.pkl"):
        hit.load()
    with pytest.raises(KeyMismatchError, match="cache-Strings-a-b-c.pkl"):
        hit.keys  # noqa: B018
    os.rename(tmp_path / "cache-Strings-a-b-c.pkl", tmp_path / "cache-Strings-a-b.pkl")
    with pytest.raises(KeyMismatchError, match="cache-Strings-a-b.pkl"):
        handler.find(a="a")[0].load()


# ---------------------------------------------------------------------------------------------- the set


def test_a_set_is_lazy_and_stays_as_it_is(tmp_path):
    """It lists when it is first asked; what comes and goes then does not change it."""
    handler = PickleHandler(Lap, tmp_path / "later")
    found = handler.find(animal="A00")
    for lap in range(3):
        handler.save_persistence(Lap("A00", lap))
    part = found[1:]
    assert len(found) == 3
    handler.save_persistence(Lap("A00", 3))
    os.unlink(found[0].path)
    assert len(found) == 3
    assert values_of_names(part) == [1, 2]
    assert values_of_names(found.refresh()) == [1, 2, 3]
    assert values_of_names(part.refresh()) == [2, 3]
    with pytest.raises(FileNotFoundError):
        found[0].load()
    assert len(handler.find(animal="nobody")) == 0


def test_a_set_is_a_sequence(names_only):
    """Of hits, in a fixed order."""
    handler = names_only(Lap, *laps(*range(12)))
    found = handler.find()
    assert isinstance(found, Found)
    assert isinstance(found[0], Hit)
    assert found[-1].name == found.last().name == "cache_lap_A00_lap11.pkl"
    assert found.first() == found[0]
    assert values_of_names(found[2:8:3]) == [2, 5]
    assert values_of_names(found[2:8][1:3]) == [3, 4]
    assert values_of_names(found[::-1])[:2] == [11, 10]
    assert [it.name for it in reversed(found)][:2] == [found[11].name, found[10].name]
    assert found.paths == [it.path for it in found]
    assert found.index(found[3]) == 3
    assert hash(found[3]) == hash(handler.find(lap=3).first())
    with pytest.raises(IndexError):
        found[12]


def test_what_is_in_a_set(names_only):
    """A hit, a path, a name, a result with these keys."""
    handler = names_only(Lap, *laps(1, 2))
    found = handler.find(lap=1)
    there, not_there = handler.find(lap=1)[0], handler.find(lap=2)[0]
    for it in (there, there.path, str(there.path), there.name, Lap("A00", 1)):
        assert it in found
    for it in (not_there, not_there.path, not_there.name, Lap("A00", 2), Path("elsewhere", there.name), 3, None):
        assert it not in found


def test_nothing_found_says_what_was_looked_for(names_only, tmp_path):
    """The first of none is an error that helps."""
    handler = names_only(Lap, *laps(1))
    with pytest.raises(NothingFoundError) as caught:
        handler.find(animal="B", lap={1, 2}).first()
    assert str(caught.value) == (
        f"no Lap found in {str(tmp_path)!r} with animal='B', lap in {{1, 2}}: call find() to list the saved results"
    )
    with pytest.raises(LookupError):
        handler.find(animal="B").last()
    assert repr(handler.find(animal="A00")) == f"<Found: 1 Lap in {str(tmp_path)!r} with animal='A00'>"
    assert repr(handler.find()[0]) == "Hit('cache_lap_A00_lap1.pkl')"


def test_a_part_of_a_set(names_only):
    """By further conditions, by a function of the hit, by both."""
    handler = names_only(Lap, *laps(*range(6)), *laps(1, 2, animal="B"))
    found = handler.find(lap=lambda it: it > 0)
    assert len(found.filter(animal="B")) == 2
    assert values_of_names(found.filter(animal="A00", lap={0, 1, 5})) == [1, 5]
    assert values_of_names(found.filter(lambda hit: "lap2" in hit.name)) == [2, 2]
    assert values_of_names(found.filter(lambda hit: "lap2" in hit.name, animal="B")) == [2]
    assert values_of_names(found[::-1].filter(animal="B")) == [2, 1], "the order stays"
    assert "animal='B'" in repr(found.filter(animal="B"))


def test_the_latest_of_each(tmp_path):
    """The highest number among those of the same other keys, also where names can be read in two ways."""
    handler = PickleHandler(Run, tmp_path)
    for animal, count in [("A", 12), ("B", 1), ("A-#1", 2)]:
        for _ in range(count):
            handler.save_persistence(Run(animal))
    assert [it.name for it in handler.find().latest()] == [
        "cache-Run-A-#11.pkl",
        "cache-Run-A-#1-#1.pkl",
        "cache-Run-B-#0.pkl",
    ]
    assert [it.load().version for it in handler.find(version=range(3)).latest()] == [2, 1, 0]
    laps_handler = PickleHandler(Lap, tmp_path)
    laps_handler.save_persistence(Lap("A", 1))
    assert len(laps_handler.find().latest()) == 1


def test_a_hit_loads_and_knows_its_size_and_time(tmp_path):
    """Where it was saved."""
    handler = GzipHandler(Lap, tmp_path)
    before = datetime.datetime.now().astimezone()
    handler.save_persistence(Lap("A00", 3))
    (hit,) = handler.find()
    assert hit.path == tmp_path / "cache_lap_A00_lap3.pkl.gz"
    assert hit.size_bytes == hit.path.stat().st_size
    assert abs((hit.time_modified - before).total_seconds()) < 60
    assert hit.time_created is None or abs((hit.time_created - before).total_seconds()) < 60
    assert hit.load().lap == 3


def test_names_of_others_are_not_found(names_only, tmp_path):
    """Of other classes, with another suffix, hidden drafts, part of a longer name."""
    handler = names_only(Lap, *laps(1))
    for name in [
        "cache_lap_A00",
        "cache_lap_A00_lap1.pkl.gz",
        ".cache_lap_A00_lap1.pkl",
        "cache_laps_A00_lap1.pkl",
        "x",
    ]:
        (tmp_path / name).touch()
    (tmp_path / ".neuralib-draft-0123456789abcdef").touch()
    assert [it.name for it in handler.find()] == ["cache_lap_A00_lap1.pkl"]


def test_a_format_of_ones_own_is_found_too(tmp_path):
    """Its head can't be read, so its files are."""
    import json

    class JsonHandler(FileHandler):
        suffix = ".json"

        def filename(self, result, /, **kwargs):
            return "mine-" + super().filename(result, **kwargs)

        def _write(self, fields, file):
            file.write(json.dumps(fields).encode())

        def _read(self, file):
            return json.load(file)

    handler = JsonHandler(NoDashNote, tmp_path)
    handler.save_persistence(NoDashNote(3, "x"))
    (hit,) = handler.find(note="x", number=lambda it: it == 3)
    assert hit.name == "mine-cache-NoDashNote-3.json"
    assert hit.load().note == "x"


def test_many_keys_of_one_class(tmp_path):
    """More than there are noncharacters to mark them with."""
    names = [f"k{it}" for it in range(40)]
    namespace: dict[str, Any] = {
        "__annotations__": dict.fromkeys(names, int),
        **{it: field(filename=True) for it in names},
    }
    cls = persistence_class(type("Many", (), namespace))
    handler = PickleHandler(cls, tmp_path)
    handler.save_persistence(cls(*range(40)))
    assert handler.find(k39=39, k35=lambda it: it == 35)[0].keys == dict(zip(names, range(40), strict=True))


def test_texts_are_ordered_as_a_person_would():
    """Numbers by size, also where they are negative, fractions, or parts of a text."""
    ordered = ["-10", "-9", "0.25", "0.5", "1", "1e3", "s2", "s2a", "s10", "t"]
    assert sorted(reversed(ordered), key=natural) == ordered


PART = st.text(alphabet="ab-_#*[]é1.", min_size=0, max_size=4)


def fits(value, condition):
    if condition is None:
        return True
    if isinstance(condition, set):
        return value in condition
    return condition(value) if callable(condition) else value == condition


@settings(max_examples=60)
@given(st.sets(st.tuples(PART, PART), max_size=6), PART, PART)
def test_a_find_is_exact_whatever_the_keys(tmp_path_factory, keys, a, b):
    """Each result that was saved is found by its keys, and nothing else is."""
    handler = PickleHandler(Strings, tmp_path_factory.mktemp("find"))
    saved = set()
    for pair in sorted(keys):
        try:
            handler.save_persistence(Strings(*pair))
        except FileExistsError:
            continue  # another has that name
        saved.add(pair)
    for asked in [{"a": a}, {"b": b}, {"a": a, "b": b}, {"a": {a, b}}, {"a": lambda it: it < a}, {}]:
        found = handler.find(**asked)
        expected = {pair for pair in saved if fits(pair[0], asked.get("a")) and fits(pair[1], asked.get("b"))}
        assert {(it.keys["a"], it.keys["b"]) for it in found} == expected
        assert len(found) == len(expected)
    for pair in saved:
        (hit,) = handler.find(a=pair[0], b=pair[1])
        assert (hit.load().a, hit.load().b) == pair
