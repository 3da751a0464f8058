"""Reading a file at a place, all that is asked for, on any system."""

from __future__ import annotations

import io
import os


def read_at(fd: int, count: int, at: int) -> bytes:
    """Return *count* bytes of the file that is open as *fd* from the place *at* on; fewer only where it ends before."""
    data = _pread(fd, count, at)
    while len(data) < count:  # a network file system may give less at once
        more = _pread(fd, count - len(data), at + len(data))
        if not more:
            break
        data += more
    return data


def read_into(fd: int, targets: list[memoryview], at: int) -> None:
    """Fill *targets*, one after the other, from the place *at* of the file that is open as *fd*.

    :raises EOFError: it ends before
    """
    size = sum(map(len, targets))
    while size:
        got = _preadv(fd, targets, at)
        if not got:
            raise EOFError("it ends too early")
        size -= got
        at += got
        if size:
            targets = _rest(targets, got)


def _rest(targets: list[memoryview], filled: int) -> list[memoryview]:
    """Return what is left of *targets* to be filled, after so many bytes."""
    left = []
    for it in targets:
        left.append(it[filled:])
        filled = max(0, filled - len(it))
    return [it for it in left if it]


if hasattr(os, "preadv"):

    def _pread(fd: int, count: int, at: int) -> bytes:
        return os.pread(fd, count, at)

    def _preadv(fd: int, targets: list[memoryview], at: int) -> int:
        return os.preadv(fd, targets, at)

else:  # on Windows, and before macOS 11

    def _pread(fd: int, count: int, at: int) -> bytes:
        os.lseek(fd, at, os.SEEK_SET)
        return os.read(fd, count)

    def _preadv(fd: int, targets: list[memoryview], at: int) -> int:
        os.lseek(fd, at, os.SEEK_SET)
        with io.FileIO(fd, closefd=False) as file:
            return file.readinto(next(it for it in targets if it)) or 0
