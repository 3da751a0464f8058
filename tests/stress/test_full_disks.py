"""Full disks, limits on the size of files, and system calls that write or read only a part: an error, and nothing is lost."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stress.runner import CASES, SAVING_CASES, ScenarioRunner

from neuralib.persistence import PickleHandler, field, persistence_class
from neuralib.persistence.stores import ArchiveStore

TRIED = SAVING_CASES
KiB = 1 << 10
FREE_BYTES = [0, 1, 4 * KiB, 8 * KiB, 16 * KiB, 100 * KiB, 1000 * KiB, 1500 * KiB, 2400 * KiB]
FILLER = "filler"


def mounted(kind, folder, *options):
    """Mount a small file system on *folder*, or return why not."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root may mount a small disk"
    if kind == "ext4":
        if shutil.which("mkfs.ext4") is None:
            return "mkfs.ext4 is not installed"
        image = folder.with_suffix(".image")
        with open(image, "wb") as file:
            file.truncate(24 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", str(image)], check=True)
        command = ["mount", "-o", "loop", str(image), str(folder)]
    else:
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"mounting is not allowed here: {done.stderr}" if done.returncode else None


@pytest.fixture(scope="module", params=["tmpfs", "ext4"])
def small_disk(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("disk")
    problem = mounted(request.param, folder, "size=24m")
    if problem:
        pytest.skip(problem)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def disk_of_few_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disk")
    problem = mounted("tmpfs", folder, "size=24m", "nr_inodes=60")
    if problem:
        pytest.skip(problem)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def error_of(run, *errnos):
    """Call *run*; check that an error of these numbers says where and doing what it failed. Return the error, or None."""
    try:
        run()
    except OSError as error:
        if error.errno not in errnos:
            raise
        text = "\n".join([str(error), *getattr(error, "__notes__", [])])
        assert ", while " in text
        assert str(error.filename) in text
        return error
    return None


def fill(path):
    """Write to the file *path* until its disk is full."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    for size in (64 * KiB, KiB, KiB):  # the last one after fsync, which may free what was only reserved
        try:
            while True:
                os.write(file, b"x" * size)
        except OSError as error:
            assert error.errno == errno.ENOSPC
        os.fsync(file)
    os.close(file)


def with_full_disk(folder, free_bytes):
    """Return a function that calls its argument while *free_bytes* are free on the disk of *folder*."""

    def disturb(run):
        filler = folder / FILLER
        try:
            fill(filler)
            os.truncate(filler, max(0, filler.stat().st_size - free_bytes))
            error = error_of(run, errno.ENOSPC)
        finally:
            filler.unlink()
        return error

    return disturb


def test_a_full_disk(small_disk, monkeypatch, sample, scenario, publishing):
    """Some bytes are free: for none, or for a part of what the save writes."""
    work = small_disk / f"{scenario}-{publishing}"
    work.mkdir()
    runner = ScenarioRunner(work, monkeypatch)
    runner.publish_by(publishing)
    failed = 0
    try:
        for free_bytes in {0, *sample(FREE_BYTES, 2)}:
            disturb = with_full_disk(small_disk, free_bytes)
            failed += runner.run(runner.new_scenario(scenario), disturb) is not None
    finally:
        shutil.rmtree(work)
    assert failed or scenario == "Extended", "no save failed on the full disk"


@persistence_class
class Mean:
    animal: str = field(filename=True)
    value: float


def mean(animal, value=1.0):
    found = Mean(animal)
    found.value = value
    return found


def test_deleting_from_an_archive_on_a_full_disk(small_disk):
    """Its log has to grow: an error says to free some space, and nothing is lost. Where the log has room, it works."""
    file, filler = small_disk / "results.sqlar", small_disk / FILLER
    with ArchiveStore(file) as store:
        PickleHandler(Mean, store).save_all(mean(f"A{number}") for number in range(200))
    try:
        fill(filler)
        handler = PickleHandler(Mean, ArchiveStore(file))
        assert len(handler.find()) == 200
        with pytest.raises(OSError, match="free a megabyte elsewhere") as caught:
            handler.find(animal={"A0", "A1"}).delete(dry_run=False)
        assert caught.value.errno == errno.ENOSPC
        os.truncate(filler, filler.stat().st_size - (1 << 20))
        assert len(handler.find()) == 200
        for number in range(20):  # deleting needs room in the log, but none in the file
            handler.save_persistence(mean(f"A{number}", 2.0))
        fill(small_disk / "more")
        assert len(handler.find(animal={"A0", "A1"}).delete(dry_run=False)) == 2
        assert len(handler.find()) == 198
        handler.store.close()
    finally:
        filler.unlink()
        (small_disk / "more").unlink(missing_ok=True)
    assert [check.problem for check in PickleHandler(Mean, ArchiveStore(file)).verify()] == [None] * 198
    file.unlink()


def test_no_more_files(disk_of_few_files, monkeypatch, sample, scenario, publishing):
    """There is room, but no inode is free, or only a few."""
    work = disk_of_few_files / f"{scenario}-{publishing}"
    work.mkdir()
    runner = ScenarioRunner(work, monkeypatch)
    runner.publish_by(publishing)

    def with_inodes(free):
        def disturb(run):
            files = []
            try:
                while True:
                    file = disk_of_few_files / f"{FILLER}{len(files)}"
                    try:
                        file.touch()
                    except OSError:
                        break
                    files.append(file)
                for _ in range(min(free, len(files))):
                    files.pop().unlink()
                return error_of(run, errno.ENOSPC)
            finally:
                for file in files:
                    file.unlink()

        return disturb

    try:
        for free in [0, *sample(range(1, 5), 1)]:
            failed = runner.run(runner.new_scenario(scenario), with_inodes(free)) is not None
            assert failed or free, "the save succeeded without a free inode"
    finally:
        shutil.rmtree(work)


def test_files_that_may_not_grow(tmp_path, monkeypatch, sample, scenario, publishing):
    """RLIMIT_FSIZE: the system writes a part of the data, and refuses the rest."""
    runner = ScenarioRunner(tmp_path, monkeypatch)
    runner.publish_by(publishing)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limited(size):
        def disturb(run):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
            try:
                return error_of(run, errno.EFBIG)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)

        return disturb

    assert runner.run(runner.new_scenario(scenario), limited(0)) is not None
    for size in sample([1, 20, 100, 200, *FREE_BYTES[2:]], 2):
        runner.run(runner.new_scenario(scenario), limited(size))


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int on_regular_file(int fd)
{
    struct stat info;
    int before = errno, found = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    errno = before;
    return found;
}

/* Writes at most 1000 bytes to a file. */
ssize_t write(int fd, const void *data, size_t size)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "write");
    return real(fd, data, size > 1000 && getenv("SHORT_WRITES") && on_regular_file(fd) ? 1000 : size);
}

/* Reads at most 5000 bytes from a file. */
ssize_t read(int fd, void *data, size_t size)
{
    static ssize_t (*real)(int, void *, size_t);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "read");
    return real(fd, data, size > 5000 && getenv("SHORT_READS") && on_regular_file(fd) ? 5000 : size);
}

/* Closes the file; the n-th close of a file returns an error all the same: FAIL_CLOSE is n. */
int close(int fd)
{
    static int (*real)(int), turn;
    const char *fail = getenv("FAIL_CLOSE");
    int file = fail && on_regular_file(fd), done;
    if (!fail)
        turn = 0;
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "close");
    done = real(fd);
    if (file && ++turn == atoi(fail)) {
        errno = EIO;
        return -1;
    }
    return done;
}
"""
CHILD = """
import os, sys
sys.path.insert(0, sys.argv[1])
from stress import shimmed
shimmed.main(*sys.argv[2:])
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """A C library that is loaded before libc, and changes what read, write and close do."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs a C compiler, and LD_PRELOAD")
    made = tmp_path_factory.mktemp("shim") / "shim.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(made), "-ldl"], input=SHIM, text=True, check=True
    )
    return made


def run_under(shim, folder, *what, **settings):
    """Run ``shimmed.main`` in a process of its own that has loaded *shim*; return what it printed."""
    # Python does not notice that it wrote a part of a module's bytecode, which then fails to load in every later process.
    environment = {**os.environ, "LD_PRELOAD": str(shim), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(Path(__file__).parents[1]), str(folder), *what, str(settings)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_short_writes_and_reads(shim, tmp_path):
    """A call may write or read only a part: each scenario, with each method of publishing, saves and loads whole results."""
    output = run_under(shim, tmp_path, "all", SHORT_WRITES="1", SHORT_READS="1")
    assert output.split() == [f"{scenario}-{publishing}" for scenario, publishing in CASES]


def test_closing_fails(shim, tmp_path, long):
    """Network file systems may report a full disk only here: it is an error, and the descriptor is closed."""
    failed = run_under(shim, tmp_path, "close", "long" if long else "quick")
    assert int(failed) > 10
