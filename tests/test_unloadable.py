"""A complete file that can't be loaded here is not damaged: it is reported, and never replaced or deleted automatically."""

from __future__ import annotations

import datetime
import gzip
import importlib
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import has_zstd

from neuralib.persistence import (
    CorruptResultError,
    GzipHandler,
    NameTakenError,
    PersistenceHandler,
    PickleHandler,
    UnloadableResultError,
    ZstdHandler,
    autoinc_field,
    field,
    load,
    missing,
    persistence_class,
    read_head,
)
from neuralib.persistence._codecs import framed_content, frames
from neuralib.persistence._commands.entry import main
from neuralib.persistence._packages import missing_here, package_of
from neuralib.persistence.cli_persistence import PersistenceOptions

KINDS = [PickleHandler, GzipHandler, pytest.param(ZstdHandler, marks=pytest.mark.skipif(not has_zstd(), reason="zstd"))]


@persistence_class
class Fitted:
    animal: str = field(validator=True, filename=True)
    plane: int = field(validator=True, default=0)
    weights: Any
    model: Any
    score: float


@persistence_class
class Run:
    animal: str = field(filename=True)
    number: int = autoinc_field()
    model: Any


class Fragile:
    """Raises :attr:`error` when it is unpickled."""

    error: BaseException | None = None

    def __setstate__(self, state):
        if Fragile.error is not None:
            raise Fragile.error

    def __getstate__(self):
        return {"parameters": [1, 2]}


class FragileBySlots(tuple):
    """Raises :attr:`Fragile.error` in the function that makes it, when it is unpickled."""

    def __new__(cls, *args):
        if Fragile.error is not None:
            raise Fragile.error
        return super().__new__(cls, *args)


class PanicException(BaseException):
    """As extensions in Rust raise it: no subclass of Exception."""


ERRORS = [
    ModuleNotFoundError("No module named 'gone'"),
    AttributeError("Can't get attribute 'Fit'"),
    TypeError("StringDtype.__init__() takes 1 argument"),
    ValueError("state is not a legacy MT19937 state"),
    KeyError("dtype"),
    RuntimeError("needs a GPU"),
    NotImplementedError("0.7"),
    RecursionError("maximum recursion depth exceeded"),
    EOFError("of a file inside"),
    FileNotFoundError(2, "No such file or directory", "/somewhere/model.bin"),
    pickle.UnpicklingError("of a pickle inside"),
    AssertionError(),
    UnicodeDecodeError("utf-8", b"x", 0, 1, "invalid"),
    type("OwnError", (Exception,), {"__module__": "models"})("of its own"),
    PanicException("called `Option::unwrap()` on a `None` value"),
]


@pytest.fixture(autouse=True)
def _mended():
    yield
    Fragile.error = None


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """An installed package with classes; ``lab.uninstall()`` removes it."""
    folder = tmp_path / "site"
    (folder / "labmodels").mkdir(parents=True)
    (folder / "labmodels" / "__init__.py").write_text("__version__ = '3.1'\n\n\nclass Model:\n    gain = 1\n")
    monkeypatch.syspath_prepend(str(folder))
    module = importlib.import_module("labmodels")

    def uninstall():
        del sys.modules["labmodels"]
        (folder / "labmodels" / "__init__.py").unlink()
        (folder / "labmodels").rename(folder / "removed")
        importlib.invalidate_caches()

    module.uninstall = uninstall
    yield module
    sys.modules.pop("labmodels", None)


def fitted(animal, model, n=3):
    result = Fitted(animal)
    result.weights, result.model, result.score = np.arange(float(n)), model, 0.5
    return result


