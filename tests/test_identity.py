"""A result of other keys is never replaced, and a file under a wrong name is never returned."""

from __future__ import annotations

import datetime
import enum
import math
import os
import pickle
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from checks import Pair, Run, filled, needs_zstd
from test_handlers import JsonHandler, NpzHandler

from neuralib.persistence import (
    GzipHandler,
    KeyMismatchError,
    NameTakenError,
    PickleHandler,
    ZstdHandler,
    field,
    missing,
    persistence_class,
    results_equal,
)
from neuralib.persistence._codecs import framed_content
from neuralib.persistence._codecs.pickles import PickleCodec
from neuralib.persistence.cli_persistence import PersistenceOptions

NAN = float("nan")


class Colour(str, enum.Enum):
    RED = "red"
    BLUE = "blue"


class Plain(enum.Enum):
    RED = 1


@persistence_class
class Loose:
    """A class without validated keys."""

    a: Any = field(filename=True)
    data: Any


@persistence_class
class DataBetweenKeys:
    """With data before the last key."""

    a: str = field(filename=True)
    first: Any
    second: Any
    planes: list[int] = field(filename=lambda planes: f"{len(planes)} planes")


class Keeps(PersistenceOptions[Loose]):
    def __init__(self, folder, a):
        self.folder, self.a, self.computed = folder, a, 0

    def persistence_handler(self, dest=None):
        return PickleHandler(Loose, self.folder)

    def empty_cache(self):
        return Loose(self.a)

    def compute_cache(self, result):
        self.computed += 1
        return filled(result, data=f"of {self.a!r}")


SAME_NAME = [
    (1, "1"),
    (True, "True"),
    (None, "None"),
    (1.0, "1.0"),
    (-0.0, "-0.0"),
    (NAN, "nan"),
    (math.inf, "inf"),
    ((1, 2), "(1, 2)"),
    ([1, 2], "[1, 2]"),
    (b"x", "b'x'"),
    (Path("x"), "x"),
    (PurePosixPath("x"), "x"),
    (datetime.date(2020, 1, 2), "2020-01-02"),
    (Plain.RED, "Plain.RED"),
    (np.bool_(True), "True"),
    (np.datetime64("2020-01-02"), "2020-01-02"),
    (10**20, f"1{'0' * 20}"),
    (1j, "1j"),
    (Colour.RED, str(Colour.RED)),
    (range(3), "range(0, 3)"),
]
SAME_KEY = [
    (1, np.int64(1)),
    (np.uint8(1), np.int64(1)),
    (0.5, np.float32(0.5)),
    (NAN, np.float64("nan")),
    (NAN, -NAN),
    ("x", np.str_("x")),
    (True, np.bool_(True)),
    ((1, "a"), (1, "a")),
    (Colour.RED, Colour.RED),
    (Path("a"), Path("a")),
    (datetime.date(2020, 1, 2), datetime.date(2020, 1, 2)),
]


@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler])
@pytest.mark.parametrize(("first", "second"), SAME_NAME, ids=lambda value: f"{type(value).__name__} {str(value)[:12]}")
def test_other_keys_of_the_same_name_are_refused(tmp_path, kind, first, second):
    """The message has both sets of keys, and the first result stays."""
    handler = kind(Loose, tmp_path)
    if handler.filename(Loose(first)) != handler.filename(Loose(second)):
        pytest.skip("they show differently")
    for mine, theirs in ((first, second), (second, first)):
        path = handler.filepath(handler.save_persistence(filled(Loose(theirs), data="theirs")))
        with pytest.raises(NameTakenError) as caught:
            handler.save_persistence(filled(Loose(mine), data="mine"))
        assert set(caught.value.mine) == set(caught.value.theirs) == {"a"}
        for text in (caught.value.mine["a"], caught.value.theirs["a"], path.name):
            assert text in str(caught.value)
        assert handler.load_persistence(path).data == "theirs"
        assert len(os.listdir(tmp_path)) == 1
        path.unlink()


