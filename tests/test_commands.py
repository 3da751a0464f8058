"""The command line: what is in a folder, without its classes, without trust, for people and for programs."""

from __future__ import annotations

import argparse
import csv
import datetime
import enum
import gzip
import io
import json
import os
import pickle
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from checks import Pair, filled

from neuralib.persistence import (
    CorruptResultError,
    GzipHandler,
    PickleHandler,
    ZstdHandler,
    autoinc_field,
    field,
    load,
    persistence_class,
    read_head,
    results_equal,
)
from neuralib.persistence._classes.schema import ensure_persistence_class
from neuralib.persistence._codecs.card import Card, card_of
from neuralib.persistence._codecs.gzipped import GZIP
from neuralib.persistence._codecs.pickles import PickleCodec
from neuralib.persistence._commands import conversion, entries, keeping
from neuralib.persistence._commands.conversion import convert_file
from neuralib.persistence._commands.entry import main, parser
from neuralib.persistence._stores import system
from neuralib.persistence._stores.drafts import FolderDraft


class Colour(enum.Enum):
    RED = 1


@persistence_class
class Shuffle:
    animal: str = field(validator=True, filename=True)
    session: str = field(validator=True, filename=True)
    run: int = autoinc_field(filename_prefix="#")
    note: Any = field(default=None)
    weights: Annotated[np.ndarray, "a.u."]
    rate: Annotated[float, "Hz"]


@persistence_class(name="tuning", filename_field_splitter="_")
class Tuning:
    sftf: tuple[float, float] = field(filename=True, filename_prefix="sftf")
    table: dict[str, Any]


@persistence_class
class Tagged:
    tags: frozenset[str] = field(filename=True)
    name: str = field(filename=True)
    pair: tuple[Any, ...] = field(filename=True)


@persistence_class(portable=True)
class Timed:
    at: str = field(filename=True)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Four numbered results with a session that holds the splitter, and two compressed ones of another class."""
    monkeypatch.chdir(tmp_path)
    for variable in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(variable, raising=False)
    handler = PickleHandler(Shuffle, tmp_path / "results")
    for i in range(4):
        result = Shuffle("A00" if i < 3 else "A-1", "2023-01-02")
        result.weights = np.arange(5.0) + i
        result.rate = 30.0
        handler.save_persistence(result)
    for i in range(2):
        tuning = Tuning((0.04, float(i)))
        tuning.table = {"map": np.zeros((20, 30), "f4"), "colour": Colour.RED}
        GzipHandler(Tuning, tmp_path / "results").save_persistence(tuning)
    return tmp_path / "results"


def first_of(folder):
    return str(folder / "cache-Shuffle-A00-2023-01-02-#0.pkl")


def run(capsys, *words):
    status = main([str(word) for word in words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def output(capsys, *words, status=0):
    found, out, err = run(capsys, *words)
    assert (found, err) == (status, "")
    return out


def refusal(capsys, *words):
    try:
        status, out, err = run(capsys, *words)
    except SystemExit as stop:
        captured = capsys.readouterr()
        status, out, err = stop.code, captured.out, captured.err
    assert (status, out) == (2, "")
    assert "Traceback" not in err
    return err


def process(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "neuralib.persistence", *map(str, words)],
        capture_output=True, text=True, timeout=60, check=False, **options,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------ ls


def test_ls_tells_classes_keys_and_sizes(folder, capsys):
    """The class is not imported: its name and keys come from file names and heads."""
    lines = output(capsys, "ls", folder).splitlines()
    assert lines[0].startswith("Shuffle  4 results, ")
    assert lines[1].split() == ["animal", "session", "run", "size", "saved", "file"]
    rows = [line.split() for line in lines[2:6]]
    assert [row[:3] for row in rows] == [
        ["A00", "2023-01-02", "0"],
        ["A00", "2023-01-02", "1"],
        ["A00", "2023-01-02", "2"],
        ["A-1", "2023-01-02", "0"],
    ]
    assert rows[0][-1] == "cache-Shuffle-A00-2023-01-02-#0.pkl"
    assert lines[7].startswith("tuning  2 results, ")
    assert lines[9].startswith("(0.04, 0.0)")


def test_ls_chooses_by_keys(folder, capsys):
    """Conditions on any field; several on one key match any of them."""

    def paths(*words):
        return [Path(row["path"]).name for row in json.loads(output(capsys, "ls", folder, *words, "--json"))]

    assert paths("animal=A-1") == ["cache-Shuffle-A-1-2023-01-02-#0.pkl"]
    assert len(paths("animal=A-1", "animal=A00", "run=0")) == 2
    assert paths("run=2", "animal=A00") == ["cache-Shuffle-A00-2023-01-02-#2.pkl"]
    assert len(paths("rate=30", "rate=12")) == 4
    assert paths("animal=A") == []
    assert paths("sftf=(0.04, 1.0)") == ["cache_tuning_sftf(0.04, 1.0).pkl.gz"]


def test_ls_writes_json_and_csv(folder, capsys):
    """For programs: sizes are in bytes."""
    found = json.loads(output(capsys, "ls", folder, "--json"))
    assert len(found) == 6
    assert found[0]["class"] == "Shuffle"
    assert found[0]["keys"] == {"animal": "A00", "session": "2023-01-02", "run": 0}
    assert found[0]["size_bytes"] == os.path.getsize(first_of(folder))
    rows = list(csv.DictReader(io.StringIO(output(capsys, "ls", "--csv", folder))))
    assert [row["run"] for row in rows[:4]] == ["0", "1", "2", "0"]
    assert rows[4]["sftf"] == "(0.04, 0.0)"
    assert rows[4]["animal"] == ""


def test_ls_of_a_class_needs_no_file(folder, capsys, monkeypatch):
    """With ``--class``, no file is read if its name can be read in one way only."""
    for path in folder.iterdir():
        if path.suffix == ".gz":
            path.write_bytes(b"never read")
    (folder.parent / "lab_of_commands.py").write_text(
        "from neuralib.persistence import persistence_class, field\n"
        "@persistence_class(name='tuning', filename_field_splitter='_')\n"
        "class Tuning:\n    sftf: tuple = field(filename=True, filename_prefix='sftf')\n"
    )
    for name in ("lab_of_commands:Tuning", "lab_of_commands.py:Tuning"):
        out = output(capsys, "ls", folder, "--class", name, "sftf=(0.04, 1.0)")  # a condition after an option
        assert "tuning  1 result" in out
        assert "can't be read" not in out
    for name, text in (
        ("lab_of_commands", "module:Class"),
        ("nosuch:Tuning", "No module named"),
        ("nosuch.py:Tuning", "does not exist"),
        ("lab_of_commands:Other", "no attribute"),
        ("json:JSONDecoder", "not a persistence class"),
    ):
        assert text in refusal(capsys, "ls", folder, "--class", name)


def test_ls_goes_into_folders_and_leaves_others_alone(folder, capsys):
    """Hidden files of killed processes, other pickles, and circles of symbolic links are left out."""
    (folder / ".neuralib-draft-00.pkl").write_bytes(b"x")
    (folder / "model.pkl").write_bytes(pickle.dumps([1]))
    (folder / "notes.txt").write_text("x")
    os.symlink(folder, folder / "circle")
    inside = folder / "inside"
    handler = GzipHandler(Shuffle, inside)
    result = Shuffle("B", "s")
    handler.save_persistence(result)
    assert "5 results" not in output(capsys, "ls", folder)
    out = output(capsys, "ls", "-r", folder)
    assert "Shuffle  5 results" in out
    assert f"inside{os.sep}cache-Shuffle-B-s-#0.pkl.gz" in out
    assert out.endswith("1 pickle file without a result\n")
    assert "draft" not in out
    assert "Shuffle        5" in output(capsys, "ls", "-rs", folder)
    assert output(capsys, "ls", inside) == output(capsys, "ls", inside, "--limit", "3")
    assert "3 more" in output(capsys, "ls", folder, "--limit", "1")
    assert output(capsys, "ls", folder.parent) == "no results\n"


def test_ls_names_what_it_cannot_read(folder, capsys):
    """It lists the files that it can read, and says which it can't."""
    Path(first_of(folder)).write_bytes(b"junk")
    out = output(capsys, "ls", folder)
    assert "cache-Shuffle-A00-2023-01-02-#0.pkl  (can't be read)" in out
    assert "1 file can't be read" in out
    found = [row for row in json.loads(output(capsys, "ls", folder, "--json")) if "problem" in row]
    assert len(found) == 1
    assert "damaged" in found[0]["problem"]


