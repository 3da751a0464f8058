"""Checksums of files: the CRC-32 that gzip, zip and PNG use too, of pieces in order, by a thread in the background, or of parts put together."""

from __future__ import annotations

import os
import queue
import zlib
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

from neuralib.persistence import _forks
from neuralib.persistence._packages import imported
from neuralib.persistence._tasks import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from neuralib.persistence._bytes.sources import Source

BACKGROUND_FROM = 1 << 24
"""In bytes: from this size on, a thread is worth its start."""

_LARGE = 1 << 16  # bytes that zlib-ng is imported for at once
_A_CALL = 1 << 12  # the bytes that zlib adds up while it is called
_PIECE = 1 << 20  # bytes that are read and added up together, while they are in the processor's cache
_MOST_READERS = 4  # more don't make the memory quicker
_ALL = 0xFFFFFFFF


def fast_zlib() -> Any:
    """Return zlib-ng."""
    return imported("zlib_ng.zlib_ng")


def checksum(data: Buffer, start: int = 0) -> int:
    """Return the CRC-32 of *data*, going on from *start*."""
    return _quickest(data, start)


def _by_zlib(data: Buffer, start: int) -> int:
    """Return the same by zlib, until it has taken about the time of the import of zlib-ng, which is several times faster.

    Threads that come here at once count too little, or import it twice, which does no harm.
    """
    global _quickest, _until_import  # noqa: PLW0603  # of the process: the import is
    size = memoryview(data).nbytes
    _until_import -= size + _A_CALL
    if size < _LARGE and _until_import > 0:
        return zlib.crc32(data, start)
    _quickest = fast_zlib().crc32
    return _quickest(data, start)


_quickest: Callable[[Buffer, int], int] = _by_zlib
_until_import = 1 << 23  # bytes: 2 ms


def combined(first: int, second: int, size: int) -> int:
    """Return the CRC-32 of two parts, given that of each and the *size* of the second in bytes."""
    return fast_zlib().crc32_combine(first, second, size)  # type: ignore[no-any-return]


def with_zeros(start: int, count: int) -> int:
    """Return the CRC-32 of *count* zeros, going on from *start*, in no time: as for a hole in a file."""
    # A checksum begins and ends inverted. Between these, zeros only shift it.
    return combined(start ^ _ALL, _ALL, count)


class BackgroundCrc:
    """The checksum of many pieces, computed by a thread of its own while they are written."""

    def __init__(self, start: int) -> None:
        self._pieces: queue.SimpleQueue[Buffer | None] = queue.SimpleQueue()
        self._added: list[Buffer] = []
        self._start, self._process = start, _forks.this_process
        # It does not refer to this object, so that a thread that does it ends with this, wherever Ctrl-C may come.
        self._task = Task(partial(_added_up, self._pieces, start))
        self._task.begin()

    def add(self, piece: Buffer) -> None:
        """Take the next piece, which must not change before :meth:`result` is asked for."""
        self._added.append(piece)
        self._pieces.put(piece)

    def result(self) -> int:
        """Return the checksum of all pieces, once there are no more."""
        self._pieces.put(None)
        if self._process is not _forks.this_process:  # the thread is not in a forked process, and took some pieces
            return reduce(lambda total, piece: checksum(piece, total), self._added, self._start)
        return self._task.result()

    def __del__(self) -> None:
        if hasattr(self, "_pieces"):
            self._pieces.put(None)


def _added_up(pieces: queue.SimpleQueue[Buffer | None], total: int) -> int:
    """Return the checksum of *pieces* up to None, going on from *total*."""
    while (piece := pieces.get()) is not None:
        total = checksum(piece, total)
    return total


def _part_read(source: Source, left: memoryview, at: int, stopped: list[bool]) -> int:
    """Fill *left* from *source*, unless *stopped* says otherwise; return its checksum."""
    found = 0
    while left and not stopped[0]:
        piece = left[:_PIECE]
        source.read_into([piece], at)
        found = checksum(piece, found)
        left, at = left[len(piece) :], at + len(piece)
    return found


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def read_by_parts(source: Source, target: memoryview, at: int, start: int) -> int:
    """Fill *target*, which is large, from *source*; return the checksum, going on from *start*.

    Each processor reads a part and computes its checksum, since copying keeps a single one from the speed of the memory.

    :param at: where in the source *target* begins, in bytes
    :raises EOFError: the source ends too early
    :raises OSError: it can't be read
    """
    count = min(_MOST_READERS, _processors())
    size = -(-len(target) // count // _PIECE) * _PIECE  # rounded up: no part but the last ends within a page of memory
    stopped = [False]
    parts = [target[begin : begin + size] for begin in range(0, len(target), size)]
    tasks = [Task(partial(_part_read, source, part, at + n * size, stopped)) for n, part in enumerate(parts)]
    try:
        for task in tasks[1:]:
            task.begin()
        for task, part in zip(tasks, parts, strict=True):
            start = combined(start, task.result(), len(part))
    finally:
        stopped[0] = True  # Ctrl-C: nobody may read from a descriptor that is closed and given to another file
        for task in tasks:
            task.take()
    return start
