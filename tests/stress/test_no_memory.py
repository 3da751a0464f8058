"""Any allocation may fail: the error is a MemoryError, and no result is lost and nothing is left over. And what can't be pickled."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
import types
from pathlib import Path

import numpy as np
import pytest
from checks import Pair, Run, filled
from stress.reads import READS
from stress.runner import CASES, ScenarioRunner

from neuralib.persistence import CorruptResultError, GzipHandler, PersistenceError, PickleHandler, _scan

# LoadMapped is left out: when a comparison of mapped arrays fails for want of memory, the interpreter leaks its arguments.
TRIED = [case for case in CASES if case[0] != "LoadMapped"]
ALLOCATIONS = 15  # of each scenario in the quick form


def failing(turn):
    """Return a function that calls its argument while the allocation number *turn* fails, and returns whether that raised."""
    import _testcapi

    def disturb(run):
        felt = False
        _testcapi.set_nomemory(turn, turn + 1)
        try:
            run()
        except PersistenceError:
            raise  # for example CorruptResultError: want of memory is no damage
        except Exception:  # a MemoryError, or what the interpreter makes of one, such as "can't allocate read lock"
            felt = True
        finally:
            _testcapi.remove_mem_hooks()
        return felt

    return disturb


def in_a_child(work):
    """Call *work* with a function that prints, in a forked process; return what it printed, and the exit code."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "w", buffering=1) as out:
                try:
                    work(lambda *what: print(*what, file=out))
                    code = 0
                except BaseException:
                    traceback.print_exc(file=out)
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as file:
        output = file.read()
    return output, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def keep_code():
    """Keep all code objects alive: Python 3.12 and 3.13 release one twice if memory for its function lacks.

    That is python/cpython#122752; the next use of the code object would crash.
    """
    if sys.version_info < (3, 12):
        return
    gc.unfreeze()
    left = [function.__code__ for function in gc.get_objects() if isinstance(function, types.FunctionType)]
    gc.freeze()
    kept = set()
    while left:
        code = left.pop()
        if id(code) not in kept:
            kept.add(id(code))
            ctypes.c_ssize_t.from_address(id(code)).value += 1 << 20  # adds references to it, so that it is never freed
            left += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]


def test_any_allocation_fails(tmp_path, monkeypatch, sample, long, scenario, publishing):
    """One allocation fails in each run, in a forked process, since the interpreter itself may crash."""
    if not hasattr(pytest.importorskip("_testcapi"), "set_nomemory"):
        pytest.skip("this Python's allocations can't be made to fail")
    if scenario in READS and np.lib.NumpyVersion(np.__version__) < "2.0.0" and sys.version_info >= (3, 12):
        pytest.skip("numpy 1 itself crashes where an allocation of (a == b).all() fails")

    def work(say):
        runner = ScenarioRunner(tmp_path, monkeypatch)
        runner.publish_by(publishing)
        runner.run(runner.new_scenario(scenario), lambda run: run())  # to fill caches
        keep_code()

        def fails(turn):
            say(turn)
            return runner.run(runner.new_scenario(scenario), failing(turn))

        highest = 64
        while fails(highest):
            highest *= 2
        say("failed", sum(fails(turn) for turn in sample(range(highest), ALLOCATIONS)))

    output, code = in_a_child(work)
    assert code == 0, f"{signal.Signals(-code).name if code < 0 else code} at {output[-3000:]}"
    assert int(output.split()[-1]) > 3


def test_a_list_that_cannot_grow_releases_what_it_was_given_once(tmp_path, monkeypatch):
    """In the compiled core: the code that Cython 3.3.0 and 3.3.1 write for a list comprehension releases it twice."""
    if not hasattr(pytest.importorskip("_testcapi"), "set_nomemory"):
        pytest.skip("this Python's allocations can't be made to fail")
    kept = os.fsencode(tmp_path)
    monkeypatch.setattr(_scan, "fsencode", lambda _: kept)

    def work(say):
        before = sys.getrefcount(kept)
        failed = 0
        for turn in range(40):
            failed += failing(turn)(lambda: _scan.scan_folder("folder", "head", tuple("12345678"), "leftover"))
        say(failed, sys.getrefcount(kept) - before)

    output, code = in_a_child(work)
    assert code == 0, f"{signal.Signals(-code).name if code < 0 else code} at {output[-3000:]}"
    failed, changed = map(int, output.split())
    assert failed > 1  # the list grows twice
    assert changed == 0