def many(root, count=60):
    """Save results of two sessions; one session holds the splitter that separates the keys of each name."""
    handler = PickleHandler(Shuffle, root)
    for i in range(count):
        result = Shuffle(f"A{i % 3}", "2023-01-02" if i % 2 else "2023-01-03", i // 6)
        result.weights, result.rate = np.arange(3.0), float(i)
        handler.save_persistence(result)
    return handler


def heads_read(monkeypatch):
    read = []
    monkeypatch.setattr(entries, "read_head", lambda path: read.append(path) or read_head(path))
    return read


def test_ls_of_many_opens_few(folder, capsys, monkeypatch):
    """Though the session holds the splitter. The table is the one that opening all files gives."""
    many(folder.parent / "many", 150)
    read = heads_read(monkeypatch)
    out = output(capsys, "ls", "many", "animal=A1", "run=7")
    assert "Shuffle  2 results" in out
    assert out.count("2023-01-0") == 4
    assert len(read) < 40
    for form in ("", "--json", "--csv", "-s"):
        quick = output(capsys, "ls", "many", *form.split())
        assert quick == output(capsys, "ls", "many", "--heads", *form.split())
    assert [row["results"] for row in json.loads(output(capsys, "du", "many", "--json", "--by", "animal"))] == [50] * 3
    read.clear()
    assert "1 result" in output(capsys, "ls", "many", "rate=7")
    assert len(read) >= 150, "it is not in the name"


@persistence_class
class Mixed:
    who: Any = field(filename=True)
    tag: str = field(filename=True, filename_prefix="t")
    number: float = field(filename=True)


def test_names_alone_and_heads_tell_the_same(folder, capsys):
    """Values that hold the splitter, look like numbers, are None, or differ in type; another class's name begins alike."""
    handler = PickleHandler(Mixed, folder.parent / "mixed")
    for i in range(120):
        who = [f"a-{i % 4}", i % 7, None, "None", 1.5][i % 5]
        handler.save_persistence(Mixed(who, ["x", "x-t1", "", "t"][i % 4], i / 4))
    many(folder.parent / "mixed", 120)
    longer = persistence_class(name="Shuffle-old")(type("Old", (Shuffle,), {}))
    for begins_alike in (False, True):
        if begins_alike:
            PickleHandler(longer, folder.parent / "mixed").save_persistence(longer("A00", "s"))
        for name in ("json", "csv"):
            assert output(capsys, "ls", "mixed", f"--{name}") == output(capsys, "ls", "mixed", f"--{name}", "--heads")


@persistence_class
class Dated:
    date: datetime.date = field(filename=True)
    time: datetime.time = field(filename=True)


def test_dates_are_shown_as_conditions_take_them(folder, capsys):
    """As ``2024-05-01``, and not as the repr that Python shows."""
    for day in range(1, 4):
        PickleHandler(Dated, folder.parent / "dated").save_persistence(
            Dated(datetime.date(2023, 1, day), datetime.time(12))
        )
    assert re.search(r"2023-01-02 +12:00:00 +\d+ B", output(capsys, "ls", "dated", "date=2023-01-02"))
    found = json.loads(output(capsys, "ls", "dated", "--json"))
    assert [row["keys"] for row in found] == [{"date": f"2023-01-0{day}", "time": "12:00:00"} for day in (1, 2, 3)]
    assert [row["date"] for row in csv.DictReader(io.StringIO(output(capsys, "ls", "dated", "--csv")))][
        0
    ] == "2023-01-01"
    assert "2023-01-03" in output(capsys, "du", "dated", "--by", "date")
    assert re.search(r"date +date +2023-01-01", output(capsys, "show", found[0]["path"]))


def test_a_condition_on_an_unknown_field_is_an_error(folder, capsys):
    """An empty table would hide the mistake."""
    for command in ("ls", "du", "rm"):
        assert "the fields are animal, note, rate" in refusal(
            capsys, command, folder, "anmial=A00", *["-r"] * (command == "ls")
        )
    assert output(capsys, "ls", folder, "animal=B") == "no results\n"
    (folder.parent / "empty").mkdir()
    assert output(capsys, "ls", "empty", "animal=B") == "no results\n"
    PickleHandler(Dated, folder.parent / "dated").save_persistence(Dated(datetime.date(2023, 1, 1), datetime.time(12)))
    assert "Shuffle  1 result" in output(capsys, "ls", "dated", folder, "animal=A-1"), "one of the folders has it"


def test_limit_applies_to_json_and_csv_too(folder, capsys):
    """The first results of each class, in every format."""
    assert [row["class"] for row in json.loads(output(capsys, "ls", folder, "--json", "--limit", "1"))] == [
        "Shuffle",
        "tuning",
    ]
    assert output(capsys, "ls", folder, "--csv", "--limit", "2").count("\n") == 5


def test_ls_marks_a_file_under_another_name(folder, capsys):
    """One such file does not make it read all the others."""
    many(folder.parent / "many")
    path = folder.parent / "many" / "cache-Shuffle-A1-2023-01-03-#7.pkl"
    os.replace(path, path.with_name("cache-Shuffle-A9-2023-01-03-#7.pkl"))
    out = output(capsys, "ls", "many")
    assert out.count("file name does not match") == 1
    assert "cache-Shuffle-A9-2023-01-03-#7.pkl  (file name does not match)" in out
    assert sum("problem" in row for row in json.loads(output(capsys, "ls", "many", "--json"))) == 1


# ------------------------------------------------------------------------------------------ what the card tells


class Stim(enum.Enum):
    GRATING = 1
    NOISE = 2


@persistence_class
class Trial:
    animal: str = field(filename=True)
    stim: Stim = field(filename=True)
    run: int = autoinc_field(filename_prefix="#")
    note: str
    weights: np.ndarray


def trials(root, count=100, handler=PickleHandler, note=""):
    keeper = handler(Trial, root)
    for i in range(count):
        result = Trial(f"A{i % 5}", Stim.GRATING if i % 4 else Stim.NOISE)
        result.note, result.weights = note, np.arange(3.0)
        keeper.save_persistence(result)
    return keeper


@persistence_class
class Noted:
    animal: str = field(filename=True)
    session: str = field(filename=True)
    note: str
    run: int = autoinc_field(filename_prefix="#")


def test_an_empty_data_field_is_no_key_of_the_name(folder, capsys):
    """Any name ends with an empty text, which once made intact files look renamed."""
    handler = PickleHandler(Noted, "noted")
    for i in range(100):
        result = Noted(f"A{i % 3}", f"s{i % 7}")
        result.note = "" if i % 4 else "good"
        handler.save_persistence(result)
    assert re.fullmatch(r"100 files, [\d.]+ kB: 100 intact, 0 damaged\n", output(capsys, "verify", "noted"))
    for options in ([], ["--heads"]):
        out = output(capsys, "ls", "noted", *options)
        assert "does not match" not in out
        assert out.splitlines()[1].split() == ["animal", "session", "run", "size", "saved", "file"]
    found = json.loads(output(capsys, "ls", "noted", "--json", "animal=A1", "run=3"))
    assert {row["keys"]["run"] for row in found} == {3}


@pytest.mark.parametrize("count", [12, 100])
def test_enum_keys_are_found_and_shown_without_the_class(folder, capsys, count):
    """By their texts in the names; with few files and with many."""
    trials("trials", count)
    out = output(capsys, "ls", "trials", "stim=Stim.GRATING")
    assert f"Trial  {count * 3 // 4} results" in out
    assert out.splitlines()[1].split() == ["animal", "stim", "run", "size", "saved", "file"]
    assert out.splitlines()[2].split()[:3] == ["A0", "Stim.GRATING", "0"]
    assert output(capsys, "ls", "trials", "stim=Stim.GREY") == "no results\n"
    rows = json.loads(output(capsys, "du", "trials", "--by", "stim", "--json"))
    assert {row["stim"]: row["results"] for row in rows} == {"Stim.GRATING": count * 3 // 4, "Stim.NOISE": count // 4}
    assert f"would remove {count // 4} files" in output(capsys, "rm", "trials", "stim=Stim.NOISE", "-n")
    found = json.loads(output(capsys, "ls", "trials", "--class", f"{__file__}:Trial", "--json", "stim=Stim.NOISE"))
    assert {row["keys"]["stim"] for row in found} == {"Stim.NOISE"}
    renamed = next(Path("trials").glob("cache-Trial-A1-*"))
    renamed.replace(f"trials/cache-Trial-A9-Stim.GRATING-{renamed.name.split('-')[-1]}")
    assert "1 misnamed" in output(capsys, "verify", "trials", status=1)


@persistence_class
class Split:
    animal: str = field(filename=True)
    stim: Stim = field(filename=True)
    part: str = field(filename=True)


def test_values_in_the_file_decide_between_readings_of_its_name(folder, capsys):
    """If a value holds the splitter. A key whose text only the class knows is what remains of the name."""
    for animal, part in (("A-1", "x"), ("A", "1-x"), ("A", "x")):
        PickleHandler(Split, "split").save_persistence(Split(animal, Stim.NOISE, part))
    found = json.loads(output(capsys, "ls", "split", "--json"))
    assert sorted(tuple(row["keys"].values()) for row in found) == [
        ("A", "Stim.NOISE", "1-x"),
        ("A", "Stim.NOISE", "x"),
        ("A-1", "Stim.NOISE", "x"),
    ]


def result_class(module, qualname="Result", **annotations):
    """Return a class of that name, as another module or notebook would define it."""
    cls = type(qualname, (), {
        "__module__": module, "__qualname__": qualname, "animal": field(filename=True),
        "__annotations__": {"animal": str, **annotations},
    })  # fmt: skip
    return persistence_class(cls)


@pytest.mark.parametrize("count", [3, 80])
def test_two_classes_of_one_name_are_two_groups(folder, capsys, count):
    """In one folder: the module tells them apart, or the fields if the module is the same."""
    modules = {"lab.a": "score", "lab.b": "speed", "__main__": "rate"}
    for module, data in modules.items():
        cls = result_class(module, **{data: float})
        for i in range(count):
            PickleHandler(cls, "both").save_persistence(cls(f"{module[-1]}{i}"))
    out = output(capsys, "ls", "both")
    for module in modules:
        assert f"Result ({module}:Result)  {count} results" in out
    rows = json.loads(output(capsys, "du", "both", "--json"))
    assert {row["class"]: row["results"] for row in rows} == dict.fromkeys(
        (f"Result ({module}:Result)" for module in modules), count
    )
    found = json.loads(output(capsys, "ls", "both", "--json"))
    assert {row["class"] for row in found} == {"Result"}
    assert {row["class_path"] for row in found} == {f"{module}:Result" for module in modules}
    other = result_class("__main__", area=float)
    PickleHandler(other, "both").save_persistence(other("z"))
    moved = result_class("__main__", score=float)
    PickleHandler(moved, "both").save_persistence(moved("y"))
    out = output(capsys, "ls", "both", "--heads")
    assert "Result (__main__:Result, with animal, area)  1 result," in out
    assert f"Result (lab.a:Result)  {count + 1} results" in out, "it was moved into a module"
    assert f"Result (__main__:Result, with animal, rate)  {count} results" in out


def test_a_class_whose_name_begins_with_anothers_is_seen(folder, capsys):
    """Though it has few files, whose names could belong to the other class."""
    usual = result_class("lab.a", rate=float)
    alike = persistence_class(name="Result-old")(type("Old", (usual,), {"__module__": "lab.a"}))
    for i in range(500):
        PickleHandler(usual, "alike").save_persistence(usual(f"A{i}"))
    PickleHandler(alike, "alike").save_persistence(alike("A00"))
    out = output(capsys, "ls", "alike")
    assert "Result  500 results" in out
    assert "Result-old  1 result," in out


def test_files_of_other_programs_show_their_fields_and_no_more(folder, capsys):
    """Their names are shown, and no key is guessed. Conditions on their fields work."""
    (folder.parent / "others").mkdir()
    for i in range(60):
        path = folder.parent / "others" / f"cache-Score-A{i % 2}-{i}.pkl"
        path.write_bytes(pickle.dumps({"animal": f"A{i % 2}", "run": i, "weights": np.arange(3)}))
    out = output(capsys, "ls", "others")
    assert out.startswith("(class unknown)  60 results")
    assert out.splitlines()[1].split() == ["size", "saved", "file"]
    found = json.loads(output(capsys, "ls", "others", "--json", "run=7"))
    assert [(row["path"], row["class"], row["keys"]) for row in found] == [
        (os.path.join("others", "cache-Score-A1-7.pkl"), None, {})
    ]
    assert "no result here has; the fields are animal, run, weights" in refusal(capsys, "ls", "others", "plane=1")
    rows = json.loads(output(capsys, "du", "others", "--by", "animal", "--json"))
    assert {row["animal"]: row["results"] for row in rows} == {"A0": 30, "A1": 30}
    trials("others", 20)
    out = output(capsys, "ls", "others")
    assert "(class unknown)  60 results" in out
    assert "Trial  20 results" in out
    trials("others", 200)
    for name in ("cache-Trial-A1-Stim.GRATING-#777", "cache-Trial-x"):
        Path("others", f"{name}.pkl").write_bytes(pickle.dumps({"animal": "A1"}))
    out = output(capsys, "ls", "others")
    assert "(class unknown)  62 results" in out, "the second says that others may be among them"
    assert "Trial  220 results" in out


def test_a_card_with_unknown_keys_is_damage(folder, capsys):
    """Its list of keys whose text a function makes has a key that is no field."""
    card = card_of(ensure_persistence_class(Shuffle))._replace(function_keys=("nosuch",))
    path = folder / "cache-Shuffle-A00-s-#9.pkl"
    with open(path, "wb") as file:
        PickleCodec().for_class(card).encode({"animal": "A00", "session": "s", "run": 9}, Written(file))
    assert "its card is damaged" in output(capsys, "verify", path, status=1)
    assert "its card is damaged" in refusal(capsys, "show", path)


def test_a_large_folder_is_listed_by_names(folder, capsys, monkeypatch):
    """A few files are opened, and those whose names don't fit. What is read of them is not kept in memory."""
    trials("trials", 300, note="x" * 3000)
    os.rename("trials/cache-Trial-A1-Stim.GRATING-#7.pkl", "trials/cache-Trial-my-best.pkl")
    read = heads_read(monkeypatch)
    out = output(capsys, "ls", "trials")
    assert "Trial  300 results" in out
    assert "cache-Trial-my-best.pkl  (file name does not match)" in out
    assert len(read) < 60
    assert "trials/cache-Trial-my-best.pkl" in read
    tracemalloc.start()
    options = argparse.Namespace(paths=["trials"], wanted={}, recursive=False)
    found = entries.selected(options, None, heads=True)
    own = tracemalloc.Filter(inclusive=True, filename_pattern=f"{Path(entries.__file__).parents[1]}/*")
    held = sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([own]).traces)
    tracemalloc.stop()
    assert len(found) == 300
    assert 100_000 < held < 450_000, "the notes alone are twice that; other threads of tests may take some too"


def test_hostile_names_and_cards_are_read_in_bounded_time(folder, capsys):
    """Names of splitters only, thousands of keys, a class for each file, values that refer to themselves."""
    keys = tuple((f"k{i}", "") for i in range(6))
    many_keys = tuple((f"k{i}", "") for i in range(3000))
    nested = [1] * 10
    for _ in range(20):
        nested = [nested] * 10
    (folder.parent / "slow").mkdir()
    for i in range(50):
        for name, qualname, names, value in (
            (f"cache-Y-{'-' * 200}{i}.pkl", "Y", keys, "a"),
            (f"cache-X-{'-' * 200}{i}.pkl", "X", many_keys if i < 3 else keys, "a"),
            (f"cache-Q-{i}.pkl", f"Q{i}", keys[:1], i),
            (f"cache-N-{i}.pkl", "N", keys[:1], nested if i < 3 else 10**4500),
        ):
            fields = dict.fromkeys((key for key, _ in names), "str")
            card = Card("m", qualname, qualname[0], "-", names, fields, tuple(fields))
            with open(folder.parent / "slow" / name, "wb") as file:
                PickleCodec().for_class(card).encode({"k0": value}, Written(file))
    start = time.process_time()
    for words in (["ls", "slow"], ["ls", "slow", "--json"], ["du", "slow", "--by", "k0"], ["verify", "slow", "--json"]):
        status, _, err = run(capsys, *words)
        assert (status, err) == (int(words[0] == "verify"), "")
    assert time.process_time() - start < 20


def test_a_file_that_a_codec_wrote_without_a_class_has_no_card(folder, capsys):
    """So ``verify`` cannot compare its name."""
    path = folder / "cache-Score-A.pkl"
    with open(path, "wb") as file:
        PickleCodec().encode({"animal": "A"}, Written(file))
    assert read_head(path).card is None
    assert json.loads(output(capsys, "verify", path, "--json"))["names_not_compared"] == [str(path)]
    assert "(class unknown)  1 result" in output(capsys, "ls", folder)


def test_large_files_of_other_programs_are_read(folder, capsys):
    """In full, and by their heads."""
    path = folder / "cache-Score-A.pkl"
    path.write_bytes(pickle.dumps({"animal": "A", "weights": np.arange(50_000.0)}))
    assert "1 intact, 0 damaged" in output(capsys, "verify", path)
    assert re.search(r"weights +float64 +50000 +400 kB", output(capsys, "show", path))
    path.write_bytes(path.read_bytes()[:-1000])
    assert "0 intact, 1 damaged" in output(capsys, "verify", path, status=1)


def test_a_handler_with_an_ending_of_its_own_is_not_called_misnamed(folder, capsys):
    """The handler's ``filename`` appends a text. The keys before that are read."""
    handler = PickleHandler(Trial, "own", ext="_v2.pkl")
    for i in range(60):
        result = Trial(f"A{i % 5}", Stim.NOISE)
        result.note, result.weights = "", np.arange(3.0)
        handler.save_persistence(result)
    assert "60 intact, 0 damaged\n" in output(capsys, "verify", "own")
    out = output(capsys, "ls", "own")
    assert "does not match" not in out
    assert out.splitlines()[2].split()[:2] == ["A0", "0"]
    os.rename("own/cache-Trial-A1-Stim.NOISE-#1_v2.pkl", "own/cache-Trial-A1-Stim.NOISE-#99_v2.pkl")
    assert "1 misnamed" in output(capsys, "verify", "own", status=1)


@pytest.mark.parametrize("handler", [PickleHandler, GzipHandler, ZstdHandler], ids=lambda value: value.suffix)
def test_every_command_reads_every_compression(folder, capsys, handler):
    """Plain, gzip and zstd."""
    if handler is ZstdHandler:
        pytest.importorskip("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    path = trials("kept", 3, handler).filepath(None, animal="A1", stim=Stim.GRATING, run=0)
    other = path.with_name(path.name.replace("A1", "A2"))
    assert "Trial  3 results" in output(capsys, "ls", "kept")
    assert "3 intact, 0 damaged" in output(capsys, "verify", "kept")
    assert {"": "pickle", "gz": "gzip", "zst": "zstd"}[handler.suffix[5:]] in output(capsys, "show", path).splitlines()[
        1
    ]
    assert re.search(r"weights +float64 +3", output(capsys, "show", path))
    assert json.loads(output(capsys, "du", "kept", "--by", "animal", "--json"))[0]["results"] == 1
    assert "animal" in output(capsys, "diff", "--trust", path, other, status=1)
    assert len(json.loads(output(capsys, "ls", "kept", "--class", f"{__file__}:Trial", "--json"))) == 3
    path.write_bytes(path.read_bytes()[:60])
    assert "2 intact, 1 damaged" in output(capsys, "verify", "kept", status=1)
    assert "removed 2 files" in output(capsys, "rm", "kept", "--all", "-y")


# ------------------------------------------------------------------------------------------ folders as they are


def test_what_is_no_readable_file_is_reported_and_the_rest_goes_on(folder, capsys):
    """A broken link, a circle of links, a pipe, a folder without permission."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes here")
    os.symlink("nowhere", folder / "cache-Shuffle-link-s-#0.pkl")
    os.symlink("cache-Shuffle-loop-s-#0.pkl", folder / "cache-Shuffle-loop-s-#0.pkl")
    os.mkfifo(folder / "cache-Shuffle-pipe-s-#0.pkl")
    os.mkfifo(folder / "pipe.pkl.gz")
    (folder / "folder.pkl").mkdir()
    inside = folder / "inside"
    inside.mkdir()
    os.symlink("../inside", inside / "circle")
    os.symlink("loop.pkl", inside / "loop.pkl")
    out = output(capsys, "ls", "-r", folder)
    assert out.count("(can't be read)") == 5
    assert "Shuffle  4 results" in out
    assert "folder.pkl" not in out
    status, out, err = run(capsys, "verify", "-r", folder, "--json")
    assert (status, err) == (1, "")
    found = json.loads(out)
    assert sorted(os.path.basename(row["path"]).split("-")[-3:][0] for row in found["damaged"]) == [
        "link", "loop", "loop.pkl", "pipe", "pipe.pkl.gz",
    ]  # fmt: skip
    assert found["files"] == 11
    assert "removed 6 files" in output(capsys, "rm", folder, "-y", "--all")
    assert os.path.lexists(folder / "cache-Shuffle-link-s-#0.pkl"), "it was not selected"
    os.symlink("nowhere", folder / "cache-Shuffle-link-s-#1.pkl")
    if os.geteuid() != 0:
        os.chmod(inside, 0)
        try:
            assert "inside  (can't be read)" in output(capsys, "ls", "-r", folder)
        finally:
            os.chmod(inside, 0o700)


def test_a_csv_module_among_results_is_not_run(folder, capsys, monkeypatch):
    """When classes are imported, the current folder comes last in the path, or not at all if it is the folder that is listed."""
    touched = folder.parent / "touched"
    for place in (folder, folder.parent):
        (place / "csv.py").write_text(f"open({str(touched)!r}, 'w')")
        (place / "lab_here.py").write_text(
            "from neuralib.persistence import persistence_class, field\n"
            "@persistence_class\nclass Shuffle:\n    animal: str = field(filename=True)\n"
        )
    done = process("ls", "results", "--csv", "--class", "lab_here:Shuffle", cwd=folder.parent)
    assert (done.returncode, done.stderr) == (0, "")
    done = process("ls", "--csv", "--class", "lab_here:Shuffle", cwd=folder)
    assert done.returncode == 2
    assert "No module named 'lab_here'" in done.stderr
    monkeypatch.chdir(folder)
    for place in ([], ["."], [folder], ["-r", ".."]):
        message = refusal(capsys, "ls", "--csv", "--class", "lab_here:Shuffle", *place)
        assert "No module named 'lab_here'" in message
        assert "file.py:Class" in message
    done = process("ls", "--csv", "--class", "lab_here.py:Shuffle", cwd=folder)
    assert done.returncode == 0
    assert not touched.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="a current folder can't be removed there")
def test_commands_work_in_a_folder_that_was_removed(folder, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    done = process("ls", folder, cwd=gone, preexec_fn=gone.rmdir)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Shuffle" in done.stdout


# ------------------------------------------------------------------------------------------ show


def test_show_tells_fields_without_trust(folder, capsys):
    """Shapes, dtypes, sizes and small values; other objects by the names of their classes."""
    path = next(folder.glob("*tuning*"))
    out = output(capsys, "show", path, first_of(folder))
    assert re.search(r"\.map +float32 +20 × 30 +2\.4 kB", out)
    # Pickled by its value, or, as by early Python 3.11, by its name.
    assert re.search(r"\.colour +\S*test_commands\.Colour(\.RED)? +\S*test_commands\.Colour(\(1\)|\.RED)", out)
    assert re.search(r"weights +float64 +5 +40 B +a\.u\. +\[0 1 2 3 4\]", out)
    found = json.loads(output(capsys, "show", "--json", first_of(folder)))
    assert found["fields"]["weights"] == {"array": [5], "dtype": "float64", "size_bytes": 40}
    assert found["fields"]["run"] == 0
    assert len(json.loads(output(capsys, "show", "--json", path, path))) == 2


def test_show_tells_class_and_units_from_the_card(folder, capsys):
    """No class is imported: the card in the file has the units."""
    out = output(capsys, "show", first_of(folder))
    assert re.match(rf"\S+\n{re.escape(Shuffle.__module__)}:Shuffle, [\d.]+ k?B, pickle\n", out)
    assert re.search(r"weights +float64 +5 +40 B +a\.u\.", out)
    assert re.search(r"rate +float +Hz +30\.0", out)
    found = json.loads(output(capsys, "show", "--json", first_of(folder)))
    assert found["class"] == f"{Shuffle.__module__}:Shuffle"
    assert found["units"] == {"weights": "a.u.", "rate": "Hz"}
    assert "gzip\n" in output(capsys, "show", next(folder.glob("*.gz")))
    plain = folder / "of_others.pkl"
    plain.write_bytes(pickle.dumps({"rate": 30.0}))
    assert "Hz" not in output(capsys, "show", plain)
    assert json.loads(output(capsys, "show", "--json", plain))["class"] is None


def test_show_tells_version_and_descriptions_from_the_card(folder, capsys):
    """If the class has them."""
    card = card_of(ensure_persistence_class(Shuffle))._replace(version=3, descriptions={"rate": "of the camera"})
    path = folder / "cache-Shuffle-A00-s-#9.pkl"
    with open(path, "wb") as file:
        PickleCodec().for_class(card).encode({"animal": "A00", "session": "s", "run": 9, "rate": 30.0}, Written(file))
    out = output(capsys, "show", path)
    assert ":Shuffle, version 3, " in out
    assert re.search(r"rate +float +Hz +30\.0 +of the camera", out)
    found = json.loads(output(capsys, "show", "--json", path))
    assert (found["version"], found["descriptions"]) == (3, {"rate": "of the camera"})


class Like:
    """Has the attributes of what stands for values that were not read, with other meanings."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    @property
    def broken(self):
        raise RuntimeError("closed")


class Closed(Like):
    shape = Like.broken


@pytest.mark.parametrize(
    "value",
    [
        Like(content=np.arange(3)),
        Like(fields=np.arange(3)),
        Like(type_name=3),
        Like(type_name="numpy.ndarray", size_bytes="many"),
        Like(shape=(), dtype="f8", to_array=1),
        Like(shape=(2,), dtype="f8", to_array=1),
        Closed(),
    ],
    ids=lambda value: " ".join(vars(value)) or "closed",
)
def test_objects_with_names_of_ours_are_shown_and_compared(tmp_path, capsys, value):
    """Users' classes may use any name; so may tables for their columns."""
    for i, name in enumerate(("a.pkl", "b.pkl")):
        (tmp_path / name).write_bytes(pickle.dumps({"x": value, "y": i, "z": {"inside": [value, np.zeros(2)]}}))
    a, b = tmp_path / "a.pkl", tmp_path / "b.pkl"
    assert re.search(r"x +(Like|Closed|f8) ", output(capsys, "show", "--trust", a))
    assert set(json.loads(output(capsys, "show", "--trust", "--json", a))["fields"]) == {"x", "y", "z"}
    assert "y" in output(capsys, "diff", "--trust", a, b, status=1)


def test_tables_of_pandas_are_shown_and_compared(tmp_path, capsys):
    """Also categories, whose dtype is none of numpy's."""
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"fields": [1, 2], "content": [3, 4], "dtype": [1, 1]})
    for name, last in (("a.pkl", "b"), ("b.pkl", "c")):
        fields = {"table": table, "kinds": pandas.Categorical(["a", last])}
        (tmp_path / name).write_bytes(pickle.dumps(fields))
    a, b = tmp_path / "a.pkl", tmp_path / "b.pkl"
    assert "table" in output(capsys, "show", "--trust", a)
    assert output(capsys, "diff", "--trust", a, a) == "no differences\n"
    assert "kinds" in output(capsys, "diff", "--trust", a, b, status=1)


