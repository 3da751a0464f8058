"""Handlers work with any store, unless they need a local file; the contract suite finds mistakes of a store."""

from __future__ import annotations

import copy
import datetime
import errno
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from checks import filled, needs_zstd

from neuralib.persistence import (
    CorruptResultError,
    FileHandler,
    GzipHandler,
    NameTakenError,
    PersistenceHandler,
    PickleHandler,
    UnsafeNameError,
    ZstdHandler,
    autoinc_field,
    field,
    missing,
    persistence_class,
    results_equal,
)
from neuralib.persistence.cli_persistence import PersistenceOptions
from neuralib.persistence.stores import (
    ArchiveStore,
    BytesSource,
    FolderStore,
    MemoryDraft,
    MemoryStore,
    Put,
    Source,
    Stat,
    State,
    Store,
)
from neuralib.persistence.testing import ContractError, check_store


class DictStore(Store):
    """A store that defines the abstract methods only."""

    url = "dict://here"

    def __init__(self):
        self.entries = {}
        self.lock = threading.Lock()

    def put(self, name, content, /, *, replace=False, durable=False):
        data = content if isinstance(content, bytes) else content.content()
        while True:
            with self.lock:
                there = self.entries.get(name)
                if there is None or replace is True:
                    self.entries[name] = data
                    return
            if replace is False:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
            replace(BytesSource(there))
            with self.lock:
                if self.entries.get(name) is there:
                    self.entries[name] = data
                    return

    def _get(self, name):
        try:
            return self.entries[name]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from None

    def open(self, name, /):
        return BytesSource(self._get(name))

    def names(self, prefix="", /):
        return (name for name in list(self.entries) if name.startswith(prefix))

    def stat(self, name, /):
        return Stat(len(self._get(name)), 1.0)

    def delete(self, name, /):
        self._get(name)
        del self.entries[name]


@persistence_class
class Shuffle:
    animal: str = field(validator=True, filename=True)
    run: int = autoinc_field("#")
    weights: np.ndarray
    score: float


@persistence_class
class Map:
    animal: str = field(validator=True, filename=True)
    plane: int = field(validator=True, filename=True)
    weights: np.ndarray
    score: float


class MapOptions(PersistenceOptions[Map]):
    """Options with the default handler."""

    computed = 0

    def empty_cache(self):
        return Map("A", 0)

    def compute_cache(self, result):
        type(self).computed += 1
        if result.plane == 13:
            raise ValueError("no data")
        return values(result, result.plane)


def values(result, score=1.0, size=5):
    return filled(result, weights=np.arange(size) * 1.0, score=float(score))


@pytest.fixture(params=[MemoryStore, DictStore, FolderStore, ArchiveStore], ids=lambda kind: kind.__name__)
def store(request, tmp_path):
    return made_store(request.param, tmp_path)


def made_store(kind, tmp_path):
    if kind is ArchiveStore:
        return ArchiveStore(tmp_path / "made" / "results.sqlar")
    return kind(tmp_path / "made") if kind is FolderStore else kind()


@pytest.fixture(
    params=[PickleHandler, GzipHandler, pytest.param(ZstdHandler, marks=needs_zstd)], ids=lambda kind: kind.__name__
)
def kind(request):
    return request.param


# ---------------------------------------------------------------------------------------------- our own stores


def test_our_stores_keep_the_contract(tmp_path):
    """Each on a folder that exists, and on one that is made."""
    check_store(MemoryStore)
    check_store(DictStore)
    folders = iter(range(1000))

    def make():
        folder = tmp_path / str(next(folders))
        folder.mkdir()
        return FolderStore(folder)

    check_store(make)
    check_store(lambda: FolderStore(tmp_path / str(next(folders)) / "made" / "here"))
    check_store(lambda: ArchiveStore(tmp_path / str(next(folders)) / "made" / "results.sqlar"))


@pytest.mark.parametrize("content", ["text", bytearray(b"data"), 3, None, "draft of another"], ids=repr)
@pytest.mark.parametrize("kind", [MemoryStore, FolderStore, ArchiveStore])
def test_content_that_is_neither_bytes_nor_a_draft_is_refused(kind, tmp_path, content):
    """Nothing is stored, and what there is stays."""
    store = made_store(kind, tmp_path)
    store.put("mine", b"mine")
    if content == "draft of another":
        content = (MemoryStore() if kind is FolderStore else FolderStore(tmp_path)).draft()
    for put in (
        lambda: store.put("new", content),
        lambda: store.put("mine", content, replace=True),
        lambda: store.put("new", content, durable=True),
        lambda: store.put_if("new", content, store.state()),
        lambda: store.put_many([Put("new", content)]),
    ):
        with pytest.raises(TypeError, match=f"takes bytes, or a draft .* not {type(content).__name__}: convert"):
            put()
    assert list(store.names()) == ["mine"]
    assert store.open("mine").read() == b"mine"