def changes(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_any_exception_of_any_object_is_no_damage(tmp_path, error):
    """The error names the file, the field, the class, and the cause."""
    check_error(PickleHandler(Fitted, tmp_path), error, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [3, 20_000], ids=["small", "large"])
def test_it_is_no_damage_in_any_format(tmp_path, kind, n):
    """With and without large arrays."""
    check_error(kind(Fitted, tmp_path), TypeError("x"), n)


def check_error(handler, error, n):
    """Check the error for objects that raise *error*, beside an array of *n* numbers."""
    for model in (Fragile(), [{"deep": (FragileBySlots([1]), 2)}]):
        Fragile.error = None
        handler.save_persistence(fitted("A", model, n))
        before = changes(handler.save_root)
        Fragile.error = error
        for loading in (lambda: handler.load_persistence(Fitted("A")), lambda: handler.find()[0].load()):
            with pytest.raises(UnloadableResultError) as caught:
                loading()
            raised = caught.value
            assert raised.path == str(handler.filepath(Fitted("A")))
            assert raised.field == "model"
            assert raised.type_name.startswith(f"{__name__}.Fragile")
            assert raised.cause.startswith(type(error).__name__)
            assert raised.__cause__ is error
            assert raised.checksummed
            assert "is whole, but can't be loaded here" in str(raised)
            assert all(part in str(raised) for part in (raised.path, "model", raised.type_name, raised.cause))
        assert changes(handler.save_root) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), MemoryError()], ids=lambda error: repr(error))
def test_interrupts_and_memory_errors_pass_unchanged(tmp_path, error):
    """KeyboardInterrupt, SystemExit and MemoryError say nothing about the file."""
    handler = PickleHandler(Fitted, tmp_path)
    handler.save_persistence(fitted("A", Fragile()))
    Fragile.error = error
    with pytest.raises(type(error)):
        handler.load_persistence(Fitted("A"))


def test_mapped_results_raise_the_same_error(tmp_path):
    """Their arrays are not read."""
    PickleHandler(Fitted, tmp_path).save_persistence(fitted("A", Fragile(), 20_000))
    Fragile.error = TypeError("x")
    with pytest.raises(UnloadableResultError, match="of the field model: TypeError: x"):
        load(Fitted, tmp_path / "cache-Fitted-A.pkl", mmap_mode="r")


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_package_is_named(tmp_path, lab, kind):
    """The result loads again once it is installed."""
    folder = tmp_path / "results"
    handler = kind(Fitted, folder)
    handler.save_persistence(fitted("A", lab.Model()))
    lab.uninstall()
    with pytest.raises(UnloadableResultError, match="No module named 'labmodels'") as caught:
        handler.load_persistence(Fitted("A"))
    assert (caught.value.field, caught.value.type_name) == ("model", "labmodels.Model")
    assert isinstance(caught.value, ImportError)


def test_a_missing_class_is_named(tmp_path, lab, monkeypatch):
    """For example after it was renamed."""
    folder = tmp_path / "results"
    PickleHandler(Fitted, folder).save_persistence(fitted("A", lab.Model()))
    monkeypatch.delattr(lab, "Model")
    with pytest.raises(UnloadableResultError, match="labmodels.Model of the field model: AttributeError"):
        PickleHandler(Fitted, folder).load_persistence(Fitted("A"))


def test_a_damaged_file_with_such_an_object_is_damaged(tmp_path):
    """The checksum decides."""
    handler = PickleHandler(Fitted, tmp_path)
    handler.save_persistence(fitted("A", Fragile()))
    Fragile.error = TypeError("x")
    path = handler.filepath(Fitted("A"))
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptResultError):
        handler.load_persistence(Fitted("A"))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_pickles_of_others_with_missing_modules_are_not_damaged(tmp_path, lab, pack):
    """Other errors, which damage may cause, count as damage there; gzip has a checksum of its own."""
    folder = tmp_path / "results"
    folder.mkdir()
    handler = PickleHandler(Fitted, folder)
    path = folder / "cache-Fitted-A.pkl"
    fields = {"animal": "A", "plane": 0, "model": lab.Model()}
    path.write_bytes(pack(pickle.dumps(fields, 4)))
    lab.uninstall()
    with pytest.raises(UnloadableResultError, match="labmodels.Model of the field model") as caught:
        handler.load_persistence(path)
    assert caught.value.checksummed is (pack is gzip.compress)
    for error, plain in ((RuntimeError("x"), UnloadableResultError), (TypeError("x"), CorruptResultError)):
        Fragile.error = None
        path.write_bytes(pack(pickle.dumps(fields | {"model": Fragile()}, 4)))
        Fragile.error = error
        with pytest.raises(plain if pack is bytes else UnloadableResultError):
            handler.load_persistence(path)