class Written:
    """A file as a codec writes to it."""

    def __init__(self, file):
        self.write = file.write

    def reserve(self, size_bytes):
        pass


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_only_trust_runs_code_of_a_file(folder, capsys, tmp_path):
    """No command runs code from a file without ``--trust``."""
    touched = tmp_path / "touched"
    path = folder / "cache-Shuffle-A00-in-doubt-#0.pkl"  # its name does not show its keys, so it is opened
    path.write_bytes(pickle.dumps({"animal": "A00", "weights": Touch(touched)}))
    for line in ("ls {f}", "ls {f} --json", "show {p}", "show --json {p}", "verify {f}", "du {f} --by animal", "diff {p} {p}",
                 "rm {f} --all -n", "convert {p} --to gzip --keep", f"ls {{f}} --class {__file__}:Shuffle",
                 f"verify {{f}} --class {__file__}:Shuffle", f"ls {{f}} --class {__file__}:Shuffle rate=3", f"rm {{f}} animal=A00 --class {__file__}:Shuffle -n"):  # fmt: skip
        main(line.format(f=folder, p=path).split())
    assert not touched.exists()
    assert "posix.system" in capsys.readouterr().out
    output(capsys, "show", "--trust", path)
    assert touched.exists()


def test_control_characters_are_escaped(folder, capsys):
    """In values, names, and errors."""
    path = folder / "cache-Shuffle-\x1b[31m-\x07.pkl"
    path.write_bytes(pickle.dumps({"animal": "\x1b]0;title\x07", "b\x1b[2J": "\u202ereversed"}))
    out = output(capsys, "ls", folder) + output(capsys, "show", path) + output(capsys, "du", folder, "--by", "animal")
    out += (
        output(capsys, "ls", folder, "--csv")
        + output(capsys, "rm", path, "-n")
        + output(capsys, "ls", folder, "--json")
    )
    path.write_bytes(b"junk")
    out += refusal(capsys, "show", path) + refusal(capsys, "show", "\x1b[31m")
    for words in (["show", "-\x1b[31m\n"], ["\x1b[31m"], ["ls", "--limit", "\x1b"], ["run", "\x1b", "--share", "\x1b"]):
        try:  # a shell passes names of files so
            main(words)
        except SystemExit as error:
            assert error.code == 2
        out += capsys.readouterr().err.replace("\n", " ", 9)
    assert not set(out) & {"\x1b", "\x07", "\u202e"}
    assert r"\x1b[31m" in out


