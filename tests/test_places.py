"""Results are read from several places, and saved into the first."""

from __future__ import annotations

import pickle

import pytest
from checks import filled

from neuralib.persistence import PickleHandler, autoinc_field, field, missing, persistence_class
from neuralib.persistence.cli_persistence import PersistenceOptions
from neuralib.persistence.stores import ArchiveStore, FolderStore, MemoryStore, SeveralStores
from neuralib.persistence.testing import check_store


@persistence_class
class Run:
    animal: str = field(validator=True, filename=True)
    number: int = autoinc_field("#")
    score: float


@persistence_class
class Mean:
    animal: str = field(validator=True, filename=True)
    value: float


def run(animal="A", score=1.0):
    return filled(Run(animal), score=score)


@pytest.fixture
def places(tmp_path):
    """Three folders, with three, two and one results."""
    found = [tmp_path / "first.sqlar", tmp_path / "second.sqlar", tmp_path / "folder"]
    for place, count in zip(found, (3, 2, 1), strict=True):
        PickleHandler(Mean, place).save_all(
            filled(Mean(f"{place.stem}-{number}"), value=number) for number in range(count)
        )
    return found


def test_several_places_keep_the_contract_of_stores(tmp_path):
    """Whatever kinds of stores they are."""
    check_store(lambda: SeveralStores([MemoryStore(), MemoryStore()]))
    numbers = iter(range(100))
    check_store(
        lambda: SeveralStores(
            [
                ArchiveStore(tmp_path / f"{next(numbers)}.sqlar"),
                FolderStore(tmp_path / f"{next(numbers)}"),
                MemoryStore(),
            ]
        )
    )


def test_results_of_all_places_are_found_and_loaded(places):
    """One by one, all at once, as a table. Each hit has the path of its own place."""
    handler = PickleHandler(Mean, places)
    assert len(handler.find()) == 6
    assert {result.value for _, result in handler.load_all(animal=missing)} == {0, 1, 2}
    assert handler.load_persistence(Mean("folder-0")).value == 0
    table = handler.find().to_columns("value", path=True)
    assert [path.split("/")[-2] for path in table["path"]] == ["first.sqlar"] * 3 + ["folder"] + ["second.sqlar"] * 2
    assert table["value"] == [0, 1, 2, 0, 0, 1]
    assert [found.problem for found in handler.verify()] == [None] * 6
    assert list(handler.todo({"animal": ["second-1", "second-2"]}))[0].animal == "second-2"
    for path in handler.find().paths:
        assert handler.load_persistence(path).animal.startswith(path.parent.stem)


def test_results_are_saved_into_the_first_place(places):
    """Numbers follow the highest of all places, also of results that others save meanwhile."""
    for place, count in zip(places, (1, 4, 2), strict=True):
        PickleHandler(Run, place).save_all(run() for _ in range(count))
    handler = PickleHandler(Run, places)
    assert [handler.save_persistence(run()).number for _ in range(3)] == [4, 5, 6]
    PickleHandler(Run, places[2]).save_all(run() for _ in range(6))
    assert handler.save_persistence(run()).number == 8
    batch = [run() for _ in range(3)]
    handler.save_all(batch)
    assert [result.number for result in batch] == [9, 10, 11]
    assert len(PickleHandler(Run, places[0]).find()) == 8
    assert len(pickle.loads(pickle.dumps(handler)).find()) == 12


def test_the_first_place_that_has_a_name_counts(places):
    """Its file is read, replaced, and deleted; then the next place's file shows."""
    handler = PickleHandler(Mean, places)
    handler.save_persistence(filled(Mean("second-1"), value=7.0))
    assert len(handler.find()) == 6
    assert handler.load_persistence(Mean("second-1")).value == 7.0
    assert PickleHandler(Mean, places[1]).load_persistence(Mean("second-1")).value == 1
    handler.find(animal="second-1").delete(dry_run=False)
    assert handler.load_persistence(Mean("second-1")).value == 1
    with pytest.raises(PermissionError, match="delete it with a handler for that place"):
        handler.find(animal="second-1").delete(dry_run=False)


def test_options_take_several_places(places):
    """A result that is in any of them is not computed."""

    class Options(PersistenceOptions[Mean]):
        def empty_cache(self):
            return Mean("folder-0")

        def compute_cache(self, result):
            return filled(result, value=9.0)

    assert Options().load_cache(dest=places).value == 0
    assert Options().compute_missing({"animal": ["folder-0", "new"]}, progress=False, dest=places).saved == 1
    assert [hit.keys["animal"] for hit in PickleHandler(Mean, places[0]).find()][-1] == "new"


def test_an_empty_list_of_places_is_refused(tmp_path):
    """A list of one place is that place."""
    with pytest.raises(ValueError, match="the list of places is empty"):
        PickleHandler(Mean, [])
    assert isinstance(PickleHandler(Mean, [tmp_path]).store, FolderStore)
    with pytest.raises(TypeError, match="has no local files"):
        PickleHandler(Mean, [tmp_path, tmp_path / "other"], mmap_mode="r")
