"""Every error names what it is about, is a builtin too, and travels between processes."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import pytest

from neuralib.persistence import _errors, autoinc_field, filename, persistence_class

FACTS = {
    _errors.PersistenceError: ("x",),
    _errors.NotPersistenceClassError: ("C",),
    _errors.FieldDefinitionError: ("C", "f", "p"),
    _errors.KeyNotSetError: ("C", "f"),
    _errors.WildcardKeyError: ("C", "f"),
    _errors.DataNotSetError: ("C", ("a", "b")),
    _errors.UndeclaredAttributeError: ("C", "scroe", "score"),
    _errors.UnknownFieldError: ("C", "f", ("a",)),
    _errors.UnsafeNameError: ("C", "f", "v", "p"),
    _errors.MissingFieldError: ("C", "f", "/x"),
    _errors.WrongResultClassError: ("C", "D"),
    _errors.NoInitFitsError: ("C", ("a",)),
    _errors.KeyMismatchError: ("C", "f", "1", "2", "/x"),
    _errors.NotAResultError: ("C", "/x", "a list"),
    _errors.CorruptResultError: ("/x", "p"),
    _errors.NameTakenError: ("C", "/x", {"a": "1"}, {"a": "2"}),
    _errors.NothingFoundError: ("C", "/x", "a='1'"),
    _errors.StackError: ("/x", "f", "has shape (1,)"),
    _errors.UntrustedTypeError: ("/x", "os.system"),
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
    _errors.NothingFoundError: LookupError,
    _errors.StackError: ValueError,
    _errors.UntrustedTypeError: TypeError,
    _errors.OtherClassError: TypeError,
    _errors.NewerVersionError: ValueError,
    _errors.ContractError: AssertionError,
}


@persistence_class
class Run:
    n: int = autoinc_field()


def test_every_error_is_tried_here():
    """A new one needs its line."""
    found = {it for it in vars(_errors).values() if isinstance(it, type) and issubclass(it, _errors.PersistenceError)}
    assert found == set(FACTS) | {_errors.AutoIncFieldNotResolvedError}


@pytest.mark.parametrize("kind", FACTS, ids=lambda it: it.__name__)
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


@pytest.mark.parametrize("kind", BUILTIN, ids=lambda it: it.__name__)
def test_error_is_a_builtin_that_callers_catch(kind):
    """Existing except clauses go on working."""
    assert issubclass(kind, BUILTIN[kind])


@pytest.mark.parametrize("kind", [it for it in FACTS if it is not _errors.PersistenceError], ids=lambda it: it.__name__)
def test_message_has_the_facts(kind):
    """Class, field, path."""
    text = str(kind(*FACTS[kind]))
    assert all(str(fact) in text for fact in FACTS[kind] if isinstance(fact, str))


def test_shown_never_fails_and_stays_short():
    """A message must not fail because of what it is about."""

    class Bad:
        def __repr__(self):
            raise ValueError

    assert _errors.shown(Bad()) == "<Bad>"
    assert len(_errors.shown("x" * 1000)) == 120


def _name_without_number(_):
    return filename(Run())


def test_an_open_number_in_a_worker_does_not_break_the_pool():
    """The error can be unpickled; the result itself stays behind."""
    with ProcessPoolExecutor(1, multiprocessing.get_context(START)) as pool:
        for _ in range(2):
            with pytest.raises(
                _errors.AutoIncFieldNotResolvedError, match="Run.n is an auto-increment field"
            ) as caught:
                pool.submit(_name_without_number, 1).result()
            assert (caught.value.field, caught.value.owner, caught.value.instance) == ("n", "Run", None)