# ------------------------------------------------------------------------------------------ verify, du


def test_verify_has_an_exit_status(folder, capsys):
    """1 if a file is damaged; each damaged file is named, with the reason."""
    assert re.fullmatch(r"6 files, [\d.]+ kB: 6 intact, 0 damaged\n", output(capsys, "verify", folder))
    assert output(capsys, "verify", "-q", folder) == ""
    content = bytearray(Path(first_of(folder)).read_bytes())
    content[30] ^= 1
    Path(first_of(folder)).write_bytes(content)
    out = output(capsys, "verify", folder, status=1)
    assert "checksum" in out
    assert out.count(first_of(folder)) == 1
    assert "5 intact, 1 damaged" in out
    assert output(capsys, "verify", "-q", folder, status=1).count("\n") == 1
    found = json.loads(output(capsys, "verify", folder, "--json", status=1))
    assert [row["path"] for row in found["damaged"]] == [first_of(folder)]
    Path(first_of(folder)).write_bytes(pickle.dumps({"a": 1}))
    assert "no checksum in 1 file of another program" in output(capsys, "verify", first_of(folder))


def test_verify_finds_files_under_another_name(folder, capsys):
    """Renamed, copied, or exchanged files."""
    handler = many(folder.parent / "many")
    output(capsys, "verify", "many")
    names = sorted(os.listdir("many"))
    shutil.copy(f"many/{names[0]}", "many/cache-Shuffle-A0-2023-01-03-#11.pkl")  # "11" ends in "1", too
    shutil.copy(f"many/{names[0]}", "many/cache-Shuffle-B0-2023-01-03-#0.pkl")
    os.rename(f"many/{names[1]}", "many/x")
    os.rename(f"many/{names[30]}", f"many/{names[1]}")
    os.rename("many/x", f"many/{names[30]}")
    expected = sorted(
        ["cache-Shuffle-A0-2023-01-03-#11.pkl", "cache-Shuffle-B0-2023-01-03-#0.pkl", names[1], names[30]]
    )
    for options in ([], ["--class", f"{__file__}:Shuffle"]):
        found = json.loads(output(capsys, "verify", "many", "--json", *options, status=1))
        assert sorted(os.path.basename(row["path"]) for row in found["misnamed"]) == expected
        assert found["damaged"] == found["names_not_compared"] == []
    assert expected == sorted(check.path.name for check in handler.verify() if check.problem)
    out = output(capsys, "verify", "many", status=1)
    assert "62 intact, 0 damaged, 4 misnamed" in out
    assert "renamed or copied" in out
    assert output(capsys, "verify", "-q", "many", status=1).count("\n") == 4
    assert "1 misnamed" in output(capsys, "verify", "many/" + expected[0], "many/" + names[5], status=1)


