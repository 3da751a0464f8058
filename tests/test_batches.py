"""Saving and loading many results together."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any, ClassVar

import pytest
from checks import NOT_PICKLED, Pair, Run, filled

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
from neuralib.persistence.stores import ArchiveStore, FolderStore


def runs(count, animal="A"):
    for number in range(count):
        yield filled(Run(animal), data=number)


@pytest.fixture(params=[ArchiveStore, FolderStore])
def store(request, tmp_path):
    return request.param(tmp_path / "results.sqlar")


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
    assert [result.version for result in results] == list(range(1, 451))
    assert [result.data for _, result in handler.load_all(Run("A"))] == [-1, *range(450)]
    assert handler.save_all([]) == 0


def test_series_mix_in_one_batch(tmp_path, durable):
    """Each has its own numbers."""
    handler = PickleHandler(Run, tmp_path, durable=durable)
    results = [filled(Run("AB"[i % 2]), data=i) for i in range(10)]
    handler.save_all(results)
    assert [result.version for result in results] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_a_batch_replaces_and_refuses_as_single_saves_do(tmp_path, durable):
    """A file of the same keys is replaced; one of other keys with the same name is an error."""
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
    """The error says how many were saved; the results after it have no number."""
    handler = PickleHandler(Run, tmp_path, durable=durable)
    results = list(runs(10))
    results[6].data = lambda: 0
    with pytest.raises(NOT_PICKLED) as caught:
        handler.save_all(results)
    assert "6 results of the batch were saved" in caught.value.__notes__[-1]
    assert [result.version for result in results] == [0, 1, 2, 3, 4, 5, None, None, None, None]
    results[6].data = "mended"
    assert handler.save_all(results[6:]) == 4
    assert [result.version for result in results] == list(range(10))
    assert len(os.listdir(tmp_path)) == 10


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="descriptors are counted under /proc")
def test_the_folder_is_closed_after_a_batch_whose_error_is_kept(tmp_path, durable):
    """An interactive session keeps the last error, with its frames; the folder must not stay open, or its disk is busy."""

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


def test_an_error_of_the_iterable_says_how_many_were_saved(tmp_path, durable):
    """The results that it yielded before the error are saved."""

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
    """By their own hooks."""
    assert HookHandler(tmp_path, durable).save_all(runs(5)) == 5
    assert sorted(os.listdir(tmp_path)) == [f"cache-Run-A-#{n}" for n in range(5)]


@pytest.mark.skipif(sys.platform == "win32", reason="counts calls of POSIX")
def test_a_durable_batch_waits_for_the_disk_a_few_times(tmp_path, monkeypatch):
    """However many results there are. It waits before the names are given, or at the end."""
    events = []
    sync_all = system._disk.sync_file_system
    monkeypatch.setattr(os, "fsync", lambda fd: events.append("fsync"))
    monkeypatch.setattr(system, "publish_whole", lambda *_, **__: pytest.fail("published before it is on the disk"))
    handler = PickleHandler(Run, tmp_path, durable=True)
    handler.save_all(runs(300))
    assert len(events) <= 20 if sync_all(os.open(tmp_path, os.O_RDONLY)) else 340


def test_a_batch_that_loses_a_race_takes_other_numbers(tmp_path):
    """Another handler saves while the batch waits."""
    handler, other = (PickleHandler(Run, tmp_path, durable=durable) for durable in (True, False))

    mine = list(runs(5))

    def mixed():
        yield from mine[:3]
        other.save_all(runs(2))
        yield from mine[3:]

    assert handler.save_all(mixed()) == 5
    assert sorted(result.version for result in mine) == [2, 3, 4, 5, 6]
    assert len(os.listdir(tmp_path)) == 7


def test_a_progress_bar_is_shown_on_request(tmp_path, capsys, monkeypatch):
    """In a terminal only. If tqdm is not installed, the error names the extra."""
    handler = PickleHandler(Run, tmp_path)
    if "tqdm" in sys.modules or __import__("importlib").util.find_spec("tqdm"):
        assert handler.save_all(runs(3), progress=True) == 3
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(
        ImportError, match=r'a progress bar needs tqdm.auto: pip install "neuralib-persistence\[progress\]"'
    ):
        handler.save_all(runs(3), progress=True)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_load_in_order(tmp_path, threads):
    """A damaged file is reported at its place in the order. If the loop ends early, no thread goes on."""
    GzipHandler(Run, tmp_path).save_all(runs(30))
    handler = GzipHandler(Run, tmp_path, threads=threads)
    assert [result.data for _, result in handler.load_all(Run("A"))] == list(range(30))
    (tmp_path / "cache-Run-A-#7.pkl.gz").write_bytes(b"\x1f\x8bno")
    seen = []
    with pytest.raises(ValueError, match="#7"):
        seen.extend(result.data for _, result in handler.load_all(Run("A")))
    problems = []
    assert len(list(handler.load_all(Run("A"), on_corrupt=problems.append))) == 29
    assert [problem.path for problem in problems] == [str(tmp_path / "cache-Run-A-#7.pkl.gz")]
    iterator = handler.load_all(Run("A"))
    assert next(iterator)[1].data == 0
    iterator.close()


def test_a_copy_under_another_name_is_reported(tmp_path, caplog):
    """Its keys don't match its file name, so loading by either does not return it."""
    handler = PickleHandler(Run, tmp_path)
    handler.save_all(runs(2))
    (tmp_path / "cache-Run-B-#0.pkl").write_bytes((tmp_path / "cache-Run-A-#0.pkl").read_bytes())
    assert [result.data for _, result in handler.load_all(Run("B"))] == []
    assert "keys (animal='A', version=0)" in caplog.text
    problems = []
    assert list(handler.load_all(Run("B"), on_corrupt=problems.append)) == []
    assert problems[0].path == str(tmp_path / "cache-Run-B-#0.pkl")


