"""Results are found by the values of keys: 1 and 1.0 for a float, composed and decomposed accents, in files of any format."""

from __future__ import annotations

import enum
import itertools
import os
import subprocess
import sys
import unicodedata
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from checks import filled

from neuralib.persistence import (
    GzipHandler,
    KeyMismatchError,
    NameTakenError,
    PickleHandler,
    autoinc_field,
    field,
    persistence_class,
)
from neuralib.persistence.cli_persistence import PersistenceOptions
from neuralib.persistence.stores import MemoryStore

HANDLERS = [PickleHandler, GzipHandler]
NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


@persistence_class
class Tuned:
    animal: str = field(validator=True, filename=True)
    sf: float = field(validator=True, filename=True)
    tf: tuple[float, ...] = field(validator=True, filename=True)
    score: float


@persistence_class
class Repeated:
    sf: float = field(validator=True, filename=True)
    run: int = autoinc_field(filename_prefix="#")
    score: float


@persistence_class
class Loose:
    key: Any = field(validator=True, filename=True)
    score: float


class Scores(PersistenceOptions[Tuned]):
    def __init__(self, folder, *keys, kind=PickleHandler):
        self.folder, self.keys, self.kind, self.computed = folder, keys, kind, 0

    def persistence_handler(self, dest=None):
        return self.kind(Tuned, self.folder)

    def empty_cache(self):
        return Tuned(*self.keys)

    def compute_cache(self, result):
        self.computed += 1
        return filled(result, score=float(self.computed))


EQUAL = list(itertools.product([1, 1.0, np.float64(1), np.int64(1)], [(1, 2), (1.0, 2), (1.0, 2.0)]))


def names_of(store):
    return sorted(store.names()) if isinstance(store, MemoryStore) else sorted(os.listdir(store))


@pytest.mark.parametrize("kind", HANDLERS)
@pytest.mark.parametrize(("sf", "tf"), [EQUAL[0], EQUAL[4], EQUAL[8]], ids=str)
def test_equal_keys_are_found_under_whatever_name_they_have(tmp_path, kind, sf, tf):
    """By find, load, load_all, load_cache and todo. The name of a saved result is still the text of its keys."""
    for place in (tmp_path, MemoryStore()):
        handler = kind(Tuned, place)
        handler.save_persistence(filled(Tuned("A", sf, tf), score=0.5))
        handler.save_persistence(filled(Tuned("A", 2.0, tf), score=0.75))
        assert f"cache-Tuned-A-{sf}-{tf}{handler.suffix}" in names_of(place)
        for other_sf, other_tf in EQUAL:
            asked = Tuned("A", other_sf, other_tf)
            assert handler.load_persistence(asked).score == 0.5
            assert handler.load_persistence({"animal": "A", "sf": other_sf, "tf": other_tf}).score == 0.5
            assert [result.score for _, result in handler.load_all(asked)] == [0.5]
            assert [hit.load().score for hit in handler.find(asked)] == [0.5]
            assert [hit.load().score for hit in handler.find(sf={other_sf, 3}, tf=[other_tf])] == [0.5]
            assert asked in handler.find()
            assert list(handler.todo([asked])) == []
            assert list(handler.todo({"animal": ["A"], "sf": [other_sf, 2], "tf": [other_tf]})) == []
        assert [check.problem for check in handler.verify()] == [None, None]
        for absent in (Tuned("B", 1, tf), Tuned("A", 1.5, tf), Tuned("A", sf, (1, 3))):
            assert list(handler.todo([absent])) == [absent]
            assert absent not in handler.find()
            with pytest.raises(FileNotFoundError):
                handler.load_persistence(absent)


def test_load_cache_finds_equal_keys(tmp_path):
    """Otherwise it would compute once for 1, and again for 1.0."""
    for sf in (1, 1.0):
        assert Scores(tmp_path, "A", sf, (1.0, 2)).load_cache().score == 1
    other = Scores(tmp_path, "A", 1.0, (1, 2), kind=GzipHandler)
    assert (other.load_cache().score, other.computed) == (1, 0), "and files of another format"
    assert len(os.listdir(tmp_path)) == 1
    report = Scores(tmp_path, "A", 1, (1, 2)).compute_missing({"animal": ["A"], "sf": [1, 2], "tf": [(1.0, 2.0)]})
    assert report.saved == 1


def test_repetitions_of_equal_keys_are_counted_together(tmp_path):
    """For todo, the repetitions of 1 and of 1.0 are one series."""
    handler = PickleHandler(Repeated, tmp_path)
    handler.save_all([Repeated(1), Repeated(1), Repeated(2)])
    handler.save_persistence(filled(Repeated(1.0), run=5))
    assert len(list(handler.todo({"sf": [1.0]}, repeat=4))) == 1
    assert len(list(handler.todo({"sf": [1]}, repeat=3))) == 0