def test_the_name_of_a_single_file_is_checked(folder, capsys):
    """Its card says how the name is made, so no other file is needed."""
    many(folder.parent / "many")
    alone = folder.parent / "many" / "cache-Shuffle-A1-2023-01-03-#7.pkl"
    assert "1 intact, 0 damaged\n" in output(capsys, "verify", alone)
    alone = alone.replace(folder.parent / "cache-Shuffle-A9-2023-01-03-#7.pkl")
    for options in ([], ["--class", f"{__file__}:Shuffle"]):
        assert "renamed" in output(capsys, "verify", alone, *options, status=1)
    bare = alone.replace(folder.parent / "cache-Shuffle-A9-2023-01-03-#7")
    assert "renamed" in output(capsys, "verify", bare, status=1)
    chosen = bare.replace(folder.parent / "my best.pkl")
    assert json.loads(output(capsys, "verify", chosen, "--json"))["names_not_compared"] == [str(chosen)]


def test_names_of_any_values_are_those_of_the_keys(tmp_path, capsys, monkeypatch):
    """Texts of sets, numbers of numpy and accents are made as in all names, and encoded where the class does that."""
    tagged = PickleHandler(Tagged, tmp_path)
    tagged.save_persistence(Tagged(frozenset({"a", "b", "c", "delta"}), "e\u0301x", (np.float64(0.1),)))
    timed = PickleHandler(Timed, tmp_path)
    timed.save_all(Timed(f"12:{minute:02}") for minute in range(60))
    status, out, _ = run(capsys, "verify", str(tmp_path))
    assert (status, "misnamed" in out) == (0, False)
    for opened in (100, 10):  # else the keys are read from names
        monkeypatch.setattr(entries, "_MANY", opened)
        (found,) = json.loads(run(capsys, "ls", "--json", str(tmp_path), "at=12:30")[1])
        assert (found["keys"], found.get("problem")) == ({"at": "12:30"}, None)


def test_verify_says_which_names_it_could_not_compare(folder, capsys):
    """Key texts made by a function of the class, objects of other classes, files of other programs."""

    @persistence_class
    class Rounded:
        animal: str = field(filename=True)
        speed: float = field(filename=lambda value: f"v{value:.0f}")
        run: int = field(filename=True, filename_prefix="#")

    for i in range(20):
        PickleHandler(Rounded, folder.parent / "rounded").save_persistence(Rounded("A0", i / 3, i))
    found = json.loads(output(capsys, "verify", "rounded", "--json"))
    assert len(found["names_not_compared"]) == 20

    @persistence_class
    class Coloured:
        colour: Colour = field(filename=True)

    PickleHandler(Coloured, folder.parent / "coloured").save_persistence(Coloured(Colour.RED))
    assert "could not check 1 file name" in output(capsys, "verify", "coloured")
    (folder.parent / "coloured" / "cache-Upstream-A00.pkl").write_bytes(pickle.dumps({"animal": "A00"}))
    (folder.parent / "coloured" / "model.pkl").write_bytes(pickle.dumps({"animal": "A00"}))
    found = json.loads(output(capsys, "verify", "coloured", "--json"))
    assert [os.path.basename(path) for path in found["names_not_compared"]] == [
        "cache-Coloured-Colour.RED.pkl",
        "cache-Upstream-A00.pkl",
    ]


@persistence_class
class Optional:
    animal: str = field(filename=True)
    part: Any = field(filename=lambda value: None if value is None else f"part{value}")
    run: int = field(filename=lambda value: f"{value:03d}")