@pytest.mark.parametrize("name", ["../theirs", "sub/theirs", "sub/../mine", "./mine", "mine/", "", ".", "..", "mine\0"])
@pytest.mark.parametrize("kind", [MemoryStore, FolderStore, ArchiveStore])
def test_a_name_never_leads_out_of_the_store(kind, tmp_path, name):
    """Whichever verb is given it, it is refused, or there is nothing under it; what others have there stays."""
    store = made_store(kind, tmp_path)
    for folder in (tmp_path, tmp_path / "made" / "sub"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "theirs").write_bytes(b"theirs")
    store.put("mine", b"mine")
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*") if ".sqlar" not in path.name}
    draft = store.draft()
    draft.write(b"1")
    puts = [Put(name, b"1")]
    for put in (
        *(lambda how=how: store.put(name, b"1", **how) for how in ({}, {"replace": True}, {"durable": True})),
        lambda: store.put(name, b"1", replace=print),
        lambda: store.put(name, draft),
        lambda: store.put_if(name, b"1", None),
        lambda: store.put_if(name, b"1", store.state()),
        *(lambda durable=durable: store.put_many(puts, durable=durable) for durable in (False, True)),
        lambda: store.put_many([Put(name, b"1", replace=True, time_ns=1)]),
    ):
        with pytest.raises(
            OSError, match="the store takes no such name, since it is a path, empty, or has a NUL char"
        ) as caught:
            put()
        assert caught.value.errno == errno.EINVAL
    draft.discard()
    for verb in (store.open, store.open_to_map, store.stat, store.delete):
        with pytest.raises(FileNotFoundError):
            verb(name)
    assert not store.has(name)
    assert store.which([name, "mine"]) == ["mine"]
    assert store.delete_many({name: None}) == []
    assert list(store.names()) == (["mine", "sub"] if isinstance(store, FolderStore) else ["mine"])
    assert store.open("mine").read() == b"mine"
    if isinstance(store, FolderStore):
        with pytest.raises(FileNotFoundError):
            store.sync([name])
        with pytest.raises(OSError, match="takes no such name"):
            store.draft_by_hook(lambda path: path.write_bytes(b"1"), name)
    assert before == {
        path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*") if ".sqlar" not in path.name
    }


# ---------------------------------------------------------------------------------------------- handlers on any store


def test_plain_saves_and_loads(kind, store):
    """New, replaced, small, large; by keys, by result, by name, by path."""
    handler = kind(Map, store)
    assert handler.store is store
    for score, size in ((1, 5), (2, 5), (3, 300_000), (4, 5)):
        result = values(Map("A", 1), score, size)
        assert handler.save_persistence(result) is result
        name = "cache-Map-A-1" + handler.suffix
        assert list(store.names()) == [name]
        for address in (result, {"animal": "A", "plane": 1}, handler.filepath(result)):
            assert results_equal(handler.load_persistence(address), result)
        if store.local_folder() is None:
            assert handler.filepath(result) == store.path(name)
            assert handler.filepath(result).name == name
            assert results_equal(handler.load_persistence(name), result)
    with pytest.raises(FileNotFoundError, match="cache-Map-B-1"):
        handler.load_persistence(Map("B", 1))


def test_results_of_one_name_do_not_replace_each_other(kind, store):
    """The keys of the former result are compared before it is replaced."""
    handler = kind(Map, store)
    handler.save_persistence(values(Map("A-1", 1)))
    with pytest.raises(NameTakenError, match="already holds another result"):
        kind(filename_twin(), store).save_persistence(values(filename_twin()("A", "1-1")))
    assert handler.load_persistence(Map("A-1", 1)).score == 1.0


def filename_twin():
    return _Twin


@persistence_class(name="Map")
class _Twin:
    animal: str = field(validator=True, filename=True)
    plane: str = field(validator=True, filename=True)
    weights: np.ndarray
    score: float


_Twin.__qualname__ = "Map"