class RaisesWhenPickled:
    """Raises *error* when it is pickled."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        raise self.error


@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler])
@pytest.mark.parametrize(
    "error",
    [TypeError("no"), FileExistsError(17, "no"), OSError("no"), MemoryError(), RecursionError(), KeyboardInterrupt()],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("size", [10, 3_000_000])
@pytest.mark.parametrize("durable", [False, True])
def test_what_cannot_be_pickled(tmp_path, kind, error, size, durable):
    """The error is the one that its pickling raised; the former result, the numbers and the folder are as they were."""
    pairs, runs = kind(Pair, tmp_path / "pairs", durable=durable), kind(Run, tmp_path / "runs", durable=durable)
    pairs.save_persistence(filled(Pair(1, 2), data="former"))
    runs.save_all([filled(Run("A"), data=0), filled(Run("A"), data=1)])
    before = sorted(tmp_path.rglob("*"))
    bad = [b"x" * size, RaisesWhenPickled(error)]
    run = filled(Run("A"), data=bad)
    for call in (
        lambda: pairs.save_persistence(filled(Pair(1, 2), data=bad)),
        lambda: pairs.save_persistence(filled(Pair(3, 4), data=bad)),
        lambda: runs.save_persistence(run),
        lambda: runs.save_all([run]),
    ):
        with pytest.raises(type(error)) as caught:
            call()
        assert caught.value is error
        assert run.version is None
        assert sorted(tmp_path.rglob("*")) == before
    assert pairs.load_persistence(Pair(1, 2)).data == "former"
    run.data = "mended"
    assert runs.save_persistence(run).version == 2


def leave_memory(more_bytes):
    """Limit the memory of this process to what it has now and *more_bytes*."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def short_of_memory(kind, folder, *calls):
    """Do these *calls* with little memory left; print those that succeed, and those whose error lacks the path."""
    handler = {"pickle": PickleHandler, "gzip": GzipHandler}[kind](Pair, folder)
    with tempfile.TemporaryDirectory() as other:  # imports what is imported on demand
        warm = type(handler)(Pair, other)
        warm.save_persistence(filled(Pair(1, 2), data=np.arange(50_000.0)))
        warm.save_persistence(filled(Pair(1, 2), data=warm.load_persistence(Pair(1, 2)).data))
        list(warm.load_all(Pair(1, 2)))
    possible = {
        "load": lambda: handler.load_persistence(Pair(1, 2)),
        "load all": lambda: list(handler.load_all(Pair(1, 2), on_corrupt=print)),
        "replace": lambda: handler.save_persistence(filled(Pair(1, 2), data="new")),
    }
    path = str(handler.filepath(Pair(1, 2)))
    leave_memory(48_000_000)
    for call in calls:
        try:
            possible[call]()
            print(call, "succeeded")
        except MemoryError as error:
            if path not in error.__notes__[0]:
                print(call, error.__notes__)


def run_short_of_memory(kind, folder, *calls):
    """Return the lines that :func:`short_of_memory` prints in a new process. (A fork of this one would have memory to spare.)"""
    script = "import sys; sys.path.insert(0, sys.argv[1]); from stress import test_no_memory; test_no_memory.short_of_memory(*sys.argv[2:])"
    command = [sys.executable, "-c", script, str(Path(__file__).parents[1]), kind, str(folder), *calls]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the memory of a process is read from /proc")
@pytest.mark.parametrize("kind", ["pickle", "gzip"])
@pytest.mark.parametrize("data", [np.zeros(12_000_000), b"x" * 96_000_000], ids=["array", "bytes"])
def test_a_result_larger_than_memory(tmp_path, kind, data):
    """It does not count as damaged. It is replaced only if its keys can be read, and loads where there is more memory."""
    handler = {"pickle": PickleHandler, "gzip": GzipHandler}[kind](Pair, tmp_path)
    handler.save_persistence(filled(Pair(1, 2), data=data))
    path = handler.filepath(Pair(1, 2))
    before = path.read_bytes()
    # Bytes are part of what is not an array. All of that is checked before the keys are read.
    keys_are_read = isinstance(data, np.ndarray) or kind == "gzip"
    assert run_short_of_memory(kind, tmp_path, "load", "load all", *([] if keys_are_read else ["replace"])) == []
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]
    assert len(handler.load_persistence(path).data) == len(data)
    if keys_are_read:
        assert run_short_of_memory(kind, tmp_path, "replace") == ["replace succeeded"]
        assert handler.load_persistence(path).data == "new"


@pytest.mark.parametrize("opcode", [b"\x96", b"\x8e", b"\x8d", b"B", b"T", b"X"])
def test_a_length_beyond_the_end_is_damage(tmp_path, opcode):
    """In a file without a checksum, Python's reader may ask for that much memory before it notices."""
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x05" + opcode + b"\xff\xff\xff\x7f\x00\x01\x00\x00" + b"short")
    with pytest.raises(CorruptResultError):
        PickleHandler(Pair, tmp_path).load_persistence(path)