def test_names_with_omitted_or_padded_keys_are_not_called_misnamed(folder, capsys):
    """Names of a class whose name begins with that of another class are not called misnamed either."""
    longer = persistence_class(name="Shuffle-old")(type("Old", (Shuffle,), {}))
    many(folder.parent / "many")
    for i in range(40):
        PickleHandler(Optional, folder.parent / "many").save_persistence(
            Optional("A0", 7 if i % 9 == 3 else None, i * 30)
        )
        result = longer(f"A{i % 3}", "s", i // 3)
        PickleHandler(longer, folder.parent / "many").save_persistence(result)
    found = json.loads(output(capsys, "verify", "many", "--json"))
    assert found["misnamed"] == []
    assert all("old" in path or "Optional" in path for path in found["names_not_compared"])


def test_du_adds_up(folder, capsys):
    """By class and by the values of keys."""
    rows = json.loads(output(capsys, "du", folder, "--json"))
    assert {row["class"]: row["results"] for row in rows} == {"Shuffle": 4, "tuning": 2}
    assert sum(row["size_bytes"] for row in rows) == sum(path.stat().st_size for path in folder.iterdir())
    rows = list(csv.DictReader(io.StringIO(output(capsys, "du", folder, "--by", "animal", "--csv"))))
    assert {(row["class"], row["animal"]): row["results"] for row in rows} == {
        ("Shuffle", "A00"): "3", ("Shuffle", "A-1"): "1", ("tuning", ""): "2",
    }  # fmt: skip
    assert "share" in output(capsys, "du", folder)
    assert "available fields: animal" in refusal(capsys, "du", folder, "--by", "nosuch")


# ------------------------------------------------------------------------------------------ rm


def test_rm_removes_what_was_chosen_and_nothing_else(folder, capsys, monkeypatch):
    """After a question, or with ``--yes``."""
    before = sorted(folder.iterdir())
    assert "would remove 3 files" in output(capsys, "rm", folder, "animal=A00", "--dry-run")
    assert "--all" in refusal(capsys, "rm", folder, "--yes")
    assert "--yes" in refusal(capsys, "rm", folder, "animal=A00")
    assert "no result to remove" in output(capsys, "rm", folder, "animal=B", "--yes")
    assert sorted(folder.iterdir()) == before
    assert "removed 3 files" in output(capsys, "rm", folder, "animal=A00", "--yes")
    assert [path for path in before if "A00" not in path.name] == sorted(folder.iterdir())
    (folder / "model.pkl").write_bytes(pickle.dumps([1]))
    (folder / "cache-Shuffle-x.pkl").write_bytes(b"junk")
    assert "removed 3 files" in output(capsys, "rm", folder, "--all", "-y")
    assert sorted(path.name for path in folder.iterdir()) == ["cache-Shuffle-x.pkl", "model.pkl"]
    assert "removed 1 file" in output(capsys, "rm", folder / "cache-Shuffle-x.pkl", "-y")
    assert "no such file or folder" in refusal(capsys, "rm", folder / "nosuch.pkl", "-y")
    assert "needs a file or folder" in refusal(capsys, "rm", "animal=A00")


@pytest.mark.parametrize("given", ["here", "path"])
def test_rm_removes_nothing_where_links_lead(tmp_path, monkeypatch, capsys, given):
    """Whoever can write into the folder may put a link to other results there, also while rm asks whether to remove them."""
    shared, own = tmp_path / "shared", tmp_path / "own"
    for place in (shared / "below", own, tmp_path / "own.sqlar"):
        PickleHandler(Pair, place).save_persistence(filled(Pair(1, 2), data=1))
    (shared / "linked.sqlar").symlink_to(tmp_path / "own.sqlar")
    (shared / "linked").symlink_to(own)

    def put_link(*_):
        (shared / "below").rename(tmp_path / "moved")
        (shared / "below").symlink_to(own)
        return True

    monkeypatch.setattr(keeping, "confirmed", put_link)
    monkeypatch.chdir(shared)
    assert main(["rm", "-r", "--all", "." if given == "here" else str(shared)]) == 1
    assert "below" in capsys.readouterr().err
    for place in (own, tmp_path / "own.sqlar", tmp_path / "moved"):
        assert len(PickleHandler(Pair, place).find()) == 1
    (shared / "below").unlink()
    (tmp_path / "moved").rename(shared / "below")
    monkeypatch.setattr(keeping, "confirmed", lambda *_: True)
    assert main(["rm", "-r", "--all", "." if given == "here" else str(shared)]) == 0
    assert os.listdir(shared / "below") == []
    assert len(PickleHandler(Pair, tmp_path / "own.sqlar").find()) == 1


def test_rm_refuses_what_is_no_result_without_force(folder, capsys):
    """As in ``rm -y folder/*``: then nothing is removed at all."""
    notes = folder / "notes.txt"
    notes.write_text("dear diary")
    (folder / "model.pkl").write_bytes(pickle.dumps({"a": 1}))
    before = sorted(folder.iterdir())
    err = refusal(capsys, "rm", "-y", *before)
    assert "not a result: " in err
    assert "model.pkl and 1 more; nothing was removed" in err
    assert "--force" in err
    assert sorted(folder.iterdir()) == before
    assert "removed 1 file" in output(capsys, "rm", "-y", "--force", notes)
    assert not notes.exists()


def test_rm_keeps_what_is_saved_anew_while_it_asks(folder, capsys, monkeypatch):
    """In a folder as in an archive; also in a folder inside, which is opened for that."""
    inside = folder / "inside"
    PickleHandler(Shuffle, inside).save_persistence(Shuffle("A00", "s"))

    def saving(*_):
        for place, session in ((folder, "2023-01-02"), (inside, "s")):
            PickleHandler(Shuffle, place).save_persistence(Shuffle("A00", session, 0))
        return True

    monkeypatch.setattr(keeping, "confirmed", saving)
    status, out, err = run(capsys, "rm", "-r", folder, "animal=A00")
    assert (status, err.count("was just replaced; the new result was not removed")) == (1, 2)
    assert "removed 2 files; 2 failed" in out
    assert sorted(path.name for path in folder.rglob("*A00*")) == [
        "cache-Shuffle-A00-2023-01-02-#0.pkl",
        "cache-Shuffle-A00-s-#0.pkl",
    ]


# ------------------------------------------------------------------------------------------ convert


def values():
    readonly = np.arange(70_000)
    readonly.flags.writeable = False
    return {
        "large": np.arange(80_000.0),
        "fortran": np.asfortranarray(np.ones((300, 400))),
        "limit": np.zeros(1 << 16, "u1"),
        "readonly": readonly,
        "strided": np.arange(200_000)[::2],
        "dates": np.arange(20_000).astype("M8[s]"),
        "bytes": b"x" * 100_000,
        "bytearray": bytearray(b"y" * 100_000),
        "text": "z" * 100_000,
        "small": np.arange(3),
        "class": np.ndarray,
        "trap": [np.ndarray, (3,), "|u1", b"w" * 100_000],
    }


def test_convert_there_and_back_gives_the_same_bytes(tmp_path):
    """The file is the one that was saved, with arrays that can be mapped. The compressed file holds the same pickle."""
    result = Tuning((1, 2))
    result.table = values()
    plain = PickleHandler(Tuning, tmp_path).save_persistence(result) and PickleHandler(Tuning, tmp_path).filepath(
        result
    )
    before, status = plain.read_bytes(), plain.stat()
    packed = tmp_path / f"{plain.name}.gz"
    os.chmod(plain, 0o640)
    os.utime(plain, ns=(10**18, 10**18))
    convert_file(str(plain), str(packed), compression=GZIP, level=1)
    assert not plain.exists()
    assert packed.stat().st_mtime_ns == 10**18
    assert os.name == "nt" or packed.stat().st_mode & 0o777 == 0o640
    assert results_equal(load(Tuning, packed), result)
    GzipHandler(Tuning, tmp_path / "own").save_persistence(result)
    own = GzipHandler(Tuning, tmp_path / "own").filepath(result)
    assert gzip.decompress(own.read_bytes()) == gzip.decompress(packed.read_bytes())
    convert_file(str(packed), str(plain), compression=None)
    assert plain.read_bytes() == before
    assert plain.stat().st_size == status.st_size
    mapped = load(Tuning, plain, mmap_mode="r").table
    assert not mapped["large"].flags.owndata
    assert type(mapped["trap"][3]) is bytes


@pytest.mark.parametrize("large", [False, True])
def test_convert_writes_every_compression_from_every_other(tmp_path, large, monkeypatch, capsys):
    """The content is the same to the byte."""
    pytest.importorskip("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    monkeypatch.chdir(tmp_path)
    result = Tuning((1, 2))
    result.table = values() if large else {"a": 1}
    PickleHandler(Tuning, tmp_path).save_persistence(result)
    path = PickleHandler(Tuning, tmp_path).filepath(result)
    before = path.read_bytes()
    endings = {"plain": "", "gzip": ".gz", "zstd": ".zst"}
    for kind in ("gzip", "zstd", "gzip", "plain", "zstd", "plain"):
        assert "converted 1 file\n" in output(capsys, "convert", ".", "--all", "--to", kind)
        there = Path(f"{path}{endings[kind]}")
        assert sorted(tmp_path.iterdir()) == [there]
        assert results_equal(load(Tuning, there), result)
        assert not there.read_bytes().startswith(b"\x80") or kind == "plain"
    assert path.read_bytes() == before
    for words in (
        ["zstd", "--level", "0"],
        ["zstd", "--level", "23"],
        ["gzip", "--level", "10"],
        ["plain", "--level", "1"],
    ):
        assert "no such level" in refusal(capsys, "convert", path, "--to", *words)
    assert "converted 1 file" in output(capsys, "convert", path, "--to", "zstd", "--level", "9" if large else "22")


def test_permissions_and_times_are_set_before_the_file_has_its_name(tmp_path, monkeypatch):
    """If its place is taken by a link meanwhile, the link is not followed, and its target stays unchanged."""
    result = Tuning((1, 2))
    result.table = {"a": np.arange(100_000)}
    PickleHandler(Tuning, tmp_path).save_persistence(result)
    path = PickleHandler(Tuning, tmp_path).filepath(result)
    os.chmod(path, 0o666)
    victim = tmp_path / "victim"
    victim.write_bytes(b"of another user")
    os.chmod(victim, 0o600)
    status = victim.stat()
    publish = FolderDraft.publish_new

    def swapped(draft, name):
        publish(draft, name)
        found = os.stat(tmp_path / name)
        assert os.name == "nt" or found.st_mode & 0o777 == 0o666
        assert found.st_mtime_ns == path.stat().st_mtime_ns
        os.unlink(tmp_path / name)
        os.symlink(victim, tmp_path / name)

    monkeypatch.setattr(FolderDraft, "publish_new", swapped)
    with pytest.raises(CorruptResultError, match="not what was read"):
        convert_file(str(path), f"{path}.gz", compression=GZIP)
    assert (victim.stat().st_mode, victim.stat().st_mtime_ns) == (status.st_mode, status.st_mtime_ns)
    assert sorted(tmp_path.iterdir()) == sorted([path, victim])


@pytest.mark.parametrize("unnamed", [False, True])
def test_permissions_and_times_stay_without_files_that_have_no_name(tmp_path, monkeypatch, unnamed):
    """If the file system has no such files, or can't link them."""
    result = Tuning((1, 2))
    result.table = {"a": np.arange(100_000)}
    PickleHandler(Tuning, tmp_path).save_persistence(result)
    path = PickleHandler(Tuning, tmp_path).filepath(result)
    os.chmod(path, 0o640)
    os.utime(path, ns=(10**18, 10**18))
    if unnamed:
        monkeypatch.setattr(FolderDraft, "_linked", lambda draft, path: False)
    else:
        monkeypatch.setattr(system, "open_unnamed", lambda folder: None)
        monkeypatch.setattr(system, "write_unnamed", lambda folder, data: None)
    convert_file(str(path), f"{path}.gz", compression=GZIP)
    found = os.stat(f"{path}.gz")
    assert (found.st_mtime_ns, os.name == "nt" or found.st_mode & 0o777 == 0o640) == (10**18, True)


def test_a_result_that_is_saved_anew_meanwhile_is_not_removed(tmp_path, monkeypatch):
    """``convert`` leaves the new file beside its copy of the former one."""
    result = Tuning((1, 2))
    result.table = {"a": 1}
    handler = PickleHandler(Tuning, tmp_path)
    handler.save_persistence(result)
    path = handler.filepath(result)
    sum_of = conversion._sum_of

    def saving(target):
        result.table = {"a": 2}
        handler.save_persistence(result)
        return sum_of(target)

    monkeypatch.setattr(conversion, "_sum_of", saving)
    with pytest.raises(OSError, match="was replaced meanwhile"):
        convert_file(str(path), f"{path}.gz", compression=GZIP)
    assert load(Tuning, path).table == {"a": 2}


@pytest.mark.parametrize("protocol", range(6))
def test_files_of_others_are_converted_as_they_are(tmp_path, protocol):
    """Pickles of every protocol, byte for byte."""
    fields = {"sftf": (1, 2), "table": {key: value for key, value in values().items() if key != "trap"}}
    path = tmp_path / "cache_tuning_sftf(1, 2).pkl"
    path.write_bytes(pickle.dumps(fields, protocol))
    before = path.read_bytes()
    expected = load(Tuning, path)
    for compress in (True, False):
        target = tmp_path / f"{path.name}.gz" if compress else path
        source = path if compress else tmp_path / f"{path.name}.gz"
        convert_file(str(source), str(target), compression=GZIP if compress else None)
        found = load(Tuning, target)
        assert results_equal(found, expected)
        for key, value in found.table.items():
            assert type(value) is type(expected.table[key])
            assert getattr(value, "dtype", None) == getattr(expected.table[key], "dtype", None)
    assert path.read_bytes() == before


def test_convert_never_loses_a_result(tmp_path, monkeypatch):
    """If the source is damaged, the target exists, or the copy turns out wrong, the source stays."""
    result = Tuning((1, 2))
    result.table = {"a": np.arange(10)}
    PickleHandler(Tuning, tmp_path).save_persistence(result)
    path = PickleHandler(Tuning, tmp_path).filepath(result)
    packed = Path(f"{path}.gz")
    good = path.read_bytes()
    path.write_bytes(good[:50] + b"!" + good[51:])
    with pytest.raises(CorruptResultError):
        convert_file(str(path), str(packed), compression=GZIP)
    path.write_bytes(good)
    packed.write_bytes(b"of another user")
    with pytest.raises(FileExistsError):
        convert_file(str(path), str(packed), compression=GZIP)
    assert packed.read_bytes() == b"of another user"
    packed.unlink()
    monkeypatch.setattr(conversion, "_sum_of", lambda path: (0, 0))
    with pytest.raises(CorruptResultError, match="not what was read"):
        convert_file(str(path), str(packed), compression=GZIP)
    monkeypatch.undo()
    assert sorted(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == good
    if hasattr(os, "symlink"):
        os.symlink(path, tmp_path / "link.pkl")
        with pytest.raises(OSError, match="is a link"):
            convert_file(str(tmp_path / "link.pkl"), f"{tmp_path}/link.pkl.gz", compression=GZIP)


def test_convert_from_the_command_line(folder, capsys):
    """In both directions, for results chosen by conditions; ``--keep`` keeps the source."""
    assert "converted 3 files" in output(capsys, "convert", folder, "animal=A00", "--to", "gzip")
    assert sum(path.name.endswith(".gz") for path in folder.iterdir()) == 5
    assert "converted 1 file" in output(capsys, "convert", f"{first_of(folder)}.gz", "--to", "plain", "--keep")
    assert {Path(first_of(folder)), Path(f"{first_of(folder)}.gz")} <= set(folder.iterdir())
    status, out, err = run(capsys, "convert", first_of(folder), "--to", "gzip", "--level", "9")
    assert status == 1
    assert "exists already; nothing was changed" in err
    assert "no result to convert" in output(capsys, "convert", f"{first_of(folder)}.gz", "--to", "gzip")
    assert "--level" in refusal(capsys, "convert", folder, "--all", "--to", "plain", "--level", "3")
    (folder / "model.pkl").write_bytes(pickle.dumps([1]))
    output(capsys, "convert", folder, "animal=A-1", "--to", "gzip")
    assert (folder / "model.pkl").exists()
    assert load(Shuffle, folder / "cache-Shuffle-A-1-2023-01-02-#0.pkl.gz").rate == 30.0


# ------------------------------------------------------------------------------------------ diff


def test_diff_tells_fields_and_distances(folder, capsys):
    """For arrays, the largest difference. The exit status is 0 only if there is none."""
    a, b = first_of(folder), first_of(folder).replace("#0", "#2")
    assert output(capsys, "diff", a, a) == "no differences\n"
    out = output(capsys, "diff", a, b, status=1)
    assert re.search(r"run +values +0 +2", out)
    assert re.search(r"weights +max \|a-b\| 2, 5 of 5 differ", out)
    found = json.loads(output(capsys, "diff", "--json", a, b, status=1))["differences"]
    assert found[1]["max_abs"] == 2
    assert "is a folder" in refusal(capsys, "diff", a, folder)


def difference_of(capsys, tmp_path, a, b):
    for name, fields in (("a.pkl", a), ("b.pkl", b)):
        (tmp_path / name).write_bytes(pickle.dumps(fields))
    words = ["diff", "--json", str(tmp_path / "a.pkl"), str(tmp_path / "b.pkl")]
    status = main(words)
    found = json.loads(capsys.readouterr().out)
    main([word for word in words if word != "--json"])
    capsys.readouterr()
    assert status == bool(found["differences"])
    return found


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), None),
        (np.array([1.0, np.nan]), np.array([1.0, 2.0]), {"max_abs": "inf", "count": 1, "of": 2}),
        (np.zeros(3), np.zeros(4), {"kind": "shape"}),
        (np.zeros(3), np.zeros(3, int), {"kind": "dtype"}),
        (np.array([0, 255], "u1"), np.array([1, 0], "u1"), {"max_abs": 255, "count": 2}),
        (np.array([True, False]), np.array([True, True]), {"max_abs": 1, "count": 1}),
        (np.array([1j]), np.array([1.0 + 0j]), {"count": 1}),
        (np.array(["a", "b"]), np.array(["a", "c"]), {"count": 1, "of": 2}),
        (np.array([None, 1], object), np.array([None, 2], object), {"count": 1}),
        (np.arange(2_000_000.0), np.arange(2_000_000.0) + (np.arange(2_000_000) == 1_999_999), {"max_abs": 1, "count": 1}),
        ({"x": [1, np.zeros(2)]}, {"x": [1, np.zeros(2)]}, None),
        ({"x": [1, np.zeros(2)]}, {"x": [1, np.ones(2)]}, {"kind": "values"}),
        (1, 1.0, None),
        (Colour.RED, Colour.RED, None),
        (Colour.RED, None, {"kind": "values"}),
    ],
    ids=str,
)  # fmt: skip
def test_differences(capsys, tmp_path, a, b, expected):
    """Values of each kind, without trust."""
    found = difference_of(capsys, tmp_path, {"x": a, "y": 1}, {"x": b, "y": 1})["differences"]
    if expected is None:
        assert found == []
    else:
        assert expected.items() <= found[0].items()


