"""``find`` returns exactly the results that match, and reads file names alone where they are enough."""

from __future__ import annotations

import datetime
import enum
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from checks import Pair, Run, filled
from hypothesis import given, strategies as st

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
from neuralib.persistence._naming.order import natural
from neuralib.persistence.stores import FolderStore


class State(enum.Enum):
    AWAKE = "awake"
    ASLEEP = "asleep"


@persistence_class(name="lap", filename_field_splitter="_")
class Lap:
    animal: str = field(filename=True)
    lap: int = field(filename_prefix="lap", filename=True)
    side: str = field(filename=lambda side: None if side == "both" else side.upper(), default="both")


@pytest.fixture
def names_only(tmp_path):
    """A function that makes empty files with the names of results: reading one fails, so tests show that none is read."""

    def make(cls, *keys, **kwargs):
        handler = PickleHandler(cls, tmp_path, **kwargs)
        for values in keys:
            handler.filepath(cls(**values)).touch()
        return handler

    return make


def laps(*numbers, animal="A00"):
    return [{"animal": animal, "lap": lap} for lap in numbers]


def values(found, name):
    return [keys[name] for keys in found.keys()]


# ---------------------------------------------------------------------------------------------- conditions


def test_everything_is_found_in_natural_order(names_only):
    """Return the key *name* of each hit."""
    handler = names_only(Lap, *laps(10, 2, 0, 100, 33))
    found = handler.find(side="both")
    assert values_of_names(found) == [0, 2, 10, 33, 100]
    assert [hit.name for hit in found] == [f"cache_lap_A00_lap{lap}.pkl" for lap in (0, 2, 10, 33, 100)]


def values_of_names(found):
    return [int(hit.name.split("lap")[-1].split("_")[0].split(".")[0]) for hit in found]


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
        (lambda lap: lap > 2, [3, 10]),
        (lambda lap: isinstance(lap, int) and lap % 2 == 0, [0, 2, 10]),
    ],
)
def test_conditions_on_a_key(names_only, condition, expected):
    """A value, any value, a collection, a function of the value: the name is enough, and no file is opened."""
    handler = names_only(Lap, *laps(10, 2, 0, 3, 1), *laps(3, animal="B"))
    found = handler.find(animal="A00", lap=condition)
    assert values_of_names(found) == expected
    assert len(found) == len(expected)
    assert bool(found) == bool(expected)


def test_keys_are_converted_to_the_annotated_types(names_only):
    """If the annotation is a tuple, a tuple is a value, and not a collection of values."""
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
    (hit,) = handler.find(
        area=(0.04, 1.0), state=State.ASLEEP, kind={"spks", "df_f"}, date=lambda date: date.year == 2023
    )
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
    """A template's keys are the conditions; ``missing`` matches any value; keyword arguments replace keys of the template."""
    handler = names_only(Lap, *laps(1, 2), *laps(1, animal="B"))
    assert len(handler.find(Lap("A00", missing))) == 2
    assert len(handler.find(Lap("A00", missing), animal={"A00", "B"})) == 3
    assert len(handler.find(Lap("A00", 2), lap=lambda lap: lap == 1)) == 1
    incomplete = Lap("A00", 2)
    del incomplete.lap
    with pytest.raises(KeyNotSetError, match="lap"):
        handler.find(incomplete)
    assert len(handler.find(incomplete, lap=missing)) == 2