def test_load_all_reports_unloadable_files_and_goes_on(tmp_path):
    """Whatever the exception."""
    handler = PickleHandler(Fitted, tmp_path)
    handler.save_all(fitted(animal, Fragile() if animal == "B" else None) for animal in "ABC")
    for error in ERRORS:
        Fragile.error = error
        problems = []
        found = handler.load_all(animal=missing, on_corrupt=problems.append)
        assert [result.animal for _, result in found] == ["A", "C"]
        assert [type(problem) for problem in problems] == [UnloadableResultError]
        with pytest.raises(UnloadableResultError, match="cache-Fitted-B.pkl"):
            list(handler.load_all(animal=missing))


class FitOptions(PersistenceOptions[Fitted]):
    computed = 0

    def empty_cache(self):
        return Fitted("A")

    def compute_cache(self, result):
        self.computed += 1
        result.score = 1.0
        return result


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_load_cache_raises_before_it_computes(tmp_path, error):
    """It replaces the file only on request."""
    handler = PickleHandler(Fitted, tmp_path)
    handler.save_persistence(fitted("A", Fragile()))
    Fragile.error = error
    before = changes(tmp_path)
    options = FitOptions()
    for error_when_missing in (False, True):
        with pytest.raises(UnloadableResultError, match="set invalid_cache"):
            options.load_cache(dest=tmp_path, error_when_missing=error_when_missing)
    report = options.compute_missing({"animal": "A"}, dest=tmp_path)
    assert (report.saved, len(report), options.computed) == (0, 0, 0)
    assert changes(tmp_path) == before
    options.invalid_cache = True
    assert options.load_cache(dest=tmp_path).score == 1.0
    assert handler.load_persistence(Fitted("A")).score == 1.0


class PlainPickles(PersistenceHandler[Fitted]):
    """A user's handler whose hooks use pickle."""

    persistence_class = Fitted

    def __init__(self, folder):
        self.folder = folder

    @property
    def save_root(self):
        return self.folder

    def _save_persistence(self, result, path):
        path.write_bytes(pickle.dumps(vars(result)))

    def _load_persistence(self, path):
        result = Fitted("")
        vars(result).update(pickle.loads(path.read_bytes()))
        return result


def test_users_handlers_do_not_replace_unloadable_files(tmp_path, lab):
    """A missing module is no damage. Loading one file raises the hook's own error."""
    folder = tmp_path / "results"
    handler = PlainPickles(folder)
    handler.save_persistence(fitted("A", lab.Model()))
    before = changes(folder)
    lab.uninstall()

    class Options(FitOptions):
        def persistence_handler(self, dest=None):
            return PlainPickles(dest)

    options = Options()
    with pytest.raises(UnloadableResultError, match="cache-Fitted-A can't be loaded here: ModuleNotFoundError"):
        options.load_cache(dest=folder)
    assert (options.computed, changes(folder)) == (0, before)
    with pytest.raises(ModuleNotFoundError):
        handler.load_persistence(Fitted("A"))
    problems = []
    assert list(handler.load_all(animal=missing, on_corrupt=problems.append)) == []
    assert [type(problem) for problem in problems] == [UnloadableResultError]
    (checked,) = handler.verify()
    assert isinstance(checked.problem, UnloadableResultError)


@pytest.mark.parametrize("n", [3, 20_000], ids=["small", "large"])
def test_unloadable_results_are_found_and_count_as_done(tmp_path, n):
    """Their plain fields can be read."""
    handler = PickleHandler(Fitted, tmp_path)
    handler.save_persistence(fitted("A", Fragile(), n))
    Fragile.error = RuntimeError("x")
    assert list(handler.todo({"animal": ["A", "B"]}))[0].animal == "B"
    found = handler.find(plane=0)
    assert found[0].keys == {"animal": "A"}
    assert found.to_columns("score") == {"animal": ["A"], "score": [0.5]}
    assert found[0].fields("score") == {"score": 0.5}
    with pytest.raises(UnloadableResultError, match="field model"):
        found[0].fields("model")


