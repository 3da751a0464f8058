"""Saving, finding and loading, in every format and with users' own handlers."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import Pair, Run, check_round_trip, filled
from hypothesis import HealthCheck, given, settings, strategies as st

from neuralib.persistence import (
    AutoIncFieldNotResolvedError,
    CorruptResultError,
    FieldDefinitionError,
    FileHandler,
    GzipHandler,
    KeyMismatchError,
    KeyNotSetError,
    NameTakenError,
    NotAResultError,
    PersistenceHandler,
    PickleHandler,
    UnknownFieldError,
    UnloadableResultError,
    UnsafeNameError,
    WrongResultClassError,
    as_dict,
    field,
    from_dict,
    load,
    load_by,
    missing,
    persistence_class,
    read_head,
    results_equal,
    save,
)


class JsonHandler(FileHandler):
    suffix = ".json"

    def _write(self, fields, file):
        file.write(json.dumps(fields).encode())

    def _read(self, file):
        return json.load(file)


class NpzHandler(PersistenceHandler):
    """A handler as users of the existing package write it: two properties and two hooks."""

    def __init__(self, data_cls, save_root):
        self._data_cls, self._root = data_cls, save_root

    @property
    def persistence_class(self):
        return self._data_cls

    @property
    def save_root(self):
        return self._root

    def filename(self, result, **kwargs):
        return super().filename(result, **kwargs) + ".npz"

    def _save_persistence(self, result, path):
        np.savez(path, **as_dict(result))

    def _load_persistence(self, path):
        with np.load(path, allow_pickle=True) as file:
            return from_dict(self._data_cls, {name: file[name][()] for name in file.files})


class LoggingHandler(PickleHandler):
    """A subclass whose hook calls the inherited one."""

    def filename(self, result, **kwargs):
        return "v2-" + super().filename(result, **kwargs)

    def _save_persistence(self, result, path):
        assert path.name == self.filename(result)
        super()._save_persistence(result, path)


ALL = [PickleHandler, GzipHandler, JsonHandler, NpzHandler, LoggingHandler]


@pytest.mark.parametrize("kind", ALL)
def test_round_trip(kind, tmp_path):
    """By path, text, template and keys; into folders that are not there yet; with and without numbers."""
    check_round_trip(kind(Pair, tmp_path / "x" / "y"), filled(Pair("A00", 3), data="text"))
    check_round_trip(kind(Run, tmp_path), filled(Run("A00"), data=[1, 2] if kind is not NpzHandler else "x"))
    assert not [path for path in tmp_path.rglob(".*")], "leftovers"


@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler])
def test_round_trip_of_what_only_pickle_keeps(kind, tmp_path):
    """All Python objects, arrays of any size, absent data."""
    check_round_trip(kind(Pair, tmp_path), Pair("none", "set"))
    big = np.random.default_rng(0).normal(size=(300, 1000))
    data = {
        "big": big,
        "fortran": np.asfortranarray(big[:50]),
        "cube": np.asfortranarray(big),
        3: (None, {1.5}, b"x" * 70_000, "é" * 70_000),
    }
    loaded = check_round_trip(kind(Pair, tmp_path), filled(Pair(1, 2), data=data))
    assert loaded.data["fortran"].flags.f_contiguous
    assert loaded.data["cube"].flags.f_contiguous
    assert loaded.data["big"].flags.writeable
    big.flags.writeable = False
    assert not check_round_trip(kind(Pair, tmp_path), filled(Pair(1, 3), data=big)).data.flags.writeable


def test_paths_may_be_text_or_any_path_like(tmp_path):
    """Everywhere that a path goes."""

    class Own:
        def __fspath__(self):
            return str(tmp_path / "own.pkl")

    result = filled(Pair(1, 2), data=3)
    handler = PickleHandler(Pair, str(tmp_path))
    assert handler.save_root == tmp_path
    handler.save_persistence(result, str(tmp_path / "deep" / "text.pkl"))
    handler.save_persistence(result, Own())
    for path in (str(tmp_path / "deep" / "text.pkl"), tmp_path / "own.pkl", Own()):
        assert results_equal(handler.load_persistence(path), result)


def test_save_and_load_without_a_handler(tmp_path, monkeypatch):
    """``save`` and ``load`` take a path, in the working directory too; ``load_by`` takes a folder and keys."""
    monkeypatch.chdir(tmp_path)
    result = filled(Pair(1, "x"), data=np.arange(3))
    save(result, "example.pkl")
    save(result, "example.pkl", durable=True)
    assert results_equal(load(Pair, "example.pkl"), result)
    PickleHandler(Pair, "folder").save_persistence(result)
    assert results_equal(load_by(Pair, "folder", a=1, b="x"), result)
    assert results_equal(load_by(Pair, tmp_path / "folder", a=1, b="x"), result)
    with pytest.raises(FileNotFoundError, match="cache-Pair-1-y.pkl"):
        load_by(Pair, "folder", a=1, b="y")
    with pytest.raises(AutoIncFieldNotResolvedError):
        save(Run("A"), "x.pkl")
    with pytest.raises(RuntimeError, match="not a persistence class"):
        save(3, "x.pkl")
    assert sorted(os.listdir()) == ["example.pkl", "folder"]


def test_many_results_are_loaded_by_one_handler(tmp_path, monkeypatch):
    """``load`` and ``save`` compose a handler for a class once, whatever the folder; one for each way to trust files."""

    @persistence_class
    class Fresh:
        a: int = field(filename=True)
        b: int

    made = []
    init = PickleHandler.__init__
    monkeypatch.setattr(
        PickleHandler, "__init__", lambda self, *args, **kwargs: (made.append(kwargs), init(self, *args, **kwargs))[0]
    )
    for number in range(3):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        save(filled(Fresh(number), b=number), f"{number}.pkl")
        for path in (f"{number}.pkl", folder / f"{number}.pkl"):
            assert (load(Fresh, path).b, load(Fresh, path, trusted=False).b) == (number, number)
    assert len(made) == 3


def test_what_an_archive_cannot_do_is_refused_without_a_handler_too(tmp_path):
    """It has no file that could be mapped into memory."""
    PickleHandler(Pair, tmp_path / "a.sqlar").save_persistence(filled(Pair(1, 2), data=3))
    path = tmp_path / "a.sqlar" / "cache-Pair-1-2.pkl"
    assert load(Pair, path).data == 3
    with pytest.raises(TypeError, match="mmap_mode='r' maps files"):
        load(Pair, path, mmap_mode="r")
    with pytest.raises(ValueError, match="there is no store for lab:// URLs"):
        load(Pair, "lab://a/cache-Pair-1-2.pkl")


def test_a_tilde_is_the_home_folder_wherever_a_path_is_given(tmp_path, monkeypatch):
    """What is saved by such a path is loaded by it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))  # on Windows
    save(filled(Pair(1, 2), data=3), "~/a.pkl")
    assert (tmp_path / "a.pkl").exists()
    handler = PickleHandler(Pair, "~/results")
    handler.save_persistence(filled(Pair(4, 5), data=6))
    for path in ("~/a.pkl", Path("~/a.pkl")):
        assert load(Pair, path).data == 3
        assert handler.load_persistence(path).data == 3
        assert read_head(path).fields["data"] == 3
        assert [found.problem for found in handler.verify(path)] == [None]
    assert load_by(Pair, "~/results", a=4, b=5).data == 6