def test_keys_of_a_template_that_are_not_in_the_name_do_not_count(tmp_path):
    """They may be defaults that the user never chose. As a keyword argument, such a key does count."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(Pair("x", 1, c="why"))
    assert len(handler.find(Pair("x", 1))) == 1
    assert len(handler.find(Pair("x", 1), c="why")) == 1
    assert len(handler.find(Pair("x", 1), c=None)) == 0


def test_a_number_that_is_not_assigned_matches_any(names_only):
    """An auto-increment key of None is a wildcard, as in ``load_all``."""
    handler = names_only(Run, *({"animal": "A", "version": number} for number in (0, 1, 11)))
    assert len(handler.find(Run("A"))) == len(handler.find(version=None)) == len(handler.find()) == 3
    assert [hit.name for hit in handler.find(Run("A"), version={1, 11})] == [
        "cache-Run-A-#1.pkl",
        "cache-Run-A-#11.pkl",
    ]


def test_what_is_no_field_or_no_result_is_refused(names_only):
    """The error comes from ``find`` itself, not later when the result set is used."""
    handler = names_only(Lap)
    with pytest.raises(UnknownFieldError, match="lapp"):
        handler.find(lapp=3)
    with pytest.raises(UnknownFieldError, match="lapp"):
        handler.find().filter(lapp=3)
    with pytest.raises(WrongResultClassError):
        handler.find(Pair(1, 2))


def test_an_error_in_a_condition_names_key_value_and_file(names_only):
    """Otherwise one would have to search thousands of names for the value."""
    handler = names_only(Lap, *laps(0))
    found = handler.find(lap=lambda lap: 1 / lap)
    with pytest.raises(ZeroDivisionError) as caught:
        len(found)
    assert caught.value.__notes__ == ["in the condition on lap, which was given 0"]


# ---------------------------------------------------------------------------------------------- when names do not tell


def test_no_file_is_read_if_the_name_is_enough(names_only):
    """Files that can't be read are found all the same."""
    handler = names_only(Run, *({"animal": animal, "version": number} for animal in "AB" for number in (0, 2, 10)))
    found = handler.find(animal={"A"}, version=lambda version: version > 1)
    assert [hit.name for hit in found] == ["cache-Run-A-#2.pkl", "cache-Run-A-#10.pkl"]
    with pytest.raises(CorruptResultError):
        found[0].load()


def test_the_file_decides_where_a_name_can_be_read_in_two_ways(tmp_path):
    """Then the keys are read from the file, so there is no wrong hit, and no result is left out."""
    handler = PickleHandler(Pair, tmp_path)
    for a, b in [("a-b", "c"), ("a", "x-y"), ("a", "z"), ("q-a", "b")]:
        handler.save_persistence(filled(Pair(a, b), data=1))
    assert [hit.keys for hit in handler.find(a="a")] == [{"a": "a", "b": "x-y"}, {"a": "a", "b": "z"}]
    assert [hit.keys for hit in handler.find(b="c")] == [{"a": "a-b", "b": "c"}]
    assert len(handler.find(b="b-c")) == len(handler.find(a="a", b="b-c")) == 0
    assert len(handler.find(a={"a-b", "q-a"})) == 2
    assert [hit.keys["a"] for hit in handler.find(a=lambda a: "-" in a)] == ["a-b", "q-a"]
    assert len(handler.find()) == 4


def test_a_file_is_opened_only_where_the_answer_depends_on_it(names_only):
    """If both readings of a name match, or neither does, the file is not opened."""
    handler = names_only(Strings, {"a": "a-b", "b": "c"})
    assert len(handler.find()) == 1
    assert len(handler.find(a=missing)) == 1
    assert len(handler.find(a={"a", "a-b"}, b={"c", "b-c"})) == 1
    assert len(handler.find(a="q")) == 0
    assert len(handler.find(a=lambda a: a.startswith("a"))) == 1
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
    """Data fields too. A result that lacks a field does not match any value of it."""
    handler = PickleHandler(NoDashNote, tmp_path)
    for number, note in enumerate(["good", "bad", "good"]):
        result = NoDashNote(number, note)
        result.weights = np.arange(number)
        if number:
            result.score = number / 4
        handler.save_persistence(result)
    assert values(handler.find(note="good"), "number") == [0, 2]
    assert values(handler.find(note={"bad", "worse"}), "number") == [1]
    assert values(handler.find(note=lambda note: note.startswith("g"), number=range(2)), "number") == [0]
    assert values(handler.find(score=lambda score: score < 0.5), "number") == [1]
    assert values(handler.find(score=None), "number") == []
    assert values(handler.find(weights=lambda weights: weights.shape == (2,)), "number") == [2]
    assert handler.find(number=2)[0].fields("score", "note") == {"score": 0.5, "note": "good"}
    assert handler.find(number=0)[0].fields("score", "number") == {"number": 0}


