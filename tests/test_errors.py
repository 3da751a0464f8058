"""Every error says what it is about, is a subclass of a builtin error, and can be pickled."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from batches import Fit, FitOptions

from neuralib.persistence import PickleHandler, _errors, autoinc_field, filename, missing, persistence_class
from neuralib.persistence._log import log
from neuralib.persistence._messages import shown

FACTS = {
    _errors.PersistenceError: ("x",),
    _errors.NotPersistenceClassError: ("C",),
    _errors.FieldDefinitionError: ("C", "f", "p"),
    _errors.KeyNotSetError: ("C", "f"),
    _errors.WildcardKeyError: ("C", "f"),
    _errors.DataNotSetError: ("C", ("a", "b")),
    _errors.UndeclaredAttributeError: ("C", "scroe", "score"),
    _errors.UnknownFieldError: ("C", "f", ("a",), "a"),
    _errors.UnsafeNameError: ("C", "f", "v", "p"),
    _errors.MissingFieldError: ("C", "f", "/x"),
    _errors.WrongResultClassError: ("C", "D"),
    _errors.NoInitFitsError: ("C", ("a",)),
    _errors.KeyMismatchError: ("C", "f", "1", "2", "/x"),
    _errors.NotAResultError: ("C", "/x", "a list"),
    _errors.CorruptResultError: ("/x", "p"),
    _errors.NameTakenError: ("C", "/x", {"a": "1"}, {"a": "2"}),
    _errors.NothingComputedError: ("C", ("a", "b"), "Options"),
    _errors.UnconditionalStoreError: ("s3://bucket", "it has no conditions"),
    _errors.NothingFoundError: ("C", "/x", "a='1'"),
    _errors.StackError: ("/x", "f", "has shape (1,)"),
    _errors.UntrustedTypeError: ("/x", "os.system"),
    _errors.UnloadableResultError: ("/x", "f", "m.C", "KeyError: 'a'", {"m": "1.0"}, {"m": "2.0"}),
    _errors.OtherClassError: ("C", "/x", "m.C", ("a",), ("b",)),
    _errors.NewerVersionError: ("C", "/x", 3, 2),
    _errors.ContractError: ("TapeStore", "open", "a Source", "None"),
}
# Workers that import this file anew would need it on their path.
START = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"

BUILTIN = {
    _errors.NotPersistenceClassError: RuntimeError,
    _errors.FieldDefinitionError: RuntimeError,
    _errors.AutoIncFieldNotResolvedError: RuntimeError,
    _errors.KeyNotSetError: RuntimeError,
    _errors.WildcardKeyError: RuntimeError,
    _errors.DataNotSetError: RuntimeError,
    _errors.UndeclaredAttributeError: AttributeError,
    _errors.UnknownFieldError: TypeError,
    _errors.UnsafeNameError: ValueError,
    _errors.MissingFieldError: KeyError,
    _errors.WrongResultClassError: TypeError,
    _errors.NoInitFitsError: TypeError,
    _errors.KeyMismatchError: FileNotFoundError,
    _errors.NotAResultError: TypeError,
    _errors.CorruptResultError: ValueError,
    _errors.NameTakenError: FileExistsError,
    _errors.NothingComputedError: RuntimeError,
    _errors.UnconditionalStoreError: NotImplementedError,
    _errors.NothingFoundError: LookupError,
    _errors.StackError: ValueError,
    _errors.UntrustedTypeError: TypeError,
    _errors.UnloadableResultError: ImportError,
    _errors.OtherClassError: TypeError,
    _errors.NewerVersionError: ValueError,
    _errors.ContractError: AssertionError,
}


@persistence_class
class Run:
    n: int = autoinc_field()


def test_every_error_is_tried_here():
    """A new error class needs a line in the list of examples."""
    found = {
        value
        for value in vars(_errors).values()
        if isinstance(value, type) and issubclass(value, _errors.PersistenceError)
    }
    assert found == set(FACTS) | {_errors.AutoIncFieldNotResolvedError}


@pytest.mark.parametrize("kind", FACTS, ids=lambda value: value.__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_error_survives_pickling(kind, protocol):
    """With its message and its facts."""
    error = kind(*FACTS[kind])
    for twin in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error)):
        assert type(twin) is kind
        assert str(twin) == str(error)
        assert {k: v for k, v in vars(twin).items() if k != "_facts"} == {
            k: v for k, v in vars(error).items() if k != "_facts"
        }


@pytest.mark.parametrize("kind", BUILTIN, ids=lambda value: value.__name__)
def test_error_is_a_builtin_that_callers_catch(kind):
    """Existing except clauses go on working."""
    assert issubclass(kind, BUILTIN[kind])


@pytest.mark.parametrize(
    "kind", [kind for kind in FACTS if kind is not _errors.PersistenceError], ids=lambda kind: kind.__name__
)
def test_message_has_the_facts(kind):
    """Class, field, path."""
    text = str(kind(*FACTS[kind]))
    assert all(str(fact) in text for fact in FACTS[kind] if isinstance(fact, str))


def test_shown_never_fails_and_stays_short():
    """An error message must not fail because of the value that it shows."""

    class Bad:
        def __repr__(self):
            raise ValueError

    assert shown(Bad()) == "<Bad>"
    assert len(shown("x" * 1000)) == 120


def _name_without_number(_):
    return filename(Run())


def test_a_missing_number_in_a_worker_does_not_break_the_pool():
    """The error can be unpickled; it does not hold the result."""
    with ProcessPoolExecutor(1, multiprocessing.get_context(START)) as pool:
        for _ in range(2):
            with pytest.raises(
                _errors.AutoIncFieldNotResolvedError, match="Run.n is an auto-increment field"
            ) as caught:
                pool.submit(_name_without_number, 1).result()
            assert (caught.value.field, caught.value.owner, caught.value.instance) == ("n", "Run", None)


def test_messages_escape_what_comes_from_files():
    """Control characters, line ends and directional marks of paths and values are escaped, and long texts cut, in every error."""
    strange = "a\x1b[31m\u202e\n\r\u2028" + "x" * 100_000
    for error in (
        _errors.CorruptResultError(strange, strange),
        _errors.KeyMismatchError("Own", "a", strange, strange, strange),
        _errors.NotAResultError(strange, strange, strange),
        _errors.NameTakenError("Own", strange, {"a": strange}, {strange: "b"}),
        _errors.UntrustedTypeError(strange, strange),
    ):
        assert str(error).isprintable()
        assert len(str(error)) < 5000
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
    for kind in _errors.PersistenceError.__subclasses__():
        assert "__str__" not in vars(kind), f"{kind} would write its message as it is"


def test_log_entries_escape_what_comes_from_files(caplog):
    """In all modules: control characters, line ends and directional marks are escaped, and long texts cut."""
    strange = "a\x1b[31m\u202e\n\r\u2028" + "x" * 100_000

    class OwnError(Exception):
        def __str__(self):
            return strange

    for argument in (
        strange,
        Path(strange),
        OwnError(),
        ValueError(strange),
        [strange],
        _errors.CorruptResultError(strange, ""),
    ):
        log.warning("%s in %d of %.1f", argument, 3, 0.25)
    log.warning("nothing")
    assert len(caplog.records) == 7
    for record in caplog.records:
        assert record.getMessage().isprintable()
        assert len(record.getMessage()) < 5000
    assert caplog.records[0].getMessage().endswith(" in 3 of 0.2")
    assert caplog.records[0].getMessage().startswith(r"a\x1b[31m\u202e\n\r\u2028xxx")


def test_modules_use_the_logger_that_escapes():
    """A logger of their own would write texts from files as they are."""
    for path in Path(_errors.__file__).parent.rglob("*.py"):
        assert path.name in {"_log.py", "running.py"} or "getLogger" not in path.read_text(), path


def test_values_are_shown_without_being_written_out():
    """A text that a list holds a thousand times, huge integers, nested lists: a few characters are made, in little time."""
    text = "x" * 100_000
    assert shown([text] * 900) == "<list of many values>"
    assert shown(1 << 100_000) == "<int of 100001 bits>"
    assert shown(text) == repr(text)[:117] + "..."
    assert shown({"a": np.array([text] * 500)}) == "<dict of many values>"
    assert shown("a\x1b\u202e") == r"'a\x1b\u202e'"

    class Slotted:
        __slots__ = ("inner",)

    value = Slotted()
    value.inner = [text] * 900
    assert shown(value) == "<Slotted of many values>"

    class Raw:
        def __repr__(self):
            return "raw \x1b[31m\n"

    assert shown(Raw()) == r"raw \x1b[31m\n"


def test_an_error_about_a_large_result_shows_its_message():
    """Its arguments are not counted: the result is one of them, and the message names its class only."""

    class Result:
        def __init__(self):
            self.data = list(range(5000))

    error = _errors.AutoIncFieldNotResolvedError(Result(), "number")
    assert shown(error, str).startswith("Result.number is an auto-increment field")


class NumberOptions(FitOptions):
    """Returns a number in place of a result."""

    def compute_cache(self, result):
        return 3


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda folder: PickleHandler(Fit("A", 1), folder),
            TypeError,
            "PickleHandler: expected the class Fit, not a result",
        ),
        (
            lambda folder: PickleHandler("Fit", folder),
            TypeError,
            "str is not a persistence class: give a class decorated",
        ),
        (lambda folder: PickleHandler(Fit, 3), TypeError, "expected a folder, a URL of an object store .* not 3"),
        (
            lambda folder: PickleHandler(Fit, folder).save_persistence(Fit),
            TypeError,
            "give an instance of Fit, not a class",
        ),
        (lambda folder: FitOptions().compute_missing([], "processes", dest=folder), TypeError, "executor='processes'"),
        (lambda folder: NumberOptions().load_cache(dest=folder), TypeError, "NumberOptions.compute_cache returned 3"),
        (
            lambda folder: PickleHandler(Fit, folder).load_persistence(Fit("A", 1)),
            FileNotFoundError,
            "no result is saved",
        ),
    ],
)
def test_wrong_arguments_are_named(tmp_path, call, kind, message):
    """With what was expected instead."""
    with pytest.raises(kind, match=message):
        call(tmp_path)


def test_loading_one_result_with_a_missing_key_names_what_loads_several(tmp_path):
    """``missing`` stands for any value, so it names no single file."""
    with pytest.raises(FileNotFoundError) as caught:
        PickleHandler(Fit, tmp_path).load_persistence(Fit("A", missing))
    assert "the key plane is `missing`: use load_all() or find()" in caught.value.__notes__[0]