def test_a_batch_may_be_durable_where_its_handler_is_not(tmp_path, monkeypatch):
    """A durable handler may also have a batch that is not. Both continue the same series."""
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
        assert [result.version for result in results] == [3, 4, 5]
        assert handler.durable is usual
        waits.clear()
    assert HookHandler(tmp_path, False).save_all(runs(2), durable=True) == 2
    assert waits


def test_a_durable_batch_replaces_with_one_wait(tmp_path, monkeypatch):
    """For any number of results."""
    handler = PickleHandler(Pair, tmp_path, durable=True)
    assert handler.save_all([filled(Pair(n, 0), data="former") for n in range(150)]) == 150
    monkeypatch.setattr(system, "sync_file", lambda path: pytest.fail("one by one"))
    monkeypatch.setattr(handler, "save_persistence", lambda *_: pytest.fail("one by one"))
    assert handler.save_all([filled(Pair(n, 0), data="new") for n in range(150)]) == 150
    assert {result.data for _, result in handler.load_all(a=missing, b=missing)} == {"new"}
    assert len(os.listdir(tmp_path)) == 150


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler, HookHandler])
def test_a_durable_save_succeeds_while_others_save(tmp_path, monkeypatch, many, kind):
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
        for result in mine:
            handler.save_persistence(result)
    numbers = {result.version for result in mine}
    assert len(numbers) == 4
    assert waits
    names = [name for name in os.listdir(tmp_path) if "#" in name]
    assert len(names) == len(os.listdir(tmp_path))
    assert sorted(int(name.partition("#")[2].partition(".")[0]) for name in names) == list(range(len(names)))
    for result in mine:
        assert str(handler.load_persistence(handler.filepath(result)).data) == str(result.data)


def test_lost_numbers_are_found_again_where_a_later_result_fails(tmp_path, monkeypatch):
    """The results before the failing one are saved, under whatever numbers are free."""
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
    assert [result.version for result in results][2::2] == [2, None]
    assert sorted(result.version for result in results[:4]) == [2, 4, 5, 6]


def free_descriptors():
    """Return how many more files this process can open."""
    opened = []
    try:
        while True:
            opened.append(os.dup(0))
    except OSError:
        return len(opened)
    finally:
        for each in opened:
            os.close(each)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("limit", ["known", "not known", 0, 1, 2])