def test_large_arrays_are_not_read_to_find(tmp_path):
    """A condition on a small field reads the file's head only. Compressed files are read up to that field."""
    for handler in (PickleHandler(NoDashNote, tmp_path), GzipHandler(NoDashNote, tmp_path)):
        for number in range(3):
            result = NoDashNote(number, "good" if number else "bad")
            result.weights, result.score = np.random.default_rng(number).normal(size=40_000), number / 2
            handler.save_persistence(result)
        found = handler.find(
            note="good", score=lambda score: score > 0.5, weights=lambda weights: weights.shape == (40_000,)
        )
        assert values(found, "number") == [2]
        head = found[0].fields("weights")["weights"]
        assert (head.shape, head.dtype, head.size_bytes) == ((40_000,), "float64", 320_000)


@persistence_class
class NoDashNote:
    number: int = field(filename=True)
    note: str = field(default="")
    weights: np.ndarray
    score: float


def test_a_key_that_an_old_file_lacks_has_its_default(tmp_path):
    """Loading the file gives the same default."""

    @persistence_class(name="NoDashNote")
    class Old:
        number: int = field(filename=True)

    PickleHandler(Old, tmp_path).save_persistence(Old(1))
    handler = PickleHandler(NoDashNote, tmp_path)
    assert len(handler.find(note="")) == 1
    assert len(handler.find(note="x")) == 0


def test_keys_named_by_a_function_are_read_from_the_file(tmp_path):
    """The function can't be inverted. A key that it leaves out of the name is found by its value too."""
    handler = PickleHandler(Lap, tmp_path)
    for lap, side in enumerate(["both", "left", "right", "both"]):
        handler.save_persistence(Lap("A00", lap, side))
    assert values_of_names(handler.find(side="both")) == [0, 3]
    assert values_of_names(handler.find(side="left")) == [1]
    assert values_of_names(handler.find(side={"left", "both"})) == [0, 1, 3]
    assert values_of_names(handler.find(side=lambda side: side in {"left", "both"})) == [0, 1, 3]
    assert values(handler.find(), "side") == ["both", "left", "right", "both"]


def test_keys_of_any_type_are_read_from_the_file(tmp_path):
    """With the annotation ``Any``, the text in the name does not tell the type of the value."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(Pair(3, None))
    handler.save_persistence(Pair("x", 1.5))
    assert [hit.keys for hit in handler.find()] == [{"a": 3, "b": None}, {"a": "x", "b": 1.5}]
    assert len(handler.find(a=lambda a: a == 3)) == 1
    assert len(handler.find(a="3")) == 1, "values of one text are one value to a name"


def test_a_renamed_file_is_not_found_by_its_content(tmp_path, caplog):
    """Where the file is read, a warning names it; loading it fails."""
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


def test_a_result_set_is_listed_once_when_first_used(tmp_path):
    """Files that are added or removed later don't change it."""
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


def test_a_result_set_is_a_sequence(names_only):
    """Its items are hits, in a fixed order."""
    handler = names_only(Lap, *laps(*range(12)))
    found = handler.find()
    assert isinstance(found, Found)
    assert isinstance(found[0], Hit)
    assert found[-1].name == found.last().name == "cache_lap_A00_lap11.pkl"
    assert found.first() == found[0]
    assert values_of_names(found[2:8:3]) == [2, 5]
    assert values_of_names(found[2:8][1:3]) == [3, 4]
    assert values_of_names(found[::-1])[:2] == [11, 10]
    assert [hit.name for hit in reversed(found)][:2] == [found[11].name, found[10].name]
    assert found.paths == [hit.path for hit in found]
    assert found.index(found[3]) == 3
    assert hash(found[3]) == hash(handler.find(lap=3).first())
    with pytest.raises(IndexError):
        found[12]


