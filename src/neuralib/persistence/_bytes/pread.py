"""Reading a file at a place, all that is asked for, on any system."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


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
    for target in targets:
        left.append(target[filled:])
        filled = max(0, filled - len(target))
    return [target for target in left if target]


def _pread_by_seeking(fd: int, count: int, at: int) -> bytes:
    before = os.lseek(fd, 0, os.SEEK_CUR)
    os.lseek(fd, at, os.SEEK_SET)
    try:
        return os.read(fd, count)
    finally:
        os.lseek(fd, before, os.SEEK_SET)


def _preadv_by_seeking(fd: int, targets: list[memoryview], at: int) -> int:
    before = os.lseek(fd, 0, os.SEEK_CUR)
    os.lseek(fd, at, os.SEEK_SET)
    try:
        with io.FileIO(fd, closefd=False) as file:
            return file.readinto(next(target for target in targets if target)) or 0
    finally:
        os.lseek(fd, before, os.SEEK_SET)


_pread: Callable[[int, int, int], bytes] = _pread_by_seeking
_preadv: Callable[[int, list[memoryview], int], int] = _preadv_by_seeking
if hasattr(os, "preadv"):  # not on Windows, nor before macOS 11
    _pread, _preadv = os.pread, os.preadv
