"""Disks that are full, files that may not grow, calls that take less than they were given: real ones."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stress.bench import SAVING, WAYS, Bench

TRIED = SAVING
KiB = 1 << 10
LEFT = [0, 1, 4 * KiB, 8 * KiB, 16 * KiB, 100 * KiB, 1000 * KiB, 1500 * KiB, 2400 * KiB]
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


def told(run, *errors):
    """Run, and return what error says that it failed, where, and doing what; None where it did not."""
    try:
        run()
    except OSError as error:
        if error.errno not in errors:
            raise
        text = "\n".join([str(error), *getattr(error, "__notes__", [])])
        assert ", while " in text
        assert str(error.filename) in text
        return error
    return None


def fill(path):
    """Write the file *path* until not a byte more fits on its disk."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    for size in (64 * KiB, KiB, KiB):  # the last after the disk has settled what it had put off
        try:
            while True:
                os.write(file, b"x" * size)
        except OSError as error:
            assert error.errno == errno.ENOSPC
        os.fsync(file)
    os.close(file)


def filled_up(folder, left):
    """Return a function that runs with *left* bytes free on the disk of *folder*."""

    def disturb(run):
        filler = folder / FILLER
        try:
            fill(filler)
            os.truncate(filler, max(0, filler.stat().st_size - left))
            error = told(run, errno.ENOSPC)
        finally:
            filler.unlink()
        return error

    return disturb


def test_a_full_disk(small_disk, monkeypatch, sample, scenario, way):
    """Whatever little is left, in the file, the folder or its structure."""
    work = small_disk / f"{scenario}-{way}"
    work.mkdir()
    bench = Bench(work, monkeypatch)
    bench.go(way)
    failed = 0
    try:
        for left in {0, *sample(LEFT, 2)}:
            made = bench.made(scenario)
            failed += bench.disturbed(made, filled_up(small_disk, left)) is not None
    finally:
        shutil.rmtree(work)
    assert failed or scenario == "Extended", "a full disk must be felt"


def test_no_more_files(disk_of_few_files, monkeypatch, sample, scenario, way):
    """There is room, but no inode is left, or only a few."""
    work = disk_of_few_files / f"{scenario}-{way}"
    work.mkdir()
    bench = Bench(work, monkeypatch)
    bench.go(way)

    def disturb_with(left):
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
                for _ in range(min(left, len(files))):
                    files.pop().unlink()
                return told(run, errno.ENOSPC)
            finally:
                for it in files:
                    it.unlink()

        return disturb

    try:
        for left in [0, *sample(range(1, 5), 1)]:
            made = bench.made(scenario)
            failed = bench.disturbed(made, disturb_with(left)) is not None
            assert failed or left, "a disk without room for files must be felt"
    finally:
        shutil.rmtree(work)


def test_files_that_may_not_grow(tmp_path, monkeypatch, sample, scenario, way):
    """The system takes a part of what is written, and refuses the rest."""
    bench = Bench(tmp_path, monkeypatch)
    bench.go(way)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limited(size):
        def disturb(run):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
            try:
                return told(run, errno.EFBIG)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)

        return disturb

    assert bench.disturbed(bench.made(scenario), limited(0)) is not None
    for size in sample([1, 20, 100, 200, *LEFT[2:]], 2):
        bench.disturbed(bench.made(scenario), limited(size))


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

/* Takes a thousand bytes at the most. */
ssize_t write(int fd, const void *data, size_t size)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "write");
    return real(fd, data, size > 1000 && getenv("SHORT_WRITES") && on_regular_file(fd) ? 1000 : size);
}

/* Takes five bytes at the most, from the files that the test loads. */
ssize_t read(int fd, void *data, size_t size)
{
    static ssize_t (*real)(int, void *, size_t);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "read");
    return real(fd, data, size > 5000 && getenv("SHORT_READS") && on_regular_file(fd) ? 5000 : size);
}

/* Closes the file, and fails, at the turn that the environment says. */
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
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs a C compiler, and a loader that puts a library before others")
    made = tmp_path_factory.mktemp("shim") / "shim.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(made), "-ldl"], input=SHIM, text=True, check=True
    )
    return made


def under(shim, folder, *what, **settings):
    environment = {**os.environ, "LD_PRELOAD": str(shim)}
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
    """A call may take less than it was given: of every scenario, in every way, what is saved and loaded is whole."""
    said = under(shim, tmp_path, "all", SHORT_WRITES="1", SHORT_READS="1")
    assert said.split() == [f"{scenario}-{way}" for scenario, way in WAYS]


def test_closing_fails(shim, tmp_path, long):
    """As network file systems tell of a full disk: it is an error, and the descriptor is gone."""
    said = under(shim, tmp_path, "close", "long" if long else "quick")
    assert int(said) > 10