@pytest.mark.parametrize("kind", HANDLERS)
def test_a_name_with_accents_of_another_form_is_found(tmp_path, kind):
    """Some systems, and programs that copy files, change composed characters to decomposed ones."""
    handler = kind(Loose, tmp_path)
    handler.save_persistence(filled(Loose(NFC), score=0.5))
    (name,) = os.listdir(tmp_path)
    os.rename(tmp_path / name, tmp_path / unicodedata.normalize("NFD", name))
    if os.listdir(tmp_path) == [name]:
        pytest.skip("this file system composes accents itself")
    for asked in (NFC, NFD):
        assert handler.load_persistence(Loose(asked)).score == 0.5
        assert [hit.load().score for hit in handler.find(key=asked)] == [0.5]
        assert [result.score for _, result in handler.load_all(key=asked)] == [0.5]
        assert list(handler.todo([Loose(asked)])) == []
    assert handler.find().to_columns("score")["score"] == [0.5]
    assert [check.problem for check in handler.verify()] == [None]
    assert handler.find().delete() == [tmp_path / unicodedata.normalize("NFD", name)]


@pytest.mark.parametrize("kind", HANDLERS)
@pytest.mark.parametrize(
    ("there", "mine"),
    [(NFD, NFC), ((NFD, 1), (NFC, 1)), (["x", [NFD]], ["x", [NFC]]), ({NFD: 1}, {NFC: 1}), (frozenset([NFD]), frozenset([NFC]))],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_key_with_accents_replaces_itself(tmp_path, kind, there, mine):
    """It is one key, composed or decomposed, also inside tuples. Other keys of the same name are refused."""
    handler = kind(Loose, tmp_path)
    handler.save_persistence(filled(Loose(there), score=0.5))
    handler.save_persistence(filled(Loose(mine), score=0.75))
    assert handler.load_persistence(Loose(there)).score == 0.75
    assert len(os.listdir(tmp_path)) == 1
    other = (
        PurePosixPath(mine)
        if type(mine) is str
        else handler.filename(Loose(mine))[len("cache-Loose-") :].removesuffix(handler.suffix)
    )
    with pytest.raises(NameTakenError):
        handler.save_persistence(filled(Loose(other), score=1.0))


class Stim(enum.Enum):
    GRATING = 1


@persistence_class
class Shown:
    animal: str = field(filename=True)
    stim: Stim = field(filename=True)
    score: float


@pytest.mark.parametrize("kind", HANDLERS)
def test_a_key_with_accents_replaces_itself_beside_one_of_a_class(tmp_path, kind):
    """Keys of classes are not made to be compared, if all other keys are those that are there."""
    handler = kind(Shown, tmp_path)
    for animal, score in ((NFD, 0.5), (NFC, 0.75), (NFD, 1.0)):
        handler.save_persistence(filled(Shown(animal, Stim.GRATING), score=score))
        assert handler.load_persistence(Shown(NFC, Stim.GRATING)).score == score
    assert len(os.listdir(tmp_path)) == 1


FORMER = """
import pickle, sys
for value in ({"V1", "RSC", "PPC"}, frozenset({"a", "b"})):
    with open(f"{sys.argv[1]}/cache-Loose-{value}.pkl", "wb") as file:
        pickle.dump({"key": value, "score": 0.5}, file)
"""


def test_sets_are_found_in_whatever_order_their_names_were_made(tmp_path):
    """In earlier versions, the order differed from process to process."""
    values = [{"V1", "RSC", "PPC"}, frozenset({"a", "b"})]
    for seed in range(3):
        folder = tmp_path / str(seed)
        folder.mkdir()
        subprocess.run(
            [sys.executable, "-c", FORMER, folder], env={**os.environ, "PYTHONHASHSEED": str(seed)}, check=True
        )
        handler = PickleHandler(Loose, folder)
        for value in values:
            assert handler.load_persistence(Loose(value)).score == 0.5
            assert len(handler.find(key=[value])) == 1
            assert len(list(handler.load_all(Loose(value)))) == 1
        assert list(handler.todo(map(Loose, values))) == []
        assert [check.problem for check in handler.verify()] == [None, None]


# ---------------------------------------------------------------------------------------------- files of other formats


@pytest.mark.parametrize(("then", "now"), [(PickleHandler, GzipHandler), (GzipHandler, PickleHandler)])
@pytest.mark.parametrize("size", [1, 100_000])
def test_a_file_of_another_format_is_found_by_its_keys(tmp_path, then, now, size):
    """So a lab that changes its handler does not compute everything again."""

    @persistence_class
    class Weights:
        animal: str = field(validator=True, filename=True)
        weights: np.ndarray

    for place in (tmp_path, MemoryStore()):
        old, new = then(Weights, place), now(Weights, place)
        old.save_persistence(filled(Weights("A"), weights=np.arange(size)))
        assert new.load_persistence(Weights("A")).weights.size == size
        assert new.load_persistence({"animal": "A"}).weights.size == size
        assert [hit.load().weights.size for hit in new.find(animal="A")] == [size]
        assert [result.weights.size for _, result in new.load_all(animal="A")] == [size]
        assert [template.animal for template in new.todo({"animal": ["A", "B"]})] == ["B"]
        assert new.find().stack("weights").shape == (1, size)
        assert [check.problem for check in new.verify()] == [None]
        assert [path.name for path in new.find().delete(dry_run=False)] == [f"cache-Weights-A{then.suffix}"]


def test_of_two_formats_the_handlers_own_is_loaded(tmp_path, caplog):
    """The other file is reported by a warning, and checked by verify."""
    old, new = PickleHandler(Tuned, tmp_path), GzipHandler(Tuned, tmp_path)
    for handler, score in ((old, 0.25), (new, 0.5)):
        handler.save_persistence(filled(Tuned("A", 1.0, ()), score=score))
    old.save_persistence(filled(Tuned("B", 1.0, ()), score=0.75))
    for _ in range(2):
        assert new.find().to_columns("score")["score"] == [0.5, 0.75]
    assert [result.score for _, result in new.load_all(animal="A", sf=1.0, tf=())] == [0.5]
    assert caplog.text.count("left out: 1 files of Tuned") == 1
    assert len(list(new.verify())) == 3
    assert old.load_persistence(Tuned("A", 1.0, ())).score == 0.25


def test_a_custom_suffix_is_no_other_format(tmp_path):
    """A handler with a suffix of its own finds files with that suffix only."""
    PickleHandler(Tuned, tmp_path).save_persistence(filled(Tuned("A", 1.0, ()), score=0.5))
    handler = PickleHandler(Tuned, tmp_path, ext=".dat")
    assert len(handler.find()) == 0
    with pytest.raises(FileNotFoundError):
        handler.load_persistence(Tuned("A", 1.0, ()))


def test_a_file_of_another_class_in_another_format_is_not_found(tmp_path):
    """('a-b', 'c') and ('a', 'b-c') have one name in every format."""

    @persistence_class
    class Pair:
        a: str = field(filename=True)
        b: str = field(filename=True)
        score: float

    PickleHandler(Pair, tmp_path).save_persistence(filled(Pair("a-b", "c"), score=0.5))
    handler = GzipHandler(Pair, tmp_path)
    with pytest.raises(KeyMismatchError):
        handler.load_persistence(Pair("a", "b-c"))
    handler.save_persistence(filled(Pair("a", "b-c"), score=0.75))
    assert sorted(result.score for _, result in handler.load_all(a="a-b", b="c")) == [0.5]
    assert len(handler.find()) == 2, "neither is left out"


@pytest.mark.parametrize("place", ["folder", "memory"])
@pytest.mark.parametrize("middle", [False, True])
def test_numbers_go_on_where_files_of_another_format_end(tmp_path, place, middle):
    """Otherwise there would be two results with number 0, and one would hide the other."""
    if middle:

        @persistence_class
        class Numbered:
            animal: str = field(validator=True, filename=True)
            run: int = autoinc_field(filename_prefix="#")
            plane: int = field(validator=True, filename=True)

    else:

        @persistence_class
        class Numbered:
            animal: str = field(validator=True, filename=True)
            plane: int = field(validator=True, filename=True)
            run: int = autoinc_field(filename_prefix="#")

    def result(animal):
        return Numbered(animal=animal, plane=3)

    store = tmp_path if place == "folder" else MemoryStore()
    old = PickleHandler(Numbered, store)
    old.save_all([result(animal) for animal in "AAABB"])
    new = GzipHandler(Numbered, store)
    assert [new.save_persistence(result(animal)).run for animal in "ABCA"] == [3, 2, 0, 4]
    assert [old.save_persistence(result(animal)).run for animal in "ABC"] == [5, 3, 1]
    assert len(new.find()) == len(old.find()) == 12
    assert sorted(hit.keys["run"] for hit in new.find(animal="A")) == list(range(6))


@pytest.mark.parametrize("place", ["folder", "results.sqlar", None])
def test_a_number_whose_digits_are_no_file_name_is_found(tmp_path, place):
    """As an int, it has 301 digits: no file can have such a name, so there is none."""
    handler = PickleHandler(Loose, MemoryStore() if place is None else tmp_path / place)
    handler.save_persistence(filled(Loose(1e300), score=0.5))
    assert len(handler.find(key=1e300)) == len(handler.find(key=[1e300, 2.0])) == 1
    assert [result.score for _, result in handler.load_all(Loose(1e300))] == [0.5]
    assert len(handler.find(key="x" * 300)) == 0