@pytest.mark.skipif(sys.platform == "win32", reason="the current folder can't be removed there")
@pytest.mark.parametrize("place", ["results", "results.sqlar"])
def test_a_relative_path_where_the_current_folder_was_removed_is_named(tmp_path, monkeypatch, place):
    """The system's own error names nothing. A handler for an absolute path still saves."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(FileNotFoundError, match=f"current folder.*{place}"):
        PickleHandler(Pair, place)
    PickleHandler(Pair, tmp_path / place).save_persistence(filled(Pair(1, 2), data="x"))


@pytest.mark.parametrize("place", [Path("s3://bucket/x"), "s3:/bucket", Path("GS://bucket/x"), "https:/host/x"])
def test_a_url_that_was_made_a_path_is_refused(tmp_path, monkeypatch, place):
    """pathlib makes one slash of two. A local folder ``s3:`` is not what was meant."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="give the URL as text, with two slashes"):
        PickleHandler(Pair, place)
    with pytest.raises(ValueError, match="give the URL as text, with two slashes"):
        save(filled(Pair(1, 2), data=3), f"{place}/a.pkl" if isinstance(place, str) else place / "a.pkl")
    assert list(tmp_path.iterdir()) == []
    PickleHandler(Pair, "abc:/x").save_persistence(filled(Pair(1, 2), data=3))  # a name as any other