def test_diff_without_trust_says_what_it_leaves_out(capsys, tmp_path):
    """Large arrays beside objects of classes that it does not load."""
    fields = {"a": np.zeros(100_000), "b": Colour.RED}
    found = difference_of(capsys, tmp_path, fields, {**fields, "c": 1})
    assert [row["kind"] for row in found["differences"]] == ["not compared", "only in b"]
    assert "--trust" in found["notes"][0]
    assert main(["diff", "--trust", str(tmp_path / "a.pkl"), str(tmp_path / "a.pkl")]) == 0


# ------------------------------------------------------------------------------------------ as a person would


def test_wrong_use_is_a_one_line_error(folder, capsys):
    """It says what is wrong and what to do; the exit status is 2."""
    assert "'nosuch': no such file or folder" in refusal(capsys, "ls", "nosuch")
    assert "neither an existing file nor key=value" in refusal(capsys, "ls", folder, "a-b=1")
    assert "is a folder" in refusal(capsys, "show", folder)
    assert "is a file" in refusal(capsys, "ls", first_of(folder))
    assert "invalid choice: 'frobnicate'" in refusal(capsys, "frobnicate")
    assert "not a number" in refusal(capsys, "ls", folder, "--limit", "-1")
    assert "not animal=" in refusal(capsys, "verify", folder, "animal=A00")
    assert main([]) == 2
    assert "usage:" in capsys.readouterr().out


def test_help_has_examples_that_work(folder, capsys):
    """The examples of each command parse."""
    made = parser()
    commands = next(action.choices for action in made._actions if isinstance(action.choices, dict))
    count = 0
    for name, command in commands.items():
        text = command.format_help()
        assert "examples:" in text
        for line in text.split("examples:")[1].splitlines():
            match = re.match(r"  neuralib-persistence (.*?)( +#.*| > .*| && .*)?$", line)
            if match:
                assert made.parse_args(shlex.split(re.sub(r"  +#.*", "", match[1]))).command == name
                count += 1
    assert count > 12


def test_the_command_imports_nothing_heavy():
    """So that ``--help`` takes at most a tenth of a second."""
    code = "import sys; from neuralib.persistence._commands.entry import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "heavy = {'numpy', 'rich', 'json', 'csv', 'zlib_ng', 'asyncio', 'multiprocessing', 'importlib.metadata'}\n"
    code += "print(sorted(heavy & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_command_runs_as_a_module_and_by_its_name(folder):
    """Both print the same version."""
    done = process("--version")
    assert re.fullmatch(r"neuralib-persistence \d.*\n", done.stdout)
    script = Path(sys.executable).parent / "neuralib-persistence"
    if script.exists():
        assert subprocess.run([script, "--version"], capture_output=True, text=True, check=True).stdout == done.stdout
    assert process("ls", folder).stdout.startswith("Shuffle  4 results")
    assert process("ls", "nosuch", cwd=folder).returncode == 2