@pytest.mark.parametrize(("first", "second"), SAME_KEY, ids=lambda value: f"{type(value).__name__} {str(value)[:12]}")
def test_equal_keys_are_one_key(tmp_path, first, second):
    """numpy's numbers equal Python's, and NaN equals NaN."""
    handler = PickleHandler(Loose, tmp_path)
    assert handler.filename(Loose(first)) == handler.filename(Loose(second))
    handler.save_persistence(filled(Loose(first), data="old"))
    handler.save_persistence(filled(Loose(second), data="new"))
    assert handler.load_persistence(Loose(first)).data == "new"
    assert [result.data for _, result in handler.load_all(Loose(first))] == ["new"]


def test_keys_that_differ_only_in_their_sign_or_kind_have_names_of_their_own(tmp_path):
    """0.0 and -0.0 differ, and so do 1, 1.0 and True."""
    handler = PickleHandler(Loose, tmp_path)
    values = [0.0, -0.0, 1, 1.0, True, 0, False, None, "", " ", "é"]
    for value in values:
        handler.save_persistence(filled(Loose(value), data=repr(value)))
    assert [handler.load_persistence(Loose(value)).data for value in values] == [repr(value) for value in values]
    assert len(list(handler.load_all(a=missing))) == len(values)


def test_several_keys_are_all_named(tmp_path):
    """In the message, also those that are equal."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(filled(Pair("a-b", "c", c=1), data=1))
    with pytest.raises(NameTakenError) as caught:
        handler.save_persistence(filled(Pair("a", "b-c", c=2), data=2))
    assert caught.value.mine == {"a": "'a'", "b": "'b-c'"}
    assert caught.value.theirs == {"a": "'a-b'", "b": "'c'"}


# ------------------------------------------------------------------------------------------ renamed files

HANDLERS = [PickleHandler, GzipHandler, JsonHandler, NpzHandler]


@pytest.mark.parametrize("how", [shutil.copy, os.rename])
@pytest.mark.parametrize("kind", HANDLERS)
def test_a_file_under_another_name_is_reported_and_not_returned(tmp_path, kind, how, caplog):
    """By template, wildcards, or keys; each message names the file and its keys."""
    handler = kind(Pair, tmp_path)
    handler.save_persistence(filled(Pair("one", "x"), data=1))
    wrong = handler.filepath(Pair("two", "x"))
    how(handler.filepath(Pair("one", "x")), wrong)
    for address in (Pair("two", "x"), {"a": "two", "b": "x"}):
        with pytest.raises(KeyMismatchError, match="two"):
            handler.load_persistence(address)
    for template in ({"a": missing, "b": "x"}, {"a": missing, "b": missing}, {"a": "two", "b": missing}):
        caplog.clear()
        assert str(wrong) not in [str(path) for path, _ in handler.load_all(**template)]
        assert f"{wrong} holds the result of Pair with the keys (a=" in caplog.text
        assert "'one'" in caplog.text
        problems = []
        list(handler.load_all(**template, on_corrupt=problems.append))
        assert [(type(problem), problem.path) for problem in problems] == [(KeyMismatchError, str(wrong))]
    assert results_equal(
        handler.load_persistence(wrong), filled(Pair("one", "x"), data=1)
    )  # a path is not compared with keys


@pytest.mark.parametrize("data", [1, np.arange(50_000.0)], ids=["small", "large"])
@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler])
def test_verify_reports_a_file_under_another_name(tmp_path, kind, data):
    """It reads the keys and makes no result. If it can't read the keys, it reports nothing."""
    handler = kind(Pair, tmp_path)
    for key in ("one", Path("path"), Plain.RED):
        handler.save_persistence(filled(Pair(key, "x"), data=data))
    assert [check.problem for check in handler.verify()] == [None] * 3
    for n, key in enumerate(["one", Path("path"), Plain.RED]):
        shutil.copy(handler.filepath(Pair(key, "x")), handler.filepath(Pair(f"copy {n}", "x")))
    found = {check.path.stem.split("-")[2]: check for check in handler.verify()}
    assert all(check.checksummed for check in found.values())
    assert {name for name, check in found.items() if check.problem} == {
        "copy 0",
        "copy 1",
    }  # Plain is in no annotation
    assert isinstance(found["copy 0"].problem, KeyMismatchError)
    assert "with the keys (a='one', b='x')" in str(found["copy 0"].problem)
    assert next(handler.verify(handler.filepath(Pair("copy 0", "x")))).problem is None