def test_file_names_are_those_of_the_existing_package():
    """To the byte, for all keys that are safe in a file name."""
    handler = PickleHandler(Pair, "x")
    for a, b, name in [
        ((0.04, 1.0), None, "cache-Pair-(0.04, 1.0)-None.pkl"),
        (False, 1.5, "cache-Pair-False-1.5.pkl"),
        ("2023-01-01", "_concat", "cache-Pair-2023-01-01-_concat.pkl"),
        (np.float32(0.5), np.int64(-3), "cache-Pair-0.5--3.pkl"),
        ("*", "[ab]?", "cache-Pair-*-[ab]?.pkl"),
        ("", ".", "cache-Pair--..pkl"),
        ("é\n", 10**30, f"cache-Pair-é\n-{10**30}.pkl"),
        (missing, 1, "cache-Pair-*-1.pkl"),
    ]:
        assert handler.filename(Pair(a, b)) == name
        assert handler.filepath(None, a=a, b=b) == Path("x").absolute() / name  # a later chdir moves nothing
    assert handler.filename(Pair(1, 2), b=3) == "cache-Pair-1-3.pkl"


@pytest.mark.parametrize("value", ["a/b", "/etc/passwd", "../up", "a\0b", "x" * 250, "é" * 125, "\ud800"])
@pytest.mark.parametrize("kind", [PickleHandler, NpzHandler])
def test_a_key_cannot_leave_the_folder(kind, value, tmp_path):
    """The error names class, field and value; nothing is written."""
    handler = kind(Pair, tmp_path / "root")
    result = filled(Pair(1, value), data=2)
    for call in (handler.filename, handler.filepath, handler.save_persistence, handler.load_persistence):
        with pytest.raises(UnsafeNameError, match=r"Pair\.b = .* can't be part of a file name"):
            call(result)
    assert list(tmp_path.rglob("*")) == []


def test_a_key_of_dots_is_allowed(tmp_path):
    """``..`` is only a part of the file name, so it leads to no other folder."""
    check_round_trip(PickleHandler(Pair, tmp_path), filled(Pair("..", ".."), data=1))


def test_ext_that_leads_elsewhere_is_refused(tmp_path):
    """The error comes when the handler is made."""
    with pytest.raises(FieldDefinitionError, match="path separator"):
        PickleHandler(Pair, tmp_path, "/x.pkl")
    assert PickleHandler(Pair, tmp_path, ".cache").filename(Pair(1, 2)) == "cache-Pair-1-2.cache"


def test_different_keys_with_the_same_name_are_refused(tmp_path):
    """('a-b', 'c') and ('a', 'b-c') give one name, and so do 1 and '1': the second save fails."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(filled(Pair("a-b", "c"), data=1))
    handler.save_persistence(filled(Pair(1, 2), data=1))
    for other in (Pair("a", "b-c"), Pair("1", 2)):
        with pytest.raises(NameTakenError, match=r"a=.*b=.*a=.*b=") as caught:
            handler.save_persistence(filled(other, data=2))
        assert caught.value.path == str(handler.filepath(other))
    with pytest.raises(KeyMismatchError, match="expected 'a', found 'a-b'"):
        handler.load_persistence(Pair("a", "b-c"))
    assert handler.load_persistence(Pair("a-b", "c")).data == 1
    assert [result.a for _, result in handler.load_all(a=missing, b="c")] == ["a-b"]
    assert [result.a for _, result in handler.load_all(a="a", b=missing)] == []


def test_a_save_may_change_keys_that_are_not_in_the_name(tmp_path):
    """As a computation with another setting does: the former result is replaced."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(filled(Pair(1, 2, c="old"), data=1))
    handler.save_persistence(filled(Pair(1, 2, c="new"), data=2))
    assert handler.load_persistence(Pair(1, 2)).c == "new"