def test_a_save_under_another_name(kind, store):
    """Where there are no files, a path is a name."""
    if store.local_folder() is not None:
        pytest.skip("tried with paths elsewhere")
    handler = kind(Map, store)
    handler.save_persistence(values(Map("A", 1)), "best")
    assert list(store.names()) == ["best"]
    assert handler.load_persistence("best").plane == 1
    assert [found.problem for found in handler.verify("best")] == [None]


def test_numbered_saves_and_batches(kind, store):
    """Each number once, also if some are set explicitly."""
    handler = kind(Shuffle, store)
    numbers = [handler.save_persistence(values(Shuffle("A"), run)).run for run in range(3)]
    batch = [values(Shuffle("A"), 3 + run) for run in range(3)]
    assert handler.save_all(batch) == 3
    kind(Shuffle, store).save_persistence(values(Shuffle("A"), 6))
    durable = [values(Shuffle("A"), 7 + run, 20_000) for run in range(3)]
    assert handler.save_all(durable, durable=True) == 3
    assert [*numbers, *(result.run for result in batch)] == [0, 1, 2, 3, 4, 5]
    assert {result.run for result in durable} == {7, 8, 9}
    loaded = [result for _, result in handler.load_all(animal="A")]
    assert [result.run for result in loaded] == list(range(10))
    assert {result.run: result.score for result in loaded} == {
        result.run: result.score for result in [*batch, *durable, *loaded[:3], loaded[6]]
    }
    for _, result in kind(Shuffle, store, threads=3).load_all(animal=missing):
        assert result.weights[1] == 1.0


def test_a_durable_handler(kind, store):
    """Each save waits, if the store has something to wait for."""
    handler = kind(Shuffle, store, durable=True)
    assert [handler.save_persistence(values(Shuffle("A"))).run for _ in range(3)] == [0, 1, 2]
    assert len(handler.find()) == 3


def test_threads_share_no_number(kind, store):
    """With a handler each, and with one for all."""
    shared = kind(Shuffle, store)

    def save(number):
        handler = shared if number % 2 else kind(Shuffle, store)
        return [handler.save_persistence(values(Shuffle("A"))).run for _ in range(10)]

    with ThreadPoolExecutor(6) as pool:
        runs = sorted(run for found in pool.map(save, range(6)) for run in found)
    assert runs == list(range(60))


def test_finding(kind, store):
    """By names, by fields, as tables, as one array."""
    handler = kind(Shuffle, store)
    handler.save_all(values(Shuffle(animal), run, 10_000) for animal in "AB" for run in range(3))
    handler.save_all(values(Shuffle("C"), run, 5) for run in range(2))
    assert [hit.keys["run"] for hit in handler.find(animal="A")] == [0, 1, 2]
    assert [hit.keys["animal"] for hit in handler.find(score=2.0)] == ["A", "B"]
    assert [hit.keys for hit in handler.find(run=lambda run: run > 1)] == [
        {"animal": "A", "run": 2},
        {"animal": "B", "run": 2},
    ]
    found = handler.find(animal={"A", "B"})
    assert found.to_columns("score") == {
        "animal": ["A"] * 3 + ["B"] * 3,
        "run": [0, 1, 2] * 2,
        "score": [0.0, 1.0, 2.0] * 2,
    }
    assert found.stack("weights").shape == (6, 10_000)
    assert [hit.keys["run"] for hit in handler.find().latest()] == [2, 2, 1]
    assert store.url in repr(found)
    assert "6 found" in found._repr_html_()
    first = found.first()
    assert first.size_bytes == store.stat(first.name).size_bytes > 0
    assert isinstance(first.time_modified, datetime.datetime)
    assert first.fields("score", "weights")["weights"].shape == (10_000,)
    assert first in found
    assert first.path in found
    assert first.name in found
    assert Shuffle("D") not in handler.find(animal="D")
    assert found.paths[0] == store.path(first.name)
    assert found.to_columns(path=True)["path"] == [store.location(hit.name) for hit in found]


@pytest.mark.parametrize("text", ["a\0", "a\ud800"])
def test_a_name_that_no_file_can_have_is_not_found(store, text):
    """By all keys, in which case few names are looked at one by one, by some of them, and by the name."""
    handler, numbered = PickleHandler(Map, store), PickleHandler(Shuffle, store)
    handler.save_persistence(values(Map("A", 1)))
    numbered.save_persistence(values(Shuffle("A")))
    for found in (handler.find(animal=text, plane=1), handler.find(animal=text), numbered.find(animal=text)):
        assert len(found) == 0
    assert [hit.keys["animal"] for hit in handler.find(animal=[text, "A"], plane=1)] == ["A"]
    for name in (f"cache-Map-{text}-1.pkl", store.path(f"cache-Map-{text}-1.pkl")):
        with pytest.raises(FileNotFoundError, match="no result is saved there"):
            handler.load_persistence(name)