def test_verify_accepts_key_texts_made_by_the_class(tmp_path):
    """The class makes the texts of its keys by functions. Its keys may stand after the data in a file, and be numbered."""

    @persistence_class
    class Own:
        data: Any
        a: Colour = field(filename=lambda value: value.value[0])
        b: str = field(filename=lambda value: None)

    handler = PickleHandler(Own, tmp_path)
    for data in (1, np.arange(50_000.0), "x" * 100_000):
        handler.save_persistence(filled(Own(Colour.BLUE, "b"), data=data))
        assert [check.problem for check in handler.verify()] == [None]
        assert len(list(handler.load_all(a=missing, b=missing))) == 1
    shutil.move(handler.filepath(Own(Colour.BLUE, "")), handler.filepath(Own(Colour.RED, "")))
    assert [check.problem for check in handler.verify()] == [
        None
    ]  # without the class, a member of Colour can't be compared
    problems = []
    assert list(handler.load_all(a=missing, b=missing, on_corrupt=problems.append)) == []
    assert [type(problem) for problem in problems] == [KeyMismatchError]
    runs = PickleHandler(Run, tmp_path)
    runs.save_all(filled(Run("A"), data=1) for _ in range(3))
    os.rename(runs.filepath(Run("A", 2)), runs.filepath(Run("A", 7)))
    assert [type(check.problem) for check in runs.verify()] == [type(None), type(None), KeyMismatchError]
    assert [result.version for _, result in runs.load_all(Run("A"))] == [0, 1]


def test_load_cache_does_not_return_the_result_of_other_keys(tmp_path):
    """It neither computes what it could not save, nor replaces the result that is there."""
    first = Keeps(tmp_path, "a")
    first.load_cache()
    handler = PickleHandler(Loose, tmp_path)
    os.rename(handler.filepath(Loose("a")), handler.filepath(Loose("b")))
    second = Keeps(tmp_path, "b")
    with pytest.raises(NameTakenError, match=r"a='a'.*a='b'"):
        second.load_cache()
    assert second.computed == 0
    with pytest.raises(FileNotFoundError, match="already holds another result"):
        second.load_cache(error_when_missing=True)
    assert handler.load_persistence(tmp_path / handler.filename(Loose("b"))).data == "of 'a'"


def test_load_cache_finds_a_key_by_its_text(tmp_path):
    """As command lines pass texts: if the key is not validated, '3' finds the result of 3."""
    Keeps(tmp_path, 3).load_cache()
    again = Keeps(tmp_path, "3")
    assert again.load_cache().a == 3
    assert again.computed == 0


def test_load_cache_refuses_before_it_computes_in_vain(tmp_path):
    """If a validated key has the same text and another value."""

    class Strict(PersistenceOptions[Pair]):
        computed = 0

        def persistence_handler(self, dest=None):
            return PickleHandler(Pair, tmp_path)

        def empty_cache(self):
            return Pair("1", 2)

        def compute_cache(self, result):
            self.computed += 1
            return filled(result, data=1)

    PickleHandler(Pair, tmp_path).save_persistence(filled(Pair(1, 2), data="there"))
    options = Strict()
    with pytest.raises(NameTakenError, match="a=1, b=2"):
        options.load_cache()
    assert options.computed == 0