def test_names_are_matched_by_key_and_not_by_glob(tmp_path):
    """Values may hold separators, and characters that are wildcards in a shell."""
    handler = PickleHandler(Pair, tmp_path)
    values = ["A", "A-b", "[ab]", "a", "*", "?", "x[1]", "x1", "(.*)", "", "2", "10"]
    for value in values:
        handler.save_persistence(filled(Pair(value, "end"), data=value))
    (tmp_path / "cache-Pair-no-result.pkl").write_bytes(b"")  # another key
    (tmp_path / "unrelated.txt").write_bytes(b"")
    for value in values:
        assert [result.data for _, result in handler.load_all(Pair(value, "end"))] == [value]
    found = [result.data for _, result in handler.load_all(a=missing, b="end")]
    assert sorted(found) == sorted(values)
    assert found.index("2") < found.index("10")
    assert list(PickleHandler(Pair, tmp_path / "nowhere").load_all(a=missing, b=missing)) == []


def test_wildcards_where_a_key_may_be_left_out_of_the_name(tmp_path):
    """``filename=`` may be a function that returns None for some values."""

    @persistence_class
    class Optional:
        a: int = field(filename=True)
        flag: bool = field(filename=lambda value: "yes" if value else None)
        b: int = field(filename=True)

    handler = PickleHandler(Optional, tmp_path)
    for flag in (True, False):
        handler.save_persistence(Optional(1, flag, 2))
    assert sorted(result.flag for _, result in handler.load_all(Optional(1, missing, missing))) == [False, True]
    assert [result.flag for _, result in handler.load_all(a=missing, flag=False, b=2)] == [False]


def test_load_all_wants_every_key():
    """A forgotten key is an error; the wildcard is ``missing``."""
    with pytest.raises(KeyNotSetError, match=r"Pair\.b"):
        PickleHandler(Pair, "x").load_all(a=1)
    with pytest.raises(UnknownFieldError, match="no field 'q'"):
        PickleHandler(Pair, "x").load_all(Pair(1, 2), q=1)


@pytest.mark.parametrize("kind", ALL)
def test_a_handler_keeps_results_of_one_class(kind, tmp_path):
    """A result of another class would get a wrong name, or lose fields."""
    handler = kind(Pair, tmp_path)
    for call in (handler.save_persistence, handler.load_persistence, handler.load_all):
        with pytest.raises(
            WrongResultClassError, match="stores results of Pair, not of Run: use a handler made for Run"
        ):
            call(Run("A", 1))
    with pytest.raises(RuntimeError, match="int is not a persistence class"):
        handler.save_persistence(3)
    assert list(tmp_path.iterdir()) == []


def test_saving_a_result_of_a_class_that_was_defined_again(tmp_path):
    """As happens in notebooks: the error says so. Converted by as_dict and from_dict, the result can still be saved."""

    def define():
        @persistence_class
        class Again:
            a: int = field(filename=True)

        return Again

    old, new = define(), define()
    handler = PickleHandler(new, tmp_path)
    with pytest.raises(WrongResultClassError, match="was defined again after this result was made"):
        handler.save_persistence(old(1))
    handler.save_persistence(from_dict(new, as_dict(old(1))))


def test_an_undecorated_subclass_is_a_result_of_its_base(tmp_path):
    """It has no name and no fields of its own."""

    class Sub(Pair):
        pass

    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(filled(Sub(1, 2), data=3))
    assert type(PickleHandler(Sub, tmp_path).load_persistence({"a": 1, "b": 2})) is Sub