@pytest.mark.parametrize("text", ["a/b", "a\0", "x" * 300])
def test_the_error_for_a_wanted_name_names_the_key_at_fault(store, text):
    """Not the number, which may be any."""
    handler = PickleHandler(Shuffle, store)
    with pytest.raises(UnsafeNameError, match=r"^Shuffle\.animal = ") as caught:
        list(handler.load_all(Shuffle(text)))
    assert caught.value.field == "animal"


def test_tables_of_pandas(store):
    """A table of results in memory has the same values as one of a folder."""
    pytest.importorskip("pandas")
    handler = PickleHandler(Shuffle, store)
    handler.save_all(values(Shuffle("A"), run) for run in range(3))
    assert handler.find().to_pandas("score")["score"].tolist() == [0.0, 1.0, 2.0]


def test_todo_and_the_mixin(kind, store):
    """What is missing is computed by threads, what is there is loaded, and failures are reported."""

    class Options(MapOptions):
        def persistence_handler(self, dest=None):
            return kind(Map, dest)

    options = Options()
    handler = kind(Map, store)
    grid = {"animal": ["A", "B"], "plane": range(5)}
    handler.save_persistence(values(Map("A", 1), 77))
    assert [(wanted.animal, wanted.plane) for wanted in handler.todo(grid)][:2] == [("A", 0), ("A", 2)]
    with ThreadPoolExecutor(4) as pool:
        report = options.compute_missing(grid, pool, progress=False, dest=store)
        failing = options.compute_missing({"animal": ["A"], "plane": [13]}, pool, progress=False, dest=store)
    assert (report.saved, list(report)) == (9, [])
    assert [failure.error for failure in failing] == ["ValueError"]
    assert list(handler.todo(grid)) == []
    computed = Options.computed
    assert options.load_cache(dest=store, plane=1).score == 77.0
    assert options.load_cache(dest=store, animal="B", plane=2).score == 2.0
    assert Options.computed == computed
    assert options.load_cache(dest=store, plane=9).score == 9.0
    assert Options.computed == computed + 1
    with pytest.raises(FileNotFoundError, match="no result to load"):
        options.load_cache(dest=store, plane=10, error_when_missing=True)
    assert len(options.find_cache(Map("A", missing), dest=store)) == 6
    options.save_cache(values(Map("A", 20)), dest=store)
    with pytest.raises(FileExistsError, match="force is False"):
        options.save_cache(values(Map("A", 20)), dest=store, force=False)


def test_verify_delete_and_sweep(kind, store):
    """Damage and wrong names are found; only results are deleted."""
    handler = kind(Map, store)
    for plane in range(4):
        handler.save_persistence(values(Map("A", plane)))
    names = sorted(store.names())
    with store.open(names[1]) as source:
        whole = source.read()
    store.put(names[1], whole[:40], replace=True)
    store.put(names[2], whole, replace=True)
    problems = {found.path.name: type(found.problem).__name__ for found in handler.verify() if found.problem}
    assert problems == {names[1]: "CorruptResultError", names[2]: "KeyMismatchError"}
    assert all(found.checksummed for found in handler.verify(Map("A", 0)))
    with pytest.raises(CorruptResultError, match="is damaged"):
        handler.load_persistence(Map("A", 1))
    found = handler.find(animal="A")
    assert [path.name for path in found.delete()] == [names[0], names[3]]
    assert sorted(store.names()) == names
    found.delete(dry_run=False)
    assert sorted(store.names()) == names[1:3]
    assert handler.sweep(older_than_s=0) == []


def test_pickles_of_others_load_from_any_store(store):
    """Large ones too, trusted or not: the source that a store opens need not be a file."""
    fields = {"animal": "A", "plane": 1, "weights": np.arange(300_000.0), "score": list(range(30_000))}
    store.put("cache-Map-A-1.pkl", pickle.dumps(fields, 4))
    for trusted in (True, False):
        handler = PickleHandler(Map, store, trusted=trusted)
        assert handler.load_persistence(Map("A", 1)).weights[-1] == 299_999.0
        assert len(handler.find(score=lambda score: score[-1] == 29_999)) == 1
        assert [found.problem for found in handler.verify()] == [None]