def test_deleting_damaged_files_leaves_unloadable_ones(tmp_path, caplog):
    """Nobody can look at them here, and they are not damaged."""
    handler = PickleHandler(Fitted, tmp_path)
    handler.save_persistence(fitted("A", Fragile()))
    for error in ERRORS:
        Fragile.error = error
        for damaged in (False, True):
            caplog.clear()
            assert handler.find().delete(dry_run=False, damaged=damaged) == []
            assert "not deleted" in caplog.text
            assert "can't be loaded here" in caplog.text
    assert len(changes(tmp_path)) == 1
    Fragile.error = None
    assert len(handler.find().delete(dry_run=False)) == 1


@pytest.mark.parametrize("n", [3, 20_000], ids=["small", "large"])
def test_deleting_leaves_results_of_missing_packages(tmp_path, lab, caplog, n):
    """Of a large file only the head is read, which names the packages."""
    handler = PickleHandler(Fitted, tmp_path / "results")
    handler.save_all([fitted("A", lab.Model(), n), fitted("B", None, n)])
    lab.uninstall()
    gone = handler.find().delete(dry_run=False, damaged=True)
    assert [path.name for path in gone] == ["cache-Fitted-B.pkl"]
    assert "labmodels" in caplog.text
    assert handler.filepath(Fitted("A")).exists()


@persistence_class
class ByModel:
    model: Any = field(filename=lambda model: "fit")
    score: float


def test_a_save_does_not_replace_a_file_of_other_keys(tmp_path):
    """It is refused before anything is computed, even if those keys can't be loaded. A file of the same keys is replaced."""
    handler = PickleHandler(ByModel, tmp_path)
    handler.save_persistence(ByModel(Fragile()))
    before = changes(tmp_path)
    Fragile.error = TypeError("x")
    with pytest.raises(NameTakenError):
        handler.save_persistence(ByModel(1))

    class Options(FitOptions):
        persistence_class = ByModel
        invalid_cache = True

        def empty_cache(self):
            return ByModel(1)

    options = Options()
    with pytest.raises(NameTakenError):
        options.load_cache(dest=tmp_path)
    assert options.computed == 0
    assert changes(tmp_path) == before
    known = PickleHandler(Fitted, tmp_path / "known")
    Fragile.error = None
    known.save_persistence(fitted("A", Fragile()))
    Fragile.error = TypeError("x")
    known.save_persistence(fitted("A", None))
    assert known.load_persistence(Fitted("A")).model is None