def test_load_cache_replaces_keys_that_are_not_in_the_name(tmp_path):
    """If such a key is validated, and has changed."""

    @persistence_class
    class Setting:
        a: str = field(filename=True)
        threshold: float = field(validator=True, filename=False)
        data: Any

    class Options(PersistenceOptions[Setting]):
        def __init__(self, threshold):
            self.threshold = threshold

        def persistence_handler(self, dest=None):
            return PickleHandler(Setting, tmp_path)

        def empty_cache(self):
            return Setting("a", self.threshold)

        def compute_cache(self, result):
            return filled(result, data=self.threshold * 2)

    for threshold in (1.0, 2.0, 1.0, float("nan"), float("nan")):
        found = Options(threshold).load_cache()
        assert results_equal(found, filled(Setting("a", threshold), data=threshold * 2))
        assert len(os.listdir(tmp_path)) == 1


def test_a_key_after_data_that_is_not_set_counts(tmp_path):
    """Then there are fewer fields in the file than come before the last key of the class."""
    handler = PickleHandler(DataBetweenKeys, tmp_path)
    for _ in range(2):
        handler.save_persistence(DataBetweenKeys("A00", [0, 0, 0, 0, 0]))
    with pytest.raises(NameTakenError, match=r"planes=\[0, 0, 0, 0, 1\]"):
        handler.save_persistence(DataBetweenKeys("A00", [0, 0, 0, 0, 1]))


@pytest.mark.parametrize("handler_class", [PickleHandler, GzipHandler])
def test_what_is_replaced_is_not_read_whole(tmp_path, monkeypatch, handler_class):
    """Only its keys are read, whatever else is in the file."""
    handler = handler_class(Pair, tmp_path)
    for a, b in ((1, 2), ("a-b", "c")):
        handler.save_persistence(filled(Pair(a, b), data=np.arange(200_000.0)))

    def fail(*_):
        raise AssertionError("it was read")

    monkeypatch.setattr(PickleCodec, "load", fail)
    handler.save_persistence(filled(Pair(1, 2), data=np.arange(300_000.0)))
    with pytest.raises(NameTakenError, match="'a-b'"):
        handler.save_persistence(filled(Pair("a", "b-c"), data=None))
    monkeypatch.undo()
    assert len(handler.load_persistence(Pair(1, 2)).data) == 300_000
    assert len(handler.load_persistence(Pair("a-b", "c")).data) == 200_000


@persistence_class
class Between:
    """A key that is not in the name stands between two that are."""

    a: Any = field(filename=True)
    threshold: float = field(filename=False)
    b: Any = field(filename=True)
    data: Any


@pytest.mark.parametrize("handler_class", [PickleHandler, GzipHandler])
def test_the_first_bytes_of_what_is_replaced_tell_its_keys(tmp_path, monkeypatch, handler_class):
    """If they are the same, the head is not read, even where a key that is not in the name comes before one that is."""
    handler = handler_class(Between, tmp_path)
    handler.save_persistence(filled(Between(1, 0.5, 2), data="first"))

    def fail(*_):
        raise AssertionError("its head was read")

    monkeypatch.setattr(PickleCodec, "head", fail)
    handler.save_persistence(filled(Between(1, 0.5, 2), data="second"))
    monkeypatch.undo()
    handler.save_persistence(filled(Between(1, 0.7, 2), data="third"))
    for other in (Between("1", 0.7, 2), Between(1, 0.7, "2")):
        with pytest.raises(NameTakenError):
            handler.save_persistence(filled(other, data="lost"))
    found = handler.load_persistence(Between(1, 0.7, 2))
    assert (found.threshold, found.data) == (0.7, "third")


