"""Classes change, and files that were saved before still load."""

from __future__ import annotations

import numpy as np
import pytest

from neuralib.persistence import (
    GzipHandler,
    KeyMismatchError,
    NewerVersionError,
    PickleHandler,
    UnknownFieldError,
    field,
    filename,
    persistence_class,
)

HANDLERS = [PickleHandler, GzipHandler]


@persistence_class(name="Score")
class Old:
    animal: str = field(validator=True, filename=True)
    score: float
    weights: np.ndarray


@persistence_class(name="Score")
class Renamed:
    subject: str = field(validator=True, filename=True, renamed_from="animal")
    accuracy: float = field(init=False, renamed_from=("score", "points"))
    weights: np.ndarray


@persistence_class(name="Score", version=2)
class Upgraded:
    animal: str = field(validator=True, filename=True)
    percent: float
    weights: np.ndarray

    @classmethod
    def upgrade(cls, fields, version):
        assert version == 0
        fields["percent"] = 100 * fields.pop("score")
        return fields


def saved(handler, size, **data):
    result = handler.persistence_class("A00")
    result.weights = np.arange(float(size))
    for name, value in data.items():
        setattr(result, name, value)
    return handler.save_persistence(result)


@pytest.mark.parametrize(
    "ask",
    [
        lambda handler: handler.find(animal="A00"),
        lambda handler: handler.find(Renamed("A00"), animal="A01"),
        lambda handler: handler.find().to_columns("animal"),
        lambda handler: handler.todo({"animal": ["A00"]}),
        lambda handler: handler.filename(Renamed("A00"), animal="A01"),
        lambda handler: filename(Renamed, animal="A01"),
    ],
)
def test_asking_by_a_former_name_says_the_name_of_today(tmp_path, ask):
    """Scripts that were written before the field was renamed are easy to mend."""
    with pytest.raises(UnknownFieldError, match="Renamed has no field 'animal': it was renamed to 'subject'") as caught:
        ask(PickleHandler(Renamed, tmp_path))
    assert caught.value.renamed == "subject"


@pytest.mark.parametrize("size", [3, 200_000])
@pytest.mark.parametrize("kind", HANDLERS)
def test_renamed_fields_are_found_and_loaded(tmp_path, kind, size):
    """Keys and data, by every way to find and load."""
    saved(kind(Old, tmp_path), size, score=0.5)
    handler = kind(Renamed, tmp_path)
    result = handler.load_persistence({"subject": "A00"})
    assert (result.subject, result.accuracy, len(result.weights)) == ("A00", 0.5, size)
    assert handler.find(subject="A00", accuracy=0.5).to_columns("accuracy") == {"subject": ["A00"], "accuracy": [0.5]}
    assert [path.name for path, _ in handler.load_all(subject="A00")] == [handler.filename(result)]
    assert [found.problem for found in handler.verify()] == [None]
    assert list(handler.todo({"subject": ["A00"]})) == []
    result.accuracy = 0.75
    handler.save_persistence(result)  # replaces the old file, which has the same key under its former name
    assert handler.load_persistence({"subject": "A00"}).accuracy == 0.75


@pytest.mark.parametrize("size", [3, 200_000])
@pytest.mark.parametrize("kind", HANDLERS)
def test_older_versions_go_through_upgrade(tmp_path, kind, size):
    """``upgrade`` gets all fields of the file, and returns those of the present class."""
    saved(kind(Old, tmp_path), size, score=0.5)
    handler = kind(Upgraded, tmp_path)
    assert handler.load_persistence({"animal": "A00"}).percent == 50
    assert handler.find(percent=50.0).to_columns("percent") == {"animal": ["A00"], "percent": [50]}
    saved(handler, size, percent=70.0)
    assert handler.load_persistence({"animal": "A00"}).percent == 70


@pytest.mark.parametrize("size", [3, 200_000])
@pytest.mark.parametrize("kind", HANDLERS)
def test_a_file_of_a_newer_version_is_refused_and_not_replaced(tmp_path, kind, size):
    """The installed code is too old; the file is not damaged."""
    saved(kind(Upgraded, tmp_path), size, percent=70.0)
    handler = kind(Old, tmp_path)
    for act in (lambda: handler.load_persistence({"animal": "A00"}), lambda: saved(handler, size, score=1.0)):
        with pytest.raises(NewerVersionError, match="version 2 of Old, and the class here is of version 0"):
            act()
    problems = []
    assert list(handler.load_all(animal="A00", on_corrupt=problems.append)) == []
    assert isinstance(problems[0], NewerVersionError)
    assert kind(Upgraded, tmp_path).load_persistence({"animal": "A00"}).percent == 70


@pytest.mark.parametrize("size", [3, 200_000])
@pytest.mark.parametrize("kind", HANDLERS)
def test_a_file_of_a_newer_version_is_reported_and_not_deleted(tmp_path, caplog, kind, size):
    """``verify`` says why it can't be used; deleting what is damaged goes on with the others."""
    saved(kind(Upgraded, tmp_path), size, percent=70.0)
    handler = kind(Old, tmp_path)
    (found,) = handler.verify()
    assert isinstance(found.problem, NewerVersionError)
    assert found.checksummed
    with pytest.raises(NewerVersionError):
        handler.find().to_columns("animal", "score")
    damaged = handler.filepath(Old("B00"))
    damaged.write_bytes(b"")
    assert handler.find().delete(dry_run=False, damaged=True) == [damaged]
    assert "not deleted" in caplog.text
    assert handler.filepath(Old("A00")).exists()


@pytest.mark.parametrize(("outcome", "kind"), [(None, TypeError), (KeyError("score"), KeyError)])
def test_an_error_of_upgrade_names_the_file(tmp_path, outcome, kind):
    """It is an error of the user's own code, which passes as it is, with a note."""

    @persistence_class(name="Score", version=1)
    class Mistaken:
        animal: str = field(validator=True, filename=True)
        score: float
        weights: np.ndarray

        @classmethod
        def upgrade(cls, fields, version):
            if outcome is not None:
                raise outcome
            fields["score"] = 1.0  # and returns nothing

    saved(PickleHandler(Old, tmp_path), 3, score=0.5)
    handler = PickleHandler(Mistaken, tmp_path)
    with pytest.raises(kind) as caught:
        handler.load_persistence({"animal": "A00"})
    assert caught.value.__notes__ == [f"while loading {handler.filepath(Mistaken('A00'))}"]
    if outcome is None:
        assert "Mistaken.upgrade returned None: it must return a dict of the fields" in str(caught.value)


@persistence_class(name="Score", version=2)
class Summed:
    animal: str = field(validator=True, filename=True)
    total: float

    @classmethod
    def upgrade(cls, fields, version):
        return {"animal": fields["animal"], "total": float(fields["weights"].sum())}


@pytest.mark.parametrize("size", [3, 200_000])
@pytest.mark.parametrize("kind", HANDLERS)
def test_files_of_older_versions_are_verified(tmp_path, kind, size):
    """``upgrade`` may need all fields, or arrays, which are not read to compare names."""
    saved(kind(Old, tmp_path), size, score=0.5)
    for cls in (Upgraded, Summed):
        (found,) = kind(cls, tmp_path).verify()
        assert (found.problem, found.checksummed) == (None, True)
    kind(Old, tmp_path).filepath(Old("A00")).rename(kind(Old, tmp_path).filepath(Old("A01")))
    (found,) = kind(Upgraded, tmp_path).verify()
    assert isinstance(found.problem, KeyMismatchError)
