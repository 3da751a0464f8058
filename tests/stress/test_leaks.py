"""No code path leaks objects, memory or descriptors, however often it is taken, also if it fails."""

from __future__ import annotations

import functools
import gc
import itertools
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import NOT_PICKLED, Pair, Run, filled

from neuralib.persistence import (
    FileHandler,
    GzipHandler,
    PersistenceHandler,
    PickleHandler,
    _disk,
    _scan,
    as_dict,
    autoinc_field,
    field,
    from_dict,
    missing,
    persistence_class,
    results_equal,
)
from neuralib.persistence._stores import system
from neuralib.persistence._stores.folder import FolderStore

FULL = 100_000
QUICK = 500
SMALL = np.arange(10.0)
# On a debug interpreter, numpy and zlib-ng take references that are not counted, since they are no debug builds.
UNCOUNTED = {"load", "load_gzip", "load_all_by_threads", "load_corrupt", "load_mapped", "load_large", "verify"}
LARGE = np.arange(40_000.0)
HUGE = np.arange(200_000.0)


class Sub:
    """A class that an untrusted file may not hold."""


class TextHandler(FileHandler):
    suffix = ".txt"

    def _write(self, fields, file):
        file.write(repr(fields["b"]).encode())

    def _read(self, file):
        return {"a": 1, "b": file.read().decode()}


class HookHandler(PersistenceHandler):
    persistence_class = Pair
    save_root: Any = None

    def __init__(self, root):
        self.save_root = root

    def _save_persistence(self, result, path):
        path.write_text(result.data)
        if result.data == "bad":
            raise ValueError(result.data)

    def _load_persistence(self, path):
        return filled(Pair(1, 2), data=path.read_text())


def pair(data=SMALL, a=1, b=2):
    return filled(Pair(a, b), data=data)


def failing(kind, call):
    def fail():
        try:
            call()
        except kind:
            return
        raise AssertionError("it did not fail")

    return fail