def test_in_accepts_a_hit_path_name_or_result(names_only):
    """``value in found`` takes each of these."""
    handler = names_only(Lap, *laps(1, 2))
    found = handler.find(lap=1)
    there, not_there = handler.find(lap=1)[0], handler.find(lap=2)[0]
    for member in (there, there.path, str(there.path), there.name, Lap("A00", 1)):
        assert member in found
    for other in (not_there, not_there.path, not_there.name, Lap("A00", 2), Path("elsewhere", there.name), 3, None):
        assert other not in found


def test_nothing_found_says_what_was_looked_for(names_only, tmp_path):
    """``first`` and ``last`` of an empty result set raise an error that names class, folder and conditions."""
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


def test_filter_narrows_a_result_set(names_only):
    """By further conditions, by a function of the hit, by both."""
    handler = names_only(Lap, *laps(*range(6)), *laps(1, 2, animal="B"))
    found = handler.find(lap=lambda lap: lap > 0)
    assert len(found.filter(animal="B")) == 2
    assert values_of_names(found.filter(animal="A00", lap={0, 1, 5})) == [1, 5]
    assert values_of_names(found.filter(lambda hit: "lap2" in hit.name)) == [2, 2]
    assert values_of_names(found.filter(lambda hit: "lap2" in hit.name, animal="B")) == [2]
    assert values_of_names(found[::-1].filter(animal="B")) == [2, 1], "the order stays"
    assert "animal='B'" in repr(found.filter(animal="B"))


def test_the_latest_of_each(tmp_path):
    """The highest number for each combination of the other keys, also where names can be read in two ways."""
    handler = PickleHandler(Run, tmp_path)
    for animal, count in [("A", 12), ("B", 1), ("A-#1", 2)]:
        for _ in range(count):
            handler.save_persistence(Run(animal))
    assert [hit.name for hit in handler.find().latest()] == [
        "cache-Run-A-#11.pkl",
        "cache-Run-A-#1-#1.pkl",
        "cache-Run-B-#0.pkl",
    ]
    assert [hit.load().version for hit in handler.find(version=range(3)).latest()] == [2, 1, 0]
    laps_handler = PickleHandler(Lap, tmp_path)
    laps_handler.save_persistence(Lap("A", 1))
    assert len(laps_handler.find().latest()) == 1


def test_a_hit_loads_and_knows_its_size_and_time(tmp_path):
    """It knows its path and its URL, too."""
    handler = GzipHandler(Lap, tmp_path)
    before = datetime.datetime.now().astimezone()
    handler.save_persistence(Lap("A00", 3))
    (hit,) = handler.find()
    assert hit.path == tmp_path / "cache_lap_A00_lap3.pkl.gz"
    assert hit.size_bytes == hit.path.stat().st_size
    assert abs((hit.time_modified - before).total_seconds()) < 60
    assert hit.time_created is None or abs((hit.time_created - before).total_seconds()) < 60
    assert hit.load().lap == 3


def test_other_files_are_not_found(names_only, tmp_path):
    """Names of other classes, other suffixes, hidden files, and names that only begin like one of ours."""
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
    assert [hit.name for hit in handler.find()] == ["cache_lap_A00_lap1.pkl"]


def test_results_in_a_users_format_are_found(tmp_path):
    """The head of such a file can't be read, so whole files are."""
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
    (hit,) = handler.find(note="x", number=lambda number: number == 3)
    assert hit.name == "mine-cache-NoDashNote-3.json"
    assert hit.load().note == "x"


def test_many_keys_of_one_class(tmp_path):
    """More than there are Unicode noncharacters, which mark keys in patterns of names."""
    names = [f"k{number}" for number in range(40)]
    namespace: dict[str, Any] = {
        "__annotations__": dict.fromkeys(names, int),
        **{name: field(filename=True) for name in names},
    }
    cls = persistence_class(type("Many", (), namespace))
    handler = PickleHandler(cls, tmp_path)
    handler.save_persistence(cls(*range(40)))
    assert handler.find(k39=39, k35=lambda number: number == 35)[0].keys == dict(zip(names, range(40), strict=True))


def test_natural_order():
    """Numbers are ordered by size, also if they are negative, fractions, or parts of a text."""
    ordered = ["-10", "-9", "0.25", "0.5", "1", "1e3", "s2", "s2a", "s10", "t"]
    assert sorted(reversed(ordered), key=natural) == ordered


