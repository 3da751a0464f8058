"""The mix-in for options: load a result, or compute and save it."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import pytest

from neuralib.persistence import (
    GzipHandler,
    PickleHandler,
    autoinc_field,
    field,
    load,
    missing,
    persistence_class,
)
from neuralib.persistence.cli_persistence import PersistenceOptions, get_options_and_cache

try:
    from argclz import AbstractParser, argument
except ImportError:  # the mix-in works without argclz too

    class AbstractParser:
        pass

    def argument(*flags, default=None):
        return default


needs_argclz = pytest.mark.skipif(AbstractParser.__module__ == __name__, reason="needs the extra 'cli'")
T = TypeVar("T")
U = TypeVar("U")


@persistence_class
class Result:
    animal: str = field(validator=True, filename=True)
    plane: int = field(validator=True, filename=True)
    selection: str = field(validator=True)
    value: int


@persistence_class
class Numbered:
    animal: str = field(validator=True, filename=True)
    version: int = autoinc_field()
    value: int


class Options(AbstractParser, PersistenceOptions[Result]):
    animal: str = argument("--animal", default="A")
    selection: str = "all"
    dest: Path

    def empty_cache(self):
        return Result(self.animal, 0, self.selection)

    def compute_cache(self, result):
        assert not hasattr(result, "value"), "a stale result came in"
        result.value = 10 * (result.plane + 1)
        self.computed = getattr(self, "computed", 0) + 1
        return result


class NumberedOptions(PersistenceOptions[Numbered]):
    def empty_cache(self):
        return Numbered("A")

    def compute_cache(self, result):
        result.value = 1
        return result


def test_load_cache_computes_once_and_then_loads(tmp_path, caplog):
    """It logs what it did, and how long that took."""
    options = Options()
    with caplog.at_level(logging.INFO, "neuralib.persistence"):
        assert options.load_cache(dest=tmp_path).value == 10
        assert options.load_cache(dest=str(tmp_path)).value == 10
    assert options.computed == 1
    text = caplog.text
    assert "computed in" in text
    assert f"loaded {tmp_path / 'cache-Result-A-0.pkl'} in" in text


@needs_argclz
def test_option_of_argclz_computes_again(tmp_path):
    """--invalid-cache, parsed from a command line."""
    options = Options()
    options.load_cache(dest=tmp_path)
    options.main(["--invalid-cache", "--animal", "A"], parse_only=True)
    assert options.invalid_cache is True
    options.load_cache(dest=tmp_path)
    assert options.computed == 2


def test_a_failed_validation_computes_from_a_fresh_template(tmp_path):
    """compute_cache must not get the loaded instance, whose data it would keep (it asserts that itself)."""
    options = Options()
    PickleHandler(Result, tmp_path).save_persistence(filled(Result("A", 0, "other"), value=-1))
    result = options.load_cache(dest=tmp_path)
    assert (result.selection, result.value) == ("all", 10)
    assert load(Result, tmp_path / "cache-Result-A-0.pkl").selection == "all"


def filled(result, **values):
    for name, value in values.items():
        setattr(result, name, value)
    return result


def test_overrides_are_validated_and_computed(tmp_path):
    """Not only the path depends on them. The caller's template is not changed."""
    options = Options()
    template = Result("B", 0, "all")
    result = options.load_cache(template, dest=tmp_path, plane=3)
    assert (result.animal, result.plane, result.value) == ("B", 3, 40)
    assert template.plane == 0
    assert options.load_cache(template, dest=tmp_path, plane=3, selection="all").value == 40
    assert options.computed == 1


def test_a_misspelt_override_is_refused(tmp_path):
    """Otherwise it would load another result without a warning."""
    with pytest.raises(TypeError, match="has no field 'plain'"):
        Options().load_cache(dest=tmp_path, plain=3)


def test_a_template_with_a_number_loads_that_result(tmp_path):
    """Without a number, a new result is computed and numbered."""
    options = NumberedOptions()
    for expected in range(3):
        assert options.load_cache(dest=tmp_path).version == expected
    assert options.load_cache(dest=tmp_path, version=2, error_when_missing=True).version == 2
    with pytest.raises(FileNotFoundError):
        options.load_cache(dest=tmp_path, error_when_missing=True)


