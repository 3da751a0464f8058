"""What was saved durably is there after a loss of power: the disk as it is right after the acknowledgement is looked at.

The image of a disk is mounted without a cache between, so that its file is the disk. The copy of the file is what a loss
of power would leave; mounting it recovers the journal, as the machine would when it comes up.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from checks import Pair, Run, filled
from stress.mounts import Disk, why_no_disk
from stress.racer import PathHandler
from stress.ways import go_the_way

from neuralib.persistence import (
    CorruptResultError,
    GzipHandler,
    PickleHandler,
    _disk,
    load,
    missing,
    results_equal,
    save,
)
from neuralib.persistence._stores import system
from neuralib.persistence._stores.drafts import FolderDraft

COUNTER = itertools.count()


def on(kind, *marks):
    reason = why_no_disk(kind)
    return pytest.param(kind, marks=[pytest.mark.skipif(reason is not None, reason=str(reason)), *marks])


@pytest.fixture(scope="module", params=[on("ext4"), on("xfs", pytest.mark.long)])
def disk(request, tmp_path_factory):
    made = Disk(tmp_path_factory.mktemp("disk"), request.param)
    yield made
    made.close()


@pytest.fixture
def place(disk):
    """A folder on the disk that is not there yet, two levels deep."""
    return disk.root / f"new{next(COUNTER)}" / "folder"


def pair(n, data):
    return filled(Pair(n, "x"), data=data)


def there_after(disk, place):
    """Return the folder *place* after a loss of power."""

    class Copy:
        def __enter__(self):
            self.context = disk.after_a_power_cut()
            return Path(self.context.__enter__()) / place.relative_to(disk.root)

        def __exit__(self, *error):
            return self.context.__exit__(*error)

    return Copy()


def check(disk, place, kind, expected):
    """All results *expected* are there, whole, and nothing is damaged."""
    with there_after(disk, place) as copy:
        handler = kind(type(expected[0]), copy)
        for it in expected:
            assert results_equal(handler.load_persistence(it), it)
        assert not [it for it in handler.verify() if it.problem]


SMALL, LARGE = np.arange(10.0), np.random.default_rng(0).random(200_000)


@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler])
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_each_acknowledged_result_survives(disk, place, kind, data):
    """New ones in a new folder, then replaced ones, each looked at right after its save returned."""
    handler = kind(Pair, place, durable=True)
    saved = []
    for n in range(2):
        saved.append(handler.save_persistence(pair(n, data + n)))
        check(disk, place, kind, saved)
    saved[0] = handler.save_persistence(pair(0, data + 7))
    check(disk, place, kind, saved)


def test_numbered_results_survive(disk, place, long):
    """Among others that are not durable."""
    handler, others = PickleHandler(Run, place, durable=True), PickleHandler(Run, place)
    others.save_persistence(filled(Run("A"), data="not durable"))
    saved = []
    for n in range(10 if long else 3):
        others.save_persistence(filled(Run("B"), data="not durable"))
        saved.append(handler.save_persistence(filled(Run("A"), data=SMALL + n)))
        with there_after(disk, place) as copy:
            for it in saved:
                assert results_equal(PickleHandler(Run, copy).load_persistence(it), it)
    assert [it.version for it in saved] == list(range(1, len(saved) + 1))


@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler])
def test_batches_survive(disk, place, kind):
    """New ones over several groups, and replaced ones, by the choice of the call or of the handler."""
    results = [filled(Run("A"), data=SMALL + n) for n in range(450)]
    kind(Run, place).save_all(results, durable=True)
    check(disk, place, kind, results)
    pairs = [pair(n, LARGE[:20_000] + n) for n in range(20)]
    handler = kind(Pair, place.parent / "pairs", durable=True)
    handler.save_all(pairs)
    check(disk, place.parent / "pairs", kind, pairs)
    replaced = [pair(n, SMALL - n) for n in range(20)]
    handler.save_all(replaced)
    check(disk, place.parent / "pairs", kind, replaced)


def test_a_batch_that_lost_its_numbers_survives(disk, place):
    """To others who save while it waits for the disk."""
    handler, other = PickleHandler(Run, place, durable=True), PickleHandler(Run, place)
    results = [filled(Run("A"), data=SMALL + n) for n in range(30)]

    def mixed():
        for n, it in enumerate(results):
            if n in {5, 20}:
                other.save_persistence(filled(Run("A"), data="theirs"))
            yield it

    handler.save_all(mixed())
    with there_after(disk, place) as copy:
        for it in results:
            assert results_equal(PickleHandler(Run, copy).load_persistence(it), it)


def test_a_hook_survives(disk, place):
    """New and replaced, one by one and in a batch; the files were written by path."""
    handler = PathHandler(place, durable=True)
    handler.save_persistence(filled(Run("A"), data="first"))
    handler.save_persistence(filled(Run("A", 0), data="replaced"))
    batch = PathHandler(place)
    batch.save_all([filled(Run("A"), data=f"{n}" * 10_000) for n in range(5)], durable=True)
    with there_after(disk, place) as copy:
        found = [it.data for _, it in PathHandler(copy).load_all(Run("A"))]
    assert found == ["replaced", *(f"{n}" * 10_000 for n in range(5))]


def test_save_survives(disk, place):
    """The function, in a new folder, and over a former file."""
    for data in (SMALL, LARGE):
        save(pair(1, data), place / "result.pkl", durable=True)
        with there_after(disk, place) as copy:
            assert results_equal(load(Pair, copy / "result.pkl"), pair(1, data))


@pytest.mark.parametrize("way", ["hidden", "renamed", "claimed"])
def test_every_way_survives(disk, place, monkeypatch, way):
    """Where there are no files without names, no links, no exclusive renames."""
    for owner, name in ((system, "TMPFILE"), (os, "link"), (_disk, "rename_exclusively")):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # put back at the end
    go_the_way(way)
    handler = PickleHandler(Run, place, durable=True)
    saved = [handler.save_persistence(filled(Run("A"), data=SMALL + n)) for n in range(2)]
    check(disk, place, PickleHandler, saved)


@pytest.mark.parametrize("left_out", ["all", "contents", "names"])
def test_without_the_waits_it_would_be_lost(disk, place, monkeypatch, left_out):
    """The test can fail: with waits left out, acknowledged results are missing, or damaged, which is told."""
    if left_out == "contents":
        monkeypatch.setattr(FolderDraft, "sync", lambda self: None)
    if left_out == "names":
        monkeypatch.setattr(system, "sync_names", lambda folder: None)
    handler = PickleHandler(Pair, place, durable=left_out != "all")
    save(pair(9, SMALL), place / "before.pkl", durable=True)
    saved = [handler.save_persistence(pair(n, LARGE + n)) for n in range(3)]
    lost = 0
    with there_after(disk, place) as copy:
        handler = PickleHandler(Pair, copy)
        for it in saved:
            try:
                assert results_equal(handler.load_persistence(it), it)
            except (FileNotFoundError, CorruptResultError):
                lost += 1
    assert lost


def test_what_was_not_durable_is_whole_or_told(disk, place):
    """A journal may hold a name whose content never came: that is found when it is loaded, never another's data."""
    handler = PickleHandler(Pair, place)
    for n in range(40):
        handler.save_persistence(pair(n, LARGE[: 100 * n] + n))
    save(pair(0, SMALL), place.parent / "durable.pkl", durable=True)  # which takes names, and not contents, along
    problems = []
    with there_after(disk, place) as copy:
        for _, it in PickleHandler(Pair, copy).load_all(a=missing, b=missing, on_corrupt=problems.append):
            assert results_equal(it, pair(it.a, LARGE[: 100 * it.a] + it.a))
