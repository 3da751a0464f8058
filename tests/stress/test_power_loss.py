"""What was saved durably is there after a loss of power: tests look at a copy of the disk, made right after the save returned.

The image of a disk is mounted without a cache between, so the image file holds what the disk would hold. Its copy is what a
loss of power would leave; mounting the copy recovers the journal, as the machine would when it starts again.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from checks import Pair, Run, filled
from stress.mounts import Disk, why_no_disk
from stress.publishing import publish_by
from stress.racer import PathHandler

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
    """Return the parameter for disks of that *kind*, skipped where they can't be made."""
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


def after_power_loss(disk, place):
    """Return a context manager: the folder *place* as it would be after a loss of power now."""

    class Copy:
        def __enter__(self):
            self.context = disk.after_a_power_cut()
            return Path(self.context.__enter__()) / place.relative_to(disk.root)

        def __exit__(self, *error):
            return self.context.__exit__(*error)

    return Copy()


def check(disk, place, kind, expected):
    """Check that all *expected* results survive a loss of power, whole, and that no file is damaged."""
    with after_power_loss(disk, place) as copy:
        handler = kind(type(expected[0]), copy)
        for result in expected:
            assert results_equal(handler.load_persistence(result), result)
        assert not [check for check in handler.verify() if check.problem]


SMALL, LARGE = np.arange(10.0), np.random.default_rng(0).random(200_000)


@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler])
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_each_acknowledged_result_survives(disk, place, kind, data):
    """New results in a new folder, then replaced ones: the disk is looked at after each save."""
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
        with after_power_loss(disk, place) as copy:
            for result in saved:
                assert results_equal(PickleHandler(Run, copy).load_persistence(result), result)
    assert [result.version for result in saved] == list(range(1, len(saved) + 1))


@pytest.mark.parametrize("kind", [PickleHandler, GzipHandler])
def test_batches_survive(disk, place, kind):
    """New results in several groups, and replaced ones; durability is chosen in the call or for the handler."""
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
        for n, result in enumerate(results):
            if n in {5, 20}:
                other.save_persistence(filled(Run("A"), data="theirs"))
            yield result

    handler.save_all(mixed())
    with after_power_loss(disk, place) as copy:
        for result in results:
            assert results_equal(PickleHandler(Run, copy).load_persistence(result), result)


def test_results_written_by_a_hook_survive(disk, place):
    """The hook writes to a path: new and replaced results, one by one and in a batch."""
    handler = PathHandler(place, durable=True)
    handler.save_persistence(filled(Run("A"), data="first"))
    handler.save_persistence(filled(Run("A", 0), data="replaced"))
    batch = PathHandler(place)
    batch.save_all([filled(Run("A"), data=f"{n}" * 10_000) for n in range(5)], durable=True)
    with after_power_loss(disk, place) as copy:
        found = [result.data for _, result in PathHandler(copy).load_all(Run("A"))]
    assert found == ["replaced", *(f"{n}" * 10_000 for n in range(5))]


def test_the_function_save_is_durable(disk, place):
    """In a new folder, and over a former file."""
    for data in (SMALL, LARGE):
        save(pair(1, data), place / "result.pkl", durable=True)
        with after_power_loss(disk, place) as copy:
            assert results_equal(load(Pair, copy / "result.pkl"), pair(1, data))


@pytest.mark.parametrize("publishing", ["hidden", "renamed", "claimed"])
def test_every_method_of_publishing_is_durable(disk, place, monkeypatch, publishing):
    """Without files that have no name, without links, without exclusive renames."""
    for owner, name in ((system, "TMPFILE"), (os, "link"), (_disk, "rename_exclusively")):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # so that monkeypatch restores it
    publish_by(publishing)
    handler = PickleHandler(Run, place, durable=True)
    saved = [handler.save_persistence(filled(Run("A"), data=SMALL + n)) for n in range(2)]
    check(disk, place, PickleHandler, saved)


@pytest.mark.parametrize("left_out", ["all", "contents", "names"])
def test_without_the_waits_it_would_be_lost(disk, place, monkeypatch, left_out):
    """The tests above can fail: with waits left out, results are missing, or damaged, which loading reports."""
    if left_out == "contents":
        monkeypatch.setattr(FolderDraft, "sync", lambda self: None)
    if left_out == "names":
        monkeypatch.setattr(system, "sync_names", lambda folder: None)
    handler = PickleHandler(Pair, place, durable=left_out != "all")
    save(pair(9, SMALL), place / "before.pkl", durable=True)
    saved = [handler.save_persistence(pair(n, LARGE + n)) for n in range(3)]
    lost = 0
    with after_power_loss(disk, place) as copy:
        handler = PickleHandler(Pair, copy)
        for result in saved:
            try:
                assert results_equal(handler.load_persistence(result), result)
            except (FileNotFoundError, CorruptResultError):
                lost += 1
    assert lost


def test_what_was_not_durable_is_whole_or_reported_as_damaged(disk, place):
    """A journal may hold a name whose content was never written: loading reports that, and never returns other data."""
    handler = PickleHandler(Pair, place)
    for n in range(40):
        handler.save_persistence(pair(n, LARGE[: 100 * n] + n))
    save(
        pair(0, SMALL), place.parent / "durable.pkl", durable=True
    )  # this writes the names in the journal to the disk, but not the contents
    problems = []
    with after_power_loss(disk, place) as copy:
        for _, result in PickleHandler(Pair, copy).load_all(a=missing, b=missing, on_corrupt=problems.append):
            assert results_equal(result, pair(result.a, LARGE[: 100 * result.a] + result.a))