def test_error_when_missing_never_computes(tmp_path):
    """Not even after a failed validation."""
    options = Options()
    with pytest.raises(FileNotFoundError, match="cache-Result-A-0"):
        options.load_cache(None, True, dest=tmp_path)
    PickleHandler(Result, tmp_path).save_persistence(Result("A", 0, "other"))
    with pytest.raises(FileNotFoundError, match="selection"):
        options.load_cache(None, True, dest=tmp_path)
    assert not hasattr(options, "computed")


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x80\x05]\x94.", b"\x1f\x8b torn"])
def test_an_unreadable_file_is_computed_again(tmp_path, content, caplog):
    """Otherwise load_cache would raise each time."""
    path = tmp_path / "cache-Result-A-0.pkl"
    path.write_bytes(content)
    assert Options().load_cache(dest=tmp_path).value == 10
    assert str(path) in caplog.text
    assert load(Result, path).value == 10


@pytest.mark.parametrize("answer", [False, TypeError("x"), KeyError("x"), RuntimeError("x")])
def test_validate_cache_can_refuse(tmp_path, answer):
    """By returning False or by raising."""

    class Picky(Options):
        def validate_cache(self, result_path, result):
            assert result_path.name == "cache-Result-A-0.pkl"
            if isinstance(answer, Exception):
                raise answer
            return answer

    options = Picky()
    options.load_cache(dest=tmp_path)
    options.load_cache(dest=tmp_path)
    assert options.computed == 2
    assert options.find_cache(Result(missing, 0, ""), tmp_path, validator=True) == []
    assert len(options.find_cache(Result(missing, 0, ""), tmp_path)) == 1


def test_a_computed_result_with_other_keys_is_told(tmp_path, caplog):
    """It lies under a name of its own, so that it would be computed again each time, without a word."""

    class Changing(Options):
        def compute_cache(self, result):
            result = super().compute_cache(result)
            result.animal = "B01"
            return result

    for _ in range(2):
        caplog.clear()
        Changing().load_cache(dest=tmp_path)
        warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert len(warnings) == 1
        assert "Changing.compute_cache returned a result with animal='B01', not 'A':" in warnings[0]


def test_data_is_not_asked_for_before_it_is_computed(tmp_path):
    """It may be a property that has nothing to give before."""

    @persistence_class
    class Lazy:
        animal: str = field(filename=True)
        value: int

        def __getattr__(self, name):
            if name == "value":
                raise RuntimeError("not computed")
            raise AttributeError(name)

    class Computing(PersistenceOptions[Lazy]):
        def empty_cache(self):
            return Lazy("A")

        def compute_cache(self, result):
            result.value = 1
            return result

    assert Computing().load_cache(dest=tmp_path).value == 1


@pytest.mark.parametrize("make", [Options, NumberedOptions])
def test_a_computed_result_with_its_keys_is_no_warning(tmp_path, caplog, make):
    """The number is the result's own."""
    make().load_cache(dest=tmp_path)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_compute_cache_that_returns_none_is_an_error(tmp_path):
    """Otherwise None would be saved as a result."""

    class Forgetful(Options):
        def compute_cache(self, result):
            result.value = 1

    with pytest.raises(TypeError, match=r"Forgetful.compute_cache returned None"):
        Forgetful().load_cache(dest=tmp_path)