def test_numbered_saves_go_on_beside_unloadable_files(tmp_path):
    """The next number is free."""
    handler = PickleHandler(Run, tmp_path)
    for model in (Fragile(), 1):
        result = Run("A")
        result.model = model
        handler.save_persistence(result)
        Fragile.error = RuntimeError("x")
    assert [hit.keys["number"] for hit in handler.find()] == [0, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_loading_without_trust_raises_the_same_error(tmp_path, kind):
    """A class that is admitted may refuse its state."""
    kind(Fitted, tmp_path).save_persistence(fitted("A", Fragile()))
    handler = kind(Fitted, tmp_path, trusted=[Fragile])
    for error in ERRORS:
        Fragile.error = error
        with pytest.raises(UnloadableResultError, match=type(error).__name__):
            handler.load_persistence(Fitted("A"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [3, 20_000], ids=["small", "large"])
def test_the_card_has_the_packages_of_objects(tmp_path, lab, kind, n):
    """With their versions at that time, which the error shows beside the present ones. Plain results have none."""
    folder = tmp_path / "results"
    handler = kind(Fitted, folder)
    plain = [
        1,
        "x",
        0.5,
        None,
        np.float32(1),
        np.array(["a", "b"]),
        np.arange(4)[::2],
        datetime.date(2020, 1, 1),
        Path("x"),
    ]
    for model, packages in (
        (plain, {}),
        (Fragile(), {__name__.partition(".")[0]: ""}),
        ([lab.Model(), {"deep": lab.Model()}], {"labmodels": "3.1"}),
        (np.random.default_rng(0), {"numpy": np.__version__}),
        ((np.random.PCG64(0), lab.Model()), {"labmodels": "3.1", "numpy": np.__version__}),
    ):
        handler.save_persistence(fitted("A", model, n))
        card = read_head(handler.filepath(Fitted("A"))).card
        assert card.packages == packages
        assert handler.load_persistence(Fitted("A")).score == 0.5
    lab.__version__ = "4.0"
    lab.Model = None  # in place of the class
    with pytest.raises(UnloadableResultError, match=r"it was saved with labmodels 3\.1 \(here 4\.0\)") as caught:
        handler.load_persistence(Fitted("A"))
    assert caught.value.packages == {"labmodels": "3.1", "numpy": np.__version__}
    assert caught.value.here == {"labmodels": "4.0", "numpy": np.__version__}
    lab.uninstall()
    with pytest.raises(UnloadableResultError, match=r"labmodels 3\.1 \(here not installed\)") as caught:
        handler.load_persistence(Fitted("A"))
    assert caught.value.here == {"numpy": np.__version__}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [3, 20_000], ids=["small", "large"])
def test_verify_reports_missing_packages(tmp_path, lab, kind, n):
    """Those that the card lists: nothing is unpickled or imported."""
    folder = tmp_path / "results"
    handler = kind(Fitted, folder)
    handler.save_all([fitted("A", lab.Model(), n), fitted("B", None, n)])
    assert [found.problem for found in handler.verify()] == [None, None]
    lab.uninstall()
    for found in (next(handler.verify()), next(handler.verify(handler.filepath(Fitted("A"))))):
        assert isinstance(found.problem, UnloadableResultError)
        assert found.checksummed
        assert found.problem.path == str(handler.filepath(Fitted("A")))
        assert "labmodels" in str(found.problem)
    assert [found.problem is None for found in handler.verify()] == [False, True]


@pytest.mark.parametrize("kind", KINDS)
def test_cards_with_packages_are_not_parsed(tmp_path, lab, monkeypatch, kind):
    """If the rest is the card of the class: neither for loading nor for replacing."""
    handler = kind(Fitted, tmp_path / "results")
    handler.save_persistence(fitted("A", lab.Model()))
    handler.load_persistence(Fitted("A"))

    def fail(*_, **__):
        raise AssertionError("it was parsed")

    monkeypatch.setattr(framed_content, "parsed_card", fail)
    monkeypatch.setattr(handler._keeper.records.codec, "head", fail)
    assert handler.load_persistence(Fitted("A")).score == 0.5
    handler.save_persistence(fitted("A", lab.Model()))


@pytest.mark.parametrize(
    "member",
    [b'"packages":{"a":1}', b'"packages":[]', b'"packages":{},"arrays":[[0,1,2]]', b'"packages":{', b'"packages":{}}'],
)
def test_packages_of_a_card_are_texts(tmp_path, member):
    """A card with other values there is damaged."""
    handler = PickleHandler(Fitted, tmp_path)
    handler.save_persistence(fitted("A", None))
    path = handler.filepath(Fitted("A"))
    data = path.read_bytes()
    pickle_bytes, card_bytes = frames.lengths_of(data)
    card = data[pickle_bytes : pickle_bytes + card_bytes][:-1] + b"," + member + b"}"
    path.write_bytes(frames.small_file(data[:pickle_bytes], card))
    with pytest.raises(CorruptResultError, match="card"):
        handler.load_persistence(Fitted("A"))


def test_the_card_lists_packages_only():
    """Not Python's own classes, scripts, this package, metaclasses, or modules that only look like packages."""
    made = type("Made", (), {"__module__": "nowhere_to_be_found"})
    for kind in (
        int,
        datetime.date,
        Path,
        type,
        np.ndarray,
        np.float64,
        type(np.dtype("f8")),
        type(type(np.dtype("f8"))),
        made,
    ):
        assert package_of(kind) is None
    assert package_of(type("Main", (), {"__module__": "__main__"})) is None
    assert package_of(type("Odd", (), {"__module__": None})) is None
    assert package_of(np.random.Generator) == ("numpy", np.__version__)
    assert package_of(type(pytest.raises(ValueError)))[0] == "_pytest"
    assert missing_here({"numpy": "1", "no_such_package_at_all": "1", "not a name": "", "": ""}) == [
        "no_such_package_at_all",
        "not a name",
        "",
    ]


def run(capsys, *words):
    try:
        status = main([str(word) for word in words])
    except SystemExit as end:
        status = end.code
    return status, capsys.readouterr().out


@pytest.mark.parametrize("kind", KINDS)
def test_commands_report_missing_packages(tmp_path, lab, capsys, kind):
    """The files are intact: no command loads them, and they can be converted and removed."""
    folder = tmp_path / "results"
    handler = kind(Fitted, folder)
    handler.save_all([fitted("A", lab.Model()), fitted("B", None)])
    path = handler.filepath(Fitted("A"))
    lab.uninstall()
    status, out = run(capsys, "verify", folder)
    assert status == 0
    assert "2 intact, 0 damaged" in out
    assert "not loadable here: 1 intact file with objects of packages that are not installed: labmodels" in out
    _, out = run(capsys, "verify", folder, "--json")
    assert json.loads(out)["not_loadable_here"] == [{"path": str(path), "missing": ["labmodels"]}]
    status, out = run(capsys, "show", path)
    assert status == 0
    assert "has objects of labmodels 3.1" in out
    assert json.loads(run(capsys, "show", path, "--json")[1])["packages"] == {"labmodels": "3.1"}
    assert run(capsys, "show", path, "--trust")[0] == 2
    assert "A" in run(capsys, "ls", folder)[1]
    before = read_head(path).fields["score"]
    assert run(capsys, "convert", folder, "--to", "gzip" if kind is not GzipHandler else "plain", "--all")[0] == 0
    (converted,) = (path for path in folder.iterdir() if "Fitted-A" in path.name)
    assert converted != path
    assert read_head(converted).fields["score"] == before
    assert read_head(converted).card.packages == {"labmodels": "3.1"}
    assert run(capsys, "rm", "-y", converted)[0] == 0
    assert not converted.exists()


def test_migrating_leaves_unloadable_files(tmp_path):
    """It reports them, and moves the others."""

    @persistence_class(name="Fitted")
    class Later:
        animal: str = field(filename=True)
        day: int = field(filename=True, default=1)
        model: Any
        score: float

    PickleHandler(Fitted, tmp_path).save_all([fitted("A", Fragile()), fitted("B", None)])
    before = changes(tmp_path)
    Fragile.error = RuntimeError("x")
    moves = {move.path.name: move for move in PickleHandler(Later, tmp_path).migrate(dry_run=False)}
    assert {name: move.outcome for name, move in moves.items()} == {
        "cache-Fitted-A.pkl": "failed",
        "cache-Fitted-B.pkl": "moved",
    }
    assert "can't be loaded here" in moves["cache-Fitted-A.pkl"].problem
    assert changes(tmp_path)["cache-Fitted-A.pkl"] == before["cache-Fitted-A.pkl"]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python itself has zstd")
@pytest.mark.skipif(not has_zstd(), reason="needs the extra 'zstd'")
def test_a_compressed_file_says_what_to_install_to_read_it(tmp_path, monkeypatch, capsys):
    """In Python and in the command. The file stays as it is."""
    handler = ZstdHandler(Fitted, tmp_path)
    handler.save_persistence(fitted("A", None))
    before = changes(tmp_path)
    monkeypatch.setitem(sys.modules, "backports.zstd", None)
    advice = 'a file compressed by zstd needs backports.zstd: pip install "neuralib-persistence[zstd]"'
    with pytest.raises(UnloadableResultError) as caught:
        handler.load_persistence(Fitted("A"))
    assert advice in str(caught.value)
    with pytest.raises(ImportError) as caught:
        handler.save_persistence(fitted("A", None))
    assert advice in str(caught.value)
    for words in (["verify", tmp_path], ["convert", tmp_path, "--to", "plain", "--all"]):
        assert main([str(word) for word in words]) == 1
        assert advice in "".join(capsys.readouterr())
    status, out = run(capsys, "verify", tmp_path)
    assert status == 1
    assert "0 intact, 0 damaged, 1 not checked" in out
    report = json.loads(run(capsys, "verify", tmp_path, "--json")[1])
    assert [report["damaged"], [file["path"] for file in report["not_checked"]]] == [
        [],
        [str(handler.filepath(Fitted("A")))],
    ]
    assert changes(tmp_path) == before
