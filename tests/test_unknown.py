"""Fields that the class no longer declares are kept with the loaded result, and written back."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from typing import Any

import numpy as np
import pytest
from checks import has_zstd

from neuralib.persistence import (
    FileHandler,
    GzipHandler,
    PickleHandler,
    ZstdHandler,
    as_dict,
    autoinc_field,
    field,
    from_dict,
    load,
    missing,
    persistence_class,
    read_head,
    results_equal,
    unknown_fields,
)
from neuralib.persistence.cli_persistence import PersistenceOptions
from neuralib.persistence.stores import MemoryStore

KINDS = [PickleHandler, GzipHandler, pytest.param(ZstdHandler, marks=pytest.mark.skipif(not has_zstd(), reason="zstd"))]


@persistence_class(name="Trial")
class Old:
    animal: str = field(filename=True)
    camera: str = field(default="left")
    score: float
    traces: Any
    frames: int


@persistence_class(name="Trial")
class New:
    animal: str = field(filename=True)
    frames: int
    accuracy: float


@persistence_class(name="Trial")
class Renamed:
    animal: str = field(filename=True)
    frames: int
    accuracy: float = field(init=False, renamed_from="score")


def old_trial(handler_class, folder, n=3):
    result = Old("A00", "right")
    result.score, result.traces, result.frames = 0.5, np.arange(float(n)), 100
    handler_class(Old, folder).save_persistence(result)
    return result


def test_a_handler_reads_files_of_several_versions_in_turn(tmp_path):
    """What it found about the card of one file does not hold for the next, whose arrays may be as large."""
    handler = PickleHandler(New, tmp_path)
    old_trial(PickleHandler, tmp_path, 20_000)
    today = New("B00")
    today.frames, today.accuracy = np.arange(20_000.0), 0.5
    handler.save_persistence(today)
    for _ in range(2):
        assert not unknown_fields(handler.load_persistence(New("B00")))
        assert set(unknown_fields(handler.load_persistence(New("A00")))) == {"camera", "score", "traces"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [3, 20_000, 200_000], ids=["small", "medium", "large"])
def test_unknown_fields_are_written_back(tmp_path, kind, n):
    """Over several generations, arrays included, with their annotations."""
    before = old_trial(kind, tmp_path, n)
    handler = kind(New, tmp_path)
    for generation in range(3):
        result = handler.load_persistence(New("A00"))
        assert as_dict(result) == {"animal": "A00", "frames": 100} | (
            {"accuracy": generation - 1} if generation else {}
        )
        assert unknown_fields(result).keys() == {"camera", "score", "traces"}
        result.accuracy = generation
        handler.save_persistence(result)
    after = kind(Old, tmp_path).load_persistence(Old("A00"))
    assert results_equal(after, before)
    head = read_head(handler.filepath(New("A00")))
    assert list(head.fields) == ["animal", "frames", "accuracy", "camera", "score", "traces"]
    assert head.card.fields["score"] == "float"
    assert [found.problem for found in handler.verify()] == [None]


def test_unknown_fields_give_one_warning(tmp_path, caplog):
    """For each class and set of names. It has the names, and says what to do."""

    @persistence_class(name="Trial")
    class Fewer:
        animal: str = field(filename=True)
        frames: int

    for animal in "AB":
        result = old_trial(PickleHandler, tmp_path)
        result.animal = animal
        PickleHandler(Old, tmp_path).save_persistence(result)
    (tmp_path / "cache-Trial-D.pkl").write_bytes(pickle.dumps({"animal": "D", "frames": 1, "score": 1}))
    caplog.clear()
    for _ in range(2):
        list(PickleHandler(Fewer, tmp_path).load_all(animal=missing))
    messages = [record.message for record in caplog.records]
    assert ["camera, score, traces" in message for message in messages] == [True, False]
    assert "has fields that" in messages[0]
    assert "Fewer does not declare: camera, score, traces. They are kept" in messages[0]
    assert "renamed_from" in messages[0]
    assert "does not declare: score." in messages[1]


def test_unknown_fields_are_no_attributes(tmp_path):
    """They are not in its fields, comparison or table, and are no attributes."""
    old_trial(PickleHandler, tmp_path)
    handler = PickleHandler(New, tmp_path)
    loaded, plain = handler.load_persistence(New("A00")), New("A00")
    plain.frames = 100
    assert unknown_fields(plain) == {}
    assert results_equal(loaded, plain)
    assert as_dict(loaded) == as_dict(plain)
    assert repr(loaded) == repr(plain)
    assert loaded._repr_html_() == plain._repr_html_()
    assert not hasattr(loaded, "score")
    assert handler.find().to_columns("frames") == {"animal": ["A00"], "frames": [100]}


def test_copies_and_pickles_keep_unknown_fields(tmp_path):
    """A result that is sent to another process keeps them, since it is pickled."""
    old_trial(PickleHandler, tmp_path)
    loaded = PickleHandler(New, tmp_path).load_persistence(New("A00"))
    for number, twin in enumerate((copy.copy(loaded), copy.deepcopy(loaded), pickle.loads(pickle.dumps(loaded)))):
        assert unknown_fields(twin).keys() == unknown_fields(loaded).keys()
        PickleHandler(New, tmp_path / str(number)).save_persistence(twin)
        assert load(Old, tmp_path / str(number) / "cache-Trial-A00.pkl").score == 0.5
    assert unknown_fields(from_dict(New, as_dict(loaded))) == {}
    assert unknown_fields(from_dict(New, {"animal": "A", "score": 1})) == {}, "only files have unknown fields"


def test_replace_keeps_unknown_fields(tmp_path):
    """The copy may be saved in the place of the original."""

    @persistence_class(name="Trial")
    class WithReplace:
        animal: str = field(filename=True)
        frames: int

        def _replace(self, *, animal=missing, frames=missing): ...

    old_trial(PickleHandler, tmp_path)
    handler = PickleHandler(WithReplace, tmp_path)
    handler.save_persistence(handler.load_persistence({"animal": "A00"})._replace(frames=7))
    after = load(Old, tmp_path / "cache-Trial-A00.pkl")
    assert (after.frames, after.score) == (7, 0.5)


def test_a_computed_result_has_no_unknown_fields(tmp_path):
    """It has none even if the template was loaded from a file that had some."""
    old_trial(PickleHandler, tmp_path)
    handler = PickleHandler(New, tmp_path)

    class Options(PersistenceOptions[New]):
        invalid_cache = True

        def empty_cache(self):
            return handler.load_persistence(New("A00"))

        def compute_cache(self, result):
            result.frames = 1
            return result

    assert unknown_fields(Options().load_cache(dest=tmp_path)) == {}
    assert list(read_head(tmp_path / "cache-Trial-A00.pkl").fields) == ["animal", "frames"]
    fresh = New("A00")
    old_trial(PickleHandler, tmp_path)
    fresh.frames = 2
    handler.save_persistence(fresh)
    assert list(read_head(tmp_path / "cache-Trial-A00.pkl").fields) == ["animal", "frames"]


def test_renamed_from_may_be_added_later(tmp_path):
    """The value was kept meanwhile. If there is a value under the new name, it counts, and the former one is kept."""
    old_trial(PickleHandler, tmp_path)
    handler = PickleHandler(New, tmp_path)
    handler.save_persistence(handler.load_persistence(New("A00")))
    renamed = PickleHandler(Renamed, tmp_path).load_persistence({"animal": "A00"})
    assert renamed.accuracy == 0.5
    assert unknown_fields(renamed).keys() == {"camera", "traces"}
    both = handler.load_persistence(New("A00"))
    both.accuracy = 0.75
    handler.save_persistence(both)
    again = PickleHandler(Renamed, tmp_path).load_persistence({"animal": "A00"})
    assert again.accuracy == 0.75
    assert unknown_fields(again)["score"] == 0.5


def test_upgrade_decides_what_stays(tmp_path):
    """It gets all fields. What it returns and the class does not declare is kept."""

    @persistence_class(name="Trial", version=2)
    class Upgraded:
        animal: str = field(filename=True)
        percent: float
        frames: int

        @classmethod
        def upgrade(cls, fields, version):
            del fields["camera"]
            return fields | {"percent": 100 * fields.pop("score")}

    old_trial(PickleHandler, tmp_path)
    handler = PickleHandler(Upgraded, tmp_path)
    for _ in range(2):
        result = handler.load_persistence({"animal": "A00"})
        assert result.percent == 50
        assert unknown_fields(result).keys() == {"traces"}
        handler.save_persistence(result)


def test_mapped_arrays_stay_mapped(tmp_path):
    """They take no memory, and may be written back to the file that they replace."""
    before = old_trial(PickleHandler, tmp_path, 200_000)
    handler = PickleHandler(New, tmp_path, mmap_mode="r")
    result = handler.load_persistence(New("A00"))
    assert not unknown_fields(result)["traces"].flags.owndata
    handler.save_persistence(result)
    del result
    assert results_equal(load(Old, tmp_path / "cache-Trial-A00.pkl"), before)


def test_all_kinds_of_saves_keep_unknown_fields(tmp_path):
    """Batches, stores, numbered saves."""

    @persistence_class(name="Run")
    class OldRun:
        number: int = autoinc_field()
        score: float
        frames: int

    @persistence_class(name="Run")
    class NewRun:
        number: int = autoinc_field()
        frames: int

    store = MemoryStore()
    result = OldRun()
    result.score, result.frames = 0.5, 1
    PickleHandler(OldRun, store).save_persistence(result)
    handler = PickleHandler(NewRun, store)
    (loaded,) = [result for _, result in handler.load_all(NewRun())]
    loaded.number = None
    handler.save_all([loaded])
    handler.save_all([handler.load_persistence({"number": 0})], durable=True)
    assert [hit.load().score for hit in PickleHandler(OldRun, store).find()] == [0.5, 0.5]


class JsonHandler(FileHandler[Any]):
    suffix = ".json"

    def _write(self, fields, file):
        file.write(json.dumps(fields).encode())

    def _read(self, file):
        return json.load(file)


class Noted(PickleHandler[Any]):
    """A handler whose hooks add to what is saved and loaded."""

    def _save_persistence(self, result, path):
        super()._save_persistence(result, path)

    def _load_persistence(self, path):
        return super()._load_persistence(path)


class Written(PickleHandler[Any]):
    def _write(self, fields, file):
        super()._write(fields, file)


@pytest.mark.parametrize("kind", [JsonHandler, Noted, Written])
def test_users_handlers_get_unknown_fields(tmp_path, kind):
    """A hook for fields gets them among the fields. A hook for results calls the inherited one, which keeps them."""
    result = Old("A00")
    result.score, result.traces, result.frames = 0.5, [1, 2], 100
    kind(Old, tmp_path).save_persistence(result)
    handler = kind(New, tmp_path)
    for _ in range(3):
        loaded = handler.load_persistence(New("A00"))
        assert unknown_fields(loaded) == {"camera": "left", "score": 0.5, "traces": [1, 2]}
        handler.save_persistence(loaded)
    assert results_equal(kind(Old, tmp_path).load_persistence(Old("A00")), result)


def test_unknown_fields_of_files_without_a_card_are_kept(tmp_path):
    """Files of the existing implementation."""
    (tmp_path / "cache-Trial-A00.pkl").write_bytes(pickle.dumps({"animal": "A00", "frames": 1, "score": 0.5}, 4))
    handler = PickleHandler(New, tmp_path)
    for _ in range(2):
        handler.save_persistence(handler.load_persistence(New("A00")))
    assert load(Renamed, tmp_path / "cache-Trial-A00.pkl").accuracy == 0.5


def test_classes_with_an_init_keep_unknown_fields(tmp_path):
    """A class may be strict, or have an ``__init__`` of its own."""

    @persistence_class(name="Trial", strict=True)
    class Strict:
        animal: str = field(filename=True)
        frames: int

    @persistence_class(name="Trial")
    class OwnInit:
        animal: str = field(filename=True)
        frames: int

        def __init__(self, animal):
            self.animal = animal

    for cls in (Strict, OwnInit):
        old_trial(PickleHandler, tmp_path)
        handler = PickleHandler(cls, tmp_path)
        handler.save_persistence(handler.load_persistence({"animal": "A00"}))
        assert load(Old, tmp_path / "cache-Trial-A00.pkl").score == 0.5


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="counts calls")
def test_files_without_unknown_fields_are_not_compared(tmp_path, monkeypatch):
    """If the card of the file is the card of the class."""
    from neuralib.persistence._keeping.records import CodecRecords

    handler = PickleHandler(New, tmp_path)
    result = New("A00")
    result.frames = 1
    handler.save_persistence(result)
    monkeypatch.delattr(CodecRecords, "_result_of_changed")
    loaded = handler.load_persistence(New("A00"))
    assert vars(loaded) == {"animal": "A00", "frames": 1}


def test_migrating_keeps_unknown_fields(tmp_path):
    """A result that differs in them only is another result, and is not removed as a duplicate."""

    @persistence_class(name="Session")
    class Before:
        animal: str = field(filename=True)
        score: float
        frames: int

    @persistence_class(name="Session")
    class After:
        animal: str = field(filename=True)
        day: int = field(filename=True, default=1)
        frames: int

    former = Before("A00")
    former.score, former.frames = 0.5, 100
    old, new = PickleHandler(Before, tmp_path), PickleHandler(After, tmp_path)
    old.save_persistence(former)
    plain = After("A00")
    plain.frames = 100
    new.save_persistence(plain)
    assert [move.outcome for move in new.migrate(dry_run=False)] == ["taken"]
    assert old.load_persistence(former).score == 0.5
    new.filepath(plain).unlink()
    assert [move.outcome for move in new.migrate(dry_run=False)] == ["moved"]
    assert unknown_fields(new.load_persistence(plain)) == {"score": 0.5}