class Paths:
    """Code paths by name. Each method returns a function that takes one path once; those by :func:`slow` are called less often."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.found = {name.removeprefix("path_"): getattr(self, name) for name in dir(self) if name.startswith("path_")}

    def handler(self, kind, name, data_cls=Pair, **options):
        handler = kind(data_cls, self.root / name, **options)
        (self.root / name).mkdir(exist_ok=True)
        return handler

    # ------------------------------------------------------------------------------------------ in memory

    def path_as_dict(self):
        result = pair()
        return lambda: as_dict(result)

    def path_as_dict_of_no_result(self):
        return failing(TypeError, lambda: as_dict(3))

    def path_from_dict(self):
        values = as_dict(pair())
        return lambda: from_dict(Pair, values)

    def path_from_dict_without_a_key(self):
        return failing(KeyError, lambda: from_dict(Pair, {"a": 1}))

    def path_filename(self):
        handler = self.handler(PickleHandler, "names")
        results = itertools.cycle([pair(), pair(a=1.5), pair(a="ä"), pair(b=missing)])
        return lambda: handler.filename(next(results), b=3)

    def path_filename_without_a_key(self):
        return failing(AttributeError, lambda: self.handler(PickleHandler, "names").filename(None, a=1))

    def path_filename_that_is_unsafe(self):
        handler = self.handler(PickleHandler, "names")
        return failing(ValueError, lambda: handler.filename(pair(a="x/y")))

    def path_number_that_is_open(self):
        handler = self.handler(PickleHandler, "names", Run)
        return failing(RuntimeError, lambda: handler.filepath(Run("A")))

    def path_replace(self):
        @persistence_class
        class Replaced:
            a: int = field(filename=True)
            n: int = autoinc_field()
            data: Any

            def _replace(self, a: int = missing, n: int = missing) -> Any:
                pass

        result = filled(Replaced(1, 2), data=SMALL)
        return lambda: result._replace(a=2)

    def path_results_equal(self):
        a, b = pair({"x": [SMALL, {1: "2"}]}), pair({"x": [SMALL.copy(), {1: "2"}]})
        return lambda: results_equal(a, b)

    def path_declare(self):
        def declare():
            @persistence_class
            class Declared:
                a: int = field(filename=True)
                data: Any

            return Declared(1)

        declare.slow = True
        return declare

    # ------------------------------------------------------------------------------------------ the core's calls

    def path_scan(self):
        handler = self.handler(PickleHandler, "scan", Run)
        handler.save_all(filled(Run("A"), data=n) for n in range(5))
        store = FolderStore(str(self.root / "scan"))
        return lambda: (store.highest("cache-Run-A-#", ".pkl"), store.names(), store.state())

    def path_scan_that_fails(self):
        return failing(FileNotFoundError, lambda: _scan.scan_folder(str(self.root / "nowhere"), "a", ("b",), "c"))

    def path_publish(self):
        folder = str(self.root)

        def publish():
            _disk.publish_unnamed(folder, f"{folder}/published", b"data", True)
            os.unlink(f"{folder}/published")

        return publish

    def path_publish_where_the_name_is_taken(self):
        folder = str(self.root)
        (self.root / "taken").touch()
        return failing(FileExistsError, lambda: _disk.publish_unnamed(folder, f"{folder}/taken", b"data", False))

    def path_publish_into_what_is_no_folder(self):
        taken = str(self.root / "taken")
        Path(taken).touch()
        return failing(NotADirectoryError, lambda: _disk.publish_unnamed(taken, f"{taken}/x", b"data", False))

    def path_replace(self):
        hidden, target = str(self.root / "hidden"), str(self.root / "replaced")
        Path(target).write_bytes(b"former")
        return lambda: (_disk.read_former(target, 100), _disk.replace_file(hidden, target, b"data"))

    def path_replace_what_is_no_file(self):
        hidden, folder = str(self.root / "hidden"), str(self.root / "folder")
        os.mkdir(folder)
        return lambda: (_disk.read_former(folder, 100), _disk.replace_file(hidden, folder, b"data"), os.unlink(hidden))

    def path_write_unnamed(self):
        folder = str(self.root)
        return lambda: _disk.write_unnamed(folder, b"data")

    def path_write_unnamed_into_what_is_no_folder(self):
        taken = str(self.root / "taken")
        Path(taken).touch()
        return failing(NotADirectoryError, lambda: _disk.write_unnamed(taken, b"data"))

    def path_open_that_fails(self):
        name = str(self.root / "nothing")
        return failing(FileNotFoundError, lambda: _disk.OpenFile(name, os.O_RDONLY))

    def path_open_that_is_not_closed(self):
        name = str(self.root / "there")
        Path(name).touch()
        return lambda: _disk.OpenFile(name, os.O_RDONLY)

    def path_read_small(self):
        name = str(self.root / "there")
        Path(name).write_bytes(b"x")
        return lambda: (_disk.read_small(name, 100), _disk.read_small(name, 1), _disk.read_small(str(self.root), 100))

    def path_rename_that_fails(self):
        a, b = str(self.root / "nothing"), str(self.root / "nothing either")
        return failing(FileNotFoundError, lambda: _disk.rename_exclusively(a, b))

    def path_hidden_draft(self):
        store = FolderStore(str(self.root))

        def draft():
            made = store.draft()
            made.write(b"x")
            made._file = made._open_hidden()
            made.discard()

        return draft

    # ------------------------------------------------------------------------------------------ saving

    def saved_anew(self, handler, result):
        path = handler.filepath(result)

        def save():
            handler.save_persistence(result)
            path.unlink()

        return save

    def path_save(self):
        return self.saved_anew(self.handler(PickleHandler, "new"), pair())

    def path_save_over(self):
        handler = self.handler(PickleHandler, "over")
        return lambda: handler.save_persistence(pair())

    def path_save_gzip(self):
        return self.saved_anew(self.handler(GzipHandler, "gzip"), pair())

    def path_save_by_two_methods(self):
        return self.saved_anew(self.handler(TextHandler, "text"), pair())

    def path_save_by_hook(self):
        return self.saved_anew(HookHandler(self.root / "hook"), pair("good"))

    def path_save_by_hook_that_fails(self):
        handler = HookHandler(self.root / "hook")
        return failing(ValueError, lambda: handler.save_persistence(pair("bad")))

    def path_save_large(self):
        save = self.saved_anew(self.handler(PickleHandler, "large"), pair([LARGE, HUGE]))
        return slow(save)

    def path_save_large_gzip(self):
        return slow(self.saved_anew(self.handler(GzipHandler, "large"), pair(LARGE)))

    def path_save_durable(self):
        return slow(self.saved_anew(self.handler(PickleHandler, "durable", durable=True), pair()))

    def path_save_where_the_name_is_taken(self):
        handler = self.handler(PickleHandler, "taken keys")
        handler.save_persistence(pair())
        return failing(FileExistsError, lambda: handler.save_persistence(pair(a="1")))

    def path_save_what_cannot_be_pickled(self):
        handler = self.handler(PickleHandler, "unpicklable")
        return failing(NOT_PICKLED, lambda: handler.save_persistence(pair([LARGE, lambda: 0])))

    def path_save_on_a_folder(self):
        handler = self.handler(PickleHandler, "folders")
        handler.filepath(pair()).mkdir(exist_ok=True)
        return failing(IsADirectoryError, lambda: handler.save_persistence(pair()))

    def path_save_in_what_is_no_folder(self):
        (self.root / "file").touch()
        handler = PickleHandler(Pair, self.root / "file")
        return failing(NotADirectoryError, lambda: handler.save_persistence(pair()))

    def numbered(self, save):
        """Return a function that calls *save* with a handler, and empties the folder from time to time."""
        folder = self.root / "numbered"
        state = {"left": 0, "handler": None}

        def run():
            if not state["left"]:
                shutil.rmtree(folder, ignore_errors=True)
                state.update(left=500, handler=PickleHandler(Run, folder))
            state["left"] -= 1
            save(state["handler"])

        return run

    def path_save_numbered(self):
        return self.numbered(lambda handler: handler.save_persistence(filled(Run("A"), data=SMALL)))

    def path_save_numbered_by_a_new_handler(self):
        return self.numbered(
            lambda handler: PickleHandler(Run, handler.save_root).save_persistence(filled(Run("A"), data=1))
        )

    def path_save_numbered_after_a_lost_race(self):
        def save(handler):
            handler.save_persistence(filled(Run("A"), data=1))
            numbering = handler._keeper._numbering
            ((series, counter),) = numbering._counters.items()
            numbering._counters[series] = _scan.Counter(counter.look, counter.saved - 1)
            handler.save_persistence(filled(Run("A"), data=2))

        return self.numbered(save)

    def path_save_all(self):
        return slow(self.numbered(lambda handler: handler.save_all(filled(Run("A"), data=n) for n in range(5))))

    def path_save_all_durable(self):
        def save(handler):
            PickleHandler(Run, handler.save_root, durable=True).save_all(filled(Run("A"), data=n) for n in range(5))

        return slow(self.numbered(save))

    def path_save_all_that_fails(self):
        def save(handler):
            handler = PickleHandler(Run, handler.save_root, durable=True)
            results = (filled(Run("A"), data=value) for value in (1, lambda: 0))
            failing(NOT_PICKLED, lambda: handler.save_all(results))()

        return slow(self.numbered(save))

    # ------------------------------------------------------------------------------------------ loading

    def loaded(self, kind, name, data=SMALL, **options):
        handler = self.handler(kind, name, **options)
        handler.save_persistence(pair(data))
        return lambda: handler.load_persistence(Pair(1, 2))

    def path_load(self):
        return self.loaded(PickleHandler, "load")

    def path_load_gzip(self):
        return self.loaded(GzipHandler, "load")

    def path_load_by_two_methods(self):
        return self.loaded(TextHandler, "load")

    def path_load_medium(self):
        return self.loaded(PickleHandler, "load medium", LARGE)

    def path_load_large(self):
        return slow(self.loaded(PickleHandler, "load large", [LARGE, HUGE]))

    def path_load_mapped(self):
        return self.loaded(PickleHandler, "load mapped", LARGE, mmap_mode="r")

    def path_load_untrusted(self):
        return slow(self.loaded(PickleHandler, "load untrusted", trusted=False))

    def path_load_what_is_not_trusted(self):
        self.handler(PickleHandler, "not trusted").save_persistence(pair(Sub()))
        handler = self.handler(PickleHandler, "not trusted", trusted=False)
        return slow(failing(TypeError, lambda: handler.load_persistence(Pair(1, 2))))

    def path_load_nothing(self):
        handler = self.handler(PickleHandler, "nothing here")
        return failing(FileNotFoundError, lambda: handler.load_persistence(Pair(1, 2)))

    def path_load_other_keys(self):
        handler = self.handler(PickleHandler, "other keys")
        handler.save_persistence(pair())
        return failing(FileNotFoundError, lambda: handler.load_persistence({"a": "01"[1:], "b": 3}))

    def path_load_corrupt(self):
        paths = []
        for kind, data in ((PickleHandler, SMALL), (PickleHandler, LARGE), (GzipHandler, SMALL)):
            handler = self.handler(kind, f"corrupt {len(paths)}")
            handler.save_persistence(pair(data))
            path = handler.filepath(pair())
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
            paths.append(path)
        handler, turn = self.handler(PickleHandler, "corrupt 0"), itertools.cycle(paths)
        return failing(ValueError, lambda: handler.load_persistence(next(turn)))

    def path_load_without_a_field(self):
        import pickle

        handler = self.handler(PickleHandler, "no field")
        handler.filepath(pair()).write_bytes(pickle.dumps({"a": 1}))
        return failing(KeyError, lambda: handler.load_persistence(Pair(1, 2)))

    def path_load_something_else(self):
        import pickle

        handler = self.handler(PickleHandler, "something else")
        handler.filepath(pair()).write_bytes(pickle.dumps([1]))
        return failing(TypeError, lambda: handler.load_persistence(Pair(1, 2)))

    def path_load_all(self):
        handler = self.handler(PickleHandler, "load all", Run)
        handler.save_all(filled(Run("A"), data=n) for n in range(5))
        return slow(lambda: list(handler.load_all(Run("A"))))

    def path_load_all_with_corrupt_ones(self):
        handler = self.handler(PickleHandler, "load some", Run)
        handler.save_all(filled(Run("A"), data=n) for n in range(5))
        handler.filepath(None, animal="A", version=2).write_bytes(b"torn")
        return slow(lambda: list(handler.load_all(Run("A"), on_corrupt=str)))

    def path_load_all_that_is_left(self):
        handler = self.handler(PickleHandler, "load one", Run)
        handler.save_all(filled(Run("A"), data=n) for n in range(5))
        return slow(lambda: next(handler.load_all(Run("A"))))

    def path_load_all_by_threads(self):
        handler = self.handler(GzipHandler, "load by threads", Run, threads=2)
        handler.save_all(filled(Run("A"), data=n) for n in range(5))
        return slow(lambda: list(handler.load_all(Run("A"))))

    def path_verify(self):
        handler = self.handler(PickleHandler, "verify")
        handler.save_persistence(pair(LARGE))
        handler.save_persistence(pair(SMALL, a=2))
        handler.filepath(pair(a=2)).write_bytes(handler.filepath(pair()).read_bytes()[:-100])
        return slow(lambda: list(handler.verify()))


def slow(call):
    def run():
        call()

    run.slow = True
    return run


def held(root):
    """Return what this process holds: memory blocks, references, objects, descriptors, and bytes."""
    gc.collect()
    gc.collect()  # without the interpreter lock, memory that a collection frees is given back by the next one
    references = getattr(sys, "gettotalrefcount", int)()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return {
        "blocks": sys.getallocatedblocks(),
        "references": references,
        "objects": len(gc.get_objects()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "bytes": pages * os.sysconf("SC_PAGE_SIZE"),
    }


@functools.cache
def interned_for_good():
    """Return whether this Python keeps each interned text, as 3.12 does (python/cpython#113993).

    There each part of a path that is unlike all others stays too, since pathlib interns them (python/cpython#121780).
    """
    before = sys.getallocatedblocks()
    for n in range(1000):
        sys.intern(f"interned for good {n}")
    return sys.getallocatedblocks() - before > 500


def growth(call, count, root):
    before = held(root)
    for _ in range(count):
        call()
    after = held(root)
    return {kind: after[kind] - before[kind] for kind in after}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return Paths(tmp_path_factory.mktemp("leaks"))


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="descriptors and memory are counted under /proc")
@pytest.mark.parametrize("name", [name.removeprefix("path_") for name in dir(Paths) if name.startswith("path_")])
def test_nothing_leaks(paths, long, monkeypatch, name):
    """Each path is taken 500 times; in the long form, 100,000 times."""
    if name.startswith("save_by_hook") and interned_for_good():
        spots = itertools.cycle(
            f"{system.LEFTOVER_PREFIX}{n}" for n in range(8)
        )  # since pathlib would keep each new name
        monkeypatch.setattr(system, "hidden_path", lambda folder: system.joined(folder, next(spots)))
    if system.TMPFILE == 0 and ("publish" in name or "unnamed" in name):
        pytest.skip("this system has no files without name")
    call = paths.found[name]()
    count = FULL if long else QUICK
    count //= int(os.environ.get("LEAKS_DIVIDED_BY", "1"))  # for interpreters that are a hundred times slower
    if getattr(call, "slow", False):
        count //= 100 if long else 10
    allowed, bytes_allowed = 20 + count // 200, 8_000_000 + 10 * count
    counted = ["blocks", "objects"] if name in UNCOUNTED else ["blocks", "objects", "references"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(max(3, min(count, 1000) // (1 if long else 4))):
            call()
        # The least growth of several rounds counts. Caches of the interpreter grow, but less each time. So does the number of
        # blocks of 64 bytes when a plain `pickle.Pickler` writes arrays, to about 250.
        rounds = []
        for _ in range(30):
            rounds.append(growth(call, count, paths.root))
            least = {kind: min(found[kind] for found in rounds) for kind in rounds[0]}
            few = least["descriptors"] <= 0 and least["bytes"] <= bytes_allowed
            if few and all(least[kind] <= allowed for kind in counted):
                break
    assert least["descriptors"] <= 0, least
    for kind in counted:
        assert least[kind] <= allowed, (kind, count, rounds)
    if "ASAN_OPTIONS" not in os.environ:  # it keeps freed memory for a while
        assert least["bytes"] <= bytes_allowed, (count, rounds)