def test_a_field_after_one_of_very_many_values_is_found(store):
    """The head ends before it; then the whole file is read."""
    handler = PickleHandler(Map, store)
    handler.save_persistence(filled(Map("A", 1), weights=list(range(400_000)), score=3.0))
    assert [hit.keys["plane"] for hit in handler.find(score=3.0)] == [1]


# ---------------------------------------------------------------------------------------------- what needs local files


class ByPath(PickleHandler):
    def _save_persistence(self, result, path):
        raise AssertionError("never called")


class ElsewhereHandler(PickleHandler):
    def filepath(self, result, /, **kwargs):
        raise AssertionError("never called")


class Renamed(PickleHandler):
    """A handler with its own names, which needs no local file."""

    def filename(self, result, /, **kwargs):
        return "mine-" + super().filename(result, **kwargs)


@pytest.mark.parametrize("make", [MemoryStore, DictStore])
def test_what_needs_a_local_file_is_refused_at_once(make):
    """The error says what to do."""
    with pytest.raises(TypeError, match=r"mmap_mode='r' maps files, and .* has no local files: .*leave mmap_mode out"):
        PickleHandler(Map, make(), mmap_mode="r")
    for kind in (ByPath, ElsewhereHandler):
        with pytest.raises(
            TypeError, match=f"{kind.__name__} overrides methods that work on paths, and .*use a folder"
        ):
            kind(Map, make())
    with pytest.raises(TypeError, match=r"save_root is a folder, and .* has no local files: use handler.store"):
        PickleHandler(Map, make()).save_root  # noqa: B018


def test_a_custom_name_needs_no_local_file(store):
    """Numbered or not."""
    handler = Renamed(Map, store)
    handler.save_persistence(values(Map("A", 1)))
    assert list(store.names()) == ["mine-cache-Map-A-1.pkl"]
    assert handler.load_persistence(Map("A", 1)).score == 1.0
    assert [hit.keys for hit in handler.find()] == [{"animal": "A", "plane": 1}]
    runs = Renamed(Shuffle, store)
    assert [runs.save_persistence(values(Shuffle("A"))).run for _ in range(3)] == [0, 1, 2]


def test_a_users_format_takes_any_store(store):
    """As it takes a folder."""

    class TextHandler(FileHandler):
        suffix = ".txt"

        def _write(self, fields, file):
            file.write(repr(fields).encode())

        def _read(self, file):
            return eval(file.read())

    handler = TextHandler(Map, store)
    handler.save_persistence(filled(Map("A", 1), weights=[1.0], score=1.0))
    assert handler.load_persistence(Map("A", 1)).weights == [1.0]
    assert len(handler.find(score=1.0)) == 1


def test_urls_of_no_store_are_refused():
    """A folder of that name would be a surprise."""
    with pytest.raises(ValueError, match="there is no store for ftp:// URLs"):
        PickleHandler(Map, "ftp://host/results")


# ---------------------------------------------------------------------------------------------- copies


def test_a_handler_on_a_folder_can_be_copied(kind, tmp_path):
    """Before and after it was used: the copy works on the same folder."""
    handler = kind(Map, FolderStore(tmp_path), trusted=[complex])
    for _ in range(2):
        for twin in (pickle.loads(pickle.dumps(handler)), copy.copy(handler), copy.deepcopy(handler)):
            assert repr(twin) == repr(handler)
            twin.save_persistence(values(Map("A", 1)))
            assert handler.load_persistence(Map("A", 1)).score == 1.0
            assert twin.filepath(Map("A", 2)) == handler.filepath(Map("A", 2))


class HookHandler(PersistenceHandler):
    persistence_class = Map
    save_root = property(lambda self: self.root)

    def __init__(self, root):
        self.root = root

    def _save_persistence(self, result, path):
        path.write_text(repr(result.score))

    def _load_persistence(self, path):
        return values(Map("A", 1), float(path.read_text()))


def test_a_handler_with_hooks_can_be_copied_after_use(tmp_path):
    """As before it was used."""
    handler = HookHandler(tmp_path)
    handler.save_persistence(values(Map("A", 1), 7))
    assert pickle.loads(pickle.dumps(handler)).load_persistence(Map("A", 1)).score == 7.0
    assert copy.deepcopy(handler).load_persistence(Map("A", 1)).score == 7.0