def test_a_missing_number_is_an_error(tmp_path):
    """Where a file name is needed and the auto-increment key has no number."""
    handler = PickleHandler(Run, tmp_path)
    with pytest.raises(AutoIncFieldNotResolvedError, match="Run.version is an auto-increment field without a number"):
        handler.load_persistence(Run("A"))
    with pytest.raises(AutoIncFieldNotResolvedError):
        handler.filepath(Run("A"))
    with pytest.raises(AutoIncFieldNotResolvedError):
        handler.save_persistence(Run("A"), tmp_path / "x")
    assert handler.filepath(Run("A"), version=3).name == "cache-Run-A-#3.pkl"
    (tmp_path / "open.pkl").write_bytes(pickle.dumps({"animal": "A", "version": None}))
    with pytest.raises(AutoIncFieldNotResolvedError, match=r"open.pkl: the result in it has no number"):
        handler.load_persistence(tmp_path / "open.pkl")


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        (b"", CorruptResultError, "EOFError"),
        (b"just text", CorruptResultError, "damaged or not a result file"),
        (pickle.dumps({"a": 1, "b": 2})[:-3], CorruptResultError, ""),
        (pickle.dumps([1]), NotAResultError, "holds a list, not a result of Pair"),
        (pickle.dumps({"a": 1}), KeyError, "missing required field Pair.b"),
        (b"\x1f\x8bnot gzip", CorruptResultError, ""),
        (b"cno_such_module\nX\n.", UnloadableResultError, "No module named 'no_such_module'"),
    ],
)
def test_a_file_that_is_no_result_is_named(content, kind, text, tmp_path):
    """The error says which file it is, and what is wrong with it."""
    path = tmp_path / "bad.pkl"
    path.write_bytes(content)
    for handler in (PickleHandler(Pair, tmp_path), GzipHandler(Pair, tmp_path)):
        with pytest.raises(kind) as caught:
            handler.load_persistence(path)
        message = f"{caught.value} {getattr(caught.value, '__notes__', '')}"
        assert str(path) in message
        assert text in message
    with pytest.raises(IsADirectoryError):
        handler.load_persistence(tmp_path)
    with pytest.raises(FileNotFoundError):
        handler.load_persistence(tmp_path / "nothing")


def test_one_unreadable_file_is_named_by_load_all(tmp_path):
    """The results before it are loaded."""
    handler = PickleHandler(Run, tmp_path)
    for _ in range(3):
        handler.save_persistence(Run("A"))
    (tmp_path / "cache-Run-A-#1.pkl").write_bytes(b"torn")
    found = handler.load_all(Run("A"))
    assert next(found)[1].version == 0
    with pytest.raises(CorruptResultError, match="#1.pkl"):
        next(found)


def test_gzip_files_are_checked_to_the_end(tmp_path):
    """CRC, length, what follows, and every truncation."""
    handler = GzipHandler(Pair, tmp_path)
    handler.save_persistence(filled(Pair(1, 2), data=list(range(100))))
    path = handler.filepath(Pair(1, 2))
    good = path.read_bytes()
    bad = [
        good[:-8] + struct.pack("<I", 1) + good[-4:],
        good[:-4] + struct.pack("<I", 1),
        good + b"x",
        good[:-8] + b"\0" * 8,
    ]
    bad += [good[:size] for size in range(len(good))]
    for content in bad:
        path.write_bytes(content)
        with pytest.raises(CorruptResultError):
            handler.load_persistence(path)
    path.write_bytes(good)
    assert results_equal(PickleHandler(Pair, tmp_path).load_persistence(path), handler.load_persistence(path))
    assert pickle.loads(gzip.decompress(good))["data"] == list(range(100))


def test_gzip_handler_reads_plain_and_old_files(tmp_path):
    """The oldest files hold the instance itself and no dict, compressed or not."""
    result = filled(Pair(1, 2), data=3)
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    plain.write_bytes(pickle.dumps(result))
    packed.write_bytes(gzip.compress(pickle.dumps(result)))
    for handler in (PickleHandler(Pair, tmp_path), GzipHandler(Pair, tmp_path)):
        for path in (plain, packed):
            assert results_equal(handler.load_persistence(path), result)


