"""Files that were saved before file names changed are reported, and migrated to the present names."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
from typing import Any

import numpy as np
import pytest
from checks import filled

from neuralib.persistence import (
    FileHandler,
    GzipHandler,
    Migration,
    PickleHandler,
    autoinc_field,
    field,
    missing,
    persistence_class,
    read_head,
)
from neuralib.persistence._finding import migrating
from neuralib.persistence._stores import archive_writing
from neuralib.persistence.cli_persistence import PersistenceOptions
from neuralib.persistence.stores import ArchiveStore, MemoryStore

QUALNAME = "Trial"


def made(body, name=None, splitter=None, version=None, qualname=QUALNAME):
    """Return one class as it is at one time: the same module and name, with other options."""
    annotations = {key: kind for key, (kind, _) in body.items()}
    values = {key: declared for key, (_, declared) in body.items() if declared is not None}
    upgrade = {"upgrade": classmethod(upgraded)} if version else {}
    cls = type(qualname, (), {"__annotations__": annotations, "__module__": __name__, **values, **upgrade})
    cls.__qualname__ = qualname
    options = {"name": name, "filename_field_splitter": splitter, "version": version}
    return persistence_class(**{key: value for key, value in options.items() if value is not None})(cls)


def upgraded(cls, fields, version):
    fields["score"] = 100 * fields["score"]
    return fields


def keys(**more):
    return {
        "animal": (str, field(validator=True, filename=True)),
        "run": (int, autoinc_field(filename_prefix="#")),
        **more,
        "score": (float, None),
        "weights": (Any, None),
    }


Before = made(keys())

CHANGES = {
    "key with a default": (lambda: made(keys(plane=(int, field(filename=True, filename_prefix="p", default=0)))), "cache-Trial-A00-#0-p0"),
    "prefix": (lambda: made({**keys(), "animal": (str, field(filename=True, filename_prefix="mouse"))}), "cache-Trial-mouseA00-#0"),
    "splitter": (lambda: made(keys(), splitter="~"), "cache~Trial~A00~#0"),
    "name": (lambda: made(keys(), name="Session"), "cache-Session-A00-#0"),
    "key left out": (lambda: made({**keys(), "animal": (str, field(validator=True))}), "cache-Trial-#0"),
    "order": (lambda: made({"run": keys()["run"], **keys()}), "cache-Trial-#0-A00"),
    "renamed and prefixed": (
        lambda: made({"subject": (str, field(filename=True, filename_prefix="s", renamed_from="animal")), **{k: v for k, v in keys().items() if k != "animal"}}),
        "cache-Trial-sA00-#0",
    ),
    "version and prefix": (lambda: made({**keys(), "animal": (str, field(filename=True, filename_prefix="m"))}, version=1), "cache-Trial-mA00-#0"),
}  # fmt: skip


def save(handler, animals=("A00",), size=3):
    for animal in animals:
        handler.save_persistence(filled(handler.persistence_class(animal), score=0.5, weights=np.arange(size)))


def names_of(place):
    return sorted(place.names()) if isinstance(place, MemoryStore) else sorted(os.listdir(place))


@pytest.fixture(params=["folder", "memory"])
def place(request, tmp_path):
    return tmp_path if request.param == "folder" else MemoryStore()


@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler])
@pytest.mark.parametrize("size", [3, 100_000])
@pytest.mark.parametrize("change", CHANGES)
def test_files_get_the_names_of_the_present_class(place, kind, size, change):
    """Whatever changed. A dry run changes nothing, and a second migration finds nothing to do."""
    make, name = CHANGES[change]
    now = make()
    save(kind(Before, place), size=size)
    before = names_of(place)
    handler = kind(now, place)
    assert len(handler.find(run=0)) == 0 or change == "order"
    planned = handler.migrate()
    assert isinstance(planned, Migration)
    assert repr(planned) == "<Migration: would be: 1 moved>"
    assert planned[0].target.name == f"{name}{handler.suffix}"
    assert names_of(place) == before
    done = handler.migrate(dry_run=False)
    assert (repr(done), done.problems) == ("<Migration: 1 moved>", [])
    assert names_of(place) == [f"{name}{handler.suffix}"]
    ((_, result),) = handler.load_all(handler.find()[0].load())
    assert (result.score, result.run, len(result.weights)) == (
        50 if now._ast_persistence_cls_info_.version else 0.5,
        0,
        size,
    )
    assert [check.problem for check in handler.verify()] == [None]
    assert repr(handler.migrate(dry_run=False)) == "<Migration: nothing to do>"


def test_files_of_another_format_are_converted(place):
    """With their numbers, and with their times if they are files."""
    save(PickleHandler(Before, place), ["A", "A", "B"])
    if place is not None and not isinstance(place, MemoryStore):
        os.utime(place / "cache-Trial-B-#0.pkl", (1e9, 1e9))
    handler = GzipHandler(Before, place)
    assert repr(handler.migrate(dry_run=False)) == "<Migration: 3 moved>"
    assert names_of(place) == [f"cache-Trial-{rest}.pkl.gz" for rest in ("A-#0", "A-#1", "B-#0")]
    assert handler.find(animal="B")[0].time_modified.timestamp() == 1e9 or isinstance(place, MemoryStore)
    save(handler, ["A"])
    assert len(handler.find(animal="A", run=2)) == 1


def test_files_of_an_older_version_are_updated_in_place(place):
    """Their names are right, and their fields are not."""
    save(PickleHandler(Before, place), ["A", "B"])
    handler = PickleHandler(made(keys(), version=1), place)
    before = names_of(place)
    assert repr(handler.migrate()) == "<Migration: would be: 2 updated>"
    assert repr(handler.migrate(dry_run=False)) == "<Migration: 2 updated>"
    assert names_of(place) == before
    assert handler.find().to_columns("score")["score"] == [50, 50]
    assert repr(handler.migrate()) == "<Migration: nothing to do>"


def test_a_name_that_another_result_has_is_reported_and_stays(place):
    """Both results are unchanged. No new number is assigned."""
    now = CHANGES["prefix"][0]()
    save(PickleHandler(Before, place), ["A", "B"])
    handler = PickleHandler(now, place)
    taken = filled(now("A"), score=0.75, run=0, weights=None)
    handler.save_persistence(taken)
    for dry_run in (True, False):
        report = handler.migrate(dry_run=dry_run)
        assert {outcome: len(moves) for outcome, moves in report.by_outcome().items()} == {"taken": 1, "moved": 1}
        (problem,) = report.problems
        assert "already holds another result of Trial" in problem.problem
        assert problem.path.name == "cache-Trial-A-#0.pkl"
    assert names_of(place) == ["cache-Trial-A-#0.pkl", "cache-Trial-mouseA-#0.pkl", "cache-Trial-mouseB-#0.pkl"]
    assert sorted(handler.find().to_columns("score")["score"]) == [0.5, 0.75]
    assert report.to_columns()["outcome"] == ["taken", "moved"]


def test_of_two_files_that_would_get_one_name_the_first_gets_it(place):
    """The second one is reported."""
    save(PickleHandler(Before, place), ["A", "B"])
    handler = PickleHandler(CHANGES["key left out"][0](), place)
    for dry_run in (True, False):
        assert sorted(move.outcome for move in handler.migrate(dry_run=dry_run)) == ["moved", "taken"]
    assert len(names_of(place)) == 2


class KilledError(BaseException):
    pass


def killed_at(step, monkeypatch, store_class):
    """Raise at one of the steps that change something, in place of a kill."""
    steps = iter(range(10**6))

    def dying(act):
        def called(*arguments, **options):
            if next(steps) == step:
                raise KilledError
            found = act(*arguments, **options)
            if next(steps) == step:
                raise KilledError
            return found

        return called

    for name in ("put", "delete"):
        monkeypatch.setattr(store_class, name, dying(getattr(store_class, name)))


def test_a_migration_that_was_killed_goes_on(monkeypatch):
    """Each result is whole at any time, and has one name in the end."""
    now = CHANGES["splitter"][0]()
    for step in range(14):
        store = MemoryStore()
        save(PickleHandler(Before, store), ["A", "B", "C"])
        handler = PickleHandler(now, store)
        with monkeypatch.context() as patch:
            killed_at(step, patch, MemoryStore)
            if step < 12:
                with pytest.raises(KilledError):
                    handler.migrate(dry_run=False)
            else:
                handler.migrate(dry_run=False)
        there = {name[6:] for name in store.names()}
        assert {name.replace("~", "-") for name in there} == {f"Trial-{animal}-#0.pkl" for animal in "ABC"}
        handler.migrate(dry_run=False)
        assert names_of(store) == [f"cache~Trial~{animal}~#0.pkl" for animal in "ABC"]
        assert handler.find().to_columns("score")["score"] == [0.5] * 3


def test_a_result_that_cannot_be_stored_stays_alone(tmp_path, monkeypatch):
    """The others of its group move, and the report says why it did not."""
    file = tmp_path / "results.sqlar"
    save(PickleHandler(Before, file), ["A", "C"])
    save(PickleHandler(Before, file), ["B"], size=1_000)
    monkeypatch.setattr(archive_writing, "MOST_BYTES", 4_000)
    report = PickleHandler(CHANGES["prefix"][0](), file).migrate(dry_run=False)
    assert [(move.path.name, move.outcome) for move in report] == [
        ("cache-Trial-A-#0.pkl", "moved"),
        ("cache-Trial-B-#0.pkl", "failed"),
        ("cache-Trial-C-#0.pkl", "moved"),
    ]
    assert "keep it in a folder" in report[1].problem
    assert sorted(ArchiveStore(file).names()) == [
        "cache-Trial-B-#0.pkl",
        "cache-Trial-mouseA-#0.pkl",
        "cache-Trial-mouseC-#0.pkl",
    ]


def test_results_in_a_place_that_is_only_read_stay(tmp_path):
    """The others are removed under their former names."""
    save(PickleHandler(Before, tmp_path / "first.sqlar"), ["B", "C"])
    save(PickleHandler(Before, tmp_path / "second"), ["A"])
    handler = PickleHandler(CHANGES["prefix"][0](), [tmp_path / "first.sqlar", tmp_path / "second"])
    report = handler.migrate(dry_run=False)
    assert sorted((move.path.name, move.outcome) for move in report) == [
        ("cache-Trial-A-#0.pkl", "failed"),
        ("cache-Trial-B-#0.pkl", "moved"),
        ("cache-Trial-C-#0.pkl", "moved"),
    ]
    assert "only read" in report.problems[0].problem
    assert len(names_of(tmp_path / "second")) == 1


def test_results_in_an_archive_keep_their_times(tmp_path):
    """As files do."""
    save(PickleHandler(Before, tmp_path))
    os.utime(tmp_path / "cache-Trial-A00-#0.pkl", (1e9, 1e9))
    from neuralib.persistence._commands.entry import main

    assert main(["pack", str(tmp_path), str(tmp_path / "results.sqlar")]) == 0
    handler = PickleHandler(CHANGES["prefix"][0](), tmp_path / "results.sqlar")
    assert repr(handler.migrate(dry_run=False)) == "<Migration: 1 moved>"
    assert round(handler.find()[0].time_modified.timestamp(), 3) == 1e9


@pytest.mark.parametrize("step", ["same_value", "moved"])
def test_a_result_that_is_saved_anew_meanwhile_stays(place, monkeypatch, step):
    """Whether the same result was there already, or is written under the new name."""
    now = CHANGES["prefix"][0]()
    old, new = PickleHandler(Before, place), PickleHandler(now, place)
    save(old, ["A"])
    if step == "same_value":
        new.save_persistence(filled(now("A"), score=0.5, run=0, weights=np.arange(3)))
    act = getattr(migrating, step)

    def saving(first, second):
        second = list(second) if step == "moved" else second
        old.save_persistence(filled(Before("A"), score=0.75, run=0, weights=None))
        return act(first, second)

    monkeypatch.setattr(migrating, step, saving)
    report = new.migrate(dry_run=False)
    assert old.load_persistence(filled(Before("A"), run=0)).score == 0.75
    if step == "moved":
        assert [move.outcome for move in report] == ["failed"]
        assert "was replaced meanwhile" in report[0].problem
        monkeypatch.undo()
        assert repr(new.migrate(dry_run=False)) == "<Migration: 1 moved>"
        assert new.load_persistence(filled(now("A"), run=0)).score == 0.75


def test_a_result_that_is_saved_anew_under_its_name_stays(place, monkeypatch):
    """Also right before it would be replaced by what was read of it."""
    now = made(keys(), version=1)
    old, new = PickleHandler(Before, place), PickleHandler(now, place)
    save(old, ["A", "B"])
    put_many = new.store.put_many

    def saving(*arguments, **more):
        monkeypatch.undo()
        old.save_persistence(filled(Before("A"), score=0.75, run=0, weights=None))
        return put_many(*arguments, **more)

    monkeypatch.setattr(new.store, "put_many", saving)
    report = new.migrate(dry_run=False)
    assert repr(report) == "<Migration: 1 failed, 1 updated>"
    assert "was replaced meanwhile, and stays" in report.problems[0].problem
    assert repr(new.migrate(dry_run=False)) == "<Migration: 1 updated>"
    assert [result.score for _, result in new.load_all(animal=missing)] == [75, 50]


def test_files_of_other_classes_and_other_names_stay(place, tmp_path):
    """Files of another class, of unknown class, under custom names, damaged."""
    other = made(keys(), qualname="Other")
    save(PickleHandler(other, place), ["A"])
    handler = PickleHandler(CHANGES["splitter"][0](), place)
    if isinstance(place, MemoryStore):
        place.put("cache-Trial-x.pkl", b"no pickle")
    else:
        (place / "cache-Trial-x.pkl").write_bytes(b"no pickle")
        save(PickleHandler(Before, tmp_path), ["A"])
        os.rename(place / "cache-Trial-A-#0.pkl", place / "my best.pkl")
        (place / "notes.txt").write_text("notes")
    before = names_of(place)
    report = handler.migrate(dry_run=False)
    assert [(move.path.name, move.outcome) for move in report] == [("cache-Trial-x.pkl", "failed")]
    assert "damaged" in report[0].problem
    assert names_of(place) == before


def test_files_without_cards_are_known_by_their_fields(tmp_path):
    """They are known as results of the class by the fields that they hold, and the class name in their file names."""
    now = CHANGES["key with a default"][0]()
    cards = {
        "cache-Trial-A-#0.pkl": {"animal": "A", "run": 0, "score": 0.5, "weights": [1]},
        "cache-Trial-B-#3.pkl": {"animal": "B", "run": 3, "score": 0.5},
        "cache-Trial-C-#0.pkl": {"animal": "C", "run": 0, "score": 0.5, "other": 1},
        "cache-Trial-D-#0.pkl": {"run": 0, "score": 0.5},
        "cache-Trials-E-#0.pkl": {"animal": "E", "run": 0, "score": 0.5},
    }
    for name, fields in cards.items():
        (tmp_path / name).write_bytes(pickle.dumps(fields))
    handler = PickleHandler(now, tmp_path)
    assert [move.target.name for move in handler.migrate(dry_run=False)] == [
        "cache-Trial-A-#0-p0.pkl",
        "cache-Trial-B-#3-p0.pkl",
    ]
    assert names_of(tmp_path)[2:] == ["cache-Trial-C-#0.pkl", "cache-Trial-D-#0.pkl", "cache-Trials-E-#0.pkl"]
    assert read_head(tmp_path / "cache-Trial-B-#3-p0.pkl").card.version == 0, "it has one now"


def test_a_renamed_class_is_given_by_its_former_name(place):
    """Nothing else could tell that it is the same class."""
    save(PickleHandler(Before, place))
    handler = PickleHandler(made(keys(), qualname="Session"), place)
    assert len(handler.migrate()) == 0
    assert repr(handler.migrate(dry_run=False, renamed_from="Trial")) == "<Migration: 1 moved>"
    assert handler.find()[0].name == "cache-Session-A00-#0.pkl"


def test_files_of_a_users_format_are_migrated(tmp_path):
    """They have no cards."""

    class Json(FileHandler):
        suffix = ".json"

        def _write(self, fields, file):
            file.write(repr(fields).encode())

        def _read(self, file):
            return eval(file.read())  # noqa: S307 - of this test's own

    Json(Before, tmp_path).save_persistence(filled(Before("A"), score=0.5, weights=1))
    handler = Json(CHANGES["key with a default"][0](), tmp_path)
    assert repr(handler.migrate(dry_run=False)) == "<Migration: 1 moved>"
    assert names_of(tmp_path) == ["cache-Trial-A-#0-p0.json"]


# ---------------------------------------------------------------------------------------------- warnings if nothing is found


class Scores(PersistenceOptions):
    def __init__(self, kind, folder):
        self.kind, self.folder = kind, folder

    def persistence_handler(self, dest=None):
        return PickleHandler(self.kind, self.folder)

    def empty_cache(self):
        return filled(self.kind("A00"), run=0)

    def compute_cache(self, result):
        return filled(result, score=1.0, weights=None)


LOOKS = {
    "find": lambda handler: len(handler.find(animal="A00")),
    "load": lambda handler: pytest.raises(
        FileNotFoundError, handler.load_persistence, filled(handler.persistence_class("A00"), run=0)
    ),
    "load_all": lambda handler: list(handler.load_all(handler.persistence_class("A00"))),
    "todo": lambda handler: list(handler.todo({"animal": ["A00"], "run": [0]})),
    "todo of repetitions": lambda handler: list(handler.todo({"animal": ["A00"]}, repeat=2)),
    "load_cache": lambda handler: Scores(handler.persistence_class, handler.store).load_cache(),
}


@pytest.mark.parametrize("change", ["key with a default", "prefix", "splitter", "name"])
@pytest.mark.parametrize("look", LOOKS)
def test_finding_nothing_tells_of_files_under_former_names(place, caplog, look, change):
    """How many there are, and what to do: one warning, for which a few heads are read."""
    now = CHANGES[change][0]()
    save(PickleHandler(Before, place), [f"A{number:02}" for number in range(5)])
    save(PickleHandler(made(keys(), qualname="Other"), place), ["A", "B"])
    for _ in range(2):
        LOOKS[look](PickleHandler(now, place))
    warned = [record.getMessage() for record in caplog.records if "migrate" in record.getMessage()]
    assert len(warned) == 1
    assert warned[0].startswith("5 files in ")
    assert "results of Trial" in warned[0]


def _without_a_key():
    @persistence_class(name="Trial")
    class Trial:
        animal: str = field(filename=True)
        score: float

    return Trial


def _with_keys_in_another_order():
    @persistence_class(name="Trial")
    class Trial:
        day: int = field(filename=True)
        animal: str = field(filename=True)
        score: float

    return Trial


@pytest.mark.parametrize("now", [_without_a_key, _with_keys_in_another_order])
def test_former_names_that_can_be_read_as_those_of_today_are_told_too(place, caplog, now):
    """A key was removed from the name, or moved: ``A00-3`` is read as an animal. What the files hold says otherwise."""

    @persistence_class(name="Trial")
    class Trial:
        animal: str = field(filename=True)
        day: int = field(filename=True)
        score: float

    for day in range(3):
        result = Trial(f"A{day:02}", day)
        result.score = 1.0
        PickleHandler(Trial, place).save_persistence(result)
    handler = PickleHandler(now(), place)
    keys = {"animal": "A00", "day": 0}
    wanted = {name: keys[name] for name in handler.persistence_info.fields_name() if name in keys}
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            handler.load_persistence(wanted)
    (warned,) = [record.getMessage() for record in caplog.records if "migrate" in record.getMessage()]
    assert warned.startswith("3 files in ")
    assert repr(handler.migrate(dry_run=False)) == "<Migration: 3 moved>"
    assert handler.load_persistence(wanted).score == 1.0


def test_copies_are_no_former_names(tmp_path, caplog):
    """A synchronising program wrote them; the result is there."""
    handler = PickleHandler(made(keys(), qualname="Copied"), tmp_path)
    save(handler, ["A", "B"])
    path = next(iter(handler.find().paths))
    shutil.copy(path, path.with_name(path.name.replace("A", "A (1)")))
    assert len(handler.find(animal="C")) == 0
    assert "former names" not in caplog.text


def test_the_warning_reads_a_few_heads_only(tmp_path, caplog, monkeypatch):
    """However many files there are, and none if something is found."""
    PickleHandler(Before, tmp_path).save_all(
        filled(Before(f"A{number}"), score=0.5, weights=1) for number in range(200)
    )
    looked = []
    records = type(PickleHandler(Before, tmp_path)._keeper.records)
    about = records.about
    monkeypatch.setattr(records, "about", lambda *arguments: looked.append(1) or about(*arguments))
    assert len(PickleHandler(Before, tmp_path).find()) == 200
    assert not looked
    assert len(PickleHandler(made(keys(), splitter="~"), tmp_path).find()) == 0
    assert 10 < len(looked) <= 32
    assert "about 200 files" in caplog.text


def test_no_warning_in_a_folder_without_former_names(tmp_path, caplog):
    """A missing folder, an empty one, and one of other classes."""
    handler = PickleHandler(made(keys(), qualname="Quiet"), tmp_path / "nowhere")
    assert len(handler.find()) == 0
    save(PickleHandler(Before, tmp_path), ["A"])
    assert len(PickleHandler(made(keys(), qualname="Silent"), tmp_path).find()) == 0
    assert not caplog.records


@pytest.mark.skipif(sys.platform == "win32", reason="needs permissions")
def test_permissions_stay(tmp_path):
    """If a result was shared with others, it still is."""
    save(PickleHandler(Before, tmp_path))
    os.chmod(tmp_path / "cache-Trial-A00-#0.pkl", 0o664)
    handler = PickleHandler(CHANGES["prefix"][0](), tmp_path)
    handler.migrate(dry_run=False)
    assert os.stat(tmp_path / "cache-Trial-mouseA00-#0.pkl").st_mode & 0o777 == 0o664


# ---------------------------------------------------------------------------------------------- the command

THEN = """
from neuralib.persistence import PickleHandler, GzipHandler, field, persistence_class