def test_a_closed_output_is_no_error(folder):
    """As in ``| head``: nothing is printed to stderr."""
    if os.name == "nt":
        pytest.skip("no broken pipes of this kind")
    code = f"{sys.executable} -m neuralib.persistence ls --json {f'{folder} ' * 200} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "[\n141\n"
    assert done.stderr == ""


def test_names_that_cannot_be_encoded_are_shown(folder):
    """A terminal that knows ASCII only shows them with escapes."""
    if sys.platform in {"win32", "darwin"}:
        pytest.skip("the file system wants text")
    os.rename(first_of(folder), os.fsencode(folder) + b"/cache-Shuffle-\xff-\xc3\xa9.pkl")
    done = process("ls", folder, env={**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C.UTF-8"})
    assert done.returncode == 0
    assert r"cache-Shuffle-\udcff-\xe9.pkl" in done.stdout


def in_terminal(*words, columns=80, answer=None, env=None, interrupt=None):
    """Run the command in a terminal of its own; return what it shows and its exit status."""
    pty = pytest.importorskip("pty")
    import fcntl
    import struct
    import termios

    clean = {
        key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"}
    }
    pid, fd = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell lets background jobs ignore it
        os.execve(
            sys.executable, [sys.executable, "-m", "neuralib.persistence", *map(str, words)],
            {**clean, "TERM": "xterm", **(env or {})},
        )  # fmt: skip
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    shown, typed = b"", b""
    deadline = time.monotonic() + 120
    while True:
        # A signal right before the process waits for input has no effect until another one comes.
        while time.monotonic() < deadline and not select.select([fd], [], [], 5)[0]:
            if typed:
                os.write(fd, typed)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            pytest.fail(f"it goes on after two minutes, and showed {shown!r}")
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
        if answer is not None and shown.endswith(b"[y/N] "):
            os.write(fd, answer)
            answer, typed = None, answer
        if interrupt is not None and interrupt in shown:
            os.kill(pid, signal.SIGINT)
            interrupt = None
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    return shown.decode().replace("\r\n", "\n"), os.waitstatus_to_exitcode(status)


class Terminal(io.StringIO):
    """A text buffer that says that it is a terminal."""

    def isatty(self):
        return True


def on_terminal(monkeypatch, *words, answer="", **environment):
    """Run the command in this process with a terminal; return what it shows and its exit status."""
    shown = Terminal()
    with monkeypatch.context() as patch:
        for name, value in {"TERM": "xterm", **environment}.items():
            patch.setenv(name, value)
        patch.setattr(sys, "stdin", Terminal(answer))
        patch.setattr(sys, "stdout", shown)
        patch.setattr(sys, "stderr", shown)
        status = main([str(word) for word in words])
    return shown.getvalue(), status


def without_colours(text):
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_a_terminal_gets_colours_and_its_width(folder, monkeypatch, capsys):
    """No line is longer than the terminal is wide. NO_COLOR, FORCE_COLOR and --color are respected."""
    out, status = in_terminal("ls", folder, columns=30)
    assert status == 0
    assert "\x1b[" in out
    assert max(len(line) for line in without_colours(out).splitlines() if "cache" in line) <= 30
    for columns in (40, 72):
        out, status = on_terminal(monkeypatch, "ls", folder, COLUMNS=str(columns))
        assert status == 0
        assert "\x1b[" in out
        plain = without_colours(out)
        assert all(len(text) <= columns for text in plain.splitlines() if not text.startswith(("Shuffle", "tuning")))
        assert "…" in plain
        assert "A00" in plain
        assert "animal" in plain
        assert ("saved" in plain) == (columns > 40)
        shown = without_colours(on_terminal(monkeypatch, "show", first_of(folder), COLUMNS=str(columns))[0])
        lines = shown.splitlines()[2:]
        assert all(len(text) <= columns for text in lines)
        assert "animal" in shown
        assert "float64" in shown or "flo…64" in shown or "fl…64" in shown
    for words, environment in ((("ls", folder), {"NO_COLOR": "1"}), (("--color", "never", "ls", folder), {})):
        assert "\x1b[" not in on_terminal(monkeypatch, *words, **environment)[0]
    monkeypatch.setenv("COLUMNS", "20")
    piped = output(capsys, "ls", folder)
    assert "\x1b[" not in piped
    assert "cache-Shuffle-A00-2023-01-02-#0.pkl" in piped
    assert "\x1b[" in output(capsys, "--color", "always", "show", first_of(folder))
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in output(capsys, "ls", folder)


def test_rm_asks_in_a_terminal(folder, monkeypatch):
    """If the answer is no, nothing is removed."""
    before = sorted(folder.iterdir())
    for answer in ("n\n", "\n", "what?\n", ""):
        out, status = on_terminal(monkeypatch, "rm", folder, "animal=A00", answer=answer)
        assert status == 1
        assert "Remove 3 files" in out
        assert "nothing was changed" in out
    out, status = in_terminal("rm", folder, "animal=A00", answer=b"\x03")
    assert status == 130
    assert "Traceback" not in out
    assert sorted(folder.iterdir()) == before
    out, status = in_terminal("rm", folder, "animal=A00", answer=b"y\n")
    assert status == 0
    assert "removed 3 files" in out
    assert len(list(folder.iterdir())) == 3


def test_rich_and_plain_tables_say_the_same(folder, monkeypatch, capsys):
    """If rich is installed, it draws the tables."""
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", "200")
    out = output(capsys, "--color", "always", "ls", folder)
    assert "━" in out or "─" in out
    assert "cache-Shuffle-A00-2023-01-02-#0.pkl" in without_colours(out)


def test_a_large_folder_is_listed_in_the_order_of_its_keys(tmp_path, capsys):
    """Numbers are ordered by value."""
    handler = PickleHandler(Shuffle, tmp_path)

    def many():
        for i in range(350):
            result = Shuffle(f"A{i % 7}", "s")
            result.weights, result.rate = np.arange(4.0), 1.0
            yield result

    handler.save_all(many())
    found = json.loads(output(capsys, "ls", tmp_path, "--json"))
    assert len(found) == 350
    assert {row["keys"]["animal"] for row in found} == {f"A{i}" for i in range(7)}
    assert [row["keys"]["run"] for row in found if row["keys"]["animal"] == "A0"] == list(range(50))


def test_demo_runs(capfd):
    """It leaves nothing behind."""
    import tempfile

    before = set(os.listdir(tempfile.gettempdir()))
    assert main(["demo"]) == 0
    out = capfd.readouterr().out
    assert out.count("cache-Shuffle-A0") >= 9
    assert "6 intact, 0 damaged" in out
    assert not {name for name in set(os.listdir(tempfile.gettempdir())) - before if name.startswith("neuralib-demo-")}


def test_completion_works_in_a_shell(capsys):
    """In a real shell."""
    import shutil

    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    script = output(capsys, "completion", "bash")
    for words, expected in (
        (["neuralib-persistence", "ver"], "verify"),
        (["neuralib-persistence", "--color", "never", "ls", "--sum"], "--summary"),
        (["neuralib-persistence", "convert", "--le"], "--level"),
        (["neuralib-persistence", "completion", "z"], "zsh"),
    ):
        line = " ".join(f"'{word}'" for word in words)
        code = (
            f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _neuralib_persistence; echo ${{COMPREPLY[@]}}"
        )
        done = subprocess.run([bash, "--norc", "-c", code], capture_output=True, text=True, check=True)
        assert expected in done.stdout.split()
        assert done.stderr == ""
    assert "bashcompinit" in output(capsys, "completion", "zsh")


def test_csv_for_spreadsheets_has_no_formulas(tmp_path, capsys):
    """With ``--csv-safe``, texts that begin like formulas are escaped, and numbers stay numbers. ``--csv`` escapes nothing."""

    @persistence_class
    class Pair:
        a: str = field(filename=True)
        data: Any

    keys = ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "-1.5", "+7", "plain", " =x"]
    for key in keys:
        PickleHandler(Pair, tmp_path).save_persistence(Pair(key))
    expected = ["'=1+1", "'+cmd", "'-2+3", "'@SUM(A1)", "-1.5", "+7", "plain", "' =x"]
    for option, texts in (("--csv", keys), ("--csv-safe", expected)):
        assert main(["ls", option, str(tmp_path)]) == 0
        rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        assert sorted(row["a"] for row in rows) == sorted(texts)
        assert main(["du", option, "--by", "a", str(tmp_path)]) == 0
        rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        assert sorted(row["a"] for row in rows) == sorted(texts)
    with pytest.raises(SystemExit):
        main(["ls", "--csv", "--csv-safe", str(tmp_path)])


@pytest.mark.parametrize("place", ["folder", "results.sqlar"])
def test_ls_shows_very_many_while_they_are_read(tmp_path, monkeypatch, capsys, place):
    """Several tables, one for each part, and the sums at the end. Conditions apply, and unknown ones are refused."""
    results = [filled(Pair(a, b), data=1) for a in "xyz" for b in range(40)]
    PickleHandler(Pair, tmp_path / place).save_all(results)
    monkeypatch.setattr(entries, "_VERY_MANY", 100)
    monkeypatch.setattr(entries, "_FIRST_PART", 5)
    monkeypatch.setattr(entries, "_PART", 60)
    monkeypatch.setattr("neuralib.persistence._commands.listing.selected", None)  # which would read all names first
    assert main(["ls", str(tmp_path / place)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("Pair")][:-1] == ["Pair"] * 3
    assert sum(".pkl" in line for line in lines) == 120
    assert lines[-1].startswith("Pair  120 results, ")
    assert main(["ls", str(tmp_path / place), "a=y", "b=7"]) == 0
    assert sum("cache-Pair-y-7.pkl" in line for line in capsys.readouterr().out.splitlines()) == 1
    assert main(["ls", str(tmp_path / place), "colour=red"]) == 2
    assert "asks for a field that no result here has" in capsys.readouterr().err
