"""Acknowledged results of an archive survive kill -9 at any moment, many writers, a loss of power, and a full disk."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from checks import Run, filled
from stress.mounts import Disk, why_no_disk
from stress.test_full_disks import small_disk  # noqa: F401 - a fixture

from neuralib.persistence import PickleHandler, missing, results_equal
from neuralib.persistence.stores import ArchiveStore

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills by signals")

WRITER = """
import sys
import numpy as np
from checks import Pair, Run, filled
from neuralib.persistence import PickleHandler

file, mode, animal = sys.argv[1:]
runs, pairs = PickleHandler(Run, file, durable=mode == "durable"), PickleHandler(Pair, file)
print("begun", flush=True)
for turn in range(100_000):
    if mode == "batch":
        results = [filled(Run(animal), data=np.arange(turn % 50)) for _ in range(1 + turn % 30)]
        runs.save_all(results)
    elif mode == "replaced":
        pairs.save_persistence(filled(Pair(animal, turn % 3), data=turn))
        print(turn % 3, turn, flush=True)
        continue
    else:
        results = [runs.save_persistence(filled(Run(animal), data=np.arange(turn % 50)))]
    for result in results:
        print(result.version, len(result.data), flush=True)
"""


def acknowledged_by_killed_writers(file, mode, seconds, count):
    """Let *count* processes save, kill them after *seconds*; return the acknowledged (number, value) by animal."""
    command = [sys.executable, "-c", WRITER, str(file), mode]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    writers = [
        subprocess.Popen([*command, f"{mode}{number}"], stdout=subprocess.PIPE, text=True, env=environment)
        for number in range(count)
    ]
    for writer in writers:
        assert writer.stdout.readline() == "begun\n"
    time.sleep(seconds)
    acknowledged = {}
    for number, writer in enumerate(writers):
        writer.send_signal(signal.SIGKILL)
        lines = writer.communicate()[0].split("\n")[:-1]  # the last may be cut
        acknowledged[f"{mode}{number}"] = [tuple(map(int, line.split())) for line in lines]
    return acknowledged


def check_intact(file):
    """Check that neither a result nor the file is damaged."""
    assert [found.path for found in PickleHandler(Run, ArchiveStore(file)).verify() if found.problem] == []
    with sqlite3.connect(file) as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    other.close()


@pytest.mark.parametrize("mode", ["alone", "batch", "durable", "replaced"])
def test_acknowledged_results_survive_kills(tmp_path, long, mode):
    """Two writers at once are killed several times."""
    from checks import Pair

    file = tmp_path / "results.sqlar"
    rng = random.Random(mode)
    expected, last = {}, {}
    for _ in range(50 if long else 3):
        for animal, saved in acknowledged_by_killed_writers(file, mode, rng.uniform(0.05, 0.4), 2).items():
            for number, value in saved:
                if mode == "replaced":
                    last[animal, number] = value
                else:
                    assert (animal, number) not in expected, "a number was given twice"
                    expected[animal, number] = value
        handler = PickleHandler(Run, ArchiveStore(file))
        for (animal, number), size in expected.items():
            assert len(handler.load_persistence({"animal": animal, "version": number}).data) == size
        pairs = PickleHandler(Pair, ArchiveStore(file))
        for (animal, number), turn in last.items():
            assert pairs.load_persistence(Pair(animal, number)).data >= turn or mode != "replaced"
        check_intact(file)
    assert expected or last


def save_some(file, animal, count):
    """Save results one by one and in a batch; return their numbers."""
    handler = PickleHandler(Run, file)
    numbers = [handler.save_persistence(filled(Run(animal), data=0)).version for _ in range(count)]
    results = [filled(Run(animal), data=0) for _ in range(count)]
    handler.save_all(results)
    return numbers + [result.version for result in results]


def test_processes_never_get_the_same_number(tmp_path, long):
    """In one series, by single saves and batches, while others read."""
    file, count = tmp_path / "results.sqlar", 500 if long else 50
    with ProcessPoolExecutor(4) as pool:
        done = [pool.submit(save_some, file, "A", count) for _ in range(4)]
        while not all(future.done() for future in done):
            for _, result in PickleHandler(Run, file).load_all(animal=missing):
                assert result.data == 0
        numbers = sorted(number for future in done for number in future.result())
    assert len(set(numbers)) == len(numbers) == 8 * count
    assert len(PickleHandler(Run, file).find()) == 8 * count
    check_intact(file)


@pytest.mark.parametrize("kind", ["ext4", pytest.param("xfs", marks=pytest.mark.long)])
def test_durable_results_survive_a_loss_of_power(tmp_path, kind, long):
    """In a new file in a new folder, saved one by one and in a batch."""
    reason = why_no_disk(kind)
    if reason is not None:
        pytest.skip(str(reason))
    disk = Disk(tmp_path, kind)
    try:
        place = Path("new") / "folder" / "results.sqlar"
        handler = PickleHandler(Run, disk.root / place, durable=True)
        saved = []
        for turn in range(6 if long else 3):
            saved.append(handler.save_persistence(filled(Run("A"), data=np.arange(turn))))
            batch = [filled(Run("B"), data=np.arange(100 + turn)) for _ in range(30)]
            handler.save_all(batch)
            saved += batch
            with disk.after_a_power_cut() as copy:
                found = PickleHandler(Run, Path(copy) / place)
                for result in saved:
                    assert results_equal(found.load_persistence(result), result)
                found.store.close()
        handler.store.close()
    finally:
        disk.close()


def test_a_full_disk_is_an_error_and_loses_nothing(small_disk):  # noqa: F811
    """Saving works again when there is space."""
    filler = small_disk / "filler"
    filler.write_bytes(bytes(5_000_000))
    with ArchiveStore(small_disk / "results.sqlar") as store:
        handler = PickleHandler(Run, store)
        saved = []

        def fill():
            while True:
                saved.append(handler.save_persistence(filled(Run("A"), data=b"x" * 500_000)))

        with pytest.raises(OSError, match="No space left") as caught:
            fill()
        assert Path(caught.value.filename).name == "results.sqlar"
        with pytest.raises(OSError, match="No space left"):
            handler.save_all(filled(Run("B"), data=b"y" * 500_000) for _ in range(60))
        for result in saved:
            assert results_equal(handler.load_persistence(result), result)
        filler.unlink()
        handler.find(animal="A")[:3].delete(dry_run=False)
        assert handler.save_persistence(filled(Run("C"), data=b"z")).version == 0
        assert len(handler.find(animal="A")) == len(saved) - 3
    (small_disk / "results.sqlar").unlink()