def test_a_copy_of_a_store_in_memory_is_its_own():
    """It begins with the content of the original, and then has its own."""
    store = MemoryStore()
    PickleHandler(Map, store).save_persistence(values(Map("A", 1)))
    for twin in (pickle.loads(pickle.dumps(store)), copy.copy(store), copy.deepcopy(store)):
        assert (list(twin.names()), twin.url != store.url) == (list(store.names()), True)
        twin.put("x", b"")
        assert not store.has("x")
    handler = pickle.loads(pickle.dumps(PickleHandler(Map, store)))
    assert handler.load_persistence(Map("A", 1)).score == 1.0


# ---------------------------------------------------------------------------------------------- stores that are broken


class ShortSource(BytesSource):
    def read_at(self, count, at, /):
        return super().read_at(count - 1, at)


class OffSource(Source):
    """Says another size than it has."""

    def __init__(self, data):
        self.data, self.size = data, len(data) + 1

    def read_at(self, count, at, /):
        return self.data[at : at + count]


class Never(State):
    def is_unchanged(self, now, /):
        return False


class Ever(State):
    def is_unchanged(self, now, /):
        return True


def raising(error):
    def act(self, *_, **__):
        raise error

    return act


def last_wins(self, name, content, /, *, replace=False, durable=False):
    self.entries[name] = content if isinstance(content, bytes) else content.content()


def races(self, name, content, /, *, replace=False, durable=False):
    if name in self.entries and not replace:
        raise FileExistsError(name)
    threading.Event().wait(0.0005)
    DictStore.put(self, name, content, replace=replace or True)


