"""The least that a small save can take: its system calls, made by a C program, and its pickle."""

from __future__ import annotations

import itertools
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cases.common import FILES, Unavailable, made, pickle_handler, save_with_handler, saving, side, small_class

SOURCE = r"""
/* A file gets its name when it is complete, as those of the library do. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char content[1 << 16];
static int by_descriptor = 1; /* not every kernel and user may give a name to a descriptor itself */

static int name_file(int fd, const char* path) {
    char link[64];
    if (by_descriptor) {
        if (linkat(fd, "", AT_FDCWD, path, AT_EMPTY_PATH) == 0) return 0;
        by_descriptor = 0;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, link, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
}

static void save(const char* folder, ssize_t size, long number) {
    char path[4096];
    snprintf(path, sizeof path, "%s/cache-Result-A00-20230101-plane3-df_f-#%ld.pkl", folder, number);
    int fd = open(folder, O_RDWR | O_CLOEXEC | O_TMPFILE, 0666);
    if (fd < 0 || write(fd, content, (size_t) size) != size || name_file(fd, path) || close(fd)) {
        perror(path);
        exit(1);
    }
}

int main(int count, char** words) {
    if (count != 3) return 2;
    int fd = open(words[1], O_RDONLY);
    ssize_t size = read(fd, content, sizeof content);
    if (fd < 0 || size <= 0) {
        perror(words[1]);
        return 1;
    }
    long files = atol(words[2]);
    char folder[2048];
    while (fgets(folder, sizeof folder, stdin)) {
        struct timespec start, end;
        folder[strcspn(folder, "\n")] = 0;
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (long number = 0; number < files; number++) save(folder, size, number);
        clock_gettime(CLOCK_MONOTONIC, &end);
        double seconds = (double) (end.tv_sec - start.tv_sec) + 1e-9 * (double) (end.tv_nsec - start.tv_nsec);
        printf("%.12f\n", seconds / (double) files);
        fflush(stdout);
    }
    return 0;
}
"""
"""``floor CONTENT COUNT`` reads the paths of folders, one a line. It makes COUNT files in each, with the bytes of the file
CONTENT, and prints the seconds that one took."""


def compiled(folder: Path) -> Path:
    """Compile the program into *folder*; return its path.

    :raises Unavailable: there is no C compiler, or the system has no files without a name
    """
    if sys.platform != "linux":
        raise Unavailable("the system calls are those of Linux")
    compiler = shutil.which("cc")
    if compiler is None:
        raise Unavailable("there is no C compiler with the name cc")
    program = folder / "floor"
    subprocess.run([compiler, "-O2", "-o", program, "-x", "c", "-"], input=SOURCE, text=True, check=True)
    return program


@side("small save", "ours")
def save_small(folder: Path) -> Any:
    yield from saving(folder, small_class(numbered=False), range(FILES), save_with_handler)


@side("small save", "C and pickle")
def calls_and_pickle(folder: Path) -> Any:
    """Yield batches that return the mean seconds of the system calls for a file of the same bytes, plus those of the pickle."""
    program = compiled(folder)
    cls = small_class(numbered=False)
    handler = pickle_handler(cls, folder / "content")
    first = made(cls, 0)
    handler.save_persistence(first)
    command = [program, handler.filepath(first), str(FILES)]
    calls = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert calls.stdin is not None
    assert calls.stdout is not None

    for batch_number in itertools.count():
        target = folder / str(batch_number)
        target.mkdir()
        results = [made(cls, number) for number in range(FILES)]

        def batch(target: Path = target, results: list[Any] = results) -> float:
            dumps = pickle.dumps
            start = time.perf_counter()
            for result in results:
                dumps(result.__dict__, protocol=5)
            pickling = (time.perf_counter() - start) / len(results)
            calls.stdin.write(f"{target}\n")
            calls.stdin.flush()
            return pickling + float(calls.stdout.readline())

        yield batch