def test_a_batch_makes_do_with_few_open_files(tmp_path, monkeypatch, limit):
    """It uses half of the limit on open files, or fewer if the rest is taken, also if waiting for the disk takes the last one."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == "not known":
        monkeypatch.setattr(folder, "_open_files", lambda: 10_000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 60, hard))
    try:
        if isinstance(limit, int):  # so many are free when all drafts are open
            free = free_descriptors() - limit
            monkeypatch.setattr(folder, "_open_files", lambda: 2 * free)
        assert PickleHandler(Run, tmp_path, durable=True).save_all(runs(300)) == 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [result.data for _, result in PickleHandler(Run, tmp_path).load_all(Run("A"))] == list(range(300))


@persistence_class
class Stopped:
    """A result that raises KeyboardInterrupt right after it is assigned one of the numbers in ``at``."""

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
def test_ctrl_c_right_after_a_number_is_assigned_takes_it_back(tmp_path, monkeypatch, durable, number):
    """Otherwise, saving it again would replace the result of whoever got this number meanwhile."""
    handler = PickleHandler(Stopped, tmp_path, durable=durable)
    results = [filled(Stopped("A"), data=n) for n in range(3)]
    monkeypatch.setattr(Stopped, "at", [number])
    with pytest.raises(KeyboardInterrupt):
        handler.save_all(results)
    assert not Stopped.at
    saved = [result.version for result in results[:number]]
    assert saved == list(range(number))
    assert [result.version for result in results[number:]] == [None] * (3 - number)
    assert handler.save_all(results[number:]) == 3 - number
    assert [result.data for _, result in handler.load_all(Stopped("A"))] == [0, 1, 2]


def test_ctrl_c_at_the_end_of_a_batch_leaves_no_folder_open(tmp_path, monkeypatch, durable):
    """Otherwise its disk could not be unmounted."""
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


def test_blocks_of_threads_may_end_in_any_order(store):
    """What is saved after the first has ended is saved at once, also when the last has ended."""
    handler = PickleHandler(Run, store)
    outer, inner = handler.batch(), handler.batch()
    outer.__enter__()
    inner.__enter__()
    handler.save_persistence(filled(Run("A"), data=0))
    outer.__exit__(None, None, None)
    handler.save_persistence(filled(Run("A"), data=1))
    assert len(PickleHandler(Run, store).find()) == 2
    inner.__exit__(None, None, None)
    handler.save_persistence(filled(Run("A"), data=2))
    assert len(PickleHandler(Run, store).find()) == 3


def test_a_save_that_began_in_a_batch_is_saved_after_its_end(store):
    """A thread may have come as far as to the batch, but not into it."""
    handler = PickleHandler(Run, store)
    with handler.batch():
        keeper = handler._keeper
        handler.save_persistence(filled(Run("A"), data=0))
    keeper.save(filled(Run("A"), data=1))
    assert handler.find(animal="A").to_columns()["version"] == [0, 1]


@pytest.mark.parametrize("ask", ["save_all", "batch"])
def test_a_batch_may_end_while_another_thread_joins_it(store, ask):
    """Between the look whether there is one and the call."""
    handler = PickleHandler(Run, store)
    outer = handler.batch()
    outer.__enter__()

    class Ending(type(handler._keeper)):
        @property
        def joins(self):
            found = vars(self)["joins"]
            if found is not None:
                outer.__exit__(None, None, None)
            return found

        @joins.setter
        def joins(self, value):
            vars(self)["joins"] = value

    handler._keeper.__class__ = Ending
    if ask == "save_all":
        assert handler.save_all([filled(Run("A"), data=0)]) == 1
    else:
        with handler.batch():
            handler.save_persistence(filled(Run("A"), data=0))
    assert len(PickleHandler(Run, store).find()) == 1


@pytest.mark.parametrize("ask", ["save_all", "batch", "attribute"])
def test_what_is_to_be_durable_is_so_inside_a_batch_that_is_not(store, ask, monkeypatch):
    """It is said for each call, and may be set at any time."""
    handler = PickleHandler(Run, store)
    asked = []
    put_many, put_if = store.put_many, store.put_if
    monkeypatch.setattr(
        store, "put_many", lambda *args, durable=False: (asked.append(durable), put_many(*args, durable=durable))[1]
    )
    monkeypatch.setattr(
        store, "put_if", lambda *args, durable=False: (asked.append(durable), put_if(*args, durable=durable))[1]
    )
    result = filled(Run("A"), data=0)
    with handler.batch():
        if ask == "save_all":
            handler.save_all([result], durable=True)
        else:
            handler.durable = True
            if ask == "batch":
                with handler.batch():
                    handler.save_persistence(result)
            else:
                handler.save_persistence(result)
    assert asked == [True]