@persistence_class
class Score:
    animal: str = field(filename=True)
    score: float
"""
NOW = THEN.replace("animal: str = field(filename=True)", "animal: str = field(filename=True, filename_prefix='m')")


def command(capsys, *arguments):
    from neuralib.persistence._commands.entry import main

    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"__name__": "lab"}
    exec(THEN, space)  # noqa: S102 - the class as it was
    (tmp_path / "lab.py").write_text(NOW)
    for place, kind in (("results", "PickleHandler"), ("results/inside", "GzipHandler")):
        handler = space[kind](space["Score"], place)
        handler.save_all(filled(space["Score"](animal), score=0.5) for animal in "AB")
    yield tmp_path
    sys.modules.pop("lab", None)


def test_the_command_migrates_files_of_a_class(folder, capsys):
    """Each in its format; in subfolders too on request. Without a terminal it needs --yes."""
    arguments = ("migrate", "-r", "results", "--class", "lab.py:Score")
    status, out, _ = command(capsys, *arguments, "--dry-run")
    assert status == 0
    assert "results/inside/cache-Score-A.pkl.gz -> cache-Score-mA.pkl.gz  (moved)" in out
    assert "would migrate 4 files; nothing was changed" in out
    status, _, error = command(capsys, *arguments)
    assert status == 2
    assert "--yes" in error
    assert sorted(os.listdir("results")) == ["cache-Score-A.pkl", "cache-Score-B.pkl", "inside"]
    status, out, _ = command(capsys, *arguments, "--yes")
    assert (status, out) == (0, "migrated 4 files\n")
    assert sorted(os.listdir("results")) == ["cache-Score-mA.pkl", "cache-Score-mB.pkl", "inside"]
    assert sorted(os.listdir("results/inside")) == ["cache-Score-mA.pkl.gz", "cache-Score-mB.pkl.gz"]
    assert command(capsys, *arguments, "--json")[1] == '{\n  "dry_run": true,\n  "files": []\n}\n'


def test_the_command_changes_the_format_and_reports_what_stays(folder, capsys):
    """With an exit status for programs."""
    arguments = ("migrate", "results/inside", "--class", "lab.py:Score", "--yes")
    (folder / "results/inside/cache-Score-mB.pkl").write_bytes(b"no pickle")
    status, out, _ = command(capsys, *arguments, "--to", "plain")
    assert status == 1
    assert "cache-Score-mB.pkl is damaged" in out
    assert "migrated 1 file; 2 stay as they are" in out
    assert sorted(os.listdir("results/inside")) == ["cache-Score-B.pkl.gz", "cache-Score-mA.pkl", "cache-Score-mB.pkl"]


def test_the_command_migrates_the_results_of_an_archive(folder, capsys):
    """One that is given, or one in a folder that is given with -r; the rest of the folder stays."""
    command(capsys, "pack", "results/inside", "results/inside.sqlar")
    arguments = ("migrate", "results/inside.sqlar", "--class", "lab.py:Score")
    assert "cache-Score-A.pkl.gz -> cache-Score-mA.pkl.gz  (moved)" in command(capsys, *arguments, "--dry-run")[1]
    assert "would migrate 4 files" in command(capsys, "migrate", "-r", "results", *arguments[2:], "--dry-run")[1]
    assert command(capsys, *arguments, "--yes")[:2] == (0, "migrated 2 files\n")
    assert sorted(ArchiveStore("results/inside.sqlar").names()) == ["cache-Score-mA.pkl.gz", "cache-Score-mB.pkl.gz"]
    assert sorted(os.listdir("results")) == ["cache-Score-A.pkl", "cache-Score-B.pkl", "inside", "inside.sqlar"]


def test_the_command_needs_a_class_and_folders(folder, capsys):
    """Only the class knows the present names."""
    assert "--class" in command(capsys, "migrate", "results")[2]
    refused = command(capsys, "migrate", "results", "animal=A", "--class", "lab.py:Score")
    assert (refused[0], "folders" in refused[2]) == (2, True)
