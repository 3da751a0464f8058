"""Many results saved and loaded together."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any, ClassVar

import pytest
from checks import Pair, Run, filled

from neuralib.persistence import (
    GzipHandler,
    NameTakenError,
    PersistenceHandler,
    PickleHandler,
    autoinc_field,
    field,
    missing,
    persistence_class,
)
from neuralib.persistence._stores import folder, system


def runs(count, animal="A"):
    for number in range(count):
        yield filled(Run(animal), data=number)


@pytest.fixture(params=[False, True], ids=["not durable", "durable"])
def durable(request):
    return request.param


@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler])
def test_a_batch_is_saved_with_dense_numbers(tmp_path, durable, kind, monkeypatch):
    """From any iterable, over several groups, beside what is there."""
    monkeypatch.setattr(folder, "_GROUP_RESULTS", 200)
    handler = kind(Run, tmp_path / "new" / "folder", durable=durable)
    handler.save_persistence(filled(Run("A"), data=-1))
    results = list(runs(450))
    assert handler.save_all(iter(results)) == 450
    assert [it.version for it in results] == list(range(1, 451))
    assert [it.data for _, it in handler.load_all(Run("A"))] == [-1, *range(450)]
    assert handler.save_all([]) == 0


def test_series_mix_in_one_batch(tmp_path, durable):
    """Each has its own numbers."""
    handler = PickleHandler(Run, tmp_path, durable=durable)
    results = [filled(Run("AB"[i % 2]), data=i) for i in range(10)]
    handler.save_all(results)
    assert [it.version for it in results] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_a_batch_replaces_and_refuses_as_single_saves_do(tmp_path, durable):
    """The same keys replace, other keys of the same name are refused."""
    handler = PickleHandler(Pair, tmp_path, durable=durable)
    handler.save_all([filled(Pair(1, 2), data="first"), filled(Pair(1, 2), data="second")])
    assert handler.load_persistence(Pair(1, 2)).data == "second"
    handler.save_all([filled(Pair(1, 2), data="third")])
    assert handler.load_persistence(Pair(1, 2)).data == "third"
    with pytest.raises(NameTakenError) as caught:
        handler.save_all([filled(Pair(3, 4), data=0), filled(Pair("1", 2), data="other"), filled(Pair(5, 6), data=0)])
    assert caught.value.__notes__ == ["1 results of the batch were saved before this one"]
    assert handler.load_persistence(Pair(1, 2)).data == "third"
    assert sorted(os.listdir(tmp_path)) == ["cache-Pair-1-2.pkl", "cache-Pair-3-4.pkl"]


def test_an_error_in_the_middle_leaves_what_was_saved(tmp_path, durable):
    """And says how far it came; the numbers of the others are open again."""
    handler = PickleHandler(Run, tmp_path, durable=durable)
    results = list(runs(10))
    results[6].data = lambda: 0
    with pytest.raises((AttributeError, TypeError)) as caught:
        handler.save_all(results)
    assert "6 results of the batch were saved" in caught.value.__notes__[-1]
    assert [it.version for it in results] == [0, 1, 2, 3, 4, 5, None, None, None, None]
    results[6].data = "mended"
    assert handler.save_all(results[6:]) == 4
    assert [it.version for it in results] == list(range(10))
    assert len(os.listdir(tmp_path)) == 10


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="descriptors are counted under /proc")
def test_the_folder_is_closed_after_a_batch_whose_error_is_kept(tmp_path, durable):
    """As an interactive session keeps the last one: the disk can be unmounted all the same."""

    def failing():
        yield from runs(3)
        os.rename(tmp_path / "results", tmp_path / "moved")
        (tmp_path / "results").touch()
        yield from runs(1)

    before = len(os.listdir("/proc/self/fd"))
    (tmp_path / "results").mkdir()
    handler = PickleHandler(Run, tmp_path / "results", durable=durable)
    with pytest.raises(NotADirectoryError) as kept:
        handler.save_all(failing())
    assert len(os.listdir("/proc/self/fd")) == before
    assert "saved before" in kept.value.__notes__[-1]


def test_an_iterable_that_fails_is_told_too(tmp_path, durable):
    """What it gave before is saved."""

    def failing():
        yield from runs(3)
        raise RuntimeError("no more")

    handler = PickleHandler(Run, tmp_path, durable=durable)
    with pytest.raises(RuntimeError, match="no more") as caught:
        handler.save_all(failing())
    assert "3 results" in caught.value.__notes__[-1]
    assert len(os.listdir(tmp_path)) == 3


class HookHandler(PersistenceHandler):
    def __init__(self, root, durable):
        self.root, self.durable = root, durable

    persistence_class = Run
    save_root = property(lambda self: self.root)

    def _save_persistence(self, result, path):
        path.write_text(str(result.data))

    def _load_persistence(self, path):
        return filled(Run("A", 0), data=path.read_text())


def test_handlers_with_hooks_save_batches_too(tmp_path, durable):
    """Each in its own way."""
    assert HookHandler(tmp_path, durable).save_all(runs(5)) == 5
    assert sorted(os.listdir(tmp_path)) == [f"cache-Run-A-#{n}" for n in range(5)]


@pytest.mark.skipif(sys.platform == "win32", reason="counts calls of POSIX")
def test_a_durable_batch_shares_the_wait(tmp_path, monkeypatch):
    """Few waits for the disk, however many results; all of them before the names are given, or at the end."""
    events = []
    sync_all = system._disk.sync_file_system
    monkeypatch.setattr(os, "fsync", lambda fd: events.append("fsync"))
    monkeypatch.setattr(system, "publish_whole", lambda *_: pytest.fail("published before it is on the disk"))
    handler = PickleHandler(Run, tmp_path, durable=True)
    handler.save_all(runs(300))
    assert len(events) <= 20 if sync_all(os.open(tmp_path, os.O_RDONLY)) else 340


def test_a_batch_that_loses_a_race_takes_other_numbers(tmp_path):
    """While it waits, somebody else saves."""
    handler, other = (PickleHandler(Run, tmp_path, durable=it) for it in (True, False))

    mine = list(runs(5))

    def mixed():
        yield from mine[:3]
        other.save_all(runs(2))
        yield from mine[3:]

    assert handler.save_all(mixed()) == 5
    assert sorted(it.version for it in mine) == [2, 3, 4, 5, 6]
    assert len(os.listdir(tmp_path)) == 7


def test_a_progress_bar_is_shown_on_request(tmp_path, capsys, monkeypatch):
    """Only in a terminal; without its package the extra is named."""
    handler = PickleHandler(Run, tmp_path)
    if "tqdm" in sys.modules or __import__("importlib").util.find_spec("tqdm"):
        assert handler.save_all(runs(3), progress=True) == 3
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError) as caught:
        handler.save_all(runs(3), progress=True)
    assert "neuralib-persistence[progress]" in "".join(caught.value.__notes__)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_load_in_order(tmp_path, threads):
    """And a damaged file is told at its place; leaving early leaves no thread at work."""
    GzipHandler(Run, tmp_path).save_all(runs(30))
    handler = GzipHandler(Run, tmp_path, threads=threads)
    assert [it.data for _, it in handler.load_all(Run("A"))] == list(range(30))
    (tmp_path / "cache-Run-A-#7.pkl.gz").write_bytes(b"\x1f\x8bno")
    seen = []
    with pytest.raises(ValueError, match="#7"):
        seen.extend(it.data for _, it in handler.load_all(Run("A")))
    problems = []
    assert len(list(handler.load_all(Run("A"), on_corrupt=problems.append))) == 29
    assert [it.path for it in problems] == [str(tmp_path / "cache-Run-A-#7.pkl.gz")]
    iterator = handler.load_all(Run("A"))
    assert next(iterator)[1].data == 0
    iterator.close()


def test_a_file_of_another_name_is_reported(tmp_path, caplog):
    """A copy under a name of other keys is no result of these keys."""
    handler = PickleHandler(Run, tmp_path)
    handler.save_all(runs(2))
    (tmp_path / "cache-Run-B-#0.pkl").write_bytes((tmp_path / "cache-Run-A-#0.pkl").read_bytes())
    assert [it.data for _, it in handler.load_all(Run("B"))] == []
    assert "keys (animal='A', version=0)" in caplog.text
    problems = []
    assert list(handler.load_all(Run("B"), on_corrupt=problems.append)) == []
    assert problems[0].path == str(tmp_path / "cache-Run-B-#0.pkl")


def test_a_batch_may_be_durable_where_its_handler_is_not(tmp_path, monkeypatch):
    """And the other way round; the numbers are shared."""
    waits = []
    monkeypatch.setattr(system, "sync_file_system", lambda root: bool(waits.append(root)) or True)
    for usual in (False, True):
        handler = PickleHandler(Run, tmp_path / str(usual), durable=usual)
        assert handler.save_all(runs(3)) == 3
        assert bool(waits) is usual
        waits.clear()
        results = list(runs(3))
        assert handler.save_all(results, durable=not usual) == 3
        assert bool(waits) is not usual
        assert [it.version for it in results] == [3, 4, 5]
        assert handler.durable is usual
        waits.clear()
    assert HookHandler(tmp_path, False).save_all(runs(2), durable=True) == 2
    assert waits


def test_a_durable_batch_replaces_with_one_wait(tmp_path, monkeypatch):
    """As many as there are."""
    handler = PickleHandler(Pair, tmp_path, durable=True)
    assert handler.save_all([filled(Pair(n, 0), data="former") for n in range(150)]) == 150
    monkeypatch.setattr(system, "sync_file", lambda path: pytest.fail("one by one"))
    monkeypatch.setattr(handler, "save_persistence", lambda *_: pytest.fail("one by one"))
    assert handler.save_all([filled(Pair(n, 0), data="new") for n in range(150)]) == 150
    assert {it.data for _, it in handler.load_all(a=missing, b=missing)} == {"new"}
    assert len(os.listdir(tmp_path)) == 150


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler, HookHandler])
def test_a_durable_save_ends_whoever_saves_meanwhile(tmp_path, monkeypatch, many, kind):
    """Others take the next numbers during each wait for the disk."""
    other = PickleHandler(Run, tmp_path, ext="" if kind is HookHandler else None)
    if kind is GzipHandler:
        other = GzipHandler(Run, tmp_path)
    handler = HookHandler(tmp_path, True) if kind is HookHandler else kind(Run, tmp_path, durable=True)
    waits = []

    def busy(wait):
        def meanwhile(*arguments):
            waits.append(1)
            assert len(waits) < 200
            other.save_all(runs(5))
            return wait(*arguments)

        return meanwhile

    monkeypatch.setattr(system, "sync_file_system", busy(lambda root: False))
    monkeypatch.setattr(system, "sync_file", busy(system.sync_file))
    monkeypatch.setattr(system, "sync_open", busy(system.sync_open))
    mine = list(runs(4))
    if many:
        assert handler.save_all(mine) == 4
    else:
        for it in mine:
            handler.save_persistence(it)
    numbers = {it.version for it in mine}
    assert len(numbers) == 4
    assert waits
    names = [it for it in os.listdir(tmp_path) if "#" in it]
    assert len(names) == len(os.listdir(tmp_path))
    assert sorted(int(it.partition("#")[2].partition(".")[0]) for it in names) == list(range(len(names)))
    for it in mine:
        assert str(handler.load_persistence(handler.filepath(it)).data) == str(it.data)


def test_lost_numbers_are_found_again_where_a_later_result_fails(tmp_path, monkeypatch):
    """Those before the failing one are saved, with whatever number."""
    handler, other = PickleHandler(Run, tmp_path, durable=True), PickleHandler(Run, tmp_path)
    results = list(runs(5))
    wait = folder.sync_drafts

    def meanwhile(root, drafts):
        if len(drafts) == 5:
            other.save_all(runs(2))
            os.mkdir(tmp_path / "cache-Run-A-#3.pkl")
            monkeypatch.setattr(type(drafts[4]), "publish_new", failing(drafts[4]))
        wait(root, drafts)

    def failing(draft):
        publish = type(draft).publish_new

        def fail(self, name):
            if self is draft:
                raise OSError(5, "as the system says")
            publish(self, name)

        return fail

    monkeypatch.setattr(folder, "sync_drafts", meanwhile)
    with pytest.raises(OSError, match="as the system says") as caught:
        handler.save_all(results)
    assert caught.value.__notes__ == ["4 results of the batch were saved before this one"]
    assert [it.version for it in results][2::2] == [2, None]
    assert sorted(it.version for it in results[:4]) == [2, 4, 5, 6]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("told", [True, False])
def test_a_batch_makes_do_with_few_open_files(tmp_path, monkeypatch, told):
    """It takes half of what the limit admits, or fewer where others took the rest."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not told:
        monkeypatch.setattr(folder, "_open_files", lambda: 10_000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 60, hard))
    try:
        assert PickleHandler(Run, tmp_path, durable=True).save_all(runs(300)) == 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [it.data for _, it in PickleHandler(Run, tmp_path).load_all(Run("A"))] == list(range(300))