def test_the_compression_level_changes_the_size(tmp_path):
    """A higher level gives a smaller file."""
    sizes = []
    for level in (0, 1, 9, None):
        handler = GzipHandler(Pair, tmp_path, f".{level}", compression=level)
        handler.save_persistence(filled(Pair(1, 2), data=[1.5] * 10_000))
        sizes.append(handler.filepath(Pair(1, 2)).stat().st_size)
    assert sizes[0] > 20 * sizes[1] >= 20 * sizes[2]
    for wrong in (-1, 10, "9", True, 1.0):
        with pytest.raises(ValueError, match="compression must be an int from 0 to 9"):
            GzipHandler(Pair, tmp_path, compression=wrong)


def test_pickles_are_plain(tmp_path):
    """Any Python reads them without this library."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(filled(Pair(1, 2), data=np.arange(3)))
    found = pickle.loads(handler.filepath(Pair(1, 2)).read_bytes())
    assert type(found) is dict
    assert list(found) == ["a", "b", "c", "data"]


def test_a_result_of_length_0_is_a_result(tmp_path):
    """Its truth value is False, which must not count as "no result"."""

    @persistence_class
    class Empty:
        a: int = field(filename=True)

        def __len__(self):
            return 0

    handler = PickleHandler(Empty, tmp_path)
    result = Empty(1)
    handler.save_persistence(result)
    assert handler.filename(result) == "cache-Empty-1.pkl"
    assert len(list(handler.load_all(result))) == 1


def test_validation_compares_arrays_and_nan(tmp_path):
    """Keys may hold them. A loaded result that does not validate counts as a missing file."""
    handler = PickleHandler(Pair, tmp_path)
    one, same, other = (Pair(np.array([1, value]), float("nan")) for value in (2, 2, 3))
    assert handler.validate(one, same) is True
    assert handler.validate(one, as_dict(same)) is True
    with pytest.raises(FileNotFoundError, match=r"Pair.a does not match: expected array.*, found array"):
        handler.validate(one, other)
    assert handler.validate(Pair(missing, missing), other) is True


KEY = st.one_of(st.text("ab-#*", max_size=3), st.integers(-2, 2), st.booleans(), st.none(), st.text(max_size=3))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(KEY, KEY), max_size=8))
def test_distinct_keys_never_lose_a_result(tmp_path, keys):
    """Each is saved and found again, or refused, and then the former file is untouched."""
    import tempfile

    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        handler = PickleHandler(Pair, folder)
        kept: dict[str, tuple[Any, Any]] = {}
        for a, b in keys:
            try:
                handler.save_persistence(filled(Pair(a, b), data=(a, b)))
            except UnsafeNameError:
                assert any(character in f"{a}{b}" for character in "/\0") or not f"{a}{b}".isprintable()
            except NameTakenError:
                name = handler.filename(Pair(a, b))
                assert (repr(kept[name])) != repr((a, b))
            else:
                kept.setdefault(handler.filename(Pair(a, b)), (a, b))
        assert sorted(os.listdir(folder)) == sorted(kept)
        for name, pair in kept.items():
            assert load(Pair, os.path.join(folder, name)).data == pair
        found = [repr(result.data) for _, result in handler.load_all(a=missing, b=missing)]
        assert sorted(found) == sorted(repr(value) for value in kept.values())


def test_the_default_level_is_the_quickest_where_a_file_takes_one_block_anyway(tmp_path):
    """A file below one disk block is not compressed harder by default. A level that was passed is used at any size."""
    data = bytes(range(256)) * 8

    def size(**options):
        handler = GzipHandler(Pair, tmp_path / str(options), **options)
        handler.save_persistence(filled(Pair(1, "a"), data=data))
        return handler.filepath(Pair(1, "a")).stat().st_size

    assert size() == size(compression=1)
    assert size(compression=0) > len(data)