@pytest.mark.parametrize("size", [10, 50_000])
def test_members_of_enumerations_are_compared_as_such(tmp_path, size):
    """Keys may be objects of user classes."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(filled(Pair(Plain.RED, 1), data=np.arange(size)))
    handler.save_persistence(filled(Pair(Plain.RED, 1), data=np.arange(size + 1)))
    with pytest.raises(NameTakenError):
        handler.save_persistence(filled(Pair("Plain.RED", 1), data=None))
    assert len(handler.load_persistence(Pair(Plain.RED, 1)).data) == size + 1


class Probe:
    """Counts the calls of its methods; two are equal if their names are."""

    def __init__(self, name):
        self.name, self.asked = name, 0

    def __eq__(self, other):
        return isinstance(other, Probe) and self.name == other.name

    __hash__ = None

    def __str__(self):
        self.asked += 1
        return self.name


class Opaque:
    """Its instances pickle as a call of a function with arguments."""

    def __init__(self, text):
        self.text = text

    def __eq__(self, other):
        return isinstance(other, Opaque) and self.text == other.text

    __hash__ = None

    def __str__(self):
        return self.text.lower()

    def __reduce__(self):
        return Opaque, (self.text,)


@pytest.mark.parametrize("handler_class", [PickleHandler, GzipHandler, pytest.param(ZstdHandler, marks=needs_zstd)])
@pytest.mark.parametrize("size", [10, 50_000])
def test_saving_over_a_file_unpickles_nothing(tmp_path, monkeypatch, handler_class, size):
    """Keys of user classes are compared by the description in the head; declared classes may be made."""
    handler = handler_class(Pair, tmp_path)
    keys = [Probe("p"), Opaque("o"), (Plain.RED, 1), Plain.RED, Path("x")]
    for key in keys:
        handler.save_persistence(filled(Pair(key, 1), data=np.arange(size)))

    def fail(*_, **__):
        raise AssertionError("it was unpickled")

    for function in ("loads", "load", "Unpickler"):
        monkeypatch.setattr(pickle, function, fail)
    monkeypatch.setattr(framed_content, "unpickled", fail)
    for key in keys:
        handler.save_persistence(filled(Pair(key, 1), data=np.arange(size + 1)))
    for key in (Opaque("O"), "Plain.RED", "x", "p"):
        with pytest.raises(NameTakenError):
            handler.save_persistence(filled(Pair(key, 1), data=None))
    monkeypatch.undo()
    assert [len(handler.load_persistence(Pair(key, 1)).data) for key in keys] == [size + 1] * len(keys)


def test_a_file_whose_keys_cannot_be_read_without_trust_is_kept(tmp_path):
    """The keys come after more data than a head reads, beside objects of undeclared classes. The error says what to do."""
    handler = PickleHandler(Pair, tmp_path)
    path = handler.filepath(Pair(1, 2))
    content = pickle.dumps({"data": [Opaque("o"), *([float(n)] for n in range(200_000))], "a": 1, "b": 2})
    path.write_bytes(content)
    with pytest.raises(NameTakenError, match="can't be told without running code from it: remove or rename it"):
        handler.save_persistence(filled(Pair(1, 2), data=None))
    assert path.read_bytes() == content


@pytest.mark.parametrize("size", [10, 50_000])
def test_a_file_whose_head_cannot_be_read_is_not_damaged(tmp_path, monkeypatch, caplog, size):
    """The file loads, so it is refused for its keys, and not replaced as if it were damaged."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(filled(Pair("a-b", "c"), data=np.arange(size)))

    def damaged(*_):
        raise ValueError("an unknown problem")

    monkeypatch.setattr(PickleCodec, "head", damaged)
    with pytest.raises(NameTakenError):
        handler.save_persistence(filled(Pair("a", "b-c"), data=None))
    assert not caplog.records


@pytest.mark.parametrize(("stored", "new"), [(("b", 1, 2), "b"), ("b", ("b", 1, 2)), (({1}, 2, 3), set())])
def test_a_key_that_begins_as_another_one_is_another(tmp_path, stored, new):
    """In a pickle, the first item of a tuple stands where the tuple begins."""

    @persistence_class
    class Grouped:
        group: object = field(filename=lambda value: "g")
        value: int

    handler = PickleHandler(Grouped, tmp_path)
    handler.save_persistence(filled(Grouped(stored), value=1))
    with pytest.raises(NameTakenError):
        handler.save_persistence(filled(Grouped(new), value=2))
    assert handler.load_persistence(Grouped(stored)).value == 1