PART = st.text(alphabet="ab-_#*[]é1.", min_size=0, max_size=4)


def fits(value, condition):
    if condition is None:
        return True
    if isinstance(condition, set):
        return value in condition
    return condition(value) if callable(condition) else value == condition


@given(st.sets(st.tuples(PART, PART), max_size=6), PART, PART)
def test_a_find_is_exact_whatever_the_keys(tmp_path_factory, keys, a, b):
    """Return whether *value* satisfies *condition*, as ``find`` should see it."""
    handler = PickleHandler(Strings, tmp_path_factory.mktemp("find"))
    saved = set()
    for pair in sorted(keys):
        try:
            handler.save_persistence(Strings(*pair))
        except FileExistsError:
            continue  # another pair of keys has that name
        saved.add(pair)
    for asked in [{"a": a}, {"b": b}, {"a": a, "b": b}, {"a": {a, b}}, {"a": lambda value: value < a}, {}]:
        found = handler.find(**asked)
        expected = {pair for pair in saved if fits(pair[0], asked.get("a")) and fits(pair[1], asked.get("b"))}
        assert {(hit.keys["a"], hit.keys["b"]) for hit in found} == expected
        assert len(found) == len(expected)
    for pair in saved:
        (hit,) = handler.find(a=pair[0], b=pair[1])
        assert (hit.load().a, hit.load().b) == pair


def find_and_tell_listing(handler, monkeypatch, **keys):
    """Return the names that are found, and whether the folder was listed for that."""
    listed = []
    plain = type(handler.store).names
    with monkeypatch.context() as patch:
        patch.setattr(type(handler.store), "names", lambda *arguments: (listed.append(1), plain(*arguments))[1])
        found = [hit.keys for hit in handler.find(**keys)]
    return found, bool(listed)


def test_with_every_key_given_the_folder_is_not_listed(tmp_path, monkeypatch):
    """The one possible name, or a few names, are looked up. With too many, the folder is listed."""
    handler = PickleHandler(Pair, tmp_path)
    for a, b in (("x", "1"), ("x", "z-1"), ("y", "z-1")):
        handler.save_persistence(filled(Pair(a, b), data=1))
    for keys in ({"a": "x", "b": "1"}, {"a": ["x", "none"], "b": "1"}):
        assert find_and_tell_listing(handler, monkeypatch, **keys) == ([{"a": "x", "b": "1"}], False)
    assert (
        find_and_tell_listing(handler, monkeypatch, a="none", b="1")[0] == []
    )  # the folder is listed, to find files under former names
    assert find_and_tell_listing(handler, monkeypatch, a="x") == ([{"a": "x", "b": "1"}, {"a": "x", "b": "z-1"}], True)
    assert (
        len(find_and_tell_listing(handler, monkeypatch, a={str(number) for number in range(20)} | {"x"}, b="1")[0]) == 1
    )
    # Another result's keys give the same name, so the keys in the file decide.
    assert find_and_tell_listing(handler, monkeypatch, a="y", b="z-1") == ([{"a": "y", "b": "z-1"}], False)
    assert find_and_tell_listing(handler, monkeypatch, a="y-z", b="1")[0] == []


def test_with_every_key_given_a_file_in_place_of_the_folder_is_an_error(tmp_path):
    """As where the folder is listed."""
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        len(PickleHandler(Pair, tmp_path / "file").find(a="x", b="1"))
    assert len(PickleHandler(Pair, tmp_path / "none").find(a="x", b="1")) == 0


def test_a_name_that_differs_in_case_alone_is_not_found(tmp_path, monkeypatch):
    """On file systems where 'a' and 'A' are one file, the folder is listed to see the exact name."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(filled(Pair("x", "1"), data=1))
    monkeypatch.setattr(
        FolderStore, "has", lambda self, name, /: name.lower() in {taken.lower() for taken in os.listdir(self.root)}
    )
    assert len(handler.find(a="x", b="1")) == 1
    assert len(handler.find(a="X", b="1")) == 0