@persistence_class
class Stopped:
    """Ctrl-C comes right after it got a number of those in ``at``."""

    animal: str = field(filename=True)
    version: int = autoinc_field("#")
    data: Any
    at: ClassVar[list[int]] = []

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)
        if name == "version" and value in self.at:
            self.at.remove(value)
            raise KeyboardInterrupt


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_ctrl_c_right_after_a_number_is_given_takes_it_back(tmp_path, monkeypatch, durable, number):
    """Saved again with it, the result would replace that of whoever got the number meanwhile."""
    handler = PickleHandler(Stopped, tmp_path, durable=durable)
    results = [filled(Stopped("A"), data=n) for n in range(3)]
    monkeypatch.setattr(Stopped, "at", [number])
    with pytest.raises(KeyboardInterrupt):
        handler.save_all(results)
    assert not Stopped.at
    saved = [it.version for it in results[:number]]
    assert saved == list(range(number))
    assert [it.version for it in results[number:]] == [None] * (3 - number)
    assert handler.save_all(results[number:]) == 3 - number
    assert [it.data for _, it in handler.load_all(Stopped("A"))] == [0, 1, 2]


def test_ctrl_c_at_the_end_of_a_batch_leaves_no_folder_open(tmp_path, monkeypatch, durable):
    """Its disk could not be unmounted."""
    handler = PickleHandler(Run, tmp_path, durable=durable)
    real, turns = handler.store.release, []

    def interrupted_once():
        turns.append(None)
        if len(turns) == 1:
            raise KeyboardInterrupt
        real()

    monkeypatch.setattr(handler.store, "release", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        handler.save_all([filled(Run("A"), data=0)])
    gc.collect()
    assert handler.store.held is None
    assert len(turns) > 1