def half(self, name, content, /, *, replace=False, durable=False):
    data = content if isinstance(content, bytes) else content.content()
    DictStore.put(self, name, data[: len(data) // 2] if len(data) > 100 else data, replace=replace)


def bytes_to_replace(self, name, content, /, *, replace=False, durable=False):
    if callable(replace) and name in self.entries:
        replace(self.entries[name])
        replace = True
    DictStore.put(self, name, content, replace=replace)


def never_asks(self, name, content, /, *, replace=False, durable=False):
    DictStore.put(self, name, content, replace=bool(replace))


def never_replaces(self, name, content, /, *, replace=False, durable=False):
    DictStore.put(self, name, content)


def only_bytes(self, name, content, /, *, replace=False, durable=False):
    DictStore.put(self, name, bytes(content), replace=replace)


def mangled(self, name, content, /, *, replace=False, durable=False):
    DictStore.put(self, name.lower(), content, replace=replace)


def taken_for_paths(self, name, content, /, *, replace=False, durable=False):
    DictStore.put(self, os.path.normpath(name), content, replace=replace)


def refuses_paths(self, name, content, /, *, replace=False, durable=False):
    if os.path.normpath(name) != name:
        raise OSError(errno.EINVAL, "a path", name)
    DictStore.put(self, name, content, replace=replace)


def all_or_nothing(self, puts, outcomes=None, /, *, durable=False):
    for put in puts:
        self.put(put.name, put.content, replace=put.replace)
    return [None] * len(puts)


class LostDraft(MemoryDraft):
    __slots__ = ()

    def write(self, data, /):
        self.size += len(data)


BROKEN = [
    ("put", dict(put=last_wins)),
    ("put", dict(put=races)),
    ("put", dict(put=half)),
    ("put", dict(put=bytes_to_replace)),
    ("put", dict(put=never_asks)),
    ("put", dict(put=never_replaces)),
    ("put", dict(put=only_bytes)),
    ("put", dict(put=raising(PermissionError("no")))),
    ("names", dict(put=mangled)),
    ("put", dict(put=taken_for_paths)),
    ("open", dict(_get=lambda self, name: DictStore._get(self, os.path.normpath(name)), put=refuses_paths)),
    ("open", dict(open=lambda self, name, /: BytesSource(self._get(os.path.normpath(name))), put=refuses_paths)),
    ("stat", dict(stat=lambda self, name, /: Stat(len(self._get(os.path.normpath(name))), 1.0), put=refuses_paths)),
    ("open", dict(open=lambda self, name, /: None)),
    ("open", dict(open=lambda self, name, /: self._get(name))),
    ("open", dict(open=lambda self, name, /: BytesSource(self.entries.get(name, b"")))),
    ("open", dict(open=lambda self, name, /: BytesSource(self.entries[name]))),
    ("read", dict(open=lambda self, name, /: BytesSource(self._get(name).decode("latin-1")))),
    ("read_at", dict(open=lambda self, name, /: ShortSource(self._get(name)))),
    ("size", dict(open=lambda self, name, /: OffSource(self._get(name)))),
    ("names", dict(names=lambda self, prefix="", /: None)),
    ("names", dict(names=lambda self, prefix="", /: list(self.entries))),
    ("names", dict(names=lambda self, prefix="", /: [name.encode() for name in self.entries])),
    ("names", dict(names=lambda self, prefix="", /: [n for n in self.entries if n.startswith(prefix)] * 2)),
    (
        "names",
        dict(names=lambda self, prefix="", /: [n for n in self.entries if n.startswith(prefix) and "ü" not in n]),
    ),
    ("names", dict(names=lambda self, prefix="", /: ["left over"])),
    ("stat", dict(stat=lambda self, name, /: (len(self._get(name)), 0.0))),
    ("stat", dict(stat=lambda self, name, /: Stat(len(self._get(name)) + 1, 0.0))),
    ("stat", dict(stat=lambda self, name, /: Stat(len(self.entries.get(name, b"")), 0.0))),
    ("stat", dict(stat=lambda self, name, /: Stat(len(self._get(name)), 0.0, version=1))),
    ("stat", dict(stat=lambda self, name, /: Stat(len(self._get(name)), "today"))),
    ("delete", dict(delete=lambda self, name, /: None)),
    ("delete", dict(delete=lambda self, name, /: self.entries.pop(name))),
    ("delete", dict(delete=lambda self, name, /: self._get(name) and self.entries.clear())),
    ("delete", dict(delete=lambda self, name, /: self._get(name) and None)),
    ("has", dict(has=lambda self, name, /: True)),
    ("has", dict(has=lambda self, name, /: False)),
    ("which", dict(which=lambda self, names, /: None)),
    ("which", dict(which=lambda self, names, /: [])),
    ("which", dict(which=lambda self, names, /: sorted(set(names) & set(self.entries)))),
    ("highest", dict(highest=lambda self, head, tail, /: None)),
    ("highest", dict(highest=lambda self, head, tail, /: 0)),
    ("highest", dict(highest=lambda self, head, tail, /: 9 if self.entries else -1)),
    ("draft", dict(draft=lambda self: None)),
    ("put", dict(draft=lambda self: LostDraft())),
    ("delete_many", dict(delete_many=lambda self, versions, /: None)),
    ("delete_many", dict(delete_many=lambda self, versions, /: [self.delete(name) or name for name in versions])),
    ("delete_many", dict(delete_many=lambda self, versions, /: ["a", "d"])),
    ("put_many", dict(put_many=all_or_nothing)),
    ("put_many", dict(put_many=lambda self, puts, outcomes=None, /, *, durable=False: [None] * len(puts))),
    ("put_many", dict(put_many=lambda self, puts, outcomes=None, /, *, durable=False: Store.put_many(self, puts))),
    ("put_if", dict(put_if=lambda self, name, content, expected, /, *, durable=False: None)),
    (
        "put_if",
        dict(put_if=lambda self, name, content, expected, /, *, durable=False: self.put(name, content, replace=True)),
    ),
    ("state", dict(state=lambda self: 3)),
    ("state", dict(state=lambda self: Never())),
    ("state", dict(state=lambda self: Ever())),
    ("location", dict(location=lambda self, name, /: None)),
    ("path", dict(path=lambda self, name, /: name)),
    ("sweep", dict(sweep=lambda self, older_than_s=0, /: None)),
    ("group_size", dict(group_size=lambda self: 0)),
    ("url", dict(url=None)),
]


@pytest.mark.parametrize(("verb", "changes"), BROKEN, ids=[f"{i}-{verb}" for i, (verb, _) in enumerate(BROKEN)])
def test_a_broken_store_is_found(verb, changes):
    """The error names the class, the method, what was expected, and what came."""
    broken = type("TapeStore", (DictStore,), changes)
    with pytest.raises(ContractError, match=rf"\.{verb} breaks its contract: expected .*; got ") as caught:
        check_store(broken)
    assert caught.value.verb == verb
    assert caught.value.owner in {"TapeStore", "BytesSource", "ShortSource", "OffSource"}


def test_what_is_no_store_is_found():
    """A path is no store; ``FolderStore`` of it is."""
    with pytest.raises(ContractError, match="expected a Store; got 'results'"):
        check_store(lambda: "results")
    with pytest.raises(TypeError, match="abstract method"):
        Store()


# ---------------------------------------------------------------------------------------------- broken while in use


def in_use(**changes):
    """A handler with two results, in a store that is broken from then on."""
    kind = type("TapeStore", (DictStore,), {})
    store = kind()
    handler = PickleHandler(Map, store)
    for plane in (1, 2):
        handler.save_persistence(values(Map("A", plane)))
    PickleHandler(Shuffle, store).save_persistence(values(Shuffle("A")))
    for name, value in changes.items():
        setattr(kind, name, value)
    return handler


@pytest.mark.parametrize(
    ("verb", "changes", "use"),
    [
        ("open", dict(open=lambda self, name, /: None), lambda h: h.load_persistence(Map("A", 1))),
        ("open", dict(open=lambda self, name, /: self._get(name)), lambda h: h.load_persistence(Map("A", 1))),
        ("open", dict(open=lambda self, name, /: None), lambda h: list(h.verify())),
        ("open", dict(open=lambda self, name, /: None), lambda h: list(h.find(score=1.0))),
        ("read_at", dict(open=lambda self, name, /: BytesSource("text")), lambda h: h.load_persistence(Map("A", 1))),
        ("names", dict(names=lambda self, prefix="", /: [1]), lambda h: len(h.find())),
        ("names", dict(names=lambda self, prefix="", /: [None]), lambda h: len(h.find())),
        ("names", dict(names=lambda self, prefix="", /: None), lambda h: list(h.load_all(animal="A", plane=missing))),
        (
            "names",
            dict(names=lambda self, prefix="", /: [b"x"]),
            lambda h: PickleHandler(Shuffle, h.store).save_persistence(values(Shuffle("A"))),
        ),
        (
            "highest",
            dict(highest=lambda self, head, tail, /: None),
            lambda h: PickleHandler(Shuffle, h.store).save_persistence(values(Shuffle("A"))),
        ),
        ("stat", dict(stat=lambda self, name, /: (1, 2.0)), lambda h: h.find()[0].size_bytes),
        ("stat", dict(stat=lambda self, name, /: (1, 2.0)), lambda h: h.find().delete(dry_run=False)),
        ("put", dict(put=bytes_to_replace), lambda h: h.save_persistence(values(Map("A", 1), 2, 9))),
    ],
)
def test_a_store_that_breaks_its_contract_in_use_is_an_error(verb, changes, use):
    """It does not count as damage of a file, which might then be replaced, nor is it an error from deep inside."""
    handler = in_use(**changes)
    with pytest.raises(ContractError, match=rf"\.{verb} breaks its contract") as caught:
        use(handler)
    assert caught.value.verb == verb


def test_names_of_classes_derived_from_str_are_names():
    """Such as numpy's texts."""
    handler = in_use(
        names=lambda self, prefix="", /: [np.str_(name) for name in self.entries if name.startswith(prefix)]
    )
    assert [hit.keys["plane"] for hit in handler.find()] == [1, 2]


def test_a_number_is_no_data():
    """``bytes(n)`` would write n zeros."""
    for wrong in (3, "text", None):
        with pytest.raises(TypeError):
            MemoryDraft().write(wrong)


def test_put_many_gets_named_fields():
    """For authors of ``put_many``."""
    assert Put("a", b"1") == ("a", b"1", False, None, None)
    assert Stat(3, 1.0) == (3, 1.0, None, True, None)


@pytest.mark.parametrize("place", ["re\0sults", "re\ud800sults", "\0.sqlar", "re\0sults/results.sqlar"])
def test_a_place_that_the_system_has_no_path_for_is_refused_at_once(tmp_path, place):
    """By one error, when the handler or the store is made, whatever is to be done with it."""
    place = os.path.join(tmp_path, place)
    for make in (lambda: PickleHandler(Map, place), lambda: PickleHandler(Shuffle, place), FolderStore, ArchiveStore):
        with pytest.raises(OSError, match="no file or folder can have such a path") as caught:
            make(place) if isinstance(make, type) else make()
        assert caught.value.errno == errno.EINVAL


def test_the_modules_load_nothing_heavy():
    """Neither numpy nor a compression library."""
    heavy = {"numpy", "zlib_ng", "gzip", "backports", "argclz", "pytest"}
    for module in ("stores", "codecs", "testing"):
        code = f"import sys, neuralib.persistence.{module}; print(*sys.modules)"
        loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        assert not heavy & {name.partition(".")[0] for name in loaded.split()}