def test_save_cache_uses_the_overridden_handler(tmp_path):
    """The handler that a subclass returns decides the format for saving too."""

    class Zipped(Options):
        def persistence_handler(self, dest=None):
            return GzipHandler(Result, dest)

    options = Zipped()
    options.save_cache(Result("A", 0, ""), str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["cache-Result-A-0.pkl.gz"]
    with pytest.raises(FileExistsError, match="force"):
        options.save_cache(Result("A", 0, ""), tmp_path, force=False)


def test_handler_gets_none_where_no_folder_is_given(tmp_path, monkeypatch):
    """Existing subclasses expect that."""
    seen = []

    class Base(PersistenceOptions, Generic[T]):
        @property
        def persistence_class(self):
            return Result

        def persistence_handler(self, dest):
            seen.append(dest)
            return PickleHandler(self.persistence_class, tmp_path if dest is None else dest)

    class Own(Base[Result]):
        empty_cache = Options.empty_cache
        compute_cache = Options.compute_cache
        animal, selection = "A", "all"

    assert Own().load_cache().value == 10
    assert seen == [None]


class _Deep(PersistenceOptions[T]):
    pass


class _Deeper(_Deep[U], Generic[T, U]):
    pass


class _Deepest(_Deeper[int, Result]):
    pass


class _Leaf(_Deepest):
    pass


class _Own(PersistenceOptions, Generic[T]):
    pass


class _OwnLeaf(_Own[Numbered]):
    pass


class _Named(PersistenceOptions["Numbered"]):
    pass


def made(options):
    methods = {"empty_cache": NumberedOptions.empty_cache, "compute_cache": NumberedOptions.compute_cache}
    return type("Made", (options,), methods)()


@pytest.mark.parametrize(
    ("options", "expected"),
    [(_Leaf, Result), (_Deepest, Result), (Options, Result), (_OwnLeaf, Numbered), (_Named, Numbered)],
)
def test_the_class_of_results_is_found_at_any_depth(options, expected):
    """Through generic bases that pass their type variables on."""
    assert made(options).persistence_class is expected


def test_options_without_a_class_of_results_say_so():
    """If the type variable was never given."""
    with pytest.raises(TypeError, match=r"Made does not say the class of its results"):
        _ = made(_Deep).persistence_class


@needs_argclz
def test_get_options_and_cache_copies_arguments_and_overrides_keys(tmp_path, monkeypatch):
    """The third argument may be positional; the object with the options need not have ``invalid_cache``."""
    monkeypatch.chdir(tmp_path)

    class Reference(AbstractParser):
        animal: str = argument("--animal", default="Z")

    with pytest.raises(FileNotFoundError):
        get_options_and_cache(Options, Reference(), True, plane=2)
    result = get_options_and_cache(Options, Reference(), plane=2)
    assert (result.animal, result.plane, result.value) == ("Z", 2, 30)
    assert get_options_and_cache(Options, None, plane=1).animal == "A"


def test_options_that_were_never_parsed_can_load(tmp_path):
    """Then the option has no value yet."""
    assert NumberedOptions().load_cache(dest=tmp_path).version == 0


def test_the_mix_in_works_without_argclz(tmp_path):
    """argclz is an optional dependency."""
    code = f"""
import sys
sys.modules["argclz"] = None
from neuralib.persistence import *
from neuralib.persistence.cli_persistence import PersistenceOptions, get_options_and_cache
@persistence_class
class R:
    a: str = field(filename=True)
    b: int
class O(PersistenceOptions[R]):
    a: str = "x"
    def empty_cache(self): return R(self.a)
    def compute_cache(self, result):
        result.b = 5
        return result
assert O.invalid_cache is False
assert O().load_cache(dest={str(tmp_path)!r}).b == 5
o = O(); o.a = "y"
import os; os.chdir({str(tmp_path)!r})
assert get_options_and_cache(O, o).a == "y"
class P(O):
    more: int = 0
assert get_options_and_cache(P, o).a == "y"  # inherited
if sys.version_info >= (3, 14):  # which evaluates annotations when they are asked for
    class Late(O):
        late: NotThere = 1
    assert get_options_and_cache(Late, o).a == "y"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_find_cache_takes_wildcards(tmp_path):
    """The results that it finds may have arrays."""
    handler = PickleHandler(Result, tmp_path)
    for animal in "AB":
        for plane in range(3):
            handler.save_persistence(filled(Result(animal, plane, "all"), value=np.arange(3)))
    found = Options().find_cache(Result("B", missing, "all"), tmp_path)
    assert [(result.animal, result.plane) for result in found] == [("B", 0), ("B", 1), ("B", 2)]
